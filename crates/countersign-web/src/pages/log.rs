//! The log in words: its newest checkpoint, its keys, what happened last, and single entries.

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::response::Response;
use countersign_formats::Ecosystem;
use countersign_registry::model::LoggedEvent;
use countersign_registry::{Error, Kind, LogIdentity, Registry, Result};
use http::{HeaderValue, header};
use serde::Deserialize;

use super::links::Subject;
use super::phrase::{self, Moment};
use super::project::Addressed;
use super::visit::{Answer, Frame, Page, Visit};
use super::{failure, links};

/// Events per page.
const PER_PAGE: u64 = 25;

/// Kinds of leaves and what they mean to a reader.
const KINDS: &[(&str, &str)] = &[
    (
        "file-published",
        "A file was published. From here on its name means these bytes and no others.",
    ),
    (
        "attestation-added",
        "Evidence about a file (who built it, and how) was added.",
    ),
    (
        "yanked",
        "A release was marked as not to be chosen; its files stay.",
    ),
    ("unyanked", "A yank was taken back."),
    (
        "deprecated",
        "A project was marked as discouraged by its owners.",
    ),
    (
        "deleted",
        "A file, a release or a project was deleted. Its names stay taken for ever.",
    ),
    (
        "quarantined",
        "A file or a project is withheld while it is looked into.",
    ),
    ("released", "A quarantine was lifted."),
    (
        "owner-changed",
        "The owners of a project changed. Persons stand in the log as salted digests only.",
    ),
    ("role-changed", "Somebody's role in a project changed."),
    (
        "publisher-changed",
        "The workflows that may publish a project changed.",
    ),
    (
        "policy-changed",
        "The rules of this registry changed, or what a project asks of those who publish it.",
    ),
    (
        "visibility-changed",
        "A project became private, which the log calls added, or public, which it calls removed.",
    ),
    (
        "token-revoked-leaked",
        "A token was revoked because it had become public.",
    ),
    ("key-rotated", "A key of this log was replaced."),
    ("operator-override", "The operator stepped in by hand."),
    ("log-genesis", "The log began."),
    ("log-freeze", "The log ended; its successor is named."),
    (
        "map-root",
        "The root of the map from names to entries, which proves absence and completeness.",
    ),
];

fn meaning(kind: &str) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).map_or(
        "A kind of entry that this page does not know yet.",
        |(_, meaning)| meaning,
    )
}

/// Where the proof of any entry of the log at `log_path` is.
pub(super) fn leaf_proof(log_path: &str, index: u64) -> String {
    format!("{log_path}leaf/{index}.tlog-proof")
}

/// The number of the log at a path such as `/log/1/`.
fn shard_at(log_path: &str) -> Option<u64> {
    log_path
        .trim_end_matches('/')
        .rsplit('/')
        .next()?
        .parse()
        .ok()
}

/// The log as its newest checkpoint shows it.
pub(super) struct LogHead {
    pub(super) origin: String,
    pub(super) size: u64,
    pub(super) entries: String,
    pub(super) root: String,
    pub(super) checkpoint: String,
    pub(super) keys: Vec<String>,
    /// Its path below the site.
    pub(super) path: String,
    /// Closed logs before it: path and origin.
    pub(super) earlier: Vec<(String, String)>,
}

impl LogHead {
    /// Reads it from the registry.
    pub(super) async fn read(registry: &Registry) -> Result<Self> {
        let identity = registry.site_keys();
        let unreadable = |what: &'static str| {
            Error::internal(
                "the served checkpoint can not be read",
                std::io::Error::other(what),
            )
        };
        let shard = shard_at(&identity.log_path)
            .ok_or_else(|| unreadable("the log's path does not end in its number"))?;
        let document = registry.checkpoint(shard).await?;
        let text = String::from_utf8_lossy(&document.bytes).into_owned();
        Self::new(text, identity).ok_or_else(|| unreadable("no size in its second line"))
    }

    fn new(checkpoint: String, identity: LogIdentity) -> Option<Self> {
        let mut lines = checkpoint.lines().skip(1);
        let size = lines.next()?.parse().ok()?;
        let root = lines.next()?.to_owned();
        Some(Self {
            origin: identity.origin,
            size,
            entries: phrase::counted(size, "entry", "entries"),
            root,
            checkpoint,
            keys: identity.verifier_keys,
            path: identity.log_path,
            earlier: identity.earlier,
        })
    }
}

#[derive(Template)]
#[template(path = "log.html")]
struct LogPage<'a> {
    frame: &'a Frame,
    log: LogHead,
    project: Option<(String, String)>,
    events: Vec<EventRow>,
    newest: Option<String>,
    older: Option<String>,
    /// The same as a feed.
    feed: String,
    /// For a project: what proves that these are all.
    whole: Option<String>,
    kinds: &'static [(&'static str, &'static str)],
}

/// An entry in the list.
struct EventRow {
    leaf: u64,
    page: String,
    kind: String,
    subject: Subject,
    at: Moment,
}

impl From<LoggedEvent> for EventRow {
    fn from(event: LoggedEvent) -> Self {
        Self {
            leaf: event.leaf,
            page: format!("/log/event/{}", event.leaf),
            subject: Subject::of(&event.subject),
            kind: event.kind,
            at: Moment(event.at),
        }
    }
}

#[derive(Template)]
#[template(path = "event.html")]
struct EventPage<'a> {
    frame: &'a Frame,
    event: &'a LoggedEvent,
    meaning: &'static str,
    subject: Subject,
    at: Moment,
    proof: String,
    previous: Option<u64>,
    next: Option<u64>,
}

/// What the log page can be asked for.
#[derive(Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    before: String,
    #[serde(default)]
    project: String,
}

/// `GET /log/?before=&project=`.
pub(super) async fn show(visit: Visit, asked: Result<Query<Asked>, QueryRejection>) -> Response {
    let outcome = page(&visit, asked).await;
    visit.answer(outcome)
}

/// What was asked for: entries before one, of a project.
fn read(
    visit: &Visit,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<(Option<u64>, Option<Addressed>)> {
    let wrong = |what: String| {
        Error::new(Kind::Rejected, "query-malformed", what)
            .remedy("Begin at /log/ and follow its links.")
    };
    let Query(asked) = asked.map_err(|_| wrong("The address can not be read.".to_owned()))?;
    let before = match asked.before.as_str() {
        "" => None,
        text => Some(
            index(text)
                .ok_or_else(|| wrong("\"before\" must be the number of an entry.".to_owned()))?,
        ),
    };
    let addressed = match asked.project.split_once('/') {
        None if asked.project.is_empty() => None,
        None => {
            return Err(wrong(
                "\"project\" must be an ecosystem and a name, such as pypi/six.".to_owned(),
            ));
        }
        Some((ecosystem, name)) => Some(Addressed::read(&visit.path, ecosystem, name)?),
    };
    Ok((before, addressed))
}

async fn page(visit: &Visit, asked: Result<Query<Asked>, QueryRejection>) -> Result<Answer> {
    let (before, addressed) = read(visit, asked)?;
    let registry = &visit.site.registry;
    let log = LogHead::read(registry).await?;
    let of = addressed
        .as_ref()
        .map(|project| (project.ecosystem, project.key.as_str()));
    let events = registry.events(of, before, PER_PAGE + 1).await?;
    let mut page = LogPage::new(&visit.frame, log, of, before, events);
    // Without a map nothing says that these are all.
    page.whole = page.whole.filter(|_| registry.settings().keep_map);
    Page::render(&page).map(Answer::from)
}

/// A leaf index: plain decimal digits of a number that the database can hold.
fn index(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .filter(|index| i64::try_from(*index).is_ok())
}

impl<'a> LogPage<'a> {
    fn new(
        frame: &'a Frame,
        log: LogHead,
        of: Option<(Ecosystem, &str)>,
        before: Option<u64>,
        mut events: Vec<LoggedEvent>,
    ) -> Self {
        let more = events.len() as u64 > PER_PAGE;
        events.truncate(PER_PAGE as usize);
        Self {
            frame,
            log,
            project: of.map(|(ecosystem, key)| (key.to_owned(), links::project(ecosystem, key))),
            newest: before.map(|_| address("/log/", of, None)),
            feed: address("/log/feed.atom", of, None),
            whole: of.map(|(ecosystem, key)| {
                format!(
                    "/api/v1/log/completeness/{}/{}",
                    ecosystem.as_str(),
                    links::segment(key)
                )
            }),
            older: events
                .last()
                .filter(|_| more)
                .map(|last| address("/log/", of, Some(last.leaf))),
            events: events.into_iter().map(EventRow::from).collect(),
            kinds: KINDS,
        }
    }
}

#[derive(Template)]
#[template(path = "feed.xml")]
struct Feed<'a> {
    site: &'a str,
    origin: String,
    project: Option<&'a str>,
    page: String,
    address: String,
    updated: String,
    events: Vec<EventRow>,
}

impl EventRow {
    fn meaning(&self) -> &'static str {
        meaning(&self.kind)
    }
}

/// `GET /log/feed.atom?project=`: what happened last, for readers of feeds (RFC 4287).
pub(super) async fn show_feed(
    visit: Visit,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let outcome = feed(&visit, asked).await;
    let mut response = visit.answer(outcome);
    if response.status().is_success() {
        let kind = HeaderValue::from_static("application/atom+xml; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

async fn feed(visit: &Visit, asked: Result<Query<Asked>, QueryRejection>) -> Result<Answer> {
    let (_, addressed) = read(visit, asked)?;
    let registry = &visit.site.registry;
    let of = addressed
        .as_ref()
        .map(|project| (project.ecosystem, project.key.as_str()));
    let events = registry.events(of, None, PER_PAGE).await?;
    let updated = match events.first() {
        Some(newest) => newest.at.rfc3339(),
        None => "1970-01-01T00:00:00Z".to_owned(),
    };
    Page::render(&Feed {
        site: registry.settings().site(),
        origin: registry.site_keys().origin,
        project: of.map(|(_, key)| key),
        page: address("/log/", of, None),
        address: address("/log/feed.atom", of, None),
        updated,
        events: events.into_iter().map(EventRow::from).collect(),
    })
    .map(Answer::from)
}

/// The address of a view of the log, of one project, of entries before one.
fn address(path: &str, of: Option<(Ecosystem, &str)>, before: Option<u64>) -> String {
    let parts: Vec<String> = [
        of.map(|(ecosystem, key)| {
            format!("project={}/{}", ecosystem.as_str(), links::segment(key))
        }),
        before.map(|before| format!("before={before}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    if parts.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", parts.join("&"))
    }
}

/// `GET /log/event/{index}`.
pub(super) async fn show_event(visit: Visit, Path(number): Path<String>) -> Response {
    let outcome = event_page(&visit, &number).await;
    visit.answer(outcome)
}

async fn event_page(visit: &Visit, number: &str) -> Result<Answer> {
    let number = index(number).ok_or_else(|| failure::no_such_page(&visit.path))?;
    // An entry never changes, but it gains a successor.
    let registry = &visit.site.registry;
    let size = LogHead::read(registry).await?.size;
    visit
        .cached(u64::from(number + 1 < size), async {
            let found = registry.events(None, number.checked_add(1), 1).await?;
            let event = found
                .into_iter()
                .find(|event| event.leaf == number)
                .ok_or_else(|| {
                    Error::new(
                        Kind::NotFound,
                        "leaf-unknown",
                        format!("The log has no entry {number} to show."),
                    )
                    .remedy(format!(
                        "Its entries are numbered from 0 to {}; begin at /log/.",
                        size.saturating_sub(1)
                    ))
                })?;
            Page::render(&EventPage::new(&visit.frame, &event, size))
        })
        .await
}

impl<'a> EventPage<'a> {
    fn new(frame: &'a Frame, event: &'a LoggedEvent, size: u64) -> Self {
        Self {
            frame,
            event,
            meaning: meaning(&event.kind),
            subject: Subject::of(&event.subject),
            at: Moment(event.at),
            proof: leaf_proof(&frame.log, event.leaf),
            previous: event.leaf.checked_sub(1),
            next: (event.leaf + 1 < size).then_some(event.leaf + 1),
        }
    }
}

#[cfg(test)]
impl LogHead {
    /// The head of sample pages.
    pub(super) fn sample() -> Self {
        Self::sample_of(1_284_331)
    }

    pub(super) fn sample_of(size: u64) -> Self {
        let origin = Frame::sample().origin;
        let checkpoint = format!(
            "{origin}\n{size}\nqINS1GRFhWHwdkUeqLEoP4yEMkTBBzxBkGwGQlVlVcs=\n\n\u{2014} {origin} Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\u{2014} {origin} 9Ag8{}==\n",
            "Zk3vX0pQ7cR5mB1tW8yA".repeat(160)
        );
        let keys = vec![
            format!("{origin}+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"),
            format!("{origin}+f4083c66+Bmx{}", "Q7cR5mB1tW8yAZk3vX0p".repeat(87)),
        ];
        let identity = LogIdentity {
            origin,
            verifier_keys: keys,
            log_path: Frame::sample().log,
            earlier: Vec::new(),
            policy: None,
        };
        Self::new(checkpoint, identity).unwrap()
    }
}

#[cfg(test)]
pub(super) fn samples() -> Vec<(&'static str, String)> {
    use super::samples;
    let frame = Frame::sample();
    let page = |of, before, events| {
        LogPage::new(&frame, LogHead::sample(), of, before, events)
            .render()
            .unwrap()
    };
    let events = samples::events();
    let event = |at: usize| {
        EventPage::new(&frame, &events[at], 1_284_331)
            .render()
            .unwrap()
    };
    vec![
        ("log", page(None, None, samples::events())),
        (
            "log-project",
            page(
                Some((Ecosystem::Pypi, "solstice")),
                Some(1_284_000),
                samples::events()[..5].to_vec(),
            ),
        ),
        (
            "log-empty",
            page(Some((Ecosystem::Pypi, "solstice")), Some(1), Vec::new()),
        ),
        ("event", event(0)),
        ("event-unknown", event(4)),
    ]
}

#[cfg(test)]
mod tests {
    use countersign_trust::leaf::LeafKind;

    use super::*;

    #[test]
    fn every_kind_of_leaf_is_explained() {
        let known: Vec<_> = LeafKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let explained: Vec<_> = KINDS.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(explained, known);
    }

    #[test]
    fn indices_are_plain_digits_in_range() {
        assert_eq!(index("0"), Some(0));
        assert_eq!(index("1284331"), Some(1_284_331));
        for wrong in ["", "-1", "+1", "1e3", "18446744073709551615", "９"] {
            assert_eq!(index(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_log_that_has_a_predecessor_says_so_and_keeps_its_own_addresses() {
        assert_eq!(shard_at("/log/12/"), Some(12));
        assert_eq!(shard_at("/log/"), None);
        let frame = Frame {
            log: "/log/2/".to_owned(),
            ..Frame::sample()
        };
        let log = LogHead {
            path: frame.log.clone(),
            earlier: vec![("/log/1/".to_owned(), "old.example.org/log/1".to_owned())],
            ..LogHead::sample()
        };
        let page = LogPage::new(&frame, log, None, None, Vec::new())
            .render()
            .unwrap();
        assert!(page.contains("href=\"/log/2/checkpoint\""), "{page}");
        assert!(page.contains("href=\"/log/1/checkpoint\"><code>old.example.org/log/1</code>"));
        let events = super::super::samples::events();
        let event = EventPage::new(&frame, &events[0], 1_284_331)
            .render()
            .unwrap();
        assert!(event.contains("/log/2/leaf/"));
        let alone = LogPage::new(&frame, LogHead::sample(), None, None, Vec::new());
        assert!(!alone.render().unwrap().contains("Earlier logs"));
    }

    #[test]
    fn the_list_turns_pages_only_while_there_is_more() {
        let pages = super::samples();
        let page = |name: &str| {
            pages
                .iter()
                .find(|(sample, _)| *sample == name)
                .unwrap()
                .1
                .clone()
        };
        assert!(page("log").contains("href=\"/log/?before="));
        assert!(!page("log-project").contains("before="));
        assert!(page("log-project").contains("href=\"/log/?project=pypi/solstice\""));
    }
}
