//! Recordings, and the language of probes over them.
//!
//! A probe is written as if it could act: it asks for a page, looks, asks for the next one. It is run from its beginning
//! again after each answer, over all that was recorded so far, until it wants nothing more. So it has no state but the
//! recording, and the same recording gives the same verdict wherever it is replayed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::assessment::Outcome;
use crate::principles::Grade;
use crate::profile::Profile;

/// The most bytes of an answer that a driver hands over.
pub const MOST_BODY: usize = 2 << 20;

/// The most things that one probe does.
pub const MOST_ACTS: usize = 160;

/// Characters of an answer that are shown as evidence.
pub const EXCERPT: usize = 200;

/// One HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The whole address.
    pub url: String,
    /// Headers, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// The body.
    #[serde(default, with = "bytes", skip_serializing_if = "Vec::is_empty")]
    pub body: Vec<u8>,
    /// From which of several networks it is sent, where the driver has several: a canary is several people.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub network: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it so")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

impl Request {
    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: "GET".to_owned(),
            url: url.into(),
            ..Self::default()
        }
    }

    /// Another method, with a body.
    pub fn send(method: &str, url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self {
            method: method.to_owned(),
            url: url.into(),
            body: body.into(),
            ..Self::default()
        }
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// What a probe wants done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// Send a request. Redirects are not followed.
    Http(Request),
    /// Wait for a mail to an address whose text holds these words; the newest.
    Mail {
        /// To whom.
        to: String,
        /// What it says.
        says: String,
    },
    /// Look for such a mail without waiting.
    Mailbox {
        /// To whom.
        to: String,
        /// What it says.
        says: String,
    },
    /// Run an operator's command of the registry under test.
    Operator(Vec<String>),
    /// Run a command of the client.
    Client(Vec<String>),
    /// Change the world outside the staging copy: the clock, a domain, a list.
    World(World),
}

/// A change of the world that a staging copy lives in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum World {
    /// Turns the clock forward, in seconds.
    Turn(i64),
    /// A domain lapses.
    Lapse(String),
    /// Somebody publishes a document at an https address.
    Publish {
        /// The address.
        url: String,
        /// The document.
        body: String,
    },
    /// Writes a file into the folder in which client commands run; the answer is its path.
    Write {
        /// Its name.
        name: String,
        /// Its content.
        #[serde(with = "bytes")]
        body: Vec<u8>,
    },
    /// Lets the registry do its rounds of a kind: `domains` (is the address of each still somebody's?) or `scans` (what waits for the
    /// scanner). The answer says how many it looked at, or `off`.
    Round(String),
    /// Somebody who has the database in hand changes it behind the registry's back.
    Insider(Insider),
}

/// What an insider does to the database of a staging copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Insider {
    /// Takes away what tells that a subject was withheld and served again.
    Forget {
        /// The subject's purl.
        subject: String,
    },
    /// Has a file's row stand for other bytes.
    Swap {
        /// The file's purl.
        file: String,
        /// SHA-256 of the other bytes, hex.
        sha256: String,
    },
    /// Puts the log's head back to one that was signed before.
    SetBack {
        /// The older head, a signed note.
        note: String,
    },
}

/// An HTTP answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers with names in lower case.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body, cut at [`MOST_BODY`].
    #[serde(default, with = "bytes")]
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// 200 to 299.
    pub fn good(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// 400 to 499: the registry says no.
    pub fn refused(&self) -> bool {
        (400..500).contains(&self.status)
    }
}

/// What came of an act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// An answer.
    Answer(Answer),
    /// Nobody answered, and why.
    Lost(String),
    /// A mail's text.
    Mail(String),
    /// No such mail came.
    NoMail,
    /// A command ended.
    Ran {
        /// Its exit code.
        code: i32,
        /// Standard output.
        out: String,
        /// Standard error.
        err: String,
    },
    /// The world changed; a path, where a file was written.
    Done(String),
    /// The driver can not do that here.
    Impossible(String),
}

/// An act, what came of it, and when, in seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// What was done.
    pub act: Act,
    /// What came of it.
    pub reply: Reply,
    /// When.
    pub time: i64,
}

/// What a probe is about and all it may know.
#[derive(Clone, Debug)]
pub struct Target {
    /// The registry's base address, without a slash at its end.
    pub site: String,
    /// What is said of it.
    pub profile: Profile,
    /// When the assessment began, in seconds since 1970.
    pub now: i64,
    /// From which keys and names of canaries are made.
    pub seed: [u8; 32],
}

impl Target {
    /// A place of the profile as a whole address.
    pub fn address(&self, place: &str) -> String {
        if place.starts_with('/') {
            format!("{}{place}", self.site)
        } else {
            place.to_owned()
        }
    }
}

/// Why a probe stops in the middle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It wants this done first.
    Want(Box<Act>),
    /// It can not be told: nobody answered, or the driver can not do what it takes.
    Unknown(String),
}

/// What a step of a probe gives.
pub type Told<T> = Result<T, Stop>;

/// One thing that a probe looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What must hold.
    pub what: String,
    /// Whether it did.
    pub result: Outcome,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// An address with its method, a command, or a mail's subject.
    pub source: String,
    /// The HTTP status or exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<i32>,
    /// SHA-256 of the whole answer, hex.
    pub sha256: String,
    /// At most 200 characters of it; secrets are left out.
    pub excerpt: String,
    /// When, RFC 3339.
    pub time: String,
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The result.
    pub result: Outcome,
    /// A sentence about it, where one is needed.
    pub note: String,
    /// What was looked at.
    pub parts: Vec<Part>,
    /// What was seen.
    pub evidence: Vec<Evidence>,
}

impl Verdict {
    /// It can not be told, and why.
    pub fn unknown(note: impl Into<String>) -> Self {
        Self {
            result: Outcome::Unknown,
            note: note.into(),
            parts: Vec::new(),
            evidence: Vec::new(),
        }
    }
}

/// A probe of one check.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// The check's id.
    pub check: &'static str,
    /// What its verdict rests on.
    pub grade: Grade,
    /// What it does.
    pub run: fn(&mut Script<'_>) -> Told<()>,
}

impl Probe {
    /// Its name among recordings.
    pub fn name(&self) -> String {
        format!("{} {}", self.check, self.grade.word())
    }
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Do this, record what comes of it, and ask again.
    Act(Box<Act>),
    /// The probe is through.
    Verdict(Verdict),
}

/// Runs a probe over what was recorded so far.
pub fn next(probe: &Probe, target: &Target, recording: &[Exchange]) -> Next {
    let mut script = Script::new(probe.check, target, recording);
    match (probe.run)(&mut script) {
        Ok(()) => Next::Verdict(script.verdict()),
        Err(Stop::Want(_)) if recording.len() >= MOST_ACTS => Next::Verdict(Verdict {
            result: Outcome::Unknown,
            note: format!("The probe was stopped after {MOST_ACTS} steps."),
            ..script.verdict()
        }),
        Err(Stop::Want(act)) => Next::Act(act),
        Err(Stop::Unknown(note)) => {
            let mut verdict = script.verdict();
            // What failed before remains so.
            if verdict.result != Outcome::Fail {
                verdict.result = Outcome::Unknown;
            }
            verdict.note = note;
            Next::Verdict(verdict)
        }
    }
}

/// A probe at work over a recording.
pub struct Script<'a> {
    /// The check that is probed.
    pub check: &'static str,
    /// What it is about.
    pub target: &'a Target,
    recording: &'a [Exchange],
    at: usize,
    parts: Vec<Part>,
    asides: Vec<Part>,
    evidence: Vec<Evidence>,
    note: String,
}

impl<'a> Script<'a> {
    /// How many steps were taken.
    pub(crate) fn steps(&self) -> usize {
        self.at
    }

    pub(crate) fn new(check: &'static str, target: &'a Target, recording: &'a [Exchange]) -> Self {
        Self {
            check,
            target,
            recording,
            at: 0,
            parts: Vec::new(),
            asides: Vec::new(),
            evidence: Vec::new(),
            note: String::new(),
        }
    }

    /// Does something, or reads what came of it.
    ///
    /// # Errors
    /// [`Stop::Want`] until it is recorded; [`Stop::Unknown`] where the recording is of something else, or nothing came of it.
    pub fn act(&mut self, act: Act) -> Told<&'a Reply> {
        let Some(exchange) = self.recording.get(self.at) else {
            return Err(Stop::Want(Box::new(act)));
        };
        if exchange.act != act {
            return Err(Stop::Unknown(format!(
                "The recording does not fit this probe at its step {}.",
                self.at + 1
            )));
        }
        self.at += 1;
        match &exchange.reply {
            Reply::Lost(why) => Err(Stop::Unknown(format!(
                "{} can not be reached: {why}.",
                source(&act)
            ))),
            Reply::Impossible(why) => Err(Stop::Unknown(why.clone())),
            reply => Ok(reply),
        }
    }

    /// Sends a request.
    ///
    /// # Errors
    /// As [`Script::act`].
    pub fn http(&mut self, request: Request) -> Told<&'a Answer> {
        match self.act(Act::Http(request))? {
            Reply::Answer(answer) => Ok(answer),
            _ => Err(misfit()),
        }
    }

    /// Gets an address of the registry, over at most three redirects. None leads from https to anything else.
    ///
    /// # Errors
    /// As [`Script::act`].
    pub fn get(&mut self, place: &str) -> Told<&'a Answer> {
        let mut address = self.target.address(place);
        for _ in 0..4 {
            let answer = self.http(Request::get(address.clone()))?;
            let moved = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
            let Some(to) = answer.header("location").filter(|_| moved) else {
                return Ok(answer);
            };
            let next = url::Url::parse(&address).ok().and_then(|from| {
                from.join(to)
                    .ok()
                    .filter(|next| next.scheme() == from.scheme())
            });
            let Some(next) = next else {
                return Err(Stop::Unknown(format!(
                    "{address} redirects to {}, where no probe follows.",
                    shown(to)
                )));
            };
            address = next.into();
        }
        Err(Stop::Unknown(format!("{address} redirects without end.")))
    }

    /// The text of a mail, or `None` where none comes.
    ///
    /// # Errors
    /// As [`Script::act`].
    pub fn mail(&mut self, to: &str, says: &str) -> Told<Option<&'a str>> {
        let act = Act::Mail {
            to: to.to_owned(),
            says: says.to_owned(),
        };
        match self.act(act)? {
            Reply::Mail(text) => Ok(Some(text)),
            Reply::NoMail => Ok(None),
            _ => Err(misfit()),
        }
    }

    /// The text of a mail that is there already.
    ///
    /// # Errors
    /// As [`Script::act`].
    pub fn mailbox(&mut self, to: &str, says: &str) -> Told<Option<&'a str>> {
        let act = Act::Mailbox {
            to: to.to_owned(),
            says: says.to_owned(),
        };
        match self.act(act)? {
            Reply::Mail(text) => Ok(Some(text)),
            Reply::NoMail => Ok(None),
            _ => Err(misfit()),
        }
    }

    /// Runs an operator's command; its exit code and what it printed.
    ///
    /// # Errors
    /// As [`Script::act`].
    pub fn operator(&mut self, words: &[&str]) -> Told<(i32, &'a str)> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.ran(Act::Operator(words))
    }

    /// Runs a command of the client; its exit code and what it printed.
    ///
    /// # Errors
    /// As [`Script::act`].
    pub fn client(&mut self, words: &[&str]) -> Told<(i32, &'a str)> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.ran(Act::Client(words))
    }

    fn ran(&mut self, act: Act) -> Told<(i32, &'a str)> {
        match self.act(act)? {
            Reply::Ran { code, out, .. } => Ok((*code, out)),
            _ => Err(misfit()),
        }
    }

    /// Changes the world outside.
    ///
    /// # Errors
    /// As [`Script::act`].
    pub fn world(&mut self, change: World) -> Told<&'a str> {
        match self.act(Act::World(change))? {
            Reply::Done(text) => Ok(text),
            _ => Err(misfit()),
        }
    }

    /// When the last thing was done; the beginning where nothing was.
    pub fn now(&self) -> i64 {
        self.at
            .checked_sub(1)
            .and_then(|at| self.recording.get(at))
            .map_or(self.target.now, |exchange| exchange.time)
    }

    /// What must hold, whether it did, and the last thing seen as evidence. Gives back whether it did.
    pub fn hold(&mut self, what: &str, holds: bool) -> bool {
        self.part(what, if holds { Outcome::Pass } else { Outcome::Fail });
        holds
    }

    /// As [`Script::hold`], for what is missing only in part where it does not hold.
    pub fn prefer(&mut self, what: &str, holds: bool) -> bool {
        self.part(
            what,
            if holds {
                Outcome::Pass
            } else {
                Outcome::Partial
            },
        );
        holds
    }

    /// Something that is told and does not count.
    pub fn aside(&mut self, what: &str, result: Outcome) {
        self.asides.push(Part {
            what: what.to_owned(),
            result,
        });
    }

    /// Something that can not be told.
    pub fn unknown(&mut self, what: &str) {
        self.part(what, Outcome::Unknown);
    }

    /// A sentence about the result.
    pub fn say(&mut self, note: impl Into<String>) {
        self.note = note.into();
    }

    fn part(&mut self, what: &str, result: Outcome) {
        self.parts.push(Part {
            what: what.to_owned(),
            result,
        });
        let seen = self.at.checked_sub(1).and_then(|at| self.recording.get(at));
        if let Some(exchange) = seen {
            let evidence = evidence(exchange);
            if self.evidence.last() != Some(&evidence) {
                self.evidence.push(evidence);
            }
        }
    }

    /// What the parts make together: nothing looked at is unknown, and the worst counts.
    fn verdict(mut self) -> Verdict {
        let results: Vec<Outcome> = self.parts.iter().map(|part| part.result).collect();
        let any = |result| results.contains(&result);
        let result = if any(Outcome::Fail) {
            Outcome::Fail
        } else if results.is_empty() || any(Outcome::Unknown) {
            Outcome::Unknown
        } else if any(Outcome::Partial) {
            Outcome::Partial
        } else {
            Outcome::Pass
        };
        self.parts.append(&mut self.asides);
        Verdict {
            result,
            note: self.note,
            parts: self.parts,
            evidence: self.evidence,
        }
    }
}

fn misfit() -> Stop {
    Stop::Unknown(
        "The recording holds another kind of answer than this probe asked for.".to_owned(),
    )
}

/// An act in a few words.
pub fn source(act: &Act) -> String {
    match act {
        Act::Http(request) => format!("{} {}", request.method, shown(&request.url)),
        Act::Mail { to, .. } | Act::Mailbox { to, .. } => format!("mail to {to}"),
        Act::Operator(words) => shown(&format!("countersignd {}", words.join(" "))),
        Act::Client(words) => shown(&format!("countersign {}", words.join(" "))),
        Act::World(World::Turn(by)) => format!("the clock, {by} seconds on"),
        Act::World(World::Lapse(domain)) => format!("{domain} lapses"),
        Act::World(World::Publish { url, .. }) => format!("published at {url}"),
        Act::World(World::Write { name, .. }) => format!("the file {name}"),
        Act::World(World::Round(what)) => format!("the round of {what}"),
        Act::World(World::Insider(_)) => "the database, changed by hand".to_owned(),
    }
}

fn evidence(exchange: &Exchange) -> Evidence {
    let (status, bytes): (Option<i32>, &[u8]) = match &exchange.reply {
        Reply::Answer(answer) => (Some(i32::from(answer.status)), &answer.body),
        Reply::Ran { code, out, err } => (
            Some(*code),
            if out.is_empty() {
                err.as_bytes()
            } else {
                out.as_bytes()
            },
        ),
        Reply::Mail(text) | Reply::Done(text) | Reply::Lost(text) | Reply::Impossible(text) => {
            (None, text.as_bytes())
        }
        Reply::NoMail => (None, b""),
    };
    let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(64 << 10)).unwrap_or(bytes));
    Evidence {
        source: source(&exchange.act),
        status,
        sha256: hex::encode(Sha256::digest(bytes)),
        excerpt: shown(&telling(&text)),
        time: crate::timestamp(exchange.time),
    }
}

/// Of a page what a person would read first: its main part, without markup.
fn telling(text: &str) -> String {
    let text = text.trim_start();
    if !text.starts_with('<') {
        return text.to_owned();
    }
    let main = text
        .find("<main")
        .and_then(|at| text.get(at..))
        .unwrap_or(text);
    let mut plain = String::new();
    let mut inside = false;
    for c in main.chars() {
        match c {
            '<' => {
                inside = true;
                plain.push(' ');
            }
            '>' => inside = false,
            c if !inside => plain.push(c),
            _ => {}
        }
    }
    plain
}

/// A foreign text on one line, cut, without what looks like a secret.
fn shown(text: &str) -> String {
    let mut out = String::new();
    let mut count = 0;
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        let word = without_secrets(word);
        if !out.is_empty() {
            out.push(' ');
            count += 1;
        }
        for c in word.chars() {
            if count == EXCERPT {
                return out;
            }
            out.push(c);
            count += 1;
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Runs of 32 and more characters that only a token, a secret link or a key is made of. Hex digests are no secrets.
fn without_secrets(word: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    let flush = |run: &mut String, out: &mut String| {
        let hex = run.bytes().all(|b| b.is_ascii_hexdigit());
        let mixed =
            run.bytes().any(|b| b.is_ascii_digit()) && run.bytes().any(|b| b.is_ascii_alphabetic());
        if run.len() >= 32 && mixed && (!hex || run.len() != 64) {
            out.extend(run.chars().take(6));
            out.push('…');
        } else {
            out.push_str(run);
        }
        run.clear();
    };
    for c in word.chars() {
        if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
            run.push(c);
        } else {
            flush(&mut run, &mut out);
            out.push(c);
        }
    }
    flush(&mut run, &mut out);
    out
}

/// Recordings by probe, as they are written to a file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Recordings {
    /// By check and grade (`AN1.1 canary`).
    pub probes: BTreeMap<String, Vec<Exchange>>,
}

/// Bytes as text where they are text, else as base64 with a mark before it.
mod bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    const MARK: &str = "base64:";

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.starts_with(MARK) => serializer.serialize_str(text),
            _ => serializer.serialize_str(&format!("{MARK}{}", STANDARD.encode(bytes))),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.strip_prefix(MARK) {
            None => Ok(text.into_bytes()),
            Some(encoded) => STANDARD.decode(encoded).map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            site: "https://packages.example.org".to_owned(),
            profile: Profile::default(),
            now: 1_795_000_000,
            seed: [7; 32],
        }
    }

    fn two_pages(script: &mut Script<'_>) -> Told<()> {
        let first = script.get("/one")?;
        if script.hold("there is a first page", first.good()) {
            let second = script.get("/two")?;
            script.prefer("the second is as good", second.good());
        }
        Ok(())
    }

    fn exchange(path: &str, status: u16) -> Exchange {
        Exchange {
            act: Act::Http(Request::get(format!("https://packages.example.org{path}"))),
            reply: Reply::Answer(Answer {
                status,
                body:
                    b"<html><main>Hello</main> csgn_u_0123456789abcdefghijABCDEFGHIJ0123456789xyz"
                        .to_vec(),
                ..Answer::default()
            }),
            time: 1_795_000_001,
        }
    }

    #[test]
    fn a_probe_asks_for_one_thing_after_the_other_and_replays_to_the_same_verdict() {
        let target = target();
        let probe = Probe {
            check: "AN1.1",
            grade: Grade::Public,
            run: two_pages,
        };
        let wants = |recording: &[Exchange]| match next(&probe, &target, recording) {
            Next::Act(act) => source(&act),
            Next::Verdict(verdict) => format!("{:?}", verdict.result),
        };
        assert_eq!(wants(&[]), "GET https://packages.example.org/one");
        let one = exchange("/one", 200);
        assert_eq!(
            wants(std::slice::from_ref(&one)),
            "GET https://packages.example.org/two"
        );
        assert_eq!(wants(&[one.clone(), exchange("/two", 200)]), "Pass");
        assert_eq!(wants(&[one.clone(), exchange("/two", 404)]), "Partial");
        assert_eq!(wants(&[exchange("/one", 500)]), "Fail");
        let mut gone = exchange("/one", 200);
        gone.reply = Reply::Lost("no route".to_owned());
        assert_eq!(wants(&[gone]), "Unknown");
        // A recording of something else proves nothing.
        assert_eq!(wants(&[exchange("/other", 200)]), "Unknown");
        // It survives being written down.
        let written = serde_json::to_string(&one).unwrap();
        assert_eq!(serde_json::from_str::<Exchange>(&written).unwrap(), one);
    }

    #[test]
    fn evidence_is_short_and_holds_no_secret() {
        let seen = evidence(&exchange("/one", 200));
        assert_eq!(seen.excerpt, "Hello csgn_u…");
        assert_eq!(seen.status, Some(200));
        assert_eq!(crate::seconds(&seen.time), Some(1_795_000_001));
        assert!(shown(&"word ".repeat(500)).chars().count() <= EXCERPT);
        let digest = "a".repeat(63) + "1";
        assert_eq!(shown(&digest), digest);
    }
}
