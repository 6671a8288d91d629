//! Refreshing trust roots through TUF.

use crate::Registry;
use crate::error::Result;
use crate::model::{Actor, TrustRootSummary};
use crate::policy;

/// Where a built-in root is refreshed from.
pub(super) fn builtin_repository(name: &str) -> Option<&'static str> {
    match name {
        "public-good" => Some("https://tuf-repo-cdn.sigstore.dev"),
        "github" => Some("https://tuf-repo.github.com"),
        _ => None,
    }
}

impl Registry {
    /// Refreshes the roots that have a TUF repository. Those that fail say so in their `problem`.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn refresh_trust_roots(&self, actor: &Actor) -> Result<Vec<TrustRootSummary>> {
        policy::may_operate(actor, "refresh the trust roots")?;
        self.trust_roots().await
    }
}
