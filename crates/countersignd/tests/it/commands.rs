use countersign_testkit::packages::Wheel;

use crate::machine::Desk;

#[test]
fn help_teaches_with_examples_and_names_the_exit_codes() {
    let desk = Desk::new();
    desk.run(&["--help"]).expect(
        0,
        &[
            "countersignd demo",
            "uv, twine or pip",
            "3 verification failed",
            "--data",
            "countersign-data",
        ],
    );
    desk.run(&["serve", "--help"]).expect(
        0,
        &[
            "SIGTERM",
            "second signal",
            "http://localhost:8417",
            "--tls-cert",
            "--no-migrate",
        ],
    );
    desk.run(&["admin", "token", "create", "--help"])
        .expect(0, &["uv publish", "--expires", "--action"]);
}

#[test]
fn a_wrong_command_line_ends_with_exit_code_2_and_a_hint() {
    let desk = Desk::new();
    desk.run(&["serv"]).expect(2, &["serve"]);
    desk.run(&["serve", "--url", "https://example.org/packages"])
        .expect(2, &["has a path"]);
    desk.run(&["admin", "token", "create", "--user", "a", "--expires", "30"])
        .expect(2, &["has no unit; write 30s"]);
    desk.run(&["admin", "token", "create", "--user", "a", "--action", "all"])
        .expect(2, &["use read, publish or manage"]);
    desk.run(&["admin", "project", "delete", "thing"])
        .expect(2, &["VERSION"]);
    desk.run(&["admin", "project", "role", "maven:thing", "ada", "owner"])
        .expect(2, &["maven", "Known: pypi, cargo, npm"]);
}

#[test]
fn config_check_names_file_line_key_and_the_nearest_known_key() {
    let desk = Desk::new();
    desk.write(
        "data/countersign.toml",
        "url = \"https://p.example.org\"\n\n[limits]\nmax_file_sise = \"1 GiB\"\n",
    );
    desk.run(&["config", "check"]).expect(
        2,
        &[
            "countersign.toml:4: unknown key \"limits.max_file_sise\"",
            "Did you mean \"limits.max_file_size\"?",
        ],
    );
    let file = desk.write(
        "other.toml",
        "url = \"https://p.example.org\"\ndatabase = \"postgres://u:secret@h/d\"\n",
    );
    let ran = desk
        .run(&["--config", file.to_str().unwrap(), "config", "check"])
        .expect(
            0,
            &["is good", "https://p.example.org", "postgres://u:…@h/d"],
        );
    assert!(!ran.out.contains("secret"));
    desk.run(&["--config", "none.toml", "config", "check"])
        .expect(2, &["none.toml", "config sample > FILE"]);
}

#[test]
fn the_sample_is_a_configuration_that_check_accepts() {
    let desk = Desk::new();
    let sample = desk.run(&["config", "sample"]).expect(
        0,
        &["#url = \"http://localhost:8417\"", "[limits]", "[log]"],
    );
    let file = desk.write("sample.toml", &sample.out);
    desk.run(&["--config", file.to_str().unwrap(), "config", "check"])
        .expect(0, &["is good"]);
}

#[test]
fn errors_are_json_when_json_is_asked_for() {
    let desk = Desk::new();
    let ran = desk
        .run(&["--json", "admin", "user", "list"])
        .expect(2, &[]);
    let error: serde_json::Value = serde_json::from_str(ran.err.trim()).unwrap();
    assert_eq!(
        (&error["error"]["code"], &error["error"]["exit"]),
        (&"not-initialised".into(), &2.into()),
        "{ran:?}"
    );
    assert!(
        error["error"]["remedy"]
            .as_str()
            .unwrap()
            .contains("countersignd init")
    );
}

#[test]
fn users_and_tokens_are_made_listed_and_revoked_and_only_the_token_stands_on_standard_output() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(
        0,
        &[
            "log origin",
            "verifier key",
            "countersignd serve",
            "apart from the database",
        ],
    );
    desk.run(&[
        "admin",
        "user",
        "create",
        "ada",
        "--email",
        "ada@example.org",
    ])
    .expect(0, &["Created user ada", "admin token create --user ada"]);
    desk.run(&["admin", "user", "create", "ada"])
        .expect(4, &["ada"]);
    let token = desk
        .run(&[
            "admin",
            "token",
            "create",
            "--user",
            "ada",
            "--project",
            "thing",
            "--expires",
            "7d",
            "--label",
            "ci",
        ])
        .expect(0, &[]);
    assert!(
        token.out.starts_with("csgn_u_") && token.out.lines().count() == 1,
        "{token:?}"
    );
    assert_eq!(token.err, "");
    desk.run(&["admin", "token", "create", "--user", "nobody"])
        .expect(4, &["nobody"]);
    let listed = desk
        .run(&["--json", "admin", "token", "list"])
        .expect(0, &[])
        .json();
    let hint = listed[0]["hint"].as_str().unwrap().to_owned();
    assert!(
        !listed.to_string().contains(token.out.trim()),
        "a list never holds a secret"
    );
    desk.run(&["admin", "token", "list", "--user", "ada"])
        .expect(0, &["ID", &hint, "pypi:thing", "good", "ci"]);
    desk.run(&[
        "admin",
        "token",
        "revoke",
        listed[0]["id"].as_str().unwrap(),
    ])
    .expect(0, &["Revoked"]);
    desk.run(&["admin", "token", "list"])
        .expect(0, &["revoked"]);
    desk.run(&["admin", "user", "list"])
        .expect(0, &["NAME", "ada", "user"]);
    desk.run(&["doctor"])
        .expect(0, &["✓ log", "✓ keys", "verifier key"]);
    desk.run(&["migrate"]).expect(0, &["up to date"]);
}

#[test]
fn doctor_finds_keys_that_others_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    let key = std::fs::read_dir(desk.data().join("keys"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    desk.run(&["doctor"])
        .expect(1, &["✗ keys", "Others on this machine may read", "chmod"]);
    let report = desk.run(&["--json", "doctor"]).expect(1, &[]).json();
    assert_eq!(report["ok"], false);
    assert!(report["origin"].as_str().unwrap().ends_with("/log/1"));
}

#[test]
fn doctor_finds_a_changed_file_and_does_not_touch_a_volume_that_is_not_mounted() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    let dist = desk.path("dist");
    std::fs::create_dir_all(&dist).unwrap();
    let package = Wheel::new("thing", "1.0").build();
    package.write_to(&dist).unwrap();
    desk.run(&["import", "dist"]).expect(0, &[]);
    desk.run(&["doctor", "--deep"])
        .expect(0, &["✓ artifacts: 1 files have the bytes"]);
    let digest = package.sha256();
    let blob = desk
        .data()
        .join("blobs/artifacts")
        .join(&digest[..2])
        .join(&digest);
    let mut bytes = std::fs::read(&blob).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&blob, bytes).unwrap();
    desk.run(&["doctor", "--deep"])
        .expect(1, &["✗ artifacts", "thing-1.0-py3-none-any.whl"]);

    let blobs = desk.data().join("blobs");
    std::fs::remove_dir_all(&blobs).unwrap();
    std::fs::create_dir(&blobs).unwrap();
    desk.run(&["doctor"])
        .expect(1, &["✗ registry", "would fork its log"]);
    assert_eq!(std::fs::read_dir(&blobs).unwrap().count(), 0);
}
