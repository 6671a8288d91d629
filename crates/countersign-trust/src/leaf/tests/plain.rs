//! The grammar in its plain form, line by line, with everything copied: what the reader that copies nothing is held against.

use crate::canonical_decimal;
use crate::digest::Sha256;
use crate::leaf::subject::{Scope, check_subject};
use crate::leaf::{
    Algorithm, Change, HEADER, Leaf, LeafError, LeafKind, MAX_ATTESTATIONS, MAX_LEAF_BYTES,
    MapRoot, ParsedLeaf, Predecessor, parse_time,
};

/// Most keys that one rotation adds or removes.
const MAX_KEYS: usize = 8;

pub(super) fn parse(entry: &[u8]) -> Result<ParsedLeaf, LeafError> {
    if entry.len() > MAX_LEAF_BYTES {
        return Err(LeafError::TooLong { found: entry.len() });
    }
    // Over all bytes, without leaving early: so the compiler can look at many of them at once, and whoever reads a whole
    // log comes by here for each entry.
    let plain = |plain: bool, byte: &u8| plain & (matches!(byte, 0x20..=0x7e) | (*byte == b'\n'));
    let empty = |found: bool, pair: &[u8]| found | ((pair[0] == b'\n') & (pair[1] == b'\n'));
    if !entry.iter().fold(true, plain)
        || entry.starts_with(b"\n")
        || entry.windows(2).fold(false, empty)
    {
        return Err(LeafError::NotText);
    }
    let text = std::str::from_utf8(entry).map_err(|_| LeafError::NotText)?;
    let body = text.strip_suffix('\n').ok_or(LeafError::NotText)?;
    let mut lines = Lines {
        rest: body.split('\n').peekable(),
        line: 1,
    };
    let header = lines.rest.next().unwrap_or_default();
    if header != HEADER {
        return Err(LeafError::Header {
            found: header.chars().take(80).collect(),
        });
    }
    let kind = lines.required("kind", |word| is_word(word).then(|| word.to_owned()))?;
    let Some(kind) = LeafKind::from_word(&kind) else {
        return Ok(ParsedLeaf::Skipped { kind });
    };
    let leaf = lines.leaf(kind)?;
    check_fields(&leaf)?;
    Ok(ParsedLeaf::Known(Box::new(leaf)))
}

/// The lines that are left.
struct Lines<'a> {
    rest: std::iter::Peekable<std::str::Split<'a, char>>,
    /// Number of the line last taken, from 1.
    line: usize,
}

impl<'a> Lines<'a> {
    /// The value of the next line if it has this keyword.
    fn optional<T>(
        &mut self,
        keyword: &str,
        read: impl Fn(&'a str) -> Option<T>,
    ) -> Result<Option<T>, LeafError> {
        let value = self
            .rest
            .peek()
            .and_then(|line| line.strip_prefix(keyword)?.strip_prefix(' '));
        let Some(value) = value else { return Ok(None) };
        self.rest.next();
        self.line += 1;
        let wrong = || LeafError::Line {
            line: self.line,
            reason: format!("{value:?} is not a valid {keyword}"),
        };
        read(value).map(Some).ok_or_else(wrong)
    }

    fn required<T>(
        &mut self,
        keyword: &str,
        read: impl Fn(&'a str) -> Option<T>,
    ) -> Result<T, LeafError> {
        let line = self.line + 1;
        let found = self.rest.peek().copied().unwrap_or("the end");
        let missing = || LeafError::Line {
            line,
            reason: format!("expected {keyword:?}, found {found:?}"),
        };
        self.optional(keyword, read)?.ok_or_else(missing)
    }

    /// The lines of this keyword, strictly ascending.
    fn ascending<T: Ord + Copy, V>(
        &mut self,
        keyword: &str,
        most: usize,
        read: impl Fn(&'a str) -> Option<(T, V)>,
    ) -> Result<Vec<(T, V)>, LeafError> {
        let mut values: Vec<(T, V)> = Vec::new();
        while let Some((key, value)) = self.optional(keyword, &read)? {
            if values.len() == most {
                return Err(LeafError::Line {
                    line: self.line,
                    reason: format!("more than {most} {keyword} lines"),
                });
            }
            if values.last().is_some_and(|(last, _)| *last >= key) {
                let reason = format!("the {keyword} lines are not ascending and distinct");
                return Err(LeafError::Line {
                    line: self.line,
                    reason,
                });
            }
            values.push((key, value));
        }
        Ok(values)
    }

    fn hashes(&mut self, keyword: &str, most: usize) -> Result<Vec<Sha256>, LeafError> {
        let read = |value: &str| Some((hash(value.strip_prefix("sha256:")?)?, ()));
        Ok(self
            .ascending(keyword, most, read)?
            .into_iter()
            .map(|(hash, ())| hash)
            .collect())
    }

    /// All lines after the kind, in the one order there is.
    fn leaf(&mut self, kind: LeafKind) -> Result<Leaf, LeafError> {
        let leaf = Leaf {
            kind,
            subject: self.optional("subject", |value| Some(value.to_owned()))?,
            digests: self.ascending("digest", Algorithm::ALL.len(), digest)?,
            size: self.optional("size", canonical_decimal)?,
            time: self.required("time", parse_time)?,
            sequence: self.optional("sequence", canonical_decimal)?,
            previous: self.optional("previous", canonical_decimal)?,
            change: self.optional("change", Change::from_word)?,
            role: self.optional("role", |word| is_word(word).then(|| word.to_owned()))?,
            actor: self.optional("actor", hash)?,
            account: self.optional("account", hash)?,
            detail: self.optional("detail", hash)?,
            attestations: self.hashes("attestation", MAX_ATTESTATIONS)?,
            keys_added: self.hashes("key-added", MAX_KEYS)?,
            keys_removed: self.hashes("key-removed", MAX_KEYS)?,
            predecessor: match self.optional("predecessor-origin", origin)? {
                Some(origin) => Some(Predecessor {
                    origin,
                    size: self.required("predecessor-size", canonical_decimal)?,
                    root: self.required("predecessor-root", hash)?,
                }),
                None => None,
            },
            successor: self.optional("successor-origin", origin)?,
            map: match self.optional("covers", canonical_decimal)? {
                Some(covers) => Some(MapRoot {
                    covers,
                    root: self.required("root", hash)?,
                }),
                None => None,
            },
        };
        match self.rest.next() {
            Some(line) => Err(LeafError::Line {
                line: self.line + 1,
                reason: format!("{line:?} is unknown, repeated or out of order"),
            }),
            None => Ok(leaf),
        }
    }
}

fn hash(value: &str) -> Option<Sha256> {
    value.parse().ok()
}

fn digest(value: &str) -> Option<(Algorithm, String)> {
    let (algorithm, hex) = value.split_once(':')?;
    let algorithm = Algorithm::from_word(algorithm)?;
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (hex.len() == algorithm.hex_length() && hex.bytes().all(is_hex))
        .then(|| (algorithm, hex.to_owned()))
}

/// A lower-case word: letters, digits and hyphens, beginning with a letter, at most 64 bytes.
fn is_word(word: &str) -> bool {
    word.len() <= 64
        && word.starts_with(|c: char| c.is_ascii_lowercase())
        && word
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn origin(value: &str) -> Option<String> {
    let plain = |b: u8| b.is_ascii_graphic() && b != b'+';
    ((1..=255).contains(&value.len()) && value.bytes().all(plain)).then(|| value.to_owned())
}

/// Whether a kind has a field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Has {
    Always,
    Maybe,
    Never,
}

/// One row of the specification's table.
struct Rule {
    subject: Has,
    /// The scopes that the subject may have.
    scopes: std::ops::RangeInclusive<Scope>,
    file: Has,
    change: Has,
    role: Has,
    account: Has,
    attestations: Has,
}

fn rule(kind: LeafKind) -> Rule {
    use Has::{Always, Maybe, Never};
    use LeafKind as K;
    let any = Scope::Project..=Scope::File;
    let row = |subject, scopes| Rule {
        subject,
        scopes,
        file: Never,
        change: Never,
        role: Never,
        account: Never,
        attestations: Never,
    };
    match kind {
        K::FilePublished => Rule {
            file: Always,
            attestations: Maybe,
            ..row(Always, Scope::File..=Scope::File)
        },
        K::AttestationAdded => Rule {
            attestations: Always,
            ..row(Always, Scope::File..=Scope::File)
        },
        K::Yanked | K::Unyanked => row(Always, Scope::Release..=Scope::File),
        // Without one it is said; `removed` takes it back.
        K::Deprecated => Rule {
            change: Maybe,
            ..row(Always, any)
        },
        K::Deleted | K::Quarantined | K::Released => row(Always, any),
        K::OwnerChanged => Rule {
            change: Always,
            account: Always,
            ..row(Always, Scope::Project..=Scope::Project)
        },
        K::RoleChanged => Rule {
            change: Always,
            role: Always,
            account: Always,
            ..row(Always, Scope::Project..=Scope::Project)
        },
        K::PublisherChanged | K::VisibilityChanged => Rule {
            change: Always,
            ..row(Always, Scope::Project..=Scope::Project)
        },
        K::PolicyChanged => Rule {
            change: Always,
            ..row(Maybe, Scope::Project..=Scope::Project)
        },
        K::TokenRevokedLeaked => Rule {
            account: Maybe,
            ..row(Maybe, Scope::Project..=Scope::Project)
        },
        K::OperatorOverride => Rule {
            account: Maybe,
            ..row(Maybe, any)
        },
        K::KeyRotated | K::LogGenesis | K::LogFreeze | K::MapRoot => row(Never, any),
    }
}

fn check_fields(leaf: &Leaf) -> Result<(), LeafError> {
    let refuse = |reason: String| LeafError::Fields {
        kind: leaf.kind,
        reason,
    };
    let check = |name: &str, present: bool, has: Has| match (present, has) {
        (false, Has::Always) => Err(refuse(format!("must have {name}"))),
        (true, Has::Never) => Err(refuse(format!("must not have {name}"))),
        _ => Ok(()),
    };
    let only = |kind: LeafKind, has: Has| if leaf.kind == kind { has } else { Has::Never };
    let rule = rule(leaf.kind);
    check("a subject", leaf.subject.is_some(), rule.subject)?;
    if let Some(subject) = &leaf.subject {
        let scope = check_subject(subject)?;
        if !rule.scopes.contains(&scope) {
            return Err(refuse(format!("cannot be about a {scope}: {subject}")));
        }
    }
    check("digests", !leaf.digests.is_empty(), rule.file)?;
    check(
        "a sha256 digest",
        leaf.digests
            .iter()
            .any(|(algorithm, _)| *algorithm == Algorithm::Sha256),
        rule.file,
    )?;
    check("a size", leaf.size.is_some(), rule.file)?;
    // Whatever has a subject is in its project's chain, and nothing else is.
    let chained = if leaf.subject.is_some() {
        Has::Always
    } else {
        Has::Never
    };
    check("a sequence", leaf.sequence.is_some(), chained)?;
    if leaf.sequence == Some(0) {
        return Err(refuse("counts its sequence from 1".to_owned()));
    }
    let may_follow = if leaf.sequence.is_some_and(|sequence| sequence > 1) {
        Has::Maybe
    } else {
        Has::Never
    };
    check(
        "a previous leaf unless its sequence is above 1",
        leaf.previous.is_some(),
        may_follow,
    )?;
    check("a change", leaf.change.is_some(), rule.change)?;
    if leaf.kind == LeafKind::Deprecated && leaf.change.is_some_and(|way| way != Change::Removed) {
        return Err(refuse("can only be taken back by its change".to_owned()));
    }
    check("a role", leaf.role.is_some(), rule.role)?;
    let by_someone = match leaf.kind {
        LeafKind::LogGenesis | LeafKind::LogFreeze | LeafKind::MapRoot => Has::Never,
        _ => Has::Maybe,
    };
    check("an actor", leaf.actor.is_some(), by_someone)?;
    check("an account", leaf.account.is_some(), rule.account)?;
    let detailed = if leaf.kind == LeafKind::FilePublished {
        Has::Never
    } else {
        by_someone
    };
    check("a detail", leaf.detail.is_some(), detailed)?;
    check(
        "attestations",
        !leaf.attestations.is_empty(),
        rule.attestations,
    )?;
    let rotates = !leaf.keys_added.is_empty() || !leaf.keys_removed.is_empty();
    check(
        "added or removed keys",
        rotates,
        only(LeafKind::KeyRotated, Has::Always),
    )?;
    check(
        "a predecessor",
        leaf.predecessor.is_some(),
        only(LeafKind::LogGenesis, Has::Maybe),
    )?;
    check(
        "a successor",
        leaf.successor.is_some(),
        only(LeafKind::LogFreeze, Has::Maybe),
    )?;
    check(
        "a map root",
        leaf.map.is_some(),
        only(LeafKind::MapRoot, Has::Always),
    )
}
