//! What the API shows of trusted publishing, and the form of rules.

use std::collections::BTreeMap;

use countersign_registry::model::Time;
use countersign_registry::oidc::{Field, Provider, Rule, Test};
use countersign_registry::{
    Error, FailedExchange, IssuerSummary, Kind, Notice, ProjectPolicy, PublisherSummary,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::view::DifferenceView;
use crate::error::shown;

/// A rule over one claim.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleView {
    /// Name of the claim.
    claim: String,
    test: TestView,
    value: Texts,
}

/// What is asked of a claim. All but `none-of` refuse a token that lacks it. A `pattern` has `*` for any run of
/// characters; `file` is `OWNER/REPOSITORY/PATH[@REF]`, whose part before the path may differ in case.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum TestView {
    Equal,
    EqualIgnoringCase,
    OneOf,
    Pattern,
    PatternIgnoringCase,
    NoneOf,
    File,
}

/// One text, or a list of them for `one-of` and `none-of`.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
enum Texts {
    One(String),
    Several(Vec<String>),
}

impl TryFrom<RuleView> for Rule {
    type Error = Error;

    fn try_from(RuleView { claim, test, value }: RuleView) -> Result<Self, Error> {
        let test = match (test, value) {
            (TestView::Equal, Texts::One(text)) => Test::Equal(text),
            (TestView::EqualIgnoringCase, Texts::One(text)) => Test::EqualIgnoringCase(text),
            (TestView::Pattern, Texts::One(text)) => Test::Pattern(text),
            (TestView::PatternIgnoringCase, Texts::One(text)) => Test::PatternIgnoringCase(text),
            (TestView::File, Texts::One(text)) => Test::File(text),
            (TestView::OneOf, Texts::Several(texts)) => Test::OneOf(texts),
            (TestView::NoneOf, Texts::Several(texts)) => Test::NoneOf(texts),
            (TestView::OneOf | TestView::NoneOf, Texts::One(_)) => {
                return Err(value_wrong(&claim, "a list of texts"));
            }
            (_, Texts::Several(_)) => return Err(value_wrong(&claim, "one text")),
        };
        Ok(Self { claim, test })
    }
}

fn value_wrong(claim: &str, needed: &str) -> Error {
    let message = format!(
        "The value of the rule for the claim {} must be {needed}.",
        shown(claim)
    );
    Error::new(Kind::Rejected, "json-malformed", message)
        .remedy("The form is described at /api/v1/openapi.json.")
}

impl From<Rule> for RuleView {
    fn from(Rule { claim, test }: Rule) -> Self {
        let (test, value) = match test {
            Test::Equal(text) => (TestView::Equal, Texts::One(text)),
            Test::EqualIgnoringCase(text) => (TestView::EqualIgnoringCase, Texts::One(text)),
            Test::Pattern(text) => (TestView::Pattern, Texts::One(text)),
            Test::PatternIgnoringCase(text) => (TestView::PatternIgnoringCase, Texts::One(text)),
            Test::File(text) => (TestView::File, Texts::One(text)),
            Test::OneOf(texts) => (TestView::OneOf, Texts::Several(texts)),
            Test::NoneOf(texts) => (TestView::NoneOf, Texts::Several(texts)),
        };
        Self { claim, test, value }
    }
}

/// Something that a person is asked to register a publisher.
#[derive(Serialize, ToSchema)]
struct FieldView {
    name: String,
    label: String,
    help: String,
    example: String,
    required: bool,
}

impl From<&Field> for FieldView {
    fn from(field: &Field) -> Self {
        Self {
            name: field.name.to_owned(),
            label: field.label.to_owned(),
            help: field.help.to_owned(),
            example: field.example.to_owned(),
            required: field.required,
        }
    }
}

/// A kind of CI system.
#[derive(Serialize, ToSchema)]
pub(super) struct ProviderView {
    /// `github`, `gitlab`, …
    provider: String,
    title: String,
    /// URL of its own issuer; null where there is none for all.
    issuer: Option<String>,
    fields: Vec<FieldView>,
}

impl From<Provider> for ProviderView {
    fn from(provider: Provider) -> Self {
        Self {
            provider: provider.as_str().to_owned(),
            title: provider.title().to_owned(),
            issuer: provider.issuer().map(str::to_owned),
            fields: provider.fields().iter().map(Into::into).collect(),
        }
    }
}

/// All kinds of CI systems.
#[derive(Serialize, ToSchema)]
pub(super) struct Providers {
    pub(super) items: Vec<ProviderView>,
}

/// An issuer whose identity tokens are taken.
#[derive(Serialize, ToSchema)]
pub(super) struct Issuer {
    name: String,
    url: String,
    provider: String,
    /// Known without the operator adding it.
    builtin: bool,
    /// Reached by a certificate authority of the operator's.
    private_ca: bool,
    /// When the operator added it.
    created: Option<String>,
}

impl From<IssuerSummary> for Issuer {
    fn from(issuer: IssuerSummary) -> Self {
        Self {
            name: issuer.name,
            url: issuer.url,
            provider: issuer.provider.as_str().to_owned(),
            builtin: issuer.builtin,
            private_ca: issuer.private_ca,
            created: issuer.created.map(Time::rfc3339),
        }
    }
}

/// The issuers.
#[derive(Serialize, ToSchema)]
pub(super) struct Issuers {
    pub(super) items: Vec<Issuer>,
}

/// A trusted publisher.
#[derive(Serialize, ToSchema)]
pub(super) struct Publisher {
    id: String,
    ecosystem: String,
    project: String,
    /// When it lapses, while its project does not exist yet; else null.
    pending: Option<String>,
    provider: String,
    /// Whether somebody else took the name of its project while it was pending.
    lost: bool,
    /// URL of the issuer.
    issuer: String,
    /// Repository, workflow and environment in words.
    label: String,
    /// What was given to register it, tidied.
    fields: BTreeMap<String, String>,
    /// What is asked of a token; all must hold.
    rules: Vec<RuleView>,
    /// Ids that can not be given to another account or repository, by claim.
    pinned: BTreeMap<String, String>,
    /// Until when missing ids are taken from the first token.
    pin_by: Option<String>,
    created: String,
    created_by: String,
    last_used: Option<String>,
    warnings: Vec<String>,
}

impl From<PublisherSummary> for Publisher {
    fn from(publisher: PublisherSummary) -> Self {
        Self {
            id: publisher.id,
            ecosystem: publisher.ecosystem.to_string(),
            project: publisher.project,
            pending: publisher.pending.map(Time::rfc3339),
            provider: publisher.provider.as_str().to_owned(),
            lost: publisher.lost,
            issuer: publisher.issuer,
            label: publisher.label,
            fields: publisher.fields,
            rules: publisher.rules.into_iter().map(Into::into).collect(),
            pinned: publisher.pinned,
            pin_by: publisher.pin_by.map(Time::rfc3339),
            created: publisher.created.rfc3339(),
            created_by: publisher.created_by,
            last_used: publisher.last_used.map(Time::rfc3339),
            warnings: publisher.warnings,
        }
    }
}

/// Publishers.
#[derive(Serialize, ToSchema)]
pub(super) struct Publishers {
    pub(super) items: Vec<Publisher>,
}

/// Whether a publisher can work.
#[derive(Serialize, ToSchema)]
pub(super) struct PublisherCheck {
    ok: bool,
    /// What was found, in sentences.
    findings: Vec<String>,
    publisher: Publisher,
}

impl From<countersign_registry::PublisherCheck> for PublisherCheck {
    fn from(check: countersign_registry::PublisherCheck) -> Self {
        Self {
            ok: check.ok,
            findings: check.findings,
            publisher: check.publisher.into(),
        }
    }
}

/// Why a token would be refused.
#[derive(Serialize, ToSchema)]
struct RefusalView {
    code: String,
    message: String,
    remedy: Option<String>,
    differences: Vec<DifferenceView>,
}

/// One publisher held against a token.
#[derive(Serialize, ToSchema)]
struct TestedPublisher {
    id: String,
    label: String,
    matched: bool,
    /// One outcome per rule, in order.
    rules: Vec<DifferenceView>,
}

/// What an identity token would do.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenTest {
    /// `would-publish` or `refused`.
    verdict: String,
    refusal: Option<RefusalView>,
    publishers: Vec<TestedPublisher>,
    /// What the token says of where it runs.
    claims: BTreeMap<String, String>,
}

impl From<countersign_registry::TokenTest> for TokenTest {
    fn from(test: countersign_registry::TokenTest) -> Self {
        Self {
            verdict: test.verdict.to_owned(),
            refusal: test.refusal.map(|refusal| RefusalView {
                code: refusal.code,
                message: refusal.message,
                remedy: refusal.remedy,
                differences: refusal.differences.into_iter().map(Into::into).collect(),
            }),
            publishers: test
                .publishers
                .into_iter()
                .map(|publisher| TestedPublisher {
                    id: publisher.id,
                    label: publisher.label,
                    matched: publisher.matched,
                    rules: publisher.rules.into_iter().map(Into::into).collect(),
                })
                .collect(),
            claims: test.claims,
        }
    }
}

/// An exchange that failed.
#[derive(Serialize, ToSchema)]
pub(super) struct FailedExchangeView {
    at: String,
    /// Id of the publisher that it was nearest to.
    publisher: String,
    issuer: String,
    code: String,
    message: String,
    differences: Vec<DifferenceView>,
    claims: BTreeMap<String, String>,
    /// How often at least; what fails within one second counts once.
    times: u64,
}

impl From<FailedExchange> for FailedExchangeView {
    fn from(failed: FailedExchange) -> Self {
        Self {
            at: failed.at.rfc3339(),
            publisher: failed.publisher,
            issuer: failed.issuer,
            code: failed.code,
            message: failed.message,
            differences: failed.differences.into_iter().map(Into::into).collect(),
            claims: failed.claims,
            times: failed.times,
        }
    }
}

/// The last exchanges that failed, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct FailedExchanges {
    pub(super) items: Vec<FailedExchangeView>,
}

/// What a project asks of those who publish it.
#[derive(Serialize, ToSchema)]
pub(super) struct Policy {
    /// API tokens are refused.
    trusted_only: bool,
    /// The environment that every workflow must run in.
    environment: Option<String>,
    /// `none`, `token`, `workflow` or `provenance`.
    minimum_trust: String,
    changed: Option<String>,
}

impl From<ProjectPolicy> for Policy {
    fn from(policy: ProjectPolicy) -> Self {
        Self {
            trusted_only: policy.trusted_only,
            environment: policy.environment,
            minimum_trust: policy.minimum_trust.as_str().to_owned(),
            changed: policy.changed.map(Time::rfc3339),
        }
    }
}

/// Something that the owners of a project should look at.
#[derive(Serialize, ToSchema)]
pub(super) struct NoticeView {
    id: String,
    at: String,
    /// `token-used-beside-publisher` or `environment-not-required`.
    kind: String,
    text: String,
    advice: String,
}

impl From<Notice> for NoticeView {
    fn from(notice: Notice) -> Self {
        Self {
            id: notice.id,
            at: notice.at.rfc3339(),
            kind: notice.kind,
            text: notice.text,
            advice: notice.advice,
        }
    }
}

/// Notices, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Notices {
    pub(super) items: Vec<NoticeView>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_keep_their_meaning_both_ways() {
        for test in [
            Test::Equal("a".to_owned()),
            Test::EqualIgnoringCase("a".to_owned()),
            Test::OneOf(vec!["a".to_owned(), "b".to_owned()]),
            Test::Pattern("refs/tags/*".to_owned()),
            Test::PatternIgnoringCase("A*".to_owned()),
            Test::NoneOf(vec!["a".to_owned()]),
            Test::File("o/r/x.yml".to_owned()),
        ] {
            let rule = Rule {
                claim: "c".to_owned(),
                test,
            };
            let json = serde_json::to_value(RuleView::from(rule.clone())).unwrap();
            // The same JSON as the rule's own, which clients may write by themselves.
            assert_eq!(json, serde_json::to_value(&rule).unwrap());
            let view: RuleView = serde_json::from_value(json).unwrap();
            assert_eq!(Rule::try_from(view).unwrap(), rule);
        }
    }

    #[test]
    fn a_list_where_one_text_belongs_is_refused_and_the_other_way_round() {
        for (json, needed) in [
            (r#"{"claim":"c","test":"equal","value":["a"]}"#, "one text"),
            (r#"{"claim":"c","test":"one-of","value":"a"}"#, "a list"),
        ] {
            let view: RuleView = serde_json::from_str(json).unwrap();
            let error = Rule::try_from(view).unwrap_err();
            assert!(error.message.contains(needed), "{}", error.message);
        }
        let unknown = r#"{"claim":"c","test":"equal","value":"a","of":"x"}"#;
        assert!(serde_json::from_str::<RuleView>(unknown).is_err());
    }
}
