//! The verification itself: the library's checks, and around them those that it leaves open.

use serde::{Deserialize, Serialize};
use sigstore_verify::crypto::{KeyAlgorithm, verify_signature};
use sigstore_verify::trust_root::TransparencyLog;
use sigstore_verify::types::{
    Artifact, ArtifactDigest, DerPublicKey, DigestBytes, HashAlgorithm, InclusionProof,
    KindVersion, SignatureBytes, TransparencyLogEntry,
};
use sigstore_verify::{
    CertificateError, Error, PublicKeyVerificationPolicy, TimestampError, TransparencyLogError,
    VerificationPolicy, VerificationResult, Verifier,
};

use super::root::Instance;
use super::{
    Bundle, Claims, Limits, Predicate, PredicateKind, Refusal, RootUsed, Signer, Statement, Step,
    TrustRoot, TrustedKey, TrustedKeys, Version,
};
use crate::digest::{Digests, Sha256};
use crate::note::SignedNote;
use crate::oidc::escaped;
use crate::{base64_hash, canonical_decimal};

/// How a subject's name is held against the file's.
#[derive(Clone, Copy)]
pub enum NameRule<'a> {
    /// Any name.
    Any,
    /// This name, byte for byte.
    Exact(&'a str),
    /// A name that the rule takes, where one file has several names.
    Fits {
        /// The name as a message shows it.
        expected: &'a str,
        /// Whether a subject's name is the file's.
        fits: &'a dyn Fn(&str) -> bool,
    },
}

/// The file that a bundle is said to be about.
#[derive(Clone)]
pub struct Subject<'a> {
    /// Its name.
    pub name: NameRule<'a>,
    /// Its digests as the caller computed them: names of algorithms (`sha256`, `sha512`) and lower-case hex.
    pub digests: Vec<(String, String)>,
}

impl<'a> Subject<'a> {
    /// A file by its name and the digests of its bytes.
    pub fn file(name: NameRule<'a>, digests: &Digests) -> Self {
        let mut all = vec![("sha256".to_owned(), digests.sha256_hex())];
        all.extend(digests.sha512_hex().map(|hex| ("sha512".to_owned(), hex)));
        Self { name, digests: all }
    }

    /// A file by a single digest, `sha256:HEX` or `sha512:HEX`, whatever its name.
    ///
    /// # Errors
    ///
    /// At [`Step::Subject`] for another algorithm or what is not lower-case hex of its length.
    pub fn digest(text: &str) -> Result<Self, Refusal> {
        let (algorithm, hex) = text.split_once(':').unwrap_or(("", text));
        let length = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => 0,
        };
        let lower = hex
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if length == 0 || hex.len() != length || !lower {
            return Err(Refusal::new(Step::Subject, "it is no digest")
                .expected("sha256: or sha512: and lower-case hex")
                .seen(text));
        }
        Ok(Self {
            name: NameRule::Any,
            digests: vec![(algorithm.to_owned(), hex.to_owned())],
        })
    }
}

/// What the caller asks beyond the proofs.
#[derive(Clone, Debug)]
pub struct Demands {
    /// How much is read.
    pub limits: Limits,
    /// The oldest version of a bundle that is taken.
    pub oldest: Version,
    /// Whether a statement must have exactly one subject. Where not, one of them must be the file.
    pub one_subject: bool,
    /// The kinds of statements that are taken; `None` for all.
    pub kinds: Option<Vec<PredicateKind>>,
    /// Whether what a statement of a known type says must have the form of its type.
    pub well_formed: bool,
    /// Whether the index of each log entry must be proven.
    pub placed: bool,
    /// Keys whose signatures are taken; none where only certificates are.
    pub keys: TrustedKeys,
}

impl Default for Demands {
    /// Any version and kind, well-formed, exactly one subject, certificates only.
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            oldest: Version::V0_1,
            one_subject: true,
            kinds: None,
            well_formed: true,
            placed: false,
            keys: TrustedKeys::default(),
        }
    }
}

/// Where a time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeSource {
    /// An RFC 3161 timestamp.
    Authority,
    /// The time at which the log took the entry, in its signed promise.
    Log,
}

/// When it was signed at the latest, and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeEvidence {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Who says so.
    pub source: TimeSource,
}

/// An entry of a transparency log that holds this signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedEntry {
    /// The log's URL, from the trust root.
    pub log: String,
    /// The log's id, in hex.
    pub log_id: String,
    /// The entry's index in the log as a whole; `None` where nothing proves it: of a log of the first version the
    /// signed promise alone covers it.
    pub index: Option<u64>,
    /// Its form, as `dsse/0.0.1`.
    pub kind: String,
    /// Whether its presence was proven; otherwise the log has only promised it (bundles of version 0.1).
    pub included: bool,
}

/// Who signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VerifiedSigner {
    /// The owner of a certificate that says this.
    Certificate(Box<Claims>),
    /// The owner of the known key of that name.
    Key(String),
}

/// What is proven about a bundle.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The trust root that was leant on; `None` where a known key signed outside of any log.
    pub root: Option<RootUsed>,
    /// Who signed.
    pub signer: VerifiedSigner,
    /// When. Never empty for certificates.
    pub times: Vec<TimeEvidence>,
    /// The log entries. Empty only where the root has no log, or the key needs none.
    pub entries: Vec<LoggedEntry>,
    /// What was signed; `None` where it was the file itself.
    pub statement: Option<Statement>,
}

impl Verified {
    /// What the certificate says; `None` where a known key signed.
    pub fn claims(&self) -> Option<&Claims> {
        match &self.signer {
            VerifiedSigner::Certificate(claims) => Some(claims),
            VerifiedSigner::Key(_) => None,
        }
    }
}

/// Verifies a bundle: times, chain, certificate transparency, log, signature, and then what it says about `subject`.
/// Who signed is told, not judged.
///
/// Checked here, because the library leaves it open: that each log entry is of a log of the root, and that very log
/// signed the checkpoint, under the name at its head; that tree size, root hash and (second version of the log) index stand the
/// same wherever they stand twice; that every entry of a bundle from version 0.2 has its proof; that no entry and no
/// timestamp stands twice; that a signature of a certificate names no key; extensions and names of certificates; the
/// number, names and digests of subjects; the form of known predicates.
///
/// Not covered by any proof, and therefore ignored: further signature lines of a checkpoint (of witnesses whose keys no
/// root holds), and an `integratedTime` that no promise covers. The index of an entry of the first version that no promise
/// covers is not told ([`LoggedEntry::index`]), and refused where it is demanded ([`Demands::placed`]).
///
/// # Errors
///
/// A step that failed (what can be read without any key is held against each other first), under the root that knows the bundle's log, or the first root.
pub fn verify(
    bundle: &Bundle,
    subject: &Subject<'_>,
    root: &TrustRoot,
    demands: &Demands,
) -> Result<Verified, Refusal> {
    if bundle.version() < demands.oldest {
        return Err(Refusal::new(Step::Parse, "the bundle is of an old version")
            .expected(format!("at least {}", demands.oldest))
            .seen(bundle.version().as_str()));
    }
    let statement = bundle.unverified_statement(&demands.limits)?;
    let digest = match &statement {
        Some(statement) => own_digest(statement)?,
        None => digest_of(subject)?,
    };
    let mut proven = match bundle.signer() {
        Signer::Certificate(der) => {
            let claims = Claims::parse(der)?;
            by_certificate(bundle, &digest, root, claims)?
        }
        Signer::Key(hint) => {
            let key = demands.keys.get(hint).ok_or_else(|| {
                let known: Vec<&str> = demands
                    .keys
                    .all()
                    .iter()
                    .map(|key| key.hint.as_str())
                    .collect();
                Refusal::new(Step::Signature, "the bundle is signed with an unknown key")
                    .expected(if known.is_empty() {
                        "a certificate".to_owned()
                    } else {
                        known.join(", ")
                    })
                    .seen(hint)
            })?;
            by_key(bundle, &digest, root, key)?
        }
    };
    if demands.placed {
        placed(bundle)?;
    }
    if let Some(statement) = statement {
        about(&statement, subject, demands)?;
        proven.statement = Some(statement);
    }
    Ok(proven)
}

/// Whether all entries have what proves their index.
fn placed(bundle: &Bundle) -> Result<(), Refusal> {
    let entries = &bundle.inner().verification_material.tlog_entries;
    match entries.iter().find(|entry| proven_index(entry).is_none()) {
        None => Ok(()),
        Some(entry) => Err(Refusal::new(
            Step::LogInclusion,
            "nothing proves the entry's index in the log",
        )
        .expected("a signed entry timestamp")
        .seen(format!("index {}", entry.log_index.get()))),
    }
}

/// The index, where the promise or, in the second version of the log, the proof covers it.
fn proven_index(entry: &TransparencyLogEntry) -> Option<u64> {
    (is_second(entry) || entry.inclusion_promise.is_some()).then_some(entry.log_index.get())
}

/// A digest that the statement itself names: the library insists on binding some digest, and the binding that counts
/// is made by [`about`], which sees names and the number of subjects.
fn own_digest(statement: &Statement) -> Result<ArtifactDigest, Refusal> {
    statement
        .subjects
        .iter()
        .flat_map(|subject| &subject.digests)
        .find_map(|(algorithm, hex)| artifact_digest(algorithm, hex))
        .ok_or_else(|| {
            Refusal::new(
                Step::Subject,
                "the statement has no digest that can be compared",
            )
            .expected("sha256, sha384 or sha512")
        })
}

fn digest_of(subject: &Subject<'_>) -> Result<ArtifactDigest, Refusal> {
    subject
        .digests
        .iter()
        .find_map(|(algorithm, hex)| artifact_digest(algorithm, hex))
        .ok_or_else(|| Refusal::new(Step::Subject, "the file has no digest that can be compared"))
}

fn artifact_digest(algorithm: &str, hex: &str) -> Option<ArtifactDigest> {
    let algorithm = match algorithm {
        "sha256" => HashAlgorithm::Sha2256,
        "sha384" => HashAlgorithm::Sha2384,
        "sha512" => HashAlgorithm::Sha2512,
        _ => return None,
    };
    ArtifactDigest::new(algorithm, DigestBytes::new(hex::decode(hex).ok()?)).ok()
}

/// What the statement is about: one subject, the file's name, and every digest that both sides know.
fn about(statement: &Statement, subject: &Subject<'_>, demands: &Demands) -> Result<(), Refusal> {
    if let Some(kinds) = &demands.kinds
        && !kinds.contains(&statement.kind())
    {
        let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        return Err(Refusal::new(
            Step::Predicate,
            "statements of this type are not taken here",
        )
        .expected(kinds.join(", "))
        .seen(&statement.predicate_type));
    }
    if let (true, Predicate::Malformed(refusal)) = (demands.well_formed, &statement.predicate) {
        return Err(refusal.as_ref().clone());
    }
    if demands.one_subject && statement.subjects.len() != 1 {
        return Err(
            Refusal::new(Step::Subject, "the statement has not exactly one subject")
                .expected("1")
                .seen(statement.subjects.len().to_string()),
        );
    }
    let mut refusal = None;
    for candidate in &statement.subjects {
        match is_about(candidate, subject) {
            Ok(()) => return Ok(()),
            Err(why) => refusal = refusal.or(Some(why)),
        }
    }
    Err(refusal.unwrap_or_else(|| Refusal::new(Step::Subject, "the statement is about nothing")))
}

fn is_about(candidate: &super::StatementSubject, subject: &Subject<'_>) -> Result<(), Refusal> {
    let (expected, same) = match subject.name {
        NameRule::Any => ("", true),
        NameRule::Exact(name) => (name, candidate.name == name),
        NameRule::Fits { expected, fits } => (expected, fits(&candidate.name)),
    };
    if !same {
        return Err(Refusal::new(
            Step::Subject,
            "the statement is about a file of another name",
        )
        .expected(expected)
        .seen(&candidate.name));
    }
    let mut compared = false;
    for (algorithm, hex) in &subject.digests {
        let Some(found) = candidate.digests.get(algorithm) else {
            continue;
        };
        if found != hex {
            return Err(
                Refusal::new(Step::Subject, "the statement is about other bytes")
                    .expected(format!("{algorithm}:{hex}"))
                    .seen(format!("{algorithm}:{found}")),
            );
        }
        compared = true;
    }
    if !compared {
        let ours: Vec<&str> = subject.digests.iter().map(|(name, _)| &**name).collect();
        let theirs: Vec<&str> = candidate.digests.keys().map(|name| &**name).collect();
        return Err(Refusal::new(
            Step::Subject,
            "the statement has no digest that can be compared",
        )
        .expected(ours.join(", "))
        .seen(theirs.join(", ")));
    }
    Ok(())
}

fn by_certificate(
    bundle: &Bundle,
    digest: &ArtifactDigest,
    root: &TrustRoot,
    claims: Claims,
) -> Result<Verified, Refusal> {
    if let Some(keyid) = bundle.keyid() {
        return Err(
            Refusal::new(Step::Parse, "a certificate signed, and yet a key is named")
                .expected("no keyid")
                .seen(keyid),
        );
    }
    each_instance(bundle, root, |instance| {
        let mut policy = VerificationPolicy::any_identity();
        if instance.root.tlogs.is_empty() {
            policy = policy.skip_tlog_unsafe();
        } else if bundle.inner().verification_material.tlog_entries.is_empty() {
            return Err(not_logged());
        }
        if instance.root.ctlogs.is_empty() {
            policy = policy.skip_sct();
        }
        let (entries, verifier) = entries(bundle, instance)?;
        let result = verifier
            .verify(Artifact::Digest(digest.clone()), bundle.inner(), &policy)
            .map_err(refusal)?;
        Ok(Verified {
            root: Some(instance.used()),
            signer: VerifiedSigner::Certificate(Box::new(claims.clone())),
            times: times(bundle, &result),
            entries,
            statement: None,
        })
    })
}

fn by_key(
    bundle: &Bundle,
    digest: &ArtifactDigest,
    root: &TrustRoot,
    key: &TrustedKey,
) -> Result<Verified, Refusal> {
    if let Some(keyid) = bundle.keyid().filter(|keyid| *keyid != key.hint) {
        return Err(Refusal::new(
            Step::Parse,
            "the signature names another key than the bundle",
        )
        .expected(&key.hint)
        .seen(keyid));
    }
    let material = &bundle.inner().verification_material;
    let stamps = &material.timestamp_verification_data.rfc3161_timestamps;
    if material.tlog_entries.is_empty() && key.logged {
        return Err(not_logged());
    }
    if material.tlog_entries.is_empty() && stamps.is_empty() {
        return alone(bundle, key);
    }
    let mut policy = PublicKeyVerificationPolicy::new(DerPublicKey::new(key.spki.clone()));
    if material.tlog_entries.is_empty() {
        policy = policy.skip_tlog_unsafe();
    }
    let check = |instance: &Instance| {
        let (entries, verifier) = entries(bundle, instance)?;
        let result = verifier
            .verify(Artifact::Digest(digest.clone()), bundle.inner(), &policy)
            .map_err(refusal)?;
        Ok(Verified {
            root: Some(instance.used()),
            signer: VerifiedSigner::Key(key.hint.clone()),
            times: times(bundle, &result),
            entries,
            statement: None,
        })
    };
    let verified = each_instance(bundle, root, check)?;
    if let Some(until) = key.until {
        if verified.times.is_empty() {
            return Err(ended());
        }
        if let Some(late) = verified.times.iter().find(|time| time.seconds > until) {
            return Err(Refusal::new(Step::Time, "the key signed after its end")
                .expected(format!("at or before {}", shown(until)))
                .seen(shown(late.seconds)));
        }
    }
    Ok(verified)
}

/// A statement that a known key signed, and nothing else: neither a log nor a timestamp.
fn alone(bundle: &Bundle, key: &TrustedKey) -> Result<Verified, Refusal> {
    let (Some(payload), Some(payload_type)) = (bundle.payload(), bundle.payload_type()) else {
        return Err(Refusal::new(
            Step::Signature,
            "of a known key outside of any log only statements are taken",
        ));
    };
    if key.until.is_some() {
        return Err(ended());
    }
    let invalid = |error: sigstore_verify::crypto::Error| {
        Refusal::new(Step::Signature, escaped(&error.to_string()))
    };
    let spki = DerPublicKey::new(key.spki.clone());
    let scheme = KeyAlgorithm::from_spki(&spki)
        .map_err(invalid)?
        .default_signing_scheme();
    let signature = SignatureBytes::from_bytes(bundle.signature());
    let message = super::dsse::pae(payload_type, payload);
    verify_signature(&spki, &message, &signature, scheme).map_err(invalid)?;
    Ok(Verified {
        root: None,
        signer: VerifiedSigner::Key(key.hint.clone()),
        times: Vec::new(),
        entries: Vec::new(),
        statement: None,
    })
}

fn ended() -> Refusal {
    Refusal::new(
        Step::Time,
        "the key has an end, and nothing proves that it signed before",
    )
}

fn not_logged() -> Refusal {
    Refusal::new(
        Step::LogInclusion,
        "the bundle has no transparency log entry",
    )
}

/// A time as a message shows it.
fn shown(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// Asks the instances, those first that know the bundle's log. What the first one says counts if all refuse.
fn each_instance(
    bundle: &Bundle,
    root: &TrustRoot,
    ask: impl Fn(&Instance) -> Result<Verified, Refusal>,
) -> Result<Verified, Refusal> {
    let entries = &bundle.inner().verification_material.tlog_entries;
    let knows = |instance: &Instance| {
        if entries.is_empty() {
            return instance.root.tlogs.is_empty();
        }
        entries
            .iter()
            .all(|entry| log_of(entry, instance).is_some())
    };
    let instances = root.instances();
    let (known, others): (Vec<_>, Vec<_>) = instances.iter().partition(|one| knows(one));
    let mut first = None;
    for instance in known.into_iter().chain(others) {
        match ask(instance) {
            Ok(verified) => return Ok(verified),
            Err(refusal) => first = first.or(Some(refusal)),
        }
    }
    Err(first
        .unwrap_or_else(|| Refusal::new(Step::Chain, "there is no trust root to hold it against")))
}

/// The place of the entry's log in the root.
fn log_of(entry: &TransparencyLogEntry, instance: &Instance) -> Option<usize> {
    let mut logs = instance.root.tlogs.iter();
    logs.position(|log| log.log_id.key_id == entry.log_id.key_id)
}

/// What the library leaves open about log entries; what it proves it proves after, by the verifier that is returned.
fn entries<'a>(
    bundle: &Bundle,
    instance: &'a Instance,
) -> Result<(Vec<LoggedEntry>, &'a Verifier), Refusal> {
    let material = &bundle.inner().verification_material;
    let all = &material.tlog_entries;
    let stamps = &material.timestamp_verification_data.rfc3161_timestamps;
    for (at, stamp) in stamps.iter().enumerate() {
        if stamps[..at].contains(stamp) {
            return Err(Refusal::new(Step::Time, "a timestamp stands twice"));
        }
    }
    let verifier = instance.verifier_of(all.iter().filter_map(|entry| log_of(entry, instance)));
    let several = all
        .iter()
        .any(|entry| entry.log_id.key_id != all[0].log_id.key_id);
    let mut told: Vec<LoggedEntry> = Vec::new();
    for (at, entry) in all.iter().enumerate() {
        let id = hex::encode(entry.log_id.key_id.as_bytes());
        let log = log_of(entry, instance).ok_or_else(|| {
            let known: Vec<&str> = instance
                .root
                .tlogs
                .iter()
                .map(|log| log.base_url.as_str())
                .collect();
            Refusal::new(
                Step::LogInclusion,
                "the entry is of a log that the trust root does not know",
            )
            .expected(if known.is_empty() {
                "no log entry".to_owned()
            } else {
                known.join(", ")
            })
            .seen(format!("log {id}"))
        })?;
        let log = &instance.root.tlogs[log];
        let twin = |before: &&TransparencyLogEntry| {
            before.log_id.key_id == entry.log_id.key_id && before.log_index == entry.log_index
        };
        if all[..at].iter().any(|before| twin(&before)) {
            return Err(Refusal::new(Step::LogInclusion, "a log entry stands twice")
                .seen(entry.log_index.get().to_string()));
        }
        match &entry.inclusion_proof {
            Some(proof) => consistent(entry, proof, several.then_some(log))?,
            None if bundle.version() == Version::V0_1 && entry.inclusion_promise.is_some() => {}
            None => {
                return Err(Refusal::new(
                    Step::LogInclusion,
                    "the log entry has no inclusion proof",
                ));
            }
        }
        if is_second(entry) && entry.integrated_time.is_some() {
            return Err(Refusal::new(
                Step::Time,
                "a log of the second version proves no time, and yet one stands in its entry",
            ));
        }
        told.push(LoggedEntry {
            log: log.base_url.clone(),
            log_id: id,
            index: proven_index(entry),
            kind: format!(
                "{}/{}",
                entry.kind_version.kind(),
                entry.kind_version.version()
            ),
            included: entry.inclusion_proof.is_some(),
        });
    }
    Ok((told, verifier))
}

/// Entries of the second version of the log: no promise, no time, the index stands twice.
fn is_second(entry: &TransparencyLogEntry) -> bool {
    entry.kind_version == KindVersion::HashedRekordV002
}

/// What stands twice must stand the same, and the log must have a line of its own. Whether that line is good the library
/// proves, to which the verifier of one log leaves no other choice; where `log` is given, it is proven here.
fn consistent(
    entry: &TransparencyLogEntry,
    proof: &InclusionProof,
    log: Option<&TransparencyLog>,
) -> Result<(), Refusal> {
    let refuse = |sentence: &str| Refusal::new(Step::LogCheckpoint, sentence.to_owned());
    let envelope = proof.checkpoint.envelope();
    if envelope.is_empty() {
        return Err(refuse("the inclusion proof has no checkpoint"));
    }
    let note = SignedNote::parse(envelope.as_bytes())
        .map_err(|error| refuse("the checkpoint is no signed note").seen(error.to_string()))?;
    let mut lines = note.text().lines();
    let (Some(origin), Some(size), Some(hash)) = (lines.next(), lines.next(), lines.next()) else {
        return Err(refuse("the checkpoint has not three lines"));
    };
    let size = canonical_decimal(size)
        .ok_or_else(|| refuse("the checkpoint's size is no number").seen(size))?;
    let hash: Sha256 = base64_hash(hash)
        .ok_or_else(|| refuse("the checkpoint's root hash is malformed").seen(hash))?;
    if size != proof.tree_size {
        return Err(refuse(
            "the inclusion proof is for another size of the log than its checkpoint",
        )
        .expected(size.to_string())
        .seen(proof.tree_size.to_string()));
    }
    if hash.as_bytes() != proof.root_hash.as_bytes() {
        return Err(
            refuse("the inclusion proof is for another root hash than its checkpoint")
                .expected(hash.to_hex())
                .seen(proof.root_hash.to_hex()),
        );
    }
    if is_second(entry) && proof.log_index != entry.log_index {
        return Err(Refusal::new(
            Step::LogInclusion,
            "the inclusion proof is for another entry of the log",
        )
        .expected(entry.log_index.get().to_string())
        .seen(proof.log_index.get().to_string()));
    }
    // Any log of the root would satisfy the library. Its own lines are those that begin with its id.
    let mut id = [0; 4];
    id.copy_from_slice(&entry.log_id.key_id.as_bytes()[..4]);
    let own = u32::from_be_bytes(id);
    // Of the first version of the log the origin is its name and the number of the tree.
    let name = origin.split(" - ").next().unwrap_or(origin);
    let mut signed = false;
    for line in note.signatures().iter().filter(|line| line.key_id == own) {
        if line.name.as_str() != name {
            return Err(
                refuse("the checkpoint is signed under another name than the log's")
                    .expected(name)
                    .seen(line.name.as_str()),
            );
        }
        signed |= log.is_none_or(|log| is_by(log, note.text(), &line.signature));
    }
    if !signed {
        return Err(refuse("the entry's log has not signed the checkpoint")
            .expected(format!("a line of key {own:08x}")));
    }
    Ok(())
}

/// Whether that log signed a checkpoint.
fn is_by(log: &TransparencyLog, text: &str, signature: &[u8]) -> bool {
    let key = DerPublicKey::new(log.public_key.raw_bytes.as_bytes().to_vec());
    KeyAlgorithm::from_spki(&key).is_ok_and(|algorithm| {
        verify_signature(
            &key,
            text.as_bytes(),
            &SignatureBytes::from_bytes(signature),
            algorithm.default_signing_scheme(),
        )
        .is_ok()
    })
}

fn times(bundle: &Bundle, result: &VerificationResult) -> Vec<TimeEvidence> {
    let stamps = bundle
        .inner()
        .verification_material
        .timestamp_verification_data
        .rfc3161_timestamps
        .len();
    let by_certificate = matches!(bundle.signer(), Signer::Certificate(_));
    let all = result.verified_timestamps();
    all.iter()
        .enumerate()
        .map(|(at, time)| TimeEvidence {
            seconds: time.as_second(),
            // The library tells timestamps first for certificates, and last for keys.
            source: if (by_certificate && at < stamps)
                || (!by_certificate && at + stamps >= all.len())
            {
                TimeSource::Authority
            } else {
                TimeSource::Log
            },
        })
        .collect()
}

/// What the library says, by the step that it is about.
fn refusal(error: Error) -> Refusal {
    let text = escaped(&error.to_string());
    let at = |step| Refusal::new(step, text.clone());
    match &error {
        Error::Certificate(CertificateError::Sct(_)) => at(Step::Sct),
        Error::Certificate(CertificateError::Expired { time, not_after }) => {
            Refusal::new(Step::Chain, "the certificate had expired when it was used")
                .expected(format!("signed at or before {not_after}"))
                .seen(time.to_string())
        }
        Error::Certificate(CertificateError::NotYetValid { time, not_before }) => Refusal::new(
            Step::Chain,
            "the certificate was not yet valid when it was used",
        )
        .expected(format!("signed at or after {not_before}"))
        .seen(time.to_string()),
        Error::Certificate(_) | Error::TrustedCertificate(_) | Error::InvalidTrustRoot(_) => {
            at(Step::Chain)
        }
        Error::Timestamp(TimestampError::NoVerifiedTimestamp(_)) => {
            Refusal::new(Step::Time, "nothing proves when it was signed")
                .expected("a timestamp, or a log entry with a signed promise")
        }
        Error::Timestamp(_) => at(Step::Time),
        Error::TransparencyLog(log) => {
            at(match log {
                TransparencyLogError::InclusionPromise(_)
                | TransparencyLogError::IntegratedTime(_) => Step::Time,
                TransparencyLogError::Checkpoint(_) => Step::LogCheckpoint,
                TransparencyLogError::EntryMismatch(_)
                | TransparencyLogError::MalformedEntry(_) => Step::LogEntry,
                _ => Step::LogInclusion,
            })
        }
        Error::Bundle(_) => at(Step::LogInclusion),
        Error::SignatureInvalid(_) | Error::Crypto(_) => at(Step::Signature),
        Error::ArtifactMismatch(_) | Error::UnsupportedArtifact(_) => at(Step::Subject),
        _ => at(Step::Parse),
    }
}
