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
use crate::model::{Actor, TrustRootSummary};
use crate::policy;
use crate::seams::{Outside, OutsideError, OutsideRequest};
use crate::store::TrustRootRow;

/// The target that holds the trust root.
const TARGET: &str = "trusted_root.json";

/// The repositories of the built-in roots: name, address, the pinned root of their TUF metadata.
const REPOSITORIES: [(&str, &str, &[u8]); 2] = [
    (
        "public-good",
        "https://tuf-repo-cdn.sigstore.dev",
        include_bytes!("tuf/public_good.root.json"),
    ),
    (
        "github",
        "https://tuf-repo.github.com",
        include_bytes!("tuf/github.root.json"),
    ),
];

/// Where a built-in root is refreshed from.
pub(super) fn builtin_repository(name: &str) -> Option<&'static str> {
    REPOSITORIES
        .iter()
        .find(|(other, _, _)| *other == name)
        .map(|(_, url, _)| *url)
}

/// Bytes of a repository; `None` where it has none of that name.
type FetchFuture<'a> = BoxFuture<'a, Result<Option<Vec<u8>>, TufError>>;

/// A TUF repository, reached by the registry's own way outside.
struct Remote {
    base: &'static str,
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
    fn of(state: Option<&str>) -> Self {
        let map = state
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        Self(Arc::new(Mutex::new(map)))
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
        // Metadata alone: the target is kept as a document.
        if let (false, Ok(text)) = (name.starts_with("targets/"), std::str::from_utf8(bytes)) {
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
        for (name, base, pinned) in REPOSITORIES {
            let Some((_, inside)) = believed.iter().find(|(other, _)| *other == name) else {
                continue;
            };
            let before = rows.iter().find(|row| row.name == name);
            let kept = Kept::of(before.and_then(|row| row.tuf_state.as_deref()));
            let fetched = self.fetch_root(base, pinned, kept.clone()).await;
            let now = self.now();
            let body = match &fetched {
                Ok(body) => body.clone(),
                Err(_) => before.map_or_else(|| (*inside).to_owned(), |row| row.body.clone()),
            };
            let digest = Sha256::of(body.as_bytes()).to_string();
            let same = before.is_some_and(|row| row.digest == digest);
            let row = TrustRootRow {
                id: new_id(),
                name: name.to_owned(),
                kind: name.to_owned(),
                tuf_url: Some(base.to_owned()),
                tuf_state: Some(kept.to_json()?),
                created: before.map_or(now, |row| row.created),
                refreshed: match &fetched {
                    Ok(_) => Some(now),
                    Err(_) => before.and_then(|row| row.refreshed),
                },
                problem: fetched.as_ref().err().cloned(),
                digest,
                body,
            };
            match before {
                Some(before) if same => {
                    let mut tx = self.inner.store.write().await?;
                    tx.note_refresh(&before.id, &row).await?;
                    tx.commit().await?;
                }
                // A first failure is written down too, with the copy inside the program in use.
                _ => self.put_root(actor, &row, Way::Replaced).await?,
            }
            if let Some(problem) = &row.problem {
                tracing::warn!(root = name, problem, "a trust root could not be refreshed");
            }
        }
        self.trust_roots().await
    }

    /// The newest document, verified; or why there is none.
    async fn fetch_root(
        &self,
        base: &'static str,
        pinned: &[u8],
        kept: Kept,
    ) -> std::result::Result<String, String> {
        let remote = Remote {
            base,
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
