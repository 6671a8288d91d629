//! What the registry attests itself, with a key of its own that is not the log's: for every file a release attestation
//! (in-toto, version 0.2), and for files with provenance a verification summary (SLSA VSA, version 1) of what was found.
//!
//! The heartbeat makes them with the file's leaf. Files that have none (from before this version, or taken while the key
//! was away) get theirs by a chore.

use std::sync::Arc;

use countersign_formats::{NameKey, purl};
use countersign_trust::digest::Sha256;
use countersign_trust::sigstore::{PredicateKind, sign_statement};
use serde_json::{Value, json};

use super::keyring::{self, ATTESTATIONS, SigningKey};
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Result};
use crate::heartbeat::file_url;
use crate::model::{
    Actor, AttestationForm, Maker, RegistryKey, ShownProvenance, Time, TrustLevel, Verdict,
};
use crate::store::{AttestationRow, OwnSubject, ecosystem};

/// The predicate types of what the registry makes.
const RELEASE: &str = "https://in-toto.io/attestation/release/v0.2";
const SUMMARY: &str = "https://slsa.dev/verification_summary/v1";

/// The level of ours in summaries: everything that this registry's specification asks of provenance was confirmed.
const OUR_LEVEL: &str = "COUNTERSIGN_PROVENANCE";

/// What is asked of provenance here, as the program that asks it has it: summaries name its digest.
const POLICY: &str = include_str!("../../../../docs/spec/provenance.md");

/// Files that the chore attests in one transaction.
const CATCH_UP: i64 = 200;

/// Signs attestations.
#[derive(Clone)]
pub(crate) struct Notary(Arc<SigningKey>);

fn unusable(source: impl std::fmt::Display) -> Error {
    Error::internal(
        "an attestation of the registry can not be made",
        source.to_string(),
    )
}

fn seconds(at: Time) -> String {
    let text = at.rfc3339();
    format!("{}Z", text.get(..19).unwrap_or_default())
}

impl Notary {
    /// Signs a statement and makes the row of it.
    fn attest(&self, subject: &OwnSubject, statement: &Value, now: Time) -> Result<AttestationRow> {
        let text = statement.to_string();
        let bundle = sign_statement(text.as_bytes(), &self.0.signer).map_err(unusable)?;
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
        let mut rows = self.inner.store.keys(ATTESTATIONS.table).await?;
        if rows.is_empty() {
            self.notary().await?;
            rows = self.inner.store.keys(ATTESTATIONS.table).await?;
        }
        keyring::shown(rows)
    }

    /// Lets a new key sign the registry's own attestations from now on. What was signed before stays, but nothing proves
    /// when: a chore says it again with the new key.
    ///
    /// # Errors
    /// `operator-needed`, `attestation-key-missing`.
    pub async fn rotate_attestation_key(&self, actor: &Actor) -> Result<RegistryKey> {
        self.rotate_key(actor, &ATTESTATIONS).await
    }

    /// The key that signs now; made at its first use.
    pub(crate) async fn notary(&self) -> Result<Notary> {
        self.signing_key(&self.inner.notary).await.map(Notary)
    }

    /// What the registry says itself of some files: a release attestation for each that has none yet (`fresh`), a
    /// summary for each that has attestations of its uploader.
    pub(crate) async fn own_attestations(
        &self,
        notary: Notary,
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

/// Is this a predicate type that only the registry itself may use here?
pub(crate) fn is_registrys(predicate_type: &str) -> bool {
    PredicateKind::of(predicate_type).is_made_by_registries()
}
