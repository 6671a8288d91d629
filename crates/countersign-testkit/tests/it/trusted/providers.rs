//! Each provider's tokens, as its documentation describes them, against the registration that asks a person only what
//! that person knows.

use countersign_testkit::claims::{self, Claims};

use super::{Stage, differing, refused, release, token_of};

const ORGANIZATION: &str = "2f7a1c9e-0d4b-4c8e-9b61-5a3e8d7f6c01";
const PROJECT: &str = "7c1e4b2a-93d8-4f0e-8a57-1b2c3d4e5f02";

pub(crate) struct Case {
    pub(crate) preset: &'static str,
    /// The issuer's path on the kit's server.
    pub(crate) issuer: String,
    pub(crate) fields: Vec<String>,
    pub(crate) good: Claims,
    /// A claim, and a value of somebody else's.
    strange: (&'static str, &'static str),
}

pub(crate) fn cases(host: &str) -> Vec<Case> {
    let case = |preset, issuer: &str, fields: &[&str], good, strange| Case {
        preset,
        issuer: issuer.to_owned(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        good,
        strange,
    };
    vec![
        case(
            "github",
            "_services/token",
            &["owner=octo", "repository=sample", "workflow=release.yml"],
            claims::github("octo/sample", "release.yml"),
            (
                "job_workflow_ref",
                "mallory/x/.github/workflows/x.yml@refs/tags/v1.0",
            ),
        ),
        case(
            "gitlab",
            "",
            &["namespace=group/sub", "project=sample"],
            claims::gitlab(host, "group/sub/sample", None),
            (
                "ci_config_ref_uri",
                "elsewhere.example.org/group/sub/sample//.gitlab-ci.yml@refs/tags/v1.0",
            ),
        ),
        case(
            "google",
            "accounts",
            &["email=release@sample.iam.gserviceaccount.com"],
            claims::google("release@sample.iam.gserviceaccount.com"),
            ("email_verified", "false"),
        ),
        case(
            "circleci",
            &format!("org/{ORGANIZATION}"),
            &[
                &format!("project_id={PROJECT}"),
                "repository=github.com/octo/sample",
                "context_id=6b2f6a8e-54c3-43c6-8e5e-9e2c0c7b9d10",
            ],
            claims::circleci(ORGANIZATION, PROJECT),
            ("oidc.circleci.com/vcs-origin", "github.com/mallory/sample"),
        ),
        case(
            "buildkite",
            "agent",
            &["organization=acme", "pipeline=sample", "branch=main"],
            claims::buildkite("acme", "sample"),
            ("build_branch", "a-change"),
        ),
        case(
            "forgejo",
            "api/actions",
            &["owner=octo", "repository=sample", "workflow=release.yml"],
            claims::forgejo("octo/sample", "release.yml"),
            ("event_name", "pull_request_target"),
        ),
        case(
            "activestate",
            "oauth/oidc",
            &[
                "organization=acme",
                "project=sample",
                "actor_id=00000000-0000-1000-8000-000000000002",
            ],
            claims::activestate("acme", "sample"),
            ("builder", "another"),
        ),
    ]
}

#[test]
fn tokens_of_every_provider_fit_its_registration_and_strangers_do_not() {
    let stage = Stage::start();
    let token = stage.server.token("ada", &[]).unwrap();
    let host = stage.oidc.url().strip_prefix("https://").unwrap();
    for case in cases(host) {
        let issuer = stage.oidc.issuer(&case.issuer).unwrap();
        let (url, name) = (issuer.url(), format!("our-{}", case.preset));
        let add = ["admin", "issuer", "add", &name, "--url", &url, "--preset"];
        let how = [case.preset, "--ca", issuer.ca_file().to_str().unwrap()];
        stage.server.run(&[&add[..], &how].concat()).unwrap();
        let project = format!("by-{}", case.preset);
        let first = stage.server.publish(&release(&project, "1.0"), &token);
        first.unwrap().expect_status(200).unwrap();
        let mut register = vec!["add", &project, "--issuer", &name];
        for field in &case.fields {
            register.extend(["--field", field]);
        }
        stage.publisher(&register);

        let mint = |claims: &Claims| stage.mint(&issuer.token(&stage.audience, claims).unwrap());
        let (claim, value) = case.strange;
        let answer = mint(&case.good.clone().set(claim, value));
        refused(&answer, "publisher-mismatch");
        assert_eq!(differing(&answer, claim).1, value, "{}", case.preset);
        let answer = mint(&case.good);
        assert_eq!(answer.status, 200, "{}: {}", case.preset, answer.text());
        let package = release(&project, "1.1");
        let upload = stage.server.publish(&package, &token_of(answer));
        upload.unwrap().expect_status(200).unwrap();
    }
}

#[test]
fn a_token_without_an_id_is_good_once_too() {
    let stage = Stage::start();
    let issuer = stage.oidc.issuer("accounts").unwrap();
    let url = issuer.url();
    let add = ["admin", "issuer", "add", "cloud", "--url", &url];
    let how = [
        "--preset",
        "google",
        "--ca",
        issuer.ca_file().to_str().unwrap(),
    ];
    stage.server.run(&[&add[..], &how].concat()).unwrap();
    let email = "release@sample.iam.gserviceaccount.com";
    let field = format!("email={email}");
    let add = ["add", "cloudy", "--issuer", "cloud", "--field", &field];
    stage.publisher(&[&add[..], &["--pending-for", "ada"]].concat());
    let token = issuer
        .token(&stage.audience, &claims::google(email))
        .unwrap();
    token_of(stage.mint(&token));
    refused(&stage.mint(&token), "oidc-replayed");
}

#[test]
fn a_generic_issuer_is_held_to_the_rules_that_were_written_for_it() {
    let stage = Stage::start();
    let issuer = stage.oidc.issuer("realms/ci").unwrap();
    let url = issuer.url();
    let add = ["admin", "issuer", "add", "builds", "--url", &url];
    let ca = ["--ca", issuer.ca_file().to_str().unwrap()];
    stage.server.run(&[&add[..], &ca].concat()).unwrap();
    let rules = [
        "sub=service:release",
        "ref~refs/tags/v*",
        "cause!=pull_request|fork",
        "tier=production|staging",
    ];
    let mut register = vec!["add", "tool", "--issuer", "builds", "--pending-for", "ada"];
    for rule in &rules {
        register.extend(["--claim", rule]);
    }
    stage.publisher(&register);
    let good = || {
        Claims::new()
            .set("sub", "service:release")
            .set("ref", "refs/tags/v1")
            .set("tier", "staging")
    };
    let mint = |claims: &Claims| stage.mint(&issuer.token(&stage.audience, claims).unwrap());
    for (claim, value) in [
        ("sub", "service:Release"),
        ("ref", "refs/heads/v1"),
        ("cause", "fork"),
        ("tier", "test"),
    ] {
        let answer = mint(&good().set(claim, value));
        refused(&answer, "publisher-mismatch");
        assert_eq!(differing(&answer, claim).1, value);
    }
    // A claim that a rule needs and that is not there.
    let answer = mint(&good().without("tier"));
    refused(&answer, "publisher-mismatch");
    token_of(mint(&good()));

    // A registration without a rule would let everybody of the issuer in.
    let none = ["admin", "publisher", "add", "tool", "--issuer", "builds"];
    let output = stage.server.try_run(&none).unwrap();
    assert_eq!(output.status.code(), Some(4));
}
