//! RSTUF's API, for registries elsewhere whose artifacts are signed here (`docs/operating-tuf-service.md`): below
//! `/service/tuf/NAME/`, so that RSTUF's command-line tool works with `--api-server URL/service/tuf/NAME`. Every call takes
//! the service's token; the metadata is everybody's.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use countersign_registry::model::Presented;
use countersign_registry::{Error, Kind, ServiceDesk, ServiceTask};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::tuf::metadata_served;
use crate::answer::Keep;
use crate::body::whole;
use crate::caller;
use crate::error::{Refusal, status_of};
use crate::site::Site;

/// The longest request, in bytes: some ten thousand artifacts.
const LONGEST_BODY: usize = 16 << 20;

pub(super) fn routes() -> Router<Site> {
    // The tool writes some of these addresses with a slash at the end, others without.
    let api = Router::new()
        .route("/bootstrap", get(bootstrap_state).post(bootstrap))
        .route("/config", get(config).put(configure))
        .route("/artifacts", post(add))
        .route("/artifacts/delete", post(remove))
        .route("/artifacts/publish", post(publish))
        .route("/metadata", post(update))
        .route("/metadata/online", post(renew))
        .route("/metadata/sign", get(pending).post(sign))
        .route("/metadata/sign/delete", post(stop))
        .route("/delegations", post(delegate).put(redelegate))
        .route("/delegations/delete", post(undelegate))
        .route("/task", get(task));
    let slashed = Router::new()
        .route("/bootstrap/", get(bootstrap_state).post(bootstrap))
        .route("/config/", get(config).put(configure))
        .route("/artifacts/", post(add))
        .route("/artifacts/delete/", post(remove))
        .route("/artifacts/publish/", post(publish))
        .route("/metadata/", post(update))
        .route("/metadata/online/", post(renew))
        .route("/metadata/sign/", get(pending).post(sign))
        .route("/metadata/sign/delete/", post(stop))
        .route("/delegations/", post(delegate).put(redelegate))
        .route("/delegations/delete/", post(undelegate))
        .route("/task/", get(task));
    Router::new()
        .nest("/service/tuf/{name}/api/v1", api.merge(slashed))
        .route("/service/tuf/{name}/metadata/{file}", get(metadata))
}

/// A refusal as RSTUF words one: `detail.error`.
struct Answer(Error);

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = match status_of(&self.0) {
            // What is wrong in a request is 422 with RSTUF.
            StatusCode::BAD_REQUEST => StatusCode::UNPROCESSABLE_ENTITY,
            status => status,
        };
        if self.0.kind == Kind::Internal {
            tracing::error!(target: "countersign", error = ?self.0, "a request to a TUF service failed");
        }
        let body = json!({"detail": {
            "error": self.0.message, "code": self.0.code, "remedy": self.0.remedy,
        }});
        let mut response = (status, Json(body)).into_response();
        keep_nowhere(&mut response);
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

fn keep_nowhere(response: &mut Response) {
    let none = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, none);
}

type Answered = Result<Response, Answer>;

/// A call by who holds the service's token.
struct Call {
    site: Site,
    desk: ServiceDesk,
}

impl FromRequestParts<Site> for Call {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Response> {
        let Path(name) = Path::<String>::from_request_parts(parts, site)
            .await
            .map_err(IntoResponse::into_response)?;
        let token = match caller::presented(&parts.headers) {
            Presented::Token(token) => Some(token),
            _ => None,
        };
        match site
            .registry
            .tuf_service_desk(&name, token.as_deref())
            .await
        {
            Ok(desk) => Ok(Self {
                site: site.clone(),
                desk,
            }),
            Err(error) => Err(Answer(error).into_response()),
        }
    }
}

/// Such a call with its body, of which nothing is read before the token is good.
struct Sent {
    site: Site,
    desk: ServiceDesk,
    body: Bytes,
}

impl FromRequest<Site> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, site: &Site) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let Call { site, desk } = Call::from_request_parts(&mut parts, site).await?;
        match whole(body, LONGEST_BODY).await {
            Ok(body) => Ok(Self { site, desk, body }),
            Err(error) => Err(Answer(error).into_response()),
        }
    }
}

fn ok(data: &Value, message: &str) -> Response {
    let mut response = Json(json!({"data": data, "message": message})).into_response();
    keep_nowhere(&mut response);
    response
}

fn accepted(task: &ServiceTask, more: Option<(&str, Value)>, message: &str) -> Response {
    let mut data = json!({"task_id": task.id, "last_update": countersign_trust::tuf::format_time(task.at.seconds())});
    if let Some((name, value)) = more {
        data[name] = value;
    }
    let mut response = ok(&data, message);
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

async fn bootstrap_state(Call { site, desk }: Call) -> Answered {
    let (state, task) = site.registry.tuf_service_bootstrap_state(&desk).await?;
    let message = match state.as_str() {
        "none" => "System available for bootstrap.",
        "signing" => "System LOCKED for bootstrap: the root waits for signatures.",
        _ => "System LOCKED for bootstrap.",
    };
    let data = json!({"bootstrap": state != "none", "state": state, "id": task});
    Ok(ok(&data, message))
}

async fn bootstrap(Sent { site, desk, body }: Sent) -> Answered {
    let task = site.registry.bootstrap_tuf_service(&desk, &body).await?;
    Ok(accepted(&task, None, "Bootstrap accepted."))
}

async fn config(Call { site, desk }: Call) -> Answered {
    let config = site.registry.tuf_service_config(&desk).await?;
    Ok(ok(&config, "Current Settings"))
}

async fn configure(Sent { site, desk, body }: Sent) -> Answered {
    let task = site.registry.configure_tuf_service(&desk, &body).await?;
    Ok(accepted(&task, None, "Settings successfully submitted."))
}

async fn add(Sent { site, desk, body }: Sent) -> Answered {
    let (task, paths) = site.registry.add_tuf_artifacts(&desk, &body).await?;
    let more = Some(("artifacts", json!(paths)));
    Ok(accepted(
        &task,
        more,
        "New Artifact(s) successfully submitted.",
    ))
}

async fn remove(Sent { site, desk, body }: Sent) -> Answered {
    let (task, paths) = site.registry.remove_tuf_artifacts(&desk, &body).await?;
    let more = Some(("artifacts", json!(paths)));
    Ok(accepted(
        &task,
        more,
        "Remove Artifact(s) successfully submitted.",
    ))
}

async fn publish(Call { site, desk }: Call) -> Answered {
    let task = site.registry.publish_tuf_artifacts(&desk).await?;
    Ok(accepted(
        &task,
        None,
        "Publish artifacts successfully submitted.",
    ))
}

async fn update(Sent { site, desk, body }: Sent) -> Answered {
    let task = site.registry.update_tuf_service_root(&desk, &body).await?;
    Ok(accepted(&task, None, "Metadata update accepted."))
}

async fn renew(Sent { site, desk, body }: Sent) -> Answered {
    let task = site.registry.renew_tuf_service(&desk, &body).await?;
    Ok(accepted(
        &task,
        None,
        "Force online metadata update accepted.",
    ))
}

async fn pending(Call { site, desk }: Call) -> Answered {
    let pending = site.registry.tuf_service_pending(&desk).await?;
    let none = pending["metadata"]
        .as_object()
        .is_none_or(|all| all.is_empty());
    Ok(ok(
        &pending,
        if none {
            "No metadata pending signing available"
        } else {
            "Metadata role(s) pending signing"
        },
    ))
}

async fn sign(Sent { site, desk, body }: Sent) -> Answered {
    let task = site.registry.sign_tuf_service(&desk, &body).await?;
    Ok(accepted(&task, None, "Metadata sign accepted."))
}

async fn stop(Sent { site, desk, body }: Sent) -> Answered {
    let task = site.registry.drop_tuf_service_pending(&desk, &body).await?;
    Ok(accepted(&task, None, "Metadata sign delete accepted."))
}

async fn delegate(Sent { site, desk, body }: Sent) -> Answered {
    let task = site
        .registry
        .delegate_tuf_service(&desk, &body, false)
        .await?;
    Ok(accepted(&task, None, "New Metadata accepted."))
}

async fn redelegate(Sent { site, desk, body }: Sent) -> Answered {
    let task = site
        .registry
        .delegate_tuf_service(&desk, &body, true)
        .await?;
    Ok(accepted(
        &task,
        None,
        "Metadata delegation update accepted.",
    ))
}

async fn undelegate(Sent { site, desk, body }: Sent) -> Answered {
    let task = site.registry.undelegate_tuf_service(&desk, &body).await?;
    Ok(accepted(
        &task,
        None,
        "Metadata delegation delete accepted.",
    ))
}

#[derive(Deserialize)]
struct Asked {
    task_id: String,
}

async fn task(Call { site, desk }: Call, Query(asked): Query<Asked>) -> Answered {
    let task = site
        .registry
        .tuf_service_task(&desk, &asked.task_id)
        .await?;
    Ok(ok(&task, "Task state."))
}

async fn metadata(
    State(site): State<Site>,
    Path((name, file)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let repository = format!("service/{name}");
    let found = site.registry.tuf_file(&repository, &file).await;
    let document = found.map_err(Refusal::text)?;
    let keep = if file == "timestamp.json" {
        Keep::Asking
    } else {
        Keep::Forever
    };
    metadata_served(&site, document, keep, &method, &headers).await
}
