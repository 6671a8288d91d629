//! Index documents and the promises that clients read from them.
#![allow(clippy::unwrap_used)]

mod build;

use build::verdict;
use countersign_formats::{
    IndexView, Limits, NameKey, Promise,
    pypi::{
        documents::{
            FileView, LegacyFile, LegacyRelease, ProjectHead, ProjectStatus, ProjectView,
            file_fragment, index_json, project_json, project_json_from_fragments,
            project_legacy_json, release_legacy_json,
        },
        html::{index_html, project_html},
        promises,
    },
};
use proptest::prelude::*;
use serde_json::Value;

fn file() -> FileView {
    FileView {
        filename: "a-1.0-py3-none-any.whl".to_owned(),
        url: "../../files/ab/a-1.0-py3-none-any.whl".to_owned(),
        sha256: "ab".repeat(32),
        size: 1234,
        upload_time: 1_700_000_000_123_456,
        requires_python: Some(">=3.8,<4".to_owned()),
        yanked: None,
        metadata_sha256: Some("cd".repeat(32)),
        provenance: None,
        proof_url: Some("/log/1/proof/7".to_owned()),
        leaf_index: 7,
    }
}

fn project(files: Vec<FileView>) -> ProjectView {
    ProjectView {
        head: ProjectHead {
            name_key: NameKey::from_stored("a"),
            display_name: "A".to_owned(),
            status: ProjectStatus::Active,
            status_reason: None,
            versions: vec!["1.0".to_owned()],
            last_serial: 42,
        },
        files,
    }
}

fn promised(project: &ProjectView) -> Vec<Promise> {
    project
        .files
        .iter()
        .map(|file| Promise {
            filename: file.filename.clone(),
            url: file.url.clone(),
            sha256: file.sha256.clone(),
            size: Some(file.size),
            leaf_index: Some(file.leaf_index),
            proof_url: file.proof_url.clone(),
        })
        .collect()
}

fn read(document: &str) -> Vec<Promise> {
    promises(document.as_bytes(), &Limits::default()).unwrap()
}

#[test]
fn the_json_document_has_every_key_of_version_1_4() {
    let expected = concat!(
        r#"{"meta":{"api-version":"1.4","_last-serial":42},"name":"a","project-status":{"status":"active"},"#,
        r#""versions":["1.0"],"files":[{"filename":"a-1.0-py3-none-any.whl","url":"../../files/ab/a-1.0-py3-none-any.whl","#,
        r#""hashes":{"sha256":"abababababababababababababababababababababababababababababababab"},"requires-python":">=3.8,<4","#,
        r#""size":1234,"upload-time":"2023-11-14T22:13:20.123456Z","yanked":false,"#,
        r#""core-metadata":{"sha256":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"},"#,
        r#""data-dist-info-metadata":{"sha256":"cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd"},"#,
        r#""provenance":null,"_countersign":{"leaf":7,"proof":"/log/1/proof/7"}}]}"#
    );
    assert_eq!(project_json(&project(vec![file()])), expected);
}

#[test]
fn fragments_make_the_same_bytes_as_a_whole_rendering() {
    let second = FileView {
        filename: "a-1.0.tar.gz".to_owned(),
        ..file()
    };
    let view = project(vec![file(), second.clone()]);
    let fragments = [file_fragment(&file()), file_fragment(&second)];
    assert_eq!(
        project_json_from_fragments(&view.head, &fragments),
        project_json(&view)
    );
    assert_eq!(IndexView::Pypi(view.clone()).render(), project_json(&view));
}

#[test]
fn yanked_says_true_when_there_is_no_reason() {
    let yanked = |reason: Option<&str>| {
        let view = FileView {
            yanked: reason.map(str::to_owned),
            ..file()
        };
        let value: Value = serde_json::from_str(&file_fragment(&view)).unwrap();
        value["yanked"].clone()
    };
    assert_eq!(yanked(None), Value::Bool(false));
    assert_eq!(yanked(Some("")), Value::Bool(true));
    assert_eq!(yanked(Some("broken")), Value::String("broken".to_owned()));
}

#[test]
fn a_quarantined_project_shows_no_files() {
    let mut view = project(vec![file()]);
    view.head.status = ProjectStatus::Quarantined;
    view.head.status_reason = Some("malware <b>".to_owned());
    let json = project_json(&view);
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["files"], serde_json::json!([]));
    assert_eq!(value["project-status"]["status"], "quarantined");
    let html = project_html(&json).unwrap();
    assert!(html.contains(r#"<meta name="pypi:project-status" content="quarantined">"#));
    assert!(html.contains("malware &lt;b&gt;"));
    assert!(!html.contains("<a "));
    assert!(read(&json).is_empty());
}

#[test]
fn the_html_page_has_all_attributes_escaped() {
    let view = FileView {
        yanked: Some("a \"b\" <c>".to_owned()),
        provenance: Some("https://r/p?a=1&b=2".to_owned()),
        ..file()
    };
    let html = project_html(&project_json(&project(vec![view]))).unwrap();
    let sha = "ab".repeat(32);
    let meta = "cd".repeat(32);
    let expected = format!(
        "    <a href=\"../../files/ab/a-1.0-py3-none-any.whl#sha256={sha}\" data-requires-python=\"&gt;=3.8,&lt;4\" \
         data-dist-info-metadata=\"sha256={meta}\" data-core-metadata=\"sha256={meta}\" \
         data-yanked=\"a &quot;b&quot; &lt;c&gt;\" data-provenance=\"https://r/p?a=1&amp;b=2\" \
         data-countersign-leaf=\"7\" data-countersign-proof=\"/log/1/proof/7\">a-1.0-py3-none-any.whl</a><br>\n"
    );
    assert!(html.contains(&expected), "{html}");
    assert!(html.contains(r#"<meta name="pypi:repository-version" content="1.4">"#));
}

#[test]
fn the_list_of_projects_comes_in_both_forms() {
    assert_eq!(
        index_json(["A", "b\"c"], 9),
        r#"{"meta":{"api-version":"1.4","_last-serial":9},"projects":[{"name":"A"},{"name":"b\"c"}]}"#
    );
    let html = index_html([("a", "A"), ("b-c", "B.c")], 9);
    assert!(html.contains("<a href=\"a/\">A</a><br>\n    <a href=\"b-c/\">B.c</a><br>"));
}

#[test]
fn times_are_written_in_the_gregorian_calendar() {
    for (micros, expected) in [
        (0, "1970-01-01T00:00:00.000000Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (951_782_400_000_000, "2000-02-29T00:00:00.000000Z"),
        (4_107_542_399_000_001, "2100-02-28T23:59:59.000001Z"),
        (i64::MAX, "9999-12-31T23:59:59.999999Z"),
        (i64::MIN, "0000-01-01T00:00:00.000000Z"),
    ] {
        let value: Value = serde_json::from_str(&file_fragment(&FileView {
            upload_time: micros,
            ..file()
        }))
        .unwrap();
        assert_eq!(value["upload-time"], expected);
    }
}

#[test]
fn the_legacy_documents_carry_metadata_releases_and_digests() {
    let manifest =
        build::inspect(build::WHEEL_NAME, &build::Wheel::default().usual().bytes()).unwrap();
    let release = |version: &str| LegacyRelease {
        version: version.to_owned(),
        files: vec![LegacyFile {
            view: file(),
            filetype: "bdist_wheel".to_owned(),
            python_tag: "py3".to_owned(),
            md5: Some("0".repeat(32)),
            blake2_256: None,
        }],
    };
    let head = project(Vec::new()).head;
    let releases = [release("0.9"), release("1.0")];
    let value: Value = serde_json::from_str(&project_legacy_json(
        &head,
        &manifest,
        &releases,
        "https://r/p/a",
    ))
    .unwrap();
    assert_eq!(value["info"]["name"], "A");
    assert_eq!(value["info"]["version"], "1.0");
    assert_eq!(
        value["info"]["requires_dist"][0],
        "requests[socks]>=2 ; extra == 'net'"
    );
    assert_eq!(
        value["info"]["project_urls"]["Home"],
        "https://example.org/a,b"
    );
    assert_eq!(value["info"]["release_url"], "https://r/p/a/1.0/");
    assert_eq!(value["releases"].as_object().unwrap().len(), 2);
    assert_eq!(value["urls"][0]["digests"]["sha256"], "ab".repeat(32));
    assert_eq!(value["urls"][0]["upload_time"], "2023-11-14T22:13:20");
    assert_eq!(value["vulnerabilities"], serde_json::json!([]));
    let one: Value = serde_json::from_str(&release_legacy_json(
        &head,
        &manifest,
        &releases[1],
        "https://r/p/a",
    ))
    .unwrap();
    assert!(one.get("releases").is_none());
    assert_eq!(one["urls"], value["urls"]);
}

#[test]
fn foreign_documents_are_read_and_bad_ones_refused() {
    let sha = "ab".repeat(32);
    let html = format!(
        "<!DOCTYPE html><html><body><h1>x</h1><a href=\"https://h/a-1.tar.gz#sha256={sha}\" rel=internal >a-1.tar.gz</a>\
         <a href='b-1.tar.gz#md5=00'>b-1.tar.gz</a></body></html>"
    );
    assert_eq!(read(&html).len(), 1);
    let json = |files: &str| format!("{{\"files\":[{files}]}}");
    let entry = format!("{{\"filename\":\"a\",\"url\":\"u\",\"hashes\":{{\"sha256\":\"{sha}\"}}}}");
    assert_eq!(read(&json(&entry)).len(), 1);
    assert_eq!(
        read(&json(r#"{"filename":"a","url":"u","hashes":{"md5":"00"}}"#)).len(),
        0
    );
    for document in [
        json(&format!("{entry},{entry}")),
        json(&entry.replace("abab", "ABAB")),
        json(&entry.replace("abab", "ab")),
        "{}".to_owned(),
        "{\"files\":".to_owned(),
        "[".repeat(100_000),
        "{\"files\":".repeat(100_000),
    ] {
        let result = promises(document.as_bytes(), &Limits::default());
        assert!(
            result.is_err() || result.unwrap().is_empty(),
            "{}",
            &document[..document.len().min(60)]
        );
    }
    assert_eq!(
        verdict(&promises(b"\xff", &Limits::default())),
        "document-invalid"
    );
    let small = Limits {
        max_document: 10,
        ..Limits::default()
    };
    assert_eq!(
        verdict(&promises(html.as_bytes(), &small)),
        "document-too-large"
    );
}

prop_compose! {
    fn any_file()(
        filename in "[a-zA-Z0-9][a-zA-Z0-9._-]{0,20}",
        url in "[a-z:/.]{0,5}[a-zA-Z0-9%&;=?'\"<>_.\u{e9}-]{1,20}",
        sha256 in "[0-9a-f]{64}",
        size in any::<u64>(),
        upload_time in any::<i64>(),
        requires_python in proptest::option::of("\\PC{0,10}"),
        yanked in proptest::option::of("\\PC{0,10}"),
        metadata_sha256 in proptest::option::of("[0-9a-f]{64}"),
        provenance in proptest::option::of("\\PC{0,10}"),
        proof_url in proptest::option::of("\\PC{0,10}"),
        leaf_index in any::<u64>(),
    ) -> FileView {
        FileView { filename, url, sha256, size, upload_time, requires_python, yanked, metadata_sha256, provenance, proof_url, leaf_index }
    }
}

proptest! {
    #[test]
    fn documents_promise_exactly_their_files(mut files in proptest::collection::vec(any_file(), 0..6)) {
        files.sort_by(|a, b| a.filename.cmp(&b.filename));
        files.dedup_by(|a, b| a.filename == b.filename);
        let view = project(files);
        let json = project_json(&view);
        prop_assert_eq!(read(&json), promised(&view));
        let html = project_html(&json).unwrap();
        let without_sizes: Vec<Promise> = promised(&view).into_iter().map(|promise| Promise { size: None, ..promise }).collect();
        prop_assert_eq!(read(&html), without_sizes);
    }

    #[test]
    fn reading_promises_never_panics(text in "[<>a-z=\"'#&;/! \\PC]{0,200}", json in "\\{\"files\":\\PC{0,60}") {
        let _ = promises(text.as_bytes(), &Limits::default());
        let _ = promises(json.as_bytes(), &Limits::default());
    }
}

/// The seeds of a fuzz target, by name.
fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    let files = std::fs::read_dir(folder.join(target)).unwrap();
    let mut seeds: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, std::fs::read(path).unwrap())
        })
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{target}");
    seeds
}

#[test]
fn seeds_of_advisories_lists_and_health_are_read() {
    use countersign_formats::{Ecosystem, name_list, osv, source_health};
    for (name, bytes) in seeds("formats_osv") {
        let mut read = 0;
        let mut take = |_| {
            read += 1;
            Ok(())
        };
        if name == "archive" {
            let mut file = std::io::Cursor::new(&bytes);
            osv::import::archive(&mut file, bytes.len() as u64, &mut take).unwrap();
        } else {
            osv::import::document("seed", &bytes, &mut take).unwrap();
        }
        assert_eq!(read, 1 + usize::from(name == "list"), "{name}");
    }
    for (name, bytes) in seeds("formats_name_list") {
        let of = match &*name {
            "scoped" => Ecosystem::Npm,
            "underscore" => Ecosystem::Cargo,
            _ => Ecosystem::Pypi,
        };
        assert!(name_list::parse(of, &bytes).unwrap().len() > 1, "{name}");
    }
    for (name, bytes) in seeds("formats_source_health") {
        if name != "address" {
            let report = source_health::read(&bytes, &mut |_| {}).unwrap();
            assert_eq!((report.taken, report.refused), (2, 0), "{name}");
        }
    }
}
