//! The attestations of a version, in npm's shape: the provenance that was published with it, byte for byte.
//!
//! What the registry says itself is not among them: npm's clients take a statement under a key only with an entry in the
//! public Sigstore's log. It is had at `/api/v1/attestations/`.

use axum::response::{IntoResponse, Response};
use countersign_formats::Ecosystem;
use countersign_formats::npm::name::PackageName;
use countersign_formats::npm::registry;
use countersign_registry::model::{AttestationForm, Maker};
use countersign_registry::{Error, Kind};
use http::HeaderValue;
use http::header::CACHE_CONTROL;

use super::JSON;
use crate::error::Refusal;
use crate::site::Site;

pub(super) async fn serve(
    site: &Site,
    name: &PackageName,
    version: &str,
) -> Result<Response, Refusal> {
    let files = site
        .registry
        .release_provenance(Ecosystem::Npm, name.as_str(), version)
        .await
        .map_err(Refusal::npm)?;
    let bundles: Vec<(&str, &str)> = files
        .iter()
        .flat_map(|file| &file.attestations)
        .filter(|one| one.maker == Maker::Uploader && one.form == AttestationForm::Bundle)
        .map(|one| (one.predicate_type.as_str(), one.body.as_str()))
        .collect();
    if bundles.is_empty() {
        let error = Error::new(
            Kind::NotFound,
            "attestation-unknown",
            format!("No provenance was published with {name}@{version}."),
        );
        return Err(Refusal::npm(error));
    }
    let document = registry::attestations(&bundles).map_err(Refusal::npm)?;
    let kept = HeaderValue::from_static("no-cache");
    Ok(([JSON, (CACHE_CONTROL, kept)], document).into_response())
}
