//! The state of a witness: one folder for each log, and in it the note of the largest tree that was cosigned.
//!
//! ```text
//! DIR/witness                       which witness this is the state of; made by `init`, never by `serve`
//! DIR/lock                          held while a process serves
//! DIR/<origin hash>/checkpoint      the state of one log; what a monitor reads, byte for byte
//! DIR/<origin hash>/checkpoint.new  being written
//! DIR/<origin hash>/fork-<hash>     a checkpoint that the log signed against the one that is stored
//! ```
//!
//! A state is written to `checkpoint.new`, synced, renamed, and its folder synced; only then the answer goes out. What a
//! crash leaves: before the rename, the old state, perhaps with a leftover that the next write replaces; after it, the
//! old or the new state, both whole. Where it is the new one, nobody has its cosignature yet; the log asks again from
//! the old size, is told the new one (409), and gets the signature by asking for the same tree from there. In no case
//! has anybody a signature over a tree that the state does not continue.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use countersign_trust::checkpoint::Checkpoint;
use countersign_trust::digest::Sha256;
use countersign_trust::note::{KeyName, MAX_NOTE_BYTES};
use countersign_trust::witness::{
    AddCheckpoint, KnownLog, KnownLogs, Latest, Refusal, SignSubtree, Witness, origin_hash,
};

use crate::failure::{Exit, Failure, Result};

const MARK: &str = "countersign-witness-state/v1";
/// The most contradictions of one log that are kept.
const MOST_FORKS: usize = 16;

/// Why there is no signature.
#[derive(Debug)]
pub enum Unsigned {
    /// The protocol's no.
    Refused(Refusal),
    /// The state could not be written; what is stored is what was there before.
    NotWritten(io::Error),
}

impl From<Refusal> for Unsigned {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Makes an empty state for a witness of this name.
///
/// # Errors
/// Exit 2 where there is a state already, exit 1 when it can not be written.
pub fn create(folder: &Path, name: &KeyName) -> Result<()> {
    let failed = |error: io::Error| unusable(folder, &error.to_string());
    fs::create_dir_all(folder).map_err(failed)?;
    let mark = folder.join("witness");
    let file = OpenOptions::new().write(true).create_new(true).open(&mark);
    let mut file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Failure::new(
                Exit::Usage,
                "witness-state",
                format!("{} holds the state of a witness already.", folder.display()),
            )
            .remedy("Serve with it, or name another folder."));
        }
        Err(error) => return Err(failed(error)),
    };
    file.write_all(format!("{MARK}\nname {name}\n").as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_folder(folder))
        .map_err(failed)
}

/// The states of all logs of a witness that serves.
#[derive(Debug)]
pub struct States {
    witness: Witness,
    folder: PathBuf,
    logs: BTreeMap<String, Slot>,
    /// Origins by their hash.
    hashes: HashMap<String, String>,
    /// Held as long as this lives, so that no second process signs from the same state.
    _lock: File,
}

#[derive(Debug)]
struct Slot {
    log: KnownLog,
    folder: PathBuf,
    /// Held by whoever decides, until the new state is written and shown: two requests are never decided from one
    /// state.
    turn: Mutex<()>,
    /// What is stored. Locked for a moment only, so that readers never wait for the disk.
    latest: RwLock<Option<Arc<Latest>>>,
}

impl States {
    /// Takes the state in `folder` and reads what it holds of each log.
    ///
    /// # Errors
    /// Exit 2 for a folder that is no state of this witness or is in use; exit 3 for a state that is damaged.
    pub fn open(folder: &Path, witness: Witness, known: KnownLogs) -> Result<Self> {
        let name = witness
            .verifiers()
            .first()
            .map(|key| key.name().to_string());
        let name = name.unwrap_or_default();
        let mark = match fs::read_to_string(folder.join("witness")) {
            Ok(mark) => mark,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::new(
                    Exit::Usage,
                    "witness-state",
                    format!("There is no state of a witness in {}.", folder.display()),
                )
                .remedy(
                    "If there was one, find it: with an empty state this key would sign a second history. \
                     For a new witness: countersign witness init",
                ));
            }
            Err(error) => return Err(unusable(folder, &error.to_string())),
        };
        if mark != format!("{MARK}\nname {name}\n") {
            return Err(Failure::new(
                Exit::Usage,
                "witness-state",
                format!(
                    "{} is not the state of the witness {name}.",
                    folder.display()
                ),
            )
            .remedy("Name the folder and the keys that belong together."));
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join("lock"))
            .map_err(|error| unusable(folder, &error.to_string()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(
                    Exit::Usage,
                    "witness-state",
                    format!("Another process serves from {}.", folder.display()),
                )
                .remedy("Stop it first; one state is for one process."));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(folder, &error.to_string())),
        }
        let (mut logs, mut hashes) = (BTreeMap::new(), HashMap::new());
        for log in known.iter() {
            let hash = origin_hash(log.origin());
            let place = folder.join(&hash);
            let latest = read(&place.join("checkpoint"), log, &witness)?;
            hashes.insert(hash, log.origin().to_owned());
            let slot = Slot {
                log: log.clone(),
                folder: place,
                turn: Mutex::new(()),
                latest: RwLock::new(latest.map(Arc::new)),
            };
            logs.insert(log.origin().to_owned(), slot);
        }
        Ok(Self {
            witness,
            folder: folder.to_owned(),
            logs,
            hashes,
            _lock: lock,
        })
    }

    /// The witness.
    #[must_use]
    pub fn witness(&self) -> &Witness {
        &self.witness
    }

    /// How many logs it knows.
    #[must_use]
    pub fn logs(&self) -> usize {
        self.logs.len()
    }

    /// What is stored of the log with this hash of its origin.
    #[must_use]
    pub fn latest(&self, hash: &str) -> Option<Arc<Latest>> {
        self.slot(self.hashes.get(hash)?)?.seen()
    }

    fn slot(&self, origin: &str) -> Option<&Slot> {
        self.logs.get(origin)
    }

    fn known(&self, origin: &str) -> std::result::Result<&Slot, Refusal> {
        self.slot(origin).ok_or_else(|| Refusal::UnknownLog {
            origin: origin.to_owned(),
        })
    }

    /// Cosigns a checkpoint and gives the answer's lines, once the new state can not be lost. `now` is in seconds
    /// since 1970 UTC, asked for once the log's turn has come. Blocks.
    ///
    /// # Errors
    /// [`Unsigned`]; then the state is what it was.
    pub fn add_checkpoint(
        &self,
        request: &AddCheckpoint,
        now: impl FnOnce() -> u64,
    ) -> std::result::Result<String, Unsigned> {
        let slot = self.known(&request.checkpoint().origin)?;
        let authentic = request.authenticate(&slot.log)?;
        // A panic while this was held can have left the memory behind the file, but never ahead of it: nothing was
        // answered, and the file is replaced as a whole.
        let _turn = slot.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = slot.seen();
        let cosigned = self
            .witness
            .cosign(&authentic, latest.as_deref(), now())
            .inspect_err(|refusal| {
                if let (Refusal::Inconsistent { .. }, Some(stored)) = (refusal, latest.as_deref()) {
                    slot.keep_fork(request, stored.checkpoint());
                }
            })?;
        let (new, answer) = cosigned
            .persist(|new| self.write(slot, new))
            .map_err(Unsigned::NotWritten)?;
        *slot.latest.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(new));
        Ok(answer)
    }

    /// Signs a subtree of a tree that was cosigned.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn sign_subtree(&self, request: &SignSubtree) -> std::result::Result<String, Refusal> {
        let slot = self.known(&request.checkpoint().origin)?;
        self.witness.sign_subtree(&slot.log, request)
    }

    fn write(&self, slot: &Slot, latest: &Latest) -> io::Result<()> {
        if !slot.folder.is_dir() {
            fs::create_dir(&slot.folder)?;
            sync_folder(&self.folder)?;
        }
        let (new, place) = (
            slot.folder.join("checkpoint.new"),
            slot.folder.join("checkpoint"),
        );
        let mut file = File::create(&new)?;
        file.write_all(latest.note().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &place)?;
        sync_folder(&slot.folder)
    }
}

impl Slot {
    fn seen(&self) -> Option<Arc<Latest>> {
        self.latest
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Two roots of one size under the log's signature prove by themselves that it forked. Keeping them helps whoever
    /// looks into it; that they can not be kept changes nothing about the refusal.
    fn keep_fork(&self, request: &AddCheckpoint, stored: &Checkpoint) {
        let new = request.checkpoint();
        if new.size != stored.size || new.root == stored.root {
            return;
        }
        let name = Sha256::of(new.to_note_text().as_bytes()).to_hex();
        let path = self.folder.join(format!("fork-{}", &name[..16]));
        let kept = fs::read_dir(&self.folder).map(|entries| {
            let names = entries.flatten().map(|entry| entry.file_name());
            names
                .filter(|name| name.to_string_lossy().starts_with("fork-"))
                .count()
        });
        if kept.is_ok_and(|kept| kept < MOST_FORKS) && !path.exists() {
            let written = fs::write(&path, request.note().to_string());
            if let Err(error) = written {
                eprintln!("{} can not be written: {error}", path.display());
            }
        }
    }
}

/// The stored state of a log, checked.
fn read(path: &Path, log: &KnownLog, witness: &Witness) -> Result<Option<Latest>> {
    let damaged = |why: String| {
        Failure::unverified(
            "witness-state",
            format!(
                "The state of the log {} in {} can not be used: {why}.",
                log.origin(),
                path.display()
            ),
        )
        .remedy(
            "Find out what happened to it. Removing it would let this witness sign a second history of the log; where \
             it is lost, go on with a new key.",
        )
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(damaged(error.to_string())),
    };
    let mut note = Vec::new();
    file.take(MAX_NOTE_BYTES as u64 + 1)
        .read_to_end(&mut note)
        .map_err(|error| damaged(error.to_string()))?;
    let latest = witness.resume(log, &note);
    latest.map(Some).map_err(|error| damaged(error.to_string()))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn unusable(folder: &Path, why: &str) -> Failure {
    Failure::new(
        Exit::Environment,
        "witness-state",
        format!("The state in {} can not be used: {why}.", folder.display()),
    )
}
