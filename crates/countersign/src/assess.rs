//! Turns the probes of `countersign-assess` against a registry on the network: slowly, under a name of its own, and with
//! nothing but reads unless the registry consents.

use std::io::Read;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use countersign_assess::assessment::{self, Assessment};
use countersign_assess::pace::Pace;
use countersign_assess::profile::Profile;
use countersign_assess::run::{CONSENT, Run, consents};
use countersign_assess::script::{Act, Answer, MOST_BODY, Recordings, Reply, Request, Target};
use reqwest::blocking::Client;
use reqwest::{Certificate, Method, redirect};
use url::{Host, Url};

use crate::failure::{Exit, Failure, Result};
use crate::remote::innermost;

/// The name under which probes come, with where to read about them.
const AGENT: &str = concat!(
    "countersign-assess/",
    env!("CARGO_PKG_VERSION"),
    " (probes of the OpenSSF Principles for Package Repository Security)"
);

/// The most headers of an answer that are kept, and the most characters of each.
const HEADERS: (usize, usize) = (60, 1_000);

/// How a registry is assessed.
pub struct Order<'a> {
    /// The registry.
    pub url: &'a Url,
    /// What is known of it.
    pub profile: Profile,
    /// The token to which it consents that canaries are made; none for reading only.
    pub canaries: Option<String>,
    /// Certificates in PEM to believe besides those of this machine.
    pub ca: Option<&'a [u8]>,
    /// The registry on this machine is asked as fast as it answers.
    pub own: bool,
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}

/// Is this address on this machine?
pub fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Sends what probes want.
struct Driver {
    client: Client,
    pace: Pace,
    since: Instant,
}

impl Driver {
    fn new(order: &Order<'_>) -> Result<Self> {
        let broken = |error: &dyn std::error::Error| {
            let why = format!("HTTP can not be set up: {}.", innermost(error));
            Failure::new(Exit::Environment, "http-client", why)
        };
        let certificates = match order.ca {
            None => Vec::new(),
            Some(pem) => Certificate::from_pem_bundle(pem).map_err(|error| broken(&error))?,
        };
        let mut builder = Client::builder()
            .user_agent(AGENT)
            .connect_timeout(Duration::from_secs(10))
            .timeout(Duration::from_secs(30))
            .redirect(redirect::Policy::none())
            .tls_certs_merge(certificates);
        if is_local(order.url) {
            builder = builder.no_proxy();
        }
        Ok(Self {
            client: builder.build().map_err(|error| broken(&error))?,
            pace: if order.own {
                Pace::own()
            } else {
                Pace::foreign()
            },
            since: Instant::now(),
        })
    }

    fn perform(&mut self, act: &Act) -> Reply {
        let Act::Http(request) = act else {
            let why = "That takes a registry of one's own: countersignd assess.";
            return Reply::Impossible(why.to_owned());
        };
        let Some(wait) = self.pace.turn(self.since.elapsed()) else {
            return Reply::Impossible("This run has asked the registry often enough.".to_owned());
        };
        std::thread::sleep(wait);
        match self.send(request) {
            Ok(answer) => Reply::Answer(answer),
            Err(why) => Reply::Lost(why),
        }
    }

    fn send(&self, request: &Request) -> std::result::Result<Answer, String> {
        let method: Method = request
            .method
            .parse()
            .map_err(|_| format!("{} is no method", request.method))?;
        let mut sent = self.client.request(method, &request.url);
        for (name, value) in &request.headers {
            sent = sent.header(name, value);
        }
        if !request.body.is_empty() {
            sent = sent.body(request.body.clone());
        }
        let answer = sent.send().map_err(|error| innermost(&error))?;
        let status = answer.status().as_u16();
        let headers = answer
            .headers()
            .iter()
            .take(HEADERS.0)
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                (
                    name.as_str().to_owned(),
                    value.chars().take(HEADERS.1).collect(),
                )
            })
            .collect();
        let mut body = Vec::new();
        answer
            .take(MOST_BODY as u64)
            .read_to_end(&mut body)
            .map_err(|error| error.to_string())?;
        Ok(Answer {
            status,
            headers,
            body,
        })
    }
}

/// Runs all probes that make sense, and says what they found. `say` hears which probe is at work.
///
/// # Errors
/// [`Exit::Unreachable`] where nobody is there, [`Exit::Refused`] where canaries are wanted and the registry does not consent.
pub fn assess(order: Order<'_>, say: &dyn Fn(&str)) -> Result<(Assessment, Recordings)> {
    let mut driver = Driver::new(&order)?;
    let site = order.url.as_str().trim_end_matches('/').to_owned();
    // Who is there? What knows itself as one of ours has its places where all of ours have them.
    let about = format!("{site}/.well-known/countersign.json");
    let reply = driver.perform(&Act::Http(Request::get(about)));
    let ours = match &reply {
        Reply::Answer(answer) => answer.json()["format"] == "countersign/v1",
        Reply::Lost(why) => {
            let said = format!("{site} can not be reached: {why}.");
            return Err(Failure::new(Exit::Unreachable, "unreachable", said)
                .remedy("Check the address and the network."));
        }
        _ => false,
    };
    let profile = if ours {
        order.profile.or(Profile::countersign())
    } else {
        order.profile
    };
    let mut canaries = None;
    if let Some(token) = &order.canaries {
        let reply = driver.perform(&Act::Http(Request::get(format!("{site}{CONSENT}"))));
        let why = match &reply {
            Reply::Answer(answer) if answer.good() => consents(&answer.body, token, now()),
            Reply::Answer(answer) => Err(format!("{CONSENT} answers {}", answer.status)),
            _ => Err(format!("{CONSENT} can not be fetched")),
        };
        why.map_err(|why| {
            let said = format!("{site} does not consent to canaries: {why}.");
            Failure::new(Exit::Refused, "no-consent", said)
                .remedy("Ask its operator to publish the consent (docs/assessment.md), or leave --allow-canary out.")
        })?;
        canaries = Some("on the registry itself, which consents".to_owned());
    }
    let target = Target {
        site,
        profile,
        now: now(),
        seed: rand::random(),
    };
    let probes = assessment::plan(&target, canaries.is_some());
    let mut run = Run::new(target, probes);
    let mut shown = None;
    while let Some(act) = run.step() {
        let probe = run.probe();
        if probe != shown {
            if let Some(probe) = &probe {
                say(probe);
            }
            shown = probe;
        }
        let reply = driver.perform(&act);
        run.record(reply, now());
    }
    Ok(run.conclude(canaries))
}
