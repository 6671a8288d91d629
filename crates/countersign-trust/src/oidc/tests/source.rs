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

#[test]
fn the_pages_of_a_source_are_those_of_the_forge_that_vouches_for_it_and_of_no_other_host() {
    let own = "https://gitlab.example";
    let table = [
        (
            Provider::Github,
            ISSUER,
            "https://github.com/octo/sample",
            Some(Forge::Github),
        ),
        (
            Provider::Github,
            ISSUER,
            "https://github.com.evil.example/octo/sample",
            None,
        ),
        (
            Provider::Github,
            ISSUER,
            "https://codeberg.org/octo/sample",
            None,
        ),
        (
            Provider::Github,
            ISSUER,
            "http://github.com/octo/sample",
            None,
        ),
        (
            Provider::Github,
            ISSUER,
            "https://github.com:8443/octo/sample",
            None,
        ),
        (
            Provider::Github,
            "https://ghe.example/_services/token",
            "https://ghe.example/octo/sample",
            Some(Forge::Github),
        ),
        (
            Provider::Github,
            "https://ghe.example/_services/token",
            "https://github.com/octo/sample",
            None,
        ),
        (
            Provider::Gitlab,
            own,
            "https://gitlab.example/group/sub/sample",
            Some(Forge::Gitlab),
        ),
        (
            Provider::Gitlab,
            own,
            "https://gitlab.example.evil.example/group/sample",
            None,
        ),
        (
            Provider::Gitlab,
            "https://10.0.0.1",
            "https://10.0.0.1/group/sample",
            None,
        ),
        (
            Provider::Gitlab,
            "https://[::1]",
            "https://[::1]/group/sample",
            None,
        ),
        (
            Provider::Forgejo,
            "https://git.example/api/actions",
            "https://git.example/octo/sample",
            Some(Forge::Forgejo),
        ),
        // Those that keep no repositories themselves are believed about the public forges alone.
        (
            Provider::Circleci,
            "https://oidc.circleci.com/org/1",
            "https://github.com/octo/sample",
            Some(Forge::Github),
        ),
        (
            Provider::Buildkite,
            "https://agent.buildkite.com",
            "https://codeberg.org/octo/sample",
            Some(Forge::Forgejo),
        ),
        (
            Provider::Circleci,
            "https://oidc.circleci.com/org/1",
            "https://internal.example/octo/sample",
            None,
        ),
        (
            Provider::Generic,
            "https://ci.example",
            "https://169.254.169.254/latest",
            None,
        ),
    ];
    for (provider, issuer, repository, wanted) in table {
        assert_eq!(
            Forge::of(provider, issuer, repository),
            wanted,
            "{provider:?} {issuer} {repository}"
        );
    }
}

#[test]
fn pages_of_a_commit_and_a_file_never_leave_the_repository() {
    let at = |forge: Forge| {
        let repository = "https://forge.example/octo/sample";
        (
            forge.commit(repository, COMMIT),
            forge.file(repository, COMMIT, ".github/workflows/release.yml"),
        )
    };
    let base = "https://forge.example/octo/sample";
    let file = ".github/workflows/release.yml";
    assert_eq!(
        at(Forge::Github),
        (
            format!("{base}/commit/{COMMIT}"),
            Some(format!("{base}/blob/{COMMIT}/{file}"))
        )
    );
    assert_eq!(
        at(Forge::Gitlab),
        (
            format!("{base}/-/commit/{COMMIT}"),
            Some(format!("{base}/-/blob/{COMMIT}/{file}"))
        )
    );
    assert_eq!(
        at(Forge::Forgejo),
        (
            format!("{base}/commit/{COMMIT}"),
            Some(format!("{base}/src/commit/{COMMIT}/{file}"))
        )
    );
    for path in ["", "../../../evil", "a/./b", "a?b", "a#b", "a b", "a%2e"] {
        assert_eq!(Forge::Github.file(base, COMMIT, path), None, "{path:?}");
    }
}
