//! npm packages: what npm, pnpm and both yarns publish and install.
//!
//! Everything that a packument says about a version is taken from the `package.json` in the tarball
//! ([`package`]); what a client posts is only compared with it ([`compare`]).

pub mod changes;
pub mod compare;
pub mod documents;
mod hosted;
mod inspect;
mod json;
pub mod name;
pub mod package;
mod promises;
pub mod publish;
pub mod range;
pub mod registry;
pub mod tags;
pub mod trust;
pub mod update;
pub mod version;

use crate::{Artifact, Ecosystem, Format, Limits, Manifest, NameKey, Promise, Rejection, Version};

pub use inspect::tarball_name;
pub use package::Package;
pub use promises::promises;

/// The rules of npm packages.
pub struct Npm;

impl Format for Npm {
    fn ecosystem(&self) -> Ecosystem {
        Ecosystem::Npm
    }

    fn name_key(&self, name: &str) -> Result<NameKey, Rejection> {
        Ok(name::PackageName::parse(name)?.key())
    }

    fn new_name(&self, name: &str) -> Result<NameKey, Rejection> {
        Ok(name::PackageName::parse_new(name)?.key())
    }

    /// As the public registry compares names without scope: without their punctuation. Those in a scope are their owner's.
    fn skeleton(&self, key: &NameKey) -> String {
        match name::PackageName::parse(key.as_str()) {
            Ok(name) if name.scope().is_none() => {
                crate::pypi::name::skeleton(&NameKey::from_stored(name.moniker()))
            }
            _ => key.as_str().to_owned(),
        }
    }

    fn namespace_key(&self, prefix: &str) -> Result<NameKey, Rejection> {
        if !prefix.starts_with('@') {
            return self.name_key(prefix);
        }
        // A scope is whatever may stand before a name.
        let probe = self.name_key(&format!("{prefix}/x"))?;
        match probe.as_str().strip_suffix("/x") {
            Some(scope) if !scope.contains('/') => Ok(NameKey::from_stored(scope)),
            _ => Err(Rejection::new(
                "namespace-invalid",
                format!("{} is no scope.", crate::rejection::quoted(prefix)),
            )
            .with_remedy("Write the scope alone, such as @acme.")),
        }
    }

    fn version(&self, text: &str) -> Result<Version, Rejection> {
        version::parse(text)
    }

    fn inspect(&self, artifact: &mut Artifact<'_>, limits: &Limits) -> Result<Manifest, Rejection> {
        inspect::inspect(artifact, limits)
    }

    fn promises(&self, document: &[u8], limits: &Limits) -> Result<Vec<Promise>, Rejection> {
        promises::promises(document, limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_in_punctuation_alone_are_confused() {
        let skeleton = |name: &str| Npm.skeleton(&Npm.name_key(name).unwrap());
        for other in ["left.pad", "left_pad", "leftpad", "Left-Pad", "1eft-pad"] {
            assert_eq!(skeleton(other), skeleton("left-pad"), "{other}");
        }
        // Whoever owns a scope names things in it.
        assert_ne!(skeleton("@a/b-c"), skeleton("@a/bc"));
        assert_ne!(skeleton("@a/left-pad"), skeleton("left-pad"));
    }
}
