//! Probes that anybody may make: they read pages, and documents that somebody vouches for.
//!
//! A place that the profile does not name is not guessed at, but for those that a standard fixes. What is only offered,
//! and not shown to work, is partial.

use countersign_trust::checkpoint;
use countersign_trust::note::VerifierKey;
use countersign_trust::proof::TlogProof;
use serde_json::Value;

use crate::assessment::Outcome;
use crate::principles::{self, Grade};
use crate::profile::Profile;
use crate::script::{Answer, Probe, Script, Stop, Told};

/// Records of a feed that are looked at.
const RECORDS: usize = 200;

const fn public(check: &'static str, run: fn(&mut Script<'_>) -> Told<()>) -> Probe {
    Probe {
        check,
        grade: Grade::Public,
        run,
    }
}

/// What is asked of every registry.
const PROBES: &[Probe] = &[
    public("AN2.2", webauthn_is_offered),
    public("AZ3.1", trusted_publishing_is_offered),
    public("AZ3.2a", scanners_know_the_prefix),
    public("AZ3.3", attestations_are_served),
    public("GC1.1a", disclosure_policy),
    public("GC2.1a", a_file_is_what_it_was),
    public("GC2.2a", a_page_takes_reports),
    public("GC2.2c", an_api_takes_reports),
    public("GC2.4", a_page_warns),
    public("GC3.2", log_of_events),
    public("GC3.3", malware_feed),
];

/// The public probes of a registry: those of everybody, and one for each document that its profile names.
pub fn probes(profile: &Profile) -> Vec<Probe> {
    let documents = principles::all()
        .iter()
        .filter(|check| profile.documents.contains_key(&check.id))
        .map(|check| Probe {
            check: &check.id,
            grade: Grade::Document,
            run: document,
        });
    PROBES.iter().copied().chain(documents).collect()
}

/// A place that the profile names.
fn place(script: &Script<'_>, place: Option<&String>, what: &str) -> Told<String> {
    place
        .cloned()
        .ok_or_else(|| Stop::Unknown(format!("The profile does not say where {what} is.")))
        .map(|place| script.target.address(&place))
}

/// Does a text hold one of these, in any case?
fn says(answer: &Answer, words: &[&str]) -> bool {
    let text = answer.text().to_lowercase();
    words.iter().any(|word| text.contains(&word.to_lowercase()))
}

fn document(script: &mut Script<'_>) -> Told<()> {
    let target = script.target;
    let Some(document) = target.profile.documents.get(script.check) else {
        return Err(Stop::Unknown("The profile names no document.".to_owned()));
    };
    let answer = script.get(&document.at)?;
    if !answer.good() {
        script.unknown("the document can be read by everybody");
        return Ok(());
    }
    script.hold("the document can be read by everybody", true);
    let text = answer.text().to_lowercase();
    let missing: Vec<&str> = document
        .words
        .iter()
        .map(String::as_str)
        .filter(|word| !text.contains(&word.to_lowercase()))
        .collect();
    if !script.hold("it holds the words that it must", missing.is_empty()) {
        script.say(format!("It lacks: {}.", missing.join(", ")));
        return Ok(());
    }
    match (&document.read_by, &document.read) {
        (Some(who), Some(read)) => {
            let since = crate::seconds(read).unwrap_or(0);
            let fresh = since + 366 * 86_400 > target.now && since <= target.now;
            if fresh {
                script.hold("a person read it and found that it says so", true);
            } else {
                script.unknown("a person read it within a year");
            }
            script.say(format!("Read by {who} on {read}."));
        }
        // AN1.2 asks for no more than that it is public.
        _ if script.check == "AN1.2" && !document.words.is_empty() => {}
        _ => {
            script.prefer("a person read it and found that it says so", false);
        }
    }
    Ok(())
}

fn webauthn_is_offered(script: &mut Script<'_>) -> Told<()> {
    let place = place(
        script,
        script.target.profile.places.sign_in.as_ref(),
        "the page to sign in",
    )?;
    let page = script.get(&place)?;
    if !page.good() {
        script.unknown("there is a page to sign in");
        return Ok(());
    }
    if !script.hold(
        "the page to sign in offers passkeys or security keys",
        says(
            page,
            &["data-passkey", "webauthn", "passkey", "security key"],
        ),
    ) {
        return Ok(());
    }
    script.prefer("it was shown to work", false);
    Ok(())
}

fn trusted_publishing_is_offered(script: &mut Script<'_>) -> Told<()> {
    let place = place(
        script,
        script.target.profile.places.trusted_publishing.as_ref(),
        "the exchange of trusted publishing",
    )?;
    let answer = script.get(&place)?;
    let value = answer.json();
    let offered = answer.good()
        && (value["audience"].is_string() || says(answer, &["openid", "oidc", "trusted publish"]));
    if script.hold(
        "it says for whom identity tokens are to be made, or explains the exchange",
        offered,
    ) {
        script.prefer("it was shown to work", false);
    }
    Ok(())
}

fn scanners_know_the_prefix(script: &mut Script<'_>) -> Told<()> {
    let places = &script.target.profile.places;
    let prefix = places
        .token_prefix
        .as_ref()
        .ok_or_else(|| Stop::Unknown("The profile does not say how tokens begin.".to_owned()))?;
    let place = place(
        script,
        places.token_pattern.as_ref(),
        "a scanner's published list with this registry's pattern",
    )?;
    let list = script.get(&place)?;
    if !list.good() {
        script.unknown("the scanner's list can be read");
        return Ok(());
    }
    script.hold(
        "a scanner's published list holds the prefix of the tokens",
        list.text().contains(prefix),
    );
    Ok(())
}

fn attestations_are_served(script: &mut Script<'_>) -> Told<()> {
    let place = place(
        script,
        script.target.profile.places.attestation.as_ref(),
        "an attestation of a package that is known to have one",
    )?;
    let answer = script.get(&place)?;
    let value = answer.json();
    // PEP 740's bundles, npm's attestations, or a Sigstore bundle as it is.
    let statements = ["attestation_bundles", "attestations"]
        .iter()
        .filter_map(|member| value[member].as_array())
        .any(|list| !list.is_empty());
    let bundle = value["mediaType"]
        .as_str()
        .is_some_and(|kind| kind.contains("sigstore"));
    if script.hold(
        "attestations are served",
        answer.good() && (statements || bundle),
    ) {
        script.prefer("they were verified", false);
    }
    Ok(())
}

fn disclosure_policy(script: &mut Script<'_>) -> Told<()> {
    let answer = script.get("/.well-known/security.txt")?;
    if !script.hold(
        "there is a security.txt (RFC 9116)",
        answer.good() && says(answer, &["contact:"]),
    ) {
        return Ok(());
    }
    let text = answer.text();
    let field = |name: &str| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim()
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let expires = field("expires").and_then(|value| crate::seconds(&value));
    script.hold(
        "it names when it expires, and that has not come",
        expires.is_some_and(|expires| expires > script.now()),
    );
    let Some(policy) = field("policy") else {
        script.prefer("it names the policy", false);
        return Ok(());
    };
    let policy = script.get(&policy)?;
    let harbour = [
        "safe harbour",
        "safe harbor",
        "will not pursue",
        "not take legal action",
        "no legal action",
    ];
    if script.hold("the policy can be read", policy.good()) {
        script.prefer("the policy promises safe harbour", says(policy, &harbour));
    }
    Ok(())
}

fn a_file_is_what_it_was(script: &mut Script<'_>) -> Told<()> {
    let places = &script.target.profile.places;
    let file = place(script, places.file.as_ref(), "a file that was seen before")?;
    let before = places.file_sha256.as_ref().ok_or_else(|| {
        Stop::Unknown("The profile does not say which digest the file had.".to_owned())
    })?;
    let answer = script.get(&file)?;
    if !answer.good() {
        script.unknown("the file is still there");
        return Ok(());
    }
    use sha2::Digest as _;
    let now = hex::encode(sha2::Sha256::digest(&answer.body));
    if script.hold(
        "the file has the digest that it had",
        now.eq_ignore_ascii_case(before),
    ) {
        script.prefer("a changed file was shown to be refused", false);
    }
    Ok(())
}

/// The link, form or button of a page that leads to a report: where it leads, empty where it does not say.
pub(crate) fn report_control(page: &str) -> Option<String> {
    let text = page.to_lowercase();
    let pieces: Vec<&str> = text.split(['<', '>']).collect();
    // A tag, and the words right after it. A leaked token is reported elsewhere.
    pieces.windows(2).find_map(|pair| {
        let tag = ["a ", "form ", "button "]
            .iter()
            .any(|tag| pair[0].starts_with(tag));
        let about = pair.iter().any(|piece| piece.contains("report"));
        (tag && about).then(|| {
            let to = ["href=\"", "action=\""].iter().find_map(|attribute| {
                let (_, rest) = pair[0].split_once(attribute)?;
                rest.split('"').next().map(str::to_owned)
            });
            to.unwrap_or_default()
        })
    })
}

fn a_page_takes_reports(script: &mut Script<'_>) -> Told<()> {
    let place = place(
        script,
        script.target.profile.places.package_page.as_ref(),
        "the page of some package",
    )?;
    let page = script.get(&place)?;
    if !page.good() {
        script.unknown("the page of the package can be read");
        return Ok(());
    }
    let text = page.text().to_lowercase();
    let control = report_control(&text).is_some();
    if script.hold("the page of a package leads to a report", control) {
        let by_mail = text.contains("href=\"mailto:") && !text.contains("/report");
        script.prefer("the report is a form, not a mail", !by_mail);
    }
    Ok(())
}

fn an_api_takes_reports(script: &mut Script<'_>) -> Told<()> {
    let place = place(
        script,
        script.target.profile.places.report_api.as_ref(),
        "the description of the API",
    )?;
    let answer = script.get(&place)?;
    if !answer.good() {
        script.unknown("the description of the API can be read");
        return Ok(());
    }
    let value = answer.json();
    let documented = match value["paths"].as_object() {
        Some(paths) => paths.iter().any(|(path, operations)| {
            // Reports of leaked tokens are another thing.
            path.contains("report") && !path.contains("secret") && operations.get("post").is_some()
        }),
        None => says(answer, &["malware"]) && says(answer, &["report"]),
    };
    script.hold(
        "an API that takes reports of malware is documented",
        documented,
    );
    Ok(())
}

fn a_page_warns(script: &mut Script<'_>) -> Told<()> {
    let place = place(
        script,
        script.target.profile.places.vulnerable_page.as_ref(),
        "the page of a package with a known vulnerability",
    )?;
    let page = script.get(&place)?;
    if !page.good() {
        script.unknown("the page can be read");
        return Ok(());
    }
    script.hold(
        "the page names the advisory",
        says(page, &["vulnerab", "advisor"])
            && says(page, &["cve-", "ghsa-", "pysec-", "rustsec-", "osv"]),
    );
    Ok(())
}

/// The log's keys as the registry announces them.
pub(crate) fn announced_keys(value: &Value) -> Vec<VerifierKey> {
    value["log"]["verifier_keys"]
        .as_array()
        .into_iter()
        .flatten()
        .take(8)
        .filter_map(|key| key.as_str()?.parse().ok())
        .collect()
}

/// Reads the log's signed head, and the newest event with its proof under that head's key.
pub(crate) fn log_of_events(script: &mut Script<'_>) -> Told<()> {
    let places = &script.target.profile.places;
    let Some(place) = &places.log_checkpoint else {
        let feed = place(script, places.event_feed.as_ref(), "a log of events")?;
        let feed = script.get(&feed)?;
        if script.hold(
            "events can be read by everybody",
            feed.good() && !feed.body.is_empty(),
        ) {
            script.prefer(
                "nobody can change what the log says without it being noticed",
                false,
            );
        }
        return Ok(());
    };
    let place = script.target.address(place);
    let about = script.get("/.well-known/countersign.json")?;
    let value = about.json();
    let keys = announced_keys(&value);
    let origin = value["log"]["origin"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let head = script.get(&place)?;
    if !script.hold("the log's head can be read by everybody", head.good()) {
        return Ok(());
    }
    let opened = checkpoint::open(&head.body, &keys, &origin);
    let Ok(opened) = opened else {
        script.hold(
            "the head is signed by the key that the registry announces",
            false,
        );
        return Ok(());
    };
    script.hold(
        "the head is signed by the key that the registry announces",
        true,
    );
    let size = opened.size();
    if !script.hold("it holds events", size > 0) {
        return Ok(());
    }
    let base = place.trim_end_matches("/checkpoint").to_owned();
    let newest = script.get(&format!("{base}/leaf/{}.tlog-proof", size - 1))?;
    let proven = TlogProof::parse(&newest.body).ok().is_some_and(|proof| {
        proof
            .extra
            .as_deref()
            .is_some_and(|entry| proof.verify(entry, &keys, &origin).is_ok())
    });
    script.hold(
        "the newest event is proven to be in the log",
        newest.good() && proven,
    );
    Ok(())
}

/// What an OSV record must have (ossf.github.io/osv-schema 1.6): the members that tools rely on.
pub(crate) fn osv_fault(record: &Value) -> Option<String> {
    let text = |name: &str| record[name].as_str().unwrap_or_default();
    if text("id").is_empty() {
        return Some("a record has no id".to_owned());
    }
    let id = text("id");
    if crate::seconds(text("modified")).is_none() {
        return Some(format!("{id}: modified is no time"));
    }
    let Some(affected) = record["affected"].as_array() else {
        // A withdrawn record may say nothing more.
        return (!record["withdrawn"].is_string()).then(|| format!("{id}: affected is missing"));
    };
    for one in affected {
        let package = &one["package"];
        let named = package["ecosystem"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
            && package["name"]
                .as_str()
                .is_some_and(|text| !text.is_empty());
        if !named {
            return Some(format!("{id}: a package has no ecosystem or no name"));
        }
        let ranged = one["versions"]
            .as_array()
            .is_some_and(|list| !list.is_empty())
            || one["ranges"].as_array().is_some_and(|list| {
                list.iter().all(|range| {
                    range["type"].is_string()
                        && range["events"]
                            .as_array()
                            .is_some_and(|events| !events.is_empty())
                })
            });
        if !ranged {
            return Some(format!("{id}: it names neither versions nor ranges"));
        }
    }
    None
}

/// The records of an answer: a JSON list, one record, or a list under a name.
pub(crate) fn osv_records(answer: &Answer) -> Option<Vec<Value>> {
    match answer.json() {
        Value::Array(records) => Some(records),
        Value::Object(mut members) => {
            for name in ["advisories", "vulns", "records", "entries"] {
                if let Some(Value::Array(records)) = members.remove(name) {
                    return Some(records);
                }
            }
            members
                .contains_key("id")
                .then(|| vec![Value::Object(members)])
        }
        _ => None,
    }
}

/// A list of records by time and name, one a line (`2026-01-01T00:00:00Z,ID`), as the public export has it.
fn osv_list(place: &str, answer: &Answer) -> Option<Vec<Value>> {
    if answer.body.is_empty() {
        return Some(Vec::new());
    }
    let base = place.rsplit_once('/').map_or(place, |(base, _)| base);
    let text = answer.text();
    let lines: Vec<Value> = text
        .lines()
        .take(RECORDS)
        .filter_map(|line| {
            let (time, name) = line.split_once(',')?;
            crate::seconds(time.trim())?;
            let name = name.trim().trim_end_matches(".json");
            let plain = name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
            (plain && !name.is_empty())
                .then(|| serde_json::json!({"url": format!("{base}/{name}.json")}))
        })
        .collect();
    (!lines.is_empty()).then_some(lines)
}

pub(crate) fn malware_feed(script: &mut Script<'_>) -> Told<()> {
    let place = place(
        script,
        script.target.profile.places.osv_feed.as_ref(),
        "the feed of malware advisories",
    )?;
    let answer = script.get(&place)?;
    if !script.hold(
        "a feed of advisories can be read by everybody",
        answer.good(),
    ) {
        return Ok(());
    }
    let listed = osv_records(answer).or_else(|| osv_list(&place, answer));
    let Some(records) = listed else {
        script.hold("the feed is JSON in the form of OSV", false);
        return Ok(());
    };
    // A list of records may name where each is instead of holding it.
    let mut whole = Vec::new();
    for record in records.iter().take(RECORDS) {
        match (
            record["affected"].is_array(),
            record["url"].as_str().or(record["path"].as_str()),
        ) {
            (false, Some(url)) if whole.len() < 3 => {
                let one = script.get(url)?;
                whole.push(one.json());
            }
            (false, Some(_)) => {}
            _ => whole.push(record.clone()),
        }
    }
    if whole.is_empty() {
        script.unknown("the feed holds records");
        script.say("The feed is empty: whether its records are good can not be told.");
        return Ok(());
    }
    let fault = whole.iter().find_map(osv_fault);
    if let Some(fault) = &fault {
        script.say(format!("{fault}."));
    }
    script.hold("its records have the form of OSV", fault.is_none());
    script.aside("the public export of OSV took them up", Outcome::Unknown);
    Ok(())
}
