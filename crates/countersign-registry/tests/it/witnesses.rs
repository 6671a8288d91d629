//! The log and its witnesses: nothing new is shown without them, and nothing is signed against what they have seen.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_registry::model::{Actor, WitnessHealth};
use countersign_registry::{
    Error, LogPolicy, NewLogService, Outside, OutsideAnswer, OutsideError, OutsideRequest, Patient,
    Registry, Seams, SystemRandom, WitnessAnswer, examine,
};
use countersign_testkit::packages::Package;
use countersign_trust::checkpoint::Checkpoint;
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::LeafKind;
use countersign_trust::note::{KeyName, SignerKey};
use countersign_trust::policy::Policy;
use countersign_trust::tlog::{self, Frontier};
use countersign_trust::witness::{AddCheckpoint, KnownLogs, Latest, SIZE_CONTENT_TYPE, Witness};
use futures::future::BoxFuture;

use crate::kit::{Database, TestRegistry};
use crate::log_service;
use crate::on_both_databases;

const ORIGIN: &str = "localhost:8417/log/1";

/// What a witness is like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Good,
    Down,
    Hanging,
    WrongSignature,
    /// It names another size than it has.
    WrongSize,
    /// It names more leaves than it has.
    Boasting,
    /// It sends again what it answered first.
    Replaying,
    /// Its answer has no end.
    Endless,
    /// It cosigns and stores, and the answer is lost.
    Forgetful,
}

/// A witness in this process. It decides as the real one does, and then behaves as it is told.
struct Seer {
    keys: Witness,
    known: Mutex<KnownLogs>,
    latest: Mutex<Option<Latest>>,
    first: Mutex<Option<String>>,
    mood: Mutex<Mood>,
    asked: AtomicUsize,
    /// Seconds by which its clock is wrong.
    skew: i64,
}

impl Seer {
    fn new(name: &str, seed: u8, skew: i64) -> Self {
        let name = KeyName::new(name).unwrap();
        Self {
            keys: Witness::generate(&name, [seed; 32], [seed + 100; 32]),
            known: Mutex::new(KnownLogs::new()),
            latest: Mutex::default(),
            first: Mutex::default(),
            mood: Mutex::new(Mood::Good),
            asked: AtomicUsize::new(0),
            skew,
        }
    }

    fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn meets(&self, keys: &[String]) {
        self.meets_log(ORIGIN, keys);
    }

    fn meets_log(&self, origin: &str, keys: &[String]) {
        let mut known = self.known.lock().unwrap();
        for key in keys {
            known.add(origin, key.parse().unwrap()).unwrap();
        }
    }

    fn size(&self) -> u64 {
        let latest = self.latest.lock().unwrap();
        latest.as_ref().map_or(0, Latest::size)
    }

    fn line(&self, name: &str) -> String {
        let key = &self.keys.verifiers()[0];
        format!("witness {name} {key} http://{name}.example\n")
    }

    fn cosign(&self, body: &str) -> (u16, String) {
        let refused =
            |refusal: countersign_trust::witness::Refusal| (refusal.status(), refusal.body());
        let request = match AddCheckpoint::parse(body.as_bytes()) {
            Ok(request) => request,
            Err(refusal) => return refused(refusal),
        };
        let known = self.known.lock().unwrap();
        let Some(log) = known.get(&request.checkpoint().origin) else {
            return (404, String::new());
        };
        let authentic = match request.authenticate(log) {
            Ok(authentic) => authentic,
            Err(refusal) => return refused(refusal),
        };
        let mut latest = self.latest.lock().unwrap();
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        match self.keys.cosign(
            &authentic,
            latest.as_ref(),
            now.saturating_add_signed(self.skew),
        ) {
            Err(refusal) => refused(refusal),
            Ok(cosigned) => {
                let (new, answer) = cosigned.persist(|_| Ok::<_, ()>(())).unwrap();
                *latest = Some(new);
                (200, answer)
            }
        }
    }

    fn answers(&self, body: Option<&str>) -> Option<Result<WitnessAnswer, OutsideError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let said = |status: u16, body: String| {
            let content_type = if status == 409 {
                SIZE_CONTENT_TYPE
            } else {
                "text/plain"
            };
            Some(Ok(WitnessAnswer {
                status,
                content_type: content_type.to_owned(),
                body: body.into_bytes(),
            }))
        };
        let mood = *self.mood.lock().unwrap();
        match (mood, body) {
            (Mood::Hanging, _) => return None,
            (Mood::Down, _) => {
                return Some(Err(OutsideError::Unreachable("it is down".to_owned())));
            }
            (Mood::Endless, _) => return Some(Err(OutsideError::TooLarge(65_536))),
            _ => {}
        }
        let Some(body) = body else {
            let latest = self.latest.lock().unwrap();
            return match &*latest {
                Some(latest) => said(200, latest.note().to_owned()),
                None => said(404, String::new()),
            };
        };
        match mood {
            Mood::WrongSize => said(409, "1\n".to_owned()),
            Mood::Boasting => said(409, "1000000\n".to_owned()),
            _ => {
                let (status, answer) = self.cosign(body);
                if status != 200 {
                    return said(status, answer);
                }
                let first = self
                    .first
                    .lock()
                    .unwrap()
                    .get_or_insert(answer.clone())
                    .clone();
                match mood {
                    Mood::Replaying => said(200, first),
                    Mood::WrongSignature => {
                        // Of a tree that nobody has.
                        let other = Checkpoint::new(ORIGIN, self.size(), Sha256::of(b"another"));
                        let name = self.keys.verifiers()[0].name().clone();
                        let key = SignerKey::from_seed(
                            name,
                            countersign_trust::note::Ed25519Role::Cosigner,
                            // The seed of `west`.
                            [1; 32],
                        );
                        let line = countersign_trust::cosignature::sign_ed25519(&key, &other, 9);
                        said(200, line.unwrap().to_string())
                    }
                    Mood::Forgetful => {
                        Some(Err(OutsideError::Unreachable("it broke off".to_owned())))
                    }
                    _ => said(200, answer),
                }
            }
        }
    }
}

/// The way to both.
struct Seers {
    west: Seer,
    east: Seer,
}

impl Seers {
    fn new() -> Arc<Self> {
        Self::with_clocks(0)
    }

    fn with_clocks(skew: i64) -> Arc<Self> {
        Arc::new(Self {
            west: Seer::new("w.example/1", 1, skew),
            east: Seer::new("e.example/1", 2, skew),
        })
    }

    /// A registry whose log both know.
    async fn registry(self: &Arc<Self>, database: Database, quorum: &str) -> TestRegistry {
        let text = format!(
            "{}{}group either any west east\nquorum {quorum}\n",
            self.west.line("west"),
            self.east.line("east")
        );
        let test = TestRegistry::with_outside(database, self.clone(), |settings| {
            settings.log_policy = Some(LogPolicy::parse(&text).unwrap());
            // Less than a beat waits for its witnesses: whoever were held up by one would be refused.
            settings.log_wait = Duration::from_secs(4);
        })
        .await;
        let keys = test.registry.site_keys().verifier_keys;
        self.west.meets(&keys);
        self.east.meets(&keys);
        until("the first checkpoint is cosigned", || async {
            test.registry.health().await.ok
        })
        .await;
        test
    }
}

impl Outside for Seers {
    fn get<'a>(
        &'a self,
        _: OutsideRequest<'a>,
    ) -> BoxFuture<'a, Result<OutsideAnswer, OutsideError>> {
        let nobody = OutsideError::Unreachable("there are witnesses only".to_owned());
        Box::pin(std::future::ready(Err(nobody)))
    }

    fn post<'a>(
        &'a self,
        request: OutsideRequest<'a>,
        _: &'a str,
    ) -> BoxFuture<'a, Result<OutsideAnswer, OutsideError>> {
        self.get(request)
    }

    fn witness<'a>(
        &'a self,
        request: OutsideRequest<'a>,
        body: Option<&'a str>,
    ) -> BoxFuture<'a, Result<WitnessAnswer, OutsideError>> {
        let seer = match request.url.starts_with("http://west.example/") {
            true => &self.west,
            false => &self.east,
        };
        Box::pin(async move {
            match seer.answers(body) {
                Some(answer) => answer,
                None => std::future::pending().await,
            }
        })
    }
}

fn wheel(name: &str) -> Package {
    crate::trusted::wheel(name, "1.0")
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    for _ in 0..400 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it never came about: {what}");
}

fn of<'a>(health: &'a [WitnessHealth], name: &str) -> &'a WitnessHealth {
    health.iter().find(|witness| witness.name == name).unwrap()
}

/// The policy that clients are told, and what is shown to them.
async fn shown(test: &TestRegistry) -> (Policy, Vec<u8>) {
    let policy = test.registry.site_keys().policy.unwrap();
    let note = test.registry.checkpoint(1).await.unwrap();
    (
        Policy::parse(policy.as_bytes()).unwrap(),
        note.bytes.to_vec(),
    )
}

/// What is shown has the quorum, of these witnesses at least.
async fn witnessed(test: &TestRegistry, by: &[&str]) -> u64 {
    let (policy, note) = shown(test).await;
    let open = policy.open(&note, ORIGIN).unwrap();
    let names = policy.witnesses_of(&open);
    assert!(by.iter().all(|name| names.contains(name)), "{names:?}");
    open.size()
}

fn fault(answer: Result<countersign_registry::model::Receipt, Error>) -> String {
    let error = answer.unwrap_err();
    assert_eq!(error.code, "log-stands-still", "{error}");
    error.message
}

on_both_databases! {
    async fn a_log_of_a_service_waits_for_its_witnesses_and_holds_up_nobody_else(database: Database) {
        let seers = Seers::new();
        let mut test = TestRegistry::with_outside(database, seers.clone(), |settings| {
            // Publishing waits for it too.
            settings.log_wait = Duration::from_secs(2);
            settings.most_unshown = 2;
        })
        .await;
        let policy = format!("{}quorum west\n", seers.west.line("west"));
        let new = NewLogService {
            policy: Some(policy),
            ..log_service::named("alpha")
        };
        let desk = log_service::desk(&test.registry, new).await;
        let log = test.registry.log_service_summary("alpha").await.unwrap();
        seers.west.meets_log(&log.origin, &log.verifier_keys);
        let policy = Policy::parse(log.policy.as_bytes()).unwrap();
        let witnessed = async |registry: &Registry| {
            let note = registry.log_service_checkpoint("alpha").await.unwrap();
            let open = policy.open(&note.bytes, &log.origin).unwrap();
            assert_eq!(open.size(), seers.west.size());
            open.size()
        };
        let shown = async |registry: &Registry, last: u64| registry.shown_entries(&desk, &[last], true).await;
        test.registry.append_entries(&desk, log_service::entries(0, 3)).await.unwrap();
        until("three are shown", async || shown(&test.registry, 2).await.is_ok()).await;
        assert_eq!(witnessed(&test.registry).await, 3);

        // Down, or cosigning without being heard: the entries keep their places, and nothing is shown.
        seers.west.becomes(Mood::Forgetful);
        let placed = test.registry.append_entries(&desk, log_service::entries(3, 2)).await.unwrap();
        assert_eq!(placed[1].index, 4);
        let error = shown(&test.registry, 4).await.unwrap_err();
        assert_eq!(error.code, "log-service-late");
        until("it is said why", async || {
            let log = test.registry.log_service_summary("alpha").await.unwrap();
            log.problem.is_some_and(|problem| problem.contains("west"))
        })
        .await;
        // What waits has a bound; what is taken already is not forgotten for it.
        let further = log_service::entries(5, 1);
        let error = test.registry.append_entries(&desk, further.clone()).await.unwrap_err();
        assert_eq!(error.code, "log-service-full");
        assert!(error.message.contains("2 entries wait for a checkpoint"), "{error}");
        let ada = test.user("ada").await;
        test.publish(&ada, &wheel("alpha")).await.unwrap();
        assert!(test.registry.health().await.ok);

        // The process dies; the next one finds what has places, and what the witness has seen is in it.
        test.stop_heartbeat().await;
        seers.west.becomes(Mood::Good);
        test.start_anew().await;
        until("the rest is shown", async || shown(&test.registry, 4).await.is_ok()).await;
        assert_eq!(witnessed(&test.registry).await, 5);
        assert_eq!(log_service::read(&test.registry, "alpha").await.len(), 5);
        let placed = test.registry.append_entries(&desk, further).await.unwrap();
        assert_eq!(placed[0].index, 5);
        until("the sixth is shown", async || shown(&test.registry, 5).await.is_ok()).await;

        // A log that rests is cosigned again, so that it is told from one that is held back; a witness that is away then is no trouble.
        let note = async || {
            let note = test.registry.log_service_checkpoint("alpha").await.unwrap();
            policy.open(&note.bytes, &log.origin).unwrap()
        };
        let own = |open: &countersign_trust::checkpoint::VerifiedCheckpoint| {
            let mut lines = open.signatures().iter();
            lines.find_map(|line| line.time.filter(|_| line.key.name().as_str() == log.origin))
        };
        let before = note().await;
        let asked = seers.west.asked.load(Ordering::SeqCst);
        seers.west.becomes(Mood::Down);
        test.turn_clock(Duration::from_secs(11 * 60));
        until("the witness was asked again", async || seers.west.asked.load(Ordering::SeqCst) > asked).await;
        let standing = test.registry.log_service_summary("alpha").await.unwrap();
        assert_eq!((standing.size, standing.numbered), (6, 6));
        seers.west.becomes(Mood::Good);
        test.turn_clock(Duration::from_secs(11 * 60));
        until("what is shown was signed anew", async || {
            let now = note().await;
            assert_eq!((now.size(), now.root()), (before.size(), before.root()));
            own(&now) > own(&before)
        })
        .await;
        assert_eq!(witnessed(&test.registry).await, 6);
    }

    async fn a_publish_waits_for_its_witness_and_its_repetition_gets_the_receipt(database: Database) {
        let seers = Seers::new();
        let test = seers.registry(database, "west").await;
        let ada = test.user("ada").await;
        test.publish(&ada, &wheel("alpha")).await.unwrap();
        let size = witnessed(&test, &["west"]).await;
        assert_eq!(seers.west.size(), size);

        seers.west.becomes(Mood::Down);
        let beta = wheel("beta");
        let message = fault(test.publish(&ada, &beta).await);
        assert!(message.contains("west: it can not be reached (it is down)"), "{message}");
        assert_eq!(witnessed(&test, &["west"]).await, size, "nothing new is shown");
        assert!(test.index("beta").await.is_err());
        let health = test.registry.health().await;
        assert!(!health.ok && of(&health.witnesses, "west").problem.is_some(), "{health:?}");

        seers.west.becomes(Mood::Good);
        until("the log goes on by itself", || async { test.registry.health().await.ok }).await;
        let receipt = test.publish(&ada, &beta).await.unwrap();
        test.check_receipt(&receipt, &beta);
        assert!(witnessed(&test, &["west"]).await > size);
    }

    async fn a_witness_that_cosigned_and_broke_off_is_asked_for_the_same_tree_again(database: Database) {
        let seers = Seers::new();
        let test = seers.registry(database, "west").await;
        let ada = test.user("ada").await;
        seers.west.becomes(Mood::Forgetful);
        let alpha = wheel("alpha");
        fault(test.publish(&ada, &alpha).await);
        let (size, latest) = (seers.west.size(), seers.west.latest.lock().unwrap().clone().unwrap());
        // What it stored is the tree that comes: its leaves are rows.
        seers.west.becomes(Mood::Good);
        until("the log goes on", || async { test.registry.health().await.ok }).await;
        let receipt = test.publish(&ada, &alpha).await.unwrap();
        assert!(receipt.leaf < size);
        let (policy, note) = shown(&test).await;
        let open = policy.open(&note, ORIGIN).unwrap();
        assert_eq!((open.size(), open.root()), (size, latest.checkpoint().root));
    }

    async fn a_lying_hanging_or_replaying_witness_stops_nobody_who_does_not_need_it(database: Database) {
        let seers = Seers::new();
        let test = seers.registry(database, "either").await;
        let ada = test.user("ada").await;
        test.publish(&ada, &wheel("alpha")).await.unwrap();
        for (number, mood) in [
            Mood::Down,
            Mood::WrongSignature,
            Mood::WrongSize,
            Mood::Boasting,
            Mood::Replaying,
            Mood::Endless,
            // The last: it keeps its turn.
            Mood::Hanging,
        ]
        .into_iter()
        .enumerate()
        {
            seers.west.becomes(mood);
            let package = wheel(&format!("thing-{number}"));
            let receipt = test.publish(&ada, &package).await.unwrap();
            test.check_receipt(&receipt, &package);
            witnessed(&test, &["east"]).await;
            if mood != Mood::Hanging {
                until("what it did is told", || async {
                    of(&test.registry.witness_health(), "west").problem.is_some()
                })
                .await;
            }
            if mood == Mood::WrongSize {
                // Before another one is tried it is as it was: what it had is known again.
                seers.west.becomes(Mood::Good);
                test.publish(&ada, &wheel("between")).await.unwrap();
            }
        }
    }

    async fn cosignatures_of_a_replayed_or_wrong_answer_never_count(database: Database) {
        let seers = Seers::new();
        let test = seers.registry(database, "west").await;
        let ada = test.user("ada").await;
        test.publish(&ada, &wheel("alpha")).await.unwrap();
        for mood in [Mood::Replaying, Mood::WrongSignature] {
            seers.west.becomes(mood);
            let package = wheel("beta");
            let message = fault(test.publish(&ada, &package).await);
            assert!(message.contains("west: its cosignature is wrong"), "{message}");
            witnessed(&test, &["west"]).await;
        }
    }

    async fn an_override_lets_the_log_go_on_says_so_and_ends(database: Database) {
        let seers = Seers::new();
        let test = seers.registry(database, "west").await;
        let (ada, operator) = (test.user("ada").await, Actor::operator());
        let hour = test.registry.now().plus_seconds(3_600);
        assert!(test.registry.override_log(&ada, hour, "because").await.is_err());
        let long = test.registry.now().plus_seconds(8 * 86_400);
        let refused = test.registry.override_log(&operator, long, "because").await.unwrap_err();
        assert_eq!(refused.code, "override-time");
        let refused = test.registry.override_log(&operator, hour, " ").await.unwrap_err();
        assert_eq!(refused.code, "override-reason");

        seers.west.becomes(Mood::Down);
        fault(test.publish(&ada, &wheel("alpha")).await);
        test.registry.override_log(&operator, hour, "it moves").await.unwrap();
        let receipt = test.publish(&ada, &wheel("alpha")).await.unwrap();
        until("the log goes on", || async { test.registry.health().await.ok }).await;
        let (policy, note) = shown(&test).await;
        assert!(policy.open(&note, ORIGIN).is_err(), "clients still refuse it");
        let overrides = || async {
            let mut found = 0;
            let size = test.registry.health().await.log_size;
            for index in 0..size {
                let proof = test.registry.leaf_proof(1, index).await.unwrap();
                let proof = countersign_trust::proof::TlogProof::parse(&proof.bytes).unwrap();
                let leaf = countersign_trust::leaf::parse(&proof.extra.unwrap()).unwrap();
                found += usize::from(leaf.known().unwrap().kind == LeafKind::OperatorOverride);
            }
            found
        };
        until("the override is in the log", || async { overrides().await == 1 }).await;

        // Once the witness is back, what was shown without it is cosigned, though nothing grew.
        seers.west.becomes(Mood::Good);
        until("it is cosigned", || async {
            let (policy, note) = shown(&test).await;
            policy.open(&note, ORIGIN).is_ok()
        })
        .await;
        assert!(witnessed(&test, &["west"]).await > receipt.leaf);

        test.registry.override_log(&operator, test.registry.now(), "it is back").await.unwrap();
        until("its end is in the log", || async { overrides().await == 2 }).await;
        seers.west.becomes(Mood::Down);
        fault(test.publish(&ada, &wheel("gamma")).await);
        // One that ran out is none either.
        test.turn_clock(Duration::from_secs(86_400));
        assert_eq!(test.registry.log_override().await.unwrap(), None);
    }

    async fn a_policy_that_is_new_has_what_is_shown_cosigned(database: Database) {
        let seers = Seers::new();
        let mut test = TestRegistry::with_outside(database, seers.clone(), |_| {}).await;
        let ada = test.user("ada").await;
        test.publish(&ada, &wheel("alpha")).await.unwrap();
        seers.west.meets(&test.registry.site_keys().verifier_keys);
        test.stop_heartbeat().await;
        let text = format!("{}quorum west\n", seers.west.line("west"));
        let registry = test
            .reopened_where(test.blobs(), |settings| {
                settings.log_policy = Some(LogPolicy::parse(&text).unwrap());
            })
            .await
            .unwrap();
        let note = registry.checkpoint(1).await.unwrap();
        let policy = Policy::parse(registry.site_keys().policy.unwrap().as_bytes()).unwrap();
        assert!(policy.open(&note.bytes, ORIGIN).is_ok());
    }

    async fn a_log_that_rests_is_cosigned_again_so_that_it_is_told_from_one_that_is_held_back(database: Database) {
        let seers = Seers::new();
        let test = seers.registry(database, "west").await;
        let ada = test.user("ada").await;
        test.publish(&ada, &wheel("alpha")).await.unwrap();
        test.settled().await;
        let (policy, before) = shown(&test).await;
        let before = policy.open(&before, ORIGIN).unwrap();
        let asked = seers.west.asked.load(Ordering::SeqCst);
        // A witness that is down then makes no trouble: what is shown holds.
        seers.west.becomes(Mood::Down);
        test.turn_clock(Duration::from_secs(11 * 60));
        until("the witness was asked again", || async {
            seers.west.asked.load(Ordering::SeqCst) > asked
        })
        .await;
        assert!(test.registry.health().await.ok);
        seers.west.becomes(Mood::Good);
        test.turn_clock(Duration::from_secs(11 * 60));
        let own = |open: &countersign_trust::checkpoint::VerifiedCheckpoint| {
            let mut lines = open.signatures().iter();
            lines.find_map(|line| line.time.filter(|_| line.key.name().as_str() == ORIGIN))
        };
        until("what is shown was signed anew", || async {
            let (policy, now) = shown(&test).await;
            let now = policy.open(&now, ORIGIN).unwrap();
            assert_eq!((now.size(), now.root()), (before.size(), before.root()));
            own(&now) > own(&before)
        })
        .await;
        witnessed(&test, &["west"]).await;
        // Once for each time: what follows is the question of the next beat.
        let asked = seers.west.asked.load(Ordering::SeqCst);
        test.publish(&ada, &wheel("beta")).await.unwrap();
        assert_eq!(seers.west.asked.load(Ordering::SeqCst), asked + 1);
    }

    async fn a_log_of_which_a_witness_has_seen_more_or_other_leaves_is_not_signed(database: Database) {
        let seers = Seers::new();
        let mut test = seers.registry(database, "west").await;
        let ada = test.user("ada").await;
        test.publish(&ada, &wheel("alpha")).await.unwrap();
        test.stop_heartbeat().await;
        let size = witnessed(&test, &["west"]).await;
        let before = seers.west.latest.lock().unwrap().clone();

        // As after an older database was put back: the witness saw a leaf that is not in the rows.
        let file = test.folder.path().join("keys/log-1.ed25519");
        let text = std::fs::read_to_string(file).unwrap();
        let key = SignerKey::parse_private(text.trim_end()).unwrap();
        let mut frontier = Frontier::empty();
        for index in 0..size {
            let proof = test.registry.leaf_proof(1, index).await.unwrap();
            let proof = countersign_trust::proof::TlogProof::parse(&proof.bytes).unwrap();
            frontier.append(tlog::leaf_hash(&proof.extra.unwrap()));
        }
        let had = |hash: Sha256, size: u64| {
            let checkpoint = Checkpoint::new(ORIGIN, size, hash);
            let request = AddCheckpoint::new(0, Vec::new(), checkpoint.sign(&key, None).as_bytes());
            *seers.west.latest.lock().unwrap() = None;
            assert_eq!(seers.west.cosign(&request.unwrap().to_string()).0, 200);
        };
        let mut longer = frontier.clone();
        longer.append(tlog::leaf_hash(b"lost"));
        had(longer.root(), size + 1);
        let asked = seers.west.asked.load(Ordering::SeqCst);
        let refused = test.reopened().await.map(drop).unwrap_err();
        assert_eq!(refused.code, "log-ahead", "{refused}");
        assert!(seers.west.asked.load(Ordering::SeqCst) > asked);
        let seams = Seams {
            clock: test.clock.clone(),
            random: Arc::new(SystemRandom),
            outside: seers.clone(),
            post: None,
            domains: None,
        };
        let patient = Patient {
            settings: test.registry.settings(),
            store: test.registry.store(),
            blobs: &test.blobs(),
            keys_folder: None,
            folders: &[],
            seams: &seams,
        };
        let found = examine(&patient, false, &mut |_, _| {}).await;
        let told = found.iter().find(|one| one.id == "witnesses" && !one.ok).unwrap();
        assert!(told.what.contains(&format!("{} leaves", size + 1)), "{told:?}");

        had(Sha256::of(b"another history"), size);
        let refused = test.reopened().await.map(drop).unwrap_err();
        assert_eq!(refused.code, "log-forked", "{refused}");

        // Its word alone changes nothing: that is not signed by this log.
        *seers.west.latest.lock().unwrap() = before;
        test.start_anew().await;
        test.publish(&ada, &wheel("beta")).await.unwrap();
        seers.west.becomes(Mood::Boasting);
        let message = fault(test.publish(&ada, &wheel("gamma")).await);
        assert!(message.contains("it has seen 1000000 leaves"), "{message}");
        seers.west.becomes(Mood::Good);
        until("the log goes on", || async { test.registry.health().await.ok }).await;
    }

    async fn witnesses_that_do_not_answer_at_the_start_keep_the_log_from_being_signed_and_not_from_being_read(database: Database) {
        let seers = Seers::new();
        let mut test = seers.registry(database, "west").await;
        let ada = test.user("ada").await;
        test.publish(&ada, &wheel("alpha")).await.unwrap();
        seers.west.becomes(Mood::Down);
        test.stop_heartbeat().await;
        test.start_anew().await;
        assert!(!test.registry.health().await.ok);
        assert!(test.index("alpha").await.unwrap().contains("alpha"));
        let beta = wheel("beta");
        fault(test.publish(&ada, &beta).await);
        seers.west.becomes(Mood::Good);
        until("the log goes on", || async { test.registry.health().await.ok }).await;
        test.publish(&ada, &beta).await.unwrap();
    }

    async fn clocks_that_are_wrong_by_a_year_neither_stop_nor_fork_the_log(database: Database) {
        const YEAR: i64 = 365 * 86_400;
        let seers = Seers::with_clocks(-YEAR);
        let mut test = seers.registry(database, "west").await;
        let ada = test.user("ada").await;
        test.publish(&ada, &wheel("alpha")).await.unwrap();
        let first = witnessed(&test, &["west"]).await;
        test.turn_clock(Duration::from_secs(YEAR.unsigned_abs()));
        test.stop_heartbeat().await;
        test.start_anew().await;
        let bob = test.user("bob").await;
        test.publish(&bob, &wheel("beta")).await.unwrap();
        assert!(witnessed(&test, &["west"]).await > first);
    }
}

#[tokio::test]
async fn a_policy_with_other_keys_of_the_log_or_without_a_way_to_its_quorum_is_refused() {
    let seers = Seers::new();
    let mut test = TestRegistry::with_outside(Database::Sqlite, seers.clone(), |_| {}).await;
    test.stop_heartbeat().await;
    let other = SignerKey::generate(KeyName::new(ORIGIN).unwrap(), [9; 32]).verifier();
    let key = &seers.west.keys.verifiers()[0];
    for text in [
        format!("log {other}\n{}quorum west\n", seers.west.line("west")),
        format!("witness west {key}\nquorum west\n"),
    ] {
        let opened = test
            .reopened_where(test.blobs(), |settings| {
                settings.log_policy = Some(LogPolicy::parse(&text).unwrap());
            })
            .await;
        assert_eq!(opened.map(drop).unwrap_err().code, "log-policy");
    }
}
