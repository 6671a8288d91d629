//! What the registry attests itself, with a key of its own that is not the log's: for every file a release attestation
//! (in-toto, version 0.2), and for files with provenance a verification summary (SLSA VSA, version 1) of what was found.
//!
//! The heartbeat makes them with the file's leaf. Files that have none (from before this version, or taken while the key
//! was away) get theirs by a chore.

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_formats::{NameKey, purl};
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{Change as Way, LeafKind};
use countersign_trust::sigstore::{P256Signer, PredicateKind, Signs, sign_statement};
use serde_json::{Value, json};

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::{Change, file_url};
use crate::keys::{read_secret, secret_or_new};
use crate::model::{
    Actor, AttestationForm, Maker, RegistryKey, ShownProvenance, Time, TrustLevel, Verdict,
};
use crate::policy;
use crate::store::{AttestationKeyRow, AttestationRow, OwnSubject, Store, ecosystem};

/// The predicate types of what the registry makes.
const RELEASE: &str = "https://in-toto.io/attestation/release/v0.2";
const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";

/// The level of ours in summaries: everything that this registry's specification asks of provenance was confirmed.
const OUR_LEVEL: &str = "COUNTERSIGN_PROVENANCE";

/// What is asked of provenance here, as the program that asks it has it: summaries name its digest.
const POLICY: &str = include_str!("../../../../docs/spec/provenance.md");

/// Files that the chore attests in one transaction.
const CATCH_UP: i64 = 200;

/// Signs with the key of that hint.
pub(crate) struct Notary {
    signer: P256Signer,
}

/// What this process has of the key; read again when the database names another.
#[derive(Default)]
pub(crate) struct NotaryRoom(tokio::sync::Mutex<Option<Arc<Notary>>>);

fn unusable(source: impl std::fmt::Display) -> Error {
    Error::internal(
        "an attestation of the registry can not be made",
        source.to_string(),
    )
}

fn file_name(number: u64) -> String {
    format!("attestations-{number}.p256")
}

fn seconds(at: Time) -> String {
    let text = at.rfc3339();
    format!("{}Z", text.get(..19).unwrap_or_default())
}

/// A public key (DER, SubjectPublicKeyInfo) as PEM.
pub(super) fn pem(spki: &[u8]) -> String {
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

impl Notary {
    fn of(secret: &[u8; 32]) -> Result<Self> {
        Ok(Self {
            signer: P256Signer::new(secret).map_err(unusable)?,
        })
    }

    /// Signs a statement and makes the row of it.
    fn attest(&self, subject: &OwnSubject, statement: &Value, now: Time) -> Result<AttestationRow> {
        let text = statement.to_string();
        let bundle = sign_statement(text.as_bytes(), &self.signer).map_err(unusable)?;
        let body = String::from_utf8(bundle.raw().to_vec()).map_err(unusable)?;
        let predicate_type = statement
            .get("predicateType")
            .and_then(Value::as_str)
            .unwrap_or_default();
        Ok(AttestationRow {
            id: new_id(),
            file: subject.file.clone(),
            maker: Maker::Registry,
            form: AttestationForm::Bundle,
            digest: bundle.digest().to_string(),
            predicate_type: predicate_type.to_owned(),
            statement_digest: Sha256::of(text.as_bytes()).to_string(),
            verdict: Verdict::Confirmed,
            claims: Default::default(),
            shown: ShownProvenance::default(),
            source: None,
            publisher: None,
            signed: now,
            root_digest: None,
            event: None,
            created: now,
            body,
            rechecked: None,
            recheck_problem: None,
        })
    }
}

/// The release statement of one file.
fn release_statement(subject: &OwnSubject) -> Result<Value> {
    let ecosystem = ecosystem(&subject.ecosystem)?;
    let name = NameKey::from_stored(subject.project_key.clone());
    Ok(json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": subject.filename, "digest": {"sha256": subject.sha256}}],
        "predicateType": RELEASE,
        "predicate": {
            "purl": purl::release_purl(ecosystem, &name, &subject.version),
            "packageId": subject.project.0,
        },
    }))
}

/// The levels that a summary says: those of SLSA's build track that the provenance proved, and ours.
fn levels(subject: &OwnSubject, attestations: &[&AttestationRow]) -> Vec<String> {
    let slsa = attestations
        .iter()
        .filter(|row| row.verdict == Verdict::Confirmed)
        .filter_map(|row| row.shown.slsa_level)
        .max();
    let mut levels: Vec<String> = slsa
        .map(|level| format!("SLSA_BUILD_LEVEL_{level}"))
        .into_iter()
        .collect();
    if subject.level == Some(TrustLevel::Provenance) {
        levels.push(OUR_LEVEL.to_owned());
    }
    levels
}

impl Registry {
    /// The text of what is asked of provenance here, whose digest the registry's summaries name.
    pub fn provenance_policy(&self) -> &'static str {
        POLICY
    }

    /// The keys that the registry's own attestations are signed with, the one in use first.
    ///
    /// # Errors
    /// Where the database or the folder of keys fails.
    pub async fn attestation_keys(&self) -> Result<Vec<RegistryKey>> {
        let mut rows = self.inner.store.attestation_keys().await?;
        if rows.is_empty() {
            self.notary().await?;
            rows = self.inner.store.attestation_keys().await?;
        }
        rows.into_iter()
            .map(|row| {
                let spki = hex::decode(&row.spki)
                    .map_err(|source| Error::internal("a stored key is malformed", source))?;
                Ok(RegistryKey {
                    hint: row.hint,
                    pem: pem(&spki),
                    since: row.since,
                    until: row.until,
                })
            })
            .collect()
    }

    /// Lets a new key sign the registry's own attestations from now on. What was signed before stays, but nothing proves
    /// when: a chore says it again with the new key.
    ///
    /// # Errors
    /// `operator-needed`, `attestation-key-missing`.
    pub async fn rotate_attestation_key(&self, actor: &Actor) -> Result<RegistryKey> {
        policy::may_operate(actor, "rotate the registry's keys")?;
        let rows = self.inner.store.attestation_keys().await?;
        let number = rows.first().map_or(1, |row| row.number + 1);
        self.make_key(number, Some(actor)).await?;
        self.attestation_keys()
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Error::internal("a key was made and is not there", number.to_string()))
    }

    /// The key that signs now; made at its first use.
    pub(crate) async fn notary(&self) -> Result<Arc<Notary>> {
        let mut room = self.inner.notary.0.lock().await;
        let rows = self.inner.store.attestation_keys().await?;
        let Some(current) = rows.iter().find(|row| row.until.is_none()) else {
            let number = rows.first().map_or(1, |newest| newest.number + 1);
            let made = self.make_key(number, None).await?;
            *room = Some(made.clone());
            return Ok(made);
        };
        if let Some(notary) = room
            .as_ref()
            .filter(|notary| notary.signer.hint() == current.hint)
        {
            return Ok(notary.clone());
        }
        let folder = self.inner.settings.sign_in.key_folder.clone();
        let number = current.number;
        let secret = tokio::task::spawn_blocking(move || read_key(&folder, number))
            .await
            .map_err(|source| Error::internal("a task broke off", source))??;
        let notary = Arc::new(Notary::of(&secret)?);
        if notary.signer.hint() != current.hint {
            return Err(Error::unavailable(
                "attestation-key-wrong",
                format!(
                    "The key {} is not the one that this registry signs attestations with.",
                    file_name(number)
                ),
            )
            .remedy("Put the right key into the folder of keys; every server of one registry has the same."));
        }
        *room = Some(notary.clone());
        Ok(notary)
    }

    async fn make_key(&self, number: u64, actor: Option<&Actor>) -> Result<Arc<Notary>> {
        let folder = self.inner.settings.sign_in.key_folder.clone();
        let fresh = self.inner.seams.random.bytes32();
        let secret = tokio::task::spawn_blocking(move || write_key(&folder, number, fresh))
            .await
            .map_err(|source| Error::internal("a task broke off", source))??;
        let notary = Arc::new(Notary::of(&secret)?);
        let row = AttestationKeyRow {
            number,
            hint: notary.signer.hint().to_owned(),
            spki: hex::encode(notary.signer.public_key().map_err(unusable)?),
            since: self.now(),
            until: None,
        };
        let mut tx = self.inner.store.write().await?;
        if !tx.put_attestation_key(&row).await? {
            return Err(Error::new(
                Kind::Conflict,
                "attestation-key-raced",
                "Another server made a key at the same moment.",
            )
            .remedy("Try again; copy the folder of keys to every server first."));
        }
        let detail = json!({"attestation_key": row.hint, "number": row.number});
        match actor {
            Some(actor) => {
                let change =
                    Change::registry(actor, LeafKind::PolicyChanged).way(Way::Replaced, None);
                self.record(&mut tx, change, detail).await?;
                tx.own_words_due_for_all().await?;
            }
            // The first is made by itself, with the first file; another one where a restore lacked the
            // one before, which noted already what is to be said again.
            None => {
                let registry = Actor::operator();
                let kind = "attestation-key-made";
                tx.note_event(&new_id(), row.since, kind, &registry, None, detail)
                    .await?;
            }
        }
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(notary)
    }

    /// What the registry says itself of some files: a release attestation for each that has none yet (`fresh`), a
    /// summary for each that has attestations of its uploader.
    pub(crate) async fn own_attestations(
        &self,
        notary: Arc<Notary>,
        subjects: Vec<OwnSubject>,
        fresh: impl Fn(&OwnSubject) -> bool,
        attestations: &[AttestationRow],
        now: Time,
    ) -> Result<Vec<AttestationRow>> {
        let mut statements = Vec::new();
        for (at, subject) in subjects.iter().enumerate() {
            if fresh(subject) {
                statements.push((at, release_statement(subject)?));
            }
            let theirs: Vec<&AttestationRow> = attestations
                .iter()
                .filter(|row| row.file == subject.file && row.maker == Maker::Uploader)
                .collect();
            let levels = levels(subject, &theirs);
            if !levels.is_empty() {
                statements.push((at, self.summary(subject, &theirs, &levels, now)));
            }
        }
        tokio::task::spawn_blocking(move || {
            statements
                .iter()
                .filter_map(|(at, statement)| Some((subjects.get(*at)?, statement)))
                .map(|(subject, statement)| notary.attest(subject, statement, now))
                .collect()
        })
        .await
        .map_err(|source| Error::internal("a task broke off", source))?
    }

    fn summary(
        &self,
        subject: &OwnSubject,
        attestations: &[&AttestationRow],
        levels: &[String],
        now: Time,
    ) -> Value {
        let site = self.inner.settings.site();
        // Not when it is said, but when all of it last was seen to hold: it may be said again, by another key, years later.
        let verified = attestations
            .iter()
            .map(|row| match (row.rechecked, &row.recheck_problem) {
                (Some(at), None) => at,
                _ => row.created,
            })
            .min()
            .unwrap_or(now);
        let inputs: Vec<Value> = attestations
            .iter()
            .map(|row| {
                json!({
                    "uri": format!("{site}/api/v1/attestations/by-digest/{}", row.digest),
                    "digest": {"sha256": row.digest},
                })
            })
            .collect();
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": subject.filename, "digest": {"sha256": subject.sha256}}],
            "predicateType": SUMMARY,
            "predicate": {
                "verifier": {"id": site, "version": {"countersign": env!("CARGO_PKG_VERSION")}},
                "timeVerified": seconds(verified),
                "resourceUri": format!("{site}{}", file_url(&subject.sha256, &subject.filename)),
                "policy": {
                    "uri": format!("{site}/help/provenance/policy.md"),
                    "digest": {"sha256": Sha256::of(POLICY.as_bytes()).to_string()},
                },
                "inputAttestations": inputs,
                "verificationResult": "PASSED",
                "verifiedLevels": levels,
                "slsaVersion": "1.0",
            },
        })
    }

    /// Says of files what the registry has still to say of them: those from before it attested anything, those that came
    /// while its key was away, all once another key signs; their number. Each part is done for good when its transaction
    /// ends: after a crash it goes on with the rest.
    ///
    /// # Errors
    /// `attestation-key-missing`, or where the database fails.
    pub async fn attest_unattested(&self) -> Result<u64> {
        let mut done = 0;
        loop {
            let subjects = self.inner.store.own_words_due(CATCH_UP).await?;
            if subjects.is_empty() {
                return Ok(done);
            }
            let notary = self.notary().await?;
            let files: Vec<_> = subjects
                .iter()
                .map(|subject| subject.file.clone())
                .collect();
            let theirs = self.inner.store.attestations_of(&files).await?;
            let number = subjects.len() as u64;
            let made = self
                .own_attestations(notary, subjects, |_| true, &theirs, self.now())
                .await?;
            let mut tx = self.inner.store.write().await?;
            tx.insert_own_attestations(&made).await?;
            tx.own_words_said(&files).await?;
            tx.commit().await?;
            done += number;
            if done > CATCH_UP as u64 {
                tracing::info!(files = done, "the registry attests files of before");
            }
        }
    }
}

/// What is wrong with the key that signs the registry's attestations; `None` where it is there, or none was made yet.
pub(crate) async fn signing_key_problem(store: &Store, folder: &Path) -> Result<Option<String>> {
    let rows = store.attestation_keys().await?;
    let Some(current) = rows.into_iter().find(|row| row.until.is_none()) else {
        return Ok(None);
    };
    let (folder, number) = (folder.to_owned(), current.number);
    let read = tokio::task::spawn_blocking(move || read_key(&folder, number))
        .await
        .map_err(|source| Error::internal("a task broke off", source))?;
    Ok(match read.and_then(|secret| Notary::of(&secret)) {
        Ok(notary) if notary.signer.hint() == current.hint => None,
        Ok(_) => Some(format!(
            "The key {} is not the one that signs this registry's attestations.",
            file_name(number)
        )),
        Err(error) => Some(error.message),
    })
}

/// Is this a predicate type that only the registry itself may use here?
pub(crate) fn is_registrys(predicate_type: &str) -> bool {
    PredicateKind::of(predicate_type).is_made_by_registries()
}

fn missing(folder: &Path, number: u64, source: std::io::Error) -> Error {
    Error::new(
        Kind::Unavailable,
        "attestation-key-missing",
        format!(
            "The key of the registry's attestations, {}, can not be had: {source}.",
            folder.join(file_name(number)).display()
        ),
    )
    .remedy("Put it back from where you keep the keys, or make another: `countersignd admin key rotate attestations`.")
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
