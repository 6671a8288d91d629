//! Addresses of Git repositories on the well-known hosts, in the many spellings that npm takes for
//! one: `user/repo`, `github:user/repo`, `git@github.com:user/repo.git`, `git+https://…`.

/// Host, short name, and whether a user's name is part of the path.
const HOSTS: &[(&str, &str)] = &[
    ("github", "github.com"),
    ("gitlab", "gitlab.com"),
    ("bitbucket", "bitbucket.org"),
    ("gist", "gist.github.com"),
    ("sourcehut", "git.sr.ht"),
];

/// A repository, whichever way it was written and is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hosted {
    domain: &'static str,
    /// Owner and repository (`user/repo`, deeper on GitLab), or the gist.
    path: String,
    /// Branch, tag, commit or `semver:` range.
    committish: Option<String>,
}

impl Hosted {
    /// `None` for what is no address on one of the hosts, such as a range of versions.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, fragment) = match text.split_once('#') {
            Some((address, fragment)) => (address, Some(fragment)),
            None => (text, None),
        };
        if address.contains(char::is_whitespace) {
            return None;
        }
        let committish = fragment.filter(|f| !f.is_empty()).map(str::to_owned);
        for &(short, domain) in HOSTS {
            if let Some(path) = address
                .strip_prefix(short)
                .and_then(|rest| rest.strip_prefix(':'))
                && !path.starts_with("//")
            {
                let path = path.split_once('@').map_or(path, |(_, path)| path);
                return Self::new(domain, path, committish);
            }
        }
        let slashes = address.matches('/').count();
        if slashes == 1 && !address.contains([':', '@']) && !address.starts_with(['/', '.', '~']) {
            return Self::new("github.com", address, committish);
        }
        let (_, rest) = address
            .split_once("://")
            .filter(|(scheme, _)| {
                matches!(
                    *scheme,
                    "git" | "git+ssh" | "ssh" | "git+https" | "https" | "git+http" | "http"
                )
            })
            .or_else(|| address.contains('@').then_some(("ssh", address)))?;
        let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
        let (host, path) = rest.split_once(['/', ':'])?;
        let host = host.to_ascii_lowercase();
        let host = host.strip_prefix("www.").unwrap_or(&host);
        let &(short, domain) = HOSTS.iter().find(|(_, domain)| *domain == host)?;
        if short == "github"
            && let Some((repository, branch)) = path.split_once("/tree/")
        {
            return Self::new(domain, repository, Some(branch.to_owned()));
        }
        Self::new(domain, path, committish)
    }

    fn new(domain: &'static str, path: &str, committish: Option<String>) -> Option<Self> {
        let path = path.trim_start_matches('/').trim_end_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let parts: Vec<&str> = path.split('/').collect();
        let fits = match domain {
            "gist.github.com" => parts.len() <= 2,
            "gitlab.com" => parts.len() >= 2,
            _ => parts.len() == 2,
        };
        if !fits
            || parts
                .iter()
                .any(|part| part.is_empty() || *part == "." || *part == "..")
        {
            return None;
        }
        // A gist is found without its owner.
        let path = match domain {
            "gist.github.com" => parts.last()?.to_string(),
            _ => path.to_owned(),
        };
        Some(Self {
            domain,
            path,
            committish,
        })
    }

    /// Where a browser finds it.
    pub(super) fn https(&self) -> String {
        format!("https://{}/{}", self.domain, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_one_repository_are_equal() {
        let expected = Hosted::parse("npm/cli#v1").unwrap();
        for text in [
            "github:npm/cli#v1",
            "git@github.com:npm/cli.git#v1",
            "git+ssh://git@github.com/npm/cli.git#v1",
            "ssh://git@github.com/npm/cli#v1",
            "git+https://github.com/npm/cli.git#v1",
            "https://user:token@www.github.com/npm/cli#v1",
            "https://github.com/npm/cli/tree/v1",
            "git://github.com/npm/cli.git#v1",
            "git+ssh://git@github.com:npm/cli.git#v1",
        ] {
            assert_eq!(Hosted::parse(text), Some(expected.clone()), "{text}");
        }
        assert_eq!(expected.https(), "https://github.com/npm/cli");
        assert_eq!(
            Hosted::parse("gist:user/abc"),
            Hosted::parse("git+https://gist.github.com/abc.git")
        );
        assert_eq!(
            Hosted::parse("gitlab:a/b/c").unwrap().https(),
            "https://gitlab.com/a/b/c"
        );
        assert_ne!(Hosted::parse("npm/cli"), Hosted::parse("npm/cli#v1"));
        assert_ne!(Hosted::parse("gitlab:npm/cli"), Hosted::parse("npm/cli"));
    }

    #[test]
    fn ranges_paths_and_other_addresses_are_no_repositories() {
        for text in [
            "",
            "^1.2.3",
            ">=1 <2",
            "1.x || 2",
            "latest",
            "npm:other@1",
            "file:../x",
            "../x/y",
            "./x",
            "~/x",
            "/x/y",
            "https://example.org/a/b",
            "https://github.com/a/b/archive/x.tar.gz",
            "@scope/name",
            "workspace:*",
            "a b/c",
            "https://github.com/../x",
            "http://localhost/x",
        ] {
            assert_eq!(Hosted::parse(text), None, "{text}");
        }
    }
}
