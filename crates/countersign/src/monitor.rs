//! A monitor for maintainers: every publish and every change of rights of their own projects, out of the log.
//!
//! It does not read the whole log. The registry is asked for the completeness of each project (`docs/spec/completeness.md`),
//! which proves that none of its leaves is kept back; the monitor keeps number and chain of what it saw, so that nothing can
//! be taken back either, and holds each checkpoint against the one that was seen last. What is new is handed to the outputs
//! before it is remembered: after a crash something may be told twice, and nothing is left out.

mod outputs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use countersign_formats::purl;
use countersign_trust::checkpoint::VerifiedCheckpoint;
use countersign_trust::completeness::{
    Completeness, Listed, MAX_COMPLETENESS_BYTES, read_map_root,
};
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{LeafKind, ParsedLeaf, format_time};
use countersign_trust::map::{MAX_TILE_BYTES, ProjectState, Walk, project_key};
use countersign_trust::proof::{MAX_PROOF_BYTES, TlogProof};
use serde::{Deserialize, Serialize};

pub use outputs::{Mail, Outputs};

use crate::audit::{self, Source};
use crate::failure::{Exit, Failure, Result};
use crate::remote::Remote;
use crate::trusted::{Pinned, Seen, folder, write_whole};

/// So many of the newest happenings stand in the feed.
const RECENT: usize = 100;

/// Something that happened to a project, as its leaf tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// Purl of the project.
    pub project: String,
    /// Number of the leaf among those of the project, from 1.
    pub number: u64,
    /// Its hash, hex.
    pub leaf: String,
    /// Its index in the log, where that is proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// The kind of leaf.
    pub kind: String,
    /// Purl of what it happened to.
    pub subject: String,
    /// When, RFC 3339.
    pub time: String,
    /// For a publication: the file's digest, hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Which way something changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// The role concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// In words.
    pub text: String,
}

/// What was proven of a project, and what was told beyond it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    count: u64,
    chain: String,
    /// Hashes of leaves that were newer than the map then.
    newer: Vec<String>,
}

impl Known {
    fn state(&self) -> Option<ProjectState> {
        Some(ProjectState {
            count: self.count,
            chain: self.chain.parse().ok()?,
        })
    }

    fn told(&self) -> u64 {
        self.count + self.newer.len() as u64
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    origin: String,
    projects: BTreeMap<String, Known>,
    recent: Vec<Happening>,
}

/// What a round found.
#[derive(Debug, Default)]
pub struct Round {
    /// What is new, in the order of the projects as they were named.
    pub happenings: Vec<Happening>,
    /// Projects that are watched from now on, and how many leaves they have.
    pub begun: Vec<(String, u64)>,
    /// Projects that the log proves not to be there.
    pub absent: Vec<String>,
}

/// Which projects are watched, and how.
pub struct Monitor {
    /// The pinned registry.
    pub pinned: Pinned,
    /// The way to it.
    pub remote: Remote,
    /// Purls of the projects.
    pub projects: Vec<String>,
    /// Where what was seen is kept.
    pub state: PathBuf,
    /// Whether what happened before the first round is told too.
    pub from_start: bool,
    /// In microseconds: a map older than this does not do for a log that went on, nor a checkpoint that its witnesses cosigned
    /// longer ago.
    pub max_age: i64,
}

/// Where what was seen of a registry is kept unless somebody says otherwise.
///
/// # Errors
/// Exit 1 without a home directory.
pub fn default_state(origin: &str) -> Result<PathBuf> {
    let name = format!("{}.json", &Sha256::of(origin.as_bytes()).to_hex()[..32]);
    Ok(folder("XDG_STATE_HOME", ".local/state")?
        .join("monitors")
        .join(name))
}

/// The purl of a project in its normal form.
///
/// # Errors
/// Exit 2 for anything else.
pub fn project_purl(text: &str) -> Result<String> {
    let wrong = |why: String| {
        Failure::new(
            Exit::Usage,
            "purl",
            format!("{text:?} does not name a project: {why}."),
        )
        .remedy("Name it as in pkg:pypi/sample-project, pkg:npm/%40scope/name or pkg:cargo/name.")
    };
    let parsed = purl::parse(text).map_err(|refused| wrong(refused.to_string()))?;
    if parsed.version.is_some() || parsed.filename.is_some() {
        return Err(wrong("it names a release or a file".to_owned()));
    }
    Ok(purl::project_purl(parsed.ecosystem, &parsed.name_key))
}

impl Monitor {
    /// Looks at every project once, tells the outputs what is new, and remembers it. `now` is in microseconds since 1970.
    ///
    /// # Errors
    /// Exit 3 where the log lied or keeps something back; of outputs that can not be reached. Then nothing is remembered.
    pub fn round(&self, now: i64, outputs: &Outputs) -> Result<Round> {
        let mut state = self.load()?;
        let (mut round, mut failed) = (Round::default(), None);
        for project in &self.projects {
            match self.look(project, state.projects.get(project), now) {
                Ok(Some((known, happenings))) => {
                    if !state.projects.contains_key(project) && !self.from_start {
                        round.begun.push((project.clone(), known.told()));
                    } else {
                        round.happenings.extend(happenings);
                    }
                    state.projects.insert(project.clone(), known);
                }
                Ok(None) => round.absent.push(project.clone()),
                // What the other projects have to tell is told all the same.
                Err(failure) => {
                    failed.get_or_insert(failure);
                }
            }
        }
        state.recent.extend(round.happenings.iter().cloned());
        let first = state.recent.len().saturating_sub(RECENT);
        state.recent.drain(..first);
        outputs.tell(&self.pinned.url, &round.happenings, &state.recent)?;
        self.save(&state)?;
        match failed {
            None => Ok(round),
            Some(failure) => {
                if failure.exit == Exit::Verification {
                    outputs.alarm(&self.pinned.url, &failure);
                }
                Err(failure)
            }
        }
    }

    fn load(&self) -> Result<State> {
        let damaged = |why: String| {
            Failure::new(
                Exit::Environment,
                "monitor-state",
                format!("{} can not be used: {why}.", self.state.display()),
            )
            .remedy("Name another one with --state; watching then begins anew.")
        };
        let state: State = match std::fs::read(&self.state) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => State {
                origin: self.pinned.origin.clone(),
                ..State::default()
            },
            Err(error) => return Err(damaged(error.to_string())),
        };
        if state.origin != self.pinned.origin {
            return Err(damaged(format!("it is about the log {}", state.origin)));
        }
        Ok(state)
    }

    fn save(&self, state: &State) -> Result<()> {
        let text = serde_json::to_vec_pretty(state)
            .map_err(|error| Failure::new(Exit::Environment, "monitor-state", error.to_string()))?;
        write_whole(&self.state, &text)
    }

    /// One project: what is known of it now, and what was not told before. `None`: it is proven not to be there.
    fn look(
        &self,
        project: &str,
        known: Option<&Known>,
        now: i64,
    ) -> Result<Option<(Known, Vec<Happening>)>> {
        let seen = Seen::of(&self.pinned.origin)?;
        let parsed = purl::parse(project)
            .map_err(|refused| Failure::new(Exit::Usage, "purl", refused.to_string()))?;
        let before = known.and_then(Known::state);
        let path = format!(
            "/api/v1/log/completeness/{}/{}?after={}",
            parsed.ecosystem.as_str(),
            parsed.name_key.as_str().replace('/', "%2F"),
            before.map_or(0, |state| state.count)
        );
        let Some(text) = self.remote.find(&path, MAX_COMPLETENESS_BYTES)? else {
            return self.absent(project, known, &seen, now).map(|()| None);
        };
        let lied = |code: &'static str, why: String| -> Result<Failure> {
            let kept = seen.keep_evidence(&text)?;
            Ok(
                Failure::unverified(code, format!("{project}: {why}.")).remedy(format!(
                    "What the registry said is kept in {}. Show it to others who use this registry.",
                    kept.display()
                )),
            )
        };
        let read = match Completeness::parse(&text) {
            Ok(read) => read,
            Err(error) => return Err(lied("completeness", error.to_string())?),
        };
        let checkpoint = self.followed(read.checkpoint.as_bytes(), &seen, now)?;
        let complete = match read.verify(&checkpoint, project, before.as_ref()) {
            Ok(complete) => complete,
            Err(error) => return Err(lied("completeness", error.to_string())?),
        };
        if !complete.is_exact() && complete.time < now.saturating_sub(self.max_age) {
            return Err(self.too_old(project, complete.time));
        }
        let told = known.map_or(0, Known::told);
        for (number, hash) in (before.map_or(1, |state| state.count + 1)..)
            .zip(known.map_or(&[][..], |known| &known.newer[..]))
        {
            match complete.leaves.iter().find(|leaf| leaf.number == number) {
                Some(leaf) if leaf.hash.to_hex() == *hash => {}
                Some(_) => {
                    let why = format!("leaf {number} is another one than before");
                    return Err(lied("leaf-replaced", why)?);
                }
                None => {
                    let why = format!("leaf {number} was there, and is kept back now");
                    return Err(lied("leaf-hidden", why)?);
                }
            }
        }
        let happenings = complete
            .leaves
            .iter()
            .filter(|leaf| leaf.number > told)
            .map(|leaf| happening(project, leaf))
            .collect();
        let newer = complete.leaves.iter().filter(|leaf| !leaf.covered);
        let known = Known {
            count: complete.state.count,
            chain: complete.state.chain.to_hex(),
            newer: newer.map(|leaf| leaf.hash.to_hex()).collect(),
        };
        Ok(Some((known, happenings)))
    }

    /// The registry knows no such project: does its map say the same?
    fn absent(&self, project: &str, known: Option<&Known>, seen: &Seen, now: i64) -> Result<()> {
        let log = self.pinned.log_path();
        let wrong = |why: String| Failure::unverified("map", format!("{project}: {why}."));
        let head = self
            .remote
            .get(&format!("{log}map/head.tlog-proof"), MAX_PROOF_BYTES)?;
        let head = TlogProof::parse(&head).map_err(|error| wrong(error.to_string()))?;
        let leaf = head.extra.clone().unwrap_or_default();
        let checkpoint = self.followed(head.checkpoint.as_bytes(), seen, now)?;
        head.verify(&leaf, &self.pinned.verifiers()?, &self.pinned.origin)
            .map_err(|error| wrong(error.to_string()))?;
        let map = read_map_root(&leaf, head.index).map_err(|error| wrong(error.to_string()))?;
        if checkpoint.size() - map.covers > 1 && map.time < now.saturating_sub(self.max_age) {
            return Err(self.too_old(project, map.time));
        }
        let key = project_key(project);
        let mut walk = Walk::new(map.root, [key]);
        loop {
            let wanted = walk.wanted();
            if wanted.is_empty() {
                break;
            }
            for (id, prefix) in wanted {
                let tile = self.remote.get(&format!("{log}{id}"), MAX_TILE_BYTES)?;
                walk.supply(id, &prefix, &tile)
                    .map_err(|error| wrong(error.to_string()))?;
            }
        }
        let found = walk
            .prove(&key)
            .map_err(|error| wrong(error.to_string()))
            .and_then(|proof| {
                proof
                    .verify(&map.root, &key)
                    .map_err(|error| wrong(error.to_string()))
            })?;
        match (found, known) {
            (None, None) => Ok(()),
            (None, Some(_)) => Err(Failure::unverified(
                "project-denied",
                format!("{project} was in the map of the log, and is no longer."),
            )),
            (Some(_), _) => Err(Failure::new(
                Exit::Refused,
                "project-hidden",
                format!("The registry says that there is no {project}, and its log says that there is."),
            )
            .remedy("If it is private: log in with an account that has a role on it (countersign login, or COUNTERSIGN_TOKEN). Else the registry hides it.")),
        }
    }

    /// A checkpoint of the pinned log, held against the one that was seen last; cosigned of late where witnesses are pinned.
    fn followed(&self, note: &[u8], seen: &Seen, now: i64) -> Result<VerifiedCheckpoint> {
        let source = Source::registry(&self.pinned, self.remote.clone());
        let checkpoint = audit::follow(&self.pinned, &source, seen, note)?;
        let since = u64::try_from(now.saturating_sub(self.max_age) / 1_000_000).unwrap_or(0);
        if self.pinned.policy()?.quorum_met_since(&checkpoint, since) {
            return Ok(checkpoint);
        }
        let last = checkpoint.cosignatures().filter_map(|line| line.time).max();
        let last = last.and_then(|at| i64::try_from(at).ok()?.checked_mul(1_000_000));
        Err(Failure::unverified(
            "log-frozen",
            format!(
                "The newest checkpoint of {} that the registry shows has {} entries, and too few of its witnesses saw it of late (the last one: {}): what happened since may be kept back.",
                self.pinned.origin,
                checkpoint.size(),
                last.and_then(format_time).unwrap_or_else(|| "never".to_owned())
            ),
        )
        .remedy("A registry has a log that rests cosigned again every ten minutes. Ask its operator, and look from another network. --max-age says how old it may be; the clock of this machine counts."))
    }

    fn too_old(&self, project: &str, time: i64) -> Failure {
        Failure::unverified(
            "map-old",
            format!(
                "{project}: the log went on, and its newest map is of {}: what happened since may be kept back.",
                format_time(time).unwrap_or_default()
            ),
        )
        .remedy("Ask the registry's operator what became of its map. --max-age says how old it may be.")
    }

    /// Where what was seen is kept.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }
}

fn happening(project: &str, listed: &Listed) -> Happening {
    let mut told = Happening {
        project: project.to_owned(),
        number: listed.number,
        leaf: listed.hash.to_hex(),
        index: listed.index,
        kind: String::new(),
        subject: project.to_owned(),
        time: String::new(),
        sha256: None,
        change: None,
        role: None,
        text: String::new(),
    };
    match &listed.leaf {
        ParsedLeaf::Known(leaf) => {
            told.kind = leaf.kind.as_str().to_owned();
            told.subject = leaf.subject.clone().unwrap_or_default();
            told.time = format_time(leaf.time).unwrap_or_default();
            if leaf.kind == LeafKind::FilePublished {
                told.sha256 = leaf.sha256().map(|digest| digest.to_hex());
            }
            told.change = leaf.change.map(|change| change.as_str().to_owned());
            told.role.clone_from(&leaf.role);
            told.text = words(leaf.kind, &told);
        }
        ParsedLeaf::Skipped { kind } => {
            told.kind.clone_from(kind);
            told.text =
                format!("{project}: something of a kind that this version does not know ({kind})");
        }
    }
    told
}

/// One line for a person.
fn words(kind: LeafKind, told: &Happening) -> String {
    let subject = &told.subject;
    let way = told.change.as_deref().unwrap_or("changed");
    match kind {
        LeafKind::FilePublished => format!(
            "{subject} was published, sha256:{}",
            told.sha256.as_deref().unwrap_or("?")
        ),
        LeafKind::AttestationAdded => format!("{subject} got attestations"),
        LeafKind::Yanked => format!("{subject} was yanked"),
        LeafKind::Unyanked => format!("{subject}: a yank was taken back"),
        LeafKind::Deprecated if way == "removed" => format!("{subject} is no longer deprecated"),
        LeafKind::Deprecated => format!("{subject} was deprecated"),
        LeafKind::Deleted => format!("{subject} was deleted"),
        LeafKind::Quarantined => format!("{subject} was withheld from download"),
        LeafKind::Released => format!("{subject} is no longer withheld"),
        LeafKind::OwnerChanged => format!("{subject}: an owner was {way}"),
        LeafKind::RoleChanged => format!(
            "{subject}: somebody's role {} was {way}",
            told.role.as_deref().unwrap_or("?")
        ),
        LeafKind::PublisherChanged => format!("{subject}: a trusted publisher was {way}"),
        LeafKind::PolicyChanged => format!("{subject}: a policy was {way}"),
        LeafKind::VisibilityChanged if way == "added" => format!("{subject} became private"),
        LeafKind::VisibilityChanged => format!("{subject} became public"),
        LeafKind::TokenRevokedLeaked => format!("{subject}: a token that leaked was revoked"),
        LeafKind::OperatorOverride => format!("{subject}: an operator went past a rule"),
        LeafKind::KeyRotated | LeafKind::LogGenesis | LeafKind::LogFreeze | LeafKind::MapRoot => {
            format!("{subject}: {kind}")
        }
    }
}
