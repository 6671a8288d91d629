//! The Principles as data: 32 statements of v0.1 (February 2024) as 39 checks.

use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// The version of the Principles that the checks follow.
pub const VERSION: &str = "0.1";

/// Where the Principles are.
pub const LINK: &str = "https://repos.openssf.org/principles-for-package-repository-security";

/// A group of checks with a level of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Track {
    /// Authentication.
    #[serde(rename = "AN")]
    Authentication,
    /// Authorization.
    #[serde(rename = "AZ")]
    Authorization,
    /// General capabilities.
    #[serde(rename = "GC")]
    General,
    /// Command-line tooling.
    #[serde(rename = "CL")]
    Tooling,
}

impl Track {
    /// All, in the order of the Principles.
    pub const ALL: [Self; 4] = [
        Self::Authentication,
        Self::Authorization,
        Self::General,
        Self::Tooling,
    ];

    /// Its two letters, with which its checks begin.
    pub fn letters(self) -> &'static str {
        match self {
            Self::Authentication => "AN",
            Self::Authorization => "AZ",
            Self::General => "GC",
            Self::Tooling => "CL",
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Authentication => "Authentication",
            Self::Authorization => "Authorization",
            Self::General => "General capabilities",
            Self::Tooling => "Command-line tooling",
        }
    }
}

/// To which registries a check applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Applies {
    /// Those with accounts.
    Accounts,
    /// Those with accounts that take built packages.
    Built,
    /// All.
    All,
    /// Those with a client of their own.
    Tooling,
}

impl Applies {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Accounts => "registries with accounts of their own",
            Self::Built => "registries that take built packages from accounts",
            Self::All => "every registry",
            Self::Tooling => "ecosystems with a command-line client",
        }
    }
}

/// What a result rests on, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// Accounts and packages made for the purpose.
    Canary,
    /// What anybody may ask from outside.
    Public,
    /// A document that says so, read by a person.
    Document,
    /// The operator's word, with date and link.
    Attestation,
}

impl Grade {
    /// As it is written in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Public => "public",
            Self::Document => "document",
            Self::Attestation => "attestation",
        }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Canary => "canary accounts and packages",
            Self::Public => "a public probe",
            Self::Document => "a document",
            Self::Attestation => "the operator's attestation",
        }
    }
}

/// One check.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// `AN2.4a`.
    pub id: String,
    /// 1 to 3.
    pub level: u8,
    /// A few words.
    pub title: String,
    /// What must hold.
    pub statement: String,
    /// To whom it applies.
    pub applies: Applies,
    /// What may show it, the strongest first.
    pub grades: Vec<Grade>,
    /// What it stops, 1 to 5.
    pub impact: u8,
    /// What it costs a registry that lacks it, in weeks of one engineer.
    pub effort: u8,
    /// What to build.
    pub improve: String,
}

impl Check {
    /// The track that its id begins with.
    pub fn track(&self) -> Track {
        Track::ALL
            .into_iter()
            .find(|track| self.id.starts_with(track.letters()))
            .unwrap_or(Track::General)
    }

    /// The statement's number in the Principles: the id without the letter that tells two demands apart.
    pub fn principle(&self) -> &str {
        self.id.trim_end_matches(|c: char| c.is_ascii_lowercase())
    }
}

#[derive(Deserialize)]
struct File {
    check: Vec<Check>,
}

/// All checks, in their order.
pub fn all() -> &'static [Check] {
    static CHECKS: LazyLock<Vec<Check>> = LazyLock::new(|| {
        let file: File = toml::from_str(include_str!("../data/principles.toml"))
            .expect("the table of checks is part of this program");
        file.check
    });
    &CHECKS
}

/// The check of this id; upper and lower case of the track do not matter.
pub fn find(id: &str) -> Option<&'static Check> {
    all().iter().find(|check| check.id.eq_ignore_ascii_case(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_39_checks_of_32_statements_in_four_tracks_of_three_levels() {
        let checks = all();
        assert_eq!(checks.len(), 39);
        let principles: std::collections::BTreeSet<&str> =
            checks.iter().map(Check::principle).collect();
        assert_eq!(principles.len(), 32);
        for check in checks {
            assert!(
                !check.grades.is_empty() && check.grades.is_sorted(),
                "{}",
                check.id
            );
            assert!(
                (1..=5).contains(&check.impact) && check.effort > 0,
                "{}",
                check.id
            );
            let level = check.id.chars().nth(2).unwrap().to_digit(10).unwrap();
            assert_eq!(u32::from(check.level), level, "{}", check.id);
        }
        for track in Track::ALL {
            for level in 1..=3 {
                assert!(
                    checks
                        .iter()
                        .any(|check| check.track() == track && check.level == level),
                    "{track:?} {level}"
                );
            }
        }
        assert_eq!(find("an2.4A").unwrap().id, "AN2.4a");
    }
}
