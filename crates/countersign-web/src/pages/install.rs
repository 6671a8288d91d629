//! The commands by which the clients of all ecosystems use this site.

use countersign_formats::Ecosystem;

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
    /// npm's own configuration, by its own command; pnpm and the first yarn read it too.
    pub(super) npm: String,
    /// Later yarns', as lines of `.yarnrc.yml`.
    pub(super) yarn: String,
    /// Publishing with npm.
    pub(super) npm_publish: String,
    /// Cargo's, as lines of `.cargo/config.toml`.
    pub(super) cargo: String,
    /// Publishing with cargo.
    pub(super) cargo_publish: String,
}

impl Setup {
    pub(super) fn of(frame: &Frame) -> Self {
        let index = index(frame);
        let upload = format!("{}/pypi/legacy/", frame.site);
        let npm = format!("{}/npm/", frame.site);
        Self {
            npm: format!("npm config set registry {npm}"),
            yarn: format!("npmRegistryServer: \"{npm}\""),
            npm_publish: format!("npm login --registry {npm}\nnpm publish --registry {npm}"),
            cargo: cargo_registry(frame),
            cargo_publish:
                "cargo login --registry countersign\ncargo publish --registry countersign"
                    .to_owned(),
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
    /// Each a block of its own.
    pub(super) commands: Vec<String>,
}

impl Install {
    /// For the newest release of a project, or for one release of it.
    pub(super) fn of(
        frame: &Frame,
        ecosystem: Ecosystem,
        name: &str,
        version: Option<&str>,
    ) -> Self {
        let commands = match ecosystem {
            Ecosystem::Pypi => python(frame, name, version),
            Ecosystem::Cargo => cargo(frame, name, version),
            Ecosystem::Npm => npm(frame, name, version),
        };
        Self { commands }
    }
}

fn python(frame: &Frame, name: &str, version: Option<&str>) -> Vec<String> {
    let index = index(frame);
    let what = match version {
        // An epoch's `!` means something to a shell.
        Some(version) if version.contains('!') => format!("'{name}=={version}'"),
        Some(version) => format!("{name}=={version}"),
        None => name.to_owned(),
    };
    vec![
        format!("pip install --index-url {index} {what}"),
        format!("uv pip install --default-index {index} {what}"),
    ]
}

/// The registry as `.cargo/config.toml` names it.
fn cargo_registry(frame: &Frame) -> String {
    format!(
        "[registries.countersign]\nindex = \"sparse+{}/cargo/index/\"",
        frame.site
    )
}

fn cargo(frame: &Frame, name: &str, version: Option<&str>) -> Vec<String> {
    let what = match version {
        Some(version) => format!("{name}@={version}"),
        None => name.to_owned(),
    };
    let mut commands = vec![cargo_registry(frame)];
    if frame.restricted {
        commands.push("cargo login --registry countersign".to_owned());
    }
    commands.push(format!("cargo add --registry countersign {what}"));
    commands
}

fn npm(frame: &Frame, name: &str, version: Option<&str>) -> Vec<String> {
    let registry = format!("{}/npm/", frame.site);
    // Old names may hold marks that mean something to a shell; versions never do.
    let plain = name
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.' | b'@' | b'/'));
    let name = if plain {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', "'\\''"))
    };
    let what = match version {
        Some(version) => format!("{name}@{version}"),
        None => name,
    };
    let mut commands = Vec::new();
    if frame.restricted {
        commands.push(format!("npm login --registry {registry}"));
    }
    commands.extend([
        format!("npm install --registry {registry} {what}"),
        format!("pnpm add --registry {registry} {what}"),
        format!("YARN_NPM_REGISTRY_SERVER={registry} yarn add {what}"),
    ]);
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ecosystem_has_the_commands_of_its_clients() {
        let frame = Frame::sample();
        let of = |ecosystem, name, version| Install::of(&frame, ecosystem, name, version).commands;
        assert_eq!(
            of(Ecosystem::Npm, "@s/n", Some("1.0.0"))[0],
            format!("npm install --registry {}/npm/ @s/n@1.0.0", frame.site)
        );
        // Nobody is made to paste what a shell takes for more than a name.
        assert!(of(Ecosystem::Npm, "it's(x)", None)[0].ends_with(" 'it'\\''s(x)'"));
        assert_eq!(
            of(Ecosystem::Cargo, "serde", Some("1.0.0"))[1],
            "cargo add --registry countersign serde@=1.0.0"
        );
        assert!(of(Ecosystem::Pypi, "demo", None)[0].starts_with("pip install"));
    }

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
