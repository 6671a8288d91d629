//! What an operator, or whoever assesses a foreign registry, says of it: a TOML file.
//!
//! It says where things are and what kind of registry this is. What it claims counts as little as its kind allows: a
//! document is fetched and read, a delegation names its evidence, an attestation has a date and ends within a year.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::principles::{self, Applies};

/// The largest profile, in bytes.
pub const MOST: usize = 256 << 10;

/// An attestation or a delegation counts for at most this long.
const LONGEST: i64 = 366 * 86_400;

/// What a registry takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accepts {
    /// Built packages.
    #[default]
    Built,
    /// Sources that it builds itself.
    Builds,
    /// Links to sources, nothing else.
    Source,
}

/// Which kind of registry this is; it decides which checks apply.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Taxonomy {
    /// Are there accounts of its own?
    pub accounts: bool,
    /// What does it take?
    pub accepts: Accepts,
    /// Does the ecosystem have a command-line client?
    pub tooling: bool,
}

impl Default for Taxonomy {
    fn default() -> Self {
        Self {
            accounts: true,
            accepts: Accepts::Built,
            tooling: true,
        }
    }
}

impl Taxonomy {
    /// Does a check apply to it?
    pub fn applies(&self, applies: Applies) -> bool {
        match applies {
            Applies::All => true,
            Applies::Accounts => self.accounts,
            Applies::Built => self.accounts && self.accepts == Accepts::Built,
            Applies::Tooling => self.tooling,
        }
    }
}

/// Where things are: paths of the registry, or whole addresses.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Places {
    /// The page to sign in.
    pub sign_in: Option<String>,
    /// A discovery document or audience of trusted publishing.
    pub trusted_publishing: Option<String>,
    /// A document of a secret scanner that names this registry's token prefix.
    pub token_pattern: Option<String>,
    /// The prefix itself.
    pub token_prefix: Option<String>,
    /// Attestations of a package that is known to have some.
    pub attestation: Option<String>,
    /// The page of some package.
    pub package_page: Option<String>,
    /// The page of a package that is known to have, or to depend on, a vulnerable release.
    pub vulnerable_page: Option<String>,
    /// An OpenAPI description, or the documentation of the API of reports.
    pub report_api: Option<String>,
    /// The checkpoint of the log (C2SP tlog-checkpoint).
    pub log_checkpoint: Option<String>,
    /// A log, journal or feed of events without proofs.
    pub event_feed: Option<String>,
    /// The feed of malware advisories: a JSON list or one record in OSV's form.
    pub osv_feed: Option<String>,
    /// A file that will not change.
    pub file: Option<String>,
    /// SHA-256 of that file when it was first seen, hex.
    pub file_sha256: Option<String>,
}

/// A document that says that something holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Where: a path of the registry, or a whole address.
    pub at: String,
    /// Words that must stand in it, in any case.
    #[serde(default)]
    pub words: Vec<String>,
    /// Who read it and found that it says so.
    pub read_by: Option<String>,
    /// When, as a date.
    pub read: Option<String>,
}

/// A demand that somebody else meets, such as an identity provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// Who.
    pub to: String,
    /// Evidence about them.
    pub link: String,
    /// When it was looked at.
    pub date: String,
}

/// The operator's word.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attestation {
    /// The check.
    pub check: String,
    /// What is attested, in a sentence.
    pub statement: String,
    /// Who attests it.
    pub who: String,
    /// When, as a date.
    pub date: String,
    /// Where it can be read.
    pub link: String,
    /// Until when it counts, at most twelve months after its date.
    pub until: Option<String>,
}

impl Attestation {
    /// When it ends, in seconds since 1970.
    pub fn ends(&self) -> Option<i64> {
        let begin = crate::seconds(&self.date)?;
        let longest = begin + LONGEST;
        match &self.until {
            None => Some(longest),
            Some(until) => Some(crate::seconds(until)?.min(longest)),
        }
    }
}

/// The profile.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// The registry's name.
    pub name: Option<String>,
    /// What kind it is.
    pub taxonomy: Taxonomy,
    /// Where things are.
    pub places: Places,
    /// Documents, by check.
    pub documents: BTreeMap<String, Document>,
    /// Delegations, by check.
    pub delegated: BTreeMap<String, Delegation>,
    /// Attestations.
    pub attestations: Vec<Attestation>,
}

/// Why a profile is refused. Displays with the value and the way out.
#[derive(Debug, thiserror::Error)]
pub enum BadProfile {
    /// Larger than [`MOST`].
    #[error("The profile has {0} bytes; it may have {MOST}.")]
    TooLarge(usize),
    /// No TOML, or keys that do not belong here.
    #[error("The profile can not be read: {0}.")]
    Syntax(String),
    /// A check that there is not.
    #[error(
        "The profile names the check {0:?}, which there is not; `countersign assess explain` lists them."
    )]
    NoSuchCheck(String),
    /// A date that is none.
    #[error("{0}: {1:?} is no date; write 2026-11-22.")]
    Date(String, String),
    /// An attestation for what must be shown otherwise.
    #[error("{0} can not be attested: it is shown by {1}.")]
    NotAttestable(String, String),
    /// A link that is none.
    #[error("{0}: {1:?} is no https:// address.")]
    Link(String, String),
    /// An empty word where one is needed.
    #[error("{0} of the attestation for {1} is empty.")]
    Empty(&'static str, String),
    /// An attestation that is dated after now.
    #[error("The attestation for {0} is dated {1}, which is yet to come.")]
    Future(String, String),
}

impl Profile {
    /// Reads a profile. `now` in seconds since 1970: nothing may be dated after it.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(text: &str, now: i64) -> Result<Self, BadProfile> {
        if text.len() > MOST {
            return Err(BadProfile::TooLarge(text.len()));
        }
        let profile: Self =
            toml::from_str(text).map_err(|error| BadProfile::Syntax(error.message().to_owned()))?;
        let known = |id: &str| {
            principles::find(id)
                .filter(|check| check.id == id)
                .ok_or_else(|| BadProfile::NoSuchCheck(id.to_owned()))
        };
        let date = |of: &str, text: &str| {
            crate::seconds(text).ok_or_else(|| BadProfile::Date(of.to_owned(), text.to_owned()))
        };
        let link = |of: &str, text: &str| match Url::parse(text) {
            Ok(url) if url.scheme() == "https" => Ok(()),
            _ => Err(BadProfile::Link(of.to_owned(), text.to_owned())),
        };
        for (id, document) in &profile.documents {
            known(id)?;
            if let Some(read) = &document.read {
                date(id, read)?;
            }
        }
        for (id, delegation) in &profile.delegated {
            known(id)?;
            date(id, &delegation.date)?;
            link(id, &delegation.link)?;
        }
        for attestation in &profile.attestations {
            let check = known(&attestation.check)?;
            let id = check.id.clone();
            if !check.grades.contains(&principles::Grade::Attestation) {
                let grades: Vec<&str> = check.grades.iter().map(|grade| grade.words()).collect();
                return Err(BadProfile::NotAttestable(id, grades.join(" or ")));
            }
            for (what, text) in [
                ("who", &attestation.who),
                ("statement", &attestation.statement),
            ] {
                if text.trim().is_empty() {
                    return Err(BadProfile::Empty(what, id));
                }
            }
            link(&id, &attestation.link)?;
            if date(&id, &attestation.date)? > now {
                return Err(BadProfile::Future(id, attestation.date.clone()));
            }
            if let Some(until) = &attestation.until {
                date(&id, until)?;
            }
        }
        Ok(profile)
    }

    /// The profile of a Countersign registry: its places are the same everywhere.
    #[must_use]
    pub fn countersign() -> Self {
        let at = |text: &str| Some(text.to_owned());
        let places = Places {
            sign_in: at("/sign-in"),
            trusted_publishing: at("/_/oidc/audience"),
            token_prefix: at("csgn_"),
            report_api: at("/api/v1/openapi.json"),
            log_checkpoint: at("/log/1/checkpoint"),
            osv_feed: at("/osv/modified_id.csv"),
            ..Places::default()
        };
        let recovery = Document {
            at: "/policies/account-recovery".to_owned(),
            words: vec!["recover".to_owned(), "proof".to_owned()],
            read_by: None,
            read: None,
        };
        Self {
            name: at("Countersign"),
            places,
            documents: [("AN1.2".to_owned(), recovery)].into(),
            ..Self::default()
        }
    }

    /// This profile, with what it does not say taken from another one.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        fn fill<T>(one: &mut Option<T>, other: Option<T>) {
            if one.is_none() {
                *one = other;
            }
        }
        fill(&mut self.name, other.name);
        let (own, others) = (&mut self.places, other.places);
        fill(&mut own.sign_in, others.sign_in);
        fill(&mut own.trusted_publishing, others.trusted_publishing);
        fill(&mut own.token_pattern, others.token_pattern);
        fill(&mut own.token_prefix, others.token_prefix);
        fill(&mut own.attestation, others.attestation);
        fill(&mut own.package_page, others.package_page);
        fill(&mut own.vulnerable_page, others.vulnerable_page);
        fill(&mut own.report_api, others.report_api);
        fill(&mut own.log_checkpoint, others.log_checkpoint);
        fill(&mut own.event_feed, others.event_feed);
        fill(&mut own.osv_feed, others.osv_feed);
        fill(&mut own.file, others.file);
        fill(&mut own.file_sha256, others.file_sha256);
        for (id, document) in other.documents {
            self.documents.entry(id).or_insert(document);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_000_000;

    fn refused(text: &str) -> String {
        Profile::parse(text, NOW).unwrap_err().to_string()
    }

    fn attested(check: &str, date: &str, link: &str) -> String {
        format!(
            "[[attestations]]\ncheck = {check:?}\nstatement = \"Keys were sent.\"\nwho = \"Ada\"\ndate = {date:?}\nlink = {link:?}\n"
        )
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(refused("[places]\nnowhere = \"x\"").contains("nowhere"));
        assert!(refused("[documents.\"XX1\"]\nat = \"/\"").contains("\"XX1\""));
        let good = "https://example.org/keys";
        Profile::parse(&attested("AN3.3b", "2026-10-01", good), NOW).unwrap();
        assert!(refused(&attested("AN3.3b", "October", good)).contains("October"));
        assert!(refused(&attested("AN3.3b", "2026-12-24", good)).contains("yet to come"));
        assert!(refused(&attested("AN3.3b", "2026-10-01", "ftp://x")).contains("ftp://x"));
        assert!(refused(&attested("AN1.3", "2026-10-01", good)).contains("canary"));
        assert!(refused(&"x".repeat(MOST + 1)).contains("may have"));
    }

    #[test]
    fn an_attestation_ends_after_a_year_at_the_latest() {
        let text = attested("AN3.3b", "2026-01-01", "https://example.org/x");
        let profile = Profile::parse(&format!("{text}until = \"2031-01-01\"\n"), NOW).unwrap();
        let ends = profile.attestations[0].ends().unwrap();
        assert_eq!(crate::timestamp(ends), "2027-01-02T00:00:00Z");
    }

    #[test]
    fn seeds_of_the_fuzz_target_are_read() {
        Profile::parse(include_str!("../../../fuzz/seeds/assess/profile"), NOW).unwrap();
        let consent = include_bytes!("../../../fuzz/seeds/assess/consent");
        crate::run::consents(consent, "a token of sixteen characters", NOW).unwrap();
        let earlier = include_bytes!("../../../fuzz/seeds/assess/earlier");
        crate::assessment::Assessment::parse(earlier).unwrap();
    }

    #[test]
    fn the_kind_of_registry_decides_what_applies() {
        let proxy = Taxonomy {
            accounts: false,
            ..Taxonomy::default()
        };
        assert!(!proxy.applies(Applies::Accounts) && !proxy.applies(Applies::Built));
        assert!(proxy.applies(Applies::All) && proxy.applies(Applies::Tooling));
        let sources = Taxonomy {
            accepts: Accepts::Source,
            ..Taxonomy::default()
        };
        assert!(sources.applies(Applies::Accounts) && !sources.applies(Applies::Built));
    }
}
