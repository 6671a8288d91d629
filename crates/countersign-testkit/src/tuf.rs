//! TUF by other hands: python-tuf and tuf-js as clients, each one process that many questions are put to, and the
//! command-line tool of RSTUF, with somebody who answers what it asks at a terminal.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::clients::Clients;
use crate::machine::{output_of, pass_on};
use crate::node;

/// A client of TUF in a process of its own. What it trusts is kept in a [`Keep`], not here.
#[derive(Debug)]
pub struct TufClient {
    name: &'static str,
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// After how many seconds without a byte python-tuf gives up; its own default where that is not said.
    pub patience: Option<u32>,
}

/// What one user of a client trusts of one repository: a folder, made of the root that they pinned.
#[derive(Debug)]
pub struct Keep {
    folder: TempDir,
    root: String,
    /// Where the metadata is, with a slash at its end.
    pub metadata: String,
    /// Where the targets are.
    pub targets: String,
    /// Do the names of targets' files begin with their digests?
    pub prefixed: bool,
}

impl Keep {
    /// Of a repository and a root that is pinned.
    pub fn new(metadata: &str, targets: &str, root: &str) -> Result<Self> {
        Ok(Self {
            folder: tempfile::tempdir()?,
            root: root.to_owned(),
            metadata: metadata.to_owned(),
            targets: targets.to_owned(),
            prefixed: true,
        })
    }

    /// Of one of the registry's own repositories at this site.
    pub fn of(site: &str, repository: &str, root: &str) -> Result<Self> {
        let below = match repository {
            "roots" => String::new(),
            other => format!("{other}/"),
        };
        Self::new(
            &format!("{site}/tuf/{below}"),
            &format!("{site}/tuf/targets/"),
            root,
        )
    }

    /// The same user, who asks at another site from now on.
    #[must_use]
    pub fn at(mut self, from: &str, to: &str) -> Self {
        self.metadata = self.metadata.replace(from, to);
        self.targets = self.targets.replace(from, to);
        self
    }

    /// A copy of all that is trusted.
    pub fn again(&self) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        copy_folder(self.folder.path(), folder.path())?;
        Ok(Self {
            folder,
            root: self.root.clone(),
            metadata: self.metadata.clone(),
            targets: self.targets.clone(),
            prefixed: self.prefixed,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    let copied = output_of(
        Command::new("cp")
            .arg("-a")
            .arg(from.join("."))
            .arg(to.join(".")),
    )?;
    anyhow::ensure!(copied.status.success(), "cp: {copied:?}");
    Ok(())
}

/// What a client found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It believes what it saw.
    Believes {
        /// Versions of root, timestamp, snapshot and targets.
        versions: [u64; 4],
        /// SHA-256 of the target that was asked for; nothing where the repository has none of that name.
        sha256: Option<String>,
    },
    /// It refused what it saw: the name of its exception, and what that says.
    Refused(String, String),
}

impl Told {
    /// The digest of a target that it believes in.
    #[track_caller]
    pub fn sha256(&self) -> String {
        match self {
            Self::Believes {
                sha256: Some(sha256),
                ..
            } => sha256.clone(),
            other => panic!("no target: {other:?}"),
        }
    }

    /// Versions of root, timestamp, snapshot and targets that it believes in.
    #[track_caller]
    pub fn versions(&self) -> [u64; 4] {
        match self {
            Self::Believes { versions, .. } => *versions,
            Self::Refused(name, why) => panic!("refused: {name}: {why}"),
        }
    }

    /// That it was refused, and with which exception.
    #[track_caller]
    pub fn refused(&self) -> &str {
        match self {
            Self::Refused(name, _) => name,
            other => panic!("not refused: {other:?}"),
        }
    }
}

impl TufClient {
    /// python-tuf, as pinned.
    pub fn python(clients: &Clients) -> Result<Self> {
        let mut command = clients.command("python");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/tuf_client.py"));
        Self::start("python-tuf", command)
    }

    /// tuf-js, as npm brings it along.
    pub fn javascript() -> Result<Self> {
        let mut command = Command::new("node");
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("node-clients/tuf-client.cjs"))
            .arg(node::npm_folder()?.join("node_modules"));
        Self::start("tuf-js", command)
    }

    fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        pass_on(process.stderr.take().context("its errors were piped")?);
        let questions = process.stdin.take().context("its input was piped")?;
        let answers = process.stdout.take().context("its output was piped")?;
        Ok(Self {
            name,
            process,
            questions,
            answers: BufReader::new(answers),
            patience: None,
        })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Refreshes what is kept, and fetches a target if one is named. `at` is its clock, in seconds since 1970 UTC, where that is not
    /// the machine's.
    pub fn ask(&mut self, keep: &Keep, path: Option<&str>, at: Option<i64>) -> Result<Told> {
        let state = keep.folder.path().join(self.name);
        let mut question = json!({
            "metadata": keep.metadata, "targets": keep.targets, "state": state, "root": keep.root, "prefixed": keep.prefixed,
        });
        if let Some(path) = path {
            question["path"] = path.into();
        }
        if let Some(at) = at {
            question["at"] = at.into();
        }
        if let Some(patience) = self.patience {
            question["patience"] = patience.into();
        }
        writeln!(self.questions, "{question}")?;
        self.questions.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let told: Value = serde_json::from_str(&line)
            .with_context(|| format!("{} ended or said {line:?}", self.name))?;
        let text = |name: &str| told[name].as_str().map(str::to_owned);
        if let Some(refused) = text("refused") {
            return Ok(Told::Refused(refused, text("why").unwrap_or_default()));
        }
        let mut versions = [0; 4];
        for (version, role) in versions
            .iter_mut()
            .zip(["root", "timestamp", "snapshot", "targets"])
        {
            let told = told["versions"][role].as_u64();
            *version = told.with_context(|| format!("no version of {role} in {line:?}"))?;
        }
        Ok(Told::Believes {
            versions,
            sha256: text("sha256"),
        })
    }
}

impl Drop for TufClient {
    fn drop(&mut self) {
        // An error would mean that it is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What is done at the terminal when a program shows a text.
#[derive(Debug, Clone)]
pub enum Step {
    /// Types a line.
    Type(&'static str, String),
    /// Goes down a menu by so many entries and chooses.
    Choose(&'static str, usize),
}

/// The command-line tool of RSTUF in a folder of its own.
#[derive(Debug)]
pub struct RstufTool<'a> {
    clients: &'a Clients,
    library: PathBuf,
    folder: PathBuf,
}

impl<'a> RstufTool<'a> {
    /// Works in this folder, and keeps its settings there.
    pub fn new(clients: &'a Clients, folder: &Path) -> Result<Self> {
        Ok(Self {
            clients,
            library: clients.rstuf_folder()?,
            folder: folder.to_owned(),
        })
    }

    /// Runs a command to its end, with somebody at a terminal who does these steps in their order. An error holds what the screen
    /// showed.
    pub fn run(&self, arguments: &[&str], steps: &[Step]) -> Result<String> {
        let steps: Vec<Value> = steps
            .iter()
            .map(|step| match step {
                Step::Type(shown, line) => json!({"shown": shown, "type": line}),
                Step::Choose(shown, down) => json!({"shown": shown, "down": down}),
            })
            .collect();
        let mut command = self.clients.command("python");
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/at_a_terminal.py"))
            .arg(Value::from(steps).to_string())
            .arg(self.library.join("bin/rstuf"))
            .args(arguments)
            .env("PYTHONPATH", &self.library)
            .env("HOME", &self.folder)
            .env("TERM", "xterm")
            .current_dir(&self.folder);
        let output: Output = output_of(&mut command)?;
        let screen = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!(
                "rstuf {} ended with {}\n{screen}\n{said}",
                arguments.join(" "),
                output.status
            );
        }
        Ok(screen)
    }
}
