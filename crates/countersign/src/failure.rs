//! How a command ends when it does not end well.

use std::fmt;

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
    /// Stable kebab-case code.
    pub code: &'static str,
    /// What was wrong, with which value.
    pub message: String,
    /// The way out.
    pub remedy: Option<String>,
}

/// Result of the library.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure that ends with `exit`.
    pub fn new(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code,
            message: message.into(),
            remedy: None,
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
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({"error": {
            "code": self.code, "exit": self.exit as u8, "message": self.message, "remedy": self.remedy,
        }})
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  {}", remedy.replace('\n', "\n  ")),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}
