//! `exchange …`: identity tokens that are judged for registries elsewhere.

use clap::{Args, Subcommand};
use countersign_registry::oidc::Rule;

use super::Stores;

/// `exchange …`
#[derive(Debug, Subcommand)]
pub enum Exchange {
    /// Make a token with which a registry elsewhere has identity tokens judged; prints it.
    Token {
        /// The service: lower-case letters, digits and hyphens.
        service: String,
        /// What the token is for.
        #[arg(long, default_value = "exchange")]
        label: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// The workflows that may publish its projects.
    #[command(subcommand)]
    Publisher(ServicePublisher),
}

/// `exchange publisher …`
#[derive(Debug, Subcommand)]
pub enum ServicePublisher {
    /// Let a workflow publish a project of a service.
    Add(Box<ServicePublisherFlags>),
    /// List them.
    List {
        /// The service.
        service: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Take one away.
    Remove {
        /// The service.
        service: String,
        /// The publisher's id.
        id: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// Options of `exchange publisher add`.
#[derive(Args, Debug)]
pub struct ServicePublisherFlags {
    /// The service.
    pub service: String,
    /// The project, as the other registry names it.
    pub project: String,
    /// The issuer: its name in `admin issuer list`, its URL, or the word for a built-in one (github, gitlab, …).
    #[arg(long, value_name = "NAME")]
    pub issuer: String,
    /// A field of the issuer's provider, such as owner=octo; again for each. `admin publisher fields` lists them.
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = super::trusted::field)]
    pub fields: Vec<(String, String)>,
    /// A further rule about a claim of the token, as for `admin publisher add`; again for each.
    #[arg(long = "claim", value_name = "RULE")]
    pub claims: Vec<Rule>,
    /// Where database and blobs are.
    #[command(flatten)]
    pub stores: Stores,
}
