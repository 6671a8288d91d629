//! The consumer's side of Countersign: checks what a registry says instead of believing it.
//!
//! [`trusted`] holds what was pinned, [`remote`] fetches within limits, [`verify`] checks a file against its proof,
//! [`audit`] a whole log. Nothing here trusts an answer: each one is held against pinned keys.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod audit;
pub mod failure;
pub mod remote;
pub mod trusted;
pub mod verify;

pub use failure::{Exit, Failure};
