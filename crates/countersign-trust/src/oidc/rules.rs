//! Rules over claims, and what a maintainer reads where one is not met.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::claims::scalar;
use super::{Claims, Difference, escaped};

/// A rule over one claim. In JSON: `{"claim": "repository", "test": "equal", "value": "octo/sample"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The claim's name.
    pub claim: String,
    /// What is asked of it.
    #[serde(flatten)]
    pub test: Test,
}

/// What is asked of a claim. Strings, integers and booleans are compared as text. A list of such meets a test if
/// one of its members does, and [`Test::NoneOf`] if none is forbidden. All but `NoneOf` refuse a token without the
/// claim. Only ASCII letters are ever compared ignoring case, so no look-alike of another alphabet matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "test", content = "value", rename_all = "kebab-case")]
pub enum Test {
    /// This text, byte for byte.
    Equal(String),
    /// This text; ASCII letters may differ in case.
    EqualIgnoringCase(String),
    /// One of these texts, byte for byte.
    OneOf(Vec<String>),
    /// A pattern: `*` is any run of characters, `/` among them; everything else is itself.
    Pattern(String),
    /// A pattern whose ASCII letters may differ in case.
    PatternIgnoringCase(String),
    /// The claim, where it is there, fits none of these patterns.
    NoneOf(Vec<String>),
    /// A file of a repository, `OWNER/REPOSITORY/PATH` or `HOST/PROJECT//PATH`, with or without `@REF`. The claim is
    /// split at its first `@`: before it, the repository may differ in case and the path may not; after it may stand
    /// anything, or exactly `REF`. A pattern would not do: a branch may be named so that a claim about another file
    /// ends like one about this file.
    File(String),
}

impl std::str::FromStr for Rule {
    type Err = String;

    /// A rule as command lines write it: `NAME=VALUE`, `NAME=ONE|TWO`, `NAME~PATTERN`, `NAME!=ONE|TWO`. Of the ways to
    /// compare, those without regard to case and values with a `|` can not be written so.
    fn from_str(text: &str) -> Result<Self, String> {
        const FORMS: &str = "write NAME=VALUE, NAME=ONE|TWO, NAME~PATTERN or NAME!=ONE|TWO";
        let Some(at) = text.find(['=', '~']) else {
            return Err(format!("it has no = nor ~; {FORMS}"));
        };
        let (name, value) = (&text[..at], &text[at + 1..]);
        let several = || value.split('|').map(str::to_owned).collect::<Vec<_>>();
        let pattern = text.as_bytes()[at] == b'~';
        let (claim, test) = match name.strip_suffix('!') {
            Some(_) if pattern => {
                return Err(
                    "there is no !~; != takes patterns already: NAME!=refs/pull/*".to_owned(),
                );
            }
            Some(claim) => (claim, Test::NoneOf(several())),
            None if pattern => (name, Test::Pattern(value.to_owned())),
            None if value.contains('|') => (name, Test::OneOf(several())),
            None => (name, Test::Equal(value.to_owned())),
        };
        if claim.is_empty() {
            return Err(format!("the name of the claim is missing; {FORMS}"));
        }
        let empty = match &test {
            Test::OneOf(values) | Test::NoneOf(values) => values.iter().any(String::is_empty),
            _ => value.is_empty(),
        };
        if empty {
            return Err(format!(
                "a value for {claim} is empty; a claim that is empty or missing never counts"
            ));
        }
        Ok(Self {
            claim: claim.to_owned(),
            test,
        })
    }
}

/// Holds claims against rules: one outcome per rule, in order, matched or not.
pub fn evaluate(rules: &[Rule], claims: &Claims) -> Vec<Difference> {
    rules
        .iter()
        .map(|rule| {
            let matched = holds(&rule.test, claims.get(&rule.claim));
            Difference {
                claim: rule.claim.clone(),
                expected: expected(&rule.test),
                seen: claims.get(&rule.claim).map(shown),
                matched,
                advice: (!matched).then(|| advice(rule, rules, claims)),
            }
        })
        .collect()
}

/// Whether all rules matched. False for an empty list: no rule, no match.
pub fn matches(outcomes: &[Difference]) -> bool {
    !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.matched)
}

fn holds(test: &Test, value: Option<&Value>) -> bool {
    let Some(value) = value else {
        return matches!(test, Test::NoneOf(_));
    };
    let texts: Option<Vec<String>> = match value {
        Value::Array(list) => list.iter().map(scalar).collect(),
        one => scalar(one).map(|text| vec![text]),
    };
    // What cannot be compared meets nothing, not even a rule that only forbids.
    let Some(texts) = texts else { return false };
    let any = |fits: &dyn Fn(&str) -> bool| texts.iter().any(|text| fits(text));
    match test {
        Test::Equal(wanted) => any(&|text| text == wanted),
        Test::EqualIgnoringCase(wanted) => any(&|text| text.eq_ignore_ascii_case(wanted)),
        Test::OneOf(wanted) => any(&|text| wanted.iter().any(|one| one == text)),
        Test::Pattern(pattern) => any(&|text| fits(pattern, text)),
        Test::PatternIgnoringCase(pattern) => {
            let pattern = pattern.to_ascii_lowercase();
            any(&|text| fits(&pattern, &text.to_ascii_lowercase()))
        }
        Test::NoneOf(patterns) => !any(&|text| patterns.iter().any(|pattern| fits(pattern, text))),
        Test::File(wanted) => any(&|text| is_file(wanted, text)),
    }
}

/// Whether `text` fits `pattern`, in which `*` stands for any run of characters. Each piece between stars is looked
/// for once, leftmost, so the time is linear in both lengths whatever the pattern.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let (middle, last) = match rest.rsplit_once('*') {
        Some((middle, last)) => (middle, last),
        None => ("", rest),
    };
    let Some(inner) = text
        .strip_prefix(first)
        .and_then(|text| text.strip_suffix(last))
    else {
        return false;
    };
    let mut left = inner;
    middle.split('*').all(|piece| match left.find(piece) {
        Some(at) => {
            left = &left[at + piece.len()..];
            true
        }
        None => false,
    })
}

/// Splits a file into its repository, compared ignoring case, and the path in it.
fn repository_and_path(file: &str) -> Option<(&str, &str)> {
    if let Some((repository, path)) = file.split_once("//") {
        return Some((repository, path));
    }
    let (owner, rest) = file.split_once('/')?;
    let (name, path) = rest.split_once('/')?;
    Some((&file[..owner.len() + 1 + name.len()], path))
}

/// What may stand behind the `@` of a workflow: a full ref or a commit. A file's own name may hold an `@` too
/// (`release.yml@x.yml`), and then something else begins behind the first one.
fn is_ref_or_commit(text: &str) -> bool {
    let commit = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    commit || (text.starts_with("refs/") && !text.contains("@refs/"))
}

fn is_file(wanted: &str, seen: &str) -> bool {
    let Some((seen_file, seen_ref)) = seen
        .split_once('@')
        .filter(|(_, reference)| is_ref_or_commit(reference))
    else {
        return false;
    };
    let (wanted_file, wanted_ref) = match wanted.split_once('@') {
        Some((file, reference)) => (file, Some(reference)),
        None => (wanted, None),
    };
    let (Some((wanted_repository, wanted_path)), Some((seen_repository, seen_path))) = (
        repository_and_path(wanted_file),
        repository_and_path(seen_file),
    ) else {
        return false;
    };
    seen_repository.eq_ignore_ascii_case(wanted_repository)
        && seen_path == wanted_path
        && wanted_ref.is_none_or(|reference| reference == seen_ref)
}

/// A claim's value as a message shows it.
fn shown(value: &Value) -> String {
    escaped(&scalar(value).unwrap_or_else(|| value.to_string()))
}

fn listed(texts: &[String]) -> String {
    texts.join(" or ")
}

fn expected(test: &Test) -> String {
    match test {
        Test::Equal(text) => text.clone(),
        Test::EqualIgnoringCase(text) => format!("{text} (in any case)"),
        Test::OneOf(texts) => listed(texts),
        Test::Pattern(pattern) if pattern == "*" => "anything".to_owned(),
        Test::Pattern(pattern) => format!("{pattern} (* is any text)"),
        Test::PatternIgnoringCase(pattern) => format!("{pattern} (* is any text, in any case)"),
        Test::NoneOf(patterns) => format!("not {}", listed(patterns)),
        Test::File(file) if file.contains('@') => file.clone(),
        Test::File(file) => format!("{file}@ and any ref"),
    }
}

/// What the maintainer should change, and where. It knows the providers by their claims, since it reads rules
/// and claims only.
fn advice(rule: &Rule, rules: &[Rule], claims: &Claims) -> String {
    let claim = rule.claim.as_str();
    let wanted = expected(&rule.test);
    let seen = claims.get(claim).map(shown);
    let file = workflow_file(rules);
    let gitlab = rules.iter().any(|rule| rule.claim == "project_path");
    match (claim, seen.as_deref(), &rule.test) {
        ("environment", None, Test::Equal(name) | Test::EqualIgnoringCase(name)) => format!(
            "add `environment: {name}` to the job in {file}, or register a publisher without an environment"
        ),
        ("environment", Some(seen), Test::Equal(name)) if seen.eq_ignore_ascii_case(name) => {
            format!(
                "the environment differs only in case, which counts here: write `environment: {name}` in {file}, \
                 or register the environment as {seen}"
            )
        }
        ("environment", Some(seen), _) => format!(
            "the job in {file} runs in the environment {seen}: change it to {wanted}, or register a publisher \
             with the environment {seen}"
        ),
        ("repository" | "project_path" | "repository_owner", Some(seen), _) => format!(
            "if the repository was renamed or moved to {seen}, register a publisher for that name and remove this one; \
             else run the job in the registered repository"
        ),
        ("workflow_ref" | "ci_config_ref_uri", Some(seen), _) => {
            let seen = seen.split('@').next().unwrap_or(seen);
            format!(
                "the job was started by {seen}: publish from {file}, or register a publisher for that file \
                 (upper and lower case count in its path)"
            )
        }
        ("job_workflow_ref", Some(seen), Test::PatternIgnoringCase(_)) => format!(
            "the job runs in the called workflow {seen}, which stands in another repository: name that workflow in the \
             publisher's field `called_workflow`, or publish from a job of {file} itself"
        ),
        ("job_workflow_ref", Some(seen), _) => format!(
            "the job runs in {seen}: call the registered workflow from {file}, or change the publisher's field \
             `called_workflow`"
        ),
        (
            "event_name" | "pipeline_source",
            Some("pull_request_target" | "workflow_run"),
            Test::NoneOf(_),
        ) => format!(
            "this event can run with what strangers wrote: publish on a pushed tag or a release, in a workflow of its \
             own; or, if {file} is safe for it, list the events you allow in the publisher's field `events`"
        ),
        ("event_name" | "pipeline_source", Some(_), Test::NoneOf(_)) => {
            "a pull request never publishes, since strangers can write it: publish on a pushed tag or a release"
                .to_owned()
        }
        ("event_name" | "pipeline_source", Some(seen), _) => format!(
            "the job was started by `{seen}`: start it by {wanted}, or change the publisher's field `events`"
        ),
        ("ref" | "ref_path" | "oidc.circleci.com/vcs-ref", Some(seen), Test::NoneOf(_)) => format!(
            "{seen} belongs to a pull request: publish from a branch or tag of the repository itself"
        ),
        ("ref" | "ref_path" | "oidc.circleci.com/vcs-ref", Some(seen), _) => format!(
            "the job runs for {seen}: run it for a ref that fits {wanted}, or change the publisher's field `ref`"
        ),
        ("ref_protected", _, _) => {
            "protect the branch or tag in the project's settings, or publish from a protected one"
                .to_owned()
        }
        ("runner_environment", Some(seen), _) => format!(
            "the job runs on a {seen} runner: use a runner of the kind {wanted} in {file}, or change the publisher's \
             field `runner`"
        ),
        ("repository_visibility" | "project_visibility", Some(seen), _) => format!(
            "the repository is {seen}: change its visibility, or the publisher's field `visibility`"
        ),
        ("oidc.circleci.com/ssh-rerun", _, _) => {
            "the job was run again with SSH, where a person can change it: run it without"
                .to_owned()
        }
        ("organization_id" | "pipeline_id", None, _) => {
            format!("add `{claim}` to the --claim option of buildkite-agent oidc request-token")
        }
        (_, None, Test::File(_)) if gitlab => format!(
            "the token has no `{claim}`: the pipeline's file must stand in the project itself, as {wanted}"
        ),
        (_, None, _) => format!(
            "the token has no `{claim}`: use a token of the registered kind of CI system, or change the publisher"
        ),
        (_, Some(_), _) => format!(
            "run the job so that `{claim}` is {wanted}, or register a publisher with the value it has"
        ),
    }
}

/// The file that starts the job, as the rules name it.
fn workflow_file(rules: &[Rule]) -> String {
    rules
        .iter()
        .find_map(|rule| match (rule.claim.as_str(), &rule.test) {
            ("workflow_ref" | "ci_config_ref_uri", Test::File(file)) => {
                Some(repository_and_path(file)?.1.to_owned())
            }
            _ => None,
        })
        .unwrap_or_else(|| "the workflow".to_owned())
}
