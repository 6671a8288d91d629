//! `serve`: from an empty directory or an instance to a listening server, and back down gracefully.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_registry::Registry;
use countersign_web::{FaceSettings, Policies};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::{Common, Serve};
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::instance::{self, Survey};
use crate::tls::Certificate;
use crate::{logging, report, scanner};

/// Runs until a signal ends it.
///
/// # Errors
/// Everything that keeps the server from starting, and sockets that fail later.
pub async fn run(common: &Common, options: &Serve) -> Result<(), Failure> {
    let mut config = Config::load(
        &common.data,
        common.config.as_deref(),
        &options.place.overrides(),
    )?;
    logging::start(config.log_format, &config.log_filter, config.log_requests)?;
    config.refuse_plain_http_off_loopback()?;
    let certificate = config.tls.as_ref().map(Certificate::load).transpose()?;
    let policies = crate::policies::load(&config)?;
    // Bound before anything is created, so that a taken port leaves nothing behind and port 0 is known to `init`.
    let listener = bind(config.listen).await?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::environment("listen", error.to_string()))?;
    config.bound(address);

    let workers = scanner::Workers::new(&config);
    if config.scan.enabled {
        match workers.check().await {
            Ok(_) => {}
            Err(failure) if failure.exit == Exit::Usage => return Err(failure),
            // What waits for its scan waits on; the rest is served.
            Err(failure) => tracing::error!(code = failure.code, "{failure}"),
        }
    }
    let registry = open_or_init(&config, !options.no_migrate).await?;
    let origin = registry.site_keys().origin;
    let beating = registry.start();
    let scanning = config
        .scan
        .enabled
        .then(|| tokio::spawn(scanner::keep_scanning(registry.clone(), workers)));
    let signals = Signals::listen()?;
    let site = config.url.as_str().trim_end_matches('/').to_owned();
    if common.json {
        report::json(
            &serde_json::json!({"ready": true, "url": site, "listen": address.to_string(), "origin": origin}),
        );
    } else {
        report::line(&format!("countersignd serves {site} on {address}"));
    }
    let face = face(&config, policies);
    let outcome = serve(registry.clone(), face, listener, certificate, signals).await;
    if let Some(scanning) = scanning {
        // A scan that is cut off is leased to this process for a while, and done by the next.
        scanning.abort();
    }
    // After the last request: whoever asked for a way back in was told that a mail comes.
    registry.ways_back_written().await;
    // Publishers still waiting for the log get their answer from it.
    beating.stop().await;
    tracing::info!("stopped");
    outcome
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let (why, way_out) = match error.kind() {
            std::io::ErrorKind::AddrInUse => ("another program listens there".to_owned(), "Stop that one, or give another address with --listen ADDR (port 0 takes a free one)."),
            std::io::ErrorKind::PermissionDenied => ("this user may not".to_owned(), "Ports below 1024 need a right: setcap cap_net_bind_service=+ep, systemd's AmbientCapabilities, or a proxy in front."),
            std::io::ErrorKind::AddrNotAvailable => ("this machine does not have that address".to_owned(), "Give one of its own with --listen ADDR."),
            _ => (error.to_string(), "Give another address with --listen ADDR."),
        };
        Failure::new(Exit::Environment, "listen", format!("Can not listen on {address}: {why}.")).remedy(way_out)
    })
}

/// The safe defaults: a registry makes itself only where nothing at all is and nobody else can see it, because an
/// unmounted volume must never fork a log.
async fn open_or_init(config: &Config, migrate: bool) -> Result<Registry, Failure> {
    let survey = Survey::take(config).await?;
    if survey.is_empty() && config.url_is_loopback() {
        let registry = instance::init(config).await?;
        tracing::info!(
            data = %config.data.display(),
            origin = registry.site_keys().origin,
            "new registry; make a first user with `countersignd admin user create NAME --email E --operator`"
        );
        return Ok(registry);
    }
    if !survey.is_instance() {
        return Err(instance::none_here(config, &survey));
    }
    instance::open(config, migrate).await
}

/// The face's settings from the configuration.
pub fn face(config: &Config, policies: Policies) -> FaceSettings {
    FaceSettings {
        security_contact: config.security_contact.clone(),
        security_txt: config.security_txt.clone(),
        policies,
        operator: config.operator.clone(),
        assessments: Some(Arc::new(crate::assess::Stored::below(&config.data))),
        request_log: config.log_requests,
        // Who ends TLS for us also writes down for whom.
        behind_proxy: config.tls_terminated_by_proxy,
        ..FaceSettings::default()
    }
}

async fn serve(
    registry: Registry,
    face: FaceSettings,
    listener: TcpListener,
    certificate: Option<Arc<Certificate>>,
    signals: Signals,
) -> Result<(), Failure> {
    let tls = certificate
        .as_ref()
        .map(|certificate| certificate.server_config().map(Arc::new))
        .transpose()?;
    let app = countersign_web::app(registry, face);
    countersign_web::serve(
        app,
        vec![listener],
        tls,
        signals.wait_for_the_end(certificate),
    )
    .await
    .map_err(|error| Failure::environment("serve", format!("The server failed: {error}.")))
}

/// The signals that a server answers.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From here on a signal no longer kills the process.
    fn listen() -> Result<Self, Failure> {
        let on = |kind| {
            signal(kind).map_err(|error| {
                Failure::environment("signals", format!("Signals can not be handled: {error}."))
            })
        };
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hang_up: on(SignalKind::hangup())?,
        })
    }

    /// Ends with the first SIGTERM or SIGINT; a second one then stops the process at once.
    async fn wait_for_the_end(mut self, certificate: Option<Arc<Certificate>>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.hang_up.recv() => match certificate.as_ref().map(|certificate| certificate.reload()) {
                    Some(Ok(())) => tracing::info!("certificate files read again"),
                    Some(Err(failure)) => tracing::error!(code = failure.code, "the certificate in use stays: {failure}"),
                    None => tracing::info!("SIGHUP: there is no certificate to read again"),
                },
            }
        }
        tracing::info!("stopping: requests under way finish first; a second signal stops at once");
        tokio::spawn(async move {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            tracing::warn!("second signal: stopping at once");
            std::process::exit(Exit::Environment as i32);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    #[test]
    fn a_proxy_that_ends_tls_is_believed_about_addresses_and_nobody_else_is() {
        let dir = tempfile::tempdir().unwrap();
        for (text, believed) in [("", false), ("tls_terminated_by_proxy = true\n", true)] {
            let file = dir.path().join("countersign.toml");
            std::fs::write(&file, text).unwrap();
            let config = Config::load(dir.path(), Some(&file), &Overrides::default()).unwrap();
            assert_eq!(face(&config, Policies::default()).behind_proxy, believed);
        }
    }
}
