//! Mail: addresses of accounts, and the office that sends what the outbox holds.
//!
//! A mail is a row, written in the transaction of what it tells ([`crate::store::Tx::put_mail`]), so that neither is
//! without the other. The office takes rows that are due under a lease, makes the secret of the link where there is one
//! (only its hash is stored), hands the mail to [`crate::Post`] and then empties the row. *Crash before the mail is
//! handed over*: the lease ends and it is sent. *Crash after it*: it is sent twice, with the same Message-ID.

mod addresses;
mod domains;

use serde::Serialize;
use tokio::sync::Notify;

use countersign_trust::token::{Token, TokenKind};

use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::model::{EmailAddress, Time};
use crate::seams::{Message, Post, PostError};
use crate::store::{MailRow, MailSecretRow};
use crate::texts::{self, Data, MailKind};

pub use addresses::AddressSummary;
pub(crate) use addresses::read_address;

/// Mails taken at once.
const BATCH: u64 = 20;

/// Nobody else sends a mail for this long after it was taken, in seconds.
const LEASE: i64 = 300;

/// A mail is tried this often: with the waits between, for about two days.
const TRIES: u64 = 12;

/// Mails that ended are forgotten after this long, in seconds.
const KEEP: i64 = 7 * 86_400;

/// What this process knows of its mail.
#[derive(Default)]
pub(crate) struct Office {
    work: Notify,
}

/// How mail is doing, for the operator.
#[derive(Clone, Debug, Serialize)]
pub struct MailState {
    /// Has the operator set mail up?
    pub set_up: bool,
    /// Mails that wait.
    pub waiting: u64,
    /// Since when the oldest of them does.
    pub oldest: Option<Time>,
    /// Mails that were given up in the last week.
    pub given_up: u64,
    /// What the last fault was.
    pub fault: Option<String>,
}

/// What a mailed link would do, for the page that asks before it is done.
#[derive(Clone, Debug, Serialize)]
pub struct MailLink {
    /// The account's user name.
    pub user: Option<String>,
    /// The address it was mailed to.
    pub address: String,
    /// What it is about, where that is more than the account.
    pub subject: String,
    /// When it ends.
    pub expires: Time,
}

impl Registry {
    /// There may be mail to send.
    pub(crate) fn wake_office(&self) {
        self.inner.office.work.notify_one();
    }

    /// Sends mail for as long as the process serves: at once when called, and looks for other processes' mail every
    /// few seconds.
    pub(crate) async fn office(&self) {
        loop {
            let idle = std::time::Duration::from_secs(5);
            drop(tokio::time::timeout(idle, self.inner.office.work.notified()).await);
            if let Err(error) = self.send_mail().await {
                tracing::warn!(%error, "mail could not be looked after; it is tried again");
            }
        }
    }

    /// Sends every mail that is due; the number that went out.
    ///
    /// # Errors
    /// Where the database fails. A mail that can not be sent is no error: it is tried again later.
    pub async fn send_mail(&self) -> Result<u64> {
        let Some(post) = &self.inner.seams.post else {
            return Ok(0);
        };
        let mut sent = 0;
        loop {
            let now = self.now();
            let due = self
                .inner
                .store
                .lease_mails(now, now.plus_seconds(LEASE), BATCH)
                .await?;
            if due.is_empty() {
                return Ok(sent);
            }
            for mail in due {
                // A relay that hangs may have eaten the time for which the whole batch was taken.
                let now = self.now();
                let until = now.plus_seconds(LEASE);
                if !self.inner.store.renew_lease(&mail, now, until).await? {
                    continue;
                }
                sent += u64::from(self.send_one(post.as_ref(), &mail).await?);
            }
        }
    }

    async fn send_one(&self, post: &dyn Post, mail: &MailRow) -> Result<bool> {
        let now = self.now();
        let store = &self.inner.store;
        let Some((kind, to)) =
            MailKind::from_word(&mail.kind).zip(EmailAddress::parse(&mail.address))
        else {
            tracing::error!(mail = %mail.id, kind = %mail.kind, "a stored mail can not be sent: its kind or address is none");
            store
                .mail_failed(&mail.id, "not a mail that can be sent", None, now)
                .await?;
            return Ok(false);
        };
        let link = match texts::link_of(kind) {
            None => None,
            Some((label, path)) => {
                let expires = now.plus_seconds(texts::life_of(kind));
                let secret =
                    Token::from_random(TokenKind::Staged, self.inner.seams.random.bytes32());
                let row = MailSecretRow {
                    subject: mail.subject.clone(),
                    account: mail.account.clone(),
                    address: mail.address.clone(),
                    expires,
                };
                let mut tx = store.write().await?;
                tx.insert_mail_secret(kind, secret.hash(), &row, now)
                    .await?;
                tx.commit().await?;
                let url = format!(
                    "{}{path}?secret={}",
                    self.inner.settings.site(),
                    secret.reveal()
                );
                Some((label, url, expires))
            }
        };
        let message = self.letter(mail, kind, to, link);
        match post.send(&message).await {
            Ok(()) => {
                store.mail_sent(&mail.id, self.now()).await?;
                Ok(true)
            }
            Err(PostError::Later(why)) if mail.attempts < TRIES => {
                let wait = (60_i64 << mail.attempts.min(9)).min(6 * 3_600);
                tracing::warn!(mail = %mail.id, %why, wait, "a mail did not go out; it is tried again");
                store
                    .mail_failed(&mail.id, &why, Some(now.plus_seconds(wait)), now)
                    .await?;
                Ok(false)
            }
            Err(PostError::Later(why) | PostError::Never(why)) => {
                tracing::warn!(mail = %mail.id, %why, "a mail did not go out and is given up");
                store.mail_failed(&mail.id, &why, None, now).await?;
                Ok(false)
            }
        }
    }

    /// The mail as it goes out, as plain text and as HTML with the same words.
    fn letter(
        &self,
        mail: &MailRow,
        kind: MailKind,
        to: EmailAddress,
        link: Option<(&str, String, Time)>,
    ) -> Message {
        let site = self.inner.settings.site();
        let host = self.inner.settings.url.host_str().unwrap_or("localhost");
        let mut data: Data = mail.data.clone();
        data.entry("site".to_owned())
            .or_insert_with(|| host.to_owned());
        let wording = kind.wording(&data);
        let mut letter = Letter::default();
        letter.paragraph(&wording.what);
        if let Some((label, url, expires)) = &link {
            letter.link(label, url);
            letter.paragraph(&format!("{} {}.", texts::GOOD_UNTIL, minute(*expires)));
        }
        letter.paragraph(&wording.advice);
        letter.paragraph(&format!("{}: {}", texts::WHEN, minute(mail.created)));
        if let Some(from) = data.get("from") {
            letter.paragraph(&format!("{}: {from}", texts::FROM));
        }
        letter.link(texts::SECURITY, &format!("{site}/account/security"));
        letter.paragraph(texts::FOOTER);
        Message::new(
            format!("{}@{host}", mail.id),
            to,
            &format!("[{host}] {}", wording.title),
            letter.text,
            letter.html,
        )
    }

    /// What a mailed link would do; the link stays good.
    ///
    /// # Errors
    /// `link-unknown`.
    pub async fn mail_link(&self, purpose: MailKind, secret: &str) -> Result<MailLink> {
        let row = match Token::parse(secret.trim()) {
            Ok(token) => {
                self.inner
                    .store
                    .mail_secret(purpose, token.hash(), self.now())
                    .await?
            }
            Err(_) => None,
        };
        let Some(row) = row else {
            return Err(unknown_link());
        };
        let user = match &row.account {
            Some(account) => self.inner.store.account_name(account).await?,
            None => None,
        };
        Ok(MailLink {
            user,
            address: row.address,
            subject: row.subject,
            expires: row.expires,
        })
    }

    /// How mail is doing.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn mail_state(&self, actor: &crate::model::Actor) -> Result<MailState> {
        crate::policy::may_operate(actor, "look at the mail")?;
        let (waiting, oldest, given_up, fault) = self.inner.store.mail_state().await?;
        Ok(MailState {
            set_up: self.inner.seams.post.is_some(),
            waiting,
            oldest,
            given_up,
            fault,
        })
    }

    /// Forgets mails that ended and links that are good no longer.
    pub(crate) async fn purge_mail(&self) -> Result<u64> {
        let now = self.now();
        self.inner
            .store
            .purge_mail(now, now.plus_seconds(-KEEP))
            .await
    }
}

/// What a link that was used, lapsed or never was answers: always the same.
pub(crate) fn unknown_link() -> Error {
    Error::new(
        Kind::NotFound,
        "link-unknown",
        "This link is not good, or no longer: each is good once and for a short time.",
    )
    .remedy("Ask for another mail, and open the link of the newest one.")
}

/// A time to the minute, for people.
pub(crate) fn minute(at: Time) -> String {
    let text = at.rfc3339();
    format!(
        "{} {} UTC",
        text.get(..10).unwrap_or_default(),
        text.get(11..16).unwrap_or_default()
    )
}

/// Plain text and HTML, grown together.
#[derive(Default)]
struct Letter {
    text: String,
    html: String,
}

impl Letter {
    fn paragraph(&mut self, words: &str) {
        let words: String = words
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        self.text.push_str(&words);
        self.text.push_str("\n\n");
        self.html.push_str("<p>");
        self.html.push_str(&escaped(&words));
        self.html.push_str("</p>\n");
    }

    fn link(&mut self, label: &str, url: &str) {
        self.text.push_str(&format!("{label}:\n{url}\n\n"));
        let (label, url) = (escaped(label), escaped(url));
        self.html
            .push_str(&format!("<p><a href=\"{url}\">{label}</a><br>{url}</p>\n"));
    }
}

/// Text as it may stand in HTML, in elements and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}
