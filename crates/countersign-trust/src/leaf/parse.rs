//! Reading leaves: the lines in their order, and the table of what each kind has. Whoever reads a whole log comes by here for
//! each entry, so nothing is copied that is only looked at.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::subject::{Scope, check_subject};
use super::{
    Algorithm, BorrowedLeaf, Change, HEADER, LeafError, LeafKind, MAX_ATTESTATIONS, MAX_LEAF_BYTES,
    MapRoot, ParsedBorrowed, Rest, parse_time,
};
use crate::digest::Sha256;

/// Most keys that one rotation adds or removes.
const MAX_KEYS: usize = 8;

pub(super) fn parse(entry: &[u8]) -> Result<ParsedBorrowed<'_>, LeafError> {
    if entry.len() > MAX_LEAF_BYTES {
        return Err(LeafError::TooLong { found: entry.len() });
    }
    if !is_text(entry) {
        return Err(LeafError::NotText);
    }
    let after_header = entry
        .strip_prefix(HEADER.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"\n"));
    let Some(rest) = after_header else {
        let header = &entry[..line_length(entry).unwrap_or_default().min(80)];
        return Err(LeafError::Header {
            found: String::from_utf8_lossy(header).into_owned(),
        });
    };
    let mut lines = Lines { rest, line: 1 };
    let known = |value| {
        let word = text(value)?;
        match LeafKind::from_word(word) {
            Some(kind) => Some(Ok(kind)),
            None => is_word(word).then_some(Err(word)),
        }
    };
    let kind = match lines.required(b"kind ", known)? {
        Ok(kind) => kind,
        Err(kind) => return Ok(ParsedBorrowed::Skipped { kind }),
    };
    let leaf = lines.leaf(kind)?;
    check_fields(&leaf)?;
    Ok(ParsedBorrowed::Known(leaf))
}

/// LF-terminated lines of printable ASCII, none of them empty. Looks at all bytes without leaving early: so the compiler can
/// look at many of them at once.
fn is_text(entry: &[u8]) -> bool {
    let (Some((first, after)), Some((b'\n', before))) = (entry.split_first(), entry.split_last())
    else {
        return false;
    };
    let refused = |byte: u8, next: u8| {
        let plain = (byte.wrapping_sub(0x20) < 0x5f) | ((byte == b'\n') & (next != b'\n'));
        u8::from(!plain)
    };
    let pairs = before.iter().zip(after);
    let found = pairs.fold(0, |found, (byte, next)| found | refused(*byte, *next));
    found == 0 && *first != b'\n'
}

/// How many bytes are before the first LF.
#[inline]
fn line_length(text: &[u8]) -> Option<usize> {
    const LF: u64 = u64::from_ne_bytes([b'\n'; 8]);
    const LOW: u64 = u64::from_ne_bytes([0x7f; 8]);
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let differs = u64::from_le_bytes(*word) ^ LF;
        // The highest bit of each byte that does not differ.
        let found = !(((differs & LOW) + LOW) | differs | LOW);
        if found != 0 {
            return Some(at * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let within = rest.iter().position(|byte| *byte == b'\n')?;
    Some(words.len() * 8 + within)
}

/// The lines that are left. Keywords are given with the space after them.
struct Lines<'a> {
    /// Whole lines with their ends.
    rest: &'a [u8],
    /// Number of the line last taken, from 1.
    line: usize,
}

impl<'a> Lines<'a> {
    /// The value of the next line if it has this keyword.
    #[inline(always)]
    fn optional<const N: usize, T>(
        &mut self,
        keyword: &[u8; N],
        read: impl Fn(&'a [u8]) -> Option<T>,
    ) -> Result<Option<T>, LeafError> {
        match self.rest.split_first_chunk::<N>() {
            Some((found, after)) if found == keyword => self.line(keyword, after, read).map(Some),
            _ => Ok(None),
        }
    }

    /// Takes the line of which `after` is what follows its keyword.
    #[inline(always)]
    fn line<T>(
        &mut self,
        keyword: &[u8],
        after: &'a [u8],
        read: impl Fn(&'a [u8]) -> Option<T>,
    ) -> Result<T, LeafError> {
        let length = line_length(after).unwrap_or(after.len());
        let (value, rest) = after.split_at_checked(length).unwrap_or((after, &[]));
        self.rest = rest.strip_prefix(b"\n").unwrap_or_default();
        self.line += 1;
        match read(value) {
            Some(read) => Ok(read),
            None => Err(self.wrong(keyword, value)),
        }
    }

    #[cold]
    fn wrong(&self, keyword: &[u8], value: &[u8]) -> LeafError {
        let (keyword, value) = (shown(keyword), shown(value));
        LeafError::Line {
            line: self.line,
            reason: format!("{value:?} is not a valid {}", keyword.trim_end()),
        }
    }

    #[inline(always)]
    fn required<const N: usize, T>(
        &mut self,
        keyword: &[u8; N],
        read: impl Fn(&'a [u8]) -> Option<T>,
    ) -> Result<T, LeafError> {
        match self.optional(keyword, read)? {
            Some(value) => Ok(value),
            None => Err(self.missing(keyword)),
        }
    }

    #[cold]
    fn missing(&self, keyword: &[u8]) -> LeafError {
        let (keyword, found) = (shown(keyword), self.next_line());
        let found = found.unwrap_or_else(|| "the end".into());
        LeafError::Line {
            line: self.line + 1,
            reason: format!("expected {:?}, found {found:?}", keyword.trim_end()),
        }
    }

    fn next_line(&self) -> Option<Cow<'a, str>> {
        let length = line_length(self.rest)?;
        self.rest.get(..length).map(shown)
    }

    /// Takes the lines of this keyword, strictly ascending.
    #[inline(always)]
    fn ascending<const N: usize, T: Ord + Copy, V>(
        &mut self,
        keyword: &[u8; N],
        most: usize,
        read: impl Fn(&'a [u8]) -> Option<(T, V)>,
        mut take: impl FnMut(T, V),
    ) -> Result<(), LeafError> {
        let (mut count, mut last) = (0, None);
        while let Some((key, value)) = self.optional(keyword, &read)? {
            if count == most {
                return Err(self.list(keyword, |keyword| {
                    format!("more than {most} {keyword} lines")
                }));
            }
            if last.is_some_and(|last| last >= key) {
                return Err(self.list(keyword, |keyword| {
                    format!("the {keyword} lines are not ascending and distinct")
                }));
            }
            count += 1;
            last = Some(key);
            take(key, value);
        }
        Ok(())
    }

    #[cold]
    fn list(&self, keyword: &[u8], reason: impl Fn(&str) -> String) -> LeafError {
        LeafError::Line {
            line: self.line,
            reason: reason(shown(keyword).trim_end()),
        }
    }

    #[inline(always)]
    fn hashes<const N: usize>(
        &mut self,
        keyword: &[u8; N],
        most: usize,
        into: &mut Vec<Sha256>,
    ) -> Result<(), LeafError> {
        let read = |value: &[u8]| Some((hash(value.strip_prefix(b"sha256:")?)?, ()));
        self.ascending(keyword, most, read, |hash, ()| into.push(hash))
    }

    /// All lines after the kind, in the one order there is.
    #[inline(always)]
    fn leaf(&mut self, kind: LeafKind) -> Result<BorrowedLeaf<'a>, LeafError> {
        let mut leaf = BorrowedLeaf::bare(kind);
        leaf.subject = self.optional(b"subject ", text)?;
        let into = &mut leaf.digests;
        self.ascending(b"digest ", into.len(), digest, |algorithm, hex| {
            into[algorithm as usize] = Some(hex);
        })?;
        leaf.size = self.optional(b"size ", decimal)?;
        leaf.time = self.required(b"time ", |value| parse_time(text(value)?))?;
        leaf.sequence = self.optional(b"sequence ", decimal)?;
        leaf.previous = self.optional(b"previous ", decimal)?;
        if !self.rest.is_empty() {
            leaf.rest = Some(self.rest()?);
        }
        Ok(leaf)
    }

    /// The lines that few leaves have.
    fn rest(&mut self) -> Result<Box<Rest<'a>>, LeafError> {
        let mut rest = Box::<Rest<'a>>::default();
        let word = |value| text(value).filter(|word| is_word(word));
        rest.change = self.optional(b"change ", |value| Change::from_word(text(value)?))?;
        rest.role = self.optional(b"role ", word)?;
        rest.actor = self.optional(b"actor ", hash)?;
        rest.account = self.optional(b"account ", hash)?;
        rest.detail = self.optional(b"detail ", hash)?;
        self.hashes(b"attestation ", MAX_ATTESTATIONS, &mut rest.attestations)?;
        self.hashes(b"key-added ", MAX_KEYS, &mut rest.keys_added)?;
        self.hashes(b"key-removed ", MAX_KEYS, &mut rest.keys_removed)?;
        if let Some(origin) = self.optional(b"predecessor-origin ", origin)? {
            let size = self.required(b"predecessor-size ", decimal)?;
            let root = self.required(b"predecessor-root ", hash)?;
            rest.predecessor = Some((origin, size, root));
        }
        rest.successor = self.optional(b"successor-origin ", origin)?;
        if let Some(covers) = self.optional(b"covers ", decimal)? {
            let root = self.required(b"root ", hash)?;
            rest.map = Some(MapRoot { covers, root });
        }
        match self.next_line() {
            Some(line) => Err(LeafError::Line {
                line: self.line + 1,
                reason: format!("{line:?} is unknown, repeated or out of order"),
            }),
            None => Ok(rest),
        }
    }
}

fn shown(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

fn hash(value: &[u8]) -> Option<Sha256> {
    Sha256::from_hex(value)
}

/// A number in its one spelling, as [`crate::canonical_decimal`] reads it.
fn decimal(value: &[u8]) -> Option<u64> {
    match value {
        [b'0'] => Some(0),
        [] | [b'0', ..] => None,
        digits => digits.iter().try_fold(0_u64, |number, byte| {
            let digit = byte.wrapping_sub(b'0');
            let number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
            (digit < 10).then_some(number)
        }),
    }
}

fn digest(value: &[u8]) -> Option<(Algorithm, &str)> {
    let named = |algorithm: &Algorithm| {
        let hex = value.strip_prefix(algorithm.as_str().as_bytes())?;
        Some((*algorithm, hex.strip_prefix(b":")?))
    };
    let (algorithm, hex) = Algorithm::ALL.iter().find_map(named)?;
    let is_hex = |b: u8| (b.wrapping_sub(b'0') < 10) | (b.wrapping_sub(b'a') < 6);
    let hexadecimal = hex.iter().fold(true, |all, byte| all & is_hex(*byte));
    if hex.len() != algorithm.hex_length() || !hexadecimal {
        return None;
    }
    Some((algorithm, text(hex)?))
}

/// A lower-case word: letters, digits and hyphens, beginning with a letter, at most 64 bytes.
fn is_word(word: &str) -> bool {
    word.len() <= 64
        && word.starts_with(|c: char| c.is_ascii_lowercase())
        && word
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn origin(value: &[u8]) -> Option<&str> {
    let plain = |b: &u8| b.is_ascii_graphic() && *b != b'+';
    ((1..=255).contains(&value.len()) && value.iter().all(plain))
        .then_some(value)
        .and_then(text)
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

fn check_fields(leaf: &BorrowedLeaf<'_>) -> Result<(), LeafError> {
    static NONE: LazyLock<Rest<'static>> = LazyLock::new(Rest::default);
    let rest = leaf.rest.as_deref().unwrap_or(&NONE);
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
    if let Some(subject) = leaf.subject {
        let scope = check_subject(subject)?;
        if !rule.scopes.contains(&scope) {
            return Err(refuse(format!("cannot be about a {scope}: {subject}")));
        }
    }
    let has_digests = leaf.digests.iter().any(Option::is_some);
    check("digests", has_digests, rule.file)?;
    let has_sha256 = leaf.digest(Algorithm::Sha256).is_some();
    check("a sha256 digest", has_sha256, rule.file)?;
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
    check("a change", rest.change.is_some(), rule.change)?;
    if leaf.kind == LeafKind::Deprecated && rest.change.is_some_and(|way| way != Change::Removed) {
        return Err(refuse("can only be taken back by its change".to_owned()));
    }
    check("a role", rest.role.is_some(), rule.role)?;
    let by_someone = match leaf.kind {
        LeafKind::LogGenesis | LeafKind::LogFreeze | LeafKind::MapRoot => Has::Never,
        _ => Has::Maybe,
    };
    check("an actor", rest.actor.is_some(), by_someone)?;
    check("an account", rest.account.is_some(), rule.account)?;
    let detailed = if leaf.kind == LeafKind::FilePublished {
        Has::Never
    } else {
        by_someone
    };
    check("a detail", rest.detail.is_some(), detailed)?;
    check(
        "attestations",
        !rest.attestations.is_empty(),
        rule.attestations,
    )?;
    let rotates = !rest.keys_added.is_empty() || !rest.keys_removed.is_empty();
    check(
        "added or removed keys",
        rotates,
        only(LeafKind::KeyRotated, Has::Always),
    )?;
    check(
        "a predecessor",
        rest.predecessor.is_some(),
        only(LeafKind::LogGenesis, Has::Maybe),
    )?;
    check(
        "a successor",
        rest.successor.is_some(),
        only(LeafKind::LogFreeze, Has::Maybe),
    )?;
    check(
        "a map root",
        rest.map.is_some(),
        only(LeafKind::MapRoot, Has::Always),
    )
}
