//! Figures of advisories in bulk: makes a zip of so many records, imports it, and holds so many releases against them.
//!
//!     cargo run --release -p countersign-formats --example osv_scale -- [RECORDS] [RELEASES] [ZIP]
//!
//! With the name of a file the zip is written there, and nothing is measured.

// What is measured here is time.
#![allow(clippy::disallowed_methods)]

use std::io::{Cursor, Read, Seek, SeekFrom, Write};
use std::time::Instant;

use countersign_formats::osv::{Builder, Index, Verdict, import};
use flate2::{Compression, Crc, write::DeflateEncoder};
use serde_json::json;

const ECOSYSTEMS: [&str; 3] = ["PyPI", "npm", "crates.io"];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| {
        arguments
            .next()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (records, releases) = (number(250_000), number(1_000_000));
    if let Some(path) = arguments.next() {
        let mut file = std::fs::File::create(&path).expect("the file can be made");
        std::io::copy(&mut archive(records), &mut file).expect("the file can be written");
        return;
    }

    let begun = Instant::now();
    let mut bytes = archive(records);
    let size = bytes.seek(SeekFrom::End(0)).expect("memory can be sought");
    println!(
        "made      {records} records, a zip of {} MB, in {:.1} s",
        size >> 20,
        begun.elapsed().as_secs_f64()
    );

    let begun = Instant::now();
    let mut builder = Builder::default();
    let report = import::archive(&mut bytes, size, &mut |record| {
        builder.add(&record);
        Ok(())
    })
    .expect("the zip holds");
    let index = builder.finish();
    println!(
        "imported  {} records ({} withdrawn, {} refused), {} packages, an index of {} MB, in {:.1} s",
        report.records,
        report.withdrawn,
        report.refused,
        index.packages(),
        index.as_bytes().len() >> 20,
        begun.elapsed().as_secs_f64()
    );

    let begun = Instant::now();
    let index = Index::from_bytes(index.as_bytes().to_vec()).expect("our own index");
    println!(
        "loaded    the index in {:.3} s",
        begun.elapsed().as_secs_f64()
    );

    let begun = Instant::now();
    let (mut affected, mut asked) = (0u64, 0u64);
    // Ten releases a project, as a registry has them: the project's rules are read once.
    for project in 0..releases.div_ceil(10) {
        let (ecosystem, name) = package(project);
        let rules = index.package(ecosystem, &name);
        for release in 0..10.min(releases - project * 10) {
            asked += 1;
            let version = format!("{}.{}.0", release / 5 + 1, release % 5);
            affected += rules.as_ref().map_or(0, |rules| {
                let findings = rules.findings(&version);
                findings
                    .iter()
                    .filter(|finding| finding.verdict == Verdict::Affected)
                    .count() as u64
            });
        }
    }
    println!(
        "matched   {asked} releases, {affected} findings, in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
}

fn package(number: u64) -> (&'static str, String) {
    (ECOSYSTEMS[number as usize % 3], format!("package-{number}"))
}

/// As long and as varied as real ones: ranges, listed versions, a description, references.
fn record(number: u64) -> String {
    // Half of the packages have several.
    let (ecosystem, name) = package(number.wrapping_mul(2_654_435_761) % 120_000);
    let kind = if ecosystem == "PyPI" {
        "ECOSYSTEM"
    } else {
        "SEMVER"
    };
    let listed: Vec<String> = match ecosystem {
        "PyPI" => (0..20)
            .map(|n| format!("{}.{}.0", n / 10, n % 10))
            .collect(),
        _ => Vec::new(),
    };
    let mut record = json!({
        "schema_version": "1.7.5", "id": format!("SCALE-2026-{number}"),
        "modified": format!("2026-01-01T00:{:02}:{:02}Z", number / 60 % 60, number % 60),
        "published": "2025-12-01T00:00:00Z", "aliases": [format!("CVE-2026-{number}")],
        "summary": format!("A flaw in {name}"), "details": "What it does, and what to do about it. ".repeat(20),
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
        "affected": [{
            "package": {"ecosystem": ecosystem, "name": name},
            "ranges": [{"type": kind, "events": [
                {"introduced": "0"}, {"fixed": format!("1.{}.0", number % 9)}, {"introduced": "2.0.0"}, {"fixed": "2.1.0"},
            ]}],
            "versions": listed, "database_specific": {"source": format!("https://example.test/{number}")},
        }],
        "references": [{"type": "ADVISORY", "url": format!("https://example.test/{number}")}, {"type": "WEB", "url": "https://example.test/"}],
    });
    if number.is_multiple_of(50) {
        record["withdrawn"] = json!("2026-02-01T00:00:00Z");
    }
    record.to_string()
}

fn archive(records: u64) -> impl Read + Seek {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for number in 0..records {
        let text = record(number);
        let name = format!("SCALE-2026-{number}.json");
        let mut crc = Crc::new();
        crc.update(text.as_bytes());
        let mut packer = DeflateEncoder::new(Vec::new(), Compression::fast());
        packer
            .write_all(text.as_bytes())
            .expect("memory can be written");
        let packed = packer.finish().expect("memory can be written");
        let mut header = Vec::new();
        for field in [20u16, 0, 8, 0, 0x21] {
            header.extend(field.to_le_bytes());
        }
        for field in [crc.sum(), packed.len() as u32, text.len() as u32] {
            header.extend(field.to_le_bytes());
        }
        header.extend((name.len() as u16).to_le_bytes());
        header.extend(0u16.to_le_bytes());
        let at = out.len() as u32;
        out.extend(b"PK\x03\x04");
        out.extend(&header);
        out.extend(name.as_bytes());
        out.extend(packed);
        central.extend(b"PK\x01\x02\x14\0");
        central.extend(&header);
        central.extend([0; 10]);
        central.extend(at.to_le_bytes());
        central.extend(name.as_bytes());
    }
    let (at, size) = (out.len() as u64, central.len() as u64);
    out.extend(central);
    let end64 = out.len() as u64;
    out.extend(b"PK\x06\x06");
    out.extend(44u64.to_le_bytes());
    out.extend([45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for field in [records, records, size, at] {
        out.extend(field.to_le_bytes());
    }
    out.extend(b"PK\x06\x07\0\0\0\0");
    out.extend(end64.to_le_bytes());
    out.extend(1u32.to_le_bytes());
    out.extend(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
    Cursor::new(out)
}
