//! What is publicly known of a domain: the name service of this machine, and RDAP (RFC 9082) over HTTPS, whose servers
//! IANA lists (RFC 9224). Many countries' registries have no RDAP: then the name service alone speaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_registry::model::Time;
use countersign_registry::{DomainIntel, DomainReport, Outside, OutsideError, OutsideRequest};
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, RecordType};
use serde_json::Value;

/// IANA's list of RDAP servers.
const BOOTSTRAP: &str = "https://data.iana.org/rdap/dns.json";

/// The list is fetched anew after this long.
const KEEP: Duration = Duration::from_secs(86_400);

const TIMEOUT: Duration = Duration::from_secs(15);

/// Looks up domains.
pub struct Lookout {
    resolver: TokioResolver,
    outside: Arc<dyn Outside>,
    servers: tokio::sync::Mutex<Option<(Instant, Arc<Value>)>>,
}

impl Lookout {
    /// By the name servers that this machine uses.
    ///
    /// # Errors
    /// Where the machine's settings name none.
    pub fn new(outside: Arc<dyn Outside>) -> Result<Self, String> {
        let resolver = TokioResolver::builder_tokio()
            .and_then(hickory_resolver::ResolverBuilder::build)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            resolver,
            outside,
            servers: tokio::sync::Mutex::default(),
        })
    }

    async fn see(&self, domain: &str) -> Result<DomainReport, OutsideError> {
        let mut report = DomainReport::default();
        // With the dot at its end no search domain of this machine is put behind it.
        let name = format!("{domain}.");
        match self.resolver.lookup(name.as_str(), RecordType::MX).await {
            Ok(found) => {
                report.exists = Some(true);
                let hosts = found
                    .answers()
                    .iter()
                    .filter_map(|record| match &record.data {
                        RData::MX(mx) => Some(&mx.exchange),
                        _ => None,
                    });
                // One that leads to the root says that there is no mail here (RFC 7505).
                report.takes_mail = match hosts.map(|host| !host.is_root()).max() {
                    Some(takes) => Some(takes),
                    None => self.has_address(&name).await,
                };
            }
            Err(error) if error.is_nx_domain() => report.exists = Some(false),
            Err(error) if error.is_no_records_found() => {
                report.exists = Some(true);
                report.takes_mail = self.has_address(&name).await;
            }
            Err(error) => {
                return Err(OutsideError::Unreachable(format!(
                    "the name service does not answer: {error}"
                )));
            }
        }
        match self.registration(domain).await {
            Ok(Some(answer)) => read_rdap(&answer, &mut report),
            Ok(None) => {}
            // What RDAP does not tell is not held against the domain.
            Err(error) => tracing::debug!(%error, "RDAP did not answer"),
        }
        Ok(report)
    }

    /// Without MX, mail goes to the host of the name itself.
    async fn has_address(&self, name: &str) -> Option<bool> {
        let mut unknown = false;
        for kind in [RecordType::A, RecordType::AAAA] {
            match self.resolver.lookup(name, kind).await {
                Ok(_) => return Some(true),
                Err(error) if error.is_no_records_found() || error.is_nx_domain() => {}
                Err(_) => unknown = true,
            }
        }
        (!unknown).then_some(false)
    }

    /// What the domain's registry says; `None` where it has no RDAP, or knows nothing of the domain.
    async fn registration(&self, domain: &str) -> Result<Option<Value>, OutsideError> {
        let servers = self.servers().await?;
        let Some(base) = server_for(&servers, domain) else {
            return Ok(None);
        };
        let url = format!("{}/domain/{domain}", base.trim_end_matches('/'));
        match self.fetch(&url, "application/rdap+json").await {
            Ok(answer) => Ok(Some(answer)),
            Err(OutsideError::Status(404)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn servers(&self) -> Result<Arc<Value>, OutsideError> {
        let mut kept = self.servers.lock().await;
        if let Some((since, servers)) = kept.as_ref()
            && since.elapsed() < KEEP
        {
            return Ok(servers.clone());
        }
        let servers = Arc::new(self.fetch(BOOTSTRAP, "application/json").await?);
        *kept = Some((Instant::now(), servers.clone()));
        Ok(servers)
    }

    async fn fetch(&self, url: &str, accept: &str) -> Result<Value, OutsideError> {
        let answer = self
            .outside
            .get(OutsideRequest {
                url,
                most: 2 << 20,
                timeout: TIMEOUT,
                ca_pem: None,
                headers: &[],
                accept,
            })
            .await?;
        serde_json::from_slice(&answer.body)
            .map_err(|error| OutsideError::Unreachable(format!("it answers no JSON ({error})")))
    }
}

impl DomainIntel for Lookout {
    fn look_up<'a>(
        &'a self,
        domain: &'a str,
    ) -> std::pin::Pin<
        Box<dyn std::future::Future<Output = Result<DomainReport, OutsideError>> + Send + 'a>,
    > {
        Box::pin(self.see(domain))
    }
}

/// The HTTPS server for a domain in IANA's list: that of the longest ending.
fn server_for<'v>(servers: &'v Value, domain: &str) -> Option<&'v str> {
    let mut ending = domain;
    loop {
        for service in servers.get("services")?.as_array()? {
            let names = service.get(0).and_then(Value::as_array);
            let listed = names.is_some_and(|names| {
                names
                    .iter()
                    .filter_map(Value::as_str)
                    .any(|name| name.eq_ignore_ascii_case(ending))
            });
            if listed {
                return service
                    .get(1)?
                    .as_array()?
                    .iter()
                    .filter_map(Value::as_str)
                    .find(|url| url.starts_with("https://"));
            }
        }
        ending = ending.split_once('.')?.1;
    }
}

/// Takes statuses and the date of registration from an answer.
fn read_rdap(answer: &Value, report: &mut DomainReport) {
    let list = |name: &str| answer.get(name).and_then(Value::as_array);
    report.statuses = list("status")
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .take(32)
        .map(str::to_owned)
        .collect();
    report.registered = list("events")
        .into_iter()
        .flatten()
        .filter(|event| event.get("eventAction").and_then(Value::as_str) == Some("registration"))
        .filter_map(|event| event.get("eventDate").and_then(Value::as_str))
        .filter_map(day)
        .max();
}

/// The day of a date (RFC 3339): that it was registered later on a day is not told from earlier.
fn day(text: &str) -> Option<Time> {
    let mut parts = text.get(..10)?.split('-');
    let year: i64 = parts.next()?.parse().ok()?;
    let month: i64 = parts.next()?.parse().ok()?;
    let day: i64 = parts.next()?.parse().ok()?;
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days of the civil calendar since 1970, with the year beginning in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(Time(0).plus_seconds(days * 86_400))
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::json;

    #[test]
    fn the_longest_ending_in_the_list_names_the_server_and_plain_http_is_passed_over() {
        let servers = json!({"services": [
            [["org"], ["http://old.example/", "https://rdap.example/org/"]],
            [["uk", "co.uk"], ["https://rdap.example/uk/"]],
            [["de"], ["http://plain.example/"]],
        ]});
        assert_eq!(
            server_for(&servers, "example.org"),
            Some("https://rdap.example/org/")
        );
        assert_eq!(
            server_for(&servers, "example.co.uk"),
            Some("https://rdap.example/uk/")
        );
        assert_eq!(server_for(&servers, "example.de"), None);
        assert_eq!(server_for(&servers, "example.com"), None);
        assert_eq!(server_for(&json!([]), "example.com"), None);
    }

    #[test]
    fn an_answer_of_rdap_tells_statuses_and_the_last_registration() {
        let mut report = DomainReport::default();
        let answer = json!({
            "status": ["active", "pending delete"],
            "events": [
                {"eventAction": "registration", "eventDate": "1995-08-14T04:00:00Z"},
                {"eventAction": "expiration", "eventDate": "2030-08-14T04:00:00Z"},
                {"eventAction": "registration", "eventDate": "nonsense"},
            ],
        });
        read_rdap(&answer, &mut report);
        assert_eq!(report.statuses, ["active", "pending delete"]);
        let at = report.registered.unwrap();
        assert!(
            at.rfc3339().starts_with("1995-08-14T00:00"),
            "{}",
            at.rfc3339()
        );
        assert!(
            day("2024-02-29")
                .unwrap()
                .rfc3339()
                .starts_with("2024-02-29")
        );
        for hostile in [json!(null), json!({"events": 7, "status": [7, null]})] {
            read_rdap(&hostile, &mut report);
        }
        assert_eq!(report.registered, None);
    }
}
