//! The keys that the registry signs with besides the log's: those of its attestations, and those of npm's versions. The
//! secrets lie in the folder of keys, numbered; the public halves are rows. Of each kind one signs: the one that has not
//! ended. It is made at its first use.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_trust::leaf::{Change as Way, LeafKind};
use countersign_trust::sigstore::{P256Signer, Signs};
use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::Change;
use crate::keys::{read_secret, secret_or_new};
use crate::model::{Actor, RegistryKey};
use crate::policy;
use crate::store::{KeyRow, KeyTable, Store};

/// In what kinds of keys differ.
pub(crate) struct KeyKind {
    /// Where the public halves stand.
    pub(crate) table: KeyTable,
    /// What a file of theirs is called, before its number.
    file: &'static str,
    /// Completes "The key of …".
    of: &'static str,
    /// Completes "is not the one that this registry …".
    signs: &'static str,
    /// Completes "is not the one that …", for the doctor.
    is_for: &'static str,
    /// Codes of errors: it can not be had, it is another one, somebody else made one.
    missing: &'static str,
    wrong: &'static str,
    raced: &'static str,
    /// The key's word in the detail of an event, and the event of one that was made by itself.
    detail: &'static str,
    made: &'static str,
    /// How the table names a key.
    name: fn(&P256Signer) -> Result<String>,
    /// What an ended one signed proves nothing any more.
    says_again: bool,
}

/// Those of the registry's own attestations.
pub(crate) static ATTESTATIONS: KeyKind = KeyKind {
    table: KeyTable::Attestations,
    file: "attestations",
    of: "the registry's attestations",
    signs: "signs attestations with",
    is_for: "signs this registry's attestations",
    missing: "attestation-key-missing",
    wrong: "attestation-key-wrong",
    raced: "attestation-key-raced",
    detail: "attestation_key",
    made: "attestation-key-made",
    name: |signer| Ok(signer.hint().to_owned()),
    says_again: true,
};

/// Those of the signatures over npm's versions.
pub(crate) static NPM: KeyKind = KeyKind {
    table: KeyTable::Npm,
    file: "npm",
    of: "the signatures over npm's versions",
    signs: "signs npm's versions with",
    is_for: "signs npm's versions here",
    missing: "npm-key-missing",
    wrong: "npm-key-wrong",
    raced: "npm-key-raced",
    detail: "npm_key",
    made: "npm-key-made",
    name: |signer| {
        let key = signer.public_key().map_err(unusable)?;
        Ok(countersign_formats::npm::registry::keyid(&key)?)
    },
    says_again: false,
};

/// A key that signs.
pub(crate) struct SigningKey {
    pub(crate) signer: P256Signer,
    /// As its table names it.
    pub(crate) name: String,
}

/// What this process has of one kind; read again when the database names another key.
pub(crate) struct Keyring {
    pub(crate) kind: &'static KeyKind,
    held: tokio::sync::Mutex<Option<Arc<SigningKey>>>,
}

impl Keyring {
    /// One that holds nothing yet.
    pub(crate) fn of(kind: &'static KeyKind) -> Self {
        Self {
            kind,
            held: tokio::sync::Mutex::default(),
        }
    }
}

fn unusable(source: impl std::fmt::Display) -> Error {
    Error::internal(
        "a signing key of the registry is unusable",
        source.to_string(),
    )
}

impl KeyKind {
    fn file_name(&self, number: u64) -> String {
        format!("{}-{number}.p256", self.file)
    }

    fn key(&self, secret: &[u8; 32]) -> Result<SigningKey> {
        let signer = P256Signer::new(secret).map_err(unusable)?;
        let name = (self.name)(&signer)?;
        Ok(SigningKey { signer, name })
    }

    fn missing(&self, folder: &Path, number: u64, source: std::io::Error) -> Error {
        Error::new(
            Kind::Unavailable,
            self.missing,
            format!(
                "The key of {}, {}, can not be had: {source}.",
                self.of,
                folder.join(self.file_name(number)).display()
            ),
        )
        .remedy(format!(
            "Put it back from where you keep the keys, or make another: `countersignd admin key rotate {}`.",
            self.file
        ))
        .because(source)
    }

    fn read(&self, folder: &Path, number: u64) -> Result<SigningKey> {
        let secret = read_secret(folder, &self.file_name(number));
        self.key(&secret.map_err(|source| self.missing(folder, number, source))?)
    }

    /// Keeps a new key; where one of this number lies there already, it is taken.
    fn write(&self, folder: &Path, number: u64, fresh: [u8; 32]) -> Result<SigningKey> {
        let secret = secret_or_new(folder, &self.file_name(number), fresh);
        self.key(&secret.map_err(|source| self.missing(folder, number, source))?)
    }
}

/// A public key (DER, SubjectPublicKeyInfo) as PEM.
fn pem(spki: &[u8]) -> String {
    let body = STANDARD.encode(spki);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    )
}

/// Keys as they are shown.
pub(super) fn shown(rows: Vec<KeyRow>) -> Result<Vec<RegistryKey>> {
    rows.into_iter()
        .map(|row| {
            Ok(RegistryKey {
                pem: pem(&row.der()?),
                hint: row.name,
                since: row.since,
                until: row.until,
            })
        })
        .collect()
}

impl Registry {
    /// The key of a kind that signs now; made at its first use.
    pub(super) async fn signing_key(&self, ring: &Keyring) -> Result<Arc<SigningKey>> {
        let kind = ring.kind;
        let mut held = ring.held.lock().await;
        let rows = self.inner.store.keys(kind.table).await?;
        let Some(current) = rows.iter().find(|row| row.until.is_none()) else {
            let number = rows.first().map_or(1, |newest| newest.number + 1);
            let made = self.make_key(kind, number, None).await?;
            *held = Some(made.clone());
            return Ok(made);
        };
        if let Some(key) = held.as_ref().filter(|key| key.name == current.name) {
            return Ok(key.clone());
        }
        let folder = self.inner.settings.sign_in.key_folder.clone();
        let number = current.number;
        let key = tokio::task::spawn_blocking(move || kind.read(&folder, number))
            .await
            .map_err(|source| Error::internal("a task broke off", source))??;
        if key.name != current.name {
            return Err(Error::unavailable(
                kind.wrong,
                format!(
                    "The key {} is not the one that this registry {}.",
                    kind.file_name(number),
                    kind.signs
                ),
            )
            .remedy("Put the right key into the folder of keys; every server of one registry has the same."));
        }
        let key = Arc::new(key);
        *held = Some(key.clone());
        Ok(key)
    }

    /// Lets a new key of a kind sign from now on.
    pub(super) async fn rotate_key(
        &self,
        actor: &Actor,
        kind: &'static KeyKind,
    ) -> Result<RegistryKey> {
        policy::may_operate(actor, "rotate the registry's keys")?;
        let rows = self.inner.store.keys(kind.table).await?;
        let number = rows.first().map_or(1, |row| row.number + 1);
        self.make_key(kind, number, Some(actor)).await?;
        shown(self.inner.store.keys(kind.table).await?)?
            .into_iter()
            .next()
            .ok_or_else(|| Error::internal("a key was made and is not there", number.to_string()))
    }

    async fn make_key(
        &self,
        kind: &'static KeyKind,
        number: u64,
        actor: Option<&Actor>,
    ) -> Result<Arc<SigningKey>> {
        let folder = self.inner.settings.sign_in.key_folder.clone();
        let fresh = self.inner.seams.random.bytes32();
        let key = tokio::task::spawn_blocking(move || kind.write(&folder, number, fresh))
            .await
            .map_err(|source| Error::internal("a task broke off", source))??;
        let spki = hex::encode(key.signer.public_key().map_err(unusable)?);
        let mut tx = self.inner.store.write().await?;
        // Within the transaction: whatever is signed in a later one is signed by the new key.
        let row = KeyRow {
            number,
            name: key.name.clone(),
            spki,
            since: self.now(),
            until: None,
        };
        if !tx.put_key(kind.table, &row).await? {
            return Err(Error::new(
                Kind::Conflict,
                kind.raced,
                "Another server made a key at the same moment.",
            )
            .remedy("Try again; copy the folder of keys to every server first."));
        }
        let detail = json!({kind.detail: row.name, "number": row.number});
        match actor {
            Some(actor) => {
                let change =
                    Change::registry(actor, LeafKind::PolicyChanged).way(Way::Replaced, None);
                self.record(&mut tx, change, detail).await?;
                if kind.says_again {
                    tx.own_words_due_for_all().await?;
                }
            }
            // The first is made by itself, at its first use; another one where a restore lacked the one before, which
            // noted already what is to be said again.
            None => {
                let registry = Actor::operator();
                tx.note_event(&new_id(), row.since, kind.made, &registry, None, detail)
                    .await?;
            }
        }
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(Arc::new(key))
    }
}

/// What is wrong with the key of a kind that signs; `None` where it is there, or none was made yet.
pub(crate) async fn key_problem(
    store: &Store,
    folder: &Path,
    kind: &'static KeyKind,
) -> Result<Option<String>> {
    let rows = store.keys(kind.table).await?;
    let Some(current) = rows.into_iter().find(|row| row.until.is_none()) else {
        return Ok(None);
    };
    let (folder, number) = (folder.to_owned(), current.number);
    let read = tokio::task::spawn_blocking(move || kind.read(&folder, number))
        .await
        .map_err(|source| Error::internal("a task broke off", source))?;
    Ok(match read {
        Ok(key) if key.name == current.name => None,
        Ok(_) => Some(format!(
            "The key {} is not the one that {}.",
            kind.file_name(number),
            kind.is_for
        )),
        Err(error) => Some(error.message),
    })
}
