//! RECORD of wheels: every file with its digest, complete both ways (PEP 376, 427).

use std::collections::{HashMap, HashSet};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{Rejection, rejection::quoted};

/// A digest algorithm that RECORD may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

/// What RECORD says of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub algorithm: Algorithm,
    pub digest: Vec<u8>,
    pub size: Option<u64>,
}

/// What a file in the archive is.
pub(super) struct Found {
    pub digest: Vec<u8>,
    pub size: u64,
}

/// RECORD by path; `None` for files that stand without a digest, as RECORD itself must.
pub(super) type Rows = HashMap<String, Option<Row>>;

/// Parses RECORD.
pub(super) fn parse(bytes: &[u8]) -> Result<Rows, Rejection> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Rejection::new("wheel-record", "RECORD is not UTF-8."))?;
    let mut rows = Rows::new();
    for line in text
        .lines()
        .map(|line| line.trim_end_matches('\r'))
        .filter(|line| !line.is_empty())
    {
        let malformed = |why: &str| {
            Rejection::new(
                "wheel-record",
                format!("The RECORD line {} {why}.", quoted(line)),
            )
            .with_remedy("Build the wheel again with a current build tool.")
        };
        let fields = csv(line).ok_or_else(|| malformed("is malformed"))?;
        let [path, hash, size] = fields.as_slice() else {
            return Err(malformed("does not have three fields"));
        };
        let size = match size.as_str() {
            "" => None,
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => Some(
                digits
                    .parse()
                    .map_err(|_| malformed("has an impossible size"))?,
            ),
            _ => return Err(malformed("has a malformed size")),
        };
        let row = if hash.is_empty() {
            None
        } else {
            let (name, value) = hash
                .split_once('=')
                .ok_or_else(|| malformed("has a malformed digest"))?;
            let (algorithm, length) = match name {
                "sha256" => (Algorithm::Sha256, 32),
                "sha384" => (Algorithm::Sha384, 48),
                "sha512" => (Algorithm::Sha512, 64),
                _ => {
                    return Err(malformed(
                        "uses a digest other than sha256, sha384 or sha512",
                    ));
                }
            };
            let digest = URL_SAFE_NO_PAD
                .decode(value.trim_end_matches('='))
                .ok()
                .filter(|digest| digest.len() == length)
                .ok_or_else(|| malformed("has a malformed digest"))?;
            Some(Row {
                algorithm,
                digest,
                size,
            })
        };
        if rows.insert(path.clone(), row).is_some() {
            return Err(malformed("names a file for the second time"));
        }
    }
    Ok(rows)
}

/// The fields of one line of CSV; quotation marks are doubled inside quoted fields.
fn csv(line: &str) -> Option<Vec<String>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let mut field = String::new();
        if let Some(mut quotation) = rest.strip_prefix('"') {
            loop {
                let (part, after) = quotation.split_once('"')?;
                field.push_str(part);
                match after.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        quotation = more;
                    }
                    None => {
                        rest = after;
                        break;
                    }
                }
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return None;
            }
            field.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => return rest.is_empty().then_some(fields),
        }
    }
}

/// Holds RECORD against the files of the archive. `record` is the path of RECORD itself; `digests`
/// gives what each file is under the algorithm of its row.
pub(super) fn verify<'a>(
    rows: &Rows,
    record: &str,
    files: impl Iterator<Item = &'a str>,
    found: impl Fn(&str, Algorithm) -> Option<Found>,
) -> Result<(), Rejection> {
    let wrong = |path: &str, why: &str| {
        Rejection::new("wheel-record", format!("{} {why}.", quoted(path))).with_remedy(
            "The wheel was changed after it was built, or built badly: build it again.",
        )
    };
    // Signatures of RECORD cannot stand in it with a digest either.
    let exempt = [
        record.to_owned(),
        format!("{record}.jws"),
        format!("{record}.p7s"),
    ];
    let mut seen = HashSet::new();
    for path in files {
        seen.insert(path);
        let exempt = exempt.iter().any(|name| name == path);
        match rows.get(path) {
            None if exempt => {}
            None => return Err(wrong(path, "is in the wheel but not in RECORD")),
            Some(None) if exempt => {}
            Some(None) => return Err(wrong(path, "stands in RECORD without a digest")),
            Some(Some(_)) if path == record => return Err(wrong(path, "has a digest of itself")),
            Some(Some(row)) => {
                let found = found(path, row.algorithm)
                    .ok_or_else(|| wrong(path, "could not be digested"))?;
                if found.digest != row.digest {
                    return Err(wrong(path, "does not have the digest that RECORD says"));
                }
                if row.size.is_some_and(|size| size != found.size) {
                    return Err(wrong(path, "does not have the size that RECORD says"));
                }
            }
        }
    }
    if let Some(path) = rows
        .keys()
        .filter(|path| !seen.contains(path.as_str()))
        .min()
    {
        return Err(wrong(path, "is in RECORD but not in the wheel"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_paths_are_read() {
        assert_eq!(csv("\"a,\"\"b\",x,1").unwrap(), ["a,\"b", "x", "1"]);
        assert_eq!(csv("a,,").unwrap(), ["a", "", ""]);
        assert!(csv("\"a,b").is_none());
        assert!(csv("a\"b,,").is_none());
        assert!(csv("\"a\"b,,").is_none());
    }

    #[test]
    fn weak_and_malformed_digests_are_refused() {
        for line in [
            "a,md5=rL0Y20zC-Fzt72VPzMSk2A,3",
            "a,sha1=C-7Hteo_D9vJXQ3UfzxbwnXaijM,3",
            "a,sha256=AAAA,3",
            "a,sha256,3",
            "a,,x",
            "a,,-1",
            "a",
            "a,b,c,d",
            "a,,\na,,",
        ] {
            assert_eq!(
                parse(line.as_bytes()).unwrap_err().code,
                "wheel-record",
                "{line}"
            );
        }
    }
}
