//! The commands of trusted publishing: issuers, publishers, and the small language of claim rules.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use countersign_registry::oidc::{Provider, Refused, Rule};

use super::{ProjectName, Stores};

/// `admin issuer …`
#[derive(Debug, Subcommand)]
pub enum Issuer {
    /// Take tokens of an issuer: a GitLab or GitHub Enterprise of your own, or any other OpenID Connect provider.
    ///
    /// Its discovery document and keys are fetched first, so an issuer that does not work is refused at once. An issuer
    /// is trusted with a lot: whoever runs it can publish to every project that has a publisher there.
    #[command(after_help = "Examples:
  countersignd admin issuer add our-gitlab --url https://gitlab.example.org --preset gitlab
  countersignd admin issuer add our-github --url https://github.example.org/_services/token --preset github --ca ca.pem
  countersignd admin issuer add builds --url https://id.example.org/realms/ci")]
    Add {
        /// A short name of your choice, by which publishers refer to it.
        name: String,
        /// Its URL, exactly as the claim `iss` of its tokens has it.
        #[arg(long, value_name = "URL")]
        url: String,
        /// Which provider's claims its tokens carry: github, gitlab, google, circleci, buildkite, forgejo, activestate
        /// or generic.
        #[arg(long, value_name = "PROVIDER", default_value = "generic", value_parser = provider)]
        preset: Provider,
        /// Certificate authority in PEM, for an issuer whose certificate no public authority signed.
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// List the issuers whose tokens are taken, the built-in ones too.
    List(Stores),
    /// Take no more tokens of an issuer. Its publishers can no longer publish.
    ///
    /// A built-in issuer is switched off in the configuration: trusted_publishing.builtin_issuers.
    Remove {
        /// Its name.
        name: String,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// A publisher of a project on the command line.
#[derive(Args, Clone, Debug)]
pub struct PublisherName {
    /// The project.
    #[command(flatten)]
    pub project: ProjectName,
    /// The publisher's id, as `publisher list` shows it.
    pub id: String,
}

/// `admin publisher …`
#[derive(Debug, Subcommand)]
pub enum Publisher {
    /// Let a workflow publish a project, without a stored secret.
    #[command(after_help = "\
Examples:
  countersignd admin publisher add mypackage --issuer github --owner octo --repository sample --workflow release.yml \\
      --environment release
  countersignd admin publisher add mypackage --issuer gitlab --field namespace=group --field project=sample \\
      --field workflow=.gitlab-ci.yml
  countersignd admin publisher add newpackage --issuer github --owner octo --repository sample --workflow release.yml \\
      --pending-for ada          the project does not exist yet; its first release makes it, and ada owns it
  countersignd admin publisher add tool --issuer builds --claim 'sub=service:release' --claim 'ref~refs/tags/v*'

Which fields an issuer's provider asks for: countersignd admin publisher fields [PROVIDER]

Claim rules, for what no field covers:
  --claim 'NAME=VALUE'         the claim is exactly VALUE
  --claim 'NAME=ONE|TWO'       it is exactly one of these
  --claim 'NAME~PATTERN'       it fits PATTERN, in which * is any run of characters
  --claim 'NAME!=ONE|TWO'      where the claim is there, it fits none of these patterns
A token that lacks a claim of the first three kinds is refused.")]
    Add(Box<NewPublisherFlags>),
    /// List the publishers of a project; without one, all pending publishers.
    List {
        /// ECOSYSTEM:PROJECT, or just PROJECT for pypi.
        #[arg(value_name = "PROJECT", value_parser = super::project)]
        project: Option<(countersign_formats::Ecosystem, String)>,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Show what each provider asks for when a publisher is registered.
    Fields {
        /// Only this provider.
        #[arg(value_name = "PROVIDER", value_parser = provider)]
        provider: Option<Provider>,
    },
    /// Ask issuer and provider again whether a publisher is as it was registered. Exit code 4 when it is not.
    Check {
        /// Which.
        #[command(flatten)]
        publisher: PublisherName,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Say rule by rule whether an identity token would be let in, and what to change. The token is not used up.
    /// Exit code 4 when it would be refused.
    #[command(after_help = "Example:
  countersignd admin publisher test mypackage --token-file token.jwt")]
    Test {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// A file that holds the token, or - for standard input. Not an argument, because those are seen by others.
        #[arg(long, value_name = "FILE|-")]
        token_file: PathBuf,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Take a publisher away. Tokens that were minted for it stop at once.
    Remove {
        /// Which.
        #[command(flatten)]
        publisher: PublisherName,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
    /// Show the last exchanges that were refused, claim by claim.
    Failures {
        /// The project.
        #[command(flatten)]
        project: ProjectName,
        /// Where database and blobs are.
        #[command(flatten)]
        stores: Stores,
    },
}

/// Options of `admin publisher add`.
#[derive(Args, Debug)]
pub struct NewPublisherFlags {
    /// The project.
    #[command(flatten)]
    pub project: ProjectName,
    /// The issuer: its name in `issuer list`, its URL, or the word for a built-in one (github, gitlab, …).
    #[arg(long, value_name = "NAME")]
    pub issuer: String,
    /// User or organisation that owns the repository.
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    /// The repository's name.
    #[arg(long, value_name = "NAME")]
    pub repository: Option<String>,
    /// The workflow file that is started, such as release.yml.
    #[arg(long, value_name = "FILE")]
    pub workflow: Option<String>,
    /// The reusable workflow that it calls and that asks for the token: OWNER/REPOSITORY/PATH[@REF].
    #[arg(long, value_name = "WORKFLOW")]
    pub called_workflow: Option<String>,
    /// The deployment environment of the job. Recommended: its protection rules decide who may release.
    #[arg(long, value_name = "NAME")]
    pub environment: Option<String>,
    /// Pattern of branches or tags, such as refs/tags/v*.
    #[arg(long = "ref", value_name = "PATTERN")]
    pub reference: Option<String>,
    /// Which runners may do it: github-hosted, self-hosted or any.
    #[arg(long, value_name = "KIND")]
    pub runner: Option<String>,
    /// Any field by its name; again for each.
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field)]
    pub fields: Vec<(String, String)>,
    /// A further rule about a claim of the token; again for each.
    #[arg(long = "claim", value_name = "RULE")]
    pub claims: Vec<Rule>,
    /// The project does not exist yet: this user owns it once the first release makes it.
    #[arg(long, value_name = "USER")]
    pub pending_for: Option<String>,
    /// Where database and blobs are.
    #[command(flatten)]
    pub stores: Stores,
}

impl NewPublisherFlags {
    /// The fields that were given, by flags of their own or by `--field`; `Err` names one that was given twice.
    pub fn fields(&self) -> Result<std::collections::BTreeMap<String, String>, String> {
        let named = [
            ("owner", &self.owner),
            ("repository", &self.repository),
            ("workflow", &self.workflow),
            ("called_workflow", &self.called_workflow),
            ("environment", &self.environment),
            ("ref", &self.reference),
            ("runner", &self.runner),
        ];
        let mut fields = std::collections::BTreeMap::new();
        let given = named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
            .chain(self.fields.iter().cloned());
        for (name, value) in given {
            if fields.insert(name.clone(), value).is_some() {
                return Err(name);
            }
        }
        Ok(fields)
    }
}

fn provider(text: &str) -> Result<Provider, String> {
    text.parse().map_err(|refused: Refused| refused.to_string())
}

pub(super) fn field(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
