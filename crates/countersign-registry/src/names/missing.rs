//! Names that installers ask for and that do not exist: made up by a program that writes code, or misspelt. Whoever founds one of them is
//! installed by everybody who asks, so operators see them before somebody else does.
//!
//! Each process counts in a summary of bounded size, which a chore adds to rows of the day. A count is never too high. Nothing of whoever
//! asked is kept.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;

use countersign_formats::Ecosystem;

use crate::Registry;
use crate::error::Result;
use crate::model::Actor;
use crate::policy;
use crate::store::MissingName;

/// Names that one process counts between two looks at the database.
const COUNTED: usize = 1_024;
/// Names that are kept of one day; of more, those that were asked for least are forgotten.
const KEPT: u32 = 5_000;
/// Days that they are kept.
const DAYS: i64 = 30;
/// The longest name that is counted, in bytes.
const LONGEST: usize = 100;
/// At most so many are listed.
const LISTED: u32 = 200;

/// The most frequent names of a stream of any length, after Misra and Gries: of `n` questions a count is too low by
/// `n / (COUNTED + 1)` at most, and whatever was asked for more often is in it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: HashMap<(Ecosystem, String), u64>,
}

impl Tally {
    fn note(&mut self, ecosystem: Ecosystem, key: &str) {
        let name = (ecosystem, key.to_owned());
        if let Some(count) = self.counts.get_mut(&name) {
            *count += 1;
        } else if self.counts.len() < COUNTED {
            self.counts.insert(name, 1);
        } else {
            // One of each is struck out against this one.
            self.counts.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
        }
    }
}

impl Registry {
    /// Counts that an installer asked for a project that does not exist, or that it may not see. Cheap, and keeps nothing of whoever asked.
    pub fn note_missing_name(&self, ecosystem: Ecosystem, key: &str) {
        if key.len() <= LONGEST {
            let tally = &self.inner.names.missing;
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.note(ecosystem, key);
        }
    }

    /// Writes down what was asked for since it was done last, and forgets what is old. Part of the chores; where it fails, these counts
    /// are lost.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn flush_missing_names(&self) -> Result<()> {
        let tally = {
            let tally = &self.inner.names.missing;
            std::mem::take(&mut *tally.lock().unwrap_or_else(PoisonError::into_inner))
        };
        if tally.counts.is_empty() {
            return Ok(());
        }
        let today = self.now().day();
        let store = &self.inner.store;
        let mut counted = Vec::with_capacity(tally.counts.len());
        for ecosystem in Ecosystem::ALL.iter().copied() {
            let of_it = || {
                tally
                    .counts
                    .iter()
                    .filter(move |((of, _), _)| *of == ecosystem)
            };
            let keys: Vec<&str> = of_it().map(|((_, key), _)| key.as_str()).collect();
            // Those that not everybody sees are there all the same.
            let there: HashSet<String> = store.known_keys(ecosystem, &keys).await?;
            let missing = of_it().filter(|((_, key), _)| !there.contains(key));
            counted.extend(missing.map(|((_, key), count)| (ecosystem, key.clone(), *count)));
        }
        // In one order everywhere, so that two servers never wait for each other's rows.
        counted.sort();
        let mut tx = store.write().await?;
        tx.add_missing_names(today, &counted).await?;
        tx.trim_missing_names(today, KEPT, today - DAYS).await?;
        tx.commit().await
    }

    /// Names that are asked for and do not exist, those first that are asked for most.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn missing_names(&self, actor: &Actor) -> Result<Vec<MissingName>> {
        policy::may_operate(actor, "list names that do not exist")?;
        self.flush_missing_names().await?;
        let since = self.now().day() - DAYS;
        self.inner.store.missing_names(since, LISTED).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_often_stays_among_any_number_of_others_and_is_never_counted_too_high() {
        let mut tally = Tally::default();
        let often = |tally: &Tally| {
            tally
                .counts
                .get(&(Ecosystem::Npm, "often".to_owned()))
                .copied()
        };
        for number in 0..200_000_u32 {
            tally.note(Ecosystem::Npm, &format!("made-up-{number}"));
            if number % 100 == 0 {
                tally.note(Ecosystem::Npm, "often");
            }
            assert!(tally.counts.len() <= COUNTED);
        }
        let counted = often(&tally).unwrap();
        let error = 202_000 / (COUNTED as u64 + 1);
        assert!((2_000 - error..=2_000).contains(&counted), "{counted}");
        // Of each ecosystem by itself.
        let mut tally = Tally::default();
        tally.note(Ecosystem::Npm, "often");
        tally.note(Ecosystem::Pypi, "often");
        assert_eq!(often(&tally), Some(1));
    }
}
