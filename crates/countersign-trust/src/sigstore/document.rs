//! The documents in which registries hand out attestations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::bundle::{malformed, objects_only, within};
use super::{Attestation, Bundle, Limits, Refusal, Step};
use crate::oidc::{Provider, Registration};

/// The provenance object of PEP 740 for one file.
#[derive(Clone, Debug)]
pub struct Provenance {
    /// Attestations, by the publisher that the index says they are of.
    pub bundles: Vec<ProvenanceBundle>,
}

/// The attestations of one publisher.
#[derive(Clone, Debug)]
pub struct ProvenanceBundle {
    /// What the index says about the publisher; nothing signs it.
    pub publisher: Value,
    /// The attestations.
    pub attestations: Vec<Attestation>,
}

impl Provenance {
    /// Reads a provenance object of version 1.
    ///
    /// # Errors
    ///
    /// At [`Step::Parse`], as [`Attestation::parse`].
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        #[serde(remote = "Self")]
        #[serde(deny_unknown_fields)]
        struct Wire<'a> {
            version: u64,
            #[serde(borrow)]
            attestation_bundles: Vec<WireBundle<'a>>,
        }
        #[derive(Deserialize)]
        #[serde(remote = "Self")]
        #[serde(deny_unknown_fields)]
        struct WireBundle<'a> {
            publisher: Value,
            #[serde(borrow)]
            attestations: Vec<&'a RawValue>,
        }
        objects_only!(Wire<'a>, WireBundle<'a>);

        within("provenance object", bytes, limits.document_bytes)?;
        let wire: Wire<'_> = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
        if wire.version != 1 {
            return Err(
                Refusal::new(Step::Parse, "the provenance object is of no known version")
                    .expected("1")
                    .seen(wire.version.to_string()),
            );
        }
        let count: usize = wire
            .attestation_bundles
            .iter()
            .map(|bundle| bundle.attestations.len())
            .sum();
        if count > limits.attestations {
            return Err(Refusal::new(Step::Parse, "there are too many attestations")
                .expected(format!("at most {}", limits.attestations))
                .seen(count.to_string()));
        }
        let bundles = wire
            .attestation_bundles
            .into_iter()
            .map(|bundle| {
                let attestations = bundle
                    .attestations
                    .iter()
                    .map(|one| Attestation::parse(one.get().as_bytes(), limits))
                    .collect::<Result<_, _>>()?;
                Ok(ProvenanceBundle {
                    publisher: bundle.publisher,
                    attestations,
                })
            })
            .collect::<Result<_, Refusal>>()?;
        Ok(Self { bundles })
    }

    /// Writes a provenance object: each attestation byte for byte as it was received.
    ///
    /// # Errors
    ///
    /// At [`Step::Parse`] where the bytes of an attestation are no JSON.
    pub fn render(bundles: &[(Value, Vec<&[u8]>)]) -> Result<Vec<u8>, Refusal> {
        #[derive(Serialize)]
        struct Out<'a> {
            version: u64,
            attestation_bundles: Vec<OutBundle<'a>>,
        }
        #[derive(Serialize)]
        struct OutBundle<'a> {
            publisher: &'a Value,
            attestations: Vec<&'a RawValue>,
        }
        let attestation_bundles = bundles
            .iter()
            .map(|(publisher, attestations)| {
                let attestations = attestations
                    .iter()
                    .map(|raw| serde_json::from_slice(raw).map_err(|error| malformed(&error)))
                    .collect::<Result<_, _>>()?;
                Ok(OutBundle {
                    publisher,
                    attestations,
                })
            })
            .collect::<Result<_, Refusal>>()?;
        serde_json::to_vec(&Out {
            version: 1,
            attestation_bundles,
        })
        .map_err(|error| malformed(&error))
    }
}

/// A publisher as provenance objects name it; `None` for kinds that PEP 740's clients do not know.
pub fn publisher(registration: &Registration) -> Option<Value> {
    let fields: &BTreeMap<String, String> = &registration.fields;
    let field = |name: &str| fields.get(name).map(String::as_str);
    Some(match registration.provider {
        Provider::Github => json!({
            "kind": "GitHub",
            "repository": format!("{}/{}", field("owner")?, field("repository")?),
            "workflow": field("workflow")?,
            "environment": registration.environment,
        }),
        Provider::Gitlab => json!({
            "kind": "GitLab",
            "repository": format!("{}/{}", field("namespace")?, field("project")?),
            "workflow_filepath": field("workflow")?,
            "environment": registration.environment,
        }),
        Provider::Google => json!({ "kind": "Google", "email": field("email")? }),
        Provider::Circleci => json!({
            "kind": "CircleCI",
            "project_id": field("project_id")?,
            "pipeline_definition_id": field("pipeline_definition_id")?,
            "vcs_origin": field("vcs_origin"),
            "vcs_ref": field("vcs_ref"),
        }),
        _ => return None,
    })
}

/// One attestation of npm's attestations document.
#[derive(Clone, Debug)]
pub struct NpmAttestation {
    /// The type that the document says; the statement's own is what counts.
    pub predicate_type: String,
    /// The bundle.
    pub bundle: Bundle,
}

/// Reads npm's attestations document: `{"attestations":[{"predicateType":…,"bundle":{…}}]}`.
///
/// # Errors
///
/// At [`Step::Parse`], as [`Bundle::parse`].
pub fn npm_attestations(bytes: &[u8], limits: &Limits) -> Result<Vec<NpmAttestation>, Refusal> {
    #[derive(Deserialize)]
    #[serde(remote = "Self")]
    struct Wire<'a> {
        #[serde(borrow)]
        attestations: Vec<WireOne<'a>>,
    }
    #[derive(Deserialize)]
    #[serde(remote = "Self")]
    #[serde(rename_all = "camelCase")]
    struct WireOne<'a> {
        predicate_type: String,
        #[serde(borrow)]
        bundle: &'a RawValue,
    }
    objects_only!(Wire<'a>, WireOne<'a>);

    within("attestations document", bytes, limits.document_bytes)?;
    let wire: Wire<'_> = serde_json::from_slice(bytes).map_err(|error| malformed(&error))?;
    if wire.attestations.len() > limits.attestations {
        return Err(Refusal::new(Step::Parse, "there are too many attestations")
            .expected(format!("at most {}", limits.attestations))
            .seen(wire.attestations.len().to_string()));
    }
    wire.attestations
        .into_iter()
        .map(|one| {
            Ok(NpmAttestation {
                predicate_type: one.predicate_type,
                bundle: Bundle::parse(one.bundle.get().as_bytes(), limits)?,
            })
        })
        .collect()
}
