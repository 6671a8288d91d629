//! Bulk data: zips with a record a member, as databases hand them out (`{ecosystem}/all.zip`), and single files. A record that
//! can not be used is left out and told; the others are taken. A zip that does not hold as a whole is an error.

use std::io::Read as _;

use serde::de::{SeqAccess, Visitor};
use serde_json::Value;

use super::record::{MAX_RECORD, Record, malformed};
use crate::archive::{self, MemberKind, zip};
use crate::rejection::printable;
use crate::{Limits, ReadSeek, Rejection};

/// The most members of a zip.
pub const MAX_MEMBERS: usize = 3_000_000;
/// The most bytes that a zip may unpack to.
pub const MAX_UNPACKED: u64 = 64 << 30;
/// The longest file that is not a zip, in bytes.
pub const MAX_DOCUMENT: usize = 256 << 20;
/// Of so many records that were left out it is told why.
const MAX_TOLD: usize = 100;

/// What came of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Records that were taken, those included that were withdrawn.
    pub records: u64,
    /// Records among them that were withdrawn: they match nothing.
    pub withdrawn: u64,
    /// Records that were left out.
    pub refused: u64,
    /// Where and why, for the first hundred of them.
    pub reasons: Vec<(String, String)>,
}

impl Report {
    /// Adds what another part gave.
    pub fn add(&mut self, other: Self) {
        self.records += other.records;
        self.withdrawn += other.withdrawn;
        self.refused += other.refused;
        self.reasons.extend(other.reasons);
        self.reasons.truncate(MAX_TOLD);
    }

    fn take(
        &mut self,
        place: &str,
        record: Result<Record, Rejection>,
        each: &mut dyn FnMut(Record) -> Result<(), Rejection>,
    ) -> Result<(), Rejection> {
        match record {
            Ok(record) => {
                self.records += 1;
                self.withdrawn += u64::from(record.is_withdrawn());
                each(record)
            }
            Err(refused) => {
                self.refused += 1;
                if self.reasons.len() < MAX_TOLD {
                    self.reasons.push((printable(place, 200), refused.message));
                }
                Ok(())
            }
        }
    }
}

/// Reads a zip of `size` bytes, member by member, and hands each record to `each`.
///
/// # Errors
/// Where the archive is cut off, damaged or beyond the limits; and what `each` refuses.
pub fn archive(
    bytes: &mut dyn ReadSeek,
    size: u64,
    each: &mut dyn FnMut(Record) -> Result<(), Rejection>,
) -> Result<Report, Rejection> {
    let limits = Limits {
        max_file_size: 16 << 30,
        max_unpacked: MAX_UNPACKED,
        max_entries: MAX_MEMBERS,
        max_directory: 512 << 20,
        // Records are text that repeats itself; single ones are bounded by their own limit.
        max_ratio: 400,
        ..Limits::default()
    };
    let rules = zip::Rules {
        data_descriptors: true,
    };
    let mut report = Report::default();
    zip::check(bytes, size, &limits, rules, &mut |member, reader| {
        if member.kind != MemberKind::File || !member.path.ends_with(".json") {
            return Ok(());
        }
        if member.size > MAX_RECORD as u64 {
            let long = malformed("", &format!("it has more than {MAX_RECORD} bytes"));
            return report.take(member.path, Err(long), each);
        }
        // The size is the header's word; the checker holds it against the bytes, and here it is a bound.
        let mut text = Vec::with_capacity(usize::try_from(member.size).unwrap_or_default());
        reader
            .take(MAX_RECORD as u64)
            .read_to_end(&mut text)
            .map_err(|error| archive::read_rejection(&error))?;
        report.take(member.path, Record::parse(&text), each)
    })?;
    Ok(report)
}

/// Reads a document: one record, a list of them, `{"vulns": […]}` as OSV's interfaces answer, or a record a line.
///
/// # Errors
/// `osv-malformed` where it is none of these, is cut off, or holds no record that can be used; and what `each` refuses.
pub fn document(
    place: &str,
    bytes: &[u8],
    each: &mut dyn FnMut(Record) -> Result<(), Rejection>,
) -> Result<Report, Rejection> {
    let report = part(place, bytes, each)?;
    if report.records == 0 && report.refused > 0 {
        let why = report.reasons.first().map_or("", |(_, why)| why.as_str());
        return Err(Rejection::new("osv-malformed", why));
    }
    Ok(report)
}

/// [`document`], where it is one of many: that none of its records can be used says nothing about the others.
///
/// # Errors
/// `osv-malformed` where it is no document, or is cut off; and what `each` refuses.
pub fn part(
    place: &str,
    bytes: &[u8],
    each: &mut dyn FnMut(Record) -> Result<(), Rejection>,
) -> Result<Report, Rejection> {
    if bytes.len() > MAX_DOCUMENT {
        return Err(malformed(
            "",
            &format!("it has more than {MAX_DOCUMENT} bytes"),
        ));
    }
    let mut report = Report::default();
    let first = bytes.iter().find(|b| !b.is_ascii_whitespace());
    match first {
        Some(b'[') => {
            let mut reader = serde_json::Deserializer::from_slice(bytes);
            let list = List {
                place,
                report: &mut report,
                each,
                failed: None,
            };
            list.read(&mut reader)?;
        }
        Some(b'{') => {
            if let Some(list) = wrapped(bytes) {
                for record in list {
                    report.take(place, Record::from_value(record), each)?;
                }
                return Ok(report);
            }
            for value in serde_json::Deserializer::from_slice(bytes).into_iter::<Value>() {
                match value {
                    Ok(value) => report.take(place, Record::from_value(value), each)?,
                    // Behind it the reader knows no way on, and what is cut off is not taken for less.
                    Err(error) => return Err(malformed("", &error.to_string())),
                }
            }
        }
        _ => return Err(malformed("", "it is no JSON")),
    }
    Ok(report)
}

/// The records of `{"vulns": […]}`.
fn wrapped(bytes: &[u8]) -> Option<Vec<Value>> {
    #[derive(serde::Deserialize)]
    struct Answer {
        vulns: Vec<Value>,
    }
    let answer: Answer = serde_json::from_slice(bytes).ok()?;
    Some(answer.vulns)
}

/// A list, record by record, so that a long one needs no memory.
struct List<'a> {
    place: &'a str,
    report: &'a mut Report,
    each: &'a mut dyn FnMut(Record) -> Result<(), Rejection>,
    failed: Option<Rejection>,
}

impl List<'_> {
    fn read<'de, R: serde_json::de::Read<'de>>(
        mut self,
        reader: &mut serde_json::Deserializer<R>,
    ) -> Result<(), Rejection> {
        use serde::Deserializer as _;
        let read = reader.deserialize_seq(&mut self);
        match (self.failed.take(), read) {
            (Some(refused), _) => Err(refused),
            (None, Err(error)) => Err(malformed("", &error.to_string())),
            (None, Ok(())) => reader
                .end()
                .map_err(|error| malformed("", &error.to_string())),
        }
    }
}

impl<'de> Visitor<'de> for &mut List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of advisories")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(value) = list.next_element::<Value>()? {
            let taken = self
                .report
                .take(self.place, Record::from_value(value), self.each);
            if let Err(refused) = taken {
                self.failed = Some(refused);
                return Err(serde::de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}
