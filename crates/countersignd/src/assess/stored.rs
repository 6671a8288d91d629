//! Stored runs: files in the data directory, one for each run, named for its time; and what pages show of the last one.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use countersign_assess::assessment::{self, Assessment, Checked, Outcome};
use countersign_assess::principles::{self, Grade, Track};
use countersign_assess::registries::{self, State};
use countersign_assess::report as shown;
use countersign_web::assessment::{
    AssessmentSource, ComparedCheck, ComparedState, ShownAssessment, ShownCheck, ShownComparison,
    ShownEvidence, ShownRegistry, ShownResult, ShownSurvey, ShownTrack, Tone,
};
use serde_json::json;

use crate::failure::Failure;

/// The folder of runs below the data directory.
const FOLDER: &str = "assessments";

/// The runs of one registry.
#[derive(Debug)]
pub struct Stored {
    folder: PathBuf,
    /// The file that was read last, with what was in it.
    read: Mutex<Option<(PathBuf, Vec<u8>, Assessment)>>,
}

impl Stored {
    /// Those below this data directory; nothing is opened yet.
    pub fn below(data: &Path) -> Self {
        Self {
            folder: data.join(FOLDER),
            read: Mutex::default(),
        }
    }

    /// Keeps a run, and tells where.
    ///
    /// # Errors
    /// A folder or file that can not be written.
    pub fn keep(&self, made: &Assessment) -> Result<PathBuf, Failure> {
        let name = made.time.replace(':', "-");
        let path = self.folder.join(format!("{name}.json"));
        std::fs::create_dir_all(&self.folder)
            .map_err(|error| super::unusable(&self.folder, &error.to_string()))?;
        // Whole or not at all: a server may be reading.
        let draft = self.folder.join(format!("{name}.part"));
        super::write(&draft, &json!(made).to_string())?;
        std::fs::rename(&draft, &path)
            .map_err(|error| super::unusable(&path, &error.to_string()))?;
        Ok(path)
    }

    /// The newest file; names order as their times do.
    fn newest(&self) -> Option<PathBuf> {
        std::fs::read_dir(&self.folder)
            .ok()?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .max()
    }
}

impl AssessmentSource for Stored {
    fn last(&self) -> Option<ShownAssessment> {
        let path = self.newest()?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.as_ref().is_none_or(|(known, _, _)| *known != path) {
            let bytes = super::read(&path, assessment::MOST)
                .inspect_err(|error| {
                    tracing::warn!("the stored assessment can not be read: {error}")
                })
                .ok()?;
            let made = Assessment::parse(&bytes)
                .inspect_err(|error| {
                    tracing::warn!(path = %path.display(), "a stored assessment can not be used: {error}");
                })
                .ok()?;
            *read = Some((path, bytes, made));
        }
        let (_, bytes, made) = read.as_ref()?;
        Some(view(made.clone().at(super::now()), bytes.clone()))
    }

    fn comparison(&self) -> ShownComparison {
        comparison()
    }
}

fn result(outcome: Outcome) -> ShownResult {
    ShownResult {
        words: outcome.words(),
        sign: outcome.sign(),
        tone: match outcome {
            Outcome::Pass | Outcome::Delegated => Tone::Good,
            Outcome::Partial | Outcome::Unknown => Tone::Warn,
            Outcome::Fail => Tone::Danger,
            Outcome::NotApplicable => Tone::Plain,
        },
    }
}

fn view(made: Assessment, json: Vec<u8>) -> ShownAssessment {
    let tracks = Track::ALL
        .into_iter()
        .filter_map(|track| {
            let state = made.tracks.get(track.letters())?;
            Some(ShownTrack {
                letters: track.letters(),
                name: state.name.clone(),
                level: shown::level(state.level),
                checks: made
                    .checks
                    .iter()
                    .filter(|check| check.track == track)
                    .map(check)
                    .collect(),
            })
        })
        .collect();
    let unknown = made
        .checks
        .iter()
        .filter(|check| check.result == Outcome::Unknown)
        .map(|check| (check.id.clone(), check.title.clone(), check.note.clone()))
        .collect();
    ShownAssessment {
        level: shown::level(made.level),
        tally: shown::tally(&made),
        badge: shown::badge(&made),
        tracks,
        unknown,
        json,
        time: made.time,
        tool: made.tool,
        principles: made.principles,
        principles_at: principles::LINK.to_owned(),
        canaries: made.canaries,
    }
}

fn check(check: &Checked) -> ShownCheck {
    ShownCheck {
        id: check.id.clone(),
        title: check.title.clone(),
        statement: check.statement.clone(),
        level: check.level,
        result: result(check.result),
        rests_on: check.grade.map(Grade::words),
        note: check.note.clone(),
        parts: check
            .parts
            .iter()
            .map(|part| (result(part.result), part.what.clone()))
            .collect(),
        evidence: check
            .evidence
            .iter()
            .map(|seen| ShownEvidence {
                source: seen.source.clone(),
                status: seen.status,
                sha256: seen.sha256.clone(),
                excerpt: seen.excerpt.clone(),
                time: seen.time.clone(),
            })
            .collect(),
        until: check
            .expires
            .as_deref()
            .map(|time| time.get(..10).unwrap_or(time).to_owned()),
    }
}

fn comparison() -> ShownComparison {
    let known = registries::comparison();
    let survey = registries::survey();
    let name = |id: &str| {
        let found = known.registries.iter().find(|registry| registry.id == id);
        found.map_or_else(|| id.to_owned(), |registry| registry.name.clone())
    };
    ShownComparison {
        read: known.read.clone(),
        note: known.note.clone(),
        tracks: Track::ALL.into_iter().map(Track::name).collect(),
        registries: known
            .registries
            .iter()
            .map(|registry| {
                let (met, apply) = registry.met();
                ShownRegistry {
                    name: registry.name.clone(),
                    source: registry.source.clone(),
                    met,
                    apply,
                    levels: Track::ALL
                        .into_iter()
                        .map(|track| (track.name(), shown::level(registry.level(track))))
                        .collect(),
                }
            })
            .collect(),
        checks: principles::all()
            .iter()
            .map(|check| ComparedCheck {
                id: check.id.clone(),
                title: check.title.clone(),
                states: known
                    .registries
                    .iter()
                    .filter_map(|registry| {
                        let state = registry.states.get(&check.id)?;
                        Some(ComparedState {
                            registry: registry.name.clone(),
                            result: result(state.result),
                            note: note(state),
                        })
                    })
                    .collect(),
            })
            .collect(),
        promised: known.commitments_made.clone(),
        promised_at: known.commitments_at.clone(),
        promises: known
            .commitments
            .iter()
            .map(|promise| {
                (
                    name(&promise.registry),
                    promise.what.clone(),
                    promise.state.clone(),
                    promise.note.clone(),
                )
            })
            .collect(),
        survey: ShownSurvey {
            year: survey.year,
            note: survey.note.clone(),
            questions: survey
                .questions
                .iter()
                .map(|question| {
                    let answers = survey
                        .repositories
                        .iter()
                        .cloned()
                        .zip(question.answers.iter().cloned());
                    (question.question.clone(), answers.collect())
                })
                .collect(),
        },
    }
}

/// What is said of a state: a sentence, since when, and whether a source was read.
fn note(state: &State) -> String {
    let mut words = Vec::new();
    if !state.note.is_empty() {
        words.push(state.note.clone());
    }
    if let Some(since) = &state.since {
        words.push(format!("Since {since}."));
    }
    if state.from_memory {
        words.push("From memory.".to_owned());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_assess::profile::Profile;
    use countersign_assess::script::Target;

    fn run(now: i64) -> Assessment {
        let target = Target {
            site: "https://packages.example.org".to_owned(),
            profile: Profile::default(),
            now,
            seed: [0; 32],
        };
        assessment::conclude(&target, None, &[])
    }

    #[test]
    fn the_newest_run_is_shown_and_what_is_broken_is_not() {
        let data = tempfile::tempdir().unwrap();
        let stored = Stored::below(data.path());
        assert!(stored.last().is_none());
        let (early, late) = (run(1_795_000_000), run(1_795_000_100));
        stored.keep(&late).unwrap();
        stored.keep(&early).unwrap();
        let last = stored.last().unwrap();
        assert_eq!(last.time, late.time);
        assert_eq!(Assessment::parse(&last.json).unwrap(), late);
        assert_eq!(
            last.tracks
                .iter()
                .map(|track| track.checks.len())
                .sum::<usize>(),
            39
        );
        assert_eq!(last.unknown.len(), 39);
        assert!(last.unknown.iter().all(|(_, _, why)| !why.is_empty()));
        assert!(last.badge.contains("0/39"));
        std::fs::write(data.path().join(FOLDER).join("9.json"), "{}").unwrap();
        assert!(stored.last().is_none());
    }

    #[test]
    fn ten_registries_stand_beside_each_other() {
        let table = comparison();
        assert_eq!((table.registries.len(), table.checks.len()), (10, 39));
        assert!(table.checks.iter().all(|check| check.states.len() == 10));
        assert!(table.promises.iter().all(|(registry, ..)| registry.chars().any(char::is_uppercase) || registry == "npm"));
        assert!(
            table
                .survey
                .questions
                .iter()
                .all(|(_, answers)| answers.len() == 11)
        );
    }
}
