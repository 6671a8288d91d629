//! The face through its front door: requests into the service, answers out of it, over a real registry.

#![allow(clippy::unwrap_used, reason = "a test that can not go on fails")]

mod accounts;
mod advisories;
mod api;
mod cases;
mod files;
mod house;
mod incidents;
mod issuer;
mod log;
mod operation;
mod pages;
mod people;
mod provenance;
mod request_log;
mod restricted;
mod service;
mod simple_index;
mod trusted;
mod tuf;
mod upload;
mod visibility;
mod wire;
