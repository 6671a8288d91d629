//! Normalised purls as subjects. At most one digest per identifier means little unless each file has one identifier,
//! so the grammar itself refuses purls that are not in normal form.

use std::fmt;

/// The longest subject, in bytes.
const MAX_SUBJECT_BYTES: usize = 1024;

/// A subject that is no normalised purl.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the subject {subject:?} is refused: {reason}")]
pub struct SubjectError {
    /// The beginning of the subject.
    pub subject: String,
    /// What is wrong.
    pub reason: &'static str,
}

/// How much a subject names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// `pkg:type/name`.
    Project,
    /// `pkg:type/name@version`.
    Release,
    /// `pkg:type/name@version?file_name=…`.
    File,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Project => "project",
            Self::Release => "release",
            Self::File => "file",
        })
    }
}

/// Checks that a purl is in the normal form of `docs/spec/leaf.md` and says how much it names.
///
/// # Errors
/// [`SubjectError`].
pub fn check_subject(purl: &str) -> Result<Scope, SubjectError> {
    let refuse = |reason| SubjectError {
        subject: purl.chars().take(200).collect(),
        reason,
    };
    if purl.len() > MAX_SUBJECT_BYTES {
        return Err(refuse("it is longer than 1024 bytes"));
    }
    let rest = purl
        .as_bytes()
        .strip_prefix(b"pkg:")
        .ok_or_else(|| refuse("it does not begin with pkg:"))?;
    let (kind, rest) =
        split_once(rest, b'/').ok_or_else(|| refuse("it has no type followed by a slash"))?;
    if !is_type(kind) {
        return Err(refuse("its type is not lower-case letters and digits"));
    }
    let (rest, file_name) = match split_once(rest, b'?') {
        Some((rest, qualifiers)) => {
            let name = qualifiers
                .strip_prefix(b"file_name=")
                .ok_or_else(|| refuse("its one qualifier must be file_name"))?;
            (rest, Some(name))
        }
        None => (rest, None),
    };
    let (path, version) = match split_once(rest, b'@') {
        Some((path, version)) => (path, Some(version)),
        None => (rest, None),
    };
    let encoded = path.split(|byte| *byte == b'/').all(is_encoded)
        && version.is_none_or(is_encoded)
        && file_name.is_none_or(is_encoded);
    if !encoded {
        return Err(refuse(
            "a part is empty or not percent-encoded in normal form",
        ));
    }
    if kind == b"pypi" {
        if !is_pypi_name(path) {
            return Err(refuse(
                "the name is not normalised: lower-case letters and digits with single hyphens between",
            ));
        }
        if version.is_some_and(|version| !is_pypi_version(version)) {
            return Err(refuse(
                "the version is not normalised: lower-case, no leading v, at most one ! and one +",
            ));
        }
    }
    match (version, file_name) {
        (None, None) => Ok(Scope::Project),
        (Some(_), None) => Ok(Scope::Release),
        (Some(_), Some(_)) => Ok(Scope::File),
        (None, Some(_)) => Err(refuse("it has a file_name but no version")),
    }
}

/// What is before the first such byte, and what is after it.
fn split_once(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = bytes.iter().position(|byte| *byte == at)?;
    Some((bytes.get(..place)?, bytes.get(place + 1..)?))
}

fn is_lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn is_type(kind: &[u8]) -> bool {
    kind.first().is_some_and(u8::is_ascii_lowercase)
        && kind
            .iter()
            .all(|b| is_lower_or_digit(*b) || *b == b'.' || *b == b'-')
}

/// Bytes that stand for themselves; all others are percent-encoded with upper-case digits.
fn is_plain(byte: u8) -> bool {
    const PLAIN: [bool; 256] = {
        let mut plain = [false; 256];
        let mut byte = 0_u8;
        while byte < 0x80 {
            let sign = matches!(byte, b'-' | b'.' | b'_' | b'~' | b'!' | b':');
            plain[byte as usize] = byte.is_ascii_alphanumeric() || sign;
            byte += 1;
        }
        plain
    };
    PLAIN[usize::from(byte)]
}

fn is_encoded(part: &[u8]) -> bool {
    // Most parts have nothing to decode.
    if part.iter().fold(true, |all, byte| all & is_plain(*byte)) {
        return !part.is_empty();
    }
    let mut bytes = part.iter().copied();
    let mut any = false;
    while let Some(byte) = bytes.next() {
        any = true;
        if byte == b'%' {
            let (Some(high), Some(low)) = (
                bytes.next().and_then(hex_digit),
                bytes.next().and_then(hex_digit),
            ) else {
                return false;
            };
            let decoded = high * 16 + low;
            if is_plain(decoded) || decoded < 0x20 || decoded == 0x7f {
                return false;
            }
        } else if !is_plain(byte) {
            return false;
        }
    }
    any
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// PEP 503: runs of `-`, `_`, `.` became one hyphen; letters are lower case.
fn is_pypi_name(name: &[u8]) -> bool {
    name.split(|byte| *byte == b'-')
        .all(|run| !run.is_empty() && run.iter().all(|byte| is_lower_or_digit(*byte)))
}

/// The outer form of PEP 440's normalised versions. That `1.0a1` and not `1.0-alpha.1` was written is the business of
/// the registry, which has a parser of versions; this keeps a reader from accepting what cannot be normal.
fn is_pypi_version(version: &[u8]) -> bool {
    let (epoch, rest) = split_once(version, b'!').unwrap_or((b"0", version));
    // `%2B`; of what is encoded nothing else can stand in a version, and that it is encoded well was seen before.
    let (public, local) = match split_once(rest, b'%') {
        Some((public, rest)) => match rest.strip_prefix(b"2B") {
            Some(local) => (public, local),
            None => return false,
        },
        None => (rest, &b"0"[..]),
    };
    !epoch.is_empty()
        && epoch.iter().all(u8::is_ascii_digit)
        && public.first().is_some_and(u8::is_ascii_digit)
        && [public, local].iter().all(|part| {
            part.split(|byte| *byte == b'.')
                .all(|run| !run.is_empty() && run.iter().all(|byte| is_lower_or_digit(*byte)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_forms_are_recognised_with_their_scope() {
        for (purl, scope) in [
            ("pkg:pypi/requests", Scope::Project),
            ("pkg:pypi/zope-interface@7.1", Scope::Release),
            ("pkg:pypi/a@1!2.0.post1%2Bcu118", Scope::Release),
            (
                "pkg:pypi/a@1.0?file_name=A_b-1.0%2Bx-py3-none-any.whl",
                Scope::File,
            ),
            ("pkg:npm/%40scope/name@1.0.0", Scope::Release),
            (
                "pkg:maven/org.example/core@1.0-SNAPSHOT?file_name=core-1.0.jar",
                Scope::File,
            ),
        ] {
            assert_eq!(check_subject(purl), Ok(scope), "{purl}");
        }
    }

    #[test]
    fn anything_but_the_normal_form_is_refused() {
        for bad in [
            "",
            "pypi/a",
            "pkg:pypi",
            "pkg:pypi/",
            "pkg:PyPI/a",
            "pkg:pypi/A",
            "pkg:pypi/a_b",
            "pkg:pypi/a.b",
            "pkg:pypi/a--b",
            "pkg:pypi/-a",
            "pkg:pypi/a/b",
            "pkg:pypi/a@",
            "pkg:pypi/a@v1.0",
            "pkg:pypi/a@1.0+x",
            "pkg:pypi/a@1.0%2bx",
            "pkg:pypi/a@1.0A1",
            "pkg:pypi/a@1..0",
            "pkg:pypi/a@1-1",
            "pkg:pypi/a@1%21",
            "pkg:pypi/a?file_name=x",
            "pkg:pypi/a@1?file_name=",
            "pkg:pypi/a@1?file_name=x&b=c",
            "pkg:pypi/a@1?arch=x",
            "pkg:pypi/a@1?file_name=x%2",
            "pkg:pypi/a@1?file_name=%41",
            "pkg:pypi/a@1?file_name=%00",
            "pkg:pypi/a@1?file_name=a b",
            "pkg:pypi/a@1#sub",
            "pkg:npm/@scope/name",
        ] {
            assert!(check_subject(bad).is_err(), "{bad}");
        }
        assert!(check_subject(&format!("pkg:pypi/{}", "a".repeat(2000))).is_err());
    }
}
