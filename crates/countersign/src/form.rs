//! The upload form of a Python archive: every field that the archive itself says something about.

use countersign_formats::Manifest;

/// Metadata fields that the form repeats under the same name, with hyphens as underscores.
const REPEATED: &[&str] = &[
    "platform",
    "supported-platform",
    "provides-dist",
    "obsoletes-dist",
    "requires-external",
    "dynamic",
    "import-name",
    "import-namespace",
];

/// The text fields for an archive, in the order in which clients send them.
pub(crate) fn fields(manifest: &Manifest, sha256: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            fields.push((name.to_owned(), value.to_owned()));
        }
    };
    put(":action", "file_upload");
    put("protocol_version", "1");
    put("sha256_digest", sha256);
    put("filetype", &manifest.filetype);
    put("pyversion", &manifest.python_tag);
    put("metadata_version", &manifest.metadata_version);
    put("name", &manifest.name);
    put("version", &manifest.version);
    for (name, value) in [
        ("summary", &manifest.summary),
        ("description", &manifest.description),
        (
            "description_content_type",
            &manifest.description_content_type,
        ),
        ("keywords", &manifest.keywords),
        ("author", &manifest.author),
        ("author_email", &manifest.author_email),
        ("maintainer", &manifest.maintainer),
        ("maintainer_email", &manifest.maintainer_email),
        ("license", &manifest.license),
        ("license_expression", &manifest.license_expression),
        ("requires_python", &manifest.requires_python),
        ("home_page", &manifest.home_page),
        ("download_url", &manifest.download_url),
    ] {
        put(name, value.as_deref().unwrap_or_default());
    }
    for classifier in &manifest.classifiers {
        put("classifiers", classifier);
    }
    for dependency in &manifest.dependencies {
        put("requires_dist", &dependency.requirement);
    }
    for (label, url) in &manifest.project_urls {
        put("project_urls", &format!("{label}, {url}"));
    }
    for extra in &manifest.provides_extra {
        put("provides_extra", extra);
    }
    for file in &manifest.license_files {
        put("license_file", file);
    }
    for (name, value) in &manifest.other_fields {
        if REPEATED.contains(&name.as_str()) {
            put(&name.replace('-', "_"), value);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use countersign_formats::pypi::upload::{UploadForm, compare};
    use countersign_formats::{Artifact, Ecosystem, Limits, format};
    use countersign_testkit::packages::{Sdist, Wheel};

    use super::*;

    #[test]
    fn the_form_says_what_the_archive_says() {
        let wheel = Wheel::new("Some.Thing", "1.0.0.post1")
            .requires("other>=2; extra == 'http'")
            .readme("# A title\n\ntext\n")
            .build();
        let sdist = Sdist::new("some-thing", "1.0").readme("# A\n").build();
        for package in [wheel, sdist] {
            let mut bytes = Cursor::new(&package.bytes);
            let manifest = format(Ecosystem::Pypi)
                .inspect(
                    &mut Artifact {
                        filename: &package.filename,
                        size: package.bytes.len() as u64,
                        bytes: &mut bytes,
                    },
                    &Limits::default(),
                )
                .unwrap();
            let form = UploadForm::from_pairs(fields(&manifest, &package.sha256())).unwrap();
            assert_eq!(
                compare(&form, &manifest).unwrap(),
                Vec::<String>::new(),
                "no field is unknown"
            );
            assert!(form.get("description").is_some());
            assert_eq!(
                form.digests().unwrap().sha256.as_deref(),
                Some(&*package.sha256())
            );
        }
    }
}
