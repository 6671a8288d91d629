//! Sign-in with an external OpenID provider: authorization code with PKCE, state and nonce. Who somebody is there is the
//! pair of issuer and subject, never an address. A link to an account is made only from a session whose holder proved
//! themselves just now.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_trust::digest::Sha256;
use countersign_trust::oidc::{
    Algorithm, Claims, Demands, Discovery, MAX_DISCOVERY_BYTES, MAX_TOKEN_BYTES, Unverified,
    discovery_url, verify,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;
use url::Url;

use super::{By, Entry, SignInStep, disabled, session_of};
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, Actor, CallerOrigin, Level, SessionFacts, Time};
use crate::seams::OutsideRequest;
use crate::settings::SignInProvider;
use crate::store::{CeremonyRow, LinkedRow, WRITE_CONFLICT};
use crate::texts::NoticeKind;

/// How long somebody may be away at the provider, in seconds.
const PATIENCE: i64 = 600;
/// How long one answer of a provider may take.
const ANSWER: Duration = Duration::from_secs(8);
/// How long a provider's addresses are believed, in seconds.
const FRESH: i64 = 3_600;
/// So many seconds our clock and a provider's may differ.
const LEEWAY: i64 = 60;
/// The longest life of an id token that is taken, in seconds.
const LIFE: i64 = 24 * 3_600;

/// A provider in a list.
#[derive(Clone, Debug, Serialize)]
pub struct ProviderSummary {
    /// What people call it.
    pub name: String,
    /// Its URL.
    pub issuer: String,
}

/// A link to an external identity, in a list.
#[derive(Clone, Debug, Serialize)]
pub struct LinkedIdentity {
    /// Its id.
    pub id: String,
    /// The provider's URL.
    pub issuer: String,
    /// What the provider called the person when it was linked.
    pub label: String,
    /// When it was linked.
    pub created: Time,
    /// When it was last used.
    pub last_used: Option<Time>,
}

/// Where to send the browser, and what to remember in it. No `Debug`.
pub struct Departure {
    /// The provider's address, with all that it needs.
    pub url: String,
    /// To be kept in a cookie of this browser until it comes back: an answer that somebody else began is refused.
    pub browser: String,
}

/// The addresses of providers that were asked for here.
#[derive(Default)]
pub(super) struct Endpoints(Mutex<HashMap<String, (Time, Addresses)>>);

#[derive(Clone)]
struct Addresses {
    authorization: String,
    token: String,
}

/// What waits for somebody to come back.
#[derive(Serialize, Deserialize)]
struct Away {
    provider: String,
    nonce: String,
    verifier: String,
    browser: Sha256,
    /// It links the identity to the account of the session instead of signing in.
    link: bool,
    /// It proves, for this case of recovery, who somebody is, instead of signing in.
    case: Option<String>,
}

/// What came of a trip to a provider.
pub enum ProviderReturn {
    /// The identity is linked to the caller's account.
    Linked,
    /// The identity counts as a proof in the recovery of the account that it is linked to.
    Proved,
    /// Somebody signs in.
    SignedIn(SignInStep),
}

fn failed(provider: &SignInProvider, why: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        "provider-failed",
        format!("{} did not finish the sign-in: {why}.", provider.name),
    )
    .remedy("Try again, or sign in another way.")
}

fn stale() -> Error {
    Error::new(
        Kind::Rejected,
        "sign-in-unknown",
        "This sign-in was finished before, took too long, or began in another browser.",
    )
    .remedy("Begin again from the sign-in page.")
}

impl Registry {
    /// The external providers that people sign in with here.
    pub fn sign_in_providers(&self) -> Vec<ProviderSummary> {
        self.inner
            .settings
            .sign_in
            .providers
            .iter()
            .map(|provider| ProviderSummary {
                name: provider.name.clone(),
                issuer: provider.issuer.clone(),
            })
            .collect()
    }

    fn provider(&self, name: &str) -> Result<&SignInProvider> {
        let providers = &self.inner.settings.sign_in.providers;
        providers
            .iter()
            .find(|provider| provider.name == name)
            .ok_or_else(|| {
                Error::new(
                    Kind::NotFound,
                    "provider-unknown",
                    "There is no such provider here.",
                )
                .remedy("Open the sign-in page again.")
            })
    }

    /// Where the provider sends people back to.
    fn way_back(&self) -> String {
        format!("{}/sign-in/provider", self.inner.settings.site())
    }

    /// Begins a sign-in with an external provider; with `link`, the linking of one to the caller's account.
    ///
    /// # Errors
    /// `provider-unknown`, `provider-failed`, `too-many-attempts`; `step-up-needed` to link.
    pub async fn provider_start(
        &self,
        name: &str,
        link: Option<&Actor>,
        origin: &CallerOrigin,
    ) -> Result<Departure> {
        let session = match link {
            Some(actor) => Some(self.fresh_session(actor)?),
            None => None,
        };
        self.depart(name, session, None, origin).await
    }

    /// Begins a sign-in with an external provider that is to be a proof in a case of recovery.
    ///
    /// # Errors
    /// `recovery-unknown`; like [`Registry::provider_start`].
    pub async fn provider_start_for_recovery(
        &self,
        name: &str,
        case: &str,
        origin: &CallerOrigin,
    ) -> Result<Departure> {
        let case = self.recovery_case_id(case).await?;
        self.depart(name, None, Some(case), origin).await
    }

    async fn depart(
        &self,
        name: &str,
        session: Option<(&AccountId, &SessionFacts)>,
        case: Option<String>,
        origin: &CallerOrigin,
    ) -> Result<Departure> {
        let provider = self.provider(name)?;
        self.count_question(&format!("network {}", origin.network()))
            .await?;
        let addresses = self.addresses_of(provider).await?;
        let (state, nonce) = (self.secret(), self.secret());
        let (verifier, browser) = (self.secret(), self.secret());
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::of(verifier.as_bytes()).0);
        let mut url = Url::parse(&addresses.authorization)
            .map_err(|_| failed(provider, "its address is not usable"))?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &provider.client_id)
            .append_pair("redirect_uri", &self.way_back())
            .append_pair("scope", "openid profile")
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            // Somebody else may sit at a browser in which a sign-in there has been open for days.
            .append_pair("max_age", &super::FRESH.to_string())
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        let away = Away {
            provider: provider.name.clone(),
            nonce,
            verifier,
            browser: Sha256::of(browser.as_bytes()),
            link: session.is_some(),
            case,
        };
        let away = serde_json::to_string(&away)
            .map_err(|source| Error::internal("the state of a sign-in can not be kept", source))?;
        self.inner
            .store
            .put_ceremony(&CeremonyRow {
                id: state,
                kind: "provider".to_owned(),
                account: session.map(|(account, _)| account.clone()),
                session: session.map(|(_, session)| session.id.clone()),
                state: away,
                expires: self.now().plus_seconds(PATIENCE),
            })
            .await?;
        Ok(Departure {
            url: url.into(),
            browser,
        })
    }

    /// The browser came back with a code. `actor` is who it is signed in as, which only linking asks for. What the
    /// provider says of how it checked the person counts where it did so just now (`auth_time`); else the sign-in is
    /// worth a password and is not fresh.
    ///
    /// # Errors
    /// `sign-in-unknown`, `provider-failed`, `provider-stale`, `identity-unknown`, `identity-taken`, `account-disabled`,
    /// `recovery-unknown`, `recovery-identity`.
    pub async fn provider_finish(
        &self,
        state: &str,
        code: &str,
        browser: &str,
        actor: Option<&Actor>,
        origin: &CallerOrigin,
        device: Option<&str>,
    ) -> Result<ProviderReturn> {
        let row = self
            .inner
            .store
            .take_ceremony(state)
            .await?
            .filter(|row| row.kind == "provider" && self.now() < row.expires)
            .ok_or_else(stale)?;
        let away: Away = serde_json::from_str(&row.state)
            .map_err(|source| Error::internal("the state of a sign-in can not be read", source))?;
        let begun_here: bool = Sha256::of(browser.as_bytes())
            .0
            .ct_eq(&away.browser.0)
            .into();
        if !begun_here {
            return Err(stale());
        }
        let provider = self.provider(&away.provider)?;
        let claims = self.trade(provider, code, &away).await?;
        let subject = text(&claims, "sub").unwrap_or_default().to_owned();
        if away.link {
            let actor = actor.ok_or_else(stale)?;
            let (account, session) = self.fresh_session(actor)?;
            if row.session.as_ref() != Some(&session.id) || row.account.as_ref() != Some(account) {
                return Err(stale());
            }
            self.link_identity(actor, account, provider, &claims, &subject, origin)
                .await?;
            return Ok(ProviderReturn::Linked);
        }
        let just_now = checked_just_now(&claims, self.now());
        let linked = self
            .inner
            .store
            .linked_identity(&provider.issuer, &subject)
            .await?;
        if let Some(case) = &away.case {
            if !just_now {
                return Err(Error::new(
                    Kind::Denied,
                    "provider-stale",
                    format!("{} did not check just now who you are.", provider.name),
                )
                .remedy("Sign out there, begin again, and sign in when you are asked to."));
            }
            let linked = linked.map(|row| (row.account, row.id));
            self.prove_recovery_identity(case, linked).await?;
            return Ok(ProviderReturn::Proved);
        }
        let linked = linked.ok_or_else(|| {
            Error::new(
                Kind::Unauthenticated,
                "identity-unknown",
                format!(
                    "No account here is linked to who you are at {}.",
                    provider.name
                ),
            )
            .remedy("Sign in another way and link it on the security page.")
        })?;
        let person = self
            .inner
            .store
            .person(&linked.account)
            .await?
            .ok_or_else(stale)?;
        if person.disabled.is_some() {
            return Err(disabled(&person.name));
        }
        let level = if just_now {
            worth(provider, &claims)
        } else {
            Level::Password
        };
        let mut tx = self.inner.store.write().await?;
        tx.touch_identity(&linked.id, self.now()).await?;
        tx.commit().await?;
        let has_key = self
            .inner
            .store
            .factors(&person.id)
            .await?
            .iter()
            .any(|row| super::confirmed(row) && row.kind != "totp");
        let entry = Entry {
            person: &person,
            by: By::Identity(&linked.id),
            level,
            way: "provider",
            // Who has a passkey confirms with it.
            fresh: just_now && !has_key,
            origin,
            device,
            must_change_password: false,
            counted: &[],
            announce: true,
        };
        let step = self.enter(entry, false).await?;
        self.wake_office();
        Ok(ProviderReturn::SignedIn(step))
    }

    async fn link_identity(
        &self,
        actor: &Actor,
        account: &AccountId,
        provider: &SignInProvider,
        claims: &Claims,
        subject: &str,
        origin: &CallerOrigin,
    ) -> Result<()> {
        let (_, session) = session_of(actor)?;
        let label: String = text(claims, "preferred_username")
            .or_else(|| text(claims, "name"))
            .unwrap_or(subject)
            .chars()
            .filter(|c| !c.is_control())
            .take(100)
            .collect();
        let row = LinkedRow {
            id: new_id(),
            account: account.clone(),
            issuer: provider.issuer.clone(),
            label,
            created: self.now(),
            last_used: None,
        };
        let mut tx = self.inner.store.write().await?;
        self.still_signed_in(&mut tx, session).await?;
        tx.link_identity(&row, subject).await.map_err(|error| {
            if error.code == WRITE_CONFLICT {
                return Error::new(
                    Kind::Conflict,
                    "identity-taken",
                    "Who you are there is linked to an account here already.",
                )
                .remedy("Sign in with it, and unlink it there first.");
            }
            error
        })?;
        let data = [("provider", provider.name.as_str())];
        self.notify(
            &mut tx,
            account,
            NoticeKind::IdentityLinked,
            &data,
            Some(origin),
        )
        .await?;
        let detail = json!({"issuer": provider.issuer});
        self.note_sign_in(&mut tx, actor, "identity-linked", account, detail)
            .await?;
        self.end_others(
            &mut tx,
            actor,
            account,
            Some(&session.id),
            "a way to sign in was linked",
        )
        .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// Takes a link to an external identity away.
    ///
    /// # Errors
    /// `step-up-needed`, `identity-not-linked`, `factor-last`.
    pub async fn unlink_identity(
        &self,
        actor: &Actor,
        id: &str,
        origin: &CallerOrigin,
    ) -> Result<()> {
        let (account, session) = self.fresh_session(actor)?;
        let mut tx = self.inner.store.write().await?;
        self.still_signed_in(&mut tx, session).await?;
        let keys = tx
            .factors(account)
            .await?
            .iter()
            .any(|row| super::usable(row) && row.kind != "totp");
        if !keys && !tx.has_password(account).await? {
            return Err(Error::new(
                Kind::Rejected,
                "factor-last",
                "Without it nobody could sign in to this account any more.",
            )
            .remedy("Add a passkey first."));
        }
        let Some(issuer) = tx.unlink_identity(account, id).await? else {
            return Err(Error::new(
                Kind::NotFound,
                "identity-not-linked",
                "Your account has no such link.",
            )
            .remedy("Open the security page again."));
        };
        let data = [("provider", issuer.as_str())];
        self.notify(
            &mut tx,
            account,
            NoticeKind::IdentityUnlinked,
            &data,
            Some(origin),
        )
        .await?;
        self.note_sign_in(
            &mut tx,
            actor,
            "identity-unlinked",
            account,
            json!({"issuer": issuer}),
        )
        .await?;
        self.end_others(
            &mut tx,
            actor,
            account,
            Some(&session.id),
            "a way to sign in was unlinked",
        )
        .await?;
        tx.commit().await?;
        self.wake_office();
        Ok(())
    }

    /// The external identities of an account.
    pub(super) async fn linked(&self, account: &AccountId) -> Result<Vec<LinkedIdentity>> {
        let rows = self.inner.store.linked_identities(account).await?;
        Ok(rows
            .into_iter()
            .map(|row| LinkedIdentity {
                id: row.id,
                issuer: row.issuer,
                label: row.label,
                created: row.created,
                last_used: row.last_used,
            })
            .collect())
    }

    /// Where a provider takes people and codes, as its discovery document says.
    async fn addresses_of(&self, provider: &SignInProvider) -> Result<Addresses> {
        let now = self.now();
        {
            let known = self
                .inner
                .door
                .endpoints
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some((at, addresses)) = known.get(&provider.issuer)
                && now < at.plus_seconds(FRESH)
            {
                return Ok(addresses.clone());
            }
        }
        let url = discovery_url(&provider.issuer)?;
        let answer = self
            .inner
            .seams
            .outside
            .get(OutsideRequest {
                url: &url,
                most: MAX_DISCOVERY_BYTES,
                timeout: ANSWER,
                ca_pem: provider.ca_pem.as_deref(),
                accept: "application/json",
                headers: &[],
            })
            .await
            .map_err(|error| failed(provider, &error.to_string()))?;
        // It must name this very issuer.
        Discovery::parse(&answer.body, &provider.issuer)?;
        let document: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| failed(provider, "its discovery document is not JSON"))?;
        let address = |name: &str| {
            document[name]
                .as_str()
                .filter(|text| Url::parse(text).is_ok_and(|url| url.scheme() == "https"))
                .map(str::to_owned)
                .ok_or_else(|| failed(provider, &format!("its discovery document names no {name}")))
        };
        let addresses = Addresses {
            authorization: address("authorization_endpoint")?,
            token: address("token_endpoint")?,
        };
        self.inner
            .door
            .endpoints
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(provider.issuer.clone(), (now, addresses.clone()));
        Ok(addresses)
    }

    /// Trades the code for an id token and checks that token: signature, issuer, audience, times, nonce.
    async fn trade(&self, provider: &SignInProvider, code: &str, away: &Away) -> Result<Claims> {
        let addresses = self.addresses_of(provider).await?;
        let form = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", &self.way_back())
            .append_pair("client_id", &provider.client_id)
            .append_pair("client_secret", &provider.client_secret)
            .append_pair("code_verifier", &away.verifier)
            .finish();
        let answer = self
            .inner
            .seams
            .outside
            .post(
                OutsideRequest {
                    url: &addresses.token,
                    most: 8 * MAX_TOKEN_BYTES,
                    timeout: ANSWER,
                    ca_pem: provider.ca_pem.as_deref(),
                    accept: "application/json",
                    headers: &[],
                },
                &form,
            )
            .await
            .map_err(|error| failed(provider, &error.to_string()))?;
        let answer: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| failed(provider, "its answer is not JSON"))?;
        let token = answer["id_token"]
            .as_str()
            .ok_or_else(|| failed(provider, "its answer holds no id token"))?;
        let token = Unverified::parse(token)?;
        let keys = self
            .keys_of_issuer(
                &provider.name,
                &provider.issuer,
                provider.ca_pem.as_deref(),
                token.key_id(),
            )
            .await?;
        let verified = verify(
            &token,
            &keys,
            &Demands {
                issuer: &provider.issuer,
                audience: &provider.client_id,
                algorithms: &Algorithm::ALL,
                longest_life: LIFE,
                jti_required: false,
            },
            self.now().seconds(),
        )?;
        let claims = verified.claims;
        let nonce = text(&claims, "nonce").unwrap_or_default();
        let ours: bool = nonce.as_bytes().ct_eq(away.nonce.as_bytes()).into();
        if !ours {
            return Err(failed(
                provider,
                "its answer is to another question (nonce)",
            ));
        }
        if text(&claims, "azp").is_some_and(|party| party != provider.client_id) {
            return Err(failed(provider, "its answer is for another client (azp)"));
        }
        if text(&claims, "sub").is_none_or(|sub| sub.is_empty() || sub.len() > 255) {
            return Err(failed(
                provider,
                "its answer does not say who you are (sub)",
            ));
        }
        Ok(claims)
    }
}

fn text<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

/// Does the provider say that it checked who this is within the time for which we would believe ourselves?
fn checked_just_now(claims: &Claims, now: Time) -> bool {
    claims
        .get("auth_time")
        .and_then(Value::as_i64)
        .is_some_and(|at| {
            at >= now.seconds() - super::FRESH - LEEWAY && at <= now.seconds() + LEEWAY
        })
}

/// What the provider's way to check a person is worth: the best of what it says in `acr` and `amr` that the operator
/// has given a worth.
fn worth(provider: &SignInProvider, claims: &Claims) -> Level {
    let mut said: Vec<&str> = text(claims, "acr").into_iter().collect();
    if let Some(Value::Array(methods)) = claims.get("amr") {
        said.extend(methods.iter().filter_map(Value::as_str));
    }
    provider
        .strengths
        .iter()
        .filter(|(word, _)| said.contains(&word.as_str()))
        .map(|(_, level)| *level)
        .max()
        .unwrap_or(Level::Password)
}
