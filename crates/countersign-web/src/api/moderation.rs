//! Reports, and what is withheld: by anybody, by owners, by operators.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use countersign_formats::purl;
use countersign_registry::Error;
use countersign_registry::model::{
    CallerOrigin, Case, Cause, FoundIn, Order, Portion, Report, ReporterFacts, Reporting,
};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::Problem;
use super::{Answer, body, ecosystem, json, kept_by_nobody, malformed};
use crate::error::Refusal;
use crate::site::Site;

/// A report to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewReport {
    /// Package URL of a project, a release or a file of this registry.
    purl: String,
    /// `malware`, `spam`, `dependency-confusion`, `abuse` or `other`.
    kind: String,
    /// An `https://` address where it can be seen; needed for `malware`.
    #[serde(default)]
    evidence: String,
    /// What is wrong, in words.
    text: String,
}

/// What became of a report.
#[derive(Serialize, ToSchema)]
pub(super) struct ReportView {
    /// Good for asking again; whoever has it may.
    ticket: String,
    /// What was reported.
    purl: String,
    /// What is said to be wrong.
    kind: &'static str,
    /// When it was made.
    made: String,
    /// `waiting`, `confirmed`, `unfounded` or `duplicate`.
    state: String,
    /// What the operator answered.
    answer: Option<String>,
    /// When it was judged.
    decided: Option<String>,
    /// Where its state is told, to programs and to people.
    status_url: String,
    /// The page of the same.
    page: String,
}

/// A report as the operator sees it.
#[derive(Serialize, ToSchema)]
pub(super) struct QueuedReport {
    #[serde(flatten)]
    report: ReportView,
    /// Where it can be seen.
    evidence: String,
    /// In the reporter's words.
    text: String,
    /// Who reported it.
    reporter: Option<String>,
    /// Whether the reporter was trusted then.
    trusted: bool,
}

/// Reports that wait.
#[derive(Serialize, ToSchema)]
pub(super) struct Reports {
    items: Vec<QueuedReport>,
    /// Who reports, and how it turned out.
    reporters: Vec<ReporterView>,
}

/// How somebody's reports turned out.
#[derive(Serialize, ToSchema)]
pub(super) struct ReporterView {
    user: String,
    /// Since when the operator trusts them.
    trusted: Option<String>,
    made: u64,
    confirmed: u64,
    unfounded: u64,
    /// Confirmed of those judged on the merits, in per cent.
    accuracy: Option<u64>,
}

/// A verdict.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Verdict {
    /// `confirmed`, `unfounded` or `duplicate`.
    verdict: String,
    /// The reporter reads it.
    #[serde(default)]
    answer: String,
}

/// Whether a reporter is trusted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Trusted {
    trusted: bool,
}

/// Something withheld that waits for a decision, or waited.
#[derive(Serialize, ToSchema)]
pub(super) struct CaseView {
    id: String,
    /// What is withheld.
    purl: String,
    /// `operator`, `reports`, `scan`, `feed` or `names`.
    cause: String,
    /// As everyone is told.
    reason: String,
    /// It was never served.
    held: bool,
    opened: String,
    /// By when somebody must have looked at it. It stays withheld after that.
    review_by: String,
    overdue: bool,
    /// Accounts and workflows that it keeps frozen.
    frozen: u64,
    appeal: Option<String>,
    answer: Option<String>,
    closed: Option<String>,
    /// `released` or `removed`.
    outcome: Option<String>,
}

/// Cases of what is withheld.
#[derive(Serialize, ToSchema)]
pub(super) struct CaseList {
    items: Vec<CaseView>,
}

/// What to withhold, or to serve again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Quarantine {
    /// Package URL of a project, a release or a file.
    purl: String,
    /// True: withhold it. False: serve it again, and free whom its case froze.
    withheld: bool,
    /// Shown to everyone.
    #[serde(default)]
    reason: String,
    /// Freeze the accounts and workflows that published it.
    #[serde(default)]
    freeze: bool,
    /// It does harm for sure: everybody is told by an advisory, until it is served again.
    #[serde(default)]
    malware: bool,
}

/// Words.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    text: String,
}

impl ReportView {
    fn of(site: &Site, report: &Report) -> Self {
        let base = site.registry.settings().site().to_owned();
        Self {
            ticket: report.ticket.clone(),
            purl: report.subject.clone(),
            kind: report.kind.as_str(),
            made: report.made.rfc3339(),
            state: report
                .verdict
                .clone()
                .unwrap_or_else(|| "waiting".to_owned()),
            answer: report.answer.clone().filter(|answer| !answer.is_empty()),
            decided: report.decided.map(|at| at.rfc3339()),
            status_url: format!("{base}/api/v1/reports/{}", report.ticket),
            page: format!("{base}/report/{}", report.ticket),
        }
    }
}

impl From<ReporterFacts> for ReporterView {
    fn from(facts: ReporterFacts) -> Self {
        Self {
            accuracy: facts.accuracy(),
            user: facts.name,
            trusted: facts.trusted.map(|at| at.rfc3339()),
            made: facts.made,
            confirmed: facts.confirmed,
            unfounded: facts.unfounded,
        }
    }
}

impl From<Case> for CaseView {
    fn from(case: Case) -> Self {
        Self {
            id: case.id,
            purl: case.subject,
            cause: case.cause,
            reason: case.reason,
            held: case.held.is_some(),
            opened: case.opened.rfc3339(),
            review_by: case.review_by.rfc3339(),
            overdue: case.overdue.is_some(),
            frozen: case.frozen,
            appeal: case.appeal,
            answer: case.answer,
            closed: case.closed.map(|at| at.rfc3339()),
            outcome: case.outcome,
        }
    }
}

/// Report something of this registry; no account is needed
#[utoipa::path(post, path = "/api/v1/reports", tag = "moderation", security((), ("token" = [])), request_body = NewReport,
    responses((status = ACCEPTED, body = ReportView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn report(
    State(site): State<Site>,
    Extension(origin): Extension<CallerOrigin>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = site.viewer(&headers).await.map_err(Refusal::problem)?;
    let new: NewReport = body(content).await?;
    let kind = new.kind.parse().map_err(malformed)?;
    let reporting = Reporting {
        purl: &new.purl,
        kind,
        evidence: &new.evidence,
        text: &new.text,
    };
    let report = site
        .registry
        .report(&actor, &reporting, &origin)
        .await
        .map_err(Refusal::problem)?;
    let told = json(&site, &ReportView::of(&site, &report))?;
    Ok(kept_by_nobody(StatusCode::ACCEPTED, told))
}

/// What became of a report
#[utoipa::path(get, path = "/api/v1/reports/{ticket}", tag = "moderation", params(("ticket" = String, Path)),
    responses((status = OK, body = ReportView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn report_state(
    State(site): State<Site>,
    Path(ticket): Path<String>,
    headers: HeaderMap,
) -> Answer {
    site.viewer(&headers).await.map_err(Refusal::problem)?;
    let report = site
        .registry
        .report_state(&ticket)
        .await
        .map_err(Refusal::problem)?;
    let told = json(&site, &ReportView::of(&site, &report))?;
    Ok(kept_by_nobody(StatusCode::OK, told))
}

/// The cases of a project: what the operator or a rule withheld
#[utoipa::path(get, path = "/api/v1/projects/{ecosystem}/{name}/cases", tag = "moderation", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = OK, body = CaseList), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn cases_of(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let cases = site
        .registry
        .cases_of(&actor, ecosystem(&system)?, &name)
        .await
        .map_err(Refusal::problem)?;
    let items = cases.into_iter().map(Into::into).collect();
    let told = json(&site, &CaseList { items })?;
    Ok(kept_by_nobody(StatusCode::OK, told))
}

/// Something that the scanner found in a file.
#[derive(Serialize, ToSchema)]
pub(super) struct FindingView {
    /// The file.
    purl: String,
    /// Where that is in its life now: `live`, `held`, `quarantined` or `removed`.
    state: &'static str,
    found: String,
    rule: String,
    title: String,
    /// How heavy it is, from 0 to 100.
    score: u32,
    /// The member of the archive; empty for the whole.
    path: String,
    /// From 1 on; 0 where there is none.
    line: u32,
    snippet: String,
}

impl From<FoundIn> for FindingView {
    fn from(found: FoundIn) -> Self {
        Self {
            purl: found.purl,
            state: found.state.as_str(),
            found: found.found.rfc3339(),
            rule: found.finding.rule,
            title: found.finding.title,
            score: found.finding.score,
            path: found.finding.path,
            line: found.finding.line,
            snippet: found.finding.snippet,
        }
    }
}

/// What the scanner found in a project's files.
#[derive(Serialize, ToSchema)]
pub(super) struct FindingList {
    items: Vec<FindingView>,
}

/// What the scanner found in a project's files, for its own people
#[utoipa::path(get, path = "/api/v1/projects/{ecosystem}/{name}/findings", tag = "moderation", security(("token" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = OK, body = FindingList), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn findings_of(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let found = site
        .registry
        .findings_of(&actor, ecosystem(&system)?, &name)
        .await
        .map_err(Refusal::problem)?;
    let items = found.into_iter().map(Into::into).collect();
    let told = json(&site, &FindingList { items })?;
    Ok(kept_by_nobody(StatusCode::OK, told))
}

/// Say why something withheld should be served again
#[utoipa::path(post, path = "/api/v1/projects/{ecosystem}/{name}/cases/{case}/appeal", tag = "moderation", security(("token" = [])),
    request_body = Words, params(("ecosystem" = String, Path), ("name" = String, Path), ("case" = String, Path)),
    responses((status = NO_CONTENT, description = "The operator is told"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn appeal(
    State(site): State<Site>,
    Path((system, name, case)): Path<(String, String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let Words { text } = body(content).await?;
    site.registry
        .appeal(&actor, ecosystem(&system)?, &name, &case, &text)
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// What waits for an operator's decision
#[utoipa::path(get, path = "/api/v1/operator/cases", tag = "operator", security(("session" = [])),
    responses((status = OK, body = CaseList), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn cases(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let cases = site
        .registry
        .open_cases(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = cases.into_iter().map(Into::into).collect();
    let told = json(&site, &CaseList { items })?;
    Ok(kept_by_nobody(StatusCode::OK, told))
}

/// Answer a case; it stays withheld
#[utoipa::path(post, path = "/api/v1/operator/cases/{case}/answer", tag = "operator", security(("session" = [])),
    request_body = Words, params(("case" = String, Path)),
    responses((status = NO_CONTENT, description = "Its owners are told"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn answer_case(
    State(site): State<Site>,
    Path(case): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let Words { text } = body(content).await?;
    site.registry
        .answer_case(&actor, &case, &text)
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Withhold a project, a release or a file, or serve it again
#[utoipa::path(post, path = "/api/v1/operator/quarantine", tag = "operator", security(("session" = [])), request_body = Quarantine,
    responses((status = NO_CONTENT, description = "Done"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn quarantine(
    State(site): State<Site>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let wanted: Quarantine = body(content).await?;
    let named =
        purl::parse(&wanted.purl).map_err(|refused| Refusal::problem(Error::from(refused)))?;
    let portion = match (&named.filename, &named.version) {
        (Some(file), _) => Portion::File(file),
        (None, Some(version)) => Portion::Release(version),
        (None, None) => Portion::Project,
    };
    let (registry, key) = (&site.registry, named.name_key.as_str());
    let done = if wanted.withheld {
        let order = Order {
            reason: &wanted.reason,
            cause: match wanted.malware {
                true => Cause::Malware,
                false => Cause::Operator,
            },
            freeze: wanted.freeze,
        };
        registry
            .withhold(&actor, named.ecosystem, key, portion, order)
            .await
    } else {
        registry
            .serve_again(&actor, named.ecosystem, key, portion)
            .await
    };
    done.map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Reports that wait, and who makes them
#[utoipa::path(get, path = "/api/v1/operator/reports", tag = "operator", security(("session" = [])),
    responses((status = OK, body = Reports), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn reports(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let waiting = site
        .registry
        .open_reports(&actor)
        .await
        .map_err(Refusal::problem)?;
    let reporters = site
        .registry
        .reporters(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = waiting
        .into_iter()
        .map(|report| QueuedReport {
            report: ReportView::of(&site, &report),
            evidence: report.evidence,
            text: report.text,
            reporter: report.reporter,
            trusted: report.trusted,
        })
        .collect();
    let reporters = reporters.into_iter().map(Into::into).collect();
    let told = json(&site, &Reports { items, reporters })?;
    Ok(kept_by_nobody(StatusCode::OK, told))
}

/// Judge a report
#[utoipa::path(put, path = "/api/v1/operator/reports/{ticket}", tag = "operator", security(("session" = [])), request_body = Verdict,
    params(("ticket" = String, Path)),
    responses((status = NO_CONTENT, description = "Its reporter is told"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn judge_report(
    State(site): State<Site>,
    Path(ticket): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let Verdict { verdict, answer } = body(content).await?;
    site.registry
        .judge_report(&actor, &ticket, &verdict, &answer)
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Trust somebody's reports of malware, or no more
#[utoipa::path(put, path = "/api/v1/operator/reporters/{user}", tag = "operator", security(("session" = [])), request_body = Trusted,
    params(("user" = String, Path)),
    responses((status = NO_CONTENT, description = "Done"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn trust_reporter(
    State(site): State<Site>,
    Path(user): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let Trusted { trusted } = body(content).await?;
    site.registry
        .trust_reporter(&actor, &user, trusted)
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
