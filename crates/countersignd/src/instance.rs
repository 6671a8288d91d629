//! One instance: what is there, making a new one, opening it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_registry::{Blobs, LogKeys, Registry, Seams, Store};

use crate::config::{self, Config, shown_without_password};
use crate::domains::Lookout;
use crate::failure::{Exit, Failure};
use crate::outside::Https;
use crate::post::Carrier;

/// The number of the log that `init` makes. A restored registry that can not prove to be the newest begins the next.
const FIRST_SHARD: u64 = 1;

/// What stands in the places of an instance.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What the data directory holds beside the configuration file; empty when it is not there.
    pub data: Vec<String>,
    /// Does the key directory hold anything?
    pub keys: bool,
    /// Does the database hold tables?
    pub database: bool,
    /// Do the blobs hold anything?
    pub blobs: bool,
}

impl Survey {
    /// Looks, without creating anything.
    ///
    /// # Errors
    /// Database or blobs that can not be reached, directories that can not be read.
    pub async fn take(config: &Config) -> Result<Self, Failure> {
        let own: Vec<PathBuf> = config
            .file
            .iter()
            .filter_map(|file| std::path::absolute(file).ok())
            .collect();
        let data = contents(&config.data)?
            .into_iter()
            .filter(|path| !own.contains(path))
            .map(|path| {
                path.file_name()
                    .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
            })
            .collect();
        let database = match &config.sqlite_file {
            // Connecting would create the file.
            Some(file) if !file.exists() => false,
            _ => !connect(config).await?.is_empty().await?,
        };
        let blobs = match &config.blobs {
            config::Blobs::Directory(path) => !contents(path)?.is_empty(),
            config::Blobs::Remote(_) => !open_blobs(config)?.is_empty().await?,
        };
        Ok(Self {
            data,
            keys: !contents(&config.keys)?.is_empty(),
            database,
            blobs,
        })
    }

    /// Nothing anywhere.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty() && !self.keys && !self.database && !self.blobs
    }

    /// Enough to open it: whether the parts belong together is for [`Registry::open`] to check. Blobs are never empty,
    /// since the log's tiles are among them.
    pub fn is_instance(&self) -> bool {
        self.keys && self.database && self.blobs
    }

    /// One line per place.
    pub fn describe(&self, config: &Config) -> String {
        let word = |present: bool| if present { "holds something" } else { "empty" };
        let data = if self.data.is_empty() {
            "empty".to_owned()
        } else {
            format!("holds {}", self.data.join(", "))
        };
        format!(
            "data directory {}: {data}\nkeys {}: {}\ndatabase {}: {}\nblobs {}: {}",
            config.data.display(),
            config.keys.display(),
            word(self.keys),
            shown_without_password(&config.database),
            word(self.database),
            config.blobs,
            word(self.blobs),
        )
    }
}

/// Everything in a directory but what a fresh file system holds by itself; nothing if it is not there.
fn contents(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let entries = entries.map_err(|error| {
        Failure::environment(
            "directory-unreadable",
            format!("The directory {} can not be read: {error}.", path.display()),
        )
    })?;
    Ok(entries
        .into_iter()
        .filter(|entry| entry.file_name() != "lost+found")
        .map(|entry| entry.path())
        .collect())
}

/// Makes a new instance: directories, keys, the log's first entry and checkpoint.
///
/// # Errors
/// Exit 4 when anything is there already.
pub async fn init(config: &Config) -> Result<Registry, Failure> {
    init_in(config, seams(config)?).await
}

/// As [`init`], in another world than this machine's.
///
/// # Errors
/// As [`init`].
pub async fn init_in(config: &Config, seams: Seams) -> Result<Registry, Failure> {
    let survey = Survey::take(config).await?;
    if !survey.is_empty() {
        let (message, remedy) = if survey.is_instance() {
            (
                "There is a registry here already.",
                "Start it with `countersignd serve`. For a second one give --data, --database and --blobs of its own.",
            )
        } else {
            (
                "Not everything is empty here, and a new log beside old data would fork what others rely on.",
                "If a volume is not mounted, mount it. To make a new registry all the same, give empty places (--data, --database, --blobs).",
            )
        };
        return Err(Failure::new(
            Exit::Refused,
            "not-empty",
            format!(
                "{message}\n  {}",
                survey.describe(config).replace('\n', "\n  ")
            ),
        )
        .remedy(remedy));
    }
    make_directories(config)?;
    let (store, blobs) = (connect(config).await?, open_blobs(config)?);
    let settings = config.settings();
    let keys = LogKeys::generate(&origin(config)?, seams.random.as_ref())?;
    // Keys first: a log whose key is lost can not go on, a key without a log does no harm.
    private_directory(&config.keys)?;
    keys.save(&config.keys, FIRST_SHARD)?;
    Registry::create(&settings, &store, &blobs, &keys, &seams).await?;
    Ok(Registry::open(settings, store, blobs, keys, seams).await?)
}

/// Makes the directories of an instance, for this user alone; those that are there stay as they are.
///
/// # Errors
/// Where one can not be made.
pub fn make_directories(config: &Config) -> Result<(), Failure> {
    private_directory(&config.data)?;
    private_directory(&config.spool)?;
    match &config.blobs {
        config::Blobs::Directory(path) => private_directory(path),
        config::Blobs::Remote(_) => Ok(()),
    }
}

/// The log's name, for ever: host at `init`, and the shard.
fn origin(config: &Config) -> Result<String, Failure> {
    let host = config
        .url
        .host_str()
        .ok_or_else(|| Failure::usage("url", format!("The URL {} names no host.", config.url)))?;
    let port = config
        .url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    Ok(format!("{host}{port}/log/{FIRST_SHARD}"))
}

/// Opens an instance that is there.
///
/// # Errors
/// Usage when there is none (with the command that makes one) or when the database is of another version.
pub async fn open(config: &Config, migrate: bool) -> Result<Registry, Failure> {
    let survey = Survey::take(config).await?;
    if !survey.is_instance() {
        return Err(none_here(config, &survey));
    }
    let store = connect(config).await?;
    let pending = store.pending_migrations().await?;
    if pending > 0 {
        if !migrate {
            return Err(Failure::usage(
                "migrations-pending",
                format!(
                    "The database {} is of an older version: {pending} migrations are pending.",
                    shown_without_password(&config.database)
                ),
            )
            .remedy("Make a backup, then run `countersignd migrate`."));
        }
        store.migrate().await?;
    }
    private_directory(&config.spool)?;
    let shard = store.newest_shard().await?.unwrap_or(FIRST_SHARD);
    let keys = LogKeys::load(&config.keys, shard)?;
    Ok(Registry::open(
        config.settings(),
        store,
        open_blobs(config)?,
        keys,
        seams(config)?,
    )
    .await?)
}

/// Why there is nothing to open, and what to run.
pub fn none_here(config: &Config, survey: &Survey) -> Failure {
    let places = survey.describe(config).replace('\n', "\n  ");
    if survey.is_empty() {
        return Failure::usage("not-initialised", format!("There is no registry here yet.\n  {places}"))
            .remedy(format!("Make one, once:\n{}\nIf there should be one, a volume is not mounted or a path is wrong.", init_command(config)));
    }
    Failure::usage("incomplete", format!("Some of this registry is missing, and going on without it would fork its log.\n  {places}"))
        .remedy("Mount the missing volume, correct the paths, or bring the registry back with `countersignd restore FILE` into empty places.\nIf only an `init` was interrupted, empty all places and run it again.")
}

/// The `init` command for just these places.
pub fn init_command(config: &Config) -> String {
    let mut words = vec![
        "countersignd init".to_owned(),
        format!("--data {}", quoted(&config.data.display().to_string())),
    ];
    words.push(format!(
        "--url {}",
        quoted(config.url.as_str().trim_end_matches('/'))
    ));
    if let Some(file) = config
        .file
        .as_ref()
        .filter(|file| **file != config.data.join("countersign.toml"))
    {
        words.push(format!("--config {}", quoted(&file.display().to_string())));
    } else if config.file.is_none() {
        if config.sqlite_file.is_none() {
            // The password belongs into the environment and not into a shell's history.
            words.push(format!(
                "--database {}",
                quoted(&shown_without_password(&config.database))
            ));
        } else if config.sqlite_file.as_deref() != Some(&config.data.join("countersign.db")) {
            words.push(format!("--database {}", quoted(&config.database)));
        }
        if config.blobs != config::Blobs::Directory(config.data.join("blobs")) {
            words.push(format!("--blobs {}", quoted(&config.blobs.to_string())));
        }
    }
    words.join(" ")
}

/// A word as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The machine's clock and randomness, HTTPS to the outside, and mail where it is set up.
///
/// # Errors
/// Mail settings that can not be used.
pub fn seams(config: &Config) -> Result<Seams, Failure> {
    let outside = Arc::new(Https::from_environment());
    let mut seams = Seams::system(outside.clone());
    if let Some(mail) = &config.mail {
        seams.post = Some(Arc::new(Carrier::new(mail)?));
        if mail.check_domains {
            match Lookout::new(outside) {
                Ok(lookout) => seams.domains = Some(Arc::new(lookout)),
                Err(why) => {
                    tracing::warn!(%why, "domains of addresses are not looked at: this machine names no name servers");
                }
            }
        }
    }
    Ok(seams)
}

/// Connects to the database.
///
/// # Errors
/// Exit 5 when it can not be reached.
pub async fn connect(config: &Config) -> Result<Store, Failure> {
    Ok(Store::connect(&config.database).await?)
}

/// Opens the blobs.
///
/// # Errors
/// A URL or credentials that are not usable.
pub fn open_blobs(config: &Config) -> Result<Blobs, Failure> {
    Ok(match &config.blobs {
        config::Blobs::Directory(path) => Blobs::local(path, true)?,
        config::Blobs::Remote(url) => {
            let parsed = url.parse().map_err(|error| {
                Failure::usage(
                    "blobs-url",
                    format!("The blobs URL {url:?} does not parse: {error}."),
                )
                .remedy("Write s3://BUCKET/PREFIX.")
            })?;
            Blobs::s3(&parsed, &s3_options(&|name| std::env::var(name).ok()))?
        }
    })
}

/// What the environment says about the S3 service, under the names of the AWS variables in lower case. A variable of
/// our own beats one that is there for other programs.
fn s3_options(environment: &dyn Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    [
        "ACCESS_KEY_ID",
        "SECRET_ACCESS_KEY",
        "SESSION_TOKEN",
        "REGION",
        "ENDPOINT",
        "ALLOW_HTTP",
        "VIRTUAL_HOSTED_STYLE_REQUEST",
    ]
    .iter()
    .filter_map(|name| {
        let ours = environment(&format!("COUNTERSIGN_S3_{name}"));
        let value = ours
            .or_else(|| environment(&format!("AWS_{name}")))
            .filter(|value| !value.is_empty())?;
        Some((format!("aws_{}", name.to_lowercase()), value))
    })
    .collect()
}

/// Creates a directory that only this user may enter; leaves one that is there as it is.
fn private_directory(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| {
            Failure::environment(
                "directory",
                format!("The directory {} can not be made: {error}.", path.display()),
            )
            .remedy("Give another place with --data DIR, or let this user write there.")
        })
}

/// Writes a new file that only this user may read: a database URL may hold a password.
///
/// # Errors
/// Where it is there already or can not be written.
pub fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .map_err(|error| {
            Failure::environment(
                "config-unwritten",
                format!("{} can not be written: {error}.", path.display()),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Overrides;

    #[test]
    fn our_own_s3_variables_beat_those_of_other_programs() {
        let environment = |name: &str| match name {
            "COUNTERSIGN_S3_REGION" => Some("here".to_owned()),
            "AWS_REGION" => Some("there".to_owned()),
            "AWS_ENDPOINT" => Some("http://localhost:1".to_owned()),
            _ => None,
        };
        let options = s3_options(&environment);
        assert_eq!(
            options,
            [
                ("aws_region".to_owned(), "here".to_owned()),
                ("aws_endpoint".to_owned(), "http://localhost:1".to_owned())
            ]
        );
    }

    #[tokio::test]
    async fn a_fresh_file_system_counts_as_empty_wherever_it_is_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::load(dir.path(), None, &Overrides::default()).unwrap();
        for place in ["lost+found", "blobs/lost+found", "keys/lost+found"] {
            fs::create_dir_all(dir.path().join(place)).unwrap();
        }
        let survey = Survey::take(&config).await.unwrap();
        assert!(!survey.blobs && !survey.keys, "{survey:?}");
        assert!(!survey.data.iter().any(|name| name == "lost+found"));
    }

    #[test]
    fn the_init_command_that_is_named_can_be_pasted_into_a_shell() {
        let overrides = Overrides {
            url: Some("https://p.example.org".parse().unwrap()),
            database: Some("postgres://u:secret@h/d".to_owned()),
            ..Overrides::default()
        };
        let config = Config::load(Path::new("/nowhere/it's here"), None, &overrides).unwrap();
        let command = init_command(&config);
        assert_eq!(
            command,
            "countersignd init --data '/nowhere/it'\\''s here' --url https://p.example.org --database 'postgres://u:…@h/d'"
        );
    }
}
