//! What an issuer publishes: its discovery document (OpenID Connect Discovery 1.0 section 4) and keys (RFC 7517).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};
use url::Url;

use super::claims::strict_object;
use super::token::MAX_NAME;
use super::{Algorithm, Difference, MAX_DISCOVERY_BYTES, MAX_JWKS_BYTES, Refused, escaped, quoted};

/// The part of an issuer's discovery document that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Discovery {
    /// The issuer, byte for byte the one that was asked for.
    pub issuer: String,
    /// Where its keys are: an `https` URL without credentials or fragment.
    pub jwks_uri: String,
}

impl Discovery {
    /// Reads a discovery document (OpenID Connect Discovery 1.0 section 4.2) of at most
    /// [`MAX_DISCOVERY_BYTES`] bytes. Its `issuer` must be `expected_issuer` byte for byte (section 4.3): a
    /// document that names another issuer would let that one's keys speak for this one.
    ///
    /// # Errors
    ///
    /// `oidc-discovery-malformed`, `oidc-discovery-issuer-wrong`.
    pub fn parse(bytes: &[u8], expected_issuer: &str) -> Result<Self, Refused> {
        let malformed = |what: String| {
            Refused::new(
                "oidc-discovery-malformed",
                format!(
                    "the discovery document of {} is not usable: {what}",
                    quoted(expected_issuer)
                ),
                "have the issuer's operator serve a valid /.well-known/openid-configuration",
            )
        };
        if bytes.len() > MAX_DISCOVERY_BYTES {
            return Err(malformed(format!(
                "it has {} bytes, more than {MAX_DISCOVERY_BYTES}",
                bytes.len()
            )));
        }
        let document = strict_object(bytes).map_err(malformed)?;
        let text = |name: &str| match document.get(name) {
            Some(Value::String(text)) => Ok(text.as_str()),
            Some(_) => Err(malformed(format!("`{name}` is not a string"))),
            None => Err(malformed(format!("`{name}` is missing"))),
        };
        let issuer = text("issuer")?;
        if issuer != expected_issuer {
            return Err(Refused::new(
                "oidc-discovery-issuer-wrong",
                format!(
                    "the discovery document of {} names the issuer {}",
                    quoted(expected_issuer),
                    quoted(issuer)
                ),
                "register the issuer exactly as its tokens and its discovery document write it, \
                 including a final slash",
            )
            .with(Difference {
                claim: "issuer".to_owned(),
                expected: expected_issuer.to_owned(),
                seen: Some(escaped(issuer)),
                matched: false,
                advice: None,
            }));
        }
        let jwks_uri = text("jwks_uri")?;
        let url = Url::parse(jwks_uri)
            .ok()
            .filter(|url| jwks_uri.len() <= 2048 && plain_https(url) && url.fragment().is_none())
            .ok_or_else(|| {
                malformed(format!(
                    "`jwks_uri` is {}, not a plain https URL",
                    quoted(jwks_uri)
                ))
            })?;
        Ok(Self {
            issuer: issuer.to_owned(),
            jwks_uri: url.into(),
        })
    }
}

/// An `https` URL with a host and without credentials.
pub(crate) fn plain_https(url: &Url) -> bool {
    url.scheme() == "https"
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
}

/// Reads an issuer URL: `https`, no credentials, query or fragment, and written the one canonical way, since it is
/// compared byte for byte ever after (a final slash is the issuer's own choice and is kept).
///
/// # Errors
///
/// `oidc-issuer-invalid`.
pub(crate) fn issuer_url(issuer: &str) -> Result<Url, Refused> {
    let refused = |what: &str| {
        Refused::new(
            "oidc-issuer-invalid",
            format!("{} is not an issuer: {what}", quoted(issuer)),
            "give the URL that stands in the `iss` claim, as https://gitlab.example.com",
        )
    };
    if issuer.len() > MAX_NAME {
        return Err(refused("it has more than 255 bytes"));
    }
    let url = Url::parse(issuer).map_err(|_| refused("it is not a URL"))?;
    if !plain_https(&url) {
        return Err(refused(
            "it must begin with https:// and carry no user name or password",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("it must have no query and no fragment"));
    }
    let canonical = url.as_str();
    if canonical != issuer && canonical.strip_suffix('/') != Some(issuer) {
        return Err(refused(&format!(
            "it is not in canonical form, which is {canonical}"
        )));
    }
    Ok(url)
}

/// Where an issuer's discovery document is (OpenID Connect Discovery 1.0 section 4.1): the issuer without a final
/// slash, and `/.well-known/openid-configuration`.
///
/// # Errors
///
/// `oidc-issuer-invalid` for anything but a canonical `https` URL without credentials, query and fragment.
pub fn discovery_url(issuer: &str) -> Result<String, Refused> {
    issuer_url(issuer)?;
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    Ok(format!("{base}/.well-known/openid-configuration"))
}

/// The usable verification keys of an issuer, decoded once when they are read.
#[derive(Clone, Debug)]
pub struct Jwks {
    keys: Vec<Key>,
}

/// One verification key, good for one algorithm only.
#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Jwks {
    /// Reads a key set (RFC 7517 section 5) of at most [`MAX_JWKS_BYTES`] bytes. Kept are RSA keys of 2048 to 8192
    /// bits, P-256 and Ed25519 keys, each for the one algorithm of [`Algorithm`] that fits it. Skipped are keys of
    /// other types, sizes, uses and algorithms, symmetric keys (with which a token could be signed by anybody who
    /// can read the set), keys that carry their private half, and later keys with an id and algorithm that an
    /// earlier one has.
    ///
    /// # Errors
    ///
    /// `oidc-keys-malformed` for what is no key set; `oidc-keys-unusable` where no key is usable.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refused> {
        let malformed = |what: String| {
            Refused::new(
                "oidc-keys-malformed",
                format!("the issuer's key set is not usable: {what}"),
                "have the issuer's operator serve a valid JSON Web Key Set at its jwks_uri",
            )
        };
        if bytes.len() > MAX_JWKS_BYTES {
            return Err(malformed(format!(
                "it has {} bytes, more than {MAX_JWKS_BYTES}",
                bytes.len()
            )));
        }
        let document = strict_object(bytes).map_err(malformed)?;
        let Some(Value::Array(entries)) = document.get("keys") else {
            return Err(malformed("it has no list `keys`".to_owned()));
        };
        let mut keys: Vec<Key> = Vec::new();
        for key in entries.iter().filter_map(Value::as_object).filter_map(read) {
            let taken = |known: &Key| known.id == key.id && known.algorithm == key.algorithm;
            if key.id.is_none() || !keys.iter().any(taken) {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            return Err(Refused::new(
                "oidc-keys-unusable",
                format!(
                    "none of the {} keys of the issuer's key set is usable",
                    entries.len()
                ),
                "have the issuer sign with an RSA key of 2048 to 8192 bits, a P-256 key or an Ed25519 key",
            ));
        }
        Ok(Self { keys })
    }

    /// Whether a usable key has this id.
    pub fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(kid))
    }

    /// How many usable keys there are; at least one.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is usable; never true of a set that was read.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key that a token names, for the algorithm that it names. A token that names no key is only accepted
    /// where there is no choice.
    pub(crate) fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<&DecodingKey, Refused> {
        let named: Vec<&Key> = match kid {
            Some(_) => self
                .keys
                .iter()
                .filter(|key| key.id.as_deref() == kid)
                .collect(),
            None if self.keys.len() == 1 => self.keys.iter().collect(),
            None => {
                return Err(Refused::new(
                    "oidc-key-unknown",
                    format!(
                        "the token names no key (`kid`), and the issuer has {} of them",
                        self.keys.len()
                    ),
                    "have the issuer name the signing key in the token's header",
                ));
            }
        };
        if named.is_empty() {
            return Err(Refused::new(
                "oidc-key-unknown",
                format!(
                    "the token names the key {}, which the issuer does not publish",
                    quoted(kid.unwrap_or_default())
                ),
                "get a new token and try again; if the issuer has just changed its keys, in a minute",
            ));
        }
        named
            .iter()
            .find(|key| key.algorithm == algorithm)
            .map(|key| &key.key)
            .ok_or_else(|| {
                let fits: Vec<_> = named.iter().map(|key| key.algorithm.as_str()).collect();
                Refused::new(
                    "oidc-algorithm-refused",
                    format!(
                        "the token says {algorithm}, but the issuer's key is for {}",
                        fits.join(", ")
                    ),
                    "get the token from the issuer itself; no other algorithm is accepted for this key",
                )
            })
    }
}

/// Reads one key (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2), or nothing where it is not usable.
fn read(entry: &Map<String, Value>) -> Option<Key> {
    // A set that publishes private or symmetric material proves nothing by that key.
    if ["d", "p", "q", "k"]
        .iter()
        .any(|name| entry.contains_key(*name))
    {
        return None;
    }
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    let bytes = |name: &str| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let id = match entry.get("kid") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) if id.len() <= MAX_NAME => Some(id.clone()),
        Some(_) => return None,
    };
    if entry.contains_key("use") && text("use") != Some("sig") {
        return None;
    }
    if let Some(operations) = entry.get("key_ops") {
        let verifies = |list: &Vec<Value>| list.iter().any(|one| one == "verify");
        if !operations.as_array().is_some_and(verifies) {
            return None;
        }
    }
    let (algorithm, key) = match text("kty")? {
        "RSA" => {
            let (modulus, exponent) = (bytes("n")?, bytes("e")?);
            let modulus = unpadded(&modulus);
            let exponent = unpadded(&exponent);
            let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
            let odd = exponent.last()? & 1 == 1 && exponent != [1];
            if !(2048..=8192).contains(&bits) || exponent.len() > 4 || !odd {
                return None;
            }
            (
                Algorithm::Rs256,
                DecodingKey::from_rsa_raw_components(modulus, exponent),
            )
        }
        "EC" if text("crv") == Some("P-256") => {
            if bytes("x")?.len() != 32 || bytes("y")?.len() != 32 {
                return None;
            }
            let key = DecodingKey::from_ec_components(text("x")?, text("y")?).ok()?;
            (Algorithm::Es256, key)
        }
        "OKP" if text("crv") == Some("Ed25519") => {
            if bytes("x")?.len() != 32 {
                return None;
            }
            (
                Algorithm::EdDsa,
                DecodingKey::from_ed_components(text("x")?).ok()?,
            )
        }
        _ => return None,
    };
    if entry.contains_key("alg") && text("alg") != Some(algorithm.as_str()) {
        return None;
    }
    Some(Key { id, algorithm, key })
}

/// A big-endian number without leading zero bytes.
fn unpadded(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}
