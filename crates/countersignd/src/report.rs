//! What commands print on standard output.

use std::io::Write;

use indicatif::{ProgressBar, ProgressStyle};

/// Prints a line. A reader that went away is no failure of ours.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    // `println!` would panic on a closed pipe (`countersignd admin user list | head -1`).
    if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("standard output is closed");
    }
}

/// Prints a JSON value on one line.
pub fn json(value: &serde_json::Value) {
    line(&value.to_string());
}

/// Prints rows as columns that line up.
pub fn table(heads: &[&str], rows: &[Vec<String>]) {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain(heads.get(column).map(|head| head.chars().count()))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<_> = (0..heads.len()).map(width).collect();
    let print = |cells: &mut dyn Iterator<Item = &str>| {
        let text: String = cells
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}  "))
            .collect();
        line(text.trim_end());
    };
    print(&mut heads.iter().copied());
    for row in rows {
        print(&mut row.iter().map(String::as_str));
    }
}

/// A verifier key as it fits on a line: those of lattices have thousands of characters, and `--json` has them whole.
pub fn short_key(key: &str) -> String {
    if key.len() <= 160 {
        return key.to_owned();
    }
    let begin: String = key.chars().take(100).collect();
    let digest = countersign_trust::digest::Sha256::of(key.as_bytes());
    format!("{begin}… (sha256 of the whole key: {digest})")
}

/// A bar on a terminal, for work whose amount is not known yet. Nothing when the results are for programs.
pub fn bar(what: &'static str, hidden: bool) -> ProgressBar {
    if hidden {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    bar.set_style(
        ProgressStyle::with_template("{bar:32} {pos}/{len}  {eta} left  {msg}")
            .expect("a fixed template parses"),
    );
    bar.set_message(what);
    bar
}

/// Tells a bar how far the work is.
pub fn advance(bar: &ProgressBar, done: u64, all: u64) {
    bar.set_length(all);
    bar.set_position(done);
}
