//! Trusted publishing: issuers, publishers, replays, minted tokens, origins of files, policies, notices.

use std::collections::BTreeMap;

use countersign_formats::Ecosystem;
use countersign_trust::digest::Sha256;
use countersign_trust::oidc::{self, Difference, Provider, Registration};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;

use super::{
    Backend, Store, Tx, built, failed, maybe_text, maybe_time, places, signed, text, time,
};
use crate::error::{Error, Result};
use crate::model::{
    AccountId, CredentialId, FileId, FileOrigin, Permits, ProjectId, PublisherId, Roles, Time,
    TrustLevel, Workflow,
};

/// An issuer that the operator admitted.
#[derive(Clone, Debug)]
pub(crate) struct IssuerRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) provider: Provider,
    pub(crate) ca_pem: Option<String>,
    pub(crate) created: Time,
}

/// A publisher.
#[derive(Clone, Debug)]
pub(crate) struct PublisherRow {
    pub(crate) id: PublisherId,
    pub(crate) ecosystem: Ecosystem,
    /// `None` while it is pending.
    pub(crate) project: Option<ProjectId>,
    pub(crate) project_name: String,
    pub(crate) project_key: String,
    pub(crate) registration: Registration,
    /// Immutable ids: claim to value.
    pub(crate) pinned: BTreeMap<String, String>,
    /// Until when missing ids are taken from a first token.
    pub(crate) pin_by: Option<Time>,
    /// Who registered it; `None`: the operator.
    pub(crate) account: Option<AccountId>,
    pub(crate) account_name: Option<String>,
    pub(crate) account_disabled: Option<Time>,
    /// The operator registered it.
    pub(crate) by_operator: bool,
    pub(crate) created: Time,
    pub(crate) pending_until: Option<Time>,
    pub(crate) last_used: Option<Time>,
    pub(crate) removed: Option<(Time, String)>,
    /// What its tokens may.
    pub(crate) permits: Permits,
}

impl PublisherRow {
    /// One of a service's: it is of no project here, and judged as any other.
    pub(crate) fn of_service(
        id: PublisherId,
        project: String,
        registration: Registration,
        pinned: BTreeMap<String, String>,
        pin_by: Option<Time>,
        created: Time,
    ) -> Self {
        Self {
            id,
            ecosystem: Ecosystem::Pypi,
            // It waits for none.
            project: Some(ProjectId(String::new())),
            project_key: project.clone(),
            project_name: project,
            registration,
            pinned,
            pin_by,
            account: None,
            account_name: None,
            account_disabled: None,
            by_operator: true,
            created,
            pending_until: None,
            last_used: None,
            removed: None,
            permits: Permits::BOTH,
        }
    }
}

/// A publisher of a registry elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct ServicePublisherRow {
    pub(crate) service: String,
    pub(crate) publisher: PublisherRow,
}

/// A minted token with whom it speaks for.
pub(crate) struct WorkflowTokenRow {
    pub(crate) id: CredentialId,
    pub(crate) hint: String,
    pub(crate) ecosystem: Ecosystem,
    pub(crate) workflow: Workflow,
    pub(crate) expires: Time,
    pub(crate) revoked: Option<Time>,
}

/// A refusal of a genuine token.
#[derive(Clone, Debug)]
pub(crate) struct FailureRow {
    pub(crate) publisher: PublisherId,
    pub(crate) issuer: String,
    pub(crate) code: String,
    pub(crate) at: Time,
    pub(crate) times: u64,
    pub(crate) message: String,
    pub(crate) differences: Vec<Difference>,
    pub(crate) claims: BTreeMap<String, String>,
}

/// A notice to the owners of a project.
#[derive(Clone, Debug)]
pub(crate) struct NoticeRow {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) subject: String,
    pub(crate) at: Time,
    /// Whose credential the subject is, where it is one; read, never written.
    pub(crate) user: Option<String>,
    pub(crate) detail: BTreeMap<String, String>,
}

/// The policies of a project.
#[derive(Clone, Debug, Default)]
pub struct PolicyFacts {
    /// Since when API tokens are refused.
    pub trusted_only: Option<Time>,
    /// The deployment environment that every token must carry.
    pub environment: Option<String>,
    /// The least trust that a publication needs.
    pub minimum: Option<TrustLevel>,
    /// When last changed.
    pub changed: Option<Time>,
}

/// Publishers that one token is held against.
const CANDIDATES: i64 = 2_000;

const ISSUER: &str =
    "SELECT id, name, url, provider, ca_pem, created_at FROM issuers WHERE removed_at IS NULL";

/// A project as whoever may manage it looks at it.
pub(crate) struct ManagedProject {
    pub(crate) id: ProjectId,
    pub(crate) critical: bool,
    pub(crate) private: bool,
    /// Of the account that asks.
    pub(crate) roles: Roles,
}

const POLICY: &str = "SELECT trusted_only_at, required_environment, minimum_trust, policy_at FROM projects WHERE id = $1";

const PUBLISHER: &str = "SELECT p.id, p.ecosystem, p.project_id, p.project_name, p.project_key, p.registration, p.pinned, p.pin_by, \
     p.account_id, p.operator_at, p.created_at, p.pending_until, p.last_used_at, p.removed_at, p.removed_why, p.may, a.name AS account_name, a.disabled_at \
     FROM publishers p LEFT JOIN accounts a ON a.id = p.account_id";

fn json<T: DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T> {
    serde_json::from_str(&text(row, column)?)
        .map_err(|source| Error::internal("stored JSON can not be read", source))
}

fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|source| Error::internal("a value can not be written as JSON", source))
}

fn provider(row: &AnyRow) -> Result<Provider> {
    text(row, "provider")?
        .parse()
        .map_err(|source| Error::internal("a stored provider is unknown", source))
}

fn ecosystem(row: &AnyRow) -> Result<Ecosystem> {
    text(row, "ecosystem")?
        .parse::<Ecosystem>()
        .map_err(|source| Error::internal("a stored ecosystem is unknown", source.to_string()))
}

fn issuer(row: &AnyRow) -> Result<IssuerRow> {
    Ok(IssuerRow {
        id: text(row, "id")?,
        name: text(row, "name")?,
        url: text(row, "url")?,
        provider: provider(row)?,
        ca_pem: maybe_text(row, "ca_pem")?,
        created: time(row, "created_at")?,
    })
}

fn publisher(row: &AnyRow) -> Result<PublisherRow> {
    let removed = match maybe_time(row, "removed_at")? {
        None => None,
        Some(at) => Some((at, maybe_text(row, "removed_why")?.unwrap_or_default())),
    };
    Ok(PublisherRow {
        id: PublisherId(text(row, "id")?),
        ecosystem: ecosystem(row)?,
        project: maybe_text(row, "project_id")?.map(ProjectId),
        project_name: text(row, "project_name")?,
        project_key: text(row, "project_key")?,
        registration: json(row, "registration")?,
        pinned: json(row, "pinned")?,
        pin_by: maybe_time(row, "pin_by")?,
        account: maybe_text(row, "account_id")?.map(AccountId),
        account_name: maybe_text(row, "account_name")?,
        account_disabled: maybe_time(row, "disabled_at")?,
        by_operator: maybe_time(row, "operator_at")?.is_some(),
        created: time(row, "created_at")?,
        pending_until: maybe_time(row, "pending_until")?,
        last_used: maybe_time(row, "last_used_at")?,
        removed,
        permits: Permits::of(maybe_text(row, "may")?.as_deref()),
    })
}

impl Store {
    /// Every issuer that the operator admitted, by name.
    pub(crate) async fn issuers(&self) -> Result<Vec<IssuerRow>> {
        let rows = sqlx::query(built(format!("{ISSUER} ORDER BY name")))
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(issuer).collect()
    }

    /// The admitted issuer with this very URL.
    pub(crate) async fn issuer_by_url(&self, url: &str) -> Result<Option<IssuerRow>> {
        let row = sqlx::query(built(format!("{ISSUER} AND url = $1")))
            .bind(url.to_owned())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(issuer).transpose()
    }

    /// Publishers by their ids, removed or not.
    pub(crate) async fn publishers_named(&self, ids: &[PublisherId]) -> Result<Vec<PublisherRow>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = built(format!(
            "{PUBLISHER} WHERE p.id IN ({})",
            places(ids.len(), 1)
        ));
        let mut query = sqlx::query(sql);
        for id in ids {
            query = query.bind(id.0.clone());
        }
        let rows = query.fetch_all(&self.read).await.map_err(failed)?;
        rows.iter().map(publisher).collect()
    }

    /// Publishers that a token of this issuer could fit, oldest first and not without end: whoever floods a repository
    /// with registrations stands behind those that were there before; among them pending ones that lost their name,
    /// so that the refusal can say so.
    pub(crate) async fn publisher_candidates(
        &self,
        ecosystem: Ecosystem,
        issuer: &str,
        lookup: &str,
    ) -> Result<Vec<PublisherRow>> {
        let rows = sqlx::query(built(format!(
            "{PUBLISHER} WHERE p.issuer = $1 AND p.lookup IN ($2, '') AND p.ecosystem = $3 \
             AND (p.removed_at IS NULL OR p.removed_why = 'lost') AND p.frozen_at IS NULL ORDER BY p.id LIMIT $4"
        )))
        .bind(issuer.to_owned())
        .bind(lookup.to_owned())
        .bind(ecosystem.as_str())
        .bind(CANDIDATES)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(publisher).collect()
    }

    /// The publishers of a project, oldest first.
    pub(crate) async fn publishers_of(&self, project: &ProjectId) -> Result<Vec<PublisherRow>> {
        let rows = sqlx::query(built(format!(
            "{PUBLISHER} WHERE p.project_id = $1 AND p.removed_at IS NULL ORDER BY p.id"
        )))
        .bind(project.0.clone())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(publisher).collect()
    }

    /// Publishers that wait for their project: of one account, or of all. Those that lost their name are among them,
    /// since their holder wants to know.
    pub(crate) async fn pending_publishers(
        &self,
        account: Option<&AccountId>,
    ) -> Result<Vec<PublisherRow>> {
        let rows = sqlx::query(built(format!(
            "{PUBLISHER} WHERE p.pending_until IS NOT NULL AND (p.removed_at IS NULL OR p.removed_why = 'lost') \
             AND ($1 = '' OR p.account_id = $1) ORDER BY p.id"
        )))
        .bind(account.map_or("", |id| id.0.as_str()).to_owned())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(publisher).collect()
    }

    /// Does anybody have a publisher of this issuer?
    pub(crate) async fn has_publishers_of(&self, issuer: &str) -> Result<bool> {
        let row = sqlx::query(
            "SELECT id FROM publishers WHERE issuer = $1 AND removed_at IS NULL LIMIT 1",
        )
        .bind(issuer.to_owned())
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        Ok(row.is_some())
    }

    /// A project by its key, whether it is critical and private, and the roles of an account on it; without locking
    /// anything.
    pub(crate) async fn managed_project(
        &self,
        ecosystem: Ecosystem,
        key: &str,
        account: Option<&AccountId>,
    ) -> Result<Option<ManagedProject>> {
        let rows = sqlx::query(
            "SELECT p.id, p.critical_at, p.private_at, e.role FROM projects p \
             LEFT JOIN effective_roles e ON e.project_id = p.id AND e.account_id = $3 \
             WHERE p.ecosystem = $1 AND p.key = $2 AND p.removed_at IS NULL",
        )
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .bind(account.map_or("", |id| id.0.as_str()).to_owned())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let mut roles = Roles::NONE;
        for row in &rows {
            if let Some(word) = maybe_text(row, "role")? {
                roles = roles.with(word.parse().map_err(|source: String| {
                    Error::internal("a stored role is unknown", source)
                })?);
            }
        }
        Ok(Some(ManagedProject {
            id: ProjectId(text(first, "id")?),
            critical: maybe_time(first, "critical_at")?.is_some(),
            private: maybe_time(first, "private_at")?.is_some(),
            roles,
        }))
    }

    /// The policies of a project.
    pub(crate) async fn policy_of(&self, project: &ProjectId) -> Result<PolicyFacts> {
        let row = sqlx::query(POLICY)
            .bind(project.0.clone())
            .fetch_one(&self.read)
            .await
            .map_err(failed)?;
        policy_facts(&row)
    }

    /// The publishers of an issuer, pending ones too.
    pub(crate) async fn publishers_of_issuer(&self, issuer: &str) -> Result<Vec<PublisherRow>> {
        let rows = sqlx::query(built(format!(
            "{PUBLISHER} WHERE p.issuer = $1 AND p.removed_at IS NULL ORDER BY p.id"
        )))
        .bind(issuer.to_owned())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(publisher).collect()
    }

    /// The minted token with this secret's hash.
    pub(crate) async fn workflow_token_by_hash(
        &self,
        hash: Sha256,
    ) -> Result<Option<WorkflowTokenRow>> {
        let row = sqlx::query(
            "SELECT c.id, c.hint, c.expires_at, c.revoked_at, w.ecosystem, w.issuer, w.provider, w.label, w.publishers, w.claims \
             FROM credentials c JOIN workflow_tokens w ON w.credential_id = c.id WHERE c.secret_hash = $1",
        )
        .bind(hash.to_string())
        .fetch_optional(&self.near)
        .await
        .map_err(failed)?;
        row.map(|row| {
            Ok(WorkflowTokenRow {
                id: CredentialId(text(&row, "id")?),
                hint: text(&row, "hint")?,
                ecosystem: ecosystem(&row)?,
                workflow: Workflow {
                    label: text(&row, "label")?,
                    provider: provider(&row)?,
                    issuer: text(&row, "issuer")?,
                    publishers: json(&row, "publishers")?,
                    claims: json(&row, "claims")?,
                },
                expires: time(&row, "expires_at")?,
                revoked: maybe_time(&row, "revoked_at")?,
            })
        })
        .transpose()
    }

    /// Was this identity token exchanged before? What it answers may change at once.
    pub(crate) async fn is_replay(&self, issuer: &str, token_key: &str) -> Result<bool> {
        let row =
            sqlx::query("SELECT expires_at FROM oidc_replays WHERE issuer = $1 AND token_key = $2")
                .bind(issuer.to_owned())
                .bind(token_key.to_owned())
                .fetch_optional(&self.read)
                .await
                .map_err(failed)?;
        Ok(row.is_some())
    }

    /// The last refusals of a project's publishers, newest first.
    pub(crate) async fn failed_exchanges(&self, project: &ProjectId) -> Result<Vec<FailureRow>> {
        let rows = sqlx::query(
            "SELECT f.publisher_id, p.issuer, f.code, f.at, f.times, f.message, f.differences, f.claims FROM failed_exchanges f \
             JOIN publishers p ON p.id = f.publisher_id WHERE p.project_id = $1 AND p.removed_at IS NULL ORDER BY f.at DESC LIMIT 50",
        )
        .bind(project.0.clone())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(FailureRow {
                    publisher: PublisherId(text(row, "publisher_id")?),
                    issuer: text(row, "issuer")?,
                    code: text(row, "code")?,
                    at: time(row, "at")?,
                    times: super::unsigned(row, "times")?,
                    message: text(row, "message")?,
                    differences: json(row, "differences")?,
                    claims: json(row, "claims")?,
                })
            })
            .collect()
    }

    /// Notices to a project's owners that nobody dismissed, newest first.
    pub(crate) async fn notices(&self, project: &ProjectId) -> Result<Vec<NoticeRow>> {
        let rows = sqlx::query(
            "SELECT n.id, n.kind, n.subject, n.at, n.detail, a.name AS user_name FROM notices n \
             LEFT JOIN credentials c ON c.id = n.subject LEFT JOIN accounts a ON a.id = c.account_id \
             LEFT JOIN publishers p ON p.id = n.subject \
             WHERE n.project_id = $1 AND n.dismissed_at IS NULL AND c.revoked_at IS NULL AND p.removed_at IS NULL \
             ORDER BY n.at DESC LIMIT 100",
        )
        .bind(project.0.clone())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(NoticeRow {
                    id: text(row, "id")?,
                    kind: text(row, "kind")?,
                    subject: text(row, "subject")?,
                    at: time(row, "at")?,
                    user: maybe_text(row, "user_name")?,
                    detail: json(row, "detail")?,
                })
            })
            .collect()
    }

    /// Deletes what can no longer matter: replays of tokens that are refused as expired by now, and minted tokens whose
    /// end is older than `kept`. Pending publishers that lapsed before it are ended.
    pub(crate) async fn purge_expired(&self, now: Time, kept: Time) -> Result<u64> {
        let mut gone = 0;
        for (sql, before) in [
            ("DELETE FROM oidc_replays WHERE expires_at < $1", now),
            (
                "UPDATE publishers SET removed_at = pending_until, removed_why = 'lapsed' WHERE project_id IS NULL AND pending_until < $1 \
                 AND (removed_at IS NULL OR removed_why = 'lost')",
                kept,
            ),
            (
                "DELETE FROM workflow_tokens WHERE credential_id IN (SELECT id FROM credentials WHERE kind = 'workflow' AND expires_at < $1)",
                kept,
            ),
            (
                "DELETE FROM credentials WHERE kind = 'workflow' AND expires_at < $1",
                kept,
            ),
        ] {
            gone += sqlx::query(sql)
                .bind(before.0)
                .execute(&self.write)
                .await
                .map_err(failed)?
                .rows_affected();
        }
        Ok(gone)
    }
}

impl Tx {
    /// Admits an issuer. A second one of the same name or URL is a `write-conflict`.
    pub(crate) async fn insert_issuer(&mut self, row: &IssuerRow) -> Result<()> {
        sqlx::query("INSERT INTO issuers (id, name, url, provider, ca_pem, created_at) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(row.id.clone())
            .bind(row.name.clone())
            .bind(row.url.clone())
            .bind(row.provider.as_str())
            .bind(row.ca_pem.clone())
            .bind(row.created.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// No longer admits an issuer; false where somebody else was first.
    pub(crate) async fn remove_issuer(&mut self, id: &str, now: Time) -> Result<bool> {
        let done =
            sqlx::query("UPDATE issuers SET removed_at = $2 WHERE id = $1 AND removed_at IS NULL")
                .bind(id.to_owned())
                .bind(now.0)
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Registers a publisher.
    pub(crate) async fn insert_publisher(&mut self, row: &PublisherRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO publishers (id, ecosystem, project_id, project_name, project_key, issuer, provider, lookup, registration, \
             pinned, pin_by, account_id, created_at, pending_until, operator_at, may) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        )
        .bind(row.id.0.clone())
        .bind(row.ecosystem.as_str())
        .bind(row.project.as_ref().map(|id| id.0.clone()))
        .bind(row.project_name.clone())
        .bind(row.project_key.clone())
        .bind(row.registration.issuer.clone())
        .bind(row.registration.provider.as_str())
        .bind(row.registration.lookup.clone())
        .bind(to_json(&row.registration)?)
        .bind(to_json(&row.pinned)?)
        .bind(row.pin_by.map(|at| at.0))
        .bind(row.account.as_ref().map(|id| id.0.clone()))
        .bind(row.created.0)
        .bind(row.pending_until.map(|at| at.0))
        .bind(row.by_operator.then_some(row.created.0))
        .bind(row.permits.word())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// What a token that speaks for these publishers may on a project.
    pub(crate) async fn permits_of(
        &mut self,
        project: &ProjectId,
        publishers: &[PublisherId],
    ) -> Result<Permits> {
        let mut all = Permits::NONE;
        if publishers.is_empty() {
            return Ok(all);
        }
        let sql = built(format!(
            "SELECT may FROM publishers WHERE project_id = $1 AND removed_at IS NULL AND id IN ({})",
            places(publishers.len(), 2)
        ));
        let mut query = sqlx::query(sql).bind(project.0.clone());
        for publisher in publishers {
            query = query.bind(publisher.0.clone());
        }
        for row in &query.fetch_all(&mut *self.inner).await.map_err(failed)? {
            let one = Permits::of(maybe_text(row, "may")?.as_deref());
            all.publish |= one.publish;
            all.stage |= one.stage;
        }
        Ok(all)
    }

    /// Publishers by their ids as they are now, locked until the transaction ends.
    pub(crate) async fn locked_publishers(
        &mut self,
        ids: &[&PublisherId],
    ) -> Result<Vec<PublisherRow>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let lock = match self.backend {
            Backend::Sqlite => "",
            // Not against those that only point to it: a publish that holds the project keeps an origin beside it.
            Backend::Postgres => " FOR NO KEY UPDATE OF p",
        };
        let sql = built(format!(
            "{PUBLISHER} WHERE p.id IN ({}) ORDER BY p.id{lock}",
            places(ids.len(), 1)
        ));
        let mut query = sqlx::query(sql);
        for id in ids {
            query = query.bind(id.0.clone());
        }
        let rows = query.fetch_all(&mut *self.inner).await.map_err(failed)?;
        rows.iter().map(publisher).collect()
    }

    /// How many publishers wait for their project on behalf of one account.
    pub(crate) async fn pending_count(&mut self, account: &AccountId, now: Time) -> Result<i64> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM publishers WHERE account_id = $1 AND pending_until > $2 AND removed_at IS NULL",
        )
        .bind(account.0.clone())
        .bind(now.0)
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        super::number(&row, "n")
    }

    /// Who else waits for this name on behalf of the same workflow.
    pub(crate) async fn pending_rival(&mut self, row: &PublisherRow) -> Result<bool> {
        let rival = sqlx::query(
            "SELECT id FROM publishers WHERE ecosystem = $1 AND project_key = $2 AND issuer = $3 AND lookup = $4 AND account_id <> $5 \
             AND project_id IS NULL AND removed_at IS NULL AND pending_until > $6 LIMIT 1",
        )
        .bind(row.ecosystem.as_str())
        .bind(row.project_key.clone())
        .bind(row.registration.issuer.clone())
        .bind(row.registration.lookup.clone())
        .bind(row.account.as_ref().map_or("", |id| id.0.as_str()).to_owned())
        .bind(row.created.0)
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(rival.is_some())
    }

    /// How many publishers one account has registered for one workflow's repository.
    pub(crate) async fn registered_count(&mut self, row: &PublisherRow) -> Result<i64> {
        let counted = sqlx::query(
            "SELECT count(*) AS n FROM publishers WHERE issuer = $1 AND lookup = $2 AND account_id = $3 AND removed_at IS NULL",
        )
        .bind(row.registration.issuer.clone())
        .bind(row.registration.lookup.clone())
        .bind(row.account.as_ref().map_or("", |id| id.0.as_str()).to_owned())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        super::number(&counted, "n")
    }

    /// Ends a publisher, also a pending one that had lost its name; false where it had ended before.
    pub(crate) async fn remove_publisher(
        &mut self,
        id: &PublisherId,
        why: &str,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query("UPDATE publishers SET removed_at = $2, removed_why = $3 WHERE id = $1 AND (removed_at IS NULL OR removed_why = 'lost')")
            .bind(id.0.clone())
            .bind(now.0)
            .bind(why.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes back that somebody removed a publisher; false where nobody did.
    pub(crate) async fn restore_publisher(&mut self, id: &PublisherId) -> Result<bool> {
        let done = sqlx::query("UPDATE publishers SET removed_at = NULL, removed_why = NULL WHERE id = $1 AND removed_why = 'removed'")
            .bind(id.0.clone())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Notes a publisher's use, and the ids that its first token told; from then on none are learnt.
    pub(crate) async fn use_publisher(
        &mut self,
        id: &PublisherId,
        pinned: &BTreeMap<String, String>,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE publishers SET last_used_at = $2, pinned = $3, pin_by = NULL WHERE id = $1",
        )
        .bind(id.0.clone())
        .bind(now.0)
        .bind(to_json(pinned)?)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// A pending publisher got its project.
    pub(crate) async fn settle_publisher(
        &mut self,
        id: &PublisherId,
        project: &ProjectId,
    ) -> Result<()> {
        sqlx::query("UPDATE publishers SET project_id = $2, pending_until = NULL WHERE id = $1")
            .bind(id.0.clone())
            .bind(project.0.clone())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Every publisher that still waits for this name has lost it.
    pub(crate) async fn lose_pending(
        &mut self,
        ecosystem: Ecosystem,
        key: &str,
        now: Time,
    ) -> Result<u64> {
        let done = sqlx::query(
            "UPDATE publishers SET removed_at = $3, removed_why = 'lost' WHERE ecosystem = $1 AND project_key = $2 \
             AND project_id IS NULL AND removed_at IS NULL",
        )
        .bind(ecosystem.as_str())
        .bind(key.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected())
    }

    /// Remembers that an identity token was exchanged; false where it was before. Two exchanges at once stand one
    /// behind the other here, on two servers too.
    pub(crate) async fn insert_replay(
        &mut self,
        issuer: &str,
        token_key: &str,
        expires: Time,
    ) -> Result<bool> {
        let done = sqlx::query("INSERT INTO oidc_replays (issuer, token_key, expires_at) VALUES ($1, $2, $3) ON CONFLICT (issuer, token_key) DO NOTHING")
            .bind(issuer.to_owned())
            .bind(token_key.to_owned())
            .bind(expires.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Stores whom a minted token speaks for.
    pub(crate) async fn insert_workflow_token(
        &mut self,
        credential: &CredentialId,
        ecosystem: Ecosystem,
        workflow: &Workflow,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO workflow_tokens (credential_id, ecosystem, issuer, provider, label, publishers, claims) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(credential.0.clone())
        .bind(ecosystem.as_str())
        .bind(workflow.issuer.clone())
        .bind(workflow.provider.as_str())
        .bind(workflow.label.clone())
        .bind(to_json(&workflow.publishers)?)
        .bind(to_json(&workflow.claims)?)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// The first of these publishers that is one of the project now.
    pub(crate) async fn publisher_of(
        &mut self,
        project: &ProjectId,
        among: &[PublisherId],
    ) -> Result<Option<PublisherId>> {
        if among.is_empty() {
            return Ok(None);
        }
        let sql = built(format!(
            "SELECT id FROM publishers WHERE project_id = $1 AND removed_at IS NULL AND frozen_at IS NULL AND id IN ({}) ORDER BY id LIMIT 1",
            places(among.len(), 2)
        ));
        let mut query = sqlx::query(sql).bind(project.0.clone());
        for id in among {
            query = query.bind(id.0.clone());
        }
        let row = query
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map(|row| Ok(PublisherId(text(&row, "id")?)))
            .transpose()
    }

    /// Keeps with a file where it came from.
    pub(crate) async fn insert_origin(
        &mut self,
        file: &FileId,
        publisher: &PublisherId,
        workflow: &Workflow,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO file_origins (file_id, publisher_id, issuer, provider, label, claims) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(file.0.clone())
        .bind(publisher.0.clone())
        .bind(workflow.issuer.clone())
        .bind(workflow.provider.as_str())
        .bind(workflow.label.clone())
        .bind(to_json(&workflow.claims)?)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Notes a refusal, in the place of the last one of the same kind.
    pub(crate) async fn record_failure(&mut self, failure: &FailureRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO failed_exchanges (publisher_id, code, at, times, message, differences, claims) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (publisher_id, code) DO UPDATE SET at = excluded.at, \
             times = failed_exchanges.times + excluded.times, message = excluded.message, differences = excluded.differences, \
             claims = excluded.claims",
        )
        .bind(failure.publisher.0.clone())
        .bind(failure.code.clone())
        .bind(failure.at.0)
        .bind(signed(failure.times))
        .bind(failure.message.clone())
        .bind(to_json(&failure.differences)?)
        .bind(to_json(&failure.claims)?)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Puts up a notice, or brings an open one up to date. One that was dismissed stays so. True where it is new.
    pub(crate) async fn put_notice(
        &mut self,
        project: &ProjectId,
        notice: &NoticeRow,
    ) -> Result<bool> {
        let detail = to_json(&notice.detail)?;
        let made = sqlx::query(
            "INSERT INTO notices (id, project_id, kind, subject, at, detail) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (project_id, kind, subject) DO NOTHING",
        )
        .bind(notice.id.clone())
        .bind(project.0.clone())
        .bind(notice.kind.clone())
        .bind(notice.subject.clone())
        .bind(notice.at.0)
        .bind(detail.clone())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        if made.rows_affected() == 1 {
            return Ok(true);
        }
        sqlx::query("UPDATE notices SET at = $4, detail = $5 WHERE project_id = $1 AND kind = $2 AND subject = $3")
            .bind(project.0.clone())
            .bind(notice.kind.clone())
            .bind(notice.subject.clone())
            .bind(notice.at.0)
            .bind(detail)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(false)
    }

    /// Takes a notice down; false where there is none.
    pub(crate) async fn dismiss_notice(
        &mut self,
        project: &ProjectId,
        id: &str,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query("UPDATE notices SET dismissed_at = $3 WHERE project_id = $1 AND id = $2 AND dismissed_at IS NULL")
            .bind(project.0.clone())
            .bind(id.to_owned())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// The policies of a project.
    pub(crate) async fn policy_of(&mut self, project: &ProjectId) -> Result<PolicyFacts> {
        let row = sqlx::query(POLICY)
            .bind(project.0.clone())
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        policy_facts(&row)
    }

    /// Sets the policies of a project.
    pub(crate) async fn set_policy(
        &mut self,
        project: &ProjectId,
        policy: &PolicyFacts,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE projects SET trusted_only_at = $2, required_environment = $3, minimum_trust = $4, policy_at = $5 WHERE id = $1",
        )
        .bind(project.0.clone())
        .bind(policy.trusted_only.map(|at| at.0))
        .bind(policy.environment.clone())
        .bind(policy.minimum.map(|level| level.as_str().to_owned()))
        .bind(policy.changed.map(|at| at.0))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Raises the highest trust that a project's publications ever reached.
    pub(crate) async fn reach_trust(
        &mut self,
        project: &ProjectId,
        level: TrustLevel,
        source: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE projects SET trust_level = $2, trust_source = $3, trust_at = $4 WHERE id = $1",
        )
        .bind(project.0.clone())
        .bind(level.as_str())
        .bind(source.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// A project of this name, removed or not: its id, and when it was removed.
    pub(crate) async fn named_project(
        &mut self,
        ecosystem: Ecosystem,
        key: &str,
    ) -> Result<Option<(ProjectId, Option<Time>)>> {
        let row =
            sqlx::query("SELECT id, removed_at FROM projects WHERE ecosystem = $1 AND key = $2")
                .bind(ecosystem.as_str())
                .bind(key.to_owned())
                .fetch_optional(&mut *self.inner)
                .await
                .map_err(failed)?;
        row.map(|row| {
            Ok((
                ProjectId(text(&row, "id")?),
                maybe_time(&row, "removed_at")?,
            ))
        })
        .transpose()
    }
}

/// Reads the policies out of a row of `projects`.
pub(super) fn policy_facts(row: &AnyRow) -> Result<PolicyFacts> {
    Ok(PolicyFacts {
        trusted_only: maybe_time(row, "trusted_only_at")?,
        environment: maybe_text(row, "required_environment")?,
        minimum: maybe_text(row, "minimum_trust")?
            .map(|word| {
                word.parse()
                    .map_err(|source: String| Error::internal("a stored word is unknown", source))
            })
            .transpose()?,
        changed: maybe_time(row, "policy_at")?,
    })
}

/// Reads where a file came from.
pub(super) fn origin(row: &AnyRow) -> Result<FileOrigin> {
    let (provider, issuer) = (provider(row)?, text(row, "issuer")?);
    let claims = json(row, "claims")?;
    Ok(FileOrigin {
        provider,
        label: text(row, "label")?,
        source: oidc::source(provider, &issuer, &claims),
        issuer,
        claims,
    })
}

impl Store {
    /// The publishers of a service, of one issuer or of all.
    pub(crate) async fn service_publishers(
        &self,
        service: &str,
        issuer: Option<&str>,
    ) -> Result<Vec<ServicePublisherRow>> {
        let rows = sqlx::query(
            "SELECT id, service, project, registration, pinned, pin_by, created_at FROM service_publishers \
             WHERE service = $1 AND ($2 = '' OR issuer = $2) AND removed_at IS NULL ORDER BY id LIMIT $3",
        )
        .bind(service.to_owned())
        .bind(issuer.unwrap_or_default().to_owned())
        .bind(CANDIDATES)
        .fetch_all(&self.near)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(ServicePublisherRow {
                    service: text(row, "service")?,
                    publisher: PublisherRow::of_service(
                        PublisherId(text(row, "id")?),
                        text(row, "project")?,
                        json(row, "registration")?,
                        json(row, "pinned")?,
                        maybe_time(row, "pin_by")?,
                        time(row, "created_at")?,
                    ),
                })
            })
            .collect()
    }
}

impl Tx {
    /// Registers a publisher of a service.
    pub(crate) async fn insert_service_publisher(
        &mut self,
        row: &ServicePublisherRow,
    ) -> Result<()> {
        let publisher = &row.publisher;
        sqlx::query(
            "INSERT INTO service_publishers (id, service, project, issuer, registration, pinned, pin_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(publisher.id.0.clone())
        .bind(row.service.clone())
        .bind(publisher.project_name.clone())
        .bind(publisher.registration.issuer.clone())
        .bind(to_json(&publisher.registration)?)
        .bind(to_json(&publisher.pinned)?)
        .bind(publisher.pin_by.map(|at| at.0))
        .bind(publisher.created.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Takes a publisher of a service away. Was there one?
    pub(crate) async fn remove_service_publisher(
        &mut self,
        service: &str,
        id: &str,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE service_publishers SET removed_at = $1 WHERE service = $2 AND id = $3 AND removed_at IS NULL",
        )
        .bind(now.0)
        .bind(service.to_owned())
        .bind(id.to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// A publisher of a service has these immutable ids from now on, unless it has some since.
    pub(crate) async fn pin_service_publisher(
        &mut self,
        id: &str,
        pinned: &BTreeMap<String, String>,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE service_publishers SET pinned = $1, pin_by = NULL WHERE id = $2 AND pin_by IS NOT NULL",
        )
        .bind(to_json(pinned)?)
        .bind(id.to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }
}
