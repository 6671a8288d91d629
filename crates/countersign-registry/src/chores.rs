//! Periodic work of a serving process. Each chore may be skipped, repeated or cut off at any moment.

use std::collections::HashSet;
use std::time::Duration;

use futures::StreamExt;

use crate::Registry;
use crate::error::{Error, Result};

/// Superseded documents and unclaimed artifacts stay this long, in seconds: a client may be between an index and a file.
const KEEP: i64 = 86_400;

/// Seconds between two looks at what is due.
const TICK: u64 = 10;

/// Something done again and again.
#[derive(Clone, Copy)]
enum Work {
    Accounts,
    Tokens,
    Sessions,
    Domains,
    Spool,
    Blobs,
    Critical,
    Names,
    MissingNames,
    Provenance,
    TrustRoots,
    Tuf,
    Advisories,
}

/// What is done, in words, and every so many seconds.
const CHORES: [(Work, &str, u64); 13] = [
    (
        Work::Accounts,
        "Recoveries, mailed links and programs that wait",
        60,
    ),
    (Work::Tokens, "Tokens that ended", 3_600),
    (Work::Sessions, "Sessions that ended", 3_600),
    (Work::Domains, "Domains of e-mail addresses", 3_600),
    (Work::Spool, "Uploads that broke off", 21_600),
    (
        Work::Blobs,
        "Files and documents that nothing needs",
        21_600,
    ),
    (Work::Critical, "Which projects are critical", 3_600),
    (
        Work::Names,
        "Names that look like those protected since",
        600,
    ),
    (
        Work::MissingNames,
        "Names that are asked for and do not exist",
        60,
    ),
    (
        Work::Provenance,
        "Attestations of the registry's own, and those that are due",
        600,
    ),
    (
        Work::TrustRoots,
        "The newest documents of the built-in trust roots",
        600,
    ),
    (
        Work::Tuf,
        "TUF metadata that ends soon, or that nothing needs",
        60,
    ),
    (Work::Advisories, "Feeds of advisories that changed", 600),
];

fn paced() -> tokio::time::Interval {
    let mut tick = tokio::time::interval(Duration::from_secs(TICK));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    tick
}

impl Registry {
    /// Counts downloads every ten seconds, looks after accounts every minute, forgets expired tokens every hour, sweeps
    /// every six hours. What may take long, for its size or for hosts that answer slowly, keeps nothing else waiting.
    pub(crate) async fn chores(&self) {
        let refresh = self.inner.settings.refresh_trust_roots;
        let (long, short): (Vec<_>, Vec<_>) = CHORES
            .into_iter()
            .filter(|(work, ..)| refresh || !matches!(work, Work::TrustRoots))
            .partition(|(work, ..)| {
                matches!(
                    work,
                    Work::Blobs
                        | Work::Names
                        | Work::Provenance
                        | Work::TrustRoots
                        | Work::Tuf
                        | Work::Advisories
                )
            });
        let named = short.iter().chain(&long);
        self.inner
            .diary
            .open(named.map(|(_, name, every)| (*name, *every)));
        let downloads = async {
            let mut tick = paced();
            loop {
                tick.tick().await;
                self.flush_downloads().await;
                if let Err(error) = self.flush_downloaders().await {
                    tracing::warn!(%error, "who downloaded what could not be written; it is tried again");
                }
            }
        };
        tokio::join!(downloads, self.rounds(&short), self.rounds(&long));
    }

    async fn rounds(&self, chores: &[(Work, &'static str, u64)]) {
        let mut tick = paced();
        let mut ticks: u64 = 0;
        loop {
            tick.tick().await;
            ticks += 1;
            for &(work, name, every) in chores {
                if !ticks.is_multiple_of(every / TICK) {
                    continue;
                }
                let outcome = self.chore(work).await;
                if let Err(error) = &outcome {
                    tracing::warn!(%error, chore = name, "periodic work failed; it is tried again later");
                }
                let problem = outcome.err().map(|error| error.message);
                self.inner.diary.note(name, self.now(), problem);
            }
        }
    }

    async fn chore(&self, work: Work) -> Result<()> {
        match work {
            Work::Accounts => self.look_after_accounts().await,
            Work::Tokens => self.purge_expired().await.map(drop),
            Work::Sessions => self.purge_sign_in().await.map(drop),
            Work::Domains => self.check_domains().await.map(drop),
            Work::Spool => self.sweep_spool().await,
            Work::Blobs => {
                // Neither keeps the other from being done.
                let swept = self.sweep().await.map(drop);
                self.clear_superseded_tiles().await.map(drop).and(swept)
            }
            Work::Critical => self.find_critical_if_due().await.map(drop),
            Work::Names => self.look_after_names().await,
            Work::MissingNames => self.flush_missing_names().await,
            Work::Provenance => self.look_after_provenance().await,
            Work::TrustRoots => self.refresh_trust_roots_if_due().await,
            Work::Tuf => {
                let services = self.look_after_tuf_services().await;
                self.look_after_tuf().await.and(services)
            }
            Work::Advisories => self.refresh_advisories().await,
        }
    }

    /// Recoveries, cases and exemptions whose time is over, mail, links and programs that ended. Part of the chores.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn look_after_accounts(&self) -> Result<()> {
        self.look_after_recoveries().await?;
        self.purge_mail().await?;
        self.purge_devices().await?;
        self.forget_origins().await?;
        self.forget_downloaders().await?;
        self.expire_staged().await?;
        self.look_after_cases().await?;
        self.end_exemptions_that_are_over().await?;
        Ok(())
    }

    /// Files without an attestation of the registry's, npm versions without its signature, sources and attestations that are due. Part of the chores.
    ///
    /// # Errors
    /// Where the database or the folder of keys fails.
    pub async fn look_after_provenance(&self) -> Result<()> {
        // None of them keeps the others from being done; the first that went wrong is told.
        let attested = self.attest_unattested().await.map(drop);
        let signed = self.sign_unsigned().await.map(drop);
        let held = self.reverify_attestations().await.map(drop);
        let looked = self.recheck_sources().await.map(drop);
        attested.and(signed).and(held).and(looked)
    }

    /// Deletes what uploads left in the spool folder when their process was killed.
    async fn sweep_spool(&self) -> Result<()> {
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
        swept
            .await
            .map_err(|source| Error::internal("a task broke off", source))?
            .map_err(|source| Error::internal("the spool folder can not be swept", source))
    }

    /// Deletes documents that nothing has pointed to for a day, and artifacts that no file ever claimed (an upload
    /// that died between its blob and its rows). Bytes of withheld and removed files stay: they are evidence.
    ///
    /// # Errors
    /// Where database or blob store fail.
    pub async fn sweep(&self) -> Result<u64> {
        let old = self.now().seconds() - KEEP;
        let mut deleted = 0;
        let own = crate::tuf::OWN.map(|ecosystem| ecosystem.as_str());
        let mut pointed: HashSet<String> = self
            .inner
            .store
            .document_digests()
            .await?
            .into_iter()
            .map(|(_, digest)| digest)
            .collect();
        // Those that TUF lists, and listed until lately.
        pointed.extend(
            self.inner
                .store
                .tuf_digests(&own, self.now().plus_seconds(-KEEP))
                .await?,
        );
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
