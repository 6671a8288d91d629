//! Leaked tokens: a scanner's signed report, anybody's report, and forged ones.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_registry::model::{Action, Actor, Presented};
use countersign_registry::{
    NewToken, OutsideAnswer, OutsideError, OutsideRequest, Registry, ScanPartner,
};
use countersign_trust::leaf::LeafKind;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use p256::pkcs8::{EncodePublicKey, LineEnding};
use serde_json::json;

use crate::kit::{Database, TestRegistry, from, refused};
use crate::on_both_databases;

/// A scanner with keys of its own, as seen from the registry: the outside world of its tests.
pub struct Scanner {
    pub document: Mutex<Result<String, OutsideError>>,
    pub asked: std::sync::atomic::AtomicUsize,
}

impl countersign_registry::Outside for Scanner {
    fn get<'a>(
        &'a self,
        request: OutsideRequest<'a>,
    ) -> futures::future::BoxFuture<'a, Result<OutsideAnswer, OutsideError>> {
        assert_eq!(request.url, "https://scanner.example/keys");
        self.asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let body = self.document.lock().unwrap().clone();
        Box::pin(std::future::ready(body.map(|text| OutsideAnswer {
            body: text.into_bytes(),
            max_age: None,
        })))
    }

    fn post<'a>(
        &'a self,
        request: OutsideRequest<'a>,
        _: &'a str,
    ) -> futures::future::BoxFuture<'a, Result<OutsideAnswer, OutsideError>> {
        panic!("nothing is posted to {}", request.url);
    }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

fn published(keys: &[(&str, u8, bool)]) -> String {
    let keys: Vec<_> = keys
        .iter()
        .map(|(id, seed, current)| {
            let pem = key(*seed)
                .verifying_key()
                .to_public_key_pem(LineEnding::LF)
                .unwrap();
            json!({"key_identifier": id, "key": pem, "is_current": current})
        })
        .collect();
    json!({"public_keys": keys}).to_string()
}

struct Desk {
    test: TestRegistry,
    scanner: Arc<Scanner>,
}

impl Desk {
    async fn new(database: Database) -> Self {
        let scanner = Arc::new(Scanner {
            document: Mutex::new(Ok(published(&[("k1", 1, true), ("old", 2, false)]))),
            asked: Default::default(),
        });
        let outside = scanner.clone();
        let test = TestRegistry::with_outside(database, outside, |settings| {
            settings.scan_partners = vec![ScanPartner {
                keys_url: "https://scanner.example/keys".to_owned(),
                ..ScanPartner::github()
            }];
        })
        .await;
        Self { test, scanner }
    }

    fn registry(&self) -> &Registry {
        &self.test.registry
    }

    async fn token(&self, user: &str) -> String {
        let new = NewToken {
            user: user.to_owned(),
            ecosystem: None,
            namespace: None,
            networks: Vec::new(),
            project: None,
            action: Action::Publish,
            expires: Duration::from_secs(86_400),
            label: "ci".to_owned(),
        };
        self.registry()
            .create_token(&Actor::operator(), new)
            .await
            .unwrap()
            .0
    }

    async fn disclose(
        &self,
        id: &str,
        seed: u8,
        body: &str,
    ) -> Result<Vec<countersign_registry::LeakAnswer>, countersign_registry::Error> {
        let signature: Signature = key(seed).sign(body.as_bytes());
        let signature = encoded(signature.to_der().as_bytes());
        let id = id.to_owned();
        self.registry()
            .disclose(
                &move |name| match name {
                    "github-public-key-identifier" => Some(id.clone()),
                    "github-public-key-signature" => Some(signature.clone()),
                    _ => None,
                },
                body.as_bytes(),
            )
            .await
    }
}

fn encoded(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn report(tokens: &[&str]) -> String {
    let entries: Vec<_> = tokens
        .iter()
        .map(|token| json!({"token": token, "type": "countersign_user", "url": "https://example.com/a/b", "source": "commit"}))
        .collect();
    serde_json::to_string(&entries).unwrap()
}

on_both_databases! {
    async fn a_scanners_report_ends_tokens_at_once_tells_their_holders_and_the_log(database: Database) {
        let desk = Desk::new(database).await;
        let test = &desk.test;
        let ann = test.person("ann").await;
        let (one, two) = (desk.token("ann").await, desk.token("ann").await);
        let answers = desk.disclose("k1", 1, &report(&[&one, "csgn_u_not_one", &format!("key = \"{two}\"")])).await.unwrap();
        let labels: Vec<_> = answers.iter().map(|answer| answer.label).collect();
        assert_eq!(labels, ["true_positive", "false_positive", "true_positive"]);
        for token in [&one, &two] {
            refused(desk.registry().authenticate(Presented::Token(token.clone())).await, "token-revoked");
        }
        let notices = desk.registry().account_notices(&ann).await.unwrap();
        assert_eq!(notices.iter().filter(|notice| notice.kind == "token-leaked").count(), 2);
        assert!(notices[0].text.contains("https://example.com/a/b"), "{}", notices[0].text);
        let mails = test.mail_to("ann@example.org").await;
        assert!(mails.iter().all(|mail| !mail.text.contains(&one) && !mail.text.contains(&two)));
        let leaves = test.check().await;
        assert_eq!(leaves.iter().filter(|leaf| leaf.kind == LeafKind::TokenRevokedLeaked).count(), 2);
        // Told again, it is no news.
        desk.disclose("k1", 1, &report(&[&one])).await.unwrap();
        assert_eq!(test.check().await.len(), leaves.len());
        assert_eq!(desk.scanner.asked.load(std::sync::atomic::Ordering::SeqCst), 1);
    }

    async fn a_forged_report_ends_nothing(database: Database) {
        let desk = Desk::new(database).await;
        desk.test.person("ann").await;
        let token = desk.token("ann").await;
        let body = report(&[&token]);
        refused(desk.disclose("k1", 3, &body).await, "scan-signature");
        // A key that was withdrawn, and one that never was.
        refused(desk.disclose("old", 2, &body).await, "scan-key");
        refused(desk.disclose("k9", 9, &body).await, "scan-key");
        refused(desk.registry().disclose(&|_| None, body.as_bytes()).await, "scan-headers");
        // A signature of other bytes, however they are read.
        let signature: Signature = key(1).sign(b"[]");
        let signature = encoded(signature.to_der().as_bytes());
        let header = move |name: &str| match name {
            "github-public-key-identifier" => Some("k1".to_owned()),
            "github-public-key-signature" => Some(signature.clone()),
            _ => None,
        };
        refused(desk.registry().disclose(&header, body.as_bytes()).await, "scan-signature");
        refused(desk.registry().disclose(&header, b"[] ").await, "scan-signature");
        desk.registry().authenticate(Presented::Token(token)).await.unwrap();
    }

    async fn one_bad_entry_stops_no_other(database: Database) {
        let desk = Desk::new(database).await;
        desk.test.person("ann").await;
        let token = desk.token("ann").await;
        let body = format!("[null, 7, {{}}, {{\"token\": 9}}, {{\"token\": \"\\u0000\"}}, {{\"token\": \"{token}\"}}]");
        let answers = desk.disclose("k1", 1, &body).await.unwrap();
        assert_eq!(answers.last().unwrap().label, "true_positive");
        refused(desk.registry().authenticate(Presented::Token(token)).await, "token-revoked");
        refused(desk.disclose("k1", 1, "{}").await, "scan-body");
        refused(desk.disclose("k1", 1, "not json").await, "scan-body");
    }

    async fn a_new_key_of_the_scanner_is_fetched_but_not_for_every_unknown_one(database: Database) {
        let desk = Desk::new(database).await;
        desk.disclose("k1", 1, "[]").await.unwrap();
        *desk.scanner.document.lock().unwrap() = Ok(published(&[("k2", 4, true)]));
        // Within the cool-down nobody makes us ask.
        for _ in 0..5 {
            refused(desk.disclose("k2", 4, "[]").await, "scan-key");
        }
        let asked = || desk.scanner.asked.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(asked(), 1);
        desk.test.turn_clock(Duration::from_secs(61));
        desk.disclose("k2", 4, "[]").await.unwrap();
        refused(desk.disclose("k1", 1, "[]").await, "scan-key");
        assert_eq!(asked(), 2);
        // Keys that could not be fetched for a day are not used.
        *desk.scanner.document.lock().unwrap() = Err(OutsideError::Status(500));
        desk.test.turn_clock(Duration::from_secs(3_600));
        desk.disclose("k2", 4, "[]").await.unwrap();
        desk.test.turn_clock(Duration::from_secs(86_400));
        refused(desk.disclose("k2", 4, "[]").await, "scan-keys-unreachable");
    }

    async fn whoever_holds_a_token_may_end_it(database: Database) {
        let desk = Desk::new(database).await;
        let ann = desk.test.person("ann").await;
        let token = desk.token("ann").await;
        let paste = format!("export TOKEN={token}\nexport OTHER=csgn_u_{}", "0".repeat(49));
        let answers = desk.registry().report_leak(&paste, "https://paste.example/1", &from(1)).await.unwrap();
        assert_eq!(answers.len(), 1);
        refused(desk.registry().authenticate(Presented::Token(token)).await, "token-revoked");
        // A mailed link that was found is ended too.
        desk.registry().add_address(&ann, "a@work.example").await.unwrap();
        let link = desk.test.link("a@work.example", "/account/verify-address").await;
        let answers = desk.registry().report_leak(&link, "", &from(1)).await.unwrap();
        assert_eq!(answers[0].label, "true_positive");
        refused(desk.registry().verify_address(&link, None).await, "link-unknown");
        refused(desk.registry().report_leak(&"x".repeat(2 << 20), "", &from(1)).await, "scan-too-large");
        desk.test.check().await;
    }
}
