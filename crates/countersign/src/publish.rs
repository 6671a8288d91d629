//! Publishing files: an identity is exchanged for a token that lives for minutes, the files are sent, the token is
//! given back. The order is fixed: everything is read and held against the rules of the format before anything is
//! asked of the network, and the token is revoked whatever happened after it was minted.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_formats::{Ecosystem, Manifest, format, npm};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use reqwest::Method;
use reqwest::blocking::Body;
use reqwest::blocking::multipart::{Form, Part};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::actions::{Runner, cell};
use crate::attested::{self, Attached};
use crate::ci::{Ci, IdToken, Source, TOKEN_VARIABLE, Variables};
use crate::failure::{Exit, Failure, Result, plain};
use crate::form;
use crate::login;
use crate::remote::Remote;
use crate::trusted::TrustFile;
use crate::verify::{self, Measured, Verified};

/// What stands beside distributions in a folder and is none itself.
const COMPANIONS: [&str; 5] = [
    ".tlog-proof",
    ".asc",
    attested::SUFFIX,
    attested::BUNDLES[0],
    attested::BUNDLES[1],
];
/// The longest token of a registry, in bytes.
const LONGEST_TOKEN: usize = 4096;
/// A token with less life than this is exchanged again before the next file, where that is possible.
const SHORT_LIFE: i64 = 180;
/// Files above this size have a progress bar, in bytes.
const LARGE: u64 = 1 << 20;

/// A file that is fit to be sent.
pub struct Prepared {
    path: PathBuf,
    measured: Measured,
    manifest: Manifest,
    purl: String,
    attestations: Vec<Attached>,
}

impl Prepared {
    /// Its project's name, normalised.
    pub fn project(&self) -> &str {
        self.manifest.name_key.as_str()
    }

    /// The ecosystem that it is a package of.
    pub fn ecosystem(&self) -> Ecosystem {
        self.manifest.ecosystem
    }

    /// What would be sent, for people: identifier, digest, size and the metadata's first lines.
    pub fn described(&self) -> Value {
        json!({
            "file": self.path.display().to_string(),
            "purl": self.purl,
            "sha256": self.measured.sha256.to_hex(),
            "size": self.measured.size,
            "name": self.manifest.name,
            "version": self.manifest.version,
            "filetype": self.manifest.filetype,
            "requires_python": self.manifest.requires_python,
            "summary": self.manifest.summary,
            "ecosystem": self.ecosystem().as_str(),
            // Others are sent as they are: the archive alone is believed.
            "fields": (self.ecosystem() == Ecosystem::Pypi)
                .then(|| form::fields(&self.manifest, "").len()),
            "attestations": self.attestations.iter().map(|one| json!({
                "file": one.path.display().to_string(),
                "predicate_type": plain(&one.predicate_type),
            })).collect::<Vec<_>>(),
            "warnings": self.manifest.warnings,
        })
    }
}

/// Reads all files and looks whether they can be published; with `attested`, also the attestations that stand beside
/// them. The second list names what was left aside: proofs and signatures among the files.
///
/// # Errors
/// Exit 2, naming every file that is no distribution, and why, and every attestation that is none of its file.
pub fn prepare(paths: &[PathBuf], attested: bool) -> Result<(Vec<Prepared>, Vec<PathBuf>)> {
    let (mut ready, mut aside, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    let mut names = BTreeSet::new();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy());
        let name = name.as_deref().unwrap_or_default();
        if COMPANIONS.iter().any(|end| name.ends_with(end)) {
            aside.push(path.clone());
        } else if path.is_dir() {
            wrong.push(format!(
                "{} is a directory: name the files in it, such as {}/*",
                path.display(),
                path.display().to_string().trim_end_matches('/')
            ));
        } else {
            match prepared(path, attested) {
                Ok(file) if names.insert(file.purl.clone()) => ready.push(file),
                Ok(file) => wrong.push(format!("{} stands twice", file.measured.filename)),
                Err(why) => wrong.push(why),
            }
        }
    }
    // A job's identity is exchanged for one ecosystem's token.
    if let [first, rest @ ..] = &ready[..]
        && let Some(other) = rest
            .iter()
            .find(|file| file.ecosystem() != first.ecosystem())
    {
        wrong.push(format!(
            "{} and {} are of two ecosystems: publish each with a command of its own",
            first.measured.filename, other.measured.filename
        ));
    }
    if wrong.is_empty() && ready.is_empty() {
        wrong.push("No distribution is among the files".to_owned());
    }
    if wrong.is_empty() {
        let sent = |path: &PathBuf| {
            ready.iter().any(|file| {
                let mut attached = file.attestations.iter();
                attached.any(|one| one.path.file_name() == path.file_name())
            })
        };
        aside.retain(|path| !sent(path));
        return Ok((ready, aside));
    }
    Err(Failure::new(
        Exit::Usage,
        "files-unfit",
        format!("Nothing was sent. {}.", wrong.join(".\n  ")),
    )
    .remedy("Name wheels, sdists, crates or npm's tarballs as they were built, and nothing else."))
}

fn prepared(path: &Path, attested: bool) -> std::result::Result<Prepared, String> {
    let (measured, manifest) = verify::inspect(path)
        .map_err(|failure| failure.message.trim_end_matches('.').to_owned())?;
    let unfit = |why: &str| {
        format!(
            "{} can not be published: {}",
            path.display(),
            why.trim_end_matches('.')
        )
    };
    let manifest = manifest.map_err(|rejection| unfit(&rejection.to_string()))?;
    let purl = measured.claims.clone().map_err(|why| unfit(&why))?;
    let attestations = if attested {
        attested::beside(path, &measured, manifest.ecosystem)?
    } else {
        Vec::new()
    };
    Ok(Prepared {
        path: path.to_owned(),
        measured,
        manifest,
        purl,
        attestations,
    })
}

/// In whose name files are sent.
pub enum Credential {
    /// The job's, exchanged for a token that lives for minutes.
    Identity {
        /// Where the job gets its token.
        source: Source,
        /// For whom the token must be.
        audience: String,
        /// What it is exchanged to publish.
        ecosystem: Ecosystem,
    },
    /// A token that somebody stored.
    Stored(login::Credential),
}

/// Which of the two is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The job's identity and nothing else.
    Identity,
    /// The stored token and nothing else.
    Token,
    /// The identity where the job has one, else the stored token.
    Either,
}

/// What decides in whose name files are sent.
pub struct Claimant<'a> {
    /// What is to be published.
    pub ecosystem: Ecosystem,
    /// The CI system around, with the variable that shows it.
    pub ci: Option<(Ci, &'static str)>,
    /// A file with a token of any CI system.
    pub id_token_file: Option<&'a Path>,
    /// A stored token.
    pub stored: Option<login::Credential>,
    /// Which is wanted.
    pub wanted: Wanted,
    /// The environment.
    pub variables: Variables<'a>,
}

impl Claimant<'_> {
    /// Decides. A job that has an identity uses it; a stored token stands in only where the job gets none, or the
    /// registry takes none, and `say` hears why. Once an exchange is refused, nothing stands in for it.
    ///
    /// # Errors
    /// Exit 2 where neither is there, or the one that is wanted is not; those of asking the registry.
    pub fn credential(&self, remote: &Remote, say: &dyn Fn(&str)) -> Result<Credential> {
        let hinted = self.ci.is_some()
            || self.id_token_file.is_some()
            || (self.variables)(TOKEN_VARIABLE).is_some();
        if self.wanted == Wanted::Token || (self.wanted == Wanted::Either && !hinted) {
            let stored = self.stored.clone().ok_or_else(|| {
                Failure::new(Exit::Usage, "no-credential", "There is nothing to publish with: this is no CI job with an identity, nobody is logged in, and COUNTERSIGN_TOKEN is not set.")
                    .remedy(format!("In CI, let the job have an identity (GitHub: `permissions: id-token: write`; GitLab: `id_tokens`), or hand its token over with --id-token-file or {TOKEN_VARIABLE}. Elsewhere: countersign login --registry {}, or set COUNTERSIGN_TOKEN to a token with the publish action.", remote.site()))
            })?;
            say(&format!("Publishing with {}.", stored.from));
            return Ok(Credential::Stored(stored));
        }
        let identity = audience(remote, self.ecosystem, say).and_then(|audience| {
            let source = Source::find(
                self.id_token_file,
                self.ci.map(|(ci, _)| ci),
                &audience,
                self.variables,
            )?;
            let source = source.ok_or_else(|| {
                Failure::new(Exit::Usage, "no-identity", "This is no CI job that is known here, so it has no identity.")
                    .remedy(format!("Hand the token of your CI system over with --id-token-file or {TOKEN_VARIABLE}; its audience must be {audience}."))
            })?;
            Ok(Credential::Identity {
                source,
                audience,
                ecosystem: self.ecosystem,
            })
        });
        match (identity, &self.stored) {
            (Ok(identity), stored) => {
                if stored
                    .as_ref()
                    .is_some_and(|stored| stored.from == login::Whence::Variable)
                {
                    say(
                        "COUNTERSIGN_TOKEN is set and not used: this job has an identity. It could be deleted.",
                    );
                }
                Ok(identity)
            }
            // Out of reach is out of reach for the token too, and a retry must not change in whose name it is.
            (Err(failure), Some(stored))
                if self.wanted == Wanted::Either && failure.exit != Exit::Unreachable =>
            {
                let instead = match &stored.from {
                    login::Whence::Variable => login::VARIABLE.to_owned(),
                    login::Whence::Login { user } => format!("The login as {user}"),
                };
                say(&format!("{} {instead} is used instead.", failure.message));
                Ok(Credential::Stored(stored.clone()))
            }
            (Err(failure), _) => Err(failure),
        }
    }
}

/// Asks the registry for whom a token must be.
///
/// # Errors
/// Exit 4 where it takes no identities, exit 5.
pub fn audience(remote: &Remote, ecosystem: Ecosystem, say: &dyn Fn(&str)) -> Result<String> {
    let path = match ecosystem {
        // As every registry with this exchange has it.
        Ecosystem::Pypi => "/_/oidc/audience".to_owned(),
        other => format!("/_/oidc/audience?ecosystem={other}"),
    };
    let answer = remote
        .call_again(Method::GET, &path, || Ok(None), say)
        .map_err(|failure| {
            if failure.exit != Exit::Refused {
                return failure;
            }
            Failure::new(
                Exit::Refused,
                "trusted-publishing-off",
                format!(
                    "{} offers no trusted publishing. {}",
                    remote.site(),
                    failure.message
                ),
            )
            .remedy("Is this the registry's address? If it is, ask its operator to enable it, or publish with COUNTERSIGN_TOKEN.")
        })?;
    answer["audience"]
        .as_str()
        .filter(|audience| {
            !audience.is_empty() && audience.len() <= 255 && !audience.contains(char::is_control)
        })
        .map(str::to_owned)
        .ok_or_else(|| {
            Failure::new(
                Exit::Unreachable,
                "answer-malformed",
                format!("{} names no audience for tokens.", remote.site()),
            )
        })
}

/// A token of the registry's own that an identity was exchanged for. A secret, so it has no `Debug`.
struct Minted {
    token: String,
    /// Seconds since 1970, where the registry says it.
    expires: Option<i64>,
    warnings: Vec<String>,
}

fn exchange(
    plan: &Plan<'_>,
    source: &Source,
    audience: &str,
    ecosystem: Ecosystem,
) -> Result<Minted> {
    let first = source.token(audience, plan.ca, plan.variables, plan.say)?;
    (plan.say)(&format!(
        "Exchanging the identity from {source} ({}) with {}.",
        first.issuer(),
        plan.remote.site()
    ));
    let mut next = Some(first);
    let token = || -> Result<Option<Value>> {
        // A repetition takes a fresh token where there is one: the first may have been used up before its answer was lost.
        let token = match next.take() {
            Some(token) => token,
            None => source.token(audience, plan.ca, plan.variables, plan.say)?,
        };
        Ok(Some(match ecosystem {
            Ecosystem::Pypi => json!({"token": token.secret()}),
            other => json!({"token": token.secret(), "ecosystem": other.as_str()}),
        }))
    };
    let answer = plan
        .remote
        .call_again(Method::POST, "/_/oidc/mint-token", token, plan.say)?;
    let token = answer["token"]
        .as_str()
        .filter(|token| {
            !token.is_empty()
                && token.len() <= LONGEST_TOKEN
                && token.bytes().all(|byte| byte.is_ascii_graphic())
        })
        .ok_or_else(|| {
            Failure::new(
                Exit::Unreachable,
                "answer-malformed",
                format!("{} gives no token for the identity.", plan.remote.site()),
            )
        })?
        .to_owned();
    // Before anything else: from here on the runner hides it, whoever prints it.
    if let Some(runner) = plan.runner {
        runner.mask(&token);
    }
    Ok(Minted {
        token,
        expires: answer["expires"].as_i64(),
        warnings: texts(&answer["warnings"]),
    })
}

fn texts(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .take(100)
        .filter_map(Value::as_str)
        .map(plain)
        .collect()
}

/// How files are to be published.
pub struct Plan<'a> {
    /// The registry, addressed without a token.
    pub remote: &'a Remote,
    /// PEM certificates of authorities to believe besides those of this machine.
    pub ca: Option<&'a [u8]>,
    /// What is pinned.
    pub trust: &'a TrustFile,
    /// Whether a file name that is taken already is passed over.
    pub skip_existing: bool,
    /// The tag that shall point to versions of npm's packages, where it is another one than `latest`.
    pub tag: Option<&'a str>,
    /// The runner, where it reads workflow commands.
    pub runner: Option<&'a Runner>,
    /// The environment.
    pub variables: Variables<'a>,
    /// Where the minted token is while it is good.
    pub held: &'a Held,
    /// Whether a progress bar may be shown.
    pub progress: bool,
    /// Hears what happens, line by line.
    pub say: &'a dyn Fn(&str),
}

/// A file that is in the log.
#[derive(Debug, Serialize)]
pub struct Published {
    /// Where it was on this machine.
    pub file: String,
    /// Its identifier.
    pub purl: String,
    /// SHA-256, in hex.
    pub sha256: String,
    /// Its length in bytes.
    pub size: u64,
    /// Index of its leaf in the log.
    pub leaf: u64,
    /// Where the proof is.
    pub proof_url: String,
    /// Whether the very same bytes had been published before.
    pub repeated: bool,
    /// What the proof says under the pinned keys; `None` where no key is pinned for this registry.
    pub verified: Option<Verified>,
    /// The predicate types of the attestations that were sent with it.
    pub attestations: Vec<String>,
    /// What the registry wants its owners to know.
    pub warnings: Vec<String>,
}

/// What came of it. Files are published one by one, so both lists can have members when a failure is there too.
#[derive(Default)]
pub struct Outcome {
    /// In the log now.
    pub published: Vec<Published>,
    /// Passed over, since other bytes have that name.
    pub skipped: Vec<String>,
    /// Why it ended early.
    pub failure: Option<Failure>,
}

/// What the registry answers to an upload.
#[derive(Deserialize)]
struct Receipt {
    purl: String,
    sha256: String,
    leaf: u64,
    proof: Option<String>,
    proof_url: String,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    repeated: bool,
}

/// The minted token while it is good: whoever takes it out gives it back to the registry, which happens once.
#[derive(Clone, Default)]
pub struct Held(Arc<Mutex<Option<Remote>>>);

impl Held {
    /// Gives the token back, if there is one. That it could not be is worth a line, no more: it dies by itself within
    /// minutes.
    pub fn give_back(&self, say: &dyn Fn(&str)) {
        let held = self.slot().take();
        let Some(remote) = held else { return };
        match remote.call(Method::DELETE, "/api/v1/token", None) {
            Ok(_) => say("The token was given back."),
            Err(failure) => say(&format!(
                "Warning: the token could not be given back, and is good until it expires, within minutes. {}",
                failure.message
            )),
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Remote>> {
        // Nobody panics between taking and putting, so what is in there is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A registry addressed with a token that may publish.
struct Session {
    remote: Remote,
    /// When the token ends, in seconds since 1970, where the registry says it.
    expires: Option<i64>,
}

impl Session {
    fn open(credential: &Credential, plan: &Plan<'_>) -> Result<Self> {
        match credential {
            Credential::Stored(stored) => Ok(Self {
                remote: plan.remote.with_token(Some(stored.token.clone()))?,
                expires: None,
            }),
            Credential::Identity {
                source,
                audience,
                ecosystem,
            } => {
                let minted = exchange(plan, source, audience, *ecosystem)?;
                let remote = plan.remote.with_token(Some(minted.token))?;
                *plan.held.slot() = Some(remote.clone());
                for warning in &minted.warnings {
                    (plan.say)(&format!("Warning: {warning}"));
                }
                Ok(Self {
                    remote,
                    expires: minted.expires,
                })
            }
        }
    }

    fn ends_soon(&self) -> bool {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(i64::MAX, |since| {
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
            });
        self.expires
            .is_some_and(|expires| expires.saturating_sub(now) < SHORT_LIFE)
    }
}

/// Publishes files, one after the other; the first that fails ends it. `done` hears of each that is in the log.
pub fn publish(
    files: &[Prepared],
    credential: &Credential,
    plan: &Plan<'_>,
    done: &dyn Fn(&Published),
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut session = match Session::open(credential, plan) {
        Ok(session) => session,
        Err(failure) => {
            outcome.failure = Some(failure);
            return outcome;
        }
    };
    for (index, file) in files.iter().enumerate() {
        let fresh = matches!(credential, Credential::Identity { source, .. } if source.gives_fresh_tokens());
        if index > 0 && fresh && session.ends_soon() {
            plan.held.give_back(plan.say);
            session = match Session::open(credential, plan) {
                Ok(session) => session,
                Err(failure) => {
                    outcome.failure = Some(failure);
                    return outcome;
                }
            };
        }
        match send(file, &session.remote, plan) {
            Ok(published) => {
                done(&published);
                outcome.published.push(published);
            }
            Err(failure) if plan.skip_existing && failure.code == "file-exists" => {
                (plan.say)(&format!(
                    "Passed over {}: other bytes have that name already. {}",
                    file.path.display(),
                    failure.message
                ));
                outcome.skipped.push(file.path.display().to_string());
            }
            Err(failure) => {
                outcome.failure = Some(failure);
                break;
            }
        }
    }
    plan.held.give_back(plan.say);
    outcome
}

fn send(file: &Prepared, remote: &Remote, plan: &Plan<'_>) -> Result<Published> {
    let sha256 = file.measured.sha256.to_hex();
    let bar = progress(file, plan.progress);
    let answer = match file.ecosystem() {
        Ecosystem::Pypi => send_form(file, remote, plan, &bar),
        Ecosystem::Cargo => send_crate(file, remote, plan, &bar),
        Ecosystem::Npm => send_tarball(file, remote, plan, &bar),
    };
    bar.finish_and_clear();
    let receipt: Receipt = serde_json::from_value(answer?).map_err(|error| {
        Failure::new(
            Exit::Unreachable,
            "answer-malformed",
            format!(
                "{} took {} and answers with no receipt: {error}.",
                plan.remote.site(),
                file.measured.filename
            ),
        )
        .remedy("Is this the address of a Countersign registry? Other registries give no proof; publish there with their own clients.")
    })?;
    if receipt.sha256 != sha256 || receipt.purl != file.purl {
        return Err(Failure::unverified(
            "receipt-differs",
            format!(
                "The receipt is for {} with SHA-256 {}, but {} with {sha256} was sent.",
                plain(&receipt.purl),
                plain(&receipt.sha256),
                file.purl
            ),
        )
        .remedy("Tell the operator of the registry: it says that it published something else."));
    }
    let verified = verified(file, receipt.proof.as_deref(), remote, plan)?;
    Ok(Published {
        file: file.path.display().to_string(),
        purl: file.purl.clone(),
        sha256,
        size: file.measured.size,
        leaf: receipt.leaf,
        proof_url: plain(&receipt.proof_url),
        repeated: receipt.repeated,
        verified,
        attestations: file
            .attestations
            .iter()
            .map(|one| plain(&one.predicate_type))
            .collect(),
        warnings: receipt.warnings.iter().map(|text| plain(text)).collect(),
    })
}

fn opened(file: &Prepared) -> Result<File> {
    File::open(&file.path).map_err(|error| {
        Failure::new(
            Exit::Usage,
            "file-unreadable",
            format!("{} can not be read: {error}.", file.path.display()),
        )
    })
}

/// Sends a distribution in the form of Python's upload API.
fn send_form(
    file: &Prepared,
    remote: &Remote,
    plan: &Plan<'_>,
    bar: &ProgressBar,
) -> Result<Value> {
    let mut fields = form::fields(&file.manifest, &file.measured.sha256.to_hex());
    if let Some(list) = attested::field(&file.attestations) {
        fields.push(("attestations".to_owned(), list));
    }
    let form = || {
        let bytes = opened(file)?;
        bar.set_position(0);
        let mut form = Form::new();
        for (name, value) in &fields {
            form = form.text(name.clone(), value.clone());
        }
        let part = Part::reader_with_length(bar.wrap_read(bytes), file.measured.size)
            .file_name(file.measured.filename.clone());
        // Names of distributions have no character that would need it, and registries read the name as it is.
        Ok(form.part("content", part).percent_encode_noop())
    };
    remote.upload("/pypi/legacy/", file.measured.size, form, plan.say)
}

/// Sends a crate in cargo's framing. What is said of it is its name and version alone, since the registry reads the rest
/// from the archive; its attestations follow it in the same body (`docs/spec/cargo.md`).
fn send_crate(
    file: &Prepared,
    remote: &Remote,
    plan: &Plan<'_>,
    bar: &ProgressBar,
) -> Result<Value> {
    let part = |bytes: &[u8]| -> Result<Vec<u8>> {
        let mut part = length(bytes.len() as u64, file)?.to_vec();
        part.extend_from_slice(bytes);
        Ok(part)
    };
    let said = json!({"name": file.manifest.name, "vers": file.manifest.version});
    let mut before = part(said.to_string().as_bytes())?;
    before.extend(length(file.measured.size, file)?);
    let after = match attested::field(&file.attestations) {
        Some(list) => part(list.as_bytes())?,
        None => Vec::new(),
    };
    let size = file.measured.size + (before.len() + after.len()) as u64;
    let body = || {
        let bytes = opened(file)?;
        bar.set_position(0);
        let whole = Cursor::new(before.clone())
            .chain(bar.wrap_read(bytes))
            .chain(Cursor::new(after.clone()));
        Ok(Body::sized(whole, size))
    };
    let path = "/cargo/api/v1/crates/new";
    let mut answer = remote.put(path, "application/octet-stream", size, body, plan.say)?;
    Ok(answer["_countersign"].take())
}

/// Sends a tarball as npm's clients do: JSON, with the tarball in base64 in it and the bundle beside it. What is said of
/// the version is the `package.json` of the tarball, word for word, which the registry holds against it anyway.
fn send_tarball(
    file: &Prepared,
    remote: &Remote,
    plan: &Plan<'_>,
    bar: &ProgressBar,
) -> Result<Value> {
    let (before, after) = tarball_request(file, plan.tag)?;
    let length = file.measured.size.div_ceil(3) * 4;
    let size = length + (before.len() + after.len()) as u64;
    let body = || {
        let bytes = opened(file)?;
        bar.set_position(0);
        let whole = Cursor::new(before.clone())
            .chain(Base64::of(bar.wrap_read(bytes)))
            .chain(Cursor::new(after.clone()));
        Ok(Body::sized(whole, size))
    };
    let path = format!("/npm/{}", file.manifest.name.replace('/', "%2f"));
    remote.put(&path, "application/json", size, body, plan.say)
}

/// What stands before and behind the tarball in the request that publishes it.
fn tarball_request(file: &Prepared, tag: Option<&str>) -> Result<(Vec<u8>, Vec<u8>)> {
    /// Stands for the tarball until the request is cut there.
    const HERE: &str = "\u{1}tarball\u{1}";
    let unfit = |why: String| {
        Failure::new(
            Exit::Usage,
            "files-unfit",
            format!("{} can not be published: {why}.", file.path.display()),
        )
    };
    let (name, version) = (&file.manifest.name, &file.manifest.version_canonical);
    let package: Value = serde_json::from_slice(&file.manifest.metadata_bytes)
        .map_err(|error| unfit(format!("its package.json is not JSON: {error}")))?;
    let Value::Object(mut package) = package else {
        return Err(unfit("its package.json is no object".to_owned()));
    };
    let sha512 = file
        .measured
        .sha512
        .as_deref()
        .and_then(|digest| hex::decode(digest).ok())
        .ok_or_else(|| unfit("its SHA-512 is not known".to_owned()))?;
    let integrity = format!("sha512-{}", STANDARD.encode(sha512));
    package.insert("version".to_owned(), version.as_str().into());
    package.insert("_id".to_owned(), format!("{name}@{version}").into());
    package.insert("dist".to_owned(), json!({ "integrity": integrity }));
    let attachment = |end: &str| format!("{name}-{version}{end}");
    let mut attachments = serde_json::Map::new();
    if let Some(bundle) = file.attestations.first() {
        let text = bundle.text();
        let kind: Value = serde_json::from_str(&text)
            .map(|bundle: Value| bundle["mediaType"].clone())
            .map_err(|error| unfit(format!("its bundle is not JSON: {error}")))?;
        let one = json!({"content_type": kind, "length": text.len(), "data": text});
        attachments.insert(attachment(".sigstore"), one);
    }
    let tarball = json!({
        "content_type": "application/octet-stream", "length": file.measured.size, "data": HERE,
    });
    attachments.insert(attachment(".tgz"), tarball);
    let request = json!({
        "_id": name,
        "name": name,
        "dist-tags": {tag.unwrap_or(LATEST): version},
        "versions": {version.as_str(): package},
        "_attachments": attachments,
    })
    .to_string();
    let mark = Value::from(HERE).to_string();
    let mark = mark.trim_matches('"');
    match request.rsplit_once(mark) {
        Some((before, after)) if !before.contains(mark) => {
            Ok((before.as_bytes().to_vec(), after.as_bytes().to_vec()))
        }
        _ => Err(unfit(
            "its package.json can not be sent as it is".to_owned(),
        )),
    }
}

/// The tag that npm's clients install where nobody asks for another one.
const LATEST: &str = "latest";

/// Which tag shall point to npm's versions; the others have none.
///
/// # Errors
/// Exit 2 for a prerelease that would become what everybody installs, and for a tag where there are none.
pub fn check_tag(files: &[Prepared], tag: Option<&str>) -> Result<()> {
    let of_npm = |file: &&Prepared| file.ecosystem() == Ecosystem::Npm;
    if let Some(tag) = tag {
        if !files.iter().any(|file| of_npm(&file)) {
            let why = "Only versions of npm's packages have tags.";
            return Err(Failure::new(Exit::Usage, "tag-unfit", why).remedy("Leave --tag away."));
        }
        return npm::tags::check(tag).map_err(|rejection| {
            Failure::new(Exit::Usage, "tag-unfit", rejection.message.clone())
                .remedy("Choose a word such as next or beta.")
        });
    }
    let early = files.iter().filter(of_npm).find(|file| {
        format(Ecosystem::Npm)
            .version(&file.manifest.version_canonical)
            .is_ok_and(|version| version.is_prerelease())
    });
    match early {
        None => Ok(()),
        Some(file) => Err(Failure::new(
            Exit::Usage,
            "tag-unfit",
            format!(
                "{} is a prerelease, and without --tag it would become {LATEST}.",
                file.purl
            ),
        )
        .remedy("Name the tag that shall point to it, such as --tag next.")),
    }
}

/// Turns what is read into base64.
struct Base64<R> {
    inner: R,
    /// Encoded and not handed out.
    ready: Vec<u8>,
    at: usize,
}

impl<R: std::io::Read> Base64<R> {
    fn of(inner: R) -> Self {
        Self {
            inner,
            ready: Vec::new(),
            at: 0,
        }
    }
}

impl<R: std::io::Read> std::io::Read for Base64<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.ready.len() {
            // A multiple of three, so that only the last piece is padded.
            let mut piece = Vec::with_capacity(48 << 10);
            (&mut self.inner).take(48 << 10).read_to_end(&mut piece)?;
            self.ready = STANDARD.encode(&piece).into_bytes();
            self.at = 0;
        }
        let count = out.len().min(self.ready.len() - self.at);
        out[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// A length as cargo's framing has it.
fn length(bytes: u64, file: &Prepared) -> Result<[u8; 4]> {
    u32::try_from(bytes).map(u32::to_le_bytes).map_err(|_| {
        Failure::new(
            Exit::Usage,
            "file-too-large",
            format!("{} is larger than a crate can be.", file.measured.filename),
        )
    })
}

/// Holds the proof against the pinned keys, where there are any for this registry.
fn verified(
    file: &Prepared,
    proof: Option<&str>,
    remote: &Remote,
    plan: &Plan<'_>,
) -> Result<Option<Verified>> {
    let Some(pinned) = plan.trust.at(plan.remote.site()) else {
        return Ok(None);
    };
    let proof = match proof {
        Some(proof) => proof.as_bytes().to_vec(),
        None => verify::fetch_proof(&file.measured, remote)?,
    };
    let held = verify::check(&file.measured, &proof, plan.trust, Some(&file.purl))?;
    if held.origin != pinned.origin {
        return Err(Failure::unverified(
            "other-log",
            format!(
                "The proof is from the log {}, not from {}.",
                held.origin, pinned.origin
            ),
        ));
    }
    Ok(Some(held))
}

fn progress(file: &Prepared, wanted: bool) -> ProgressBar {
    // Drawn on standard error, and by itself only where that is a terminal.
    let target = if wanted && file.measured.size >= LARGE {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(file.measured.size), target);
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {bar:32} {bytes}/{total_bytes}  {eta} left")
    {
        bar.set_style(style);
    }
    bar.set_message(file.measured.filename.clone());
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// What came of it as a page for the step's summary, in Markdown.
pub fn summary(site: &str, outcome: &Outcome) -> String {
    let mut page = format!("### Published to {}\n\n", cell(site));
    if !outcome.published.is_empty() {
        page.push_str("| File | SHA-256 | Log entry | Proof |\n|---|---|---|---|\n");
    }
    for published in &outcome.published {
        let proof = url::Url::parse(&published.proof_url)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"));
        page.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            cell(&published.purl),
            cell(&published.sha256),
            published.leaf,
            proof.map_or_else(
                || cell(&published.proof_url),
                |url| format!(
                    "[proof](<{url}>){}",
                    if published.verified.is_some() {
                        ", verified"
                    } else {
                        ""
                    }
                )
            ),
        ));
    }
    for skipped in &outcome.skipped {
        page.push_str(&format!("\nPassed over: {}\n", cell(skipped)));
    }
    if let Some(failure) = &outcome.failure {
        page.push_str(&format!("\n**Failed** ({})\n\n", cell(&failure.code)));
        for line in failure.to_string().lines() {
            page.push_str(&format!("- {}\n", cell(line.trim())));
        }
    }
    page.push('\n');
    page
}

/// What `--dry-run` found out.
#[derive(Serialize)]
pub struct Explained {
    /// The registry.
    pub registry: String,
    /// The CI system, and the variable that shows it.
    pub ci: Option<(Ci, &'static str)>,
    /// In whose name files would be sent.
    pub credential: String,
    /// For whom the token is, where there is an identity.
    pub audience: Option<String>,
    /// What the token claims, unverified; values that name a person are left out.
    pub claims: Vec<(String, String)>,
    /// What the registry says to that token, by project; only an owner or maintainer may ask.
    pub tests: Vec<(String, std::result::Result<Value, String>)>,
    /// The files.
    pub files: Vec<Value>,
}

/// Does everything but the exchange and the uploads, and says what would happen.
///
/// # Errors
/// As [`publish`], as far as it goes.
pub fn explain(
    files: &[Prepared],
    credential: &Credential,
    claimant: &Claimant<'_>,
    plan: &Plan<'_>,
) -> Result<Explained> {
    let mut explained = Explained {
        registry: plan.remote.site().to_owned(),
        ci: claimant.ci,
        credential: match credential {
            Credential::Stored(stored) => stored.from.to_string(),
            Credential::Identity { .. } => String::new(),
        },
        audience: None,
        claims: Vec::new(),
        tests: Vec::new(),
        files: files.iter().map(Prepared::described).collect(),
    };
    let Credential::Identity {
        source,
        audience,
        ecosystem,
    } = credential
    else {
        return Ok(explained);
    };
    let token = source.token(audience, plan.ca, plan.variables, plan.say)?;
    explained.credential = format!("the identity that {source} gives");
    explained.audience = Some(audience.clone());
    explained.claims = shown(&token);
    if let Some(stored) = &claimant.stored {
        let remote = plan.remote.with_token(Some(stored.token.clone()))?;
        let projects: BTreeSet<&str> = files.iter().map(Prepared::project).collect();
        for project in projects {
            let path = format!("/api/v1/projects/{ecosystem}/{project}/publishers/test");
            let body = json!({"token": token.secret()});
            let answer = remote
                .call(Method::POST, &path, Some(&body))
                .map_err(|failure| failure.to_string());
            explained.tests.push((project.to_owned(), answer));
        }
    }
    Ok(explained)
}

/// The claims for a job's log, which others may read: those that name a person are named only.
fn shown(token: &IdToken) -> Vec<(String, String)> {
    token
        .claims()
        .iter()
        .map(|(name, value)| {
            let personal = name.starts_with("user_") || name.starts_with("actor");
            let value = if personal { "(not shown)" } else { value };
            (name.clone(), value.to_owned())
        })
        .collect()
}
