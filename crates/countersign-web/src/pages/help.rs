//! Help: how to install, publish and verify, and every error code with its way out.

use std::fmt;

use askama::Template;
use axum::response::Response;
use countersign_formats::Ecosystem;
use countersign_registry::model::TrustRootSummary;
use countersign_registry::oidc::{Field, Provider};
use countersign_registry::{Kind, Result};

use super::install::{Setup, Trusted};
use super::phrase::Told as _;
use super::visit::{Answer, Frame, Page, Visit};
use crate::error::{ERROR_CODES, ErrorCode, is_about_provenance};

#[derive(Template)]
#[template(path = "help.html")]
struct HelpPage<'a> {
    frame: &'a Frame,
    setup: Setup,
}

#[derive(Template)]
#[template(path = "help_publish.html")]
struct PublishPage<'a> {
    frame: &'a Frame,
    setup: Setup,
}

#[derive(Template)]
#[template(path = "help_verify.html")]
struct VerifyPage<'a> {
    frame: &'a Frame,
    keys: Vec<String>,
}

#[derive(Template)]
#[template(path = "help_trusted_publishing.html")]
struct TrustedPublishingPage<'a> {
    frame: &'a Frame,
    /// What identity tokens must name; none: switched off.
    audience: Option<&'a str>,
    setup: Trusted,
    providers: &'static [Provider],
}

#[derive(Template)]
#[template(path = "help_errors.html")]
struct ErrorsPage<'a> {
    frame: &'a Frame,
    codes: &'static [ErrorCode],
}

#[derive(Template)]
#[template(path = "help_provenance.html")]
struct ProvenancePage<'a> {
    frame: &'a Frame,
    roots: Vec<TrustRootSummary>,
    codes: Vec<&'static ErrorCode>,
}

impl<'a> ProvenancePage<'a> {
    fn new(frame: &'a Frame, roots: Vec<TrustRootSummary>) -> Self {
        Self {
            frame,
            roots,
            codes: ERROR_CODES
                .iter()
                .filter(|entry| is_about_provenance(entry.code))
                .collect(),
        }
    }
}

/// Help does not change while the server runs.
const UNCHANGING: u64 = 0;

/// `GET /help/`.
pub(super) async fn show(visit: Visit) -> Response {
    let page = async {
        Page::render(&HelpPage {
            frame: &visit.frame,
            setup: Setup::of(&visit.frame),
        })
    };
    let outcome = visit.cached(UNCHANGING, page).await;
    visit.answer(outcome)
}

/// `GET /help/publish`.
pub(super) async fn show_publish(visit: Visit) -> Response {
    let page = async {
        Page::render(&PublishPage {
            frame: &visit.frame,
            setup: Setup::of(&visit.frame),
        })
    };
    let outcome = visit.cached(UNCHANGING, page).await;
    visit.answer(outcome)
}

/// `GET /help/verify`.
pub(super) async fn show_verify(visit: Visit) -> Response {
    let outcome = verify(&visit).await;
    visit.answer(outcome)
}

async fn verify(visit: &Visit) -> Result<Answer> {
    let keys = visit.site.registry.site_keys().verifier_keys;
    visit
        .cached(UNCHANGING, async {
            Page::render(&VerifyPage {
                frame: &visit.frame,
                keys,
            })
        })
        .await
}

/// `GET /help/trusted-publishing`.
pub(super) async fn show_trusted_publishing(visit: Visit) -> Response {
    let outcome = trusted_publishing(&visit).await;
    visit.answer(outcome)
}

async fn trusted_publishing(visit: &Visit) -> Result<Answer> {
    let audience = match visit.site.registry.oidc_audience(Ecosystem::Pypi) {
        Ok(audience) => Some(audience),
        Err(error) if error.kind == Kind::Denied => None,
        Err(error) => return Err(error),
    };
    visit
        .cached(UNCHANGING, async {
            Page::render(&TrustedPublishingPage::new(
                &visit.frame,
                audience.as_deref(),
            ))
        })
        .await
}

/// A field as it is given on a command line, with its example for a value.
struct Given<'a>(&'a Field);

impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Field { name, example, .. } = self.0;
        if example.contains([' ', '*']) {
            write!(f, "'{name}={example}'")
        } else {
            write!(f, "{name}={example}")
        }
    }
}

impl<'a> TrustedPublishingPage<'a> {
    fn new(frame: &'a Frame, audience: Option<&'a str>) -> Self {
        Self {
            frame,
            audience,
            setup: Trusted::of(frame, audience.unwrap_or_default()),
            providers: &Provider::ALL,
        }
    }
}

/// `GET /help/provenance`. The trust roots on it change, so it is rendered for each visit.
pub(super) async fn show_provenance(visit: Visit) -> Response {
    let outcome = async {
        let roots = visit.site.registry.trust_roots().await?;
        Page::render(&ProvenancePage::new(&visit.frame, roots)).map(Answer::from)
    };
    let outcome = outcome.await;
    visit.answer(outcome)
}

/// `GET /help/errors`.
pub(super) async fn show_errors(visit: Visit) -> Response {
    let page = async {
        Page::render(&ErrorsPage {
            frame: &visit.frame,
            codes: ERROR_CODES,
        })
    };
    let outcome = visit.cached(UNCHANGING, page).await;
    visit.answer(outcome)
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, String)> {
    let frame = Frame::sample();
    let restricted = Frame {
        restricted: true,
        ..Frame::sample()
    };
    let keys = super::log::LogHead::sample().keys;
    vec![
        (
            "help",
            HelpPage {
                frame: &frame,
                setup: Setup::of(&frame),
            }
            .render()
            .unwrap(),
        ),
        (
            "help-restricted",
            HelpPage {
                frame: &restricted,
                setup: Setup::of(&restricted),
            }
            .render()
            .unwrap(),
        ),
        (
            "help-publish",
            PublishPage {
                frame: &frame,
                setup: Setup::of(&frame),
            }
            .render()
            .unwrap(),
        ),
        (
            "help-verify",
            VerifyPage {
                frame: &frame,
                keys,
            }
            .render()
            .unwrap(),
        ),
        (
            "help-trusted-publishing",
            TrustedPublishingPage::new(&frame, Some("https://packages.example.org/pypi"))
                .render()
                .unwrap(),
        ),
        (
            "help-trusted-publishing-off",
            TrustedPublishingPage::new(&frame, None).render().unwrap(),
        ),
        (
            "help-provenance",
            ProvenancePage::new(&frame, super::samples::trust_roots())
                .render()
                .unwrap(),
        ),
        (
            "help-errors",
            ErrorsPage {
                frame: &frame,
                codes: ERROR_CODES,
            }
            .render()
            .unwrap(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_about_provenance_is_explained_where_errors_lead_to() {
        let pages = samples();
        let (_, page) = pages
            .iter()
            .find(|(name, _)| *name == "help-provenance")
            .unwrap();
        let mut count = 0;
        for code in ERROR_CODES {
            let place = crate::error::explained_at(code.code);
            let here = place == format!("/help/provenance#{}", code.code);
            assert_eq!(
                here,
                page.contains(&format!("id=\"{}\"", code.code)),
                "{place}"
            );
            count += usize::from(here);
        }
        assert!(count >= 25, "{count}");
        for word in ["verified", " safe"] {
            assert!(!page.contains(word), "the page says {word}");
        }
    }

    #[test]
    fn every_error_code_has_its_place_to_link_to() {
        let pages = samples();
        let (_, page) = pages
            .iter()
            .find(|(name, _)| *name == "help-errors")
            .unwrap();
        for code in ERROR_CODES {
            assert!(
                page.contains(&format!("id=\"{}\"", code.code)),
                "{}",
                code.code
            );
        }
    }
}
