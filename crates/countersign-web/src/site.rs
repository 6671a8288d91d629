//! What every handler shares.

use std::sync::Arc;

use countersign_registry::model::{Actor, Visibility};
use countersign_registry::{Kind, Registry, Result};
use http::HeaderMap;
use tokio::sync::Semaphore;

use crate::caller;
use crate::metering::Meters;
use crate::settings::FaceSettings;

/// The state of the router: the registry and what the face needs beside it. Cheap to clone.
#[derive(Clone)]
pub struct Site {
    /// The core.
    pub registry: Registry,
    /// How the face behaves.
    pub face: Arc<FaceSettings>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) upload_places: Arc<Semaphore>,
}

impl Site {
    pub(crate) fn new(registry: Registry, face: FaceSettings) -> Self {
        let upload_places = Arc::new(Semaphore::new(
            face.max_uploads.clamp(1, Semaphore::MAX_PERMITS),
        ));
        Self {
            registry,
            face: Arc::new(face),
            meters: Arc::new(Meters::new()),
            upload_places,
        }
    }

    /// The public base URL without a trailing slash.
    pub fn url(&self) -> &str {
        self.registry.settings().site()
    }

    /// Whether everyone may read.
    pub fn is_public(&self) -> bool {
        self.registry.settings().visibility == Visibility::Public
    }

    /// Who reads, having passed [`Registry::may_read`].
    ///
    /// On a public instance reading never fails for what a client sends along: pip and uv attach whatever a netrc
    /// holds for the host, so a credential that is unknown there makes the caller anonymous.
    /// On a restricted instance the caller must be known and allowed to read ([`Kind::Unauthenticated`],
    /// [`Kind::Denied`]).
    pub async fn viewer(&self, headers: &HeaderMap) -> Result<Actor> {
        let actor = match self.registry.authenticate(caller::presented(headers)).await {
            Err(error) if self.is_public() && error.kind == Kind::Unauthenticated => {
                Actor::anonymous()
            }
            outcome => outcome?,
        };
        self.registry.may_read(&actor)?;
        Ok(actor)
    }

    /// Who acts; credentials must be good, and there must be some.
    pub(crate) async fn actor(&self, headers: &HeaderMap) -> Result<Actor> {
        let presented = caller::presented(headers);
        if matches!(presented, countersign_registry::model::Presented::Nothing) {
            return Err(crate::error::credentials_missing());
        }
        self.registry.authenticate(presented).await
    }
}
