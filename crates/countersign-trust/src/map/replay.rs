//! The map from the leaves of a log, for whoever does not believe the one that is served.

use std::collections::HashMap;

use super::{Entry, OutOfOrder, ProjectState, RootBuilder, project_key, project_of};
use crate::digest::Sha256;
use crate::leaf::{Leaf, LeafKind, identifier_hash};

/// Why leaves make no map.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// A leaf of a project does not follow the one before.
    #[error("{project} has a leaf with the sequence {found} after {count} leaves")]
    Sequence {
        /// Purl of the project.
        project: String,
        /// How many leaves it had.
        count: u64,
        /// What the leaf says.
        found: u64,
    },
    /// Two publications of one identifier.
    #[error("two leaves publish one identifier; its key is {key}")]
    Twice {
        /// Key of the identifier.
        key: Sha256,
    },
}

/// Makes the map from leaves in their order. It holds 64 bytes for each file and some 100 for each project.
#[derive(Debug, Default)]
pub struct Replay {
    identifiers: Vec<Entry>,
    projects: HashMap<Sha256, ProjectState>,
}

impl Replay {
    /// Adds the next leaf, whose hash is that of RFC 6962 over its bytes.
    ///
    /// # Errors
    /// [`ReplayError::Sequence`].
    pub fn add(&mut self, leaf: &Leaf, leaf_hash: &Sha256) -> Result<(), ReplayError> {
        let (Some(subject), Some(sequence)) = (leaf.subject.as_deref(), leaf.sequence) else {
            return Ok(());
        };
        let project = project_of(subject);
        let state = self
            .projects
            .entry(project_key(project))
            .or_insert(ProjectState::NONE);
        if state.count.checked_add(1) != Some(sequence) {
            return Err(ReplayError::Sequence {
                project: project.to_owned(),
                count: state.count,
                found: sequence,
            });
        }
        *state = state.followed_by(leaf_hash);
        if leaf.kind == LeafKind::FilePublished {
            self.identifiers.push(Entry {
                key: identifier_hash(subject),
                value: *leaf_hash,
            });
        }
        Ok(())
    }

    /// What happened to a project so far.
    #[must_use]
    pub fn project(&self, purl: &str) -> ProjectState {
        let state = self.projects.get(&project_key(purl));
        state.copied().unwrap_or(ProjectState::NONE)
    }

    /// All entries, by their keys.
    ///
    /// # Errors
    /// [`ReplayError::Twice`].
    pub fn entries(&self) -> Result<Vec<Entry>, ReplayError> {
        let projects = self.projects.iter().map(|(key, state)| Entry {
            key: *key,
            value: state.value(),
        });
        let mut entries: Vec<Entry> = self.identifiers.iter().copied().chain(projects).collect();
        entries.sort_unstable();
        match entries.windows(2).find(|pair| pair[0].key == pair[1].key) {
            Some(pair) => Err(ReplayError::Twice { key: pair[0].key }),
            None => Ok(entries),
        }
    }

    /// The root of the map over the leaves that were added.
    ///
    /// # Errors
    /// [`ReplayError::Twice`].
    pub fn root(&self) -> Result<Sha256, ReplayError> {
        let mut builder = RootBuilder::default();
        builder
            .extend(&self.entries()?)
            .map_err(|OutOfOrder { key }| ReplayError::Twice { key })?;
        Ok(builder.root())
    }
}
