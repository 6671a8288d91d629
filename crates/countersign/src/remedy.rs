//! The smallest updates that leave known flaws behind, resolved by the ecosystem's own tool in a copy of the project, and looked up again
//! afterwards. Nothing of the project is run: scripts are switched off, sources are not built, and the copy has no code in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use countersign_formats::lock::{LockFile, LockKind};
use countersign_formats::osv::{Point, Verdict, ecosystem_name};
use countersign_formats::{Ecosystem, Limits, format, lock, pypi};
use serde_json::Value;
use url::Url;

use crate::advisories::Database;
use crate::bundle;
use crate::exposure::{self, Exposure, Found};
use crate::failure::{Exit, Failure, Result, plain};
use crate::remote::Remote;

/// Folders that no tool needs to resolve.
const SKIPPED: [&str; 9] = [
    "target",
    "node_modules",
    ".git",
    ".venv",
    "venv",
    "__pycache__",
    ".tox",
    ".hg",
    "dist",
];
/// Files that tools read to resolve; of Rust's sources it counts that they are there.
const NEEDED: [&str; 19] = [
    "Cargo.toml",
    "Cargo.lock",
    "package.json",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "pnpm-lock.yaml",
    "pnpm-workspace.yaml",
    "yarn.lock",
    ".npmrc",
    ".yarnrc",
    ".yarnrc.yml",
    "pyproject.toml",
    "uv.lock",
    "uv.toml",
    "config.toml",
    "requirements.txt",
    "rust-toolchain.toml",
    "rust-toolchain",
    ".python-version",
];
/// The most files of a project that are copied.
const MOST_FILES: usize = 50_000;
/// How deep folders are followed.
const MOST_DEPTH: usize = 24;
/// How often a fix may itself have a flaw.
const MOST_HOPS: usize = 20;
/// How much of what a tool says is shown, in characters.
const SHOWN: usize = 1500;
/// The longest file of settings, in bytes.
const MOST_SETTINGS: usize = 1 << 20;
/// The longest index page, in bytes.
const MOST_PAGE: usize = 64 << 20;

/// How an index at another address is reached.
pub type Elsewhere<'a> = &'a dyn Fn(&Url) -> Result<Remote>;

/// An update that would leave flaws behind.
#[derive(Debug, Clone)]
pub struct Step {
    /// The package.
    pub name: String,
    /// The version in the lock file.
    pub from: String,
    /// The smallest version of which no flaw is known.
    pub to: String,
    /// What it leaves behind.
    pub ids: Vec<String>,
    /// Who asks for it.
    pub asked_by: Vec<String>,
}

/// A flaw that no update leaves behind, and why.
#[derive(Debug, Clone)]
pub struct Stuck {
    /// The package and its version.
    pub name: String,
    /// The flaws.
    pub ids: Vec<String>,
    /// Why, and who holds it back.
    pub reason: String,
}

/// What is to be done about a lock file.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Updates.
    pub steps: Vec<Step>,
    /// What no update helps against.
    pub stuck: Vec<Stuck>,
}

/// A package whose version is another one after the updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The package.
    pub name: String,
    /// Versions that are gone.
    pub before: Vec<String>,
    /// Versions that are new.
    pub after: Vec<String>,
}

/// A lock file as it would be.
pub struct Mended {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What is different in it.
    pub changes: Vec<Change>,
    /// Known flaws that it still has.
    pub left: Vec<String>,
    /// What could not be done, and why.
    pub stuck: Vec<Stuck>,
}

/// Finds for each vulnerable package the smallest version without a known flaw.
#[must_use]
pub fn plan(exposure: &Exposure, database: &Database) -> Plan {
    let mut by_entry: BTreeMap<usize, Vec<&Found>> = BTreeMap::new();
    for found in exposure.counted() {
        by_entry.entry(found.entry).or_default().push(found);
    }
    let mut plan = Plan::default();
    for (at, found) in by_entry {
        let entry = &exposure.lock.entries[at];
        let ids: Vec<String> = found
            .iter()
            .map(|found| found.advisory.id.clone())
            .collect();
        let asked_by: Vec<String> = exposure
            .graph
            .parents(at)
            .into_iter()
            .map(|parent| exposure.named(parent))
            .collect();
        match target(entry.ecosystem, entry.name_key.as_str(), &found, database) {
            Some(to) => plan.steps.push(Step {
                name: entry.name_key.to_string(),
                from: entry.version.clone().unwrap_or_default(),
                to,
                ids,
                asked_by,
            }),
            None => plan.stuck.push(Stuck {
                name: exposure.named(at),
                ids,
                reason: "no version without the flaw is known".to_owned(),
            }),
        }
    }
    plan
}

/// The smallest version above all mends that has no other flaw.
fn target(
    ecosystem: Ecosystem,
    name: &str,
    found: &[&Found],
    database: &Database,
) -> Option<String> {
    let place = |text: &str| Point::ecosystem(ecosystem_name(ecosystem), text);
    let above = |a: String, b: String| match place(&a)?.compare(&place(&b)?)? {
        std::cmp::Ordering::Less => Some(b),
        _ => Some(a),
    };
    let mut fixes = found.iter().map(|found| found.fixed.clone());
    let first = fixes.next()??;
    let mut to = fixes.try_fold(first, |a, b| above(a, b?))?;
    for _ in 0..MOST_HOPS {
        let still = exposure::of_release(0, ecosystem, name, &to, database);
        let still: Vec<&Found> = still
            .iter()
            .filter(|found| found.verdict == Verdict::Affected && found.counts())
            .collect();
        if still.is_empty() {
            // As the ecosystem writes it.
            return match format(ecosystem).version(&to) {
                Ok(version) => Some(version.canonical().to_owned()),
                Err(_) => None,
            };
        }
        to = still
            .iter()
            .try_fold(to.clone(), |a, found| above(a, found.fixed.clone()?))?;
    }
    None
}

/// Lets the ecosystem's tool carry out a plan in a copy of the project, and looks the outcome up. `remote` gives the digests of new files
/// where the tool is this program itself.
///
/// # Errors
/// Exit 1 where the copy can not be made or there is no such tool.
pub fn mend(
    exposure: &Exposure,
    plan: &Plan,
    database: &Database,
    remote: Option<Elsewhere<'_>>,
    registry: Option<&Remote>,
) -> Result<Mended> {
    let mut stuck = plan.stuck.clone();
    let bytes = match exposure.lock.kind {
        _ if plan.steps.is_empty() => exposure.bytes.clone(),
        LockKind::Requirements => requirements(exposure, plan, remote, registry, &mut stuck)?,
        LockKind::Poetry | LockKind::Pipenv | LockKind::Pylock => {
            let told = plan.steps.iter().map(|step| {
                held(
                    step,
                    &format!(
                        "{} is not rewritten here: {}",
                        exposure.lock.kind.as_str(),
                        by_hand(exposure.lock.kind, step)
                    ),
                )
            });
            stuck.extend(told);
            exposure.bytes.clone()
        }
        _ => resolved(exposure, plan, &mut stuck)?,
    };
    let filename = exposure.path.file_name().unwrap_or_default();
    let after = lock::parse(&filename.to_string_lossy(), &bytes).map_err(|refused| {
        Failure::new(
            Exit::Environment,
            "fix-unreadable",
            format!("What the tool wrote can not be read: {}", refused.message),
        )
    })?;
    let left = exposure::findings(&after, database);
    let left = left
        .iter()
        .filter(|found| found.counts() && found.verdict == Verdict::Affected)
        .filter(|found| !passed_over(exposure, found))
        .map(|found| {
            let entry = &after.entries[found.entry];
            format!(
                "{} {}: {}",
                entry.name_key,
                entry.version.as_deref().unwrap_or_default(),
                found.advisory.id
            )
        })
        .collect();
    Ok(Mended {
        changes: changes(&exposure.lock, &after),
        bytes,
        left,
        stuck,
    })
}

/// What to do where no tool is driven from here.
fn by_hand(kind: LockKind, step: &Step) -> String {
    let Step { name, to, .. } = step;
    match kind {
        LockKind::Poetry => format!(
            "`poetry update --lock {name}` takes the newest that fits, `poetry add --lock {name}@{to}` this one"
        ),
        LockKind::Pipenv => format!("`pipenv upgrade {name}=={to}`"),
        _ => format!("lock {name} {to} with the tool that wrote it"),
    }
}

/// Whether the user passed over the advisory in the lock file of before.
fn passed_over(exposure: &Exposure, found: &Found) -> bool {
    exposure
        .found
        .iter()
        .any(|old| old.ignored.is_some() && old.advisory.id == found.advisory.id)
}

fn held(step: &Step, why: &str) -> Stuck {
    let by = match step.asked_by.as_slice() {
        [] => String::new(),
        parents => format!("; asked for by {}", parents.join(", ")),
    };
    Stuck {
        name: format!("{} {}", step.name, step.from),
        ids: step.ids.clone(),
        reason: format!("{why}{by}"),
    }
}

/// What is different between two lock files, by package.
#[must_use]
pub fn changes(before: &LockFile, after: &LockFile) -> Vec<Change> {
    let versions = |lock: &LockFile| {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in &lock.entries {
            let versions = all.entry(entry.name_key.to_string()).or_default();
            versions.extend(entry.version.clone());
        }
        for versions in all.values_mut() {
            versions.sort();
            versions.dedup();
        }
        all
    };
    let (old, new) = (versions(before), versions(after));
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let none = Vec::new();
    names
        .into_iter()
        .filter_map(|name| {
            let (old, new) = (
                old.get(name).unwrap_or(&none),
                new.get(name).unwrap_or(&none),
            );
            let gone: Vec<String> = old.iter().filter(|v| !new.contains(v)).cloned().collect();
            let come: Vec<String> = new.iter().filter(|v| !old.contains(v)).cloned().collect();
            (!gone.is_empty() || !come.is_empty()).then(|| Change {
                name: name.clone(),
                before: gone,
                after: come,
            })
        })
        .collect()
}

// ---- With the ecosystem's tool ----

/// What a tool printed, or why it failed.
type Outcome = std::result::Result<String, String>;

/// A copy of a project, with what tools need to resolve and nothing that could be run. It goes when it is dropped.
struct Scratch {
    root: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is only room.
        let _ = fs::remove_dir_all(&self.root);
    }
}

impl Scratch {
    fn of(project: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Failure::new(
                Exit::Environment,
                "fix-copy",
                format!("The project can not be copied to be resolved: {error}."),
            )
        };
        let name = format!(
            "countersign-fix-{}-{:x}",
            std::process::id(),
            rand::random::<u64>()
        );
        let copy = Self {
            root: std::env::temp_dir().join(name),
        };
        fs::create_dir(&copy.root).map_err(failed)?;
        let mut left = MOST_FILES;
        mirror(project, &copy.root, 0, &mut left).map_err(failed)?;
        Ok(copy)
    }

    /// Runs a tool; what it printed, or what it said where it failed.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<Outcome> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.root)
            .stdin(Stdio::null())
            // What a project's configuration names instead is not started.
            .env("RUSTC", "rustc")
            .env("RUSTC_WRAPPER", "")
            .env("RUSTC_WORKSPACE_WRAPPER", "")
            .env("npm_config_ignore_scripts", "true")
            .env("npm_config_audit", "false")
            .env("npm_config_fund", "false")
            .env("npm_config_ignore_pnpmfile", "true")
            // pnpm 11 and newer reads no variable of npm's.
            .env("pnpm_config_ignore_scripts", "true")
            .env("pnpm_config_ignore_pnpmfile", "true")
            // No other version of the tool is fetched and run because the project says so.
            .env("pnpm_config_pm_on_fail", "ignore")
            .env("npm_config_manage_package_manager_versions", "false")
            .env("npm_config_package_manager_strict", "false")
            .env("YARN_IGNORE_PATH", "1")
            .env("YARN_ENABLE_SCRIPTS", "false")
            .env("YARN_ENABLE_IMMUTABLE_INSTALLS", "false")
            .env("YARN_ENABLE_TELEMETRY", "false")
            .env("NO_COLOR", "1");
        let output = command.output().map_err(|error| {
            Failure::new(
                Exit::Environment,
                "no-tool",
                format!("{program} can not be run: {error}."),
            )
            .remedy(
                "The ecosystem's own tool resolves the update; install it, or run it elsewhere.",
            )
        })?;
        if output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            return Ok(Ok(said.trim().to_owned()));
        }
        // pnpm and yarn tell on standard output what is wrong.
        let said = [&output.stderr[..], &output.stdout[..]].concat();
        let said = String::from_utf8_lossy(&said);
        let said: Vec<String> = said
            .lines()
            .map(plain)
            .filter(|line| !line.trim().is_empty())
            .collect();
        Ok(Err(said.join(" ").chars().take(SHOWN).collect()))
    }
}

fn mirror(from: &Path, to: &Path, depth: usize, left: &mut usize) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        // Links are not followed: they may lead anywhere.
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if depth < MOST_DEPTH && !SKIPPED.contains(&&*text) {
                let inner = to.join(&name);
                fs::create_dir(&inner)?;
                mirror(&entry.path(), &inner, depth + 1, left)?;
            }
            continue;
        }
        if !kind.is_file() {
            continue;
        }
        let needed = NEEDED.contains(&&*text);
        if !needed && !text.ends_with(".rs") {
            continue;
        }
        *left = left
            .checked_sub(1)
            .ok_or_else(|| std::io::Error::other(format!("it has more than {MOST_FILES} files")))?;
        if text == ".yarnrc.yml" {
            let settings = bundle::read(&entry.path(), MOST_SETTINGS)
                .map_err(|failure| std::io::Error::other(failure.message))?;
            let settings = String::from_utf8_lossy(&settings);
            fs::write(to.join(&name), without_plugins(&settings))?;
        } else if needed {
            fs::copy(entry.path(), to.join(&name))?;
        } else {
            fs::write(to.join(&name), "")?;
        }
    }
    Ok(())
}

/// Settings of yarn without the programs that they load.
fn without_plugins(settings: &str) -> String {
    let mut kept = String::new();
    let mut skipped = false;
    for line in settings.lines() {
        if !line.starts_with([' ', '\t', '-', '#']) && !line.trim().is_empty() {
            let key = line.split(':').next().unwrap_or_default();
            skipped = matches!(key.trim_matches(['"', '\'']), "plugins" | "yarnPath");
        }
        if !skipped {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn resolved(exposure: &Exposure, plan: &Plan, stuck: &mut Vec<Stuck>) -> Result<Vec<u8>> {
    let folder = match exposure.path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let filename = exposure.path.file_name().unwrap_or_default();
    let copy = Scratch::of(folder)?;
    let lock = copy.root.join(filename);
    // Whatever its name is, the tool reads the one under its own.
    fs::write(&lock, &exposure.bytes).map_err(|error| {
        Failure::new(
            Exit::Environment,
            "fix-copy",
            format!("{}: {error}.", lock.display()),
        )
    })?;
    for step in &plan.steps {
        let before = fs::read(&lock).unwrap_or_default();
        let outcome = match exposure.lock.kind {
            LockKind::Cargo => {
                let name = written(&exposure.bytes, &step.name);
                let package = format!("{name}@{}", step.from);
                copy.run("cargo", &["update", "--precise", &step.to, &package])?
            }
            LockKind::Uv => {
                let upgrade = format!("{}=={}", step.name, step.to);
                copy.run("uv", &["lock", "--no-build", "--upgrade-package", &upgrade])?
            }
            LockKind::Pnpm => pnpm(&copy, step)?,
            LockKind::YarnClassic => yarn_classic(&copy, step)?,
            LockKind::YarnBerry => yarn_berry(&copy, step, &before)?,
            _ => npm(&copy, step)?,
        };
        if let Err(said) = outcome {
            // What a tool left half done is no step.
            let _ = fs::write(&lock, before);
            stuck.push(held(
                step,
                &format!("{} {} does not fit: {said}", step.name, step.to),
            ));
            continue;
        }
        // The tool may have had its own mind.
        let now = fs::read(&lock).unwrap_or_default();
        let name = filename.to_string_lossy();
        let there = lock::parse(&name, &now).is_ok_and(|lock| {
            lock.entries.iter().any(|entry| {
                entry.name_key.as_str() == step.name && entry.version.as_ref() == Some(&step.from)
            })
        });
        if there {
            stuck.push(held(
                step,
                &format!("{} {} is still asked for", step.name, step.from),
            ));
        }
    }
    fs::read(&lock).map_err(|error| {
        Failure::new(
            Exit::Environment,
            "fix-copy",
            format!("{}: {error}.", lock.display()),
        )
    })
}

/// A crate's name as the lock file spells it.
fn written(bytes: &[u8], key: &str) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut names = text
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
    let format = format(Ecosystem::Cargo);
    names
        .find(|name| {
            format
                .name_key(name)
                .is_ok_and(|found| found.as_str() == key)
        })
        .unwrap_or(key)
        .to_owned()
}

/// How a version is laid down for packages that others ask for.
#[derive(Clone, Copy)]
enum Laid {
    /// `overrides`, by name and version.
    Overrides,
    /// `pnpm.overrides`, by name and version.
    PnpmOverrides,
    /// The same in `pnpm-workspace.yaml`, as pnpm 11 and newer wants it.
    Workspace,
    /// `resolutions`, by name.
    Resolutions,
}

/// Runs an install first with the version laid down in the manifest, then without: the second time the tool keeps what fits the project's own
/// words, and takes back what does not.
fn laid_down(
    copy: &Scratch,
    step: &Step,
    how: Laid,
    program: &str,
    install: &[&str],
) -> Result<Outcome> {
    let manifest = copy.root.join("package.json");
    let unusable = |why: String| {
        Failure::new(
            Exit::Usage,
            "package-json",
            format!("package.json can not be used: {why}."),
        )
    };
    let original = fs::read(&manifest).map_err(|error| unusable(error.to_string()))?;
    let mut package: Value =
        serde_json::from_slice(&original).map_err(|error| unusable(error.to_string()))?;
    let fields = package
        .as_object_mut()
        .ok_or_else(|| unusable("it is no object".to_owned()))?;
    let workspace = copy.root.join("pnpm-workspace.yaml");
    let settings = fs::read_to_string(&workspace).ok();
    let mut direct = false;
    for kind in ["dependencies", "devDependencies", "optionalDependencies"] {
        if let Some(wanted) = fields
            .get_mut(kind)
            .and_then(|kind| kind.get_mut(&step.name))
        {
            *wanted = Value::String(step.to.clone());
            direct = true;
        }
    }
    if !direct {
        let object = || Value::Object(serde_json::Map::new());
        let only = format!("{}@{}", step.name, step.from);
        let slot = match how {
            Laid::Overrides => Some((fields.entry("overrides").or_insert_with(object), only)),
            Laid::PnpmOverrides => {
                let pnpm = fields.entry("pnpm").or_insert_with(object);
                let pnpm = pnpm
                    .as_object_mut()
                    .ok_or_else(|| unusable("`pnpm` is no object".to_owned()))?;
                Some((pnpm.entry("overrides").or_insert_with(object), only))
            }
            Laid::Workspace => {
                let text = overriding(settings.as_deref().unwrap_or_default(), &only, &step.to);
                fs::write(&workspace, text).map_err(|error| unusable(error.to_string()))?;
                None
            }
            Laid::Resolutions => {
                let slot = fields.entry("resolutions").or_insert_with(object);
                Some((slot, format!("**/{}", step.name)))
            }
        };
        if let Some((slot, key)) = slot
            && let Some(slot) = slot.as_object_mut()
        {
            slot.insert(key, Value::String(step.to.clone()));
        }
    }
    fs::write(&manifest, package.to_string()).map_err(|error| unusable(error.to_string()))?;
    let first = copy.run(program, install)?;
    fs::write(&manifest, &original).map_err(|error| unusable(error.to_string()))?;
    if let Laid::Workspace = how {
        // pnpm writes into it too.
        let restored = match &settings {
            Some(text) => fs::write(&workspace, text),
            None if workspace.exists() => fs::remove_file(&workspace),
            None => Ok(()),
        };
        restored.map_err(|error| unusable(error.to_string()))?;
    }
    match first {
        Ok(_) => copy.run(program, install),
        Err(said) => Ok(Err(said)),
    }
}

fn npm(copy: &Scratch, step: &Step) -> Result<Outcome> {
    let install = [
        "install",
        "--package-lock-only",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ];
    laid_down(copy, step, Laid::Overrides, "npm", &install)
}

fn pnpm(copy: &Scratch, step: &Step) -> Result<Outcome> {
    let install = [
        "install",
        "--lockfile-only",
        "--ignore-scripts",
        "--no-frozen-lockfile",
    ];
    let version = match copy.run("pnpm", &["--version"])? {
        Ok(version) => version,
        Err(said) => return Ok(Err(said)),
    };
    let major = version.split('.').next().unwrap_or_default();
    let how = match major.parse::<u32>() {
        Ok(11..) => Laid::Workspace,
        _ => Laid::PnpmOverrides,
    };
    laid_down(copy, step, how, "pnpm", &install)
}

/// `pnpm-workspace.yaml` with one more override. Where they stand in another style than a block it is left as it is.
fn overriding(settings: &str, what: &str, to: &str) -> String {
    let mut lines: Vec<String> = settings.lines().map(str::to_owned).collect();
    let place = lines.iter().position(|line| line.starts_with("overrides:"));
    let at = match place {
        Some(at) if lines[at].trim_end() != "overrides:" => return settings.to_owned(),
        Some(at) => at + 1,
        None => {
            lines.push("overrides:".to_owned());
            lines.len()
        }
    };
    let next = lines.get(at).map_or("", String::as_str);
    let indent = match next.len() - next.trim_start().len() {
        0 => 2,
        indent => indent,
    };
    // A text of JSON is one of YAML.
    let (what, to) = (Value::from(what), Value::from(to));
    lines.insert(at, format!("{:indent$}{what}: {to}", ""));
    lines.join("\n") + "\n"
}

/// The version of the yarn on this machine fits the lock file, or it is said that it does not.
fn is_yarn(copy: &Scratch, classic: bool) -> Result<std::result::Result<(), String>> {
    let version = match copy.run("yarn", &["--version"])? {
        Ok(version) => version,
        Err(said) => return Ok(Err(said)),
    };
    Ok(match version.starts_with("1.") == classic {
        true => Ok(()),
        false => Err(format!(
            "the lock file is of {}, and the yarn of this machine is {}",
            if classic { "Yarn 1" } else { "Yarn 2 or later" },
            plain(&version)
        )),
    })
}

fn yarn_classic(copy: &Scratch, step: &Step) -> Result<Outcome> {
    if let Err(why) = is_yarn(copy, true)? {
        return Ok(Err(why));
    }
    // It has no way to lock without installing; what is installed goes with the copy.
    let install = [
        "install",
        "--ignore-scripts",
        "--non-interactive",
        "--no-progress",
        "--ignore-engines",
    ];
    laid_down(copy, step, Laid::Resolutions, "yarn", &install)
}

/// The later yarns keep a resolution for each range that somebody asks for.
fn yarn_berry(copy: &Scratch, step: &Step, lock: &[u8]) -> Result<Outcome> {
    if let Err(why) = is_yarn(copy, false)? {
        return Ok(Err(why));
    }
    let ranges = asked_ranges(&String::from_utf8_lossy(lock), &step.name, &step.from);
    if ranges.is_empty() {
        return Ok(Err("nothing in the lock file asks for it".to_owned()));
    }
    for range in ranges {
        if !is_in(&step.to, &range) {
            return Ok(Err(format!("it is asked for as {}", plain(&range))));
        }
        let descriptor = format!("{}@npm:{range}", step.name);
        let resolution = format!("npm:{}", step.to);
        if let Err(said) = copy.run("yarn", &["set", "resolution", &descriptor, &resolution])? {
            return Ok(Err(said));
        }
    }
    // What yarn prints is of no use here.
    Ok(Ok(String::new()))
}

/// Whether a version certainly lies in a range of Node.js: what is not understood is no.
fn is_in(version: &str, range: &str) -> bool {
    let Ok(version) = semver::Version::parse(version) else {
        return false;
    };
    range.split("||").any(|part| {
        let words: Vec<String> = part
            .split_whitespace()
            .map(
                |word| match word.starts_with(|c: char| c.is_ascii_digit()) {
                    true => format!("={word}"),
                    false => word.to_owned(),
                },
            )
            .collect();
        let read = semver::VersionReq::parse(&words.join(", "));
        !words.is_empty() && read.is_ok_and(|range| range.matches(&version))
    })
}

/// The ranges by which a lock file of a later yarn has a version of a package.
fn asked_ranges(lock: &str, name: &str, version: &str) -> Vec<String> {
    let mut ranges = Vec::new();
    let mut keys = "";
    for line in lock.lines() {
        if !line.starts_with([' ', '#']) {
            keys = line.trim_end_matches(':').trim_matches('"');
        } else if line
            .strip_prefix("  version: ")
            .is_some_and(|of| of.trim_matches('"') == version)
        {
            let start = format!("{name}@npm:");
            let of = keys.split(", ").filter_map(|key| key.strip_prefix(&start));
            ranges.extend(of.map(str::to_owned));
        }
    }
    ranges
}

// ---- requirements.txt ----

fn requirements(
    exposure: &Exposure,
    plan: &Plan,
    remote: Option<Elsewhere<'_>>,
    registry: Option<&Remote>,
    stuck: &mut Vec<Stuck>,
) -> Result<Vec<u8>> {
    let mut text = String::from_utf8_lossy(&exposure.bytes).into_owned();
    for step in &plan.steps {
        let Some(entry) = exposure.lock.entries.iter().find(|entry| {
            entry.name_key.as_str() == step.name && entry.version.as_ref() == Some(&step.from)
        }) else {
            continue;
        };
        let hashes = match entry.files.is_empty() {
            true => Vec::new(),
            false => {
                let index = match &entry.origin {
                    lock::Origin::Index(Some(index)) => Url::parse(index).ok(),
                    _ => None,
                };
                match digests(step, index.as_ref(), remote, registry)? {
                    hashes if hashes.is_empty() => {
                        stuck.push(held(
                            step,
                            &format!("the index has no {} {} with digests", step.name, step.to),
                        ));
                        continue;
                    }
                    hashes => hashes,
                }
            }
        };
        match edited(&text, step, &hashes) {
            Some(new) => text = new,
            None => stuck.push(held(step, "its line is not understood")),
        }
    }
    Ok(text.into_bytes())
}

/// The digests of a version's files, as the index promises them.
fn digests(
    step: &Step,
    index: Option<&Url>,
    remote: Option<Elsewhere<'_>>,
    registry: Option<&Remote>,
) -> Result<Vec<String>> {
    let page = match (index, remote, registry) {
        (Some(index), Some(remote), _) => {
            let path = format!("/{}/", step.name);
            remote(index)?.find(&path, MOST_PAGE)?
        }
        (None, _, Some(registry)) => {
            registry.find(&format!("/pypi/simple/{}/", step.name), MOST_PAGE)?
        }
        _ => None,
    };
    let Some(page) = page else {
        return Ok(Vec::new());
    };
    let promises = format(Ecosystem::Pypi)
        .promises(&page, &Limits::default())
        .map_err(|refused| Failure::new(Exit::Unreachable, refused.code, refused.message))?;
    let mut hashes: Vec<String> = promises
        .into_iter()
        .filter(|promise| {
            pypi::filename::parse(&promise.filename, &Limits::default())
                .is_ok_and(|named| named.version().canonical() == step.to)
        })
        .map(|promise| promise.sha256)
        .collect();
    hashes.sort();
    Ok(hashes)
}

/// The file with one requirement at another version and with other digests; everything else as it was.
fn edited(text: &str, step: &Step, hashes: &[String]) -> Option<String> {
    let format = format(Ecosystem::Pypi);
    let lines: Vec<&str> = text.lines().collect();
    let start = lines.iter().position(|line| {
        let end = line
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')))
            .unwrap_or(line.len());
        let same = format
            .name_key(&line[..end])
            .is_ok_and(|key| key.as_str() == step.name);
        let pinned = line.split_once("==").and_then(|(_, rest)| {
            let rest = rest.trim_start_matches('=').trim_start();
            let end = rest.find([' ', ';', '\\', '\t', '#']).unwrap_or(rest.len());
            format.version(&rest[..end]).ok()
        });
        same && pinned.is_some_and(|version| version.canonical() == step.from)
    })?;
    let mut end = start;
    while lines[end].trim_end().ends_with('\\') && end + 1 < lines.len() {
        end += 1;
    }
    let line = lines[start];
    let (head, rest) = line.split_once("==")?;
    let rest = rest.trim_start_matches('=').trim_start();
    let stop = rest.find([' ', ';', '\\', '\t', '#']).unwrap_or(rest.len());
    // What stands between the version and the digests: a marker, other options.
    let after = rest[stop..].split("--hash").next().unwrap_or_default();
    let after = after.trim_end().trim_end_matches('\\').trim_end();
    let mut new = format!("{head}=={}{after}", step.to);
    for hash in hashes {
        new.push_str(&format!(" \\\n    --hash=sha256:{hash}"));
    }
    let mut out: Vec<String> = lines[..start]
        .iter()
        .map(|line| (*line).to_owned())
        .collect();
    out.push(new);
    out.extend(lines[end + 1..].iter().map(|line| (*line).to_owned()));
    let mut text = out.join("\n");
    text.push('\n');
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_yarn_loads_is_left_out_of_its_settings() {
        let settings = "nodeLinker: node-modules\nplugins:\n  - path: .yarn/plugins/x.cjs\n    spec: x\n\nyarnPath: .yarn/releases/y.cjs\nnpmScopes:\n  s:\n    npmRegistryServer: \"https://r.example.test\"\n";
        let kept = without_plugins(settings);
        assert!(kept.contains("nodeLinker") && kept.contains("npmRegistryServer"));
        assert!(!kept.contains(".yarn/"), "{kept}");
    }

    #[test]
    fn ranges_of_a_later_yarn_are_read_off_its_keys() {
        let lock = "__metadata:\n  version: 8\n\n\"inner@npm:^1.0.0, inner@npm:~1.0.0\":\n  version: 1.0.0\n  resolution: \"inner@npm:1.0.0\"\n\n\"inner@npm:^2.0.0\":\n  version: 2.0.0\n";
        assert_eq!(asked_ranges(lock, "inner", "1.0.0"), ["^1.0.0", "~1.0.0"]);
        assert_eq!(asked_ranges(lock, "inner", "2.0.0"), ["^2.0.0"]);
        assert!(asked_ranges(lock, "nner", "2.0.0").is_empty());
        for (range, fits) in [
            ("^1.0.0", true),
            ("~1.0", true),
            (">=1 <2", true),
            ("0.9 || ^1.0.1", true),
            ("1.0.0", false),
            ("^2", false),
            ("1 - 2", false),
            ("latest", false),
        ] {
            assert_eq!(is_in("1.0.2", range), fits, "{range}");
        }
    }

    #[test]
    fn one_requirement_is_edited_and_nothing_else() {
        let step = Step {
            name: "some-thing".to_owned(),
            from: "1.0".to_owned(),
            to: "1.2".to_owned(),
            ids: Vec::new(),
            asked_by: Vec::new(),
        };
        let text = "# kept\nother==1.0\nSome_Thing[extra]==1.0 ; python_version > '3' \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n    # via x\nlast==2\n";
        let hashes = ["cc".to_owned(), "dd".to_owned()];
        assert_eq!(
            edited(text, &step, &hashes).unwrap(),
            "# kept\nother==1.0\nSome_Thing[extra]==1.2 ; python_version > '3' \\\n    --hash=sha256:cc \\\n    --hash=sha256:dd\n    # via x\nlast==2\n"
        );
        assert_eq!(
            edited("some-thing==1.0\n", &step, &[]).unwrap(),
            "some-thing==1.2\n"
        );
        assert_eq!(edited("some-thing==1.1\n", &step, &[]), None);
    }

    #[test]
    fn one_more_override_stands_beside_those_that_are_there() {
        let more = |settings: &str| overriding(settings, "@s/a@1.0", "1.1");
        assert_eq!(more(""), "overrides:\n  \"@s/a@1.0\": \"1.1\"\n");
        assert_eq!(
            more("packages:\n  - a\n"),
            "packages:\n  - a\noverrides:\n  \"@s/a@1.0\": \"1.1\"\n"
        );
        assert_eq!(
            more("overrides:\n    b: 2\nx: 1"),
            "overrides:\n    \"@s/a@1.0\": \"1.1\"\n    b: 2\nx: 1\n"
        );
        assert_eq!(more("overrides: {b: 2}\n"), "overrides: {b: 2}\n");
    }
}
