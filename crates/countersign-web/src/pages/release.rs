//! The page of a release: its files with digests and proofs, what it needs, what it says about itself.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_formats::{Dependency, Details, Ecosystem, Manifest};
use countersign_registry::model::{
    DependencySource, FileDetail, FileState, ProjectDetail, ProjectStatus, ReleaseDetail,
};
use countersign_registry::{Error, Kind, Result};
use serde_json::Value;
use url::Url;

use super::advisories::Advised;
use super::install::Install;
use super::links;
use super::log::leaf_proof;
use super::origin::{self, Origins};
use super::phrase::{self, Breakable, Day};
use super::project::{Addressed, Banner, name_for_clients, shown_state};
use super::provenance::Security;
use super::readme::Readme;
use super::source_health::Health;
use super::visit::{Answer, Frame, Page, Visit};
use crate::error::shown;

/// Longest licence shown; old metadata sometimes holds the whole text.
const LONGEST_LICENCE: usize = 80;

#[derive(Template)]
#[template(path = "release.html")]
struct ReleasePage<'a> {
    frame: &'a Frame,
    name: &'a str,
    version: &'a str,
    project_page: String,
    report_page: String,
    summary: &'a str,
    banner: Option<Banner>,
    withheld: Option<WithheldFiles<'a>>,
    yanked: Option<(Day, &'a str)>,
    deprecated: Option<&'a str>,
    prerelease: bool,
    created: Day,
    install: Option<Install>,
    /// How to name it with its digest, where the ecosystem's clients take that.
    pinned: Option<String>,
    files: Vec<FileRow<'a>>,
    security: Security,
    advised: Advised,
    origins: Origins<'a>,
    /// Where the files are listed: further down on this page.
    files_page: &'static str,
    example: Option<&'a str>,
    needs: Vec<Need<'a>>,
    /// What is needed in certain cases alone, under a heading.
    more_needs: Vec<(Heading<'a>, Vec<Need<'a>>)>,
    facts: Facts,
    health: Option<Health>,
    readme: Readme,
}

/// Reasons for withholding that are named on a page.
const REASONS: usize = 5;

/// What of a release is withheld, where its project is not.
struct WithheldFiles<'a> {
    /// Such as `All of its files are`.
    extent: String,
    /// Why, with the file where they differ.
    reasons: Vec<(Option<&'a str>, &'a str)>,
}

impl<'a> WithheldFiles<'a> {
    fn of(files: &'a [FileDetail]) -> Option<Self> {
        let withheld: Vec<&FileDetail> = files
            .iter()
            .filter(|file| file.state == FileState::Quarantined)
            .collect();
        let served = files.iter().any(|file| file.state == FileState::Live);
        let number = withheld.len() as u64;
        let extent = match (number, served) {
            (0, _) => return None,
            (_, false) => "This release is".to_owned(),
            (1, true) => "One of its files is".to_owned(),
            (number, true) => format!("{} of its files are", phrase::count(number)),
        };
        let reasons: Vec<(&str, &str)> = withheld
            .iter()
            .filter_map(|file| Some((file.filename.as_str(), file.withheld_because.as_deref()?)))
            .collect();
        let alike = reasons.iter().all(|(_, why)| *why == reasons[0].1);
        let named = if alike { 1 } else { REASONS };
        Some(Self {
            extent,
            reasons: reasons
                .into_iter()
                .take(named)
                .map(|(file, why)| ((!alike).then_some(file), why))
                .collect(),
        })
    }
}

/// A file in the table.
struct FileRow<'a> {
    file: &'a FileDetail,
    /// Only what is served can be downloaded.
    download: Option<&'a str>,
    size: String,
    what: String,
    name: Breakable<'a>,
    uploaded: Day,
    proof: String,
    metadata: Option<String>,
    entry: String,
    withheld: Option<&'static str>,
    /// Further digests that clients go by: what they are called, and the digest as clients write it.
    digests: Vec<(&'static str, String)>,
}

impl<'a> FileRow<'a> {
    /// `None` for files that are not in the log yet: nobody is shown them.
    fn of(file: &'a FileDetail, log_path: &str) -> Option<Self> {
        let withheld = match file.state {
            FileState::Staged | FileState::Held => return None,
            FileState::Live => None,
            FileState::Quarantined => Some("quarantined"),
            FileState::Removed => Some("removed"),
        };
        let live = withheld.is_none();
        Some(Self {
            file,
            download: live.then_some(file.path.as_str()),
            size: phrase::size(file.size),
            what: match file.filetype.as_str() {
                "sdist" => "Source".to_owned(),
                "bdist_wheel" => format!("Wheel, {}", file.python_tag),
                "crate" => "Crate".to_owned(),
                "npm" => "Tarball".to_owned(),
                other => other.to_owned(),
            },
            name: Breakable(&file.filename),
            uploaded: Day(file.uploaded),
            // Beside the file while that is served; the log keeps proving what is withheld.
            proof: if live {
                format!("{}.tlog-proof", file.path)
            } else {
                leaf_proof(log_path, file.leaf)
            },
            metadata: (live && file.metadata_sha256.is_some())
                .then(|| format!("{}.metadata", file.path)),
            entry: format!("/log/event/{}", file.leaf),
            withheld,
            digests: further_digests(file),
        })
    }
}

fn further_digests(file: &FileDetail) -> Vec<(&'static str, String)> {
    match (file.filetype.as_str(), integrity(file)) {
        ("npm", Some(integrity)) => vec![("Integrity in lock files", integrity)],
        ("npm" | "crate", _) => Vec::new(),
        _ => vec![
            ("BLAKE2b-256", file.blake2b_256.clone()),
            ("MD5, proves nothing", file.md5.clone()),
        ],
    }
}

/// A file's SHA-512 as npm's clients write it.
fn integrity(file: &FileDetail) -> Option<String> {
    let hex = file.sha512.as_deref()?.as_bytes();
    let digit = |c: u8| char::from(c).to_digit(16);
    let bytes: Option<Vec<u8>> = hex
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
            _ => None,
        })
        .collect();
    Some(format!("sha512-{}", STANDARD.encode(bytes?)))
}

/// Above what is needed in certain cases alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heading<'a> {
    /// Only who asks for this extra or feature.
    With(&'a str),
    /// In words.
    Words(&'static str),
}

impl<'a> Heading<'a> {
    /// Under what a dependency is listed; `None`: among those that are always needed.
    fn of(ecosystem: Ecosystem, dependency: &'a Dependency) -> Option<Self> {
        let extra = dependency.extra.as_deref().map(Heading::With);
        let marker = dependency.marker.as_str();
        match ecosystem {
            Ecosystem::Pypi => extra,
            Ecosystem::Cargo => match marker.split(';').next().unwrap_or_default() {
                "dev" => Some(Heading::Words("To develop it")),
                "build" => Some(Heading::Words("To build it")),
                _ => extra,
            },
            Ecosystem::Npm => match marker {
                "peer" => Some(Heading::Words("Beside it")),
                "peer optional" => Some(Heading::Words("Beside it, if it is there")),
                "optional" => Some(Heading::Words("Where it can be installed")),
                "dev" => Some(Heading::Words("To develop it")),
                _ => extra,
            },
        }
    }
}

/// Something a release needs.
struct Need<'a> {
    name: &'a str,
    /// Its page; none, where it is another registry's project of that name.
    page: Option<String>,
    versions: &'a str,
    condition: &'a str,
    /// What the release itself calls it.
    alias: Option<&'a str>,
    /// The other registry that it comes from.
    registry: Option<&'a str>,
}

impl<'a> Need<'a> {
    fn of(
        ecosystem: Ecosystem,
        dependency: &'a Dependency,
        source: Option<&'a DependencySource>,
    ) -> Self {
        let key = dependency.name_key.as_str();
        let registry = source.and_then(|source| source.registry.as_deref());
        Self {
            name: source.map_or(key, |source| &source.package),
            page: registry.is_none().then(|| links::project(ecosystem, key)),
            versions: &dependency.specifier,
            alias: source.and_then(|source| source.alias.as_deref()),
            registry,
            condition: match ecosystem {
                Ecosystem::Pypi => condition(dependency),
                // The platform; the kind is said above it.
                Ecosystem::Cargo => dependency
                    .marker
                    .strip_prefix("dev")
                    .or(dependency.marker.strip_prefix("build"))
                    .unwrap_or(&dependency.marker)
                    .trim_start_matches([';', ' ']),
                Ecosystem::Npm => "",
            },
        }
    }
}

/// The marker without the extra it is listed under, where that stands alone or at the end.
fn condition(dependency: &Dependency) -> &str {
    let marker = dependency.marker.trim();
    let Some(extra) = dependency.extra.as_deref() else {
        return marker;
    };
    for quote in ['\'', '"'] {
        let asked = format!("extra == {quote}{extra}{quote}");
        if let Some(rest) = marker.strip_suffix(&asked) {
            return rest
                .trim_end()
                .strip_suffix("and")
                .unwrap_or(rest)
                .trim_end();
        }
    }
    marker
}

/// What a release says about itself, for the side of the page.
pub(super) struct Facts {
    pub(super) licence: Option<String>,
    /// What it runs on, and how: a name and what of it.
    pub(super) runs_on: Vec<(&'static str, String)>,
    /// What installing or building it executes.
    pub(super) executes: Vec<String>,
    pub(super) people: Vec<String>,
    pub(super) keywords: Option<String>,
    pub(super) links: Vec<FactLink>,
    pub(super) classifiers: Vec<(String, Vec<String>)>,
    pub(super) classifiers_title: &'static str,
    pub(super) extras: Vec<String>,
    pub(super) extras_title: &'static str,
}

/// A link a release gives; web addresses only.
pub(super) struct FactLink {
    pub(super) label: String,
    pub(super) address: String,
    pub(super) host: String,
    /// Whether it leads to where the release was published from.
    pub(super) verified: bool,
}

impl Facts {
    pub(super) fn of(detail: &ReleaseDetail) -> Self {
        let manifest = &detail.manifest;
        Self {
            licence: licence(manifest),
            runs_on: runs_on(manifest),
            executes: executes(manifest),
            people: people(manifest),
            keywords: manifest
                .keywords
                .as_deref()
                .map(|words| {
                    let words: Vec<&str> = words.split(',').map(str::trim).collect();
                    phrase::shortened(&words.join(", "), 200)
                })
                .filter(|words| !words.is_empty()),
            links: fact_links(detail),
            classifiers: classifiers(&manifest.classifiers),
            classifiers_title: match manifest.ecosystem {
                Ecosystem::Cargo => "Categories",
                Ecosystem::Pypi | Ecosystem::Npm => "Classifiers",
            },
            extras: manifest.provides_extra.clone(),
            extras_title: match manifest.ecosystem {
                Ecosystem::Cargo => "Features",
                Ecosystem::Pypi | Ecosystem::Npm => "Extras",
            },
        }
    }

    /// Whether a link of it leads to where it was published from.
    pub(super) fn is_any_verified(&self) -> bool {
        self.links.iter().any(|link| link.verified)
    }
}

fn runs_on(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut put = |name: &'static str, what: Option<String>| {
        let what = what.map(|what| phrase::shortened(&what, 120));
        found.extend(
            what.filter(|what| !what.is_empty())
                .map(|what| (name, what)),
        );
    };
    put("Python", manifest.requires_python.clone());
    match &manifest.details {
        Details::None => {}
        Details::Cargo(details) => {
            put("Rust", details.rust_version.clone());
            put("Edition", details.edition.clone());
            put("Links to", details.links.clone());
            put("Programs", Some(details.binaries.join(", ")));
        }
        Details::Npm(package) => {
            let field = |key: &str| package.manifest.get(key);
            let engine = |name: &str| {
                let engines = field("engines")?;
                engines.get(name)?.as_str().map(str::to_owned)
            };
            let list = |key: &str| match field(key)? {
                Value::Array(items) => {
                    let words: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
                    Some(words.join(", "))
                }
                Value::String(word) => Some(word.clone()),
                _ => None,
            };
            put("Node.js", engine("node"));
            put("npm", engine("npm"));
            put("System", list("os"));
            put("Processor", list("cpu"));
            put("C library", list("libc"));
            let programs = field("bin").and_then(Value::as_object).map(|programs| {
                let names: Vec<&str> = programs.keys().map(String::as_str).collect();
                names.join(", ")
            });
            put("Programs", programs);
        }
    }
    found
}

fn executes(manifest: &Manifest) -> Vec<String> {
    match &manifest.details {
        Details::None => Vec::new(),
        Details::Cargo(details) => [
            (details.build_script, "a build script, where it is built"),
            (details.proc_macro, "a macro, inside the compiler"),
        ]
        .into_iter()
        .filter(|(is, _)| *is)
        .map(|(_, what)| what.to_owned())
        .collect(),
        Details::Npm(package) => package
            .install_scripts()
            .into_iter()
            .map(|(stage, command)| format!("{stage}: {}", phrase::shortened(command, 120)))
            .collect(),
    }
}

fn licence(manifest: &Manifest) -> Option<String> {
    let said = manifest
        .license_expression
        .as_deref()
        .or(manifest.license.as_deref())
        .map(str::trim);
    said.filter(|text| !text.is_empty() && *text != "UNKNOWN")
        .map(|text| phrase::shortened(text, LONGEST_LICENCE))
        .or_else(|| {
            let classified = manifest
                .classifiers
                .iter()
                .find(|line| line.starts_with("License ::"))?;
            classified
                .rsplit("::")
                .next()
                .map(|last| last.trim().to_owned())
        })
}

/// Names of authors and maintainers. Addresses stay in the metadata file: a page is read by harvesters too.
fn people(manifest: &Manifest) -> Vec<String> {
    let written = [
        &manifest.author,
        &manifest.author_email,
        &manifest.maintainer,
        &manifest.maintainer_email,
    ];
    let mut names: Vec<String> = Vec::new();
    for text in written.into_iter().flatten() {
        for person in text.split(',') {
            let name = person
                .split('<')
                .next()
                .unwrap_or_default()
                .trim()
                .trim_matches('"')
                .trim();
            let known = names.iter().any(|other| other == name);
            if !name.is_empty() && !name.contains('@') && !known && names.len() < 20 {
                names.push(name.to_owned());
            }
        }
    }
    names
}

fn fact_links(detail: &ReleaseDetail) -> Vec<FactLink> {
    let manifest = &detail.manifest;
    let older = [
        ("Home page", &manifest.home_page),
        ("Download", &manifest.download_url),
    ];
    let older = older
        .into_iter()
        .filter_map(|(label, address)| Some((label.to_owned(), address.clone()?)));
    let mut links: Vec<FactLink> = Vec::new();
    for (label, address) in older.chain(manifest.project_urls.iter().cloned()) {
        let Ok(parsed) = Url::parse(address.trim()) else {
            continue;
        };
        let (true, Some(host)) = (
            matches!(parsed.scheme(), "http" | "https"),
            parsed.host_str(),
        ) else {
            continue;
        };
        if links.iter().any(|link| link.address == parsed.as_str()) {
            continue;
        }
        links.push(FactLink {
            label,
            host: host.to_owned(),
            verified: origin::is_verified(&detail.files, parsed.as_str()),
            address: parsed.into(),
        });
    }
    links
}

/// Classifiers under their first word.
fn classifiers(lines: &[String]) -> Vec<(String, Vec<String>)> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines {
        let (group, rest) = line.split_once("::").unwrap_or(("Other", line));
        groups
            .entry(group.trim().to_owned())
            .or_default()
            .push(rest.trim().replace(" :: ", " › "));
    }
    groups.into_iter().collect()
}

/// `GET /project/pypi/{name}/{version}/`.
pub(super) async fn show(
    visit: Visit,
    Path((ecosystem, name, version)): Path<(String, String, String)>,
) -> Response {
    let outcome = page(&visit, &ecosystem, &name, &version).await;
    visit.answer(outcome)
}

async fn page(visit: &Visit, ecosystem: &str, name: &str, version: &str) -> Result<Answer> {
    let addressed = Addressed::read(&visit.path, ecosystem, name)?;
    if addressed.key != name {
        return Ok(Answer::Moved(links::release(
            addressed.ecosystem,
            &addressed.key,
            version,
        )));
    }
    let serial = addressed.serial(visit).await?;
    let serial = shown_state(serial, visit.site.registry.advisories_state().await?);
    visit
        .cached(serial, async {
            let registry = &visit.site.registry;
            let project = registry
                .project(addressed.ecosystem, &addressed.key)
                .await?;
            let release = match registry
                .release(addressed.ecosystem, &addressed.key, version)
                .await
            {
                Err(error) if error.kind == Kind::NotFound => {
                    return Err(no_such_release(&project, version));
                }
                outcome => outcome?,
            };
            let security =
                Security::of(visit, addressed.ecosystem, &addressed.key, version).await?;
            let (system, key) = (addressed.ecosystem, &addressed.key);
            let advised = Advised::of(registry, system, key, &release).await?;
            let page = ReleasePage::new(&visit.frame, &project, &release, security);
            let health = Health::of(registry, &project, &page.facts).await?;
            let page = page.advised(advised);
            Page::render(&ReleasePage { health, ..page })
        })
        .await
}

fn no_such_release(project: &ProjectDetail, version: &str) -> Error {
    Error::new(
        Kind::NotFound,
        "release-unknown",
        format!("{} has no release {}.", project.name, shown(version)),
    )
    .remedy("All its releases are listed on the project's page.")
}

/// Nothing of these can be downloaded; the log keeps proving what was.
fn refuse(files: &mut [FileRow<'_>], why: &'static str, log: &str) {
    for row in files {
        (row.download, row.metadata) = (None, None);
        row.withheld = row.withheld.or(Some(why));
        row.proof = leaf_proof(log, row.file.leaf);
    }
}

impl<'a> ReleasePage<'a> {
    /// With what advisories say, and what follows from it here.
    fn advised(mut self, advised: Advised) -> Self {
        if !advised.blocked.is_empty() {
            refuse(&mut self.files, "not served here", &self.frame.log);
            (self.install, self.pinned, self.example) = (None, None, None);
        }
        Self { advised, ..self }
    }

    fn new(
        frame: &'a Frame,
        project: &'a ProjectDetail,
        detail: &'a ReleaseDetail,
        security: Security,
    ) -> Self {
        let (release, manifest) = (&detail.release, &detail.manifest);
        let quarantined = project.status == ProjectStatus::Quarantined;
        let mut files: Vec<_> = detail
            .files
            .iter()
            .filter_map(|file| FileRow::of(file, &frame.log))
            .collect();
        if quarantined {
            refuse(&mut files, "quarantined", &frame.log);
        }
        let live = || files.iter().filter(|row| row.download.is_some());
        let installable = live().next().is_some();
        let ecosystem = project.ecosystem;
        let pinned = (ecosystem == Ecosystem::Pypi).then(|| {
            let hashes: Vec<_> = live()
                .map(|row| format!("    --hash=sha256:{}", row.file.sha256))
                .collect();
            format!(
                "{}=={} \\\n{}",
                project.key,
                release.version,
                hashes.join(" \\\n")
            )
        });
        let mut needs = Vec::new();
        let mut more_needs: Vec<(Heading<'_>, Vec<Need<'_>>)> = Vec::new();
        for (place, dependency) in manifest.dependencies.iter().enumerate() {
            let need = Need::of(ecosystem, dependency, detail.sources.get(place));
            let Some(heading) = Heading::of(ecosystem, dependency) else {
                needs.push(need);
                continue;
            };
            match more_needs.iter_mut().find(|(known, _)| *known == heading) {
                Some((_, needs)) => needs.push(need),
                None => more_needs.push((heading, vec![need])),
            }
        }
        Self {
            frame,
            name: &project.name,
            version: &release.version,
            project_page: links::project(ecosystem, &project.key),
            report_page: links::report(ecosystem, &project.key, Some(&release.version)),
            summary: manifest.summary.as_deref().unwrap_or_default(),
            banner: Banner::of(project),
            // Its banner says it of the whole project.
            withheld: WithheldFiles::of(&detail.files).filter(|_| !quarantined),
            yanked: release
                .yanked
                .as_ref()
                .map(|(time, reason)| (Day(*time), reason.as_str())),
            prerelease: release.prerelease,
            created: Day(release.created),
            deprecated: release.deprecated.as_deref(),
            install: installable.then(|| {
                Install::of(
                    frame,
                    ecosystem,
                    name_for_clients(project),
                    Some(&release.version),
                )
            }),
            pinned,
            example: live().next().map(|row| row.file.filename.as_str()),
            files,
            security,
            advised: Advised::default(),
            origins: Origins::of(&detail.files),
            files_page: "",
            needs,
            more_needs,
            facts: Facts::of(detail),
            health: None,
            // A description is its author's own advertisement: none while the project is suspected.
            readme: if quarantined {
                Readme::Missing
            } else {
                Readme::new(
                    manifest.description.as_deref(),
                    manifest.description_content_type.as_deref(),
                )
            },
        }
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, String)> {
    use super::samples;
    let frame = Frame::sample();
    let page = |project: &ProjectDetail, release: &ReleaseDetail| {
        ReleasePage::new(&frame, project, release, Security::new(&[], None))
            .render()
            .unwrap()
    };
    let attested = |security: Security| {
        ReleasePage::new(
            &frame,
            &samples::project(),
            &samples::traced_release(),
            security,
        )
        .render()
        .unwrap()
    };
    let mut quarantined = samples::project();
    quarantined.status = ProjectStatus::Quarantined;
    vec![
        ("release", page(&samples::project(), &samples::release())),
        ("release-advised", {
            let (project, release) = (samples::project(), samples::release());
            let page = ReleasePage::new(&frame, &project, &release, Security::new(&[], None));
            let advised = Advised::sample();
            let health = Health::sample(&project, &page.facts);
            let page = page.advised(advised);
            ReleasePage { health, ..page }.render().unwrap()
        }),
        (
            "release-attested",
            attested(Security::new(&samples::provenance(), None)),
        ),
        (
            "release-departed",
            attested(Security::new(
                &samples::departed_provenance(),
                Some(&samples::standing()),
            )),
        ),
        (
            "release-traced",
            page(&samples::project(), &samples::traced_release()),
        ),
        (
            "release-mixed",
            page(&samples::project(), &samples::mixed_release()),
        ),
        (
            "release-yanked",
            page(&samples::project(), &samples::yanked_release()),
        ),
        (
            "release-hostile",
            page(&samples::hostile_project(), &samples::hostile_release()),
        ),
        (
            "release-rtl",
            page(&samples::rtl_project(), &samples::rtl_release()),
        ),
        (
            "release-plain",
            page(&samples::small_project(), &samples::plain_release()),
        ),
        ("release-withheld", {
            let mut release = samples::release();
            for file in &mut release.files {
                file.state = FileState::Quarantined;
                file.withheld_because = Some("It sends <b>swordfish</b> away".to_owned());
            }
            page(&samples::project(), &release)
        }),
        (
            "release-quarantined",
            page(&quarantined, &samples::release()),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn sample(name: &str) -> String {
        super::samples()
            .into_iter()
            .find(|(sample, _)| *sample == name)
            .unwrap()
            .1
    }

    #[test]
    fn every_file_has_its_digests_its_proof_and_its_uploader() {
        let page = sample("release");
        for file in samples::release().files {
            assert!(
                page.contains(&file.sha256)
                    && page.contains(&file.blake2b_256)
                    && page.contains(&file.md5)
            );
            assert!(
                page.contains(&format!("href=\"{}.tlog-proof\"", file.path)),
                "{}",
                file.filename
            );
            assert!(page.contains(&file.uploaded_by));
        }
    }

    #[test]
    fn withheld_files_are_named_but_not_linked() {
        let yanked = sample("release-yanked");
        let withheld = samples::yanked_release()
            .files
            .into_iter()
            .find(|file| file.state == FileState::Quarantined)
            .unwrap();
        assert!(yanked.contains(&Breakable(&withheld.filename).to_string()));
        assert!(!yanked.contains(&format!("href=\"{}\"", withheld.path)));
        assert!(yanked.contains(&format!(
            "href=\"{}\"",
            leaf_proof("/log/1/", withheld.leaf)
        )));
        let quarantined = sample("release-quarantined");
        for file in samples::release().files {
            assert!(!quarantined.contains(&format!("href=\"{}\"", file.path)));
        }
    }

    #[test]
    fn what_is_not_served_says_why_and_offers_nothing() {
        let blocked = sample("release-advised");
        assert!(
            blocked.contains("Not served here.") && blocked.contains("Nothing foreign is ever")
        );
        let withheld = sample("release-withheld");
        let said = "This release is withheld";
        assert!(withheld.contains(said) && withheld.contains("It sends &#60;b&#62;swordfish"));
        assert_eq!(withheld.matches("swordfish").count(), 1, "one reason, once");
        for page in [&blocked, &withheld] {
            assert!(!page.contains("id=\"install\""));
            for file in samples::release().files {
                assert!(!page.contains(&format!("href=\"{}\"", file.path)));
            }
        }
        let mut release = samples::release();
        release.files[0].state = FileState::Quarantined;
        release.files[0].withheld_because = Some("odd".to_owned());
        release.files[1].state = FileState::Quarantined;
        release.files[1].withheld_because = Some("worse".to_owned());
        let part = WithheldFiles::of(&release.files).unwrap();
        assert_eq!(part.extent, "2 of its files are");
        assert_eq!(part.reasons.len(), 2);
        assert_eq!(
            part.reasons[1],
            (Some(release.files[1].filename.as_str()), "worse")
        );
        assert!(WithheldFiles::of(&samples::release().files).is_none());
    }

    #[test]
    fn files_that_wait_for_the_log_are_not_shown() {
        let mut release = samples::release();
        release.files[0].state = FileState::Staged;
        let project = samples::project();
        let page = ReleasePage::new(
            &Frame::sample(),
            &project,
            &release,
            Security::new(&[], None),
        )
        .render()
        .unwrap();
        assert!(!page.contains(&release.files[0].sha256));
    }

    #[test]
    fn links_of_a_release_are_web_addresses_only() {
        let page = sample("release-hostile");
        assert!(
            !page.to_lowercase().contains("href=\"javascript:") && !page.contains("href=\"data:")
        );
        let release = samples::hostile_release();
        let links = fact_links(&release);
        assert!(links.iter().all(|link| link.address.starts_with("http")));
        assert_eq!(links.len(), 1);
    }

    #[test]
    fn a_release_says_where_its_files_come_from() {
        let page = sample("release-traced");
        for said in [
            "GitHub Actions",
            "https://github.com/miriam/solstice/commit/8f14e45fceea167a5a36dedd4bea2543c2a91f6b",
            "https://github.com/miriam/solstice/actions/runs/4521007",
            "release.yml",
            "tag v4.2.0",
        ] {
            assert!(page.contains(said), "{said}");
        }
        let by_token = sample("release");
        assert!(by_token.contains("without a workflow") && !by_token.contains("identity token"));
        let mixed = sample("release-mixed");
        assert!(mixed.contains("GitLab") && mixed.contains("1 file uploaded without"));
    }

    #[test]
    fn links_are_verified_only_where_the_release_was_published_from_there() {
        let verified = |release: &ReleaseDetail| -> Vec<String> {
            let links = fact_links(release).into_iter();
            links
                .filter(|link| link.verified)
                .map(|link| link.label)
                .collect()
        };
        assert_eq!(verified(&samples::traced_release()), ["Source", "Issues"]);
        assert!(verified(&samples::mixed_release()).is_empty());
        assert!(verified(&samples::release()).is_empty());
        let page = sample("release-traced");
        assert_eq!(page.matches(">verified<").count(), 2);
        assert_eq!(page.matches("claimed by the author").count(), 2);
        assert!(!sample("release-mixed").contains(">verified<"));
    }

    #[test]
    fn people_are_names_and_never_addresses() {
        let mut manifest = samples::release().manifest;
        manifest.author = Some("Ada Byron".to_owned());
        manifest.author_email =
            Some("Ada Byron <ada@a.example>, \"Bo, Inc.\" <bo@b.example>, c@c.example".to_owned());
        manifest.maintainer = None;
        manifest.maintainer_email = None;
        let people = people(&manifest);
        assert_eq!(people[0], "Ada Byron");
        assert!(people.iter().all(|name| !name.contains('@')), "{people:?}");
    }

    #[test]
    fn a_condition_does_not_repeat_the_extra_it_is_listed_under() {
        let need = |marker: &str| {
            let mut dependency = samples::release().manifest.dependencies[3].clone();
            dependency.marker = marker.to_owned();
            condition(&dependency).to_owned()
        };
        assert_eq!(need("extra == 'plot'"), "");
        assert_eq!(
            need("os_name == 'nt' and extra == \"plot\""),
            "os_name == 'nt'"
        );
        assert_eq!(
            need("extra == 'plot' or os_name == 'nt'"),
            "extra == 'plot' or os_name == 'nt'"
        );
    }

    #[test]
    fn a_licence_is_a_line() {
        let mut manifest = samples::release().manifest;
        manifest.license_expression = None;
        manifest.license = Some(format!("The Licence\n\n{}", "x".repeat(9_000)));
        assert_eq!(licence(&manifest).as_deref(), Some("The Licence …"));
        manifest.license = None;
        manifest.classifiers = vec!["License :: OSI Approved :: MIT License".to_owned()];
        assert_eq!(licence(&manifest).as_deref(), Some("MIT License"));
    }
}
