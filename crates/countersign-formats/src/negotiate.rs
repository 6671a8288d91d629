//! Which content type a client wants (RFC 9110 section 12.5.1): of the Python simple API (PEP 691),
//! and of npm's packuments.

/// Most bytes and media ranges of an `Accept` header that are looked at; the rest is ignored.
const MAX_HEADER: usize = 4096;
const MAX_RANGES: usize = 64;

/// The representations of the simple API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SimpleType {
    /// `application/vnd.pypi.simple.v1+json`
    Json,
    /// `application/vnd.pypi.simple.v1+html`
    Html,
    /// `text/html`: the same bytes as [`SimpleType::Html`], for browsers and old clients.
    PlainHtml,
}

impl SimpleType {
    /// Preferred first when a client likes several equally: `text/html` leads, so that a browser
    /// or an old client that says `*/*` gets what it always got.
    pub const ALL: &[SimpleType] = &[SimpleType::PlainHtml, SimpleType::Json, SimpleType::Html];

    /// The `Content-Type` to answer with.
    pub const fn content_type(self) -> &'static str {
        match self {
            SimpleType::Json => "application/vnd.pypi.simple.v1+json",
            SimpleType::Html => "application/vnd.pypi.simple.v1+html",
            SimpleType::PlainHtml => "text/html; charset=utf-8",
        }
    }

    /// Type, subtype, and the alias of the subtype that means "the newest".
    const fn names(self) -> (&'static str, &'static str, Option<&'static str>) {
        match self {
            SimpleType::Json => (
                "application",
                "vnd.pypi.simple.v1+json",
                Some("vnd.pypi.simple.latest+json"),
            ),
            SimpleType::Html => (
                "application",
                "vnd.pypi.simple.v1+html",
                Some("vnd.pypi.simple.latest+html"),
            ),
            SimpleType::PlainHtml => ("text", "html", None),
        }
    }
}

/// One media range, with how exactly it names a type (0 `*/*`, 1 `a/*`, 2 exact) and its weight in
/// thousandths.
struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    weight: u16,
}

/// The best type for an `Accept` header (`None` when the request has none), or `None` when nothing
/// fits and the answer is 406. Malformed parts are skipped; a header of nothing but malformed parts
/// counts as missing.
pub fn simple_type(accept: Option<&str>) -> Option<SimpleType> {
    let ranges = ranges(accept);
    if ranges.is_empty() {
        return Some(SimpleType::PlainHtml);
    }
    let mut best: Option<(u16, SimpleType)> = None;
    for &candidate in SimpleType::ALL {
        let weight = weight(candidate.names(), &ranges);
        if weight > 0 && best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The packuments of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PackumentType {
    /// `application/vnd.npm.install-v1+json`: what an installation needs.
    Abbreviated,
    /// `application/json`: everything.
    Full,
}

impl PackumentType {
    /// The `Content-Type` to answer with.
    pub const fn content_type(self) -> &'static str {
        match self {
            PackumentType::Abbreviated => "application/vnd.npm.install-v1+json",
            PackumentType::Full => "application/json",
        }
    }
}

/// The packument for an `Accept` header: the abbreviated one for clients that name it and do not
/// like the full one better. All others get the full one; npm's clients know no 406.
pub fn packument_type(accept: Option<&str>) -> PackumentType {
    let ranges = ranges(accept);
    let named = ranges.iter().any(|range| {
        range
            .subtype
            .eq_ignore_ascii_case("vnd.npm.install-v1+json")
    });
    let abbreviated = weight(("application", "vnd.npm.install-v1+json", None), &ranges);
    if named && abbreviated > 0 && abbreviated >= weight(("application", "json", None), &ranges) {
        return PackumentType::Abbreviated;
    }
    PackumentType::Full
}

/// The media ranges of a header.
fn ranges(accept: Option<&str>) -> Vec<Range<'_>> {
    let mut text = accept.unwrap_or_default();
    if text.len() > MAX_HEADER {
        let mut end = MAX_HEADER;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text = &text[..end];
    }
    text.split(',').take(MAX_RANGES).filter_map(range).collect()
}

/// The weight of the most exact range that covers a type; 0 when none does.
fn weight(names: (&str, &str, Option<&str>), ranges: &[Range<'_>]) -> u16 {
    let (kind, subtype, alias) = names;
    let mut found: Option<(u8, u16)> = None;
    for range in ranges {
        let exactness = if range.kind == "*" {
            0
        } else if !range.kind.eq_ignore_ascii_case(kind) {
            continue;
        } else if range.subtype == "*" {
            1
        } else if range.subtype.eq_ignore_ascii_case(subtype)
            || alias.is_some_and(|alias| range.subtype.eq_ignore_ascii_case(alias))
        {
            2
        } else {
            continue;
        };
        if found.is_none_or(|(most, weight)| {
            exactness > most || (exactness == most && range.weight > weight)
        }) {
            found = Some((exactness, range.weight));
        }
    }
    found.map_or(0, |(_, weight)| weight)
}

fn range(text: &str) -> Option<Range<'_>> {
    let mut parts = text.split(';');
    let (kind, subtype) = parts.next()?.trim().split_once('/')?;
    let (kind, subtype) = (kind.trim(), subtype.trim());
    if kind.is_empty() || subtype.is_empty() || (kind == "*" && subtype != "*") {
        return None;
    }
    let mut weight = 1000;
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else {
            continue;
        };
        if name.trim().eq_ignore_ascii_case("q") {
            weight = quality(value.trim())?;
        }
    }
    Some(Range {
        kind,
        subtype,
        weight,
    })
}

/// A `q` value in thousandths: `0`, `1`, or either with up to three decimals.
fn quality(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut thousandths: u16 = if decimals.is_empty() {
        0
    } else {
        decimals.parse().ok()?
    };
    for _ in decimals.len()..3 {
        thousandths *= 10;
    }
    match whole {
        "0" => Some(thousandths),
        "1" => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{SimpleType::*, *};
    use proptest::prelude::*;

    #[test]
    fn clients_get_what_they_ask_for() {
        for (accept, expected) in [
            (
                "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01",
                Some(Json),
            ),
            (
                "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01",
                Some(Json),
            ),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Some(PlainHtml),
            ),
            ("application/vnd.pypi.simple.latest+json", Some(Json)),
            ("application/vnd.pypi.simple.latest+html", Some(Html)),
            ("APPLICATION/VND.PYPI.SIMPLE.V1+JSON", Some(Json)),
            ("application/*", Some(Json)),
            ("text/*", Some(PlainHtml)),
            ("*/*", Some(PlainHtml)),
            ("", Some(PlainHtml)),
            ("*/*;q=0.1, application/vnd.pypi.simple.v1+html", Some(Html)),
            ("text/html;q=0, */*", Some(Json)),
            ("application/json", None),
            ("text/html;q=0", None),
            ("application/vnd.pypi.simple.v2+json", None),
            ("nonsense", Some(PlainHtml)),
            ("nonsense, application/json", None),
            (
                "text/html;q=7, application/vnd.pypi.simple.v1+json;q=0.5",
                Some(Json),
            ),
            ("text/html;q=1.000;level=1", Some(PlainHtml)),
        ] {
            assert_eq!(simple_type(Some(accept)), expected, "{accept}");
        }
        assert_eq!(simple_type(None), Some(PlainHtml));
    }

    #[test]
    fn npm_clients_get_the_packument_they_name() {
        use PackumentType::{Abbreviated, Full};
        for (accept, expected) in [
            (
                "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*",
                Abbreviated,
            ),
            (
                "application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.9, */*; q=0.8, application/vnd.npm.install-v1+json",
                Abbreviated,
            ),
            ("application/vnd.npm.install-v1+json", Abbreviated),
            (
                "application/vnd.npm.install-v1+json,application/json",
                Abbreviated,
            ),
            ("application/json", Full),
            ("*/*", Full),
            ("", Full),
            ("text/html", Full),
            (
                "application/json, application/vnd.npm.install-v1+json;q=0.5",
                Full,
            ),
            ("application/vnd.npm.install-v1+json;q=0, */*", Full),
            ("application/vnd.npm.install-v2+json", Full),
        ] {
            assert_eq!(packument_type(Some(accept)), expected, "{accept}");
        }
        assert_eq!(packument_type(None), Full);
    }

    proptest! {
        #[test]
        fn any_header_is_answered(text in "[\\PC,;/*q=.0-9]{0,200}") {
            let _ = packument_type(Some(&text));
            let _ = simple_type(Some(&text));
        }
    }
}
