//! What only an operator looks at: what is withheld, which tokens were reported, and when the periodic
//! work of this process was last done.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::Registry;
use crate::error::Result;
use crate::model::{Actor, Time};
use crate::policy;
use crate::store::{LeakReport, Withheld};

/// At most so many reports of leaked tokens are listed.
const REPORTS: u32 = 50;

/// Periodic work of this process.
#[derive(Clone, Debug, Serialize)]
pub struct Chore {
    /// What it does.
    pub name: &'static str,
    /// Every so many seconds.
    pub every: u64,
    /// When it last ended in this process.
    pub last: Option<Time>,
    /// What went wrong that time.
    pub problem: Option<String>,
}

/// What a process remembers of its periodic work.
#[derive(Default)]
pub(crate) struct Diary(Mutex<Vec<Chore>>);

impl Diary {
    // Whoever panicked while holding the lock left whole entries behind.
    fn chores(&self) -> MutexGuard<'_, Vec<Chore>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins with what will be done: name, and every so many seconds.
    pub(crate) fn open(&self, chores: impl IntoIterator<Item = (&'static str, u64)>) {
        *self.chores() = chores
            .into_iter()
            .map(|(name, every)| Chore {
                name,
                every,
                last: None,
                problem: None,
            })
            .collect();
    }

    /// Notes what a run came to.
    pub(crate) fn note(&self, name: &str, now: Time, problem: Option<String>) {
        let mut chores = self.chores();
        if let Some(chore) = chores.iter_mut().find(|chore| chore.name == name) {
            chore.last = Some(now);
            chore.problem = problem;
        }
    }
}

impl Registry {
    /// Every project and file that is withheld, the newest first.
    ///
    /// # Errors
    /// `operator-needed`, `step-up-needed`.
    pub async fn withheld(&self, actor: &Actor) -> Result<Vec<Withheld>> {
        policy::may_operate(actor, "list what is withheld")?;
        self.inner.store.withheld().await
    }

    /// The newest reports of leaked tokens.
    ///
    /// # Errors
    /// `operator-needed`, `step-up-needed`.
    pub async fn leak_reports(&self, actor: &Actor) -> Result<Vec<LeakReport>> {
        policy::may_operate(actor, "list reports of leaked tokens")?;
        self.inner.store.leak_reports(REPORTS).await
    }

    /// The periodic work that this process did since its start, and how it went.
    ///
    /// # Errors
    /// `operator-needed`, `step-up-needed`.
    pub fn periodic_work(&self, actor: &Actor) -> Result<Vec<Chore>> {
        policy::may_operate(actor, "look at the periodic work")?;
        Ok(self.inner.diary.chores().clone())
    }
}
