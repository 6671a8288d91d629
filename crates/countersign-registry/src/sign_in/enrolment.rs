//! Becoming somebody here: sign-ups, and the links that were mailed or handed over. A link is shown by GET and used up
//! by the first credential that is made with it, never by being opened.

use countersign_trust::digest::Sha256;
use countersign_trust::token::Token;
use serde::Serialize;
use serde_json::json;

use super::limits;
use crate::Registry;
use crate::accounts::{new_id, user_key};
use crate::error::{Error, Kind, Result};
use crate::model::{
    AccountId, Actor, CallerOrigin, CredentialId, EmailAddress, Identity, RECOVERY, Time,
};
use crate::store::{NewMail, PersonRow, SignUpRow, Tx, WRITE_CONFLICT};
use crate::texts::{Data, MailKind};

/// A sign-up lapses after this long, in seconds; its link ends earlier.
const LAPSES: i64 = 7 * 86_400;

/// By what a credential is made.
#[derive(Clone, Copy)]
pub enum Enrolling<'a> {
    /// A session.
    Session(&'a Actor),
    /// The secret of a link.
    Link(&'a str),
}

/// What a link would do, for the page that asks.
#[derive(Clone, Debug, Serialize)]
pub struct Enrolment {
    /// The user name.
    pub user: String,
    /// The address it was mailed to, where it was.
    pub email: Option<String>,
    /// An account is made by it.
    pub new_account: bool,
    /// It sets a password only.
    pub password_only: bool,
    /// When it ends.
    pub expires: Time,
}

/// What a link is good for.
enum Purpose {
    /// An account that somebody signed up for.
    SignUp { id: String, address: String },
    /// An account that the operator made.
    Operator {
        account: AccountId,
        credential: CredentialId,
    },
    /// An account that is recovered.
    Recovery {
        account: AccountId,
        credential: CredentialId,
    },
    /// A new password for an account.
    Reset { account: AccountId },
}

/// A link that can be used now.
pub(super) struct Link {
    purpose: Purpose,
    pub(super) user: String,
    pub(super) hash: Sha256,
    expires: Time,
}

fn unknown() -> Error {
    Error::new(
        Kind::Unauthenticated,
        "link-unknown",
        "This link was used before, has ended, or was never given out.",
    )
    .remedy("Ask for a new one.")
}

impl Link {
    /// The account that it is for; a new one for sign-ups.
    pub(super) fn new_account(&self) -> AccountId {
        match &self.purpose {
            Purpose::SignUp { .. } => AccountId(new_id()),
            Purpose::Operator { account, .. }
            | Purpose::Recovery { account, .. }
            | Purpose::Reset { account } => account.clone(),
        }
    }

    /// A link for a new password registers no passkey: that would get round the second factor.
    pub(super) fn may_register(&self) -> Result<()> {
        if matches!(self.purpose, Purpose::Reset { .. }) {
            return Err(Error::new(
                Kind::Denied,
                "link-not-for-this",
                "This link is good for a new password only.",
            )
            .remedy("Sign in with the new password, then add a passkey."));
        }
        Ok(())
    }

    /// Does using it sign in?
    pub(super) fn begins_session(&self) -> bool {
        !matches!(self.purpose, Purpose::Reset { .. })
    }

    /// Who acts by it.
    pub(super) fn actor(&self, person: &PersonRow) -> Actor {
        Actor {
            identity: Identity::Account {
                id: person.id.clone(),
                name: person.name.clone(),
            },
            ..Actor::anonymous()
        }
    }
}

impl Registry {
    /// Somebody wants an account. The answer is the same whether or not the address belongs to somebody already; what
    /// is true is mailed to it.
    ///
    /// # Errors
    /// `sign-up-closed`, `user-name`, `user-exists`, `email-address`, `too-many-attempts`.
    pub async fn sign_up(&self, name: &str, email: &str, origin: &CallerOrigin) -> Result<()> {
        if !self.inner.settings.sign_up_open() {
            return Err(Error::new(
                Kind::Denied,
                "sign-up-closed",
                "Accounts are made by the operator of this registry.",
            )
            .remedy("Ask them for one."));
        }
        let name_key = user_key(name)?;
        let address = EmailAddress::parse(email.trim()).ok_or_else(|| {
            Error::new(
                Kind::Rejected,
                "email-address",
                format!("{email:?} is not an e-mail address."),
            )
            .remedy("Give one such as ann@example.org.")
        })?;
        self.count(&limits::sign_up(&address.key(), origin)).await?;
        let taken = || {
            Error::new(
                Kind::Conflict,
                "user-exists",
                format!("The user name {name} is taken."),
            )
            .remedy("Choose another name.")
        };
        let now = self.now();
        let id = new_id();
        let site = self.inner.settings.site().to_owned();
        let mut tx = self.inner.store.write().await?;
        if tx.name_taken(&name_key).await? || tx.name_is_asked_for(&name_key, now).await? {
            return Err(taken());
        }
        let in_use = tx
            .address_by_key(&address.key())
            .await?
            .is_some_and(|row| row.verified.is_some());
        tx.insert_sign_up(
            &SignUpRow {
                id: id.clone(),
                name: name.to_owned(),
                name_key,
                address: address.as_str().to_owned(),
                expires: now.plus_seconds(LAPSES),
            },
            now,
        )
        .await
        .map_err(|error| {
            if error.code == WRITE_CONFLICT {
                taken()
            } else {
                error
            }
        })?;
        let data = Data::from([
            ("user".to_owned(), name.to_owned()),
            ("site".to_owned(), site),
        ]);
        tx.put_mail(&NewMail {
            id: &new_id(),
            kind: if in_use {
                MailKind::AddressInUse
            } else {
                MailKind::Enrol
            },
            account: None,
            address: address.as_str(),
            subject: &id,
            data: &data,
            now,
        })
        .await?;
        tx.note_event(
            &new_id(),
            now,
            "signed-up",
            &Actor::anonymous(),
            None,
            json!({"sign_up": id}),
        )
        .await?;
        tx.commit().await.map_err(|error| {
            if error.code == WRITE_CONFLICT {
                taken()
            } else {
                error
            }
        })?;
        self.wake_office();
        Ok(())
    }

    /// What the link with this secret would do. Opening a link uses nothing up.
    ///
    /// # Errors
    /// `link-unknown`.
    pub async fn enrolment(&self, secret: &str) -> Result<Enrolment> {
        let link = self.link(secret).await?;
        Ok(Enrolment {
            new_account: matches!(link.purpose, Purpose::SignUp { .. }),
            password_only: matches!(link.purpose, Purpose::Reset { .. }),
            email: match &link.purpose {
                Purpose::SignUp { address, .. } => Some(address.clone()),
                _ => None,
            },
            user: link.user,
            expires: link.expires,
        })
    }

    /// The link with this secret, if it can be used now.
    pub(super) async fn link(&self, secret: &str) -> Result<Link> {
        let hash = Token::parse(secret).map_err(|_| unknown())?.hash();
        let now = self.now();
        let store = &self.inner.store;
        if let Some(row) = store.mail_secret(MailKind::Enrol, hash, now).await? {
            let sign_up = store
                .sign_up_by_id(&row.subject)
                .await?
                .ok_or_else(unknown)?;
            if sign_up.expires <= now {
                return Err(unknown());
            }
            return Ok(Link {
                purpose: Purpose::SignUp {
                    id: sign_up.id,
                    address: sign_up.address,
                },
                user: sign_up.name,
                hash,
                expires: row.expires.min(sign_up.expires),
            });
        }
        if let Some(row) = store
            .mail_secret(MailKind::PasswordReset, hash, now)
            .await?
        {
            let account = row.account.ok_or_else(unknown)?;
            let person = store.person(&account).await?.ok_or_else(unknown)?;
            if person.disabled.is_some() {
                return Err(unknown());
            }
            return Ok(Link {
                purpose: Purpose::Reset { account },
                user: person.name,
                hash,
                expires: row.expires,
            });
        }
        let row = store.credential_by_hash(hash).await?.ok_or_else(unknown)?;
        let good = row.kind == "enrolment"
            && row.revoked.is_none()
            && row.account_disabled.is_none()
            && row.expires.is_some_and(|at| at > now);
        if !good {
            return Err(unknown());
        }
        Ok(Link {
            user: row.account_name,
            expires: row.expires.unwrap_or(now),
            purpose: if row.label == RECOVERY {
                Purpose::Recovery {
                    account: row.account,
                    credential: row.id,
                }
            } else {
                Purpose::Operator {
                    account: row.account,
                    credential: row.id,
                }
            },
            hash,
        })
    }

    /// Uses a link up in the caller's transaction; only one finds it. Makes the account where it is a sign-up's, with
    /// the id that was chosen before.
    pub(super) async fn redeem(
        &self,
        tx: &mut Tx,
        link: &Link,
        account: &AccountId,
    ) -> Result<PersonRow> {
        let now = self.now();
        match &link.purpose {
            Purpose::SignUp { id, .. } => {
                tx.take_mail_secret(MailKind::Enrol, link.hash, now)
                    .await?
                    .ok_or_else(unknown)?;
                let row = tx.take_sign_up(id, now).await?.ok_or_else(unknown)?;
                let taken = |error: Error| {
                    if error.code == WRITE_CONFLICT {
                        return Error::new(
                            Kind::Conflict,
                            "user-exists",
                            "The name or address was taken since you signed up.",
                        )
                        .remedy("Sign up again with another one.");
                    }
                    error
                };
                // Asked again here: an account of this name may have been made, or erased, since the sign-up.
                let other = tx.address_by_key(&row.address.to_ascii_lowercase()).await?;
                let proved = other.as_ref().is_some_and(|row| row.verified.is_some());
                if proved || tx.name_taken(&row.name_key).await? {
                    return Err(taken(Error::new(Kind::Conflict, WRITE_CONFLICT, "taken")));
                }
                tx.insert_account(account, &row.name, &row.name_key, None, now)
                    .await
                    .map_err(taken)?;
                let person = PersonRow {
                    id: account.clone(),
                    name: row.name,
                    operator: false,
                    disabled: None,
                };
                let actor = link.actor(&person);
                if let Some(other) = other {
                    self.lose_address(tx, &actor, &other).await?;
                }
                let email = new_id();
                tx.insert_email(account, &email, &row.address, now)
                    .await
                    .map_err(taken)?;
                // Whoever holds the link reads the address's mail.
                tx.prove_address(&email, now).await?;
                self.note_sign_in(
                    tx,
                    &actor,
                    "account-made",
                    account,
                    json!({"by": "sign-up"}),
                )
                .await?;
                Ok(person)
            }
            Purpose::Operator {
                account,
                credential,
            } => {
                if !tx.revoke_credential(credential, "used", now).await? {
                    return Err(unknown());
                }
                self.person_for(tx, account).await
            }
            Purpose::Recovery {
                account,
                credential,
            } => {
                if !tx.revoke_credential(credential, "used", now).await? {
                    return Err(unknown());
                }
                self.take_over(tx, account).await?;
                self.person_for(tx, account).await
            }
            Purpose::Reset { account } => {
                tx.take_mail_secret(MailKind::PasswordReset, link.hash, now)
                    .await?
                    .ok_or_else(unknown)?;
                // It changes a password and never makes one: see `mail_way_back`.
                if !tx.has_password(account).await? {
                    return Err(unknown());
                }
                self.person_for(tx, account).await
            }
        }
    }

    async fn person_for(&self, tx: &mut Tx, account: &AccountId) -> Result<PersonRow> {
        tx.person(account)
            .await?
            .filter(|person| person.disabled.is_none())
            .ok_or_else(unknown)
    }
}
