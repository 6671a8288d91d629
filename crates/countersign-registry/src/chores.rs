//! Periodic work of a serving process. Each chore may be skipped, repeated or cut off at any moment.

use std::collections::HashSet;
use std::time::Duration;

use futures::StreamExt;

use crate::Registry;
use crate::error::Result;
use crate::model::Actor;

/// Superseded documents and unclaimed artifacts stay this long, in seconds: a client may be between an index and a file.
const KEEP: i64 = 86_400;

impl Registry {
    /// Counts downloads every ten seconds, looks after accounts every minute, forgets expired tokens every hour, sweeps
    /// every six hours.
    pub(crate) async fn chores(&self) {
        let mut tick = tokio::time::interval(Duration::from_secs(10));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ticks: u64 = 0;
        loop {
            tick.tick().await;
            ticks += 1;
            self.flush_downloads().await;
            if ticks.is_multiple_of(2_160) {
                self.sweep_spool().await;
            }
            if ticks.is_multiple_of(360)
                && let Err(error) = self.purge_expired().await
            {
                tracing::warn!(%error, "expired tokens could not be swept; it is tried again later");
            }
            if ticks.is_multiple_of(6)
                && let Err(error) = self.look_after_accounts().await
            {
                tracing::warn!(%error, "accounts could not be looked after; it is tried again");
            }
            if ticks.is_multiple_of(360)
                && let Err(error) = self.purge_sign_in().await
            {
                tracing::warn!(%error, "sessions that ended could not be swept; it is tried again later");
            }
            if ticks.is_multiple_of(8_640)
                && let Err(error) = self.find_critical().await
            {
                tracing::warn!(%error, "critical projects could not be found; it is tried again tomorrow");
            }
            if ticks.is_multiple_of(360)
                && let Err(error) = self.look_after_provenance().await
            {
                tracing::warn!(%error, "provenance could not be looked after; it is tried again later");
            }
            if ticks.is_multiple_of(8_640)
                && self.inner.settings.refresh_trust_roots
                && let Err(error) = self.refresh_trust_roots(&Actor::operator()).await
            {
                tracing::warn!(%error, "trust roots could not be refreshed; it is tried again tomorrow");
            }
            if ticks.is_multiple_of(360)
                && let Err(error) = self.check_domains().await
            {
                tracing::warn!(%error, "domains of addresses could not be checked; it is tried again later");
            }
            if ticks.is_multiple_of(2_160)
                && let Err(error) = self.sweep().await
            {
                tracing::warn!(%error, "the sweep of the blob store broke off; it runs again later");
            }
        }
    }

    /// Recoveries whose waiting time is over, mail, links and programs that ended. Part of the chores.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn look_after_accounts(&self) -> Result<()> {
        self.look_after_recoveries().await?;
        self.purge_mail().await?;
        self.purge_devices().await?;
        self.forget_origins().await?;
        Ok(())
    }

    /// Files without an attestation of the registry's, sources and attestations that are due. Part of the chores.
    ///
    /// # Errors
    /// Where the database or the folder of keys fails.
    pub async fn look_after_provenance(&self) -> Result<()> {
        self.attest_unattested().await?;
        self.reverify_attestations().await?;
        self.recheck_sources().await?;
        Ok(())
    }

    /// Deletes what uploads left in the spool folder when their process was killed.
    async fn sweep_spool(&self) {
        let (folder, keep) = (
            self.inner.settings.spool.clone(),
            Duration::from_secs(86_400),
        );
        let swept = tokio::task::spawn_blocking(move || {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
                if age > keep && entry.file_type()?.is_file() {
                    std::fs::remove_file(entry.path())?;
                }
            }
            Ok::<_, std::io::Error>(())
        });
        if let Ok(Err(error)) = swept.await {
            tracing::warn!(%error, "the spool folder could not be swept; it is tried again later");
        }
    }

    /// Deletes documents that nothing has pointed to for a day, and artifacts that no file ever claimed (an upload
    /// that died between its blob and its rows). Bytes of withheld and removed files stay: they are evidence.
    ///
    /// # Errors
    /// Where database or blob store fail.
    pub async fn sweep(&self) -> Result<u64> {
        let old = self.now().seconds() - KEEP;
        let mut deleted = 0;
        let pointed: HashSet<String> = self
            .inner
            .store
            .document_digests()
            .await?
            .into_iter()
            .map(|(_, digest)| digest)
            .collect();
        let mut found = self.inner.blobs.list("documents");
        while let Some(object) = found.next().await {
            let (path, _, changed) = object?;
            let digest = path.rsplit('/').next().unwrap_or_default();
            if changed < old && !pointed.contains(digest) {
                self.inner.blobs.delete(&path).await?;
                deleted += 1;
            }
        }
        let mut found = self.inner.blobs.list("artifacts");
        while let Some(object) = found.next().await {
            let (path, _, changed) = object?;
            let digest = path.rsplit('/').next().unwrap_or_default();
            // A publish that claims these bytes after this look puts them back: see `publish`, `Found::Before`.
            if changed < old && !self.inner.store.digest_claimed(digest).await? {
                self.inner.blobs.delete(&path).await?;
                deleted += 1;
            }
        }
        Ok(deleted)
    }
}
