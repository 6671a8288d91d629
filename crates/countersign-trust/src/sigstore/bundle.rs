//! Bundles, read strictly: known names only, none twice, one form of base64 and of numbers.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sigstore_verify::types::{
    self, CanonicalizedBody, CertificateContent, CheckpointData, DerCertificate, DigestBytes,
    DsseEnvelope, DsseSignature, HashAlgorithm, InclusionPromise, InclusionProof, KeyId,
    KindVersion, LogId, LogIndex, LogKeyId, MessageDigest, MessageSignature, PayloadBytes,
    PublicKeyIdentifier, Rfc3161Timestamp, Sha256Hash, SignatureBytes, SignatureContent,
    SignedTimestamp, TimestampToken, TimestampVerificationData, TransparencyLogEntry,
    VerificationMaterial, VerificationMaterialContent, X509Certificate,
};

use super::{Claims, IN_TOTO, Limits, Refusal, Statement, Step};
use crate::digest::Sha256;
use crate::oidc::quoted;
use crate::{base64_decode, canonical_decimal};

/// The version of a bundle's format, from its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 0.1: a promise of the log is enough, chains of certificates.
    V0_1,
    /// 0.2: inclusion proofs are required.
    V0_2,
    /// 0.3: one certificate, no chain.
    V0_3,
}

impl Version {
    /// The media type that `media_type` says, in either spelling of 0.3.
    fn read(media_type: &str) -> Option<Self> {
        match media_type {
            "application/vnd.dev.sigstore.bundle+json;version=0.1" => Some(Self::V0_1),
            "application/vnd.dev.sigstore.bundle+json;version=0.2" => Some(Self::V0_2),
            "application/vnd.dev.sigstore.bundle+json;version=0.3"
            | "application/vnd.dev.sigstore.bundle.v0.3+json" => Some(Self::V0_3),
            _ => None,
        }
    }

    /// The number: `0.3`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1",
            Self::V0_2 => "0.2",
            Self::V0_3 => "0.3",
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who a bundle says has signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer<'a> {
    /// The owner of a short-lived certificate (DER).
    Certificate(&'a [u8]),
    /// The owner of a key that both sides know, by the key's name.
    Key(&'a str),
}

/// A Sigstore bundle: read, and not believed. [`verify`](super::verify) believes it.
#[derive(Clone, Debug)]
pub struct Bundle {
    raw: Vec<u8>,
    version: Version,
    inner: types::Bundle,
}

impl Bundle {
    /// Reads a bundle of version 0.1 to 0.3.
    ///
    /// # Errors
    ///
    /// At [`Step::Parse`]: more bytes or parts than `limits` allow, JSON with a name twice or an unknown name, an
    /// unknown media type, base64 or numbers that are not written the one canonical way, parts that are missing or
    /// exclude each other, more than one DSSE signature.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        within("bundle", bytes, limits.bytes)?;
        let wire: WireBundle = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
        let version = Version::read(&wire.media_type).ok_or_else(|| {
            Refusal::new(Step::Parse, "the bundle has no known media type")
                .expected("application/vnd.dev.sigstore.bundle.v0.3+json, or that of 0.1 or 0.2")
                .seen(&wire.media_type)
        })?;
        let inner = wire.build(version, limits)?;
        Ok(Self {
            raw: bytes.to_vec(),
            version,
            inner,
        })
    }

    /// The bytes as they were received.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// SHA-256 of the bytes as they were received.
    pub fn digest(&self) -> Sha256 {
        Sha256::of(&self.raw)
    }

    /// The version of its format.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Who it says has signed.
    pub fn signer(&self) -> Signer<'_> {
        match &self.inner.verification_material.content {
            VerificationMaterialContent::PublicKey(key) => Signer::Key(&key.hint),
            _ => Signer::Certificate(
                self.inner
                    .signing_certificate()
                    .map_or(&[], DerCertificate::as_bytes),
            ),
        }
    }

    /// The signed statement's bytes, not verified; `None` where a file's bytes are signed themselves.
    pub fn payload(&self) -> Option<&[u8]> {
        match &self.inner.content {
            SignatureContent::DsseEnvelope(envelope) => Some(envelope.payload.as_bytes()),
            _ => None,
        }
    }

    /// The type of the payload, not verified.
    pub fn payload_type(&self) -> Option<&str> {
        match &self.inner.content {
            SignatureContent::DsseEnvelope(envelope) => Some(&envelope.payload_type),
            _ => None,
        }
    }

    /// The signature's bytes.
    pub fn signature(&self) -> &[u8] {
        match &self.inner.content {
            SignatureContent::DsseEnvelope(envelope) => envelope.signature.sig.as_bytes(),
            SignatureContent::MessageSignature(message) => message.signature.as_bytes(),
            _ => &[],
        }
    }

    /// The key's name in the envelope, which nothing signs; `None` where there is none.
    pub(super) fn keyid(&self) -> Option<&str> {
        match &self.inner.content {
            SignatureContent::DsseEnvelope(envelope) => {
                Some(envelope.signature.keyid.as_str()).filter(|keyid| !keyid.is_empty())
            }
            _ => None,
        }
    }

    /// The statement, not verified; `None` where a file's bytes are signed themselves.
    ///
    /// # Errors
    ///
    /// At [`Step::Statement`], as [`Statement::parse`].
    pub fn unverified_statement(&self, limits: &Limits) -> Result<Option<Statement>, Refusal> {
        match (self.payload(), self.payload_type()) {
            (Some(payload), Some(IN_TOTO)) => Statement::parse(payload, limits).map(Some),
            (Some(_), other) => Err(Refusal::new(
                Step::Statement,
                "the envelope holds no in-toto statement",
            )
            .expected(IN_TOTO)
            .seen(other.unwrap_or_default())),
            (None, _) => Ok(None),
        }
    }

    /// What the certificate says, not verified; `None` where a known key signed.
    ///
    /// # Errors
    ///
    /// At [`Step::Chain`], as [`Claims::parse`].
    pub fn unverified_claims(&self) -> Result<Option<Claims>, Refusal> {
        match self.signer() {
            Signer::Certificate(der) => Claims::parse(der).map(Some),
            Signer::Key(_) => Ok(None),
        }
    }

    pub(super) fn inner(&self) -> &types::Bundle {
        &self.inner
    }
}

pub(super) fn within(what: &str, bytes: &[u8], most: usize) -> Result<(), Refusal> {
    if bytes.len() > most {
        return Err(Refusal::new(Step::Parse, format!("the {what} is too long"))
            .expected(format!("at most {most} bytes"))
            .seen(format!("{} bytes", bytes.len())));
    }
    Ok(())
}

pub(super) fn malformed(error: &serde_json::Error) -> Refusal {
    Refusal::new(
        Step::Parse,
        format!(
            "it is not acceptable JSON: {}",
            crate::oidc::escaped(&error.to_string())
        ),
    )
}

fn refuse(sentence: impl Into<String>) -> Refusal {
    Refusal::new(Step::Parse, sentence)
}

/// Bytes from base64 in its one canonical form; never empty.
fn bytes(field: &str, text: &str) -> Result<Vec<u8>, Refusal> {
    match base64_decode(text) {
        Some(bytes) if !bytes.is_empty() => Ok(bytes),
        _ => Err(refuse(format!("{field} is not base64 in canonical form"))
            .expected("standard base64 with padding, without line breaks")
            .seen(text)),
    }
}

fn certificate(field: &str, wire: &WireCertificate) -> Result<DerCertificate, Refusal> {
    let der = bytes(field, &wire.raw_bytes)?;
    super::der::certificate(&der)?;
    Ok(DerCertificate::new(der))
}

fn hash(field: &str, text: &str) -> Result<Sha256Hash, Refusal> {
    let bytes: [u8; 32] = bytes(field, text)?
        .try_into()
        .map_err(|_| refuse(format!("{field} has not 32 bytes")).seen(text))?;
    Ok(Sha256Hash::from(bytes))
}

fn number(field: &str, text: &str) -> Result<u64, Refusal> {
    canonical_decimal(text)
        .filter(|number| i64::try_from(*number).is_ok())
        .ok_or_else(|| {
            refuse(format!("{field} is no number in canonical form"))
                .expected("decimal digits without a leading zero, below 2^63")
                .seen(text)
        })
}

fn at_most<T>(field: &str, list: &[T], most: usize) -> Result<(), Refusal> {
    if list.len() > most {
        return Err(refuse(format!("{field} has too many members"))
            .expected(format!("at most {most}"))
            .seen(list.len().to_string()));
    }
    Ok(())
}

/// What is read from a JSON object and from nothing else: derived readers take a list of the members' values as well.
pub(super) trait FromObject<'de>: Sized {
    /// As the derived reader.
    fn from_object<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// Asks for an object.
pub(super) struct Members<T>(pub(super) PhantomData<T>);

impl<'de, T: FromObject<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::from_object(MapAccessDeserializer::new(members))
    }
}

/// Makes the derived readers of these types (`remote = "Self"`) take objects only.
macro_rules! objects_only {
    ($($name:ident $(<$life:lifetime>)?),+ $(,)?) => {$(
        impl<'de $(: $life, $life)?> $crate::sigstore::bundle::FromObject<'de> for $name $(<$life>)? {
            fn from_object<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::deserialize(deserializer)
            }
        }

        impl<'de $(: $life, $life)?> serde::Deserialize<'de> for $name $(<$life>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let members = $crate::sigstore::bundle::Members(std::marker::PhantomData);
                deserializer.deserialize_map(members)
            }
        }
    )+};
}
pub(super) use objects_only;

objects_only!(
    WireBundle,
    WireMaterial,
    WireCertificate,
    WireChain,
    WireKey,
    WireTimestamps,
    WireTimestamp,
    WireEnvelope,
    WireSignature,
    WireMessage,
    WireDigest,
    WireEntry,
    WireLogId,
    WireKind,
    WirePromise,
    WireProof,
    WireCheckpoint
);

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireBundle {
    media_type: String,
    verification_material: WireMaterial,
    dsse_envelope: Option<WireEnvelope>,
    message_signature: Option<WireMessage>,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireMaterial {
    certificate: Option<WireCertificate>,
    x509_certificate_chain: Option<WireChain>,
    public_key: Option<WireKey>,
    tlog_entries: Option<Vec<WireEntry>>,
    timestamp_verification_data: Option<WireTimestamps>,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireCertificate {
    raw_bytes: String,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireChain {
    certificates: Vec<WireCertificate>,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireKey {
    #[serde(default)]
    hint: String,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireTimestamps {
    rfc3161_timestamps: Option<Vec<WireTimestamp>>,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireTimestamp {
    signed_timestamp: String,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireEnvelope {
    payload: String,
    payload_type: String,
    signatures: Vec<WireSignature>,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireSignature {
    sig: String,
    #[serde(default)]
    keyid: String,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireMessage {
    message_digest: Option<WireDigest>,
    signature: String,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireDigest {
    algorithm: String,
    digest: String,
}

/// A log entry, as bundles and PEP 740 attestations both write it.
#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct WireEntry {
    log_index: Option<Decimal>,
    log_id: WireLogId,
    kind_version: WireKind,
    integrated_time: Option<Decimal>,
    inclusion_promise: Option<WirePromise>,
    inclusion_proof: Option<WireProof>,
    canonicalized_body: String,
}

/// A 64-bit number: JSON of protocol buffers writes a string, and must read a number too.
#[derive(Deserialize)]
#[serde(untagged)]
enum Decimal {
    Text(String),
    Number(u64),
}

impl Decimal {
    fn read(&self, field: &str) -> Result<u64, Refusal> {
        match self {
            Self::Text(text) => number(field, text),
            Self::Number(found) => number(field, &found.to_string()),
        }
    }
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireLogId {
    key_id: String,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireKind {
    kind: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WirePromise {
    signed_entry_timestamp: String,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireProof {
    log_index: Option<Decimal>,
    root_hash: String,
    tree_size: Decimal,
    hashes: Option<Vec<String>>,
    checkpoint: Option<WireCheckpoint>,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireCheckpoint {
    envelope: String,
}

impl WireBundle {
    fn build(self, version: Version, limits: &Limits) -> Result<types::Bundle, Refusal> {
        let content = match (self.dsse_envelope, self.message_signature) {
            (Some(envelope), None) => SignatureContent::DsseEnvelope(envelope.build()?),
            (None, Some(message)) => SignatureContent::MessageSignature(message.build()?),
            _ => {
                return Err(refuse("the bundle has not exactly one kind of signature")
                    .expected("either `dsseEnvelope` or `messageSignature`"));
            }
        };
        let material = self.verification_material.build(version, limits)?;
        let media_type = match version {
            Version::V0_1 => types::MediaType::Bundle0_1,
            Version::V0_2 => types::MediaType::Bundle0_2,
            Version::V0_3 => types::MediaType::Bundle0_3,
        };
        Ok(types::Bundle::new(media_type, material, content))
    }
}

impl WireMaterial {
    fn build(self, version: Version, limits: &Limits) -> Result<VerificationMaterial, Refusal> {
        let content = match (
            self.certificate,
            self.x509_certificate_chain,
            self.public_key,
        ) {
            (Some(one), None, None) => VerificationMaterialContent::Certificate(
                CertificateContent::new(certificate("the certificate", &one)?),
            ),
            (None, Some(chain), None) if version < Version::V0_3 => {
                at_most(
                    "the certificate chain",
                    &chain.certificates,
                    limits.certificates,
                )?;
                if chain.certificates.is_empty() {
                    return Err(refuse("the certificate chain is empty"));
                }
                let certificates = chain
                    .certificates
                    .iter()
                    .map(|one| {
                        Ok(X509Certificate::new(certificate(
                            "a certificate of the chain",
                            one,
                        )?))
                    })
                    .collect::<Result<_, Refusal>>()?;
                let twice = chain.certificates.iter().enumerate().any(|(at, one)| {
                    let before = &chain.certificates[..at];
                    before.iter().any(|other| other.raw_bytes == one.raw_bytes)
                });
                if twice {
                    return Err(refuse("a certificate stands twice in the chain"));
                }
                VerificationMaterialContent::X509CertificateChain { certificates }
            }
            (None, Some(_), None) => {
                return Err(refuse("a bundle of version 0.3 has no certificate chain")
                    .expected("`certificate`")
                    .seen("`x509CertificateChain`"));
            }
            (None, None, Some(key)) => {
                VerificationMaterialContent::PublicKey(PublicKeyIdentifier::new(key.hint))
            }
            _ => {
                return Err(refuse("the bundle does not say in one way who signed")
                    .expected("one of `certificate`, `x509CertificateChain`, `publicKey`"));
            }
        };
        let entries = self.tlog_entries.unwrap_or_default();
        at_most("`tlogEntries`", &entries, limits.entries)?;
        let entries = entries
            .into_iter()
            .map(WireEntry::build)
            .collect::<Result<_, _>>()?;
        let stamps = self
            .timestamp_verification_data
            .and_then(|data| data.rfc3161_timestamps)
            .unwrap_or_default();
        at_most("`rfc3161Timestamps`", &stamps, limits.timestamps)?;
        let stamps = stamps
            .iter()
            .map(|stamp| {
                let der = bytes("a timestamp", &stamp.signed_timestamp)?;
                super::der::timestamp(&der)?;
                Ok(Rfc3161Timestamp::new(TimestampToken::new(der)))
            })
            .collect::<Result<_, Refusal>>()?;
        Ok(VerificationMaterial::new(content)
            .with_tlog_entries(entries)
            .with_timestamp_verification_data(TimestampVerificationData::new(stamps)))
    }
}

impl WireEnvelope {
    fn build(self) -> Result<DsseEnvelope, Refusal> {
        let [signature] = self.signatures.as_slice() else {
            return Err(refuse("the envelope has not exactly one signature")
                .expected("1")
                .seen(self.signatures.len().to_string()));
        };
        Ok(DsseEnvelope::new(
            self.payload_type,
            PayloadBytes::new(bytes("the payload", &self.payload)?),
            DsseSignature::new(
                SignatureBytes::new(bytes("the signature", &signature.sig)?),
                KeyId::new(signature.keyid.as_str()),
            ),
        ))
    }
}

impl WireMessage {
    fn build(self) -> Result<MessageSignature, Refusal> {
        let signature = SignatureBytes::new(bytes("the signature", &self.signature)?);
        let message = MessageSignature::new(signature);
        let Some(digest) = self.message_digest else {
            return Ok(message);
        };
        let algorithm = match digest.algorithm.as_str() {
            "SHA2_256" => HashAlgorithm::Sha2256,
            "SHA2_384" => HashAlgorithm::Sha2384,
            "SHA2_512" => HashAlgorithm::Sha2512,
            other => {
                return Err(refuse("the message digest has no known algorithm")
                    .expected("SHA2_256, SHA2_384 or SHA2_512")
                    .seen(other));
            }
        };
        let found = bytes("the message digest", &digest.digest)?;
        if found.len() != algorithm.digest_size() {
            return Err(
                refuse("the message digest has not the length of its algorithm")
                    .expected(format!("{} bytes", algorithm.digest_size()))
                    .seen(format!("{} bytes", found.len())),
            );
        }
        Ok(message.with_message_digest(MessageDigest::new(algorithm, DigestBytes::new(found))))
    }
}

impl WireEntry {
    pub(super) fn build(self) -> Result<TransparencyLogEntry, Refusal> {
        let index = |field: &str, number: &Option<Decimal>| {
            // Zero is left out by writers of protocol buffers.
            let number = number.as_ref().map_or(Ok(0), |found| found.read(field))?;
            LogIndex::new(number).map_err(|error| refuse(error.to_string()))
        };
        let kind = match (
            self.kind_version.kind.as_str(),
            self.kind_version.version.as_str(),
        ) {
            ("hashedrekord", "0.0.1") => KindVersion::HashedRekordV001,
            ("hashedrekord", "0.0.2") => KindVersion::HashedRekordV002,
            ("dsse", "0.0.1") => KindVersion::DsseV001,
            ("intoto", "0.0.2") => KindVersion::IntotoV002,
            (kind, version) => {
                return Err(refuse("the log entry is of a kind that can not be checked")
                    .expected("hashedrekord/0.0.1, hashedrekord/0.0.2, dsse/0.0.1 or intoto/0.0.2")
                    .seen(format!("{kind}/{version}")));
            }
        };
        let mut entry = TransparencyLogEntry::new(
            index("`logIndex`", &self.log_index)?,
            LogId::new(LogKeyId::new(
                hash("the log's id", &self.log_id.key_id)?
                    .as_bytes()
                    .to_vec(),
            )),
            kind,
            CanonicalizedBody::new(bytes("the entry's body", &self.canonicalized_body)?),
        );
        let time = match &self.integrated_time {
            Some(time) => time.read("`integratedTime`")?,
            None => 0,
        };
        if time != 0 {
            let time = i64::try_from(time)
                .ok()
                .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
                .ok_or_else(|| refuse("`integratedTime` is no time").seen(time.to_string()))?;
            entry = entry.with_integrated_time(time);
        }
        if let Some(promise) = self.inclusion_promise {
            entry =
                entry.with_inclusion_promise(InclusionPromise::new(SignedTimestamp::new(bytes(
                    "the signed entry timestamp",
                    &promise.signed_entry_timestamp,
                )?)));
        }
        if let Some(proof) = self.inclusion_proof {
            let hashes = proof.hashes.unwrap_or_default();
            at_most("the inclusion proof", &hashes, 64)?;
            let hashes = hashes
                .iter()
                .map(|text| hash("a hash of the inclusion proof", text))
                .collect::<Result<_, _>>()?;
            let envelope = proof.checkpoint.map(|found| found.envelope);
            let checkpoint =
                CheckpointData::new(envelope.unwrap_or_default()).map_err(|error| {
                    refuse(format!(
                        "the checkpoint is malformed: {}",
                        quoted(&error.to_string())
                    ))
                })?;
            entry = entry.with_inclusion_proof(InclusionProof::new(
                index("the proof's `logIndex`", &proof.log_index)?,
                hash("the proof's root hash", &proof.root_hash)?,
                proof.tree_size.read("`treeSize`")?,
                hashes,
                checkpoint,
            ));
        }
        Ok(entry)
    }
}
