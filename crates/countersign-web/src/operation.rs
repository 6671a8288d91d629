//! What operators and programs ask about the instance itself: health, metrics, well-known files.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use countersign_registry::model::{Time, Visibility};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde_json::json;

use crate::error::{Refusal, no_such_page};
use crate::site::Site;

/// How long a `security.txt` is good for; RFC 9116 advises less than a year.
const SECURITY_TXT_DAYS: i64 = 180;

pub(crate) fn routes() -> Router<Site> {
    Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .route("/.well-known/security.txt", get(security))
        .route("/.well-known/countersign.json", get(countersign))
        .route("/help/provenance/policy.md", get(provenance_policy))
}

/// 200 when publishing works, else 503, with what is wrong. On a restricted instance the details are for those who
/// may read; everybody else, such as a load balancer, learns whether it works.
async fn health(State(site): State<Site>, headers: HeaderMap) -> Response {
    let health = site.registry.health().await;
    let status = if health.ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if !site.is_public() && site.viewer(&headers).await.is_err() {
        return (
            status,
            [(CACHE_CONTROL, "no-store")],
            Json(json!({ "ok": health.ok })),
        )
            .into_response();
    }
    let standing = site.registry.standing_service_logs().await;
    let feeds = site.registry.advisory_feeds().await.unwrap_or_default();
    let refused = site.registry.advisory_problems().await.unwrap_or_default();
    let now = site.registry.now();
    let troubles = site.registry.troubles().await.unwrap_or_default();
    let body = json!({
        "ok": health.ok,
        // What an operator stopped is no fault of this server: it serves as before.
        "frozen": {
            "registry": troubles.standstill.map(|stop| json!({
                "reason": stop.reason,
                "since": stop.since.rfc3339(),
            })),
            "organisations": troubles.organisations,
            "projects": troubles.projects,
            "accounts": troubles.accounts,
        },
        "incidents_open": troubles.incidents,
        "advisories": feeds.iter().map(|feed| json!({
            "feed": feed.name,
            "records": feed.records,
            "imported": feed.imported.rfc3339(),
            "age_seconds": (now.seconds() - feed.imported.seconds()).max(0),
        })).collect::<Vec<_>>(),
        // What was imported before still counts.
        "advisories_refused": refused.iter().map(|one| json!({
            "feed": one.feed,
            "problem": one.problem,
            "since": one.since.rfc3339(),
        })).collect::<Vec<_>>(),
        "problems": health.problems,
        "log_size": health.log_size,
        "log_backlog": health.log_backlog,
        "checkpoint_signed": health.checkpoint_signed.map(Time::rfc3339),
        "witnesses": health.witnesses.iter().map(|witness| json!({
            "name": witness.name,
            "url": witness.url,
            "size": witness.size,
            "cosigned": witness.cosigned.map(Time::rfc3339),
            "problem": witness.problem,
        })).collect::<Vec<_>>(),
        // They hold up nobody else, so they are no reason to take this server out of service.
        "service_logs": standing.iter().map(|(name, problem)| json!({"name": name, "problem": problem})).collect::<Vec<_>>(),
    });
    (status, [(CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

async fn metrics(State(site): State<Site>) -> Response {
    // Where the database fails, the rest is worth all the more.
    let logs = site.registry.log_services().await.unwrap_or_default();
    let text = site.meters.render(&site.registry.health().await, &logs);
    (
        [
            (CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
        ],
        text,
    )
        .into_response()
}

async fn security(State(site): State<Site>, uri: Uri) -> Result<Response, Refusal> {
    if site.face.security_contact.is_empty() {
        return Err(Refusal::text(
            no_such_page(uri.path()).remedy("The operator has set no security contact."),
        ));
    }
    let more = &site.face.security_txt;
    let expires = match more.expires {
        Some(day) => format!("{day}T00:00:00Z"),
        None => {
            let today = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs() / 86_400);
            let last = (i64::try_from(today).unwrap_or(0) + SECURITY_TXT_DAYS) * 86_400;
            Time(0).plus_seconds(last).rfc3339().replace(".000000", "")
        }
    };
    let policy = format!("{}/policies/vulnerability-disclosure", site.url());
    let canonical = format!("{}{}", site.url(), uri.path());
    let languages = more.languages.join(", ");
    let contacts = site.face.security_contact.iter().map(|it| ("Contact", it));
    let fields = contacts
        .chain([("Expires", &expires)])
        .chain(more.encryption.iter().map(|it| ("Encryption", it)))
        .chain(
            more.acknowledgments
                .iter()
                .map(|it| ("Acknowledgments", it)),
        )
        .chain([
            ("Preferred-Languages", &languages),
            ("Policy", &policy),
            ("Canonical", &canonical),
        ]);
    let mut text = String::new();
    for (name, value) in fields {
        // A line end in the configuration must not write further fields.
        text.push_str(&format!(
            "{name}: {}\n",
            value.replace(['\r', '\n'], " ").trim()
        ));
    }
    Ok((
        [
            (CONTENT_TYPE, "text/plain; charset=utf-8"),
            (CACHE_CONTROL, "max-age=3600"),
        ],
        text,
    )
        .into_response())
}

/// What the registry asks of provenance, to the letter: its summaries name this text by its digest.
async fn provenance_policy(State(site): State<Site>) -> Response {
    (
        [
            (CONTENT_TYPE, "text/markdown; charset=utf-8"),
            (CACHE_CONTROL, "max-age=3600"),
        ],
        site.registry.provenance_policy(),
    )
        .into_response()
}

/// What clients and monitors need to begin: the log's origin and keys, and where everything is.
async fn countersign(State(site): State<Site>) -> Response {
    let keys = site.registry.site_keys();
    let url = site.url();
    let earlier: Vec<_> = keys
        .earlier
        .iter()
        .map(|(path, origin)| json!({"origin": origin, "url": format!("{url}{path}")}))
        .collect();
    // Before the first file, where no key can be made, there is none to name; `doctor` says so.
    let signers = site
        .registry
        .attestation_keys()
        .await
        .unwrap_or_else(|error| {
            tracing::warn!(%error, "the keys of attestations can not be named");
            Vec::new()
        });
    let signers: Vec<_> = signers
        .into_iter()
        .map(|key| {
            json!({
                "hint": key.hint,
                "pem": key.pem,
                "since": key.since.rfc3339(),
                "until": key.until.map(Time::rfc3339),
            })
        })
        .collect();
    let tuf = site.registry.tuf_trust().await;
    let tuf = tuf.map_err(|error| {
        tracing::warn!(%error, "the roots of TUF can not be named");
    });
    let body = json!({
        "format": "countersign/v1",
        "version": env!("CARGO_PKG_VERSION"),
        "url": url,
        "visibility": site.registry.settings().visibility,
        "log": {
            "origin": keys.origin,
            "verifier_keys": keys.verifier_keys,
            "url": format!("{url}{}", keys.log_path),
            // A tlog-policy file: which witnesses must have cosigned what this log shows.
            "policy": keys.policy,
            // Closed logs that this one goes on from, whose proofs stay good.
            "earlier": earlier,
        },
        // What the registry attests itself is signed with the one that has no end.
        "attestation_keys": signers,
        // Where a client of TUF begins, and whether its keys lie with the server.
        "tuf": tuf.ok(),
        "policies": site.face.policies.all().iter().map(|policy| json!({
            "name": policy.name,
            "title": policy.title,
            "url": format!("{url}/policies/{}", policy.name),
            "reviewed": policy.reviewed.map(|day| day.to_string()),
        })).collect::<Vec<_>>(),
        "endpoints": {
            "pypi": {
                "index": format!("{url}/pypi/simple/"),
                "upload": format!("{url}/pypi/legacy/"),
                "json": format!("{url}/pypi/{{project}}/json"),
            },
            "trusted_publishing": format!("{url}/.well-known/pytp?discover={{upload_path}}"),
            "files": format!("{url}/files/{{sha256}}/{{filename}}"),
            "api": format!("{url}/api/v1/"),
            "openapi": format!("{url}/api/v1/openapi.json"),
            "health": format!("{url}/healthz"),
            "metrics": format!("{url}/metrics"),
            "errors": format!("{url}/help/errors"),
        },
    });
    let keep = HeaderValue::from_static(match site.registry.settings().visibility {
        Visibility::Public => "max-age=300, public",
        Visibility::Restricted => "max-age=300, private",
    });
    ([(CACHE_CONTROL, keep)], Json(body)).into_response()
}
