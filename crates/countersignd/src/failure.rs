//! What a command ends with: an exit code that scripts may rely on and sentences for the person.

use std::fmt;

use countersign_registry::oidc::Difference;
use countersign_registry::{Error, Kind};

/// The exit codes, stable and documented in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// A bug, or an environment that does not allow what was asked.
    Environment = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// A proof, a signature or a digest did not verify.
    Verification = 3,
    /// The registry's rules say no.
    Refused = 4,
    /// Something that this needs can not be reached.
    Unreachable = 5,
}

/// A command that did not do what it was asked for.
#[derive(Debug)]
pub struct Failure {
    /// With which code the process ends.
    pub exit: Exit,
    /// Stable kebab-case code.
    pub code: String,
    /// What was wrong, with which value.
    pub message: String,
    /// The way out.
    pub remedy: Option<String>,
    /// Claims or fields that were not as they should be, one by one.
    pub differences: Vec<Difference>,
}

impl Failure {
    /// A failure that ends with `exit`.
    pub fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: code.to_owned(),
            message: message.into(),
            remedy: None,
            differences: Vec::new(),
        }
    }

    /// A wrong command line or configuration.
    pub fn usage(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, code, message)
    }

    /// An environment that does not allow what was asked.
    pub fn environment(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Environment, code, message)
    }

    /// Adds the way out.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The failure as the line that `--json` prints on standard error.
    pub fn json(&self) -> serde_json::Value {
        let mut error = serde_json::json!({
            "code": self.code, "exit": self.exit as u8, "message": self.message, "remedy": self.remedy,
        });
        if !self.differences.is_empty() {
            error["differences"] = serde_json::json!(self.differences);
        }
        serde_json::json!({"error": error})
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for difference in &self.differences {
            write!(f, "\n  {}", told(difference).replace('\n', "\n  "))?;
        }
        match &self.remedy {
            Some(remedy) => write!(f, "\n  {}", remedy.replace('\n', "\n  ")),
            None => Ok(()),
        }
    }
}

/// One claim and what was asked of it, with the advice on a line of its own.
pub fn told(difference: &Difference) -> String {
    let mark = if difference.matched { "✓" } else { "✗" };
    let seen = difference.seen.as_deref().unwrap_or("nothing");
    let mut text = format!(
        "{mark} {}: expected {}, saw {seen}",
        difference.claim, difference.expected
    );
    if let Some(advice) = difference.advice.as_ref().filter(|_| !difference.matched) {
        text.push_str(&format!("\n    {advice}"));
    }
    text
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match error.kind {
            Kind::Unavailable => Exit::Unreachable,
            Kind::Internal => Exit::Environment,
            Kind::Unauthenticated
            | Kind::Denied
            | Kind::NotFound
            | Kind::Conflict
            | Kind::Rejected
            | Kind::TooLarge
            | Kind::Limited => Exit::Refused,
        };
        // Whoever stands at the command line is the operator, so the cause may be shown.
        let mut message = error.message.clone();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            message.push_str(&format!("\n  because: {inner}"));
            cause = inner.source();
        }
        Self {
            exit,
            code: error.code.into_owned(),
            message,
            remedy: error.remedy,
            differences: error.differences,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claim_that_differs_is_told_with_its_advice() {
        let mut failure =
            Failure::new(Exit::Refused, "publisher-mismatch", "No publisher matches.")
                .remedy("Change one of them.");
        assert!(failure.json()["error"].get("differences").is_none());
        failure.differences = vec![Difference {
            claim: "environment".to_owned(),
            expected: "release".to_owned(),
            seen: None,
            matched: false,
            advice: Some("Add it to the job.".to_owned()),
        }];
        assert_eq!(
            failure.to_string(),
            "No publisher matches.\n  ✗ environment: expected release, saw nothing\n      Add it to the job.\n  Change one of them."
        );
        assert_eq!(
            failure.json()["error"]["differences"][0]["claim"],
            "environment"
        );
    }
}
