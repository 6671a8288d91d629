//! `cargo xtask arch`: the arrows that Cargo cannot see. A table says which module of the core may name which other
//! one, which crates may depend on which, and which words may not stand in a place at all; the sources are held
//! against it.
//!
//! It reads text, not types: a value handed on (`self.inner.blobs`) is not seen, a path that is written is.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// What a module of the core may name of another one: all of it, or only these items.
struct Arrow {
    to: &'static str,
    only: &'static [&'static str],
}

const fn to(to: &'static str) -> Arrow {
    Arrow { to, only: &[] }
}

const fn only(to: &'static str, only: &'static [&'static str]) -> Arrow {
    Arrow { to, only }
}

/// Facts are plain data that the store reads and policy judges; policy sees nothing else of the store.
const FACTS: &[&str] = &[
    "PublishFacts",
    "ProjectFacts",
    "ReleaseFacts",
    "IdentifierFacts",
    "FileFacts",
    "PolicyFacts",
    "FactorFacts",
    "NamespaceFacts",
    "NameFacts",
    "ChangeFacts",
];

/// Ids and commitments are made where accounts are, and used wherever something is recorded.
const MINTED: &[&str] = &["new_id", "commitment"];

/// The inner arrows of `countersign-registry`. A module that is not here may name nothing.
///
/// Verbs (`publish`, `fetch`, `curate`, `accounts`, `trusted`, `archive`) do not call each other. What they share is named item
/// by item: [`Change`](heartbeat) is how an event is recorded, and what the heartbeat renders is what `fetch` serves.
const CORE: &[(&str, &[Arrow])] = &[
    // Nouns, words, settings: know nothing above themselves.
    ("error", &[]),
    (
        "model",
        &[
            only("error", &["Error", "Kind", "Result"]),
            only("checks", &["scan"]),
        ],
    ),
    ("settings", &[to("model"), to("error")]),
    ("texts", &[]),
    ("seams", &[to("model")]),
    ("keys", &[to("error"), to("seams"), to("model")]),
    ("signers", &[to("error")]),
    // Judgement: pure.
    ("checks", &[to("model"), to("error")]),
    (
        "policy",
        &[
            to("checks"),
            to("model"),
            to("error"),
            to("settings"),
            only("store", FACTS),
        ],
    ),
    // Storage.
    (
        "store",
        &[
            to("model"),
            to("error"),
            to("texts"),
            only("checks", &["lookalikes", "scan"]),
        ],
    ),
    ("blobs", &[to("error")]),
    // Verbs.
    (
        "accounts",
        &[
            to("model"),
            only("mail", &["read_address"]),
            only("texts", &["NoticeKind"]),
            to("error"),
            to("policy"),
            to("store"),
            only("heartbeat", &["Change"]),
        ],
    ),
    (
        "advisories",
        &[
            to("model"),
            to("error"),
            to("policy"),
            to("store"),
            only("accounts", &["new_id"]),
            only("settings", &["AdvisoryBlock"]),
            only("texts", &["NoticeKind"]),
            only("fetch", &["Document", "DocumentKey", "ServedFile"]),
        ],
    ),
    (
        "source_health",
        &[
            to("model"),
            to("error"),
            to("policy"),
            to("store"),
            only("accounts", &["new_id"]),
        ],
    ),
    (
        "incidents",
        &[
            to("model"),
            to("error"),
            to("policy"),
            to("store"),
            only("texts", &["NoticeKind"]),
            only("accounts", &["new_id", "user_key"]),
            only("fetch", &["unknown_project"]),
            only("trusted", &["PolicyChange"]),
        ],
    ),
    (
        "stars",
        &[to("model"), to("error"), to("policy"), to("store")],
    ),
    (
        "visibility",
        &[
            to("model"),
            only("texts", &["NoticeKind"]),
            to("error"),
            to("policy"),
            to("store"),
            only("heartbeat", &["Change"]),
        ],
    ),
    (
        "approvals",
        &[
            to("model"),
            only("sign_in", &["Answer", "Ceremony"]),
            to("error"),
            to("policy"),
            to("store"),
            only("texts", &["NoticeKind"]),
            only("accounts", MINTED),
        ],
    ),
    (
        "organisations",
        &[
            to("model"),
            to("error"),
            to("policy"),
            to("store"),
            only("texts", &["Data", "MailKind", "NoticeKind"]),
            only("accounts", &["Owned", "is_settled", "new_id", "user_key"]),
            only("fetch", &["unknown_project"]),
        ],
    ),
    (
        "publish",
        &[
            to("model"),
            only("texts", &["NoticeKind"]),
            to("error"),
            to("policy"),
            to("store"),
            to("blobs"),
            only("accounts", MINTED),
            only("fetch", &["latest_of", "unknown_project"]),
            only("heartbeat", &["Change", "Logged", "Served"]),
            only("provenance", &["Candidate", "NpmSigner", "Vetted"]),
        ],
    ),
    (
        "map",
        &[
            to("model"),
            to("error"),
            to("store"),
            only("accounts", &["new_id"]),
            only("fetch", &["Document"]),
            only("heartbeat", &["Change", "Served"]),
        ],
    ),
    (
        "fetch",
        &[
            to("model"),
            to("error"),
            to("policy"),
            to("store"),
            to("blobs"),
            to("settings"),
            only(
                "heartbeat",
                &[
                    "document_path",
                    "file_url",
                    "file_view",
                    "newer",
                    "project_head",
                    "render_index",
                    "render_packument",
                    "read_tile",
                    "simple_path",
                    "tile_path",
                    "Served",
                    "Shown",
                ],
            ),
        ],
    ),
    (
        "curate",
        &[
            to("model"),
            only("texts", &["NoticeKind"]),
            to("error"),
            to("policy"),
            to("store"),
            only("accounts", MINTED),
            only("fetch", &["latest_of", "unknown_project"]),
            only("heartbeat", &["Change", "served_tags"]),
            only("moderation", &["Opening"]),
        ],
    ),
    (
        "scanning",
        &[
            to("model"),
            to("error"),
            only("checks", &["scan"]),
            to("policy"),
            to("store"),
            only("accounts", &["new_id"]),
            only("blobs", &["artifact_path"]),
            only("heartbeat", &["Change"]),
            only("moderation", &["Opening"]),
        ],
    ),
    (
        "names",
        &[
            to("model"),
            to("error"),
            only("checks", &["lookalikes", "scan"]),
            to("policy"),
            to("store"),
            only("accounts", &["new_id"]),
        ],
    ),
    (
        "moderation",
        &[
            to("model"),
            only("texts", &["NoticeKind"]),
            to("error"),
            to("policy"),
            to("store"),
            only("settings", &["DeletePolicy"]),
            only("accounts", &["new_id"]),
            only("fetch", &["unknown_project"]),
        ],
    ),
    (
        "trusted",
        &[
            to("model"),
            only("texts", &["NoticeKind"]),
            to("error"),
            to("policy"),
            to("store"),
            to("seams"),
            to("services"),
            only("accounts", MINTED),
            only("fetch", &["unknown_project"]),
            only("heartbeat", &["Change"]),
        ],
    ),
    (
        "provenance",
        &[
            to("model"),
            only("texts", &["NoticeKind"]),
            to("error"),
            to("policy"),
            to("store"),
            to("seams"),
            only("settings", &["RootRepository"]),
            only("keys", &["read_secret", "secret_or_new"]),
            only("accounts", &["is_settled", "new_id"]),
            only("fetch", &["Document", "latest_of", "unknown_project"]),
            only("heartbeat", &["Change", "file_url"]),
        ],
    ),
    (
        "console",
        &[to("model"), to("error"), to("policy"), to("store")],
    ),
    (
        "device",
        &[
            to("model"),
            to("error"),
            to("policy"),
            to("store"),
            only("texts", &["NoticeKind"]),
            only("accounts", &["new_id"]),
        ],
    ),
    (
        "leaks",
        &[
            to("model"),
            to("error"),
            to("settings"),
            to("seams"),
            to("store"),
            to("texts"),
            only("accounts", MINTED),
            only("heartbeat", &["Change"]),
        ],
    ),
    (
        "mail",
        &[
            to("model"),
            to("error"),
            to("policy"),
            to("store"),
            to("seams"),
            only("accounts", MINTED),
            only("notices", &["fresh_holder", "holder"]),
            to("texts"),
        ],
    ),
    (
        "privacy",
        &[
            to("model"),
            to("error"),
            to("policy"),
            to("store"),
            only("accounts", &["new_id", "user_key"]),
            only("notices", &["fresh_holder"]),
        ],
    ),
    (
        "sign_in",
        &[
            to("model"),
            to("error"),
            to("settings"),
            to("policy"),
            to("store"),
            to("seams"),
            only("keys", &["read_secret", "secret_or_new"]),
            to("texts"),
            only("accounts", &["new_id", "user_key"]),
            only("heartbeat", &["Change"]),
        ],
    ),
    (
        "recovery",
        &[
            to("model"),
            to("error"),
            to("policy"),
            to("store"),
            to("texts"),
            only("accounts", &["new_id", "user_key"]),
            only("mail", &["minute", "unknown_link"]),
            only("notices", &["fresh_holder", "holder"]),
        ],
    ),
    (
        "oversight",
        &[
            to("model"),
            to("error"),
            to("policy"),
            to("store"),
            only("texts", &["NoticeKind"]),
            only("accounts", MINTED),
            only("sign_in", &["Demand", "IDLE"]),
            only("heartbeat", &["Change", "OVERRIDE"]),
        ],
    ),
    (
        "notices",
        &[
            to("model"),
            to("error"),
            to("policy"),
            to("store"),
            only("accounts", MINTED),
            to("texts"),
        ],
    ),
    (
        "witnesses",
        &[to("model"), to("error"), to("seams"), to("settings")],
    ),
    (
        "heartbeat",
        &[
            to("model"),
            to("witnesses"),
            to("error"),
            to("store"),
            to("blobs"),
            to("settings"),
            only("accounts", MINTED),
            only(
                "fetch",
                &["Document", "DocumentKey", "FRESH", "rendered_index"],
            ),
            only(
                "tuf",
                &[
                    "OWN",
                    "Prepared",
                    "TargetChange",
                    "Writer",
                    "document_name",
                    "target_path",
                ],
            ),
        ],
    ),
    // What is signed beside the log; the heartbeat hands it what changed. Its ceremonies are verbs, whose leaves the
    // heartbeat writes.
    (
        "tuf",
        &[
            to("model"),
            to("error"),
            to("policy"),
            to("store"),
            to("signers"),
            to("services"),
            only("accounts", MINTED),
            only("heartbeat", &["Change"]),
            only("keys", &["read_secret", "secret_or_new"]),
            only(
                "fetch",
                &["Document", "DocumentKey", "FRESH", "unknown_project"],
            ),
        ],
    ),
    // For registries elsewhere. Their logs are written by what the heartbeat has for its own.
    (
        "services",
        &[to("model"), to("error"), only("accounts", MINTED)],
    ),
    (
        "log_service",
        &[
            to("model"),
            to("error"),
            to("policy"),
            to("store"),
            to("keys"),
            to("services"),
            to("witnesses"),
            only("settings", &["LogPolicy"]),
            only("accounts", MINTED),
            only("fetch", &["Document", "FRESH"]),
            only("heartbeat", &["Tree", "WITNESSES_MISSING", "Watch"]),
        ],
    ),
    (
        "chores",
        &[
            to("model"),
            to("error"),
            to("store"),
            to("blobs"),
            only("tuf", &["OWN"]),
        ],
    ),
    // Coming up, going down, looking after: these stand above the verbs.
    (
        "opening",
        &[
            to("model"),
            to("error"),
            to("settings"),
            to("seams"),
            to("keys"),
            to("store"),
            to("blobs"),
            to("fetch"),
            to("heartbeat"),
            only("witnesses", &["Witnesses"]),
            only("archive", &["verifier_key_name"]),
            only("publish", &["Desk"]),
            only("accounts", MINTED),
            only("provenance", &["ATTESTATIONS", "Keyring", "NPM"]),
        ],
    ),
    ("archive", ABOVE),
    ("audit", ABOVE),
    ("doctor", ABOVE),
];

const ABOVE: &[Arrow] = &[
    only("sign_in", &["RP", "belongs"]),
    to("model"),
    to("error"),
    to("settings"),
    to("seams"),
    to("keys"),
    to("store"),
    to("blobs"),
    to("fetch"),
    to("heartbeat"),
    to("opening"),
    to("audit"),
    only("tuf", &["LIFT", "lift_after"]),
    only("log_service", &["key_stem", "verifiers"]),
    to("witnesses"),
    only("accounts", MINTED),
    only(
        "provenance",
        &["ATTESTATIONS", "Keyring", "NPM", "key_problem"],
    ),
];

/// Which of our crates a crate may depend on; development dependencies are free.
const CRATES: &[(&str, &[&str])] = &[
    ("countersign-trust", &[]),
    ("countersign-formats", &["countersign-trust"]),
    (
        "countersign-registry",
        &["countersign-formats", "countersign-trust"],
    ),
    (
        "countersign-web",
        &[
            "countersign-registry",
            "countersign-formats",
            "countersign-trust",
        ],
    ),
    (
        "countersignd",
        &[
            "countersign-web",
            "countersign-registry",
            "countersign-formats",
            "countersign-trust",
            "countersign-assess",
        ],
    ),
    (
        "countersign",
        &[
            "countersign-formats",
            "countersign-trust",
            "countersign-assess",
        ],
    ),
    ("countersign-assess", &["countersign-trust"]),
    ("countersign-testkit", &[]),
];

/// Words that may not stand in the sources below a folder, and why.
struct Ban {
    below: &'static str,
    except: &'static [&'static str],
    words: &'static [&'static str],
    why: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        below: "crates/countersign-trust/src",
        except: &[],
        words: IMPURE,
        why: "this crate is pure: time, randomness, files and networks are its callers' business",
    },
    Ban {
        below: "crates/countersign-formats/src",
        except: &[],
        words: IMPURE,
        why: "this crate is pure: time, randomness, files and networks are its callers' business",
    },
    Ban {
        below: "crates/countersign-assess/src",
        except: &[],
        words: IMPURE,
        why: "this crate is pure: time, randomness, files and networks are its callers' business",
    },
    Ban {
        below: "crates/countersign-registry/src",
        except: &["crates/countersign-registry/src/store"],
        words: &["sqlx", "rusqlite"],
        why: "all SQL stands below store/",
    },
    Ban {
        below: "crates/countersign-registry/src",
        except: &["crates/countersign-registry/src/blobs.rs"],
        words: &["object_store"],
        why: "blobs.rs alone knows how bytes are kept",
    },
    Ban {
        below: "crates/countersign-registry/src",
        except: &[],
        words: &["axum", "hyper", "http", "http_body", "tower", "reqwest"],
        why: "the core knows no HTTP",
    },
    Ban {
        below: "crates/countersign-registry/src",
        except: &["crates/countersign-registry/src/seams.rs"],
        words: &["SystemTime::now", "OsRng", "ThreadRng"],
        why: "time and randomness come through the seams",
    },
    Ban {
        below: "crates/countersign-registry/src/checks",
        except: &[],
        words: &["tokio", "async", "std::fs", "std::net"],
        why: "checks are pure",
    },
    Ban {
        below: "crates/countersign-registry/src/policy.rs",
        except: &[],
        words: &["tokio", "async", "std::fs", "std::net"],
        why: "policy is pure",
    },
    Ban {
        below: "crates/countersign-web/src",
        except: &[],
        words: &["sqlx", "rusqlite", "object_store"],
        why: "the face asks the core, never the database or the blobs",
    },
];

const IMPURE: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "std::net",
    "std::fs",
    "std::process",
    "std::env",
    "tokio",
    "async",
    "rand",
    "OsRng",
    "sqlx",
    "rusqlite",
    "reqwest",
    "hyper",
];

/// Checks the checkout and prints every broken rule.
///
/// # Errors
/// Where a rule is broken, or the sources can not be read.
pub fn run() -> Result<()> {
    let broken = broken_rules(&root())?;
    for rule in &broken {
        println!("{rule}");
    }
    ensure!(
        broken.is_empty(),
        "{} broken rules. Move the code, or, if the rule is wrong, change the table in xtask/src/arch.rs and say why.",
        broken.len()
    );
    println!("The arrows point down.");
    Ok(())
}

/// The root of the checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn broken_rules(root: &Path) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    core_arrows(root, &mut broken)?;
    crate_arrows(root, &mut broken)?;
    for ban in BANS {
        for (name, text) in sources(root, ban.below)? {
            if ban.except.iter().any(|except| name.starts_with(except)) {
                continue;
            }
            for (number, line) in code_lines(&text) {
                for word in ban.words.iter().filter(|word| has_word(&line, word)) {
                    broken.push(format!("{name}:{number}: `{word}`: {}", ban.why));
                }
            }
        }
    }
    Ok(broken)
}

fn core_arrows(root: &Path, broken: &mut Vec<String>) -> Result<()> {
    let folder = "crates/countersign-registry/src";
    let files = sources(root, folder)?;
    let modules: BTreeSet<&str> = files
        .iter()
        .map(|(name, _)| module_of(name, folder))
        .collect();
    ensure!(modules.len() > 10, "{folder} does not look like the core");
    for (name, text) in &files {
        let module = module_of(name, folder);
        if module == "lib" {
            continue;
        }
        let Some((_, arrows)) = CORE.iter().find(|(known, _)| *known == module) else {
            broken.push(format!(
                "{name}: the module `{module}` has no row in the table"
            ));
            continue;
        };
        for (number, line) in code_statements(text) {
            for path in crate_paths(&line) {
                let target = path[0].as_str();
                if target == module || !modules.contains(target) {
                    continue;
                }
                let item = path.get(1).map(String::as_str);
                let allowed = arrows.iter().any(|arrow| {
                    arrow.to == target
                        && (arrow.only.is_empty()
                            || item.is_some_and(|item| arrow.only.contains(&item)))
                });
                if !allowed {
                    broken.push(format!(
                        "{name}:{number}: `{module}` may not use `crate::{}`",
                        path.join("::")
                    ));
                }
            }
        }
    }
    Ok(())
}

fn crate_arrows(root: &Path, broken: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(root.join("crates"))? {
        let folder = entry?.path();
        let name = folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let file = folder.join("Cargo.toml");
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let Some((_, allowed)) = CRATES.iter().find(|(known, _)| *known == name) else {
            broken.push(format!("crates/{name}: has no row in the table of crates"));
            continue;
        };
        let mut section = "";
        for line in text.lines() {
            if line.starts_with('[') {
                section = line.trim();
            } else if section == "[dependencies]"
                && let Some(dependency) = line.split(['.', '=', ' ']).next()
                && dependency.starts_with("countersign")
                && !allowed.contains(&dependency)
            {
                broken.push(format!("crates/{name}: may not depend on {dependency}"));
            }
        }
    }
    Ok(())
}

fn module_of<'a>(name: &'a str, folder: &str) -> &'a str {
    let rest = name
        .strip_prefix(folder)
        .unwrap_or(name)
        .trim_start_matches('/');
    rest.split('/')
        .next()
        .unwrap_or(rest)
        .trim_end_matches(".rs")
}

/// Every Rust file below a folder (or that file), named from the root, but for files of tests: `tests.rs`, and what stands
/// in the folder `tests` beside one, which only it can name.
fn sources(root: &Path, below: &str) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut open = vec![root.join(below)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let of_tests = path.file_name().is_some_and(|name| name == "tests");
            if of_tests && path.with_extension("rs").is_file() {
                continue;
            }
            for entry in
                fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))?
            {
                open.push(entry?.path());
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let name = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .to_string_lossy()
                .into_owned();
            found.push((name, text));
        }
    }
    if found.is_empty() {
        bail!("{below} holds no Rust file; the table in xtask/src/arch.rs is out of date");
    }
    found.sort();
    Ok(found)
}

/// Numbered lines without comments, up to the module of tests at the end of the file.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, String)> + '_ {
    let tests = text
        .find("\n#[cfg(test)]\nmod ")
        .filter(|place| {
            text[*place..]
                .lines()
                .nth(2)
                .is_some_and(|line| line.ends_with('{'))
        })
        .unwrap_or(text.len());
    text[..tests]
        .lines()
        .enumerate()
        .map(|(number, line)| (number + 1, without_comment(line).to_owned()))
}

/// The same with `use` trees of several lines put on one.
fn code_statements(text: &str) -> Vec<(usize, String)> {
    let mut statements: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in code_lines(text) {
        match statements.last_mut() {
            Some((_, statement)) if open => statement.push_str(line.trim()),
            _ => statements.push((number, line.clone())),
        }
        let begins = statements.last().is_some_and(|(_, statement)| {
            let statement = statement.trim_start();
            statement.starts_with("use ")
                || statement.starts_with("pub use ")
                || statement.starts_with("pub(crate) use ")
        });
        open = begins && !line.contains(';');
    }
    statements
}

fn without_comment(line: &str) -> &str {
    // A `//` inside a string (a URL) cuts the line too early, which hides nothing that the rules look for.
    line.find("//").map_or(line, |place| &line[..place])
}

fn has_word(line: &str, word: &str) -> bool {
    let part = |character: char| character.is_alphanumeric() || character == '_';
    line.match_indices(word).any(|(place, _)| {
        let before = line[..place].chars().next_back();
        let after = line[place + word.len()..].chars().next();
        let in_string = line[..place].matches('"').count() % 2 == 1;
        !in_string && !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// The paths after each `crate::` in a line, trees taken apart: `crate::a::{b, c::d}` gives `a b` and `a c d`.
fn crate_paths(line: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (place, _) in line.match_indices("crate::") {
        let whole_word = !line[..place]
            .chars()
            .next_back()
            .is_some_and(|before| before.is_alphanumeric() || before == '_' || before == '$');
        if whole_word {
            let mut rest = &line[place + "crate::".len()..];
            tree(&mut rest, &[], &mut paths);
        }
    }
    paths.retain(|path| !path.is_empty());
    paths
}

fn tree(rest: &mut &str, before: &[String], paths: &mut Vec<Vec<String>>) {
    let mut path = before.to_vec();
    loop {
        *rest = rest.trim_start();
        if let Some(inner) = rest.strip_prefix('{') {
            *rest = inner;
            loop {
                *rest = rest.trim_start();
                if let Some(after) = rest.strip_prefix('}') {
                    *rest = after;
                    return;
                }
                if rest.is_empty() {
                    return;
                }
                tree(rest, &path, paths);
                *rest = rest.trim_start();
                match rest.strip_prefix(',') {
                    Some(after) => *rest = after,
                    None if rest.starts_with('}') => {}
                    // Not a tree that we understand (`as` and the like): leave it.
                    None => *rest = rest.get(1..).unwrap_or_default(),
                }
            }
        }
        let end = rest
            .find(|character: char| !(character.is_alphanumeric() || character == '_'))
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        *rest = after;
        if word.is_empty() {
            paths.push(path);
            return;
        }
        if word != "self" || path.is_empty() {
            path.push(word.to_owned());
        }
        match rest.strip_prefix("::") {
            Some(after) => *rest = after,
            None => {
                paths.push(path);
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_keeps_the_rules() {
        let broken = broken_rules(&root()).unwrap();
        assert!(broken.is_empty(), "{}", broken.join("\n"));
    }

    #[test]
    fn use_trees_are_taken_apart() {
        let paths = |line: &str| -> Vec<String> {
            crate_paths(line)
                .iter()
                .map(|path| path.join(" "))
                .collect()
        };
        assert_eq!(paths("use crate::a;"), ["a"]);
        assert_eq!(
            paths("use crate::a::{b, c::{d, e}, self};"),
            ["a b", "a c d", "a c e", "a"]
        );
        assert_eq!(paths("use crate::{A, b::c};"), ["A", "b c"]);
        assert_eq!(
            paths("let x = crate::a::B::new(crate::c(1));"),
            ["a B new", "c"]
        );
        assert!(paths("not_crate::a::b").is_empty());
    }

    #[test]
    fn statements_over_several_lines_and_comments_are_read_as_rust_reads_them() {
        let text = "use crate::a::{\n    b, // crate::z\n    c,\n};\nlet x = 1;\n/// crate::q\n#[cfg(test)]\nmod tests {\n    use crate::t;\n}\n";
        let statements = code_statements(text);
        let paths: Vec<String> = statements
            .iter()
            .flat_map(|(_, line)| crate_paths(line))
            .map(|path| path.join(" "))
            .collect();
        assert_eq!(paths, ["a b", "a c"]);
    }

    #[test]
    fn words_are_whole_and_outside_strings() {
        assert!(has_word("use tokio::sync;", "tokio"));
        assert!(has_word("std::time::Instant::now()", "Instant::now"));
        assert!(!has_word("let operand = 1;", "rand"));
        assert!(!has_word("let text = \"rand\";", "rand"));
        assert!(!has_word("http_body", "http"));
    }

    #[test]
    fn a_planted_fault_is_found() {
        let folder = std::env::temp_dir().join(format!("arch-{}", std::process::id()));
        let source = folder.join("crates/countersign-registry/src");
        fs::create_dir_all(&source).unwrap();
        for (module, _) in CORE
            .iter()
            .filter(|(module, _)| !["policy", "archive", "doctor"].contains(module))
        {
            fs::write(source.join(format!("{module}.rs")), "").unwrap();
        }
        fs::write(
            source.join("policy.rs"),
            "use crate::store::{PublishFacts, Tx};\nuse crate::blobs::Blobs;\n",
        )
        .unwrap();
        let mut broken = Vec::new();
        core_arrows(&folder, &mut broken).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(
            broken,
            [
                "crates/countersign-registry/src/policy.rs:1: `policy` may not use `crate::store::Tx`",
                "crates/countersign-registry/src/policy.rs:2: `policy` may not use `crate::blobs::Blobs`",
            ]
        );
    }
}
