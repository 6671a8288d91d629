//! Feeds of the settings, read again whenever their files change.

use std::path::Path;
use std::time::UNIX_EPOCH;

use countersign_trust::digest::Sha256;

use super::{AdvisoryFeed, files_of, unreadable};
use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::model::{Actor, Time};

/// A feed of the settings whose newest files were not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedProblem {
    /// Its name.
    pub feed: String,
    /// Why; what was imported before stays.
    pub problem: String,
    /// Since when.
    pub since: Time,
}

impl Registry {
    /// Reads those feeds of the settings whose files changed since they were read last. What is refused is told by `doctor` and
    /// `/healthz`, and is not tried again before its files change. Part of the chores.
    ///
    /// # Errors
    /// The first feed that was refused; the others are read all the same.
    pub async fn refresh_advisories(&self) -> Result<()> {
        let mut outcome = Ok(());
        for (name, path) in &self.inner.settings.advisories.feeds {
            let one = self.refresh_feed(name, path).await;
            outcome = outcome.and(one);
        }
        outcome
    }

    async fn refresh_feed(&self, name: &str, path: &Path) -> Result<()> {
        let place = path.to_owned();
        let marked = tokio::task::spawn_blocking(move || mark_of(&place))
            .await
            .map_err(|source| Error::internal("looking at a feed broke off", source))?;
        let known = self.inner.store.advisory_source(name).await?;
        let outcome = match &marked {
            Ok(mark) => match known {
                Some((known, None)) if known == *mark => return Ok(()),
                Some((known, Some(problem))) if known == *mark => {
                    return Err(Error::new(Kind::Rejected, "advisories-refused", problem)
                        .remedy("Fetch the feed again: it is read as soon as its files change."));
                }
                _ => {
                    let feed = AdvisoryFeed {
                        name: name.to_owned(),
                        path: path.to_owned(),
                        accept_shrinkage: false,
                    };
                    let actor = Actor::system("feed");
                    let done = self.import_advisories(&actor, &feed, &mut |_, _| {}).await;
                    done.map(drop)
                }
            },
            Err(error) => {
                Err(
                    Error::new(error.kind, "advisories-unreadable", error.message.clone())
                        .remedy("Fetch the feed to this place, or take it out of the settings."),
                )
            }
        };
        // Trouble of our own is not the feed's: it is tried again at the next look.
        if let Err(error) = &outcome
            && error.kind != Kind::Rejected
        {
            return outcome;
        }
        let mark = marked.unwrap_or_default();
        let problem = outcome.as_ref().err().map(Error::text);
        let mut tx = self.inner.store.write().await?;
        tx.put_advisory_source(name, &mark, problem.as_deref(), self.now())
            .await?;
        tx.commit().await?;
        outcome
    }

    /// Feeds of the settings whose newest files were not taken.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn advisory_problems(&self) -> Result<Vec<FeedProblem>> {
        let wanted = &self.inner.settings.advisories.feeds;
        let problems = self.inner.store.advisory_problems().await?;
        Ok(problems
            .into_iter()
            .filter(|(feed, ..)| wanted.iter().any(|(name, _)| name == feed))
            .map(|(feed, problem, since)| FeedProblem {
                feed,
                problem,
                since,
            })
            .collect())
    }
}

/// What changes whenever a file of a feed does: names, sizes and times.
fn mark_of(path: &Path) -> Result<String> {
    let mut text = String::new();
    for file in files_of(path)? {
        text.push_str(&line_of(&file)?);
    }
    Ok(Sha256::of(text.as_bytes()).to_hex())
}

fn line_of(file: &Path) -> Result<String> {
    let kept = std::fs::metadata(file).map_err(|source| unreadable(file, source))?;
    let changed = kept
        .modified()
        .map_err(|source| unreadable(file, source))?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Ok(format!(
        "{}\n{} {}\n",
        file.display(),
        kept.len(),
        changed.as_nanos()
    ))
}
