//! What the tokens of CI providers say, by the providers' public documentation of their claims. A template is a whole
//! and consistent set of one job; tests change single claims of it.
//!
//! `iss`, `aud`, `iat`, `nbf`, `exp` and `jti` are added when a token is signed (see [`crate::issuer::Issuer`]),
//! unless a test has set them; [`Claims::without`] keeps one of them away.

use serde_json::{Map, Value, json};

/// Claims of a token to be signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    members: Map<String, Value>,
    /// Seconds from `iat` to `exp`.
    life: i64,
    /// Whether the provider gives its tokens a `jti`.
    has_jti: bool,
}

impl Claims {
    /// None yet; the token lives for ten minutes and has a `jti`.
    pub fn new() -> Self {
        Self {
            members: Map::new(),
            life: 600,
            has_jti: true,
        }
    }

    fn of(members: Value, life: i64, has_jti: bool) -> Self {
        let members = match members {
            Value::Object(members) => members,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        Self {
            members,
            life,
            has_jti,
        }
    }

    /// With this claim, in place of one of the same name.
    pub fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// Without this claim, also if it is one that signing would add.
    pub fn without(self, name: &str) -> Self {
        self.set(name, Value::Null)
    }

    /// A claim's text; empty if it has none or is no text.
    pub fn text(&self, name: &str) -> &str {
        self.members
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// What was set, as a JSON object.
    pub fn json(&self) -> Value {
        Value::Object(self.members.clone())
    }

    /// All of it, with what every token of an issuer has. `now` is in seconds since 1970.
    pub(crate) fn payload(&self, issuer: &str, audience: &str, now: i64, id: String) -> Value {
        let mut payload = self.members.clone();
        let mut add = |name: &str, value: Value| {
            payload.entry(name.to_owned()).or_insert(value);
        };
        add("iss", json!(issuer));
        add("aud", json!(audience));
        add("iat", json!(now));
        add("nbf", json!(now));
        add("exp", json!(now + self.life));
        if self.has_jti {
            add("jti", json!(id));
        }
        payload.retain(|_, value| !value.is_null());
        Value::Object(payload)
    }
}

impl Default for Claims {
    fn default() -> Self {
        Self::new()
    }
}

/// A job of GitHub Actions: a push of the tag `v1.0` in a public repository `repository` (`owner/name`), of the
/// workflow file `workflow`, on a runner of GitHub, without an environment.
pub fn github(repository: &str, workflow: &str) -> Claims {
    let (owner, _) = repository.split_once('/').unwrap_or((repository, ""));
    let reference = "refs/tags/v1.0";
    let workflow_ref = format!("{repository}/.github/workflows/{workflow}@{reference}");
    let commit = "7b1fd5d2f37f4e5fa65a7b5d1c6d2e1f0a9b8c7d";
    let members = json!({
        "sub": format!("repo:{repository}:ref:{reference}"),
        "ref": reference,
        "ref_type": "tag",
        "ref_protected": "false",
        "sha": commit,
        "repository": repository,
        "repository_id": "74001",
        "repository_owner": owner,
        "repository_owner_id": "65001",
        "repository_visibility": "public",
        "actor": "octocat",
        "actor_id": "12",
        "workflow": "Release",
        "workflow_ref": workflow_ref,
        "workflow_sha": commit,
        "job_workflow_ref": workflow_ref,
        "job_workflow_sha": commit,
        "head_ref": "",
        "base_ref": "",
        "event_name": "push",
        "run_id": "30433642",
        "run_number": "10",
        "run_attempt": "2",
        "runner_environment": "github-hosted",
        "enterprise": "",
        "check_run_id": "1234567",
    });
    Claims::of(members, 300, true)
}

/// As [`github`], in the job's environment `environment`.
pub fn github_in_environment(repository: &str, workflow: &str, environment: &str) -> Claims {
    github(repository, workflow)
        .set("environment", environment)
        .set(
            "sub",
            format!("repo:{repository}:environment:{environment}"),
        )
}

/// As [`github`], for the pull request 7, also one that comes from a fork: names and ids are the base repository's.
pub fn github_pull_request(repository: &str, workflow: &str) -> Claims {
    let reference = "refs/pull/7/merge";
    let workflow_ref = format!("{repository}/.github/workflows/{workflow}@{reference}");
    github(repository, workflow)
        .set("sub", format!("repo:{repository}:pull_request"))
        .set("event_name", "pull_request")
        .set("ref", reference)
        .set("ref_type", "branch")
        .set("head_ref", "a-change")
        .set("base_ref", "main")
        .set("workflow_ref", workflow_ref.clone())
        .set("job_workflow_ref", workflow_ref)
}

/// As [`github`], for an event that runs on the base branch with a stranger's input: `pull_request_target` or
/// `workflow_run`.
pub fn github_on_base_branch(repository: &str, workflow: &str, event: &str) -> Claims {
    let reference = "refs/heads/main";
    let workflow_ref = format!("{repository}/.github/workflows/{workflow}@{reference}");
    github(repository, workflow)
        .set("sub", format!("repo:{repository}:ref:{reference}"))
        .set("event_name", event)
        .set("ref", reference)
        .set("ref_type", "branch")
        .set("workflow_ref", workflow_ref.clone())
        .set("job_workflow_ref", workflow_ref)
}

/// As [`github`], where the job is in the reusable workflow `called` (`owner/name/.github/workflows/file@ref`).
pub fn github_reusable(repository: &str, workflow: &str, called: &str) -> Claims {
    github(repository, workflow).set("job_workflow_ref", called)
}

/// As [`github`], on a runner of the repository's own.
pub fn github_self_hosted(repository: &str, workflow: &str) -> Claims {
    github(repository, workflow).set("runner_environment", "self-hosted")
}

/// A job of GitLab at the host `host`: a push of the tag `v1.0` in the public project `project` (`group/name`), of
/// `.gitlab-ci.yml`, in the environment `environment` if one is given.
pub fn gitlab(host: &str, project: &str, environment: Option<&str>) -> Claims {
    let namespace = project.rsplit_once('/').map_or("", |(group, _)| group);
    let mut members = json!({
        "namespace_id": "72",
        "namespace_path": namespace,
        "project_id": "20",
        "project_path": project,
        "user_id": "1",
        "user_login": "sample-user",
        "user_email": "sample-user@example.com",
        "user_access_level": "maintainer",
        "pipeline_id": "574",
        "pipeline_source": "push",
        "job_id": "302",
        "ref": "v1.0",
        "ref_type": "tag",
        "ref_path": "refs/tags/v1.0",
        "ref_protected": "true",
        "groups_direct": [namespace],
        "runner_id": 1,
        "runner_environment": "gitlab-hosted",
        "sha": "5d41402abc4b2a76b9719d911017c592aaaabbbb",
        "project_visibility": "public",
        "ci_config_ref_uri": format!("{host}/{project}//.gitlab-ci.yml@refs/tags/v1.0"),
        "ci_config_sha": "5d41402abc4b2a76b9719d911017c592aaaabbbb",
        "sub": format!("project_path:{project}:ref_type:tag:ref:v1.0"),
    });
    if let (Some(environment), Some(members)) = (environment, members.as_object_mut()) {
        members.insert("environment".to_owned(), json!(environment));
        members.insert("environment_protected".to_owned(), json!("true"));
        members.insert("deployment_tier".to_owned(), json!("production"));
        members.insert("environment_action".to_owned(), json!("start"));
    }
    Claims::of(members, 3600, true)
}

/// An identity token of a Google service account.
pub fn google(email: &str) -> Claims {
    let members = json!({
        "sub": "110300009813738675309",
        "azp": "110300009813738675309",
        "email": email,
        "email_verified": true,
    });
    Claims::of(members, 3600, false)
}

/// A job of CircleCI for the tag `v1.0`, of the organization and project with these UUIDs.
pub fn circleci(organization: &str, project: &str) -> Claims {
    let user = "0e2b7a54-6c1d-4a0f-9a55-3f6d1c6f8a11";
    let origin = "github.com/octo/sample";
    let members = json!({
        "sub": format!(
            "org/{organization}/project/{project}/user/{user}/vcs-origin/{origin}/vcs-ref/refs/tags/v1.0"
        ),
        "oidc.circleci.com/org-id": organization,
        "oidc.circleci.com/project-id": project,
        "oidc.circleci.com/context-ids": ["6b2f6a8e-54c3-43c6-8e5e-9e2c0c7b9d10"],
        "oidc.circleci.com/job-id": "0a1b2c3d-0000-4000-8000-00000000000a",
        "oidc.circleci.com/workflow-id": "0a1b2c3d-0000-4000-8000-00000000000b",
        "oidc.circleci.com/pipeline-id": "0a1b2c3d-0000-4000-8000-00000000000c",
        "oidc.circleci.com/pipeline-definition-id": "0a1b2c3d-0000-4000-8000-00000000000d",
        "oidc.circleci.com/ssh-rerun": false,
        "oidc.circleci.com/vcs-origin": origin,
        "oidc.circleci.com/vcs-ref": "refs/tags/v1.0",
    });
    Claims::of(members, 3600, false)
}

/// A job of Buildkite on the branch `main` of a pipeline, with the optional ids in the token.
pub fn buildkite(organization: &str, pipeline: &str) -> Claims {
    let commit = "3a5c0e9f1b7d24680ace13579bdf02468ace1357";
    let members = json!({
        "sub": format!("organization:{organization}:pipeline:{pipeline}:ref:refs/heads/main:commit:{commit}:step:publish"),
        "organization_slug": organization,
        "organization_id": "0190a1b2-0000-7000-8000-00000000c0de",
        "pipeline_slug": pipeline,
        "pipeline_id": "0190a1b2-0000-7000-8000-00000000beef",
        "build_number": 1,
        "build_branch": "main",
        "build_commit": commit,
        "build_source": "webhook",
        "step_key": "publish",
        "job_id": "0190a1b2-0000-7000-8000-0000000000a1",
        "agent_id": "0190a1b2-0000-7000-8000-0000000000a2",
        "runner_environment": "self-hosted",
    });
    Claims::of(members, 300, false)
}

/// A job of Forgejo Actions: a push of the tag `v1.0` in `repository` (`owner/name`), of the workflow file `workflow`.
pub fn forgejo(repository: &str, workflow: &str) -> Claims {
    let (owner, _) = repository.split_once('/').unwrap_or((repository, ""));
    let reference = "refs/tags/v1.0";
    let members = json!({
        "sub": format!("repo:{repository}:ref:{reference}"),
        "ref": reference,
        "ref_type": "tag",
        "ref_protected": "false",
        "sha": "2c26b46b68ffc68ff99b453c1d30413413422d70",
        "repository": repository,
        "repository_id": "456789",
        "repository_owner": owner,
        "repository_owner_id": "123456",
        "actor": "ada",
        "actor_id": "31",
        "workflow": workflow,
        "workflow_ref": format!("{repository}/.forgejo/workflows/{workflow}@{reference}"),
        "head_ref": "",
        "base_ref": "",
        "event_name": "push",
        "run_id": "4411",
        "run_number": "17",
        "run_attempt": "1",
    });
    Claims::of(members, 3600, true)
}

/// A build of ActiveState's own publisher for a project of an organization.
pub fn activestate(organization: &str, project: &str) -> Claims {
    let members = json!({
        "sub": format!("org:{organization}:project:{project}"),
        "organization": organization,
        "organization_id": "00000000-0000-1000-8000-000000000003",
        "project": project,
        "project_id": "00000000-0000-1000-8000-000000000004",
        "project_path": format!("{organization}/{project}"),
        "project_visibility": "public",
        "actor": "ada",
        "actor_id": "00000000-0000-1000-8000-000000000002",
        "builder": "pypi-publisher",
        "ingredient": "sample",
        "artifact_id": "00000000-0000-1000-8000-000000000001",
    });
    Claims::of(members, 3600, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_test_sets_or_takes_away_is_not_put_back_by_signing() {
        let claims = github("octo/sample", "release.yml")
            .set("exp", 5)
            .without("jti")
            .without("nbf");
        let payload = claims.payload("https://i", "a", 1000, "id".to_owned());
        assert_eq!(payload["exp"], 5);
        assert_eq!(payload["iat"], 1000);
        assert_eq!(payload["iss"], "https://i");
        assert_eq!(payload["repository_owner"], "octo");
        assert!(payload.get("jti").is_none() && payload.get("nbf").is_none());
        assert!(
            google("a@example.org")
                .payload("i", "a", 0, String::new())
                .get("jti")
                .is_none()
        );
    }
}
