//! `countersign proxy …`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use countersign::proxy::known::Known;
use countersign::proxy::upstream::Upstream;
use countersign::proxy::{Demands, Folders, Proxy, service};
use countersign::trusted::TrustFile;
use countersign::{Exit, Failure, bundle, inquire};
use countersign_formats::{Ecosystem, lock};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::audit::{database, today};
use super::{authorities, credential, line, notes, remote, trust_path};
use crate::cli::{Advisories, Common, ProxyCommand, ProxyOptions, ProxyRun, ProxyServe};

/// Does it. Of `run` the exit code is that of the command.
pub fn run(common: &Common, what: &ProxyCommand) -> Result<(), Failure> {
    match what {
        ProxyCommand::Serve(options) => serve(common, options),
        ProxyCommand::Run(options) => {
            let status = run_in_front(common, options)?;
            match status.code() {
                Some(0) => Ok(()),
                Some(code) => std::process::exit(code),
                None => Err(Failure::new(
                    Exit::Environment,
                    "command-killed",
                    format!("{} was ended by a signal.", shown(options)),
                )),
            }
        }
    }
}

fn shown(options: &ProxyRun) -> String {
    options
        .command
        .first()
        .map(|program| program.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The system's clock; before 1970 nothing is in time.
fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_secs()).ok())
        .unwrap_or(i64::MAX)
}

fn proxy(common: &Common, options: &ProxyOptions) -> Result<Proxy, Failure> {
    let trust = TrustFile::load(&trust_path(common)?)?;
    let pinned = trust.registry(common.registry.as_ref())?.clone();
    let policy = options.policy.as_deref().map(inquire::policy).transpose()?;
    let own = credential(&pinned.url)?.map(|credential| credential.token);
    let ca = authorities(common)?;
    let upstream = Upstream::new(&pinned.url, own, ca.as_deref(), options.patience)?;
    let mut folders = Folders::of_user()?;
    if let Some(folder) = &options.cache {
        folders.cache.clone_from(folder);
    }
    if let Some(folder) = &options.evidence {
        folders.evidence.clone_from(folder);
    }
    if options.without_completeness {
        notes(common)("without the proof that no release is hidden (--without-completeness)");
    }
    let url = pinned.url.clone();
    let common_of = copy(common);
    let known = known(common, options);
    let say = notes(common);
    Proxy::new(
        pinned,
        trust,
        upstream,
        Box::new(move || remote(&common_of, &url)),
        Demands {
            fresh: options.fresh,
            min_age: options.min_age,
            allow_expired: options.allow_expired,
            completeness: !options.without_completeness,
            policy,
            roots: bundle::trust_root(options.trusted_root.as_deref())?,
            known,
        },
        folders,
        options.cache_size.saturating_mul(1 << 20),
        Box::new(now),
        Box::new(move |text| say(&format!("countersign proxy: {text}"))),
    )
}

fn copy(common: &Common) -> Common {
    Common {
        registry: common.registry.clone(),
        trust: common.trust.clone(),
        ca: common.ca.clone(),
        json: common.json,
    }
}

/// What is known to be bad, read while the proxy begins.
fn known(common: &Common, options: &ProxyOptions) -> Option<Known> {
    if options.without_advisories {
        return None;
    }
    let wanted = Advisories {
        advisories: options.advisories.clone(),
        offline: false,
        refresh: false,
        ignore: options.ignore.clone(),
    };
    let common = copy(common);
    let open = move || {
        let outcome = database(&common, &wanted, Ecosystem::ALL);
        if let Err(failure) = &outcome {
            notes(&common)(&format!(
                "countersign proxy: nothing is looked up in advisories: {}",
                failure.message
            ));
        }
        outcome
    };
    Some(Known::begin(
        open,
        options.refuse_known,
        options.ignore.clone(),
        today(),
    ))
}

fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| {
            Failure::new(
                Exit::Environment,
                "runtime",
                format!("No threads can be started: {error}."),
            )
        })
}

fn listen_failed(address: &dyn std::fmt::Display, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Environment,
        "listen",
        format!("{address} can not be listened on: {error}."),
    )
}

fn serve(common: &Common, options: &ProxyServe) -> Result<(), Failure> {
    let proxy = Arc::new(proxy(common, &options.options)?);
    runtime()?.block_on(async {
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(|error| listen_failed(&options.listen, &error))?;
        let address = listener
            .local_addr()
            .map_err(|error| listen_failed(&options.listen, &error))?;
        let deaf = |error: std::io::Error| {
            Failure::new(
                Exit::Environment,
                "signals",
                format!("Signals can not be listened to: {error}."),
            )
        };
        let mut interrupted = signal(SignalKind::interrupt()).map_err(deaf)?;
        let mut terminated = signal(SignalKind::terminate()).map_err(deaf)?;
        let base = format!("http://{address}");
        if common.json {
            line(&json!({"listening": base, "registry": proxy.pinned().url}).to_string());
        } else {
            line(&format!(
                "Verifying proxy of {} at {base}",
                proxy.pinned().url
            ));
            line(&format!("  pip, uv          {base}/pypi/simple/"));
            line(&format!("  npm, pnpm, yarn  {base}/npm/"));
            line(&format!("  cargo            sparse+{base}/cargo/index/"));
        }
        service::serve(listener, proxy, base, async {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
        })
        .await;
        Ok(())
    })
}

fn run_in_front(common: &Common, options: &ProxyRun) -> Result<ExitStatus, Failure> {
    let proxy = Arc::new(proxy(common, &options.options)?);
    let warned = proxy.clone();
    let registry = proxy.pinned().url.as_str().trim_end_matches('/').to_owned();
    let runtime = runtime()?;
    let listener = runtime
        .block_on(TcpListener::bind("127.0.0.1:0"))
        .map_err(|error| listen_failed(&"127.0.0.1", &error))?;
    let address = listener
        .local_addr()
        .map_err(|error| listen_failed(&"127.0.0.1", &error))?;
    let base = format!("http://{address}");
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    // An interrupt goes to the command too, which ends first; the proxy outlives it.
    let serving = runtime.spawn({
        let base = base.clone();
        async move {
            let mut interrupts = signal(SignalKind::interrupt()).ok();
            let quiet = async {
                match &mut interrupts {
                    Some(interrupts) => while interrupts.recv().await.is_some() {},
                    None => std::future::pending().await,
                }
            };
            let until = async {
                tokio::select! {
                    _ = ended => {}
                    () = quiet => {}
                }
            };
            service::serve(listener, proxy, base, until).await;
        }
    });
    for (lock, files) in past_the_proxy(options) {
        let lock = lock.display();
        notes(common)(&format!(
            "countersign proxy: {lock} has addresses of files ({files}), which uv and pip fetch there, past the proxy; \
             `countersign verify {lock}` checks them"
        ));
    }
    let mut command = command(options, &base, &registry);
    let status = command.status().map_err(|error| {
        Failure::new(
            Exit::Usage,
            "command",
            format!("{} can not be run: {error}.", shown(options)),
        )
    });
    // It ends with the process in any case.
    let _ = end.send(());
    let _ = runtime.block_on(serving);
    // Again at the end, where it is seen.
    match warned.warned() {
        0 => {}
        1 => notes(common)("countersign proxy: 1 known vulnerability was passed on, see above"),
        many => notes(common)(&format!(
            "countersign proxy: {many} known vulnerabilities were passed on, see above"
        )),
    }
    status
}

/// The lock files, of the folder in which the command runs or of one above it, that have addresses of files, and how many: what a
/// client fetches there does not come through the proxy. Only Python's; npm's clients and cargo are told to go by the index.
fn past_the_proxy(options: &ProxyRun) -> Vec<(PathBuf, usize)> {
    let program = options.command.first().map(Path::new);
    let name = program
        .and_then(Path::file_name)
        .unwrap_or_default()
        .to_string_lossy();
    if ["npm", "npx", "pnpm", "yarn", "cargo"].contains(&&*name) {
        return Vec::new();
    }
    let Ok(here) = std::env::current_dir() else {
        return Vec::new();
    };
    let with_addresses = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.to_owned();
        if name != "uv.lock" && !(name.starts_with("pylock.") && name.ends_with(".toml")) {
            return None;
        }
        // What can not be read here is for the client to tell.
        let lock = lock::parse(&name, &bundle::read(&path, lock::MAX_LOCK).ok()?).ok()?;
        let files = lock.entries.iter().flat_map(|entry| &entry.files);
        let files = files.filter(|file| file.url.is_some()).count();
        (files > 0).then_some((path, files))
    };
    let found = here.ancestors().map(|folder| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .filter_map(|entry| with_addresses(entry.path()))
            .collect();
        found.sort();
        found
    });
    found
        .into_iter()
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

/// The command, with every client pointed to the proxy.
fn command(options: &ProxyRun, base: &str, registry: &str) -> Command {
    let mut words = options.command.iter();
    let program = words.next().cloned().unwrap_or_default();
    let name = Path::new(&program)
        .file_name()
        .unwrap_or_default()
        .to_owned();
    let mut command = Command::new(&program);
    let mut words = words.peekable();
    if name == "cargo" {
        // A toolchain's name goes first.
        if let Some(word) = words.next_if(|word| word.to_string_lossy().starts_with('+')) {
            command.arg(word);
        }
        let mut set = |text: String| {
            command.args(["--config", &text]);
        };
        set(format!(
            "source.countersign-proxy.registry=\"sparse+{base}/cargo/index/\""
        ));
        // Both indices of the registry, by whatever name the user's configuration has them.
        for index in ["index", "private"] {
            set(format!(
                "source.countersign-pinned-{index}.registry=\"sparse+{registry}/cargo/{index}/\""
            ));
            set(format!(
                "source.countersign-pinned-{index}.replace-with=\"countersign-proxy\""
            ));
        }
        if options.crates_io {
            set("source.crates-io.replace-with=\"countersign-proxy\"".to_owned());
        }
    }
    command.args(words);
    let (python, node) = (format!("{base}/pypi/simple/"), format!("{base}/npm/"));
    command
        // An index that pip's own configuration adds would be one past the proxy.
        .env("PIP_CONFIG_FILE", "/dev/null")
        .env("PIP_INDEX_URL", &python)
        .env_remove("PIP_EXTRA_INDEX_URL")
        .env_remove("PIP_FIND_LINKS")
        .env("UV_DEFAULT_INDEX", &python)
        .env("UV_INDEX_URL", &python)
        .env_remove("UV_INDEX")
        .env_remove("UV_EXTRA_INDEX_URL")
        .env_remove("UV_FIND_LINKS")
        .env("npm_config_registry", &node)
        // pnpm 11 and newer reads no variable of npm's.
        .env("pnpm_config_registry", &node)
        // What a lock file says of where tarballs are is not where they are fetched from.
        .env("npm_config_replace_registry_host", "always")
        .env("YARN_NPM_REGISTRY_SERVER", node.trim_end_matches('/'))
        .env("YARN_UNSAFE_HTTP_WHITELIST", "127.0.0.1")
        .env("COUNTERSIGN_PROXY", base);
    let local = "127.0.0.1,localhost";
    for variable in ["NO_PROXY", "no_proxy"] {
        let value = match std::env::var(variable) {
            Ok(before) if !before.is_empty() => format!("{before},{local}"),
            _ => local.to_owned(),
        };
        command.env(variable, value);
    }
    command
}
