//! A form that somebody sent before having proved who they are once more: it is held, sealed, for five minutes, and
//! given back once, to the same session and for the same place.

use countersign_trust::digest::Sha256;

use super::session_of;
use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::model::Actor;
use crate::store::CeremonyRow;

/// How long it is held, in seconds.
const PATIENCE: i64 = 5 * 60;
/// The longest, in bytes.
const LONGEST: usize = 16 << 10;
/// What such a row is called.
const KIND: &str = "held";

impl Registry {
    /// Holds what was sent to `place`; the answer is the secret that takes it out again. `None`: it is too long to
    /// be held.
    ///
    /// # Errors
    /// `sign-in-needed`.
    pub async fn hold(&self, actor: &Actor, place: &str, content: &str) -> Result<Option<String>> {
        let (account, session) = session_of(actor)?;
        if content.len() > LONGEST {
            return Ok(None);
        }
        let secret = self.secret();
        let state = self.seal().await?.seal(
            &format!("{KIND}:{place}"),
            content.as_bytes(),
            &*self.inner.seams.random,
        )?;
        self.inner
            .store
            .put_ceremony(&CeremonyRow {
                id: Sha256::of(secret.as_bytes()).to_string(),
                kind: KIND.to_owned(),
                account: Some(account.clone()),
                session: Some(session.id.clone()),
                state,
                expires: self.now().plus_seconds(PATIENCE),
            })
            .await?;
        Ok(Some(secret))
    }

    /// Takes out what was held for this place and this session. Nobody finds it a second time.
    ///
    /// # Errors
    /// `sign-in-needed`; `form-over` where nothing is held under this secret, or no longer, or for another place.
    pub async fn take_held(&self, actor: &Actor, place: &str, secret: &str) -> Result<String> {
        let (account, session) = session_of(actor)?;
        let over = || {
            Error::new(
                Kind::Denied,
                "form-over",
                "What you typed was kept for five minutes, and is gone now.",
            )
            .remedy("Nothing was done. Open the page again and type it once more.")
        };
        let id = Sha256::of(secret.as_bytes()).to_string();
        let row = self
            .inner
            .store
            .take_ceremony(&id)
            .await?
            .ok_or_else(over)?;
        let fits = row.kind == KIND
            && row.account.as_ref() == Some(account)
            && row.session.as_ref() == Some(&session.id)
            && self.now() < row.expires;
        if !fits {
            return Err(over());
        }
        // Sealed for its place: for another one it does not open.
        let content = self
            .seal()
            .await?
            .open(&format!("{KIND}:{place}"), &row.state)
            .map_err(|_| over())?;
        String::from_utf8(content)
            .map_err(|source| Error::internal("a held form can not be read", source))
    }
}
