//! Searching for projects.

use askama::Template;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::response::Response;
use countersign_registry::{Error, Kind, Result};
use serde::Deserialize;

use super::home::ProjectCard;
use super::visit::{Answer, Frame, Page, Visit};
use super::{links, phrase};
use crate::error::shown;

/// Projects per page.
const PER_PAGE: u64 = 20;
/// Pages that can be turned to; whoever needs more asks for something narrower.
const LAST_PAGE: u64 = 500;
/// Longest search text, in characters.
const LONGEST: usize = 200;

#[derive(Template)]
#[template(path = "search.html")]
struct SearchPage<'a> {
    frame: &'a Frame,
    found: Vec<ProjectCard>,
    total: String,
    page: u64,
    pages: u64,
    newer: Option<String>,
    older: Option<String>,
}

/// What the search form sends.
#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    q: String,
    #[serde(default)]
    page: String,
}

/// `GET /search?q=&page=`.
pub(super) async fn show(
    mut visit: Visit,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let outcome = page(&mut visit, asked).await;
    visit.answer(outcome)
}

async fn page(visit: &mut Visit, asked: Result<Query<Asked>, QueryRejection>) -> Result<Answer> {
    let Query(asked) = asked.map_err(|_| {
        Error::new(
            Kind::Rejected,
            "query-malformed",
            "The address holds a search that can not be read.",
        )
        .remedy("Type the search into the box.")
    })?;
    let number = page_number(&asked.page)?;
    visit.frame.query = asked
        .q
        .chars()
        .filter(|c| !c.is_control())
        .take(LONGEST)
        .collect::<String>()
        .trim()
        .to_owned();
    let results = visit
        .site
        .registry
        .search(&visit.frame.query, (number - 1) * PER_PAGE, PER_PAGE)
        .await?;
    let found = results.items.into_iter().map(ProjectCard::from).collect();
    Page::render(&SearchPage::new(&visit.frame, found, results.total, number)).map(Answer::from)
}

fn page_number(text: &str) -> Result<u64> {
    if text.is_empty() {
        return Ok(1);
    }
    text.parse().ok().filter(|number| (1..=LAST_PAGE).contains(number)).ok_or_else(|| {
        Error::new(Kind::Rejected, "query-malformed", format!("{} is not a page number.", shown(text)))
            .remedy(format!("Pages are numbered from 1 to {LAST_PAGE}; search for something narrower to see the rest."))
    })
}

impl<'a> SearchPage<'a> {
    fn new(frame: &'a Frame, found: Vec<ProjectCard>, total: u64, page: u64) -> Self {
        let pages = total.div_ceil(PER_PAGE).clamp(1, LAST_PAGE);
        let address =
            |number: u64| format!("/search?q={}&page={number}", links::segment(&frame.query));
        Self {
            frame,
            found,
            total: phrase::counted(total, "project", "projects"),
            page,
            pages,
            newer: (page > 1).then(|| address(page - 1)),
            older: (page < pages).then(|| address(page + 1)),
        }
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, String)> {
    use super::samples;
    let frame = |query: &str| Frame {
        query: query.to_owned(),
        ..Frame::sample()
    };
    let cards = || {
        samples::projects()
            .into_iter()
            .map(ProjectCard::from)
            .collect()
    };
    vec![
        (
            "search",
            SearchPage::new(&frame("sol"), cards(), 187, 3)
                .render()
                .unwrap(),
        ),
        (
            "search-all",
            SearchPage::new(&frame(""), cards(), 6, 1).render().unwrap(),
        ),
        (
            "search-nothing",
            SearchPage::new(&frame("\"><script>alert(1)</script>"), Vec::new(), 0, 1)
                .render()
                .unwrap(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_numbers_are_checked_and_say_the_way_out() {
        assert_eq!(page_number("").unwrap(), 1);
        assert_eq!(page_number("7").unwrap(), 7);
        for wrong in ["0", "-1", "501", "x", "99999999999999999999"] {
            let error = page_number(wrong).unwrap_err();
            assert!(
                error.text().contains(wrong) && error.text().contains("from 1 to 500"),
                "{error}"
            );
        }
    }
}
