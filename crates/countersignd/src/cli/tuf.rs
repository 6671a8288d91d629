//! `tuf …`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use countersign_formats::Ecosystem;

use super::Stores;

/// `tuf …`
#[derive(Debug, Subcommand)]
pub enum Tuf {
    /// Begin a ceremony: write down what people are to sign, into a file that travels between them.
    ///
    /// Without --plan it asks. With a registry in DIR the ceremony follows what that publishes; without one (or with
    /// --offline) it begins a repository. Nothing is published by this command.
    #[command(after_help = "A plan:
  [root]
  keys = [\"alice.pub\", \"bob.pub\", \"pkcs11:token=carol;object=root?module-path=/usr/lib/softhsm/libsofthsm2.so\"]
  threshold = 2
  days = 365
  [targets]
  keys = [\"alice.pub\", \"bob.pub\"]
  threshold = 2
  days = 365")]
    Ceremony(Ceremony),
    /// Sign a copy of a ceremony's file with a key, or take in what an identity signed. Needs no registry and no network.
    Sign(Sign),
    /// Take the signatures of other copies into a ceremony's file.
    Merge {
        /// The file that takes them.
        #[arg(long, value_name = "FILE")]
        bundle: PathBuf,
        /// Copies of it.
        #[arg(required = true)]
        copies: Vec<PathBuf>,
        /// Whose word on identities is believed.
        #[command(flatten)]
        believed: Believed,
    },
    /// Who signed, who has not, what is due: of a ceremony's file, or of the registry's repositories.
    Status {
        /// A ceremony's file instead of the registry.
        #[arg(long, value_name = "FILE")]
        bundle: Option<PathBuf>,
        /// Whose word on identities is believed.
        #[command(flatten)]
        believed: Believed,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Publish a ceremony that enough people signed.
    Publish {
        /// The ceremony's file.
        #[arg(long, value_name = "FILE")]
        bundle: PathBuf,
        /// After a theft: what is published by now need not hold under the new root; it is signed anew in the same step.
        #[arg(long)]
        at_once: bool,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Whose word on identities is believed.
        #[command(flatten)]
        believed: Believed,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Give an online role another key. `bins` at once; the others by a ceremony that this begins.
    RotateOnline {
        /// timestamp, snapshot, index or bins; or targets, of the root of roots, where the server signs those.
        #[arg(value_parser = ["timestamp", "snapshot", "index", "bins", "targets"])]
        role: String,
        /// Which repository [default: all of the registry's own]
        #[arg(long, value_name = "NAME")]
        repository: Vec<String>,
        /// The new key's source, as `pkcs11:…` or `env:NAME` [default: a new file in the folder of keys]
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// The file of the ceremony, for the roles that take one.
        #[arg(long, value_name = "FILE")]
        bundle: Option<PathBuf>,
        /// For how many days the new root or targets document is good.
        #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Keys for ceremonies.
    #[command(subcommand)]
    Key(TufKey),
    /// Namespaces whose owners sign their index themselves, with their own keys.
    #[command(subcommand)]
    Namespace(Namespace),
    /// Repositories that are signed for registries elsewhere, by RSTUF's API.
    #[command(subcommand)]
    Service(Service),
}

/// Options of `tuf ceremony`.
#[derive(Args, Debug)]
pub struct Ceremony {
    /// The file to write; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,
    /// Who is to sign, in TOML; without it, questions are asked.
    #[arg(long, value_name = "FILE")]
    pub plan: Option<PathBuf>,
    /// Do not ask whether it is right.
    #[arg(long)]
    pub yes: bool,
    /// Do not look for a registry: the plan names the online keys too.
    #[arg(long)]
    pub offline: bool,
    /// Where database and blobs are.
    #[command(flatten)]
    pub stores: Stores,
}

/// Options of `tuf sign`.
#[derive(Args, Debug)]
pub struct Sign {
    /// The ceremony's file.
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,
    /// The key: file:PATH, env:NAME or pkcs11:token=LABEL;object=LABEL?module-path=FILE; or sigstore:IDENTITY?issuer=URL, with
    /// --payloads or --signed
    #[arg(long, value_name = "KEY")]
    pub key: String,
    /// Write what an identity is to sign into this folder, a file for each document, for any client of Sigstore
    #[arg(long, value_name = "DIR", conflicts_with = "signed")]
    pub payloads: Option<PathBuf>,
    /// A Sigstore bundle that an identity made of such a file
    #[arg(long, value_name = "FILE")]
    pub signed: Vec<PathBuf>,
    /// Whose word on identities is believed.
    #[command(flatten)]
    pub believed: Believed,
    /// A root that you know: refuse to sign unless the ceremony follows it.
    #[arg(long, value_name = "FILE")]
    pub trusted_root: Option<PathBuf>,
    /// Write the signed copy here, and leave the file as it is.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

/// Whose word on the identities of signers is believed.
#[derive(Args, Debug)]
pub struct Believed {
    /// The trusted_root.json of another Sigstore than the public one, for signers by identity
    #[arg(long, value_name = "FILE")]
    pub sigstore_root: Option<PathBuf>,
}

/// `tuf key …`
#[derive(Debug, Subcommand)]
pub enum TufKey {
    /// Make a key: FILE (private, mode 0600) and FILE.pub.
    New {
        /// The private key's file; it must not be there yet.
        file: PathBuf,
        /// P-256 instead of Ed25519.
        #[arg(long)]
        p256: bool,
        /// Leave the private key unencrypted; otherwise a passphrase is asked for.
        #[arg(long)]
        no_passphrase: bool,
    },
    /// Show a key's id, kind and public half.
    Show {
        /// A source of a key, sigstore:IDENTITY?issuer=URL among them, or the file of a public key.
        key: String,
    },
}

/// What `tuf namespace add` and `remove` have in common.
#[derive(Args, Debug)]
pub struct NamespaceChange {
    /// pypi, npm or cargo.
    #[arg(value_parser = super::ecosystem)]
    pub ecosystem: Ecosystem,
    /// `@scope/*` (npm), a beginning of names as `acme-*`, or one name.
    pub pattern: String,
    /// The ceremony's file; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    pub bundle: PathBuf,
    /// For how many days the new top-level targets are good.
    #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: u32,
    /// Do not ask whether it is right.
    #[arg(long)]
    pub yes: bool,
    /// Where database and blobs are.
    #[command(flatten)]
    pub stores: Stores,
}

/// `tuf namespace …`
#[derive(Debug, Subcommand)]
pub enum Namespace {
    /// Begin a ceremony after which the owners of a namespace sign its index documents, and the server does not.
    ///
    /// The targets' people sign the file, and the owners sign the first document of their role.
    #[command(after_help = "A plan:
  [namespace]
  keys = [\"dora.pub\", \"emil.pub\"]
  threshold = 2
  days = 365")]
    Add {
        /// The namespace.
        #[command(flatten)]
        change: NamespaceChange,
        /// Who signs the namespace, in TOML.
        #[arg(long, value_name = "FILE")]
        plan: PathBuf,
    },
    /// Begin a ceremony after which the server signs the index documents of a namespace again.
    Remove {
        /// The namespace.
        #[command(flatten)]
        change: NamespaceChange,
    },
    /// Who signs which namespaces, and what waits for their signatures.
    Status {
        /// The ecosystem of one namespace: pypi, npm or cargo.
        #[arg(requires = "pattern", value_parser = super::ecosystem)]
        ecosystem: Option<Ecosystem>,
        /// The namespace.
        pattern: Option<String>,
        /// Write all that waits in this namespace into a file for its owners to sign; it must not be there yet.
        #[arg(long, value_name = "FILE", requires = "pattern")]
        bundle: Option<PathBuf>,
        /// For how many days the document in that file is good.
        #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3650))]
        days: u32,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// `tuf service …`
#[derive(Debug, Subcommand)]
pub enum Service {
    /// Make a repository that a registry elsewhere has signed here. Prints the public key that its ceremony takes as the
    /// online key.
    Create {
        /// Its name: lower-case letters, digits and hyphens.
        name: String,
        /// The source of the online key [default: a new file in the folder of keys]
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Write the public key (PEM) to this file.
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Get another online key ready: the next root may name it. Prints its public half.
    NextKey {
        /// The service.
        name: String,
        /// The source of the key [default: a new file in the folder of keys]
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Write the public key (PEM) to this file.
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Make a token that may use one service and nothing else; prints it.
    Token {
        /// The service.
        name: String,
        /// What the token is for.
        #[arg(long, default_value = "rstuf")]
        label: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// List them.
    List(Stores),
}
