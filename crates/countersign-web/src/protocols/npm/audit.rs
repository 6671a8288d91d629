//! What is known about vulnerabilities, as `npm audit` and others ask: package by package with its versions; or, the older question,
//! with a whole lock file, which clients ask where the newer one fails.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Cursor, Read as _};

use axum::body::Body;
use countersign_formats::Ecosystem;
use countersign_formats::archive::gzip::GzipReader;
use countersign_formats::archive::read_rejection;
use countersign_formats::osv::{Grade, Rule};
use countersign_registry::{Error, Kind, advisory_key};
use countersign_trust::digest::Sha256;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use serde::de::{DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{Answer, Call, json};
use crate::body::whole;
use crate::error::{Refusal, shown};

/// Longest question as sent, in bytes: a lock file of tens of thousands of packages.
const LONGEST: usize = 4 << 20;
/// Longest question once it is unpacked.
const LONGEST_UNPACKED: u64 = 8 << 20;

/// The most packages, and the most versions, of one question.
const MOST_ASKED: usize = 100_000;
/// The longest name or version that is looked up, in bytes.
const LONGEST_NAME: usize = 500;
/// So many places of one version in a tree are told.
const MOST_PATHS: usize = 20;
/// All places together, in bytes: deep trees repeat themselves in them.
const LONGEST_PATHS: usize = 1 << 20;

/// How many questions are read at one time; nobody needs a credential to ask.
static PLACES: Semaphore = Semaphore::const_new(4);

/// `{package: [versions]}` → `{package: [advisories]}`. What is asked about need not be here.
pub(super) async fn advisories(call: &Call<'_>, body: Body) -> Answer {
    let Versions(asked) = read(call.headers, body).await?;
    let registry = &call.site.registry;
    let keyed: Vec<(String, &String, &Vec<String>)> = asked
        .iter()
        .map(|(name, versions)| (advisory_key(Ecosystem::Npm, name), name, versions))
        .collect();
    let names: Vec<&str> = keyed.iter().map(|(key, ..)| key.as_str()).collect();
    let known = registry
        .advisory_rules(Ecosystem::Npm, &names)
        .await
        .map_err(Refusal::npm)?;
    let mut answer = serde_json::Map::new();
    for (key, name, versions) in keyed {
        let Some(rules) = known.get(&key) else {
            continue;
        };
        let mut told: BTreeMap<&str, (&Rule, Vec<&str>)> = BTreeMap::new();
        for version in versions {
            for finding in rules.findings(version) {
                let rule = finding.rule;
                let entry = told.entry(&rule.advisory.id);
                entry
                    .or_insert_with(|| (rule, Vec::new()))
                    .1
                    .push(version.as_str());
            }
        }
        if !told.is_empty() {
            let list = told
                .values()
                .map(|(rule, versions)| advisory(call, rule, versions));
            answer.insert(name.clone(), Value::Array(list.collect()));
        }
    }
    Ok(json(&Value::Object(answer)))
}

/// npm's clients know five words. What nobody rated gets the middle one; its title says so.
fn severity(grade: Grade) -> &'static str {
    match grade {
        Grade::None => "info",
        Grade::Low => "low",
        Grade::Unrated | Grade::Medium => "moderate",
        Grade::High => "high",
        Grade::Critical => "critical",
    }
}

/// An identifier as a number that JavaScript can hold: pnpm 11 and newer passes over an advisory whose `id` is a text, without a word.
fn number(id: &str) -> u64 {
    let digest = Sha256::of(id.as_bytes());
    let bytes = digest.as_bytes()[..6].iter();
    bytes.fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// An advisory as npm's clients read it, about versions that are meant, or may be.
fn advisory(call: &Call<'_>, rule: &Rule, versions: &[&str]) -> Value {
    let told = &rule.advisory;
    let severity = severity(told.rating.grade);
    let mut title = match told.summary.as_str() {
        "" => told.id.clone(),
        summary => summary.to_owned(),
    };
    if told.malware {
        title = format!("Malware: {title}");
    } else if told.rating.grade == Grade::Unrated {
        title = format!("{title} (severity not rated)");
    }
    let link = format!("{}/api/v1/advisories/{}", call.site.url(), told.id);
    json!({
        "id": number(&told.id),
        "url": told.url.as_deref().unwrap_or(&link),
        "title": title,
        "severity": severity,
        "vulnerable_versions": rule.semver_range(versions),
        "cwe": [],
        "cvss": { "score": told.rating.score.unwrap_or(0.0), "vectorString": told.rating.vector },
    })
}

/// A lock file's tree → a report: what older clients ask, and newer ones where the other question failed.
pub(super) async fn audit(call: &Call<'_>, body: Body) -> Answer {
    let tree: Tree = read(call.headers, body).await?;
    let keyed: Vec<(String, &String)> = tree
        .found
        .keys()
        .map(|name| (advisory_key(Ecosystem::Npm, name), name))
        .collect();
    let names: Vec<&str> = keyed.iter().map(|(key, _)| key.as_str()).collect();
    let known = call
        .site
        .registry
        .advisory_rules(Ecosystem::Npm, &names)
        .await
        .map_err(Refusal::npm)?;
    let mut report = Report::default();
    for (key, name) in keyed {
        let (Some(rules), Some(versions)) = (known.get(&key), tree.found.get(name)) else {
            continue;
        };
        let mut told: BTreeMap<&str, Concerned<'_>> = BTreeMap::new();
        for (version, uses) in versions {
            for finding in rules.findings(version) {
                let rule = finding.rule;
                let entry = told.entry(&rule.advisory.id);
                let entry = entry.or_insert_with(|| (rule, Vec::new()));
                entry.1.push((version.as_str(), uses));
            }
        }
        for (rule, found) in told.into_values() {
            report.add(call, name, rule, &found);
        }
    }
    Ok(json(&report.whole(tree.counted)))
}

/// Packages with their versions.
struct Versions(BTreeMap<String, Vec<String>>);

impl<'de> Deserialize<'de> for Versions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Packages;
        impl<'de> Visitor<'de> for Packages {
            type Value = Versions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of packages with lists of versions")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Versions, A::Error> {
                let mut asked: BTreeMap<String, Vec<String>> = BTreeMap::new();
                let mut versions = 0;
                while let Some((name, more)) = map.next_entry::<String, Vec<String>>()? {
                    versions += more.len();
                    if asked.len() >= MOST_ASKED || versions > MOST_ASKED {
                        let why = format!("it asks about more than {MOST_ASKED} versions");
                        return Err(serde::de::Error::custom(why));
                    }
                    // What is no name and no version of npm is in no advisory either.
                    if name.len() <= LONGEST_NAME {
                        let entry = asked.entry(name).or_default();
                        entry.extend(more.into_iter().filter(|one| one.len() <= LONGEST_NAME));
                    }
                }
                Ok(Versions(asked))
            }
        }
        deserializer.deserialize_map(Packages)
    }
}

/// How many packages there are, by kind.
#[derive(Clone, Copy, Default)]
struct Counted {
    usual: u64,
    dev: u64,
    optional: u64,
}

/// What is said of a package, and its versions in a tree that are meant.
type Concerned<'a> = (&'a Rule, Vec<(&'a str, &'a Uses)>);

/// Where a version of a package stands in a tree, and what for.
#[derive(Default)]
struct Uses {
    /// From the root down, as clients write it: `a>b`. The first few.
    paths: Vec<String>,
    /// Only to develop, wherever it stands.
    dev: bool,
    /// It may be left out, wherever it stands.
    optional: bool,
}

/// The packages below a lock file's root.
#[derive(Default)]
struct Tree {
    counted: Counted,
    found: BTreeMap<String, BTreeMap<String, Uses>>,
    versions: usize,
    /// Bytes of all paths.
    written: usize,
    path: Vec<String>,
}

impl Tree {
    /// Takes the package at the end of the path.
    fn take(&mut self, node: &Node) {
        match (node.dev, node.optional) {
            (true, _) => self.counted.dev += 1,
            (_, true) => self.counted.optional += 1,
            _ => self.counted.usual += 1,
        }
        let (Some(name), Some(version)) = (self.path.last(), &node.version) else {
            return;
        };
        // What is no name and no version of npm is in no advisory either.
        if name.len() > LONGEST_NAME || version.len() > LONGEST_NAME {
            return;
        }
        let known = self.found.get(name).and_then(|found| found.get(version));
        if known.is_none() {
            if self.versions >= MOST_ASKED {
                return;
            }
            self.versions += 1;
        }
        let versions = self.found.entry(name.clone()).or_default();
        let uses = versions.entry(version.clone()).or_insert(Uses {
            paths: Vec::new(),
            dev: true,
            optional: true,
        });
        uses.dev &= node.dev;
        uses.optional &= node.optional;
        let length: usize = self.path.iter().map(|name| name.len() + 1).sum();
        if uses.paths.len() < MOST_PATHS && self.written + length <= LONGEST_PATHS {
            self.written += length;
            uses.paths.push(self.path.join(">"));
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut tree = Self::default();
        deserializer.deserialize_map(Packed(&mut tree))?;
        Ok(tree)
    }
}

/// What is known of a package in the tree once it was read.
#[derive(Default)]
struct Node {
    version: Option<String>,
    dev: bool,
    optional: bool,
}

/// Reads a node: what is no object counts for nothing.
struct Packed<'a>(&'a mut Tree);

impl<'de> DeserializeSeed<'de> for Packed<'_> {
    type Value = Option<Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Packed<'_> {
    type Value = Option<Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a lock file's object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Node>, A::Error> {
        let mut node = Node::default();
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Dev => node.dev = map.next_value::<Option<bool>>()? == Some(true),
                Key::Optional => node.optional = map.next_value::<Option<bool>>()? == Some(true),
                Key::Version => node.version = map.next_value::<Option<String>>()?,
                Key::Dependencies => map.next_value_seed(Level(&mut *self.0))?,
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Some(node))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<Node>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<Node>, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Option<Node>, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Option<Node>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Option<Node>, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Option<Node>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<Node>, E> {
        Ok(None)
    }
}

/// The keys of a package that count.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Version,
    Dev,
    Optional,
    Dependencies,
    #[serde(other)]
    Other,
}

/// The packages of one level and all below them, or `null`.
struct Level<'a>(&'a mut Tree);

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of packages")
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let tree = self.0;
        while let Some(name) = map.next_key::<String>()? {
            tree.path.push(name);
            let node = map.next_value_seed(Packed(&mut *tree))?;
            if let Some(node) = node {
                tree.take(&node);
            }
            tree.path.pop();
        }
        Ok(())
    }
}

/// What is answered about a tree.
#[derive(Default)]
struct Report {
    advisories: serde_json::Map<String, Value>,
    actions: Vec<Value>,
    counted: BTreeMap<&'static str, u64>,
}

impl Report {
    /// An advisory, and the versions in the tree that it concerns.
    fn add(&mut self, call: &Call<'_>, name: &str, rule: &Rule, found: &[(&str, &Uses)]) {
        let versions: Vec<&str> = found.iter().map(|(version, _)| *version).collect();
        let mut told = advisory(call, rule, &versions);
        // Here they go by their names, in the keys too.
        told["id"] = json!(rule.advisory.id);
        let fixes = rule.fixes();
        let patched: Vec<String> = fixes.iter().map(|fix| format!(">={fix}")).collect();
        told["module_name"] = json!(name);
        told["overview"] = told["title"].clone();
        told["access"] = json!("public");
        told["recommendation"] = match fixes.is_empty() {
            true => json!("No version without it is known."),
            false => json!(format!("Take a version from {} on.", fixes.join(" or "))),
        };
        told["patched_versions"] = match patched.is_empty() {
            true => json!("<0.0.0"),
            false => json!(patched.join(" || ")),
        };
        told["cves"] = rule
            .advisory
            .aliases
            .iter()
            .filter(|alias| alias.starts_with("CVE-"))
            .cloned()
            .collect();
        told["findings"] = found
            .iter()
            .map(|(version, uses)| json!({
                "version": version, "paths": uses.paths, "dev": uses.dev, "optional": uses.optional, "bundled": false,
            }))
            .collect();
        let severity = severity(rule.advisory.rating.grade);
        let places: usize = found.iter().map(|(_, uses)| uses.paths.len().max(1)).sum();
        *self.counted.entry(severity).or_default() += places as u64;
        let id = rule.advisory.id.as_str();
        self.actions.push(json!({
            "action": "review", "module": name,
            "resolves": found.iter().flat_map(|(_, uses)| uses.paths.iter().map(|path| json!({
                "id": id, "path": path, "dev": uses.dev, "optional": uses.optional, "bundled": false,
            }))).collect::<Vec<_>>(),
        }));
        // A record may name several packages.
        let mut place = id.to_owned();
        if self.advisories.contains_key(&place) {
            place = format!("{id} {name}");
        }
        self.advisories.insert(place, told);
    }

    fn whole(self, counted: Counted) -> Value {
        let of = |severity: &str| self.counted.get(severity).copied().unwrap_or_default();
        json!({
            "actions": self.actions,
            "advisories": self.advisories,
            "muted": [],
            "metadata": {
                "vulnerabilities": {
                    "info": of("info"), "low": of("low"), "moderate": of("moderate"), "high": of("high"), "critical": of("critical"),
                },
                "dependencies": counted.usual,
                "devDependencies": counted.dev,
                "optionalDependencies": counted.optional,
                "totalDependencies": counted.usual + counted.dev + counted.optional,
            },
        })
    }
}

/// Reads the body, unpacked where it came packed, away from the async threads.
async fn read<T: DeserializeOwned + Send + 'static>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Refusal> {
    let encoding = headers
        .get(CONTENT_ENCODING)
        .map_or(&b""[..], |value| value.as_bytes());
    let packed = match encoding.trim_ascii() {
        b"" | b"identity" => false,
        b"gzip" | b"x-gzip" => true,
        other => {
            let message = format!(
                "The request body is encoded as {}, which is not understood here.",
                shown(&String::from_utf8_lossy(other))
            );
            let error = Error::new(Kind::Rejected, "content-encoding", message);
            return Err(Refusal::npm(
                error.remedy("Send it as it is, or packed with gzip."),
            ));
        }
    };
    let bytes = whole(body, LONGEST).await.map_err(Refusal::npm)?;
    let _place = PLACES
        .acquire()
        .await
        .map_err(|error| Refusal::npm(Error::internal("a semaphore was closed", error)))?;
    let reading = tokio::task::spawn_blocking(move || match packed {
        true => parse(&unpack(&bytes)?),
        false => parse(&bytes),
    });
    reading
        .await
        .map_err(|error| Refusal::npm(Error::internal("reading a question broke off", error)))?
        .map_err(Refusal::npm)
}

fn unpack(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    GzipReader::new(Cursor::new(bytes), false)?
        .take(LONGEST_UNPACKED + 1)
        .read_to_end(&mut out)
        .map_err(|error| Error::from(read_rejection(&error)))?;
    if out.len() as u64 > LONGEST_UNPACKED {
        let message = format!("The request body unpacks to more than {LONGEST_UNPACKED} bytes.");
        return Err(Error::new(Kind::TooLarge, "json-too-large", message)
            .remedy("Ask about fewer packages at once."));
    }
    Ok(out)
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("The request body is not the JSON that belongs here: {error}.");
        Error::new(Kind::Rejected, "json-malformed", message).remedy("Ask with npm, pnpm or yarn.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_of_a_tree_is_counted_once() {
        let tree: Tree = serde_json::from_value(json!({
            "name": "x", "version": "7.0.0", "requires": {"a": "1"},
            "dependencies": {
                "a": {"version": "1.0.0", "requires": true, "dependencies": {"b": {"version": "2.0.0", "dev": true}}},
                "c": {"version": "3.0.0", "optional": true},
                "odd": 1,
            },
        }))
        .unwrap();
        let places = |name: &str, version: &str| tree.found[name][version].paths.join(" ");
        assert_eq!(
            (places("b", "2.0.0"), places("c", "3.0.0")),
            ("a>b".to_owned(), "c".to_owned())
        );
        assert!(tree.found["b"]["2.0.0"].dev && !tree.found["a"]["1.0.0"].dev);
        let metadata = &Report::default().whole(tree.counted)["metadata"];
        for (kind, count) in [
            ("dependencies", 1),
            ("devDependencies", 1),
            ("optionalDependencies", 1),
            ("totalDependencies", 3),
        ] {
            assert_eq!(metadata[kind], count, "{kind}");
        }
    }

    #[test]
    fn questions_are_read_strictly_and_trees_do_not_grow_in_memory() {
        for (good, question) in [
            (true, r#"{"a": ["1.0.0"], "@s/b": []}"#),
            (false, r#"{"a": "1.0.0"}"#),
            (false, r#"{"a": [1]}"#),
            (false, "[]"),
            (false, r#"{"a": ["1.0.0"]"#),
        ] {
            assert_eq!(
                parse::<Versions>(question.as_bytes()).is_ok(),
                good,
                "{question}"
            );
        }
        for (good, tree) in [
            (true, "{}"),
            (true, r#"{"dependencies": null}"#),
            (false, r#"{"dependencies": 1}"#),
            (false, r#"{"dependencies": {"a": {"dev": "yes"}}}"#),
            (false, "[]"),
        ] {
            assert_eq!(parse::<Tree>(tree.as_bytes()).is_ok(), good, "{tree}");
        }
        // Fifty levels with a long list at their end: what is no package is skipped, and copied at no level.
        let zeros = vec!["0"; 1 << 20].join(",");
        let nested = |levels: usize, end: &str| {
            let begin = "{\"dependencies\":{\"a\":".repeat(levels);
            format!("{begin}{end}{}", "}}".repeat(levels))
        };
        let deep = nested(50, &format!("{{\"x\":[{zeros}]}}"));
        let tree: Tree = parse(deep.as_bytes()).unwrap();
        assert_eq!(tree.counted.usual, 50);
        assert!(parse::<Tree>(nested(100, "{}").as_bytes()).is_err());
        // Many packages at a deep place: their paths are told while there is room.
        let name = "n".repeat(400);
        let leaves: Vec<String> = (0..20_000)
            .map(|at| format!("\"p{at}\":{{\"version\":\"1.0.0\"}}"))
            .collect();
        let begin = format!("{{\"dependencies\":{{\"{name}\":").repeat(50);
        let end = format!("{{\"dependencies\":{{{}}}}}", leaves.join(","));
        let tree: Tree = parse(format!("{begin}{end}{}", "}}".repeat(50)).as_bytes()).unwrap();
        assert_eq!((tree.counted.usual, tree.found.len()), (20_050, 20_000));
        assert!(tree.written <= LONGEST_PATHS);
    }

    #[test]
    fn a_body_that_unpacks_without_end_is_refused() {
        // Stored blocks of deflate, with a header of gzip: no compressor is needed to write them.
        let packed = |content: &[u8]| {
            let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
            let chunks: Vec<&[u8]> = content.chunks(0xffff).collect();
            for (at, chunk) in chunks.iter().enumerate() {
                let length = u16::try_from(chunk.len()).unwrap();
                out.push(u8::from(at + 1 == chunks.len()));
                out.extend(length.to_le_bytes());
                out.extend((!length).to_le_bytes());
                out.extend_from_slice(chunk);
            }
            out.extend(crc32(content).to_le_bytes());
            out.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
            out
        };
        let small = packed(b"{}");
        assert_eq!(unpack(&small).unwrap(), b"{}");
        let large = packed(&vec![b' '; usize::try_from(LONGEST_UNPACKED).unwrap() + 1]);
        assert_eq!(unpack(&large).unwrap_err().code, "json-too-large");
        assert_eq!(
            unpack(&[small.clone(), small.clone()].concat())
                .unwrap_err()
                .code,
            "archive-trailing-data"
        );
        assert!(unpack(&small[..small.len() - 1]).is_err());
        assert!(unpack(b"{}").is_err());
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let mut crc = u32::MAX;
        for byte in bytes {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
            }
        }
        !crc
    }
}
