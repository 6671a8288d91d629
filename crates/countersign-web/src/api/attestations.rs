//! Attestations of files in every ecosystem: what is known of a build, from whom, and what this registry found of it.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::IntoResponse;
use bytes::Bytes;
use countersign_formats::purl;
use countersign_registry::model::{
    AttestationDetail, AttestationForm, FileProvenance, ShownProvenance, SourceState, SourceTuple,
    TrustLevel,
};
use countersign_registry::{Added, Error, Kind};
use countersign_trust::digest::Sha256;
use countersign_trust::sigstore::{Attestation, Limits};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::view::Problem;
use super::{Answer, body, query_refused};
use crate::answer::{Keep, Stored};
use crate::body::whole;
use crate::error::{Refusal, shown};
use crate::request_log::Noted;
use crate::site::Site;

/// Files of a release that are answered at a time.
const FILES: usize = 20;
const MOST_FILES: usize = 50;

/// Longest list of attestations that is read: two of the largest.
const LONGEST_LIST: usize = 260 << 10;

/// What is known of how files were built.
#[derive(Serialize, ToSchema)]
pub(super) struct FilesProvenance {
    /// The files, by name.
    files: Vec<FileView>,
    /// How many there are in all.
    total: usize,
    /// Number of the first one here, from 0.
    offset: usize,
}

/// What is known of how one file was built.
#[derive(Serialize, ToSchema)]
pub(super) struct FileView {
    /// The file's identifier in the log.
    purl: String,
    ecosystem: String,
    /// The project, as written.
    project: String,
    version: String,
    filename: String,
    /// SHA-256, hex.
    sha256: String,
    /// What stands behind its publication: `none`, `token`, `workflow` or `provenance`; null for files from before this was kept.
    level: Option<&'static str>,
    /// Where it came from, as far as an issuer vouched for it.
    source: Option<SourceView>,
    /// Its attestations, those of its uploader first.
    attestations: Vec<AttestationView>,
}

/// A source.
#[derive(Serialize, ToSchema)]
pub(super) struct SourceView {
    /// Who vouches for the workflow.
    issuer: String,
    /// The repository's URL.
    repository: String,
    /// Its immutable id, where the issuer tells it.
    repository_id: Option<String>,
    /// The immutable id of its owner, where the issuer tells it.
    owner_id: Option<String>,
}

impl From<SourceTuple> for SourceView {
    fn from(source: SourceTuple) -> Self {
        Self {
            issuer: source.issuer,
            repository: source.repository,
            repository_id: source.repository_id,
            owner_id: source.owner_id,
        }
    }
}

/// An attestation, and what this registry found of it.
#[derive(Serialize, ToSchema)]
pub(super) struct AttestationView {
    /// SHA-256 of its bytes as received, hex: what the file's leaf in the log names.
    digest: String,
    /// Who made it: `uploader`, or `registry` (this one, with its own key).
    maker: &'static str,
    predicate_type: String,
    /// SHA-256 of the statement in it, hex.
    statement_digest: String,
    /// What this registry found.
    verdict: VerdictView,
    /// Claims of the certificate, by name; empty for the registry's own.
    claims: BTreeMap<String, String>,
    /// The same for people, with links.
    shown: ShownView,
    /// When it was signed, by the evidence in it.
    signed: String,
    /// Whether its source still is there, as far as that was looked at.
    source_state: Option<SourceStateView>,
    /// The form of `raw`: `pep740` or `bundle`.
    form: &'static str,
    /// The evidence as a Sigstore bundle of version 0.3; null where `raw` is, or can not be read any more.
    #[schema(value_type = Option<Object>)]
    bundle: Option<Value>,
    /// The bytes as received; null where they are left out, and `url` has them.
    raw: Option<String>,
    /// Where these bytes are served alone.
    url: String,
}

/// What this registry found of an attestation, and when.
#[derive(Serialize, ToSchema)]
pub(super) struct VerdictView {
    /// `confirmed`: all holds that the specification asks for. `kept`: it is of a type that is not known here, and nothing is
    /// said about what it means.
    outcome: &'static str,
    /// When it was taken and held against the trust root.
    at: String,
    /// SHA-256 of the trust root's document; null for the registry's own.
    trust_root: Option<String>,
    /// The last time it was held against the trust roots of that day.
    rechecked: Option<String>,
    /// Why it did not hold then; null where it did.
    problem: Option<String>,
}

/// What people are shown of an attestation.
#[derive(Serialize, ToSchema)]
pub(super) struct ShownView {
    /// The CI system.
    builder: Option<String>,
    issuer: Option<String>,
    /// The certificate's subject.
    signer: Option<String>,
    repository: Option<String>,
    commit: Option<String>,
    commit_url: Option<String>,
    /// The ref that was built.
    reference: Option<String>,
    build_file: Option<String>,
    build_file_url: Option<String>,
    run_url: Option<String>,
    /// `github-hosted`, `self-hosted`.
    runner: Option<String>,
    trigger: Option<String>,
    environment: Option<String>,
    /// Index of the entry in the transparency log.
    log_index: Option<u64>,
    log_url: Option<String>,
    /// The SLSA build level that the certificate confirms.
    slsa_level: Option<u8>,
}

impl From<ShownProvenance> for ShownView {
    fn from(from: ShownProvenance) -> Self {
        Self {
            builder: from.builder,
            issuer: from.issuer,
            signer: from.signer,
            repository: from.repository,
            commit: from.commit,
            commit_url: from.commit_url,
            reference: from.reference,
            build_file: from.build_file,
            build_file_url: from.build_file_url,
            run_url: from.run_url,
            runner: from.runner,
            trigger: from.trigger,
            environment: from.environment,
            log_index: from.log_index,
            log_url: from.log_url,
            slsa_level: from.slsa_level,
        }
    }
}

/// What was found of a source when it was last looked at.
#[derive(Serialize, ToSchema)]
pub(super) struct SourceStateView {
    /// `there`, `gone` or `unknown`.
    state: String,
    detail: String,
    checked: Option<String>,
}

impl From<SourceState> for SourceStateView {
    fn from(state: SourceState) -> Self {
        Self {
            state: state.state,
            detail: state.detail,
            checked: state.checked.map(|at| at.rfc3339()),
        }
    }
}

impl AttestationView {
    fn of(site: &Site, from: AttestationDetail) -> Self {
        Self {
            url: format!(
                "{}/api/v1/attestations/by-digest/{}",
                site.url(),
                from.digest
            ),
            bundle: as_bundle(&from),
            digest: from.digest,
            maker: from.maker.as_str(),
            predicate_type: from.predicate_type,
            statement_digest: from.statement_digest,
            verdict: VerdictView {
                outcome: from.verdict.as_str(),
                at: from.taken.rfc3339(),
                trust_root: from.root_digest,
                rechecked: from.rechecked.map(|at| at.rfc3339()),
                problem: from.recheck_problem,
            },
            claims: from.claims,
            shown: from.shown.into(),
            signed: from.signed.rfc3339(),
            source_state: from.source_state.map(Into::into),
            form: from.form.as_str(),
            raw: Some(from.body).filter(|body| !body.is_empty()),
        }
    }
}

/// The evidence as a bundle. What was taken could be read then; should that change, the bytes are served all the same.
fn as_bundle(from: &AttestationDetail) -> Option<Value> {
    if from.body.is_empty() {
        return None;
    }
    let bytes = match from.form {
        AttestationForm::Bundle => Ok(from.body.as_bytes().to_vec()),
        AttestationForm::Pep740 => Attestation::parse(from.body.as_bytes(), &Limits::default())
            .map(|attestation| attestation.to_bundle().raw().to_vec())
            .map_err(|refusal| refusal.to_string()),
    };
    let value = bytes.and_then(|bytes| {
        serde_json::from_slice(&bytes).map_err(|error: serde_json::Error| error.to_string())
    });
    match value {
        Ok(value) => Some(value),
        Err(why) => {
            tracing::error!(
                digest = from.digest,
                why,
                "a stored attestation can not be read"
            );
            None
        }
    }
}

impl FileView {
    fn of(site: &Site, from: FileProvenance) -> Self {
        Self {
            purl: from.purl,
            ecosystem: from.ecosystem.to_string(),
            project: from.project,
            version: from.version,
            filename: from.filename,
            sha256: from.sha256,
            level: from.level.map(TrustLevel::as_str),
            source: from.source.map(Into::into),
            attestations: from
                .attestations
                .into_iter()
                .map(|one| AttestationView::of(site, one))
                .collect(),
        }
    }
}

fn files(site: &Site, found: Vec<FileProvenance>, total: usize, offset: usize) -> FilesProvenance {
    FilesProvenance {
        files: found
            .into_iter()
            .map(|file| FileView::of(site, file))
            .collect(),
        total,
        offset,
    }
}

/// An answer with an entity tag, which caches keep for seconds: what is withheld must go soon.
fn tagged(site: &Site, body: &impl Serialize, method: &Method, headers: &HeaderMap) -> Answer {
    let bytes = serde_json::to_vec(body).map_err(|error| {
        Refusal::problem(Error::internal(
            "an answer could not be written as JSON",
            error,
        ))
    })?;
    let etag = format!("\"{}\"", &Sha256::of(&bytes).to_hex()[..32]);
    let answer = Stored {
        bytes: Bytes::from(bytes),
        etag: &etag,
        content_type: HeaderValue::from_static("application/json"),
        keep: Keep::Seconds,
        negotiated: false,
        public: site.is_public(),
    }
    .answer(method, headers);
    Ok(answer.map(Body::from))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Part {
    /// Number of the first file of a release, from 0.
    #[serde(default)]
    offset: usize,
    /// Files of a release, at most 50; 20 where it is left out.
    limit: Option<usize>,
}

fn purl_refused(text: &str, why: &str) -> Refusal {
    let error = Error::new(
        Kind::Rejected,
        "purl-invalid",
        format!("{} does not name a release or a file: {why}.", shown(text)),
    );
    Refusal::problem(error.remedy(
        "Write pkg:pypi/NAME@VERSION or pkg:pypi/NAME@VERSION?file_name=FILE, percent-encoded as one part of the path.",
    ))
}

/// What is known of how a release's files, or one file, were built
///
/// With each attestation as a Sigstore bundle and as received, and what this registry found of it. Files without
/// attestations of their uploader are listed too.
#[utoipa::path(get, path = "/api/v1/attestations/{purl}", tag = "provenance",
    params(("purl" = String, Path, description = "`pkg:pypi/NAME@VERSION` or `pkg:pypi/NAME@VERSION?file_name=FILE`, percent-encoded"), Part),
    responses((status = OK, body = FilesProvenance), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn of_purl(
    State(site): State<Site>,
    Path(text): Path<String>,
    part: Result<Query<Part>, QueryRejection>,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    let Query(part) = part.map_err(|rejection| query_refused(&rejection))?;
    let named = purl::parse(&text).map_err(Refusal::problem)?;
    let Some(version) = &named.version else {
        return Err(purl_refused(&text, "it has no version"));
    };
    let answer = if let Some(filename) = &named.filename {
        let purl = purl::file_purl(named.ecosystem, &named.name_key, version, filename);
        let found = site
            .registry
            .file_provenance(&purl)
            .await
            .map_err(Refusal::problem)?;
        files(&site, vec![found], 1, 0)
    } else {
        let limit = part.limit.unwrap_or(FILES).clamp(1, MOST_FILES);
        let (found, total) = site
            .registry
            .release_provenance_part(
                named.ecosystem,
                named.name_key.as_str(),
                version,
                part.offset,
                limit,
            )
            .await
            .map_err(Refusal::problem)?;
        files(&site, found, total, part.offset)
    };
    let mut response = tagged(&site, &answer, &method, &headers)?;
    response.extensions_mut().insert(Noted {
        ecosystem: Some(named.ecosystem.as_str()),
        project: Some(named.name_key.as_str().to_owned()),
        ..Noted::default()
    });
    Ok(response)
}

/// Digests of files.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Digests {
    /// SHA-256 in lower-case hex, at most 100.
    sha256: Vec<String>,
}

/// The same by the files' digests, at most 100 at a time; those that are not here are left out
#[utoipa::path(post, path = "/api/v1/attestations/by-digest", tag = "provenance", request_body = Digests,
    responses((status = OK, body = FilesProvenance), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn by_digest(State(site): State<Site>, content: Body) -> Answer {
    let Digests { sha256 } = body(content).await?;
    let digests: Vec<Sha256> = sha256
        .iter()
        .map(|text| digest(text))
        .collect::<Result<_, _>>()?;
    let found = site
        .registry
        .provenance_by_digest(&digests)
        .await
        .map_err(Refusal::problem)?;
    let total = found.len();
    super::json(&site, &files(&site, found, total, 0))
}

fn digest(text: &str) -> Result<Sha256, Refusal> {
    text.parse().map_err(|_| {
        let error = Error::new(
            Kind::Rejected,
            "digest-invalid",
            format!("{} is not a SHA-256 in hexadecimal digits.", shown(text)),
        );
        Refusal::problem(error.remedy("Give 64 digits of 0-9 and a-f."))
    })
}

/// An attestation's bytes, exactly as they were received, by their own SHA-256
#[utoipa::path(get, path = "/api/v1/attestations/by-digest/{sha256}", tag = "provenance",
    params(("sha256" = String, Path, description = "As in the log's leaf")),
    responses((status = OK, description = "The attestation", body = String, content_type = "application/json"), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn bytes(
    State(site): State<Site>,
    Path(text): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Answer {
    let document = site
        .registry
        .attestation_bytes(&digest(&text)?)
        .await
        .map_err(Refusal::problem)?;
    let answer = Stored {
        bytes: document.bytes,
        etag: &document.etag,
        content_type: HeaderValue::from_static("application/json"),
        keep: Keep::Minutes,
        negotiated: false,
        public: site.is_public(),
    }
    .answer(&method, &headers);
    Ok(answer.map(Body::from))
}

/// What came of adding attestations.
#[derive(Serialize, ToSchema)]
pub(super) struct AddedView {
    /// The file.
    purl: String,
    /// SHA-256 of each attestation that was sent, hex.
    digests: Vec<String>,
    /// Index of the leaf that names those which were new; null where all were here already.
    leaf: Option<u64>,
}

impl From<Added> for AddedView {
    fn from(added: Added) -> Self {
        Self {
            purl: added.purl,
            digests: added.digests,
            leaf: added.leaf,
        }
    }
}

/// Add attestations to a file that is here already: a JSON list, as the Python upload form has it
#[utoipa::path(post, path = "/api/v1/attestations/{purl}", tag = "provenance", security(("token" = [])),
    params(("purl" = String, Path, description = "`pkg:pypi/NAME@VERSION?file_name=FILE`, percent-encoded")),
    request_body(content = Vec<Object>, description = "PEP 740 attestations; their bytes are kept as they are sent", content_type = "application/json"),
    responses((status = CREATED, body = AddedView), (status = OK, body = AddedView, description = "All were here already"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn add(
    State(site): State<Site>,
    Path(text): Path<String>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let actor = site.actor(&headers).await.map_err(Refusal::problem)?;
    let named = purl::parse(&text).map_err(Refusal::problem)?;
    let (Some(version), Some(filename)) = (&named.version, &named.filename) else {
        return Err(purl_refused(&text, "it names no file"));
    };
    let purl = purl::file_purl(named.ecosystem, &named.name_key, version, filename);
    let list = whole(content, LONGEST_LIST)
        .await
        .map_err(Refusal::problem)?;
    let list = std::str::from_utf8(&list).map_err(|_| {
        let error = Error::new(
            Kind::Rejected,
            "attestation-malformed",
            "The attestations are not JSON: they hold bytes that are not UTF-8.",
        );
        Refusal::problem(error.remedy("Send them as they were made."))
    })?;
    let added = site
        .registry
        .add_attestations(&actor, &purl, list)
        .await
        .map_err(Refusal::problem)?;
    if added.digests.is_empty() {
        let error = Error::new(
            Kind::Rejected,
            "attestation-malformed",
            "No attestation was sent.",
        );
        return Err(Refusal::problem(
            error.remedy("Send a JSON list of one or two attestations."),
        ));
    }
    let status = match added.leaf {
        Some(_) => StatusCode::CREATED,
        None => StatusCode::OK,
    };
    let mut response = (status, super::json(&site, &AddedView::from(added))?).into_response();
    response.extensions_mut().insert(Noted {
        actor: Some(actor.name().to_owned()),
        ecosystem: Some(named.ecosystem.as_str()),
        project: Some(named.name_key.as_str().to_owned()),
        ..Noted::default()
    });
    Ok(response)
}
