//! `countersign fix` with the tools themselves and a real registry: what they wrote is whole for them, and without the flaw.

use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_testkit::cargo::Cargo;
use countersign_testkit::clients::{Clients, both_outputs};
use countersign_testkit::node::{Node, NodeHome};
use countersign_testkit::packages::Wheel;
use countersign_testkit::server::{ServerOptions, TestServer};
use serde_json::json;

use crate::fix::tool;
use crate::schemas::{CYCLONEDX, SPDX, holds, schemas};
use crate::{Desk, advisory};

/// Puts a program into the user's `PATH`, as the kit runs it: with its variables and whatever stands before its arguments.
fn put(desk: &Desk, name: &str, command: &Command) {
    let quoted = |text: &std::ffi::OsStr| {
        let text = text.to_str().unwrap();
        format!("'{}'", text.replace('\'', "'\\''"))
    };
    let mut script = String::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            script.push_str(&format!(
                "export {}={}\n",
                name.to_str().unwrap(),
                quoted(value)
            ));
        }
    }
    script.push_str(&format!("exec {}", quoted(command.get_program())));
    for argument in command.get_args() {
        script.push_str(&format!(" {}", quoted(argument)));
    }
    tool(desk, name, &format!("{script} \"$@\""));
}

fn done(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        both_outputs(&output)
    );
}

/// A lock file with the flawed version is shown a mend, and has it after `--apply`.
#[track_caller]
fn mended(desk: &Desk, lock: &str) {
    let path = desk.folder.path().join(lock);
    let before = std::fs::read(&path).unwrap();
    let fix = ["--json", "fix", "--advisories", "db.json", lock];
    let told = desk.json(0, &fix);
    let expected = json!([{"project": "inner", "before": ["1.0.0"], "after": ["1.0.2"]}]);
    assert_eq!(told["fixed"][0]["changes"], expected, "{lock}: {told:#}");
    assert_eq!(std::fs::read(&path).unwrap(), before, "{lock}: shown first");
    desk.text(3, &["audit", "--advisories", "db.json", lock]);
    desk.text(0, &["fix", "--apply", "--advisories", "db.json", lock]);
    desk.text(0, &["audit", "--advisories", "db.json", lock]);
}

fn folder(desk: &Desk, name: &str, manifest: &str, text: &str) -> PathBuf {
    desk.write(&format!("{name}/{manifest}"), text);
    desk.folder.path().join(name)
}

#[test]
fn each_tool_resolves_the_mend_and_takes_what_it_wrote() {
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let token = server.publisher("ada").unwrap();
    let desk = Desk::new();
    let record = |id: &str, ecosystem: &str| {
        let events = json!([{"introduced": "0"}, {"fixed": "1.0.2"}]);
        advisory(id, ecosystem, "inner", &events)
    };
    let records = json!([
        record("N-1", "npm"),
        record("R-1", "crates.io"),
        record("P-1", "PyPI")
    ]);
    desk.write("db.json", records.to_string());

    let home = NodeHome::new(&format!("{}/npm/", server.url()), Some(&token)).unwrap();
    let npm_package = |name: &str, version: &str, needs: &str| {
        let package = home.folder(&format!("{name}-{version}")).unwrap();
        let manifest = format!(
            "{{\"name\":\"{name}\",\"version\":\"{version}\",\"license\":\"MIT\",\"dependencies\":{needs}}}"
        );
        std::fs::write(package.join("package.json"), manifest).unwrap();
        home.done(Node::Npm, &package, &["publish"]).unwrap();
    };
    let cargo = Cargo::at(&server.url()).unwrap().with_token(&token);
    let crate_of = |name: &str, version: &str, lines: &str| {
        let folder = cargo.package(name, version, lines, "").unwrap();
        let said = cargo.publish(&folder, &[]).unwrap();
        assert!(said.status.success(), "{}", both_outputs(&said));
    };
    let wheel = |wheel: Wheel| {
        let answer = server.publish(&wheel.build(), &token).unwrap();
        answer.expect_status(200).unwrap();
    };
    npm_package("inner", "1.0.0", "{}");
    npm_package("outer", "1.0.0", "{\"inner\":\"^1.0.0\"}");
    crate_of("inner", "1.0.0", "");
    let needs = "[dependencies]\nNAME = { version = \"1\", registry = \"countersign\" }";
    crate_of("outer", "1.0.0", &needs.replace("NAME", "inner"));
    wheel(Wheel::new("inner", "1.0.0"));
    wheel(Wheel::new("outer", "1.0.0").requires("inner>=1"));

    // Lock files of the time before the mend.
    let manifest = "{\"name\":\"app\",\"version\":\"1.0.0\",\"private\":true,\"dependencies\":{\"outer\":\"^1.0.0\"}}";
    let node = |name: &str, client: Node, words: &[&str]| {
        let app = folder(&desk, name, "package.json", manifest);
        if client == Node::Berry {
            std::fs::write(app.join("yarn.lock"), "").unwrap();
        }
        done(&mut home.command(client, &app, words));
        app
    };
    let npm = node("npm", Node::Npm, &["install", "--package-lock-only"]);
    let pnpm = node("pnpm", Node::Pnpm, &["install", "--lockfile-only"]);
    let classic = node("classic", Node::Classic, &["install", "--ignore-scripts"]);
    let berry = node("berry", Node::Berry, &["install", "--mode=update-lockfile"]);
    let text = format!(
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n{}\n",
        needs.replace("NAME", "outer")
    );
    let rust = folder(&desk, "rust", "Cargo.toml", &text);
    desk.write("rust/src/lib.rs", "");
    done(&mut cargo.command(&rust, &["generate-lockfile"]));
    let text = "[project]\nname = \"app\"\nversion = \"0.1\"\nrequires-python = \">=3.9\"\ndependencies = [\"outer\"]\n";
    let python = folder(&desk, "python", "pyproject.toml", text);
    let clients = Clients::get().unwrap();
    let uv = |folder: &Path| {
        let mut command = clients.command("uv");
        command
            .env("UV_DEFAULT_INDEX", server.simple_url())
            .current_dir(folder);
        command
    };
    done(uv(&python).arg("lock"));

    // Later yarns write the manifest in their own form when they first install.
    let apps = [&npm, &pnpm, &classic, &berry];
    let read = |app: &PathBuf| std::fs::read_to_string(app.join("package.json")).unwrap();
    let manifests = apps.map(read);

    npm_package("inner", "1.0.2", "{}");
    crate_of("inner", "1.0.2", "");
    wheel(Wheel::new("inner", "1.0.2"));
    cargo.forget().unwrap();

    let program = |client: Node| home.command(client, desk.folder.path(), &[]);
    put(&desk, "npm", &program(Node::Npm));
    put(&desk, "pnpm", &program(Node::Pnpm));
    put(&desk, "cargo", &cargo.command(desk.folder.path(), &[]));
    put(&desk, "uv", &uv(desk.folder.path()));
    mended(&desk, "npm/package-lock.json");
    done(&mut home.command(Node::Npm, &npm, &["ci", "--ignore-scripts"]));
    mended(&desk, "pnpm/pnpm-lock.yaml");
    done(&mut home.command(Node::Pnpm, &pnpm, &["install", "--frozen-lockfile"]));
    mended(&desk, "rust/Cargo.lock");
    done(&mut cargo.command(&rust, &["fetch", "--locked"]));
    mended(&desk, "python/uv.lock");
    done(uv(&python).args(["lock", "--check"]));
    // A yarn of the other kind is told from the right one.
    put(&desk, "yarn", &program(Node::Classic));
    let told = desk.json(
        3,
        &[
            "--json",
            "fix",
            "--advisories",
            "db.json",
            "berry/yarn.lock",
        ],
    );
    let reason = told["fixed"][0]["stuck"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("Yarn 2 or later"), "{reason}");
    mended(&desk, "classic/yarn.lock");
    done(&mut home.command(
        Node::Classic,
        &classic,
        &["install", "--frozen-lockfile", "--ignore-scripts"],
    ));
    put(&desk, "yarn", &program(Node::Berry));
    mended(&desk, "berry/yarn.lock");
    done(&mut home.command(
        Node::Berry,
        &berry,
        &["install", "--immutable", "--mode=skip-build"],
    ));
    assert_eq!(apps.map(read), manifests, "manifests are the project's");

    // What the registry adds to a bill holds by the schemas too.
    desk.text(0, &["trust", "add", &server.url(), "--yes"]);
    let locks = ["npm/package-lock.json", "python/uv.lock", "rust/Cargo.lock"];
    let ask = |form: &str| {
        desk.json(
            0,
            &[&["sbom", "--ask", "--form", form][..], &locks].concat(),
        )
    };
    let bill = ask("cyclonedx");
    let evidence = bill["components"].to_string().matches("tlog-proof").count();
    assert!(evidence >= 6, "{bill:#}");
    let schemas = schemas();
    holds(&schemas, CYCLONEDX, &bill, "asked");
    holds(&schemas, SPDX, &ask("spdx"), "asked");
}
