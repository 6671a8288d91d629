//! Keeping up with a TUF repository: what the state machine of `countersign-trust` asks for is fetched, and what it
//! trusts is kept in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use countersign_trust::tuf::client::{Client, Look, Request, Trusted};
use countersign_trust::tuf::{Limits, Refusal, TargetCheck, TargetFile, file_stem, role_of_stem};

use crate::failure::{Exit, Failure, Result};
use crate::remote::Remote;

/// A folder with what is trusted of one repository: a file for each role, as it came.
pub struct Folder(PathBuf);

fn environment(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Environment,
        "tuf-folder",
        format!("{} can not be used: {error}.", path.display()),
    )
}

impl From<Refusal> for Failure {
    /// Metadata or a target that does not hold.
    fn from(refusal: Refusal) -> Self {
        Self::unverified(refusal.code(), format!("{refusal}."))
    }
}

impl Folder {
    /// A folder that is there.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// What is kept. Nothing of it is believed but the root.
    ///
    /// # Errors
    /// Where the folder or a file in it can not be read, or there is no root.
    pub fn load(&self) -> Result<Trusted> {
        let mut trusted = Trusted::default();
        for entry in fs::read_dir(&self.0).map_err(|error| environment(&self.0, &error))? {
            let path = entry.map_err(|error| environment(&self.0, &error))?.path();
            let role = path
                .file_name()
                .and_then(|name| name.to_str()?.strip_suffix(".json"))
                .and_then(role_of_stem);
            if let Some(role) = role {
                let bytes = fs::read(&path).map_err(|error| environment(&path, &error))?;
                trusted.put(&role, bytes);
            }
        }
        if trusted.root.is_empty() {
            return Err(Failure::new(
                Exit::Usage,
                "tuf-no-root",
                format!("{} has no trusted root.", self.0.display()),
            ));
        }
        Ok(trusted)
    }

    /// Keeps the document of a role: whole, or not at all.
    ///
    /// # Errors
    /// Where the file can not be written.
    pub fn keep(&self, role: &str, bytes: &[u8]) -> Result<()> {
        put(&self.0.join(format!("{}.json", file_stem(role))), bytes)
    }

    /// Makes it, where it is missing.
    ///
    /// # Errors
    /// Where that can not be done.
    pub fn create(&self) -> Result<()> {
        fs::create_dir_all(&self.0).map_err(|error| environment(&self.0, &error))
    }

    /// Whether it has a root to begin with.
    #[must_use]
    pub fn has_root(&self) -> bool {
        self.0.join("root.json").is_file()
    }

    /// Waits until no other process keeps up with this repository, and holds it until the file is dropped: two that
    /// write would lead each other back.
    ///
    /// # Errors
    /// Where the folder can not be used.
    pub fn lock(&self) -> Result<fs::File> {
        let path = self.0.join("lock");
        let open = || {
            let file = fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            file.lock()?;
            Ok(file)
        };
        open().map_err(|error| environment(&path, &error))
    }
}

/// Writes a file beside its place and moves it there.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    // A crash before the rename leaves the old file, one after it the new: what was seen may be forgotten, never
    // damaged. Synced, since it is what protects from being led back.
    let beside = path.with_extension("part");
    let written = || {
        let mut file = fs::File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&beside, path)
    };
    written().map_err(|error| environment(path, &error))
}

/// A repository that is kept up with.
pub struct Updater<'a> {
    client: Client,
    metadata: &'a Remote,
    folder: &'a Folder,
}

impl<'a> Updater<'a> {
    /// Brings what is trusted up to date. `now` is seconds since 1970 UTC.
    ///
    /// # Errors
    /// [`Exit::Verification`] for metadata that does not hold, [`Exit::Unreachable`], and as [`Folder`].
    pub fn refresh(folder: &'a Folder, metadata: &'a Remote, now: i64) -> Result<Self> {
        let mut updater = Self {
            client: Client::begin(folder.load()?, now, Limits::default())?,
            metadata,
            folder,
        };
        while let Some(request) = updater.client.wanted()? {
            updater.fetch(&request)?;
        }
        Ok(updater)
    }

    fn fetch(&mut self, request: &Request) -> Result<()> {
        let most = usize::try_from(request.most).unwrap_or(usize::MAX);
        let answer = self.metadata.find(&format!("/{}", request.file), most)?;
        let taken = self.client.give(request, answer.as_deref());
        for role in self.client.take_changed() {
            if let Some(bytes) = self.client.trusted().document(&role) {
                self.folder.keep(&role, bytes)?;
            }
        }
        Ok(taken?)
    }

    /// What the repository says of a target; `None` where nobody who may speak for it lists it.
    ///
    /// # Errors
    /// As [`Updater::refresh`].
    pub fn look(&mut self, path: &str) -> Result<Option<TargetFile>> {
        loop {
            match self.client.look(path)? {
                Look::Fetch(request) => self.fetch(&request)?,
                Look::Found { target, .. } => return Ok(Some(target)),
                Look::Absent => return Ok(None),
            }
        }
    }

    /// Fetches a target into a file, unless that has these very bytes.
    ///
    /// # Errors
    /// [`Exit::Verification`] for other bytes, [`Exit::Unreachable`], and where the file can not be written.
    pub fn download(
        &self,
        path: &str,
        target: &TargetFile,
        targets: &Remote,
        to: &Path,
    ) -> Result<()> {
        if fs::read(to).is_ok_and(|bytes| target.check(path, &bytes).is_ok()) {
            return Ok(());
        }
        for name in self.client.names_of(path, target) {
            let parts: Vec<String> = name.split('/').map(file_stem).collect();
            let (mut check, mut bytes) = (TargetCheck::new(path, target)?, Vec::new());
            let found = targets.download(
                &format!("/{}", parts.join("/")),
                target.length,
                &mut |piece| {
                    check.take(piece)?;
                    bytes.extend_from_slice(piece);
                    Ok(())
                },
            )?;
            if found {
                check.finish()?;
                return put(to, &bytes);
            }
        }
        Err(Failure::new(
            Exit::Unreachable,
            "tuf-target-missing",
            format!(
                "{} lists a target that {} does not have.",
                self.metadata.site(),
                targets.site()
            ),
        ))
    }
}
