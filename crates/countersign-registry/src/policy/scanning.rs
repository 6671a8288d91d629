//! What follows from a scan.

use crate::settings::{ScanHold, ScanSettings};

/// What becomes of a file that was scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScanTier {
    /// Nothing.
    Clear,
    /// The operator and its people see what was found.
    Flag,
    /// It is withheld until somebody decides.
    Hold,
}

/// Is a new file served only after its scan?
pub(crate) fn waits_for_scan(settings: &ScanSettings, founded: bool) -> bool {
    match settings.wait {
        ScanHold::Never => false,
        ScanHold::NewProjects => founded,
        ScanHold::Always => true,
    }
}

/// The tier of a score.
pub(crate) fn scan_tier(settings: &ScanSettings, score: u32) -> ScanTier {
    if score >= settings.hold_at {
        ScanTier::Hold
    } else if score >= settings.flag_at {
        ScanTier::Flag
    } else {
        ScanTier::Clear
    }
}
