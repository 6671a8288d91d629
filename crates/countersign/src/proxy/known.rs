//! What is known to be bad about what passes: each file that goes out is looked up in databases of advisories, and told of; or refused, where
//! the user says so.

use std::collections::HashSet;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_formats::osv::{Grade, Verdict};
use tokio::sync::watch;

use super::lock;
use crate::advisories::Database;
use crate::exposure::{self, Found, Ignore};
use crate::failure::{Exit, Failure, Result, plain};

/// How long a file waits for databases that are still being read, where it is only told of.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most flaws of one release that are told.
const MOST_TOLD: usize = 5;

/// From where on a known flaw is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Least {
    /// Software that was made to do harm.
    Malware,
    /// What is rated so, or higher. What nobody rated lies between low and medium.
    Grade(Grade),
    /// Every flaw.
    Any,
}

impl FromStr for Least {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        Ok(match text {
            "malware" => Self::Malware,
            "critical" => Self::Grade(Grade::Critical),
            "high" => Self::Grade(Grade::High),
            "medium" => Self::Grade(Grade::Medium),
            "low" => Self::Grade(Grade::Low),
            "any" => Self::Any,
            _ => {
                return Err(format!(
                    "{text:?} is none of malware, critical, high, medium, low, any"
                ));
            }
        })
    }
}

impl Least {
    fn refuses(self, found: &Found) -> bool {
        found.advisory.malware
            || match self {
                Self::Malware => false,
                Self::Grade(least) => found.advisory.rating.grade >= least,
                Self::Any => true,
            }
    }
}

/// Databases that are being read, or were.
#[derive(Clone)]
enum Loaded {
    Reading,
    There(Arc<Database>),
    /// Why not.
    Not(String),
}

/// What is asked of what is known.
pub struct Known {
    loaded: watch::Receiver<Loaded>,
    refused: Option<Least>,
    ignores: Vec<Ignore>,
    today: String,
    told: Mutex<HashSet<String>>,
}

/// What is known about one release.
#[derive(Debug, Default)]
pub struct Warning {
    /// One line for each flaw.
    pub lines: Vec<String>,
}

impl Known {
    /// Begins to read the databases, beside everything else. `refused` is from where on files are refused; `today` is a day as
    /// [`Ignore::until`] has it.
    #[must_use]
    pub fn begin(
        open: impl FnOnce() -> Result<Database> + Send + 'static,
        refused: Option<Least>,
        ignores: Vec<Ignore>,
        today: String,
    ) -> Self {
        let (sender, loaded) = watch::channel(Loaded::Reading);
        std::thread::spawn(move || {
            let read = match open() {
                Ok(database) => Loaded::There(Arc::new(database)),
                Err(failure) => Loaded::Not(failure.message),
            };
            // Nobody may wait any more.
            let _ = sender.send(read);
        });
        Self {
            loaded,
            refused,
            ignores,
            today,
            told: Mutex::default(),
        }
    }

    /// What is known about a release that is to be passed on.
    ///
    /// # Errors
    /// Exit 3 for what the user refuses. Where something is to be refused and the databases can not be read, nothing passes.
    pub async fn look(&self, ecosystem: Ecosystem, key: &str, version: &str) -> Result<Warning> {
        let mut loaded = self.loaded.clone();
        let there = async {
            let read = loaded.wait_for(|loaded| !matches!(loaded, Loaded::Reading));
            read.await.map(|read| read.clone()).ok()
        };
        let read = match self.refused {
            Some(_) => there.await,
            None => tokio::time::timeout(PATIENCE, there).await.ok().flatten(),
        };
        let database = match read {
            Some(Loaded::There(database)) => database,
            Some(Loaded::Not(why)) if self.refused.is_some() => {
                return Err(Failure::new(
                    Exit::Verification,
                    "advisories-unknown",
                    format!(
                        "Known flaws are to be refused, and the advisories can not be read: {why}"
                    ),
                ));
            }
            _ => return Ok(Warning::default()),
        };
        let mut found = exposure::of_release(0, ecosystem, key, version, &database);
        found.retain(|found| {
            let passed = self
                .ignores
                .iter()
                .any(|ignore| ignore.until >= self.today && found.ids().any(|id| id == ignore.id));
            found.verdict == Verdict::Affected && found.counts() && !passed
        });
        found.sort_by(|a, b| {
            let key = |found: &Found| (found.advisory.malware, found.advisory.rating.grade);
            key(b)
                .cmp(&key(a))
                .then_with(|| a.advisory.id.cmp(&b.advisory.id))
        });
        let line = |found: &Found| told(key, version, found);
        if let Some(refused) = found
            .iter()
            .find(|found| self.refused.is_some_and(|least| least.refuses(found)))
        {
            return Err(Failure::new(
                Exit::Verification,
                "known-vulnerable",
                format!("{}.", line(refused)),
            )
            .remedy(
                "Take another version, or pass the advisory over with --ignore ID:REASON:UNTIL.",
            ));
        }
        Ok(Warning {
            lines: found.iter().take(MOST_TOLD).map(line).collect(),
        })
    }

    /// Whether it is the first time that this is told.
    pub fn is_new(&self, line: &str) -> bool {
        lock(&self.told).insert(line.to_owned())
    }

    /// How many different flaws were told.
    #[must_use]
    pub fn told(&self) -> usize {
        lock(&self.told).len()
    }
}

fn told(key: &str, version: &str, found: &Found) -> String {
    let advisory = &found.advisory;
    let what = match (advisory.malware, advisory.rating.score) {
        (true, _) => "malware".to_owned(),
        (false, Some(score)) => format!("{} {score:.1}", advisory.rating.grade.as_str()),
        (false, None) => advisory.rating.grade.as_str().to_owned(),
    };
    let fixed = match &found.fixed {
        Some(fixed) => format!(", fixed in {}", plain(fixed)),
        None => String::new(),
    };
    let summary = match advisory.summary.as_str() {
        "" => String::new(),
        summary => format!(": {}", plain(summary)),
    };
    format!(
        "{} {} is known to be bad ({what}, {}{fixed}){summary}",
        plain(key),
        plain(version),
        plain(&advisory.id)
    )
}
