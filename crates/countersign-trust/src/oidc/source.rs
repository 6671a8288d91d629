//! Which source a release was built from, and which links are that source.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Provider;

/// Where a file was built, as its publisher's claims say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The CI system.
    pub provider: Provider,
    /// The repository: an `https` URL.
    pub repository: String,
    /// The commit.
    pub commit: Option<String>,
    /// The ref, as `refs/tags/v1` or `main`.
    pub reference: Option<String>,
    /// The workflow file.
    pub workflow: Option<String>,
    /// The run: an `https` URL.
    pub run: Option<String>,
    /// The deployment environment.
    pub environment: Option<String>,
}

/// Reads the source from a claims snapshot.
pub fn source(
    _provider: Provider,
    _issuer: &str,
    _claims: &BTreeMap<String, String>,
) -> Option<Source> {
    None
}

impl Source {
    /// Whether a link is that repository, or below it.
    pub fn verifies(&self, _link: &str) -> bool {
        false
    }
}
