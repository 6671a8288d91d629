//! The unmodified clients, through the proxy to a real registry.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use countersign_testkit::cargo::Cargo;
use countersign_testkit::clients::{Clients, both_outputs};
use countersign_testkit::node::{Node, NodeHome};
use countersign_testkit::packages::Wheel;
use countersign_testkit::server::{ServerOptions, TestServer};
use serde_json::json;

use crate::relay::{Relay, Twist, changing, flipped};
use crate::user::{Ran, User};

/// A registry, somebody in front of it, and a user who pinned it through them while they were honest.
pub struct Scene {
    pub server: TestServer,
    relay: Relay,
    pub user: User,
    pub token: String,
}

impl Scene {
    pub fn new() -> Self {
        let server = TestServer::start(ServerOptions::default()).unwrap();
        let token = server.publisher("ada").unwrap();
        let relay = Relay::start(&server.url());
        let user = User::new();
        let pin = ["trust", "add", &relay.url(), "--yes"];
        user.run(&pin).expect(0, &["Pinned", "TUF root"]);
        let scene = Self {
            server,
            relay,
            user,
            token,
        };
        scene.publish(Wheel::new("thing", "1.0"));
        scene
    }

    pub fn publish(&self, wheel: Wheel) {
        let answer = self.server.publish(&wheel.build(), &self.token).unwrap();
        answer.expect_status(200).unwrap();
    }
}

/// A command of a client, run by `countersign proxy run`.
pub fn through(user: &User, options: &[&str], inner: &Command) -> Ran {
    let mut command = user.command(&[&["proxy", "run"], options, &["--"]].concat(), &[]);
    command.arg(inner.get_program()).args(inner.get_args());
    command.env_clear();
    command.envs(
        inner
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    command.env("COUNTERSIGN_HOME", user.path("home"));
    if let Some(folder) = inner.get_current_dir() {
        command.current_dir(folder);
    }
    Ran::of(&mut command)
}

pub fn pip(clients: &Clients, target: &Path, wanted: &str) -> Command {
    let mut command = clients.command("python");
    command.args(["-m", "pip", "install", "--no-cache-dir", "--target"]);
    command.arg(target).arg(wanted);
    command
}

fn uv(clients: &Clients, target: &Path, wanted: &str) -> Command {
    let mut command = clients.command("uv");
    command.args(["pip", "install", "--python"]);
    command
        .arg(clients.command("python").get_program())
        .arg("--target");
    command.arg(target).arg(wanted);
    command
}

#[test]
fn pip_uv_npm_and_cargo_install_through_it_and_show_why_they_do_not() {
    let scene = Scene::new();
    let (clients, folder) = (Clients::get().unwrap(), tempfile::tempdir().unwrap());
    let target = |name: &str| folder.path().join(name);
    scene.publish(Wheel::new("needy", "1.0").requires("thing>=1"));

    through(&scene.user, &[], &pip(&clients, &target("pip"), "needy"))
        .expect(0, &["Successfully installed needy-1.0 thing-1.0"]);
    assert!(target("pip/thing").exists() || target("pip").read_dir().unwrap().count() > 1);
    through(&scene.user, &[], &uv(&clients, &target("uv"), "needy"))
        .expect(0, &["needy==1.0", "thing==1.0"]);

    // What a lock file has addresses of goes past any index; it is told, and what checks it.
    let locked = target("locked/within");
    std::fs::create_dir_all(&locked).unwrap();
    let lock = format!(
        "version = 1\n[[package]]\nname = \"thing\"\nversion = \"1.0\"\nsource = {{ registry = \"{0}/pypi/simple/\" }}\n\
         wheels = [{{ url = \"{0}/thing-1.0-py3-none-any.whl\", hash = \"sha256:{1}\" }}]\n",
        scene.server.url(),
        "00".repeat(32)
    );
    std::fs::write(target("locked/uv.lock"), lock).unwrap();
    let mut inside = uv(&clients, &target("uv-locked"), "needy");
    through(&scene.user, &[], inside.current_dir(&locked)).expect(
        0,
        &[
            "uv.lock has addresses of files (1), which uv and pip fetch there",
            "countersign verify",
        ],
    );

    // npm publishes to the registry itself and installs through the proxy.
    let site = format!("{}/npm/", scene.server.url());
    let home = NodeHome::new(&site, Some(&scene.token)).unwrap();
    let package = home.folder("left").unwrap();
    let manifest = json!({"name": "left", "version": "1.0.0", "main": "index.js"});
    std::fs::write(package.join("package.json"), manifest.to_string()).unwrap();
    std::fs::write(package.join("index.js"), "module.exports = 1\n").unwrap();
    home.done(Node::Npm, &package, &["publish"]).unwrap();
    home.set_token(None).unwrap();
    let app = home.folder("app").unwrap();
    let npm = |arguments: &[&str]| home.command(Node::Npm, &app, arguments);
    std::fs::write(
        app.join("package.json"),
        "{\"name\":\"app\",\"version\":\"1.0.0\"}",
    )
    .unwrap();
    through(&scene.user, &[], &npm(&["install", "left"])).expect(0, &["added 1 package"]);
    assert!(app.join("node_modules/left/index.js").is_file());
    // A lock file that names the registry is installed through the proxy too.
    std::fs::remove_dir_all(app.join("node_modules")).unwrap();
    through(&scene.user, &[], &npm(&["ci"])).expect(0, &["added 1 package"]);

    let cargo = Cargo::at(&scene.server.url())
        .unwrap()
        .with_token(&scene.token);
    let leaf = cargo
        .package("leaf", "0.3.1", "", "pub fn leaf() {}\n")
        .unwrap();
    let said = cargo.publish(&leaf, &[]).unwrap();
    assert!(said.status.success(), "{}", both_outputs(&said));
    let cargo_app = cargo
        .package(
            "app",
            "0.1.0",
            "[dependencies]\nleaf = { version = \"0.3\", registry = \"countersign\" }",
            "pub fn app() { leaf::leaf() }\n",
        )
        .unwrap();
    cargo.forget().unwrap();
    // The user pinned the relay's address: that is the registry whose crates come through the proxy.
    cargo
        .configure(&format!(
            "[registries.countersign]\nindex = \"sparse+{}/cargo/index/\"\n",
            scene.relay.url()
        ))
        .unwrap();
    scene.relay.take_seen();
    through(&scene.user, &[], &cargo.command(&cargo_app, &["fetch"])).expect(0, &["leaf v0.3.1"]);
    let seen = scene.relay.take_seen();
    assert!(
        !seen.iter().any(|path| path.starts_with("/cargo/")),
        "{seen:?}"
    );
    let lock = cargo_app.join("Cargo.lock");
    scene
        .user
        .run(&["verify", lock.to_str().unwrap()])
        .expect(0, &["leaf 0.3.1", "1 in the log"]);
    let lock = app.join("package-lock.json");
    scene
        .user
        .run(&["verify", lock.to_str().unwrap()])
        .expect(0, &["left 1.0.0", "1 in the log"]);

    // Refusals. What is cached is not asked for again, so each user begins anew.
    let fresh = |name: &str| scene.user.path(name).to_str().unwrap().to_owned();
    let cache = fresh("cache-2");
    let options = ["--cache", &*cache];
    scene.relay.twist(changing("/files/", "", flipped));
    for inner in [
        pip(&clients, &target("pip-2"), "thing"),
        uv(&clients, &target("uv-2"), "thing"),
    ] {
        let ran = through(&scene.user, &options, &inner);
        assert_ne!(ran.code, 0, "{ran:#?}");
        let said = format!("{}{}", ran.out, ran.err);
        assert!(said.contains("file-mismatch"), "{said}");
    }
    std::fs::remove_dir_all(app.join("node_modules")).unwrap();
    let ran = through(
        &scene.user,
        &options,
        &npm(&["ci", "--cache", "npm-cache-2"]),
    );
    assert_ne!(ran.code, 0, "{ran:#?}");
    assert!(
        ran.err.contains("npm error") && ran.err.contains("file-mismatch"),
        "{ran:#?}"
    );
    cargo.forget().unwrap();
    let ran = through(
        &scene.user,
        &options,
        &cargo.command(&cargo_app, &["fetch"]),
    );
    assert_ne!(ran.code, 0, "{ran:#?}");
    assert!(ran.err.contains("file-mismatch"), "{ran:#?}");

    // An index that does not hold. What the clients themselves say is looked at, not what the proxy says.
    scene
        .relay
        .twist(|path| match path.ends_with("/timestamp.json") {
            true => Twist::Change(Arc::new(flipped)),
            false => Twist::Pass,
        });
    cargo.forget().unwrap();
    for inner in [
        pip(&clients, &target("pip-3"), "thing"),
        uv(&clients, &target("uv-3"), "thing"),
        npm(&["install", "right"]),
        cargo.command(&cargo_app, &["fetch"]),
    ] {
        let ran = through(&scene.user, &options, &inner);
        assert_ne!(ran.code, 0, "{ran:#?}");
        let said: Vec<&str> = ran
            .err
            .lines()
            .chain(ran.out.lines())
            .filter(|line| !line.starts_with("countersign proxy: "))
            .filter(|line| line.contains("tuf-"))
            .collect();
        assert!(!said.is_empty(), "{ran:#?}");
    }
}
