//! What a person carries, in software: a passkey (one ES256 key), codes by time, and an issuer's key for identity tokens.
//! All keys come from the target's seed, and ES256 signatures are deterministic (RFC 6979), so a recording replays.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::script::Target;

/// A key for a purpose, from the seed.
fn key(target: &Target, purpose: &str) -> SigningKey {
    let mut count = 0_u32;
    loop {
        let digest = Sha256::new()
            .chain_update(target.seed)
            .chain_update(purpose.as_bytes())
            .chain_update(count.to_be_bytes())
            .finalize();
        // All but one in 2^32 digests are keys.
        if let Ok(key) = SigningKey::from_slice(&digest) {
            return key;
        }
        count += 1;
    }
}

fn point(key: &SigningKey) -> Vec<u8> {
    key.verifying_key().to_sec1_point(false).as_bytes().to_vec()
}

/// A passkey in software.
#[derive(Clone)]
pub(super) struct Passkey {
    key: SigningKey,
    id: Vec<u8>,
    holder: Vec<u8>,
    counter: u32,
    origin: String,
    host: String,
}

impl Passkey {
    /// One for this registry.
    pub(super) fn new(target: &Target, name: &str) -> Self {
        let key = key(target, name);
        let host = url::Url::parse(&target.site)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned))
            .unwrap_or_default();
        Self {
            id: Sha256::digest(point(&key)).to_vec(),
            key,
            holder: Vec::new(),
            counter: 0,
            origin: target.site.clone(),
            host,
        }
    }

    /// The credential that answers the options of a registration.
    pub(super) fn create(&mut self, options: &Value) -> Option<Value> {
        let options = &options["publicKey"];
        self.holder = URL_SAFE_NO_PAD
            .decode(options["user"]["id"].as_str()?)
            .ok()?;
        let client = self.client_data("webauthn.create", options);
        let data = self.authenticator_data(true, true);
        // CBOR: {"fmt": "none", "attStmt": {}, "authData": data}
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(u8::try_from(data.len()).ok()?);
        object.extend(data);
        Some(self.credential(&json!({
            "attestationObject": URL_SAFE_NO_PAD.encode(object),
            "clientDataJSON": URL_SAFE_NO_PAD.encode(client),
            "transports": [],
        })))
    }

    /// The credential that answers the options of a sign-in.
    pub(super) fn get(&mut self, options: &Value, verified: bool) -> Option<Value> {
        options["publicKey"]["challenge"].as_str()?;
        let client = self.client_data("webauthn.get", &options["publicKey"]);
        let data = self.authenticator_data(false, verified);
        let signed = [data.as_slice(), &Sha256::digest(&client)].concat();
        let signature: Signature = self.key.sign(&signed);
        Some(self.credential(&json!({
            "authenticatorData": URL_SAFE_NO_PAD.encode(data),
            "clientDataJSON": URL_SAFE_NO_PAD.encode(client),
            "signature": URL_SAFE_NO_PAD.encode(signature.to_der().as_bytes()),
            "userHandle": URL_SAFE_NO_PAD.encode(&self.holder),
        })))
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        json!({"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false})
            .to_string()
            .into_bytes()
    }

    fn authenticator_data(&mut self, attested: bool, verified: bool) -> Vec<u8> {
        self.counter += 1;
        let mut data = Sha256::digest(self.host.as_bytes()).to_vec();
        // Present; verified; with the data of a new key.
        data.push(0x01 | if verified { 0x04 } else { 0 } | if attested { 0x40 } else { 0 });
        data.extend(self.counter.to_be_bytes());
        if attested {
            data.extend([0; 16]);
            data.extend(32_u16.to_be_bytes());
            data.extend(&self.id);
            // COSE: {1: 2, 3: -7, -1: 1, -2: x, -3: y}
            let point = point(&self.key);
            data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
            data.extend(point.get(1..33).unwrap_or_default());
            data.extend([0x22, 0x58, 0x20]);
            data.extend(point.get(33..65).unwrap_or_default());
        }
        data
    }

    fn credential(&self, response: &Value) -> Value {
        let id = URL_SAFE_NO_PAD.encode(&self.id);
        json!({"id": id, "rawId": id, "type": "public-key", "extensions": {}, "response": response})
    }
}

/// HMAC-SHA1 (RFC 2104), which codes by time are made of; `None` for a key that is longer than those of apps.
fn hmac_sha1(key: &[u8], message: &[u8]) -> Option<[u8; 20]> {
    use sha1::Digest as _;
    let mut block = [0_u8; 64];
    block.get_mut(..key.len())?.copy_from_slice(key);
    let inner = Sha1::new()
        .chain_update(block.map(|byte| byte ^ 0x36))
        .chain_update(message)
        .finalize();
    let outer = Sha1::new()
        .chain_update(block.map(|byte| byte ^ 0x5c))
        .chain_update(inner)
        .finalize();
    Some(outer.into())
}

/// The six digits of a secret (base32, RFC 4648) at a time in seconds since 1970 (RFC 6238, steps of 30 seconds).
pub(super) fn code(secret: &str, now: i64) -> Option<String> {
    let (mut bits, mut count, mut key) = (0_u32, 0, Vec::new());
    for c in secret.bytes().filter(|c| !matches!(c, b' ' | b'=' | b'-')) {
        let value = match c.to_ascii_uppercase() {
            c @ b'A'..=b'Z' => c - b'A',
            c @ b'2'..=b'7' => c - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            key.push((bits >> count & 0xff) as u8);
        }
    }
    let step = u64::try_from(now.div_euclid(30)).ok()?;
    let mac = hmac_sha1(&key, &step.to_be_bytes())?;
    let at = usize::from(mac[19] & 0x0f);
    let word = u32::from_be_bytes(mac.get(at..at + 4)?.try_into().ok()?) & 0x7fff_ffff;
    Some(format!("{:06}", word % 1_000_000))
}

/// The issuer's key as a JWK set.
pub(super) fn jwks(target: &Target) -> String {
    let point = point(&key(target, "issuer"));
    let part = |range: std::ops::Range<usize>| {
        URL_SAFE_NO_PAD.encode(point.get(range).unwrap_or_default())
    };
    json!({"keys": [{
        "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "canary", "x": part(1..33), "y": part(33..65),
    }]})
    .to_string()
}

/// An identity token that says this.
pub(super) fn identity_token(target: &Target, claims: &Value) -> String {
    let header = json!({"typ": "JWT", "alg": "ES256", "kid": "canary"});
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encoded(&header), encoded(claims));
    let signature: Signature = key(target, "issuer").sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
}

/// The key of a secret scanner as it publishes it (SubjectPublicKeyInfo of a P-256 key, PEM).
pub(super) fn scanner_keys(target: &Target) -> String {
    // SEQUENCE { SEQUENCE { id-ecPublicKey, prime256v1 }, BIT STRING }
    let mut spki =
        hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap_or_default();
    spki.extend(point(&key(target, "scanner")));
    let encoded = STANDARD.encode(spki);
    // Lines of 64 characters (RFC 7468).
    let lines: Vec<&str> = (0..encoded.len())
        .step_by(64)
        .filter_map(|at| encoded.get(at..encoded.len().min(at + 64)))
        .collect();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    );
    json!({"public_keys": [{"key_identifier": "canary", "key": pem, "is_current": true}]})
        .to_string()
}

/// A scanner's signature over a report.
pub(super) fn scanner_signature(target: &Target, report: &[u8]) -> String {
    let signature: Signature = key(target, "scanner").sign(report);
    STANDARD.encode(signature.to_der().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_specification() {
        // RFC 6238, appendix B, for SHA-1; the last six of its eight digits.
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        for (time, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(secret, time).unwrap(), expected);
        }
        assert_eq!(code("not base32!", 59), None);
    }
}
