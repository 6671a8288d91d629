//! Pure detectors. They find; [`crate::policy`] decides.

pub(crate) mod names;
pub mod scan;
