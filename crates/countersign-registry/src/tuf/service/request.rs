//! What RSTUF's requests say, read within limits. Fields that are not known are passed over, as RSTUF does.

use std::collections::BTreeMap;

use countersign_trust::tuf::repository::{BINS, INDEX, MAX_BITS};
use countersign_trust::tuf::{
    Delegated, DelegatedRole, Delegations, Envelope, Key, Limits, RoleKeys, Scope, TOP_LEVEL,
    Targets,
};
use serde_json::{Value, json};

use super::refused_request;
use crate::error::{Error, Kind, Result};

/// The longest request, in bytes.
pub(super) const MAX_BODY: usize = 16 << 20;
/// How many custom roles a service may have.
const MAX_ROLES: usize = 256;
/// Bins of a service whose ceremony asks for none.
const FEWEST_BITS: u8 = 4;

pub(super) fn wrong(sentence: &str) -> Error {
    Error::new(
        Kind::Rejected,
        "tuf-service-request",
        format!("What was sent is not taken: {sentence}."),
    )
    .remedy("Mend it and send it again; nothing was changed.")
}

/// A request's JSON object. None may be nested deeper than metadata is.
pub(super) fn strict(body: &[u8]) -> Result<Value> {
    if body.len() > MAX_BODY {
        return Err(Error::new(
            Kind::TooLarge,
            "tuf-service-request",
            format!("A request has at most {MAX_BODY} bytes."),
        )
        .remedy("Send fewer artifacts at a time."));
    }
    let value: Value =
        serde_json::from_slice(body).map_err(|why| wrong(&format!("it is not JSON: {why}")))?;
    if !value.is_object() {
        return Err(wrong("it is no JSON object"));
    }
    Ok(value)
}

/// A list of texts; an absent one is empty.
pub(super) fn names(request: &Value, pointer: &str) -> Result<Vec<String>> {
    let Some(value) = request.pointer(pointer) else {
        return Ok(Vec::new());
    };
    let wrong = || wrong(&format!("`{pointer}` is no list of texts"));
    let items = value.as_array().ok_or_else(wrong)?;
    items
        .iter()
        .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
        .collect()
}

fn days(value: Option<&Value>, what: &str) -> Result<i64> {
    value
        .and_then(Value::as_i64)
        .filter(|days| (1..=3_650).contains(days))
        .ok_or_else(|| {
            wrong(&format!(
                "the expiration of {what} is no number of days from 1 to 3650"
            ))
        })
}

/// New expirations, in days by role.
pub(super) fn expirations(request: &Value) -> Result<BTreeMap<String, i64>> {
    let map = request.pointer("/settings/expiration");
    let map = map
        .and_then(Value::as_object)
        .ok_or_else(|| wrong("`settings.expiration` is no object"))?;
    let mut changes = BTreeMap::new();
    for (role, value) in map {
        if role == "root" || !(TOP_LEVEL.contains(&role.as_str()) || role == BINS) {
            return Err(wrong(&format!(
                "the expiration of {role:?} is not the server's to set"
            )));
        }
        changes.insert(role.clone(), days(Some(value), role)?);
    }
    Ok(changes)
}

/// What a ceremony asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    expirations: BTreeMap<String, i64>,
    bits: u8,
    /// Custom delegations as they were sent.
    delegations: Option<Value>,
}

impl Settings {
    /// From the request of a ceremony.
    pub(super) fn read(request: &Value) -> Result<Self> {
        let roles = request
            .pointer("/settings/roles")
            .and_then(Value::as_object)
            .ok_or_else(|| wrong("`settings.roles` is no object"))?;
        let mut expirations = BTreeMap::new();
        for role in TOP_LEVEL {
            let value = roles.get(role).and_then(|role| role.get("expiration"));
            expirations.insert(role.to_owned(), days(value, role)?);
        }
        let present = |name: &str| roles.get(name).filter(|value| !value.is_null());
        let (bins, delegations) = (present("bins"), present("delegations"));
        let mut bits = FEWEST_BITS;
        if let Some(bins) = bins {
            expirations.insert(BINS.to_owned(), days(bins.get("expiration"), BINS)?);
            let number = bins.get("number_of_delegated_bins").and_then(Value::as_u64);
            let number = number
                .filter(|number| number.is_power_of_two())
                .and_then(|number| u8::try_from(number.trailing_zeros()).ok())
                .filter(|bits| (1..=MAX_BITS).contains(bits));
            bits = number
                .ok_or_else(|| wrong("the number of bins is no power of two from 2 to 16384"))?;
        }
        if bins.is_some() == delegations.is_some() {
            return Err(wrong("it asks not for one of `bins` and `delegations`"));
        }
        Ok(Self {
            expirations,
            bits,
            delegations: delegations.cloned(),
        })
    }

    /// As it was kept.
    pub(super) fn stored(text: &str) -> Result<Self> {
        let damaged = || Error::internal("the settings of a service are damaged", text.to_owned());
        let value: Value = serde_json::from_str(text).map_err(|_| damaged())?;
        let expirations = value.get("expirations").and_then(Value::as_object);
        let expirations = expirations
            .ok_or_else(damaged)?
            .iter()
            .map(|(role, days)| Ok((role.clone(), days.as_i64().ok_or_else(damaged)?)))
            .collect::<Result<_>>()?;
        let bits = value.get("bits").and_then(Value::as_u64);
        Ok(Self {
            expirations,
            bits: bits
                .and_then(|bits| u8::try_from(bits).ok())
                .ok_or_else(damaged)?,
            delegations: value
                .get("delegations")
                .filter(|kept| !kept.is_null())
                .cloned(),
        })
    }

    pub(super) fn write(&self) -> String {
        json!({"expirations": self.expirations, "bits": self.bits, "delegations": self.delegations})
            .to_string()
    }

    pub(super) fn days(&self, role: &str) -> i64 {
        let day = if role == BINS { "snapshot" } else { role };
        let asked = self.expirations.get(role).or(self.expirations.get(day));
        asked.copied().unwrap_or(1)
    }

    pub(super) fn set_days(&mut self, changes: BTreeMap<String, i64>) {
        self.expirations.extend(changes);
    }

    pub(super) fn bits(&self) -> u8 {
        self.bits
    }

    /// The shortest life of what is not renewed by bins, snapshot and timestamp, in days.
    pub(super) fn shortest(&self) -> i64 {
        self.days("targets").min(self.days("root"))
    }

    /// Can the custom roles be read?
    pub(super) fn check_roles(&self) -> Result<()> {
        match &self.delegations {
            Some(value) => read_delegations(value).map(|_| ()),
            None => Ok(()),
        }
    }

    /// The custom roles that the ceremony asked for, with their keys; those without keys have the online key.
    pub(super) fn roles(
        &self,
        online: &Key,
    ) -> Result<Vec<(DelegatedRole, BTreeMap<String, Key>)>> {
        match &self.delegations {
            Some(value) => custom_roles(value, online),
            None => Ok(Vec::new()),
        }
    }
}

fn read_delegations(value: &Value) -> Result<Delegations> {
    // As part of a document: so they are read as strictly as any that is published.
    let document = json!({
        "signatures": [],
        "signed": {"_type": "targets", "spec_version": "1.0.34", "version": 1, "expires": "2100-01-01T00:00:00Z",
                   "targets": {}, "delegations": value},
    });
    let read = Envelope::<Targets>::parse(
        "delegations",
        document.to_string().as_bytes(),
        &Limits::default(),
    )
    .map_err(refused_request)?;
    let missing = || wrong("`delegations` is missing");
    read.document.delegations.ok_or_else(missing)
}

/// Custom roles with their keys, from a request's `delegations`.
pub(super) fn custom_roles(
    value: &Value,
    online: &Key,
) -> Result<Vec<(DelegatedRole, BTreeMap<String, Key>)>> {
    let delegations = read_delegations(value)?;
    let Delegated::Listed(listed) = delegations.roles else {
        return Err(wrong("`delegations.roles` is missing"));
    };
    if listed.is_empty() || listed.len() > MAX_ROLES {
        return Err(wrong("there are no delegated roles, or more than 256"));
    }
    let mut roles = Vec::with_capacity(listed.len());
    for mut role in listed {
        let reserved = role.name == INDEX || role.name.starts_with(&format!("{BINS}-"));
        let plain = |character: char| !character.is_control() && character != '/';
        if reserved || role.name.len() > 200 || !role.name.chars().all(plain) {
            return Err(wrong(&format!(
                "{:?} can not be the name of a delegated role",
                role.name.chars().take(80).collect::<String>()
            )));
        }
        let Scope::Paths(paths) = &role.scope else {
            return Err(wrong("a delegated role has patterns of paths"));
        };
        let good = |path: &String| {
            !path.is_empty()
                && path.len() <= 512
                && !path.starts_with('/')
                && path.split('/').all(|part| !["", ".", ".."].contains(&part))
        };
        if paths.is_empty() || paths.len() > 1_000 || !paths.iter().all(good) {
            return Err(wrong(
                "a delegated role has relative patterns of paths, from 1 to 1000",
            ));
        }
        let mut keys = BTreeMap::new();
        if role.keys.keyids.is_empty() {
            role.keys = RoleKeys {
                extra: role.keys.extra,
                ..RoleKeys::new(vec![online.id()], 1)
            };
            keys.insert(online.id(), online.clone());
        } else {
            let mut known: Vec<&[u8]> = Vec::new();
            for id in &role.keys.keyids {
                let key = delegations
                    .keys
                    .get(id)
                    .ok_or_else(|| wrong("a delegated role names a key that is not listed"))?;
                let spki = key
                    .spki()
                    .filter(|spki| !known.contains(spki))
                    .ok_or_else(|| wrong("a key is of no known kind, or listed twice"))?;
                known.push(spki);
                keys.insert(id.clone(), key.clone());
            }
            let online_among = keys.values().any(|key| key.spki() == online.spki());
            if online_among && keys.len() > 1 {
                return Err(wrong(
                    "a role is signed by the online key alone, or by people alone",
                ));
            }
            if role.keys.threshold > keys.len() as u64 {
                return Err(wrong("a delegated role has fewer keys than must sign"));
            }
        }
        roles.push((role, keys));
    }
    Ok(roles)
}

#[cfg(test)]
mod tests {
    use countersign_testkit::mangled::mangled;
    use countersign_trust::sigstore::Ed25519Signer;

    use super::*;

    #[test]
    fn requests_that_are_mangled_are_refused_or_read_within_their_limits() {
        let online = Ed25519Signer::new(&[7; 32]).unwrap();
        let online = Key::of(&online).unwrap();
        let role = |name: &str| {
            json!({
                "name": name, "terminating": true, "keyids": [online.id()], "threshold": 1, "paths": ["a/*"],
                "x-rstuf-expire-policy": 7,
            })
        };
        let public = online.field("keyval").cloned().unwrap();
        let key = json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": public});
        let request = json!({
            "settings": {
                "expiration": {"snapshot": 9, "targets": 30},
                "roles": {
                    "root": {"expiration": 365}, "targets": {"expiration": 365}, "snapshot": {"expiration": 1},
                    "timestamp": {"expiration": 1}, "delegations": {"keys": {online.id(): key}, "roles": [role("one"), role("two")]},
                },
            },
            "roles": ["snapshot", "one"],
        });
        let good = request.to_string();
        let read = |body: &[u8]| -> Result<usize> {
            let request = strict(body)?;
            let settings = Settings::read(&request)?;
            settings.check_roles()?;
            let roles = settings.roles(&online)?;
            let stored = Settings::stored(&settings.write())?;
            assert_eq!(stored.roles(&online)?.len(), roles.len());
            assert!((1..=3_650).contains(&settings.shortest()));
            assert!(
                expirations(&request)?
                    .values()
                    .all(|days| (1..=3_650).contains(days))
            );
            names(&request, "/roles")?;
            Ok(roles.len())
        };
        assert_eq!(read(good.as_bytes()).unwrap(), 2);
        let outcomes: Vec<_> = mangled(good.as_bytes(), 4_000)
            .map(|body| read(&body))
            .collect();
        let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        let codes: Vec<&str> = refused.map(|error| &*error.code).collect();
        assert!(
            codes.iter().all(|code| *code == "tuf-service-request"),
            "{codes:?}"
        );
        assert!(codes.len() > 1_000 && outcomes.iter().any(Result::is_ok));
    }
}
