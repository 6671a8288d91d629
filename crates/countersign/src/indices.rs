//! Whether a file stands in the index that its registry signs now, by TUF: it was not taken back, and nobody is shown an
//! old index.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_formats::{Ecosystem, purl};
use tokio::runtime::{Builder, Runtime};

use crate::examine::Row;
use crate::failure::{Exit, Failure, Result};
use crate::proxy::Folders;
use crate::proxy::page::{self, Entry};
use crate::proxy::session::{Repository, Session, target_path};
use crate::proxy::upstream::Upstream;
use crate::trusted::Pinned;

type Known = std::result::Result<Option<Index>, (String, String)>;

/// A signed index.
#[derive(Clone)]
struct Index {
    entries: Vec<Entry>,
    /// The namespace, where its owners sign it, and not the registry.
    owners: Option<String>,
}

/// The signed indices of one registry, as they are at one moment.
pub struct Indices {
    pinned: Pinned,
    upstream: Upstream,
    state: PathBuf,
    now: i64,
    runtime: Runtime,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    sessions: HashMap<Ecosystem, Session>,
    known: HashMap<(Ecosystem, String), Known>,
}

impl Indices {
    /// Those of a pinned registry. `token` is for what is not public, `ca` as for [`crate::remote::Remote::new`].
    ///
    /// # Errors
    /// Where there is no home directory, no clock or no TLS.
    pub fn of(pinned: &Pinned, token: Option<String>, ca: Option<&[u8]>) -> Result<Self> {
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        let now = clock.and_then(|since| i64::try_from(since.as_secs()).ok());
        let runtime = Builder::new_current_thread().enable_all().build();
        let environment = |why: String| Failure::new(Exit::Environment, "environment", why);
        Ok(Self {
            upstream: Upstream::new(&pinned.url, token, ca, Duration::from_secs(20))?,
            state: Folders::of_user()?.of_registry(pinned),
            pinned: pinned.clone(),
            now: now.ok_or_else(|| environment("The clock stands before 1970.".to_owned()))?,
            runtime: runtime.map_err(|error| environment(format!("No thread: {error}.")))?,
            kept: Mutex::default(),
        })
    }

    /// The check of a file that the log of `origin` holds under this identifier with this digest.
    pub fn row(&self, origin: &str, file: &str, sha256: &str) -> Row {
        if origin != self.pinned.origin {
            return Row::not_checked(
                "tuf",
                "it is of another registry than the one that is asked",
            );
        }
        let Ok(named) = purl::parse(file) else {
            return Row::failed("tuf", "document-invalid", format!("{file} names no file"));
        };
        if self.pinned.tuf.is_none() {
            return Row::not_checked(
                "tuf",
                format!(
                    "no TUF root is pinned for this registry; countersign trust add {} pins it",
                    self.pinned.url
                ),
            );
        }
        let known = self.entries(named.ecosystem, named.name_key.as_str());
        let Index { entries, owners } = match known {
            Ok(Some(index)) => index,
            Ok(None) => {
                return Row::failed(
                    "tuf",
                    "tuf-target-unknown",
                    format!("the registry signs no index of {}", named.name_key),
                );
            }
            Err((code, why)) => {
                let failure = Failure::new(Exit::Verification, code, why);
                return Row::of("tuf", failure);
            }
        };
        match entries.iter().find(|entry| entry.purl == file) {
            Some(entry) if entry.sha256 == sha256 => Row::confirmed(
                "tuf",
                format!(
                    "the current signed index of {} lists it, among {} files",
                    named.name_key,
                    entries.len()
                ),
            ),
            Some(entry) => Row::failed(
                "tuf",
                "index-differs",
                format!("the signed index has SHA-256 {}", entry.sha256),
            ),
            None if owners.is_some() => Row {
                remedy: Some(
                    "Wait until they have signed it, or ask them why they have not.".to_owned(),
                ),
                ..Row::failed(
                    "tuf",
                    "tuf-waiting",
                    format!(
                        "the owners of its namespace (TUF role {}) have not signed an index that lists it",
                        owners.unwrap_or_default()
                    ),
                )
            },
            None => Row {
                remedy: Some("The registry took it back: look why before you use it.".to_owned()),
                ..Row::failed(
                    "tuf",
                    "tuf-unlisted",
                    "the current signed index does not list it",
                )
            },
        }
    }

    fn entries(&self, ecosystem: Ecosystem, key: &str) -> Known {
        // One at a time: what is fetched for one project is there for the next.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.known.get(&(ecosystem, key.to_owned())) {
            return known.clone();
        }
        let known = self
            .look(&mut kept.sessions, ecosystem, key)
            .map_err(|failure| (failure.code.into_owned(), failure.message));
        kept.known
            .insert((ecosystem, key.to_owned()), known.clone());
        known
    }

    fn look(
        &self,
        sessions: &mut HashMap<Ecosystem, Session>,
        ecosystem: Ecosystem,
        key: &str,
    ) -> Result<Option<Index>> {
        let tuf =
            self.pinned.tuf.as_ref().ok_or_else(|| {
                Failure::new(Exit::Usage, "no-tuf-root", "No TUF root is pinned.")
            })?;
        let repository = Repository {
            upstream: &self.upstream,
            tuf,
            state: self.state.clone(),
            allow_expired: false,
            now: self.now,
            login: None,
        };
        let path = target_path(ecosystem, key);
        self.runtime.block_on(async {
            let session = match sessions.entry(ecosystem) {
                MapEntry::Occupied(known) => known.into_mut(),
                MapEntry::Vacant(place) => {
                    let begun = repository.begin(ecosystem).await;
                    let session = begun.map_err(|trouble| trouble.failure)?;
                    if let Some(why) = &session.offline {
                        return Err(Failure::new(Exit::Unreachable, "unreachable", why.clone()));
                    }
                    place.insert(session)
                }
            };
            let document = session.document(&repository, &path, None).await;
            match document.map_err(|trouble| trouble.failure)? {
                Some(document) => Ok(Some(Index {
                    entries: page::entries(ecosystem, key, &document)?,
                    owners: session.namespace_of(&path),
                })),
                None => Ok(None),
            }
        })
    }
}
