//! npm packages: hostile and honest tarballs, publish bodies in pieces, packuments and back.
#![allow(clippy::unwrap_used)]

mod build;

use std::io::Cursor;

use base64::{Engine, engine::general_purpose::STANDARD};
use build::{gzip, tar_file, tar_gz, tar_header};
use countersign_formats::{
    Artifact, Details, Ecosystem, IndexView, Limits, Manifest, Rejection, format,
    npm::{
        compare::compare,
        documents::{
            About, Attestations, Dist, PackageHead, PackageView, Person, Publisher, Signature,
            TrustedPublisher, VersionView, abbreviated, abbreviated_fragment,
            abbreviated_from_fragments, full_fragment, full_from_fragments,
        },
        publish::{Body, Digests, Publish, PublishReader},
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

const NAME: &str = "sample-1.0.0.tgz";

fn inspect_as(filename: &str, bytes: &[u8]) -> Result<Manifest, Rejection> {
    let mut cursor = Cursor::new(bytes);
    let mut artifact = Artifact {
        filename,
        size: bytes.len() as u64,
        bytes: &mut cursor,
    };
    format(Ecosystem::Npm).inspect(&mut artifact, &Limits::default())
}

fn inspect(bytes: &[u8]) -> Result<Manifest, Rejection> {
    inspect_as(NAME, bytes)
}

fn package_json(extra: Value) -> Vec<u8> {
    let mut base = json!({ "name": "sample", "version": "1.0.0" });
    base.as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    base.to_string().into_bytes()
}

fn tarball(extra: Value) -> Vec<u8> {
    tar_gz(&[
        tar_file("package/package.json", &package_json(extra)),
        tar_file("package/index.js", b"module.exports = 1\n"),
    ])
}

fn code(result: Result<Manifest, Rejection>) -> &'static str {
    result.map_or_else(|rejection| rejection.code, |_| "accepted")
}

/// A pax extension header with these records, as a member.
fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let mut data = Vec::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while format!("{length}").len() + rest.len() != length {
            length += 1;
        }
        data.extend(format!("{length}{rest}").bytes());
    }
    let mut out = tar_header("PaxHeader/x", data.len() as u64, b'x', 0o644, "");
    out.extend(&data);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

#[test]
fn a_tarball_says_what_it_is() {
    let manifest = {
        let json = json!({
            "name": "@scope/sample", "version": "v1.0.0+build", "description": "A sample", "license": "MIT",
            "bin": "./cli.js", "keywords": ["a", "b"], "author": "Ann <ann@example.org>",
            "repository": "github:scope/sample", "dependencies": {"left-pad": "^1.0.0", "alias": "npm:@o/real@1"},
            "optionalDependencies": {"fsevents": "2"}, "scripts": {"postinstall": "node x.js"}, "_private": 1,
        });
        let bytes = tar_gz(&[
            tar_file("anything/README.txt", b"plain"),
            tar_file("anything/package.json", json.to_string().as_bytes()),
            tar_file("anything/Readme.MD", b"# Sample"),
            tar_file("anything/cli.js", b""),
            tar_file("anything/npm-shrinkwrap.json", b"{}"),
            tar_file("anything/lib/package.json", b"not json"),
        ]);
        inspect_as("sample-1.0.0.tgz", &bytes).unwrap()
    };
    assert_eq!(
        (manifest.name.as_str(), manifest.name_key.as_str()),
        ("@scope/sample", "@scope/sample")
    );
    assert_eq!(
        (
            manifest.version.as_str(),
            manifest.version_canonical.as_str()
        ),
        ("v1.0.0+build", "1.0.0")
    );
    assert_eq!(manifest.description.as_deref(), Some("# Sample"));
    assert_eq!(manifest.license_expression.as_deref(), Some("MIT"));
    assert_eq!(manifest.author_email.as_deref(), Some("ann@example.org"));
    assert_eq!(manifest.warnings.len(), 1, "{:?}", manifest.warnings);
    let needed: Vec<_> = manifest
        .dependencies
        .iter()
        .map(|d| (d.name_key.as_str(), d.marker.as_str()))
        .collect();
    assert_eq!(
        needed,
        [("@o/real", ""), ("left-pad", ""), ("fsevents", "optional")]
    );
    let Details::Npm(package) = &manifest.details else {
        panic!()
    };
    assert!(package.has_install_script && package.has_shrinkwrap);
    assert_eq!(package.file_count, 6);
    assert_eq!(package.manifest["bin"], json!({"sample": "cli.js"}));
    assert_eq!(package.manifest["version"], "1.0.0");
    assert!(!package.manifest.contains_key("_private"));
    assert_eq!(
        package.repository().as_deref(),
        Some("https://github.com/scope/sample")
    );
    let stored = serde_json::to_string(&manifest).unwrap();
    let mut read: Manifest = serde_json::from_str(&stored).unwrap();
    read.metadata_bytes = manifest.metadata_bytes.clone();
    assert_eq!(read, manifest);
}

#[test]
fn hostile_tarballs_are_refused_each_for_its_reason() {
    let json = || tar_file("package/package.json", &package_json(json!({})));
    let evil = || {
        tar_file(
            "package/package.json",
            &package_json(json!({"scripts": {"install": "evil"}})),
        )
    };
    let file = |path: &str| tar_file(path, b"x");
    let mut lying_size = pax(&[("size", "1")]);
    lying_size.extend(json());
    let mut two_members = tar_gz(&[json()]);
    two_members.extend(tar_gz(&[evil()]));
    let mut trailing = tar_gz(&[json()]);
    trailing.extend(b"\0\0x");
    let mut padded = tar_gz(&[json()]);
    padded.extend([0; 700]);
    let mut renamed = pax(&[("path", "package/package.json")]);
    renamed.extend(tar_file("package/harmless.txt", b"{}"));
    let mut noted = pax(&[("NODETAR.package.name", "x"), ("NODETAR.type", "File")]);
    noted.extend(json());
    let mut noted_path = pax(&[("NODETAR.path", "package/evil")]);
    noted_path.extend(json());
    let mut noted_link = pax(&[("NODETAR.type", "SymbolicLink")]);
    noted_link.extend(json());
    let mut zip_behind = tar_gz(&[json()]);
    zip_behind.extend(build::zip(&[build::Entry::new("a", "b")]));
    let after_end = [json().concat_end(), evil()].concat();
    for (what, bytes, expected) in [
        ("honest", tar_gz(&[json()]), "accepted"),
        ("padded with zeros", padded, "accepted"),
        ("notes of old tools", tar_gz(&[noted]), "accepted"),
        (
            "dot part",
            tar_gz(&[json(), file("package/./a")]),
            "accepted",
        ),
        (
            "the same file twice",
            tar_gz(&[json(), file("package/a"), file("package/./a")]),
            "accepted",
        ),
        (
            "package.json twice, the same",
            tar_gz(&[json(), json()]),
            "accepted",
        ),
        (
            "package.json twice, different",
            tar_gz(&[json(), evil()]),
            "archive-duplicate-member",
        ),
        (
            "package.json twice, the second with a dot",
            tar_gz(&[json(), tar_file("package/./package.json", b"{}")]),
            "archive-duplicate-member",
        ),
        (
            "package.json twice, by pax path",
            tar_gz(&[json(), renamed]),
            "archive-duplicate-member",
        ),
        (
            "package.json twice by case",
            tar_gz(&[json(), file("package/Package.json")]),
            "archive-name-collision",
        ),
        (
            "package.json in another folder",
            tar_gz(&[json(), file("other/package.json")]),
            "archive-top-directory",
        ),
        (
            "no folder",
            tar_gz(&[tar_file("package.json", &package_json(json!({})))]),
            "package-json-missing",
        ),
        (
            "deeper package.json only",
            tar_gz(&[file("package/lib/package.json")]),
            "package-json-missing",
        ),
        (
            "size in pax and header differ",
            tar_gz(&[lying_size]),
            "archive-header-mismatch",
        ),
        ("two gzip members", two_members, "archive-trailing-data"),
        ("trailing data", trailing, "archive-trailing-data"),
        ("a zip behind", zip_behind, "archive-trailing-data"),
        (
            "data after the end",
            gzip(&after_end),
            "archive-trailing-data",
        ),
        (
            "pax path of another vendor",
            tar_gz(&[noted_path]),
            "archive-layout",
        ),
        (
            "pax link of another vendor",
            tar_gz(&[noted_link]),
            "archive-layout",
        ),
        (
            "symlink",
            tar_gz(&[
                json(),
                tar_header("package/l", 0, b'2', 0o777, "package.json"),
            ]),
            "archive-member-type",
        ),
        (
            "hard link",
            tar_gz(&[
                json(),
                tar_header("package/l", 0, b'1', 0o644, "package/package.json"),
            ]),
            "archive-member-type",
        ),
        (
            "device",
            tar_gz(&[json(), tar_header("package/d", 0, b'3', 0o644, "")]),
            "archive-member-type",
        ),
        (
            "setuid",
            tar_gz(&[json(), tar_header("package/s", 0, b'0', 0o4755, "")]),
            "archive-member-mode",
        ),
        (
            "up",
            tar_gz(&[json(), file("package/../../etc/x")]),
            "archive-member-name",
        ),
        (
            "absolute",
            tar_gz(&[json(), file("/etc/x")]),
            "archive-member-name",
        ),
        (
            "backslash",
            tar_gz(&[json(), file("package\\x")]),
            "archive-member-name",
        ),
        (
            "nothing but dots",
            tar_gz(&[json(), file("./.")]),
            "archive-member-name",
        ),
        (
            "truncated",
            tar_gz(&[json()])[..60].to_vec(),
            "archive-truncated",
        ),
        ("no gzip", json(), "archive-not-gzip"),
    ] {
        assert_eq!(
            code(inspect(&bytes)),
            expected,
            "{what}: {:?}",
            inspect(&bytes).err()
        );
    }
}

/// A member followed by an end marker.
trait ConcatEnd {
    fn concat_end(self) -> Vec<u8>;
}

impl ConcatEnd for Vec<u8> {
    fn concat_end(mut self) -> Vec<u8> {
        self.extend([0; 1024]);
        self
    }
}

#[test]
fn package_json_that_is_no_package_is_refused() {
    let with = |bytes: &[u8]| code(inspect(&tar_gz(&[tar_file("package/package.json", bytes)])));
    let deep = format!(
        "{{\"name\":\"sample\",\"version\":\"1.0.0\",\"x\":{}1{}}}",
        "[".repeat(100),
        "]".repeat(100)
    );
    for (bytes, expected) in [
        (&b"{}"[..], "name-missing"),
        (b"{\"name\":\"sample\"}", "version-missing"),
        (b"{\"name\":\"sample\",\"version\":\"1\"}", "version-invalid"),
        (b"{\"name\":\"../x\",\"version\":\"1.0.0\"}", "name-invalid"),
        (b"{\"name\":\"s\xc3\xa4mple\",\"version\":\"1.0.0\"}", "name-invalid"),
        (b"{\"name\":1,\"version\":\"1.0.0\"}", "name-missing"),
        (b"{\"name\":\"other\",\"version\":\"1.0.0\"}", "npm-filename"),
        (b"{\"name\":\"sample\",\"version\":\"1.0.1\"}", "npm-filename"),
        (b"{\"name\":\"@sample/x\",\"version\":\"1.0.0\"}", "npm-filename"),
        (b"{\"name\":\"sample\",\"version\":\"1.0.0\",\"__proto__\":{}}", "package-json"),
        (b"{\"name\":\"sample\",\"version\":\"1.0.0\",\"name\":\"sample\"}", "package-json-duplicate-key"),
        (b"{\"name\":\"sample\",\"version\":\"1.0.0\",\"dependencies\":{\"constructor/x\":\"1\"}}", "package-json-dependency"),
        (b"\xff", "package-json"),
        (b"[]", "package-json"),
        (deep.as_bytes(), "package-json"),
        (b"\xef\xbb\xbf {\"name\":\" sample \",\"version\":\"=1.0.0\"} ", "accepted"),
    ] {
        assert_eq!(with(bytes), expected, "{}", String::from_utf8_lossy(bytes));
    }
    let large = format!(
        "{{\"name\":\"sample\",\"version\":\"1.0.0\",\"x\":\"{}\"}}",
        "x".repeat(1 << 20)
    );
    assert_eq!(with(large.as_bytes()), "archive-member-too-large");
}

// Publish bodies.

fn body(tarball: &[u8]) -> Value {
    let digests = digests(tarball);
    json!({
        "_id": "sample", "name": "sample", "description": "x", "dist-tags": {"latest": "1.0.0"}, "access": null,
        "versions": {"1.0.0": {
            "name": "sample", "version": "1.0.0", "_id": "sample@1.0.0",
            "dist": {"integrity": digests.integrity(), "shasum": digests.shasum(), "tarball": "http://evil.example/x.tgz"},
        }},
        "_attachments": {"sample-1.0.0.tgz": {"content_type": "application/octet-stream", "data": STANDARD.encode(tarball), "length": tarball.len()}},
    })
}

fn digests(bytes: &[u8]) -> Digests {
    Digests {
        sha1: [7; 20], // the crate computes none; what counts is that it is compared
        sha256: Sha256::digest(bytes).into(),
        sha512: Sha512::digest(bytes).into(),
    }
}

fn read_in(pieces: &[&[u8]]) -> Result<(Body, Vec<u8>), Rejection> {
    let mut reader = PublishReader::new(&Limits::default());
    let mut received = Vec::new();
    for piece in pieces {
        reader.push(piece, &mut |bytes| {
            received.extend_from_slice(bytes);
            Ok(())
        })?;
    }
    Ok((reader.finish()?, received))
}

fn read(text: &str) -> Result<(Publish, Vec<u8>), Rejection> {
    match read_in(&[text.as_bytes()])? {
        (Body::Publish(publish), bytes) => Ok((*publish, bytes)),
        (Body::Update(_), _) => Err(Rejection::new("update", "An update.")),
    }
}

#[test]
fn a_body_gives_the_tarball_and_what_is_said_about_it() {
    let tarball = tarball(json!({}));
    let (publish, bytes) = read(&body(&tarball).to_string()).unwrap();
    assert_eq!(bytes, tarball);
    assert_eq!(
        (
            publish.name.as_str(),
            publish.version.as_str(),
            publish.size
        ),
        ("sample", "1.0.0", tarball.len() as u64)
    );
    assert_eq!(
        (publish.tags.as_slice(), publish.access),
        (&["latest".to_owned()][..], None)
    );
    publish.check_digests(&digests(&tarball)).unwrap();
    let mut other = digests(&tarball);
    other.sha512[0] ^= 1;
    assert_eq!(
        publish.check_digests(&other).unwrap_err().code,
        "digest-mismatch"
    );
    let mut other = digests(&tarball);
    other.sha1[0] ^= 1;
    assert_eq!(
        publish.check_digests(&other).unwrap_err().code,
        "digest-mismatch"
    );
    let manifest = inspect(&bytes).unwrap();
    compare(&publish.manifest, manifest.details.npm().unwrap()).unwrap();
}

#[test]
fn bundles_come_as_text_or_base64() {
    let tarball = tarball(json!({}));
    let bundle =
        "{\"mediaType\":\"application/vnd.dev.sigstore.bundle.v0.3+json\",\"x\":\"\u{e9}\\n\\\"\"}";
    let with = |data: &str, length: usize| {
        let mut body = body(&tarball);
        body["_attachments"]["sample-1.0.0.sigstore"] =
            json!({"content_type": "x", "data": data, "length": length});
        read(&body.to_string()).map(|(publish, _)| publish.bundle.unwrap())
    };
    assert_eq!(with(bundle, bundle.encode_utf16().count()).unwrap(), bundle);
    assert_eq!(
        with(&STANDARD.encode(bundle), bundle.len()).unwrap(),
        bundle
    );
    for (data, length) in [(bundle, 3), ("not a bundle", 12), ("W10=", 2), ("", 0)] {
        assert_eq!(with(data, length).unwrap_err().code, "npm-bundle", "{data}");
    }
    let huge = format!("{{{}", "x".repeat(3 << 20));
    assert_eq!(
        with(&huge, huge.len()).unwrap_err().code,
        "npm-bundle-too-large"
    );
}

#[test]
fn bodies_that_lie_are_refused_each_for_its_reason() {
    let tarball = tarball(json!({}));
    let good = body(&tarball);
    let attachment = good["_attachments"]["sample-1.0.0.tgz"].clone();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        read(&body.to_string()).map_or_else(|rejection| rejection.code, |_| "accepted")
    };
    let named = |name: &str| {
        let attachment = attachment.clone();
        let name = name.to_owned();
        with(&move |body| body["_attachments"] = json!({ name.clone(): attachment }))
    };
    let data = |text: String| {
        with(&move |body| body["_attachments"]["sample-1.0.0.tgz"]["data"] = json!(text))
    };
    let text = STANDARD.encode(&tarball);
    assert_eq!(with(&|_| ()), "accepted");
    for (name, expected) in [
        ("sample-1.0.1.tgz", "npm-attachment"),
        ("other-1.0.0.tgz", "npm-attachment"),
        ("../../etc/passwd.tgz", "npm-attachment"),
        ("sample-1.0.0.tar", "npm-attachment"),
        ("sample-1.0.0.sigstore", "npm-body"),
        ("", "npm-attachment"),
    ] {
        assert_eq!(named(name), expected, "{name}");
    }
    assert_eq!(data(text.clone()), "accepted");
    for bad in [
        format!("{text}\n"),
        format!(" {text}"),
        format!("{}\r\n{}", &text[..8], &text[8..]),
        format!("{text}===="),
        format!("{text}AAAA"),
        text.trim_end_matches('=').to_owned() + "=",
        text[..text.len() - 1].to_owned(),
        text.replace('/', "_").replace('+', "-") + "_",
        format!("data:application/octet-stream;base64,{text}"),
        format!("{text}\u{e9}"),
        format!("{}=={}", &text[..2], &text[4..]),
    ] {
        let found = data(bad.clone());
        assert!(
            ["npm-base64", "npm-attachment"].contains(&found),
            "{found}: {}",
            &bad[bad.len() - 20..]
        );
    }
    assert_eq!(data(String::new()), "npm-attachment");
    for (pointer, value, expected) in [
        (
            "/_attachments/sample-1.0.0.tgz/length",
            json!(1),
            "npm-attachment",
        ),
        (
            "/_attachments/sample-1.0.0.tgz/length",
            json!("1"),
            "npm-attachment",
        ),
        (
            "/_attachments/sample-1.0.0.tgz/data",
            json!(null),
            "npm-update",
        ),
        (
            "/_attachments/sample-1.0.0.tgz/data",
            json!({}),
            "npm-update",
        ),
        ("/_attachments", json!({}), "update"),
        ("/versions", json!({}), "npm-body"),
        ("/versions", json!({"1.0.0": {}, "1.0.1": {}}), "npm-body"),
        ("/versions", json!({"1.0.0": 1}), "npm-body"),
        ("/versions/1.0.0/name", json!("other"), "npm-body"),
        ("/versions/1.0.0/version", json!("1.0.1"), "npm-body"),
        ("/versions/1.0.0/version", json!("v1.0.0+x"), "accepted"),
        ("/name", json!("other"), "npm-body"),
        ("/_id", json!("other"), "npm-body"),
        ("/name", json!(""), "name-missing"),
        ("/name", json!("../sample"), "name-invalid"),
        ("/access", json!("everyone"), "npm-body"),
        ("/access", json!("restricted"), "accepted"),
        ("/dist-tags", json!({"latest": "2.0.0"}), "npm-body"),
        ("/dist-tags", json!({"1.x": "1.0.0"}), "tag-invalid"),
        ("/dist-tags", json!({"constructor": "1.0.0"}), "tag-invalid"),
        ("/dist-tags", json!({}), "accepted"),
    ] {
        let found = with(&|body| *body.pointer_mut(pointer).unwrap() = value.clone());
        assert_eq!(found, expected, "{pointer} {value}");
    }
    let loose = with(&|body| {
        let manifest = body["versions"]["1.0.0"].clone();
        body["versions"] = json!({ "v1.0.0": manifest });
    });
    assert_eq!(loose, "npm-body");
}

#[test]
fn bodies_that_two_readers_understand_differently_are_refused() {
    let tarball = tarball(json!({}));
    let good = body(&tarball).to_string();
    let data = STANDARD.encode(&tarball);
    let attachments = format!("\"_attachments\":{{\"sample-1.0.0.tgz\":{{\"data\":\"{data}\"}}}}");
    let text = |json: &str| read(json).map_or_else(|rejection| rejection.code, |_| "accepted");
    assert_eq!(
        text(&good.replacen("\"_attachments\"", "\"_attac\\u0068ments\"", 1)),
        "accepted"
    );
    assert_eq!(text(&good.replace('/', "\\/")), "accepted");
    assert_eq!(
        text(&good.replacen("\"data\":\"H4", "\"data\":\"\\u00484", 1)),
        "accepted"
    );
    assert_eq!(
        text(&good.replacen("\"data\":\"H4", "\"data\":\"\\u01484", 1)),
        "npm-base64"
    );
    for (what, json) in [
        (
            "attachments twice",
            good.replacen('{', &format!("{{{attachments},"), 1),
        ),
        (
            "a key twice",
            good.replacen('{', "{\"name\":\"sample\",", 1),
        ),
        ("__proto__", good.replacen('{', "{\"__proto__\":{},", 1)),
        (
            "__proto__ as version",
            good.replacen("\"versions\":{", "\"versions\":{\"__proto__\":{},", 1),
        ),
        ("more after the end", format!("{good}{{}}")),
        ("cut", good[..good.len() - 1].to_owned()),
        ("two braces", format!("{good}}}")),
        ("deep", format!("{}{}", "[".repeat(200), "]".repeat(200))),
        ("list", "[]".to_owned()),
        ("nothing", String::new()),
        ("no UTF-8", "\"\u{0}\"".to_owned()),
    ] {
        assert_ne!(text(&json), "accepted", "{what}");
        assert_ne!(text(&json), "update", "{what}");
    }
    // An object that only looks like the attachments is none.
    let nested = format!("{{\"x\":{{{attachments}}}}}");
    assert_eq!(text(&nested), "update");
}

#[test]
fn a_body_is_bounded_in_all_its_parts() {
    let limits = Limits {
        max_file_size: 1000,
        ..Limits::default()
    };
    let push = |pieces: &[String]| {
        let mut reader = PublishReader::new(&limits);
        let mut most = 0;
        for piece in pieces {
            if let Err(rejection) = reader.push(piece.as_bytes(), &mut |bytes| {
                most = most.max(bytes.len());
                Ok(())
            }) {
                return (rejection.code, most);
            }
        }
        ("accepted", most)
    };
    let start = "{\"_attachments\":{\"a-1.0.0.tgz\":{\"data\":\"".to_owned();
    let many = |text: &str, count: usize| vec![text.repeat(1000); count];
    let (found, most) = push(&[vec![start], many("AAAA", 10)].concat());
    assert_eq!(found, "file-too-large");
    assert!(most <= 1000);
    assert_eq!(
        push(&[vec!["{\"x\":\"".to_owned()], many("x", 20_000)].concat()).0,
        "json-too-large"
    );
    assert_eq!(
        push(&[vec!["{\"".to_owned()], many("x", 20_000)].concat()).0,
        "json-too-large"
    );
    assert_eq!(push(&many("[", 20_000)).0, "json-invalid");
    assert_eq!(push(&many(" ", 20_000)).0, "json-too-large");
    // A sink that can not write says so.
    let mut reader = PublishReader::new(&Limits::default());
    let full = std::io::Error::other("disk full");
    let result = reader.push(
        b"{\"_attachments\":{\"a-1.0.0.tgz\":{\"data\":\"AAAA",
        &mut |_| Err(Rejection::unreadable(&full)),
    );
    assert!(result.unwrap_err().is_our_fault());
}

#[test]
fn a_body_without_a_tarball_is_an_update() {
    let body =
        json!({"_id": "sample", "_rev": "3-x", "maintainers": [{"name": "ann", "email": ""}]});
    let (Body::Update(update), _) = read_in(&[body.to_string().as_bytes()]).unwrap() else {
        panic!()
    };
    assert_eq!(update.rev.as_deref(), Some("3-x"));
    assert_eq!(update.owners.unwrap()[0].name, "ann");
}

// Packuments.

fn version(extra: Value, number: &str, deprecated: Option<&str>) -> VersionView {
    let mut extra = extra;
    extra["version"] = json!(number);
    let bytes = tarball(extra);
    let manifest = inspect_as(&format!("sample-{number}.tgz"), &bytes).unwrap();
    let digests = digests(&bytes);
    VersionView {
        package: manifest.details.npm().unwrap().clone(),
        dist: Dist {
            tarball: format!("https://registry.example/npm/sample/-/sample-{number}.tgz"),
            shasum: digests.shasum(),
            integrity: digests.integrity(),
            sha256: digests.sha256_hex(),
            size: bytes.len() as u64,
            unpacked_size: manifest.unpacked_size,
            signatures: vec![Signature {
                keyid: "SHA256:k".to_owned(),
                sig: "s".to_owned(),
            }],
            attestations: Some(Attestations {
                url: "https://registry.example/-/npm/v1/attestations/sample@1".to_owned(),
                predicate_type: "p".to_owned(),
            }),
            leaf_index: 4,
            proof_url: Some("/proof".to_owned()),
        },
        deprecated: deprecated.map(str::to_owned),
        published: 1_700_000_000_123_456,
        publisher: Some(Publisher {
            person: Person {
                name: "workflow".to_owned(),
                email: String::new(),
            },
            trusted: Some(TrustedPublisher {
                id: "github".to_owned(),
                config_id: "oidc:1".to_owned(),
            }),
            approver: None,
        }),
    }
}

fn view() -> PackageView {
    PackageView {
        head: PackageHead {
            name: "sample".to_owned(),
            tags: vec![
                ("latest".to_owned(), "1.0.0".to_owned()),
                ("next".to_owned(), "2.0.0-rc.1".to_owned()),
                ("gone".to_owned(), "9.0.0".to_owned()),
            ],
            created: 1_600_000_000_000_000,
            modified: 1_700_000_000_999_999,
            quarantined: false,
            serial: 5,
        },
        versions: vec![
            version(
                json!({"dependencies": {"a": "1"}, "scripts": {"install": "x"}, "bin": "index.js", "description": "d", "main": "index.js"}),
                "1.0.0",
                None,
            ),
            version(
                json!({"engines": {"node": ">=20"}, "os": ["linux"], "license": "MIT"}),
                "2.0.0-rc.1",
                Some(""),
            ),
        ],
    }
}

#[test]
fn abbreviated_packuments_hold_what_installers_need_and_no_more() {
    let view = view();
    let text = IndexView::Npm(view.clone()).render();
    assert_eq!(text, abbreviated(&view));
    let fragments: Vec<_> = view.versions.iter().map(abbreviated_fragment).collect();
    assert_eq!(text, abbreviated_from_fragments(&view.head, &fragments));
    let document: Value = serde_json::from_str(&text).unwrap();
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        keys(&document),
        ["dist-tags", "modified", "name", "time", "versions"]
    );
    assert_eq!(
        document["dist-tags"],
        json!({"latest": "1.0.0", "next": "2.0.0-rc.1"})
    );
    assert_eq!(document["time"]["1.0.0"], "2023-11-14T22:13:20.123Z");
    assert_eq!(document["modified"], document["time"]["modified"]);
    let first = &document["versions"]["1.0.0"];
    assert_eq!(
        keys(first),
        [
            "bin",
            "dependencies",
            "dist",
            "hasInstallScript",
            "name",
            "version"
        ]
    );
    assert_eq!(
        keys(&first["dist"]),
        [
            "_countersign",
            "attestations",
            "fileCount",
            "integrity",
            "shasum",
            "signatures",
            "tarball",
            "unpackedSize"
        ]
    );
    let second = &document["versions"]["2.0.0-rc.1"];
    assert_eq!(
        keys(second),
        ["deprecated", "dist", "engines", "name", "os", "version"]
    );
    assert_ne!(second["deprecated"], "");
}

#[test]
fn full_packuments_say_the_same_and_more() {
    let view = view();
    let fragments: Vec<_> = view.versions.iter().map(full_fragment).collect();
    let about = About {
        maintainers: vec![Person {
            name: "ann".to_owned(),
            email: "ann@example.org".to_owned(),
        }],
        readme: Some(("README.md".to_owned(), "# \"x\" </script>".to_owned())),
        stars: vec!["bob".to_owned()],
    };
    let text = full_from_fragments(&view.head, &about, &fragments);
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["description"], "d");
    assert_eq!(document["users"], json!({"bob": true}));
    assert_eq!(document["versions"]["1.0.0"]["_id"], "sample@1.0.0");
    assert_eq!(document["versions"]["1.0.0"]["main"], "index.js");
    assert_eq!(
        document["versions"]["1.0.0"]["_npmUser"]["trustedPublisher"],
        json!({"id": "github", "oidcConfigId": "oidc:1"})
    );
    assert!(document["_rev"].as_str().unwrap().starts_with("5-"));
    let short: Value = serde_json::from_str(&abbreviated(&view)).unwrap();
    for number in ["1.0.0", "2.0.0-rc.1"] {
        assert_eq!(
            document["versions"][number]["dist"],
            short["versions"][number]["dist"]
        );
        for (key, value) in short["versions"][number].as_object().unwrap() {
            assert_eq!(&document["versions"][number][key], value, "{key}");
        }
    }
    // Both promise the same.
    let limits = Limits::default();
    let promises = |text: &str| {
        format(Ecosystem::Npm)
            .promises(text.as_bytes(), &limits)
            .unwrap()
    };
    assert_eq!(promises(&text), promises(&abbreviated(&view)));
}

#[test]
fn packuments_promise_what_was_rendered() {
    let view = view();
    let found = format(Ecosystem::Npm)
        .promises(abbreviated(&view).as_bytes(), &Limits::default())
        .unwrap();
    assert_eq!(found.len(), 2);
    for (promise, version) in found.iter().zip(&view.versions) {
        assert_eq!(promise.sha256, version.dist.sha256);
        assert_eq!(promise.url, version.dist.tarball);
        assert_eq!(
            (promise.size, promise.leaf_index),
            (Some(version.dist.size), Some(4))
        );
        assert_eq!(promise.proof_url.as_deref(), Some("/proof"));
    }
    assert_eq!(found[1].filename, "sample-2.0.0-rc.1.tgz");
    let mut quarantined = view;
    quarantined.head.quarantined = true;
    let document: Value = serde_json::from_str(&abbreviated(&quarantined)).unwrap();
    assert_eq!(
        (&document["versions"], &document["dist-tags"]),
        (&json!({}), &json!({}))
    );
    assert_eq!(document["time"].as_object().unwrap().len(), 2);
}

#[test]
fn foreign_packuments_are_read_and_bad_ones_refused() {
    let read = |text: &str| format(Ecosystem::Npm).promises(text.as_bytes(), &Limits::default());
    let version = |number: &str, ours: &str| {
        format!(
            "\"{number}\":{{\"version\":\"{number}\",\"dist\":{{\"tarball\":\"https://a/x.tgz\",\"integrity\":\"sha512-x\"{ours}}}}}"
        )
    };
    let document = |versions: &str| format!("{{\"name\":\"a\",\"versions\":{{{versions}}}}}");
    let digest = format!(",\"_countersign\":{{\"sha256\":\"{}\"}}", "a".repeat(64));
    assert_eq!(read(&document(&version("1.0.0", ""))).unwrap(), []);
    assert_eq!(
        read(&document(&version("1.0.0", &digest))).unwrap().len(),
        1
    );
    for versions in [
        format!(
            "{},{}",
            version("1.0.0", &digest),
            version("1.0.0", &digest)
        ),
        version("v1.0.0", &digest),
        version("__proto__", &digest),
        version("1.0.0", &digest.replace("aa", "AA")),
        version("1.0.0", ",\"_countersign\":{\"sha256\":\"aa\"}"),
        version("1.0.0", &digest).replacen("\"version\":\"1.0.0\"", "\"version\":\"1.0.1\"", 1),
    ] {
        assert_eq!(
            read(&document(&versions)).unwrap_err().code,
            "document-invalid",
            "{versions}"
        );
    }
    assert!(read("{\"name\":\"../a\",\"versions\":{}}").is_err());
    assert!(read("[]").is_err());
    let small = Limits {
        max_document: 3,
        ..Limits::default()
    };
    assert_eq!(
        format(Ecosystem::Npm)
            .promises(b"{   }", &small)
            .unwrap_err()
            .code,
        "document-too-large"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn how_a_body_is_cut_does_not_matter(content in proptest::collection::vec(any::<u8>(), 0..400), cuts in proptest::collection::vec(0usize..2000, 0..12), slash in any::<bool>()) {
        let mut text = body(&content).to_string();
        if slash {
            text = text.replace('/', "\\/");
        }
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
        let (found, bytes) = read_in(&pieces).unwrap();
        prop_assert_eq!(&bytes, &content);
        prop_assert_eq!(found, read_in(&[text.as_bytes()]).unwrap().0);
    }

    #[test]
    fn one_changed_byte_of_a_body_never_panics(at in 0usize..700, byte in any::<u8>()) {
        let mut text = body(b"0123456789").to_string().into_bytes();
        let at = at % text.len();
        text[at] = byte;
        let _ = read_in(&[&text]);
    }

    #[test]
    fn any_package_json_is_answered(text in "\\{(\"(name|version|bin|scripts|dependencies|x)\":(\"[a-z@/.1]{0,8}\"|[0-9]|null|\\[\\]|\\{\"a\":[1\"]\\}),?){0,5}\\}") {
        let _ = inspect(&tar_gz(&[tar_file("package/package.json", text.as_bytes())]));
    }
}
