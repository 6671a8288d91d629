//! What was refused and why, in one file that anyone can check again without a network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_formats::Ecosystem;
use countersign_trust::digest::Sha256;
use countersign_trust::tuf::Limits;
use countersign_trust::tuf::client::{Client, Look, Request, Trusted};
use serde::{Deserialize, Serialize};

use super::page;
use super::session::target_path;
use crate::failure::{Exit, Failure, Result, plain};
use crate::trusted::{Pinned, write_whole};

/// What the file says that it is.
const FORMAT: &str = "countersign-evidence/v1";
/// The longest file that is read, in bytes.
const MOST: usize = 128 << 20;
/// The most bytes of an answer that are kept.
const MOST_ANSWER: usize = 8 << 20;
/// The most files of evidence that are kept; the oldest go first.
const MOST_FILES: usize = 200;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The time that it was held against, seconds since 1970 UTC.
    pub now: i64,
    /// The documents that were trusted then, by role, in base64.
    trusted: BTreeMap<String, String>,
    /// What came then.
    step: Step,
}

/// What came, in base64 where it is bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Nothing: what was trusted does not hold any more.
    Refresh,
    /// A document of TUF.
    Metadata {
        /// Its role.
        role: String,
        /// The file that was asked for.
        file: String,
        /// The target that was looked for, where it is a role that is delegated to.
        path: Option<String>,
        /// The answer, cut after so many bytes that its length alone is wrong; none where the answer was that it is not there.
        answer: Option<String>,
    },
    /// The bytes of a target.
    Target {
        /// Its path.
        path: String,
        /// What came.
        answer: String,
    },
    /// All that the log is said to have of a project.
    Completeness {
        /// The ecosystem.
        ecosystem: Ecosystem,
        /// The project.
        key: String,
        /// The signed index document.
        document: String,
        /// The text.
        text: String,
    },
    /// A file.
    File {
        /// The ecosystem.
        ecosystem: Ecosystem,
        /// The project.
        key: String,
        /// The signed index document.
        document: String,
        /// The file's name.
        filename: String,
        /// What came, cut one byte after the length that is signed.
        answer: Option<String>,
        /// SHA-256 of what came.
        sha256: String,
    },
}

fn cut(bytes: &[u8], most: u64) -> String {
    let most = usize::try_from(most)
        .unwrap_or(MOST_ANSWER)
        .min(MOST_ANSWER);
    STANDARD.encode(bytes.get(..most.saturating_add(1)).unwrap_or(bytes))
}

impl Step {
    /// An answer to a request for metadata; `path` is the target that was looked for.
    pub fn metadata(request: &Request, path: Option<&str>, answer: Option<&[u8]>) -> Self {
        Self::Metadata {
            role: request.role.clone(),
            file: request.file.clone(),
            path: path.map(str::to_owned),
            answer: answer.map(|bytes| cut(bytes, request.most)),
        }
    }

    /// The bytes that came for a target.
    pub fn target(path: &str, answer: &[u8]) -> Self {
        Self::Target {
            path: path.to_owned(),
            answer: cut(answer, u64::MAX),
        }
    }

    /// What the log is said to have of a project.
    pub fn completeness(ecosystem: Ecosystem, key: &str, document: &[u8], text: &[u8]) -> Self {
        Self::Completeness {
            ecosystem,
            key: key.to_owned(),
            document: STANDARD.encode(document),
            text: STANDARD.encode(text),
        }
    }

    /// A file with another digest than the signed one. Large ones are not kept.
    pub fn file(
        ecosystem: Ecosystem,
        key: &str,
        document: &[u8],
        filename: &str,
        came: &str,
        bytes: Option<&[u8]>,
    ) -> Self {
        let bytes = bytes.filter(|bytes| bytes.len() <= MOST_ANSWER);
        Self::File {
            ecosystem,
            key: key.to_owned(),
            document: STANDARD.encode(document),
            filename: filename.to_owned(),
            answer: bytes.map(|bytes| STANDARD.encode(bytes)),
            sha256: came.to_owned(),
        }
    }
}

impl Seen {
    /// What came when these documents were trusted.
    pub fn new(now: i64, trusted: &Trusted, step: Step) -> Self {
        let mut documents = BTreeMap::new();
        let mut put = |role: &str, bytes: &[u8]| {
            documents.insert(role.to_owned(), STANDARD.encode(bytes));
        };
        put("root", &trusted.root);
        for role in ["timestamp", "snapshot"] {
            if let Some(bytes) = trusted.document(role) {
                put(role, bytes);
            }
        }
        for (role, bytes) in &trusted.targets {
            put(role, bytes);
        }
        Self {
            now,
            trusted: documents,
            step,
        }
    }

    /// The same documents, and what came after.
    #[must_use]
    pub fn with(&self, step: Step) -> Self {
        Self {
            step,
            ..self.clone()
        }
    }

    fn trusted(&self) -> std::result::Result<Trusted, String> {
        let mut trusted = Trusted::default();
        for (role, text) in &self.trusted {
            trusted.put(role, decoded(text)?);
        }
        Ok(trusted)
    }
}

fn decoded(text: &str) -> std::result::Result<Vec<u8>, String> {
    STANDARD
        .decode(text)
        .map_err(|error| format!("something in it is no base64: {error}"))
}

/// A file of evidence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evidence {
    format: String,
    /// What a client asked the proxy for.
    pub asked: String,
    /// The stable code of the refusal.
    pub code: String,
    /// Why it was refused.
    pub reason: String,
    /// The registry as it was pinned.
    pub registry: Pinned,
    /// What was seen; none where the refusal is this user's own judgement (age, policy).
    pub seen: Option<Seen>,
}

/// What checking evidence again came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// The same fault is found.
    Confirmed {
        /// Its code.
        code: String,
        /// What is wrong.
        reason: String,
    },
    /// Another one is found, or none.
    Different {
        /// What is found instead.
        reason: String,
    },
    /// It says nothing that can be checked.
    NotChecked {
        /// Why.
        reason: String,
    },
}

impl Evidence {
    /// Evidence of a refusal.
    pub fn new(asked: &str, failure: &Failure, registry: &Pinned, seen: Option<Seen>) -> Self {
        Self {
            format: FORMAT.to_owned(),
            asked: plain(asked),
            code: failure.code.clone().into_owned(),
            reason: failure.message.clone(),
            registry: registry.clone(),
            seen,
        }
    }

    /// Writes it into a folder, under a name that tells time and kind. The same is written once.
    ///
    /// # Errors
    /// Exit 1 when it can not be written.
    pub fn save(&self, folder: &Path) -> Result<PathBuf> {
        let json = serde_json::to_vec_pretty(self)
            .map_err(|error| Failure::new(Exit::Environment, "write", error.to_string()))?;
        let now = self.seen.as_ref().map_or(0, |seen| seen.now);
        let digest = Sha256::of(&json).to_hex();
        let path = folder.join(format!("{now}-{}-{}.json", self.code, &digest[..8]));
        if !path.exists() {
            make_room(folder);
            write_whole(&path, &json)?;
        }
        Ok(path)
    }

    /// Reads a file of evidence.
    ///
    /// # Errors
    /// Exit 2 for a file that can not be read or is none.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = crate::bundle::read(path, MOST)?;
        Self::parse(&bytes).map_err(|why| {
            Failure::new(
                Exit::Usage,
                "evidence",
                format!("{} is no evidence: {}.", path.display(), plain(&why)),
            )
        })
    }

    /// Reads the bytes of such a file.
    ///
    /// # Errors
    /// Why they are none.
    pub fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let evidence: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if evidence.format == FORMAT {
            Ok(evidence)
        } else {
            Err(format!("it is not of the form {FORMAT}"))
        }
    }

    /// Checks it again: from the documents in it alone, under the keys in it.
    #[must_use]
    pub fn check(&self) -> Finding {
        let Some(seen) = &self.seen else {
            return Finding::NotChecked {
                reason: "it was refused by this user's own rules, and not for what came".to_owned(),
            };
        };
        match self.again(seen) {
            Err(why) => Finding::Different { reason: why },
            Ok(None) => Finding::Different {
                reason: "what came holds".to_owned(),
            },
            Ok(Some(failure)) if failure.code == self.code => Finding::Confirmed {
                code: failure.code.into_owned(),
                reason: failure.message,
            },
            Ok(Some(failure)) => Finding::Different {
                reason: format!("{}: {}", failure.code, failure.message),
            },
        }
    }

    /// The root that it is checked under: its digest, to be compared with one's own.
    pub fn root(&self) -> Option<Sha256> {
        let seen = self.seen.as_ref()?;
        let root = decoded(seen.trusted.get("root")?).ok()?;
        Some(Sha256::of(&root))
    }

    /// What fails, if the same is done with the same.
    fn again(&self, seen: &Seen) -> std::result::Result<Option<Failure>, String> {
        let trusted = seen.trusted()?;
        let begun = Client::begin(trusted.clone(), seen.now, Limits::default());
        let mut client = match begun {
            Ok(client) => client,
            Err(refusal) => return Ok(Some(refusal.into())),
        };
        // Up to the request that the answer was to, what was trusted stands for what came.
        loop {
            let request = match client.wanted() {
                Ok(Some(request)) => request,
                Ok(None) => break,
                Err(refusal) => return Ok(Some(refusal.into())),
            };
            if let Step::Metadata { file, answer, .. } = &seen.step
                && *file == request.file
            {
                let answer = answer.as_deref().map(decoded).transpose()?;
                let given = client.give(&request, answer.as_deref());
                return Ok(given.err().map(Failure::from));
            }
            let kept = match request.role.as_str() {
                "root" => None,
                role => trusted.document(role),
            };
            if request.role != "root" && kept.is_none() {
                return Err(format!("it lacks the {} that was trusted", request.role));
            }
            if let Err(refusal) = client.give(&request, kept) {
                return Ok(Some(refusal.into()));
            }
        }
        match &seen.step {
            Step::Refresh => Ok(None),
            Step::Metadata {
                file, path, answer, ..
            } => {
                let path = path
                    .as_deref()
                    .ok_or_else(|| format!("{file} is not what is asked for"))?;
                match client.look(path) {
                    Ok(Look::Fetch(request)) if request.file == *file => {
                        let answer = answer.as_deref().map(decoded).transpose()?;
                        let given = client.give(&request, answer.as_deref());
                        Ok(given.err().map(Failure::from))
                    }
                    Ok(_) => Err(format!("{file} is not what is asked for")),
                    Err(refusal) => Ok(Some(refusal.into())),
                }
            }
            Step::Target { path, answer } => {
                let target = signed(&mut client, path)?;
                let check = target.check(path, &decoded(answer)?);
                Ok(check.err().map(Failure::from))
            }
            Step::Completeness {
                ecosystem,
                key,
                document,
                text,
            } => {
                let document = self.signed_document(&mut client, *ecosystem, key, document)?;
                let text = decoded(text)?;
                let owners = match client.look(&target_path(*ecosystem, key)) {
                    Ok(Look::Found { role, .. }) => client.is_namespace(&role).then_some(role),
                    _ => None,
                };
                let held = page::complete(
                    *ecosystem,
                    key,
                    &document,
                    &text,
                    &self.registry,
                    seen.now,
                    owners.as_deref(),
                );
                Ok(held.err())
            }
            Step::File {
                ecosystem,
                key,
                document,
                filename,
                answer,
                sha256,
            } => {
                let document = self.signed_document(&mut client, *ecosystem, key, document)?;
                let came = match answer {
                    Some(answer) => Sha256::of(&decoded(answer)?).to_hex(),
                    None => sha256.clone(),
                };
                if came != *sha256 {
                    return Err("the file in it is not the one that it speaks of".to_owned());
                }
                let entries = page::entries(*ecosystem, key, &document);
                let entries = entries.map_err(|failure| failure.message)?;
                let entry = entries.iter().find(|entry| entry.filename == *filename);
                let entry = entry.ok_or("the index does not list the file")?;
                Ok((entry.sha256 != came).then(|| page::other_bytes(entry, &came)))
            }
        }
    }

    fn signed_document(
        &self,
        client: &mut Client,
        ecosystem: Ecosystem,
        key: &str,
        document: &str,
    ) -> std::result::Result<Vec<u8>, String> {
        let path = target_path(ecosystem, key);
        let document = decoded(document)?;
        let check = signed(client, &path)?.check(&path, &document);
        check.map_err(|refusal| format!("the index in it is not the signed one: {refusal}"))?;
        Ok(document)
    }
}

fn signed(
    client: &mut Client,
    path: &str,
) -> std::result::Result<countersign_trust::tuf::TargetFile, String> {
    match client.look(path) {
        Ok(Look::Found { target, .. }) => Ok(target),
        Ok(Look::Absent) => Err(format!("nobody lists {path}")),
        Ok(Look::Fetch(request)) => Err(format!("it lacks {}", request.file)),
        Err(refusal) => Err(refusal.to_string()),
    }
}

/// Removes the oldest files where there are too many: a hostile registry must not fill the disk.
fn make_room(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    let mut files: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    if files.len() < MOST_FILES {
        return;
    }
    files.sort();
    for (_, path) in files.iter().take(files.len() + 1 - MOST_FILES) {
        // One that can not be removed is in nobody's way today.
        let _ = std::fs::remove_file(path);
    }
}
