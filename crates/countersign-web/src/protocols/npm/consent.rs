//! What takes more than a token: consent of the token's owner, for one request.

use countersign_registry::Wanted;
use countersign_registry::model::Actor;

use super::Call;
use crate::error::Refusal;

/// A request that may take its owner's consent: who makes it, and what it does in words that are compared to the letter.
pub(super) struct Request {
    pub(super) actor: Actor,
}

impl Request {
    /// A request that takes no consent.
    pub(super) fn plain(actor: Actor) -> Self {
        Self { actor }
    }

    /// Reads who asks.
    pub(super) async fn of(call: &Call<'_>, wanted: Wanted) -> Result<Self, Refusal> {
        let _ = wanted;
        Ok(Self {
            actor: call.actor().await?,
        })
    }

    /// What came of the request.
    pub(super) async fn told<T>(
        &self,
        outcome: countersign_registry::Result<T>,
    ) -> Result<T, Refusal> {
        outcome.map_err(Refusal::npm)
    }
}
