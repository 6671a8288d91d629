//! Drills: incidents that really happened, played on a staging copy through the doors that people, clients and operators use.
//!
//! A scenario is written as a probe is ([`crate::script`]): it says what somebody does, and it is run from its beginning again after each
//! answer. Between the attacker's steps stand the controls that must answer: who noticed or stopped what, and after how long.

use serde::Serialize;

use crate::script::{Act, Exchange, Script, Stop, Target, Told};

/// At most so many steps of a scenario.
pub const MOST_STEPS: usize = 600;

/// What a control brings about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Milestone {
    /// It is stopped before it does harm.
    Refuse,
    /// Somebody is told.
    Detect,
    /// It is known what was touched.
    Trace,
    /// What was published is withheld.
    Quarantine,
    /// The credential is worth nothing any more.
    Revoke,
    /// Others are told.
    Advisory,
    /// Things stand as they did before.
    Restore,
}

impl Milestone {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Detect => "detect",
            Self::Trace => "trace",
            Self::Quarantine => "quarantine",
            Self::Revoke => "revoke",
            Self::Advisory => "advisory",
            Self::Restore => "restore",
        }
    }
}

/// An incident that can be played.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// Its id: `D1`.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it is made after.
    pub after: &'static str,
    /// What it does.
    pub play: fn(&mut Play<'_>) -> Told<()>,
}

/// One line of what was played.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Milliseconds after the attack began; before it: none.
    pub after_ms: Option<u64>,
    /// Who acts: `attacker`, `operator`, `maintainer`.
    pub who: &'static str,
    /// What they do.
    pub what: String,
}

/// A control that was expected to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Control {
    /// What it brings about.
    pub milestone: Milestone,
    /// Who noticed or stopped it.
    pub by: &'static str,
    /// What had to come.
    pub what: String,
    /// Whether it came.
    pub answered: bool,
    /// After how many milliseconds of the attack.
    pub after_ms: u64,
}

/// What became of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The scenario's id.
    pub id: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it is made after.
    pub after: &'static str,
    /// What was done.
    pub lines: Vec<Line>,
    /// What answered.
    pub controls: Vec<Control>,
    /// Why it ended before its end, where it did.
    pub broke_off: Option<String>,
}

impl Outcome {
    /// Did every control answer that had to?
    pub fn held(&self) -> bool {
        self.broke_off.is_none()
            && !self.controls.is_empty()
            && self.controls.iter().all(|control| control.answered)
    }
}

/// A scenario while it is played.
pub struct Play<'a> {
    /// Acts and what came of them.
    pub(crate) script: Script<'a>,
    /// When each step was through, in milliseconds since the scenario began.
    elapsed: &'a [u64],
    began: Option<u64>,
    lines: Vec<Line>,
    controls: Vec<Control>,
}

impl Play<'_> {
    fn elapsed(&self) -> u64 {
        let steps = self.script.steps();
        steps
            .checked_sub(1)
            .and_then(|at| self.elapsed.get(at))
            .copied()
            .unwrap_or(0)
    }

    fn after(&self) -> Option<u64> {
        self.began.map(|began| self.elapsed().saturating_sub(began))
    }

    fn line(&mut self, who: &'static str, what: &str) {
        self.lines.push(Line {
            after_ms: self.after(),
            who,
            what: what.to_owned(),
        });
    }

    /// The attacker does something; the clock starts with the first of it.
    pub(crate) fn attack(&mut self, what: &str) {
        if self.began.is_none() {
            self.began = Some(self.elapsed());
        }
        self.line("attacker", what);
    }

    /// Somebody else does something.
    pub(crate) fn scene(&mut self, who: &'static str, what: &str) {
        self.line(who, what);
    }

    /// What had to come, and whether it came.
    pub(crate) fn control(
        &mut self,
        milestone: Milestone,
        by: &'static str,
        what: &str,
        answered: bool,
    ) {
        self.controls.push(Control {
            milestone,
            by,
            what: what.to_owned(),
            answered,
            after_ms: self.after().unwrap_or(0),
        });
    }

    /// An operator's command must succeed; what it printed.
    pub(crate) fn operator(&mut self, words: &[&str]) -> Told<String> {
        let (code, out) = self.script.operator(words)?;
        if code != 0 {
            return Err(Stop::Unknown(format!(
                "`countersignd {}` ended with {code}.",
                words.iter().take(3).copied().collect::<Vec<_>>().join(" ")
            )));
        }
        Ok(out.to_owned())
    }
}

/// What comes next in a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Do this, record what comes of it, and ask again.
    Act(Box<Act>),
    /// It is through.
    Outcome(Outcome),
}

/// Plays a scenario over what was recorded so far; `elapsed` says when each step was through, in milliseconds.
pub fn next(scenario: &Scenario, target: &Target, recording: &[Exchange], elapsed: &[u64]) -> Next {
    let mut play = Play {
        script: Script::new(scenario.id, target, recording),
        elapsed,
        began: None,
        lines: Vec::new(),
        controls: Vec::new(),
    };
    let broke_off = match (scenario.play)(&mut play) {
        Ok(()) => None,
        Err(Stop::Want(act)) if recording.len() < MOST_STEPS => return Next::Act(act),
        Err(Stop::Want(_)) => Some(format!("It was stopped after {MOST_STEPS} steps.")),
        Err(Stop::Unknown(why)) => Some(why),
    };
    Next::Outcome(Outcome {
        id: scenario.id,
        name: scenario.name,
        after: scenario.after,
        lines: play.lines,
        controls: play.controls,
        broke_off,
    })
}

pub use crate::canary::SCENARIOS;
