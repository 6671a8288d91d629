//! The commands by which pip, uv and twine use this site.

use super::visit::Frame;

/// Commands that hold for the whole site.
pub(super) struct Setup {
    /// Where pip and uv look.
    pub(super) index: String,
    /// Where uploads go.
    pub(super) upload: String,
    /// pip's own configuration, by its own command.
    pub(super) pip: String,
    /// uv's, as lines of `pyproject.toml`.
    pub(super) uv: String,
    /// Publishing with uv.
    pub(super) uv_publish: String,
    /// Publishing with twine.
    pub(super) twine: String,
}

impl Setup {
    pub(super) fn of(frame: &Frame) -> Self {
        let index = index(frame);
        let upload = format!("{}/pypi/legacy/", frame.site);
        Self {
            pip: format!("pip config set global.index-url {index}"),
            uv: format!(
                "[[tool.uv.index]]\nname = \"countersign\"\nurl = \"{index}\"\npublish-url = \"{upload}\"\ndefault = true"
            ),
            uv_publish: format!("uv publish --publish-url {upload} --token TOKEN"),
            twine: format!("twine upload --repository-url {upload} -u __token__ -p TOKEN dist/*"),
            index,
            upload,
        }
    }
}

/// What goes into a CI system's files to publish here without a stored secret.
pub(super) struct Trusted {
    /// Where uploads go.
    pub(super) upload: String,
    /// A job of GitHub Actions.
    pub(super) github: String,
    /// Its last step by the well-known action.
    pub(super) github_action: String,
    /// A job of GitLab.
    pub(super) gitlab: String,
    /// A job of GitHub Actions that publishes a crate, by the public Cargo registry's action.
    pub(super) crates: String,
    /// The audience of identity tokens for crates.
    pub(super) crates_audience: String,
    /// The exchange by hand.
    pub(super) exchange: String,
    /// Ending the token by hand.
    pub(super) end: String,
}

impl Trusted {
    pub(super) fn of(frame: &Frame, audience: &str) -> Self {
        let site = &frame.site;
        let upload = format!("{site}/pypi/legacy/");
        let uv = format!("uv publish --trusted-publishing always --publish-url {upload}");
        let cargo = format!("{site}/cargo");
        let without_scheme = cargo.split_once("://").map_or(&*cargo, |(_, rest)| rest);
        Self {
            crates: format!(
                "on:\n  push:\n    tags: [\"v*\"]\njobs:\n  publish:\n    runs-on: ubuntu-latest\n    environment: release\n    \
                 permissions:\n      contents: read\n      id-token: write\n    env:\n      CARGO_REGISTRIES_HERE_INDEX: sparse+{cargo}/index/\n    \
                 steps:\n      - uses: actions/checkout@v5\n      - uses: rust-lang/crates-io-auth-action@v1\n        id: auth\n        \
                 with:\n          url: {cargo}\n      - run: cargo publish --registry here\n        env:\n          \
                 CARGO_REGISTRIES_HERE_TOKEN: ${{{{ steps.auth.outputs.token }}}}"
            ),
            crates_audience: without_scheme.to_owned(),
            github: format!(
                "on:\n  push:\n    tags: [\"v*\"]\njobs:\n  publish:\n    runs-on: ubuntu-latest\n    environment: release\n    \
                 permissions:\n      contents: read\n      id-token: write\n    steps:\n      - uses: actions/checkout@v5\n      \
                 - uses: astral-sh/setup-uv@v7\n      - run: uv build\n      - run: {uv}"
            ),
            github_action: format!(
                "      - uses: pypa/gh-action-pypi-publish@release/v1\n        with:\n          repository-url: {upload}"
            ),
            gitlab: format!(
                "publish:\n  image: ghcr.io/astral-sh/uv:debian\n  rules:\n    - if: $CI_COMMIT_TAG\n  environment: release\n  \
                 id_tokens:\n    {}:\n      aud: {audience}\n  script:\n    - uv build\n    - {uv}",
                id_token_variable(audience)
            ),
            exchange: format!(
                "curl --fail-with-body {site}/_/oidc/mint-token \\\n  --data '{{\"token\": \"'\"$ID_TOKEN\"'\"}}'"
            ),
            end: format!(
                "curl --fail --request DELETE {site}/api/v1/token --header \"Authorization: Bearer $UPLOAD_TOKEN\""
            ),
            upload,
        }
    }
}

/// The variable in which uv looks for an identity token in a GitLab job.
fn id_token_variable(audience: &str) -> String {
    let mut name: String = audience
        .chars()
        .map(|c| match c.to_ascii_uppercase() {
            c if c.is_ascii_alphanumeric() => c,
            _ => '_',
        })
        .collect();
    name.push_str("_ID_TOKEN");
    name
}

/// The index's address, with a place for the token where reading needs one.
fn index(frame: &Frame) -> String {
    let plain = format!("{}/pypi/simple/", frame.site);
    if frame.restricted {
        plain.replacen("://", "://__token__:TOKEN@", 1)
    } else {
        plain
    }
}

/// Commands that install one project.
pub(super) struct Install {
    pub(super) pip: String,
    pub(super) uv: String,
}

impl Install {
    /// For the newest release of a project, or for one release of it.
    pub(super) fn of(frame: &Frame, name: &str, version: Option<&str>) -> Self {
        let index = index(frame);
        let what = match version {
            // An epoch's `!` means something to a shell.
            Some(version) if version.contains('!') => format!("'{name}=={version}'"),
            Some(version) => format!("{name}=={version}"),
            None => name.to_owned(),
        };
        Self {
            pip: format!("pip install --index-url {index} {what}"),
            uv: format!("uv pip install --default-index {index} {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uv_finds_the_identity_token_in_a_gitlab_job() {
        let trusted = Trusted::of(&Frame::sample(), "https://packages.example.org/pypi");
        for line in [
            "    HTTPS___PACKAGES_EXAMPLE_ORG_PYPI_ID_TOKEN:",
            "      aud: https://packages.example.org/pypi",
        ] {
            assert!(
                trusted.gitlab.lines().any(|found| found == line),
                "{}",
                trusted.gitlab
            );
        }
    }

    #[test]
    fn jobs_are_indented_as_yaml_wants_it() {
        let trusted = Trusted::of(&Frame::sample(), "https://packages.example.org/pypi");
        for (text, line) in [
            (&trusted.github, "    permissions:"),
            (&trusted.github, "      id-token: write"),
            (&trusted.github, "      - run: uv build"),
            (
                &trusted.github_action,
                "          repository-url: https://packages.example.org/pypi/legacy/",
            ),
            (&trusted.gitlab, "  id_tokens:"),
            (
                &trusted.crates,
                "          url: https://packages.example.org/cargo",
            ),
            (
                &trusted.crates,
                "          CARGO_REGISTRIES_HERE_TOKEN: ${{ steps.auth.outputs.token }}",
            ),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
