//! The staging copy: a registry with the operator's configuration, in a temporary folder, on a free port of this machine,
//! in a world that the canaries turn as they like. It reaches nothing outside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::Parser as _;
use countersign_assess::script::{Act, Insider, Reply, World};
use countersign_registry::model::{Actor, Time};
use countersign_registry::{
    Beating, Clock, DomainIntel, DomainReport, FactorPolicy, Message, NewIssuer, Outside,
    OutsideAnswer, OutsideError, OutsideRequest, Post, PostError, Registry, Seams, SystemClock,
    Tampering,
};
use countersign_trust::checkpoint::Checkpoint;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::cli::{Admin, Cli, Command, Issuer};
use crate::config::{Blobs, Config, Mail, MailServer};
use crate::failure::{Exit, Failure};
use crate::instance::Survey;
use crate::scanner::Workers;
use crate::{instance, serve};

/// How long a mail, or a command, is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most bytes of what a command prints.
const PRINTED: usize = 256 << 10;

/// What the copy believes to be the world.
#[derive(Default)]
struct Surroundings {
    turned: AtomicI64,
    documents: Mutex<BTreeMap<String, Vec<u8>>>,
    lapsed: Mutex<BTreeSet<String>>,
    mails: Mutex<Vec<(String, String)>>,
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Future<'a, T> = std::pin::Pin<Box<dyn std::future::Future<Output = T> + Send + 'a>>;

impl Clock for Surroundings {
    fn now(&self) -> Time {
        SystemClock
            .now()
            .plus_seconds(self.turned.load(Ordering::SeqCst))
    }
}

impl Outside for Surroundings {
    fn get<'a>(
        &'a self,
        request: OutsideRequest<'a>,
    ) -> Future<'a, Result<OutsideAnswer, OutsideError>> {
        let found = held(&self.documents).get(request.url).cloned();
        Box::pin(std::future::ready(match found {
            Some(body) if body.len() <= request.most => Ok(OutsideAnswer {
                body,
                max_age: None,
            }),
            Some(_) => Err(OutsideError::TooLarge(request.most)),
            None => Err(OutsideError::Status(404)),
        }))
    }

    fn post<'a>(
        &'a self,
        _: OutsideRequest<'a>,
        _: &'a str,
    ) -> Future<'a, Result<OutsideAnswer, OutsideError>> {
        Box::pin(std::future::ready(Err(OutsideError::Status(404))))
    }
}

impl Post for Surroundings {
    fn send<'a>(&'a self, message: &'a Message) -> Future<'a, Result<(), PostError>> {
        let text = format!("{}\n{}", message.subject(), message.text);
        held(&self.mails).push((message.to().as_str().to_owned(), text));
        Box::pin(std::future::ready(Ok(())))
    }
}

impl DomainIntel for Surroundings {
    fn look_up<'a>(&'a self, domain: &'a str) -> Future<'a, Result<DomainReport, OutsideError>> {
        let there = !held(&self.lapsed).contains(domain);
        Box::pin(std::future::ready(Ok(DomainReport {
            exists: Some(there),
            takes_mail: Some(there),
            ..DomainReport::default()
        })))
    }
}

/// The copy at work.
pub struct Staging {
    config: Config,
    registry: Registry,
    site: String,
    folder: tempfile::TempDir,
    world: Arc<Surroundings>,
    beating: Beating,
    end: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    /// A canary is several people on several networks of this machine.
    clients: Mutex<BTreeMap<u8, reqwest::Client>>,
}

impl Staging {
    /// Starts a copy of what this configuration describes. Of the registry itself its rule on factors is read, since that stands in
    /// its database; nothing else of it is opened.
    ///
    /// # Errors
    /// No temporary folder, no port, or a configuration that can not be copied.
    pub async fn start(original: &Config) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::environment(
                "assess",
                format!("The staging copy can not be made: {error}."),
            )
        };
        let folder = tempfile::Builder::new()
            .prefix("countersign-assess-")
            .tempdir()
            .map_err(failed)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let config = copied(original, folder.path(), address.port())?;
        // For the commands of the copy, which read their own configuration.
        let url = format!("http://localhost:{}", address.port());
        let text = format!(
            "url = {url:?}\n[mail]\nserver = \"file:mails\"\nfrom = \"registry@staging.example\"\n"
        );
        std::fs::create_dir_all(&config.data).map_err(failed)?;
        std::fs::write(config.data.join("countersign.toml"), text).map_err(failed)?;
        let world = Arc::new(Surroundings::default());
        let seams = Seams {
            clock: world.clone(),
            post: Some(world.clone()),
            domains: Some(world.clone()),
            ..Seams::system(world.clone())
        };
        let registry = instance::init_in(&config, seams).await?;
        if Survey::take(original).await?.is_instance() {
            let rule = FactorPolicy::of(&instance::connect(original).await?).await?;
            if rule != FactorPolicy::default() {
                let reason = Some("as the registry has it");
                let operator = Actor::operator();
                registry.set_factor_policy(&operator, rule, reason).await?;
            }
        }
        let beating = registry.start();
        let (end, ended) = oneshot::channel::<()>();
        let face = serve::face(&config, crate::policies::load(&config)?);
        let app = countersign_web::app(registry.clone(), face);
        let server = tokio::spawn(countersign_web::serve(
            app,
            vec![listener],
            None,
            async move {
                ended.await.ok();
            },
        ));
        Ok(Self {
            config,
            registry,
            site: url,
            folder,
            world,
            beating,
            end,
            server,
            clients: Mutex::default(),
        })
    }

    /// Its address, without a slash at its end.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// Its time, in seconds since 1970.
    pub fn now(&self) -> i64 {
        self.world.now().0.div_euclid(1_000_000)
    }

    /// Ends it and takes its folder away.
    pub async fn stop(self) {
        drop(self.end);
        if let Err(error) = self.server.await {
            tracing::warn!(%error, "the staging copy did not end by itself");
        }
        self.beating.stop().await;
        if let Err(error) = self.folder.close() {
            tracing::warn!(%error, "the folder of the staging copy stays");
        }
    }

    /// Does what a canary wants.
    pub async fn perform(&self, act: &Act) -> Reply {
        match act {
            Act::Http(request) => {
                let client = match self.client(request.network) {
                    Ok(client) => client,
                    Err(error) => return Reply::Lost(error.to_string()),
                };
                match super::send(&client, request).await {
                    Ok(answer) => Reply::Answer(answer),
                    Err(why) => Reply::Lost(why),
                }
            }
            Act::Mail { to, says } => self.mail(to, says, PATIENCE).await,
            Act::Mailbox { to, says } => self.mail(to, says, Duration::ZERO).await,
            Act::Operator(words) => match self.admitted(words).await {
                Some(reply) => reply,
                None => {
                    self.command(std::env::current_exe().ok(), words, true)
                        .await
                }
            },
            Act::Client(words) => {
                // It is installed beside the server.
                let beside = std::env::current_exe()
                    .ok()
                    .map(|own| own.with_file_name("countersign"));
                self.command(beside.filter(|path| path.exists()), words, false)
                    .await
            }
            Act::World(change) => self.change(change).await,
        }
    }

    fn client(&self, network: u8) -> Result<reqwest::Client, reqwest::Error> {
        let host = network % 120 + 1;
        let mut clients = held(&self.clients);
        if let Some(client) = clients.get(&host) {
            return Ok(client.clone());
        }
        let client = reqwest::Client::builder()
            .no_proxy()
            .user_agent(countersign_assess::TOOL)
            .local_address(IpAddr::V4(Ipv4Addr::new(127, 0, host, 1)))
            .timeout(Duration::from_secs(40))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        clients.insert(host, client.clone());
        Ok(client)
    }

    async fn mail(&self, to: &str, says: &str, patience: Duration) -> Reply {
        let deadline = Instant::now() + patience;
        loop {
            let found = held(&self.world.mails)
                .iter()
                .rev()
                .find(|(address, text)| address == to && text.contains(says))
                .map(|(_, text)| text.clone());
            match found {
                Some(text) => return Reply::Mail(text),
                None if Instant::now() >= deadline => return Reply::NoMail,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn command(
        &self,
        program: Option<std::path::PathBuf>,
        words: &[String],
        own: bool,
    ) -> Reply {
        let Some(program) = program else {
            return Reply::Impossible(
                "The program countersign is not beside countersignd.".to_owned(),
            );
        };
        let mut command = tokio::process::Command::new(program);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("COUNTERSIGN_") {
                command.env_remove(name);
            }
        }
        if own {
            command
                .arg("--data")
                .arg(self.folder.path().join("registry"));
        } else {
            command.env("COUNTERSIGN_HOME", self.folder.path().join("home"));
        }
        command
            .args(words)
            .current_dir(self.folder.path())
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        match tokio::time::timeout(PATIENCE * 6, command.output()).await {
            Ok(Ok(output)) => {
                let text = |bytes: &[u8]| {
                    let most = bytes.len().min(PRINTED);
                    String::from_utf8_lossy(bytes.get(..most).unwrap_or_default()).into_owned()
                };
                Reply::Ran {
                    code: output.status.code().unwrap_or(-1),
                    out: text(&output.stdout),
                    err: text(&output.stderr),
                }
            }
            Ok(Err(error)) => Reply::Lost(error.to_string()),
            Err(_) => Reply::Lost("it did not end in time".to_owned()),
        }
    }

    /// `admin issuer add` asks the issuer first. Here it is done in this process: one of its own would look for the issuer
    /// in the real world.
    async fn admitted(&self, words: &[String]) -> Option<Reply> {
        let line = std::iter::once("countersignd").chain(words.iter().map(String::as_str));
        let Ok(Cli {
            command:
                Command::Admin(Admin::Issuer(Issuer::Add {
                    name, url, preset, ..
                })),
            ..
        }) = Cli::try_parse_from(line)
        else {
            return None;
        };
        let wish = NewIssuer {
            name,
            url,
            provider: preset,
            ca_pem: None,
        };
        let ran = |code, out, err| Reply::Ran { code, out, err };
        Some(
            match self.registry.add_issuer(&Actor::operator(), wish).await {
                Ok(made) => ran(0, made.name, String::new()),
                Err(error) => ran(Exit::Refused as i32, String::new(), error.to_string()),
            },
        )
    }

    async fn change(&self, change: &World) -> Reply {
        let done = |text: String| Reply::Done(text);
        match change {
            World::Turn(seconds) => {
                self.world.turned.fetch_add(*seconds, Ordering::SeqCst);
                done(String::new())
            }
            World::Lapse(domain) => {
                held(&self.world.lapsed).insert(domain.clone());
                done(String::new())
            }
            World::Publish { url, body } => {
                held(&self.world.documents).insert(url.clone(), body.clone().into_bytes());
                done(String::new())
            }
            World::Write { name, body } => {
                let plain = name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
                let path = self.folder.path().join(name);
                if !plain || name.starts_with('.') {
                    return Reply::Impossible("That is no file name.".to_owned());
                }
                match std::fs::write(&path, body) {
                    Ok(()) => done(path.display().to_string()),
                    Err(error) => Reply::Lost(error.to_string()),
                }
            }
            World::Round(what) => match what.as_str() {
                "domains" => match self.registry.check_domains().await {
                    Ok(count) => done(count.to_string()),
                    Err(error) => Reply::Lost(error.to_string()),
                },
                "scans" if !self.config.scan.enabled => done("off".to_owned()),
                "scans" => self.scan().await,
                other => Reply::Impossible(format!("There is no round of {other}.")),
            },
            World::Insider(act) => self.tamper(act).await,
        }
    }

    /// Scans what waits, in the fence, as the server does.
    async fn scan(&self) -> Reply {
        let workers = Workers::new(&self.config);
        let mut count = 0_u32;
        loop {
            match self.registry.scan_next(&*workers).await {
                Ok(true) => count += 1,
                Ok(false) => return Reply::Done(count.to_string()),
                Err(error) => return Reply::Lost(error.to_string()),
            }
        }
    }

    /// Does what an insider does, through a connection of its own as theirs is.
    async fn tamper(&self, act: &Insider) -> Reply {
        let store = match instance::connect(&self.config).await {
            Ok(store) => store,
            Err(failure) => return Reply::Lost(failure.to_string()),
        };
        let head;
        let act = match act {
            Insider::Forget { subject } => Tampering::Forget { subject },
            Insider::Swap { file, sha256 } => Tampering::Swap { file, sha256 },
            Insider::SetBack { note } => {
                let text = note.split_once("\n\n").map_or("", |(text, _)| text);
                head = match Checkpoint::parse(&format!("{text}\n")) {
                    Ok(head) => head,
                    Err(error) => return Reply::Impossible(error.to_string()),
                };
                Tampering::SetBack {
                    shard: 1,
                    head: &head,
                    note,
                }
            }
        };
        match store.tamper(&act).await {
            Ok(0) => Reply::Impossible("There was nothing to tamper with.".to_owned()),
            Ok(rows) => Reply::Done(rows.to_string()),
            Err(error) => Reply::Lost(error.to_string()),
        }
    }
}

/// The operator's configuration with places of its own. Whatever could lead to the registry itself, or out of this
/// machine, is replaced.
fn copied(original: &Config, folder: &Path, port: u16) -> Result<Config, Failure> {
    let data = folder.join("registry");
    let mut config = original.clone();
    config.url = format!("http://localhost:{port}")
        .parse()
        .map_err(|_| Failure::environment("assess", "The staging copy has no address."))?;
    config.url_given = true;
    // It is written before anything else is there.
    config.file = Some(data.join("countersign.toml"));
    config.listen = (Ipv4Addr::LOCALHOST, port).into();
    config.database = format!("sqlite://{}", data.join("countersign.db").display());
    config.sqlite_file = Some(data.join("countersign.db"));
    config.blobs = Blobs::Directory(data.join("blobs"));
    config.keys = data.join("keys");
    config.spool = data.join("spool");
    config.tls = None;
    config.tls_terminated_by_proxy = false;
    config.log_policy = None;
    config.log_requests = false;
    config.check_sources = false;
    config.refresh_trust_roots = false;
    let from = countersign_registry::model::EmailAddress::parse("registry@staging.example")
        .ok_or_else(|| {
            Failure::environment("assess", "The staging copy has no address for mail.")
        })?;
    config.mail = Some(Mail {
        server: MailServer::Folder(data.join("mails")),
        from,
        login: None,
        ca: None,
        check_domains: false,
    });
    config.data = data;
    Ok(config)
}
