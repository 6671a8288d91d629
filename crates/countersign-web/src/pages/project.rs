//! The page of a project: its newest release, all releases, its people.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use countersign_formats::Ecosystem;
use countersign_registry::model::{ProjectDetail, ProjectStatus, ReleaseDetail, ReleaseSummary};
use countersign_registry::{DocumentKey, Error, Kind, Result};

use super::advisories::Advised;
use super::install::Install;
use super::origin::Origins;
use super::phrase::{self, Day};
use super::provenance::Security;
use super::readme::Readme;
use super::release::Facts;
use super::visit::{Answer, Frame, Page, Visit};
use super::{failure, links, words};

/// Releases shown before the rest is folded away.
const SHOWN: usize = 12;

#[derive(Template)]
#[template(path = "project.html")]
struct ProjectPage<'a> {
    frame: &'a Frame,
    kind: &'static str,
    name: &'a str,
    /// What installers read.
    index: String,
    summary: &'a str,
    banner: Option<Banner>,
    /// Only those with a role on it see this page.
    private: bool,
    /// Where cargo reads a private crate, where it does not read it at the registry's usual address.
    private_index: Option<String>,
    created: Day,
    downloads: String,
    people: &'a [(String, countersign_registry::model::Role)],
    newest: Option<Newest<'a>>,
    security: Security,
    advised: Advised,
    /// Where the files of the newest release are listed.
    files_page: String,
    releases: Vec<ReleaseRow>,
    folded: Vec<ReleaseRow>,
    release_count: String,
    /// Tags of an npm package: the tag, its version and the page of that.
    tags: Vec<(&'a str, &'a str, String)>,
    log_page: String,
    report_page: String,
}

/// What is shown of the newest release.
struct Newest<'a> {
    version: String,
    page: String,
    created: Day,
    deprecated: Option<&'a str>,
    install: Install,
    origins: Origins<'a>,
    facts: Facts,
    readme: Readme,
}

/// A release in the list.
pub(super) struct ReleaseRow {
    version: String,
    page: String,
    created: Day,
    files: String,
    yanked: bool,
    deprecated: bool,
    /// Why it is yanked, or deprecated.
    reason: String,
    prerelease: bool,
}

/// The state of a project when it is not simply active.
pub(super) struct Banner {
    pub(super) class: &'static str,
    pub(super) title: &'static str,
    pub(super) text: &'static str,
    pub(super) reason: Option<String>,
}

impl Banner {
    pub(super) fn of(project: &ProjectDetail) -> Option<Self> {
        let (class, title, text) = match project.status {
            ProjectStatus::Active => return None,
            ProjectStatus::Archived => (
                "info",
                "Archived",
                "Its owners do not maintain this project any more. Its files stay installable.",
            ),
            ProjectStatus::Deprecated => (
                "warn",
                "Deprecated",
                "Its owners advise against using this project. Its files stay installable.",
            ),
            ProjectStatus::Quarantined => (
                "danger",
                "Quarantined",
                "This project may be harmful. None of its files can be installed while this is looked into.",
            ),
        };
        Some(Self {
            class,
            title,
            text,
            reason: project
                .status_reason
                .clone()
                .filter(|reason| !reason.is_empty()),
        })
    }
}

/// `GET /project/pypi/{name}/`.
pub(super) async fn show(
    visit: Visit,
    Path((ecosystem, name)): Path<(String, String)>,
) -> Response {
    let outcome = page(&visit, &ecosystem, &name).await;
    visit.answer(outcome)
}

/// The project that the words of an address mean.
pub(super) struct Addressed {
    pub(super) ecosystem: Ecosystem,
    pub(super) key: String,
}

impl Addressed {
    /// Reads them; names that can not exist are simply not there.
    pub(super) fn read(path: &str, ecosystem: &str, name: &str) -> Result<Self> {
        let absent = || failure::no_such_page(path);
        let ecosystem: Ecosystem = ecosystem.parse().map_err(|_| absent())?;
        let key = countersign_formats::format(ecosystem)
            .name_key(name)
            .map_err(|_| absent())?;
        Ok(Self {
            ecosystem,
            key: key.as_str().to_owned(),
        })
    }

    /// The serial of what is served of the project; unknown projects get the advice of a 404 page.
    pub(super) async fn serial(&self, visit: &Visit) -> Result<u64> {
        let key = DocumentKey::Index(self.ecosystem, self.key.clone());
        if let Some(document) = visit.site.registry.cached_document(&key) {
            return Ok(document.serial);
        }
        match visit.site.registry.document(&key).await {
            Ok(document) => Ok(document.serial),
            Err(error) if error.kind == Kind::NotFound => Err(Error::new(
                Kind::NotFound,
                "project-unknown",
                format!("There is no project \"{}\" in this registry.", self.key),
            )
            .remedy("Check the spelling or search for it. The first to publish under a free name becomes its owner.")),
            Err(error) => Err(error),
        }
    }
}

async fn page(visit: &Visit, ecosystem: &str, name: &str) -> Result<Answer> {
    let addressed = Addressed::read(&visit.path, ecosystem, name)?;
    if addressed.key != name {
        return Ok(Answer::Moved(links::project(
            addressed.ecosystem,
            &addressed.key,
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
            let (system, key) = (addressed.ecosystem, &addressed.key);
            let (newest, security) = match shown_release(&project) {
                Some(release) => (
                    Some(registry.release(system, key, &release.version).await?),
                    Security::of(visit, system, key, &release.version).await?,
                ),
                None => (None, Security::new(&[], None)),
            };
            let advised = match &newest {
                Some(release) => Advised::of(registry, system, key, release).await?,
                None => Advised::default(),
            };
            let page = ProjectPage::new(&visit.frame, &project, newest.as_ref(), security);
            Page::render(&ProjectPage { advised, ..page })
        })
        .await
}

/// The state of what a page of a project shows: what is served of it, and what advisories say.
pub(super) fn shown_state(serial: u64, advisories: u64) -> u64 {
    // Advisories change at a microsecond, serials by one: spread, they do not meet.
    serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ advisories
}

/// What its clients call a project. Python's take any spelling, so they get the one in normal form.
pub(super) fn name_for_clients(project: &ProjectDetail) -> &str {
    match project.ecosystem {
        Ecosystem::Pypi => &project.key,
        Ecosystem::Cargo | Ecosystem::Npm => &project.name,
    }
}

/// Where installers look a project up.
fn installers_index(project: &ProjectDetail) -> String {
    match project.ecosystem {
        Ecosystem::Pypi => format!("/pypi/simple/{}/", project.key),
        Ecosystem::Cargo => countersign_formats::cargo::name::index_path(&project.name)
            .map_or_else(
                |_| links::project(project.ecosystem, &project.key),
                |path| format!("/cargo/index/{path}"),
            ),
        Ecosystem::Npm => format!("/npm/{}", project.name.replacen('/', "%2f", 1)),
    }
}

/// The release whose description stands for the project: the newest final one that is not yanked, else the newest that
/// is not yanked, else the newest. None while the project is quarantined.
fn shown_release(project: &ProjectDetail) -> Option<&ReleaseSummary> {
    if project.status == ProjectStatus::Quarantined {
        return None;
    }
    let with_files = || project.releases.iter().filter(|release| release.files > 0);
    with_files()
        .find(|release| release.yanked.is_none() && !release.prerelease)
        .or_else(|| with_files().find(|release| release.yanked.is_none()))
        .or_else(|| with_files().next())
}

impl<'a> ProjectPage<'a> {
    fn new(
        frame: &'a Frame,
        project: &'a ProjectDetail,
        newest: Option<&'a ReleaseDetail>,
        security: Security,
    ) -> Self {
        let mut releases: Vec<_> = project
            .releases
            .iter()
            .map(|release| ReleaseRow {
                version: release.version.clone(),
                page: links::release(project.ecosystem, &project.key, &release.version),
                created: Day(release.created),
                files: phrase::counted(release.files, "file", "files"),
                yanked: release.yanked.is_some(),
                deprecated: release.deprecated.is_some(),
                reason: release
                    .yanked
                    .as_ref()
                    .map(|(_, reason)| reason.clone())
                    .or_else(|| release.deprecated.clone())
                    .unwrap_or_default(),
                prerelease: release.prerelease,
            })
            .collect();
        let folded = releases.split_off(releases.len().min(SHOWN));
        Self {
            frame,
            kind: words::project(project.ecosystem),
            name: &project.name,
            index: installers_index(project),
            tags: project
                .tags
                .iter()
                .map(|(tag, version)| {
                    let page = links::release(project.ecosystem, &project.key, version);
                    (tag.as_str(), version.as_str(), page)
                })
                .collect(),
            summary: newest
                .and_then(|newest| newest.manifest.summary.as_deref())
                .unwrap_or_default(),
            banner: Banner::of(project),
            private: project.private,
            private_index: (project.private
                && project.ecosystem == Ecosystem::Cargo
                && !frame.restricted)
                .then(|| format!("sparse+{}/cargo/private/", frame.site)),
            created: Day(project.created),
            downloads: phrase::count(project.downloads_30d),
            people: &project.people,
            security,
            advised: Advised::default(),
            files_page: newest.map_or_else(String::new, |newest| {
                links::release(project.ecosystem, &project.key, &newest.release.version)
            }),
            newest: newest.map(|detail| Newest {
                version: detail.release.version.clone(),
                page: links::release(project.ecosystem, &project.key, &detail.release.version),
                created: Day(detail.release.created),
                deprecated: detail.release.deprecated.as_deref(),
                install: Install::of(frame, project.ecosystem, name_for_clients(project), None),
                origins: Origins::of(&detail.files),
                facts: Facts::of(detail),
                readme: Readme::new(
                    detail.manifest.description.as_deref(),
                    detail.manifest.description_content_type.as_deref(),
                ),
            }),
            releases,
            folded,
            release_count: phrase::counted(project.releases.len() as u64, "release", "releases"),
            report_page: links::report(project.ecosystem, &project.key, None),
            log_page: format!(
                "/log/?project={}/{}",
                project.ecosystem.as_str(),
                links::segment(&project.key)
            ),
        }
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, String)> {
    use super::samples;
    let frame = Frame::sample();
    let page = |project: &ProjectDetail, newest: Option<&ReleaseDetail>| {
        ProjectPage::new(&frame, project, newest, Security::new(&[], None))
            .render()
            .unwrap()
    };
    let attested = || {
        let (project, release) = (samples::project(), samples::traced_release());
        let security = Security::new(&samples::provenance(), None);
        ProjectPage::new(&frame, &project, Some(&release), security)
            .render()
            .unwrap()
    };
    let mut quarantined = samples::project();
    quarantined.status = ProjectStatus::Quarantined;
    quarantined.status_reason = Some(
        "Sends the environment to a foreign host on import; reported by three people.".to_owned(),
    );
    let mut deprecated = samples::small_project();
    deprecated.status = ProjectStatus::Deprecated;
    deprecated.status_reason = Some("Use solstice instead.".to_owned());
    let mut emptied = samples::small_project();
    emptied.releases.clear();
    emptied.status = ProjectStatus::Archived;
    vec![
        (
            "project",
            page(&samples::project(), Some(&samples::release())),
        ),
        ("project-attested", attested()),
        (
            "project-traced",
            page(&samples::project(), Some(&samples::traced_release())),
        ),
        (
            "project-rtl",
            page(&samples::rtl_project(), Some(&samples::rtl_release())),
        ),
        ("project-quarantined", page(&quarantined, None)),
        (
            "project-deprecated",
            page(&deprecated, Some(&samples::plain_release())),
        ),
        ("project-emptied", page(&emptied, None)),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn the_shown_release_is_the_newest_final_one_that_is_not_yanked() {
        let mut project = samples::project();
        assert!(project.releases[0].prerelease);
        let shown = shown_release(&project).unwrap().clone();
        assert!(!shown.prerelease && shown.yanked.is_none());
        project.releases.retain(|release| release.prerelease);
        assert!(shown_release(&project).unwrap().prerelease);
        project.status = ProjectStatus::Quarantined;
        assert!(shown_release(&project).is_none());
    }

    #[test]
    fn a_quarantined_project_offers_nothing_to_install() {
        let pages = super::samples();
        let (_, page) = pages
            .iter()
            .find(|(name, _)| *name == "project-quarantined")
            .unwrap();
        assert!(page.contains("may be harmful") && page.contains("foreign host"));
        assert!(!page.contains("pip install"));
    }

    #[test]
    fn all_of_three_hundred_releases_are_on_the_page() {
        let pages = super::samples();
        let (_, page) = pages.iter().find(|(name, _)| *name == "project").unwrap();
        for release in samples::project().releases {
            assert!(
                page.contains(&links::release(
                    Ecosystem::Pypi,
                    "solstice",
                    &release.version
                )),
                "{}",
                release.version
            );
        }
    }
}
