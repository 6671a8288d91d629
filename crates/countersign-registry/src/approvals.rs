//! Approvals: a person's consent to one act on one thing, given with a passkey, good once and for two minutes.
//!
//! Whoever wants to act asks first ([`Registry::request_approval`]) with the act's word, the purl and, where there are
//! bytes, their SHA-256. The person sees exactly these and answers with a passkey that is asked for this very request
//! ([`Registry::approval_start`], [`Registry::approval_finish`]). The act then uses the approval up in its own transaction.

use countersign_formats::{Ecosystem, format, purl};
use serde::Serialize;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::model::{
    AccountId, Actor, CallerOrigin, Consent, CredentialId, Identity, SessionId, Strength, Time,
};
use crate::policy::{self, Act, On, PERMISSIONS};
use crate::sign_in::{Answer, Ceremony};
use crate::store::{ApprovalRow, Tx};
use crate::texts::NoticeKind;

/// How long a request waits for its answer, in seconds.
const WAITS: i64 = 600;

/// How long a granted approval can be used, in seconds.
const HOLDS: i64 = 120;

/// Requests of one account that may wait at a time.
const WAITING_AT_MOST: i64 = 20;

/// An approval as its page and lists show it.
#[derive(Clone, Debug, Serialize)]
pub struct Approval {
    /// Its id.
    pub id: String,
    /// What people compare and type.
    pub code: String,
    /// The act's word.
    pub act: String,
    /// The act in words.
    pub what: String,
    /// On what.
    pub purl: String,
    /// SHA-256 of the bytes concerned, where there are any.
    pub digest: Option<String>,
    /// What asked: a token's id, or a session.
    pub asked_by: String,
    /// When.
    pub created: Time,
    /// Until when it can be answered.
    pub expires: Time,
    /// `waiting`, `granted`, `refused`, `used` or `expired`.
    pub state: &'static str,
    /// Until when it can be used.
    pub granted_until: Option<Time>,
}

/// Longest subject of a request that asks for consent, in bytes.
const LONGEST_SUBJECT: usize = 500;

/// A request of a token for which its owner's consent is asked, and what exactly it does.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The act that is shown.
    pub act: Act,
    /// Further acts that the same request amounts to.
    pub also: &'static [Act],
    /// The project that it is about, by name. A token that is limited to an ecosystem, a namespace or a project asks for
    /// consent within these; where no project is named it takes a token for all of the account.
    pub on: Option<(Ecosystem, String)>,
    /// On what, with all that matters; compared to the letter, so that consent to one thing is none to another.
    pub subject: String,
}

impl Wanted {
    fn acts(&self) -> Vec<&'static str> {
        let acts = std::iter::once(&self.act).chain(self.also);
        acts.map(|act| act.permission().word).collect()
    }

    /// The subject as it is shown and compared. Only plain characters, since a page shows it to somebody who decides by it:
    /// nothing that is invisible, turns the reading direction, or looks like something else.
    fn subject(&self) -> Result<String> {
        let mut plain = String::with_capacity(self.subject.len());
        for c in self.subject.chars() {
            match c {
                ' '..='~' => plain.push(c),
                _ => plain.extend(c.escape_default()),
            }
        }
        if plain.is_empty() || plain.len() > LONGEST_SUBJECT {
            return Err(Error::new(
                Kind::Rejected,
                "approval-subject",
                format!("What is asked for can not be told in {LONGEST_SUBJECT} characters."),
            )
            .remedy("Ask for less at once, with shorter names."));
        }
        Ok(plain)
    }

    /// May this caller ask, going by what its credential is for?
    fn may_ask(&self, actor: &Actor, now: Time) -> Result<()> {
        match &self.on {
            Some((ecosystem, name)) => {
                let key = format(*ecosystem).name_key(name)?;
                let on = On::Named(*ecosystem, key.as_str());
                policy::may(Act::RequestApproval, actor, on, now)
            }
            None => policy::may(Act::RequestApproval, actor, On::Own, now),
        }
    }

    /// Whose token asks.
    fn by<'a>(&self, actor: &'a Actor) -> Result<(&'a AccountId, &'a CredentialId)> {
        let account = person(actor)?;
        let row = self.act.permission();
        if !row.consent {
            return Err(Error::new(
                Kind::Denied,
                "session-needed",
                format!("No token may {}, with or without an approval.", row.what),
            )
            .remedy("Sign in at this registry's pages and do it there."));
        }
        let Some(credential) = &actor.credential else {
            return Err(Error::new(
                Kind::Denied,
                "token-needed",
                "Consent is asked for by tokens; whoever is signed in confirms in the session instead.",
            )
            .remedy("Leave the header away, and confirm at the page that the refusal names."));
        };
        if actor
            .scope
            .as_ref()
            .is_none_or(|scope| scope.action < row.consented_action())
        {
            return Err(Error::new(
                Kind::Denied,
                "token-action",
                format!(
                    "This token may not {}, with or without an approval.",
                    row.what
                ),
            )
            .remedy(format!(
                "Use a token with the action {}.",
                row.consented_action().as_str()
            )));
        }
        Ok((account, credential))
    }
}

fn asked_by(credential: Option<&CredentialId>) -> String {
    match credential {
        Some(credential) => format!("token {credential}"),
        None => "session".to_owned(),
    }
}

fn unknown(which: &str) -> Error {
    let shown: String = which.chars().take(80).collect();
    Error::new(
        Kind::NotFound,
        "approval-unknown",
        format!("There is no request for an approval {shown:?} of yours."),
    )
    .remedy("Ask again; a request waits ten minutes.")
}

fn over(state: &str) -> Error {
    Error::new(
        Kind::Conflict,
        "approval-over",
        format!("This request for an approval is over: {state}."),
    )
    .remedy("Ask again.")
}

fn state_of(row: &ApprovalRow, now: Time) -> &'static str {
    match row {
        row if row.used.is_some() => "used",
        row if row.refused.is_some() => "refused",
        row => match row.granted_until {
            Some(until) if now < until => "granted",
            None if now < row.expires => "waiting",
            _ => "expired",
        },
    }
}

fn view(row: ApprovalRow, now: Time) -> Approval {
    let what = PERMISSIONS
        .iter()
        .find(|permission| permission.word == row.act)
        .map_or("", |permission| permission.what);
    Approval {
        state: state_of(&row, now),
        what: what.to_owned(),
        id: row.id,
        code: row.code,
        act: row.act,
        purl: row.purl,
        digest: (!row.digest.is_empty()).then_some(row.digest),
        asked_by: row.asked_by,
        created: row.created,
        expires: row.expires,
        granted_until: row.granted_until,
    }
}

/// Who asks and answers; only accounts do.
fn person(actor: &Actor) -> Result<&AccountId> {
    match &actor.identity {
        Identity::Account { id, .. } => Ok(id),
        _ => Err(Error::new(
            Kind::Denied,
            "account-needed",
            "Approvals are given by accounts.",
        )
        .remedy("Use a credential of a person.")),
    }
}

/// The session of who answers; the answer is given in it.
fn in_person(actor: &Actor, now: Time) -> Result<&SessionId> {
    policy::may(Act::Approve, actor, On::Own, now)?;
    match &actor.session {
        Some(session) => Ok(&session.id),
        None => Err(Error::new(
            Kind::Denied,
            "session-needed",
            "Approvals are given by people who are signed in.",
        )
        .remedy("Sign in at this registry's pages and answer there.")),
    }
}

/// What the question of a passkey is kept under, so that the answer to one request is none to another.
fn purpose(row: &ApprovalRow) -> String {
    format!("approval:{}", row.id)
}

impl Registry {
    /// Asks the caller's account for its consent to one act on one thing.
    ///
    /// # Errors
    /// `approval-act` for an act that takes none, `approval-subject`, `too-many-approvals`.
    pub async fn request_approval(
        &self,
        actor: &Actor,
        act: &str,
        subject: &str,
        digest: Option<&str>,
    ) -> Result<Approval> {
        // A token that is limited to a project, or to less than everything, asks within that.
        let parsed = purl::parse(subject);
        let on = match &parsed {
            Ok(parsed) => On::Named(parsed.ecosystem, parsed.name_key.as_str()),
            Err(_) => On::Own,
        };
        policy::may(Act::RequestApproval, actor, on, self.now())?;
        let account = person(actor)?;
        if !PERMISSIONS
            .iter()
            .any(|permission| permission.approval && permission.word == act)
        {
            let shown: String = act.chars().take(80).collect();
            return Err(Error::new(
                Kind::Rejected,
                "approval-act",
                format!("{shown:?} is nothing that takes an approval."),
            )
            .remedy("See the table of permissions for the acts that do."));
        }
        // Only the one way to write it: what is compared later is the text.
        let parsed = parsed?;
        let subject = match (&parsed.version, &parsed.filename) {
            (Some(version), Some(filename)) => {
                purl::file_purl(parsed.ecosystem, &parsed.name_key, version, filename)
            }
            (Some(version), None) => {
                purl::release_purl(parsed.ecosystem, &parsed.name_key, version)
            }
            (None, _) => purl::project_purl(parsed.ecosystem, &parsed.name_key),
        };
        let digest = digest.unwrap_or_default();
        let fits = digest.is_empty()
            || (digest.len() == 64
                && digest
                    .bytes()
                    .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
        if !fits {
            return Err(Error::new(
                Kind::Rejected,
                "approval-subject",
                "The digest is no SHA-256 in lower-case hexadecimal.",
            )
            .remedy("Give the 64 digits of the file's SHA-256."));
        }
        self.put_request(actor, account, act, subject, digest).await
    }

    /// Asks the caller's account to consent with a passkey to one request of this token, which otherwise takes a session.
    ///
    /// # Errors
    /// `token-needed`, `account-needed`, `token-action`, `approval-subject`, `too-many-approvals`.
    pub async fn request_consent(&self, actor: &Actor, wanted: &Wanted) -> Result<Approval> {
        wanted.may_ask(actor, self.now())?;
        let (account, _) = wanted.by(actor)?;
        let subject = wanted.subject()?;
        let word = wanted.act.permission().word;
        self.put_request(actor, account, word, subject, "").await
    }

    /// Uses up the approval of this very request by this very token. The answer is the caller for this request, and may
    /// what the person consented to.
    ///
    /// # Errors
    /// `approval-unknown`, `approval-other` where it is for something else, `approval-waiting`, `approval-over`, and
    /// those of [`Registry::request_consent`].
    pub async fn consented(&self, actor: Actor, approval: &str, wanted: &Wanted) -> Result<Actor> {
        let now = self.now();
        wanted.may_ask(&actor, now)?;
        let (account, credential) = wanted.by(&actor)?;
        let subject = wanted.subject()?;
        let word = wanted.act.permission().word;
        let row = self.own_approval(&actor, approval).await?;
        if row.act != word || row.purl != subject || row.asked_by != asked_by(Some(credential)) {
            return Err(Error::new(
                Kind::Denied,
                "approval-other",
                "This approval is for another request, or was asked for with another token.",
            )
            .remedy("Repeat exactly the request that it was given to, or ask for an approval of this one."));
        }
        match state_of(&row, now) {
            "granted" => {}
            "waiting" => {
                return Err(Error::new(
                    Kind::Denied,
                    "approval-waiting",
                    "Nobody answered this request for an approval yet.",
                )
                .remedy(
                    "Answer it at this registry's page of approvals, then repeat the request.",
                ));
            }
            state => return Err(over(state)),
        }
        let mut tx = self.inner.store.write().await?;
        if !tx.use_approval(&row.id, now).await? {
            return Err(over("used"));
        }
        let detail = serde_json::json!({"approval": row.id, "act": word, "subject": subject});
        tx.note_event(
            &new_id(),
            now,
            "approval-used",
            &actor,
            Some(account),
            detail,
        )
        .await?;
        tx.commit().await?;
        let consent = Consent {
            approval: row.id,
            acts: wanted.acts(),
        };
        Ok(Actor {
            consent: Some(consent),
            ..actor
        })
    }

    async fn put_request(
        &self,
        actor: &Actor,
        account: &AccountId,
        act: &str,
        subject: String,
        digest: &str,
    ) -> Result<Approval> {
        let now = self.now();
        let row = ApprovalRow {
            id: new_id(),
            code: code(self.inner.seams.random.bytes32()),
            account: account.clone(),
            act: act.to_owned(),
            purl: subject,
            digest: digest.to_owned(),
            asked_by: asked_by(actor.credential.as_ref()),
            created: now,
            expires: now.plus_seconds(WAITS),
            granted_until: None,
            refused: None,
            used: None,
        };
        let mut tx = self.inner.store.write().await?;
        let waiting = tx.waiting_approvals(account, now).await?;
        if waiting >= WAITING_AT_MOST {
            return Err(Error::new(
                Kind::Limited,
                "too-many-approvals",
                format!("{WAITING_AT_MOST} requests wait for an answer of this account already."),
            )
            .remedy("Answer or refuse them first; they end by themselves after ten minutes."));
        }
        tx.insert_approval(&row).await?;
        self.note_approval(&mut tx, actor, "approval-asked", &row)
            .await?;
        // While one waits its mail does, too: a stolen token must not flood the mailbox.
        if waiting == 0 {
            self.tell_of_approval(&mut tx, actor, &row, NoticeKind::ApprovalAsked)
                .await?;
        }
        tx.commit().await?;
        Ok(view(row, now))
    }

    /// The caller's approvals of the last day, newest first.
    ///
    /// # Errors
    /// `session-needed` for tokens.
    pub async fn approvals(&self, actor: &Actor) -> Result<Vec<Approval>> {
        let now = self.now();
        policy::may(Act::Approve, actor, On::Own, now)?;
        let rows = self
            .inner
            .store
            .approvals(person(actor)?, now.plus_seconds(-86_400))
            .await?;
        Ok(rows.into_iter().map(|row| view(row, now)).collect())
    }

    /// One of the caller's approvals by its id, or in a session by its code: also for whoever asked and waits.
    ///
    /// # Errors
    /// `approval-unknown`.
    pub async fn approval(&self, actor: &Actor, which: &str) -> Result<Approval> {
        let now = self.now();
        let row = self.own_approval(actor, which).await;
        // A token learns how far its own request is, whatever it is limited to.
        let asked = actor.credential.as_ref().map(|id| asked_by(Some(id)));
        let own = row
            .as_ref()
            .is_ok_and(|row| asked.is_some_and(|asked| row.asked_by == asked));
        if !own {
            policy::may(Act::RequestApproval, actor, On::Own, now)?;
        }
        Ok(view(row?, now))
    }

    /// How far an approval is, for whoever knows its id: `waiting`, `granted`, `refused`, `used` or `expired`. It is of
    /// no use to anybody but the token that asked for it.
    ///
    /// # Errors
    /// `approval-unknown`.
    pub async fn approval_state(&self, id: &str) -> Result<&'static str> {
        let row = self.inner.store.approval(id).await?;
        row.filter(|row| row.id == id)
            .map(|row| state_of(&row, self.now()))
            .ok_or_else(|| unknown(id))
    }

    /// Refuses a request.
    ///
    /// # Errors
    /// `session-needed` for tokens, `approval-unknown`, `approval-over`.
    pub async fn refuse_approval(&self, actor: &Actor, which: &str) -> Result<()> {
        let now = self.now();
        policy::may(Act::Approve, actor, On::Own, now)?;
        let row = self.own_approval(actor, which).await?;
        let mut tx = self.inner.store.write().await?;
        if !tx.answer_approval(&row.id, None, now).await? {
            return Err(over(state_of(&row, now)));
        }
        self.note_approval(&mut tx, actor, "approval-refused", &row)
            .await?;
        tx.commit().await
    }

    /// Asks the browser for a passkey that consents to this request: the question is made for it and no other.
    ///
    /// # Errors
    /// `session-needed` for tokens, `approval-unknown`, `approval-over`, `factor-unknown` where the account has no key.
    pub async fn approval_start(&self, actor: &Actor, which: &str) -> Result<Ceremony> {
        let now = self.now();
        let session = in_person(actor, now)?;
        let row = self.own_approval(actor, which).await?;
        match state_of(&row, now) {
            "waiting" => {
                self.ask_for_key(&row.account, Some(session), &purpose(&row))
                    .await
            }
            state => Err(over(state)),
        }
    }

    /// Grants the request, for two minutes from now, if the answer is a passkey's of this account, with the person
    /// behind it verified, to the question that was made for this very request in this very session.
    ///
    /// # Errors
    /// `session-needed` for tokens, `approval-unknown`, `approval-over`, `ceremony-unknown`, `passkey-not-yours`,
    /// `passkey-refused`, `passkey-cloned`.
    pub async fn approval_finish(
        &self,
        actor: &Actor,
        which: &str,
        answer: &Answer,
        origin: &CallerOrigin,
    ) -> Result<Approval> {
        let session = in_person(actor, self.now())?;
        let row = self.own_approval(actor, which).await?;
        self.check_key(answer, &row.account, Some(session), &purpose(&row), origin)
            .await?;
        let now = self.now();
        let until = now.plus_seconds(HOLDS);
        let mut tx = self.inner.store.write().await?;
        if !tx.answer_approval(&row.id, Some(until), now).await? {
            return Err(over(state_of(&row, now)));
        }
        self.note_approval(&mut tx, actor, "approval-granted", &row)
            .await?;
        self.tell_of_approval(&mut tx, actor, &row, NoticeKind::ApprovalGranted)
            .await?;
        tx.commit().await?;
        let row = ApprovalRow {
            granted_until: Some(until),
            ..row
        };
        Ok(view(row, now))
    }

    /// Uses up the caller's approval for exactly this, within the transaction of the act. The operator needs none.
    pub(crate) async fn use_approval(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        act: Act,
        subject: &str,
        digest: &str,
    ) -> Result<()> {
        // Whoever has the machine needs none. An operator's session does: it can be stolen like anybody's.
        if !act.permission().approval || actor.strength == Strength::Operator {
            return Ok(());
        }
        if actor
            .consent
            .as_ref()
            .is_some_and(|consent| consent.acts.contains(&act.permission().word))
        {
            return Ok(());
        }
        let now = self.now();
        let word = act.permission().word;
        if let Identity::Account { id, .. } = &actor.identity
            && let Some(approval) = tx.granted_approval(id, word, subject, digest, now).await?
            && tx.use_approval(&approval, now).await?
        {
            let detail = serde_json::json!({"approval": approval, "act": word, "subject": subject});
            return tx
                .note_event(&new_id(), now, "approval-used", actor, Some(id), detail)
                .await;
        }
        Err(Error::new(
            Kind::Denied,
            "approval-needed",
            format!("To {} {subject} takes an approval: the consent of a passkey to this and nothing else.", act.permission().what),
        )
        .remedy(format!(
            "Ask for one ({word} on {subject}), answer it at this registry's page of approvals, and try again within two minutes."
        )))
    }

    async fn own_approval(&self, actor: &Actor, which: &str) -> Result<ApprovalRow> {
        let account = person(actor)?;
        let which = which.trim();
        let row = self.inner.store.approval(which).await?;
        // The code is for eyes and fingers of a person who is signed in; a program knows the id.
        row.filter(|row| row.account == *account && (actor.session.is_some() || row.id == which))
            .ok_or_else(|| unknown(which))
    }

    async fn tell_of_approval(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        row: &ApprovalRow,
        kind: NoticeKind,
    ) -> Result<()> {
        let who = match &actor.credential {
            Some(_) => "One of your tokens",
            None => actor.name(),
        };
        let act = PERMISSIONS
            .iter()
            .find(|permission| permission.word == row.act)
            .map_or("", |permission| permission.what);
        let data = [("who", who), ("act", act), ("purl", &row.purl)];
        self.notify(tx, &row.account, kind, &data, None).await
    }

    async fn note_approval(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        kind: &str,
        row: &ApprovalRow,
    ) -> Result<()> {
        let detail = serde_json::json!({
            "approval": row.id, "act": row.act, "subject": row.purl, "digest": row.digest,
        });
        tx.note_event(
            &new_id(),
            self.now(),
            kind,
            actor,
            Some(&row.account),
            detail,
        )
        .await
    }
}

/// Eight characters that nobody mistakes for each other, in two groups.
fn code(random: [u8; 32]) -> String {
    const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    let mut code: String = random
        .iter()
        .take(8)
        .map(|byte| char::from(LETTERS[usize::from(byte % 32)]))
        .collect();
    code.insert(4, '-');
    code
}
