//! npm, pnpm and both yarns publish to a registry and install from it alone.

use std::path::{Path, PathBuf};

use countersign_testkit::clients::both_outputs;
use countersign_testkit::http;
use countersign_testkit::node::{Node, NodeHome};
use countersign_testkit::packages::NpmPackage;
use countersign_testkit::person::SignedIn;
use countersign_testkit::server::{ServerOptions, TestServer};
use serde_json::{Value, json};

/// A server, and a home whose clients publish and manage there as `ada`.
struct Scene {
    server: TestServer,
    home: NodeHome,
}

impl Scene {
    fn new() -> Self {
        Self::with(ServerOptions::default())
    }

    fn with(options: ServerOptions) -> Self {
        let server = TestServer::start(options).unwrap();
        server.user("ada").unwrap();
        let token = server.token("ada", &["--action", "manage"]).unwrap();
        let home = NodeHome::new(&format!("{}/npm/", server.url()), Some(&token)).unwrap();
        Self { server, home }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/npm/{path}", self.server.url())
    }

    /// A folder with a package in it.
    fn package(&self, folder: &str, manifest: &Value) -> PathBuf {
        let folder = self.home.folder(folder).unwrap();
        std::fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
        std::fs::write(folder.join("index.js"), "module.exports = 1\n").unwrap();
        std::fs::write(folder.join("README.md"), "# Hello\n").unwrap();
        folder
    }

    /// Runs npm; what it printed, where it went well.
    fn npm(&self, arguments: &[&str]) -> Result<String, String> {
        let folder = self.home.path().to_owned();
        self.npm_in(&folder, arguments)
    }

    fn npm_in(&self, folder: &Path, arguments: &[&str]) -> Result<String, String> {
        let output = self.home.run(Node::Npm, folder, arguments).unwrap();
        let said: Vec<String> = both_outputs(&output)
            .lines()
            // It knows no settings but its own in the file that yarn reads too.
            .filter(|line| !line.contains("Unknown user config"))
            .map(str::to_owned)
            .collect();
        let said = said.join("\n");
        if output.status.success() {
            Ok(said)
        } else {
            Err(said)
        }
    }

    fn packument(&self, name: &str) -> Value {
        let answer = http::request("GET", &self.url(name), &[], b"").unwrap();
        answer.expect_status(200).unwrap().json().unwrap()
    }

    /// Publishes by npm a package that needs nothing.
    fn publish(&self, name: &str, version: &str, more: &[&str]) {
        let place = format!("{}-{version}", name.replace(['@', '/'], "_"));
        let folder = self.package(
            &place,
            &json!({"name": name, "version": version, "license": "MIT"}),
        );
        self.npm_in(&folder, &[&["publish"], more].concat())
            .unwrap();
    }
}

#[test]
fn every_client_publishes_and_every_client_installs_from_a_lock_file() {
    let scene = Scene::new();
    for (client, name, arguments) in [
        (Node::Npm, "by-npm", &["publish"][..]),
        (
            Node::Npm,
            "@ada/by-npm",
            &["publish", "--access", "public"][..],
        ),
        (
            Node::Pnpm,
            "@ada/by-pnpm",
            &["publish", "--no-git-checks"][..],
        ),
        (
            Node::Classic,
            "by-classic",
            &["publish", "--non-interactive", "--new-version", "1.2.3"][..],
        ),
        // Yarn asks for a restricted package by itself where the name has a scope.
        (
            Node::Berry,
            "@ada/by-berry",
            &["npm", "publish", "--access", "public"][..],
        ),
    ] {
        let place = name.replace(['@', '/'], "_");
        let folder = scene.package(
            &place,
            &json!({"name": name, "version": "1.2.3", "license": "MIT", "description": "A <package>"}),
        );
        if client == Node::Berry {
            std::fs::write(folder.join("yarn.lock"), "").unwrap();
            scene.home.done(client, &folder, &["install"]).unwrap();
        }
        scene.home.done(client, &folder, arguments).unwrap();
        let packument = scene.packument(&name.replace('/', "%2f"));
        assert_eq!(packument["dist-tags"]["latest"], "1.2.3", "{name}");
        assert!(packument["readme"].as_str().unwrap().contains("Hello"));
        assert_eq!(packument["maintainers"][0]["name"], "ada");
    }
    let needs = json!({
        "name": "app", "version": "1.0.0", "private": true,
        "dependencies": {
            "by-npm": "^1", "@ada/by-npm": "latest", "@ada/by-pnpm": "~1.2.0", "by-classic": "1.2.3",
            "alias": "npm:@ada/by-berry@1",
        },
    });
    for (client, lock, locked) in [
        (
            Node::Npm,
            "package-lock.json",
            &["ci", "--ignore-scripts"][..],
        ),
        (
            Node::Pnpm,
            "pnpm-lock.yaml",
            &["install", "--frozen-lockfile"][..],
        ),
        (
            Node::Classic,
            "yarn.lock",
            &["install", "--frozen-lockfile", "--non-interactive"][..],
        ),
        (Node::Berry, "yarn.lock", &["install", "--immutable"][..]),
    ] {
        let folder = scene.package(&format!("app-{client:?}"), &needs);
        if client == Node::Berry {
            std::fs::write(folder.join(lock), "").unwrap();
        }
        scene.home.done(client, &folder, &["install"]).unwrap();
        let text = std::fs::read_to_string(folder.join(lock)).unwrap();
        std::fs::remove_dir_all(folder.join("node_modules")).unwrap();
        scene.home.done(client, &folder, locked).unwrap();
        for module in [
            "by-npm",
            "@ada/by-npm",
            "@ada/by-pnpm",
            "by-classic",
            "alias",
        ] {
            assert!(
                folder
                    .join("node_modules")
                    .join(module)
                    .join("index.js")
                    .is_file(),
                "{client:?}: {module}"
            );
        }
        // A lock file that promises other bytes is not fulfilled; berry has checksums of its own making.
        if client != Node::Berry {
            let at = text.find("sha512-").unwrap() + "sha512-".len();
            let other = if text.as_bytes()[at] == b'A' {
                "B"
            } else {
                "A"
            };
            let mut forged = text.clone();
            forged.replace_range(at..=at, other);
            std::fs::write(folder.join(lock), forged).unwrap();
            std::fs::remove_dir_all(folder.join("node_modules")).unwrap();
            for cache in ["cache", ".npm", "data", ".cache"] {
                let _ = std::fs::remove_dir_all(scene.home.path().join(cache));
            }
            let output = scene.home.run(client, &folder, locked).unwrap();
            assert!(!output.status.success(), "{client:?} took other bytes");
        }
    }
}

#[test]
fn npm_manages_what_it_published() {
    let scene = Scene::new();
    scene.server.user("bob").unwrap();
    for version in ["1.0.0", "1.1.0", "2.0.0-beta.1"] {
        let tag = if version.contains("beta") {
            "beta"
        } else {
            "latest"
        };
        scene.publish("@ada/left", version, &["--tag", tag, "--access", "public"]);
    }
    assert_eq!(scene.npm(&["whoami"]).unwrap().trim(), "ada");
    assert!(scene.npm(&["ping"]).unwrap().contains("PONG"));

    // Tags.
    let tags = scene.npm(&["dist-tag", "ls", "@ada/left"]).unwrap();
    assert!(
        tags.contains("latest: 1.1.0") && tags.contains("beta: 2.0.0-beta.1"),
        "{tags}"
    );
    scene
        .npm(&["dist-tag", "add", "@ada/left@1.0.0", "old"])
        .unwrap();
    scene
        .npm(&["dist-tag", "add", "@ada/left@1.0.0", "latest"])
        .unwrap();
    assert_eq!(
        scene.npm(&["view", "@ada/left", "version"]).unwrap().trim(),
        "1.0.0"
    );
    scene.npm(&["dist-tag", "rm", "@ada/left", "old"]).unwrap();
    assert!(
        !scene
            .npm(&["dist-tag", "ls", "@ada/left"])
            .unwrap()
            .contains("old")
    );
    let said = scene
        .npm(&["dist-tag", "rm", "@ada/left", "latest"])
        .unwrap_err();
    assert!(said.contains("can not be removed"), "{said}");
    let said = scene
        .npm(&["dist-tag", "add", "@ada/left@9.9.9", "other"])
        .unwrap_err();
    assert!(said.contains("9.9.9"), "{said}");

    // Deprecation, seen by whoever installs.
    scene
        .npm(&["deprecate", "@ada/left@1.0.0", "Use 1.1.0 instead"])
        .unwrap();
    assert_eq!(
        scene
            .npm(&["view", "@ada/left@1.0.0", "deprecated"])
            .unwrap()
            .trim(),
        "Use 1.1.0 instead"
    );
    let app = scene.package("app", &json!({"name": "app", "version": "1.0.0"}));
    let said = scene.npm_in(&app, &["install", "@ada/left@1.0.0"]).unwrap();
    assert!(said.contains("Use 1.1.0 instead"), "{said}");
    scene.npm(&["undeprecate", "@ada/left@1.0.0"]).unwrap();
    assert_eq!(
        scene
            .npm(&["view", "@ada/left@1.0.0", "deprecated"])
            .unwrap()
            .trim(),
        ""
    );

    // Stars are one's own.
    scene.npm(&["star", "@ada/left"]).unwrap();
    assert!(scene.npm(&["stars"]).unwrap().contains("@ada/left"));
    assert!(
        scene
            .npm(&["stars", "bob"])
            .unwrap_err()
            .contains("for them alone")
    );
    scene.npm(&["unstar", "@ada/left"]).unwrap();
    assert!(!scene.npm(&["stars"]).unwrap().contains("@ada/left"));

    // Access, as far as it is known here.
    assert!(
        scene
            .npm(&["access", "get", "status", "@ada/left"])
            .unwrap()
            .contains("public")
    );
    let people = scene
        .npm(&["access", "list", "collaborators", "@ada/left"])
        .unwrap();
    assert!(people.contains("ada: read-write"), "{people}");
    let packages = scene.npm(&["access", "list", "packages"]).unwrap();
    assert!(packages.contains("@ada/left: read-write"), "{packages}");

    // Search, view, tokens, audit.
    assert!(
        scene
            .npm(&["search", "left", "--json"])
            .unwrap()
            .contains("@ada/left")
    );
    assert!(
        scene
            .npm(&["search", "nothing-like-it"])
            .unwrap()
            .contains("No matches")
    );
    assert!(scene.npm(&["token", "list"]).unwrap().contains("csgn_"));
    assert!(scene.npm(&["profile", "get"]).unwrap().contains("ada"));
    assert!(
        scene
            .npm_in(&app, &["audit"])
            .unwrap()
            .contains("found 0 vulnerabilities")
    );
    assert!(scene.npm_in(&app, &["outdated", "--json"]).is_ok());

    // Versions go; the name stays taken.
    scene.npm(&["unpublish", "@ada/left@1.1.0"]).unwrap();
    let packument = scene.packument("@ada%2fleft");
    assert!(packument["versions"]["1.1.0"].is_null() && packument["versions"]["1.0.0"].is_object());
    let again = scene.package(
        "again",
        &json!({"name": "@ada/left", "version": "1.1.0", "license": "MIT", "description": "other bytes"}),
    );
    let said = scene
        .npm_in(&again, &["publish", "--access", "public"])
        .unwrap_err();
    assert!(said.contains("1.1.0"), "{said}");
    assert!(scene.server.checked_log().is_ok());
}

#[test]
fn npm_changes_owners_and_deprecates_many_versions_at_once() {
    let scene = Scene::new();
    scene.server.user("bob").unwrap();
    for version in ["1.0.0", "1.1.0", "1.2.0", "2.0.0"] {
        scene.publish("@ada/many", version, &["--access", "public"]);
    }
    // Owners.
    let owners = || scene.npm(&["owner", "ls", "@ada/many"]).unwrap();
    assert!(owners().contains("ada") && !owners().contains("bob"));
    let said = scene.npm(&["owner", "add", "bob", "@ada/many"]).unwrap();
    assert!(said.contains("+ bob (@ada/many)"), "{said}");
    assert!(owners().contains("bob"));
    let people = scene
        .npm(&["access", "list", "collaborators", "@ada/many"])
        .unwrap();
    assert!(people.contains("bob: read-write"), "{people}");
    let said = scene
        .npm(&["owner", "add", "nobody-of-that-name", "@ada/many"])
        .unwrap_err();
    assert!(said.contains("nobody-of-that-name"), "{said}");
    let said = scene.npm(&["owner", "rm", "bob", "@ada/many"]).unwrap();
    assert!(said.contains("- bob (@ada/many)"), "{said}");
    assert!(!owners().contains("bob"));
    let said = scene.npm(&["owner", "rm", "ada", "@ada/many"]).unwrap_err();
    assert!(said.contains("Cannot remove all owners"), "{said}");

    // One request for three versions, and the same back.
    let deprecated = || -> Vec<String> {
        let packument = scene.packument("@ada%2fmany");
        let versions = packument["versions"].as_object().unwrap();
        let one = |(version, manifest): (&String, &Value)| {
            manifest["deprecated"].is_string().then(|| version.clone())
        };
        versions.iter().filter_map(one).collect()
    };
    scene
        .npm(&["deprecate", "@ada/many@1.x", "Use 2.0.0"])
        .unwrap();
    assert_eq!(deprecated(), ["1.0.0", "1.1.0", "1.2.0"]);
    scene.npm(&["undeprecate", "@ada/many@1.x"]).unwrap();
    assert_eq!(deprecated(), [""; 0]);

    // A request of which one part is refused changes nothing.
    let token = scene.server.token("ada", &["--action", "manage"]).unwrap();
    let before = scene.packument("@ada%2fmany");
    let mut wanted = before.clone();
    for version in ["1.0.0", "1.1.0"] {
        wanted["versions"][version]["deprecated"] = json!("old");
    }
    wanted["maintainers"] = json!([{"name": "ada"}, {"name": "nobody-of-that-name"}]);
    wanted["dist-tags"]["stable"] = json!("1.2.0");
    let address = scene.url(&format!(
        "@ada%2fmany/-rev/{}",
        before["_rev"].as_str().unwrap()
    ));
    let authorization = format!("Bearer {token}");
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
    ];
    let answer = http::request("PUT", &address, &headers, wanted.to_string().as_bytes()).unwrap();
    assert_eq!(
        answer.json().unwrap()["code"],
        "user-unknown",
        "{}",
        answer.text()
    );
    assert!(
        answer.text().contains("None of the 4 changes"),
        "{}",
        answer.text()
    );
    assert_eq!(scene.packument("@ada%2fmany"), before);
    // Whoever tidies up after a colleague's command sends what was there; then it goes.
    wanted["maintainers"] = json!([{"name": "ada"}, {"name": "bob"}]);
    http::request("PUT", &address, &headers, wanted.to_string().as_bytes())
        .unwrap()
        .expect_status(201)
        .unwrap();
    let after = scene.packument("@ada%2fmany");
    assert_eq!(deprecated(), ["1.0.0", "1.1.0"]);
    assert_eq!(after["dist-tags"]["stable"], "1.2.0");
    assert_eq!(after["maintainers"].as_array().unwrap().len(), 2);
    // Hooks are no part of npm any more, and of this registry never were.
    let hooks = http::request("GET", &scene.url("-/npm/v1/hooks"), &headers[..1], b"").unwrap();
    assert_eq!(hooks.status, 404);
    assert!(scene.server.checked_log().is_ok());
}

/// npm of somebody whose passkey consents to what their token alone may not do.
struct Consenting {
    server: TestServer,
    home: NodeHome,
    ada: SignedIn,
}

impl Consenting {
    fn npm(&self, arguments: &[&str]) -> Result<String, String> {
        let folder = self.home.path().to_owned();
        let output = self.home.run(Node::Npm, &folder, arguments).unwrap();
        let said = both_outputs(&output);
        if output.status.success() {
            Ok(said)
        } else {
            Err(said)
        }
    }

    /// Runs a command that asks for consent, consents, and repeats it as npm's message says.
    fn consented(&self, arguments: &[&str]) -> String {
        let asked = self.npm(arguments).unwrap_err();
        assert!(asked.contains("one-time password"), "{asked}");
        let (_, rest) = asked
            .split_once("--otp=")
            .unwrap_or_else(|| panic!("{asked}"));
        let id = rest.split(',').next().unwrap().to_owned();
        self.ada.approve(&id).unwrap();
        let otp = format!("--otp={id}");
        self.npm(&[arguments, &[otp.as_str()]].concat()).unwrap()
    }
}

#[test]
fn npm_manages_organisations_teams_tokens_and_whole_packages_with_a_passkeys_consent() {
    let server = TestServer::start(ServerOptions {
        named: true,
        configuration: "delete = \"always\"\n".to_owned(),
        ..ServerOptions::default()
    })
    .unwrap();
    let ada = SignedIn::enrol(&server, "ada").unwrap();
    let bob = SignedIn::enrol(&server, "bob").unwrap();
    let token = server.token("ada", &["--action", "manage"]).unwrap();
    let home = NodeHome::new(&format!("{}/npm/", server.url()), Some(&token)).unwrap();
    ada.form(
        "/account/organisations",
        &[("name", "acme"), ("display", "Acme")],
    )
    .unwrap()
    .expect_status(303)
    .unwrap();
    let scene = Consenting { server, home, ada };
    let reserve = [
        "admin",
        "namespace",
        "reserve",
        "npm:@acme",
        "--organisation",
        "acme",
    ];
    scene.server.run(&reserve).unwrap();
    for (name, version) in [
        ("@ada/left", "1.0.0"),
        ("@ada/left", "1.1.0"),
        ("@acme/tool", "1.0.0"),
    ] {
        let place = format!("{}-{version}", &name[name.len() - 4..]);
        let folder = scene.home.folder(&place).unwrap();
        let manifest = json!({"name": name, "version": version, "license": "MIT"});
        std::fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
        scene
            .home
            .done(Node::Npm, &folder, &["publish", "--access", "public"])
            .unwrap();
    }

    // An organisation and its people.
    let said = scene.npm(&["org", "ls", "acme"]).unwrap();
    assert!(said.contains("ada - owner"), "{said}");
    scene.consented(&["org", "set", "acme", "bob", "developer"]);
    let page = bob.page("/account/projects").unwrap();
    let (_, form) = page
        .split_once("/account/invitations/accept")
        .unwrap_or_else(|| panic!("{page}"));
    let (_, id) = form.split_once("name=\"id\" value=\"").unwrap();
    let id = id.split('"').next().unwrap();
    bob.form("/account/invitations/accept", &[("id", id)])
        .unwrap()
        .expect_status(303)
        .unwrap();
    let said = scene.npm(&["org", "ls", "acme"]).unwrap();
    assert!(said.contains("bob - developer"), "{said}");
    scene.consented(&["org", "set", "acme", "bob", "admin"]);
    let said = scene.npm(&["org", "ls", "acme", "bob"]).unwrap();
    assert!(said.contains("bob - admin"), "{said}");

    // A team, its people, its packages.
    let said = scene.consented(&["team", "create", "@acme:builders"]);
    assert!(said.contains("+@acme:builders"), "{said}");
    assert!(
        scene
            .npm(&["team", "ls", "acme"])
            .unwrap()
            .contains("@acme:builders")
    );
    scene.consented(&["team", "add", "@acme:builders", "bob"]);
    let said = scene.npm(&["team", "ls", "@acme:builders"]).unwrap();
    assert!(
        said.contains("has 1 user") && said.contains("bob"),
        "{said}"
    );
    // Teams have roles on what is their organisation's. With a token that manages no consent is needed for that.
    let said = scene
        .npm(&[
            "access",
            "grant",
            "read-write",
            "@acme:builders",
            "@ada/left",
        ])
        .unwrap_err();
    assert!(said.contains("No organisation owns @ada/left"), "{said}");
    let granted = [
        "access",
        "grant",
        "read-write",
        "@acme:builders",
        "@acme/tool",
    ];
    scene.npm(&granted).unwrap();
    let said = scene
        .npm(&["access", "list", "packages", "@acme:builders"])
        .unwrap();
    assert!(said.contains("@acme/tool: read-write"), "{said}");
    let people = scene
        .npm(&["access", "list", "collaborators", "@ada/left"])
        .unwrap();
    assert!(people.contains("ada: read-write"), "{people}");
    let said = scene
        .npm(&[
            "access",
            "grant",
            "read-only",
            "@acme:builders",
            "@acme/tool",
        ])
        .unwrap_err();
    assert!(said.contains("No role here only reads"), "{said}");
    scene
        .npm(&["access", "revoke", "@acme:builders", "@acme/tool"])
        .unwrap();
    scene.consented(&["team", "rm", "@acme:builders", "bob"]);
    scene.consented(&["team", "destroy", "@acme:builders"]);
    scene.consented(&["org", "rm", "acme", "bob"]);
    let said = scene.npm(&["org", "ls", "acme"]).unwrap();
    assert!(!said.contains("bob"), "{said}");

    // Tokens.
    let create = [
        "token",
        "create",
        "--password=x",
        "--name=ci",
        "--expires=7",
    ];
    let said = scene.consented(&create);
    let made = said
        .split_whitespace()
        .find(|word| word.starts_with("csgn_"))
        .unwrap_or_else(|| panic!("{said}"))
        .to_owned();
    // Not by --json, in which npm masks ids.
    let listed = scene.npm(&["token", "list"]).unwrap();
    let line = listed.lines().find(|line| line.contains(" name ci "));
    let (_, key) = line
        .unwrap_or_else(|| panic!("{listed}"))
        .split_once(" with id ")
        .unwrap();
    let key = key.split(' ').next().unwrap().to_owned();
    let whoami = |token: &str| {
        let authorization = format!("Bearer {token}");
        let url = format!("{}/npm/-/whoami", scene.server.url());
        http::request("GET", &url, &[("Authorization", &authorization)], b"")
            .unwrap()
            .status
    };
    assert_eq!(whoami(&made), 200);
    let said = scene.npm(&["token", "revoke", &key]).unwrap();
    assert!(said.contains("Removed 1 token"), "{said}");
    assert_eq!(whoami(&made), 401);
    let said = scene.npm(&["profile", "get"]).unwrap();
    assert!(said.contains("ada") && said.contains("/account"), "{said}");
    let said = scene
        .npm(&["profile", "set", "fullname", "Ada"])
        .unwrap_err();
    assert!(said.contains("Sign in at this registry's pages"), "{said}");

    // The whole package. Its name and versions stay taken.
    let said = scene.consented(&["unpublish", "@ada/left", "--force"]);
    assert!(said.contains("- @ada/left"), "{said}");
    assert!(
        scene
            .npm(&["view", "@ada/left"])
            .unwrap_err()
            .contains("E404")
    );
    let folder = scene.home.folder("left-1.0.0").unwrap();
    std::fs::write(folder.join("other.js"), "1").unwrap();
    let output = scene
        .home
        .run(Node::Npm, &folder, &["publish", "--access", "public"])
        .unwrap();
    let said = both_outputs(&output);
    assert!(!output.status.success() && said.contains("1.0.0"), "{said}");
    scene.server.checked_log().unwrap();
}

#[test]
fn what_npm_is_refused_it_can_read() {
    let scene = Scene::new();
    scene.publish("mine", "1.0.0", &[]);
    scene.publish("@ada/ours", "1.0.0", &["--access", "public"]);
    // Published already, with other bytes; the client's own check is kept from seeing it.
    let folder = scene.package(
        "other",
        &json!({"name": "mine", "version": "1.0.0", "description": "other"}),
    );
    let said = scene.npm_in(&folder, &["publish", "--force"]).unwrap_err();
    assert!(
        said.contains("E403") || said.contains("previously published"),
        "{said}"
    );
    // Not there.
    let said = scene.npm(&["view", "nothing-here"]).unwrap_err();
    assert!(said.contains("E404"), "{said}");
    // A name that can not be.
    let folder = scene.package("http", &json!({"name": "http2", "version": "1.0.0"}));
    let said = scene.npm_in(&folder, &["publish"]).unwrap_err();
    assert!(said.contains("module of Node.js"), "{said}");
    // A publication does not hide what everybody saw.
    let folder = scene.package("open", &json!({"name": "@ada/ours", "version": "1.5.0"}));
    let said = scene
        .npm_in(&folder, &["publish", "--access", "restricted"])
        .unwrap_err();
    assert!(said.contains("is public"), "{said}");
    // Somebody else's.
    scene.server.user("bob").unwrap();
    let bob = scene.server.token("bob", &["--action", "manage"]).unwrap();
    scene.home.set_token(Some(&bob)).unwrap();
    let folder = scene.package("theirs", &json!({"name": "mine", "version": "2.0.0"}));
    let said = scene.npm_in(&folder, &["publish"]).unwrap_err();
    assert!(said.contains("bob may not publish to mine"), "{said}");
    let said = scene
        .npm(&["access", "set", "status=public", "@ada/ours"])
        .unwrap_err();
    assert!(said.contains("bob may not"), "{said}");
    assert!(
        scene
            .npm(&["deprecate", "mine@1.0.0", "no"])
            .unwrap_err()
            .contains("bob may not")
    );
    // A token that reads takes no place of those who publish; it stars all the same.
    let reads = scene.server.token("bob", &["--action", "read"]).unwrap();
    scene.home.set_token(Some(&reads)).unwrap();
    let said = scene.npm_in(&folder, &["publish"]).unwrap_err();
    assert!(said.contains("E403") && said.contains("publish"), "{said}");
    scene.npm(&["star", "mine"]).unwrap();
    // A token that is none, and none at all.
    scene
        .home
        .set_token(Some(
            "csgn_u_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJ",
        ))
        .unwrap();
    let said = scene.npm(&["whoami"]).unwrap_err();
    assert!(said.contains("E401"), "{said}");
    assert!(!said.contains("Incorrect or missing password"), "{said}");
    scene.home.set_token(None).unwrap();
    let said = scene.npm_in(&folder, &["publish"]).unwrap_err();
    assert!(
        said.contains("npm adduser") || said.contains("npm login"),
        "{said}"
    );
}

#[test]
fn private_packages_are_there_for_those_with_a_role_on_them_alone() {
    let scene = Scene::new();
    scene.publish("@ada/inner", "1.0.0", &["--access", "restricted"]);
    let status = |name: &str| scene.npm(&["access", "get", "status", name]);
    assert!(status("@ada/inner").unwrap().contains("private"));
    let packages = scene.npm(&["access", "list", "packages"]).unwrap();
    assert!(packages.contains("@ada/inner: read-write"), "{packages}");
    let found = scene.npm(&["search", "inner", "--json"]).unwrap();
    assert!(found.contains("@ada/inner"), "{found}");
    // Said again without a word about it, it stays what it is.
    scene.publish("@ada/inner", "1.1.0", &[]);
    let version = ["view", "@ada/inner", "version"];
    assert!(scene.npm(&version).unwrap().contains("1.1.0"));
    let folder = scene.package(
        "project",
        &json!({"name": "project", "version": "1.0.0", "private": true}),
    );
    scene.npm_in(&folder, &["install", "@ada/inner"]).unwrap();
    assert!(folder.join("node_modules/@ada/inner/package.json").exists());

    // To others it is not there, in npm's words, whoever they are.
    scene.server.user("bob").unwrap();
    let ada = scene.server.token("ada", &["--action", "manage"]).unwrap();
    let bob = scene.server.token("bob", &["--action", "manage"]).unwrap();
    for token in [Some(bob.as_str()), None] {
        scene.home.set_token(token).unwrap();
        for name in ["@ada/inner", "@ada/nothing"] {
            let said = scene.npm(&["view", name]).unwrap_err();
            assert!(said.contains("E404"), "{name}: {said}");
            let said = scene.npm_in(&folder, &["install", name, "--prefer-online"]);
            assert!(said.unwrap_err().contains("E404"), "{name}");
            assert!(status(name).unwrap_err().contains("E404"), "{name}");
        }
        let found = scene.npm(&["search", "inner", "--json"]).unwrap();
        assert!(!found.contains("@ada/inner"), "{found}");
    }
    scene.home.set_token(Some(&bob)).unwrap();
    let said = scene.npm(&["access", "set", "status=public", "@ada/inner"]);
    assert!(said.unwrap_err().contains("E404"));

    scene.home.set_token(Some(&ada)).unwrap();
    scene
        .npm(&["access", "set", "status=public", "@ada/inner"])
        .unwrap();
    scene.home.set_token(None).unwrap();
    assert!(scene.npm(&version).unwrap().contains("1.1.0"));
    scene.home.set_token(Some(&ada)).unwrap();
    scene
        .npm(&["access", "set", "status=private", "@ada/inner"])
        .unwrap();
    assert!(scene.npm(&version).unwrap().contains("1.1.0"));
    scene.home.set_token(None).unwrap();
    assert!(scene.npm(&version).unwrap_err().contains("E404"));
}

#[test]
fn a_restricted_registry_serves_its_packages_to_those_who_may_read() {
    let scene = Scene::with(ServerOptions {
        configuration: "visibility = \"restricted\"\n".to_owned(),
        ..ServerOptions::default()
    });
    scene.publish("@ada/inner", "1.0.0", &["--access", "restricted"]);
    let app = json!({"name": "app", "version": "1.0.0", "private": true, "dependencies": {"@ada/inner": "1"}});
    for client in Node::ALL {
        let folder = scene.package(&format!("app-{client:?}"), &app);
        if client == Node::Berry {
            std::fs::write(folder.join("yarn.lock"), "").unwrap();
        }
        scene.home.done(client, &folder, &["install"]).unwrap();
        assert!(
            folder.join("node_modules/@ada/inner/index.js").is_file(),
            "{client:?}"
        );
    }
    scene.home.set_token(None).unwrap();
    let _ = std::fs::remove_dir_all(scene.home.path().join(".npm"));
    let said = scene.npm(&["view", "@ada/inner"]).unwrap_err();
    assert!(said.contains("E401"), "{said}");
    for path in [
        "@ada%2finner",
        "@ada/inner/-/inner-1.0.0.tgz",
        "-/v1/search?text=inner",
    ] {
        let answer = http::request("GET", &scene.url(path), &[], b"").unwrap();
        assert_eq!(answer.status, 401, "{path}");
    }
}

/// A publication as a client sends it, bent, is refused with these words.
fn refused(scene: &Scene, token: &str, path: &str, body: &[u8], words: &str) {
    let authorization = format!("Bearer {token}");
    let headers = [
        ("Authorization", authorization.as_str()),
        ("Content-Type", "application/json"),
    ];
    let answer = http::request("PUT", &scene.url(path), &headers, body).unwrap();
    assert!(
        (400..500).contains(&answer.status),
        "{path} {words}: {}",
        answer.status
    );
    let said = answer.json().unwrap();
    let told = said["error"].as_str().unwrap_or_default();
    assert!(told.contains(words), "expected {words:?}, got {told}");
}

#[test]
fn lies_about_a_package_are_refused_before_anything_is_kept() {
    let scene = Scene::new();
    let token = scene.server.token("ada", &["--action", "publish"]).unwrap();
    let honest = || {
        NpmPackage::new("honest", "1.0.0")
            .set("dependencies", json!({"left": "1"}))
            .set("scripts", json!({"test": "true"}))
            .set("bin", json!({"honest": "index.js"}))
    };
    let request = || honest().request("latest");
    // Manifest confusion, field by field.
    for (field, lie) in [
        ("dependencies", json!({"left": "2"})),
        ("dependencies", json!({})),
        ("devDependencies", json!({"evil": "1"})),
        ("peerDependencies", json!({"evil": "1"})),
        ("optionalDependencies", json!({"evil": "1"})),
        ("bundleDependencies", json!(["left"])),
        ("scripts", json!({"test": "true", "postinstall": "evil"})),
        ("scripts", json!({})),
        ("bin", json!({"other": "index.js"})),
        ("engines", json!({"node": ">=99"})),
        ("os", json!(["darwin"])),
    ] {
        let mut body = request();
        body["versions"]["1.0.0"][field] = lie.clone();
        refused(
            &scene,
            &token,
            "honest",
            body.to_string().as_bytes(),
            "package.json in the tarball",
        );
    }
    for (pointer, lie, words) in [
        (
            "/versions/1.0.0/version",
            json!("1.0.1"),
            "the manifest's version",
        ),
        (
            "/versions/1.0.0/name",
            json!("other"),
            "the manifest's name",
        ),
        ("/_id", json!("other"), "_id and name differ"),
        (
            "/dist-tags/latest",
            json!("2.0.0"),
            "points to another version",
        ),
        (
            "/versions/1.0.0/dist/shasum",
            json!("0".repeat(40)),
            "shasum",
        ),
        (
            "/versions/1.0.0/dist/integrity",
            json!("sha512-AAAA"),
            "integrity",
        ),
        ("/_attachments/honest-1.0.0.tgz/length", json!(3), "length"),
    ] {
        let mut body = request();
        *body.pointer_mut(pointer).unwrap() = lie;
        refused(&scene, &token, "honest", body.to_string().as_bytes(), words);
    }
    // Keys that a careless client takes for more than keys.
    for key in ["__proto__", "constructor"] {
        let mut body = request();
        body["versions"]["1.0.0"]["dependencies"][key] = json!("1");
        refused(&scene, &token, "honest", body.to_string().as_bytes(), "");
    }
    refused(
        &scene,
        &token,
        "__proto__",
        request().to_string().as_bytes(),
        "There is no package",
    );
    // Attachments that lie.
    let mut body = request();
    let attachment = body["_attachments"]["honest-1.0.0.tgz"].take();
    for (name, words) in [
        ("honest-1.0.1.tgz", "should be"),
        ("../honest-1.0.0.tgz", "should be"),
        ("honest-1.0.0.exe", "neither a tarball"),
    ] {
        let mut body = request();
        body["_attachments"] = json!({name: attachment.clone()});
        refused(&scene, &token, "honest", body.to_string().as_bytes(), words);
    }
    // Base64 with more in it than base64.
    let whole = request();
    let data = whole["_attachments"]["honest-1.0.0.tgz"]["data"]
        .as_str()
        .unwrap();
    for bent in [
        format!("{data}===="),
        format!("{}\n{}", &data[..8], &data[8..]),
        format!("{data}!"),
        data[..data.len() - 1].to_owned(),
        data.replace('/', "_").replace('+', "-") + "_",
        String::new(),
    ] {
        let mut body = request();
        body["_attachments"]["honest-1.0.0.tgz"]["data"] = json!(bent);
        refused(&scene, &token, "honest", body.to_string().as_bytes(), "");
    }
    // Two gzip members, of which two readers see different files.
    let mut package = honest().build();
    package
        .bytes
        .extend(honest().file("evil.js", "1").build().bytes);
    let mut body = request();
    body["_attachments"]["honest-1.0.0.tgz"] = json!({
        "content_type": "application/octet-stream",
        "data": base64(&package.bytes),
        "length": package.bytes.len(),
    });
    body["versions"]["1.0.0"]["dist"] = json!({"shasum": sha1(&package.bytes)});
    refused(
        &scene,
        &token,
        "honest",
        body.to_string().as_bytes(),
        "after the gzip stream",
    );
    // Another package's address, two versions, no version, no JSON.
    refused(
        &scene,
        &token,
        "other",
        request().to_string().as_bytes(),
        "The address names other",
    );
    let mut body = request();
    body["versions"]["1.0.1"] = body["versions"]["1.0.0"].clone();
    refused(
        &scene,
        &token,
        "honest",
        body.to_string().as_bytes(),
        "exactly one version",
    );
    refused(&scene, &token, "honest", b"{\"name\":\"honest\"", "");
    refused(&scene, &token, "honest", b"[]", "");
    // Nothing of it came to be.
    assert_eq!(
        http::request("GET", &scene.url("honest"), &[], b"")
            .unwrap()
            .status,
        404
    );

    // Versions that differ in build metadata only are one.
    let plain = NpmPackage::new("honest", "1.0.0+one");
    let authorization = format!("Bearer {token}");
    let put = |body: &Value| {
        let headers = [
            ("Authorization", authorization.as_str()),
            ("Content-Type", "application/json"),
        ];
        http::request(
            "PUT",
            &scene.url("honest"),
            &headers,
            body.to_string().as_bytes(),
        )
        .unwrap()
    };
    put(&request()).expect_status(201).unwrap();
    // A repeated publication of the same bytes is no mistake.
    assert_eq!(put(&request()).json().unwrap()["repeated"], true);
    let mut body = plain.request("latest");
    let manifest = body["versions"]["1.0.0+one"].take();
    body["versions"] = json!({"1.0.0": manifest});
    body["dist-tags"] = json!({"latest": "1.0.0"});
    let attachment = body["_attachments"]["honest-1.0.0+one.tgz"].take();
    body["_attachments"] = json!({"honest-1.0.0.tgz": attachment});
    refused(&scene, &token, "honest", body.to_string().as_bytes(), "");
}

#[test]
fn two_hundred_megabytes_are_published_without_being_held_in_memory() {
    let scene = Scene::new();
    // What does not pack: the tarball is as large as what is in it.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let noise: Vec<u8> = (0..150_000_000 / 8)
        .flat_map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        })
        .collect();
    let folder = scene.package(
        "large",
        &json!({"name": "large", "version": "1.0.0", "license": "MIT"}),
    );
    std::fs::write(folder.join("noise.bin"), &noise).unwrap();
    // What publishing takes by itself comes before the measure.
    scene.publish("small", "1.0.0", &[]);
    let before = scene.server.peak_memory().unwrap();
    let said = scene.npm_in(&folder, &["publish"]).unwrap();
    assert!(said.contains("+ large@1.0.0"), "{said}");
    let more = scene.server.peak_memory().unwrap() - before;
    assert!(more < 64 << 20, "{more} bytes more than before");
    let app = scene.package("app", &json!({"name": "app", "version": "1.0.0"}));
    scene.npm_in(&app, &["install", "large"]).unwrap();
    assert_eq!(
        std::fs::read(app.join("node_modules/large/noise.bin")).unwrap(),
        noise
    );
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn sha1(bytes: &[u8]) -> String {
    use sha1::Digest as _;
    hex::encode(sha1::Sha1::digest(bytes))
}
