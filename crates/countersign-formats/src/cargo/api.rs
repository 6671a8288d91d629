//! Bodies of the web API as cargo reads and writes them, apart from publishing.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{Rejection, rejection::quoted};

/// Largest small request: owners, an identity token, a publisher.
const MAX_REQUEST: usize = 64 << 10;
/// Most owners named in one request, and longest word for one.
const MAX_OWNERS: usize = 100;
const MAX_OWNER: usize = 256;

/// An error as cargo prints it: each detail on a line of its own.
pub fn errors<'a>(details: impl IntoIterator<Item = &'a str>) -> String {
    let details: Vec<_> = details
        .into_iter()
        .map(|detail| json!({ "detail": detail }))
        .collect();
    json!({ "errors": details }).to_string()
}

/// The answer to a publication, with warnings that cargo prints.
pub fn published(warnings: &[String]) -> String {
    json!({ "warnings": {
        "invalid_categories": [], "invalid_badges": [], "other": warnings,
    } })
    .to_string()
}

/// The answer to a yank.
pub fn ok() -> String {
    json!({ "ok": true }).to_string()
}

/// The answer to a change of owners; cargo prints the message.
pub fn ok_saying(message: &str) -> String {
    json!({ "ok": true, "msg": message }).to_string()
}

/// An owner as `cargo owner --list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnerView {
    /// Any number that stays the same.
    pub id: u32,
    /// The word to name them by.
    pub login: String,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The answer to a question for owners.
pub fn owners(owners: &[OwnerView]) -> String {
    json!({ "users": owners }).to_string()
}

/// A crate as `cargo search` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FoundCrate {
    /// The name.
    pub name: String,
    /// The newest version that is no pre-release, else the newest.
    pub max_version: String,
    /// One or some lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// The answer to a search, with the number of all that were found.
pub fn search(crates: &[FoundCrate], total: u64) -> String {
    json!({ "crates": crates, "meta": { "total": total } }).to_string()
}

/// The value of `WWW-Authenticate` that tells cargo where to get a token; none for an address that
/// cannot stand between quotes.
pub fn login_challenge(login_url: &str) -> Option<String> {
    let fits = login_url
        .bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
    fits.then(|| format!("Cargo login_url=\"{login_url}\""))
}

/// Somebody who becomes or ceases to be an owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A person.
    User(String),
    /// A team of an organisation: `organisation:team`, or `github:organisation:team` as for the
    /// public registry.
    Team {
        /// Where the organisation is, when that is said.
        host: Option<String>,
        /// The organisation.
        organisation: String,
        /// The team.
        team: String,
    },
}

impl Owner {
    /// Reads the word for an owner.
    ///
    /// # Errors
    /// Refuses empty parts, more than three of them, blanks and control characters.
    pub fn parse(text: &str) -> Result<Self, Rejection> {
        let bad = || {
            Rejection::new(
                "owner-invalid",
                format!("{} names no person and no team.", quoted(text)),
            )
            .with_remedy("Write a user name, or ORGANISATION:TEAM.")
        };
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && b != b'/')
        };
        let parts: Vec<&str> = text.split(':').collect();
        if text.len() > MAX_OWNER || !parts.iter().all(|part| plain(part)) {
            return Err(bad());
        }
        match parts[..] {
            [user] => Ok(Owner::User(user.to_owned())),
            [organisation, team] => Ok(Owner::Team {
                host: None,
                organisation: organisation.to_owned(),
                team: team.to_owned(),
            }),
            [host, organisation, team] => Ok(Owner::Team {
                host: Some(host.to_owned()),
                organisation: organisation.to_owned(),
                team: team.to_owned(),
            }),
            _ => Err(bad()),
        }
    }
}

/// Reads a request to add or remove owners: `{"users": ["alice", "acme:release"]}`.
///
/// # Errors
/// Refuses other JSON, nobody, and more than a hundred.
pub fn owners_request(body: &[u8]) -> Result<Vec<Owner>, Rejection> {
    #[derive(Deserialize)]
    struct Request {
        #[serde(alias = "owners")]
        users: Vec<String>,
    }
    let Request { users } = request(body)?;
    if users.is_empty() || users.len() > MAX_OWNERS {
        return Err(Rejection::new(
            "owner-invalid",
            format!("Between one and {MAX_OWNERS} owners can be named at once."),
        ));
    }
    users.iter().map(|user| Owner::parse(user)).collect()
}

/// Reads a request to exchange an identity token: `{"jwt": "…"}`. The token itself is read elsewhere.
///
/// # Errors
/// Refuses other JSON.
pub fn exchange_request(body: &[u8]) -> Result<String, Rejection> {
    #[derive(Deserialize)]
    struct Request {
        jwt: String,
    }
    Ok(request::<Request>(body)?.jwt)
}

/// The answer to an exchange.
pub fn exchanged(token: &str) -> String {
    json!({ "token": token }).to_string()
}

fn request<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, Rejection> {
    if body.len() > MAX_REQUEST {
        return Err(Rejection::new(
            "request-too-large",
            format!("The request has more than {MAX_REQUEST} bytes."),
        ));
    }
    serde_json::from_slice(body).map_err(|error| {
        Rejection::new(
            "request-invalid",
            format!("The request is not as cargo sends it: {error}."),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_those_of_cargo() {
        assert_eq!(
            errors(["a \"b\"", "c"]),
            r#"{"errors":[{"detail":"a \"b\""},{"detail":"c"}]}"#
        );
        assert_eq!(ok(), r#"{"ok":true}"#);
        assert_eq!(ok_saying("done"), r#"{"msg":"done","ok":true}"#);
        assert_eq!(
            published(&["odd".to_owned()]),
            r#"{"warnings":{"invalid_badges":[],"invalid_categories":[],"other":["odd"]}}"#
        );
        let alice = OwnerView {
            id: 7,
            login: "alice".to_owned(),
            name: None,
        };
        assert_eq!(owners(&[alice]), r#"{"users":[{"id":7,"login":"alice"}]}"#);
        let found = FoundCrate {
            name: "a".to_owned(),
            max_version: "1.0.0".to_owned(),
            description: Some("A".to_owned()),
        };
        assert_eq!(
            search(&[found], 12),
            r#"{"crates":[{"description":"A","max_version":"1.0.0","name":"a"}],"meta":{"total":12}}"#
        );
        assert_eq!(exchanged("t"), r#"{"token":"t"}"#);
        assert_eq!(
            login_challenge("https://x.example/me").as_deref(),
            Some("Cargo login_url=\"https://x.example/me\"")
        );
        assert_eq!(login_challenge("https://x.example/\"\r\n"), None);
    }

    #[test]
    fn owners_are_people_and_teams() {
        let team = |host: Option<&str>| Owner::Team {
            host: host.map(str::to_owned),
            organisation: "acme".to_owned(),
            team: "release".to_owned(),
        };
        assert_eq!(
            owners_request(br#"{"users":["alice","acme:release","github:acme:release"]}"#).unwrap(),
            [
                Owner::User("alice".to_owned()),
                team(None),
                team(Some("github"))
            ]
        );
        for body in [
            r#"{"users":[]}"#,
            r#"{"users":[""]}"#,
            r#"{"users":["a:"]}"#,
            r#"{"users":["a:b:c:d"]}"#,
            r#"{"users":["a b"]}"#,
            r#"{"users":["\u0430"]}"#,
            r#"{"users":["a/../b"]}"#,
        ] {
            assert_eq!(
                owners_request(body.as_bytes()).unwrap_err().code,
                "owner-invalid",
                "{body}"
            );
        }
        for body in [
            "",
            "{}",
            r#"{"users":[1]}"#,
            r#"{"users":[],"users":["a"]}"#,
        ] {
            assert_eq!(
                owners_request(body.as_bytes()).unwrap_err().code,
                "request-invalid",
                "{body}"
            );
        }
        let many = format!(r#"{{"users":[{}"a"]}}"#, "\"a\",".repeat(200));
        assert_eq!(
            owners_request(many.as_bytes()).unwrap_err().code,
            "owner-invalid"
        );
        let huge = vec![b' '; 70_000];
        assert_eq!(owners_request(&huge).unwrap_err().code, "request-too-large");
    }

    #[test]
    fn an_exchange_holds_one_token() {
        assert_eq!(exchange_request(br#"{"jwt":"a.b.c"}"#).unwrap(), "a.b.c");
        assert!(exchange_request(br#"{"jwt":"a","jwt":"b"}"#).is_err());
    }
}
