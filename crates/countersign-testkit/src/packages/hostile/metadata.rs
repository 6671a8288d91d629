//! Distributions whose container is sound and whose metadata lies.

use super::super::{Package, Wheel};
use super::{sdist, wheel};

type Attack = (&'static str, Package);

fn built(attack: &'static str, change: impl FnOnce(Wheel) -> Wheel) -> Attack {
    (attack, change(wheel(attack)).build())
}

fn line(attack: &'static str, line: &str) -> Attack {
    (attack, wheel(attack).metadata_line(line).build())
}

/// A good wheel under a bad file name.
fn filename(attack: &'static str, name: impl FnOnce(&str) -> String) -> Attack {
    let mut package = wheel(attack).build();
    package.filename = name(&package.filename);
    (attack, package)
}

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = vec![
        built("metadata-name-differs", |wheel| {
            wheel.metadata_name("other")
        }),
        built("metadata-version-differs", |wheel| {
            wheel.metadata_version("2.0")
        }),
        built("metadata-missing", |wheel| wheel.without("METADATA")),
        built("wheel-file-missing", |wheel| wheel.without("WHEEL")),
        built("wheel-tags-differ", |wheel| {
            wheel.wheel_tag("cp312-cp312-win_amd64")
        }),
        built("record-missing", |wheel| wheel.without("RECORD")),
        built("record-lacks-a-file", |wheel| {
            wheel.file("extra.py", "x = 1\n").record_without("extra.py")
        }),
        built("record-names-an-absent-file", |wheel| {
            wheel.record_entry(
                "absent.py",
                "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0",
            )
        }),
        built("record-wrong-hash", |wheel| {
            wheel.file("extra.py", "x = 1\n").record_entry(
                "extra.py",
                "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,6",
            )
        }),
        built("record-without-hash", |wheel| {
            wheel
                .file("extra.py", "x = 1\n")
                .record_entry("extra.py", ",")
        }),
        built("record-with-md5", |wheel| {
            wheel
                .file("extra.py", "x = 1\n")
                .record_entry("extra.py", "md5=1B2M2Y8AsgTpgAmY7PhCfg,6")
        }),
        built("two-dist-info-folders", |wheel| {
            wheel.file(
                "other-1.0.dist-info/METADATA",
                "Metadata-Version: 2.1\nName: other\nVersion: 1.0\n",
            )
        }),
        built("dist-info-of-another-project", |wheel| {
            wheel.dist_info_named("other-1.0.dist-info")
        }),
        built("dist-info-of-another-version", |wheel| {
            let folder = wheel.dist_info().replace("-1.0.", "-2.0.");
            wheel.dist_info_named(&folder)
        }),
        built("entry-points-malformed", |wheel| {
            let path = format!("{}/entry_points.txt", wheel.dist_info());
            wheel.file(&path, "this is [no section\n= nothing\n")
        }),
        line("requirement-malformed", "Requires-Dist: other >=!< 1"),
        line("requires-python-malformed", "Requires-Python: three or so"),
        line(
            "metadata-version-oversized",
            &format!("Summary: {}", "A".repeat(12 << 20)),
        ),
        filename("filename-of-another-version", |name| {
            name.replace("-1.0-", "-2.0-")
        }),
        filename("filename-of-another-project", |_| {
            "other-1.0-py3-none-any.whl".into()
        }),
        filename("filename-traversal", |name| format!("../{name}")),
        filename("filename-with-folder", |name| format!("folder/{name}")),
        filename("filename-with-backslash", |name| format!("..\\{name}")),
        filename("filename-with-look-alike-letter", |name| {
            name.replace('k', "\u{212a}")
        }),
        filename("filename-without-tags", |name| {
            name.replace("-py3-none-any", "")
        }),
        filename("filename-unknown-extension", |name| {
            name.replace(".whl", ".egg")
        }),
        filename("filename-oversized", |name| {
            name.replace("-any.whl", &format!("-{}.whl", "any".repeat(100)))
        }),
    ];
    let local = Wheel::new("hostile-local-version", "1.0+local");
    attacks.push(("local-version", local.build()));
    let unordered = Wheel::new("hostile-version-not-pep440", "new.best");
    attacks.push(("version-not-pep440", unordered.build()));
    attacks.push((
        "pkg-info-missing",
        sdist("pkg-info-missing").without_pkg_info().build(),
    ));
    attacks.push((
        "pkg-info-name-differs",
        sdist("pkg-info-name-differs")
            .metadata_name("other")
            .build(),
    ));
    attacks.push((
        "pkg-info-version-differs",
        sdist("pkg-info-version-differs")
            .metadata_version("2.0")
            .build(),
    ));
    let mut renamed = sdist("sdist-filename-differs-from-top-folder").build();
    renamed.filename = renamed.filename.replace("-1.0.tar", "-1.1.tar");
    renamed.version = "1.1".into();
    attacks.push(("sdist-filename-differs-from-top-folder", renamed));
    attacks
}
