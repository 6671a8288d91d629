//! How far a package registry is with the Principles for Package Repository Security, shown by evidence.
//!
//! The crate is pure: no clock, no randomness, no network. A probe is a function over what was recorded so far, which
//! either wants to do one more thing ([`script::Act`]) or gives its verdict; so a recording can be replayed in a test and
//! lies beside the assessment as its evidence. Who does what a probe wants is a driver of the caller's.
//!
//! - [`principles`]: the 39 checks, as data.
//! - [`profile`]: what an operator says of a registry: taxonomy, places, delegations, attestations.
//! - [`script`]: recordings, and the probes' language over them.
//! - [`public`]: probes that anybody may make.
//! - [`run`]: one act after the other.
//! - [`canary`]: probes that make accounts and packages, for one's own registry or with consent.
//! - [`drill`]: incidents, played on a staging copy.
//! - [`assessment`]: results, levels, and the difference to an earlier run.
//! - [`roadmap`], [`report`]: what to do next, and how it is shown.
//! - [`registries`]: what is known of ten public registries, and the survey of 2022.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod assessment;
pub mod canary;
pub mod drill;
pub mod pace;
pub mod principles;
pub mod profile;
pub mod public;
pub mod registries;
pub mod report;
pub mod roadmap;
pub mod run;
pub mod script;

/// This program as it names itself to registries and in reports.
pub const TOOL: &str = concat!("countersign-assess/", env!("CARGO_PKG_VERSION"));

/// Seconds since 1970 as RFC 3339 in UTC.
pub fn timestamp(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |at| at.to_string())
}

/// A date (`2026-11-22`) or time (RFC 3339) as seconds since 1970; a date counts from its first second in UTC.
pub fn seconds(text: &str) -> Option<i64> {
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        _ => text.to_owned(),
    };
    let at: jiff::Timestamp = whole.parse().ok()?;
    Some(at.as_second())
}
