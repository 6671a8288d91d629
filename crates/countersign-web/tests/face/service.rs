//! Services for registries elsewhere: the log's API and files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_registry::NewLogService;
use countersign_registry::model::{Actor, Visibility};
use countersign_trust::digest::Sha256;
use countersign_trust::policy::Policy;
use countersign_trust::proof::TlogProof;
use http::Method;
use serde_json::{Value, json};

use crate::house::{Answer, House, house_with};

const ENTRIES: &str = "/api/v1/service/log/entries";
const ORIGIN: &str = "localhost:8417/service/log/files";

/// A registry that nobody may read without a token, with a log of a service that keeps identifiers.
async fn scene(keys: &std::path::Path) -> (House, String) {
    let house = house_with(|settings, _| {
        settings.sign_in.key_folder = keys.to_owned();
        settings.visibility = Visibility::Restricted;
    })
    .await;
    let operator = Actor::operator();
    let new = NewLogService {
        name: "files".to_owned(),
        interval: std::time::Duration::from_millis(50),
        identifiers: true,
        policy: None,
    };
    house
        .registry
        .create_log_service(&operator, &new)
        .await
        .unwrap();
    let token = house
        .registry
        .create_log_service_token(&operator, "files", "")
        .await
        .unwrap();
    (house, format!("Bearer {token}"))
}

async fn send(house: &House, token: &str, body: &Value) -> Answer {
    let headers = [
        ("authorization", token),
        ("content-type", "application/json"),
    ];
    house
        .ask(Method::POST, ENTRIES, &headers, body.to_string())
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_elsewhere_appends_and_everybody_can_check() {
    let keys = tempfile::tempdir().unwrap();
    let (house, token) = scene(keys.path()).await;
    let (one, two) = (STANDARD.encode("one"), STANDARD.encode("two"));
    let entries = json!([{"data": one, "identifier": "1"}, {"data": two, "identifier": "2"}]);
    let answer = send(&house, &token, &json!({ "entries": entries }))
        .await
        .expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let answer = answer.json();
    let policy = house.get("/service/log/files/policy").await.expect(200);
    let policy = Policy::parse(&policy.body).unwrap();
    for (index, data) in ["one", "two"].into_iter().enumerate() {
        let entry = &answer["entries"][index];
        assert_eq!(
            (&entry["index"], &entry["repeated"]),
            (&json!(index), &json!(false))
        );
        let proof = TlogProof::parse(entry["proof"].as_str().unwrap().as_bytes()).unwrap();
        policy.verify(&proof, data.as_bytes(), ORIGIN).unwrap();
        assert_eq!(proof.checkpoint, answer["checkpoint"].as_str().unwrap());
    }
    // Not waited for, paths alone, not proved at all; the same bytes keep their places.
    let answer = send(&house, &token, &json!({"entries": entries, "wait": false}))
        .await
        .expect(202)
        .json();
    assert_eq!(
        answer["entries"][1],
        json!({"index": 1, "repeated": true, "leaf_hash": answer["entries"][1]["leaf_hash"]})
    );
    assert!(answer.get("checkpoint").is_none());
    let answer = send(
        &house,
        &token,
        &json!({"entries": entries, "proof": "hashes"}),
    )
    .await
    .expect(200)
    .json();
    assert_eq!(
        answer["entries"][0]["hashes"],
        json!([STANDARD.encode(
            answer["entries"][1]["leaf_hash"]
                .as_str()
                .unwrap()
                .parse::<Sha256>()
                .unwrap()
                .0
        )])
    );
    let answer = send(
        &house,
        &token,
        &json!({"entries": entries, "proof": "none"}),
    )
    .await
    .expect(200)
    .json();
    assert!(answer["entries"][0].get("proof").is_none() && answer["checkpoint"].is_string());

    // What is read stands where tlog-tiles says.
    let checkpoint = house.get("/service/log/files/checkpoint").await.expect(200);
    assert_eq!(checkpoint.text(), answer["checkpoint"].as_str().unwrap());
    let tile = house
        .get("/service/log/files/tile/0/000.p/2")
        .await
        .expect(200);
    assert_eq!(tile.body.len(), 64);
    let bundle = house
        .get("/service/log/files/tile/entries/000.p/2")
        .await
        .expect(200);
    assert_eq!(&bundle.body[..], b"\0\x03one\0\x03two");
    let proof = house
        .get("/service/log/files/proof/1.tlog-proof")
        .await
        .expect(200);
    let proof = TlogProof::parse(&proof.body).unwrap();
    policy.verify(&proof, b"two", ORIGIN).unwrap();
    for missing in [
        "files/proof/2.tlog-proof",
        "files/proof/01.tlog-proof",
        "files/tile/0/001",
        "files/tile/../x",
        "other/checkpoint",
    ] {
        house
            .get(&format!("/service/log/{missing}"))
            .await
            .expect(404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_appended_is_told_why() {
    let keys = tempfile::tempdir().unwrap();
    let (house, token) = scene(keys.path()).await;
    let one = STANDARD.encode("one");
    send(
        &house,
        &token,
        &json!({"entries": [{"data": one, "identifier": "1"}]}),
    )
    .await
    .expect(200);
    let other = json!({"entries": [{"data": STANDARD.encode("other"), "identifier": "1"}]});
    let answer = send(&house, &token, &other).await.expect(409).json();
    assert_eq!(answer["code"], "log-identifier-taken");
    for (entry, code) in [
        (
            json!({"data": "!", "identifier": "2"}),
            "log-entry-malformed",
        ),
        (
            json!({"sha256": "00", "identifier": "2"}),
            "log-entry-malformed",
        ),
        (json!({"identifier": "2"}), "log-entry-malformed"),
        (
            json!({"data": one, "sha256": "00", "identifier": "2"}),
            "log-entry-malformed",
        ),
        (json!({"data": one}), "log-entry-identifier"),
        (json!({"data": "", "identifier": "2"}), "log-entry-size"),
        (
            json!({"data": one, "identifier": "2", "more": 1}),
            "json-malformed",
        ),
    ] {
        let answer = send(&house, &token, &json!({ "entries": [entry] }))
            .await
            .expect(400)
            .json();
        assert_eq!(answer["code"], code, "{answer}");
    }
    let no = json!({ "entries": [] });
    let answer = send(&house, &token, &no).await.expect(400).json();
    assert_eq!(answer["code"], "log-entries-count");
    // Tokens of accounts, and none.
    for token in [format!("Bearer {}", house.token), "Bearer x".to_owned()] {
        let answer = send(&house, &token, &no).await.expect(401).json();
        assert_eq!(answer["code"], "service-token");
    }
    house
        .ask(Method::POST, ENTRIES, &[], "{}")
        .await
        .expect(401);
    let health = house
        .get_with("/healthz", &[("authorization", &house.basic())])
        .await
        .expect(200)
        .json();
    assert_eq!(health["service_logs"], json!([]));
}
