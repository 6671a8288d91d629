//! `countersign proxy`: real clients through it to a real registry, and attacks by somebody in between; and
//! clients of TUF by other hands, which such a registry is to satisfy as well.

#![allow(clippy::unwrap_used)]

mod attacks;
mod clients;
mod compromise;
mod house;
mod killed;
mod known;
mod mirror;
mod namespaces;
mod others;
mod paper_registry;
mod relay;
mod rstuf;
#[path = "../it/user.rs"]
mod user;
