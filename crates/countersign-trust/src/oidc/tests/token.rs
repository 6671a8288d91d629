use proptest::prelude::*;

use super::*;

fn check(token: &str) -> Result<Verified, Refused> {
    verify(
        &Unverified::parse(token)?,
        &issuer().jwks(),
        &demands(),
        NOW,
    )
}

/// The refusal of a token whose registered claims were changed.
fn refusal(changes: &Value) -> Refused {
    check(&issuer().token(&with(registered(), changes))).unwrap_err()
}

fn code(changes: &Value) -> &'static str {
    refusal(changes).code
}

#[test]
fn a_token_of_each_pinned_algorithm_is_verified() {
    for (kind, algorithm) in [
        ("rsa", Algorithm::Rs256),
        ("ec", Algorithm::Es256),
        ("ed", Algorithm::EdDsa),
    ] {
        let header = json!({"alg": algorithm.as_str(), "kid": kind, "typ": "JWT"});
        let token = issuer().sign_as(kind, &header.to_string(), &registered().to_string());
        let pinned = [algorithm];
        let demands = Demands {
            algorithms: &pinned,
            ..demands()
        };
        let read = Unverified::parse(&token).unwrap();
        assert_eq!((read.issuer(), read.key_id()), (ISSUER, Some(kind)));
        let verified = verify(&read, &issuer().jwks(), &demands, NOW).unwrap();
        assert_eq!((verified.issued, verified.expires), (NOW - 5, NOW + 295));
        assert_eq!(
            verified.claims.text("sub").unwrap(),
            "repo:octo/sample:ref:refs/tags/v1"
        );
    }
}

#[test]
fn a_wrong_issuer_is_refused_and_named() {
    for wrong in [
        "https://token.actions.githubusercontent.com/",
        "https://TOKEN.actions.githubusercontent.com",
        "http://token.actions.githubusercontent.com",
        "https://tоken.actions.githubusercontent.com", // a Cyrillic letter
        "",
    ] {
        let refused = refusal(&json!({"iss": wrong}));
        assert_eq!(refused.code, "oidc-issuer-wrong", "{wrong}");
        assert_eq!(refused.differences[0].claim, "iss");
        assert_eq!(refused.differences[0].expected, ISSUER);
        assert!(refused.differences[0].seen.as_ref().unwrap().is_ascii());
    }
    assert_eq!(code(&json!({"iss": null})), "oidc-claim-missing");
    assert_eq!(code(&json!({"iss": ["x"]})), "oidc-token-malformed");
    assert_eq!(
        code(&json!({"iss": "https://x/".repeat(40)})),
        "oidc-token-malformed"
    );
}

#[test]
fn a_second_issuer_with_the_same_subjects_and_key_ids_is_refused() {
    // It says whose it is: not the issuer that was asked for.
    let other = with(
        registered(),
        &json!({"iss": "https://gitlab.other.example"}),
    );
    assert_eq!(
        check(&stranger().token(&other)).unwrap_err().code,
        "oidc-issuer-wrong"
    );
    // It lies: the keys of the issuer it names did not sign.
    assert_eq!(
        check(&stranger().token(&registered())).unwrap_err().code,
        "oidc-signature-wrong"
    );
}

#[test]
fn a_wrong_audience_is_refused_with_what_was_seen() {
    for wrong in [
        "https://registry.example",
        "https://registry.example/pypi/",
        "https://registry.example/npm",
        "",
    ] {
        let refused = refusal(&json!({"aud": wrong}));
        assert_eq!(refused.code, "oidc-audience-wrong");
        assert_eq!(refused.differences[0].expected, AUDIENCE);
        assert_eq!(refused.differences[0].seen.as_deref(), Some(wrong));
        assert!(refused.remedy.contains(AUDIENCE));
    }
    assert_eq!(code(&json!({"aud": null})), "oidc-claim-missing");
    assert_eq!(code(&json!({"aud": 7})), "oidc-audience-wrong");
}

#[test]
fn a_list_of_audiences_is_refused_even_if_it_is_ours_alone() {
    for list in [
        json!([AUDIENCE]),
        json!([AUDIENCE, "https://other.example"]),
        json!([]),
    ] {
        let refused = refusal(&json!({"aud": list}));
        assert_eq!(refused.code, "oidc-audience-wrong");
        assert!(refused.message.contains("list"), "{refused}");
    }
}

#[test]
fn an_expired_token_is_refused_after_the_leeway() {
    assert!(
        check(&issuer().token(&with(
            registered(),
            &json!({"iat": NOW - 329, "exp": NOW - 29})
        )))
        .is_ok()
    );
    let refused = refusal(&json!({"iat": NOW - 330, "exp": NOW - 30}));
    assert_eq!(refused.code, "oidc-expired");
    assert_eq!(
        refused.differences[0].seen.as_deref(),
        Some((NOW - 30).to_string().as_str())
    );
}

#[test]
fn a_token_that_is_not_yet_valid_is_refused_beyond_the_leeway() {
    for name in ["iat", "nbf"] {
        let at = |time: i64| with(registered(), &json!({name: time}));
        assert!(check(&issuer().token(&at(NOW + 30))).is_ok(), "{name}");
        let refused = check(&issuer().token(&at(NOW + 31))).unwrap_err();
        assert_eq!(refused.code, "oidc-not-yet-valid");
        assert_eq!(refused.differences[0].claim, name);
    }
}

#[test]
fn a_token_that_lives_too_long_is_refused() {
    assert!(
        check(&issuer().token(&with(registered(), &json!({"iat": NOW, "exp": NOW + 3600}))))
            .is_ok()
    );
    assert_eq!(
        code(&json!({"iat": NOW, "exp": NOW + 3601})),
        "oidc-lifetime-too-long"
    );
    // Nor does a token from the distant past with a distant end pass.
    assert_eq!(
        code(&json!({"iat": 0, "nbf": 0, "exp": 253_402_300_799_i64})),
        "oidc-lifetime-too-long"
    );
}

#[test]
fn times_must_be_there_and_whole_numbers_of_a_sane_size() {
    for name in ["iat", "exp"] {
        assert_eq!(code(&json!({name: null})), "oidc-claim-missing");
    }
    for name in ["iat", "exp", "nbf"] {
        for wrong in [
            json!("1800000000"),
            json!(1_800_000_000.5),
            json!(-1),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(1e300),
            json!(253_402_300_800_i64),
            json!([NOW]),
            json!(true),
        ] {
            assert_eq!(
                code(&json!({name: wrong})),
                "oidc-token-malformed",
                "{name} {wrong}"
            );
        }
    }
    let whole = with(
        registered(),
        &json!({"iat": NOW as f64, "exp": (NOW + 60) as f64}),
    );
    assert_eq!(check(&issuer().token(&whole)).unwrap().expires, NOW + 60);
    assert_eq!(
        code(&json!({"iat": NOW, "exp": NOW})),
        "oidc-token-malformed"
    );
    // What no number can hold is no JSON here.
    let huge = registered()
        .to_string()
        .replace(&(NOW + 295).to_string(), "1e999");
    let token = issuer().sign_as("rsa", r#"{"alg":"RS256","kid":"rsa"}"#, &huge);
    assert_eq!(check(&token).unwrap_err().code, "oidc-token-malformed");
}

#[test]
fn extreme_clocks_do_not_overflow() {
    let token = Unverified::parse(&issuer().token(&registered())).unwrap();
    for now in [i64::MIN, -1, 0, i64::MAX] {
        assert!(verify(&token, &issuer().jwks(), &demands(), now).is_err());
    }
}

#[test]
fn unsigned_tokens_are_refused() {
    for algorithm in ["none", "None", "NONE", "rs256", "RS256 ", ""] {
        let header = json!({"alg": algorithm, "kid": "rsa"}).to_string();
        let token = issuer().sign_as("rsa", &header, &registered().to_string());
        assert_eq!(
            check(&token).unwrap_err().code,
            "oidc-algorithm-refused",
            "{algorithm}"
        );
    }
    let header = b64(r#"{"alg":"none"}"#);
    let token = format!("{header}.{}.", b64(registered().to_string()));
    assert_eq!(check(&token).unwrap_err().code, "oidc-token-malformed");
    let header = json!({"kid": "rsa"}).to_string();
    let token = issuer().sign_as("rsa", &header, &registered().to_string());
    assert_eq!(check(&token).unwrap_err().code, "oidc-token-malformed");
}

#[test]
fn a_token_keyed_with_the_public_key_as_a_shared_secret_is_refused() {
    let public = issuer().rsa_jwk("rsa");
    let secrets = [
        public.to_string().into_bytes(),
        public["n"].as_str().unwrap().as_bytes().to_vec(),
        issuer().rsa.public_key().as_ref().to_vec(),
    ];
    for secret in secrets {
        for algorithm in ["HS256", "HS384", "HS512"] {
            let header = json!({"alg": algorithm, "kid": "rsa"}).to_string();
            let signed = format!("{}.{}", b64(header), b64(registered().to_string()));
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
            let token = format!(
                "{signed}.{}",
                b64(aws_lc_rs::hmac::sign(&key, signed.as_bytes()))
            );
            assert_eq!(check(&token).unwrap_err().code, "oidc-algorithm-refused");
            // The same bytes under an allowed name are no signature either.
            let header = json!({"alg": "RS256", "kid": "rsa"}).to_string();
            let signed = format!("{}.{}", b64(header), b64(registered().to_string()));
            let token = format!(
                "{signed}.{}",
                b64(aws_lc_rs::hmac::sign(&key, signed.as_bytes()))
            );
            assert_eq!(check(&token).unwrap_err().code, "oidc-signature-wrong");
        }
    }
}

#[test]
fn an_algorithm_that_does_not_fit_the_key_is_refused() {
    let all = Demands {
        algorithms: &Algorithm::ALL,
        ..demands()
    };
    for (signer, algorithm, kid) in [
        ("ec", "ES256", "rsa"),
        ("ed", "EdDSA", "rsa"),
        ("rsa", "RS256", "ec"),
        ("ed", "EdDSA", "ec"),
        ("ec", "ES256", "ed"),
        ("rsa", "RS256", "ed"),
    ] {
        let header = json!({"alg": algorithm, "kid": kid}).to_string();
        let token = issuer().sign_as(signer, &header, &registered().to_string());
        let token = Unverified::parse(&token).unwrap();
        assert_eq!(
            verify(&token, &issuer().jwks(), &all, NOW)
                .unwrap_err()
                .code,
            "oidc-algorithm-refused",
            "{algorithm} with the key {kid}"
        );
    }
}

#[test]
fn a_good_signature_by_an_algorithm_that_is_not_pinned_is_refused() {
    for (kind, algorithm) in [("ec", "ES256"), ("ed", "EdDSA")] {
        let header = json!({"alg": algorithm, "kid": kind}).to_string();
        let token = issuer().sign_as(kind, &header, &registered().to_string());
        let refused = check(&token).unwrap_err();
        assert_eq!(refused.code, "oidc-algorithm-refused");
        assert!(refused.message.contains("RS256"), "{refused}");
    }
}

#[test]
fn an_unknown_key_is_refused_and_a_nameless_one_only_where_there_is_a_choice() {
    let claims = registered().to_string();
    let unknown = issuer().sign_as("rsa", r#"{"alg":"RS256","kid":"gone"}"#, &claims);
    assert_eq!(check(&unknown).unwrap_err().code, "oidc-key-unknown");
    let nameless = issuer().sign_as("rsa", r#"{"alg":"RS256"}"#, &claims);
    assert_eq!(check(&nameless).unwrap_err().code, "oidc-key-unknown");
    let only = key_set(&[issuer().rsa_jwk("rsa")]);
    let nameless = Unverified::parse(&nameless).unwrap();
    assert!(verify(&nameless, &only, &demands(), NOW).is_ok());
}

#[test]
fn keys_in_the_header_are_ignored() {
    let header = json!({"alg": "RS256", "kid": "rsa", "jwk": stranger().rsa_jwk("rsa"),
        "jku": "https://evil.example/keys", "x5u": "https://evil.example/chain", "x5c": ["AAAA"]});
    let token = stranger().sign_as("rsa", &header.to_string(), &registered().to_string());
    assert_eq!(check(&token).unwrap_err().code, "oidc-signature-wrong");
    let token = issuer().sign_as("rsa", &header.to_string(), &registered().to_string());
    assert!(check(&token).is_ok());
}

#[test]
fn a_changed_token_is_refused() {
    let token = issuer().token(&registered());
    let parts: Vec<&str> = token.split('.').collect();
    let changed = b64(with(registered(), &json!({"sub": "repo:evil/sample"})).to_string());
    let token = [parts[0], &changed, parts[2]].join(".");
    assert_eq!(check(&token).unwrap_err().code, "oidc-signature-wrong");
    let mut signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
    for cut in [0, 1, signature.len() - 1] {
        signature[cut] ^= 1;
        let token = [parts[0], parts[1], &b64(&signature)].join(".");
        assert_eq!(check(&token).unwrap_err().code, "oidc-signature-wrong");
        signature[cut] ^= 1;
    }
    signature.pop();
    let token = [parts[0], parts[1], &b64(&signature)].join(".");
    assert_eq!(check(&token).unwrap_err().code, "oidc-signature-wrong");
}

#[test]
fn headers_that_ask_for_more_are_refused() {
    for header in [
        json!({"alg": "RS256", "kid": "rsa", "crit": ["exp"]}),
        json!({"alg": "RS256", "kid": "rsa", "b64": false}),
        json!({"alg": "RS256", "kid": "rsa", "cty": "JWT"}),
        json!({"alg": "RS256", "kid": "rsa", "typ": "at+jwt"}),
        json!({"alg": "RS256", "kid": "rsa", "typ": 1}),
        json!({"alg": "RS256", "kid": 7}),
        json!({"alg": "RS256", "kid": "k".repeat(256)}),
        json!({"alg": ["RS256"], "kid": "rsa"}),
    ] {
        let token = issuer().sign_as("rsa", &header.to_string(), &registered().to_string());
        assert_eq!(
            Unverified::parse(&token).unwrap_err().code,
            "oidc-token-malformed",
            "{header}"
        );
    }
}

#[test]
fn texts_that_are_no_token_are_refused() {
    let token = issuer().token(&registered());
    let parts: Vec<&str> = token.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    for wrong in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!("{token}.x"),
        format!("{token}.x.y"),
        format!("{token}.x.y.z"),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}.{signature}+"),
        format!("{}.{payload}.{signature}", b64("[]")),
        format!("{}.{payload}.{signature}", b64("{")),
        format!("{header}.{}.{signature}", b64(b"{\"iss\":\"\xff\"}")),
        format!("{header}.{}.{signature}", b64("\"iss\"")),
        format!("{header}.{}.{signature}", b64("{} {}")),
    ] {
        assert_eq!(
            Unverified::parse(&wrong).unwrap_err().code,
            "oidc-token-malformed",
            "{wrong}"
        );
    }
    let encrypted = Unverified::parse("a.b.c.d.e").unwrap_err();
    assert!(encrypted.message.contains("encrypted"));
}

#[test]
fn an_oversized_token_is_refused_before_it_is_read() {
    let large = with(registered(), &json!({"pad": "x".repeat(MAX_TOKEN_BYTES)}));
    assert_eq!(
        check(&issuer().token(&large)).unwrap_err().code,
        "oidc-token-too-large"
    );
    let fits = with(registered(), &json!({"pad": "x".repeat(8000)}));
    assert!(check(&issuer().token(&fits)).is_ok());
}

#[test]
fn a_claim_with_u_0000_and_a_token_without_signature_are_refused() {
    for claims in [
        r#"{"iss":"https://a.example\u0000"}"#,
        r#"{"iss":"https://a.example","list":["a\u0000"]}"#,
        r#"{"iss":"https://a.example","a\u0000":1}"#,
    ] {
        let why = Claims::parse(claims.as_bytes()).unwrap_err();
        assert!(why.contains("U+0000"), "{why}");
    }
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let unsigned = format!(
        "{}.{}.",
        part(r#"{"alg":"none"}"#),
        part(r#"{"iss":"https://a.example"}"#)
    );
    let refused = Unverified::parse(&unsigned).unwrap_err();
    assert_eq!(refused.code, "oidc-token-malformed");
    assert!(refused.message.contains("not signed"), "{refused}");
}

#[test]
fn a_claim_that_stands_twice_is_refused() {
    let good = registered().to_string();
    let twice = format!("{{\"aud\":\"https://other.example\",{}", &good[1..]);
    let escaped = format!("{{\"\\u0061ud\":\"https://other.example\",{}", &good[1..]);
    let nested = format!("{{\"google\":{{\"a\":1,\"a\":2}},{}", &good[1..]);
    for claims in [twice, escaped, nested] {
        let token = issuer().sign_as("rsa", r#"{"alg":"RS256","kid":"rsa"}"#, &claims);
        let refused = check(&token).unwrap_err();
        assert_eq!(refused.code, "oidc-token-malformed");
        assert!(refused.message.contains("twice"), "{refused}");
    }
    let header = r#"{"alg":"RS256","kid":"rsa","alg":"none"}"#;
    let token = issuer().sign_as("rsa", header, &good);
    assert_eq!(check(&token).unwrap_err().code, "oidc-token-malformed");
}

#[test]
fn deep_and_wide_claims_are_refused() {
    let deep = |levels: usize| {
        format!(
            "{{\"iss\":\"x\",\"deep\":{}{}}}",
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    assert!(Claims::parse(deep(7).as_bytes()).is_ok());
    assert!(Claims::parse(deep(8).as_bytes()).is_err());
    assert!(Claims::parse(deep(100_000).as_bytes()).is_err());
    let wide = |values: usize| format!("{{\"wide\":[{}0]}}", "0,".repeat(values));
    assert!(Claims::parse(wide(4000).as_bytes()).is_ok());
    assert!(Claims::parse(wide(4096).as_bytes()).is_err());
}

#[test]
fn a_token_is_recognised_when_it_comes_again() {
    let key = |claims: &Value| check(&issuer().token(claims)).unwrap().replay_key;
    let first = key(&registered());
    // The id counts, whatever else changed.
    assert_eq!(first, key(&with(registered(), &json!({"sub": "other"}))));
    assert_ne!(first, key(&with(registered(), &json!({"jti": "a-2"}))));
    assert!(first.starts_with("jti:") && first.len() == 4 + 64);

    assert_eq!(code(&json!({"jti": null})), "oidc-claim-missing");
    assert_eq!(code(&json!({"jti": ""})), "oidc-token-malformed");
    assert_eq!(code(&json!({"jti": 7})), "oidc-token-malformed");
    assert_eq!(
        code(&json!({"jti": "j".repeat(1025)})),
        "oidc-token-malformed"
    );
}

#[test]
fn a_token_without_id_is_recognised_under_another_signature() {
    let demands = Demands {
        jti_required: false,
        algorithms: &Algorithm::ALL,
        ..demands()
    };
    let claims = with(registered(), &json!({"jti": null})).to_string();
    let header = r#"{"alg":"ES256","kid":"ec"}"#;
    let (one, two) = (
        issuer().sign_as("ec", header, &claims),
        issuer().sign_as("ec", header, &claims),
    );
    assert_ne!(one, two, "ECDSA signs with a random number");
    let key = |token: &str| {
        let token = Unverified::parse(token).unwrap();
        verify(&token, &issuer().jwks(), &demands, NOW)
            .unwrap()
            .replay_key
    };
    assert_eq!(key(&one), key(&two));
    assert!(key(&one).starts_with("jwt:"));
}

#[test]
fn neither_debug_nor_refusals_show_the_token() {
    let token = issuer().token(&with(registered(), &json!({"aud": "x"})));
    let signature = token.rsplit('.').next().unwrap();
    let read = Unverified::parse(&token).unwrap();
    assert!(!format!("{read:?}").contains(signature));
    let refused = verify(&read, &issuer().jwks(), &demands(), NOW).unwrap_err();
    assert!(!format!("{refused:?}").contains(signature));
    let cut = &token[..token.len() - 1];
    let refused = check(cut).map(|_| ()).unwrap_err();
    assert!(!format!("{refused:?}").contains(&signature[..20]));
}

#[test]
fn foreign_texts_in_messages_are_escaped_and_cut() {
    let refused = refusal(&json!({"aud": format!("\u{1b}[2J\u{202e}{}", "y".repeat(5000))}));
    assert!(refused.message.len() < 400);
    assert!(refused.message.contains("\\u{1b}") && refused.message.contains("\\u{202e}"));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "(?s).{0,300}") {
        let _ = Unverified::parse(&text);
    }

    #[test]
    fn no_header_or_claims_make_the_verifier_panic(header in "(?s).{0,60}", claims in "(?s).{0,120}") {
        let token = format!("{}.{}.AAAA", b64(header), b64(claims));
        if let Ok(token) = Unverified::parse(&token) {
            prop_assert!(verify(&token, &issuer().jwks(), &demands(), NOW).is_err());
        }
    }

    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Claims::parse(&bytes);
        let _ = Jwks::parse(&bytes);
        let _ = Discovery::parse(&bytes, ISSUER);
    }
}
