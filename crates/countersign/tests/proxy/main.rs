//! `countersign proxy`: real clients through it to a real registry, and attacks by somebody in between.

#![allow(clippy::unwrap_used)]

mod attacks;
mod clients;
mod paper_registry;
mod relay;
#[path = "../it/user.rs"]
mod user;
