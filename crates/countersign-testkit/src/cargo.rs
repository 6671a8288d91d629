//! The unmodified cargo in a home of its own, set up for one registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::machine::output_of;

/// What the registry is called in cargo's configuration.
pub const REGISTRY: &str = "countersign";

/// A home of cargo with one registry. What it runs sees neither this machine's settings nor its crates.
#[derive(Debug)]
pub struct Cargo {
    home: TempDir,
    token: Option<String>,
    ca: Option<PathBuf>,
}

impl Cargo {
    /// For the registry of `site`.
    pub fn at(site: &str) -> Result<Self> {
        let cargo = Self {
            home: tempfile::Builder::new()
                .prefix("countersign-cargo-")
                .tempdir()?,
            token: None,
            ca: None,
        };
        cargo.configure(&format!(
            // Without a word on who keeps tokens, cargo talks to no registry that asks for one to read.
            "[registry]\nglobal-credential-providers = [\"cargo:token\"]\n[registries.{REGISTRY}]\nindex = \"sparse+{site}/cargo/index/\"\n"
        ))?;
        Ok(cargo)
    }

    /// With a token, by the variable that cargo reads it from.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// Believing the certificates in this file and no others.
    #[must_use]
    pub fn trusting(mut self, ca: &Path) -> Self {
        self.ca = Some(ca.to_owned());
        self
    }

    /// Writes the configuration.
    pub fn configure(&self, text: &str) -> Result<()> {
        let folder = self.home.path().join("cargo");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("config.toml"), text)?;
        Ok(())
    }

    /// What cargo keeps of its credentials.
    pub fn credentials(&self) -> String {
        fs::read_to_string(self.home.path().join("cargo/credentials.toml")).unwrap_or_default()
    }

    /// A folder for projects.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Forgets all that was fetched, so that everything is asked for again.
    pub fn forget(&self) -> Result<()> {
        let folder = self.home.path().join("cargo/registry");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        Ok(())
    }

    /// A package in a folder of its own: the lines of `Cargo.toml` after name and version, and the library's text.
    pub fn package(
        &self,
        name: &str,
        version: &str,
        lines: &str,
        library: &str,
    ) -> Result<PathBuf> {
        let folder = self.home.path().join(format!("{name}-{version}"));
        fs::create_dir_all(folder.join("src"))?;
        fs::write(
            folder.join("Cargo.toml"),
            format!(
                "[package]\nname = {name:?}\nversion = {version:?}\nedition = \"2021\"\ndescription = \"The crate {name}\"\nlicense = \"MIT\"\n{lines}\n"
            ),
        )?;
        fs::write(folder.join("src/lib.rs"), library)?;
        Ok(folder)
    }

    /// A command of cargo in a folder.
    pub fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        // Under `cargo test` this is the toolchain's own program, which needs nothing of rustup's.
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(program);
        let keep = |command: &mut Command, name: &str| {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        };
        command.env_clear();
        for name in ["PATH", "RUSTUP_TOOLCHAIN", "RUSTUP_HOME"] {
            keep(&mut command, name);
        }
        // rustc may be rustup's stand-in, which looks for toolchains in the home.
        if std::env::var_os("RUSTUP_HOME").is_none()
            && let Some(home) = std::env::var_os("HOME")
        {
            command.env("RUSTUP_HOME", Path::new(&home).join(".rustup"));
        }
        command
            .args(arguments)
            .current_dir(folder)
            .env("HOME", self.home.path())
            .env("CARGO_HOME", self.home.path().join("cargo"))
            .env("CARGO_TARGET_DIR", self.home.path().join("target"))
            .env("CARGO_TERM_COLOR", "never")
            .env("CARGO_NET_RETRY", "0")
            .env("NO_PROXY", "*")
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null());
        if let Some(token) = &self.token {
            command.env("CARGO_REGISTRIES_COUNTERSIGN_TOKEN", token);
        }
        if let Some(ca) = &self.ca {
            command.env("CARGO_HTTP_CAINFO", ca);
        }
        command
    }

    /// Runs cargo in a folder, whatever comes of it.
    pub fn run(&self, folder: &Path, arguments: &[&str]) -> Result<Output> {
        output_of(&mut self.command(folder, arguments))
    }

    /// Runs cargo with something on its standard input.
    pub fn run_with_input(&self, folder: &Path, arguments: &[&str], input: &str) -> Result<Output> {
        use std::io::Write as _;
        let mut child = self
            .command(folder, arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start cargo")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        Ok(child.wait_with_output()?)
    }

    /// `cargo publish`.
    pub fn publish(&self, folder: &Path, more: &[&str]) -> Result<Output> {
        let arguments = [&["publish", "--registry", REGISTRY][..], more].concat();
        self.run(folder, &arguments)
    }
}
