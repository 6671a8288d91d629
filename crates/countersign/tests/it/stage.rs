//! A registry by TLS under a private authority, with an OpenID Connect provider beside it, and jobs that publish there.

use std::fs;
use std::path::Path;
use std::process::Command;

use countersign_testkit::claims::{self, Claims};
use countersign_testkit::http;
use countersign_testkit::issuer::{Issuer, OidcServer};
use countersign_testkit::packages::{Package, Sdist, Wheel};
use countersign_testkit::runner::{Runner, masked};
use countersign_testkit::server::{ServerOptions, TestServer};
use serde_json::Value;

use crate::user::{CLIENT, Ran, User};

pub const REPOSITORY: &str = "octo/sample";
pub const WORKFLOW: &str = "release.yml";

/// A registry whose operator has admitted issuers, and whose log's key is pinned by `ada`.
pub struct Stage {
    pub server: TestServer,
    pub oidc: OidcServer,
    pub ada: User,
    /// A token of ada's with the manage action, which includes the others.
    pub stored: String,
}

impl Stage {
    pub fn start() -> Self {
        Self::configured("")
    }

    /// With further lines of configuration.
    pub fn configured(configuration: &str) -> Self {
        let server = TestServer::start(ServerOptions {
            tls: true,
            configuration: configuration.to_owned(),
            ..ServerOptions::default()
        })
        .unwrap();
        let oidc = OidcServer::start().unwrap();
        oidc.answer_github_repository(REPOSITORY, 65001, 74001);
        server.user("ada").unwrap();
        let stored = server.token("ada", &["--action", "manage"]).unwrap();
        let stage = Self {
            ada: User::new(),
            server,
            oidc,
            stored,
        };
        let url = stage.server.url();
        let pin = ["--ca", stage.ca(), "trust", "add", &url, "--yes"];
        stage.ada.run(&pin).expect(0, &["Pinned"]);
        stage
    }

    /// The authority of the registry and of the provider.
    pub fn ca(&self) -> &str {
        self.server.ca_file().unwrap().to_str().unwrap()
    }

    /// For whom identity tokens must be.
    pub fn audience(&self) -> String {
        let answer = self.server.get("/_/oidc/audience").unwrap();
        let answer = answer.expect_status(200).unwrap().json().unwrap();
        answer["audience"].as_str().unwrap().to_owned()
    }

    /// The same for another ecosystem than Python's.
    pub fn audience_of(&self, ecosystem: &str) -> String {
        let path = format!("/_/oidc/audience?ecosystem={ecosystem}");
        let answer = self.server.get(&path).unwrap();
        let answer = answer.expect_status(200).unwrap().json().unwrap();
        answer["audience"].as_str().unwrap().to_owned()
    }

    /// An issuer that the operator has admitted, with a provider's claims.
    pub fn issuer(&self, name: &str, preset: &str) -> Issuer {
        let issuer = self.oidc.issuer(name).unwrap();
        let (url, ca) = (issuer.url(), issuer.ca_file().to_str().unwrap().to_owned());
        let add = [
            "admin", "issuer", "add", name, "--url", &url, "--preset", preset,
        ];
        self.server
            .run(&[&add[..], &["--ca", &ca]].concat())
            .unwrap();
        issuer
    }

    /// Registers a publisher by the client, with ada's token; what it prints.
    pub fn register(&self, project: &str, issuer: &str, further: &[&str]) -> Value {
        let add = ["--json", "publisher", "add", project, "--issuer", issuer];
        let ran = self.manage(&[&add[..], further].concat()).expect(0, &[]);
        serde_json::from_str(&ran.out).unwrap()
    }

    /// Registers the workflow of [`REPOSITORY`].
    pub fn register_workflow(&self, project: &str, issuer: &str, further: &[&str]) -> Value {
        let (owner, repository) = REPOSITORY.split_once('/').unwrap();
        let whose = [
            "--owner",
            owner,
            "--repository",
            repository,
            "--workflow",
            WORKFLOW,
        ];
        self.register(project, issuer, &[&whose[..], further].concat())
    }

    /// Runs the client as ada, with her token.
    pub fn manage(&self, arguments: &[&str]) -> Ran {
        let variables = [
            ("COUNTERSIGN_TOKEN", &*self.stored),
            ("COUNTERSIGN_CA", self.ca()),
        ];
        self.ada.run_with(arguments, &variables)
    }

    /// A job of GitHub Actions whose tokens say this, with the issuer `company` admitted.
    pub fn github(&self, claims: &Claims) -> Runner {
        let company = self.oidc.issuer("company").unwrap();
        Runner::github(&self.oidc, &company, claims).unwrap()
    }

    /// The claims of the registered workflow.
    pub fn claims(&self) -> Claims {
        claims::github(REPOSITORY, WORKFLOW)
    }

    /// A command that is run in a job: its environment, the pinned keys of ada, the registry and its authority.
    pub fn in_job(&self, runner: &Runner, program: &str) -> Command {
        let mut command = Command::new(program);
        runner.apply(&mut command);
        command
            .env("COUNTERSIGN_HOME", self.ada.path("home"))
            .env("COUNTERSIGN_REGISTRY", self.server.url())
            .env("COUNTERSIGN_CA", self.ca());
        command
    }

    /// Runs `countersign publish` in a job.
    pub fn publish(&self, runner: &Runner, arguments: &[&str]) -> Ran {
        let mut command = self.in_job(runner, CLIENT);
        Ran::of(command.arg("publish").args(arguments))
    }

    /// Whether the registry knows a file of that name.
    pub fn has(&self, project: &str, package: &Package) -> bool {
        let found = self.server.project(project).unwrap();
        found.is_some_and(|found| found.to_string().contains(&package.filename))
    }

    /// Whether a token is still good for anything.
    pub fn is_alive(&self, token: &str) -> bool {
        let bearer = format!("Bearer {token}");
        let url = format!("{}/api/v1/whoami", self.server.url());
        let answer = http::request("GET", &url, &[("Authorization", &bearer)], b"").unwrap();
        assert!([200, 401].contains(&answer.status), "{answer:?}");
        answer.status == 200
    }
}

/// Writes a wheel and an sdist of a version into `dist` of a folder.
pub fn built(folder: &Path, name: &str, version: &str) -> [Package; 2] {
    let dist = folder.join("dist");
    fs::create_dir_all(&dist).unwrap();
    let packages = [
        Wheel::new(name, version).readme("# Hello\n").build(),
        Sdist::new(name, version).readme("# Hello\n").build(),
    ];
    for package in &packages {
        package.write_to(&dist).unwrap();
    }
    packages
}

/// The one token that a run has asked the runner to hide; it stands nowhere else, nor does an identity token.
#[track_caller]
pub fn only_masked(ran: &Ran) -> String {
    let said = format!("{}{}", ran.out, ran.err);
    let hidden = masked(&said);
    assert_eq!(hidden.len(), 1, "{ran:#?}");
    assert_eq!(
        said.matches(hidden[0]).count(),
        1,
        "the token is printed: {ran:#?}"
    );
    assert!(
        !said.contains("eyJ"),
        "an identity token is printed: {ran:#?}"
    );
    hidden[0].to_owned()
}
