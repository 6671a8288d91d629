//! Refreshing the built-in trust roots through TUF: from a pinned root of each repository, over the registry's own way
//! outside, with the versions seen before as the floor. What does not verify is not taken, and what was in use stays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_trust::digest::Sha256;
use countersign_trust::leaf::Change as Way;
use futures::future::BoxFuture;
use sigstore_tuf::{Error as TufError, MetadataStore, Repository, Updater};

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Result};
use crate::model::{Actor, Time, TrustRootSummary};
use crate::policy;
use crate::seams::{Outside, OutsideError, OutsideRequest};
use crate::settings::RootRepository;
use crate::store::TrustRootRow;

/// The target that holds the trust root.
const TARGET: &str = "trusted_root.json";

/// When the next refresh is due, as `instance` keeps it; and how long after one that went well, and one that failed, in
/// seconds.
const REFRESH_DUE: &str = "trust_roots_due_at";
const EVERY: i64 = 86_400;
const AGAIN: i64 = 3_600;

/// When the copies inside the program were taken, in seconds since 1970 (2026-11-15). Goes on with them.
const COPIED: i64 = 1_794_700_800;

/// Is a refreshed document in use? One that was fetched before the copy inside this program was taken is older than it:
/// who never reaches the repository is helped by a newer program.
pub(super) fn is_newer_than_the_copy(refreshed: Option<Time>) -> bool {
    refreshed.is_some_and(|at| at.seconds() >= COPIED)
}

/// Bytes of a repository; `None` where it has none of that name.
type FetchFuture<'a> = BoxFuture<'a, Result<Option<Vec<u8>>, TufError>>;

/// A TUF repository, reached by the registry's own way outside.
struct Remote {
    base: String,
    outside: Arc<dyn Outside>,
}

impl Remote {
    fn get(&self, path: String, most: u64) -> FetchFuture<'_> {
        Box::pin(async move {
            let url = format!("{}/{path}", self.base);
            let request = OutsideRequest {
                url: &url,
                most: usize::try_from(most).unwrap_or(usize::MAX),
                timeout: Duration::from_secs(60),
                ca_pem: None,
                accept: "*/*",
                headers: &[],
            };
            match self.outside.get(request).await {
                Ok(answer) => Ok(Some(answer.body)),
                // Object stores say 403 for what is not there; it is how the end of the chain of roots is found.
                Err(OutsideError::Status(403 | 404)) => Ok(None),
                Err(error) => Err(TufError::transport(format!("{url}: {error}"))),
            }
        })
    }
}

impl Repository for Remote {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        self.get(name.to_owned(), max_length)
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> FetchFuture<'a> {
        self.get(format!("targets/{path}"), max_length)
    }
}

/// What the last refresh left, as a row keeps it: the floor under which no version is taken.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<BTreeMap<String, String>>>);

impl Kept {
    /// A state that can not be read is no reason to begin without a floor.
    fn of(state: Option<&str>) -> Result<Self> {
        let map = match state {
            Some(text) => serde_json::from_str(text).map_err(|source| {
                Error::internal("the state of the last refresh is malformed", source)
            })?,
            None => BTreeMap::new(),
        };
        Ok(Self(Arc::new(Mutex::new(map))))
    }

    fn to_json(&self) -> Result<String> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        serde_json::to_string(&*map)
            .map_err(|source| Error::internal("the state of a refresh can not be kept", source))
    }
}

impl MetadataStore for Kept {
    fn load(&self, name: &str) -> Result<Option<Vec<u8>>, TufError> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(map.get(name).map(|text| text.clone().into_bytes()))
    }

    fn store(&self, name: &str, bytes: &[u8]) -> Result<(), TufError> {
        // The newest metadata alone: the target is kept as a document, and `3.snapshot.json` as `snapshot.json`.
        let wanted = !name.starts_with("targets/")
            && !name.starts_with(|first: char| first.is_ascii_digit());
        if let (true, Ok(text)) = (wanted, std::str::from_utf8(bytes)) {
            let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            map.insert(name.to_owned(), text.to_owned());
        }
        Ok(())
    }
}

impl Registry {
    /// Refreshes the built-in roots that are believed here. Those that fail say so in their `problem`, and what was in use
    /// stays in use.
    ///
    /// # Errors
    /// `operator-needed`, or where the database fails.
    pub async fn refresh_trust_roots(&self, actor: &Actor) -> Result<Vec<TrustRootSummary>> {
        policy::may_operate(actor, "refresh the trust roots")?;
        let rows = self.inner.store.trust_root_rows().await?;
        let believed = self.builtin();
        for RootRepository { name, url, root } in &self.inner.settings.root_repositories {
            let Some((_, inside)) = believed.iter().find(|(other, _)| *other == name.as_str())
            else {
                continue;
            };
            let before = rows.iter().find(|row| row.name == *name);
            let kept = Kept::of(before.and_then(|row| row.tuf_state.as_deref()))?;
            let fetched = self.fetch_root(url, root, kept.clone()).await;
            let now = self.now();
            if let Err(problem) = &fetched {
                tracing::warn!(root = name, problem, "a trust root could not be refreshed");
            }
            let in_use = before
                .filter(|row| is_newer_than_the_copy(row.refreshed))
                .map_or(*inside, |row| row.body.as_str());
            let changed = fetched.as_ref().is_ok_and(|body| body != in_use);
            // What could not be fetched leaves the document alone: it is said, and the state of the metadata kept.
            let (body, refreshed) = match (&fetched, before) {
                (Ok(body), _) => (body.clone(), Some(now)),
                (Err(_), Some(row)) => (row.body.clone(), row.refreshed),
                (Err(_), None) => ((*inside).to_owned(), None),
            };
            let row = TrustRootRow {
                id: new_id(),
                name: name.clone(),
                kind: name.clone(),
                tuf_url: Some(url.clone()),
                tuf_state: Some(kept.to_json()?),
                created: before.map_or(now, |row| row.created),
                refreshed,
                problem: fetched.err(),
                digest: Sha256::of(body.as_bytes()).to_string(),
                body,
            };
            let mut tx = self.inner.store.write().await?;
            let stands = tx.trust_root_stands(name).await?;
            if stands != before.map(|row| (row.id.clone(), row.refreshed)) {
                // Another server was faster; what it found may be newer than what was fetched here.
                continue;
            }
            match before {
                Some(before) if before.digest == row.digest => {
                    tx.note_refresh(&before.id, &row).await?;
                }
                _ => tx.put_trust_root(&row, now).await?,
            }
            if changed {
                self.log_root(&mut tx, actor, &row, Way::Replaced).await?;
            }
            tx.commit().await?;
            self.inner.beat.wake();
        }
        self.trust_roots().await
    }

    /// The same, if the last time was a day ago, or an hour where it failed. Time counts, not how long this process runs.
    pub(crate) async fn refresh_trust_roots_if_due(&self) -> Result<()> {
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let due = tx
            .instance(REFRESH_DUE)
            .await?
            .and_then(|at| at.parse().ok())
            .is_none_or(|at: i64| Time(at) <= now);
        if !due {
            return Ok(());
        }
        // A crash after this, or a failure, leaves it due again in an hour.
        let soon = now.plus_seconds(AGAIN).0.to_string();
        tx.set_instance(REFRESH_DUE, &soon).await?;
        tx.commit().await?;
        let roots = self.refresh_trust_roots(&Actor::operator()).await?;
        let failed: Vec<String> = roots
            .into_iter()
            .filter_map(|root| Some(format!("{}: {}", root.name, root.problem?)))
            .collect();
        if !failed.is_empty() {
            return Err(Error::unavailable(
                "trust-root-stale",
                format!("Not refreshed: {}", failed.join(" ")),
            ));
        }
        let mut tx = self.inner.store.write().await?;
        let later = now.plus_seconds(EVERY).0.to_string();
        tx.set_instance(REFRESH_DUE, &later).await?;
        tx.commit().await
    }

    /// The newest document, verified; or why there is none.
    async fn fetch_root(
        &self,
        base: &str,
        pinned: &[u8],
        kept: Kept,
    ) -> std::result::Result<String, String> {
        let remote = Remote {
            base: base.trim_end_matches('/').to_owned(),
            outside: self.inner.seams.outside.clone(),
        };
        let now =
            jiff::Timestamp::from_microsecond(self.now().0).map_err(|error| error.to_string())?;
        let mut updater = Updater::new(remote, pinned)
            .map_err(|error| error.to_string())?
            .with_store(kept);
        updater
            .refresh(now)
            .await
            .map_err(|error| error.to_string())?;
        let bytes = updater
            .get_target(TARGET, now)
            .await
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
        self.checked_root(base, &text)
            .map_err(|error| error.message)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_is_older_than_the_copy_inside_the_program_is_not_used() {
        let at = |seconds: i64| Some(Time(0).plus_seconds(seconds));
        assert!(!is_newer_than_the_copy(None));
        assert!(!is_newer_than_the_copy(at(COPIED - 1)));
        assert!(is_newer_than_the_copy(at(COPIED)));
    }
}
