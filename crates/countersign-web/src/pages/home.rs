//! The front page: what this is, how to use it, what is new, and the keys of the log.

use askama::Template;
use axum::response::Response;
use countersign_registry::Result;
use countersign_registry::model::ProjectSummary;

use super::log::LogHead;
use super::phrase::{self, Day};
use super::visit::{Answer, Frame, Page, Visit};
use super::{install, links, words};

/// Projects shown as new.
const NEWEST: u64 = 12;

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage<'a> {
    frame: &'a Frame,
    setup: install::Setup,
    newest: Vec<ProjectCard>,
    log: LogHead,
}

/// A project in a list.
pub(super) struct ProjectCard {
    pub(super) page: String,
    /// Of which ecosystem, in a word.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) latest: String,
    pub(super) summary: String,
    pub(super) private: bool,
    pub(super) updated: Day,
}

impl From<ProjectSummary> for ProjectCard {
    fn from(project: ProjectSummary) -> Self {
        Self {
            page: links::project(project.ecosystem, &project.key),
            kind: words::ecosystem(project.ecosystem),
            name: project.name,
            latest: project.latest,
            summary: phrase::shortened(&project.summary, 200),
            private: project.private,
            updated: Day(project.updated),
        }
    }
}

/// `GET /`.
pub(super) async fn show(visit: Visit) -> Response {
    let outcome = page(&visit).await;
    visit.answer(outcome)
}

async fn page(visit: &Visit) -> Result<Answer> {
    let registry = &visit.site.registry;
    let log = LogHead::read(registry).await?;
    visit
        .cached(log.size, async {
            let newest = registry
                .newest(NEWEST)
                .await?
                .into_iter()
                .map(ProjectCard::from)
                .collect();
            Page::render(&HomePage {
                frame: &visit.frame,
                setup: install::Setup::of(&visit.frame),
                newest,
                log,
            })
        })
        .await
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, String)> {
    use super::samples;
    let render = |frame: &Frame, newest: Vec<ProjectSummary>, log| {
        let newest = newest.into_iter().map(ProjectCard::from).collect();
        HomePage {
            frame,
            setup: install::Setup::of(frame),
            newest,
            log,
        }
        .render()
        .unwrap()
    };
    let restricted = Frame {
        restricted: true,
        ..Frame::sample()
    };
    vec![
        (
            "home",
            render(&Frame::sample(), samples::projects(), LogHead::sample()),
        ),
        (
            "home-empty",
            render(&Frame::sample(), Vec::new(), LogHead::sample_of(1)),
        ),
        (
            "home-restricted",
            render(&restricted, samples::projects(), LogHead::sample()),
        ),
    ]
}
