//! Real clients, kept apart from whatever this machine's user has configured.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::failure::Failure;

/// How long one client may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a client did.
pub struct Ran {
    /// Exit code 0.
    pub success: bool,
    /// Both of its outputs.
    pub output: String,
}

/// The program that publishes.
enum Publisher {
    Uv(PathBuf),
    Twine(PathBuf),
    /// `python -m twine` with this directory on its path.
    TwineModule(PathBuf),
}

/// What the demo needs of this machine.
pub struct Clients {
    /// The interpreter itself, not a shim in front of it: shims look into the home directory.
    python: PathBuf,
    publisher: Publisher,
    /// An empty home directory.
    home: PathBuf,
}

impl Clients {
    /// Finds Python with pip, and uv or twine; what is missing is installed into `folder` with the user's own pip
    /// configuration, and `say` tells so.
    ///
    /// # Errors
    /// Says what is missing and how to get it.
    pub async fn find(python: &str, folder: &Path, say: impl Fn(&str)) -> Result<Self, Failure> {
        let home = folder.join("home");
        std::fs::create_dir_all(&home).map_err(|error| {
            Failure::environment("demo-files", format!("{}: {error}.", home.display()))
        })?;
        let interpreter = python_itself(python).await?;
        let python = if has_module(&interpreter, "pip").await? {
            interpreter
        } else {
            say("    this Python has no pip: making a virtual environment that has");
            virtual_environment(&interpreter, &folder.join("venv")).await?
        };
        let publisher = match (on_path("uv"), on_path("twine")) {
            (Some(uv), _) => Publisher::Uv(uv),
            (None, Some(twine)) => Publisher::Twine(twine),
            (None, None) if has_module(&python, "twine").await? => {
                Publisher::TwineModule(PathBuf::new())
            }
            (None, None) => installed_publisher(&python, &folder.join("client"), say).await?,
        };
        Ok(Self {
            python,
            publisher,
            home,
        })
    }

    /// The publishing program's name.
    pub fn publisher_name(&self) -> &'static str {
        match self.publisher {
            Publisher::Uv(_) => "uv",
            Publisher::Twine(_) | Publisher::TwineModule(_) => "twine",
        }
    }

    /// Publishes one file.
    ///
    /// # Errors
    /// A program that can not be started, or does not end.
    pub async fn publish(&self, url: &str, token: &str, file: &Path) -> Result<Ran, Failure> {
        let mut command = match &self.publisher {
            Publisher::Uv(uv) => {
                let mut command = self.command(uv);
                // The token goes through the environment, where other users of this machine do not see it.
                command
                    .args([
                        "publish",
                        "--publish-url",
                        url,
                        "--trusted-publishing",
                        "never",
                        "--no-progress",
                    ])
                    .env("UV_PUBLISH_TOKEN", token);
                command.env("UV_NO_CONFIG", "1").env("UV_NO_CACHE", "1");
                command
            }
            Publisher::Twine(twine) => self.twine(self.command(twine), url, token),
            Publisher::TwineModule(path) => {
                let mut command = self.command(&self.python);
                command.args(["-m", "twine"]);
                if path != Path::new("") {
                    command.env("PYTHONPATH", path);
                }
                self.twine(command, url, token)
            }
        };
        ran(command.arg(file)).await
    }

    fn twine(&self, mut command: Command, url: &str, token: &str) -> Command {
        command
            .args([
                "upload",
                "--non-interactive",
                "--disable-progress-bar",
                "--config-file",
            ])
            .arg(self.home.join("none.pypirc"));
        command
            .env("TWINE_REPOSITORY_URL", url)
            .env("TWINE_USERNAME", "__token__")
            .env("TWINE_PASSWORD", token);
        command
    }

    /// Installs a project with pip into a directory, from one index alone.
    ///
    /// # Errors
    /// As [`Clients::publish`].
    pub async fn install(&self, index: &str, project: &str, target: &Path) -> Result<Ran, Failure> {
        let mut command = self.command(&self.python);
        command.args([
            "-m",
            "pip",
            "install",
            "--index-url",
            index,
            "--no-deps",
            "--no-cache-dir",
            "--disable-pip-version-check",
        ]);
        command
            .args([
                "--no-input",
                "--retries",
                "0",
                "--progress-bar",
                "off",
                "--target",
            ])
            .arg(target)
            .arg(project);
        ran(&mut command).await
    }

    /// Runs a line of Python that sees `target` first.
    ///
    /// # Errors
    /// As [`Clients::publish`].
    pub async fn import(&self, target: &Path, line: &str) -> Result<Ran, Failure> {
        let mut command = self.command(&self.python);
        ran(command.env("PYTHONPATH", target).arg("-c").arg(line)).await
    }

    /// A command that knows nothing of the user's configuration, caches, proxies or credentials.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", &self.home)
            .env("TMPDIR", self.home.parent().unwrap_or(&self.home));
        command
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("NO_PROXY", "*")
            .env("LANG", "C.UTF-8");
        command
            .env("PIP_CONFIG_FILE", "/dev/null")
            .env("PYTHONNOUSERSITE", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("NO_COLOR", "1");
        command
    }
}

async fn ran(command: &mut Command) -> Result<Ran, Failure> {
    let name = command
        .as_std()
        .get_program()
        .to_string_lossy()
        .into_owned();
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(PATIENCE, command.output())
        .await
        .map_err(|_| {
            Failure::environment(
                "client-slow",
                format!("{name} did not end within {} seconds.", PATIENCE.as_secs()),
            )
        })?
        .map_err(|error| {
            Failure::environment(
                "client-missing",
                format!("{name} can not be started: {error}."),
            )
        })?;
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Ran {
        success: output.status.success(),
        output: text,
    })
}

async fn python_itself(python: &str) -> Result<PathBuf, Failure> {
    let missing = |why: String| {
        Failure::environment("python-missing", format!("The demo installs with pip, but {python} does not run: {why}."))
            .remedy("Install Python (Debian: apt install python3 python3-venv python3-pip), or name one with --python FILE.")
    };
    let mut command = Command::new(python);
    let found = ran(command.args(["-c", "import sys; print(sys.executable)"]))
        .await
        .map_err(|failure| missing(failure.message))?;
    if !found.success {
        return Err(missing(found.output.trim().to_owned()));
    }
    Ok(PathBuf::from(found.output.trim()))
}

async fn has_module(python: &Path, module: &str) -> Result<bool, Failure> {
    let mut command = Command::new(python);
    Ok(ran(command.args(["-c", &format!("import {module}")]))
        .await?
        .success)
}

async fn virtual_environment(python: &Path, folder: &Path) -> Result<PathBuf, Failure> {
    let mut command = Command::new(python);
    let made = ran(command.args(["-m", "venv"]).arg(folder)).await?;
    if !made.success {
        return Err(Failure::environment(
            "venv-missing",
            format!("No virtual environment can be made: {}", made.output.trim()),
        )
        .remedy("Debian: apt install python3-venv python3-pip"));
    }
    Ok(folder.join("bin/python"))
}

/// Installs uv, or else twine, into a directory of the demo's. This is the one step that asks the user's package
/// index, so it runs with the user's configuration.
async fn installed_publisher(
    python: &Path,
    folder: &Path,
    say: impl Fn(&str),
) -> Result<Publisher, Failure> {
    let mut outputs = Vec::new();
    for client in ["uv", "twine"] {
        say(&format!(
            "    neither uv nor twine is here: installing {client} into a temporary directory with pip"
        ));
        let target = folder.join(client);
        let mut command = Command::new(python);
        command
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-input",
                "--target",
            ])
            .arg(&target)
            .arg(client);
        let installed = ran(&mut command).await?;
        if installed.success {
            return Ok(if client == "uv" {
                Publisher::Uv(target.join("bin/uv"))
            } else {
                Publisher::TwineModule(target)
            });
        }
        outputs.push(installed.output);
    }
    Err(Failure::environment(
        "publisher-missing",
        format!(
            "The demo publishes with uv or twine, and neither can be installed: {}",
            outputs.join("\n").trim()
        ),
    )
    .remedy("Install one of them (pip install uv) and run the demo again."))
}

fn on_path(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths)
        .map(|folder| folder.join(OsStr::new(program)))
        .find(|file| file.is_file())
}
