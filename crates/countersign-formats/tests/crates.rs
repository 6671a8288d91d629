//! Crates: archives, publish requests and index lines, honest and hostile.
#![allow(clippy::unwrap_used)]

mod build;

use std::io::Cursor;

use build::{gzip, tar_file, tar_gz, tar_header, verdict};
use countersign_formats::{
    Artifact, Ecosystem, IndexView, Limits, Manifest, NameKey, Rejection,
    cargo::{
        CrateDependency, Kind, OwnIndex, Source,
        dependency::CRATES_IO_SPARSE,
        index::{self, Entry, IndexFile, Published, promises},
        publish::{Framing, PublishRequest, compare},
    },
    format, purl,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const NAME: &str = "a-1.0.0.crate";
const TOML: &str =
    "[package]\nname = \"a\"\nversion = \"1.0.0\"\ndescription = \"A\"\nlicense = \"MIT\"\n";

fn inspect_with(name: &str, bytes: &[u8], limits: &Limits) -> Result<Manifest, Rejection> {
    format(Ecosystem::Cargo).inspect(
        &mut Artifact {
            filename: name,
            size: bytes.len() as u64,
            bytes: &mut Cursor::new(bytes),
        },
        limits,
    )
}

fn inspect(bytes: &[u8]) -> Result<Manifest, Rejection> {
    inspect_with(NAME, bytes, &Limits::default())
}

/// A crate with this manifest and these further files.
fn krate(toml: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut members = vec![tar_file("a-1.0.0/Cargo.toml", toml.as_bytes())];
    for (path, data) in files {
        members.push(tar_file(&format!("a-1.0.0/{path}"), data));
    }
    tar_gz(&members)
}

fn own() -> OwnIndex {
    OwnIndex::new("sparse+https://reg.example/cargo/index/").unwrap()
}

// Archives.

/// A pax header that says `records` of the next member.
fn pax(records: &str) -> Vec<u8> {
    let mut out = tar_header("PaxHeader", records.len() as u64, b'x', 0o644, "");
    out.extend(records.as_bytes());
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

#[test]
fn hostile_archives_are_refused() {
    let manifest = tar_file("a-1.0.0/Cargo.toml", TOML.as_bytes());
    let good = krate(TOML, &[("src/lib.rs", b"")]);
    let two_members = [good.clone(), gzip(&[0; 1024])].concat();
    let trailing = [good.clone(), b"x".to_vec()].concat();
    let with = |member: Vec<u8>| tar_gz(&[manifest.clone(), member]);
    let zip_behind = {
        // A stored block, so that the directory of a zip stands in the bytes as they are.
        let inner = build::zip(&[build::Entry::new("x", b"x".to_vec())]);
        let mut tar = [manifest.clone(), tar_file("a-1.0.0/x.zip", &inner)].concat();
        tar.extend([0; 1024]);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        std::io::Write::write_all(&mut encoder, &tar).unwrap();
        encoder.finish().unwrap()
    };
    for (why, bytes, expected) in [
        ("honest", good.clone(), "accepted"),
        ("no gzip", TOML.as_bytes().to_vec(), "archive-not-gzip"),
        ("empty", tar_gz(&[]), "manifest-missing"),
        ("cut", good[..good.len() - 9].to_vec(), "archive-truncated"),
        ("two gzip members", two_members, "archive-trailing-data"),
        ("bytes behind", trailing, "archive-trailing-data"),
        (
            "manifest twice",
            with(manifest.clone()),
            "archive-duplicate-member",
        ),
        (
            "manifest twice by case",
            with(tar_file("a-1.0.0/cargo.toml", TOML.as_bytes())),
            "archive-name-collision",
        ),
        (
            "manifest in other case",
            tar_gz(&[tar_file("a-1.0.0/CARGO.toml", TOML.as_bytes())]),
            "manifest-missing",
        ),
        (
            "manifest below",
            tar_gz(&[tar_file("a-1.0.0/src/Cargo.toml", TOML.as_bytes())]),
            "manifest-missing",
        ),
        (
            "manifest is a folder",
            tar_gz(&[tar_header("a-1.0.0/Cargo.toml/", 0, b'5', 0o755, "")]),
            "manifest-missing",
        ),
        (
            "beside the folder",
            with(tar_file("b/x", b"")),
            "archive-top-directory",
        ),
        ("on top", with(tar_file("x", b"")), "archive-top-directory"),
        (
            "folder in other case",
            with(tar_file("A-1.0.0/x", b"")),
            "archive-top-directory",
        ),
        (
            "another version's folder",
            tar_gz(&[tar_file("a-1.0.1/Cargo.toml", TOML.as_bytes())]),
            "archive-top-directory",
        ),
        (
            "top is a file",
            tar_gz(&[tar_file("a-1.0.0", b"")]),
            "archive-top-directory",
        ),
        (
            "upwards",
            with(tar_file("a-1.0.0/../x", b"")),
            "archive-member-name",
        ),
        (
            "absolute",
            with(tar_file("/a-1.0.0/x", b"")),
            "archive-member-name",
        ),
        (
            "backslash",
            with(tar_file("a-1.0.0/..\\x", b"")),
            "archive-member-name",
        ),
        (
            "device",
            with(tar_file("a-1.0.0/src/nul.rs", b"")),
            "archive-member-name",
        ),
        (
            "symbolic link",
            with(tar_header("a-1.0.0/x", 0, b'2', 0o644, "src/lib.rs")),
            "archive-member-type",
        ),
        (
            "hard link",
            with(tar_header(
                "a-1.0.0/x",
                0,
                b'1',
                0o644,
                "a-1.0.0/Cargo.toml",
            )),
            "archive-member-type",
        ),
        (
            "fifo",
            with(tar_header("a-1.0.0/x", 0, b'6', 0o644, "")),
            "archive-member-type",
        ),
        (
            "setuid",
            with(tar_header("a-1.0.0/x", 0, b'0', 0o4755, "")),
            "archive-member-mode",
        ),
        (
            "pax says another size",
            tar_gz(&[
                manifest.clone(),
                pax("11 size=99\n"),
                tar_file("a-1.0.0/x", b"abc"),
            ]),
            "archive-header-mismatch",
        ),
        (
            "pax moves a file out",
            tar_gz(&[
                manifest.clone(),
                pax("14 path=../xy\n"),
                tar_file("a-1.0.0/x", b"abc"),
            ]),
            "archive-member-name",
        ),
        (
            "pax makes another manifest",
            tar_gz(&[
                manifest.clone(),
                pax("27 path=a-1.0.0/Cargo.toml\n"),
                tar_file("a-1.0.0/x", b"abc"),
            ]),
            "archive-duplicate-member",
        ),
        ("a zip as well", zip_behind, "archive-polyglot"),
    ] {
        assert_eq!(verdict(&inspect(&bytes)), expected, "{why}");
    }
}

#[test]
fn what_expands_without_end_is_refused_while_it_does() {
    let bomb = krate(TOML, &[("zeros", &vec![0; 3 << 20])]);
    let limits = Limits {
        max_unpacked: 2 << 20,
        ..Limits::default()
    };
    assert_eq!(
        verdict(&inspect_with(NAME, &bomb, &limits)),
        "archive-too-large"
    );
    let limits = Limits {
        ratio_floor: 1 << 20,
        ..Limits::default()
    };
    assert_eq!(
        verdict(&inspect_with(NAME, &bomb, &limits)),
        "archive-ratio"
    );
    let limits = Limits {
        max_file_size: 100,
        ..Limits::default()
    };
    assert_eq!(
        verdict(&inspect_with(NAME, &bomb, &limits)),
        "file-too-large"
    );
    let long = format!("{TOML}# {}", "x".repeat(1 << 20));
    assert_eq!(
        verdict(&inspect(&krate(&long, &[]))),
        "archive-member-too-large"
    );
}

#[test]
fn name_and_version_stand_in_three_places_alike() {
    for (filename, folder, toml_name, toml_version, expected) in [
        ("a-1.0.0.crate", "a-1.0.0", "a", "1.0.0", "accepted"),
        ("a-1.0.0+b.crate", "a-1.0.0+b", "a", "1.0.0+b", "accepted"),
        ("a-b-1.0.0.crate", "a-b-1.0.0", "a-b", "1.0.0", "accepted"),
        ("a-1.0.0.crate", "a-1.0.0", "A", "1.0.0", "crate-name"),
        ("a-b-1.0.0.crate", "a-b-1.0.0", "a_b", "1.0.0", "crate-name"),
        ("a-1.0.0.crate", "a-1.0.0", "b", "1.0.0", "crate-name"),
        ("a-1.0.0.crate", "a-1.0.0", "a", "1.0.1", "crate-name"),
        ("a-1.0.0.crate", "a-1.0.0", "a", "1.0.0+b", "crate-name"),
        ("a-1.0.0.tar.gz", "a-1.0.0", "a", "1.0.0", "crate-filename"),
        ("a-1.0.0.CRATE", "a-1.0.0", "a", "1.0.0", "crate-filename"),
        ("a-1.0.0", "a-1.0.0", "a", "1.0.0", "crate-filename"),
        (".crate", "a-1.0.0", "a", "1.0.0", "archive-top-directory"),
        (
            "../a-1.0.0.crate",
            "a-1.0.0",
            "a",
            "1.0.0",
            "archive-top-directory",
        ),
    ] {
        let toml = format!("[package]\nname = \"{toml_name}\"\nversion = \"{toml_version}\"\n");
        let bytes = tar_gz(&[tar_file(&format!("{folder}/Cargo.toml"), toml.as_bytes())]);
        let found = inspect_with(filename, &bytes, &Limits::default());
        assert_eq!(verdict(&found), expected, "{filename} {folder} {toml_name}");
    }
}

#[test]
fn a_manifest_tells_all_that_the_crate_does() {
    let toml = format!(
        "{TOML}authors = [\"A <a@x.example>\", \"B\"]\nkeywords = [\"one\", \"two\"]\ncategories = [\"os\"]\n\
         homepage = \"https://x.example/\"\nrepository = \"https://y.example/\"\nreadme = \"doc/Intro.md\"\n\
         license-file = \"LICENSE\"\nedition = \"2021\"\nrust-version = \"1.70\"\nlinks = \"z\"\n\
         [lib]\nproc-macro = true\n[[bin]]\nname = \"tool\"\npath = \"tool.rs\"\n\
         [features]\nnet = [\"dep:b\"]\n[dependencies]\nb = {{ version = \"1\", optional = true }}\n\
         [target.'cfg(unix)'.build-dependencies]\nc_c = \"0.3\"\n"
    );
    let sha1 = "0123456789abcdef0123456789abcdef01234567";
    let vcs = format!(r#"{{"git":{{"sha1":"{sha1}","dirty":true}},"path_in_vcs":"sub"}}"#);
    let found = inspect(&krate(
        &toml,
        &[
            ("doc/Intro.md", b"# Hello"),
            ("LICENSE", b"free"),
            ("build.rs", b""),
            ("src/main.rs", b""),
            ("src/bin/one.rs", b""),
            ("src/bin/two/main.rs", b""),
            ("src/bin/two/other.rs", b""),
            (".cargo_vcs_info.json", vcs.as_bytes()),
        ],
    ))
    .unwrap();
    assert_eq!(found.warnings, [""; 0]);
    assert_eq!(
        (found.name.as_str(), found.version.as_str()),
        ("a", "1.0.0")
    );
    assert_eq!(found.filetype, "crate");
    assert_eq!(found.summary.as_deref(), Some("A"));
    assert_eq!(found.description.as_deref(), Some("# Hello"));
    assert_eq!(
        found.description_content_type.as_deref(),
        Some("text/markdown")
    );
    assert_eq!(found.license_expression.as_deref(), Some("MIT"));
    assert_eq!(found.author.as_deref(), Some("A <a@x.example>, B"));
    assert_eq!(found.keywords.as_deref(), Some("one,two"));
    assert_eq!(found.classifiers, ["os"]);
    assert_eq!(found.metadata_bytes, toml.as_bytes());
    assert_eq!(
        found.project_urls,
        [
            ("Homepage".to_owned(), "https://x.example/".to_owned()),
            ("Repository".to_owned(), "https://y.example/".to_owned())
        ]
    );
    let common: Vec<_> = found
        .dependencies
        .iter()
        .map(|d| {
            (
                d.name_key.as_str(),
                d.specifier.as_str(),
                d.marker.as_str(),
                d.extra.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        common,
        [
            ("b", "^1", "", Some("net")),
            ("c-c", "^0.3", "build; cfg(unix)", None)
        ]
    );
    let details = found.details.cargo().unwrap();
    assert!(details.library && details.proc_macro && details.build_script);
    assert_eq!(details.binaries, ["a", "one", "tool", "two"]);
    assert_eq!(details.readme_file.as_deref(), Some("doc/Intro.md"));
    let commit = details.vcs.as_ref().unwrap();
    assert_eq!(
        (
            commit.sha1.as_str(),
            commit.dirty,
            commit.path_in_vcs.as_str()
        ),
        (sha1, true, "sub")
    );
    // It is stored as JSON.
    let stored: Manifest = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
    assert_eq!(stored.details, found.details);
}

#[test]
fn what_is_odd_but_harmless_earns_a_warning() {
    let bare = "[package]\nname = \"a\"\nversion = \"1.0.0\"\n";
    let big = vec![b'x'; (1 << 20) + 1];
    for (toml, files, expected) in [
        (bare.to_owned(), &[][..], "names no licence"),
        (bare.to_owned(), &[], "no description"),
        (
            format!("{bare}license = \"mine\""),
            &[],
            "no SPDX expression",
        ),
        (
            format!("{bare}license-file = \"L\""),
            &[],
            "licence file \"L\" is not in the crate",
        ),
        (
            format!("{bare}readme = \"R.md\""),
            &[],
            "readme \"R.md\" is not in the crate",
        ),
        (
            format!("{bare}readme = \"../R.md\""),
            &[],
            "readme \"../R.md\" is not in the crate",
        ),
        (
            format!("{bare}readme = \"R.md\""),
            &[("R.md", big.as_slice())],
            "or too large",
        ),
        (
            bare.to_owned(),
            &[("README.md", b"\xff")],
            "README.md\" is not UTF-8 text",
        ),
        (
            bare.to_owned(),
            &[("README.md", b"a\0b")],
            "README.md\" is not UTF-8 text",
        ),
        (
            bare.to_owned(),
            &[(".cargo_vcs_info.json", b"{}")],
            ".cargo_vcs_info.json",
        ),
        (
            bare.to_owned(),
            &[(".cargo_vcs_info.json", br#"{"git":{"sha1":"HEAD"}}"#)],
            ".cargo_vcs_info.json",
        ),
    ] {
        let found = inspect(&krate(&toml, files)).unwrap();
        assert!(
            found
                .warnings
                .iter()
                .any(|warning| warning.contains(expected)),
            "{expected}: {:?}",
            found.warnings
        );
        assert_eq!(found.description, None);
    }
    let slash = inspect(&krate(&format!("{bare}license = \"MIT/Apache-2.0\""), &[])).unwrap();
    assert_eq!(
        slash.license_expression.as_deref(),
        Some("MIT OR Apache-2.0")
    );
}

// What cargo itself sent.

const BODY: &[u8] = include_bytes!("data/cargo-publish.body");

fn sent_to() -> OwnIndex {
    OwnIndex::new("sparse+http://127.0.0.1:18461/cargo/index/").unwrap()
}

fn received() -> (PublishRequest, Value, Manifest) {
    let mut framing = Framing::new(1 << 20);
    let krate: Vec<u8> = BODY
        .chunks(1000)
        .flat_map(|chunk| framing.push(chunk).unwrap().to_vec())
        .collect();
    let json = serde_json::from_slice(framing.json().unwrap()).unwrap();
    assert_eq!(framing.crate_size(), Some(krate.len() as u64));
    let request = framing.finish().unwrap();
    let manifest = inspect_with(&request.filename(), &krate, &Limits::default()).unwrap();
    (request, json, manifest)
}

/// An index dependency as the documentation of registries makes it of a request's: an oracle that
/// knows nothing of `Cargo.toml`.
fn documented(dependency: &Value) -> Value {
    let renamed = dependency
        .get("explicit_name_in_toml")
        .filter(|name| !name.is_null());
    json!([
        renamed.unwrap_or(&dependency["name"]),
        renamed.map(|_| &dependency["name"]),
        dependency["version_req"],
        dependency["features"],
        dependency["optional"],
        dependency["default_features"],
        dependency["target"],
        dependency["kind"],
        dependency.get("registry"),
    ])
}

fn indexed(dependency: &Value) -> Value {
    json!([
        dependency["name"],
        dependency.get("package"),
        dependency["req"],
        dependency["features"],
        dependency["optional"],
        dependency["default_features"],
        dependency["target"],
        dependency["kind"],
        dependency.get("registry"),
    ])
}

#[test]
fn the_archive_of_a_real_publication_means_what_its_request_says() {
    let (request, json, manifest) = received();
    assert_eq!(manifest.warnings, [""; 0]);
    compare(&request, &manifest, &sent_to()).unwrap();
    let line: Value = serde_json::from_str(
        &Entry::new(&manifest, Published::default())
            .unwrap()
            .line(&sent_to()),
    )
    .unwrap();
    let sorted = |list: &Value, form: fn(&Value) -> Value| {
        let mut list: Vec<String> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|dependency| form(dependency).to_string())
            .collect();
        list.sort();
        list
    };
    let ours = sorted(&line["deps"], indexed);
    assert_eq!(ours, sorted(&json["deps"], documented));
    assert_eq!(ours.len(), 183);
    for registry in [
        "null]",
        "\"https://github.com/rust-lang/crates.io-index\"]",
        "\"sparse+http://127.0.0.1:18462/cargo/index/\"]",
    ] {
        let count = ours.iter().filter(|line| line.ends_with(registry)).count();
        assert_eq!(count, 61, "{registry}");
    }
    for key in ["name", "vers", "links", "rust_version"] {
        assert_eq!(line[key], json[key], "{key}");
    }
    assert_eq!(
        (&line["v"], line["features2"]["weak"][0].as_str()),
        (&json!(2), Some("d26?/x"))
    );
}

#[test]
fn seen_from_another_registry_the_same_archive_names_each_registry_anew() {
    let (.., manifest) = received();
    let other = OwnIndex::new("sparse+http://127.0.0.1:18462/cargo/index").unwrap();
    let line: Value = serde_json::from_str(
        &Entry::new(&manifest, Published::default())
            .unwrap()
            .line(&other),
    )
    .unwrap();
    let count = |registry: Option<&str>| {
        line["deps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| dependency.get("registry").and_then(Value::as_str) == registry)
            .count()
    };
    assert_eq!(count(None), 61);
    assert_eq!(
        count(Some("sparse+http://127.0.0.1:18461/cargo/index/")),
        61
    );
    assert_eq!(
        count(Some("https://github.com/rust-lang/crates.io-index")),
        61
    );
}

#[test]
fn a_request_that_says_anything_else_than_the_archive_is_refused() {
    let (_, json, manifest) = received();
    let verdict = |json: &Value| {
        let request = PublishRequest::parse(json.to_string().as_bytes())?;
        compare(&request, &manifest, &sent_to())
    };
    assert_eq!(verdict(&json), Ok(()));
    let at = |json: &Value, wanted: &str| {
        json["deps"]
            .as_array()
            .unwrap()
            .iter()
            .position(|dependency| {
                dependency
                    .get("registry")
                    .and_then(Value::as_str)
                    .unwrap_or("own")
                    == wanted
            })
            .unwrap()
    };
    let public = "https://github.com/rust-lang/crates.io-index";
    let (from_own, from_public) = (at(&json, "own"), at(&json, public));
    type Change<'a> = Box<dyn Fn(&mut Value) + 'a>;
    let changes: Vec<(&str, Change<'_>)> = vec![
        ("name", Box::new(|j| j["name"] = json!("mx-crate"))),
        ("version", Box::new(|j| j["vers"] = json!("0.1.0"))),
        ("links", Box::new(|j| j["links"] = json!("other"))),
        (
            "rust-version",
            Box::new(|j| j["rust_version"] = json!("1.0")),
        ),
        ("feature gone", Box::new(|j| j["features"] = json!({}))),
        ("feature more", Box::new(|j| j["features"]["x"] = json!([]))),
        (
            "feature other",
            Box::new(|j| j["features"]["std"] = json!(["weak"])),
        ),
        (
            "dependency gone",
            Box::new(|j| {
                j["deps"].as_array_mut().unwrap().pop();
            }),
        ),
        ("no dependencies", Box::new(|j| j["deps"] = json!([]))),
        (
            "public for own",
            Box::new(|j| j["deps"][from_own]["registry"] = json!(public)),
        ),
        (
            "own for public",
            Box::new(|j| j["deps"][from_public]["registry"] = Value::Null),
        ),
        (
            "another for public",
            Box::new(|j| {
                j["deps"][from_public]["registry"] = json!("sparse+https://evil.example/")
            }),
        ),
        (
            "other crate",
            Box::new(|j| j["deps"][0]["name"] = json!("evil")),
        ),
        (
            "other alias",
            Box::new(|j| j["deps"][0]["explicit_name_in_toml"] = json!("zz")),
        ),
        (
            "other version",
            Box::new(|j| j["deps"][0]["version_req"] = json!("^2")),
        ),
        (
            "other kind",
            Box::new(|j| j["deps"][0]["kind"] = json!("build")),
        ),
        (
            "other target",
            Box::new(|j| j["deps"][0]["target"] = json!("cfg(windows)")),
        ),
        (
            "other features",
            Box::new(|j| j["deps"][0]["features"] = json!(["zz"])),
        ),
        (
            "optional",
            Box::new(|j| {
                j["deps"][0]["optional"] = json!(!j["deps"][0]["optional"].as_bool().unwrap())
            }),
        ),
        (
            "default features",
            Box::new(|j| {
                let now = j["deps"][0]["default_features"].as_bool().unwrap();
                j["deps"][0]["default_features"] = json!(!now);
            }),
        ),
    ];
    for (what, change) in changes {
        let mut changed = json.clone();
        change(&mut changed);
        assert_eq!(
            verdict(&changed).map_err(|rejection| rejection.code),
            Err("publish-differs"),
            "{what}"
        );
    }
    for (what, change, code) in [
        ("name", json!({"name": "../x"}), "name-invalid"),
        ("target", json!({"target": "cfg("}), "dependency-target"),
        (
            "registry",
            json!({"registry": "file:///x"}),
            "dependency-registry",
        ),
        (
            "requirement",
            json!({"version_req": "one"}),
            "dependency-requirement",
        ),
        (
            "feature",
            json!({"features": ["a b"]}),
            "dependency-feature",
        ),
    ] {
        let mut changed = json.clone();
        for (key, value) in change.as_object().unwrap() {
            changed["deps"][0][key] = value.clone();
        }
        assert_eq!(verdict(&changed).unwrap_err().code, code, "{what}");
    }
    // The same said otherwise is the same.
    let mut same = json.clone();
    same["deps"][from_own]["registry"] = json!("sparse+http://127.0.0.1:18461/cargo/index");
    same["deps"].as_array_mut().unwrap().reverse();
    same["description"] = json!("something else");
    assert_eq!(verdict(&same), Ok(()));
}

// The index.

fn entry() -> Entry {
    Entry {
        name: "Foo_bar".to_owned(),
        version: "1.0.0-rc.1+b".to_owned(),
        dependencies: vec![CrateDependency {
            package: "real".to_owned(),
            alias: Some("b".to_owned()),
            req: "^1".to_owned(),
            features: vec!["x".to_owned()],
            optional: true,
            default_features: false,
            target: Some("cfg(unix)".to_owned()),
            kind: Kind::Build,
            source: Source::CratesIo,
        }],
        features: [
            ("net".to_owned(), vec!["dep:b".to_owned()]),
            ("std".to_owned(), Vec::new()),
        ]
        .into(),
        links: Some("z".to_owned()),
        rust_version: Some("1.70".to_owned()),
        published: Published {
            sha256: "ab".repeat(32),
            size: Some(1234),
            yanked: true,
            time: Some(1_700_000_000_000_000),
            leaf_index: Some(7),
            proof_url: Some("/log/1/proof/7".to_owned()),
        },
    }
}

#[test]
fn a_line_has_every_key_and_comes_back() {
    let expected = concat!(
        r#"{"name":"Foo_bar","vers":"1.0.0-rc.1+b","deps":[{"name":"b","req":"^1","features":["x"],"optional":true,"#,
        r#""default_features":false,"target":"cfg(unix)","kind":"build","#,
        r#""registry":"https://github.com/rust-lang/crates.io-index","package":"real"}],"#,
        r#""cksum":"abababababababababababababababababababababababababababababababab","features":{"std":[]},"#,
        r#""features2":{"net":["dep:b"]},"yanked":true,"links":"z","rust_version":"1.70","v":2,"#,
        r#""pubtime":"2023-11-14T22:13:20Z","_countersign":{"leaf":7,"proof":"/log/1/proof/7","size":1234}}"#,
    );
    assert_eq!(entry().line(&own()), expected);
    assert_eq!(Entry::parse(expected, &own()).unwrap(), entry());
    let public = OwnIndex::new(CRATES_IO_SPARSE).unwrap();
    assert!(!entry().line(&public).contains("registry"));
}

#[test]
fn promises_are_the_inverse_of_a_rendering() {
    let second = Entry {
        version: "0.9.0".to_owned(),
        published: Published {
            sha256: "cd".repeat(32),
            ..Published::default()
        },
        ..entry()
    };
    let file = IndexFile {
        own: own(),
        entries: vec![entry(), second],
    };
    let document = IndexView::Cargo(file.clone()).render();
    assert_eq!(document.lines().count(), 2);
    assert!(document.ends_with("}\n"));
    assert_eq!(
        index::from_lines(file.entries.iter().map(|entry| entry.line(&own()))),
        document
    );
    assert_eq!(
        index::parse(document.as_bytes(), &own(), &Limits::default()).unwrap(),
        file.entries
    );
    let found = format(Ecosystem::Cargo)
        .promises(document.as_bytes(), &Limits::default())
        .unwrap();
    assert_eq!(found[0].filename, "Foo_bar-1.0.0-rc.1+b.crate");
    // From /cargo/index/fo/o_/foo_bar this leads to /cargo/api/v1/….
    assert_eq!(
        found[0].url,
        "../../../api/v1/crates/Foo_bar/1.0.0-rc.1+b/download"
    );
    assert_eq!(found[0].sha256, "ab".repeat(32));
    assert_eq!((found[0].size, found[0].leaf_index), (Some(1234), Some(7)));
    assert_eq!(found[0].proof_url.as_deref(), Some("/log/1/proof/7"));
    assert_eq!((found[1].size, found[1].leaf_index), (None, None));
}

#[test]
fn indexes_that_contradict_themselves_are_refused() {
    let line = entry().line(&own());
    let changed = |from: &str, to: &str| {
        assert!(line.contains(from), "{from}");
        line.replace(from, to)
    };
    let two = |other: String| format!("{line}\n{other}\n");
    for (why, document) in [
        ("twice", two(line.clone())),
        ("twice but for the build", two(changed("rc.1+b", "rc.1+c"))),
        (
            "two crates",
            two(changed("Foo_bar", "Foo_baz").replace("1.0.0-rc.1", "2.0.0")),
        ),
        ("short digest", changed(&"ab".repeat(32), "abab")),
        (
            "digest in capitals",
            changed(&"ab".repeat(32), &"AB".repeat(32)),
        ),
        ("key twice", changed(r#""v":2"#, r#""v":2,"v":1"#)),
        ("cut", line[..line.len() - 1].to_owned()),
        ("list", "[]".to_owned()),
        ("deep", format!("{{\"a\":{}", "[".repeat(100_000))),
    ] {
        let found = promises(document.as_bytes(), &Limits::default());
        assert_eq!(verdict(&found), "document-invalid", "{why}");
        let found = index::parse(document.as_bytes(), &own(), &Limits::default());
        assert_eq!(verdict(&found), "document-invalid", "{why}");
    }
    for (why, document, code) in [
        (
            "form 3",
            changed(r#""v":2"#, r#""v":3"#),
            "document-invalid",
        ),
        (
            "form 0",
            changed(r#""v":2"#, r#""v":0"#),
            "document-invalid",
        ),
        (
            "kind",
            changed(r#""build""#, r#""other""#),
            "document-invalid",
        ),
        (
            "time",
            changed("22:13:20Z", "22:13:20.1Z"),
            "document-invalid",
        ),
        (
            "registry",
            changed("https://github.com/rust", "file:///rust"),
            "dependency-registry",
        ),
        ("name", changed("Foo_bar", "../x"), "name-invalid"),
        ("version", changed("1.0.0-rc.1+b", "1.0"), "version-invalid"),
    ] {
        let found = index::parse(document.as_bytes(), &own(), &Limits::default());
        assert_eq!(verdict(&found), code, "{why}");
    }
    let limits = Limits {
        max_document: 10,
        ..Limits::default()
    };
    assert_eq!(
        verdict(&promises(line.as_bytes(), &limits)),
        "document-too-large"
    );
    assert_eq!(
        verdict(&promises(b"\xff", &Limits::default())),
        "document-invalid"
    );
    assert_eq!(promises(b"", &Limits::default()), Ok(Vec::new()));
}

#[test]
fn crates_have_package_urls() {
    let key = format(Ecosystem::Cargo).name_key("Serde_JSON").unwrap();
    assert_eq!(key, NameKey::from_stored("serde-json"));
    let text = purl::file_purl(
        Ecosystem::Cargo,
        &key,
        "1.0.0+b",
        "Serde_JSON-1.0.0+b.crate",
    );
    let found = purl::parse(&text).unwrap();
    assert_eq!(found.ecosystem, Ecosystem::Cargo);
    assert_eq!(found.name_key, key);
    assert_eq!(found.version.as_deref(), Some("1.0.0+b"));
    assert_eq!(found.filename.as_deref(), Some("Serde_JSON-1.0.0+b.crate"));
    assert_eq!("cargo".parse::<Ecosystem>(), Ok(Ecosystem::Cargo));
    for text in [
        "pkg:cargo/ns/a",
        "pkg:cargo/a@1",
        "pkg:cargo/a%2fb",
        "pkg:cargo/%E2%84%AA",
    ] {
        assert!(purl::parse(text).is_err(), "{text}");
    }
}

prop_compose! {
    fn any_dependency()(
        package in "[a-z][a-z0-9_-]{0,8}",
        alias in proptest::option::of("[a-z][a-z0-9_]{0,5}"),
        features in proptest::collection::vec("[a-z][a-z0-9-]{0,4}", 0..3),
        (optional, default_features) in any::<(bool, bool)>(),
        target in proptest::sample::select(vec![None, Some("cfg(unix)"), Some("a-b-c")]),
        kind in proptest::sample::select(vec![Kind::Normal, Kind::Dev, Kind::Build]),
        source in proptest::sample::select(vec![
            Source::CratesIo,
            Source::Index("sparse+https://reg.example/cargo/index/".to_owned()),
            Source::Index("sparse+https://other.example/".to_owned()),
            Source::Index("ssh://git@git.example/index.git".to_owned()),
        ]),
    ) -> CrateDependency {
        CrateDependency {
            package, alias, req: "^1.2".to_owned(), features, optional, default_features,
            target: target.map(str::to_owned), kind, source,
        }
    }
}

proptest! {
    #[test]
    fn entries_come_back_from_every_registry(
        dependencies in proptest::collection::vec(any_dependency(), 0..6),
        features in proptest::collection::btree_map(
            "[a-z]{1,3}", proptest::collection::vec("[a-z]{1,3}|dep:[a-z]{1,2}|[a-z]\\?/[a-z]", 0..4), 0..6),
        seconds in 0_i64..4_000_000_000,
        yanked in any::<bool>(),
        public in any::<bool>(),
    ) {
        let own = if public {
            OwnIndex::new(CRATES_IO_SPARSE).unwrap()
        } else {
            own()
        };
        let entry = Entry {
            dependencies,
            features,
            published: Published {
                time: Some(seconds * 1_000_000),
                yanked,
                ..entry().published
            },
            ..entry()
        };
        let line = entry.line(&own);
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(Entry::parse(&line, &own).unwrap(), entry);
    }

    #[test]
    fn bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = inspect(&bytes);
        let _ = inspect(&gzip(&bytes));
        let _ = promises(&bytes, &Limits::default());
        let mut framing = Framing::new(100);
        if framing.push(&bytes).is_ok() {
            let _ = framing.finish();
        }
    }
}
