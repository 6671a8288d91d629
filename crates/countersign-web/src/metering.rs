//! The numbers that `/metrics` shows. Plain atomics: counting a request on the hot path costs one addition.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_registry::LogServiceSummary;
use countersign_registry::model::Health;
use http::StatusCode;

/// What a request was about; the `route` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RouteClass {
    /// Simple index pages.
    Index,
    /// Artifacts, their metadata and proofs.
    File,
    /// Checkpoint, tiles, leaf proofs.
    Log,
    /// Uploads.
    Upload,
    /// The exchange of identity tokens.
    Exchange,
    /// Legacy JSON.
    Json,
    /// Our API.
    Api,
    /// Health, metrics, well-known files.
    Operation,
    /// Pages and everything else.
    Page,
}

impl RouteClass {
    const ALL: [(Self, &'static str); 9] = [
        (Self::Index, "index"),
        (Self::File, "file"),
        (Self::Log, "log"),
        (Self::Upload, "upload"),
        (Self::Exchange, "exchange"),
        (Self::Json, "json"),
        (Self::Api, "api"),
        (Self::Operation, "operation"),
        (Self::Page, "page"),
    ];

    /// The class of a request path.
    pub(crate) fn of(path: &str) -> Self {
        // Index files of Cargo and publishing there are what their counterparts of Python are.
        if let Some(rest) = path.strip_prefix("/cargo/") {
            return match rest {
                "api/v1/crates/new" => Self::Upload,
                "api/v1/trusted_publishing/tokens" => Self::Exchange,
                "me" => Self::Page,
                _ if rest.starts_with("index/") => Self::Index,
                _ if rest.ends_with("/download") => Self::File,
                _ => Self::Api,
            };
        }
        let mut parts = path.split('/').skip(1);
        match (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        ) {
            ("pypi", "simple") => Self::Index,
            ("pypi", "legacy") => Self::Upload,
            ("pypi", _) => Self::Json,
            ("files", _) => Self::File,
            ("service", "log") => Self::Log,
            ("npm", "-") | ("-", _) => Self::Api,
            ("npm", _) if path.ends_with(".tgz") => Self::File,
            ("npm", _) => Self::Index,
            ("log", shard)
                if shard
                    .bytes()
                    .next()
                    .is_some_and(|byte| byte.is_ascii_digit()) =>
            {
                Self::Log
            }
            ("_", "oidc") => Self::Exchange,
            ("api" | "osv", _) => Self::Api,
            ("healthz" | "metrics" | ".well-known", _) => Self::Operation,
            _ => Self::Page,
        }
    }
}

/// The statuses counted one by one; the last place is for all others.
const STATUSES: [u16; 26] = [
    200, 201, 202, 204, 206, 301, 304, 308, 400, 401, 403, 404, 405, 406, 408, 409, 410, 413, 415,
    416, 422, 429, 431, 500, 503, 0,
];

/// Upper bounds of the publish-latency buckets, in milliseconds.
const PUBLISH_BUCKETS: [u64; 12] = [
    5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000,
];

/// Counters since the process began.
pub(crate) struct Meters {
    requests: [[AtomicU64; STATUSES.len()]; RouteClass::ALL.len()],
    publishes: [AtomicU64; PUBLISH_BUCKETS.len() + 1],
    publish_micros: AtomicU64,
    downloads: AtomicU64,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            requests: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            publishes: std::array::from_fn(|_| AtomicU64::new(0)),
            publish_micros: AtomicU64::new(0),
            downloads: AtomicU64::new(0),
        }
    }

    /// Counts an answered request.
    pub(crate) fn request(&self, class: RouteClass, status: StatusCode) {
        let place = STATUSES
            .iter()
            .position(|known| *known == status.as_u16())
            .unwrap_or(STATUSES.len() - 1);
        self.requests[class as usize][place].fetch_add(1, Relaxed);
    }

    /// Counts a publish that got its receipt, from the request's head to the answer.
    pub(crate) fn published(&self, took: Duration) {
        let place = PUBLISH_BUCKETS
            .iter()
            .position(|bound| took <= Duration::from_millis(*bound))
            .unwrap_or(PUBLISH_BUCKETS.len());
        self.publishes[place].fetch_add(1, Relaxed);
        self.publish_micros
            .fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Counts a download of an artifact.
    pub(crate) fn downloaded(&self) {
        self.downloads.fetch_add(1, Relaxed);
    }

    /// The Prometheus text format.
    pub(crate) fn render(&self, health: &Health, logs: &[LogServiceSummary]) -> String {
        let mut out = String::with_capacity(4_096);
        self.render_into(&mut out, health)
            .and_then(|()| service_logs(&mut out, logs))
            .expect("writing to a String does not fail");
        out
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds for a graph")]
    fn render_into(&self, out: &mut String, health: &Health) -> std::fmt::Result {
        writeln!(
            out,
            "# HELP countersign_requests_total Requests answered.\n# TYPE countersign_requests_total counter"
        )?;
        for (class, name) in RouteClass::ALL {
            for (place, status) in STATUSES.iter().enumerate() {
                let count = self.requests[class as usize][place].load(Relaxed);
                if count > 0 {
                    let status = if *status == 0 {
                        "other".to_owned()
                    } else {
                        status.to_string()
                    };
                    writeln!(
                        out,
                        "countersign_requests_total{{route=\"{name}\",status=\"{status}\"}} {count}"
                    )?;
                }
            }
        }
        let name = "countersign_publish_seconds";
        writeln!(
            out,
            "# HELP {name} Time from a publish request's head to its receipt.\n# TYPE {name} histogram"
        )?;
        let mut sum = 0;
        for (place, count) in self.publishes.iter().enumerate() {
            sum += count.load(Relaxed);
            match PUBLISH_BUCKETS.get(place) {
                Some(bound) => {
                    writeln!(out, "{name}_bucket{{le=\"{}\"}} {sum}", *bound as f64 / 1e3)?
                }
                None => writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {sum}")?,
            }
        }
        writeln!(
            out,
            "{name}_sum {}\n{name}_count {sum}",
            self.publish_micros.load(Relaxed) as f64 / 1e6
        )?;
        let mut single = |name: &str, kind: &str, help: &str, value: String| {
            writeln!(
                out,
                "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}"
            )
        };
        single(
            "countersign_downloads_total",
            "counter",
            "Artifact downloads answered by this process.",
            self.downloads.load(Relaxed).to_string(),
        )?;
        single(
            "countersign_healthy",
            "gauge",
            "1 when publishing works.",
            u8::from(health.ok).to_string(),
        )?;
        single(
            "countersign_log_size",
            "gauge",
            "Leaves in the served log.",
            health.log_size.to_string(),
        )?;
        single(
            "countersign_log_backlog",
            "gauge",
            "Events not yet in the log.",
            health.log_backlog.to_string(),
        )?;
        if let Some(signed) = health.checkpoint_signed {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs_f64();
            single(
                "countersign_checkpoint_age_seconds",
                "gauge",
                "Since the heartbeat signed the served checkpoint.",
                format!("{:.3}", (now - signed.0 as f64 / 1e6).max(0.0)),
            )?;
        }
        witnesses(out, health)
    }
}

/// What each witness of the log cosigned last, and whether it fails.
fn witnesses(out: &mut String, health: &Health) -> std::fmt::Result {
    if health.witnesses.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "# HELP countersign_witness_failing Whether the witness failed the last time that it was asked.\n# TYPE countersign_witness_failing gauge"
    )?;
    let named = |name: &str| name.replace('\\', "\\\\").replace('"', "\\\"");
    for witness in &health.witnesses {
        let (name, failing) = (named(&witness.name), i32::from(witness.problem.is_some()));
        writeln!(
            out,
            "countersign_witness_failing{{witness=\"{name}\"}} {failing}"
        )?;
    }
    writeln!(
        out,
        "# HELP countersign_witness_size Leaves that the witness cosigned last.\n# TYPE countersign_witness_size gauge"
    )?;
    for witness in &health.witnesses {
        let (name, size) = (named(&witness.name), witness.size.unwrap_or(0));
        writeln!(out, "countersign_witness_size{{witness=\"{name}\"}} {size}")?;
    }
    Ok(())
}

/// How the logs stand that are kept for registries elsewhere. Their names need no escape.
fn service_logs(out: &mut String, logs: &[LogServiceSummary]) -> std::fmt::Result {
    type Value = fn(&LogServiceSummary) -> String;
    let gauges: [(&str, &str, Value); 4] = [
        ("size", "Entries in the served log.", |log| {
            log.size.to_string()
        }),
        (
            "waiting",
            "Entries with a place that are not shown yet.",
            |log| log.numbered.saturating_sub(log.size).to_string(),
        ),
        (
            "standing",
            "1 where something keeps the log from moving.",
            |log| u8::from(log.problem.is_some()).to_string(),
        ),
        ("closed", "1 for a log that was closed.", |log| {
            u8::from(log.frozen.is_some()).to_string()
        }),
    ];
    for (name, help, value) in gauges.iter().filter(|_| !logs.is_empty()) {
        let name = format!("countersign_service_log_{name}");
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge")?;
        for log in logs {
            writeln!(out, "{name}{{log=\"{}\"}} {}", log.name, value(log))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_their_class() {
        for (path, class) in [
            ("/pypi/simple/", RouteClass::Index),
            ("/pypi/simple/x/", RouteClass::Index),
            ("/pypi/legacy/", RouteClass::Upload),
            ("/_/oidc/mint-token", RouteClass::Exchange),
            ("/_/other", RouteClass::Page),
            ("/pypi/pypi/x/json", RouteClass::Json),
            ("/files/00/x.whl", RouteClass::File),
            ("/log/1/checkpoint", RouteClass::Log),
            ("/log/", RouteClass::Page),
            ("/log/event/3", RouteClass::Page),
            ("/api/v1/whoami", RouteClass::Api),
            ("/cargo/index/se/rd/serde", RouteClass::Index),
            ("/cargo/api/v1/crates/new", RouteClass::Upload),
            ("/cargo/api/v1/crates/a/1.0.0/download", RouteClass::File),
            ("/cargo/api/v1/crates/a/owners", RouteClass::Api),
            ("/cargo/me", RouteClass::Page),
            ("/healthz", RouteClass::Operation),
            ("/", RouteClass::Page),
            ("", RouteClass::Page),
        ] {
            assert_eq!(RouteClass::of(path), class, "{path}");
        }
    }

    #[test]
    fn metrics_are_rendered_with_cumulative_buckets() {
        let meters = Meters::new();
        meters.request(RouteClass::Index, StatusCode::OK);
        meters.request(RouteClass::Index, StatusCode::IM_A_TEAPOT);
        meters.published(Duration::from_millis(7));
        meters.published(Duration::from_secs(60));
        let health = Health {
            ok: true,
            problems: vec![],
            log_size: 3,
            log_backlog: 0,
            checkpoint_signed: None,
            witnesses: vec![],
        };
        let log = |name: &str, numbered: u64, problem: Option<&str>| LogServiceSummary {
            name: name.to_owned(),
            origin: String::new(),
            verifier_keys: vec![],
            policy: String::new(),
            size: 5,
            numbered,
            signed: countersign_registry::model::Time(0),
            interval_ms: 1_000,
            identifiers: false,
            frozen: None,
            problem: problem.map(str::to_owned),
        };
        let logs = [log("one", 5, None), log("two", 9, Some("no witness"))];
        let text = meters.render(&health, &logs);
        for line in [
            "countersign_requests_total{route=\"index\",status=\"200\"} 1",
            "countersign_requests_total{route=\"index\",status=\"other\"} 1",
            "countersign_publish_seconds_bucket{le=\"0.005\"} 0",
            "countersign_publish_seconds_bucket{le=\"0.01\"} 1",
            "countersign_publish_seconds_bucket{le=\"+Inf\"} 2",
            "countersign_publish_seconds_sum 60.007",
            "countersign_log_size 3",
            "countersign_service_log_size{log=\"one\"} 5",
            "countersign_service_log_waiting{log=\"one\"} 0",
            "countersign_service_log_waiting{log=\"two\"} 4",
            "countersign_service_log_standing{log=\"one\"} 0",
            "countersign_service_log_standing{log=\"two\"} 1",
            "countersign_service_log_closed{log=\"two\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
