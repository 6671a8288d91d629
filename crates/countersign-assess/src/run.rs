//! A run of probes, one act after the other: what the drivers of both programs turn.

use std::collections::BTreeMap;

use crate::assessment::{self, Assessment, Finding};
use crate::principles::Grade;
use crate::script::{Act, Exchange, Next, Probe, Recordings, Reply, Target, next};

/// A run under way. Ask it for the next act, do it, and tell it what came of it, until there is none.
pub struct Run {
    target: Target,
    probes: Vec<Probe>,
    at: usize,
    recording: Vec<Exchange>,
    wanted: Option<Act>,
    recordings: Recordings,
    findings: Vec<Finding>,
    /// What was read once need not be asked for again by the next probe.
    read: Vec<Exchange>,
}

impl Run {
    /// A run of these probes.
    pub fn new(target: Target, probes: Vec<Probe>) -> Self {
        Self {
            target,
            probes,
            at: 0,
            recording: Vec::new(),
            wanted: None,
            recordings: Recordings::default(),
            findings: Vec::new(),
            read: Vec::new(),
        }
    }

    /// A run that replays recordings; what they do not hold stays wanted.
    pub fn replay(target: Target, probes: Vec<Probe>, recordings: &Recordings) -> Self {
        let mut run = Self::new(target, probes);
        while run.step().is_some() {
            let at = run.recording.len();
            let name = run.probes.get(run.at).map(Probe::name).unwrap_or_default();
            match recordings
                .probes
                .get(&name)
                .and_then(|recording| recording.get(at))
            {
                Some(exchange) => {
                    run.wanted = None;
                    run.recording.push(exchange.clone());
                }
                None => run.record(Reply::Lost("it was not recorded".to_owned()), 0),
            }
        }
        run
    }

    /// The name of the probe that is at work.
    pub fn probe(&self) -> Option<String> {
        self.probes.get(self.at).map(Probe::name)
    }

    /// How many probes there are, and how many are through.
    pub fn progress(&self) -> (usize, usize) {
        (self.probes.len(), self.at)
    }

    /// What is to be done next; `None` once all probes are through.
    pub fn step(&mut self) -> Option<Act> {
        loop {
            let probe = self.probes.get(self.at)?;
            match next(probe, &self.target, &self.recording) {
                Next::Act(act) => {
                    let known = match (&*act, probe.grade) {
                        (_, Grade::Canary) => None,
                        _ => self.read.iter().find(|exchange| exchange.act == *act),
                    };
                    match known {
                        Some(exchange) => self.recording.push(exchange.clone()),
                        None => {
                            self.wanted = Some((*act).clone());
                            return Some(*act);
                        }
                    }
                }
                Next::Verdict(verdict) => {
                    let recording = std::mem::take(&mut self.recording);
                    self.recordings.probes.insert(probe.name(), recording);
                    self.findings.push(Finding {
                        check: probe.check.to_owned(),
                        grade: probe.grade,
                        verdict,
                    });
                    self.at += 1;
                }
            }
        }
    }

    /// What came of the last act, and when, in seconds since 1970.
    pub fn record(&mut self, reply: Reply, time: i64) {
        let Some(act) = self.wanted.take() else {
            return;
        };
        let exchange = Exchange { act, reply, time };
        let reads = matches!(&exchange.act, Act::Http(request) if request.method == "GET");
        if reads
            && self
                .probes
                .get(self.at)
                .is_some_and(|probe| probe.grade != Grade::Canary)
        {
            self.read.push(exchange.clone());
        }
        self.recording.push(exchange);
    }

    /// What the probes found so far.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The assessment, and the recordings that it rests on.
    pub fn conclude(self, canaries: Option<String>) -> (Assessment, Recordings) {
        let assessment = assessment::conclude(&self.target, canaries, &self.findings);
        (assessment, self.recordings)
    }
}

/// What a registry says about who may make canaries on it, at [`CONSENT`].
pub const CONSENT: &str = "/.well-known/registry-assessment.json";

/// Does this consent document let the holder of this token make canaries, at this time? `Err` says why not.
pub fn consents(document: &[u8], token: &str, now: i64) -> Result<(), String> {
    use sha2::Digest as _;
    let value: BTreeMap<String, serde_json::Value> = serde_json::from_slice(document)
        .map_err(|error| format!("{CONSENT} is no JSON object: {error}"))?;
    let text = |name: &str| {
        value
            .get(name)
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default()
    };
    if value.get("canaries").and_then(serde_json::Value::as_bool) != Some(true) {
        return Err(format!("{CONSENT} does not say \"canaries\": true"));
    }
    let digest = hex::encode(sha2::Sha256::digest(token.as_bytes()));
    if token.len() < 16 || !text("token_sha256").eq_ignore_ascii_case(&digest) {
        return Err(format!(
            "the token is not the one that {CONSENT} names by its digest"
        ));
    }
    match crate::seconds(text("until")) {
        Some(until) if until > now => Ok(()),
        Some(_) => Err(format!("the consent ended on {}", text("until"))),
        None => Err(format!("{CONSENT} does not say until when it consents")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assessment::Outcome;
    use crate::profile::Profile;
    use crate::script::{Answer, Request};

    const NOW: i64 = 1_795_000_000;

    fn target(profile: Profile) -> Target {
        Target {
            site: "https://packages.example.org".to_owned(),
            profile,
            now: NOW,
            seed: [0; 32],
        }
    }

    /// Runs the public probes against pages by path; the assessment, and how many requests were sent.
    fn against(profile: &Profile, pages: &[(&str, &str)]) -> (Assessment, usize) {
        let target = target(profile.clone());
        let mut run = Run::new(target.clone(), assessment::plan(&target, false));
        let mut sent = 0;
        while let Some(act) = run.step() {
            let Act::Http(request) = act else {
                panic!("{act:?}");
            };
            sent += 1;
            let path = request
                .url
                .strip_prefix(&target.site)
                .unwrap_or(&request.url);
            let found = pages.iter().find(|(known, _)| *known == path);
            let answer = match found {
                Some((_, body)) if body.starts_with("-> ") => Answer {
                    status: 302,
                    headers: vec![("location".to_owned(), body[3..].to_owned())],
                    body: Vec::new(),
                },
                Some((_, body)) => Answer {
                    status: 200,
                    body: body.as_bytes().to_vec(),
                    ..Answer::default()
                },
                None => Answer {
                    status: 404,
                    ..Answer::default()
                },
            };
            run.record(Reply::Answer(answer), NOW + 1);
        }
        let (assessment, recordings) = run.conclude(None);
        // What was recorded gives the same again, without anybody being asked.
        let written = serde_json::to_string(&recordings).unwrap();
        let again = Run::replay(
            target.clone(),
            assessment::plan(&target, false),
            &serde_json::from_str(&written).unwrap(),
        );
        assert_eq!(again.conclude(None).0, assessment);
        (assessment, sent)
    }

    fn profile() -> Profile {
        let text = r#"
            [places]
            sign_in = "/login"
            trusted_publishing = "/_/oidc/audience"
            token_pattern = "https://scanner.example.org/patterns"
            token_prefix = "pkg_"
            attestation = "/attestation"
            package_page = "/project/thing"
            vulnerable_page = "/project/old"
            report_api = "/openapi.json"
            event_feed = "/events"
            osv_feed = "/osv/"
            file = "/files/thing.whl"
            file_sha256 = "9a0364b9e99bb480dd25e1f0284c8555c8f6d9d6f8c9a6b1bd6b6f4ad8f4c9d0"
            [documents."AN1.2"]
            at = "/help/recovery"
            words = ["recover"]
            [documents."GC3.1"]
            at = "/security/reviews"
            words = ["2026"]
            read_by = "Ada"
            read = "2026-10-01"
        "#;
        let mut profile = Profile::parse(text, NOW).unwrap();
        use sha2::Digest as _;
        profile.places.file_sha256 = Some(hex::encode(sha2::Sha256::digest(b"wheel")));
        profile
    }

    const GOOD: &[(&str, &str)] = &[
        ("/login", "-> /sign-in"),
        ("/sign-in", "<form data-passkey=get>"),
        ("/_/oidc/audience", r#"{"audience": "packages"}"#),
        ("https://scanner.example.org/patterns", "pkg_[a-z]+"),
        ("/attestation", r#"{"attestation_bundles": [{}]}"#),
        (
            "/.well-known/security.txt",
            "Contact: mailto:x@example.org\nExpires: 2027-01-01T00:00:00Z\nPolicy: /policy\n",
        ),
        ("/policy", "We will not pursue legal action."),
        (
            "/project/thing",
            "<a href=\"/report?purl=x\">Report as malware</a>",
        ),
        (
            "/project/old",
            "This release has a known vulnerability: CVE-2024-1.",
        ),
        (
            "/openapi.json",
            r#"{"paths": {"/api/v1/reports": {"post": {}}}}"#,
        ),
        ("/events", "2026 published"),
        ("/files/thing.whl", "wheel"),
        (
            "/osv/",
            r#"[{"id": "X-1", "modified": "2026-01-01T00:00:00Z", "affected": [{"package": {"ecosystem": "PyPI", "name": "x"}, "versions": ["1"]}]}]"#,
        ),
        ("/help/recovery", "How to recover"),
        ("/security/reviews", "The review of 2026"),
    ];

    #[test]
    fn what_a_registry_shows_passes_and_what_it_only_offers_is_partial() {
        let (made, sent) = against(&profile(), GOOD);
        let result = |id: &str| made.check(id).unwrap().result;
        for id in [
            "AN1.2", "AZ3.2a", "GC1.1a", "GC2.2a", "GC2.2c", "GC2.4", "GC3.1", "GC3.3",
        ] {
            assert_eq!(result(id), Outcome::Pass, "{id} {:?}", made.check(id));
        }
        for id in ["AN2.2", "AZ3.1", "AZ3.3", "GC2.1a", "GC3.2"] {
            assert_eq!(result(id), Outcome::Partial, "{id} {:?}", made.check(id));
        }
        assert_eq!(result("AN1.1"), Outcome::Unknown);
        assert!(sent <= GOOD.len(), "{sent}");
        let check = made.check("GC3.3").unwrap();
        let outside = check
            .parts
            .iter()
            .find(|part| part.what.contains("export"))
            .unwrap();
        assert_eq!(outside.result, Outcome::Unknown);
        assert!(
            made.checks
                .iter()
                .all(|check| !check.result.counts() || !check.evidence.is_empty())
        );
    }

    #[test]
    fn each_public_probe_fails_where_the_thing_is_missing_or_broken() {
        let broken: &[(&str, &str, &str, Outcome)] = &[
            ("AN1.2", "/help/recovery", "nothing here", Outcome::Fail),
            ("AN2.2", "/sign-in", "a password please", Outcome::Fail),
            ("AZ3.1", "/_/oidc/audience", "{}", Outcome::Fail),
            (
                "AZ3.2a",
                "https://scanner.example.org/patterns",
                "other_",
                Outcome::Fail,
            ),
            (
                "AZ3.3",
                "/attestation",
                r#"{"attestation_bundles": []}"#,
                Outcome::Fail,
            ),
            (
                "GC1.1a",
                "/.well-known/security.txt",
                "Contact: mailto:x@example.org\nExpires: 2020-01-01T00:00:00Z\n",
                Outcome::Fail,
            ),
            (
                "GC1.1a",
                "/.well-known/security.txt",
                "Contact: mailto:x@example.org\nExpires: 2027-01-01T00:00:00Z\n",
                Outcome::Partial,
            ),
            ("GC1.1a", "/policy", "Report it to us.", Outcome::Partial),
            ("GC2.1a", "/files/thing.whl", "other bytes", Outcome::Fail),
            (
                "GC2.2a",
                "/project/thing",
                "<a href=\"/download\">Download</a> a report",
                Outcome::Fail,
            ),
            (
                "GC2.2a",
                "/project/thing",
                "<a href=\"mailto:x\">report</a>",
                Outcome::Partial,
            ),
            (
                "GC2.2c",
                "/openapi.json",
                r#"{"paths": {"/api/v1/secrets/report": {"post": {}}}}"#,
                Outcome::Fail,
            ),
            ("GC2.4", "/project/old", "A fine release.", Outcome::Fail),
            ("GC3.1", "/security/reviews", "soon", Outcome::Fail),
            ("GC3.2", "/events", "", Outcome::Fail),
            ("GC3.3", "/osv/", "<html>", Outcome::Fail),
            ("GC3.3", "/osv/", "[]", Outcome::Unknown),
            (
                "GC3.3",
                "/osv/",
                r#"[{"id": "X-1", "modified": "yesterday", "affected": []}]"#,
                Outcome::Fail,
            ),
            (
                "GC3.3",
                "/osv/",
                r#"[{"id": "X-1", "modified": "2026-01-01T00:00:00Z", "affected": [{"package": {"name": "x"}}]}]"#,
                Outcome::Fail,
            ),
        ];
        for (id, place, body, expected) in broken {
            let pages: Vec<(&str, &str)> = GOOD
                .iter()
                .map(|(path, good)| (*path, if path == place { *body } else { *good }))
                .collect();
            let (made, _) = against(&profile(), &pages);
            let check = made.check(id).unwrap();
            assert_eq!(check.result, *expected, "{id} {body:?}: {check:?}");
        }
        // A registry where nothing is found holds nothing, and nothing of it passes.
        let (empty, _) = against(&profile(), &[]);
        assert_eq!(empty.count(Outcome::Pass), 0);
        // Where nobody says where things are, nothing is guessed.
        let (blank, sent) = against(&Profile::default(), &[]);
        assert_eq!(
            (blank.count(Outcome::Pass), blank.count(Outcome::Fail), sent),
            (0, 1, 1)
        );
    }

    #[test]
    fn a_redirect_to_another_scheme_or_without_end_is_not_followed() {
        for to in ["-> http://elsewhere.example/login", "-> /login"] {
            let pages: Vec<(&str, &str)> = GOOD
                .iter()
                .map(|(path, good)| (*path, if *path == "/login" { to } else { *good }))
                .collect();
            let (made, _) = against(&profile(), &pages);
            assert_eq!(
                made.check("AN2.2").unwrap().result,
                Outcome::Unknown,
                "{to}"
            );
        }
    }

    #[test]
    fn canaries_take_a_consent_that_names_the_token_and_has_not_ended() {
        let token = "a token of sixteen characters or more";
        use sha2::Digest as _;
        let digest = hex::encode(sha2::Sha256::digest(token.as_bytes()));
        let document = |canaries: bool, until: &str| {
            format!(r#"{{"canaries": {canaries}, "token_sha256": "{digest}", "until": "{until}"}}"#)
        };
        consents(document(true, "2027-01-01").as_bytes(), token, NOW).unwrap();
        for (text, given) in [
            (document(false, "2027-01-01"), token),
            (document(true, "2020-01-01"), token),
            (document(true, "some day"), token),
            (document(true, "2027-01-01"), "another token, long enough"),
            ("[]".to_owned(), token),
        ] {
            consents(text.as_bytes(), given, NOW).unwrap_err();
        }
    }

    #[test]
    fn what_is_wanted_is_asked_for_once() {
        let target = target(profile());
        let mut run = Run::new(target.clone(), assessment::plan(&target, false));
        let first = run.step().unwrap();
        assert_eq!(run.step().unwrap(), first);
        assert_eq!(
            first,
            Act::Http(Request::get("https://packages.example.org/login"))
        );
    }
}
