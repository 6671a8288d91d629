//! The operator's console. Every verb asks for a fresh session with a passkey; the pages themselves do too.

use askama::Template;
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::{get, post};
use countersign_formats::{Ecosystem, purl};
use countersign_registry::model::{
    Case, FoundIn, Health, Portion, RegistryKey, Report, ReporterFacts, Time, TrustRootSummary,
};
use countersign_registry::oidc::Provider;
use countersign_registry::{
    Chore, CriticalProject, Diagnosis, Error, FactorNeed, FactorPolicy, IssuerSummary, Kind,
    LeakReport, MailState, NewIssuer, RecoveryCase, Severity, UserSummary, Withheld,
};

use super::guest::{Fields, Member, refused};
use super::phrase::{Told as _, counted};
use super::visit::Frame;
use crate::Site;
use crate::error::Refusal;

/// The pages, with their names.
const HERE: &str = "/operator";
const USERS: &str = "/operator/users";
const PROJECTS: &str = "/operator/projects";
const QUEUE: &str = "/operator/queue";
const RULES: &str = "/operator/rules";
const ROOTS: &str = "/operator/trust-roots";
pub(super) const TABS: [(&str, &str); 9] = [
    (HERE, "Health"),
    (USERS, "Users"),
    (PROJECTS, "Projects"),
    (QUEUE, "Queue"),
    (super::operator_incidents::INCIDENTS, "Incidents"),
    (super::operator_advisories::ADVISORIES, "Advisories"),
    (super::operator_names::NAMES, "Names"),
    (RULES, "Rules"),
    (ROOTS, "Trust roots"),
];

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route(HERE, get(show))
        .route("/operator/doctor", post(examine))
        .route(USERS, get(show_users).post(create_user))
        .route("/operator/users/disable", post(disable))
        .route("/operator/users/open", post(open_again))
        .route("/operator/recoveries/agree", post(agree))
        .route(PROJECTS, get(show_projects))
        .route("/operator/quarantine", post(quarantine))
        .route("/operator/critical", post(critical))
        .route(QUEUE, get(show_queue))
        .route("/operator/queue/release", post(serve_again))
        .route("/operator/queue/answer", post(answer_case))
        .route("/operator/queue/judge", post(judge_report))
        .route("/operator/queue/trust", post(trust_reporter))
        .route("/operator/queue/dismiss", post(dismiss))
        .route(RULES, get(show_rules))
        .route(ROOTS, get(show_roots))
        .route("/operator/factors", post(set_factors))
        .route("/operator/issuers", post(add_issuer))
        .route("/operator/issuers/remove", post(remove_issuer))
}

/// Seconds as people say them.
fn every(seconds: u64) -> String {
    let (number, one, many) = match seconds {
        0..3_600 => (seconds / 60, "minute", "minutes"),
        3_600..86_400 => (seconds / 3_600, "hour", "hours"),
        _ => (seconds / 86_400, "day", "days"),
    };
    match number {
        1 => format!("every {one}"),
        number => format!("every {}", counted(number, one, many)),
    }
}

#[derive(Template)]
#[template(path = "account/operator.html")]
struct HealthPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    tab: &'static str,
    health: Health,
    mail: MailState,
    chores: Vec<(String, Chore)>,
    keys: Vec<String>,
    earlier: Vec<(String, String)>,
}

async fn health(member: &Member) -> Result<Response, Error> {
    let (registry, actor) = (&member.site.registry, &member.actor);
    let identity = registry.site_keys();
    Ok(member.page(&HealthPage {
        frame: &member.frame,
        place: HERE,
        said: member.said(),
        tab: HERE,
        chores: registry
            .periodic_work(actor)?
            .into_iter()
            .map(|chore| (every(chore.every), chore))
            .collect(),
        mail: registry.mail_state(actor).await?,
        health: registry.health().await,
        keys: identity.verifier_keys,
        earlier: identity.earlier,
    }))
}

async fn show(member: Member) -> Result<Response, Refusal> {
    match health(&member).await {
        Ok(response) => Ok(response),
        Err(error) => member.not_done(error, HERE).await,
    }
}

#[derive(Template)]
#[template(path = "account/operator_doctor.html")]
struct DoctorPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    tab: &'static str,
    verdict: String,
    good: bool,
    faults: Vec<(&'static str, &'static str, Diagnosis)>,
    fine: Vec<Diagnosis>,
}

fn severity(severity: Severity) -> (&'static str, &'static str) {
    match severity {
        Severity::Note => ("", "note"),
        Severity::Warning => ("warn", "warning"),
        Severity::Error => ("danger", "error"),
    }
}

/// Looks at every part of the instance, as `countersignd doctor` does; it reads the files' bytes too only there.
async fn examine(member: Member, body: Body) -> Result<Response, Refusal> {
    member.fields(body).await?;
    let registry = &member.site.registry;
    // Whoever may see the list of chores is the operator, in a fresh session.
    if let Err(error) = registry.periodic_work(&member.actor) {
        return member.not_done(error, HERE).await;
    }
    let keys = registry.settings().sign_in.key_folder.clone();
    let found = registry.doctor(Some(&keys), false, &mut |_, _| {}).await;
    let (fine, mut faults): (Vec<_>, Vec<_>) = found.into_iter().partition(|one| one.ok);
    faults.sort_by_key(|one| std::cmp::Reverse(one.severity));
    Ok(member.page(&DoctorPage {
        frame: &member.frame,
        place: HERE,
        said: member.said(),
        tab: HERE,
        verdict: if faults.is_empty() {
            format!(
                "All is well: {} looked at.",
                counted(fine.len() as u64, "thing", "things")
            )
        } else {
            format!(
                "{} of {} need a look.",
                faults.len(),
                counted((faults.len() + fine.len()) as u64, "thing", "things")
            )
        },
        good: faults.is_empty(),
        faults: faults
            .into_iter()
            .map(|one| {
                let (class, word) = severity(one.severity);
                (class, word, one)
            })
            .collect(),
        fine,
    }))
}

#[derive(Template)]
#[template(path = "account/operator_users.html")]
struct UsersPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    tab: &'static str,
    users: Vec<UserSummary>,
    enrolment: Option<String>,
    recoveries: Vec<RecoveryCase>,
}

async fn users(member: &Member, enrolment: Option<String>) -> Result<Response, Error> {
    let (registry, actor) = (&member.site.registry, &member.actor);
    Ok(member.page(&UsersPage {
        frame: &member.frame,
        place: HERE,
        said: member.said(),
        tab: USERS,
        users: registry.users(actor).await?,
        recoveries: registry.recoveries(actor).await?,
        enrolment,
    }))
}

async fn show_users(member: Member) -> Result<Response, Refusal> {
    match users(&member, None).await {
        Ok(response) => Ok(response),
        Err(error) => member.not_done(error, USERS).await,
    }
}

#[derive(Template)]
#[template(path = "account/operator_projects.html")]
struct ProjectsPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    tab: &'static str,
    withheld: Vec<Withheld>,
    critical: Vec<CriticalProject>,
    reports: Vec<LeakReport>,
}

async fn show_projects(member: Member) -> Result<Response, Refusal> {
    let (registry, actor) = (&member.site.registry, &member.actor);
    let page = async || {
        Ok(member.page(&ProjectsPage {
            frame: &member.frame,
            place: HERE,
            said: member.said(),
            tab: PROJECTS,
            withheld: registry.withheld(actor).await?,
            critical: registry.critical_projects(actor).await?,
            reports: registry.leak_reports(actor).await?,
        }))
    };
    match page().await {
        Ok(response) => Ok(response),
        Err(error) => member.not_done(error, PROJECTS).await,
    }
}

#[derive(Template)]
#[template(path = "account/operator_queue.html")]
struct QueuePage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    tab: &'static str,
    cases: Vec<Case>,
    reports: Vec<Report>,
    reporters: Vec<ReporterFacts>,
    findings: Vec<FoundIn>,
}

/// What is withheld and waits, what was reported, and by whom.
async fn show_queue(member: Member) -> Result<Response, Refusal> {
    let (registry, actor) = (&member.site.registry, &member.actor);
    let page = async || {
        Ok(member.page(&QueuePage {
            frame: &member.frame,
            place: HERE,
            said: member.said(),
            tab: QUEUE,
            cases: registry.open_cases(actor).await?,
            reports: registry.open_reports(actor).await?,
            reporters: registry.reporters(actor).await?,
            findings: registry.open_findings(actor).await?,
        }))
    };
    match page().await {
        Ok(response) => Ok(response),
        Err(error) => member.not_done(error, QUEUE).await,
    }
}

async fn serve_again(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = async {
        let named = purl::parse(form.get("purl"))?;
        let portion = match (&named.filename, &named.version) {
            (Some(file), _) => Portion::File(file),
            (None, Some(version)) => Portion::Release(version),
            (None, None) => Portion::Project,
        };
        let (registry, key) = (&member.site.registry, named.name_key.as_str());
        registry
            .serve_again(&member.actor, named.ecosystem, key, portion)
            .await
    }
    .await;
    member.done(outcome, QUEUE, "released").await
}

async fn answer_case(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .answer_case(&member.actor, form.get("case"), form.get("text"))
        .await;
    member.done(outcome, QUEUE, "answered").await
}

async fn judge_report(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .judge_report(&member.actor, form.get("ticket"), form.get("verdict"), "")
        .await;
    member.done(outcome, QUEUE, "judged").await
}

async fn dismiss(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .dismiss_findings(&member.actor, form.get("purl"))
        .await;
    member.done(outcome, QUEUE, "dismissed").await
}

async fn trust_reporter(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .trust_reporter(
            &member.actor,
            form.get("user"),
            form.get("do") != "distrust",
        )
        .await;
    member.done(outcome, QUEUE, "reporter-set").await
}

/// The rule on factors as a form shows it: word, label, whether it holds now.
type Needs = Vec<(&'static str, &'static str, bool)>;

#[derive(Template)]
#[template(path = "account/operator_rules.html")]
struct RulesPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    tab: &'static str,
    policy: FactorPolicy,
    maintainers: Needs,
    critical: Needs,
    issuers: Vec<IssuerSummary>,
    presets: Vec<(&'static str, &'static str)>,
}

const NEEDS: [(&str, FactorNeed, &str); 3] = [
    ("nothing", FactorNeed::Nothing, "Nothing beyond signing in"),
    ("second", FactorNeed::Second, "A second factor of any kind"),
    (
        "phishproof",
        FactorNeed::Phishproof,
        "A passkey or security key",
    ),
];

fn needs(now: FactorNeed) -> Needs {
    NEEDS
        .into_iter()
        .map(|(word, need, label)| (word, label, need == now))
        .collect()
}

async fn show_rules(member: Member) -> Result<Response, Refusal> {
    let (registry, actor) = (&member.site.registry, &member.actor);
    let page = async || {
        // Reading the rule is for everybody; the page of it is the operator's.
        registry.periodic_work(actor)?;
        let policy = registry.factor_policy().await?;
        Ok(member.page(&RulesPage {
            frame: &member.frame,
            place: HERE,
            said: member.said(),
            tab: RULES,
            maintainers: needs(policy.maintainers),
            critical: needs(policy.critical),
            policy,
            issuers: registry.issuers(actor).await?,
            presets: Provider::ALL
                .iter()
                .map(|provider| (provider.as_str(), provider.title()))
                .collect(),
        }))
    };
    match page().await {
        Ok(response) => Ok(response),
        Err(error) => member.not_done(error, RULES).await,
    }
}

#[derive(Template)]
#[template(path = "account/operator_roots.html")]
struct RootsPage<'a> {
    frame: &'a Frame,
    place: &'static str,
    said: Option<&'static str>,
    tab: &'static str,
    roots: Vec<(Option<String>, TrustRootSummary)>,
    keys: Vec<RegistryKey>,
}

/// Whose Sigstore is believed, how old that is, and what the registry signs with itself.
async fn show_roots(member: Member) -> Result<Response, Refusal> {
    let (registry, actor) = (&member.site.registry, &member.actor);
    let page = async || {
        // Reading them is for everybody; the page of the console is the operator's.
        registry.periodic_work(actor)?;
        let now = registry.now();
        let roots = registry.trust_roots().await?;
        Ok(member.page(&RootsPage {
            frame: &member.frame,
            place: HERE,
            said: member.said(),
            tab: ROOTS,
            roots: roots
                .into_iter()
                .map(|root| {
                    let since = root.refreshed.or(root.added);
                    (since.map(|since| age(since, now)), root)
                })
                .collect(),
            keys: registry.attestation_keys().await?,
        }))
    };
    match page().await {
        Ok(response) => Ok(response),
        Err(error) => member.not_done(error, ROOTS).await,
    }
}

/// How old something is, in words.
fn age(since: Time, now: Time) -> String {
    let hours = u64::try_from((now.0 - since.0) / 3_600_000_000).unwrap_or(0);
    match hours {
        0 => "less than an hour".to_owned(),
        1..48 => counted(hours, "hour", "hours"),
        hours => counted(hours / 24, "day", "days"),
    }
}

fn malformed(why: &str) -> Refusal {
    refused(
        Error::new(
            Kind::Rejected,
            "form-malformed",
            format!("The form can not be read: {why}."),
        )
        .remedy("Load the page again and send the form from there."),
    )
}

async fn set_factors(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let need = |name: &str| {
        NEEDS
            .into_iter()
            .find(|(word, _, _)| *word == form.get(name))
            .map(|(_, need, _)| need)
            .ok_or_else(|| malformed("a demand is none of the list"))
    };
    let days = form.get("days").parse();
    let new = FactorPolicy {
        maintainers: need("maintainers")?,
        critical: need("critical")?,
        grace_days: days.map_err(|_| malformed("the days are a number"))?,
        // The core says when it was raised.
        ..FactorPolicy::default()
    };
    let outcome = member
        .site
        .registry
        .set_factor_policy(&member.actor, new, form.some("why"))
        .await;
    member.done(outcome, RULES, "factors-set").await
}

async fn create_user(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let made = member
        .site
        .registry
        .create_user(
            &member.actor,
            form.get("user"),
            form.some("email"),
            form.ticked("operator"),
        )
        .await;
    let made = match made {
        Ok(made) => made,
        Err(error) => return member.not_done(error, USERS).await,
    };
    let link = made
        .enrolment
        .map(|secret| format!("{}/enrol/{secret}", member.frame.site));
    users(&member, link).await.map_err(refused)
}

async fn set_disabled(member: Member, body: Body, disabled: bool) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .disable_user(&member.actor, form.get("user"), disabled)
        .await;
    let word = if disabled {
        "user-disabled"
    } else {
        "user-enabled"
    };
    member.done(outcome, USERS, word).await
}

async fn disable(member: Member, body: Body) -> Result<Response, Refusal> {
    set_disabled(member, body, true).await
}

async fn open_again(member: Member, body: Body) -> Result<Response, Refusal> {
    set_disabled(member, body, false).await
}

async fn agree(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .approve_recovery(&member.actor, form.get("user"))
        .await;
    member.done(outcome, USERS, "confirmed-request").await
}

/// Which ecosystem a form is about; the one there is where it does not say.
fn ecosystem(form: &Fields) -> Result<Ecosystem, Refusal> {
    match form.some("ecosystem") {
        None => Ok(Ecosystem::Pypi),
        Some(word) => word
            .parse()
            .map_err(|_| malformed("there is no such ecosystem")),
    }
}

async fn quarantine(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let (registry, actor) = (&member.site.registry, &member.actor);
    let (project, file) = (form.get("project"), form.some("file"));
    if form.get("do") == "release" {
        let outcome = registry
            .release_quarantine(actor, ecosystem(&form)?, project, file)
            .await;
        return member.done(outcome, PROJECTS, "released").await;
    }
    let outcome = registry
        .quarantine(actor, ecosystem(&form)?, project, file, form.get("why"))
        .await;
    member.done(outcome, PROJECTS, "withheld").await
}

async fn critical(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .mark_critical(
            &member.actor,
            ecosystem(&form)?,
            form.get("project"),
            form.get("do") != "unmark",
        )
        .await;
    member.done(outcome, PROJECTS, "critical-set").await
}

async fn add_issuer(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let provider = form
        .get("provider")
        .parse::<Provider>()
        .map_err(|why| malformed(&why.to_string()))?;
    let outcome = member
        .site
        .registry
        .add_issuer(
            &member.actor,
            NewIssuer {
                name: form.get("name").to_owned(),
                url: form.get("url").to_owned(),
                provider,
                ca_pem: None,
            },
        )
        .await;
    member.done(outcome, RULES, "issuer-added").await
}

async fn remove_issuer(member: Member, body: Body) -> Result<Response, Refusal> {
    let form = member.fields(body).await?;
    let outcome = member
        .site
        .registry
        .remove_issuer(&member.actor, form.get("name"))
        .await;
    member.done(outcome, RULES, "issuer-removed").await
}
