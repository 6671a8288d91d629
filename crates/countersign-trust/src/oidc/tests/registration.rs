use std::collections::BTreeMap;

use super::*;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const ORGANIZATION: &str = "11111111-2222-3333-4444-555555555555";
const PROJECT: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";

fn circleci_issuer() -> String {
    format!("https://oidc.circleci.com/org/{ORGANIZATION}")
}

fn asked(fields: &[(&str, &str)]) -> Asked {
    Asked {
        fields: fields
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect(),
        claims: Vec::new(),
    }
}

/// A registration at the provider's public service.
fn registered_at(provider: Provider, fields: &[(&str, &str)]) -> Result<Registration, Refused> {
    let issuer = provider
        .issuer()
        .map_or_else(circleci_issuer, str::to_owned);
    register(provider, &issuer, &asked(fields))
}

fn github(further: &[(&str, &str)]) -> Registration {
    let mut fields = vec![
        ("owner", "octo"),
        ("repository", "sample"),
        ("workflow", "release.yml"),
    ];
    fields.extend(further);
    registered_at(Provider::Github, &fields).unwrap()
}

fn gitlab(further: &[(&str, &str)]) -> Registration {
    let mut fields = vec![("namespace", "octo/tools"), ("project", "sample")];
    fields.extend(further);
    registered_at(Provider::Gitlab, &fields).unwrap()
}

/// The claims that did not match.
fn refused(registration: &Registration, token: &Value) -> Vec<Difference> {
    evaluate(&registration.rules, &claims(token))
        .into_iter()
        .filter(|outcome| !outcome.matched)
        .collect()
}

fn refused_claims(registration: &Registration, token: &Value) -> Vec<String> {
    let differences = refused(registration, token);
    assert!(
        differences
            .iter()
            .all(|difference| difference.advice.is_some())
    );
    differences
        .into_iter()
        .map(|difference| difference.claim)
        .collect()
}

fn accepts(registration: &Registration, token: &Value) -> bool {
    matches(&evaluate(&registration.rules, &claims(token)))
}

/// A release by a pushed tag, in an environment.
fn github_token() -> Value {
    with(
        registered(),
        &json!({
        "sub": "repo:octo/sample:environment:release", "environment": "release",
        "ref": "refs/tags/v1", "ref_type": "tag", "ref_protected": "true", "sha": COMMIT,
        "repository": "octo/sample", "repository_id": "222", "repository_owner": "octo",
        "repository_owner_id": "111", "repository_visibility": "public", "actor": "ada", "actor_id": "333",
        "workflow": "Release", "workflow_ref": "octo/sample/.github/workflows/release.yml@refs/tags/v1",
        "workflow_sha": COMMIT, "job_workflow_ref": "octo/sample/.github/workflows/release.yml@refs/tags/v1",
        "job_workflow_sha": COMMIT, "event_name": "push", "head_ref": "", "base_ref": "",
        "runner_environment": "github-hosted", "run_id": "77", "run_number": "7", "run_attempt": "1",
        "enterprise": "octo-inc", "enterprise_id": "9", "check_run_id": "88"}),
    )
}

fn gitlab_token() -> Value {
    with(
        registered(),
        &json!({
        "iss": "https://gitlab.com", "sub": "project_path:octo/tools/sample:ref_type:tag:ref:v1",
        "namespace_id": "11", "namespace_path": "octo/tools", "project_id": "22", "project_path": "octo/tools/sample",
        "project_visibility": "public", "user_id": "33", "user_login": "ada", "user_email": "ada@example.org",
        "user_access_level": "maintainer", "user_identities": [{"provider": "github", "extern_uid": "2435223452345"}],
        "pipeline_id": "44", "pipeline_source": "push", "job_id": "55", "ref": "v1", "ref_type": "tag",
        "ref_path": "refs/tags/v1", "ref_protected": "true", "groups_direct": ["octo", "octo/tools"],
        "environment": "release", "environment_protected": "true", "deployment_tier": "production",
        "deployment_action": "start", "runner_id": 66, "runner_environment": "gitlab-hosted", "sha": COMMIT,
        "ci_config_ref_uri": "gitlab.com/octo/tools/sample//.gitlab-ci.yml@refs/tags/v1", "ci_config_sha": COMMIT}),
    )
}

fn google_token() -> Value {
    with(
        registered(),
        &json!({
        "iss": "https://accounts.google.com", "jti": null, "sub": "112233", "azp": "112233",
        "email": "release@sample.iam.gserviceaccount.com", "email_verified": true,
        "google": {"compute_engine": {"project_id": "sample", "instance_creation_timestamp": 1_700_000_000}}}),
    )
}

fn circleci_token() -> Value {
    with(
        registered(),
        &json!({
        "iss": circleci_issuer(), "jti": null,
        "sub": format!("org/{ORGANIZATION}/project/{PROJECT}/user/{PROJECT}"),
        "oidc.circleci.com/org-id": ORGANIZATION, "oidc.circleci.com/project-id": PROJECT,
        "oidc.circleci.com/context-ids": [ORGANIZATION, PROJECT],
        "oidc.circleci.com/pipeline-definition-id": PROJECT, "oidc.circleci.com/pipeline-id": PROJECT,
        "oidc.circleci.com/workflow-id": PROJECT, "oidc.circleci.com/job-id": PROJECT,
        "oidc.circleci.com/ssh-rerun": false, "oidc.circleci.com/vcs-origin": "github.com/octo/sample",
        "oidc.circleci.com/vcs-ref": "refs/tags/v1"}),
    )
}

fn circleci(further: &[(&str, &str)]) -> Registration {
    let mut fields = vec![
        ("project_id", PROJECT),
        ("repository", "https://github.com/octo/sample.git"),
    ];
    fields.extend(further);
    registered_at(Provider::Circleci, &fields).unwrap()
}

fn buildkite_token() -> Value {
    with(
        registered(),
        &json!({
        "iss": "https://agent.buildkite.com", "jti": null,
        "sub": format!("organization:octo:pipeline:sample:ref:refs/tags/v1:commit:{COMMIT}:step:publish"),
        "organization_slug": "octo", "pipeline_slug": "sample", "organization_id": ORGANIZATION,
        "pipeline_id": PROJECT, "build_number": 7, "build_branch": "main", "build_tag": "v1",
        "build_commit": COMMIT, "step_key": "publish", "job_id": PROJECT, "agent_id": PROJECT,
        "build_source": "webhook", "runner_environment": "buildkite-hosted"}),
    )
}

fn forgejo_token() -> Value {
    with(
        registered(),
        &json!({
        "iss": "https://codeberg.org/api/actions", "sub": "repo:octo/sample:ref:refs/tags/v1", "actor": "ada",
        "actor_id": "3", "repository": "octo/sample", "repository_id": "2", "repository_owner": "octo",
        "repository_owner_id": "1", "event_name": "push", "ref": "refs/tags/v1", "ref_type": "tag",
        "ref_protected": "false", "sha": COMMIT, "workflow": "release.yml",
        "workflow_ref": "octo/sample/.forgejo/workflows/release.yml@refs/tags/v1", "run_id": "70", "run_number": "7",
        "run_attempt": "1", "base_ref": "", "head_ref": ""}),
    )
}

fn activestate_token() -> Value {
    with(
        registered(),
        &json!({
        "iss": "https://platform.activestate.com/api/v1/oauth/oidc", "jti": null, "sub": "org:octo:project:sample",
        "actor": "ada", "actor_id": PROJECT, "artifact_id": ORGANIZATION, "builder": "pypi-publisher",
        "ingredient": "sample", "organization": "octo", "organization_id": ORGANIZATION, "project": "sample",
        "project_id": PROJECT, "project_path": "octo/sample", "project_visibility": "public"}),
    )
}

/// A registration and a token of each provider that fit each other.
fn pairs() -> Vec<(Registration, Value)> {
    let generic = Asked {
        fields: BTreeMap::new(),
        claims: vec![Rule {
            claim: "sub".to_owned(),
            test: Test::Equal("job:sample".to_owned()),
        }],
    };
    let generic = register(Provider::Generic, "https://idp.example", &generic).unwrap();
    vec![
        (
            github(&[("environment", "release"), ("ref", "refs/tags/v*")]),
            github_token(),
        ),
        (
            gitlab(&[("environment", "release"), ("ref_protected", "true")]),
            gitlab_token(),
        ),
        (
            registered_at(
                Provider::Google,
                &[
                    ("email", "release@sample.iam.gserviceaccount.com"),
                    ("sub", "112233"),
                ],
            )
            .unwrap(),
            google_token(),
        ),
        (
            circleci(&[("context_id", PROJECT), ("pipeline_definition_id", PROJECT)]),
            circleci_token(),
        ),
        (
            registered_at(
                Provider::Buildkite,
                &[
                    ("organization", "octo"),
                    ("pipeline", "sample"),
                    ("tag", "v*"),
                    ("step", "publish"),
                    ("organization_id", ORGANIZATION),
                    ("pipeline_id", PROJECT),
                ],
            )
            .unwrap(),
            buildkite_token(),
        ),
        (
            registered_at(
                Provider::Forgejo,
                &[
                    ("owner", "octo"),
                    ("repository", "sample"),
                    ("workflow", "release.yml"),
                ],
            )
            .unwrap(),
            forgejo_token(),
        ),
        (
            registered_at(
                Provider::Activestate,
                &[
                    ("organization", "octo"),
                    ("project", "sample"),
                    ("actor_id", PROJECT),
                ],
            )
            .unwrap(),
            activestate_token(),
        ),
        (
            generic,
            with(
                registered(),
                &json!({"iss": "https://idp.example", "sub": "job:sample", "email": "ada@example.org"}),
            ),
        ),
    ]
}

#[test]
fn every_provider_accepts_a_full_token_of_its_own_and_of_no_other() {
    let pairs = pairs();
    assert_eq!(pairs.len(), Provider::ALL.len());
    for (registration, token) in &pairs {
        assert_eq!(
            refused(registration, token),
            [],
            "{}",
            registration.provider
        );
        assert!(accepts(registration, token));
        for (other, _) in pairs
            .iter()
            .filter(|(other, _)| other.provider != registration.provider)
        {
            assert!(
                !accepts(other, token),
                "{} for {}",
                registration.provider,
                other.provider
            );
        }
    }
}

#[test]
fn a_token_leads_to_its_registrations() {
    for (registration, token) in pairs() {
        let lookup = registration.provider.lookup_of(&claims(&token));
        match registration.provider {
            Provider::Generic => assert_eq!((lookup, registration.lookup.as_str()), (None, "")),
            _ => assert_eq!(lookup.as_deref(), Some(registration.lookup.as_str())),
        }
    }
    let token = with(github_token(), &json!({"repository": "OCTO/Sample"}));
    assert_eq!(
        Provider::Github.lookup_of(&claims(&token)).as_deref(),
        Some("octo/sample")
    );
}

#[test]
fn each_rule_of_a_preset_is_needed() {
    for (registration, token) in pairs() {
        for rule in &registration.rules {
            if matches!(rule.test, Test::NoneOf(_)) {
                continue;
            }
            let without = with(token.clone(), &json!({rule.claim.as_str(): null}));
            assert!(
                !accepts(&registration, &without),
                "{} without {}",
                registration.provider,
                rule.claim
            );
            let other = with(
                token.clone(),
                &json!({rule.claim.as_str(): {"an": "object"}}),
            );
            assert!(
                !accepts(&registration, &other),
                "{} {}",
                registration.provider,
                rule.claim
            );
        }
    }
}

#[test]
fn no_personal_claim_is_kept() {
    for (registration, token) in pairs() {
        let mut rules = registration.rules.clone();
        for claim in [
            "actor",
            "actor_id",
            "user_login",
            "user_email",
            "email",
            "name",
        ] {
            rules.push(Rule {
                claim: claim.to_owned(),
                test: Test::Pattern("*".to_owned()),
            });
        }
        let kept = snapshot(registration.provider, &claims(&token), &rules);
        assert!(!kept.is_empty(), "{}", registration.provider);
        for (claim, text) in &kept {
            assert!(
                !claim.starts_with("user") && !claim.starts_with("actor") && claim != "name",
                "{claim}"
            );
            assert!(!text.contains("ada"), "{claim}: {text}");
        }
        assert_eq!(
            kept.contains_key("email"),
            registration.provider == Provider::Google
        );
        for claim in registration.provider.pinned_claims() {
            assert!(
                kept.contains_key(*claim),
                "{} keeps {claim}",
                registration.provider
            );
        }
    }
}

#[test]
fn the_snapshot_says_what_was_built_where() {
    let kept = snapshot(Provider::Github, &claims(&github_token()), &[]);
    assert_eq!(kept["repository"], "octo/sample");
    assert_eq!(kept["sha"], COMMIT);
    assert_eq!(kept["run_id"], "77");
    assert_eq!(
        environment(Provider::Github, &kept).as_deref(),
        Some("release")
    );
    let kept = snapshot(Provider::Circleci, &claims(&circleci_token()), &[]);
    assert_eq!(
        kept["oidc.circleci.com/context-ids"],
        format!("{ORGANIZATION}, {PROJECT}")
    );
    assert_eq!(environment(Provider::Circleci, &kept), None);
    let rule = Rule {
        claim: "team".to_owned(),
        test: Test::Equal("a".to_owned()),
    };
    let token = claims(&json!({"sub": "x", "team": "a", "other": "b", "long": "y".repeat(2000)}));
    let kept = snapshot(Provider::Generic, &token, &[rule]);
    assert_eq!(
        kept,
        BTreeMap::from([
            ("sub".to_owned(), "x".to_owned()),
            ("team".to_owned(), "a".to_owned())
        ])
    );
}

#[test]
fn the_label_says_who_publishes() {
    let labels: Vec<_> = pairs()
        .into_iter()
        .map(|(registration, _)| registration.label)
        .collect();
    assert_eq!(
        labels,
        [
            "octo/sample, release.yml, environment release",
            "octo/tools/sample, .gitlab-ci.yml, environment release",
            "release@sample.iam.gserviceaccount.com",
            "github.com/octo/sample, project aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
            "octo/sample",
            "octo/sample, .forgejo/workflows/release.yml",
            "octo/sample",
            "sub job:sample",
        ]
    );
}

#[test]
fn a_missing_environment_is_refused_with_the_line_to_add() {
    let registration = github(&[("environment", "release")]);
    let token = with(github_token(), &json!({"environment": null}));
    let differences = refused(&registration, &token);
    assert_eq!(differences.len(), 1);
    assert_eq!(
        (differences[0].claim.as_str(), &differences[0].seen),
        ("environment", &None)
    );
    let advice = differences[0].advice.as_ref().unwrap();
    assert!(
        advice.contains("`environment: release`") && advice.contains("release.yml"),
        "{advice}"
    );
    let token = with(github_token(), &json!({"environment": "staging"}));
    assert_eq!(refused_claims(&registration, &token), ["environment"]);
}

#[test]
fn the_case_of_an_environment_counts_at_gitlab_and_not_at_github() {
    let token = with(github_token(), &json!({"environment": "Release"}));
    assert!(accepts(&github(&[("environment", "release")]), &token));
    let token = with(gitlab_token(), &json!({"environment": "Release"}));
    let differences = refused(&gitlab(&[("environment", "release")]), &token);
    assert_eq!(differences.len(), 1);
    assert!(
        differences[0]
            .advice
            .as_ref()
            .unwrap()
            .contains("only in case")
    );
}

#[test]
fn a_self_hosted_runner_is_refused_where_it_is_forbidden() {
    let token = with(
        github_token(),
        &json!({"runner_environment": "self-hosted"}),
    );
    assert!(accepts(&github(&[]), &token));
    assert!(accepts(&github(&[("runner", "any")]), &token));
    assert!(accepts(&github(&[("runner", "self-hosted")]), &token));
    let registration = github(&[("runner", "GitHub-hosted")]);
    assert_eq!(
        refused_claims(&registration, &token),
        ["runner_environment"]
    );
    let token = with(
        gitlab_token(),
        &json!({"runner_environment": "self-hosted"}),
    );
    assert_eq!(
        refused_claims(&gitlab(&[("runner", "gitlab-hosted")]), &token),
        ["runner_environment"]
    );
}

#[test]
fn a_pull_request_of_a_fork_is_refused() {
    // It runs in the base repository and carries its name, owner and ids.
    let token = with(
        github_token(),
        &json!({
        "sub": "repo:octo/sample:pull_request", "event_name": "pull_request", "ref": "refs/pull/7/merge",
        "head_ref": "evil", "base_ref": "main",
        "workflow_ref": "octo/sample/.github/workflows/release.yml@refs/pull/7/merge",
        "job_workflow_ref": "octo/sample/.github/workflows/release.yml@refs/pull/7/merge"}),
    );
    assert_eq!(refused_claims(&github(&[]), &token), ["event_name", "ref"]);
    // Nor does it pass where events are listed.
    let listed = github(&[("events", "push, workflow_dispatch")]);
    assert_eq!(refused_claims(&listed, &token), ["event_name", "ref"]);
    // Nor may one ask for that, nor for its refs.
    for (field, text) in [
        ("events", "push, pull_request"),
        ("ref", "refs/pull/7/merge"),
        ("ref", "refs/*"),
    ] {
        let fields = [
            ("owner", "octo"),
            ("repository", "sample"),
            ("workflow", "release.yml"),
            (field, text),
        ];
        let refused = registered_at(Provider::Github, &fields).unwrap_err();
        assert_eq!(refused.differences[0].claim, field);
    }
    let token = with(
        forgejo_token(),
        &json!({"event_name": "pull_request", "ref": "refs/pull/7/head"}),
    );
    let forgejo = [
        ("owner", "octo"),
        ("repository", "sample"),
        ("workflow", "release.yml"),
    ];
    let forgejo = registered_at(Provider::Forgejo, &forgejo).unwrap();
    assert_eq!(refused_claims(&forgejo, &token), ["event_name", "ref"]);
}

#[test]
fn a_merge_request_is_refused() {
    let token = with(
        gitlab_token(),
        &json!({
        "pipeline_source": "merge_request_event", "ref": "evil", "ref_type": "branch", "ref_protected": "false",
        "ref_path": "refs/merge-requests/7/head",
        "ci_config_ref_uri": "gitlab.com/octo/tools/sample//.gitlab-ci.yml@refs/merge-requests/7/head"}),
    );
    assert_eq!(
        refused_claims(&gitlab(&[]), &token),
        ["pipeline_source", "ref_path"]
    );
}

#[test]
fn a_fork_built_by_circleci_is_refused() {
    let forked = with(
        circleci_token(),
        &json!({"oidc.circleci.com/vcs-origin": "github.com/evil/sample"}),
    );
    assert_eq!(
        refused_claims(&circleci(&[]), &forked),
        ["oidc.circleci.com/vcs-origin"]
    );
    for reference in ["refs/pull/7/head", "refs/heads/pull/7"] {
        let token = with(
            circleci_token(),
            &json!({"oidc.circleci.com/vcs-ref": reference}),
        );
        assert_eq!(
            refused_claims(&circleci(&[]), &token),
            ["oidc.circleci.com/vcs-ref"]
        );
    }
    let by_hand = with(
        circleci_token(),
        &json!({"oidc.circleci.com/ssh-rerun": true}),
    );
    assert_eq!(
        refused_claims(&circleci(&[]), &by_hand),
        ["oidc.circleci.com/ssh-rerun"]
    );
    let context = with(
        circleci_token(),
        &json!({"oidc.circleci.com/context-ids": [ORGANIZATION]}),
    );
    assert!(accepts(&circleci(&[]), &context));
    assert_eq!(
        refused_claims(&circleci(&[("context_id", PROJECT)]), &context),
        ["oidc.circleci.com/context-ids"]
    );
}

#[test]
fn events_on_the_base_branch_are_refused_unless_they_are_listed() {
    for event in ["pull_request_target", "workflow_run"] {
        let token = with(
            github_token(),
            &json!({
            "event_name": event, "ref": "refs/heads/main",
            "workflow_ref": "octo/sample/.github/workflows/release.yml@refs/heads/main",
            "job_workflow_ref": "octo/sample/.github/workflows/release.yml@refs/heads/main"}),
        );
        assert_eq!(refused_claims(&github(&[]), &token), ["event_name"]);
        let listed = github(&[("events", event)]);
        assert!(accepts(&listed, &token));
        assert!(
            listed
                .warnings
                .iter()
                .any(|warning| warning.contains(event))
        );
        assert!(!accepts(&listed, &github_token()), "a push is not listed");
    }
}

#[test]
fn a_renamed_repository_is_refused_with_its_new_name() {
    let token = with(
        github_token(),
        &json!({
        "repository": "octo/renamed", "workflow_ref": "octo/renamed/.github/workflows/release.yml@refs/tags/v1",
        "job_workflow_ref": "octo/renamed/.github/workflows/release.yml@refs/tags/v1"}),
    );
    let differences = refused(&github(&[]), &token);
    assert_eq!(differences[0].claim, "repository");
    assert_eq!(differences[0].seen.as_deref(), Some("octo/renamed"));
    assert!(
        differences[0]
            .advice
            .as_ref()
            .unwrap()
            .contains("octo/renamed")
    );
}

#[test]
fn owner_and_repository_may_differ_in_case_and_the_workflow_may_not() {
    let token = with(
        github_token(),
        &json!({
        "repository": "Octo/SAMPLE", "workflow_ref": "Octo/SAMPLE/.github/workflows/release.yml@refs/tags/v1",
        "job_workflow_ref": "Octo/SAMPLE/.github/workflows/release.yml@refs/tags/v1"}),
    );
    assert!(accepts(&github(&[]), &token));
    let token = with(
        github_token(),
        &json!({
        "workflow_ref": "octo/sample/.github/workflows/Release.yml@refs/tags/v1"}),
    );
    assert_eq!(refused_claims(&github(&[]), &token), ["workflow_ref"]);
}

#[test]
fn another_workflow_of_the_repository_is_refused_whatever_its_branch_is_called() {
    for seen in [
        "octo/sample/.github/workflows/test.yml@refs/heads/main",
        "octo/sample/.github/workflows/test.yml@refs/heads/octo/sample/.github/workflows/release.yml@main",
        "octo/sample/.github/workflows/release.yml/../test.yml@refs/heads/main",
    ] {
        let token = with(github_token(), &json!({"workflow_ref": seen}));
        assert_eq!(
            refused_claims(&github(&[]), &token),
            ["workflow_ref"],
            "{seen}"
        );
    }
}

#[test]
fn a_called_workflow_of_another_repository_must_be_named() {
    let called = |workflow: &str| with(github_token(), &json!({"job_workflow_ref": workflow}));
    let shared = called("octo/shared/.github/workflows/publish.yml@refs/tags/v2");
    let differences = refused(&github(&[]), &shared);
    assert_eq!(differences.len(), 1);
    assert!(
        differences[0]
            .advice
            .as_ref()
            .unwrap()
            .contains("called_workflow")
    );
    // One of the same repository is as good as the caller.
    assert!(accepts(
        &github(&[]),
        &called("octo/sample/.github/workflows/steps.yml@refs/tags/v1")
    ));
    assert!(!accepts(
        &github(&[]),
        &called("octo/sample-evil/.github/workflows/steps.yml@refs/tags/v1")
    ));

    let any_ref = github(&[(
        "called_workflow",
        "octo/shared/.github/workflows/publish.yml",
    )]);
    assert!(accepts(&any_ref, &shared));
    assert!(accepts(
        &any_ref,
        &called("octo/shared/.github/workflows/publish.yml@refs/heads/x")
    ));
    assert_eq!(
        refused_claims(&any_ref, &github_token()),
        ["job_workflow_ref"]
    );
    assert_eq!(
        refused_claims(
            &any_ref,
            &called("evil/shared/.github/workflows/publish.yml@v2")
        ),
        ["job_workflow_ref"]
    );

    let one_ref = github(&[(
        "called_workflow",
        "octo/shared/.github/workflows/publish.yml@refs/tags/v2",
    )]);
    assert!(accepts(&one_ref, &shared));
    assert!(!accepts(
        &one_ref,
        &called("octo/shared/.github/workflows/publish.yml@refs/heads/v2")
    ));
    // The caller is asked for all the same.
    let other_caller = with(
        shared,
        &json!({"workflow_ref": "octo/sample/.github/workflows/x.yml@refs/tags/v1"}),
    );
    assert_eq!(refused_claims(&one_ref, &other_caller), ["workflow_ref"]);
}

#[test]
fn github_s_subject_is_never_read() {
    let token = with(
        github_token(),
        &json!({"sub": "whatever the organisation made of it"}),
    );
    assert!(accepts(&github(&[]), &token));
    assert!(github(&[]).rules.iter().all(|rule| rule.claim != "sub"));
}

#[test]
fn refs_and_visibility_can_be_asked_for() {
    let tags = github(&[("ref", "tags/v*")]);
    assert_eq!(tags.fields["ref"], "refs/tags/v*");
    assert!(accepts(&tags, &github_token()));
    let branch = with(github_token(), &json!({"ref": "refs/heads/main"}));
    assert_eq!(refused_claims(&tags, &branch), ["ref"]);
    let trick = with(github_token(), &json!({"ref": "refs/heads/refs/tags/v1"}));
    assert_eq!(refused_claims(&tags, &trick), ["ref"]);
    let public = github(&[("visibility", "public")]);
    assert!(accepts(&public, &github_token()));
    let private = with(github_token(), &json!({"repository_visibility": "private"}));
    assert_eq!(refused_claims(&public, &private), ["repository_visibility"]);
    let unprotected = with(gitlab_token(), &json!({"ref_protected": "false"}));
    assert_eq!(
        refused_claims(&gitlab(&[("ref_protected", "true")]), &unprotected),
        ["ref_protected"]
    );
}

#[test]
fn a_pipeline_file_of_another_project_is_refused() {
    let token = with(
        gitlab_token(),
        &json!({"ci_config_ref_uri": null, "ci_config_sha": null}),
    );
    let differences = refused(&gitlab(&[]), &token);
    assert_eq!(differences[0].claim, "ci_config_ref_uri");
    assert!(
        differences[0]
            .advice
            .as_ref()
            .unwrap()
            .contains("in the project itself")
    );
    for seen in [
        "gitlab.com/evil/sample//.gitlab-ci.yml@refs/tags/v1",
        "gitlab.com/octo/tools/sample//other.yml@refs/tags/v1",
        "gitlab.example.com/octo/tools/sample//.gitlab-ci.yml@refs/tags/v1",
    ] {
        let token = with(gitlab_token(), &json!({"ci_config_ref_uri": seen}));
        assert_eq!(
            refused_claims(&gitlab(&[]), &token),
            ["ci_config_ref_uri"],
            "{seen}"
        );
    }
}

#[test]
fn a_google_account_must_be_a_verified_service_account() {
    let registration = registered_at(
        Provider::Google,
        &[("email", " Release@sample.iam.gserviceaccount.com ")],
    )
    .unwrap();
    assert!(accepts(&registration, &google_token()));
    let unverified = with(google_token(), &json!({"email_verified": false}));
    assert_eq!(
        refused_claims(&registration, &unverified),
        ["email_verified"]
    );
    for wrong in [
        "ada@example.org",
        "@x.gserviceaccount.com",
        "a@b@x.gserviceaccount.com",
        "a@evil.example?.gserviceaccount.com.example",
        "*@x.iam.gserviceaccount.com",
    ] {
        let refused = registered_at(Provider::Google, &[("email", wrong)]).unwrap_err();
        assert_eq!(refused.differences[0].claim, "email", "{wrong}");
    }
    let pinned = registered_at(
        Provider::Google,
        &[
            ("email", "release@sample.iam.gserviceaccount.com"),
            ("sub", "445566"),
        ],
    )
    .unwrap();
    assert_eq!(refused_claims(&pinned, &google_token()), ["sub"]);
}

#[test]
fn activestate_publishes_by_its_publisher_only() {
    let (registration, token) = pairs().swap_remove(6);
    for (claim, other) in [
        ("builder", "some-builder"),
        ("actor_id", ORGANIZATION),
        ("organization", "Octo"),
    ] {
        let token = with(token.clone(), &json!({claim: other}));
        assert_eq!(refused_claims(&registration, &token), [claim]);
    }
}

#[test]
fn sloppy_input_is_understood() {
    let plain = github(&[]);
    for fields in [
        [
            ("owner", " octo "),
            ("repository", " sample "),
            ("workflow", " .github/workflows/release.yml "),
        ],
        [
            ("owner", ""),
            ("repository", "octo/sample"),
            ("workflow", "./release.yml"),
        ],
        [
            ("owner", "octo"),
            ("repository", "https://github.com/octo/sample"),
            ("workflow", "release.yml"),
        ],
        [
            ("owner", "https://github.com/octo"),
            ("repository", "https://github.com/octo/sample.git/"),
            (
                "workflow",
                "https://github.com/octo/sample/blob/main/.github/workflows/release.yml",
            ),
        ],
        [
            ("owner", "@octo"),
            ("repository", "git@github.com:octo/sample.git"),
            ("workflow", "/.github/workflows/release.yml"),
        ],
        [
            ("Owner", ""),
            ("REPOSITORY", "https://GitHub.com/octo/sample/tree/main"),
            ("workflow", "release.yml"),
        ],
    ] {
        let read = registered_at(Provider::Github, &fields).unwrap();
        assert_eq!(
            (&read.fields, &read.rules),
            (&plain.fields, &plain.rules),
            "{fields:?}"
        );
    }
    let plain = gitlab(&[]);
    for fields in [
        [
            ("namespace", ""),
            ("project", "https://gitlab.com/octo/tools/sample"),
        ],
        [
            ("namespace", "octo/tools/"),
            ("project", "octo/tools/sample"),
        ],
        [("owner", "octo/tools"), ("repository", "sample")],
        [
            ("namespace", ""),
            (
                "project",
                "https://gitlab.com/octo/tools/sample/-/tree/main",
            ),
        ],
    ] {
        assert_eq!(
            registered_at(Provider::Gitlab, &fields).unwrap().rules,
            plain.rules,
            "{fields:?}"
        );
    }
    let dashed = github(&[(
        "called-workflow",
        "https://github.com/octo/shared/.github/workflows/p.yml",
    )]);
    assert_eq!(
        dashed.fields["called_workflow"],
        "octo/shared/.github/workflows/p.yml"
    );
    let own = github(&[("called_workflow", "./.github/workflows/p.yaml")]);
    assert_eq!(
        own.fields["called_workflow"],
        "octo/sample/.github/workflows/p.yaml"
    );
}

#[test]
fn wrong_input_is_refused_field_by_field() {
    let good = [
        ("owner", "octo"),
        ("repository", "sample"),
        ("workflow", "release.yml"),
    ];
    let long = "x".repeat(256);
    for (field, wrong) in [
        ("owner", "-octo"),
        ("owner", "octo cat"),
        ("owner", "octo/cat"),
        ("owner", "oc\u{442}o"),
        ("owner", long.as_str()),
        ("repository", ".."),
        ("repository", "a b"),
        ("repository", "https://gitlab.com/octo/sample"),
        ("repository", "https://github.com"),
        ("repository", "https://github.com.evil.example/octo/sample"),
        ("workflow", "release"),
        ("workflow", ".yml"),
        ("workflow", "a/b.yml"),
        ("workflow", "../release.yml"),
        ("workflow", "release*.yml"),
        ("workflow", "release.yml@v1"),
        ("repository", "sample.git.git"),
        ("environment", "rel\u{202e}ease"),
        ("environment", "rel\nease"),
        ("environment", "\"release\""),
        ("environment", "a\\b"),
        ("ref", "main"),
        ("ref", "v*"),
        ("ref", "refs/tags/"),
        ("ref", "refs/tags/a..b"),
        ("ref", "refs/tags/a b"),
        ("runner", "windows"),
        ("visibility", "secret"),
        ("events", "push; rm"),
        ("events", ","),
        ("called_workflow", "publish.yml"),
        ("called_workflow", "octo/shared/publish.yml"),
        ("called_workflow", "octo/shared/.github/workflows/p.yml@v2"),
        ("called_workflow", "octo/shared/.github/workflows/*.yml"),
        (
            "called_workflow",
            "octo/shared/.github/workflows/p.yml@refs/tags/*",
        ),
        ("colour", "green"),
    ] {
        let fields: Vec<_> = good
            .iter()
            .copied()
            .filter(|(name, _)| *name != field)
            .chain([(field, wrong)])
            .collect();
        let refused = registered_at(Provider::Github, &fields).expect_err(wrong);
        assert_eq!(refused.code, "publisher-invalid");
        let named: Vec<_> = refused
            .differences
            .iter()
            .map(|one| one.claim.as_str())
            .collect();
        assert_eq!(named, [field], "{wrong}");
        assert!(!refused.differences[0].matched && refused.differences[0].advice.is_some());
        assert!(!refused.message.is_empty() && !refused.remedy.is_empty());
    }
}

#[test]
fn missing_fields_are_named_all_at_once() {
    for provider in Provider::ALL {
        let refused = registered_at_any(provider).unwrap_err();
        let named: Vec<_> = refused
            .differences
            .iter()
            .map(|one| one.claim.as_str())
            .collect();
        let mut required: Vec<_> = provider
            .fields()
            .iter()
            .filter(|field| field.required)
            .map(|field| field.name)
            .collect();
        if provider == Provider::Generic {
            required = vec!["claims"];
        }
        for field in &required {
            // An owner may stand in the repository's field, so it is asked for once that is there.
            let implied = ["owner", "namespace"].contains(field);
            assert!(
                implied || named.contains(field),
                "{provider}: {field} in {named:?}"
            );
        }
    }
    let refused = registered_at(
        Provider::Github,
        &[("repository", "sample"), ("workflow", "r.yml")],
    )
    .unwrap_err();
    assert_eq!(refused.differences[0].claim, "owner");
}

fn registered_at_any(provider: Provider) -> Result<Registration, Refused> {
    let issuer = provider
        .issuer()
        .map_or_else(circleci_issuer, str::to_owned);
    register(provider, &issuer, &Asked::default())
}

#[test]
fn contradictory_owners_are_refused() {
    let fields = [
        ("owner", "octo"),
        ("repository", "https://github.com/evil/sample"),
        ("workflow", "r.yml"),
    ];
    assert_eq!(
        registered_at(Provider::Github, &fields)
            .unwrap_err()
            .differences[0]
            .claim,
        "owner"
    );
}

#[test]
fn a_field_given_twice_is_refused() {
    let fields = [
        ("owner", "octo"),
        ("OWNER", "evil"),
        ("repository", "sample"),
        ("workflow", "r.yml"),
    ];
    assert_eq!(
        registered_at(Provider::Github, &fields)
            .unwrap_err()
            .differences[0]
            .claim,
        "owner"
    );
}

#[test]
fn a_generic_publisher_must_be_named_exactly() {
    let generic = |rules: &[(&str, Test)]| {
        let claims = rules
            .iter()
            .map(|(claim, test)| Rule {
                claim: (*claim).to_owned(),
                test: test.clone(),
            })
            .collect();
        register(
            Provider::Generic,
            "https://idp.example",
            &Asked {
                fields: BTreeMap::new(),
                claims,
            },
        )
    };
    let equal = |text: &str| Test::Equal(text.to_owned());
    for good in [
        ("sub", equal("job:1")),
        (
            "sub",
            Test::OneOf(vec!["job:1".to_owned(), "job:2".to_owned()]),
        ),
        ("team", Test::EqualIgnoringCase("release".to_owned())),
    ] {
        let registration = generic(&[good]).unwrap();
        assert_eq!(
            (registration.lookup.as_str(), registration.rules.len()),
            ("", 1)
        );
    }
    for bad in [
        vec![],
        vec![("sub", Test::Pattern("*".to_owned()))],
        vec![("sub", Test::NoneOf(vec!["evil".to_owned()]))],
        vec![("azp", equal("x"))],
        vec![("email_verified", equal("true"))],
    ] {
        assert_eq!(generic(&bad).unwrap_err().differences[0].claim, "claims");
    }
    for own in ["iss", "aud", "exp", "iat", "nbf", "jti"] {
        let refused = generic(&[("sub", equal("job:1")), (own, equal("x"))]).unwrap_err();
        assert_eq!(refused.differences[0].claim, own);
    }
}

#[test]
fn further_rules_come_on_top_within_limits() {
    let mut given = asked(&[
        ("owner", "octo"),
        ("repository", "sample"),
        ("workflow", "release.yml"),
    ]);
    given.claims = vec![Rule {
        claim: "actor".to_owned(),
        test: Test::Equal("ada".to_owned()),
    }];
    let registration = register(Provider::Github, ISSUER, &given).unwrap();
    assert!(accepts(&registration, &github_token()));
    assert_eq!(
        refused_claims(
            &registration,
            &with(github_token(), &json!({"actor": "eve"}))
        ),
        ["actor"]
    );

    let text = |length: usize| "x".repeat(length);
    for (claim, test) in [
        ("", Test::Equal(text(1))),
        ("a b", Test::Equal(text(1))),
        ("\u{430}ctor", Test::Equal(text(1))),
        ("actor", Test::Equal(text(0))),
        ("actor", Test::Equal(text(256))),
        ("actor", Test::Equal("a\nb".to_owned())),
        ("actor", Test::OneOf(vec![])),
        ("actor", Test::OneOf(vec![text(1); 65])),
        ("actor", Test::NoneOf(vec![text(256)])),
        ("actor", Test::Pattern(text(256))),
        ("actor", Test::File(text(0))),
    ] {
        given.claims = vec![Rule {
            claim: claim.to_owned(),
            test: test.clone(),
        }];
        assert_eq!(
            register(Provider::Github, ISSUER, &given).unwrap_err().code,
            "publisher-invalid",
            "{test:?}"
        );
    }
    given.claims = vec![
        Rule {
            claim: "actor".to_owned(),
            test: Test::Equal(text(1))
        };
        65
    ];
    assert_eq!(
        register(Provider::Github, ISSUER, &given).unwrap_err().code,
        "publisher-invalid"
    );
}

#[test]
fn open_doors_are_warned_of() {
    assert_eq!(github(&[]).warnings.len(), 1);
    assert!(github(&[("environment", "release")]).warnings.is_empty());
    assert!(github(&[("ref", "refs/tags/v*")]).warnings.is_empty());
    assert_eq!(gitlab(&[]).warnings.len(), 1);
    assert!(gitlab(&[("ref_protected", "true")]).warnings.is_empty());
}

#[test]
fn registrations_survive_their_json() {
    for (registration, _) in pairs() {
        let text = serde_json::to_string(&registration).unwrap();
        assert_eq!(
            serde_json::from_str::<Registration>(&text).unwrap(),
            registration
        );
    }
}

#[test]
fn providers_are_read_by_their_words() {
    for provider in Provider::ALL {
        assert_eq!(provider.as_str().parse(), Ok(provider));
        assert_eq!(json!(provider), json!(provider.as_str()));
        assert!(!provider.algorithms().is_empty() && provider.longest_life() >= 3600);
        if let Some(issuer) = provider.issuer() {
            assert!(provider.owns_issuer(issuer));
            assert!(!provider.owns_issuer(&format!("{issuer}/")));
            assert!(discovery_url(issuer).is_ok());
        }
    }
    let refused = "jenkins".parse::<Provider>().unwrap_err();
    assert!(refused.remedy.contains("github, gitlab"));
}

#[test]
fn an_issuer_of_circleci_has_the_uuid_of_an_organisation() {
    assert!(Provider::Circleci.owns_issuer(&circleci_issuer()));
    for wrong in [
        "https://oidc.circleci.com/org/",
        "https://oidc.circleci.com/org/octo",
        "https://oidc.circleci.com.evil.example/org/11111111-2222-3333-4444-555555555555",
        "https://oidc.circleci.com/org/11111111-2222-3333-4444-555555555555/",
        "https://oidc.circleci.com/org/11111111-2222-3333-4444-55555555555A",
        "https://oidc.circleci.com/org/11111111-2222-3333-4444-5555555555555",
    ] {
        assert!(!Provider::Circleci.owns_issuer(wrong), "{wrong}");
        assert!(!Provider::Generic.owns_issuer(wrong));
    }
    let fields = BTreeMap::from([("organization_id".to_owned(), ORGANIZATION.to_owned())]);
    assert_eq!(
        Provider::Circleci.issuer_for(&fields),
        Some(circleci_issuer())
    );
    assert_eq!(Provider::Circleci.issuer_for(&BTreeMap::new()), None);
    assert_eq!(
        Provider::Github.issuer_for(&fields).as_deref(),
        Some(ISSUER)
    );
    let other = [
        ("project_id", PROJECT),
        ("repository", "github.com/o/s"),
        ("organization_id", PROJECT),
    ];
    assert_eq!(
        registered_at(Provider::Circleci, &other)
            .unwrap_err()
            .differences[0]
            .claim,
        "organization_id"
    );
}

#[test]
fn the_ids_of_a_repository_are_asked_for_at_its_own_site() {
    let at = |provider: Provider, issuer: &str| {
        let fields = match provider {
            Provider::Gitlab => asked(&[("namespace", "octo/tools"), ("project", "sample")]),
            _ => asked(&[
                ("owner", "Octo"),
                ("repository", "sample"),
                ("workflow", "r.yml"),
            ]),
        };
        identity_question(&register(provider, issuer, &fields).unwrap())
    };
    for (provider, issuer, url) in [
        (
            Provider::Github,
            ISSUER,
            "https://api.github.com/repos/Octo/sample",
        ),
        (
            Provider::Github,
            "https://token.actions.octo.ghe.com",
            "https://api.octo.ghe.com/repos/Octo/sample",
        ),
        (
            Provider::Github,
            "https://git.example/_services/token",
            "https://git.example/api/v3/repos/Octo/sample",
        ),
        (
            Provider::Gitlab,
            "https://gitlab.com",
            "https://gitlab.com/api/v4/projects/octo%2Ftools%2Fsample",
        ),
        (
            Provider::Gitlab,
            "https://git.example:8443/gitlab",
            "https://git.example:8443/gitlab/api/v4/projects/octo%2Ftools%2Fsample",
        ),
        (
            Provider::Forgejo,
            "https://codeberg.org/api/actions",
            "https://codeberg.org/api/v1/repos/Octo/sample",
        ),
    ] {
        assert_eq!(at(provider, issuer).as_deref(), Some(url));
    }
    for (registration, _) in pairs() {
        let asks = matches!(
            registration.provider,
            Provider::Github | Provider::Gitlab | Provider::Forgejo
        );
        assert_eq!(
            identity_question(&registration).is_some(),
            asks,
            "{}",
            registration.provider
        );
    }
}

#[test]
fn the_answer_gives_the_ids_of_the_very_repository() {
    let answer = json!({"id": 222, "full_name": "Octo/Sample", "owner": {"login": "octo", "id": 111}, "topics": []});
    let ids = identity_answer(&github(&[]), answer.to_string().as_bytes()).unwrap();
    assert_eq!(ids["repository_owner_id"], "111");
    assert_eq!(ids["repository_id"], "222");
    let answer = json!({"id": 22, "path_with_namespace": "octo/tools/sample", "namespace": {"id": 11, "kind": "group"}});
    let ids = identity_answer(&gitlab(&[]), answer.to_string().as_bytes()).unwrap();
    assert_eq!(
        (ids["namespace_id"].as_str(), ids["project_id"].as_str()),
        ("11", "22")
    );
    for claim in Provider::Gitlab.pinned_claims() {
        assert!(ids.contains_key(*claim));
    }
}

#[test]
fn an_answer_about_something_else_is_refused() {
    let good = json!({"id": 222, "full_name": "octo/sample", "owner": {"id": 111}});
    let read = |value: &Value| identity_answer(&github(&[]), value.to_string().as_bytes());
    assert!(read(&good).is_ok());
    let renamed = read(&with(good.clone(), &json!({"full_name": "octo/renamed"}))).unwrap_err();
    assert!(renamed.message.contains("octo/renamed"));
    for changes in [
        json!({"full_name": null}),
        json!({"full_name": 7}),
        json!({"id": null}),
        json!({"id": "222"}),
        json!({"id": -1}),
        json!({"id": 0}),
        json!({"id": 1.5}),
        json!({"owner": null}),
        json!({"owner": 111}),
        json!({"owner": {"id": [111]}}),
        json!({"pad": "x".repeat(300_000)}),
    ] {
        assert_eq!(
            read(&with(good.clone(), &changes)).unwrap_err().code,
            "publisher-unconfirmed"
        );
    }
    for bytes in [&b""[..], b"<html>", b"[]", b"\xff"] {
        assert_eq!(
            identity_answer(&github(&[]), bytes).unwrap_err().code,
            "publisher-unconfirmed"
        );
    }
    let (google, _) = pairs().swap_remove(2);
    assert!(identity_answer(&google, good.to_string().as_bytes()).is_err());
}

#[test]
fn every_field_teaches() {
    for provider in Provider::ALL {
        for field in provider.fields() {
            assert!(!field.help.is_empty() && !field.label.is_empty() && !field.example.is_empty());
            assert!(
                field
                    .name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            );
        }
    }
}

#[test]
fn what_was_understood_is_understood_the_same_way_again() {
    for (registration, _) in pairs() {
        let again = Asked {
            fields: registration.fields.clone(),
            claims: match registration.provider {
                Provider::Generic => registration.rules.clone(),
                _ => Vec::new(),
            },
        };
        let read = register(registration.provider, &registration.issuer, &again).unwrap();
        assert_eq!(read, registration);
    }
}

#[test]
fn every_example_of_a_form_is_accepted() {
    for provider in Provider::ALL {
        let examples: Vec<_> = provider
            .fields()
            .iter()
            .map(|field| (field.name, field.example))
            .collect();
        if provider != Provider::Generic {
            let read = registered_at(provider, &examples);
            assert!(read.is_ok(), "{provider}: {read:?}");
        }
    }
}
