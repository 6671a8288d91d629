//! The file in which a consumer writes down whom it expects to have built what it uses (`docs/spec/policy.md`).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Allowed, IdentityPolicy, PredicateKind};
use crate::leaf::{Scope, check_subject};
use crate::oidc::quoted;

/// The first line of every policy.
const FORMAT: &str = "countersign-policy/v1";
/// The longest policy that is read, in bytes.
pub const MAX_POLICY: usize = 8 << 20;
/// The most projects of one policy.
const MAX_PROJECTS: usize = 20_000;
/// The most signers of one project.
const MAX_SIGNERS: usize = 32;
/// The most patterns of private names.
const MAX_PRIVATE: usize = 1_000;
/// The longest text of one rule, in bytes.
const MAX_TEXT: usize = 1024;

/// Why a policy is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PolicyFileError(String);

/// What holds for projects that have no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unlisted {
    /// They are refused.
    #[default]
    Refuse,
    /// They pass unjudged, and that is shown.
    Pass,
}

/// What a project's files must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wanted {
    /// Attestations of the signers that are named.
    Required,
    /// Nothing: there was none when it was written down, and it is used nevertheless.
    None,
}

/// A kind of statement that must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// That the signer published the file.
    Publish,
    /// How it was built, by SLSA provenance.
    SlsaProvenance,
}

impl Said {
    /// The kind that a predicate is of, where it is one that a policy can ask for.
    pub fn of(kind: PredicateKind) -> Option<Self> {
        match kind {
            PredicateKind::IndexPublish => Some(Self::Publish),
            kind if kind.is_provenance() => Some(Self::SlsaProvenance),
            _ => None,
        }
    }

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::SlsaProvenance => "slsa-provenance",
        }
    }
}

/// The registry that a policy is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyRegistry {
    /// Its address, for people.
    pub url: String,
    /// Its log's origin: proofs of another log are not taken.
    pub origin: String,
}

/// What is expected of one project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectPolicy {
    /// The project, as a purl without a version.
    pub purl: String,
    /// What its files must have.
    pub provenance: Wanted,
    /// The kinds of statements that each file must have; one of any kind where none is named.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub statements: BTreeSet<Said>,
    /// Where it comes from instead of the registry: an address or repository, as the lock file writes it. Nothing of such a
    /// file is checked, so nothing is wanted of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Who may sign; one of them signs each attestation.
    #[serde(default, rename = "signer")]
    pub signers: IdentityPolicy,
}

/// Names that one registry alone may answer for: nobody else is asked for them, whether or not it has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivateNames {
    /// Purls of projects without a version; one that ends with `-*` or `/*` means all that begin so.
    pub names: Vec<String>,
    /// The origin of that registry's log.
    pub origin: String,
}

impl PrivateNames {
    fn has(&self, purl: &str) -> bool {
        self.names.iter().any(|name| match name.strip_suffix('*') {
            Some(prefix) => purl.len() > prefix.len() && purl.starts_with(prefix),
            None => name == purl,
        })
    }

    fn check(&self) -> Result<(), String> {
        if odd(&self.origin) {
            return Err("private names have no usable origin".to_owned());
        }
        if self.names.is_empty() {
            return Err("a table of private names has no name".to_owned());
        }
        for name in &self.names {
            let whole = match name.strip_suffix('*') {
                Some(prefix) if prefix.ends_with(['-', '/']) => format!("{prefix}x"),
                Some(_) => {
                    let name = quoted(name);
                    return Err(format!("{name}: a star stands after - or / alone"));
                }
                None => name.clone(),
            };
            match check_subject(&whole) {
                Ok(Scope::Project) => {}
                Ok(_) => return Err(format!("{} names more than projects", quoted(name))),
                Err(error) => return Err(format!("{}: {}", quoted(name), error.reason)),
            }
        }
        Ok(())
    }
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    format: String,
    /// What holds for projects that have no entry.
    #[serde(default)]
    pub unlisted: Unlisted,
    /// The registry that it is about; any, where it is not said.
    pub registry: Option<PolicyRegistry>,
    /// Names that come from one registry alone.
    #[serde(default)]
    pub private: Vec<PrivateNames>,
    /// The projects, by their purls.
    #[serde(default, rename = "project")]
    pub projects: Vec<ProjectPolicy>,
}

impl PolicyFile {
    /// A policy of these projects, sorted.
    ///
    /// # Errors
    /// As [`PolicyFile::parse`].
    pub fn new(
        registry: Option<PolicyRegistry>,
        mut projects: Vec<ProjectPolicy>,
    ) -> Result<Self, PolicyFileError> {
        projects.sort_by(|a, b| a.purl.cmp(&b.purl));
        let policy = Self {
            format: FORMAT.to_owned(),
            unlisted: Unlisted::Refuse,
            registry,
            private: Vec::new(),
            projects,
        };
        policy.check()?;
        Ok(policy)
    }

    /// Reads a policy.
    ///
    /// # Errors
    /// Too long, no TOML, another format, an unknown key or word, a project twice or not as a normal purl, a signer
    /// that lets in everybody whom an issuer knows, signers where none are wanted, none where they are.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyFileError> {
        if bytes.len() > MAX_POLICY {
            return fault(format!("it has more than {MAX_POLICY} bytes"));
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return fault("it is not UTF-8 text");
        };
        let policy: Self = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let place = line.map_or(String::new(), |line| format!("line {line}: "));
            PolicyFileError(crate::oidc::escaped(&format!("{place}{}", error.message())))
        })?;
        policy.check()?;
        Ok(policy)
    }

    /// What is expected of a project, by its purl.
    pub fn project(&self, purl: &str) -> Option<&ProjectPolicy> {
        self.projects.iter().find(|project| project.purl == purl)
    }

    /// The registry that alone may answer for a project, by its purl, where the policy names one.
    pub fn private(&self, purl: &str) -> Option<&PrivateNames> {
        self.private.iter().find(|names| names.has(purl))
    }

    fn check(&self) -> Result<(), PolicyFileError> {
        if self.format != FORMAT {
            return fault(format!(
                "it is of the format {}; known is {FORMAT}",
                quoted(&self.format)
            ));
        }
        if self.projects.len() > MAX_PROJECTS {
            return fault(format!("it has more than {MAX_PROJECTS} projects"));
        }
        if let Some(registry) = &self.registry
            && (registry.origin.is_empty() || registry.url.len() + registry.origin.len() > MAX_TEXT)
        {
            return fault("its registry has no usable origin or address");
        }
        let patterns = self.private.iter().map(|private| private.names.len());
        if patterns.sum::<usize>() > MAX_PRIVATE {
            return fault(format!("it has more than {MAX_PRIVATE} private names"));
        }
        for private in &self.private {
            private.check().map_err(PolicyFileError)?;
        }
        let mut seen = BTreeSet::new();
        for project in &self.projects {
            project
                .check()
                .map_err(|why| PolicyFileError(format!("{}: {why}", quoted(&project.purl))))?;
            if !seen.insert(project.purl.as_str()) {
                return fault(format!("{} stands in it twice", quoted(&project.purl)));
            }
        }
        Ok(())
    }

    /// The policy as a file for people: each project with what is expected of it, and what a reader must know.
    pub fn render(&self) -> String {
        let mut text = String::from(
            "# Whom this program expects to have built what it uses. Written by `countersign policy init` from what was\n\
             # there on that day: trust on first use. Read it, correct it, keep it beside the lock file under version control.\n\
             #\n\
             #   provenance = \"required\"   every file must have attestations, each signed by one of the signers below\n\
             #   provenance = \"none\"       there was none; the file is only held against the log and the lock file's digests\n\
             #\n\
             # Provenance says where and by what a file was built. It is no judgement of the code.\n\n",
        );
        text.push_str(&format!("format = {}\n", literal(FORMAT)));
        text.push_str("# Projects without an entry: \"refuse\" or \"pass\".\n");
        text.push_str(match self.unlisted {
            Unlisted::Refuse => "unlisted = \"refuse\"\n",
            Unlisted::Pass => "unlisted = \"pass\"\n",
        });
        if let Some(registry) = &self.registry {
            text.push_str(&format!(
                "\n[registry]\nurl = {}\norigin = {}\n",
                literal(&registry.url),
                literal(&registry.origin)
            ));
        }
        for private in &self.private {
            let names: Vec<String> = private.names.iter().map(|name| literal(name)).collect();
            text.push_str(&format!(
                "\n# From that registry alone, and from nowhere where it has them not.\n[[private]]\nnames = [{}]\norigin = {}\n",
                names.join(", "),
                literal(&private.origin)
            ));
        }
        for project in &self.projects {
            project.render(&mut text);
        }
        text
    }
}

fn fault<T>(why: impl Into<String>) -> Result<T, PolicyFileError> {
    Err(PolicyFileError(why.into()))
}

/// A text as TOML writes it.
fn literal(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn odd(text: &str) -> bool {
    text.is_empty() || text.len() > MAX_TEXT || text.contains(char::is_control)
}

/// The rules of a signer by the names that they have in the file.
fn rules(signer: &Allowed) -> [(&'static str, Option<&String>); 8] {
    [
        ("issuer", Some(&signer.issuer)),
        ("subject", signer.subject.as_ref()),
        ("repository", signer.repository.as_ref()),
        ("repository_id", signer.repository_id.as_ref()),
        ("owner_id", signer.owner_id.as_ref()),
        ("workflow", signer.workflow.as_ref()),
        ("reference", signer.reference.as_ref()),
        ("environment", signer.environment.as_ref()),
    ]
}

impl ProjectPolicy {
    fn check(&self) -> Result<(), String> {
        match check_subject(&self.purl) {
            Ok(Scope::Project) => {}
            Ok(_) => return Err("it names more than a project".to_owned()),
            Err(error) => return Err(error.reason.to_owned()),
        }
        let signers = &self.signers.allowed;
        match self.provenance {
            Wanted::None if !signers.is_empty() || !self.statements.is_empty() => {
                return Err("it wants no provenance, and names who signs it".to_owned());
            }
            Wanted::Required if signers.is_empty() => {
                return Err("it wants provenance, and names nobody who may sign".to_owned());
            }
            Wanted::Required if self.from.is_some() => {
                return Err("it wants provenance of what comes from past the registry".to_owned());
            }
            Wanted::Required | Wanted::None => {}
        }
        if self.from.as_ref().is_some_and(|from| odd(from)) {
            return Err("its origin is empty or no plain text".to_owned());
        }
        if signers.len() > MAX_SIGNERS {
            return Err(format!("it has more than {MAX_SIGNERS} signers"));
        }
        for signer in signers {
            if signer.issuer.is_empty() || !signer.is_specific() {
                return Err(
                    "a signer needs an issuer, and a subject, repository or repository_id"
                        .to_owned(),
                );
            }
            for (name, value) in rules(signer) {
                if value.is_some_and(|text| odd(text)) {
                    return Err(format!("the {name} of a signer is empty or no plain text"));
                }
            }
        }
        Ok(())
    }

    fn render(&self, text: &mut String) {
        text.push_str(&format!("\n[[project]]\npurl = {}\n", literal(&self.purl)));
        match self.provenance {
            Wanted::None => text
                .push_str("provenance = \"none\"   # nothing says where it was built or by whom\n"),
            Wanted::Required => text.push_str("provenance = \"required\"\n"),
        }
        if let Some(from) = &self.from {
            text.push_str(&format!(
                "from = {}   # past the registry: nothing of it is checked\n",
                literal(from)
            ));
        }
        if !self.statements.is_empty() {
            let words: Vec<String> = self
                .statements
                .iter()
                .map(|said| literal(said.as_str()))
                .collect();
            text.push_str(&format!("statements = [{}]\n", words.join(", ")));
        }
        for signer in &self.signers.allowed {
            text.push_str("\n[[project.signer]]\n");
            for (name, value) in rules(signer) {
                if let Some(value) = value {
                    text.push_str(&format!("{name} = {}\n", literal(value)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> PolicyFile {
        let signer = Allowed {
            issuer: "https://token.example".to_owned(),
            repository: Some("https://git.example/octo/\"sample\"".to_owned()),
            repository_id: Some("74001".to_owned()),
            workflow: Some(".ci/release.yml".to_owned()),
            ..Allowed::default()
        };
        PolicyFile::new(
            Some(PolicyRegistry {
                url: "https://packages.example".to_owned(),
                origin: "packages.example/log/1".to_owned(),
            }),
            vec![
                ProjectPolicy {
                    purl: "pkg:pypi/sample".to_owned(),
                    provenance: Wanted::Required,
                    statements: [Said::Publish, Said::SlsaProvenance].into(),
                    from: None,
                    signers: IdentityPolicy {
                        allowed: vec![signer],
                    },
                },
                ProjectPolicy {
                    purl: "pkg:npm/%40scope/bare".to_owned(),
                    provenance: Wanted::None,
                    statements: BTreeSet::new(),
                    from: Some("https://git.example/bare?rev=1#abc".to_owned()),
                    signers: IdentityPolicy::default(),
                },
            ],
        )
        .unwrap()
    }

    #[test]
    fn a_rendered_policy_is_read_as_it_was() {
        let policy = sample();
        let text = policy.render();
        assert_eq!(PolicyFile::parse(text.as_bytes()).unwrap(), policy);
        assert!(text.contains("trust on first use"), "{text}");
        assert!(policy.project("pkg:pypi/sample").is_some());
        assert!(policy.project("pkg:pypi/Sample").is_none());
    }

    #[test]
    fn the_example_of_the_specification_is_a_policy() {
        let page = include_str!("../../../../docs/spec/policy.md");
        let example = page
            .split("```")
            .find_map(|part| part.strip_prefix("toml\n"));
        let policy = PolicyFile::parse(example.unwrap().as_bytes()).unwrap();
        assert_eq!(policy.projects.len(), 3);
        let again = PolicyFile::parse(policy.render().as_bytes()).unwrap();
        assert_eq!(again, policy);
    }

    #[test]
    fn private_names_are_those_that_a_pattern_means_and_no_others() {
        let policy = |names: &str| {
            let text = format!(
                "format = \"countersign-policy/v1\"\n[[private]]\nnames = {names}\norigin = \"packages.example/log/1\"\n"
            );
            PolicyFile::parse(text.as_bytes())
        };
        let good =
            policy("[\"pkg:pypi/acme\", \"pkg:pypi/acme-*\", \"pkg:npm/%40acme/*\"]").unwrap();
        for purl in ["pkg:pypi/acme", "pkg:pypi/acme-tools", "pkg:npm/%40acme/x"] {
            assert_eq!(
                good.private(purl).unwrap().origin,
                "packages.example/log/1",
                "{purl}"
            );
        }
        for purl in [
            "pkg:pypi/acmecorp",
            "pkg:cargo/acme",
            "pkg:npm/%40acmecorp/x",
            "pkg:pypi/acme-",
        ] {
            assert!(good.private(purl).is_none(), "{purl}");
        }
        for names in [
            "[]",
            "[\"pkg:pypi/acme*\"]",
            "[\"*\"]",
            "[\"pkg:*\"]",
            "[\"pkg:pypi/Acme-*\"]",
            "[\"pkg:pypi/acme@1.0\"]",
            "[\"acme-*\"]",
            "\"pkg:pypi/acme\"",
        ] {
            assert!(policy(names).is_err(), "{names}");
        }
        assert_eq!(PolicyFile::parse(good.render().as_bytes()).unwrap(), good);
    }

    #[test]
    fn what_is_not_understood_whole_is_not_used() {
        let good = sample().render();
        for (from, to) in [
            ("format = ", "fromat = "),
            ("countersign-policy/v1", "countersign-policy/v2"),
            ("unlisted = \"refuse\"", "unlisted = \"ignore\""),
            (
                "unlisted = \"refuse\"",
                "unlisted = \"refuse\"\nallow_all = true",
            ),
            ("origin = ", "orgin = "),
            ("packages.example/log/1", ""),
            ("pkg:pypi/sample", "pkg:pypi/Sample"),
            ("pkg:pypi/sample", "pkg:pypi/sample@1.0"),
            ("pkg:pypi/sample", "sample"),
            ("pkg:pypi/sample", "pkg:npm/%40scope/bare"),
            ("provenance = \"required\"\n", ""),
            ("provenance = \"required\"\n", "provenance = \"none\"\n"),
            ("provenance = \"none\"  ", "provenance = \"required\"  "),
            ("\"slsa-provenance\"", "\"anything\""),
            ("repository_id = \"74001\"", "repo_id = \"74001\""),
            ("repository_id = \"74001\"", "repository_id = 74001"),
            ("repository_id = \"74001\"", "repository_id = \"\""),
            ("issuer = \"https://token.example\"\n", ""),
        ] {
            assert!(good.contains(from), "{from}");
            // Only what stands below the comments.
            let (head, body) = good.split_once("\n\n").unwrap();
            let bad = format!("{head}\n\n{}", body.replacen(from, to, 1));
            assert!(PolicyFile::parse(bad.as_bytes()).is_err(), "{from} -> {to}");
        }
        let nobody = good
            .lines()
            .filter(|line| {
                !["repository", "workflow"]
                    .iter()
                    .any(|name| line.starts_with(name))
            })
            .collect::<Vec<_>>()
            .join("\n");
        let error = PolicyFile::parse(nobody.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("a signer needs"), "{error}");
        assert!(PolicyFile::parse(&[0xff, 0x00]).is_err());
        assert!(PolicyFile::parse(&vec![b'\n'; MAX_POLICY + 1]).is_err());
        let error = PolicyFile::parse(b"format = \"countersign-policy/v1\"\nx\n").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
