//! The body of a publish request: a length, JSON, a length, the `.crate`. Only the archive is
//! believed; a request that says something else is refused, so that nobody reviews one thing and
//! installs another.
//!
//! What cargo sends ends there. A third part may follow, a length and a JSON list of attestations, so
//! that provenance comes with the crate and not after it (`docs/spec/cargo.md`).

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{
    CrateDependency, Kind, OwnIndex, Source, features::Features, inspect::filename, manifest, name,
    platform, version,
};
use crate::{Manifest, Rejection, rejection::quoted};

/// Largest JSON part.
pub const MAX_JSON: u32 = 1 << 20;
/// Largest list of attestations.
pub const MAX_ATTESTATIONS: u32 = 2 << 20;
/// Most dependencies of a request.
const MAX_DEPENDENCIES: usize = 2_000;

/// Takes a publish body apart while it arrives. Holds the JSON parts only; the bytes of the `.crate`
/// are handed back piece by piece.
#[derive(Debug)]
pub struct Framing {
    at: Part,
    json: Vec<u8>,
    attestations: Vec<u8>,
    max_crate: u64,
}

/// Which part the next byte belongs to.
#[derive(Debug)]
enum Part {
    JsonLength(Number),
    Json { missing: usize },
    CrateLength(Number),
    Crate { size: u32, missing: u32 },
    AttestationsLength { size: u32, number: Number },
    Attestations { size: u32, missing: usize },
}

/// A little-endian number of four bytes, as far as it has come.
#[derive(Debug, Default)]
struct Number {
    bytes: [u8; 4],
    seen: usize,
}

impl Number {
    /// Takes what it needs from the beginning of `chunk`; the number, once it is whole.
    fn take(&mut self, chunk: &mut &[u8]) -> Option<u32> {
        let (mine, rest) = chunk.split_at(chunk.len().min(4 - self.seen));
        self.bytes[self.seen..self.seen + mine.len()].copy_from_slice(mine);
        self.seen += mine.len();
        *chunk = rest;
        (self.seen == 4).then(|| u32::from_le_bytes(self.bytes))
    }
}

fn framing(code: &'static str, why: String) -> Rejection {
    Rejection::new(code, why).with_remedy("Publish with cargo, or write the body as it does: a 32-bit little-endian length and the JSON, then such a length and the .crate.")
}

impl Framing {
    /// A body that has not begun, with a `.crate` of at most `max_crate` bytes.
    pub fn new(max_crate: u64) -> Self {
        Self {
            at: Part::JsonLength(Number::default()),
            json: Vec::new(),
            attestations: Vec::new(),
            max_crate,
        }
    }

    /// Takes the next bytes of the body; answers with those among them that belong to the `.crate`.
    ///
    /// # Errors
    /// Refuses lengths over the limits as soon as they are known, and bytes after the last part.
    pub fn push<'a>(&mut self, mut chunk: &'a [u8]) -> Result<&'a [u8], Rejection> {
        let trailing = || {
            framing(
                "publish-trailing-data",
                "The request has bytes after the .crate that are no list of attestations."
                    .to_owned(),
            )
        };
        let mut of_crate: &[u8] = &[];
        while !chunk.is_empty() {
            match &mut self.at {
                Part::JsonLength(number) => {
                    let Some(length) = number.take(&mut chunk) else {
                        continue;
                    };
                    if length > MAX_JSON {
                        return Err(framing(
                            "publish-metadata-too-large",
                            format!(
                                "The JSON part is said to have {length} bytes; at most {MAX_JSON} are read."
                            ),
                        ));
                    }
                    self.at = Part::Json {
                        missing: length as usize,
                    };
                }
                Part::Json { missing: 0 } => self.at = Part::CrateLength(Number::default()),
                Part::Json { missing } => {
                    let (mine, rest) = chunk.split_at(chunk.len().min(*missing));
                    self.json.extend_from_slice(mine);
                    *missing -= mine.len();
                    chunk = rest;
                }
                Part::CrateLength(number) => {
                    let Some(size) = number.take(&mut chunk) else {
                        continue;
                    };
                    if u64::from(size) > self.max_crate {
                        return Err(Rejection::new(
                            "file-too-large",
                            format!(
                                "The file has {size} bytes; at most {} are accepted.",
                                self.max_crate
                            ),
                        ));
                    }
                    self.at = Part::Crate {
                        size,
                        missing: size,
                    };
                }
                Part::Crate { size, missing } => {
                    let mine = chunk.len().min(*missing as usize);
                    let (mine, rest) = chunk.split_at(mine);
                    if !mine.is_empty() {
                        of_crate = mine;
                    }
                    // Not longer than what is missing, which is a u32.
                    *missing -= mine.len() as u32;
                    chunk = rest;
                    if !rest.is_empty() {
                        self.at = Part::AttestationsLength {
                            size: *size,
                            number: Number::default(),
                        };
                    }
                }
                Part::AttestationsLength { size, number } => {
                    let Some(length) = number.take(&mut chunk) else {
                        continue;
                    };
                    if length > MAX_ATTESTATIONS {
                        return Err(trailing());
                    }
                    self.at = Part::Attestations {
                        size: *size,
                        missing: length as usize,
                    };
                }
                Part::Attestations { missing: 0, .. } => return Err(trailing()),
                Part::Attestations { missing, .. } => {
                    let (mine, rest) = chunk.split_at(chunk.len().min(*missing));
                    self.attestations.extend_from_slice(mine);
                    *missing -= mine.len();
                    chunk = rest;
                }
            }
        }
        Ok(of_crate)
    }

    /// The JSON part, as soon as it is whole: who may publish what can be asked before the `.crate`
    /// comes.
    pub fn json(&self) -> Option<&[u8]> {
        match self.at {
            Part::JsonLength(_) => None,
            Part::Json { missing } => (missing == 0).then_some(&self.json),
            _ => Some(&self.json),
        }
    }

    /// The length of the `.crate`, as soon as it is known.
    pub fn crate_size(&self) -> Option<u64> {
        match self.at {
            Part::Crate { size, .. }
            | Part::AttestationsLength { size, .. }
            | Part::Attestations { size, .. } => Some(u64::from(size)),
            _ => None,
        }
    }

    /// Says that the body is over.
    ///
    /// # Errors
    /// Refuses bodies that end too early.
    pub fn finish(self) -> Result<PublishRequest, Rejection> {
        match self.at {
            Part::Crate { missing: 0, .. } | Part::Attestations { missing: 0, .. } => {
                let mut request = PublishRequest::parse(&self.json)?;
                if !self.attestations.is_empty() {
                    let list = String::from_utf8(self.attestations).map_err(|_| {
                        framing(
                            "publish-trailing-data",
                            "What follows the .crate is not UTF-8, so it is no list of attestations."
                                .to_owned(),
                        )
                    })?;
                    request.attestations = Some(list);
                }
                Ok(request)
            }
            Part::AttestationsLength { .. } => Err(framing(
                "publish-trailing-data",
                "The request has bytes after the .crate that are no list of attestations."
                    .to_owned(),
            )),
            _ => Err(framing(
                "publish-truncated",
                "The request ends too early.".to_owned(),
            )),
        }
    }
}

/// The JSON part: what the client says of the crate. Fields that only describe are not read.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PublishRequest {
    /// The crate's name.
    pub name: String,
    /// The version.
    pub vers: String,
    /// Dependencies; none is not the same as an empty list.
    deps: Option<Vec<RequestDependency>>,
    features: Option<Features>,
    #[serde(default)]
    links: Option<String>,
    #[serde(default)]
    rust_version: Option<String>,
    /// The third part of the body: a JSON list of attestations. Never read from the JSON part.
    #[serde(skip)]
    pub attestations: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct RequestDependency {
    name: String,
    version_req: String,
    #[serde(default)]
    features: Vec<String>,
    optional: bool,
    default_features: bool,
    target: Option<String>,
    kind: Option<Kind>,
    registry: Option<String>,
    explicit_name_in_toml: Option<String>,
}

impl PublishRequest {
    /// Reads the JSON part.
    ///
    /// # Errors
    /// Refuses what is not as cargo sends it, has a key twice, or a name or version that cannot be.
    pub fn parse(json: &[u8]) -> Result<Self, Rejection> {
        if json.len() > MAX_JSON as usize {
            return Err(framing(
                "publish-metadata-too-large",
                format!("The JSON part has more than {MAX_JSON} bytes."),
            ));
        }
        let request: Self = serde_json::from_slice(json).map_err(|error| {
            Rejection::new(
                "publish-metadata",
                format!("The JSON part is not as cargo sends it: {error}."),
            )
        })?;
        name::key(&request.name)?;
        version::parse(&request.vers)?;
        if request
            .deps
            .as_ref()
            .is_some_and(|deps| deps.len() > MAX_DEPENDENCIES)
        {
            return Err(Rejection::new(
                "dependencies-too-many",
                format!("The request names more than {MAX_DEPENDENCIES} dependencies."),
            ));
        }
        Ok(request)
    }

    /// The name under which the `.crate` is inspected and published.
    pub fn filename(&self) -> String {
        filename(&self.name, &self.vers)
    }
}

/// Holds a request to the registry at `own` against what the archive says.
///
/// # Errors
/// Refuses another name, version, dependency, feature, `links` or `rust-version`.
pub fn compare(
    request: &PublishRequest,
    manifest: &Manifest,
    own: &OwnIndex,
) -> Result<(), Rejection> {
    let differs = |what: &str, sent: &str, archived: &str| {
        Rejection::new(
            "publish-differs",
            format!(
                "The request says the {what} {sent}, Cargo.toml in the .crate says {archived}."
            ),
        )
        .with_remedy("Publish with `cargo publish`, which takes both from one place.")
    };
    if request.name != manifest.name {
        return Err(differs(
            "name",
            &quoted(&request.name),
            &quoted(&manifest.name),
        ));
    }
    if request.vers != manifest.version {
        return Err(differs(
            "version",
            &quoted(&request.vers),
            &quoted(&manifest.version),
        ));
    }
    let Some(details) = manifest.details.cargo() else {
        return Err(Rejection::new("crate-filename", "The file is no crate."));
    };
    for (what, sent, archived) in [
        ("links", &request.links, &details.links),
        ("rust-version", &request.rust_version, &details.rust_version),
    ] {
        if sent.is_some() && sent != archived {
            let text = |value: &Option<String>| quoted(value.as_deref().unwrap_or_default());
            return Err(differs(what, &text(sent), &text(archived)));
        }
    }
    if let Some(features) = &request.features
        && *features != details.features
    {
        let other = features
            .iter()
            .find(|(name, values)| details.features.get(*name) != Some(values))
            .or_else(|| {
                details
                    .features
                    .iter()
                    .find(|(name, _)| !features.contains_key(*name))
            });
        let name = other.map_or("", |(name, _)| name);
        return Err(differs(
            "features otherwise",
            &format!("({})", quoted(name)),
            "something else",
        ));
    }
    if let Some(deps) = &request.deps {
        let sent = deps
            .iter()
            .map(|dependency| dependency.meaning(own))
            .collect::<Result<Vec<_>, _>>()?;
        let archived = details
            .dependencies
            .iter()
            .map(|dependency| plain(dependency.clone(), own))
            .collect();
        if let Some((dependency, in_request)) = difference(sent, archived) {
            let (here, there) = if in_request {
                ("request", "Cargo.toml in the .crate")
            } else {
                ("Cargo.toml in the .crate", "request")
            };
            return Err(Rejection::new(
                "publish-differs",
                format!(
                    "The {here} needs {} {} from {}, which the {there} does not say so.",
                    quoted(&dependency.package),
                    dependency.req,
                    dependency.source.url()
                ),
            )
            .with_remedy("Publish with `cargo publish`, which takes both from one place."));
        }
    }
    Ok(())
}

impl RequestDependency {
    /// What a request to the registry at `own` means.
    fn meaning(&self, own: &OwnIndex) -> Result<CrateDependency, Rejection> {
        name::key(&self.name)?;
        if let Some(alias) = &self.explicit_name_in_toml {
            name::key(alias)?;
        }
        if let Some(feature) = self
            .features
            .iter()
            .find(|feature| !manifest::is_asked_feature(feature))
        {
            return Err(Rejection::new(
                "dependency-feature",
                format!(
                    "The dependency {} asks for the feature {}, which cannot exist.",
                    quoted(&self.name),
                    quoted(feature)
                ),
            ));
        }
        let dependency = CrateDependency {
            package: self.name.clone(),
            alias: self.explicit_name_in_toml.clone(),
            req: version::requirement(&self.version_req)?,
            features: self.features.clone(),
            optional: self.optional,
            default_features: self.default_features,
            target: self.target.as_deref().map(platform).transpose()?,
            kind: self.kind.unwrap_or_default(),
            source: Source::from_index_of(own, self.registry.as_deref())?,
        };
        Ok(plain(dependency, own))
    }
}

fn platform(text: &str) -> Result<String, Rejection> {
    platform::normal(text).ok_or_else(|| {
        Rejection::new(
            "dependency-target",
            format!("{} is no platform that cargo can read.", quoted(text)),
        )
    })
}

/// The form in which two dependencies that mean the same are equal.
fn plain(mut dependency: CrateDependency, own: &OwnIndex) -> CrateDependency {
    if dependency.alias.as_deref() == Some(dependency.package.as_str()) {
        dependency.alias = None;
    }
    if own.is(&dependency.source) {
        dependency.source = own.source().clone();
    }
    dependency.features.sort_unstable();
    dependency.features.dedup();
    dependency
}

/// A dependency that only one side has, and whether that is the request.
fn difference(
    sent: Vec<CrateDependency>,
    archived: Vec<CrateDependency>,
) -> Option<(CrateDependency, bool)> {
    let sent: BTreeSet<_> = sent.into_iter().collect();
    let archived: BTreeSet<_> = archived.into_iter().collect();
    let only_sent = sent.difference(&archived).next();
    let only_archived = archived.difference(&sent).next();
    only_sent
        .map(|dependency| (dependency.clone(), true))
        .or_else(|| only_archived.map(|dependency| (dependency.clone(), false)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn body(json: &[u8], krate: &[u8]) -> Vec<u8> {
        let mut body = (json.len() as u32).to_le_bytes().to_vec();
        body.extend(json);
        body.extend((krate.len() as u32).to_le_bytes());
        body.extend(krate);
        body
    }

    const JSON: &[u8] = br#"{"name":"a","vers":"1.0.0","deps":[],"features":{}}"#;

    #[test]
    fn lengths_that_lie_are_refused_at_once() {
        let code = |body: &[u8]| {
            let mut framing = Framing::new(100);
            match framing.push(body) {
                Err(rejection) => rejection.code,
                Ok(_) => framing.finish().map_or_else(|r| r.code, |_| "accepted"),
            }
        };
        assert_eq!(code(&body(JSON, b"crate")), "accepted");
        assert_eq!(code(&body(JSON, b"")), "accepted");
        assert_eq!(code(&[]), "publish-truncated");
        assert_eq!(code(&[0; 8]), "publish-metadata");
        assert_eq!(code(&[0xff; 4]), "publish-metadata-too-large");
        assert_eq!(code(&body(JSON, &[0; 101])), "file-too-large");
        let mut long = body(JSON, b"crate");
        long.push(0);
        assert_eq!(code(&long), "publish-trailing-data");
        let whole = body(JSON, b"crate");
        for end in 0..whole.len() {
            assert_eq!(code(&whole[..end]), "publish-truncated", "{end}");
        }
    }

    #[test]
    fn the_json_is_there_before_the_crate() {
        let body = body(JSON, b"crate");
        let mut framing = Framing::new(100);
        assert_eq!(framing.json(), None);
        assert_eq!(framing.push(&body[..4 + JSON.len()]).unwrap(), b"");
        assert_eq!((framing.json(), framing.crate_size()), (Some(JSON), None));
        assert_eq!(framing.push(&body[4 + JSON.len()..]).unwrap(), b"crate");
        assert_eq!(framing.crate_size(), Some(5));
    }

    #[test]
    fn odd_requests_are_refused() {
        for (json, code) in [
            ("", "publish-metadata"),
            ("[]", "publish-metadata"),
            (r#"{"name":"a"}"#, "publish-metadata"),
            (
                r#"{"name":"a","name":"b","vers":"1.0.0"}"#,
                "publish-metadata",
            ),
            (r#"{"name":"a/b","vers":"1.0.0"}"#, "name-invalid"),
            (r#"{"name":"a","vers":"1"}"#, "version-invalid"),
            (
                r#"{"name":"a","vers":"1.0.0","deps":[{"name":"b"}]}"#,
                "publish-metadata",
            ),
            (
                r#"{"name":"a","vers":"1.0.0","features":{"a":[1]}}"#,
                "publish-metadata",
            ),
            (r#"{"name":"a","vers":"1.0.0","__proto__":{}}"#, "accepted"),
            ("{\"name\":\"a\",\"vers\":\"1.0.0\"}x", "publish-metadata"),
        ] {
            let found = PublishRequest::parse(json.as_bytes());
            assert_eq!(
                found.map_or_else(|r| r.code, |_| "accepted"),
                code,
                "{json}"
            );
        }
        let deep = format!(r#"{{"name":"a","vers":"1.0.0","x":{}"#, "[".repeat(100_000));
        assert_eq!(
            PublishRequest::parse(deep.as_bytes()).unwrap_err().code,
            "publish-metadata"
        );
    }

    #[test]
    fn attestations_may_follow_the_crate_and_nothing_else() {
        let after = |rest: &[u8]| {
            let mut framing = Framing::new(100);
            let mut body = body(JSON, b"crate");
            body.extend(rest);
            framing.push(&body)?;
            framing.finish()
        };
        let part = |list: &[u8]| [&(list.len() as u32).to_le_bytes(), list].concat();
        let found = after(&part(b"[{}]")).unwrap();
        assert_eq!(found.attestations.as_deref(), Some("[{}]"));
        assert_eq!(after(&part(b"")).unwrap().attestations, None);
        assert_eq!(after(b"").unwrap().attestations, None);
        for (rest, code) in [
            (b"abc".to_vec(), "publish-trailing-data"),
            (b"[{\"a\":1}]".to_vec(), "publish-trailing-data"),
            (
                [part(b"[]"), b"x".to_vec()].concat(),
                "publish-trailing-data",
            ),
            (part(&[0xff]), "publish-trailing-data"),
            (part(b"[]")[..5].to_vec(), "publish-truncated"),
        ] {
            assert_eq!(after(&rest).unwrap_err().code, code, "{rest:?}");
        }
        // The JSON part does not pass for it.
        let request = PublishRequest::parse(br#"{"name":"a","vers":"1.0.0","attestations":"[]"}"#);
        assert_eq!(request.unwrap().attestations, None);
    }

    proptest! {
        #[test]
        fn however_the_body_is_cut_it_is_the_same(
            krate in proptest::collection::vec(any::<u8>(), 0..60),
            list in proptest::option::of("[ -~]{1,30}"),
            cuts in proptest::collection::vec(1_usize..20, 1..20),
        ) {
            let mut body = body(JSON, &krate);
            if let Some(list) = &list {
                body.extend((list.len() as u32).to_le_bytes());
                body.extend(list.as_bytes());
            }
            let mut framing = Framing::new(100);
            let (mut rest, mut found) = (&body[..], Vec::new());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                found.extend_from_slice(framing.push(piece).unwrap());
                rest = after;
            }
            prop_assert_eq!(found, krate);
            let request = framing.finish().unwrap();
            prop_assert_eq!(request.filename(), "a-1.0.0.crate");
            prop_assert_eq!(request.attestations, list);
        }
    }
}
