//! Trusted publishing, from top to bottom: an identity token of a workflow becomes a token for minutes.
//!
//! parse within limits → its issuer is one that is admitted here → that issuer's keys → signature, times, audience →
//! publishers that its claims could fit, each judged rule by rule → one transaction (the publishers as they are now, the
//! replay's fence, pending publishers get their project, the minted token) → the token, revealed once.
//!
//! Nothing is written for a token that is not genuine, and no network is used while the transaction is open.
//! `issuers` holds the allow list and the keys, `judgement` decides (pure), `registrations` manages.

mod issuers;
mod judgement;
mod registrations;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use countersign_formats::pypi::name;
use countersign_formats::{Ecosystem, format, purl};
use countersign_trust::leaf::{self, LeafKind};
use countersign_trust::oidc::{self, Claims, Demands, Unverified, Verified};
use countersign_trust::token::{Token, TokenKind};
use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::Change;
use crate::model::{
    Actor, CredentialId, Identity, ProjectId, PublisherId, Strength, Time, TrustLevel, Workflow,
};
use crate::policy;
use crate::store::{
    FailureRow, NewCredential, NewProject, NoticeRow, PublisherRow, Tx, WRITE_CONFLICT,
};
use crate::texts::NoticeKind;

use issuers::Issuer;
pub use issuers::{IssuerSummary, NewIssuer};
use judgement::{Judged, Verdict, judge};
pub use registrations::{
    FailedExchange, JudgedPublisher, NewPublisher, Notice, PolicyChange, ProjectPolicy,
    PublisherCheck, PublisherSummary, Refusal, TokenTest,
};

/// How long a minted token lives, in seconds.
const MINTED_SECONDS: i64 = 900;

/// A replay is remembered this much longer than its token could be taken, in seconds beyond the leeway.
const REPLAY_MARGIN: i64 = 60;

/// How often a mint that lost a race for a project's name is tried again.
const RACES: u32 = 4;

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

/// What this process remembers of issuers and of refusals.
#[derive(Default)]
pub(crate) struct Issuers {
    keys: issuers::KeyCache,
    /// Identity tokens issued before are not taken (seconds since 1970): which of them were exchanged already was lost
    /// with what a restore could not bring back.
    since: tokio::sync::OnceCell<i64>,
    /// When a refusal was last written down for a publisher.
    noted: Mutex<HashMap<PublisherId, Time>>,
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
        Ok(format!("{}/{ecosystem}", self.inner.settings.site()))
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
        let genuine = self.genuine(ecosystem, token).await?;
        let claims = &genuine.verified.claims;
        let candidates = self.candidates(ecosystem, &genuine).await?;
        let now = self.now();
        let judged: Vec<(PublisherRow, Judged)> = candidates
            .into_iter()
            .map(|row| {
                let judged = judge(&row, claims, now);
                (row, judged)
            })
            .collect();
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
        let mut races = 0;
        loop {
            match self.mint(ecosystem, &genuine, &fitting).await {
                Err(error) if error.code == WRITE_CONFLICT && races < RACES => races += 1,
                Err(error) if error.code == WRITE_CONFLICT => {
                    return Err(Error::unavailable(
                        "too-many-races",
                        "Others kept changing the same publisher at the same moment.",
                    )
                    .because(error));
                }
                other => return other,
            }
        }
    }

    /// Is the token genuine, current and for this registry? Writes nothing.
    async fn genuine(&self, ecosystem: Ecosystem, token: &str) -> Result<Genuine> {
        let audience = self.oidc_audience(ecosystem)?;
        let token = Unverified::parse(token.trim())?;
        let issuer = self.admitted(token.issuer()).await?;
        let keys = self.keys_for(&issuer, token.key_id()).await?;
        let demands = Demands {
            issuer: &issuer.url,
            audience: &audience,
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
        let mut publishers: Vec<PublisherRow> = tx
            .locked_publishers(fitting)
            .await?
            .into_iter()
            .filter(|row| judge(row, &verified.claims, now).verdict == Verdict::Fits)
            .collect();
        let (mut minted_for, mut lost) = (Vec::new(), None);
        let mut logged = false;
        for row in &mut publishers {
            if row.project.is_none() {
                match self.found_project(&mut tx, row, now).await? {
                    Some(project) => {
                        row.project = Some(project);
                        logged = true;
                    }
                    None => {
                        lost = Some(row.project_name.clone());
                        continue;
                    }
                }
            }
            minted_for.push(row.clone());
        }
        let Some(first) = minted_for.first() else {
            // What was lost is written down, so that its holder sees it.
            tx.commit().await?;
            return Err(match lost {
                Some(project) => judgement::lost(&project),
                None => judgement::none(issuer, &verified.claims),
            });
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
            return Err(Error::new(
                Kind::Rejected,
                "oidc-replayed",
                "This identity token was exchanged before; each is good once.",
            )
            .remedy("Ask the CI system for a new identity token. If nobody of yours exchanged this one, it has leaked: look at the job's log and steps."));
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
        let mut warnings = Vec::new();
        let carried = oidc::environment(issuer.provider, &workflow.claims);
        for row in &minted_for {
            let (pinned, pin_by) = judgement::pins(row, &verified.claims);
            // A write for each use would be one too many; to the minute is enough.
            if pinned != row.pinned || row.last_used.is_none_or(|at| at.plus_seconds(60) <= now) {
                tx.use_publisher(&row.id, &pinned, pin_by, now).await?;
            }
            if let (Some(carried), None, Some(project)) =
                (&carried, &row.registration.environment, &row.project)
            {
                warnings.push(
                    self.nudge_environment(&mut tx, row, project, carried)
                        .await?,
                );
            }
        }
        let actor = Actor {
            identity: Identity::Workflow(Arc::new(workflow)),
            strength: Strength::Workflow,
            scope: None,
            credential: Some(credential.clone()),
            session: None,
        };
        let detail = json!({"credential": credential, "expires": expires});
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
    /// mint. `None` where the name was taken meanwhile: it was never reserved.
    async fn found_project(
        &self,
        tx: &mut Tx,
        row: &PublisherRow,
        now: Time,
    ) -> Result<Option<ProjectId>> {
        let key = format(row.ecosystem).name_key(&row.project_name)?;
        let skeleton = name::skeleton(&key);
        // From here on no other project of this or a like name can come to be before this transaction ends.
        let lookalikes = tx
            .lookalikes(row.ecosystem, key.as_str(), &skeleton)
            .await?;
        if tx
            .named_project(row.ecosystem, key.as_str())
            .await?
            .is_some()
        {
            tx.remove_publisher(&row.id, "lost", now).await?;
            return Ok(None);
        }
        policy::may_take_name(&self.inner.settings, &row.project_name, &key, &lookalikes)?;
        let namespace = tx
            .namespace_over(row.ecosystem, key.as_str(), row.account.as_ref())
            .await?;
        policy::may_take_namespace(namespace.as_ref())?;
        let project = ProjectId(new_id());
        let source = format!("{} {}", row.registration.issuer, row.registration.label);
        tx.insert_project(&NewProject {
            id: &project,
            ecosystem: row.ecosystem,
            name: &row.project_name,
            key: key.as_str(),
            skeleton: &skeleton,
            trust: TrustLevel::Workflow,
            trust_source: Some(&source),
            now,
        })
        .await?;
        tx.settle_publisher(&row.id, &project).await?;
        tx.lose_pending(row.ecosystem, key.as_str(), now).await?;
        let actor = Actor {
            identity: Identity::Workflow(Arc::new(Workflow {
                label: row.registration.label.clone(),
                provider: row.registration.provider,
                issuer: row.registration.issuer.clone(),
                publishers: vec![row.id.clone()],
                claims: BTreeMap::new(),
            })),
            strength: Strength::Workflow,
            scope: None,
            credential: None,
            session: None,
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
        Ok(Some(project))
    }

    async fn nudge_environment(
        &self,
        tx: &mut Tx,
        row: &PublisherRow,
        project: &ProjectId,
        carried: &str,
    ) -> Result<String> {
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
        Ok(format!(
            "The job ran in the environment {carried}, which the trusted publisher of {} does not require. Register it with that environment, so that no other job can publish.",
            row.project_name
        ))
    }

    /// Writes down for the owners why a genuine token of theirs was refused; at most once a second for each publisher,
    /// so that a storm of such tokens does not become a storm of writes. A failure here is not the caller's business.
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
                // Only those that the refusal is about: other publishers of the repository are not meant.
                let same = judged.code() == refusal.code;
                if !same || row.project.is_none() || noted.contains_key(&row.id) {
                    continue;
                }
                noted.insert(row.id.clone(), now);
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
                        .cloned()
                        .collect(),
                    claims: oidc::snapshot(
                        provider,
                        &genuine.verified.claims,
                        &row.registration.rules,
                    ),
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
