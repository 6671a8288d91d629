//! What is known of each CI system from its public documentation: issuer, algorithms, claims, what a person is asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::claims::scalar;
use super::{Algorithm, Claims, Refused, Rule, quoted};

/// A CI system that signs OpenID Connect tokens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// GitHub Actions, also of GitHub Enterprise.
    Github,
    /// GitLab CI/CD, also self-managed.
    Gitlab,
    /// Service accounts of Google Cloud.
    Google,
    /// CircleCI.
    Circleci,
    /// Buildkite.
    Buildkite,
    /// Forgejo Actions, as on Codeberg.
    Forgejo,
    /// ActiveState.
    Activestate,
    /// Any other OpenID Connect issuer.
    Generic,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Github,
        Self::Gitlab,
        Self::Google,
        Self::Circleci,
        Self::Buildkite,
        Self::Forgejo,
        Self::Activestate,
        Self::Generic,
    ];

    /// The word for it in configuration, commands and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Github => "github",
            Self::Gitlab => "gitlab",
            Self::Google => "google",
            Self::Circleci => "circleci",
            Self::Buildkite => "buildkite",
            Self::Forgejo => "forgejo",
            Self::Activestate => "activestate",
            Self::Generic => "generic",
        }
    }

    /// Its name as people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Github => "GitHub Actions",
            Self::Gitlab => "GitLab CI/CD",
            Self::Google => "Google Cloud",
            Self::Circleci => "CircleCI",
            Self::Buildkite => "Buildkite",
            Self::Forgejo => "Forgejo Actions",
            Self::Activestate => "ActiveState",
            Self::Generic => "OpenID Connect",
        }
    }

    /// The issuer of its public service. CircleCI has one per organisation (see [`Provider::issuer_for`]), and
    /// `Generic` has none.
    pub fn issuer(self) -> Option<&'static str> {
        match self {
            Self::Github => Some("https://token.actions.githubusercontent.com"),
            Self::Gitlab => Some("https://gitlab.com"),
            Self::Google => Some("https://accounts.google.com"),
            Self::Buildkite => Some("https://agent.buildkite.com"),
            Self::Forgejo => Some("https://codeberg.org/api/actions"),
            Self::Activestate => Some("https://platform.activestate.com/api/v1/oauth/oidc"),
            Self::Circleci | Self::Generic => None,
        }
    }

    /// The issuer of its public service for what a person gave: [`Provider::issuer`], or CircleCI's for the field
    /// `organization_id`.
    pub fn issuer_for(self, fields: &BTreeMap<String, String>) -> Option<String> {
        match self {
            Self::Circleci => {
                let organization = fields.get("organization_id")?.trim().to_ascii_lowercase();
                is_uuid(&organization).then(|| format!("{CIRCLECI}{organization}"))
            }
            other => other.issuer().map(str::to_owned),
        }
    }

    /// Whether an issuer is one of its public service: the built-in URL, byte for byte, or CircleCI's URL with the
    /// UUID of an organisation.
    pub fn owns_issuer(self, url: &str) -> bool {
        match self {
            Self::Circleci => url.strip_prefix(CIRCLECI).is_some_and(is_uuid),
            other => other.issuer() == Some(url),
        }
    }

    /// The algorithms that its issuers are pinned to. The public services sign by RS256 only; Forgejo's operators
    /// and those of other issuers may choose, and there the type of the published key decides.
    pub fn algorithms(self) -> &'static [Algorithm] {
        match self {
            Self::Forgejo | Self::Generic => &Algorithm::ALL,
            _ => &[Algorithm::Rs256],
        }
    }

    /// The longest time from `iat` to `exp` that is accepted, in seconds.
    ///
    /// GitHub's tokens have been seen to live from 5 minutes to 6 hours, the longest time of a job. GitLab's live as
    /// long as the job may, which the project sets; a day covers all but exotic ones. Google's and CircleCI's live
    /// an hour. Buildkite's live 5 minutes unless the job asks for more. The others document no number: an hour, and
    /// 6 hours for issuers that an operator added deliberately.
    pub fn longest_life(self) -> i64 {
        const HOUR: i64 = 3600;
        match self {
            Self::Github | Self::Generic => 6 * HOUR,
            Self::Gitlab => 24 * HOUR,
            Self::Google | Self::Circleci | Self::Buildkite | Self::Forgejo | Self::Activestate => {
                HOUR
            }
        }
    }

    /// Whether its tokens always carry `jti`, so that one without it is not genuine.
    pub fn has_jti(self) -> bool {
        matches!(self, Self::Github | Self::Gitlab)
    }

    /// What a person is asked.
    pub fn fields(self) -> &'static [Field] {
        match self {
            Self::Github => GITHUB_FIELDS,
            Self::Gitlab => GITLAB_FIELDS,
            Self::Google => GOOGLE_FIELDS,
            Self::Circleci => CIRCLECI_FIELDS,
            Self::Buildkite => BUILDKITE_FIELDS,
            Self::Forgejo => FORGEJO_FIELDS,
            Self::Activestate => ACTIVESTATE_FIELDS,
            Self::Generic => &[],
        }
    }

    /// The claim by which the registrations that may fit a token are found.
    pub fn lookup_claim(self) -> Option<&'static str> {
        match self {
            Self::Github | Self::Forgejo => Some("repository"),
            Self::Gitlab => Some("project_path"),
            Self::Google => Some("email"),
            Self::Circleci => Some("oidc.circleci.com/project-id"),
            Self::Buildkite => Some("pipeline_slug"),
            Self::Activestate => Some("project"),
            Self::Generic => None,
        }
    }

    /// The claims that stay the same when a name is given up and taken by somebody else. Buildkite sends them only
    /// on request, older Forgejo not at all; CircleCI's registrations name such ids in the first place.
    pub fn pinned_claims(self) -> &'static [&'static str] {
        match self {
            Self::Github | Self::Forgejo => &["repository_owner_id", "repository_id"],
            Self::Gitlab => &["namespace_id", "project_id"],
            Self::Google => &["sub"],
            Self::Buildkite => &["organization_id", "pipeline_id"],
            Self::Activestate => &["organization_id", "project_id"],
            Self::Circleci | Self::Generic => &[],
        }
    }

    /// The look-up claim of a token, normalised as [`Registration::lookup`] is.
    pub fn lookup_of(self, claims: &Claims) -> Option<String> {
        let text = claims.text(self.lookup_claim()?)?;
        Some(self.lookup_form(&text))
    }

    /// Look-up values are lower case throughout: the rules decide whether case counts.
    pub(crate) fn lookup_form(self, text: &str) -> String {
        text.to_ascii_lowercase()
    }

    /// The claims of a token that say what was built where, in no particular order. No person's claims are among
    /// them: no actor, user, login or e-mail address, except Google's, which is that of a service account.
    fn kept_claims(self) -> &'static [&'static str] {
        match self {
            Self::Github => &[
                "repository",
                "repository_id",
                "repository_owner",
                "repository_owner_id",
                "repository_visibility",
                "workflow_ref",
                "workflow_sha",
                "job_workflow_ref",
                "job_workflow_sha",
                "ref",
                "ref_type",
                "ref_protected",
                "sha",
                "event_name",
                "environment",
                "runner_environment",
                "run_id",
                "run_number",
                "run_attempt",
            ],
            Self::Gitlab => &[
                "namespace_id",
                "namespace_path",
                "project_id",
                "project_path",
                "project_visibility",
                "ref",
                "ref_type",
                "ref_path",
                "ref_protected",
                "sha",
                "ci_config_ref_uri",
                "ci_config_sha",
                "pipeline_id",
                "pipeline_source",
                "job_id",
                "environment",
                "environment_protected",
                "deployment_tier",
                "runner_environment",
            ],
            Self::Google => &["email", "email_verified", "sub"],
            Self::Circleci => &[
                "oidc.circleci.com/org-id",
                "oidc.circleci.com/project-id",
                "oidc.circleci.com/pipeline-definition-id",
                "oidc.circleci.com/pipeline-id",
                "oidc.circleci.com/workflow-id",
                "oidc.circleci.com/job-id",
                "oidc.circleci.com/context-ids",
                "oidc.circleci.com/vcs-origin",
                "oidc.circleci.com/vcs-ref",
                "oidc.circleci.com/ssh-rerun",
            ],
            Self::Buildkite => &[
                "organization_slug",
                "organization_id",
                "pipeline_slug",
                "pipeline_id",
                "build_number",
                "build_branch",
                "build_tag",
                "build_commit",
                "build_source",
                "step_key",
                "job_id",
                "runner_environment",
            ],
            Self::Forgejo => &[
                "repository",
                "repository_id",
                "repository_owner",
                "repository_owner_id",
                "workflow",
                "workflow_ref",
                "ref",
                "ref_type",
                "ref_protected",
                "sha",
                "event_name",
                "run_id",
                "run_number",
                "run_attempt",
            ],
            Self::Activestate => &[
                "organization",
                "organization_id",
                "project",
                "project_id",
                "project_visibility",
                "builder",
                "artifact_id",
                "ingredient_id",
            ],
            Self::Generic => &["sub"],
        }
    }
}

impl std::fmt::Display for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Provider {
    type Err = Refused;

    /// The word of [`Provider::as_str`], exactly. The error names the choices.
    fn from_str(text: &str) -> Result<Self, Refused> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.as_str() == text)
            .ok_or_else(|| {
                Refused::new(
                    "publisher-invalid",
                    format!("{} is not a known kind of CI system", quoted(text)),
                    format!("use one of {}", Self::ALL.map(Self::as_str).join(", ")),
                )
            })
    }
}

/// The issuers of CircleCI's public service, up to the organisation.
const CIRCLECI: &str = "https://oidc.circleci.com/org/";

/// A UUID in lower-case hex with hyphens.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// One thing that a person is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Its name in commands and the API.
    pub name: &'static str,
    /// Its name in forms.
    pub label: &'static str,
    /// What it is, in a sentence or two.
    pub help: &'static str,
    /// An example.
    pub example: &'static str,
    /// Whether it must be given.
    pub required: bool,
}

const fn field(
    name: &'static str,
    label: &'static str,
    help: &'static str,
    example: &'static str,
    required: bool,
) -> Field {
    Field {
        name,
        label,
        help,
        example,
        required,
    }
}

const REF: Field = field(
    "ref",
    "Ref",
    "The branch or tag that may publish, in full; * is any text. Empty: any branch and tag, but no pull request.",
    "refs/tags/v*",
    false,
);
const OWNER: Field = field(
    "owner",
    "Owner",
    "The user or organisation that owns the repository.",
    "octo",
    true,
);
const REPOSITORY: Field = field(
    "repository",
    "Repository",
    "The repository's name; its whole URL does as well.",
    "sample",
    true,
);
const EVENTS: Field = field(
    "events",
    "Events",
    "The events that may start the job, with commas between. Empty: all but pull requests and those that run with the base branch's rights for them.",
    "push, release, workflow_dispatch",
    false,
);

const GITHUB_FIELDS: &[Field] = &[
    OWNER,
    REPOSITORY,
    field(
        "workflow",
        "Workflow file",
        "The file in .github/workflows/ that starts the publishing job. If the job calls a reusable workflow, \
         this is the caller.",
        "release.yml",
        true,
    ),
    field(
        "environment",
        "Environment",
        "The deployment environment of the publishing job. Advised: its reviewers and branch rules then protect \
         the release.",
        "release",
        false,
    ),
    field(
        "called_workflow",
        "Called workflow",
        "Only if the job runs in a reusable workflow of another repository: that file, with its full ref if it must \
         be that one.",
        "octo/shared/.github/workflows/publish.yml@refs/tags/v2",
        false,
    ),
    REF,
    field(
        "runner",
        "Runner",
        "github-hosted or self-hosted. Empty: any.",
        "github-hosted",
        false,
    ),
    field(
        "visibility",
        "Visibility",
        "public, private or internal: what the repository must be. Empty: any.",
        "public",
        false,
    ),
    EVENTS,
];

const GITLAB_FIELDS: &[Field] = &[
    field(
        "namespace",
        "Namespace",
        "The user or group with its subgroups that owns the project.",
        "octo/tools",
        true,
    ),
    field(
        "project",
        "Project",
        "The project's name in its URL; its whole URL does as well.",
        "sample",
        true,
    ),
    field(
        "workflow",
        "Pipeline file",
        "The top-level CI/CD configuration file in the project. Empty: .gitlab-ci.yml.",
        ".gitlab-ci.yml",
        false,
    ),
    field(
        "environment",
        "Environment",
        "The environment of the publishing job, exactly as written there: upper and lower case count.",
        "release",
        false,
    ),
    REF,
    field(
        "ref_protected",
        "Protected refs only",
        "true: only protected branches and tags may publish.",
        "true",
        false,
    ),
    field(
        "runner",
        "Runner",
        "gitlab-hosted or self-hosted. Empty: any.",
        "gitlab-hosted",
        false,
    ),
    field(
        "visibility",
        "Visibility",
        "public, private or internal: what the project must be. Empty: any.",
        "public",
        false,
    ),
    field(
        "events",
        "Pipeline sources",
        "What may start the pipeline, with commas between. Empty: all but merge requests.",
        "push, web",
        false,
    ),
];

const GOOGLE_FIELDS: &[Field] = &[
    field(
        "email",
        "Service account",
        "The e-mail address of the service account.",
        "release@sample.iam.gserviceaccount.com",
        true,
    ),
    field(
        "sub",
        "Unique ID",
        "The account's unique ID, so that an account made anew under the same address is refused.",
        "112233445566778899001",
        false,
    ),
];

const CIRCLECI_FIELDS: &[Field] = &[
    field(
        "organization_id",
        "Organization ID",
        "The organisation's UUID, from its settings. It is part of the issuer, so only needed where no issuer is given.",
        "11111111-2222-3333-4444-555555555555",
        false,
    ),
    field(
        "project_id",
        "Project ID",
        "The project's UUID, from its settings.",
        "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        true,
    ),
    field(
        "repository",
        "Repository",
        "The repository that is built, with its host: builds of forks name another one.",
        "github.com/octo/sample",
        true,
    ),
    field(
        "pipeline_definition_id",
        "Pipeline definition ID",
        "The UUID of the pipeline's definition, from the project's settings.",
        "99999999-8888-7777-6666-555555555555",
        false,
    ),
    field(
        "context_id",
        "Context ID",
        "The UUID of a context that the job must use; several with commas between must all be used.",
        "12121212-3434-5656-7878-909090909090",
        false,
    ),
    REF,
];

const BUILDKITE_FIELDS: &[Field] = &[
    field(
        "organization",
        "Organization",
        "The organisation's slug, as in its URL.",
        "octo",
        true,
    ),
    field(
        "pipeline",
        "Pipeline",
        "The pipeline's slug, as in its URL.",
        "sample",
        true,
    ),
    field(
        "branch",
        "Branch",
        "The branch that may publish; * is any text.",
        "main",
        false,
    ),
    field(
        "tag",
        "Tag",
        "The tag that may publish; * is any text.",
        "v*",
        false,
    ),
    field(
        "step",
        "Step",
        "The key of the publishing step.",
        "publish",
        false,
    ),
    field(
        "organization_id",
        "Organization ID",
        "The organisation's UUID. The job must ask for it by --claim organization_id.",
        "11111111-2222-3333-4444-555555555555",
        false,
    ),
    field(
        "pipeline_id",
        "Pipeline ID",
        "The pipeline's UUID. The job must ask for it by --claim pipeline_id.",
        "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        false,
    ),
];

const FORGEJO_FIELDS: &[Field] = &[
    OWNER,
    REPOSITORY,
    field(
        "workflow",
        "Workflow file",
        "The file that starts the publishing job, in .forgejo/workflows/ unless another folder is given.",
        "release.yml",
        true,
    ),
    REF,
    EVENTS,
];

const ACTIVESTATE_FIELDS: &[Field] = &[
    field(
        "organization",
        "Organization",
        "The organisation's name in its URL.",
        "octo",
        true,
    ),
    field(
        "project",
        "Project",
        "The project's name in its URL.",
        "sample",
        true,
    ),
    field(
        "actor_id",
        "Actor ID",
        "The UUID of the user who may start the publication.",
        "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        true,
    ),
];

/// Where the people of a provider see it: the base URL of GitHub's, GitLab's or Forgejo's pages for an issuer,
/// without a final slash. Other providers keep no repositories.
pub(crate) fn pages(provider: Provider, issuer: &str) -> Option<String> {
    let url = super::keys::issuer_url(issuer).ok()?;
    let trimmed = issuer.strip_suffix('/').unwrap_or(issuer);
    let origin = url.origin().ascii_serialization();
    match provider {
        Provider::Github => {
            let host = url.host_str()?;
            if host == "token.actions.githubusercontent.com" {
                // With a path it is the issuer of one enterprise, on the same site.
                return Some("https://github.com".to_owned());
            }
            if let Some(tenant) = host.strip_prefix("token.actions.")
                && tenant.ends_with(".ghe.com")
            {
                return Some(format!("https://{tenant}"));
            }
            Some(origin)
        }
        Provider::Gitlab => Some(trimmed.to_owned()),
        Provider::Forgejo => Some(
            trimmed
                .strip_suffix("/api/actions")
                .map_or(origin, str::to_owned),
        ),
        _ => None,
    }
}

/// Where a provider's own questions are answered: the base URL of its REST interface.
pub(crate) fn rest(provider: Provider, issuer: &str) -> Option<String> {
    let pages = pages(provider, issuer)?;
    match provider {
        Provider::Github => {
            let host = Url::parse(&pages).ok()?.host_str()?.to_owned();
            if host == "github.com" || host.ends_with(".ghe.com") {
                Some(format!("https://api.{host}"))
            } else {
                Some(format!("{pages}/api/v3"))
            }
        }
        Provider::Gitlab => Some(format!("{pages}/api/v4")),
        Provider::Forgejo => Some(format!("{pages}/api/v1")),
        _ => None,
    }
}

/// Claims about a person, which are never kept, whatever the rules name.
const PERSONAL: &[&str] = &[
    "actor",
    "actor_id",
    "birthdate",
    "email",
    "family_name",
    "gender",
    "given_name",
    "middle_name",
    "name",
    "nickname",
    "phone_number",
    "picture",
    "preferred_username",
    "profile",
    "user_email",
    "user_id",
    "user_identities",
    "user_login",
    "username",
];

/// Is this claim of that provider's tokens about a person, so that its value must not be kept? Google's `email` is not:
/// it is that of a service account.
pub fn is_personal(provider: Provider, claim: &str) -> bool {
    PERSONAL.contains(&claim) && !provider.kept_claims().contains(&claim)
}

/// The longest kept claim, in bytes.
const MAX_KEPT: usize = 1024;

/// The claims that are kept with a token and with a file: those that say what was built where and by which run, and
/// those that further rules name, but none about a person. Lists are joined by commas. A claim of more than 1024
/// bytes is left out.
pub fn snapshot(provider: Provider, claims: &Claims, rules: &[Rule]) -> BTreeMap<String, String> {
    let known = provider.kept_claims();
    let named = rules.iter().map(|rule| rule.claim.as_str());
    known
        .iter()
        .copied()
        .chain(named)
        .filter(|claim| !is_personal(provider, claim))
        .filter_map(|claim| {
            let text = match claims.get(claim)? {
                Value::Array(list) => list
                    .iter()
                    .map(scalar)
                    .collect::<Option<Vec<_>>>()?
                    .join(", "),
                one => scalar(one)?,
            };
            (text.len() <= MAX_KEPT).then(|| (claim.to_owned(), text))
        })
        .collect()
}

/// The deployment environment of a claims snapshot, if the provider has the notion.
pub fn environment(provider: Provider, claims: &BTreeMap<String, String>) -> Option<String> {
    match provider {
        Provider::Github | Provider::Gitlab => claims.get("environment").cloned(),
        _ => None,
    }
}
