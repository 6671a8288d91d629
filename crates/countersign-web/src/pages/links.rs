//! Addresses and subjects: where a project, a release or a log entry has its page, and what a purl says in words.

use std::fmt;

use countersign_formats::{Ecosystem, format as rules_of, purl};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything that may mean something else in a path, a query or an attribute.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Percent-encodes one segment of a path or one value of a query.
pub(super) fn segment(text: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(text, SEGMENT)
}

/// The page of a project.
pub(crate) fn project(ecosystem: Ecosystem, key: &str) -> String {
    format!("/project/{}/{}/", ecosystem.as_str(), segment(key))
}

/// The page of a release.
pub(super) fn release(ecosystem: Ecosystem, key: &str, version: &str) -> String {
    format!(
        "/project/{}/{}/{}/",
        ecosystem.as_str(),
        segment(key),
        segment(version)
    )
}

/// Where a project, or a release of it, is reported.
pub(super) fn report(ecosystem: Ecosystem, key: &str, version: Option<&str>) -> String {
    let named = rules_of(ecosystem).name_key(key).map(|key| match version {
        None => purl::project_purl(ecosystem, &key),
        Some(version) => purl::release_purl(ecosystem, &key, version),
    });
    format!("/report?purl={}", segment(&named.unwrap_or_default()))
}

/// What a leaf is about, taken apart for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subject {
    /// Project, version and file name as far as the purl says them; the whole text when it is no purl of ours.
    pub(super) words: String,
    /// The page about it, where there is one.
    pub(super) page: Option<String>,
}

impl Subject {
    /// Reads the subject of a leaf of this log. Leaves are ours and in normal form, so this only takes apart what is
    /// there and shows everything else as it stands.
    pub(super) fn of(purl: &str) -> Self {
        Self::taken_apart(purl).unwrap_or_else(|| Self {
            words: purl.to_owned(),
            page: None,
        })
    }

    fn taken_apart(purl: &str) -> Option<Self> {
        let (kind, rest) = purl.strip_prefix("pkg:")?.split_once('/')?;
        let ecosystem: Ecosystem = kind.parse().ok()?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (name, version) = path.split_once('@').unwrap_or((path, ""));
        let decoded = |text: &str| {
            percent_decode_str(text)
                .decode_utf8()
                .ok()
                .map(|text| text.into_owned())
        };
        let (name, version) = (decoded(name)?, decoded(version)?);
        let file = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("file_name="))
            .and_then(decoded);
        let page = if version.is_empty() {
            project(ecosystem, &name)
        } else {
            release(ecosystem, &name, &version)
        };
        let words = match file {
            Some(file) => file,
            None if version.is_empty() => name,
            None => format!("{name} {version}"),
        };
        Some(Self {
            words,
            page: Some(page),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cannot_leave_their_place() {
        assert_eq!(
            release(Ecosystem::Pypi, "a", "1!2.0+l/../x?\"<"),
            "/project/pypi/a/1%212.0%2Bl%2F..%2Fx%3F%22%3C/"
        );
    }

    #[test]
    fn a_subject_is_said_by_its_most_particular_part() {
        let file = Subject::of("pkg:pypi/six@1.16.0?file_name=six-1.16.0-py2.py3-none-any.whl");
        assert_eq!(file.words, "six-1.16.0-py2.py3-none-any.whl");
        assert_eq!(file.page.as_deref(), Some("/project/pypi/six/1.16.0/"));
        assert_eq!(Subject::of("pkg:pypi/six@1.16.0").words, "six 1.16.0");
        assert_eq!(
            Subject::of("pkg:pypi/six").page.as_deref(),
            Some("/project/pypi/six/")
        );
        for odd in ["example.org/log/1", "pkg:other/x@1", ""] {
            assert_eq!(
                Subject::of(odd),
                Subject {
                    words: odd.to_owned(),
                    page: None
                }
            );
        }
    }
}
