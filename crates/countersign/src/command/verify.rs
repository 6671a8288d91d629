//! `countersign verify`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use countersign::evidence::{self, FileEvidence, Piece, Source};
use countersign::examine::{About, Examiner, Report, Row, Verdict};
use countersign::failure::plain;
use countersign::inquire::{self, EntryReport, Inquiry};
use countersign::proxy::evidence::{Evidence, Finding};
use countersign::remote::Remote;
use countersign::trusted::{Pinned, TrustFile};
use countersign::verify::{self, Bytes, Measured, Proofs};
use countersign::{Exit, Failure, bundle, sarif};
use countersign_formats::lock::LockFile;
use countersign_formats::purl;
use countersign_trust::digest::{Digests, Hasher, Sha256};
use countersign_trust::sigstore::{PolicyFile, Signer, Subject, TrustRoot, TrustedKeys};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use url::Url;

use super::{authorities, line, remote, trust_path};
use crate::cli::{Common, Verify};

/// The largest file that is fetched to be looked at, in bytes.
const MOST_FILE: u64 = 16 << 30;

/// Checks files, identifiers, lock files or evidence of other registries.
pub fn run(common: &Common, options: &Verify) -> Result<(), Failure> {
    let policy = options.policy.as_deref().map(inquire::policy).transpose()?;
    if let Some(path) = &options.evidence {
        return again(common, path);
    }
    let roots = bundle::trust_root(options.trusted_root.as_deref())?;
    if options.bundle.is_some() || options.provenance.is_some() {
        return foreign(common, options, policy.as_ref(), &roots);
    }
    let Some(targets) = Targets::of(options)? else {
        return Err(Failure::new(
            Exit::Usage,
            "no-file",
            "There is no file to verify.",
        ));
    };
    let trust = TrustFile::load(&trust_path(common)?)?;
    let pinned = match &common.registry {
        Some(url) => Some(trust.registry(Some(url))?),
        None => None,
    };
    let indices = match (
        options.offline.is_some(),
        pinned.map_or_else(|| trust.registry(None), Ok),
    ) {
        (false, Ok(pinned)) => Some(super::indices(common, pinned)?),
        _ => None,
    };
    let session = Session {
        common,
        options,
        folder: targets.folder.as_deref(),
        inquiry: Inquiry {
            trust: &trust,
            proofs: &Proofs::default(),
            registry: pinned,
            roots: &roots,
            policy: policy.as_ref(),
            indices: indices.as_ref(),
        },
    };
    let mut reports = Vec::new();
    if options.sarif
        && !targets
            .all
            .iter()
            .any(|target| matches!(kind(target), Kind::Lock))
    {
        return Err(Failure::new(
            Exit::Usage,
            "sarif-lock",
            "--sarif is for lock files.",
        ));
    }
    for target in &targets.all {
        match kind(target) {
            Kind::File => reports.push(session.file(target)?),
            Kind::Purl(text) => reports.extend(session.purl(text)?),
            Kind::Lock if targets.all.len() > 1 => {
                return Err(Failure::new(
                    Exit::Usage,
                    "lock-alone",
                    format!("{} is a lock file; verify it alone.", target.display()),
                ));
            }
            Kind::Lock => return session.lock(target),
        }
    }
    told(common, &reports)
}

/// What is to be verified, and the folder with saved evidence.
struct Targets {
    all: Vec<PathBuf>,
    folder: Option<PathBuf>,
}

impl Targets {
    fn of(options: &Verify) -> Result<Option<Self>, Failure> {
        let mut all = options.targets.clone();
        let mut folder = options.offline.clone().flatten();
        // `--offline DIR FILE` reads as it is meant.
        if options.offline.is_some()
            && folder.is_none()
            && let Some(at) = all.iter().position(|target| target.is_dir())
        {
            folder = Some(all.remove(at));
        }
        if let Some(folder) = &folder
            && !folder.is_dir()
        {
            return Err(Failure::new(
                Exit::Usage,
                "no-evidence",
                format!("{} is no folder with saved evidence.", folder.display()),
            )
            .remedy("Write --offline=DIR, with the DIR of an earlier --save DIR."));
        }
        if let Some(folder) = all.iter().find(|target| target.is_dir()) {
            return Err(Failure::new(
                Exit::Usage,
                "is-folder",
                format!("{} is a folder.", folder.display()),
            )
            .remedy("Name the files in it."));
        }
        Ok((!all.is_empty()).then_some(Self { all, folder }))
    }
}

enum Kind<'a> {
    File,
    Purl(&'a str),
    Lock,
}

fn kind(target: &Path) -> Kind<'_> {
    if let Some(text) = target.to_str().filter(|text| text.starts_with("pkg:")) {
        return Kind::Purl(text);
    }
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let lower = name.to_ascii_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| lower.ends_with(end));
    if ends(&[".txt", ".lock", ".toml", ".json", ".yaml", ".in"]) {
        Kind::Lock
    } else {
        Kind::File
    }
}

/// One command's work.
struct Session<'a> {
    common: &'a Common,
    options: &'a Verify,
    folder: Option<&'a Path>,
    inquiry: Inquiry<'a>,
}

impl Session<'_> {
    fn offline(&self) -> bool {
        self.options.offline.is_some()
    }

    /// The registry that is asked, where one may be.
    fn unless_offline(&self) -> Result<Option<Remote>, Failure> {
        match self.offline() {
            true => Ok(None),
            false => self.remote(None).map(Some),
        }
    }

    /// Where evidence about `what` comes from: the registry, or the folder that `--offline` names.
    fn source<'r>(&'r self, remote: Option<&'r Remote>, what: &str) -> Result<Source<'r>, Failure> {
        match (remote, self.folder) {
            (Some(remote), _) => Ok(Source::Registry(remote)),
            (None, Some(folder)) => Ok(Source::Folder(folder)),
            (None, None) => Err(Failure::new(
                Exit::Usage,
                "offline",
                format!("--offline forbids to ask for {what}."),
            )
            .remedy("Write --offline=DIR, with the DIR of an earlier --save DIR.")),
        }
    }

    /// The registry that is asked.
    fn remote(&self, origin: Option<&str>) -> Result<Remote, Failure> {
        let trust = self.inquiry.trust;
        let pinned = match origin.and_then(|origin| trust.by_origin(origin)) {
            Some(pinned) => pinned,
            None => trust.registry(self.common.registry.as_ref())?,
        };
        remote(self.common, &pinned.url)
    }

    fn file(&self, path: &Path) -> Result<Report, Failure> {
        let file = verify::measure(path)?;
        let proof = self.proof(path, &file)?;
        let wanted = file.wanted(self.options.purl.as_deref());
        let bytes = file.bytes();
        let asked = path.display().to_string();
        // First the log alone: of what it does not hold nothing else is asked.
        let logged = match verify::logged(
            &bytes,
            wanted.clone(),
            &proof,
            self.inquiry.trust,
            self.inquiry.proofs,
        ) {
            Ok((logged, _)) => logged,
            Err(failure) if failure.exit == Exit::Verification => {
                return self.inquiry.file(&asked, &bytes, wanted, &proof, None);
            }
            Err(failure) => return Err(failure),
        };
        let evidence = self.evidence(path, &logged.purl, &logged.origin, &file.sha256)?;
        if let (Some(folder), Some(evidence)) = (&self.options.save, &evidence) {
            evidence.save(folder, &proof)?;
        }
        self.inquiry
            .file(&asked, &bytes, wanted, &proof, evidence.as_ref())
    }

    fn evidence(
        &self,
        path: &Path,
        purl: &str,
        origin: &str,
        sha256: &Sha256,
    ) -> Result<Option<FileEvidence>, Failure> {
        let found = match (self.offline(), self.folder) {
            (true, Some(folder)) => Source::Folder(folder).files(purl)?,
            (true, None) => {
                let beside = path.parent().filter(|folder| *folder != Path::new(""));
                Source::Folder(beside.unwrap_or(Path::new("."))).files(purl)?
            }
            (false, _) => {
                let remote = self.remote(Some(origin))?;
                let mut found = Source::Registry(&remote).files(purl)?;
                if found.is_empty() {
                    // It is in the log, and not handed out any more.
                    let filename = purl::parse(purl).ok().and_then(|named| named.filename);
                    let filename = filename.unwrap_or_default();
                    found.push(FileEvidence::bare(purl, &filename, *sha256));
                }
                found
            }
        };
        Ok(found.into_iter().find(|evidence| evidence.purl == purl))
    }

    fn proof(&self, path: &Path, file: &Measured) -> Result<Vec<u8>, Failure> {
        match &self.options.proof {
            Some(source) if source.starts_with("http://") || source.starts_with("https://") => {
                return fetched(self.common, source, self.offline());
            }
            Some(path) => return verify::proof_file(Path::new(path)),
            None => {}
        }
        if let Some(folder) = self.folder
            && let Some(proof) = Source::Folder(folder).proof(&file.filename, &file.sha256)?
        {
            return Ok(proof);
        }
        match verify::proof_beside(path)? {
            Some(proof) => Ok(proof),
            None if self.offline() => Err(Failure::new(
                Exit::Usage,
                "no-proof",
                format!(
                    "There is no {}.tlog-proof, and --offline forbids to fetch it.",
                    path.display()
                ),
            )
            .remedy("Give it with --proof FILE; a registry serves it beside each file, with .tlog-proof at the end of the address.")),
            None => verify::fetch_proof(file, &self.remote(None)?),
        }
    }

    /// The files that an identifier names; each is fetched and measured.
    fn purl(&self, text: &str) -> Result<Vec<Report>, Failure> {
        let named = purl::parse(text)
            .map_err(|refused| Failure::new(Exit::Usage, refused.code, refused.to_string()))?;
        let wanted = match (&named.version, &named.filename) {
            (Some(version), Some(filename)) => {
                purl::file_purl(named.ecosystem, &named.name_key, version, filename)
            }
            (Some(version), None) => purl::release_purl(named.ecosystem, &named.name_key, version),
            (None, _) => {
                return Err(Failure::new(
                    Exit::Usage,
                    "no-version",
                    format!("{text} names no version."),
                )
                .remedy(format!("Write {text}@VERSION.")));
            }
        };
        let remote = self.unless_offline()?;
        let source = self.source(remote.as_ref(), text)?;
        let files = source.files(&wanted)?;
        if files.is_empty() {
            return Err(Failure::unverified(
                "unknown-file",
                format!("Nothing is known of {wanted}."),
            )
            .remedy(
                "Is it spelled as the registry has it? What was removed is not handed out either.",
            ));
        }
        let each = files.iter().map(|evidence| self.named(&source, evidence));
        each.collect()
    }

    fn named(&self, source: &Source<'_>, evidence: &FileEvidence) -> Result<Report, Failure> {
        let Some(proof) = source.proof(&evidence.filename, &evidence.sha256)? else {
            let mut report = Report::new(&evidence.filename);
            report.checks.push(Row::failed(
                "log",
                "no-proof",
                "there is no proof that the log holds it",
            ));
            return Ok(report);
        };
        let (sha256, sha512, size) = match source {
            Source::Registry(remote) => {
                let (digests, size) = self.download(remote, evidence)?;
                (digests.sha256, digests.sha512_hex(), Some(size))
            }
            Source::Folder(folder) => {
                let path = folder.join(&evidence.filename);
                match path.is_file() {
                    true => {
                        let measured = verify::measure(&path)?;
                        (measured.sha256, measured.sha512, Some(measured.size))
                    }
                    false => (evidence.sha256, None, None),
                }
            }
        };
        if let Some(folder) = &self.options.save {
            evidence.save(folder, &proof)?;
        }
        let bytes = Bytes {
            filename: &evidence.filename,
            sha256: &sha256,
            sha512: sha512.as_deref(),
            size,
        };
        self.inquiry.file(
            &evidence.filename,
            &bytes,
            Ok(&evidence.purl),
            &proof,
            Some(evidence),
        )
    }

    /// Fetches a file to measure it; keeps it only with `--save`, and there under another name until it is whole.
    fn download(
        &self,
        remote: &Remote,
        evidence: &FileEvidence,
    ) -> Result<(Digests, u64), Failure> {
        let unwritable = |path: &Path, error: std::io::Error| {
            Failure::new(
                Exit::Environment,
                "write",
                format!("{} can not be written: {error}.", path.display()),
            )
        };
        let kept = self.options.save.as_ref().map(|folder| {
            let path = folder.join(&evidence.filename);
            (folder.join(format!("{}.part", evidence.filename)), path)
        });
        let mut file = match (&self.options.save, &kept) {
            (Some(folder), Some((part, _))) => {
                std::fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))?;
                Some(std::fs::File::create(part).map_err(|error| unwritable(part, error))?)
            }
            _ => None,
        };
        let mut hasher = Hasher::new(true);
        let path = verify::file_path(&evidence.sha256, &evidence.filename);
        let there = remote.download(&path, MOST_FILE, &mut |piece| {
            hasher.update(piece);
            match (&mut file, &kept) {
                (Some(file), Some((part, _))) => file
                    .write_all(piece)
                    .map_err(|error| unwritable(part, error)),
                _ => Ok(()),
            }
        })?;
        if !there {
            return Err(Failure::new(
                Exit::Unreachable,
                "not-there",
                format!("{}{path} is not there.", remote.site()),
            ));
        }
        if let Some((part, path)) = &kept {
            std::fs::rename(part, path).map_err(|error| unwritable(path, error))?;
        }
        Ok(hasher.finish())
    }

    fn lock(&self, path: &Path) -> Result<(), Failure> {
        let lock = inquire::lock_file(path)?;
        let remote = self.unless_offline()?;
        let source = self.source(remote.as_ref(), "the files of a lock file")?;
        let entries = looked_at(self.common, &self.inquiry, &source, &lock)?;
        if let Some(folder) = &self.options.save {
            save_all(&source, &entries, folder)?;
        }
        if self.options.sarif {
            let text = bundle::read(path, countersign_formats::lock::MAX_LOCK)?;
            let text = String::from_utf8_lossy(&text);
            let shown = path.display().to_string();
            line(&sarif::document(&shown, &text, lock.kind, &entries).to_string());
        } else {
            table(self.common, path, &lock, &entries);
        }
        ended(path, &entries)
    }
}

/// Saves the evidence of the files that were looked at.
fn save_all(source: &Source<'_>, entries: &[EntryReport], folder: &Path) -> Result<(), Failure> {
    let files = entries.iter().flat_map(|entry| &entry.files);
    for purl in files.filter_map(|file| file.purl.as_deref()) {
        for evidence in source.files(purl)? {
            if let Some(proof) = source.proof(&evidence.filename, &evidence.sha256)? {
                evidence.save(folder, &proof)?;
            }
        }
    }
    Ok(())
}

/// Looks at all entries, with a bar for people.
pub fn looked_at(
    common: &Common,
    inquiry: &Inquiry<'_>,
    source: &Source<'_>,
    lock: &LockFile,
) -> Result<Vec<EntryReport>, Failure> {
    let bar = ProgressBar::new(lock.entries.len() as u64);
    if common.json || !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.set_style(
        ProgressStyle::with_template("{bar:32} {pos}/{len} entries  {eta} left")
            .expect("a fixed template parses"),
    );
    let entries = inquiry.lock(source, lock, &|done| bar.set_position(done));
    bar.finish_and_clear();
    entries
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Confirmed => "✓",
        Verdict::Failed => "✗",
        Verdict::NotChecked => "–",
    }
}

/// The entries as a table, or as JSON.
pub fn table(common: &Common, path: &Path, lock: &LockFile, entries: &[EntryReport]) {
    if common.json {
        let holds = entries.iter().all(|entry| entry.verdict != Verdict::Failed);
        let all = json!({
            "lockfile": path.display().to_string(), "kind": lock.kind.as_str(), "holds": holds, "entries": entries,
        });
        line(&all.to_string());
        return;
    }
    let name = |entry: &EntryReport| match &entry.version {
        Some(version) => format!("{} {version}", entry.project),
        None => entry.project.clone(),
    };
    let width = entries
        .iter()
        .map(|entry| name(entry).chars().count())
        .max();
    let width = width.unwrap_or(0).min(48);
    for entry in entries {
        let unknown = match entry.verdict {
            Verdict::NotChecked => "not checked: ",
            _ => "",
        };
        line(&format!(
            "{} {:<width$}  {unknown}{}",
            mark(entry.verdict),
            name(entry),
            entry.reason
        ));
        for text in entry.differences() {
            line(&format!("      {text}"));
        }
    }
    let count = |verdict| {
        let same = entries.iter().filter(|entry| entry.verdict == verdict);
        same.count()
    };
    line(&format!(
        "{} entries: {} hold, {} fail, {} not checked. Bytes were not fetched: the installer holds them against the hashes.",
        entries.len(),
        count(Verdict::Confirmed),
        count(Verdict::Failed),
        count(Verdict::NotChecked)
    ));
}

/// How a command about a lock file ends.
pub fn ended(path: &Path, entries: &[EntryReport]) -> Result<(), Failure> {
    let failed: Vec<&EntryReport> = entries
        .iter()
        .filter(|entry| entry.verdict == Verdict::Failed)
        .collect();
    let Some(first) = failed.first() else {
        return Ok(());
    };
    let code = first.code().unwrap_or("unverified").to_owned();
    Err(Failure::new(
        Exit::Verification,
        code,
        format!(
            "{} of {} entries of {} do not hold, the first: {}: {}",
            failed.len(),
            entries.len(),
            path.display(),
            first.project,
            first.reason
        ),
    ))
}

/// Tells of all checks, and ends with the first that failed.
fn told(common: &Common, reports: &[Report]) -> Result<(), Failure> {
    if common.json {
        let each: Vec<Value> = reports
            .iter()
            .map(|report| {
                let mut value = json!(report);
                value["holds"] = json!(report.holds());
                if report.holds() {
                    // What the log alone says has stood here since before there was more.
                    value["verified"] = json!(report.log);
                }
                value
            })
            .collect();
        match each.as_slice() {
            [only] => line(&only.to_string()),
            all => line(&json!({"files": all}).to_string()),
        }
    } else {
        reports.iter().for_each(show);
    }
    match reports.iter().find_map(Report::failure) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

fn show(report: &Report) {
    let verdict = match report.holds() {
        true => Verdict::Confirmed,
        false => Verdict::Failed,
    };
    line(&format!("{} {}", mark(verdict), report.asked));
    for row in &report.checks {
        let unknown = match row.verdict {
            Verdict::NotChecked => "not checked: ",
            _ => "",
        };
        line(&format!(
            "    {} {:<12} {unknown}{}",
            mark(row.verdict),
            row.check,
            row.reason
        ));
        for text in row.lines() {
            line(&format!("          {text}"));
        }
        if let Some(remedy) = row
            .remedy
            .as_ref()
            .filter(|_| row.verdict != Verdict::Failed)
        {
            line(&format!("          {remedy}"));
        }
    }
    if report.holds() && report.checks.iter().any(|row| row.check == "statement") {
        line(
            "    Provenance says where and by what a file was built. It is no judgement of the code.",
        );
    }
}

/// Checks again what a proxy refused. Ends well where the same fault is found again.
fn again(common: &Common, path: &Path) -> Result<(), Failure> {
    let evidence = Evidence::read(path)?;
    let trust = TrustFile::load(&trust_path(common)?)?;
    let finding = evidence.check();
    // Under whose keys: a file that brings its own registry along proves something to nobody who does not pin that one.
    let yours = trust.by_origin(&evidence.registry.origin);
    let pinned = match yours {
        Some(yours) if *yours == evidence.registry => "the registry as you pinned it",
        Some(_) => "keys that are NOT those you pinned for this registry",
        None => "a registry that you have not pinned",
    };
    if common.json {
        line(
            &json!({
                "evidence": path.display().to_string(), "asked": evidence.asked, "code": evidence.code,
                "reason": evidence.reason, "finding": finding, "keys": pinned, "root": evidence.root(),
            })
            .to_string(),
        );
    } else {
        line(&format!(
            "{} refused: {}",
            plain(&evidence.asked),
            plain(&evidence.reason)
        ));
        let (verdict, said) = match &finding {
            Finding::Confirmed { code, reason } => (
                Verdict::Confirmed,
                format!("found again ({code}): {reason}"),
            ),
            Finding::Different { reason } => {
                (Verdict::Failed, format!("not found again: {reason}"))
            }
            Finding::NotChecked { reason } => (Verdict::NotChecked, reason.clone()),
        };
        line(&format!("{} {}", mark(verdict), plain(&said)));
        if let Some(root) = evidence.root() {
            line(&format!("    under {pinned}; TUF root sha256:{root}"));
        }
    }
    match finding {
        Finding::Confirmed { .. } | Finding::NotChecked { .. } => Ok(()),
        Finding::Different { reason } => Err(Failure::unverified(
            "evidence-different",
            format!(
                "{} does not show what it says: {}",
                path.display(),
                plain(&reason)
            ),
        )),
    }
}

/// Evidence that is given as files: of any registry, without a log of ours.
fn foreign(
    common: &Common,
    options: &Verify,
    policy: Option<&PolicyFile>,
    roots: &TrustRoot,
) -> Result<(), Failure> {
    let (pieces, one_subject) = match (&options.bundle, &options.provenance) {
        (Some(path), _) => (evidence::bundles(path)?, false),
        (None, Some(path)) => (evidence::provenance(path)?, true),
        (None, None) => (Vec::new(), false),
    };
    if pieces.is_empty() {
        return Err(Failure::unverified(
            "no-attestations",
            "There is no attestation in it.",
        ));
    }
    let (asked, subject, filename) = match (options.targets.as_slice(), &options.digest) {
        ([file], _) => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let subject = bundle::subject_of(file)?;
            (file.display().to_string(), subject, Some(name.into_owned()))
        }
        ([], Some(digest)) => (digest.clone(), super::bundle::subject(digest)?, None),
        ([], None) => {
            return Err(Failure::new(
                Exit::Usage,
                "no-digest",
                "There is neither a file nor --digest to hold the bundle against.",
            ));
        }
        _ => {
            return Err(Failure::new(
                Exit::Usage,
                "one-file",
                "A bundle or provenance object is held against one file.",
            ));
        }
    };
    let (purl, named) = named(options.purl.as_deref())?;
    // A bundle may stand beside a file of any name; a provenance object is about a distribution's file name.
    let filename = match &options.provenance {
        Some(_) => named.or(filename),
        None => named,
    };
    let keys = keys(options, &pieces)?;
    let mut report = Report::new(asked);
    report.sha256 = sha256(&subject);
    report.purl.clone_from(&purl);
    report.checks.push(Row::not_checked(
        "log",
        "the evidence is from files; no registry's log was asked whether it holds this file",
    ));
    let about = About {
        purl: purl.as_deref(),
        filename: filename.as_deref(),
        digests: subject.digests.clone(),
    };
    let examiner = Examiner {
        roots,
        keys: &keys,
        registry: None::<&Pinned>,
        policy,
        one_subject,
    };
    examiner.examine(&about, &pieces, None, &mut report);
    told(common, &[report])
}

fn sha256(subject: &Subject<'_>) -> Option<String> {
    let mut digests = subject.digests.iter();
    digests
        .find(|(algorithm, _)| algorithm == "sha256")
        .map(|(_, hex)| hex.clone())
}

/// The identifier that is meant, and the file's name in it. Of other ecosystems than ours it is taken as it is.
fn named(purl: Option<&str>) -> Result<(Option<String>, Option<String>), Failure> {
    let Some(text) = purl else {
        return Ok((None, None));
    };
    if text.starts_with("pkg:npm/") {
        return Ok((Some(text.to_owned()), None));
    }
    let named = purl::parse(text)
        .map_err(|refused| Failure::new(Exit::Usage, refused.code, refused.to_string()))?;
    let purl = match (&named.version, &named.filename) {
        (Some(version), Some(filename)) => {
            purl::file_purl(named.ecosystem, &named.name_key, version, filename)
        }
        (Some(version), None) => purl::release_purl(named.ecosystem, &named.name_key, version),
        (None, _) => purl::project_purl(named.ecosystem, &named.name_key),
    };
    Ok((Some(purl), named.filename))
}

/// The keys of `--keys`; a single one counts under the name that the evidence has for it.
fn keys(options: &Verify, pieces: &[Piece]) -> Result<TrustedKeys, Failure> {
    let by_key = pieces.iter().filter_map(|piece| piece.bundle.as_ref().ok());
    let mut by_key = by_key.filter(|bundle| matches!(bundle.signer(), Signer::Key(_)));
    match by_key.next() {
        Some(bundle) => bundle::keys(options.keys.as_deref(), bundle),
        None => Ok(TrustedKeys::default()),
    }
}

/// A proof from any address: it needs no trust, since it is held against pinned keys.
fn fetched(common: &Common, source: &str, offline: bool) -> Result<Vec<u8>, Failure> {
    if offline {
        return Err(Failure::new(
            Exit::Usage,
            "offline",
            format!("--offline forbids to fetch {source}."),
        )
        .remedy("Give a file with --proof FILE."));
    }
    let wrong = |error: url::ParseError| {
        Failure::new(
            Exit::Usage,
            "proof-url",
            format!("{source} is not a URL: {error}."),
        )
    };
    let url = Url::parse(source).map_err(wrong)?;
    let base = url.join("/").map_err(wrong)?;
    // The user's token is for the pinned registry and goes nowhere else.
    Remote::new(&base, None, authorities(common)?.as_deref())?
        .get(url.path(), countersign_trust::proof::MAX_PROOF_BYTES)
}
