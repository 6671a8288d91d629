//! `import DIR`: publishes a folder of distributions as the operator, with every check of an upload.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_formats::Ecosystem;
use countersign_registry::model::{Actor, Receipt, Role};
use countersign_registry::{Form, Kind, Registry};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::io::ReaderStream;

use crate::cli::{Common, Import};
use crate::config::Config;
use crate::failure::{Exit, Failure};
use crate::{instance, report};

/// What became of one file.
struct Outcome {
    path: PathBuf,
    result: Result<Receipt, Failure>,
}

/// Publishes everything.
///
/// # Errors
/// Exit 4 when any file was refused; the others are published all the same.
pub async fn run(common: &Common, options: &Import) -> Result<(), Failure> {
    let files = distributions(&options.dir)?;
    if files.is_empty() {
        return Err(Failure::usage(
            "nothing-to-import",
            format!(
                "{} holds no wheel (*.whl) and no sdist (*.tar.gz, *.zip).",
                options.dir.display()
            ),
        )
        .remedy("`pip download --dest DIR PACKAGE…` fills a folder."));
    }
    let config = Config::load(
        &common.data,
        common.config.as_deref(),
        &options.stores.overrides(),
    )?;
    let registry = instance::open(&config, false).await?;
    if let Some(owner) = &options.owner {
        let users = registry.users(&Actor::operator()).await?;
        if !users
            .iter()
            .any(|user| user.name.eq_ignore_ascii_case(owner))
        {
            return Err(Failure::new(
                Exit::Refused,
                "user-unknown",
                format!("There is no user {owner:?} who could own what is imported."),
            )
            .remedy(format!(
                "Create one first: countersignd admin user create {owner} --email E"
            )));
        }
    }
    let beating = registry.start();
    let before = projects_there(&registry, &files).await?;
    let outcomes = publish_all(&registry, files, usize::from(options.parallel), common.json).await;
    let given = match &options.owner {
        Some(owner) => give_new_projects(&registry, owner, &before, &outcomes).await,
        None => Ok(()),
    };
    beating.stop().await;
    given?;
    summarise(common, &outcomes)
}

/// Wheels and sdists below a folder, in the order of their paths.
fn distributions(dir: &Path) -> Result<Vec<PathBuf>, Failure> {
    let unreadable = |path: &Path, error: std::io::Error| {
        Failure::usage(
            "directory-unreadable",
            format!("{} can not be read: {error}.", path.display()),
        )
    };
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| unreadable(&folder, error))? {
            let entry = entry.map_err(|error| unreadable(&folder, error))?;
            // Links are not followed: a folder from elsewhere must not decide what is read of this machine.
            let kind = entry
                .file_type()
                .map_err(|error| unreadable(&entry.path(), error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind.is_dir() {
                open.push(entry.path());
            } else if kind.is_file()
                && [".whl", ".tar.gz", ".zip"]
                    .iter()
                    .any(|ending| name.ends_with(ending))
            {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn filename(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The part of a file name before its version, as a project's name; the registry normalises it.
fn project_of(path: &Path) -> String {
    let name = filename(path);
    if name.ends_with(".whl") {
        return name.split('-').next().unwrap_or_default().to_owned();
    }
    // An sdist's version begins after its last hyphen; older ones have hyphens in the name.
    let stem = name
        .strip_suffix(".tar.gz")
        .or_else(|| name.strip_suffix(".zip"))
        .unwrap_or(&name);
    stem.rsplit_once('-')
        .map_or(stem, |(project, _)| project)
        .to_owned()
}

/// The projects of `files` that are there before the import: those keep the owners that they have.
async fn projects_there(
    registry: &Registry,
    files: &[PathBuf],
) -> Result<BTreeSet<String>, Failure> {
    let names: BTreeSet<String> = files.iter().map(|path| project_of(path)).collect();
    let mut there = BTreeSet::new();
    for name in names {
        match registry.project(Ecosystem::Pypi, &name).await {
            Ok(detail) if !detail.people.is_empty() => {
                there.insert(name);
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::Rejected) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(there)
}

async fn publish_all(
    registry: &Registry,
    files: Vec<PathBuf>,
    parallel: usize,
    json: bool,
) -> Vec<Outcome> {
    let bar = report::bar("", json);
    bar.set_length(files.len() as u64);
    let places = Arc::new(Semaphore::new(parallel.max(1)));
    let (report_to, mut reports) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    let all = files.len();
    let feeder_registry = registry.clone();
    tasks.spawn(async move {
        let mut running = JoinSet::new();
        for path in files {
            let Ok(place) = places.clone().acquire_owned().await else {
                break;
            };
            let (registry, report_to) = (feeder_registry.clone(), report_to.clone());
            running.spawn(async move {
                let result = publish_one(&registry, &path).await;
                drop(place);
                // The receiver lives until every file has reported.
                report_to.send(Outcome { path, result }).await.ok();
            });
        }
        running.join_all().await;
    });
    let mut outcomes = Vec::with_capacity(all);
    while let Some(outcome) = reports.recv().await {
        bar.inc(1);
        bar.set_message(filename(&outcome.path));
        if let Err(failure) = &outcome.result {
            if !json {
                bar.suspend(|| report::line(&format!("✗ {}: {failure}", filename(&outcome.path))));
            }
        }
        outcomes.push(outcome);
    }
    bar.finish_and_clear();
    outcomes.sort_by(|a, b| a.path.cmp(&b.path));
    outcomes
}

async fn publish_one(registry: &Registry, path: &Path) -> Result<Receipt, Failure> {
    let file = tokio::fs::File::open(path).await.map_err(|error| {
        Failure::environment(
            "file-unreadable",
            format!("{} can not be read: {error}.", path.display()),
        )
    })?;
    let actor = Actor::operator();
    let body = ReaderStream::with_capacity(file, 256 << 10);
    let staged = registry
        .stage(&actor, Ecosystem::Pypi, &filename(path), body)
        .await?;
    Ok(registry.publish(&actor, staged, Form::Nothing).await?)
}

async fn give_new_projects(
    registry: &Registry,
    owner: &str,
    before: &BTreeSet<String>,
    outcomes: &[Outcome],
) -> Result<(), Failure> {
    let published = outcomes
        .iter()
        .filter(|outcome| outcome.result.is_ok())
        .map(|outcome| project_of(&outcome.path));
    let fresh: BTreeSet<String> = published.filter(|name| !before.contains(name)).collect();
    for name in fresh {
        registry
            .set_role(
                &Actor::operator(),
                Ecosystem::Pypi,
                &name,
                owner,
                Some(Role::Owner),
            )
            .await?;
    }
    Ok(())
}

fn summarise(common: &Common, outcomes: &[Outcome]) -> Result<(), Failure> {
    let (mut published, mut repeated, mut refused) = (0, 0, 0);
    for outcome in outcomes {
        match &outcome.result {
            Ok(receipt) if receipt.repeated => repeated += 1,
            Ok(_) => published += 1,
            Err(_) => refused += 1,
        }
    }
    if common.json {
        let files: Vec<_> = outcomes
            .iter()
            .map(|outcome| match &outcome.result {
                Ok(receipt) => json!({
                    "file": filename(&outcome.path), "purl": receipt.purl, "sha256": receipt.sha256,
                    "leaf": receipt.leaf, "repeated": receipt.repeated, "warnings": receipt.warnings,
                }),
                Err(failure) => json!({"file": filename(&outcome.path), "error": failure.json()["error"]}),
            })
            .collect();
        report::json(
            &json!({"published": published, "repeated": repeated, "refused": refused, "files": files}),
        );
    } else {
        report::line(&format!(
            "{published} published, {repeated} there already, {refused} refused."
        ));
    }
    if refused == 0 {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Refused,
        "import-refused",
        format!(
            "{refused} of {} files were not published; each reason stands above.",
            outcomes.len()
        ),
    )
    .remedy(
        "Run the same command again after mending; files that are there already count as done.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_project_of_a_file_is_what_stands_before_its_version() {
        for (file, project) in [
            (
                "zope.interface-6.0-cp311-cp311-manylinux_2_17_x86_64.whl",
                "zope.interface",
            ),
            ("python-dateutil-2.8.2.tar.gz", "python-dateutil"),
            ("attrs-23.1.0.tar.gz", "attrs"),
            ("old-1.0.zip", "old"),
        ] {
            assert_eq!(project_of(Path::new(file)), project);
        }
    }
}
