//! How a command ends when it does not end well.

use std::borrow::Cow;
use std::fmt;

use countersign_trust::oidc::{Difference, Refused};
use countersign_trust::sigstore::Refusal;
use serde_json::Value;

/// The exit codes, stable and documented in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A bug, or an environment that does not allow what was asked.
    Environment = 1,
    /// The command line is wrong, or nothing is pinned.
    Usage = 2,
    /// A proof, a signature or a digest did not verify.
    Verification = 3,
    /// The registry says no.
    Refused = 4,
    /// The registry can not be reached, or does not answer as it should.
    Unreachable = 5,
}

/// Why it did not end well.
#[derive(Debug)]
pub struct Failure {
    /// With which code the process ends.
    pub exit: Exit,
    /// Stable kebab-case code; the registry's own where it is the one that refuses.
    pub code: Cow<'static, str>,
    /// What was wrong, with which value.
    pub message: String,
    /// The way out.
    pub remedy: Option<String>,
    /// The claims that were not as a publisher expects them, for refused identities.
    pub differences: Vec<Difference>,
    /// Whether it is the credential that the registry does not take.
    pub unauthenticated: bool,
    /// The request for a person's approval that the registry began instead of doing what was asked.
    pub approval: Option<Box<Value>>,
}

/// Result of the library.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure that ends with `exit`.
    pub fn new(exit: Exit, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.into(),
            message: message.into(),
            remedy: None,
            differences: Vec::new(),
            unauthenticated: false,
            approval: None,
        }
    }

    /// Something did not verify.
    pub fn unverified(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Exit::Verification, code, message)
    }

    /// Adds the way out.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The failure as the line that `--json` prints.
    pub fn json(&self) -> Value {
        serde_json::json!({"error": {
            "code": self.code, "exit": self.exit as u8, "message": self.message, "remedy": self.remedy,
            "differences": self.differences,
        }})
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for difference in &self.differences {
            write!(f, "\n  {}", told(difference))?;
        }
        match &self.remedy {
            Some(remedy) => write!(f, "\n  {}", remedy.replace('\n', "\n  ")),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Refusal> for Failure {
    /// What does not hold of a bundle or attestation.
    fn from(refusal: Refusal) -> Self {
        let message = sentence(&refusal.message());
        Self {
            differences: refusal.differences,
            ..Self::unverified(refusal.code, message)
        }
    }
}

impl From<Refused> for Failure {
    /// What is refused on this machine already, before anything was sent.
    fn from(refused: Refused) -> Self {
        Self {
            exit: Exit::Usage,
            code: refused.code.into(),
            message: sentence(&refused.message),
            remedy: Some(sentence(&refused.remedy)).filter(|remedy| !remedy.is_empty()),
            differences: refused.differences,
            unauthenticated: false,
            approval: None,
        }
    }
}

/// One claim on one line: whether it fits, what was expected, what was seen, and what to change. Foreign text, so
/// control characters stay out of the terminal.
pub fn told(difference: &Difference) -> String {
    let seen = match &difference.seen {
        Some(seen) => format!("seen {seen}"),
        None => "not in the token".to_owned(),
    };
    let (claim, expected) = (&difference.claim, &difference.expected);
    let line = match &difference.advice {
        _ if difference.matched => format!("✓ {claim}: {seen}, as expected: {expected}"),
        Some(advice) => format!(
            "✗ {claim}: expected {expected}, {seen}. {}",
            sentence(advice)
        ),
        None => format!("✗ {claim}: expected {expected}, {seen}"),
    };
    plain(&line)
}

/// A clause as a sentence of its own.
fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    let mut text: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    text.push_str(letters.as_str());
    if !text.is_empty() && !text.ends_with(['.', '!', '?']) {
        text.push('.');
    }
    text
}

/// Foreign text without the characters that steer a terminal or hide what stands there.
pub fn plain(text: &str) -> String {
    text.chars()
        .filter(|c| {
            !c.is_control()
                && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        })
        .collect()
}
