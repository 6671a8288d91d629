//! What may belong to a private project comes out of the store under a veil, which [`crate::Registry::unveiled`] alone
//! lifts; lists say for whom they are. So whoever writes a new reader can not forget to ask.

use countersign_formats::Ecosystem;
use sqlx::Any;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;

use super::{Store, Tx, failed, maybe_time, places, text};
use crate::error::Result;
use crate::model::{AccountId, ProjectId, PublisherId, Role, Roles, Time};

/// A project that is private, as far as it takes to decide who sees it.
#[derive(Clone, Debug)]
pub(crate) struct PrivateProject {
    pub(crate) id: ProjectId,
    pub(crate) ecosystem: Ecosystem,
    pub(crate) key: String,
}

/// Something of a project that may be private.
#[derive(Debug)]
pub(crate) struct Veiled<T> {
    value: T,
    private: Option<PrivateProject>,
}

impl<T> Veiled<T> {
    /// Whose it is, where not everybody may see it.
    pub(crate) fn private(&self) -> Option<&PrivateProject> {
        self.private.as_ref()
    }

    /// What is under the veil. For whoever asked first.
    pub(crate) fn lifted(self) -> T {
        self.value
    }

    /// With the columns `project_id`, `ecosystem`, `key` and `private_at` of a row.
    pub(super) fn by_row(row: &AnyRow, value: T) -> Result<Self> {
        let private = match maybe_time(row, "private_at")? {
            None => None,
            Some(_) => Some(private_project(row)?),
        };
        Ok(Self { value, private })
    }
}

fn private_project(row: &AnyRow) -> Result<PrivateProject> {
    Ok(PrivateProject {
        id: ProjectId(text(row, "project_id")?),
        ecosystem: super::ecosystem(&text(row, "ecosystem")?)?,
        key: text(row, "key")?,
    })
}

/// For whom a list is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// Public projects.
    Public,
    /// These private ones besides.
    Also(Vec<ProjectId>),
    /// Every project.
    All,
}

impl Seen {
    /// The condition on a row of `projects` whose columns begin with `prefix`; its places begin at `first`, and
    /// [`Seen::bind`] fills them.
    pub(super) fn condition(&self, prefix: &str, first: usize) -> String {
        match self {
            Self::All => format!("{prefix}id = {prefix}id"),
            Self::Also(ids) if !ids.is_empty() => format!(
                "({prefix}private_at IS NULL OR {prefix}id IN ({}))",
                places(ids.len(), first)
            ),
            Self::Public | Self::Also(_) => format!("{prefix}private_at IS NULL"),
        }
    }

    pub(super) fn bind<'q>(
        &self,
        mut query: Query<'q, Any, AnyArguments>,
    ) -> Query<'q, Any, AnyArguments> {
        if let Self::Also(ids) = self {
            for id in ids {
                query = query.bind(id.0.clone());
            }
        }
        query
    }
}

/// Private projects that one reader's lists hold at most: more places than this a statement has not.
const AT_MOST: i64 = 10_000;

impl Store {
    /// The roles of an account on a project, outside a transaction.
    pub(crate) async fn roles_on(&self, project: &ProjectId, account: &AccountId) -> Result<Roles> {
        let rows = sqlx::query(
            "SELECT DISTINCT role FROM effective_roles WHERE project_id = $1 AND account_id = $2",
        )
        .bind(project.0.clone())
        .bind(account.0.clone())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| super::parsed::<Role>(row, "role"))
            .collect()
    }

    /// Whether one of these publishers is a project's.
    pub(crate) async fn publishes_here(
        &self,
        project: &ProjectId,
        among: &[PublisherId],
    ) -> Result<bool> {
        if among.is_empty() {
            return Ok(false);
        }
        let sql = super::built(format!(
            "SELECT id FROM publishers WHERE project_id = $1 AND removed_at IS NULL AND id IN ({}) LIMIT 1",
            places(among.len(), 2)
        ));
        let mut query = sqlx::query(sql).bind(project.0.clone());
        for id in among {
            query = query.bind(id.0.clone());
        }
        let row = query.fetch_optional(&self.read).await.map_err(failed)?;
        Ok(row.is_some())
    }

    /// The private projects on which an account has roles, with these.
    pub(crate) async fn private_projects_of(
        &self,
        account: &AccountId,
    ) -> Result<Vec<(PrivateProject, Roles)>> {
        let rows = sqlx::query(
            "SELECT DISTINCT p.id AS project_id, p.ecosystem, p.key, e.role FROM effective_roles e \
             JOIN projects p ON p.id = e.project_id \
             WHERE e.account_id = $1 AND p.private_at IS NOT NULL AND p.removed_at IS NULL ORDER BY p.id LIMIT $2",
        )
        .bind(account.0.clone())
        .bind(AT_MOST)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        let mut found: Vec<(PrivateProject, Roles)> = Vec::new();
        for row in &rows {
            let (project, role) = (private_project(row)?, super::parsed::<Role>(row, "role")?);
            match found.last_mut().filter(|(last, _)| last.id == project.id) {
                Some((_, roles)) => *roles = roles.with(role),
                None => found.push((project, Roles::NONE.with(role))),
            }
        }
        Ok(found)
    }

    /// What is known of a project under the veil that its visibility asks for.
    pub(super) async fn veil<T>(&self, project: &ProjectId, value: T) -> Result<Veiled<T>> {
        let row = sqlx::query(
            "SELECT id AS project_id, ecosystem, key, private_at FROM projects WHERE id = $1",
        )
        .bind(project.0.clone())
        .fetch_one(&self.read)
        .await
        .map_err(failed)?;
        Veiled::by_row(&row, value)
    }
}

impl Tx {
    /// Makes a project private, or public again.
    pub(crate) async fn set_private(
        &mut self,
        project: &ProjectId,
        since: Option<Time>,
    ) -> Result<()> {
        sqlx::query("UPDATE projects SET private_at = $2 WHERE id = $1")
            .bind(project.0.clone())
            .bind(since.map(|at| at.0))
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }
}
