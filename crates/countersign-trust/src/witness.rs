//! The witness protocol (c2sp.org/tlog-witness): what a log asks of a witness, what the witness decides from the state
//! that it keeps, and what it answers.
//!
//! A witness keeps one signed note for each log: the largest tree that it ever cosigned. Each answer goes through types
//! that can not be skipped: an [`AddCheckpoint`] is only well-formed, an [`Authentic`] one carries a signature of the
//! log, and [`Cosigned`] holds the answer back until the new state was written.
//!
//! ```text
//! AddCheckpoint::parse ─▶ KnownLogs::get ─▶ authenticate ─▶ Witness::cosign ─▶ Cosigned::persist ─▶ the answer
//!                    400              404             403      409, 422, 400
//! ```

mod cosign;
mod gather;
mod keys;
mod logs;
mod request;

pub use cosign::{Authentic, Cosigned, Latest, StateError};
pub use gather::{Ask, Gathering, Heard, MAX_ANSWER_BYTES, Standing, compare};
pub use keys::{Witness, WitnessKeyError};
pub use logs::{KnownLog, KnownLogs, LogsError, MAX_LOGS, MAX_LOGS_BYTES};
pub use request::{AddCheckpoint, MAX_REQUEST_BYTES, SignSubtree};

use crate::digest::Sha256;

/// The content type of a conflict's answer, which is the size of the witness's tree.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// Why a witness does not sign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request is not of the protocol's form.
    #[error("malformed request: {reason}")]
    Malformed {
        /// Which part is wrong, and how.
        reason: String,
    },
    /// The checkpoint is smaller than what the request says came before it.
    #[error("the old size {old} is above the checkpoint's size {new}")]
    OldAboveNew {
        /// The request's old size.
        old: u64,
        /// The checkpoint's size.
        new: u64,
    },
    /// The witness does not know the log.
    #[error("the log {origin:?} is not one of this witness")]
    UnknownLog {
        /// The checkpoint's origin.
        origin: String,
    },
    /// No key that counts has signed, or a line of one is wrong.
    #[error("not signed as it must be: {reason}")]
    NotSigned {
        /// What is missing or wrong.
        reason: String,
    },
    /// The old size is not that of the tree that the witness cosigned last.
    #[error("the largest tree cosigned has {size} leaves")]
    Conflict {
        /// Its size; 0 where none was cosigned.
        size: u64,
    },
    /// The tree does not continue the one that the witness cosigned: the log forked, or the proof is wrong.
    #[error("the checkpoint does not continue what was cosigned: {reason}")]
    Inconsistent {
        /// What does not fit.
        reason: String,
    },
    /// The witness's clock shows a time that can not be stated.
    #[error("the witness's clock is wrong")]
    Clock,
    /// No key of the witness could sign this.
    #[error("no key of this witness can sign this")]
    Signing,
}

impl Refusal {
    fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed {
            reason: reason.into(),
        }
    }

    /// The HTTP status that the protocol gives it.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed { .. } | Self::OldAboveNew { .. } => 400,
            Self::NotSigned { .. } => 403,
            Self::UnknownLog { .. } => 404,
            Self::Conflict { .. } => 409,
            Self::Inconsistent { .. } => 422,
            Self::Clock | Self::Signing => 500,
        }
    }

    /// The answer's body: for a conflict the bare size, else a sentence.
    #[must_use]
    pub fn body(&self) -> String {
        match self {
            Self::Conflict { size } => format!("{size}\n"),
            other => format!("{other}\n"),
        }
    }

    /// The answer's content type.
    #[must_use]
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Conflict { .. } => SIZE_CONTENT_TYPE,
            _ => "text/plain; charset=utf-8",
        }
    }
}

/// How a log is called in a witness's addresses and state: the SHA-256 of its origin, in lower-case hex.
#[must_use]
pub fn origin_hash(origin: &str) -> String {
    Sha256::of(origin.as_bytes()).to_hex()
}

/// Path of a log's newest cosigned checkpoint below a witness's monitoring prefix.
#[must_use]
pub fn monitoring_path(origin: &str) -> String {
    format!("{}/checkpoint", origin_hash(origin))
}

#[cfg(test)]
mod tests;
