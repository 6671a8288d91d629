//! The unmodified npm logs in by a browser, says who it is, and logs out.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use countersign_testkit::clients::both_outputs;
use countersign_testkit::http;
use countersign_testkit::machine::pass_on;
use countersign_testkit::person::Person;
use countersign_testkit::server::{ServerOptions, TestServer};
use tempfile::TempDir;

/// npm in a home of its own, set up for one registry.
struct Npm {
    home: TempDir,
}

/// `npm login` on its way.
struct Login {
    child: Child,
    page: String,
    rest: mpsc::Receiver<String>,
}

impl Npm {
    fn at(registry: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(".npmrc"), format!("registry={registry}\n")).unwrap();
        Self { home }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = countersign_testkit::node::npm().unwrap();
        command
            .args(arguments)
            .env("HOME", self.home.path())
            .env("NO_UPDATE_NOTIFIER", "1")
            .env("npm_config_update_notifier", "false")
            .env("npm_config_fetch_retries", "0")
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn settings(&self) -> String {
        std::fs::read_to_string(PathBuf::from(self.home.path()).join(".npmrc")).unwrap()
    }

    /// Begins a login, up to the page that it shows.
    fn login(&self, more: &[&str]) -> Login {
        let mut child = self
            .command(&[&["login", "--auth-type=web"][..], more].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        pass_on(child.stderr.take().unwrap());
        let output = BufReader::new(child.stdout.take().unwrap());
        let (line, rest) = mpsc::channel();
        std::thread::spawn(move || {
            for text in output.lines().map_while(Result::ok) {
                if line.send(text).is_err() {
                    return;
                }
            }
        });
        let page = loop {
            let text = rest.recv_timeout(Duration::from_secs(120)).unwrap();
            if text.contains("/login/device") {
                break text.trim().to_owned();
            }
        };
        Login { child, page, rest }
    }
}

impl Login {
    /// Waits for its end; whether it went well, and what it said.
    fn end(mut self) -> (bool, String) {
        let status = self.child.wait().unwrap();
        let said: Vec<String> = self.rest.iter().collect();
        (status.success(), said.join("\n"))
    }
}

fn server() -> TestServer {
    TestServer::start(ServerOptions {
        named: true,
        ..ServerOptions::default()
    })
    .unwrap()
}

/// The token that npm keeps.
fn token(settings: &str) -> String {
    settings
        .lines()
        .find_map(|line| line.split_once(":_authToken="))
        .map(|(_, token)| token.trim_matches('"').to_owned())
        .unwrap_or_else(|| panic!("no token in {settings}"))
}

fn bearer(server: &TestServer, token: &str) -> u16 {
    let url = format!("{}/api/v1/whoami", server.url());
    let authorization = format!("Bearer {token}");
    http::request("GET", &url, &[("Authorization", &authorization)], b"")
        .unwrap()
        .status
}

#[test]
fn npm_logs_in_by_a_passkey_says_who_it_is_and_logs_out() {
    let server = server();
    let ada = Person::enrol(&server, "ada").unwrap();
    for registry in ["/npm/", "/"] {
        let npm = Npm::at(&format!("{}{registry}", server.url()));
        let before = npm.run(&["whoami"]);
        assert!(!before.status.success());
        let login = npm.login(&["--scope=@ada"]);
        assert!(login.page.starts_with(&server.url()), "{}", login.page);
        assert_eq!(ada.answer_login(&login.page, true).unwrap(), "It is in");
        let (well, said) = login.end();
        assert!(well, "{said}");
        let kept = token(&npm.settings());
        assert_eq!(bearer(&server, &kept), 200);
        let name = npm.run(&["whoami"]);
        assert_eq!(
            String::from_utf8_lossy(&name.stdout).trim(),
            "ada",
            "{}",
            both_outputs(&name)
        );
        let logout = npm.run(&["logout", "--scope=@ada"]);
        assert!(logout.status.success(), "{}", both_outputs(&logout));
        assert!(!npm.settings().contains("_authToken"));
        assert_eq!(bearer(&server, &kept), 401);
        // Neither the secret of the login nor the token of the logout is in the log of the registry.
        let log = server.logs();
        let secret = kept.rsplit('_').next().unwrap();
        assert!(!log.contains(secret), "{log}");
        assert!(log.contains("/-/user/token/csgn_u_…"), "{log}");
    }
}

#[test]
fn npm_is_told_no_and_gets_no_token() {
    let server = server();
    let ada = Person::enrol(&server, "ada").unwrap();
    let npm = Npm::at(&format!("{}/npm/", server.url()));
    let login = npm.login(&[]);
    assert_eq!(
        ada.answer_login(&login.page, false).unwrap(),
        "It stays out"
    );
    let (well, said) = login.end();
    assert!(!well, "{said}");
    assert!(!said.contains("Username"), "{said}");
    assert!(!npm.settings().contains("_authToken"));
}

#[test]
fn the_address_that_npm_asks_at_is_good_for_one_token() {
    let server = server();
    let ada = Person::enrol(&server, "ada").unwrap();
    let begin = http::request(
        "POST",
        &format!("{}/npm/-/v1/login", server.url()),
        &[("Content-Type", "application/json")],
        b"{}",
    )
    .unwrap();
    let begin = begin.expect_status(200).unwrap().json().unwrap();
    let (page, done) = (
        begin["loginUrl"].as_str().unwrap(),
        begin["doneUrl"].as_str().unwrap(),
    );
    let secret = done.rsplit('/').next().unwrap();
    let ask = || http::request("GET", done, &[], b"").unwrap();
    let first = ask().expect_status(202).unwrap();
    assert_eq!(first.header("retry-after"), Some("5"));
    ada.answer_login(page, true).unwrap();
    let second = ask().expect_status(200).unwrap();
    assert_eq!(second.header("cache-control"), Some("no-store"));
    let token = second.json().unwrap()["token"].as_str().unwrap().to_owned();
    assert_ne!(token, secret);
    assert_eq!(bearer(&server, &token), 200);
    assert_eq!(bearer(&server, secret), 401);
    let third = ask().expect_status(200).unwrap().json().unwrap();
    assert!(third["token"].is_null(), "{third}");
    assert_eq!(third["code"], "login-unknown");
}

#[test]
fn a_password_is_not_taken_from_npm_and_the_way_is_told() {
    let server = server();
    let url = format!("{}/npm/-/user/org.couchdb.user:ada", server.url());
    let body = br#"{"name":"ada","password":"hunter2hunter2"}"#;
    let answer = http::request("PUT", &url, &[("Content-Type", "application/json")], body).unwrap();
    let answer = answer.expect_status(403).unwrap().json().unwrap();
    assert_eq!(answer["code"], "login-password");
    let told = answer["error"].as_str().unwrap();
    assert!(told.contains("--auth-type=web"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}
