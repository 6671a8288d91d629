//! The API for people: what each credential may, whose things are whose, and how a program gets a person's consent.

use std::net::IpAddr;

use countersign_registry::model::{Action, Actor, CallerOrigin, Membership, Presented, TrustLevel};
use countersign_registry::{
    Act, Answer as KeyAnswer, Ceremony, Enrolling, KeyKind, NewException, NewIdentity, NewToken,
    Wish,
};
use countersign_testkit::passkey::Passkey;
use http::Method;
use serde_json::{Value, json};

use crate::house::{Answer, House, house, house_with};

const APPROVAL: &str = "countersign-approval";

/// Somebody with a passkey, signed in.
pub struct Person {
    key: Passkey,
    pub cookie: String,
    form: String,
    pub actor: Actor,
}

fn origin() -> CallerOrigin {
    CallerOrigin {
        address: "192.0.2.9".parse().unwrap(),
        agent: "test".to_owned(),
    }
}

fn answer(ceremony: &Ceremony, credential: Value) -> KeyAnswer {
    KeyAnswer {
        ceremony: ceremony.id.clone(),
        credential,
    }
}

impl House {
    /// A new user with a passkey, signed in just now.
    pub async fn person(&self, name: &str, operator: bool) -> Person {
        let email = format!("{name}@example.org");
        let made = self
            .registry
            .create_user(&Actor::operator(), name, Some(&email), operator)
            .await
            .unwrap();
        let secret = made.enrolment.unwrap();
        let mut key = Passkey::new("http://localhost:8417", "localhost").unwrap();
        let ceremony = self
            .registry
            .passkey_registration_start(Enrolling::Link(&secret), KeyKind::Passkey)
            .await
            .unwrap();
        let created = answer(&ceremony, key.create(&ceremony.options).unwrap());
        let signed_in = self
            .registry
            .passkey_registration_finish(
                Enrolling::Link(&secret),
                &created,
                "laptop",
                &origin(),
                None,
            )
            .await
            .unwrap()
            .unwrap();
        let cookie = format!("countersign={}", signed_in.cookie);
        let page = self
            .get_with("/account", &[("cookie", &cookie)])
            .await
            .expect(200);
        let (_, rest) = page.text().split_once("name=\"form\" value=\"").unwrap();
        let form = rest.split('"').next().unwrap().to_owned();
        let actor = self
            .registry
            .authenticate(Presented::Session(signed_in.cookie))
            .await
            .unwrap();
        Person {
            key,
            cookie,
            form,
            actor,
        }
    }

    /// A request in a person's session.
    pub async fn in_person(
        &self,
        person: &Person,
        method: Method,
        path: &str,
        body: &str,
    ) -> Answer {
        let headers = [
            ("cookie", person.cookie.as_str()),
            ("x-countersign-form", person.form.as_str()),
        ];
        self.ask(method, path, &headers, body.to_owned()).await
    }

    /// A form of a page, sent in a person's session.
    pub async fn form(&self, person: &Person, path: &str, fields: &str) -> Answer {
        let headers = [
            ("cookie", person.cookie.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let body = format!("form={}&{fields}", person.form);
        self.ask(Method::POST, path, &headers, body).await
    }

    async fn with_token(
        &self,
        token: &str,
        approval: Option<&str>,
        method: Method,
        path: &str,
        body: &str,
    ) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(approval.map(|approval| (APPROVAL, approval)));
        self.ask(method, path, &headers, body.to_owned()).await
    }

    /// The person grants it with the passkey.
    async fn grant(&self, person: &mut Person, id: &str) {
        let ceremony = self
            .registry
            .approval_start(&person.actor, id)
            .await
            .unwrap();
        let given = answer(&ceremony, person.key.get(&ceremony.options).unwrap());
        self.registry
            .approval_finish(&person.actor, id, &given, &origin())
            .await
            .unwrap();
    }

    /// Asks for consent to a request, gets it, and repeats the request.
    async fn consented(
        &self,
        person: &mut Person,
        token: &str,
        method: Method,
        path: &str,
        body: &str,
    ) -> Answer {
        let asked = self
            .with_token(token, Some("ask"), method.clone(), path, body)
            .await
            .expect(403)
            .json();
        assert_eq!(asked["code"], "approval-needed", "{asked}");
        let id = asked["approval"]["id"].as_str().unwrap();
        self.grant(person, id).await;
        let status = self
            .with_token(
                token,
                None,
                Method::GET,
                &format!("/api/v1/approvals/{id}"),
                "",
            )
            .await
            .expect(200)
            .json();
        assert_eq!(status["state"], "granted");
        self.with_token(token, Some(id), method, path, body).await
    }
}

/// One of each thing that an address can name, all of them of one person.
pub struct Things {
    publisher: String,
    session: String,
    factor: String,
    address: String,
    notice: String,
    token: String,
    approval: String,
    invitation: String,
    proposal: String,
    identity: String,
    departure: String,
}

impl Things {
    /// Of this owner of `sample`, who makes the organisation `acme` and invites bob.
    pub async fn of(house: &House, owner: &Person, publisher: &str) -> Self {
        let registry = &house.registry;
        let actor = &owner.actor;
        registry
            .create_organisation(actor, "acme", "Acme", None)
            .await
            .unwrap();
        let (_, invitation) = registry
            .invite(actor, "acme", "bob", Membership::Member)
            .await
            .unwrap();
        let system = countersign_formats::Ecosystem::Pypi;
        let wish = Wish::TransferTo("bob".to_owned());
        let proposal = registry
            .propose(actor, system, "sample", wish)
            .await
            .unwrap();
        let approval = registry
            .request_approval(actor, "delete-project", "pkg:pypi/sample", None)
            .await
            .unwrap();
        let new = NewToken::new(actor.name(), Action::Manage);
        let (_, token) = registry.create_token(actor, new).await.unwrap();
        let new = NewIdentity {
            issuer: "https://issuer.example".to_owned(),
            repository: "https://forge.example/acme/other".to_owned(),
            workflow: None,
        };
        let identity = registry
            .trust_identity(actor, system, "sample", new)
            .await
            .unwrap();
        let new = NewException {
            level: TrustLevel::None,
            hours: 1,
            reason: "imports".to_owned(),
        };
        let departure = registry
            .open_exception(actor, system, "sample", new)
            .await
            .unwrap();
        Self {
            publisher: publisher.to_owned(),
            session: registry.sessions(actor).await.unwrap()[0].id.0.clone(),
            factor: registry.security(actor).await.unwrap().factors[0]
                .id
                .0
                .clone(),
            address: registry.addresses(actor).await.unwrap()[0].id.clone(),
            notice: registry.account_notices(actor).await.unwrap()[0].id.clone(),
            token: token.id.0,
            approval: approval.id,
            invitation: invitation.id,
            proposal: proposal.id,
            identity: identity.id,
            departure: departure.id,
        }
    }

    /// An address of the description with these things in it.
    pub fn address(&self, path: &str, filename: &str) -> String {
        let id = [
            ("/api/v1/me/sessions/", &self.session),
            ("/api/v1/me/factors/", &self.factor),
            ("/api/v1/me/addresses/", &self.address),
            ("/api/v1/me/notices/", &self.notice),
            ("/api/v1/approvals/", &self.approval),
            ("/api/v1/invitations/", &self.invitation),
            ("/api/v1/proposals/", &self.proposal),
            ("/provenance/identities/", &self.identity),
            ("/api/v1/provenance-changes/", &self.departure),
        ]
        .into_iter()
        .find(|(start, _)| path.contains(start))
        .map_or(&self.publisher, |(_, id)| id);
        let address = path
            .replace("{ecosystem}", "pypi")
            .replace("{name}", "sample")
            .replace("{version}", "0.1")
            .replace("{filename}", filename)
            .replace("{organisation}", "acme")
            .replace("{team}", "builders")
            .replace("{prefix}", "acme")
            .replace("{other}", "simple")
            .replace("{user}", "bob")
            .replace(
                "{purl}",
                &format!("pkg%3Apypi%2Fsample%400.1%3Ffile_name%3D{filename}"),
            )
            .replace("{token}", &self.token)
            .replace("{case}", "019a0000-0000-7000-8000-000000000000")
            .replace("{ticket}", "019a0000-0000-7000-8000-000000000000")
            .replace("{id}", id);
        assert!(!address.contains('{'), "{address}");
        match address.as_str() {
            "/api/v1/operator/trace" => format!("{address}?subject=user:ann"),
            _ => address,
        }
    }
}

/// A body that an operation takes, made of what its description says must be in it.
pub fn body_for(description: &Value, operation: &Value) -> String {
    let reference = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    let Some(pointer) = reference.as_str().and_then(|text| text.strip_prefix('#')) else {
        return String::new();
    };
    let schema = description.pointer(pointer).unwrap();
    let mut body = serde_json::Map::new();
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().unwrap();
        let value = match name {
            "status" => json!("archived"),
            "visibility" => json!("private"),
            "role" | "standing" => json!("owner"),
            "action" => json!("manage"),
            "issuer" if schema["properties"]["repository"].is_object() => {
                json!("https://issuer.example")
            }
            "issuer" => json!("github"),
            "level" => json!("none"),
            "subject" => json!("user:ann"),
            "since" => json!("2026-01-01T00:00:00Z"),
            "purl" => json!("pkg:pypi/sample"),
            "text" => json!("written by a test"),
            "verdict" => json!("confirmed"),
            "repository" => json!("https://forge.example/octo/sample"),
            _ if schema["properties"][name]["type"] == "boolean" => json!(true),
            _ if schema["properties"][name]["type"] == "integer" => json!(1),
            _ => json!("x"),
        };
        body.insert(name.to_owned(), value);
    }
    // One of two is asked for, which a description can not say.
    if schema["properties"]["transfer_to"].is_object() {
        body.insert("transfer_to".to_owned(), json!("bob"));
    }
    Value::Object(body).to_string()
}

pub fn description() -> Value {
    serde_json::from_str(countersign_web::api::openapi_json()).unwrap()
}

/// Every operation that takes a credential: method, path, operation.
pub fn guarded(description: &Value) -> Vec<(Method, String, Value)> {
    let mut found = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        // Anybody may report. A service knows no persons, only its own tokens (`service.rs`).
        if path == "/api/v1/reports" || path.starts_with("/api/v1/service/") {
            continue;
        }
        for (method, operation) in item.as_object().unwrap() {
            if operation["security"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
            {
                let method = method.to_uppercase().parse().unwrap();
                found.push((method, path.clone(), operation.clone()));
            }
        }
    }
    assert!(found.len() >= 70, "{}", found.len());
    found
}

/// A house whose project `sample` belongs to kate, who has a passkey.
async fn owned() -> (House, Person, String) {
    let mut house = house().await;
    let kate = house.person("kate", false).await;
    house.token = house.token_for("kate", Action::Manage).await;
    let publisher = house.with_publisher().await;
    let id = publisher["id"].as_str().unwrap().to_owned();
    (house, kate, id)
}

#[tokio::test]
async fn a_token_that_reads_or_publishes_manages_nothing() {
    let (house, kate, publisher) = owned().await;
    let things = Things::of(&house, &kate, &publisher).await;
    let description = description();
    for action in [Action::Read, Action::Publish] {
        let token = house.token_for("kate", action).await;
        let mut tried = 0;
        for (method, path, operation) in guarded(&description) {
            let own = ["/api/v1/whoami", "/api/v1/me", "/api/v1/token"].contains(&path.as_str());
            // Who publishes may ask for an exception, ask how far it is, and attest what was published.
            let asks = ["/api/v1/approvals", "/api/v1/attestations/"]
                .iter()
                .any(|start| path.starts_with(start))
                && action == Action::Publish;
            if own || asks {
                continue;
            }
            let address = things.address(&path, "sample-0.1-py3-none-any.whl");
            let body = body_for(&description, &operation);
            for approval in [None, Some("ask")] {
                let answer = house
                    .with_token(&token, approval, method.clone(), &address, &body)
                    .await;
                assert_eq!(
                    answer.status,
                    403,
                    "{method} {address} {body}: {}",
                    answer.text()
                );
            }
            tried += 1;
        }
        assert!(tried >= 60, "{tried}");
    }
}

#[tokio::test]
async fn attack_ids_of_others_are_of_no_use() {
    let (house, kate, publisher) = owned().await;
    let things = Things::of(&house, &kate, &publisher).await;
    let eve = house.person("eve", false).await;
    let description = description();
    let project = house.get("/api/v1/projects/pypi/sample").await.json();
    let mut tried = 0;
    for (method, path, operation) in guarded(&description) {
        if !path.contains('{') {
            continue;
        }
        let address = things.address(&path, "sample-0.1-py3-none-any.whl");
        let body = body_for(&description, &operation);
        let answer = house.in_person(&eve, method.clone(), &address, &body).await;
        assert!(
            [403, 404].contains(&answer.status.as_u16()),
            "{method} {address} {body}: {} {}",
            answer.status,
            answer.text()
        );
        tried += 1;
    }
    assert!(tried >= 45, "{tried}");
    assert_eq!(
        house.get("/api/v1/projects/pypi/sample").await.json(),
        project
    );
    // All of it is still there for whom it belongs to.
    let registry = &house.registry;
    let actor = &kate.actor;
    assert_eq!(registry.sessions(actor).await.unwrap().len(), 1);
    assert_eq!(registry.security(actor).await.unwrap().factors.len(), 1);
    assert_eq!(registry.addresses(actor).await.unwrap().len(), 1);
    assert_eq!(
        registry
            .approval(actor, &things.approval)
            .await
            .unwrap()
            .state,
        "waiting"
    );
    let acme = registry.organisation(actor, "acme").await.unwrap();
    assert_eq!((acme.invitations.len(), acme.teams.len()), (1, 0));
    let tokens = registry.tokens(actor, Some("kate")).await.unwrap();
    assert!(tokens.iter().all(|token| token.revoked.is_none()));
}

#[tokio::test]
async fn csrf_a_cookie_alone_or_another_sites_page_does_nothing() {
    let (house, kate, publisher) = owned().await;
    let things = Things::of(&house, &kate, &publisher).await;
    let description = description();
    for (method, path, operation) in guarded(&description) {
        let address = things.address(&path, "sample-0.1-py3-none-any.whl");
        let body = body_for(&description, &operation);
        // Without the form's token, and with somebody else's.
        for form in [
            "",
            "0000000000000000000000000000000000000000000000000000000000000000",
        ] {
            let headers = [
                ("cookie", kate.cookie.as_str()),
                ("x-countersign-form", form),
            ];
            let answer = house
                .ask(method.clone(), &address, &headers, body.clone())
                .await
                .expect(403);
            assert_eq!(answer.json()["code"], "form-expired", "{method} {address}");
        }
        if method == Method::GET {
            continue;
        }
        for foreign in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let headers = [
                ("cookie", kate.cookie.as_str()),
                ("x-countersign-form", kate.form.as_str()),
                foreign,
            ];
            let answer = house
                .ask(method.clone(), &address, &headers, body.clone())
                .await
                .expect(403);
            assert_eq!(
                answer.json()["code"],
                "cross-site",
                "{method} {address} {foreign:?}"
            );
        }
    }
    // A program sends no cookie and needs none of this.
    house.call(Method::GET, "/api/v1/me", "").await.expect(200);
}

/// Operations with the act that the table of permissions judges them by.
const ACTS: &[(&str, &str, Act)] = &[
    (
        "PUT",
        "/api/v1/projects/{ecosystem}/{name}/roles/{user}",
        Act::ManageRoles,
    ),
    (
        "DELETE",
        "/api/v1/projects/{ecosystem}/{name}/roles/{user}",
        Act::ManageRoles,
    ),
    (
        "PUT",
        "/api/v1/projects/{ecosystem}/{name}/teams/{team}",
        Act::ManageRoles,
    ),
    (
        "DELETE",
        "/api/v1/projects/{ecosystem}/{name}/teams/{team}",
        Act::ManageRoles,
    ),
    (
        "PUT",
        "/api/v1/projects/{ecosystem}/{name}/status",
        Act::SetStatus,
    ),
    (
        "DELETE",
        "/api/v1/projects/{ecosystem}/{name}/releases/{version}",
        Act::Delete,
    ),
    (
        "POST",
        "/api/v1/projects/{ecosystem}/{name}/publishers",
        Act::ManagePublishers,
    ),
    (
        "PUT",
        "/api/v1/projects/{ecosystem}/{name}/policy",
        Act::ManagePolicy,
    ),
    (
        "POST",
        "/api/v1/projects/{ecosystem}/{name}/proposals",
        Act::Propose,
    ),
    (
        "POST",
        "/api/v1/projects/{ecosystem}/{name}/provenance/exceptions",
        Act::OpenDeparture,
    ),
    (
        "POST",
        "/api/v1/projects/{ecosystem}/{name}/provenance/moves",
        Act::OpenDeparture,
    ),
    (
        "POST",
        "/api/v1/projects/{ecosystem}/{name}/provenance/identities",
        Act::ManagePolicy,
    ),
    ("POST", "/api/v1/organisations", Act::CreateOrganisation),
    (
        "DELETE",
        "/api/v1/organisations/{organisation}",
        Act::RemoveOrganisation,
    ),
    (
        "POST",
        "/api/v1/organisations/{organisation}/proposals",
        Act::ManageManagers,
    ),
    (
        "POST",
        "/api/v1/organisations/{organisation}/invitations",
        Act::ManageManagers,
    ),
    (
        "PUT",
        "/api/v1/organisations/{organisation}/teams/{team}",
        Act::ManageTeams,
    ),
    (
        "DELETE",
        "/api/v1/organisations/{organisation}/teams/{team}",
        Act::ManageTeams,
    ),
    (
        "PUT",
        "/api/v1/organisations/{organisation}/teams/{team}/members/{user}",
        Act::ManageTeams,
    ),
    (
        "DELETE",
        "/api/v1/organisations/{organisation}/teams/{team}/members/{user}",
        Act::ManageTeams,
    ),
    (
        "PUT",
        "/api/v1/organisations/{organisation}/namespaces/{ecosystem}/{prefix}/teams/{team}",
        Act::ManageNamespaces,
    ),
    (
        "DELETE",
        "/api/v1/organisations/{organisation}/namespaces/{ecosystem}/{prefix}/teams/{team}",
        Act::ManageNamespaces,
    ),
    ("POST", "/api/v1/invitations/accept", Act::AnswerInvitation),
    ("POST", "/api/v1/tokens", Act::MakeTokens),
    ("DELETE", "/api/v1/me/factors/{id}", Act::ManageFactors),
    ("DELETE", "/api/v1/me/password", Act::ManageFactors),
    ("POST", "/api/v1/me/addresses", Act::ManageAddresses),
    (
        "PUT",
        "/api/v1/me/addresses/{id}/main",
        Act::ManageAddresses,
    ),
    ("DELETE", "/api/v1/me/addresses/{id}", Act::ManageAddresses),
    ("GET", "/api/v1/me/export", Act::ExportAccount),
    ("POST", "/api/v1/me/erasure", Act::EraseAccount),
];

#[tokio::test]
async fn what_a_session_or_a_token_must_show_is_what_the_table_says() {
    let (house, kate, publisher) = owned().await;
    let things = Things::of(&house, &kate, &publisher).await;
    let operator = Actor::operator();
    let system = countersign_formats::Ecosystem::Pypi;
    house
        .registry
        .mark_critical(&operator, system, "sample", true)
        .await
        .unwrap();
    let description = description();
    // An old session of somebody who proved it with a passkey then.
    house.clock.turn(16 * 60);
    for (method, path, act) in ACTS {
        let operation = &description["paths"][path][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {path}");
        let address = things.address(path, "");
        let body = body_for(&description, operation);
        let method: Method = method.parse().unwrap();
        let stale = house
            .in_person(&kate, method.clone(), &address, &body)
            .await
            .expect(403);
        assert_eq!(stale.json()["code"], "step-up-needed", "{method} {address}");
        // The strongest of tokens: on a critical project and for what is for persons it takes consent, or is refused.
        let row = act.permission();
        let plain = house
            .with_token(&house.token, None, method.clone(), &address, &body)
            .await
            .expect(403)
            .json();
        let expected = if row.consent {
            "approval-needed"
        } else {
            "session-needed"
        };
        assert_eq!(plain["code"], expected, "{method} {address}: {plain}");
        assert!(plain["approval"].is_null(), "nobody asked: {plain}");
        let asked = house
            .with_token(&house.token, Some("ask"), method.clone(), &address, &body)
            .await
            .expect(403)
            .json();
        assert_eq!(asked["code"], expected, "{method} {address}: {asked}");
        if row.consent {
            let id = asked["approval"]["id"].as_str().unwrap();
            assert_eq!(asked["approval"]["state"], "waiting");
            // Nobody consented yet, and a second no is for good.
            let early = house
                .with_token(&house.token, Some(id), method.clone(), &address, &body)
                .await
                .expect(403);
            assert_eq!(
                early.json()["code"],
                "approval-waiting",
                "{method} {address}"
            );
            house
                .registry
                .refuse_approval(&kate.actor, id)
                .await
                .unwrap();
            let refused = house
                .with_token(&house.token, Some(id), method.clone(), &address, &body)
                .await
                .expect(409);
            assert_eq!(
                refused.json()["code"],
                "approval-over",
                "{method} {address}"
            );
        }
    }
}

#[tokio::test]
async fn a_program_asks_a_person_consents_and_the_program_does_exactly_that_once() {
    let (house, mut kate, _) = owned().await;
    let system = countersign_formats::Ecosystem::Pypi;
    house
        .registry
        .mark_critical(&Actor::operator(), system, "sample", true)
        .await
        .unwrap();
    let token = house.token.clone();
    let path = "/api/v1/projects/pypi/Sample/roles/bob";
    let body = r#"{"role": "maintainer"}"#;
    let asked = house
        .with_token(&token, Some("ask"), Method::PUT, path, body)
        .await
        .expect(403)
        .json();
    let approval = &asked["approval"];
    assert_eq!(approval["on"], "pkg:pypi/sample: bob becomes maintainer");
    assert_eq!(approval["act"], "manage-roles");
    assert_eq!(approval["url"], "http://localhost:8417/account/approvals");
    let id = approval["id"].as_str().unwrap().to_owned();
    // The page shows to the letter what is granted.
    let page = house
        .get_with("/account/approvals", &[("cookie", &kate.cookie)])
        .await
        .expect(200);
    for shown in [
        "pkg:pypi/sample: bob becomes maintainer",
        approval["code"].as_str().unwrap(),
    ] {
        assert!(page.text().contains(shown), "{shown}: {}", page.text());
    }
    house.grant(&mut kate, &id).await;
    // Another role, another person, another project's way of saying it, another act: not what was consented to.
    for (method, path, body) in [
        (Method::PUT, path, r#"{"role": "owner"}"#),
        (
            Method::PUT,
            "/api/v1/projects/pypi/sample/roles/alice",
            body,
        ),
        (Method::DELETE, path, ""),
        (
            Method::PUT,
            "/api/v1/projects/pypi/sample/status",
            r#"{"status": "archived"}"#,
        ),
        (Method::POST, "/api/v1/tokens", r#"{"action": "manage"}"#),
    ] {
        let other = house
            .with_token(&token, Some(&id), method.clone(), path, body)
            .await
            .expect(403);
        assert_eq!(
            other.json()["code"],
            "approval-other",
            "{method} {path} {body}"
        );
    }
    // Another token of hers, and somebody else's, can not use it.
    let second = house.token_for("kate", Action::Manage).await;
    let other = house
        .with_token(&second, Some(&id), Method::PUT, path, body)
        .await
        .expect(403);
    assert_eq!(other.json()["code"], "approval-other");
    let bobs = house.token_for("bob", Action::Manage).await;
    let other = house
        .with_token(&bobs, Some(&id), Method::PUT, path, body)
        .await
        .expect(404);
    assert_eq!(other.json()["code"], "approval-unknown");
    // This one can, once.
    house
        .with_token(&token, Some(&id), Method::PUT, path, body)
        .await
        .expect(204);
    let again = house
        .with_token(&token, Some(&id), Method::PUT, path, body)
        .await
        .expect(409);
    assert_eq!(again.json()["code"], "approval-over");
    let roles = house
        .get("/api/v1/projects/pypi/sample/roles")
        .await
        .expect(200)
        .json();
    assert!(
        roles["items"]
            .as_array()
            .unwrap()
            .contains(&json!({"user": "bob", "role": "maintainer"})),
        "{roles}"
    );
    // Two minutes later a consent is over.
    let path = "/api/v1/projects/pypi/sample/status";
    let body = r#"{"status": "archived", "reason": "done"}"#;
    let asked = house
        .with_token(&token, Some("ask"), Method::PUT, path, body)
        .await
        .expect(403)
        .json();
    assert_eq!(
        asked["approval"]["on"],
        "pkg:pypi/sample: it becomes archived, because done"
    );
    let id = asked["approval"]["id"].as_str().unwrap();
    house.grant(&mut kate, id).await;
    house.clock.turn(121);
    let late = house
        .with_token(&token, Some(id), Method::PUT, path, body)
        .await
        .expect(409);
    assert_eq!(late.json()["code"], "approval-over");
    for nonsense in ["", "ASK", "no such id"] {
        house
            .with_token(&token, Some(nonsense), Method::PUT, path, body)
            .await
            .expect(if nonsense.is_empty() { 400 } else { 404 });
    }
}

#[tokio::test]
async fn what_is_consented_to_can_not_be_dressed_up() {
    let (house, _, _) = owned().await;
    let token = house.token.clone();
    for (label, shown) in [
        ("for reading", "\"for reading\" for 30 days: manage"),
        (
            "x for 1 days: read",
            "\"x for 1 days: read\" for 30 days: manage",
        ),
        ("a\u{202e}b\"c", "\"a\\u{202e}b\\\"c\" for 30 days: manage"),
        ("", "\"\" for 30 days: manage"),
    ] {
        let body = json!({"action": "manage", "label": label}).to_string();
        let asked = house
            .with_token(&token, Some("ask"), Method::POST, "/api/v1/tokens", &body)
            .await
            .expect(403)
            .json();
        assert_eq!(asked["approval"]["on"], shown, "{asked}");
    }
    let body = json!({"action": "manage", "label": "a".repeat(600)}).to_string();
    let long = house
        .with_token(&token, Some("ask"), Method::POST, "/api/v1/tokens", &body)
        .await
        .expect(400);
    assert_eq!(long.json()["code"], "approval-subject");
}

#[tokio::test]
async fn an_organisation_is_run_from_a_terminal_with_consent() {
    let (house, mut kate, _) = owned().await;
    let mut bob = house.person("bobby", false).await;
    let token = house.token.clone();
    let bobs = house.token_for("bobby", Action::Manage).await;
    let body = r#"{"name": "acme", "display_name": "Acme & Söhne"}"#;
    let made = house
        .consented(
            &mut kate,
            &token,
            Method::POST,
            "/api/v1/organisations",
            body,
        )
        .await
        .expect(201)
        .json();
    assert_eq!(
        (&made["name"], &made["standing"]),
        (&"acme".into(), &"owner".into())
    );
    let invitation = house
        .consented(
            &mut kate,
            &token,
            Method::POST,
            "/api/v1/organisations/acme/invitations",
            r#"{"user": "bobby", "standing": "manager"}"#,
        )
        .await
        .expect(201)
        .json();
    assert!(!invitation.to_string().contains("csgn_"), "{invitation}");
    let open = house
        .with_token(&bobs, None, Method::GET, "/api/v1/me/invitations", "")
        .await
        .expect(200)
        .json();
    let id = open["items"][0]["id"].as_str().unwrap();
    assert_eq!(id, invitation["id"]);
    let body = json!({"invitation": id}).to_string();
    let asked = house
        .with_token(
            &bobs,
            Some("ask"),
            Method::POST,
            "/api/v1/invitations/accept",
            &body,
        )
        .await
        .expect(403)
        .json();
    assert_eq!(
        asked["approval"]["on"],
        "join the organisation acme as manager"
    );
    let joined = house
        .consented(
            &mut bob,
            &bobs,
            Method::POST,
            "/api/v1/invitations/accept",
            &body,
        )
        .await
        .expect(200)
        .json();
    assert_eq!(joined["name"], "acme");
    // He is a manager: teams are his, managers are not.
    for (path, status) in [
        ("/api/v1/organisations/acme/teams/builders", 204),
        (
            "/api/v1/organisations/acme/teams/builders/members/bobby",
            204,
        ),
    ] {
        house
            .consented(&mut bob, &bobs, Method::PUT, path, "")
            .await
            .expect(status);
    }
    let denied = house
        .consented(
            &mut bob,
            &bobs,
            Method::PUT,
            "/api/v1/organisations/acme/members/bobby",
            r#"{"standing": "owner"}"#,
        )
        .await
        .expect(403);
    assert_eq!(denied.json()["code"], "membership-missing");
    let shown = house
        .with_token(&bobs, None, Method::GET, "/api/v1/organisations/acme", "")
        .await
        .expect(200)
        .json();
    assert_eq!(shown["teams"][0]["members"], json!(["bobby"]));
    assert_eq!(shown["display_name"], "Acme & Söhne");
    // The project goes to the organisation, after three days.
    let proposal = house
        .consented(
            &mut kate,
            &token,
            Method::POST,
            "/api/v1/projects/pypi/sample/proposals",
            r#"{"transfer_to": "acme"}"#,
        )
        .await
        .expect(201)
        .json();
    let confirm = format!(
        "/api/v1/proposals/{}/confirm",
        proposal["id"].as_str().unwrap()
    );
    let early = house
        .consented(&mut kate, &token, Method::POST, &confirm, "")
        .await
        .expect(403);
    assert_eq!(early.json()["code"], "proposal-too-early");
    let waiting = house
        .with_token(&token, None, Method::GET, "/api/v1/me/transfers", "")
        .await
        .expect(200)
        .json();
    assert_eq!(waiting["items"][0]["target"], "acme");
    let stop = format!("/api/v1/proposals/{}", proposal["id"].as_str().unwrap());
    // Bob is only a manager of who would get it: to him there is no such thing.
    house
        .with_token(&bobs, Some("ask"), Method::DELETE, &stop, "")
        .await
        .expect(404);
    house
        .with_token(&token, None, Method::DELETE, &stop, "")
        .await
        .expect(204);
    // And he leaves.
    house
        .consented(
            &mut bob,
            &bobs,
            Method::DELETE,
            "/api/v1/organisations/acme/members/bobby",
            "",
        )
        .await
        .expect(204);
    house
        .with_token(&bobs, None, Method::GET, "/api/v1/organisations/acme", "")
        .await
        .expect(403);
    house
        .consented(
            &mut kate,
            &token,
            Method::DELETE,
            "/api/v1/organisations/acme",
            "",
        )
        .await
        .expect(204);
}

#[tokio::test]
async fn an_account_is_looked_after_in_a_session() {
    let (house, kate, _) = owned().await;
    let get = async |path: &str| {
        house
            .in_person(&kate, Method::GET, path, "")
            .await
            .expect(200)
            .json()
    };
    let me = get("/api/v1/me").await;
    assert_eq!(
        (&me["name"], &me["session"]["level"], &me["credential"]),
        (&"kate".into(), &"phishproof".into(), &Value::Null)
    );
    let by_token = house
        .call(Method::GET, "/api/v1/me", "")
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&by_token["scope"]["action"], &by_token["session"]),
        (&"manage".into(), &Value::Null)
    );
    let sessions = get("/api/v1/me/sessions").await;
    assert_eq!(sessions["items"][0]["current"], true);
    let factors = get("/api/v1/me/factors").await;
    let factor = factors["factors"][0]["id"].as_str().unwrap();
    assert_eq!(factors["factors"][0]["kind"], "passkey");
    let path = format!("/api/v1/me/factors/{factor}");
    house
        .in_person(&kate, Method::PATCH, &path, r#"{"label": "desk"}"#)
        .await
        .expect(204);
    assert_eq!(
        get("/api/v1/me/factors").await["factors"][0]["label"],
        "desk"
    );
    let notices = get("/api/v1/me/notices").await;
    let notice = notices["items"][0]["id"].as_str().unwrap();
    let path = format!("/api/v1/me/notices/{notice}/seen");
    house
        .in_person(&kate, Method::PUT, &path, "")
        .await
        .expect(204);
    assert!(
        get("/api/v1/me/notices").await["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["id"] == notice && !one["seen"].is_null())
    );
    assert_eq!(
        get("/api/v1/me/projects").await["items"][0]["name"],
        "sample"
    );
    assert_eq!(
        get("/api/v1/me/addresses").await["items"][0]["address"],
        "kate@example.org"
    );
    // A token made here is shown once, and is what was asked for.
    let body = r#"{"action": "publish", "label": "ci", "project": "Sample", "networks": ["192.0.2.0/24"], "days": 7}"#;
    let made = house
        .in_person(&kate, Method::POST, "/api/v1/tokens", body)
        .await
        .expect(201);
    assert_eq!(made.header("cache-control"), "no-store");
    let made = made.json();
    assert!(made["token"].as_str().unwrap().starts_with("csgn_"));
    assert_eq!(made["scope"]["networks"], json!(["192.0.2.0/24"]));
    assert_eq!(made["scope"]["project"], "sample");
    let listed = get("/api/v1/tokens").await;
    assert!(!listed.to_string().contains(made["token"].as_str().unwrap()));
    let export = get("/api/v1/me/export").await;
    assert!(export.to_string().contains("kate@example.org"));
    // Wrong words are told, and change nothing.
    for body in [
        r#"{"action": "everything"}"#,
        r#"{"action": "read", "networks": ["somewhere"]}"#,
        r#"{"action": "read", "days": 100000}"#,
        r#"{"action": "read", "colour": "red"}"#,
        "[",
    ] {
        house
            .in_person(&kate, Method::POST, "/api/v1/tokens", body)
            .await
            .expect(400);
    }
    let slip = r#"{"name": "somebody"}"#;
    house
        .in_person(&kate, Method::POST, "/api/v1/me/erasure", slip)
        .await
        .expect(400);
    // A session that is ended is over at once.
    let id = sessions["items"][0]["id"].as_str().unwrap();
    house
        .in_person(
            &kate,
            Method::DELETE,
            &format!("/api/v1/me/sessions/{id}"),
            "",
        )
        .await
        .expect(204);
    house
        .in_person(&kate, Method::GET, "/api/v1/me", "")
        .await
        .expect(401);
}

#[tokio::test]
async fn an_operator_operates_in_a_fresh_session_and_nobody_else_does() {
    let house = house().await;
    let chief = house.person("chief", true).await;
    let kate = house.person("kate", false).await;
    house.published("sample", "0.1").await;
    let operate = async |method: Method, path: &str, body: &str| {
        house.in_person(&chief, method, path, body).await
    };
    let users = operate(Method::GET, "/api/v1/operator/users", "")
        .await
        .expect(200);
    assert!(users.json()["items"].as_array().unwrap().len() >= 4);
    let made = operate(Method::POST, "/api/v1/operator/users", r#"{"name": "new"}"#)
        .await
        .expect(201);
    assert!(made.json()["enrolment"].as_str().is_some());
    let path = "/api/v1/operator/users/kate/frozen";
    operate(Method::PUT, path, r#"{"frozen": true}"#)
        .await
        .expect(204);
    house
        .in_person(&kate, Method::GET, "/api/v1/me", "")
        .await
        .expect(401);
    operate(Method::PUT, path, r#"{"frozen": false}"#)
        .await
        .expect(204);
    let policy = "/api/v1/operator/factor-policy";
    let raised = operate(Method::PUT, policy, r#"{"maintainers": "phishproof"}"#)
        .await
        .expect(200);
    assert_eq!(raised.json()["maintainers"], "phishproof");
    let lower = r#"{"maintainers": "second-factor"}"#;
    let down = operate(Method::PUT, policy, lower).await.expect(403);
    assert_eq!(down.json()["code"], "factor-policy-down");
    let why = r#"{"maintainers": "second-factor", "reason": "keys arrive in spring"}"#;
    operate(Method::PUT, policy, why).await.expect(200);
    operate(Method::PUT, policy, r#"{"critical": "a lot"}"#)
        .await
        .expect(400);
    let mark = "/api/v1/operator/critical/pypi/sample";
    operate(Method::PUT, mark, r#"{"critical": true}"#)
        .await
        .expect(204);
    operate(Method::GET, "/api/v1/operator/recoveries", "")
        .await
        .expect(200);
    operate(Method::GET, "/api/v1/operator/namespaces", "")
        .await
        .expect(200);
    let names = "/api/v1/operator/names";
    let opinion = async |name: &str| {
        let path = format!("{names}/pypi/{name}");
        let told = operate(Method::GET, &path, "").await.expect(200).json();
        (told["verdict"].clone(), told["reasons"][0]["code"].clone())
    };
    assert_eq!(
        opinion("samp1e").await,
        ("refused".into(), "name-refused".into())
    );
    let beside = format!("{names}/pypi/samp1e/beside/sample");
    operate(Method::PUT, &beside, r#"{"reason": "a successor"}"#)
        .await
        .expect(200);
    assert_eq!(opinion("samp1e").await.0, "free");
    let prohibition = format!("{names}/pypi/evil-name/prohibition");
    operate(Method::PUT, &prohibition, r#"{"reason": "it robs people"}"#)
        .await
        .expect(204);
    assert_eq!(opinion("evil%2dname").await.0, "refused");
    // What installers ask for in vain is counted, in each dialect; what people look at in a browser is not.
    for (path, times) in [
        ("/pypi/simple/hallu-cinated/", 3),
        ("/npm/hallu-cinated", 2),
        ("/cargo/index/ha/ll/hallu-cinated", 1),
        ("/project/pypi/looked-at/", 1),
        ("/pypi/simple/sample/", 1),
    ] {
        for _ in 0..times {
            house.get(path).await;
        }
    }
    let missing = operate(Method::GET, "/api/v1/operator/names/missing", "").await;
    let missing = missing.expect(200).json();
    let told: Vec<_> = missing["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["ecosystem"].as_str().unwrap(),
                one["name"].as_str().unwrap(),
                one["asked"].as_u64().unwrap(),
            )
        })
        .collect();
    let name = "hallu-cinated";
    assert_eq!(
        told,
        [("pypi", name, 3), ("npm", name, 2), ("cargo", name, 1)]
    );
    let form = "project=npm:hallu-cinated&why=It+never+existed";
    house
        .form(&chief, "/operator/names/prohibit", form)
        .await
        .expect(303);
    let page = house
        .get_with("/operator/names", &[("cookie", &chief.cookie)])
        .await
        .expect(200);
    assert!(
        page.text().contains("asked for 3 times on 1 day")
            && page.text().contains("It never existed")
    );
    let form = "project=npm:hallu-cinated&do=permit";
    house
        .form(&chief, "/operator/names/prohibit", form)
        .await
        .expect(303);
    house
        .form(&kate, "/operator/names/prohibit", "project=x&why=for+fun")
        .await
        .expect(401);
    house
        .form(
            &chief,
            "/operator/names/reserve",
            "project=pypi:hallu-cinated&organisation=none",
        )
        .await
        .expect(303);
    assert_eq!(
        opinion("hallu-cinated").await.0,
        "free",
        "there is no such organisation"
    );
    house
        .registry
        .create_organisation(&Actor::operator(), "acme", "Acme", Some("bob"))
        .await
        .unwrap();
    house
        .form(
            &chief,
            "/operator/names/reserve",
            "project=pypi:hallu-cinated&organisation=acme",
        )
        .await
        .expect(303);
    assert_eq!(opinion("hallu-cinated").await.0, "refused");
    let rules = operate(Method::GET, names, "").await.expect(200).json();
    assert_eq!(rules["prohibited"][0]["reason"], "it robs people");
    assert_eq!(rules["exceptions"][0]["other"], "sample");
    for path in [&beside, &prohibition] {
        operate(Method::PUT, path, "{}").await;
        let again = operate(Method::PUT, path, "{}").await.expect(404);
        assert!(
            again.json()["code"]
                .as_str()
                .unwrap()
                .starts_with("name-not-")
        );
    }
    // A token of the operator's account is nobody's but a person's; an old session is not enough.
    let token = house.token_for("chief", Action::Manage).await;
    let answer = house
        .with_token(
            &token,
            Some("ask"),
            Method::GET,
            "/api/v1/operator/users",
            "",
        )
        .await
        .expect(403);
    assert_eq!(answer.json()["code"], "operator-needed");
    house.clock.turn(16 * 60);
    let stale = operate(Method::GET, "/api/v1/operator/users", "")
        .await
        .expect(403);
    assert_eq!(stale.json()["code"], "step-up-needed");
}

#[tokio::test]
async fn a_recovery_begins_alike_for_everybody() {
    let house = house().await;
    house.person("kate", false).await;
    let headers = [("content-type", "application/json")];
    let mut answers = Vec::new();
    for who in [
        "kate",
        "kate@example.org",
        "nobody",
        "no@example.org",
        "\u{0}",
    ] {
        for path in ["/api/v1/recovery", "/api/v1/recovery/password"] {
            let body = json!({"who": who}).to_string();
            let answer = house
                .ask(Method::POST, path, &headers, body)
                .await
                .expect(202);
            answers.push(answer.body.clone());
        }
    }
    assert!(answers.windows(2).all(|two| two[0] == two[1]));
    let unknown = r#"{"secret": "csgn_s_nothing"}"#;
    let answer = house
        .ask(Method::POST, "/api/v1/recovery/status", &headers, unknown)
        .await;
    assert!(
        [400, 401, 403, 404].contains(&answer.status.as_u16()),
        "{}",
        answer.text()
    );
    let policy = house.get("/api/v1/recovery").await.expect(200).json();
    assert_eq!(
        (policy["proofs"].as_u64(), policy["wait_hours"].as_u64()),
        (Some(2), Some(72))
    );
}

#[tokio::test]
async fn attack_a_token_from_outside_its_networks_is_refused_whatever_a_header_claims() {
    let inside: IpAddr = "192.0.2.44".parse().unwrap();
    let mapped: IpAddr = "::ffff:192.0.2.44".parse().unwrap();
    let outside: IpAddr = "198.51.100.7".parse().unwrap();
    for behind_proxy in [false, true] {
        let house = house_with(|_, face| face.behind_proxy = behind_proxy).await;
        house.published("sample", "0.1").await;
        let new = NewToken {
            networks: vec!["192.0.2.0/24".parse().unwrap()],
            ..NewToken::new("alice", Action::Manage)
        };
        let (token, _) = house
            .registry
            .create_token(&Actor::operator(), new)
            .await
            .unwrap();
        let bearer = format!("Bearer {token}");
        let come = async |from: Option<IpAddr>, forwarded: Option<&str>| {
            let mut headers = vec![("authorization", bearer.as_str())];
            headers.extend(forwarded.map(|list| ("x-forwarded-for", list)));
            house
                .ask_from(from, Method::GET, "/api/v1/tokens", &headers, "")
                .await
                .status
                .as_u16()
        };
        let expected = |proxied: u16| if behind_proxy { proxied } else { 403 };
        assert_eq!(come(Some(inside), None).await, 200);
        assert_eq!(come(Some(mapped), None).await, 200);
        assert_eq!(come(Some(outside), None).await, 403);
        assert_eq!(come(None, None).await, 403);
        // Behind a proxy of ours what it wrote last counts; without one nothing of it does.
        assert_eq!(come(Some(outside), Some("192.0.2.44")).await, expected(200));
        assert_eq!(
            come(Some(outside), Some("192.0.2.44, 198.51.100.7")).await,
            403
        );
        assert_eq!(
            come(Some(outside), Some("198.51.100.7, 192.0.2.44")).await,
            expected(200)
        );
        // Who only reads a public instance is anybody.
        let headers = [("authorization", bearer.as_str())];
        house
            .ask_from(
                Some(outside),
                Method::GET,
                "/pypi/simple/sample/",
                &headers,
                "",
            )
            .await
            .expect(200);
        house
            .ask_from(
                Some(outside),
                Method::GET,
                "/api/v1/projects/pypi/sample",
                &headers,
                "",
            )
            .await
            .expect(200);
    }
}

#[tokio::test]
async fn a_token_for_one_project_gets_consent_for_acts_on_it_and_on_nothing_else() {
    let (house, mut kate, _) = owned().await;
    let scoped = async |project: &str| {
        let new = NewToken {
            ecosystem: Some(countersign_formats::Ecosystem::Pypi),
            project: Some(project.to_owned()),
            ..NewToken::new("kate", Action::Manage)
        };
        let made = house.registry.create_token(&Actor::operator(), new).await;
        made.unwrap().0
    };
    let (own, other) = (scoped("sample").await, scoped("another").await);
    let project = "/api/v1/projects/pypi/sample";
    let answer = house
        .with_token(&other, Some("ask"), Method::DELETE, project, "")
        .await
        .expect(403);
    assert_eq!(answer.json()["code"], "token-project", "{}", answer.text());
    // What is not about the project takes a token for all of the account, with or without consent.
    let body = json!({"name": "kates"}).to_string();
    house
        .with_token(
            &own,
            Some("ask"),
            Method::POST,
            "/api/v1/organisations",
            &body,
        )
        .await
        .expect(403);
    // An approval that is asked for by its act, as for a file below the demanded trust.
    let ask = |purl: &str| json!({"act": "delete-project", "purl": purl}).to_string();
    let path = "/api/v1/approvals";
    let asked = house
        .with_token(&own, None, Method::POST, path, &ask("pkg:pypi/sample"))
        .await
        .expect(201)
        .json();
    let status = format!("{path}/{}", asked["id"].as_str().unwrap());
    house
        .with_token(&own, None, Method::GET, &status, "")
        .await
        .expect(200);
    // Another limited token neither asks for it nor sees it.
    for (method, path, body, code) in [
        (Method::POST, path, ask("pkg:pypi/sample"), "token-project"),
        (Method::GET, status.as_str(), String::new(), "token-action"),
    ] {
        let answer = house
            .with_token(&other, None, method, path, &body)
            .await
            .expect(403);
        assert_eq!(answer.json()["code"], code, "{}", answer.text());
    }
    house
        .consented(&mut kate, &own, Method::DELETE, project, "")
        .await
        .expect(204);
}
