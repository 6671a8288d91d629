//! What issuers, providers, CI jobs and people send for trusted publishing: the first byte chooses the reader. No
//! token verifies by accident, patterns match as a plain matcher says, and what a person gave is kept in one form.
#![no_main]

use std::{collections::BTreeMap, sync::OnceLock};

use countersign_trust::oidc::{
    Algorithm, Asked, Claims, Demands, Discovery, Jwks, Provider, Registration, Rule, Test,
    Unverified, discovery_url, evaluate, identity_answer, identity_question, matches, register,
    snapshot, source, verify,
};
use libfuzzer_sys::fuzz_target;

const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// The public key of the first test of RFC 8032 section 7.1.
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

fn keys() -> &'static Jwks {
    static JWKS: OnceLock<Jwks> = OnceLock::new();
    JWKS.get_or_init(|| Jwks::parse(KEYS.as_bytes()).expect("a good key set"))
}

fn sample() -> &'static Registration {
    static SAMPLE: OnceLock<Registration> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let fields = [
            ("owner", "octo"),
            ("repository", "sample"),
            ("workflow", "release.yml"),
        ];
        register(Provider::Github, ISSUER, &asked(fields)).expect("a good registration")
    })
}

fn asked<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Asked {
    Asked {
        fields: fields
            .into_iter()
            .map(|(name, text)| (name.to_owned(), text.to_owned()))
            .collect(),
        claims: Vec::new(),
    }
}

/// Pattern matching by a table of all prefixes.
fn plainly(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let mut row = vec![false; text.len() + 1];
    row[0] = true;
    for byte in pattern {
        let before = row.clone();
        for at in 0..row.len() {
            row[at] = match byte {
                b'*' => before[at] || (at > 0 && row[at - 1]),
                byte => at > 0 && before[at - 1] && text[at - 1] == *byte,
            };
        }
    }
    row[text.len()]
}

fn token(text: &str) {
    let Ok(token) = Unverified::parse(text) else {
        return;
    };
    let issuer = token.issuer().to_owned();
    let demands = Demands {
        issuer: &issuer,
        audience: "https://registry.example/pypi",
        algorithms: &Algorithm::ALL,
        longest_life: i64::MAX,
        jti_required: false,
    };
    let refused = verify(&token, keys(), &demands, 1_800_000_000).expect_err("a forged signature");
    assert!(!refused.message.chars().any(char::is_control));
}

fn claims(data: &[u8]) {
    let Ok(claims) = Claims::parse(data) else {
        return;
    };
    for provider in Provider::ALL {
        let kept = snapshot(provider, &claims, &sample().rules);
        if let Some(source) = source(provider, ISSUER, &kept) {
            assert!(source.verifies(&source.repository) || source.repository.contains(['%', '@']));
        }
        let _ = provider.lookup_of(&claims);
    }
    let outcomes = evaluate(&sample().rules, &claims);
    assert_eq!(outcomes.len(), sample().rules.len());
    if matches(&outcomes) {
        let repository = claims.text("repository").expect("an accepted token");
        assert!(repository.eq_ignore_ascii_case("octo/sample"));
    }
}

fn pattern(text: &str) {
    let Some((pattern, text)) = text.split_once('\n') else {
        return;
    };
    let document = serde_json::json!({"c": text}).to_string();
    let Ok(claims) = Claims::parse(document.as_bytes()) else {
        return;
    };
    let rule = |test| Rule {
        claim: "c".to_owned(),
        test,
    };
    let outcomes = evaluate(
        &[
            rule(Test::Pattern(pattern.to_owned())),
            rule(Test::PatternIgnoringCase(pattern.to_owned())),
            rule(Test::NoneOf(vec![pattern.to_owned()])),
        ],
        &claims,
    );
    assert_eq!(outcomes[0].matched, plainly(pattern, text));
    let (lower_pattern, lower) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    assert_eq!(outcomes[1].matched, plainly(&lower_pattern, &lower));
    assert_eq!(outcomes[2].matched, !outcomes[0].matched);
}

fn registration(text: &str) {
    let mut lines = text.lines();
    let Some(provider) = lines.next().and_then(|word| word.parse::<Provider>().ok()) else {
        return;
    };
    let issuer = provider
        .issuer()
        .unwrap_or("https://oidc.circleci.com/org/11111111-2222-3333-4444-555555555555");
    let fields = lines.filter_map(|line| line.split_once('='));
    let Ok(first) = register(provider, issuer, &asked(fields)) else {
        return;
    };
    let nothing = Claims::parse(b"{}").expect("no claims");
    assert!(!matches(&evaluate(&first.rules, &nothing)));
    let again = Asked {
        fields: first.fields.clone(),
        claims: Vec::new(),
    };
    assert_eq!(register(provider, issuer, &again).as_ref(), Ok(&first));
    if let Some(url) = identity_question(&first) {
        assert!(url.starts_with("https://") && !url.contains(['?', '#', ' ']));
    }
}

fn link(text: &str) {
    let kept = BTreeMap::from([("repository".to_owned(), "octo/sample".to_owned())]);
    let source = source(Provider::Github, ISSUER, &kept).expect("a source");
    if source.verifies(text) {
        let lower = text.to_ascii_lowercase();
        let rest = lower
            .strip_prefix("https:")
            .or(lower.strip_prefix("http:"))
            .expect("a web address");
        assert!(rest.contains("github.com") && rest.contains("/octo/sample"));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((reader, data)) = data.split_first() else {
        return;
    };
    match reader % 8 {
        0 => _ = Jwks::parse(data),
        1 => _ = Discovery::parse(data, ISSUER),
        2 => {
            if let Ok(ids) = identity_answer(sample(), data) {
                assert!(
                    ids.values()
                        .all(|id| id.bytes().all(|byte| byte.is_ascii_digit()))
                );
            }
        }
        3 => claims(data),
        other => {
            let Ok(text) = std::str::from_utf8(data) else {
                return;
            };
            match other {
                4 => {
                    token(text);
                    if let Ok(url) = discovery_url(text) {
                        assert!(url.starts_with("https://"));
                    }
                }
                5 => pattern(text),
                6 => registration(text),
                _ => link(text),
            }
        }
    }
});
