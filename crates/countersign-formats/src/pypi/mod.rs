//! Python distributions: what the public index's clients publish and install.

pub mod classifiers;
pub mod documents;
pub mod filename;
pub mod html;
mod inspect;
pub mod metadata;
pub mod name;
mod promises;
mod record;
pub(crate) mod requirement;
pub mod upload;
pub mod version;

use crate::{Artifact, Ecosystem, Format, Limits, Manifest, NameKey, Promise, Rejection, Version};

pub use promises::promises;

/// The rules of Python distributions.
pub struct Pypi;

impl Format for Pypi {
    fn ecosystem(&self) -> Ecosystem {
        Ecosystem::Pypi
    }

    fn name_key(&self, name: &str) -> Result<NameKey, Rejection> {
        name::key(name)
    }

    fn version(&self, text: &str) -> Result<Version, Rejection> {
        version::parse(text)
    }

    fn file_key(&self, manifest: &Manifest, limits: &Limits) -> Result<String, Rejection> {
        Ok(filename::parse(&manifest.filename, limits)?.key())
    }

    fn inspect(&self, artifact: &mut Artifact<'_>, limits: &Limits) -> Result<Manifest, Rejection> {
        inspect::inspect(artifact, limits)
    }

    fn promises(&self, document: &[u8], limits: &Limits) -> Result<Vec<Promise>, Rejection> {
        promises::promises(document, limits)
    }
}
