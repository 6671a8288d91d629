//! The registry's signature over every npm version, which `npm audit signatures` verifies, and the keys it is made with.
//! They are not those of the log and not those of the attestations: npm's clients want ECDSA over P-256, in their own form.
//!
//! A version is signed in the transaction that publishes it. Versions that have no signature which counts (from before
//! this version, taken while the key was away, or signed by a key that ended before they were served) get theirs by a
//! chore. A key that ended goes on proving what was published before its end, so nothing is signed anew for a rotation.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_formats::Ecosystem;
use countersign_formats::npm::registry::{self as npm, Key};
use countersign_trust::sigstore::Signs;

use super::keyring::{self, NPM, SigningKey};
use crate::Registry;
use crate::error::{Error, Result};
use crate::model::{Actor, FileId, RegistryKey};
use crate::store::{KeyRow, Tx};

/// Versions that the chore signs in one transaction.
const CATCH_UP: i64 = 200;

/// Signs npm's versions.
#[derive(Clone)]
pub(crate) struct NpmSigner(Arc<SigningKey>);

fn unusable(source: impl std::fmt::Display) -> Error {
    Error::internal("a version can not be signed", source.to_string())
}

impl NpmSigner {
    /// The signature of a version, as `dist.signatures` has it; `sha512` in hex.
    fn sign(&self, name: &str, version: &str, sha512: &str) -> Result<String> {
        let digest = hex::decode(sha512)
            .map_err(|source| Error::internal("a stored digest is malformed", source))?;
        let integrity = format!("sha512-{}", STANDARD.encode(digest));
        let payload = npm::signature_payload(name, version, &integrity);
        let signature = self.0.signer.sign(payload.as_bytes()).map_err(unusable)?;
        Ok(STANDARD.encode(signature))
    }
}

impl Registry {
    /// The keys that npm's versions are signed with, the one in use first; made at the first use.
    ///
    /// # Errors
    /// Where the database or the folder of keys fails.
    pub async fn npm_keys(&self) -> Result<Vec<RegistryKey>> {
        keyring::shown(self.npm_key_rows().await?)
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
                Ok(Key {
                    der: row.der()?,
                    expires: row.until.map(|until| until.0),
                })
            })
            .collect::<Result<Vec<Key>>>()?;
        Ok(npm::keys(&keys)?)
    }

    async fn npm_key_rows(&self) -> Result<Vec<KeyRow>> {
        let rows = self.inner.store.keys(NPM.table).await?;
        if rows.iter().any(|row| row.until.is_none()) {
            return Ok(rows);
        }
        self.npm_signer().await?;
        self.inner.store.keys(NPM.table).await
    }

    /// Lets a new key sign npm's versions from now on. What was signed before stays good.
    ///
    /// # Errors
    /// `operator-needed`, `npm-key-missing`, `npm-key-raced`.
    pub async fn rotate_npm_key(&self, actor: &Actor) -> Result<RegistryKey> {
        self.rotate_key(actor, &NPM).await
    }

    /// The key that signs now; made at its first use.
    pub(crate) async fn npm_signer(&self) -> Result<NpmSigner> {
        self.signing_key(&self.inner.npm_key).await.map(NpmSigner)
    }

    /// The signer for a publication of this ecosystem. Where its key is away the publication goes on, and the chore makes
    /// up for it.
    pub(crate) async fn signer_for(&self, ecosystem: Ecosystem) -> Option<NpmSigner> {
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
        tx.sign_version(file, &signer.0.name, &signature)
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
                    .sign_version(&version.file, &signer.0.name, &signature)
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
                tx.drop_documents(project, self.now()).await?;
            }
            tx.commit().await?;
            for version in &unsigned {
                self.inner.fetch.forget(Ecosystem::Npm, &version.key, []);
            }
        }
    }
}
