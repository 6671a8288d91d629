//! Which source a release was built from, and which links are that source.
//!
//! Anybody can write the address of a famous repository into a package's metadata ("star-jacking"). A link is only
//! verified where it is the repository that the claims of the very release name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use url::Url;

use super::Provider;
use super::preset::{environment, pages};

/// Where a file was built, as the claims of its publisher say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The CI system.
    pub provider: Provider,
    /// The repository: an `https` URL without a final slash.
    pub repository: String,
    /// The commit that was built.
    pub commit: Option<String>,
    /// The ref, as `refs/tags/v1`.
    pub reference: Option<String>,
    /// The workflow file, as a path in the repository.
    pub workflow: Option<String>,
    /// The run or job: an `https` URL.
    pub run: Option<String>,
    /// The deployment environment.
    pub environment: Option<String>,
}

/// Software that shows repositories, by how it names the pages of a commit and of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Forge {
    /// GitHub, also GitHub Enterprise.
    Github,
    /// GitLab, also self-managed.
    Gitlab,
    /// Forgejo, as Codeberg.
    Forgejo,
}

impl Forge {
    /// The forge of a repository that an issuer vouches for. `None` unless the repository is on that issuer's own pages
    /// or, for CI systems that keep no repositories, on one of the well-known public forges: an address that is merely
    /// signed says neither what software answers there nor that anybody should be sent there. `None` too for another
    /// port than that of HTTPS, and for hosts without a name.
    pub fn of(provider: Provider, issuer: &str, repository: &str) -> Option<Self> {
        const PUBLIC: [(&str, Forge); 3] = [
            ("github.com", Forge::Github),
            ("gitlab.com", Forge::Gitlab),
            ("codeberg.org", Forge::Forgejo),
        ];
        let url = Url::parse(repository).ok()?;
        let host = url.domain()?;
        if !super::keys::plain_https(&url) || url.port().is_some() {
            return None;
        }
        let own = match provider {
            Provider::Github => Self::Github,
            Provider::Gitlab => Self::Gitlab,
            Provider::Forgejo => Self::Forgejo,
            _ => {
                return PUBLIC
                    .into_iter()
                    .find_map(|(known, forge)| (host == known).then_some(forge));
            }
        };
        repository
            .strip_prefix(&pages(provider, issuer)?)
            .is_some_and(|rest| rest.starts_with('/'))
            .then_some(own)
    }

    /// The page of a commit.
    pub fn commit(self, repository: &str, commit: &str) -> String {
        match self {
            Self::Gitlab => format!("{repository}/-/commit/{commit}"),
            Self::Github | Self::Forgejo => format!("{repository}/commit/{commit}"),
        }
    }

    /// The page of a file at a commit; `None` for paths that could lead out of the repository or into a query.
    pub fn file(self, repository: &str, commit: &str, path: &str) -> Option<String> {
        let plain = !path.is_empty()
            && path
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
            && !path.split('/').any(|part| part == "." || part == "..");
        plain.then(|| match self {
            Self::Github => format!("{repository}/blob/{commit}/{path}"),
            Self::Gitlab => format!("{repository}/-/blob/{commit}/{path}"),
            Self::Forgejo => format!("{repository}/src/commit/{commit}/{path}"),
        })
    }
}

/// Reads the source from a claims snapshot. `None` where the provider's claims name no repository (Google Cloud,
/// Buildkite, ActiveState, other issuers), or none that can be linked.
pub fn source(
    provider: Provider,
    issuer: &str,
    claims: &BTreeMap<String, String>,
) -> Option<Source> {
    let claim = |name: &str| claims.get(name).filter(|text| !text.is_empty());
    let repository = match provider {
        Provider::Github | Provider::Forgejo => {
            format!("{}/{}", pages(provider, issuer)?, claim("repository")?)
        }
        Provider::Gitlab => format!("{}/{}", pages(provider, issuer)?, claim("project_path")?),
        Provider::Circleci => format!("https://{}", claim("oidc.circleci.com/vcs-origin")?),
        _ => return None,
    };
    // Built from signed claims, but a link on a public page must be plain whatever the issuer signs.
    let read = Url::parse(&repository).ok()?;
    let plain = super::keys::plain_https(&read) && !repository.contains(['?', '#']);
    if !plain || read.as_str() != repository {
        return None;
    }
    let number =
        |name: &str| claim(name).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let (commit, reference, file, run) = match provider {
        Provider::Github => (
            claim("sha"),
            claim("ref"),
            claim("workflow_ref"),
            number("run_id").map(|run| match number("run_attempt") {
                Some(attempt) => format!("{repository}/actions/runs/{run}/attempts/{attempt}"),
                None => format!("{repository}/actions/runs/{run}"),
            }),
        ),
        Provider::Forgejo => (
            claim("sha"),
            claim("ref"),
            claim("workflow_ref"),
            number("run_number").map(|run| format!("{repository}/actions/runs/{run}")),
        ),
        Provider::Gitlab => (
            claim("sha"),
            claim("ref_path").or_else(|| claim("ref")),
            claim("ci_config_ref_uri"),
            number("job_id").map(|job| format!("{repository}/-/jobs/{job}")),
        ),
        _ => (None, claim("oidc.circleci.com/vcs-ref"), None, None),
    };
    let is_commit = |text: &&String| {
        matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    Some(Source {
        provider,
        commit: commit.filter(is_commit).cloned(),
        reference: reference.cloned(),
        workflow: file.and_then(|file| workflow_path(provider, file)),
        run,
        environment: environment(provider, claims),
        repository,
    })
}

/// The path in the repository of `OWNER/REPOSITORY/PATH@REF`, or GitLab's `HOST/PROJECT//PATH@REF`.
fn workflow_path(provider: Provider, file: &str) -> Option<String> {
    let file = file.split('@').next()?;
    let path = match provider {
        Provider::Gitlab => file.split_once("//")?.1,
        _ => file.splitn(3, '/').nth(2)?,
    };
    (!path.is_empty()).then(|| path.to_owned())
}

impl Source {
    /// Whether a link is this repository or a page below it. The scheme may be `http` or `https`; the host is
    /// compared ignoring case, the path as these providers do, ignoring the case of ASCII letters; `.git`, a final
    /// slash, query and fragment do not count. Everything that could lead elsewhere is refused: credentials, another
    /// port, `..`, escapes and backslashes in the path, another host (also the pages host of the same owner).
    pub fn verifies(&self, link: &str) -> bool {
        let written = link.split(['?', '#']).next().unwrap_or(link);
        // A reader of URLs would quietly resolve these; what only resolves to the repository is not verified.
        let plain = written.bytes().all(|byte| byte.is_ascii_graphic())
            && !written.contains(['\\', '%', '@'])
            && !written.split('/').any(|part| part == "." || part == "..");
        if link.len() > 2048 || !plain {
            return false;
        }
        let (Ok(link), Ok(own)) = (Url::parse(link), Url::parse(&self.repository)) else {
            return false;
        };
        if !matches!(link.scheme(), "http" | "https")
            || !link.username().is_empty()
            || link.password().is_some()
            || link.host_str() != own.host_str()
        {
            return false;
        }
        // `port` is None for the scheme's own port.
        if link.port() != own.port() {
            return false;
        }
        let own_path = own.path().to_ascii_lowercase();
        let path = link.path().to_ascii_lowercase();
        let Some(rest) = path.strip_prefix(&own_path) else {
            return false;
        };
        let rest = rest.strip_prefix(".git").unwrap_or(rest);
        rest.is_empty() || rest.starts_with('/')
    }
}
