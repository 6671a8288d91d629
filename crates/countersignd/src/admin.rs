//! `admin …`: what an operator does at the machine itself. Whoever can open the database is the operator.

pub mod people;
mod provenance;
mod trusted;

use std::time::Duration;

use countersign_registry::model::{Actor, Time};
use countersign_registry::{
    Deletion, NewToken, PolicyChange, Reader, Registry, TokenSummary, reading_as,
};
use serde_json::json;

use crate::cli::{Admin, Common, Log, Project, Quarantine, Stores, Token, Visible};
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
        Admin::Token(command) => token(common, command).await,
        Admin::Project(command) => project(common, command).await,
        Admin::Issuer(command) => trusted::issuer(common, command).await,
        Admin::Publisher(command) => trusted::publisher(common, command).await,
        Admin::TrustRoot(command) => provenance::trust_root(common, command).await,
        Admin::Provenance(command) => provenance::provenance(common, command).await,
        Admin::Key(command) => provenance::key(common, command).await,
        Admin::Quarantine(command) => quarantine(common, command).await,
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
            file,
            reason,
            stores,
        } => {
            let ((ecosystem, name), registry) = (&project.project, open(common, stores).await?);
            registry
                .quarantine(&actor, *ecosystem, name, file.as_deref(), reason)
                .await?;
            settled(&registry).await;
            done(
                common,
                format!("Withheld {}.", file.as_deref().unwrap_or(name)),
            );
        }
        Quarantine::Release {
            project,
            file,
            stores,
        } => {
            let ((ecosystem, name), registry) = (&project.project, open(common, stores).await?);
            registry
                .release_quarantine(&actor, *ecosystem, name, file.as_deref())
                .await?;
            settled(&registry).await;
            done(
                common,
                format!("{} is served again.", file.as_deref().unwrap_or(name)),
            );
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

fn day(time: Time) -> String {
    time.rfc3339().chars().take(10).collect()
}
