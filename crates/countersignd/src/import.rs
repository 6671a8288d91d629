//! `import DIR`: publishes a folder of packages of any ecosystem as the operator, with every check of an upload.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_formats::{Artifact, Ecosystem, purl};
use countersign_registry::model::{Actor, Receipt, Role};
use countersign_registry::{Form, Registry};
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
    let files = packages(&options.dir, options.ecosystem)?;
    if files.is_empty() {
        let wanted = Ecosystem::ALL
            .iter()
            .filter(|ecosystem| options.ecosystem.is_none_or(|only| only == **ecosystem))
            .flat_map(|ecosystem| ecosystem.endings())
            .map(|ending| format!("*{ending}"))
            .collect::<Vec<_>>();
        return Err(Failure::usage(
            "nothing-to-import",
            format!(
                "{} holds no package ({}).",
                options.dir.display(),
                wanted.join(", ")
            ),
        )
        .remedy("`pip download --dest DIR PACKAGE…` fills a folder with Python's; cargo keeps crates in its folder registry/cache; `npm pack PACKAGE…` writes tarballs."));
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
    let outcomes = publish_all(&registry, files, usize::from(options.parallel), common.json).await;
    let given = match &options.owner {
        Some(owner) => give_ownerless_projects(&registry, owner, &outcomes).await,
        None => Vec::new(),
    };
    beating.stop().await;
    summarise(common, &outcomes, &given)
}

/// Packages below a folder, in the order of their paths; of one ecosystem alone where that is said.
fn packages(dir: &Path, only: Option<Ecosystem>) -> Result<Vec<(PathBuf, Ecosystem)>, Failure> {
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
                && let Some(ecosystem) = Ecosystem::of_filename(&name)
                && only.is_none_or(|only| only == ecosystem)
            {
                found.push((entry.path(), ecosystem));
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

async fn publish_all(
    registry: &Registry,
    files: Vec<(PathBuf, Ecosystem)>,
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
        for (path, ecosystem) in files {
            let Ok(place) = places.clone().acquire_owned().await else {
                break;
            };
            let (registry, report_to) = (feeder_registry.clone(), report_to.clone());
            running.spawn(async move {
                let result = publish_one(&registry, &path, ecosystem).await;
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
        if let Err(failure) = &outcome.result
            && !json
        {
            bar.suspend(|| report::line(&format!("✗ {}: {failure}", filename(&outcome.path))));
        }
        outcomes.push(outcome);
    }
    bar.finish_and_clear();
    outcomes.sort_by(|a, b| a.path.cmp(&b.path));
    outcomes
}

async fn publish_one(
    registry: &Registry,
    path: &Path,
    ecosystem: Ecosystem,
) -> Result<Receipt, Failure> {
    let name = match ecosystem {
        // What a tarball of npm is called elsewhere says too little.
        Ecosystem::Npm => named_by_content(registry, path).await?,
        Ecosystem::Pypi | Ecosystem::Cargo => filename(path),
    };
    let file = tokio::fs::File::open(path)
        .await
        .map_err(|error| unreadable(path, &error))?;
    let actor = Actor::operator();
    let body = ReaderStream::with_capacity(file, 256 << 10);
    let staged = registry.stage(&actor, ecosystem, &name, body).await?;
    Ok(registry.publish(&actor, staged, Form::Nothing).await?)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::environment(
        "file-unreadable",
        format!("{} can not be read: {error}.", path.display()),
    )
}

/// The name under which a tarball is published, from the package.json in it.
async fn named_by_content(registry: &Registry, path: &Path) -> Result<String, Failure> {
    let limits = registry.settings().limits.clone();
    let path = path.to_owned();
    let read = move || -> Result<String, Failure> {
        let mut file = std::fs::File::open(&path).map_err(|error| unreadable(&path, &error))?;
        let size = file
            .metadata()
            .map_err(|error| unreadable(&path, &error))?
            .len();
        let mut artifact = Artifact {
            filename: &filename(&path),
            size,
            bytes: &mut file,
        };
        let name = countersign_formats::npm::tarball_name(&mut artifact, &limits);
        Ok(name.map_err(countersign_registry::Error::from)?)
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| Failure::environment("import-broke-off", error.to_string()))?
}

/// A project that did not get its owner, and why.
struct Ungiven {
    project: String,
    failure: Failure,
}

/// Makes `owner` the owner of every project among the receipts that has nobody; the others keep those that they have.
async fn give_ownerless_projects(
    registry: &Registry,
    owner: &str,
    outcomes: &[Outcome],
) -> Vec<Ungiven> {
    let projects: BTreeSet<(Ecosystem, String)> = outcomes
        .iter()
        .filter_map(|outcome| outcome.result.as_ref().ok())
        .map(|receipt| project_of(&receipt.purl))
        .collect();
    let mut ungiven = Vec::new();
    for (ecosystem, project) in projects {
        if let Err(failure) = give_if_ownerless(registry, owner, ecosystem, &project).await {
            ungiven.push(Ungiven { project, failure });
        }
    }
    ungiven
}

/// The project that a receipt is about. A text that is no purl stands for itself, and fails by its own name later.
fn project_of(receipt: &str) -> (Ecosystem, String) {
    purl::parse(receipt).map_or_else(
        |_| (Ecosystem::Pypi, receipt.to_owned()),
        |purl| (purl.ecosystem, purl.name_key.as_str().to_owned()),
    )
}

async fn give_if_ownerless(
    registry: &Registry,
    owner: &str,
    ecosystem: Ecosystem,
    project: &str,
) -> Result<(), Failure> {
    if !registry
        .project(ecosystem, project)
        .await?
        .people
        .is_empty()
    {
        return Ok(());
    }
    let operator = Actor::operator();
    registry
        .set_role(&operator, ecosystem, project, owner, Some(Role::Owner))
        .await?;
    Ok(())
}

fn summarise(common: &Common, outcomes: &[Outcome], ungiven: &[Ungiven]) -> Result<(), Failure> {
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
        let without_owner: Vec<_> = ungiven
            .iter()
            .map(|Ungiven { project, failure }| json!({"project": project, "error": failure.json()["error"]}))
            .collect();
        report::json(&json!({
            "published": published, "repeated": repeated, "refused": refused, "files": files,
            "without_owner": without_owner,
        }));
    } else {
        for Ungiven { project, failure } in ungiven {
            report::line(&format!("✗ {project} got no owner: {failure}"));
        }
        report::line(&format!(
            "{published} published, {repeated} there already, {refused} refused."
        ));
    }
    if refused == 0 && ungiven.is_empty() {
        return Ok(());
    }
    if refused == 0 {
        return Err(Failure::new(
            Exit::Refused,
            "import-without-owner",
            format!(
                "Every file is published, but {} projects did not get their owner; each reason stands above.",
                ungiven.len()
            ),
        )
        .remedy("Run the same command again after mending, or: countersignd admin project role PROJECT USER owner"));
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
    fn the_project_is_the_one_that_the_receipt_names() {
        for (receipt, ecosystem, project) in [
            (
                "pkg:pypi/zope-interface@6.0?file_name=zope.interface-6.0-py3-none-any.whl",
                Ecosystem::Pypi,
                "zope-interface",
            ),
            (
                "pkg:pypi/backports@1.0-1?file_name=backports-1.0-1.tar.gz",
                Ecosystem::Pypi,
                "backports",
            ),
            ("pkg:cargo/serde-json@1.0.0", Ecosystem::Cargo, "serde-json"),
            ("pkg:npm/%40scope/name@1.0.0", Ecosystem::Npm, "@scope/name"),
            ("nonsense", Ecosystem::Pypi, "nonsense"),
        ] {
            assert_eq!(project_of(receipt), (ecosystem, project.to_owned()));
        }
    }

    #[test]
    fn the_end_of_a_name_says_the_ecosystem() {
        for (name, ecosystem) in [
            ("a-1.0-py3-none-any.whl", Some(Ecosystem::Pypi)),
            ("a-1.0.tar.gz", Some(Ecosystem::Pypi)),
            ("a-1.0.0.crate", Some(Ecosystem::Cargo)),
            ("a-1.0.0.tgz", Some(Ecosystem::Npm)),
            ("a-1.0.0.crate.asc", None),
            ("Cargo.toml", None),
        ] {
            assert_eq!(Ecosystem::of_filename(name), ecosystem, "{name}");
        }
    }
}
