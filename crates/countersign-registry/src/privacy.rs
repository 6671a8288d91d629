//! What the holder of an account can ask of the registry about themselves: everything it keeps, and that it forget it.
//!
//! An erasure leaves the log as it is: leaves hold salted commitments, and the salts go with the account's rows. The
//! name stands as a hash among those never given out again, so that nobody becomes who was here before.

use serde_json::{Value, json};

use crate::Registry;
use crate::accounts::{new_id, user_key};
use crate::error::{Error, Kind, Result};
use crate::model::{Actor, Time};
use crate::notices::fresh_holder;
use crate::policy::Act;

impl Registry {
    /// Everything that is kept about the caller, as JSON, without what would be good for attacks only.
    ///
    /// # Errors
    /// `session-needed`, `step-up-needed`.
    pub async fn export_account(&self, actor: &Actor) -> Result<Value> {
        let now = self.now();
        let account = fresh_holder(actor, now)?;
        let tables = self.inner.store.export(account).await?;
        let mut tx = self.inner.store.write().await?;
        let detail = json!({});
        tx.note_event(
            &new_id(),
            now,
            "account-exported",
            actor,
            Some(account),
            detail,
        )
        .await?;
        tx.commit().await?;
        Ok(json!({
            "registry": self.inner.settings.site(),
            "exported": now.rfc3339(),
            "times": "microseconds since 1970-01-01T00:00:00Z",
            "tables": tables,
        }))
    }

    /// Erases the caller's account. `name` is what the holder typed to confirm. What was published stays, under nobody's
    /// name.
    ///
    /// # Errors
    /// `session-needed`, `step-up-needed`, `erase-confirm`, `recently-recovered`, `last-owner`.
    pub async fn erase_account(&self, actor: &Actor, name: &str) -> Result<()> {
        let now = self.now();
        let account = fresh_holder(actor, now)?.clone();
        let mut tx = self.inner.store.write().await?;
        let known = tx.account_name(&account).await?.unwrap_or_default();
        let key = user_key(name)?;
        if user_key(&known).ok().as_ref() != Some(&key) {
            return Err(Error::new(
                Kind::Rejected,
                "erase-confirm",
                "The name typed is not the name of the account.",
            )
            .remedy("Type the account's own name to confirm that it is to be erased."));
        }
        self.in_good_standing(&mut tx, actor, Act::EraseAccount, "the account")
            .await?;
        let alone = tx.owned_alone(&account).await?;
        if !alone.is_empty() {
            let names = alone.iter().take(10).map(String::as_str);
            let names: Vec<&str> = names.collect();
            return Err(Error::new(
                Kind::Rejected,
                "last-owner",
                format!("The account is the last owner of {}.", names.join(", ")),
            )
            .remedy("Make somebody else an owner, or delete them, first."));
        }
        tx.retire_name(&key, now).await?;
        let detail = json!({});
        tx.note_event(
            &new_id(),
            now,
            "account-erased",
            actor,
            Some(&account),
            detail,
        )
        .await?;
        // While its rows still say whose they are: the log and the others learn who owns what from now on.
        self.leave_everything(&mut tx, actor, (&account, &known))
            .await?;
        tx.close_every_door(&account, "erased", now).await?;
        // npm's packuments name who published a version, also whoever has no role there any more.
        let naming = tx.npm_projects_naming(&account).await?;
        tx.erase(&account, now).await?;
        tx.raise_serials(&naming, now, false).await?;
        for project in &naming {
            tx.drop_documents(project, now).await?;
        }
        tx.commit().await?;
        self.inner.beat.wake();
        self.wake_office();
        Ok(())
    }

    /// Forgets where clients came from, once that was kept as long as the operator set. Part of the chores.
    pub(crate) async fn forget_origins(&self) -> Result<u64> {
        let keep = i64::try_from(self.inner.settings.keep_origins.as_secs()).unwrap_or(i64::MAX);
        let before: Time = self.now().plus_seconds(keep.saturating_neg());
        self.inner.store.forget_origins(before).await
    }
}
