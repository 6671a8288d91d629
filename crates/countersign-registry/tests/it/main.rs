//! The core, through its public handle, on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, missing_docs)]

mod accounts;
mod afterwards;
mod approvals;
mod archive;
mod checker;
mod console;
mod curating;
mod device;
mod doctor;
mod documents;
mod faults;
mod guards;
mod kit;
mod leaks;
mod log;
mod mail;
mod organisations;
mod permissions;
mod policy;
mod privacy;
mod provenance;
mod publishing;
mod recovery;
mod sign_in;
mod trusted;
