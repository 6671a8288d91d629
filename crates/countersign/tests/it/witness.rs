//! The witness as logs, monitors and attackers meet it: the real program, real HTTP, kills in the middle.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::time::Duration;

use countersign_trust::checkpoint::{self, Checkpoint};
use countersign_trust::cosignature::{self, Subtree};
use countersign_trust::note::{KeyName, KeyType, NoteSignature, SignerKey, VerifierKey};
use countersign_trust::policy::{Policy, PolicyError};
use countersign_trust::tlog::{self, Frontier, TileId, grow};
use countersign_trust::witness::{
    AddCheckpoint, Gathering, Heard, SignSubtree, Standing, compare, monitoring_path,
};
use reqwest::blocking::Client;

use crate::user::{CLIENT, User};

const ORIGIN: &str = "log.example/1";

/// A log whose leaves are numbers; `forked_at` makes another history from there on.
struct Log {
    key: SignerKey,
    hashes: Vec<countersign_trust::digest::Sha256>,
}

impl Log {
    fn new(size: u64, forked_at: u64) -> Self {
        Self::of(ORIGIN, size, forked_at)
    }

    fn of(origin: &str, size: u64, forked_at: u64) -> Self {
        let leaf = |index: u64| format!("{}{index}", if index >= forked_at { "x" } else { "" });
        Self {
            key: SignerKey::generate(KeyName::new(origin).unwrap(), [1; 32]),
            hashes: (0..size)
                .map(|index| tlog::leaf_hash(leaf(index).as_bytes()))
                .collect(),
        }
    }

    fn checkpoint(&self, size: u64) -> Checkpoint {
        let root = self.root(0, size);
        Checkpoint::new(self.key.name().as_str(), size, root)
    }

    fn root(&self, start: u64, end: u64) -> countersign_trust::digest::Sha256 {
        let mut frontier = Frontier::empty();
        self.hashes[start as usize..end as usize]
            .iter()
            .for_each(|hash| frontier.append(*hash));
        frontier.root()
    }

    fn tiles(&self, size: u64) -> HashMap<TileId, Vec<u8>> {
        let none: HashMap<TileId, Vec<u8>> = HashMap::new();
        let tiles = grow(0, &self.hashes[..size as usize], &none).unwrap();
        tiles.into_iter().collect()
    }

    fn request(&self, old: u64, new: u64) -> String {
        let proof = tlog::consistency_proof(old, new, &self.tiles(new)).unwrap();
        let note = self.checkpoint(new).sign(&self.key, None);
        let request = AddCheckpoint::new(old, proof, note.as_bytes()).unwrap();
        request.to_string()
    }
}

/// A witness that runs, and its files in a user's home.
pub struct Running {
    child: Child,
    pub url: String,
    client: Client,
}

impl Running {
    /// Makes keys and state, and the public keys.
    pub fn init(user: &User) -> Vec<VerifierKey> {
        let ran = user
            .run(&[
                "--json",
                "witness",
                "init",
                "--name",
                "w.example/1",
                "--key",
                "key",
                "--state",
                "state",
            ])
            .expect(0, &["verifier_keys"]);
        let said: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let keys = said["verifier_keys"].as_array().unwrap();
        keys.iter()
            .map(|key| key.as_str().unwrap().parse().unwrap())
            .collect()
    }

    fn start(user: &User) -> Self {
        Self::of(&mut Self::command(user, &[]))
    }

    /// One whose system calls of a kind meet this, as strace injects it.
    fn start_with(user: &User, call: &str, injected: &str) -> Self {
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:{injected}"));
        let strace = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            &trace,
            "-e",
            &inject,
        ];
        Self::of(&mut Self::command(user, &strace))
    }

    /// The command that serves, below another one such as strace.
    fn command(user: &User, below: &[&str]) -> Command {
        let log = Log::new(0, 0).key.verifier().to_string();
        let other = Log::of("other.example/1", 0, 0).key.verifier().to_string();
        let arguments = [
            "--json",
            "witness",
            "serve",
            "--key",
            "key",
            "--state",
            "state",
            "--listen",
            "127.0.0.1:0",
            "--log-key",
            &log,
            "--log-key",
            &other,
        ];
        match below {
            [] => user.command(&arguments, &[]),
            [program, rest @ ..] => {
                let mut command = Command::new(program);
                command.args(rest).arg(CLIENT).args(arguments);
                command.current_dir(user.path("."));
                command
            }
        }
    }

    pub fn of(command: &mut Command) -> Self {
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut ready).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
        Self {
            child,
            url: ready["listening"].as_str().unwrap().to_owned(),
            client: Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(60))
                .build()
                .unwrap(),
        }
    }

    /// Status and body; 0 when there was no answer.
    fn post(&self, call: &str, body: impl Into<reqwest::blocking::Body>) -> (u16, String) {
        let sent = self.client.post(format!("{}/{call}", self.url)).body(body);
        match sent.send() {
            Ok(answer) => {
                let status = answer.status().as_u16();
                if status == 409 {
                    assert_eq!(answer.headers()["content-type"], "text/x.tlog.size");
                }
                answer
                    .text()
                    .map_or((0, String::new()), |text| (status, text))
            }
            Err(_) => (0, String::new()),
        }
    }

    pub fn add(&self, body: &str) -> (u16, String) {
        self.post("add-checkpoint", body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String) {
        let answer = self
            .client
            .get(format!("{}/{path}", self.url))
            .send()
            .unwrap();
        (answer.status().as_u16(), answer.text().unwrap())
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end, as a service manager does.
    fn end(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(&id).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed leaves none behind; one that ended it has done so already. The whole group: what strace was
        // given to run outlives it.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(answer: &str) -> Vec<NoteSignature> {
    answer
        .lines()
        .map(|line| NoteSignature::parse_line(line).unwrap())
        .collect()
}

#[test]
fn a_witness_cosigns_what_grows_refuses_the_rest_and_serves_it_to_monitors() {
    let user = User::new();
    let keys = Running::init(&user);
    let types: Vec<KeyType> = keys.iter().map(VerifierKey::key_type).collect();
    assert_eq!(types, [KeyType::Ed25519Cosignature, KeyType::MlDsa44]);
    let mode = fs::metadata(user.path("key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let witness = Running::start(&user);
    let (log, fork) = (Log::new(600, 600), Log::new(600, 100));
    assert_eq!(witness.get(&monitoring_path(ORIGIN)).0, 404);
    assert_eq!(witness.get("healthz"), (200, "ok\n".to_owned()));

    for (old, new) in [(0, 1), (1, 256), (256, 300), (300, 300)] {
        let (status, answer) = witness.add(&log.request(old, new));
        assert_eq!(status, 200, "{answer}");
        assert_eq!(lines(&answer).len(), 2);
        for (key, line) in keys.iter().zip(lines(&answer)) {
            assert!(cosignature::verify(key, &log.checkpoint(new), &line).unwrap() > 1_700_000_000);
        }
        let (status, note) = witness.get(&monitoring_path(ORIGIN));
        assert_eq!(status, 200);
        let mut all = keys.clone();
        all.push(log.key.verifier());
        let open = checkpoint::open(note.as_bytes(), &all, ORIGIN).unwrap();
        assert_eq!((open.size(), open.signatures().len()), (new, 3));
        assert!(
            note.ends_with(&answer),
            "monitors read the very lines of the answer"
        );
        let file = user.path("state").join(monitoring_path(ORIGIN));
        assert_eq!(fs::read_to_string(file).unwrap(), note);
    }

    // A split view.
    let forked = fork.checkpoint(300).sign(&log.key, None);
    assert_eq!(witness.add(&format!("old 300\n\n{forked}")).0, 422);
    assert_eq!(witness.add(&fork.request(300, 400)).0, 422);
    // A rollback; a fork after a restore, which asks from its old size.
    assert_eq!(
        witness.add(&log.request(256, 299)),
        (409, "300\n".to_owned())
    );
    assert_eq!(
        witness.add(&fork.request(150, 400)),
        (409, "300\n".to_owned())
    );
    assert_eq!(witness.add(&log.request(0, 300)), (409, "300\n".to_owned()));
    // Forged: nobody's key, or another log's under this origin.
    let stranger = SignerKey::generate(KeyName::new(ORIGIN).unwrap(), [9; 32]);
    let forged = log.checkpoint(300).sign(&stranger, None);
    assert_eq!(witness.add(&format!("old 300\n\n{forged}")).0, 403);
    let good = log.request(300, 400);
    let spoiled = good.replacen("\n400\n", "\n401\n", 1);
    assert_eq!(witness.add(&spoiled).0, 403);
    // Another origin: unknown, and known with another key's signature.
    assert_eq!(
        witness.add(&Log::of("stranger/1", 9, 9).request(0, 9)).0,
        404
    );
    let under_other =
        Checkpoint::new("other.example/1", 300, log.root(0, 300)).sign(&log.key, None);
    assert_eq!(witness.add(&format!("old 0\n\n{under_other}")).0, 403);
    // Truncated at every line, and in the middle of a line.
    for end in good
        .match_indices('\n')
        .map(|(at, _)| at)
        .chain([good.len() - 7])
    {
        let (status, _) = witness.add(&good[..end]);
        assert!(
            [400, 403].contains(&status),
            "{status} for {:?}",
            &good[..end]
        );
    }
    // The log's line many times over: taken, and stored once.
    let line = good.lines().last().unwrap();
    assert_eq!(
        witness
            .add(&format!("{good}{}", format!("{line}\n").repeat(40)))
            .0,
        200
    );
    let note = witness.get(&monitoring_path(ORIGIN)).1;
    assert_eq!(note.matches(line).count(), 1);
    assert_eq!(
        witness
            .add(&format!("{good}{}", format!("{line}\n").repeat(70)))
            .0,
        400
    );
    // A replay of what was answered before.
    assert_eq!(witness.add(&good), (409, "400\n".to_owned()));
    // Oversized; and the wrong method and address.
    let large = format!("{good}{}", "x".repeat(300_000));
    assert!([413, 0].contains(&witness.add(&large).0));
    assert_eq!(witness.get("add-checkpoint").0, 405);
    assert_eq!(witness.post("elsewhere", good.clone()).0, 404);
    assert_eq!(witness.get("../key").0, 404);

    // The contradiction that the log signed is kept.
    let folder = user.path("state").join(monitoring_path(ORIGIN));
    let names = fs::read_dir(folder.parent().unwrap()).unwrap();
    let forks: Vec<_> = names
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains("/fork-"))
        .collect();
    assert_eq!(forks.len(), 1);
    assert_eq!(fs::read_to_string(&forks[0]).unwrap(), forked);

    // Subtrees of what it cosigned.
    let (start, end) = (8, 13);
    let subtree = Subtree {
        start,
        end,
        hash: log.root(start, end),
    };
    let proof = tlog::subtree_proof(start, end, 400, &log.tiles(400)).unwrap();
    let request = SignSubtree::new(subtree, proof, note.as_bytes()).unwrap();
    let (status, answer) = witness.post("sign-subtree", request.to_string());
    assert_eq!((status, lines(&answer).len()), (200, 1));
    assert_eq!(lines(&answer)[0].signature[..8], [0; 8]);
    assert_eq!(witness.end(), Some(0));
}

/// The log's side over HTTP. With COUNTERSIGN_TEST_WITNESS="URL VKEY" a witness of others takes part, which knows the
/// log of these tests.
#[test]
fn a_log_gathers_its_quorum_over_http_and_learns_sizes_that_it_did_not_know() {
    let users = [User::new(), User::new()];
    let keys: Vec<VerifierKey> = users
        .iter()
        .zip(1..)
        .map(|(user, number)| {
            let name = format!("w{number}.example");
            user.run(&[
                "witness", "init", "--name", &name, "--key", "key", "--state", "state",
            ])
            .expect(0, &[])
            .out
        })
        .map(|keys| keys.lines().nth(1).unwrap().parse().unwrap())
        .collect();
    let witnesses: Vec<Running> = users.iter().map(Running::start).collect();
    let mut places: Vec<(String, String)> = witnesses
        .iter()
        .zip(&keys)
        .map(|(witness, key)| (witness.url.clone(), key.to_string()))
        .collect();
    match std::env::var("COUNTERSIGN_TEST_WITNESS") {
        Ok(other) => {
            let (url, key) = other.split_once(' ').unwrap();
            places.push((url.to_owned(), key.to_owned()));
        }
        Err(_) => eprintln!("NOT RUN: no witness of others (COUNTERSIGN_TEST_WITNESS)"),
    }
    let log = Log::new(700, 700);
    let mut policy = format!("log {}\n", log.key.verifier());
    let mut all = String::new();
    for (number, (url, key)) in places.iter().enumerate() {
        policy += &format!("witness W{number} {key} {url}\n");
        all += &format!(" W{number}");
    }
    policy += &format!("group all-of-them all{all}\nquorum all-of-them\n");
    let policy = Policy::parse(policy.as_bytes()).unwrap();

    // Of the first the size is known, and wrong the second time; of the others it is not.
    let mut known = BTreeMap::new();
    for size in [1, 300, 700] {
        let note = log.checkpoint(size).sign(&log.key, None);
        let mut gathering = Gathering::begin(&policy, ORIGIN, &note, &known).unwrap();
        assert!(gathering.done().is_err());
        loop {
            let asks = gathering.asks();
            if asks.is_empty() {
                break;
            }
            for ask in asks {
                let proof = tlog::consistency_proof(ask.old_size, size, &log.tiles(size)).unwrap();
                let body = AddCheckpoint::new(ask.old_size, proof, note.as_bytes()).unwrap();
                let sent = witnesses[0]
                    .client
                    .post(format!("{}/add-checkpoint", ask.url));
                let answer = sent.body(body.to_string()).send().unwrap();
                let status = answer.status().as_u16();
                let kind = answer.headers()["content-type"]
                    .to_str()
                    .unwrap()
                    .to_owned();
                let answer = answer.bytes().unwrap();
                let heard = gathering.heard(&ask.witness, status, &kind, &answer);
                let expected = if status == 409 {
                    Heard::AskAgain
                } else {
                    Heard::Cosigned
                };
                assert_eq!(heard, expected, "{ask:?}: {status} {answer:?}");
            }
        }
        let (note, open) = gathering.done().unwrap();
        assert_eq!(open.cosignatures().count(), places.len());
        assert_eq!(policy.open(note.as_bytes(), ORIGIN).unwrap().size(), size);
        known.insert("W0".to_owned(), 1);
    }
    // After a restore the log remembers less than its witnesses serve.
    for ((witness, number), size) in witnesses.iter().zip(0..).zip([700, 300]) {
        let served = witness.get(&monitoring_path(ORIGIN)).1;
        let root_at = |at: u64| Ok::<_, PolicyError>(log.root(0, at));
        let standing = compare(
            &policy,
            ORIGIN,
            &format!("W{number}"),
            served.as_bytes(),
            size,
            root_at,
        );
        let expected = if size == 700 {
            Standing::Within { size }
        } else {
            Standing::Ahead { size: 700 }
        };
        assert_eq!(standing, Ok(expected));
    }
}

#[test]
fn of_forks_that_race_from_one_size_only_one_is_ever_signed() {
    let user = User::new();
    Running::init(&user);
    let witness = Running::start(&user);
    let mut size = 0;
    let mut history = Log::new(0, 0);
    for round in 0..6 {
        // Each of them continues what was signed, and no two of them each other.
        let new = size + 3;
        let rivals: Vec<Log> = (0..8)
            .map(|rival: u64| {
                let mut log = Log::new(0, 0);
                log.hashes.clone_from(&history.hashes);
                let leaf = |at: u64| tlog::leaf_hash(format!("{round} {rival} {at}").as_bytes());
                log.hashes.extend((0..3).map(leaf));
                log
            })
            .collect();
        let start = Barrier::new(rivals.len());
        let answers: Vec<(u16, String)> = std::thread::scope(|scope| {
            let asked: Vec<_> = rivals
                .iter()
                .map(|rival| {
                    let (start, witness) = (&start, &witness);
                    scope.spawn(move || {
                        let body = rival.request(size, new);
                        start.wait();
                        witness.add(&body)
                    })
                })
                .collect();
            asked.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let signed: Vec<usize> = (0..rivals.len())
            .filter(|at| answers[*at].0 == 200)
            .collect();
        assert_eq!(signed.len(), 1, "{answers:?}");
        assert_eq!(
            answers.iter().filter(|(status, _)| *status == 409).count(),
            7
        );
        history = rivals.into_iter().nth(signed[0]).unwrap();
        size = new;
    }
}

#[test]
fn a_witness_that_starts_again_knows_what_it_signed_and_nothing_else_is_taken_for_it() {
    let user = User::new();
    Running::init(&user);
    let log = Log::new(40, 40);
    let serve = |arguments: &[&str]| {
        let key = log.key.verifier().to_string();
        let mut all = vec![
            "witness",
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--log-key",
            &key,
        ];
        all.extend(arguments);
        user.run(&all)
    };
    let usual = ["--key", "key", "--state", "state"];
    let witness = Running::start(&user);
    assert_eq!(witness.add(&log.request(0, 20)).0, 200);
    serve(&usual).expect(2, &["Another process serves from"]);
    witness.kill();

    let witness = Running::start(&user);
    assert_eq!(witness.add(&log.request(0, 10)), (409, "20\n".to_owned()));
    assert_eq!(witness.add(&log.request(20, 30)).0, 200);
    assert_eq!(witness.end(), Some(0));

    // Keys and state belong together, and neither is made by serving.
    let init = ["witness", "init", "--name", "w.example/1", "--key"];
    user.run(&[&init[..], &["key", "--state", "elsewhere"]].concat())
        .expect(2, &["can not be made", "--existing-key"]);
    user.run(&[&init[..], &["key2", "--state", "state"]].concat())
        .expect(2, &["holds the state of a witness already"]);
    serve(&["--key", "key", "--state", "nowhere"]).expect(2, &["no state of a witness"]);
    serve(&["--key", "key2", "--state", "state"]).expect(3, &["can not be used"]);
    let other = [
        "witness",
        "init",
        "--name",
        "w.example/2",
        "--key",
        "key3",
        "--state",
        "state3",
    ];
    user.run(&other).expect(0, &["w.example/2+"]);
    serve(&["--key", "key3", "--state", "state"])
        .expect(2, &["not the state of the witness w.example/2"]);
    fs::set_permissions(user.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
    serve(&usual).expect(2, &["others may read", "chmod 600"]);
    fs::set_permissions(user.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    // A state that was damaged or swapped closes the witness.
    let place = user.path("state").join(monitoring_path(ORIGIN));
    let note = fs::read_to_string(&place).unwrap();
    for bad in [
        "",
        &note[..note.len() / 2],
        &note.replacen("\n30\n", "\n20\n", 1),
    ] {
        fs::write(&place, bad).unwrap();
        serve(&usual).expect(3, &["can not be used", "second history"]);
    }
    fs::write(&place, &note).unwrap();
    let witness = Running::start(&user);
    assert_eq!(witness.add(&log.request(30, 40)).0, 200);
}

#[test]
fn killed_before_at_or_after_the_write_a_witness_owes_nothing_and_contradicts_nothing() {
    let (log, fork) = (Log::new(40, 40), Log::new(40, 15));
    // The calls of one write: the file is synced, renamed, its folder is synced. What a kill at each of them leaves.
    for (call, when, kept) in [("fsync", 1, 10), ("rename", 1, 10), ("fsync", 2, 30)] {
        let user = User::new();
        let keys = Running::init(&user);
        let witness = Running::start(&user);
        assert_eq!(witness.add(&log.request(0, 10)).0, 200);
        witness.kill();

        let witness = Running::start_with(&user, call, &format!("signal=KILL:when={when}"));
        assert_eq!(
            witness.add(&log.request(10, 30)).0,
            0,
            "killed at {call} {when}"
        );
        drop(witness);

        let witness = Running::start(&user);
        let (status, note) = witness.get(&monitoring_path(ORIGIN));
        assert_eq!(status, 200);
        let open = checkpoint::open(note.as_bytes(), &keys[..1], ORIGIN);
        assert!(open.is_err(), "the log's own key is not among the keys");
        let mut all = keys.clone();
        all.push(log.key.verifier());
        let open = checkpoint::open(note.as_bytes(), &all, ORIGIN).unwrap();
        assert_eq!(open.size(), kept, "after a kill at {call} {when}");
        // The log asks again, and gets its signature as the protocol has it.
        let (status, answer) = witness.add(&log.request(10, 30));
        if kept == 10 {
            assert_eq!(status, 200, "{answer}");
        } else {
            assert_eq!((status, answer.as_str()), (409, "30\n"));
            assert_eq!(witness.add(&log.request(30, 30)).0, 200);
        }
        // And no other history, from whatever size.
        assert_eq!(witness.add(&fork.request(10, 30)).0, 409);
        assert_eq!(witness.add(&fork.request(30, 40)).0, 422);
        assert_eq!(witness.add(&log.request(30, 40)).0, 200);
    }
}

#[test]
fn a_disk_that_fails_means_no_signature_and_no_new_state() {
    let log = Log::new(40, 40);
    for (call, when) in [("fsync", 1), ("rename", 1), ("fsync", 2), ("openat", 0)] {
        let user = User::new();
        Running::init(&user);
        let witness = Running::start(&user);
        assert_eq!(witness.add(&log.request(0, 10)).0, 200);
        witness.kill();
        if call == "openat" {
            // No write at all: the folder of the log does not let anything be made in it.
            fs::create_dir(
                user.path("state")
                    .join(monitoring_path(ORIGIN))
                    .with_extension("new"),
            )
            .unwrap();
        }
        let witness = if call == "openat" {
            Running::start(&user)
        } else {
            Running::start_with(&user, call, &format!("error=EIO:when={when}"))
        };
        let (status, answer) = witness.add(&log.request(10, 30));
        assert_eq!(status, 500, "{call} {when}: {answer}");
        assert!(!answer.contains('\u{2014}'), "{answer}");
        let note = witness.get(&monitoring_path(ORIGIN)).1;
        assert!(note.contains("\n10\n"), "{note}");
        if call == "openat" {
            assert_eq!(witness.add(&log.request(10, 30)).0, 500);
        } else {
            // The calls of each thread are counted for themselves, so each may fail once.
            let taken = (0..64).any(|_| witness.add(&log.request(10, 30)).0 == 200);
            assert!(taken, "{call} {when}");
        }
    }
}

#[test]
fn slow_and_endless_callers_are_cut_off_and_others_served_meanwhile() {
    let user = User::new();
    Running::init(&user);
    let witness = Running::start(&user);
    let address = witness.url.strip_prefix("http://").unwrap().to_owned();
    let slow: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            let head =
                "POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 5000\r\n\r\nold 0\n";
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let log = Log::new(9, 9);
    assert_eq!(witness.add(&log.request(0, 9)).0, 200);
    for mut stream in slow {
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    // A chunked body without an end.
    let endless = reqwest::blocking::Body::new(std::io::repeat(b'x'));
    assert!([413, 0].contains(&witness.post("add-checkpoint", endless).0));
    assert_eq!(witness.add(&log.request(9, 9)).0, 200);
}
