//! Addresses of an account: adding, proving, choosing the main one, removing.
//!
//! An address counts for nothing before the link that was mailed to it was opened *and* confirmed. Until then it keeps
//! nobody else from using it, and whether somebody else has it already is not told.

use serde::Serialize;
use serde_json::json;

use countersign_trust::token::Token;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::mail::unknown_link;
use crate::model::{AccountId, Actor, CallerOrigin, EmailAddress, Identity, Strength, Time};
use crate::notices::{fresh_holder, holder};
use crate::store::{AddressRow, MailSecretRow, NewMail, Tx};
use crate::texts::{Data, MailKind, NoticeKind};

/// Addresses that one account may have, those without proof among them.
const AT_MOST: usize = 10;

/// Mails of one kind that an address is sent within an hour; further ones are silently not sent.
const HOURLY: u64 = 5;
/// …and within a day.
const DAILY: u64 = 15;

/// An address of an account.
#[derive(Clone, Debug, Serialize)]
pub struct AddressSummary {
    /// Its id.
    pub id: String,
    /// The address.
    pub address: String,
    /// When its holder proved it.
    pub verified: Option<Time>,
    /// Is it the one that mail goes to first?
    pub primary: bool,
    /// Since when it no longer counts for recovery, and why.
    pub abandoned: Option<(Time, String)>,
}

impl Registry {
    /// The caller's own addresses, the main one first.
    ///
    /// # Errors
    /// `session-needed`.
    pub async fn addresses(&self, actor: &Actor) -> Result<Vec<AddressSummary>> {
        let rows = self.inner.store.addresses(holder(actor)?).await?;
        Ok(rows
            .into_iter()
            .map(|row| AddressSummary {
                id: row.id,
                address: row.address,
                verified: row.verified,
                primary: row.primary.is_some(),
                abandoned: row.abandoned,
            })
            .collect())
    }

    /// Begins to add an address: a link is mailed to it. The answer is the same whether or not somebody else has it.
    ///
    /// # Errors
    /// `session-needed`, `step-up-needed`, `email-address`, `addresses-many`, `mail-limit`.
    pub async fn add_address(&self, actor: &Actor, address: &str) -> Result<()> {
        let account = fresh_holder(actor, self.now())?;
        let address = read_address(address)?;
        let mut tx = self.inner.store.write().await?;
        self.still_good(&mut tx, actor).await?;
        // Taking turns: requests at the same moment must not have more addresses together.
        tx.lock_account(account).await?;
        let rows = tx.addresses(account).await?;
        let there = rows
            .iter()
            .any(|row| row.address.eq_ignore_ascii_case(address.as_str()));
        if !there && rows.len() >= AT_MOST {
            return Err(Error::new(
                Kind::Limited,
                "addresses-many",
                format!("An account may have {AT_MOST} addresses."),
            )
            .remedy("Remove one first."));
        }
        let now = self.now();
        if !there {
            tx.insert_pending_address(&new_id(), account, address.as_str(), &address.key(), now)
                .await?;
            let detail = json!({});
            tx.note_event(
                &new_id(),
                now,
                "address-asked",
                actor,
                Some(account),
                detail,
            )
            .await?;
        }
        if !rows
            .iter()
            .any(|row| row.verified.is_some() && row.address.eq_ignore_ascii_case(address.as_str()))
        {
            self.ask_for_proof(&mut tx, account, &address).await?;
        }
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// Mails the link that proves an address; nothing where too many were mailed lately. To an address that another
    /// account has proved goes a mail that says so, and no link.
    pub(crate) async fn ask_for_proof(
        &self,
        tx: &mut Tx,
        account: &AccountId,
        address: &EmailAddress,
    ) -> Result<()> {
        let taken = tx
            .verified_holder(&address.key())
            .await?
            .is_some_and(|holder| holder != *account);
        let kind = if taken {
            MailKind::AddressInUse
        } else {
            MailKind::VerifyAddress
        };
        let subject = proof_subject(account, address);
        self.put_link(tx, kind, Some(account), address.as_str(), &subject)
            .await?;
        Ok(())
    }

    /// Puts a mail with a link into the outbox, unless the address was sent too many of that kind lately; false then.
    pub(crate) async fn put_link(
        &self,
        tx: &mut Tx,
        kind: MailKind,
        account: Option<&AccountId>,
        address: &str,
        subject: &str,
    ) -> Result<bool> {
        let now = self.now();
        for (span, most) in [(3_600, HOURLY), (86_400, DAILY)] {
            if tx
                .mails_since(address, kind, now.plus_seconds(-span))
                .await?
                >= most
            {
                return Ok(false);
            }
        }
        let mut data = Data::new();
        if let Some(account) = account
            && kind != MailKind::AddressInUse
            && let Some(user) = tx.account_name(account).await?
        {
            data.insert("user".to_owned(), user);
        }
        tx.put_mail(&NewMail {
            id: &new_id(),
            kind,
            account: account.filter(|_| kind != MailKind::AddressInUse),
            address,
            subject,
            data: &data,
            now,
        })
        .await?;
        Ok(true)
    }

    /// Proves an address by the link that was mailed to it. Needs no session: whoever reads the mail may say yes, and
    /// gains nothing by it but that the address counts.
    ///
    /// # Errors
    /// `link-unknown`, `address-taken`.
    pub async fn verify_address(
        &self,
        secret: &str,
        origin: Option<&CallerOrigin>,
    ) -> Result<AddressSummary> {
        let token = Token::parse(secret.trim()).map_err(|_| unknown_link())?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let Some(MailSecretRow {
            account: Some(account),
            address,
            ..
        }) = tx
            .take_mail_secret(MailKind::VerifyAddress, token.hash(), now)
            .await?
        else {
            return Err(unknown_link());
        };
        let key = address.to_ascii_lowercase();
        let Some(name) = tx.account_name(&account).await? else {
            return Err(unknown_link());
        };
        let holder = Actor {
            identity: Identity::Account {
                id: account.clone(),
                name,
            },
            strength: Strength::None,
            ..Actor::anonymous()
        };
        let row = match tx.address_by_key(&key).await? {
            Some(row) if row.account == account => row,
            other => {
                // Only what its account still asks for.
                if !tx.remove_pending_address(&account, &key).await? {
                    return Err(unknown_link());
                }
                if let Some(other) = other {
                    if other.verified.is_some() {
                        return Err(Error::new(
                            Kind::Conflict,
                            "address-taken",
                            "Another account has proved this address meanwhile.",
                        )
                        .remedy("Sign in with that account, or use another address."));
                    }
                    self.lose_address(&mut tx, &holder, &other).await?;
                }
                let row = AddressRow {
                    id: new_id(),
                    account: account.clone(),
                    address: address.clone(),
                    verified: None,
                    primary: None,
                    abandoned: None,
                    pending: false,
                };
                tx.insert_address(&row, &key, now).await?;
                row
            }
        };
        let primary = row.primary.is_some() || tx.verified_addresses(&account).await?.is_empty();
        tx.prove_address(&row.id, now).await?;
        if primary {
            tx.set_primary(&account, &row.id, now).await?;
        }
        let detail = json!({"address": row.id});
        tx.note_event(
            &new_id(),
            now,
            "address-verified",
            &holder,
            Some(&account),
            detail,
        )
        .await?;
        let data = [("address", address.as_str())];
        self.notify(&mut tx, &account, NoticeKind::AddressAdded, &data, origin)
            .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(AddressSummary {
            id: row.id,
            address,
            verified: Some(now),
            primary,
            abandoned: None,
        })
    }

    /// An address that another account never proved goes to the one that did.
    pub(crate) async fn lose_address(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        row: &AddressRow,
    ) -> Result<()> {
        tx.delete_address(&row.id).await?;
        let detail = json!({"address": row.id, "why": "proved-by-another"});
        let id = new_id();
        tx.note_event(
            &id,
            self.now(),
            "address-removed",
            actor,
            Some(&row.account),
            detail,
        )
        .await?;
        let data = [("address", row.address.as_str())];
        self.notify(tx, &row.account, NoticeKind::AddressTaken, &data, None)
            .await
    }

    /// Makes one of the caller's proved addresses the main one. Old and new one are told.
    ///
    /// # Errors
    /// `session-needed`, `step-up-needed`, `address-unknown`, `address-unproved`.
    pub async fn make_primary(
        &self,
        actor: &Actor,
        id: &str,
        origin: Option<&CallerOrigin>,
    ) -> Result<()> {
        let now = self.now();
        let account = fresh_holder(actor, now)?;
        let mut tx = self.inner.store.write().await?;
        self.still_good(&mut tx, actor).await?;
        tx.lock_account(account).await?;
        let rows = tx.addresses(account).await?;
        let row = own_address(&rows, id)?;
        if row.verified.is_none() {
            return Err(Error::new(
                Kind::Rejected,
                "address-unproved",
                format!("{} was not proved yet.", row.address),
            )
            .remedy("Open the link that was mailed to it, or ask for another one."));
        }
        if row.primary.is_some() {
            return Ok(());
        }
        let before = rows.iter().find(|row| row.primary.is_some());
        tx.set_primary(account, &row.id, now).await?;
        let detail = json!({"address": row.id});
        tx.note_event(
            &new_id(),
            now,
            "address-primary",
            actor,
            Some(account),
            detail,
        )
        .await?;
        let data = [
            ("address", row.address.as_str()),
            ("before", before.map_or("none", |row| &row.address)),
        ];
        self.notify(&mut tx, account, NoticeKind::AddressPrimary, &data, origin)
            .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// Removes one of the caller's addresses. It is told too.
    ///
    /// # Errors
    /// `session-needed`, `step-up-needed`, `address-unknown`, `address-main`.
    pub async fn remove_address(
        &self,
        actor: &Actor,
        id: &str,
        origin: Option<&CallerOrigin>,
    ) -> Result<()> {
        let now = self.now();
        let account = fresh_holder(actor, now)?;
        let mut tx = self.inner.store.write().await?;
        self.still_good(&mut tx, actor).await?;
        tx.lock_account(account).await?;
        let rows = tx.addresses(account).await?;
        let row = own_address(&rows, id)?;
        if row.primary.is_some() {
            return Err(Error::new(
                Kind::Rejected,
                "address-main",
                format!("{} is the main address of the account.", row.address),
            )
            .remedy("Make another address the main one first."));
        }
        if let Some(address) = EmailAddress::parse(&row.address) {
            tx.end_mail_secrets(MailKind::VerifyAddress, &proof_subject(account, &address))
                .await?;
        }
        let id = new_id();
        let detail = json!({"address": row.id});
        tx.note_event(&id, now, "address-removed", actor, Some(account), detail)
            .await?;
        if row.pending {
            tx.remove_pending_address(account, &row.address.to_ascii_lowercase())
                .await?;
        } else {
            let data = [("address", row.address.as_str())];
            self.notify(&mut tx, account, NoticeKind::AddressRemoved, &data, origin)
                .await?;
            tx.delete_address(&row.id).await?;
        }
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }
}

/// Reads an address, or says why it is none.
pub(crate) fn read_address(text: &str) -> Result<EmailAddress> {
    EmailAddress::parse(text.trim()).ok_or_else(|| {
        Error::new(
            Kind::Rejected,
            "email-address",
            format!("{:?} is not an e-mail address.", text.trim()),
        )
        .remedy("Give one such as ann@example.org.")
    })
}

/// What the link that proves an address is about: links of one account are not ended by another's.
fn proof_subject(account: &AccountId, address: &EmailAddress) -> String {
    format!("{account} {}", address.key())
}

fn own_address<'a>(rows: &'a [AddressRow], id: &str) -> Result<&'a AddressRow> {
    rows.iter().find(|row| row.id == id).ok_or_else(|| {
        Error::new(
            Kind::NotFound,
            "address-unknown",
            "The account has no such address.",
        )
        .remedy("Open the list of addresses again.")
    })
}
