//! `assess`: this registry held against the Principles. Canaries are made on a staging copy: the same program with the
//! same configuration, in a folder of its own, in a world of its own (clock, mail, domains, documents of other hosts), so
//! that nothing of it is ever seen by anybody. What can be read from outside is read at the running registry's address.

mod staging;
mod stored;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_assess::assessment::{self, Assessment};
use countersign_assess::principles::Grade;
use countersign_assess::profile::{self, Profile};
use countersign_assess::run::Run;
use countersign_assess::script::{Act, Answer, MOST_BODY, Reply, Request, Target};
use countersign_assess::{report as shown, roadmap};
use countersign_registry::Random as _;
use serde_json::json;

use crate::cli::{Assess, Common};
use crate::config::{Config, Overrides};
use crate::failure::{Exit, Failure};
use crate::instance::{self, Survey};
use crate::report;
pub use staging::Staging;
pub use stored::Stored;

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Runs it.
///
/// # Errors
/// A profile or an earlier run that can not be read, a staging copy that can not be made.
pub async fn run(common: &Common, options: &Assess) -> Result<(), Failure> {
    let config = Config::load(
        &common.data,
        common.config.as_deref(),
        &Overrides {
            url: options.url.clone(),
            ..Overrides::default()
        },
    )?;
    let known = match &options.profile {
        None => Profile::default(),
        Some(path) => {
            let text = String::from_utf8(read(path, profile::MOST)?)
                .map_err(|_| unusable(path, "it is not UTF-8"))?;
            Profile::parse(&text, now()).map_err(|error| {
                Failure::usage("profile", format!("{}: {error}", path.display()))
            })?
        }
    };
    let earlier = match &options.since {
        None => None,
        Some(path) => Some(
            Assessment::parse(&read(path, assessment::MOST)?)
                .map_err(|error| unusable(path, &error.to_string()))?,
        ),
    };
    if options.store {
        // A file where nothing is yet would keep the registry from being made.
        let survey = Survey::take(&config).await?;
        if !survey.is_instance() {
            return Err(instance::none_here(&config, &survey));
        }
    }
    let staging = Staging::start(&config).await?;
    let made = assess(&config, known, options, &staging).await;
    staging.stop().await;
    let (made, recordings) = made?;
    let steps = roadmap::steps(&made);
    let changed = earlier.as_ref().map(|earlier| made.since(earlier));
    if let Some(path) = &options.markdown {
        write(path, &shown::markdown(&made, &steps, changed.as_deref()))?;
    }
    if let Some(path) = &options.badge {
        write(path, &shown::badge(&made))?;
    }
    if options.store {
        let path = Stored::below(&config.data).keep(&made)?;
        if !common.json {
            report::line(&format!(
                "Kept as {}; /assessment shows it.\n",
                path.display()
            ));
        }
    }
    if let Some(path) = &options.recordings {
        write(path, &json!(recordings).to_string())?;
    }
    if common.json {
        let mut value = json!(made);
        if let Some(changed) = &changed {
            value["changes"] = json!(changed);
        }
        if options.roadmap {
            value["roadmap"] = json!(steps);
        }
        report::json(&value);
        return Ok(());
    }
    report::line(&shown::table(&made));
    if let Some(changed) = &changed {
        report::line(&format!("\n{}", shown::changes(changed)));
    }
    if options.roadmap {
        report::line(&format!("\n{}", shown::roadmap(&steps)));
    }
    Ok(())
}

async fn assess(
    config: &Config,
    known: Profile,
    options: &Assess,
    staging: &Staging,
) -> Result<(Assessment, countersign_assess::script::Recordings), Failure> {
    let seed = countersign_registry::SystemRandom.bytes32();
    let target = |site: &str, now: i64| Target {
        site: site.to_owned(),
        profile: known.clone().or(Profile::countersign()),
        now,
        seed,
    };
    // From outside: the registry at its own address, or the copy where nobody serves it now.
    let outside = config.url.as_str().trim_end_matches('/').to_owned();
    let client = reqwest::Client::builder()
        .user_agent(countersign_assess::TOOL)
        .timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| Failure::environment("http-client", error.to_string()))?;
    let served = send(
        &client,
        &Request::get(format!("{outside}/.well-known/countersign.json")),
    )
    .await
    .is_ok_and(|answer| answer.json()["format"] == "countersign/v1");
    let public_target = target(if served { &outside } else { staging.site() }, now());
    let mut probes = assessment::plan(&public_target, true);
    let canaries: Vec<_> = probes
        .extract_if(.., |probe| probe.grade == Grade::Canary)
        .collect();
    let mut run = Run::new(public_target.clone(), probes);
    while let Some(act) = run.step() {
        let reply = match &act {
            Act::Http(request) => match send(&client, request).await {
                Ok(answer) => Reply::Answer(answer),
                Err(why) => Reply::Lost(why),
            },
            _ => Reply::Impossible("That takes a canary.".to_owned()),
        };
        run.record(reply, now());
    }
    let mut findings = run.findings().to_vec();
    let (_, mut recordings) = run.conclude(None);
    // Each canary finds the world as it is: what one turns, the next one starts from.
    let wanted = |check: &str| options.only.is_empty() || options.only.iter().any(|id| id == check);
    for probe in canaries.into_iter().filter(|probe| wanted(probe.check)) {
        let mut run = Run::new(target(staging.site(), staging.now()), vec![probe]);
        while let Some(act) = run.step() {
            let reply = staging.perform(&act).await;
            run.record(reply, staging.now());
        }
        findings.extend_from_slice(run.findings());
        recordings.probes.extend(run.conclude(None).1.probes);
    }
    let told = "on a staging copy with the same program and configuration".to_owned();
    let report_target = Target {
        site: outside,
        ..public_target
    };
    let mut made = assessment::conclude(&report_target, Some(told), &findings);
    if !served {
        for check in &mut made.checks {
            if check.grade == Some(Grade::Public) && check.note.is_empty() {
                check.note =
                    "Read from the staging copy: nobody serves this registry at its address now."
                        .to_owned();
            }
        }
    }
    Ok((made, recordings))
}

/// Sends one request.
async fn send(client: &reqwest::Client, request: &Request) -> Result<Answer, String> {
    let method: reqwest::Method = request
        .method
        .parse()
        .map_err(|_| format!("{} is no method", request.method))?;
    let mut sent = client.request(method, &request.url);
    for (name, value) in &request.headers {
        sent = sent.header(name, value);
    }
    if !request.body.is_empty() {
        sent = sent.body(request.body.clone());
    }
    let mut answer = sent.send().await.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            (name.as_str().to_owned(), value)
        })
        .collect();
    let mut body = Vec::new();
    while body.len() < MOST_BODY {
        match answer.chunk().await {
            Ok(Some(piece)) => body.extend_from_slice(&piece),
            Ok(None) => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    body.truncate(MOST_BODY);
    Ok(Answer {
        status,
        headers,
        body,
    })
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::usage(
        "file-unusable",
        format!("{} can not be used: {why}.", path.display()),
    )
}

fn read(path: &Path, most: usize) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let file = std::fs::File::open(path).map_err(|error| unusable(path, &error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unusable(path, &error.to_string()))?;
    if bytes.len() > most {
        return Err(unusable(path, &format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| {
        let why = format!("{} can not be written: {error}.", path.display());
        Failure::new(Exit::Environment, "file-unwritten", why)
    })
}
