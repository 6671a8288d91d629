//! For registries elsewhere: appending to the log that is kept for them. The token of the service is the only credential.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use countersign_registry::model::Presented;
use countersign_registry::{Error, Kind, LogEntry};
use countersign_trust::digest::Sha256;
use countersign_trust::proof::TlogProof;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::Problem;
use super::{Answer, malformed};
use crate::body::whole;
use crate::caller;
use crate::error::Refusal;
use crate::site::Site;

/// Longest request, in bytes: a thousand of the longest entries in base64.
const LONGEST_BODY: usize = 8 << 20;

/// Entries to append.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EntriesBody {
    /// 1 to 1000, taken all or none.
    entries: Vec<EntryBody>,
    /// Wait until they are under a checkpoint, with the cosignatures that the log's policy asks for.
    #[serde(default = "yes")]
    wait: bool,
    /// How each is proved.
    #[serde(default)]
    proof: ProofForm,
}

fn yes() -> bool {
    true
}

/// Exactly one of `data` and `sha256`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EntryBody {
    /// Its bytes in base64: 1 to 4096.
    data: Option<String>,
    /// SHA-256 in hex of what is logged; the entry is then the text of docs/operating-log-service.md.
    sha256: Option<String>,
    /// What it is about, at most 1024 bytes; for logs in which an identifier stands for one digest for ever.
    identifier: Option<String>,
}

/// How an entry is proved.
#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq, ToSchema)]
#[serde(rename_all = "kebab-case")]
enum ProofForm {
    /// A whole tlog-proof file, to be checked offline.
    #[default]
    File,
    /// The hashes of the path only, in base64; the checkpoint stands once beside them.
    Hashes,
    /// Not at all: ask for it later.
    None,
}

/// Where entries are.
#[derive(Serialize, ToSchema)]
pub(super) struct Appended {
    /// The checkpoint that they are under; absent where nobody waited for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
    /// In the order in which they were sent.
    entries: Vec<AppendedEntry>,
}

/// Where an entry is.
#[derive(Serialize, ToSchema)]
struct AppendedEntry {
    /// Its index in the log, for ever.
    index: u64,
    /// Its Merkle leaf hash, hex.
    leaf_hash: String,
    /// It was there before.
    repeated: bool,
    /// A tlog-proof file.
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
    /// The path in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    hashes: Option<Vec<String>>,
}

/// The token that a request carries.
fn token(headers: &HeaderMap) -> Option<String> {
    match caller::presented(headers) {
        Presented::Token(token) => Some(token),
        _ => None,
    }
}

fn entry((position, body): (usize, EntryBody)) -> Result<LogEntry, Refusal> {
    let refuse = |why: &str| {
        let message = format!("Entry {position} {why}.");
        Refusal::problem(
            Error::new(Kind::Rejected, "log-entry-malformed", message)
                .remedy("Give `data` in base64, or `sha256` in hex."),
        )
    };
    match (body.data, body.sha256) {
        (Some(data), None) => Ok(LogEntry {
            data: STANDARD
                .decode(data)
                .map_err(|_| refuse("has `data` that is no base64"))?
                .into(),
            identifier: body.identifier,
        }),
        (None, Some(hex)) => {
            let digest: Sha256 = hex
                .parse()
                .map_err(|_| refuse("has a `sha256` that is no SHA-256 in lower-case hex"))?;
            LogEntry::of_digest(digest, body.identifier).map_err(Refusal::problem)
        }
        _ => Err(refuse("has not exactly one of `data` and `sha256`")),
    }
}

/// Append entries to the log that is kept for another registry
///
/// The token is that of `countersignd log service token`. The same bytes have the same index, however often they are sent. Without
/// an answer, or with a 503, send the same again.
#[utoipa::path(post, path = "/api/v1/service/log/entries", tag = "services", security(("token" = [])), request_body = EntriesBody,
    responses((status = OK, body = Appended), (status = ACCEPTED, body = Appended, description = "Durable, and not waited for"),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn append(State(site): State<Site>, headers: HeaderMap, content: Body) -> Answer {
    let registry = &site.registry;
    let desk = registry
        .log_service_desk(token(&headers).as_deref())
        .await
        .map_err(Refusal::problem)?;
    let bytes = whole(content, LONGEST_BODY)
        .await
        .map_err(Refusal::problem)?;
    let body: EntriesBody = serde_json::from_slice(&bytes).map_err(|error| {
        malformed(format!(
            "The request body is not the JSON that belongs here: {error}"
        ))
    })?;
    let entries: Vec<LogEntry> = body
        .entries
        .into_iter()
        .enumerate()
        .map(entry)
        .collect::<Result<_, _>>()?;
    let sent: Vec<Bytes> = entries.iter().map(|entry| entry.data.clone()).collect();
    let placed = registry
        .append_entries(&desk, entries)
        .await
        .map_err(Refusal::problem)?;
    let mut answer = Appended {
        checkpoint: None,
        entries: placed
            .iter()
            .map(|place| AppendedEntry {
                index: place.index,
                leaf_hash: place.hash.to_hex(),
                repeated: place.repeated,
                proof: None,
                hashes: None,
            })
            .collect(),
    };
    if !body.wait {
        return answered(StatusCode::ACCEPTED, &answer);
    }
    let indices: Vec<u64> = placed.iter().map(|place| place.index).collect();
    let (checkpoint, paths) = registry
        .shown_entries(&desk, &indices, body.proof != ProofForm::None)
        .await
        .map_err(Refusal::problem)?;
    let checkpoint = String::from_utf8_lossy(&checkpoint.bytes).into_owned();
    for ((entry, hashes), data) in answer.entries.iter_mut().zip(paths).zip(sent) {
        if body.proof == ProofForm::Hashes {
            entry.hashes = Some(hashes.iter().map(|hash| STANDARD.encode(hash.0)).collect());
            continue;
        }
        let proof = TlogProof {
            extra: Some(data.to_vec()),
            index: entry.index,
            hashes,
            checkpoint: checkpoint.clone(),
        };
        entry.proof = Some(proof.to_string());
    }
    answer.checkpoint = Some(checkpoint);
    answered(StatusCode::OK, &answer)
}

/// An identity token to judge.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExchangeBody {
    /// The identity token of a workflow.
    token: String,
    /// Only for this project; without it, for all that its workflow may publish.
    project: Option<String>,
}

/// Whom an identity token is of.
#[derive(Serialize, ToSchema)]
pub(super) struct Judged {
    /// The issuer.
    issuer: String,
    /// Projects that its workflow may publish; never empty.
    projects: Vec<String>,
    /// The publisher that it fits, in words.
    publisher: String,
    /// The claims that matter.
    claims: std::collections::BTreeMap<String, String>,
    /// When the identity token ends.
    expires: String,
}

/// What identity tokens for a service are to name.
#[derive(Serialize, ToSchema)]
pub(super) struct ServiceAudience {
    /// The audience.
    audience: String,
}

/// The audience that identity tokens for another registry must name
#[utoipa::path(get, path = "/api/v1/service/exchange", tag = "services", security(("token" = [])),
    responses((status = OK, body = ServiceAudience), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn audience(State(site): State<Site>, headers: HeaderMap) -> Answer {
    let desk = site
        .registry
        .exchange_service_desk(token(&headers).as_deref())
        .await
        .map_err(Refusal::problem)?;
    let audience = site.registry.service_audience(&desk);
    answered(StatusCode::OK, &ServiceAudience { audience })
}

/// Judge the identity token of a workflow for another registry
///
/// The token is that of `countersignd exchange token`. A refusal says claim by claim what differs. An identity token is good once.
#[utoipa::path(post, path = "/api/v1/service/exchange", tag = "services", security(("token" = [])), request_body = ExchangeBody,
    responses((status = OK, body = Judged), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn exchange(
    State(site): State<Site>,
    headers: HeaderMap,
    content: Body,
) -> Answer {
    let registry = &site.registry;
    let desk = registry
        .exchange_service_desk(token(&headers).as_deref())
        .await
        .map_err(Refusal::problem)?;
    let ExchangeBody { token, project } = super::secret_body(content).await?;
    let judged = registry
        .judge_for_service(&desk, &token, project.as_deref())
        .await
        .map_err(Refusal::problem)?;
    let answer = Judged {
        issuer: judged.issuer,
        projects: judged.projects,
        publisher: judged.publisher,
        claims: judged.claims,
        expires: judged.expires.rfc3339(),
    };
    answered(StatusCode::OK, &answer)
}

/// An answer for the holder of a service's token alone.
fn answered<T: Serialize>(status: StatusCode, answer: &T) -> Result<Response, Refusal> {
    let text = serde_json::to_vec(answer).map_err(|error| {
        Refusal::problem(Error::internal(
            "an answer could not be written as JSON",
            error,
        ))
    })?;
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    Ok((status, headers, text).into_response())
}
