//! Packuments: what npm's clients know of a package. Pure rendering.
//!
//! The abbreviated packument is the one that is signed: it holds all that installers go by, and no
//! personal data. The full one, for people and for tools that ask for it, says the same about each
//! version's tarball; both are put together from one fragment a version.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::package::Package;
use crate::pypi::documents::rfc3339;

/// What an abbreviated packument shows of a version's manifest.
const ABBREVIATED: &[&str] = &[
    "acceptDependencies",
    "bin",
    "bundleDependencies",
    "cpu",
    "dependencies",
    "devDependencies",
    "directories",
    "engines",
    "funding",
    "libc",
    "name",
    "optionalDependencies",
    "os",
    "peerDependencies",
    "peerDependenciesMeta",
    "version",
];
/// What a full packument repeats of its newest version.
const REPEATED: &[&str] = &[
    "author",
    "bugs",
    "contributors",
    "description",
    "homepage",
    "keywords",
    "license",
    "repository",
];

/// Somebody whom a packument names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Name of the account.
    pub name: String,
    /// Address, where it may be shown; clients expect the key.
    pub email: String,
}

/// Who published a version, as pnpm's trust policy reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publisher {
    /// The account or workflow.
    pub person: Person,
    /// When a workflow published it as a trusted publisher.
    pub trusted: Option<TrustedPublisher>,
    /// Who approved a staged version.
    pub approver: Option<Person>,
}

/// The trusted publisher behind a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrustedPublisher {
    /// Word for the provider, such as `github`.
    pub id: String,
    /// Id of the publisher's registration.
    pub config_id: String,
}

/// A signature of the registry over `NAME@VERSION:INTEGRITY`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// `SHA256:…` of the public key.
    pub keyid: String,
    /// Base64 of the DER signature.
    pub sig: String,
}

/// Where the attestations of a version are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestations {
    /// Absolute URL.
    pub url: String,
    /// Predicate type of the provenance.
    pub predicate_type: String,
}

/// The tarball of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dist {
    /// Absolute URL: yarn takes it as it is.
    pub tarball: String,
    /// SHA-1 in hex.
    pub shasum: String,
    /// `sha512-…`.
    pub integrity: String,
    /// SHA-256 in hex.
    pub sha256: String,
    /// Length in bytes.
    pub size: u64,
    /// Sum of the files' sizes.
    pub unpacked_size: u64,
    /// The registry's signatures.
    pub signatures: Vec<Signature>,
    /// Where attestations are, if that is told to npm's clients.
    pub attestations: Option<Attestations>,
    /// Index of the file's leaf in the log.
    pub leaf_index: u64,
    /// URL of the offline proof.
    pub proof_url: Option<String>,
}

/// One version as packuments show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionView {
    /// What its tarball says.
    pub package: Package,
    /// Its tarball.
    pub dist: Dist,
    /// Why it should not be used any more.
    pub deprecated: Option<String>,
    /// When it was published, in microseconds since 1970 UTC.
    pub published: i64,
    /// Who published it.
    pub publisher: Option<Publisher>,
}

/// What stands above the versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageHead {
    /// The name as its owners write it.
    pub name: String,
    /// Tags and the versions they point to.
    pub tags: Vec<(String, String)>,
    /// When the package was founded and last changed, in microseconds since 1970 UTC.
    pub created: i64,
    /// See `created`.
    pub modified: i64,
    /// Withheld as dangerous: the documents list no versions.
    pub quarantined: bool,
    /// A number that grows with every change: see [`super::registry::rev`].
    pub serial: u64,
}

/// What only the full packument shows above the versions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The owners.
    pub maintainers: Vec<Person>,
    /// README of the newest version, and the file's name.
    pub readme: Option<(String, String)>,
    /// Accounts that starred the package.
    pub stars: Vec<String>,
}

/// A package as its abbreviated packument shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageView {
    /// What stands above the versions.
    pub head: PackageHead,
    /// The versions, in the order of the document.
    pub versions: Vec<VersionView>,
}

/// A version rendered once, to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// The version, in normal form.
    pub version: String,
    /// When it was published, in microseconds since 1970 UTC.
    pub published: i64,
    /// The JSON object in the packument. Shared, since a packument is put together anew for each version.
    pub json: Arc<str>,
}

/// A version for [`abbreviated_from_fragments`].
pub fn abbreviated_fragment(version: &VersionView) -> Fragment {
    let manifest = &version.package.manifest;
    let shown = manifest
        .iter()
        .filter(|(key, _)| ABBREVIATED.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    fragment(version, shown)
}

/// A version for [`full_from_fragments`]; also the answer to a request for one version.
pub fn full_fragment(version: &VersionView) -> Fragment {
    let mut shown = version.package.manifest.clone();
    let id = format!("{}@{}", text_of(&shown, "name"), text_of(&shown, "version"));
    shown.insert("_id".to_owned(), json!(id));
    if let Some(publisher) = &version.publisher {
        shown.insert("_npmUser".to_owned(), npm_user(publisher));
    }
    fragment(version, shown)
}

fn npm_user(publisher: &Publisher) -> Value {
    let mut user = Map::new();
    user.insert("name".to_owned(), json!(publisher.person.name));
    user.insert("email".to_owned(), json!(publisher.person.email));
    if let Some(trusted) = &publisher.trusted {
        user.insert(
            "trustedPublisher".to_owned(),
            json!({ "id": trusted.id, "oidcConfigId": trusted.config_id }),
        );
    }
    if let Some(approver) = &publisher.approver {
        user.insert("approver".to_owned(), json!(approver));
    }
    Value::Object(user)
}

fn text_of<'m>(map: &'m Map<String, Value>, key: &str) -> &'m str {
    map.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn fragment(version: &VersionView, mut shown: Map<String, Value>) -> Fragment {
    let number = text_of(&version.package.manifest, "version").to_owned();
    shown.insert("dist".to_owned(), dist(version));
    if let Some(reason) = &version.deprecated {
        // Clients take the empty text for "not deprecated".
        let reason = if reason.is_empty() {
            "This version is deprecated."
        } else {
            reason
        };
        shown.insert("deprecated".to_owned(), json!(reason));
    }
    if version.package.has_install_script {
        shown.insert("hasInstallScript".to_owned(), json!(true));
    }
    if version.package.has_shrinkwrap {
        shown.insert("_hasShrinkwrap".to_owned(), json!(true));
    }
    Fragment {
        version: number,
        published: version.published,
        json: signed(shown).into(),
    }
}

/// The text of an object, with its members sorted: what is signed must not depend on a feature of the library that another crate
/// of a build asked for.
fn signed(object: Map<String, Value>) -> String {
    let mut value = Value::Object(object);
    value.sort_all_objects();
    value.to_string()
}

fn dist(version: &VersionView) -> Value {
    let dist = &version.dist;
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("integrity", json!(dist.integrity));
    put("shasum", json!(dist.shasum));
    put("tarball", json!(dist.tarball));
    put("fileCount", json!(version.package.file_count));
    put("unpackedSize", json!(dist.unpacked_size));
    if !dist.signatures.is_empty() {
        put("signatures", json!(dist.signatures));
    }
    if let Some(attestations) = &dist.attestations {
        put(
            "attestations",
            json!({ "url": attestations.url, "provenance": { "predicateType": attestations.predicate_type } }),
        );
    }
    let mut ours = Map::new();
    ours.insert("leaf".to_owned(), json!(dist.leaf_index));
    ours.insert("sha256".to_owned(), json!(dist.sha256));
    ours.insert("size".to_owned(), json!(dist.size));
    if let Some(proof) = &dist.proof_url {
        ours.insert("proof".to_owned(), json!(proof));
    }
    put("_countersign", Value::Object(ours));
    Value::Object(out)
}

/// The abbreviated packument: the same bytes as [`abbreviated_from_fragments`] of its versions.
pub fn abbreviated(package: &PackageView) -> String {
    let fragments: Vec<Fragment> = package.versions.iter().map(abbreviated_fragment).collect();
    abbreviated_from_fragments(&package.head, &fragments)
}

/// The abbreviated packument. It holds `time`, which it need not: clients that wait before they take
/// a new version then need no second request.
pub fn abbreviated_from_fragments(head: &PackageHead, fragments: &[Fragment]) -> String {
    let mut root = Map::new();
    root.insert("name".to_owned(), json!(head.name));
    root.insert("modified".to_owned(), json!(time(head.modified)));
    with_versions(root, head, fragments)
}

/// The full packument.
pub fn full_from_fragments(head: &PackageHead, about: &About, fragments: &[Fragment]) -> String {
    let mut root = Map::new();
    let mut put = |key: &str, value: Value| root.insert(key.to_owned(), value);
    put("_id", json!(head.name));
    put("_rev", json!(super::registry::rev(&head.name, head.serial)));
    put("name", json!(head.name));
    put("maintainers", json!(about.maintainers));
    if let Some((name, text)) = &about.readme {
        put("readme", json!(text));
        put("readmeFilename", json!(name));
    }
    let stars: Map<String, Value> = about
        .stars
        .iter()
        .map(|name| (name.clone(), json!(true)))
        .collect();
    put("users", Value::Object(stars));
    let latest = head
        .tags
        .iter()
        .find(|(tag, _)| tag == super::tags::LATEST)
        .map(|(_, version)| version);
    let newest = fragments
        .iter()
        .find(|fragment| !head.quarantined && Some(&fragment.version) == latest);
    if let Some(Ok(Value::Object(newest))) =
        newest.map(|fragment| serde_json::from_str(&fragment.json))
    {
        for key in REPEATED {
            if let Some(value) = newest.get(*key) {
                put(key, value.clone());
            }
        }
    }
    with_versions(root, head, fragments)
}

fn with_versions(
    mut root: Map<String, Value>,
    head: &PackageHead,
    fragments: &[Fragment],
) -> String {
    let fragments = if head.quarantined { &[] } else { fragments };
    let shown = |version: &String| {
        fragments
            .iter()
            .any(|fragment| &fragment.version == version)
    };
    let tags: Map<String, Value> = head
        .tags
        .iter()
        .filter(|(_, version)| shown(version))
        .map(|(tag, version)| (tag.clone(), json!(version)))
        .collect();
    root.insert("dist-tags".to_owned(), Value::Object(tags));
    let mut times = Map::new();
    times.insert("created".to_owned(), json!(time(head.created)));
    times.insert("modified".to_owned(), json!(time(head.modified)));
    for fragment in fragments {
        times.insert(fragment.version.clone(), json!(time(fragment.published)));
    }
    root.insert("time".to_owned(), Value::Object(times));
    let mut document = signed(root);
    document.pop(); // the closing brace
    let size: usize = fragments
        .iter()
        .map(|fragment| fragment.json.len() + fragment.version.len() + 4)
        .sum();
    document.reserve(size + 16);
    document.push_str(",\"versions\":{");
    for (index, fragment) in fragments.iter().enumerate() {
        if index > 0 {
            document.push(',');
        }
        // A version in normal form holds nothing that a JSON text escapes.
        document.push('"');
        document.push_str(&fragment.version);
        document.push_str("\":");
        document.push_str(&fragment.json);
    }
    document.push_str("}}");
    document
}

/// Microseconds since 1970 UTC as JavaScript writes times: milliseconds, `Z`.
pub(super) fn time(micros: i64) -> String {
    let full = rfc3339(micros);
    format!("{}Z", full.get(..23).unwrap_or(&full))
}
