//! What a packument promises: the client's side of [`super::documents`].

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};

use super::{name::PackageName, version};
use crate::{Limits, Promise, Rejection, rejection::quoted};

/// The tarballs that a packument, abbreviated or full, promises, in order. One without a SHA-256
/// digest promises nothing and is left out, so that whoever demands a promise refuses it.
///
/// # Errors
/// Refuses documents over `limits.max_document` bytes, that are no packuments, have a version twice
/// or not in normal form, or give a malformed digest.
pub fn promises(document: &[u8], limits: &Limits) -> Result<Vec<Promise>, Rejection> {
    #[derive(Deserialize)]
    struct Document {
        name: String,
        versions: Versions,
    }
    if document.len() > limits.max_document {
        return Err(Rejection::new(
            "document-too-large",
            format!(
                "The packument has {} bytes; at most {} are read.",
                document.len(),
                limits.max_document
            ),
        ));
    }
    let invalid = |why: String| {
        Rejection::new(
            "document-invalid",
            format!("The packument is not usable: {why}."),
        )
    };
    let document: Document =
        serde_json::from_slice(document).map_err(|error| invalid(error.to_string()))?;
    let name = PackageName::parse(&document.name)?;
    let mut found = Vec::new();
    for (version, shown) in document.versions.0 {
        if !version::is_canonical(&version) {
            return Err(invalid(format!(
                "{} is no version in normal form",
                quoted(&version)
            )));
        }
        if shown.version.as_deref().is_some_and(|said| said != version) {
            return Err(invalid(format!(
                "the version {version} says that it is another one"
            )));
        }
        let Some(ours) = shown.dist.countersign else {
            continue;
        };
        let Some(sha256) = ours.sha256 else { continue };
        if sha256.len() != 64
            || !sha256
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(invalid(format!(
                "{} is given as SHA-256 of {version}",
                quoted(&sha256)
            )));
        }
        found.push(Promise {
            filename: name.tarball(&version),
            url: shown.dist.tarball,
            sha256,
            size: ours.size,
            leaf_index: ours.leaf,
            proof_url: ours.proof,
        });
    }
    Ok(found)
}

#[derive(Deserialize)]
struct Shown {
    version: Option<String>,
    dist: Dist,
}

#[derive(Deserialize)]
struct Dist {
    tarball: String,
    #[serde(rename = "_countersign")]
    countersign: Option<Ours>,
}

#[derive(Deserialize)]
struct Ours {
    sha256: Option<String>,
    size: Option<u64>,
    leaf: Option<u64>,
    proof: Option<String>,
}

/// The versions in the order of the document, none twice.
struct Versions(Vec<(String, Shown)>);

impl<'de> Deserialize<'de> for Versions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Versions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("versions")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Versions, A::Error> {
                let mut seen = HashSet::new();
                let mut versions = Vec::new();
                while let Some(entry) = map.next_entry::<String, Shown>()? {
                    if !seen.insert(entry.0.clone()) {
                        return Err(de::Error::custom("it has a version twice"));
                    }
                    versions.push(entry);
                }
                Ok(Versions(versions))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
