//! `countersign publish` in the jobs of CI systems, and without one.

use std::fs;
use std::path::Path;

use countersign_testkit::claims::{self, Claims};
use countersign_testkit::packages::{Package, Sdist, Wheel};
use countersign_testkit::runner::Runner;
use countersign_testkit::sigstore::{Identity, PrivateSigstore, statements};
use countersign_trust::note::{KeyName, SignerKey};
use serde_json::Value;

use crate::stage::{REPOSITORY, Stage, WORKFLOW, built, only_masked};
use crate::stub::{Answer, Stub};
use crate::user::{Ran, User};

/// Paths below `dist` of a job.
fn dist(runner: &Runner) -> Vec<String> {
    let mut paths: Vec<String> = fs::read_dir(runner.folder().join("dist"))
        .unwrap()
        .map(|entry| format!("dist/{}", entry.unwrap().file_name().to_string_lossy()))
        .collect();
    paths.sort();
    paths
}

fn publish(stage: &Stage, runner: &Runner, options: &[&str]) -> Ran {
    let files = dist(runner);
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    stage.publish(runner, &[options, &files].concat())
}

#[test]
fn a_github_job_publishes_with_its_identity_and_gives_its_token_back() {
    let stage = Stage::start();
    stage.issuer("company", "github");
    stage.register_workflow("sample", "company", &["--pending"]);
    let runner = stage.github(&stage.claims());
    let packages = built(&runner.folder(), "sample", "1.0");
    fs::write(
        runner.folder().join("dist/sample-1.0.tar.gz.tlog-proof"),
        "",
    )
    .unwrap();

    let ran = publish(&stage, &runner, &[]).expect(
        0,
        &[
            "Published: pkg:pypi/sample@1.0?file_name=sample-1.0-py3-none-any.whl",
            "proof verified, signed by",
            "The token was given back.",
            "Passed over dist/sample-1.0.tar.gz.tlog-proof",
        ],
    );
    let token = only_masked(&ran);
    assert!(!stage.is_alive(&token));
    let summary = runner.summary().unwrap();
    for package in &packages {
        assert!(stage.has("sample", package));
        assert!(ran.out.contains(&package.sha256()), "{ran:#?}");
        assert!(summary.contains(&package.sha256()), "{summary}");
        let proof = format!(
            "/files/{}/{}.tlog-proof",
            package.sha256(),
            package.filename
        );
        assert!(
            summary.contains(&format!(
                "[proof](<{}{proof}>), verified",
                stage.server.url()
            )),
            "{summary}"
        );
    }

    // The same once more is the same, and is published once.
    publish(&stage, &runner, &["--json"]).expect(0, &["\"repeated\":true"]);
    let log = stage.server.checked_log().unwrap();
    assert_eq!(log.leaves_with_line("kind file-published").len(), 2);
}

#[test]
fn a_refused_identity_names_each_claim_that_differs_and_publishes_nothing() {
    let stage = Stage::start();
    stage.issuer("company", "github");
    stage.register_workflow(
        "sample",
        "company",
        &[
            "--pending",
            "--environment",
            "release",
            "--ref",
            "refs/tags/v*",
        ],
    );
    let claims = stage.claims().set("ref", "refs/heads/main");
    let runner = stage.github(&claims);
    let [wheel, _] = built(&runner.folder(), "sample", "1.0");

    let ran = publish(&stage, &runner, &[]).expect(
        4,
        &[
            "✗ environment: expected release (in any case), not in the token. Add `environment: release` to the job in",
            "✗ ref: expected refs/tags/v*",
            "seen refs/heads/main",
            "::error title=",
        ],
    );
    assert!(!ran.err.contains("add-mask"), "{ran:#?}");
    assert!(
        !format!("{}{}", ran.out, ran.err).contains("eyJ"),
        "{ran:#?}"
    );
    assert!(!stage.has("sample", &wheel));
    assert!(
        runner.summary().unwrap().contains("Failed"),
        "{}",
        runner.summary().unwrap()
    );

    let ran = publish(&stage, &runner, &["--json"]).expect(4, &[]);
    let error = ran
        .err
        .lines()
        .find(|line| line.starts_with("{\"error\""))
        .unwrap();
    let error: Value = serde_json::from_str(error).unwrap();
    let claims: Vec<_> = error["error"]["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["claim"].as_str().unwrap())
        .collect();
    assert!(
        claims.contains(&"environment") && claims.contains(&"ref"),
        "{error}"
    );
}

#[test]
fn a_token_is_given_back_when_an_upload_fails() {
    let stage = Stage::start();
    stage.issuer("company", "github");
    stage.register_workflow("sample", "company", &["--pending"]);
    let runner = stage.github(&stage.claims());
    built(&runner.folder(), "sample", "1.0");
    // Files go one by one in the order of their names, so this one comes first and must not stop the giving back.
    let [foreign, _] = built(&runner.folder(), "another", "1.0");
    let ran =
        publish(&stage, &runner, &[]).expect(4, &["The token was given back.", "::error title="]);
    assert!(!stage.is_alive(&only_masked(&ran)));
    assert!(!stage.has("another", &foreign));
}

#[test]
fn a_gitlab_job_publishes_from_each_of_its_variables_and_never_sends_a_token_for_another() {
    let stage = Stage::start();
    let issuer = stage.issuer("our-gitlab", "gitlab");
    let host = issuer.url().trim_start_matches("https://").to_owned();
    let fields = [
        "--field",
        "namespace=group",
        "--field",
        "project=sample",
        "--field",
        "workflow=.gitlab-ci.yml",
    ];
    stage.register(
        "sample",
        "our-gitlab",
        &[&fields[..], &["--pending"]].concat(),
    );
    let claims = claims::gitlab(&host, "group/sample", None);
    let audience = stage.audience();
    let derived: String = audience
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    let derived = format!("{derived}_ID_TOKEN");
    for (version, variable) in [
        ("1.0", "COUNTERSIGN_ID_TOKEN"),
        ("1.1", &*derived),
        ("1.2", "PYPI_ID_TOKEN"),
    ] {
        let runner = Runner::gitlab(&issuer, &claims, variable, &audience).unwrap();
        built(&runner.folder(), "sample", version);
        let ran = publish(&stage, &runner, &[]).expect(0, &["The token was given back.", variable]);
        assert!(
            !format!("{}{}", ran.out, ran.err).contains("eyJ"),
            "{ran:#?}"
        );
    }

    let exchanges = || stage.server.logs().matches("/_/oidc/mint-token").count();
    assert_eq!(exchanges(), 3);
    let runner = Runner::gitlab(
        &issuer,
        &claims,
        "COUNTERSIGN_ID_TOKEN",
        "https://elsewhere.example",
    )
    .unwrap();
    built(&runner.folder(), "sample", "2.0");
    publish(&stage, &runner, &[]).expect(
        2,
        &[
            "meant for \"https://elsewhere.example\"",
            "was not sent anywhere",
            &audience,
        ],
    );
    assert_eq!(exchanges(), 3);

    let runner = Runner::gitlab(&issuer, &claims, "OTHER_VARIABLE", &audience).unwrap();
    built(&runner.folder(), "sample", "2.0");
    publish(&stage, &runner, &[]).expect(2, &["id_tokens:", &format!("aud: {audience}"), &derived]);
}

#[test]
fn jobs_of_circleci_buildkite_and_forgejo_publish_with_their_identity() {
    let stage = Stage::start();
    let audience = stage.audience();
    let (organization, project) = (
        "7a1c4c38-1d7e-4a53-9bb0-0f7c5f3e8d11",
        "c0ffee00-1d7e-4a53-9bb0-0f7c5f3e8d12",
    );
    let circle = stage.issuer("circle", "circleci");
    let kite = stage.issuer("kite", "buildkite");
    let forge = stage.issuer("forge", "forgejo");
    stage
        .oidc
        .answer_forgejo_repository(REPOSITORY, 123456, 456789);
    let project_field = format!("project_id={project}");
    stage.register(
        "one",
        "circle",
        &[
            "--field",
            &project_field,
            "--repository",
            "github.com/octo/sample",
            "--pending",
        ],
    );
    stage.register(
        "two",
        "kite",
        &[
            "--field",
            "organization=acme",
            "--field",
            "pipeline=lib",
            "--pending",
        ],
    );
    stage.register_workflow("three", "forge", &["--pending"]);
    let circleci =
        Runner::circleci(&circle, &claims::circleci(organization, project), &audience).unwrap();
    let buildkite = Runner::buildkite(&kite, &claims::buildkite("acme", "lib"), &audience).unwrap();
    let forgejo =
        Runner::forgejo(&stage.oidc, &forge, &claims::forgejo(REPOSITORY, WORKFLOW)).unwrap();
    for (runner, name, source) in [
        (circleci, "one", "circleci run oidc get"),
        (buildkite, "two", "buildkite-agent oidc request-token"),
        (forgejo, "three", "ACTIONS_ID_TOKEN_REQUEST_URL"),
    ] {
        let [wheel, _] = built(&runner.folder(), name, "1.0");
        publish(&stage, &runner, &[]).expect(0, &[source, "The token was given back."]);
        assert!(stage.has(name, &wheel));
    }
}

#[test]
fn any_other_system_hands_its_token_over_in_a_file_or_a_variable() {
    let stage = Stage::start();
    let issuer = stage.issuer("builds", "generic");
    stage.register(
        "sample",
        "builds",
        &["--claim", "sub=service:release", "--pending"],
    );
    let claims = || Claims::new().set("sub", "service:release");
    let token = || issuer.token(&stage.audience(), &claims()).unwrap();
    let user = User::new();
    built(&user.path("."), "sample", "1.0");
    fs::write(user.path("token.jwt"), format!("{}\n", token())).unwrap();
    let url = stage.server.url();
    let wheel = "dist/sample-1.0-py3-none-any.whl";
    let publish = ["publish", "--registry", &url, "--ca", stage.ca(), wheel];
    user.run(&[&publish[..], &["--id-token-file", "token.jwt"]].concat())
        .expect(0, &["Published: ", "proof not verified", "trust add"]);
    user.run_with(&publish, &[("COUNTERSIGN_ID_TOKEN", &token())])
        .expect(0, &["Already published: "]);
    // The authority by the variable that many programs know, in place of --ca.
    let by_variable = [
        ("COUNTERSIGN_ID_TOKEN", &*token()),
        ("SSL_CERT_FILE", stage.ca()),
    ];
    let ran = user.run_with(&["publish", "--registry", &url, wheel], &by_variable);
    ran.expect(0, &["Already published: "]);
    // A token is good for one exchange.
    user.run(&[&publish[..], &["--id-token-file", "token.jwt"]].concat())
        .expect(4, &["was exchanged before"]);
    fs::write(user.path("token.jwt"), "nonsense").unwrap();
    user.run(&[&publish[..], &["--id-token-file", "token.jwt"]].concat())
        .expect(2, &["is no identity token"]);
}

#[test]
fn without_an_identity_the_stored_token_publishes_and_the_proof_is_verified() {
    let stage = Stage::start();
    let [wheel, _] = built(&stage.ada.path("."), "sample", "1.0");
    let file = "dist/sample-1.0-py3-none-any.whl";
    stage
        .manage(&["publish", file])
        .expect(0, &["Published: ", "proof verified"]);
    assert!(stage.has("sample", &wheel));
    assert!(
        stage.is_alive(&stage.stored),
        "a stored token is not revoked"
    );
    stage
        .ada
        .run(&["--ca", stage.ca(), "publish", file])
        .expect(2, &["COUNTERSIGN_TOKEN is not set", "id-token: write"]);

    // A proof that does not hold is a failed verification, whoever signed the receipt.
    let trust = stage.ada.path("home/trust.toml");
    let text = fs::read_to_string(&trust).unwrap();
    let keys = stage.server.verifier_keys();
    let swapped = keys
        .iter()
        .zip(1..)
        .fold(text.clone(), |text, (key, seed)| {
            let name = KeyName::new(key.split('+').next().unwrap()).unwrap();
            let foreign = SignerKey::generate(name, [seed; 32]).verifier();
            text.replace(key, &foreign.to_string())
        });
    assert_ne!(text, swapped);
    fs::write(&trust, swapped).unwrap();
    stage
        .manage(&["publish", file])
        .expect(3, &["does not verify"]);
}

#[test]
fn a_name_that_is_taken_by_other_bytes_is_passed_over_only_when_asked() {
    let stage = Stage::start();
    built(&stage.ada.path("."), "sample", "1.0");
    let (wheel, sdist) = ("dist/sample-1.0-py3-none-any.whl", "dist/sample-1.0.tar.gz");
    stage.manage(&["publish", wheel]).expect(0, &[]);
    Wheel::new("sample", "1.0")
        .readme("# Other bytes\n")
        .build()
        .write_to(&stage.ada.path("dist"))
        .unwrap();
    stage
        .manage(&["publish", wheel, sdist])
        .expect(4, &["File already exists"]);
    assert!(
        !stage
            .server
            .project("sample")
            .unwrap()
            .unwrap()
            .to_string()
            .contains("sample-1.0.tar.gz")
    );
    stage
        .manage(&["publish", "--skip-existing", wheel, sdist])
        .expect(
            0,
            &[
                "Passed over dist/sample-1.0-py3-none-any.whl",
                "Published: ",
            ],
        );
}

#[test]
fn a_job_without_the_permission_learns_which_line_is_missing() {
    let stage = Stage::start();
    let runner = Runner::github_without_permission(&stage.claims()).unwrap();
    built(&runner.folder(), "sample", "1.0");
    publish(&stage, &runner, &[]).expect(
        2,
        &[
            "gives this job no identity",
            "id-token: write",
            "::error title=",
        ],
    );
    // A stored token stands in, aloud, unless that is forbidden.
    let mut with_token = runner;
    with_token.set("COUNTERSIGN_TOKEN", &stage.stored);
    publish(&stage, &with_token, &["--credential", "identity"]).expect(2, &["id-token: write"]);
    publish(&stage, &with_token, &[])
        .expect(0, &["COUNTERSIGN_TOKEN is used instead", "Published: "]);
}

#[test]
fn a_stored_token_never_stands_in_for_a_refused_identity() {
    let stage = Stage::start();
    stage.issuer("company", "github");
    stage.register_workflow(
        "sample",
        "company",
        &["--pending", "--environment", "release"],
    );
    let mut runner = stage.github(&stage.claims());
    runner.set("COUNTERSIGN_TOKEN", &stage.stored);
    let [wheel, _] = built(&runner.folder(), "sample", "1.0");
    publish(&stage, &runner, &[]).expect(4, &["✗ environment"]);
    assert!(!stage.has("sample", &wheel));
    publish(&stage, &runner, &["--credential", "token"]).expect(0, &["Published: "]);
}

#[test]
fn where_trusted_publishing_is_off_the_stored_token_is_used_and_else_it_says_so() {
    let stage = Stage::configured("[trusted_publishing]\nenabled = false\n");
    let mut runner = stage.github(&stage.claims());
    built(&runner.folder(), "sample", "1.0");
    publish(&stage, &runner, &[]).expect(4, &["offers no trusted publishing"]);
    runner.set("COUNTERSIGN_TOKEN", &stage.stored);
    publish(&stage, &runner, &[]).expect(
        0,
        &[
            "offers no trusted publishing",
            "COUNTERSIGN_TOKEN is used instead",
        ],
    );
}

#[test]
fn a_dry_run_explains_every_step_and_sends_no_file() {
    let stage = Stage::start();
    stage.issuer("company", "github");
    stage.register_workflow("sample", "company", &["--pending"]);
    let first = stage.github(&stage.claims());
    built(&first.folder(), "sample", "1.0");
    publish(&stage, &first, &[]).expect(0, &[]);

    let mut runner = stage.github(&stage.claims());
    let [wheel, _] = built(&runner.folder(), "sample", "2.0");
    let ran = publish(&stage, &runner, &["--dry-run"]).expect(
        0,
        &[
            "GitHub Actions, since GITHUB_ACTIONS is true",
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            &stage.audience(),
            "repository: octo/sample",
            "actor: (not shown)",
            "/_/oidc/mint-token",
            "pkg:pypi/sample@2.0?file_name=sample-2.0-py3-none-any.whl",
            &wheel.sha256(),
        ],
    );
    assert!(
        !format!("{}{}", ran.out, ran.err).contains("eyJ"),
        "{ran:#?}"
    );
    runner.set("COUNTERSIGN_TOKEN", &stage.stored);
    publish(&stage, &runner, &["--dry-run"])
        .expect(0, &["✓ repository", "This token would publish."]);
    let json = publish(&stage, &runner, &["--dry-run", "--json"]).expect(0, &[]);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json["dry_run"]["files"].as_array().unwrap().len(), 2);
    assert!(!stage.has("sample", &wheel));

    let claims = stage
        .claims()
        .set("runner_environment", "self-hosted")
        .set("repository", "octo/renamed");
    let mut other = stage.github(&claims);
    built(&other.folder(), "sample", "2.0");
    other.set("COUNTERSIGN_TOKEN", &stage.stored);
    publish(&stage, &other, &["--dry-run"])
        .expect(4, &["✗ repository", "This token would be refused"]);
}

#[test]
fn what_is_no_distribution_is_refused_before_anything_is_asked() {
    let user = User::new();
    built(&user.path("."), "sample", "1.0");
    fs::write(user.path("dist/notes.txt"), "notes").unwrap();
    fs::write(user.path("dist/broken-1.0-py3-none-any.whl"), "no archive").unwrap();
    let nowhere = ["publish", "--registry", "https://127.0.0.1:1"];
    let run = |files: &[&str]| user.run(&[&nowhere[..], files].concat());
    run(&["dist"]).expect(2, &["dist is a directory", "dist/*"]);
    run(&[
        "dist/sample-1.0.tar.gz",
        "dist/notes.txt",
        "dist/broken-1.0-py3-none-any.whl",
        "dist/missing.whl",
    ])
    .expect(
        2,
        &[
            "Nothing was sent.",
            "dist/notes.txt",
            "dist/broken-1.0-py3-none-any.whl",
            "dist/missing.whl",
        ],
    );
    run(&["dist/sample-1.0.tar.gz", "./dist/sample-1.0.tar.gz"]).expect(2, &["stands twice"]);
    run(&["x.asc"]).expect(2, &["No distribution"]);
    user.run(&["publish"]).expect(2, &["FILES"]);
    assert!(Path::new(&user.path("dist/notes.txt")).exists());
}

/// The receipt of a registry for the sdist of `sample` 1.0 in a folder.
fn receipt(user: &User) -> (String, String) {
    let [_, sdist] = built(&user.path("."), "sample", "1.0");
    let body = serde_json::json!({
        "purl": "pkg:pypi/sample@1.0?file_name=sample-1.0.tar.gz", "sha256": sdist.sha256(), "leaf": 7,
        "proof": null, "proof_url": "https://proofs.example/x", "warnings": ["A nudge."], "repeated": false,
    });
    ("dist/sample-1.0.tar.gz".to_owned(), body.to_string())
}

fn publish_to(stub: &Stub, user: &User, variables: &[(&str, &str)], file: &str) -> Ran {
    user.run_with(&["publish", "--registry", &stub.url(), file], variables)
}

#[test]
fn an_upload_is_repeated_after_a_failure_of_the_server_or_of_the_line_and_never_after_a_refusal() {
    let user = User::new();
    let (file, receipt) = receipt(&user);
    let token = [("COUNTERSIGN_TOKEN", "csgn_u_example")];
    let stub = Stub::start(move |number, _| match number {
        0 => Answer::status(503, "{\"detail\":\"The log stands still.\"}").header("Retry-After: 1"),
        1 => Answer::hang_up(),
        _ => Answer::status(200, &receipt),
    });
    publish_to(&stub, &user, &token, &file).expect(
        0,
        &[
            "The log stands still. Trying again in 1 s.",
            "log entry 7",
            "warning: A nudge.",
        ],
    );
    let seen = stub.seen();
    assert_eq!(seen.len(), 3);
    assert!(
        seen.iter()
            .all(|request| request.starts_with("POST /pypi/legacy/ "))
    );
    assert!(
        seen[0].contains("name=\"content\"; filename=\"sample-1.0.tar.gz\""),
        "{}",
        seen[0]
    );

    for status in [400, 403, 422] {
        let stub = Stub::start(move |_, _| {
            Answer::status(status, "{\"detail\":\"No.\",\"code\":\"some-code\"}")
        });
        publish_to(&stub, &user, &token, &file).expect(4, &["No."]);
        assert_eq!(stub.seen().len(), 1, "{status}");
    }
    let stub = Stub::start(|_, _| {
        Answer::status(
            200,
            "{\"purl\":\"pkg:pypi/other@1\",\"sha256\":\"00\",\"leaf\":1,\"proof_url\":\"x\"}",
        )
    });
    publish_to(&stub, &user, &token, &file).expect(3, &["receipt is for pkg:pypi/other@1"]);
}

#[test]
fn a_redirect_is_not_followed_with_a_secret() {
    let user = User::new();
    let (file, _) = receipt(&user);
    let thief = Stub::start(|_, _| Answer::status(200, "{\"token\":\"stolen\"}"));
    let target = format!("Location: {}/_/oidc/mint-token", thief.url());
    let issuer = countersign_testkit::issuer::OidcServer::start().unwrap();
    let issuer = issuer.issuer("any").unwrap();
    let identity = issuer
        .token(
            "https://registry.example/pypi",
            &Claims::new().set("sub", "x"),
        )
        .unwrap();
    let stub = Stub::start(move |_, request| {
        if request.starts_with("GET /_/oidc/audience ") {
            Answer::status(200, "{\"audience\":\"https://registry.example/pypi\"}")
        } else {
            Answer::status(307, "").header(&target)
        }
    });
    publish_to(&stub, &user, &[("COUNTERSIGN_ID_TOKEN", &identity)], &file)
        .expect(5, &["redirects to", "secrets are not sent on"]);
    publish_to(
        &stub,
        &user,
        &[("COUNTERSIGN_TOKEN", "csgn_u_example")],
        &file,
    )
    .expect(5, &["redirects to"]);
    assert!(thief.seen().is_empty());
}

#[test]
fn a_repeated_exchange_takes_a_fresh_identity_token() {
    let stage_oidc = countersign_testkit::issuer::OidcServer::start().unwrap();
    let issuer = stage_oidc.issuer("any").unwrap();
    let runner =
        Runner::github(&stage_oidc, &issuer, &claims::github(REPOSITORY, WORKFLOW)).unwrap();
    let [_, sdist] = built(&runner.folder(), "sample", "1.0");
    let body = format!(
        "{{\"purl\":\"pkg:pypi/sample@1.0?file_name={}\",\"sha256\":\"{}\",\"leaf\":1,\"proof_url\":\"https://x.example\"}}",
        sdist.filename,
        sdist.sha256()
    );
    let stub = Stub::start(
        move |number, request| match (number, request.split(' ').nth(1)) {
            (_, Some("/_/oidc/audience")) => {
                Answer::status(200, "{\"audience\":\"https://registry.example/pypi\"}")
            }
            (1, Some("/_/oidc/mint-token")) => {
                Answer::status(503, "{\"message\":\"The issuer does not answer.\"}")
                    .header("Retry-After: 1")
            }
            (_, Some("/_/oidc/mint-token")) => {
                Answer::status(200, "{\"token\":\"minted-for-a-test\",\"success\":true}")
            }
            (_, Some("/pypi/legacy/")) => Answer::status(200, &body),
            _ => Answer::status(204, ""),
        },
    );
    let mut command = std::process::Command::new(crate::user::CLIENT);
    runner.apply(&mut command);
    command
        .args([
            "publish",
            "--registry",
            &stub.url(),
            "dist/sample-1.0.tar.gz",
        ])
        .env("COUNTERSIGN_HOME", runner.folder())
        .env("COUNTERSIGN_CA", stage_oidc.ca_file());
    let ran = Ran::of(&mut command).expect(
        0,
        &["The issuer does not answer.", "The token was given back."],
    );
    assert_eq!(only_masked(&ran), "minted-for-a-test");
    let seen = stub.seen();
    let identities: Vec<&str> = seen
        .iter()
        .filter(|request| request.starts_with("POST /_/oidc/mint-token "))
        .filter_map(|request| request.split("\r\n\r\n").nth(1))
        .collect();
    assert_eq!(identities.len(), 2);
    assert_ne!(identities[0], identities[1]);
    let last = seen.last().unwrap();
    assert!(
        last.starts_with("DELETE /api/v1/token ")
            && last.to_lowercase().contains("bearer minted-for-a-test"),
        "{last}"
    );
}

#[test]
fn a_job_that_is_cancelled_gives_its_token_back() {
    let oidc = countersign_testkit::issuer::OidcServer::start().unwrap();
    let issuer = oidc.issuer("any").unwrap();
    let runner = Runner::github(&oidc, &issuer, &claims::github(REPOSITORY, WORKFLOW)).unwrap();
    built(&runner.folder(), "sample", "1.0");
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let stub = Stub::start(|_, request| match request.split(' ').nth(1) {
            Some("/_/oidc/audience") => {
                Answer::status(200, "{\"audience\":\"https://registry.example/pypi\"}")
            }
            Some("/_/oidc/mint-token") => Answer::status(200, "{\"token\":\"minted-for-a-test\"}"),
            Some("/pypi/legacy/") => Answer::silence(),
            _ => Answer::status(204, ""),
        });
        let mut command = std::process::Command::new(crate::user::CLIENT);
        runner.apply(&mut command);
        let mut child = command
            .args([
                "publish",
                "--registry",
                &stub.url(),
                "dist/sample-1.0.tar.gz",
            ])
            .env("COUNTERSIGN_HOME", runner.folder())
            .env("COUNTERSIGN_CA", oidc.ca_file())
            .spawn()
            .unwrap();
        while !stub
            .seen()
            .iter()
            .any(|request| request.starts_with("POST /pypi/legacy/ "))
        {
            assert!(child.try_wait().unwrap().is_none());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let sent = std::process::Command::new("kill")
            .arg(signal)
            .arg(child.id().to_string())
            .status()
            .unwrap();
        assert!(sent.success());
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let last = stub.seen().pop().unwrap();
        assert!(last.starts_with("DELETE /api/v1/token "), "{last}");
    }
}

/// The attestations that a workflow's signing step leaves beside a file: a publish attestation and SLSA provenance.
fn attested(folder: &Path, package: &Package) -> [String; 2] {
    let identity = Identity::github(
        "https://token.example.org",
        "https://git.example.org",
        &claims::github(REPOSITORY, WORKFLOW),
    );
    let sigstore = PrivateSigstore::new("client");
    let name = &package.filename;
    let publish = statements::pypi_publish(name, &package.bytes);
    let slsa = statements::slsa_v1(name, &package.bytes, &identity);
    [("publish", publish), ("slsa", slsa)].map(|(kind, statement)| {
        // Not as a program writes it: what is sent must be what was read.
        let text = format!("{:#}\n", sigstore.sign_attestation(&identity, &statement));
        fs::write(folder.join(format!("{name}.{kind}.attestation")), &text).unwrap();
        text
    })
}

#[test]
fn attestations_that_stand_beside_a_file_are_sent_with_it_byte_for_byte() {
    let user = User::new();
    let (file, receipt) = receipt(&user);
    let package = Sdist::new("sample", "1.0").readme("# Hello\n").build();
    let folder = user.path("dist");
    let folder: &Path = folder.as_ref();
    let texts = attested(folder, &package);
    // Those of another file are not its own.
    attested(folder, &Wheel::new("sample", "1.0").build());
    let token = [("COUNTERSIGN_TOKEN", "csgn_u_example")];
    let stub = Stub::start(move |_, _| Answer::status(200, &receipt));
    let ran = publish_to(&stub, &user, &token, &file);
    let list = format!("[{}]", texts.join(","));
    let sent = &stub.seen()[0];
    assert!(
        sent.contains(&format!("name=\"attestations\"\r\n\r\n{list}\r\n")),
        "{sent}"
    );
    ran.expect(
        0,
        &[
            "with an attestation: https://slsa.dev/provenance/v1",
            statements::PYPI_PUBLISH_V1,
        ],
    );

    let url = stub.url();
    let command = ["--registry", &url, "publish", "--no-attestations", &file];
    user.run_with(&command, &token).expect(0, &["Published"]);
    assert!(!stub.seen()[1].contains("name=\"attestations\""));
}

#[test]
fn an_attestation_that_is_not_of_its_file_is_told_before_anything_is_sent() {
    let user = User::new();
    let (file, receipt) = receipt(&user);
    let package = Sdist::new("sample", "1.0").readme("# Hello\n").build();
    let folder = user.path("dist");
    let folder: &Path = folder.as_ref();
    let token = [("COUNTERSIGN_TOKEN", "csgn_u_example")];
    let stub = Stub::start(move |_, _| Answer::status(200, &receipt));
    let [publish, slsa] = ["publish", "slsa"]
        .map(|kind| folder.join(format!("{}.{kind}.attestation", package.filename)));

    attested(folder, &package);
    fs::copy(&publish, &slsa).unwrap();
    publish_to(&stub, &user, &token, &file)
        .expect(2, &["are both of the type", "Nothing was sent"]);

    let mut other = Sdist::new("sample", "1.0").readme("# Other\n").build();
    other.filename.clone_from(&package.filename);
    attested(folder, &other);
    publish_to(&stub, &user, &token, &file).expect(
        2,
        &[
            "it is about other bytes",
            &package.sha256(),
            &other.sha256(),
        ],
    );

    for text in ["", "{}", "[]", "{\"version\":1,\"version\":1}"] {
        attested(folder, &package);
        fs::write(&publish, text).unwrap();
        publish_to(&stub, &user, &token, &file).expect(2, &["publish.attestation: step parse"]);
    }
    fs::write(&publish, " ".repeat(1 << 20)).unwrap();
    publish_to(&stub, &user, &token, &file).expect(2, &["publish.attestation: step parse"]);
    assert!(stub.seen().is_empty());
}
