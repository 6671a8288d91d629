//! The ids that stay when a name is given up: where a provider is asked for them, and how its answer is read.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use super::claims::strict_object;
use super::preset::rest;
use super::{Difference, Provider, Refused, Registration, escaped, keys, quoted};

/// The longest answer that is read, in bytes.
pub const MAX_IDENTITY_BYTES: usize = 256 * 1024;

/// Where the provider can be asked for the ids that stay when a name is given up: an `https` URL whose answer is
/// for [`identity_answer`]. `None` where a provider does not say. Redirects must not be followed: they are how a
/// renamed repository answers to its old name.
pub fn identity_question(registration: &Registration) -> Option<String> {
    let base = rest(registration.provider, &registration.issuer)?;
    let field = |name: &str| registration.fields.get(name);
    let url = match registration.provider {
        Provider::Github | Provider::Forgejo => {
            format!("{base}/repos/{}/{}", field("owner")?, field("repository")?)
        }
        Provider::Gitlab => {
            let namespace = field("namespace")?.replace('/', "%2F");
            format!("{base}/projects/{namespace}%2F{}", field("project")?)
        }
        _ => return None,
    };
    let read = Url::parse(&url).ok()?;
    (keys::plain_https(&read) && read.as_str() == url).then_some(url)
}

/// Reads the answer to [`identity_question`]: the ids by the claims that carry them. The answer must be about the
/// repository that was asked for.
///
/// # Errors
///
/// `publisher-unconfirmed` where the answer is no such thing or names another repository.
pub fn identity_answer(
    registration: &Registration,
    body: &[u8],
) -> Result<BTreeMap<String, String>, Refused> {
    let unconfirmed = |what: String| {
        Refused::new(
            "publisher-unconfirmed",
            format!(
                "the answer of {} about {} is not usable: {what}",
                registration.provider.title(),
                quoted(&registration.label)
            ),
            "check that the issuer is of the registered kind; without the answer, ids are pinned on first use",
        )
    };
    if body.len() > MAX_IDENTITY_BYTES {
        return Err(unconfirmed(format!(
            "it has {} bytes, more than {MAX_IDENTITY_BYTES}",
            body.len()
        )));
    }
    let answer = strict_object(body).map_err(&unconfirmed)?;
    let (name_key, owner_key, claims) = match registration.provider {
        Provider::Github | Provider::Forgejo => (
            "full_name",
            "owner",
            ["repository_owner_id", "repository_id"],
        ),
        Provider::Gitlab => (
            "path_with_namespace",
            "namespace",
            ["namespace_id", "project_id"],
        ),
        _ => return Err(unconfirmed("this provider is not asked".to_owned())),
    };
    let Some(Value::String(name)) = answer.get(name_key) else {
        return Err(unconfirmed(format!("it has no text `{name_key}`")));
    };
    if registration.provider.lookup_form(name) != registration.lookup {
        return Err(unconfirmed(format!(
            "it is about {}; if the repository was renamed, register its new name",
            quoted(name)
        ))
        .with(Difference {
            claim: name_key.to_owned(),
            expected: registration.lookup.clone(),
            seen: Some(escaped(name)),
            matched: false,
            advice: None,
        }));
    }
    let id = |value: Option<&Value>| value.and_then(Value::as_u64).filter(|id| *id > 0);
    let owner = id(answer.get(owner_key).and_then(|owner| owner.get("id")));
    let own = id(answer.get("id"));
    let (Some(owner), Some(own)) = (owner, own) else {
        return Err(unconfirmed(format!("it has no `id` or `{owner_key}.id`")));
    };
    let [owner_claim, own_claim] = claims;
    Ok(BTreeMap::from([
        (owner_claim.to_owned(), owner.to_string()),
        (own_claim.to_owned(), own.to_string()),
    ]))
}
