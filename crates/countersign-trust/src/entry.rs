//! Entries of logs that are kept for registries elsewhere: the text that logs a digest (`docs/operating-log-service.md`). Other
//! entries of such logs are whatever bytes their registry sends.

use crate::digest::Sha256;

/// The longest identifier, in bytes.
pub const MAX_IDENTIFIER_BYTES: usize = 1_024;

/// The entry that says that `identifier`, or nothing in particular, has this digest. `None` for an identifier that is empty,
/// too long, or has control characters.
#[must_use]
pub fn digest_entry(digest: Sha256, identifier: Option<&str>) -> Option<String> {
    let mut text = String::from("countersign-entry/v1\n");
    if let Some(identifier) = identifier {
        let good = (1..=MAX_IDENTIFIER_BYTES).contains(&identifier.len())
            && !identifier.chars().any(char::is_control);
        if !good {
            return None;
        }
        text.push_str(&format!("identifier {identifier}\n"));
    }
    text.push_str(&format!("sha256 {}\n", digest.to_hex()));
    Some(text)
}

/// The identifier, if it has one, and the digest of an entry that [`digest_entry`] makes; nothing for any other bytes.
#[must_use]
pub fn read_digest_entry(entry: &[u8]) -> Option<(Option<&str>, Sha256)> {
    let text = std::str::from_utf8(entry).ok()?;
    let mut lines = text.strip_prefix("countersign-entry/v1\n")?.split('\n');
    let mut line = lines.next()?;
    let identifier = line.strip_prefix("identifier ");
    if identifier.is_some() {
        line = lines.next()?;
    }
    let digest: Sha256 = line.strip_prefix("sha256 ")?.parse().ok()?;
    // One text for one meaning: spellings that differ are other entries.
    (digest_entry(digest, identifier)? == text).then_some((identifier, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_back_and_nothing_else_is_taken_for_one() {
        let digest = Sha256::of(b"x");
        for identifier in [None, Some("a 1.0"), Some("sha256 0")] {
            let text = digest_entry(digest, identifier).unwrap();
            let read = read_digest_entry(text.as_bytes());
            assert_eq!(read, Some((identifier, digest)));
            for other in [
                text.trim_end().to_owned(),
                format!("{text}\n"),
                text.to_uppercase(),
                text.replace("/v1", "/v2"),
                text.replace("sha256 ", "sha256  "),
            ] {
                assert_eq!(read_digest_entry(other.as_bytes()), None, "{other:?}");
            }
        }
        assert_eq!(read_digest_entry(b"\xff"), None);
    }

    #[test]
    fn an_entry_has_lines_that_no_identifier_can_add_to() {
        let digest = Sha256::of(b"x");
        let hex = digest.to_hex();
        assert_eq!(
            digest_entry(digest, Some("a 1.0")).unwrap(),
            format!("countersign-entry/v1\nidentifier a 1.0\nsha256 {hex}\n")
        );
        assert_eq!(
            digest_entry(digest, None).unwrap(),
            format!("countersign-entry/v1\nsha256 {hex}\n")
        );
        for bad in ["", "a\nsha256 0", "a\r", &"x".repeat(1_025)] {
            assert_eq!(digest_entry(digest, Some(bad)), None, "{bad:?}");
        }
    }
}
