//! countersignd
fn main() {}
