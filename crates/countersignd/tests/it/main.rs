//! The server binary from outside: what it says, when it refuses, how it starts and stops.

#![allow(clippy::unwrap_used)]

mod advisories;
mod archive;
mod assess;
mod ceremonies;
mod commands;
mod demo;
mod exchange_service;
mod import;
mod incident;
mod log_service;
mod machine;
mod names;
mod people;
mod scanning;
mod setting_up;
mod stopping;
mod transport;
mod trusted;
