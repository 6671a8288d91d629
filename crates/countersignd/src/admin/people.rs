//! `admin user`, `sessions`, `recovery`, `policy`, `critical`, `breached`, `mail`, `organisation` and `namespace`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use countersign_registry::model::{Actor, Time};
use countersign_registry::{FactorPolicy, RecoveryCase, UserDetail, import_breached};
use serde_json::json;

use super::{day, done, open, settled};
use crate::cli::{
    Breached, Common, Critical, FactorChange, Factors, Mail, Namespace, Organisation, Policy,
    Recovery, Sessions, User,
};
use crate::config::{Config, Overrides};
use crate::failure::{Exit, Failure};
use crate::report;

/// Bytes of one entry of an imported list.
const ENTRY: u64 = 20;

/// A list older than this many days is worth a word.
pub const OLD_LIST: u64 = 366;

pub(super) async fn user(common: &Common, command: &User) -> Result<(), Failure> {
    let actor = Actor::operator();
    match command {
        User::Create {
            name,
            email,
            operator,
            stores,
        } => {
            let registry = open(common, stores).await?;
            let made = registry
                .create_user(&actor, name, email.as_deref(), *operator)
                .await?;
            settled(&registry).await;
            let link = made
                .enrolment
                .as_ref()
                .map(|token| format!("{}/enrol/{token}", registry.settings().site()));
            if common.json {
                report::json(
                    &json!({"name": made.name, "operator": made.operator_since.is_some(), "enrolment": link}),
                );
                return Ok(());
            }
            report::line(&format!(
                "Created {} {}.",
                if *operator { "operator" } else { "user" },
                made.name
            ));
            if let Some(link) = link {
                report::line(&format!("Enrolment link, good once: {link}"));
            }
            report::line(&format!(
                "A token to publish with: countersignd admin token create --user {}",
                made.name
            ));
        }
        User::List(stores) => {
            let registry = open(common, stores).await?;
            let users = registry.users(&actor).await?;
            if common.json {
                report::json(&json!(users));
                return Ok(());
            }
            let rows: Vec<_> = users
                .iter()
                .map(|user| {
                    let kind = if user.operator_since.is_some() {
                        "operator"
                    } else {
                        "user"
                    };
                    let state = match user.disabled {
                        Some(since) => format!("frozen since {}", day(since)),
                        None => "good".to_owned(),
                    };
                    vec![user.name.clone(), kind.to_owned(), state, day(user.created)]
                })
                .collect();
            report::table(&["NAME", "KIND", "STATE", "SINCE"], &rows);
        }
        User::Show { name, stores } => {
            let registry = open(common, stores).await?;
            let user = registry.user(&actor, name).await?;
            if common.json {
                report::json(&json!(user));
            } else {
                show(&user);
            }
        }
        User::Freeze { name, stores } => {
            let registry = open(common, stores).await?;
            registry.disable_user(&actor, name, true).await?;
            settled(&registry).await;
            done(
                common,
                format!("{name} is frozen: its sessions ended and its tokens sleep."),
            );
        }
        User::Unfreeze { name, stores } => {
            let registry = open(common, stores).await?;
            registry.disable_user(&actor, name, false).await?;
            settled(&registry).await;
            done(common, format!("{name} is open again."));
        }
        User::Enrol { name, stores } => {
            let registry = open(common, stores).await?;
            let secret = registry.enrol_again(&actor, name).await?;
            settled(&registry).await;
            let link = format!("{}/enrol/{secret}", registry.settings().site());
            if common.json {
                report::json(&json!({"name": name, "enrolment": link}));
            } else {
                report::line(&format!("Enrolment link, good once: {link}"));
            }
        }
        User::Recover { name, stores } => {
            let registry = open(common, stores).await?;
            registry.send_recovery_link(&actor, name).await?;
            let policy = registry.recovery_policy();
            done(
                common,
                format!(
                    "The link that begins the recovery of {name} waits to be mailed to its main address by the running server. It takes {} proofs and {} hours.",
                    policy.proofs, policy.wait_hours
                ),
            );
        }
    }
    Ok(())
}

/// A user on a few lines.
fn show(user: &UserDetail) {
    let line = |name: &str, value: &str| report::line(&format!("  {name:<15} {value}"));
    let kind = if user.operator_since.is_some() {
        "operator"
    } else {
        "user"
    };
    report::line(&format!("{} ({kind})", user.name));
    line("since", &day(user.created));
    if let Some(since) = user.disabled {
        line("frozen since", &day(since));
    }
    for (address, proved) in &user.addresses {
        line(
            "address",
            &match proved {
                Some(at) => format!("{address} (proved {})", day(*at)),
                None => format!("{address} (not proved)"),
            },
        );
    }
    line("password", if user.password { "yes" } else { "none" });
    for (kind, used) in &user.factors {
        line(
            "factor",
            &match used {
                Some(at) => format!("{kind} (last used {})", day(*at)),
                None => format!("{kind} (never used)"),
            },
        );
    }
    for issuer in &user.providers {
        line("signs in at", issuer);
    }
    line("recovery codes", &user.recovery_codes.to_string());
    line("sessions", &user.sessions.to_string());
    line("tokens", &user.tokens.to_string());
    for (project, roles) in &user.projects {
        let words: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
        line("project", &format!("{project} ({})", words.join(", ")));
    }
    if let Some(missing) = &user.missing {
        line(
            "lacks",
            &format!(
                "{}, by {}: {}",
                missing.need.words(),
                day(missing.by),
                missing.why
            ),
        );
    }
}

pub(super) async fn sessions(common: &Common, command: &Sessions) -> Result<(), Failure> {
    let Sessions::Revoke { user, stores } = command;
    let registry = open(common, stores).await?;
    let ended = registry.end_sessions_of(&Actor::operator(), user).await?;
    settled(&registry).await;
    if common.json {
        report::json(&json!({"user": user, "ended": ended}));
    } else {
        report::line(&format!("Ended {ended} sessions of {user}."));
    }
    Ok(())
}

pub(super) async fn recovery(common: &Common, command: &Recovery) -> Result<(), Failure> {
    let actor = Actor::operator();
    match command {
        Recovery::List(stores) => {
            let registry = open(common, stores).await?;
            let cases = registry.recoveries(&actor).await?;
            if common.json {
                report::json(&json!(cases));
                return Ok(());
            }
            let rows: Vec<_> = cases.iter().map(case_row).collect();
            report::table(
                &["USER", "OPENED", "PROOFS", "OPERATORS", "READY", "LAPSES"],
                &rows,
            );
        }
        Recovery::Approve { user, stores } => {
            let registry = open(common, stores).await?;
            let case = registry.approve_recovery(&actor, user).await?;
            settled(&registry).await;
            if common.json {
                report::json(&json!(case));
                return Ok(());
            }
            let (needed, agreed) = case.operators;
            report::line(&format!(
                "Agreed to the recovery of {user}: {agreed} of {needed} operators."
            ));
            if agreed < needed {
                report::line("The others agree in the operator console; this command counts once.");
            }
        }
        Recovery::Refuse {
            user,
            reason,
            stores,
        } => {
            let registry = open(common, stores).await?;
            registry.refuse_recovery(&actor, user, reason).await?;
            settled(&registry).await;
            done(common, format!("Ended the recovery of {user}."));
        }
    }
    Ok(())
}

fn case_row(case: &RecoveryCase) -> Vec<String> {
    let proofs: Vec<_> = case.proofs.iter().map(|(kind, _)| kind.as_str()).collect();
    vec![
        case.user.clone(),
        minute(case.opened),
        format!(
            "{} of {} ({})",
            case.proofs.len(),
            case.needed,
            proofs.join(", ")
        ),
        format!("{} of {}", case.operators.1, case.operators.0),
        case.ready
            .map_or_else(|| "proofs are lacking".to_owned(), minute),
        minute(case.expires),
    ]
}

pub(super) async fn policy(common: &Common, command: &Policy) -> Result<(), Failure> {
    let Policy::Factors(command) = command;
    let actor = Actor::operator();
    let (stores, change) = match command {
        Factors::Show(stores) => (stores, None),
        Factors::Raise { change, stores } => (stores, Some((change, None))),
        Factors::Lower {
            change,
            reason,
            stores,
        } => (stores, Some((change, Some(reason.as_str())))),
    };
    let registry = open(common, stores).await?;
    let mut rule = registry.factor_policy().await?;
    if let Some((change, reason)) = change {
        if reason.is_some_and(|reason| reason.trim().is_empty()) {
            return Err(Failure::usage("reason", "--reason is empty.")
                .remedy("Say why; the event keeps it."));
        }
        rule = registry
            .set_factor_policy(&actor, changed(rule, change), reason)
            .await?;
        settled(&registry).await;
    }
    if common.json {
        report::json(&json!(rule));
        return Ok(());
    }
    report::line(&format!(
        "People with a role on a project need {}.",
        rule.maintainers.words()
    ));
    report::line(&format!(
        "On a critical project they need {}.",
        rule.critical.words()
    ));
    report::line(&format!(
        "They have {} days to comply. Operators always need a passkey or security key.",
        rule.grace_days
    ));
    Ok(())
}

fn changed(rule: FactorPolicy, change: &FactorChange) -> FactorPolicy {
    FactorPolicy {
        maintainers: change.maintainers.unwrap_or(rule.maintainers),
        critical: change.critical.unwrap_or(rule.critical),
        grace_days: change.grace_days.unwrap_or(rule.grace_days),
        raised: rule.raised,
    }
}

pub(super) async fn critical(common: &Common, command: &Critical) -> Result<(), Failure> {
    let actor = Actor::operator();
    match command {
        Critical::Mark { project, stores } => {
            let ((ecosystem, name), registry) = (&project.project, open(common, stores).await?);
            registry
                .mark_critical(&actor, *ecosystem, name, true)
                .await?;
            settled(&registry).await;
            done(
                common,
                format!("{name} is critical now; its owners were told what that asks of them."),
            );
        }
        Critical::Unmark { project, stores } => {
            let ((ecosystem, name), registry) = (&project.project, open(common, stores).await?);
            registry
                .mark_critical(&actor, *ecosystem, name, false)
                .await?;
            settled(&registry).await;
            done(
                common,
                format!("{name} is not critical any more; the log shows who decided so."),
            );
        }
        Critical::List(stores) => {
            let registry = open(common, stores).await?;
            let projects = registry.critical_projects(&actor).await?;
            if common.json {
                report::json(&json!(projects));
                return Ok(());
            }
            let rows: Vec<_> = projects
                .iter()
                .map(|project| {
                    vec![
                        format!("{}:{}", project.ecosystem, project.name),
                        day(project.since),
                        project.why.clone(),
                    ]
                })
                .collect();
            report::table(&["PROJECT", "SINCE", "WHY"], &rows);
        }
    }
    Ok(())
}

pub(super) fn breached(common: &Common, command: &Breached) -> Result<(), Failure> {
    let config = Config::load(
        &common.data,
        common.config.as_deref(),
        &Overrides::default(),
    )?;
    match command {
        Breached::Import { file } => {
            let configured = config.sign_in.breach_file.is_some();
            let to = config.breached_place();
            let count = import_breached(file, &to)?;
            if common.json {
                report::json(&json!({"file": to, "passwords": count}));
                return Ok(());
            }
            report::line(&format!(
                "Imported {count} breached passwords to {}.",
                to.display()
            ));
            report::line(if configured {
                "A running server uses the new list from now on."
            } else {
                "A running server uses it once it is started again."
            });
        }
        Breached::Status => {
            let list = match &config.sign_in.breach_file {
                Some(path) => Some((path.clone(), List::look(path)?)),
                None => None,
            };
            let service = config.sign_in.breach_service.as_deref();
            if common.json {
                report::json(&json!({
                    "service": service,
                    "file": list.as_ref().map(|(path, _)| path),
                    "passwords": list.as_ref().map(|(_, list)| list.passwords),
                    "age_days": list.as_ref().map(|(_, list)| list.days),
                }));
                return Ok(());
            }
            if let Some(service) = service {
                report::line(&format!(
                    "The service at {service} is asked, with five digits of the SHA-1."
                ));
            }
            if let Some((path, list)) = &list {
                report::line(&format!(
                    "The list {} has {} passwords and is {} days old.",
                    path.display(),
                    list.passwords,
                    list.days
                ));
            }
            if service.is_none() && list.is_none() {
                report::line(
                    "Passwords are held against a few built-in words only: import a list, or set sign_in.breach_service.",
                );
            }
        }
    }
    Ok(())
}

/// An imported list of breached passwords.
pub struct List {
    /// How many it holds.
    pub passwords: u64,
    /// Its age in days.
    pub days: u64,
}

impl List {
    /// Looks at a list, without reading it through.
    ///
    /// # Errors
    /// Where it can not be read or is none.
    pub fn look(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| {
            Failure::new(
                Exit::Environment,
                "breach-file",
                format!("The list of breached passwords {}: {why}.", path.display()),
            )
            .remedy("Make it with `countersignd admin breached import FILE`.")
        };
        let about = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
        if !about.is_file() || about.len() == 0 || !about.len().is_multiple_of(ENTRY) {
            return Err(wrong(format!(
                "its {} bytes are no whole number of entries",
                about.len()
            )));
        }
        let age = about
            .modified()
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        Ok(Self {
            passwords: about.len() / ENTRY,
            days: age.map_or(0, |age| age.as_secs() / 86_400),
        })
    }
}

pub(super) async fn mail(common: &Common, command: &Mail) -> Result<(), Failure> {
    let Mail::Status(stores) = command;
    let registry = open(common, stores).await?;
    let state = registry.mail_state(&Actor::operator()).await?;
    if common.json {
        report::json(&json!(state));
        return Ok(());
    }
    if !state.set_up {
        report::line("Mail is not set up: set mail.server and mail.from in the configuration.");
    }
    let since = state
        .oldest
        .map_or_else(String::new, |oldest| format!(", since {}", minute(oldest)));
    report::line(&format!("{} mails wait{since}.", state.waiting));
    report::line(&format!(
        "{} mails were given up in the last week.",
        state.given_up
    ));
    if let Some(fault) = &state.fault {
        report::line(&format!("The last fault: {fault}"));
    }
    Ok(())
}

pub(super) async fn organisation(common: &Common, command: &Organisation) -> Result<(), Failure> {
    let actor = Actor::operator();
    match command {
        Organisation::List(stores) => {
            let registry = open(common, stores).await?;
            let all = registry.organisations(&actor).await?;
            if common.json {
                report::json(&json!(all));
                return Ok(());
            }
            let rows: Vec<_> = all
                .iter()
                .map(|one| vec![one.name.clone(), day(one.created), one.display_name.clone()])
                .collect();
            report::table(&["NAME", "SINCE", "CALLED"], &rows);
        }
        Organisation::Show { name, stores } => {
            let registry = open(common, stores).await?;
            let one = registry.organisation(&actor, name).await?;
            if common.json {
                report::json(&json!(one));
                return Ok(());
            }
            let line = |name: &str, value: &str| report::line(&format!("  {name:<10} {value}"));
            report::line(&format!(
                "{} ({})",
                one.organisation.name, one.organisation.display_name
            ));
            for member in &one.members {
                line(
                    "member",
                    &format!("{} ({})", member.user, member.standing.as_str()),
                );
            }
            for team in &one.teams {
                line(
                    "team",
                    &format!("{}: {}", team.name, team.members.join(", ")),
                );
            }
            for project in &one.projects {
                line(
                    "project",
                    &format!("{}:{}", project.ecosystem, project.name),
                );
            }
            for namespace in &one.namespaces {
                line(
                    "namespace",
                    &format!("{}:{}", namespace.ecosystem, namespace.prefix),
                );
            }
        }
        Organisation::Remove { name, stores } => {
            let registry = open(common, stores).await?;
            registry.remove_organisation(&actor, name).await?;
            settled(&registry).await;
            done(common, format!("Ended {name}. Its name stays taken."));
        }
    }
    Ok(())
}

pub(super) async fn namespace(common: &Common, command: &Namespace) -> Result<(), Failure> {
    let actor = Actor::operator();
    match command {
        Namespace::List(stores) => {
            let registry = open(common, stores).await?;
            let all = registry.namespaces(&actor).await?;
            if common.json {
                report::json(&json!(all));
                return Ok(());
            }
            let rows: Vec<_> = all
                .iter()
                .map(|one| {
                    vec![
                        format!("{}:{}", one.ecosystem, one.prefix),
                        one.since.map_or_else(String::new, day),
                    ]
                })
                .collect();
            report::table(&["PREFIX", "SINCE"], &rows);
        }
        Namespace::Reserve {
            prefix: (ecosystem, prefix),
            organisation,
            stores,
        } => {
            let registry = open(common, stores).await?;
            registry
                .reserve_namespace(&actor, *ecosystem, prefix, Some(organisation))
                .await?;
            settled(&registry).await;
            done(
                common,
                format!("{prefix} and {prefix}-… are reserved for {organisation} now."),
            );
        }
        Namespace::Free {
            prefix: (ecosystem, prefix),
            stores,
        } => {
            let registry = open(common, stores).await?;
            registry
                .reserve_namespace(&actor, *ecosystem, prefix, None)
                .await?;
            settled(&registry).await;
            done(common, format!("{prefix} is free now."));
        }
    }
    Ok(())
}

/// A time to the minute.
fn minute(at: Time) -> String {
    let text: String = at.rfc3339().chars().take(16).collect();
    format!("{} UTC", text.replace('T', " "))
}

impl Config {
    /// Where the list of breached passwords is, or would be.
    pub fn breached_place(&self) -> PathBuf {
        self.sign_in
            .breach_file
            .clone()
            .unwrap_or_else(|| self.data.join("breached"))
    }
}
