//! What an artifact says about itself, read from its bytes.

use serde::{Deserialize, Serialize};

use crate::{Ecosystem, NameKey, cargo, npm};

/// Everything the registry knows about a file from the file alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Whose rules were applied.
    pub ecosystem: Ecosystem,
    /// The project's name as the metadata writes it.
    pub name: String,
    /// The form under which two spellings are the same project.
    pub name_key: NameKey,
    /// The version as the metadata writes it.
    pub version: String,
    /// The version in normal form (`1.0-RC1` is `1.0rc1`); trailing zeros are kept.
    pub version_canonical: String,
    /// The form under which two spellings are the same release (`1.0` and `1.0.0` are `1`).
    pub version_key: String,
    /// The artifact's file name.
    pub filename: String,
    /// `bdist_wheel`, `sdist`, `crate` or `npm`.
    pub filetype: String,
    /// The wheel's Python tag (`py3`, `cp311`), or `source`; empty where there is no such thing.
    pub python_tag: String,
    /// Core-metadata version (`2.4`); empty outside Python.
    pub metadata_version: String,
    /// Which Pythons the release runs on.
    pub requires_python: Option<String>,
    /// One line.
    pub summary: Option<String>,
    /// The long description, as written.
    pub description: Option<String>,
    /// Media type of the description, with parameters.
    pub description_content_type: Option<String>,
    /// Free-text licence of old metadata.
    pub license: Option<String>,
    /// SPDX expression.
    pub license_expression: Option<String>,
    /// Paths of licence files.
    pub license_files: Vec<String>,
    /// Author's name.
    pub author: Option<String>,
    /// Author's address.
    pub author_email: Option<String>,
    /// Maintainer's name.
    pub maintainer: Option<String>,
    /// Maintainer's address.
    pub maintainer_email: Option<String>,
    /// Keywords as written.
    pub keywords: Option<String>,
    /// Home page (old metadata).
    pub home_page: Option<String>,
    /// Download page (old metadata).
    pub download_url: Option<String>,
    /// Trove classifiers; a crate's categories.
    pub classifiers: Vec<String>,
    /// `(label, URL)`.
    pub project_urls: Vec<(String, String)>,
    /// What the release needs.
    pub dependencies: Vec<Dependency>,
    /// Names of optional features.
    pub provides_extra: Vec<String>,
    /// All fields of the metadata that are not named above, as `(lower-case field, value)`.
    pub other_fields: Vec<(String, String)>,
    /// Raw METADATA, PKG-INFO, `Cargo.toml` or `package.json`; for wheels it is served beside the file
    /// (PEP 658).
    #[serde(skip)]
    pub metadata_bytes: Vec<u8>,
    /// What is odd but accepted, for the uploader to read.
    pub warnings: Vec<String>,
    /// Sum of the members' sizes, in bytes.
    pub unpacked_size: u64,
    /// Number of members.
    pub member_count: u64,
    /// What only this ecosystem knows.
    #[serde(default, skip_serializing_if = "Details::is_none")]
    pub details: Details,
}

/// What one ecosystem's artifacts say beyond the common fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Details {
    /// Nothing, as for Python, after which the common fields are cut.
    #[default]
    None,
    /// A crate's.
    Cargo(Box<cargo::CrateDetails>),
    /// An npm package's.
    Npm(Box<npm::Package>),
}

impl Details {
    /// Whether there is nothing.
    pub fn is_none(&self) -> bool {
        matches!(self, Details::None)
    }

    /// A crate's details.
    pub fn cargo(&self) -> Option<&cargo::CrateDetails> {
        match self {
            Details::Cargo(details) => Some(details),
            Details::None | Details::Npm(_) => None,
        }
    }

    /// An npm package's details.
    pub fn npm(&self) -> Option<&npm::Package> {
        match self {
            Details::Npm(package) => Some(package),
            Details::None | Details::Cargo(_) => None,
        }
    }
}

/// One requirement of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Whom it needs.
    pub name_key: NameKey,
    /// The requirement as written (`requests[security]>=2; extra == "http"`).
    pub requirement: String,
    /// The version specifiers (`>=2,<3`), or the URL of a direct reference; empty when any will do.
    pub specifier: String,
    /// The environment marker, normalised; empty when it always applies.
    pub marker: String,
    /// The extra of this release that asks for it, when the marker names exactly one.
    pub extra: Option<String>,
}
