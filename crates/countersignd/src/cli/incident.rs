//! `incident …` and `drill`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use countersign_registry::Subject;
use countersign_registry::model::Time;

use super::Stores;
use crate::config::Span;

/// A point in time as an operator writes it.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// So long ago: `2h`.
    Ago(Span),
    /// Then: `2026-11-22T09:00:00Z`, or a day.
    At(Time),
}

impl When {
    /// That time, seen from `now`.
    pub fn from(self, now: Time) -> Time {
        match self {
            Self::Ago(span) => {
                let seconds = i64::try_from(span.0.as_secs()).unwrap_or(i64::MAX / 2_000_000);
                now.plus_seconds(-seconds)
            }
            Self::At(at) => at,
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(seconds) = countersign_assess::seconds(text) {
            return Ok(Self::At(Time(0).plus_seconds(seconds)));
        }
        text.parse().map(Self::Ago).map_err(|why| {
            format!(
                "{why}; a time is written 2026-11-22T09:00:00Z, 2026-11-22, or 2h for two hours ago"
            )
        })
    }
}

/// `incident …`
#[derive(Debug, Subcommand)]
pub enum Incident {
    /// Print everything that somebody did, or that happened to a project.
    ///
    /// SUBJECT is user:NAME, token:ID (or its hint, or itself), session:ID, publisher:ID, workflow:TEXT (workflows whose words hold it),
    /// issuer:URL, address:IP (sessions begun from there, while that is kept), or project:ECOSYSTEM:NAME.
    Trace {
        /// Who, or which project.
        subject: Subject,
        /// From when on: a time, or how long ago.
        #[arg(long, value_name = "TIME", default_value = "24h")]
        since: When,
        /// Until when [default: now]
        #[arg(long, value_name = "TIME")]
        until: Option<When>,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Let nobody but the operator change something: user:NAME, project:ECOSYSTEM:NAME, organisation:NAME, or registry.
    ///
    /// What is published is served as before. Publishing clients are refused with your reason. It lasts until `unfreeze`, also over a
    /// restart.
    Freeze {
        /// What.
        subject: Subject,
        /// Told to everybody whom it stops.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// End a freeze.
    Unfreeze {
        /// What.
        subject: Subject,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Print what is frozen.
    Frozen {
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Count API tokens, sessions and workflows' tokens that a query means; with --apply end them, with one mail for each person.
    ///
    /// SUBJECT is as for `trace`, or organisation:NAME (of its members), project:ECOSYSTEM:NAME (those that are good for it), or registry
    /// (all).
    Revoke {
        /// Whose.
        subject: Subject,
        /// Only what was made from then on.
        #[arg(long, value_name = "TIME")]
        made_since: Option<When>,
        /// Only what was made before then.
        #[arg(long, value_name = "TIME")]
        made_until: Option<When>,
        /// Told to everybody whose they are.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Do it.
        #[arg(long)]
        apply: bool,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// List what somebody did in a time, each with what takes it back; with --apply take it back.
    ///
    /// Releases are withheld, yanks and roles put as they were, publishers and tokens that were made ended. What no program can take back is
    /// named. One that broke off can be run again. SUBJECT is as for `trace`, but for projects.
    Rewind {
        /// Whose doings.
        subject: Subject,
        /// From when on: a time, or how long ago.
        #[arg(long, value_name = "TIME")]
        since: When,
        /// Until when [default: now]
        #[arg(long, value_name = "TIME")]
        until: Option<When>,
        /// Shown beside what is withheld.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Do it.
        #[arg(long)]
        apply: bool,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Open the record of an incident. Prints its id.
    Open {
        /// In a line.
        title: String,
        /// What is known, in Markdown.
        #[arg(long, value_name = "TEXT", default_value = "")]
        summary: String,
        /// Purl of a project, release or file that it is about; may be given several times.
        #[arg(long, value_name = "PURL")]
        about: Vec<String>,
        /// From when on it is about [default: now]
        #[arg(long, value_name = "TIME")]
        began: Option<When>,
        /// Show it to everybody at /incidents.
        #[arg(long)]
        public: bool,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Say more about an incident.
    Update(IncidentUpdate),
    /// Say the last about an incident, and close it.
    Close(IncidentUpdate),
    /// List incidents.
    List {
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Print an incident with its timeline.
    Show {
        /// Its id.
        id: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Write everything about an incident as JSON, with who acted and the log's proofs.
    Export {
        /// Its id.
        id: String,
        /// The file to write [default: standard output]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// Options of `incident update` and `incident close`.
#[derive(Args, Debug)]
pub struct IncidentUpdate {
    /// Its id.
    pub id: String,
    /// What became known, or was done.
    pub text: String,
    /// Purl of something more that it is about; may be given several times.
    #[arg(long, value_name = "PURL")]
    pub about: Vec<String>,
    /// Show it to everybody at /incidents from now on.
    #[arg(long)]
    pub public: bool,
    /// Where database and blobs are.
    #[command(flatten)]
    pub stores: Stores,
}

/// Options of `drill`.
#[derive(Args, Debug)]
pub struct Drill {
    /// Which: D1, D2, …; may be several.
    pub names: Vec<String>,
    /// Print what there is.
    #[arg(long, conflicts_with_all = ["names", "all"])]
    pub list: bool,
    /// Play all.
    #[arg(long, conflicts_with = "names")]
    pub all: bool,
}
