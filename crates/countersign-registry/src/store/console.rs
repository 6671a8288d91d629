//! Lists for the operator.

use countersign_formats::Ecosystem;

use serde::Serialize;

use super::{Store, failed, maybe_text, maybe_time, text, time};
use crate::error::Result;
use crate::model::Time;

/// A project or a file that is withheld.
#[derive(Clone, Debug, Serialize)]
pub struct Withheld {
    /// Of which ecosystem.
    pub ecosystem: Ecosystem,
    /// Name of the project as written.
    pub project: String,
    /// The file; `None`: the whole project.
    pub file: Option<String>,
    /// Why, as everybody is told.
    pub reason: String,
    /// Since when.
    pub since: Time,
    /// Its own people withhold it, so they may serve it again too.
    pub own: bool,
}

/// A token that somebody reported as leaked.
#[derive(Clone, Debug, Serialize)]
pub struct LeakReport {
    /// Who reported it.
    pub reporter: String,
    /// In what kind of place it stood, as the reporter says.
    pub source: String,
    /// Where it stood; may be empty.
    pub url: String,
    /// When it was reported.
    pub at: Time,
    /// User name of its holder; `None` for a workflow's token, or where the account is gone.
    pub user: Option<String>,
    /// What its holder called it; `None` where it is no longer known.
    pub label: Option<String>,
}

impl Store {
    /// What is withheld, the newest first.
    pub(crate) async fn withheld(&self) -> Result<Vec<Withheld>> {
        let rows = sqlx::query(
            "SELECT ecosystem, name, '' AS filename, status_reason AS reason, status_at AS since, own_quarantine_at AS own \
             FROM projects WHERE status = 'quarantined' AND removed_at IS NULL \
             UNION ALL SELECT p.ecosystem, p.name, f.filename, f.withheld_reason AS reason, f.quarantined_at AS since, f.own_quarantine_at AS own \
             FROM files f JOIN projects p ON p.id = f.project_id WHERE f.state = 'quarantined' AND p.removed_at IS NULL \
             ORDER BY since DESC, name, filename",
        )
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(Withheld {
                    ecosystem: super::ecosystem(&text(row, "ecosystem")?)?,
                    project: text(row, "name")?,
                    file: Some(text(row, "filename")?).filter(|name| !name.is_empty()),
                    reason: maybe_text(row, "reason")?.unwrap_or_default(),
                    since: time(row, "since")?,
                    own: maybe_time(row, "own")?.is_some(),
                })
            })
            .collect()
    }

    /// The newest reports of leaked tokens.
    pub(crate) async fn leak_reports(&self, most: u32) -> Result<Vec<LeakReport>> {
        let rows = sqlx::query(
            "SELECT r.reporter, r.source, r.url, r.at, c.label, a.name FROM leak_reports r \
             LEFT JOIN credentials c ON c.id = r.credential_id LEFT JOIN accounts a ON a.id = c.account_id \
             ORDER BY r.at DESC, r.id LIMIT $1",
        )
        .bind(i64::from(most))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(LeakReport {
                    reporter: text(row, "reporter")?,
                    source: text(row, "source")?,
                    url: text(row, "url")?,
                    at: time(row, "at")?,
                    user: maybe_text(row, "name")?,
                    label: maybe_text(row, "label")?,
                })
            })
            .collect()
    }
}
