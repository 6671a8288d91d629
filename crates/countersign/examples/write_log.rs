//! Writes a long log into a folder, to measure audits; its last entry commits to the map that the others make:
//!
//! ```text
//! cargo run --release -p countersign --example write_log -- DIR ENTRIES PROJECTS
//! COUNTERSIGN_HOME=DIR/home countersign log audit --mirror DIR --full --threads 1
//! ```

#[allow(clippy::unwrap_used)]
#[path = "../tests/it/paper_log.rs"]
mod paper_log;

use std::cell::RefCell;
use std::path::Path;

use countersign_trust::leaf::{self, Leaf};
use countersign_trust::map::Replay;
use countersign_trust::tlog::leaf_hash;

#[allow(clippy::unwrap_used)]
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, entries, projects] = arguments.as_slice() else {
        panic!("usage: write_log DIR ENTRIES PROJECTS");
    };
    let folder = Path::new(folder);
    let (count, projects): (u64, u64) = (entries.parse().unwrap(), projects.parse().unwrap());
    let replay = RefCell::new(Replay::default());
    let entries = paper_log::entries(count - 1, projects).inspect(|entry| {
        let leaf = leaf::parse(entry).unwrap().known().unwrap();
        replay.borrow_mut().add(&leaf, &leaf_hash(entry)).unwrap();
    });
    let map = std::iter::once_with(|| {
        let root = replay.borrow().root().unwrap();
        let leaf = Leaf::map_root(count - 1, root, 2_000_000_000_000_000);
        leaf.to_text().unwrap().into_bytes()
    });
    let checkpoint = paper_log::write(folder, entries.chain(map));
    let home = folder.join("home");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("trust.toml"), paper_log::trust()).unwrap();
    println!("{} entries, root {}", checkpoint.size, checkpoint.root);
}
