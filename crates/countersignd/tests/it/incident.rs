//! Operators' commands about incidents, and the drills.

use countersign_testkit::packages::Wheel;

use crate::machine::Desk;

/// A registry with one account, `ada`, who published the project `thing`.
fn house() -> Desk {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    desk.run(&[
        "admin",
        "user",
        "create",
        "ada",
        "--email",
        "ada@example.org",
    ])
    .expect(0, &[]);
    let token = desk
        .run(&["admin", "token", "create", "--user", "ada"])
        .expect(0, &[])
        .out;
    let server = desk.serve(&[]);
    let wheel = Wheel::new("thing", "1.0").build();
    let address = format!("{}/pypi/legacy/", server.site());
    countersign_testkit::server::publish(&address, &wheel, token.trim(), &[])
        .unwrap()
        .expect_status(200)
        .unwrap();
    drop(server);
    desk
}

#[test]
fn an_incident_is_traced_stopped_taken_back_and_told() {
    let desk = house();
    desk.run(&["incident", "trace", "user:ada"])
        .expect(0, &["file-published", "pkg:pypi/thing@1.0", "projects: 1"]);
    let trace = desk
        .run(&["--json", "incident", "trace", "project:pypi:thing"])
        .expect(0, &[])
        .json();
    let published = trace["events"].as_array().unwrap();
    let published = published
        .iter()
        .find(|event| event["kind"] == "file-published")
        .unwrap();
    assert!(published["sha256"].is_string() && published["leaf"][1].is_number());
    let token = published["credential"].as_str().unwrap();
    desk.run(&[
        "incident",
        "trace",
        &format!("token:{token}"),
        "--since",
        "1d",
    ])
    .expect(0, &["thing@1.0"]);
    for (words, code, phrases) in [
        (&["incident", "trace", "ada"][..], 2, &["user:NAME"][..]),
        (
            &["incident", "trace", "user:ada", "--since", "soon"],
            2,
            &["2h"],
        ),
        (
            &["incident", "trace", "user:nobody"],
            4,
            &["no user nobody"],
        ),
        (&["incident", "freeze", "registry"], 2, &["--reason"]),
        (&["incident", "show", "1999-1"], 4, &["no incident"]),
    ] {
        desk.run(words).expect(code, phrases);
    }
    let freeze = ["incident", "freeze", "registry", "--reason", "A worm"];
    desk.run(&freeze).expect(0, &["registry is frozen"]);
    desk.run(&freeze).expect(0, &["was frozen already"]);
    desk.run(&["incident", "frozen"]).expect(0, &["A worm"]);
    desk.run(&["incident", "unfreeze", "registry"])
        .expect(0, &["free again"]);
    let revoke = ["incident", "revoke", "registry", "--reason", "phished"];
    desk.run(&revoke).expect(0, &["Would end 1 API tokens"]);
    desk.run(&[&revoke[..], &["--apply"]].concat())
        .expect(0, &["Ended 1 API tokens"]);
    let rewind = [
        "incident", "rewind", "user:ada", "--since", "1h", "--reason", "not hers",
    ];
    desk.run(&rewind).expect(0, &["planned", "1 to take back"]);
    desk.run(&[&rewind[..], &["--apply"]].concat())
        .expect(0, &["1 taken back"]);
    desk.run(&[&rewind[..], &["--apply"]].concat())
        .expect(0, &["0 taken back, 1 were so already"]);
    let id = desk
        .run(&[
            "incident",
            "open",
            "thing 1.0 was not hers",
            "--about",
            "pkg:pypi/thing",
            "--began",
            "1h",
            "--public",
        ])
        .expect(0, &[])
        .out;
    let id = id.trim();
    desk.run(&["incident", "close", id, "It is over."])
        .expect(0, &["is closed"]);
    desk.run(&["incident", "list"])
        .expect(0, &["closed", "public"]);
    desk.run(&["incident", "export", id, "--output", "out.json"])
        .expect(0, &["Wrote"]);
    let written: serde_json::Value =
        serde_json::from_slice(&std::fs::read(desk.path("out.json")).unwrap()).unwrap();
    assert_eq!(written["format"], "countersign-incident/v1");
    let server = desk.serve(&[]);
    let page =
        countersign_testkit::http::get(&format!("{}/incidents/{id}", server.site())).unwrap();
    assert!(page.text().contains("It is over."), "{}", page.text());
    let feed = countersign_testkit::http::get(&format!("{}/incidents/feed.atom", server.site()));
    assert!(feed.unwrap().text().contains("thing 1.0 was not hers"));
}

#[test]
fn drills_are_played_and_every_control_answers() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    desk.run(&["drill", "--list"])
        .expect(0, &["phish-proxy", "D12b"]);
    desk.run(&["drill", "D99"]).expect(2, &["no drill"]);
    desk.run(&["drill"]).expect(2, &["--list"]);
    let with_scanner = desk.write("with-scanner.toml", "[scan]\nenabled = true\n");
    // The others are played by hand and by `drill --all`: these have the most parts.
    let played = desk
        .run(&[
            "--json",
            "--config",
            with_scanner.to_str().unwrap(),
            "drill",
            "D1",
            "D6",
            "D7",
            "D10",
            "D12b",
            "D16",
        ])
        .expect(0, &[])
        .json();
    for drill in played["drills"].as_array().unwrap() {
        assert_eq!(drill["held"], true, "{drill:#}");
        assert!(drill["controls"].as_array().unwrap().len() >= 3);
        let seen = drill["controls"].as_array().unwrap().iter();
        let by = |who: &str| seen.clone().any(|control| control["by"] == who);
        assert_eq!(by("the scanner"), drill["id"] == "D7", "{drill:#}");
    }
}
