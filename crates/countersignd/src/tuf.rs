//! `tuf …`: ceremonies of people with keys. What is signed and by whom is decided in `countersign_trust::tuf`; here are the
//! files, the questions and the tables.

mod instance;
mod keyless;
mod namespace;
mod plan;
mod service;

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use countersign_registry::signers;
use countersign_registry::{Random, SystemRandom};
use countersign_trust::digest::Sha256;
use countersign_trust::sigstore::TrustRoot;
use countersign_trust::tuf::bundle::{Bundle, Row, short};
use countersign_trust::tuf::ceremony::Change;
use countersign_trust::tuf::{Key, Refusal, Root, format_time};
use serde_json::{Value, json};

use crate::cli::{Common, Tuf, TufBelieved, TufKey, TufSign};
use crate::failure::{Exit, Failure};
use crate::report;

/// The longest file of a ceremony or plan that is read, in bytes.
const MAX_FILE: u64 = 32 << 20;
/// The most targets of one role that are shown to those who are to sign it.
const SHOWN: usize = 500;

/// Runs `tuf …`.
///
/// # Errors
/// What is wrong with files, keys or signatures, and as the registry says.
pub async fn run(common: &Common, command: &Tuf) -> Result<(), Failure> {
    match command {
        Tuf::Ceremony(options) => plan::ceremony(common, options).await,
        Tuf::Sign(options) => sign(common, options),
        Tuf::Merge {
            bundle,
            copies,
            believed: sigstore,
        } => merge(common, bundle, copies, &believed(sigstore)?),
        Tuf::Status {
            bundle: Some(bundle),
            believed: sigstore,
            ..
        } => {
            show(common, &read_bundle(bundle, &believed(sigstore)?)?);
            Ok(())
        }
        Tuf::Status {
            bundle: None,
            stores,
            ..
        } => instance::status(common, stores).await,
        Tuf::Publish {
            bundle,
            at_once,
            yes,
            believed: sigstore,
            stores,
        } => {
            let sigstore = believed(sigstore)?;
            instance::publish(common, stores, bundle, *at_once, *yes, &sigstore).await
        }
        Tuf::RotateOnline {
            role,
            repository,
            key,
            bundle,
            days,
            stores,
        } => {
            let rotation = instance::Rotation {
                role,
                repositories: repository,
                key: key.as_deref(),
                bundle: bundle.as_deref(),
                days: *days,
            };
            instance::rotate_online(common, stores, &rotation).await
        }
        Tuf::Key(TufKey::New {
            file,
            p256,
            no_passphrase,
        }) => new_key(common, file, *p256, *no_passphrase),
        Tuf::Key(TufKey::Show { key }) => show_key(common, key),
        Tuf::Namespace(command) => namespace::run(common, command).await,
        Tuf::Service(command) => service::run(common, command).await,
    }
}

/// What the pure half refuses, for a person.
pub(crate) fn refused(refusal: &Refusal) -> Failure {
    Failure::new(Exit::Verification, refusal.code(), format!("{refusal}."))
}

fn file_failure(path: &Path, source: &io::Error) -> Failure {
    Failure::environment(
        "tuf-file",
        format!("{} can not be read or written: {source}.", path.display()),
    )
}

pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |source: io::Error| file_failure(path, &source);
    if fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
        return Err(Failure::usage(
            "tuf-file",
            format!("{} is longer than {MAX_FILE} bytes.", path.display()),
        ));
    }
    fs::read(path).map_err(failed)
}

fn read_bundle(path: &Path, sigstore: &TrustRoot) -> Result<Bundle, Failure> {
    Bundle::parse(&read_file(path)?, sigstore).map_err(|refusal| refused(&refusal))
}

/// Whose word on identities is believed: the public Sigstore, or the one that was named.
fn believed(options: &TufBelieved) -> Result<TrustRoot, Failure> {
    let Some(path) = &options.sigstore_root else {
        return Ok(TrustRoot::public_good());
    };
    TrustRoot::from_json("sigstore-root", &read_file(path)?).map_err(|why| {
        let message = format!("{}: {}.", path.display(), why.message());
        Failure::usage("tuf-sigstore-root", message)
            .remedy("Give the trusted_root.json that this Sigstore hands to its clients.")
    })
}

/// Writes a file that nobody ever sees half of. `fresh`: it must not be there yet.
fn write_file(path: &Path, bytes: &[u8], fresh: bool) -> Result<(), Failure> {
    let failed = |source: io::Error| file_failure(path, &source);
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    let done = if fresh {
        file.persist_noclobber(path)
    } else {
        file.persist(path)
    };
    done.map(|_| ()).map_err(|refused| {
        if refused.error.kind() == io::ErrorKind::AlreadyExists {
            return Failure::usage(
                "tuf-file-exists",
                format!("{} is there already.", path.display()),
            )
            .remedy("Give it another name, or remove it.");
        }
        failed(refused.error)
    })
}

/// A line from the person at the terminal.
pub(crate) fn question(text: &str) -> Result<String, Failure> {
    eprint!("{text} ");
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line).map_err(|source| {
        Failure::environment("terminal", format!("Nothing can be read: {source}."))
    })?;
    if read == 0 {
        return Err(Failure::usage("no-answer", "Nobody answers.")
            .remedy("Give a --plan and --yes where no person is there."));
    }
    Ok(line.trim().to_owned())
}

/// Does the person agree?
pub(crate) fn agreed(text: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    match question(&format!("{text} (yes/no)"))?.as_str() {
        "yes" | "y" => Ok(()),
        _ => Err(Failure::new(
            Exit::Refused,
            "not-agreed",
            "Nothing was done.",
        )),
    }
}

/// A passphrase: from the environment, or typed without being shown.
pub(crate) fn passphrase(what: &str) -> Option<String> {
    if let Ok(value) = std::env::var("COUNTERSIGN_TUF_PASSPHRASE") {
        return Some(value);
    }
    if !io::stdin().is_terminal() {
        return None;
    }
    let echo = |how: &str| {
        Process::new("stty")
            .arg(how)
            .stdin(Stdio::inherit())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !echo("-echo") {
        eprintln!("This terminal shows what is typed; set COUNTERSIGN_TUF_PASSPHRASE instead.");
        return None;
    }
    eprint!("{what}: ");
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line);
    echo("echo");
    eprintln!();
    read.ok().filter(|read| *read > 0)?;
    Some(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn sign(common: &Common, options: &TufSign) -> Result<(), Failure> {
    let mut bundle = read_bundle(&options.bundle, &believed(&options.believed)?)?;
    if let Some(path) = &options.trusted_root {
        let known = read_file(path)?;
        let mut matched = 0;
        for part in bundle.parts().values() {
            matched += usize::from(part.follows_root(&known).map_err(|why| refused(&why))?);
        }
        if matched == 0 {
            return Err(Failure::new(
                Exit::Verification,
                "tuf-other-root",
                format!(
                    "The ceremony does not follow the root in {}.",
                    path.display()
                ),
            )
            .remedy("Ask whoever sent it, by another way. Sign nothing."));
        }
    }
    if !common.json {
        describe(&bundle);
    }
    let signed = match (keyless::source(&options.key)?, &options.payloads) {
        (Some(key), Some(folder)) => return keyless::write_payloads(common, &bundle, &key, folder),
        (Some(key), None) => keyless::take(&mut bundle, &key, &options.signed)?,
        (None, None) if options.signed.is_empty() => {
            agreed("Sign all of it that asks for your key?", options.yes)?;
            let signer = signers::signer(&options.key, &passphrase)?;
            bundle.sign(signer.as_ref()).map_err(|why| refused(&why))?
        }
        (None, _) => {
            return Err(Failure::usage(
                "tuf-key-source",
                "--payloads and --signed are for an identity, and the key is none.",
            )
            .remedy("Write --key sigstore:IDENTITY?issuer=URL, or leave them out."));
        }
    };
    let out = options.out.as_ref().unwrap_or(&options.bundle);
    write_file(out, &bundle.to_bytes(), false)?;
    if common.json {
        report::json(&json!({
            "signed": signed.iter().map(|(name, role)| json!({"repository": name, "role": role})).collect::<Vec<_>>(),
            "bundle": out, "complete": bundle.complete(),
        }));
        return Ok(());
    }
    if signed.is_empty() {
        report::line("Your signatures were there already.");
    }
    for (name, role) in &signed {
        report::line(&format!("Signed {role} of {name}."));
    }
    show(common, &bundle);
    Ok(())
}

fn merge(
    common: &Common,
    path: &Path,
    copies: &[PathBuf],
    sigstore: &TrustRoot,
) -> Result<(), Failure> {
    let mut bundle = read_bundle(path, sigstore)?;
    let mut added = 0;
    for copy in copies {
        let bytes = read_file(copy)?;
        added += bundle.merge(&bytes, sigstore).map_err(|why| {
            let mut failure = refused(&why);
            failure.message = format!("{}: {}", copy.display(), failure.message);
            failure
        })?;
    }
    write_file(path, &bundle.to_bytes(), false)?;
    if !common.json {
        report::line(&format!("{added} new signatures."));
    }
    show(common, &bundle);
    Ok(())
}

pub(crate) fn time(seconds: i64) -> String {
    format_time(seconds).unwrap_or_else(|| seconds.to_string())
}

fn role_json(row: &Row) -> Value {
    let demands: Vec<Value> = row
        .status
        .demands
        .iter()
        .map(|(by, verdict)| {
            json!({"by": by, "threshold": verdict.threshold, "signed": verdict.signed, "missing": verdict.missing,
                "identities": verdict.identities.iter().map(|(id, signed)| json!({"keyid": id, "signed": signed})).collect::<Vec<_>>()})
        })
        .collect();
    json!({
        "repository": row.repository, "role": row.role, "version": row.version, "expires": time(row.expires),
        "complete": row.status.complete(), "demands": demands,
    })
}

/// How the signing stands.
fn show(common: &Common, bundle: &Bundle) {
    let rows = bundle.rows();
    if common.json {
        let rows: Vec<Value> = rows.iter().map(role_json).collect();
        report::json(&json!({"complete": bundle.complete(), "documents": rows}));
        return;
    }
    let mut lines = Vec::new();
    for row in &rows {
        for (by, verdict) in &row.status.demands {
            // Signers by identity stand in brackets: nobody counts them.
            let list = |ids: &[String], signed: bool| {
                let keys = ids.iter().map(|id| short(id).to_owned());
                let identities = verdict.identities.iter();
                let identities = identities.filter(|(_, there)| *there == signed);
                let identities = identities.map(|(id, _)| format!("({})", short(id)));
                keys.chain(identities).collect::<Vec<_>>().join(" ")
            };
            lines.push(vec![
                row.repository.clone(),
                format!("{} {}", row.role, row.version),
                time(row.expires),
                by.clone(),
                format!("{} of {}", verdict.signed.len(), verdict.threshold),
                list(&verdict.signed, true),
                list(&verdict.missing, false),
            ]);
        }
    }
    let heads = [
        "repository",
        "document",
        "good until",
        "keys of",
        "signed",
        "by",
        "not by",
    ];
    report::table(&heads, &lines);
    report::line(if bundle.complete() {
        "Enough people signed: `countersignd tuf publish --bundle FILE`."
    } else {
        "Signatures still miss: give copies to those who have not signed."
    });
}

fn change(line: &Change, root: &Root) -> String {
    let kind = |keyid: &str| root.keys.get(keyid).map_or_else(String::new, described);
    match line {
        Change::KeyAdded { role, keyid } => {
            format!("+ key {} ({}) speaks for {role}", short(keyid), kind(keyid))
        }
        Change::KeyRemoved { role, keyid } => {
            format!("- key {} speaks no longer for {role}", short(keyid))
        }
        Change::KeyReplaced { keyid } => {
            format!("! the id {} stands for ANOTHER key now", short(keyid))
        }
        Change::Threshold { role, from, to } => {
            format!("~ {role}: {to} must sign (before: {from})")
        }
        Change::Expires { from, to } => format!(
            "~ good until {} (before: {})",
            time(*to),
            from.map_or_else(|| "no root".to_owned(), time)
        ),
        Change::ConsistentSnapshot(on) => format!("~ consistent snapshots: {on}"),
    }
}

/// What a ceremony changes, for those who are to sign it.
pub(crate) fn describe(bundle: &Bundle) {
    for (name, part) in bundle.parts() {
        match part.before_bytes().zip(part.before()) {
            Some((bytes, root)) => report::line(&format!(
                "{name}: follows root {} (sha256 {})",
                root.version,
                Sha256::of(&bytes)
            )),
            None => report::line(&format!("{name}: a new repository")),
        }
        if let Some(root) = part.root() {
            report::line(&format!("  root {}", root.version));
            for line in part.root_changes() {
                report::line(&format!("    {}", change(&line, root)));
            }
        }
        if let Some(targets) = part.targets() {
            report::line(&format!(
                "  targets {}, good until {}",
                targets.version,
                time(targets.expires)
            ));
            for line in part.delegation_changes() {
                report::line(&format!("    {line}"));
            }
        }
        for (role, next, changes) in part.role_changes() {
            report::line(&format!(
                "  {role} {}, good until {}, {} projects",
                next.version,
                time(next.expires),
                next.targets.len()
            ));
            for line in changes.iter().take(SHOWN) {
                report::line(&format!("    {line}"));
            }
            if changes.len() > SHOWN {
                report::line(&format!("    and {} more", changes.len() - SHOWN));
            }
        }
    }
}

fn new_key(common: &Common, file: &Path, p256: bool, no_passphrase: bool) -> Result<(), Failure> {
    let typed = if no_passphrase {
        None
    } else {
        let typed = passphrase("New passphrase").filter(|typed| !typed.is_empty());
        Some(typed.ok_or_else(|| {
            Failure::usage("no-passphrase", "Nobody gave a passphrase.")
                .remedy("Set COUNTERSIGN_TUF_PASSPHRASE, or leave the key unencrypted with --no-passphrase.")
        })?)
    };
    let random = SystemRandom;
    let (private, public) =
        signers::new_key(p256, &random.bytes32(), &random.bytes32(), typed.as_deref())?;
    let mut listed = file.as_os_str().to_owned();
    listed.push(".pub");
    // The private half first: a crash between the two leaves a key whose public half `key show` gives.
    write_file(file, private.as_bytes(), true)?;
    write_file(Path::new(&listed), public.as_bytes(), true)?;
    show_key(common, &Path::new(&listed).display().to_string())
}

/// A key's kind; of a signer by identity, who it is.
fn described(key: &Key) -> String {
    match key.identity() {
        Some((identity, issuer)) => {
            format!("the identity {identity:?} of {issuer:?}, which no threshold counts")
        }
        None => key.kind().to_owned(),
    }
}

pub(crate) fn listed_key(source: &str) -> Result<Key, Failure> {
    if let Some(key) = keyless::source(source)? {
        return Ok(key);
    }
    let spki = signers::public_key(source, &passphrase)?;
    Key::from_spki(&spki).map_err(|why| refused(&why))
}

fn show_key(common: &Common, source: &str) -> Result<(), Failure> {
    let key = listed_key(source)?;
    if common.json {
        let mut shown = json!({"keyid": key.id(), "kind": key.kind()});
        if let Some(spki) = key.spki() {
            shown["spki"] = hex::encode(spki).into();
        }
        if let Some((identity, issuer)) = key.identity() {
            shown["identity"] = identity.into();
            shown["issuer"] = issuer.into();
        }
        report::json(&shown);
    } else {
        report::line(&format!("{}  {}", key.id(), described(&key)));
    }
    Ok(())
}
