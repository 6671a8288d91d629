//! All leaves of one project, with what proves that there are no others (`docs/spec/completeness.md`).
//!
//! One text holds a `map-root` leaf with its place in the log, the map's proof for the project, all leaves of the project
//! that this map covers, those that are newer, each with its place, and the checkpoint under which all places hold.

use std::collections::HashSet;
use std::fmt;

use crate::checkpoint::VerifiedCheckpoint;
use crate::digest::Sha256;
use crate::leaf::{
    self, Leaf, LeafError, LeafKind, MAX_LEAF_BYTES, ParsedLeaf, Scope, check_subject,
};
use crate::map::{MapProof, MapProofError, ProjectState, project_key, project_of};
use crate::policy::{Policy, PolicyError};
use crate::proof::TlogProof;
use crate::tlog::{self, MAX_PROOF_HASHES, VerifyError};
use crate::{base64_encode, base64_hash, canonical_decimal};

/// The longest text that is parsed, in bytes: some 100,000 leaves.
pub const MAX_COMPLETENESS_BYTES: usize = 64 * 1024 * 1024;

const HEADER: &str = "countersign-completeness/v1";

/// Why a text is malformed or proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompletenessError {
    /// Not such a text.
    #[error("not a text of completeness: {reason}")]
    Format {
        /// Which part is wrong, and how.
        reason: &'static str,
    },
    /// About another project than the one in question.
    #[error("the leaves are those of {found}, not of {expected}")]
    Project {
        /// Purl of the project in question.
        expected: String,
        /// Purl in the text.
        found: String,
    },
    /// The checkpoint, or too few witnesses.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// An entry that is not a leaf where one must be.
    #[error("{what}: {reason}")]
    Leaf {
        /// Which entry.
        what: String,
        /// What is wrong with it.
        reason: LeafError,
    },
    /// A leaf that does not stand in the log where it is said to stand.
    #[error("{what} is not in the log at index {index}: {reason}")]
    Inclusion {
        /// Which leaf.
        what: String,
        /// The claimed index.
        index: u64,
        /// What does not fit.
        reason: VerifyError,
    },
    /// The leaf that shall commit to the map.
    #[error("the leaf at index {index} does not commit to a map: {reason}")]
    MapRoot {
        /// Its index.
        index: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The map's proof.
    #[error(transparent)]
    Map(#[from] MapProofError),
    /// The leaves are not those that the map has for the project: one is missing, replaced or out of place.
    #[error(
        "these are not the leaves of the project: the {found} leaves given do not make what the map holds for it"
    )]
    State {
        /// How many leaves were given (with those before, if the text does not begin with the first).
        found: u64,
    },
    /// The map has no such project, and yet it is given leaves; or the other way round.
    #[error("the map holds nothing for the project, and yet {found} of its leaves are given")]
    Absent {
        /// How many.
        found: u64,
    },
    /// A leaf does not follow the one before.
    #[error("leaf {number} of the project does not follow the one before: {reason}")]
    Chain {
        /// Its number among the leaves of the project, from 1.
        number: u64,
        /// What does not fit.
        reason: String,
    },
    /// Not what the reader knows already: a past was rewritten or taken back.
    #[error("the registry takes back what it said before: {reason}")]
    Known {
        /// What differs.
        reason: String,
    },
}

/// A leaf's place in the log: index and inclusion proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Index of the leaf.
    pub index: u64,
    /// From the leaf's sibling up to the root's child.
    pub hashes: Vec<Sha256>,
}

/// The text, read. Nothing of it is believed until [`Completeness::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completeness {
    /// Purl of the project.
    pub project: String,
    /// What came before the first leaf given; [`ProjectState::NONE`] where that is the project's first.
    pub after: ProjectState,
    /// Where the leaf that commits to the map stands.
    pub root_place: Place,
    /// That leaf's text.
    pub root_leaf: String,
    /// What the map says of the project.
    pub proof: MapProof,
    /// Texts of the leaves that the map covers, in their order.
    pub covered: Vec<String>,
    /// Leaves that are newer than the map, in their order.
    pub newer: Vec<(Place, String)>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

/// One leaf of a project that was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its number among the leaves of the project, from 1.
    pub number: u64,
    /// Its hash (RFC 6962).
    pub hash: Sha256,
    /// Its index in this log; `None` where nothing proves one: for the last that the map covers, and in earlier logs.
    pub index: Option<u64>,
    /// Whether the map covers it.
    pub covered: bool,
    /// What it says.
    pub leaf: ParsedLeaf,
}

/// What was proven of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complete {
    /// All leaves among the first `covers` of the log are given (and all of the logs before).
    pub covers: u64,
    /// Root of the map.
    pub map_root: Sha256,
    /// When that root was committed, microseconds since 1970 UTC.
    pub time: i64,
    /// Index of the leaf that commits to it.
    pub index: u64,
    /// The project as the map has it; [`ProjectState::NONE`] if the map says that it does not exist.
    pub state: ProjectState,
    /// The leaves, in their order: those after what was known, covered ones and then newer ones.
    pub leaves: Vec<Listed>,
    /// The head under which this was proven.
    pub checkpoint: VerifiedCheckpoint,
}

impl Complete {
    /// Whether the map knows the project, or a newer leaf founds it.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.state.count > 0 || !self.leaves.is_empty()
    }

    /// Whether nothing at all is left open: besides the leaf that commits to the map and the newer ones given, the log has
    /// no leaf that the map does not cover. So it is wherever a registry is at rest, however long ago that leaf was made.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        let newer = self.leaves.iter().filter(|listed| !listed.covered).count() as u64;
        self.checkpoint.size().saturating_sub(self.covers) == newer.saturating_add(1)
    }

    /// The leaves of known kinds.
    pub fn known(&self) -> impl Iterator<Item = &Leaf> {
        self.leaves.iter().filter_map(|listed| match &listed.leaf {
            ParsedLeaf::Known(leaf) => Some(leaf.as_ref()),
            ParsedLeaf::Skipped { .. } => None,
        })
    }

    /// Every file that was ever published, by its purl, with its digest. What was done to it since is in later leaves.
    pub fn files(&self) -> impl Iterator<Item = (&str, Sha256)> {
        self.known()
            .filter(|leaf| leaf.kind == LeafKind::FilePublished)
            .filter_map(|leaf| Some((leaf.subject.as_deref()?, leaf.sha256()?)))
    }
}

impl Completeness {
    /// Reads the text. The checkpoint within is taken as it is.
    ///
    /// # Errors
    /// [`CompletenessError::Format`]; [`CompletenessError::Map`] for a malformed proof of the map.
    pub fn parse(text: &[u8]) -> Result<Self, CompletenessError> {
        let refuse = |reason| CompletenessError::Format { reason };
        if text.len() > MAX_COMPLETENESS_BYTES {
            return Err(refuse("longer than 64 MiB"));
        }
        let mut rest = std::str::from_utf8(text).map_err(|_| refuse("not UTF-8"))?;
        let mut block = || {
            let (block, after) = rest
                .split_once("\n\n")
                .ok_or(refuse("it ends before its checkpoint"))?;
            rest = after;
            Ok::<&str, CompletenessError>(block)
        };
        let mut lines = block()?.split('\n');
        let mut line = || lines.next().ok_or(refuse("its head is cut off"));
        if line()? != HEADER {
            return Err(refuse("the first line is not countersign-completeness/v1"));
        }
        let project = line()?
            .strip_prefix("project ")
            .filter(|purl| check_subject(purl) == Ok(Scope::Project))
            .ok_or(refuse("the second line is not `project` and a purl"))?;
        let mut next = line()?;
        let mut after = ProjectState::NONE;
        if let Some(known) = next.strip_prefix("after ") {
            after = known
                .split_once(' ')
                .and_then(|(count, chain)| {
                    Some(ProjectState {
                        count: canonical_decimal(count).filter(|count| *count > 0)?,
                        chain: chain.parse().ok()?,
                    })
                })
                .ok_or(refuse("the `after` line is not a count and a chain"))?;
            next = line()?;
        }
        let number = |line: &str, word: &str| {
            let rest = line.strip_prefix(word)?.strip_prefix(' ')?;
            canonical_decimal(rest)
        };
        let covered_count =
            number(next, "covered").ok_or(refuse("no line `covered` and a number"))?;
        let newer_count = number(line()?, "newer").ok_or(refuse("no line `newer` and a number"))?;
        if lines.next().is_some() {
            return Err(refuse("its head has too many lines"));
        }
        let root_place = Place::parse(block()?)?;
        let root_leaf = leaf_block(block()?)?;
        let proof = MapProof::parse(format!("{}\n", block()?).as_bytes())?;
        // No room is set aside on the word of a number.
        let (mut covered, mut newer) = (Vec::new(), Vec::new());
        for _ in 0..covered_count {
            covered.push(leaf_block(block()?)?);
        }
        for _ in 0..newer_count {
            newer.push((Place::parse(block()?)?, leaf_block(block()?)?));
        }
        Ok(Self {
            project: project.to_owned(),
            after,
            root_place,
            root_leaf,
            proof,
            covered,
            newer,
            checkpoint: rest.to_owned(),
        })
    }

    /// [`Completeness::verify`] under the checkpoint in the text, which must be one of the log `origin` with the quorum
    /// of the policy.
    ///
    /// # Errors
    /// [`CompletenessError`].
    pub fn verify_by(
        &self,
        policy: &Policy,
        origin: &str,
        project: &str,
        known: Option<&ProjectState>,
    ) -> Result<Complete, CompletenessError> {
        let checkpoint = policy.open(self.checkpoint.as_bytes(), origin)?;
        self.verify(&checkpoint, project, known)
    }

    /// Checks that these are all leaves of the project (by its purl), as far as the map goes that the log committed to.
    /// `checkpoint` is the one in the text, opened by the caller. Whoever knows the project from before hands in what
    /// was proven of it then: it must be the beginning of what is proven now, and a text that leaves out what is known
    /// is only taken for exactly that.
    ///
    /// Nothing proves that a newer map root does not exist: whether [`Complete::time`] is new enough is the caller's to
    /// judge.
    ///
    /// # Errors
    /// [`CompletenessError`].
    pub fn verify(
        &self,
        checkpoint: &VerifiedCheckpoint,
        project: &str,
        known: Option<&ProjectState>,
    ) -> Result<Complete, CompletenessError> {
        if self.project != project {
            return Err(CompletenessError::Project {
                expected: project.to_owned(),
                found: self.project.clone(),
            });
        }
        let known = known.copied().unwrap_or(ProjectState::NONE);
        if self.after != ProjectState::NONE && self.after != known {
            return Err(CompletenessError::Known {
                reason: format!(
                    "it begins after leaf {} of the project, which is not what is known of it",
                    self.after.count
                ),
            });
        }
        let commitment = self.map_root(checkpoint)?;
        let value = self.proof.verify(&commitment.root, &project_key(project))?;
        let mut reader = Chain {
            project,
            known,
            state: self.after,
            previous: None,
            in_this_log: false,
            published: HashSet::new(),
            listed: Vec::new(),
        };
        reader.meet_known()?;
        for text in &self.covered {
            reader.take(text, None, commitment.covers)?;
        }
        let state = reader.state;
        match value {
            None if state.count > 0 => {
                return Err(CompletenessError::Absent { found: state.count });
            }
            Some(value) if state.count == 0 || state.value() != value => {
                return Err(CompletenessError::State { found: state.count });
            }
            _ => {}
        }
        if state.count < known.count {
            return Err(CompletenessError::Known {
                reason: format!(
                    "the map holds {} leaves of the project, and {} were proven before",
                    state.count, known.count
                ),
            });
        }
        for (place, text) in &self.newer {
            if place.index < commitment.covers {
                return Err(CompletenessError::Chain {
                    number: reader.state.count.saturating_add(1),
                    reason: format!(
                        "it is given as newer than the map, which covers index {}",
                        place.index
                    ),
                });
            }
            place.holds(text, checkpoint, || {
                format!(
                    "leaf {} of the project",
                    reader.state.count.saturating_add(1)
                )
            })?;
            reader.take(text, Some(place.index), u64::MAX)?;
        }
        Ok(Complete {
            covers: commitment.covers,
            map_root: commitment.root,
            time: commitment.time,
            index: self.root_place.index,
            state,
            leaves: reader.listed,
            checkpoint: checkpoint.clone(),
        })
    }

    /// The leaf that commits to the map, as a proof file of its own with the leaf as its extra data.
    #[must_use]
    pub fn root_proof(&self) -> TlogProof {
        TlogProof {
            extra: Some(self.root_leaf.clone().into_bytes()),
            index: self.root_place.index,
            hashes: self.root_place.hashes.clone(),
            checkpoint: self.checkpoint.clone(),
        }
    }

    fn map_root(&self, checkpoint: &VerifiedCheckpoint) -> Result<Commitment, CompletenessError> {
        let what = || "the leaf that commits to the map".to_owned();
        self.root_place.holds(&self.root_leaf, checkpoint, what)?;
        read_map_root(self.root_leaf.as_bytes(), self.root_place.index)
    }
}

/// What a `map-root` leaf says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment {
    /// How many leaves the map covers, from the first.
    pub covers: u64,
    /// Root of the map.
    pub root: Sha256,
    /// When it was committed, microseconds since 1970 UTC.
    pub time: i64,
}

/// Reads the entry at `index` as a leaf that commits to a map.
///
/// # Errors
/// [`CompletenessError::Leaf`], [`CompletenessError::MapRoot`].
pub fn read_map_root(entry: &[u8], index: u64) -> Result<Commitment, CompletenessError> {
    let parsed = leaf::parse(entry).map_err(|reason| CompletenessError::Leaf {
        what: "the leaf that commits to the map".to_owned(),
        reason,
    })?;
    let refuse = |reason| CompletenessError::MapRoot { index, reason };
    let leaf = parsed.known().ok_or(refuse("it is of an unknown kind"))?;
    let map = leaf.map.ok_or(refuse("it is of another kind"))?;
    if map.covers > index {
        return Err(refuse("it covers leaves that come after it"));
    }
    Ok(Commitment {
        covers: map.covers,
        root: map.root,
        time: leaf.time,
    })
}

impl Place {
    fn parse(block: &str) -> Result<Self, CompletenessError> {
        let refuse = |reason| CompletenessError::Format { reason };
        let mut lines = block.split('\n');
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(canonical_decimal)
            .ok_or(refuse("a place does not begin with `index` and a number"))?;
        let mut hashes = Vec::new();
        for line in lines {
            if hashes.len() == MAX_PROOF_HASHES {
                return Err(refuse("a place has more than 63 hashes"));
            }
            hashes.push(base64_hash(line).ok_or(refuse("a hash is not the base64 of 32 bytes"))?);
        }
        Ok(Self { index, hashes })
    }

    fn holds(
        &self,
        leaf: &str,
        checkpoint: &VerifiedCheckpoint,
        what: impl FnOnce() -> String,
    ) -> Result<(), CompletenessError> {
        tlog::verify_inclusion(
            tlog::leaf_hash(leaf.as_bytes()),
            self.index,
            checkpoint.size(),
            &self.hashes,
            checkpoint.root(),
        )
        .map_err(|reason| CompletenessError::Inclusion {
            what: what(),
            index: self.index,
            reason,
        })
    }
}

/// A leaf's text from its block, which lacks the last line's end. Only its outer form is judged here.
fn leaf_block(block: &str) -> Result<String, CompletenessError> {
    let refuse = |reason| CompletenessError::Format { reason };
    if block.len() >= MAX_LEAF_BYTES {
        return Err(refuse("a leaf is longer than 4096 bytes"));
    }
    if block.is_empty() || block.starts_with('\n') {
        return Err(refuse("a leaf is empty"));
    }
    Ok(format!("{block}\n"))
}

/// The leaves of a project, one after the other.
struct Chain<'a> {
    project: &'a str,
    known: ProjectState,
    state: ProjectState,
    /// Index of the leaf before, where something proves it.
    previous: Option<u64>,
    /// A leaf named its predecessor in this log, so all that follow must.
    in_this_log: bool,
    published: HashSet<String>,
    listed: Vec<Listed>,
}

impl Chain<'_> {
    /// Takes the next leaf. `index` is its place, where it has a proven one; otherwise it is below `limit`.
    fn take(
        &mut self,
        text: &str,
        index: Option<u64>,
        limit: u64,
    ) -> Result<(), CompletenessError> {
        let number = self.state.count.saturating_add(1);
        let refuse = |reason: String| CompletenessError::Chain { number, reason };
        let parsed = leaf::parse(text.as_bytes()).map_err(|reason| CompletenessError::Leaf {
            what: format!("leaf {number} of {}", self.project),
            reason,
        })?;
        if let ParsedLeaf::Known(leaf) = &parsed {
            let subject = leaf.subject.as_deref().unwrap_or_default();
            if project_of(subject) != self.project {
                return Err(refuse(format!("its subject is {subject:?}")));
            }
            if leaf.sequence != Some(number) {
                let found = leaf.sequence.unwrap_or_default();
                return Err(refuse(format!("its sequence is {found}")));
            }
            self.follows(leaf.previous, index, limit, number)?;
            if leaf.kind == LeafKind::FilePublished && !self.published.insert(subject.to_owned()) {
                return Err(refuse(format!("it publishes {subject} a second time")));
            }
        }
        // One of a kind from the future has its place in the chain; its lines are not judged.
        let hash = tlog::leaf_hash(text.as_bytes());
        self.state = self.state.followed_by(&hash);
        self.meet_known()?;
        self.previous = index;
        self.listed.push(Listed {
            number,
            hash,
            index,
            covered: index.is_none(),
            leaf: parsed,
        });
        Ok(())
    }

    /// Holds the `previous` line against the leaf before, and learns from it where that one stands.
    fn follows(
        &mut self,
        previous: Option<u64>,
        index: Option<u64>,
        limit: u64,
        number: u64,
    ) -> Result<(), CompletenessError> {
        let refuse = |reason: String| CompletenessError::Chain { number, reason };
        let Some(previous) = previous else {
            // Without the line, the leaf before is in an earlier log: not after one in this log.
            return if self.in_this_log || self.previous.is_some() {
                Err(refuse("it does not name the leaf before".to_owned()))
            } else {
                Ok(())
            };
        };
        let is_before = index.is_none_or(|index| previous < index) && previous < limit;
        let fits = self.previous.is_none_or(|before| before == previous);
        let earlier = self
            .listed
            .iter()
            .rev()
            .nth(1)
            .and_then(|listed| listed.index);
        if !is_before || !fits || earlier.is_some_and(|earlier| earlier >= previous) {
            return Err(refuse(format!(
                "it names index {previous} as the leaf before"
            )));
        }
        self.in_this_log = true;
        if let Some(before) = self.listed.last_mut() {
            before.index = Some(previous);
        }
        Ok(())
    }

    /// Where the reader's knowledge ends, it must be met.
    fn meet_known(&self) -> Result<(), CompletenessError> {
        if self.state.count == self.known.count && self.state != self.known {
            return Err(CompletenessError::Known {
                reason: format!(
                    "its first {} leaves are others than those that were proven before",
                    self.known.count
                ),
            });
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "index {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", base64_encode(&hash.0))?;
        }
        Ok(())
    }
}

impl fmt::Display for Completeness {
    /// The one text, as [`Completeness::parse`] takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}\nproject {}", self.project)?;
        if self.after != ProjectState::NONE {
            writeln!(f, "after {} {}", self.after.count, self.after.chain)?;
        }
        writeln!(
            f,
            "covered {}\nnewer {}\n",
            self.covered.len(),
            self.newer.len()
        )?;
        writeln!(f, "{}\n{}\n{}", self.root_place, self.root_leaf, self.proof)?;
        for leaf in &self.covered {
            writeln!(f, "{leaf}")?;
        }
        for (place, leaf) in &self.newer {
            writeln!(f, "{place}\n{leaf}")?;
        }
        f.write_str(&self.checkpoint)
    }
}

#[cfg(test)]
mod tests;
