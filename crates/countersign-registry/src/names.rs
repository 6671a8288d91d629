//! Names: which a new project may have, which are protected from look-alikes, and who decides where it is not plain.
//!
//! What a new name is held against is read in the transaction that takes it. The protected names lie in memory; the
//! transaction reads under which state of the lists it runs, so that a list which was imported counts from its commit on,
//! whichever process imported it. A name that looks like a protected one is refused, or what is published under it is held,
//! or it is flagged; the last two are findings with their evidence, and an operator's exception ends both.

mod missing;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use countersign_formats::{Ecosystem, Manifest, NameKey, format, name_list};
use countersign_trust::digest::Sha256;
use serde::Serialize;
use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::checks::lookalikes::{Corpus, Hit, Tier};
use crate::checks::scan::ScanFinding;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, Actor, FileId, Portion, ProjectId};
use crate::policy;
use crate::store::{NameException, NameFacts, NameList, NamedProject, ProhibitedName, Tx};

/// Where the instance remembers under which state the lists are: another text after every change.
const STATE: &str = "names_state";
/// Where it remembers under which corpus all names were looked at last.
const SWEPT: &str = "names_swept";
/// Where it remembers by which rule the skeletons of its rows were made.
const SKELETONS: &str = "skeletons";
/// The rule of today. Another one here has every row's made anew when the registry is opened.
const SKELETON_RULE: &str = "2";
/// Rows of one transaction or question: a publication waits for no more.
const BATCH: u32 = 1_000;
/// A list that was not written to its end is forgotten after this time, in seconds.
const BROKEN_OFF: i64 = 86_400;
/// So many new dependencies of one file are looked at.
const MOST_DEPENDENCIES: usize = 64;
/// The rule of findings about a project's name, and about the names that it depends on.
const NAME_RULE: &str = "name-lookalike";
const DEPENDENCY_RULE: &str = "dependency-lookalike";

/// The protected names, in memory; and those that are asked for and do not exist.
#[derive(Default)]
pub(crate) struct Guard {
    missing: Mutex<missing::Tally>,
    now: ArcSwap<Corpora>,
    /// Whoever loads them keeps the others from doing so too.
    loading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Corpora {
    /// The state of the lists that it was made from; `None` for none yet.
    state: Option<String>,
    /// The digest of the registry's own names in it.
    own: String,
    /// By ecosystem, as [`Ecosystem::ALL`] has them.
    by: Vec<Corpus>,
}

impl Corpora {
    fn of(&self, ecosystem: Ecosystem) -> Option<&Corpus> {
        let at = Ecosystem::ALL.iter().position(|one| *one == ecosystem)?;
        self.by.get(at)
    }
}

/// What would become of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NameVerdict {
    /// It is free, and nothing speaks against it.
    Free,
    /// It is free; people would see what was found.
    Flagged,
    /// It is free; what is published under it would be held until somebody decided.
    Held,
    /// A project has it, or had it.
    Taken,
    /// It is not given out.
    Refused,
}

/// Why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NameReason {
    /// The code of the error, or of the finding.
    pub code: String,
    /// In a sentence.
    pub why: String,
    /// The name that it is about, where it is about another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<String>,
}

/// What would become of a name if somebody without any rights founded it now, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NameOpinion {
    /// Of which ecosystem.
    pub ecosystem: Ecosystem,
    /// As it was asked for, shortened.
    pub name: String,
    /// What it is known by, where it is a name.
    pub key: Option<String>,
    /// What would become of it.
    pub verdict: NameVerdict,
    /// Why, the weightiest first.
    pub reasons: Vec<NameReason>,
}

/// What a new name leads to, beside its being taken.
pub(crate) struct NameNote {
    /// Why what is published under it is held.
    pub(crate) held: Option<String>,
    hits: Vec<Hit>,
}

fn sentence(key: &str, hit: &Hit) -> String {
    format!("{key} {} {}", hit.way.words(), hit.other)
}

fn reason_of(text: &str) -> Result<&str> {
    let text = text.trim();
    if (2..=500).contains(&text.len()) && !text.contains(char::is_control) {
        return Ok(text);
    }
    Err(Error::new(
        Kind::Rejected,
        "reason",
        format!(
            "A reason has 2 to 500 bytes in one line; this has {}.",
            text.len()
        ),
    )
    .remedy("Say it in a sentence."))
}

fn list_name(name: &str) -> Result<&str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=60).contains(&name.len()) && name.chars().all(fits) {
        return Ok(name);
    }
    let shown: String = name.chars().take(60).collect();
    Err(Error::new(
        Kind::Rejected,
        "name-list-name",
        format!("A list can not be called {shown:?}."),
    )
    .remedy("Take 1 to 60 letters, digits, dots, dashes and underscores."))
}

impl Registry {
    /// The protected names under this state of the lists.
    async fn corpora(&self, state: Option<String>) -> Result<Arc<Corpora>> {
        let guard = &self.inner.names;
        let state = state.unwrap_or_default();
        let now = guard.now.load_full();
        if now.state.as_ref() == Some(&state) {
            return Ok(now);
        }
        let _turn = guard.loading.lock().await;
        let now = guard.now.load_full();
        if now.state.as_ref() == Some(&state) {
            return Ok(now);
        }
        self.load_corpora(state).await
    }

    async fn load_corpora(&self, state: String) -> Result<Arc<Corpora>> {
        let mut names: Vec<Vec<(String, Tier)>> = vec![Vec::new(); Ecosystem::ALL.len()];
        let place = |ecosystem: Ecosystem| {
            Ecosystem::ALL
                .iter()
                .position(|one| *one == ecosystem)
                .unwrap_or_default()
        };
        for list in &mut names {
            let configured = self.inner.settings.protected_names.iter();
            list.extend(configured.map(|name| (name.clone(), Tier::Refuse)));
        }
        let own = self.inner.store.own_names().await?;
        let digest = digest_of(&own);
        for (ecosystem, key) in own {
            names[place(ecosystem)].push((key, Tier::Hold));
        }
        self.inner
            .store
            .protected_names(&mut |ecosystem, key, tier| names[place(ecosystem)].push((key, tier)))
            .await?;
        let made = tokio::task::spawn_blocking(move || {
            let by = Ecosystem::ALL.iter().zip(names);
            by.map(|(ecosystem, names)| Corpus::new(*ecosystem, names))
                .collect()
        });
        let corpora = Arc::new(Corpora {
            state: Some(state),
            own: digest,
            by: made
                .await
                .map_err(|source| Error::internal("making a corpus of names broke off", source))?,
        });
        self.inner.names.now.store(corpora.clone());
        Ok(corpora)
    }

    /// What a new name is judged by: names that read the same, prohibitions, and the protected names that it looks like and
    /// that are not the account's own. Whoever reads it stands in a queue with others who would take a like name, until the
    /// transaction ends.
    pub(crate) async fn name_facts(
        &self,
        tx: &mut Tx,
        ecosystem: Ecosystem,
        key: &NameKey,
        account: Option<&AccountId>,
    ) -> Result<NameFacts> {
        let skeleton = format(ecosystem).skeleton(key);
        let mut facts = tx.name_facts(ecosystem, key.as_str(), &skeleton).await?;
        facts.hits = self.name_hits(tx, ecosystem, key, account).await?;
        Ok(facts)
    }

    async fn name_hits(
        &self,
        tx: &mut Tx,
        ecosystem: Ecosystem,
        key: &NameKey,
        account: Option<&AccountId>,
    ) -> Result<Vec<Hit>> {
        let corpora = self.corpora(tx.instance(STATE).await?).await?;
        let mut hits = corpora
            .of(ecosystem)
            .map(|corpus| corpus.lookalikes(key.as_str()))
            .unwrap_or_default();
        let others: Vec<&str> = hits.iter().map(|hit| hit.other.as_str()).collect();
        let beside = tx
            .names_beside(ecosystem, key.as_str(), &others, account)
            .await?;
        hits.retain(|hit| !beside.contains(&hit.other));
        Ok(hits)
    }

    /// Of a name that is taken now: what it looks like (`known`, where that was asked already), and whether what is published
    /// under it waits.
    pub(crate) async fn weigh_name(
        &self,
        tx: &mut Tx,
        ecosystem: Ecosystem,
        key: &NameKey,
        account: Option<&AccountId>,
        known: Option<Vec<Hit>>,
        held_before: bool,
    ) -> Result<NameNote> {
        let hits = match known {
            Some(hits) => hits,
            None => self.name_hits(tx, ecosystem, key, account).await?,
        };
        let held = hits.iter().find(|hit| hit.tier >= Tier::Hold).map(|hit| {
            format!(
                "{}, and a person looks at that first",
                sentence(key.as_str(), hit)
            )
        });
        let before = || "the name of its project waits until a person has looked at it".to_owned();
        Ok(NameNote {
            held: held.or_else(|| held_before.then(before)),
            hits,
        })
    }

    /// Keeps what was found about the name of a file's project.
    pub(crate) async fn note_name(
        &self,
        tx: &mut Tx,
        key: &NameKey,
        file: &FileId,
        note: &NameNote,
    ) -> Result<()> {
        for hit in &note.hits {
            let title = "Its name looks like a protected one";
            let text = sentence(key.as_str(), hit);
            self.find(tx, file, NAME_RULE, title, text, hit.tier)
                .await?;
        }
        Ok(())
    }

    /// Looks at the names that a file depends on and the file before it did not; those that look like a protected one are
    /// findings.
    pub(crate) async fn note_dependencies(
        &self,
        tx: &mut Tx,
        project: &ProjectId,
        file: &FileId,
        manifest: &Manifest,
    ) -> Result<()> {
        if manifest.dependencies.is_empty() {
            return Ok(());
        }
        let corpora = self.corpora(tx.instance(STATE).await?).await?;
        let ecosystem = manifest.ecosystem;
        let Some(corpus) = corpora.of(ecosystem).filter(|corpus| !corpus.is_empty()) else {
            return Ok(());
        };
        let before: HashSet<String> = tx
            .dependencies_before(project, file)
            .await?
            .into_iter()
            .collect();
        let mut seen = HashSet::new();
        let new = manifest
            .dependencies
            .iter()
            .map(|dependency| &dependency.name_key)
            .filter(|key| !before.contains(key.as_str()) && seen.insert(key.as_str()));
        for key in new.take(MOST_DEPENDENCIES) {
            let hits = corpus.lookalikes(key.as_str());
            let others: Vec<&str> = hits.iter().map(|hit| hit.other.as_str()).collect();
            let beside = tx
                .names_beside(ecosystem, key.as_str(), &others, None)
                .await?;
            let Some(hit) = hits.iter().find(|hit| !beside.contains(&hit.other)) else {
                continue;
            };
            let title = "It newly depends on a name that looks like a protected one";
            let text = sentence(key.as_str(), hit);
            self.find(tx, file, DEPENDENCY_RULE, title, text, Tier::Flag)
                .await?;
        }
        Ok(())
    }

    async fn find(
        &self,
        tx: &mut Tx,
        file: &FileId,
        rule: &str,
        title: &str,
        text: String,
        tier: Tier,
    ) -> Result<()> {
        let settings = &self.inner.settings.scan;
        let finding = ScanFinding {
            rule: rule.to_owned(),
            title: title.to_owned(),
            score: match tier {
                Tier::Flag => settings.flag_at,
                Tier::Hold | Tier::Refuse => settings.hold_at,
            },
            path: String::new(),
            line: 0,
            offset: 0,
            snippet: text,
            sha256: String::new(),
        };
        tx.insert_finding(&new_id(), file, &finding, self.now())
            .await
    }

    /// Imports a list of protected names, in the place of the one of that name: all of it, or nothing. `tier` is the most that
    /// looking like one of it leads to. How many names it has.
    ///
    /// # Errors
    /// `operator-needed`, `name-list-name`, `name-list-malformed` with the line.
    pub async fn import_names(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        list: &str,
        tier: Tier,
        bytes: Vec<u8>,
    ) -> Result<u64> {
        policy::may_operate(actor, "import names")?;
        let list = list_name(list)?;
        let names = tokio::task::spawn_blocking(move || name_list::parse(ecosystem, &bytes))
            .await
            .map_err(|source| Error::internal("reading a list of names broke off", source))??;
        let keys: Vec<String> = names.iter().map(ToString::to_string).collect();
        let (id, now, count) = (new_id(), self.now(), keys.len() as u64);
        let mut tx = self.inner.store.write().await?;
        tx.begin_name_list(&id, ecosystem, list, tier, now).await?;
        tx.commit().await?;
        // *Crash here*: the rows of a list that does not count; the chore clears them.
        for (at, keys) in keys.chunks(BATCH as usize).enumerate() {
            let mut tx = self.inner.store.write().await?;
            tx.insert_protected(&id, at as u64 * u64::from(BATCH), keys)
                .await?;
            tx.commit().await?;
        }
        let mut tx = self.inner.store.write().await?;
        tx.finish_name_list(&id, ecosystem, list, count, now)
            .await?;
        let detail = json!({"ecosystem": ecosystem, "list": list, "tier": tier, "names": count});
        self.names_changed(tx, actor, "names-imported", detail)
            .await?;
        self.clear_name_lists().await?;
        Ok(count)
    }

    /// Forgets a list of protected names.
    ///
    /// # Errors
    /// `operator-needed`, `name-list-unknown`.
    pub async fn drop_name_list(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        list: &str,
    ) -> Result<()> {
        policy::may_operate(actor, "forget a list of names")?;
        let mut tx = self.inner.store.write().await?;
        if !tx.drop_name_list(ecosystem, list).await? {
            let shown: String = list.chars().take(60).collect();
            return Err(Error::new(
                Kind::NotFound,
                "name-list-unknown",
                format!("There is no list {shown:?} of {ecosystem}."),
            )
            .remedy("`countersignd admin names list` names them."));
        }
        let detail = json!({"ecosystem": ecosystem, "list": list});
        self.names_changed(tx, actor, "name-list-forgotten", detail)
            .await?;
        self.clear_name_lists().await
    }

    /// Commits a change of what names are held against.
    async fn names_changed(
        &self,
        mut tx: Tx,
        actor: &Actor,
        kind: &str,
        detail: serde_json::Value,
    ) -> Result<()> {
        tx.set_instance(STATE, &new_id()).await?;
        tx.note_event(&new_id(), self.now(), kind, actor, None, detail)
            .await?;
        tx.commit().await
    }

    /// Clears the rows of lists that gave way, a portion at a time.
    async fn clear_name_lists(&self) -> Result<()> {
        let before = self.now().plus_seconds(-BROKEN_OFF);
        loop {
            let mut tx = self.inner.store.write().await?;
            let more = tx.clear_name_lists(before).await?;
            tx.commit().await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// The lists of protected names.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn name_lists(&self, actor: &Actor) -> Result<Vec<NameList>> {
        policy::may_operate(actor, "list names")?;
        self.inner.store.name_lists().await
    }

    /// Names that nobody may take, besides those of the configuration.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn prohibited_names(&self, actor: &Actor) -> Result<Vec<ProhibitedName>> {
        policy::may_operate(actor, "list names")?;
        self.inner.store.prohibited_names().await
    }

    /// Names that may stand beside each other.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn name_exceptions(&self, actor: &Actor) -> Result<Vec<NameException>> {
        policy::may_operate(actor, "list names")?;
        self.inner.store.name_exceptions().await
    }

    /// Prohibits a name, and those that read the same, to everybody but operators; `None` takes that back. A project that has
    /// the name already keeps it.
    ///
    /// # Errors
    /// `operator-needed`, `reason`, what is no name, `name-not-prohibited`.
    pub async fn prohibit_name(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        reason: Option<&str>,
    ) -> Result<()> {
        policy::may_operate(actor, "prohibit names")?;
        let rules = format(ecosystem);
        let key = rules.name_key(name)?;
        let mut tx = self.inner.store.write().await?;
        let kind = match reason {
            Some(reason) => {
                let skeleton = rules.skeleton(&key);
                tx.prohibit_name(
                    ecosystem,
                    key.as_str(),
                    &skeleton,
                    reason_of(reason)?,
                    self.now(),
                )
                .await?;
                "name-prohibited"
            }
            None if tx.permit_name(ecosystem, key.as_str()).await? => "name-permitted",
            None => {
                return Err(Error::new(
                    Kind::NotFound,
                    "name-not-prohibited",
                    format!("The name {key} is not on the list of prohibited names."),
                )
                .remedy("Names of the configuration (prohibited_names) are taken back there."));
            }
        };
        let detail = json!({"ecosystem": ecosystem, "name": key.as_str(), "reason": reason});
        self.names_changed(tx, actor, kind, detail).await
    }

    /// Lets a name stand beside another one that it looks like (with a reason), or no longer (`None`). What waits because of
    /// the name alone is served; names of files that were.
    ///
    /// # Errors
    /// `operator-needed`, `reason`, what is no name, `name-not-excepted`.
    pub async fn allow_name(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
        other: &str,
        reason: Option<&str>,
    ) -> Result<Vec<String>> {
        policy::may_operate(actor, "except names")?;
        let rules = format(ecosystem);
        let (key, other) = (rules.name_key(name)?, rules.name_key(other)?);
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let detail = json!({
            "ecosystem": ecosystem, "name": key.as_str(), "other": other.as_str(), "reason": reason,
        });
        let Some(reason) = reason else {
            if !tx
                .disallow_name(ecosystem, key.as_str(), other.as_str())
                .await?
            {
                return Err(Error::new(
                    Kind::NotFound,
                    "name-not-excepted",
                    format!("There is no exception that lets {key} stand beside {other}."),
                )
                .remedy("`countersignd admin names list` shows them."));
            }
            self.names_changed(tx, actor, "name-exception-ended", detail)
                .await?;
            return Ok(Vec::new());
        };
        tx.allow_name(
            ecosystem,
            key.as_str(),
            other.as_str(),
            reason_of(reason)?,
            now,
        )
        .await?;
        let mut served = Vec::new();
        if let Some((project, None)) = tx.named_project(ecosystem, key.as_str()).await? {
            let ending = format!(" {other}");
            tx.dismiss_name_findings(&project, NAME_RULE, &ending, now)
                .await?;
            let hits = self.name_hits(&mut tx, ecosystem, &key, None).await?;
            if hits.iter().all(|hit| hit.tier < Tier::Hold) {
                served = tx.held_for_name(&project).await?;
            }
        }
        self.names_changed(tx, actor, "name-excepted", detail)
            .await?;
        // *Crash here*: the exception stands, and the rest is served by hand from the queue.
        for filename in &served {
            let portion = Portion::File(filename);
            self.serve_again(actor, ecosystem, key.as_str(), portion)
                .await?;
        }
        Ok(served)
    }

    /// What would become of a name if somebody without any rights founded a project of it now.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn check_name(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        name: &str,
    ) -> Result<NameOpinion> {
        policy::may_operate(actor, "check names")?;
        let rules = format(ecosystem);
        let mut opinion = NameOpinion {
            ecosystem,
            name: name.chars().filter(|c| !c.is_control()).take(100).collect(),
            key: None,
            verdict: NameVerdict::Refused,
            reasons: Vec::new(),
        };
        let said = |error: Error| NameReason {
            code: error.code.into_owned(),
            why: error.message,
            other: None,
        };
        let key = match rules.name_key(name) {
            Ok(key) => key,
            Err(refused) => {
                opinion.reasons.push(said(refused.into()));
                return Ok(opinion);
            }
        };
        // Dropped in the end, and with it whatever was locked.
        let mut tx = self.inner.store.write().await?;
        let there = tx.named_project(ecosystem, key.as_str()).await?;
        let namespace = tx.namespace_over(ecosystem, key.as_str(), None).await?;
        if let Err(error) = policy::may_take_namespace(ecosystem, namespace.as_ref()) {
            opinion.reasons.push(said(error));
        }
        let facts = self.name_facts(&mut tx, ecosystem, &key, None).await?;
        let settings = &self.inner.settings;
        if let Err(error) = policy::may_take_name(settings, ecosystem, name, &key, &facts) {
            opinion.reasons.push(said(error));
        }
        let refused = !opinion.reasons.is_empty();
        for hit in &facts.hits {
            opinion.reasons.push(NameReason {
                code: NAME_RULE.to_owned(),
                why: format!("{}.", sentence(key.as_str(), hit)),
                other: Some(hit.other.clone()),
            });
        }
        opinion.verdict = match (&there, facts.hits.first()) {
            (Some(_), _) => NameVerdict::Taken,
            (None, _) if refused => NameVerdict::Refused,
            (None, Some(hit)) if hit.tier >= Tier::Hold => NameVerdict::Held,
            (None, Some(_)) => NameVerdict::Flagged,
            (None, None) => NameVerdict::Free,
        };
        if let Some((_, removed)) = there {
            let (code, why) = match removed {
                None => ("project-exists", format!("There is a project {key} here.")),
                Some(_) => (
                    "name-retired",
                    format!(
                        "There was a project {key} here; only its former owners may use the name."
                    ),
                ),
            };
            let first = NameReason {
                code: code.to_owned(),
                why,
                other: None,
            };
            opinion.reasons.insert(0, first);
        }
        opinion.key = Some(key.to_string());
        Ok(opinion)
    }

    /// Looks at all names again where the protected ones changed, and clears what lists left behind. Part of the chores.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn look_after_names(&self) -> Result<()> {
        self.clear_name_lists().await?;
        let state = self.inner.store.instance(STATE).await?.unwrap_or_default();
        let own = digest_of(&self.inner.store.own_names().await?);
        let now = self.inner.names.now.load_full();
        let corpora = if now.state.as_ref() == Some(&state) && now.own == own {
            now
        } else {
            let _turn = self.inner.names.loading.lock().await;
            self.load_corpora(state.clone()).await?
        };
        let corpus = format!("{state}/{own}");
        if self.inner.store.instance(SWEPT).await?.as_ref() == Some(&corpus) {
            return Ok(());
        }
        if corpora.by.iter().any(|corpus| !corpus.is_empty()) {
            self.sweep_names(&corpora).await?;
        }
        let mut tx = self.inner.store.write().await?;
        tx.set_instance(SWEPT, &corpus).await?;
        tx.commit().await
    }

    /// Looks at the name of every live project. What would be held if it were new is flagged; what is served stays so.
    async fn sweep_names(&self, corpora: &Arc<Corpora>) -> Result<()> {
        let (mut after, mut found) = (String::new(), 0_u64);
        loop {
            let batch = self.inner.store.named_projects(&after, BATCH).await?;
            let Some(last) = batch.last() else { break };
            after.clone_from(&last.id.0);
            let looked = corpora.clone();
            let hits = tokio::task::spawn_blocking(move || {
                let looks = |project: NamedProject| {
                    let mut hits = looked.of(project.ecosystem)?.lookalikes(&project.key);
                    hits.retain(|hit| hit.tier >= Tier::Hold);
                    (!hits.is_empty() && project.file.is_some()).then_some((project, hits))
                };
                batch.into_iter().filter_map(looks).collect::<Vec<_>>()
            });
            let hits = hits
                .await
                .map_err(|source| Error::internal("looking at names broke off", source))?;
            if hits.is_empty() {
                continue;
            }
            let mut tx = self.inner.store.write().await?;
            for (project, hits) in &hits {
                let Some(file) = &project.file else { continue };
                let others: Vec<&str> = hits.iter().map(|hit| hit.other.as_str()).collect();
                let beside = tx.names_of_owners(project, &others).await?;
                for hit in hits.iter().filter(|hit| !beside.contains(&hit.other)) {
                    let text = sentence(&project.key, hit);
                    if tx.has_finding(file, NAME_RULE, &text).await? {
                        continue;
                    }
                    let title = "Its name looks like one that is protected since";
                    self.find(&mut tx, file, NAME_RULE, title, text, Tier::Flag)
                        .await?;
                    found += 1;
                }
            }
            tx.commit().await?;
        }
        if found > 0 {
            let mut tx = self.inner.store.write().await?;
            let (actor, now) = (Actor::system("names"), self.now());
            let detail = json!({"findings": found});
            tx.note_event(&new_id(), now, "names-looked-at", &actor, None, detail)
                .await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Makes the skeletons of rows anew that were made by another rule. Whoever breaks off in between begins again.
    pub(crate) async fn refresh_skeletons(&self) -> Result<()> {
        let store = &self.inner.store;
        if store.instance(SKELETONS).await?.as_deref() == Some(SKELETON_RULE) {
            return Ok(());
        }
        let mut after = String::new();
        loop {
            let batch = store.skeletons(&after, BATCH).await?;
            let Some((last, ..)) = batch.last() else {
                break;
            };
            after.clone_from(&last.0);
            let other: Vec<(ProjectId, String)> = batch
                .into_iter()
                .filter_map(|(id, ecosystem, key, had)| {
                    let now = format(ecosystem).skeleton(&NameKey::from_stored(key));
                    (now != had).then_some((id, now))
                })
                .collect();
            if !other.is_empty() {
                let mut tx = store.write().await?;
                tx.set_skeletons(&other).await?;
                tx.commit().await?;
            }
        }
        let mut tx = store.write().await?;
        tx.set_instance(SKELETONS, SKELETON_RULE).await?;
        tx.commit().await
    }
}

fn digest_of(names: &[(Ecosystem, String)]) -> String {
    let lines: String = names
        .iter()
        .map(|(ecosystem, key)| format!("{ecosystem}/{key}\n"))
        .collect();
    Sha256::of(lines.as_bytes()).to_hex()
}
