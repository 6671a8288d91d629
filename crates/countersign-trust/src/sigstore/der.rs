//! DER of strangers, looked through before any decoder sees it.
//!
//! The decoders sort every SET by insertion, so that one of some thousands of members takes minutes. No certificate and
//! no timestamp has more than a few.

use super::{Refusal, Step};

/// The longest certificate, in bytes; those of the public instances have less than 2000.
const CERTIFICATE: usize = 4096;
/// The longest RFC 3161 timestamp, in bytes; with all the certificates of its authority it has some 6000.
const TIMESTAMP: usize = 8192;
/// How many members a SET may have, and what else is tagged as made of parts.
const MEMBERS: usize = 16;
/// How many members a SEQUENCE may have.
const SEQUENCE_MEMBERS: usize = 64;
/// How deep it may be nested.
const DEPTH: usize = 24;

const OCTETS: u8 = 0x04;
const SEQUENCE: u8 = 0x30;
/// The bit of a tag that says: made of parts.
const CONSTRUCTED: u8 = 0x20;

/// Whether a certificate can be read in time that is no burden.
pub(super) fn certificate(bytes: &[u8]) -> Result<(), Refusal> {
    bounded("certificate", Step::Chain, bytes, CERTIFICATE)
}

/// Whether a timestamp can be read in time that is no burden.
pub(super) fn timestamp(bytes: &[u8]) -> Result<(), Refusal> {
    bounded("timestamp", Step::Time, bytes, TIMESTAMP)
}

fn bounded(what: &str, step: Step, bytes: &[u8], most: usize) -> Result<(), Refusal> {
    super::bundle::within(what, bytes, most)?;
    match look(bytes, SEQUENCE_MEMBERS, 0) {
        Ok(()) => Ok(()),
        Err(Odd::Giant) => Err(Refusal::new(
            Step::Parse,
            format!("the {what} has a set of too many members, or is nested too deep"),
        )
        .expected(format!(
            "at most {MEMBERS} members of a set, {SEQUENCE_MEMBERS} of a sequence, {DEPTH} levels"
        ))),
        Err(Odd::Malformed) => Err(Refusal::new(step, format!("the {what} is not DER"))),
    }
}

enum Odd {
    /// It would take long to read.
    Giant,
    /// It is not DER.
    Malformed,
}

/// Looks through the values that stand in `bytes` one after another, of which there may be `most`, and through theirs.
/// Each byte is looked at once for each level that it is in, at most [`DEPTH`] times.
fn look(mut bytes: &[u8], most: usize, depth: usize) -> Result<(), Odd> {
    if depth > DEPTH {
        return Err(Odd::Giant);
    }
    for _ in 0..most {
        if bytes.is_empty() {
            return Ok(());
        }
        let (tag, content, rest) = value(bytes).ok_or(Odd::Malformed)?;
        if tag & CONSTRUCTED != 0 {
            let most = if tag == SEQUENCE {
                SEQUENCE_MEMBERS
            } else {
                MEMBERS
            };
            look(content, most, depth + 1)?;
        } else if tag == OCTETS && content.first() == Some(&SEQUENCE) {
            // Extensions and what is stamped are DER within octets. Other octets may begin so by chance: then only
            // what a decoder would have read before it stumbled counts.
            if let Err(Odd::Giant) = look(content, SEQUENCE_MEMBERS, depth + 1) {
                return Err(Odd::Giant);
            }
        }
        bytes = rest;
    }
    if bytes.is_empty() {
        Ok(())
    } else {
        Err(Odd::Giant)
    }
}

/// The first value: its tag, its content, and what follows.
fn value(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    // Tags of more than one byte stand in nothing that is read here.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}
