//! What is known about vulnerabilities, as `npm audit`, `pnpm audit` and `yarn audit` ask. There is no collection of
//! advisories here yet, so that nothing is known of any package; the questions are read strictly all the same.

use std::collections::BTreeMap;
use std::io::{Cursor, Read as _};

use axum::body::Body;
use countersign_formats::archive::gzip::GzipReader;
use countersign_formats::archive::read_rejection;
use countersign_registry::{Error, Kind};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{Answer, Call, json};
use crate::body::whole;
use crate::error::{Refusal, shown};

/// Longest question as sent, in bytes: a lock file of tens of thousands of packages.
const LONGEST: usize = 4 << 20;
/// Longest question once it is unpacked.
const LONGEST_UNPACKED: u64 = 32 << 20;

/// `{package: [versions]}` → `{package: [advisories]}`.
pub(super) async fn advisories(call: &Call<'_>, body: Body) -> Answer {
    let question = read(call.headers, body).await?;
    parse::<BTreeMap<String, Vec<String>>>(&question)?;
    Ok(json(&json!({})))
}

/// A lock file's tree → a report. Only the numbers of packages are looked at.
pub(super) async fn audit(call: &Call<'_>, body: Body) -> Answer {
    let question = read(call.headers, body).await?;
    let tree: Tree = parse(&question)?;
    let mut counted = Counted::default();
    counted.add(&tree.dependencies);
    Ok(json(&report(&counted)))
}

/// A lock file's tree, as far as it is counted.
#[derive(Deserialize)]
struct Tree {
    #[serde(default)]
    dependencies: BTreeMap<String, Node>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Node {
    Package {
        #[serde(default)]
        dev: bool,
        #[serde(default)]
        optional: bool,
        #[serde(default)]
        dependencies: BTreeMap<String, Node>,
    },
    Other(IgnoredAny),
}

#[derive(Default)]
struct Counted {
    usual: u64,
    dev: u64,
    optional: u64,
}

impl Counted {
    fn add(&mut self, nodes: &BTreeMap<String, Node>) {
        for node in nodes.values() {
            if let Node::Package {
                dev,
                optional,
                dependencies,
            } = node
            {
                match (dev, optional) {
                    (true, _) => self.dev += 1,
                    (_, true) => self.optional += 1,
                    _ => self.usual += 1,
                }
                self.add(dependencies);
            }
        }
    }
}

fn report(counted: &Counted) -> Value {
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

/// The body, unpacked where it came packed.
async fn read(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Refusal> {
    let bytes = whole(body, LONGEST).await.map_err(Refusal::npm)?;
    let encoding = headers
        .get(CONTENT_ENCODING)
        .map_or(&b""[..], |value| value.as_bytes());
    match encoding.trim_ascii() {
        b"" | b"identity" => Ok(bytes.into()),
        b"gzip" | b"x-gzip" => unpack(&bytes).map_err(Refusal::npm),
        other => {
            let message = format!(
                "The request body is encoded as {}, which is not understood here.",
                shown(&String::from_utf8_lossy(other))
            );
            let error = Error::new(Kind::Rejected, "content-encoding", message);
            Err(Refusal::npm(
                error.remedy("Send it as it is, or packed with gzip."),
            ))
        }
    }
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

fn parse<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(bytes).map_err(|error| {
        let message = format!("The request body is not the JSON that belongs here: {error}.");
        Refusal::npm(
            Error::new(Kind::Rejected, "json-malformed", message)
                .remedy("Ask with npm, pnpm or yarn."),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_of_a_tree_is_counted_once() {
        let tree: Tree = serde_json::from_value(json!({
            "name": "x", "requires": {"a": "1"},
            "dependencies": {
                "a": {"version": "1.0.0", "requires": true, "dependencies": {"b": {"version": "2.0.0", "dev": true}}},
                "c": {"version": "3.0.0", "optional": true},
                "odd": 1,
            },
        }))
        .unwrap();
        let mut counted = Counted::default();
        counted.add(&tree.dependencies);
        let metadata = &report(&counted)["metadata"];
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
