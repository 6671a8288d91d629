//! What came of a lock file's entries as SARIF 2.1.0, as code scanners read it.

use std::collections::HashMap;

use countersign_formats::lock::LockKind;
use countersign_formats::osv::{self, Grade};
use serde_json::{Value, json};

use crate::examine::{Row, Verdict};
use crate::exposure::Exposure;
use crate::inquire::EntryReport;

/// Rules: the checks that can fail or be left out, each with what it means.
const RULES: [(&str, &str, &str); 11] = [
    (
        "digest",
        "The bytes that the lock file names",
        "The digest in the lock file is not one that the registry published, or there is none.",
    ),
    (
        "log",
        "The transparency log",
        "No proof shows that the registry's log holds the file.",
    ),
    (
        "witnesses",
        "The log's witnesses",
        "Too few witnesses vouch that everybody is shown the same log.",
    ),
    (
        "tuf",
        "The signed index",
        "The index that lists the file is not the current one that the repository signs.",
    ),
    (
        "attestations",
        "Attestations are here",
        "The log names attestations that are not handed out, or others are.",
    ),
    (
        "attestation",
        "Attestations hold",
        "An attestation does not hold: signature, certificate, time or log.",
    ),
    (
        "statement",
        "What attestations say",
        "What an attestation says contradicts its certificate.",
    ),
    (
        "identity",
        "Who signed",
        "It was signed by somebody whom the policy does not name.",
    ),
    (
        "provenance",
        "Provenance is there",
        "The policy asks for provenance, and there is none.",
    ),
    (
        "origin",
        "Where it comes from",
        "It comes from past the registry, or from this machine.",
    ),
    (
        "other",
        "Another check",
        "Something else about the file does not hold.",
    ),
];

/// The document. `text` is the lock file, in which the places are looked for; `path` is how it is called.
#[must_use]
pub fn document(path: &str, text: &str, kind: LockKind, entries: &[EntryReport]) -> Value {
    let rules: Vec<Value> = RULES
        .iter()
        .map(|(id, name, about)| {
            json!({
                "id": format!("countersign/{id}"), "name": id,
                "shortDescription": {"text": name}, "fullDescription": {"text": about},
                "defaultConfiguration": {"level": "error"},
            })
        })
        .collect();
    let lines = Lines::of(text);
    let results: Vec<Value> = entries
        .iter()
        .flat_map(|entry| {
            let at = lines.of_entry(&entry.project, entry.version.as_deref());
            results(path, at, entry)
        })
        .collect();
    json!({
        "$schema": concat!("https://json.schemastore.org/", "sarif-2.1.0.json"),
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "countersign", "version": env!("CARGO_PKG_VERSION"), "rules": rules,
            }},
            "artifacts": [{"location": {"uri": uri(path)}, "description": {"text": kind.as_str()}}],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// Known flaws in what lock files name, and what is odd about these, as a document: a rule for each advisory.
#[must_use]
pub fn exposures(exposures: &[Exposure]) -> Value {
    let mut rules: Vec<Value> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut results: Vec<Value> = Vec::new();
    let artifacts: Vec<Value> = exposures
        .iter()
        .map(|exposure| {
            json!({
                "location": {"uri": uri(&exposure.path.to_string_lossy())},
                "description": {"text": exposure.lock.kind.as_str()},
            })
        })
        .collect();
    for (at, exposure) in exposures.iter().enumerate() {
        let text = String::from_utf8_lossy(&exposure.bytes);
        let lines = Lines::of(&text);
        let location = |entry: usize| {
            let entry = &exposure.lock.entries[entry];
            let line = lines.of_entry(entry.name_key.as_str(), entry.version.as_deref());
            json!([{"physicalLocation": {
                "artifactLocation": {"uri": uri(&exposure.path.to_string_lossy()), "index": at},
                "region": {"startLine": line},
            }}])
        };
        for found in &exposure.found {
            let advisory = &found.advisory;
            let rated = match (found.verdict, advisory.rating.grade) {
                (osv::Verdict::Unknown, _) => "note",
                (_, Grade::Critical | Grade::High | Grade::Unrated) => "error",
                (_, Grade::Medium) => "warning",
                _ => "note",
            };
            // One step less where the code does not get at it; it stays in the document.
            let level = match (rated, found.is_unreachable()) {
                ("error", true) => "warning",
                (_, true) => "note",
                (rated, false) => rated,
            };
            let rule = *places.entry(advisory.id.clone()).or_insert_with(|| {
                let summary = match advisory.summary.as_str() {
                    "" => advisory.id.as_str(),
                    summary => summary,
                };
                let mut rule = json!({
                    "id": advisory.id, "name": advisory.id,
                    "shortDescription": plain(summary), "fullDescription": plain(summary),
                    "defaultConfiguration": {"level": rated},
                    "properties": {"tags": ["security", "vulnerability"], "aliases": advisory.aliases},
                });
                if let Some(score) = advisory.rating.score {
                    rule["properties"]["security-severity"] = json!(format!("{score:.1}"));
                }
                if let Some(url) = advisory.url.as_deref().and_then(absolute) {
                    rule["helpUri"] = json!(url);
                }
                rules.push(rule);
                rules.len() - 1
            });
            let fixed = match (&found.fixed, found.verdict) {
                (_, osv::Verdict::Unknown) => {
                    "Its version can not be compared: nobody can say.".to_owned()
                }
                (Some(fixed), _) => format!("Fixed in {fixed}."),
                (None, _) => "No fixed version is known.".to_owned(),
            };
            let mut message = format!(
                "{}: {} {fixed}",
                exposure.named(found.entry),
                advisory.summary
            );
            if let Some(reach) = &found.reach {
                message.push_str(&format!(" It is {}.", reach.told()));
            }
            let mut result = json!({
                "ruleId": advisory.id, "ruleIndex": rule, "level": level, "kind": "fail",
                "message": plain(&message),
                "locations": location(found.entry),
                "partialFingerprints": {"countersign/v1": format!("{}|{}", exposure.purl(found.entry), advisory.id)},
                "properties": {"purl": exposure.purl(found.entry), "fixed": found.fixed, "verdict": found.verdict},
            });
            if let Some(reach) = &found.reach {
                result["properties"]["reachability"] = reach.json();
                // Of the project's own files only: others are not in the repository that is looked at.
                let folder = exposure
                    .path
                    .parent()
                    .map(|folder| folder.to_string_lossy());
                let own = reach.places.iter().filter(|place| place.package.is_none());
                let related: Vec<Value> = own
                    .map(|place| {
                        let path = match folder.as_deref() {
                            None | Some("" | ".") => place.path.clone(),
                            Some(folder) => format!("{folder}/{}", place.path),
                        };
                        json!({
                            "physicalLocation": {"artifactLocation": {"uri": uri(&path)}, "region": {"startLine": place.line}},
                            "message": plain(&place.what),
                        })
                    })
                    .collect();
                if !related.is_empty() {
                    result["relatedLocations"] = json!(related);
                }
            }
            if let Some(ignore) = &found.ignored {
                result["suppressions"] = json!([{"kind": "external", "status": "accepted", "justification": ignore.reason}]);
            }
            results.push(result);
        }
        for warning in &exposure.warnings {
            let id = format!("countersign/{}", warning.code);
            let rule = *places.entry(id.clone()).or_insert_with(|| {
                rules.push(json!({
                    "id": id, "name": warning.code, "shortDescription": {"text": "Something is odd about the lock file"},
                    "defaultConfiguration": {"level": "warning"},
                }));
                rules.len() - 1
            });
            results.push(json!({
                "ruleId": id, "ruleIndex": rule, "level": "warning", "kind": "fail",
                "message": plain(&format!("{}: {}", exposure.named(warning.entry), warning.text)),
                "locations": location(warning.entry),
                "partialFingerprints": {"countersign/v1": format!("{}|{}", exposure.purl(warning.entry), warning.code)},
            }));
        }
    }
    json!({
        "$schema": concat!("https://json.schemastore.org/", "sarif-2.1.0.json"),
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "countersign", "version": env!("CARGO_PKG_VERSION"), "rules": rules,
            }},
            "artifacts": artifacts, "columnKind": "unicodeCodePoints", "results": results,
        }],
    })
}

/// One result for each check of an entry that failed; for an entry that was not checked at all, one note.
fn results(path: &str, line: usize, entry: &EntryReport) -> Vec<Value> {
    let named = match &entry.version {
        Some(version) => format!("{} {version}", entry.project),
        None => entry.project.clone(),
    };
    let result = |row: &Row, level: &str, file: &str| {
        let rule = RULES.iter().position(|(id, ..)| *id == row.check);
        let rule = rule.unwrap_or(RULES.len() - 1);
        let mut message = format!("{named}: {}", row.reason);
        if let Some(remedy) = &row.remedy {
            message.push(' ');
            message.push_str(remedy);
        }
        json!({
            "ruleId": format!("countersign/{}", RULES[rule].0), "ruleIndex": rule, "level": level,
            "kind": if level == "none" { "open" } else { "fail" },
            "message": plain(&message),
            "locations": [{"physicalLocation": {
                "artifactLocation": {"uri": uri(path), "index": 0}, "region": {"startLine": line},
            }}],
            "partialFingerprints": {
                "countersign/v1": format!("{}|{}|{file}", entry.purl, row.code.as_deref().unwrap_or(row.check)),
            },
            "properties": {"purl": entry.purl, "code": row.code, "file": file},
        })
    };
    let rows = entry
        .files
        .iter()
        .flat_map(|file| file.checks.iter().map(move |row| (file, row)));
    match entry.verdict {
        Verdict::Failed => rows
            .filter(|(_, row)| row.verdict == Verdict::Failed)
            .map(|(file, row)| result(row, "error", &file.asked))
            .collect(),
        Verdict::NotChecked => rows
            .filter(|(_, row)| row.verdict == Verdict::NotChecked)
            .take(1)
            .map(|(file, row)| result(row, "none", &file.asked))
            .collect(),
        Verdict::Confirmed => Vec::new(),
    }
}

/// A relative reference as SARIF has it (3.4.3): with slashes, and all else percent-encoded but what a path of RFC 3986 has.
fn uri(path: &str) -> String {
    let path = path.strip_prefix("./").unwrap_or(path).replace('\\', "/");
    let mut uri = String::new();
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri
}

/// An address as SARIF has it (3.4.3), of what others wrote: what RFC 3986 does not have is percent-encoded. Nothing for what is none.
fn absolute(address: &str) -> Option<String> {
    let address = url::Url::parse(address).ok()?;
    let path = address[..url::Position::BeforePath].len();
    let bytes = address.as_str().as_bytes();
    let mut fragment = false;
    let mut uri = String::new();
    for (at, byte) in bytes.iter().copied().enumerate() {
        let stands = match byte {
            b'%' => bytes
                .get(at + 1..at + 3)
                .is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)),
            b'#' => !std::mem::replace(&mut fragment, true),
            // Around the number of a host, and nowhere else.
            b'[' | b']' => at < path,
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&byte),
        };
        if stands {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    Some(uri)
}

/// A text for people, in which nothing is a placeholder (3.11.5) or a link (3.11.6): others wrote parts of it.
fn plain(text: &str) -> Value {
    let text = text.replace('{', "{{").replace('}', "}}");
    json!({"text": text.replace("](", "] (")})
}

/// The lines of a lock file, to look places up in.
struct Lines(Vec<String>);

/// Spellings of a name as one.
fn folded(text: &str) -> String {
    text.to_ascii_lowercase().replace(['_', '.'], "-")
}

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.lines().map(folded).collect())
    }

    /// The line, from 1, on which an entry seems to begin: the first with its name that has its version on it or soon after.
    fn of_entry(&self, name: &str, version: Option<&str>) -> usize {
        let (name, version) = (folded(name), folded(version.unwrap_or_default()));
        let names = |line: &str| {
            line.match_indices(&name).any(|(at, _)| {
                let next = line[at + name.len()..].chars().next();
                let before = line[..at].chars().next_back();
                let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '-');
                !part(next) && !part(before)
            })
        };
        let with_version = self.0.iter().enumerate().find(|(at, line)| {
            names(line)
                && self.0[*at..]
                    .iter()
                    .take(3)
                    .any(|line| line.contains(&version))
        });
        with_version
            .or_else(|| self.0.iter().enumerate().find(|(_, line)| names(line)))
            .map_or(1, |(at, _)| at + 1)
    }
}
