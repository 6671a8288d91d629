//! What a witness signs, given what it signed before.

use super::{AddCheckpoint, KnownLog, Refusal, SignSubtree, Witness};
use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::cosignature;
use crate::note::{KeyType, NoteError, NoteSignature, SignedNote};
use crate::tlog::{self, EMPTY_ROOT};

/// Why a stored state is not one of this witness.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Damaged, or not cosigned by this witness's keys.
    #[error("it is not a checkpoint that this witness cosigned: {0}")]
    Note(#[from] NoteError),
    /// A note of something else.
    #[error("it is not a checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The state of another log.
    #[error("it is of the log {found:?}")]
    Origin {
        /// The log that it names.
        found: String,
    },
}

/// The state that a witness keeps of a log: the largest tree that it cosigned, as the signed note that it serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    checkpoint: Checkpoint,
    note: String,
    /// The witness's own lines in the note.
    lines: Vec<NoteSignature>,
    /// When it signed them, in seconds since 1970 UTC.
    time: u64,
}

impl Latest {
    /// Number of leaves of that tree.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The tree.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note to store and to serve: the checkpoint, the log's lines that were verified, and the witness's own.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// When the witness cosigned it, in seconds since 1970 UTC.
    #[must_use]
    pub fn time(&self) -> u64 {
        self.time
    }

    fn answer(&self) -> String {
        self.lines.iter().map(NoteSignature::to_string).collect()
    }
}

/// A request whose checkpoint the log has signed.
#[derive(Debug)]
pub struct Authentic<'a> {
    request: &'a AddCheckpoint,
    log: &'a KnownLog,
    /// The log's lines, each once.
    lines: Vec<NoteSignature>,
}

impl AddCheckpoint {
    /// Checks the log's signature. This takes no state, so it comes before any lock.
    ///
    /// # Errors
    /// [`Refusal::UnknownLog`] when the checkpoint is of another log, [`Refusal::NotSigned`].
    pub fn authenticate<'a>(&'a self, log: &'a KnownLog) -> Result<Authentic<'a>, Refusal> {
        if self.checkpoint().origin != log.origin() {
            return Err(Refusal::UnknownLog {
                origin: self.checkpoint().origin.clone(),
            });
        }
        let not_signed = |reason: String| Refusal::NotSigned { reason };
        let verified = self
            .note()
            .verify(log.keys())
            .map_err(|error| not_signed(error.to_string()))?;
        // ML-DSA cosignatures do not cover extension lines; ours with Ed25519 does, and must not vouch for what the
        // log did not sign.
        if !self.checkpoint().extensions.is_empty()
            && !verified
                .signatures()
                .iter()
                .any(|line| line.key.key_type() == KeyType::Ed25519)
        {
            let reason = "no signature of the log covers the extension lines".to_owned();
            return Err(not_signed(reason));
        }
        let by_log = |line: &&NoteSignature| {
            log.keys()
                .iter()
                .any(|key| *key.name() == line.name && key.key_id() == line.key_id)
        };
        let mut lines: Vec<NoteSignature> = Vec::new();
        for line in self.note().signatures().iter().filter(by_log) {
            if !lines.contains(line) {
                lines.push(line.clone());
            }
        }
        Ok(Authentic {
            request: self,
            log,
            lines,
        })
    }
}

impl Authentic<'_> {
    /// The checks that take the state: old size, empty tree, consistency.
    fn check(&self, latest: Option<&Latest>) -> Result<(), Refusal> {
        let (request, new) = (self.request, self.request.checkpoint());
        let inconsistent = |reason: String| Refusal::Inconsistent { reason };
        let old_size = request.old_size();
        if old_size > new.size {
            return Err(Refusal::OldAboveNew {
                old: old_size,
                new: new.size,
            });
        }
        let size = latest.map_or(0, Latest::size);
        if old_size != size {
            return Err(Refusal::Conflict { size });
        }
        if new.size == 0 && new.root != EMPTY_ROOT {
            return Err(inconsistent(
                "a tree without leaves has the root of nothing".to_owned(),
            ));
        }
        let Some(old) = latest.filter(|_| size > 0) else {
            // Everything continues the empty tree, and no proof says so.
            return if request.proof().is_empty() {
                Ok(())
            } else {
                Err(inconsistent("a proof from size 0 is empty".to_owned()))
            };
        };
        tlog::verify_consistency(
            size,
            old.checkpoint.root,
            new.size,
            new.root,
            request.proof(),
        )
        .map_err(|error| inconsistent(error.to_string()))
    }
}

/// A cosignature that may be given out once the new state is written.
#[derive(Debug)]
#[must_use = "nothing is signed until the state is persisted"]
pub struct Cosigned {
    latest: Latest,
    /// Whether it differs from what is stored.
    changed: bool,
}

impl Cosigned {
    /// Has the new state written, and gives it with the answer. `write` must return only when a crash can no longer
    /// take the state back; where it fails, there is no answer.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn persist<E>(
        self,
        write: impl FnOnce(&Latest) -> Result<(), E>,
    ) -> Result<(Latest, String), E> {
        if self.changed {
            write(&self.latest)?;
        }
        let answer = self.latest.answer();
        Ok((self.latest, answer))
    }
}

impl Witness {
    /// Reads a stored state. It must carry a cosignature of this witness, so that a damaged file, or one of another
    /// witness, is not believed.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn resume(&self, log: &KnownLog, note: &[u8]) -> Result<Latest, StateError> {
        let parsed = SignedNote::parse(note)?;
        let checkpoint = Checkpoint::parse(parsed.text())?;
        if checkpoint.origin != log.origin() {
            return Err(StateError::Origin {
                found: checkpoint.origin,
            });
        }
        let own = self.verifiers();
        let verified = parsed.verify(&own)?;
        let times = verified.signatures().iter().filter_map(|line| line.time);
        let time = times.max().unwrap_or_default();
        let lines = parsed.signatures().iter().filter(|line| {
            own.iter()
                .any(|key| *key.name() == line.name && key.key_id() == line.key_id)
        });
        Ok(Latest {
            lines: lines.cloned().collect(),
            note: parsed.to_string(),
            checkpoint,
            time,
        })
    }

    /// Cosigns a checkpoint that continues `latest`, the state of the same log, or refuses. `now` is in seconds since
    /// 1970 UTC. From reading `latest` until [`Cosigned::persist`] returned, nothing else may be decided for this log:
    /// otherwise two trees could both be signed from one old size.
    ///
    /// # Errors
    /// [`Refusal`], in the order of the protocol: conflict before inconsistency.
    pub fn cosign(
        &self,
        request: &Authentic<'_>,
        latest: Option<&Latest>,
        now: u64,
    ) -> Result<Cosigned, Refusal> {
        request.check(latest)?;
        if now == 0 || i64::try_from(now).is_err() {
            return Err(Refusal::Clock);
        }
        let checkpoint = request.request.checkpoint();
        // Who repeats a request within a second gets the same lines, for no signature and no write.
        if let Some(latest) = latest.filter(|latest| {
            latest.time == now
                && latest.checkpoint == *checkpoint
                && latest.lines.len() == self.verifiers().len()
        }) {
            return Ok(Cosigned {
                latest: latest.clone(),
                changed: false,
            });
        }
        // One kind of key that can not sign (an origin too long for ML-DSA) does not keep the other from it.
        let lines: Vec<NoteSignature> = [
            self.ed25519
                .as_ref()
                .and_then(|key| cosignature::sign_ed25519(key, checkpoint, now).ok()),
            self.ml_dsa
                .as_ref()
                .and_then(|key| cosignature::sign_ml_dsa(key, checkpoint, now).ok()),
        ]
        .into_iter()
        .flatten()
        .collect();
        if lines.is_empty() {
            return Err(Refusal::Signing);
        }
        let all = request.lines.iter().chain(&lines).cloned().collect();
        let note = SignedNote::new(checkpoint.to_note_text(), all)
            .map_err(|error| Refusal::malformed(error.to_string()))?;
        Ok(Cosigned {
            latest: Latest {
                checkpoint: checkpoint.clone(),
                note: note.to_string(),
                lines,
                time: now,
            },
            changed: true,
        })
    }

    /// Signs a subtree of a tree that this witness cosigned before. This takes no state: the witness's own cosignature
    /// on the checkpoint is what it goes by.
    ///
    /// # Errors
    /// [`Refusal`]; [`Refusal::Signing`] for a witness without an ML-DSA key.
    pub fn sign_subtree(&self, log: &KnownLog, request: &SignSubtree) -> Result<String, Refusal> {
        let checkpoint = request.checkpoint();
        if checkpoint.origin != log.origin() {
            return Err(Refusal::UnknownLog {
                origin: checkpoint.origin.clone(),
            });
        }
        request
            .note()
            .verify(&self.verifiers())
            .map_err(|error| Refusal::NotSigned {
                reason: error.to_string(),
            })?;
        let subtree = request.subtree();
        tlog::verify_subtree_consistency(
            subtree.start,
            subtree.end,
            checkpoint.size,
            request.proof(),
            subtree.hash,
            checkpoint.root,
        )
        .map_err(|error| Refusal::Inconsistent {
            reason: error.to_string(),
        })?;
        let key = self.ml_dsa.as_ref().ok_or(Refusal::Signing)?;
        cosignature::sign_subtree(key, &checkpoint.origin, &subtree, 0)
            .map(|line| line.to_string())
            .map_err(|_| Refusal::Signing)
    }
}

impl Authentic<'_> {
    /// The log that signed.
    #[must_use]
    pub fn log(&self) -> &KnownLog {
        self.log
    }
}
