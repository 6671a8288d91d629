//! The map at a million files: what it costs to have it, to make it anew when it was lost, and to start with it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use countersign_testkit::fsck;
use countersign_testkit::packages::Wheel;
use serde_json::json;

use super::load::median;
use super::machine::{load_average, peak_resident_mb};
use super::report::{Figure, Goal, Report};
use super::server::{Instance, Server};

/// Files that are imported at a time.
const AT_ONCE: u32 = 50_000;
/// Starts that are measured.
const STARTS: usize = 5;
/// How long the map may take until it covers all.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Adds the figures.
///
/// # Errors
/// Where anything can not be measured.
pub(super) fn measure(
    binary: &Path,
    home: &Path,
    files: u32,
    quick: bool,
    report: &mut Report,
) -> Result<()> {
    let files = if quick { files.min(20_000) } else { files };
    let instance = filled(binary, home, files)?;
    let server = instance.serve()?;
    covered(&server)?;
    std::thread::sleep(Duration::from_secs(5));
    let idle = server.resident_mb();
    report.add(Figure {
        name: "memory, idle, files with their map",
        ours: idle,
        unit: "MB",
        theirs: None,
        score: idle,
        goal: Goal::AtMost(60.0),
        more: json!({"files": files, "peak_mb": peak_resident_mb(server.pid()), "load": load_average()}),
    });
    drop(server);
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        starts.push(instance.serve()?.ready_after.as_secs_f64());
    }
    report.add(Figure {
        name: "start-up, files with their map",
        ours: median(starts.iter().copied()),
        unit: "s",
        theirs: None,
        score: median(starts.iter().copied()),
        goal: Goal::AtMost(0.3),
        more: json!({"files": files, "all_s": starts, "load": load_average()}),
    });
    // Lost, it is made again from the rows, while the server serves.
    fs::remove_dir_all(instance.data.join("blobs/map")).context("there is no map to lose")?;
    let server = instance.serve()?;
    let begin = Instant::now();
    let top = instance.data.join("blobs/map");
    while !top.is_dir() {
        anyhow::ensure!(begin.elapsed() < PATIENCE, "the map is not made again");
        std::thread::sleep(Duration::from_millis(100));
    }
    covered(&server)?;
    let made = begin.elapsed().as_secs_f64();
    report.add(Figure {
        name: "a lost map is made again",
        ours: made,
        unit: "s",
        theirs: None,
        score: made,
        goal: Goal::None,
        more: json!({"files": files, "ready_after_s": server.ready_after.as_secs_f64(),
            "peak_mb": peak_resident_mb(server.pid()), "load": load_average()}),
    });
    Ok(())
}

/// Waits until the log's newest map covers all other leaves.
fn covered(server: &Server) -> Result<()> {
    let begin = Instant::now();
    loop {
        match fsck::rest(&format!("{}/log/1", server.url)) {
            Ok(()) => return Ok(()),
            Err(error) if begin.elapsed() > PATIENCE => return Err(error),
            Err(_) => {}
        }
    }
}

/// A registry of so many files, each of a project of its own; kept for the next time.
fn filled(binary: &Path, home: &Path, files: u32) -> Result<Instance> {
    let data = home.join(format!("map-{files}"));
    let made = data.join("bench-complete");
    if made.exists() {
        return Instance::reopen(binary, &data);
    }
    eprintln!(
        "bench: making a registry of {files} files; it is kept in {}",
        data.display()
    );
    let instance = Instance::make(binary, &data)?;
    let begin = Instant::now();
    for first in (0..files).step_by(AT_ONCE as usize) {
        let wheels = tempfile::Builder::new()
            .prefix("wheels-")
            .tempdir_in(home)?;
        for number in first..files.min(first + AT_ONCE) {
            let folder = wheels.path().join(format!("{:03}", number % 512));
            fs::create_dir_all(&folder)?;
            Wheel::new(&super::project_name(number), "1.0")
                .build()
                .write_to(&folder)?;
        }
        instance.import(wheels.path())?;
        eprintln!(
            "bench: {} files after {:.0} s",
            files.min(first + AT_ONCE),
            begin.elapsed().as_secs_f64()
        );
    }
    fs::write(made, "")?;
    Ok(instance)
}
