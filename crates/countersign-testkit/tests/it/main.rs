//! The registry from outside: the real server process, real clients, real attacks, real crashes. One binary, so that
//! it is linked once.
#![allow(clippy::unwrap_used)]

mod clients;
mod crash;
mod durability;
mod hostile;
mod outages;
mod races;
