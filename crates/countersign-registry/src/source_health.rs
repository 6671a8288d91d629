//! Health of source projects: what others say about them, imported from files, shown with source and day, never as a verdict.

use std::path::Path;

use countersign_formats::source_health::{self, Report, SourceHealth, repository_key};
use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::model::Actor;
use crate::policy;

/// So many addresses of one release are looked up.
const MOST_ADDRESSES: usize = 50;

impl Registry {
    /// Imports results on source projects from a file: all that can be used, or none. An older one gives way to a newer one of the
    /// same source.
    ///
    /// # Errors
    /// `operator-needed`, `health-malformed`.
    pub async fn import_source_health(&self, actor: &Actor, path: &Path) -> Result<Report> {
        policy::may_operate(actor, "import the health of sources")?;
        let place = path.to_owned();
        let reading = tokio::task::spawn_blocking(move || {
            let unreadable = |source: std::io::Error| {
                let message = format!("{} can not be read: {source}.", place.display());
                Error::new(Kind::Rejected, "health-malformed", message)
                    .remedy("Give a file of results of Scorecard as JSON.")
                    .because(source)
            };
            let length = std::fs::metadata(&place).map_err(unreadable)?.len();
            if length > source_health::MAX_DOCUMENT as u64 {
                let most = source_health::MAX_DOCUMENT;
                let message = format!("{} has more than {most} bytes.", place.display());
                return Err(Error::new(Kind::Rejected, "health-malformed", message)
                    .remedy("Take it apart, and import the parts."));
            }
            let bytes = std::fs::read(&place).map_err(unreadable)?;
            let mut found = Vec::new();
            let report = source_health::read(&bytes, &mut |health| found.push(health));
            let report = report.map_err(|why| {
                let mut refused = Error::from(why);
                refused.message = format!("{}: {}", place.display(), refused.message);
                refused
            })?;
            Ok((found, report))
        });
        let (found, report) = reading
            .await
            .map_err(|source| Error::internal("reading results broke off", source))??;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        for health in &found {
            tx.put_source_health(health, now).await?;
        }
        let detail = json!({"taken": report.taken, "refused": report.refused});
        tx.note_event(
            &new_id(),
            now,
            "source-health-imported",
            actor,
            None,
            detail,
        )
        .await?;
        tx.commit().await?;
        Ok(report)
    }

    /// What is said about the repositories that these addresses lead to, source by source.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn source_health(&self, addresses: &[&str]) -> Result<Vec<SourceHealth>> {
        let mut keys: Vec<String> = addresses
            .iter()
            .take(MOST_ADDRESSES)
            .filter_map(|address| repository_key(address))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        self.inner.store.source_health(&keys).await
    }
}
