//! The dialects of the clients.

pub(crate) mod cargo;
pub(crate) mod files;
mod log;
mod log_service;
mod multipart;
pub(crate) mod npm;
mod npm_trust;
mod oidc;
mod osv;
pub(crate) mod pypi;
mod pypi_upload;
mod tuf;
mod tuf_service;

use axum::Router;

use crate::site::Site;

/// All routes of the protocols.
pub(crate) fn routes() -> Router<Site> {
    Router::new()
        .merge(pypi::routes())
        .merge(pypi_upload::routes())
        .merge(files::routes())
        .merge(log::routes())
        .merge(log_service::routes())
        .merge(oidc::routes())
        .merge(osv::routes())
        .merge(npm::routes())
        .merge(cargo::routes())
        .merge(tuf_service::routes())
        .merge(tuf::routes())
}
