//! Where the files of a release come from: the workflows that published them, as their issuers vouched for them, and
//! which of the links that a release gives lead there.

use std::collections::BTreeMap;

use countersign_registry::model::{FileDetail, FileOrigin, FileState};
use countersign_registry::oidc::Provider;
use countersign_registry::oidc::source::Source;
use url::Url;

use super::phrase;

/// Digits of a commit that are shown where it has more.
pub(super) const COMMIT_SHOWN: usize = 12;

/// All that is known of a release's origin.
pub(super) struct Origins<'a> {
    /// One entry for each run of a workflow that published files of it.
    pub(super) workflows: Vec<Origin<'a>>,
    /// How many files came by hand, in words; none: all came from workflows.
    pub(super) by_hand: Option<String>,
}

/// A run of a workflow that published files.
pub(super) struct Origin<'a> {
    of: &'a FileOrigin,
    pub(super) provider: &'static str,
    pub(super) issuer: &'a str,
    pub(super) label: &'a str,
    pub(super) repository: Option<Place>,
    pub(super) workflow: Option<&'a str>,
    pub(super) commit: Option<Commit<'a>>,
    pub(super) reference: Option<String>,
    pub(super) run: Option<Place>,
    pub(super) environment: Option<&'a str>,
    pub(super) claims: &'a BTreeMap<String, String>,
    /// Its files.
    pub(super) names: Vec<&'a str>,
    /// How many they are, in words.
    pub(super) files: String,
}

/// An address elsewhere. Only `https` ones are led to.
pub(super) struct Place {
    pub(super) words: String,
    pub(super) address: String,
}

impl Place {
    pub(super) fn of(address: &str) -> Option<Self> {
        let parsed = Url::parse(address).ok()?;
        let (true, Some(host)) = (parsed.scheme() == "https", parsed.host_str()) else {
            return None;
        };
        Some(Self {
            words: format!("{host}{}", parsed.path().trim_end_matches('/')),
            address: parsed.into(),
        })
    }
}

/// A commit.
pub(super) struct Commit<'a> {
    pub(super) shown: &'a str,
    pub(super) whole: &'a str,
    /// Its page at the provider.
    pub(super) page: Option<String>,
}

impl<'a> Commit<'a> {
    fn of(source: &'a Source) -> Option<Self> {
        let whole = source.commit.as_deref()?;
        let hex = whole.len() >= COMMIT_SHOWN && whole.bytes().all(|byte| byte.is_ascii_hexdigit());
        let below = match source.provider {
            Provider::Github | Provider::Forgejo => "commit",
            Provider::Gitlab => "-/commit",
            _ => "",
        };
        let repository = Place::of(&source.repository).filter(|_| hex && !below.is_empty());
        Some(Self {
            shown: if hex {
                whole.get(..COMMIT_SHOWN)?
            } else {
                whole
            },
            whole,
            page: repository.map(|repository| {
                format!(
                    "{}/{below}/{whole}",
                    repository.address.trim_end_matches('/')
                )
            }),
        })
    }
}

/// A full ref in words; other names of branches and tags as they are.
pub(super) fn in_words(reference: &str) -> String {
    for (prefix, word) in [("refs/tags/", "tag"), ("refs/heads/", "branch")] {
        if let Some(name) = reference.strip_prefix(prefix) {
            return format!("{word} {name}");
        }
    }
    reference.to_owned()
}

impl<'a> Origin<'a> {
    fn of(of: &'a FileOrigin) -> Self {
        let source = of.source.as_ref();
        Self {
            of,
            provider: of.provider.title(),
            issuer: &of.issuer,
            label: &of.label,
            repository: source.and_then(|source| Place::of(&source.repository)),
            workflow: source.and_then(|source| source.workflow.as_deref()),
            commit: source.and_then(Commit::of),
            reference: source.and_then(|source| source.reference.as_deref().map(in_words)),
            run: source.and_then(|source| Place::of(source.run.as_deref()?)),
            environment: source.and_then(|source| source.environment.as_deref()),
            claims: &of.claims,
            names: Vec::new(),
            files: String::new(),
        }
    }

    fn is(&self, other: &FileOrigin) -> bool {
        self.of.issuer == other.issuer
            && self.of.label == other.label
            && self.of.claims == other.claims
    }
}

impl<'a> Origins<'a> {
    /// Of all files that anybody is shown.
    pub(super) fn of(files: &'a [FileDetail]) -> Self {
        let mut workflows: Vec<Origin<'a>> = Vec::new();
        let mut by_hand = 0;
        let shown = files
            .iter()
            .filter(|file| !matches!(file.state, FileState::Staged | FileState::Held));
        for file in shown {
            let Some(origin) = &file.origin else {
                by_hand += 1;
                continue;
            };
            match workflows.iter_mut().find(|known| known.is(origin)) {
                Some(known) => known.names.push(&file.filename),
                None => workflows.push(Origin {
                    names: vec![&file.filename],
                    ..Origin::of(origin)
                }),
            }
        }
        for workflow in &mut workflows {
            workflow.files = phrase::counted(workflow.names.len() as u64, "file", "files");
        }
        Self {
            workflows,
            by_hand: (by_hand > 0).then(|| phrase::counted(by_hand, "file", "files")),
        }
    }

    /// Whether nothing came from a workflow.
    pub(super) fn is_unknown(&self) -> bool {
        self.workflows.is_empty()
    }

    /// Whether files came by different ways.
    pub(super) fn is_mixed(&self) -> bool {
        self.workflows.len() + usize::from(self.by_hand.is_some()) > 1
    }
}

/// Whether a link leads to the repository whose workflow published this very release: all that is served of it, so that
/// one file that came by another way can not borrow the good name of the rest.
pub(super) fn is_verified(files: &[FileDetail], link: &str) -> bool {
    let mut served = files
        .iter()
        .filter(|file| file.state == FileState::Live)
        .peekable();
    served.peek().is_some()
        && served.all(|file| {
            let source = file
                .origin
                .as_ref()
                .and_then(|origin| origin.source.as_ref());
            source.is_some_and(|source| source.verifies(link))
        })
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    const REPOSITORY: &str = "https://github.com/miriam/solstice";

    #[test]
    fn a_link_is_verified_only_where_every_served_file_comes_from_there() {
        let mut files = samples::traced_release().files;
        assert!(is_verified(&files, REPOSITORY));
        assert!(!is_verified(&files, "https://github.com/somebody/popular"));
        assert!(!is_verified(&[], REPOSITORY));
        // A file that nobody is served lends and takes nothing.
        files[1].origin = None;
        files[1].state = FileState::Removed;
        assert!(is_verified(&files, REPOSITORY));
        files[1].state = FileState::Live;
        assert!(!is_verified(&files, REPOSITORY));
    }

    #[test]
    fn files_of_one_run_are_told_together_and_those_by_hand_apart() {
        let mut files = samples::traced_release().files;
        let origins = Origins::of(&files);
        assert_eq!(origins.workflows.len(), 1);
        assert_eq!(origins.workflows[0].files, "3 files");
        assert!(origins.by_hand.is_none());
        files[2].origin = None;
        if let Some(origin) = &mut files[1].origin {
            origin
                .claims
                .insert("run_attempt".to_owned(), "2".to_owned());
        }
        let origins = Origins::of(&files);
        assert_eq!(origins.workflows.len(), 2);
        assert_eq!(origins.by_hand.as_deref(), Some("1 file"));
        assert!(Origins::of(&samples::release().files).is_unknown());
    }

    #[test]
    fn only_web_addresses_are_led_to() {
        let mut file = samples::traced_release().files.remove(0);
        let source = file.origin.as_mut().unwrap().source.as_mut().unwrap();
        source.run = Some("javascript:alert(1)".to_owned());
        source.repository = "http://github.com/miriam/solstice".to_owned();
        let origin = Origin::of(file.origin.as_ref().unwrap());
        assert!(origin.run.is_none() && origin.repository.is_none());
        assert!(origin.commit.unwrap().page.is_none());
    }

    #[test]
    fn refs_are_told_in_words() {
        assert_eq!(in_words("refs/tags/v4.2.0"), "tag v4.2.0");
        assert_eq!(in_words("refs/heads/main"), "branch main");
        assert_eq!(in_words("main"), "main");
    }
}
