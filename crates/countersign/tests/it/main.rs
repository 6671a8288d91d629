//! The client binary against real servers.

#![allow(clippy::unwrap_used)]

mod assess;
mod audit;
mod client;
mod go_programs;
mod integrations;
mod mangled;
mod monitor;
mod paper_log;
mod people;
mod provenance;
mod publish;
mod publisher;
mod stage;
mod stub;
mod user;
mod verify;
mod witness;
mod witnessed;
mod yaml;
