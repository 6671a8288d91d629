//! What npm's clients believe and why: signatures and attestations by the unmodified `npm audit signatures`, trusted
//! publishing, staged publications that a person lets pass.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use countersign_testkit::claims;
use countersign_testkit::clients::both_outputs;
use countersign_testkit::http;
use countersign_testkit::issuer::{Issuer, OidcServer};
use countersign_testkit::node::{Node, NodeHome};
use countersign_testkit::packages::NpmPackage;
use countersign_testkit::person::Person;
use countersign_testkit::runner::Runner;
use countersign_testkit::server::{ServerOptions, TestServer};
use countersign_testkit::sigstore::{Identity, PrivateSigstore, statements};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::trusted::{self, REPOSITORY, WORKFLOW};

/// Sigstore's repository of trusted keys, which npm asks whatever it verifies.
const TUF: &str = "tuf-repo-cdn.sigstore.dev";
/// Where npm has its keys certified and its provenance logged; no setting of it names others.
const FULCIO: &str = "fulcio.sigstore.dev";
const REKOR: &str = "rekor.sigstore.dev";

/// A registry with an admitted issuer, and npm set up for it.
struct Scene {
    base: trusted::Stage,
    home: NodeHome,
}

impl Scene {
    fn new(configuration: &str) -> Self {
        let base = trusted::Stage::configured(configuration);
        let token = base.server.token("ada", &["--action", "manage"]).unwrap();
        let home = NodeHome::new(&format!("{}/npm/", base.server.url()), Some(&token)).unwrap();
        let authorities = [base.server.ca_file().unwrap(), base.oidc.ca_file()]
            .map(|file| std::fs::read_to_string(file).unwrap());
        std::fs::write(home.path().join("ca.pem"), authorities.join("\n")).unwrap();
        Self { base, home }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/npm/{path}", self.base.server.url())
    }

    fn folder(&self, name: &str, manifest: &Value) -> PathBuf {
        let folder = self.home.folder(name).unwrap();
        std::fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
        folder
    }

    /// npm, which trusts the test's authority.
    fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = self.home.command(Node::Npm, folder, arguments);
        command
            .env("NODE_EXTRA_CA_CERTS", self.home.path().join("ca.pem"))
            .env("npm_config_cafile", self.home.path().join("ca.pem"))
            .env("npm_config_cache", self.home.path().join("npm-cache"));
        command
    }

    fn npm(&self, folder: &Path, arguments: &[&str]) -> String {
        succeeded(&self.command(folder, arguments).output().unwrap())
    }

    /// npm in a job of a workflow, without any token of ours.
    fn in_job(&self, claims: &claims::Claims, folder: &Path, arguments: &[&str]) -> Output {
        let runner = Runner::github(&self.base.oidc, &self.base.company, claims).unwrap();
        self.run_by(&runner, Node::Npm, folder, arguments)
    }

    /// A client in a job, without any token of ours.
    fn run_by(&self, runner: &Runner, client: Node, folder: &Path, arguments: &[&str]) -> Output {
        self.home.set_token(None).unwrap();
        let mut command = self.home.command(client, folder, arguments);
        runner.apply(&mut command);
        command
            .current_dir(folder)
            .env("NODE_EXTRA_CA_CERTS", self.home.path().join("ca.pem"))
            .env("npm_config_cafile", self.home.path().join("ca.pem"))
            .env("npm_config_cache", self.home.path().join("npm-cache"));
        command.output().unwrap()
    }

    /// Admits an issuer and registers its jobs for a package.
    fn register(&self, issuer: &Issuer, preset: &str, package: &str, fields: &[&str]) {
        let (url, ca) = (issuer.url(), issuer.ca_file().to_str().unwrap().to_owned());
        let name = format!("our-{preset}");
        let add = ["admin", "issuer", "add", &name, "--url", &url];
        let how = ["--preset", preset, "--ca", &ca];
        self.base.server.run(&[&add[..], &how].concat()).unwrap();
        let mut publisher = vec!["add", package, "--issuer", &name];
        for field in fields {
            publisher.extend(["--field", field]);
        }
        self.base.publisher(&publisher);
    }

    /// A Sigstore of one's own, which the registry trusts.
    fn sigstore(&self, name: &str) -> PrivateSigstore {
        let sigstore = PrivateSigstore::new(name);
        let root = sigstore
            .write_trusted_root(self.base.folder.path())
            .unwrap();
        let root = root.to_str().unwrap();
        self.base
            .server
            .run(&["admin", "trust-root", "add", "private", root])
            .unwrap();
        sigstore
    }

    fn publish(&self, name: &str, version: &str) {
        let manifest = json!({"name": name, "version": version, "license": "MIT"});
        let place = format!("{}-{version}", name.replace(['@', '/'], "_"));
        let folder = self.folder(&place, &manifest);
        self.npm(&folder, &["publish", "--access", "public"]);
    }

    fn packument(&self, name: &str) -> Value {
        let answer = http::request("GET", &self.url(name), &[], b"").unwrap();
        answer.expect_status(200).unwrap().json().unwrap()
    }

    /// A token for one package, by an identity token of a job.
    fn exchange(&self, package: &str, claims: &claims::Claims) -> http::Response {
        let identity = self.base.company.token("npm:localhost", claims).unwrap();
        let authorization = format!("Bearer {identity}");
        // At the root: npm drops the path of the registry here.
        let url = format!(
            "{}/-/npm/v1/oidc/token/exchange/package/{package}",
            self.base.server.url()
        );
        http::request("POST", &url, &[("Authorization", &authorization)], b"").unwrap()
    }
}

fn succeeded(output: &Output) -> String {
    let said = both_outputs(output);
    assert!(output.status.success(), "{said}");
    said
}

/// A repository of Sigstore's kind, whose root npm is given beforehand, in the place of the public one.
fn public_keys_of(scene: &Scene, trusted_root: &Value) -> (OidcServer, String) {
    let server = OidcServer::in_place_of(&[TUF, FULCIO, REKOR]).unwrap();
    let key = SigningKey::from_bytes(&[7; 32]);
    let signed = |signed: Value| {
        let signature = hex::encode(key.sign(signed.to_string().as_bytes()).to_bytes());
        json!({"signed": signed, "signatures": [{"keyid": "k", "sig": signature}]})
    };
    let role = json!({"keyids": ["k"], "threshold": 1});
    let public = hex::encode(key.verifying_key().to_bytes());
    let until = "2099-01-01T00:00:00Z";
    let root = signed(json!({
        "_type": "root", "spec_version": "1.0.31", "version": 1, "expires": until, "consistent_snapshot": false,
        "keys": {"k": {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}}},
        "roles": {"root": role, "timestamp": role, "snapshot": role, "targets": role},
    }));
    let document = trusted_root.to_string();
    let target = json!({
        "length": document.len(),
        "hashes": {"sha256": hex::encode(Sha256::digest(document.as_bytes()))},
    });
    let about = |kind: &str, more: Value| {
        let mut role =
            json!({"_type": kind, "spec_version": "1.0.31", "version": 1, "expires": until});
        for (name, value) in more.as_object().unwrap() {
            role[name] = value.clone();
        }
        signed(role)
    };
    let targets = about("targets", json!({"targets": {"trusted_root.json": target}}));
    let snapshot = about(
        "snapshot",
        json!({"meta": {"targets.json": {"version": 1}}}),
    );
    let timestamp = about(
        "timestamp",
        json!({"meta": {"snapshot.json": {"version": 1}}}),
    );
    server.answer("/targets/trusted_root.json", Some(trusted_root.clone()));
    server.answer("/targets.json", Some(targets));
    server.answer("/snapshot.json", Some(snapshot));
    server.answer("/timestamp.json", Some(timestamp));
    // Where npm keeps it when it audits, and where it does when it looks at provenance that it is to send.
    for cache in ["npm-cache/_tuf", "data/sigstore-js"] {
        let cache = scene.home.path().join(cache).join(TUF);
        std::fs::create_dir_all(&cache).unwrap();
        std::fs::write(cache.join("root.json"), root.to_string()).unwrap();
    }
    let proxy = server.proxy().unwrap();
    (server, proxy)
}

#[test]
fn npm_audit_signatures_finds_every_package_verified_before_and_after_a_new_key() {
    let scene = Scene::new("npm.advertise_attestations = true");
    let server = &scene.base.server;
    let sigstore = scene.sigstore("npm");
    scene.publish("plain", "1.0.0");
    scene.publish("@ada/scoped", "1.0.0");
    scene.publish("attested", "1.0.0");
    scene.base.register("npm:attested", &[]);

    // By a workflow, with provenance as npm's own command line makes it.
    let claims = scene.base.claims();
    let identity = Identity::github(&scene.base.company.url(), scene.base.oidc.url(), &claims);
    let repository = identity.extension(12).to_owned();
    let package = NpmPackage::new("attested", "1.1.0")
        .set("repository", json!({"type": "git", "url": repository}));
    let statement =
        statements::npm_provenance("pkg:npm/attested@1.1.0", &package.build().bytes, &identity);
    let bundle = sigstore.sign_statement(&identity, &statement);
    let minted = scene.exchange("attested", &claims);
    let minted = minted.expect_status(201).unwrap().json().unwrap();
    let authorization = format!("Bearer {}", minted["token"].as_str().unwrap());
    let put = |package: &NpmPackage, bundle: &Value| {
        let mut request = package.request("latest");
        let text = bundle.to_string();
        request["_attachments"]["attested-1.1.0.sigstore"] = json!({
            "content_type": bundle["mediaType"], "data": text, "length": text.len(),
        });
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        let body = request.to_string();
        http::request("PUT", &scene.url("attested"), &headers, body.as_bytes()).unwrap()
    };
    let elsewhere = NpmPackage::new("attested", "1.1.0").set(
        "repository",
        json!({"type": "git", "url": "https://github.com/other/repo"}),
    );
    let lie = statements::npm_provenance(
        "pkg:npm/attested@1.1.0",
        &elsewhere.build().bytes,
        &identity,
    );
    let refused = put(&elsewhere, &sigstore.sign_statement(&identity, &lie));
    assert_eq!(
        refused.json().unwrap()["code"],
        "attestation-repository",
        "{}",
        refused.text()
    );
    let refused = put(&elsewhere, &bundle);
    assert_eq!(
        refused.json().unwrap()["code"],
        "attestation-subject-mismatch",
        "{}",
        refused.text()
    );
    put(&package, &bundle).expect_status(201).unwrap();

    let packument = scene.packument("attested");
    let version = &packument["versions"]["1.1.0"];
    assert_eq!(version["_npmUser"]["trustedPublisher"]["id"], "github");
    let told = version["dist"]["attestations"]["url"].as_str().unwrap();
    for url in [told.to_owned(), told.replace("/-/npm/v1", "/npm/-/npm/v1")] {
        let served = http::get(&url).unwrap();
        let served = served.expect_status(200).unwrap().json().unwrap();
        assert_eq!(served["attestations"][0]["bundle"], bundle);
    }

    let project = scene.folder(
        "project",
        &json!({"name": "project", "version": "1.0.0", "dependencies":
            {"plain": "1.0.0", "@ada/scoped": "1.0.0", "attested": "1.1.0"}}),
    );
    scene.npm(&project, &["install"]);
    let (_tuf, proxy) = public_keys_of(&scene, &sigstore.trusted_root());
    let audit = || {
        let mut command = scene.command(&project, &["audit", "signatures"]);
        command
            .env("HTTPS_PROXY", &proxy)
            .env("NO_PROXY", "localhost,127.0.0.1");
        succeeded(&command.output().unwrap())
    };
    let said = audit();
    assert!(
        said.contains("3 packages have verified registry signatures"),
        "{said}"
    );
    assert!(
        said.contains("1 package has a verified attestation"),
        "{said}"
    );

    server.run(&["admin", "key", "rotate", "npm"]).unwrap();
    scene.publish("after", "1.0.0");
    scene.npm(&project, &["install", "after@1.0.0"]);
    let said = audit();
    assert!(
        said.contains("4 packages have verified registry signatures"),
        "{said}"
    );
    server.checked_log().unwrap();
}

#[test]
fn npm_publishes_and_stages_from_a_workflow_and_says_why_where_it_may_not() {
    let scene = Scene::new("");
    scene.publish("sample", "1.0.0");
    scene.base.register("npm:sample", &[]);
    let manifest = |version: &str| json!({"name": "sample", "version": version, "license": "MIT"});

    let folder = scene.folder("by-workflow", &manifest("1.1.0"));
    let private = scene.base.claims().set("repository_visibility", "private");
    succeeded(&scene.in_job(&private, &folder, &["publish"]));
    let packument = scene.packument("sample");
    assert_eq!(
        packument["versions"]["1.1.0"]["_npmUser"]["trustedPublisher"]["id"],
        "github"
    );

    // Another workflow of the repository: npm goes on without a word of its own, and ours is printed.
    let folder = scene.folder("by-other", &manifest("1.2.0"));
    let other = claims::github(REPOSITORY, "other.yml").set("repository_visibility", "private");
    let output = scene.in_job(&other, &folder, &["publish"]);
    let said = both_outputs(&output);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("No trusted publishing of sample"), "{said}");
    assert!(said.contains(WORKFLOW), "{said}");
    // With a token that is none, the refusal repeats it.
    let answer = http::request(
        "PUT",
        &scene.url("sample"),
        &[
            ("Authorization", "Bearer csgn_u_none"),
            ("Content-Type", "application/json"),
        ],
        NpmPackage::new("sample", "1.2.0")
            .request("latest")
            .to_string()
            .as_bytes(),
    )
    .unwrap();
    assert_eq!(answer.status, 401);
    assert!(
        answer
            .text()
            .contains("identity token before this was refused"),
        "{}",
        answer.text()
    );

    // It is good for its package alone.
    let other = scene.exchange("another", &scene.base.claims());
    assert_eq!(
        other.json().unwrap()["code"],
        "publisher-none",
        "{}",
        other.text()
    );

    let folder = scene.folder("staged", &manifest("2.0.0"));
    let said = succeeded(&scene.in_job(&private, &folder, &["stage", "publish"]));
    assert!(said.contains("staged with id"), "{said}");
    assert!(scene.packument("sample")["versions"]["2.0.0"].is_null());
    scene.base.server.checked_log().unwrap();
}

#[test]
fn jobs_of_gitlab_and_circleci_publish_by_npm_and_jobs_of_github_by_pnpm_and_yarn() {
    let scene = Scene::new("");
    // A package for each: one is built from one source.
    for name in ["by-gitlab", "by-circleci", "sample"] {
        scene.publish(name, "1.0.0");
    }
    scene.base.register("npm:sample", &[]);
    let folder = |name: &str, version: &str| {
        let manifest = json!({"name": name, "version": version, "license": "MIT"});
        scene.folder(&format!("{name}-{version}"), &manifest)
    };
    let publisher = |name: &str, version: &str| {
        let packument = scene.packument(name);
        packument["versions"][version]["_npmUser"]["trustedPublisher"]["id"].clone()
    };

    // GitLab hands a job the token that its `id_tokens` names.
    let oidc = &scene.base.oidc;
    let host = oidc.url().strip_prefix("https://").unwrap();
    let gitlab = oidc.issuer("").unwrap();
    oidc.answer_gitlab_project("group/sub/sample", 72, 20);
    let fields = ["namespace=group/sub", "project=sample"];
    scene.register(&gitlab, "gitlab", "npm:by-gitlab", &fields);
    let claims = claims::gitlab(host, "group/sub/sample", None);
    let runner = Runner::gitlab(&gitlab, &claims, "NPM_ID_TOKEN", "npm:localhost").unwrap();
    succeeded(&scene.run_by(
        &runner,
        Node::Npm,
        &folder("by-gitlab", "1.1.0"),
        &["publish"],
    ));
    assert_eq!(publisher("by-gitlab", "1.1.0"), "gitlab");

    // In CircleCI the job asks for it: NPM_ID_TOKEN=$(circleci run oidc get --claims '{"aud": "npm:localhost"}').
    let (organization, project) = (
        "2f7a1c9e-0d4b-4c8e-9b61-5a3e8d7f6c01",
        "7c1e4b2a-93d8-4f0e-8a57-1b2c3d4e5f02",
    );
    let circle = oidc.issuer(&format!("org/{organization}")).unwrap();
    let fields = [
        format!("project_id={project}"),
        "repository=github.com/octo/sample".to_owned(),
    ];
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    scene.register(&circle, "circleci", "npm:by-circleci", &fields);
    let claims = claims::circleci(organization, project);
    let mut runner = Runner::circleci(&circle, &claims, "npm:localhost").unwrap();
    runner.set(
        "NPM_ID_TOKEN",
        &circle.token("npm:localhost", &claims).unwrap(),
    );
    succeeded(&scene.run_by(
        &runner,
        Node::Npm,
        &folder("by-circleci", "1.2.0"),
        &["publish"],
    ));
    assert_eq!(publisher("by-circleci", "1.2.0"), "circleci");

    // pnpm leaves it to npm; yarn exchanges by itself, for the host with its port.
    let private = scene.base.claims().set("repository_visibility", "private");
    let job = || Runner::github(oidc, &scene.base.company, &private).unwrap();
    let arguments = ["publish", "--no-git-checks"];
    succeeded(&scene.run_by(&job(), Node::Pnpm, &folder("sample", "1.3.0"), &arguments));
    assert_eq!(publisher("sample", "1.3.0"), "github");
    let place = folder("sample", "1.4.0");
    std::fs::write(place.join("yarn.lock"), "").unwrap();
    succeeded(&scene.run_by(&job(), Node::Berry, &place, &["install"]));
    succeeded(&scene.run_by(&job(), Node::Berry, &place, &["npm", "publish"]));
    assert_eq!(publisher("sample", "1.4.0"), "github");
    scene.base.server.checked_log().unwrap();
}

#[test]
fn npm_signs_provenance_by_itself_and_sends_what_another_tool_signed() {
    let scene = Scene::new("npm.advertise_attestations = true");
    let server = &scene.base.server;
    let sigstore = scene.sigstore("npm signs");
    scene.publish("@ada/signed", "1.0.0");
    scene.base.register("npm:@ada/signed", &[]);
    let claims = scene.base.claims();
    let identity = Identity::github(&scene.base.company.url(), scene.base.oidc.url(), &claims);
    let (services, proxy) = public_keys_of(&scene, &sigstore.trusted_root());
    let (authority, named) = (sigstore.clone(), identity.clone());
    services.serve("/api/v2/signingCert", move |request| {
        authority.certify(&named, request)
    });
    let log = sigstore.clone();
    services.serve("/api/v1/log/entries", move |proposed| log.log(proposed));

    let repository = identity.extension(12).to_owned();
    let manifest = |version: &str| {
        json!({"name": "@ada/signed", "version": version, "license": "MIT",
            "repository": {"type": "git", "url": repository}})
    };
    let job = || {
        let mut runner = Runner::github(&scene.base.oidc, &scene.base.company, &claims).unwrap();
        runner.set("GITHUB_SERVER_URL", scene.base.oidc.url());
        runner.set("GITHUB_REPOSITORY_ID", claims.text("repository_id"));
        runner.set(
            "GITHUB_REPOSITORY_OWNER_ID",
            claims.text("repository_owner_id"),
        );
        runner.set("GITHUB_RUN_ATTEMPT", claims.text("run_attempt"));
        runner.set("RUNNER_ENVIRONMENT", claims.text("runner_environment"));
        runner.set("HTTPS_PROXY", &proxy);
        runner.set("NO_PROXY", "localhost,127.0.0.1");
        runner
    };
    let attested = |version: &str| {
        let url = scene.url(&format!("-/npm/v1/attestations/@ada%2fsigned@{version}"));
        let served = http::get(&url).unwrap().expect_status(200).unwrap();
        served.json().unwrap()["attestations"][0]["predicateType"].clone()
    };

    // npm makes the statement, has its key certified, and logs it.
    let folder = scene.folder("own", &manifest("1.1.0"));
    let arguments = ["publish", "--provenance", "--access", "public"];
    let said = succeeded(&scene.run_by(&job(), Node::Npm, &folder, &arguments));
    assert!(said.contains("Signed provenance statement"), "{said}");
    assert_eq!(attested("1.1.0"), statements::SLSA_V1);

    // Signed by another tool, about what npm packed.
    let folder = scene.folder("given", &manifest("1.2.0"));
    scene.npm(&folder, &["pack"]);
    let tarball = std::fs::read(folder.join("ada-signed-1.2.0.tgz")).unwrap();
    let purl = "pkg:npm/%40ada/signed@1.2.0";
    let statement = statements::npm_provenance(purl, &tarball, &identity);
    let bundle = sigstore.sign_statement(&identity, &statement);
    std::fs::write(folder.join("bundle.json"), bundle.to_string()).unwrap();
    let arguments = [
        "publish",
        "./ada-signed-1.2.0.tgz",
        "--provenance-file",
        "bundle.json",
        "--access",
        "public",
    ];
    succeeded(&scene.run_by(&job(), Node::Npm, &folder, &arguments));
    assert_eq!(attested("1.2.0"), statements::SLSA_V1);

    // Without any the package would lose what it is remembered for.
    let folder = scene.folder("none", &manifest("1.3.0"));
    let private = claims.clone().set("repository_visibility", "private");
    let output = scene.in_job(&private, &folder, &["publish"]);
    let said = both_outputs(&output);
    assert!(
        !output.status.success() && said.contains("provenance"),
        "{said}"
    );

    let project = scene.folder(
        "project",
        &json!({"name": "project", "version": "1.0.0", "dependencies": {"@ada/signed": "1.1.0"}}),
    );
    scene.npm(&project, &["install"]);
    let mut audit = scene.command(&project, &["audit", "signatures"]);
    audit
        .env("HTTPS_PROXY", &proxy)
        .env("NO_PROXY", "localhost,127.0.0.1");
    let said = succeeded(&audit.output().unwrap());
    assert!(
        said.contains("1 package has a verified attestation"),
        "{said}"
    );
    server.checked_log().unwrap();
}

#[test]
fn npm_manages_trusted_publishers() {
    let scene = Scene::new("");
    scene.publish("sample", "1.0.0");
    let home = scene.home.path().to_owned();
    let list = || scene.npm(&home, &["trust", "list", "sample", "--json"]);
    scene.npm(
        &home,
        &[
            "trust",
            "github",
            "sample",
            "--repo",
            "octo/sample",
            "--file",
            "release.yml",
            "--env",
            "release",
            "--allow-stage-publish",
            "--yes",
        ],
    );
    let said = list();
    for part in [
        "octo/sample",
        "release.yml",
        "release",
        "createStagedPackage",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("createPackage"), "{said}");
    let again = scene
        .command(
            &home,
            &[
                "trust",
                "github",
                "sample",
                "--repo",
                "octo/sample",
                "--file",
                "release.yml",
                "--env",
                "release",
                "--allow-publish",
                "--yes",
            ],
        )
        .output()
        .unwrap();
    assert!(
        !again.status.success() && both_outputs(&again).contains("already"),
        "{}",
        both_outputs(&again)
    );
    let id = said
        .split("\"id\": \"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    scene.npm(&home, &["trust", "revoke", "sample", "--id", &id]);
    assert!(!list().contains("octo/sample"));
}

#[test]
fn a_person_lets_a_staged_version_pass_by_a_passkey_and_rejects_another() {
    let server = TestServer::start(ServerOptions {
        named: true,
        ..ServerOptions::default()
    })
    .unwrap();
    let person = Person::enrol(&server, "ada").unwrap();
    let token = server.token("ada", &["--action", "publish"]).unwrap();
    let home = NodeHome::new(&format!("{}/npm/", server.url()), Some(&token)).unwrap();
    let run = |folder: &Path, arguments: &[&str]| home.run(Node::Npm, folder, arguments).unwrap();
    let package = |version: &str| {
        let folder = home.folder(version).unwrap();
        let manifest = json!({"name": "sample", "version": version, "license": "MIT"});
        std::fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
        folder
    };
    succeeded(&run(&package("1.0.0"), &["publish"]));
    let stage = |version: &str| {
        let said = succeeded(&run(&package(version), &["stage", "publish"]));
        let id = said
            .split("staged with id ")
            .nth(1)
            .unwrap_or_else(|| panic!("{said}"));
        id.split(')').next().unwrap().to_owned()
    };
    let (wanted, unwanted) = (stage("1.1.0"), stage("1.2.0"));
    let path = home.path().to_owned();
    let listed = succeeded(&run(&path, &["stage", "list"]));
    assert!(
        listed.contains(&wanted) && listed.contains(&unwanted),
        "{listed}"
    );
    succeeded(&run(&path, &["stage", "view", &wanted]));
    succeeded(&run(&path, &["stage", "download", &wanted]));
    assert!(path.join(format!("sample-1.1.0-{wanted}.tgz")).is_file());

    // Not at a terminal npm tells where to consent, and where its answer is had.
    let asked = both_outputs(&run(&path, &["stage", "approve", &wanted]));
    assert!(
        asked.contains("one-time password") && asked.contains("/account/approvals"),
        "{asked}"
    );
    let code = asked
        .split("Approve ")
        .nth(1)
        .unwrap_or_else(|| panic!("{asked}"));
    let code = code.split(' ').next().unwrap();
    let id = asked
        .split("--otp=")
        .nth(1)
        .unwrap()
        .split(',')
        .next()
        .unwrap();
    // npm masks the id where it tells of this address.
    let done = format!("{}/npm/-/v1/done/{id}", server.url());
    assert_eq!(http::get(&done).unwrap().status, 202);
    let shown = person.answer_approval(code, true).unwrap();
    assert!(
        shown.contains("pkg:npm/sample@1.1.0") && shown.contains("sha256:"),
        "{shown}"
    );
    let answer = http::get(&done).unwrap();
    let answer = answer.expect_status(200).unwrap().json().unwrap();
    let otp = format!("--otp={}", answer["token"].as_str().unwrap());
    // Consent to one is none to the other.
    let other = run(&path, &["stage", "approve", &unwanted, &otp]);
    assert!(!other.status.success(), "{}", both_outputs(&other));
    succeeded(&run(&path, &["stage", "approve", &wanted, &otp]));
    let latest = succeeded(&run(&path, &["view", "sample", "version"]));
    assert!(latest.contains("1.1.0"), "{latest}");

    succeeded(&run(&path, &["stage", "reject", &unwanted]));
    let listed = succeeded(&run(&path, &["stage", "list"]));
    assert!(listed.contains("No staged packages found"), "{listed}");
    server.checked_log().unwrap();
}
