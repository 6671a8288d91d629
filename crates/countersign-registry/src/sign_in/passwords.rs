//! Passwords: argon2id, no rule but length and that it is not known to everybody.
//!
//! Every attempt costs one hash, also for users that do not exist and for accounts without a password. Hashing is done
//! by few threads at once; whoever would wait too long is sent away.

use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use countersign_trust::digest::Sha256;
use serde_json::json;

use super::{
    By, Enrolling, Entry, SignInStep, SignedIn, confirmed, disabled, is_secret, limits, session_of,
    sign_in_wrong, signed_out, step_up_needed, usable,
};
use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, Actor, CallerOrigin, Level, Time};
use crate::seams::OutsideRequest;
use crate::store::{PasswordRow, Tx};
use crate::texts::NoticeKind;

/// OWASP's parameters: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The shortest password, in characters.
const SHORTEST: usize = 8;
/// The longest, in bytes.
const LONGEST: usize = 4_096;

/// So many may wait for their turn to be hashed.
pub(super) const QUEUE: usize = 64;

/// What fewer guesses than this would find is too common.
const COMMON: u64 = 10_000;

/// A password is held against what is known again after this long, in seconds.
const CHECK_AGAIN: i64 = 30 * 86_400;

/// How long a service for breached passwords may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The longest answer of such a service.
const RANGE_BYTES: usize = 256 << 10;

/// Bytes of a SHA-1.
const SHA1: usize = 20;

/// What is known about a password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// It stands in a collection of stolen ones.
    Breached,
    /// Everything that was asked says no.
    Clean,
    /// Something that should have been asked did not answer.
    Unanswered,
}

fn hasher() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None)
        .map_err(|source| Error::internal("argon2 refuses its parameters", source.to_string()))?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// Hashed where there is no password: nobody's.
fn nobodys() -> &'static str {
    static NOBODYS: OnceLock<String> = OnceLock::new();
    NOBODYS.get_or_init(|| {
        hasher()
            .ok()
            .and_then(|hasher| {
                hasher
                    .hash_password_with_salt(b"nobody's password", b"nobody's salt...")
                    .ok()
            })
            .map(|hash: PasswordHash| hash.to_string())
            .unwrap_or_default()
    })
}

/// Was this hash made with other parameters than today's?
fn outdated(hash: &str) -> bool {
    !hash.starts_with(&format!(
        "$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$"
    ))
}

pub(super) fn breached() -> Error {
    Error::new(
        Kind::Unauthenticated,
        "password-breached",
        "This password stands in a collection of stolen passwords, so it no longer opens the account.",
    )
    .remedy("Ask for a new password by mail, or sign in with a passkey.")
}

fn sha1(text: &str) -> [u8; SHA1] {
    let digest = aws_lc_rs::digest::digest(
        &aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY,
        text.as_bytes(),
    );
    let mut bytes = [0; SHA1];
    bytes.copy_from_slice(&digest.as_ref()[..SHA1]);
    bytes
}

impl Registry {
    /// Runs one hash in its turn, away from the threads that answer requests.
    async fn hash<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let door = &self.inner.door;
        let busy = || {
            Error::new(
                Kind::Unavailable,
                "sign-in-busy",
                "Too many people sign in at this moment.",
            )
            .remedy("Try again in a minute. Passkeys are not affected.")
        };
        // Whoever hangs up drops this future: the place in the queue goes with it, but a hash that began keeps its turn
        // until it ends, so that there are never more of them at once.
        let Ok(place) = door.waiting.try_acquire() else {
            return Err(busy());
        };
        let turn = door.hashing.clone().acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(Duration::from_secs(10), turn).await else {
            return Err(busy());
        };
        drop(place);
        door.hashed.fetch_add(1, Ordering::Relaxed);
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await
            .map_err(|source| Error::internal("hashing broke off", source))?
    }

    async fn hashed(&self, password: String) -> Result<String> {
        let salt = self.inner.seams.random.bytes32();
        self.hash(move || {
            let hash: PasswordHash = hasher()?
                .hash_password_with_salt(password.as_bytes(), &salt[..16])
                .map_err(|source| {
                    Error::internal("a password can not be hashed", source.to_string())
                })?;
            Ok(hash.to_string())
        })
        .await
    }

    /// Is this the password? Costs the same where there is none.
    async fn matches(&self, row: Option<&PasswordRow>, password: &str) -> Result<bool> {
        let (hash, exists) = match row {
            Some(row) => (row.hash.clone(), true),
            None => (nobodys().to_owned(), false),
        };
        let password = password.to_owned();
        self.hash(move || {
            let hash = PasswordHash::new(&hash).map_err(|source| {
                Error::internal("a stored password can not be read", source.to_string())
            })?;
            // The parameters are those of the stored hash.
            Ok(Argon2::default()
                .verify_password(password.as_bytes(), &hash)
                .is_ok()
                && exists)
        })
        .await
    }

    /// What is known about a password beyond this registry.
    async fn known(&self, password: &str) -> Result<Known> {
        let settings = &self.inner.settings.sign_in;
        let sha1 = sha1(password);
        let mut known = Known::Clean;
        if let Some(file) = settings.breach_file.clone() {
            let found = tokio::task::spawn_blocking(move || stands_in(&file, &sha1))
                .await
                .map_err(|source| Error::internal("a task broke off", source))?;
            match found {
                Ok(true) => return Ok(Known::Breached),
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "the file of breached passwords can not be read");
                    known = Known::Unanswered;
                }
            }
        }
        if let Some(base) = &settings.breach_service {
            let hex = hex::encode_upper(sha1);
            let url = format!("{base}{}", &hex[..5]);
            let answer = self
                .inner
                .seams
                .outside
                .get(OutsideRequest {
                    url: &url,
                    most: RANGE_BYTES,
                    timeout: PATIENCE,
                    ca_pem: None,
                    accept: "text/plain",
                    headers: &[("Add-Padding", "true")],
                })
                .await;
            match answer {
                Ok(answer) => {
                    if in_range(&String::from_utf8_lossy(&answer.body), &hex[5..]) {
                        return Ok(Known::Breached);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the service for breached passwords does not answer");
                    known = Known::Unanswered;
                }
            }
        }
        Ok(known)
    }

    /// Refuses a new password that is too short, too long, too common or known to be stolen. Where the service does not
    /// answer, file and built-in words decide, and the password is looked at again when it is next used.
    async fn acceptable(&self, password: &str, user: &str) -> Result<Known> {
        if password.chars().count() < SHORTEST || password.len() > LONGEST {
            return Err(Error::new(
                Kind::Rejected,
                "password-length",
                format!(
                    "A password has {SHORTEST} characters or more, and at most {LONGEST} bytes."
                ),
            )
            .remedy(
                "Use several words, or let a password manager choose one; better, use a passkey.",
            ));
        }
        // What is long is not guessed from its first hundred characters alone, but those tell enough.
        let beginning: String = password.chars().take(100).collect();
        if zxcvbn::zxcvbn(&beginning, &[user]).guesses() < COMMON {
            return Err(Error::new(
                Kind::Rejected,
                "password-common",
                "This password is one of the first that anybody would try.",
            )
            .remedy("Use several words that do not belong together, or let a password manager choose one."));
        }
        match self.known(password).await? {
            Known::Breached => Err(Error::new(
                Kind::Rejected,
                "password-known",
                "This password stands in a collection of stolen passwords.",
            )
            .remedy("Choose one that you use nowhere else.")),
            known => Ok(known),
        }
    }

    /// Signs in by user name or verified address, and password.
    ///
    /// # Errors
    /// `sign-in-wrong`, whatever was wrong; `too-many-attempts`, `password-breached`, `account-disabled`, `sign-in-busy`.
    pub async fn password_sign_in(
        &self,
        login: &str,
        password: &str,
        origin: &CallerOrigin,
        device: Option<&str>,
    ) -> Result<SignInStep> {
        if login.len() > 254 || password.len() > LONGEST {
            return Err(sign_in_wrong());
        }
        self.network_may_try(origin, device)?;
        let login = login.trim().to_lowercase();
        let login = if login.contains('@') {
            login
        } else {
            login.replace('_', "-")
        };
        let store = &self.inner.store;
        let person = store.person_by_login(&login).await?;
        let from = match &person {
            Some(person) => self.whence(&person.id, device, origin).await?,
            None => limits::From::Nowhere,
        };
        let counters = limits::password(&login, &from, origin);
        self.count(&counters).await?;
        let row = match &person {
            Some(person) => store.password(&person.id).await?,
            None => None,
        };
        if !self.matches(row.as_ref(), password).await? {
            return Err(sign_in_wrong());
        }
        let (Some(person), Some(row)) = (person, row) else {
            return Err(sign_in_wrong());
        };
        if person.disabled.is_some() {
            return Err(disabled(&person.name));
        }
        let breached = self
            .look_at_used(&person.id, &row, password, origin)
            .await?;
        self.enter(
            Entry {
                person: &person,
                by: By::Password(row.changed),
                level: Level::Password,
                way: "password",
                fresh: true,
                origin,
                device,
                must_change_password: breached,
                counted: &counters,
                announce: true,
            },
            breached,
        )
        .await
    }

    /// Does the account know the browser, or at least the network, that somebody comes from?
    async fn whence<'a>(
        &self,
        account: &'a AccountId,
        device: Option<&str>,
        origin: &CallerOrigin,
    ) -> Result<limits::From<'a>> {
        if let Some(device) = self.known_device(account, device).await? {
            return Ok(limits::From::Device(account, device));
        }
        let network = origin.network();
        Ok(
            if self.inner.store.knows_network(account, &network).await? {
                limits::From::Place(account)
            } else {
                limits::From::Nowhere
            },
        )
    }

    /// After a password turned out right: was it stolen meanwhile, is its hash of today's kind?
    async fn look_at_used(
        &self,
        account: &AccountId,
        row: &PasswordRow,
        password: &str,
        origin: &CallerOrigin,
    ) -> Result<bool> {
        let now = self.now();
        if row.breached.is_some() {
            return Ok(true);
        }
        let due = row
            .breach_checked
            .is_none_or(|at| at.plus_seconds(CHECK_AGAIN) <= now);
        if due {
            let known = self.known(password).await?;
            if known != Known::Unanswered {
                let breached = known == Known::Breached;
                let mut tx = self.inner.store.write().await?;
                let first = tx
                    .note_breach_check(account, &row.hash, breached, now)
                    .await?;
                if breached && first {
                    self.notify(
                        &mut tx,
                        account,
                        NoticeKind::PasswordBreached,
                        &[],
                        Some(origin),
                    )
                    .await?;
                    let actor = Actor::anonymous();
                    self.note_sign_in(&mut tx, &actor, "password-breached", account, json!({}))
                        .await?;
                }
                tx.commit().await?;
                self.wake_office();
                if breached {
                    return Ok(true);
                }
            }
        }
        if outdated(&row.hash) {
            let hash = self.hashed(password.to_owned()).await?;
            let mut tx = self.inner.store.write().await?;
            tx.rehash_password(account, &row.hash, &hash).await?;
            tx.commit().await?;
        }
        Ok(false)
    }

    /// Sets or changes a password: from a session whose holder proved themselves just now, or by a link. A link for a
    /// new account or from the operator begins a session; one for a new password does not, so that it never gets round
    /// the second factor.
    ///
    /// # Errors
    /// `password-length`, `password-common`, `password-known`; `step-up-needed`; `link-unknown`.
    pub async fn password_set(
        &self,
        by: Enrolling<'_>,
        password: &str,
        origin: &CallerOrigin,
        device: Option<&str>,
    ) -> Result<Option<SignedIn>> {
        match by {
            Enrolling::Session(actor) => {
                let (account, session) = self.fresh_for_password(actor).await?;
                let known = self.acceptable(password, actor.name()).await?;
                let hash = self.hashed(password.to_owned()).await?;
                let mut tx = self.inner.store.write().await?;
                self.still_signed_in(&mut tx, session).await?;
                self.store_password(&mut tx, actor, account, &hash, known, origin)
                    .await?;
                tx.trust_session(&session.id, super::BREACHED, "password")
                    .await?;
                self.end_others(
                    &mut tx,
                    actor,
                    account,
                    Some(&session.id),
                    "the password was changed",
                )
                .await?;
                tx.commit().await?;
                self.wake_office();
                Ok(None)
            }
            Enrolling::Link(secret) => {
                let link = self.link(secret).await?;
                let known = self.acceptable(password, &link.user).await?;
                let hash = self.hashed(password.to_owned()).await?;
                let mut tx = self.inner.store.write().await?;
                let person = self.redeem(&mut tx, &link, &link.new_account()).await?;
                let actor = link.actor(&person);
                self.store_password(&mut tx, &actor, &person.id, &hash, known, origin)
                    .await?;
                self.end_others(
                    &mut tx,
                    &actor,
                    &person.id,
                    None,
                    "the password was changed",
                )
                .await?;
                // Who could read the mail is not kept out by guesses of others.
                if let Some(device) = device.filter(|device| is_secret(device)) {
                    let device = Sha256::of(device.as_bytes());
                    tx.remember_device(&person.id, device, self.now()).await?;
                }
                let factors = tx.factors(&person.id).await?;
                let signed_in = if link.begins_session() && !factors.iter().any(confirmed) {
                    let entry = Entry {
                        person: &person,
                        by: By::Used,
                        level: Level::Password,
                        way: "enrolment",
                        fresh: true,
                        origin,
                        device,
                        must_change_password: false,
                        counted: &[],
                        announce: false,
                    };
                    Some(self.begin_session(&mut tx, &entry).await?)
                } else {
                    None
                };
                tx.commit().await?;
                self.wake_office();
                Ok(signed_in)
            }
        }
    }

    async fn store_password(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        account: &AccountId,
        hash: &str,
        known: Known,
        origin: &CallerOrigin,
    ) -> Result<()> {
        let now = self.now();
        let checked: Option<Time> = (known == Known::Clean).then_some(now);
        tx.set_password(account, hash, checked, now).await?;
        self.notify(tx, account, NoticeKind::PasswordSet, &[], Some(origin))
            .await?;
        self.note_sign_in(tx, actor, "password-set", account, json!({}))
            .await
    }

    /// Takes the password away: passkeys alone are safer.
    ///
    /// # Errors
    /// `step-up-needed`, `factor-last`.
    pub async fn password_remove(&self, actor: &Actor, origin: &CallerOrigin) -> Result<()> {
        let (account, session) = self.fresh_session(actor)?;
        let mut tx = self.inner.store.write().await?;
        self.still_signed_in(&mut tx, session).await?;
        let factors = tx.factors(account).await?;
        if !factors.iter().any(|row| usable(row) && row.kind != "totp") {
            return Err(Error::new(
                Kind::Rejected,
                "factor-last",
                "Without the password nobody could sign in to this account any more.",
            )
            .remedy("Add a passkey first."));
        }
        if tx.remove_password(account).await? {
            self.notify(
                &mut tx,
                account,
                NoticeKind::PasswordRemoved,
                &[],
                Some(origin),
            )
            .await?;
            self.note_sign_in(&mut tx, actor, "password-removed", account, json!({}))
                .await?;
            self.end_others(
                &mut tx,
                actor,
                account,
                Some(&session.id),
                "the password was removed",
            )
            .await?;
        }
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// Proves once more that it is the holder of the session, by password and, where there is an app for codes, a code.
    /// Not possible for accounts with a passkey: a password can be phished.
    ///
    /// # Errors
    /// `step-up-needs-passkey`, `sign-in-wrong`, `code-wrong`, `too-many-attempts`.
    pub async fn step_up_with_password(
        &self,
        cookie: &str,
        password: &str,
        code: Option<&str>,
        origin: &CallerOrigin,
        device: Option<&str>,
    ) -> Result<SignedIn> {
        let actor = self.actor_of_session(cookie).await?;
        let (account, session) = session_of(&actor)?;
        let factors = self.inner.store.factors(account).await?;
        if factors.iter().any(|row| usable(row) && row.kind != "totp") {
            return Err(Error::new(
                Kind::Denied,
                "step-up-needs-passkey",
                "Your account has a passkey, so that is what confirms this.",
            )
            .remedy("Use your passkey."));
        }
        // A key that seems to have been copied must not become a reason to ask for less.
        let owed = factors
            .iter()
            .any(|row| confirmed(row) && row.kind != "totp");
        if owed && !factors.iter().any(usable) {
            return Err(step_up_needed()
                .remedy("Your key is locked: sign in again with a recovery code, remove it and add another one."));
        }
        if password.len() > LONGEST {
            return Err(sign_in_wrong());
        }
        let known = self.known_device(account, device).await?;
        let from = match known {
            Some(device) => limits::From::Device(account, device),
            None => limits::From::Nowhere,
        };
        let login = format!("step-up {account}");
        let counters = limits::password(&login, &from, origin);
        self.count(&counters).await?;
        let row = self.inner.store.password(account).await?;
        if !self.matches(row.as_ref(), password).await? {
            return Err(sign_in_wrong());
        }
        if let Some(row) = &row
            && self.look_at_used(account, row, password, origin).await?
        {
            return Err(breached());
        }
        let mut level = session.level;
        if let Some(totp) = factors.iter().find(|row| usable(row) && row.kind == "totp") {
            let Some(code) = code else {
                return Err(step_up_needed());
            };
            self.check_code(account, totp, code, known, origin).await?;
            level = level.max(Level::TwoFactor);
        }
        let mut tx = self.inner.store.write().await?;
        let now = self.now();
        tx.refund_attempt(&counters, now).await?;
        let signed_in = self
            .lift(&mut tx, cookie, &actor, level, "password")
            .await?;
        tx.commit().await?;
        Ok(signed_in)
    }

    /// Lifts a session under a new secret: its holder proved themselves just now.
    pub(super) async fn lift(
        &self,
        tx: &mut Tx,
        cookie: &str,
        actor: &Actor,
        level: Level,
        way: &str,
    ) -> Result<SignedIn> {
        let (account, session) = session_of(actor)?;
        let now = self.now();
        let fresh_until = Some(now.plus_seconds(super::FRESH));
        let new = self.secret();
        let lifted = tx
            .lift_session(
                &session.id,
                Sha256::of(cookie.as_bytes()),
                Sha256::of(new.as_bytes()),
                level,
                fresh_until,
                now,
            )
            .await?;
        let Some(expires) = lifted else {
            return Err(signed_out());
        };
        let mut actor = actor.clone();
        actor.strength = super::strength_of(level);
        if let Some(session) = &mut actor.session {
            session.level = level;
            session.fresh_until = fresh_until;
        }
        let detail = json!({"way": way, "level": level});
        self.note_sign_in(tx, &actor, "stepped-up", account, detail)
            .await?;
        Ok(SignedIn {
            cookie: new,
            device: None,
            actor,
            expires,
            must_change_password: false,
        })
    }
}

/// Is the rest of a SHA-1 among the lines `SUFFIX:COUNT` of a range? Lines with the count 0 are padding.
fn in_range(answer: &str, suffix: &str) -> bool {
    answer.lines().any(|line| {
        line.trim().split_once(':').is_some_and(|(rest, count)| {
            rest.eq_ignore_ascii_case(suffix) && count.trim().parse::<u64>().is_ok_and(|n| n > 0)
        })
    })
}

/// Does a SHA-1 stand in an imported file? A search by halves; the file is never read into memory.
fn stands_in(file: &Path, sha1: &[u8; SHA1]) -> std::io::Result<bool> {
    let mut file = std::fs::File::open(file)?;
    let (mut low, mut high) = (0, file.metadata()?.len() / SHA1 as u64);
    let mut entry = [0; SHA1];
    while low < high {
        let middle = low + (high - low) / 2;
        file.seek(SeekFrom::Start(middle * SHA1 as u64))?;
        file.read_exact(&mut entry)?;
        match entry.cmp(sha1) {
            std::cmp::Ordering::Equal => return Ok(true),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Ok(false)
}

/// Imports a list of breached passwords: lines `SHA-1[:COUNT]` in hexadecimal, in order, as the known services offer
/// them. The result is a file of bare SHA-1s to name in the configuration. How many they are.
///
/// # Errors
/// `breach-list` where a line is not of that form or out of order; where a file can not be read or written.
pub fn import_breached(from: &Path, to: &Path) -> Result<u64> {
    let failed = |source: std::io::Error| {
        Error::new(
            Kind::Rejected,
            "breach-file",
            format!("The list can not be imported: {source}."),
        )
        .remedy("Look at both paths and at the free space.")
        .because(source)
    };
    let refused = |number: u64, what: &str| {
        Error::new(
            Kind::Rejected,
            "breach-list",
            format!("Line {number} of the list {what}."),
        )
        .remedy("Give a list of SHA-1 in hexadecimal, sorted, one a line, with or without :COUNT.")
    };
    let reader = BufReader::new(std::fs::File::open(from).map_err(failed)?);
    let part = to.with_extension("part");
    let mut writer = BufWriter::new(std::fs::File::create(&part).map_err(failed)?);
    let mut before: Option<[u8; SHA1]> = None;
    let mut written = 0;
    for (number, line) in (1_u64..).zip(reader.lines()) {
        let line = line.map_err(failed)?;
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        let text = line.split(':').next().unwrap_or_default();
        let entry: [u8; SHA1] = hex::decode(text)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| refused(number, "does not begin with a SHA-1"))?;
        if before.is_some_and(|before| before >= entry) {
            return Err(refused(number, "is not in order"));
        }
        writer.write_all(&entry).map_err(failed)?;
        before = Some(entry);
        written += 1;
    }
    let file = writer
        .into_inner()
        .map_err(|error| failed(error.into_error()))?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&part, to).map_err(failed)?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_with_its_padding() {
        let sha1 = hex::encode_upper(sha1("password"));
        assert_eq!(sha1, "5BAA61E4C9B93F3F0682250B6CF8331B7EE68FD8");
        let suffix = &sha1[5..];
        assert!(in_range(&format!("AA:1\r\n{suffix}:7\r\n"), suffix));
        assert!(!in_range(&format!("{suffix}:0\r\n"), suffix));
        assert!(!in_range("", suffix));
        assert!(!in_range(suffix, suffix));
    }

    #[test]
    fn an_imported_list_is_searched_by_halves() {
        let folder = tempfile::tempdir().unwrap();
        let (text, file) = (folder.path().join("list"), folder.path().join("breached"));
        let mut hashes: Vec<String> = (0..1_000)
            .map(|n| hex::encode_upper(sha1(&format!("password {n}"))))
            .collect();
        hashes.sort();
        let lines: Vec<String> = hashes.iter().map(|hash| format!("{hash}:3")).collect();
        std::fs::write(&text, lines.join("\r\n")).unwrap();
        assert_eq!(import_breached(&text, &file).unwrap(), 1_000);
        for n in 0..1_000 {
            assert!(stands_in(&file, &sha1(&format!("password {n}"))).unwrap());
            assert!(!stands_in(&file, &sha1(&format!("other {n}"))).unwrap());
        }
        std::fs::write(&text, format!("{}\n{}\n", hashes[1], hashes[0])).unwrap();
        assert_eq!(
            import_breached(&text, &file).unwrap_err().code,
            "breach-list"
        );
    }

    #[test]
    fn todays_parameters_are_those_of_a_new_hash() {
        assert!(!outdated(nobodys()));
        assert!(outdated("$argon2id$v=19$m=4096,t=3,p=1$c2FsdHNhbHQ$aGFzaA"));
    }
}
