//! Probes that make accounts and packages, for one's own registry or with consent. They go through the doors that people
//! and clients go through: forms, mails, uploads.
//!
//! Each one makes its own people and packages, so that none depends on what another one left.

mod accounts;
mod doors;
mod incidents;
mod packages;
pub mod provenance;
mod publishing;
mod software;
mod tooling;

pub use incidents::SCENARIOS;

use crate::principles::Grade;
use crate::script::{Probe, Script, Told};

const fn canary(check: &'static str, run: fn(&mut Script<'_>) -> Told<()>) -> Probe {
    Probe {
        check,
        grade: Grade::Canary,
        run,
    }
}

/// All of them.
pub const PROBES: &[Probe] = &[
    canary("AN1.1", accounts::addresses_are_proven),
    canary("AN1.3", accounts::codes_by_time),
    canary("AN1.4", accounts::changes_are_mailed),
    canary("AN1.5", accounts::guessing_is_stopped),
    canary("AN2.2", accounts::passkeys_sign_in),
    canary("AN2.4a", accounts::breached_password_at_sign_in),
    canary("AN2.4b", accounts::breached_password_is_refused),
    canary("AN3.1", accounts::passkeys_need_verification),
    canary("AZ1.1", publishing::tokens_are_scoped),
    canary("AZ1.2", publishing::tokens_are_recognisable),
    canary("AZ2.1", publishing::roles_differ),
    canary("AZ3.1", publishing::trusted_publishing),
    canary("AZ3.2b", publishing::leaked_tokens_end),
    canary("AZ3.3", provenance::attestations_are_carried),
    canary("GC1.2", publishing::lookalikes_are_hindered),
    canary("GC2.1a", publishing::files_never_change),
    canary("GC2.1b", publishing::names_are_not_given_away),
    canary("GC2.2a", publishing::page_takes_reports),
    canary("GC2.2b", publishing::client_takes_reports),
    canary("GC2.2c", publishing::api_takes_reports),
    canary("GC2.3", publishing::uploads_are_scanned),
    canary("GC2.4", publishing::page_warns),
    canary("GC3.2", publishing::events_are_logged),
    canary("GC3.3", publishing::malware_becomes_a_record),
    canary("CL1.1", tooling::changed_bytes_are_refused),
    canary("CL2.1", tooling::installs_warn),
    canary("CL3.1", tooling::bill_of_materials),
    canary("CL3.2", tooling::fixes),
    canary("CL3.3", tooling::reachability),
    // These turn the clock by weeks.
    canary("AN2.1", accounts::lapsed_domains_recover_nothing),
    canary("AN2.3", publishing::critical_needs_a_factor),
    canary("AN3.2", publishing::everybody_needs_a_factor),
    canary("AN3.3a", publishing::critical_needs_a_phishproof_factor),
];
