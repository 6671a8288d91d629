//! The settings of a project: people, trusted publishers, policy, what went wrong, the danger zone.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::Response;
use axum::routing::{get, post};
use countersign_formats::Ecosystem;
use countersign_registry::model::{ProjectDetail, ProjectStatus, Role, TrustLevel};
use countersign_registry::oidc::{Field, Rule, Test};
use countersign_registry::{
    Deletion, Error, FailedExchange, Kind, NewPublisher, Notice, PolicyChange, ProjectPolicy,
    Proposal, PublisherSummary, Wish,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::guest::{Member, go, refused};
use super::phrase::Told as _;
use super::visit::Frame;
use crate::Site;
use crate::error::Refusal;

/// Further claims that the form for a publisher has room for.
const CLAIMS: u8 = 3;

pub(super) fn routes() -> Router<Site> {
    let at = |rest: &str| format!("/projects/{{ecosystem}}/{{name}}/settings{rest}");
    Router::new()
        .route(&at(""), get(show))
        .route(&at("/role"), post(set_role))
        .route(&at("/publishers"), post(add_publisher))
        .route(&at("/publishers/new"), get(new_publisher))
        .route(&at("/publishers/check"), post(check_publisher))
        .route(&at("/publishers/remove"), post(remove_publisher))
        .route(&at("/publishers/test"), post(test_token))
        .route(&at("/policy"), post(set_policy))
        .route(&at("/notices"), post(dismiss))
        .route(&at("/status"), post(set_status))
        .route(&at("/visibility"), post(set_visibility))
        .route(&at("/withhold"), post(withhold))
        .route(&at("/delete"), post(delete))
        .route(&at("/propose"), post(propose))
}

/// A project as the address names it.
pub(super) type Addressed = Path<(String, String)>;

pub(super) fn ecosystem(word: &str) -> Result<Ecosystem, Refusal> {
    word.parse()
        .map_err(|_| refused(super::failure::no_such_page(&format!("/projects/{word}"))))
}

/// The path of a project's settings.
pub(super) fn path_of(system: Ecosystem, name: &str) -> String {
    format!(
        "/projects/{system}/{}/settings",
        utf8_percent_encode(name, NON_ALPHANUMERIC)
    )
}

#[derive(Template)]
#[template(path = "account/settings.html")]
struct SettingsPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    here: String,
    to_notices: String,
    to_check: String,
    to_remove: String,
    to_provenance: String,
    to_cases: String,
    system: &'static str,
    project: ProjectDetail,
    people: Vec<(String, &'static str)>,
    roles: Vec<(&'static str, String)>,
    publishers: Vec<PublisherSummary>,
    issuers: Vec<(String, String)>,
    failures: Vec<FailedExchange>,
    policy: ProjectPolicy,
    trust: Vec<(&'static str, &'static str, bool)>,
    proposals: Vec<Proposal>,
    notices: Vec<Notice>,
}

/// What a role is good for.
fn in_words(role: Role) -> String {
    let what = match role {
        Role::Owner => "everything",
        Role::Maintainer => "publish and yank",
        Role::Publisher => "publish only",
        Role::Security => "withhold files only",
    };
    format!("{}: {what}", role.as_str())
}

fn trust_in_words(level: TrustLevel) -> &'static str {
    match level {
        TrustLevel::None => "None is demanded",
        TrustLevel::Token => "A person's token, or better",
        TrustLevel::Workflow => "A trusted publisher, or better",
        TrustLevel::Provenance => "A trusted publisher, with confirmed build provenance",
    }
}

async fn show(member: Member, Path((system, name)): Addressed) -> Result<Response, Refusal> {
    let system = ecosystem(&system)?;
    let registry = &member.site.registry;
    let actor = &member.actor;
    // The policy is for whoever works on the project; asking for it first tells strangers nothing else.
    let policy = registry
        .project_policy(actor, system, &name)
        .await
        .map_err(refused)?;
    let project = registry.project(system, &name).await.map_err(refused)?;
    let publishers = registry
        .publishers(actor, system, &name)
        .await
        .map_err(refused)?;
    let failures = registry
        .failed_exchanges(actor, system, &name)
        .await
        .map_err(refused)?;
    let notices = registry
        .notices(actor, system, &name)
        .await
        .map_err(refused)?;
    let proposals = registry
        .proposals(actor, system, &name)
        .await
        .map_err(refused)?;
    let issuers = registry.issuers(actor).await.map_err(refused)?;
    let issuers = issuers
        .into_iter()
        .map(|issuer| {
            let title = if issuer.builtin {
                issuer.provider.title().to_owned()
            } else {
                format!("{} ({})", issuer.name, issuer.provider.title())
            };
            (issuer.name, title)
        })
        .collect();
    let trust = [
        TrustLevel::None,
        TrustLevel::Token,
        TrustLevel::Workflow,
        TrustLevel::Provenance,
    ]
    .map(|level| {
        (
            level.as_str(),
            trust_in_words(level),
            level == policy.minimum_trust,
        )
    });
    let here = path_of(system, &project.key);
    Ok(member.page(&SettingsPage {
        frame: &member.frame,
        place: "/account/projects",
        said: member.said(),
        to_notices: format!("{here}/notices"),
        to_check: format!("{here}/publishers/check"),
        to_remove: format!("{here}/publishers/remove"),
        here,
        system: system.as_str(),
        people: project
            .people
            .iter()
            .map(|(name, role)| (name.clone(), role.as_str()))
            .collect(),
        roles: Role::ALL
            .into_iter()
            .map(|role| (role.as_str(), in_words(role)))
            .collect(),
        to_provenance: format!("{}/provenance", path_of(system, &project.key)),
        to_cases: format!("{}/cases", path_of(system, &project.key)),
        project,
        publishers,
        issuers,
        failures,
        policy,
        trust: trust.to_vec(),
        proposals,
        notices,
    }))
}

async fn set_role(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let fields = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let role = fields
        .some("role")
        .map(str::parse::<Role>)
        .transpose()
        .map_err(|why| refused(malformed(&why)))?;
    let outcome = member
        .site
        .registry
        .set_role(&member.actor, system, &name, fields.get("user"), role)
        .await;
    let word = if role.is_some() {
        "role-set"
    } else {
        "role-removed"
    };
    member.done(outcome, &path_of(system, &name), word).await
}

pub(super) fn malformed(why: &str) -> Error {
    Error::new(
        Kind::Rejected,
        "form-malformed",
        format!("The form can not be read: {why}."),
    )
    .remedy("Load the page again and send the form from there.")
}

#[derive(Template)]
#[template(path = "account/publisher_new.html")]
struct NewPublisherPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    here: String,
    name: &'a str,
    title: &'static str,
    issuer: &'a str,
    issuer_name: &'a str,
    fields: &'static [Field],
    claims: Vec<(u8, bool)>,
}

async fn new_publisher(
    member: Member,
    Path((system, name)): Addressed,
) -> Result<Response, Refusal> {
    let system = ecosystem(&system)?;
    let wanted = member.query.get("issuer");
    let issuers = member
        .site
        .registry
        .issuers(&member.actor)
        .await
        .map_err(refused)?;
    let Some(issuer) = issuers.iter().find(|issuer| issuer.name == wanted) else {
        return Err(refused(super::failure::no_such_page(&member.here)));
    };
    Ok(member.page(&NewPublisherPage {
        frame: &member.frame,
        place: "/account/projects",
        here: path_of(system, &name),
        name: &name,
        title: issuer.provider.title(),
        issuer: &issuer.url,
        issuer_name: &issuer.name,
        fields: issuer.provider.fields(),
        claims: (1..=CLAIMS).map(|number| (number, number == 1)).collect(),
    }))
}

async fn add_publisher(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let mut fields = BTreeMap::new();
    let mut claims = Vec::new();
    for (key, value) in form.pairs() {
        let value = value.trim();
        if value.is_empty() {
            continue;
        }
        if let Some(field) = key.strip_prefix("field.") {
            fields.insert(field.to_owned(), value.to_owned());
        } else if key == "claim" {
            let Some((claim, value)) = value.split_once('=') else {
                return Err(refused(malformed("a claim is written as name=value")));
            };
            claims.push(Rule {
                claim: claim.trim().to_owned(),
                test: Test::Equal(value.trim().to_owned()),
            });
        }
    }
    let new = NewPublisher {
        ecosystem: system,
        project: name.clone(),
        issuer: form.get("issuer").to_owned(),
        fields,
        claims,
        pending: false,
        pending_for: None,
    };
    let outcome = member.site.registry.add_publisher(&member.actor, new).await;
    member
        .done(outcome, &path_of(system, &name), "publisher-added")
        .await
}

async fn remove_publisher(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let outcome = member
        .site
        .registry
        .remove_publisher(&member.actor, system, &name, form.get("id"))
        .await;
    member
        .done(outcome, &path_of(system, &name), "publisher-removed")
        .await
}

/// What was found out, good and bad.
#[derive(Template)]
#[template(path = "account/findings.html")]
pub(super) struct FindingsPage<'a> {
    pub(super) frame: &'a Frame,
    pub(super) place: &'static str,
    pub(super) back: String,
    pub(super) title: &'static str,
    pub(super) good: bool,
    pub(super) verdict: String,
    pub(super) sentences: Vec<String>,
    pub(super) groups: Vec<(String, Vec<(String, String)>)>,
}

async fn check_publisher(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let check = member
        .site
        .registry
        .check_publisher(&member.actor, system, &name, form.get("id"))
        .await;
    let check = match check {
        Ok(check) => check,
        Err(error) => return member.not_done(error, &path_of(system, &name)).await,
    };
    Ok(member.page(&FindingsPage {
        frame: &member.frame,
        place: "/account/projects",
        back: path_of(system, &name),
        title: "A second look at a publisher",
        good: check.ok,
        verdict: check.publisher.label,
        sentences: check.findings,
        groups: Vec::new(),
    }))
}

async fn test_token(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let test = member
        .site
        .registry
        .test_token(&member.actor, system, &name, form.get("token"))
        .await;
    let test = match test {
        Ok(test) => test,
        Err(error) => return member.not_done(error, &path_of(system, &name)).await,
    };
    let mut sentences = Vec::new();
    let verdict = match test.refusal {
        None => "This token would publish.".to_owned(),
        Some(refusal) => {
            sentences.extend(refusal.remedy);
            refusal.message
        }
    };
    let mut groups: Vec<(String, Vec<(String, String)>)> = test
        .publishers
        .into_iter()
        .map(|publisher| {
            let rules = publisher.rules.into_iter().map(|rule| {
                let seen = rule.seen.unwrap_or_else(|| "nothing".to_owned());
                let fits = if rule.matched { "fits" } else { "differs" };
                (
                    rule.claim,
                    format!("{fits}: expected {}, seen {seen}", rule.expected),
                )
            });
            (publisher.label, rules.collect())
        })
        .collect();
    if !test.claims.is_empty() {
        groups.push((
            "What the token says".to_owned(),
            test.claims.into_iter().collect(),
        ));
    }
    Ok(member.page(&FindingsPage {
        frame: &member.frame,
        place: "/account/projects",
        back: path_of(system, &name),
        title: "What this token would do",
        good: test.verdict == "would-publish",
        verdict,
        sentences,
        groups,
    }))
}

async fn set_policy(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let minimum = form
        .get("minimum_trust")
        .parse::<TrustLevel>()
        .map_err(|why| refused(malformed(&why)))?;
    let change = PolicyChange {
        trusted_only: Some(form.ticked("trusted_only")),
        environment: Some(form.some("environment").map(str::to_owned)),
        minimum_trust: Some(minimum),
    };
    let outcome = member
        .site
        .registry
        .set_project_policy(&member.actor, system, &name, change)
        .await;
    member
        .done(outcome, &path_of(system, &name), "policy-set")
        .await
}

async fn dismiss(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let outcome = member
        .site
        .registry
        .dismiss_notice(&member.actor, system, &name, form.get("id"))
        .await;
    member
        .done(outcome, &path_of(system, &name), "notice-seen")
        .await
}

async fn set_status(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let status = form
        .get("status")
        .parse::<ProjectStatus>()
        .map_err(|why| refused(malformed(&why)))?;
    let outcome = member
        .site
        .registry
        .set_status(&member.actor, system, &name, status, form.some("why"))
        .await;
    member
        .done(outcome, &path_of(system, &name), "status-set")
        .await
}

async fn set_visibility(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let private = crate::api::is_private(form.get("visibility")).map_err(refused)?;
    let outcome = member
        .site
        .registry
        .set_private(&member.actor, system, &name, private)
        .await;
    let word = if private {
        "made-private"
    } else {
        "made-public"
    };
    member.done(outcome, &path_of(system, &name), word).await
}

async fn withhold(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let registry = &member.site.registry;
    let file = form.some("file");
    let back = path_of(system, &name);
    if form.get("do") == "release" {
        let outcome = registry
            .release_quarantine(&member.actor, system, &name, file)
            .await;
        return member.done(outcome, &back, "released").await;
    }
    let outcome = registry
        .quarantine(&member.actor, system, &name, file, form.get("why"))
        .await;
    member.done(outcome, &back, "withheld").await
}

/// Asks for what takes a second owner or a waiting time.
async fn propose(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let target = form.get("target").to_owned();
    let wish = match form.get("wish") {
        "transfer" => Wish::TransferTo(target),
        _ => Wish::RemoveOwner(target),
    };
    let outcome = member
        .site
        .registry
        .propose(&member.actor, system, &name, wish)
        .await;
    member.done(outcome, &path_of(system, &name), "asked").await
}

async fn delete(
    member: Member,
    Path((system, name)): Addressed,
    body: Body,
) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let system = ecosystem(&system)?;
    let registry = &member.site.registry;
    let project = registry.project(system, &name).await.map_err(refused)?;
    if form.get("name") != project.name {
        let error = Error::new(
            Kind::Rejected,
            "name-not-typed",
            format!("To delete, type the project's name: {}.", project.name),
        );
        return member
            .not_done(
                error.remedy("Nothing was deleted."),
                &path_of(system, &name),
            )
            .await;
    }
    let what = form
        .some("version")
        .map_or(Deletion::Project, Deletion::Release);
    let whole = matches!(what, Deletion::Project);
    let outcome = registry.delete(&member.actor, system, &name, what).await;
    if whole && outcome.is_ok() {
        return Ok(go("/account/projects?done=deleted"));
    }
    match outcome {
        // The passkey is asked about this very project; then the form is sent again.
        Err(error) if error.code == "approval-needed" => {
            let subject = countersign_formats::purl::project_purl(
                system,
                &countersign_formats::format(system)
                    .name_key(&name)
                    .map_err(refused)?,
            );
            let asked = registry
                .request_approval(&member.actor, "delete-project", &subject, None)
                .await;
            match asked {
                Ok(asked) => {
                    member
                        .approve_first(super::approvals::HERE, &asked.id)
                        .await
                }
                Err(error) => member.not_done(error, &path_of(system, &name)).await,
            }
        }
        outcome => {
            member
                .done(outcome, &path_of(system, &name), "deleted")
                .await
        }
    }
}
