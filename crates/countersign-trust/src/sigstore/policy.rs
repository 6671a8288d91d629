//! Whom a consumer allows to sign.

use serde::{Deserialize, Serialize};

use super::{Claim, Claims, Refusal, San, Step};
use crate::oidc::{Difference, escaped, fits};

/// One identity that may sign. What is `None` is not asked; the issuer always is, and one more thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// The issuer of the identity, byte for byte.
    pub issuer: String,
    /// The name in the certificate; `*` stands for any run of characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The repository: an `https` URL; ASCII letters may differ in case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The number of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository_id: Option<String>,
    /// The number of the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<String>,
    /// The workflow file, as a path in the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The ref; `*` stands for any run of characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The deployment environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

/// The identities that may sign: one of them is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdentityPolicy {
    /// The identities.
    pub allowed: Vec<Allowed>,
}

impl Allowed {
    /// What a certificate says, as an identity that allows it and what is like it: issuer, repository with its
    /// numbers and workflow file where it names a repository, else the name in the certificate. `None` where it names
    /// no issuer.
    pub fn of(claims: &Claims) -> Option<Self> {
        let issuer = claims.issuer()?.to_owned();
        let text = |claim| claims.get(claim).map(str::to_owned);
        let repository = claims.repository();
        Some(match (repository, claims.workflow()) {
            (Some(repository), Some((path, _))) => Self {
                issuer,
                repository: Some(repository),
                repository_id: text(Claim::SourceRepositoryIdentifier),
                owner_id: text(Claim::SourceRepositoryOwnerIdentifier),
                workflow: Some(path.to_owned()),
                ..Self::default()
            },
            _ => Self {
                issuer,
                subject: Some(claims.san.as_str().to_owned()),
                ..Self::default()
            },
        })
    }

    /// Whether it asks for more than an issuer, which alone lets everybody in that the issuer knows.
    pub fn is_specific(&self) -> bool {
        let names = |text: &str| !text.trim_matches('*').is_empty();
        self.subject.as_deref().is_some_and(names)
            || self.repository.is_some()
            || self.repository_id.is_some()
    }

    /// Compares all that is asked, row by row.
    pub fn compare(&self, claims: &Claims) -> Vec<Difference> {
        let mut rows = vec![row(
            "issuer",
            &self.issuer,
            claims.issuer(),
            |asked, seen| asked == seen,
        )];
        if let Some(asked) = &self.subject {
            let seen = match &claims.san {
                San::Uri(text) | San::Email(text) | San::Other(text) => text,
            };
            rows.push(row("subject", asked, Some(seen), fits));
        }
        let repository = claims.repository();
        if let Some(asked) = &self.repository {
            rows.push(row(
                "repository",
                asked,
                repository.as_deref(),
                |asked, seen| asked.trim_end_matches('/').eq_ignore_ascii_case(seen),
            ));
        }
        let exact = |asked: &str, seen: &str| asked == seen;
        let workflow = claims.workflow().map(|(path, _)| path);
        for (name, asked, seen) in [
            (
                "repository_id",
                &self.repository_id,
                claims.get(Claim::SourceRepositoryIdentifier),
            ),
            (
                "owner_id",
                &self.owner_id,
                claims.get(Claim::SourceRepositoryOwnerIdentifier),
            ),
            ("workflow", &self.workflow, workflow),
            (
                "environment",
                &self.environment,
                claims.get(Claim::DeploymentEnvironment),
            ),
        ] {
            if let Some(asked) = asked {
                rows.push(row(name, asked, seen, exact));
            }
        }
        if let Some(asked) = &self.reference {
            let seen = claims
                .get(Claim::SourceRepositoryRef)
                .or_else(|| claims.get(Claim::GithubRef));
            rows.push(row("reference", asked, seen, fits));
        }
        rows
    }
}

fn row(
    name: &str,
    asked: &str,
    seen: Option<&str>,
    same: impl Fn(&str, &str) -> bool,
) -> Difference {
    Difference {
        claim: name.to_owned(),
        expected: asked.to_owned(),
        seen: seen.map(escaped),
        matched: seen.is_some_and(|seen| same(asked, seen)),
        advice: None,
    }
}

impl IdentityPolicy {
    /// The identity that lets these claims in.
    ///
    /// # Errors
    ///
    /// At [`Step::Identity`] where none does, with the rows of the one that came nearest. An identity that asks for
    /// nothing but an issuer lets nobody in.
    pub fn judge(&self, claims: &Claims) -> Result<&Allowed, Refusal> {
        let mut nearest: Option<Vec<Difference>> = None;
        for allowed in self.allowed.iter().filter(|one| one.is_specific()) {
            let rows = allowed.compare(claims);
            if crate::oidc::matches(&rows) {
                return Ok(allowed);
            }
            let wrong = |rows: &[Difference]| rows.iter().filter(|row| !row.matched).count();
            if nearest
                .as_ref()
                .is_none_or(|best| wrong(&rows) < wrong(best))
            {
                nearest = Some(rows);
            }
        }
        let mut refusal = Refusal::new(
            Step::Identity,
            match nearest {
                Some(_) => "who signed is none of the identities that the policy allows",
                None => "the policy allows nobody",
            },
        )
        .seen(claims.san.as_str());
        refusal.differences = nearest.unwrap_or_default();
        Err(refusal)
    }
}
