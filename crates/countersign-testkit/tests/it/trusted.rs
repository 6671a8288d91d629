//! Trusted publishing from outside: a real registry and a real OpenID Connect provider, both by TLS under a private
//! authority; unmodified clients in the environment of a CI job; and whoever tries to get in.

mod identity;
mod issuers;
mod journey;
mod minted;
mod odd;
mod processes;
pub(crate) mod providers;

use countersign_testkit::claims::{self, Claims};
use countersign_testkit::http::{self, Response};
use countersign_testkit::issuer::{Issuer, OidcServer};
use countersign_testkit::packages::{Package, Wheel};
use countersign_testkit::server::{Database, ServerOptions, TestServer};
use serde_json::{Value, json};

pub(crate) const REPOSITORY: &str = "octo/sample";
pub(crate) const WORKFLOW: &str = "release.yml";
pub(crate) const OWNER_ID: u64 = 65001;
pub(crate) const REPOSITORY_ID: u64 = 74001;

/// A registry whose operator has admitted the issuer `company`, a GitHub of the company's own.
pub(crate) struct Stage {
    pub(crate) server: TestServer,
    pub(crate) oidc: OidcServer,
    pub(crate) company: Issuer,
    pub(crate) audience: String,
    /// For what a test writes.
    pub(crate) folder: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn start() -> Self {
        Self::on(Database::Sqlite)
    }

    pub(crate) fn on(database: Database) -> Self {
        Self::with(ServerOptions {
            database,
            ..ServerOptions::default()
        })
    }

    /// With further lines of the configuration.
    pub(crate) fn configured(lines: &str) -> Self {
        Self::with(ServerOptions {
            configuration: lines.to_owned(),
            ..ServerOptions::default()
        })
    }

    /// On a database of the test's own.
    fn at(database_url: String) -> Self {
        Self::with(ServerOptions {
            database_url: Some(database_url),
            ..ServerOptions::default()
        })
    }

    fn with(options: ServerOptions) -> Self {
        let server = TestServer::start(ServerOptions {
            tls: true,
            ..options
        })
        .unwrap();
        let oidc = OidcServer::start().unwrap();
        let company = oidc.issuer("company").unwrap();
        oidc.answer_github_repository(REPOSITORY, OWNER_ID, REPOSITORY_ID);
        server.user("ada").unwrap();
        let audience = http::get(&format!("{}/_/oidc/audience", server.url()))
            .unwrap()
            .expect_status(200)
            .unwrap()
            .json()
            .unwrap();
        let audience = audience["audience"].as_str().unwrap().to_owned();
        let stage = Self {
            server,
            oidc,
            company,
            audience,
            folder: tempfile::tempdir().unwrap(),
        };
        stage.admit("company", &stage.company);
        stage
    }

    /// `admin issuer add` with the claims of GitHub.
    fn admit(&self, name: &str, issuer: &Issuer) {
        let ca = issuer.ca_file().to_str().unwrap();
        let url = issuer.url();
        let add = ["admin", "issuer", "add", name, "--url", &url];
        let as_github = ["--preset", "github", "--ca", ca];
        self.server.run(&[&add[..], &as_github].concat()).unwrap();
    }

    /// Lets API tokens publish to a project that workflows published to.
    fn let_tokens_publish_to(&self, project: &str) {
        let exception = [
            "admin",
            "provenance",
            "exception",
            project,
            "--level",
            "token",
            "--reason",
            "a test",
        ];
        self.server.run(&exception).unwrap();
    }

    /// Runs an `admin publisher` command and returns the JSON that it prints.
    pub(crate) fn publisher(&self, arguments: &[&str]) -> Value {
        let command = [&["--json", "admin", "publisher"], arguments].concat();
        let output = self.server.run(&command).unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Registers the workflow of [`REPOSITORY`] for a project; the publisher's id.
    pub(crate) fn register(&self, project: &str, further: &[&str]) -> String {
        let added = self.publisher(&[&registration(project), further].concat());
        added["id"].as_str().unwrap().to_owned()
    }

    /// Registers it for a project that does not exist yet, and that ada shall own.
    pub(crate) fn register_pending(&self, project: &str) -> String {
        self.register(project, &["--pending-for", "ada"])
    }

    /// A project of ada's with the release 1.0, published by a token, for which the workflow is registered.
    pub(crate) fn project_with_publisher(&self, project: &str, further: &[&str]) -> String {
        let token = self.server.token("ada", &[]).unwrap();
        let first = release(project, "1.0");
        self.server
            .publish(&first, &token)
            .unwrap()
            .expect_status(200)
            .unwrap();
        self.register(project, further)
    }

    /// What a job of the registered workflow says.
    pub(crate) fn claims(&self) -> Claims {
        claims::github(REPOSITORY, WORKFLOW)
    }

    /// An identity token of `company` for this registry.
    pub(crate) fn identity(&self, claims: &Claims) -> String {
        self.company.token(&self.audience, claims).unwrap()
    }

    pub(crate) fn mint(&self, identity: &str) -> Response {
        mint_at(&self.server.url(), identity)
    }

    /// A minted token of the registered workflow.
    pub(crate) fn minted(&self) -> String {
        token_of(self.mint(&self.identity(&self.claims())))
    }
}

fn registration(project: &str) -> [&str; 10] {
    let (owner, repository) = REPOSITORY.split_once('/').unwrap();
    let whose = ["--owner", owner, "--repository", repository];
    let [a, b, c, d] = whose;
    let issuer = ["add", project, "--issuer", "company"];
    let [e, f, g, h] = issuer;
    [e, f, g, h, a, b, c, d, "--workflow", WORKFLOW]
}

pub(crate) fn mint_at(server: &str, identity: &str) -> Response {
    try_mint_at(server, identity).unwrap()
}

/// An error means that the server went away.
fn try_mint_at(server: &str, identity: &str) -> anyhow::Result<Response> {
    let body = json!({"token": identity}).to_string();
    let headers = [
        ("Content-Type", "application/json"),
        ("Accept", "application/json"),
    ];
    let url = format!("{server}/_/oidc/mint-token");
    http::request("POST", &url, &headers, body.as_bytes())
}

/// The token of a successful exchange.
pub(crate) fn token_of(answer: Response) -> String {
    let answer = answer.expect_status(200).unwrap().json().unwrap();
    assert_eq!(answer["success"], true);
    answer["token"].as_str().unwrap().to_owned()
}

/// The codes of a refused exchange, in the shape that uv and the publishing action print; its first error is returned.
fn refused(answer: &Response, code: &str) -> Value {
    assert_eq!(answer.status, 422, "{}", answer.text());
    let body = answer.json().unwrap();
    assert_eq!(body["message"], "Token request failed");
    assert!(body.get("token").is_none(), "{body}");
    let first = body["errors"][0].clone();
    assert_eq!(first["code"], code, "{body}");
    assert!(
        first["description"]
            .as_str()
            .is_some_and(|text| text.len() > 20),
        "{body}"
    );
    first
}

/// What a refused exchange says of a claim: expected and seen.
fn differing(answer: &Response, claim: &str) -> (String, Value) {
    let body = answer.json().unwrap();
    let errors = body["errors"].as_array().unwrap();
    let told = errors
        .iter()
        .find(|error| error["claim"] == claim)
        .unwrap_or_else(|| panic!("{claim} is not said to differ: {body}"));
    let expected = told["expected"].as_str().unwrap().to_owned();
    (expected, told["seen"].clone())
}

pub(crate) fn release(project: &str, version: &str) -> Package {
    Wheel::new(project, version).build()
}
