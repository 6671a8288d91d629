//! The operator's own policies: where they lie, and what `doctor` says of them and of `security.txt`.

use std::fs;
use std::io::{ErrorKind, Read};

use countersign_registry::{Diagnosis, Severity};
use countersign_web::{LONGEST_POLICY, MOST_POLICIES, Policies};
use jiff::ToSpan;
use jiff::civil::Date;
use serde_json::json;

use crate::cli::Common;
use crate::config::Config;
use crate::doctor::failed;
use crate::failure::{Exit, Failure};
use crate::report;

/// A review is good for this many days.
const REVIEW_DAYS: i64 = 366;
/// How many days before `security.txt` expires `doctor` speaks of it.
const EXPIRES_SOON: i64 = 30;

/// Reads the policies: the built-in ones, with every `*.md` of the configured directory over or beside them.
///
/// # Errors
/// Usage: a text that can not be read or is wrong, with its file, line and the way out.
pub fn load(config: &Config) -> Result<Policies, Failure> {
    let folder = &config.policies;
    let unreadable = |path: &std::path::Path, error: std::io::Error| {
        Failure::usage("policy-unreadable", format!("{}: {error}.", path.display())).remedy(
            "Let this user read it, or name another directory as `policies` in the configuration.",
        )
    };
    let listed = match fs::read_dir(folder) {
        Ok(listed) => listed,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Policies::default()),
        Err(error) => return Err(unreadable(folder, error)),
    };
    let mut paths = Vec::new();
    for entry in listed {
        let path = entry.map_err(|error| unreadable(folder, error))?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
        // One more than may be is enough to say so.
        if paths.len() > MOST_POLICIES {
            break;
        }
    }
    paths.sort();
    let mut own = Vec::new();
    for path in paths {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let mut text = String::new();
        fs::File::open(&path)
            .and_then(|file| {
                file.take(LONGEST_POLICY as u64 + 1)
                    .read_to_string(&mut text)
            })
            .map_err(|error| unreadable(&path, error))?;
        own.push((name, text));
    }
    Policies::read(&own).map_err(|fault| {
        let place = folder.join(fault.to_string());
        Failure::usage("policy", format!("{}.", place.display())).remedy(fault.remedy)
    })
}

/// Prints a built-in text, or the names of all.
///
/// # Errors
/// Usage: there is no such text.
pub fn show(common: &Common, name: Option<&str>) -> Result<(), Failure> {
    let names: Vec<_> = Policies::built_in_names().collect();
    let Some(name) = name else {
        let placeholders: Vec<_> = Policies::placeholders().collect();
        if common.json {
            let placeholders: serde_json::Map<_, _> = placeholders
                .into_iter()
                .map(|(name, meaning)| (name.to_owned(), json!(meaning)))
                .collect();
            report::json(&json!({"policies": names, "placeholders": placeholders}));
            return Ok(());
        }
        for name in names {
            report::line(name);
        }
        report::line("\nWhat is filled in:");
        for (name, meaning) in placeholders {
            report::line(&format!("  {:<26} {meaning}", format!("{{{{{name}}}}}")));
        }
        return Ok(());
    };
    let text = Policies::built_in(name).ok_or_else(|| {
        Failure::new(
            Exit::Usage,
            "policy",
            format!("There is no built-in policy {name:?}."),
        )
        .remedy(format!("There are: {}.", names.join(", ")))
    })?;
    report::line(text.trim_end());
    Ok(())
}

/// Whole days from one day to another.
fn days(from: Date, to: Date) -> i64 {
    from.until((jiff::Unit::Day, to))
        .map_or(0, |span| i64::from(span.get_days()))
}

/// Can somebody who found a fault reach anybody?
pub fn contact(config: &Config, today: Date) -> Diagnosis {
    const ID: &str = "security-contact";
    if config.security_contact.is_empty() {
        if config.url_is_loopback() {
            return Diagnosis::good(ID, "none, and none is needed on this machine alone");
        }
        return Diagnosis::bad(
            ID,
            Severity::Warning,
            "No security_contact is configured.",
            "Who finds a fault of this registry can tell nobody; /.well-known/security.txt is not served.",
            "Write security_contact = \"mailto:…\" into the configuration, and security.expires beside it.",
        );
    }
    let contacts = config.security_contact.join(", ");
    let Some(expires) = config.security_txt.expires else {
        return Diagnosis::good(
            ID,
            format!("{contacts}; security.txt is always good for half a year"),
        );
    };
    let left = days(today, expires);
    let (severity, what, why) = match left {
        ..=0 => (
            Severity::Error,
            format!("security.txt expired on {expires}."),
            "Its readers no longer believe the contacts in it.",
        ),
        1..=EXPIRES_SOON => (
            Severity::Warning,
            format!("security.txt expires in {left} days, on {expires}."),
            "From then on its readers no longer believe the contacts in it.",
        ),
        367.. => (
            Severity::Warning,
            format!("security.txt expires only on {expires}, in {left} days."),
            "RFC 9116 advises less than a year, so that no contact is forgotten.",
        ),
        _ => {
            return Diagnosis::good(
                ID,
                format!("{contacts}; security.txt is good until {expires}"),
            );
        }
    };
    let remedy = "See whether somebody still answers there, set security.expires to a day within a year, and start the server again.";
    Diagnosis::bad(ID, severity, what, why, remedy)
}

/// Has somebody read the policies within a year?
pub fn reviews(config: &Config, today: Date) -> Diagnosis {
    const ID: &str = "policies";
    let all = match load(config) {
        Ok(all) => all,
        Err(failure) => return failed(ID, &failure),
    };
    let oldest = today.saturating_sub(REVIEW_DAYS.days());
    let mut never = Vec::new();
    let mut old = Vec::new();
    let mut future = Vec::new();
    for policy in all.all() {
        match policy.reviewed {
            None => never.push(policy.name.as_str()),
            Some(day) if day < oldest => old.push(format!("{} ({day})", policy.name)),
            // Whoever writes may be a day ahead of Greenwich.
            Some(day) if days(today, day) > 1 => future.push(format!("{} ({day})", policy.name)),
            Some(_) => {}
        }
    }
    let remedy = format!(
        "Read them, change what is no longer so, and write the day into the first line of each file in {}; `countersignd config policy NAME` prints a built-in text.",
        config.policies.display()
    );
    if !future.is_empty() {
        let what = format!(
            "Reviewed on a day that is still to come: {}.",
            future.join(", ")
        );
        return Diagnosis::bad(
            ID,
            Severity::Warning,
            what,
            "Such a date says nothing.",
            &remedy,
        );
    }
    if !old.is_empty() {
        let what = format!("Reviewed more than twelve months ago: {}.", old.join(", "));
        let why = "What a registry does changes, and people rely on what its policies say.";
        return Diagnosis::bad(ID, Severity::Warning, what, why, &remedy);
    }
    if !never.is_empty() && !config.url_is_loopback() {
        let what = format!("Never reviewed: {}.", never.join(", "));
        let why = "They promise things in your name, with figures of this configuration; their pages say that nobody has read them.";
        return Diagnosis::bad(ID, Severity::Warning, what, why, &remedy);
    }
    let reviewed = all.all().len() - never.len();
    Diagnosis::good(
        ID,
        format!(
            "{} policies, {reviewed} of them reviewed within a year",
            all.all().len()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    fn config(folder: &std::path::Path, text: &str) -> Config {
        let file = folder.join("countersign.toml");
        fs::write(&file, text).unwrap();
        Config::load(folder, Some(&file), &Overrides::default()).unwrap()
    }

    const PUBLIC: &str = "url = \"https://p.example.org\"\n";

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn a_public_registry_names_a_contact_whose_file_is_neither_old_nor_too_good() {
        let dir = tempfile::tempdir().unwrap();
        let today = day("2026-11-22");
        let seen = |text: &str| {
            let found = contact(&config(dir.path(), text), today);
            (found.ok, format!("{:?} {}", found.severity, found.what))
        };
        assert!(seen("").0, "on this machine alone");
        assert!(!seen(PUBLIC).0);
        let with = |expires: &str| {
            seen(&format!(
                "{PUBLIC}security_contact = [\"mailto:a@example.org\", \"https://example.org/\"]\n{expires}"
            ))
        };
        assert!(with("").0);
        assert!(with("security.expires = \"2027-06-30\"").0);
        for (expires, severity, words) in [
            ("2026-11-22", "Error", "expired on 2026-11-22"),
            ("2026-12-01", "Warning", "expires in 9 days"),
            ("2028-01-01", "Warning", "in 405 days"),
        ] {
            let (ok, said) = with(&format!("security.expires = {expires:?}"));
            assert!(
                !ok && said.contains(severity) && said.contains(words),
                "{said}"
            );
        }
    }

    #[test]
    fn policies_that_nobody_read_for_a_year_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let today = day("2026-11-22");
        let private = config(dir.path(), "");
        assert!(reviews(&private, today).ok);
        let config = config(dir.path(), PUBLIC);
        let folder = dir.path().join("policies");
        fs::create_dir(&folder).unwrap();
        let reviewed = |date: &str| {
            for name in Policies::built_in_names() {
                let text = Policies::built_in(name).unwrap();
                let text = text.replacen("never", date, 1);
                fs::write(folder.join(format!("{name}.md")), text).unwrap();
            }
            let found = reviews(&config, today);
            (found.ok, found.what)
        };
        let (ok, what) = reviewed("never");
        assert!(
            !ok && what.contains("Never reviewed: vulnerability-disclosure,"),
            "{what}"
        );
        assert!(reviewed("2026-11-01").0);
        assert!(reviewed("2025-11-23").0);
        assert!(reviewed("2025-11-20").1.contains("more than twelve months"));
        assert!(reviewed("2026-12-01").1.contains("still to come"));
        fs::write(folder.join("own.md"), "Reviewed: never\n# Own\n{{x}}\n").unwrap();
        let failure = load(&config).unwrap_err();
        assert!(
            failure
                .message
                .ends_with("policies/own.md:3: there is no placeholder \"x\"."),
            "{failure}"
        );
        assert!(!reviews(&config, today).ok);
        // What is no text is nobody's policy.
        fs::rename(folder.join("own.md"), folder.join("own.md~")).unwrap();
        assert!(load(&config).unwrap().get("own").is_none());
    }
}
