//! The book: every command in it is run, page by page, by the shell and the real clients; every page stands in the table of
//! contents; every link leads somewhere; the references say what the programs say.
//!
//! A fenced block `console` is a session: lines that begin with `$ ` are commands (`> ` goes on with one), the others are what they
//! print, in order, where `…` stands for anything. A command that ends with `&` is a server, which is waited for. `console,MARK` is
//! not run: `hardware` needs some, `people` asks somebody, `outside` needs what is not on this machine. Even there, a
//! command of ours must exist with its flags.

mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_testkit::clients::Clients;
use countersign_testkit::node::{Node, NodeHome};
use countersign_testkit::packages::Wheel;
use countersign_testkit::s3::S3Server;
use countersign_testkit::{postgres, server};

/// Why a block is not run.
const MARKS: [&str; 3] = ["hardware", "people", "outside"];
/// The address that stands for the registry on every page.
const PORT: &str = "8417";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// Every page below `docs/`, by its path there.
fn pages() -> BTreeMap<String, String> {
    fn walk(folder: &Path, prefix: &str, pages: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                walk(&path, &format!("{prefix}{name}/"), pages);
            } else if name.ends_with(".md") {
                pages.insert(
                    format!("{prefix}{name}"),
                    fs::read_to_string(&path).unwrap(),
                );
            }
        }
    }
    let mut pages = BTreeMap::new();
    walk(&docs(), "", &mut pages);
    pages
}

/// A command of a page, and what it must print.
#[derive(Debug, Default)]
struct Step {
    line: usize,
    command: String,
    expected: Vec<String>,
    /// Why it is not run, where it is not.
    mark: Option<String>,
}

/// The sessions of a page, one after the other.
fn steps(page: &str, text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut fence: Option<Option<String>> = None;
    for (number, line) in text.lines().enumerate() {
        if let Some(info) = line.strip_prefix("```") {
            fence = match (&fence, info.split_once(',').unwrap_or((info, ""))) {
                (Some(_), _) => None,
                (None, ("console", "")) => Some(None),
                (None, ("console", mark)) => {
                    assert!(
                        MARKS.contains(&mark),
                        "{page}:{}: mark {mark:?}",
                        number + 1
                    );
                    Some(Some(mark.to_owned()))
                }
                (None, _) => Some(Some("no session".to_owned())),
            };
            continue;
        }
        let Some(mark) = &fence else { continue };
        if mark.as_deref() == Some("no session") {
            continue;
        }
        let begun = steps.last_mut().filter(|step| step.expected.is_empty());
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                line: number + 1,
                command: command.to_owned(),
                mark: mark.clone(),
                ..Step::default()
            });
        } else if let Some(more) = line.strip_prefix("> ").or((line == ">").then_some("")) {
            let step =
                begun.unwrap_or_else(|| panic!("{page}:{}: goes on with nothing", number + 1));
            step.command.push('\n');
            step.command.push_str(more);
        } else if let Some(step) = begun.filter(|step| step.command.ends_with('\\')) {
            step.command.push('\n');
            step.command.push_str(line);
        } else if !line.trim().is_empty() {
            let step = steps
                .last_mut()
                .unwrap_or_else(|| panic!("{page}:{}: output of nothing", number + 1));
            step.expected.push(line.trim().to_owned());
        }
    }
    steps
}

/// Whether a printed line is the shown one, in which `…` stands for anything.
fn fits(shown: &str, printed: &str) -> bool {
    let mut pieces = shown.split('…');
    let Some(mut rest) = pieces.next().and_then(|first| printed.strip_prefix(first)) else {
        return false;
    };
    let mut open = false;
    for piece in pieces {
        open = true;
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    // The last piece may stand more than once; the end is what counts.
    rest.is_empty() || open && printed.ends_with(shown.rsplit('…').next().unwrap_or_default())
}

/// The addresses of this machine that a page names, each with a port of its own here.
struct Ports(Vec<(String, String)>);

impl Ports {
    fn of(text: &str) -> Self {
        let mut names = BTreeSet::from([PORT.to_owned()]);
        for host in ["localhost:", "127.0.0.1:"] {
            for rest in text.split(host).skip(1) {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                if port.len() == 4 {
                    names.insert(port);
                }
            }
        }
        let port = || countersign_testkit::machine::free_port().unwrap();
        let names = names.into_iter();
        Self(names.map(|name| (name, port().to_string())).collect())
    }

    fn real(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (shown, real)| {
            ["localhost:", "127.0.0.1:"]
                .iter()
                .fold(text, |text, host| {
                    text.replace(&format!("{host}{shown}"), &format!("{host}{real}"))
                })
        })
    }

    fn shown(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (shown, real)| {
            text.replace(&format!(":{real}"), &format!(":{shown}"))
        })
    }

    /// `countersignd serve` listens where the page says that it does by itself.
    fn placed(&self, command: &str) -> String {
        let command = self.real(command);
        if command.contains("countersignd serve") && !command.contains("--listen") {
            let (_, port) = self.0.iter().find(|(shown, _)| shown == PORT).unwrap();
            return command.replace(
                "countersignd serve",
                &format!("countersignd serve --listen 127.0.0.1:{port}"),
            );
        }
        command
    }
}

/// A fresh place with the programs and the real clients, apart from this machine's configuration.
struct Place {
    folder: tempfile::TempDir,
    variables: Vec<(OsString, OsString)>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("countersign-book-")
            .tempdir()
            .unwrap();
        let (home, work) = (folder.path().join("home"), folder.path().join("work"));
        fs::create_dir(&home).unwrap();
        fs::create_dir_all(work.join("dist")).unwrap();
        Wheel::new("hello-countersign", "1.0")
            .build()
            .write_to(&work.join("dist"))
            .unwrap();
        let clients = Clients::get().unwrap();
        let python = clients.command("python");
        let mut variables: BTreeMap<OsString, OsString> = python
            .get_envs()
            .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
            .collect();
        let node = NodeHome::new("http://localhost/", None).unwrap();
        let node = node.command(Node::Npm, &home, &[]);
        let path_of_node = node
            .get_envs()
            .find(|(name, _)| *name == "PATH")
            .and_then(|(_, value)| value)
            .unwrap();
        let programs = server::program("countersign")
            .unwrap()
            .parent()
            .unwrap()
            .to_owned();
        let mut path = vec![programs];
        path.extend(std::env::split_paths(&variables[OsStr::new("PATH")]));
        path.extend(std::env::split_paths(path_of_node));
        variables.insert("PATH".into(), std::env::join_paths(path).unwrap());
        variables.remove(OsStr::new("VIRTUAL_ENV"));
        let under = |name: &str| OsString::from(home.join(name));
        for (name, value) in [
            ("HOME", under("")),
            ("TMPDIR", under("")),
            ("XDG_CONFIG_HOME", under("config")),
            ("XDG_CACHE_HOME", under("cache")),
            ("XDG_DATA_HOME", under("data")),
            ("XDG_STATE_HOME", under("state")),
            ("CARGO_HOME", under("cargo")),
            ("CARGO_TARGET_DIR", under("target")),
            ("CARGO_TERM_COLOR", "never".into()),
            ("npm_config_update_notifier", "false".into()),
            ("npm_config_fund", "false".into()),
            // What is not on this machine is out of reach, at once and for everybody alike.
            ("NO_PROXY", "localhost,127.0.0.1".into()),
            ("HTTPS_PROXY", "http://127.0.0.1:9".into()),
        ] {
            variables.insert(name.into(), value);
        }
        let rustup = std::env::var_os("RUSTUP_HOME")
            .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".rustup").into()));
        for (name, value) in [
            ("RUSTUP_HOME", rustup),
            ("RUSTUP_TOOLCHAIN", std::env::var_os("RUSTUP_TOOLCHAIN")),
        ] {
            variables.extend(value.map(|value| (name.into(), value)));
        }
        Self {
            folder,
            variables: variables.into_iter().collect(),
        }
    }
}

/// Runs a page's sessions as one shell does. The error says which line did what.
fn run(page: &str, text: &str) -> Result<(), String> {
    let steps: Vec<_> = steps(page, text)
        .into_iter()
        .filter(|step| step.mark.is_none())
        .collect();
    if steps.is_empty() {
        return Ok(());
    }
    let place = Place::new();
    let mut text_now = text.to_owned();
    let mut given: Vec<(&str, String)> = Vec::new();
    let mut s3 = None;
    if text.contains("postgres://countersign@db.internal/countersign") {
        given.push((
            "postgres://countersign@db.internal/countersign",
            postgres::fresh_database().unwrap(),
        ));
    }
    if text.contains("https://s3.internal") {
        let server = S3Server::start().unwrap();
        given.push(("https://s3.internal", server.endpoint()));
        given.push((
            "ACCESS_KEY_ID=key",
            format!("ACCESS_KEY_ID={}", S3Server::ACCESS_KEY_ID),
        ));
        given.push((
            "SECRET_ACCESS_KEY=secret",
            format!("SECRET_ACCESS_KEY={}", S3Server::SECRET_ACCESS_KEY),
        ));
        given.push(("s3://packages/", format!("s3://{}/", S3Server::BUCKET)));
        s3 = Some(server);
    }
    text_now.retain(|c| c != '\r');
    let ports = Ports::of(&text_now);
    // Standard error goes where standard output goes, as on a terminal; servers write into files.
    let mut script = "OUT=$PWD\nset -m\nexec 2>&1\n".to_owned();
    for (number, step) in steps.iter().enumerate() {
        let placed = ports.placed(&step.command);
        let command = given.iter().fold(placed, |command, (shown, real)| {
            command.replace(shown, real)
        });
        script.push_str(&format!("printf '\\n\\036%d\\n' {number}\n"));
        match command.trim_end().strip_suffix('&') {
            Some(server) => script.push_str(&format!(
                "{server} >\"$OUT/.out.{number}\" 2>\"$OUT/.err.{number}\" &\n\
                 for n in $(seq 1200); do [ -s \"$OUT/.out.{number}\" ] && break; kill -0 $! 2>/dev/null || break; sleep 0.05; done\n\
                 cat \"$OUT/.out.{number}\"; [ -s \"$OUT/.out.{number}\" ] || {{ cat \"$OUT/.err.{number}\"; printf '\\036failed\\n'; exit 1; }}\n"
            )),
            None => script.push_str(&format!(
                "{command}\nstatus=$?; [ $status = 0 ] || {{ printf '\\n\\036failed %d\\n' $status; kill $(jobs -p) 2>/dev/null; exit 1; }}\n"
            )),
        }
    }
    script.push_str("kill $(jobs -p) 2>/dev/null; wait; exit 0\n");
    let output = Command::new("bash")
        .args(["--noprofile", "--norc", "-c", &script])
        .env_clear()
        .envs(place.variables.iter().map(|(name, value)| (name, value)))
        .env("AWS_ALLOW_HTTP", "true")
        .current_dir(place.folder.path().join("work"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("bash can not be started: {error}"))?;
    drop(s3);
    let printed = ports.shown(&String::from_utf8_lossy(&output.stdout));
    let mut told = printed.split("\n\u{1e}").skip(1);
    for (number, step) in steps.iter().enumerate() {
        let at = format!("docs/{page}:{}: $ {}", step.line, step.command);
        let said = told
            .next()
            .ok_or_else(|| format!("{at}\nwas not reached"))?;
        let said = said
            .strip_prefix(&format!("{number}\n"))
            .ok_or_else(|| format!("{at}\nprinted {said:?}"))?;
        if let Some(failed) = told
            .clone()
            .next()
            .filter(|next| next.starts_with("failed"))
        {
            return Err(format!("{at}\n{failed}and printed:\n{said}"));
        }
        let mut lines = said.lines().map(str::trim);
        for shown in &step.expected {
            if !lines.any(|line| fits(shown, line)) {
                return Err(format!(
                    "{at}\nshows the line\n{shown}\nand printed:\n{said}"
                ));
            }
        }
    }
    Ok(())
}

#[test]
fn every_command_of_the_book_does_what_its_page_shows() {
    let all: Vec<_> = pages().into_iter().collect();
    // Where one page is looked at, name it.
    let wanted = std::env::var("COUNTERSIGN_BOOK_PAGE").ok();
    let next = AtomicUsize::new(0);
    let faults = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((page, text)) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if wanted.as_ref().is_some_and(|wanted| wanted != page) {
                        continue;
                    }
                    if let Err(fault) = run(page, text) {
                        faults.lock().unwrap().push(fault);
                    }
                }
            });
        }
    });
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    let run = all
        .iter()
        .flat_map(|(page, text)| steps(page, text))
        .filter(|step| step.mark.is_none())
        .count();
    assert!(run > 100, "only {run} commands are run");
}

#[test]
fn a_shown_line_fits_what_was_printed_and_nothing_else() {
    for (shown, printed, good) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("…", "", true),
        ("a…", "abc", true),
        ("…c", "abc", true),
        ("a…c…e", "abcde", true),
        ("a…c", "acac", true),
        ("a…c", "acab", false),
        ("b…", "ab", false),
    ] {
        assert_eq!(fits(shown, printed), good, "{shown} {printed}");
    }
    let page = "```console\n$ a \\\n  b\nout\n$ c <<E\n> x\n>\n> E\n```\n```console,outside\n$ d\n```\n```sh\n$ e\n```\n";
    let found = steps("p", page);
    let commands: Vec<_> = found.iter().map(|step| step.command.as_str()).collect();
    assert_eq!(commands, ["a \\\n  b", "c <<E\nx\n\nE", "d"]);
    assert_eq!(found[0].expected, ["out"]);
    assert_eq!(found[2].mark.as_deref(), Some("outside"));
    // A page that shows what is not so is found out.
    let wrong = "```console\n$ echo one\ntwo\n```\n";
    assert!(run("p", wrong).unwrap_err().contains("shows the line\ntwo"));
    let failing = "```console\n$ true\n$ sh -c 'echo no; exit 3'\n$ true\n```\n";
    let fault = run("p", failing).unwrap_err();
    assert!(
        fault.contains("p:3: ") && fault.contains("failed 3") && fault.contains("no\n"),
        "{fault}"
    );
}

/// mdBook leaves out what its table of contents does not name, and says nothing of links that lead nowhere.
#[test]
fn every_page_stands_in_the_table_of_contents_and_every_link_leads_somewhere() {
    let pages = pages();
    let summary = &pages["SUMMARY.md"];
    let mut faults = Vec::new();
    for page in pages.keys().filter(|page| *page != "SUMMARY.md") {
        let times = summary.matches(&format!("]({page})")).count();
        if times != 1 {
            faults.push(format!("docs/SUMMARY.md names {page} {times} times"));
        }
    }
    for (page, text) in &pages {
        let folder = docs().join(page).parent().unwrap().to_owned();
        let mut fenced = false;
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            // Attributes in angle brackets and code are no links.
            for rest in line.split("](").skip(1).filter(|_| !fenced) {
                let target = rest.split(')').next().unwrap_or_default();
                let file = target.split('#').next().unwrap_or_default();
                if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                if !folder.join(file).exists() {
                    faults.push(format!(
                        "docs/{page}:{}: {target} leads nowhere",
                        number + 1
                    ));
                } else if !folder
                    .join(file)
                    .canonicalize()
                    .unwrap()
                    .starts_with(docs().canonicalize().unwrap())
                {
                    faults.push(format!(
                        "docs/{page}:{}: {target} leads out of the book",
                        number + 1
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
