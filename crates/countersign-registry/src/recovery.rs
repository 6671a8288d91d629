//! Recovery: getting back into an account without any of its ways to sign in.
//!
//! open (a link to a proved address: the first proof) → a second proof: another proved address, a co-owner or operator
//! of the account's organisation who vouches with a passkey, or a sign-in at a linked provider → 72 hours in which every
//! address and every co-owner is told, each with a link that stops it → a link to register a new passkey. All older
//! ways into the account end then, and for seven days it can neither delete, hand over, nor make tokens.
//!
//! Where the account owns a critical project two operators must agree as well. An address whose domain seems abandoned
//! proves nothing. Nobody learns here who has an account.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use tokio::sync::{Mutex, Semaphore};

use countersign_trust::token::{Token, TokenKind};

use crate::Registry;
use crate::accounts::{new_id, user_key};
use crate::error::{Error, Kind, Result};
use crate::mail::{minute, unknown_link};
use crate::model::{
    AccountId, Actor, CallerOrigin, CredentialId, Identity, Level, RECOVERY, Strength, Time,
};
use crate::notices::fresh_holder;
use crate::policy;
use crate::store::{NewCredential, RecoveryRow, Tx};
use crate::texts::{Data, MailKind, NoticeKind};

/// Proofs that are needed.
const PROOFS: usize = 2;

/// The waiting time, in hours.
const WAIT_HOURS: i64 = 72;

/// A case without enough proofs lapses after this many seconds; a ripe one that nobody takes up after [`TAKE_UP`].
const GATHER: i64 = 86_400;
const TAKE_UP: i64 = 7 * 86_400;

/// The secret to register a new passkey with is good for this long, in seconds.
const ENROL: i64 = 3_600;

/// Operators that must agree where much depends on the account.
const OPERATORS: u64 = 2;

/// So many ways back in one network may ask for in ten minutes.
const ASKED: i64 = 20;

/// So many ways back in may wait to be mailed.
const WAITING: u32 = 64;

/// What this process has in hand of asked-for ways back in.
pub(crate) struct WaysBack {
    places: Arc<Semaphore>,
    turn: Mutex<()>,
}

impl Default for WaysBack {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(WAITING as usize)),
            turn: Mutex::new(()),
        }
    }
}

/// The policy of recovery, for the page that publishes it.
#[derive(Clone, Debug, Serialize)]
pub struct RecoveryPolicy {
    /// How many proofs.
    pub proofs: usize,
    /// Which count, as words: `address`, `owner`, `identity`.
    pub kinds: Vec<&'static str>,
    /// The waiting time, in hours.
    pub wait_hours: i64,
    /// How many operators must agree where the account owns a critical project.
    pub operators_for_critical: u64,
    /// For how many days after it the account can neither delete, hand over, nor make tokens.
    pub restricted_days: i64,
}

/// A case of recovery, for whoever runs it.
#[derive(Clone, Debug, Serialize)]
pub struct RecoveryCase {
    /// The user name.
    pub user: String,
    /// Proofs given so far: kind and time.
    pub proofs: Vec<(String, Time)>,
    /// How many are needed.
    pub needed: usize,
    /// How many operators must agree, and how many have.
    pub operators: (u64, u64),
    /// When it was opened.
    pub opened: Time,
    /// When the waiting time ends, once there are proofs enough.
    pub ready: Option<Time>,
    /// When it lapses.
    pub expires: Time,
}

impl Registry {
    /// The published policy.
    pub fn recovery_policy(&self) -> RecoveryPolicy {
        RecoveryPolicy {
            proofs: PROOFS,
            kinds: vec!["address", "owner", "identity"],
            wait_hours: WAIT_HOURS,
            operators_for_critical: OPERATORS,
            restricted_days: policy::RESTRICTED_DAYS,
        }
    }

    /// Asks for the link that begins a recovery, by user name or address. The answer comes at once and is always the
    /// same, whoever is asked for; the work is done behind it.
    ///
    /// # Errors
    /// `too-many-attempts` for the network that asks, `sign-in-busy`.
    pub async fn begin_recovery(&self, who: &str, origin: &CallerOrigin) -> Result<()> {
        self.mail_behind(MailKind::RecoveryBegin, who, origin).await
    }

    /// Asks for the link by which a new password is chosen; answered like [`Registry::begin_recovery`].
    ///
    /// # Errors
    /// `too-many-attempts` for the network that asks, `sign-in-busy`.
    pub async fn begin_password_reset(&self, who: &str, origin: &CallerOrigin) -> Result<()> {
        self.mail_behind(MailKind::PasswordReset, who, origin).await
    }

    async fn mail_behind(&self, kind: MailKind, who: &str, origin: &CallerOrigin) -> Result<()> {
        self.count_asked("way back", ASKED, origin).await?;
        // One at a time, so that a flood of these never keeps publications waiting; what finds no room is refused, and
        // says nothing about who was asked for.
        let Ok(place) = self.inner.ways_back.places.clone().try_acquire_owned() else {
            return Err(Error::new(
                Kind::Unavailable,
                "sign-in-busy",
                "Too many people ask for a way back in at this moment.",
            )
            .remedy("Try again in a minute."));
        };
        let (registry, who) = (self.clone(), who.trim().to_owned());
        tokio::spawn(async move {
            let _place = place;
            let _turn = registry.inner.ways_back.turn.lock().await;
            if let Err(error) = registry.mail_way_back(kind, &who).await {
                tracing::warn!(%error, kind = kind.as_str(), "a mail to get back in could not be written");
            }
        });
        Ok(())
    }

    /// Waits until the mails of all who asked for a way back until now are written down: who stops earlier loses them.
    pub async fn ways_back_written(&self) {
        // Whoever asks has a place until its mail is written. Nobody closes them, so there is nothing else to wait for.
        drop(self.inner.ways_back.places.acquire_many(WAITING).await);
    }

    /// Mails the link that begins a recovery on behalf of an operator, who is told where it can not be mailed.
    ///
    /// # Errors
    /// `operator-needed`, `recovery-no-address`.
    pub async fn send_recovery_link(&self, actor: &Actor, user: &str) -> Result<()> {
        policy::may_operate(actor, "send links for recovery")?;
        let key = user_key(user)?;
        let mut tx = self.inner.store.write().await?;
        if tx.recovery_address_of(&key).await?.is_none() {
            return Err(Error::new(
                Kind::NotFound,
                "recovery-no-address",
                format!("There is no open account {user} with a proved address that counts for recovery."),
            )
            .remedy("Look at it with `countersignd admin user show`. An account that nobody could ever sign in to takes a new link: `countersignd admin user enrol`."));
        }
        drop(tx);
        self.mail_way_back(MailKind::RecoveryBegin, user.trim())
            .await
    }

    async fn mail_way_back(&self, kind: MailKind, who: &str) -> Result<()> {
        // Names that nobody has cost a read and no more.
        let login = if who.contains('@') {
            who.to_ascii_lowercase()
        } else {
            match user_key(who) {
                Ok(key) => key,
                Err(_) => return Ok(()),
            }
        };
        if self.inner.store.person_by_login(&login).await?.is_none() {
            return Ok(());
        }
        let mut tx = self.inner.store.write().await?;
        let address = if who.contains('@') {
            Some(who.to_owned())
        } else {
            tx.recovery_address_of(&login).await?
        };
        let Some(address) = address else {
            return Ok(());
        };
        let Some((account, _, address)) =
            tx.recovery_address(&address.to_ascii_lowercase()).await?
        else {
            return Ok(());
        };
        // A link for a new password where there was none would open, by the mailbox alone, what is opened by a passkey or
        // by a provider with all that it asks for.
        let kind = if kind == MailKind::PasswordReset && !tx.has_password(&account).await? {
            MailKind::NoPassword
        } else {
            kind
        };
        self.put_link(
            &mut tx,
            kind,
            Some(&account),
            &address,
            &format!("{account} {}", address.to_ascii_lowercase()),
        )
        .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// Opens a case by the mailed link, or comes back to an open one; the address is a proof. The answer is the secret
    /// of the case's page.
    ///
    /// # Errors
    /// `link-unknown`.
    pub async fn open_recovery(
        &self,
        link: &str,
        origin: Option<&CallerOrigin>,
    ) -> Result<(String, RecoveryCase)> {
        let link = Token::parse(link.trim()).map_err(|_| unknown_link())?;
        let now = self.now();
        let secret = Token::from_random(TokenKind::Staged, self.inner.seams.random.bytes32());
        let mut tx = self.inner.store.write().await?;
        let row = tx
            .take_mail_secret(MailKind::RecoveryBegin, link.hash(), now)
            .await?
            .ok_or_else(unknown_link)?;
        // As it is now: the address may have been removed or its domain lost since.
        let Some((account, address, _)) = tx
            .recovery_address(&row.address.to_ascii_lowercase())
            .await?
            .filter(|(account, _, _)| Some(account) == row.account.as_ref())
        else {
            return Err(unknown_link());
        };
        let user = tx.account_name(&account).await?.ok_or_else(unknown_link)?;
        let open = tx.recovery_of(&account).await?;
        let case = match open {
            Some(case) if case.expires > now => {
                tx.renew_recovery(&case.id, secret.hash()).await?;
                case
            }
            lapsed => {
                if let Some(lapsed) = lapsed {
                    tx.stop_recovery(&lapsed.id, "lapsed", now).await?;
                }
                let critical = tx.owns_critical(&account).await?;
                let case = RecoveryRow {
                    id: new_id(),
                    account: account.clone(),
                    user: user.clone(),
                    address: row.address.clone(),
                    operators: if critical { OPERATORS } else { 0 },
                    opened: now,
                    ready: None,
                    expires: now.plus_seconds(GATHER),
                };
                tx.insert_recovery(&case, secret.hash(), origin).await?;
                let actor = claimant(&account, &user);
                let detail = json!({"case": case.id});
                tx.note_event(
                    &new_id(),
                    now,
                    "recovery-opened",
                    &actor,
                    Some(&account),
                    detail,
                )
                .await?;
                let data = Data::from([
                    ("address".to_owned(), row.address.clone()),
                    ("hours".to_owned(), WAIT_HOURS.to_string()),
                ]);
                self.notify_by(
                    &mut tx,
                    &account,
                    NoticeKind::RecoveryBegun,
                    &data,
                    origin,
                    (MailKind::RecoveryStop, &case.id),
                )
                .await?;
                case
            }
        };
        self.add_proof(&mut tx, &case, "address", &address).await?;
        let view = self.view_recovery(&mut tx, &case.id).await?;
        tx.commit().await?;
        self.wake_office();
        Ok((secret.reveal(), view))
    }

    /// How a case stands.
    ///
    /// # Errors
    /// `recovery-unknown`.
    pub async fn recovery_case(&self, secret: &str) -> Result<RecoveryCase> {
        let case = self.case_by_secret(secret).await?;
        let proofs = self.inner.store.recovery_proofs(&case.id).await?;
        Ok(view(case, &proofs))
    }

    /// Asks for a proof by another address of the account. The answer does not tell whether it is one.
    ///
    /// # Errors
    /// `recovery-unknown`.
    pub async fn ask_recovery_proof(&self, secret: &str, address: &str) -> Result<()> {
        let case = self.case_by_secret(secret).await?;
        let key = address.trim().to_ascii_lowercase();
        let mut tx = self.inner.store.write().await?;
        let theirs = tx.recovery_address(&key).await?;
        if let Some((_, _, address)) = theirs.filter(|(account, _, _)| *account == case.account) {
            let subject = format!("{} {key}", case.id);
            self.put_link(
                &mut tx,
                MailKind::RecoveryProof,
                Some(&case.account),
                &address,
                &subject,
            )
            .await?;
            tx.commit().await?;
            self.wake_office();
        }
        Ok(())
    }

    /// Gives the proof that a mailed link is.
    ///
    /// # Errors
    /// `link-unknown`.
    pub async fn give_recovery_proof(&self, link: &str) -> Result<RecoveryCase> {
        let link = Token::parse(link.trim()).map_err(|_| unknown_link())?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let row = tx
            .take_mail_secret(MailKind::RecoveryProof, link.hash(), now)
            .await?
            .ok_or_else(unknown_link)?;
        let id = row.subject.split(' ').next().unwrap_or_default();
        let case = tx.recovery(id).await?.filter(|case| case.expires > now);
        let theirs = tx
            .recovery_address(&row.address.to_ascii_lowercase())
            .await?;
        let (Some(case), Some((account, address, _))) = (case, theirs) else {
            return Err(unknown_link());
        };
        if account != case.account {
            return Err(unknown_link());
        }
        self.add_proof(&mut tx, &case, "address", &address).await?;
        let view = self.view_recovery(&mut tx, &case.id).await?;
        tx.commit().await?;
        self.wake_office();
        Ok(view)
    }

    /// A co-owner of a project says that it is really them. Needs a passkey just now.
    ///
    /// # Errors
    /// `session-needed`, `step-up-needed`, `recovery-unknown` (also for who owns nothing with them), `recently-recovered`.
    pub async fn vouch_for_recovery(&self, actor: &Actor, user: &str) -> Result<()> {
        let now = self.now();
        let voucher = fresh_phishproof(actor, now)?.clone();
        let mut tx = self.inner.store.write().await?;
        let case = match user_key(user) {
            Ok(key) => tx.recovery_of_user(&key).await?,
            Err(_) => None,
        };
        let case = case
            .filter(|case| case.expires > now && case.account != voucher)
            .ok_or_else(unknown_case)?;
        // Who was let in by others a week ago lets nobody in.
        policy::not_just_recovered(tx.recovered_at(&voucher).await?, now, "vouch for others")?;
        if !tx
            .co_owners(&case.account)
            .await?
            .iter()
            .any(|(owner, _, _)| *owner == voucher)
        {
            return Err(unknown_case());
        }
        let detail = json!({"case": case.id});
        tx.note_event(
            &new_id(),
            now,
            "recovery-vouched",
            actor,
            Some(&case.account),
            detail,
        )
        .await?;
        self.add_proof(&mut tx, &case, "owner", &voucher.0).await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// The id of the case with this secret, for a trip to a provider that is to prove something for it.
    pub(crate) async fn recovery_case_id(&self, secret: &str) -> Result<String> {
        Ok(self.case_by_secret(secret).await?.id)
    }

    /// A sign-in just now at a provider is a proof, where who it is there is linked to the account of the case. No
    /// session is needed for it, nor begun: whoever lost the other ways in could not have one.
    pub(crate) async fn prove_recovery_identity(
        &self,
        case: &str,
        linked: Option<(AccountId, String)>,
    ) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        let case = tx
            .recovery(case)
            .await?
            .filter(|case| case.expires > self.now())
            .ok_or_else(unknown_case)?;
        let mut proof = None;
        if let Some((account, id)) = linked
            && account == case.account
            && tx.is_linked(&account, &id).await?
        {
            proof = Some(id);
        }
        let Some(proof) = proof else {
            return Err(Error::new(
                Kind::Denied,
                "recovery-identity",
                "Who you are there is not linked to the account that is to be recovered.",
            )
            .remedy("Sign in there as who you linked to the account, or give another proof."));
        };
        self.add_proof(&mut tx, &case, "identity", &proof).await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// An operator agrees to a recovery on which much depends. Two different ones must.
    ///
    /// # Errors
    /// `operator-needed`, `step-up-needed`, `recovery-unknown`, `recovery-own`.
    pub async fn approve_recovery(&self, actor: &Actor, user: &str) -> Result<RecoveryCase> {
        policy::may_operate(actor, "agree to a recovery")?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let case = match user_key(user) {
            Ok(key) => tx.recovery_of_user(&key).await?,
            Err(_) => None,
        }
        .filter(|case| case.expires > now)
        .ok_or_else(unknown_case)?;
        let who = match &actor.identity {
            Identity::Account { id, .. } => id.0.clone(),
            _ => "command-line".to_owned(),
        };
        if who == case.account.0 {
            return Err(Error::new(
                Kind::Denied,
                "recovery-own",
                "Nobody agrees to the recovery of their own account.",
            )
            .remedy("Ask another operator."));
        }
        if tx
            .insert_recovery_proof(&case.id, "operator", &who, now)
            .await?
        {
            let detail = json!({"case": case.id});
            tx.note_event(
                &new_id(),
                now,
                "recovery-approved",
                actor,
                Some(&case.account),
                detail,
            )
            .await?;
        }
        let view = self.view_recovery(&mut tx, &case.id).await?;
        tx.commit().await?;
        Ok(view)
    }

    /// An operator refuses a recovery: the case ends, and everybody who was told of it is told so.
    ///
    /// # Errors
    /// `operator-needed`, `recovery-unknown`, `recovery-reason`.
    pub async fn refuse_recovery(&self, actor: &Actor, user: &str, reason: &str) -> Result<()> {
        policy::may_operate(actor, "refuse a recovery")?;
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > 200 || reason.chars().any(char::is_control)
        {
            return Err(Error::new(
                Kind::Rejected,
                "recovery-reason",
                "Say in one line of at most 200 characters why the recovery is refused.",
            )
            .remedy("Those concerned read it."));
        }
        let mut tx = self.inner.store.write().await?;
        let case = match user_key(user) {
            Ok(key) => tx.recovery_of_user(&key).await?,
            Err(_) => None,
        }
        .ok_or_else(unknown_case)?;
        let why = format!("refused by an operator: {reason}");
        self.end_recovery(&mut tx, actor, &case, &why).await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// Every open case, for the operator.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn recoveries(&self, actor: &Actor) -> Result<Vec<RecoveryCase>> {
        policy::may_operate(actor, "list recoveries")?;
        let store = &self.inner.store;
        let mut views = Vec::new();
        for case in store.recoveries().await? {
            let proofs = store.recovery_proofs(&case.id).await?;
            views.push(view(case, &proofs));
        }
        Ok(views)
    }

    /// Stops a recovery by the link that everybody concerned was mailed.
    ///
    /// # Errors
    /// `link-unknown`.
    pub async fn stop_recovery(&self, link: &str) -> Result<()> {
        let link = Token::parse(link.trim()).map_err(|_| unknown_link())?;
        let mut tx = self.inner.store.write().await?;
        let row = tx
            .take_mail_secret(MailKind::RecoveryStop, link.hash(), self.now())
            .await?
            .ok_or_else(unknown_link)?;
        let case = tx.recovery(&row.subject).await?.ok_or_else(unknown_link)?;
        let actor = match &row.account {
            Some(account) => match tx.account_name(account).await? {
                Some(name) => claimant(account, &name),
                None => Actor::anonymous(),
            },
            None => Actor::anonymous(),
        };
        self.end_recovery(
            &mut tx,
            &actor,
            &case,
            "stopped by somebody who was told of it",
        )
        .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// The holder of the account, still or again signed in, stops its recovery.
    ///
    /// # Errors
    /// `session-needed`, `step-up-needed`, `recovery-unknown`.
    pub async fn stop_own_recovery(&self, actor: &Actor) -> Result<()> {
        let account = fresh_holder(actor, self.now())?;
        let mut tx = self.inner.store.write().await?;
        let case = tx.recovery_of(account).await?.ok_or_else(unknown_case)?;
        self.end_recovery(
            &mut tx,
            actor,
            &case,
            "stopped by the holder of the account",
        )
        .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// Ends the waiting: gives the secret to enrol a new passkey with. What is made with it closes every older way into
    /// the account; until then nothing is lost, and the mailed link stays good, so that a browser that fails costs
    /// nobody another three days.
    ///
    /// # Errors
    /// `link-unknown`.
    pub async fn finish_recovery(&self, link: &str) -> Result<String> {
        let link = Token::parse(link.trim()).map_err(|_| unknown_link())?;
        let now = self.now();
        let row = self
            .inner
            .store
            .mail_secret(MailKind::RecoveryReady, link.hash(), now)
            .await?
            .ok_or_else(unknown_link)?;
        let mut tx = self.inner.store.write().await?;
        let case = tx.recovery(&row.subject).await?.ok_or_else(unknown_link)?;
        if !is_ripe(&mut tx, &case, now).await? {
            return Err(unknown_link());
        }
        let account = &case.account;
        let actor = claimant(account, &case.user);
        // Of several only the last is good.
        tx.revoke_enrolments(account, RECOVERY, now).await?;
        let secret = Token::from_random(TokenKind::Staged, self.inner.seams.random.bytes32());
        tx.insert_credential(&NewCredential {
            id: &CredentialId(new_id()),
            account: Some(account),
            kind: "enrolment",
            strength: Strength::Token,
            secret_hash: secret.hash(),
            hint: &secret.hint(),
            label: RECOVERY,
            scope: None,
            created: now,
            expires: now.plus_seconds(ENROL),
        })
        .await?;
        let detail = json!({"case": case.id});
        tx.note_event(
            &new_id(),
            now,
            "recovery-taken-up",
            &actor,
            Some(account),
            detail,
        )
        .await?;
        tx.commit().await?;
        Ok(secret.reveal())
    }

    /// A recovery's enrolment is being used, in the caller's transaction: the case is finished, and every older way into
    /// the account closes.
    ///
    /// # Errors
    /// `link-unknown` where the case was stopped or has lapsed since.
    pub(crate) async fn take_over(&self, tx: &mut Tx, account: &AccountId) -> Result<()> {
        let now = self.now();
        let case = tx.recovery_of(account).await?.ok_or_else(unknown_link)?;
        if !is_ripe(tx, &case, now).await? || !tx.finish_recovery(&case.id, now).await? {
            return Err(unknown_link());
        }
        tx.lock_account(account).await?;
        tx.close_every_door(account, "recovered", now).await?;
        tx.mark_recovered(account, now).await?;
        let detail = json!({"case": case.id});
        tx.note_event(
            &new_id(),
            now,
            "recovery-finished",
            &claimant(account, &case.user),
            Some(account),
            detail,
        )
        .await?;
        let days = policy::RESTRICTED_DAYS.to_string();
        let data = [("days", days.as_str())];
        self.notify(tx, account, NoticeKind::RecoveryDone, &data, None)
            .await?;
        for kind in [MailKind::RecoveryStop, MailKind::RecoveryReady] {
            tx.end_mail_secrets(kind, &case.id).await?;
        }
        Ok(())
    }

    /// Refuses what an account may not do within a week of its recovery.
    ///
    /// # Errors
    /// `recently-recovered`.
    pub(crate) async fn not_just_recovered(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        what: &str,
    ) -> Result<()> {
        let Identity::Account { id, .. } = &actor.identity else {
            return Ok(());
        };
        policy::not_just_recovered(tx.recovered_at(id).await?, self.now(), what)
    }

    /// Tells those whose waiting time is over, and ends what lapsed. A chore.
    pub(crate) async fn look_after_recoveries(&self) -> Result<()> {
        for case in self.inner.store.recoveries().await? {
            let now = self.now();
            let mut tx = self.inner.store.write().await?;
            if case.expires <= now {
                self.end_recovery(&mut tx, &Actor::anonymous(), &case, "it lapsed")
                    .await?;
            } else if is_ripe(&mut tx, &case, now).await?
                && tx.told_recovery_ready(&case.id, now).await?
            {
                self.put_link(
                    &mut tx,
                    MailKind::RecoveryReady,
                    Some(&case.account),
                    &case.address,
                    &case.id,
                )
                .await?;
            }
            tx.commit().await?;
        }
        self.wake_office();
        Ok(())
    }

    async fn add_proof(
        &self,
        tx: &mut Tx,
        case: &RecoveryRow,
        kind: &str,
        proof: &str,
    ) -> Result<()> {
        let now = self.now();
        if !tx.insert_recovery_proof(&case.id, kind, proof, now).await? {
            return Ok(());
        }
        let given = proofs(tx, &case.id).await?.len();
        let ready = now.plus_seconds(WAIT_HOURS * 3_600);
        if given < PROOFS
            || !tx
                .await_recovery(&case.id, ready, ready.plus_seconds(TAKE_UP))
                .await?
        {
            return Ok(());
        }
        let actor = claimant(&case.account, &case.user);
        let detail = json!({"case": case.id, "ready": ready});
        tx.note_event(
            &new_id(),
            now,
            "recovery-waits",
            &actor,
            Some(&case.account),
            detail,
        )
        .await?;
        let until = minute(ready);
        let data = Data::from([("until".to_owned(), until.clone())]);
        self.notify_by(
            tx,
            &case.account,
            NoticeKind::RecoveryWaits,
            &data,
            None,
            (MailKind::RecoveryStop, &case.id),
        )
        .await?;
        for (owner, _, project) in tx.co_owners(&case.account).await? {
            let data = Data::from([
                ("user".to_owned(), case.user.clone()),
                ("project".to_owned(), project),
                ("until".to_owned(), until.clone()),
            ]);
            self.notify_by(
                tx,
                &owner,
                NoticeKind::RecoveryOther,
                &data,
                None,
                (MailKind::RecoveryStop, &case.id),
            )
            .await?;
        }
        Ok(())
    }

    async fn end_recovery(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        case: &RecoveryRow,
        why: &str,
    ) -> Result<()> {
        let now = self.now();
        if !tx.stop_recovery(&case.id, why, now).await? {
            return Ok(());
        }
        for kind in [MailKind::RecoveryStop, MailKind::RecoveryReady] {
            tx.end_mail_secrets(kind, &case.id).await?;
        }
        let detail = json!({"case": case.id, "why": why});
        tx.note_event(
            &new_id(),
            now,
            "recovery-stopped",
            actor,
            Some(&case.account),
            detail,
        )
        .await?;
        let data = [("user", case.user.as_str()), ("why", why)];
        self.notify(tx, &case.account, NoticeKind::RecoveryStopped, &data, None)
            .await?;
        if case.ready.is_some() {
            for (owner, _, _) in tx.co_owners(&case.account).await? {
                self.notify(tx, &owner, NoticeKind::RecoveryStopped, &data, None)
                    .await?;
            }
        }
        Ok(())
    }

    async fn case_by_secret(&self, secret: &str) -> Result<RecoveryRow> {
        let secret = Token::parse(secret.trim()).map_err(|_| unknown_case())?;
        let now = self.now();
        self.inner
            .store
            .recovery_by_secret(secret.hash())
            .await?
            .filter(|case| case.expires > now)
            .ok_or_else(unknown_case)
    }

    async fn view_recovery(&self, tx: &mut Tx, id: &str) -> Result<RecoveryCase> {
        let case = tx.recovery(id).await?.ok_or_else(unknown_case)?;
        let proofs = tx.recovery_proofs(id).await?;
        Ok(view(case, &proofs))
    }
}

/// A case for whoever runs it, with its proofs: kind, which, and when.
fn view(case: RecoveryRow, proofs: &[(String, String, Time)]) -> RecoveryCase {
    let (agreed, given): (Vec<_>, Vec<_>) =
        proofs.iter().partition(|(kind, _, _)| kind == "operator");
    RecoveryCase {
        user: case.user,
        proofs: given
            .into_iter()
            .map(|(kind, _, at)| (kind.clone(), *at))
            .collect(),
        needed: PROOFS,
        operators: (
            case.operators,
            u64::try_from(agreed.len()).unwrap_or(u64::MAX),
        ),
        opened: case.opened,
        ready: case.ready,
        expires: case.expires,
    }
}

/// Proofs of a case without the consent of operators.
async fn proofs(tx: &mut Tx, case: &str) -> Result<Vec<(String, Time)>> {
    let all = tx.recovery_proofs(case).await?;
    Ok(all
        .into_iter()
        .filter(|(kind, _, _)| kind != "operator")
        .map(|(kind, _, at)| (kind, at))
        .collect())
}

/// How many operators agree.
async fn agreed(tx: &mut Tx, case: &str) -> Result<u64> {
    let all = tx.recovery_proofs(case).await?;
    let operators = all.iter().filter(|(kind, _, _)| kind == "operator").count();
    Ok(u64::try_from(operators).unwrap_or(u64::MAX))
}

/// May the account be opened now? What it owns is looked at again: a project may have become critical meanwhile.
async fn is_ripe(tx: &mut Tx, case: &RecoveryRow, now: Time) -> Result<bool> {
    let waited = case.ready.is_some_and(|ready| ready <= now) && case.expires > now;
    let operators = if tx.owns_critical(&case.account).await? {
        OPERATORS
    } else {
        case.operators
    };
    Ok(waited && agreed(tx, &case.id).await? >= operators)
}

/// Whoever runs a case: they say that they are the account, and have proved nothing for the log.
fn claimant(account: &AccountId, name: &str) -> Actor {
    Actor {
        identity: Identity::Account {
            id: account.clone(),
            name: name.to_owned(),
        },
        ..Actor::anonymous()
    }
}

/// [`fresh_holder`], by a passkey.
fn fresh_phishproof(actor: &Actor, now: Time) -> Result<&AccountId> {
    let account = fresh_holder(actor, now)?;
    match &actor.session {
        Some(session) if session.level == Level::Phishproof => Ok(account),
        _ => Err(Error::new(
            Kind::Denied,
            "step-up-needed",
            "To vouch for somebody takes a passkey.",
        )
        .remedy("Sign in with a passkey and do it again.")),
    }
}

fn unknown_case() -> Error {
    Error::new(
        Kind::NotFound,
        "recovery-unknown",
        "There is no such recovery, or it has ended.",
    )
    .remedy("Begin again with the user name or an address of the account.")
}
