//! The core, through its public handle, on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, missing_docs)]

mod kit;
mod publishing;
