//! Letting a program in by a browser elsewhere, for `countersign login` on a machine without one.

use axum::body::Body;
use axum::extract::{Extension, State};
use countersign_registry::model::{Action, CallerOrigin};
use countersign_registry::{DeviceProgress, Error, Kind};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::view::Problem;
use super::{Answer, body, json, kept_by_nobody, secret_body};
use crate::error::Refusal;
use crate::site::Site;

/// A program that wants to be let in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginBody {
    /// What it calls itself; the person at the browser is shown it.
    client: String,
    /// What its token is to be good for: `read`, `publish` or `manage` (the default).
    #[serde(default = "manage")]
    action: String,
}

fn manage() -> String {
    Action::Manage.as_str().to_owned()
}

/// What the program is told.
#[derive(Serialize, ToSchema)]
pub(super) struct Login {
    /// The program's secret. It becomes its token when somebody says yes.
    device_code: String,
    /// What the program shows.
    user_code: String,
    /// Where a person says yes; it holds the code.
    url: String,
    /// Seconds to wait between questions.
    interval: u32,
    /// When all this ends, RFC 3339.
    expires: String,
}

/// How far it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PollBody {
    /// The program's secret.
    device_code: String,
}

/// The program is let in.
#[derive(Serialize, ToSchema)]
pub(super) struct Granted {
    /// `granted`, or `waiting` with status 202 and nothing else.
    status: &'static str,
    /// The token: the program's own secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// When it ends, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

/// Ask to be let in by a browser elsewhere
#[utoipa::path(post, path = "/api/v1/login", tag = "account",
    request_body = LoginBody,
    responses((status = CREATED, body = Login), (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn begin(
    State(site): State<Site>,
    Extension(origin): Extension<CallerOrigin>,
    content: Body,
) -> Answer {
    let LoginBody { client, action } = body(content).await?;
    let action = action.parse::<Action>().map_err(|why| {
        Refusal::problem(Error::new(
            Kind::Rejected,
            "json-malformed",
            format!("{why}."),
        ))
    })?;
    let login = site
        .registry
        .begin_device(&client, action, &origin)
        .await
        .map_err(Refusal::problem)?;
    let answer = json(
        &site,
        &Login {
            device_code: login.device_code,
            user_code: login.user_code,
            url: format!("{}{}", site.url(), login.path),
            interval: login.interval,
            expires: login.expires.rfc3339(),
        },
    )?;
    Ok(kept_by_nobody(StatusCode::CREATED, answer))
}

/// Ask how far it is: 202 while nobody has decided, 200 with the token, 403 when the answer was no
#[utoipa::path(post, path = "/api/v1/login/poll", tag = "account",
    request_body = PollBody,
    responses((status = OK, body = Granted), (status = ACCEPTED, body = Granted),
        (status = "default", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn poll(State(site): State<Site>, content: Body) -> Answer {
    let PollBody { device_code } = secret_body(content).await?;
    let progress = site
        .registry
        .device_progress(&device_code)
        .await
        .map_err(Refusal::problem)?;
    let (status, granted) = match progress {
        DeviceProgress::Waiting => (
            StatusCode::ACCEPTED,
            Granted {
                status: "waiting",
                token: None,
                user: None,
                expires: None,
            },
        ),
        DeviceProgress::Granted { user, expires } => (
            StatusCode::OK,
            Granted {
                status: "granted",
                token: Some(device_code),
                user: Some(user),
                expires: expires.map(|at| at.rfc3339()),
            },
        ),
    };
    Ok(kept_by_nobody(status, json(&site, &granted)?))
}
