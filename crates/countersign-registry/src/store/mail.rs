//! Mail that waits, links that were mailed, notices, addresses.

use std::collections::HashSet;

use countersign_trust::digest::Sha256;
use sqlx::any::AnyRow;

use super::{Store, Tx, failed, maybe_text, maybe_time, number, signed, text, time, unsigned};
use crate::error::{Error, Result};
use crate::model::{AccountId, CredentialId, Time};
use crate::texts::{Data, MailKind};

/// A mail to send.
pub(crate) struct NewMail<'a> {
    /// A fresh id.
    pub(crate) id: &'a str,
    pub(crate) kind: MailKind,
    pub(crate) account: Option<&'a AccountId>,
    /// An address as it was accepted before; read again when it is sent.
    pub(crate) address: &'a str,
    /// What the link is about, for mails with one: the id of an invitation, the key of an address.
    pub(crate) subject: &'a str,
    /// Fills the text. No secret.
    pub(crate) data: &'a Data,
    pub(crate) now: Time,
}

/// A mail that is to be sent now.
pub(crate) struct MailRow {
    pub(crate) id: String,
    pub(crate) account: Option<AccountId>,
    pub(crate) kind: String,
    pub(crate) address: String,
    pub(crate) subject: String,
    pub(crate) data: Data,
    pub(crate) created: Time,
    pub(crate) attempts: u64,
}

/// What a mailed link is good for.
#[derive(Clone, Debug)]
pub(crate) struct MailSecretRow {
    pub(crate) subject: String,
    pub(crate) account: Option<AccountId>,
    pub(crate) address: String,
    pub(crate) expires: Time,
}

/// A notice of an account.
pub(crate) struct AccountNoticeRow {
    pub(crate) id: String,
    pub(crate) account: AccountId,
    pub(crate) kind: String,
    pub(crate) data: Data,
    pub(crate) at: Time,
    pub(crate) address: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) seen: Option<Time>,
}

/// An address of an account; `pending`: its holder has not proved it yet and it counts for nothing.
#[derive(Clone, Debug)]
pub(crate) struct AddressRow {
    pub(crate) id: String,
    pub(crate) account: AccountId,
    pub(crate) address: String,
    pub(crate) verified: Option<Time>,
    pub(crate) primary: Option<Time>,
    pub(crate) abandoned: Option<(Time, String)>,
    pub(crate) pending: bool,
}

/// What was seen of a domain.
#[derive(Clone, Debug)]
pub(crate) struct DomainRow {
    pub(crate) domain: String,
    /// When it is looked at again.
    pub(crate) next: Time,
    /// Since when it looks bad, and how.
    pub(crate) bad: Option<(Time, String)>,
}

fn to_data(row: &AnyRow) -> Result<Data> {
    serde_json::from_str(&text(row, "data")?)
        .map_err(|source| Error::internal("stored JSON can not be read", source))
}

fn from_data(data: &Data) -> Result<String> {
    serde_json::to_string(data)
        .map_err(|source| Error::internal("a value can not be written as JSON", source))
}

/// Under which an address can be counted after it was emptied from its row.
fn address_hash(address: &str) -> String {
    Sha256::of(address.to_ascii_lowercase().as_bytes()).to_string()
}

fn mail(row: &AnyRow) -> Result<MailRow> {
    Ok(MailRow {
        id: text(row, "id")?,
        account: maybe_text(row, "account_id")?.map(AccountId),
        kind: text(row, "kind")?,
        address: text(row, "address")?,
        subject: text(row, "subject")?,
        data: to_data(row)?,
        created: time(row, "created_at")?,
        attempts: unsigned(row, "attempts")?,
    })
}

fn secret(row: &AnyRow) -> Result<MailSecretRow> {
    Ok(MailSecretRow {
        subject: text(row, "subject")?,
        account: maybe_text(row, "account_id")?.map(AccountId),
        address: text(row, "address")?,
        expires: time(row, "expires_at")?,
    })
}

fn address(row: &AnyRow) -> Result<AddressRow> {
    let abandoned = match maybe_time(row, "abandoned_at")? {
        None => None,
        Some(at) => Some((at, maybe_text(row, "abandoned_why")?.unwrap_or_default())),
    };
    Ok(AddressRow {
        id: text(row, "id")?,
        account: AccountId(text(row, "account_id")?),
        address: text(row, "address")?,
        verified: maybe_time(row, "verified_at")?,
        primary: maybe_time(row, "primary_at")?,
        abandoned,
        pending: number(row, "pending")? == 1,
    })
}

const ADDRESS: &str = "SELECT id, account_id, address, verified_at, primary_at, abandoned_at, abandoned_why, 0 AS pending \
     FROM account_emails";

const MAIL_SECRET: &str = "SELECT subject, account_id, address, expires_at FROM mail_secrets WHERE purpose = $1 AND secret_hash = $2 AND expires_at > $3";

impl Store {
    /// Takes mails that are due, for the length of a lease: nobody else sends them meanwhile.
    pub(crate) async fn lease_mails(
        &self,
        now: Time,
        until: Time,
        limit: u64,
    ) -> Result<Vec<MailRow>> {
        let rows = sqlx::query(
            "UPDATE mails SET lease_until = $2, attempts = attempts + 1 WHERE id IN (SELECT id FROM mails \
             WHERE sent_at IS NULL AND given_up_at IS NULL AND run_at <= $1 AND (lease_until IS NULL OR lease_until <= $1) \
             ORDER BY run_at, id LIMIT $3) AND sent_at IS NULL AND given_up_at IS NULL AND (lease_until IS NULL OR lease_until <= $1) \
             RETURNING id, account_id, kind, address, subject, data, created_at, attempts",
        )
        .bind(now.0)
        .bind(until.0)
        .bind(signed(limit))
        .fetch_all(&self.write)
        .await
        .map_err(failed)?;
        let mut mails = rows.iter().map(mail).collect::<Result<Vec<_>>>()?;
        mails.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(mails)
    }

    /// The mail went out: what it said is forgotten.
    pub(crate) async fn mail_sent(&self, id: &str, now: Time) -> Result<()> {
        sqlx::query("UPDATE mails SET sent_at = $2, lease_until = NULL, last_error = NULL, address = '', data = '{}', subject = '' WHERE id = $1")
            .bind(id.to_owned())
            .bind(now.0)
            .execute(&self.write)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// The mail did not go out: it is tried again at `again`, or never.
    pub(crate) async fn mail_failed(
        &self,
        id: &str,
        why: &str,
        again: Option<Time>,
        now: Time,
    ) -> Result<()> {
        let sql = match again {
            Some(_) => {
                "UPDATE mails SET run_at = $2, last_error = $3, lease_until = NULL WHERE id = $1"
            }
            None => {
                "UPDATE mails SET given_up_at = $2, last_error = $3, lease_until = NULL, address = '', data = '{}', subject = '' WHERE id = $1"
            }
        };
        sqlx::query(sql)
            .bind(id.to_owned())
            .bind(again.unwrap_or(now).0)
            .bind(why.to_owned())
            .execute(&self.write)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// How many mails wait, since when the oldest does, how many were given up lately, and the last fault.
    pub(crate) async fn mail_state(&self) -> Result<(u64, Option<Time>, u64, Option<String>)> {
        let row = sqlx::query(
            "SELECT (SELECT count(*) FROM mails WHERE sent_at IS NULL AND given_up_at IS NULL) AS waiting, \
             (SELECT min(created_at) FROM mails WHERE sent_at IS NULL AND given_up_at IS NULL) AS oldest, \
             (SELECT count(*) FROM mails WHERE given_up_at IS NOT NULL) AS given_up, \
             (SELECT last_error FROM mails WHERE last_error IS NOT NULL ORDER BY id DESC LIMIT 1) AS fault",
        )
        .fetch_one(&self.read)
        .await
        .map_err(failed)?;
        Ok((
            unsigned(&row, "waiting")?,
            maybe_time(&row, "oldest")?,
            unsigned(&row, "given_up")?,
            maybe_text(&row, "fault")?,
        ))
    }

    /// What a mailed link is good for, without using it up.
    pub(crate) async fn mail_secret(
        &self,
        purpose: MailKind,
        hash: Sha256,
        now: Time,
    ) -> Result<Option<MailSecretRow>> {
        let row = sqlx::query(MAIL_SECRET)
            .bind(purpose.as_str())
            .bind(hash.to_string())
            .bind(now.0)
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(secret).transpose()
    }

    /// Notices of an account, newest first.
    pub(crate) async fn account_notices(
        &self,
        account: &AccountId,
    ) -> Result<Vec<AccountNoticeRow>> {
        let rows = sqlx::query(
            "SELECT id, account_id, kind, data, at, origin_address, origin_agent, seen_at FROM account_notices \
             WHERE account_id = $1 ORDER BY at DESC, id DESC LIMIT 200",
        )
        .bind(account.0.clone())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(AccountNoticeRow {
                    id: text(row, "id")?,
                    account: AccountId(text(row, "account_id")?),
                    kind: text(row, "kind")?,
                    data: to_data(row)?,
                    at: time(row, "at")?,
                    address: maybe_text(row, "origin_address")?,
                    agent: maybe_text(row, "origin_agent")?,
                    seen: maybe_time(row, "seen_at")?,
                })
            })
            .collect()
    }

    /// Addresses of an account, the main one first; then those that wait for their proof.
    pub(crate) async fn addresses(&self, account: &AccountId) -> Result<Vec<AddressRow>> {
        let rows = sqlx::query(super::built(format!("{ADDRESS} {OF_ACCOUNT}")))
            .bind(account.0.clone())
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        main_first(&rows)
    }

    /// Has the account a main address that it proved?
    pub(crate) async fn has_proved_main(&self, account: &AccountId) -> Result<bool> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM account_emails WHERE account_id = $1 AND verified_at IS NOT NULL AND primary_at IS NOT NULL",
        )
        .bind(account.0.clone())
        .fetch_one(&self.read)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// Every address that was proved and is not abandoned.
    pub(crate) async fn proved_addresses(&self) -> Result<Vec<AddressRow>> {
        let rows = sqlx::query(super::built(format!(
            "{ADDRESS} WHERE verified_at IS NOT NULL AND abandoned_at IS NULL ORDER BY id"
        )))
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(address).collect()
    }

    /// What was seen of domains: when each is due again, and since when and with which finding it looks bad.
    pub(crate) async fn mail_domains(&self) -> Result<Vec<DomainRow>> {
        let rows = sqlx::query("SELECT domain, next_at, bad_since, finding FROM mail_domains")
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(DomainRow {
                    domain: text(row, "domain")?,
                    next: time(row, "next_at")?,
                    bad: maybe_time(row, "bad_since")?.zip(maybe_text(row, "finding")?),
                })
            })
            .collect()
    }

    /// Keeps what was seen of a domain now.
    pub(crate) async fn put_mail_domain(&self, row: &DomainRow, now: Time) -> Result<()> {
        sqlx::query(
            "INSERT INTO mail_domains (domain, checked_at, next_at, bad_since, finding) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (domain) DO UPDATE SET checked_at = excluded.checked_at, next_at = excluded.next_at, \
             bad_since = excluded.bad_since, finding = excluded.finding",
        )
        .bind(row.domain.clone())
        .bind(now.0)
        .bind(row.next.0)
        .bind(row.bad.as_ref().map(|(since, _)| since.0))
        .bind(row.bad.as_ref().map(|(_, finding)| finding.clone()))
        .execute(&self.write)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Which of these hashes are of a secret that was given out here: a token or a mailed link.
    pub(crate) async fn held_secrets(&self, hashes: &[Sha256]) -> Result<HashSet<Sha256>> {
        let mut held = HashSet::new();
        for some in hashes.chunks(500) {
            let places: Vec<String> = (1..=some.len()).map(|n| format!("${n}")).collect();
            let places = places.join(", ");
            let mut query = sqlx::query(super::built(format!(
                "SELECT secret_hash FROM credentials WHERE secret_hash IN ({places}) \
                 UNION SELECT secret_hash FROM mail_secrets WHERE secret_hash IN ({places})"
            )));
            for hash in some {
                query = query.bind(hash.to_string());
            }
            for row in query.fetch_all(&self.read).await.map_err(failed)? {
                let hash = text(&row, "secret_hash")?
                    .parse()
                    .map_err(|source| Error::internal("a stored digest is none", source))?;
                held.insert(hash);
            }
        }
        Ok(held)
    }

    /// Holds a mail for longer, before it is handed over; false where somebody else has it, or it went out, meanwhile.
    pub(crate) async fn renew_lease(&self, mail: &MailRow, now: Time, until: Time) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE mails SET lease_until = $3 WHERE id = $1 AND attempts = $2 AND lease_until > $4 \
             AND sent_at IS NULL AND given_up_at IS NULL",
        )
        .bind(mail.id.clone())
        .bind(signed(mail.attempts))
        .bind(until.0)
        .bind(now.0)
        .execute(&self.write)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Deletes mails that are older than `kept`, whatever became of them (trying ends long before; where no mail is set up
    /// it never began), and links that are good no longer.
    pub(crate) async fn purge_mail(&self, now: Time, kept: Time) -> Result<u64> {
        let mut gone = 0;
        for (sql, before) in [
            ("DELETE FROM mail_secrets WHERE expires_at < $1", now),
            ("DELETE FROM mails WHERE created_at < $1", kept),
            ("DELETE FROM pending_addresses WHERE created_at < $1", kept),
        ] {
            gone += sqlx::query(sql)
                .bind(before.0)
                .execute(&self.write)
                .await
                .map_err(failed)?
                .rows_affected();
        }
        Ok(gone)
    }
}

fn main_first(rows: &[AnyRow]) -> Result<Vec<AddressRow>> {
    let mut rows = rows.iter().map(address).collect::<Result<Vec<_>>>()?;
    rows.sort_by(|a, b| {
        (a.primary.is_none(), a.pending, &a.id).cmp(&(b.primary.is_none(), b.pending, &b.id))
    });
    Ok(rows)
}

const OF_ACCOUNT: &str = "WHERE account_id = $1 UNION ALL SELECT id, account_id, address, NULL, NULL, NULL, NULL, 1 AS pending \
     FROM pending_addresses WHERE account_id = $1";

impl Tx {
    /// [`Store::addresses`], as they are now.
    pub(crate) async fn addresses(&mut self, account: &AccountId) -> Result<Vec<AddressRow>> {
        let rows = sqlx::query(super::built(format!("{ADDRESS} {OF_ACCOUNT}")))
            .bind(account.0.clone())
            .fetch_all(&mut *self.inner)
            .await
            .map_err(failed)?;
        main_first(&rows)
    }

    /// Puts a mail into the outbox; it is sent after the commit, at least once.
    pub(crate) async fn put_mail(&mut self, new: &NewMail<'_>) -> Result<()> {
        sqlx::query(
            "INSERT INTO mails (id, account_id, kind, address, address_hash, subject, data, created_at, run_at, attempts) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, 0)",
        )
        .bind(new.id.to_owned())
        .bind(new.account.map(|id| id.0.clone()))
        .bind(new.kind.as_str())
        .bind(new.address.to_owned())
        .bind(address_hash(new.address))
        .bind(new.subject.to_owned())
        .bind(from_data(new.data)?)
        .bind(new.now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// How many mails of this kind an address was sent since then.
    pub(crate) async fn mails_since(
        &mut self,
        address: &str,
        kind: MailKind,
        since: Time,
    ) -> Result<u64> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM mails WHERE address_hash = $1 AND kind = $2 AND created_at > $3",
        )
        .bind(address_hash(address))
        .bind(kind.as_str())
        .bind(since.0)
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        unsigned(&row, "n")
    }

    /// Stores the hash of a link's secret, made while its mail goes out.
    pub(crate) async fn insert_mail_secret(
        &mut self,
        purpose: MailKind,
        hash: Sha256,
        row: &MailSecretRow,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO mail_secrets (secret_hash, purpose, subject, account_id, address, created_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(hash.to_string())
        .bind(purpose.as_str())
        .bind(row.subject.clone())
        .bind(row.account.as_ref().map(|id| id.0.clone()))
        .bind(row.address.clone())
        .bind(now.0)
        .bind(row.expires.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Uses up a mailed link, with all others of its purpose and subject. `None`: unknown, used or too old.
    pub(crate) async fn take_mail_secret(
        &mut self,
        purpose: MailKind,
        hash: Sha256,
        now: Time,
    ) -> Result<Option<MailSecretRow>> {
        let row = sqlx::query(
            "DELETE FROM mail_secrets WHERE purpose = $1 AND secret_hash = $2 AND expires_at > $3 \
             RETURNING subject, account_id, address, expires_at",
        )
        .bind(purpose.as_str())
        .bind(hash.to_string())
        .bind(now.0)
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        let Some(row) = row.as_ref().map(secret).transpose()? else {
            return Ok(None);
        };
        self.end_mail_secrets(purpose, &row.subject).await?;
        Ok(Some(row))
    }

    /// Ends every mailed link of a purpose and subject, and mails that would carry further ones.
    pub(crate) async fn end_mail_secrets(
        &mut self,
        purpose: MailKind,
        subject: &str,
    ) -> Result<()> {
        sqlx::query("DELETE FROM mail_secrets WHERE purpose = $1 AND subject = $2")
            .bind(purpose.as_str())
            .bind(subject.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        sqlx::query("DELETE FROM mails WHERE kind = $1 AND subject = $2 AND sent_at IS NULL AND given_up_at IS NULL")
            .bind(purpose.as_str())
            .bind(subject.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Writes a notice of an account.
    pub(crate) async fn insert_account_notice(&mut self, row: &AccountNoticeRow) -> Result<()> {
        sqlx::query(
            "INSERT INTO account_notices (id, account_id, kind, data, at, origin_address, origin_agent) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(row.id.clone())
        .bind(row.account.0.clone())
        .bind(row.kind.clone())
        .bind(from_data(&row.data)?)
        .bind(row.at.0)
        .bind(row.address.clone())
        .bind(row.agent.clone())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Puts a notice aside; false where the account has no such notice.
    pub(crate) async fn see_account_notice(
        &mut self,
        account: &AccountId,
        id: &str,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query("UPDATE account_notices SET seen_at = COALESCE(seen_at, $3) WHERE account_id = $1 AND id = $2")
            .bind(account.0.clone())
            .bind(id.to_owned())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Addresses of an account that were proved and are not abandoned, the main one first.
    pub(crate) async fn verified_addresses(&mut self, account: &AccountId) -> Result<Vec<String>> {
        let rows = sqlx::query(
            "SELECT address FROM account_emails WHERE account_id = $1 AND verified_at IS NOT NULL AND abandoned_at IS NULL \
             ORDER BY CASE WHEN primary_at IS NULL THEN 1 ELSE 0 END, id",
        )
        .bind(account.0.clone())
        .fetch_all(&mut *self.inner)
        .await
        .map_err(failed)?;
        rows.iter().map(|row| text(row, "address")).collect()
    }

    /// The user name of an account; `None` too where it is disabled.
    pub(crate) async fn account_name(&mut self, account: &AccountId) -> Result<Option<String>> {
        let row = sqlx::query("SELECT name FROM accounts WHERE id = $1 AND disabled_at IS NULL")
            .bind(account.0.clone())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map(|row| text(&row, "name")).transpose()
    }

    /// The account that has proved an address.
    pub(crate) async fn verified_holder(&mut self, key: &str) -> Result<Option<AccountId>> {
        let row = sqlx::query(
            "SELECT account_id FROM account_emails WHERE address_key = $1 AND verified_at IS NOT NULL",
        )
        .bind(key.to_owned())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.map(|row| text(&row, "account_id").map(AccountId))
            .transpose()
    }

    /// The address as some account has it, verified or not.
    pub(crate) async fn address_by_key(&mut self, key: &str) -> Result<Option<AddressRow>> {
        let row = sqlx::query(super::built(format!("{ADDRESS} WHERE address_key = $1")))
            .bind(key.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.as_ref().map(address).transpose()
    }

    /// Notes that an account wants an address; once only.
    pub(crate) async fn insert_pending_address(
        &mut self,
        id: &str,
        account: &AccountId,
        address: &str,
        key: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO pending_addresses (id, account_id, address, address_key, created_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (account_id, address_key) DO NOTHING",
        )
        .bind(id.to_owned())
        .bind(account.0.clone())
        .bind(address.to_owned())
        .bind(key.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// The account no longer wants, or now has, an address; false where it did not want it.
    pub(crate) async fn remove_pending_address(
        &mut self,
        account: &AccountId,
        key: &str,
    ) -> Result<bool> {
        let done =
            sqlx::query("DELETE FROM pending_addresses WHERE account_id = $1 AND address_key = $2")
                .bind(account.0.clone())
                .bind(key.to_owned())
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Stores a further address.
    pub(crate) async fn insert_address(
        &mut self,
        row: &AddressRow,
        key: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO account_emails (id, account_id, address, address_key, created_at) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(row.id.clone())
        .bind(row.account.0.clone())
        .bind(row.address.clone())
        .bind(key.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// The holder proved the address now; an earlier doubt about its domain is over.
    pub(crate) async fn prove_address(&mut self, id: &str, now: Time) -> Result<()> {
        sqlx::query("UPDATE account_emails SET verified_at = $2, abandoned_at = NULL, abandoned_why = NULL WHERE id = $1")
            .bind(id.to_owned())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Makes one address of an account its main one.
    pub(crate) async fn set_primary(
        &mut self,
        account: &AccountId,
        id: &str,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE account_emails SET primary_at = CASE WHEN id = $2 THEN COALESCE(primary_at, $3) ELSE NULL END WHERE account_id = $1",
        )
        .bind(account.0.clone())
        .bind(id.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Deletes an address.
    pub(crate) async fn delete_address(&mut self, id: &str) -> Result<()> {
        sqlx::query("DELETE FROM account_emails WHERE id = $1")
            .bind(id.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Ends a mailed link that somebody found; true where it was one.
    pub(crate) async fn end_leaked_link(&mut self, hash: Sha256) -> Result<bool> {
        let done = sqlx::query("DELETE FROM mail_secrets WHERE secret_hash = $1")
            .bind(hash.to_string())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Keeps who reported a token, and where it stood: reporter, source, address.
    pub(crate) async fn insert_leak_report(
        &mut self,
        id: &str,
        credential: &CredentialId,
        (reporter, source, url): (&str, &str, &str),
        now: Time,
    ) -> Result<()> {
        sqlx::query("INSERT INTO leak_reports (id, credential_id, reporter, source, url, at) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(id.to_owned())
            .bind(credential.0.clone())
            .bind(reporter.to_owned())
            .bind(source.to_owned())
            .bind(url.to_owned())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// An address counts for recovery no longer; false where it did not before.
    pub(crate) async fn abandon_address(&mut self, id: &str, why: &str, now: Time) -> Result<bool> {
        let done = sqlx::query("UPDATE account_emails SET abandoned_at = $2, abandoned_why = $3 WHERE id = $1 AND abandoned_at IS NULL")
            .bind(id.to_owned())
            .bind(now.0)
            .bind(why.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }
}
