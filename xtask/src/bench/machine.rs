//! What a measurement asks of the machine: CPU time and memory of a process tree, the load of strangers, the price of
//! one disk sync. Linux only: all of it is read from `/proc`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Clock ticks per second in `/proc`; 100 on every Linux architecture that Rust supports.
const TICKS: f64 = 100.0;

/// A process and its living descendants.
fn tree(pid: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if let Some(parent) = stat(process).and_then(|fields| fields.get(1)?.parse().ok()) {
            children.entry(parent).or_default().push(process);
        }
    }
    let (mut found, mut open) = (Vec::new(), vec![pid]);
    while let Some(process) = open.pop() {
        found.push(process);
        open.extend(children.remove(&process).unwrap_or_default());
    }
    found
}

/// The fields of `/proc/PID/stat` after the name in brackets; the first is the state.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let rest = text.get(text.rfind(')')? + 1..)?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn ticks(fields: &[String], range: std::ops::Range<usize>) -> f64 {
    let sum: u64 = fields
        .get(range)
        .unwrap_or_default()
        .iter()
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    sum as f64 / TICKS
}

/// User and system seconds of a process tree since it began, its ended children included.
pub(super) fn cpu_seconds(pid: u32) -> f64 {
    tree(pid)
        .into_iter()
        .filter_map(stat)
        .map(|fields| ticks(&fields, 11..15))
        .sum()
}

/// Resident memory of a process tree in MB (10^6 bytes).
pub(super) fn resident_mb(pid: u32) -> f64 {
    memory_mb(pid, "VmRSS:")
}

/// The most that it was since each process of the tree began.
pub(super) fn peak_resident_mb(pid: u32) -> f64 {
    memory_mb(pid, "VmHWM:")
}

fn memory_mb(pid: u32, field: &str) -> f64 {
    let kib: u64 = tree(pid)
        .into_iter()
        .filter_map(|process| fs::read_to_string(format!("/proc/{process}/status")).ok())
        .filter_map(|text| {
            let line = text.lines().find(|line| line.starts_with(field))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .sum();
    kib as f64 * 1024.0 / 1e6
}

/// Busy seconds of all cores since the machine came up.
fn machine_seconds() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields: Vec<u64> = text
        .lines()
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let all: u64 = fields.iter().take(8).sum();
    let idle: u64 = fields.iter().skip(3).take(2).sum();
    all.saturating_sub(idle) as f64 / TICKS
}

/// Measures a stretch of time: wall, the server's CPU, and the CPU that strangers took.
pub(super) struct Meter {
    pid: u32,
    begin: Instant,
    server: f64,
    own: f64,
    machine: f64,
}

/// What a [`Meter`] saw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// CPU seconds of the server.
    pub(super) cpu: f64,
    /// Cores taken by neither the server nor this process with its children: the noise.
    pub(super) strangers: f64,
}

impl Meter {
    pub(super) fn start(pid: u32) -> Self {
        Self {
            pid,
            begin: Instant::now(),
            server: cpu_seconds(pid),
            own: own_seconds(),
            machine: machine_seconds(),
        }
    }

    /// Ends it. Call it after the load's processes have been waited for: only then is their time known.
    pub(super) fn stop(self) -> Seen {
        let wall = self.begin.elapsed().as_secs_f64().max(1e-6);
        let cpu = cpu_seconds(self.pid) - self.server;
        let all = machine_seconds() - self.machine;
        let own = own_seconds() - self.own;
        Seen {
            cpu,
            strangers: ((all - cpu - own) / wall).max(0.0),
        }
    }
}

/// CPU of this process and its children that were waited for.
fn own_seconds() -> f64 {
    stat(std::process::id()).map_or(0.0, |fields| ticks(&fields, 11..15))
}

/// The median time of `fdatasync` after appending 4 KiB, on the file system of `folder`.
///
/// # Errors
/// Where the file can not be written.
pub(super) fn sync_time(folder: &Path) -> Result<Duration> {
    let path = folder.join("sync-probe");
    let mut file =
        File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut times = Vec::new();
    for _ in 0..300 {
        file.write_all(&[7; 4096])?;
        let begin = Instant::now();
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    fs::remove_file(&path)?;
    times.sort();
    Ok(times[times.len() / 2])
}

/// CPU seconds of all children that were waited for.
pub(super) fn children_seconds() -> f64 {
    stat(std::process::id()).map_or(0.0, |fields| ticks(&fields, 13..15))
}

/// The load of the last minute, for the record.
pub(super) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split_whitespace().next();
    first
        .and_then(|first| first.parse().ok())
        .unwrap_or(f64::NAN)
}
