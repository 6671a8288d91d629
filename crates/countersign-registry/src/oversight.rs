//! What operators look at and do about other people's accounts: see one whole, end its sessions, give a new link to
//! somebody who never got in, see which projects are critical.
//!
//! None of it lets an operator into an account that its holder uses: who lost every way in goes through recovery.

use countersign_formats::Ecosystem;
use countersign_trust::leaf::LeafKind;
use countersign_trust::token::{Token, TokenKind};
use serde::Serialize;
use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::{Change, OVERRIDE};
use crate::model::{AccountId, Actor, CredentialId, LogOverride, Role, Strength, Time};
use crate::policy;
use crate::sign_in::{Demand, IDLE};
use crate::store::NewCredential;
use crate::texts::NoticeKind;

/// A new enrolment link is good for this long, in seconds.
const LINK: i64 = 7 * 86_400;

/// The longest override of the log's policy, in seconds.
const LONGEST_OVERRIDE: i64 = 7 * 86_400;

/// An account as an operator sees it. Holds no secret, and no address of a client.
#[derive(Clone, Debug, Serialize)]
pub struct UserDetail {
    /// Account id.
    pub id: AccountId,
    /// User name.
    pub name: String,
    /// Since when an operator.
    pub operator_since: Option<Time>,
    /// When made.
    pub created: Time,
    /// When disabled.
    pub disabled: Option<Time>,
    /// Addresses, the main one first, and when each was proved.
    pub addresses: Vec<(String, Option<Time>)>,
    /// Factors: kind and when last used.
    pub factors: Vec<(String, Option<Time>)>,
    /// Has it a password?
    pub password: bool,
    /// Linked sign-in providers, by issuer.
    pub providers: Vec<String>,
    /// Recovery codes that are left.
    pub recovery_codes: u64,
    /// Sessions that are alive.
    pub sessions: usize,
    /// API tokens that are good now.
    pub tokens: usize,
    /// Projects with the account's roles on them, as `ECOSYSTEM:PROJECT`.
    pub projects: Vec<(String, Vec<Role>)>,
    /// What it needs by the rule on factors and does not have.
    pub missing: Option<Demand>,
}

/// A critical project.
#[derive(Clone, Debug, Serialize)]
pub struct CriticalProject {
    /// Its ecosystem.
    pub ecosystem: Ecosystem,
    /// Its name.
    pub name: String,
    /// Since when.
    pub since: Time,
    /// Why: `marked` by an operator, or by `use`.
    pub why: String,
}

impl Registry {
    /// Lets the log go on without the cosignatures that its policy asks for, for at most seven days; `until` in the past
    /// ends that. The log says so in a leaf of its own, the first that is shown this way. Clients that pinned the policy
    /// go on refusing what lacks its quorum.
    ///
    /// # Errors
    /// `operator-needed`; `override-time`, `override-reason`; `no-log-policy` where nothing is asked for.
    pub async fn override_log(&self, actor: &Actor, until: Time, reason: &str) -> Result<()> {
        policy::may_operate(actor, "override the log's policy")?;
        if self.inner.witnesses.is_none() {
            return Err(Error::new(
                Kind::Rejected,
                "no-log-policy",
                "This log has no policy: it waits for no witness.",
            )
            .remedy(
                "Witnesses are named in a tlog-policy file, in `log.policy` of the configuration.",
            ));
        }
        let now = self.now();
        if until > now.plus_seconds(LONGEST_OVERRIDE) {
            return Err(Error::new(
                Kind::Rejected,
                "override-time",
                "An override lasts seven days at most.",
            )
            .remedy("Give an earlier time; it can be renewed."));
        }
        let reason = reason.trim();
        if reason.is_empty() || reason.len() > 500 {
            return Err(Error::new(
                Kind::Rejected,
                "override-reason",
                "An override needs a reason, of at most 500 bytes.",
            )
            .remedy("Say why; the event keeps it."));
        }
        let word = LogOverride {
            since: now,
            until,
            reason: reason.to_owned(),
        };
        let text = serde_json::to_string(&word)
            .map_err(|source| Error::internal("an override can not be written", source))?;
        let mut tx = self.inner.store.write().await?;
        tx.set_instance(OVERRIDE, &text).await?;
        let change = Change::registry(actor, LeafKind::OperatorOverride);
        let detail = json!({"log_policy": word});
        self.record(&mut tx, change, detail).await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// One account, whole.
    ///
    /// # Errors
    /// `operator-needed`, `user-unknown`.
    pub async fn user(&self, actor: &Actor, user: &str) -> Result<UserDetail> {
        policy::may_operate(actor, "look at users")?;
        let now = self.now();
        let account = self.account(user).await?;
        let store = &self.inner.store;
        let person = store.person(&account).await?.ok_or_else(|| gone(user))?;
        let addresses = store.addresses(&account).await?;
        let factors = store.factors(&account).await?;
        let sessions = store
            .sessions(&account, now, now.plus_seconds(-IDLE))
            .await?;
        let tokens = self.tokens(actor, Some(user)).await?;
        let alive = tokens.iter().filter(|token| {
            token.revoked.is_none() && token.expires.is_none_or(|expires| expires > now)
        });
        let projects = store.projects_of(&account).await?;
        let row = store
            .accounts()
            .await?
            .into_iter()
            .find(|row| row.id == account)
            .ok_or_else(|| gone(user))?;
        Ok(UserDetail {
            name: person.name,
            operator_since: row.operator_since,
            created: row.created,
            disabled: person.disabled,
            addresses: addresses
                .into_iter()
                .map(|row| (row.address, row.verified))
                .collect(),
            factors: factors
                .into_iter()
                .filter(|row| row.confirmed.is_some())
                .map(|row| (row.kind, row.last_used))
                .collect(),
            password: store.password(&account).await?.is_some(),
            providers: store
                .linked_identities(&account)
                .await?
                .into_iter()
                .map(|row| row.issuer)
                .collect(),
            recovery_codes: store.recovery_codes_left(&account).await?,
            sessions: sessions.len(),
            tokens: alive.count(),
            projects: projects
                .into_iter()
                .map(|(project, roles)| {
                    (
                        format!("{}:{}", project.ecosystem, project.key),
                        roles.iter().collect(),
                    )
                })
                .collect(),
            missing: self.what_is_missing(&account).await?,
            id: account,
        })
    }

    /// Ends every session of an account; how many. Its holder is told.
    ///
    /// # Errors
    /// `operator-needed`, `user-unknown`.
    pub async fn end_sessions_of(&self, actor: &Actor, user: &str) -> Result<u64> {
        policy::may_operate(actor, "end sessions")?;
        let account = self.account(user).await?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let why = "an operator ended them";
        let ended = tx.end_sessions(&account, None, why, now).await?;
        if ended > 0 {
            let detail = json!({"sessions": ended, "why": why});
            tx.note_event(
                &new_id(),
                now,
                "sessions-ended",
                actor,
                Some(&account),
                detail,
            )
            .await?;
            let what = [("what", "its sessions were ended")];
            self.notify(&mut tx, &account, NoticeKind::OperatorActed, &what, None)
                .await?;
        }
        tx.commit().await?;
        self.wake_office();
        Ok(ended)
    }

    /// Gives a new enrolment link for an account that nobody can sign in to yet; older ones end. The answer is its
    /// secret.
    ///
    /// # Errors
    /// `operator-needed`, `user-unknown`, `account-in-use` where there is a way in already: then only recovery leads
    /// back, so that an operator's word alone never opens an account in use.
    pub async fn enrol_again(&self, actor: &Actor, user: &str) -> Result<String> {
        policy::may_operate(actor, "give enrolment links")?;
        let account = self.account(user).await?;
        let now = self.now();
        let secret = Token::from_random(TokenKind::Staged, self.inner.seams.random.bytes32());
        // Linking a provider needs a session, and so another way in; looked at all the same, outside the transaction.
        let linked = !self
            .inner
            .store
            .linked_identities(&account)
            .await?
            .is_empty();
        let mut tx = self.inner.store.write().await?;
        let keys = tx
            .factors(&account)
            .await?
            .iter()
            .any(|row| row.confirmed.is_some());
        if linked || keys || tx.has_password(&account).await? {
            return Err(Error::new(
                Kind::Conflict,
                "account-in-use",
                format!("{user} can be signed in to, so no link is given for it."),
            )
            .remedy("Its holder gets back in by recovery: /recovery at this registry."));
        }
        tx.end_enrolments(&account, now).await?;
        tx.insert_credential(&NewCredential {
            id: &CredentialId(new_id()),
            account: Some(&account),
            kind: "enrolment",
            strength: Strength::Token,
            secret_hash: secret.hash(),
            hint: &secret.hint(),
            label: "enrolment",
            scope: None,
            created: now,
            expires: now.plus_seconds(LINK),
        })
        .await?;
        tx.note_event(
            &new_id(),
            now,
            "enrolment-renewed",
            actor,
            Some(&account),
            json!({}),
        )
        .await?;
        tx.commit().await?;
        Ok(secret.reveal())
    }

    /// The critical projects.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn critical_projects(&self, actor: &Actor) -> Result<Vec<CriticalProject>> {
        policy::may_operate(actor, "list critical projects")?;
        let rows = self.inner.store.critical_projects().await?;
        Ok(rows
            .into_iter()
            .map(|(ecosystem, name, since, why)| CriticalProject {
                ecosystem,
                name,
                since,
                why,
            })
            .collect())
    }
}

/// An account that was erased between two reads.
fn gone(user: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "user-unknown",
        format!("There is no user {user} here."),
    )
    .remedy("Make one with `countersignd admin user create`.")
}
