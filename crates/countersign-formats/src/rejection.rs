//! Why something was refused, worded for the person who sent it.

use std::fmt;

use serde::Serialize;

/// Longest message of a [`Rejection`], in characters. Clients put it into an HTTP reason phrase.
const MAX_MESSAGE_CHARS: usize = 300;

/// A refusal: a stable code for programs, and for people what was wrong, with which value, and the
/// way out. Control characters of foreign values are escaped, so a message is safe in a terminal,
/// a header and a log line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejection {
    /// Stable kebab-case code, such as `archive-duplicate-member`.
    pub code: &'static str,
    /// What was wrong, with the value; at most 300 characters, no control characters.
    pub message: String,
    /// What the person can do about it.
    pub remedy: Option<String>,
}

impl Rejection {
    /// The code of a rejection that is not the sender's fault: our own spool could not be read.
    pub const UNREADABLE: &'static str = "artifact-unreadable";

    /// A rejection without a remedy. The message is escaped and shortened.
    pub fn new(code: &'static str, message: impl AsRef<str>) -> Self {
        Self {
            code,
            message: printable(message.as_ref(), MAX_MESSAGE_CHARS),
            remedy: None,
        }
    }

    /// Adds the way out.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl AsRef<str>) -> Self {
        self.remedy = Some(printable(remedy.as_ref(), MAX_MESSAGE_CHARS));
        self
    }

    /// Reading the artifact's bytes failed below us (disk, network): answer 5xx, not 4xx.
    pub fn unreadable(error: &std::io::Error) -> Self {
        Self::new(
            Self::UNREADABLE,
            format!("the stored upload could not be read: {error}"),
        )
    }

    /// Whether the fault is ours (see [`Rejection::UNREADABLE`]).
    pub fn is_our_fault(&self) -> bool {
        self.code == Self::UNREADABLE
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(remedy) = &self.remedy {
            write!(f, " {remedy}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Rejection {}

/// A foreign value as it may stand in a message: quoted, control and direction-changing characters
/// escaped, at most 80 characters.
pub(crate) fn quoted(value: &str) -> String {
    format!("\"{}\"", printable(value, 80))
}

/// `text` with control, line-separating and direction-changing characters escaped, cut after `max`
/// characters with an ellipsis.
pub(crate) fn printable(text: &str, max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(max * 4));
    let mut count = 0;
    for c in text.chars() {
        let hidden = c.is_control() || crate::archive::path::is_direction_mark(c);
        let width = if hidden {
            c.escape_default().count()
        } else {
            1
        };
        if count + width > max.saturating_sub(1) {
            out.push('…');
            return out;
        }
        count += width;
        if hidden {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_short_and_free_of_control_characters() {
        let rejection = Rejection::new("x", format!("a\r\n\u{1b}[2J\u{202e}{}", "z".repeat(500)));
        assert!(rejection.message.chars().count() <= 300);
        assert!(!rejection.message.chars().any(char::is_control));
        assert!(
            rejection
                .message
                .starts_with("a\\r\\n\\u{1b}[2J\\u{202e}zzz")
        );
    }

    #[test]
    fn display_joins_message_and_remedy() {
        let rejection = Rejection::new("x", "It is bad.").with_remedy("Make it good.");
        assert_eq!(rejection.to_string(), "It is bad. Make it good.");
    }
}
