//! The environment in which CI systems run the steps of a job: their variables, the files through which steps speak to
//! the runner, and where a job gets its identity token. Nothing of this machine's own CI is passed on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::claims::Claims;
use crate::issuer::{Issuer, OidcServer};

/// The files through which a step of GitHub Actions (and Forgejo Actions) speaks to its runner.
const COMMAND_FILES: [&str; 5] = [
    "GITHUB_ENV",
    "GITHUB_OUTPUT",
    "GITHUB_PATH",
    "GITHUB_STATE",
    "GITHUB_STEP_SUMMARY",
];

/// Beginnings of variable names by which programs recognise a CI system or find its tokens.
const CI_PREFIXES: [&str; 10] = [
    "ACTIONS_",
    "BUILDKITE",
    "CI_",
    "CIRCLE",
    "COUNTERSIGN_",
    "FORGEJO_",
    "GITEA_",
    "GITHUB_",
    "GITLAB_",
    "RUNNER_",
];

/// A job's environment. Dropping it removes its files.
#[derive(Debug)]
pub struct Runner {
    folder: TempDir,
    variables: BTreeMap<String, String>,
    programs: Option<PathBuf>,
}

impl Runner {
    fn new() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("countersign-runner-")
            .tempdir()?;
        fs::create_dir(folder.path().join("work"))?;
        Ok(Self {
            folder,
            variables: BTreeMap::from([("CI".to_owned(), "true".to_owned())]),
            programs: None,
        })
    }

    /// A job of GitHub Actions with `permissions: id-token: write`, whose tokens have these claims (see
    /// [`crate::claims::github`]).
    pub fn github(server: &OidcServer, issuer: &Issuer, claims: &Claims) -> Result<Self> {
        let mut runner = Self::new()?;
        runner.actions(server, issuer, claims)?;
        runner.set("GITHUB_SERVER_URL", "https://github.com");
        Ok(runner)
    }

    /// A job of GitHub Actions without that permission: no token can be asked for.
    pub fn github_without_permission(claims: &Claims) -> Result<Self> {
        let mut runner = Self::new()?;
        runner.job_of_actions(claims)?;
        Ok(runner)
    }

    /// A job of Forgejo Actions, which speaks as GitHub's does.
    pub fn forgejo(server: &OidcServer, issuer: &Issuer, claims: &Claims) -> Result<Self> {
        let mut runner = Self::new()?;
        runner.actions(server, issuer, claims)?;
        runner.set("FORGEJO_ACTIONS", "true");
        runner.set("GITEA_ACTIONS", "true");
        runner.set("GITHUB_SERVER_URL", server.url());
        Ok(runner)
    }

    fn actions(&mut self, server: &OidcServer, issuer: &Issuer, claims: &Claims) -> Result<()> {
        self.job_of_actions(claims)?;
        let (url, bearer) = server.job(issuer, claims);
        self.set("ACTIONS_ID_TOKEN_REQUEST_URL", &url);
        self.set("ACTIONS_ID_TOKEN_REQUEST_TOKEN", &bearer);
        Ok(())
    }

    fn job_of_actions(&mut self, claims: &Claims) -> Result<()> {
        self.set("GITHUB_ACTIONS", "true");
        for (variable, claim) in [
            ("GITHUB_REPOSITORY", "repository"),
            ("GITHUB_REPOSITORY_OWNER", "repository_owner"),
            ("GITHUB_REF", "ref"),
            ("GITHUB_SHA", "sha"),
            ("GITHUB_EVENT_NAME", "event_name"),
            ("GITHUB_RUN_ID", "run_id"),
            ("GITHUB_WORKFLOW_REF", "workflow_ref"),
        ] {
            self.set(variable, claims.text(claim));
        }
        for name in COMMAND_FILES {
            let path = self.folder.path().join(name);
            fs::write(&path, "")?;
            self.set(name, path_text(&path)?);
        }
        let work = self.folder();
        self.set("GITHUB_WORKSPACE", path_text(&work)?);
        self.set("RUNNER_OS", "Linux");
        let temporary = self.folder.path().join("temp");
        fs::create_dir(&temporary)?;
        self.set("RUNNER_TEMP", path_text(&temporary)?);
        Ok(())
    }

    /// A job of GitLab whose `id_tokens` make the variable `variable` for that audience (see
    /// [`crate::claims::gitlab`]).
    pub fn gitlab(
        issuer: &Issuer,
        claims: &Claims,
        variable: &str,
        audience: &str,
    ) -> Result<Self> {
        let mut runner = Self::new()?;
        runner.set("GITLAB_CI", "true");
        for (variable, claim) in [
            ("CI_PROJECT_PATH", "project_path"),
            ("CI_PROJECT_NAMESPACE", "namespace_path"),
            ("CI_PROJECT_ID", "project_id"),
            ("CI_COMMIT_SHA", "sha"),
            ("CI_COMMIT_REF_NAME", "ref"),
            ("CI_PIPELINE_ID", "pipeline_id"),
            ("CI_JOB_ID", "job_id"),
        ] {
            runner.set(variable, claims.text(claim));
        }
        runner.set("CI_SERVER_URL", &issuer.url());
        let work = runner.folder();
        runner.set("CI_PROJECT_DIR", path_text(&work)?);
        runner.set(variable, &issuer.token(audience, claims)?);
        Ok(runner)
    }

    /// A job of CircleCI (see [`crate::claims::circleci`]): its fixed tokens have the organization as their audience,
    /// and `circleci run oidc get --claims '{"aud": …}'` gives one for `audience`.
    pub fn circleci(issuer: &Issuer, claims: &Claims, audience: &str) -> Result<Self> {
        let mut runner = Self::new()?;
        runner.set("CIRCLECI", "true");
        let organization = claims.text("oidc.circleci.com/org-id").to_owned();
        runner.set("CIRCLE_OIDC_TOKEN", &issuer.token(&organization, claims)?);
        runner.set(
            "CIRCLE_OIDC_TOKEN_V2",
            &issuer.token(&organization, claims)?,
        );
        let token = issuer.token(audience, claims)?;
        runner.program(
            "circleci",
            &format!(
                "case \"$*\" in\n'run oidc get '*'{audience}'*) printf '%s\\n' '{token}' ;;\n\
                 *) echo \"circleci: unknown: $*\" >&2; exit 2 ;;\nesac\n"
            ),
        )?;
        Ok(runner)
    }

    /// A job of Buildkite (see [`crate::claims::buildkite`]): `buildkite-agent oidc request-token --audience A` gives a
    /// token for `audience` and refuses any other.
    pub fn buildkite(issuer: &Issuer, claims: &Claims, audience: &str) -> Result<Self> {
        let mut runner = Self::new()?;
        runner.set("BUILDKITE", "true");
        for (variable, claim) in [
            ("BUILDKITE_ORGANIZATION_SLUG", "organization_slug"),
            ("BUILDKITE_PIPELINE_SLUG", "pipeline_slug"),
            ("BUILDKITE_JOB_ID", "job_id"),
            ("BUILDKITE_COMMIT", "build_commit"),
            ("BUILDKITE_BRANCH", "build_branch"),
        ] {
            runner.set(variable, claims.text(claim));
        }
        let token = issuer.token(audience, claims)?;
        runner.program(
            "buildkite-agent",
            &format!(
                "case \"$*\" in\n'oidc request-token '*'{audience}'*) printf '%s\\n' '{token}' ;;\n\
                 *) echo \"buildkite-agent: unknown: $*\" >&2; exit 2 ;;\nesac\n"
            ),
        )?;
        Ok(runner)
    }

    /// Puts a shell script of that name on the job's `PATH`.
    pub fn program(&mut self, name: &str, script: &str) -> Result<()> {
        let folder = self.folder.path().join("bin");
        fs::create_dir_all(&folder)?;
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        self.programs = Some(folder);
        Ok(())
    }

    /// Sets a variable of the job.
    pub fn set(&mut self, name: &str, value: &str) {
        self.variables.insert(name.to_owned(), value.to_owned());
    }

    /// A variable of the job.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// The job's working folder, where its checkout would be.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    /// Gives a command the job's environment and working folder, and takes this machine's own CI away from it. What the
    /// test sets besides is to be set afterwards.
    pub fn apply(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            let of_ci = CI_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            if of_ci || name == "CI" || name.ends_with("_ID_TOKEN") {
                command.env_remove(name.as_ref());
            }
        }
        command.envs(&self.variables).current_dir(self.folder());
        if let Some(programs) = &self.programs {
            let given = command
                .get_envs()
                .find(|(name, _)| *name == "PATH")
                .and_then(|(_, value)| value.map(ToOwned::to_owned));
            let mut path = programs.clone().into_os_string();
            if let Some(rest) = given.or_else(|| std::env::var_os("PATH")) {
                path.push(":");
                path.push(rest);
            }
            command.env("PATH", path);
        }
    }

    /// The outputs that steps have set so far.
    pub fn outputs(&self) -> Result<BTreeMap<String, String>> {
        Ok(assignments(&self.said_in("GITHUB_OUTPUT")?))
    }

    /// The variables that steps have exported to later steps so far.
    pub fn exports(&self) -> Result<BTreeMap<String, String>> {
        Ok(assignments(&self.said_in("GITHUB_ENV")?))
    }

    /// The job's summary so far.
    pub fn summary(&self) -> Result<String> {
        self.said_in("GITHUB_STEP_SUMMARY")
    }

    fn said_in(&self, file: &str) -> Result<String> {
        let path = self.folder.path().join(file);
        fs::read_to_string(&path).with_context(|| format!("this runner has no {file}"))
    }
}

fn path_text(path: &Path) -> Result<&str> {
    path.to_str()
        .with_context(|| format!("{} is no UTF-8", path.display()))
}

/// What an output asks its runner to hide from then on (`::add-mask::`).
pub fn masked(output: &str) -> Vec<&str> {
    output
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("::add-mask::"))
        .collect()
}

/// `NAME=VALUE` lines, and `NAME<<END`, lines of the value, `END`.
fn assignments(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let equals = line.find('=').unwrap_or(usize::MAX);
        match line.find("<<") {
            Some(at) if at < equals => {
                let end = &line[at + 2..];
                let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
                found.insert(line[..at].to_owned(), value.join("\n"));
            }
            _ => {
                if let Some((name, value)) = line.split_once('=') {
                    found.insert(name.to_owned(), value.to_owned());
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims;
    use crate::machine::{both_outputs, run};

    #[test]
    fn a_step_of_actions_sees_its_job_and_is_heard() {
        let server = OidcServer::start().unwrap();
        let issuer = server.issuer("github").unwrap();
        let runner = Runner::github(&server, &issuer, &claims::github("octo/sample", "r.yml"));
        let runner = runner.unwrap();
        let script = "echo one=1 >>\"$GITHUB_OUTPUT\"; printf 'two<<E\\na=b\\nc\\nE\\n' >>\"$GITHUB_OUTPUT\"\n\
                      echo T=x >>\"$GITHUB_ENV\"; echo '# Done' >>\"$GITHUB_STEP_SUMMARY\"\n\
                      echo \"::add-mask::secret\"; echo \"$GITHUB_REPOSITORY $GITLAB_CI\"; pwd";
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("GITLAB_CI", "true");
        runner.apply(&mut command);
        let said = both_outputs(&run(&mut command).unwrap());
        assert_eq!(masked(&said), ["secret"]);
        assert!(said.contains("octo/sample"), "{said}");
        let outputs = runner.outputs().unwrap();
        assert_eq!(
            (outputs["one"].as_str(), outputs["two"].as_str()),
            ("1", "a=b\nc")
        );
        assert_eq!(runner.exports().unwrap()["T"], "x");
        assert_eq!(runner.summary().unwrap(), "# Done\n");
    }

    #[test]
    fn agents_give_a_token_for_the_audience_they_were_made_for_only() {
        let server = OidcServer::start().unwrap();
        let issuer = server.issuer("buildkite").unwrap();
        let runner = Runner::buildkite(&issuer, &claims::buildkite("acme", "lib"), "https://us/");
        let runner = runner.unwrap();
        let ask = |audience: &str| {
            let mut command = Command::new("sh");
            command.args([
                "-c",
                "buildkite-agent oidc request-token --audience \"$0\"",
                audience,
            ]);
            runner.apply(&mut command);
            command.output().unwrap()
        };
        let given = ask("https://us/");
        assert!(given.status.success());
        assert_eq!(
            String::from_utf8(given.stdout)
                .unwrap()
                .trim()
                .split('.')
                .count(),
            3
        );
        assert_eq!(ask("https://others/").status.code(), Some(2));
    }
}
