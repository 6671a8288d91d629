//! A compact JWS (RFC 7515 section 7.1) that carries claims (RFC 7519), and what is asked of it (RFC 8725).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::claims::strict_object;
use super::{
    Algorithm, Claims, Difference, Jwks, LEEWAY, MAX_TOKEN_BYTES, Refused, escaped, quoted,
};
use crate::digest::Sha256;

/// The longest issuer, key id or field, in bytes.
pub(crate) const MAX_NAME: usize = 255;
/// The longest `jti`, in bytes.
const MAX_JTI: usize = 1024;
/// The last second of the year 9999, after which no time is believed.
const LAST_SECOND: i64 = 253_402_300_799;

/// A token as it came: read within limits, nothing believed. It is a credential; its `Debug` shows none of it.
#[derive(Clone)]
pub struct Unverified {
    /// Header and claims as they were signed, in base64url with a dot between.
    signed: String,
    /// The signature in base64url.
    signature: String,
    algorithm: String,
    key_id: Option<String>,
    issuer: String,
    claims: Claims,
}

impl Unverified {
    /// Reads a compact JWS of at most [`MAX_TOKEN_BYTES`] bytes whose payload is a JSON object with an `iss`.
    ///
    /// Refused are encrypted tokens (five parts), nested ones (`cty`), extensions that must be understood (`crit`,
    /// RFC 7515 section 4.1.11) and unencoded payloads (`b64`, RFC 7797). Keys and addresses of keys in the header
    /// (`jwk`, `jku`, `x5c`, `x5u`) are ignored: keys come from the issuer's key set only.
    ///
    /// # Errors
    ///
    /// `oidc-token-too-large`, `oidc-token-malformed`, and `oidc-claim-missing` for a token without issuer.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Refused::new(
                "oidc-token-too-large",
                format!(
                    "the token has {} bytes, more than {MAX_TOKEN_BYTES}",
                    text.len()
                ),
                "ask the issuer for a token with fewer claims",
            ));
        }
        let parts: Vec<&str> = text.split('.').take(6).collect();
        let [header, payload, signature] = parts[..] else {
            return Err(malformed(if parts.len() == 5 {
                "it is encrypted (five parts), and this registry has no key for it".to_owned()
            } else {
                "it has not the three parts of a signed token".to_owned()
            }));
        };
        let decode = |name: &str, part: &str| {
            URL_SAFE_NO_PAD
                .decode(part)
                .ok()
                .filter(|bytes| !bytes.is_empty())
                .ok_or_else(|| malformed(format!("its {name} is not base64url without padding")))
        };
        let header = strict_object(&decode("header", header)?)
            .map_err(|why| malformed(format!("in its header, {why}")))?;
        for (name, why) in [
            ("crit", "extensions that must be understood"),
            ("b64", "an unencoded payload"),
            ("cty", "another token inside"),
        ] {
            if header.contains_key(name) {
                return Err(malformed(format!("its header announces {why} (`{name}`)")));
            }
        }
        match header.get("typ") {
            None => {}
            Some(Value::String(kind)) if kind.eq_ignore_ascii_case("JWT") => {}
            Some(kind) => {
                return Err(malformed(format!(
                    "its type is {}, not `JWT`",
                    quoted(&kind.to_string())
                )));
            }
        }
        let Some(Value::String(algorithm)) = header.get("alg") else {
            return Err(malformed("its header names no algorithm".to_owned()));
        };
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= MAX_NAME => Some(id.clone()),
            Some(_) => {
                return Err(malformed(
                    "its key id is not a string of at most 255 bytes".to_owned(),
                ));
            }
        };
        let claims = Claims::parse(&decode("payload", payload)?)
            .map_err(|why| malformed(format!("in its claims, {why}")))?;
        if signature.is_empty() {
            return Err(malformed("it is not signed at all".to_owned()));
        }
        decode("signature", signature)?;
        let issuer = match claims.get("iss") {
            Some(Value::String(issuer)) if issuer.len() <= MAX_NAME => issuer.clone(),
            None => return Err(missing("iss", "the issuer's URL")),
            Some(_) => {
                return Err(malformed(
                    "its issuer is not a string of at most 255 bytes".to_owned(),
                ));
            }
        };
        Ok(Self {
            // The split left nothing but dots between the parts.
            signed: text[..text.len() - signature.len() - 1].to_owned(),
            signature: signature.to_owned(),
            algorithm: algorithm.clone(),
            key_id,
            issuer,
            claims,
        })
    }

    /// The issuer that the token names; unverified, only good for choosing whose keys to try.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The id of the key that the token names; unverified.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The unverified claims, for messages to whoever sent the token only.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }
}

impl fmt::Debug for Unverified {
    /// Says who claims to have issued it, never the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// A token that its issuer signed, for this registry, for now.
#[derive(Clone, Debug)]
pub struct Verified {
    /// All claims.
    pub claims: Claims,
    /// `iat`, in seconds since 1970.
    pub issued: i64,
    /// `exp`, in seconds since 1970. The token may be used until [`LEEWAY`] seconds later.
    pub expires: i64,
    /// What may be seen only once per issuer: `jti:` and the SHA-256 of the `jti` in hex, or where there is none
    /// `jwt:` and the SHA-256 of what was signed. Not of the whole token: an ECDSA signature can be turned into
    /// another valid one by anybody.
    pub replay_key: String,
}

/// What is asked of a token besides a good signature.
#[derive(Clone, Copy, Debug)]
pub struct Demands<'a> {
    /// The issuer, byte for byte.
    pub issuer: &'a str,
    /// The one audience, byte for byte.
    pub audience: &'a str,
    /// The algorithms that this issuer is pinned to.
    pub algorithms: &'a [Algorithm],
    /// The longest time from `iat` to `exp`, in seconds.
    pub longest_life: i64,
    /// Whether this issuer always sends `jti`.
    pub jti_required: bool,
}

/// Checks a token at the time `now`, in seconds since 1970. In this order: issuer, algorithm, key, signature; then
/// what was signed: audience, `iat`, `exp`, `nbf`, lifetime, `jti`. So every refusal after `oidc-signature-wrong`
/// is about a token that its issuer really signed.
///
/// The algorithm in the token only chooses among those pinned, and must be the one of the key besides.
///
/// # Errors
///
/// `oidc-issuer-wrong`, `oidc-algorithm-refused`, `oidc-key-unknown`, `oidc-signature-wrong`, `oidc-claim-missing`,
/// `oidc-audience-wrong`, `oidc-not-yet-valid`, `oidc-expired`, `oidc-lifetime-too-long`, `oidc-token-malformed`.
/// Where a claim differs, `differences` says what was expected and what was seen.
pub fn verify(
    token: &Unverified,
    keys: &Jwks,
    demands: &Demands<'_>,
    now: i64,
) -> Result<Verified, Refused> {
    if token.issuer != demands.issuer {
        return Err(Refused::new(
            "oidc-issuer-wrong",
            format!(
                "the token was issued by {}, not by {}",
                quoted(&token.issuer),
                quoted(demands.issuer)
            ),
            "use a token of the registered issuer; the text must be the same byte for byte",
        )
        .with(difference(
            "iss",
            demands.issuer,
            Some(escaped(&token.issuer)),
        )));
    }
    let algorithm = demands
        .algorithms
        .iter()
        .copied()
        .find(|pinned| pinned.as_str() == token.algorithm)
        .ok_or_else(|| {
            let pinned: Vec<_> = demands.algorithms.iter().map(|one| one.as_str()).collect();
            Refused::new(
                "oidc-algorithm-refused",
                format!(
                    "the token says it is signed by {}; this issuer signs by {}",
                    quoted(&token.algorithm),
                    pinned.join(" or ")
                ),
                "get the token from the issuer itself; no other algorithm is accepted",
            )
        })?;
    let key = keys.find(token.key_id(), algorithm)?;
    let crypto_algorithm = match algorithm {
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
    };
    let genuine = jsonwebtoken::crypto::verify(
        &token.signature,
        token.signed.as_bytes(),
        key,
        crypto_algorithm,
    );
    // An error here is a signature that cannot even be decoded for this key: no better than a wrong one.
    if !matches!(genuine, Ok(true)) {
        return Err(Refused::new(
            "oidc-signature-wrong",
            format!("the issuer's key did not make the token's {algorithm} signature"),
            "pass the token on unchanged, as the issuer gave it",
        ));
    }
    audience(&token.claims, demands.audience)?;
    let (issued, expires) = times(&token.claims, demands.longest_life, now)?;
    Ok(Verified {
        claims: token.claims.clone(),
        issued,
        expires,
        replay_key: replay_key(token, demands.jti_required)?,
    })
}

/// One audience, ours. A list is refused even if it holds ours alone: where several services accept one token, each
/// of them can use it at the others.
fn audience(claims: &Claims, expected: &str) -> Result<(), Refused> {
    let remedy = format!("ask the issuer for a token with the audience {expected} and no other");
    let refused = |message: String, seen: String| {
        Refused::new("oidc-audience-wrong", message, remedy.clone()).with(difference(
            "aud",
            expected,
            Some(seen),
        ))
    };
    match claims.get("aud") {
        None => Err(missing("aud", expected)),
        Some(Value::String(seen)) if seen == expected => Ok(()),
        Some(Value::String(seen)) => Err(refused(
            format!(
                "the token is for the audience {}, not for {}",
                quoted(seen),
                quoted(expected)
            ),
            escaped(seen),
        )),
        Some(Value::Array(list)) => Err(refused(
            format!(
                "the token's audience is a list of {}; it must be the one text {}",
                list.len(),
                quoted(expected)
            ),
            escaped(&Value::from(list.clone()).to_string()),
        )),
        Some(other) => Err(refused(
            "the token's audience is not a text".to_owned(),
            escaped(&other.to_string()),
        )),
    }
}

/// `iat` and `exp`, checked, and `nbf` where it is there.
fn times(claims: &Claims, longest_life: i64, now: i64) -> Result<(i64, i64), Refused> {
    let issued = time(claims, "iat")?.ok_or_else(|| missing("iat", "a time"))?;
    let expires = time(claims, "exp")?.ok_or_else(|| missing("exp", "a time"))?;
    if expires <= issued {
        return Err(malformed(format!(
            "it expires ({expires}) no later than it was issued ({issued})"
        )));
    }
    if now >= expires.saturating_add(LEEWAY) {
        return Err(Refused::new(
            "oidc-expired",
            format!(
                "the token expired {} seconds ago, at {expires}",
                now.saturating_sub(expires)
            ),
            "ask for the token right before it is used, in the same job",
        )
        .with(difference(
            "exp",
            &format!("later than {}", now.saturating_sub(LEEWAY)),
            Some(expires.to_string()),
        )));
    }
    let not_before = time(claims, "nbf")?;
    for (name, begins) in [("iat", Some(issued)), ("nbf", not_before)] {
        if let Some(begins) = begins.filter(|begins| *begins > now.saturating_add(LEEWAY)) {
            return Err(Refused::new(
                "oidc-not-yet-valid",
                format!(
                    "the token is valid only in {} seconds, from {begins} (`{name}`)",
                    begins.saturating_sub(now)
                ),
                "try again then; if that is wrong, set the clock of the issuer or of this registry",
            )
            .with(difference(
                name,
                &format!("no later than {}", now.saturating_add(LEEWAY)),
                Some(begins.to_string()),
            )));
        }
    }
    let life = expires - issued;
    if life > longest_life {
        return Err(Refused::new(
            "oidc-lifetime-too-long",
            format!("the token lives {life} seconds; at most {longest_life} are accepted"),
            "ask the issuer for a token with a shorter lifetime",
        )
        .with(difference(
            "exp",
            &format!("at most {longest_life} seconds after `iat`, {issued}"),
            Some(expires.to_string()),
        )));
    }
    Ok((issued, expires))
}

/// A NumericDate (RFC 7519 section 2) in whole seconds. Fractions are refused, but `1700000000.0` is whole.
fn time(claims: &Claims, name: &str) -> Result<Option<i64>, Refused> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let whole = |number: &f64| number.fract() == 0.0 && number.abs() <= LAST_SECOND as f64;
    value
        .as_i64()
        .or_else(|| value.as_f64().filter(whole).map(|number| number as i64))
        .filter(|seconds| (0..=LAST_SECOND).contains(seconds))
        .map(Some)
        .ok_or_else(|| {
            malformed(format!(
                "`{name}` is {}, not a time in whole seconds since 1970",
                quoted(&value.to_string())
            ))
        })
}

fn replay_key(token: &Unverified, jti_required: bool) -> Result<String, Refused> {
    match token.claims.get("jti") {
        Some(Value::String(jti)) if !jti.is_empty() && jti.len() <= MAX_JTI => {
            Ok(format!("jti:{}", Sha256::of(jti.as_bytes()).to_hex()))
        }
        Some(_) => Err(malformed(format!(
            "`jti` is not a text of 1 to {MAX_JTI} bytes"
        ))),
        None if jti_required => Err(missing("jti", "the token's own id")),
        None => Ok(format!(
            "jwt:{}",
            Sha256::of(token.signed.as_bytes()).to_hex()
        )),
    }
}

fn difference(claim: &str, expected: &str, seen: Option<String>) -> Difference {
    Difference {
        claim: claim.to_owned(),
        expected: expected.to_owned(),
        seen,
        matched: false,
        advice: None,
    }
}

fn missing(claim: &str, expected: &str) -> Refused {
    Refused::new(
        "oidc-claim-missing",
        format!("the token has no `{claim}`"),
        "use an ID token of a CI system that is accepted here, unchanged",
    )
    .with(difference(claim, expected, None))
}

fn malformed(what: String) -> Refused {
    Refused::new(
        "oidc-token-malformed",
        format!("the token is not usable: {what}"),
        "pass the whole token on as the issuer gave it, without quotes and line breaks",
    )
}
