//! The small documents of an npm registry: keys, signatures, attestations, search, answers.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    documents::{Person, time},
    name::PackageName,
    publish::hex,
};
use crate::Rejection;

/// What the registry signs for a version, with ECDSA over P-256 and SHA-256. `integrity` is
/// `sha512-…` as in the packument.
pub fn signature_payload(name: &str, version: &str, integrity: &str) -> String {
    format!("{name}@{version}:{integrity}")
}

/// What stands before the 65 bytes of a point in the DER (SubjectPublicKeyInfo) of a P-256 key.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The `keyid` of a public key over P-256 in DER (SubjectPublicKeyInfo): its fingerprint as SSH
/// writes it, which is what the public registry does.
///
/// # Errors
/// Refuses other keys, for which npm's clients have no name.
pub fn keyid(der: &[u8]) -> Result<String, Rejection> {
    let point = der
        .strip_prefix(&P256)
        .filter(|point| point.len() == 65 && point[0] == 4)
        .ok_or_else(|| {
            Rejection::new(
                "npm-key",
                "The key that signs versions is not an uncompressed one over P-256.",
            )
        })?;
    let mut blob = Vec::new();
    for part in [b"ecdsa-sha2-nistp256", &b"nistp256"[..], point] {
        // Far shorter than a length can say.
        blob.extend((part.len() as u32).to_be_bytes());
        blob.extend(part);
    }
    let digest = STANDARD.encode(Sha256::digest(&blob));
    Ok(format!("SHA256:{}", digest.trim_end_matches('=')))
}

/// A key with which versions are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// SubjectPublicKeyInfo in DER.
    pub der: Vec<u8>,
    /// From when on its signatures do not count, in microseconds since 1970 UTC. Clients honour those
    /// of versions that were published before.
    pub expires: Option<i64>,
}

/// The answer to a request for the keys. No keys at all are no answer: 404 tells clients so.
///
/// # Errors
/// Refuses keys that [`keyid`] refuses.
pub fn keys(keys: &[Key]) -> Result<String, Rejection> {
    let keys = keys
        .iter()
        .map(|key| {
            Ok(json!({
                "expires": key.expires.map(time),
                "keyid": keyid(&key.der)?,
                "keytype": "ecdsa-sha2-nistp256",
                "scheme": "ecdsa-sha2-nistp256",
                "key": STANDARD.encode(&key.der),
            }))
        })
        .collect::<Result<Vec<Value>, Rejection>>()?;
    Ok(json!({ "keys": keys }).to_string())
}

/// The subject of an attestation: the package URL as npm writes it.
pub fn subject(name: &PackageName, version: &str) -> String {
    format!(
        "pkg:npm/{}@{version}",
        name.as_str().replacen('@', "%40", 1)
    )
}

/// The attestations of a version: predicate types and bundles, which are JSON texts as received.
///
/// # Errors
/// Fails for a bundle that is no JSON.
pub fn attestations(bundles: &[(&str, &str)]) -> Result<String, Rejection> {
    let mut out = String::from("{\"attestations\":[");
    for (at, (predicate, bundle)) in bundles.iter().enumerate() {
        serde_json::from_str::<serde::de::IgnoredAny>(bundle).map_err(|error| {
            Rejection::new(
                "npm-bundle",
                format!("A stored bundle is no JSON: {error}."),
            )
        })?;
        if at > 0 {
            out.push(',');
        }
        out.push_str("{\"predicateType\":");
        out.push_str(&json!(predicate).to_string());
        out.push_str(",\"bundle\":");
        out.push_str(bundle);
        out.push('}');
    }
    out.push_str("]}");
    Ok(out)
}

/// The `_rev` of a package, by which clients say what they change. Only its number counts.
pub fn rev(name: &str, serial: u64) -> String {
    let digest = hex(&Sha256::digest(format!("{name}\n{serial}")));
    format!("{serial}-{}", &digest[..32])
}

/// Whether a `_rev` that a client sends is the package's present one. What differs is a conflict:
/// clients then fetch again and repeat.
///
/// # Errors
/// Refuses what is no `_rev` of this package.
pub fn check_rev(sent: &str, name: &str, serial: u64) -> Result<(), Rejection> {
    if sent == rev(name, serial) {
        return Ok(());
    }
    Err(Rejection::new(
        "npm-rev",
        format!(
            "The package has changed: its _rev is no longer {}.",
            crate::rejection::quoted(sent)
        ),
    )
    .with_remedy("Fetch it again and repeat."))
}

/// One hit of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The package.
    pub name: String,
    /// Its newest version.
    pub version: String,
    /// One line.
    pub description: Option<String>,
    /// Words.
    pub keywords: Vec<String>,
    /// When the version was published, in microseconds since 1970 UTC.
    pub published: i64,
    /// `(npm|homepage|repository|bugs, URL)`.
    pub links: Vec<(String, String)>,
    /// Who published it.
    pub publisher: Option<Person>,
    /// The owners.
    pub maintainers: Vec<Person>,
    /// How well it fits, from 0 to 1.
    pub score: f64,
}

/// The answer to a search; `now` in microseconds since 1970 UTC.
pub fn search(hits: &[Hit], total: u64, now: i64) -> String {
    #[derive(Serialize)]
    struct User<'a> {
        username: &'a str,
        email: &'a str,
    }
    fn user(person: &Person) -> User<'_> {
        User {
            username: &person.name,
            email: &person.email,
        }
    }
    let objects: Vec<Value> = hits
        .iter()
        .map(|hit| {
            let links: Map<String, Value> = hit.links.iter().map(|(kind, url)| (kind.clone(), json!(url))).collect();
            let scope = hit.name.strip_prefix('@').and_then(|name| name.split('/').next()).unwrap_or("unscoped");
            json!({
                "package": {
                    "name": hit.name, "scope": scope, "version": hit.version, "description": hit.description,
                    "keywords": hit.keywords, "date": time(hit.published), "links": links,
                    "publisher": hit.publisher.as_ref().map(user),
                    "maintainers": hit.maintainers.iter().map(user).collect::<Vec<_>>(),
                },
                "score": { "final": hit.score, "detail": { "quality": hit.score, "popularity": hit.score, "maintenance": hit.score } },
                "searchScore": hit.score,
            })
        })
        .collect();
    json!({ "objects": objects, "total": total, "time": time(now) }).to_string()
}

/// The body of a refusal. npm prints `error`, others `message`; the way out is part of both.
pub fn error(code: &str, message: &str) -> String {
    json!({ "error": message, "message": message, "code": code }).to_string()
}

/// The body of a success that says nothing else.
pub fn ok(id: &str, rev: &str) -> String {
    json!({ "ok": true, "success": true, "id": id, "rev": rev }).to_string()
}

/// The tags of a package.
pub fn tags(tags: &[(String, String)]) -> String {
    let tags: Map<String, Value> = tags
        .iter()
        .map(|(tag, version)| (tag.clone(), json!(version)))
        .collect();
    Value::Object(tags).to_string()
}

/// The body of a refusal that asks for a second factor by way of the browser.
pub fn step_up(auth_url: &str, done_url: &str) -> String {
    json!({ "authUrl": auth_url, "doneUrl": done_url, "error": "Open the URL to confirm with your passkey.", "message": "Open the URL to confirm with your passkey." }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_and_subject_are_as_clients_build_them() {
        assert_eq!(
            signature_payload("@s/n", "1.0.0", "sha512-x"),
            "@s/n@1.0.0:sha512-x"
        );
        let name = PackageName::parse("@s/n").unwrap();
        assert_eq!(subject(&name, "1.0.0"), "pkg:npm/%40s/n@1.0.0");
        assert_eq!(
            subject(&PackageName::parse("n").unwrap(), "1.0.0-a"),
            "pkg:npm/n@1.0.0-a"
        );
    }

    #[test]
    fn key_ids_are_those_of_the_public_registry() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../../shared/vectors/sigstore/npm_keys.json"
        );
        let published: Value =
            serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let published = published["keys"].as_array().unwrap();
        assert!(published.len() >= 3);
        for key in published {
            let der = STANDARD
                .decode(key["publicKey"]["rawBytes"].as_str().unwrap())
                .unwrap();
            assert_eq!(keyid(&der).unwrap(), key["keyId"].as_str().unwrap());
            let document: Value = serde_json::from_str(
                &keys(&[Key {
                    der: der.clone(),
                    expires: Some(0),
                }])
                .unwrap(),
            )
            .unwrap();
            assert_eq!(document["keys"][0]["expires"], "1970-01-01T00:00:00.000Z");
            assert_eq!(document["keys"][0]["key"], key["publicKey"]["rawBytes"]);
            assert!(keyid(&der[1..]).is_err() && keyid(&der[..90]).is_err());
        }
    }

    #[test]
    fn bundles_are_passed_on_byte_for_byte() {
        let bundle = "{ \"b\" : 1,\"a\":2 }";
        let document = attestations(&[("https://p.example/\"", bundle), ("q", "{}")]).unwrap();
        assert!(document.contains(bundle));
        let value: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(
            value["attestations"][0]["predicateType"],
            "https://p.example/\""
        );
        assert!(attestations(&[("p", "{} {}")]).is_err());
    }

    #[test]
    fn a_rev_is_good_for_one_state_of_one_package() {
        let now = rev("a", 7);
        assert!(now.starts_with("7-") && check_rev(&now, "a", 7).is_ok());
        for (sent, name, serial) in [
            (now.as_str(), "a", 8),
            (&now, "b", 7),
            ("7-0", "a", 7),
            ("", "a", 7),
            ("undefined", "a", 7),
        ] {
            assert_eq!(check_rev(sent, name, serial).unwrap_err().code, "npm-rev");
        }
    }

    #[test]
    fn foreign_texts_stay_texts() {
        let hit = Hit {
            name: "@s/n".to_owned(),
            version: "1.0.0".to_owned(),
            description: Some("\"},{\u{0}".to_owned()),
            keywords: vec!["k".to_owned()],
            published: 1,
            links: vec![("npm".to_owned(), "https://a.example".to_owned())],
            publisher: None,
            maintainers: vec![Person {
                name: "p".to_owned(),
                email: String::new(),
            }],
            score: 0.5,
        };
        let value: Value = serde_json::from_str(&search(&[hit], 1, 0)).unwrap();
        assert_eq!(value["objects"][0]["package"]["description"], "\"},{\u{0}");
        assert_eq!(value["objects"][0]["package"]["scope"], "s");
        for text in [
            error("c", "m\n\""),
            ok("i", "r"),
            tags(&[("a".to_owned(), "1.0.0".to_owned())]),
            step_up("a", "b"),
        ] {
            serde_json::from_str::<Value>(&text).unwrap();
        }
    }
}
