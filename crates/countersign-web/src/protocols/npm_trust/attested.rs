//! The attestations of a version, in npm's shape.

use axum::response::Response;
use countersign_formats::npm::name::PackageName;

use crate::error::{Refusal, no_such_page};
use crate::site::Site;

pub(super) async fn serve(
    _site: &Site,
    name: &PackageName,
    version: &str,
) -> Result<Response, Refusal> {
    Err(Refusal::npm(no_such_page(&format!("{name}@{version}"))))
}
