//! Letting a program in by a browser elsewhere: the program is given a secret and shows a code; a person, in a fresh
//! session, looks at what asks and says yes. Only then the secret becomes a token. So no secret is ever stored, shown
//! in a browser, or handed out twice; and who guesses a code can say yes or no but gets nothing.
//!
//! Clients that ask by an address ([`Registry::begin_web_login`]) would leave their token in the logs of proxies. Their
//! secret is another one, which fetches a token that is made then, once.

use std::time::Duration;

use countersign_trust::digest::Sha256;
use countersign_trust::token::{Token, TokenKind};
use serde::Serialize;
use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::model::{
    AccountId, Action, Actor, CallerOrigin, CredentialId, Identity, Scope, Strength, Time,
};
use crate::policy::{self, Act, On};
use crate::store::{DeviceRow, NewCredential, Tx};
use crate::texts::NoticeKind;

/// How long a code is good, in seconds.
const LIFE: i64 = 600;

/// Seconds between two questions of a program, and how many of them may be missing: clocks and networks differ.
const INTERVAL: u32 = 5;
const EARLY: u32 = 1;

/// Programs of one network that may begin to wait within ten minutes. There is no such limit on all: whoever reached it
/// would keep everybody out.
const FROM_ONE: i64 = 20;

/// Letters of codes: none that looks or sounds like another, no vowels, so that no words come out.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// How long the token lives that a program gets.
const TOKEN_LIFE: Duration = Duration::from_secs(30 * 86_400);

/// What a program is told that wants to be let in.
#[derive(Clone, Serialize)]
pub struct DeviceLogin {
    /// The program's secret: its token, once somebody said yes.
    pub device_code: String,
    /// What the program shows.
    pub user_code: String,
    /// Path of the page where a person says yes.
    pub path: String,
    /// Seconds to wait between questions.
    pub interval: u32,
    /// When all this ends.
    pub expires: Time,
}

/// How far it is for a program that fetches its token. No `Debug`: it may hold it.
#[derive(Clone)]
pub enum Fetched {
    /// Nobody has decided yet.
    Waiting,
    /// The token, which is nowhere else.
    Token(String),
}

/// What a person sees before saying yes.
#[derive(Clone, Debug, Serialize)]
pub struct WaitingDevice {
    /// The code, as the program shows it.
    pub user_code: String,
    /// What the program calls itself.
    pub client: String,
    /// Where it asked from.
    pub address: String,
    /// What its token will be good for.
    pub action: Action,
    /// When it asked.
    pub created: Time,
    /// How many days the token will live.
    pub days: u64,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceProgress {
    /// Nobody has decided yet.
    Waiting,
    /// The program's secret is a token of this user now.
    Granted {
        /// The user name.
        user: String,
        /// When the token ends.
        expires: Option<Time>,
    },
}

impl Registry {
    /// A program asks to be let in.
    ///
    /// # Errors
    /// `login-name`, `login-limit`.
    pub async fn begin_device(
        &self,
        client: &str,
        action: Action,
        origin: &CallerOrigin,
    ) -> Result<DeviceLogin> {
        self.begin(client, action, false, origin).await
    }

    /// A program asks to be let in that will ask by an address how far it is: what it is given fetches a token, once.
    ///
    /// # Errors
    /// As [`Registry::begin_device`].
    pub async fn begin_web_login(
        &self,
        client: &str,
        action: Action,
        origin: &CallerOrigin,
    ) -> Result<DeviceLogin> {
        self.begin(client, action, true, origin).await
    }

    async fn begin(
        &self,
        client: &str,
        action: Action,
        fetches: bool,
        origin: &CallerOrigin,
    ) -> Result<DeviceLogin> {
        let client = client.trim();
        if client.is_empty() || client.chars().count() > 100 || client.chars().any(char::is_control)
        {
            return Err(Error::new(
                Kind::Rejected,
                "login-name",
                "A program that wants to be let in says what it is, in at most 100 characters.",
            )
            .remedy("Send a name such as \"countersign on build-box\"."));
        }
        self.count_asked("program", FROM_ONE, origin)
            .await
            .map_err(|error| Error {
                code: "login-limit".into(),
                ..error
            })?;
        let now = self.now();
        let secret = Token::from_random(TokenKind::User, self.inner.seams.random.bytes32());
        let row = DeviceRow {
            secret_hash: secret.hash().to_string(),
            hint: secret.hint(),
            user_code: code(self.inner.seams.random.bytes32()),
            client: client.to_owned(),
            address: origin.address.to_string(),
            action,
            created: now,
            expires: now.plus_seconds(LIFE),
            decided: None,
            account: None,
            fetches,
            polled: None,
        };
        let mut tx = self.inner.store.write().await?;
        tx.insert_device(&row).await?;
        tx.commit().await?;
        Ok(DeviceLogin {
            device_code: secret.reveal(),
            path: format!("/login/device?code={}", row.user_code),
            user_code: row.user_code,
            interval: INTERVAL,
            expires: row.expires,
        })
    }

    /// What waits under a code; for whoever is signed in.
    ///
    /// # Errors
    /// `login-unknown`, `session-needed`.
    pub async fn waiting_device(&self, actor: &Actor, code: &str) -> Result<WaitingDevice> {
        person(actor)?;
        let row = self.device_row(code).await?;
        Ok(WaitingDevice {
            user_code: row.user_code,
            client: row.client,
            address: row.address,
            action: row.action,
            created: row.created,
            days: self.device_token_life().as_secs() / 86_400,
        })
    }

    /// Says yes or no to what waits under a code. Yes takes a fresh session.
    ///
    /// # Errors
    /// `login-unknown`, `session-needed`, `not-fresh`.
    pub async fn decide_device(
        &self,
        actor: &Actor,
        shown: &str,
        yes: bool,
        origin: &CallerOrigin,
    ) -> Result<()> {
        let account = person(actor)?;
        let row = self.device_row(shown).await?;
        let now = self.now();
        if yes {
            policy::may(Act::MakeTokens, actor, On::Own, now)?;
        }
        let mut tx = self.inner.store.write().await?;
        self.still_good(&mut tx, actor).await?;
        if yes {
            self.in_good_standing(&mut tx, actor, Act::MakeTokens, "")
                .await?;
        }
        let accepted = yes.then_some(account);
        if !tx.decide_device(&row.user_code, accepted, now).await? {
            return Err(unknown());
        }
        if yes && !row.fetches {
            let secret_hash = row
                .secret_hash
                .parse()
                .map_err(|source| Error::internal("a stored digest is none", source))?;
            self.let_in(
                &mut tx,
                actor,
                account,
                &row,
                (secret_hash, &row.hint),
                origin,
            )
            .await?;
        }
        tx.commit().await
    }

    /// How far it is; asked by the program with its secret.
    ///
    /// # Errors
    /// `login-unknown`, `login-denied`, `login-too-fast`.
    pub async fn device_progress(&self, secret: &str) -> Result<DeviceProgress> {
        let (token, row) = self.asking(secret, false).await?;
        if row.decided.is_none() {
            return self.patient(&row).await.map(|()| DeviceProgress::Waiting);
        }
        let granted = match row.account {
            Some(_) => self.inner.store.credential_by_hash(token.hash()).await?,
            None => None,
        };
        let Some(credential) = granted else {
            return Err(denied());
        };
        Ok(DeviceProgress::Granted {
            user: credential.account_name,
            expires: credential.expires,
        })
    }

    /// How far it is, for a program of [`Registry::begin_web_login`]; once somebody said yes, its token, made now. A
    /// second question gets none.
    ///
    /// # Errors
    /// `login-unknown`, `login-denied`, `login-too-fast`.
    pub async fn fetch_login(&self, secret: &str, origin: &CallerOrigin) -> Result<Fetched> {
        let (_, row) = self.asking(secret, true).await?;
        if row.decided.is_none() {
            return self.patient(&row).await.map(|()| Fetched::Waiting);
        }
        let Some(account) = &row.account else {
            return Err(denied());
        };
        let token = Token::from_random(TokenKind::User, self.inner.seams.random.bytes32());
        let mut tx = self.inner.store.write().await?;
        if !tx.end_device(&row.secret_hash).await? {
            return Err(unknown());
        }
        let actor = Actor {
            identity: Identity::System { name: "login" },
            ..Actor::anonymous()
        };
        let made = (token.hash(), &*token.hint());
        self.let_in(&mut tx, &actor, account, &row, made, origin)
            .await?;
        tx.commit().await?;
        Ok(Fetched::Token(token.reveal()))
    }

    /// The program that asks with this secret, if that is its way of asking.
    async fn asking(&self, secret: &str, fetches: bool) -> Result<(Token, DeviceRow)> {
        let Ok(token) = Token::parse(secret.trim()) else {
            return Err(unknown());
        };
        let row = self
            .inner
            .store
            .device_by_secret(token.hash(), self.now())
            .await?;
        match row.filter(|row| row.fetches == fetches) {
            Some(row) => Ok((token, row)),
            None => Err(unknown()),
        }
    }

    /// Lets a program ask as often as it was told to.
    async fn patient(&self, row: &DeviceRow) -> Result<()> {
        let now = self.now();
        let since = now.plus_seconds(-i64::from(INTERVAL - EARLY));
        // Who asks too often costs a read and no write.
        let early = row.polled.is_some_and(|polled| polled > since);
        if !early
            && self
                .inner
                .store
                .note_poll(&row.secret_hash, since, now)
                .await?
        {
            return Ok(());
        }
        Err(Error::new(
            Kind::Limited,
            "login-too-fast",
            "Nobody has decided yet, and this was asked too often.",
        )
        .remedy(format!("Wait {INTERVAL} seconds between questions.")))
    }

    /// Makes the token of a program that a person let in.
    async fn let_in(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        account: &AccountId,
        row: &DeviceRow,
        (secret_hash, hint): (Sha256, &str),
        origin: &CallerOrigin,
    ) -> Result<()> {
        let now = self.now();
        let id = CredentialId(new_id());
        let scope = Scope {
            ecosystem: None,
            project: None,
            namespace: None,
            action: row.action,
            networks: Vec::new(),
        };
        let life = i64::try_from(self.device_token_life().as_secs()).unwrap_or(i64::MAX);
        let expires = now.plus_seconds(life);
        tx.insert_credential(&NewCredential {
            id: &id,
            account: Some(account),
            kind: "token",
            strength: Strength::Token,
            secret_hash,
            hint,
            label: &row.client,
            scope: Some(&scope),
            created: now,
            expires,
        })
        .await?;
        let way = if row.fetches { "web" } else { "device" };
        let detail = json!({"credential": id, "scope": scope, "expires": expires, "way": way});
        tx.note_event(&new_id(), now, "token-made", actor, Some(account), detail)
            .await?;
        let until = expires.rfc3339();
        let data = [
            ("label", row.client.as_str()),
            ("hint", hint),
            ("expires", &until),
        ];
        self.notify(tx, account, NoticeKind::TokenMade, &data, Some(origin))
            .await
    }

    fn device_token_life(&self) -> Duration {
        TOKEN_LIFE.min(self.inner.settings.token_longest)
    }

    async fn device_row(&self, shown: &str) -> Result<DeviceRow> {
        let plain: String = shown
            .chars()
            .filter(char::is_ascii_alphabetic)
            .map(|letter| letter.to_ascii_uppercase())
            .take(9)
            .collect();
        let code = match plain.split_at_checked(4) {
            Some((first, rest)) if rest.len() == 4 => format!("{first}-{rest}"),
            _ => return Err(unknown()),
        };
        self.inner
            .store
            .device_by_code(&code, self.now())
            .await?
            .ok_or_else(unknown)
    }

    /// Forgets programs that lapsed.
    pub(crate) async fn purge_devices(&self) -> Result<u64> {
        self.inner.store.purge_devices(self.now()).await
    }
}

/// Eight letters in two groups: 34 bits, for ten minutes.
fn code(random: [u8; 32]) -> String {
    // Of 256 values, 240 fall evenly on the letters; 32 bytes hold eight of those but once in 10^17, and then the
    // code is merely a little less even.
    let even = random.iter().filter(|byte| **byte < 240);
    let rest = random.iter().filter(|byte| **byte >= 240);
    let mut code = String::with_capacity(9);
    for (at, byte) in even.chain(rest).take(8).enumerate() {
        if at == 4 {
            code.push('-');
        }
        code.push(char::from(LETTERS[usize::from(byte % 20)]));
    }
    code
}

/// The account of somebody who is signed in.
fn person(actor: &Actor) -> Result<&AccountId> {
    match &actor.identity {
        Identity::Account { id, .. } if actor.session.is_some() => Ok(id),
        _ => Err(Error::new(
            Kind::Denied,
            "session-needed",
            "Programs are let in by somebody who is signed in.",
        )
        .remedy("Sign in at this registry's pages and do it there.")),
    }
}

fn denied() -> Error {
    Error::new(
        Kind::Denied,
        "login-denied",
        "The person at the browser said no.",
    )
    .remedy("Ask again, if that was a mistake.")
}

fn unknown() -> Error {
    Error::new(
        Kind::NotFound,
        "login-unknown",
        "Nothing waits under this code, or no longer.",
    )
    .remedy("Compare it with what the program shows. A code is good for ten minutes; start the program again for a new one.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_two_groups_of_letters_that_can_not_be_mistaken() {
        let code = code(core::array::from_fn(|at| u8::try_from(at * 7).unwrap()));
        assert_eq!(code.len(), 9);
        assert_eq!(code.as_bytes()[4], b'-');
        assert!(
            code.bytes()
                .all(|c| c == b'-' || (LETTERS.contains(&c) && !b"AEIOUY01".contains(&c)))
        );
        assert_eq!(super::code([250; 32]).len(), 9);
    }
}
