//! Whether a text is a feed as RFC 4287 wants one, by Python's own XML parser.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::machine::both_outputs;

/// Holds the text against what sections 4.1.1 and 4.1.2 demand, and prints the number of entries.
const CHECK: &str = r#"
import re, sys
from urllib.parse import urlsplit
from xml.etree import ElementTree
ATOM = "{http://www.w3.org/2005/Atom}"
feed = ElementTree.fromstring(sys.stdin.buffer.read())
assert feed.tag == ATOM + "feed", feed.tag

def one(of, name):
    found = of.findall(ATOM + name)
    assert len(found) == 1, f"{len(found)} times {name} in {of.tag}"
    text = (found[0].text or "").strip()
    assert text, f"{name} is empty"
    return text

def head(of):
    one(of, "title")
    identity = one(of, "id")
    assert urlsplit(identity).scheme, f"{identity} is no IRI"
    time = one(of, "updated")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", time), time
    return identity, time

_, updated = head(feed)
whole = feed.find(f"{ATOM}author/{ATOM}name")
entries = feed.findall(ATOM + "entry")
seen = set()
for entry in entries:
    identity, time = head(entry)
    assert identity not in seen, f"{identity} twice"
    seen.add(identity)
    assert time <= updated, f"an entry of {time} in a feed of {updated}"
    assert whole is not None or entry.find(f"{ATOM}author/{ATOM}name") is not None, "no author"
    alternates = [l for l in entry.findall(ATOM + "link") if l.get("rel", "alternate") == "alternate"]
    assert alternates or entry.find(ATOM + "content") is not None, "neither content nor a link"
    for link in entry.findall(ATOM + "link"):
        assert urlsplit(link.get("href")).scheme in ("http", "https"), link.attrib
print(len(entries))
"#;

/// The number of entries of a feed that is valid.
///
/// # Errors
/// With what is missing or wrong in it.
pub fn entries(feed: &[u8]) -> Result<usize> {
    let mut python = Command::new("python3")
        .args(["-c", CHECK])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start python3")?;
    let mut input = python.stdin.take().context("its input was piped")?;
    input.write_all(feed)?;
    drop(input);
    let output = python.wait_with_output()?;
    ensure!(output.status.success(), "{}", both_outputs(&output));
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}
