//! The pages: rendered on the server, readable without JavaScript, the same for everybody who may read.
//!
//! Each page's view and handler stand in one file, its template beside it in `templates/`. Handlers take a
//! [`visit::Visit`], which exists only for those who may read. Foreign text is escaped by the templates; the one place
//! where foreign markup is let through, sanitised, is [`readme`].

mod account;
mod advisories;
mod approvals;
mod ask;
mod assessment;
mod assets;
mod cases;
mod failure;
mod guest;
mod help;
mod home;
mod incidents;
mod install;
mod leaked;
pub(crate) mod links;
mod log;
mod operator;
mod operator_advisories;
mod operator_incidents;
mod operator_names;
mod organisation;
mod origin;
mod phrase;
mod policies;
mod project;
mod provenance;
mod provenance_settings;
mod readme;
mod recovery;
mod refill;
mod release;
mod report;
#[cfg(test)]
mod samples;
mod search;
mod security;
mod settings;
mod sign_in;
mod source_health;
mod staged;
mod tokens;
mod visit;
mod words;

use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Extension, Router};
use http::{HeaderMap, Uri};

use crate::Site;
use crate::error::Refusal;
pub(crate) use phrase::size;
use visit::{PageCache, Visit};

/// The routes of all pages, of the style sheet and of `robots.txt`, with the cache of rendered pages behind them.
pub fn routes() -> Router<Site> {
    Router::new()
        .route("/", get(home::show))
        .route("/search", get(search::show))
        .route("/search/", get(slashless))
        .route("/project/{ecosystem}/{name}", get(slashed))
        .route("/project/{ecosystem}/{name}/", get(project::show))
        .route("/project/{ecosystem}/{name}/{version}", get(slashed))
        .route("/project/{ecosystem}/{name}/{version}/", get(release::show))
        .route("/log", get(slashed))
        .route("/log/", get(log::show))
        .route("/log/feed.atom", get(log::show_feed))
        .route("/log/event/{index}", get(log::show_event))
        .route("/log/event/{index}/", get(slashless))
        .route("/help", get(slashed))
        .route("/help/", get(help::show))
        .route("/help/publish", get(help::show_publish))
        .route("/help/publish/", get(slashless))
        .route("/help/verify", get(help::show_verify))
        .route("/help/verify/", get(slashless))
        .route(
            "/help/trusted-publishing",
            get(help::show_trusted_publishing),
        )
        .route("/help/trusted-publishing/", get(slashless))
        .route("/help/provenance", get(help::show_provenance))
        .route("/help/provenance/", get(slashless))
        .route("/help/errors", get(help::show_errors))
        .route("/help/errors/", get(slashless))
        .merge(account::routes())
        .merge(approvals::routes())
        .merge(assessment::routes())
        .merge(cases::routes())
        .merge(staged::routes())
        .merge(incidents::routes())
        .merge(leaked::routes())
        .merge(report::routes())
        .merge(operator::routes())
        .merge(operator_advisories::routes())
        .merge(operator_incidents::routes())
        .merge(operator_names::routes())
        .merge(organisation::routes())
        .merge(policies::routes())
        .merge(recovery::routes())
        .merge(security::routes())
        .merge(sign_in::routes())
        .merge(tokens::routes())
        .merge(settings::routes())
        .merge(provenance_settings::routes())
        .route("/robots.txt", get(assets::robots))
        .route("/static/{name}", get(assets::show))
        .layer(Extension(PageCache::new()))
}

/// Words an error for a browser: called by the pipeline when `response` tells `refusal` as text.
pub(crate) fn dress(
    response: &mut Response,
    site: &Site,
    asked: &HeaderMap,
    refusal: &Refusal,
    request_id: &str,
) {
    failure::dress(response, site, asked, refusal, request_id);
}

/// The same address with a slash at its end.
async fn slashed(visit: Visit, uri: Uri) -> Response {
    drop(visit);
    redirect(&format!("{}/", uri.path()), uri.query())
}

/// The same address without the slash at its end.
async fn slashless(visit: Visit, uri: Uri) -> Response {
    drop(visit);
    redirect(uri.path().trim_end_matches('/'), uri.query())
}

/// Moves within this site only: a path that begins with two slashes would name another host.
fn redirect(path: &str, query: Option<&str>) -> Response {
    let path = path.trim_start_matches('/');
    match query {
        Some(query) => Redirect::permanent(&format!("/{path}?{query}")).into_response(),
        None => Redirect::permanent(&format!("/{path}")).into_response(),
    }
}
