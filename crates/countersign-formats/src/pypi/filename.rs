//! File names of distributions: wheels (PEP 427, 425, 600, 656, 730, 738) and sdists (PEP 625).

use std::collections::BTreeSet;

use crate::{
    Limits, NameKey, Rejection, Version,
    pypi::{name, version},
    rejection::quoted,
};

/// Most combinations of tags that one wheel name may stand for.
const MAX_TAG_COMBINATIONS: usize = 4096;

/// What a file name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DistFilename {
    /// `{name}-{version}(-{build})?-{python}-{abi}-{platform}.whl`
    Wheel(WheelFilename),
    /// `{name}-{version}.tar.gz`
    Sdist(SdistFilename),
}

/// The parts of a wheel's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WheelFilename {
    /// The name as the file name writes it.
    pub name: String,
    /// Its key.
    pub name_key: NameKey,
    /// The version.
    pub version: Version,
    /// Build tag, beginning with a digit.
    pub build: Option<String>,
    /// Python tags (`py2`, `py3`).
    pub python: Vec<String>,
    /// ABI tags.
    pub abi: Vec<String>,
    /// Platform tags.
    pub platform: Vec<String>,
}

/// The parts of an sdist's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdistFilename {
    /// The name as the file name writes it.
    pub name: String,
    /// Its key.
    pub name_key: NameKey,
    /// The version as the file name writes it.
    pub version_text: String,
    /// The version.
    pub version: Version,
}

impl DistFilename {
    /// The project's key.
    pub fn name_key(&self) -> &NameKey {
        match self {
            Self::Wheel(wheel) => &wheel.name_key,
            Self::Sdist(sdist) => &sdist.name_key,
        }
    }

    /// The release.
    pub fn version(&self) -> &Version {
        match self {
            Self::Wheel(wheel) => &wheel.version,
            Self::Sdist(sdist) => &sdist.version,
        }
    }

    /// `bdist_wheel` or `sdist`, as the upload form says it.
    pub fn filetype(&self) -> &'static str {
        match self {
            Self::Wheel(_) => "bdist_wheel",
            Self::Sdist(_) => "sdist",
        }
    }

    /// The form's `pyversion`: a wheel's Python tags joined by dots, or `source`.
    pub fn python_tag(&self) -> String {
        match self {
            Self::Wheel(wheel) => wheel.python.join("."),
            Self::Sdist(_) => "source".to_owned(),
        }
    }

    /// Two file names with one key stand for the same file of the same release, spelled
    /// differently (`Foo-1.0…` and `foo-1.0.0…`); a registry should hold only one of them.
    pub fn key(&self) -> String {
        let stem = format!("{}-{}", self.name_key(), self.version().key());
        match self {
            Self::Sdist(_) => format!("{stem}.tar.gz"),
            Self::Wheel(wheel) => {
                let build = wheel.build.as_deref().unwrap_or_default();
                let tags: Vec<_> = wheel.tags().into_iter().collect();
                format!("{stem}-{build}-{}.whl", tags.join(","))
            }
        }
    }
}

/// Whether two file names stand for the same file of the same release, however written.
pub fn same_file(ours: &str, named: &str) -> bool {
    let limits = Limits::default();
    let key = |text: &str| parse(text, &limits).ok().map(|name| name.key());
    key(ours).is_some_and(|ours| Some(ours) == key(named))
}

impl WheelFilename {
    /// The tags it stands for, one by one: `py2.py3-none-any` is `py2-none-any` and `py3-none-any`.
    pub fn tags(&self) -> BTreeSet<String> {
        let mut tags = BTreeSet::new();
        for python in &self.python {
            for abi in &self.abi {
                for platform in &self.platform {
                    tags.insert(format!("{python}-{abi}-{platform}").to_ascii_lowercase());
                }
            }
        }
        tags
    }
}

/// Parses and judges a file name.
///
/// # Errors
/// Refuses anything but a wheel or a `.tar.gz` sdist with a usable name, a publishable version and,
/// for wheels, platform tags that installers know.
pub fn parse(filename: &str, limits: &Limits) -> Result<DistFilename, Rejection> {
    if filename.is_empty() || filename.len() > limits.max_filename {
        return Err(Rejection::new(
            "filename-length",
            format!("A file name of {} bytes is not accepted.", filename.len()),
        )
        .with_remedy(format!("Use 1 to {} bytes.", limits.max_filename)));
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+' | b'!');
    if filename.starts_with('.') || !filename.bytes().all(plain) {
        return Err(Rejection::new(
            "filename-characters",
            format!("The file name {} holds characters that are not accepted.", quoted(filename)),
        )
        .with_remedy("Use ASCII letters, digits and '._-+!', and no leading dot; rebuild with a current build tool."));
    }
    if let Some(stem) = filename.strip_suffix(".whl") {
        return wheel(filename, stem, limits).map(DistFilename::Wheel);
    }
    if let Some(stem) = filename.strip_suffix(".tar.gz") {
        return sdist(filename, stem, limits).map(DistFilename::Sdist);
    }
    let rejection = Rejection::new(
        "filename-type",
        format!(
            "{} is neither a wheel (.whl) nor a source distribution (.tar.gz).",
            quoted(filename)
        ),
    );
    Err(if filename.ends_with(".zip") {
        rejection.with_remedy("Source distributions must be .tar.gz (PEP 625): build one with `python -m build --sdist` or `uv build --sdist`.")
    } else {
        rejection.with_remedy("Build with `python -m build` or `uv build`.")
    })
}

fn wheel(filename: &str, stem: &str, limits: &Limits) -> Result<WheelFilename, Rejection> {
    let invalid = |why: String| {
        Rejection::new(
            "filename-wheel",
            format!("The wheel name {} is not valid: {why}.", quoted(filename)),
        )
        .with_remedy("It should read NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl; rebuild with a current build tool.")
    };
    let parts: Vec<&str> = stem.split('-').collect();
    let (name_text, version_text, build, python, abi, platform) = match parts[..] {
        [name, version, python, abi, platform] => (name, version, None, python, abi, platform),
        [name, version, build, python, abi, platform] => {
            (name, version, Some(build), python, abi, platform)
        }
        _ => {
            return Err(invalid(format!(
                "it has {} parts between dashes, not 5 or 6",
                parts.len()
            )));
        }
    };
    let name_key = name::key(name_text)?;
    let version = version::parse(version_text)?;
    if let Some(build) = build
        && !build.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(invalid(format!(
            "the build tag {} does not begin with a digit",
            quoted(build)
        )));
    }
    let set = |what: &str, text: &str| -> Result<Vec<String>, Rejection> {
        let tags: Vec<String> = text.split('.').map(str::to_owned).collect();
        let good = |tag: &String| {
            !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let distinct: BTreeSet<_> = tags.iter().collect();
        if !tags.iter().all(good) || distinct.len() != tags.len() {
            return Err(invalid(format!(
                "the {what} tag {} is malformed",
                quoted(text)
            )));
        }
        Ok(tags)
    };
    let wheel = WheelFilename {
        name: name_text.to_owned(),
        name_key,
        version,
        build: build.map(str::to_owned),
        python: set("Python", python)?,
        abi: set("ABI", abi)?,
        platform: set("platform", platform)?,
    };
    if wheel.python.len() * wheel.abi.len() * wheel.platform.len() > MAX_TAG_COMBINATIONS {
        return Err(invalid("it stands for too many tags".to_owned()));
    }
    for tag in &wheel.platform {
        platform_tag(filename, tag, limits)?;
    }
    Ok(wheel)
}

/// Whether installers know a platform tag.
fn platform_tag(filename: &str, tag: &str, limits: &Limits) -> Result<(), Rejection> {
    const LINUX: &[&str] = &[
        "x86_64",
        "i686",
        "aarch64",
        "armv7l",
        "ppc64",
        "ppc64le",
        "s390x",
        "riscv64",
        "loongarch64",
    ];
    const MACOS: &[&str] = &[
        "x86_64",
        "arm64",
        "universal2",
        "universal",
        "intel",
        "i386",
        "ppc",
        "ppc64",
        "fat",
        "fat3",
        "fat64",
        "fat32",
    ];
    const FIXED: &[&str] = &[
        "any",
        "win32",
        "win_amd64",
        "win_arm64",
        "win_ia64",
        "linux_armv6l",
        "linux_armv7l",
        "manylinux1_x86_64",
        "manylinux1_i686",
        "manylinux2010_x86_64",
        "manylinux2010_i686",
        "manylinux2014_x86_64",
        "manylinux2014_i686",
        "manylinux2014_aarch64",
        "manylinux2014_armv7l",
        "manylinux2014_ppc64",
        "manylinux2014_ppc64le",
        "manylinux2014_s390x",
    ];
    let known = FIXED.contains(&tag)
        || versioned(tag, "manylinux_", 2).is_some_and(|rest| LINUX.contains(&rest))
        || versioned(tag, "musllinux_", 2)
            .is_some_and(|rest| LINUX.contains(&rest) || rest == "armv6l")
        || versioned(tag, "macosx_", 2).is_some_and(|rest| MACOS.contains(&rest))
        || versioned(tag, "android_", 1)
            .is_some_and(|rest| ["arm64_v8a", "armeabi_v7a", "x86_64", "x86"].contains(&rest))
        || versioned(tag, "ios_", 2).is_some_and(|rest| {
            [
                "arm64_iphoneos",
                "arm64_iphonesimulator",
                "x86_64_iphonesimulator",
            ]
            .contains(&rest)
        })
        || versioned(tag, "pyodide_", 2) == Some("wasm32")
        || versioned(tag, "pyemscripten_", 2) == Some("wasm32")
        || (limits.allow_plain_linux
            && tag
                .strip_prefix("linux_")
                .is_some_and(|rest| LINUX.contains(&rest)));
    if known {
        return Ok(());
    }
    let rejection = Rejection::new(
        "filename-platform",
        format!(
            "The wheel {} is for the platform {}, which is not accepted.",
            quoted(filename),
            quoted(tag)
        ),
    );
    Err(if tag.starts_with("linux_") {
        rejection.with_remedy("A plain linux tag does not say which C library it needs: repair the wheel with auditwheel (or `maturin --compatibility`), which makes it manylinux or musllinux.")
    } else {
        rejection.with_remedy("Accepted are any, win32, win_amd64, win_arm64, macosx_*, manylinux*, musllinux_*, ios_*, android_*, pyodide_* and pyemscripten_* tags of known processors.")
    })
}

/// What follows `prefix` and `count` numbers, each ended by `_`.
fn versioned<'a>(tag: &'a str, prefix: &str, count: usize) -> Option<&'a str> {
    let mut rest = tag.strip_prefix(prefix)?;
    for _ in 0..count {
        let (number, after) = rest.split_once('_')?;
        if number.is_empty() || number.len() > 4 || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        rest = after;
    }
    Some(rest)
}

fn sdist(filename: &str, stem: &str, limits: &Limits) -> Result<SdistFilename, Rejection> {
    let invalid = |why: &str, remedy: String| {
        Rejection::new(
            "filename-sdist",
            format!(
                "The source distribution name {} is not valid: {why}.",
                quoted(filename)
            ),
        )
        .with_remedy(remedy)
    };
    let (name_text, version_text) = stem.rsplit_once('-').ok_or_else(|| {
        invalid(
            "it has no dash between name and version",
            "It should read NAME-VERSION.tar.gz.".to_owned(),
        )
    })?;
    let name_key = name::key(name_text)?;
    let version = version::parse(version_text)?;
    let expected = format!("{}-{}.tar.gz", name_key.as_str().replace('-', "_"), version);
    if limits.strict_sdist_name && filename != expected {
        return Err(invalid(
            "it is not in normal form (PEP 625)",
            format!("Name it {expected}."),
        ));
    }
    Ok(SdistFilename {
        name: name_text.to_owned(),
        name_key,
        version_text: version_text.to_owned(),
        version,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code(filename: &str) -> &'static str {
        match parse(filename, &Limits::default()) {
            Ok(_) => "ok",
            Err(rejection) => rejection.code,
        }
    }

    #[test]
    fn real_names_are_accepted() {
        for filename in [
            "six-1.17.0-py2.py3-none-any.whl",
            "numpy-2.4.6-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
            "maturin-1.16.0-py3-none-manylinux2010_x86_64.manylinux_2_12_x86_64.musllinux_1_1_x86_64.whl",
            "a-1!2.0-1build-cp310-abi3-macosx_10_9_universal2.whl",
            "a-1-py3-none-win_arm64.whl",
            "a-1-cp313-cp313-ios_13_0_arm64_iphoneos.whl",
            "a-1-cp313-cp313-android_21_arm64_v8a.whl",
            "a-1-cp312-cp312-pyodide_2024_0_wasm32.whl",
            "zope.interface-7.0-py3-none-any.whl",
            "python-dateutil-2.9.0.post0.tar.gz",
            "Flask-0.12.tar.gz",
        ] {
            assert_eq!(code(filename), "ok", "{filename}");
        }
    }

    #[test]
    fn bad_names_are_refused_with_a_reason() {
        for (filename, expected) in [
            ("", "filename-length"),
            ("a-1.zip", "filename-type"),
            ("a-1.exe", "filename-type"),
            ("a-1.tar.gz\n", "filename-characters"),
            ("../a-1.tar.gz", "filename-characters"),
            ("a\\b-1.tar.gz", "filename-characters"),
            (".a-1.tar.gz", "filename-characters"),
            ("a\u{212a}-1.tar.gz", "filename-characters"),
            ("a.tar.gz", "filename-sdist"),
            ("a-1+local.tar.gz", "version-local"),
            ("a-1-py3-none.whl", "filename-wheel"),
            ("a-1-b1-py3-none-any.whl", "filename-wheel"),
            ("a-1-py3.-none-any.whl", "filename-wheel"),
            ("a-1-py3.py3-none-any.whl", "filename-wheel"),
            ("a-1-py3-none-linux_x86_64.whl", "filename-platform"),
            ("a-1-py3-none-manylinux_2_17_z80.whl", "filename-platform"),
            ("a-1-py3-none-macosx_11_arm64.whl", "filename-platform"),
        ] {
            assert_eq!(code(filename), expected, "{filename:?}");
        }
        assert_eq!(
            code(&format!("{}-1.tar.gz", "a".repeat(300))),
            "filename-length"
        );
    }

    #[test]
    fn rules_can_be_stricter_or_looser() {
        let strict = Limits {
            strict_sdist_name: true,
            ..Limits::default()
        };
        assert!(parse("python-dateutil-2.9.tar.gz", &strict).is_err());
        assert!(parse("python_dateutil-2.9.tar.gz", &strict).is_ok());
        let loose = Limits {
            allow_plain_linux: true,
            ..Limits::default()
        };
        assert!(parse("a-1-py3-none-linux_x86_64.whl", &loose).is_ok());
    }

    #[test]
    fn spellings_of_one_file_share_a_key() {
        let key = |filename| parse(filename, &Limits::default()).unwrap().key();
        assert_eq!(
            key("Foo.bar-1.0-py2.py3-none-any.whl"),
            key("foo_bar-1.0.0-py3.py2-none-any.whl")
        );
        assert_ne!(
            key("foo-1.0-1-py3-none-any.whl"),
            key("foo-1.0-py3-none-any.whl")
        );
        assert_eq!(key("foo-1.0.tar.gz"), key("FOO-1.tar.gz"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(stem in "\\PC{0,40}", end in "(\\.whl|\\.tar\\.gz|)") {
            let _ = parse(&format!("{stem}{end}"), &Limits::default());
        }
    }
}
