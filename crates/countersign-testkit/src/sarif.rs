//! Whether a document is SARIF as its text wants it: what SARIF 2.1.0 demands in words and no schema says.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::schema::Schemas;

/// What does not hold of a document, each with its place. Sections are those of the standard.
///
/// # Panics
/// Where `COUNTERSIGN_SARIF` names no schema.
#[must_use]
pub fn faults(document: &Value) -> Vec<String> {
    let mut faults = second_opinion(document);
    if document["version"] != "2.1.0" {
        faults.push("its version is not 2.1.0 (3.13.2)".to_owned());
    }
    for run in list(&document["runs"]) {
        of_run(run, &mut faults);
    }
    faults
}

/// What the standard's own schema finds, by hand, where `COUNTERSIGN_SARIF` names it (`sarif-schema-2.1.0.json`); nothing elsewhere. Its
/// terms do not say that it may be handed on here.
fn second_opinion(document: &Value) -> Vec<String> {
    let Some(path) = std::env::var_os("COUNTERSIGN_SARIF") else {
        return Vec::new();
    };
    let text = std::fs::read_to_string(path).expect("COUNTERSIGN_SARIF can not be read");
    let mut schema: Value = serde_json::from_str(&text).expect("COUNTERSIGN_SARIF is JSON");
    // Draft 4 names its address so; all else in it means the same in draft 7.
    schema.as_object_mut().expect("a schema").remove("id");
    Schemas::new(vec![schema]).faults("", document)
}

fn list(of: &Value) -> &[Value] {
    of.as_array().map_or(&[], Vec::as_slice)
}

fn text(of: &Value) -> &str {
    of.as_str().unwrap_or_default()
}

fn of_run(run: &Value, faults: &mut Vec<String>) {
    let driver = &run["tool"]["driver"];
    if text(&driver["name"]).is_empty() {
        faults.push("the tool has no name (3.19.8)".to_owned());
    }
    let rules = list(&driver["rules"]);
    let mut ids = BTreeSet::new();
    for rule in rules {
        let id = text(&rule["id"]);
        if id.is_empty() || !ids.insert(id) {
            faults.push(format!("{id:?} is no rule of its own (3.49.3)"));
        }
        if !rule["helpUri"].is_null() && !text(&rule["helpUri"]).contains("://") {
            faults.push(format!("{id}: helpUri is not absolute (3.49.12)"));
        }
        for name in ["shortDescription", "fullDescription"] {
            if !rule[name].is_null() {
                of_message(&rule[name], &format!("{id} {name}"), faults);
            }
        }
    }
    if !run["columnKind"].is_null()
        && !["utf16CodeUnits", "unicodeCodePoints"].contains(&text(&run["columnKind"]))
    {
        faults.push("columnKind is unknown (3.14.17)".to_owned());
    }
    let artifacts = list(&run["artifacts"]);
    for (at, artifact) in artifacts.iter().enumerate() {
        of_uri(text(&artifact["location"]["uri"]), "artifact", faults);
        if artifacts[..at].contains(artifact) {
            faults.push(format!("artifact {at} stands twice (3.14.15)"));
        }
    }
    for (at, result) in list(&run["results"]).iter().enumerate() {
        let place = format!("result {at}");
        let rule = result["ruleIndex"].as_u64().map(|index| index as usize);
        let id = text(&result["ruleId"]);
        if let Some(rule) = rule {
            let named = rules.get(rule).map(|rule| text(&rule["id"]));
            let fits = named.is_some_and(|named| {
                let rest = id.strip_prefix(named);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            if !fits {
                faults.push(format!("{place}: {id} is not rule {rule} (3.27.6, 3.52.4)"));
            }
        }
        let fails = result["kind"].is_null() || result["kind"] == "fail";
        let level = text(&result["level"]);
        if fails == (level == "none") {
            faults.push(format!(
                "{place}: {} with level {level} (3.27.10)",
                result["kind"]
            ));
        }
        of_message(&result["message"], &place, faults);
        for part in ["locations", "relatedLocations"] {
            for location in list(&result[part]) {
                of_location(location, artifacts, &place, faults);
            }
        }
        if let Some(prints) = result["partialFingerprints"].as_object() {
            for (name, print) in prints {
                let version = name.rsplit('/').next().unwrap_or_default();
                let number = version.strip_prefix('v').unwrap_or_default();
                if number.parse::<u32>().is_err() || !print.is_string() {
                    faults.push(format!("{place}: {name} has no version (3.5.4.2)"));
                }
            }
        }
        for one in list(&result["suppressions"]) {
            let kind = ["inSource", "external"].contains(&text(&one["kind"]));
            let status = ["accepted", "underReview", "rejected"].contains(&text(&one["status"]));
            if !kind || !(one["status"].is_null() || status) {
                faults.push(format!("{place}: a suppression is unknown (3.35)"));
            }
        }
    }
}

fn of_location(location: &Value, artifacts: &[Value], place: &str, faults: &mut Vec<String>) {
    let physical = &location["physicalLocation"];
    let artifact = &physical["artifactLocation"];
    let uri = text(&artifact["uri"]);
    of_uri(uri, place, faults);
    if let Some(index) = artifact["index"].as_u64() {
        let named = artifacts.get(index as usize);
        if named.is_none_or(|named| named["location"]["uri"] != uri) {
            faults.push(format!("{place}: {uri} is not artifact {index} (3.4.5)"));
        }
    }
    let begin = &physical["region"]["startLine"];
    if !physical["region"].is_null() && begin.as_u64().is_none_or(|line| line == 0) {
        faults.push(format!("{place}: {begin} is no line (3.30.5)"));
    }
    if !location["message"].is_null() {
        of_message(&location["message"], place, faults);
    }
}

/// A text for people: braces stand for placeholders unless doubled (3.11.5), and there are no links that nobody meant (3.11.6).
fn of_message(message: &Value, place: &str, faults: &mut Vec<String>) {
    let said = text(&message["text"]);
    if said.is_empty() {
        faults.push(format!("{place}: an empty message (3.11.8)"));
    }
    let rest = said.replace("{{", "").replace("}}", "");
    if rest.contains(['{', '}']) {
        faults.push(format!("{place}: a placeholder in {said:?} (3.11.5)"));
    }
    if said.contains("](") {
        faults.push(format!("{place}: a link in {said:?} (3.11.6)"));
    }
}

/// A relative reference of RFC 3986, or an absolute URI.
fn of_uri(uri: &str, place: &str, faults: &mut Vec<String>) {
    let bytes = uri.as_bytes();
    let good = |at: usize| match bytes[at] {
        b'%' => bytes
            .get(at + 1..at + 3)
            .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)),
        byte => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte),
    };
    let first = uri.split('/').next().unwrap_or_default();
    let is_scheme = uri.starts_with(&format!("{first}//"));
    if uri.is_empty() || !(0..bytes.len()).all(good) || (first.contains(':') && !is_scheme) {
        faults.push(format!("{place}: {uri:?} is no reference (3.4.3)"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(result: Value) -> Vec<String> {
        faults(&json!({
            "version": "2.1.0",
            "runs": [{
                "tool": {"driver": {"name": "x", "rules": [{"id": "A"}, {"id": "B"}]}},
                "artifacts": [{"location": {"uri": "a%20b"}}], "results": [result],
            }],
        }))
    }

    #[test]
    fn what_the_text_forbids_is_found() {
        let at = |uri: &str, index: u64, line: u64| {
            json!([{"physicalLocation": {
                "artifactLocation": {"uri": uri, "index": index}, "region": {"startLine": line},
            }}])
        };
        let good = json!({
            "ruleId": "B/more", "ruleIndex": 1, "level": "error", "kind": "fail", "message": {"text": "a {{b}}."},
            "locations": at("a%20b", 0, 1), "partialFingerprints": {"x/v1": "y"},
            "suppressions": [{"kind": "external", "status": "accepted"}],
        });
        assert!(one(good.clone()).is_empty());
        for (name, value, section) in [
            ("ruleIndex", json!(0), "3.27.6"),
            ("ruleIndex", json!(2), "3.27.6"),
            ("ruleId", json!("Bmore"), "3.27.6"),
            ("level", json!("none"), "3.27.10"),
            ("kind", json!("open"), "3.27.10"),
            ("message", json!({"text": ""}), "3.11.8"),
            ("message", json!({"text": "a {0}"}), "3.11.5"),
            ("message", json!({"text": "[a](1)"}), "3.11.6"),
            ("locations", at("a b", 0, 1), "3.4.3"),
            ("locations", at("c:a", 0, 1), "3.4.3"),
            ("locations", at("a%2", 0, 1), "3.4.3"),
            ("locations", at("a", 0, 1), "3.4.5"),
            ("locations", at("a%20b", 1, 1), "3.4.5"),
            ("locations", at("a%20b", 0, 0), "3.30.5"),
            ("partialFingerprints", json!({"x": "y"}), "3.5.4.2"),
            ("suppressions", json!([{"kind": "mine"}]), "3.35"),
        ] {
            let mut wrong = good.clone();
            wrong[name] = value;
            let found = one(wrong);
            assert!(
                found.iter().any(|fault| fault.contains(section)),
                "{name} {section}: {found:?}"
            );
        }
    }
}
