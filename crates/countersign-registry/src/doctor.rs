//! Doctor: looks at every part of an instance and explains what is wrong and what to do about it.
//!
//! It is there for the day on which something is broken, so it never needs a whole registry: it is given the parts,
//! looks at each on its own, and goes on after every fault. It writes nothing but a probe in the blob store, which it
//! removes again.

mod crates;
mod log;
mod log_services;
mod witnesses;

use std::path::Path;

use bytes::Bytes;
use countersign_trust::digest::Sha256;
use countersign_trust::note::VerifierKey;
use serde::Serialize;

use crate::accounts::new_id;
use crate::blobs::artifact_path;
use crate::error::{Error, Result};
use crate::fetch::rendered_index;
use crate::heartbeat::document_path;
use crate::keys::verifier_key_name;
use crate::model::{FileState, Time};
use crate::provenance::{ATTESTATIONS, NPM, key_problem};
use crate::settings::Settings;
use crate::sign_in::{RP, belongs};
use crate::store::{Head, OWN_FEED, Store};
use crate::{Blobs, LogKeys, Registry, Seams};

/// An event that waits longer than this for the log, in microseconds, waits too long.
const STUCK: i64 = 60_000_000;

/// A mail that waits longer than this, in microseconds, comes too late.
const LATE: i64 = 3_600_000_000;

/// Advisories that were imported longer ago than this, in microseconds, are old.
const STALE: i64 = 7 * 86_400_000_000;

/// A freeze or an incident older than this, in microseconds, may be forgotten.
const FORGOTTEN: i64 = 7 * 86_400_000_000;

/// Clocks may differ by this much, in microseconds.
const SKEW: i64 = 5_000_000;

/// Less room than this many bytes is too little.
const ROOM: u64 = 1 << 30;

/// Tokens that end within this many seconds are worth a note.
const SOON: i64 = 7 * 86_400;

/// Index documents that wait longer than this for people, in seconds, wait too long.
const LONG_UNSIGNED: i64 = 86_400;

/// At most so many things of one kind are named.
const NAMED: usize = 5;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// Goes on for now.
    Warning,
    /// Something does not work, or may not be believed.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Stable kebab-case name of the check.
    pub id: &'static str,
    /// Nothing is wrong with it.
    pub ok: bool,
    /// How bad it is; `Note` where nothing is wrong.
    pub severity: Severity,
    /// What was found.
    pub what: String,
    /// Why that matters; empty where nothing is wrong.
    pub why: String,
    /// What to do; empty where nothing is wrong.
    pub remedy: String,
}

impl Diagnosis {
    /// Nothing is wrong.
    pub fn good(id: &'static str, what: impl Into<String>) -> Self {
        Self {
            id,
            ok: true,
            severity: Severity::Note,
            what: what.into(),
            why: String::new(),
            remedy: String::new(),
        }
    }

    /// Something is wrong.
    pub fn bad(
        id: &'static str,
        severity: Severity,
        what: impl Into<String>,
        why: &str,
        remedy: &str,
    ) -> Self {
        Self {
            id,
            ok: false,
            severity,
            what: what.into(),
            why: why.to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    fn failed(id: &'static str, error: &Error) -> Self {
        let cause = error
            .source
            .as_ref()
            .map(|cause| format!(" ({cause})"))
            .unwrap_or_default();
        Self::bad(
            id,
            Severity::Error,
            format!("{}{cause}", error.message),
            "This could not be looked at.",
            error
                .remedy
                .as_deref()
                .unwrap_or("Mend what is said above first, then look again."),
        )
    }
}

/// The parts to look at. None of them needs to be whole.
pub struct Patient<'a> {
    /// Settings of the instance.
    pub settings: &'a Settings,
    /// Its database, connected.
    pub store: &'a Store,
    /// Its blob store.
    pub blobs: &'a Blobs,
    /// The folder of its keys, where it is known.
    pub keys_folder: Option<&'a Path>,
    /// Folders whose room is looked at, besides the spool.
    pub folders: &'a [&'a Path],
    /// The clock that is held against others.
    pub seams: &'a Seams,
}

/// Told how many files were looked at, and how many there are as far as that is known.
pub type Looked<'p> = &'p mut (dyn FnMut(u64, u64) + Send);

impl Registry {
    /// Looks at everything; `deep` also reads every artifact and hashes it. See [`examine`] for a registry that does
    /// not open.
    pub async fn doctor(
        &self,
        keys_folder: Option<&Path>,
        deep: bool,
        progress: Looked<'_>,
    ) -> Vec<Diagnosis> {
        let patient = Patient {
            settings: &self.inner.settings,
            store: &self.inner.store,
            blobs: &self.inner.blobs,
            keys_folder,
            folders: &[],
            seams: &self.inner.seams,
        };
        let mut found = examine(&patient, deep, progress).await;
        if let Some(problem) = self.inner.beat.problem() {
            found.push(Diagnosis::bad(
                "heartbeat",
                Severity::Error,
                format!("The log stands still: {problem}"),
                "Publishers wait and are then told to come again; nothing new becomes visible.",
                "Mend what is said there; the log goes on by itself.",
            ));
        }
        if let Some(problem) = self.inner.beat.unsigned() {
            found.push(Diagnosis::bad(
                "tuf",
                Severity::Error,
                format!("TUF metadata is not signed: {problem}"),
                "Clients that enforce TUF are shown nothing that is newer.",
                "Mend what is said there; it is made up for by itself.",
            ));
        }
        match self.tuf_trust().await {
            // How every instance begins: no fault, but nobody is to overlook it.
            Ok(trust) if trust.development => found.push(Diagnosis::good(
                "tuf",
                "TUF IS IN DEVELOPMENT MODE: the keys of its roots lie in this server's folder of keys, so that whoever gets into \
                 the server can sign anything. Hold a ceremony.",
            )),
            Ok(_) => {}
            // What was found out about the database says so already.
            Err(error) if error.code == "database-unreachable" => {}
            Err(error) => found.push(Diagnosis::failed("tuf", &error)),
        }
        found.extend(self.unsigned_namespaces().await);
        found
    }

    /// Namespaces that their owners are to sign, and have not for long.
    async fn unsigned_namespaces(&self) -> Vec<Diagnosis> {
        let namespaces = match self.tuf_namespaces().await {
            Ok(namespaces) => namespaces,
            Err(error) if error.code == "database-unreachable" => return Vec::new(),
            Err(error) => return vec![Diagnosis::failed("tuf-namespaces", &error)],
        };
        let late = self.now().plus_seconds(-LONG_UNSIGNED);
        let mut found = Vec::new();
        for namespace in namespaces {
            let waiting = namespace.waiting.iter();
            let long = waiting.filter(|waiting| waiting.since.is_some_and(|since| since < late));
            let (long, name) = (long.count(), &namespace.pattern);
            if long > 0 {
                found.push(Diagnosis::bad(
                    "tuf-namespaces",
                    Severity::Warning,
                    format!(
                        "{long} index documents of {name} in {} have waited for their owners' signatures for more than a day.",
                        namespace.repository
                    ),
                    "Clients that enforce TUF go on with what was signed last.",
                    "`countersignd tuf namespace status ECOSYSTEM NAMESPACE --bundle FILE`, and have the owners sign that.",
                ));
            }
            if namespace.due {
                found.push(Diagnosis::bad(
                    "tuf-namespaces",
                    Severity::Warning,
                    format!("What the owners of {name} in {} signed comes to its end.", namespace.repository),
                    "From then on clients that enforce TUF refuse these projects.",
                    "`countersignd tuf namespace status ECOSYSTEM NAMESPACE --bundle FILE`, and have the owners sign that.",
                ));
            }
        }
        found
    }
}

/// Looks at the parts of an instance, whole or not.
pub async fn examine(patient: &Patient<'_>, deep: bool, progress: Looked<'_>) -> Vec<Diagnosis> {
    let mut found = Vec::new();
    let blobs = probe(patient.blobs).await;
    let blobs_answer = blobs.ok;
    found.push(blobs);
    found.extend(room(patient));
    let database = database(patient.store).await;
    let database_answers = database
        .iter()
        .all(|diagnosis| diagnosis.severity < Severity::Error);
    found.extend(database);
    if !database_answers {
        return found;
    }
    let heads = match patient.store.heads().await {
        Ok(heads) if heads.is_empty() => {
            found.push(Diagnosis::bad("log", Severity::Error, "There is no log in the database.", "Without its log a registry serves nothing.", "Run `countersignd init` for a new registry, or `countersignd restore FILE` for one that was lost."));
            return found;
        }
        Ok(heads) => heads,
        Err(error) => {
            found.push(Diagnosis::failed("log", &error));
            return found;
        }
    };
    found.push(
        clock(patient, &heads)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("clock", &error)),
    );
    found.push(
        waiting(patient)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("outbox", &error)),
    );
    found.push(
        tokens(patient)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("tokens", &error)),
    );
    found.push(
        mail(patient)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("mail", &error)),
    );
    found.push(
        passkeys(patient)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("passkeys", &error)),
    );
    found.push(
        keys(patient, &heads)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("keys", &error)),
    );
    found.push(
        npm_signatures(patient)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("npm-signatures", &error)),
    );
    found.push(
        attestations(patient, deep)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("attestations", &error)),
    );
    found.push(
        trust_roots(patient)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("trust-roots", &error)),
    );
    found.push(
        advisories(patient)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("advisories", &error)),
    );
    found.push(
        freezes(patient)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("freezes", &error)),
    );
    found.push(
        incidents(patient)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("incidents", &error)),
    );
    if let Some(newest) = heads.last() {
        found.extend(
            witnesses::witnesses(patient, newest)
                .await
                .unwrap_or_else(|error| vec![Diagnosis::failed("witnesses", &error)]),
        );
    }
    for head in &heads {
        match log::log(patient, head).await {
            Ok(diagnoses) => found.extend(diagnoses),
            Err(error) => found.push(Diagnosis::failed("log", &error)),
        }
        if blobs_answer {
            found.push(
                log::tiles(patient, head)
                    .await
                    .unwrap_or_else(|error| Diagnosis::failed("tiles", &error)),
            );
        }
    }
    found.push(
        log_services::log_services(patient)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("service-logs", &error)),
    );
    found.push(
        unlogged(patient)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("files-logged", &error)),
    );
    found.push(
        crates::other_addresses(patient)
            .await
            .unwrap_or_else(|error| Diagnosis::failed("crate-sources", &error)),
    );
    if blobs_answer {
        found.push(
            log::map(patient)
                .await
                .unwrap_or_else(|error| Diagnosis::failed("map", &error)),
        );
        found.push(
            artifacts(patient, deep, progress)
                .await
                .unwrap_or_else(|error| Diagnosis::failed("artifacts", &error)),
        );
        found.push(
            documents(patient)
                .await
                .unwrap_or_else(|error| Diagnosis::failed("documents", &error)),
        );
    }
    found
}

/// The first few of many, and how many more there are.
fn some(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(NAMED)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

async fn probe(blobs: &Blobs) -> Diagnosis {
    let path = format!("probe/{}", new_id());
    let bytes = Bytes::from_static(b"countersign doctor");
    let outcome = async {
        blobs.put(&path, bytes.clone()).await?;
        let read = blobs.get(&path, 1_024).await?;
        blobs.delete(&path).await?;
        Ok::<_, Error>(read)
    }
    .await;
    match outcome {
        Ok(Some(read)) if read == bytes => Diagnosis::good(
            "blobs",
            format!("{} takes, gives and deletes", blobs.place()),
        ),
        Ok(_) => Diagnosis::bad(
            "blobs",
            Severity::Error,
            format!("{} did not give back what was just written.", blobs.place()),
            "Files could be lost after they were acknowledged.",
            "Use a blob store that reads what it wrote; look for a cache or a second mount in between.",
        ),
        Err(error) => Diagnosis::bad(
            "blobs",
            Severity::Error,
            format!(
                "{}{}",
                error.message,
                error
                    .source
                    .as_ref()
                    .map(|cause| format!(" ({cause})"))
                    .unwrap_or_default()
            ),
            "Nothing can be published, and files that are not in memory can not be downloaded.",
            "Mount or start the blob store, and let this user write to it.",
        ),
    }
}

fn room(patient: &Patient<'_>) -> Vec<Diagnosis> {
    let mut found = Vec::new();
    let spool = patient.settings.spool.as_path();
    for folder in patient.folders.iter().copied().chain([spool]) {
        let Ok(stat) = rustix::fs::statvfs(folder) else {
            // A spool that is not there yet is made at the start.
            continue;
        };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < ROOM {
            found.push(Diagnosis::bad(
                "room",
                Severity::Warning,
                format!("{} has {} MB left.", folder.display(), free >> 20),
                "A full disk stops publishing.",
                "Make room, or move the folder to a larger disk.",
            ));
        }
    }
    if found.is_empty() {
        found.push(Diagnosis::good("room", "there is room on the disks"));
    }
    found
}

async fn database(store: &Store) -> Vec<Diagnosis> {
    if let Err(error) = store.ping().await {
        let cause = error
            .source
            .as_ref()
            .map(|cause| format!(" ({cause})"))
            .unwrap_or_default();
        return vec![Diagnosis::bad(
            "database",
            Severity::Error,
            format!("{}{cause}", error.message),
            "Nothing works without it.",
            "Start the database, or correct `database` in the configuration.",
        )];
    }
    let mut found = Vec::new();
    match store.is_empty().await {
        Ok(true) => {
            return vec![Diagnosis::bad(
                "database",
                Severity::Error,
                "The database is empty.",
                "There is no registry in it.",
                "If there should be one, a volume is not mounted or the URL is wrong; else run `countersignd init`.",
            )];
        }
        Ok(false) => {}
        Err(error) => return vec![Diagnosis::failed("database", &error)],
    }
    match store.pending_migrations().await {
        Ok(0) => found.push(Diagnosis::good(
            "database",
            "it answers and is of this version",
        )),
        Ok(pending) => found.push(Diagnosis::bad(
            "database",
            Severity::Error,
            format!("{pending} migrations are pending."),
            "This version expects other tables.",
            "Make a backup with the version before, then run `countersignd migrate`.",
        )),
        Err(error) => found.push(Diagnosis::failed("database", &error)),
    }
    match store.weak_settings().await {
        Ok(weak) if weak.is_empty() => found.push(Diagnosis::good(
            "durability",
            "commits are on disk before they are acknowledged",
        )),
        Ok(weak) => found.push(Diagnosis::bad(
            "durability",
            Severity::Warning,
            format!("{}.", weak.join(", ")),
            "A power cut could take back what was acknowledged, and the log with it.",
            "Set them as named in the database server's configuration.",
        )),
        Err(error) => found.push(Diagnosis::failed("durability", &error)),
    }
    match store.instance("restoring").await {
        Ok(None) => {}
        Ok(Some(from)) => found.push(Diagnosis::bad(
            "restore",
            Severity::Warning,
            format!("A restore was begun and did not end ({from})."),
            "Nothing is served from a half restored database.",
            "Run the same `countersignd restore` again.",
        )),
        Err(error) => found.push(Diagnosis::failed("restore", &error)),
    }
    found
}

async fn clock(patient: &Patient<'_>, heads: &[Head]) -> Result<Diagnosis> {
    let now = patient.seams.clock.now();
    let signed = heads.iter().map(|head| head.signed).max();
    let newest = patient.store.newest_event().await?.max(signed);
    let why = "Times in the log would run backwards, tokens end too early or too late, and others refuse what is signed.";
    let remedy = "Set the clock of this machine (chrony, systemd-timesyncd), then look again.";
    if let Some(newest) = newest.filter(|newest| newest.0 > now.0 + SKEW) {
        return Ok(Diagnosis::bad(
            "clock",
            Severity::Error,
            format!(
                "It is {} here, and the newest event is of {}.",
                now.rfc3339(),
                newest.rfc3339()
            ),
            why,
            remedy,
        ));
    }
    let theirs = patient.store.clock().await?;
    if (theirs.0 - now.0).abs() > SKEW {
        return Ok(Diagnosis::bad(
            "clock",
            Severity::Error,
            format!(
                "It is {} here and {} at the database.",
                now.rfc3339(),
                theirs.rfc3339()
            ),
            why,
            remedy,
        ));
    }
    Ok(Diagnosis::good(
        "clock",
        "this machine, the database and the log agree",
    ))
}

async fn waiting(patient: &Patient<'_>) -> Result<Diagnosis> {
    let now = patient.seams.clock.now();
    Ok(match patient.store.oldest_waiting().await? {
        Some((oldest, waiting)) if now.0 - oldest.0 > STUCK => Diagnosis::bad(
            "outbox",
            Severity::Error,
            format!(
                "{waiting} events wait for the log, the oldest since {}.",
                oldest.rfc3339()
            ),
            "What is not in the log is not served; publishers are told to come again.",
            "Start `countersignd serve`; if it runs, its log says what keeps the heartbeat from moving.",
        ),
        Some((_, waiting)) => Diagnosis::good(
            "outbox",
            format!("{waiting} events wait for the log, none for long"),
        ),
        None => Diagnosis::good("outbox", "every event is in the log"),
    })
}

async fn tokens(patient: &Patient<'_>) -> Result<Diagnosis> {
    let now = patient.seams.clock.now();
    let ending = patient
        .store
        .tokens_ending(now, now.plus_seconds(SOON))
        .await?;
    if ending.is_empty() {
        return Ok(Diagnosis::good("tokens", "no token ends within a week"));
    }
    let names: Vec<String> = ending
        .iter()
        .map(|(hint, label, ends): &(String, String, Time)| {
            format!("{hint} ({label}) on {}", &ends.rfc3339()[..10])
        })
        .collect();
    Ok(Diagnosis::good(
        "tokens",
        format!("these end within a week: {}", some(&names)),
    ))
}

/// A trust root that could not be refreshed for so long is told of, in seconds.
const STALE_ROOT: i64 = 7 * 86_400;

/// Are the stored attestations the bytes that were taken, and is the key there that signs the registry's own?
async fn attestations(patient: &Patient<'_>, deep: bool) -> Result<Diagnosis> {
    let (mut after, mut count, mut wrong) = (String::new(), 0_u64, Vec::new());
    // Reading all of them takes long where there are many.
    if deep {
        loop {
            let rows = patient.store.attestations_after(&after, 500).await?;
            let Some((last, _, _)) = rows.last() else {
                break;
            };
            after.clone_from(last);
            for (_, digest, body) in &rows {
                count += 1;
                if Sha256::of(body.as_bytes()).to_hex() != *digest {
                    wrong.push(digest.clone());
                }
            }
        }
    }
    if !wrong.is_empty() {
        return Ok(Diagnosis::bad(
            "attestations",
            Severity::Error,
            format!(
                "The stored bytes of attestations are not those of their digests: {}.",
                some(&wrong)
            ),
            "The log names digests that nobody can be shown the bytes of.",
            "Restore the database from a backup.",
        ));
    }
    let problem = match patient.keys_folder {
        Some(folder) => key_problem(patient.store, folder, &ATTESTATIONS).await?,
        None => None,
    };
    Ok(match problem {
        Some(problem) => Diagnosis::bad(
            "attestations",
            Severity::Warning,
            problem,
            "New files get no attestation of the registry until it is there again.",
            "Put the key back, or make another: `countersignd admin key rotate attestations`.",
        ),
        None => Diagnosis::good(
            "attestations",
            match deep {
                true => format!("{count} attestations, each the bytes of its digest"),
                false => "nothing amiss with their key (--deep reads and hashes what is stored)"
                    .to_owned(),
            },
        ),
    })
}

/// Is the key there that signs npm's versions?
async fn npm_signatures(patient: &Patient<'_>) -> Result<Diagnosis> {
    let problem = match patient.keys_folder {
        Some(folder) => key_problem(patient.store, folder, &NPM).await?,
        None => None,
    };
    Ok(match problem {
        Some(problem) => Diagnosis::bad(
            "npm-signatures",
            Severity::Warning,
            problem,
            "New npm versions get no signature of the registry until it is there again, and `npm audit signatures` calls them missing.",
            "Put the key back, or make another: `countersignd admin key rotate npm`.",
        ),
        None => Diagnosis::good("npm-signatures", "nothing amiss with their key".to_owned()),
    })
}

/// Are the trust roots that are refreshed by themselves fresh?
async fn trust_roots(patient: &Patient<'_>) -> Result<Diagnosis> {
    let (settings, now) = (patient.settings, patient.seams.clock.now());
    let rows = patient.store.trust_root_rows().await?;
    let stale: Vec<String> = rows
        .iter()
        .filter(|row| {
            settings.refresh_trust_roots && settings.builtin_trust_roots.contains(&row.name)
        })
        .filter_map(|row| {
            let problem = row.problem.as_ref()?;
            let since = row.refreshed.unwrap_or(row.created);
            (now >= since.plus_seconds(STALE_ROOT))
                .then(|| format!("{} since {}: {problem}", row.name, since.rfc3339()))
        })
        .collect();
    if stale.is_empty() {
        let private = rows.iter().filter(|row| row.kind == "private").count();
        return Ok(Diagnosis::good(
            "trust-roots",
            format!(
                "{} built in, {private} private",
                settings.builtin_trust_roots.len()
            ),
        ));
    }
    Ok(Diagnosis::bad(
        "trust-roots",
        Severity::Warning,
        format!("Not refreshed for a week: {}.", some(&stale)),
        "Attestations made with newer keys are refused, and what was withdrawn is still believed.",
        "Let this machine reach the named hosts, or set provenance.refresh_trust_roots = false and update the program.",
    ))
}

/// Does something take no changes, and is that still meant?
async fn freezes(patient: &Patient<'_>) -> Result<Diagnosis> {
    let now = patient.seams.clock.now();
    let stops = patient.store.stops().await?;
    if let Some(stop) = stops.iter().find(|stop| stop.scope == "registry") {
        return Ok(Diagnosis::bad(
            "freezes",
            Severity::Warning,
            format!(
                "The whole registry has taken no changes since {}: {}",
                stop.since.rfc3339(),
                stop.reason
            ),
            "Nobody but operators can publish, yank or change anything.",
            "When it is over: `countersignd incident unfreeze registry`.",
        ));
    }
    if stops.is_empty() {
        return Ok(Diagnosis::good("freezes", "nothing is frozen"));
    }
    let named: Vec<String> = stops
        .iter()
        .map(|stop| {
            let since = stop.since.rfc3339();
            format!("{} {} (since {since})", stop.scope, stop.name)
        })
        .collect();
    let frozen = format!("Frozen: {}.", some(&named));
    if stops.iter().all(|stop| now.0 - stop.since.0 <= FORGOTTEN) {
        return Ok(Diagnosis::good("freezes", frozen));
    }
    Ok(Diagnosis::bad(
        "freezes",
        Severity::Warning,
        frozen,
        "Something has been frozen for more than a week; whoever it stops is told to come again.",
        "Decide on it: `countersignd incident frozen` has the reasons, `countersignd incident unfreeze` ends one.",
    ))
}

/// Is there an incident that nobody has closed?
async fn incidents(patient: &Patient<'_>) -> Result<Diagnosis> {
    let now = patient.seams.clock.now();
    let open = patient.store.open_incidents(false).await?;
    if open.is_empty() {
        return Ok(Diagnosis::good("incidents", "none is open"));
    }
    let named: Vec<String> = open
        .iter()
        .map(|row| format!("{} {:?}", row.id, row.title))
        .collect();
    let open_now = format!("Open: {}.", some(&named));
    if open.iter().all(|row| now.0 - row.opened.0 <= FORGOTTEN) {
        return Ok(Diagnosis::good("incidents", open_now));
    }
    Ok(Diagnosis::bad(
        "incidents",
        Severity::Warning,
        open_now,
        "An incident has been open for more than a week; whoever reads of it does not know whether it is over.",
        "Say how it stands: `countersignd incident update ID`, or `countersignd incident close ID`.",
    ))
}

/// Are the advisories that were imported new enough to warn anybody?
async fn advisories(patient: &Patient<'_>) -> Result<Diagnosis> {
    let now = patient.seams.clock.now();
    let mut feeds = patient.store.advisory_feeds().await?;
    feeds.retain(|feed| feed.name != OWN_FEED);
    let records: u64 = feeds.iter().map(|feed| feed.records).sum();
    let wanted = &patient.settings.advisories.feeds;
    let mut refused = patient.store.advisory_problems().await?;
    refused.retain(|(feed, ..)| wanted.iter().any(|(name, _)| name == feed));
    if !refused.is_empty() {
        let told: Vec<String> = refused
            .iter()
            .map(|(feed, why, since)| format!("{feed} (since {}): {why}", since.rfc3339()))
            .collect();
        return Ok(Diagnosis::bad(
            "advisories",
            Severity::Warning,
            format!("The newest files of feeds are not taken: {}.", some(&told)),
            "What was imported before still counts; nobody is warned of what became known since.",
            "Fetch the feed again. If it is meant, run `countersignd advisories import --accept-shrinkage` once.",
        ));
    }
    let stale: Vec<String> = feeds
        .iter()
        .filter(|feed| now.0 - feed.imported.0 > STALE)
        .map(|feed| format!("{} (imported {})", feed.name, feed.imported.rfc3339()))
        .collect();
    if feeds.is_empty() {
        return Ok(Diagnosis::good("advisories", "none were imported"));
    }
    if stale.is_empty() {
        let what = match feeds.len() {
            1 => format!("{records} advisories of one feed, imported lately"),
            many => format!("{records} advisories of {many} feeds, all imported lately"),
        };
        return Ok(Diagnosis::good("advisories", what));
    }
    Ok(Diagnosis::bad(
        "advisories",
        Severity::Warning,
        format!("Not imported for a week: {}.", some(&stale)),
        "Nobody is warned of what became known since.",
        "Fetch the feed again and run `countersignd advisories import`, from a timer if you like; or name it in advisories.feeds, and fetch it alone.",
    ))
}

/// Can people be told, and get back in?
async fn mail(patient: &Patient<'_>) -> Result<Diagnosis> {
    let now = patient.seams.clock.now();
    let (waiting, oldest, given_up, fault) = patient.store.mail_state().await?;
    if patient.seams.post.is_none() {
        if !patient.settings.sign_up_open() {
            return Ok(Diagnosis::good(
                "mail",
                "not set up; accounts are made by the operator",
            ));
        }
        if is_local(&patient.settings.url) {
            return Ok(Diagnosis::good(
                "mail",
                "not set up, so nobody can sign up; good enough on this machine alone",
            ));
        }
        return Ok(Diagnosis::bad(
            "mail",
            Severity::Warning,
            "Mail is not set up.",
            "Nobody can sign up, prove an address or recover an account, and notices stand on the account's page alone.",
            "Set mail.server and mail.from in the configuration; or sign_in.open = false, if that is meant.",
        ));
    }
    let fault = fault.map_or_else(String::new, |fault| format!(" The last fault: {fault}"));
    if let Some(oldest) = oldest.filter(|oldest| now.0 - oldest.0 > LATE) {
        return Ok(Diagnosis::bad(
            "mail",
            Severity::Warning,
            format!(
                "{waiting} mails wait, the oldest since {}.{fault}",
                oldest.rfc3339()
            ),
            "Notices, links to prove an address and links to get back in come late or never.",
            "Start `countersignd serve`; if it runs, look at the mail server and at mail.* in the configuration.",
        ));
    }
    if given_up > 0 {
        return Ok(Diagnosis::bad(
            "mail",
            Severity::Warning,
            format!("{given_up} mails were given up in the last week.{fault}"),
            "Those people were not told.",
            "Look whether the mail server refuses this registry's sender, or whether the addresses are gone.",
        ));
    }
    Ok(Diagnosis::good(
        "mail",
        format!("{waiting} mails wait, none for long"),
    ))
}

/// Is this registry for its own machine only?
fn is_local(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Do the passkeys that were made here still belong to the registry's name?
async fn passkeys(patient: &Patient<'_>) -> Result<Diagnosis> {
    let url = &patient.settings.url;
    let Some(url::Host::Domain(host)) = url.host() else {
        if is_local(url) {
            return Ok(Diagnosis::good(
                "passkeys",
                "not possible at an address; use the name localhost to try them",
            ));
        }
        return Ok(Diagnosis::bad(
            "passkeys",
            Severity::Warning,
            format!("The registry is at {url}, which is an address and no name."),
            "Browsers make passkeys for names alone, so nobody can sign in with one.",
            "Give the registry a name: set url in its configuration.",
        ));
    };
    Ok(match patient.store.instance(RP).await? {
        None => Diagnosis::good("passkeys", "none were made yet"),
        Some(name) if belongs(host, &name) => {
            Diagnosis::good("passkeys", format!("they belong to {name}"))
        }
        Some(name) => Diagnosis::bad(
            "passkeys",
            Severity::Error,
            format!("They were made for {name}, and the registry is now at {host}."),
            "No passkey that anybody has works any more.",
            "Serve it under the former name again; passkeys can not be moved.",
        ),
    })
}

/// The verifier keys of a log: as the rows keep them, else of the key on disk.
async fn verifiers(patient: &Patient<'_>, head: &Head) -> Result<Vec<VerifierKey>> {
    let stored = patient
        .store
        .instance(&verifier_key_name(head.shard))
        .await?;
    let mut keys: Vec<VerifierKey> = stored
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.parse().ok())
        .collect();
    if let Some(folder) = patient.keys_folder
        && let Ok(own) = LogKeys::load(folder, head.shard)
    {
        keys = own.verifiers();
    }
    Ok(keys)
}

async fn keys(patient: &Patient<'_>, heads: &[Head]) -> Result<Diagnosis> {
    let (Some(folder), Some(head)) = (patient.keys_folder, heads.last()) else {
        return Ok(Diagnosis::good(
            "keys",
            "not looked at: no keys folder was given",
        ));
    };
    let keys = LogKeys::load(folder, head.shard)?;
    let why = "Without its key this log can not go on.";
    if keys.origin() != head.origin {
        return Ok(Diagnosis::bad(
            "keys",
            Severity::Error,
            format!(
                "The key in {} is for {}, the log is {}.",
                folder.display(),
                keys.origin(),
                head.origin
            ),
            why,
            "Put the key of this log back from where you keep it.",
        ));
    }
    if let Some(stored) = patient
        .store
        .instance(&verifier_key_name(head.shard))
        .await?
    {
        let own: Vec<String> = keys.verifiers().iter().map(ToString::to_string).collect();
        if own.join("\n") != stored {
            return Ok(Diagnosis::bad(
                "keys",
                Severity::Error,
                format!(
                    "The key in {} is not the one that this log began with.",
                    folder.display()
                ),
                why,
                "Put the key of this log back from where you keep it.",
            ));
        }
    }
    #[cfg(unix)]
    if let Ok(entries) = std::fs::read_dir(folder) {
        use std::os::unix::fs::PermissionsExt;
        let open: Vec<String> = entries
            .flatten()
            .filter(|entry| {
                entry
                    .metadata()
                    .is_ok_and(|meta| meta.permissions().mode() & 0o077 != 0)
            })
            .map(|entry| entry.path().display().to_string())
            .collect();
        if !open.is_empty() {
            return Ok(Diagnosis::bad(
                "keys",
                Severity::Error,
                format!("Others on this machine may read {}.", some(&open)),
                "Whoever has the key can sign in this log's name.",
                "chmod go= these files.",
            ));
        }
    }
    Ok(Diagnosis::good(
        "keys",
        format!(
            "the key of {} is there and only this user can read it",
            head.origin
        ),
    ))
}

async fn unlogged(patient: &Patient<'_>) -> Result<Diagnosis> {
    let files = patient.store.live_without_leaf().await?;
    let names: Vec<String> = files.into_iter().map(|file| file.filename).collect();
    Ok(if names.is_empty() {
        Diagnosis::good("files-logged", "every served file has its leaf")
    } else {
        Diagnosis::bad(
            "files-logged",
            Severity::Error,
            format!(
                "These files are served and not in the log: {}.",
                some(&names)
            ),
            "Nothing may be served that is not in the log.",
            "Quarantine them (`countersignd admin quarantine`), then find out who wrote to the database.",
        )
    })
}

async fn artifacts(patient: &Patient<'_>, deep: bool, progress: Looked<'_>) -> Result<Diagnosis> {
    let mut wrong = Vec::new();
    let (mut after, mut done, mut hashed) = (String::new(), 0, 0);
    loop {
        let files = patient.store.files_after(&after, 500).await?;
        let Some(last) = files.last() else { break };
        after = last.id.0.clone();
        for file in files.iter().filter(|file| file.state == FileState::Live) {
            done += 1;
            match patient
                .blobs
                .stat(artifact_path(&file.sha256).as_ref())
                .await?
            {
                None => wrong.push(format!("{} is missing", file.filename)),
                Some(stat) if stat.size != file.size => wrong.push(format!(
                    "{} has {} bytes instead of {}",
                    file.filename, stat.size, file.size
                )),
                Some(_) if deep => {
                    hashed += 1;
                    let digest = patient.blobs.artifact_digest(&file.sha256).await?;
                    if digest.is_none_or(|digest| digest.to_hex() != file.sha256) {
                        wrong.push(format!(
                            "{} has other bytes than were published",
                            file.filename
                        ));
                    }
                }
                Some(_) => {}
            }
            progress(done, done);
        }
    }
    let mut after = String::new();
    loop {
        let rows = patient.store.waiting_after(&after, 500).await?;
        let Some(last) = rows.last() else { break };
        after.clone_from(&last.id);
        for row in &rows {
            let stat = patient
                .blobs
                .stat(artifact_path(&row.sha256).as_ref())
                .await?;
            if stat.is_none_or(|stat| stat.size != row.size) {
                wrong.push(format!(
                    "{}, which is staged, lacks its bytes",
                    row.filename
                ));
            }
        }
    }
    Ok(if !wrong.is_empty() {
        Diagnosis::bad(
            "artifacts",
            Severity::Error,
            format!("{}.", some(&wrong)),
            "These files can not be downloaded, or are refused by whoever checks their digest.",
            "Bring the blobs back from a copy; or publish the identical files again: the right bytes take their place.",
        )
    } else if deep {
        Diagnosis::good(
            "artifacts",
            format!("{hashed} files have the bytes that were published"),
        )
    } else {
        Diagnosis::good(
            "artifacts",
            format!("{done} files are there with their size (--deep reads and hashes them)"),
        )
    })
}

/// Rendered documents against the rows they show.
async fn documents(patient: &Patient<'_>) -> Result<Diagnosis> {
    let mut wrong = Vec::new();
    let rendered = patient
        .store
        .rendered(&patient.settings.rendered_for())
        .await?;
    for (path, project, digest, serial) in &rendered {
        let states = patient
            .store
            .project_states(std::slice::from_ref(project))
            .await?;
        let Some(state) = states.first().filter(|state| state.serial == *serial) else {
            // Outdated: readers render it anew.
            continue;
        };
        let text = rendered_index(patient.store, state, patient.settings).await?;
        let again = Sha256::of(text.as_bytes());
        let lying = patient.blobs.get(&document_path(digest), 1 << 30).await?;
        if again.to_hex() != *digest {
            // Somebody may have published in between.
            let now = patient
                .store
                .project_states(std::slice::from_ref(project))
                .await?;
            if now.first().is_some_and(|now| now.serial == *serial) {
                wrong.push(format!("{path} does not show what its rows say"));
            }
        } else if lying.is_none_or(|bytes| Sha256::of(&bytes) != again) {
            wrong.push(format!("the bytes of {path} are missing or changed"));
        }
    }
    Ok(if wrong.is_empty() {
        Diagnosis::good(
            "documents",
            format!("{} index documents show what the rows say", rendered.len()),
        )
    } else {
        Diagnosis::bad(
            "documents",
            Severity::Warning,
            format!("{}.", some(&wrong)),
            "Installers could see an index that is not so. Bytes that do not fit their digest are never served: they are rendered again.",
            "If a row was changed by hand, restore the newest backup; changed bytes mend themselves with the next publication of the project.",
        )
    })
}
