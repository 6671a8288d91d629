//! Package URLs: the names under which things stand in the log.

use std::{collections::BTreeMap, str::FromStr};

use packageurl::PackageUrl;

use crate::{Ecosystem, NameKey, Rejection, format, rejection::quoted};

/// Longest purl that is parsed.
const MAX_PURL: usize = 1024;

/// A parsed purl of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purl {
    /// The purl type.
    pub ecosystem: Ecosystem,
    /// The project.
    pub name_key: NameKey,
    /// The release, in normal form.
    pub version: Option<String>,
    /// The file.
    pub filename: Option<String>,
}

/// `pkg:pypi/NAME`: the project.
pub fn project_purl(ecosystem: Ecosystem, name: &NameKey) -> String {
    render(ecosystem, name, None, None)
}

/// `pkg:pypi/NAME@VERSION`: the release; `version` in normal form.
pub fn release_purl(ecosystem: Ecosystem, name: &NameKey, version: &str) -> String {
    render(ecosystem, name, Some(version), None)
}

/// `pkg:pypi/NAME@VERSION?file_name=FILE`: the file. This text is the identifier that has at most
/// one digest for ever and stands in the log; `version` in normal form, `filename` as published.
pub fn file_purl(ecosystem: Ecosystem, name: &NameKey, version: &str, filename: &str) -> String {
    render(ecosystem, name, Some(version), Some(filename))
}

fn render(
    ecosystem: Ecosystem,
    name: &NameKey,
    version: Option<&str>,
    filename: Option<&str>,
) -> String {
    // Each step fails only for an empty name or a malformed type or key, which ours are not.
    let (namespace, base) = match name.as_str().rsplit_once('/') {
        Some((namespace, base)) => (Some(namespace), base),
        None => (None, name.as_str()),
    };
    let mut purl = PackageUrl::new(ecosystem.as_str(), base)
        .expect("a name key is not empty and our types are well-formed");
    if let Some(namespace) = namespace {
        purl.with_namespace(namespace)
            .expect("the part of a key before its slash is not empty");
    }
    if let Some(version) = version {
        purl.with_version(version)
            .expect("the crate only stores the version");
    }
    if let Some(filename) = filename {
        purl.add_qualifier("file_name", filename)
            .expect("file_name is a well-formed key");
    }
    purl.to_string()
}

/// Reads a purl of one of our ecosystems; name and version come back in normal form.
///
/// # Errors
/// Refuses other types, namespaces, subpaths, qualifiers other than `file_name` (once), names and
/// versions that the ecosystem refuses, and a file without a version.
pub fn parse(text: &str) -> Result<Purl, Rejection> {
    let invalid = |why: &str| {
        Rejection::new(
            "purl-invalid",
            format!("The package URL {} is not usable: {why}.", quoted(text)),
        )
        .with_remedy(
            "Write pkg:TYPE/NAME, pkg:TYPE/NAME@VERSION or pkg:TYPE/NAME@VERSION?file_name=FILE, such as pkg:pypi/requests@2.0.",
        )
    };
    if text.len() > MAX_PURL {
        return Err(invalid("it is longer than 1024 bytes"));
    }
    if !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(invalid("it holds blanks, control or non-ASCII characters"));
    }
    // The crate folds case by Unicode, which makes U+212A KELVIN SIGN a plain `k`.
    let escapes_beyond_ascii = text.as_bytes().windows(2).any(|pair| {
        pair[0] == b'%' && matches!(pair[1].to_ascii_lowercase(), b'8'..=b'9' | b'a'..=b'f')
    });
    if escapes_beyond_ascii {
        return Err(invalid("it holds escaped non-ASCII characters"));
    }
    let purl = PackageUrl::from_str(text).map_err(|error| invalid(&error.to_string()))?;
    let ecosystem = Ecosystem::from_str(purl.ty())?;
    if purl.subpath().is_some() {
        return Err(invalid("it has a subpath"));
    }
    if purl.name().contains('/') {
        return Err(invalid("its name holds an escaped slash"));
    }
    let format = format(ecosystem);
    let name_key = match (ecosystem, purl.namespace()) {
        (_, None) => format.name_key(purl.name())?,
        (Ecosystem::Npm, Some(scope)) => format.name_key(&format!("{scope}/{}", purl.name()))?,
        (_, Some(_)) => return Err(invalid("it has a namespace")),
    };
    let version = match purl.version() {
        Some(version) => Some(format.version(version)?.canonical().to_owned()),
        None => None,
    };
    let qualifiers: BTreeMap<_, _> = purl.qualifiers().iter().collect();
    if text.matches("file_name=").count() > 1 || qualifiers.keys().any(|key| **key != "file_name") {
        return Err(invalid("the only qualifier is one file_name"));
    }
    let filename = purl.qualifiers().get("file_name").map(ToString::to_string);
    if let Some(filename) = &filename {
        if version.is_none() {
            return Err(invalid("a file needs a version"));
        }
        let unsafe_name = filename.is_empty()
            || filename.starts_with('.')
            || filename
                .chars()
                .any(|c| c.is_control() || c == '/' || c == '\\');
        if unsafe_name {
            return Err(invalid("the file name is not a plain file name"));
        }
    }
    Ok(Purl {
        ecosystem,
        name_key,
        version,
        filename,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(name: &str) -> NameKey {
        format(Ecosystem::Pypi).name_key(name).unwrap()
    }

    #[test]
    fn purls_have_one_spelling() {
        let name = key("Zope.Interface");
        assert_eq!(
            project_purl(Ecosystem::Pypi, &name),
            "pkg:pypi/zope-interface"
        );
        assert_eq!(
            release_purl(Ecosystem::Pypi, &name, "1!2.0"),
            "pkg:pypi/zope-interface@1!2.0"
        );
        assert_eq!(
            file_purl(
                Ecosystem::Pypi,
                &name,
                "7.0",
                "zope.interface-7.0-py3-none-any.whl"
            ),
            "pkg:pypi/zope-interface@7.0?file_name=zope.interface-7.0-py3-none-any.whl"
        );
    }

    #[test]
    fn scopes_are_namespaces() {
        let name = format(Ecosystem::Npm).name_key("@Scope/Name").unwrap();
        let text = file_purl(Ecosystem::Npm, &name, "1.0.0-rc.1", "name-1.0.0-rc.1.tgz");
        assert_eq!(
            text,
            "pkg:npm/%40scope/name@1.0.0-rc.1?file_name=name-1.0.0-rc.1.tgz"
        );
        for text in [
            text.as_str(),
            "pkg:npm/@scope/name@v1.0.0-rc.1?file_name=name-1.0.0-rc.1.tgz",
        ] {
            let purl = parse(text).unwrap();
            assert_eq!(purl.name_key, name);
            assert_eq!(purl.version.as_deref(), Some("1.0.0-rc.1"));
        }
        let plain = format(Ecosystem::Npm).name_key("left-pad").unwrap();
        assert_eq!(
            release_purl(Ecosystem::Npm, &plain, "1.3.0"),
            "pkg:npm/left-pad@1.3.0"
        );
    }

    #[test]
    fn parsing_normalises() {
        let purl = parse("pkg:PyPI/Zope_Interface@1.0-rc1").unwrap();
        assert_eq!(purl.name_key.as_str(), "zope-interface");
        assert_eq!(purl.version.as_deref(), Some("1.0rc1"));
    }

    #[test]
    fn refuses_what_is_not_ours() {
        for text in [
            "",
            "pkg:gem/a",
            "pkg:npm/scope/a",
            "pkg:npm/%40s/a/b",
            "pkg:npm/%40s%2fa",
            "pkg:npm/%40s",
            "pkg:npm/%2540s/a",
            "pkg:npm/@@s/a@1.0.0",
            "pkg:pypi/ns/a",
            "pkg:pypi/a#sub",
            "pkg:pypi/a?arch=x",
            "pkg:pypi/a@1+local",
            "pkg:pypi/a@1?file_name=..%2fx",
            "pkg:pypi/a?file_name=x",
            "pkg:pypi/%E2%84%AA",
            "pkg:pypi/a@1?file_name=x&file_name=y",
            "pkg:pypi/a@1?file_name=x%0a",
            "pkg:pypi/a b",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn file_purls_round_trip(
            name in "[a-z0-9]{1,8}(-[a-z0-9]{1,5})?",
            version in "([0-9]{1}!)?[0-9]{1,3}\\.[0-9]{1,3}",
            filename in "[a-zA-Z0-9][a-zA-Z0-9._!+ %?&=-]{0,30}",
        ) {
            let name = key(&name);
            let version = format(Ecosystem::Pypi).version(&version).unwrap();
            let text = file_purl(Ecosystem::Pypi, &name, version.canonical(), &filename);
            prop_assume!(!filename.contains("file_name="));
            let purl = parse(&text).unwrap();
            prop_assert_eq!(purl.filename.as_deref(), Some(filename.as_str()));
            prop_assert_eq!(purl.version.as_deref(), Some(version.canonical()));
            prop_assert_eq!(purl.name_key, name);
        }

        #[test]
        fn parsing_never_panics(text in "pkg:pypi/\\PC{0,40}") {
            let _ = parse(&text);
        }
    }
}
