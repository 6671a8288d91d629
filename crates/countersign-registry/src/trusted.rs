//! Trusted publishing, from top to bottom: an identity token of a workflow becomes a token for minutes.
//!
//! parse within limits → its issuer is one that is admitted here → that issuer's keys → signature, times, audience →
//! publishers that its claims could fit, each judged rule by rule → one transaction (the publishers as they are now, the
//! replay's fence, pending publishers get their project, the minted token) → the token, revealed once.
//!
//! Nothing is written for a token that is not genuine, and no network is used while the transaction is open.
//! `issuers` holds the allow list and the keys, `judgement` decides (pure), `registrations` manages.

mod for_services;
mod issuers;
mod judgement;
mod registrations;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use countersign_formats::{Ecosystem, NameKey, format, purl};
use countersign_trust::leaf::{self, LeafKind};
use countersign_trust::oidc::{self, Claims, Demands, Unverified, Verified};
use countersign_trust::token::{Token, TokenKind};
use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::Change;
use crate::model::{
    Actor, CallerOrigin, CredentialId, Identity, ProjectId, PublisherId, Strength, Time,
    TrustLevel, Workflow,
};
use crate::policy;
use crate::store::{
    FailureRow, NewCredential, NewProject, NoticeRow, PublisherRow, Tx, WRITE_CONFLICT, retried,
};
use crate::texts::NoticeKind;

pub use for_services::{ExchangeDesk, NewServicePublisher, ServiceJudgement, ServicePublisher};
use issuers::Issuer;
pub use issuers::{IssuerSummary, NewIssuer};
use judgement::{Judged, Verdict, judge_each};
pub use registrations::{
    FailedExchange, JudgedPublisher, NewPublisher, Notice, PolicyChange, ProjectPolicy,
    PublisherCheck, PublisherSummary, Refusal, TokenTest,
};

/// How long a minted token lives, in seconds.
const MINTED_SECONDS: i64 = 900;

/// A replay is remembered this much longer than its token could be taken, in seconds beyond the leeway.
const REPLAY_MARGIN: i64 = 60;

/// Publishers for which one refusal is written down.
const NOTED_AT_MOST: usize = 20;

/// How long a refused exchange is remembered for whoever asks next from the same address, in seconds…
const REMEMBERED: i64 = 600;
/// …and how many of them.
const REMEMBERED_AT_MOST: usize = 10_000;

/// How often a mint that lost a race for a project's name is tried again.
const RACES: usize = 4;

/// A minted token.
pub struct Minted {
    /// The secret, revealed here alone.
    pub token: String,
    /// When it ends.
    pub expires: Time,
    /// Names of the projects that it may publish to.
    pub projects: Vec<String>,
    /// What the owners could do better.
    pub warnings: Vec<String>,
}

/// A project as somebody asked for it, and the address they asked from.
type Asker = (Ecosystem, NameKey, IpAddr);

/// What this process remembers of issuers and of refusals.
#[derive(Default)]
pub(crate) struct Issuers {
    keys: issuers::KeyCache,
    /// Identity tokens issued before are not taken (seconds since 1970): which of them were exchanged already was lost
    /// with what a restore could not bring back.
    since: tokio::sync::OnceCell<i64>,
    /// When a refusal of one kind was last written down for a publisher.
    noted: Mutex<HashMap<(PublisherId, String), Time>>,
    /// The last refusals for a project and an address, in words. Memory is enough: they are a courtesy.
    recent: Mutex<HashMap<Asker, (Time, String)>>,
}

/// An identity token that is genuine, current and meant for this registry. Whether anybody wants it is another matter.
struct Genuine {
    issuer: Issuer,
    verified: Verified,
}

impl Registry {
    /// The audience that identity tokens must name to be exchanged here: one for each ecosystem's dialect, so that a
    /// token for another registry, or for another dialect of this one, is of no use.
    ///
    /// # Errors
    /// `trusted-publishing-off`.
    pub fn oidc_audience(&self, ecosystem: Ecosystem) -> Result<String> {
        if !self.inner.settings.trusted_publishing.enabled {
            return Err(Error::new(
                Kind::Denied,
                "trusted-publishing-off",
                "The operator of this registry has switched trusted publishing off.",
            )
            .remedy(
                "Publish with an API token, or ask the operator to set trusted_publishing.enabled.",
            ));
        }
        let site = self.inner.settings.site();
        Ok(match ecosystem {
            // npm's clients ask for this one by themselves: the host's name alone, without its port.
            Ecosystem::Npm => format!(
                "npm:{}",
                self.inner.settings.url.host_str().unwrap_or_default()
            ),
            // As cargo's action makes it of the address that it is given: without the scheme, with the path.
            Ecosystem::Cargo => format!(
                "{}/cargo",
                site.split_once("://").map_or(site, |(_, rest)| rest)
            ),
            Ecosystem::Pypi => format!("{site}/{ecosystem}"),
        })
    }

    /// Exchanges the identity token of a workflow for a token of this registry that lives 15 minutes, is good for the
    /// projects of the publishers that it fits, and can only publish.
    ///
    /// # Errors
    /// `trusted-publishing-off`; `issuer-unknown`, `issuer-unreachable` (unavailable: try again); `oidc-…` for a token
    /// that is not genuine, current and for this registry; `oidc-before-restore`; `oidc-replayed`; `publisher-none`, `publisher-mismatch`,
    /// `publisher-pin-expired`, `pending-publisher-expired`, `pending-publisher-lost`, `account-disabled`; for a pending
    /// publisher also the refusal of its project's name. Differing claims stand in [`Error::differences`].
    pub async fn exchange(&self, ecosystem: Ecosystem, token: &str) -> Result<Minted> {
        self.exchange_among(ecosystem, token, None).await
    }

    /// [`Registry::exchange`] for one project alone. A refusal is remembered for some minutes for the project and the
    /// caller's address, for clients that say nothing of it and fail later: see [`Registry::failed_exchange`].
    ///
    /// # Errors
    /// Those of `exchange`.
    pub async fn exchange_for(
        &self,
        ecosystem: Ecosystem,
        project: &str,
        token: &str,
        origin: &CallerOrigin,
    ) -> Result<Minted> {
        let key = format(ecosystem).name_key(project)?;
        let exchanged = self.exchange_among(ecosystem, token, Some(&key)).await;
        let recent = &self.inner.issuers.recent;
        let mut recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        recent.retain(|_, (at, _)| at.plus_seconds(REMEMBERED) > now);
        let whose = (ecosystem, key, origin.address);
        match &exchanged {
            Ok(_) => drop(recent.remove(&whose)),
            Err(error) if recent.len() < REMEMBERED_AT_MOST => {
                drop(recent.insert(whose, (now, error.text())));
            }
            Err(_) => {}
        }
        exchanged
    }

    /// Why the last exchange for this project from this address failed, minutes ago, where none succeeded since.
    pub fn failed_exchange(
        &self,
        ecosystem: Ecosystem,
        project: &str,
        origin: &CallerOrigin,
    ) -> Option<String> {
        let key = format(ecosystem).name_key(project).ok()?;
        let recent = &self.inner.issuers.recent;
        let recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, why) = recent.get(&(ecosystem, key, origin.address))?;
        (at.plus_seconds(REMEMBERED) > self.now()).then(|| why.clone())
    }

    async fn exchange_among(
        &self,
        ecosystem: Ecosystem,
        token: &str,
        only: Option<&NameKey>,
    ) -> Result<Minted> {
        let mut genuine = self.genuine(ecosystem, token).await?;
        if let Some(key) = only {
            // A job has one identity token for all that it publishes, and its client exchanges it for each project: once
            // for each is what the fence lets through.
            let once = &mut genuine.verified.replay_key;
            *once = format!("{once} for {ecosystem} {key}");
        }
        let claims = &genuine.verified.claims;
        let mut candidates = self.candidates(ecosystem, &genuine).await?;
        candidates.retain(|row| only.is_none_or(|key| row.project_key == key.as_str()));
        let judged = judge_each(candidates, claims, self.now());
        let fitting: Vec<&PublisherId> = judged
            .iter()
            .filter(|(_, judged)| judged.verdict == Verdict::Fits)
            .map(|(row, _)| &row.id)
            .collect();
        if fitting.is_empty() {
            let refusal = judgement::refusal(&genuine.issuer, claims, &judged);
            self.note_refusal(&genuine, &judged, &refusal).await;
            return Err(refusal);
        }
        // A storm of replays must not queue for the one writer. The fence is in the transaction; this is only a look.
        let Genuine { issuer, verified } = &genuine;
        if self
            .inner
            .store
            .is_replay(&issuer.url, &verified.replay_key)
            .await?
        {
            return Err(replayed());
        }
        let minted = retried(RACES, || self.mint(ecosystem, &genuine, &fitting)).await;
        minted.map_err(|error| {
            if error.code == WRITE_CONFLICT {
                Error::unavailable(
                    "too-many-races",
                    "Others kept changing the same publisher at the same moment.",
                )
                .because(error)
            } else {
                error
            }
        })
    }

    /// The audience that this token shall have. Of npm's clients yarn asks for the host with its port, where it has one;
    /// that is this registry all the same.
    fn audience_for(&self, ecosystem: Ecosystem, usual: String, token: &Unverified) -> String {
        let url = &self.inner.settings.url;
        let with_port = match (ecosystem, url.port()) {
            (Ecosystem::Npm, Some(port)) => format!("{usual}:{port}"),
            _ => return usual,
        };
        match token.claims().get("aud").and_then(|aud| aud.as_str()) {
            Some(said) if said == with_port => with_port,
            _ => usual,
        }
    }

    /// Is the token genuine, current and for this registry? Writes nothing.
    async fn genuine(&self, ecosystem: Ecosystem, token: &str) -> Result<Genuine> {
        let audience = self.oidc_audience(ecosystem)?;
        let audience = {
            let token = Unverified::parse(token.trim())?;
            self.audience_for(ecosystem, audience, &token)
        };
        self.genuine_for(&audience, token).await
    }

    /// [`Registry::genuine`] for what this audience names.
    async fn genuine_for(&self, audience: &str, token: &str) -> Result<Genuine> {
        let token = Unverified::parse(token.trim())?;
        let issuer = self.admitted(token.issuer()).await?;
        let keys = self.keys_for(&issuer, token.key_id()).await?;
        let demands = Demands {
            issuer: &issuer.url,
            audience,
            algorithms: issuer.provider.algorithms(),
            longest_life: issuer.provider.longest_life(),
            jti_required: issuer.provider.has_jti(),
        };
        let verified = oidc::verify(&token, &keys, &demands, self.now().seconds())?;
        let since = self
            .inner
            .issuers
            .since
            .get_or_try_init(|| async {
                let stored = self.inner.store.instance("identity_tokens_since").await?;
                Ok::<_, Error>(
                    stored
                        .and_then(|text| text.parse().ok())
                        .unwrap_or(i64::MIN),
                )
            })
            .await?;
        if verified.issued < *since {
            return Err(Error::new(
                Kind::Rejected,
                "oidc-before-restore",
                "This registry was restored from a backup after the identity token was issued, and can not know whether it was exchanged before.",
            )
            .remedy("Ask the CI system for a new identity token: run the job again."));
        }
        Ok(Genuine { issuer, verified })
    }

    async fn candidates(
        &self,
        ecosystem: Ecosystem,
        genuine: &Genuine,
    ) -> Result<Vec<PublisherRow>> {
        let Genuine { issuer, verified } = genuine;
        let lookup = issuer
            .provider
            .lookup_of(&verified.claims)
            .unwrap_or_default();
        self.inner
            .store
            .publisher_candidates(ecosystem, &issuer.url, &lookup)
            .await
    }

    /// Writes the minted token, all or nothing. *Crash before the commit*: nothing happened, the identity token can be
    /// exchanged again. *After it, before the answer*: the minted token exists, nobody knows it, and it ends by itself;
    /// the workflow asks its provider for a new identity token.
    async fn mint(
        &self,
        ecosystem: Ecosystem,
        genuine: &Genuine,
        fitting: &[&PublisherId],
    ) -> Result<Minted> {
        let Genuine { issuer, verified } = genuine;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        // As they are now: one may have been removed, used up or pinned to other ids since it was judged.
        let locked = tx.locked_publishers(fitting).await?;
        let judged = judge_each(locked, &verified.claims, now);
        let mut publishers: Vec<PublisherRow> = judged
            .iter()
            .filter(|(_, judged)| judged.verdict == Verdict::Fits)
            .map(|(row, _)| row.clone())
            .collect();
        let (mut minted_for, mut warnings) = (Vec::new(), Vec::new());
        let (mut logged, mut refusal) = (false, None);
        let disputed = judgement::disputed(&publishers);
        for row in &mut publishers {
            if row.project.is_none() {
                let founded = if disputed.contains(&row.project_key) {
                    Err(judgement::dispute(&row.project_name))
                } else {
                    self.found_project(&mut tx, row, now).await?
                };
                match founded {
                    Ok(project) => {
                        row.project = Some(project);
                        logged = true;
                    }
                    // One publisher that comes to nothing must not stop the others: somebody else may have made it.
                    Err(error) => {
                        warnings.push(error.text());
                        refusal = Some(error);
                        continue;
                    }
                }
            }
            minted_for.push(row.clone());
        }
        let Some(first) = minted_for.first() else {
            // What was lost is written down, so that its holder sees it.
            tx.commit().await?;
            return Err(
                refusal.unwrap_or_else(|| judgement::refusal(issuer, &verified.claims, &judged))
            );
        };
        let keep_until = Time(0).plus_seconds(
            verified
                .expires
                .saturating_add(oidc::LEEWAY)
                .saturating_add(REPLAY_MARGIN),
        );
        if !tx
            .insert_replay(&issuer.url, &verified.replay_key, keep_until)
            .await?
        {
            return Err(replayed());
        }
        let rules: Vec<oidc::Rule> = minted_for
            .iter()
            .flat_map(|row| row.registration.rules.iter().cloned())
            .collect();
        let workflow = Workflow {
            label: first.registration.label.clone(),
            provider: issuer.provider,
            issuer: issuer.url.clone(),
            publishers: minted_for.iter().map(|row| row.id.clone()).collect(),
            claims: oidc::snapshot(issuer.provider, &verified.claims, &rules),
        };
        let token = Token::from_random(TokenKind::Workflow, self.inner.seams.random.bytes32());
        let credential = CredentialId(new_id());
        let expires = now.plus_seconds(MINTED_SECONDS);
        tx.insert_credential(&NewCredential {
            id: &credential,
            account: None,
            kind: "workflow",
            strength: Strength::Workflow,
            secret_hash: token.hash(),
            hint: &token.hint(),
            label: &workflow.label,
            scope: None,
            created: now,
            expires,
        })
        .await?;
        tx.insert_workflow_token(&credential, ecosystem, &workflow)
            .await?;
        let mut newly_pinned = BTreeMap::new();
        let carried = oidc::environment(issuer.provider, &workflow.claims);
        for row in &minted_for {
            let pinned = judgement::pins(row, &verified.claims);
            // A write for each use would be one too many; to the minute is enough.
            let noted = row.last_used.is_some_and(|at| at.plus_seconds(60) > now);
            if row.pin_by.is_some() || !noted {
                tx.use_publisher(&row.id, &pinned, now).await?;
            }
            if row.pin_by.is_some() {
                if pinned.is_empty() {
                    warnings.push(format!(
                        "This identity token tells no immutable id of the repository, so the publisher of {} has none: a repository that is deleted and made again would be taken for it.",
                        row.project_name
                    ));
                }
                newly_pinned.insert(row.id.0.clone(), pinned);
            }
            if let (Some(carried), None, Some(project)) =
                (&carried, &row.registration.environment, &row.project)
            {
                if !noted {
                    self.note_environment(&mut tx, row, project, carried)
                        .await?;
                }
                warnings.push(format!(
                    "The job ran in the environment {carried}, which the trusted publisher of {} does not require. Register it with that environment, so that no other job can publish.",
                    row.project_name
                ));
            }
        }
        let actor = Actor {
            identity: Identity::Workflow(Arc::new(workflow)),
            strength: Strength::Workflow,
            scope: None,
            credential: Some(credential.clone()),
            session: None,
            consent: None,
        };
        let detail = json!({"credential": credential, "expires": expires, "pinned": newly_pinned});
        tx.note_event(&new_id(), now, "token-minted", &actor, None, detail)
            .await?;
        tx.commit().await?;
        if logged {
            self.inner.beat.wake();
        }
        Ok(Minted {
            token: token.reveal(),
            expires,
            projects: minted_for.into_iter().map(|row| row.project_name).collect(),
            warnings,
        })
    }

    /// A pending publisher's first token founds its project: project, owner and publisher, in the transaction of the
    /// mint. The inner error says why it did not: the name was taken meanwhile (it was never reserved), or may not be
    /// taken any more.
    async fn found_project(
        &self,
        tx: &mut Tx,
        row: &PublisherRow,
        now: Time,
    ) -> Result<Result<ProjectId>> {
        let key = format(row.ecosystem).name_key(&row.project_name)?;
        // From here on no other project of this or a like name can come to be before this transaction ends.
        let facts = self
            .name_facts(tx, row.ecosystem, &key, row.account.as_ref())
            .await?;
        if tx
            .named_project(row.ecosystem, key.as_str())
            .await?
            .is_some()
        {
            tx.lose_pending(row.ecosystem, key.as_str(), now).await?;
            return Ok(Err(judgement::lost(&row.project_name)));
        }
        let settings = &self.inner.settings;
        let named = policy::may_take_name(settings, row.ecosystem, &row.project_name, &key, &facts);
        let open = policy::may_still_found(settings, row.by_operator, &row.project_name);
        let namespace = tx
            .namespace_over(row.ecosystem, key.as_str(), row.account.as_ref())
            .await?;
        let placed = policy::may_take_namespace(row.ecosystem, namespace.as_ref());
        if let Err(error) = named.and(open).and(placed) {
            return Ok(Err(error));
        }
        let project = ProjectId(new_id());
        tx.insert_project(&NewProject {
            id: &project,
            ecosystem: row.ecosystem,
            name: &row.project_name,
            key: key.as_str(),
            skeleton: &format(row.ecosystem).skeleton(&key),
            // Nothing is published yet.
            trust: TrustLevel::None,
            trust_source: None,
            private: false,
            now,
        })
        .await?;
        tx.settle_publisher(&row.id, &project).await?;
        tx.lose_pending(row.ecosystem, key.as_str(), now).await?;
        // It was the account that wanted this project; the workflow only did not know better.
        let actor = match (&row.account, &row.account_name) {
            (Some(id), Some(name)) => Actor {
                identity: Identity::Account {
                    id: id.clone(),
                    name: name.clone(),
                },
                strength: Strength::Token,
                scope: None,
                credential: None,
                session: None,
                consent: None,
            },
            _ => Actor::operator(),
        };
        let subject = purl::project_purl(row.ecosystem, &key);
        self.settle_owner(
            tx,
            &actor,
            &project,
            row.account.as_ref(),
            namespace.as_ref(),
        )
        .await?;
        let change = Change::about(&actor, LeafKind::PublisherChanged, subject, &project)
            .way(leaf::Change::Added, None);
        self.record(tx, change, json!({"publisher": row.id, "founded": true}))
            .await?;
        Ok(Ok(project))
    }

    /// Tells the owners that they could bind a publisher to the environment its job runs in.
    async fn note_environment(
        &self,
        tx: &mut Tx,
        row: &PublisherRow,
        project: &ProjectId,
        carried: &str,
    ) -> Result<()> {
        let label = &row.registration.label;
        let notice = NoticeRow {
            id: new_id(),
            kind: "environment-not-required".to_owned(),
            subject: row.id.0.clone(),
            at: self.now(),
            user: None,
            detail: [
                ("environment".to_owned(), carried.to_owned()),
                ("publisher".to_owned(), label.clone()),
            ]
            .into(),
        };
        if tx.put_notice(project, &notice).await? {
            let data = [
                ("publisher", label.as_str()),
                ("project", &row.project_name),
                ("environment", carried),
            ];
            let kind = NoticeKind::EnvironmentNotRequired;
            self.notify_owners(tx, project, None, kind, &data).await?;
        }
        Ok(())
    }

    /// Writes down for the owners why a genuine token of theirs was refused; at most once a second for each publisher
    /// and code, so that a storm of such tokens does not become a storm of writes. A failure here is not the caller's business.
    async fn note_refusal(
        &self,
        genuine: &Genuine,
        judged: &[(PublisherRow, Judged)],
        refusal: &Error,
    ) {
        let now = self.now();
        let provider = genuine.issuer.provider;
        let mut failures = Vec::new();
        {
            let mut noted = self
                .inner
                .issuers
                .noted
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            noted.retain(|_, at| at.plus_seconds(1) > now);
            for (row, judged) in judged {
                let same = judged.code() == refusal.code;
                let key = (row.id.clone(), refusal.code.to_string());
                if !same || row.project.is_none() || noted.contains_key(&key) {
                    continue;
                }
                if failures.len() == NOTED_AT_MOST {
                    break;
                }
                noted.insert(key, now);
                // Anybody can register anybody's repository. What its runs tell is shown only where its immutable ids
                // are known and are those of the token.
                let known = judged.ids_match;
                failures.push(FailureRow {
                    publisher: row.id.clone(),
                    issuer: genuine.issuer.url.clone(),
                    code: refusal.code.to_string(),
                    at: now,
                    times: 1,
                    message: judged.message(row),
                    differences: judged
                        .outcomes
                        .iter()
                        .filter(|outcome| !outcome.matched)
                        .map(|outcome| {
                            let mut outcome = outcome.clone();
                            // Ids are numbers, and tell an owner that a name has changed hands.
                            let id = provider.pinned_claims().contains(&outcome.claim.as_str());
                            if (!known && !id) || oidc::is_personal(provider, &outcome.claim) {
                                (outcome.seen, outcome.advice) = (None, None);
                            }
                            outcome
                        })
                        .collect(),
                    claims: if known {
                        let rules = &row.registration.rules;
                        oidc::snapshot(provider, &genuine.verified.claims, rules)
                    } else {
                        BTreeMap::new()
                    },
                });
            }
        }
        if failures.is_empty() {
            return;
        }
        let written = async {
            let mut tx = self.inner.store.write().await?;
            for failure in &failures {
                tx.record_failure(failure).await?;
            }
            tx.commit().await
        };
        if let Err(error) = written.await {
            tracing::warn!(%error, "a refused exchange could not be noted for the owners");
        }
    }

    /// Forgets replays of tokens that expired long ago, and minted tokens a month after their end.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn purge_expired(&self) -> Result<u64> {
        let now = self.now();
        self.inner
            .store
            .purge_expired(now, now.plus_seconds(-30 * 86_400))
            .await
    }
}

fn replayed() -> Error {
    Error::new(
        Kind::Rejected,
        "oidc-replayed",
        "This identity token was exchanged before; each is good once.",
    )
    .remedy("Ask the CI system for a new identity token. If nobody of yours exchanged this one, it has leaked: look at the job's log and steps.")
}

/// The claims as text, for whoever holds the token anyway.
fn shown(claims: &Claims) -> BTreeMap<String, String> {
    claims
        .as_map()
        .iter()
        .map(|(name, value)| {
            let text = claims.text(name).unwrap_or_else(|| value.to_string());
            (name.clone(), text)
        })
        .collect()
}
