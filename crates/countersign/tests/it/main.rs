//! The client binary against real servers.

#![allow(clippy::unwrap_used)]

mod client;
mod integrations;
mod people;
mod provenance;
mod publish;
mod publisher;
mod stage;
mod stub;
mod user;
mod verify;
mod yaml;
