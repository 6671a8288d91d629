//! Sign-in: how a person becomes an [`Actor`] with a session.
//!
//! A sign-in counts the attempt first (`limits`), then looks: at a passkey (`passkeys`), at a password (`passwords`) and,
//! where the account has a second factor, at that too (`codes`), or at what an external provider says (`provider`).
//! Only then is a session begun, always under a new secret. Until the second factor is given there is a half session,
//! which can do nothing else. `demands` says which factors an account needs.
//!
//! What is never limited by the guesses of others: passkeys, and browsers that the account was used from before.

mod codes;
mod demands;
mod enrolment;
mod held;
mod limits;
mod passkeys;
mod passwords;
mod provider;
mod sealing;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use countersign_trust::digest::Sha256;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{OnceCell, Semaphore};

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::model::{
    AccountId, Actor, CallerOrigin, FactorId, Identity, Level, SessionFacts, SessionId, Strength,
    Time,
};
use crate::policy;
use crate::store::{FactorRow, NewSession, PersonRow, SessionRow, Tx};
use crate::texts::NoticeKind;

pub use codes::{RecoveryCodes, SecondFactor, TotpSetup};
pub use demands::{Demand, FactorNeed, FactorPolicy};
pub use enrolment::{Enrolling, Enrolment};
pub use passkeys::{Answer, Ceremony, KeyKind};
pub(crate) use passkeys::{RP, belongs};
pub use passwords::import_breached;
pub use provider::{Departure, LinkedIdentity, ProviderReturn, ProviderSummary};

/// A session ends when it was not used for this long, in seconds…
pub(crate) const IDLE: i64 = 2 * 3_600;
/// …and in any case after this long.
const ABSOLUTE: i64 = 12 * 3_600;
/// How long somebody counts as having proved themselves just now, in seconds.
const FRESH: i64 = 15 * 60;
/// How long the second factor may take, in seconds.
const HALF: i64 = 10 * 60;

/// How a session began, where its password is known to be stolen. It is fresh for nothing but a new password.
const BREACHED: &str = "breached-password";

/// What this process keeps for sign-in.
pub(crate) struct Door {
    /// Passwords are hashed by so many at once: each takes 19 MiB and a core.
    hashing: Arc<Semaphore>,
    /// How many wait for that.
    waiting: Arc<Semaphore>,
    /// How many passwords were hashed since the start.
    hashed: AtomicU64,
    /// What has reached its limit.
    exhausted: limits::Exhausted,
    seal: OnceCell<sealing::Seal>,
    webauthn: OnceCell<passkeys::Relying>,
    endpoints: provider::Endpoints,
}

impl Default for Door {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            hashing: Arc::new(Semaphore::new((cores / 2).max(1))),
            waiting: Arc::new(Semaphore::new(passwords::QUEUE)),
            hashed: AtomicU64::new(0),
            exhausted: limits::Exhausted::default(),
            seal: OnceCell::new(),
            webauthn: OnceCell::new(),
            endpoints: provider::Endpoints::default(),
        }
    }
}

/// Somebody signed in. No `Debug`: it holds the secret of the session.
pub struct SignedIn {
    /// The value of the session's cookie.
    pub cookie: String,
    /// The value of the cookie that tells this browser again, of no worth by itself; `None`: it stays as it is.
    pub device: Option<String>,
    /// Who.
    pub actor: Actor,
    /// When the session ends in any case.
    pub expires: Time,
    /// The password stands in a collection of stolen ones and is to be changed now.
    pub must_change_password: bool,
}

/// A sign-in that owes its second factor. No `Debug`: it holds a secret.
pub struct HalfSession {
    /// Good for giving the second factor, and nothing else.
    pub secret: String,
    /// When it ends.
    pub expires: Time,
    /// The account has a passkey or security key.
    pub key: bool,
    /// The account has an app that makes codes.
    pub totp: bool,
    /// The account has recovery codes left.
    pub recovery_code: bool,
}

/// What a sign-in came to.
pub enum SignInStep {
    /// Done.
    Done(Box<SignedIn>),
    /// The second factor is owed.
    SecondFactor(HalfSession),
}

/// A session in a list.
#[derive(Clone, Debug, Serialize)]
pub struct SessionSummary {
    /// Its id.
    pub id: SessionId,
    /// It is the one that asks.
    pub current: bool,
    /// How strongly.
    pub level: Level,
    /// `passkey`, `password`, `totp`, `recovery-code`, `provider`, `enrolment`.
    pub way: String,
    /// From where it began, while that is kept.
    pub address: Option<String>,
    /// With what program.
    pub agent: Option<String>,
    /// When it began.
    pub created: Time,
    /// When last used, to the minute.
    pub seen: Time,
    /// When it ends in any case.
    pub expires: Time,
}

/// A factor in a list. Never a secret.
#[derive(Clone, Debug, Serialize)]
pub struct FactorSummary {
    /// Its id.
    pub id: FactorId,
    /// `passkey`, `security-key` or `totp`.
    pub kind: String,
    /// What its holder calls it.
    pub label: String,
    /// When it was added.
    pub created: Time,
    /// When it was last used.
    pub last_used: Option<Time>,
    /// Until when it is locked, after wrong codes.
    pub locked_until: Option<Time>,
    /// Since when it is locked for good, because there seems to be a copy.
    pub cloned: Option<Time>,
}

/// How an account can be signed in to, for its security page.
#[derive(Clone, Debug, Serialize)]
pub struct Security {
    /// Passkeys, security keys, the app that makes codes.
    pub factors: Vec<FactorSummary>,
    /// When the password was changed; `None`: there is none.
    pub password_changed: Option<Time>,
    /// The password is to be changed: it stands in a collection of stolen ones.
    pub password_breached: Option<Time>,
    /// How many recovery codes are left.
    pub recovery_codes: u64,
    /// External providers.
    pub identities: Vec<LinkedIdentity>,
    /// What the account needs and does not have.
    pub missing: Option<Demand>,
}

/// What somebody signs in by; it must still hold when the session begins.
enum By<'a> {
    /// The password that was set then.
    Password(Time),
    /// A passkey.
    Key(&'a FactorId),
    /// A linked external identity.
    Identity(&'a str),
    /// A link, or a half session, that was used up in the same transaction.
    Used,
}

/// Who signs in, with what is needed to begin the session.
struct Entry<'a> {
    person: &'a PersonRow,
    by: By<'a>,
    level: Level,
    way: &'static str,
    fresh: bool,
    origin: &'a CallerOrigin,
    device: Option<&'a str>,
    must_change_password: bool,
    /// What was counted for this attempt and is given back.
    counted: &'a [limits::Counter],
    /// Tell the account about a device that it does not know.
    announce: bool,
}

impl Registry {
    /// Turns the value of a session's cookie into an [`Actor`].
    pub(crate) async fn actor_of_session(&self, cookie: &str) -> Result<Actor> {
        let row = self.session_row(cookie).await?;
        let now = self.now();
        let Some(level) = row.level else {
            return Err(Error::new(
                Kind::Unauthenticated,
                "second-factor-needed",
                "This sign-in is not finished: the second factor is missing.",
            )
            .remedy("Give the second factor, or sign in again."));
        };
        if row.seen.plus_seconds(60) <= now {
            let (registry, id) = (self.clone(), row.id.clone());
            tokio::spawn(async move {
                if let Err(error) = registry.inner.store.touch_session(&id, now).await {
                    tracing::warn!(error = %error, "the last use of a session could not be noted");
                }
            });
        }
        Ok(actor(&row, level, now))
    }

    /// The browser, where the account knows it.
    async fn known_device(
        &self,
        account: &AccountId,
        device: Option<&str>,
    ) -> Result<Option<Sha256>> {
        let hash = device.map(|device| Sha256::of(device.as_bytes()));
        let known = self.inner.store.knows_device(account, hash).await?;
        Ok(hash.filter(|_| known))
    }

    /// The session of a cookie, whole or half, if it is still going on.
    async fn session_row(&self, cookie: &str) -> Result<SessionRow> {
        let now = self.now();
        // The look-up is by the hash of a 256-bit secret: its timing tells nothing about any stored one.
        let row = self
            .inner
            .store
            .session_by_hash(Sha256::of(cookie.as_bytes()))
            .await?;
        let over = |row: &SessionRow| {
            row.ended.is_some()
                || row.expires <= now
                || (row.level.is_some() && row.seen.plus_seconds(IDLE) <= now)
        };
        match row {
            None => Err(signed_out()),
            Some(row) if over(&row) => Err(signed_out()),
            Some(row) if row.account_disabled.is_some() => Err(disabled(&row.account_name)),
            Some(row) => Ok(row),
        }
    }

    /// What somebody proved themselves with may have been changed or taken away since it was looked at, which ended every
    /// session of the account: a sign-in that was under way then must not survive it.
    async fn still_holds(&self, tx: &mut Tx, entry: &Entry<'_>) -> Result<()> {
        let account = &entry.person.id;
        tx.lock_account(account).await?;
        let person = tx.person(account).await?.ok_or_else(sign_in_wrong)?;
        if person.disabled.is_some() {
            return Err(disabled(&person.name));
        }
        let holds = match entry.by {
            By::Password(changed) => tx.password_changed(account).await? == Some(changed),
            By::Key(id) => tx
                .factors(account)
                .await?
                .iter()
                .any(|factor| factor.id == *id && usable(factor)),
            By::Identity(id) => tx.is_linked(account, id).await?,
            By::Used => true,
        };
        if holds { Ok(()) } else { Err(sign_in_wrong()) }
    }

    /// Begins a session in the caller's transaction, always under a new secret.
    async fn begin_session(&self, tx: &mut Tx, entry: &Entry<'_>) -> Result<SignedIn> {
        let now = self.now();
        let account = &entry.person.id;
        let cookie = self.secret();
        let device = self.device_secret(entry.device);
        let device_hash = Sha256::of(device.as_bytes());
        let network = entry.origin.network();
        let known = tx
            .knows_browser(account, device_hash, (&network, &entry.origin.agent))
            .await?;
        let id = SessionId(new_id());
        let expires = now.plus_seconds(ABSOLUTE);
        let fresh_until = entry.fresh.then(|| now.plus_seconds(FRESH));
        let way = if entry.must_change_password && entry.level < Level::Phishproof {
            BREACHED
        } else {
            entry.way
        };
        tx.insert_session(&NewSession {
            id: &id,
            secret: Sha256::of(cookie.as_bytes()),
            account,
            level: Some(entry.level),
            way,
            address: &entry.origin.address.to_string(),
            network: &network,
            agent: &entry.origin.agent,
            device: Some(device_hash),
            now,
            expires,
            fresh_until,
        })
        .await?;
        tx.remember_device(account, device_hash, now).await?;
        tx.refund_attempt(entry.counted, now).await?;
        let actor = Actor {
            identity: Identity::Account {
                id: account.clone(),
                name: entry.person.name.clone(),
            },
            strength: strength_of(entry.level),
            scope: None,
            credential: None,
            consent: None,
            session: Some(SessionFacts {
                id,
                level: entry.level,
                fresh_until: fresh_until.filter(|_| way != BREACHED),
                operator: entry.person.operator,
            }),
        };
        if entry.announce && !known {
            self.notify(tx, account, NoticeKind::NewDevice, &[], Some(entry.origin))
                .await?;
        }
        let detail = json!({"way": entry.way, "level": entry.level, "new_device": !known});
        self.note_sign_in(tx, &actor, "signed-in", account, detail)
            .await?;
        Ok(SignedIn {
            cookie,
            device: Some(device),
            actor,
            expires,
            must_change_password: entry.must_change_password,
        })
    }

    /// Begins a session or, where the account has a second factor and the first was not one, asks for it.
    async fn enter(&self, entry: Entry<'_>, breached: bool) -> Result<SignInStep> {
        let account = &entry.person.id;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        self.still_holds(&mut tx, &entry).await?;
        let factors = tx.factors(account).await?;
        let usable: Vec<&FactorRow> = factors.iter().filter(|factor| usable(factor)).collect();
        // A key of which there seems to be a copy opens nothing, but it is no reason to ask for less.
        if entry.level > Level::Password || !factors.iter().any(confirmed) {
            if breached && entry.level == Level::Password {
                return Err(passwords::breached());
            }
            let signed_in = self.begin_session(&mut tx, &entry).await?;
            tx.commit().await?;
            return Ok(SignInStep::Done(Box::new(signed_in)));
        }
        let secret = self.secret();
        let expires = now.plus_seconds(HALF);
        tx.insert_session(&NewSession {
            id: &SessionId(new_id()),
            secret: Sha256::of(secret.as_bytes()),
            account,
            level: None,
            way: if entry.must_change_password {
                BREACHED
            } else {
                entry.way
            },
            address: &entry.origin.address.to_string(),
            network: &entry.origin.network(),
            agent: &entry.origin.agent,
            device: None,
            now,
            expires,
            fresh_until: None,
        })
        .await?;
        tx.refund_attempt(entry.counted, now).await?;
        let recovery_code = tx.recovery_codes_left(account).await? > 0;
        tx.commit().await?;
        Ok(SignInStep::SecondFactor(HalfSession {
            secret,
            expires,
            key: usable.iter().any(|factor| factor.kind != "totp"),
            totp: usable.iter().any(|factor| factor.kind == "totp"),
            recovery_code,
        }))
    }

    /// Ends the session that asks.
    ///
    /// # Errors
    /// `sign-in-needed`.
    pub async fn sign_out(&self, actor: &Actor) -> Result<()> {
        let (account, session) = session_of(actor)?;
        self.end_session(actor, &session.id.clone(), account).await
    }

    /// Ends one of the caller's own sessions.
    ///
    /// # Errors
    /// `sign-in-needed`, `session-unknown`.
    pub async fn revoke_session(&self, actor: &Actor, id: &SessionId) -> Result<()> {
        let (account, _) = session_of(actor)?;
        self.end_session(actor, id, account).await
    }

    async fn end_session(&self, actor: &Actor, id: &SessionId, account: &AccountId) -> Result<()> {
        let (_, own) = session_of(actor)?;
        // Whoever is thrown out has a browser that is not the holder's.
        let thrown_out = own.id != *id;
        let why = if thrown_out {
            "thrown-out"
        } else {
            "signed-out"
        };
        let mut tx = self.inner.store.write().await?;
        if thrown_out {
            tx.forget_device_of(account, id, &own.id).await?;
        }
        if !tx.end_session(account, id, why, self.now()).await? {
            return Err(Error::new(
                Kind::NotFound,
                "session-unknown",
                "There is no such session, or it has ended.",
            )
            .remedy("Open the list of sessions again."));
        }
        let detail = json!({"session": id});
        self.note_sign_in(&mut tx, actor, "signed-out", account, detail)
            .await?;
        tx.commit().await
    }

    /// Ends every other session of the caller; how many.
    ///
    /// # Errors
    /// `sign-in-needed`.
    pub async fn revoke_other_sessions(&self, actor: &Actor) -> Result<u64> {
        let (account, session) = session_of(actor)?;
        let mut tx = self.inner.store.write().await?;
        let ended = self
            .end_others(
                &mut tx,
                actor,
                account,
                Some(&session.id),
                "you asked for it",
            )
            .await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Ends sessions after a change of what an account is signed in to with, and forgets the browsers that they were in.
    async fn end_others(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        account: &AccountId,
        except: Option<&SessionId>,
        why: &str,
    ) -> Result<u64> {
        tx.lock_account(account).await?;
        tx.forget_devices(account, except).await?;
        let ended = tx.end_sessions(account, except, why, self.now()).await?;
        if ended > 0 {
            let detail = json!({"sessions": ended, "why": why});
            self.note_sign_in(tx, actor, "sessions-ended", account, detail)
                .await?;
        }
        Ok(ended)
    }

    /// The caller's sessions.
    ///
    /// # Errors
    /// `sign-in-needed`.
    pub async fn sessions(&self, actor: &Actor) -> Result<Vec<SessionSummary>> {
        let (account, current) = session_of(actor)?;
        let now = self.now();
        let rows = self
            .inner
            .store
            .sessions(account, now, now.plus_seconds(-IDLE))
            .await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                Some(SessionSummary {
                    current: row.id == current.id,
                    level: row.level?,
                    id: row.id,
                    way: row.way,
                    address: row.address,
                    agent: row.agent,
                    created: row.created,
                    seen: row.seen,
                    expires: row.expires,
                })
            })
            .collect())
    }

    /// How the caller's account can be signed in to.
    ///
    /// # Errors
    /// `sign-in-needed`.
    pub async fn security(&self, actor: &Actor) -> Result<Security> {
        let (account, _) = session_of(actor)?;
        let store = &self.inner.store;
        let password = store.password(account).await?;
        let factors = store.factors(account).await?;
        Ok(Security {
            factors: factors
                .into_iter()
                .filter(|row| row.confirmed.is_some())
                .map(|row| FactorSummary {
                    id: row.id,
                    kind: row.kind,
                    label: row.label,
                    created: row.created,
                    last_used: row.last_used,
                    locked_until: row.locked_until.filter(|until| *until > self.now()),
                    cloned: row.cloned,
                })
                .collect(),
            password_changed: password.as_ref().map(|row| row.changed),
            password_breached: password.as_ref().and_then(|row| row.breached),
            recovery_codes: store.recovery_codes_left(account).await?,
            identities: self.linked(account).await?,
            missing: self.what_is_missing(account).await?,
        })
    }

    /// Gives a factor another name.
    ///
    /// # Errors
    /// `sign-in-needed`, `factor-unknown`, `factor-label`.
    pub async fn rename_factor(&self, actor: &Actor, id: &FactorId, label: &str) -> Result<()> {
        let (account, _) = session_of(actor)?;
        let label = label_of(label)?;
        let mut tx = self.inner.store.write().await?;
        if !tx.rename_factor(account, id, &label).await? {
            return Err(factor_unknown());
        }
        self.note_sign_in(
            &mut tx,
            actor,
            "factor-renamed",
            account,
            json!({"factor": id}),
        )
        .await?;
        tx.commit().await
    }

    /// Takes a factor away, unless the account would then lack what it needs or could not be signed in to.
    ///
    /// # Errors
    /// `sign-in-needed`, `step-up-needed`, `factor-unknown`, `factor-last`, `factor-demanded`.
    pub async fn remove_factor(
        &self,
        actor: &Actor,
        id: &FactorId,
        origin: &CallerOrigin,
    ) -> Result<()> {
        let (account, session) = self.fresh_session(actor)?;
        let now = self.now();
        let policy = self.factor_policy().await?;
        let mut tx = self.inner.store.write().await?;
        self.still_signed_in(&mut tx, session).await?;
        let factors = tx.factors(account).await?;
        let Some(gone) = factors.iter().find(|factor| factor.id == *id) else {
            return Err(factor_unknown());
        };
        let rest: Vec<&FactorRow> = factors
            .iter()
            .filter(|factor| factor.id != *id && usable(factor))
            .collect();
        let keys = rest.iter().any(|factor| factor.kind != "totp");
        // A provider that the operator took away lets nobody in.
        let providers = &self.inner.settings.sign_in.providers;
        let linked = self
            .inner
            .store
            .linked_identities(account)
            .await?
            .iter()
            .any(|row| {
                providers
                    .iter()
                    .any(|provider| provider.issuer == row.issuer)
            });
        if !keys && !tx.has_password(account).await? && !linked {
            return Err(Error::new(
                Kind::Rejected,
                "factor-last",
                "Without it nobody could sign in to this account any more.",
            )
            .remedy("Add another passkey first."));
        }
        if let Some(facts) = tx.factor_facts(account).await? {
            policy::may_do_without(&policy, &facts, !rest.is_empty(), keys)?;
        }
        tx.remove_factor(account, id, now).await?;
        let kind = match gone.kind.as_str() {
            "passkey" => NoticeKind::PasskeyRemoved,
            "security-key" => NoticeKind::SecurityKeyRemoved,
            _ => NoticeKind::TotpRemoved,
        };
        self.notify(
            &mut tx,
            account,
            kind,
            &[("label", &gone.label)],
            Some(origin),
        )
        .await?;
        let detail = json!({"factor": id, "kind": gone.kind});
        self.note_sign_in(&mut tx, actor, "factor-removed", account, detail)
            .await?;
        self.end_others(
            &mut tx,
            actor,
            account,
            Some(&session.id),
            "a factor was removed",
        )
        .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// Disables an account or opens it again. Its sessions end, its tokens sleep.
    ///
    /// # Errors
    /// `operator-needed`, `user-unknown`, `not-yourself`.
    pub async fn disable_user(&self, actor: &Actor, user: &str, disabled: bool) -> Result<()> {
        policy::may_operate(actor, "disable accounts")?;
        let account = self.account(user).await?;
        if matches!(&actor.identity, Identity::Account { id, .. } if *id == account) {
            return Err(Error::new(
                Kind::Rejected,
                "not-yourself",
                "An operator does not disable their own account.",
            )
            .remedy("Ask another operator."));
        }
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        if tx
            .disable_account(&account, disabled.then_some(now))
            .await?
        {
            let what = if disabled {
                "it was disabled"
            } else {
                "it was opened again"
            };
            self.notify(
                &mut tx,
                &account,
                NoticeKind::OperatorActed,
                &[("what", what)],
                None,
            )
            .await?;
            let kind = if disabled {
                "account-disabled"
            } else {
                "account-enabled"
            };
            self.note_sign_in(&mut tx, actor, kind, &account, json!({}))
                .await?;
            if disabled {
                self.end_others(&mut tx, actor, &account, None, "the account was disabled")
                    .await?;
                for organisation in tx.organisations_of(&account).await? {
                    tx.end_invitations_by(&organisation, &account, now).await?;
                }
            }
        }
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// How many passwords were hashed since this process began; every attempt at a password is one, whoever it names.
    pub fn passwords_hashed(&self) -> u64 {
        self.inner
            .door
            .hashed
            .load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Forgets sign-ups, sessions and counters that ended.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn purge_sign_in(&self) -> Result<u64> {
        let now = self.now();
        self.inner
            .store
            .purge_sign_in(now, now.plus_seconds(-30 * 86_400))
            .await
    }

    /// The caller's account and session, where the holder proved themselves just now.
    fn fresh_session<'a>(&self, actor: &'a Actor) -> Result<(&'a AccountId, &'a SessionFacts)> {
        let found = session_of(actor)?;
        if policy::is_fresh(actor, self.now()) {
            return Ok(found);
        }
        Err(step_up_needed())
    }

    /// [`Registry::fresh_session`] for a new password; that is what a session with a stolen one is for.
    async fn fresh_for_password<'a>(
        &self,
        actor: &'a Actor,
    ) -> Result<(&'a AccountId, &'a SessionFacts)> {
        let (account, session) = session_of(actor)?;
        let row = self.inner.store.session(&session.id).await?;
        let now = self.now();
        if row.is_some_and(|row| row.way == BREACHED && row.fresh_until.is_some_and(|at| now < at))
        {
            return Ok((account, session));
        }
        self.fresh_session(actor)
    }

    /// The session may have been ended by somebody since this request began; in a transaction that is for certain.
    pub(crate) async fn still_signed_in(&self, tx: &mut Tx, session: &SessionFacts) -> Result<()> {
        if tx.session_lives(&session.id, self.now()).await? {
            return Ok(());
        }
        Err(signed_out())
    }

    async fn note_sign_in(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        kind: &str,
        account: &AccountId,
        detail: serde_json::Value,
    ) -> Result<()> {
        tx.note_event(&new_id(), self.now(), kind, actor, Some(account), detail)
            .await
    }

    /// A browser's own secret, by which accounts know it: the one that it shows, or a new one.
    pub fn device_secret(&self, shown: Option<&str>) -> String {
        match shown.filter(|device| is_secret(device)) {
            Some(device) => device.to_owned(),
            None => self.secret(),
        }
    }

    /// 256 unpredictable bits as text.
    fn secret(&self) -> String {
        hex::encode(self.inner.seams.random.bytes32())
    }
}

/// Could it be a secret that we gave out? Others are not taken over.
fn is_secret(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Is the factor good for signing in?
fn usable(factor: &FactorRow) -> bool {
    confirmed(factor) && factor.cloned.is_none()
}

/// Was the factor ever confirmed, whether or not it is good now?
fn confirmed(factor: &FactorRow) -> bool {
    factor.confirmed.is_some()
}

fn strength_of(level: Level) -> Strength {
    match level {
        Level::Phishproof => Strength::Phishproof,
        Level::Password | Level::TwoFactor => Strength::Token,
    }
}

fn actor(row: &SessionRow, level: Level, now: Time) -> Actor {
    Actor {
        identity: Identity::Account {
            id: row.account.clone(),
            name: row.account_name.clone(),
        },
        strength: strength_of(level),
        scope: None,
        credential: None,
        consent: None,
        session: Some(SessionFacts {
            id: row.id.clone(),
            level,
            // A stolen password and a code change nothing but that password.
            fresh_until: row.fresh_until.filter(|until| {
                now < *until && (row.way != BREACHED || level == Level::Phishproof)
            }),
            operator: row.operator,
        }),
    }
}

/// The account and session of a caller who signed in.
fn session_of(actor: &Actor) -> Result<(&AccountId, &SessionFacts)> {
    match (&actor.identity, &actor.session) {
        (Identity::Account { id, .. }, Some(session)) => Ok((id, session)),
        (Identity::Anonymous, _) => Err(Error::new(
            Kind::Unauthenticated,
            "sign-in-needed",
            "This is for the holder of an account, signed in.",
        )
        .remedy("Sign in in a browser.")),
        // A good token is no session; another token would be none either.
        _ => Err(Error::new(
            Kind::Denied,
            "session-needed",
            "This is for the holder of an account, signed in.",
        )
        .remedy("Sign in in a browser.")),
    }
}

fn label_of(label: &str) -> Result<String> {
    let label: String = label.trim().to_owned();
    if label.is_empty() || label.chars().count() > 64 || label.chars().any(char::is_control) {
        return Err(Error::new(
            Kind::Rejected,
            "factor-label",
            "A name for it has 1 to 64 characters on one line.",
        )
        .remedy("Choose a name by which you will know it again, such as the device's."));
    }
    Ok(label)
}

fn signed_out() -> Error {
    Error::new(
        Kind::Unauthenticated,
        "session-over",
        "You are not signed in, or the session has ended.",
    )
    .remedy("Sign in again.")
}

fn step_up_needed() -> Error {
    Error::new(
        Kind::Denied,
        "step-up-needed",
        "For this you show once more that it is you.",
    )
    .remedy("Confirm with your passkey (or with your password and code where you have none) and try again.")
}

fn disabled(name: &str) -> Error {
    Error::new(
        Kind::Unauthenticated,
        "account-disabled",
        format!("The account {name} is disabled."),
    )
    .remedy("Ask the operator of this registry.")
}

fn factor_unknown() -> Error {
    Error::new(
        Kind::NotFound,
        "factor-unknown",
        "Your account has no such factor.",
    )
    .remedy("Open the security page again.")
}

/// The one answer to every wrong first factor: it does not say what was wrong.
fn sign_in_wrong() -> Error {
    Error::new(
        Kind::Unauthenticated,
        "sign-in-wrong",
        "User name or password is wrong.",
    )
    .remedy("Try again, use a passkey, or ask for a new password.")
}
