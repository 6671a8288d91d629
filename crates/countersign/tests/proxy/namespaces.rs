//! A namespace whose owners sign its index: what python-tuf, tuf-js and our client make of what they have not signed.

use std::path::PathBuf;

use countersign_formats::Ecosystem;
use countersign_testkit::clients::Clients;
use countersign_testkit::packages::Wheel;
use countersign_testkit::tuf::{Keep, Told};

use crate::attacks::Mine;
use crate::house::{House, index_of};
use crate::mirror::Street;

/// Clients by other hands believe in an index of this digest.
#[track_caller]
fn both_believe(house: &mut House, keep: &Keep, project: &str, digest: Option<&str>) {
    let path = index_of(project);
    for client in [&mut house.python, &mut house.javascript] {
        let told = client.ask(keep, Some(&path), None).unwrap();
        let Told::Believes { sha256, .. } = &told else {
            panic!("{told:?}");
        };
        assert_eq!(sha256.as_deref(), digest, "{}", client.name());
    }
}

/// The files that our proxy shows of a project, and what it says that waits.
fn shown(street: &Street, mine: &Mine, project: &str) -> Result<(Vec<String>, String), String> {
    let proxy = mine.proxy(&street.user, |_| {});
    let page = proxy.page(Ecosystem::Pypi, project, "http://127.0.0.1:1", None);
    let served = street
        .block_on(page)
        .map_err(|trouble| trouble.failure.code.clone().into_owned())?;
    let files = served.page.entries.iter();
    let files = files.map(|entry| entry.filename.clone()).collect();
    Ok((files, served.page.waiting.clone().unwrap_or_default()))
}

/// Asks the owners for what waits, who sign it.
fn owners_sign(house: &House, number: u32) {
    let bundle = house.person(&format!("waiting-{number}.json"));
    let file = bundle.to_str().unwrap();
    let words = [
        "tuf",
        "namespace",
        "status",
        "pypi",
        "acme-*",
        "--bundle",
        file,
    ];
    let told = house.server.run(&words).unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("names-acme-"), "{told}");
    house.sign_and_publish(&bundle, &["dora", "emil"]);
}

fn plan(house: &House) -> PathBuf {
    house.people(&["dora", "emil"]);
    let keys = ["dora", "emil"].map(|name| house.person(&format!("{name}.pem.pub")));
    let plan = house.person("namespace.toml");
    let text = format!("[namespace]\nkeys = {keys:?}\nthreshold = 2\ndays = 365\n");
    std::fs::write(&plan, text).unwrap();
    plan
}

#[test]
fn what_the_owners_of_a_namespace_have_not_signed_is_believed_by_no_client_and_named_by_ours() {
    let clients = Clients::get().unwrap();
    let mut street = Street::new(&clients);
    let mine = Mine::new();
    street.house.publish("acme-tool", "1.0");
    street.house.people(&["alice", "bob"]);
    street.house.ceremony(1, &["alice", "bob"], &[]);
    let keep = street.keep();
    street.house.both_follow(&keep, "acme-tool", 2);
    let signed = street.house.index("acme-tool");

    let (plan, bundle) = (plan(&street.house), street.house.person("add.json"));
    let (plan, file) = (plan.to_str().unwrap(), bundle.to_str().unwrap());
    let add = [
        "tuf",
        "namespace",
        "add",
        "pypi",
        "acme-*",
        "--plan",
        plan,
        "--bundle",
        file,
        "--yes",
    ];
    street.house.server.run(&add).unwrap();
    // The targets' people alone are not enough, nor are the owners alone.
    street.house.sign(&bundle, &["alice", "bob", "dora"]);
    let publish = ["tuf", "publish", "--yes", "--bundle", file];
    let early = street.house.server.run(&publish).unwrap_err();
    let early = format!("{early:#}");
    assert!(
        early.contains("signatures of these keys still miss"),
        "{early}"
    );
    street.house.sign_and_publish(&bundle, &["emil"]);
    both_believe(&mut street.house, &keep, "acme-tool", Some(&signed));

    // Published, logged and served by the index; not signed.
    let wheel = Wheel::new("acme-tool", "2.0").build();
    let answer = street
        .house
        .server
        .publish(&wheel, &street.house.token)
        .unwrap();
    assert!(
        answer
            .expect_status(200)
            .unwrap()
            .text()
            .contains("TUF role names-acme-")
    );
    street.house.publish("thing", "2.0");
    street.house.server.rest().unwrap();
    assert_ne!(street.house.index("acme-tool"), signed);
    both_believe(&mut street.house, &keep, "acme-tool", Some(&signed));
    let (files, waiting) = shown(&street, &mine, "acme-tool").unwrap();
    assert_eq!(files, ["acme_tool-1.0-py3-none-any.whl"]);
    assert!(waiting.contains("1 files are in the log"), "{waiting}");
    assert!(waiting.contains("acme-tool@2.0"), "{waiting}");
    let (files, waiting) = shown(&street, &mine, "thing").unwrap();
    assert_eq!((files.len(), &*waiting), (2, ""));
    street
        .user
        .run(&["verify", "pkg:pypi/acme-tool@2.0"])
        .expect(3, &["the owners of its namespace (TUF role names-acme-)"]);
    street
        .user
        .run(&["verify", "pkg:pypi/acme-tool@1.0"])
        .expect(0, &["the current signed index of acme-tool lists it"]);

    owners_sign(&street.house, 1);
    let now = street.house.index("acme-tool");
    street.house.both_see(&keep, "acme-tool");
    let (files, waiting) = shown(&street, &mine, "acme-tool").unwrap();
    assert_eq!((files.len(), &*waiting), (2, ""));
    street
        .user
        .run(&["verify", "pkg:pypi/acme-tool@2.0"])
        .expect(0, &["among 2 files"]);

    // What is withheld does not wait for them: the log says it, and our client goes by that.
    let withhold = [
        "admin",
        "quarantine",
        "add",
        "acme-tool",
        "--release",
        "1.0",
        "--reason",
        "malware",
    ];
    street.house.server.run(&withhold).unwrap();
    street.house.server.rest().unwrap();
    both_believe(&mut street.house, &keep, "acme-tool", Some(&now));
    let (files, _) = shown(&street, &mine, "acme-tool").unwrap();
    assert_eq!(files, ["acme_tool-2.0-py3-none-any.whl"]);

    // Taken back by the targets' people: the server signs again.
    let bundle = street.house.person("remove.json");
    let file = bundle.to_str().unwrap();
    let remove = [
        "tuf",
        "namespace",
        "remove",
        "pypi",
        "acme-*",
        "--bundle",
        file,
        "--yes",
    ];
    street.house.server.run(&remove).unwrap();
    street.house.sign_and_publish(&bundle, &["alice", "bob"]);
    street.house.both_see(&keep, "acme-tool");
    let status = ["tuf", "namespace", "status"];
    let told = street.house.server.run(&status).unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(
        told.contains("The server signs every namespace itself."),
        "{told}"
    );
}
