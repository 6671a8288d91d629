//! The core, through its public handle, on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, missing_docs)]

mod accounts;
mod archive;
mod checker;
mod curating;
mod doctor;
mod documents;
mod faults;
mod guards;
mod kit;
mod log;
mod policy;
mod publishing;
mod trusted;
