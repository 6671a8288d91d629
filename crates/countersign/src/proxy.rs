//! A registry on this machine that unmodified pip, uv, npm, pnpm, yarn and cargo use, and that passes on only what it
//! verified: the index document by TUF, its completeness by the log, each file by its digest, attestations by the user's
//! policy. What does not hold is refused with a reason, and written down as evidence.
//!
//! [`session`] keeps up with TUF, [`page`] (pure) makes a page of a signed index, [`cache`] has the bytes, [`evidence`]
//! what anyone can check again, [`service`] speaks HTTP. [`upstream`] is the way to the registry. [`known`] looks up in advisories what passes.

pub mod cache;
pub mod evidence;
pub mod known;
pub mod page;
pub mod service;
pub mod session;
pub mod upstream;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign_formats::{Ecosystem, NameKey, purl};
use countersign_trust::digest::Sha256;
use countersign_trust::proof::MAX_PROOF_BYTES;
use countersign_trust::sigstore::{PolicyFile, TrustRoot};
use reqwest::header::HeaderValue;

use self::cache::Cache;
use self::evidence::{Evidence, Seen, Step};
use self::known::Known;
use self::page::{Entry, Page, Proved, Rules};
use self::session::{Repository, Session, Trouble, target_path};
use self::upstream::{Pieces, Upstream};
use crate::evidence::Source;
use crate::failure::{Exit, Failure, Result};
use crate::inquire::Inquiry;
use crate::remote::Remote;
use crate::trusted::{Pinned, Seen as SeenCheckpoint, TrustFile, write_whole};
use crate::tuf::Folder;
use crate::verify::{self, Bytes, Proofs, file_path};

/// The longest text about a project's leaves that is fetched, in bytes.
const MOST_LEAVES: u64 = countersign_trust::completeness::MAX_COMPLETENESS_BYTES as u64;
/// For how long the log is not asked again about an index that has not changed.
const LEAVES_GOOD: Duration = Duration::from_secs(600);
/// How long a contradiction between index and log may be one of two beats of the registry's heart.
const SECOND_LOOK: Duration = Duration::from_millis(1500);
/// What may be one of these.
const SECOND_LOOKS: [&str; 6] = [
    "not-in-log",
    "release-hidden",
    "index-differs",
    "completeness",
    "completeness-stale",
    "log-rollback",
];
/// The most pages that are kept in memory.
const MOST_PAGES: usize = 4096;
/// The largest file that is passed on, in bytes.
const MOST_FILE: u64 = 16 << 30;

/// What the user asks of what is passed on.
pub struct Demands {
    /// For how long what TUF says is taken as it is.
    pub fresh: Duration,
    /// The youngest that a file may be.
    pub min_age: Option<Duration>,
    /// Take what was kept although its time is over.
    pub allow_expired: bool,
    /// Hold each index against all that the log has of the project. Without it each file is held against the log alone,
    /// and releases can be hidden.
    pub completeness: bool,
    /// Who may have signed.
    pub policy: Option<PolicyFile>,
    /// The Sigstore instances that are believed.
    pub roots: TrustRoot,
    /// What is known to be bad about what passes.
    pub known: Option<Known>,
}

/// Where this user's proxy keeps things.
pub struct Folders {
    /// What must not be led back, for each registry.
    pub state: PathBuf,
    /// Verified bytes.
    pub cache: PathBuf,
    /// Evidence of what was refused.
    pub evidence: PathBuf,
}

impl Folders {
    /// The user's own.
    ///
    /// # Errors
    /// Exit 1 without a home directory.
    pub fn of_user() -> Result<Self> {
        let state = crate::trusted::folder("XDG_STATE_HOME", ".local/state")?;
        let cache = crate::trusted::folder("XDG_CACHE_HOME", ".cache")?;
        Ok(Self {
            evidence: state.join("evidence"),
            state: state.join("tuf"),
            cache: cache.join("verified"),
        })
    }

    /// The state of one registry.
    #[must_use]
    pub fn of_registry(&self, pinned: &Pinned) -> PathBuf {
        let name = Sha256::of(pinned.origin.as_bytes()).to_hex();
        self.state.join(&name[..32])
    }
}

/// Seconds since 1970 UTC.
pub type Clock = Box<dyn Fn() -> i64 + Send + Sync>;
/// Hears what the user should know.
pub type Say = Box<dyn Fn(&str) + Send + Sync>;

/// The proxy of one registry.
pub struct Proxy {
    pinned: Pinned,
    trust: TrustFile,
    proofs: Proofs,
    upstream: Upstream,
    remote: RemoteOf,
    demands: Demands,
    folders: Folders,
    state: PathBuf,
    cache: Cache,
    clock: Clock,
    say: Say,
    sessions: [tokio::sync::Mutex<HashMap<String, Session>>; 3],
    pages: Mutex<HashMap<(Ecosystem, String, String), Arc<Kept>>>,
    judged: Mutex<HashMap<String, Option<(String, String)>>>,
}

/// The registry for what is asked of it by other means than the proxy's.
type RemoteOf = Box<dyn Fn() -> Result<Remote> + Send + Sync>;

struct Kept {
    page: Arc<Served>,
    digest: String,
    checked: Instant,
}

/// A page with what evidence needs.
pub struct Served {
    /// The page.
    pub page: Page,
    /// Its entity tag.
    pub etag: String,
    /// The project's key.
    pub key: String,
    ecosystem: Ecosystem,
    document: Vec<u8>,
    seen: Seen,
    /// The namespace, where its owners sign the index.
    owners: Option<String>,
}

/// Why something is not passed on.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub failure: Failure,
    /// Where the evidence is.
    pub evidence: Option<PathBuf>,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            evidence: None,
        }
    }
}

/// Bytes of a file.
pub enum Bytestream {
    /// All of them, verified.
    Whole(Vec<u8>),
    /// To be verified while they are passed on.
    Cached(std::fs::File, u64),
    /// To be verified while they are passed on.
    Fetched(Pieces, Option<u64>),
}

fn number(ecosystem: Ecosystem) -> usize {
    match ecosystem {
        Ecosystem::Pypi => 0,
        Ecosystem::Npm => 1,
        Ecosystem::Cargo => 2,
    }
}

impl Proxy {
    /// A proxy of a pinned registry.
    ///
    /// # Errors
    /// Exit 2 for a registry without a pinned TUF root.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        pinned: Pinned,
        trust: TrustFile,
        upstream: Upstream,
        remote: RemoteOf,
        demands: Demands,
        folders: Folders,
        cache_bytes: u64,
        clock: Clock,
        say: Say,
    ) -> Result<Self> {
        if pinned.tuf.is_none() {
            return Err(Failure::new(
                Exit::Usage,
                "no-tuf-root",
                format!("No TUF root is pinned for {}.", pinned.url),
            )
            .remedy(format!(
                "Pin it again: countersign trust add {}",
                pinned.url
            )));
        }
        Ok(Self {
            cache: Cache::new(&folders.cache, cache_bytes),
            state: folders.of_registry(&pinned),
            pinned,
            trust,
            proofs: Proofs::default(),
            upstream,
            remote,
            demands,
            folders,
            clock,
            say,
            sessions: Default::default(),
            pages: Mutex::default(),
            judged: Mutex::default(),
        })
    }

    /// The registry.
    pub fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    fn repository(&self, login: Option<&HeaderValue>) -> Result<Repository<'_>> {
        let tuf =
            self.pinned.tuf.as_ref().ok_or_else(|| {
                Failure::new(Exit::Usage, "no-tuf-root", "No TUF root is pinned.")
            })?;
        Ok(Repository {
            upstream: &self.upstream,
            tuf,
            state: self.state.clone(),
            allow_expired: self.demands.allow_expired,
            now: (self.clock)(),
            login: login.cloned(),
        })
    }

    /// Writes evidence where there is any, and tells.
    pub fn refuse(&self, asked: &str, trouble: Trouble) -> Refused {
        let Trouble { failure, seen } = trouble;
        let mut evidence = None;
        // What can not be fetched, was asked for wrongly, or is refused by this user's own rules, proves nothing.
        if failure.exit == Exit::Verification && seen.is_some() {
            match Evidence::new(asked, &failure, &self.pinned, seen.map(|seen| *seen))
                .save(&self.folders.evidence)
            {
                Ok(path) => evidence = Some(path),
                Err(error) => (self.say)(&format!("No evidence can be written: {error}")),
            }
        }
        let at = evidence.as_ref().map_or_else(String::new, |path| {
            format!(" (evidence: {})", path.display())
        });
        (self.say)(&format!("refused {asked}: {}{at}", failure.message));
        Refused { failure, evidence }
    }

    /// The page of a project. `base` is the proxy's own address.
    ///
    /// # Errors
    /// What does not hold, is not there, or can not be fetched.
    pub async fn page(
        &self,
        ecosystem: Ecosystem,
        key: &str,
        base: &str,
        login: Option<&HeaderValue>,
    ) -> std::result::Result<Arc<Served>, Trouble> {
        let private = self.private(ecosystem, key)?;
        let first = self.page_once(ecosystem, key, base, login, false).await;
        match first {
            Err(trouble) if SECOND_LOOKS.contains(&&*trouble.failure.code) => {
                // Index and log move in beats; what stands between two of them is not held against anybody.
                tokio::time::sleep(SECOND_LOOK).await;
                self.page_once(ecosystem, key, base, login, true).await
            }
            Err(mut trouble) if private && trouble.failure.code == "unknown-project" => {
                trouble.failure.message.push_str(
                    " The policy has this name come from this registry alone, so it is looked for nowhere else.",
                );
                Err(trouble)
            }
            outcome => outcome,
        }
    }

    /// Does the policy have a project come from one registry alone? Where that is another one, this one is not even asked: it
    /// would learn the name, and could offer something under it.
    fn private(&self, ecosystem: Ecosystem, key: &str) -> std::result::Result<bool, Trouble> {
        let purl = purl::project_purl(ecosystem, &NameKey::from_stored(key));
        let private = self.demands.policy.as_ref();
        let Some(private) = private.and_then(|policy| policy.private(&purl)) else {
            return Ok(false);
        };
        if private.origin == self.pinned.origin {
            return Ok(true);
        }
        Err(Failure::new(
            Exit::Verification,
            "private-name",
            format!(
                "The policy has {purl} come from {} alone, and this is a proxy of {}.",
                private.origin, self.pinned.origin
            ),
        )
        .remedy("Point the client to a proxy of that registry for these names.")
        .into())
    }

    async fn page_once(
        &self,
        ecosystem: Ecosystem,
        key: &str,
        base: &str,
        login: Option<&HeaderValue>,
        anew: bool,
    ) -> std::result::Result<Arc<Served>, Trouble> {
        let whose = whose(login);
        let repository = self.repository(login)?;
        let path = target_path(ecosystem, key);
        let place = (ecosystem, key.to_owned(), whose.clone());
        let (document, seen, offline, owners) = {
            let mut sessions = self.sessions[number(ecosystem)].lock().await;
            let old = sessions
                .get(&whose)
                .is_none_or(|session| session.begun.elapsed() >= self.demands.fresh);
            let mut begun = false;
            if old || anew {
                sessions.insert(whose.clone(), self.begin(&repository, ecosystem).await?);
                begun = true;
            }
            let at_hand = |target: &countersign_trust::tuf::TargetFile| {
                self.cache.read(&whose, target.hashes.get("sha256")?)
            };
            let missing = || Failure::new(Exit::Usage, "no-session", "There is no session.");
            let session = sessions.get_mut(&whose).ok_or_else(missing)?;
            // The same index as a moment ago: nothing is read or made anew.
            if !anew
                && let Some(target) = session.look(&repository, &path).await?
                && let Some(kept) = self.kept(&place, session.offline.is_some())
                && target.hashes.get("sha256") == Some(&kept.digest)
            {
                return Ok(kept.page.clone());
            }
            let mut found = session.document(&repository, &path, Some(&at_hand)).await?;
            if found.is_none() && !begun && session.begun.elapsed() > Duration::from_secs(1) {
                // It may be newer than what is known.
                *session = self.begin(&repository, ecosystem).await?;
                found = session.document(&repository, &path, Some(&at_hand)).await?;
            }
            let Some(document) = found else {
                return Err(Failure::unverified(
                    "unknown-project",
                    format!(
                        "{} signs no index of {ecosystem}:{key}.",
                        self.upstream.site()
                    ),
                )
                .into());
            };
            let step = Step::Refresh;
            let seen = Seen::new(repository.now, session.trusted(), step);
            let owners = session.namespace_of(&path);
            (document, seen, session.offline.is_some(), owners)
        };
        let digest = Sha256::of(&document).to_hex();
        self.cache.put(&whose, &digest, &document);
        let proved = match self.demands.completeness {
            true => Some(
                self.proved(
                    ecosystem,
                    key,
                    &document,
                    &seen,
                    offline,
                    login,
                    owners.as_deref(),
                )
                .await?,
            ),
            false => None,
        };
        let rules = Rules {
            base,
            min_age: self
                .demands
                .min_age
                .and_then(|age| i64::try_from(age.as_micros()).ok()),
            now: repository.now.saturating_mul(1_000_000),
            owners: owners.as_deref(),
        };
        let page = page::page(ecosystem, key, &document, proved.as_ref(), &rules)?;
        for left_out in &page.left_out {
            (self.say)(&format!("left out {}: {}", left_out.filename, left_out.why));
        }
        if let Some(waiting) = &page.waiting {
            (self.say)(&format!("{ecosystem}:{key}: {waiting}"));
        }
        let served = Arc::new(Served {
            etag: format!("\"{}\"", Sha256::of(&page.body)),
            page,
            key: key.to_owned(),
            ecosystem,
            document,
            seen,
            owners,
        });
        let mut pages = lock(&self.pages);
        if pages.len() >= MOST_PAGES {
            pages.clear();
        }
        let kept = Kept {
            page: served.clone(),
            digest,
            checked: Instant::now(),
        };
        pages.insert(place, Arc::new(kept));
        Ok(served)
    }

    /// A page that was made a moment ago, as long as its answers are good.
    fn kept(&self, place: &(Ecosystem, String, String), offline: bool) -> Option<Arc<Kept>> {
        let kept = lock(&self.pages).get(place).cloned()?;
        let since = kept.checked.elapsed();
        // What was too new grows older.
        let aged = !kept.page.page.left_out.is_empty() && since >= Duration::from_secs(60);
        // The index of a namespace does not change when the log says something new.
        let good = match kept.page.owners {
            Some(_) => self.demands.fresh,
            None => LEAVES_GOOD,
        };
        ((offline || since < good) && !aged).then_some(kept)
    }

    async fn begin(
        &self,
        repository: &Repository<'_>,
        ecosystem: Ecosystem,
    ) -> std::result::Result<Session, Trouble> {
        let session = repository.begin(ecosystem).await?;
        if let Some(why) = &session.offline {
            let expired = match session.expired {
                true => {
                    " THE TIME OF WHAT WAS KEPT IS OVER: it may be old and withdrawn (--allow-expired)."
                }
                false => "",
            };
            (self.say)(&format!("offline, from what was kept: {why}{expired}"));
        }
        Ok(session)
    }

    /// What the log has of a project, held against its index.
    #[allow(clippy::too_many_arguments)]
    async fn proved(
        &self,
        ecosystem: Ecosystem,
        key: &str,
        document: &[u8],
        seen: &Seen,
        offline: bool,
        login: Option<&HeaderValue>,
        owners: Option<&str>,
    ) -> std::result::Result<Proved, Trouble> {
        let name = Sha256::of(purl::project_purl(ecosystem, &NameKey::from_stored(key)).as_bytes());
        let kept = self.state.join("leaves").join(name.to_hex());
        let text = if offline {
            std::fs::read(&kept).map_err(|error| {
                Failure::new(
                    Exit::Unreachable,
                    "offline",
                    format!("What the log has of {ecosystem}:{key} was not kept: {error}."),
                )
            })?
        } else {
            let path = format!(
                "/api/v1/log/completeness/{ecosystem}/{}",
                key.replace('/', "%2F")
            );
            let text = self.upstream.get(&path, MOST_LEAVES, login).await?;
            text.ok_or_else(|| {
                Failure::unverified(
                    "completeness-withheld",
                    format!(
                        "{} does not say what its log has of {ecosystem}:{key}.",
                        self.upstream.site()
                    ),
                )
                .remedy("If this registry has no map yet: --without-completeness")
            })?
        };
        let held = page::complete(
            ecosystem,
            key,
            document,
            &text,
            &self.pinned,
            seen.now,
            owners,
        );
        let proved = held.map_err(|failure| Trouble {
            failure,
            seen: Some(Box::new(
                seen.with(Step::completeness(ecosystem, key, document, &text)),
            )),
        })?;
        if !offline {
            self.not_led_back(&text, &proved)?;
            // Without it there is less to go on when nobody answers, and nothing wrong now.
            if let Err(error) = write_whole(&kept, &text) {
                (self.say)(&error.to_string());
            }
        }
        Ok(proved)
    }

    /// The log never gets shorter than this user has seen it.
    fn not_led_back(&self, text: &[u8], proved: &Proved) -> Result<()> {
        let seen = SeenCheckpoint::within(&self.folders.state, &self.pinned.origin);
        let last = seen.last(&self.pinned)?;
        let before = last.as_ref().map_or(0, |last| last.size());
        if proved.log_size < before {
            return Err(Failure::unverified(
                "log-rollback",
                format!(
                    "The log is shown with {} entries, and was seen with {before}.",
                    proved.log_size
                ),
            ));
        }
        if proved.log_size > before
            && let Ok(given) = countersign_trust::completeness::Completeness::parse(text)
        {
            // Several at once take turns: a smaller one never takes a larger one's place.
            let _turn = Folder::new(&self.state).lock()?;
            let newest = seen.last(&self.pinned)?;
            if newest.is_none_or(|newest| newest.size() < proved.log_size) {
                seen.remember(given.checkpoint.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Who may have signed, as the user's policy says. Asked once for each file.
    async fn judge(self: &Arc<Self>, entry: &Entry, offline: bool) -> Result<()> {
        if self.demands.policy.is_none() && self.demands.completeness {
            return Ok(());
        }
        let known = lock(&self.judged).get(&entry.sha256).cloned();
        let judged = match known {
            Some(judged) => judged,
            None if offline => {
                return Err(Failure::new(
                    Exit::Unreachable,
                    "offline",
                    format!("The attestations of {} were not kept.", entry.filename),
                ));
            }
            None => {
                let (proxy, entry) = (self.clone(), entry.clone());
                let sha256 = entry.sha256.clone();
                let judged = tokio::task::spawn_blocking(move || proxy.judged_now(&entry))
                    .await
                    .map_err(|error| {
                        Failure::new(Exit::Environment, "panicked", error.to_string())
                    })??;
                lock(&self.judged).insert(sha256, judged.clone());
                judged
            }
        };
        match judged {
            None => Ok(()),
            Some((code, why)) => Err(Failure::new(Exit::Verification, code, why)),
        }
    }

    fn judged_now(&self, entry: &Entry) -> Result<Option<(String, String)>> {
        let remote = (self.remote)()?;
        let inquiry = Inquiry {
            trust: &self.trust,
            proofs: &self.proofs,
            registry: Some(&self.pinned),
            roots: &self.demands.roots,
            policy: self.demands.policy.as_ref(),
            // The page that lists it came by TUF already.
            indices: None,
        };
        let source = Source::Registry(&remote);
        let sha256 = entry.sha256.parse().map_err(|_| {
            Failure::unverified("document-invalid", "The index has a digest that is none.")
        })?;
        let Some(proof) = source.proof(&entry.filename, &sha256)? else {
            return Ok(Some((
                "no-proof".to_owned(),
                format!("There is no proof that the log holds {}.", entry.filename),
            )));
        };
        debug_assert!(proof.len() <= MAX_PROOF_BYTES);
        let bytes = Bytes {
            filename: &entry.filename,
            sha256: &sha256,
            sha512: None,
            size: None,
        };
        if self.demands.policy.is_none() {
            let logged = verify::logged(&bytes, Ok(&entry.purl), &proof, &self.trust, &self.proofs);
            return match logged {
                Ok(_) => Ok(None),
                Err(failure) if failure.exit == Exit::Verification => {
                    Ok(Some((failure.code.into_owned(), failure.message)))
                }
                Err(failure) => Err(failure),
            };
        }
        let known = source.files(&entry.purl)?;
        let evidence = known.iter().find(|evidence| evidence.purl == entry.purl);
        let report = inquiry.file(&entry.filename, &bytes, Ok(&entry.purl), &proof, evidence)?;
        Ok(report
            .failure()
            .map(|failure| (failure.code.into_owned(), failure.message)))
    }

    /// Begins to hand out a file that a page lists, or its metadata.
    ///
    /// # Errors
    /// What does not hold, is not there, or can not be fetched.
    pub async fn file(
        self: &Arc<Self>,
        served: &Served,
        entry: &Entry,
        metadata: bool,
        login: Option<&HeaderValue>,
    ) -> std::result::Result<Bytestream, Trouble> {
        let whose = whose(login);
        let (sha256, size) = match (metadata, &entry.metadata) {
            (false, _) => (entry.sha256.as_str(), entry.size),
            (true, Some(digest)) => (digest.as_str(), None),
            (true, None) => {
                return Err(Failure::unverified(
                    "unknown-project",
                    format!("The index signs no metadata of {}.", entry.filename),
                )
                .into());
            }
        };
        if !metadata {
            let offline = self.offline(served.ecosystem, &whose).await;
            self.judge(entry, offline).await?;
        }
        if let Some(file) = self.cache.open(&whose, sha256) {
            let length = file.metadata().map(|about| about.len()).unwrap_or_default();
            if length <= SMALL {
                if let Some(bytes) = self.cache.read(&whose, sha256) {
                    return Ok(Bytestream::Whole(bytes));
                }
            } else if size.is_none_or(|size| size == length) {
                return Ok(Bytestream::Cached(file, length));
            } else {
                self.cache.drop(&whose, sha256);
            }
        }
        let digest = entry.sha256.parse().map_err(|_| {
            Failure::unverified("document-invalid", "The index has a digest that is none.")
        })?;
        let mut path = file_path(&digest, &entry.filename);
        if metadata {
            path.push_str(".metadata");
        }
        let Some(mut pieces) = self.upstream.begin(&path, login).await? else {
            return Err(Failure::new(
                Exit::Unreachable,
                "file-missing",
                format!(
                    "{} lists {} and does not hand it out.",
                    self.upstream.site(),
                    entry.filename
                ),
            )
            .into());
        };
        if size.is_none_or(|size| size > SMALL) && !metadata {
            return Ok(Bytestream::Fetched(pieces, size));
        }
        let most = size.unwrap_or(SMALL);
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await? {
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > most {
                break;
            }
        }
        let came = Sha256::of(&bytes).to_hex();
        if came != sha256 {
            return Err(self.wrong(served, entry, &came, (!metadata).then_some(&bytes)));
        }
        self.cache.put(&whose, sha256, &bytes);
        Ok(Bytestream::Whole(bytes))
    }

    async fn offline(&self, ecosystem: Ecosystem, whose: &str) -> bool {
        let sessions = self.sessions[number(ecosystem)].lock().await;
        sessions
            .get(whose)
            .is_some_and(|session| session.offline.is_some())
    }

    /// Other bytes than the signed ones came.
    pub fn wrong(
        &self,
        served: &Served,
        entry: &Entry,
        came: &str,
        bytes: Option<&Vec<u8>>,
    ) -> Trouble {
        let step = Step::file(
            served.ecosystem,
            &served.key,
            &served.document,
            &entry.filename,
            came,
            bytes.map(Vec::as_slice),
        );
        Trouble {
            failure: page::other_bytes(entry, came),
            seen: Some(Box::new(served.seen.with(step))),
        }
    }

    /// What advisories say about a release whose file is to be passed on, one line a flaw. Each is told once.
    ///
    /// # Errors
    /// What the user refuses.
    pub async fn warnings(
        &self,
        ecosystem: Ecosystem,
        key: &str,
        version: &str,
    ) -> Result<Vec<String>> {
        let Some(known) = &self.demands.known else {
            return Ok(Vec::new());
        };
        let warning = known.look(ecosystem, key, version).await?;
        for line in &warning.lines {
            if known.is_new(line) {
                (self.say)(&format!("warning: {line}"));
            }
        }
        Ok(warning.lines)
    }

    /// How many flaws were told so far.
    pub fn warned(&self) -> usize {
        self.demands.known.as_ref().map_or(0, Known::told)
    }

    /// Where verified bytes go.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Tells the user.
    pub fn say(&self, what: &str) {
        (self.say)(what);
    }
}

/// Files up to this length are verified before the first byte of them goes out.
pub const SMALL: u64 = 4 << 20;

/// What is fetched with a login is for this login only.
pub fn whose(login: Option<&HeaderValue>) -> String {
    match login {
        None => "all".to_owned(),
        Some(login) => Sha256::of(login.as_bytes()).to_hex()[..16].to_owned(),
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is in there is put in whole.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
