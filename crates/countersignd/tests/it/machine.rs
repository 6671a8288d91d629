//! Runs the real binary in a directory of its own, apart from this machine's environment.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A directory in which commands run.
pub struct Desk {
    folder: TempDir,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Asserts the exit code, and that every phrase stands in what was printed.
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

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.out.trim()).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }
}

impl Desk {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// `countersignd --data data …` with nothing of this machine's environment but the path to programs.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersignd"));
        command
            .current_dir(self.folder.path())
            .arg("--data")
            .arg(self.data())
            .args(arguments)
            .stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("COUNTERSIGN_")
                || name_text.starts_with("AWS_")
                || name_text == "RUST_LOG"
            {
                command.env_remove(name);
            }
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments))
    }

    /// The same with variables in its environment.
    pub fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ran {
        let mut command = self.command(arguments);
        command.envs(environment.iter().copied());
        ran(command)
    }

    /// Starts `serve` on a free port and waits for its line.
    #[track_caller]
    pub fn serve(&self, arguments: &[&str]) -> Server {
        let log = self.path("server.log");
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let port = line
            .trim()
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok());
        let Some(port) = port.filter(|_| line.starts_with("countersignd serves ")) else {
            let status = child.wait().unwrap();
            panic!(
                "serve said {line:?}, ended with {status}: {}",
                fs::read_to_string(&log).unwrap()
            );
        };
        Server {
            child,
            port,
            line: line.trim().to_owned(),
            log,
        }
    }
}

pub fn ran(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A running server; killed when dropped.
pub struct Server {
    child: Child,
    pub port: u16,
    pub line: String,
    log: PathBuf,
}

impl Server {
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn site(&self) -> String {
        format!("http://{}", self.authority())
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the end and gives the exit code.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> Option<i32> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(
                begin.elapsed() < limit,
                "the server did not end within {limit:?}: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log holds a phrase.
    #[track_caller]
    pub fn wait_for_log(&self, phrase: &str) {
        let begin = Instant::now();
        while !self.log().contains(phrase) {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "{phrase:?} never came: {}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // An error means that it ended before.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The permission bits of a path.
pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
