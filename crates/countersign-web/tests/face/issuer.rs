//! GitHub's issuer and its interface, in memory: what a registry fetches, and identity tokens signed by the keys there.

use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_registry::{Outside, OutsideAnswer, OutsideError, OutsideRequest};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};

pub const URL: &str = "https://token.actions.githubusercontent.com";
/// Of the registry of the tests.
pub const AUDIENCE: &str = "http://localhost:8417/pypi";

/// Making a key takes a while; one for the whole test binary is enough.
fn key() -> &'static RsaKeyPair {
    static KEY: OnceLock<RsaKeyPair> = OnceLock::new();
    KEY.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
}

#[derive(Default)]
pub struct Issuer {
    /// Why nothing can be fetched, while that is so.
    pub down: Mutex<Option<OutsideError>>,
}

impl Outside for Issuer {
    fn get<'a>(
        &'a self,
        request: OutsideRequest<'a>,
    ) -> BoxFuture<'a, Result<OutsideAnswer, OutsideError>> {
        let answer = || {
            if let Some(down) = self.down.lock().unwrap().clone() {
                return Err(down);
            }
            let discovery = format!("{URL}/.well-known/openid-configuration");
            let keys = format!("{URL}/keys");
            let body = if request.url == discovery {
                json!({"issuer": URL, "jwks_uri": keys})
            } else if request.url == keys {
                let public = key().public_key();
                let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
                json!({"keys": [{
                    "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "test",
                    "n": encoded(public.modulus().big_endian_without_leading_zero()),
                    "e": encoded(public.exponent().big_endian_without_leading_zero()),
                }]})
            } else if request.url == "https://api.github.com/repos/octo/sample" {
                json!({"id": 74, "full_name": "octo/sample", "owner": {"id": 9, "login": "octo"}})
            } else {
                return Err(OutsideError::Status(404));
            };
            Ok(OutsideAnswer {
                body: body.to_string().into_bytes(),
                max_age: None,
            })
        };
        let answer = answer();
        async move { answer }.boxed()
    }

    fn post<'a>(
        &'a self,
        _: OutsideRequest<'a>,
        _: &'a str,
    ) -> BoxFuture<'a, Result<OutsideAnswer, OutsideError>> {
        async move { Err(OutsideError::Status(404)) }.boxed()
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// What the token of a job says that runs `release.yml` of `octo/sample` for a tag, in the environment `release`.
pub fn claims() -> Value {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let workflow = "octo/sample/.github/workflows/release.yml@refs/tags/v1.0";
    json!({
        "iss": URL,
        "aud": AUDIENCE,
        "iat": now(),
        "nbf": now(),
        "exp": now() + 300,
        "jti": format!("token-{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        "sub": "repo:octo/sample:environment:release",
        "repository": "octo/sample",
        "repository_id": "74",
        "repository_owner": "octo",
        "repository_owner_id": "9",
        "repository_visibility": "public",
        "ref": "refs/tags/v1.0",
        "ref_type": "tag",
        "sha": "7b1fd5d2f37f4e5fa65a7b5d1c6d2e1f0a9b8c7d",
        "workflow_ref": workflow,
        "job_workflow_ref": workflow,
        "event_name": "push",
        "environment": "release",
        "runner_environment": "github-hosted",
        "run_id": "4521",
        "run_attempt": "1",
        "actor": "mona-the-person",
        "actor_id": "1234567",
    })
}

/// [`claims`] with one of them changed, or left out for `null`.
pub fn claims_with(claim: &str, value: Value) -> Value {
    let mut all = claims();
    let members = all.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(claim);
    } else {
        members.insert(claim.to_owned(), value);
    }
    all
}

/// A token that says this, signed by the issuer's key.
pub fn signed(claims: &Value) -> String {
    let header = json!({"typ": "JWT", "alg": "RS256", "kid": "test"});
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", encoded(&header), encoded(claims));
    let mut signature = vec![0; key().public_modulus_len()];
    key()
        .sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            message.as_bytes(),
            &mut signature,
        )
        .unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}
