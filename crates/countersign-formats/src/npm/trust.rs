//! What `npm trust` sends and reads: trusted publishers in npm's words.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{Rejection, rejection::quoted};

/// Most bytes of a request that makes a publisher.
pub const MAX_BODY: usize = 64 << 10;

/// A publisher as npm's clients have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// `github`, `gitlab` or `circleci`.
    pub kind: String,
    /// What is asked of a token, under the names that a registration has for it.
    pub fields: BTreeMap<String, String>,
    /// Claims that a registration has no field for, and the values of which a token must have one.
    pub claims: BTreeMap<String, Vec<String>>,
    /// Its tokens may publish.
    pub publish: bool,
    /// Its tokens may stage.
    pub stage: bool,
}

const PUBLISH: &str = "createPackage";
const STAGE: &str = "createStagedPackage";

fn refuse(why: impl std::fmt::Display) -> Rejection {
    Rejection::new(
        "npm-trust",
        format!("The trusted publisher can not be read: {why}."),
    )
    .with_remedy("Use npm trust of npm 11.10 or newer, or this registry's pages.")
}

/// Where a claim of npm's is a field of ours.
const CIRCLECI: [(&str, &str); 4] = [
    ("oidc.circleci.com/org-id", "organization_id"),
    ("oidc.circleci.com/project-id", "project_id"),
    (
        "oidc.circleci.com/pipeline-definition-id",
        "pipeline_definition_id",
    ),
    ("oidc.circleci.com/vcs-origin", "repository"),
];
const CONTEXTS: &str = "oidc.circleci.com/context-ids";

/// Reads the body of a request that makes a publisher: an array of one.
///
/// # Errors
/// Refuses other JSON, kinds and claims that are not known, and more than one publisher.
pub fn read(body: &[u8]) -> Result<Publisher, Rejection> {
    let value: Value = serde_json::from_slice(body).map_err(refuse)?;
    let mut items = match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    let (Some(Value::Object(item)), true) = (items.pop(), items.is_empty()) else {
        return Err(refuse("it is not an array of one object"));
    };
    let kind = item.get("type").and_then(Value::as_str).unwrap_or_default();
    let Some(claims) = item.get("claims").and_then(Value::as_object) else {
        return Err(refuse("it has no claims"));
    };
    let permissions = match item.get("permissions") {
        // Before there were any, a publisher published.
        None | Some(Value::Null) => vec![PUBLISH],
        Some(Value::Array(list)) => list
            .iter()
            .map(|word| {
                word.as_str()
                    .ok_or_else(|| refuse("a permission is no text"))
            })
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(refuse("permissions are no array")),
    };
    let mut publisher = Publisher {
        kind: kind.to_owned(),
        fields: BTreeMap::new(),
        claims: BTreeMap::new(),
        publish: false,
        stage: false,
    };
    for word in permissions {
        match word {
            PUBLISH => publisher.publish = true,
            STAGE => publisher.stage = true,
            other => {
                return Err(refuse(format!("there is no permission {}", quoted(other))));
            }
        }
    }
    for (claim, value) in claims {
        let file = || {
            let file = value.get("file").and_then(Value::as_str);
            file.ok_or_else(|| refuse(format!("{claim} names no file")))
        };
        let text = || {
            value
                .as_str()
                .ok_or_else(|| refuse(format!("{} is no text", quoted(claim))))
        };
        let (field, text) = match (kind, claim.as_str()) {
            ("github", "repository") => ("repository", text()?),
            ("github", "workflow_ref") => ("workflow", file()?),
            ("gitlab", "project_path") => ("project", text()?),
            ("gitlab", "ci_config_ref_uri") => ("workflow", file()?),
            ("github" | "gitlab", "environment") => ("environment", text()?),
            ("circleci", CONTEXTS) => {
                let ids = value
                    .as_array()
                    .and_then(|ids| {
                        ids.iter()
                            .map(|id| id.as_str().map(str::to_owned))
                            .collect::<Option<Vec<String>>>()
                    })
                    .ok_or_else(|| refuse("the contexts are no array of texts"))?;
                publisher.claims.insert(claim.clone(), ids);
                continue;
            }
            ("circleci", claim) => {
                let field = CIRCLECI.iter().find(|(theirs, _)| *theirs == claim);
                match field {
                    Some((_, field)) => (*field, text()?),
                    None => return Err(refuse(format!("there is no claim {}", quoted(claim)))),
                }
            }
            ("github" | "gitlab", other) => {
                return Err(refuse(format!("there is no claim {}", quoted(other))));
            }
            (other, _) => return Err(refuse(format!("there is no type {}", quoted(other)))),
        };
        publisher.fields.insert(field.to_owned(), text.to_owned());
    }
    if publisher.fields.is_empty() {
        return Err(refuse("it has no claims"));
    }
    Ok(publisher)
}

/// A publisher as npm's clients list it. Of kinds that they do not know they show type and id.
pub fn shown(id: &str, publisher: &Publisher) -> Value {
    let field = |name: &str| publisher.fields.get(name).cloned().unwrap_or_default();
    let joined = |owner: &str, name: &str| {
        let (owner, name) = (field(owner), field(name));
        match owner.is_empty() {
            true => name,
            false => format!("{owner}/{name}"),
        }
    };
    let mut claims = Map::new();
    match publisher.kind.as_str() {
        "github" => {
            claims.insert(
                "repository".to_owned(),
                json!(joined("owner", "repository")),
            );
            claims.insert(
                "workflow_ref".to_owned(),
                json!({"file": field("workflow")}),
            );
        }
        "gitlab" => {
            claims.insert(
                "project_path".to_owned(),
                json!(joined("namespace", "project")),
            );
            claims.insert(
                "ci_config_ref_uri".to_owned(),
                json!({"file": field("workflow")}),
            );
        }
        "circleci" => {
            for (claim, name) in CIRCLECI {
                if let Some(text) = publisher.fields.get(name) {
                    claims.insert(claim.to_owned(), json!(text));
                }
            }
        }
        _ => {
            for (name, text) in &publisher.fields {
                claims.insert(name.clone(), json!(text));
            }
        }
    }
    for (claim, values) in &publisher.claims {
        claims.insert(claim.clone(), json!(values));
    }
    if let (Some(environment), "github" | "gitlab") =
        (publisher.fields.get("environment"), publisher.kind.as_str())
    {
        claims.insert("environment".to_owned(), json!(environment));
    }
    let mut permissions = Vec::new();
    if publisher.publish {
        permissions.push(PUBLISH);
    }
    if publisher.stage {
        permissions.push(STAGE);
    }
    json!({"id": id, "type": publisher.kind, "claims": claims, "permissions": permissions})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_npm_sends_is_read_and_shown_again() {
        let sent = json!([{"type": "github", "claims": {"repository": "octo/sample", "workflow_ref": {"file": "release.yml"},
            "environment": "release"}, "permissions": ["createPackage", "createStagedPackage"]}]);
        let publisher = read(sent.to_string().as_bytes()).unwrap();
        assert!(publisher.publish && publisher.stage);
        assert_eq!(publisher.fields["repository"], "octo/sample");
        let back = shown("id", &publisher);
        assert_eq!(back["claims"], sent[0]["claims"]);
        assert_eq!(back["permissions"], sent[0]["permissions"]);
        // As a registration keeps it: owner and name apart.
        let mut apart = publisher;
        apart.fields.insert("owner".to_owned(), "octo".to_owned());
        apart
            .fields
            .insert("repository".to_owned(), "sample".to_owned());
        assert_eq!(shown("id", &apart), back);
        let gitlab = json!([{"type": "gitlab", "claims": {"project_path": "g/s/p", "ci_config_ref_uri": {"file": ".gitlab-ci.yml"}},
            "permissions": ["createStagedPackage"]}]);
        let publisher = read(gitlab.to_string().as_bytes()).unwrap();
        assert!(!publisher.publish && publisher.stage);
        assert_eq!(shown("id", &publisher)["claims"], gitlab[0]["claims"]);
        let circle = json!([{"type": "circleci", "claims": {"oidc.circleci.com/org-id": "o", "oidc.circleci.com/project-id": "p",
            "oidc.circleci.com/pipeline-definition-id": "d", "oidc.circleci.com/vcs-origin": "github.com/a/b",
            "oidc.circleci.com/context-ids": ["c"]}, "permissions": ["createPackage"]}]);
        let publisher = read(circle.to_string().as_bytes()).unwrap();
        assert_eq!(publisher.claims["oidc.circleci.com/context-ids"], ["c"]);
        assert_eq!(shown("id", &publisher)["claims"], circle[0]["claims"]);
    }

    #[test]
    fn what_is_not_understood_is_refused_and_not_dropped() {
        for bad in [
            "",
            "[]",
            "[1]",
            "{}",
            r#"[{"type":"github","claims":{}}]"#,
            r#"[{"type":"jenkins","claims":{"a":"b"}}]"#,
            r#"[{"type":"github","claims":{"repository":"a/b","ref":"main"}}]"#,
            r#"[{"type":"github","claims":{"repository":1}}]"#,
            r#"[{"type":"github","claims":{"repository":"a/b","workflow_ref":"x.yml"}}]"#,
            r#"[{"type":"github","claims":{"repository":"a/b"},"permissions":["all"]}]"#,
            r#"[{"type":"github","claims":{"repository":"a/b"},"permissions":"createPackage"}]"#,
            r#"[{"type":"circleci","claims":{"oidc.circleci.com/context-ids":[1]}}]"#,
            r#"[{"type":"github","claims":{"repository":"a/b"}},{"type":"github","claims":{"repository":"a/c"}}]"#,
        ] {
            assert_eq!(read(bad.as_bytes()).unwrap_err().code, "npm-trust", "{bad}");
        }
        // Older clients sent no permissions.
        let old = r#"[{"type":"github","claims":{"repository":"a/b"}}]"#;
        assert!(read(old.as_bytes()).unwrap().publish);
    }
}
