//! Trust roots: the built-in instances of Sigstore, and private ones that the operator added.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{Change as Way, LeafKind};
use countersign_trust::sigstore::TrustRoot;
use serde_json::json;

use super::tuf::is_newer_than_the_copy;
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::Change;
use crate::model::{Actor, Time, TrustRootSummary};
use crate::policy;
use crate::store::{TrustRootRow, Tx};

/// The kind of roots that operators add.
const PRIVATE: &str = "private";

/// The roots in use, made ready once for as long as nobody changes them.
#[derive(Default)]
pub(crate) struct RootRoom(tokio::sync::Mutex<Option<Arc<Roots>>>);

/// All roots in use.
pub(crate) struct Roots {
    state: String,
    pub(super) all: TrustRoot,
    /// The document of each, by its digest.
    documents: BTreeMap<String, String>,
}

impl Roots {
    /// The document of that digest.
    pub(super) fn document(&self, digest: &str) -> Option<&str> {
        self.documents.get(digest).map(String::as_str)
    }
}

/// Is this row's document in use? A built-in root that was never refreshed, or last before the copy inside this program was
/// taken, has a row for what went wrong alone.
fn is_in_use(row: &TrustRootRow) -> bool {
    row.kind == PRIVATE || is_newer_than_the_copy(row.refreshed)
}

fn unknown_root(name: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::new(
        Kind::NotFound,
        "trust-root-unknown",
        format!("There is no trust root {shown:?}."),
    )
    .remedy("List them with `countersignd admin trust-root list`.")
}

impl Registry {
    /// The built-in documents that the settings admit: name, document.
    pub(super) fn builtin(&self) -> Vec<(&'static str, &'static str)> {
        TrustRoot::pinned_documents()
            .into_iter()
            .filter(|(name, _)| {
                self.inner
                    .settings
                    .builtin_trust_roots
                    .iter()
                    .any(|wanted| wanted == name)
            })
            .filter_map(|(name, bytes)| Some((name, std::str::from_utf8(bytes).ok()?)))
            .collect()
    }

    /// The rows of roots that are believed: private ones, and those built-in ones that the settings admit.
    pub(super) async fn believed_rows(&self) -> Result<Vec<TrustRootRow>> {
        let builtin = self.builtin();
        let mut rows = self.inner.store.trust_root_rows().await?;
        rows.retain(|row| row.kind == PRIVATE || builtin.iter().any(|(name, _)| *name == row.name));
        Ok(rows)
    }

    /// The roots in use; read anew when somebody changed them, on whichever server.
    pub(super) async fn roots(&self) -> Result<Arc<Roots>> {
        let state = self.inner.store.trust_roots_state().await?;
        let mut room = self.inner.roots.0.lock().await;
        if let Some(roots) = room.as_ref().filter(|roots| roots.state == state) {
            return Ok(roots.clone());
        }
        let rows = self.believed_rows().await?;
        let mut documents = BTreeMap::new();
        let mut all = Vec::new();
        for (name, body) in self.builtin() {
            if !rows
                .iter()
                .any(|row| row.name == name && is_newer_than_the_copy(row.refreshed))
            {
                documents.insert(Sha256::of(body.as_bytes()).to_string(), body.to_owned());
                all.push(match name {
                    "github" => TrustRoot::github(),
                    _ => TrustRoot::public_good(),
                });
            }
        }
        for row in rows.into_iter().filter(is_in_use) {
            // One that could be read when it was added and can no longer be must not take the others with it.
            match TrustRoot::from_json(&row.name, row.body.as_bytes()) {
                Ok(root) => {
                    all.push(root);
                    documents.insert(row.digest, row.body);
                }
                Err(refusal) => {
                    tracing::error!(root = row.name, %refusal, "a trust root can not be used");
                }
            }
        }
        let roots = Arc::new(Roots {
            state,
            all: TrustRoot::merge(all),
            documents,
        });
        *room = Some(roots.clone());
        Ok(roots)
    }

    /// The trust roots in use, the built-in ones first.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn trust_roots(&self) -> Result<Vec<TrustRootSummary>> {
        let rows = self.believed_rows().await?;
        let uses = self.inner.store.root_uses().await?;
        let used = |digest: &str| uses.get(digest).copied().unwrap_or(0);
        let mut list: Vec<TrustRootSummary> = self
            .builtin()
            .into_iter()
            .filter_map(|(name, body)| {
                let row = rows.iter().find(|row| row.name == name);
                if row.is_some_and(is_in_use) {
                    return None;
                }
                let digest = Sha256::of(body.as_bytes()).to_string();
                let repositories = &self.inner.settings.root_repositories;
                Some(TrustRootSummary {
                    name: name.to_owned(),
                    kind: name.to_owned(),
                    attestations: used(&digest),
                    digest,
                    tuf_url: repositories
                        .iter()
                        .find(|one| one.name == name)
                        .map(|one| one.url.clone()),
                    added: None,
                    refreshed: None,
                    problem: row.and_then(|row| row.problem.clone()),
                })
            })
            .collect();
        list.extend(
            rows.into_iter()
                .filter(is_in_use)
                .map(|row| TrustRootSummary {
                    attestations: used(&row.digest),
                    name: row.name,
                    kind: row.kind,
                    digest: row.digest,
                    tuf_url: row.tuf_url,
                    added: Some(row.created),
                    refreshed: row.refreshed,
                    problem: row.problem,
                }),
        );
        Ok(list)
    }

    /// Adds a private Sigstore by its `trusted_root.json`, or replaces that of the same name.
    ///
    /// # Errors
    /// `operator-needed`, `trust-root-name`, `attestation-malformed` for a document that is none.
    pub async fn add_trust_root(
        &self,
        actor: &Actor,
        name: &str,
        document: &str,
    ) -> Result<TrustRootSummary> {
        policy::may_operate(actor, "change the trust roots")?;
        let fits = !name.is_empty()
            && name.len() <= 64
            && name
                .bytes()
                .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        let builtin = TrustRoot::pinned_documents()
            .iter()
            .any(|(other, _)| *other == name);
        if !fits || builtin {
            return Err(Error::new(
                Kind::Rejected,
                "trust-root-name",
                format!(
                    "{:?} can not be the name of a private trust root.",
                    name.chars().take(80).collect::<String>()
                ),
            )
            .remedy("Use 1 to 64 of a-z, 0-9 and -, other than the names of the built-in ones."));
        }
        self.checked_root(name, document)?;
        let now = self.now();
        let row = TrustRootRow {
            id: new_id(),
            name: name.to_owned(),
            kind: PRIVATE.to_owned(),
            digest: Sha256::of(document.as_bytes()).to_string(),
            tuf_url: None,
            tuf_state: None,
            created: now,
            refreshed: Some(now),
            problem: None,
            body: document.to_owned(),
        };
        self.put_root(actor, &row, Way::Added).await?;
        Ok(TrustRootSummary {
            name: row.name,
            kind: row.kind,
            digest: row.digest,
            tuf_url: None,
            added: Some(now),
            refreshed: row.refreshed,
            problem: None,
            attestations: 0,
        })
    }

    /// Can this document be a trust root?
    pub(super) fn checked_root(&self, name: &str, document: &str) -> Result<TrustRoot> {
        TrustRoot::from_json(name, document.as_bytes()).map_err(|refusal| {
            Error::new(
                Kind::Rejected,
                "trust-root-invalid",
                format!("This can not be a trust root: {refusal}."),
            )
            .remedy(
                "Give a trusted_root.json of Sigstore, as `cosign trusted-root create` writes it.",
            )
        })
    }

    async fn put_root(&self, actor: &Actor, row: &TrustRootRow, way: Way) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        tx.put_trust_root(row, self.now()).await?;
        self.log_root(&mut tx, actor, row, way).await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// The leaf of another document of a trust root.
    pub(super) async fn log_root(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        row: &TrustRootRow,
        way: Way,
    ) -> Result<()> {
        let change = Change::registry(actor, LeafKind::PolicyChanged).way(way, None);
        let detail = json!({"trust_root": row.name, "digest": row.digest, "from": row.tuf_url});
        self.record(tx, change, detail).await?;
        Ok(())
    }

    /// Removes a trust root. What was held against it stays, with its digest. A built-in one that was refreshed goes back
    /// to the copy inside the program.
    ///
    /// # Errors
    /// `operator-needed`, `trust-root-unknown`, `trust-root-builtin`.
    pub async fn remove_trust_root(&self, actor: &Actor, name: &str) -> Result<()> {
        policy::may_operate(actor, "change the trust roots")?;
        let now: Time = self.now();
        let mut tx = self.inner.store.write().await?;
        if !tx.remove_trust_root(name, now).await? {
            if self.builtin().iter().any(|(other, _)| *other == name) {
                return Err(Error::new(
                    Kind::Conflict,
                    "trust-root-builtin",
                    format!("The trust root {name} is built in."),
                )
                .remedy("Leave it out of trust_roots in the configuration file."));
            }
            return Err(unknown_root(name));
        }
        let change = Change::registry(actor, LeafKind::PolicyChanged).way(Way::Removed, None);
        self.record(&mut tx, change, json!({"trust_root": name}))
            .await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }
}
