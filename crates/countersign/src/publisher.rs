//! The publishers of a project (which CI identities may publish it) through the registry's own API, with a user's
//! token, and what people are shown of the answers.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use countersign_formats::Ecosystem;
use countersign_trust::oidc::{Difference, Rule, Test};
use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::ci;
use crate::failure::{Exit, Failure, Result, plain, told};
use crate::remote::Remote;

/// A project on the command line: `ECOSYSTEM:PROJECT`, or just `PROJECT` of the Python ecosystem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectName {
    /// Which ecosystem.
    pub ecosystem: Ecosystem,
    /// As written.
    pub name: String,
}

impl FromStr for ProjectName {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (ecosystem, name) = match text.split_once(':') {
            Some((ecosystem, name)) => {
                let known = Ecosystem::ALL
                    .iter()
                    .find(|known| known.as_str() == ecosystem);
                let all: Vec<_> = Ecosystem::ALL.iter().map(|known| known.as_str()).collect();
                let known = known.ok_or_else(|| {
                    format!(
                        "{ecosystem:?} is no ecosystem of this version; it knows {}",
                        all.join(", ")
                    )
                })?;
                (*known, name)
            }
            None => (Ecosystem::Pypi, text),
        };
        if name.is_empty() {
            return Err("the name of the project is missing".to_owned());
        }
        Ok(Self {
            ecosystem,
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ecosystem.as_str(), self.name)
    }
}

impl ProjectName {
    /// The path of something below the project, in the registry's API.
    pub(crate) fn path(&self, below: &[&str]) -> String {
        let mut path = format!(
            "/api/v1/projects/{}/{}",
            self.ecosystem.as_str(),
            segment(&self.name)
        );
        for part in below {
            path.push('/');
            path.push_str(&segment(part));
        }
        path
    }
}

/// A text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
    encoded.replace('+', "%20")
}

/// A rule in words.
fn in_words(rule: &Rule) -> String {
    let claim = &rule.claim;
    match &rule.test {
        Test::Equal(value) => format!("{claim} is {value}"),
        Test::EqualIgnoringCase(value) => format!("{claim} is {value}, in any case"),
        Test::OneOf(values) => format!("{claim} is {}", values.join(" or ")),
        Test::Pattern(pattern) => format!("{claim} fits {pattern}"),
        Test::PatternIgnoringCase(pattern) => format!("{claim} fits {pattern}, in any case"),
        Test::NoneOf(patterns) => format!("{claim} fits none of {}", patterns.join(", ")),
        Test::File(file) => format!("{claim} is the file {file}"),
    }
}

/// A publisher to be registered.
pub struct NewPublisher {
    /// The issuer's name, URL, or the word for a built-in one.
    pub issuer: String,
    /// What the provider's preset asks for.
    pub fields: BTreeMap<String, String>,
    /// Further rules.
    pub claims: Vec<Rule>,
    /// Whether the project may not exist yet; the caller owns it once the first release makes it.
    pub pending: bool,
}

/// A change of a project's policy; `None` leaves as it is.
#[derive(Default)]
pub struct PolicyChange {
    /// Whether stored tokens are refused.
    pub trusted_only: Option<bool>,
    /// The environment that every identity must come from; `Some(None)` asks for none.
    pub environment: Option<Option<String>>,
    /// The least that a release must be published with.
    pub minimum_trust: Option<String>,
}

impl PolicyChange {
    fn body(&self) -> Option<Value> {
        let mut body = serde_json::Map::new();
        if let Some(only) = self.trusted_only {
            body.insert("trusted_only".to_owned(), json!(only));
        }
        if let Some(environment) = &self.environment {
            body.insert("environment".to_owned(), json!(environment));
        }
        if let Some(level) = &self.minimum_trust {
            body.insert("minimum_trust".to_owned(), json!(level));
        }
        (!body.is_empty()).then_some(Value::Object(body))
    }
}

/// The publishers of a project.
///
/// # Errors
/// As [`Remote::call`].
pub fn list(remote: &Remote, project: &ProjectName) -> Result<Value> {
    remote.call(Method::GET, &project.path(&["publishers"]), None)
}

/// The caller's publishers of projects that do not exist yet.
///
/// # Errors
/// As [`Remote::call`].
pub fn pending(remote: &Remote) -> Result<Value> {
    remote.call(Method::GET, "/api/v1/publishers/pending", None)
}

/// Registers a publisher. The registry asks issuer and provider before it says yes.
///
/// # Errors
/// As [`Remote::call`], naming each wrong field.
pub fn add(remote: &Remote, project: &ProjectName, new: &NewPublisher) -> Result<Value> {
    let body = json!({
        "issuer": new.issuer, "fields": new.fields, "claims": new.claims, "pending": new.pending,
    });
    remote.call(Method::POST, &project.path(&["publishers"]), Some(&body))
}

/// Takes a publisher away.
///
/// # Errors
/// As [`Remote::call`].
pub fn remove(remote: &Remote, project: &ProjectName, id: &str) -> Result<()> {
    remote
        .call(Method::DELETE, &project.path(&["publishers", id]), None)
        .map(drop)
}

/// Asks whether a publisher is still as it was registered.
///
/// # Errors
/// As [`Remote::call`].
pub fn check(remote: &Remote, project: &ProjectName, id: &str) -> Result<Value> {
    remote.call(
        Method::POST,
        &project.path(&["publishers", id, "check"]),
        Some(&json!({})),
    )
}

/// Asks what the registry would say to an identity token, which is not used up by it. `-` reads standard input.
///
/// # Errors
/// As [`Remote::call`]; exit 2 for a file that can not be read.
pub fn test(remote: &Remote, project: &ProjectName, token_file: &Path) -> Result<Value> {
    let token = ci::token_from_file(token_file)?;
    let body = json!({"token": token.trim()});
    remote.call(
        Method::POST,
        &project.path(&["publishers", "test"]),
        Some(&body),
    )
}

/// The last exchanges that were refused.
///
/// # Errors
/// As [`Remote::call`].
pub fn failures(remote: &Remote, project: &ProjectName) -> Result<Value> {
    remote.call(
        Method::GET,
        &project.path(&["publishers", "failures"]),
        None,
    )
}

/// Reads the project's policy, or changes it.
///
/// # Errors
/// As [`Remote::call`].
pub fn policy(remote: &Remote, project: &ProjectName, change: &PolicyChange) -> Result<Value> {
    let path = project.path(&["policy"]);
    match change.body() {
        None => remote.call(Method::GET, &path, None),
        Some(body) => remote.call(Method::PUT, &path, Some(&body)),
    }
}

/// What the registry wants the project's owners to know.
///
/// # Errors
/// As [`Remote::call`].
pub fn notices(remote: &Remote, project: &ProjectName) -> Result<Value> {
    remote.call(Method::GET, &project.path(&["notices"]), None)
}

/// Takes a notice off the list.
///
/// # Errors
/// As [`Remote::call`].
pub fn dismiss(remote: &Remote, project: &ProjectName, id: &str) -> Result<()> {
    remote
        .call(Method::DELETE, &project.path(&["notices", id]), None)
        .map(drop)
}

/// A list as the registry sends it.
#[derive(Deserialize)]
pub(crate) struct Items<T> {
    pub(crate) items: Vec<T>,
}

#[derive(Deserialize)]
struct Publisher {
    id: String,
    ecosystem: String,
    project: String,
    pending: Option<String>,
    #[serde(default)]
    lost: bool,
    issuer: String,
    label: String,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    pinned: BTreeMap<String, String>,
    pin_by: Option<String>,
    last_used: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Check {
    ok: bool,
    findings: Vec<String>,
    publisher: Publisher,
}

#[derive(Deserialize)]
struct Tested {
    verdict: String,
    refusal: Option<Refusal>,
    publishers: Vec<TestedPublisher>,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    message: String,
    remedy: Option<String>,
}

#[derive(Deserialize)]
struct TestedPublisher {
    label: String,
    matched: bool,
    rules: Vec<Difference>,
}

#[derive(Deserialize)]
struct Failed {
    at: String,
    issuer: String,
    code: String,
    message: String,
    differences: Vec<Difference>,
    times: u64,
}

#[derive(Deserialize)]
struct Policy {
    trusted_only: bool,
    environment: Option<String>,
    minimum_trust: String,
}

#[derive(Deserialize)]
struct Notice {
    id: String,
    at: String,
    text: String,
    advice: String,
}

pub(crate) fn read<T: DeserializeOwned>(answer: &Value) -> Result<T> {
    T::deserialize(answer).map_err(|error| {
        Failure::new(
            Exit::Unreachable,
            "answer-malformed",
            format!("The registry's answer can not be read: {error}."),
        )
        .remedy("With --json you see it as it came. A newer client may know more.")
    })
}

fn publisher_lines(publisher: &Publisher) -> Vec<String> {
    let mut lines = vec![
        format!("{}  {}", publisher.id, publisher.label),
        format!(
            "    publishes {}:{} with an identity of {}{}",
            publisher.ecosystem,
            publisher.project,
            publisher.issuer,
            publisher.last_used.as_ref().map_or_else(
                || ", never used yet".to_owned(),
                |at| format!(", used last {at}")
            )
        ),
    ];
    if let Some(until) = &publisher.pending {
        lines.push(if publisher.lost {
            "    lost: somebody else's project has this name now; remove it".to_owned()
        } else {
            format!(
                "    pending until {until}: the first release makes the project; its name is not reserved"
            )
        });
    }
    for rule in &publisher.rules {
        lines.push(format!("    rule: {}", in_words(rule)));
    }
    for (claim, id) in &publisher.pinned {
        lines.push(format!("    pinned: {claim} is {id}"));
    }
    if let Some(by) = &publisher.pin_by {
        lines.push(format!(
            "    not pinned yet: its first use until {by} pins the ids of account and repository"
        ));
    }
    for warning in &publisher.warnings {
        lines.push(format!("    warning: {warning}"));
    }
    lines
}

pub(crate) fn printable(lines: Vec<String>) -> Vec<String> {
    lines.iter().map(|line| plain(line)).collect()
}

/// A list of publishers for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_list(answer: &Value) -> Result<Vec<String>> {
    let Items { items } = read::<Items<Publisher>>(answer)?;
    if items.is_empty() {
        return Ok(vec![
            "No publisher yet. Add one: countersign publisher add --help".to_owned(),
        ]);
    }
    Ok(printable(items.iter().flat_map(publisher_lines).collect()))
}

/// One publisher for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe(answer: &Value) -> Result<Vec<String>> {
    Ok(printable(publisher_lines(&read(answer)?)))
}

/// A check for people, and whether all is well.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_check(answer: &Value) -> Result<(bool, Vec<String>)> {
    let check: Check = read(answer)?;
    let mut lines = vec![format!(
        "{} {}",
        if check.ok { "✓" } else { "✗" },
        check.publisher.label
    )];
    lines.extend(
        check
            .findings
            .iter()
            .map(|finding| format!("    {finding}")),
    );
    Ok((check.ok, printable(lines)))
}

/// A test of a token for people, rule by rule, and the refusal if it would be refused.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_test(answer: &Value) -> Result<(Vec<String>, Option<Failure>)> {
    let tested: Tested = read(answer)?;
    let mut lines = Vec::new();
    for publisher in &tested.publishers {
        lines.push(format!(
            "{} {}",
            if publisher.matched { "✓" } else { "✗" },
            publisher.label
        ));
        lines.extend(
            publisher
                .rules
                .iter()
                .map(|rule| format!("    {}", told(rule))),
        );
    }
    if tested.verdict == "would-publish" {
        lines.push("This token would publish.".to_owned());
        return Ok((printable(lines), None));
    }
    let failure = match tested.refusal {
        Some(refusal) => {
            let mut failure = Failure::new(
                Exit::Refused,
                plain(&refusal.code),
                format!("This token would be refused: {}", plain(&refusal.message)),
            );
            failure.remedy = refusal.remedy.as_deref().map(plain);
            failure
        }
        None => Failure::new(
            Exit::Refused,
            "publisher-mismatch",
            "This token would be refused: no publisher fits it.",
        ),
    };
    Ok((printable(lines), Some(failure)))
}

/// Refused exchanges for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_failures(answer: &Value) -> Result<Vec<String>> {
    let Items { items } = read::<Items<Failed>>(answer)?;
    if items.is_empty() {
        return Ok(vec!["No exchange was refused lately.".to_owned()]);
    }
    let mut lines = Vec::new();
    for failed in &items {
        let times = if failed.times > 1 {
            format!(", {} times", failed.times)
        } else {
            String::new()
        };
        lines.push(format!(
            "{}{times}: {} ({})",
            failed.at, failed.message, failed.code
        ));
        lines.push(format!("    from {}", failed.issuer));
        lines.extend(
            failed
                .differences
                .iter()
                .map(|difference| format!("    {}", told(difference))),
        );
    }
    Ok(printable(lines))
}

/// A policy for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_policy(answer: &Value) -> Result<Vec<String>> {
    let policy: Policy = read(answer)?;
    Ok(printable(vec![
        format!(
            "stored tokens         {}",
            if policy.trusted_only {
                "refused: only trusted publishing"
            } else {
                "accepted"
            }
        ),
        format!(
            "required environment  {}",
            policy.environment.as_deref().unwrap_or("none")
        ),
        format!("minimum trust         {}", policy.minimum_trust),
    ]))
}

/// Notices for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_notices(answer: &Value) -> Result<Vec<String>> {
    let Items { items } = read::<Items<Notice>>(answer)?;
    if items.is_empty() {
        return Ok(vec!["No notices.".to_owned()]);
    }
    Ok(printable(
        items
            .iter()
            .flat_map(|notice| {
                [
                    format!("{}  {}: {}", notice.id, notice.at, notice.text),
                    format!("    {}", notice.advice),
                ]
            })
            .collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_rule_is_read_in_each_of_its_forms() {
        let rule = |text: &str| text.parse::<Rule>().map(|rule| in_words(&rule));
        for (text, words) in [
            ("sub=a=b~c", "sub is a=b~c"),
            ("sub=a|b", "sub is a or b"),
            ("ref~refs/tags/v*", "ref fits refs/tags/v*"),
            ("event_name!=push|x", "event_name fits none of push, x"),
            (
                "oidc.circleci.com/project-id=7",
                "oidc.circleci.com/project-id is 7",
            ),
        ] {
            assert_eq!(rule(text).as_deref(), Ok(words), "{text}");
        }
        for bad in ["sub", "=x", "!=x", "sub=", "sub=a||b", "sub!~x", "~x", ""] {
            assert!(rule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_project_has_an_ecosystem_and_one_segment_of_a_path() {
        let project: ProjectName = "pypi:a/../b c".parse().unwrap();
        assert_eq!(
            project.path(&["publishers", "x/y"]),
            "/api/v1/projects/pypi/a%2F..%2Fb%20c/publishers/x%2Fy"
        );
        assert_eq!(
            "thing".parse::<ProjectName>().unwrap().to_string(),
            "pypi:thing"
        );
        assert!(
            "gopher:thing"
                .parse::<ProjectName>()
                .unwrap_err()
                .contains("pypi")
        );
        assert!("pypi:".parse::<ProjectName>().is_err());
    }

    #[test]
    fn a_policy_is_changed_only_where_something_was_said() {
        assert!(PolicyChange::default().body().is_none());
        let change = PolicyChange {
            environment: Some(None),
            ..PolicyChange::default()
        };
        assert_eq!(change.body().unwrap(), json!({"environment": null}));
    }

    #[test]
    fn a_test_is_told_rule_by_rule_and_a_refusal_is_exit_4() {
        let answer = json!({"verdict": "refused", "claims": {},
            "refusal": {"code": "publisher-mismatch", "message": "No publisher fits.", "remedy": "See the rules."},
            "publishers": [{"id": "1", "label": "octo/sample", "matched": false, "rules": [
                {"claim": "repository", "expected": "octo/sample", "seen": "octo/sample", "matched": true, "advice": null},
                {"claim": "environment", "expected": "release", "seen": null, "matched": false, "advice": "add it"}]}]});
        let (lines, failure) = describe_test(&answer).unwrap();
        assert_eq!(
            lines[1],
            "    ✓ repository: seen octo/sample, as expected: octo/sample"
        );
        assert_eq!(
            lines[2],
            "    ✗ environment: expected release, not in the token. Add it."
        );
        assert_eq!(failure.unwrap().exit, Exit::Refused);
        let (_, fine) =
            describe_test(&json!({"verdict": "would-publish", "publishers": []})).unwrap();
        assert!(fine.is_none());
        assert_eq!(
            describe_test(&json!({})).err().map(|failure| failure.exit),
            Some(Exit::Unreachable)
        );
    }
}
