//! Pure detectors. They find; [`crate::policy`] decides.

pub mod lookalikes;
pub(crate) mod names;
pub mod scan;
