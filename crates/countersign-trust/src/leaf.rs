//! The grammar of log entries. The public specification is `docs/spec/leaf.md`; a test reads its examples.
//!
//! There is exactly one text for each leaf: `parse(to_text(x)) == x` and `to_text(parse(t)) == t`.

mod parse;
mod subject;
mod time;

use std::fmt;

pub use subject::{Scope, SubjectError, check_subject};
pub use time::{format_time, parse_time};

use crate::digest::{Sha256, digests, prefixed};

/// First line of every leaf.
pub const HEADER: &str = "countersign-leaf/v1";
/// The longest leaf, in bytes.
pub const MAX_LEAF_BYTES: usize = 4096;
/// The most attestations that one leaf names.
pub const MAX_ATTESTATIONS: usize = 32;

/// Why a text is no leaf, or a leaf cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Longer than [`MAX_LEAF_BYTES`].
    #[error("the leaf has {found} bytes; at most {MAX_LEAF_BYTES} are allowed")]
    TooLong {
        /// Length in bytes.
        found: usize,
    },
    /// Not LF-terminated printable ASCII, or an empty line.
    #[error("the leaf is not LF-terminated lines of printable ASCII without empty lines")]
    NotText,
    /// Another header: an entry of another version or of something else altogether.
    #[error("not a leaf of version 1: the first line is {found:?}, expected {HEADER:?}")]
    Header {
        /// The beginning of the first line.
        found: String,
    },
    /// A line that is missing, superfluous, repeated, out of order or wrongly written.
    #[error("line {line} of the leaf is refused: {reason}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A leaf whose fields do not belong together.
    #[error("a leaf of kind {kind} {reason}")]
    Fields {
        /// The kind.
        kind: LeafKind,
        /// What is wrong.
        reason: String,
    },
    /// The subject is no normalised purl.
    #[error(transparent)]
    Subject(#[from] SubjectError),
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            /// Every value, in the order of the specification.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that stands for it in a leaf.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The value of a word, if there is one.
            #[must_use]
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// What happened.
    LeafKind {
        /// A file became available; the one leaf that binds an identifier to a digest.
        FilePublished = "file-published",
        /// Attestations were added to a file.
        AttestationAdded = "attestation-added",
        /// A release or file was yanked.
        Yanked = "yanked",
        /// A yank was taken back.
        Unyanked = "unyanked",
        /// A project or release was marked as deprecated.
        Deprecated = "deprecated",
        /// A project, release or file was deleted; its identifiers stay taken.
        Deleted = "deleted",
        /// Withheld from download.
        Quarantined = "quarantined",
        /// No longer withheld.
        Released = "released",
        /// Someone became or ceased to be an owner.
        OwnerChanged = "owner-changed",
        /// Someone was given or lost another role.
        RoleChanged = "role-changed",
        /// A trusted publisher was added or removed.
        PublisherChanged = "publisher-changed",
        /// A policy of a project or of the registry changed.
        PolicyChanged = "policy-changed",
        /// Who sees a project changed.
        VisibilityChanged = "visibility-changed",
        /// A leaked token was revoked.
        TokenRevokedLeaked = "token-revoked-leaked",
        /// The log's keys changed.
        KeyRotated = "key-rotated",
        /// An operator went past a rule.
        OperatorOverride = "operator-override",
        /// The first leaf of a log.
        LogGenesis = "log-genesis",
        /// The last leaf of a log.
        LogFreeze = "log-freeze",
        /// The root of the map over all leaves before it.
        MapRoot = "map-root",
    }
}

words! {
    /// Digest algorithms in leaves, in the order of their lines. Only the first two carry trust.
    Algorithm {
        /// SHA-256; always there.
        Sha256 = "sha256",
        /// SHA-512.
        Sha512 = "sha512",
        /// BLAKE2b with 32 bytes.
        Blake2b256 = "blake2b-256",
        /// MD5, for look-up only.
        Md5 = "md5",
    }
}

impl Algorithm {
    /// Length of the digest in hexadecimal digits.
    #[must_use]
    pub fn hex_length(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake2b256 => 64,
            Self::Sha512 => 128,
            Self::Md5 => 32,
        }
    }
}

words! {
    /// Which way an owner, role, publisher or policy changed.
    Change {
        /// Was not there before.
        Added = "added",
        /// Is no longer there.
        Removed = "removed",
        /// Took another's place.
        Replaced = "replaced",
    }
}

/// The log that a new log continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predecessor {
    /// Its origin.
    pub origin: String,
    /// Number of its leaves that the new log builds on.
    pub size: u64,
    /// Its root at that size.
    pub root: Sha256,
}

/// A state of the map over identifiers and projects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapRoot {
    /// The map covers the leaves 0 up to, not including, this one.
    pub covers: u64,
    /// Root of the map.
    pub root: Sha256,
}

/// One entry of the log. Which fields a kind must, may and must not have is said by the table in the specification
/// and checked by [`Leaf::to_text`]; build leaves with the constructors and set what is optional.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// What happened.
    pub kind: LeafKind,
    /// Normalised purl of what it happened to; none for what concerns the log or registry as a whole.
    pub subject: Option<String>,
    /// Digests of the file in lower-case hexadecimal, in the order of [`Algorithm`], each algorithm once.
    pub digests: Vec<(Algorithm, String)>,
    /// Size of the file in bytes.
    pub size: Option<u64>,
    /// When, in microseconds since 1970 UTC, from 1970 to 9999.
    pub time: i64,
    /// Number of this leaf among those of its project, from 1.
    pub sequence: Option<u64>,
    /// Index in this log of the project's leaf before. Without it, there is none, or it is in a predecessor log.
    pub previous: Option<u64>,
    /// Which way something changed.
    pub change: Option<Change>,
    /// The role concerned: a lower-case word of letters, digits and hyphens.
    pub role: Option<String>,
    /// Commitment ([`commit`]) to who did it.
    pub actor: Option<Sha256>,
    /// Commitment ([`commit`]) to the account concerned.
    pub account: Option<Sha256>,
    /// Commitment ([`commit`]) to a record with the details, such as a reason or a publisher's claims.
    pub detail: Option<Sha256>,
    /// SHA-256 of attestations, ascending, each once.
    pub attestations: Vec<Sha256>,
    /// SHA-256 of the texts (vkeys) of keys that begin to sign, ascending, each once.
    pub keys_added: Vec<Sha256>,
    /// SHA-256 of the texts (vkeys) of keys that cease to sign, ascending, each once.
    pub keys_removed: Vec<Sha256>,
    /// The log that this one continues.
    pub predecessor: Option<Predecessor>,
    /// Origin of the log that continues this one.
    pub successor: Option<String>,
    /// State of the map.
    pub map: Option<MapRoot>,
}

/// What a reader makes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParsedLeaf {
    /// A leaf of a known kind.
    Known(Box<Leaf>),
    /// A well-formed leaf of a kind that this software does not know: skip it.
    Skipped {
        /// The unknown kind.
        kind: String,
    },
}

/// A leaf as it stands in an entry: a [`Leaf`] that only points at what is text. For whoever reads many entries and keeps
/// little of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BorrowedLeaf<'a> {
    /// What happened.
    pub kind: LeafKind,
    /// Normalised purl of what it happened to.
    pub subject: Option<&'a str>,
    /// Digests of the file in lower-case hexadecimal, by [`Algorithm`].
    digests: [Option<&'a str>; Algorithm::ALL.len()],
    /// Size of the file in bytes.
    pub size: Option<u64>,
    /// When, in microseconds since 1970 UTC.
    pub time: i64,
    /// Number of this leaf among those of its project, from 1.
    pub sequence: Option<u64>,
    /// Index in this log of the project's leaf before.
    pub previous: Option<u64>,
    /// The lines after these; many leaves have none.
    rest: Option<Box<Rest<'a>>>,
}

/// The lines of a leaf that only some have, apart from the others, so that these are quickly moved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rest<'a> {
    change: Option<Change>,
    role: Option<&'a str>,
    actor: Option<Sha256>,
    account: Option<Sha256>,
    detail: Option<Sha256>,
    attestations: Vec<Sha256>,
    keys_added: Vec<Sha256>,
    keys_removed: Vec<Sha256>,
    /// Origin, size and root of the log that this one continues.
    predecessor: Option<(&'a str, u64, Sha256)>,
    successor: Option<&'a str>,
    map: Option<MapRoot>,
}

impl BorrowedLeaf<'_> {
    #[inline]
    fn bare(kind: LeafKind) -> Self {
        Self {
            kind,
            subject: None,
            digests: [None; Algorithm::ALL.len()],
            size: None,
            time: 0,
            sequence: None,
            previous: None,
            rest: None,
        }
    }

    /// A digest of the file in lower-case hexadecimal, if the leaf carries one of this algorithm.
    #[must_use]
    pub fn digest(&self, algorithm: Algorithm) -> Option<&str> {
        self.digests[algorithm as usize]
    }

    /// Whether the log that begins with this leaf continues another one.
    #[must_use]
    pub fn has_predecessor(&self) -> bool {
        self.rest
            .as_ref()
            .is_some_and(|rest| rest.predecessor.is_some())
    }

    /// State of the map.
    #[must_use]
    pub fn map(&self) -> Option<MapRoot> {
        self.rest.as_ref().and_then(|rest| rest.map)
    }

    /// The leaf for itself, of which the entry can be let go.
    #[must_use]
    pub fn into_leaf(self) -> Leaf {
        let digests = Algorithm::ALL.iter().zip(self.digests);
        let rest = self.rest.map(|rest| *rest).unwrap_or_default();
        Leaf {
            kind: self.kind,
            subject: self.subject.map(str::to_owned),
            digests: digests
                .filter_map(|(algorithm, hex)| Some((*algorithm, hex?.to_owned())))
                .collect(),
            size: self.size,
            time: self.time,
            sequence: self.sequence,
            previous: self.previous,
            change: rest.change,
            role: rest.role.map(str::to_owned),
            actor: rest.actor,
            account: rest.account,
            detail: rest.detail,
            attestations: rest.attestations,
            keys_added: rest.keys_added,
            keys_removed: rest.keys_removed,
            predecessor: rest.predecessor.map(|(origin, size, root)| Predecessor {
                origin: origin.to_owned(),
                size,
                root,
            }),
            successor: rest.successor.map(str::to_owned),
            map: rest.map,
        }
    }
}

/// What a reader makes of an entry while it has it at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
// In a box it would cost each reader of a log an allocation for each entry.
#[allow(clippy::large_enum_variant)]
pub enum ParsedBorrowed<'a> {
    /// A leaf of a known kind.
    Known(BorrowedLeaf<'a>),
    /// A well-formed leaf of a kind that this software does not know: skip it.
    Skipped {
        /// The unknown kind.
        kind: &'a str,
    },
}

impl ParsedLeaf {
    /// The leaf, unless it is to be skipped.
    #[must_use]
    pub fn known(self) -> Option<Leaf> {
        match self {
            Self::Known(leaf) => Some(*leaf),
            Self::Skipped { .. } => None,
        }
    }
}

impl Leaf {
    fn bare(kind: LeafKind, subject: Option<String>, time: i64) -> Self {
        Self {
            kind,
            subject,
            digests: Vec::new(),
            size: None,
            time,
            sequence: None,
            previous: None,
            change: None,
            role: None,
            actor: None,
            account: None,
            detail: None,
            attestations: Vec::new(),
            keys_added: Vec::new(),
            keys_removed: Vec::new(),
            predecessor: None,
            successor: None,
            map: None,
        }
    }

    /// A leaf about a project, release or file: the `sequence`-th of its project, `time` in microseconds since 1970.
    #[must_use]
    pub fn about(
        kind: LeafKind,
        subject: impl Into<String>,
        time: i64,
        sequence: u64,
        previous: Option<u64>,
    ) -> Self {
        Self {
            sequence: Some(sequence),
            previous,
            ..Self::bare(kind, Some(subject.into()), time)
        }
    }

    /// The leaf that binds a file's purl to its digest.
    #[must_use]
    pub fn file_published(
        subject: impl Into<String>,
        sha256: Sha256,
        size: u64,
        time: i64,
        sequence: u64,
        previous: Option<u64>,
    ) -> Self {
        Self {
            digests: vec![(Algorithm::Sha256, sha256.to_hex())],
            size: Some(size),
            ..Self::about(LeafKind::FilePublished, subject, time, sequence, previous)
        }
    }

    /// A leaf about the registry or log as a whole, as for a policy, a key or a token.
    #[must_use]
    pub fn about_registry(kind: LeafKind, time: i64) -> Self {
        Self::bare(kind, None, time)
    }

    /// The first leaf of a log.
    #[must_use]
    pub fn log_genesis(predecessor: Option<Predecessor>, time: i64) -> Self {
        Self {
            predecessor,
            ..Self::bare(LeafKind::LogGenesis, None, time)
        }
    }

    /// The last leaf of a log.
    #[must_use]
    pub fn log_freeze(successor: Option<String>, time: i64) -> Self {
        Self {
            successor,
            ..Self::bare(LeafKind::LogFreeze, None, time)
        }
    }

    /// The root of the map over the first `covers` leaves.
    #[must_use]
    pub fn map_root(covers: u64, root: Sha256, time: i64) -> Self {
        Self {
            map: Some(MapRoot { covers, root }),
            ..Self::bare(LeafKind::MapRoot, None, time)
        }
    }

    /// The SHA-256 of the file, if the leaf carries one.
    #[must_use]
    pub fn sha256(&self) -> Option<Sha256> {
        let (_, hex) = self
            .digests
            .iter()
            .find(|(algorithm, _)| *algorithm == Algorithm::Sha256)?;
        hex.parse().ok()
    }

    /// The leaf's one text: the bytes that are logged.
    ///
    /// # Errors
    /// [`LeafError`] when the fields do not make a leaf of this kind; never for a leaf that was parsed.
    pub fn to_text(&self) -> Result<String, LeafError> {
        let text = self.lines();
        // Reading it back is what guarantees that readers take it, and that it says what was meant.
        match parse(text.as_bytes())? {
            ParsedLeaf::Known(read) if *read == *self => Ok(text),
            _ => Err(LeafError::Fields {
                kind: self.kind,
                reason: "has fields out of their order".to_owned(),
            }),
        }
    }

    /// Every line in the order of the specification.
    fn lines(&self) -> String {
        let mut text = format!("{HEADER}\n");
        let mut line = |keyword: &str, value: &dyn fmt::Display| {
            text.push_str(&format!("{keyword} {value}\n"));
        };
        line("kind", &self.kind);
        if let Some(subject) = &self.subject {
            line("subject", subject);
        }
        for (algorithm, hex) in &self.digests {
            line("digest", &format_args!("{algorithm}:{hex}"));
        }
        if let Some(size) = self.size {
            line("size", &size);
        }
        line("time", &format_time(self.time).unwrap_or_default());
        let sequence = [("sequence", self.sequence), ("previous", self.previous)];
        for (keyword, value) in sequence {
            if let Some(value) = value {
                line(keyword, &value);
            }
        }
        if let Some(change) = self.change {
            line("change", &change);
        }
        if let Some(role) = &self.role {
            line("role", role);
        }
        for (keyword, value) in [
            ("actor", self.actor),
            ("account", self.account),
            ("detail", self.detail),
        ] {
            if let Some(value) = value {
                line(keyword, &value);
            }
        }
        let lists = [
            ("attestation", &self.attestations),
            ("key-added", &self.keys_added),
            ("key-removed", &self.keys_removed),
        ];
        for (keyword, values) in lists {
            for value in values {
                line(keyword, &format_args!("sha256:{value}"));
            }
        }
        if let Some(predecessor) = &self.predecessor {
            line("predecessor-origin", &predecessor.origin);
            line("predecessor-size", &predecessor.size);
            line("predecessor-root", &predecessor.root);
        }
        if let Some(successor) = &self.successor {
            line("successor-origin", successor);
        }
        if let Some(map) = &self.map {
            line("covers", &map.covers);
            line("root", &map.root);
        }
        text
    }
}

/// Reads an entry of the log. Unknown kinds are skipped as long as they keep to the outer form (header, a kind,
/// printable lines, length), so that old readers live with new registries.
///
/// # Errors
/// [`LeafError`].
pub fn parse(entry: &[u8]) -> Result<ParsedLeaf, LeafError> {
    Ok(match parse::parse(entry)? {
        ParsedBorrowed::Known(leaf) => ParsedLeaf::Known(Box::new(leaf.into_leaf())),
        ParsedBorrowed::Skipped { kind } => ParsedLeaf::Skipped {
            kind: kind.to_owned(),
        },
    })
}

/// Reads an entry of the log as [`parse`] does, without copying its texts.
///
/// # Errors
/// [`LeafError`].
#[inline]
pub fn parse_borrowed(entry: &[u8]) -> Result<ParsedBorrowed<'_>, LeafError> {
    parse::parse(entry)
}

/// A commitment to a text, such as an account's name: SHA-256("countersign-commitment/v1" LF ‖ salt ‖ text). The salt
/// is random and new for each leaf; whoever has salt and text can check the commitment, and once the salt is erased
/// nobody can guess the text.
#[must_use]
pub fn commit(salt: &[u8; 32], text: &str) -> Sha256 {
    Sha256::of_parts(&[b"countersign-commitment/v1\n", salt, text.as_bytes()])
}

/// The unique key of an identifier: SHA-256("countersign-identifier/v1" LF ‖ purl). Full length, never truncated.
#[must_use]
pub fn identifier_hash(purl: &str) -> Sha256 {
    Sha256::of_parts(&[IDENTIFIER, purl.as_bytes()])
}

/// [`identifier_hash`] of many purls, in less time. `take` gets them in their order.
pub fn identifier_hashes<'a>(purls: impl IntoIterator<Item = &'a str>, take: impl FnMut(Sha256)) {
    let purls = purls.into_iter();
    digests(
        purls.map(|purl| prefixed(IDENTIFIER, purl.as_bytes())),
        take,
    );
}

const IDENTIFIER: &[u8; 26] = b"countersign-identifier/v1\n";

#[cfg(test)]
mod tests;
