//! Notices: what the holder of an account should know, on the account's page and by mail, and what to do if it was not
//! them. A notice is written in the transaction of what it tells.

use serde::Serialize;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, Actor, CallerOrigin, Identity, ProjectId, Time};
use crate::policy;
use crate::store::{AccountNoticeRow, NewMail, Tx};
use crate::texts::{Data, MailKind, NoticeKind};

/// A notice of an account, in words.
#[derive(Clone, Debug, Serialize)]
pub struct AccountNotice {
    /// Its id.
    pub id: String,
    /// Its kind, as a word.
    pub kind: String,
    /// One line.
    pub title: String,
    /// What happened.
    pub text: String,
    /// What to do if it was not you.
    pub advice: String,
    /// When.
    pub at: Time,
    /// From where, while that is kept.
    pub from: Option<String>,
    /// When its holder put it aside.
    pub seen: Option<Time>,
}

impl Registry {
    /// Tells an account something: on its page, and by mail to every verified address. `data` fills the braces of the
    /// kind's text (see `texts`) and holds no secret.
    pub(crate) async fn notify(
        &self,
        tx: &mut Tx,
        account: &AccountId,
        kind: NoticeKind,
        data: &[(&str, &str)],
        origin: Option<&CallerOrigin>,
    ) -> Result<()> {
        let data: Data = data
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        self.notify_by(tx, account, kind, &data, origin, (MailKind::Notice, ""))
            .await
    }

    /// [`Registry::notify`] by a mail that also carries a link: its kind and what the link is about.
    pub(crate) async fn notify_by(
        &self,
        tx: &mut Tx,
        account: &AccountId,
        kind: NoticeKind,
        data: &Data,
        origin: Option<&CallerOrigin>,
        (mail, subject): (MailKind, &str),
    ) -> Result<()> {
        let now = self.now();
        tx.insert_account_notice(&AccountNoticeRow {
            id: new_id(),
            account: account.clone(),
            kind: kind.as_str().to_owned(),
            data: data.clone(),
            at: now,
            address: origin.map(|origin| origin.address.to_string()),
            agent: origin.map(|origin| origin.agent.clone()),
            seen: None,
        })
        .await?;
        let wording = kind.wording(data);
        // Mails with words of their own fill them from the same data.
        let mut mail_data = data.clone();
        mail_data.extend([
            ("title".to_owned(), wording.title),
            ("what".to_owned(), wording.what),
            ("advice".to_owned(), wording.advice),
        ]);
        if let Some(origin) = origin {
            mail_data.insert("from".to_owned(), place(origin));
        }
        for address in tx.verified_addresses(account).await? {
            tx.put_mail(&NewMail {
                id: &new_id(),
                kind: mail,
                account: Some(account),
                address: &address,
                subject,
                data: &mail_data,
                now,
            })
            .await?;
        }
        Ok(())
    }

    /// Tells every owner of a project; `except` is somebody who need not be told.
    pub(crate) async fn notify_owners(
        &self,
        tx: &mut Tx,
        project: &ProjectId,
        except: Option<&AccountId>,
        kind: NoticeKind,
        data: &[(&str, &str)],
    ) -> Result<()> {
        for owner in tx.owner_accounts(project).await? {
            if Some(&owner) != except {
                self.notify(tx, &owner, kind, data, None).await?;
            }
        }
        Ok(())
    }

    /// The caller's own notices, newest first.
    ///
    /// # Errors
    /// `session-needed`.
    pub async fn account_notices(&self, actor: &Actor) -> Result<Vec<AccountNotice>> {
        let rows = self.inner.store.account_notices(holder(actor)?).await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let kind = NoticeKind::from_word(&row.kind)?;
                let wording = kind.wording(&row.data);
                Some(AccountNotice {
                    id: row.id,
                    kind: row.kind,
                    title: wording.title,
                    text: wording.what,
                    advice: wording.advice,
                    at: row.at,
                    from: row
                        .address
                        .map(|address| format!("{address} ({})", row.agent.unwrap_or_default())),
                    seen: row.seen,
                })
            })
            .collect())
    }

    /// Puts one of the caller's own notices aside.
    ///
    /// # Errors
    /// `session-needed`, `notice-unknown`.
    pub async fn see_account_notice(&self, actor: &Actor, id: &str) -> Result<()> {
        let account = holder(actor)?;
        let mut tx = self.inner.store.write().await?;
        if !tx.see_account_notice(account, id, self.now()).await? {
            return Err(
                Error::new(Kind::NotFound, "notice-unknown", "There is no such notice.")
                    .remedy("Open the list of notices again."),
            );
        }
        tx.commit().await
    }
}

/// Address and program of a request, for a person to recognise.
pub(crate) fn place(origin: &CallerOrigin) -> String {
    format!("{} ({})", origin.address, origin.agent)
}

/// The account that the caller has signed in to. A token is not enough: who finds one must not learn whose it is.
pub(crate) fn holder(actor: &Actor) -> Result<&AccountId> {
    match (&actor.identity, &actor.session) {
        (Identity::Account { id, .. }, Some(_)) => Ok(id),
        (identity, _) => Err(Error::new(
            // Who came with a good token is known, and needs no other one.
            match identity {
                Identity::Anonymous => Kind::Unauthenticated,
                _ => Kind::Denied,
            },
            "session-needed",
            "This is for the holder of an account, signed in.",
        )
        .remedy("Sign in in a browser.")),
    }
}

/// [`holder`], who proved just now that it is them.
pub(crate) fn fresh_holder(actor: &Actor, now: Time) -> Result<&AccountId> {
    let account = holder(actor)?;
    if policy::is_fresh(actor, now) {
        return Ok(account);
    }
    Err(Error::new(
        Kind::Denied,
        "step-up-needed",
        "This needs a fresh proof that it is you.",
    )
    .remedy("Confirm with your passkey, or with password and code, and do it again."))
}
