//! The second factor: codes by app, recovery codes, and keys after a password.

use countersign_trust::digest::Sha256;
use serde::Serialize;
use serde_json::json;
use totp_rs::{Builder, Secret, Totp};

use super::{
    Answer, By, Ceremony, Entry, SignedIn, factor_unknown, limits, session_of, signed_out, usable,
};
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, Actor, CallerOrigin, FactorId, Level};
use crate::store::{FactorRow, PersonRow, SessionRow};
use crate::texts::NoticeKind;

/// How many recovery codes there are in a set.
const CODES: usize = 10;
/// The alphabet of recovery codes: 32 characters that are not taken for each other.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";

/// What is given as second factor.
pub enum SecondFactor<'a> {
    /// A key's answer to the question of [`Registry::second_factor_start`].
    Key(&'a Answer),
    /// A code by app.
    Totp(&'a str),
    /// A recovery code.
    RecoveryCode(&'a str),
}

/// An app for codes to be set up. Shown once; no `Debug`.
#[derive(Clone, Serialize)]
pub struct TotpSetup {
    /// Its id, to confirm it by.
    pub id: FactorId,
    /// The secret in base32, to type.
    pub secret: String,
    /// `otpauth://…`, to show as a picture.
    pub url: String,
}

/// New recovery codes. Shown once; no `Debug`.
#[derive(Clone, Serialize)]
pub struct RecoveryCodes {
    /// Each good once.
    pub codes: Vec<String>,
}

fn code_wrong() -> Error {
    Error::new(
        Kind::Unauthenticated,
        "code-wrong",
        "The code is wrong, too old, or was used before.",
    )
    .remedy("Wait for the next code. If it stays wrong, set the clock of your device.")
}

/// What people type, without blanks and dashes, in lower case.
fn normalised(code: &str) -> String {
    code.chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .flat_map(char::to_lowercase)
        .collect()
}

fn totp(secret: Vec<u8>) -> Result<Totp> {
    Builder::new()
        .with_secret(Secret::from(secret))
        .build()
        .map_err(|source| Error::internal("a secret for codes is not usable", source.to_string()))
}

/// The step whose code this is, in the window around now.
fn step_of(secret: Vec<u8>, code: &str, seconds: i64) -> Result<Option<i64>> {
    if code.len() != 6 || !code.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    let seconds = u64::try_from(seconds).unwrap_or(0);
    Ok(totp(secret)?
        .check(code, seconds)
        .and_then(|step| i64::try_from(step).ok()))
}

fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    five_bits(bytes)
        .map(|value| char::from(ALPHABET[value]))
        .collect()
}

/// The bits of some bytes in groups of five, the last one filled up with zeros.
fn five_bits(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let count = (bytes.len() * 8).div_ceil(5);
    (0..count).map(move |group| {
        (0..5).fold(0, |value, bit| {
            let at = group * 5 + bit;
            let byte = bytes.get(at / 8).copied().unwrap_or(0);
            value << 1 | usize::from(byte >> (7 - at % 8) & 1)
        })
    })
}

impl Registry {
    /// Checks a code by app and uses its step up; wrong ones in a row lock the factor for a time, not the account.
    pub(super) async fn check_code(
        &self,
        account: &AccountId,
        factor: &FactorRow,
        code: &str,
        known_device: Option<Sha256>,
        origin: &CallerOrigin,
    ) -> Result<()> {
        let now = self.now();
        // A browser that the account knows is not kept out by what others did.
        if known_device.is_none()
            && let Some(until) = factor.locked_until.filter(|until| *until > now)
        {
            return Err(Error::new(
                Kind::Limited,
                "factor-locked",
                format!(
                    "After too many wrong codes this factor is locked until {}.",
                    until.rfc3339()
                ),
            )
            .remedy("Use a passkey or a recovery code, or a browser that you used before."));
        }
        let counters = limits::second_factor(account, known_device, origin);
        self.count(&counters).await?;
        let secret = self.seal().await?.open(&factor.id.0, &factor.secret)?;
        let step = step_of(secret, &normalised(code), now.seconds())?;
        let mut tx = self.inner.store.write().await?;
        // The step decides, not the text: no second code of the same step, however it is written, and no older one.
        let good = match step {
            Some(step) => tx.use_step(&factor.id, step, now).await?,
            None => false,
        };
        if good {
            tx.refund_attempt(&counters, now).await?;
            return tx.commit().await;
        }
        if tx.wrong_code(&factor.id).await? >= limits::WRONG_IN_A_ROW {
            let until = now.plus_seconds(limits::LOCKED);
            tx.lock_factor(&factor.id, until).await?;
            let data = [
                ("count", limits::WRONG_IN_A_ROW.to_string()),
                ("factor", "the app for codes".to_owned()),
                ("until", until.rfc3339()),
            ];
            let data: Vec<(&str, &str)> = data.iter().map(|(k, v)| (*k, v.as_str())).collect();
            self.notify(
                &mut tx,
                account,
                NoticeKind::FactorLocked,
                &data,
                Some(origin),
            )
            .await?;
            let actor = Actor::anonymous();
            self.note_sign_in(
                &mut tx,
                &actor,
                "factor-locked",
                account,
                json!({"factor": factor.id}),
            )
            .await?;
        }
        tx.commit().await?;
        self.wake_office();
        Err(code_wrong())
    }

    async fn check_recovery_code(
        &self,
        account: &AccountId,
        code: &str,
        known_device: Option<Sha256>,
        origin: &CallerOrigin,
    ) -> Result<()> {
        let counters = limits::second_factor(account, known_device, origin);
        self.count(&counters).await?;
        let now = self.now();
        let hash = Sha256::of(normalised(code).as_bytes());
        let mut tx = self.inner.store.write().await?;
        if !tx.use_recovery_code(account, hash, now).await? {
            return Err(Error::new(
                Kind::Unauthenticated,
                "code-wrong",
                "This is not one of your recovery codes, or it was used before.",
            )
            .remedy("Use the next one of the list that you kept."));
        }
        tx.refund_attempt(&counters, now).await?;
        let left = tx.recovery_codes_left(account).await?.to_string();
        self.notify(
            &mut tx,
            account,
            NoticeKind::RecoveryCodeUsed,
            &[("left", &left)],
            Some(origin),
        )
        .await?;
        let actor = Actor::anonymous();
        self.note_sign_in(&mut tx, &actor, "recovery-code-used", account, json!({}))
            .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    async fn half(&self, secret: &str) -> Result<SessionRow> {
        let row = self.session_row(secret).await?;
        if row.level.is_some() {
            return Err(signed_out());
        }
        Ok(row)
    }

    /// Asks the browser for one of the account's keys, as second factor after a password.
    ///
    /// # Errors
    /// `session-over`, `factor-unknown`.
    pub async fn second_factor_start(&self, half: &str) -> Result<Ceremony> {
        let row = self.half(half).await?;
        self.ask_for_key(&row.account, Some(&row.id), "second-factor")
            .await
    }

    /// Gives the second factor that a sign-in owes.
    ///
    /// # Errors
    /// `session-over`, `code-wrong`, `too-many-attempts`, `factor-locked`, `factor-unknown`, what a key's answer is refused for.
    pub async fn second_factor(
        &self,
        half: &str,
        factor: SecondFactor<'_>,
        origin: &CallerOrigin,
        device: Option<&str>,
    ) -> Result<SignedIn> {
        let row = self.half(half).await?;
        let account = &row.account;
        let known = self.known_device(account, device).await?;
        let factors = self.inner.store.factors(account).await?;
        let has_key = factors.iter().any(|row| usable(row) && row.kind != "totp");
        let (level, way, fresh) = match factor {
            SecondFactor::Key(answer) => {
                self.check_key(answer, account, Some(&row.id), "second-factor", origin)
                    .await?;
                (Level::Phishproof, "security-key", true)
            }
            SecondFactor::Totp(code) => {
                let totp = factors
                    .iter()
                    .find(|row| usable(row) && row.kind == "totp")
                    .ok_or_else(factor_unknown)?;
                self.check_code(account, totp, code, known, origin).await?;
                // Who has a passkey confirms with it: a code can be phished.
                (Level::TwoFactor, "totp", !has_key)
            }
            SecondFactor::RecoveryCode(code) => {
                self.check_recovery_code(account, code, known, origin)
                    .await?;
                // It stands in for a factor that is lost, and that one must be replaceable.
                (Level::TwoFactor, "recovery-code", true)
            }
        };
        let now = self.now();
        let person = PersonRow {
            id: row.account.clone(),
            name: row.account_name.clone(),
            operator: row.operator,
            disabled: None,
        };
        let mut tx = self.inner.store.write().await?;
        tx.lock_account(account).await?;
        // The half session ends here; whoever else holds its secret gets nothing.
        if !tx
            .end_session(account, &row.id, "second factor", now)
            .await?
        {
            return Err(signed_out());
        }
        let entry = Entry {
            person: &person,
            by: By::Used,
            level,
            way,
            fresh,
            origin,
            device,
            must_change_password: row.way == super::BREACHED,
            counted: &[],
            announce: true,
        };
        let signed_in = self.begin_session(&mut tx, &entry).await?;
        tx.commit().await?;
        self.wake_office();
        Ok(signed_in)
    }

    /// Begins to set up an app for codes. It counts once a first code has confirmed it.
    ///
    /// # Errors
    /// `step-up-needed`, `totp-exists`.
    pub async fn totp_start(&self, actor: &Actor) -> Result<TotpSetup> {
        let (account, session) = self.fresh_session(actor)?;
        let id = FactorId(new_id());
        // 160 bits, as RFC 4226 recommends.
        let secret = self.inner.seams.random.bytes32()[..20].to_vec();
        let random = self.inner.seams.random.as_ref();
        let sealed = self.seal().await?.seal(&id.0, &secret, random)?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        self.still_signed_in(&mut tx, session).await?;
        let factors = tx.factors(account).await?;
        if factors.iter().any(|row| usable(row) && row.kind == "totp") {
            return Err(Error::new(
                Kind::Conflict,
                "totp-exists",
                "Your account has an app for codes already.",
            )
            .remedy("Remove that one first; until then it goes on working."));
        }
        tx.drop_unconfirmed(account).await?;
        tx.insert_factor(
            &FactorRow {
                id: id.clone(),
                account: account.clone(),
                kind: "totp".to_owned(),
                label: "app for codes".to_owned(),
                secret: sealed,
                last_step: 0,
                locked_until: None,
                cloned: None,
                created: now,
                confirmed: None,
                last_used: None,
            },
            None,
        )
        .await?;
        tx.commit().await?;
        let secret = base32(&secret);
        let host = self.inner.settings.url.host_str().unwrap_or("countersign");
        let url = format!(
            "otpauth://totp/{host}:{}?secret={secret}&issuer={host}&algorithm=SHA1&digits=6&period=30",
            actor.name()
        );
        Ok(TotpSetup { id, secret, url })
    }

    /// Confirms an app for codes with its first code.
    ///
    /// # Errors
    /// `step-up-needed`, `factor-unknown`, `code-wrong`, `too-many-attempts`.
    pub async fn totp_confirm(
        &self,
        actor: &Actor,
        id: &FactorId,
        code: &str,
        origin: &CallerOrigin,
    ) -> Result<()> {
        let (account, session) = self.fresh_session(actor)?;
        let counters = limits::second_factor(account, None, origin);
        self.count(&counters).await?;
        let factors = self.inner.store.factors(account).await?;
        let factor = factors
            .iter()
            .find(|row| row.id == *id && row.confirmed.is_none())
            .ok_or_else(factor_unknown)?;
        let now = self.now();
        let secret = self.seal().await?.open(&factor.id.0, &factor.secret)?;
        let step = step_of(secret, &normalised(code), now.seconds())?.ok_or_else(code_wrong)?;
        let mut tx = self.inner.store.write().await?;
        self.still_signed_in(&mut tx, session).await?;
        if !tx.confirm_factor(id, step, now).await? {
            return Err(factor_unknown());
        }
        tx.refund_attempt(&counters, now).await?;
        self.notify(&mut tx, account, NoticeKind::TotpAdded, &[], Some(origin))
            .await?;
        let detail = json!({"factor": id, "kind": "totp"});
        self.note_sign_in(&mut tx, actor, "factor-added", account, detail)
            .await?;
        self.end_others(
            &mut tx,
            actor,
            account,
            Some(&session.id),
            "a factor was added",
        )
        .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// Makes new recovery codes; the old ones no longer work.
    ///
    /// # Errors
    /// `step-up-needed`.
    pub async fn recovery_codes(
        &self,
        actor: &Actor,
        origin: &CallerOrigin,
    ) -> Result<RecoveryCodes> {
        let (account, session) = self.fresh_session(actor)?;
        let codes: Vec<String> = (0..CODES)
            .map(|_| {
                // 15 bytes are 120 bits are 24 characters.
                let code: String = five_bits(&self.inner.seams.random.bytes32()[..15])
                    .map(|value| char::from(ALPHABET[value]))
                    .collect();
                code
            })
            .collect();
        let hashes: Vec<Sha256> = codes
            .iter()
            .map(|code| Sha256::of(code.as_bytes()))
            .collect();
        let mut tx = self.inner.store.write().await?;
        self.still_signed_in(&mut tx, session).await?;
        tx.replace_recovery_codes(account, &hashes, self.now())
            .await?;
        self.notify(
            &mut tx,
            account,
            NoticeKind::RecoveryCodesMade,
            &[],
            Some(origin),
        )
        .await?;
        self.note_sign_in(&mut tx, actor, "recovery-codes-made", account, json!({}))
            .await?;
        tx.commit().await?;
        self.wake_office();
        let codes = codes
            .iter()
            .map(|code| {
                let groups: Vec<&str> = (0..4).map(|n| &code[n * 6..n * 6 + 6]).collect();
                groups.join("-")
            })
            .collect();
        Ok(RecoveryCodes { codes })
    }

    /// How many recovery codes the caller has left.
    ///
    /// # Errors
    /// `sign-in-needed`.
    pub async fn recovery_codes_left(&self, actor: &Actor) -> Result<u64> {
        let (account, _) = session_of(actor)?;
        self.inner.store.recovery_codes_left(account).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B, the last six of its eight digits.
        let secret = b"12345678901234567890".to_vec();
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (20_000_000_000, "353130"),
        ] {
            let step = step_of(secret.clone(), code, seconds).unwrap();
            assert_eq!(step, Some(seconds / 30));
            // One step late and one early still counts, two do not.
            assert_eq!(step_of(secret.clone(), code, seconds + 30).unwrap(), step);
            assert_eq!(step_of(secret.clone(), code, seconds + 60).unwrap(), None);
        }
        for code in ["", "28708", "2870822", "28708x", "٢٨٧٠٨٢"] {
            assert_eq!(step_of(secret.clone(), code, 59).unwrap(), None);
        }
    }

    #[test]
    fn base32_is_that_of_the_rfc() {
        assert_eq!(base32(b"foobar"), "MZXW6YTBOI");
        assert_eq!(five_bits(&[0xff; 15]).count(), 24);
        assert_eq!(normalised(" 287 082\t"), "287082");
        assert_eq!(normalised("ABCdef-ghj"), "abcdefghj");
    }
}
