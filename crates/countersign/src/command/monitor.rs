//! `log monitor`: tells maintainers what happens to their projects.

use std::time::{SystemTime, UNIX_EPOCH};

use countersign::monitor::{self, Mail, Monitor, Outputs, Round};
use countersign::trusted::TrustFile;
use countersign::{Exit, Failure};
use serde_json::json;

use super::{line, remote, trust_path};
use crate::cli::{Common, LogMonitor};

pub fn run(common: &Common, options: &LogMonitor) -> Result<(), Failure> {
    let trust = TrustFile::load(&trust_path(common)?)?;
    let pinned = trust.registry(common.registry.as_ref())?.clone();
    let projects: Result<Vec<String>, Failure> = options
        .projects
        .iter()
        .map(|project| monitor::project_purl(project))
        .collect();
    let state = match &options.state {
        Some(path) => path.clone(),
        None => monitor::default_state(&pinned.origin)?,
    };
    let monitor = Monitor {
        remote: remote(common, &pinned.url)?,
        pinned,
        projects: projects?,
        state,
        from_start: options.from_start,
        max_age: i64::try_from(options.max_age.as_micros()).unwrap_or(i64::MAX),
    };
    let outputs = outputs(options)?;
    loop {
        match monitor.round(now()?, &outputs) {
            Ok(round) => show(common, &round),
            Err(failure) if !options.once && failure.exit == Exit::Unreachable => {
                eprintln!("countersign: {failure}");
            }
            Err(failure) => return Err(failure),
        }
        if options.once {
            return Ok(());
        }
        std::thread::sleep(options.every);
    }
}

fn outputs(options: &LogMonitor) -> Result<Outputs, Failure> {
    let address = |text: &str| {
        text.parse().map_err(|error| {
            Failure::new(
                Exit::Usage,
                "address",
                format!("{text:?} is no address of mail: {error}."),
            )
        })
    };
    let mail = match &options.mail {
        None => None,
        Some(to) => Some(Mail {
            to: address(to)?,
            from: address(options.mail_from.as_ref().unwrap_or(to))?,
            smtp: options.smtp.clone(),
        }),
    };
    Ok(Outputs {
        webhook: options.webhook.clone(),
        mail,
        atom: options.atom.clone(),
    })
}

fn show(common: &Common, round: &Round) {
    if common.json {
        for one in &round.happenings {
            line(&json!({"happening": one}).to_string());
        }
        for (project, leaves) in &round.begun {
            line(&json!({"watching": project, "leaves": leaves}).to_string());
        }
        for project in &round.absent {
            line(&json!({"absent": project}).to_string());
        }
        return;
    }
    for one in &round.happenings {
        line(&format!("{}  {}", one.time, one.text));
    }
    for (project, leaves) in &round.begun {
        line(&format!(
            "Watching {project} from here on; the log has {leaves} leaves of it, and proves that these are all."
        ));
    }
    for project in &round.absent {
        line(&format!("{project} is not there; the log proves it."));
    }
}

fn now() -> Result<i64, Failure> {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_micros()).ok())
        .ok_or_else(|| Failure::new(Exit::Environment, "clock", "The clock stands before 1970."))
}
