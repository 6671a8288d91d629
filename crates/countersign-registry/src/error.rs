//! The one error of the core: a finite list of branches, a sentence for the person, a source for the log.

use std::borrow::Cow;

use countersign_trust::oidc::{Difference, Refused};

/// What a caller can do about an error; the only thing code may branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No credential, or one that is unknown, expired or revoked.
    Unauthenticated,
    /// A known caller without the permission; the message names the permission.
    Denied,
    /// The thing is not here (or the caller may not know that it is).
    NotFound,
    /// It exists already with other content.
    Conflict,
    /// The input is wrong in itself.
    Rejected,
    /// Larger than a limit of this instance.
    TooLarge,
    /// Too many requests.
    Limited,
    /// The registry can not do this now; the identical retry is safe.
    Unavailable,
    /// A bug or a broken environment; details are in the log only.
    Internal,
}

/// An error of the core.
///
/// `code` is stable and kebab-case (it is also the anchor of the explaining page, `/help/errors#CODE`),
/// `message` and `remedy` are for the person and never contain a secret, `source` goes to the log alone.
#[derive(Debug)]
pub struct Error {
    /// The branch.
    pub kind: Kind,
    /// Stable kebab-case code.
    pub code: Cow<'static, str>,
    /// What was wrong, with which value.
    pub message: String,
    /// What to do next.
    pub remedy: Option<String>,
    /// Claims or fields that were not as they should be, one by one; for trusted publishing.
    pub differences: Vec<Difference>,
    /// The cause, for the log.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Result of the core.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` with its stable code and its sentence.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: Cow::Borrowed(code),
            message: message.into(),
            remedy: None,
            differences: Vec::new(),
            source: None,
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds the cause, which only the log shows.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// A bug or a broken environment.
    pub fn internal(
        what: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::new(
            Kind::Internal,
            "internal",
            format!("The registry failed inside: {what}."),
        )
        .remedy("This is not your fault. Try again; if it stays, tell the operator the request id.")
        .because(source)
    }

    /// Something this needs (database, blobs, log) can not be reached or written now.
    pub fn unavailable(code: &'static str, what: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, code, what).remedy(
            "Nothing was half done. Send the identical request again in a moment; it is safe.",
        )
    }

    /// The same error for another caller; the cause goes to the log once.
    pub(crate) fn without_source(&self) -> Self {
        Self {
            kind: self.kind,
            code: self.code.clone(),
            message: self.message.clone(),
            remedy: self.remedy.clone(),
            differences: self.differences.clone(),
            source: None,
        }
    }

    /// The message and the remedy as one text.
    pub fn text(&self) -> String {
        match &self.remedy {
            Some(remedy) => format!("{} {remedy}", self.message),
            None => self.message.clone(),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

impl From<countersign_formats::Rejection> for Error {
    fn from(rejection: countersign_formats::Rejection) -> Self {
        // An archive that our own spool could not give back is our fault, not the publisher's.
        let kind = if rejection.is_our_fault() {
            Kind::Unavailable
        } else {
            Kind::Rejected
        };
        Self {
            kind,
            code: Cow::Borrowed(rejection.code),
            message: rejection.message,
            remedy: rejection.remedy,
            differences: Vec::new(),
            source: None,
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self {
            kind: Kind::Rejected,
            code: Cow::Borrowed(refused.code),
            message: sentence(&refused.message),
            remedy: Some(sentence(&refused.remedy)),
            differences: refused.differences,
            source: None,
        }
    }
}

/// A clause as a sentence: with a capital letter and a full stop.
pub(crate) fn sentence(clause: &str) -> String {
    let mut rest = clause.trim().chars();
    let mut sentence: String = rest
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    sentence.push_str(rest.as_str());
    if !sentence.ends_with(['.', '!', '?']) {
        sentence.push('.');
    }
    sentence
}
