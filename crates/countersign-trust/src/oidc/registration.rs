//! From what a person gives to rules: read sloppily, kept in one form, refused field by field.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::preset::{is_uuid, pages};
use super::token::MAX_NAME;
use super::{Difference, Provider, Refused, Rule, Test, escaped, keys, quoted};

/// How many rules a registration may have in all, and how many texts one rule.
const MAX_RULES: usize = 64;

/// Events and pipeline sources that run with what strangers wrote, or on their occasion.
const GITHUB_FORBIDDEN: &[&str] = &[
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "pull_request_target",
    "workflow_run",
];
const GITLAB_FORBIDDEN: &[&str] = &["merge_request_event", "external_pull_request_event"];

/// Claims that every token has and that say nothing about who publishes.
const STANDARD_CLAIMS: &[&str] = &[
    "acr",
    "amr",
    "at_hash",
    "aud",
    "auth_time",
    "azp",
    "c_hash",
    "email_verified",
    "exp",
    "iat",
    "iss",
    "jti",
    "locale",
    "nbf",
    "nonce",
    "typ",
    "updated_at",
    "zoneinfo",
];

/// What a person gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Texts by the name of a [`Field`](super::Field).
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
    /// Further rules over claims.
    #[serde(default)]
    pub claims: Vec<Rule>,
}

/// A registration: an issuer and rules over the claims of its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The kind of CI system.
    pub provider: Provider,
    /// The issuer, byte for byte.
    pub issuer: String,
    /// The fields as they were understood.
    pub fields: BTreeMap<String, String>,
    /// What is asked of a token's claims; never empty.
    pub rules: Vec<Rule>,
    /// The normalised value of the look-up claim; "" where every token of the issuer is to be asked.
    pub lookup: String,
    /// What people see: `octo/sample, release.yml, environment release`.
    pub label: String,
    /// The environment that is asked for.
    pub environment: Option<String>,
    /// What is allowed but unwise.
    pub warnings: Vec<String>,
}

/// Checks and normalises what a person gave for an issuer. Accepted besides the exact texts are whole URLs of
/// repositories, with and without `.git`, `owner/repository` in one field, paths of workflow files, and spaces
/// around.
///
/// # Errors
///
/// `publisher-invalid`, with one difference for each wrong field: the value, what it should be, the way out.
/// `oidc-issuer-invalid` for an issuer that is none.
pub fn register(provider: Provider, issuer: &str, asked: &Asked) -> Result<Registration, Refused> {
    keys::issuer_url(issuer)?;
    let mut form = Form::new(provider, issuer, asked);
    let label = match provider {
        Provider::Github => form.github(),
        Provider::Gitlab => form.gitlab(),
        Provider::Google => form.google(),
        Provider::Circleci => form.circleci(),
        Provider::Buildkite => form.buildkite(),
        Provider::Forgejo => form.forgejo(),
        Provider::Activestate => form.activestate(),
        Provider::Generic => form.generic(&asked.claims),
    };
    form.further(&asked.claims);
    form.finish(label)
}

/// A form being read: what is not yet taken, and what came of the rest.
struct Form<'a> {
    provider: Provider,
    issuer: &'a str,
    given: BTreeMap<String, String>,
    fields: BTreeMap<String, String>,
    rules: Vec<Rule>,
    warnings: Vec<String>,
    wrong: Vec<Difference>,
    lookup: String,
}

impl<'a> Form<'a> {
    fn new(provider: Provider, issuer: &'a str, asked: &Asked) -> Self {
        let mut form = Self {
            provider,
            issuer,
            given: BTreeMap::new(),
            fields: BTreeMap::new(),
            rules: Vec::new(),
            warnings: Vec::new(),
            wrong: Vec::new(),
            lookup: String::new(),
        };
        for (name, text) in &asked.fields {
            let name = name.trim().to_ascii_lowercase().replace('-', "_");
            // People who know one provider use its words for another.
            let name = match (provider, name.as_str()) {
                (Provider::Gitlab, "owner" | "group") => "namespace".to_owned(),
                (Provider::Gitlab, "repository") => "project".to_owned(),
                (Provider::Buildkite, "owner") => "organization".to_owned(),
                (Provider::Activestate, "owner") => "organization".to_owned(),
                _ => name,
            };
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            let known = provider.fields().iter().any(|field| field.name == name);
            if !known {
                let fields: Vec<_> = provider.fields().iter().map(|field| field.name).collect();
                let expected = if fields.is_empty() {
                    "no field".to_owned()
                } else {
                    format!("one of the fields {}", fields.join(", "))
                };
                let advice = format!("{} has no such field: leave it out", provider.title());
                form.refuse(&escaped(&name), &expected, Some(text), &advice);
            } else if text.len() > MAX_NAME {
                let seen = format!("{} bytes", text.len());
                form.refuse(&name, "at most 255 bytes", Some(&seen), "shorten it");
            } else if let Some(odd) = text.chars().find(|character| !plain(*character)) {
                let advice = format!("leave out the character {}", quoted(&odd.to_string()));
                form.refuse(
                    &name,
                    "letters, digits, spaces and signs except quotes and backslashes",
                    Some(text),
                    &advice,
                );
            } else if form.given.insert(name.clone(), text.to_owned()).is_some() {
                form.refuse(&name, "one value", Some(text), "give the field once");
            }
        }
        form
    }

    fn refuse(&mut self, field: &str, expected: &str, seen: Option<&str>, advice: &str) {
        self.wrong.push(Difference {
            claim: field.to_owned(),
            expected: expected.to_owned(),
            seen: seen.map(escaped),
            matched: false,
            advice: Some(advice.to_owned()),
        });
    }

    /// Takes a field that may be left out.
    fn optional(&mut self, name: &str) -> Option<String> {
        self.given.remove(name)
    }

    /// Takes a field that must be given.
    fn required(&mut self, name: &str) -> Option<String> {
        let text = self.given.remove(name);
        let refused = self.wrong.iter().any(|difference| difference.claim == name);
        if text.is_none() && !refused {
            let field = self
                .provider
                .fields()
                .iter()
                .find(|field| field.name == name);
            let (help, example) = field.map_or(("", ""), |field| (field.help, field.example));
            let expected = format!("a value, as {example}");
            self.refuse(name, &expected, None, help);
        }
        text
    }

    /// Keeps a field as it was understood.
    fn keep(&mut self, name: &str, text: impl Into<String>) {
        self.fields.insert(name.to_owned(), text.into());
    }

    fn rule(&mut self, claim: &str, test: Test) {
        self.rules.push(Rule {
            claim: claim.to_owned(),
            test,
        });
    }

    /// An exact text, or a pattern if it has a star.
    fn exact_or_pattern(&mut self, claim: &str, text: String) {
        let test = if text.contains('*') {
            Test::Pattern(text)
        } else {
            Test::Equal(text)
        };
        self.rule(claim, test);
    }

    /// The owner (or namespace) and name of a repository, from two fields of which the second may hold a whole URL,
    /// or `owner/repository`.
    fn repository(&mut self, owner_field: &str, name_field: &str) -> Option<(String, String)> {
        let name = self.required(name_field)?;
        let nested = self.provider == Provider::Gitlab;
        let site = pages(self.provider, self.issuer);
        let (name, in_name) = match split_repository(&name, site.as_deref(), nested) {
            Ok((owner, name)) => (name, owner),
            Err(why) => {
                self.refuse(
                    name_field,
                    "the name of a repository, or its URL",
                    Some(&name),
                    &why,
                );
                self.optional(owner_field);
                return None;
            }
        };
        let owner = match (in_name, self.optional(owner_field)) {
            (Some(owner), None) => owner,
            (None, Some(given)) => self.owner_text(&given, site.as_deref()),
            (Some(owner), Some(given)) => {
                let given = self.owner_text(&given, site.as_deref());
                if !owner.eq_ignore_ascii_case(&given) {
                    self.refuse(
                        owner_field,
                        &owner,
                        Some(&given),
                        "owner and repository contradict each other: correct one of them",
                    );
                    return None;
                }
                given
            }
            (None, None) => self.required(owner_field)?,
        };
        let segment = |text: &str| {
            !text.is_empty()
                && text.len() <= 100
                && text != "."
                && text != ".."
                && !text.ends_with(".git")
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        let owner_fits = match self.provider {
            Provider::Github => {
                segment(&owner)
                    && owner.len() <= 39
                    && !owner.starts_with('-')
                    && !owner.contains('.')
            }
            Provider::Gitlab => owner.split('/').all(segment),
            _ => segment(&owner),
        };
        if !owner_fits {
            self.refuse(
                owner_field,
                "a name of ASCII letters, digits and hyphens, as in the repository's URL",
                Some(&owner),
                "copy it from the URL of the repository",
            );
        }
        if !segment(&name) {
            self.refuse(
                name_field,
                "a name of ASCII letters, digits, hyphens, underscores and dots",
                Some(&name),
                "copy it from the URL of the repository",
            );
        }
        if !owner_fits || !segment(&name) {
            return None;
        }
        self.keep(owner_field, owner.as_str());
        self.keep(name_field, name.as_str());
        let full = format!("{owner}/{name}");
        self.lookup = self.provider.lookup_form(&full);
        Some((owner, name))
    }

    /// An owner, of whom the page's URL may be given.
    fn owner_text(&self, given: &str, site: Option<&str>) -> String {
        let bare = site
            .and_then(|site| given.strip_prefix(site))
            .unwrap_or(given);
        bare.trim_matches('/').trim_start_matches('@').to_owned()
    }

    /// A workflow file in one of the folders, the first of which may be left out.
    fn workflow(&mut self, text: &str, folders: &[&str]) -> Option<String> {
        let (folder, file) = folders
            .iter()
            .find_map(|folder| {
                // The folder may stand at the end of the URL of a file's page.
                let at = text.rfind(folder)?;
                Some((*folder, &text[at + folder.len()..]))
            })
            .unwrap_or((folders[0], text.trim_start_matches("./")));
        if !is_yaml_path(file) || file.contains('/') {
            self.refuse(
                "workflow",
                "the name of one file that ends in .yml or .yaml",
                Some(text),
                &format!("give the name of the file in {folder}, as release.yml"),
            );
            return None;
        }
        Some(format!("{folder}{file}"))
    }

    /// Full refs only: `main` might be a branch or a tag.
    fn reference(&mut self, claim: &str, forbidden: &[&str]) {
        let text = self.optional("ref");
        if let Some(text) = &text {
            let full = match text.split_once('/') {
                Some(("heads" | "tags", _)) => format!("refs/{text}"),
                _ => text.clone(),
            };
            let known = ["refs/heads/", "refs/tags/"]
                .iter()
                .any(|kind| full.len() > kind.len() && full.starts_with(kind));
            if !known || !is_ref(&full) {
                let advice = format!(
                    "write refs/tags/{text} for a tag or refs/heads/{text} for a branch; \
                     pull requests cannot publish"
                );
                self.refuse(
                    "ref",
                    "a full ref, as refs/tags/v* or refs/heads/main",
                    Some(text),
                    &advice,
                );
                return;
            }
            self.keep("ref", full.as_str());
            self.exact_or_pattern(claim, full);
        } else {
            self.rule(claim, Test::Pattern("refs/*".to_owned()));
        }
        let forbidden = forbidden.iter().map(|text| (*text).to_owned()).collect();
        self.rule(claim, Test::NoneOf(forbidden));
    }

    /// The events that may start a job: those listed, or all but the forbidden ones.
    fn events(&mut self, claim: &str, forbidden: &[&str], never: &[&str]) {
        let Some(text) = self.optional("events") else {
            self.rule(claim, Test::Pattern("*".to_owned()));
            let forbidden = forbidden.iter().map(|text| (*text).to_owned()).collect();
            self.rule(claim, Test::NoneOf(forbidden));
            return;
        };
        let events: Vec<String> = text
            .split([',', ' '])
            .filter(|event| !event.is_empty())
            .map(str::to_owned)
            .collect();
        let word = |event: &String| {
            event
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if events.is_empty() || events.len() > MAX_RULES || !events.iter().all(word) {
            self.refuse(
                "events",
                "names of events with commas between, as push, release",
                Some(&text),
                "write each event as the provider's documentation does",
            );
            return;
        }
        for event in &events {
            if never.contains(&event.as_str()) {
                self.refuse(
                    "events",
                    "events of the repository itself",
                    Some(event),
                    "a pull request never publishes: publish on a pushed tag or a release",
                );
            } else if forbidden.contains(&event.as_str()) {
                self.warnings.push(format!(
                    "the event {event} is allowed: it can run with what strangers wrote, and publish that"
                ));
            }
        }
        self.keep("events", events.join(", "));
        self.rule(claim, Test::OneOf(events));
    }

    /// One of a few words; `any` (or `false`, for what is only switched on) means no rule.
    fn choice(&mut self, name: &str, claim: &str, words: &[&str]) {
        let Some(text) = self.optional(name) else {
            return;
        };
        let lower = text.to_ascii_lowercase();
        if lower == "any" || lower == "false" {
            return;
        }
        if !words.contains(&lower.as_str()) {
            let expected = format!("{} or any", words.join(", "));
            self.refuse(name, &expected, Some(&text), "use one of these words");
            return;
        }
        self.keep(name, lower.as_str());
        self.rule(claim, Test::Equal(lower));
    }

    /// A UUID, in lower case.
    fn uuid(&mut self, name: &str, text: &str) -> Option<String> {
        let lower = text.to_ascii_lowercase();
        if is_uuid(&lower) {
            return Some(lower);
        }
        self.refuse(
            name,
            "a UUID, as 11111111-2222-3333-4444-555555555555",
            Some(text),
            "copy it from the provider's settings",
        );
        None
    }

    /// A word of a URL: ASCII letters, digits, `-`, `_` and `.`.
    fn slug(&mut self, name: &str, text: String) -> Option<String> {
        let fits = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if fits {
            self.keep(name, text.as_str());
            return Some(text);
        }
        self.refuse(
            name,
            "the name as it stands in the URL",
            Some(&text),
            "copy it from the URL of its page",
        );
        None
    }

    fn environment(&mut self, test: fn(String) -> Test) -> Option<String> {
        let name = self.optional("environment")?;
        self.keep("environment", name.as_str());
        self.rule("environment", test(name.clone()));
        Some(name)
    }

    /// Said where anybody with write access can publish.
    fn warn_if_open(&mut self, protections: &[&str]) {
        if !protections
            .iter()
            .any(|field| self.fields.contains_key(*field))
        {
            self.warnings.push(
                "without an environment or a ref, everybody who may push to the repository can publish: \
                 ask for a protected environment"
                    .to_owned(),
            );
        }
    }

    fn github(&mut self) -> Option<String> {
        let repository = self.repository("owner", "repository");
        let workflow = self
            .required("workflow")
            .and_then(|text| self.workflow(&text, &[".github/workflows/"]));
        if let (Some((owner, name)), Some(workflow)) = (&repository, &workflow) {
            let full = format!("{owner}/{name}");
            self.keep("workflow", file_name(workflow));
            self.rule("repository", Test::EqualIgnoringCase(full.clone()));
            self.rule("workflow_ref", Test::File(format!("{full}/{workflow}")));
        }
        let called = self.called_workflow(repository.as_ref());
        let environment = self.environment(Test::EqualIgnoringCase);
        self.events(
            "event_name",
            GITHUB_FORBIDDEN,
            &[
                "pull_request",
                "pull_request_review",
                "pull_request_review_comment",
            ],
        );
        self.reference("ref", &["refs/pull/*"]);
        self.choice(
            "runner",
            "runner_environment",
            &["github-hosted", "self-hosted"],
        );
        self.choice(
            "visibility",
            "repository_visibility",
            &["public", "private", "internal"],
        );
        self.warn_if_open(&["environment", "ref"]);
        let (owner, name) = repository?;
        let mut label = format!("{owner}/{name}, {}", file_name(&workflow?));
        if let Some(called) = called {
            label.push_str(&format!(", called {called}"));
        }
        Some(with_environment(label, environment))
    }

    /// The workflow that the job itself runs in. Without the field it must stand in the registered repository: the
    /// caller alone would let every workflow that it calls publish, of whatever repository, while `id-token: write`
    /// at the head of the caller gives them all that right. (The called workflow alone would let every caller in.)
    fn called_workflow(&mut self, repository: Option<&(String, String)>) -> Option<String> {
        let own = repository.map(|(owner, name)| format!("{owner}/{name}"));
        let Some(text) = self.optional("called_workflow") else {
            let own = own?;
            self.rule(
                "job_workflow_ref",
                Test::PatternIgnoringCase(format!("{own}/.github/workflows/*")),
            );
            return None;
        };
        let site = pages(self.provider, self.issuer).unwrap_or_default();
        let bare = text.strip_prefix(&site).unwrap_or(&text);
        let bare = bare.trim_start_matches('/');
        let full = match bare.strip_prefix("./") {
            Some(path) => format!("{}/{path}", own?),
            None => bare.to_owned(),
        };
        let (file, reference) = match full.split_once('@') {
            Some((file, reference)) => (file, Some(reference)),
            None => (full.as_str(), None),
        };
        let parts: Vec<&str> = file.split('/').collect();
        let is_file = matches!(parts[..], [owner, name, ".github", "workflows", path]
            if !owner.is_empty() && !name.is_empty() && is_yaml_path(path));
        if !is_file || file.contains('*') {
            self.refuse(
                "called_workflow",
                "OWNER/REPOSITORY/.github/workflows/FILE, with or without @REF",
                Some(&text),
                "copy it from the `uses:` line of the calling workflow",
            );
            return None;
        }
        let is_commit = |text: &str| {
            matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let full_ref = |text: &str| text.starts_with("refs/") && is_ref(text);
        if let Some(reference) = reference
            && !((full_ref(reference) || is_commit(reference)) && !reference.contains('*'))
        {
            let advice = format!(
                "write @refs/tags/{reference} for a tag, @refs/heads/{reference} for a branch, or leave it out"
            );
            self.refuse(
                "called_workflow",
                "a full ref or commit after @",
                Some(&text),
                &advice,
            );
            return None;
        }
        self.keep("called_workflow", full.as_str());
        self.rule("job_workflow_ref", Test::File(full.clone()));
        Some(full)
    }

    fn gitlab(&mut self) -> Option<String> {
        let project = self.repository("namespace", "project");
        let text = self
            .optional("workflow")
            .unwrap_or_else(|| ".gitlab-ci.yml".to_owned());
        let path = text
            .trim_start_matches("./")
            .trim_start_matches('/')
            .to_owned();
        if is_yaml_path(&path) {
            self.keep("workflow", path.as_str());
        } else {
            self.refuse(
                "workflow",
                "the path of a file of the project that ends in .yml or .yaml",
                Some(&text),
                "give the path as the project's CI/CD settings do, or nothing for .gitlab-ci.yml",
            );
        }
        if let Some((namespace, name)) = &project {
            let full = format!("{namespace}/{name}");
            // GitLab writes its own host, and port and folder if it has them, before the project.
            let site = pages(self.provider, self.issuer).unwrap_or_default();
            let site = site.trim_start_matches("https://");
            self.rule("project_path", Test::EqualIgnoringCase(full.clone()));
            self.rule(
                "ci_config_ref_uri",
                Test::File(format!("{site}/{full}//{path}")),
            );
        }
        let environment = self.environment(Test::Equal);
        self.events("pipeline_source", GITLAB_FORBIDDEN, GITLAB_FORBIDDEN);
        self.reference("ref_path", &["refs/merge-requests/*"]);
        self.choice("ref_protected", "ref_protected", &["true"]);
        self.choice(
            "runner",
            "runner_environment",
            &["gitlab-hosted", "self-hosted"],
        );
        self.choice(
            "visibility",
            "project_visibility",
            &["public", "private", "internal"],
        );
        self.warn_if_open(&["environment", "ref", "ref_protected"]);
        let (namespace, name) = project?;
        Some(with_environment(
            format!("{namespace}/{name}, {path}"),
            environment,
        ))
    }

    fn google(&mut self) -> Option<String> {
        let sub = self.optional("sub");
        if let Some(sub) = sub {
            if sub.bytes().all(|byte| byte.is_ascii_digit()) {
                self.keep("sub", sub.as_str());
                self.rule("sub", Test::Equal(sub));
            } else {
                self.refuse(
                    "sub",
                    "the digits of the account's unique ID",
                    Some(&sub),
                    "copy the unique ID from the service account's page",
                );
            }
        }
        let email = self.required("email")?.to_ascii_lowercase();
        let is_service_account = email
            .strip_suffix(".gserviceaccount.com")
            .and_then(|rest| rest.split_once('@'))
            .is_some_and(|(name, domain)| !name.is_empty() && !domain.contains('@'))
            && email.is_ascii()
            && !email.contains([' ', '*']);
        if !is_service_account {
            self.refuse(
                "email",
                "the address of a service account, which ends in .gserviceaccount.com",
                Some(&email),
                "publish as a service account; a person's Google account cannot",
            );
            return None;
        }
        self.keep("email", email.as_str());
        self.lookup = self.provider.lookup_form(&email);
        self.rule("email", Test::Equal(email.clone()));
        self.rule("email_verified", Test::Equal("true".to_owned()));
        Some(email)
    }

    fn circleci(&mut self) -> Option<String> {
        if let Some(text) = self.optional("organization_id")
            && let Some(organization) = self.uuid("organization_id", &text)
        {
            if self.issuer.ends_with(&format!("/org/{organization}")) {
                self.keep("organization_id", organization);
            } else {
                let expected = format!("the organisation of the issuer {}", self.issuer);
                self.refuse(
                    "organization_id",
                    &expected,
                    Some(&text),
                    "register the issuer of that organisation, or leave the field out",
                );
            }
        }
        let project = self
            .required("project_id")
            .and_then(|text| self.uuid("project_id", &text));
        if let Some(project) = &project {
            self.keep("project_id", project.as_str());
            self.lookup = self.provider.lookup_form(project);
            self.rule(
                "oidc.circleci.com/project-id",
                Test::EqualIgnoringCase(project.clone()),
            );
        }
        let origin = self.required("repository").and_then(|text| {
            let origin = strip_repository_url(&text);
            let parts: Vec<&str> = origin.split('/').collect();
            let fits = parts.len() >= 3
                && parts[0].contains('.')
                && parts.iter().all(|part| {
                    !part.is_empty()
                        && !part.ends_with(".git")
                        && part
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
                });
            if !fits {
                self.refuse(
                    "repository",
                    "the repository with its host, as github.com/octo/sample",
                    Some(&text),
                    "copy the repository's URL without https://",
                );
                return None;
            }
            Some(origin)
        });
        if let Some(origin) = &origin {
            self.keep("repository", origin.as_str());
            self.rule(
                "oidc.circleci.com/vcs-origin",
                Test::EqualIgnoringCase(origin.clone()),
            );
        }
        if let Some(text) = self.optional("pipeline_definition_id")
            && let Some(definition) = self.uuid("pipeline_definition_id", &text)
        {
            self.keep("pipeline_definition_id", definition.as_str());
            self.rule(
                "oidc.circleci.com/pipeline-definition-id",
                Test::EqualIgnoringCase(definition),
            );
        }
        if let Some(text) = self.optional("context_id") {
            let ids: Vec<&str> = text
                .split([',', ' '])
                .filter(|one| !one.is_empty())
                .collect();
            if ids.is_empty() {
                self.refuse(
                    "context_id",
                    "a UUID",
                    Some(&text),
                    "copy it from the organisation's settings, or leave the field out",
                );
            }
            let contexts: Option<Vec<String>> =
                ids.iter().map(|one| self.uuid("context_id", one)).collect();
            if let Some(contexts) = contexts {
                self.keep("context_id", contexts.join(", "));
                for context in contexts {
                    self.rule(
                        "oidc.circleci.com/context-ids",
                        Test::EqualIgnoringCase(context),
                    );
                }
            }
        }
        self.reference(
            "oidc.circleci.com/vcs-ref",
            &["refs/pull/*", "refs/heads/pull/*", "refs/merge-requests/*"],
        );
        self.rule(
            "oidc.circleci.com/ssh-rerun",
            Test::NoneOf(vec!["true".to_owned()]),
        );
        self.warn_if_open(&["context_id", "ref"]);
        Some(format!("{}, project {}", origin?, project?))
    }

    fn buildkite(&mut self) -> Option<String> {
        let organization = self
            .required("organization")
            .and_then(|text| self.slug("organization", text.to_ascii_lowercase()));
        let pipeline = self
            .required("pipeline")
            .and_then(|text| self.slug("pipeline", text.to_ascii_lowercase()));
        if let (Some(organization), Some(pipeline)) = (&organization, &pipeline) {
            self.lookup = self.provider.lookup_form(pipeline);
            self.rule("organization_slug", Test::Equal(organization.clone()));
            self.rule("pipeline_slug", Test::Equal(pipeline.clone()));
        }
        for (name, claim) in [
            ("branch", "build_branch"),
            ("tag", "build_tag"),
            ("step", "step_key"),
        ] {
            let Some(text) = self.optional(name) else {
                continue;
            };
            let bare = text
                .strip_prefix("refs/heads/")
                .or(text.strip_prefix("refs/tags/"))
                .unwrap_or(&text)
                .to_owned();
            if bare.is_empty() || bare.starts_with("refs/") {
                let expected = format!("the name of a {name}, without refs/");
                self.refuse(
                    name,
                    &expected,
                    Some(&text),
                    "write it as Buildkite's pages do",
                );
                continue;
            }
            self.keep(name, bare.as_str());
            self.exact_or_pattern(claim, bare);
        }
        for name in ["organization_id", "pipeline_id"] {
            if let Some(text) = self.optional(name)
                && let Some(id) = self.uuid(name, &text)
            {
                self.keep(name, id.as_str());
                self.rule(name, Test::EqualIgnoringCase(id));
            }
        }
        self.warnings.push(
            "a Buildkite token does not say whether the build is a pull request's: \
             switch off builds of third-party forks in the pipeline's settings"
                .to_owned(),
        );
        Some(format!("{}/{}", organization?, pipeline?))
    }

    fn forgejo(&mut self) -> Option<String> {
        let repository = self.repository("owner", "repository");
        let folders = [
            ".forgejo/workflows/",
            ".gitea/workflows/",
            ".github/workflows/",
        ];
        let workflow = self
            .required("workflow")
            .and_then(|text| self.workflow(&text, &folders));
        if let (Some((owner, name)), Some(workflow)) = (&repository, &workflow) {
            let full = format!("{owner}/{name}");
            self.keep("workflow", workflow.as_str());
            self.rule("repository", Test::EqualIgnoringCase(full.clone()));
            self.rule("workflow_ref", Test::File(format!("{full}/{workflow}")));
        }
        self.events(
            "event_name",
            GITHUB_FORBIDDEN,
            &[
                "pull_request",
                "pull_request_review",
                "pull_request_review_comment",
            ],
        );
        self.reference("ref", &["refs/pull/*"]);
        self.warn_if_open(&["ref"]);
        let (owner, name) = repository?;
        Some(format!("{owner}/{name}, {}", workflow?))
    }

    fn activestate(&mut self) -> Option<String> {
        let organization = self
            .required("organization")
            .and_then(|text| self.slug("organization", text));
        let project = self
            .required("project")
            .and_then(|text| self.slug("project", text));
        let actor = self
            .required("actor_id")
            .and_then(|text| self.uuid("actor_id", &text));
        let (organization, project, actor) = (organization?, project?, actor?);
        self.keep("actor_id", actor.as_str());
        self.lookup = self.provider.lookup_form(&project);
        self.rule("organization", Test::Equal(organization.clone()));
        self.rule("project", Test::Equal(project.clone()));
        self.rule("actor_id", Test::EqualIgnoringCase(actor));
        self.rule("builder", Test::Equal("pypi-publisher".to_owned()));
        Some(format!("{organization}/{project}"))
    }

    /// For an issuer of which nothing is known, something must say exactly who publishes.
    fn generic(&mut self, claims: &[Rule]) -> Option<String> {
        let names: Vec<String> = claims
            .iter()
            .filter(|rule| !STANDARD_CLAIMS.contains(&rule.claim.as_str()))
            .filter_map(|rule| match &rule.test {
                Test::Equal(text) | Test::EqualIgnoringCase(text) => {
                    Some(format!("{} {text}", rule.claim))
                }
                Test::OneOf(texts) => Some(format!("{} {}", rule.claim, texts.join(" or "))),
                _ => None,
            })
            .collect();
        if names.is_empty() {
            self.refuse(
                "claims",
                "a rule that gives `sub`, or another claim that names the publisher, one value or one of a list",
                None,
                "add such a rule, as sub=project:sample; patterns and forbidden values come on top of it",
            );
        }
        let label: String = names.join(", ").chars().take(MAX_NAME).collect();
        Some(label)
    }

    /// Further rules, as they were given.
    fn further(&mut self, claims: &[Rule]) {
        if self.rules.len() + claims.len() > MAX_RULES {
            let seen = format!("{} rules", self.rules.len() + claims.len());
            self.refuse(
                "claims",
                &format!("at most {MAX_RULES} rules in all"),
                Some(&seen),
                "register several publishers instead of one with many rules",
            );
            return;
        }
        for rule in claims {
            let claim = rule.claim.as_str();
            let named = !claim.is_empty()
                && claim.len() <= MAX_NAME
                && claim.bytes().all(|byte| byte.is_ascii_graphic());
            if !named {
                self.refuse(
                    "claims",
                    "the name of a claim: 1 to 255 visible ASCII characters",
                    Some(claim),
                    "write the claim as the token does",
                );
                continue;
            }
            if ["iss", "aud", "exp", "iat", "nbf", "jti"].contains(&claim) {
                self.refuse(
                    claim,
                    "a claim that says who publishes",
                    Some(claim),
                    "leave the rule out: this claim is checked for every token",
                );
                continue;
            }
            let one = |text: &String| {
                !text.is_empty() && text.len() <= MAX_NAME && !text.chars().any(char::is_control)
            };
            let fits = match &rule.test {
                Test::Equal(text)
                | Test::EqualIgnoringCase(text)
                | Test::Pattern(text)
                | Test::PatternIgnoringCase(text)
                | Test::File(text) => one(text),
                Test::OneOf(texts) | Test::NoneOf(texts) => {
                    (1..=MAX_RULES).contains(&texts.len()) && texts.iter().all(one)
                }
            };
            if !fits {
                self.refuse(
                    claim,
                    "values of 1 to 255 bytes without control characters, at most 64 of them",
                    None,
                    "shorten the values of the rule, or give it one",
                );
                continue;
            }
            self.rules.push(rule.clone());
        }
    }

    fn finish(self, label: Option<String>) -> Result<Registration, Refused> {
        let label = match label {
            Some(label) if self.wrong.is_empty() && !self.rules.is_empty() => label,
            _ => {
                let fields: Vec<_> = self
                    .wrong
                    .iter()
                    .map(|difference| difference.claim.as_str())
                    .collect();
                let remedy = match &self.wrong[..] {
                    [one] => one.advice.clone().unwrap_or_default(),
                    _ => "correct these fields; each has its own advice".to_owned(),
                };
                let mut message = format!(
                    "this is no publisher of {}: wrong or missing is {}",
                    self.provider.title(),
                    fields.join(", ")
                );
                if let [one] = &self.wrong[..] {
                    message.push_str(&format!(
                        ", which is {} and should be {}",
                        one.seen
                            .as_deref()
                            .map_or("missing".to_owned(), |seen| format!("`{seen}`")),
                        one.expected
                    ));
                }
                let mut refused = Refused::new("publisher-invalid", message, remedy);
                refused.differences = self.wrong;
                return Err(refused);
            }
        };
        Ok(Registration {
            provider: self.provider,
            issuer: self.issuer.to_owned(),
            environment: self.fields.get("environment").cloned(),
            fields: self.fields,
            rules: self.rules,
            lookup: self.lookup,
            label,
            warnings: self.warnings,
        })
    }
}

/// What may stand in a field: no control characters, quotes, backslashes, and nothing invisible.
fn plain(character: char) -> bool {
    (character.is_ascii_graphic() && !"\"'`\\".contains(character))
        || character == ' '
        || (!character.is_ascii() && character.is_alphanumeric())
}

/// A plain relative path that ends in `.yml` or `.yaml`, without anything that a ref or a pattern would need.
fn is_yaml_path(path: &str) -> bool {
    let stem = path
        .strip_suffix(".yml")
        .or_else(|| path.strip_suffix(".yaml"));
    stem.is_some_and(|stem| !stem.is_empty() && !stem.ends_with('/'))
        && path.is_ascii()
        && !path.contains(['@', '*', ':', '?', '#'])
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

/// What Git allows in a ref, and `*` (git-check-ref-format).
fn is_ref(text: &str) -> bool {
    !text.contains([' ', '~', '^', ':', '?', '['])
        && !text.contains("..")
        && !text.contains("//")
        && !text.contains("@{")
        && !text.ends_with('/')
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn with_environment(label: String, environment: Option<String>) -> String {
    match environment {
        Some(environment) => format!("{label}, environment {environment}"),
        None => label,
    }
}

/// A repository's URL without scheme, user, `.git` and final slash: host and path.
fn strip_repository_url(text: &str) -> String {
    let rest = match text.split_once("://") {
        Some((_, rest)) => rest,
        None => text,
    };
    // git@host:owner/repository
    let rest = match rest.strip_prefix("git@") {
        Some(rest) => rest.replacen(':', "/", 1),
        None => rest.to_owned(),
    };
    let rest = rest.trim_end_matches('/');
    rest.strip_suffix(".git").unwrap_or(rest).to_owned()
}

/// The owner, if it is there, and the name of a repository, of which the URL may be given. `site` is where this
/// provider's repositories are; `nested` says that owners may have several parts.
fn split_repository(
    text: &str,
    site: Option<&str>,
    nested: bool,
) -> Result<(Option<String>, String), String> {
    let site = site.unwrap_or_default();
    let host = site.strip_prefix("https://").unwrap_or(site);
    let bare = strip_repository_url(text);
    let is_url = text.contains("://") || text.starts_with("git@");
    let path = match bare.get(..host.len()) {
        Some(start) if !host.is_empty() && start.eq_ignore_ascii_case(host) => {
            match bare[host.len()..].strip_prefix('/') {
                Some(path) => path,
                None if is_url => return Err(format!("this is not a repository of {site}")),
                None => bare.as_str(),
            }
        }
        _ if is_url => {
            return Err(format!(
                "this issuer's repositories are at {site}: choose the issuer that fits the repository"
            ));
        }
        _ => bare.as_str(),
    };
    // Below a repository's page: /-/tree/main of GitLab, /tree/main of the others.
    let path = path.split("/-/").next().unwrap_or(path);
    let parts: Vec<&str> = path.split('/').collect();
    match parts[..] {
        [name] => Ok((None, name.to_owned())),
        [owner, name] => Ok((Some(owner.to_owned()), name.to_owned())),
        [.., name] if nested => {
            let owner = path[..path.len() - name.len()].trim_end_matches('/');
            Ok((Some(owner.to_owned()), name.to_owned()))
        }
        [owner, name, ..] if is_url => {
            let name = name.strip_suffix(".git").unwrap_or(name);
            Ok((Some(owner.to_owned()), name.to_owned()))
        }
        _ => Err("give OWNER/REPOSITORY, or the URL of the repository".to_owned()),
    }
}
