//! What this user trusts: registries with their log's origin and keys, pinned once in a TOML file, and the newest
//! checkpoint of each log that was ever seen.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_trust::checkpoint::{self, VerifiedCheckpoint};
use countersign_trust::digest::Sha256;
use countersign_trust::note::{MAX_NOTE_BYTES, VerifierKey};
use countersign_trust::policy::{Policy, PolicyError};
use countersign_trust::sigstore::{TrustedKey, TrustedKeys, key_hint};
use countersign_trust::tuf::Limits;
use countersign_trust::tuf::client::{Client, Trusted};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::failure::{Exit, Failure, Result, plain};
use crate::remote::Remote;

/// The most keys that one registry may announce.
const MOST_KEYS: usize = 16;

/// A registry as pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// Its address.
    pub url: Url,
    /// Its log's origin.
    pub origin: String,
    /// Where the log is below the address.
    pub log: String,
    /// Its log's verifier keys (vkeys).
    pub keys: Vec<String>,
    /// The witnesses of its log, and which of them must have cosigned a checkpoint: a tlog-policy file
    /// (c2sp.org/tlog-policy). Without it the log's own signature is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The keys that it signs attestations of its own with; those that ended, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attestation_keys: Vec<AttestationKey>,
    /// The root of TUF for its indices, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuf: Option<PinnedTuf>,
}

/// The root from which all trust in a registry's TUF repositories begins (docs/spec/tuf.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedTuf {
    /// Where the metadata of the root of roots is, below the registry's address; an ecosystem's is in a folder below.
    pub metadata: String,
    /// Where targets are, below the registry's address.
    pub targets: String,
    /// The root of roots as it was signed, in base64.
    pub root: String,
}

impl PinnedTuf {
    /// The root's bytes.
    ///
    /// # Errors
    /// Exit 2 for a root that was damaged in the file.
    pub fn root(&self) -> Result<Vec<u8>> {
        let damaged = |why: String| {
            Failure::new(
                Exit::Usage,
                "tuf-root-damaged",
                format!("The pinned TUF root is damaged: {why}."),
            )
        };
        let bytes = STANDARD
            .decode(&self.root)
            .map_err(|error| damaged(error.to_string()))?;
        Client::begin(Trusted::root(bytes.clone()), 0, Limits::default())
            .map_err(|refusal| damaged(refusal.to_string()))?;
        Ok(bytes)
    }

    /// SHA-256 of the root's bytes, to compare with what the operators publish elsewhere.
    ///
    /// # Errors
    /// As [`PinnedTuf::root`].
    pub fn digest(&self) -> Result<Sha256> {
        Ok(Sha256::of(&self.root()?))
    }
}

/// A key that a registry signs attestations with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttestationKey {
    /// Its name in bundles: `SHA256:` and the base64 of the digest of its public key.
    pub hint: String,
    /// The public key in PEM.
    pub pem: String,
    /// Until when it signed, as the registry said; absent for the one in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl AttestationKey {
    fn parsed(&self) -> Result<TrustedKey> {
        let damaged = |why: String| {
            Failure::new(
                Exit::Usage,
                "key-damaged",
                format!(
                    "The attestation key {} is unusable: {why}.",
                    plain(&self.hint)
                ),
            )
        };
        let keys = TrustedKeys::from_pem(&self.hint, &self.pem, false)
            .map_err(|refusal| damaged(refusal.sentence))?;
        match keys.all() {
            [key] if key_hint(&key.spki) == self.hint => Ok(key.clone()),
            _ => Err(damaged("its name is not the digest of the key".to_owned())),
        }
    }
}

impl Pinned {
    /// The keys of attestations, parsed.
    ///
    /// # Errors
    /// Exit 2 for a key that was damaged in the file.
    pub fn attesters(&self) -> Result<TrustedKeys> {
        let keys = self.attestation_keys.iter().map(AttestationKey::parsed);
        TrustedKeys::new(keys.collect::<Result<_>>()?).map_err(|refusal| Failure {
            exit: Exit::Usage,
            ..Failure::from(refusal)
        })
    }

    /// When a pinned key of attestations ended, where it did.
    pub fn ended(&self, hint: &str) -> Option<&str> {
        let key = self.attestation_keys.iter().find(|key| key.hint == hint);
        key.and_then(|key| key.until.as_deref())
    }

    /// The keys, parsed.
    ///
    /// # Errors
    /// Exit 2 for a key that was damaged in the file.
    pub fn verifiers(&self) -> Result<Vec<VerifierKey>> {
        let parse = |key: &String| {
            key.parse().map_err(|error| {
                Failure::new(
                    Exit::Usage,
                    "key-damaged",
                    format!("The pinned key {key:?} is damaged: {error}."),
                )
                .remedy(format!(
                    "Pin the registry again: countersign trust add {}",
                    self.url
                ))
            })
        };
        self.keys.iter().map(parse).collect()
    }

    /// The log's path below the address, with slashes at both ends.
    pub fn log_path(&self) -> String {
        format!("/{}/", self.log.trim_matches('/'))
    }

    /// What a checkpoint of this log needs: the pinned policy, or else the log's own signature alone.
    ///
    /// # Errors
    /// Exit 2 for a policy that was damaged in the file, or that has other keys for this log than are pinned.
    pub fn policy(&self) -> Result<Policy> {
        let damaged = |why: String| {
            Failure::new(
                Exit::Usage,
                "policy-damaged",
                format!("The pinned policy of {} is unusable: {why}.", self.origin),
            )
            .remedy(format!(
                "Pin the registry again: countersign trust add {}",
                self.url
            ))
        };
        let keys = self.verifiers()?;
        let text = match &self.policy {
            Some(text) => text.clone(),
            None => {
                let logs: String = keys.iter().map(|key| format!("log {key}\n")).collect();
                format!("{logs}quorum none\n")
            }
        };
        let policy = Policy::parse(text.as_bytes()).map_err(|error| damaged(error.to_string()))?;
        let mut own = policy
            .logs()
            .iter()
            .filter(|log| log.key.name().as_str() == self.origin)
            .peekable();
        if own.peek().is_none() || own.any(|log| !keys.contains(&log.key)) {
            return Err(damaged(
                "its keys for this log are not the pinned ones".to_owned(),
            ));
        }
        Ok(policy)
    }

    /// Opens a signed checkpoint of this registry's log: signed by the log, and cosigned by the witnesses that the pinned
    /// policy asks for.
    ///
    /// # Errors
    /// Exit 3 when it is not.
    pub fn open_checkpoint(&self, note: &[u8]) -> Result<VerifiedCheckpoint> {
        self.policy()?
            .open(note, &self.origin)
            .map_err(|error| self.unverified(&error))
    }

    /// Opens a checkpoint that was believed before, perhaps under another policy: the log's signature is enough.
    ///
    /// # Errors
    /// Exit 3 when no pinned key of the log has signed it.
    fn open_remembered(&self, note: &[u8]) -> Result<VerifiedCheckpoint> {
        checkpoint::open(note, &self.verifiers()?, &self.origin)
            .map_err(|error| self.unverified(&error.into()))
    }

    /// What is wrong with a checkpoint of this log.
    fn unverified(&self, error: &PolicyError) -> Failure {
        let message = format!(
            "The checkpoint of {} does not verify: {error}.",
            self.origin
        );
        match error {
            PolicyError::Quorum { .. } => Failure::unverified("quorum", message).remedy(
                "Without its witnesses a log can show you another history than it shows others. Ask again later; if it stays so, ask the registry's operators.",
            ),
            _ => Failure::unverified("checkpoint", message).remedy(
                "If the registry changed its keys, it says so elsewhere than in its own answer; pin the new ones only when you know.",
            ),
        }
    }

    /// The names of the witnesses that must have signed, for people; `None` where none need.
    ///
    /// # Errors
    /// As [`Pinned::policy`].
    pub fn witnesses(&self) -> Result<Option<String>> {
        let policy = self.policy()?;
        if policy.quorum_met(Vec::<&str>::new()) {
            return Ok(None);
        }
        let names: Vec<&str> = policy
            .witnesses()
            .iter()
            .map(|witness| witness.name.as_str())
            .collect();
        Ok(Some(format!(
            "{} of {}",
            plain(policy.quorum()),
            plain(&names.join(", "))
        )))
    }
}

/// What a registry says about itself, not yet believed.
#[derive(Debug, Deserialize)]
struct Announced {
    log: AnnouncedLog,
    #[serde(default)]
    attestation_keys: Vec<AnnouncedKey>,
    tuf: Option<AnnouncedTuf>,
}

#[derive(Debug, Deserialize)]
struct AnnouncedTuf {
    targets_path: String,
    repositories: Vec<AnnouncedRepository>,
}

#[derive(Debug, Deserialize)]
struct AnnouncedRepository {
    name: String,
    metadata_path: String,
    root_version: u64,
}

/// The newest root of roots. Later ones are followed from it, as its keys say.
fn announced_tuf(announced: &AnnouncedTuf, remote: &Remote) -> Result<Option<PinnedTuf>> {
    let mut all = announced.repositories.iter();
    let Some(roots) = all.find(|repository| repository.name == "roots") else {
        return Ok(None);
    };
    let below = |path: &str| {
        let usable = path.starts_with('/') && path.len() <= 200 && !path.contains(['?', '#', '\\']);
        usable
            .then(|| format!("/{}/", path.trim_matches('/')))
            .ok_or_else(|| {
                Failure::new(
                    Exit::Unreachable,
                    "announcement",
                    format!("{:?} is no path for TUF.", plain(path)),
                )
            })
    };
    let metadata = below(&roots.metadata_path)?;
    let most = usize::try_from(Limits::default().root_bytes).unwrap_or(usize::MAX);
    let root = remote.get(&format!("{metadata}{}.root.json", roots.root_version), most)?;
    let pinned = PinnedTuf {
        metadata,
        targets: below(&announced.targets_path)?,
        root: STANDARD.encode(root),
    };
    pinned.root()?;
    Ok(Some(pinned))
}

/// Registries may say more about a key than is pinned.
#[derive(Debug, Deserialize)]
struct AnnouncedKey {
    hint: String,
    pem: String,
    until: Option<String>,
}

#[derive(Debug, Deserialize)]
struct AnnouncedLog {
    origin: String,
    verifier_keys: Vec<String>,
    url: String,
    policy: Option<String>,
}

/// Asks a registry for its origin and keys. The person decides whether to pin them.
///
/// # Errors
/// [`Exit::Unreachable`] for registries that do not answer with an announcement; [`Exit::Verification`] when the
/// announced keys are not those of the announced origin.
pub fn announced(url: &Url, remote: &Remote) -> Result<Pinned> {
    let body = remote.get("/.well-known/countersign.json", 256 << 10)?;
    let unusable = |why: String| {
        Failure::new(
            Exit::Unreachable,
            "announcement",
            format!(
                "{} does not announce itself as a Countersign registry: {why}.",
                remote.site()
            ),
        )
    };
    let announced: Announced =
        serde_json::from_slice(&body).map_err(|error| unusable(error.to_string()))?;
    if announced.attestation_keys.len() > MOST_KEYS {
        return Err(unusable("it names too many attestation keys".to_owned()));
    }
    let tuf = match &announced.tuf {
        Some(tuf) => announced_tuf(tuf, remote)?,
        None => None,
    };
    let attestation_keys = announced.attestation_keys.into_iter();
    let attestation_keys = attestation_keys.map(|key| AttestationKey {
        hint: key.hint,
        pem: key.pem,
        until: key.until,
    });
    let AnnouncedLog {
        origin,
        verifier_keys: keys,
        url: log,
        policy,
    } = announced.log;
    if keys.is_empty() || keys.len() > MOST_KEYS {
        return Err(unusable(format!("it names {} keys", keys.len())));
    }
    // The log is served under the registry's own address; only the path is taken over.
    let log = match Url::parse(&log) {
        Ok(absolute) => absolute.path().to_owned(),
        Err(_) => log,
    };
    if log.len() > 200 || log.contains(['?', '#']) {
        return Err(unusable("its log has no usable address".to_owned()));
    }
    let pinned = Pinned {
        url: url.clone(),
        origin,
        log,
        keys,
        policy,
        attestation_keys: attestation_keys.collect(),
        tuf,
    };
    pinned.attesters()?;
    for key in pinned.verifiers()? {
        if key.name().as_str() != pinned.origin {
            return Err(Failure::unverified(
                "key-origin",
                format!(
                    "The key {} is not one of the log {}.",
                    key.name(),
                    pinned.origin
                ),
            ));
        }
    }
    // After the keys: a policy that names others would let them sign for this log.
    pinned.policy()?;
    Ok(pinned)
}

/// The trust file.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustFile {
    /// The pinned registries.
    #[serde(default, rename = "registry")]
    pub registries: Vec<Pinned>,
}

/// Where the user keeps configuration and state (XDG), with `COUNTERSIGN_HOME` in place of both for tests and CI.
pub(crate) fn folder(variable: &str, fallback: &str) -> Result<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(home) = set("COUNTERSIGN_HOME") {
        return Ok(home);
    }
    set(variable)
        .or_else(|| set("HOME").map(|home| home.join(fallback)))
        .map(|base| base.join("countersign"))
        .ok_or_else(|| {
            Failure::new(
                Exit::Environment,
                "no-home",
                "Neither HOME nor COUNTERSIGN_HOME is set.",
            )
            .remedy("Set COUNTERSIGN_HOME to a directory of this user.")
        })
}

/// Where pins are kept by default.
///
/// # Errors
/// Exit 1 without a home directory.
pub fn default_path() -> Result<PathBuf> {
    Ok(folder("XDG_CONFIG_HOME", ".config")?.join("trust.toml"))
}

impl TrustFile {
    /// Reads the file; a missing one is an empty one.
    ///
    /// # Errors
    /// Exit 2 for a file that is damaged.
    pub fn load(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => {
                return Err(Failure::new(
                    Exit::Environment,
                    "trust-file",
                    format!("{} can not be read: {error}.", path.display()),
                ));
            }
        };
        toml::from_str(&text).map_err(|error| {
            Failure::new(
                Exit::Usage,
                "trust-file",
                format!("{} is damaged: {}.", path.display(), error.message()),
            )
            .remedy("Mend it, or move it away and pin your registries again.")
        })
    }

    /// Writes the file, all of it or nothing.
    ///
    /// # Errors
    /// Exit 1 when it can not be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let text = toml::to_string_pretty(self)
            .map_err(|error| Failure::new(Exit::Environment, "trust-file", error.to_string()))?;
        write_whole(
            path,
            format!(
                "# Registries that this user trusts; written by `countersign trust add`.\n\n{text}"
            )
            .as_bytes(),
        )
    }

    /// Pins a registry. One that is pinned under the same origin with other keys, or another policy, is replaced only if
    /// `replace` is set. One that was pinned without a policy takes the first one.
    ///
    /// # Errors
    /// Exit 3 when other keys or another policy are pinned for this origin.
    pub fn pin(&mut self, fresh: Pinned, replace: bool) -> Result<()> {
        if let Some(old) = self
            .registries
            .iter_mut()
            .find(|old| old.origin == fresh.origin)
        {
            if old.keys != fresh.keys && !replace {
                return Err(Failure::unverified("key-changed", format!("{} announces other keys than those you pinned for the log {}.", fresh.url, fresh.origin))
                    .remedy("This is what an attack looks like. If you know from elsewhere that the keys were changed, add --replace."));
            }
            let kept = |key: &AttestationKey| {
                fresh
                    .attestation_keys
                    .iter()
                    .any(|one| one.hint == key.hint && one.pem == key.pem)
            };
            if !replace && !old.attestation_keys.iter().all(kept) {
                return Err(Failure::unverified("key-changed", format!("{} no longer announces an attestation key that you pinned.", fresh.url))
                    .remedy("A registry goes on naming the keys that it signed with. If you know from elsewhere why this one is gone, add --replace."));
            }
            if old.policy.is_some() && old.policy != fresh.policy && !replace {
                return Err(Failure::unverified("policy-changed", format!("{} announces other witnesses of its log than those you pinned.", fresh.url))
                    .remedy("Who can drop a log's witnesses can show you another history. If you know from elsewhere that they were changed, add --replace."));
            }
            // A newer root is one that the pinned one leads to; which that is, the state of the client knows.
            let tuf = match (&old.tuf, &fresh.tuf) {
                (Some(old), Some(new)) if !replace && old.metadata == new.metadata => {
                    Some(old.clone())
                }
                (Some(_), None) if !replace => {
                    return Err(Failure::unverified("key-changed", format!("{} no longer announces the TUF root that you pinned.", fresh.url))
                        .remedy("This is what an attack looks like. If you know from elsewhere why it is gone, add --replace."));
                }
                (_, new) => new.clone(),
            };
            *old = Pinned { tuf, ..fresh };
        } else {
            self.registries.push(fresh);
        }
        Ok(())
    }

    /// The registry at an address, or the only one there is.
    ///
    /// # Errors
    /// Exit 2 when none fits.
    pub fn registry(&self, url: Option<&Url>) -> Result<&Pinned> {
        match (url, self.registries.as_slice()) {
            (Some(url), _) => self.at(url.as_str()).ok_or_else(|| {
                Failure::new(
                    Exit::Usage,
                    "not-pinned",
                    format!("No key is pinned for {url}."),
                )
                .remedy(format!("Pin it: countersign trust add {url}"))
            }),
            (None, [only]) => Ok(only),
            (None, []) => {
                Err(
                    Failure::new(Exit::Usage, "nothing-pinned", "No registry is pinned yet.")
                        .remedy("Pin one: countersign trust add URL"),
                )
            }
            (None, all) => {
                let known: Vec<_> = all
                    .iter()
                    .map(|pinned| pinned.url.as_str().trim_end_matches('/'))
                    .collect();
                Err(Failure::new(
                    Exit::Usage,
                    "which-registry",
                    "Several registries are pinned.",
                )
                .remedy(format!(
                    "Say which with --registry URL: {}",
                    known.join(", ")
                )))
            }
        }
    }

    /// The pinned registry at this address, with or without a slash at its end.
    pub fn at(&self, site: &str) -> Option<&Pinned> {
        self.registries
            .iter()
            .find(|pinned| pinned.url.as_str().trim_end_matches('/') == site.trim_end_matches('/'))
    }

    /// The registry whose log has this origin.
    pub fn by_origin(&self, origin: &str) -> Option<&Pinned> {
        self.registries
            .iter()
            .find(|pinned| pinned.origin == origin)
    }
}

/// The newest checkpoint of a log that this user has seen, kept as signed: it is the evidence if the log ever forks.
pub struct Seen {
    path: PathBuf,
}

impl Seen {
    /// The place for the log `origin`.
    ///
    /// # Errors
    /// Exit 1 without a home directory.
    pub fn of(origin: &str) -> Result<Self> {
        let name = format!("{}.note", &Sha256::of(origin.as_bytes()).to_hex()[..32]);
        Ok(Self {
            path: folder("XDG_STATE_HOME", ".local/state")?
                .join("checkpoints")
                .join(name),
        })
    }

    /// The place for the log `origin` in a folder.
    #[must_use]
    pub fn within(folder: &Path, origin: &str) -> Self {
        let name = format!("{}.note", &Sha256::of(origin.as_bytes()).to_hex()[..32]);
        Self {
            path: folder.join("checkpoints").join(name),
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoint seen last, verified again.
    ///
    /// # Errors
    /// Exit 1 when it can not be read, exit 3 when it no longer verifies.
    pub fn last(&self, pinned: &Pinned) -> Result<Option<VerifiedCheckpoint>> {
        let note = self.note()?;
        note.map(|note| pinned.open_remembered(&note)).transpose()
    }

    /// The checkpoint seen last, as it came.
    ///
    /// # Errors
    /// Exit 1 when it can not be read.
    pub fn note(&self) -> Result<Option<Vec<u8>>> {
        match fs::read(&self.path) {
            Ok(note) if note.len() <= MAX_NOTE_BYTES => Ok(Some(note)),
            Ok(_) => Err(Failure::new(
                Exit::Environment,
                "seen",
                format!("{} is too long for a checkpoint.", self.path.display()),
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::new(
                Exit::Environment,
                "seen",
                format!("{} can not be read: {error}.", self.path.display()),
            )),
        }
    }

    /// Remembers a checkpoint.
    ///
    /// # Errors
    /// Exit 1 when it can not be written.
    pub fn remember(&self, note: &[u8]) -> Result<()> {
        write_whole(&self.path, note)
    }

    /// Keeps a checkpoint that contradicts the remembered one beside it, and says where.
    ///
    /// # Errors
    /// Exit 1 when it can not be written.
    pub fn keep_evidence(&self, note: &[u8]) -> Result<PathBuf> {
        let path = self.path.with_extension(format!(
            "conflict-{}.note",
            &Sha256::of(note).to_hex()[..16]
        ));
        write_whole(&path, note)?;
        Ok(path)
    }
}

/// Writes a file, all of it or nothing.
///
/// # Errors
/// Exit 1 when it can not be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    write(path, bytes, &mut fs::OpenOptions::new())
}

/// Writes a file, all of it or nothing, for the eyes of this user only.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    write(path, bytes, &mut options)
}

fn write(path: &Path, bytes: &[u8], options: &mut fs::OpenOptions) -> Result<()> {
    let mut written = || -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent)?;
        // A name of its own: another thread may be writing the same file, and would take this one away half written.
        let fresh = path.with_extension(format!("new-{:016x}", rand::random::<u64>()));
        let mut file = options.write(true).create_new(true).open(&fresh)?;
        let whole = file
            .write_all(bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&fresh, path));
        if whole.is_err() {
            // Nothing is lost with it.
            let _ = fs::remove_file(&fresh);
        }
        whole
    };
    written().map_err(|error| {
        Failure::new(
            Exit::Environment,
            "write",
            format!("{} can not be written: {error}.", path.display()),
        )
    })
}
