//! Issuers that fail, lie, or change their keys.

use std::time::{Duration, Instant};

use countersign_testkit::authority::Authority;
use countersign_testkit::clients::both_outputs;
use countersign_testkit::issuer::{Document, Fault, Issuer, KeyId, OidcServer, Signing};
use serde_json::json;

use super::{Stage, refused, token_of};

/// How long the registry leaves an issuer alone whose keys it has.
const PAUSE: Duration = Duration::from_secs(60);
/// How long the registry may take to believe in an issuer again that has come back.
const PATIENCE: Duration = Duration::from_secs(90);

/// What `admin issuer add` says when it refuses.
fn not_admitted(stage: &Stage, issuer: &Issuer, with_ca: bool) -> String {
    let url = issuer.url();
    let mut command = vec!["admin", "issuer", "add", "doubtful", "--url", &url];
    command.extend(["--preset", "github"]);
    if with_ca {
        command.extend(["--ca", issuer.ca_file().to_str().unwrap()]);
    }
    let output = stage.server.try_run(&command).unwrap();
    let said = both_outputs(&output);
    assert!(!output.status.success(), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn an_issuer_that_lies_or_fails_is_not_admitted() {
    let stage = Stage::start();
    let issuer = stage.oidc.issuer("doubtful").unwrap();
    let elsewhere = "https://elsewhere.example.org/keys".to_owned();
    for (document, fault, word) in [
        (
            Document::Discovery,
            Fault::RedirectTo(elsewhere.clone()),
            "elsewhere.example.org",
        ),
        (
            Document::Discovery,
            Fault::NamesIssuer("https://other.example.org".to_owned()),
            "other.example.org",
        ),
        (
            Document::Discovery,
            Fault::NamesIssuer(format!("{}/", issuer.url())),
            "issuer",
        ),
        (
            Document::Discovery,
            Fault::KeysAt("http://localhost:1/keys".to_owned()),
            "https",
        ),
        (Document::Discovery, Fault::Oversized(70_000), "65536"),
        (Document::Discovery, Fault::Garbage, "JSON"),
        (Document::Discovery, Fault::Status(500), "500"),
        (Document::Keys, Fault::RedirectTo(elsewhere), "elsewhere"),
        (Document::Keys, Fault::Oversized(300_000), "262144"),
        (Document::Keys, Fault::Garbage, "JSON"),
        (Document::Keys, Fault::Status(404), "404"),
        (Document::Keys, Fault::Closed, "doubtful"),
    ] {
        issuer.fail(document, fault.clone()).unwrap();
        let said = not_admitted(&stage, &issuer, true);
        assert!(said.contains(word), "{document:?} {fault:?}: {said}");
        issuer.heal().unwrap();
    }
    stage.admit("doubtful", &issuer);
}

#[test]
fn a_private_issuer_needs_its_authority_and_says_so() {
    let stage = Stage::start();
    let issuer = stage.oidc.issuer("doubtful").unwrap();
    let said = not_admitted(&stage, &issuer, false);
    assert!(said.contains("certificate"), "{said}");
    assert!(said.contains("--ca"), "{said}");
    assert_eq!(issuer.requests(Document::Discovery), 0);

    // The authority of another issuer is no help.
    let strangers = Authority::new("Strangers").unwrap();
    let strange = OidcServer::certified_by(&strangers).unwrap();
    let strange = strange.issuer("doubtful").unwrap();
    let url = strange.url();
    let ca = issuer.ca_file().to_str().unwrap();
    let command = ["admin", "issuer", "add", "strange", "--url", &url];
    let output = stage
        .server
        .try_run(&[&command[..], &["--ca", ca]].concat());
    assert!(!output.unwrap().status.success());
    assert_eq!(strange.requests(Document::Discovery), 0);
}

#[test]
fn an_issuer_that_is_down_means_try_again_and_not_a_refusal() {
    let mut stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    // A fresh process has no keys yet.
    stage.server.stop().unwrap();
    stage.server.serve().unwrap();
    stage.oidc.stop_listening().unwrap();
    let identity = stage.identity(&stage.claims());
    let answer = stage.mint(&identity);
    assert_eq!(answer.status, 503, "{}", answer.text());
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=300).contains(&wait), "{wait}");
    let body = answer.json().unwrap();
    assert_eq!(body["errors"][0]["code"], "issuer-unreachable", "{body}");
    let text = body["errors"][0]["description"].as_str().unwrap();
    assert!(text.contains("company"), "{text}");

    stage.oidc.listen_again().unwrap();
    let begin = Instant::now();
    loop {
        let answer = stage.mint(&identity);
        if answer.status == 200 {
            break;
        }
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(begin.elapsed() < PATIENCE, "the issuer is not found again");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A token by a key of that id, which the issuer does not have.
fn unknown_key(stage: &Stage, id: &str) -> String {
    let (claims, key) = (stage.claims(), KeyId::Named(id.to_owned()));
    let (issuer, audience) = (&stage.company, &stage.audience);
    issuer
        .token_signed(audience, &claims, Signing::ForeignKey, &key)
        .unwrap()
}

#[test]
fn a_storm_of_unknown_key_ids_asks_the_issuer_once() {
    let mut stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    // A fresh process has no keys yet, so the storm meets it at its weakest.
    stage.server.stop().unwrap();
    stage.server.serve().unwrap();
    let (before, begin) = (stage.company.requests(Document::Keys), Instant::now());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let stage = &stage;
            scope.spawn(move || {
                for number in 0..15 {
                    let token = unknown_key(stage, &format!("key-{thread}-{number}"));
                    refused(&stage.mint(&token), "oidc-key-unknown");
                }
            });
        }
        scope.spawn(|| (0..10).for_each(|_| drop(stage.minted())));
    });
    let asked = stage.company.requests(Document::Keys) - before;
    let pauses = begin.elapsed().as_secs() / PAUSE.as_secs();
    assert!(
        (1..=1 + pauses).contains(&asked),
        "the issuer was asked {asked} times"
    );
}

/// Takes over a minute, because that long the registry leaves an issuer alone.
#[test]
fn known_keys_outlive_an_issuers_failure_and_its_new_keys_are_found_afterwards() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    stage.minted();
    let by_former = stage.identity(&stage.claims());
    let before = stage.company.requests(Document::Keys);
    stage
        .company
        .fail(Document::Keys, Fault::Oversized(300_000))
        .unwrap();
    let begin = Instant::now();
    while stage.company.requests(Document::Keys) == before {
        let answer = stage.mint(&unknown_key(&stage, "unheard-of"));
        refused(&answer, "oidc-key-unknown");
        assert!(begin.elapsed() < PATIENCE, "nobody looks for new keys");
        std::thread::sleep(Duration::from_millis(500));
    }
    // It has looked, and got nonsense.
    stage.minted();
    stage.company.rotate_keys().unwrap();
    stage.company.heal().unwrap();
    let begin = Instant::now();
    loop {
        let answer = stage.mint(&stage.identity(&stage.claims()));
        if answer.status == 200 {
            break;
        }
        refused(&answer, "oidc-key-unknown");
        assert!(begin.elapsed() < PATIENCE, "the new keys are not found");
        std::thread::sleep(Duration::from_millis(500));
    }
    // Former keys count as long as the issuer publishes them.
    token_of(stage.mint(&by_former));
}

#[test]
fn a_second_issuer_with_the_same_words_is_another_one() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let impostor = stage.oidc.issuer("impostor").unwrap();
    let claims = stage.claims();
    // Not admitted at all.
    let token = impostor.token(&stage.audience, &claims).unwrap();
    refused(&stage.mint(&token), "issuer-unknown");
    // Admitted, for somebody else's projects.
    stage.admit("impostor", &impostor);
    let token = impostor.token(&stage.audience, &claims).unwrap();
    refused(&stage.mint(&token), "publisher-none");
    // Saying that it is the other one, with a key that the other one does not have.
    let lie = claims.set("iss", stage.company.url());
    let token = impostor.token(&stage.audience, &lie).unwrap();
    refused(&stage.mint(&token), "oidc-key-unknown");
    stage.minted();
}

#[test]
fn replays_are_told_apart_by_issuer() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let second = stage.oidc.issuer("second").unwrap();
    stage.admit("second", &second);
    let mut registration = super::registration("sample");
    registration[3] = "second";
    stage.publisher(&registration);
    let claims = stage.claims().set("jti", "the-same-in-both");
    token_of(stage.mint(&stage.identity(&claims)));
    token_of(stage.mint(&second.token(&stage.audience, &claims).unwrap()));
}

#[test]
fn an_issuer_that_is_taken_away_ends_at_once() {
    let stage = Stage::start();
    stage.project_with_publisher("sample", &[]);
    let token = stage.minted();
    let remove = ["admin", "issuer", "remove", "company"];
    stage.server.run(&remove).unwrap();
    let answer = stage.mint(&stage.identity(&stage.claims()));
    refused(&answer, "issuer-unknown");
    assert_eq!(
        answer.json().unwrap()["errors"].as_array().unwrap().len(),
        1
    );
    let package = super::release("sample", "1.1");
    let upload = stage.server.publish(&package, &token).unwrap();
    assert_eq!(upload.status, 403, "{}", upload.text());
}

#[test]
fn a_publisher_whose_repository_the_provider_does_not_know_is_warned_about_on_save() {
    let stage = Stage::start();
    let token = stage.server.token("ada", &[]).unwrap();
    let first = stage
        .server
        .publish(&super::release("sample", "1.0"), &token);
    first.unwrap().expect_status(200).unwrap();
    let wrong = [
        "add",
        "sample",
        "--issuer",
        "company",
        "--owner",
        "octo",
        "--repository",
        "smaple",
        "--workflow",
        "release.yml",
    ];
    let command = [&["--json", "admin", "publisher"][..], &wrong].concat();
    let output = stage.server.try_run(&command).unwrap();
    let said = both_outputs(&output);
    assert!(said.contains("octo/smaple"), "{said}");
    if output.status.success() {
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_ne!(told["warnings"], json!([]), "{told}");
    }
}

#[test]
fn wrong_fields_are_named_when_a_publisher_is_saved() {
    let stage = Stage::start();
    let token = stage.server.token("ada", &[]).unwrap();
    let first = stage
        .server
        .publish(&super::release("sample", "1.0"), &token);
    first.unwrap().expect_status(200).unwrap();
    let wrong = [
        "admin",
        "publisher",
        "add",
        "sample",
        "--issuer",
        "company",
        "--owner=-octo-",
        "--repository",
        "sample",
        "--workflow",
        "release.txt",
    ];
    let output = stage.server.try_run(&wrong).unwrap();
    let said = both_outputs(&output);
    assert!(!output.status.success());
    for word in ["owner", "-octo-", "workflow", "release.txt", ".yml"] {
        assert!(said.contains(word), "{word} is not in: {said}");
    }
}
