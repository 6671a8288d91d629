//! The log's side: getting a new checkpoint cosigned by as many witnesses as a policy asks for, and finding out at
//! start-up whether a witness has seen more than the log remembers.
//!
//! Nothing here sends: [`Gathering`] says whom to ask from which size and is told what came back. Whoever drives it asks
//! in parallel and publishes what [`Gathering::done`] gives, and nothing before.

use std::collections::BTreeMap;

use super::SIZE_CONTENT_TYPE;
use crate::canonical_decimal;
use crate::checkpoint::{Checkpoint, VerifiedCheckpoint};
use crate::digest::Sha256;
use crate::note::{NoteSignature, SignedNote, VerifierKey};
use crate::policy::{Policy, PolicyError};

/// How often one witness is asked for one checkpoint: it may tell another size once more, as when two processes of a
/// log cross each other.
const MOST_TRIES: u8 = 3;
/// The longest answer of a witness that is looked at, in bytes.
pub const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A question to a witness: `POST <url>/add-checkpoint` with a proof from this size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Its name within the policy.
    pub witness: String,
    /// Its address within the policy.
    pub url: String,
    /// The size that it is believed to have cosigned last.
    pub old_size: u64,
}

/// What a witness's answer means for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It cosigned.
    Cosigned,
    /// It cosigned another size last than was thought: ask again, as [`Gathering::asks`] now says.
    AskAgain,
    /// It says that it has cosigned a larger tree than the log is about to show. If so, the log has lost leaves, as after
    /// a restore, or has a twin. Its word proves nothing: [`compare`] what it serves, which the log's own key signed.
    Ahead {
        /// The size that it names.
        size: u64,
    },
    /// It says that the checkpoint does not continue what it saw. As with [`Heard::Ahead`], what it serves shows whether
    /// that is so.
    Contradicts {
        /// What it says, cut short.
        why: String,
    },
    /// It did not cosign for a reason of its own; others may.
    Failed {
        /// What was wrong.
        why: String,
    },
}

/// A witness that is asked.
#[derive(Debug, Clone)]
struct Party {
    key: VerifierKey,
    url: String,
    old_size: u64,
    tries: u8,
    open: bool,
}

/// One checkpoint on its way to its quorum.
#[derive(Debug, Clone)]
pub struct Gathering<'a> {
    policy: &'a Policy,
    checkpoint: Checkpoint,
    note: SignedNote,
    parties: BTreeMap<String, Party>,
}

impl<'a> Gathering<'a> {
    /// Begins with the log's own signed checkpoint. `known` are the sizes that witnesses cosigned last, by their names
    /// within the policy; one that is not there is asked from size 0 and tells. Witnesses without an address are left
    /// out.
    ///
    /// # Errors
    /// [`PolicyError`], when the note is no checkpoint of a log that the policy knows, signed by it.
    pub fn begin(
        policy: &'a Policy,
        origin: &str,
        note: &str,
        known: &BTreeMap<String, u64>,
    ) -> Result<Self, PolicyError> {
        let keys = policy.keys_for(origin)?;
        let open = crate::checkpoint::open(note.as_bytes(), &keys, origin)?;
        let checkpoint = open.checkpoint().clone();
        let parsed =
            SignedNote::parse(note.as_bytes()).map_err(crate::checkpoint::CheckpointError::from)?;
        let parties = policy.witnesses().iter().filter_map(|witness| {
            let party = Party {
                key: witness.key.clone(),
                url: witness.url.clone()?,
                // A size above this one is no size to prove from; the witness's answer to 0 shows that it is ahead.
                old_size: known
                    .get(&witness.name)
                    .copied()
                    .filter(|size| *size <= checkpoint.size)
                    .unwrap_or(0),
                tries: 0,
                open: true,
            };
            Some((witness.name.clone(), party))
        });
        Ok(Self {
            policy,
            note: parsed,
            parties: parties.collect(),
            checkpoint,
        })
    }

    /// The tree that is to be cosigned.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Whom to ask now. Each question is given out once until it is answered.
    pub fn asks(&mut self) -> Vec<Ask> {
        let open = self.parties.iter_mut().filter(|(_, party)| party.open);
        open.map(|(witness, party)| {
            party.open = false;
            party.tries += 1;
            Ask {
                witness: witness.clone(),
                url: party.url.clone(),
                old_size: party.old_size,
            }
        })
        .collect()
    }

    /// Takes a witness's answer: HTTP status, content type and body.
    pub fn heard(&mut self, witness: &str, status: u16, content_type: &str, body: &[u8]) -> Heard {
        let failed = |why: &str| Heard::Failed {
            why: why.to_owned(),
        };
        let Some(party) = self.parties.get_mut(witness) else {
            return failed("it was not asked");
        };
        if body.len() > MAX_ANSWER_BYTES {
            return failed("its answer is too long");
        }
        let text = String::from_utf8_lossy(body);
        match status {
            200 => match cosignature(&party.key, &self.checkpoint, &text) {
                Ok(line) => match self.note.add_signature(line) {
                    Ok(()) => Heard::Cosigned,
                    Err(error) => failed(&error.to_string()),
                },
                Err(why) => failed(why),
            },
            409 => {
                let plain = content_type.split(';').next().unwrap_or_default().trim();
                let size = text.strip_suffix('\n').and_then(canonical_decimal);
                let Some(size) = size.filter(|_| plain == SIZE_CONTENT_TYPE) else {
                    return failed("its conflict names no size");
                };
                if size > self.checkpoint.size {
                    return Heard::Ahead { size };
                }
                if party.tries >= MOST_TRIES || size == party.old_size {
                    return failed("it goes on naming other sizes");
                }
                party.old_size = size;
                party.open = true;
                Heard::AskAgain
            }
            422 => Heard::Contradicts {
                why: text.chars().filter(|c| !c.is_control()).take(200).collect(),
            },
            status => failed(&format!("it answers {status}")),
        }
    }

    /// The checkpoint with the cosignatures so far, whether or not they are a quorum: for a log that its operator lets go
    /// on without one, and for what came after it.
    #[must_use]
    pub fn note(&self) -> String {
        self.note.to_string()
    }

    /// The checkpoint with all cosignatures so far, as soon as they are a quorum: what may be published.
    ///
    /// # Errors
    /// [`PolicyError::Quorum`] as long as they are not. Then nothing may be published.
    pub fn done(&self) -> Result<(String, VerifiedCheckpoint), PolicyError> {
        let note = self.note.to_string();
        let open = self.policy.open(note.as_bytes(), &self.checkpoint.origin)?;
        Ok((note, open))
    }
}

/// The line of this key in an answer, verified. Lines of other keys are ignored.
fn cosignature(
    key: &VerifierKey,
    checkpoint: &Checkpoint,
    answer: &str,
) -> Result<NoteSignature, &'static str> {
    let lines = answer.lines().map(NoteSignature::parse_line);
    let lines: Vec<NoteSignature> = lines
        .collect::<Result<_, _>>()
        .map_err(|_| "its answer is not lines of signatures")?;
    let line = lines
        .into_iter()
        .find(|line| line.name == *key.name() && line.key_id == key.key_id())
        .ok_or("its answer has no line of its known key")?;
    match crate::cosignature::verify(key, checkpoint, &line) {
        // Without a time it does not say that this is the largest tree.
        Ok(0) => Err("its cosignature has no time"),
        Ok(_) => Ok(line),
        Err(_) => Err("its cosignature is wrong"),
    }
}

/// How what a witness serves of a log stands to what the log has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It knows a part of the log, or all of it.
    Within {
        /// How much.
        size: u64,
    },
    /// It has seen more: the log must not sign before it has those leaves again.
    Ahead {
        /// How much.
        size: u64,
    },
    /// It has seen another history of this size: the log must not sign.
    Forked {
        /// At which size.
        size: u64,
    },
}

/// Compares what a witness of the policy serves of the log (`GET <url>/<origin hash>/checkpoint`) with the log's own
/// tree of `size` leaves. `root_at` gives the log's root at a size up to that.
///
/// # Errors
/// [`PolicyError`], when the note is not signed by the log, and [`PolicyError::Quorum`], when it is not cosigned by that
/// witness. E of `root_at`.
pub fn compare<E: From<PolicyError>>(
    policy: &Policy,
    origin: &str,
    witness: &str,
    note: &[u8],
    size: u64,
    root_at: impl FnOnce(u64) -> Result<Sha256, E>,
) -> Result<Standing, E> {
    let keys = policy.keys_for(origin)?;
    let open = crate::checkpoint::open(note, &keys, origin).map_err(PolicyError::from)?;
    if !policy.witnesses_of(&open).contains(&witness) {
        return Err(PolicyError::Quorum {
            quorum: witness.to_owned(),
            found: policy.witnesses_of(&open).join(", "),
        }
        .into());
    }
    let seen = open.size();
    if seen > size {
        return Ok(Standing::Ahead { size: seen });
    }
    Ok(if root_at(seen)? == open.root() {
        Standing::Within { size: seen }
    } else {
        Standing::Forked { size: seen }
    })
}
