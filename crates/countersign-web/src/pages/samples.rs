//! Sample data for every page, as ugly as the world: long names, right-to-left text, a hostile description, three
//! hundred releases. And the tests that hold for all pages alike.

use countersign_formats::{Dependency, Ecosystem, Manifest, NameKey};
use std::collections::BTreeMap;

use countersign_registry::model::{
    AttestationDetail, AttestationForm, FileDetail, FileOrigin, FileProvenance, FileState,
    LoggedEvent, Maker, ProjectDetail, ProjectStatus, ProjectSummary, ReleaseDetail,
    ReleaseStanding, ReleaseSummary, Role, ShownProvenance, SourceState, SourceTuple, Time,
    TrustLevel, TrustRootSummary, Verdict,
};
use countersign_registry::oidc::Provider;
use countersign_registry::oidc::source::Source;

use super::{
    assessment, assets, failure, help, home, incidents, log, policies, project, release, search,
};

const NOW: i64 = 1_795_239_612_345_678;
const DAY: i64 = 86_400_000_000;

const README: &str = include_str!("samples/readme.md");
pub(super) const HOSTILE_README: &str = include_str!("samples/hostile.md");

pub(super) fn projects() -> Vec<ProjectSummary> {
    let project = |name: &str, summary: &str, latest: &str, days: i64| ProjectSummary {
        ecosystem: Ecosystem::Pypi,
        name: name.to_owned(),
        key: name.to_lowercase().replace(['_', '.'], "-"),
        summary: summary.to_owned(),
        latest: latest.to_owned(),
        updated: Time(NOW - days * DAY),
        private: false,
    };
    vec![
        project(
            "solstice",
            "Sunrise, sunset and twilight for any place, offline",
            "4.2.0",
            0,
        ),
        project(
            "Orchard_Walk",
            "Plan, prune and harvest directed graphs",
            "0.9.1",
            1,
        ),
        project(
            "an-extraordinarily-long-distribution-name-that-somebody-generated-from-a-template-and-never-looked-at-again",
            "A summary that goes on and on, because nothing ever told its author to stop, and which therefore has to be cut somewhere, since a list of projects is read at a glance and this is by no means a glance any more, is it",
            "2026.11.21.post3.dev20261121094500",
            2,
        ),
        project("tafsir", "مكتبة لتحليل النصوص العربية وتقطيعها", "1.3", 5),
        project("quiet", "", "0.1", 30),
        project(
            "lantern",
            "<b>Bright</b> logs & tidy \"traces\" <script>alert(1)</script>",
            "12.0rc1",
            400,
        ),
    ]
}

fn release_row(version: &str, days: i64) -> ReleaseSummary {
    ReleaseSummary {
        version: version.to_owned(),
        created: Time(NOW - days * DAY),
        yanked: None,
        deprecated: None,
        prerelease: version.contains("rc") || version.contains("dev"),
        files: 3,
    }
}

/// A project with three hundred releases, some yanked, the newest a pre-release.
pub(super) fn project() -> ProjectDetail {
    let mut releases = vec![release_row("5.0rc1", 0), release_row("4.2.0", 3)];
    for number in (0..298).rev() {
        let mut row = release_row(
            &format!("{}.{}.{}", number / 100 + 1, number / 10 % 10, number % 10),
            700 - number,
        );
        match number {
            297 => {
                row.yanked = Some((
                    Time(NOW - DAY),
                    "Broken on Windows: \"solstice.zone\" can not be imported; use 4.2.0"
                        .to_owned(),
                ))
            }
            290 => row.yanked = Some((Time(NOW - DAY), String::new())),
            12 => row.yanked = Some((Time(NOW), "<img src=x onerror=alert(1)>".to_owned())),
            _ => {}
        }
        releases.push(row);
    }
    ProjectDetail {
        ecosystem: Ecosystem::Pypi,
        name: "Solstice".to_owned(),
        key: "solstice".to_owned(),
        status: ProjectStatus::Active,
        status_reason: None,
        created: Time(NOW - 2_000 * DAY),
        serial: 77,
        people: vec![
            ("miriam".to_owned(), Role::Owner),
            (
                "an-account-name-of-uncommon-length-for-a-robot".to_owned(),
                Role::Maintainer,
            ),
        ],
        releases,
        tags: Vec::new(),
        downloads_30d: 1_284_331,
        private: false,
    }
}

pub(super) fn small_project() -> ProjectDetail {
    ProjectDetail {
        name: "quiet".to_owned(),
        key: "quiet".to_owned(),
        releases: vec![release_row("0.1", 30)],
        people: vec![("olu".to_owned(), Role::Owner)],
        downloads_30d: 0,
        private: true,
        ..project()
    }
}

pub(super) fn rtl_project() -> ProjectDetail {
    ProjectDetail {
        name: "tafsir".to_owned(),
        key: "tafsir".to_owned(),
        releases: vec![release_row("1.3", 5), release_row("1.2", 50)],
        ..project()
    }
}

pub(super) fn hostile_project() -> ProjectDetail {
    ProjectDetail {
        name: "lantern".to_owned(),
        key: "lantern".to_owned(),
        releases: vec![release_row("12.0rc1", 5)],
        status: ProjectStatus::Deprecated,
        status_reason: Some("</p><script>alert('reason')</script>\u{202e}desrever".to_owned()),
        ..project()
    }
}

fn dependency(name: &str, specifier: &str, marker: &str, extra: Option<&str>) -> Dependency {
    Dependency {
        name_key: NameKey::from_stored(name),
        requirement: format!("{name}{specifier}; {marker}"),
        specifier: specifier.to_owned(),
        marker: marker.to_owned(),
        extra: extra.map(str::to_owned),
    }
}

fn manifest() -> Manifest {
    Manifest {
        ecosystem: Ecosystem::Pypi,
        name: "Solstice".to_owned(),
        name_key: NameKey::from_stored("solstice"),
        version: "4.2.0".to_owned(),
        version_canonical: "4.2.0".to_owned(),
        version_key: "4.2".to_owned(),
        filename: "solstice-4.2.0-py3-none-any.whl".to_owned(),
        filetype: "bdist_wheel".to_owned(),
        python_tag: "py3".to_owned(),
        metadata_version: "2.4".to_owned(),
        requires_python: Some(">=3.10".to_owned()),
        summary: Some("Sunrise, sunset and twilight for any place, offline".to_owned()),
        description: Some(README.to_owned()),
        description_content_type: Some("text/markdown; charset=UTF-8; variant=GFM".to_owned()),
        license: None,
        license_expression: Some("Apache-2.0 OR MIT".to_owned()),
        license_files: vec!["LICENSE".to_owned()],
        author: None,
        author_email: Some(
            "Miriam Adeyemi <miriam@example.org>, Jörg Weiß <joerg@example.org>".to_owned(),
        ),
        maintainer: None,
        maintainer_email: None,
        keywords: Some("astronomy, sun, twilight, calendar".to_owned()),
        home_page: None,
        download_url: None,
        classifiers: [
            "Development Status :: 5 - Production/Stable",
            "Intended Audience :: Science/Research",
            "Programming Language :: Python :: 3 :: Only",
            "Programming Language :: Python :: 3.12",
            "Topic :: Scientific/Engineering :: Astronomy",
            "Typing :: Typed",
        ]
        .map(str::to_owned)
        .to_vec(),
        project_urls: [
            ("Documentation", "https://solstice.example.org/en/latest/"),
            ("Source", "https://code.example.org/miriam/solstice"),
            ("Issues", "https://code.example.org/miriam/solstice/issues"),
        ]
        .map(|(label, address)| (label.to_owned(), address.to_owned()))
        .to_vec(),
        dependencies: vec![
            dependency("tzdata", ">=2025.1", "sys_platform == 'win32'", None),
            dependency("numpy", ">=1.26,<3", "", None),
            dependency(
                "typing-extensions",
                "",
                "python_full_version < '3.12'",
                None,
            ),
            dependency("matplotlib", ">=3.8", "extra == 'plot'", Some("plot")),
            dependency("pillow", "", "extra == 'plot'", Some("plot")),
            dependency("pytest", ">=8", "extra == 'test'", Some("test")),
        ],
        provides_extra: vec!["plot".to_owned(), "test".to_owned()],
        other_fields: Vec::new(),
        metadata_bytes: Vec::new(),
        warnings: Vec::new(),
        unpacked_size: 300_000,
        member_count: 42,
        details: countersign_formats::Details::None,
    }
}

fn file(filename: &str, size: u64, python_tag: &str, leaf: u64) -> FileDetail {
    let wheel = filename.ends_with(".whl");
    let digest = |seed: u64, digits: usize| -> String {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..digits)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                char::from_digit((state >> 60) as u32, 16).unwrap()
            })
            .collect()
    };
    let sha256 = digest(leaf, 64);
    FileDetail {
        filename: filename.to_owned(),
        purl: format!("pkg:pypi/solstice@4.2.0?file_name={filename}"),
        path: format!("/files/{sha256}/{filename}"),
        size,
        blake2b_256: digest(leaf + 1, 64),
        md5: digest(leaf + 2, 32),
        sha512: None,
        filetype: if wheel { "bdist_wheel" } else { "sdist" }.to_owned(),
        python_tag: python_tag.to_owned(),
        requires_python: Some(">=3.10".to_owned()),
        metadata_sha256: wheel.then(|| digest(leaf + 3, 64)),
        uploaded: Time(NOW - 3 * DAY),
        uploaded_by: "miriam".to_owned(),
        leaf,
        state: FileState::Live,
        withheld_because: None,
        origin: None,
        sha256,
    }
}

pub(super) fn release() -> ReleaseDetail {
    ReleaseDetail {
        release: release_row("4.2.0", 3),
        manifest: manifest(),
        sources: Vec::new(),
        files: vec![
            file("solstice-4.2.0-py3-none-any.whl", 184_220, "py3", 1_284_328),
            file(
                "solstice-4.2.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_2_x86_64.whl",
                12_904_111,
                "cp312",
                1_284_329,
            ),
            file("solstice-4.2.0.tar.gz", 402_118, "source", 1_284_330),
        ],
    }
}

/// A run of GitHub Actions, as its token and the registration say.
fn origin() -> FileOrigin {
    let commit = "8f14e45fceea167a5a36dedd4bea2543c2a91f6b";
    let claims = [
        ("environment", "release"),
        ("event_name", "push"),
        (
            "job_workflow_ref",
            "miriam/solstice/.github/workflows/release.yml@refs/tags/v4.2.0",
        ),
        ("ref", "refs/tags/v4.2.0"),
        ("repository", "miriam/solstice"),
        ("repository_id", "74213"),
        ("repository_owner", "miriam"),
        ("repository_owner_id", "9301"),
        ("repository_visibility", "public"),
        ("run_attempt", "1"),
        ("run_id", "4521007"),
        ("runner_environment", "github-hosted"),
        ("sha", commit),
        (
            "workflow_ref",
            "miriam/solstice/.github/workflows/release.yml@refs/tags/v4.2.0",
        ),
    ];
    FileOrigin {
        provider: Provider::Github,
        issuer: "https://token.actions.githubusercontent.com".to_owned(),
        label: "miriam/solstice, release.yml, environment release".to_owned(),
        claims: claims
            .map(|(claim, value)| (claim.to_owned(), value.to_owned()))
            .into(),
        source: Some(Source {
            provider: Provider::Github,
            repository: "https://github.com/miriam/solstice".to_owned(),
            commit: Some(commit.to_owned()),
            reference: Some("refs/tags/v4.2.0".to_owned()),
            workflow: Some("release.yml".to_owned()),
            run: Some("https://github.com/miriam/solstice/actions/runs/4521007".to_owned()),
            environment: Some("release".to_owned()),
        }),
    }
}

/// A release that a workflow published, with links to its repository and elsewhere.
pub(super) fn traced_release() -> ReleaseDetail {
    let mut release = release();
    let origin = origin();
    for file in &mut release.files {
        file.uploaded_by = origin.label.clone();
        file.origin = Some(origin.clone());
    }
    release.manifest.project_urls = [
        ("Documentation", "https://miriam.github.io/solstice/"),
        ("Source", "https://github.com/Miriam/solstice"),
        ("Issues", "https://github.com/miriam/solstice/issues"),
        ("Popular", "https://github.com/somebody/popular"),
    ]
    .map(|(label, address)| (label.to_owned(), address.to_owned()))
    .to_vec();
    release
}

fn attestation(number: u64, predicate_type: &str) -> AttestationDetail {
    let repository = "https://github.com/miriam/solstice";
    let commit = "8f14e45fceea167a5a36dedd4bea2543c2a91f6b";
    let index = 412_008_110 + number;
    AttestationDetail {
        digest: format!("{number:064x}"),
        maker: Maker::Uploader,
        form: AttestationForm::Pep740,
        predicate_type: predicate_type.to_owned(),
        statement_digest: format!("{:064x}", number + 1),
        verdict: Verdict::Confirmed,
        claims: BTreeMap::new(),
        shown: ShownProvenance {
            builder: Some("GitHub Actions".to_owned()),
            issuer: Some("https://token.actions.githubusercontent.com".to_owned()),
            signer: Some(format!(
                "{repository}/.github/workflows/release.yml@refs/tags/v4.2.0"
            )),
            repository: Some(repository.to_owned()),
            commit: Some(commit.to_owned()),
            commit_url: Some(format!("{repository}/commit/{commit}")),
            reference: Some("refs/tags/v4.2.0".to_owned()),
            build_file: Some(".github/workflows/release.yml".to_owned()),
            build_file_url: Some(format!(
                "{repository}/blob/{commit}/.github/workflows/release.yml"
            )),
            run_url: Some(format!("{repository}/actions/runs/4521007/attempts/1")),
            runner: Some("github-hosted".to_owned()),
            trigger: Some("push".to_owned()),
            environment: Some("release".to_owned()),
            log_index: Some(index),
            log_url: Some(format!("https://search.sigstore.dev/?logIndex={index}")),
            slsa_level: (predicate_type.contains("slsa")).then_some(2),
        },
        signed: Time(NOW - 3 * DAY),
        taken: Time(NOW - 3 * DAY),
        root_digest: Some("9a".repeat(32)),
        rechecked: Some(Time(NOW - DAY)),
        recheck_problem: None,
        source_state: Some(SourceState {
            state: "there".to_owned(),
            detail: String::new(),
            checked: Some(Time(NOW - DAY)),
        }),
        body: String::new(),
        publisher: None,
    }
}

/// What is known of the builds of [`traced_release`].
pub(super) fn provenance() -> Vec<FileProvenance> {
    let publish = concat!("https://docs.", "pypi.org/attestations/publish/v1");
    let files = traced_release().files.into_iter();
    files
        .zip(0..)
        .map(|(file, number)| FileProvenance {
            ecosystem: Ecosystem::Pypi,
            project: "solstice".to_owned(),
            key: "solstice".to_owned(),
            version: "4.2.0".to_owned(),
            filename: file.filename,
            purl: file.purl,
            sha256: file.sha256,
            level: Some(TrustLevel::Provenance),
            source: Some(SourceTuple {
                issuer: "https://token.actions.githubusercontent.com".to_owned(),
                repository: "https://github.com/miriam/solstice".to_owned(),
                repository_id: Some("74213".to_owned()),
                owner_id: Some("9301".to_owned()),
            }),
            attestations: vec![
                attestation(2 * number, "https://slsa.dev/provenance/v1"),
                attestation(2 * number + 1, publish),
            ],
        })
        .collect()
}

/// The same where one file was built elsewhere, by a log without pages, and one came bare.
pub(super) fn departed_provenance() -> Vec<FileProvenance> {
    let mut files = provenance();
    for one in &mut files[1].attestations {
        one.shown.repository = Some("https://forge.internal.example.org/a-group-with-a-long-name/solstice-and-what-belongs-to-it".to_owned());
        one.shown.signer = Some("https://forge.internal.example.org/a-group-with-a-long-name/solstice-and-what-belongs-to-it//.forge-ci.yml@refs/heads/main".to_owned());
        one.shown.reference = Some("refs/heads/الإصدار".to_owned());
        one.shown.build_file = Some(".forge-ci.yml".to_owned());
        one.shown.build_file_url = None;
        one.shown.builder = None;
        one.shown.runner = None;
        one.shown.log_url = None;
        one.shown.commit_url = None;
        one.predicate_type = "https://example.org/some/uncommon/kind/v7".to_owned();
        one.verdict = Verdict::Kept;
    }
    files[1].attestations.truncate(1);
    files[2].attestations.clear();
    files[2].level = Some(TrustLevel::Token);
    files
}

/// How that release stands to the ones before.
pub(super) fn standing() -> ReleaseStanding {
    ReleaseStanding {
        lost: Some((TrustLevel::Provenance, TrustLevel::Token)),
        moved: None,
        reason: Some("The signing service is down; 4.2.1 comes with provenance again.".to_owned()),
    }
}

/// Trust roots: a built-in one, and a private one.
pub(super) fn trust_roots() -> Vec<TrustRootSummary> {
    let root = |name: &str, kind: &str, digest: &str| TrustRootSummary {
        name: name.to_owned(),
        kind: kind.to_owned(),
        digest: digest.repeat(32),
        tuf_url: None,
        added: None,
        refreshed: Some(Time(NOW - DAY)),
        problem: None,
        attestations: 7,
    };
    vec![
        root("public-good", "public-good", "9a"),
        root("company", "private", "41"),
    ]
}

/// Two runs on another provider and a file by hand; nothing is verified any more.
pub(super) fn mixed_release() -> ReleaseDetail {
    let mut release = traced_release();
    let mut other = origin();
    other.provider = Provider::Gitlab;
    other.issuer = "https://gitlab.internal.example.org".to_owned();
    other.label = "research/an-uncommonly-long-group-name/solstice, .gitlab-ci.yml".to_owned();
    other
        .claims
        .retain(|claim, _| claim == "sha" || claim == "ref");
    other.source = None;
    release.files[1].origin = Some(other);
    release.files[2].origin = None;
    release.files[2].uploaded_by = "miriam".to_owned();
    release
}

pub(super) fn yanked_release() -> ReleaseDetail {
    let mut release = release();
    release.release.version = "3.9.7".to_owned();
    release.release.yanked = Some((
        Time(NOW - DAY),
        "Broken on Windows: \"solstice.zone\" can not be imported; use 4.2.0".to_owned(),
    ));
    release.files[1].state = FileState::Quarantined;
    release.files[2].state = FileState::Removed;
    release
}

pub(super) fn plain_release() -> ReleaseDetail {
    let mut release = release();
    release.release = release_row("0.1", 30);
    release.files.truncate(1);
    release.manifest = Manifest {
        name: "quiet".to_owned(),
        version: "0.1".to_owned(),
        summary: None,
        description: Some("quiet\n=====\n\n.. code-block:: python\n\n    import quiet  # <b>not bold</b> & safe\n".to_owned()),
        description_content_type: None,
        license_expression: None,
        classifiers: Vec::new(),
        project_urls: Vec::new(),
        dependencies: Vec::new(),
        provides_extra: Vec::new(),
        requires_python: None,
        keywords: None,
        author_email: None,
        ..manifest()
    };
    release
}

pub(super) fn rtl_release() -> ReleaseDetail {
    let mut release = release();
    release.release = release_row("1.3", 5);
    release.manifest.summary = Some("مكتبة لتحليل النصوص العربية وتقطيعها".to_owned());
    release.manifest.author_email = Some("ليلى حداد <layla@example.org>".to_owned());
    release.manifest.description = Some(
        "# تفسير\n\nمكتبة صغيرة لتحليل **النصوص العربية**. انظر [الدليل](https://docs.example.org/).\n\n- سريعة\n- بلا اعتماديات\n\n```python\nimport tafsir\n```\n"
            .to_owned(),
    );
    release
}

pub(super) fn hostile_release() -> ReleaseDetail {
    let mut release = release();
    release.release = release_row("12.0rc1", 5);
    let sting = "\"><script>alert(1)</script>";
    release.manifest.summary = Some(format!("<b>Bright</b> logs {sting}"));
    release.manifest.description = Some(HOSTILE_README.to_owned());
    release.manifest.license_expression = Some(format!("MIT{sting}"));
    release.manifest.requires_python = Some(format!(">=3{sting}"));
    release.manifest.author = Some(format!("Mallory {sting}"));
    release.manifest.keywords = Some(sting.to_owned());
    release.manifest.classifiers = vec![format!("Topic :: {sting}"), sting.to_owned()];
    release.manifest.home_page = Some("javascript:alert(1)".to_owned());
    release.manifest.project_urls = vec![
        (
            sting.to_owned(),
            "https://evil.example/\"><script>alert(2)</script>".to_owned(),
        ),
        (
            "Data".to_owned(),
            "data:text/html,<script>alert(3)</script>".to_owned(),
        ),
        ("Code".to_owned(), "JaVaScRiPt:alert(4)".to_owned()),
    ];
    release.manifest.dependencies = vec![
        dependency("numpy", sting, sting, None),
        dependency("x", "", "", Some(sting)),
    ];
    release.manifest.provides_extra = vec![sting.to_owned()];
    release.files[0].uploaded_by = sting.to_owned();
    let mut origin = origin();
    origin.issuer = format!("https://evil.example/{sting}");
    origin.label = sting.to_owned();
    origin.claims.insert(sting.to_owned(), sting.to_owned());
    release.files[1].origin = Some(origin.clone());
    if let Some(source) = &mut origin.source {
        source.repository = "https://evil.example/\"><script>alert(5)</script>".to_owned();
        source.commit = Some(sting.to_owned());
        source.reference = Some(format!("refs/tags/{sting}"));
        source.workflow = Some(sting.to_owned());
        source.run = Some("javascript:alert(6)".to_owned());
        source.environment = Some(sting.to_owned());
    }
    release.files[0].origin = Some(origin);
    release
}

pub(super) fn events() -> Vec<LoggedEvent> {
    let kinds = [
        (
            "file-published",
            "pkg:pypi/solstice@4.2.0?file_name=solstice-4.2.0.tar.gz",
        ),
        ("yanked", "pkg:pypi/solstice@3.9.7"),
        ("quarantined", "pkg:pypi/lantern"),
        ("owner-changed", "pkg:pypi/orchard-walk"),
        ("something-of-tomorrow", "an-unknown-subject<script>"),
        ("key-rotated", "packages.example.org/log/1"),
    ];
    (0..40_u64)
        .map(|number| {
            let (kind, subject) = kinds[(number as usize) % kinds.len()];
            let leaf = 1_284_330 - number;
            let at = Time(NOW - number as i64 * 71_000_000);
            LoggedEvent {
                leaf,
                kind: kind.to_owned(),
                subject: subject.to_owned(),
                at,
                text: format!(
                    "countersign-leaf/v1\nkind {kind}\nsubject {subject}\nsha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\nsize 402118\ntime {}\nsequence 614\nprevious 1284201\n",
                    at.rfc3339()
                ),
            }
        })
        .collect()
}

/// Every page in every sample.
fn all_pages() -> Vec<(&'static str, String)> {
    [
        home::samples(),
        search::samples(),
        project::samples(),
        release::samples(),
        log::samples(),
        help::samples(),
        incidents::samples(),
        policies::samples(),
        failure::samples(),
        assessment::samples(),
    ]
    .concat()
}

/// A start tag found in a page.
struct Start {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Start {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads a page strictly: every element is closed in order, every attribute is quoted, every `&` begins a reference.
fn strictly_read(page: &str) -> Result<Vec<Start>, String> {
    const VOID: [&str; 8] = ["meta", "link", "input", "br", "hr", "wbr", "col", "img"];
    let mut rest = page.strip_prefix("<!doctype html>\n").ok_or("no doctype")?;
    let (mut open, mut starts) = (Vec::<String>::new(), Vec::new());
    loop {
        let (text, tag) = rest.split_once('<').unwrap_or((rest, ""));
        for piece in text.split('&').skip(1) {
            let name = piece.split(';').next().unwrap_or_default();
            if !piece.contains(';') || name.is_empty() || name.len() > 8 {
                return Err(format!("a bare ampersand before {piece:.30}"));
            }
        }
        if text.contains('>') && !text.trim_start().is_empty() {
            return Err(format!("a bare > in {text:.60}"));
        }
        if tag.is_empty() {
            return if open.is_empty() {
                Ok(starts)
            } else {
                Err(format!("left open: {open:?}"))
            };
        }
        if let Some(closing) = tag.strip_prefix('/') {
            let (name, after) = closing.split_once('>').ok_or("an unfinished end tag")?;
            match open.pop() {
                Some(last) if last == name.trim() => {}
                last => return Err(format!("</{name}> closes {last:?}")),
            }
            rest = after;
            continue;
        }
        let name: String = tag
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric())
            .collect();
        if name.is_empty() {
            return Err(format!("a bare < before {tag:.30}"));
        }
        let mut attributes = Vec::new();
        let mut inside = &tag[name.len()..];
        let closed_itself = loop {
            inside = inside.trim_start();
            if let Some(after) = inside.strip_prefix("/>") {
                inside = after;
                break true;
            }
            if let Some(after) = inside.strip_prefix('>') {
                inside = after;
                break false;
            }
            let key: String = inside
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || "-:".contains(*c))
                .collect();
            if key.is_empty() {
                return Err(format!("<{name}: no attribute at {inside:.40}"));
            }
            inside = &inside[key.len()..];
            let mut value = String::new();
            if let Some(quoted) = inside.strip_prefix("=\"") {
                let (found, after) = quoted.split_once('"').ok_or("an unfinished attribute")?;
                value = found.to_owned();
                inside = after;
            }
            if attributes.iter().any(|(other, _)| *other == key) {
                return Err(format!("<{name} has two {key}"));
            }
            attributes.push((key, value));
        };
        if !closed_itself && !VOID.contains(&name.as_str()) {
            open.push(name.clone());
        }
        starts.push(Start { name, attributes });
        rest = inside;
    }
}

#[test]
fn every_page_is_well_formed_and_has_one_main_heading() {
    for (name, page) in all_pages() {
        let tags = strictly_read(&page).unwrap_or_else(|error| panic!("{name}: {error}"));
        let count = |tag: &str| tags.iter().filter(|start| start.name == tag).count();
        assert_eq!(
            (count("h1"), count("main"), count("title")),
            (1, 1, 1),
            "{name}"
        );
        assert_eq!(tags[0].attribute("lang"), Some("en"), "{name}");
    }
}

#[test]
fn headings_never_skip_a_level_and_identifiers_are_unique() {
    for (name, page) in all_pages() {
        let mut last = 0;
        let mut ids = std::collections::HashSet::new();
        for tag in strictly_read(&page).unwrap() {
            if let Some(id) = tag.attribute("id") {
                assert!(ids.insert(id.to_owned()), "{name}: {id} twice");
            }
            let level = tag
                .name
                .strip_prefix('h')
                .and_then(|level| level.parse::<u8>().ok());
            // What a stranger's description does below its own first level is not ours to mend.
            let ours = !tag
                .attribute("id")
                .is_some_and(|id| id.starts_with("readme-"));
            if let Some(level) = level {
                assert!(!ours || level <= last + 1, "{name}: h{level} after h{last}");
                last = level;
            }
        }
        for target in page
            .split("href=\"#")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
        {
            assert!(
                ids.contains(target) || target.starts_with("readme-"),
                "{name}: #{target} leads nowhere"
            );
        }
    }
}

#[test]
fn every_picture_is_described_and_every_field_labelled() {
    for (name, page) in all_pages() {
        let tags = strictly_read(&page).unwrap();
        let labelled: Vec<_> = tags
            .iter()
            .filter(|tag| tag.name == "label")
            .filter_map(|tag| tag.attribute("for"))
            .collect();
        for tag in &tags {
            match tag.name.as_str() {
                "img" => assert!(tag.attribute("alt").is_some(), "{name}"),
                "svg" => assert!(
                    tag.attribute("aria-hidden").is_some() || tag.attribute("role") == Some("img"),
                    "{name}"
                ),
                "input" => assert!(
                    tag.attribute("id").is_some_and(|id| labelled.contains(&id)),
                    "{name}"
                ),
                "th" => assert!(
                    tag.attribute("scope").is_some() || page.contains("class=\"prose\""),
                    "{name}"
                ),
                "nav" => assert!(tag.attribute("aria-label").is_some(), "{name}"),
                _ => {}
            }
        }
        assert_eq!(
            page.matches("<table class=").count(),
            page.matches("<caption").count(),
            "{name}: a table without a caption"
        );
    }
}

#[test]
fn no_page_holds_what_the_content_security_policy_forbids() {
    for (name, page) in all_pages() {
        for tag in strictly_read(&page).unwrap() {
            assert!(
                !matches!(
                    tag.name.as_str(),
                    "script" | "style" | "iframe" | "object" | "embed" | "base" | "audio" | "video"
                ),
                "{name}: <{}>",
                tag.name
            );
            for (key, value) in &tag.attributes {
                assert!(
                    key != "style" && !key.starts_with("on") && key != "srcset" && key != "ping",
                    "{name}: {key}"
                );
                let folded = value.trim().to_ascii_lowercase();
                assert!(
                    !folded.starts_with("javascript:") && !folded.starts_with("data:"),
                    "{name}: {value}"
                );
                if matches!(key.as_str(), "src" | "action") || tag.name == "link" && key == "href" {
                    assert!(
                        value.starts_with('/') && !value.starts_with("//"),
                        "{name}: {value} is loaded from elsewhere"
                    );
                }
                if tag.name == "a"
                    && key == "href"
                    && value.starts_with("http")
                    && !value.starts_with("https://packages.example.org/")
                {
                    assert!(
                        tag.attribute("rel")
                            .is_some_and(|rel| rel.contains("nofollow")),
                        "{name}: {value} is followed"
                    );
                }
            }
        }
    }
}

#[test]
fn the_style_sheet_loads_nothing_and_knows_both_schemes() {
    let css = std::str::from_utf8(assets::css().bytes).unwrap();
    assert!(!css.contains("url(") && !css.contains("@import"));
    assert!(
        css.contains("prefers-color-scheme: dark")
            && css.contains(":focus-visible")
            && css.contains("prefers-reduced-motion")
    );
    assert_eq!(css.matches('{').count(), css.matches('}').count());
}

/// Every class that a page uses has a rule, and every rule a page: neither may rot.
#[test]
fn classes_of_pages_and_of_the_style_sheet_are_the_same() {
    let css = std::str::from_utf8(assets::css().bytes).unwrap();
    let mut used = std::collections::BTreeSet::new();
    for (_, page) in all_pages() {
        for tag in strictly_read(&page).unwrap() {
            used.extend(
                tag.attribute("class")
                    .unwrap_or_default()
                    .split_whitespace()
                    .map(str::to_owned),
            );
        }
    }
    // Pages of one's own have no samples; their classes are read off the templates.
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
    for place in [folder.to_owned(), format!("{folder}/account")] {
        for file in std::fs::read_dir(place).unwrap() {
            let file = file.unwrap().path();
            if file.is_dir() {
                continue;
            }
            let text = std::fs::read_to_string(file).unwrap();
            let text = text.replace("{{ class }}", "");
            for rest in text
                .replace("class=\\\"", "class=\"")
                .split("class=\"")
                .skip(1)
            {
                let value: String = rest
                    .chars()
                    .take_while(|c| *c != '"' && *c != '\\')
                    .collect();
                let words = value.split(|c: char| c.is_whitespace() || c == '}' || c == '{');
                used.extend(
                    words
                        .filter(|word| {
                            word.starts_with(|c: char| c.is_ascii_lowercase())
                                && css.contains(&format!(".{word}"))
                        })
                        .map(str::to_owned),
                );
            }
        }
    }
    let selectors: String = css
        .split('}')
        .filter_map(|rule| rule.rsplit_once('{'))
        .map(|(selector, _)| selector)
        .collect::<Vec<_>>()
        .join(" ");
    let ruled: std::collections::BTreeSet<String> = selectors
        .split('.')
        .skip(1)
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '-')
                .collect::<String>()
        })
        .filter(|class| class.chars().next().is_some_and(|c| c.is_ascii_lowercase()))
        .collect();
    let missing: Vec<_> = used
        .difference(&ruled)
        .filter(|class| !class.starts_with("markdown-alert"))
        .collect();
    let stale: Vec<_> = ruled
        .difference(&used)
        .filter(|class| !class.starts_with("markdown-alert"))
        .collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "without a rule: {missing:?}; without a page: {stale:?}"
    );
}

/// Writes every sample and the static files below `COUNTERSIGN_PAGES`, to be looked at in a browser.
#[test]
#[ignore = "writes files; run it by hand"]
fn write_samples() {
    let folder = std::path::PathBuf::from(
        std::env::var_os("COUNTERSIGN_PAGES").expect("COUNTERSIGN_PAGES names a folder"),
    );
    std::fs::create_dir_all(folder.join("static")).unwrap();
    for asset in [assets::css(), assets::js(), assets::icon()] {
        std::fs::write(
            folder.join(asset.path().trim_start_matches('/')),
            asset.bytes,
        )
        .unwrap();
    }
    for (name, page) in all_pages() {
        std::fs::write(folder.join(format!("{name}.html")), page).unwrap();
    }
}
