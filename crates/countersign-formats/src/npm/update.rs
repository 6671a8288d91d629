//! Bodies that change a package without a tarball. Clients send back the packument as they got it,
//! with what they want changed; so what they mean is the difference to what is there.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{documents::Person, name::PackageName, tags, version};
use crate::{Rejection, rejection::quoted};

/// Most owners that a body may name.
const MAX_OWNERS: usize = 1000;
/// Longest message of a deprecation.
const MAX_MESSAGE: usize = 2000;

/// What a body says the package shall be like; what it leaves out stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Update {
    /// The package, where the body names it.
    pub name: Option<PackageName>,
    /// The state that the client started from.
    pub rev: Option<String>,
    /// Versions that shall remain, with why they are deprecated.
    pub versions: Option<BTreeMap<String, Option<String>>>,
    /// Names of accounts that shall own the package.
    pub owners: Option<Vec<Person>>,
    /// Tags that shall be there.
    pub tags: Option<BTreeMap<String, String>>,
    /// Names of accounts whose star shall be there.
    pub stars: Option<BTreeSet<String>>,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Present {
    /// Versions, with why they are deprecated.
    pub versions: BTreeMap<String, Option<String>>,
    /// Names of the owners.
    pub owners: BTreeSet<String>,
    /// Tags.
    pub tags: BTreeMap<String, String>,
    /// Names of accounts that starred it.
    pub stars: BTreeSet<String>,
}

/// One thing that a client wants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Say that a version should not be used any more, and why.
    Deprecate(String, String),
    /// Take that back.
    Undeprecate(String),
    /// Remove a version.
    Unpublish(String),
    /// Point a tag to a version.
    SetTag(String, String),
    /// Remove a tag.
    RemoveTag(String),
    /// Make an account an owner.
    AddOwner(String),
    /// Let it be one no longer.
    RemoveOwner(String),
    /// Star the package for an account.
    Star(String),
    /// Take that back.
    Unstar(String),
}

impl Update {
    /// Reads a body's object.
    ///
    /// # Errors
    /// Refuses what is no packument, malformed versions, tags and names.
    pub(super) fn read(root: Map<String, Value>) -> Result<Self, Rejection> {
        let text = |key: &str| match root.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(invalid(&format!("{key} is no text"))),
        };
        let object = |key: &str| match root.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(entries)) => Ok(Some(entries)),
            Some(_) => Err(invalid(&format!("{key} is no object"))),
        };
        if object("_attachments")?.is_some_and(|attachments| !attachments.is_empty()) {
            return Err(invalid("it has attachments without data"));
        }
        let named = text("name")?.or(text("_id")?);
        if let (Some(id), Some(name)) = (text("_id")?, named)
            && id != name
        {
            return Err(invalid("_id and name differ"));
        }
        let name = named.map(PackageName::parse).transpose()?;
        let versions = object("versions")?
            .map(|entries| {
                entries
                    .iter()
                    .map(|(number, manifest)| {
                        if !version::is_canonical(number) {
                            return Err(invalid(&format!(
                                "{} is no version in normal form",
                                quoted(number)
                            )));
                        }
                        let reason = match manifest.get("deprecated") {
                            None | Some(Value::Null | Value::Bool(false)) => None,
                            Some(Value::String(reason)) if reason.is_empty() => None,
                            Some(Value::Bool(true)) => {
                                Some("This version is deprecated.".to_owned())
                            }
                            Some(Value::String(reason)) => Some(message(reason)?),
                            Some(_) => return Err(invalid("deprecated is no text")),
                        };
                        Ok((number.clone(), reason))
                    })
                    .collect::<Result<BTreeMap<_, _>, _>>()
            })
            .transpose()?;
        let owners = match root.get("maintainers") {
            None | Some(Value::Null) => None,
            Some(Value::Array(people)) if people.len() <= MAX_OWNERS => {
                Some(people.iter().map(owner).collect::<Result<Vec<_>, _>>()?)
            }
            Some(_) => return Err(invalid("maintainers is no list, or too long a one")),
        };
        let tags = object("dist-tags")?
            .map(|entries| {
                if entries.len() > tags::MAX_TAGS {
                    return Err(invalid("it has too many tags"));
                }
                entries
                    .iter()
                    .map(|(tag, version)| match version {
                        Value::String(version) => Ok((tag.clone(), version.clone())),
                        _ => Err(invalid(&format!(
                            "the tag {} points to no version",
                            quoted(tag)
                        ))),
                    })
                    .collect::<Result<BTreeMap<_, _>, _>>()
            })
            .transpose()?;
        let stars = object("users")?.map(|entries| {
            entries
                .iter()
                .filter(|(_, star)| **star == Value::Bool(true))
                .map(|(name, _)| name.clone())
                .collect()
        });
        Ok(Self {
            name,
            rev: text("_rev")?.map(str::to_owned),
            versions,
            owners,
            tags,
            stars,
        })
    }

    /// What the client wants, in an order in which it can be done. Stars count for `account` alone:
    /// nobody stars for others, and a client that sends an old list takes nobody's star away.
    ///
    /// # Errors
    /// Refuses versions that are not there, tags that may not be set, and a package without owners or
    /// versions: there are requests of their own for that.
    pub fn changes(&self, present: &Present, account: &str) -> Result<Vec<Change>, Rejection> {
        let mut changes = Vec::new();
        let mut remaining: BTreeSet<&String> = present.versions.keys().collect();
        if let Some(versions) = &self.versions {
            if let Some(unknown) = versions
                .keys()
                .find(|number| !present.versions.contains_key(*number))
            {
                return Err(invalid(&format!(
                    "the version {} is not there, and has no tarball",
                    quoted(unknown)
                )));
            }
            if versions.is_empty() && !present.versions.is_empty() {
                return Err(invalid("it would remove every version"));
            }
            for (number, now) in &present.versions {
                match (versions.get(number), now) {
                    (None, _) => {
                        remaining.remove(number);
                        changes.push(Change::Unpublish(number.clone()));
                    }
                    (Some(Some(wanted)), now) if Some(wanted) != now.as_ref() => {
                        changes.push(Change::Deprecate(number.clone(), wanted.clone()));
                    }
                    (Some(None), Some(_)) => changes.push(Change::Undeprecate(number.clone())),
                    _ => {}
                }
            }
        }
        if let Some(wanted) = &self.tags {
            for (tag, version) in wanted {
                if present.tags.get(tag) == Some(version) && remaining.contains(version) {
                    continue;
                }
                tags::check(tag)?;
                if !remaining.contains(version) {
                    return Err(invalid(&format!(
                        "the tag {} points to {}, which is not there",
                        quoted(tag),
                        quoted(version)
                    )));
                }
                changes.push(Change::SetTag(tag.clone(), version.clone()));
            }
            for (tag, version) in &present.tags {
                if !wanted.contains_key(tag) && remaining.contains(version) {
                    tags::check_removal(tag)?;
                    changes.push(Change::RemoveTag(tag.clone()));
                }
            }
        }
        if let Some(owners) = &self.owners {
            let wanted: BTreeSet<&String> = owners.iter().map(|person| &person.name).collect();
            if wanted.is_empty() {
                return Err(invalid("it would leave the package without an owner"));
            }
            let add = wanted
                .iter()
                .filter(|name| !present.owners.contains(**name));
            changes.extend(add.map(|name| Change::AddOwner((*name).clone())));
            let remove = present.owners.iter().filter(|name| !wanted.contains(name));
            changes.extend(remove.map(|name| Change::RemoveOwner(name.clone())));
        }
        if let Some(stars) = &self.stars {
            match (stars.contains(account), present.stars.contains(account)) {
                (true, false) => changes.push(Change::Star(account.to_owned())),
                (false, true) => changes.push(Change::Unstar(account.to_owned())),
                _ => {}
            }
        }
        Ok(changes)
    }
}

fn owner(value: &Value) -> Result<Person, Rejection> {
    let field = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let name = field("name");
    if name.is_empty()
        || name.len() > 255
        || name.chars().any(|c| c.is_control() || c.is_whitespace())
    {
        return Err(invalid("a maintainer has no usable name"));
    }
    Ok(Person {
        name,
        email: field("email"),
    })
}

fn message(text: &str) -> Result<String, Rejection> {
    if text.len() > MAX_MESSAGE {
        return Err(Rejection::new(
            "npm-message-too-long",
            format!(
                "The message has {} bytes; at most {MAX_MESSAGE} are kept.",
                text.len()
            ),
        ));
    }
    // It is printed on terminals.
    if text.chars().any(|c| c.is_control() && c != '\n')
        || text.chars().any(crate::archive::path::is_direction_mark)
    {
        return Err(invalid("a message of deprecation holds control characters"));
    }
    Ok(text.to_owned())
}

fn invalid(why: &str) -> Rejection {
    Rejection::new(
        "npm-update",
        format!("The change of the package is not usable: {why}."),
    )
    .with_remedy("Use the client's own commands: npm deprecate, owner, dist-tag, unpublish.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn present() -> Present {
        Present {
            versions: [
                ("1.0.0".to_owned(), None),
                ("1.1.0".to_owned(), Some("old".to_owned())),
            ]
            .into(),
            owners: ["ann".to_owned(), "bob".to_owned()].into(),
            tags: [
                ("latest".to_owned(), "1.1.0".to_owned()),
                ("next".to_owned(), "1.1.0".to_owned()),
            ]
            .into(),
            stars: ["ann".to_owned()].into(),
        }
    }

    fn changes(body: Value) -> Result<Vec<Change>, Rejection> {
        Update::read(body.as_object().unwrap().clone())?.changes(&present(), "bob")
    }

    #[test]
    fn what_commands_send_is_what_they_mean() {
        let packument = json!({
            "_id": "x", "_rev": "1-x", "name": "x", "readme": "…", "users": {"ann": true},
            "dist-tags": {"latest": "1.1.0", "next": "1.1.0"}, "time": {"created": "…"},
            "maintainers": [{"name": "ann", "email": "a"}, {"name": "bob", "email": "b"}],
            "versions": {"1.0.0": {"name": "x"}, "1.1.0": {"deprecated": "old"}},
        });
        assert_eq!(changes(packument.clone()).unwrap(), []);
        let with = |pointer: &str, value: Value| {
            let mut copy = packument.clone();
            *copy.pointer_mut(pointer).unwrap() = value;
            changes(copy).unwrap()
        };
        let text = str::to_owned;
        assert_eq!(
            with("/versions/1.0.0", json!({"deprecated": "bad"})),
            [Change::Deprecate(text("1.0.0"), text("bad"))]
        );
        assert_eq!(
            with("/versions/1.1.0", json!({"deprecated": ""})),
            [Change::Undeprecate(text("1.1.0"))]
        );
        assert_eq!(
            with("/users", json!({"ann": true, "bob": true})),
            [Change::Star(text("bob"))]
        );
        assert_eq!(with("/users", json!({})), []);
        assert_eq!(
            with("/maintainers", json!([{"name": "ann"}, {"name": "cid"}])),
            [
                Change::AddOwner(text("cid")),
                Change::RemoveOwner(text("bob"))
            ]
        );
        let mut unpublish = packument.clone();
        unpublish["versions"]
            .as_object_mut()
            .unwrap()
            .remove("1.1.0");
        unpublish["dist-tags"] = json!({"latest": "1.0.0"});
        assert_eq!(
            changes(unpublish).unwrap(),
            [
                Change::Unpublish(text("1.1.0")),
                Change::SetTag(text("latest"), text("1.0.0"))
            ]
        );
        assert_eq!(
            changes(json!({"_id": "x", "_rev": "1-x", "maintainers": [{"name": "ann"}]})).unwrap(),
            [Change::RemoveOwner(text("bob"))]
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for body in [
            json!({"versions": {"2.0.0": {}}}),
            json!({"versions": {"v1.0.0": {}}}),
            json!({"versions": {}}),
            json!({"versions": []}),
            json!({"versions": {"1.0.0": {"deprecated": 1}, "1.1.0": {}}}),
            json!({"versions": {"1.0.0": {"deprecated": "\u{1b}[2J"}, "1.1.0": {}}}),
            json!({"versions": {"1.0.0": {"deprecated": "x".repeat(2001)}, "1.1.0": {}}}),
            json!({"maintainers": []}),
            json!({"maintainers": [{"name": "a b"}]}),
            json!({"maintainers": [1]}),
            json!({"maintainers": "ann"}),
            json!({"dist-tags": {"latest": "1.1.0", "next": "1.1.0", "1.x": "1.0.0"}}),
            json!({"dist-tags": {"latest": "9.9.9"}}),
            json!({"dist-tags": {}}),
            json!({"name": "x", "_id": "y"}),
            json!({"name": "../x"}),
            json!({"_attachments": {"x-1.0.0.tgz": {}}}),
        ] {
            assert!(changes(body.clone()).is_err(), "{body}");
        }
    }
}
