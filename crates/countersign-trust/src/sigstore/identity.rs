//! The certificate held against the publisher, and what the build wrote held against the certificate.

use std::collections::BTreeMap;

use super::{Claims, Refusal, Statement, Step};
use crate::oidc::{Difference, Registration};

/// Holds a certificate against the publisher that minted the upload's token, claim by claim. `token` is what that
/// token said (`oidc::snapshot`); `pinned` the ids that were pinned for the publisher, by the claims that carry them.
///
/// # Errors
///
/// At [`Step::Identity`], with every row that was compared.
pub fn compare(
    claims: &Claims,
    registration: &Registration,
    pinned: &BTreeMap<String, String>,
    token: Option<&BTreeMap<String, String>>,
) -> Result<Vec<Difference>, Refusal> {
    let _ = (claims, registration, pinned, token);
    Err(Refusal::new(Step::Identity, "not yet compared"))
}

/// Holds what the build wrote against the certificate.
///
/// # Errors
///
/// At [`Step::CrossCheck`], with every row that was compared.
pub fn cross_check(statement: &Statement, claims: &Claims) -> Result<Vec<Difference>, Refusal> {
    let _ = (statement, claims);
    Err(Refusal::new(Step::CrossCheck, "not yet compared"))
}
