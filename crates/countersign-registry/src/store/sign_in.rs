//! Sign-ups, passwords, factors, sessions, ceremonies, limits.

use countersign_formats::Ecosystem;
use countersign_trust::digest::Sha256;
use sqlx::any::AnyRow;

use super::{
    Backend, Store, Tx, built, failed, maybe_text, maybe_time, number, parsed, text, time,
    unsigned, value_rows,
};
use crate::error::Result;
use crate::model::{AccountId, CredentialId, FactorId, Level, ProjectId, SessionId, Time};

/// Somebody who wants an account.
#[derive(Clone, Debug)]
pub(crate) struct SignUpRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) name_key: String,
    pub(crate) address: String,
    pub(crate) expires: Time,
}

/// A password.
#[derive(Clone)]
pub(crate) struct PasswordRow {
    pub(crate) hash: String,
    pub(crate) changed: Time,
    pub(crate) breach_checked: Option<Time>,
    pub(crate) breached: Option<Time>,
}

/// A passkey, a security key, or an app that makes codes.
#[derive(Clone)]
pub(crate) struct FactorRow {
    pub(crate) id: FactorId,
    pub(crate) account: AccountId,
    pub(crate) kind: String,
    pub(crate) label: String,
    pub(crate) secret: String,
    pub(crate) last_step: i64,
    pub(crate) locked_until: Option<Time>,
    pub(crate) cloned: Option<Time>,
    pub(crate) created: Time,
    pub(crate) confirmed: Option<Time>,
    pub(crate) last_used: Option<Time>,
}

/// A session with whose it is.
#[derive(Clone)]
pub(crate) struct SessionRow {
    pub(crate) id: SessionId,
    pub(crate) account: AccountId,
    pub(crate) account_name: String,
    pub(crate) operator: bool,
    pub(crate) account_disabled: Option<Time>,
    /// `None`: the second factor is still owed.
    pub(crate) level: Option<Level>,
    pub(crate) way: String,
    pub(crate) address: Option<String>,
    pub(crate) agent: Option<String>,
    pub(crate) created: Time,
    pub(crate) seen: Time,
    pub(crate) expires: Time,
    pub(crate) fresh_until: Option<Time>,
    pub(crate) ended: Option<Time>,
}

/// A session to begin.
pub(crate) struct NewSession<'a> {
    pub(crate) id: &'a SessionId,
    pub(crate) secret: Sha256,
    pub(crate) account: &'a AccountId,
    pub(crate) level: Option<Level>,
    pub(crate) way: &'a str,
    pub(crate) address: &'a str,
    pub(crate) network: &'a str,
    pub(crate) agent: &'a str,
    /// The browser's own secret, hashed; half sessions have none.
    pub(crate) device: Option<Sha256>,
    pub(crate) now: Time,
    pub(crate) expires: Time,
    pub(crate) fresh_until: Option<Time>,
}

/// A question that was put to a browser.
pub(crate) struct CeremonyRow {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) account: Option<AccountId>,
    pub(crate) session: Option<SessionId>,
    pub(crate) state: String,
    pub(crate) expires: Time,
}

/// An account as sign-in sees it.
#[derive(Clone, Debug)]
pub(crate) struct PersonRow {
    pub(crate) id: AccountId,
    pub(crate) name: String,
    pub(crate) operator: bool,
    pub(crate) disabled: Option<Time>,
}

/// What an account has and holds, for the policy on factors.
#[derive(Clone, Debug, Default)]
pub struct FactorFacts {
    /// It has a confirmed second factor of any kind.
    pub second: bool,
    /// It has a passkey or security key.
    pub phishproof: bool,
    /// It is an operator's.
    pub operator: bool,
    /// Since when it has a role somewhere.
    pub maintains_since: Option<Time>,
    /// Since when it owns something critical.
    pub critical_since: Option<Time>,
}

/// A link to an external provider.
pub(crate) struct LinkedRow {
    pub(crate) id: String,
    pub(crate) account: AccountId,
    pub(crate) issuer: String,
    pub(crate) label: String,
    pub(crate) created: Time,
    pub(crate) last_used: Option<Time>,
}

/// A project by how much it is used.
pub(crate) struct UseRow {
    pub(crate) project: ProjectId,
    pub(crate) ecosystem: Ecosystem,
    pub(crate) key: String,
    pub(crate) downloads: u64,
    pub(crate) dependents: u64,
    pub(crate) critical_why: Option<String>,
}

const FACTOR: &str = "SELECT id, account_id, kind, label, secret, last_step, locked_until, cloned_at, created_at, confirmed_at, \
     last_used_at FROM factors WHERE removed_at IS NULL";

const SESSION: &str = "SELECT s.id, s.account_id, s.level, s.way, s.address, s.agent, s.created_at, s.seen_at, s.expires_at, s.fresh_until, \
     s.ended_at, a.name AS account_name, a.operator_since, a.disabled_at FROM sessions s JOIN accounts a ON a.id = s.account_id";

/// Whole sessions that were not thrown out: what they tell of an account's places is its holder's word.
const OF_THE_HOLDER: &str = "level <> 'half' AND (ended_at IS NULL OR ended_why = 'signed-out')";

const PERSON: &str = "SELECT id, name, operator_since, disabled_at FROM accounts";

fn factor(row: &AnyRow) -> Result<FactorRow> {
    Ok(FactorRow {
        id: FactorId(text(row, "id")?),
        account: AccountId(text(row, "account_id")?),
        kind: text(row, "kind")?,
        label: text(row, "label")?,
        secret: text(row, "secret")?,
        last_step: number(row, "last_step")?,
        locked_until: maybe_time(row, "locked_until")?,
        cloned: maybe_time(row, "cloned_at")?,
        created: time(row, "created_at")?,
        confirmed: maybe_time(row, "confirmed_at")?,
        last_used: maybe_time(row, "last_used_at")?,
    })
}

fn session(row: &AnyRow) -> Result<SessionRow> {
    let half = text(row, "level")? == "half";
    Ok(SessionRow {
        id: SessionId(text(row, "id")?),
        account: AccountId(text(row, "account_id")?),
        account_name: text(row, "account_name")?,
        operator: maybe_time(row, "operator_since")?.is_some(),
        account_disabled: maybe_time(row, "disabled_at")?,
        level: if half {
            None
        } else {
            Some(parsed(row, "level")?)
        },
        way: text(row, "way")?,
        address: maybe_text(row, "address")?,
        agent: maybe_text(row, "agent")?,
        created: time(row, "created_at")?,
        seen: time(row, "seen_at")?,
        expires: time(row, "expires_at")?,
        fresh_until: maybe_time(row, "fresh_until")?,
        ended: maybe_time(row, "ended_at")?,
    })
}

fn person(row: &AnyRow) -> Result<PersonRow> {
    Ok(PersonRow {
        id: AccountId(text(row, "id")?),
        name: text(row, "name")?,
        operator: maybe_time(row, "operator_since")?.is_some(),
        disabled: maybe_time(row, "disabled_at")?,
    })
}

fn sign_up(row: &AnyRow) -> Result<SignUpRow> {
    Ok(SignUpRow {
        id: text(row, "id")?,
        name: text(row, "name")?,
        name_key: text(row, "name_key")?,
        address: text(row, "address")?,
        expires: time(row, "expires_at")?,
    })
}

fn password(row: &AnyRow) -> Result<PasswordRow> {
    Ok(PasswordRow {
        hash: text(row, "hash")?,
        changed: time(row, "changed_at")?,
        breach_checked: maybe_time(row, "breach_checked_at")?,
        breached: maybe_time(row, "breached_at")?,
    })
}

fn linked(row: &AnyRow) -> Result<LinkedRow> {
    Ok(LinkedRow {
        id: text(row, "id")?,
        account: AccountId(text(row, "account_id")?),
        issuer: text(row, "issuer")?,
        label: text(row, "label")?,
        created: time(row, "created_at")?,
        last_used: maybe_time(row, "last_used_at")?,
    })
}

fn ceremony(row: &AnyRow) -> Result<CeremonyRow> {
    Ok(CeremonyRow {
        id: text(row, "id")?,
        kind: text(row, "kind")?,
        account: maybe_text(row, "account_id")?.map(AccountId),
        session: maybe_text(row, "session_id")?.map(SessionId),
        state: text(row, "state")?,
        expires: time(row, "expires_at")?,
    })
}

/// The view of roles is asked for `$1`, not for `a.id`: SQLite pushes a value into its parts, a column of an outer
/// query it does not, and would read every grant there is. It is asked once, and counted: for a bare `min` PostgreSQL
/// plans the eight joins of the view a second time, which takes longer than to run them.
const FACTOR_FACTS: &str = "SELECT a.operator_since, \
     (SELECT count(*) FROM factors f WHERE f.account_id = a.id AND f.removed_at IS NULL AND f.confirmed_at IS NOT NULL AND f.cloned_at IS NULL) AS factors, \
     (SELECT count(*) FROM factors f WHERE f.account_id = a.id AND f.removed_at IS NULL AND f.confirmed_at IS NOT NULL AND f.cloned_at IS NULL \
      AND f.kind <> 'totp') AS keys, \
     r.maintains, r.critical \
     FROM accounts a LEFT JOIN (SELECT count(*) AS roles, min(e.since) AS maintains, min(p.critical_at) AS critical \
      FROM effective_roles e JOIN projects p ON p.id = e.project_id WHERE e.account_id = $1) r ON 1 = 1 \
     WHERE a.id = $1";

fn factor_facts(row: &AnyRow) -> Result<FactorFacts> {
    Ok(FactorFacts {
        second: number(row, "factors")? > 0,
        phishproof: number(row, "keys")? > 0,
        operator: maybe_time(row, "operator_since")?.is_some(),
        maintains_since: maybe_time(row, "maintains")?,
        critical_since: maybe_time(row, "critical")?,
    })
}

/// The words of a level as a session stores it.
fn level_word(level: Option<Level>) -> &'static str {
    level.map_or("half", Level::as_str)
}

impl Store {
    /// The account with this user name's key, or with this verified address.
    pub(crate) async fn person_by_login(&self, login_key: &str) -> Result<Option<PersonRow>> {
        let row = sqlx::query(built(format!(
            "{PERSON} WHERE name_key = $1 OR id IN (SELECT account_id FROM account_emails WHERE address_key = $1 AND verified_at IS NOT NULL)"
        )))
        .bind(login_key.to_owned())
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        row.as_ref().map(person).transpose()
    }

    /// The account with this id.
    pub(crate) async fn person(&self, id: &AccountId) -> Result<Option<PersonRow>> {
        let row = sqlx::query(built(format!("{PERSON} WHERE id = $1")))
            .bind(id.0.clone())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(person).transpose()
    }

    /// The sign-up with this id.
    pub(crate) async fn sign_up_by_id(&self, id: &str) -> Result<Option<SignUpRow>> {
        let row = sqlx::query(
            "SELECT id, name, name_key, address, expires_at FROM sign_ups WHERE id = $1",
        )
        .bind(id.to_owned())
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        row.as_ref().map(sign_up).transpose()
    }

    /// The password of an account.
    pub(crate) async fn password(&self, account: &AccountId) -> Result<Option<PasswordRow>> {
        let row = sqlx::query("SELECT hash, changed_at, breach_checked_at, breached_at FROM passwords WHERE account_id = $1")
            .bind(account.0.clone())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(password).transpose()
    }

    /// Every factor of an account, oldest first.
    pub(crate) async fn factors(&self, account: &AccountId) -> Result<Vec<FactorRow>> {
        let rows = sqlx::query(built(format!("{FACTOR} AND account_id = $1 ORDER BY id")))
            .bind(account.0.clone())
            .fetch_all(&self.read)
            .await
            .map_err(failed)?;
        rows.iter().map(factor).collect()
    }

    /// The factor whose credential has this key.
    pub(crate) async fn factor_by_key(&self, key: Sha256) -> Result<Option<FactorRow>> {
        let row = sqlx::query(built(format!("{FACTOR} AND credential_key = $1")))
            .bind(key.to_string())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(factor).transpose()
    }

    /// How many recovery codes are left.
    pub(crate) async fn recovery_codes_left(&self, account: &AccountId) -> Result<u64> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM recovery_codes WHERE account_id = $1 AND used_at IS NULL",
        )
        .bind(account.0.clone())
        .fetch_one(&self.read)
        .await
        .map_err(failed)?;
        unsigned(&row, "n")
    }

    /// The session with this secret's hash.
    pub(crate) async fn session_by_hash(&self, hash: Sha256) -> Result<Option<SessionRow>> {
        let row = sqlx::query(built(format!("{SESSION} WHERE s.secret_hash = $1")))
            .bind(hash.to_string())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(session).transpose()
    }

    /// The session with this id.
    pub(crate) async fn session(&self, id: &SessionId) -> Result<Option<SessionRow>> {
        let row = sqlx::query(built(format!("{SESSION} WHERE s.id = $1")))
            .bind(id.0.clone())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(session).transpose()
    }

    /// The sessions of an account that have not ended, newest first.
    pub(crate) async fn sessions(
        &self,
        account: &AccountId,
        now: Time,
        idle_since: Time,
    ) -> Result<Vec<SessionRow>> {
        let rows = sqlx::query(built(format!(
            "{SESSION} WHERE s.account_id = $1 AND s.ended_at IS NULL AND s.expires_at > $2 AND s.seen_at > $3 AND s.level <> 'half' ORDER BY s.created_at DESC"
        )))
        .bind(account.0.clone())
        .bind(now.0)
        .bind(idle_since.0)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(session).collect()
    }

    /// Notes that a session was used, at most once a minute.
    pub(crate) async fn touch_session(&self, id: &SessionId, now: Time) -> Result<()> {
        sqlx::query("UPDATE sessions SET seen_at = $2 WHERE id = $1 AND seen_at < $3")
            .bind(id.0.clone())
            .bind(now.0)
            .bind(now.plus_seconds(-59).0)
            .execute(&self.write)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Was the account used from this browser, or from this network with such a program?
    pub(crate) async fn knows_device(
        &self,
        account: &AccountId,
        device: Option<Sha256>,
    ) -> Result<bool> {
        let Some(device) = device else {
            return Ok(false);
        };
        let row = sqlx::query(
            "SELECT count(*) AS n FROM devices WHERE account_id = $1 AND device_hash = $2",
        )
        .bind(account.0.clone())
        .bind(device.to_string())
        .fetch_one(&self.read)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// Was the account signed in to from this network? Sessions that were thrown out do not count.
    pub(crate) async fn knows_network(&self, account: &AccountId, network: &str) -> Result<bool> {
        let row = sqlx::query(built(format!(
            "SELECT count(*) AS n FROM sessions WHERE account_id = $1 AND network = $2 AND {OF_THE_HOLDER}"
        )))
        .bind(account.0.clone())
        .bind(network.to_owned())
        .fetch_one(&self.read)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// A span begins with the first attempt in it. Which of these subjects have reached their limit in the span that runs
    /// now, and when that ends.
    pub(crate) async fn exhausted(
        &self,
        counters: &[(String, i64, i64)],
        now: Time,
    ) -> Result<Vec<(String, Time)>> {
        let seconds = now.seconds();
        // One question for all of them: this is asked for every guess.
        let wanted: Vec<_> = (0..counters.len())
            .map(|n| format!("(subject = ${} AND span = ${})", 2 * n + 1, 2 * n + 2))
            .collect();
        let mut query = sqlx::query(built(format!(
            "SELECT subject, span, count, started_at FROM attempts WHERE {}",
            wanted.join(" OR ")
        )));
        for (subject, span, _) in counters {
            query = query.bind(subject.clone()).bind(*span);
        }
        let rows = query.fetch_all(&self.read).await.map_err(failed)?;
        let mut exhausted = Vec::new();
        for row in &rows {
            let (subject, span) = (text(row, "subject")?, number(row, "span")?);
            let limit = counters
                .iter()
                .find(|(of, over, _)| *of == subject && *over == span)
                .map_or(i64::MAX, |(_, _, limit)| *limit);
            let end = number(row, "started_at")?.saturating_add(span);
            if end > seconds && number(row, "count")? >= limit {
                exhausted.push((subject, Time(end.saturating_mul(1_000_000))));
            }
        }
        Ok(exhausted)
    }

    /// Counts one attempt for each subject in one statement; the first that is now beyond its limit, with when its span
    /// ends.
    pub(crate) async fn count_attempt(
        &self,
        counters: &[(String, i64, i64)],
        now: Time,
    ) -> Result<Option<Time>> {
        let seconds = now.seconds();
        let sql = format!(
            "INSERT INTO attempts (subject, span, started_at, count) VALUES {} ON CONFLICT (subject, span) DO UPDATE SET \
             count = CASE WHEN attempts.started_at + attempts.span > excluded.started_at THEN attempts.count + 1 ELSE 1 END, \
             started_at = CASE WHEN attempts.started_at + attempts.span > excluded.started_at THEN attempts.started_at \
             ELSE excluded.started_at END RETURNING subject, span, started_at, count",
            value_rows(counters.len(), 4, 1)
        );
        let mut query = sqlx::query(built(sql));
        for (subject, span, _) in counters {
            query = query
                .bind(subject.clone())
                .bind(*span)
                .bind(seconds)
                .bind(1_i64);
        }
        let rows = query.fetch_all(&self.write).await.map_err(failed)?;
        for row in &rows {
            let (subject, span) = (text(row, "subject")?, number(row, "span")?);
            let limit = counters
                .iter()
                .find(|(of, over, _)| *of == subject && *over == span)
                .map_or(i64::MAX, |(_, _, limit)| *limit);
            if number(row, "count")? > limit {
                let end = number(row, "started_at")?.saturating_add(span);
                return Ok(Some(Time(end.saturating_mul(1_000_000))));
            }
        }
        Ok(None)
    }

    /// Takes the question with this id: only one answer finds it.
    pub(crate) async fn take_ceremony(&self, id: &str) -> Result<Option<CeremonyRow>> {
        let row = sqlx::query("DELETE FROM ceremonies WHERE id = $1 RETURNING id, kind, account_id, session_id, state, expires_at")
            .bind(id.to_owned())
            .fetch_optional(&self.write)
            .await
            .map_err(failed)?;
        row.as_ref().map(ceremony).transpose()
    }

    /// Keeps a question until it is answered.
    pub(crate) async fn put_ceremony(&self, row: &CeremonyRow) -> Result<()> {
        sqlx::query("INSERT INTO ceremonies (id, kind, account_id, session_id, state, expires_at) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(row.id.clone())
            .bind(row.kind.clone())
            .bind(row.account.as_ref().map(|id| id.0.clone()))
            .bind(row.session.as_ref().map(|id| id.0.clone()))
            .bind(row.state.clone())
            .bind(row.expires.0)
            .execute(&self.write)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// The account that an external identity is linked to.
    pub(crate) async fn linked_identity(
        &self,
        issuer: &str,
        subject: &str,
    ) -> Result<Option<LinkedRow>> {
        let row = sqlx::query(
            "SELECT id, account_id, issuer, label, created_at, last_used_at FROM linked_identities WHERE issuer = $1 AND subject = $2",
        )
        .bind(issuer.to_owned())
        .bind(subject.to_owned())
        .fetch_optional(&self.read)
        .await
        .map_err(failed)?;
        row.as_ref().map(linked).transpose()
    }

    /// The external identities of an account.
    pub(crate) async fn linked_identities(&self, account: &AccountId) -> Result<Vec<LinkedRow>> {
        let rows = sqlx::query(
            "SELECT id, account_id, issuer, label, created_at, last_used_at FROM linked_identities WHERE account_id = $1 ORDER BY id",
        )
        .bind(account.0.clone())
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter().map(linked).collect()
    }

    /// What an account has and holds.
    pub(crate) async fn factor_facts(&self, account: &AccountId) -> Result<Option<FactorFacts>> {
        let row = sqlx::query(FACTOR_FACTS)
            .bind(account.0.clone())
            .fetch_optional(&self.read)
            .await
            .map_err(failed)?;
        row.as_ref().map(factor_facts).transpose()
    }

    /// Every project that anybody can see, with how much it was used since a day.
    pub(crate) async fn uses(&self, since_day: i64) -> Result<Vec<UseRow>> {
        let rows = sqlx::query(
            "SELECT p.id, p.ecosystem, p.key, p.critical_why, \
             (SELECT CAST(coalesce(sum(d.count), 0) AS BIGINT) FROM downloads d WHERE d.project_id = p.id AND d.day >= $1) AS downloads, \
             (SELECT count(DISTINCT f.project_id) FROM dependencies x JOIN files f ON f.metadata_sha256 = x.metadata_sha256 \
              WHERE x.ecosystem = p.ecosystem AND x.name_key = p.key AND f.state = 'live' AND f.project_id <> p.id) AS dependents \
             FROM projects p WHERE p.visible_at IS NOT NULL AND p.removed_at IS NULL",
        )
        .bind(since_day)
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok(UseRow {
                    project: ProjectId(text(row, "id")?),
                    ecosystem: super::ecosystem(&text(row, "ecosystem")?)?,
                    key: text(row, "key")?,
                    downloads: unsigned(row, "downloads")?,
                    dependents: unsigned(row, "dependents")?,
                    critical_why: maybe_text(row, "critical_why")?,
                })
            })
            .collect()
    }

    /// The critical projects: ecosystem, name, since when and why.
    pub(crate) async fn critical_projects(&self) -> Result<Vec<(Ecosystem, String, Time, String)>> {
        let rows = sqlx::query(
            "SELECT ecosystem, name, critical_at, critical_why FROM projects \
             WHERE critical_at IS NOT NULL AND removed_at IS NULL ORDER BY ecosystem, key",
        )
        .fetch_all(&self.read)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                Ok((
                    super::ecosystem(&text(row, "ecosystem")?)?,
                    text(row, "name")?,
                    time(row, "critical_at")?,
                    maybe_text(row, "critical_why")?.unwrap_or_default(),
                ))
            })
            .collect()
    }

    /// Forgets what ended: old counters, questions, sign-ups, sessions.
    pub(crate) async fn purge_sign_in(&self, now: Time, kept: Time) -> Result<u64> {
        let mut gone = 0;
        for (sql, before) in [
            (
                "DELETE FROM attempts WHERE started_at < $1",
                now.seconds() - 2 * 86_400,
            ),
            ("DELETE FROM ceremonies WHERE expires_at < $1", now.0),
            ("DELETE FROM sign_ups WHERE expires_at < $1", now.0),
            ("DELETE FROM sessions WHERE expires_at < $1", kept.0),
            (
                "DELETE FROM devices WHERE seen_at < $1",
                now.plus_seconds(-400 * 86_400).0,
            ),
            (
                "DELETE FROM factors WHERE kind = 'totp' AND confirmed_at IS NULL AND created_at < $1",
                now.plus_seconds(-86_400).0,
            ),
        ] {
            gone += sqlx::query(sql)
                .bind(before)
                .execute(&self.write)
                .await
                .map_err(failed)?
                .rows_affected();
        }
        Ok(gone)
    }
}

impl Tx {
    /// Gives back what was counted for an attempt that turned out good.
    pub(crate) async fn refund_attempt(
        &mut self,
        counters: &[(String, i64, i64)],
        now: Time,
    ) -> Result<()> {
        for (subject, span, _) in counters {
            sqlx::query("UPDATE attempts SET count = count - 1 WHERE subject = $1 AND span = $2 AND started_at + span > $3 AND count > 0")
                .bind(subject.clone())
                .bind(*span)
                .bind(now.seconds())
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Disables an account, or opens it again; false where it was so before.
    pub(crate) async fn disable_account(
        &mut self,
        account: &AccountId,
        at: Option<Time>,
    ) -> Result<bool> {
        let sql = match at {
            Some(_) => "UPDATE accounts SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL",
            None => {
                "UPDATE accounts SET disabled_at = NULL WHERE id = $1 AND disabled_at IS NOT NULL AND $2 = 0"
            }
        };
        let done = sqlx::query(sql)
            .bind(account.0.clone())
            .bind(at.map_or(0, |at| at.0))
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Since when a project is critical.
    pub(crate) async fn critical_since(&mut self, project: &ProjectId) -> Result<Option<Time>> {
        let row = sqlx::query("SELECT critical_at FROM projects WHERE id = $1")
            .bind(project.0.clone())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map_or(Ok(None), |row| maybe_time(&row, "critical_at"))
    }

    /// Has an account a factor that can not be phished? The one question that most publishes end with.
    pub(crate) async fn holds_phishproof(&mut self, account: &AccountId) -> Result<bool> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM factors WHERE account_id = $1 AND removed_at IS NULL AND confirmed_at IS NOT NULL \
             AND cloned_at IS NULL AND kind <> 'totp'",
        )
        .bind(account.0.clone())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// Is this token still good?
    pub(crate) async fn credential_lives(&mut self, id: &CredentialId, now: Time) -> Result<bool> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM credentials c LEFT JOIN accounts a ON a.id = c.account_id \
             WHERE c.id = $1 AND c.revoked_at IS NULL AND (c.expires_at IS NULL OR c.expires_at > $2) AND a.disabled_at IS NULL",
        )
        .bind(id.0.clone())
        .bind(now.0)
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// What an account has and holds, as it is now.
    pub(crate) async fn factor_facts(
        &mut self,
        account: &AccountId,
    ) -> Result<Option<FactorFacts>> {
        let row = sqlx::query(FACTOR_FACTS)
            .bind(account.0.clone())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.as_ref().map(factor_facts).transpose()
    }

    /// A value of the instance's own table, as it is now.
    pub(crate) async fn instance(&mut self, key: &str) -> Result<Option<String>> {
        let row = sqlx::query("SELECT value FROM instance WHERE key = $1")
            .bind(key.to_owned())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map(|row| text(&row, "value")).transpose()
    }

    /// Stores a sign-up; one that lapsed under the same name makes way.
    pub(crate) async fn insert_sign_up(&mut self, row: &SignUpRow, now: Time) -> Result<()> {
        sqlx::query("DELETE FROM sign_ups WHERE name_key = $1 AND expires_at <= $2")
            .bind(row.name_key.clone())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        sqlx::query("INSERT INTO sign_ups (id, name, name_key, address, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(row.id.clone())
            .bind(row.name.clone())
            .bind(row.name_key.clone())
            .bind(row.address.clone())
            .bind(now.0)
            .bind(row.expires.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Takes a sign-up: only one finds it.
    pub(crate) async fn take_sign_up(&mut self, id: &str, now: Time) -> Result<Option<SignUpRow>> {
        let row = sqlx::query("DELETE FROM sign_ups WHERE id = $1 AND expires_at > $2 RETURNING id, name, name_key, address, expires_at")
            .bind(id.to_owned())
            .bind(now.0)
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.as_ref().map(sign_up).transpose()
    }

    /// Is this name an account's or organisation's, or was it an erased one's? Such names are never given out again.
    pub(crate) async fn name_taken(&mut self, name_key: &str) -> Result<bool> {
        if self.name_is_retired(name_key).await? || self.is_organisation_name(name_key).await? {
            return Ok(true);
        }
        let row = sqlx::query("SELECT count(*) AS n FROM accounts WHERE name_key = $1")
            .bind(name_key.to_owned())
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// The account with this id, as it is now.
    pub(crate) async fn person(&mut self, id: &AccountId) -> Result<Option<PersonRow>> {
        let row = sqlx::query(built(format!("{PERSON} WHERE id = $1")))
            .bind(id.0.clone())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.as_ref().map(person).transpose()
    }

    /// Is this user name held by a sign-up that has not lapsed?
    pub(crate) async fn name_is_asked_for(&mut self, name_key: &str, now: Time) -> Result<bool> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM sign_ups WHERE name_key = $1 AND expires_at > $2",
        )
        .bind(name_key.to_owned())
        .bind(now.0)
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// Sets or changes the password of an account.
    pub(crate) async fn set_password(
        &mut self,
        account: &AccountId,
        hash: &str,
        checked: Option<Time>,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO passwords (account_id, hash, changed_at, breach_checked_at, breached_at) VALUES ($1, $2, $3, $4, NULL) \
             ON CONFLICT (account_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at, \
             breach_checked_at = excluded.breach_checked_at, breached_at = NULL",
        )
        .bind(account.0.clone())
        .bind(hash.to_owned())
        .bind(now.0)
        .bind(checked.map(|at| at.0))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// The same password under newer parameters; nothing where it was changed meanwhile.
    pub(crate) async fn rehash_password(
        &mut self,
        account: &AccountId,
        before: &str,
        hash: &str,
    ) -> Result<()> {
        sqlx::query("UPDATE passwords SET hash = $3 WHERE account_id = $1 AND hash = $2")
            .bind(account.0.clone())
            .bind(before.to_owned())
            .bind(hash.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// The password was held against what is known.
    pub(crate) async fn note_breach_check(
        &mut self,
        account: &AccountId,
        hash: &str,
        breached: bool,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE passwords SET breach_checked_at = $3, breached_at = $4 WHERE account_id = $1 AND hash = $2 AND breached_at IS NULL",
        )
        .bind(account.0.clone())
        .bind(hash.to_owned())
        .bind(now.0)
        .bind(breached.then_some(now.0))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes the password of an account away.
    pub(crate) async fn remove_password(&mut self, account: &AccountId) -> Result<bool> {
        let done = sqlx::query("DELETE FROM passwords WHERE account_id = $1")
            .bind(account.0.clone())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Every factor of an account, as it is now.
    pub(crate) async fn factors(&mut self, account: &AccountId) -> Result<Vec<FactorRow>> {
        let rows = sqlx::query(built(format!("{FACTOR} AND account_id = $1 ORDER BY id")))
            .bind(account.0.clone())
            .fetch_all(&mut *self.inner)
            .await
            .map_err(failed)?;
        rows.iter().map(factor).collect()
    }

    /// Is there a password?
    pub(crate) async fn has_password(&mut self, account: &AccountId) -> Result<bool> {
        let row = sqlx::query("SELECT count(*) AS n FROM passwords WHERE account_id = $1")
            .bind(account.0.clone())
            .fetch_one(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// Stores a factor.
    pub(crate) async fn insert_factor(
        &mut self,
        row: &FactorRow,
        credential_key: Option<Sha256>,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO factors (id, account_id, kind, label, credential_key, secret, last_step, wrong, created_at, confirmed_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9)",
        )
        .bind(row.id.0.clone())
        .bind(row.account.0.clone())
        .bind(row.kind.clone())
        .bind(row.label.clone())
        .bind(credential_key.map(|key| key.to_string()))
        .bind(row.secret.clone())
        .bind(row.last_step)
        .bind(row.created.0)
        .bind(row.confirmed.map(|at| at.0))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// The key was used: its state after it. Nothing where the state before is another one by now.
    pub(crate) async fn use_key(
        &mut self,
        id: &FactorId,
        before: &str,
        after: &str,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE factors SET secret = $3, last_used_at = $4, wrong = 0 WHERE id = $1 AND secret = $2 AND cloned_at IS NULL AND removed_at IS NULL",
        )
        .bind(id.0.clone())
        .bind(before.to_owned())
        .bind(after.to_owned())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Locks a key for good: there seems to be a copy of it.
    pub(crate) async fn lock_cloned_key(&mut self, id: &FactorId, now: Time) -> Result<bool> {
        let done =
            sqlx::query("UPDATE factors SET cloned_at = $2 WHERE id = $1 AND cloned_at IS NULL")
                .bind(id.0.clone())
                .bind(now.0)
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Uses up a time step of a code: false where it, or a later one, was used before.
    pub(crate) async fn use_step(&mut self, id: &FactorId, step: i64, now: Time) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE factors SET last_step = $2, last_used_at = $3, wrong = 0, locked_until = NULL WHERE id = $1 AND last_step < $2 AND removed_at IS NULL",
        )
        .bind(id.0.clone())
        .bind(step)
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// One more wrong code; how many in a row that makes.
    pub(crate) async fn wrong_code(&mut self, id: &FactorId) -> Result<i64> {
        let row = sqlx::query("UPDATE factors SET wrong = wrong + 1 WHERE id = $1 RETURNING wrong")
            .bind(id.0.clone())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map_or(Ok(0), |row| number(&row, "wrong"))
    }

    /// Locks a factor until a time and begins to count anew.
    pub(crate) async fn lock_factor(&mut self, id: &FactorId, until: Time) -> Result<()> {
        sqlx::query("UPDATE factors SET locked_until = $2, wrong = 0 WHERE id = $1")
            .bind(id.0.clone())
            .bind(until.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Confirms a factor that waited for its first code; false where that step was used before.
    pub(crate) async fn confirm_factor(
        &mut self,
        id: &FactorId,
        step: i64,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query("UPDATE factors SET confirmed_at = $3, last_step = $2 WHERE id = $1 AND confirmed_at IS NULL AND removed_at IS NULL")
            .bind(id.0.clone())
            .bind(step)
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes factors that were never confirmed away.
    pub(crate) async fn drop_unconfirmed(&mut self, account: &AccountId) -> Result<()> {
        sqlx::query("DELETE FROM factors WHERE account_id = $1 AND confirmed_at IS NULL")
            .bind(account.0.clone())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Names a factor.
    pub(crate) async fn rename_factor(
        &mut self,
        account: &AccountId,
        id: &FactorId,
        label: &str,
    ) -> Result<bool> {
        let done = sqlx::query("UPDATE factors SET label = $3 WHERE id = $1 AND account_id = $2 AND removed_at IS NULL")
            .bind(id.0.clone())
            .bind(account.0.clone())
            .bind(label.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Takes a factor away; its secret goes, its credential stays known as used up.
    pub(crate) async fn remove_factor(
        &mut self,
        account: &AccountId,
        id: &FactorId,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query("UPDATE factors SET removed_at = $3, secret = '' WHERE id = $1 AND account_id = $2 AND removed_at IS NULL")
            .bind(id.0.clone())
            .bind(account.0.clone())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Puts a new set of recovery codes in the place of the old one; none: takes them away.
    pub(crate) async fn replace_recovery_codes(
        &mut self,
        account: &AccountId,
        codes: &[Sha256],
        now: Time,
    ) -> Result<()> {
        sqlx::query("DELETE FROM recovery_codes WHERE account_id = $1")
            .bind(account.0.clone())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        for code in codes {
            sqlx::query("INSERT INTO recovery_codes (code_hash, account_id, created_at) VALUES ($1, $2, $3)")
                .bind(code.to_string())
                .bind(account.0.clone())
                .bind(now.0)
                .execute(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// Uses up a recovery code of this account; false where there is none such.
    pub(crate) async fn use_recovery_code(
        &mut self,
        account: &AccountId,
        code: Sha256,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query("UPDATE recovery_codes SET used_at = $3 WHERE code_hash = $1 AND account_id = $2 AND used_at IS NULL")
            .bind(code.to_string())
            .bind(account.0.clone())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// How many recovery codes are left.
    pub(crate) async fn recovery_codes_left(&mut self, account: &AccountId) -> Result<u64> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM recovery_codes WHERE account_id = $1 AND used_at IS NULL",
        )
        .bind(account.0.clone())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        unsigned(&row, "n")
    }

    /// Begins a session.
    pub(crate) async fn insert_session(&mut self, new: &NewSession<'_>) -> Result<()> {
        sqlx::query(
            "INSERT INTO sessions (id, secret_hash, account_id, level, way, address, network, agent, created_at, seen_at, expires_at, fresh_until, device_hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11, $12)",
        )
        .bind(new.id.0.clone())
        .bind(new.secret.to_string())
        .bind(new.account.0.clone())
        .bind(level_word(new.level))
        .bind(new.way.to_owned())
        .bind(new.address.to_owned())
        .bind(new.network.to_owned())
        .bind(new.agent.to_owned())
        .bind(new.now.0)
        .bind(new.expires.0)
        .bind(new.fresh_until.map(|at| at.0))
        .bind(new.device.map(|device| device.to_string()))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Lifts a session under a new secret; when it ends in any case. `None` where it has ended or was lifted meanwhile.
    pub(crate) async fn lift_session(
        &mut self,
        id: &SessionId,
        before: Sha256,
        secret: Sha256,
        level: Level,
        fresh_until: Option<Time>,
        now: Time,
    ) -> Result<Option<Time>> {
        let row = sqlx::query(
            "UPDATE sessions SET secret_hash = $3, level = $4, fresh_until = $5, seen_at = $6 WHERE id = $1 AND secret_hash = $2 \
             AND ended_at IS NULL RETURNING expires_at",
        )
        .bind(id.0.clone())
        .bind(before.to_string())
        .bind(secret.to_string())
        .bind(level.as_str())
        .bind(fresh_until.map(|at| at.0))
        .bind(now.0)
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.map(|row| time(&row, "expires_at")).transpose()
    }

    /// Is this session still going on?
    pub(crate) async fn session_lives(&mut self, id: &SessionId, now: Time) -> Result<bool> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM sessions s JOIN accounts a ON a.id = s.account_id \
             WHERE s.id = $1 AND s.ended_at IS NULL AND s.expires_at > $2 AND a.disabled_at IS NULL",
        )
        .bind(id.0.clone())
        .bind(now.0)
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// A session that was begun in one way counts as begun in another from now on.
    pub(crate) async fn trust_session(
        &mut self,
        id: &SessionId,
        before: &str,
        way: &str,
    ) -> Result<()> {
        sqlx::query("UPDATE sessions SET way = $3 WHERE id = $1 AND way = $2")
            .bind(id.0.clone())
            .bind(before.to_owned())
            .bind(way.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Ends one session of an account; false where there is none such.
    pub(crate) async fn end_session(
        &mut self,
        account: &AccountId,
        id: &SessionId,
        why: &str,
        now: Time,
    ) -> Result<bool> {
        let done = sqlx::query("UPDATE sessions SET ended_at = $3, ended_why = $4 WHERE id = $1 AND account_id = $2 AND ended_at IS NULL")
            .bind(id.0.clone())
            .bind(account.0.clone())
            .bind(now.0)
            .bind(why.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends all sessions of an account but one; how many. Half-finished sign-ins end too.
    pub(crate) async fn end_sessions(
        &mut self,
        account: &AccountId,
        except: Option<&SessionId>,
        why: &str,
        now: Time,
    ) -> Result<u64> {
        let done = sqlx::query("UPDATE sessions SET ended_at = $3, ended_why = $4 WHERE account_id = $1 AND id <> $2 AND ended_at IS NULL AND expires_at > $3")
            .bind(account.0.clone())
            .bind(except.map_or("", |id| id.0.as_str()).to_owned())
            .bind(now.0)
            .bind(why.to_owned())
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(done.rows_affected())
    }

    /// Forgets the browsers of an account, but for the one that a session was begun from.
    pub(crate) async fn forget_devices(
        &mut self,
        account: &AccountId,
        except: Option<&SessionId>,
    ) -> Result<()> {
        sqlx::query(
            "DELETE FROM devices WHERE account_id = $1 \
             AND device_hash NOT IN (SELECT device_hash FROM sessions WHERE id = $2 AND device_hash IS NOT NULL)",
        )
        .bind(account.0.clone())
        .bind(except.map_or("", |id| id.0.as_str()).to_owned())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Forgets the browser that a session was begun from, unless `except` was begun from it as well.
    pub(crate) async fn forget_device_of(
        &mut self,
        account: &AccountId,
        session: &SessionId,
        except: &SessionId,
    ) -> Result<()> {
        sqlx::query(
            "DELETE FROM devices WHERE account_id = $1 \
             AND device_hash IN (SELECT device_hash FROM sessions WHERE id = $2 AND account_id = $1) \
             AND device_hash NOT IN (SELECT device_hash FROM sessions WHERE id = $3 AND device_hash IS NOT NULL)",
        )
        .bind(account.0.clone())
        .bind(session.0.clone())
        .bind(except.0.clone())
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Does the account know this browser, or has it had a session from this network with this program that nobody threw
    /// out?
    pub(crate) async fn knows_browser(
        &mut self,
        account: &AccountId,
        device: Sha256,
        (network, agent): (&str, &str),
    ) -> Result<bool> {
        let row = sqlx::query(built(format!(
            "SELECT (SELECT count(*) FROM devices WHERE account_id = $1 AND device_hash = $2) AS devices, \
             (SELECT count(*) FROM sessions WHERE account_id = $1 AND network = $3 AND agent = $4 AND {OF_THE_HOLDER}) AS places"
        )))
        .bind(account.0.clone())
        .bind(device.to_string())
        .bind(network.to_owned())
        .bind(agent.to_owned())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(number(&row, "devices")? > 0 || number(&row, "places")? > 0)
    }

    /// Takes turns with everything else that begins or ends sessions of the account.
    pub(crate) async fn lock_account(&mut self, account: &AccountId) -> Result<()> {
        if self.backend == Backend::Postgres {
            sqlx::query("SELECT id FROM accounts WHERE id = $1 FOR NO KEY UPDATE")
                .bind(account.0.clone())
                .fetch_optional(&mut *self.inner)
                .await
                .map_err(failed)?;
        }
        Ok(())
    }

    /// When the password of an account was last changed; `None`: it has none.
    pub(crate) async fn password_changed(&mut self, account: &AccountId) -> Result<Option<Time>> {
        let row = sqlx::query("SELECT changed_at FROM passwords WHERE account_id = $1")
            .bind(account.0.clone())
            .fetch_optional(&mut *self.inner)
            .await
            .map_err(failed)?;
        row.map(|row| time(&row, "changed_at")).transpose()
    }

    /// Is this external identity linked to the account?
    pub(crate) async fn is_linked(&mut self, account: &AccountId, id: &str) -> Result<bool> {
        let row = sqlx::query(
            "SELECT count(*) AS n FROM linked_identities WHERE account_id = $1 AND id = $2",
        )
        .bind(account.0.clone())
        .bind(id.to_owned())
        .fetch_one(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(number(&row, "n")? > 0)
    }

    /// The account was used from this browser.
    pub(crate) async fn remember_device(
        &mut self,
        account: &AccountId,
        device: Sha256,
        now: Time,
    ) -> Result<()> {
        sqlx::query(
            "INSERT INTO devices (account_id, device_hash, created_at, seen_at) VALUES ($1, $2, $3, $3) \
             ON CONFLICT (account_id, device_hash) DO UPDATE SET seen_at = excluded.seen_at",
        )
        .bind(account.0.clone())
        .bind(device.to_string())
        .bind(now.0)
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Links an external identity.
    pub(crate) async fn link_identity(&mut self, row: &LinkedRow, subject: &str) -> Result<()> {
        sqlx::query("INSERT INTO linked_identities (id, account_id, issuer, subject, label, created_at) VALUES ($1, $2, $3, $4, $5, $6)")
            .bind(row.id.clone())
            .bind(row.account.0.clone())
            .bind(row.issuer.clone())
            .bind(subject.to_owned())
            .bind(row.label.clone())
            .bind(row.created.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Takes the link to an external identity away; its issuer.
    pub(crate) async fn unlink_identity(
        &mut self,
        account: &AccountId,
        id: &str,
    ) -> Result<Option<String>> {
        let row = sqlx::query(
            "DELETE FROM linked_identities WHERE id = $1 AND account_id = $2 RETURNING issuer",
        )
        .bind(id.to_owned())
        .bind(account.0.clone())
        .fetch_optional(&mut *self.inner)
        .await
        .map_err(failed)?;
        row.map(|row| text(&row, "issuer")).transpose()
    }

    /// The external identity was used.
    pub(crate) async fn touch_identity(&mut self, id: &str, now: Time) -> Result<()> {
        sqlx::query("UPDATE linked_identities SET last_used_at = $2 WHERE id = $1")
            .bind(id.to_owned())
            .bind(now.0)
            .execute(&mut *self.inner)
            .await
            .map_err(failed)?;
        Ok(())
    }

    /// Says since when, and why, a project is critical; or that it is not.
    pub(crate) async fn set_critical(
        &mut self,
        project: &ProjectId,
        critical: Option<(Time, &str)>,
    ) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE projects SET critical_at = CASE WHEN CAST($2 AS BIGINT) IS NULL THEN NULL ELSE coalesce(critical_at, CAST($2 AS BIGINT)) END, critical_why = $3 \
             WHERE id = $1 AND coalesce(critical_why, '') <> coalesce(CAST($3 AS TEXT), '')",
        )
        .bind(project.0.clone())
        .bind(critical.map(|(at, _)| at.0))
        .bind(critical.map(|(_, why)| why.to_owned()))
        .execute(&mut *self.inner)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() == 1)
    }
}

#[cfg(test)]
mod tests {
    use sqlx::Row;

    use super::*;

    /// It runs in the transaction of a publish: reading all grants of the instance there would stop everybody.
    #[tokio::test]
    async fn what_an_account_holds_is_found_without_reading_every_grant() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("db").display());
        let store = Store::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        let plan: Vec<String> = sqlx::query(built(format!("EXPLAIN QUERY PLAN {FACTOR_FACTS}")))
            .bind("somebody")
            .fetch_all(&store.read)
            .await
            .unwrap()
            .iter()
            .map(|row| row.try_get("detail").unwrap())
            .collect();
        assert!(plan.iter().any(|step| step.contains("grants")), "{plan:#?}");
        for step in &plan {
            assert!(
                !step.starts_with("SCAN g") && !step.contains("grants_account (account_id>?)"),
                "{plan:#?}"
            );
        }
        store.close().await;
    }
}
