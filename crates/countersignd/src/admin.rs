//! `admin …`: what an operator does at the machine itself. Whoever can open the database is the operator.

mod names;
pub mod people;
mod provenance;
mod trusted;

use std::io::Read as _;
use std::time::Duration;

use countersign_registry::model::{Actor, Cause, Order, Portion, Time};
use countersign_registry::{
    Deletion, NewToken, PolicyChange, Reader, Registry, TokenSummary, reading_as,
};
use serde_json::json;

use crate::cli::{
    Admin, Common, Health, Log, Project, Quarantine, Report, Scan, Stores, Token, Visible,
};
use crate::config::Config;
use crate::failure::Failure;
use crate::{instance, report};

/// Carries out one command.
///
/// # Errors
/// What the registry refuses (exit 4), and instances that are not there.
pub async fn run(common: &Common, command: &Admin) -> Result<(), Failure> {
    // Whoever sits at the machine sees private projects too.
    reading_as(Reader::known(Actor::operator()), act(common, command)).await
}

async fn act(common: &Common, command: &Admin) -> Result<(), Failure> {
    match command {
        Admin::User(command) => people::user(common, command).await,
        Admin::Sessions(command) => people::sessions(common, command).await,
        Admin::Recovery(command) => people::recovery(common, command).await,
        Admin::Policy(command) => people::policy(common, command).await,
        Admin::Critical(command) => people::critical(common, command).await,
        Admin::Breached(command) => people::breached(common, command),
        Admin::Mail(command) => people::mail(common, command).await,
        Admin::Organisation(command) => people::organisation(common, command).await,
        Admin::Namespace(command) => people::namespace(common, command).await,
        Admin::Names(command) => names::names(common, command).await,
        Admin::Token(command) => token(common, command).await,
        Admin::Project(command) => project(common, command).await,
        Admin::Issuer(command) => trusted::issuer(common, command).await,
        Admin::Publisher(command) => trusted::publisher(common, command).await,
        Admin::TrustRoot(command) => provenance::trust_root(common, command).await,
        Admin::Provenance(command) => provenance::provenance(common, command).await,
        Admin::Key(command) => provenance::key(common, command).await,
        Admin::Quarantine(command) => quarantine(common, command).await,
        Admin::Report(command) => reports(common, command).await,
        Admin::Scan(command) => scan(common, command).await,
        Admin::Health(Health::Import { file, stores }) => {
            let registry = open(common, stores).await?;
            let done = registry
                .import_source_health(&Actor::operator(), file)
                .await?;
            if common.json {
                report::json(&json!({
                    "taken": done.taken, "refused": done.refused,
                    "reasons": done.reasons.iter().map(|(place, why)| json!({"repository": place, "why": why})).collect::<Vec<_>>(),
                }));
                return Ok(());
            }
            report::line(&format!("{} results imported", done.taken));
            if done.refused > 0 {
                report::line(&format!("{} could not be used:", done.refused));
                for (place, why) in &done.reasons {
                    report::line(&format!("  {place}: {why}"));
                }
            }
            Ok(())
        }
        Admin::Log(command) => log(common, command).await,
    }
}

pub(crate) async fn open(common: &Common, stores: &Stores) -> Result<Registry, Failure> {
    let config = Config::load(&common.data, common.config.as_deref(), &stores.overrides())?;
    instance::open(&config, false).await
}

/// Lets what was decided reach the log before the command ends, whether or not a server is running: two writers
/// of the log are harmless, one of them wins each step.
pub(crate) async fn settled(registry: &Registry) {
    registry.start().stop().await;
}

async fn token(common: &Common, command: &Token) -> Result<(), Failure> {
    match command {
        Token::Create {
            user,
            ecosystem,
            project,
            action,
            expires,
            label,
            stores,
        } => {
            let registry = open(common, stores).await?;
            let wish = NewToken {
                user: user.clone(),
                // A project's name means something within an ecosystem only.
                ecosystem: ecosystem.or(project
                    .as_ref()
                    .map(|_| countersign_formats::Ecosystem::Pypi)),
                namespace: None,
                networks: Vec::new(),
                project: project.clone(),
                action: *action,
                expires: whole_seconds(expires.0)?,
                label: label.clone(),
            };
            let (secret, summary) = registry.create_token(&Actor::operator(), wish).await?;
            if common.json {
                report::json(&json!({"token": secret, "summary": summary}));
            } else {
                // Nothing else on standard output: TOKEN=$(countersignd admin token create …) must do.
                report::line(&secret);
            }
        }
        Token::List { user, stores } => {
            let registry = open(common, stores).await?;
            let tokens = registry.tokens(&Actor::operator(), user.as_deref()).await?;
            if common.json {
                report::json(&json!(tokens));
                return Ok(());
            }
            let rows: Vec<_> = tokens.iter().map(token_row).collect();
            report::table(
                &["ID", "HINT", "USER", "MAY", "EXPIRES", "STATE", "LABEL"],
                &rows,
            );
        }
        Token::Revoke {
            token,
            leaked,
            stores,
        } => {
            let registry = open(common, stores).await?;
            registry
                .revoke_token(&Actor::operator(), token, *leaked)
                .await?;
            settled(&registry).await;
            done(
                common,
                format!(
                    "Revoked {token}{}.",
                    if *leaked {
                        " as leaked; the log says so"
                    } else {
                        ""
                    }
                ),
            );
        }
    }
    Ok(())
}

fn whole_seconds(expires: Duration) -> Result<Duration, Failure> {
    if expires.is_zero() {
        return Err(
            Failure::usage("expiry", "A token that expires at once is of no use.")
                .remedy("Give --expires 30d, or another time above 0."),
        );
    }
    Ok(expires)
}

fn token_row(token: &TokenSummary) -> Vec<String> {
    let mut may = String::from("anything");
    if let Some(scope) = &token.scope {
        may = scope.action.as_str().to_owned();
        match (&scope.ecosystem, &scope.project) {
            (Some(ecosystem), Some(project)) => may.push_str(&format!(" {ecosystem}:{project}")),
            (Some(ecosystem), None) => may.push_str(&format!(" {ecosystem}")),
            _ => {}
        }
    }
    let state = if token.revoked.is_some() {
        "revoked"
    } else {
        "good"
    };
    vec![
        token.id.to_string(),
        token.hint.clone(),
        token.user.clone(),
        may,
        token.expires.map_or_else(|| "never".to_owned(), day),
        state.to_owned(),
        token.label.clone(),
    ]
}

async fn project(common: &Common, command: &Project) -> Result<(), Failure> {
    let actor = Actor::operator();
    match command {
        Project::Yank {
            project,
            version,
            reason,
            stores,
        } => {
            let ((ecosystem, name), registry) = (&project.project, open(common, stores).await?);
            registry
                .yank(&actor, *ecosystem, name, version, reason)
                .await?;
            settled(&registry).await;
            done(
                common,
                format!(
                    "Yanked {name} {version}. Installers take it only when it is pinned exactly."
                ),
            );
        }
        Project::Unyank {
            project,
            version,
            stores,
        } => {
            let ((ecosystem, name), registry) = (&project.project, open(common, stores).await?);
            registry.unyank(&actor, *ecosystem, name, version).await?;
            settled(&registry).await;
            done(common, format!("Took back the yank of {name} {version}."));
        }
        Project::Delete {
            project,
            version,
            file,
            all,
            stores,
        } => {
            let ((ecosystem, name), registry) = (&project.project, open(common, stores).await?);
            let (deletion, what) = match (version, file, all) {
                (Some(version), _, _) => (Deletion::Release(version), format!("{name} {version}")),
                (None, Some(file), _) => (Deletion::File(file), file.clone()),
                (None, None, _) => (Deletion::Project, format!("the project {name}")),
            };
            registry.delete(&actor, *ecosystem, name, deletion).await?;
            settled(&registry).await;
            done(
                common,
                format!("Deleted {what}. Its names and digests stay reserved for ever."),
            );
        }
        Project::Status {
            project,
            status,
            reason,
            stores,
        } => {
            let ((ecosystem, name), registry) = (&project.project, open(common, stores).await?);
            registry
                .set_status(&actor, *ecosystem, name, *status, reason.as_deref())
                .await?;
            settled(&registry).await;
            done(common, format!("{name} is {} now.", status.as_str()));
        }
        Project::Visibility {
            project,
            visibility,
            stores,
        } => {
            let ((ecosystem, name), registry) = (&project.project, open(common, stores).await?);
            let private = *visibility == Visible::Private;
            registry
                .set_private(&actor, *ecosystem, name, private)
                .await?;
            settled(&registry).await;
            done(
                common,
                match private {
                    true => format!(
                        "{name} is private now: only those with a role on it see it. Its name, versions and digests stay in the public log."
                    ),
                    false => format!("{name} is public now."),
                },
            );
        }
        Project::Role {
            project,
            user,
            role,
            stores,
        } => {
            let ((ecosystem, name), registry) = (&project.project, open(common, stores).await?);
            registry
                .set_role(&actor, *ecosystem, name, user, role.0)
                .await?;
            settled(&registry).await;
            done(
                common,
                match role.0 {
                    Some(role) => format!("{user} is {} of {name} now.", role.as_str()),
                    None => format!("{user} has no role on {name} now."),
                },
            );
        }
        Project::Policy {
            project,
            trusted_only,
            environment,
            minimum_trust,
            stores,
        } => {
            let change = PolicyChange {
                trusted_only: *trusted_only,
                environment: environment.as_ref().map(|asked| asked.0.clone()),
                minimum_trust: *minimum_trust,
            };
            trusted::policy(common, project, change, stores).await?;
        }
        Project::Notices {
            project,
            dismiss,
            stores,
        } => trusted::notices(common, project, dismiss.as_deref(), stores).await?,
    }
    Ok(())
}

async fn log(common: &Common, command: &Log) -> Result<(), Failure> {
    match command {
        Log::Show(stores) => {
            let registry = open(common, stores).await?;
            let (identity, health) = (registry.site_keys(), registry.health().await);
            let word = registry.log_override().await?;
            if common.json {
                report::json(&json!({
                    "origin": identity.origin,
                    "size": health.log_size,
                    "policy": identity.policy,
                    "witnesses": health.witnesses,
                    "override": word,
                    "problems": health.problems,
                }));
                return Ok(());
            }
            report::line(&format!("{}, {} entries", identity.origin, health.log_size));
            if identity.policy.is_none() {
                report::line("No policy: the log waits for no witness.");
            }
            for witness in &health.witnesses {
                let size = match witness.size {
                    Some(size) => format!("cosigned {size}"),
                    None => "has cosigned nothing".to_owned(),
                };
                let problem = match &witness.problem {
                    Some(problem) => format!("; {problem}"),
                    None => String::new(),
                };
                report::line(&format!("{} {} {size}{problem}", witness.name, witness.url));
            }
            if let Some(word) = word {
                report::line(&format!(
                    "Overridden until {}: {}",
                    word.until.rfc3339(),
                    word.reason
                ));
            }
            for problem in &health.problems {
                report::line(problem);
            }
        }
        Log::Override {
            until,
            reason,
            stores,
            ..
        } => {
            let registry = open(common, stores).await?;
            let now = registry.now();
            let until = match until {
                Some(span) => now
                    .plus_seconds(i64::try_from(span.0.as_secs()).unwrap_or(i64::MAX / 2_000_000)),
                None => now,
            };
            registry
                .override_log(&Actor::operator(), until, reason)
                .await?;
            settled(&registry).await;
            done(
                common,
                if until > now {
                    format!(
                        "Until {} the log goes on without its witnesses; it says so. Clients that pinned its policy refuse what they have not cosigned.",
                        until.rfc3339()
                    )
                } else {
                    "The override is over: the log waits for its witnesses.".to_owned()
                },
            );
        }
    }
    Ok(())
}

async fn quarantine(common: &Common, command: &Quarantine) -> Result<(), Failure> {
    let actor = Actor::operator();
    match command {
        Quarantine::Add {
            project,
            release,
            file,
            reason,
            malware,
            freeze,
            stores,
        } => {
            let ((ecosystem, name), registry) = (&project.project, open(common, stores).await?);
            let order = Order {
                reason,
                cause: match *malware {
                    true => Cause::Malware,
                    false => Cause::Operator,
                },
                freeze: *freeze,
            };
            let portion = portion(release.as_deref(), file.as_deref());
            registry
                .withhold(&actor, *ecosystem, name, portion, order)
                .await?;
            settled(&registry).await;
            done(common, format!("Withheld {}.", named(name, portion)));
        }
        Quarantine::Release {
            project,
            release,
            file,
            stores,
        } => {
            let ((ecosystem, name), registry) = (&project.project, open(common, stores).await?);
            let portion = portion(release.as_deref(), file.as_deref());
            registry
                .serve_again(&actor, *ecosystem, name, portion)
                .await?;
            settled(&registry).await;
            done(common, format!("{} is served again.", named(name, portion)));
        }
        Quarantine::List { stores } => {
            let cases = open(common, stores).await?.open_cases(&actor).await?;
            if common.json {
                report::json(&json!({"cases": cases}));
            } else if cases.is_empty() {
                report::line("Nothing waits.");
            }
            for case in cases.iter().filter(|_| !common.json) {
                let late = if case.overdue.is_some() {
                    ", overdue"
                } else {
                    ""
                };
                report::line(&format!(
                    "{}  {}  {}, since {}, to be looked at by {}{late}: {}",
                    case.id,
                    case.subject,
                    case.cause,
                    day(case.opened),
                    day(case.review_by),
                    case.reason
                ));
                if let Some(appeal) = &case.appeal {
                    report::line(&format!("    its people say: {appeal}"));
                }
            }
        }
        Quarantine::Answer { case, text, stores } => {
            open(common, stores)
                .await?
                .answer_case(&actor, case, text)
                .await?;
            done(common, "Its people are told; it stays withheld.".to_owned());
        }
    }
    Ok(())
}

fn portion<'a>(release: Option<&'a str>, file: Option<&'a str>) -> Portion<'a> {
    match (release, file) {
        (_, Some(file)) => Portion::File(file),
        (Some(release), None) => Portion::Release(release),
        (None, None) => Portion::Project,
    }
}

fn named(project: &str, portion: Portion<'_>) -> String {
    match portion {
        Portion::Project => project.to_owned(),
        Portion::Release(version) => format!("{project} {version}"),
        Portion::File(file) => file.to_owned(),
    }
}

/// The longest list of digests, in bytes.
const LONGEST_LIST: u64 = 256 << 20;

async fn scan(common: &Common, command: &Scan) -> Result<(), Failure> {
    let actor = Actor::operator();
    match command {
        Scan::Findings { stores } => {
            let found = open(common, stores).await?.open_findings(&actor).await?;
            if common.json {
                report::json(&json!({"findings": found}));
            } else if found.is_empty() {
                report::line("Nothing was found that nobody put aside.");
            }
            for one in found.iter().filter(|_| !common.json) {
                let finding = &one.finding;
                report::line(&format!(
                    "{:3}  {}  {} ({}), {}:{}: {}",
                    finding.score,
                    one.purl,
                    finding.title,
                    finding.rule,
                    finding.path,
                    finding.line,
                    finding.snippet
                ));
            }
        }
        Scan::Dismiss { purl, stores } => {
            let count = open(common, stores)
                .await?
                .dismiss_findings(&actor, purl)
                .await?;
            done(common, format!("{count} findings are put aside."));
        }
        Scan::Digests {
            file,
            source,
            withdraw,
            stores,
        } => {
            let unreadable = |why: String| {
                Failure::usage(
                    "digests-unreadable",
                    format!("{} can not be used: {why}.", file.display()),
                )
            };
            let opened =
                std::fs::File::open(file).map_err(|error| unreadable(error.to_string()))?;
            let mut text = String::new();
            opened
                .take(LONGEST_LIST)
                .read_to_string(&mut text)
                .map_err(|error| unreadable(error.to_string()))?;
            let mut digests = Vec::new();
            for line in text.lines().map(str::trim) {
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let (digest, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
                let name: String = name.trim().chars().take(200).collect();
                let name = if name.is_empty() {
                    source.clone()
                } else {
                    name
                };
                digests.push((digest.to_ascii_lowercase(), name));
            }
            let registry = open(common, stores).await?;
            let withheld = registry
                .learn_bad_digests(&actor, &digests, source, *withdraw)
                .await?;
            settled(&registry).await;
            done(
                common,
                format!(
                    "{} digests are noted; {withheld} files are withheld by them.",
                    digests.len()
                ),
            );
        }
    }
    Ok(())
}

async fn reports(common: &Common, command: &Report) -> Result<(), Failure> {
    let actor = Actor::operator();
    match command {
        Report::List { stores } => {
            let reports = open(common, stores).await?.open_reports(&actor).await?;
            if common.json {
                report::json(&json!({"reports": reports}));
            } else if reports.is_empty() {
                report::line("No report waits.");
            }
            for one in reports.iter().filter(|_| !common.json) {
                let reporter = one.reporter.as_deref().unwrap_or("somebody");
                let trusted = if one.trusted { " (trusted)" } else { "" };
                report::line(&format!(
                    "{}  {}  {}, {} by {reporter}{trusted}: {} {}",
                    one.ticket,
                    one.subject,
                    one.kind.as_str(),
                    day(one.made),
                    one.text.replace('\n', " "),
                    one.evidence
                ));
            }
        }
        Report::Judge {
            ticket,
            verdict,
            answer,
            stores,
        } => {
            open(common, stores)
                .await?
                .judge_report(&actor, ticket, verdict, answer)
                .await?;
            done(common, format!("The report is {verdict}."));
        }
        Report::Trust { user, off, stores } => {
            open(common, stores)
                .await?
                .trust_reporter(&actor, user, !off)
                .await?;
            let how = if *off {
                "count as everybody's"
            } else {
                "are trusted"
            };
            done(common, format!("Reports of {user} {how} now."));
        }
    }
    Ok(())
}

fn done(common: &Common, text: String) {
    if common.json {
        report::json(&json!({"done": text}));
    } else {
        report::line(&text);
    }
}

pub(crate) fn day(time: Time) -> String {
    time.rfc3339().chars().take(10).collect()
}
