use std::collections::BTreeMap;

use super::super::source::Source;
use super::*;

fn snapshot_of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn github() -> Source {
    let claims = snapshot_of(&[
        ("repository", "Octo/sample"),
        ("sha", COMMIT),
        ("ref", "refs/tags/v1"),
        (
            "workflow_ref",
            "Octo/sample/.github/workflows/release.yml@refs/tags/v1",
        ),
        ("run_id", "77"),
        ("run_attempt", "2"),
        ("environment", "release"),
    ]);
    source(Provider::Github, ISSUER, &claims).unwrap()
}

#[test]
fn the_source_of_a_github_run_is_linked() {
    let source = github();
    assert_eq!(source.repository, "https://github.com/Octo/sample");
    assert_eq!(source.commit.as_deref(), Some(COMMIT));
    assert_eq!(source.reference.as_deref(), Some("refs/tags/v1"));
    assert_eq!(
        source.workflow.as_deref(),
        Some(".github/workflows/release.yml")
    );
    assert_eq!(
        source.run.as_deref(),
        Some("https://github.com/Octo/sample/actions/runs/77/attempts/2")
    );
    assert_eq!(source.environment.as_deref(), Some("release"));
}

#[test]
fn the_sources_of_other_providers_are_linked() {
    let claims = snapshot_of(&[
        ("project_path", "octo/tools/sample"),
        ("sha", COMMIT),
        ("ref_path", "refs/tags/v1"),
        (
            "ci_config_ref_uri",
            "gitlab.com/octo/tools/sample//ci/r.yml@refs/tags/v1",
        ),
        ("job_id", "42"),
    ]);
    let gitlab = source(Provider::Gitlab, "https://gitlab.com", &claims).unwrap();
    assert_eq!(gitlab.repository, "https://gitlab.com/octo/tools/sample");
    assert_eq!(gitlab.workflow.as_deref(), Some("ci/r.yml"));
    assert_eq!(
        gitlab.run.as_deref(),
        Some("https://gitlab.com/octo/tools/sample/-/jobs/42")
    );
    let own = source(Provider::Gitlab, "https://git.example:8443/gitlab", &claims).unwrap();
    assert_eq!(
        own.repository,
        "https://git.example:8443/gitlab/octo/tools/sample"
    );

    let claims = snapshot_of(&[("repository", "octo/sample"), ("run_number", "9")]);
    let forgejo = source(
        Provider::Forgejo,
        "https://codeberg.org/api/actions",
        &claims,
    )
    .unwrap();
    assert_eq!(forgejo.repository, "https://codeberg.org/octo/sample");
    assert_eq!(
        forgejo.run.as_deref(),
        Some("https://codeberg.org/octo/sample/actions/runs/9")
    );
    let ghes = source(
        Provider::Github,
        "https://git.example/_services/token",
        &claims,
    )
    .unwrap();
    assert_eq!(ghes.repository, "https://git.example/octo/sample");
    let resident = source(
        Provider::Github,
        "https://token.actions.octo.ghe.com",
        &claims,
    )
    .unwrap();
    assert_eq!(resident.repository, "https://octo.ghe.com/octo/sample");
    let enterprise = format!("{ISSUER}/octo-inc");
    let enterprise = source(Provider::Github, &enterprise, &claims).unwrap();
    assert_eq!(enterprise.repository, "https://github.com/octo/sample");

    let claims = snapshot_of(&[("oidc.circleci.com/vcs-origin", "github.com/octo/sample")]);
    let issuer = "https://oidc.circleci.com/org/11111111-2222-3333-4444-555555555555";
    let circleci = source(Provider::Circleci, issuer, &claims).unwrap();
    assert!(circleci.verifies("https://github.com/octo/sample"));
}

#[test]
fn no_source_is_made_up() {
    let claims = snapshot_of(&[("repository", "octo/sample"), ("project", "sample")]);
    for provider in [
        Provider::Google,
        Provider::Buildkite,
        Provider::Activestate,
        Provider::Generic,
    ] {
        assert_eq!(source(provider, "https://idp.example", &claims), None);
    }
    assert_eq!(
        source(Provider::Gitlab, "https://gitlab.com", &claims),
        None
    );
    assert_eq!(
        source(
            Provider::Github,
            ISSUER,
            &snapshot_of(&[("repository", "")])
        ),
        None
    );
    assert_eq!(source(Provider::Github, "no issuer", &claims), None);
}

#[test]
fn claims_that_would_make_a_crooked_link_give_none() {
    for wrong in [
        "octo/../evil/sample",
        "octo/sample?x",
        "octo/sample#x",
        "octo/sam ple",
        "octo/<script>",
        "octo/s\u{e4}mple",
        "octo\\sample",
    ] {
        let claims = snapshot_of(&[("repository", wrong)]);
        assert_eq!(source(Provider::Github, ISSUER, &claims), None, "{wrong}");
    }
    let claims = snapshot_of(&[("oidc.circleci.com/vcs-origin", "user@evil.example/octo")]);
    assert_eq!(
        source(Provider::Circleci, "https://oidc.example", &claims),
        None
    );
    let claims = snapshot_of(&[
        ("repository", "octo/sample"),
        ("run_id", "7/../../x"),
        ("sha", "not a commit"),
    ]);
    let source = source(Provider::Github, ISSUER, &claims).unwrap();
    assert_eq!((source.run, source.commit), (None, None));
}

#[test]
fn links_to_the_repository_are_verified() {
    for link in [
        "https://github.com/Octo/sample",
        "https://github.com/octo/SAMPLE",
        "http://github.com/octo/sample/",
        "https://GitHub.com/octo/sample.git",
        "https://github.com:443/octo/sample",
        "https://github.com/octo/sample/tree/main/docs",
        "https://github.com/octo/sample/issues?q=is%3Aopen",
        "https://github.com/octo/sample#readme",
        "https://github.com/octo/sample.git/",
    ] {
        assert!(github().verifies(link), "{link}");
    }
}

#[test]
fn other_links_are_not_verified() {
    for link in [
        "",
        "octo/sample",
        "github.com/octo/sample",
        "https://github.com",
        "https://github.com/octo",
        "https://github.com/octo/sample2",
        "https://github.com/octo/sample.github.io",
        "https://github.com/octo/sample-famous",
        "https://github.com/famous/sample",
        "https://github.com/famous/octo/sample",
        "https://github.com//octo/sample",
        "https://octo.github.io/sample",
        "https://www.github.com/octo/sample",
        "https://github.com.evil.example/octo/sample",
        "https://github.com./octo/sample",
        "https://gitlab.com/octo/sample",
        "https://evil.example/github.com/octo/sample",
        "https://github.com@evil.example/octo/sample",
        "https://user@github.com/octo/sample",
        "https://user:pass@github.com/octo/sample",
        "https://github.com:8443/octo/sample",
        "http://github.com:443/octo/sample",
        "ftp://github.com/octo/sample",
        "git+https://github.com/octo/sample",
        "ssh://git@github.com/octo/sample",
        "javascript://github.com/octo/sample",
        "https://github.com/octo/sample/../../famous/project",
        "https://github.com/famous/../octo/sample",
        "https://github.com/octo/sample/..",
        "https://github.com/octo/sample/%2e%2e/%2e%2e/famous/project",
        "https://github.com/octo%2Fsample",
        "https://github.com/octo/sample%00",
        "https://github.com\\octo\\sample",
        "https://github.com/octo/sample\\..\\..\\famous",
        "https://github.com/octo/sample\n",
        " https://github.com/octo/sample",
        "https://github.com/octo/s\tample",
        "https://gıthub.com/octo/sample",
        "https://github.com/осто/sample", // Cyrillic letters
    ] {
        assert!(!github().verifies(link), "{link}");
    }
    let long = format!("https://github.com/octo/sample/{}", "x".repeat(2048));
    assert!(!github().verifies(&long));
}

#[test]
fn a_repository_on_another_port_is_only_itself() {
    let claims = snapshot_of(&[("repository", "octo/sample")]);
    let own = source(
        Provider::Forgejo,
        "https://git.example:8443/api/actions",
        &claims,
    )
    .unwrap();
    assert!(own.verifies("https://git.example:8443/octo/sample"));
    assert!(!own.verifies("https://git.example/octo/sample"));
}
