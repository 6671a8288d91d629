//! `drill`: plays incidents on a staging copy (`assess::staging`), with a clock. Scenarios are `countersign_assess::drill`'s; here is who
//! carries their steps out, one copy for each, so that none finds what another one left.

use std::time::{Duration, Instant};

use countersign_assess::drill::{Next, Outcome, SCENARIOS, Scenario, next};
use countersign_assess::profile::Profile;
use countersign_assess::script::{Act, Exchange, Target};
use countersign_registry::Random as _;
use serde_json::json;

use crate::assess::Staging;
use crate::cli::{Common, Drill};
use crate::config::{Config, Overrides};
use crate::failure::{Exit, Failure};
use crate::report;

/// A server asks ten times a second what another process changed; after this long what a command did is served.
const SEEN: Duration = Duration::from_millis(150);

/// Plays what was asked for.
///
/// # Errors
/// An unknown scenario, a staging copy that can not be made; exit 4 where a control did not answer.
pub async fn run(common: &Common, options: &Drill) -> Result<(), Failure> {
    if options.list {
        list(common);
        return Ok(());
    }
    let wanted = chosen(options)?;
    let config = Config::load(
        &common.data,
        common.config.as_deref(),
        &Overrides::default(),
    )?;
    let mut outcomes = Vec::with_capacity(wanted.len());
    for scenario in wanted {
        let staging = Staging::start(&config).await?;
        let outcome = play(scenario, &staging).await;
        staging.stop().await;
        if !common.json {
            show(&outcome);
        }
        outcomes.push(outcome);
    }
    let failed: Vec<&str> = outcomes
        .iter()
        .filter(|outcome| !outcome.held())
        .map(|outcome| outcome.id)
        .collect();
    if common.json {
        let shown: Vec<_> = outcomes
            .iter()
            .map(|outcome| {
                let mut value = json!(outcome);
                value["held"] = json!(outcome.held());
                value
            })
            .collect();
        report::json(&json!({"drills": shown, "failed": failed}));
    } else {
        report::line(&format!(
            "{} of {} held.",
            outcomes.len() - failed.len(),
            outcomes.len()
        ));
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Refused,
        "drill-failed",
        format!("A control did not answer in {}.", failed.join(", ")),
    )
    .remedy("The report says which; with --json it has every step."))
}

fn chosen(options: &Drill) -> Result<Vec<&'static Scenario>, Failure> {
    if options.all {
        return Ok(SCENARIOS.iter().collect());
    }
    if options.names.is_empty() {
        return Err(Failure::usage("drill-unknown", "Say which drill.")
            .remedy("`countersignd drill --list` shows them; --all plays all."));
    }
    options
        .names
        .iter()
        .map(|wanted| {
            let named = |scenario: &&Scenario| {
                scenario.id.eq_ignore_ascii_case(wanted) || scenario.name == wanted
            };
            SCENARIOS.iter().find(named).ok_or_else(|| {
                let why = format!("There is no drill {wanted:?}.");
                Failure::usage("drill-unknown", why)
                    .remedy("`countersignd drill --list` shows them.")
            })
        })
        .collect()
}

async fn play(scenario: &Scenario, staging: &Staging) -> Outcome {
    let target = Target {
        site: staging.site().to_owned(),
        profile: Profile::countersign(),
        now: staging.now(),
        seed: countersign_registry::SystemRandom.bytes32(),
    };
    let began = Instant::now();
    let (mut recording, mut elapsed): (Vec<Exchange>, Vec<u64>) = (Vec::new(), Vec::new());
    loop {
        match next(scenario, &target, &recording, &elapsed) {
            Next::Outcome(outcome) => return outcome,
            Next::Act(act) => {
                let reply = staging.perform(&act).await;
                if matches!(*act, Act::Operator(_)) {
                    tokio::time::sleep(SEEN).await;
                }
                recording.push(Exchange {
                    act: *act,
                    reply,
                    time: staging.now(),
                });
                elapsed.push(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
            }
        }
    }
}

fn seconds(milliseconds: u64) -> String {
    format!(
        "{}.{:01} s",
        milliseconds / 1_000,
        milliseconds % 1_000 / 100
    )
}

fn show(outcome: &Outcome) {
    report::line(&format!(
        "{}  {}  ({})",
        outcome.id, outcome.name, outcome.after
    ));
    for line in &outcome.lines {
        let when = line.after_ms.map_or("before".to_owned(), seconds);
        report::line(&format!("  {when:>8}  {}: {}", line.who, line.what));
    }
    for control in &outcome.controls {
        let mark = if control.answered { "✓" } else { "✗" };
        report::line(&format!(
            "  {:>8}  {mark} {} by {}: {}",
            seconds(control.after_ms),
            control.milestone.as_str(),
            control.by,
            control.what
        ));
    }
    if let Some(why) = &outcome.broke_off {
        report::line(&format!("  It broke off: {why}"));
    }
    report::line("");
}

fn list(common: &Common) {
    if common.json {
        report::json(&json!({
            "drills": SCENARIOS.iter().map(|one| json!({"id": one.id, "name": one.name, "after": one.after})).collect::<Vec<_>>(),
        }));
        return;
    }
    let rows: Vec<Vec<String>> = SCENARIOS
        .iter()
        .map(|one| vec![one.id.to_owned(), one.name.to_owned(), one.after.to_owned()])
        .collect();
    report::table(&["ID", "NAME", "AFTER"], &rows);
}
