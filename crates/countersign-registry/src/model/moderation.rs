//! Nouns of moderation: cases, reports, and what a quarantine is about.

use countersign_formats::Ecosystem;
use serde::{Deserialize, Serialize};

use super::{FileState, Time};

/// What is withheld, or served again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Portion<'a> {
    /// The project with everything in it.
    Project,
    /// A release with all its files, those to come included.
    Release(&'a str),
    /// One file by its name.
    File(&'a str),
}

/// What made somebody or something withhold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// An operator, or the project's own people.
    Operator,
    /// An operator, who is sure that it does harm.
    Malware,
    /// The rule for reports.
    Reports,
    /// The scanner.
    Scan,
    /// A list of known malicious packages.
    Feed,
    /// The name of its project looks like a protected one.
    Names,
}

impl Cause {
    /// Is it known to do harm, rather than suspected? Then everybody is told by an advisory.
    pub fn is_malware(self) -> bool {
        matches!(self, Self::Malware | Self::Feed)
    }

    /// The stored word; also the name of the part of the system that acts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Malware => "malware",
            Self::Reports => "reports",
            Self::Scan => "scan",
            Self::Feed => "feed",
            Self::Names => "names",
        }
    }
}

/// An order to withhold.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Shown to everyone.
    pub reason: &'a str,
    /// Whose it is.
    pub cause: Cause,
    /// Freeze those who published it: their sessions end, their tokens sleep, their workflows are refused.
    pub freeze: bool,
}

impl<'a> Order<'a> {
    /// A person's, who freezes nobody.
    pub fn because(reason: &'a str) -> Self {
        Self {
            reason,
            cause: Cause::Operator,
            freeze: false,
        }
    }
}

/// Something that is, or was, withheld by the operator, by a rule, or by the scanner.
#[derive(Clone, Debug, Serialize)]
pub struct Case {
    /// Its id.
    pub id: String,
    /// Of which ecosystem.
    pub ecosystem: Ecosystem,
    /// Name of the project as written.
    pub project: String,
    /// The purl of what is withheld.
    pub subject: String,
    /// The release, where it is less than the project.
    pub version: Option<String>,
    /// The file, where it is less than a release.
    pub file: Option<String>,
    /// `operator`, `malware`, `reports`, `scan`, `feed` or `names`.
    pub cause: String,
    /// As everyone is told.
    pub reason: String,
    /// Set where the file was never served: it waits for somebody's decision.
    pub held: Option<Time>,
    /// When it began.
    pub opened: Time,
    /// By when somebody must have looked at it.
    pub review_by: Time,
    /// Since when that time is over. It stays withheld.
    pub overdue: Option<Time>,
    /// What an owner says against it.
    pub appeal: Option<String>,
    /// When.
    pub appealed: Option<Time>,
    /// What the operator answered.
    pub answer: Option<String>,
    /// When.
    pub answered: Option<Time>,
    /// When it ended.
    pub closed: Option<Time>,
    /// How: `released` or `removed`.
    pub outcome: Option<String>,
    /// How many accounts and workflows it keeps frozen.
    pub frozen: u64,
}

/// What a report says is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportKind {
    /// It does harm.
    Malware,
    /// It is there to be seen, not to be used.
    Spam,
    /// It takes the name of somebody's private package.
    DependencyConfusion,
    /// It breaks the rules for conduct, licences or names.
    Abuse,
    /// Anything else.
    Other,
}

impl ReportKind {
    /// Each of them.
    pub const ALL: [Self; 5] = [
        Self::Malware,
        Self::Spam,
        Self::DependencyConfusion,
        Self::Abuse,
        Self::Other,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malware => "malware",
            Self::Spam => "spam",
            Self::DependencyConfusion => "dependency-confusion",
            Self::Abuse => "abuse",
            Self::Other => "other",
        }
    }

    /// For a form.
    pub fn title(self) -> &'static str {
        match self {
            Self::Malware => "It does harm (malware)",
            Self::Spam => "It is spam",
            Self::DependencyConfusion => "It takes the name of a private package",
            Self::Abuse => "It breaks the rules (conduct, licence, name)",
            Self::Other => "Something else",
        }
    }
}

impl std::str::FromStr for ReportKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| {
                format!("{text:?} is no kind of report; use malware, spam, dependency-confusion, abuse or other")
            })
    }
}

/// What somebody reports.
#[derive(Clone, Copy, Debug)]
pub struct Reporting<'a> {
    /// Package URL of a project, a release or a file here.
    pub purl: &'a str,
    /// What is wrong.
    pub kind: ReportKind,
    /// Where it can be seen; an `https://` address, or empty.
    pub evidence: &'a str,
    /// In words.
    pub text: &'a str,
}

/// A report.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Good for looking at its state; whoever has it may.
    pub ticket: String,
    /// Of which ecosystem.
    pub ecosystem: Ecosystem,
    /// Name of the project as written.
    pub project: String,
    /// The purl that was reported.
    pub subject: String,
    /// What is said to be wrong.
    pub kind: ReportKind,
    /// Where it can be seen; may be empty.
    pub evidence: String,
    /// In words.
    pub text: String,
    /// Who reported it; `None` for nobody known.
    pub reporter: Option<String>,
    /// It came from a trusted reporter.
    pub trusted: bool,
    /// When.
    pub made: Time,
    /// `confirmed`, `unfounded` or `duplicate`; `None` while it waits.
    pub verdict: Option<String>,
    /// What the operator answered.
    pub answer: Option<String>,
    /// When.
    pub decided: Option<Time>,
}

/// How somebody's reports turned out.
#[derive(Clone, Debug, Serialize)]
pub struct ReporterFacts {
    /// User name.
    pub name: String,
    /// Since when the operator trusts them.
    pub trusted: Option<Time>,
    /// Reports made.
    pub made: u64,
    /// Of these, confirmed.
    pub confirmed: u64,
    /// Of these, unfounded.
    pub unfounded: u64,
}

impl ReporterFacts {
    /// Confirmed of all that were judged on the merits, in per cent; `None` where none was.
    pub fn accuracy(&self) -> Option<u64> {
        let judged = self.confirmed + self.unfounded;
        (judged > 0).then(|| self.confirmed * 100 / judged)
    }
}

/// Something that the scanner found in a file.
#[derive(Clone, Debug, Serialize)]
pub struct FoundIn {
    /// The file.
    pub purl: String,
    /// Where that is in its life now.
    pub state: FileState,
    /// When it was found.
    pub found: Time,
    /// What.
    #[serde(flatten)]
    pub finding: crate::checks::scan::ScanFinding,
}

/// How the scan of a file went.
#[derive(Clone, Debug, Serialize)]
pub struct ScannedFile {
    /// Since when it waits, or waited.
    pub queued: Time,
    /// When it ended.
    pub done: Option<Time>,
    /// How often it was tried.
    pub attempts: u64,
    /// The file waits, or waited, for it before it is served.
    pub held: bool,
    /// What came of it, from 0 to 100.
    pub score: Option<u64>,
    /// Why the last attempt came to nothing.
    pub problem: Option<String>,
}
