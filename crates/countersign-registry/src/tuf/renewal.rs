//! What is signed anew as time passes, and what is deleted.

use std::collections::BTreeSet;

use countersign_trust::completeness::read_map_root;
use countersign_trust::sigstore::Signs;
use countersign_trust::tuf::ceremony::RootPlan;
use countersign_trust::tuf::repository::{Draft, INDEX, redivide};
use countersign_trust::tuf::{Envelope, Extra, Key, Refusal, SuccinctRoles, Targets};

use super::own::ROOTS;
use super::{Contents, Prepared, Writer, refused};
use crate::Registry;
use crate::error::{Error, Result};
use crate::model::Time;
use crate::store::{Store, WRITE_CONFLICT};

/// Former files and targets stay this long, in seconds: a client may be in the middle of a session.
const KEEP: i64 = 86_400;
/// So long do former snapshots that are longer than [`LONG`]: a registry of that size writes one a second.
const KEEP_LONG: i64 = 3_600;
/// In bytes.
const LONG: u64 = 64 << 10;
/// Files that one transaction deletes.
const PURGE: u64 = 500;
/// Value of the instance's own table: by how much versions are to be lifted, after a restore.
pub(crate) const LIFT: &str = "tuf_lift";
/// Versions per second that a server never reaches.
const FASTEST: u64 = 1_000;
/// Bins that one commit signs anew.
const BINS_AT_ONCE: usize = 256;
/// Longest life of what the server signs in people's place in development, in seconds.
const YEAR: i64 = 365 * 86_400;

impl Registry {
    /// Signs anew what comes to its end, divides anew what has grown, and deletes what nobody asks for any more. Part of the
    /// chores. Each repository is looked after, whatever happens to the others; the first failure is told.
    ///
    /// # Errors
    /// Where a key is away or the database fails.
    pub async fn look_after_tuf(&self) -> Result<()> {
        let mut outcome = Ok(());
        for (name, _) in self.inner.store.tuf_versions().await? {
            let renewed = self.renew_tuf(&name).await;
            outcome = outcome.and(renewed);
        }
        let now = self.now();
        let before = |seconds: i64| Time(now.0 - seconds * 1_000_000);
        while self
            .inner
            .store
            .purge_tuf(before(KEEP), before(KEEP_LONG), LONG, PURGE)
            .await?
            >= PURGE
        {}
        outcome
    }

    /// Signs until nothing of this repository is due.
    pub(super) async fn renew_tuf(&self, name: &str) -> Result<()> {
        let mut races = 0;
        loop {
            let mut writer = self.tuf_writer(name).await?;
            let listed = match name {
                ROOTS => Some(self.roots_to_list().await?),
                _ => None,
            };
            let extra = self.tuf_extra(name).await?;
            let now = self.now().seconds();
            let Some(prepared) = writer
                .renew(&self.inner.store, self, listed, extra, now)
                .await?
            else {
                writer.keep();
                return Ok(());
            };
            match self.publish_tuf_alone(writer, prepared).await {
                Ok(()) => races = 0,
                Err(error) if error.code == WRITE_CONFLICT && races < 20 => races += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// After a restore: what clients saw of the state that was lost has higher versions than what the rows remember. So all that
    /// the server signs goes on far above: at more versions for each second since the rows' newest state than a server can
    /// publish. What people sign keeps its version: if a newer one was published, they bring it (docs/operating-tuf.md). All
    /// repositories in one transaction, together with the note that it was to be done.
    ///
    /// # Errors
    /// Where a key is away or the database fails.
    pub(crate) async fn lift_tuf_if_restored(&self) -> Result<()> {
        let store = &self.inner.store;
        let Some(note) = store.instance(LIFT).await? else {
            return Ok(());
        };
        let by: u64 = note
            .parse()
            .map_err(|source| Error::internal("a stored number is malformed", source))?;
        let now = self.now();
        let mut lifted = Vec::new();
        for (name, _) in store.tuf_versions().await? {
            let extra = self.tuf_extra(&name).await?;
            let mut writer = self.tuf_writer(&name).await?;
            let prepared = writer.lift(store, by, now.seconds(), extra).await?;
            lifted.push((writer, prepared));
        }
        let mut tx = store.write().await?;
        for (_, prepared) in &lifted {
            tx.publish_tuf(&prepared.publication, now).await?;
        }
        tx.unset_instance(LIFT).await?;
        tx.commit().await?;
        for (writer, prepared) in lifted {
            writer.published(self, prepared);
        }
        Ok(())
    }

    /// Fields of the timestamp besides those of the specification: for our own index, the newest map that the log commits to
    /// (`docs/spec/map.md`). So who has a timestamp knows a map from which nothing may be missing.
    pub(crate) async fn tuf_extra(&self, name: &str) -> Result<Extra> {
        let mut extra = Extra::default();
        if name.starts_with("service/") {
            return Ok(extra);
        }
        let newest = self.inner.store.newest_map_root(self.inner.shard).await?;
        if let Some((index, leaf)) = newest {
            let map = read_map_root(leaf.as_bytes(), index)
                .map_err(|source| Error::internal("a stored commitment can not be read", source))?;
            let field = serde_json::json!({
                "origin": self.inner.keys.origin(), "index": index, "covers": map.covers, "root": map.root.to_hex(),
            });
            extra.insert("map_root", field).map_err(refused)?;
        }
        Ok(extra)
    }
}

/// By how much versions are lifted by a restore at `now` of a state that was the newest at `newest`.
pub(crate) fn lift_after(newest: Time, now: Time) -> u64 {
    let seconds = u64::try_from(now.seconds() - newest.seconds()).unwrap_or(0);
    // An hour more, for clocks that differ.
    (seconds + 3_600).saturating_mul(FASTEST)
}

impl Writer {
    /// The next commit that is due, if any.
    async fn renew(
        &mut self,
        store: &Store,
        registry: &Registry,
        listed: Option<Contents>,
        extra: Extra,
        now: i64,
    ) -> Result<Option<Prepared>> {
        let repository = self.repository();
        let divide = repository
            .bins()
            .filter(|_| !self.terms().fixed_bins)
            .and_then(|bins| redivide(bins.bit_length, self.targets()));
        if let Some(bits) = divide {
            return self.divide(store, bits, now, extra).await.map(Some);
        }
        let bins_key = Key::of(&*self.state.online.bins).map_err(refused)?.id();
        let due = repository.due(now, &self.terms().lifetimes, &bins_key);
        let development = self.terms().development;
        let is_due = |role: &str| due.iter().any(|due| due.role == role);
        let current = repository.targets().map(|targets| &targets.targets);
        let has_targets = self.terms().keys.contains_key("targets");
        let relist = listed.filter(|listed| has_targets && current != Some(listed));
        let (root, targets) = (
            development && is_due("root"),
            has_targets && (is_due("targets") || relist.is_some()),
        );
        let of_bins = due.iter().filter(|due| {
            let bins = repository.bins();
            bins.is_some_and(|bins| bins.number(&due.role).is_some())
        });
        let names: BTreeSet<String> = of_bins
            .take(BINS_AT_ONCE)
            .map(|due| due.role.clone())
            .collect();
        let index = is_due(INDEX);
        let top = is_due("timestamp") || is_due("snapshot");
        if !(root || targets || index || top) && names.is_empty() {
            return Ok(None);
        }
        let bins = self.contents_of(store, names).await?;
        let new_root = if root {
            Some(self.next_root(registry, now)?)
        } else {
            None
        };
        let new_targets = if targets {
            Some(self.next_targets(registry, relist.clone(), now)?)
        } else {
            None
        };
        let mut prepared = self.draft(now, extra, |draft| {
            if let Some(root) = &new_root {
                draft.root(root, false)?;
            }
            if let Some(targets) = &new_targets {
                draft.targets(targets)?;
            }
            if index {
                draft.renew_index();
            }
            for (name, contents) in &bins {
                draft.bin(name, contents.clone())?;
            }
            Ok(())
        })?;
        if let Some(listed) = relist {
            for (path, file) in &listed {
                prepared.publication.put.push(super::row(path, file)?);
            }
            prepared.next.targets = listed.len() as u64;
        }
        Ok(Some(prepared))
    }

    /// The root after the one in use, for development: the same keys, a later end.
    fn next_root(&self, registry: &Registry, now: i64) -> Result<Vec<u8>> {
        let before = self.repository().root();
        let plan = RootPlan {
            expires: now + YEAR,
            development: true,
            ..RootPlan::of(before)
        };
        let signer = self.terms().signer("root", registry.key_folder())?;
        let next = || -> Result<Vec<u8>, Refusal> {
            let mut envelope = Envelope::unsigned(plan.root(Some(before))?);
            envelope.sign("root", &*signer)?;
            Ok(envelope.to_bytes())
        };
        next().map_err(refused)
    }

    /// The top-level targets after those in use, where the server has their key.
    pub(super) fn next_targets(
        &self,
        registry: &Registry,
        listed: Option<Contents>,
        now: i64,
    ) -> Result<Vec<u8>> {
        let before =
            self.repository().targets().cloned().ok_or_else(|| {
                Error::internal("a TUF repository has no targets", self.name.clone())
            })?;
        let document = Targets {
            version: before.version + 1,
            expires: now + self.terms().targets_good_for.unwrap_or(YEAR),
            targets: listed.unwrap_or_else(|| before.targets.clone()),
            ..before
        };
        let signer: Box<dyn Signs> = self.terms().signer("targets", registry.key_folder())?;
        let mut envelope = Envelope::unsigned(document);
        envelope.sign("targets", &*signer).map_err(refused)?;
        Ok(envelope.to_bytes())
    }

    /// All that the server signs anew, in versions that are higher by so much.
    async fn lift(&mut self, store: &Store, by: u64, now: i64, extra: Extra) -> Result<Prepared> {
        let division = self.repository().bins().cloned();
        let all = match &division {
            Some(bins) => self.all_bins(store, bins).await?,
            None => Vec::new(),
        };
        self.state.repository.lift(by);
        let mut prepared = self.draft(now, extra, |draft: &mut Draft<'_>| {
            if division.is_some() {
                draft.renew_index();
            }
            for (name, contents) in all {
                draft.bin(&name, contents)?;
            }
            Ok(())
        })?;
        // Former bins are listed in higher versions too, though nobody asks for their files.
        let mut standings = Vec::new();
        for (role, standing) in prepared.next.repository.standings() {
            let text = serde_json::to_string(&**standing)
                .map_err(|source| Error::internal("a standing can not be written", source))?;
            standings.push((role.to_string(), text));
        }
        prepared.publication.standings = standings;
        Ok(prepared)
    }

    /// What is in each bin of a division.
    pub(super) async fn all_bins(
        &self,
        store: &Store,
        bins: &SuccinctRoles,
    ) -> Result<Vec<(String, Contents)>> {
        let all = (0..bins.count()).map(|number| (bins.name(number), Contents::new()));
        let mut all: Vec<_> = all.collect();
        let numbers: Vec<u64> = (0..bins.count()).collect();
        // As many bins in a question as one answer may well hold.
        for chunk in numbers.chunks(256) {
            let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else {
                continue;
            };
            let places = bins.places(*first).start..bins.places(*last).end;
            for row in store.tuf_targets(&self.name, &[places]).await? {
                let number = usize::try_from(bins.bin_of(&row.path)).unwrap_or(usize::MAX);
                if let Some((_, contents)) = all.get_mut(number)
                    && self.repository().in_bins(&row.path)
                {
                    contents.insert(row.path.clone(), row.target()?);
                }
            }
        }
        Ok(all)
    }

    /// All bins anew, in a division of so many bits.
    async fn divide(
        &mut self,
        store: &Store,
        bits: u8,
        now: i64,
        extra: Extra,
    ) -> Result<Prepared> {
        let bins = super::own::division(bits);
        tracing::info!(
            repository = self.name,
            bins = bins.count(),
            "TUF targets are divided anew"
        );
        let all = self.all_bins(store, &bins).await?;
        self.state.warm.clear();
        self.draft(now, extra, |draft: &mut Draft<'_>| {
            draft.divide(bits)?;
            for (name, contents) in all {
                draft.bin(&name, contents)?;
            }
            Ok(())
        })
    }
}
