//! The certificate held against the publisher, and what the build wrote held against the certificate.
//!
//! A certificate is made from an identity token of the CI system, by a fixed rule for each provider (fulcio,
//! `config/identity/config.yaml`). Here that rule is followed backwards: what the token must have said. That is held
//! against the publisher's own rules, the ids that are pinned, and the token that uploads.

use std::collections::BTreeMap;

use super::statement::uri_is;
use super::{Claim, Claims, Predicate, Refusal, San, Statement, Step};
use crate::oidc::{self, Difference, Provider, Registration, Rule, escaped, evaluate, pages};

/// What the token behind a certificate said, by the names of its claims.
pub(super) type Said = BTreeMap<&'static str, String>;

/// Holds a certificate against the publisher that minted the upload's token, claim by claim. `token` is what that
/// token said ([`oidc::snapshot`]); `pinned` the ids that were pinned for the publisher, by the claims that carry
/// them.
///
/// Always asked: the issuer, and what names the repository or account and its workflow file. With a token: the same
/// repository, ids, workflow, commit, ref and run (GitHub, Forgejo, CircleCI, Buildkite: another job of the run may
/// have signed, and a repeated attempt may upload). What certificates of that provider have no place for (a protected
/// ref, the id of an account) is taken from the token of the same run, which was held against it, and refused without
/// one. What they have a place for they must say: an absent claim is a mismatch, except the few that `optional` names.
///
/// # Errors
///
/// At [`Step::Identity`], with every row that was compared: one differs, or certificates of this provider name nobody.
pub fn compare(
    claims: &Claims,
    registration: &Registration,
    pinned: &BTreeMap<String, String>,
    token: Option<&BTreeMap<String, String>>,
) -> Result<Vec<Difference>, Refusal> {
    let provider = registration.provider;
    let mut rows = vec![row(
        "iss",
        &registration.issuer,
        claims.issuer(),
        claims.issuer() == Some(&registration.issuer),
    )];
    let said = said(provider, &registration.issuer, claims).ok_or_else(|| {
        Refusal::new(
            Step::Identity,
            format!(
                "certificates of {} do not say which publisher signed",
                provider.title()
            ),
        )
        .seen(claims.san.as_str())
    })?;
    // The name and the extension are made from one claim.
    match claims.get(Claim::BuildSignerUri) {
        Some(signer) => rows.push(row(
            "name in the certificate",
            signer,
            Some(claims.san.as_str()),
            claims.san == San::Uri(signer.to_owned()),
        )),
        None if matches!(
            provider,
            Provider::Github | Provider::Gitlab | Provider::Circleci
        ) =>
        {
            rows.push(row(
                Claim::BuildSignerUri.as_str(),
                "a value in the certificate",
                None,
                false,
            ));
        }
        None => {}
    }
    let named = names(provider);
    for claim in named.always {
        if !said.contains_key(claim) && !registration.rules.iter().any(|rule| rule.claim == *claim)
        {
            rows.push(row(claim, "a value in the certificate", None, false));
        }
    }
    let mut bound = false;
    if let Some(token) = token {
        for claim in named.always.iter().chain(named.same) {
            let seen = said.get(claim).map(String::as_str);
            let Some(expected) = token.get(*claim) else {
                if named.always.contains(claim) {
                    rows.push(row(claim, "a value in the upload's token", seen, false));
                }
                continue;
            };
            let fold = matches!(*claim, "repository" | "project_path");
            let same = seen.is_some_and(|seen| {
                seen == expected || (fold && seen.eq_ignore_ascii_case(expected))
            });
            if Some(*claim) == named.run {
                bound = same;
                // Jobs of one GitLab pipeline can not be told to be of one run.
                if provider == Provider::Gitlab {
                    continue;
                }
            }
            rows.push(row(claim, expected, seen, same));
        }
    }
    for (claim, expected) in pinned {
        let seen = said.get(claim.as_str()).map(String::as_str);
        if seen.is_none() && named.may_lack(claim) && bound {
            continue;
        }
        rows.push(row(claim, expected, seen, seen == Some(expected)));
    }
    let as_token = oidc::Claims::of_texts(said.iter().map(|(name, text)| (*name, text.as_str())));
    for rule in &registration.rules {
        let silent = !said.contains_key(rule.claim.as_str());
        if silent && named.may_lack(&rule.claim) {
            if !bound {
                rows.push(unsaid(rule, &named));
            }
            continue;
        }
        rows.extend(evaluate(std::slice::from_ref(rule), &as_token));
    }
    if oidc::matches(&rows) {
        return Ok(rows);
    }
    let mut refusal = Refusal::new(
        Step::Identity,
        "who signed is not the publisher that uploads",
    )
    .expected(&registration.label)
    .seen(claims.san.as_str());
    refusal.differences = rows;
    Err(refusal)
}

fn row(claim: &str, expected: &str, seen: Option<&str>, matched: bool) -> Difference {
    Difference {
        claim: claim.to_owned(),
        expected: escaped(expected),
        seen: seen.map(escaped),
        matched,
        advice: None,
    }
}

/// A rule about something that neither the certificate nor a token of its run says.
fn unsaid(rule: &Rule, named: &Names) -> Difference {
    let mut difference = row(&rule.claim, "a value in the certificate", None, false);
    difference.advice = Some(
        match named.run {
            Some(_) => "sign in the run that uploads",
            None => {
                "certificates of this issuer do not say it: register the publisher by `sub` alone"
            }
        }
        .to_owned(),
    );
    difference
}

/// What certificates of a provider say, by the names of its tokens' claims.
pub(super) struct Names {
    /// What every certificate must say.
    always: &'static [&'static str],
    /// What is the same in all jobs of a run.
    same: &'static [&'static str],
    /// What names the run, or the account where no run is told.
    run: Option<&'static str>,
    /// All that its certificates have a place for.
    pub(super) carries: &'static [&'static str],
    /// Those among them that may be absent nevertheless: authorities began to write them late, and a job of the run
    /// without an environment of its own may have signed what the job in the environment uploads.
    optional: &'static [&'static str],
}

impl Names {
    /// Whether the token of the same run may answer for a claim that the certificate is silent about.
    fn may_lack(&self, claim: &str) -> bool {
        !self.carries.contains(&claim) || self.optional.contains(&claim)
    }
}

pub(super) fn names(provider: Provider) -> Names {
    match provider {
        Provider::Github => Names {
            always: &[
                "repository",
                "repository_id",
                "repository_owner_id",
                "workflow_ref",
                "sha",
                "ref",
            ],
            same: &[
                "workflow_sha",
                "event_name",
                "repository_visibility",
                "run_id",
            ],
            run: Some("run_id"),
            carries: REPOSITORY_JOB,
            optional: &["environment", "sub"],
        },
        Provider::Forgejo => Names {
            always: &["repository", "workflow_ref", "sha", "ref"],
            same: &[
                "repository_id",
                "repository_owner_id",
                "event_name",
                "run_id",
            ],
            run: Some("run_id"),
            carries: REPOSITORY_JOB,
            optional: &["environment", "sub"],
        },
        Provider::Gitlab => Names {
            always: &[
                "project_path",
                "project_id",
                "namespace_id",
                "ci_config_ref_uri",
                "sha",
                "ref_path",
            ],
            same: &[
                "ci_config_sha",
                "pipeline_source",
                "project_visibility",
                "job_id",
            ],
            run: Some("job_id"),
            carries: &[
                "ci_config_ref_uri",
                "ci_config_sha",
                "environment",
                "job_id",
                "namespace_id",
                "namespace_path",
                "pipeline_source",
                "project_id",
                "project_path",
                "project_visibility",
                "ref_path",
                "runner_environment",
                "sha",
                "sub",
            ],
            optional: &["environment", "sub"],
        },
        Provider::Google => Names {
            always: &["email"],
            same: &[],
            run: Some("email"),
            carries: &["email", "email_verified", "sub"],
            optional: &["sub"],
        },
        Provider::Circleci => Names {
            always: &[
                "oidc.circleci.com/project-id",
                "oidc.circleci.com/pipeline-definition-id",
            ],
            same: &[
                "oidc.circleci.com/vcs-origin",
                "oidc.circleci.com/vcs-ref",
                "oidc.circleci.com/workflow-id",
            ],
            run: Some("oidc.circleci.com/workflow-id"),
            carries: &[
                "oidc.circleci.com/job-id",
                "oidc.circleci.com/pipeline-definition-id",
                "oidc.circleci.com/project-id",
                "oidc.circleci.com/ssh-rerun",
                "oidc.circleci.com/vcs-origin",
                "oidc.circleci.com/vcs-ref",
                "oidc.circleci.com/workflow-id",
            ],
            optional: &[],
        },
        Provider::Buildkite => Names {
            always: &["organization_slug", "pipeline_slug"],
            same: &["build_commit", "build_source", "build_number"],
            run: Some("build_number"),
            carries: &[
                "build_commit",
                "build_number",
                "build_source",
                "job_id",
                "organization_slug",
                "pipeline_slug",
                "runner_environment",
            ],
            optional: &[],
        },
        // Nothing says what of such a token is a run.
        Provider::Activestate | Provider::Generic => Names {
            always: &["sub"],
            same: &[],
            run: None,
            carries: &["sub"],
            optional: &[],
        },
    }
}

/// What certificates of jobs of GitHub's kind have a place for.
const REPOSITORY_JOB: &[&str] = &[
    "environment",
    "event_name",
    "job_workflow_ref",
    "job_workflow_sha",
    "ref",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "repository_visibility",
    "run_attempt",
    "run_id",
    "runner_environment",
    "sha",
    "sub",
    "workflow_ref",
    "workflow_sha",
];

/// What the token behind the certificate said; `None` where certificates of that provider name no publisher.
pub(super) fn said(provider: Provider, issuer: &str, claims: &Claims) -> Option<Said> {
    let mut said = Said::new();
    let mut say = |name: &'static str, text: Option<&str>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            said.insert(name, text.to_owned());
        }
    };
    match provider {
        Provider::Github | Provider::Forgejo => {
            let site = format!("{}/", pages(provider, issuer)?);
            let within = |claim| claims.get(claim)?.strip_prefix(site.as_str());
            let repository = within(Claim::SourceRepositoryUri);
            say("repository", repository);
            say("repository_owner", within(Claim::SourceRepositoryOwnerUri));
            say("workflow_ref", within(Claim::BuildConfigUri));
            say("job_workflow_ref", within(Claim::BuildSignerUri));
            for (name, claim) in [
                ("repository_id", Claim::SourceRepositoryIdentifier),
                (
                    "repository_owner_id",
                    Claim::SourceRepositoryOwnerIdentifier,
                ),
                ("repository_visibility", Claim::SourceRepositoryVisibility),
                ("workflow_sha", Claim::BuildConfigDigest),
                ("job_workflow_sha", Claim::BuildSignerDigest),
                ("sha", Claim::SourceRepositoryDigest),
                ("ref", Claim::SourceRepositoryRef),
                ("event_name", Claim::BuildTrigger),
                ("environment", Claim::DeploymentEnvironment),
                ("runner_environment", Claim::RunnerEnvironment),
                ("sub", Claim::TokenSubject),
            ] {
                say(name, claims.get(claim));
            }
            let run = within(Claim::RunInvocationUri)
                .zip(repository)
                .and_then(|(run, repository)| run.strip_prefix(repository))
                .and_then(|run| run.strip_prefix("/actions/runs/"));
            match run.and_then(|run| run.split_once("/attempts/")) {
                Some((run, attempt)) => {
                    say("run_id", Some(run));
                    say("run_attempt", Some(attempt));
                }
                None => say("run_id", run),
            }
        }
        Provider::Gitlab => {
            let site = format!("{}/", pages(provider, issuer)?);
            let within = |claim| claims.get(claim)?.strip_prefix(site.as_str());
            let project = within(Claim::SourceRepositoryUri);
            say("project_path", project);
            say("namespace_path", within(Claim::SourceRepositoryOwnerUri));
            say(
                "ci_config_ref_uri",
                claims
                    .get(Claim::BuildConfigUri)
                    .and_then(|uri| uri.strip_prefix("https://")),
            );
            for (name, claim) in [
                ("project_id", Claim::SourceRepositoryIdentifier),
                ("namespace_id", Claim::SourceRepositoryOwnerIdentifier),
                ("project_visibility", Claim::SourceRepositoryVisibility),
                ("ci_config_sha", Claim::BuildConfigDigest),
                ("sha", Claim::SourceRepositoryDigest),
                ("ref_path", Claim::SourceRepositoryRef),
                ("pipeline_source", Claim::BuildTrigger),
                ("environment", Claim::DeploymentEnvironment),
                ("runner_environment", Claim::RunnerEnvironment),
                ("sub", Claim::TokenSubject),
            ] {
                say(name, claims.get(claim));
            }
            say(
                "job_id",
                within(Claim::RunInvocationUri)
                    .zip(project)
                    .and_then(|(run, project)| run.strip_prefix(project))
                    .and_then(|run| run.strip_prefix("/-/jobs/")),
            );
        }
        Provider::Google => {
            let San::Email(email) = &claims.san else {
                return None;
            };
            say("email", Some(email));
            // The authority makes certificates of confirmed addresses only.
            say("email_verified", Some("true"));
            say("sub", claims.get(Claim::TokenSubject));
        }
        Provider::Circleci => {
            let place = claims
                .get(Claim::BuildSignerUri)
                .and_then(|uri| uri.strip_prefix("https://circleci.com/api/v2/projects/"))
                .and_then(|rest| rest.split_once("/pipeline-definitions/"));
            say("oidc.circleci.com/project-id", place.map(|(id, _)| id));
            say(
                "oidc.circleci.com/pipeline-definition-id",
                place.map(|(_, id)| id),
            );
            say(
                "oidc.circleci.com/vcs-origin",
                claims
                    .get(Claim::SourceRepositoryUri)
                    .map(|uri| uri.strip_prefix("https://").unwrap_or(uri)),
            );
            say(
                "oidc.circleci.com/vcs-ref",
                claims.get(Claim::SourceRepositoryRef),
            );
            let rerun = claims.get(Claim::RunnerEnvironment) == Some("ssh-rerun");
            say(
                "oidc.circleci.com/ssh-rerun",
                Some(if rerun { "true" } else { "false" }),
            );
            let run = claims
                .get(Claim::RunInvocationUri)
                .and_then(|uri| uri.strip_prefix("https://app.circleci.com/"))
                .and_then(|path| path.split_once("/workflow/"))
                .and_then(|(_, rest)| rest.split_once("/job/"));
            say("oidc.circleci.com/workflow-id", run.map(|(id, _)| id));
            say("oidc.circleci.com/job-id", run.map(|(_, id)| id));
        }
        Provider::Buildkite => {
            let San::Uri(name) = &claims.san else {
                return None;
            };
            let place = name.strip_prefix("https://buildkite.com/")?;
            let (organization, pipeline) = place.split_once('/')?;
            say("organization_slug", Some(organization));
            say("pipeline_slug", Some(pipeline));
            say("build_commit", claims.get(Claim::SourceRepositoryDigest));
            say("build_source", claims.get(Claim::BuildTrigger));
            say("runner_environment", claims.get(Claim::RunnerEnvironment));
            let run = claims
                .get(Claim::RunInvocationUri)
                .and_then(|uri| uri.strip_prefix(name.as_str()))
                .and_then(|rest| rest.strip_prefix("/builds/"))
                .and_then(|rest| rest.split_once('#'));
            say("build_number", run.map(|(number, _)| number));
            say("job_id", run.map(|(_, job)| job));
        }
        Provider::Activestate | Provider::Generic => {
            say("sub", Some(claims.get(Claim::TokenSubject)?));
        }
    }
    Some(said)
}

/// Holds what the build wrote against the certificate: repository, ref, workflow file, commit, run, builder and
/// parameters of SLSA provenance. Other statements say nothing that a certificate says too, and have no rows.
///
/// # Errors
///
/// At [`Step::CrossCheck`], with every row that was compared. At [`Step::Predicate`] for what has not its form.
pub fn cross_check(statement: &Statement, claims: &Claims) -> Result<Vec<Difference>, Refusal> {
    let slsa = match &statement.predicate {
        Predicate::Slsa(slsa) => slsa,
        Predicate::Malformed(refusal) => return Err(refusal.as_ref().clone()),
        _ => return Ok(Vec::new()),
    };
    let mut rows = Vec::new();
    let mut hold = |name: &str,
                    written: Option<&String>,
                    certified: Option<&str>,
                    same: &dyn Fn(&str, &str) -> bool| {
        if let (Some(written), Some(certified)) = (written, certified) {
            rows.push(row(
                name,
                certified,
                Some(written),
                same(written, certified),
            ));
        }
    };
    let exact = |written: &str, certified: &str| written == certified;
    let repository = claims.repository();
    hold(
        "repository",
        slsa.repository.as_ref(),
        repository.as_deref(),
        &uri_is,
    );
    let commit = claims
        .get(Claim::SourceRepositoryDigest)
        .or_else(|| claims.get(Claim::GithubSha));
    hold("commit", slsa.commit.as_ref(), commit, &exact);
    let reference = claims
        .get(Claim::SourceRepositoryRef)
        .or_else(|| claims.get(Claim::GithubRef));
    hold("ref", slsa.reference.as_ref(), reference, &exact);
    // GitLab's provenance has the name of a job in its place.
    let path = claims
        .workflow()
        .map(|(path, _)| path)
        .filter(|path| path.contains("/workflows/"));
    hold("workflow", slsa.path.as_ref(), path, &exact);
    hold(
        "run",
        slsa.invocation.as_ref(),
        claims.get(Claim::RunInvocationUri),
        &exact,
    );
    let builder = builder_fits(&slsa.builder, claims);
    rows.push(row(
        "builder",
        claims.san.as_str(),
        Some(&slsa.builder),
        builder,
    ));
    if !slsa.unknown_parameters.is_empty() {
        rows.push(row(
            "externalParameters",
            "workflow, inputs",
            Some(&slsa.unknown_parameters.join(", ")),
            false,
        ));
    }
    if oidc::matches(&rows) {
        return Ok(rows);
    }
    let mut refusal = Refusal::new(
        Step::CrossCheck,
        "the provenance contradicts the certificate that signed it",
    );
    refusal.differences = rows;
    Err(refusal)
}

/// Whether the builder that the provenance names can be the one that the certificate is of: the workflow that signed,
/// a runner of the certified kind, a runner of the certified project.
fn builder_fits(builder: &str, claims: &Claims) -> bool {
    if builder == claims.san.as_str() {
        return true;
    }
    // These workflows run a builder of somebody's and vouch for which one it was.
    let vouches = claims.san.as_str().starts_with(
        "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/delegator_",
    );
    if vouches && builder.starts_with("https://github.com/") {
        return true;
    }
    let own = claims.issuer() == Some("https://token.actions.githubusercontent.com");
    if own && builder.starts_with("https://github.com/npm/cli@") {
        // The first versions of npm named themselves.
        return true;
    }
    if let Some(kind) = builder.strip_prefix("https://github.com/actions/runner") {
        let github = claims.issuer().is_some_and(|issuer| {
            issuer == "https://token.actions.githubusercontent.com"
                || issuer.starts_with("https://token.actions.githubusercontent.com/")
        });
        let hosted = claims.get(Claim::RunnerEnvironment);
        let fits = kind.strip_prefix('/') == hosted;
        // npm's client names the runner so in jobs of a company's own GitHub too; there its kind must be certified.
        let own_github = claims.san.as_str().contains("/.github/workflows/");
        return (github && (kind.is_empty() || fits || hosted.is_none()))
            || (own_github && hosted.is_some() && fits);
    }
    claims.repository().is_some_and(|repository| {
        builder
            .strip_prefix(&repository)
            .and_then(|rest| rest.strip_prefix("/-/runners/"))
            .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
    })
}
