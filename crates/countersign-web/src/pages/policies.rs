//! The policies: their list, and each as a page with its day of review. Open to everybody, also where reading is not:
//! who finds a fault, or wants back into an account, has nothing to show.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::response::{Redirect, Response};
use axum::routing::get;
use pulldown_cmark::{CowStr, Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd};

use super::guest::Guest;
use super::visit::Frame;
use crate::Site;
use crate::error::{Refusal, no_such_page};
use crate::policies::{Policy, PolicyFacts};

pub(super) fn routes() -> Router<Site> {
    Router::new()
        .route("/policies", get(list))
        .route("/policies/", get(list))
        .route("/policies/{name}", get(show))
        // Where the policy on recoveries was before there were others.
        .route(
            "/help/recovery",
            get(|| async { Redirect::permanent("/policies/account-recovery") }),
        )
}

#[derive(Template)]
#[template(path = "policies.html")]
struct ListPage<'a> {
    frame: &'a Frame,
    policies: &'a [Policy],
    security_txt: bool,
}

#[derive(Template)]
#[template(path = "policy.html")]
struct PolicyPage<'a> {
    frame: &'a Frame,
    policy: &'a Policy,
    html: String,
}

/// `GET /policies/`.
async fn list(guest: Guest) -> Response {
    guest.page(&ListPage {
        frame: &guest.frame,
        policies: guest.site.face.policies.all(),
        security_txt: !guest.site.face.security_contact.is_empty(),
    })
}

/// `GET /policies/NAME`.
async fn show(guest: Guest, Path(name): Path<String>) -> Result<Response, Refusal> {
    let site = &guest.site;
    let policy = site.face.policies.get(&name).ok_or_else(|| {
        let error = no_such_page(&guest.here);
        Refusal::text(error.remedy("All policies of this registry are listed at /policies/."))
    })?;
    let origin = site.registry.site_keys().origin;
    let facts = PolicyFacts {
        settings: site.registry.settings(),
        recovery: &site.registry.recovery_policy(),
        origin: &origin,
        operator: site.face.operator.as_deref(),
        contacts: &site.face.security_contact,
    };
    Ok(guest.page(&PolicyPage {
        frame: &guest.frame,
        policy,
        html: rendered(&policy.filled(&facts)),
    }))
}

/// Markdown of the operator's as HTML: markup in it is shown as text, links lead to the web, to mail or into this site, and
/// headings stand below the page's own.
pub(super) fn rendered(markdown: &str) -> String {
    let mut out = String::with_capacity(markdown.len() * 3 / 2);
    let mut open_links = Vec::new();
    let events = Parser::new_ext(
        markdown,
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH,
    );
    let events = events.map(|event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        Event::Start(Tag::Heading { level, .. }) => Event::Start(Tag::Heading {
            level: level.max(HeadingLevel::H2),
            id: None,
            classes: Vec::new(),
            attrs: Vec::new(),
        }),
        Event::End(TagEnd::Heading(level)) => {
            Event::End(TagEnd::Heading(level.max(HeadingLevel::H2)))
        }
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            ..
        }) => {
            let good = link_type == LinkType::Email || leads_well(&dest_url);
            open_links.push(good);
            match good {
                true => Event::Start(Tag::Link {
                    link_type,
                    dest_url,
                    title: CowStr::Borrowed(""),
                    id: CowStr::Borrowed(""),
                }),
                false => Event::InlineHtml(CowStr::Borrowed("")),
            }
        }
        Event::End(TagEnd::Link) if open_links.pop() == Some(false) => {
            Event::InlineHtml(CowStr::Borrowed(""))
        }
        // Nothing is loaded from elsewhere; the words for a picture stay.
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => {
            Event::InlineHtml(CowStr::Borrowed(""))
        }
        other => other,
    });
    pulldown_cmark::html::push_html(&mut out, events);
    out.replace(
        "<table>",
        "<div class=\"scroll\" role=\"region\" aria-label=\"Table\" tabindex=\"0\"><table>",
    )
    .replace("</table>", "</table></div>")
    .replace("<pre>", "<pre tabindex=\"0\">")
    .replace("<th>", "<th scope=\"col\">")
    .replace("<a href=\"http", "<a rel=\"nofollow noopener\" href=\"http")
}

/// Whether a link leads to the web, to mail, or to a path of this site.
fn leads_well(target: &str) -> bool {
    let folded = target.trim().to_ascii_lowercase();
    let own = folded.starts_with('/') && !folded.starts_with("//") && !folded.starts_with("/\\");
    own || ["https://", "http://", "mailto:"]
        .iter()
        .any(|scheme| folded.starts_with(scheme))
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, String)> {
    let frame = Frame::sample();
    let text = "Reviewed: 2026-11-02\n\n# Rules of the house\n\n## Be kind\n\nTo all <b>of</b> {{host}}.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n";
    let policies =
        crate::policies::Policies::read(&[("house-rules".to_owned(), text.to_owned())]).unwrap();
    let list = ListPage {
        frame: &frame,
        policies: policies.all(),
        security_txt: true,
    };
    let page = |name: &str| {
        let policy = policies.get(name).unwrap();
        PolicyPage {
            frame: &frame,
            policy,
            html: rendered("## Be kind\n\nTo all <b>of</b> you, says [who](https://who.example).\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"),
        }
        .render()
        .unwrap()
    };
    vec![
        ("policies", list.render().unwrap()),
        ("policy-own", page("house-rules")),
        ("policy-built-in", page("acceptable-use")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_scripts_and_foreign_schemes_of_a_text_are_harmless() {
        let page = rendered(
            "# Top\n\nWords <script>alert(1)</script> [x](javascript:alert(1)) [y](data:text/html,x) [z](//evil.example) ![p](https://x.example/p.png)\n\n<img src=x onerror=y>",
        );
        assert!(page.contains("<h2>Top</h2>"), "{page}");
        assert!(
            page.contains("&lt;script&gt;") && page.contains("&lt;img"),
            "{page}"
        );
        for bad in ["<script", "<img", "href=", "javascript:"] {
            assert!(!page.contains(bad), "{bad} in {page}");
        }
        assert_eq!(
            rendered("[in](/recover) [out](https://x.example/?a=\"b&c) <mailto:a@b.example>")
                .trim(),
            "<p><a href=\"/recover\">in</a> <a rel=\"nofollow noopener\" href=\"https://x.example/?a=%22b&amp;c\">out</a> <a href=\"mailto:a@b.example\">mailto:a@b.example</a></p>"
        );
    }
}
