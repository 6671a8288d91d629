//! Passkeys and security keys (WebAuthn). The browser is asked a question once, bound to what it is for; the answer takes
//! the question, whatever comes of it. User verification is always demanded, of security keys too.

use countersign_trust::digest::Sha256;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;
use webauthn_rs::prelude::{
    AuthenticationResult, DiscoverableAuthentication, DiscoverableKey, Passkey,
    PasskeyAuthentication, PasskeyRegistration, PublicKeyCredential, RegisterPublicKeyCredential,
    Webauthn, WebauthnBuilder, WebauthnError,
};

use super::{
    By, Enrolling, Entry, SignedIn, disabled, factor_unknown, label_of, session_of, usable,
};
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, Actor, CallerOrigin, FactorId, Level, SessionId};
use crate::store::{CeremonyRow, FactorRow, Tx, WRITE_CONFLICT};
use crate::texts::NoticeKind;

/// How long a browser may take to answer, in seconds.
const PATIENCE: i64 = 300;

/// So many keys an account may have.
const MOST_KEYS: usize = 20;

/// Under this name the instance's own table keeps for which name passkeys are made. It never changes.
pub(crate) const RP: &str = "webauthn_rp";

/// Do passkeys that were made for a name work at this host? A name below the first one is fine; any other makes every
/// passkey worthless.
pub(crate) fn belongs(host: &str, rp: &str) -> bool {
    host == rp
        || host
            .strip_suffix(rp)
            .is_some_and(|above| above.ends_with('.'))
}

/// What checks answers: this site's name and origin.
pub(super) struct Relying(Webauthn);

/// What kind of key is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// Found by the browser itself: signs in without a user name.
    Passkey,
    /// A key in the hand, named by us after a password or for a passkey-less account.
    SecurityKey,
}

impl KeyKind {
    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passkey => "passkey",
            Self::SecurityKey => "security-key",
        }
    }
}

/// A question to put to the browser.
#[derive(Clone, Debug, Serialize)]
pub struct Ceremony {
    /// To be sent back with the answer.
    pub id: String,
    /// For `navigator.credentials.create` or `.get`.
    pub options: Value,
}

/// The browser's answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Answer {
    /// The question's id.
    pub ceremony: String,
    /// The credential as the browser gave it, as JSON.
    pub credential: Value,
}

/// What waits for the answer to a registration.
#[derive(Serialize, Deserialize)]
struct Registering {
    kind: KeyKind,
    /// Hash of the link by which it is done, where it is one.
    link: Option<Sha256>,
    state: PasskeyRegistration,
}

/// A key that was registered and is to be stored.
pub(crate) struct NewKey {
    kind: KeyKind,
    credential: Sha256,
    secret: String,
    link: Option<Sha256>,
}

fn stale() -> Error {
    Error::new(
        Kind::Rejected,
        "ceremony-unknown",
        "This question was answered before, took too long, or was never asked.",
    )
    .remedy("Begin again.")
}

fn refused(source: &WebauthnError) -> Error {
    let why = match source {
        WebauthnError::InvalidRPOrigin => "it was made for another site",
        WebauthnError::InvalidRPIDHash => "it belongs to another site's name",
        WebauthnError::MismatchedChallenge => "it answers another question",
        WebauthnError::UserNotVerified => "the device did not check who uses it (by PIN or finger)",
        WebauthnError::CredentialPossibleCompromise => "there seems to be a copy of it",
        _ => "it can not be verified",
    };
    Error::new(
        Kind::Unauthenticated,
        "passkey-refused",
        format!("The passkey's answer is refused: {why}."),
    )
    .remedy("Try again in this browser, on this site's own address.")
}

fn state_lost(source: serde_json::Error) -> Error {
    Error::internal("the state of a ceremony can not be read", source)
}

fn parsed<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T> {
    serde_json::from_value(answer.credential.clone()).map_err(|_| {
        Error::new(
            Kind::Rejected,
            "passkey-malformed",
            "This is not the answer of a passkey.",
        )
        .remedy("Send the credential as the browser's toJSON() gives it.")
    })
}

/// The counter of a stored key.
fn counter_of(secret: &str) -> Result<u32> {
    #[derive(Deserialize)]
    struct Stored {
        cred: Counted,
    }
    #[derive(Deserialize)]
    struct Counted {
        counter: u32,
    }
    serde_json::from_str::<Stored>(secret)
        .map(|stored| stored.cred.counter)
        .map_err(|source| Error::internal("a stored key can not be read", source))
}

fn key_of(credential: &[u8]) -> Sha256 {
    Sha256::of(credential)
}

impl Registry {
    async fn relying(&self) -> Result<&Webauthn> {
        let relying = self
            .inner
            .door
            .webauthn
            .get_or_try_init(|| async {
                let url = &self.inner.settings.url;
                let Some(url::Host::Domain(host)) = url.host() else {
                    return Err(Error::new(
                        Kind::Unavailable,
                        "passkeys-need-a-name",
                        "Passkeys belong to a name, and this registry's URL has an address instead.",
                    )
                    .remedy("Give the registry a name: set url in its configuration."));
                };
                let store = &self.inner.store;
                let rp = match store.instance(RP).await? {
                    Some(rp) => rp,
                    None => {
                        let mut tx = store.write().await?;
                        let first = tx.first_instance(RP, host).await?;
                        tx.commit().await?;
                        first
                    }
                };
                let built = WebauthnBuilder::new(&rp, url)
                    .ok()
                    .filter(|_| belongs(host, &rp))
                    .and_then(|builder| builder.rp_name(&rp).build().ok());
                built.map(Relying).ok_or_else(|| {
                    Error::unavailable(
                        "passkeys-of-another-name",
                        format!("Passkeys here were made for {rp}, and the registry is now at {host}."),
                    )
                    .remedy("Serve it under the former name again; passkeys can not be moved.")
                })
            })
            .await?;
        Ok(&relying.0)
    }

    async fn ask<T: Serialize>(
        &self,
        kind: &str,
        account: Option<&AccountId>,
        session: Option<&SessionId>,
        state: &T,
        options: Value,
        asker: &str,
    ) -> Result<Ceremony> {
        self.count_question(asker).await?;
        let id = self.secret();
        let state = serde_json::to_string(state)
            .map_err(|source| Error::internal("the state of a ceremony can not be kept", source))?;
        self.inner
            .store
            .put_ceremony(&CeremonyRow {
                id: id.clone(),
                kind: kind.to_owned(),
                account: account.cloned(),
                session: session.cloned(),
                state,
                expires: self.now().plus_seconds(PATIENCE),
            })
            .await?;
        Ok(Ceremony { id, options })
    }

    /// Takes the question that is answered: it must have been asked for this, and in this session.
    pub(super) async fn taken(
        &self,
        id: &str,
        kind: &str,
        session: Option<&SessionId>,
    ) -> Result<CeremonyRow> {
        let row = self
            .inner
            .store
            .take_ceremony(id)
            .await?
            .ok_or_else(stale)?;
        let fits = row.kind == kind && row.session.as_ref() == session && self.now() < row.expires;
        if fits { Ok(row) } else { Err(stale()) }
    }

    fn options<T: Serialize>(options: &T) -> Result<Value> {
        serde_json::to_value(options)
            .map_err(|source| Error::internal("a question can not be written", source))
    }

    /// Asks the browser to make a key for an account.
    pub(crate) async fn ask_for_new_key(
        &self,
        account: &AccountId,
        user: &str,
        session: Option<&SessionId>,
        link: Option<Sha256>,
        kind: KeyKind,
    ) -> Result<Ceremony> {
        let uuid = Uuid::parse_str(&account.0)
            .map_err(|source| Error::internal("an account's id is no UUID", source))?;
        let known = self.keys_of(account).await?;
        if known.len() >= MOST_KEYS {
            return Err(Error::new(
                Kind::Rejected,
                "factors-many",
                format!("An account has {MOST_KEYS} keys at most."),
            )
            .remedy("Remove one that you no longer use."));
        }
        let exclude = known.iter().map(|(_, key)| key.cred_id().clone()).collect();
        let (options, state) = self
            .relying()
            .await?
            .start_passkey_registration(uuid, user, user, Some(exclude))
            .map_err(|source| Error::internal("a registration can not begin", source))?;
        let mut options = Self::options(&options)?;
        let selection = &mut options["publicKey"]["authenticatorSelection"];
        match kind {
            KeyKind::Passkey => {
                selection["residentKey"] = json!("required");
                selection["requireResidentKey"] = json!(true);
            }
            KeyKind::SecurityKey => {
                selection["residentKey"] = json!("discouraged");
                selection["authenticatorAttachment"] = json!("cross-platform");
            }
        }
        let asker = match (session, link) {
            (Some(session), _) => format!("session {}", session.0),
            (None, Some(link)) => format!("link {link}"),
            (None, None) => format!("account {account}"),
        };
        let state = Registering { kind, link, state };
        self.ask("register", Some(account), session, &state, options, &asker)
            .await
    }

    /// Checks the answer to [`Registry::ask_for_new_key`]; for whom the key is.
    pub(crate) async fn new_key(
        &self,
        answer: &Answer,
        session: Option<&SessionId>,
    ) -> Result<(AccountId, NewKey)> {
        let row = self.taken(&answer.ceremony, "register", session).await?;
        let account = row.account.ok_or_else(stale)?;
        let waiting: Registering = serde_json::from_str(&row.state).map_err(state_lost)?;
        let credential: RegisterPublicKeyCredential = parsed(answer)?;
        let key = self
            .relying()
            .await?
            .finish_passkey_registration(&credential, &waiting.state)
            .map_err(|source| refused(&source))?;
        let credential = key_of(key.cred_id().as_ref());
        let secret = serde_json::to_string(&key)
            .map_err(|source| Error::internal("a key can not be kept", source))?;
        Ok((
            account,
            NewKey {
                kind: waiting.kind,
                credential,
                secret,
                link: waiting.link,
            },
        ))
    }

    /// Stores a new key in the caller's transaction and tells the account.
    pub(crate) async fn store_key(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        account: &AccountId,
        key: &NewKey,
        label: &str,
        origin: &CallerOrigin,
    ) -> Result<FactorId> {
        let now = self.now();
        let id = FactorId(new_id());
        let row = FactorRow {
            id: id.clone(),
            account: account.clone(),
            kind: key.kind.as_str().to_owned(),
            label: label.to_owned(),
            secret: key.secret.clone(),
            last_step: 0,
            locked_until: None,
            cloned: None,
            created: now,
            confirmed: Some(now),
            last_used: None,
        };
        tx.insert_factor(&row, Some(key.credential))
            .await
            .map_err(|error| {
                if error.code == WRITE_CONFLICT {
                    return Error::new(
                        Kind::Conflict,
                        "passkey-exists",
                        "This key is registered already.",
                    )
                    .remedy("Use another device, or sign in with this one.");
                }
                error
            })?;
        let kind = match key.kind {
            KeyKind::Passkey => NoticeKind::PasskeyAdded,
            KeyKind::SecurityKey => NoticeKind::SecurityKeyAdded,
        };
        self.notify(tx, account, kind, &[("label", label)], Some(origin))
            .await?;
        let detail = json!({"factor": id, "kind": key.kind});
        self.note_sign_in(tx, actor, "factor-added", account, detail)
            .await?;
        Ok(id)
    }

    /// Begins to register a passkey or security key.
    ///
    /// # Errors
    /// `step-up-needed`, `link-unknown`, `link-not-for-this`, `factors-many`, `passkeys-need-a-name`.
    pub async fn passkey_registration_start(
        &self,
        by: Enrolling<'_>,
        kind: KeyKind,
    ) -> Result<Ceremony> {
        match by {
            Enrolling::Session(actor) => {
                let (account, session) = self.fresh_session(actor)?;
                self.ask_for_new_key(account, actor.name(), Some(&session.id), None, kind)
                    .await
            }
            Enrolling::Link(secret) => {
                let link = self.link(secret).await?;
                link.may_register()?;
                let account = link.new_account();
                self.ask_for_new_key(&account, &link.user, None, Some(link.hash), kind)
                    .await
            }
        }
    }

    /// Stores the passkey or security key. By a link this uses the link up and begins a session.
    ///
    /// # Errors
    /// `ceremony-unknown`, `passkey-refused`, `passkey-malformed`, `passkey-exists`, `factor-label`, `step-up-needed`,
    /// `link-unknown`, `link-not-for-this`.
    pub async fn passkey_registration_finish(
        &self,
        by: Enrolling<'_>,
        answer: &Answer,
        label: &str,
        origin: &CallerOrigin,
        device: Option<&str>,
    ) -> Result<Option<SignedIn>> {
        let label = label_of(label)?;
        match by {
            Enrolling::Session(actor) => {
                let (account, session) = self.fresh_session(actor)?;
                let (of, key) = self.new_key(answer, Some(&session.id)).await?;
                if of != *account {
                    return Err(stale());
                }
                let mut tx = self.inner.store.write().await?;
                self.still_signed_in(&mut tx, session).await?;
                self.store_key(&mut tx, actor, account, &key, &label, origin)
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
                Ok(None)
            }
            Enrolling::Link(secret) => {
                let link = self.link(secret).await?;
                link.may_register()?;
                let (account, key) = self.new_key(answer, None).await?;
                if key.link != Some(link.hash) {
                    return Err(stale());
                }
                let mut tx = self.inner.store.write().await?;
                let person = self.redeem(&mut tx, &link, &account).await?;
                let actor = link.actor(&person);
                self.store_key(&mut tx, &actor, &person.id, &key, &label, origin)
                    .await?;
                self.end_others(&mut tx, &actor, &person.id, None, "a factor was added")
                    .await?;
                let entry = Entry {
                    person: &person,
                    by: By::Used,
                    level: Level::Phishproof,
                    way: "enrolment",
                    fresh: true,
                    origin,
                    device,
                    must_change_password: false,
                    counted: &[],
                    announce: false,
                };
                let signed_in = self.begin_session(&mut tx, &entry).await?;
                tx.commit().await?;
                self.wake_office();
                Ok(Some(signed_in))
            }
        }
    }

    /// The usable keys of an account.
    async fn keys_of(&self, account: &AccountId) -> Result<Vec<(FactorRow, Passkey)>> {
        let rows = self.inner.store.factors(account).await?;
        rows.into_iter()
            .filter(|row| usable(row) && row.kind != "totp")
            .map(|row| {
                let key = serde_json::from_str(&row.secret)
                    .map_err(|source| Error::internal("a stored key can not be read", source))?;
                Ok((row, key))
            })
            .collect()
    }

    /// Begins a sign-in with a passkey; nobody need say who they are. Good for the browser's own suggestions too.
    ///
    /// # Errors
    /// `passkeys-need-a-name`, `too-many-attempts` for a network that asks hundreds of times and never answers.
    pub async fn passkey_sign_in_start(&self, origin: &CallerOrigin) -> Result<Ceremony> {
        let (options, state) = self
            .relying()
            .await?
            .start_discoverable_authentication()
            .map_err(|source| Error::internal("a sign-in can not begin", source))?;
        let mut options = Self::options(&options)?;
        // Whether it stands among the browser's suggestions or in front of them is for the page to say.
        if let Some(options) = options.as_object_mut() {
            options.remove("mediation");
        }
        let asker = format!("network {}", origin.network());
        self.ask("sign-in", None, None, &state, options, &asker)
            .await
    }

    /// Signs in with a passkey. Never limited by the attempts of others: it can not be guessed.
    ///
    /// # Errors
    /// `ceremony-unknown`, `passkey-unknown`, `passkey-refused`, `passkey-cloned`, `account-disabled`.
    pub async fn passkey_sign_in_finish(
        &self,
        answer: &Answer,
        origin: &CallerOrigin,
        device: Option<&str>,
    ) -> Result<SignedIn> {
        let row = self.taken(&answer.ceremony, "sign-in", None).await?;
        let state: DiscoverableAuthentication =
            serde_json::from_str(&row.state).map_err(state_lost)?;
        let credential: PublicKeyCredential = parsed(answer)?;
        let unknown = || {
            Error::new(
                Kind::Unauthenticated,
                "passkey-unknown",
                "This passkey is not registered here, or was removed.",
            )
            .remedy("Use another one, or another way to sign in.")
        };
        let relying = self.relying().await?;
        let (holder, id) = relying
            .identify_discoverable_authentication(&credential)
            .map_err(|_| unknown())?;
        let factor = self
            .inner
            .store
            .factor_by_key(key_of(id))
            .await?
            .filter(|factor| factor.confirmed.is_some())
            .ok_or_else(unknown)?;
        if Uuid::parse_str(&factor.account.0).ok() != Some(holder) {
            return Err(unknown());
        }
        let key: Passkey = serde_json::from_str(&factor.secret)
            .map_err(|source| Error::internal("a stored key can not be read", source))?;
        let result = relying.finish_discoverable_authentication_v2(
            &credential,
            state,
            DiscoverableKey::from(&key),
        );
        self.use_key(&factor, key, result, origin).await?;
        let person = self
            .inner
            .store
            .person(&factor.account)
            .await?
            .ok_or_else(unknown)?;
        if person.disabled.is_some() {
            return Err(disabled(&person.name));
        }
        let entry = Entry {
            person: &person,
            by: By::Key(&factor.id),
            level: Level::Phishproof,
            way: "passkey",
            fresh: true,
            origin,
            device,
            must_change_password: false,
            counted: &[],
            announce: true,
        };
        let mut tx = self.inner.store.write().await?;
        self.still_holds(&mut tx, &entry).await?;
        let signed_in = self.begin_session(&mut tx, &entry).await?;
        tx.commit().await?;
        self.wake_office();
        Ok(signed_in)
    }

    /// Writes down what a use of a key changed, or locks it where there seems to be a copy.
    async fn use_key(
        &self,
        factor: &FactorRow,
        mut key: Passkey,
        result: Result<AuthenticationResult, WebauthnError>,
        origin: &CallerOrigin,
    ) -> Result<()> {
        let now = self.now();
        let cloned = || {
            Error::new(
                Kind::Unauthenticated,
                "passkey-cloned",
                "The counter of this key went backwards: there seems to be a copy of it. It is locked.",
            )
            .remedy("Sign in another way, remove the key and register another one.")
        };
        if factor.cloned.is_some() {
            return Err(cloned());
        }
        // The question may be minutes old and hold the counter of then; a copy may have been used since.
        let before = counter_of(&factor.secret)?;
        let result = match result {
            Ok(result) if (result.counter() > 0 || before > 0) && result.counter() <= before => {
                Err(WebauthnError::CredentialPossibleCompromise)
            }
            other => other,
        };
        let result = match result {
            Ok(result) => result,
            Err(WebauthnError::CredentialPossibleCompromise) => {
                let mut tx = self.inner.store.write().await?;
                if tx.lock_cloned_key(&factor.id, now).await? {
                    self.notify(
                        &mut tx,
                        &factor.account,
                        NoticeKind::PasskeyCloned,
                        &[("label", &factor.label)],
                        Some(origin),
                    )
                    .await?;
                    let actor = Actor::anonymous();
                    let detail = json!({"factor": factor.id});
                    self.note_sign_in(&mut tx, &actor, "passkey-cloned", &factor.account, detail)
                        .await?;
                }
                tx.commit().await?;
                self.wake_office();
                return Err(cloned());
            }
            Err(source) => return Err(refused(&source)),
        };
        key.update_credential(&result);
        let after = serde_json::to_string(&key)
            .map_err(|source| Error::internal("a key can not be kept", source))?;
        let mut tx = self.inner.store.write().await?;
        // Two answers of one key at the same moment: the second must not put the counter back.
        if !tx.use_key(&factor.id, &factor.secret, &after, now).await? {
            return Err(stale());
        }
        tx.commit().await
    }

    /// Asks the browser for one of an account's own keys.
    pub(crate) async fn ask_for_key(
        &self,
        account: &AccountId,
        session: Option<&SessionId>,
        purpose: &str,
    ) -> Result<Ceremony> {
        let keys: Vec<Passkey> = self
            .keys_of(account)
            .await?
            .into_iter()
            .map(|(_, key)| key)
            .collect();
        if keys.is_empty() {
            return Err(factor_unknown());
        }
        let (options, state) = self
            .relying()
            .await?
            .start_passkey_authentication(&keys)
            .map_err(|source| Error::internal("a question can not be asked", source))?;
        let options = Self::options(&options)?;
        let asker = match session {
            Some(session) => format!("session {}", session.0),
            None => format!("account {account}"),
        };
        self.ask(purpose, Some(account), session, &state, options, &asker)
            .await
    }

    /// Checks the answer to [`Registry::ask_for_key`]: by a key of this very account, with user verification, for this
    /// purpose, in this session.
    pub(crate) async fn check_key(
        &self,
        answer: &Answer,
        account: &AccountId,
        session: Option<&SessionId>,
        purpose: &str,
        origin: &CallerOrigin,
    ) -> Result<FactorId> {
        let row = self.taken(&answer.ceremony, purpose, session).await?;
        if row.account.as_ref() != Some(account) {
            return Err(stale());
        }
        let state: PasskeyAuthentication = serde_json::from_str(&row.state).map_err(state_lost)?;
        let credential: PublicKeyCredential = parsed(answer)?;
        let id = key_of(credential.get_credential_id());
        let factor = self
            .inner
            .store
            .factor_by_key(id)
            .await?
            .filter(|factor| factor.account == *account && factor.confirmed.is_some())
            .ok_or_else(|| {
                Error::new(
                    Kind::Unauthenticated,
                    "passkey-not-yours",
                    "This is not a key of your account.",
                )
                .remedy("Use one that stands on your security page.")
            })?;
        let key: Passkey = serde_json::from_str(&factor.secret)
            .map_err(|source| Error::internal("a stored key can not be read", source))?;
        let result = self
            .relying()
            .await?
            .finish_passkey_authentication(&credential, &state);
        self.use_key(&factor, key, result, origin).await?;
        Ok(factor.id)
    }

    /// Asks the holder of a session to prove themselves again with a passkey.
    ///
    /// # Errors
    /// `sign-in-needed`, `factor-unknown` where the account has none.
    pub async fn step_up_start(&self, actor: &Actor) -> Result<Ceremony> {
        let (account, session) = session_of(actor)?;
        self.ask_for_key(account, Some(&session.id), "step-up")
            .await
    }

    /// The holder proved themselves: the session goes on under a new secret, fresh for fifteen minutes.
    ///
    /// # Errors
    /// `session-over`, `ceremony-unknown`, `passkey-not-yours`, `passkey-refused`, `passkey-cloned`.
    pub async fn step_up_finish(
        &self,
        cookie: &str,
        answer: &Answer,
        origin: &CallerOrigin,
    ) -> Result<SignedIn> {
        let actor = self.actor_of_session(cookie).await?;
        let (account, session) = session_of(&actor)?;
        self.check_key(answer, account, Some(&session.id), "step-up", origin)
            .await?;
        let mut tx = self.inner.store.write().await?;
        let signed_in = self
            .lift(&mut tx, cookie, &actor, Level::Phishproof, "passkey")
            .await?;
        tx.commit().await?;
        Ok(signed_in)
    }

    /// Is the caller's session held by somebody who can show a passkey now?
    ///
    /// # Errors
    /// `sign-in-needed`.
    pub async fn has_key(&self, actor: &Actor) -> Result<bool> {
        let (account, _) = session_of(actor)?;
        Ok(!self.keys_of(account).await?.is_empty())
    }
}
