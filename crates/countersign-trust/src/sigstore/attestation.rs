//! PEP 740 attestations: the same evidence as a bundle's in other words.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::bundle::{malformed, objects_only, within};
use super::{Bundle, IN_TOTO, Limits, Refusal, Signer, Step};
use crate::{base64_decode, base64_encode};

const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// An attestation object of PEP 740, version 1: read, and not believed.
#[derive(Clone, Debug)]
pub struct Attestation {
    raw: Vec<u8>,
    bundle: Bundle,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    version: u64,
    #[serde(borrow)]
    verification_material: WireMaterial<'a>,
    envelope: WireEnvelope,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(deny_unknown_fields)]
struct WireMaterial<'a> {
    certificate: String,
    #[serde(borrow)]
    transparency_entries: Vec<&'a RawValue>,
    // A pending addition to the specification, for logs whose entries carry no time.
    #[serde(default)]
    timestamps: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
#[serde(deny_unknown_fields)]
struct WireEnvelope {
    statement: String,
    signature: String,
}

objects_only!(Wire<'a>, WireMaterial<'a>, WireEnvelope);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutBundle<'a> {
    media_type: &'static str,
    verification_material: OutMaterial<'a>,
    dsse_envelope: OutEnvelope,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutMaterial<'a> {
    certificate: OutBytes,
    tlog_entries: &'a [&'a RawValue],
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp_verification_data: Option<OutStamps>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutBytes {
    raw_bytes: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutStamps {
    rfc3161_timestamps: Vec<OutStamp>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutStamp {
    signed_timestamp: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OutEnvelope {
    payload: String,
    payload_type: &'static str,
    signatures: [OutSignature; 1],
}

#[derive(Serialize)]
struct OutSignature {
    sig: String,
}

/// Base64 as a Python writer may wrap it: not at all, or after every 76 characters and at the end.
fn wrapped(field: &str, text: &str) -> Result<String, Refusal> {
    let refuse = || {
        Refusal::new(
            Step::Parse,
            format!("{field} is not base64 in canonical form"),
        )
        .expected("standard base64 with padding; line breaks nowhere, or after each 76 characters")
        .seen(text)
    };
    let bare = if text.contains('\n') {
        let lines: Vec<&str> = text
            .strip_suffix('\n')
            .ok_or_else(refuse)?
            .split('\n')
            .collect();
        let (last, full) = lines.split_last().ok_or_else(refuse)?;
        if full.iter().any(|line| line.len() != 76) || last.is_empty() || last.len() > 76 {
            return Err(refuse());
        }
        lines.concat()
    } else {
        text.to_owned()
    };
    match base64_decode(&bare) {
        Some(bytes) if !bytes.is_empty() => Ok(bare),
        _ => Err(refuse()),
    }
}

impl Attestation {
    /// Reads an attestation object of version 1, with or without `timestamps`.
    ///
    /// # Errors
    ///
    /// At [`Step::Parse`], as [`Bundle::parse`]; no log entries; another version.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        within("attestation", bytes, limits.bytes)?;
        let wire: Wire<'_> = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
        if wire.version != 1 {
            return Err(
                Refusal::new(Step::Parse, "the attestation is of no known version")
                    .expected("1")
                    .seen(wire.version.to_string()),
            );
        }
        let material = wire.verification_material;
        if material.transparency_entries.is_empty() {
            return Err(Refusal::new(
                Step::Parse,
                "the attestation has no transparency log entry",
            ));
        }
        let stamps = material
            .timestamps
            .unwrap_or_default()
            .iter()
            .map(|stamp| {
                Ok(OutStamp {
                    signed_timestamp: wrapped("a timestamp", stamp)?,
                })
            })
            .collect::<Result<Vec<_>, Refusal>>()?;
        let bundle = OutBundle {
            media_type: MEDIA_TYPE,
            verification_material: OutMaterial {
                certificate: OutBytes {
                    raw_bytes: wrapped("the certificate", &material.certificate)?,
                },
                tlog_entries: &material.transparency_entries,
                timestamp_verification_data: (!stamps.is_empty()).then_some(OutStamps {
                    rfc3161_timestamps: stamps,
                }),
            },
            dsse_envelope: OutEnvelope {
                payload: wrapped("the statement", &wire.envelope.statement)?,
                payload_type: IN_TOTO,
                signatures: [OutSignature {
                    sig: wrapped("the signature", &wire.envelope.signature)?,
                }],
            },
        };
        let json = serde_json::to_vec(&bundle).map_err(|error| malformed(&error))?;
        // The bundle's own words are a little longer.
        let limits = Limits {
            bytes: limits.bytes + 1024,
            ..limits.clone()
        };
        Ok(Self {
            raw: bytes.to_vec(),
            bundle: Bundle::parse(&json, &limits)?,
        })
    }

    /// Reads a JSON list of attestations, as upload forms carry it. Each keeps its own bytes as they were.
    ///
    /// # Errors
    ///
    /// As [`Attestation::parse`]; more than `limits.attestations`.
    pub fn parse_list(bytes: &[u8], limits: &Limits) -> Result<Vec<Self>, Refusal> {
        within("list of attestations", bytes, limits.document_bytes)?;
        let list: Vec<&RawValue> =
            serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
        if list.len() > limits.attestations {
            return Err(Refusal::new(Step::Parse, "there are too many attestations")
                .expected(format!("at most {}", limits.attestations))
                .seen(list.len().to_string()));
        }
        list.iter()
            .map(|one| Self::parse(one.get().as_bytes(), limits))
            .collect()
    }

    /// The bytes as they were received.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The same evidence as a bundle of version 0.3: certificate, log entries byte for byte, timestamps, statement
    /// and signature. Nothing of the attestation is lost.
    pub fn to_bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The same evidence as an attestation object.
    ///
    /// # Errors
    ///
    /// At [`Step::Parse`] where something would be lost: a known key instead of a certificate, a chain of several
    /// certificates, a file's bytes instead of a statement, a key's name in the signature, no log entry.
    pub fn from_bundle(bundle: &Bundle) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Raw<'a> {
            #[serde(borrow)]
            verification_material: RawMaterial<'a>,
            dsse_envelope: Option<RawEnvelope>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct RawMaterial<'a> {
            x509_certificate_chain: Option<RawChain>,
            #[serde(borrow, default)]
            tlog_entries: Option<Vec<&'a RawValue>>,
            timestamp_verification_data: Option<RawStamps>,
        }
        #[derive(Deserialize)]
        struct RawChain {
            certificates: Vec<serde::de::IgnoredAny>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct RawStamps {
            rfc3161_timestamps: Option<Vec<RawStamp>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct RawStamp {
            signed_timestamp: String,
        }
        #[derive(Deserialize)]
        struct RawEnvelope {
            signatures: Vec<RawSignature>,
        }
        #[derive(Deserialize)]
        struct RawSignature {
            #[serde(default)]
            keyid: String,
        }
        #[derive(Serialize)]
        struct Out<'a> {
            version: u64,
            verification_material: OutParts<'a>,
            envelope: OutSigned,
        }
        #[derive(Serialize)]
        struct OutParts<'a> {
            certificate: String,
            transparency_entries: Vec<&'a RawValue>,
            #[serde(skip_serializing_if = "Option::is_none")]
            timestamps: Option<Vec<String>>,
        }
        #[derive(Serialize)]
        struct OutSigned {
            statement: String,
            signature: String,
        }

        let lost = |what: &str| {
            Refusal::new(
                Step::Parse,
                format!("an attestation object has no place for {what}"),
            )
        };
        let Signer::Certificate(certificate) = bundle.signer() else {
            return Err(lost("a bundle that was signed with a known key"));
        };
        let (Some(payload), Some(IN_TOTO)) = (bundle.payload(), bundle.payload_type()) else {
            return Err(lost("a bundle without a statement"));
        };
        let raw: Raw<'_> =
            serde_json::from_slice(bundle.raw()).map_err(|error| malformed(&error))?;
        let material = raw.verification_material;
        if material
            .x509_certificate_chain
            .is_some_and(|chain| chain.certificates.len() != 1)
        {
            return Err(lost("a chain of several certificates"));
        }
        let named = raw
            .dsse_envelope
            .is_some_and(|envelope| envelope.signatures.iter().any(|one| !one.keyid.is_empty()));
        if named {
            return Err(lost("the name of the signature's key"));
        }
        let entries = material.tlog_entries.unwrap_or_default();
        if entries.is_empty() {
            return Err(lost("a bundle without a transparency log entry"));
        }
        let stamps = material
            .timestamp_verification_data
            .and_then(|data| data.rfc3161_timestamps)
            .filter(|stamps| !stamps.is_empty())
            .map(|stamps| stamps.into_iter().map(|one| one.signed_timestamp).collect());
        let out = Out {
            version: 1,
            verification_material: OutParts {
                certificate: base64_encode(certificate),
                transparency_entries: entries,
                timestamps: stamps,
            },
            envelope: OutSigned {
                statement: base64_encode(payload),
                signature: base64_encode(bundle.signature()),
            },
        };
        let json = serde_json::to_vec(&out).map_err(|error| malformed(&error))?;
        let limits = Limits {
            bytes: usize::MAX / 2,
            ..Limits::default()
        };
        Self::parse(&json, &limits)
    }
}
