//! The client's side of Countersign. For consumers: checks what a registry says instead of believing it. For
//! publishers: sends files from a CI job that has an identity and no stored secret, and manages who may.
//!
//! [`trusted`] holds what was pinned, [`remote`] talks within limits, [`verify`] checks a file against its proof,
//! [`evidence`] is what else there is about it, [`examine`] says what holds of that, and [`inquire`] does both for files,
//! releases and lock files. [`bundle`] checks one Sigstore bundle, [`audit`] a whole log. No answer is trusted there: each one is held against pinned keys. [`ci`] gets the identity
//! of a job, [`publish`] exchanges it, uploads and gives it back, [`actions`] tells the runner, and [`publisher`]
//! reads and changes which identities a project accepts. [`login`] lets a person in by a browser, [`account`] and
//! [`people`] read and change tokens, owners and organisations, and [`approval`] waits for the passkey where one is asked.
//! [`assess`] holds any registry against the Principles.
//! [`proxy`] is a registry on this machine that passes on only what it verified. [`witness`] cosigns the checkpoints of logs, this registry's or others'.
//! [`advisories`] keeps databases of known flaws, and [`exposure`] holds lock files against them; [`sbom`] writes down what these name,
//! and [`remedy`] finds the smallest updates that leave flaws behind; [`reach`] looks whether the code gets at them.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod account;
pub mod actions;
pub mod advisories;
pub mod approval;
pub mod assess;
mod attested;
pub mod audit;
pub mod bundle;
pub mod ci;
pub mod evidence;
pub mod examine;
pub mod exposure;
pub mod failure;
mod form;
pub mod indices;
pub mod inquire;
pub mod login;
pub mod monitor;
pub mod people;
pub mod proxy;
pub mod publish;
pub mod publisher;
pub mod reach;
pub mod remedy;
pub mod remote;
pub mod sarif;
pub mod sbom;
pub mod trusted;
pub mod tuf;
pub mod verify;
pub mod witness;

pub use failure::{Exit, Failure};
