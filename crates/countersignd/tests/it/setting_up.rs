//! When `init` and `serve` go ahead, and when they refuse.

use std::fs;

use crate::machine::{Desk, Server, mode};

#[test]
fn init_makes_a_registry_for_this_user_alone_and_prints_its_identity() {
    let desk = Desk::new();
    let made = desk
        .run(&["--json", "init", "--url", "https://packages.example.org"])
        .expect(0, &[])
        .json();
    assert_eq!(made["origin"], "packages.example.org/log/1");
    assert!(
        made["verifier_keys"][0]
            .as_str()
            .unwrap()
            .starts_with("packages.example.org/log/1+")
    );
    assert_eq!(mode(&desk.data()), 0o700);
    assert_eq!(mode(&desk.data().join("keys")), 0o700);
    for key in fs::read_dir(desk.data().join("keys")).unwrap() {
        assert_eq!(mode(&key.unwrap().path()), 0o600);
    }
    // What was written is in the one file, not in a log beside it.
    let beside = desk.data().join("countersign.db-wal");
    assert!(!beside.exists(), "{} was left", beside.display());
}

#[test]
fn serve_goes_on_under_the_url_that_init_was_given() {
    let desk = Desk::new();
    desk.run(&["init", "--url", "https://packages.example.org"])
        .expect(0, &["countersign.toml"]);
    assert_eq!(mode(&desk.data().join("countersign.toml")), 0o600);
    assert!(
        desk.serve(&[])
            .line
            .starts_with("countersignd serves https://packages.example.org on 127.0.0.1:")
    );
    let made = desk
        .run(&["--json", "admin", "user", "create", "ada"])
        .expect(0, &[])
        .json();
    assert!(
        made["enrolment"]
            .as_str()
            .unwrap()
            .starts_with("https://packages.example.org/"),
        "{made}"
    );
}

#[test]
fn init_refuses_wherever_anything_is_and_names_what_is_there() {
    for (place, file) in [
        ("database", "data/countersign.db"),
        ("blobs", "data/blobs/x"),
        ("keys", "data/keys/x"),
        ("data", "data/stray"),
    ] {
        let desk = Desk::new();
        if place == "database" {
            let other = Desk::new();
            other.run(&["init"]).expect(0, &[]);
            fs::create_dir_all(desk.data()).unwrap();
            // The file and its write-ahead log: one without the other is no database.
            for name in ["countersign.db", "countersign.db-wal"] {
                let from = other.data().join(name);
                if from.exists() {
                    fs::copy(from, desk.data().join(name)).unwrap();
                }
            }
        } else {
            desk.write(file, "x");
        }
        desk.run(&["init"])
            .expect(4, &["Not everything is empty here", "fork", "empty places"]);
    }
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    desk.run(&["init"]).expect(
        4,
        &["There is a registry here already", "countersignd serve"],
    );
}

#[test]
fn init_lets_the_configuration_file_lie_in_the_data_directory() {
    let desk = Desk::new();
    desk.write("data/countersign.toml", "url = \"https://p.example.org\"\n");
    desk.run(&["init"]).expect(0, &["p.example.org/log/1"]);
}

/// What there is before `serve`, by the parts of a registry: keys, database, blobs.
fn with_parts(keys: bool, database: bool, blobs: bool) -> Desk {
    let desk = Desk::new();
    if keys || database || blobs {
        desk.run(&["init"]).expect(0, &[]);
    }
    let lose = |name: &str| {
        let path = desk.data().join(name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
    };
    if keys || database || blobs {
        if !keys {
            lose("keys");
        }
        if !database {
            for entry in fs::read_dir(desk.data()).unwrap() {
                let path = entry.unwrap().path();
                if path
                    .file_name()
                    .unwrap()
                    .to_string_lossy()
                    .starts_with("countersign.db")
                {
                    fs::remove_file(path).unwrap();
                }
            }
        }
        if !blobs {
            lose("blobs");
        }
    }
    desk
}

#[test]
fn serve_makes_a_registry_only_where_everything_is_empty_and_the_url_is_loopback() {
    for keys in [false, true] {
        for database in [false, true] {
            for blobs in [false, true] {
                for loopback in [false, true] {
                    let desk = with_parts(keys, database, blobs);
                    let url = if loopback {
                        "http://localhost:8417"
                    } else {
                        "https://packages.example.org"
                    };
                    let case = format!(
                        "keys {keys}, database {database}, blobs {blobs}, loopback {loopback}"
                    );
                    let nothing = !keys && !database && !blobs;
                    if (nothing && loopback) || (keys && database && blobs) {
                        let mut server: Server = desk.serve(&["--url", url]);
                        assert!(server.is_running(), "{case}");
                        continue;
                    }
                    let ran = desk.run(&["serve", "--listen", "127.0.0.1:0", "--url", url]);
                    assert_ne!(ran.code, 0, "{case}: {ran:#?}");
                    if nothing {
                        let data = desk.data().display().to_string();
                        ran.expect(
                            2,
                            &[
                                &format!("countersignd init --data {data} --url https://packages.example.org"),
                                "a volume is not mounted",
                            ],
                        );
                        assert!(!desk.data().exists(), "a refusal leaves nothing behind");
                    } else {
                        ran.expect(
                            2,
                            &[
                                "would fork its log",
                                "holds something",
                                "empty",
                                "Mount the missing volume",
                            ],
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn serve_says_one_line_with_its_address_and_keeps_its_log_over_a_restart() {
    let desk = Desk::new();
    let mut server = desk.serve(&[]);
    assert_eq!(
        server.line,
        format!(
            "countersignd serves http://localhost:{0} on 127.0.0.1:{0}",
            server.port
        )
    );
    let known = |server: &Server| {
        countersign_testkit::http::get(&format!("{}/.well-known/countersign.json", server.site()))
            .unwrap()
            .json()
            .unwrap()
    };
    let before = known(&server)["log"]["verifier_keys"].clone();
    server.signal("TERM");
    assert_eq!(server.wait(std::time::Duration::from_secs(20)), Some(0));
    assert!(!server.log().contains("panicked"), "{}", server.log());
    assert_eq!(known(&desk.serve(&[]))["log"]["verifier_keys"], before);
}

#[test]
fn a_taken_port_is_named_and_nothing_is_left_behind() {
    let desk = Desk::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    desk.run(&["serve", "--listen", &address]).expect(
        1,
        &[&address, "another program listens there", "--listen ADDR"],
    );
    assert!(!desk.data().exists());
}

#[test]
fn secrets_come_from_the_environment_and_an_unreachable_database_is_told_apart() {
    let desk = Desk::new();
    let mut command = desk.command(&["admin", "user", "list"]);
    command.env(
        "COUNTERSIGN_DATABASE_URL",
        "postgres://u:secret@127.0.0.1:1/none",
    );
    let ran = crate::machine::ran(command).expect(5, &[]);
    assert!(!ran.err.contains("secret"), "{ran:?}");
}
