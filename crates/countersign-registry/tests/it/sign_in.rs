//! Sign-in: passkeys by a software authenticator, passwords, codes, sessions, limits, and the attacks on each.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_formats::Ecosystem;
use countersign_registry::model::{
    Action, Actor, CallerOrigin, Level, Presented, Role, Strength, Visibility,
};
use countersign_registry::{
    Answer, Ceremony, Clock, Departure, Enrolling, Error, FactorNeed, FactorPolicy, HalfSession,
    KeyKind, ProviderReturn, SecondFactor, SignInProvider, SignInStep, SignedIn, SystemClock,
    TotpSetup,
};
use countersign_testkit::authority::Authority;
use countersign_testkit::claims::Claims;
use countersign_testkit::issuer::{Issuer, OidcServer};
use countersign_testkit::packages::Wheel;
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::LeafKind;
use serde_json::{Value, json};

use crate::kit::{TestRegistry, from, refused};
use crate::on_both_databases;

const PASSWORD: &str = "brown otters dislike tuesdays";
const MINUTE: Duration = Duration::from_secs(60);

/// An authenticator in software: one ES256 key, a counter, and whatever a test bends.
#[derive(Clone)]
struct Key {
    pair: std::sync::Arc<EcdsaKeyPair>,
    id: Vec<u8>,
    holder: Vec<u8>,
    counter: u32,
    origin: String,
    rp: String,
    verifies_user: bool,
}

impl Key {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let id = Sha256::of(pair.public_key().as_ref()).0.to_vec();
        Self {
            pair: std::sync::Arc::new(pair),
            id,
            holder: Vec::new(),
            counter: 0,
            origin: "http://localhost:8417".to_owned(),
            rp: "localhost".to_owned(),
            verifies_user: true,
        }
    }

    fn client_data(&self, kind: &str, options: &Value) -> Vec<u8> {
        json!({"type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false})
            .to_string()
            .into_bytes()
    }

    fn authenticator_data(&mut self, attested: bool) -> Vec<u8> {
        self.counter += 1;
        let mut data = Sha256::of(self.rp.as_bytes()).0.to_vec();
        data.push(1 | if self.verifies_user { 4 } else { 0 } | if attested { 0x40 } else { 0 });
        data.extend(self.counter.to_be_bytes());
        if attested {
            data.extend([0; 16]);
            data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
            data.extend(&self.id);
            // COSE: {1: 2, 3: -7, -1: 1, -2: x, -3: y}
            let point = self.pair.public_key().as_ref();
            data.extend([0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 0x20]);
            data.extend(&point[1..33]);
            data.extend([0x22, 0x58, 0x20]);
            data.extend(&point[33..65]);
        }
        data
    }

    fn create(&mut self, ceremony: &Ceremony) -> Answer {
        let options = &ceremony.options["publicKey"];
        self.holder = URL_SAFE_NO_PAD
            .decode(options["user"]["id"].as_str().unwrap())
            .unwrap();
        let client = self.client_data("webauthn.create", options);
        let data = self.authenticator_data(true);
        let mut object = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData\x58".to_vec();
        object.push(u8::try_from(data.len()).unwrap());
        object.extend(data);
        self.answer(
            ceremony,
            json!({"attestationObject": URL_SAFE_NO_PAD.encode(object), "clientDataJSON": URL_SAFE_NO_PAD.encode(client), "transports": []}),
        )
    }

    fn get(&mut self, ceremony: &Ceremony) -> Answer {
        let client = self.client_data("webauthn.get", &ceremony.options["publicKey"]);
        let data = self.authenticator_data(false);
        let signed = [data.as_slice(), &Sha256::of(&client).0].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed).unwrap();
        self.answer(
            ceremony,
            json!({"authenticatorData": URL_SAFE_NO_PAD.encode(data), "clientDataJSON": URL_SAFE_NO_PAD.encode(client),
                   "signature": URL_SAFE_NO_PAD.encode(signature.as_ref()), "userHandle": URL_SAFE_NO_PAD.encode(&self.holder)}),
        )
    }

    fn answer(&self, ceremony: &Ceremony, response: Value) -> Answer {
        let id = URL_SAFE_NO_PAD.encode(&self.id);
        Answer {
            ceremony: ceremony.id.clone(),
            credential: json!({"id": id, "rawId": id, "type": "public-key", "extensions": {}, "response": response}),
        }
    }
}

/// One provider for all tests of this process; each test has an issuer of its own on it.
static PROVIDER: std::sync::LazyLock<OidcServer> = std::sync::LazyLock::new(|| {
    std::thread::spawn(|| OidcServer::start().unwrap())
        .join()
        .unwrap()
});

async fn provider(name: String) -> (SignInProvider, Issuer) {
    let issuer = tokio::task::spawn_blocking(move || PROVIDER.issuer(&name).unwrap())
        .await
        .unwrap();
    let provider = SignInProvider {
        name: "company".to_owned(),
        issuer: issuer.url(),
        client_id: "countersign".to_owned(),
        client_secret: "between us".to_owned(),
        ca_pem: Some(Authority::of_this_process().unwrap().pem().to_owned()),
        strengths: vec![("mfa".to_owned(), Level::TwoFactor)],
    };
    (provider, issuer)
}

/// What the provider would send the browser back with: the state; its next answer is a token about this person.
async fn consent(issuer: &Issuer, departure: &Departure, audience: &str, claims: Claims) -> String {
    let asked = |name: &str| asked_for(departure, name);
    for needed in [
        "code_challenge_method=S256",
        "response_type=code",
        "client_id=countersign",
    ] {
        assert!(departure.url.contains(needed), "{}", departure.url);
    }
    // A test that bends the nonce says which.
    let bent = claims.text("bent_nonce").to_owned();
    let nonce = if bent.is_empty() {
        asked("nonce")
    } else {
        bent
    };
    let claims = claims.set("nonce", nonce);
    // Who came to the provider was asked just now, unless a test says otherwise.
    let claims = match claims.text("asked_last").to_owned().as_str() {
        "" => claims.set("auth_time", SystemClock.now().seconds()),
        "never" => claims,
        ago => claims.set(
            "auth_time",
            SystemClock.now().seconds() - ago.parse::<i64>().unwrap(),
        ),
    };
    let (issuer, audience) = (issuer.clone(), audience.to_owned());
    tokio::task::spawn_blocking(move || {
        let token = issuer.token(&audience, &claims).unwrap();
        let path = format!(
            "{}/token",
            issuer.url().strip_prefix(PROVIDER.url()).unwrap()
        );
        PROVIDER.answer(
            &path,
            Some(json!({"id_token": token, "token_type": "Bearer"})),
        );
    })
    .await
    .unwrap();
    asked("state")
}

/// The code of an app at a moment (RFC 6238), by the system's own hash.
fn code(setup: &TotpSetup, seconds: i64) -> String {
    let mut bits = String::new();
    for c in setup.secret.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
            .iter()
            .position(|one| *one == c)
            .unwrap();
        bits.push_str(&format!("{value:05b}"));
    }
    let secret: Vec<u8> = (0..20)
        .map(|n| u8::from_str_radix(&bits[n * 8..n * 8 + 8], 2).unwrap())
        .collect();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &secret);
    let step = u64::try_from(seconds / 30).unwrap().to_be_bytes();
    let tag = aws_lc_rs::hmac::sign(&key, &step);
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 0xf);
    let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// What the address that somebody is sent to asks for.
fn asked_for(departure: &Departure, name: &str) -> String {
    let (_, rest) = departure.url.split_once(&format!("{name}=")).unwrap();
    rest.split('&').next().unwrap().to_owned()
}

/// The code of a refusal.
fn refused_code<T>(answer: Result<T, Error>) -> String {
    match answer {
        Ok(_) => panic!("it was let in"),
        Err(error) => error.code.into_owned(),
    }
}

fn came_in(back: ProviderReturn) -> SignInStep {
    match back {
        ProviderReturn::SignedIn(step) => step,
        _ => panic!("nobody signs in"),
    }
}

fn done(step: SignInStep) -> SignedIn {
    match step {
        SignInStep::Done(signed_in) => *signed_in,
        SignInStep::SecondFactor(_) => panic!("the second factor is owed"),
    }
}

fn half(step: SignInStep) -> HalfSession {
    match step {
        SignInStep::SecondFactor(half) => half,
        SignInStep::Done(_) => panic!("no second factor was asked for"),
    }
}

impl TestRegistry {
    async fn invited(&self, name: &str) -> String {
        let email = format!("{name}@example.org");
        let user = self
            .registry
            .create_user(&Actor::operator(), name, Some(&email), false)
            .await
            .unwrap();
        user.enrolment.unwrap()
    }

    /// Somebody with a passkey, signed in from network 1.
    async fn with_passkey(&self, name: &str) -> (Key, SignedIn) {
        let secret = self.invited(name).await;
        let mut key = Key::new();
        let signed_in = self
            .register(Enrolling::Link(&secret), &mut key)
            .await
            .unwrap()
            .unwrap();
        (key, signed_in)
    }

    async fn register(&self, by: Enrolling<'_>, key: &mut Key) -> Result<Option<SignedIn>, Error> {
        let ceremony = self
            .registry
            .passkey_registration_start(by, KeyKind::Passkey)
            .await?;
        let answer = key.create(&ceremony);
        self.registry
            .passkey_registration_finish(by, &answer, "laptop", &from(1), None)
            .await
    }

    /// Somebody with a password, signed in from network 1.
    async fn with_password(&self, name: &str) -> SignedIn {
        let secret = self.invited(name).await;
        let set = self
            .registry
            .password_set(Enrolling::Link(&secret), PASSWORD, &from(1), None)
            .await;
        set.unwrap().unwrap()
    }

    async fn with_totp(&self, name: &str) -> (SignedIn, TotpSetup) {
        let signed_in = self.with_password(name).await;
        let setup = self.registry.totp_start(&signed_in.actor).await.unwrap();
        let first = code(&setup, self.registry_now());
        self.registry
            .totp_confirm(&signed_in.actor, &setup.id, &first, &from(1))
            .await
            .unwrap();
        // That step is used up.
        self.turn_clock(MINUTE);
        (signed_in, setup)
    }

    async fn try_password(
        &self,
        login: &str,
        password: &str,
        network: u8,
    ) -> Result<SignInStep, Error> {
        self.registry
            .password_sign_in(login, password, &from(network), None)
            .await
    }

    async fn show(&self, cookie: &str) -> Result<Actor, Error> {
        self.registry
            .authenticate(Presented::Session(cookie.to_owned()))
            .await
    }

    async fn by_passkey(&self, key: &mut Key) -> Result<SignedIn, Error> {
        let ceremony = self.registry.passkey_sign_in_start(&from(1)).await?;
        let answer = key.get(&ceremony);
        self.registry
            .passkey_sign_in_finish(&answer, &from(1), None)
            .await
    }
}

on_both_databases! {
    async fn an_account_lives_by_passkeys_alone(test: TestRegistry) {
        let (mut key, first) = test.with_passkey("ann").await;
        assert_eq!(first.actor.name(), "ann");
        assert_eq!(first.actor.strength, Strength::Phishproof);
        let again = test.by_passkey(&mut key).await.unwrap();
        assert_ne!(first.cookie, again.cookie);
        let actor = test.show(&again.cookie).await.unwrap();
        assert_eq!(actor.session.as_ref().unwrap().level, Level::Phishproof);
        let security = test.registry.security(&actor).await.unwrap();
        assert_eq!((security.factors.len(), security.password_changed), (1, None));
        // A second one in the session; the last one stays.
        let mut second = Key::new();
        assert!(test.register(Enrolling::Session(&actor), &mut second).await.unwrap().is_none());
        let factors = test.registry.security(&actor).await.unwrap().factors;
        test.registry.remove_factor(&actor, &factors[0].id, &from(1)).await.unwrap();
        refused(test.by_passkey(&mut key).await, "passkey-unknown");
        test.by_passkey(&mut second).await.unwrap();
        refused(test.registry.remove_factor(&actor, &factors[1].id, &from(1)).await, "factor-last");
        test.check().await;
    }

    async fn somebody_signs_up_by_mail_and_the_link_proves_the_address(test: TestRegistry) {
        test.registry.sign_up("ann", "ann@example.org", &from(1)).await.unwrap();
        refused(test.registry.sign_up("Ann", "other@example.org", &from(1)).await, "user-exists");
        let secret = test.link("ann@example.org", "/enrol").await;
        let shown = test.registry.enrolment(&secret).await.unwrap();
        assert!(shown.new_account && shown.user == "ann");
        let mut key = Key::new();
        let signed_in = test.register(Enrolling::Link(&secret), &mut key).await.unwrap().unwrap();
        let addresses = test.registry.addresses(&signed_in.actor).await.unwrap();
        assert!(addresses[0].verified.is_some() && addresses[0].primary);
        test.by_passkey(&mut key).await.unwrap();
        test.check().await;
    }

    async fn user_enumeration_by_the_text_of_sign_up(test: TestRegistry) {
        let (_, ann) = test.with_passkey("ann").await;
        test.execute("UPDATE account_emails SET verified_at = 1").await;
        drop(ann);
        // The same answer; what is true goes by mail.
        test.registry.sign_up("bob", "ann@example.org", &from(1)).await.unwrap();
        test.registry.sign_up("carl", "carl@example.org", &from(1)).await.unwrap();
        let mails = test.mail_to("ann@example.org").await;
        assert!(mails.iter().any(|mail| mail.subject().contains("in use already")));
        assert!(!mails.iter().any(|mail| mail.text.contains("/enrol?")));
        test.check().await;
    }

    async fn homograph_user_names(test: TestRegistry) {
        test.with_passkey("paypal-team").await;
        for name in ["p\u{430}ypal-team", "paypal\u{2010}team", "paypal team", "\u{ff50}aypal", "paypal\u{200b}"] {
            refused(test.registry.sign_up(name, "x@example.org", &from(1)).await, "user-name");
        }
        refused(test.registry.sign_up("PayPal_Team", "x@example.org", &from(1)).await, "user-exists");
    }

    async fn enrolment_secret_reuse(test: TestRegistry) {
        let secret = test.invited("ann").await;
        // Looking uses nothing up.
        test.registry.enrolment(&secret).await.unwrap();
        let (mut one, mut other) = (Key::new(), Key::new());
        let first = test.registry.passkey_registration_start(Enrolling::Link(&secret), KeyKind::Passkey).await.unwrap();
        let second = test.registry.passkey_registration_start(Enrolling::Link(&secret), KeyKind::Passkey).await.unwrap();
        let (first, second) = (one.create(&first), other.create(&second));
        let by = Enrolling::Link(&secret);
        let origin = from(1);
        let (left, right) = tokio::join!(
            test.registry.passkey_registration_finish(by, &first, "one", &origin, None),
            test.registry.passkey_registration_finish(by, &second, "other", &origin, None),
        );
        assert!(left.is_ok() != right.is_ok(), "one link made two passkeys, or none");
        refused(test.registry.enrolment(&secret).await, "link-unknown");
        refused(test.registry.password_set(by, PASSWORD, &from(1), None).await, "link-unknown");
        // One account's link does not finish what another's began.
        let (bobs, carls) = (test.invited("bob").await, test.invited("carl").await);
        let ceremony = test.registry.passkey_registration_start(Enrolling::Link(&bobs), KeyKind::Passkey).await.unwrap();
        let answer = Key::new().create(&ceremony);
        refused(test.registry.passkey_registration_finish(Enrolling::Link(&carls), &answer, "x", &from(1), None).await, "ceremony-unknown");
        test.check().await;
    }

    async fn webauthn_challenge_reuse(test: TestRegistry) {
        let (mut key, _) = test.with_passkey("ann").await;
        let ceremony = test.registry.passkey_sign_in_start(&from(1)).await.unwrap();
        let answer = key.get(&ceremony);
        test.registry.passkey_sign_in_finish(&answer, &from(1), None).await.unwrap();
        refused(test.registry.passkey_sign_in_finish(&answer, &from(1), None).await, "ceremony-unknown");
        // An answer to one question under the id of another.
        let other = test.registry.passkey_sign_in_start(&from(1)).await.unwrap();
        let swapped = Answer { ceremony: other.id, credential: key.get(&test.registry.passkey_sign_in_start(&from(1)).await.unwrap()).credential };
        refused(test.registry.passkey_sign_in_finish(&swapped, &from(1), None).await, "passkey-refused");
        // Too late.
        let late = test.registry.passkey_sign_in_start(&from(1)).await.unwrap();
        let answer = key.get(&late);
        test.turn_clock(MINUTE * 6);
        refused(test.registry.passkey_sign_in_finish(&answer, &from(1), None).await, "ceremony-unknown");
    }

    async fn webauthn_origin_and_rp_id_confusion(test: TestRegistry) {
        let (key, _) = test.with_passkey("ann").await;
        for (origin, rp, verifies) in [
            ("http://localhost:9999", "localhost", true),
            ("https://localhost:8417", "localhost", true),
            ("http://localhost.evil.example:8417", "localhost", true),
            ("http://localhost:8417", "evil.example", true),
            ("http://localhost:8417", "localhost", false),
        ] {
            let mut bent = key.clone();
            (bent.origin, bent.rp, bent.verifies_user) = (origin.to_owned(), rp.to_owned(), verifies);
            bent.counter += 5;
            refused(test.by_passkey(&mut bent).await, "passkey-refused");
        }
        let mut key = key;
        key.counter += 10;
        test.by_passkey(&mut key).await.unwrap();
    }

    async fn cloned_authenticator_counter(test: TestRegistry) {
        let (mut key, _) = test.with_passkey("ann").await;
        test.execute("UPDATE account_emails SET verified_at = 1").await;
        let mut copy = key.clone();
        test.by_passkey(&mut key).await.unwrap();
        test.by_passkey(&mut key).await.unwrap();
        refused(test.by_passkey(&mut copy).await, "passkey-cloned");
        // Locked for both: nobody knows which is the copy.
        refused(test.by_passkey(&mut key).await, "passkey-cloned");
        let mails = test.mail_to("ann@example.org").await;
        assert!(mails.iter().any(|mail| mail.subject().contains("copied")));
        test.check().await;
    }

    async fn user_enumeration_by_the_work_and_text_of_sign_in(test: TestRegistry) {
        test.with_password("ann").await;
        test.with_passkey("bob").await;
        let mut texts = Vec::new();
        for (network, login) in [(2, "ann"), (3, "bob"), (4, "nobody"), (5, "nobody@example.org"), (6, "\u{e4}")] {
            let before = test.registry.passwords_hashed();
            let error = refused(test.try_password(login, "not the password", network).await, "sign-in-wrong");
            assert_eq!(test.registry.passwords_hashed() - before, 1, "{login}");
            texts.push(error.text());
        }
        texts.dedup();
        assert_eq!(texts.len(), 1);
        // Limits speak alike, too.
        let mut limited = Vec::new();
        for (network, login) in [(12, "ann"), (13, "nobody")] {
            for _ in 0..9 {
                refused(test.try_password(login, "not the password", network).await, "sign-in-wrong");
            }
            let error = match test.try_password(login, "not the password", network).await {
                Err(error) => error,
                Ok(_) => panic!("a wrong password"),
            };
            limited.push(error.code.into_owned());
        }
        assert_eq!(limited[0], limited[1]);
    }

    async fn credential_stuffing_from_one_network(test: TestRegistry) {
        test.hold_clock();
        test.with_password("ann").await;
        for n in 0..10 {
            refused(test.try_password(&format!("user{n}"), "stolen elsewhere", 9).await, "sign-in-wrong");
        }
        let before = test.registry.passwords_hashed();
        refused(test.try_password("ann", PASSWORD, 9).await, "too-many-attempts");
        assert_eq!(test.registry.passwords_hashed(), before, "a refused attempt costs no hash");
        done(test.try_password("ann", PASSWORD, 10).await.unwrap());
    }

    async fn requests_that_are_hung_up_keep_nobody_from_signing_in(test: TestRegistry) {
        test.with_password("ann").await;
        let asked: Vec<_> = (0..200_u8)
            .map(|number| {
                let registry = test.registry.clone();
                tokio::spawn(async move {
                    let login = format!("nobody-{number}");
                    registry.password_sign_in(&login, "guess", &from(number), None).await.map(|_| ())
                })
            })
            .collect();
        // Long enough for the queue to be full of them.
        tokio::time::sleep(Duration::from_millis(300)).await;
        for one in &asked {
            one.abort();
        }
        for one in asked {
            drop(one.await);
        }
        done(test.try_password("ann", PASSWORD, 222).await.unwrap());
    }

    async fn distributed_guessing_does_not_lock_the_victim_out(test: TestRegistry) {
        test.hold_clock();
        let home = test.with_password("ann").await;
        let (mut key, _) = test.with_passkey("bob").await;
        for round in 0..2 {
            let mut limited = 0;
            for network in 20..35 {
                match test.try_password("ann", "guess", network).await {
                    Err(error) if error.code == "too-many-attempts" => limited += 1,
                    Err(error) => assert_eq!(error.code, "sign-in-wrong"),
                    Ok(_) => panic!("a guess"),
                }
            }
            assert_eq!(limited, 5, "ten guesses in five minutes, whatever the network");
            // Strangers are kept out, her own browser is not.
            refused(test.try_password("ann", PASSWORD, 50 + round).await, "too-many-attempts");
            let device = home.device.as_deref();
            done(test.registry.password_sign_in("ann", PASSWORD, &from(60), device).await.unwrap());
            test.turn_clock(MINUTE * 5);
        }
        // A passkey is never limited.
        test.by_passkey(&mut key).await.unwrap();
        // Nor is it for ever.
        done(test.try_password("ann", PASSWORD, 70).await.unwrap());
    }

    async fn guessing_at_the_second_factor(test: TestRegistry) {
        test.hold_clock();
        let (home, setup) = test.with_totp("ann").await;
        test.execute("UPDATE account_emails SET verified_at = 1").await;
        let mut wrong = 0;
        let mut locked = false;
        for round in 0..6_u8 {
            let owed = half(test.try_password("ann", PASSWORD, 100 + round).await.unwrap());
            for _ in 0..6 {
                let answer = test.registry.second_factor(&owed.secret, SecondFactor::Totp("000000"), &from(100 + round), None).await;
                match answer.map(|_| ()).unwrap_err().code.as_ref() {
                    "code-wrong" => wrong += 1,
                    "too-many-attempts" => {}
                    "factor-locked" => locked = true,
                    other => panic!("{other}"),
                }
            }
            test.turn_clock(MINUTE * 5);
        }
        assert_eq!(wrong, 10, "ten wrong ones in a row lock the factor");
        assert!(locked);
        let mails = test.mail_to("ann@example.org").await;
        assert!(mails.iter().any(|mail| mail.subject().contains("locked")));
        // Strangers with the password stay out even with the right code; her own browser does not.
        let now = code(&setup, test.registry_now());
        let owed = half(test.try_password("ann", PASSWORD, 120).await.unwrap());
        refused(test.registry.second_factor(&owed.secret, SecondFactor::Totp(&now), &from(120), None).await.map(|_| ()), "factor-locked");
        let device = home.device.as_deref();
        let signed_in = test.registry.second_factor(&owed.secret, SecondFactor::Totp(&now), &from(120), device).await.unwrap();
        assert_eq!(signed_in.actor.session.unwrap().level, Level::TwoFactor);
        test.check().await;
    }

    async fn totp_code_reuse_within_its_window(test: TestRegistry) {
        let (_, setup) = test.with_totp("ann").await;
        let now = code(&setup, test.registry_now());
        let owed = half(test.try_password("ann", PASSWORD, 1).await.unwrap());
        test.registry.second_factor(&owed.secret, SecondFactor::Totp(&now), &from(1), None).await.unwrap();
        // Seen over a shoulder: the same, with blanks, in another spelling; and the one before.
        let blanks = format!(" {} {} ", &now[..3], &now[3..]);
        let dashes = format!("{}-{}", &now[..3], &now[3..]);
        let earlier = code(&setup, test.registry_now() - 30);
        for again in [&now, &blanks, &dashes, &earlier] {
            let owed = half(test.try_password("ann", PASSWORD, 2).await.unwrap());
            refused(test.registry.second_factor(&owed.secret, SecondFactor::Totp(again), &from(2), None).await.map(|_| ()), "code-wrong");
        }
        // With blanks it is fine, once.
        test.turn_clock(MINUTE * 10);
        let now = code(&setup, test.registry_now());
        let owed = half(test.try_password("ann", PASSWORD, 3).await.unwrap());
        let spaced = format!("{} {}", &now[..3], &now[3..]);
        test.registry.second_factor(&owed.secret, SecondFactor::Totp(&spaced), &from(3), None).await.unwrap();
    }

    async fn recovery_code_reuse(test: TestRegistry) {
        let (home, _) = test.with_totp("ann").await;
        let made = test.registry.recovery_codes(&home.actor, &from(1)).await.unwrap().codes;
        assert_eq!(made.len(), 10);
        let owed = half(test.try_password("ann", PASSWORD, 1).await.unwrap());
        assert!(owed.recovery_code && owed.totp && !owed.key);
        let typed = made[0].to_uppercase().replace('-', " ");
        test.registry.second_factor(&owed.secret, SecondFactor::RecoveryCode(&typed), &from(1), None).await.unwrap();
        // The half session is used up, and so is the code.
        refused(test.registry.second_factor(&owed.secret, SecondFactor::RecoveryCode(&made[1]), &from(1), None).await.map(|_| ()), "session-over");
        let owed = half(test.try_password("ann", PASSWORD, 1).await.unwrap());
        refused(test.registry.second_factor(&owed.secret, SecondFactor::RecoveryCode(&made[0]), &from(1), None).await.map(|_| ()), "code-wrong");
        // A new set ends the old one.
        let fresh = test.registry.recovery_codes(&home.actor, &from(1)).await.unwrap().codes;
        refused(test.registry.second_factor(&owed.secret, SecondFactor::RecoveryCode(&made[2]), &from(1), None).await.map(|_| ()), "code-wrong");
        test.registry.second_factor(&owed.secret, SecondFactor::RecoveryCode(&fresh[2]), &from(1), None).await.unwrap();
        test.check().await;
    }

    async fn session_fixation(test: TestRegistry) {
        let home = test.with_password("ann").await;
        let step = test.registry.step_up_with_password(&home.cookie, PASSWORD, None, &from(1), None).await.unwrap();
        assert_ne!(step.cookie, home.cookie);
        refused(test.show(&home.cookie).await, "session-over");
        test.show(&step.cookie).await.unwrap();
        // A half session is nothing before its second factor, and nothing after it.
        let setup = test.registry.totp_start(&step.actor).await.unwrap();
        let first = code(&setup, test.registry_now());
        test.registry.totp_confirm(&step.actor, &setup.id, &first, &from(1)).await.unwrap();
        let owed = half(test.try_password("ann", PASSWORD, 1).await.unwrap());
        refused(test.show(&owed.secret).await, "second-factor-needed");
        test.turn_clock(MINUTE);
        let now = code(&setup, test.registry_now());
        let whole = test.registry.second_factor(&owed.secret, SecondFactor::Totp(&now), &from(1), None).await.unwrap();
        assert_ne!(whole.cookie, owed.secret);
        refused(test.show(&owed.secret).await, "session-over");
        // Made-up cookies are nobody's.
        for made_up in ["", "0", &"0".repeat(64), &"x".repeat(100_000)] {
            refused(test.show(made_up).await, "session-over");
        }
    }

    async fn session_theft_after_revocation(test: TestRegistry) {
        let (mut key, first) = test.with_passkey("ann").await;
        let second = test.by_passkey(&mut key).await.unwrap();
        let third = test.by_passkey(&mut key).await.unwrap();
        assert_eq!(test.registry.sessions(&third.actor).await.unwrap().len(), 3);
        test.registry.revoke_session(&third.actor, &first.actor.session.as_ref().unwrap().id).await.unwrap();
        refused(test.show(&first.cookie).await, "session-over");
        let elsewhere = test.reopened().await.unwrap();
        refused(elsewhere.authenticate(Presented::Session(first.cookie.clone())).await, "session-over");
        elsewhere.store().close().await;
        // An actor from before the revocation can not change anything either.
        refused(test.register(Enrolling::Session(&first.actor), &mut Key::new()).await.map(|_| ()), "session-over");
        // Another factor: every other session ends.
        test.register(Enrolling::Session(&third.actor), &mut Key::new()).await.unwrap();
        refused(test.show(&second.cookie).await, "session-over");
        test.show(&third.cookie).await.unwrap();
        // Nobody ends the sessions of others.
        let (_, bob) = test.with_passkey("bob").await;
        refused(test.registry.revoke_session(&bob.actor, &third.actor.session.as_ref().unwrap().id).await, "session-unknown");
        test.registry.sign_out(&third.actor).await.unwrap();
        refused(test.show(&third.cookie).await, "session-over");
        test.check().await;
    }

    async fn sessions_end_when_idle_and_in_any_case(test: TestRegistry) {
        let (mut key, home) = test.with_passkey("ann").await;
        assert!(test.show(&home.cookie).await.unwrap().session.unwrap().fresh_until.is_some());
        test.turn_clock(MINUTE * 16);
        let stale = test.show(&home.cookie).await.unwrap();
        assert!(stale.session.as_ref().unwrap().fresh_until.is_none());
        refused(test.registry.recovery_codes(&stale, &from(1)).await.map(|_| ()), "step-up-needed");
        test.turn_clock(MINUTE * 121);
        refused(test.show(&home.cookie).await, "session-over");
        let again = test.by_passkey(&mut key).await.unwrap();
        for _ in 0..7 {
            test.execute("UPDATE sessions SET seen_at = seen_at + 6000000000").await;
            test.turn_clock(MINUTE * 100);
            test.show(&again.cookie).await.unwrap();
        }
        test.execute("UPDATE sessions SET seen_at = seen_at + 6000000000").await;
        test.turn_clock(MINUTE * 30);
        refused(test.show(&again.cookie).await, "session-over");
    }

    async fn step_up_with_another_users_credential(test: TestRegistry) {
        let (mut ann, hers) = test.with_passkey("ann").await;
        let (mut bob, his) = test.with_passkey("bob").await;
        let asked = test.registry.step_up_start(&hers.actor).await.unwrap();
        let answer = bob.get(&asked);
        refused(test.registry.step_up_finish(&hers.cookie, &answer, &from(1)).await.map(|_| ()), "passkey-not-yours");
        // Nor his answer to his own question, in her session; nor hers in his.
        let asked = test.registry.step_up_start(&his.actor).await.unwrap();
        let answer = bob.get(&asked);
        refused(test.registry.step_up_finish(&hers.cookie, &answer, &from(1)).await.map(|_| ()), "ceremony-unknown");
        let asked = test.registry.passkey_sign_in_start(&from(1)).await.unwrap();
        let answer = ann.get(&asked);
        refused(test.registry.step_up_finish(&hers.cookie, &answer, &from(1)).await.map(|_| ()), "ceremony-unknown");
        let asked = test.registry.step_up_start(&hers.actor).await.unwrap();
        let answer = ann.get(&asked);
        let fresh = test.registry.step_up_finish(&hers.cookie, &answer, &from(1)).await.unwrap();
        refused(test.show(&hers.cookie).await, "session-over");
        test.show(&fresh.cookie).await.unwrap();
        test.check().await;
    }

    async fn downgrade_from_passkey_to_password(test: TestRegistry) {
        let (mut key, home) = test.with_passkey("ann").await;
        test.registry.password_set(Enrolling::Session(&home.actor), PASSWORD, &from(1), None).await.unwrap();
        // A stolen password alone is not a session…
        let owed = half(test.try_password("ann", PASSWORD, 2).await.unwrap());
        assert!(owed.key && !owed.totp);
        refused(test.show(&owed.secret).await, "second-factor-needed");
        refused(test.registry.second_factor(&owed.secret, SecondFactor::Totp("123456"), &from(2), None).await.map(|_| ()), "factor-unknown");
        // …with the passkey it is one of the strongest.
        let asked = test.registry.second_factor_start(&owed.secret).await.unwrap();
        let answer = key.get(&asked);
        let whole = test.registry.second_factor(&owed.secret, SecondFactor::Key(&answer), &from(2), None).await.unwrap();
        assert_eq!(whole.actor.strength, Strength::Phishproof);
        // A password never confirms anything where there is a passkey.
        refused(test.registry.step_up_with_password(&whole.cookie, PASSWORD, None, &from(2), None).await.map(|_| ()), "step-up-needs-passkey");
        // With a code beside it one gets in, but is not fresh: nothing can be changed.
        let setup = test.registry.totp_start(&whole.actor).await.unwrap();
        let first = code(&setup, test.registry_now());
        test.registry.totp_confirm(&whole.actor, &setup.id, &first, &from(2)).await.unwrap();
        test.turn_clock(MINUTE);
        let owed = half(test.try_password("ann", PASSWORD, 3).await.unwrap());
        let now = code(&setup, test.registry_now());
        let weak = test.registry.second_factor(&owed.secret, SecondFactor::Totp(&now), &from(3), None).await.unwrap();
        assert_eq!(weak.actor.strength, Strength::Token);
        refused(test.registry.password_set(Enrolling::Session(&weak.actor), "another one entirely", &from(3), None).await.map(|_| ()), "step-up-needed");
        test.check().await;
    }

    async fn passwords_are_long_and_uncommon_and_nothing_else(test: TestRegistry) {
        let home = test.with_password("ann").await;
        let set = async |password: &str| test.registry.password_set(Enrolling::Session(&home.actor), password, &from(1), None).await.map(|_| ());
        refused(set("short").await, "password-length");
        refused(set(&"long".repeat(1_025)).await, "password-length");
        for common in ["password", "password1", "12345678", "qwertyuiop", "iloveyou", "aaaaaaaa"] {
            refused(set(common).await, "password-common");
        }
        let long = "ö correct horse ".repeat(64);
        set(&long).await.unwrap();
        done(test.try_password("ANN", &long, 1).await.unwrap());
        // Not cut off anywhere.
        refused(test.try_password("ann", &long[..long.len() - 1], 1).await.map(|_| ()), "sign-in-wrong");
        refused(test.try_password("ann", PASSWORD, 1).await.map(|_| ()), "sign-in-wrong");
    }

    async fn a_stolen_password_is_refused_when_new_and_when_used(database: Database) {
        let folder = tempfile::tempdir().unwrap();
        let (list, file) = (folder.path().join("list"), folder.path().join("breached"));
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, PASSWORD.as_bytes());
        let line: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        std::fs::write(&list, "0000000000000000000000000000000000000000:1\n").unwrap();
        countersign_registry::import_breached(&list, &file).unwrap();
        let given = file.clone();
        let test = TestRegistry::with(database, |settings| settings.sign_in.breach_file = Some(given)).await;
        let home = test.with_password("ann").await;
        test.execute("UPDATE account_emails SET verified_at = 1").await;
        // It becomes known later; it is looked at again after a month.
        std::fs::write(&list, format!("{line}:9\n")).unwrap();
        countersign_registry::import_breached(&list, &file).unwrap();
        done(test.try_password("ann", PASSWORD, 1).await.unwrap());
        refused(test.registry.password_set(Enrolling::Session(&home.actor), PASSWORD, &from(1), None).await.map(|_| ()), "password-known");
        test.turn_clock(Duration::from_secs(31 * 86_400));
        refused(test.try_password("ann", PASSWORD, 1).await.map(|_| ()), "password-breached");
        let mails = test.mail_to("ann@example.org").await;
        assert!(mails.iter().any(|mail| mail.subject().contains("known to attackers")));
        test.check().await;
    }

    async fn a_maintainer_without_a_factor_is_refused_after_the_time_of_grace(test: TestRegistry) {
        let home = test.with_password("ann").await;
        let token = test.token("ann", Action::Manage, None).await;
        test.publish(&token, &Wheel::new("demo", "1.0").build()).await.unwrap();
        let missing = test.registry.security(&home.actor).await.unwrap().missing.unwrap();
        assert_eq!(missing.need, FactorNeed::Second);
        test.turn_clock(Duration::from_secs(31 * 86_400));
        let token = test.token("ann", Action::Manage, None).await;
        let error = refused(test.publish(&token, &Wheel::new("demo", "1.1").build()).await, "factor-needed");
        assert!(error.text().contains("second factor"), "{error}");
        // The way out works: a factor, and the same token goes on.
        let again = done(test.try_password("ann", PASSWORD, 1).await.unwrap());
        let setup = test.registry.totp_start(&again.actor).await.unwrap();
        let first = code(&setup, test.registry_now());
        test.registry.totp_confirm(&again.actor, &setup.id, &first, &from(1)).await.unwrap();
        test.publish(&token, &Wheel::new("demo", "1.1").build()).await.unwrap();
        // What is demanded can not be taken away.
        refused(test.registry.remove_factor(&again.actor, &setup.id, &from(1)).await, "factor-demanded");
        // A critical project asks for more, after its own time of grace.
        test.registry.mark_critical(&Actor::operator(), Ecosystem::Pypi, "demo", true).await.unwrap();
        test.publish(&token, &Wheel::new("demo", "1.2").build()).await.unwrap();
        test.turn_clock(Duration::from_secs(31 * 86_400));
        let token = test.token("ann", Action::Manage, None).await;
        refused(test.publish(&token, &Wheel::new("demo", "1.3").build()).await, "factor-needed");
        test.check().await;
    }

    async fn the_rule_on_factors_goes_down_only_in_the_log(test: TestRegistry) {
        let operator = Actor::operator();
        let (_, ann) = test.with_passkey("ann").await;
        let rule = test.registry.factor_policy().await.unwrap();
        let higher = FactorPolicy { maintainers: FactorNeed::Phishproof, ..rule };
        refused(test.registry.set_factor_policy(&ann.actor, higher, None).await, "operator-needed");
        test.registry.set_factor_policy(&operator, higher, None).await.unwrap();
        refused(test.registry.set_factor_policy(&operator, rule, None).await, "factor-policy-down");
        refused(test.registry.set_factor_policy(&operator, rule, Some("  ")).await, "factor-policy-down");
        test.registry.set_factor_policy(&operator, rule, Some("the keys are late")).await.unwrap();
        assert_eq!(test.registry.factor_policy().await.unwrap().maintainers, FactorNeed::Second);
        let leaves = test.check().await;
        assert_eq!(leaves.iter().filter(|leaf| leaf.kind == LeafKind::OperatorOverride).count(), 1);
    }

    async fn an_operator_operates_with_a_fresh_passkey_only(test: TestRegistry) {
        let user = test.registry.create_user(&Actor::operator(), "root", None, true).await.unwrap();
        let mut key = Key::new();
        let secret = user.enrolment.unwrap();
        let home = test.register(Enrolling::Link(&secret), &mut key).await.unwrap().unwrap();
        test.registry.users(&home.actor).await.unwrap();
        test.turn_clock(MINUTE * 16);
        let stale = test.show(&home.cookie).await.unwrap();
        refused(test.registry.users(&stale).await, "step-up-needed");
        // A disabled account is out at once.
        let (mut anns, ann) = test.with_passkey("ann").await;
        let asked = test.registry.step_up_start(&stale).await.unwrap();
        let answer = key.get(&asked);
        let fresh = test.registry.step_up_finish(&home.cookie, &answer, &from(1)).await.unwrap();
        test.registry.disable_user(&fresh.actor, "ann", true).await.unwrap();
        assert!(test.show(&ann.cookie).await.is_err());
        refused(test.by_passkey(&mut anns).await.map(|_| ()), "account-disabled");
        refused(test.registry.disable_user(&fresh.actor, "root", true).await, "not-yourself");
        test.registry.disable_user(&fresh.actor, "ann", false).await.unwrap();
        test.by_passkey(&mut anns).await.unwrap();
        test.check().await;
    }

    async fn an_external_provider_signs_in_who_was_linked_and_nobody_else(database: Database) {
        let (company, issuer) = provider(format!("sso-{database:?}").to_lowercase()).await;
        let given = company.clone();
        let test = TestRegistry::with(database, |settings| settings.sign_in.providers = vec![given]).await;
        let home = test.with_password("ann").await;
        let bob = test.with_password("bob").await;
        let registry = &test.registry;
        let person = || Claims::new().set("sub", "4711").set("preferred_username", "ann@company").set("amr", json!(["pwd", "mfa"]));

        // Unlinked: nobody's, whatever address or name it claims.
        let away = registry.provider_start("company", None, &from(1)).await.unwrap();
        let state = consent(&issuer, &away, "countersign", person().set("email", "ann@example.org")).await;
        refused(registry.provider_finish(&state, "code", &away.browser, None, &from(1), None).await.map(|_| ()), "identity-unknown");

        // Linked from her session; not by somebody else's browser or session that has the state.
        let away = registry.provider_start("company", Some(&home.actor), &from(1)).await.unwrap();
        let state = consent(&issuer, &away, "countersign", person()).await;
        refused(registry.provider_finish(&state, "code", "another browser", Some(&home.actor), &from(1), None).await.map(|_| ()), "sign-in-unknown");
        let away = registry.provider_start("company", Some(&home.actor), &from(1)).await.unwrap();
        let state = consent(&issuer, &away, "countersign", person()).await;
        refused(registry.provider_finish(&state, "code", &away.browser, Some(&bob.actor), &from(1), None).await.map(|_| ()), "sign-in-unknown");
        let away = registry.provider_start("company", Some(&home.actor), &from(1)).await.unwrap();
        let state = consent(&issuer, &away, "countersign", person()).await;
        assert!(registry.provider_finish(&state, "code", &away.browser, Some(&home.actor), &from(1), None).await.map(|back| matches!(back, ProviderReturn::Linked)).unwrap());
        let away = registry.provider_start("company", Some(&bob.actor), &from(1)).await.unwrap();
        let state = consent(&issuer, &away, "countersign", person()).await;
        refused(registry.provider_finish(&state, "code", &away.browser, Some(&bob.actor), &from(1), None).await.map(|_| ()), "identity-taken");

        // Its strength is what the operator gave its words.
        let away = registry.provider_start("company", None, &from(1)).await.unwrap();
        let state = consent(&issuer, &away, "countersign", person()).await;
        let step = came_in(registry.provider_finish(&state, "code", &away.browser, None, &from(1), None).await.unwrap());
        let signed_in = done(step);
        assert_eq!((signed_in.actor.name(), signed_in.actor.session.as_ref().unwrap().level), ("ann", Level::TwoFactor));
        refused(registry.provider_finish(&state, "code", &away.browser, None, &from(1), None).await.map(|_| ()), "sign-in-unknown");

        // A token of another sign-in, for another client, or late.
        let away = registry.provider_start("company", None, &from(1)).await.unwrap();
        let state = consent(&issuer, &away, "countersign", person().set("bent_nonce", "of another sign-in")).await;
        refused(registry.provider_finish(&state, "code", &away.browser, None, &from(1), None).await.map(|_| ()), "provider-failed");
        let away = registry.provider_start("company", None, &from(1)).await.unwrap();
        let state = consent(&issuer, &away, "another client", person()).await;
        refused(registry.provider_finish(&state, "code", &away.browser, None, &from(1), None).await.map(|_| ()), "oidc-audience-wrong");
        let away = registry.provider_start("company", None, &from(1)).await.unwrap();
        let state = consent(&issuer, &away, "countersign", person()).await;
        test.turn_clock(MINUTE * 11);
        refused(registry.provider_finish(&state, "code", &away.browser, None, &from(1), None).await.map(|_| ()), "sign-in-unknown");
        test.check().await;
    }

    async fn account_resurrection_by_name_reuse(test: TestRegistry) {
        let (mut key, ann) = test.with_passkey("ann").await;
        test.registry.erase_account(&ann.actor, "ann").await.unwrap();
        refused(test.show(&ann.cookie).await.map(|_| ()), "session-over");
        refused(test.by_passkey(&mut key).await.map(|_| ()), "passkey-unknown");
        refused(test.registry.sign_up("Ann", "new@example.org", &from(1)).await, "user-exists");
        refused(test.registry.create_user(&Actor::operator(), "ann", None, false).await.map(|_| ()), "user-exists");
        test.check().await;
    }

    async fn a_sign_in_from_somewhere_new_is_told(test: TestRegistry) {
        let (mut key, home) = test.with_passkey("ann").await;
        test.execute("UPDATE account_emails SET verified_at = 1").await;
        let told = async || test.mail_to("ann@example.org").await.iter().filter(|mail| mail.subject().contains("new device")).count();
        test.by_passkey(&mut key).await.unwrap();
        assert_eq!(told().await, 0, "the same network and browser");
        let asked = test.registry.passkey_sign_in_start(&from(1)).await.unwrap();
        let answer = key.get(&asked);
        test.registry.passkey_sign_in_finish(&answer, &from(200), home.device.as_deref()).await.unwrap();
        assert_eq!(told().await, 0, "a browser that is known");
        let asked = test.registry.passkey_sign_in_start(&from(1)).await.unwrap();
        let answer = key.get(&asked);
        test.registry.passkey_sign_in_finish(&answer, &from(201), None).await.unwrap();
        assert_eq!(told().await, 1);
    }

    async fn slow_and_distributed_guessing_at_a_password_over_a_day(test: TestRegistry) {
        test.hold_clock();
        let home = test.with_password("ann").await;
        // One guess a minute, each from another network than the ones before it: no short span sees anything.
        let mut looked_at = 0;
        for minute in 0..24 * 60_u16 {
            let network = u8::try_from(2 + minute % 250).unwrap();
            let before = test.registry.passwords_hashed();
            match test.try_password("ann", "one more guess", network).await {
                Err(error) if error.code == "too-many-attempts" => {
                    assert_eq!(test.registry.passwords_hashed(), before, "a refused guess costs no hash");
                }
                Err(error) => {
                    assert_eq!(error.code, "sign-in-wrong");
                    looked_at += 1;
                }
                Ok(_) => panic!("a guess"),
            }
            if minute == 23 * 60 {
                // Strangers are kept out for the rest of the day; her browser and her network are not.
                refused(test.try_password("ann", PASSWORD, 252).await.map(|_| ()), "too-many-attempts");
                done(test.registry.password_sign_in("ann", PASSWORD, &from(253), home.device.as_deref()).await.unwrap());
                done(test.try_password("ann", PASSWORD, 1).await.unwrap());
            }
            test.turn_clock(MINUTE);
        }
        assert!(looked_at <= 100, "{looked_at} guesses were looked at in one day");
        // Nor is it for ever, for anybody.
        test.turn_clock(MINUTE);
        done(test.try_password("ann", PASSWORD, 254).await.unwrap());
        // From her own network a neighbour guesses no more than that either.
        test.turn_clock(MINUTE * 60 * 24);
        let mut looked_at = 0;
        for _ in 0..24 * 12 {
            if refused_code(test.try_password("ann", "a neighbour's guess", 1).await) == "sign-in-wrong" {
                looked_at += 1;
            }
            test.turn_clock(MINUTE * 5);
        }
        assert!(looked_at <= 100, "{looked_at} guesses were looked at in one day");
        test.check().await;
    }

    async fn slow_and_distributed_guessing_at_codes_over_a_day(test: TestRegistry) {
        test.hold_clock();
        let (home, _) = test.with_totp("ann").await;
        let mut looked_at = 0;
        for round in 0..24 * 4_u8 {
            let network = 100 + round;
            let owed = half(test.try_password("ann", PASSWORD, network).await.unwrap());
            // Four guesses every quarter of an hour, from a network that was never seen before.
            for guess in ["000000", "111111", "222222", "333333"] {
                let answer = test.registry.second_factor(&owed.secret, SecondFactor::Totp(guess), &from(network), None).await;
                match refused_code(answer).as_str() {
                    "code-wrong" => looked_at += 1,
                    "too-many-attempts" | "factor-locked" => {}
                    other => panic!("{other}"),
                }
            }
            test.turn_clock(MINUTE * 15);
        }
        assert!(looked_at <= 50, "{looked_at} codes were looked at in one day");
        // Recovery codes share the limit: they are no way round it.
        let owed = half(test.try_password("ann", PASSWORD, 99).await.unwrap());
        drop(home);
        let mut tried = 0;
        for _ in 0..60 {
            let answer = test.registry.second_factor(&owed.secret, SecondFactor::RecoveryCode("aaaa-bbbb-cccc"), &from(98), None).await;
            if refused_code(answer.map(|_| ())) == "code-wrong" {
                tried += 1;
            }
        }
        assert!(tried <= 5, "{tried} recovery codes were looked at within five minutes");
        test.check().await;
    }

    async fn reset_token_reuse(test: TestRegistry) {
        let (home, setup) = test.with_totp("ann").await;
        test.execute("UPDATE account_emails SET verified_at = 1").await;
        let asked = async || {
            test.registry.begin_password_reset("ann", &from(1)).await.unwrap();
            test.registry.ways_back_written().await;
            test.link("ann@example.org", "/account/reset-password").await
        };
        let link = asked().await;
        let new = "forty two purple wombats";
        let set = async |secret: &str, password: &str| test.registry.password_set(Enrolling::Link(secret), password, &from(9), None).await;
        // A password that is refused uses nothing up; a good one does, once.
        refused(set(&link, "short").await.map(|_| ()), "password-length");
        let (left, right) = tokio::join!(set(&link, new), set(&link, "somebody else's choice"));
        assert!(left.is_ok() != right.is_ok(), "one link set two passwords, or none");
        refused(set(&link, "a third password altogether").await.map(|_| ()), "link-unknown");
        // It signs nobody in, ends what was open, and the second factor is owed as ever.
        assert!(left.or(right).unwrap().is_none());
        refused(test.show(&home.cookie).await.map(|_| ()), "session-over");
        // It registers no passkey: that would get round the second factor.
        let link = asked().await;
        refused(test.register(Enrolling::Link(&link), &mut Key::new()).await.map(|_| ()), "link-not-for-this");
        set(&link, new).await.unwrap();
        let owed = half(test.try_password("ann", new, 9).await.unwrap());
        let now = code(&setup, test.registry_now());
        test.registry.second_factor(&owed.secret, SecondFactor::Totp(&now), &from(9), None).await.unwrap();
        // Of two links that were asked for, using either up ends the other; and none is good for longer than an hour.
        let (older, newer) = (asked().await, asked().await);
        assert_ne!(older, newer);
        set(&newer, "a password by the newer").await.unwrap();
        refused(set(&older, "the older of two links").await.map(|_| ()), "link-unknown");
        let newer = asked().await;
        test.turn_clock(MINUTE * 61);
        refused(set(&newer, "much too late for this").await.map(|_| ()), "link-unknown");
        test.check().await;
    }

    async fn downgrade_by_a_weak_provider_and_mixing_up_providers(database: Database) {
        let (company, issuer) = provider(format!("weak-{database:?}").to_lowercase()).await;
        let (mut other, foreign) = provider(format!("other-{database:?}").to_lowercase()).await;
        other.name = "other".to_owned();
        let given = vec![company, other];
        let test = TestRegistry::with(database, |settings| settings.sign_in.providers = given).await;
        let registry = &test.registry;
        let (_, home) = test.with_passkey("ann").await;
        let person = || Claims::new().set("sub", "4711").set("preferred_username", "ann@company");
        let away = registry.provider_start("company", Some(&home.actor), &from(1)).await.unwrap();
        let state = consent(&issuer, &away, "countersign", person().set("amr", json!(["mfa"]))).await;
        registry.provider_finish(&state, "code", &away.browser, Some(&home.actor), &from(1), None).await.unwrap();

        // A provider that says nothing, or something unknown, of how it checked: worth a password, the passkey is owed.
        for amr in [json!(null), json!([]), json!(["pwd"]), json!(["superb"]), json!("mfa mfa")] {
            let away = registry.provider_start("company", None, &from(1)).await.unwrap();
            let state = consent(&issuer, &away, "countersign", person().set("amr", amr)).await;
            let step = came_in(registry.provider_finish(&state, "code", &away.browser, None, &from(1), None).await.unwrap());
            let owed = half(step);
            assert!(owed.key);
            refused(test.show(&owed.secret).await.map(|_| ()), "second-factor-needed");
        }
        // Even with its strongest word nothing can be changed by it where there is a passkey.
        let away = registry.provider_start("company", None, &from(1)).await.unwrap();
        let state = consent(&issuer, &away, "countersign", person().set("amr", json!(["mfa"]))).await;
        let step = came_in(registry.provider_finish(&state, "code", &away.browser, None, &from(1), None).await.unwrap());
        let weak = done(step);
        assert_eq!(weak.actor.strength, Strength::Token);
        refused(registry.remove_factor(&weak.actor, &registry.security(&weak.actor).await.unwrap().factors[0].id, &from(1)).await, "step-up-needed");

        // The same subject at another provider is somebody else.
        let away = registry.provider_start("other", None, &from(1)).await.unwrap();
        let state = consent(&foreign, &away, "countersign", person().set("amr", json!(["mfa"]))).await;
        refused(registry.provider_finish(&state, "code", &away.browser, None, &from(1), None).await.map(|_| ()), "identity-unknown");
        // A token that one provider made, handed out where the other's is expected.
        let away = registry.provider_start("company", None, &from(1)).await.unwrap();
        let state = asked_for(&away, "state");
        let claims = person().set("amr", json!(["mfa"])).set("nonce", asked_for(&away, "nonce"));
        let (of, at) = (foreign.clone(), issuer.url());
        tokio::task::spawn_blocking(move || {
            let token = of.token("countersign", &claims).unwrap();
            let path = format!("{}/token", at.strip_prefix(PROVIDER.url()).unwrap());
            PROVIDER.answer(&path, Some(json!({"id_token": token, "token_type": "Bearer"})));
        })
        .await
        .unwrap();
        let mixed = registry.provider_finish(&state, "code", &away.browser, None, &from(1), None).await;
        assert!(mixed.is_err(), "a token of another issuer signed somebody in");
        test.check().await;
    }

    async fn a_recovery_by_an_address_and_a_provider_tells_everybody_and_waits(database: Database) {
        let (company, issuer) = provider(format!("back-{database:?}").to_lowercase()).await;
        let given = vec![company];
        let test = TestRegistry::with(database, |settings| settings.sign_in.providers = given).await;
        let registry = &test.registry;
        let home = test.with_password("ann").await;
        let bob = test.with_password("bob").await;
        test.execute("UPDATE account_emails SET verified_at = 1").await;
        let link_to = async |whose: &SignedIn, subject: &str| {
            let away = registry.provider_start("company", Some(&whose.actor), &from(1)).await.unwrap();
            let state = consent(&issuer, &away, "countersign", Claims::new().set("sub", subject)).await;
            registry.provider_finish(&state, "code", &away.browser, Some(&whose.actor), &from(1), None).await.unwrap();
        };
        link_to(&home, "4711").await;
        link_to(&bob, "4712").await;
        let token = test.token("ann", Action::Manage, None).await;
        test.publish(&token, &Wheel::new("demo", "1.0").build()).await.unwrap();
        registry.set_role(&Actor::operator(), Ecosystem::Pypi, "demo", "bob", Some(Role::Owner)).await.unwrap();

        registry.begin_recovery("ann", &from(1)).await.unwrap();
        registry.ways_back_written().await;
        let begin = test.link("ann@example.org", "/recovery/begin").await;
        let (case, view) = registry.open_recovery(&begin, None).await.unwrap();
        assert_eq!((view.proofs.len(), view.ready), (1, None), "an address alone waits for nothing");
        // Somebody else's sign-in there is no proof, nor is one of an hour ago.
        let prove = async |subject: &str, ago: &str| {
            let away = registry.provider_start_for_recovery("company", &case, &from(1)).await.unwrap();
            let claims = Claims::new().set("sub", subject).set("asked_last", ago);
            let state = consent(&issuer, &away, "countersign", claims).await;
            registry.provider_finish(&state, "code", &away.browser, None, &from(1), None).await.map(|back| matches!(back, ProviderReturn::Proved))
        };
        refused(prove("4712", "").await, "recovery-identity");
        refused(prove("4713", "").await, "recovery-identity");
        refused(prove("4711", "3600").await, "provider-stale");
        refused(prove("4711", "never").await, "provider-stale");
        refused(registry.provider_start_for_recovery("company", "csgn_s_nonsense", &from(1)).await.map(|_| ()), "recovery-unknown");
        // Whoever lost the factors here has no session, and needs none.
        assert!(prove("4711", "").await.unwrap());
        let view = registry.recovery_case(&case).await.unwrap();
        let kinds: Vec<&str> = view.proofs.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["address", "identity"]);
        // Given twice it is one proof; and from now on three days pass in which both owners can stop it.
        assert!(prove("4711", "").await.unwrap());
        let view = registry.recovery_case(&case).await.unwrap();
        assert_eq!((view.proofs.len(), view.ready.unwrap().seconds() - test.registry_now() > 71 * 3_600), (2, true));
        for owner in ["ann@example.org", "bob@example.org"] {
            let mails = test.mail_to(owner).await;
            assert!(mails.iter().any(|mail| mail.text.contains("/recovery/stop")), "{owner} was not told");
        }
        registry.look_after_accounts().await.unwrap();
        assert!(test.mail_to("ann@example.org").await.iter().all(|mail| !mail.text.contains("/recovery/finish")));
        registry.stop_recovery(&test.link("bob@example.org", "/recovery/stop").await).await.unwrap();
        refused(registry.recovery_case(&case).await, "recovery-unknown");
        refused(registry.provider_start_for_recovery("company", &case, &from(1)).await.map(|_| ()), "recovery-unknown");
        test.check().await;
    }

    async fn an_operator_looks_after_accounts_and_gets_into_none(test: TestRegistry) {
        let operator = Actor::operator();
        let registry = &test.registry;
        let (mut key, ann) = test.with_passkey("ann").await;
        let secret = test.invited("bob").await;
        let token = test.token("ann", Action::Manage, None).await;
        test.publish(&token, &Wheel::new("demo", "1.0").build()).await.unwrap();
        // Nobody else sees or does it.
        for stranger in [&ann.actor, &token, &Actor::anonymous()] {
            refused(registry.user(stranger, "ann").await, "operator-needed");
            refused(registry.end_sessions_of(stranger, "ann").await, "operator-needed");
            refused(registry.enrol_again(stranger, "bob").await.map(|_| ()), "operator-needed");
            refused(registry.critical_projects(stranger).await, "operator-needed");
            refused(registry.refuse_recovery(stranger, "ann", "x").await, "operator-needed");
            refused(registry.send_recovery_link(stranger, "ann").await, "operator-needed");
        }
        let shown = registry.user(&operator, "ANN").await.unwrap();
        assert_eq!((shown.sessions, shown.tokens, shown.factors.len(), shown.password), (1, 1, 1, false));
        assert_eq!(shown.projects, [("pypi:demo".to_owned(), vec![Role::Owner])]);
        // An account in use takes no link; one that nobody got into takes a new one, and the old one ends.
        refused(registry.enrol_again(&operator, "ann").await.map(|_| ()), "account-in-use");
        let new = registry.enrol_again(&operator, "bob").await.unwrap();
        refused(registry.enrolment(&secret).await, "link-unknown");
        test.register(Enrolling::Link(&new), &mut Key::new()).await.unwrap();
        refused(registry.enrol_again(&operator, "bob").await.map(|_| ()), "account-in-use");
        // Sessions end, and the holder is told.
        assert_eq!(registry.end_sessions_of(&operator, "ann").await.unwrap(), 1);
        refused(test.show(&ann.cookie).await.map(|_| ()), "session-over");
        let back = test.by_passkey(&mut key).await.unwrap();
        let notices = registry.account_notices(&back.actor).await.unwrap();
        assert!(notices.iter().any(|notice| notice.kind == "operator-acted"));
        assert_eq!(registry.end_sessions_of(&operator, "bob").await.unwrap(), 1);
        // Critical projects are listed with their reason.
        registry.mark_critical(&operator, Ecosystem::Pypi, "demo", true).await.unwrap();
        let critical = registry.critical_projects(&operator).await.unwrap();
        assert_eq!((critical.len(), critical[0].name.as_str(), critical[0].why.as_str()), (1, "demo", "marked"));
        refused(registry.send_recovery_link(&operator, "bob").await, "recovery-no-address");
        test.execute("UPDATE account_emails SET verified_at = 1").await;
        registry.send_recovery_link(&operator, "ann").await.unwrap();
        let begin = test.link("ann@example.org", "/recovery/begin").await;
        let (case, _) = registry.open_recovery(&begin, None).await.unwrap();
        refused(registry.refuse_recovery(&operator, "ann", "two\nlines").await, "recovery-reason");
        registry.refuse_recovery(&operator, "ann", "it was not her").await.unwrap();
        refused(registry.recovery_case(&case).await, "recovery-unknown");
        let notices = registry.account_notices(&back.actor).await.unwrap();
        assert!(notices.iter().any(|notice| notice.text.contains("it was not her")), "{notices:?}");
        test.check().await;
    }
}

/// What a review of sign-in found.
mod reviewed {
    use super::*;

    on_both_databases! {
        async fn a_restricted_registry_makes_no_account_for_whoever_has_an_address(database: Database) {
            let test = TestRegistry::with(database, |settings| settings.visibility = Visibility::Restricted).await;
            refused(test.registry.sign_up("mal", "mal@example.org", &from(1)).await, "sign-up-closed");
            // Only the operator's own word opens it.
            let test = TestRegistry::with(database, |settings| {
                settings.visibility = Visibility::Restricted;
                settings.sign_in.open = Some(true);
            })
            .await;
            test.registry.sign_up("ann", "ann@example.org", &from(1)).await.unwrap();
        }

        async fn a_flood_of_questions_and_ways_back_is_refused_by_network(test: TestRegistry) {
            test.with_password("ann").await;
            let mut asked = 0;
            let end = loop {
                match test.registry.passkey_sign_in_start(&from(9)).await {
                    Ok(_) => asked += 1,
                    Err(error) => break error.code.into_owned(),
                }
                assert!(asked <= 300);
            };
            assert_eq!((end.as_str(), asked), ("too-many-attempts", 300));
            test.registry.passkey_sign_in_start(&from(10)).await.unwrap();
            let mut asked = 0;
            while test.registry.begin_password_reset("nobody", &from(9)).await.is_ok() {
                asked += 1;
                assert!(asked <= 20);
            }
            assert_eq!(asked, 20);
            refused(test.registry.begin_recovery("ann", &from(9)).await, "too-many-attempts");
            test.registry.begin_recovery("ann", &from(10)).await.unwrap();
            let mut asked = 0;
            while test.registry.report_leak("nothing", "", &from(9)).await.is_ok() {
                asked += 1;
                assert!(asked <= 60);
            }
            assert_eq!(asked, 60);
            // It passes.
            test.turn_clock(MINUTE * 11);
            test.registry.passkey_sign_in_start(&from(9)).await.unwrap();
            test.registry.begin_recovery("ann", &from(9)).await.unwrap();
        }

        async fn thousands_of_hosts_of_one_network_keep_nobody_from_logging_in_by_device(test: TestRegistry) {
            let mal = |n: u128| CallerOrigin {
                address: std::net::IpAddr::V6((0x2001_0db8_0000_0000_u128 << 64 | n).into()),
                agent: "mal".to_owned(),
            };
            let mut begun = 0;
            for n in 0..200 {
                match test.registry.begin_device("mal", Action::Read, &mal(n)).await {
                    Ok(_) => begun += 1,
                    Err(error) => assert_eq!(error.code, "login-limit"),
                }
            }
            assert_eq!(begun, 20);
            test.registry.begin_device("countersign on ann's laptop", Action::Read, &from(1)).await.unwrap();
        }

        async fn a_mailbox_makes_no_password_where_there_was_none(test: TestRegistry) {
            let (mut key, home) = test.with_passkey("ann").await;
            test.execute("UPDATE account_emails SET verified_at = 1").await;
            let asked = async || {
                test.registry.begin_password_reset("ann", &from(9)).await.unwrap();
                test.registry.ways_back_written().await;
                test.mail_to("ann@example.org").await
            };
            let mails = asked().await;
            assert!(mails.iter().any(|mail| mail.subject().contains("no password")));
            assert!(!mails.iter().any(|mail| mail.text.contains("/account/reset-password")));
            // Nor does a link that was asked for while there was one.
            test.registry.password_set(Enrolling::Session(&home.actor), PASSWORD, &from(1), None).await.unwrap();
            asked().await;
            let link = test.link("ann@example.org", "/account/reset-password").await;
            test.registry.password_remove(&home.actor, &from(1)).await.unwrap();
            refused(test.registry.password_set(Enrolling::Link(&link), "the mailbox's own password", &from(9), None).await.map(|_| ()), "link-unknown");
            assert_eq!(test.count("SELECT count(*) AS n FROM passwords").await, 0);
            test.by_passkey(&mut key).await.unwrap();
            test.check().await;
        }

        async fn a_copied_key_is_no_reason_to_ask_for_less(test: TestRegistry) {
            let (mut key, home) = test.with_passkey("ann").await;
            test.registry.password_set(Enrolling::Session(&home.actor), PASSWORD, &from(1), None).await.unwrap();
            let codes = test.registry.recovery_codes(&home.actor, &from(1)).await.unwrap().codes;
            let mut copy = key.clone();
            test.by_passkey(&mut key).await.unwrap();
            refused(test.by_passkey(&mut copy).await, "passkey-cloned");
            // The password alone is a half session, and confirms nothing.
            let owed = half(test.try_password("ann", PASSWORD, 1).await.unwrap());
            assert!(!owed.key && !owed.totp && owed.recovery_code);
            refused(test.registry.step_up_with_password(&home.cookie, PASSWORD, None, &from(1), None).await.map(|_| ()), "step-up-needed");
            // A recovery code stands in for it, and lets it be replaced.
            let back = test.registry.second_factor(&owed.secret, SecondFactor::RecoveryCode(&codes[0]), &from(1), None).await.unwrap();
            let locked = test.registry.security(&back.actor).await.unwrap().factors.remove(0);
            let mut other = Key::new();
            test.register(Enrolling::Session(&back.actor), &mut other).await.unwrap();
            test.registry.remove_factor(&back.actor, &locked.id, &from(1)).await.unwrap();
            test.by_passkey(&mut other).await.unwrap();
            test.check().await;
        }

        async fn a_copy_that_was_used_between_question_and_answer_is_noticed(test: TestRegistry) {
            let (mut key, home) = test.with_passkey("ann").await;
            let asked = test.registry.step_up_start(&home.actor).await.unwrap();
            let mut copy = key.clone();
            let late = copy.get(&asked);
            // The holder's own key goes on meanwhile.
            test.by_passkey(&mut key).await.unwrap();
            test.by_passkey(&mut key).await.unwrap();
            refused(test.registry.step_up_finish(&home.cookie, &late, &from(1)).await.map(|_| ()), "passkey-cloned");
            test.check().await;
        }

        async fn a_sign_in_of_days_ago_at_a_provider_is_not_fresh(database: Database) {
            let (company, issuer) = provider(format!("old-{database:?}").to_lowercase()).await;
            let test = TestRegistry::with(database, |settings| settings.sign_in.providers = vec![company]).await;
            let registry = &test.registry;
            let home = test.with_password("ann").await;
            let person = |ago: &str| Claims::new().set("sub", "4711").set("amr", json!(["mfa"])).set("asked_last", ago);
            let away = registry.provider_start("company", Some(&home.actor), &from(1)).await.unwrap();
            assert!(away.url.contains("max_age=900"), "{}", away.url);
            let state = consent(&issuer, &away, "countersign", person("")).await;
            registry.provider_finish(&state, "code", &away.browser, Some(&home.actor), &from(1), None).await.unwrap();
            for (ago, level, fresh) in [("", Level::TwoFactor, true), ("900", Level::TwoFactor, true), ("2000", Level::Password, false), ("never", Level::Password, false), ("-2000", Level::Password, false)] {
                let away = registry.provider_start("company", None, &from(1)).await.unwrap();
                let state = consent(&issuer, &away, "countersign", person(ago)).await;
                let back = registry.provider_finish(&state, "code", &away.browser, None, &from(1), None).await.unwrap();
                let session = done(came_in(back)).actor.session.unwrap();
                assert_eq!((session.level, session.fresh_until.is_some()), (level, fresh), "{ago}");
            }
            test.check().await;
        }

        async fn a_sign_in_to_a_dormant_account_is_told(test: TestRegistry) {
            let (mut key, _) = test.with_passkey("ann").await;
            test.execute("UPDATE account_emails SET verified_at = 1").await;
            test.turn_clock(Duration::from_secs(32 * 86_400));
            test.registry.purge_sign_in().await.unwrap();
            assert_eq!(test.count("SELECT count(*) AS n FROM sessions").await, 0);
            test.by_passkey(&mut key).await.unwrap();
            let mails = test.mail_to("ann@example.org").await;
            assert!(mails.iter().any(|mail| mail.subject().contains("new device")));
        }

        async fn a_browser_that_was_thrown_out_is_a_stranger(test: TestRegistry) {
            let home = test.with_password("ann").await;
            test.execute("UPDATE account_emails SET verified_at = 1").await;
            let mal = done(test.try_password("ann", PASSWORD, 66).await.unwrap());
            let told = async || test.mail_to("ann@example.org").await.iter().filter(|mail| mail.subject().contains("new device")).count();
            assert_eq!(told().await, 1);
            test.registry.revoke_other_sessions(&home.actor).await.unwrap();
            let again = done(test.registry.password_sign_in("ann", PASSWORD, &from(66), mal.device.as_deref()).await.unwrap());
            assert_eq!(told().await, 2, "it was known still");
            // One by one as well; her own browser stays known.
            test.registry.revoke_session(&home.actor, &again.actor.session.unwrap().id).await.unwrap();
            done(test.registry.password_sign_in("ann", PASSWORD, &from(66), mal.device.as_deref()).await.unwrap());
            assert_eq!(told().await, 3);
            done(test.registry.password_sign_in("ann", PASSWORD, &from(1), home.device.as_deref()).await.unwrap());
            assert_eq!(told().await, 3);
            test.check().await;
        }

        async fn a_new_browser_gets_in_by_mail_while_somebody_guesses(test: TestRegistry) {
            test.with_password("ann").await;
            test.execute("UPDATE account_emails SET verified_at = 1").await;
            let guess = async || {
                for network in 20..35 {
                    refused_code(test.try_password("ann", "guess", network).await.map(|_| ()));
                }
            };
            guess().await;
            refused(test.try_password("ann", PASSWORD, 50).await.map(|_| ()), "too-many-attempts");
            test.registry.begin_password_reset("ann", &from(50)).await.unwrap();
            test.registry.ways_back_written().await;
            let link = test.link("ann@example.org", "/account/reset-password").await;
            let device = test.registry.device_secret(None);
            let new = "forty two purple wombats";
            assert!(test.registry.password_set(Enrolling::Link(&link), new, &from(50), Some(&device)).await.unwrap().is_none());
            guess().await;
            done(test.registry.password_sign_in("ann", new, &from(50), Some(&device)).await.unwrap());
            // A browser chooses no secret of its own.
            assert_ne!(test.registry.device_secret(Some("short")), "short");
            test.check().await;
        }

        async fn a_sign_in_under_way_does_not_survive_a_new_password(test: TestRegistry) {
            let home = test.with_password("ann").await;
            for round in 0..8_u8 {
                let (old, new) = (format!("{PASSWORD} {round}"), format!("{PASSWORD} {}", round + 1));
                if round == 0 {
                    test.registry.password_set(Enrolling::Session(&home.actor), &old, &from(1), None).await.unwrap();
                }
                let origin = from(1);
                let (thief, changed) = tokio::join!(
                    test.try_password("ann", &old, 100 + round),
                    test.registry.password_set(Enrolling::Session(&home.actor), &new, &origin, None),
                );
                changed.unwrap();
                // Either it was refused, or its session was ended with the others.
                if let Ok(SignInStep::Done(signed_in)) = thief {
                    refused(test.show(&signed_in.cookie).await.map(|_| ()), "session-over");
                }
                assert_eq!(test.registry.sessions(&home.actor).await.unwrap().len(), 1);
                test.turn_clock(Duration::from_secs(20));
            }
            test.check().await;
        }

        async fn a_stolen_password_and_a_code_change_nothing_but_the_password(database: Database) {
            let folder = tempfile::tempdir().unwrap();
            let (list, file) = (folder.path().join("list"), folder.path().join("breached"));
            std::fs::write(&list, "0000000000000000000000000000000000000000:1\n").unwrap();
            countersign_registry::import_breached(&list, &file).unwrap();
            let given = file.clone();
            let test = TestRegistry::with(database, |settings| settings.sign_in.breach_file = Some(given)).await;
            let (home, setup) = test.with_totp("ann").await;
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, PASSWORD.as_bytes());
            let line: String = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
            std::fs::write(&list, format!("{line}:9\n")).unwrap();
            countersign_registry::import_breached(&list, &file).unwrap();
            test.turn_clock(Duration::from_secs(31 * 86_400));
            drop(home);
            let owed = half(test.try_password("ann", PASSWORD, 1).await.unwrap());
            let now = code(&setup, test.registry_now());
            let back = test.registry.second_factor(&owed.secret, SecondFactor::Totp(&now), &from(1), None).await.unwrap();
            assert!(back.must_change_password);
            for actor in [&back.actor, &test.show(&back.cookie).await.unwrap()] {
                refused(test.registry.recovery_codes(actor, &from(1)).await.map(|_| ()), "step-up-needed");
            }
            test.turn_clock(MINUTE);
            let now = code(&setup, test.registry_now());
            refused(test.registry.step_up_with_password(&back.cookie, PASSWORD, Some(&now), &from(1), None).await.map(|_| ()), "password-breached");
            // That is what it is for; then it is a session like any other.
            test.registry.password_set(Enrolling::Session(&back.actor), "forty two purple wombats", &from(1), None).await.unwrap();
            let again = test.show(&back.cookie).await.unwrap();
            test.registry.recovery_codes(&again, &from(1)).await.unwrap();
            test.check().await;
        }

        async fn an_erased_account_can_not_be_kept_from_going_by_a_name(test: TestRegistry) {
            let (_, ann) = test.with_passkey("ann").await;
            let id = test.registry.users(&Actor::operator()).await.unwrap().remove(0).id;
            let squatted = format!("erased-{id}");
            test.registry.create_user(&Actor::operator(), &squatted, None, false).await.unwrap();
            test.registry.erase_account(&ann.actor, "ann").await.unwrap();
            test.check().await;
        }
    }
}
