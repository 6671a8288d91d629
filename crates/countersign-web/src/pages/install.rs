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
