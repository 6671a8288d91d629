//! Accounts, credentials, grants.

use countersign_formats::Ecosystem;
use countersign_trust::digest::Sha256;
use sqlx::any::AnyRow;

use super::{Seen, Store, Tx, failed, maybe_text, maybe_time, number, text, time};
use crate::error::{Error, Kind, Result};
use crate::model::{
    AccountId, Action, CredentialId, ProjectId, Role, Roles, Scope, Strength, Time,
};

/// A credential with the account it belongs to.
#[derive(Clone, Debug)]
pub struct CredentialRow {
    /// Its id.
    pub id: CredentialId,
    /// The account.
    pub account: AccountId,
    /// The account's user name.
    pub account_name: String,
    /// `token` or `enrolment`.
    pub kind: String,
    /// Safe to show.
    pub hint: String,
    /// What its owner calls it.
    pub label: String,
    /// What it may do; `None` for credentials that are not tokens.
    pub scope: Option<Scope>,
    /// When it was made.
    pub created: Time,
    /// When it ends.
    pub expires: Option<Time>,
    /// When it was revoked.
    pub revoked: Option<Time>,
    /// When it was last used, to the minute.
    pub last_used: Option<Time>,
    /// When its account was disabled.
    pub account_disabled: Option<Time>,
}

/// A credential to store. Only the hash of the secret ever gets here.
pub struct NewCredential<'a> {
    /// Its id.
    pub id: &'a CredentialId,
    /// The account; `None` for what speaks for a workflow.
    pub account: Option<&'a AccountId>,
    /// `token`, `enrolment` or `workflow`.
    pub kind: &'a str,
    /// How strong it is.
    pub strength: Strength,
    /// SHA-256 of the secret.
    pub secret_hash: Sha256,
    /// Safe to show.
    pub hint: &'a str,
    /// What its owner calls it.
    pub label: &'a str,
    /// What it may do.
    pub scope: Option<&'a Scope>,
    /// Now.
    pub created: Time,
    /// When it ends.
    pub expires: Time,
}

const CREDENTIAL: &str = "SELECT c.id, c.account_id, c.kind, c.hint, c.label, c.ecosystem, c.project_key, c.namespace_key, c.networks, c.action, c.created_at, \
     c.expires_at, c.revoked_at, c.last_used_at, a.name AS account_name, a.disabled_at \
     FROM credentials c JOIN accounts a ON a.id = c.account_id";

fn credential(row: &AnyRow) -> Result<CredentialRow> {
    let action = maybe_text(row, "action")?;
    let scope = match action {
        None => None,
        Some(action) => Some(Scope {
            ecosystem: maybe_text(row, "ecosystem")?
                .map(|word| {
                    word.parse::<Ecosystem>().map_err(|source| {
                        Error::internal("a stored ecosystem is unknown", source.to_string())
                    })
                })
                .transpose()?,
            project: maybe_text(row, "project_key")?,
            namespace: maybe_text(row, "namespace_key")?,
            action: action
                .parse::<Action>()
                .map_err(|source| Error::internal("a stored action is unknown", source))?,
            networks: match maybe_text(row, "networks")? {
                None => Vec::new(),
                Some(list) => serde_json::from_str(&list)
                    .map_err(|source| Error::internal("stored networks are unreadable", source))?,
            },
        }),
    };
    Ok(CredentialRow {
        id: CredentialId(text(row, "id")?),
        account: AccountId(text(row, "account_id")?),
        account_name: text(row, "account_name")?,
        kind: text(row, "kind")?,
        hint: text(row, "hint")?,
        label: text(row, "label")?,
        scope,
        created: time(row, "created_at")?,
        expires: maybe_time(row, "expires_at")?,
        revoked: maybe_time(row, "revoked_at")?,
        last_used: maybe_time(row, "last_used_at")?,
        account_disabled: maybe_time(row, "disabled_at")?,
    })
}

/// An account in a list.
#[derive(Clone, Debug)]
pub struct AccountRow {
    /// Its id.
    pub id: AccountId,
    /// User name.
    pub name: String,
    /// Since when an operator.
    pub operator_since: Option<Time>,
    /// When it was made.
    pub created: Time,
    /// When it was disabled.
    pub disabled: Option<Time>,
    /// Its primary address.
    pub email: Option<String>,
}

impl Store {
    /// The credential with this secret's hash.
    pub(crate) async fn credential_by_hash(&self, hash: Sha256) -> Result<Option<CredentialRow>> {
        let sql = super::built(format!("{CREDENTIAL} WHERE c.secret_hash = $1"));
        let row = sqlx::query(sql)
            .bind(hash.to_string())
            .fetch_optional(&self.near)
            .await
            .map_err(failed)?;
        row.as_ref().map(credential).transpose()
    }

    /// All credentials of one account, or of all.
    pub(crate) async fn credentials(
        &self,
        account: Option<&AccountId>,
    ) -> Result<Vec<CredentialRow>> {
        let sql = super::built(format!(
            "{CREDENTIAL} WHERE $1 = '' OR c.account_id = $1 ORDER BY c.id"
        ));
        let rows = sqlx::query(sql)
            .bind(account.map_or("", |id| id.0.as_str()).to_owned())
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(credential).collect()
    }

    /// The account with this user name.
    pub(crate) async fn account(&self, name_key: &str) -> Result<Option<AccountRow>> {
        Ok(self.account_rows("a.name_key = $1", name_key).await?.pop())
    }

    /// Every account.
    pub(crate) async fn accounts(&self) -> Result<Vec<AccountRow>> {
        self.account_rows("$1 = ''", "").await
    }

    /// The user name of an account.
    pub(crate) async fn account_name(&self, account: &AccountId) -> Result<Option<String>> {
        let row = sqlx::query("SELECT name FROM accounts WHERE id = $1")
            .bind(account.0.clone())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.map(|row| text(&row, "name")).transpose()
    }

    async fn account_rows(&self, condition: &'static str, value: &str) -> Result<Vec<AccountRow>> {
        let sql = super::built(format!(
            "SELECT a.id, a.name, a.operator_since, a.created_at, a.disabled_at, \
             (SELECT e.address FROM account_emails e WHERE e.account_id = a.id AND e.primary_at IS NOT NULL) AS email \
             FROM accounts a WHERE {condition} ORDER BY a.name_key"
        ));
        let rows = sqlx::query(sql)
            .bind(value.to_owned())
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(AccountRow {
                    id: AccountId(text(row, "id")?),
                    name: text(row, "name")?,
                    operator_since: maybe_time(row, "operator_since")?,
                    created: time(row, "created_at")?,
                    disabled: maybe_time(row, "disabled_at")?,
                    email: maybe_text(row, "email")?,
                })
            })
            .collect()
    }

    /// Who has a role on a project by name: organisations and persons, owners first. Members of teams are not among them.
    pub(crate) async fn people_of(&self, project: &ProjectId) -> Result<Vec<(String, Role)>> {
        let rows = sqlx::query(
            "SELECT COALESCE(o.name, a.name) AS name, g.role FROM grants g LEFT JOIN accounts a ON a.id = g.account_id \
             LEFT JOIN organisations o ON o.id = g.organisation_id \
             WHERE g.project_id = $1 AND g.ended_at IS NULL AND g.team_id IS NULL \
             ORDER BY CASE g.role WHEN 'owner' THEN 0 WHEN 'maintainer' THEN 1 WHEN 'publisher' THEN 2 ELSE 3 END, \
             COALESCE(o.name_key, a.name_key)",
        )
        .bind(project.0.clone())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((text(row, "name")?, super::parsed(row, "role")?)))
            .collect()
    }

    /// Who owns the projects with these keys: accounts and organisations by name.
    pub(crate) async fn owners_of(
        &self,
        seen: &Seen,
        ecosystem: Ecosystem,
        keys: &[String],
    ) -> Result<Vec<(String, String)>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let sql = super::built(format!(
            "SELECT p.key, COALESCE(o.name, a.name) AS name FROM grants g JOIN projects p ON p.id = g.project_id \
             LEFT JOIN accounts a ON a.id = g.account_id LEFT JOIN organisations o ON o.id = g.organisation_id \
             WHERE g.ended_at IS NULL AND g.team_id IS NULL AND g.role = 'owner' AND p.ecosystem = $1 AND p.key IN ({}) AND {} \
             ORDER BY p.key, COALESCE(o.name_key, a.name_key)",
            super::places(keys.len(), 2),
            seen.condition("p.", keys.len() + 2)
        ));
        let mut query = sqlx::query(sql).bind(ecosystem.as_str());
        for key in keys {
            query = query.bind(key.clone());
        }
        let rows = seen
            .bind(query)
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| Ok((text(row, "key")?, text(row, "name")?)))
            .collect()
    }

    /// Notes that a credential was used. One small write at most once a minute for each, outside any answer's path.
    pub(crate) async fn touch_credential(&self, id: &CredentialId, now: Time) -> Result<()> {
        // Many requests may have seen the old time at once; the first of them writes, the others find nothing to do.
        sqlx::query("UPDATE credentials SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $3)")
            .bind(id.0.clone())
            .bind(now.0)
            .bind(now.plus_seconds(-59).0)
            .execute(&self.write)
            .await
            .map_err(failed)?;
        Ok(())
    }
}

impl Tx {
    /// Stores an account. A name in use, or one that somebody had who is gone, is a `write-conflict`.
    pub(crate) async fn insert_account(
        &mut self,
        id: &AccountId,
        name: &str,
        name_key: &str,
        operator_since: Option<Time>,
        now: Time,
    ) -> Result<()> {
        // Users and organisations share one name space; a name that somebody had is never another's.
        self.lock_name(name_key).await?;
        let retired = self.name_is_retired(name_key).await?;
        if retired || self.is_organisation_name(name_key).await? {
            return Err(Error::new(
                Kind::Conflict,
                super::WRITE_CONFLICT,
                "An organisation has this name, or somebody who is gone had it.",
            )
            .remedy("Choose another name."));
        }
        sqlx::query("INSERT INTO accounts (id, name, name_key, operator_since, created_at) VALUES ($1, $2, $3, $4, $5)")
            .bind(id.0.clone())
            .bind(name.to_owned())
            .bind(name_key.to_owned())
            .bind(operator_since.map(|at| at.0))
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Stores an account's first address, not yet verified.
    pub(crate) async fn insert_email(
        &mut self,
        account: &AccountId,
        id: &str,
        address: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO account_emails (id, account_id, address, address_key, primary_at, created_at) VALUES ($1, $2, $3, $4, $5, $5)",
        )
        .bind(id.to_owned())
        .bind(account.0.clone())
        .bind(address.to_owned())
        .bind(address.to_lowercase())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Stores a credential.
    pub(crate) async fn insert_credential(&mut self, new: &NewCredential<'_>) -> Result<()> {
        let strength = match new.strength {
            Strength::None => "none",
            Strength::Token => "token",
            Strength::Workflow => "workflow",
            Strength::Phishproof => "phishproof",
            Strength::Operator => "operator",
        };
        let networks = new
            .scope
            .filter(|scope| !scope.networks.is_empty())
            .map(|scope| serde_json::to_string(&scope.networks))
            .transpose()
            .map_err(|source| Error::internal("networks can not be written", source))?;
        sqlx::query(
            "INSERT INTO credentials (id, account_id, kind, strength, secret_hash, hint, label, ecosystem, project_key, action, created_at, expires_at, namespace_key, networks) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(new.id.0.clone())
        .bind(new.account.map(|id| id.0.clone()))
        .bind(new.kind.to_owned())
        .bind(strength)
        .bind(new.secret_hash.to_string())
        .bind(new.hint.to_owned())
        .bind(new.label.to_owned())
        .bind(new.scope.and_then(|scope| scope.ecosystem).map(|ecosystem| ecosystem.as_str().to_owned()))
        .bind(new.scope.and_then(|scope| scope.project.clone()))
        .bind(new.scope.map(|scope| scope.action.as_str().to_owned()))
        .bind(new.created.0)
        .bind(new.expires.0)
        .bind(new.scope.and_then(|scope| scope.namespace.clone()))
        .bind(networks)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Revokes a credential; false where it was revoked before.
    pub(crate) async fn revoke_credential(
        &mut self,
        id: &CredentialId,
        why: &str,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query("UPDATE credentials SET revoked_at = $2, revoked_why = $3 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id.0.clone())
            .bind(now.0)
            .bind(why.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends the enrolment links of an account that were not used.
    pub(crate) async fn end_enrolments(&mut self, account: &AccountId, now: Time) -> Result<()> {
        sqlx::query("UPDATE credentials SET revoked_at = $2, revoked_why = 'replaced' WHERE account_id = $1 AND kind = 'enrolment' AND revoked_at IS NULL")
            .bind(account.0.clone())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// The roles an account has on a project, by whatever way.
    pub(crate) async fn roles_of(
        &mut self,
        project: &ProjectId,
        account: &AccountId,
    ) -> Result<Roles> {
        let rows = sqlx::query(
            "SELECT DISTINCT role FROM effective_roles WHERE project_id = $1 AND account_id = $2",
        )
        .bind(project.0.clone())
        .bind(account.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| super::parsed::<Role>(row, "role"))
            .collect()
    }

    /// The role that an account has on a project by itself, not through a team or an organisation.
    pub(crate) async fn own_role(
        &mut self,
        project: &ProjectId,
        account: &AccountId,
    ) -> Result<Option<Role>> {
        let row = sqlx::query(
            "SELECT role FROM grants WHERE project_id = $1 AND account_id = $2 AND ended_at IS NULL",
        )
        .bind(project.0.clone())
        .bind(account.0.clone())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.map(|row| super::parsed(&row, "role")).transpose()
    }

    /// The accounts that own a project, by whatever way; those that are disabled do not count.
    pub(crate) async fn owner_accounts(&mut self, project: &ProjectId) -> Result<Vec<AccountId>> {
        let rows = sqlx::query(
            "SELECT DISTINCT e.account_id FROM effective_roles e JOIN accounts a ON a.id = e.account_id \
             WHERE e.project_id = $1 AND e.role = 'owner' AND a.disabled_at IS NULL ORDER BY e.account_id",
        )
        .bind(project.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| text(row, "account_id").map(AccountId))
            .collect()
    }

    /// Does this account hold a passkey or security key that was never cloned?
    pub(crate) async fn has_phishproof(&mut self, account: &AccountId) -> Result<bool> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM factors WHERE account_id = $1 AND kind IN ('passkey', 'security-key') \
             AND removed_at IS NULL AND cloned_at IS NULL",
        )
        .bind(account.0.clone())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// Ends whatever role an account has on a project by itself.
    pub(crate) async fn end_grants(
        &mut self,
        project: &ProjectId,
        account: &AccountId,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query("UPDATE grants SET ended_at = $3 WHERE project_id = $1 AND account_id = $2 AND ended_at IS NULL")
            .bind(project.0.clone())
            .bind(account.0.clone())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    /// Gives an account a role on a project.
    pub(crate) async fn insert_grant(
        &mut self,
        id: &str,
        project: &ProjectId,
        account: &AccountId,
        role: Role,
        now: Time,
    ) -> Result<()> {
        sqlx::query("INSERT INTO grants (id, account_id, project_id, role, created_at) VALUES ($1, $2, $3, $4, $5)")
            .bind(id.to_owned())
            .bind(account.0.clone())
            .bind(project.0.clone())
            .bind(role.as_str())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }
}
