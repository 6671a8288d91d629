//! Rows of what accounts marked for themselves.

use countersign_formats::Ecosystem;

use super::{Seen, Store, Tx, failed, number, text};
use crate::error::Result;
use crate::model::{AccountId, ProjectId, Time};

impl Store {
    /// Names of the visible projects of an ecosystem that an account starred, in order.
    pub(crate) async fn starred(
        &self,
        account: &AccountId,
        seen: &Seen,
        ecosystem: Ecosystem,
    ) -> Result<Vec<String>> {
        let rows = sqlx::query(super::built(format!(
            "SELECT p.name FROM stars s JOIN projects p ON p.id = s.project_id \
             WHERE s.account_id = $1 AND p.ecosystem = $2 AND p.removed_at IS NULL AND p.visible_at IS NOT NULL AND {} ORDER BY p.key",
            seen.condition("p.", 3)
        )))
        .bind(account.0.clone())
        .bind(ecosystem.as_str());
        let rows = seen
            .bind(rows)
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(|row| text(row, "name")).collect()
    }

    /// Whether an account starred a project.
    pub(crate) async fn has_starred(
        &self,
        account: &AccountId,
        project: &ProjectId,
    ) -> Result<bool> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM stars WHERE account_id = $1 AND project_id = $2",
        )
        .bind(account.0.clone())
        .bind(project.0.clone())
        .fetch_one(&self.read)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }
}

impl Tx {
    /// Stars a project for an account; a second time changes nothing.
    pub(crate) async fn star(
        &mut self,
        account: &AccountId,
        project: &ProjectId,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO stars (account_id, project_id, starred_at) VALUES ($1, $2, $3) ON CONFLICT (account_id, project_id) DO NOTHING",
        )
        .bind(account.0.clone())
        .bind(project.0.clone())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Takes a star back.
    pub(crate) async fn unstar(&mut self, account: &AccountId, project: &ProjectId) -> Result<()> {
        sqlx::query("DELETE FROM stars WHERE account_id = $1 AND project_id = $2")
            .bind(account.0.clone())
            .bind(project.0.clone())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// How many projects an account starred.
    pub(crate) async fn stars_of(&mut self, account: &AccountId) -> Result<i64> {
        let row = sqlx::query("SELECT count(*) AS n FROM stars WHERE account_id = $1")
            .bind(account.0.clone())
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        number(&row, "n")
    }
}
