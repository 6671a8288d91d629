use std::time::Duration;

use countersign_registry::model::Action;
use countersign_testkit::http::multipart;
use countersign_testkit::packages::{Package, Sdist, Wheel};
use http::Method;

use crate::house::{House, house, house_with};

/// What uv sends with an upload.
const UV: &str = "application/json;q=0.9, text/plain;q=0.8, text/html;q=0.7";

fn with(package: &Package, name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    let mut fields: Vec<_> = package
        .form()
        .into_iter()
        .filter(|(field, _)| *field != name)
        .collect();
    fields.push((name, value.to_owned()));
    fields
}

#[tokio::test]
async fn a_publish_is_answered_with_its_place_in_the_log() {
    let house = house().await;
    for package in [
        Wheel::new("sample", "1.0").build(),
        Sdist::new("sample", "1.0").build(),
    ] {
        let answer = house.upload(&package).await.expect(200);
        let leaf: u64 = answer.header("x-countersign-leaf").parse().unwrap();
        let proof = answer.header("x-countersign-proof").to_owned();
        assert_eq!(
            proof,
            format!(
                "http://localhost:8417/files/{}/{}.tlog-proof",
                package.sha256(),
                package.filename
            )
        );
        assert!(
            answer
                .text()
                .starts_with("Published: pkg:pypi/sample@1.0?file_name="),
            "{}",
            answer.text()
        );
        let proof = house
            .get(proof.strip_prefix("http://localhost:8417").unwrap())
            .await
            .expect(200);
        assert!(proof.text().contains(&format!("\nindex {leaf}\n")));
    }
}

#[tokio::test]
async fn the_receipt_comes_as_json_to_whoever_prefers_it() {
    let house = house().await;
    let package = Wheel::new("sample", "1.0").build();
    let answer = house
        .upload_with(&package, &package.form(), &[("accept", UV)])
        .await
        .expect(200);
    let receipt = answer.json();
    assert_eq!(receipt["sha256"], package.sha256());
    assert_eq!(receipt["repeated"], false);
    assert_eq!(
        receipt["leaf"].to_string(),
        answer.header("x-countersign-leaf")
    );
    assert!(
        receipt["proof"]
            .as_str()
            .unwrap()
            .starts_with("c2sp.org/tlog-proof@v1\n")
    );
    assert!(receipt["warnings"].is_array());
}

#[tokio::test]
async fn identical_bytes_again_are_a_success_and_change_nothing() {
    let house = house().await;
    let package = Wheel::new("sample", "1.0").build();
    let first = house.upload(&package).await.expect(200);
    let second = house.upload(&package).await.expect(200);
    assert_eq!(
        first.header("x-countersign-leaf"),
        second.header("x-countersign-leaf")
    );
    assert!(
        second.text().starts_with("Already published"),
        "{}",
        second.text()
    );
}

#[tokio::test]
async fn other_bytes_under_a_taken_name_are_400_with_the_words_that_skip_existing_looks_for() {
    let house = house().await;
    house.published("sample", "1.0").await;
    let other = Wheel::new("sample", "1.0")
        .file("sample/more.py", "x = 1\n")
        .build();
    let answer = house.upload(&other).await.expect(400);
    assert!(
        answer
            .reason
            .as_deref()
            .unwrap()
            .starts_with("File already exists"),
        "{:?}",
        answer.reason
    );
    assert!(
        answer.text().starts_with("File already exists"),
        "{}",
        answer.text()
    );
    let answer = house
        .upload_with(&other, &other.form(), &[("accept", UV)])
        .await
        .expect(400);
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(
        answer.json()["code"]
            .as_str()
            .unwrap()
            .contains("File already exists")
    );
    let answer = house
        .upload_with(
            &other,
            &other.form(),
            &[("accept", "application/problem+json")],
        )
        .await
        .expect(400);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.json()["code"], "file-exists");
}

#[tokio::test]
async fn authentication_failures_are_403_and_never_401() {
    let house = house().await;
    let package = Wheel::new("sample", "1.0").build();
    let reader = house.token_for("alice", Action::Read).await;
    for (authorization, code) in [
        (String::new(), "credentials-missing"),
        ("Bearer nonsense".to_owned(), "token-malformed"),
        (format!("Bearer {reader}"), "token-action"),
    ] {
        let answer = house
            .upload_with(
                &package,
                &package.form(),
                &[("authorization", &authorization)],
            )
            .await
            .expect(403);
        assert!(
            answer.text().contains(&format!("#{code}")),
            "{}",
            answer.text()
        );
        assert_eq!(answer.header("www-authenticate"), "");
        assert!(answer.reason.is_some());
    }
    let bob = house.token_for("bob", Action::Publish).await;
    house.upload(&package).await.expect(200);
    let next = Wheel::new("sample", "2.0").build();
    let answer = house
        .upload_with(
            &next,
            &next.form(),
            &[("authorization", &format!("Bearer {bob}"))],
        )
        .await
        .expect(403);
    assert!(answer.text().contains("#role-missing"), "{}", answer.text());
}

#[tokio::test]
async fn a_token_is_taken_in_every_usual_way() {
    let house = house().await;
    for (version, authorization) in [
        (
            "1",
            countersign_testkit::http::basic_authorization("__token__", &house.token),
        ),
        (
            "2",
            countersign_testkit::http::basic_authorization("alice", &house.token),
        ),
        ("3", format!("Bearer {}", house.token)),
        ("4", house.token.clone()),
    ] {
        let package = Wheel::new("sample", version).build();
        house
            .upload_with(
                &package,
                &package.form(),
                &[("authorization", &authorization)],
            )
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn what_the_form_says_must_be_what_the_file_says() {
    let house = house().await;
    let package = Wheel::new("sample", "1.0").build();
    for (field, value, code) in [
        ("sha256_digest", "0".repeat(64), "digest-mismatch"),
        ("version", "1.1".to_owned(), "form-mismatch"),
        ("name", "other".to_owned(), "form-mismatch"),
        ("summary", "another summary".to_owned(), "form-mismatch"),
        (":action", "submit".to_owned(), "form-action"),
        (":action", "doc_upload".to_owned(), "form-action"),
        ("protocol_version", "2".to_owned(), "form-protocol"),
    ] {
        let answer = house
            .upload_with(&package, &with(&package, field, &value), &[])
            .await
            .expect(400);
        assert!(
            answer.text().contains(&format!("#{code}")),
            "{field}: {}",
            answer.text()
        );
    }
    house.get("/pypi/simple/sample/").await.expect(404);
    house.upload(&package).await.expect(200);
}

#[tokio::test]
async fn fields_may_come_after_the_file() {
    let house = house().await;
    let package = Wheel::new("sample", "1.0").build();
    let (content_type, body) = multipart(&[], Some(("content", &package.filename, &package.bytes)));
    let fields = package.form();
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let (_, rest) = multipart(&fields, None);
    let closing = body.windows(2).rposition(|window| window == b"--").unwrap();
    let mut joined = body[..closing].to_vec();
    joined.truncate(joined.iter().rposition(|byte| *byte == b'\n').unwrap() + 1);
    joined.extend_from_slice(&rest);
    let basic = house.basic();
    let headers = [
        ("content-type", content_type.as_str()),
        ("authorization", basic.as_str()),
    ];
    house
        .ask(Method::POST, "/pypi/legacy/", &headers, joined)
        .await
        .expect(200);
}

async fn post(
    house: &House,
    content_type: &str,
    body: impl Into<bytes::Bytes>,
) -> crate::house::Answer {
    let basic = house.basic();
    let headers = [
        ("content-type", content_type),
        ("authorization", basic.as_str()),
    ];
    house
        .ask(Method::POST, "/pypi/legacy/", &headers, body)
        .await
}

#[tokio::test]
async fn forms_that_can_not_be_read_are_refused_in_words() {
    let house = house().await;
    let package = Wheel::new("sample", "1.0").build();
    let (content_type, body) = multipart(
        &[(":action", "file_upload")],
        Some(("content", &package.filename, &package.bytes)),
    );
    let (_, without_file) = multipart(&[(":action", "file_upload")], None);
    for (content_type, body, code) in [
        ("application/json", b"{}".to_vec(), "form-malformed"),
        ("multipart/form-data", body.clone(), "form-malformed"),
        (content_type.as_str(), Vec::new(), "upload-truncated"),
        (
            content_type.as_str(),
            body[..body.len() - 30].to_vec(),
            "upload-truncated",
        ),
        (
            content_type.as_str(),
            body[..300].to_vec(),
            "upload-truncated",
        ),
        (content_type.as_str(), without_file, "form-malformed"),
        (
            content_type.as_str(),
            b"nonsense".repeat(10_000),
            "form-malformed",
        ),
    ] {
        let answer = post(&house, content_type, body).await.expect(400);
        assert!(
            answer.text().contains(&format!("#{code}")),
            "{code}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn text_fields_have_a_limit_in_size_and_number() {
    let house = house().await;
    let package = Wheel::new("sample", "1.0").build();
    let long = "x".repeat(3 << 20);
    let (content_type, body) =
        multipart(&[(":action", "file_upload"), ("description", &long)], None);
    assert!(
        post(&house, &content_type, body)
            .await
            .expect(413)
            .text()
            .contains("#form-too-large")
    );
    let mut fields = package.form();
    fields.extend(std::iter::repeat_n(("classifiers", "x".to_owned()), 6_000));
    let answer = house.upload_with(&package, &fields, &[]).await.expect(413);
    assert!(answer.text().contains("#form-too-large"));
    let name = "n".repeat(101);
    let (content_type, body) = multipart(&[(&name, "x")], None);
    let answer = post(&house, &content_type, body).await.expect(413);
    assert!(answer.text().contains("#form-too-large"));
}

#[tokio::test]
async fn who_may_not_publish_is_told_before_the_form_is_read_and_takes_no_place() {
    let house = house_with(|_, face| {
        face.max_uploads = 1;
        face.upload_wait = std::time::Duration::from_millis(50);
    })
    .await;
    let reader = house.token_for("alice", Action::Read).await;
    let basic = countersign_testkit::http::basic_authorization("__token__", &reader);
    let headers = [
        ("content-type", "multipart/form-data; boundary=x"),
        ("authorization", basic.as_str()),
    ];
    let answer = house
        .ask(Method::POST, "/pypi/legacy/", &headers, "no form at all")
        .await
        .expect(403);
    assert!(answer.text().contains("#token-action"), "{}", answer.text());
}

#[tokio::test]
async fn a_file_over_the_limit_is_413() {
    let house = house_with(|settings, _| settings.limits.max_file_size = 10_000).await;
    let package = Wheel::new("sample", "1.0")
        .file("sample/data.bin", vec![7; 20_000])
        .build();
    let padded = Package {
        bytes: [package.bytes.clone(), vec![0; 20_000]].concat(),
        ..package
    };
    let answer = house.upload(&padded).await.expect(413);
    assert!(
        answer.text().contains("#file-too-large"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn more_uploads_than_places_wait_and_then_get_503_with_a_time_to_come_back() {
    let house = house_with(|_, face| {
        face.max_uploads = 1;
        face.upload_wait = Duration::from_millis(50);
    })
    .await;
    let package = Wheel::new("sample", "1.0").build();
    let (content_type, _) = multipart(&[], None);
    let basic = house.basic();
    // An upload that never ends holds the only place.
    let endless = http_body_util::StreamBody::new(futures::stream::pending::<
        Result<http_body::Frame<bytes::Bytes>, std::io::Error>,
    >());
    let request = http::Request::post("/pypi/legacy/")
        .header("content-type", &content_type)
        .header("authorization", &basic)
        .body(endless)
        .unwrap();
    let first = tokio::spawn(house.app.handle(request, None));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let answer = house.upload(&package).await.expect(503);
    assert!(answer.text().contains("#uploads-full"));
    assert_eq!(answer.header("retry-after"), "5");
    first.abort();
    let _ = first.await;
    house.upload(&package).await.expect(200);
}

#[tokio::test]
async fn the_address_without_its_slash_moves_with_the_method_kept() {
    let house = house().await;
    let answer = house
        .ask(Method::POST, "/pypi/legacy", &[], "")
        .await
        .expect(308);
    assert_eq!(answer.header("location"), "/pypi/legacy/");
    let answer = house.get("/pypi/legacy/").await.expect(405);
    assert_eq!(answer.header("allow"), "POST");
}

#[tokio::test]
async fn a_hostile_archive_is_refused_with_its_own_code() {
    let house = house().await;
    let package = Wheel::new("sample", "1.0").build();
    let tailed = Package {
        bytes: [package.bytes.clone(), b"more".to_vec()].concat(),
        ..package
    };
    let answer = house.upload(&tailed).await.expect(400);
    assert!(answer.text().contains("#archive-"), "{}", answer.text());
    house.get("/pypi/simple/sample/").await.expect(404);
}
