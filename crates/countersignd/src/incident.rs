//! `incident …`: what an operator does when something went wrong.

use countersign_registry::model::{Actor, Time};
use countersign_registry::{
    IncidentChange, NewIncident, Reader, Registry, Rewind, StepState, Trace, Window, reading_as,
};
use serde_json::json;

use crate::admin::{open, settled};
use crate::cli::{Common, Incident, IncidentUpdate, When};
use crate::failure::{Exit, Failure};
use crate::report;

/// Carries out one command.
///
/// # Errors
/// What the registry refuses (exit 4), and instances that are not there.
pub async fn run(common: &Common, command: &Incident) -> Result<(), Failure> {
    // Whoever sits at the machine sees private projects too.
    reading_as(Reader::known(Actor::operator()), act(common, command)).await
}

fn window(registry: &Registry, since: When, until: Option<When>) -> Window {
    let now = registry.now();
    Window {
        since: since.from(now),
        until: until.map(|until| until.from(now)),
    }
}

fn say(common: &Common, text: String) {
    if common.json {
        report::json(&json!({"done": text}));
    } else {
        report::line(&text);
    }
}

async fn act(common: &Common, command: &Incident) -> Result<(), Failure> {
    let actor = Actor::operator();
    match command {
        Incident::Trace {
            subject,
            since,
            until,
            stores,
        } => {
            let registry = open(common, stores).await?;
            let window = window(&registry, *since, *until);
            let trace = registry.trace(&actor, subject, window).await?;
            show_trace(common, &trace);
        }
        Incident::Freeze {
            subject,
            reason,
            stores,
        } => {
            let registry = open(common, stores).await?;
            let fresh = registry.freeze(&actor, subject, reason).await?;
            settled(&registry).await;
            let how = if fresh {
                "is frozen"
            } else {
                "was frozen already"
            };
            say(common, format!("{subject} {how}."));
        }
        Incident::Unfreeze { subject, stores } => {
            let registry = open(common, stores).await?;
            let ended = registry.unfreeze(&actor, subject).await?;
            settled(&registry).await;
            let how = if ended {
                "is free again"
            } else {
                "was not frozen"
            };
            say(common, format!("{subject} {how}."));
        }
        Incident::Frozen { stores } => {
            let stops = open(common, stores).await?.frozen(&actor).await?;
            if common.json {
                report::json(&json!({"frozen": stops}));
                return Ok(());
            }
            if stops.is_empty() {
                report::line("Nothing is frozen.");
                return Ok(());
            }
            let rows: Vec<Vec<String>> = stops
                .into_iter()
                .map(|stop| vec![stop.scope, stop.name, second(stop.since), stop.reason])
                .collect();
            report::table(&["WHAT", "NAME", "SINCE", "REASON"], &rows);
        }
        Incident::Revoke {
            subject,
            made_since,
            made_until,
            reason,
            apply,
            stores,
        } => {
            let registry = open(common, stores).await?;
            let now = registry.now();
            let made = Window {
                since: made_since.map_or(Time(0), |since| since.from(now)),
                until: made_until.map(|until| until.from(now)),
            };
            let told = registry
                .revoke_all(&actor, subject, made, reason, *apply)
                .await?;
            settled(&registry).await;
            if common.json {
                report::json(&json!(told));
                return Ok(());
            }
            let counts = format!(
                "{} API tokens, {} sessions, {} tokens of workflows, of {} people",
                told.tokens,
                told.sessions,
                told.workflow_tokens,
                told.people.len()
            );
            report::line(&match apply {
                true => format!("Ended {counts}."),
                false => format!("Would end {counts}; nothing was changed. Add --apply to do it."),
            });
        }
        Incident::Rewind {
            subject,
            since,
            until,
            reason,
            apply,
            stores,
        } => {
            let registry = open(common, stores).await?;
            let window = window(&registry, *since, *until);
            let rewind = registry
                .rewind(&actor, subject, window, reason, *apply)
                .await?;
            settled(&registry).await;
            show_rewind(common, &rewind, *apply);
        }
        Incident::Open {
            title,
            summary,
            about,
            began,
            public,
            stores,
        } => {
            let registry = open(common, stores).await?;
            let new = NewIncident {
                title: title.clone(),
                summary: summary.clone(),
                about: about.clone(),
                began: began.map(|began| began.from(registry.now())),
                public: *public,
            };
            let id = registry.open_incident(&actor, &new).await?;
            if common.json {
                report::json(&json!({"id": id}));
            } else {
                report::line(&id);
            }
        }
        Incident::Update(update) => say_more(common, update, false).await?,
        Incident::Close(update) => say_more(common, update, true).await?,
        Incident::List { stores } => {
            let incidents = open(common, stores).await?.incidents(&actor).await?;
            if common.json {
                report::json(&json!({"incidents": incidents}));
                return Ok(());
            }
            let rows: Vec<Vec<String>> = incidents
                .into_iter()
                .map(|one| {
                    let state = if one.closed.is_some() {
                        "closed"
                    } else {
                        "open"
                    };
                    let seen = if one.public.is_some() {
                        "public"
                    } else {
                        "operators"
                    };
                    vec![
                        one.id,
                        state.to_owned(),
                        seen.to_owned(),
                        second(one.began),
                        one.title,
                    ]
                })
                .collect();
            report::table(&["ID", "STATE", "SEEN BY", "BEGAN", "TITLE"], &rows);
        }
        Incident::Show { id, stores } => {
            let incident = open(common, stores).await?.incident(&actor, id).await?;
            if common.json {
                report::json(&json!(incident));
                return Ok(());
            }
            report::line(&format!("{}  {}", incident.head.id, incident.head.title));
            for purl in &incident.about {
                report::line(&format!("  about {purl}"));
            }
            let rows: Vec<Vec<String>> = incident
                .timeline
                .into_iter()
                .map(|moment| vec![second(moment.at), moment.kind, moment.text])
                .collect();
            report::table(&["WHEN", "WHAT", ""], &rows);
        }
        Incident::Export { id, output, stores } => {
            let registry = open(common, stores).await?;
            settled(&registry).await;
            let evidence = registry.incident_evidence(&actor, id).await?;
            match output {
                None => report::json(&json!(evidence)),
                Some(path) => {
                    std::fs::write(path, json!(evidence).to_string()).map_err(|error| {
                        let why = format!("{} can not be written: {error}.", path.display());
                        Failure::new(Exit::Environment, "file-unwritten", why)
                    })?;
                    let count = evidence.events.len();
                    say(
                        common,
                        format!("Wrote {count} events to {}.", path.display()),
                    );
                }
            }
        }
    }
    Ok(())
}

async fn say_more(common: &Common, update: &IncidentUpdate, close: bool) -> Result<(), Failure> {
    let registry = open(common, &update.stores).await?;
    let change = IncidentChange {
        text: update.text.clone(),
        about: update.about.clone(),
        public: update.public,
        close,
    };
    registry
        .update_incident(&Actor::operator(), &update.id, &change)
        .await?;
    let how = if close { "is closed" } else { "was updated" };
    say(common, format!("Incident {} {how}.", update.id));
    Ok(())
}

/// A time to the second.
fn second(at: Time) -> String {
    let text = at.rfc3339();
    text.split('.').next().unwrap_or_default().to_owned() + "Z"
}

fn show_trace(common: &Common, trace: &Trace) {
    if common.json {
        report::json(&json!(trace));
        return;
    }
    let rows: Vec<Vec<String>> = trace
        .events
        .iter()
        .map(|one| {
            let subject = match (&one.account, one.purl.is_empty()) {
                (Some(account), true) => account.clone(),
                (Some(account), false) => format!("{} ({account})", one.purl),
                (None, _) => one.purl.clone(),
            };
            let digest = one.sha256.as_deref().and_then(|hex| hex.get(..16));
            vec![
                second(one.at),
                one.kind.clone(),
                subject,
                digest.unwrap_or_default().to_owned(),
                one.leaf
                    .map_or(String::new(), |(_, index)| index.to_string()),
                one.actor.clone().unwrap_or_else(|| one.by.clone()),
                one.event.clone(),
            ]
        })
        .collect();
    report::table(
        &["WHEN", "WHAT", "SUBJECT", "SHA-256", "LEAF", "BY", "EVENT"],
        &rows,
    );
    report::line(&format!(
        "Events: {}; projects: {}{}",
        trace.events.len(),
        trace.projects.len(),
        if trace.more {
            "; there are more: take a shorter time"
        } else {
            ""
        }
    ));
}

fn show_rewind(common: &Common, rewind: &Rewind, applied: bool) {
    if common.json {
        report::json(&json!(rewind));
        return;
    }
    let rows: Vec<Vec<String>> = rewind
        .steps
        .iter()
        .map(|step| {
            vec![
                step.state.as_str().to_owned(),
                step.what.clone(),
                step.note.clone().unwrap_or_default(),
            ]
        })
        .collect();
    report::table(&["STATE", "WHAT", ""], &rows);
    let by_hand = rewind.count(StepState::ByHand) + rewind.count(StepState::Refused);
    report::line(&match applied {
        true => format!(
            "{} taken back, {} were so already, {by_hand} left to do by hand.",
            rewind.count(StepState::Done),
            rewind.count(StepState::Already)
        ),
        false => format!(
            "{} to take back, {} are so already, {by_hand} by hand; nothing was changed. Add --apply to do it.",
            rewind.count(StepState::Planned),
            rewind.count(StepState::Already)
        ),
    });
    if rewind.more {
        report::line("There is more than was listed: take a shorter time.");
    }
}
