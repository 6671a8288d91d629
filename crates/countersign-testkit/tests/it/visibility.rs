//! Private projects, as unmodified pip, uv and cargo see them; npm's are in `node`.

use std::process::Output;

use countersign_testkit::cargo::{Cargo, REGISTRY};
use countersign_testkit::clients::{Clients, both_outputs};
use countersign_testkit::packages::Wheel;
use countersign_testkit::server::{ServerOptions, TestServer};

fn succeeded(output: &Output) -> String {
    let said = both_outputs(output);
    assert!(output.status.success(), "{said}");
    said
}

fn refused(output: &Output) -> String {
    let said = both_outputs(output);
    assert!(!output.status.success(), "{said}");
    said
}

#[test]
fn pip_and_uv_install_a_private_project_with_a_token_and_find_nothing_without() {
    let clients = Clients::get().unwrap();
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let token = server.publisher("ada").unwrap();
    for name in ["inner", "open"] {
        let wheel = Wheel::new(name, "1.0").build();
        server
            .publish(&wheel, &token)
            .unwrap()
            .expect_status(200)
            .unwrap();
    }
    server
        .run(&["admin", "project", "visibility", "inner", "private"])
        .unwrap();
    server.user("bob").unwrap();
    let reads = server.token("ada", &["--action", "read"]).unwrap();
    let strangers = server.token("bob", &["--action", "read"]).unwrap();
    let index = |token: Option<&str>| match token {
        None => server.simple_url(),
        Some(token) => server
            .simple_url()
            .replacen("://", &format!("://__token__:{token}@"), 1),
    };
    let folder = tempfile::tempdir().unwrap();
    for (number, token) in [&token, &reads].into_iter().enumerate() {
        let at = |client: &str| folder.path().join(format!("{client}-{number}"));
        let index = index(Some(token));
        succeeded(
            &clients
                .pip_install(&index, &["inner", "open"], &at("pip"), &[])
                .unwrap(),
        );
        succeeded(
            &clients
                .uv_pip_install(&index, &["inner", "open"], &at("uv"), &[])
                .unwrap(),
        );
        for client in ["pip", "uv"] {
            assert!(at(client).join("inner/__init__.py").exists(), "{client}");
        }
    }
    for token in [None, Some(strangers.as_str())] {
        let (index, target) = (index(token), folder.path().join("none"));
        let no = |output: Output, name: &str| {
            let said = refused(&output).replace(name, "NAME");
            assert!(said.contains("NAME"), "{said}");
        };
        for name in ["inner", "nothing-here"] {
            no(
                clients.pip_install(&index, &[name], &target, &[]).unwrap(),
                name,
            );
            no(
                clients
                    .uv_pip_install(&index, &[name], &target, &[])
                    .unwrap(),
                name,
            );
        }
    }
    server
        .run(&["admin", "project", "visibility", "inner", "public"])
        .unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let target = folder.path().join("open-again");
    succeeded(
        &clients
            .pip_install(&index(None), &["inner"], &target, &[])
            .unwrap(),
    );
}

#[test]
fn cargo_reads_private_crates_at_the_index_for_tokens() {
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let token = server.publisher("ada").unwrap();
    let at = |place: &str, token: Option<&str>| {
        let cargo = Cargo::at(&server.url()).unwrap();
        let cargo = match token {
            Some(token) => cargo.with_token(token),
            None => cargo,
        };
        cargo
            .configure(&format!(
                "[registry]\nglobal-credential-providers = [\"cargo:token\"]\n[registries.{REGISTRY}]\nindex = \"sparse+{}/cargo/{place}/\"\n",
                server.url()
            ))
            .unwrap();
        cargo
    };
    let cargo = at("private", Some(&token));
    let library = "pub fn seven() -> u32 { 7 }\n";
    let leaf = cargo.package("leaf", "1.0.0", "", library).unwrap();
    // It waits for its version at the index that it publishes to.
    succeeded(&cargo.publish(&leaf, &[]).unwrap());
    server
        .run(&["admin", "project", "visibility", "cargo:leaf", "private"])
        .unwrap();
    let needs = "[dependencies]\nleaf = { version = \"1\", registry = \"countersign\" }";
    let branch = cargo
        .package("branch", "1.0.0", needs, "pub use leaf::seven;\n")
        .unwrap();
    // What it needs from here is written down as from here, whichever address it was read at.
    succeeded(&cargo.publish(&branch, &[]).unwrap());
    let line = server.get("/cargo/index/br/an/branch").unwrap().text();
    assert!(!line.contains("\"registry\":\"sparse+"), "{line}");
    let needs = "[dependencies]\nbranch = { version = \"1\", registry = \"countersign\" }";
    let program = |cargo: &Cargo| {
        cargo
            .package("program", "0.0.0", needs, "pub use branch::seven;\n")
            .unwrap()
    };
    succeeded(&cargo.run(&program(&cargo), &["build"]).unwrap());

    // Without a token, or with one of somebody else, or at the index for everybody, it is not there.
    server.user("bob").unwrap();
    let bob = server.token("bob", &["--action", "read"]).unwrap();
    for (place, token, says) in [
        ("private", None, "cargo login"),
        ("private", Some(bob.as_str()), "leaf"),
        ("index", Some(token.as_str()), "leaf"),
    ] {
        let cargo = at(place, token);
        let said = refused(&cargo.run(&program(&cargo), &["fetch"]).unwrap());
        assert!(said.contains(says), "{place}: {said}");
    }
}
