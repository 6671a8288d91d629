//! The clients of npm's registry: npm, pnpm and both yarns, pinned in `node-clients/`, installed once per pin set below
//! the target folder by whatever npm the machine has. They run apart from this machine's configuration: a home, caches and settings of
//! their own, and no registry but the one the test names.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::machine::{lock, run, target_folder};

const PACKAGE: &str = include_str!("../node-clients/package.json");
const LOCK: &str = include_str!("../node-clients/package-lock.json");

/// Which client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// Pinned: distributions have older ones, which know neither `npm trust` nor `npm stage`.
    Npm,
    /// Pinned.
    Pnpm,
    /// Yarn 1, pinned.
    Classic,
    /// Yarn 4, pinned.
    Berry,
}

impl Node {
    /// All of them.
    pub const ALL: [Node; 4] = [Node::Npm, Node::Pnpm, Node::Classic, Node::Berry];
}

/// A home with the settings of all clients for one registry.
#[derive(Debug)]
pub struct NodeHome {
    clients: PathBuf,
    path: OsString,
    home: TempDir,
    registry: String,
}

/// Finds the pinned clients, or installs them from the registry that this machine's npm is set up for.
fn installed() -> Result<PathBuf> {
    let mut hash = Sha256::new();
    hash.update(PACKAGE);
    hash.update(LOCK);
    let name = format!("node-{}", hex::encode(&hash.finalize()[..8]));
    let folder = target_folder().join("clients");
    fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?.join(name);
    let complete = folder.join("complete");
    let _lock = lock(&folder.with_extension("lock"))?;
    if !complete.is_file() {
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot clear {}", folder.display()))?;
        }
        fs::create_dir_all(&folder)?;
        eprintln!("installing npm, pnpm and yarn in {}", folder.display());
        fs::write(folder.join("package.json"), PACKAGE)?;
        fs::write(folder.join("package-lock.json"), LOCK)?;
        let mut install = Command::new("npm");
        install
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder);
        run(&mut install).context("cannot install the pinned clients (npm is needed)")?;
        fs::write(&complete, "")?;
    }
    Ok(folder)
}

/// The program of a client, to be run by Node.js.
fn program(clients: &Path, client: Node) -> PathBuf {
    clients.join("node_modules").join(match client {
        Node::Npm => "npm/bin/npm-cli.js",
        Node::Pnpm => "pnpm/bin/pnpm.cjs",
        Node::Classic => "yarn/bin/yarn.js",
        Node::Berry => "@yarnpkg/cli-dist/bin/yarn.js",
    })
}

/// The path of programs, with those of the clients before this machine's: they call each other.
fn path_with(clients: &Path) -> Result<OsString> {
    let machine = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    let mut folders = vec![clients.join("node_modules/.bin")];
    folders.extend(std::env::split_paths(&machine));
    Ok(std::env::join_paths(folders)?)
}

/// npm in this environment and no other.
pub fn npm() -> Result<Command> {
    let clients = installed()?;
    let mut command = Command::new("node");
    command
        .arg(program(&clients, Node::Npm))
        .env_clear()
        .env("PATH", path_with(&clients)?);
    Ok(command)
}

/// The folder of npm, with the libraries that it brings along.
pub fn npm_folder() -> Result<PathBuf> {
    Ok(installed()?.join("node_modules/npm"))
}

impl NodeHome {
    /// For the registry at this address, which ends with a slash; with a token where there is one.
    pub fn new(registry: &str, token: Option<&str>) -> Result<Self> {
        let clients = installed()?;
        let home = tempfile::Builder::new()
            .prefix("countersign-node-")
            .tempdir()?;
        let made = Self {
            path: path_with(&clients)?,
            clients,
            home,
            registry: registry.to_owned(),
        };
        made.set_token(token)?;
        Ok(made)
    }

    /// Goes on with another token, or none.
    pub fn set_token(&self, token: Option<&str>) -> Result<()> {
        let registry = &self.registry;
        let bare = registry.split_once(':').map_or("", |(_, rest)| rest);
        let mut npmrc = format!("registry={registry}\n");
        let mut yarnrc = format!(
            "npmRegistryServer: \"{registry}\"\nunsafeHttpWhitelist: [\"127.0.0.1\", \"localhost\"]\nenableTelemetry: false\n\
             enableGlobalCache: false\nnodeLinker: node-modules\nnpmMinimalAgeGate: 0\nenableImmutableInstalls: false\n"
        );
        if let Some(token) = token {
            npmrc.push_str(&format!("{bare}:_authToken={token}\nalways-auth=true\n"));
            yarnrc.push_str(&format!("npmAuthToken: \"{token}\"\n"));
        }
        fs::write(self.home.path().join(".npmrc"), npmrc)?;
        fs::write(self.home.path().join(".yarnrc.yml"), yarnrc)?;
        Ok(())
    }

    /// The home.
    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// A folder in it, made if it is missing.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.home.path().join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// A command of a client in a folder.
    pub fn command(&self, client: Node, folder: &Path, arguments: &[&str]) -> Command {
        let home = self.home.path();
        let mut command = Command::new("node");
        command
            .arg(program(&self.clients, client))
            .args(arguments)
            .env_clear()
            .env("PATH", &self.path)
            .env("HOME", home)
            .env("TMPDIR", home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("XDG_DATA_HOME", home.join("data"))
            .env("XDG_STATE_HOME", home.join("state"))
            .env("LANG", "C.UTF-8")
            .env("NO_COLOR", "1")
            .env("NO_UPDATE_NOTIFIER", "1")
            .env("npm_config_userconfig", home.join(".npmrc"))
            .env("npm_config_update_notifier", "false")
            .env("npm_config_fetch_retries", "0")
            .env("npm_config_fund", "false")
            .env("npm_config_audit", "false")
            .env("YARN_ENABLE_COLORS", "0")
            .env("COREPACK_ENABLE_STRICT", "0")
            .current_dir(folder)
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub fn run(&self, client: Node, folder: &Path, arguments: &[&str]) -> Result<Output> {
        crate::machine::output_of(&mut self.command(client, folder, arguments))
    }

    /// Runs it to its end; an error holds what it said.
    pub fn done(&self, client: Node, folder: &Path, arguments: &[&str]) -> Result<Output> {
        run(&mut self.command(client, folder, arguments))
    }
}
