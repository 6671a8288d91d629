//! The Security section of a project's and a release's page: where and by what its files were built, who vouches for
//! that, and what departs from what came before. It follows the style guide for attestations of the OpenSSF's working
//! group on securing software repositories: what was *confirmed* is said, and nothing is called safe.

use countersign_formats::Ecosystem;
use countersign_registry::model::{
    AttestationDetail, FileProvenance, Maker, ReleaseStanding, ShownProvenance, TrustLevel, Verdict,
};
use countersign_registry::{Kind, Result};
use countersign_trust::sigstore::PredicateKind;

use super::origin::{COMMIT_SHOWN, Place, in_words};
use super::phrase::{self, Day, moment_in_words};
use super::visit::Visit;

/// Log entries that are listed before they are folded away.
const ENTRIES: usize = 3;

/// What the section says.
pub(super) struct Security {
    /// The gravest of what should be looked at; at most one.
    pub(super) warning: Option<Warning>,
    /// One for each build that made files.
    pub(super) builds: Vec<Build>,
    /// How many files have no provenance, in words; `None`: all have.
    pub(super) without: Option<String>,
    /// When this registry last looked at it.
    pub(super) updated: Option<Day>,
}

/// Something that should be looked at.
pub(super) struct Warning {
    pub(super) title: &'static str,
    pub(super) text: String,
    /// What was said of it beforehand.
    pub(super) reason: Option<String>,
}

/// A build, as its certificates tell of it.
pub(super) struct Build {
    key: ShownProvenance,
    /// After the names of its places on the page; empty for the first.
    pub(super) mark: String,
    pub(super) repository: Option<Place>,
    pub(super) commit: Option<Built>,
    pub(super) reference: Option<String>,
    /// Whether the source still is there, in words.
    pub(super) looked: Option<String>,
    pub(super) builder: Option<String>,
    pub(super) build_file: Option<(String, Option<String>)>,
    pub(super) run: Option<Place>,
    pub(super) machines: Option<&'static str>,
    pub(super) environment: Option<String>,
    pub(super) trigger: Option<String>,
    pub(super) slsa_level: Option<u8>,
    /// Its files: name and SHA-256.
    pub(super) files: Vec<(String, String)>,
    pub(super) counted: String,
    pub(super) statements: Vec<Statement>,
}

/// The commit that was built.
pub(super) struct Built {
    pub(super) shown: String,
    pub(super) whole: String,
    /// Its page at the provider.
    pub(super) page: Option<String>,
}

impl Built {
    fn of(whole: String, page: Option<&str>) -> Self {
        Self {
            shown: whole.chars().take(COMMIT_SHOWN).collect(),
            page: page.and_then(Place::of).map(|place| place.address),
            whole,
        }
    }
}

/// Attestations of one kind by one signer.
pub(super) struct Statement {
    pub(super) title: &'static str,
    pub(super) predicate_type: String,
    /// Who signed, short enough for two lines.
    pub(super) signer: String,
    /// The certificate's subject, whole.
    pub(super) whole_signer: String,
    pub(super) issuer: Option<String>,
    pub(super) confirmed: bool,
    pub(super) taken: Day,
    pub(super) entries: Vec<Entry>,
    pub(super) folded: Vec<Entry>,
}

/// An entry of a transparency log, and the attestation it is about.
pub(super) struct Entry {
    pub(super) file: String,
    pub(super) index: Option<u64>,
    pub(super) page: Option<String>,
    /// The attestation's bytes.
    pub(super) raw: String,
}

impl Security {
    /// Of the release that a page shows; of nothing where none of its files is served.
    pub(super) async fn of(
        visit: &Visit,
        ecosystem: Ecosystem,
        key: &str,
        version: &str,
    ) -> Result<Self> {
        let registry = &visit.site.registry;
        let files = match registry.release_provenance(ecosystem, key, version).await {
            Err(error) if error.kind == Kind::NotFound => return Ok(Self::new(&[], None)),
            outcome => outcome?,
        };
        let standing = match registry.release_standing(ecosystem, key, version).await {
            // Withheld in the meantime.
            Err(error) if error.kind == Kind::NotFound => None,
            outcome => Some(outcome?),
        };
        Ok(Self::new(&files, standing.as_ref()))
    }

    pub(super) fn new(files: &[FileProvenance], standing: Option<&ReleaseStanding>) -> Self {
        let mut builds: Vec<Build> = Vec::new();
        for file in files {
            for attestation in theirs(file) {
                let key = build_of(&attestation.shown);
                let at = builds
                    .iter()
                    .position(|known| known.key == key)
                    .unwrap_or_else(|| {
                        builds.push(Build::of(key, attestation, builds.len()));
                        builds.len() - 1
                    });
                if let Some(build) = builds.get_mut(at) {
                    build.add(file, attestation);
                }
            }
        }
        for build in &mut builds {
            build.counted = phrase::counted(build.files.len() as u64, "file", "files");
            for statement in &mut build.statements {
                let rest = statement
                    .entries
                    .split_off(statement.entries.len().min(ENTRIES));
                statement.folded = rest;
            }
        }
        let bare = files
            .iter()
            .filter(|file| file.level != Some(TrustLevel::Provenance))
            .count();
        let all = files.iter().flat_map(theirs);
        let updated = all
            .map(|one| one.rechecked.unwrap_or(one.taken))
            .max_by_key(|at| at.0);
        Self {
            warning: warning(files, standing),
            without: (bare > 0 && !builds.is_empty()).then(|| {
                format!(
                    "{bare} of {} {} no build provenance.",
                    phrase::counted(files.len() as u64, "file", "files"),
                    if bare == 1 { "has" } else { "have" }
                )
            }),
            builds,
            updated: updated.map(Day),
        }
    }

    /// Whether there is any.
    pub(super) fn is_known(&self) -> bool {
        !self.builds.is_empty()
    }
}

/// What came with the file. What the registry says itself stands in the API.
fn theirs(file: &FileProvenance) -> impl Iterator<Item = &AttestationDetail> {
    file.attestations
        .iter()
        .filter(|one| one.maker == Maker::Uploader)
}

/// What two attestations of one build have in common.
fn build_of(shown: &ShownProvenance) -> ShownProvenance {
    ShownProvenance {
        log_index: None,
        log_url: None,
        slsa_level: None,
        ..shown.clone()
    }
}

/// The gravest of what departs from what one would expect. One warning at most: several are read as none.
fn warning(files: &[FileProvenance], standing: Option<&ReleaseStanding>) -> Option<Warning> {
    if let Some(standing) = standing {
        if let Some((before, now)) = standing.lost {
            return Some(Warning {
                title: "Less stands behind this release than before",
                text: format!(
                    "Earlier releases came with {}; this one, or a file of it, came with {}.",
                    in_a_few_words(before),
                    in_a_few_words(now)
                ),
                reason: standing.reason.clone(),
            });
        }
        if let Some((from, to)) = &standing.moved {
            return Some(Warning {
                title: "This release comes from another source",
                text: format!(
                    "What came before was built from {}; this was built from {}.",
                    from.repository, to.repository
                ),
                reason: standing.reason.clone(),
            });
        }
    }
    let all = || files.iter().flat_map(theirs);
    if let Some((when, why)) = all().find_map(|one| {
        let why = one.recheck_problem.as_ref()?;
        Some((one.rechecked?, why))
    }) {
        return Some(Warning {
            title: "An attestation does not hold any more",
            text: format!(
                "It was confirmed when the file was published. Held against the trust roots of {}, it failed: {why}.",
                moment_in_words(when)
            ),
            reason: None,
        });
    }
    let gone = all().find_map(|one| {
        let state = one.source_state.as_ref()?;
        (state.state == "gone").then_some(state)
    })?;
    Some(Warning {
        title: "The source is not there any more",
        text: match gone.checked {
            Some(when) => format!("{} Last looked at: {}.", gone.detail, moment_in_words(when)),
            None => gone.detail.clone(),
        },
        reason: None,
    })
}

fn in_a_few_words(level: TrustLevel) -> &'static str {
    match level {
        TrustLevel::None => "nothing that vouches for them",
        TrustLevel::Token => "an account's API token",
        TrustLevel::Workflow => "a trusted publisher and no provenance",
        TrustLevel::Provenance => "build provenance",
    }
}

/// The path below a web address's host, or the text as it is.
fn short_signer(shown: &ShownProvenance) -> String {
    let place = shown.repository.as_deref().and_then(Place::of);
    let file = shown
        .build_file
        .as_deref()
        .and_then(|path| path.rsplit('/').next());
    match (place, file, &shown.signer) {
        (Some(place), Some(file), _) => format!("{file} of {}", place.words),
        (Some(place), None, _) => place.words,
        (None, _, Some(signer)) => phrase::shortened(signer, 90),
        (None, _, None) => "somebody whom the certificate does not name".to_owned(),
    }
}

impl Build {
    fn of(key: ShownProvenance, first: &AttestationDetail, number: usize) -> Self {
        let shown = &first.shown;
        let looked = first.source_state.as_ref().and_then(|state| {
            let when = state.checked?;
            Some(match state.state.as_str() {
                "there" => format!("Still there on {}", moment_in_words(when)),
                "moved" => format!("Moved to another address by {}", moment_in_words(when)),
                "gone" => format!("Not there any more on {}", moment_in_words(when)),
                _ => format!("Could not be looked at on {}", moment_in_words(when)),
            })
        });
        Self {
            mark: match number {
                0 => String::new(),
                number => format!("-{}", number + 1),
            },
            repository: shown.repository.as_deref().and_then(Place::of),
            commit: shown
                .commit
                .clone()
                .map(|whole| Built::of(whole, shown.commit_url.as_deref())),
            reference: shown.reference.as_deref().map(in_words),
            looked,
            builder: shown.builder.clone(),
            build_file: shown.build_file.clone().map(|path| {
                let page = shown.build_file_url.as_deref().and_then(Place::of);
                (path, page.map(|page| page.address))
            }),
            run: shown.run_url.as_deref().and_then(Place::of),
            machines: shown.runner.as_deref().and_then(|runner| match runner {
                "github-hosted" | "gitlab-hosted" => Some("the CI system's own machines"),
                "self-hosted" => Some("machines of the project's own"),
                _ => None,
            }),
            environment: shown.environment.clone(),
            trigger: shown.trigger.clone(),
            slsa_level: None,
            key,
            files: Vec::new(),
            counted: String::new(),
            statements: Vec::new(),
        }
    }

    fn add(&mut self, file: &FileProvenance, one: &AttestationDetail) {
        if self
            .files
            .last()
            .is_none_or(|(name, _)| *name != file.filename)
        {
            self.files
                .push((file.filename.clone(), file.sha256.clone()));
        }
        let level = one
            .shown
            .slsa_level
            .filter(|_| one.verdict == Verdict::Confirmed);
        self.slsa_level = match (self.slsa_level, level) {
            // The least that holds for all of them.
            (Some(known), Some(level)) => Some(known.min(level)),
            (known, level) => known.or(level),
        };
        let entry = Entry {
            file: file.filename.clone(),
            index: one.shown.log_index,
            page: one
                .shown
                .log_url
                .as_deref()
                .and_then(Place::of)
                .map(|place| place.address),
            raw: format!("/api/v1/attestations/by-digest/{}", one.digest),
        };
        let known = self.statements.iter_mut().find(|statement| {
            statement.predicate_type == one.predicate_type
                && Some(&statement.whole_signer) == one.shown.signer.as_ref()
        });
        match known {
            Some(statement) => statement.entries.push(entry),
            None => self.statements.push(Statement {
                title: title(&one.predicate_type),
                predicate_type: one.predicate_type.clone(),
                signer: short_signer(&one.shown),
                whole_signer: one.shown.signer.clone().unwrap_or_default(),
                issuer: one.shown.issuer.clone(),
                confirmed: one.verdict == Verdict::Confirmed,
                taken: Day(one.taken),
                entries: vec![entry],
                folded: Vec::new(),
            }),
        }
    }

    /// Its only file, and that one's SHA-256.
    pub(super) fn only(&self) -> Option<&(String, String)> {
        match &self.files[..] {
            [only] => Some(only),
            _ => None,
        }
    }
}

fn title(predicate_type: &str) -> &'static str {
    match PredicateKind::of(predicate_type) {
        kind if kind.is_provenance() => "Build provenance attestation",
        PredicateKind::IndexPublish => "Publish attestation",
        _ => "Attestation of a kind that is not known here",
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn files_of_one_build_are_told_together_and_a_bare_one_is_counted() {
        let mut files = samples::provenance();
        let security = Security::new(&files, None);
        assert_eq!(security.builds.len(), 1);
        let build = &security.builds[0];
        assert_eq!(build.counted, "3 files");
        assert_eq!(build.statements.len(), 2);
        assert_eq!(build.slsa_level, Some(2));
        assert!(build.statements.iter().all(|one| one.entries.len() == 3));
        assert!(security.without.is_none() && security.warning.is_none());
        files[2].attestations.clear();
        files[2].level = Some(TrustLevel::Token);
        let security = Security::new(&files, None);
        assert_eq!(
            security.without.as_deref(),
            Some("1 of 3 files has no build provenance.")
        );
        files[1].attestations[0].shown.commit = Some("0".repeat(40));
        assert_eq!(Security::new(&files, None).builds.len(), 2);
    }

    #[test]
    fn the_gravest_departure_is_warned_of_and_no_other() {
        let mut files = samples::provenance();
        let source = files[0].source.clone().unwrap();
        let standing = ReleaseStanding {
            lost: Some((TrustLevel::Provenance, TrustLevel::Token)),
            moved: Some((source.clone(), source)),
            reason: Some("the CI system was down".to_owned()),
        };
        let title = |files: &[FileProvenance], standing: Option<&ReleaseStanding>| {
            Security::new(files, standing)
                .warning
                .map(|warning| warning.title)
        };
        assert_eq!(
            title(&files, Some(&standing)),
            Some("Less stands behind this release than before")
        );
        let moved = ReleaseStanding {
            lost: None,
            ..standing
        };
        assert_eq!(
            title(&files, Some(&moved)),
            Some("This release comes from another source")
        );
        let state = files[0].attestations[0].source_state.as_mut().unwrap();
        state.state = "gone".to_owned();
        assert_eq!(
            title(&files, None),
            Some("The source is not there any more")
        );
        files[1].attestations[0].recheck_problem =
            Some("its authority is trusted no longer".to_owned());
        assert_eq!(
            title(&files, None),
            Some("An attestation does not hold any more")
        );
    }

    #[test]
    fn foreign_addresses_are_led_to_by_https_only() {
        let mut files = samples::provenance();
        for one in &mut files[0].attestations {
            one.shown.repository = Some("javascript:alert(1)".to_owned());
            one.shown.run_url = Some("http://forge.example/run".to_owned());
            one.shown.commit_url = Some("data:text/html,x".to_owned());
            one.shown.log_url = Some("javascript:alert(2)".to_owned());
        }
        let security = Security::new(&files[..1], None);
        let build = &security.builds[0];
        assert!(build.repository.is_none() && build.run.is_none());
        assert!(build.commit.as_ref().unwrap().page.is_none());
        assert!(build.statements[0].entries[0].page.is_none());
    }
}
