//! Someone who uses the client binary.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use countersign_testkit::packages::Package;
use countersign_testkit::server::TestServer;
use tempfile::TempDir;

/// The client.
pub const CLIENT: &str = env!("CARGO_BIN_EXE_countersign");

/// Beginnings of variables of the machine that runs the tests, which may be a CI job itself.
const OUTER: [&str; 11] = [
    "ACTIONS_",
    "BUILDKITE",
    "CI",
    "CIRCLE",
    "COUNTERSIGN_",
    "FORGEJO_",
    "GITEA_",
    "GITHUB_",
    "GITLAB_",
    "RUNNER_",
    "SSL_CERT_",
];

/// A user with a home directory.
pub struct User {
    home: TempDir,
}

#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Runs a command to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command.stdin(Stdio::null()).output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub fn expect(self, code: i32, phrases: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        for phrase in phrases {
            assert!(
                self.out.contains(phrase) || self.err.contains(phrase),
                "{phrase:?} is missing in {self:#?}"
            );
        }
        self
    }
}

impl User {
    pub fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    /// Runs the client with further variables.
    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        Ran::of(&mut self.command(arguments, variables))
    }

    /// The client with further variables, not yet started.
    pub fn command(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
        let mut command = Command::new(CLIENT);
        command.args(arguments).current_dir(self.home.path());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if OUTER.iter().any(|outer| name.starts_with(outer)) {
                command.env_remove(name.as_ref());
            }
        }
        command
            .env("COUNTERSIGN_HOME", self.path("home"))
            .envs(variables.iter().copied());
        command
    }

    /// One who has pinned the server.
    #[allow(dead_code)]
    pub fn of(server: &TestServer) -> Self {
        let user = Self::new();
        user.run(&["trust", "add", &server.url(), "--yes"])
            .expect(0, &["Pinned"]);
        user
    }

    /// Puts a file, and its proof if the server has it, into the home directory.
    #[allow(dead_code)]
    pub fn download(&self, server: &TestServer, package: &Package) -> String {
        fs::write(self.path(&package.filename), &package.bytes).unwrap();
        let path = format!(
            "/files/{}/{}.tlog-proof",
            package.sha256(),
            package.filename
        );
        let proof = server.get(&path).unwrap().expect_status(200).unwrap();
        fs::write(
            self.path(&format!("{}.tlog-proof", package.filename)),
            proof.body,
        )
        .unwrap();
        package.filename.clone()
    }
}
