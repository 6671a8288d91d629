//! What every handler shares.

use std::sync::Arc;

use countersign_formats::{Ecosystem, NameKey};
use countersign_registry::model::{Actor, Visibility};
use countersign_registry::{Error, Kind, Registry, Result};
use http::{HeaderMap, Method};
use tokio::sync::Semaphore;

use crate::caller;
use crate::metering::Meters;
use crate::session;
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

    /// An error on the way to a project that an installer asked for by its name: what does not exist is counted.
    pub(crate) fn missing(&self, ecosystem: Ecosystem, key: &NameKey, error: Error) -> Error {
        if error.code == "project-unknown" {
            self.registry.note_missing_name(ecosystem, key.as_str());
        }
        error
    }

    /// The public base URL without a trailing slash.
    pub fn url(&self) -> &str {
        self.registry.settings().site()
    }

    /// Whether browsers reach it by TLS only.
    pub(crate) fn is_secure(&self) -> bool {
        self.registry.settings().url.scheme() == "https"
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
        let presented = session::presented(&Method::GET, headers, self.is_secure())?;
        let authenticated = self
            .registry
            .authenticate_from(presented, caller::address())
            .await;
        let actor = match authenticated {
            Err(error)
                if self.is_public()
                    && (error.kind == Kind::Unauthenticated || error.code == "token-network") =>
            {
                Actor::anonymous()
            }
            outcome => outcome?,
        };
        self.registry.may_read(&actor)?;
        Ok(actor)
    }

    /// Who reads by an ecosystem's own client, which has one token for a registry and reads with the one that it
    /// publishes with.
    pub(crate) async fn client(&self, headers: &HeaderMap, ecosystem: Ecosystem) -> Result<Actor> {
        let actor = self.actor(headers).await?;
        self.registry.may_read_as_client(&actor, ecosystem)?;
        Ok(actor)
    }

    /// Who acts; credentials must be good, and there must be some. What rests on a browser's cookie alone must also
    /// carry the token of our forms, whatever the method: scripts of ours send it always.
    pub(crate) async fn actor(&self, headers: &HeaderMap) -> Result<Actor> {
        let presented = session::presented(&Method::POST, headers, self.is_secure())?;
        if matches!(presented, countersign_registry::model::Presented::Nothing) {
            return Err(crate::error::credentials_missing());
        }
        self.registry
            .authenticate_from(presented, caller::address())
            .await
    }
}
