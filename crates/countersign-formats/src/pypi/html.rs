//! The HTML pages of the simple API (PEP 503 and successors), derived from the JSON documents, and
//! a reader of such pages for the client's side.

use std::fmt::Write;

use serde_json::Value;

use crate::Rejection;

/// A project's page, from its JSON document.
///
/// # Errors
/// Refuses text that is not such a document.
pub fn project_html(project_json: &str) -> Result<String, Rejection> {
    let broken =
        |what: &str| Rejection::new("document-invalid", format!("The index document {what}."));
    let document: Value = serde_json::from_str(project_json)
        .map_err(|error| broken(&format!("is not JSON: {error}")))?;
    let name = document["name"]
        .as_str()
        .ok_or_else(|| broken("has no name"))?;
    let files = document["files"]
        .as_array()
        .ok_or_else(|| broken("has no files"))?;
    let mut head = String::new();
    let status = &document["project-status"];
    for (meta, value) in [
        ("pypi:project-status", &status["status"]),
        ("pypi:project-status-reason", &status["reason"]),
    ] {
        if let Some(value) = value.as_str() {
            push(
                &mut head,
                format_args!("    <meta name=\"{meta}\" content=\"{}\">\n", escape(value)),
            );
        }
    }
    let version = document["meta"]["api-version"]
        .as_str()
        .unwrap_or(super::documents::API_VERSION);
    let mut page = begin(version, &head, &format!("Links for {}", escape(name)));
    push(
        &mut page,
        format_args!("    <h1>Links for {}</h1>\n", escape(name)),
    );
    for file in files {
        let field = |field: &str| file[field].as_str();
        let (Some(filename), Some(url)) = (field("filename"), field("url")) else {
            return Err(broken("has a file without filename or url"));
        };
        let sha256 = file["hashes"]["sha256"]
            .as_str()
            .ok_or_else(|| broken("has a file without sha256"))?;
        push(
            &mut page,
            format_args!("    <a href=\"{}#sha256={}\"", escape(url), escape(sha256)),
        );
        let mut attribute = |name: &str, value: &str| {
            push(&mut page, format_args!(" {name}=\"{}\"", escape(value)));
        };
        if let Some(value) = field("requires-python") {
            attribute("data-requires-python", value);
        }
        if let Some(digest) = file["core-metadata"]["sha256"].as_str() {
            let value = format!("sha256={digest}");
            attribute("data-dist-info-metadata", &value);
            attribute("data-core-metadata", &value);
        }
        match &file["yanked"] {
            Value::Bool(true) => attribute("data-yanked", ""),
            Value::String(reason) => attribute("data-yanked", reason),
            _ => {}
        }
        if let Some(value) = field("provenance") {
            attribute("data-provenance", value);
        }
        if let Some(leaf) = file["_countersign"]["leaf"].as_u64() {
            attribute("data-countersign-leaf", &leaf.to_string());
        }
        if let Some(proof) = file["_countersign"]["proof"].as_str() {
            attribute("data-countersign-proof", proof);
        }
        push(&mut page, format_args!(">{}</a><br>\n", escape(filename)));
    }
    if let Some(serial) = document["meta"]["_last-serial"].as_u64() {
        push(&mut page, format_args!("    <!--SERIAL {serial}-->\n"));
    }
    page.push_str("  </body>\n</html>\n");
    Ok(page)
}

/// The page of all projects, as `(key, display name)`.
pub fn index_html<'a>(
    names: impl IntoIterator<Item = (&'a str, &'a str)>,
    last_serial: u64,
) -> String {
    let mut page = begin(super::documents::API_VERSION, "", "Simple index");
    for (key, name) in names {
        push(
            &mut page,
            format_args!(
                "    <a href=\"{}/\">{}</a><br>\n",
                escape(key),
                escape(name)
            ),
        );
    }
    push(
        &mut page,
        format_args!("    <!--SERIAL {last_serial}-->\n  </body>\n</html>\n"),
    );
    page
}

fn begin(version: &str, head: &str, title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n  <head>\n    <meta charset=\"utf-8\">\n    \
         <meta name=\"pypi:repository-version\" content=\"{}\">\n{head}    <title>{title}</title>\n  \
         </head>\n  <body>\n",
        escape(version)
    )
}

fn push(page: &mut String, arguments: std::fmt::Arguments<'_>) {
    page.write_fmt(arguments)
        .expect("writing to a String cannot fail");
}

/// Text as it may stand in HTML text and in quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Parsers of HTML turn CR and CRLF into LF and drop NUL; a reference survives.
            '\r' => out.push_str("&#13;"),
            other => out.push(other),
        }
    }
    out
}

/// One `<a>` of a page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Anchor {
    /// `(lower-case name, value)`; of a repeated attribute the first counts, as in browsers.
    pub attributes: Vec<(String, String)>,
    /// The text up to the next tag.
    pub text: String,
}

impl Anchor {
    /// The value of an attribute.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// All anchors of a page, in order. Skips comments; refuses pages with scripts, styles or other
/// raw-text elements, in which a simple reader and a browser would see different anchors.
pub(crate) fn anchors(page: &str) -> Result<Vec<Anchor>, Rejection> {
    let broken = |what: &str| Rejection::new("document-invalid", format!("The index page {what}."));
    let mut found = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            let end = comment
                .find("-->")
                .ok_or_else(|| broken("has an open comment"))?;
            rest = &comment[end + 3..];
            continue;
        }
        let name_end = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        let name = rest[..name_end].to_ascii_lowercase();
        if [
            "script",
            "style",
            "textarea",
            "template",
            "noscript",
            "iframe",
            "xmp",
            "plaintext",
            "svg",
            "math",
            "base",
        ]
        .contains(&name.as_str())
        {
            return Err(broken(&format!("has a <{name}> element")));
        }
        let (attributes, after) =
            attributes(&rest[name_end..]).ok_or_else(|| broken("has an open tag"))?;
        rest = after;
        if name == "a" {
            let end = rest.find('<').unwrap_or(rest.len());
            found.push(Anchor {
                attributes,
                text: unescape(&rest[..end]).trim().to_owned(),
            });
        }
    }
    Ok(found)
}

/// The attributes up to `>`, and what follows; `None` when the tag never ends.
fn attributes(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut found: Vec<(String, String)> = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return Some((found, after));
        }
        let end = rest.find(|c: char| c.is_ascii_whitespace() || matches!(c, '=' | '>' | '/'))?;
        // A stray character such as a leading `=` or `!` is taken as a name of its own.
        let end = end.max(rest.chars().next()?.len_utf8());
        let name = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start();
        let mut value = String::new();
        if let Some(after) = rest.strip_prefix('=') {
            rest = after.trim_start();
            let (raw, after) = match rest.chars().next()? {
                quote @ ('"' | '\'') => rest[1..].split_once(quote)?,
                _ => {
                    let end = rest.find(|c: char| c.is_ascii_whitespace() || c == '>')?;
                    rest.split_at(end)
                }
            };
            value = unescape(raw);
            rest = after;
        }
        if !found.iter().any(|(known, _)| *known == name) {
            found.push((name, value));
        }
    }
}

/// Resolves the character references that index pages use; unknown ones stay as they are.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // The longest reference read is `&#x10ffff;`.
        let end = rest.bytes().take(12).position(|b| b == b';');
        let character = end.and_then(|end| match &rest[1..end] {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            reference => {
                let number = reference.strip_prefix('#')?;
                let code = match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)
            }
        });
        match (end, character) {
            (Some(end), Some(character)) => {
                out.push(character);
                rest = &rest[end + 1..];
            }
            _ => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_read_in_any_spelling() {
        let page = "<!-- <a href=x>no</a> --><A HREF='u?a=1&amp;b=2#sha256=ff' data-yanked>n &lt;</A><a href=plain >t</a>";
        let found = anchors(page).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].get("href"), Some("u?a=1&b=2#sha256=ff"));
        assert_eq!(found[0].get("data-yanked"), Some(""));
        assert_eq!(found[0].text, "n <");
        assert_eq!(found[1].get("href"), Some("plain"));
    }

    #[test]
    fn ambiguous_or_open_pages_are_refused() {
        for page in [
            "<script><a href=x></a></script>",
            "<!-- ",
            "<a href=\"x",
            "<a",
            "<base href=x>",
        ] {
            assert!(anchors(page).is_err(), "{page}");
        }
    }

    #[test]
    fn escaping_and_unescaping_are_inverse() {
        let text = "a<b>&\"'\u{e9}&amp;\r\n";
        assert_eq!(unescape(&escape(text)), text);
        assert_eq!(unescape("&&unknown;&#xD800;&#65;"), "&&unknown;&#xD800;A");
    }
}
