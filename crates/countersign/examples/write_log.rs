//! Writes a long log into a folder, to measure audits:
//!
//! ```text
//! cargo run --release -p countersign --example write_log -- DIR ENTRIES PROJECTS
//! COUNTERSIGN_HOME=DIR/home countersign log audit --mirror DIR --full --threads 1
//! ```

#[allow(clippy::unwrap_used)]
#[path = "../tests/it/paper_log.rs"]
mod paper_log;

use std::path::Path;

#[allow(clippy::unwrap_used)]
fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, entries, projects] = arguments.as_slice() else {
        panic!("usage: write_log DIR ENTRIES PROJECTS");
    };
    let folder = Path::new(folder);
    let entries = paper_log::entries(entries.parse().unwrap(), projects.parse().unwrap());
    let checkpoint = paper_log::write(folder, entries);
    let home = folder.join("home");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("trust.toml"), paper_log::trust()).unwrap();
    println!("{} entries, root {}", checkpoint.size, checkpoint.root);
}
