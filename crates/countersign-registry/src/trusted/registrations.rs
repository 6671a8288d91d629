//! Managing publishers: list, add, check, try a token, remove; why exchanges failed; policies and notices of a project.

use std::collections::BTreeMap;

use countersign_formats::{Ecosystem, NameKey, format, purl};
use countersign_trust::leaf::{self, LeafKind};
use countersign_trust::oidc::{self, Asked, Difference, Provider, Registration, Rule};
use serde::Serialize;
use serde_json::json;

use super::issuers::PATIENCE;
use super::judgement::{self, Verdict, judge_each};
use super::shown;
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result, sentence};
use crate::fetch::unknown_project;
use crate::heartbeat::Change;
use crate::model::{AccountId, Actor, Identity, Permits, ProjectId, PublisherId, Time, TrustLevel};
use crate::policy::{self, Act, On};
use crate::seams::{OutsideError, OutsideRequest};
use crate::store::{CuratedProject, PolicyFacts, PublisherRow, Tx};
use crate::texts::NoticeKind;

/// Publishers that one account may have pending at a time. A bound against floods, not against use.
const PENDING_AT_MOST: i64 = 100;

/// Publishers that one project may have: each token that could fit is held against all of them.
const PUBLISHERS_AT_MOST: usize = 1_000;

/// Publishers that one account may have for one repository.
const REGISTERED_AT_MOST: i64 = 500;

/// A publisher as lists show it.
#[derive(Clone, Debug, Serialize)]
pub struct PublisherSummary {
    /// Its id.
    pub id: String,
    /// The ecosystem.
    pub ecosystem: Ecosystem,
    /// The project's name.
    pub project: String,
    /// Pending: it founds the project, if it is used by then.
    pub pending: Option<Time>,
    /// True for a pending publisher whose project's name somebody else took.
    pub lost: bool,
    /// Where it runs.
    pub provider: Provider,
    /// The issuer's URL.
    pub issuer: String,
    /// In words: repository, workflow, environment.
    pub label: String,
    /// What was registered.
    pub fields: BTreeMap<String, String>,
    /// What is asked of a token's claims.
    pub rules: Vec<Rule>,
    /// Immutable ids: claim to value.
    pub pinned: BTreeMap<String, String>,
    /// Until when it must be used first, since its ids are learnt from its first token.
    pub pin_by: Option<Time>,
    /// When registered.
    pub created: Time,
    /// By whom: a user name or `operator`.
    pub created_by: String,
    /// When last used, to the minute.
    pub last_used: Option<Time>,
    /// What its tokens may.
    pub permits: Permits,
    /// What could be better.
    pub warnings: Vec<String>,
}

/// A publisher to register.
#[derive(Clone, Debug)]
pub struct NewPublisher {
    /// The ecosystem.
    pub ecosystem: Ecosystem,
    /// The project's name.
    pub project: String,
    /// An issuer's name, a preset's word, or a URL.
    pub issuer: String,
    /// The preset's fields.
    pub fields: BTreeMap<String, String>,
    /// Further rules.
    pub claims: Vec<Rule>,
    /// For a project that does not exist yet; the caller will own it.
    pub pending: bool,
    /// The same, and this user will own it; for the operator.
    pub pending_for: Option<String>,
}

/// What a second look at a publisher found.
#[derive(Clone, Debug, Serialize)]
pub struct PublisherCheck {
    /// Nothing speaks against it.
    pub ok: bool,
    /// Sentences, good and bad.
    pub findings: Vec<String>,
    /// The publisher.
    pub publisher: PublisherSummary,
}

/// A refusal, as a test of a token shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Refusal {
    /// Its code.
    pub code: String,
    /// What was wrong.
    pub message: String,
    /// The way out.
    pub remedy: Option<String>,
    /// Claims that differ.
    pub differences: Vec<Difference>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self {
            code: error.code.into_owned(),
            message: error.message,
            remedy: error.remedy,
            differences: error.differences,
        }
    }
}

/// One publisher in a test of a token.
#[derive(Clone, Debug, Serialize)]
pub struct JudgedPublisher {
    /// Its id.
    pub id: String,
    /// In words.
    pub label: String,
    /// The token fits it.
    pub matched: bool,
    /// Rule by rule.
    pub rules: Vec<Difference>,
}

/// What an exchange of a token would do for one project.
#[derive(Clone, Debug, Serialize)]
pub struct TokenTest {
    /// `would-publish` or `refused`.
    pub verdict: &'static str,
    /// Why it would be refused.
    pub refusal: Option<Refusal>,
    /// The project's publishers.
    pub publishers: Vec<JudgedPublisher>,
    /// The token's claims; of one that is not genuine, none.
    pub claims: BTreeMap<String, String>,
}

/// A refused exchange, for the owners.
#[derive(Clone, Debug, Serialize)]
pub struct FailedExchange {
    /// When last.
    pub at: Time,
    /// The publisher it was nearest to.
    pub publisher: String,
    /// The issuer's URL.
    pub issuer: String,
    /// The error's code.
    pub code: String,
    /// What was wrong.
    pub message: String,
    /// Claims that differed.
    pub differences: Vec<Difference>,
    /// The token's claims, those that are kept.
    pub claims: BTreeMap<String, String>,
    /// How often at least; refusals within one second count once.
    pub times: u64,
}

/// What the owners of a project demand of whoever publishes.
#[derive(Clone, Debug, Serialize)]
pub struct ProjectPolicy {
    /// API tokens are refused.
    pub trusted_only: bool,
    /// Identity tokens must carry this deployment environment.
    pub environment: Option<String>,
    /// The least trust a publication needs.
    pub minimum_trust: TrustLevel,
    /// When last changed.
    pub changed: Option<Time>,
}

/// A change of a project's policy; what is `None` stays.
#[derive(Clone, Debug, Default)]
pub struct PolicyChange {
    /// Refuse API tokens.
    pub trusted_only: Option<bool>,
    /// Demand this environment, or none.
    pub environment: Option<Option<String>>,
    /// The least trust.
    pub minimum_trust: Option<TrustLevel>,
}

/// Something the owners of a project should know and could do.
#[derive(Clone, Debug, Serialize)]
pub struct Notice {
    /// Its id.
    pub id: String,
    /// When it last arose.
    pub at: Time,
    /// `token-used-beside-publisher` or `environment-not-required`.
    pub kind: String,
    /// What happened.
    pub text: String,
    /// What to do.
    pub advice: String,
}

fn summary(row: PublisherRow) -> PublisherSummary {
    let mut warnings = row.registration.warnings.clone();
    if let Some(by) = row.pin_by {
        warnings.push(format!(
            "The immutable ids of its repository are learnt from its first token, which must come before {}.",
            by.rfc3339()
        ));
    }
    PublisherSummary {
        id: row.id.0,
        ecosystem: row.ecosystem,
        project: row.project_name,
        pending: row.pending_until,
        lost: matches!(&row.removed, Some((_, why)) if why == "lost"),
        provider: row.registration.provider,
        issuer: row.registration.issuer,
        label: row.registration.label,
        fields: row.registration.fields,
        rules: row.registration.rules,
        pinned: row.pinned,
        pin_by: row.pin_by,
        created: row.created,
        created_by: row.account_name.unwrap_or_else(|| "operator".to_owned()),
        last_used: row.last_used,
        permits: row.permits,
        warnings,
    }
}

fn policy_view(facts: PolicyFacts) -> ProjectPolicy {
    ProjectPolicy {
        trusted_only: facts.trusted_only.is_some(),
        environment: facts.environment,
        minimum_trust: facts.minimum.unwrap_or(TrustLevel::None),
        changed: facts.changed,
    }
}

fn unknown_publisher(id: &str) -> Error {
    let shown: String = id.chars().take(80).collect();
    Error::new(
        Kind::NotFound,
        "publisher-unknown",
        format!("The project has no publisher {shown:?}."),
    )
    .remedy("List them with `countersign publisher list`.")
}

impl Registry {
    /// A project that this actor manages, looked at without locking anything: what is written asks again.
    async fn managed(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        act: Act,
    ) -> Result<(ProjectId, NameKey)> {
        let key = format(ecosystem).name_key(project)?;
        let found = self
            .inner
            .store
            .managed_project(ecosystem, key.as_str(), Self::account_of(actor))
            .await?;
        let Some(found) = found else {
            return Err(unknown_project(key.as_str()));
        };
        let on = On::Project {
            ecosystem,
            key: key.as_str(),
            roles: found.roles,
            critical: found.critical,
        };
        // Whoever does not see it is told what is said of a name that nobody has.
        if found.private && policy::may(Act::SeePrivate, actor, on, self.now()).is_err() {
            return Err(unknown_project(key.as_str()));
        }
        policy::may(act, actor, on, self.now())?;
        Ok((found.id, key))
    }

    /// The publishers of a project.
    ///
    /// # Errors
    /// `role-missing` for others than its owners and maintainers; `project-unknown`.
    pub async fn publishers(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
    ) -> Result<Vec<PublisherSummary>> {
        let (id, _) = self
            .managed(actor, ecosystem, project, Act::SeeSettings)
            .await?;
        let rows = self.inner.store.publishers_of(&id).await?;
        Ok(rows.into_iter().map(summary).collect())
    }

    /// Pending publishers of the caller; of everybody for the operator. Those that lost their name are among them.
    ///
    /// # Errors
    /// `token-action` for tokens that may not manage.
    pub async fn pending_publishers(&self, actor: &Actor) -> Result<Vec<PublisherSummary>> {
        let account = match &actor.identity {
            Identity::Account { id, .. } => {
                policy::may(Act::SeePending, actor, On::Own, self.now())?;
                Some(id)
            }
            Identity::Workflow(_) => {
                policy::may(Act::SeePending, actor, On::Own, self.now())?;
                None
            }
            _ => {
                policy::may_operate(actor, "list the pending publishers of all")?;
                None
            }
        };
        let rows = self.inner.store.pending_publishers(account).await?;
        Ok(rows.into_iter().map(summary).collect())
    }

    /// Registers a publisher: its fields are checked, its issuer's keys fetched, and the provider asked for the
    /// repository's immutable ids where it tells strangers; else they are learnt from the first token.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown` (with the way to a pending one), `issuer-unknown`, `publisher-invalid` with one
    /// difference for each wrong field, `publisher-exists`, `repository-unknown`, `too-many-pending`, `name-refused`,
    /// `project-exists` for a pending one, `creation-closed`.
    pub async fn add_publisher(
        &self,
        actor: &Actor,
        new: NewPublisher,
    ) -> Result<PublisherSummary> {
        self.add_publisher_that(actor, new, Permits::BOTH).await
    }

    /// [`Registry::add_publisher`], for one whose tokens may not do everything.
    ///
    /// # Errors
    /// Those of `add_publisher`; `publisher-may-nothing`.
    pub async fn add_publisher_that(
        &self,
        actor: &Actor,
        new: NewPublisher,
        permits: Permits,
    ) -> Result<PublisherSummary> {
        if permits == Permits::NONE {
            return Err(Error::new(
                Kind::Rejected,
                "publisher-may-nothing",
                "A publisher whose tokens may neither publish nor stage is of no use.",
            )
            .remedy("Name at least one permission: --allow-publish, --allow-stage-publish."));
        }
        self.oidc_audience(new.ecosystem)?;
        let key = format(new.ecosystem).name_key(&new.project)?;
        let pending = new.pending || new.pending_for.is_some();
        // Who may not, is told so before anything is asked of anybody.
        let owner = if pending {
            Some(self.future_owner(actor, &key, &new).await?)
        } else {
            let found = self
                .managed(actor, new.ecosystem, &new.project, Act::ManagePublishers)
                .await;
            found.map_err(|mut error| {
                if error.code == "project-unknown" {
                    error.remedy = Some(
                        "For a project that its first workflow run shall found, register a pending publisher (--pending)."
                            .to_owned(),
                    );
                }
                error
            })?;
            None
        };
        let issuer = self.issuer_named(&new.issuer, &new.fields).await?;
        let asked = Asked {
            fields: new.fields.clone(),
            claims: new.claims.clone(),
        };
        let mut registration = oidc::register(issuer.provider, &issuer.url, &asked)?;
        for warning in &mut registration.warnings {
            *warning = sentence(warning);
        }
        if let Err(error) = self.keys_for(&issuer, None).await {
            registration.warnings.push(format!(
                "{} Nothing can be published by it before that works.",
                error.message
            ));
        }
        let (pinned, doubt) = self.ask_identity(&issuer, &registration).await?;
        registration.warnings.extend(doubt);
        let settings = &self.inner.settings.trusted_publishing;
        let now = self.now();
        let all_pinned = issuer
            .provider
            .pinned_claims()
            .iter()
            .all(|claim| pinned.contains_key(*claim));
        let mut row = PublisherRow {
            id: PublisherId(new_id()),
            ecosystem: new.ecosystem,
            project: None,
            project_name: new.project.trim().to_owned(),
            project_key: key.to_string(),
            pinned,
            pin_by: (!all_pinned).then(|| now.plus_seconds(i64::from(settings.pin_days) * 86_400)),
            account: Self::account_of(actor).cloned(),
            account_name: Self::account_of(actor).map(|_| actor.name().to_owned()),
            account_disabled: None,
            by_operator: Self::account_of(actor).is_none(),
            created: now,
            pending_until: None,
            last_used: None,
            removed: None,
            permits,
            registration,
        };
        if let Some((account, name)) = owner {
            row.pending_until = Some(now.plus_seconds(i64::from(settings.pending_days) * 86_400));
            (row.account, row.account_name) = (Some(account), Some(name));
            self.insert_pending(actor, &key, &row).await?;
        } else {
            self.insert_publisher(actor, &key, &mut row).await?;
        }
        Ok(summary(row))
    }

    /// Who will own the project that a pending publisher founds.
    async fn future_owner(
        &self,
        actor: &Actor,
        key: &NameKey,
        new: &NewPublisher,
    ) -> Result<(AccountId, String)> {
        if let Some(user) = &new.pending_for {
            policy::may_operate(actor, "register pending publishers for others")?;
            return Ok((self.account(user).await?, user.clone()));
        }
        policy::may_found(
            &self.inner.settings,
            actor,
            new.ecosystem,
            key.as_str(),
            self.now(),
        )?;
        match &actor.identity {
            Identity::Account { id, name } => Ok((id.clone(), name.clone())),
            _ => Err(Error::new(
                Kind::Rejected,
                "pending-needs-owner",
                "Somebody must own the project that a pending publisher founds.",
            )
            .remedy("Name a user: --pending-for USER.")),
        }
    }

    /// Puts a publisher back that somebody removed from its project, with the rules and the ids that it had. A token that it minted
    /// less than a quarter of an hour ago is good again, too. For operators, who take back what somebody did in another's name.
    ///
    /// # Errors
    /// `operator-needed`, `project-unknown`, `publisher-unknown`, `publisher-exists`, `too-many-publishers`.
    pub async fn restore_publisher(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        id: &str,
    ) -> Result<()> {
        policy::may_operate(actor, "put a publisher back")?;
        let key = format(ecosystem).name_key(project)?;
        let wanted = PublisherId(id.to_owned());
        let mut tx = self.inner.store.write().await?;
        let row = tx.locked_publishers(&[&wanted]).await?.pop();
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, Act::ManagePublishers)
            .await?;
        let row = row.filter(|row| row.project.as_ref() == Some(&project.id));
        let row = row.ok_or_else(|| unknown_publisher(id))?;
        self.has_room(&project, &row).await?;
        if !tx.restore_publisher(&row.id).await? {
            return Err(unknown_publisher(id));
        }
        let again = Some("restored");
        self.tell_of_added(&mut tx, actor, (&project.id, &key), &row, again)
            .await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// Has a project room for this publisher, and none like it? Its row is locked: nobody registers the same meanwhile.
    async fn has_room(&self, project: &CuratedProject, row: &PublisherRow) -> Result<()> {
        let there = self.inner.store.publishers_of(&project.id).await?;
        if let Some(same) = there.iter().find(|other| {
            other.registration.issuer == row.registration.issuer
                && other.registration.rules == row.registration.rules
        }) {
            return Err(Error::new(
                Kind::Conflict,
                "publisher-exists",
                format!(
                    "{} is a publisher of {} already.",
                    same.registration.label, project.name
                ),
            )
            .remedy("Remove it first if its ids are to be learnt anew."));
        }
        if there.len() >= PUBLISHERS_AT_MOST {
            return Err(Error::new(
                Kind::Limited,
                "too-many-publishers",
                format!("{} has {PUBLISHERS_AT_MOST} publishers already.", project.name),
            )
            .remedy("Remove those that are no longer used; a rule with a pattern may take the place of many."));
        }
        Ok(())
    }

    /// Tells owners and the log of a publisher that a project has from now on. `how`: where it is not a new one.
    async fn tell_of_added(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        (project, key): (&ProjectId, &NameKey),
        row: &PublisherRow,
        how: Option<&str>,
    ) -> Result<()> {
        let data = [
            ("publisher", row.registration.label.as_str()),
            ("project", &row.project_name),
        ];
        self.notify_owners(tx, project, None, NoticeKind::PublisherAdded, &data)
            .await?;
        let subject = purl::project_purl(row.ecosystem, key);
        let change = Change::about(actor, LeafKind::PublisherChanged, subject, project)
            .way(leaf::Change::Added, None);
        let detail = match how {
            Some(how) => json!({"publisher": row.id, "how": how}),
            None => json!({"publisher": row.id}),
        };
        self.record(tx, change, detail).await?;
        Ok(())
    }

    async fn insert_publisher(
        &self,
        actor: &Actor,
        key: &NameKey,
        row: &mut PublisherRow,
    ) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        let project = self
            .project_for_change(&mut tx, actor, row.ecosystem, key, Act::ManagePublishers)
            .await?;
        self.has_room(&project, row).await?;
        self.within_count(&mut tx, row).await?;
        row.project = Some(project.id.clone());
        row.project_name = project.name;
        tx.insert_publisher(row).await?;
        self.tell_of_added(&mut tx, actor, (&project.id, key), row, None)
            .await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// Each registration for a repository is looked at whenever that repository's workflows publish anything: no account
    /// may fill their way with them.
    async fn within_count(&self, tx: &mut Tx, row: &PublisherRow) -> Result<()> {
        if row.by_operator || tx.registered_count(row).await? < REGISTERED_AT_MOST {
            return Ok(());
        }
        Err(Error::new(
            Kind::Limited,
            "too-many-publishers",
            format!("You have registered {REGISTERED_AT_MOST} publishers for this repository already."),
        )
        .remedy("Remove those that are no longer used, or let the operator of this registry register more."))
    }

    /// A pending publisher is the business of its account alone until it founds its project: an event, and no leaf.
    async fn insert_pending(&self, actor: &Actor, key: &NameKey, row: &PublisherRow) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        let facts = self
            .name_facts(&mut tx, row.ecosystem, key, row.account.as_ref())
            .await?;
        if tx
            .named_project(row.ecosystem, key.as_str())
            .await?
            .is_some()
        {
            return Err(Error::new(
                Kind::Conflict,
                "project-exists",
                format!("There is, or was, a project {} already.", row.project_name),
            )
            .remedy("If it is yours, register the publisher for it without --pending. Else choose another name."));
        }
        policy::may_take_name(
            &self.inner.settings,
            row.ecosystem,
            &row.project_name,
            key,
            &facts,
        )?;
        let namespace = tx
            .namespace_over(row.ecosystem, key.as_str(), row.account.as_ref())
            .await?;
        policy::may_take_namespace(row.ecosystem, namespace.as_ref())?;
        if let Some(account) = &row.account
            && tx.pending_count(account, row.created).await? >= PENDING_AT_MOST
        {
            return Err(Error::new(
                Kind::Limited,
                "too-many-pending",
                format!(
                    "{PENDING_AT_MOST} publishers of this account wait for their projects already."
                ),
            )
            .remedy("Use them or remove some first."));
        }
        if tx.pending_rival(row).await? {
            return Err(Error::new(
                Kind::Conflict,
                "pending-publisher-disputed",
                format!(
                    "Somebody else registered a workflow of this repository for {} already, and only one can own the project.",
                    row.project_name
                ),
            )
            .remedy("If it is not one of yours, ask the operator of this registry to remove it; or publish the first release with a token."));
        }
        self.within_count(&mut tx, row).await?;
        tx.insert_publisher(row).await?;
        let detail = json!({"publisher": row.id, "project": row.project_key});
        tx.note_event(
            &new_id(),
            row.created,
            "pending-publisher-added",
            actor,
            row.account.as_ref(),
            detail,
        )
        .await?;
        tx.commit().await
    }

    /// Asks the provider for a repository's immutable ids. What it does not tell is learnt from the first token.
    pub(super) async fn ask_identity(
        &self,
        issuer: &super::Issuer,
        registration: &Registration,
    ) -> Result<(BTreeMap<String, String>, Option<String>)> {
        let Some(url) = oidc::identity_question(registration) else {
            return Ok((BTreeMap::new(), None));
        };
        let answer = self
            .inner
            .seams
            .outside
            .get(OutsideRequest {
                url: &url,
                most: oidc::MAX_IDENTITY_BYTES,
                timeout: PATIENCE,
                ca_pem: issuer.ca_pem(),
                accept: "application/json",
                headers: &[],
            })
            .await;
        Ok(match answer {
            Ok(answer) => match oidc::identity_answer(registration, &answer.body) {
                Ok(ids) => (ids, None),
                Err(refused) => (BTreeMap::new(), Some(sentence(&refused.message))),
            },
            // Private repositories and those that do not exist look alike to strangers.
            Err(OutsideError::Status(404)) => (
                BTreeMap::new(),
                Some(format!(
                    "{} shows no such repository to strangers: it is private, or its name is wrong ({}).",
                    issuer.name, registration.label
                )),
            ),
            // What was renamed or moved is answered with where it is now.
            Err(OutsideError::Redirected(_)) => (
                BTreeMap::new(),
                Some(format!(
                    "{} says that this repository was renamed or moved ({}). Register it under its present name: tokens carry that one.",
                    issuer.name, registration.label
                )),
            ),
            Err(error) => (
                BTreeMap::new(),
                Some(format!(
                    "The repository's immutable ids could not be asked for: {url}: {error}."
                )),
            ),
        })
    }

    /// Removes a publisher, or a pending one of the caller's. Tokens that it minted end with it.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`, `publisher-unknown`.
    pub async fn remove_publisher(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        id: &str,
    ) -> Result<()> {
        let key = format(ecosystem).name_key(project)?;
        let wanted = PublisherId(id.to_owned());
        let mut tx = self.inner.store.write().await?;
        let row = tx.locked_publishers(&[&wanted]).await?.pop();
        let row = row.filter(|row| {
            let gone = matches!(&row.removed, Some((_, why)) if why != "lost");
            row.ecosystem == ecosystem && row.project_key == key.as_str() && !gone
        });
        if let Some(row) = row.as_ref().filter(|row| row.project.is_none()) {
            // Pending: its holder's business alone; to everybody else it is not there.
            let own = row.account.as_ref() == Self::account_of(actor) && row.account.is_some();
            if own {
                policy::may(Act::SeePending, actor, On::Own, self.now())?;
            } else if policy::may_operate(actor, "remove the pending publishers of others").is_err()
            {
                return Err(unknown_publisher(id));
            }
            self.end_publisher(&mut tx, actor, row, "removed").await?;
            return tx.commit().await;
        }
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, Act::ManagePublishers)
            .await?;
        let Some(row) =
            row.filter(|row| row.project.as_ref() == Some(&project.id) && row.removed.is_none())
        else {
            return Err(unknown_publisher(id));
        };
        self.end_publisher(&mut tx, actor, &row, "removed").await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// Ends a publisher within a transaction; with a leaf where it had a project.
    pub(super) async fn end_publisher(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        row: &PublisherRow,
        why: &str,
    ) -> Result<()> {
        let now = self.now();
        if !tx.remove_publisher(&row.id, why, now).await? {
            return Ok(());
        }
        let detail = json!({"publisher": row.id, "why": why});
        if let Some(project) = &row.project {
            let key = format(row.ecosystem).name_key(&row.project_key)?;
            let subject = purl::project_purl(row.ecosystem, &key);
            let change = Change::about(actor, LeafKind::PublisherChanged, subject, project)
                .way(leaf::Change::Removed, None);
            self.record(tx, change, detail).await?;
            let data = [
                ("publisher", row.registration.label.as_str()),
                ("project", &row.project_name),
            ];
            self.notify_owners(tx, project, None, NoticeKind::PublisherRemoved, &data)
                .await?;
        } else {
            tx.note_event(
                &new_id(),
                now,
                "pending-publisher-removed",
                actor,
                row.account.as_ref(),
                detail,
            )
            .await?;
        }
        Ok(())
    }

    /// Looks at a publisher again: are its issuer's keys to be had, and does the provider still give its repository the
    /// same ids?
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`, `publisher-unknown`.
    pub async fn check_publisher(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        id: &str,
    ) -> Result<PublisherCheck> {
        let (project, _) = self
            .managed(actor, ecosystem, project, Act::SeeSettings)
            .await?;
        let rows = self.inner.store.publishers_of(&project).await?;
        let Some(row) = rows.into_iter().find(|row| row.id.0 == id) else {
            return Err(unknown_publisher(id));
        };
        let (mut ok, mut findings) = (true, Vec::new());
        match self.admitted(&row.registration.issuer).await {
            Err(error) => {
                ok = false;
                findings.push(error.text());
            }
            Ok(issuer) => {
                match self.keys_for(&issuer, None).await {
                    Ok(keys) => findings.push(format!(
                        "{} answers, with {} keys that can be used.",
                        issuer.url,
                        keys.len()
                    )),
                    Err(error) => {
                        ok = false;
                        findings.push(error.text());
                    }
                }
                let (ids, doubt) = self.ask_identity(&issuer, &row.registration).await?;
                findings.extend(doubt);
                for (claim, now) in ids {
                    match row.pinned.get(&claim) {
                        Some(pinned) if *pinned == now => {
                            findings.push(format!("{claim} is {now}, as pinned."));
                        }
                        Some(pinned) => {
                            ok = false;
                            findings.push(format!(
                                "{claim} is {now} today and {pinned} as pinned: the account or repository was deleted and made again, or moved. Tokens are refused. If that is meant, remove this publisher and register it anew."
                            ));
                        }
                        None => findings.push(format!(
                            "{claim} is {now}; it is pinned by the first token."
                        )),
                    }
                }
            }
        }
        let now = self.now();
        if row.pin_by.is_some_and(|by| by <= now) {
            ok = false;
            findings.push(
                "It was not used in time and is refused now. Remove it and register it anew."
                    .to_owned(),
            );
        }
        Ok(PublisherCheck {
            ok,
            findings,
            publisher: summary(row),
        })
    }

    /// Says rule by rule what an exchange of this token would do for a project. Uses nothing up.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`.
    pub async fn test_token(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        token: &str,
    ) -> Result<TokenTest> {
        let (project, _) = self
            .managed(actor, ecosystem, project, Act::SeeSettings)
            .await?;
        let refused = |error: Error, claims, publishers| TokenTest {
            verdict: "refused",
            refusal: Some(error.into()),
            publishers,
            claims,
        };
        let genuine = match self.genuine(ecosystem, token).await {
            Ok(genuine) => genuine,
            // What is our own fault says nothing about the token.
            Err(error)
                if matches!(error.kind, Kind::Internal | Kind::Unavailable)
                    && error.code != "issuer-unreachable" =>
            {
                return Err(error);
            }
            Err(error) => return Ok(refused(error, BTreeMap::new(), Vec::new())),
        };
        let claims = &genuine.verified.claims;
        let rows = self.inner.store.publishers_of(&project).await?;
        let of_issuer = rows
            .into_iter()
            .filter(|row| row.registration.issuer == genuine.issuer.url)
            .collect();
        let judged = judge_each(of_issuer, claims, self.now());
        let publishers = judged
            .iter()
            .map(|(row, judged)| JudgedPublisher {
                id: row.id.0.clone(),
                label: row.registration.label.clone(),
                matched: judged.verdict == Verdict::Fits,
                rules: judged.outcomes.clone(),
            })
            .collect();
        if judged
            .iter()
            .any(|(_, judged)| judged.verdict == Verdict::Fits)
        {
            return Ok(TokenTest {
                verdict: "would-publish",
                refusal: None,
                publishers,
                claims: shown(claims),
            });
        }
        let refusal = judgement::refusal(&genuine.issuer, claims, &judged);
        Ok(refused(refusal, shown(claims), publishers))
    }

    /// The last refused exchanges of a project's publishers, newest first.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`.
    pub async fn failed_exchanges(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
    ) -> Result<Vec<FailedExchange>> {
        let (id, _) = self
            .managed(actor, ecosystem, project, Act::SeeSettings)
            .await?;
        let rows = self.inner.store.failed_exchanges(&id).await?;
        Ok(rows
            .into_iter()
            .map(|row| FailedExchange {
                at: row.at,
                publisher: row.publisher.0,
                issuer: row.issuer,
                code: row.code,
                message: row.message,
                differences: row.differences,
                claims: row.claims,
                times: row.times,
            })
            .collect())
    }

    /// What the owners of a project demand of whoever publishes.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`.
    pub async fn project_policy(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
    ) -> Result<ProjectPolicy> {
        let (id, _) = self
            .managed(actor, ecosystem, project, Act::SeeSettings)
            .await?;
        Ok(policy_view(self.inner.store.policy_of(&id).await?))
    }

    /// Changes what the owners of a project demand of whoever publishes. Takes effect at once.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`, `policy-environment`, `policy-locks-out`.
    pub async fn set_project_policy(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        wish: PolicyChange,
    ) -> Result<ProjectPolicy> {
        let key = format(ecosystem).name_key(project)?;
        if let Some(Some(environment)) = &wish.environment
            && (environment.trim().is_empty()
                || environment.len() > 255
                || environment.chars().any(char::is_control))
        {
            return Err(Error::new(
                Kind::Rejected,
                "policy-environment",
                format!("{environment:?} can not be the name of an environment."),
            )
            .remedy("Give 1 to 255 bytes without control characters, or none."));
        }
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, Act::ManagePolicy)
            .await?;
        let before = tx.policy_of(&project.id).await?;
        let mut after = before.clone();
        if let Some(only) = wish.trusted_only {
            after.trusted_only = only.then(|| before.trusted_only.unwrap_or(now));
        }
        if let Some(environment) = wish.environment {
            after.environment = environment.map(|text| text.trim().to_owned());
        }
        if let Some(minimum) = wish.minimum_trust {
            after.minimum = (minimum > TrustLevel::None).then_some(minimum);
        }
        let same = after.trusted_only == before.trusted_only
            && after.environment == before.environment
            && after.minimum == before.minimum;
        if same {
            return Ok(policy_view(before));
        }
        let shuts = |facts: &PolicyFacts| {
            facts.trusted_only.is_some()
                || facts.environment.is_some()
                || facts.minimum >= Some(TrustLevel::Workflow)
        };
        let publishers = self.inner.store.publishers_of(&project.id).await?;
        // Only these providers' tokens carry an environment.
        let placed = |row: &PublisherRow| {
            matches!(
                row.registration.provider,
                Provider::Github | Provider::Gitlab
            )
        };
        let nobody = publishers.is_empty()
            || (after.environment.is_some() && !publishers.iter().any(placed));
        let widened = shuts(&after) && !shuts(&before)
            || after.environment.is_some() && before.environment.is_none();
        if widened && nobody {
            return Err(Error::new(
                Kind::Rejected,
                "policy-locks-out",
                format!(
                    "{} has no trusted publisher that this policy lets in; nobody could publish.",
                    project.name
                ),
            )
            .remedy("Register a publisher first: `countersign publisher add`."));
        }
        after.changed = Some(now);
        tx.set_policy(&project.id, &after).await?;
        let subject = purl::project_purl(ecosystem, &key);
        let change = Change::about(actor, LeafKind::PolicyChanged, subject, &project.id)
            .way(leaf::Change::Replaced, None);
        let view = policy_view(after);
        let detail = json!({"before": policy_view(before), "after": view});
        let now_is = detail.get("after").map(ToString::to_string);
        let data = [
            ("project", project.name.as_str()),
            ("change", now_is.as_deref().unwrap_or_default()),
        ];
        self.notify_owners(&mut tx, &project.id, None, NoticeKind::PolicyChanged, &data)
            .await?;
        self.record(&mut tx, change, detail).await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(view)
    }

    /// What the owners of a project should know and could do.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`.
    pub async fn notices(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
    ) -> Result<Vec<Notice>> {
        let (id, _) = self
            .managed(actor, ecosystem, project, Act::SeeSettings)
            .await?;
        let rows = self.inner.store.notices(&id).await?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let detail = |name: &str| row.detail.get(name).map_or("", String::as_str);
                let (text, advice) = match row.kind.as_str() {
                    "environment-not-required" => (
                        format!(
                            "The publisher {} requires no environment, and its job ran in {}.",
                            detail("publisher"),
                            detail("environment")
                        ),
                        "Register it with that environment, then remove the one without: no other job of the repository can publish then.",
                    ),
                    _ => (
                        format!(
                            "{} published with an API token, though the project has a trusted publisher.",
                            row.user.as_deref().unwrap_or("Somebody")
                        ),
                        "Publish from the workflow and revoke the token; then refuse tokens: `countersign publisher policy --trusted-only on`.",
                    ),
                };
                Notice {
                    id: row.id,
                    at: row.at,
                    kind: row.kind,
                    text,
                    advice: advice.to_owned(),
                }
            })
            .collect())
    }

    /// Takes a notice down; it does not come back for the same reason.
    ///
    /// # Errors
    /// `role-missing`, `project-unknown`, `notice-unknown`.
    pub async fn dismiss_notice(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        id: &str,
    ) -> Result<()> {
        let key = format(ecosystem).name_key(project)?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let project = self
            .project_for_change(&mut tx, actor, ecosystem, &key, Act::DismissNotice)
            .await?;
        if !tx.dismiss_notice(&project.id, id, now).await? {
            return Err(Error::new(
                Kind::NotFound,
                "notice-unknown",
                "The project has no such notice.",
            )
            .remedy("List them with `countersign publisher notices`."));
        }
        let detail = json!({"project": project.id, "notice": id});
        tx.note_event(
            &new_id(),
            now,
            "notice-dismissed",
            actor,
            Self::account_of(actor),
            detail,
        )
        .await?;
        tx.commit().await
    }
}
