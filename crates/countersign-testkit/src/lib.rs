//! Everything the tests of Countersign need from the outside world, as small real things: builders of real
//! distributions and of hostile ones, Debian's PostgreSQL, an S3-protocol server, an OpenID Connect provider under a
//! private certificate authority, the environment of CI jobs, pip, uv and twine, a headless browser, a raw HTTP caller, a
//! system-call recorder and an independent checker of the log.
//!
//! The kit is blocking on purpose: tests read top to bottom, and what they drive are processes. It depends on no
//! other crate of the workspace (see `Cargo.toml`).
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod atom;
pub mod authority;
pub mod browser;
pub mod cargo;
pub mod claims;
pub mod clients;
pub mod corpus;
pub mod crash;
pub mod fsck;
pub mod go;
pub mod http;
pub mod imitations;
pub mod issuer;
pub mod machine;
pub mod mangled;
pub mod node;
pub mod packages;
pub mod passkey;
pub mod person;
pub mod postgres;
pub mod runner;
pub mod s3;
pub mod sarif;
pub mod schema;
pub mod server;
pub mod sigstore;
pub mod smtp;
pub mod strace;
pub mod tuf;
