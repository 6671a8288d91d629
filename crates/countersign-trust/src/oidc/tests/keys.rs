use super::*;

fn discovery(document: &Value) -> Result<Discovery, Refused> {
    Discovery::parse(document.to_string().as_bytes(), ISSUER)
}

#[test]
fn a_discovery_document_gives_the_address_of_the_keys() {
    let read = discovery(
        &json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/jwks"),
        "claims_supported": ["sub", "aud"], "id_token_signing_alg_values_supported": ["RS256"]}),
    )
    .unwrap();
    assert_eq!(read.issuer, ISSUER);
    assert_eq!(read.jwks_uri, format!("{ISSUER}/jwks"));
}

#[test]
fn a_discovery_document_that_names_another_issuer_is_refused() {
    for wrong in [
        "https://token.actions.githubusercontent.com/",
        "https://evil.example",
        "https://TOKEN.actions.githubusercontent.com",
    ] {
        let refused = discovery(&json!({"issuer": wrong, "jwks_uri": "https://evil.example/keys"}))
            .unwrap_err();
        assert_eq!(refused.code, "oidc-discovery-issuer-wrong");
        assert_eq!(refused.differences[0].expected, ISSUER);
    }
}

#[test]
fn a_discovery_document_leads_to_https_only() {
    for wrong in [
        json!("http://token.actions.githubusercontent.com/jwks"),
        json!("file:///etc/passwd"),
        json!("https://user:pass@keys.example/"),
        json!("https://keys.example/#part"),
        json!("//keys.example/"),
        json!("keys"),
        json!(format!("https://keys.example/{}", "x".repeat(2048))),
        json!(7),
        json!(null),
    ] {
        let refused = discovery(&json!({"issuer": ISSUER, "jwks_uri": wrong})).unwrap_err();
        assert_eq!(refused.code, "oidc-discovery-malformed", "{wrong}");
    }
}

#[test]
fn a_discovery_document_that_is_none_is_refused() {
    let large = json!({"issuer": ISSUER, "jwks_uri": "https://keys.example/",
        "pad": "x".repeat(MAX_DISCOVERY_BYTES)})
    .to_string();
    let twice = format!(
        "{{\"issuer\":\"{ISSUER}\",\"issuer\":\"{ISSUER}\",\"jwks_uri\":\"https://keys.example/\"}}"
    );
    let wrong: [&[u8]; 7] = [
        b"",
        b"<html></html>",
        b"[]",
        b"\xff\xfe",
        b"{}",
        large.as_bytes(),
        twice.as_bytes(),
    ];
    for bytes in wrong {
        let refused = Discovery::parse(bytes, ISSUER).unwrap_err();
        assert_eq!(refused.code, "oidc-discovery-malformed");
    }
}

#[test]
fn the_discovery_document_of_an_issuer_is_below_it() {
    for (issuer, url) in [
        (
            "https://gitlab.com",
            "https://gitlab.com/.well-known/openid-configuration",
        ),
        (
            "https://idp.example/",
            "https://idp.example/.well-known/openid-configuration",
        ),
        (
            "https://localhost:8443/github",
            "https://localhost:8443/github/.well-known/openid-configuration",
        ),
        (
            "https://idp.example/a/",
            "https://idp.example/a/.well-known/openid-configuration",
        ),
    ] {
        assert_eq!(discovery_url(issuer).unwrap(), url);
    }
}

#[test]
fn an_issuer_that_could_be_read_in_two_ways_is_refused() {
    for wrong in [
        "",
        "gitlab.com",
        "http://gitlab.com",
        "https://",
        "https://user@gitlab.com",
        "https://user:pass@gitlab.com",
        "https://gitlab.com?x=1",
        "https://gitlab.com/#x",
        "https://GitLab.com",
        "https://gitlab.com:443",
        "https://gitlab.com/a/../b",
        "https:\\\\gitlab.com",
        "https:gitlab.com",
        "https://gitlab.com ",
        "https://git\tlab.com",
        "https://gıtlab.com",
        &format!("https://gitlab.com/{}", "x".repeat(255)),
    ] {
        assert_eq!(
            discovery_url(wrong).unwrap_err().code,
            "oidc-issuer-invalid",
            "{wrong}"
        );
    }
}

#[test]
fn the_good_keys_of_a_set_are_kept() {
    let jwks = issuer().jwks();
    assert_eq!(jwks.len(), 3);
    assert!(!jwks.is_empty());
    assert!(jwks.has("rsa") && jwks.has("ec") && jwks.has("ed"));
    assert!(!jwks.has("other") && !jwks.has(""));
}

#[test]
fn keys_that_must_not_verify_are_skipped() {
    let rsa = issuer().rsa_jwk("k");
    let modulus = |bytes: usize| {
        let mut modulus = vec![0xff; bytes];
        modulus[bytes - 1] = 0x01;
        b64(modulus)
    };
    let point = b64([1; 32]);
    for skipped in [
        json!({"kty": "oct", "kid": "k", "k": b64("secret")}),
        json!({"kty": "oct", "kid": "k", "alg": "HS256"}),
        with(rsa.clone(), &json!({"use": "enc"})),
        with(rsa.clone(), &json!({"key_ops": ["sign"]})),
        with(rsa.clone(), &json!({"key_ops": "verify"})),
        with(rsa.clone(), &json!({"alg": "RS512"})),
        with(rsa.clone(), &json!({"alg": "PS256"})),
        with(rsa.clone(), &json!({"alg": "none"})),
        with(rsa.clone(), &json!({"d": "AAAA"})),
        with(rsa.clone(), &json!({"kid": 7})),
        with(rsa.clone(), &json!({"kid": "k".repeat(256)})),
        with(rsa.clone(), &json!({"kty": null})),
        with(rsa.clone(), &json!({"n": null})),
        with(rsa.clone(), &json!({"n": ""})),
        with(rsa.clone(), &json!({"n": "not base64!"})),
        with(rsa.clone(), &json!({"n": modulus(128)})),
        with(rsa.clone(), &json!({"n": modulus(255)})),
        with(rsa.clone(), &json!({"n": modulus(1025)})),
        with(rsa.clone(), &json!({"e": b64([1])})),
        with(rsa.clone(), &json!({"e": b64([2])})),
        with(rsa.clone(), &json!({"e": b64([1, 0, 0, 0, 1])})),
        with(rsa.clone(), &json!({"e": ""})),
        json!({"kty": "EC", "crv": "P-384", "kid": "k", "x": b64([1; 48]), "y": b64([1; 48])}),
        json!({"kty": "EC", "crv": "P-256", "kid": "k", "x": b64([1; 31]), "y": point}),
        json!({"kty": "EC", "crv": "P-256", "kid": "k", "alg": "ES384", "x": point, "y": point}),
        json!({"kty": "OKP", "crv": "Ed448", "kid": "k", "x": b64([1; 57])}),
        json!({"kty": "OKP", "crv": "X25519", "kid": "k", "x": point}),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": b64([1; 33])}),
        json!("not a key"),
        json!(null),
    ] {
        let alone = json!({"keys": [skipped]}).to_string();
        assert_eq!(
            Jwks::parse(alone.as_bytes()).unwrap_err().code,
            "oidc-keys-unusable",
            "{skipped}"
        );
        // Beside a good one it does no harm.
        let beside = key_set(&[skipped, issuer().ec_jwk("ec")]);
        assert_eq!((beside.len(), beside.has("k")), (1, false));
    }
    assert_eq!(key_set(&[with(rsa, &json!({"n": modulus(256)}))]).len(), 1);
}

#[test]
fn a_later_key_cannot_take_the_id_of_an_earlier_one() {
    let jwks = key_set(&[issuer().rsa_jwk("rsa"), stranger().rsa_jwk("rsa")]);
    assert_eq!(jwks.len(), 1);
    let good = Unverified::parse(&issuer().token(&registered())).unwrap();
    assert!(verify(&good, &jwks, &demands(), NOW).is_ok());
    let bad = Unverified::parse(&stranger().token(&registered())).unwrap();
    assert_eq!(
        verify(&bad, &jwks, &demands(), NOW).unwrap_err().code,
        "oidc-signature-wrong"
    );
}

#[test]
fn one_id_may_name_keys_of_two_kinds() {
    let jwks = key_set(&[issuer().ec_jwk("same"), issuer().rsa_jwk("same")]);
    let token = issuer().sign_as(
        "rsa",
        r#"{"alg":"RS256","kid":"same"}"#,
        &registered().to_string(),
    );
    let token = Unverified::parse(&token).unwrap();
    assert!(verify(&token, &jwks, &demands(), NOW).is_ok());
}

#[test]
fn a_key_set_that_is_none_is_refused() {
    let large =
        json!({"keys": [issuer().rsa_jwk("rsa")], "pad": "x".repeat(MAX_JWKS_BYTES)}).to_string();
    let wrong: [&[u8]; 6] = [
        b"",
        b"[]",
        b"{}",
        br#"{"keys": {}}"#,
        b"\xff",
        large.as_bytes(),
    ];
    for bytes in wrong {
        assert_eq!(Jwks::parse(bytes).unwrap_err().code, "oidc-keys-malformed");
    }
    assert_eq!(
        Jwks::parse(br#"{"keys": []}"#).unwrap_err().code,
        "oidc-keys-unusable"
    );
}

#[test]
fn algorithms_are_read_exactly() {
    for algorithm in Algorithm::ALL {
        assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
        assert_eq!(json!(algorithm), json!(algorithm.as_str()));
    }
    for wrong in ["", "none", "HS256", "rs256", "RS384"] {
        assert_eq!(
            wrong.parse::<Algorithm>().unwrap_err().code,
            "oidc-algorithm-refused"
        );
    }
}
