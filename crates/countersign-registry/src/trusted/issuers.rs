//! Whose identity tokens are taken at all, and with which keys they are checked.
//!
//! Issuers are an allow list: the built-in ones of the settings, and those that the operator added. A token of any other
//! issuer is refused before anything is fetched. Keys are fetched once and kept as long as the issuer says, within
//! bounds; a key id that is not among them is a reason to look again, but not more often than once a minute, and a
//! failed look is not repeated for ten seconds, whatever comes; while the issuer can not be reached the last keys go on being good for a day.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_trust::leaf::{self, LeafKind};
use countersign_trust::oidc::{
    Discovery, Jwks, MAX_DISCOVERY_BYTES, MAX_JWKS_BYTES, Provider, discovery_url,
};
use serde::Serialize;
use serde_json::json;

use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::Change;
use crate::model::{Actor, Identity, Time};
use crate::policy;
use crate::seams::OutsideRequest;
use crate::store::{IssuerRow, WRITE_CONFLICT};

/// Keys are looked at again after this time, in seconds, even where the issuer lets them be kept longer…
const FRESH_AT_MOST: i64 = 3_600;
/// …and not before this time, even where it does not.
const FRESH_AT_LEAST: i64 = 300;
/// Keys older than this, in seconds, are not used any more, even while the issuer can not be reached.
const STALE_AT_MOST: i64 = 86_400;
/// An unknown key id makes us look again no sooner than this many seconds after the last look.
const UNKNOWN_KEY_PAUSE: i64 = 60;
/// After a failed look the next one waits this many seconds.
const FAILED_PAUSE: i64 = 10;
/// Issuers whose keys are remembered; where each customer of a provider has one, people can name any number.
const SLOTS: usize = 1_024;
/// How long one answer of an issuer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// An issuer whose tokens are taken.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    /// What people call it.
    pub(super) name: String,
    /// Its URL, byte for byte as in its tokens.
    pub(super) url: String,
    pub(super) provider: Provider,
    ca_pem: Option<String>,
}

impl From<IssuerRow> for Issuer {
    fn from(row: IssuerRow) -> Self {
        Self {
            name: row.name,
            url: row.url,
            provider: row.provider,
            ca_pem: row.ca_pem,
        }
    }
}

impl Issuer {
    /// One that needs nobody to add it.
    fn builtin(provider: Provider, url: String) -> Self {
        Self {
            name: provider.title().to_owned(),
            url,
            provider,
            ca_pem: None,
        }
    }

    /// Certificate authorities in PEM that are trusted for it besides the machine's own.
    pub(super) fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }
}

/// An issuer in a list.
#[derive(Clone, Debug, Serialize)]
pub struct IssuerSummary {
    /// What people call it.
    pub name: String,
    /// Its URL, byte for byte as in its tokens.
    pub url: String,
    /// What its tokens look like.
    pub provider: Provider,
    /// It needs nobody to add it.
    pub builtin: bool,
    /// Its certificate is checked against an authority of the operator's too.
    pub private_ca: bool,
    /// When the operator added it.
    pub created: Option<Time>,
}

impl From<IssuerRow> for IssuerSummary {
    fn from(row: IssuerRow) -> Self {
        Self {
            name: row.name,
            url: row.url,
            provider: row.provider,
            builtin: false,
            private_ca: row.ca_pem.is_some(),
            created: Some(row.created),
        }
    }
}

/// An issuer to admit.
#[derive(Clone, Debug)]
pub struct NewIssuer {
    /// What to call it.
    pub name: String,
    /// Its URL.
    pub url: String,
    /// What its tokens look like.
    pub provider: Provider,
    /// Certificate authorities in PEM to trust for it besides the machine's own.
    pub ca_pem: Option<String>,
}

/// The keys of one issuer.
#[derive(Default)]
struct Slot {
    /// Held by the one that fetches.
    turn: Arc<tokio::sync::Mutex<()>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: Option<Keys>,
    /// When the last look began.
    tried: Option<Time>,
    /// Why the last look failed.
    problem: Option<String>,
}

#[derive(Clone)]
struct Keys {
    jwks: Arc<Jwks>,
    fetched: Time,
    fresh_until: Time,
}

impl Keys {
    fn usable(&self, now: Time) -> bool {
        self.fetched <= now && now < self.fetched.plus_seconds(STALE_AT_MOST)
    }
}

impl Slot {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The keys of all issuers that were ever asked for here.
#[derive(Default)]
pub(super) struct KeyCache(Mutex<HashMap<String, Arc<Slot>>>);

impl KeyCache {
    fn slot(&self, issuer: &Issuer) -> Arc<Slot> {
        // Another authority is another way to the keys: nothing learnt by the old one is used.
        let key = format!(
            "{}\n{}",
            issuer.url,
            issuer.ca_pem.as_deref().unwrap_or_default()
        );
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= SLOTS && !slots.contains_key(&key) {
            slots.retain(|_, slot| slot.known().keys.is_some());
            if slots.len() >= SLOTS {
                slots.clear();
            }
        }
        slots.entry(key).or_default().clone()
    }
}

fn unreachable(issuer: &Issuer, why: &str) -> Error {
    Error::new(
        Kind::Unavailable,
        "issuer-unreachable",
        format!(
            "The keys of {} ({}) can not be had now: {why}.",
            issuer.name, issuer.url
        ),
    )
    .remedy("Nothing was used up: run the step again in a minute. If it stays, the provider is down or this registry can not reach it.")
}

impl Registry {
    /// The admitted issuer with this URL.
    pub(super) async fn admitted(&self, url: &str) -> Result<Issuer> {
        let builtin = &self.inner.settings.trusted_publishing.builtin;
        if let Some(row) = self.inner.store.issuer_by_url(url).await? {
            return Ok(row.into());
        }
        let known = builtin
            .iter()
            .copied()
            .find(|provider| provider.owns_issuer(url));
        if let Some(provider) = known {
            // Where each customer has an issuer, only those that somebody registered are asked for keys: a token can
            // name any.
            let named =
                provider.issuer().is_some() || self.inner.store.has_publishers_of(url).await?;
            if named {
                return Ok(Issuer::builtin(provider, url.to_owned()));
            }
        }
        let shown: String = url.chars().take(200).collect();
        Err(Error::new(
            Kind::Rejected,
            "issuer-unknown",
            format!("Identity tokens of {shown:?} are not taken here."),
        )
        .remedy("GET /api/v1/issuers lists those that are; the operator adds others with `countersignd admin issuer add`."))
    }

    /// The issuer that a person means by a name, a preset's word, or a URL. Where each customer of a provider has one,
    /// the fields say which.
    pub(super) async fn issuer_named(
        &self,
        text: &str,
        fields: &BTreeMap<String, String>,
    ) -> Result<Issuer> {
        let rows = self.inner.store.issuers().await?;
        let added: Vec<String> = rows.iter().map(|row| row.name.clone()).collect();
        if let Some(row) = rows.iter().find(|row| row.name == text || row.url == text) {
            return Ok(row.clone().into());
        }
        let builtin = &self.inner.settings.trusted_publishing.builtin;
        // Clients that know kinds only mean the operator's own of that kind, where the public one is not admitted.
        let mut own = rows.iter().filter(|row| row.provider.as_str() == text);
        let own = match (own.next(), own.next()) {
            (Some(one), None) => Some(one.clone()),
            _ => None,
        };
        let meant = builtin.iter().copied().find_map(|provider| {
            let by_word = provider.as_str() == text || provider.title().eq_ignore_ascii_case(text);
            by_word
                .then(|| provider.issuer_for(fields))
                .flatten()
                .or_else(|| provider.owns_issuer(text).then(|| text.to_owned()))
                .map(|url| (provider, url))
        });
        if let Some((provider, url)) = meant {
            return Ok(Issuer::builtin(provider, url));
        }
        if let Some(row) = own {
            return Ok(row.into());
        }
        let mut error = Error::new(
            Kind::Rejected,
            "issuer-unknown",
            format!("There is no issuer {text:?} here."),
        );
        let mut known: Vec<String> = builtin
            .iter()
            .map(|provider| provider.as_str().to_owned())
            .collect();
        known.extend(added);
        error.remedy = Some(format!(
            "Use one of {} (circleci needs the field organization_id), or let the operator add yours with `countersignd admin issuer add`.",
            known.join(", ")
        ));
        Err(error)
    }

    /// The keys of an issuer that is no CI system: a provider that people sign in with.
    pub(crate) async fn keys_of_issuer(
        &self,
        name: &str,
        url: &str,
        ca_pem: Option<&str>,
        key_id: Option<&str>,
    ) -> Result<Arc<Jwks>> {
        let issuer = Issuer {
            name: name.to_owned(),
            url: url.to_owned(),
            provider: Provider::Generic,
            ca_pem: ca_pem.map(str::to_owned),
        };
        self.keys_for(&issuer, key_id).await
    }

    /// The keys of an issuer, among them the one of this id if it can be had.
    pub(super) async fn keys_for(
        &self,
        issuer: &Issuer,
        key_id: Option<&str>,
    ) -> Result<Arc<Jwks>> {
        let slot = self.inner.issuers.keys.slot(issuer);
        let before = self.now();
        let holds = |keys: &Keys| key_id.is_none_or(|id| keys.jwks.has(id));
        let due = |known: &Known, now: Time| {
            let pause = match &known.keys {
                Some(keys) if known.problem.is_none() && now < keys.fresh_until => {
                    UNKNOWN_KEY_PAUSE
                }
                _ if known.problem.is_some() => FAILED_PAUSE,
                _ => 0,
            };
            known
                .tried
                .is_none_or(|tried| tried.plus_seconds(pause) <= now || tried > now)
        };
        {
            let known = slot.known();
            if let Some(keys) = known.keys.as_ref().filter(|keys| keys.usable(before)) {
                let current = before < keys.fresh_until && holds(keys);
                if current || !due(&known, before) {
                    return Ok(keys.jwks.clone());
                }
            } else if !due(&known, before) {
                let why = known.problem.clone().unwrap_or_default();
                return Err(unreachable(issuer, &why));
            }
        }
        let fallback = slot
            .known()
            .keys
            .clone()
            .filter(|keys| keys.usable(before) && holds(keys));
        let turn = match &fallback {
            // Keys that are only due for a look serve meanwhile.
            Some(keys) => match slot.turn.clone().try_lock_owned() {
                Ok(turn) => turn,
                Err(_) => return Ok(keys.jwks.clone()),
            },
            None => slot.turn.clone().lock_owned().await,
        };
        let now = self.now();
        {
            // Whoever waited finds what the one before fetched, or why that failed.
            let mut known = slot.known();
            if !due(&known, now) {
                return match known.keys.as_ref().filter(|keys| keys.usable(now)) {
                    Some(keys) => Ok(keys.jwks.clone()),
                    None => Err(unreachable(
                        issuer,
                        known.problem.as_deref().unwrap_or_default(),
                    )),
                };
            }
            known.tried = Some(now);
        }
        // In a task of its own: a caller that hangs up must not leave a look without its end.
        let (registry, issuer, slot) = (self.clone(), issuer.clone(), slot.clone());
        tokio::spawn(async move {
            let looked = registry.look(&issuer, &slot, now).await;
            drop(turn);
            looked
        })
        .await
        .map_err(|source| Error::internal("the look at an issuer's keys broke off", source))?
    }

    /// Fetches the keys of an issuer and keeps them, or why they can not be had.
    async fn look(&self, issuer: &Issuer, slot: &Slot, now: Time) -> Result<Arc<Jwks>> {
        let fetched = self.fetch_keys(issuer).await;
        let mut known = slot.known();
        match fetched {
            Ok((jwks, max_age)) => {
                let fresh = max_age
                    .and_then(|age| i64::try_from(age.as_secs()).ok())
                    .unwrap_or(FRESH_AT_LEAST)
                    .clamp(FRESH_AT_LEAST, FRESH_AT_MOST);
                let jwks = Arc::new(jwks);
                known.problem = None;
                known.keys = Some(Keys {
                    jwks: jwks.clone(),
                    fetched: now,
                    fresh_until: now.plus_seconds(fresh),
                });
                Ok(jwks)
            }
            Err(why) => {
                tracing::warn!(
                    issuer = issuer.url,
                    why,
                    "the keys of an issuer can not be had"
                );
                known.problem = Some(why.clone());
                match known.keys.as_ref().filter(|keys| keys.usable(now)) {
                    Some(keys) => Ok(keys.jwks.clone()),
                    None => Err(unreachable(issuer, &why)),
                }
            }
        }
    }

    /// Discovery document, then keys (OpenID Connect Discovery 1.0). The reason of a failure is a clause.
    async fn fetch_keys(&self, issuer: &Issuer) -> Result<(Jwks, Option<Duration>), String> {
        let outside = &self.inner.seams.outside;
        let address = discovery_url(&issuer.url).map_err(|refused| refused.message)?;
        let ask = |url: String, most: usize| async move {
            outside
                .get(OutsideRequest {
                    url: &url,
                    most,
                    timeout: PATIENCE,
                    ca_pem: issuer.ca_pem.as_deref(),
                    accept: "application/json",
                    headers: &[],
                })
                .await
                .map_err(|error| format!("{url}: {error}"))
        };
        let answer = ask(address, MAX_DISCOVERY_BYTES).await?;
        let discovery =
            Discovery::parse(&answer.body, &issuer.url).map_err(|refused| refused.message)?;
        let answer = ask(discovery.jwks_uri, MAX_JWKS_BYTES).await?;
        let jwks = Jwks::parse(&answer.body).map_err(|refused| refused.message)?;
        Ok((jwks, answer.max_age))
    }

    /// Every issuer whose tokens are taken here.
    ///
    /// # Errors
    /// `sign-in-needed` on restricted instances.
    pub async fn issuers(&self, actor: &Actor) -> Result<Vec<IssuerSummary>> {
        policy::may_read(self.inner.settings.visibility, actor)?;
        let mut issuers: Vec<IssuerSummary> = self
            .inner
            .settings
            .trusted_publishing
            .builtin
            .iter()
            .map(|provider| IssuerSummary {
                name: provider.as_str().to_owned(),
                url: provider
                    .issuer()
                    .unwrap_or("https://oidc.circleci.com/org/ORGANISATION-ID")
                    .to_owned(),
                provider: *provider,
                builtin: true,
                private_ca: false,
                created: None,
            })
            .collect();
        let rows = self.inner.store.issuers().await?;
        issuers.extend(rows.into_iter().map(IssuerSummary::from));
        Ok(issuers)
    }

    /// Admits an issuer, once its discovery document and keys have been fetched and understood.
    ///
    /// # Errors
    /// `operator-needed`; `issuer-name`, `issuer-exists`, `issuer-unreachable`; a refused URL.
    pub async fn add_issuer(&self, actor: &Actor, new: NewIssuer) -> Result<IssuerSummary> {
        policy::may_operate(actor, "admit issuers")?;
        let name = new.name.trim().to_owned();
        let fits = !name.is_empty()
            && name.len() <= 64
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if !fits || name.parse::<Provider>().is_ok() {
            return Err(Error::new(
                Kind::Rejected,
                "issuer-name",
                format!("{name:?} can not be the name of an issuer."),
            )
            .remedy(
                "Use 1 to 64 ASCII letters, digits, - _ and ., and none of the presets' own words.",
            ));
        }
        let exists = |what: &str| {
            Error::new(
                Kind::Conflict,
                "issuer-exists",
                format!("There is an issuer {what} already."),
            )
            .remedy("List them with `countersignd admin issuer list`; remove one before you admit another in its place.")
        };
        let settings = &self.inner.settings.trusted_publishing;
        if settings
            .builtin
            .iter()
            .any(|provider| provider.owns_issuer(&new.url))
        {
            return Err(exists(&new.url));
        }
        let issuer = Issuer {
            name: name.clone(),
            url: new.url.clone(),
            provider: new.provider,
            ca_pem: new.ca_pem.clone(),
        };
        discovery_url(&issuer.url)?;
        self.fetch_keys(&issuer).await.map_err(|why| {
            let mut error = unreachable(&issuer, &why);
            error.remedy = Some(
                "The URL must be byte for byte that of the `iss` claim, over HTTPS. For a private certificate authority give --ca FILE."
                    .to_owned(),
            );
            error
        })?;
        let now = self.now();
        let row = IssuerRow {
            id: new_id(),
            name: name.clone(),
            url: new.url,
            provider: new.provider,
            ca_pem: new.ca_pem,
            created: now,
        };
        // Publishers that somebody registered while an issuer of this URL was removed must not come back with it.
        let left = self.inner.store.publishers_of_issuer(&row.url).await?;
        let mut tx = self.inner.store.write().await?;
        for publisher in &left {
            self.end_publisher(&mut tx, actor, publisher, "issuer-removed")
                .await?;
        }
        tx.insert_issuer(&row).await.map_err(|error| {
            if error.code == WRITE_CONFLICT {
                return exists(&format!("of this name or URL ({name})"));
            }
            error
        })?;
        let change =
            Change::registry(actor, LeafKind::PolicyChanged).way(leaf::Change::Added, None);
        self.record(
            &mut tx,
            change,
            json!({"issuer": row.url, "name": row.name}),
        )
        .await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(row.into())
    }

    /// No longer admits an issuer. Its publishers end with it, and with them the tokens that they minted.
    ///
    /// # Errors
    /// `operator-needed`, `issuer-unknown`.
    pub async fn remove_issuer(&self, actor: &Actor, name: &str) -> Result<()> {
        policy::may_operate(actor, "remove issuers")?;
        let rows = self.inner.store.issuers().await?;
        let Some(row) = rows
            .into_iter()
            .find(|row| row.name == name || row.url == name)
        else {
            return Err(Error::new(
                Kind::NotFound,
                "issuer-unknown",
                format!("The operator of this registry added no issuer {name:?}."),
            )
            .remedy("Built-in ones are switched off in the configuration: trusted_publishing.builtin_issuers."));
        };
        let now = self.now();
        let publishers = self.inner.store.publishers_of_issuer(&row.url).await?;
        let mut tx = self.inner.store.write().await?;
        for publisher in &publishers {
            self.end_publisher(&mut tx, actor, publisher, "issuer-removed")
                .await?;
        }
        if tx.remove_issuer(&row.id, now).await? {
            let change =
                Change::registry(actor, LeafKind::PolicyChanged).way(leaf::Change::Removed, None);
            self.record(
                &mut tx,
                change,
                json!({"issuer": row.url, "name": row.name}),
            )
            .await?;
        }
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// The account that acts, where it is one.
    pub(crate) fn account_of(actor: &Actor) -> Option<&crate::model::AccountId> {
        match &actor.identity {
            Identity::Account { id, .. } => Some(id),
            _ => None,
        }
    }
}
