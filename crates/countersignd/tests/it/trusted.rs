//! Trusted publishing at the command line: issuers, publishers, policies.

use std::time::Duration;

use countersign_testkit::authority::Authority;
use countersign_testkit::claims::{self, Claims};
use countersign_testkit::http;
use countersign_testkit::issuer::{Document, Fault, Issuer, OidcServer};
use countersign_testkit::packages::Wheel;

use crate::machine::{self, Desk, Ran};

/// What a fresh registry without a URL of its own asks identity tokens to name.
const AUDIENCE: &str = "http://localhost:8417/pypi";

/// A registry with one project, and an issuer that it knows as `forge`.
struct House {
    desk: Desk,
    issuer: Issuer,
    server: OidcServer,
}

impl House {
    fn new() -> Self {
        let desk = Desk::new();
        desk.run(&["init"]).expect(0, &[]);
        desk.run(&["admin", "user", "create", "ada"]).expect(0, &[]);
        let dist = desk.path("dist");
        std::fs::create_dir_all(&dist).unwrap();
        Wheel::new("thing", "1.0").build().write_to(&dist).unwrap();
        desk.run(&["import", "dist", "--owner", "ada"])
            .expect(0, &[]);
        let server = OidcServer::start().unwrap();
        let issuer = server.issuer("forge").unwrap();
        let house = Self {
            desk,
            issuer,
            server,
        };
        house
            .add_issuer()
            .expect(0, &["Tokens of", "--issuer forge"]);
        house
    }

    fn add_issuer(&self) -> Ran {
        let (url, ca) = (self.issuer.url(), self.server.ca_file().to_owned());
        self.desk.run(&[
            "admin",
            "issuer",
            "add",
            "forge",
            "--url",
            &url,
            "--preset",
            "github",
            "--ca",
            ca.to_str().unwrap(),
        ])
    }

    fn publisher(&self, project: &str, more: &[&str]) -> Ran {
        let mut words = vec![
            "admin",
            "publisher",
            "add",
            project,
            "--issuer",
            "forge",
            "--owner",
            "octo",
            "--repository",
            "sample",
            "--workflow",
            "release.yml",
        ];
        words.extend_from_slice(more);
        self.desk.run(&words)
    }

    fn test(&self, claims: &Claims, json: bool) -> Ran {
        let token = self.issuer.token(AUDIENCE, claims).unwrap();
        self.desk.write("token.jwt", &format!("{token}\n"));
        let mut words = vec!["admin", "publisher", "test", "thing", "--token-file"];
        words.push("token.jwt");
        if json {
            words.push("--json");
        }
        let ran = self.desk.run(&words);
        assert!(
            !ran.out.contains(&token) && !ran.err.contains(&token),
            "an identity token is never shown: {ran:?}"
        );
        ran
    }
}

#[test]
fn help_of_trusted_publishing_teaches_with_examples() {
    let desk = Desk::new();
    desk.run(&["admin", "publisher", "add", "--help"]).expect(
        0,
        &[
            "--issuer github --owner octo",
            "NAME~PATTERN",
            "NAME!=ONE|TWO",
            "--pending-for",
        ],
    );
    desk.run(&["admin", "issuer", "add", "--help"])
        .expect(0, &["--preset gitlab", "exactly as the claim `iss`"]);
    desk.run(&["admin", "publisher", "fields", "github"])
        .expect(0, &["GitHub Actions", "owner", "environment"]);
    let all = desk
        .run(&["--json", "admin", "publisher", "fields"])
        .expect(0, &[])
        .json();
    assert!(
        all.as_array()
            .unwrap()
            .iter()
            .any(|one| one["provider"] == "gitlab" && !one["fields"].as_array().unwrap().is_empty()),
        "{all}"
    );
    desk.run(&["admin", "publisher", "fields", "githup"])
        .expect(2, &["githup", "gitlab"]);
    desk.run(&[
        "admin",
        "publisher",
        "add",
        "thing",
        "--issuer",
        "x",
        "--claim",
        "sub",
    ])
    .expect(2, &["NAME~PATTERN"]);
    desk.run(&[
        "admin",
        "project",
        "policy",
        "thing",
        "--trusted-only",
        "yes",
    ])
    .expect(2, &["neither on nor off"]);
}

#[test]
fn an_issuer_is_asked_before_it_is_admitted_and_a_private_one_needs_its_authority() {
    let house = House::new();
    let other = house.server.issuer("other").unwrap();
    let (url, ca) = (other.url(), house.server.ca_file().to_owned());
    let add = |more: &[&str]| {
        let mut words = vec!["admin", "issuer", "add", "other", "--url", &url];
        words.extend_from_slice(more);
        house.desk.run(&words)
    };
    let ca = ["--ca", ca.to_str().unwrap()];
    add(&[]).expect(5, &["no certificate authority that this machine trusts"]);
    let stranger = house
        .desk
        .write("stranger.pem", Authority::new("stranger").unwrap().pem());
    add(&["--ca", stranger.to_str().unwrap()])
        .expect(5, &["no certificate authority that this machine trusts"]);
    add(&["--ca", "none.pem"]).expect(2, &["none.pem"]);
    other
        .fail(
            Document::Discovery,
            Fault::RedirectTo(format!("{url}/elsewhere")),
        )
        .unwrap();
    add(&ca).expect(5, &["redirects", "/elsewhere"]);
    other.heal().unwrap();
    other
        .fail(
            Document::Discovery,
            Fault::NamesIssuer("https://evil.example".to_owned()),
        )
        .unwrap();
    add(&ca).expect(5, &["evil.example"]);
    other.heal().unwrap();
    other
        .fail(Document::Keys, Fault::Oversized(300_000))
        .unwrap();
    assert_ne!(add(&ca).code, 0);
    other.heal().unwrap();
    let listed = house
        .desk
        .run(&["--json", "admin", "issuer", "list"])
        .expect(0, &[])
        .json();
    let named = |name: &str| {
        listed
            .as_array()
            .unwrap()
            .iter()
            .find(|issuer| issuer["name"] == name)
            .cloned()
    };
    assert!(named("other").is_none(), "nothing was admitted: {listed}");
    assert_eq!(named("forge").unwrap()["private_ca"], true);
    assert_eq!(named("github").unwrap()["builtin"], true);

    add(&ca).expect(0, &["Tokens of"]);
    house
        .desk
        .run(&["admin", "issuer", "list"])
        .expect(0, &["NAME", "forge", "other", "built in", &url]);
    house
        .desk
        .run(&["admin", "issuer", "remove", "other"])
        .expect(0, &["No more tokens of other"]);
    house
        .desk
        .run(&["admin", "issuer", "remove", "other"])
        .expect(4, &["other"]);
    // An authority that the whole machine trusts needs no mention.
    let mut command = house
        .desk
        .command(&["admin", "issuer", "add", "other", "--url", &url]);
    command.env("SSL_CERT_FILE", house.server.ca_file());
    machine::ran(command).expect(0, &["Tokens of"]);
}

#[test]
fn a_publisher_is_added_listed_tested_rule_by_rule_and_removed() {
    let house = House::new();
    let made = house
        .publisher("thing", &["--environment", "release", "--json"])
        .expect(0, &[])
        .json();
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made["fields"]["environment"], "release", "{made}");
    house
        .desk
        .run(&["admin", "publisher", "list", "thing"])
        .expect(
            0,
            &[
                "ID",
                &id,
                "pypi:thing",
                "good",
                "never",
                "/forge",
                "release.yml",
            ],
        );

    let good = claims::github_in_environment("octo/sample", "release.yml", "release");
    house
        .test(&good, false)
        .expect(0, &["✓", "environment", "would be let in"]);
    house.test(&good, false).expect(0, &["was not used up"]);
    let json = house.test(&good, true).expect(0, &[]).json();
    assert_eq!(json["verdict"], "would-publish");

    let without = claims::github("octo/sample", "release.yml");
    house.test(&without, false).expect(
        4,
        &[
            "✗ environment: expected",
            "saw nothing",
            "environment: release",
        ],
    );
    let json = house.test(&without, true).expect(4, &[]).json();
    assert_eq!(json["verdict"], "refused");
    let wrong = json["publishers"][0]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .find(|rule| rule["claim"] == "environment")
        .unwrap();
    assert_eq!(wrong["matched"], false, "{json}");

    house
        .test(&good.clone().set("exp", 1_000).set("iat", 900), false)
        .expect(4, &["expired"]);
    house.desk.write("token.jwt", "no token");
    house
        .desk
        .run(&[
            "admin",
            "publisher",
            "test",
            "thing",
            "--token-file",
            "token.jwt",
        ])
        .expect(4, &[]);

    house
        .desk
        .run(&["admin", "publisher", "failures", "thing"])
        .expect(0, &["No exchange for thing was refused"]);
    house
        .desk
        .run(&["admin", "publisher", "remove", "thing", &id])
        .expect(0, &["Removed"]);
    house.test(&good, false).expect(4, &[]);
    let listed = house
        .desk
        .run(&["--json", "admin", "publisher", "list", "thing"])
        .expect(0, &[])
        .json();
    assert_eq!(listed, serde_json::json!([]));
}

#[test]
fn what_the_server_refused_is_shown_at_the_command_line_claim_by_claim() {
    let house = House::new();
    house
        .publisher("thing", &["--environment", "release"])
        .expect(0, &[]);
    let server = house.desk.serve(&[]);
    let audience = format!("http://localhost:{}/pypi", server.port);
    let mint = |claims: &Claims| {
        let token = house.issuer.token(&audience, claims).unwrap();
        let answer = http::request(
            "POST",
            &format!("{}/_/oidc/mint-token", server.site()),
            &[("Content-Type", "application/json")],
            serde_json::json!({"token": token}).to_string().as_bytes(),
        )
        .unwrap();
        assert!(!server.log().contains(&token), "{}", server.log());
        answer
    };
    // Before its immutable ids are known, anybody could have registered this repository: what its runs tell is not shown.
    let elsewhere = claims::github_in_environment("octo/sample", "release.yml", "staging");
    mint(&elsewhere).expect_status(422).unwrap();
    let unknown = house
        .desk
        .run(&["admin", "publisher", "failures", "thing"])
        .expect(0, &["✗ environment: expected"]);
    assert!(!unknown.out.contains("staging"), "{unknown:?}");
    let good = claims::github_in_environment("octo/sample", "release.yml", "release");
    mint(&good).expect_status(200).unwrap();
    // The next refusal is told once the second of the last one is over.
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    mint(&elsewhere).expect_status(422).unwrap();
    house
        .desk
        .run(&["admin", "publisher", "failures", "thing"])
        .expect(
            0,
            &[
                "publisher-mismatch",
                &house.issuer.url(),
                "✗ environment: expected",
                "staging",
            ],
        );
    let good = claims::github_in_environment("octo/sample", "release.yml", "release");
    let minted = mint(&good).expect_status(200).unwrap().json().unwrap();
    let token = minted["token"].as_str().unwrap();
    assert!(!server.log().contains(token), "{}", server.log());
    let listed = house
        .desk
        .run(&["--json", "admin", "publisher", "list", "thing"])
        .expect(0, &[])
        .json();
    assert!(!listed[0]["last_used"].is_null(), "{listed}");
    assert_eq!(
        listed[0]["pinned"]["repository_owner_id"],
        good.text("repository_owner_id"),
        "{listed}"
    );
    // The account was deleted and somebody else made one of the same name.
    let recreated = good.clone().set("repository_owner_id", "99999");
    // Refusals are noted once a second for each publisher, however many there are.
    let noted = (0..40).any(|_| {
        mint(&recreated).expect_status(422).unwrap();
        let told = house
            .desk
            .run(&["admin", "publisher", "failures", "thing"])
            .expect(0, &[]);
        let noted = told.out.contains("✗ repository_owner_id") && told.out.contains("99999");
        if !noted {
            std::thread::sleep(Duration::from_millis(250));
        }
        noted
    });
    assert!(noted, "the recreated account was never noted");
}

#[test]
fn wrong_fields_are_told_one_by_one() {
    let house = House::new();
    house
        .publisher("thing", &["--field", "owner=other"])
        .expect(2, &["\"owner\" is given twice"]);
    house
        .publisher("thing", &["--field", "colour=blue"])
        .expect(4, &["colour"]);
    house
        .desk
        .run(&[
            "admin",
            "publisher",
            "add",
            "thing",
            "--issuer",
            "forge",
            "--owner",
            "octo",
        ])
        .expect(4, &["repository", "workflow"]);
    house
        .desk
        .run(&[
            "admin",
            "publisher",
            "add",
            "thing",
            "--issuer",
            "nowhere",
            "--owner",
            "octo",
        ])
        .expect(4, &["nowhere"]);
    house
        .publisher("nothing-of-the-kind", &[])
        .expect(4, &["nothing-of-the-kind"]);
}

#[test]
fn a_publisher_for_a_project_to_come_is_pending_and_belongs_to_a_user() {
    let house = House::new();
    house
        .publisher("future", &["--pending-for", "nobody"])
        .expect(4, &["nobody"]);
    house
        .publisher("future", &["--pending-for", "ada"])
        .expect(0, &["pending", "nothing is reserved"]);
    house
        .desk
        .run(&["admin", "publisher", "list"])
        .expect(0, &["pypi:future", "pending until"]);
}

#[test]
fn a_publisher_is_checked_against_its_issuer_and_ids_are_pinned_where_the_provider_tells_them() {
    let house = House::new();
    let made = house.publisher("thing", &["--json"]).expect(0, &[]).json();
    let id = made["id"].as_str().unwrap();
    assert!(
        made["pin_by"].is_number() || made["pin_by"].is_string(),
        "{made}"
    );
    house
        .desk
        .run(&["admin", "publisher", "check", "thing", id])
        .expect(0, &["✓"]);
    house
        .issuer
        .fail(Document::Keys, Fault::Status(500))
        .unwrap();
    house
        .desk
        .run(&["admin", "publisher", "check", "thing", id])
        .expect(4, &["✗", "500"]);
    house.issuer.heal().unwrap();
    // The interface of a GitHub of one's own stands at its host, whatever the path of its issuer.
    house
        .server
        .answer_github_repository("octo/other", 65_001, 74_001);
    let pinned = house
        .desk
        .run(&[
            "--json",
            "admin",
            "publisher",
            "add",
            "thing",
            "--issuer",
            "forge",
            "--owner",
            "octo",
            "--repository",
            "other",
            "--workflow",
            "release.yml",
        ])
        .expect(0, &[])
        .json();
    assert_eq!(pinned["pinned"]["repository_owner_id"], "65001", "{pinned}");
}

#[test]
fn a_project_s_policy_is_shown_changed_and_taken_back() {
    let house = House::new();
    let policy = |more: &[&str]| {
        let mut words = vec!["admin", "project", "policy", "thing"];
        words.extend_from_slice(more);
        house.desk.run(&words)
    };
    policy(&[]).expect(0, &["API tokens", "may publish", "none is asked for"]);
    policy(&["--trusted-only", "on"]).expect(
        4,
        &["no trusted publisher that this policy lets in; nobody could publish"],
    );
    house.publisher("thing", &[]).expect(0, &[]);
    policy(&["--trusted-only", "on", "--environment", "release"])
        .expect(0, &["only trusted publishers publish", "release"]);
    let shown = policy(&["--json"]).expect(0, &[]).json();
    assert_eq!(
        (&shown["trusted_only"], &shown["environment"]),
        (&true.into(), &"release".into())
    );
    policy(&["--trusted-only", "off", "--environment", "none"])
        .expect(0, &["may publish", "none is asked for"]);
    policy(&["--minimum-trust", "workflow"]).expect(0, &["workflow"]);
    house
        .desk
        .run(&["admin", "project", "notices", "thing"])
        .expect(0, &["There is nothing to say about thing"]);
    house
        .desk
        .run(&["admin", "project", "notices", "thing", "--dismiss", "none"])
        .expect(4, &["no such notice"]);
    house.desk.run(&["doctor"]).expect(0, &["✓ log"]);
}

#[test]
fn trusted_publishing_can_be_switched_off_and_narrowed_in_the_configuration() {
    let desk = Desk::new();
    desk.run(&["config", "check"])
        .expect(0, &["trusted publishing", "on: github, gitlab"]);
    desk.write(
        "data/countersign.toml",
        "[trusted_publishing]\nbuiltin_issuers = [\"gitlab\"]\n",
    );
    desk.run(&["config", "check"]).expect(0, &["on: gitlab\n"]);
    desk.run(&["init"]).expect(0, &[]);
    let listed = desk
        .run(&["--json", "admin", "issuer", "list"])
        .expect(0, &[])
        .json();
    let names: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|issuer| issuer["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["gitlab"]);
    desk.write(
        "data/countersign.toml",
        "[trusted_publishing]\nenabled = false\n",
    );
    desk.run(&["config", "check"])
        .expect(0, &["trusted publishing off"]);
}
