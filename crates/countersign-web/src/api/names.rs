//! Names, for operators who are signed in: what would become of one, what is prohibited, what may stand beside what. Lists are
//! imported at the machine.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use countersign_formats::Ecosystem;
use countersign_registry::model::Actor;
use countersign_registry::{Error, MissingName, NameOpinion, NameReason};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::Problem;
use super::{Answer, body, ecosystem, json};
use crate::error::Refusal;
use crate::site::Site;

/// What would become of a name, and why.
#[derive(Serialize, ToSchema)]
pub(super) struct NameOpinionView {
    ecosystem: &'static str,
    /// As it was asked for.
    name: String,
    /// What it is known by, where it is a name.
    key: Option<String>,
    /// `free`, `flagged`, `held`, `taken` or `refused`.
    #[schema(value_type = String)]
    verdict: countersign_registry::NameVerdict,
    /// The weightiest first.
    reasons: Vec<NameReasonView>,
}

/// One reason.
#[derive(Serialize, ToSchema)]
pub(super) struct NameReasonView {
    /// The code of the error, or of the finding.
    code: String,
    why: String,
    /// The name that it is about, where it is about another one.
    other: Option<String>,
}

impl From<NameReason> for NameReasonView {
    fn from(reason: NameReason) -> Self {
        Self {
            code: reason.code,
            why: reason.why,
            other: reason.other,
        }
    }
}

impl From<NameOpinion> for NameOpinionView {
    fn from(opinion: NameOpinion) -> Self {
        Self {
            ecosystem: opinion.ecosystem.as_str(),
            name: opinion.name,
            key: opinion.key,
            verdict: opinion.verdict,
            reasons: opinion.reasons.into_iter().map(Into::into).collect(),
        }
    }
}

/// What names are held against.
#[derive(Serialize, ToSchema)]
pub(super) struct NameRules {
    /// Lists of protected names.
    lists: Vec<NameListView>,
    /// Names that nobody may take, besides those of the configuration.
    prohibited: Vec<ProhibitedView>,
    /// Names that may stand beside another one.
    exceptions: Vec<ExceptionView>,
}

/// A list of protected names.
#[derive(Serialize, ToSchema)]
pub(super) struct NameListView {
    ecosystem: &'static str,
    list: String,
    /// The most that looking like one of it leads to: `flag`, `hold` or `refuse`.
    tier: &'static str,
    names: u64,
    imported: String,
}

/// A prohibited name.
#[derive(Serialize, ToSchema)]
pub(super) struct ProhibitedView {
    ecosystem: &'static str,
    name: String,
    reason: String,
    since: String,
}

/// A name that may stand beside another one.
#[derive(Serialize, ToSchema)]
pub(super) struct ExceptionView {
    ecosystem: &'static str,
    name: String,
    other: String,
    reason: String,
    since: String,
}

/// Why a name is prohibited, or may stand beside another one.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NameRule {
    /// Why; `null` ends the rule.
    reason: Option<String>,
}

/// Files that are served because of an exception.
#[derive(Serialize, ToSchema)]
pub(super) struct ServedForName {
    served: Vec<String>,
}

async fn caller(
    site: &Site,
    headers: &HeaderMap,
    system: &str,
) -> Result<(Actor, Ecosystem), Refusal> {
    let actor = site.actor(headers).await.map_err(Refusal::problem)?;
    Ok((actor, ecosystem(system)?))
}

/// What names are held against
#[utoipa::path(get, path = "/api/v1/operator/names", tag = "operator", security(("session" = [])),
    responses((status = OK, body = NameRules), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn name_rules(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let registry = &site.registry;
    let rules = async {
        Ok::<_, Error>(NameRules {
            lists: registry
                .name_lists(&actor)
                .await?
                .into_iter()
                .map(|list| NameListView {
                    ecosystem: list.ecosystem.as_str(),
                    list: list.name,
                    tier: list.tier.as_str(),
                    names: list.names,
                    imported: list.imported.rfc3339(),
                })
                .collect(),
            prohibited: registry
                .prohibited_names(&actor)
                .await?
                .into_iter()
                .map(|name| ProhibitedView {
                    ecosystem: name.ecosystem.as_str(),
                    name: name.key,
                    reason: name.reason,
                    since: name.since.rfc3339(),
                })
                .collect(),
            exceptions: registry
                .name_exceptions(&actor)
                .await?
                .into_iter()
                .map(|one| ExceptionView {
                    ecosystem: one.ecosystem.as_str(),
                    name: one.key,
                    other: one.other,
                    reason: one.reason,
                    since: one.since.rfc3339(),
                })
                .collect(),
        })
    };
    json(&site, &rules.await.map_err(Refusal::problem)?)
}

/// A name that installers ask for, and that does not exist.
#[derive(Serialize, ToSchema)]
pub(super) struct MissingNameView {
    ecosystem: &'static str,
    name: String,
    /// How often within the last thirty days, at least.
    asked: u64,
    /// On how many of them.
    days: u64,
    /// The last of them.
    last: String,
    /// Nobody may take it.
    prohibited: bool,
}

impl From<MissingName> for MissingNameView {
    fn from(missing: MissingName) -> Self {
        Self {
            ecosystem: missing.ecosystem.as_str(),
            name: missing.key,
            asked: missing.asked,
            days: missing.days,
            last: missing.last.rfc3339().chars().take(10).collect(),
            prohibited: missing.prohibited,
        }
    }
}

/// Names that do not exist and are asked for.
#[derive(Serialize, ToSchema)]
pub(super) struct MissingNames {
    /// Those first that are asked for most; two hundred at most.
    items: Vec<MissingNameView>,
}

/// Names that installers ask for, and that do not exist
#[utoipa::path(get, path = "/api/v1/operator/names/missing", tag = "operator", security(("session" = [])),
    responses((status = OK, body = MissingNames), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn missing_names(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let found = site
        .registry
        .missing_names(&actor)
        .await
        .map_err(Refusal::problem)?;
    let items = found.into_iter().map(Into::into).collect();
    json(&site, &MissingNames { items })
}

/// What would become of a name if somebody without any rights founded it
#[utoipa::path(get, path = "/api/v1/operator/names/{ecosystem}/{name}", tag = "operator", security(("session" = [])),
    params(("ecosystem" = String, Path), ("name" = String, Path, description = "A scope's slash is %2F")),
    responses((status = OK, body = NameOpinionView), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn check_name(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let (actor, system) = caller(&site, &headers, &system).await?;
    let opinion = site
        .registry
        .check_name(&actor, system, &name)
        .await
        .map_err(Refusal::problem)?;
    json(&site, &NameOpinionView::from(opinion))
}

/// Prohibit a name, or no longer
#[utoipa::path(put, path = "/api/v1/operator/names/{ecosystem}/{name}/prohibition", tag = "operator", security(("session" = [])),
    request_body = NameRule, params(("ecosystem" = String, Path), ("name" = String, Path)),
    responses((status = NO_CONTENT, description = "Done"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn prohibit_name(
    State(site): State<Site>,
    Path((system, name)): Path<(String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let (actor, system) = caller(&site, &headers, &system).await?;
    let NameRule { reason } = body(content).await?;
    site.registry
        .prohibit_name(&actor, system, &name, reason.as_deref())
        .await
        .map_err(Refusal::problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Let a name stand beside another one that it looks like, or no longer
#[utoipa::path(put, path = "/api/v1/operator/names/{ecosystem}/{name}/beside/{other}", tag = "operator", security(("session" = [])),
    request_body = NameRule, params(("ecosystem" = String, Path), ("name" = String, Path), ("other" = String, Path)),
    responses((status = OK, body = ServedForName), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn allow_name(
    State(site): State<Site>,
    Path((system, name, other)): Path<(String, String, String)>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let (actor, system) = caller(&site, &headers, &system).await?;
    let NameRule { reason } = body(content).await?;
    let served = site
        .registry
        .allow_name(&actor, system, &name, &other, reason.as_deref())
        .await
        .map_err(Refusal::problem)?;
    json(&site, &ServedForName { served })
}
