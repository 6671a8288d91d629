//! A private Sigstore in memory, without services: a certificate authority shaped as Fulcio, its certificate
//! transparency log, a transparency log of the older and one of the newer kind, a timestamp authority, and the
//! `trusted_root.json` that tells a verifier of all of them. What it signs is accepted by the real verifiers; each
//! [`Fault`] makes one thing wrong and leaves the rest right.
//!
//! Everything follows from the seed, the time and what is signed: the same call makes the same bytes.
//!
//! ```
//! use countersign_testkit::claims;
//! use countersign_testkit::sigstore::{Fault, Identity, PrivateSigstore, statements};
//!
//! let sigstore = PrivateSigstore::new("a test");
//! let job = claims::github("octo/sample", "release.yml");
//! let identity = Identity::github("https://token.example", "https://git.example", &job);
//! let statement = statements::pypi_publish("sample-1.0.tar.gz", b"the file");
//! let attestation = sigstore.sign_attestation(&identity, &statement);
//! assert_eq!(attestation["version"], 1);
//! let expired = sigstore
//!     .signing(&identity)
//!     .fault(Fault::ExpiredCertificate)
//!     .attestation(&statement);
//! assert_ne!(attestation, expired);
//! ```

mod certificates;
mod der;
mod identity;
mod keys;
mod log;
mod services;
pub mod statements;
mod timestamp;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use certificates::{CertificateAuthority, Leaf, Promise, ROOTS_FROM, Stamper};
use keys::{EcKey, EdKey};
use log::{EntryFaults, Log, Signers};

pub use identity::{Identity, SubjectName};

/// The payload type of signed statements.
pub const STATEMENT_PAYLOAD: &str = "application/vnd.in-toto+json";

/// What is logged of a signature, and how its time is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Logged {
    /// In the older log: `dsse/0.0.1` for statements, `hashedrekord/0.0.1` for artifacts, with a signed time.
    #[default]
    V1,
    /// In the older log as `intoto/0.0.2`, as npm's clients and the older generators of SLSA provenance do.
    V1Intoto,
    /// In the newer log as `hashedrekord/0.0.2`, with a timestamp of RFC 3161.
    V2,
}

/// The bundle's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Without a proof of inclusion, as it was at first; a chain of certificates.
    V01,
    /// With a proof; a chain of certificates.
    V02,
    /// With a proof; one certificate.
    #[default]
    V03,
}

/// One thing that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The certificate had ended before the signature was made.
    ExpiredCertificate,
    /// The certificate begins after the signature was made.
    NotYetValidCertificate,
    /// The certificate is by an authority outside the root, of the same name.
    ForeignAuthority,
    /// The certificate is for servers, not for signing code.
    NoCodeSigning,
    /// The certificate has no promise of a certificate transparency log.
    NoSct,
    /// The promise is by a log outside the root.
    ForeignSct,
    /// The promise is about another certificate.
    SctOfAnotherCertificate,
    /// This extension of the certificate is no UTF8String.
    MalformedClaim(u8),
    /// The signature is by another key than the certificate's.
    ForeignSignature,
    /// The statement was changed after it was signed.
    ChangedStatement,
    /// The envelope has the same signature twice.
    TwoSignatures,
    /// The envelope has no signature.
    NoSignature,
    /// The statement was signed, and is shown, as something else than a statement.
    OtherPayloadType,
    /// There is no entry of a log.
    NoLogEntry,
    /// The entry is in a log outside the root.
    ForeignLog,
    /// The entry is in the log twice.
    TwoLogEntries,
    /// The entry, itself in order, is about another statement by the same key.
    EntryOfAnotherStatement,
    /// The entry, itself in order, names another certificate for the same signature.
    EntryOfAnotherCertificate,
    /// The entry's body was changed after it was logged.
    ChangedEntry,
    /// There is no signed entry timestamp.
    NoSignedEntryTimestamp,
    /// The signed entry timestamp is by a log outside the root.
    ForeignSignedEntryTimestamp,
    /// The time of the entry is another one than the signed one.
    ChangedIntegratedTime,
    /// There is no proof of inclusion.
    NoInclusionProof,
    /// There is no checkpoint with the proof of inclusion.
    NoCheckpoint,
    /// The checkpoint is by a log outside the root.
    ForeignCheckpoint,
    /// The proof of inclusion is one in another tree.
    ProofOfAnotherTree,
    /// The proof of inclusion is for another place in the tree.
    ProofOfAnotherPlace,
    /// There is no timestamp (of the newer log's entries: the only time).
    NoTimestamp,
    /// The timestamp is by an authority outside the root.
    ForeignTimestamp,
    /// The timestamp is of another signature.
    TimestampOfAnotherSignature,
}

/// A private Sigstore.
#[derive(Debug, Clone)]
pub struct PrivateSigstore {
    seed: String,
    authority: CertificateAuthority,
    transparency: EcKey,
    v1: Log,
    v2: Log,
    timestamps: CertificateAuthority,
    stamping: EcKey,
    stamper: Stamper,
    foreign: OnceLock<Box<PrivateSigstore>>,
}

impl PrivateSigstore {
    /// The one of that seed. Two seeds make two that know nothing of each other, under the same names.
    pub fn new(seed: &str) -> Self {
        let timestamps = CertificateAuthority::of_timestamps(seed);
        let stamping = EcKey::of(seed, "timestamps");
        Self {
            seed: seed.to_owned(),
            authority: CertificateAuthority::of_code(seed),
            transparency: EcKey::of(seed, "certificate transparency"),
            v1: Log::V1(EcKey::of(seed, "log")),
            v2: Log::V2(EdKey::of(seed, "newer log")),
            stamper: timestamps.certify_timestamps(&stamping),
            timestamps,
            stamping,
            foreign: OnceLock::new(),
        }
    }

    /// Another one, that no verifier of this one trusts.
    fn foreign(&self) -> &Self {
        self.foreign
            .get_or_init(|| Box::new(Self::new(&format!("{}, but foreign", self.seed))))
    }

    /// Itself, or the foreign one.
    fn or_foreign(&self, foreign: bool) -> &Self {
        if foreign { self.foreign() } else { self }
    }

    /// The trusted root, as a document.
    pub fn trusted_root(&self) -> Value {
        let start = der::rfc3339(ROOTS_FROM);
        let chain = |certificates: &[&Vec<u8>]| {
            let certificates: Vec<Value> = certificates
                .iter()
                .map(|certificate| json!({"rawBytes": STANDARD.encode(certificate)}))
                .collect();
            json!({"certificates": certificates})
        };
        let subject =
            |name: &str| json!({"organization": "Countersign test kit", "commonName": name});
        let [intermediate, root] = &self.authority.chain;
        let [stamp_intermediate, stamp_root] = &self.timestamps.chain;
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self.v1.trusted(&start), self.v2.trusted(&start)],
            "certificateAuthorities": [{
                "subject": subject("certificate root"),
                "uri": "https://fulcio.sigstore.test",
                "certChain": chain(&[intermediate, root]),
                "validFor": {"start": start},
            }],
            "ctlogs": [{
                "baseUrl": "https://ct.sigstore.test",
                "hashAlgorithm": "SHA2_256",
                "publicKey": {
                    "rawBytes": STANDARD.encode(self.transparency.public()),
                    "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                    "validFor": {"start": start},
                },
                "logId": {"keyId": STANDARD.encode(Sha256::digest(self.transparency.public()))},
            }],
            "timestampAuthorities": [{
                "subject": subject("timestamp root"),
                "uri": "https://tsa.sigstore.test",
                "certChain": chain(&[&self.stamper.certificate, stamp_intermediate, stamp_root]),
                "validFor": {"start": start},
            }],
        })
    }

    /// The trusted root, as the text of `trusted_root.json`.
    pub fn trusted_root_json(&self) -> String {
        format!("{:#}\n", self.trusted_root())
    }

    /// Writes `trusted_root.json` into a folder.
    pub fn write_trusted_root(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join("trusted_root.json");
        fs::write(&path, self.trusted_root_json())
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// A statement signed now by a new key of that identity: a bundle of the format 0.3, logged in the older log.
    pub fn sign_statement(&self, identity: &Identity, statement: &Value) -> Value {
        self.signing(identity).statement(statement)
    }

    /// The same as an attestation object of PEP 740.
    pub fn sign_attestation(&self, identity: &Identity, statement: &Value) -> Value {
        self.signing(identity).attestation(statement)
    }

    /// To sign now with a new key of that identity; what else shall differ is set on it.
    pub fn signing(&self, identity: &Identity) -> Signing<'_> {
        self.by(Holder::Identity(Box::new(identity.clone())))
    }

    /// To sign now with a key that verifiers know by a name, as registries do: there is no certificate.
    pub fn signing_by_key(&self, hint: &str) -> Signing<'_> {
        self.by(Holder::Key(hint.to_owned()))
    }

    /// The public key of [`Self::signing_by_key`] in PEM.
    pub fn public_key_pem(&self, hint: &str) -> String {
        pem("PUBLIC KEY", &self.named_key(hint).public())
    }

    fn named_key(&self, hint: &str) -> EcKey {
        EcKey::of(&self.seed, &format!("the key {hint}"))
    }

    fn by(&self, holder: Holder) -> Signing<'_> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Signing {
            sigstore: self,
            holder,
            seconds: now.map_or(0, |since| since.as_secs() as i64),
            logged: Logged::default(),
            format: Format::default(),
            faults: Vec::new(),
        }
    }
}

#[derive(Debug, Clone)]
enum Holder {
    Identity(Box<Identity>),
    Key(String),
}

/// A signature to be made.
#[derive(Debug, Clone)]
pub struct Signing<'a> {
    sigstore: &'a PrivateSigstore,
    holder: Holder,
    seconds: i64,
    logged: Logged,
    format: Format,
    faults: Vec<Fault>,
}

impl Signing<'_> {
    /// At this second since 1970.
    pub fn at(mut self, seconds: i64) -> Self {
        self.seconds = seconds;
        self
    }

    /// Logged so.
    pub fn logged(mut self, logged: Logged) -> Self {
        self.logged = logged;
        self
    }

    /// In this format.
    pub fn format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// With this wrong; several may be.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// A bundle with this statement.
    pub fn statement(&self, statement: &Value) -> Value {
        self.payload(statement.to_string().as_bytes())
    }

    /// An attestation object of PEP 740 with this statement. What the object has no place for is left out.
    pub fn attestation(&self, statement: &Value) -> Value {
        attestation_of(&self.statement(statement))
    }

    /// A bundle with this text in the place of a statement, whatever it is.
    pub fn payload(&self, payload: &[u8]) -> Value {
        let payload_type = if self.has(Fault::OtherPayloadType) {
            "application/json"
        } else {
            STATEMENT_PAYLOAD
        };
        let message = envelope_message(payload_type, payload);
        let (key, certificate) = self.holder_of(&message);
        let signer = if self.has(Fault::ForeignSignature) {
            EcKey::of(&self.sigstore.seed, "a foreign signer")
        } else {
            key.clone()
        };
        let signature = signer.sign(&message);
        let mut shown = payload.to_vec();
        if self.has(Fault::ChangedStatement) {
            // White space: whoever looks at the parsed statement alone does not see it.
            shown.push(b' ');
        }
        let one = match &self.holder {
            Holder::Identity(_) => json!({"sig": STANDARD.encode(&signature)}),
            Holder::Key(hint) => json!({"keyid": hint, "sig": STANDARD.encode(&signature)}),
        };
        let signatures = if self.has(Fault::TwoSignatures) {
            vec![one.clone(), one]
        } else if self.has(Fault::NoSignature) {
            Vec::new()
        } else {
            vec![one]
        };
        let envelope = json!({
            "payload": STANDARD.encode(&shown),
            "payloadType": payload_type,
            "signatures": signatures,
        });
        let (logged, logged_signature) = if self.has(Fault::EntryOfAnotherStatement) {
            let other = [payload, b"\n"].concat();
            let message = envelope_message(payload_type, &other);
            (other, key.sign(&message))
        } else {
            (payload.to_vec(), signature.clone())
        };
        let verifier = self.verifier_in_log(&message, &key, certificate.as_deref());
        let body = match self.logged {
            Logged::V1 => {
                let envelope = json!({
                    "payload": STANDARD.encode(&logged),
                    "payloadType": payload_type,
                    "signatures": [{"sig": STANDARD.encode(&logged_signature)}],
                });
                json!({
                    "apiVersion": "0.0.1",
                    "kind": "dsse",
                    "spec": {
                        "envelopeHash": hash_value(envelope.to_string().as_bytes()),
                        "payloadHash": hash_value(&logged),
                        "signatures": [{
                            "signature": STANDARD.encode(&logged_signature),
                            "verifier": STANDARD.encode(verifier.pem()),
                        }],
                    },
                })
            }
            Logged::V1Intoto => {
                // This kind of entry has the signature's base64 in base64.
                let twice = STANDARD.encode(STANDARD.encode(&logged_signature));
                let public = STANDARD.encode(verifier.pem());
                let signatures = json!([{"publicKey": public, "sig": twice}]);
                let whole = json!({
                    "payload": STANDARD.encode(STANDARD.encode(&logged)),
                    "payloadType": payload_type,
                    "signatures": signatures,
                });
                json!({
                    "apiVersion": "0.0.2",
                    "kind": "intoto",
                    "spec": {
                        "content": {
                            "envelope": {"payloadType": payload_type, "signatures": signatures},
                            "hash": hash_value(whole.to_string().as_bytes()),
                            "payloadHash": hash_value(&logged),
                        },
                    },
                })
            }
            Logged::V2 => {
                let message = envelope_message(payload_type, &logged);
                verifier.newer_body(&message, &logged_signature)
            }
        };
        let material = self.material(&body, &signature, certificate.as_deref());
        json!({
            "mediaType": self.media_type(),
            "verificationMaterial": material,
            "dsseEnvelope": envelope,
        })
    }

    /// A bundle that signs a file itself, without a statement, as RubyGems' and cosign's do.
    pub fn artifact(&self, bytes: &[u8]) -> Value {
        let (key, certificate) = self.holder_of(bytes);
        let signer = if self.has(Fault::ForeignSignature) {
            EcKey::of(&self.sigstore.seed, "a foreign signer")
        } else {
            key.clone()
        };
        let signature = signer.sign(bytes);
        let logged = if self.has(Fault::EntryOfAnotherStatement) {
            [bytes, b"\n"].concat()
        } else {
            bytes.to_vec()
        };
        let verifier = self.verifier_in_log(bytes, &key, certificate.as_deref());
        let body = match self.logged {
            Logged::V1 | Logged::V1Intoto => json!({
                "apiVersion": "0.0.1",
                "kind": "hashedrekord",
                "spec": {
                    "data": {"hash": hash_value(&logged)},
                    "signature": {
                        "content": STANDARD.encode(&signature),
                        "publicKey": {"content": STANDARD.encode(verifier.pem())},
                    },
                },
            }),
            Logged::V2 => verifier.newer_body(&logged, &signature),
        };
        let material = self.material(&body, &signature, certificate.as_deref());
        json!({
            "mediaType": self.media_type(),
            "verificationMaterial": material,
            "messageSignature": {
                "messageDigest": {
                    "algorithm": "SHA2_256",
                    "digest": STANDARD.encode(Sha256::digest(bytes)),
                },
                "signature": STANDARD.encode(&signature),
            },
        })
    }

    fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    fn media_type(&self) -> &'static str {
        match self.format {
            Format::V01 => "application/vnd.dev.sigstore.bundle+json;version=0.1",
            Format::V02 => "application/vnd.dev.sigstore.bundle+json;version=0.2",
            Format::V03 => "application/vnd.dev.sigstore.bundle.v0.3+json",
        }
    }

    /// The key for a message, and its certificate.
    fn holder_of(&self, message: &[u8]) -> (EcKey, Option<Vec<u8>>) {
        let identity = match &self.holder {
            Holder::Key(hint) => return (self.sigstore.named_key(hint), None),
            Holder::Identity(identity) => identity,
        };
        // A new key for each signature.
        let label = hex::encode(Sha256::digest(message));
        let key = EcKey::of(&self.sigstore.seed, &format!("{label} {}", self.seconds));
        let certificate = self.certified(identity, &key);
        (key, Some(certificate))
    }

    fn certified(&self, identity: &Identity, key: &EcKey) -> Vec<u8> {
        let begins = if self.has(Fault::ExpiredCertificate) {
            self.seconds - 1200
        } else if self.has(Fault::NotYetValidCertificate) {
            self.seconds + 600
        } else {
            self.seconds - 2
        };
        let promise = if self.has(Fault::NoSct) {
            Promise::None
        } else if self.has(Fault::SctOfAnotherCertificate) {
            Promise::OfAnotherCertificate
        } else {
            Promise::Ours
        };
        let malformed = self.faults.iter().find_map(|fault| match fault {
            Fault::MalformedClaim(number) => Some(*number),
            _ => None,
        });
        let leaf = Leaf {
            identity,
            window: (begins, begins + 600),
            promise,
            code_signing: !self.has(Fault::NoCodeSigning),
            malformed,
        };
        let authority = &self
            .sigstore
            .or_foreign(self.has(Fault::ForeignAuthority))
            .authority;
        let log = &self
            .sigstore
            .or_foreign(self.has(Fault::ForeignSct))
            .transparency;
        authority.certify(&key.into(), &leaf, log)
    }

    /// What the log's entry says who signed.
    fn verifier_in_log(&self, message: &[u8], key: &EcKey, certificate: Option<&[u8]>) -> Verifier {
        match (certificate, &self.holder) {
            (Some(_), Holder::Identity(identity)) if self.has(Fault::EntryOfAnotherCertificate) => {
                let name = SubjectName::Uri("https://example.org/somebody-else".to_owned());
                let other = identity.as_ref().clone().named(name);
                let other_key = EcKey::of(&self.sigstore.seed, &hex::encode(message));
                Verifier::Certificate(self.certified(&other, &other_key))
            }
            (Some(certificate), _) => Verifier::Certificate(certificate.to_vec()),
            (None, _) => Verifier::Key(key.public()),
        }
    }

    fn material(&self, body: &Value, signature: &[u8], certificate: Option<&[u8]>) -> Value {
        let mut material = json!({});
        match (certificate, &self.holder, self.format) {
            (None, Holder::Key(hint), _) => material["publicKey"] = json!({"hint": hint}),
            (None, Holder::Identity(_), _) => {}
            (Some(certificate), _, Format::V03) => {
                material["certificate"] = json!({"rawBytes": STANDARD.encode(certificate)});
            }
            (Some(certificate), _, Format::V01 | Format::V02) => {
                let one = json!({"rawBytes": STANDARD.encode(certificate)});
                material["x509CertificateChain"] = json!({"certificates": [one]});
            }
        }
        let log_of = |foreign: Fault| {
            let sigstore = self.sigstore.or_foreign(self.has(foreign));
            match self.logged {
                Logged::V1 | Logged::V1Intoto => &sigstore.v1,
                Logged::V2 => &sigstore.v2,
            }
        };
        let log = log_of(Fault::ForeignLog);
        let by = Signers {
            promise: log_of(Fault::ForeignSignedEntryTimestamp),
            checkpoint: log_of(Fault::ForeignCheckpoint),
        };
        let faults = EntryFaults {
            no_promise: self.has(Fault::NoSignedEntryTimestamp),
            changed_time: self.has(Fault::ChangedIntegratedTime),
            no_proof: self.format == Format::V01 || self.has(Fault::NoInclusionProof),
            no_checkpoint: self.has(Fault::NoCheckpoint),
            another_tree: self.has(Fault::ProofOfAnotherTree),
            another_place: self.has(Fault::ProofOfAnotherPlace),
            changed_body: self.has(Fault::ChangedEntry),
        };
        let entry = log.entry(body, self.seconds, by, faults);
        material["tlogEntries"] = if self.has(Fault::NoLogEntry) {
            json!([])
        } else if self.has(Fault::TwoLogEntries) {
            json!([entry, entry])
        } else {
            json!([entry])
        };
        let stamped = self.logged == Logged::V2
            || self.has(Fault::ForeignTimestamp)
            || self.has(Fault::TimestampOfAnotherSignature);
        if stamped && !self.has(Fault::NoTimestamp) {
            let by = self.sigstore.or_foreign(self.has(Fault::ForeignTimestamp));
            let other = [signature, b"another"].concat();
            let bytes = if self.has(Fault::TimestampOfAnotherSignature) {
                &other
            } else {
                signature
            };
            let token = timestamp::stamp(&by.stamping, &by.stamper, bytes, self.seconds);
            let one = json!({"signedTimestamp": STANDARD.encode(token)});
            material["timestampVerificationData"] = json!({"rfc3161Timestamps": [one]});
        }
        material
    }
}

/// Who signed, as entries of logs say it.
enum Verifier {
    Certificate(Vec<u8>),
    Key(Vec<u8>),
}

impl Verifier {
    fn pem(&self) -> String {
        match self {
            Self::Certificate(der) => pem("CERTIFICATE", der),
            Self::Key(der) => pem("PUBLIC KEY", der),
        }
    }

    /// The body of `hashedrekord/0.0.2`.
    fn newer_body(&self, message: &[u8], signature: &[u8]) -> Value {
        let details = "PKIX_ECDSA_P256_SHA_256";
        let verifier = match self {
            Self::Certificate(der) => {
                json!({"keyDetails": details, "x509Certificate": {"rawBytes": STANDARD.encode(der)}})
            }
            Self::Key(der) => {
                json!({"keyDetails": details, "publicKey": {"rawBytes": STANDARD.encode(der)}})
            }
        };
        json!({
            "apiVersion": "0.0.2",
            "kind": "hashedrekord",
            "spec": {
                "hashedRekordV002": {
                    "data": {
                        "algorithm": "SHA2_256",
                        "digest": STANDARD.encode(Sha256::digest(message)),
                    },
                    "signature": {"content": STANDARD.encode(signature), "verifier": verifier},
                },
            },
        })
    }
}

/// The attestation object of PEP 740 of a bundle with a statement. It has a place for one certificate, the entries of
/// the log and one signature; timestamps go where the proposed addition to the format has them.
pub fn attestation_of(bundle: &Value) -> Value {
    let material = &bundle["verificationMaterial"];
    let certificate = match &material["certificate"]["rawBytes"] {
        Value::Null => &material["x509CertificateChain"]["certificates"][0]["rawBytes"],
        certificate => certificate,
    };
    let mut shown = json!({
        "certificate": certificate,
        "transparency_entries": material["tlogEntries"],
    });
    if let Some(timestamps) = material["timestampVerificationData"]["rfc3161Timestamps"].as_array()
    {
        let stamps = timestamps.iter().map(|one| one["signedTimestamp"].clone());
        shown["timestamps"] = stamps.collect();
    }
    let envelope = &bundle["dsseEnvelope"];
    json!({
        "version": 1,
        "verification_material": shown,
        "envelope": {
            "statement": envelope["payload"],
            "signature": envelope["signatures"][0]["sig"],
        },
    })
}

/// What a signature of an envelope is over (DSSE's pre-authentication encoding).
fn envelope_message(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let (kind, length) = (payload_type.len(), payload.len());
    let mut message = format!("DSSEv1 {kind} {payload_type} {length} ").into_bytes();
    message.extend_from_slice(payload);
    message
}

fn hash_value(bytes: &[u8]) -> Value {
    json!({"algorithm": "sha256", "value": hex::encode(Sha256::digest(bytes))})
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests;
