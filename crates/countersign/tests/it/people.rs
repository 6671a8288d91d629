//! A person at the command line and in a browser: logging in, tokens, owners and organisations, with a real passkey
//! wherever one is asked for.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use countersign_testkit::packages::Wheel;
use countersign_testkit::person::Person;
use countersign_testkit::server::{ServerOptions, TestServer};
use serde_json::Value;

use crate::user::{Ran, User};

fn server() -> TestServer {
    TestServer::start(ServerOptions {
        named: true,
        ..ServerOptions::default()
    })
    .unwrap()
}

/// A command that waits for a person.
struct Waiting {
    child: Child,
    errors: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Waiting {
    fn start(user: &User, arguments: &[&str]) -> Self {
        let mut child = user
            .command(&[&["--json"], arguments].concat(), &[])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stderr.take().unwrap());
        let (line, errors) = mpsc::channel();
        std::thread::spawn(move || {
            for text in output.lines().map_while(Result::ok) {
                if line.send(text).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            errors,
            seen: Vec::new(),
        }
    }

    /// The next line of JSON on standard error with this member.
    fn said(&mut self, member: &str) -> Value {
        loop {
            let line = self.errors.recv_timeout(Duration::from_secs(30));
            let line = line.unwrap_or_else(|_| panic!("no {member} in {:?}", self.seen));
            let value: Value = serde_json::from_str(&line).unwrap();
            self.seen.push(line);
            if !value[member].is_null() {
                return value[member].clone();
            }
        }
    }

    fn end(mut self) -> Ran {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let mut out = String::new();
        self.child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut out)
            .unwrap();
        self.seen.extend(self.errors.iter());
        Ran {
            code,
            out,
            err: self.seen.join("\n"),
        }
    }
}

/// Logs in as `person`, who says yes.
fn log_in(user: &User, server: &TestServer, person: &Person) -> Ran {
    let mut login = Waiting::start(user, &["login", &server.url()]);
    let told = login.said("login");
    let page = told["url"].as_str().unwrap();
    assert!(page.starts_with(&server.url()), "{page}");
    assert_eq!(person.answer_login(page, true).unwrap(), "It is in");
    login.end().expect(0, &[])
}

/// Runs what takes an approval, which `person` gives or refuses.
fn approved(user: &User, person: &Person, yes: bool, arguments: &[&str]) -> Ran {
    let mut act = Waiting::start(user, arguments);
    let told = act.said("approval");
    let shown = person
        .answer_approval(told["code"].as_str().unwrap(), yes)
        .unwrap();
    let on = told["on"].as_str().unwrap();
    assert!(
        shown.contains(on),
        "{on:?} is not what the page shows: {shown}"
    );
    act.end()
}

fn stored(user: &User) -> String {
    std::fs::read_to_string(user.path("home/logins.toml")).unwrap()
}

#[test]
fn a_person_logs_in_by_a_passkey_publishes_and_logs_out() {
    let server = server();
    let ada = Person::enrol(&server, "ada").unwrap();
    let user = User::new();
    user.run(&["whoami", "--registry", &server.url()])
        .expect(2, &["Nobody is logged in", "countersign login"]);
    log_in(&user, &server, &ada).expect(0, &["\"user\":\"ada\""]);
    let kept = stored(&user);
    assert!(kept.contains("csgn_u_"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(user.path("home/logins.toml")).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }
    // Just one login: no registry has to be named.
    user.run(&["whoami"])
        .expect(0, &["ada", "may manage", "with the login as ada"]);
    let package = Wheel::new("by-login", "1.0").build();
    std::fs::write(user.path(&package.filename), &package.bytes).unwrap();
    user.run(&["publish", &package.filename])
        .expect(0, &["Publishing with the login as ada", "Published: "]);
    user.run(&["owner", "list", "by-login"])
        .expect(0, &["owner", "ada"]);
    user.run(&["owner", "list"])
        .expect(0, &["pypi:by-login  owner"]);
    // A token of the variable goes before it, here one that is none.
    user.run_with(&["whoami"], &[("COUNTERSIGN_TOKEN", "csgn_u_no")])
        .expect(4, &["token"]);

    // Logging in again takes the place of the login of before.
    log_in(&user, &server, &ada);
    let list = user.run(&["--json", "token", "list"]).expect(0, &[]);
    let list: Value = serde_json::from_str(&list.out).unwrap();
    let states: Vec<bool> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token["revoked"].is_null())
        .collect();
    assert_eq!(states.iter().filter(|alive| **alive).count(), 1, "{list}");
    assert_ne!(stored(&user), kept);

    user.run(&["logout"])
        .expect(0, &["Logged out", "the token is revoked"]);
    assert!(!stored(&user).contains("csgn_u_"));
    user.run(&["logout", &server.url()])
        .expect(2, &["Nobody is logged in"]);
    // The token that was kept first is dead, too.
    std::fs::write(user.path("home/logins.toml"), &kept).unwrap();
    user.run(&["whoami"])
        .expect(4, &["revoked", "Log in again: countersign login"]);
    user.run(&["logout"])
        .expect(0, &["the token had ended before"]);
}

#[test]
fn a_person_who_says_no_keeps_the_program_out() {
    let server = server();
    let ada = Person::enrol(&server, "ada").unwrap();
    let user = User::new();
    let mut login = Waiting::start(&user, &["login", &server.url(), "--action", "read"]);
    let told = login.said("login");
    ada.answer_login(told["url"].as_str().unwrap(), false)
        .unwrap();
    login.end().expect(4, &["login-denied"]);
    assert!(!user.path("home/logins.toml").exists());
}

#[cfg(unix)]
#[test]
fn who_gives_up_waiting_leaves_nothing_behind() {
    let server = server();
    let user = User::new();
    let mut login = Waiting::start(&user, &["login", &server.url()]);
    login.said("login");
    let id = login.child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-INT", &id])
        .status();
    assert!(sent.unwrap().success());
    let code = login.child.wait().unwrap().code();
    assert_eq!(code, Some(130));
    assert!(!user.path("home/logins.toml").exists());
}

#[test]
fn wrong_input_is_told_before_anything_happens() {
    let server = server();
    let user = User::new();
    user.run(&["login"])
        .expect(2, &["No registry is pinned", "--registry URL"]);
    user.run(&["login", "http://registry.example"])
        .expect(2, &["in the clear"]);
    user.run(&["login", "http://127.0.0.1:9"])
        .expect(5, &["does not answer"]);
    user.run(&[
        "login",
        &server.url(),
        "--registry",
        "https://other.example",
    ])
    .expect(2, &["Both", "are named"]);
    user.run(&["login", &server.url(), "--name", &"x".repeat(101)])
        .expect(4, &["at most 100 characters"]);
    user.run(&["login", "--action", "reign"])
        .expect(2, &["possible values"]);
    for arguments in [
        &["owner", "add", "gopher:x", "ada"][..],
        &["owner", "add", "x", "ada", "--role", "king"],
        &["owner", "role", "x", "ada"],
        &["org", "member", "acme", "ada"],
        &["token", "create", "--days", "0"],
        &["token", "create", "--project", "x", "--ecosystem", "pypi"],
    ] {
        user.run(arguments).expect(2, &["try '--help'"]);
    }
    std::fs::create_dir_all(user.path("home")).unwrap();
    std::fs::write(user.path("home/logins.toml"), "login = 3").unwrap();
    user.run(&["whoami", "--registry", &server.url()])
        .expect(1, &["chmod 600"]);
}

#[test]
fn a_login_is_not_sent_with_what_everybody_may_read() {
    let server = server();
    let ada = Person::enrol(&server, "ada").unwrap();
    let user = User::of(&server);
    log_in(&user, &server, &ada);
    let before = server.logs();
    user.run(&["log", "show"]).expect(0, &["entries"]);
    let log = server.logs();
    let new = log.strip_prefix(&before).unwrap();
    assert!(new.contains("checkpoint"), "{new}");
    assert!(!new.contains("ada"), "{new}");
}

#[test]
fn a_token_is_made_once_the_passkey_says_yes() {
    let server = server();
    let ada = Person::enrol(&server, "ada").unwrap();
    let user = User::new();
    log_in(&user, &server, &ada);
    let create = [
        "token",
        "create",
        "--label",
        "box",
        "--action",
        "publish",
        "--project",
        "pypi:thing",
        "--days",
        "7",
    ];
    approved(&user, &ada, false, &create).expect(4, &["approval-refused"]);
    let made = approved(&user, &ada, true, &create).expect(0, &[]);
    let made: Value = serde_json::from_str(&made.out).unwrap();
    let token = made["token"].as_str().unwrap();
    user.run_with(&["whoami"], &[("COUNTERSIGN_TOKEN", token)])
        .expect(
            0,
            &[
                "ada",
                "may publish",
                "project thing only",
                "the token in COUNTERSIGN_TOKEN",
            ],
        );
    let list = user
        .run(&["token", "list"])
        .expect(0, &["box", "may publish"]);
    assert!(!list.out.contains(token), "{list:?}");
    let hint = made["hint"].as_str().unwrap();
    user.run(&["token", "revoke", hint]).expect(0, &["Revoked"]);
    user.run_with(&["whoami"], &[("COUNTERSIGN_TOKEN", token)])
        .expect(4, &["revoked"]);
    // What is unknown is the token that was named, not the login.
    let unknown = user.run(&["token", "revoke", "nothing"]).expect(4, &[]);
    assert!(!unknown.err.contains("Log in"), "{unknown:?}");
}

#[test]
fn owners_and_organisations_are_managed_from_a_terminal() {
    let server = server();
    let ada = Person::enrol(&server, "ada").unwrap();
    let grace = Person::enrol(&server, "grace").unwrap();
    let (user, other) = (User::new(), User::new());
    log_in(&user, &server, &ada);
    log_in(&other, &server, &grace);
    let package = Wheel::new("shared", "1.0").build();
    std::fs::write(user.path(&package.filename), &package.bytes).unwrap();
    user.run(&["publish", &package.filename]).expect(0, &[]);

    // Roles: a login that manages is enough where the project is not critical.
    user.run(&["owner", "add", "shared", "grace", "--role", "publisher"])
        .expect(0, &["grace is publisher of pypi:shared now"]);
    user.run(&["owner", "role", "shared", "grace", "maintainer"])
        .expect(0, &["grace is maintainer"]);
    user.run(&["owner", "list", "shared"])
        .expect(0, &["owner       ada", "maintainer  grace"]);
    user.run(&["owner", "add", "shared", "nobody"])
        .expect(4, &["nobody"]);
    other
        .run(&["owner", "add", "shared", "grace"])
        .expect(4, &["role"]);
    other
        .run(&["owner", "leave", "shared"])
        .expect(0, &["(grace)"]);
    user.run(&["owner", "leave", "shared"])
        .expect(4, &["last owner"]);
    // What is so already is done.
    user.run(&["owner", "remove", "shared", "grace"])
        .expect(0, &["no role on pypi:shared any longer"]);

    // An organisation, which takes passkeys.
    approved(
        &user,
        &ada,
        true,
        &["org", "create", "acme", "--display-name", "Acme Ltd"],
    )
    .expect(0, &["acme"]);
    user.run(&["org", "list"])
        .expect(0, &["acme (Acme Ltd)  you are its owner"]);
    approved(&user, &ada, true, &["org", "invite", "acme", "grace"]).expect(0, &["grace"]);
    let waits = other.run(&["--json", "org", "invitations"]).expect(0, &[]);
    let waits: Value = serde_json::from_str(&waits.out).unwrap();
    let id = waits["items"][0]["id"].as_str().unwrap();
    approved(&other, &grace, true, &["org", "accept", id]).expect(0, &["acme"]);
    approved(
        &user,
        &ada,
        true,
        &["org", "team", "add", "acme", "releases"],
    )
    .expect(0, &[]);
    approved(
        &user,
        &ada,
        true,
        &["org", "team", "join", "acme", "releases", "grace"],
    )
    .expect(0, &[]);
    user.run(&["org", "show", "acme"]).expect(
        0,
        &["owner     ada", "member    grace", "team releases: grace"],
    );
    approved(&other, &grace, true, &["org", "leave", "acme"]).expect(0, &["(grace)"]);
    other.run(&["org", "show", "acme"]).expect(4, &[]);

    // A transfer waits, and an owner stops it.
    let asked =
        approved(&user, &ada, true, &["owner", "transfer", "shared", "acme"]).expect(0, &["acme"]);
    let asked: Value = serde_json::from_str(&asked.out).unwrap();
    let id = asked["id"].as_str().unwrap();
    user.run(&["owner", "pending", "shared"])
        .expect(0, &[id, "transfer"]);
    user.run(&["owner", "stop", id]).expect(0, &["Stopped"]);
    user.run(&["owner", "pending", "shared"])
        .expect(0, &["Nothing waits"]);
}
