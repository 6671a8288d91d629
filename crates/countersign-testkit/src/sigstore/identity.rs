//! Who a certificate names, made from the same claims that the kit's issuers put into their tokens: an upload token
//! and a certificate of one job agree in everything unless a test sets a difference.

use std::collections::BTreeMap;

use crate::claims::Claims;

/// The subject alternative name of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectName {
    /// A workflow's.
    Uri(String),
    /// A person's or a service account's.
    Email(String),
    /// A user name of a private provider (Fulcio's other name, `.7`).
    Other(String),
}

/// What a certificate says of its holder: the name and the extensions `1.3.6.1.4.1.57264.1.N` by `N`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name.
    pub name: SubjectName,
    /// By number. Those below 7 are written as raw bytes, the others as UTF8String, as Fulcio does.
    pub extensions: BTreeMap<u8, String>,
}

impl Identity {
    /// A name that this issuer vouches for, and nothing else.
    pub fn new(issuer: &str, name: SubjectName) -> Self {
        let extensions = [1, 8].map(|number| (number, issuer.to_owned()));
        Self {
            name,
            extensions: BTreeMap::from(extensions),
        }
    }

    /// A job of GitHub Actions: `host` is where its repositories are (`https://github.com`, or that of a company's
    /// own), `claims` are as of [`crate::claims::github`].
    pub fn github(issuer: &str, host: &str, claims: &Claims) -> Self {
        let claim = |name: &str| claims.text(name).to_owned();
        let at = |path: &str| format!("{host}/{path}");
        let repository = at(&claim("repository"));
        let signer = at(&claim("job_workflow_ref"));
        let run = format!(
            "{repository}/actions/runs/{}/attempts/{}",
            claim("run_id"),
            claim("run_attempt")
        );
        Self::new(issuer, SubjectName::Uri(signer.clone())).with_all([
            (2, claim("event_name")),
            (3, claim("sha")),
            (4, claim("workflow")),
            (5, claim("repository")),
            (6, claim("ref")),
            (9, signer),
            (10, claim("job_workflow_sha")),
            (11, claim("runner_environment")),
            (12, repository),
            (13, claim("sha")),
            (14, claim("ref")),
            (15, claim("repository_id")),
            (16, at(&claim("repository_owner"))),
            (17, claim("repository_owner_id")),
            (18, at(&claim("workflow_ref"))),
            (19, claim("workflow_sha")),
            (20, claim("event_name")),
            (21, run),
            (22, claim("repository_visibility")),
            (23, claim("environment")),
            (24, claim("sub")),
        ])
    }

    /// A job of GitLab, whose issuer is its host's URL; `claims` are as of [`crate::claims::gitlab`].
    pub fn gitlab(issuer: &str, claims: &Claims) -> Self {
        let claim = |name: &str| claims.text(name).to_owned();
        let at = |path: &str| format!("{issuer}/{path}");
        let configuration = claim("ci_config_ref_uri");
        // GitLab's claim has no scheme.
        let configuration = if configuration.contains("://") {
            configuration
        } else {
            format!("https://{configuration}")
        };
        let project = at(&claim("project_path"));
        Self::new(issuer, SubjectName::Uri(configuration.clone())).with_all([
            (9, configuration.clone()),
            (10, claim("ci_config_sha")),
            (11, claim("runner_environment")),
            (12, project.clone()),
            (13, claim("sha")),
            (14, claim("ref_path")),
            (15, claim("project_id")),
            (16, at(&claim("namespace_path"))),
            (17, claim("namespace_id")),
            (18, configuration),
            (19, claim("ci_config_sha")),
            (20, claim("pipeline_source")),
            (21, format!("{project}/-/jobs/{}", claim("job_id"))),
            (22, claim("project_visibility")),
            (23, claim("environment")),
            (24, claim("sub")),
        ])
    }

    /// A service account of Google's; `claims` are as of [`crate::claims::google`].
    pub fn google(issuer: &str, claims: &Claims) -> Self {
        Self::new(issuer, SubjectName::Email(claims.text("email").to_owned()))
    }

    /// A job of CircleCI; `claims` are as of [`crate::claims::circleci`].
    pub fn circleci(issuer: &str, claims: &Claims) -> Self {
        let claim = |name: &str| claims.text(&format!("oidc.circleci.com/{name}")).to_owned();
        let definition = format!(
            "https://circleci.com/api/v2/projects/{}/pipeline-definitions/{}",
            claim("project-id"),
            claim("pipeline-definition-id")
        );
        let run = format!(
            "https://app.circleci.com/pipelines/workflow/{}/job/{}",
            claim("workflow-id"),
            claim("job-id")
        );
        Self::new(issuer, SubjectName::Uri(definition.clone())).with_all([
            (9, definition),
            (12, claim("vcs-origin")),
            (14, claim("vcs-ref")),
            (21, run),
            (24, claims.text("sub").to_owned()),
        ])
    }

    /// A job of Buildkite; `claims` are as of [`crate::claims::buildkite`].
    pub fn buildkite(issuer: &str, claims: &Claims) -> Self {
        let claim = |name: &str| claims.text(name).to_owned();
        let pipeline = format!(
            "https://buildkite.com/{}/{}",
            claim("organization_slug"),
            claim("pipeline_slug")
        );
        let run = format!("{pipeline}/builds/1#{}", claim("job_id"));
        Self::new(issuer, SubjectName::Uri(pipeline)).with_all([
            (11, claim("runner_environment")),
            (13, claim("build_commit")),
            (20, claim("build_source")),
            (21, run),
            (24, claim("sub")),
        ])
    }

    /// With these extensions, but for those that are empty: a job has no claim for them.
    fn with_all(mut self, extensions: impl IntoIterator<Item = (u8, String)>) -> Self {
        let given = extensions.into_iter().filter(|(_, text)| !text.is_empty());
        self.extensions.extend(given);
        self
    }

    /// With this extension, in place of one of the same number.
    pub fn with(mut self, number: u8, text: &str) -> Self {
        self.extensions.insert(number, text.to_owned());
        self
    }

    /// Without this extension.
    pub fn without(mut self, number: u8) -> Self {
        self.extensions.remove(&number);
        self
    }

    /// With this issuer in place of the right one.
    pub fn issued_by(self, issuer: &str) -> Self {
        self.with(1, issuer).with(8, issuer)
    }

    /// With this name in place of the right one.
    pub fn named(mut self, name: SubjectName) -> Self {
        self.name = name;
        self
    }

    /// The text of an extension; empty if it has none.
    pub fn extension(&self, number: u8) -> &str {
        self.extensions.get(&number).map_or("", String::as_str)
    }
}
