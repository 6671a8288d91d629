//! How far this registry is with the Principles for Package Repository Security, as pages show it.
//!
//! The face judges nothing: whoever wires the server hands over an [`AssessmentSource`], and the pages render what it
//! says.

use std::fmt;

/// Where the pages get assessments from. It may read files: the face asks it on a thread that may wait.
pub trait AssessmentSource: fmt::Debug + Send + Sync {
    /// The last stored run, aged to now; none where none was stored. What can not be read is none, and the source's to
    /// report.
    fn last(&self) -> Option<ShownAssessment>;

    /// The state of public registries.
    fn comparison(&self) -> ShownComparison;
}

/// How a result looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It holds.
    Good,
    /// Something is left to do, or to show.
    Warn,
    /// It does not hold.
    Danger,
    /// Nothing to judge.
    Plain,
}

impl Tone {
    /// Its class in the style sheet.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Danger => "danger",
            Self::Plain => "",
        }
    }
}

/// A result as people read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownResult {
    /// `not applicable`
    pub words: &'static str,
    /// A sign for it.
    pub sign: &'static str,
    /// How it looks.
    pub tone: Tone,
}

/// One stored run.
#[derive(Clone, Debug)]
pub struct ShownAssessment {
    /// When it was made, RFC 3339.
    pub time: String,
    /// The program that made it.
    pub tool: String,
    /// The version of the Principles.
    pub principles: String,
    /// Where the Principles are.
    pub principles_at: String,
    /// Where canaries ran; none where there were none.
    pub canaries: Option<String>,
    /// The lowest level of all tracks, in words.
    pub level: String,
    /// How many checks have which result, in words.
    pub tally: String,
    /// The tracks, in the order of the Principles.
    pub tracks: Vec<ShownTrack>,
    /// What nobody can tell: the check's id, its title, and why.
    pub unknown: Vec<(String, String, String)>,
    /// The run as it was stored.
    pub json: Vec<u8>,
    /// The badge, SVG.
    pub badge: String,
}

/// One track.
#[derive(Clone, Debug)]
pub struct ShownTrack {
    /// Its letters.
    pub letters: &'static str,
    /// Its name.
    pub name: String,
    /// Its level, in words.
    pub level: String,
    /// Its checks.
    pub checks: Vec<ShownCheck>,
}

/// One check.
#[derive(Clone, Debug)]
pub struct ShownCheck {
    /// Its id.
    pub id: String,
    /// A few words.
    pub title: String,
    /// What must hold.
    pub statement: String,
    /// The level of the track that waits for it.
    pub level: u8,
    /// The result.
    pub result: ShownResult,
    /// What it rests on, in words; none where nothing was shown.
    pub rests_on: Option<&'static str>,
    /// A sentence about it; may be empty.
    pub note: String,
    /// What was looked at.
    pub parts: Vec<(ShownResult, String)>,
    /// What was seen.
    pub evidence: Vec<ShownEvidence>,
    /// Until when it counts: a date.
    pub until: Option<String>,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct ShownEvidence {
    /// An address with its method, a command, or a mail's subject.
    pub source: String,
    /// The HTTP status or exit code.
    pub status: Option<i32>,
    /// SHA-256 of the whole answer, hex; may be empty.
    pub sha256: String,
    /// Some of it.
    pub excerpt: String,
    /// When.
    pub time: String,
}

/// The state of public registries, side by side.
#[derive(Clone, Debug)]
pub struct ShownComparison {
    /// When it was read: a year and a month.
    pub read: String,
    /// How it was made.
    pub note: String,
    /// The names of the tracks.
    pub tracks: Vec<&'static str>,
    /// The registries.
    pub registries: Vec<ShownRegistry>,
    /// The checks, each with a state per registry in their order.
    pub checks: Vec<ComparedCheck>,
    /// When promises were made: a year and a month.
    pub promised: String,
    /// Where.
    pub promised_at: String,
    /// Promises: registry, what, what became of it, and a sentence that may be empty.
    pub promises: Vec<(String, String, String, String)>,
    /// The survey of 2022.
    pub survey: ShownSurvey,
}

/// One public registry.
#[derive(Clone, Debug)]
pub struct ShownRegistry {
    /// Its name.
    pub name: String,
    /// What was read.
    pub source: String,
    /// How many checks it meets or delegates.
    pub met: usize,
    /// How many apply to it.
    pub apply: usize,
    /// Tracks and their levels, in words.
    pub levels: Vec<(&'static str, String)>,
}

/// One check across registries.
#[derive(Clone, Debug)]
pub struct ComparedCheck {
    /// Its id.
    pub id: String,
    /// A few words.
    pub title: String,
    /// A state per registry.
    pub states: Vec<ComparedState>,
}

/// How a registry stands with a check.
#[derive(Clone, Debug)]
pub struct ComparedState {
    /// The registry's name.
    pub registry: String,
    /// The result.
    pub result: ShownResult,
    /// A sentence about it, and since when; may be empty.
    pub note: String,
}

/// Answers of repositories to questions.
#[derive(Clone, Debug)]
pub struct ShownSurvey {
    /// Its year.
    pub year: u16,
    /// Where it is from.
    pub note: String,
    /// A question, and who answered what.
    pub questions: Vec<(String, Vec<(String, String)>)>,
}
