//! `countersign audit`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use countersign::advisories::{Database, Wanted};
use countersign::exposure::{self, Exposure, Found};
use countersign::failure::plain;
use countersign::trusted::TrustFile;
use countersign::{Exit, Failure, sarif};
use countersign_formats::Ecosystem;
use countersign_formats::lock;
use countersign_formats::osv::Verdict;
use serde_json::{Value, json};

use super::{authorities, line, notes, remote, trust_path};
use crate::cli::{Advisories, Audit, Common};

/// Looks lock files up in advisories.
pub fn run(common: &Common, options: &Audit) -> Result<(), Failure> {
    let paths = named(&options.lockfiles)?;
    let (database, mut exposures) = exposures(common, &options.advisories, &paths, &options.host)?;
    if options.reach {
        for exposure in &mut exposures {
            exposure.survey(&options.packages);
        }
    }
    if let Some(path) = &options.vex {
        let document = exposure::vex(&exposures, "countersign audit", &timestamp());
        std::fs::write(path, format!("{document:#}\n")).map_err(|error| {
            Failure::new(
                Exit::Usage,
                "file-unwritable",
                format!("{} can not be written: {error}.", path.display()),
            )
        })?;
    }
    if options.sarif {
        line(&sarif::exposures(&exposures).to_string());
    } else if common.json {
        line(&result(&database, &exposures).to_string());
    } else {
        for exposure in &exposures {
            table(exposure);
        }
        age(&database);
    }
    let vulnerable: usize = exposures.iter().map(|e| e.counted().count()).sum();
    let odd: usize = exposures.iter().map(|e| e.warnings.len()).sum();
    let unknown = exposures.iter().flat_map(|e| &e.found);
    let unknown = unknown
        .filter(|found| found.counts() && found.verdict == Verdict::Unknown)
        .count();
    if vulnerable > 0 {
        let many = if vulnerable == 1 {
            "vulnerability is"
        } else {
            "vulnerabilities are"
        };
        return Err(
            Failure::unverified("vulnerable", format!("{vulnerable} known {many} in what is locked."))
                .remedy("`countersign fix` shows the smallest updates. What does not concern you is passed over with --ignore ID:REASON:UNTIL."),
        );
    }
    if options.strict && odd + unknown > 0 {
        return Err(Failure::unverified(
            "audit-strict",
            format!(
                "There are {odd} warnings and {unknown} advisories of which nobody can say whether they apply."
            ),
        ));
    }
    Ok(())
}

/// The lock files that were named, or those that are here.
pub fn named(lockfiles: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    if !lockfiles.is_empty() {
        return Ok(lockfiles.to_vec());
    }
    let here = exposure::lock_files(std::path::Path::new(""));
    if here.is_empty() {
        return Err(
            Failure::new(Exit::Usage, "no-lock", "There is no lock file here.").remedy(format!(
                "Name one; looked for are {}.",
                exposure::NAMES.join(", ")
            )),
        );
    }
    Ok(here)
}

/// Opens the databases for some ecosystems.
pub fn database(
    common: &Common,
    options: &Advisories,
    ecosystems: &[Ecosystem],
) -> Result<Database, Failure> {
    let ca = authorities(common)?;
    let registry = match options.advisories.is_empty() || common.registry.is_some() {
        true => {
            let trust = TrustFile::load(&trust_path(common)?)?;
            match trust.registry(common.registry.as_ref()) {
                Ok(pinned) => Some(remote(common, &pinned.url)?),
                // Without a registry the databases that are named are enough, and without these too Database says what to do.
                Err(_) if common.registry.is_none() => None,
                Err(failure) => return Err(failure),
            }
        }
        false => None,
    };
    let database = Database::open(&Wanted {
        sources: &options.advisories,
        registry: registry.as_ref(),
        authorities: ca.as_deref(),
        ecosystems,
        offline: options.offline,
        refresh: options.refresh,
    })?;
    let note = notes(common);
    for text in &database.notes {
        note(&plain(text));
    }
    Ok(database)
}

/// The databases, and the lock files looked up in them.
pub fn exposures(
    common: &Common,
    options: &Advisories,
    paths: &[PathBuf],
    hosts: &[String],
) -> Result<(Database, Vec<Exposure>), Failure> {
    let mut ecosystems = BTreeSet::new();
    for path in paths {
        let (_, lock, _) = exposure::read(path)?;
        ecosystems.insert(lock.kind.ecosystem());
    }
    let ecosystems: Vec<Ecosystem> = ecosystems.into_iter().collect();
    let database = database(common, options, &ecosystems)?;
    let today = today();
    let note = notes(common);
    for ignore in options.ignore.iter().filter(|ignore| ignore.until < today) {
        note(&format!(
            "--ignore {} ended on {}: it is told again",
            plain(&ignore.id),
            ignore.until
        ));
    }
    let each = paths
        .iter()
        .map(|path| Exposure::of(path, &database, hosts, &options.ignore, &today));
    let exposures = each.collect::<Result<Vec<_>, _>>()?;
    Ok((database, exposures))
}

/// Today, in UTC.
pub fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}

/// When something is said to have been made: now, or the time of `SOURCE_DATE_EPOCH`, so that it can be made again.
pub fn timestamp() -> String {
    let fixed = std::env::var("SOURCE_DATE_EPOCH").ok();
    let fixed = fixed.and_then(|text| jiff::Timestamp::from_second(text.parse().ok()?).ok());
    let time = fixed.unwrap_or_else(jiff::Timestamp::now);
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn result(database: &Database, exposures: &[Exposure]) -> Value {
    let about: Vec<_> = database.about().collect();
    let files: Vec<Value> = exposures.iter().map(Exposure::json).collect();
    json!({"audited": {"databases": about, "lockfiles": files}})
}

/// A lock file and its flaws, for people.
pub fn table(exposure: &Exposure) {
    let count = exposure.counted().count();
    let entries = exposure
        .lock
        .entries
        .iter()
        .filter(|entry| !matches!(entry.origin, lock::Origin::Local(_)))
        .count();
    let mark = if count == 0 { "✓" } else { "✗" };
    line(&format!(
        "{mark} {}: {entries} packages, {}",
        plain(&exposure.path.display().to_string()),
        match count {
            0 => "nothing known".to_owned(),
            1 => "1 known vulnerability".to_owned(),
            count => format!("{count} known vulnerabilities"),
        }
    ));
    for found in &exposure.found {
        row(exposure, found);
    }
    for warning in &exposure.warnings {
        line(&format!(
            "  !  {:<22} {}: {}",
            warning.code,
            exposure.named(warning.entry),
            plain(&warning.text)
        ));
    }
}

fn row(exposure: &Exposure, found: &Found) {
    let rating = &found.advisory.rating;
    let grade = match rating.score {
        Some(score) => format!("{} {score:.1}", rating.grade.as_str()),
        None if found.advisory.malware => "malware".to_owned(),
        None => rating.grade.as_str().to_owned(),
    };
    let (mark, more) = match (&found.ignored, found.verdict) {
        (Some(ignore), _) => (
            "-",
            format!(
                "passed over until {}: {}",
                ignore.until,
                plain(&ignore.reason)
            ),
        ),
        (None, Verdict::Affected) => (
            match (found.counts(), found.is_unreachable()) {
                (true, false) => "✗",
                (true, true) => "↓",
                (false, _) => "i",
            },
            match &found.fixed {
                Some(fixed) => format!("fixed in {}", plain(fixed)),
                None => "no fixed version is known".to_owned(),
            },
        ),
        (None, _) => (
            "?",
            "its version can not be compared: nobody can say".to_owned(),
        ),
    };
    let others: Vec<String> = found.ids().skip(1).take(3).map(plain).collect();
    let others = match others[..] {
        [] => String::new(),
        _ => format!(" ({})", others.join(", ")),
    };
    line(&format!(
        "  {mark}  {grade:<14} {}  {}{others}",
        exposure.named(found.entry),
        plain(&found.advisory.id)
    ));
    if !found.advisory.summary.is_empty() {
        line(&format!("       {}", plain(&found.advisory.summary)));
    }
    line(&format!("       {more}"));
    if let Some(reach) = &found.reach {
        line(&format!("       {}", reach.told()));
        for place in &reach.places {
            line(&format!("         {}", place.told()));
        }
        for reason in reach.reasons.iter().skip(1) {
            line(&format!("         {}", plain(reason)));
        }
    }
    if let Some(way) = exposure.way(found.entry) {
        line(&format!("       by {way}"));
    }
    if let Some(url) = &found.advisory.url {
        line(&format!("       {}", plain(url)));
    }
}

/// How old what was looked into is.
pub fn age(database: &Database) {
    for about in database.about() {
        line(&format!(
            "  {} advisories of {}, the newest of {}",
            about.records - about.withdrawn,
            plain(&about.source),
            about.newest.get(..10).unwrap_or("no known day")
        ));
    }
}
