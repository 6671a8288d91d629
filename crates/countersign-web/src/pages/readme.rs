//! A release's description as harmless HTML.
//!
//! The author of a description is a stranger to every reader of the page. So: Markdown goes through an allow list,
//! pictures become links (nothing is loaded from elsewhere), headings move below the page's own, identifiers get a
//! prefix, and whatever is not Markdown, or costs too much to sanitise, is shown as the plain text it is.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Longer descriptions are shown as plain text, in bytes.
const LONGEST_RENDERED: usize = 384 << 10;
/// Deepest nesting of Markdown blocks that is rendered.
const DEEPEST: usize = 48;
/// Most raw tags times deepest raw nesting: what the repair of misnested HTML may cost.
const RAW_HTML_BUDGET: usize = 200_000;
/// What identifiers inside a description start with, so that they never meet one of the page's own.
const ID_PREFIX: &str = "readme-";

/// Classes of the marked quotations of GitHub's Markdown.
const ALERTS: [&str; 5] = [
    "markdown-alert-note",
    "markdown-alert-tip",
    "markdown-alert-important",
    "markdown-alert-warning",
    "markdown-alert-caution",
];

/// A description, ready for the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Readme {
    /// There is none.
    Missing,
    /// Sanitised HTML.
    Html(String),
    /// Plain text, still to be escaped.
    Plain(String),
}

impl Readme {
    /// Renders `text` according to its media type; never fails and never refuses.
    pub(super) fn new(text: Option<&str>, media_type: Option<&str>) -> Self {
        let text = text.map(str::trim).unwrap_or_default();
        if text.is_empty() {
            return Self::Missing;
        }
        let essence = media_type
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        let rendered = if essence.eq_ignore_ascii_case("text/markdown") {
            markdown(text)
        } else {
            None
        };
        rendered.map_or_else(|| Self::Plain(text.to_owned()), Self::Html)
    }
}

/// Markdown as sanitised HTML; `None` when it is too long, too deep or too costly.
fn markdown(text: &str) -> Option<String> {
    if text.len() > LONGEST_RENDERED {
        return None;
    }
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_GFM;
    let mut events = Vec::new();
    let mut raw = RawHtml::default();
    let mut depth = 0_usize;
    for event in Parser::new_ext(text, options) {
        match &event {
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Html(html) | Event::InlineHtml(html) => raw.count(html),
            _ => {}
        }
        if depth > DEEPEST || raw.too_costly() {
            return None;
        }
        events.push(match event {
            Event::TaskListMarker(done) => {
                Event::Text(CowStr::Borrowed(if done { "☑ " } else { "☐ " }))
            }
            other => other,
        });
    }
    name_headings(&mut events);
    let mut html = String::with_capacity(text.len() * 3 / 2);
    pulldown_cmark::html::push_html(&mut html, events.into_iter());
    Some(settle(&sanitise(&html)))
}

/// How much raw HTML a description holds; misnested elements make a repairing parser copy them again and again.
#[derive(Default)]
struct RawHtml {
    tags: usize,
    open: usize,
    deepest: usize,
}

impl RawHtml {
    fn count(&mut self, html: &str) {
        for piece in html.split('<').skip(1) {
            self.tags += 1;
            let closing = piece.starts_with('/');
            let name = piece
                .trim_start_matches('/')
                .split(|c: char| !c.is_ascii_alphanumeric())
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            // These close themselves and are commonly left open.
            let alone = matches!(
                name.as_str(),
                "" | "br"
                    | "hr"
                    | "img"
                    | "p"
                    | "li"
                    | "td"
                    | "th"
                    | "tr"
                    | "dt"
                    | "dd"
                    | "wbr"
                    | "source"
                    | "input"
            );
            if alone {
                continue;
            }
            if closing {
                self.open = self.open.saturating_sub(1);
            } else {
                self.open += 1;
                self.deepest = self.deepest.max(self.open);
            }
        }
    }

    fn too_costly(&self) -> bool {
        self.tags.saturating_mul(self.deepest) > RAW_HTML_BUDGET
    }
}

/// Gives each heading the identifier by which tables of contents link to it, made from its words.
fn name_headings(events: &mut [Event<'_>]) {
    let mut start = None;
    let mut words = String::new();
    for position in 0..events.len() {
        match &events[position] {
            Event::Start(Tag::Heading { .. }) => {
                start = Some(position);
                words.clear();
            }
            Event::Text(text) | Event::Code(text) if start.is_some() => words.push_str(text),
            Event::End(TagEnd::Heading(_)) => {
                if let Some(Event::Start(Tag::Heading { id, .. })) =
                    start.take().map(|at| &mut events[at])
                {
                    *id = Some(CowStr::from(slug(&words)));
                }
            }
            _ => {}
        }
    }
}

fn slug(words: &str) -> String {
    words
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .take(80)
        .collect()
}

/// The allow list.
fn sanitise(html: &str) -> String {
    let mut cleaner = ammonia::Builder::default();
    cleaner
        // Landmarks and image maps of a stranger have no place among the page's own.
        .rm_tags([
            "header", "footer", "nav", "aside", "article", "map", "area", "center", "data", "time",
        ])
        .add_tag_attributes("a", ["id"])
        .add_tag_attributes("div", ["id"])
        .allowed_classes(HashMap::from([
            ("blockquote", HashSet::from(ALERTS)),
            ("div", HashSet::from(["footnote-definition"])),
        ]))
        .id_prefix(Some(ID_PREFIX))
        .link_rel(Some("nofollow noopener noreferrer ugc"))
        .url_schemes(HashSet::from(["http", "https", "mailto"]))
        .url_relative(ammonia::UrlRelative::Custom(Box::new(own_fragment)));
    for heading in ["h1", "h2", "h3", "h4", "h5", "h6"] {
        cleaner.add_tag_attributes(heading, ["id"]);
    }
    cleaner.clean(html).to_string()
}

/// Of relative links only those within the description survive; the others would lead into this site.
fn own_fragment(url: &str) -> Option<Cow<'_, str>> {
    let fragment = url
        .strip_prefix('#')
        .filter(|fragment| !fragment.is_empty())?;
    Some(Cow::Owned(format!(
        "#{ID_PREFIX}{}",
        fragment.to_lowercase()
    )))
}

/// Fits sanitised HTML into the page: pictures become links, headings go two levels down, identifiers stay unique,
/// tables and code can be scrolled with the keyboard.
///
/// Works on the serialiser's output, in which `<` begins a tag and nothing else, except inside quoted attribute values.
fn settle(html: &str) -> String {
    let mut out = String::with_capacity(html.len() + html.len() / 8);
    let mut rest = html;
    let mut inside_link = false;
    let mut seen = HashSet::new();
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        let (tag, after) = SerialTag::read(&rest[at..]);
        rest = after;
        match (tag.name, tag.closing) {
            ("img", _) => out.push_str(&picture(&tag, inside_link)),
            ("a", closing) => {
                inside_link = !closing;
                push_unique(&mut out, &tag, &mut seen);
            }
            ("table", false) => {
                out.push_str("<div class=\"scroll\" role=\"region\" aria-label=\"Table\" tabindex=\"0\"><table>");
            }
            ("table", true) => out.push_str("</table></div>"),
            ("pre", false) => out.push_str("<pre tabindex=\"0\">"),
            (name, closing) => match lowered(name) {
                None => push_unique(&mut out, &tag, &mut seen),
                Some(level) if closing => out.push_str(&format!("</{level}>")),
                Some(level) => match tag
                    .attribute("id")
                    .filter(|id| seen.insert((*id).to_owned()))
                {
                    Some(id) => out.push_str(&format!("<{level} id=\"{id}\">")),
                    None => out.push_str(&format!("<{level}>")),
                },
            },
        }
    }
    out.push_str(rest);
    out
}

/// Writes a tag as it was, without an identifier that was there before.
fn push_unique(out: &mut String, tag: &SerialTag<'_>, seen: &mut HashSet<String>) {
    match tag.attribute("id") {
        Some(id) if !seen.insert(id.to_owned()) => {
            out.push_str(&tag.text.replacen(&format!(" id=\"{id}\""), "", 1));
        }
        _ => out.push_str(tag.text),
    }
}

fn lowered(name: &str) -> Option<HeadingLevel> {
    Some(match name {
        "h1" => HeadingLevel::H3,
        "h2" => HeadingLevel::H4,
        "h3" => HeadingLevel::H5,
        "h4" | "h5" | "h6" => HeadingLevel::H6,
        _ => return None,
    })
}

/// The words that stand where the picture was; a link to it, unless they are part of a link already (badges).
fn picture(tag: &SerialTag<'_>, inside_link: bool) -> String {
    let source = tag
        .attribute("src")
        .filter(|source| source.starts_with("https://") || source.starts_with("http://"));
    let described = tag
        .attribute("alt")
        .map(str::trim)
        .filter(|alt| !alt.is_empty());
    let words = described.unwrap_or("picture");
    match source {
        Some(source) if !inside_link => format!(
            "<a class=\"picture\" href=\"{source}\" rel=\"nofollow noopener noreferrer ugc\">{}</a>",
            as_text(words)
        ),
        _ => format!("<span class=\"picture\">{}</span>", as_text(words)),
    }
}

/// A serialised attribute value as text: `&` and quotes are escaped in it already, angle brackets may not be.
fn as_text(value: &str) -> String {
    value.replace('<', "&lt;").replace('>', "&gt;")
}

/// One tag of the serialiser's output.
struct SerialTag<'a> {
    /// From `<` to `>`.
    text: &'a str,
    name: &'a str,
    closing: bool,
}

impl<'a> SerialTag<'a> {
    /// Reads the tag at the start of `html` (which starts with `<`) and returns what follows it.
    fn read(html: &'a str) -> (Self, &'a str) {
        let mut quoted = false;
        let end = html
            .bytes()
            .position(|byte| {
                quoted ^= byte == b'"';
                byte == b'>' && !quoted
            })
            .map_or(html.len(), |at| at + 1);
        let (text, rest) = html.split_at(end);
        let inner = text.trim_start_matches('<').trim_end_matches('>');
        let closing = inner.starts_with('/');
        let name = inner
            .trim_start_matches('/')
            .split(' ')
            .next()
            .unwrap_or_default();
        (
            Self {
                text,
                name,
                closing,
            },
            rest,
        )
    }

    /// The value as serialised (escaped).
    fn attribute(&self, name: &str) -> Option<&'a str> {
        // Attributes are `name="value"`, separated by one space; a value never holds a bare quote.
        let mut rest = self.text.split_once(' ')?.1;
        while let Some((key, after)) = rest.split_once("=\"") {
            let (value, next) = after.split_once('"')?;
            if key.trim() == name {
                return Some(value);
            }
            rest = next;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(markdown_text: &str) -> String {
        match Readme::new(
            Some(markdown_text),
            Some("text/markdown; charset=UTF-8; variant=GFM"),
        ) {
            Readme::Html(html) => html,
            other => panic!("not rendered: {other:?}"),
        }
    }

    #[test]
    fn scripts_handlers_styles_and_script_links_are_gone() {
        let page = html(super::super::samples::HOSTILE_README).to_lowercase();
        for bad in [
            "<script",
            "onerror=",
            "onload=",
            "onclick=",
            "href=\"javascript:",
            "<iframe",
            "<style",
            "style=",
            "<form",
            "<input",
            "<img",
            "<svg",
            "<object",
            "<meta",
            "<base",
            "srcdoc",
            "data:text",
        ] {
            assert!(!page.contains(bad), "{bad} in {page}");
        }
    }

    #[test]
    fn pictures_become_links_and_badges_keep_their_target() {
        assert_eq!(
            html("![A plot](https://x.example/p.png)").trim(),
            "<p><a class=\"picture\" href=\"https://x.example/p.png\" rel=\"nofollow noopener noreferrer ugc\">A plot</a></p>"
        );
        let badge = html("[![build](https://x.example/b.svg)](https://ci.example/)");
        assert!(badge.contains("href=\"https://ci.example/\""), "{badge}");
        assert!(
            badge.contains("<span class=\"picture\">build</span></a>"),
            "{badge}"
        );
        assert!(!badge.contains("b.svg"));
        let sly = html("<img alt=\"a > b <script>\" src=\"https://x.example/?a=1&b=2\">");
        assert!(sly.contains(">a &gt; b &lt;script&gt;</a>"), "{sly}");
        assert_eq!(
            html("![local](docs/p.png)").trim(),
            "<p><span class=\"picture\">local</span></p>"
        );
    }

    #[test]
    fn headings_go_below_the_pages_own_and_contents_lists_still_work() {
        let page = html(
            "[Use](#how-to-use) [away](docs/x.md)\n\n# Title\n\n## How to `use`!\n\n# Title\n",
        );
        assert!(page.contains("href=\"#readme-how-to-use\""), "{page}");
        assert!(page.contains("<h4 id=\"readme-how-to-use\">"), "{page}");
        assert_eq!(page.matches("id=\"readme-title\"").count(), 1, "{page}");
        assert!(
            !page.contains("docs/x.md") && !page.contains("<h1") && !page.contains("<h2"),
            "{page}"
        );
    }

    #[test]
    fn links_carry_no_weight_and_only_web_and_mail() {
        let page = html(
            "[a](https://a.example) [b](ftp://b.example) [c](mailto:c@c.example) [d](JaVaScRiPt:alert(1))",
        );
        assert_eq!(
            page.matches("rel=\"nofollow noopener noreferrer ugc\"")
                .count(),
            4,
            "{page}"
        );
        assert_eq!(page.matches("href=").count(), 2, "{page}");
    }

    #[test]
    fn tables_tasks_and_code_are_kept_and_reachable_by_keyboard() {
        let page = html(
            "|a|b|\n|:-|-:|\n|1|2|\n\n- [x] done\n- [ ] open\n\n```py\nprint(1)\n```\n\n~~old~~",
        );
        assert!(
            page.contains(
                "<div class=\"scroll\" role=\"region\" aria-label=\"Table\" tabindex=\"0\"><table>"
            ),
            "{page}"
        );
        assert!(
            page.contains("☑ done") && page.contains("☐ open") && page.contains("<del>old</del>"),
            "{page}"
        );
        assert!(page.contains("<pre tabindex=\"0\"><code>"), "{page}");
    }

    #[test]
    fn other_types_are_plain_text_and_never_refused() {
        for media_type in [
            None,
            Some("text/x-rst"),
            Some("text/plain"),
            Some("application/x-odd; a=b"),
            Some(""),
        ] {
            assert_eq!(
                Readme::new(Some("Title\n=====\n"), media_type),
                Readme::Plain("Title\n=====".to_owned())
            );
        }
        assert_eq!(
            Readme::new(Some(" \n"), Some("text/markdown")),
            Readme::Missing
        );
        assert_eq!(Readme::new(None, None), Readme::Missing);
    }

    #[test]
    fn what_would_cost_too_much_is_shown_as_plain_text() {
        let fonts: String = (0..200).map(|n| format!("<font a={n}>")).collect();
        for text in [
            "> ".repeat(20_000) + "x",
            "<div>".repeat(20_000),
            fonts + &"<p>x".repeat(20_000),
            "a ".repeat(LONGEST_RENDERED),
        ] {
            let begun = std::time::Instant::now();
            assert!(matches!(
                Readme::new(Some(&text), Some("text/markdown")),
                Readme::Plain(_)
            ));
            assert!(begun.elapsed().as_secs() < 5);
        }
    }
}
