//! The CI system that this process runs in: how it is recognised, and how it is asked for a token that says who we are.
//!
//! Nothing here prints or stores a token. What a token claims is read only to tell the person who runs the job, and
//! to keep a token that is meant for somebody else from being sent to this registry.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use countersign_trust::oidc::{MAX_TOKEN_BYTES, Unverified};
use reqwest::Method;
use serde::Serialize;
use url::Url;

use crate::failure::{Exit, Failure, Result, plain};
use crate::remote::Remote;

/// The variable that hands over a token in any CI system, and the default name in GitLab's `id_tokens`.
pub const TOKEN_VARIABLE: &str = "COUNTERSIGN_ID_TOKEN";
/// The names that GitLab jobs written for other registries use.
const GITLAB_FALLBACK: &str = "PYPI_ID_TOKEN";
const GITLAB_FALLBACK_OF_NPM: &str = "NPM_ID_TOKEN";
const REQUEST_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const REQUEST_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

/// How environment variables are looked up; tests hand in their own.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The variables of this process; empty ones count as missing.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A CI system that gives its jobs an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ci {
    /// GitHub Actions, also of an enterprise server.
    Github,
    /// Forgejo Actions, as on Codeberg.
    Forgejo,
    /// GitLab CI, also self-managed.
    Gitlab,
    /// CircleCI.
    Circleci,
    /// Buildkite.
    Buildkite,
}

impl fmt::Display for Ci {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Github => "GitHub Actions",
            Self::Forgejo => "Forgejo Actions",
            Self::Gitlab => "GitLab CI",
            Self::Circleci => "CircleCI",
            Self::Buildkite => "Buildkite",
        })
    }
}

impl Ci {
    /// The CI system around this process, and the variable that shows it.
    pub fn around(variables: Variables<'_>) -> Option<(Self, &'static str)> {
        // Forgejo first: it sets GITHUB_ACTIONS too, for workflows that were written for GitHub.
        [
            (Self::Forgejo, "FORGEJO_ACTIONS"),
            (Self::Forgejo, "GITEA_ACTIONS"),
            (Self::Github, "GITHUB_ACTIONS"),
            (Self::Gitlab, "GITLAB_CI"),
            (Self::Circleci, "CIRCLECI"),
            (Self::Buildkite, "BUILDKITE"),
        ]
        .into_iter()
        .find(|(_, name)| variables(name).as_deref() == Some("true"))
    }

    fn program(self, words: &[&str]) -> Source {
        Source::Program {
            ci: self,
            words: words.iter().map(|word| (*word).to_owned()).collect(),
        }
    }

    /// What CircleCI sets besides; its audience fits only where an organisation set it so.
    fn stand_in(self, variables: Variables<'_>) -> Option<String> {
        match self {
            Self::Circleci => {
                variables("CIRCLE_OIDC_TOKEN_V2").or_else(|| variables("CIRCLE_OIDC_TOKEN"))
            }
            _ => None,
        }
    }

    /// Whether it reads GitHub's workflow commands and step summaries.
    pub fn reads_workflow_commands(self) -> bool {
        matches!(self, Self::Github | Self::Forgejo)
    }
}

/// Where a token comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// A file that somebody else wrote.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// The runner's token endpoint, which wants the bearer secret of the job.
    Endpoint {
        /// Its address, without the audience.
        url: String,
        /// The job's own secret.
        bearer: String,
    },
    /// A command of the CI system, for this audience.
    Program {
        /// Whose it is.
        ci: Ci,
        /// The command and its arguments.
        words: Vec<String>,
    },
}

impl fmt::Display for Source {
    /// Where, never the token or the bearer secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Variable(name) => write!(f, "the variable {name}"),
            Self::Endpoint { .. } => write!(f, "the runner's endpoint in {REQUEST_URL}"),
            Self::Program { words, .. } => write!(f, "the command `{}`", words.join(" ")),
        }
    }
}

impl Source {
    /// Where this job gets a token for `audience`: the file that was named, the variable that means one in any CI,
    /// or the CI system's own way. `None` where nothing gives one and no CI system is around.
    ///
    /// # Errors
    /// In a CI system that could give an identity but does not give one to this job; the remedy is what to write
    /// into the job.
    pub fn find(
        file: Option<&Path>,
        ci: Option<Ci>,
        audience: &str,
        variables: Variables<'_>,
    ) -> Result<Option<Self>> {
        if let Some(path) = file {
            return Ok(Some(Self::File(path.to_owned())));
        }
        let named = |name: &str| {
            variables(name)
                .is_some()
                .then(|| Self::Variable(name.to_owned()))
        };
        if let Some(given) = named(TOKEN_VARIABLE) {
            return Ok(Some(given));
        }
        let Some(ci) = ci else {
            return Ok(None);
        };
        Ok(Some(match ci {
            Ci::Github | Ci::Forgejo => match (variables(REQUEST_URL), variables(REQUEST_TOKEN)) {
                (Some(url), Some(bearer)) => Self::Endpoint { url, bearer },
                _ => return Err(without_permission(ci)),
            },
            Ci::Gitlab => {
                let derived = audience_variable(audience);
                named(&derived)
                    .or_else(|| named(fallback(audience)))
                    .ok_or_else(|| without_id_tokens(&derived, audience))?
            }
            Ci::Circleci => ci.program(&[
                "circleci",
                "run",
                "oidc",
                "get",
                "--claims",
                &serde_json::json!({"aud": audience}).to_string(),
            ]),
            // The two ids are not in a token unless they are asked for, and a publisher may be pinned to them.
            Ci::Buildkite => ci.program(&[
                "buildkite-agent",
                "oidc",
                "request-token",
                "--claim",
                "organization_id",
                "--claim",
                "pipeline_id",
                "--audience",
                audience,
            ]),
        }))
    }

    /// Whether asking again gives another token. A token is good for one exchange only.
    pub fn gives_fresh_tokens(&self) -> bool {
        matches!(self, Self::Endpoint { .. } | Self::Program { .. })
    }

    /// Gets a token for `audience` and reads it; nothing in it is verified here. `say` hears when the runner has to be
    /// asked again.
    ///
    /// # Errors
    /// Exit 1 where the CI system does not give one, exit 2 for what is no token, or is one for another audience.
    pub fn token(
        &self,
        audience: &str,
        ca: Option<&[u8]>,
        variables: Variables<'_>,
        say: &dyn Fn(&str),
    ) -> Result<IdToken> {
        let text = match self {
            Self::File(path) => token_from_file(path)?,
            Self::Variable(name) => variables(name).ok_or_else(|| {
                Failure::new(
                    Exit::Usage,
                    "identity-missing",
                    format!("{name} is not set."),
                )
            })?,
            Self::Endpoint { url, bearer } => from_endpoint(url, bearer, audience, ca, say)?,
            Self::Program { ci, words } => match (from_program(*ci, words), ci.stand_in(variables))
            {
                (Ok(token), _) | (Err(_), Some(token)) => token,
                (Err(failure), None) => return Err(failure),
            },
        };
        IdToken::read(text, audience, self)
    }
}

/// A job whose runner offers no endpoint to ask for a token.
fn without_permission(ci: Ci) -> Failure {
    let missing = format!("{REQUEST_URL} and {REQUEST_TOKEN} are not set");
    no_identity(ci, &missing).remedy(if ci == Ci::Forgejo {
        "Add to the workflow file, at the top level:\n  enable-openid-connect: true"
    } else {
        "Add to the job (not to the whole workflow):\n  permissions:\n    id-token: write\n\
         A pull request from a fork never gets an identity."
    })
}

/// What GitLab jobs that publish with other clients call the token.
fn fallback(audience: &str) -> &'static str {
    match audience.starts_with("npm:") {
        true => GITLAB_FALLBACK_OF_NPM,
        false => GITLAB_FALLBACK,
    }
}

/// A job of GitLab with no variable for this audience.
fn without_id_tokens(derived: &str, audience: &str) -> Failure {
    let other = fallback(audience);
    let missing = format!("none of {TOKEN_VARIABLE}, {derived} and {other} is set");
    no_identity(Ci::Gitlab, &missing).remedy(format!(
        "Add to the job:\n  id_tokens:\n    {TOKEN_VARIABLE}:\n      aud: {audience}"
    ))
}

fn no_identity(ci: Ci, missing: &str) -> Failure {
    Failure::new(
        Exit::Usage,
        "identity-missing",
        format!("{ci} gives this job no identity: {missing}."),
    )
}

/// The name that other publishing clients give to the variable with a token for this audience.
pub fn audience_variable(audience: &str) -> String {
    let name: String = audience
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("{name}_ID_TOKEN")
}

/// A token of a CI system, read but not verified. It has no `Debug`: it is a secret until it is exchanged.
pub struct IdToken {
    text: String,
    claims: Vec<(String, String)>,
    issuer: String,
}

impl IdToken {
    /// Takes the token apart and looks whom it is for.
    ///
    /// # Errors
    /// Exit 2 for what is no token, or is one for another audience.
    fn read(text: String, audience: &str, source: &Source) -> Result<Self> {
        let text = text.trim().to_owned();
        let unverified = Unverified::parse(&text).map_err(|refused| {
            let mut failure = Failure::from(refused);
            failure.message = format!(
                "What {source} gives is no identity token. {}",
                failure.message
            );
            failure
        })?;
        let held = unverified.claims();
        let intended = held.get("aud");
        if intended.and_then(serde_json::Value::as_str) != Some(audience) {
            let seen =
                intended.map_or_else(|| "nobody".to_owned(), |value| plain(&value.to_string()));
            return Err(Failure::new(
                Exit::Usage,
                "identity-audience",
                format!("The token from {source} is meant for {seen}, not for {audience:?}, and was not sent anywhere."),
            )
            .remedy(format!("Ask for a token with just the audience {audience}, as one text; in GitLab that is `aud:` below the variable in id_tokens, in CircleCI `circleci run oidc get --claims`.")));
        }
        let claims = held
            .as_map()
            .iter()
            .map(|(name, value)| {
                let shown = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                (plain(name), plain(&shown).chars().take(300).collect())
            })
            .collect();
        Ok(Self {
            claims,
            issuer: plain(unverified.issuer()),
            text,
        })
    }

    /// The token, for the exchange and nothing else.
    pub fn secret(&self) -> &str {
        &self.text
    }

    /// Who says so, unverified.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// What it claims, unverified, as plain text in the order of the names.
    pub fn claims(&self) -> &[(String, String)] {
        &self.claims
    }
}

/// Reads a token from a file, or from standard input where it is `-`.
///
/// # Errors
/// Exit 2 where nothing can be read, or too much.
pub fn token_from_file(path: &Path) -> Result<String> {
    let unusable = |why: String| {
        Failure::new(
            Exit::Usage,
            "identity-file",
            format!("The token in {} can not be used: {why}.", path.display()),
        )
    };
    let mut text = String::new();
    let read = |reader: &mut dyn Read, text: &mut String| {
        reader
            .take(MAX_TOKEN_BYTES as u64 + 2)
            .read_to_string(text)
            .map_err(|error| unusable(error.to_string()))
    };
    if path == Path::new("-") {
        read(&mut std::io::stdin().lock(), &mut text)?;
    } else {
        let mut file = File::open(path).map_err(|error| unusable(error.to_string()))?;
        read(&mut file, &mut text)?;
    }
    if text.trim().is_empty() {
        return Err(unusable("it is empty".to_owned()));
    }
    Ok(text)
}

fn from_endpoint(
    address: &str,
    bearer: &str,
    audience: &str,
    ca: Option<&[u8]>,
    say: &dyn Fn(&str),
) -> Result<String> {
    let failed = |why: String| {
        Failure::new(
            Exit::Environment,
            "identity-request",
            format!("The runner gives no identity token: {why}"),
        )
        .remedy("Run the job again; where this stays, look at the status page of the CI system.")
    };
    let unusable = |error| failed(format!("{REQUEST_URL} is no address ({error})."));
    let mut url = Url::parse(address).map_err(unusable)?;
    url.query_pairs_mut().append_pair("audience", audience);
    let base = url.join("/").map_err(unusable)?;
    let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
    let answer = Remote::new(&base, Some(bearer.to_owned()), ca)
        .and_then(|remote| remote.call_again(Method::GET, &path, || Ok(None), say))
        .map_err(|failure| failed(failure.message))?;
    answer["value"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| failed("its answer has no value.".to_owned()))
}

fn from_program(ci: Ci, words: &[String]) -> Result<String> {
    let shown = words.join(" ");
    let failed = |why: String| {
        let failure = Failure::new(
            Exit::Environment,
            "identity-program",
            format!("`{shown}` gives no identity token: {why}."),
        );
        match ci {
            Ci::Circleci => failure.remedy("It is there in every job of CircleCI's own cloud, and on servers from version 4.4 on. Builds of forks get no identity."),
            Ci::Buildkite => failure.remedy("Make buildkite-agent reachable in the job: in a container, mount it and propagate the environment."),
            Ci::Github | Ci::Forgejo | Ci::Gitlab => failure,
        }
    };
    let Some((program, arguments)) = words.split_first() else {
        return Err(failed("there is no command".to_owned()));
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let mut text = String::new();
    let read = child.stdout.take().map(|out| {
        out.take(MAX_TOKEN_BYTES as u64 + 2)
            .read_to_string(&mut text)
    });
    let status = child.wait().map_err(|error| failed(error.to_string()))?;
    if let Some(Err(error)) = read {
        return Err(failed(error.to_string()));
    }
    if status.success() {
        Ok(text)
    } else {
        Err(failed(format!("it ended with {status}")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const AUDIENCE: &str = "https://registry.example:8417/pypi";

    fn variables(set: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
        let set: BTreeMap<String, String> = set
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        move |name| set.get(name).cloned()
    }

    fn found(set: &[(&str, &str)]) -> std::result::Result<Option<String>, Failure> {
        let variables = variables(set);
        let ci = Ci::around(&variables).map(|(ci, _)| ci);
        Source::find(None, ci, AUDIENCE, &variables).map(|source| source.map(|it| it.to_string()))
    }

    #[test]
    fn each_system_is_known_by_its_variable() {
        for (set, ci) in [
            (&[("GITHUB_ACTIONS", "true")][..], Some(Ci::Github)),
            (
                &[("GITHUB_ACTIONS", "true"), ("FORGEJO_ACTIONS", "true")],
                Some(Ci::Forgejo),
            ),
            (
                &[("GITHUB_ACTIONS", "true"), ("GITEA_ACTIONS", "true")],
                Some(Ci::Forgejo),
            ),
            (&[("GITLAB_CI", "true")], Some(Ci::Gitlab)),
            (&[("CIRCLECI", "true")], Some(Ci::Circleci)),
            (&[("BUILDKITE", "true")], Some(Ci::Buildkite)),
            (&[("CI", "true"), ("GITHUB_ACTIONS", "false")], None),
        ] {
            assert_eq!(Ci::around(&variables(set)).map(|(ci, _)| ci), ci, "{set:?}");
        }
    }

    #[test]
    fn the_token_that_was_handed_over_comes_before_the_systems_own() {
        let github = [
            ("GITHUB_ACTIONS", "true"),
            (REQUEST_URL, "https://runner.example/token?v=2"),
            (REQUEST_TOKEN, "secret-of-the-job"),
        ];
        let source = found(&github).unwrap().unwrap();
        assert_eq!(
            source,
            "the runner's endpoint in ACTIONS_ID_TOKEN_REQUEST_URL"
        );
        let handed = [&github[..], &[(TOKEN_VARIABLE, "x")]].concat();
        let source = found(&handed).unwrap().unwrap();
        assert_eq!(source, "the variable COUNTERSIGN_ID_TOKEN");
        let file = Source::find(Some(Path::new("t")), None, AUDIENCE, &variables(&handed)).unwrap();
        assert!(file == Some(Source::File("t".into())));
        assert!(found(&[]).unwrap().is_none());
    }

    #[test]
    fn gitlab_has_three_names_and_says_them() {
        let derived = "HTTPS___REGISTRY_EXAMPLE_8417_PYPI_ID_TOKEN";
        assert_eq!(audience_variable(AUDIENCE), derived);
        for name in [TOKEN_VARIABLE, derived, GITLAB_FALLBACK] {
            let source = found(&[("GITLAB_CI", "true"), (name, "x")])
                .unwrap()
                .unwrap();
            assert_eq!(source, format!("the variable {name}"));
        }
        let text = found(&[("GITLAB_CI", "true")]).unwrap_err().to_string();
        for part in [
            derived,
            "id_tokens:",
            "aud: https://registry.example:8417/pypi",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn gitlabs_name_for_npm_is_that_of_npm() {
        let set = [("GITLAB_CI", "true"), ("NPM_ID_TOKEN", "x")];
        let of = |audience: &str| Source::find(None, Some(Ci::Gitlab), audience, &variables(&set));
        let source = of("npm:registry.example").unwrap().unwrap();
        assert_eq!(source.to_string(), "the variable NPM_ID_TOKEN");
        assert!(of(AUDIENCE).is_err());
    }

    #[test]
    fn a_job_without_permission_is_told_the_line() {
        for (variable, line) in [
            ("GITHUB_ACTIONS", "id-token: write"),
            ("FORGEJO_ACTIONS", "enable-openid-connect: true"),
        ] {
            // One of the two variables alone is of no use.
            let failure = found(&[(variable, "true"), (REQUEST_URL, "https://x")]).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.to_string().contains(line), "{failure}");
        }
    }

    #[test]
    fn programs_are_asked_for_this_audience_and_their_failure_is_told() {
        let circle = found(&[("CIRCLECI", "true")]).unwrap().unwrap();
        assert_eq!(
            circle,
            "the command `circleci run oidc get --claims {\"aud\":\"https://registry.example:8417/pypi\"}`"
        );
        let kite = found(&[("BUILDKITE", "true")]).unwrap().unwrap();
        assert!(
            kite.ends_with("--audience https://registry.example:8417/pypi`"),
            "{kite}"
        );
        for (words, phrase) in [
            (
                &["countersign-no-such-program"][..],
                "gives no identity token",
            ),
            (&["false"], "it ended with"),
            (&["echo", "no token"], "is no identity token"),
            (&["yes"], "it ended with"),
        ] {
            let source = Ci::Buildkite.program(words);
            let failure = source
                .token(AUDIENCE, None, &|_| None, &|_| ())
                .err()
                .unwrap();
            assert!(failure.to_string().contains(phrase), "{failure}");
        }
    }

    #[test]
    fn the_bearer_secret_of_the_job_goes_nowhere_in_the_clear() {
        let source = Source::Endpoint {
            url: "http://runner.example/token".into(),
            bearer: "secret-of-the-job".into(),
        };
        let failure = source
            .token(AUDIENCE, None, &|_| None, &|_| ())
            .err()
            .unwrap();
        let text = failure.to_string();
        assert!(
            text.contains("in the clear") && !text.contains("secret-of-the-job"),
            "{text}"
        );
    }
}
