//! Rust crates: what cargo publishes and installs.
//!
//! The one thing that must never go wrong here is *from which registry* a dependency comes. The same
//! silence means two things: no registry in the `Cargo.toml` of an archive is crates.io, no registry
//! in an index or a publish request is "this same registry". So what is read from either is a
//! [`Source`], which has no silent case, and only the two ends ([`manifest`] and [`index`]) translate.

pub mod api;
pub mod dependency;
mod features;
pub mod index;
pub(crate) mod inspect;
pub mod manifest;
pub mod name;
mod platform;
pub mod publish;
pub mod version;

use crate::{Artifact, Ecosystem, Format, Limits, Manifest, NameKey, Promise, Rejection, Version};

pub use dependency::{CrateDependency, Kind, OwnIndex, Source};
pub use inspect::{CrateDetails, Vcs};

/// The rules of Rust crates.
pub struct Cargo;

impl Format for Cargo {
    fn ecosystem(&self) -> Ecosystem {
        Ecosystem::Cargo
    }

    fn name_key(&self, name: &str) -> Result<NameKey, Rejection> {
        name::key(name)
    }

    fn new_name(&self, name: &str) -> Result<NameKey, Rejection> {
        name::new(name)
    }

    fn version(&self, text: &str) -> Result<Version, Rejection> {
        version::parse(text)
    }

    fn inspect(&self, artifact: &mut Artifact<'_>, limits: &Limits) -> Result<Manifest, Rejection> {
        inspect::inspect(artifact, limits)
    }

    fn promises(&self, document: &[u8], limits: &Limits) -> Result<Vec<Promise>, Rejection> {
        index::promises(document, limits)
    }
}
