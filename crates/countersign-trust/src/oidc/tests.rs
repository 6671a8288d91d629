//! Tests of tokens, keys, rules, registrations and sources, with keys that are made for each run.

mod keys;
mod registration;
mod rules;
mod source;
mod token;

use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

const ISSUER: &str = "https://token.actions.githubusercontent.com";
const AUDIENCE: &str = "https://registry.example/pypi";
const NOW: i64 = 1_800_000_000;

/// An issuer with a key of each kind.
struct Issuer {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Issuer {
    fn generate() -> Self {
        Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
        }
    }

    fn rsa_jwk(&self, kid: &str) -> Value {
        let public = self.rsa.public_key();
        let modulus = public.modulus().big_endian_without_leading_zero().to_vec();
        let exponent = public.exponent().big_endian_without_leading_zero().to_vec();
        json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": b64(modulus), "e": b64(exponent)})
    }

    fn ec_jwk(&self, kid: &str) -> Value {
        let point = self.ec.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": b64(&point[1..33]), "y": b64(&point[33..])})
    }

    fn ed_jwk(&self, kid: &str) -> Value {
        let point = self.ed.public_key().as_ref();
        json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(point)})
    }

    /// The keys `rsa`, `ec` and `ed`.
    fn jwks(&self) -> Jwks {
        key_set(&[self.rsa_jwk("rsa"), self.ec_jwk("ec"), self.ed_jwk("ed")])
    }

    /// Signs whatever header and claims by the key that `kind` names.
    fn sign_as(&self, kind: &str, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        let random = SystemRandom::new();
        let signature = match kind {
            "rsa" => {
                let mut signature = vec![0; self.rsa.public_modulus_len()];
                self.rsa
                    .sign(
                        &RSA_PKCS1_SHA256,
                        &random,
                        signed.as_bytes(),
                        &mut signature,
                    )
                    .unwrap();
                signature
            }
            "ec" => self
                .ec
                .sign(&random, signed.as_bytes())
                .unwrap()
                .as_ref()
                .to_vec(),
            "ed" => self.ed.sign(signed.as_bytes()).as_ref().to_vec(),
            other => panic!("no key {other}"),
        };
        format!("{signed}.{}", b64(signature))
    }

    /// A token by RS256 as honest issuers make it.
    fn token(&self, claims: &Value) -> String {
        self.sign_as(
            "rsa",
            r#"{"alg":"RS256","typ":"JWT","kid":"rsa"}"#,
            &claims.to_string(),
        )
    }
}

fn issuer() -> &'static Issuer {
    static ISSUER: OnceLock<Issuer> = OnceLock::new();
    ISSUER.get_or_init(Issuer::generate)
}

/// Another issuer, or an attacker.
fn stranger() -> &'static Issuer {
    static STRANGER: OnceLock<Issuer> = OnceLock::new();
    STRANGER.get_or_init(Issuer::generate)
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn key_set(keys: &[Value]) -> Jwks {
    Jwks::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap()
}

fn demands() -> Demands<'static> {
    Demands {
        issuer: ISSUER,
        audience: AUDIENCE,
        algorithms: &[Algorithm::Rs256],
        longest_life: 3600,
        jti_required: true,
    }
}

/// The registered claims of a good token, issued five seconds ago.
fn registered() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "repo:octo/sample:ref:refs/tags/v1", "jti": "a-1",
        "iat": NOW - 5, "nbf": NOW - 305, "exp": NOW + 295})
}

/// An object with some members replaced; `null` removes one.
fn with(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            object.as_object_mut().unwrap().remove(name);
        } else {
            object[name] = value.clone();
        }
    }
    object
}

fn claims(value: &Value) -> Claims {
    Claims::parse(value.to_string().as_bytes()).unwrap()
}
