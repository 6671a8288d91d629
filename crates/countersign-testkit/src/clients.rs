//! The real clients: pip, uv, twine, build and pypi-attestations, pinned in `requirements-clients.txt`, in an environment made once per
//! pin set below the target folder, and run apart from this machine's configuration: a home of their own, no
//! configuration files, no caches, no index but the one the test names.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::machine::{lock, output_of, run, target_folder};
use crate::runner::Runner;
use crate::sigstore::PrivateSigstore;

pub use crate::machine::both_outputs;

/// Where Sigstore's Python library keeps the trusted root of the public instance.
const PUBLIC_ROOT: &str = "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev";

const REQUIREMENTS: &str = include_str!("../requirements-clients.txt");
const RSTUF: &str = include_str!("../requirements-rstuf.txt");

/// The clients' environment. Cheap to get again: the work is done once per machine.
#[derive(Debug)]
pub struct Clients {
    bin: PathBuf,
    /// Home and temporary folder of the commands; a fresh one for each `Clients`.
    home: TempDir,
    /// The certificates that the commands trust instead of the machine's.
    ca: Option<PathBuf>,
}

impl Clients {
    /// Finds the environment, or makes it (about 20 seconds, from the index that this machine's pip is set up for).
    pub fn get() -> Result<Self> {
        let version = run(Command::new("python3").arg("-VV")).context(
            "Python 3 with venv is needed to drive pip, uv and twine (Debian: python3-venv)",
        )?;
        let mut hash = Sha256::new();
        hash.update(REQUIREMENTS);
        hash.update(&version.stdout);
        let name = hex::encode(&hash.finalize()[..8]);
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
            eprintln!("making the clients' environment in {}", folder.display());
            run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
            let requirements = folder.join("requirements.txt");
            fs::write(&requirements, REQUIREMENTS)?;
            let mut install = Command::new(folder.join("bin/python"));
            install
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "-r",
                ])
                .arg(&requirements);
            run(&mut install).context("cannot install the pinned clients")?;
            fs::write(&complete, "")?;
        }
        let home = tempfile::Builder::new()
            .prefix("countersign-clients-")
            .tempdir()?;
        Ok(Self {
            bin: folder.join("bin"),
            home,
            ca: None,
        })
    }

    /// The same, where every command trusts the certificates in this file and no others, by the variables that each
    /// client has for it.
    pub fn trusting(mut self, ca: &Path) -> Self {
        self.ca = Some(ca.to_owned());
        self
    }

    /// A command of the environment (`python`, `uv`, `twine`, `pypi-attestations`) that sees nothing of this machine's settings.
    pub fn command(&self, program: &str) -> Command {
        let home = self.home.path();
        let mut command = Command::new(self.bin.join(program));
        command.env_clear();
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        let mut folders = vec![self.bin.clone()];
        folders.extend(std::env::split_paths(&path));
        command
            .env("PATH", std::env::join_paths(folders).unwrap_or(path))
            .env("VIRTUAL_ENV", self.bin.parent().unwrap_or(&self.bin))
            .env("HOME", home)
            .env("TMPDIR", home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("LANG", "C.UTF-8")
            .env("COLUMNS", "400")
            .env("NO_COLOR", "1")
            .env("NO_PROXY", "*")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PYTHONUNBUFFERED", "1")
            .env("PIP_CONFIG_FILE", "/dev/null")
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("PIP_NO_INPUT", "1")
            .env("UV_NO_CONFIG", "1")
            .env("UV_NO_CACHE", "1")
            .env("UV_PYTHON_DOWNLOADS", "never")
            .env("UV_HTTP_RETRIES", "0")
            .current_dir(home);
        if let Some(ca) = &self.ca {
            // uv and whatever asks OpenSSL or rustls; twine; pip.
            for variable in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT"] {
                command.env(variable, ca);
            }
        }
        command
    }

    /// `pip install` of wheels from one index into a folder. `extra` are further options, such as `--no-deps`.
    pub fn pip_install(
        &self,
        index: &str,
        packages: &[&str],
        target: &Path,
        extra: &[&str],
    ) -> Result<Output> {
        let mut command = self.command("python");
        command.args([
            "-m",
            "pip",
            "install",
            "--no-cache-dir",
            "--only-binary",
            ":all:",
            "--no-compile",
        ]);
        command
            .args(["--progress-bar", "off", "--index-url", index, "--target"])
            .arg(target);
        output_of(command.args(extra).args(packages))
    }

    /// `pip download` from one index into a folder, whatever fits this machine; wheels only.
    pub fn pip_download(
        &self,
        index: &str,
        packages: &[&str],
        target: &Path,
        extra: &[&str],
    ) -> Result<Output> {
        let mut command = self.command("python");
        command.args([
            "-m",
            "pip",
            "download",
            "--no-cache-dir",
            "--only-binary",
            ":all:",
            "--progress-bar",
            "off",
        ]);
        output_of(
            command
                .args(["--index-url", index, "--dest"])
                .arg(target)
                .args(extra)
                .args(packages),
        )
    }

    /// `pip index versions` of a project.
    pub fn pip_index_versions(&self, index: &str, project: &str) -> Result<Output> {
        let mut command = self.command("python");
        output_of(command.args([
            "-m",
            "pip",
            "index",
            "versions",
            "--index-url",
            index,
            project,
        ]))
    }

    /// `uv pip install` of wheels from one index into a folder.
    pub fn uv_pip_install(
        &self,
        index: &str,
        packages: &[&str],
        target: &Path,
        extra: &[&str],
    ) -> Result<Output> {
        let mut command = self.command("uv");
        command.args([
            "pip",
            "install",
            "--no-progress",
            "--only-binary",
            ":all:",
            "--link-mode",
            "copy",
        ]);
        command.arg("--python").arg(self.bin.join("python"));
        output_of(
            command
                .args(["--default-index", index, "--target"])
                .arg(target)
                .args(extra)
                .args(packages),
        )
    }

    /// `uv publish` of files to an upload address.
    pub fn uv_publish(
        &self,
        url: &str,
        token: &str,
        files: &[impl AsRef<OsStr>],
        extra: &[&str],
    ) -> Result<Output> {
        let mut command = self.command("uv");
        command.args([
            "publish",
            "--no-progress",
            "--trusted-publishing",
            "never",
            "--publish-url",
            url,
        ]);
        output_of(command.args(["--token", token]).args(extra).args(files))
    }

    /// `uv publish --trusted-publishing always` of files to an upload address, in the job of a runner: no token is given,
    /// uv asks the runner for one and exchanges it. uv talks https to the registry whatever the address says.
    pub fn uv_publish_trusted(
        &self,
        runner: &Runner,
        url: &str,
        files: &[impl AsRef<OsStr>],
        extra: &[&str],
    ) -> Result<Output> {
        let mut command = self.command("uv");
        runner.apply(&mut command);
        command.args([
            "publish",
            "--no-progress",
            "--trusted-publishing",
            "always",
            "--publish-url",
            url,
        ]);
        output_of(command.args(extra).args(files))
    }

    /// `twine upload` of files to an upload address.
    pub fn twine_upload(
        &self,
        url: &str,
        token: &str,
        files: &[impl AsRef<OsStr>],
        extra: &[&str],
    ) -> Result<Output> {
        let mut command = self.command("twine");
        command.args([
            "upload",
            "--non-interactive",
            "--disable-progress-bar",
            "--verbose",
            "--repository-url",
            url,
        ]);
        output_of(
            command
                .args(["--username", "__token__", "--password", token])
                .args(extra)
                .args(files),
        )
    }

    /// `pypi-attestations verify pypi --offline` of a file by its provenance object, for an expected repository, with
    /// the trusted root of a private Sigstore in the place where its library keeps the public one's.
    pub fn verify_provenance(
        &self,
        sigstore: &PrivateSigstore,
        provenance: &Path,
        repository: &str,
        file: &Path,
    ) -> Result<Output> {
        let home = self.home.path();
        let kept = home.join("cache/sigstore-python/tuf").join(PUBLIC_ROOT);
        fs::create_dir_all(&kept)?;
        sigstore.write_trusted_root(&kept)?;
        let mut command = self.command("pypi-attestations");
        command.env("XDG_DATA_HOME", home.join("data"));
        command.args(["verify", "pypi", "--offline", "--provenance-file"]);
        output_of(
            command
                .arg(provenance)
                .args(["--repository", repository])
                .arg(file),
        )
    }

    /// The folder of RSTUF's tool and the older libraries that it calls, beside the environment; made once (about 10 seconds).
    pub(crate) fn rstuf_folder(&self) -> Result<PathBuf> {
        let environment = self.bin.parent().context("an environment has a folder")?;
        let name = hex::encode(&Sha256::digest(RSTUF)[..8]);
        let folder = environment.join(format!("rstuf-{name}"));
        let complete = folder.join("complete");
        let _lock = lock(&folder.with_extension("lock"))?;
        if !complete.is_file() {
            if folder.exists() {
                fs::remove_dir_all(&folder)?;
            }
            fs::create_dir_all(&folder)?;
            let requirements = folder.join("requirements.txt");
            fs::write(&requirements, RSTUF)?;
            let mut install = Command::new(self.bin.join("python"));
            install.args(["-m", "pip", "install", "--quiet", "--no-deps"]);
            install.arg("--disable-pip-version-check");
            install.arg("--target").arg(&folder).arg("-r");
            run(install.arg(&requirements)).context("cannot install RSTUF's tool")?;
            fs::write(&complete, "")?;
        }
        Ok(folder)
    }

    /// Runs a Python program of the kit's own, with this machine's settings (it may reach the outer index).
    pub(crate) fn script(&self, script: &Path) -> Command {
        let mut command = Command::new(self.bin.join("python"));
        command.arg(script);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packages::{Sdist, Wheel};

    #[test]
    fn real_pip_and_uv_install_a_built_wheel_with_its_dependency() {
        let clients = Clients::get().unwrap();
        let folder = tempfile::tempdir().unwrap();
        for wheel in [
            Wheel::new("testkit-first", "1.0")
                .requires("testkit_second>=2")
                .readme("# First\n"),
            Wheel::new("testkit-second", "2.1"),
        ] {
            wheel.build().write_to(folder.path()).unwrap();
        }
        let links = folder.path().to_str().unwrap();
        for installer in ["pip", "uv"] {
            let target = folder.path().join(installer);
            let mut command = clients.command(if installer == "pip" { "python" } else { "uv" });
            if installer == "pip" {
                command.args(["-m", "pip", "install"]);
            } else {
                command
                    .args(["pip", "install", "--python"])
                    .arg(clients.bin.join("python"));
            }
            command
                .args(["--no-index", "--find-links", links, "--target"])
                .arg(&target)
                .arg("testkit-first");
            run(&mut command).unwrap();
            let module = fs::read_to_string(target.join("testkit_second/__init__.py")).unwrap();
            assert_eq!(module, "__version__ = \"2.1\"\n");
        }
    }

    #[test]
    fn twine_finds_built_distributions_sound() {
        let clients = Clients::get().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let wheel = Wheel::new("testkit-check", "1.0")
            .readme("# Hello\n")
            .build()
            .write_to(folder.path())
            .unwrap();
        let sdist = Sdist::new("testkit-check", "1.0")
            .readme("# Hello\n")
            .build()
            .write_to(folder.path())
            .unwrap();
        run(clients
            .command("twine")
            .args(["check", "--strict"])
            .arg(wheel)
            .arg(sdist))
        .unwrap();
    }

    #[test]
    fn clients_see_only_the_index_they_are_given() {
        let clients = Clients::get().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let nowhere = "http://127.0.0.1:9/simple/";
        let output = clients
            .pip_install(nowhere, &["six"], folder.path(), &["--retries", "0"])
            .unwrap();
        assert!(!output.status.success());
        let output = clients
            .uv_pip_install(nowhere, &["six"], folder.path(), &[])
            .unwrap();
        assert!(!output.status.success());
    }
}
