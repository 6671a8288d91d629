//! What is known about vulnerabilities, as `npm audit` and others ask: package by package with its versions. The older question, with
//! a whole lock file, is counted and answered with nothing: clients ask it where the newer one fails.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Cursor, Read as _};
use std::ops::AddAssign;

use axum::body::Body;
use countersign_formats::Ecosystem;
use countersign_formats::archive::gzip::GzipReader;
use countersign_formats::archive::read_rejection;
use countersign_formats::osv::{Grade, Rule};
use countersign_registry::{Error, Kind, advisory_key};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
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

/// An advisory as npm's clients read it, about versions that are meant, or may be.
fn advisory(call: &Call<'_>, rule: &Rule, versions: &[&str]) -> Value {
    let told = &rule.advisory;
    // npm's clients know five words. What nobody rated gets the middle one, and says so.
    let severity = match told.rating.grade {
        Grade::None => "info",
        Grade::Low => "low",
        Grade::Unrated | Grade::Medium => "moderate",
        Grade::High => "high",
        Grade::Critical => "critical",
    };
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
        "id": told.id,
        "url": told.url.as_deref().unwrap_or(&link),
        "title": title,
        "severity": severity,
        "vulnerable_versions": rule.semver_range(versions),
        "cwe": [],
        "cvss": { "score": told.rating.score.unwrap_or(0.0), "vectorString": told.rating.vector },
    })
}

/// A lock file's tree → a report. Only the numbers of packages are looked at.
pub(super) async fn audit(call: &Call<'_>, body: Body) -> Answer {
    let Tree(counted) = read(call.headers, body).await?;
    Ok(json(&report(counted)))
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

/// A text: read, and not kept.
struct Text;

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E>(self, _: &str) -> Result<Text, E> {
                Ok(Text)
            }
        }
        deserializer.deserialize_str(Any)
    }
}

/// How many packages there are, by kind.
#[derive(Clone, Copy, Default)]
struct Counted {
    usual: u64,
    dev: u64,
    optional: u64,
}

impl AddAssign for Counted {
    fn add_assign(&mut self, more: Self) {
        self.usual += more.usual;
        self.dev += more.dev;
        self.optional += more.optional;
    }
}

/// The packages below a lock file's root: counted while it is read, and not kept.
struct Tree(Counted);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let root = deserializer.deserialize_map(Packed)?;
        match root.package {
            true => Ok(Self(root.below)),
            false => Err(serde::de::Error::custom("it is no object")),
        }
    }
}

/// A package in the tree.
#[derive(Default)]
struct Node {
    /// Whether it is one: what is no object counts for nothing.
    package: bool,
    dev: bool,
    optional: bool,
    below: Counted,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Packed)
    }
}

/// Reads a node.
struct Packed;

impl<'de> Visitor<'de> for Packed {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a lock file's object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut node = Node {
            package: true,
            ..Node::default()
        };
        while let Some(key) = map.next_key::<Key>()? {
            match key {
                Key::Dev => node.dev = map.next_value::<Option<bool>>()? == Some(true),
                Key::Optional => node.optional = map.next_value::<Option<bool>>()? == Some(true),
                Key::Dependencies => {
                    if let Some(Level(counted)) = map.next_value::<Option<Level>>()? {
                        node.below += counted;
                    }
                }
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(node)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Node::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::default())
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::default())
    }
}

/// The keys of a package that count.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Key {
    Dev,
    Optional,
    Dependencies,
    #[serde(other)]
    Other,
}

/// The packages of one level and all below them.
struct Level(Counted);

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Packages;
        impl<'de> Visitor<'de> for Packages {
            type Value = Level;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of packages")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Level, A::Error> {
                let mut counted = Counted::default();
                while let Some((Text, node)) = map.next_entry::<Text, Node>()? {
                    counted += node.below;
                    match (node.package, node.dev, node.optional) {
                        (false, ..) => {}
                        (_, true, _) => counted.dev += 1,
                        (_, _, true) => counted.optional += 1,
                        _ => counted.usual += 1,
                    }
                }
                Ok(Level(counted))
            }
        }
        deserializer.deserialize_map(Packages)
    }
}

fn report(counted: Counted) -> Value {
    json!({
        "actions": [],
        "advisories": {},
        "muted": [],
        "metadata": {
            "vulnerabilities": { "info": 0, "low": 0, "moderate": 0, "high": 0, "critical": 0 },
            "dependencies": counted.usual,
            "devDependencies": counted.dev,
            "optionalDependencies": counted.optional,
            "totalDependencies": counted.usual + counted.dev + counted.optional,
        },
    })
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
        let Tree(counted) = serde_json::from_value(json!({
            "name": "x", "requires": {"a": "1"},
            "dependencies": {
                "a": {"version": "1.0.0", "requires": true, "dependencies": {"b": {"version": "2.0.0", "dev": true}}},
                "c": {"version": "3.0.0", "optional": true},
                "odd": 1,
            },
        }))
        .unwrap();
        let metadata = &report(counted)["metadata"];
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
    fn questions_are_read_strictly_and_trees_are_not_kept_in_memory() {
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
        let Tree(counted) = parse(deep.as_bytes()).unwrap();
        assert_eq!(counted.usual, 50);
        assert!(parse::<Tree>(nested(100, "{}").as_bytes()).is_err());
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
