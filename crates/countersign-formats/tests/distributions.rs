//! Wheels, sdists and upload forms: what is believed and what is refused.
#![allow(clippy::unwrap_used)]

mod build;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use build::{
    Entry, METADATA, SDIST_NAME, WHEEL, WHEEL_NAME, Wheel, inspect, inspect_with, sdist, tar_file,
    tar_gz, tar_header, verdict, zip,
};
use countersign_formats::{
    Limits, Manifest, Rejection,
    pypi::{
        metadata::CoreMetadata,
        upload::{Digests, UploadForm, compare},
    },
};
use proptest::prelude::*;
use sha2::{Digest, Sha512};

fn wheel(change: impl FnOnce(Wheel) -> Wheel) -> Result<Manifest, Rejection> {
    inspect(WHEEL_NAME, &change(Wheel::default()).usual().bytes())
}

#[test]
fn a_wheel_says_what_it_is() {
    let manifest = wheel(|wheel| wheel).unwrap();
    assert_eq!(manifest.name, "Sample.Pkg");
    assert_eq!(manifest.name_key.as_str(), "sample-pkg");
    assert_eq!(
        (
            manifest.version_canonical.as_str(),
            manifest.version_key.as_str()
        ),
        ("1.0", "1")
    );
    assert_eq!(
        (manifest.filetype.as_str(), manifest.python_tag.as_str()),
        ("bdist_wheel", "py3")
    );
    assert_eq!(manifest.requires_python.as_deref(), Some(">=3.8"));
    assert_eq!(
        manifest.description.as_deref(),
        Some("# Sample\n\nLong text.\n")
    );
    assert_eq!(
        manifest.project_urls,
        [("Home".to_owned(), "https://example.org/a,b".to_owned())]
    );
    assert_eq!(manifest.metadata_bytes, METADATA.as_bytes());
    assert_eq!(manifest.member_count, 4);
    let dependency = &manifest.dependencies[0];
    assert_eq!(
        (dependency.name_key.as_str(), dependency.specifier.as_str()),
        ("requests", ">=2")
    );
    assert_eq!(dependency.extra.as_deref(), Some("net"));
    assert!(manifest.warnings.is_empty(), "{:?}", manifest.warnings);
}

#[test]
fn an_sdist_says_what_it_is() {
    let manifest = inspect(SDIST_NAME, &sdist(METADATA)).unwrap();
    assert_eq!(
        (manifest.filetype.as_str(), manifest.python_tag.as_str()),
        ("sdist", "source")
    );
    assert_eq!(manifest.unpacked_size, METADATA.len() as u64 + 5);
    // Older spellings of the same project and version.
    let old = tar_gz(&[tar_file("Sample.Pkg-1.0/PKG-INFO", METADATA.as_bytes())]);
    assert_eq!(verdict(&inspect("Sample.Pkg-1.0.tar.gz", &old)), "accepted");
}

#[test]
fn wheels_that_contradict_themselves_are_refused() {
    let other_metadata = |from: &str, to: &str| {
        wheel(|wheel| wheel.file("INFO/METADATA", METADATA.replace(from, to)))
    };
    let without = |file: &str| {
        wheel(|wheel| {
            let mut wheel = wheel.usual();
            wheel.files.retain(|(path, _)| !path.ends_with(file));
            if file == "METADATA" {
                wheel.files.push(("x/METADATA".to_owned(), Vec::new()));
            }
            wheel
        })
    };
    let bytes_without_metadata = {
        let mut wheel = Wheel::default().usual();
        wheel.files.retain(|(path, _)| !path.ends_with("METADATA"));
        wheel.bytes()
    };
    let no_record = {
        let entries = Wheel::default().usual().entries();
        zip(&entries[..entries.len() - 1])
    };
    let edited = |edit: fn(String) -> String| {
        wheel(|wheel| Wheel {
            edit_record: edit,
            ..wheel
        })
    };
    let cases: Vec<(&str, Result<Manifest, Rejection>, &str)> = vec![
        (
            "other name",
            other_metadata("Name: Sample.Pkg", "Name: other"),
            "metadata-name",
        ),
        (
            "look-alike name",
            other_metadata("Name: Sample.Pkg", "Name: Sample.P\u{212a}g"),
            "name-invalid",
        ),
        (
            "other version",
            other_metadata("Version: 1.0\n", "Version: 1.1\n"),
            "metadata-version-differs",
        ),
        (
            "equal version",
            other_metadata("\nVersion: 1.0\n", "\nVersion: 1.0.0\n"),
            "accepted",
        ),
        (
            "local version",
            other_metadata("\nVersion: 1.0\n", "\nVersion: 1.0+x\n"),
            "version-local",
        ),
        (
            "no METADATA",
            inspect(WHEEL_NAME, &bytes_without_metadata),
            "wheel-missing-file",
        ),
        ("WHEEL for tags", without("nothing"), "accepted"),
        (
            "no RECORD",
            inspect(WHEEL_NAME, &no_record),
            "wheel-missing-file",
        ),
        (
            "two dist-infos",
            wheel(|wheel| wheel.file("other-1.0.dist-info/METADATA", "x")),
            "wheel-dist-info",
        ),
        (
            "dist-info in capitals",
            wheel(|wheel| wheel.file("other-1.0.DIST-INFO/METADATA", "x")),
            "wheel-dist-info",
        ),
        (
            "dist-info of another",
            wheel(|wheel| Wheel {
                info: "other-1.0.dist-info".to_owned(),
                ..wheel
            }),
            "wheel-dist-info",
        ),
        (
            "dist-info of another version",
            wheel(|wheel| Wheel {
                info: "sample_pkg-1.1.dist-info".to_owned(),
                ..wheel
            }),
            "wheel-dist-info",
        ),
        (
            "no dist-info",
            inspect(WHEEL_NAME, &zip(&[Entry::new("a.py", "x")])),
            "wheel-dist-info",
        ),
        (
            "other tag",
            wheel(|wheel| wheel.file("INFO/WHEEL", WHEEL.replace("py3", "py2"))),
            "wheel-tags",
        ),
        (
            "no tag",
            wheel(|wheel| wheel.file("INFO/WHEEL", "Wheel-Version: 1.0\n")),
            "wheel-tags",
        ),
        (
            "future wheel",
            wheel(|wheel| wheel.file("INFO/WHEEL", WHEEL.replace("1.0", "2.0"))),
            "wheel-file",
        ),
        (
            "record misses a file",
            edited(|record| record.split_once('\n').unwrap().1.to_owned()),
            "wheel-record",
        ),
        (
            "record names another file",
            wheel(|wheel| Wheel {
                record_tail: "ghost.py,,\n".to_owned(),
                ..wheel
            }),
            "wheel-record",
        ),
        (
            "record names a file twice",
            edited(|record| record.clone() + &record),
            "wheel-record",
        ),
        (
            "record without digest",
            edited(|record| record.replacen(record.split(',').nth(1).unwrap(), "", 1)),
            "wheel-record",
        ),
        (
            "record with wrong size",
            edited(|record| record.replacen(",6\n", ",7\n", 1)),
            "wheel-record",
        ),
        (
            "record with md5",
            edited(|record| record.replacen("sha256=", "md5=", 1)),
            "wheel-record",
        ),
        (
            "record without itself",
            edited(|record| record.replace("sample_pkg-1.0.dist-info/RECORD,,\n", "")),
            "accepted",
        ),
        (
            "script out of bin",
            wheel(|wheel| {
                wheel.file(
                    "INFO/entry_points.txt",
                    "[console_scripts]\n../../x = a:b\n",
                )
            }),
            "wheel-entry-points",
        ),
        (
            "script to nowhere",
            wheel(|wheel| wheel.file("INFO/entry_points.txt", "[console_scripts]\nx = a b\n")),
            "wheel-entry-points",
        ),
        (
            "script twice",
            wheel(|wheel| wheel.file("INFO/entry_points.txt", "[gui_scripts]\nx = a:b\nx = a:c\n")),
            "wheel-entry-points",
        ),
        (
            "no section",
            wheel(|wheel| wheel.file("INFO/entry_points.txt", "x = a:b\n")),
            "wheel-entry-points",
        ),
        (
            "good entry points",
            wheel(|wheel| {
                wheel.file("INFO/entry_points.txt", "# c\n[console_scripts]\nx = a.b:c.d [extra]\n\n[my.group]\nany thing = z\n  y\n")
            }),
            "accepted",
        ),
        (
            "licence missing",
            other_metadata(
                "Metadata-Version: 2.1",
                "Metadata-Version: 2.4\nLicense-File: LICENSE",
            ),
            "licence-file-missing",
        ),
        (
            "licence missing, old",
            other_metadata("Name:", "License-File: LICENSE\nName:"),
            "accepted",
        ),
    ];
    for (name, result, expected) in cases {
        assert_eq!(verdict(&result), expected, "{name}: {result:?}");
    }
}

#[test]
fn a_pure_wheel_renamed_for_a_platform_earns_a_warning() {
    let bytes = Wheel::default().usual().bytes();
    let manifest = inspect("sample_pkg-1.0-py3-none-win_amd64.whl", &bytes).unwrap();
    assert_eq!(manifest.warnings.len(), 1);
    assert_eq!(
        verdict(&inspect("sample_pkg-1.0-cp311-none-win_amd64.whl", &bytes)),
        "wheel-tags"
    );
    assert_eq!(
        verdict(&inspect("sample_pkg-1.0-py2.py3-none-any.whl", &bytes)),
        "wheel-tags"
    );
}

#[test]
fn changed_contents_are_found_by_record() {
    let mut entries = Wheel::default().usual().entries();
    entries[0].data = b"x = 2\n".to_vec();
    assert_eq!(
        verdict(&inspect(WHEEL_NAME, &zip(&entries))),
        "wheel-record"
    );
}

#[test]
fn record_may_use_stronger_digests() {
    let mut entries = Wheel::default().usual().entries();
    let digest = URL_SAFE_NO_PAD.encode(Sha512::digest(&entries[0].data));
    let last = entries.len() - 1;
    let record = String::from_utf8(entries[last].data.clone()).unwrap();
    let (first, rest) = record.split_once('\n').unwrap();
    assert!(first.starts_with("sample_pkg/__init__.py,"));
    entries[last].data = format!("sample_pkg/__init__.py,sha512={digest},6\n{rest}").into_bytes();
    assert_eq!(verdict(&inspect(WHEEL_NAME, &zip(&entries))), "accepted");
    entries[0].data = b"x = 2\n".to_vec();
    assert_eq!(
        verdict(&inspect(WHEEL_NAME, &zip(&entries))),
        "wheel-record"
    );
}

#[test]
fn sdists_that_contradict_themselves_are_refused() {
    let info = || tar_file("sample_pkg-1.0/PKG-INFO", METADATA.as_bytes());
    for (name, bytes, expected) in [
        (
            "no PKG-INFO",
            tar_gz(&[tar_file("sample_pkg-1.0/setup.py", b"x")]),
            "sdist-pkg-info",
        ),
        (
            "deeper PKG-INFO",
            tar_gz(&[tar_file("sample_pkg-1.0/a/PKG-INFO", METADATA.as_bytes())]),
            "sdist-pkg-info",
        ),
        (
            "other top",
            tar_gz(&[tar_file("other-1.0/PKG-INFO", METADATA.as_bytes())]),
            "sdist-top-directory",
        ),
        (
            "other top version",
            tar_gz(&[tar_file("sample_pkg-2.0/PKG-INFO", METADATA.as_bytes())]),
            "sdist-top-directory",
        ),
        (
            "two tops",
            tar_gz(&[info(), tar_file("b/x", b"x")]),
            "archive-top-directory",
        ),
        ("empty", tar_gz(&[]), "sdist-top-directory"),
        (
            "link",
            tar_gz(&[
                info(),
                tar_header("sample_pkg-1.0/l", 0, b'2', 0o777, "setup.py"),
            ]),
            "accepted",
        ),
        (
            "link outside",
            tar_gz(&[
                info(),
                tar_header("sample_pkg-1.0/l", 0, b'2', 0o777, "/etc"),
            ]),
            "archive-link-outside",
        ),
        (
            "hard link",
            tar_gz(&[
                info(),
                tar_header(
                    "sample_pkg-1.0/l",
                    0,
                    b'1',
                    0o777,
                    "sample_pkg-1.0/PKG-INFO",
                ),
            ]),
            "archive-member-type",
        ),
        (
            "a wheel in disguise",
            Wheel::default().usual().bytes(),
            "archive-not-gzip",
        ),
        (
            "other name",
            sdist(&METADATA.replace("Name: Sample.Pkg", "Name: other")),
            "metadata-name",
        ),
    ] {
        let result = inspect(SDIST_NAME, &bytes);
        assert_eq!(verdict(&result), expected, "{name}: {result:?}");
    }
}

#[test]
fn files_of_two_formats_are_refused() {
    // A wheel whose first member begins with what tar takes for its magic.
    let mut entries = Wheel::default().usual().entries();
    let prefix = 30 + "sample_pkg/__init__.py".len();
    let mut data = vec![b' '; 257 - prefix];
    data.extend(b"ustar\x0000");
    data.resize(600, b' ');
    let mut wheel = Wheel::default().usual();
    wheel.files[0].1 = data;
    entries.splice(.., wheel.entries());
    entries[0].deflate = false;
    assert_eq!(
        verdict(&inspect(WHEEL_NAME, &zip(&entries))),
        "archive-polyglot"
    );
    // An sdist that stores a zip archive near its end, uncompressed, as gzip allows.
    let inner = zip(&[Entry::new("evil", "x")]);
    let mut tar = [
        tar_file("sample_pkg-1.0/PKG-INFO", METADATA.as_bytes()),
        tar_file("sample_pkg-1.0/z", &inner),
    ]
    .concat();
    tar.extend([0; 1024]);
    let mut bytes = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    bytes.extend((tar.len() as u16).to_le_bytes());
    bytes.extend((!(tar.len() as u16)).to_le_bytes());
    bytes.extend(&tar);
    bytes.extend(build::crc(&tar).to_le_bytes());
    bytes.extend((tar.len() as u32).to_le_bytes());
    assert_eq!(verdict(&inspect(SDIST_NAME, &bytes)), "archive-polyglot");
}

#[test]
fn sizes_are_limited() {
    let bytes = Wheel::default().usual().bytes();
    let limits = Limits {
        max_file_size: 10,
        ..Limits::default()
    };
    assert_eq!(
        verdict(&inspect_with(WHEEL_NAME, &bytes, &limits)),
        "file-too-large"
    );
    let limits = Limits {
        max_metadata: 10,
        ..Limits::default()
    };
    assert_eq!(
        verdict(&inspect_with(WHEEL_NAME, &bytes, &limits)),
        "archive-member-too-large"
    );
    let limits = Limits {
        max_unpacked: 100,
        ..Limits::default()
    };
    assert_eq!(
        verdict(&inspect_with(WHEEL_NAME, &bytes, &limits)),
        "archive-too-large"
    );
}

// Metadata.

#[test]
fn odd_but_real_metadata_is_read() {
    let metadata: CoreMetadata = "Metadata-Version: 1.1\r\nname: a\r\nVersion: 1\r\nHome-page: UNKNOWN\r\nLicense: MIT\r\n        line two\r\n\
        Description: First\r\n        \r\n            code\r\n       |bar\r\nKeywords: \r\nPlatform: UNKNOWN\r\nX-Own: y\r\n"
        .parse()
        .unwrap();
    assert_eq!(metadata.get("home-page"), None);
    assert_eq!(metadata.get("keywords"), None);
    assert_eq!(metadata.get("license"), Some("MIT\nline two"));
    assert_eq!(metadata.description(), Some("First\n\n    code\nbar"));
    assert_eq!(metadata.warnings.len(), 1);
}

#[test]
fn malformed_metadata_is_refused_and_shown() {
    let with = |line: &str| format!("Metadata-Version: 2.1\nName: a\nVersion: 1\n{line}\n\n");
    for (text, expected) in [
        (String::new(), "metadata-missing-field"),
        ("\nName: a\n".to_owned(), "metadata-missing-field"),
        ("Name: a\nVersion: 1\n".to_owned(), "metadata-missing-field"),
        (" folded: first\n".to_owned(), "metadata-line"),
        (with("no colon here"), "metadata-line"),
        (with("bad name: x"), "metadata-line"),
        (with(": x"), "metadata-line"),
        (with("Name: b"), "metadata-duplicate-field"),
        (with("name: a"), "metadata-duplicate-field"),
        (with("Summary: a\rName: b"), "metadata-control-character"),
        (with("Summary: a\u{1b}[2J"), "metadata-control-character"),
        (with("Summary: a\0b"), "metadata-control-character"),
        (with("Requires-Python: banana"), "metadata-requires-python"),
        (with("Requires-Dist: b >> 1"), "metadata-requirement"),
        (
            with("Requires-Dist: b @ file:///etc/passwd"),
            "metadata-direct-reference",
        ),
        (
            with("Classifier: Topic ::Security ::"),
            "metadata-classifier",
        ),
        (
            with(&format!("Summary: {}", "x".repeat(20_000))),
            "metadata-field-too-long",
        ),
        (
            with(&"Platform: x\n".repeat(20_001)),
            "metadata-too-many-fields",
        ),
        (with("Description: a") + "body", "metadata-two-descriptions"),
        (
            "Metadata-Version: 3.0\nName: a\nVersion: 1\n".to_owned(),
            "metadata-version",
        ),
        ("x".repeat(2 << 20), "metadata-too-large"),
    ] {
        let result = text.parse::<CoreMetadata>();
        assert_eq!(
            verdict(&result),
            expected,
            "{}",
            &text[..text.len().min(80)]
        );
    }
    let latin = CoreMetadata::parse(
        b"Metadata-Version: 2.1\nName: a\nVersion: 1\nAuthor: J\xfcrg\n",
        &Limits::default(),
    );
    assert_eq!(verdict(&latin), "metadata-encoding");
}

// Forms.

fn form(changes: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = [
        (":action", "file_upload"),
        ("protocol_version", "1"),
        ("sha256_digest", &"AB".repeat(32)),
        ("metadata_version", "2.1"),
        ("name", "sample-pkg"),
        ("version", "1.0"),
        ("filetype", "bdist_wheel"),
        ("pyversion", "py3"),
        ("summary", "A sample"),
        ("requires_python", ">=3.8"),
        ("keywords", "one, two words"),
        ("classifiers", "Topic :: Security"),
        ("requires_dist", "requests[socks]>=2 ; extra == 'net'"),
        ("provides_extra", "net"),
        ("project_urls", "Home,https://example.org/a,b"),
        ("description", "# Sample\r\n\r\nLong text."),
    ]
    .iter()
    .map(|(field, value)| ((*field).to_owned(), (*value).to_owned()))
    .collect();
    for (field, value) in changes {
        match pairs.iter_mut().find(|(known, _)| known == field) {
            Some((_, old)) => *old = (*value).to_owned(),
            None => pairs.push(((*field).to_owned(), (*value).to_owned())),
        }
    }
    pairs
}

#[test]
fn forms_that_say_what_the_archive_says_are_accepted() {
    let manifest = wheel(|wheel| wheel).unwrap();
    for changes in [
        &[][..],
        &[("name", "Sample_Pkg"), ("version", "1.0.0")],
        &[
            ("requires_python", ""),
            ("summary", ""),
            ("author", ""),
            ("license", "UNKNOWN"),
        ],
        &[("comment", "hello"), ("gpg_signature", "x")],
    ] {
        let form = UploadForm::from_pairs(form(changes)).unwrap();
        let result = compare(&form, &manifest);
        assert_eq!(result, Ok(Vec::new()), "{changes:?}");
    }
    let form = UploadForm::from_pairs(form(&[("novelty", "x")])).unwrap();
    assert_eq!(compare(&form, &manifest).unwrap().len(), 1);
}

#[test]
fn forms_that_differ_from_the_archive_are_refused_naming_the_field() {
    let manifest = wheel(|wheel| wheel).unwrap();
    for (field, value) in [
        ("name", "sample"),
        ("version", "1.1"),
        ("metadata_version", "2.2"),
        ("filetype", "sdist"),
        ("pyversion", "cp311"),
        ("summary", "Another"),
        ("description", "Malware"),
        ("requires_python", ">=3.9"),
        ("keywords", "one"),
        ("author", "Mallory"),
        ("author_email", "m@example.org"),
        ("license_expression", "MIT"),
        ("home_page", "https://example.com"),
        ("classifiers", "Topic :: Other"),
        ("requires_dist", "evil"),
        ("provides_extra", "other"),
        ("project_urls", "Home, https://evil.example"),
        ("license_files", "LICENSE"),
        ("dynamic", "version"),
    ] {
        let form = UploadForm::from_pairs(form(&[(field, value)])).unwrap();
        let rejection = compare(&form, &manifest).unwrap_err();
        assert_eq!(rejection.code, "form-mismatch");
        assert!(
            rejection.message.contains(field) && rejection.message.contains(value),
            "{rejection}"
        );
    }
    let mut pairs = form(&[]);
    pairs.push(("requires_dist".to_owned(), "evil".to_owned()));
    assert!(compare(&UploadForm::from_pairs(pairs).unwrap(), &manifest).is_err());
}

#[test]
fn malformed_forms_are_refused() {
    let code = |pairs: Vec<(String, String)>| verdict(&UploadForm::from_pairs(pairs));
    assert_eq!(code(form(&[(":action", "doc_upload")])), "form-action");
    assert_eq!(code(Vec::new()), "form-action");
    assert_eq!(code(form(&[("protocol_version", "2")])), "form-protocol");
    let mut twice = form(&[]);
    twice.push(("name".to_owned(), "other".to_owned()));
    assert_eq!(code(twice), "form-duplicate-field");
    let many = form(&[])
        .into_iter()
        .chain((0..20_000).map(|_| ("dynamic".to_owned(), "x".to_owned())));
    assert_eq!(code(many.collect()), "form-too-large");
    assert_eq!(
        code(form(&[("description", &"x".repeat(17 << 20))])),
        "form-too-large"
    );
}

#[test]
fn every_digest_that_was_sent_must_hold() {
    let digests = UploadForm::from_pairs(form(&[]))
        .unwrap()
        .digests()
        .unwrap();
    assert_eq!(digests.sha256.as_deref(), Some("ab".repeat(32).as_str()));
    let computed = Digests {
        sha256: digests.sha256.clone(),
        ..Digests::default()
    };
    assert_eq!(digests.check(&computed), Ok(()));
    let other = Digests {
        sha256: Some("cd".repeat(32)),
        ..Digests::default()
    };
    assert_eq!(verdict(&digests.check(&other)), "digest-mismatch");
    let more = UploadForm::from_pairs(form(&[("md5_digest", &"0".repeat(32))]))
        .unwrap()
        .digests()
        .unwrap();
    assert_eq!(verdict(&more.check(&computed)), "digest-mismatch");
    for (field, value) in [
        ("sha256_digest", ""),
        ("sha256_digest", "ab"),
        ("md5_digest", "zz"),
        ("blake2_256_digest", "é"),
    ] {
        let form = UploadForm::from_pairs(form(&[(field, value)])).unwrap();
        assert_eq!(verdict(&form.digests()), "form-digest", "{field} {value}");
    }
}

proptest! {
    #[test]
    fn metadata_never_panics(text in "[A-Za-z:\\- \n\r\t|\\PC]{0,300}") {
        let _ = text.parse::<CoreMetadata>();
        let _ = format!("Metadata-Version: 2.1\nName: a\nVersion: 1\n{text}").parse::<CoreMetadata>();
    }

    #[test]
    fn wheels_with_any_metadata_never_panic(text in "\\PC{0,100}", record in "[a-z,=\"\n0-9]{0,60}") {
        let _ = wheel(|wheel| Wheel { record_tail: record, ..wheel.file("INFO/METADATA", text.clone()).file("INFO/WHEEL", text.clone()).file("INFO/entry_points.txt", text) });
    }
}
