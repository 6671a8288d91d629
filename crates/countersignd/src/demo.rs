//! `demo`: the whole promise at work in one process, with real clients, leaving nothing behind.

mod clients;
mod proof;

use std::path::{Path, PathBuf};
use std::time::Instant;

use countersign_registry::model::{Action, Actor};
use countersign_registry::{NewToken, Registry};
use countersign_trust::digest::Sha256;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::cli::{Common, Demo};
use crate::config::{self, Config, Overrides};
use crate::failure::{Exit, Failure};
use crate::{instance, report, sample, serve};
use clients::{Clients, Ran};

/// Runs every step.
///
/// # Errors
/// Exit 3 when a step did not do what it should, exit 1 when the machine lacks something that it needs.
pub async fn run(common: &Common, options: &Demo) -> Result<(), Failure> {
    let started = Instant::now();
    let folder = tempfile::Builder::new()
        .prefix("countersign-demo-")
        .tempdir()
        .map_err(|error| {
            Failure::environment(
                "temporary-directory",
                format!("No temporary directory can be made: {error}."),
            )
        })?;
    let mut story = Story {
        json: common.json,
        steps: Vec::new(),
    };
    let outcome = tokio::select! {
        outcome = play(&mut story, options, folder.path()) => outcome,
        _ = tokio::signal::ctrl_c() => Err(Failure::environment("interrupted", "The demo was interrupted.")),
    };
    let place = folder.path().to_owned();
    if options.keep {
        let _ = folder.keep();
    } else if let Err(error) = folder.close() {
        tracing::warn!("{} could not be removed: {error}", place.display());
    }
    if common.json {
        report::json(
            &json!({"ok": outcome.is_ok(), "steps": story.steps, "kept": options.keep.then_some(&place)}),
        );
    } else {
        if outcome.is_ok() {
            report::line(&format!(
                "\nAll {} steps did what they should, in {:.1} s. Start a registry of your own with: countersignd serve",
                story.steps.len(),
                started.elapsed().as_secs_f64()
            ));
        }
        if options.keep {
            report::line(&format!("Everything is kept in {}", place.display()));
        }
    }
    outcome
}

/// Tells what happens, step by step.
struct Story {
    json: bool,
    steps: Vec<serde_json::Value>,
}

impl Story {
    fn say(&self, text: &str) {
        if !self.json {
            report::line(text);
        }
    }

    fn good(&mut self, text: &str) {
        self.steps.push(json!({"step": text, "ok": true}));
        self.say(&format!("✓ {text}"));
    }

    fn bad(&mut self, text: &str, details: &str) -> Failure {
        self.steps
            .push(json!({"step": text, "ok": false, "details": details}));
        self.say(&format!("✗ {text}"));
        Failure::new(
            Exit::Verification,
            "demo",
            format!("A step of the demo did not do what it should: {text}.\n{details}"),
        )
        .remedy("Run it again with --keep to look at what is there.")
    }
}

async fn play(story: &mut Story, options: &Demo, folder: &Path) -> Result<(), Failure> {
    // The clients first: what is missing on this machine is said before anything else happens.
    let clients = Clients::find(&options.python, folder, |text| story.say(text)).await?;
    let stage = Stage::set_up(folder).await?;
    let told = perform(story, &clients, &stage, folder).await;
    stage.take_down().await?;
    told
}

async fn perform(
    story: &mut Story,
    clients: &Clients,
    stage: &Stage,
    folder: &Path,
) -> Result<(), Failure> {
    story.good(&format!(
        "A registry runs at {}; its log is named {}.",
        stage.site, stage.origin
    ));
    story.say(&format!(
        "    its key, which a client pins: {}",
        stage.verifier_key
    ));

    let wheel = sample::wheel();
    let dist = folder.join("dist");
    let path = dist.join(&wheel.filename);
    std::fs::create_dir_all(&dist)
        .and_then(|()| std::fs::write(&path, &wheel.bytes))
        .map_err(|error| lacking(&path, &error))?;
    let token = stage.token("ada").await?;
    let published = clients
        .publish(&format!("{}/pypi/legacy/", stage.site), &token, &path)
        .await?;
    if !published.success {
        return Err(story.bad(
            &format!("{} publishes {}", clients.publisher_name(), wheel.filename),
            &published.output,
        ));
    }
    story.good(&format!(
        "{} published {} ({} bytes).",
        clients.publisher_name(),
        wheel.filename,
        wheel.bytes.len()
    ));

    let index = format!("{}/pypi/simple/", stage.site);
    let installed = clients
        .install(&index, sample::PROJECT, &folder.join("installed"))
        .await?;
    if !installed.success {
        return Err(story.bad(
            "pip installs it from this registry alone",
            &installed.output,
        ));
    }
    let said = clients
        .import(
            &folder.join("installed"),
            &format!("import {0}; print({0}.greet())", sample::MODULE),
        )
        .await?;
    if !said.success || said.output.trim() != sample::GREETING {
        return Err(story.bad("Python imports what was installed", &said.output));
    }
    story.good(&format!(
        "pip installed it from this registry alone, and Python imports it: {:?}.",
        said.output.trim()
    ));

    let download = proof::download(&stage.site, sample::PROJECT, &wheel.filename).await?;
    let keys = [stage.verifier_key.as_str()];
    match proof::verify(&download, &keys, &stage.origin) {
        Ok(held) => {
            story.good(&format!(
                "Its proof holds offline: entry {} of a log of {}, signed by the pinned key.",
                held.index, held.size
            ));
            story.say(&format!(
                "    {} = sha256:{}",
                held.subject,
                Sha256::of(&download.file)
            ));
        }
        Err(why) => return Err(story.bad("Its proof holds offline", &why)),
    }

    let blob = tamper(&stage.blobs, &wheel.bytes)?;
    story.good(&format!(
        "Someone with access to the disk changes the stored file: {}",
        shown_below(&blob, folder)
    ));

    match proof::fetch(&download.address).await {
        Ok(_) => {
            return Err(story.bad(
                "The registry notices and no longer hands it out",
                "It handed out bytes that are not in its log.",
            ));
        }
        Err(failure) => story.good(&format!(
            "The registry notices and no longer hands it out: {}",
            first_sentence(&failure.message)
        )),
    }

    let mirror = copied_blindly(&download, &index, &blob, &folder.join("mirror")).await?;
    let second = clients
        .install(&mirror, sample::PROJECT, &folder.join("installed-again"))
        .await?;
    if second.success {
        return Err(story.bad(
            "pip refuses the changed file from a mirror that copied it blindly",
            &second.output,
        ));
    }
    let (told, complaint) = complaint(&second);
    if !told {
        return Err(story.bad(
            "pip refuses the changed file because its hash is wrong",
            &second.output,
        ));
    }
    story.good(&format!(
        "A mirror copies it blindly, and pip refuses it: {complaint}"
    ));

    // What the disk holds now, against the proof from before.
    let changed = std::fs::read(&blob).map_err(|error| lacking(&blob, &error))?;
    match proof::verify(
        &proof::Download {
            file: changed,
            ..download
        },
        &keys,
        &stage.origin,
    ) {
        Ok(_) => {
            return Err(story.bad(
                "The verifier refuses the changed file",
                "It accepted bytes that are not in the log.",
            ));
        }
        Err(why) => story.good(&format!("The verifier refuses it too: {why}")),
    }
    Ok(())
}

fn lacking(path: &Path, error: &std::io::Error) -> Failure {
    Failure::environment("demo-files", format!("{}: {error}.", path.display()))
}

/// Whether pip says that hashes differ, and the words in which it says so.
fn complaint(ran: &Ran) -> (bool, String) {
    let said = |word: &str| {
        ran.output
            .lines()
            .map(str::trim)
            .find(|line| line.contains(word))
    };
    let expected = said("Expected sha256").unwrap_or_default();
    match (said("DO NOT MATCH THE HASHES"), said("Got")) {
        (Some(_), Some(got)) => (true, one_line(&format!("{expected}, {got}"))),
        _ => (false, String::new()),
    }
}

fn first_sentence(text: &str) -> String {
    let line = one_line(text);
    line.split_once(". ")
        .map_or(line.as_str(), |(first, _)| first)
        .trim_end_matches('.')
        .to_owned()
        + "."
}

fn one_line(text: &str) -> String {
    let joined = text.split_whitespace().collect::<Vec<_>>().join(" ");
    joined.chars().take(220).collect()
}

/// A mirror as a folder: the registry's index page and metadata, and the file as it lies on the disk now. Gives the
/// address of its index.
async fn copied_blindly(
    download: &proof::Download,
    index: &str,
    blob: &Path,
    folder: &Path,
) -> Result<String, Failure> {
    let page = proof::fetch_page(&format!("{index}{}/", sample::PROJECT)).await?;
    let metadata = proof::fetch(&format!("{}.metadata", download.address)).await?;
    let (pages, files) = (
        folder.join("simple").join(sample::PROJECT),
        folder.join("files"),
    );
    let written = || -> std::io::Result<()> {
        std::fs::create_dir_all(&pages)?;
        std::fs::create_dir_all(&files)?;
        let path = download.address.splitn(4, '/').nth(3).unwrap_or_default();
        let local = page.replace(
            &format!("/{path}"),
            &format!("../../files/{}", download.filename),
        );
        std::fs::write(pages.join("index.html"), local)?;
        std::fs::write(
            files.join(format!("{}.metadata", download.filename)),
            &metadata,
        )?;
        std::fs::copy(blob, files.join(&download.filename)).map(|_| ())
    };
    written().map_err(|error| lacking(folder, &error))?;
    Ok(format!("file://{}/simple/", folder.display()))
}

fn shown_below(path: &Path, folder: &Path) -> String {
    path.strip_prefix(folder)
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Changes the greeting within the stored copy of the wheel; size and everything else stay.
fn tamper(blobs: &Path, original: &[u8]) -> Result<PathBuf, Failure> {
    let mut open = vec![blobs.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| lacking(&folder, &error))? {
            let path = entry.map_err(|error| lacking(&folder, &error))?.path();
            if path.is_dir() {
                open.push(path);
            } else if std::fs::read(&path).map_err(|error| lacking(&path, &error))? == original {
                let greeting = sample::GREETING.as_bytes();
                let at = original
                    .windows(greeting.len())
                    .position(|window| window == greeting)
                    .expect(
                        "the wheel's members are stored uncompressed, so its greeting stands in it",
                    );
                let mut changed = original.to_vec();
                changed[at..at + greeting.len()].copy_from_slice(sample::TAMPERED.as_bytes());
                std::fs::write(&path, changed).map_err(|error| lacking(&path, &error))?;
                return Ok(path);
            }
        }
    }
    Err(Failure::environment(
        "demo-files",
        format!(
            "The published file is not among the blobs in {}.",
            blobs.display()
        ),
    ))
}

/// The registry of the demo.
struct Stage {
    registry: Registry,
    site: String,
    origin: String,
    verifier_key: String,
    blobs: PathBuf,
    beating: countersign_registry::Beating,
    end: oneshot::Sender<()>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Stage {
    async fn set_up(folder: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| {
            Failure::environment("listen", format!("No loopback port is free: {error}."))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let mut config = Config::load(&folder.join("registry"), None, &Overrides::default())?;
        config.database = format!("sqlite://{}", config.data.join("countersign.db").display());
        config.sqlite_file = Some(config.data.join("countersign.db"));
        config.bound(listener.local_addr().map_err(failed)?);
        // Nothing is kept in memory, so that the disk's bytes are what clients are served.
        config.memory_cache = 0;
        config.log_requests = false;
        let config::Blobs::Directory(blobs) = config.blobs.clone() else {
            return Err(Failure::environment(
                "demo-files",
                "The demo keeps its blobs in a directory.",
            ));
        };
        let registry = instance::init(&config).await?;
        let identity = registry.site_keys();
        let beating = registry.start();
        let (end, ended) = oneshot::channel::<()>();
        let app = countersign_web::app(
            registry.clone(),
            serve::face(&config, countersign_web::Policies::default()),
        );
        let server = tokio::spawn(countersign_web::serve(
            app,
            vec![listener],
            None,
            async move {
                // Dropping the sender ends the server as well.
                ended.await.ok();
            },
        ));
        Ok(Self {
            registry,
            site: config.url.as_str().trim_end_matches('/').to_owned(),
            origin: identity.origin,
            verifier_key: identity
                .verifier_keys
                .into_iter()
                .next()
                .unwrap_or_default(),
            blobs,
            beating,
            end,
            server,
        })
    }

    async fn token(&self, user: &str) -> Result<String, Failure> {
        let operator = Actor::operator();
        self.registry
            .create_user(&operator, user, None, false)
            .await?;
        let wish = NewToken {
            user: user.to_owned(),
            ecosystem: None,
            namespace: None,
            networks: Vec::new(),
            project: None,
            action: Action::Publish,
            expires: std::time::Duration::from_secs(3_600),
            label: "demo".to_owned(),
        };
        Ok(self.registry.create_token(&operator, wish).await?.0)
    }

    async fn take_down(self) -> Result<(), Failure> {
        drop(self.end);
        let ended = self.server.await;
        self.beating.stop().await;
        match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::environment(
                "serve",
                format!("The server failed: {error}."),
            )),
            Err(error) => Err(Failure::environment(
                "serve",
                format!("The server stopped by itself: {error}."),
            )),
        }
    }
}
