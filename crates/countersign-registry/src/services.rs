//! Services for registries elsewhere: what they are called, and the tokens that they are used with. What each does is in
//! `tuf`, `log_service` and `trusted`.

use countersign_trust::token::{Token, TokenKind};
use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::model::Actor;

/// What a token of a service is good for: one part of one service, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Signing by RSTUF's API.
    Tuf,
    /// Appending to its log.
    Log,
    /// Judging identity tokens and attestations.
    Exchange,
}

impl Part {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Tuf => "tuf",
            Self::Log => "log",
            Self::Exchange => "exchange",
        }
    }
}

/// The name of a service: it stands in addresses.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let good = (1..=64).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-');
    if good {
        return Ok(());
    }
    Err(Error::new(
        Kind::Rejected,
        "service-name",
        "A service has a name of at most 64 lower-case letters, digits and hyphens.",
    )
    .remedy("Choose another."))
}

impl Registry {
    /// Makes a token for one part of one service. The service must be there.
    pub(crate) async fn service_token(
        &self,
        actor: &Actor,
        part: Part,
        name: &str,
        label: &str,
    ) -> Result<String> {
        let label: String = label.chars().take(100).collect();
        let token = Token::from_random(TokenKind::Staged, self.inner.seams.random.bytes32());
        let (hash, hint, id, now) = (token.hash().to_hex(), token.hint(), new_id(), self.now());
        let mut tx = self.inner.store.write().await?;
        tx.insert_service_token(&id, (part.as_str(), name), (&hash, &hint), &label, now)
            .await?;
        let detail = json!({"service": name, "part": part.as_str(), "token": id});
        tx.note_event(&new_id(), now, "service-token-created", actor, None, detail)
            .await?;
        tx.commit().await?;
        Ok(token.reveal())
    }

    /// Whose token this is; `None` for what is none for this part of any service.
    pub(crate) async fn service_of_token(
        &self,
        part: Part,
        token: Option<&str>,
    ) -> Result<Option<String>> {
        let Some(token) = token.and_then(|text| Token::parse(text).ok()) else {
            return Ok(None);
        };
        let hash = token.hash().to_hex();
        self.inner
            .store
            .service_of_token(part.as_str(), &hash)
            .await
    }
}
