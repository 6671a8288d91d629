//! The registry from outside: the real server process, real clients, real attacks, real crashes. One binary, so that
//! it is linked once.
#![allow(clippy::unwrap_used)]

mod accounts;
mod advisories;
mod book;
mod cargo;
mod clients;
mod crash;
mod durability;
mod hostile;
mod log_service;
mod node;
mod npm;
mod npm_trust;
mod outages;
mod packaging;
mod pages;
mod people;
mod provenance;
mod races;
mod trusted;
mod visibility;

use countersign_testkit::packages::{Package, Wheel};
use sha2::{Digest as _, Sha256};

/// A wheel with that many bytes that do not compress.
fn large(project: &str, number: u32, size: usize) -> Package {
    let mut filler = Vec::with_capacity(size + 32);
    let mut block = Sha256::digest(number.to_be_bytes());
    while filler.len() < size {
        filler.extend_from_slice(&block);
        block = Sha256::digest(block);
    }
    Wheel::new(project, &format!("1.{number}"))
        .file(&format!("{project}/filler.bin"), filler)
        .build()
}
