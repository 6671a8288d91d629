//! The logs that a witness knows, from a policy file (c2sp.org/tlog-policy) or a list of the witness network
//! (`logs/v0`).

use std::collections::BTreeMap;

use crate::canonical_decimal;
use crate::note::{KeyType, VerifierKey};
use crate::policy::{Policy, PolicyError};

/// The longest list that is parsed, in bytes.
pub const MAX_LOGS_BYTES: usize = 32 * 1024 * 1024;
/// The most logs of one witness.
pub const MAX_LOGS: usize = 100_000;
/// The most keys of one log.
const MAX_KEYS: usize = 8;

/// The first line of a list of the witness network.
const LIST_HEADER: &str = "logs/v0";

/// Why a list of logs is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogsError {
    /// The list as a whole.
    #[error("the list of logs is refused: {reason}")]
    File {
        /// What is wrong.
        reason: String,
    },
    /// One line of a list of the witness network.
    #[error("line {line} of the list of logs is refused: {reason}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong, with the value.
        reason: String,
    },
    /// The policy file.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// A log whose checkpoints a witness takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownLog {
    origin: String,
    keys: Vec<VerifierKey>,
}

impl KnownLog {
    /// The first line of its checkpoints.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Its keys; a signature by any of them is enough. Their name need not be the origin.
    #[must_use]
    pub fn keys(&self) -> &[VerifierKey] {
        &self.keys
    }
}

/// All logs of a witness.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownLogs {
    logs: BTreeMap<String, KnownLog>,
}

impl KnownLogs {
    /// No log.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the logs of a file: a list of the witness network if its first line is `logs/v0`, else a policy file, of
    /// which the `log` lines count. A log that is in several files has the keys of all.
    ///
    /// # Errors
    /// [`LogsError`].
    pub fn read(&mut self, file: &[u8]) -> Result<(), LogsError> {
        if file.len() > MAX_LOGS_BYTES {
            return Err(LogsError::File {
                reason: format!("it is longer than {MAX_LOGS_BYTES} bytes"),
            });
        }
        let text = std::str::from_utf8(file).map_err(|_| LogsError::File {
            reason: "it is not UTF-8".to_owned(),
        })?;
        if lines(text)
            .next()
            .is_some_and(|(_, line)| line == LIST_HEADER)
        {
            return self.read_list(text);
        }
        for log in Policy::parse(file)?.logs() {
            self.add(log.key.name().as_str(), log.key.clone())
                .map_err(|reason| LogsError::File { reason })?;
        }
        Ok(())
    }

    /// Adds a key of a log; the same key again changes nothing.
    ///
    /// # Errors
    /// A sentence, for a witness's key, a malformed origin, and too many logs or keys.
    pub fn add(&mut self, origin: &str, key: VerifierKey) -> Result<(), String> {
        if key.key_type() == KeyType::Ed25519Cosignature {
            return Err(format!(
                "the key {} is a witness's (type 0x04), not a log's",
                key.name()
            ));
        }
        if origin.is_empty() || origin.chars().any(char::is_control) {
            return Err(format!("{origin:?} is not an origin"));
        }
        if self.logs.len() == MAX_LOGS && !self.logs.contains_key(origin) {
            return Err(format!("more than {MAX_LOGS} logs"));
        }
        let log = self
            .logs
            .entry(origin.to_owned())
            .or_insert_with(|| KnownLog {
                origin: origin.to_owned(),
                keys: Vec::new(),
            });
        if log.keys.contains(&key) {
            return Ok(());
        }
        if log.keys.len() == MAX_KEYS {
            return Err(format!("more than {MAX_KEYS} keys of the log {origin}"));
        }
        log.keys.push(key);
        Ok(())
    }

    /// The log of an origin.
    #[must_use]
    pub fn get(&self, origin: &str) -> Option<&KnownLog> {
        self.logs.get(origin)
    }

    /// Every log, ordered by origin.
    pub fn iter(&self) -> impl Iterator<Item = &KnownLog> {
        self.logs.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.logs.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// Blocks of `vkey`, optionally `origin`, `qpd` and `contact`, in this order. How often a log may ask (`qpd`) is
    /// checked for its form only.
    fn read_list(&mut self, text: &str) -> Result<(), LogsError> {
        let lines: Vec<(usize, &str)> = lines(text).skip(1).collect();
        let mut rest = lines.as_slice();
        while let [(number, line), after @ ..] = rest {
            let refuse = |line: usize, reason: String| LogsError::Line { line, reason };
            let value = |at: usize, line: &'_ str, keyword: &str| {
                field(line, keyword)
                    .map(str::to_owned)
                    .ok_or_else(|| refuse(at, format!("expected {keyword:?}, found {line:?}")))
            };
            let key: VerifierKey = value(*number, line, "vkey")?
                .parse()
                .map_err(|error| refuse(*number, format!("{error}")))?;
            if key.key_type() != KeyType::Ed25519 {
                let reason = "only Ed25519 keys of type 0x01 stand in such a list".to_owned();
                return Err(refuse(*number, reason));
            }
            let (origin, after) = match after {
                [(_, line), after @ ..] if field(line, "origin").is_some() => {
                    (field(line, "origin").unwrap_or_default(), after)
                }
                _ => (key.name().as_str(), after),
            };
            let [(at, qpd), (contact_at, contact), after @ ..] = after else {
                let reason = "the log has not both qpd and contact".to_owned();
                return Err(refuse(*number, reason));
            };
            let qpd = value(*at, qpd, "qpd")?;
            canonical_decimal(&qpd)
                .filter(|qpd| (1..1 << 31).contains(qpd))
                .ok_or_else(|| refuse(*at, format!("{qpd:?} is not a number of requests a day")))?;
            value(*contact_at, contact, "contact")?;
            self.add(origin, key.clone())
                .map_err(|reason| refuse(*number, reason))?;
            rest = after;
        }
        Ok(())
    }
}

/// The lines that count, trimmed, with their numbers from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line.trim()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn field<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    line.strip_prefix(keyword)?
        .strip_prefix(' ')
        .map(str::trim)
        .filter(|value| !value.is_empty())
}
