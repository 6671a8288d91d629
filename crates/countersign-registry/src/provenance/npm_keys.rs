//! The registry's signature over every npm version, which `npm audit signatures` verifies, and the keys it is made with.
//! They are not those of the log and not those of the attestations: npm's clients want ECDSA over P-256, in their own form.
//!
//! A version is signed in the transaction that publishes it. Versions that have no signature which counts (from before
//! this version, taken while the key was away, or signed by a key that ended before they were served) get theirs by a
//! chore. A key that ended goes on proving what was published before its end, so nothing is signed anew for a rotation.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_formats::Ecosystem;
use countersign_formats::npm::registry::{self as npm, Key};
use countersign_trust::leaf::{Change as Way, LeafKind};
use countersign_trust::sigstore::{P256Signer, Signs};
use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::Change;
use crate::keys::{read_secret, secret_or_new};
use crate::model::{Actor, FileId, RegistryKey};
use crate::policy;
use crate::store::{NpmKeyRow, Store, Tx};

/// Versions that the chore signs in one transaction.
const CATCH_UP: i64 = 200;

/// Signs npm's versions.
pub(crate) struct NpmSigner {
    signer: P256Signer,
    keyid: String,
}

/// What this process has of the key; read again when the database names another.
#[derive(Default)]
pub(crate) struct NpmKeyRoom(tokio::sync::Mutex<Option<Arc<NpmSigner>>>);

fn unusable(source: impl std::fmt::Display) -> Error {
    Error::internal("a version can not be signed", source.to_string())
}

fn file_name(number: u64) -> String {
    format!("npm-{number}.p256")
}

impl NpmSigner {
    fn of(secret: &[u8; 32]) -> Result<Self> {
        let signer = P256Signer::new(secret).map_err(unusable)?;
        let keyid = npm::keyid(&signer.public_key().map_err(unusable)?)?;
        Ok(Self { signer, keyid })
    }

    /// The signature of a version, as `dist.signatures` has it; `sha512` in hex.
    fn sign(&self, name: &str, version: &str, sha512: &str) -> Result<String> {
        let digest = hex::decode(sha512)
            .map_err(|source| Error::internal("a stored digest is malformed", source))?;
        let integrity = format!("sha512-{}", STANDARD.encode(digest));
        let payload = npm::signature_payload(name, version, &integrity);
        let signature = self.signer.sign(payload.as_bytes()).map_err(unusable)?;
        Ok(STANDARD.encode(signature))
    }
}

impl Registry {
    /// The keys that npm's versions are signed with, the one in use first; made at the first use.
    ///
    /// # Errors
    /// Where the database or the folder of keys fails.
    pub async fn npm_keys(&self) -> Result<Vec<RegistryKey>> {
        self.npm_key_rows()
            .await?
            .into_iter()
            .map(|row| {
                let spki = hex::decode(&row.spki)
                    .map_err(|source| Error::internal("a stored key is malformed", source))?;
                Ok(RegistryKey {
                    hint: row.keyid,
                    pem: super::notary::pem(&spki),
                    since: row.since,
                    until: row.until,
                })
            })
            .collect()
    }

    /// The same as npm's clients read it.
    ///
    /// # Errors
    /// Where the database or the folder of keys fails.
    pub async fn npm_keys_document(&self) -> Result<String> {
        let keys = self
            .npm_key_rows()
            .await?
            .into_iter()
            .map(|row| {
                let der = hex::decode(&row.spki)
                    .map_err(|source| Error::internal("a stored key is malformed", source))?;
                Ok(Key {
                    der,
                    expires: row.until.map(|until| until.0),
                })
            })
            .collect::<Result<Vec<Key>>>()?;
        Ok(npm::keys(&keys)?)
    }

    async fn npm_key_rows(&self) -> Result<Vec<NpmKeyRow>> {
        let rows = self.inner.store.npm_keys().await?;
        if rows.iter().any(|row| row.until.is_none()) {
            return Ok(rows);
        }
        self.npm_signer().await?;
        self.inner.store.npm_keys().await
    }

    /// Lets a new key sign npm's versions from now on. What was signed before stays good.
    ///
    /// # Errors
    /// `operator-needed`, `npm-key-missing`, `npm-key-raced`.
    pub async fn rotate_npm_key(&self, actor: &Actor) -> Result<RegistryKey> {
        policy::may_operate(actor, "rotate the registry's keys")?;
        let rows = self.inner.store.npm_keys().await?;
        let number = rows.first().map_or(1, |row| row.number + 1);
        self.make_npm_key(number, Some(actor)).await?;
        self.npm_keys()
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Error::internal("a key was made and is not there", number.to_string()))
    }

    /// The key that signs now; made at its first use.
    pub(crate) async fn npm_signer(&self) -> Result<Arc<NpmSigner>> {
        let mut room = self.inner.npm_key.0.lock().await;
        let rows = self.inner.store.npm_keys().await?;
        let Some(current) = rows.iter().find(|row| row.until.is_none()) else {
            let number = rows.first().map_or(1, |newest| newest.number + 1);
            let made = self.make_npm_key(number, None).await?;
            *room = Some(made.clone());
            return Ok(made);
        };
        if let Some(signer) = room.as_ref().filter(|signer| signer.keyid == current.keyid) {
            return Ok(signer.clone());
        }
        let folder = self.inner.settings.sign_in.key_folder.clone();
        let number = current.number;
        let secret = tokio::task::spawn_blocking(move || read_key(&folder, number))
            .await
            .map_err(|source| Error::internal("a task broke off", source))??;
        let signer = Arc::new(NpmSigner::of(&secret)?);
        if signer.keyid != current.keyid {
            return Err(Error::unavailable(
                "npm-key-wrong",
                format!(
                    "The key {} is not the one that this registry signs npm's versions with.",
                    file_name(number)
                ),
            )
            .remedy("Put the right key into the folder of keys; every server of one registry has the same."));
        }
        *room = Some(signer.clone());
        Ok(signer)
    }

    async fn make_npm_key(&self, number: u64, actor: Option<&Actor>) -> Result<Arc<NpmSigner>> {
        let folder = self.inner.settings.sign_in.key_folder.clone();
        let fresh = self.inner.seams.random.bytes32();
        let secret = tokio::task::spawn_blocking(move || write_key(&folder, number, fresh))
            .await
            .map_err(|source| Error::internal("a task broke off", source))??;
        let signer = Arc::new(NpmSigner::of(&secret)?);
        let spki = hex::encode(signer.signer.public_key().map_err(unusable)?);
        let mut tx = self.inner.store.write().await?;
        // Within the transaction: whatever is published from then on is signed by the new one.
        let now = self.now();
        let row = NpmKeyRow {
            number,
            keyid: signer.keyid.clone(),
            spki,
            since: now,
            until: None,
        };
        if !tx.put_npm_key(&row).await? {
            return Err(Error::new(
                Kind::Conflict,
                "npm-key-raced",
                "Another server made a key at the same moment.",
            )
            .remedy("Try again; copy the folder of keys to every server first."));
        }
        let detail = json!({"npm_key": row.keyid, "number": row.number});
        match actor {
            Some(actor) => {
                let change =
                    Change::registry(actor, LeafKind::PolicyChanged).way(Way::Replaced, None);
                self.record(&mut tx, change, detail).await?;
            }
            // Made by itself, with the first version, or where a restore lacked the one before.
            None => {
                let kind = "npm-key-made";
                tx.note_event(&new_id(), now, kind, &Actor::operator(), None, detail)
                    .await?;
            }
        }
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(signer)
    }

    /// The signer for a publication of this ecosystem. Where its key is away the publication goes on, and the chore makes
    /// up for it.
    pub(crate) async fn signer_for(&self, ecosystem: Ecosystem) -> Option<Arc<NpmSigner>> {
        if ecosystem != Ecosystem::Npm {
            return None;
        }
        match self.npm_signer().await {
            Ok(signer) => Some(signer),
            Err(error) => {
                tracing::error!(%error, "a version is published without the registry's signature; it gets one as soon as the key is there");
                None
            }
        }
    }

    /// Signs a version within the transaction that publishes it.
    pub(crate) async fn sign_published(
        &self,
        tx: &mut Tx,
        signer: &NpmSigner,
        file: &FileId,
        name: &str,
        version: &str,
        sha512: &str,
    ) -> Result<()> {
        let signature = signer.sign(name, version, sha512)?;
        // A key that was rotated meanwhile signs nothing any more: the chore signs with the new one.
        tx.sign_version(file, &signer.keyid, &signature)
            .await
            .map(drop)
    }

    /// Signs the versions that have no signature which counts; their number. Each part is done for good when its
    /// transaction ends: after a crash it goes on with the rest.
    ///
    /// # Errors
    /// `npm-key-missing`, or where the database fails.
    pub async fn sign_unsigned(&self) -> Result<u64> {
        let mut done = 0;
        loop {
            let unsigned = self.inner.store.unsigned_versions(CATCH_UP).await?;
            if unsigned.is_empty() {
                return Ok(done);
            }
            let signer = self.npm_signer().await?;
            let mut tx = self.inner.store.write().await?;
            let mut projects = Vec::new();
            for version in &unsigned {
                let signature = signer.sign(&version.name, &version.version, &version.sha512)?;
                if !tx
                    .sign_version(&version.file, &signer.keyid, &signature)
                    .await?
                {
                    // Rotated meanwhile: nothing of this part is written, the next look takes the new key.
                    return Err(Error::unavailable(
                        "npm-key-raced",
                        "The key of npm's signatures changed at the same moment.",
                    ));
                }
                projects.push(version.project.clone());
                done += 1;
            }
            projects.sort();
            projects.dedup();
            tx.raise_serials(&projects, self.now(), false).await?;
            for project in &projects {
                tx.drop_documents(project).await?;
            }
            tx.commit().await?;
            for version in &unsigned {
                self.inner.fetch.forget(Ecosystem::Npm, &version.key, []);
            }
        }
    }
}

/// What is wrong with the key that signs npm's versions; `None` where it is there, or none was made yet.
pub(crate) async fn npm_key_problem(store: &Store, folder: &Path) -> Result<Option<String>> {
    let rows = store.npm_keys().await?;
    let Some(current) = rows.into_iter().find(|row| row.until.is_none()) else {
        return Ok(None);
    };
    let (folder, number) = (folder.to_owned(), current.number);
    let read = tokio::task::spawn_blocking(move || read_key(&folder, number))
        .await
        .map_err(|source| Error::internal("a task broke off", source))?;
    Ok(match read.and_then(|secret| NpmSigner::of(&secret)) {
        Ok(signer) if signer.keyid == current.keyid => None,
        Ok(_) => Some(format!(
            "The key {} is not the one that signs npm's versions here.",
            file_name(number)
        )),
        Err(error) => Some(error.message),
    })
}

fn missing(folder: &Path, number: u64, source: std::io::Error) -> Error {
    Error::new(
        Kind::Unavailable,
        "npm-key-missing",
        format!(
            "The key of the signatures over npm's versions, {}, can not be had: {source}.",
            folder.join(file_name(number)).display()
        ),
    )
    .remedy("Put it back from where you keep the keys, or make another: `countersignd admin key rotate npm`.")
    .because(source)
}

fn read_key(folder: &Path, number: u64) -> Result<[u8; 32]> {
    read_secret(folder, &file_name(number)).map_err(|source| missing(folder, number, source))
}

/// Keeps a new key; where one of this number lies there already, it is taken.
fn write_key(folder: &Path, number: u64, fresh: [u8; 32]) -> Result<[u8; 32]> {
    secret_or_new(folder, &file_name(number), fresh)
        .map_err(|source| missing(folder, number, source))
}
