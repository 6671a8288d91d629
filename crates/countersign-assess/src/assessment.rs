//! Results: what each check's verdicts make together, the level of each track, and what changed since another run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::principles::{self, Check, Grade, Track};
use crate::script::{Evidence, Part, Probe, Target, Verdict};
use crate::{canary, public};

/// The form of the JSON; `docs/spec/assessment.schema.json` describes it.
pub const FORMAT: &str = "countersign-assessment/v1";

/// The largest file that is read as an earlier assessment, in bytes.
pub const MOST: usize = 4 << 20;

/// What a probe shows counts for this long, in seconds.
const PROBED: i64 = 90 * 86_400;

/// What a document says counts for this long after somebody read it, in seconds.
const READ: i64 = 366 * 86_400;

/// A result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Pass,
    /// Some of it holds.
    Partial,
    /// It does not hold.
    Fail,
    /// Nobody can tell; never counts as passed.
    Unknown,
    /// It does not concern this kind of registry.
    NotApplicable,
    /// Somebody else does it.
    Delegated,
}

impl Outcome {
    /// All.
    pub const ALL: [Self; 6] = [
        Self::Pass,
        Self::Partial,
        Self::Fail,
        Self::Unknown,
        Self::NotApplicable,
        Self::Delegated,
    ];

    /// As it is written in files.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Partial => "partial",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::NotApplicable => "not-applicable",
            Self::Delegated => "delegated",
        }
    }

    /// As people read it.
    pub fn words(self) -> &'static str {
        match self {
            Self::NotApplicable => "not applicable",
            other => other.word(),
        }
    }

    /// A sign for it.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Pass => "✓",
            Self::Partial => "~",
            Self::Fail => "✗",
            Self::Unknown => "?",
            Self::NotApplicable => "–",
            Self::Delegated => "→",
        }
    }

    /// Does it count towards a level?
    pub fn counts(self) -> bool {
        matches!(self, Self::Pass | Self::Delegated)
    }

    /// Is there something left to do?
    pub fn is_gap(self) -> bool {
        matches!(self, Self::Partial | Self::Fail | Self::Unknown)
    }
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The check's id.
    pub id: String,
    /// Its track.
    pub track: Track,
    /// Its level.
    pub level: u8,
    /// A few words.
    pub title: String,
    /// What must hold.
    pub statement: String,
    /// Where the Principles say so.
    pub link: String,
    /// The result.
    pub result: Outcome,
    /// What it rests on; none where nothing did.
    pub grade: Option<Grade>,
    /// A sentence about it; may be empty.
    pub note: String,
    /// What was looked at.
    pub parts: Vec<Part>,
    /// What was seen.
    pub evidence: Vec<Evidence>,
    /// Until when it counts, RFC 3339; none where nothing was shown.
    pub expires: Option<String>,
}

/// The state of one track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrackState {
    /// Its name.
    pub name: String,
    /// The highest level up to which every check that applies is passed or delegated; none where no check applies.
    pub level: Option<u8>,
    /// How many checks have which result.
    pub counts: BTreeMap<String, u32>,
}

/// An assessment of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// [`FORMAT`].
    pub format: String,
    /// The version of the Principles.
    pub principles: String,
    /// The program that made it.
    pub tool: String,
    /// The registry's address.
    pub target: String,
    /// Its name.
    pub name: Option<String>,
    /// Where canaries ran; none where there were none.
    pub canaries: Option<String>,
    /// When it was made, RFC 3339.
    pub time: String,
    /// All checks, in their order.
    pub checks: Vec<Checked>,
    /// The tracks by their letters.
    pub tracks: BTreeMap<String, TrackState>,
    /// The lowest level of all tracks that apply.
    pub level: Option<u8>,
    /// How many checks have which result.
    pub counts: BTreeMap<String, u32>,
}

/// What one probe found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The check.
    pub check: String,
    /// What it rests on.
    pub grade: Grade,
    /// The verdict.
    pub verdict: Verdict,
}

/// The probes that make sense for a registry: none for what does not apply to it or is delegated.
pub fn plan(target: &Target, canaries: bool) -> Vec<Probe> {
    let profile = &target.profile;
    let wanted = |probe: &Probe| {
        principles::find(probe.check).is_some_and(|check| {
            profile.taxonomy.applies(check.applies) && !profile.delegated.contains_key(&check.id)
        })
    };
    let mut probes: Vec<Probe> = public::probes(profile);
    if canaries {
        probes.extend(canary::PROBES);
    }
    probes.retain(wanted);
    probes
}

/// Puts together what the probes found with what the profile says.
pub fn conclude(target: &Target, canaries: Option<String>, findings: &[Finding]) -> Assessment {
    let checks: Vec<Checked> = principles::all()
        .iter()
        .map(|check| settle(check, target, findings))
        .collect();
    let mut assessment = Assessment {
        format: FORMAT.to_owned(),
        principles: principles::VERSION.to_owned(),
        tool: crate::TOOL.to_owned(),
        target: target.site.clone(),
        name: target.profile.name.clone(),
        canaries,
        time: crate::timestamp(target.now),
        tracks: tracks(&checks),
        level: None,
        counts: counts(checks.iter().map(|check| check.result)),
        checks,
    };
    assessment.level = assessment
        .tracks
        .values()
        .filter_map(|track| track.level)
        .min();
    assessment
}

fn counts(results: impl Iterator<Item = Outcome>) -> BTreeMap<String, u32> {
    let mut counts: BTreeMap<String, u32> = Outcome::ALL
        .iter()
        .map(|result| (result.word().to_owned(), 0))
        .collect();
    for result in results {
        *counts.entry(result.word().to_owned()).or_default() += 1;
    }
    counts
}

fn tracks(checks: &[Checked]) -> BTreeMap<String, TrackState> {
    Track::ALL
        .into_iter()
        .map(|track| {
            let of: Vec<(u8, Outcome)> = checks
                .iter()
                .filter(|check| check.track == track)
                .map(|check| (check.level, check.result))
                .collect();
            let state = TrackState {
                name: track.name().to_owned(),
                level: level(&of),
                counts: counts(of.iter().map(|(_, result)| *result)),
            };
            (track.letters().to_owned(), state)
        })
        .collect()
}

/// The highest level up to which all that applies counts; `None` where nothing applies.
pub fn level(checks: &[(u8, Outcome)]) -> Option<u8> {
    let applying: Vec<_> = checks
        .iter()
        .filter(|(_, result)| *result != Outcome::NotApplicable)
        .collect();
    if applying.is_empty() {
        return None;
    }
    (0..=3).rev().find(|level| {
        applying
            .iter()
            .all(|(of, result)| of > level || result.counts())
    })
}

fn settle(check: &Check, target: &Target, findings: &[Finding]) -> Checked {
    let (profile, now) = (&target.profile, target.now);
    let mut checked = Checked {
        id: check.id.clone(),
        track: check.track(),
        level: check.level,
        title: check.title.clone(),
        statement: check.statement.clone(),
        link: principles::LINK.to_owned(),
        result: Outcome::Unknown,
        grade: None,
        note: String::new(),
        parts: Vec::new(),
        evidence: Vec::new(),
        expires: None,
    };
    if !profile.taxonomy.applies(check.applies) {
        checked.result = Outcome::NotApplicable;
        checked.note = format!("It concerns {}.", check.applies.words());
        return checked;
    }
    if let Some(delegation) = profile.delegated.get(&check.id) {
        let ends = crate::seconds(&delegation.date)
            .unwrap_or(0)
            .saturating_add(READ);
        checked.expires = Some(crate::timestamp(ends));
        checked.evidence.push(Evidence {
            source: delegation.link.clone(),
            status: None,
            sha256: String::new(),
            excerpt: format!("Done by {}.", delegation.to),
            time: delegation.date.clone(),
        });
        checked.grade = Some(Grade::Document);
        if ends > now {
            checked.result = Outcome::Delegated;
            checked.note = format!("{} does this.", delegation.to);
        } else {
            checked.note = format!(
                "That {} does this was looked at too long ago.",
                delegation.to
            );
        }
        return checked;
    }
    let mut own: Vec<&Finding> = findings
        .iter()
        .filter(|finding| finding.check == check.id)
        .collect();
    own.sort_by_key(|finding| finding.grade);
    // What failed before anybody's eyes is not made good by anybody's word.
    let failed = own
        .iter()
        .find(|finding| finding.verdict.result == Outcome::Fail);
    let told = own
        .iter()
        .find(|finding| finding.verdict.result != Outcome::Unknown);
    if let Some(finding) = failed.or(told) {
        take(&mut checked, finding, target);
        return checked;
    }
    if let Some(finding) = own.first() {
        checked.note.clone_from(&finding.verdict.note);
        checked.parts.clone_from(&finding.verdict.parts);
        checked.evidence.clone_from(&finding.verdict.evidence);
    }
    let attested = profile
        .attestations
        .iter()
        .filter(|attestation| attestation.check == check.id)
        .filter_map(|attestation| Some((attestation.ends()?, attestation)))
        .max_by_key(|(ends, _)| *ends);
    if let Some((ends, attestation)) = attested {
        checked.grade = Some(Grade::Attestation);
        checked.expires = Some(crate::timestamp(ends));
        checked.evidence.push(Evidence {
            source: attestation.link.clone(),
            status: None,
            sha256: String::new(),
            excerpt: attestation
                .statement
                .chars()
                .take(crate::script::EXCERPT)
                .collect(),
            time: attestation.date.clone(),
        });
        if ends > now {
            checked.result = Outcome::Pass;
            checked.note = format!("Attested by {} on {}.", attestation.who, attestation.date);
        } else {
            checked.note = format!("The attestation of {} has ended.", attestation.date);
        }
        return checked;
    }
    if checked.note.is_empty() {
        let grades: Vec<&str> = check.grades.iter().map(|grade| grade.words()).collect();
        checked.note = format!("Nothing was shown. It takes {}.", grades.join(" or "));
    }
    checked
}

fn take(checked: &mut Checked, finding: &Finding, target: &Target) {
    let verdict = &finding.verdict;
    checked.result = verdict.result;
    checked.grade = Some(finding.grade);
    checked.note.clone_from(&verdict.note);
    checked.parts.clone_from(&verdict.parts);
    checked.evidence.clone_from(&verdict.evidence);
    let read = target
        .profile
        .documents
        .get(&checked.id)
        .and_then(|document| crate::seconds(document.read.as_deref()?));
    let ends = match (finding.grade, read) {
        (Grade::Document, Some(read)) => read.saturating_add(READ),
        _ => target.now.saturating_add(PROBED),
    };
    checked.expires = Some(crate::timestamp(ends));
}

/// Why a file is no earlier assessment.
#[derive(Debug, thiserror::Error)]
pub enum BadAssessment {
    /// Larger than [`MOST`].
    #[error("it has {0} bytes, and may have {MOST}")]
    TooLarge(usize),
    /// No JSON of this form.
    #[error("it is no assessment: {0}")]
    Syntax(String),
    /// Another form.
    #[error("its format is {0:?}, and this program knows {FORMAT:?}")]
    Format(String),
}

/// A check whose result changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The check.
    pub id: String,
    /// Its title.
    pub title: String,
    /// The result before; none where the check is new.
    pub before: Option<Outcome>,
    /// The result now.
    pub now: Outcome,
}

impl Assessment {
    /// Reads what an earlier run wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadAssessment> {
        if bytes.len() > MOST {
            return Err(BadAssessment::TooLarge(bytes.len()));
        }
        let read: Self = serde_json::from_slice(bytes)
            .map_err(|error| BadAssessment::Syntax(error.to_string()))?;
        if read.format != FORMAT {
            return Err(BadAssessment::Format(read.format));
        }
        Ok(read)
    }

    /// The result of a check.
    pub fn check(&self, id: &str) -> Option<&Checked> {
        self.checks.iter().find(|check| check.id == id)
    }

    /// How many checks have this result.
    pub fn count(&self, result: Outcome) -> u32 {
        self.counts.get(result.word()).copied().unwrap_or(0)
    }

    /// What changed since an earlier run, in the order of the checks.
    pub fn since(&self, earlier: &Self) -> Vec<Change> {
        self.checks
            .iter()
            .map(|check| Change {
                id: check.id.clone(),
                title: check.title.clone(),
                before: earlier.check(&check.id).map(|before| before.result),
                now: check.result,
            })
            .filter(|change| change.before != Some(change.now))
            .collect()
    }

    /// The same, with what has ended since as unknown: what a page shows later than the day of the run.
    #[must_use]
    pub fn at(mut self, now: i64) -> Self {
        for check in &mut self.checks {
            let ended = check
                .expires
                .as_deref()
                .and_then(crate::seconds)
                .is_some_and(|ends| ends <= now);
            if ended && check.result.counts() {
                check.result = Outcome::Unknown;
                check.note = "What showed this has ended; it has to be shown again.".to_owned();
            }
        }
        self.tracks = tracks(&self.checks);
        self.level = self.tracks.values().filter_map(|track| track.level).min();
        self.counts = counts(self.checks.iter().map(|check| check.result));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Delegation, Profile};

    const NOW: i64 = 1_795_000_000;

    fn target(profile: Profile) -> Target {
        Target {
            site: "https://packages.example.org".to_owned(),
            profile,
            now: NOW,
            seed: [0; 32],
        }
    }

    fn finding(check: &str, grade: Grade, result: Outcome) -> Finding {
        Finding {
            check: check.to_owned(),
            grade,
            verdict: Verdict {
                result,
                ..Verdict::unknown("")
            },
        }
    }

    fn passes(level: u8) -> Vec<Finding> {
        principles::all()
            .iter()
            .filter(|check| check.level <= level)
            .map(|check| finding(&check.id, Grade::Canary, Outcome::Pass))
            .collect()
    }

    #[test]
    fn a_level_needs_everything_up_to_it_and_unknown_never_counts() {
        use Outcome::{Delegated, Fail, NotApplicable, Partial, Pass, Unknown};
        assert_eq!(level(&[(1, Pass), (2, Pass), (3, Pass)]), Some(3));
        assert_eq!(level(&[(1, Pass), (2, Delegated), (3, Unknown)]), Some(2));
        assert_eq!(level(&[(1, Pass), (2, Partial), (3, Pass)]), Some(1));
        assert_eq!(level(&[(1, Fail), (2, Pass), (3, Pass)]), Some(0));
        assert_eq!(level(&[(1, NotApplicable), (2, Pass), (3, Fail)]), Some(2));
        assert_eq!(level(&[(1, NotApplicable)]), None);
        let all = conclude(&target(Profile::default()), None, &passes(3));
        assert_eq!((all.level, all.count(Pass)), (Some(3), 39));
        let none = conclude(&target(Profile::default()), None, &[]);
        assert_eq!((none.level, none.count(Unknown)), (Some(0), 39));
    }

    #[test]
    fn a_failure_is_not_made_good_by_a_word_and_a_word_stands_only_where_nothing_else_does() {
        let text = "[[attestations]]\ncheck = \"AN1.5\"\nstatement = \"We do.\"\nwho = \"Ada\"\ndate = \"2026-10-01\"\nlink = \"https://example.org/x\"\n";
        let target = target(Profile::parse(text, NOW).unwrap());
        let result = |findings: &[Finding]| {
            let checked = conclude(&target, None, findings);
            let check = checked.check("AN1.5").unwrap();
            (check.result, check.grade)
        };
        assert_eq!(result(&[]), (Outcome::Pass, Some(Grade::Attestation)));
        let failed = finding("AN1.5", Grade::Canary, Outcome::Fail);
        assert_eq!(
            result(std::slice::from_ref(&failed)),
            (Outcome::Fail, Some(Grade::Canary))
        );
        let unknown = finding("AN1.5", Grade::Canary, Outcome::Unknown);
        assert_eq!(
            result(std::slice::from_ref(&unknown)),
            (Outcome::Pass, Some(Grade::Attestation))
        );
        // A weaker probe that fails counts before a stronger one that could not tell, and before one that passed.
        let passed = finding("AN1.5", Grade::Canary, Outcome::Pass);
        let public = finding("AN1.5", Grade::Public, Outcome::Fail);
        assert_eq!(result(&[passed, public]).0, Outcome::Fail);
        // A year later the word is worth nothing.
        let later = Target {
            now: NOW + 400 * 86_400,
            ..target.clone()
        };
        let checked = conclude(&later, None, &[]);
        assert_eq!(checked.check("AN1.5").unwrap().result, Outcome::Unknown);
    }

    #[test]
    fn what_somebody_else_does_is_delegated_for_a_year_and_what_does_not_apply_is_left_out() {
        let delegation = Delegation {
            to: "the identity provider".to_owned(),
            link: "https://example.org/mfa".to_owned(),
            date: "2026-10-01".to_owned(),
        };
        let mut profile = Profile::default();
        profile.delegated.insert("AN1.3".to_owned(), delegation);
        profile.taxonomy.tooling = false;
        let made = conclude(&target(profile.clone()), None, &passes(3));
        assert_eq!(made.check("AN1.3").unwrap().result, Outcome::Delegated);
        assert_eq!(made.check("CL1.1").unwrap().result, Outcome::NotApplicable);
        assert_eq!(made.tracks["CL"].level, None);
        assert_eq!(made.level, Some(3));
        assert!(
            plan(&target(profile.clone()), true)
                .iter()
                .all(|probe| probe.check != "AN1.3")
        );
        let later = Target {
            now: NOW + 500 * 86_400,
            ..target(profile)
        };
        assert_eq!(
            conclude(&later, None, &[]).check("AN1.3").unwrap().result,
            Outcome::Unknown
        );
    }

    #[test]
    fn an_assessment_survives_being_written_tells_changes_and_ages() {
        let target = target(Profile::default());
        let before = conclude(&target, None, &passes(1));
        let written = serde_json::to_vec(&before).unwrap();
        assert_eq!(Assessment::parse(&written).unwrap(), before);
        assert!(Assessment::parse(b"{}").is_err());
        let other = String::from_utf8(written)
            .unwrap()
            .replace(FORMAT, "other/v9");
        assert!(
            Assessment::parse(other.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("other/v9")
        );
        let now = conclude(&target, None, &passes(2));
        let changes = now.since(&before);
        let level_two = principles::all()
            .iter()
            .filter(|check| check.level == 2)
            .count();
        assert_eq!(changes.len(), level_two);
        assert!(
            changes.iter().all(
                |change| change.before == Some(Outcome::Unknown) && change.now == Outcome::Pass
            )
        );
        assert!(now.since(&now).is_empty());
        assert_eq!(now.clone().at(NOW + 86_400).level, Some(2));
        assert_eq!(now.at(NOW + 100 * 86_400).level, Some(0));
    }
}
