//! Ways in and pages of one's own, through the front door: what forms demand, what strangers learn, where links lead.

use countersign_registry::model::Actor;
use http::Method;

use crate::house::{Answer, House, house};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// What a browser keeps: cookies, and the token of the page before.
struct Visitor<'a> {
    house: &'a House,
    cookies: Vec<(String, String)>,
    token: String,
}

impl<'a> Visitor<'a> {
    fn new(house: &'a House) -> Self {
        Self {
            house,
            cookies: Vec::new(),
            token: String::new(),
        }
    }

    fn header(&self) -> String {
        self.cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn keep(&mut self, answer: &Answer) {
        for cookie in answer.headers.get_all("set-cookie") {
            let text = cookie.to_str().unwrap();
            assert!(
                text.contains("HttpOnly") && text.contains("SameSite=Lax"),
                "{text}"
            );
            let (name, rest) = text.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        if let Some((_, rest)) =
            String::from_utf8_lossy(&answer.body).split_once("name=\"form\" value=\"")
        {
            self.token = rest.split('"').next().unwrap().to_owned();
        }
    }

    async fn get(&mut self, path: &str) -> Answer {
        let cookies = self.header();
        let answer = self.house.get_with(path, &[("cookie", &cookies)]).await;
        self.keep(&answer);
        answer
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.token.clone();
        let mut all = vec![("form", token.as_str())];
        all.extend_from_slice(fields);
        let answer = self.send(path, &all, &[]).await;
        self.keep(&answer);
        answer
    }

    async fn send(&self, path: &str, fields: &[(&str, &str)], more: &[(&str, &str)]) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let cookies = self.header();
        let mut headers = vec![FORM, ("cookie", cookies.as_str())];
        headers.extend_from_slice(more);
        self.house.ask(Method::POST, path, &headers, body).await
    }
}

/// Somebody who came in by a link and chose a password.
async fn member<'a>(house: &'a House, name: &str) -> Visitor<'a> {
    let made = house
        .registry
        .create_user(&Actor::operator(), name, None, false)
        .await
        .unwrap();
    let mut visitor = Visitor::new(house);
    let secret = made.enrolment.unwrap();
    visitor.get(&format!("/enrol/{secret}")).await.expect(200);
    let fields = [
        ("secret", secret.as_str()),
        ("password", "seven clocks without a hand"),
    ];
    let entered = visitor.post("/enrol/password", &fields).await.expect(303);
    assert_eq!(entered.header("location"), "/account");
    visitor.get("/account").await.expect(200);
    visitor
}

/// Every form of every page: path, and whether it is for members only.
const FORMS: &[(&str, bool)] = &[
    ("/sign-in", false),
    ("/sign-in/passkey/options", false),
    ("/sign-in/passkey", false),
    ("/sign-in/factor", false),
    ("/sign-in/factor/options", false),
    ("/sign-in/factor/key", false),
    ("/sign-in/with", false),
    ("/sign-out", false),
    ("/sign-up", false),
    ("/enrol/passkey/options", false),
    ("/enrol/passkey", false),
    ("/enrol/password", false),
    ("/account/reset-password", false),
    ("/account/verify-address", false),
    ("/forgotten", false),
    ("/leaked", false),
    ("/report", false),
    ("/recover", false),
    ("/recovery/begin", false),
    ("/recovery/ask", false),
    ("/recovery/proof", false),
    ("/recovery/identity", false),
    ("/recovery/stop", false),
    ("/recovery/finish", false),
    ("/recovery/vouch", true),
    ("/account/confirm", true),
    ("/account/confirm/options", true),
    ("/account/confirm/key", true),
    ("/account/addresses", true),
    ("/account/addresses/again", true),
    ("/account/addresses/primary", true),
    ("/account/addresses/remove", true),
    ("/account/notices", true),
    ("/account/data/export", true),
    ("/account/data/erase", true),
    ("/account/approvals/options", true),
    ("/account/approvals/grant", true),
    ("/account/approvals/refuse", true),
    ("/account/staged/approve", true),
    ("/account/staged/reject", true),
    ("/account/security/passkey/options", true),
    ("/account/security/passkey", true),
    ("/account/security/rename", true),
    ("/account/security/remove", true),
    ("/account/security/password", true),
    ("/account/security/password/remove", true),
    ("/account/security/totp", true),
    ("/account/security/totp/confirm", true),
    ("/account/security/codes", true),
    ("/account/security/link", true),
    ("/account/security/unlink", true),
    ("/account/security/end", true),
    ("/account/security/end-others", true),
    ("/account/tokens", true),
    ("/account/tokens/revoke", true),
    ("/login/device", true),
    ("/account/organisations", true),
    ("/account/invitations/accept", true),
    ("/account/invitations/decline", true),
    ("/account/proposals/confirm", true),
    ("/account/proposals/cancel", true),
    ("/org/any/invite", true),
    ("/org/any/member", true),
    ("/org/any/leave", true),
    ("/org/any/propose", true),
    ("/org/any/remove", true),
    ("/org/any/team", true),
    ("/org/any/team/remove", true),
    ("/org/any/team/member", true),
    ("/org/any/team/role", true),
    ("/operator/users", true),
    ("/operator/users/disable", true),
    ("/operator/users/open", true),
    ("/operator/recoveries/agree", true),
    ("/operator/quarantine", true),
    ("/operator/critical", true),
    ("/operator/queue/release", true),
    ("/operator/queue/answer", true),
    ("/operator/queue/judge", true),
    ("/operator/queue/trust", true),
    ("/operator/queue/dismiss", true),
    ("/operator/advisories", true),
    ("/operator/advisories/end", true),
    ("/operator/advisories/warn", true),
    ("/operator/incidents", true),
    ("/operator/incidents/update", true),
    ("/operator/incidents/freeze", true),
    ("/operator/names/prohibit", true),
    ("/operator/names/reserve", true),
    ("/operator/doctor", true),
    ("/operator/factors", true),
    ("/operator/issuers", true),
    ("/operator/issuers/remove", true),
    ("/projects/pypi/any/settings/role", true),
    ("/projects/pypi/any/settings/publishers", true),
    ("/projects/pypi/any/settings/publishers/check", true),
    ("/projects/pypi/any/settings/publishers/remove", true),
    ("/projects/pypi/any/settings/publishers/test", true),
    ("/projects/pypi/any/settings/policy", true),
    ("/projects/pypi/any/settings/notices", true),
    ("/projects/pypi/any/settings/status", true),
    ("/projects/pypi/any/settings/visibility", true),
    ("/projects/pypi/any/settings/withhold", true),
    ("/projects/pypi/any/settings/delete", true),
    ("/projects/pypi/any/settings/propose", true),
    ("/projects/pypi/any/settings/cases/appeal", true),
    ("/projects/pypi/any/settings/provenance/exception", true),
    ("/projects/pypi/any/settings/provenance/move", true),
    ("/projects/pypi/any/settings/provenance/confirm", true),
    ("/projects/pypi/any/settings/provenance/close", true),
    ("/projects/pypi/any/settings/provenance/identities", true),
    (
        "/projects/pypi/any/settings/provenance/identities/remove",
        true,
    ),
];

/// What the sources say takes a form, against the list above.
#[test]
fn no_form_is_missing_from_the_list_of_those_that_are_attacked() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/pages");
    let mut found = std::collections::BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|end| end != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for route in text.split(".route(").skip(1) {
            let route = route.split(';').next().unwrap();
            if !route.contains("post(") {
                continue;
            }
            let first = route.trim_start();
            let name = first.split(',').next().unwrap();
            let literal = match first.strip_prefix('"').or(name.strip_prefix("&at(\"")) {
                Some(rest) => rest.split('"').next().unwrap().to_owned(),
                None => {
                    let line = format!("const {name}: &str = \"");
                    let (_, rest) = text.split_once(&line).unwrap_or_else(|| panic!("{name}"));
                    rest.split('"').next().unwrap().to_owned()
                }
            };
            let below = if name.starts_with("&at(") {
                "/projects/pypi/any/settings"
            } else {
                ""
            };
            found.insert(format!("{below}{literal}").replace("{name}", "any"));
        }
    }
    let listed = FORMS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(found, listed);
}

#[tokio::test]
async fn attack_forms_without_or_with_another_sessions_token_or_from_elsewhere_do_nothing() {
    let house = house().await;
    let carol = member(&house, "carol").await;
    let dave = member(&house, "dave").await;
    let stranger = Visitor::new(&house);
    for (path, members) in FORMS {
        for fields in [
            vec![],
            vec![("form", dave.token.as_str())],
            vec![("form", "")],
        ] {
            let refused = carol.send(path, &fields, &[]).await.expect(403);
            assert!(
                String::from_utf8_lossy(&refused.body).contains("form-expired"),
                "{path}: {}",
                refused.text()
            );
        }
        for elsewhere in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let fields = [("form", carol.token.as_str())];
            let refused = carol.send(path, &fields, &[elsewhere]).await.expect(403);
            assert!(
                String::from_utf8_lossy(&refused.body).contains("cross-site"),
                "{path} {elsewhere:?}"
            );
        }
        // A stranger has no cookie that a token could rest on, and no session.
        let refused = stranger.send(path, &[("form", &carol.token)], &[]).await;
        assert_eq!(
            refused.status.as_u16(),
            if *members { 401 } else { 403 },
            "{path}"
        );
    }
}

#[tokio::test]
async fn attack_answers_tell_nobody_which_users_there_are() {
    let house = house().await;
    member(&house, "carol").await;
    let mut bodies = Vec::new();
    for user in ["carol", "nobody-at-all"] {
        let mut visitor = Visitor::new(&house);
        visitor.get("/sign-in").await.expect(200);
        let fields = [("user", user), ("password", "wrong wrong wrong")];
        let answer = visitor.post("/sign-in", &fields).await.expect(401);
        assert_eq!(answer.header("www-authenticate"), "");
        let token = visitor.token.clone();
        bodies.push(answer.text().replace(&token, "").replace(user, ""));
        for path in ["/recover", "/forgotten"] {
            visitor.get(path).await.expect(200);
            let answer = visitor.post(path, &[("who", user)]).await.expect(200);
            let token = visitor.token.clone();
            bodies.push(answer.text().replace(&token, ""));
        }
    }
    let (known, unknown) = bodies.split_at(3);
    assert_eq!(known, unknown);
}

#[tokio::test]
async fn attack_open_redirects_and_session_fixation_at_sign_in() {
    let house = house().await;
    member(&house, "carol").await;
    for (onward, lands) in [
        ("https://evil.example/", "/account"),
        ("//evil.example", "/account"),
        ("/\\evil.example", "/account"),
        ("/account/tokens", "/account/tokens"),
    ] {
        let mut visitor = Visitor::new(&house);
        // A cookie that somebody else put there is not taken over.
        visitor
            .cookies
            .push(("countersign".to_owned(), "fixed-by-somebody".to_owned()));
        visitor.get("/sign-in").await.expect(200);
        let fields = [
            ("user", "carol"),
            ("password", "seven clocks without a hand"),
            ("return", onward),
        ];
        let entered = visitor.post("/sign-in", &fields).await.expect(303);
        assert_eq!(entered.header("location"), lands);
        assert!(
            visitor
                .cookies
                .iter()
                .any(|(name, value)| name == "countersign" && value != "fixed-by-somebody")
        );
        visitor.get("/account").await.expect(200);
    }
}

#[tokio::test]
async fn attack_a_session_is_worth_nothing_after_signing_out() {
    let house = house().await;
    let mut carol = member(&house, "carol").await;
    let stolen = carol.cookies.clone();
    carol.post("/sign-out", &[]).await.expect(303);
    let mut thief = Visitor::new(&house);
    thief.cookies = stolen;
    let turned = thief.get("/account").await.expect(303);
    assert!(turned.header("location").starts_with("/sign-in"));
}

#[tokio::test]
async fn pages_of_ones_own_are_kept_by_nobody_and_can_not_be_framed() {
    let house = house().await;
    let mut carol = member(&house, "carol").await;
    for path in [
        "/account",
        "/account/security",
        "/account/tokens",
        "/account/projects",
        "/account/approvals",
        "/account/staged",
        "/account/notices",
        "/account/data",
        "/login/device",
        "/me",
    ] {
        let page = carol.get(path).await.expect(200);
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        assert_eq!(page.header("x-frame-options"), "DENY");
        let policy = page.header("content-security-policy");
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
    }
    carol.get("/operator").await.expect(403);
}

#[tokio::test]
async fn a_program_is_let_in_by_a_browser_and_by_nobody_elses_word() {
    let house = house().await;
    let mut carol = member(&house, "carol").await;
    let json = ("content-type", "application/json");
    let begun = house
        .ask(
            Method::POST,
            "/api/v1/login",
            &[json],
            r#"{"client": "countersign on a box"}"#,
        )
        .await
        .expect(201)
        .json();
    let secret = begun["device_code"].as_str().unwrap().to_owned();
    let code = begun["user_code"].as_str().unwrap();
    let poll = format!(r#"{{"device_code": "{secret}"}}"#);
    let ask = async || {
        house
            .ask(Method::POST, "/api/v1/login/poll", &[json], poll.clone())
            .await
    };
    ask().await.expect(202);
    let bearer = format!("Bearer {secret}");
    let whoami = async || {
        house
            .get_with("/api/v1/whoami", &[("authorization", &bearer)])
            .await
    };
    whoami().await.expect(401);
    let page = carol
        .get(&format!("/login/device?code={code}"))
        .await
        .expect(200);
    assert!(page.text().contains("countersign on a box"));
    let fields = [("code", code), ("decision", "yes")];
    carol.post("/login/device", &fields).await.expect(200);
    let granted = ask().await.expect(200).json();
    assert_eq!(
        (granted["user"].as_str(), granted["token"].as_str()),
        (Some("carol"), Some(secret.as_str()))
    );
    assert_eq!(whoami().await.expect(200).json()["name"], "carol");
    // Nobody decides twice.
    carol.post("/login/device", &fields).await.expect(404);
}
