use std::collections::HashMap;

use super::*;
use crate::checkpoint::Checkpoint;
use crate::cosignature::{self, Subtree};
use crate::note::NoteError;
use crate::note::{Ed25519Role, KeyName, MlDsaKey, NoteSignature, SignedNote, SignerKey};
use crate::policy::{Policy, PolicyError};
use crate::tlog::{self, EMPTY_ROOT, Frontier, TileId, grow};

const ORIGIN: &str = "log.example/1";
const NOW: u64 = 1_763_700_000;

/// A log whose leaves are numbers, with a twist that makes another history from some leaf on.
struct Tree {
    hashes: Vec<Sha256>,
    tiles: HashMap<TileId, Vec<u8>>,
}

impl Tree {
    fn new(size: u64, forked_at: u64) -> Self {
        let leaf = |index: u64| format!("{}{index}", if index >= forked_at { "x" } else { "" });
        let hashes: Vec<Sha256> = (0..size)
            .map(|index| tlog::leaf_hash(leaf(index).as_bytes()))
            .collect();
        let none: HashMap<TileId, Vec<u8>> = HashMap::new();
        let tiles = grow(0, &hashes, &none).unwrap().into_iter().collect();
        Self { hashes, tiles }
    }

    fn root(&self, size: u64) -> Sha256 {
        let mut frontier = Frontier::empty();
        self.hashes[..size as usize]
            .iter()
            .for_each(|hash| frontier.append(*hash));
        frontier.root()
    }

    fn checkpoint(&self, size: u64) -> Checkpoint {
        Checkpoint::new(ORIGIN, size, self.root(size))
    }

    /// A request from `old` to `new`, signed by the log.
    fn request(&self, old: u64, new: u64) -> AddCheckpoint {
        let whole = Self {
            tiles: Self::tiles_of(&self.hashes[..new as usize]),
            hashes: Vec::new(),
        };
        let proof = tlog::consistency_proof(old, new, &whole.tiles).unwrap();
        let note = self.checkpoint(new).sign(&log_key(), None);
        AddCheckpoint::new(old, proof, note.as_bytes()).unwrap()
    }

    fn tiles_of(hashes: &[Sha256]) -> HashMap<TileId, Vec<u8>> {
        let none: HashMap<TileId, Vec<u8>> = HashMap::new();
        grow(0, hashes, &none).unwrap().into_iter().collect()
    }
}

fn log_key() -> SignerKey {
    SignerKey::generate(KeyName::new(ORIGIN).unwrap(), [1; 32])
}

fn logs() -> KnownLogs {
    let mut logs = KnownLogs::new();
    logs.add(ORIGIN, log_key().verifier()).unwrap();
    logs
}

fn witness() -> Witness {
    Witness::generate(&KeyName::new("w.example/1").unwrap(), [2; 32], [3; 32])
}

/// A witness with its state, asked as over the wire.
#[derive(Default)]
struct Asked {
    latest: Option<Latest>,
}

impl Asked {
    fn ask(&mut self, request: &AddCheckpoint) -> Result<String, Refusal> {
        self.ask_bytes(request.to_string().as_bytes(), NOW)
    }

    fn ask_bytes(&mut self, body: &[u8], now: u64) -> Result<String, Refusal> {
        let (logs, witness) = (logs(), witness());
        let request = AddCheckpoint::parse(body)?;
        assert_eq!(request.to_string().as_bytes(), body);
        let origin = &request.checkpoint().origin;
        let log = logs.get(origin).ok_or_else(|| Refusal::UnknownLog {
            origin: origin.clone(),
        })?;
        let cosigned = witness.cosign(&request.authenticate(log)?, self.latest.as_ref(), now)?;
        let (latest, answer) = cosigned.persist(|_| Ok::<_, Refusal>(()))?;
        // What is stored is what would be read back after a restart.
        assert_eq!(
            witness.resume(log, latest.note().as_bytes()).unwrap(),
            latest
        );
        self.latest = Some(latest);
        Ok(answer)
    }

    fn status(&mut self, request: &AddCheckpoint) -> u16 {
        match self.ask(request) {
            Ok(_) => 200,
            Err(refusal) => refusal.status(),
        }
    }
}

#[test]
fn a_growing_log_is_cosigned_with_both_keys_and_the_state_follows() {
    let tree = Tree::new(600, 600);
    let mut asked = Asked::default();
    for (old, new) in [
        (0, 0),
        (0, 1),
        (1, 1),
        (1, 7),
        (7, 256),
        (256, 300),
        (300, 600),
    ] {
        let answer = asked.ask(&tree.request(old, new)).unwrap();
        let lines: Vec<NoteSignature> = answer
            .lines()
            .map(|line| NoteSignature::parse_line(line).unwrap())
            .collect();
        assert_eq!(lines.len(), 2);
        for (key, line) in witness().verifiers().iter().zip(&lines) {
            let time = cosignature::verify(key, &tree.checkpoint(new), line).unwrap();
            assert_eq!(time, NOW);
        }
        let latest = asked.latest.as_ref().unwrap();
        assert_eq!(latest.checkpoint(), &tree.checkpoint(new));
        // The log's line stands in what monitors read, too.
        let keys = [log_key().verifier()];
        let open = crate::checkpoint::open(latest.note().as_bytes(), &keys, ORIGIN).unwrap();
        assert_eq!(open.size(), new);
    }
}

#[test]
fn each_refusal_has_the_status_of_the_protocol_and_leaves_the_state() {
    let (tree, fork) = (Tree::new(40, 40), Tree::new(40, 5));
    let mut asked = Asked::default();
    asked.ask(&tree.request(0, 20)).unwrap();
    let before = asked.latest.clone();

    // A split view: the same size with another root, and a longer tree of another history.
    let forked = |old, new, proof: &AddCheckpoint| {
        let note = fork.checkpoint(new).sign(&log_key(), None);
        AddCheckpoint::new(old, proof.proof().to_vec(), note.as_bytes()).unwrap()
    };
    assert_eq!(asked.status(&forked(20, 20, &tree.request(20, 20))), 422);
    assert_eq!(asked.status(&fork.request(20, 30)), 422);
    assert_eq!(asked.status(&forked(20, 30, &tree.request(20, 30))), 422);
    // A rollback, and a fork after a restore: the log asks from an older size.
    assert_eq!(asked.status(&tree.request(5, 10)), 409);
    assert_eq!(asked.status(&fork.request(5, 30)), 409);
    assert_eq!(asked.status(&tree.request(0, 20)), 409);
    assert_eq!(
        asked.ask(&fork.request(0, 30)).unwrap_err().body(),
        "20\n",
        "the size for who asks from 0"
    );
    assert_eq!(asked.status(&tree.request(25, 30)), 409);
    // A proof that is missing, cut, wrong, or given where none belongs.
    let good = tree.request(20, 30);
    let note = good.note().to_string();
    let with = |old, proof: Vec<Sha256>| AddCheckpoint::new(old, proof, note.as_bytes()).unwrap();
    assert_eq!(asked.status(&with(20, Vec::new())), 422);
    assert_eq!(asked.status(&with(20, good.proof()[1..].to_vec())), 422);
    let mut twice = good.proof().to_vec();
    twice.push(twice[0]);
    assert_eq!(asked.status(&with(20, twice)), 422);
    let mut wrong = good.proof().to_vec();
    wrong[0].0[0] ^= 1;
    assert_eq!(asked.status(&with(20, wrong.clone())), 422);
    assert_eq!(Asked::default().status(&with(0, wrong)), 422);
    // An empty tree with leaves' root.
    let empty = Checkpoint::new(ORIGIN, 0, Sha256([7; 32])).sign(&log_key(), None);
    let empty = AddCheckpoint::new(0, Vec::new(), empty.as_bytes()).unwrap();
    assert_eq!(Asked::default().status(&empty), 422);
    // A larger old size than the checkpoint's.
    let body = good.to_string().replacen("old 20", "old 31", 1);
    assert_eq!(
        asked.ask_bytes(body.as_bytes(), NOW),
        Err(Refusal::OldAboveNew { old: 31, new: 30 })
    );

    assert_eq!(asked.latest, before);
    assert_eq!(asked.status(&good), 200);
}

#[test]
fn only_the_log_s_own_keys_count_and_a_wrong_line_of_one_refuses_all() {
    let tree = Tree::new(8, 8);
    let checkpoint = tree.checkpoint(8);
    let ask = |note: &str| {
        let request = AddCheckpoint::new(0, Vec::new(), note.as_bytes()).unwrap();
        Asked::default().status(&request)
    };
    let other = SignerKey::generate(KeyName::new(ORIGIN).unwrap(), [9; 32]);
    assert_eq!(ask(&checkpoint.sign(&other, None)), 403);
    // A forged line under the log's name and id, after a good one.
    let good = checkpoint.sign(&log_key(), None);
    let line = SignedNote::parse(good.as_bytes()).unwrap().signatures()[0].clone();
    let mut bad = line.clone();
    bad.signature[10] ^= 1;
    assert_eq!(ask(&format!("{good}{bad}")), 403);
    // The witness's own cosignature does not stand for the log's.
    let own = SignerKey::from_seed(
        KeyName::new("w.example/1").unwrap(),
        Ed25519Role::Cosigner,
        [2; 32],
    );
    let cosigned = cosignature::sign_ed25519(&own, &checkpoint, NOW).unwrap();
    let only = SignedNote::new(checkpoint.to_note_text(), vec![cosigned]).unwrap();
    assert_eq!(ask(&only.to_string()), 403);
    // Lines of others and the log's line again are nothing to it, and are not stored.
    let stranger = NoteSignature {
        name: KeyName::new("stranger").unwrap(),
        key_id: 7,
        signature: vec![1; 2500],
    };
    let mut asked = Asked::default();
    let note = format!("{good}{line}{stranger}{line}");
    let request = AddCheckpoint::new(0, Vec::new(), note.as_bytes()).unwrap();
    asked.ask(&request).unwrap();
    let stored = SignedNote::parse(asked.latest.unwrap().note().as_bytes()).unwrap();
    assert_eq!(stored.signatures().len(), 3);
    // Another log's checkpoint.
    let foreign = SignerKey::generate(KeyName::new("other/1").unwrap(), [1; 32]);
    let foreign = Checkpoint::new("other/1", 8, checkpoint.root).sign(&foreign, None);
    assert_eq!(ask(&foreign), 404);
    // The right key under another origin: what is signed names another log.
    assert_eq!(
        ask(&Checkpoint::new("other/1", 8, checkpoint.root).sign(&log_key(), None)),
        404
    );
}

#[test]
fn extension_lines_are_cosigned_only_where_the_log_signed_them() {
    let pq = MlDsaKey::generate(KeyName::new(ORIGIN).unwrap(), [4; 32]);
    let mut logs = logs();
    logs.add(ORIGIN, pq.verifier()).unwrap();
    let log = logs.get(ORIGIN).unwrap();
    let mut checkpoint = Tree::new(3, 3).checkpoint(3);
    let by_pq = cosignature::sign_ml_dsa(&pq, &checkpoint, NOW).unwrap();
    checkpoint.extensions = vec!["extension".to_owned()];
    let request = |lines| {
        let note = SignedNote::new(checkpoint.to_note_text(), lines).unwrap();
        AddCheckpoint::new(0, Vec::new(), note.to_string().as_bytes()).unwrap()
    };
    let added = request(vec![by_pq.clone()]);
    assert_eq!(added.authenticate(log).unwrap_err().status(), 403);
    let signed = log_key().sign_text(&checkpoint.to_note_text());
    assert!(request(vec![by_pq, signed]).authenticate(log).is_ok());
}

#[test]
fn who_repeats_within_a_second_costs_no_write_and_later_gets_a_new_time() {
    let tree = Tree::new(4, 4);
    let (logs, witness) = (logs(), witness());
    let log = logs.get(ORIGIN).unwrap();
    let mut asked = Asked::default();
    let first = asked.ask(&tree.request(0, 4)).unwrap();
    let again = tree.request(4, 4);
    let again = again.authenticate(log).unwrap();
    let refuses = |_: &Latest| Err("written");
    let cosigned = witness.cosign(&again, asked.latest.as_ref(), NOW).unwrap();
    assert_eq!(cosigned.persist(refuses).unwrap().1, first);
    let later = witness.cosign(&again, asked.latest.as_ref(), NOW + 1);
    assert_eq!(later.unwrap().persist(refuses), Err("written"));
    for clock in [0, 1 << 63] {
        let refused = witness.cosign(&again, asked.latest.as_ref(), clock);
        assert_eq!(refused.unwrap_err(), Refusal::Clock);
    }
}

#[test]
fn a_state_that_this_witness_did_not_sign_is_not_resumed() {
    let tree = Tree::new(9, 9);
    let mut asked = Asked::default();
    asked.ask(&tree.request(0, 9)).unwrap();
    let (logs, witness) = (logs(), witness());
    let log = logs.get(ORIGIN).unwrap();
    let note = asked.latest.unwrap().note().to_owned();
    let stranger = Witness::generate(&KeyName::new("w.example/1").unwrap(), [8; 32], [9; 32]);
    assert!(matches!(
        stranger.resume(log, note.as_bytes()),
        Err(StateError::Note(NoteError::NoKnownSignature { .. }))
    ));
    for bad in [
        note.replacen("\n9\n", "\n8\n", 1),
        note[..note.len() - 1].to_owned(),
        note[..note.len() / 2].to_owned(),
        String::new(),
        tree.checkpoint(9).sign(&log_key(), None),
    ] {
        assert!(witness.resume(log, bad.as_bytes()).is_err(), "{bad}");
    }
    let mut others = KnownLogs::new();
    others.add("other/1", log_key().verifier()).unwrap();
    assert!(matches!(
        witness.resume(others.get("other/1").unwrap(), note.as_bytes()),
        Err(StateError::Origin { .. })
    ));
}

#[test]
fn subtrees_of_a_cosigned_tree_are_signed_without_a_time() {
    let tree = Tree::new(300, 300);
    let mut asked = Asked::default();
    asked.ask(&tree.request(0, 300)).unwrap();
    let note = asked.latest.unwrap().note().to_owned();
    let (logs, witness) = (logs(), witness());
    let log = logs.get(ORIGIN).unwrap();
    let range = |start: u64, end: u64| {
        let mut frontier = Frontier::empty();
        tree.hashes[start as usize..end as usize]
            .iter()
            .for_each(|hash| frontier.append(*hash));
        Subtree {
            start,
            end,
            hash: frontier.root(),
        }
    };
    for (start, end) in [(0, 300), (0, 256), (8, 13), (256, 300), (299, 300)] {
        let proof = tlog::subtree_proof(start, end, 300, &tree.tiles).unwrap();
        let request = SignSubtree::new(range(start, end), proof, note.as_bytes()).unwrap();
        let body = request.to_string();
        assert_eq!(SignSubtree::parse(body.as_bytes()).unwrap(), request);
        let line = witness.sign_subtree(log, &request).unwrap();
        let line = NoteSignature::parse_line(&line).unwrap();
        assert_eq!(line.signature[..8], [0; 8]);
        let expected = cosignature::sign_subtree(
            witness.ml_dsa.as_ref().unwrap(),
            ORIGIN,
            &range(start, end),
            0,
        );
        assert_eq!(line, expected.unwrap());

        let mut wrong = range(start, end);
        wrong.hash.0[0] ^= 1;
        let wrong = SignSubtree::new(wrong, request.proof().to_vec(), note.as_bytes()).unwrap();
        assert_eq!(witness.sign_subtree(log, &wrong).unwrap_err().status(), 422);
    }
    for (start, end) in [(8, 8), (13, 8), (4, 13), (256, 301), (0, 301)] {
        let subtree = Subtree {
            start,
            end,
            hash: EMPTY_ROOT,
        };
        let refused = SignSubtree::new(subtree, Vec::new(), note.as_bytes()).unwrap_err();
        assert_eq!(refused.status(), 400, "{start}..{end}");
    }
    // A checkpoint that only the log signed, and one of a log that is not known.
    let proof = tlog::subtree_proof(8, 13, 300, &tree.tiles).unwrap();
    let unseen = tree.checkpoint(300).sign(&log_key(), None);
    let request = SignSubtree::new(range(8, 13), proof.clone(), unseen.as_bytes()).unwrap();
    assert_eq!(
        witness.sign_subtree(log, &request).unwrap_err().status(),
        403
    );
    let mut others = KnownLogs::new();
    others.add("other/1", log_key().verifier()).unwrap();
    let request = SignSubtree::new(range(8, 13), proof, note.as_bytes()).unwrap();
    let other = others.get("other/1").unwrap();
    assert_eq!(
        witness.sign_subtree(other, &request).unwrap_err().status(),
        404
    );
}

#[test]
fn malformed_requests_are_refused_before_anything_is_believed() {
    let tree = Tree::new(30, 30);
    let good = tree.request(20, 30).to_string();
    assert!(AddCheckpoint::parse(good.as_bytes()).is_ok());
    let line = good.lines().nth(1).unwrap();
    for bad in [
        String::new(),
        good.replacen("old 20", "old 020", 1),
        good.replacen("old 20", "old +20", 1),
        good.replacen("old 20", "old  20", 1),
        good.replacen("old 20", "Old 20", 1),
        good.replacen("old 20", "old 18446744073709551616", 1),
        good.replacen("old 20\n", "", 1),
        good.replacen("old 20\n", "\n", 1),
        good.replacen("old 20\n", "old 20\n\n", 1),
        good.replacen("old 20\n", "old 20\r\n", 1),
        good.replacen(line, &line[1..], 1),
        good.replacen(line, &format!("{line} "), 1),
        good.replacen(line, "AAAA", 1),
        good.replacen(
            "old 20\n",
            &format!("old 20\n{}", format!("{line}\n").repeat(60)),
            1,
        ),
        good.replacen("\n\n", "\n", 1),
        good[..good.len() - 1].to_owned(),
        format!("{good}\n"),
        format!("{good}{}", "x".repeat(MAX_REQUEST_BYTES)),
    ] {
        let refused = AddCheckpoint::parse(bad.as_bytes()).expect_err(&bad[..bad.len().min(200)]);
        assert_eq!(refused.status(), 400, "{bad}");
    }
    assert!(AddCheckpoint::parse(b"old 0\n\n\xff").is_err());
    assert!(SignSubtree::parse(good.as_bytes()).is_err());
}

#[test]
fn keys_round_trip_as_text_and_wrong_ones_are_refused() {
    let text = witness().private_text();
    let read = Witness::parse_private(&format!("# keys\n\n{text}")).unwrap();
    assert_eq!(read.verifiers(), witness().verifiers());
    let (ed, pq) = text.split_once('\n').unwrap();
    for one in [ed, pq] {
        assert_eq!(Witness::parse_private(one).unwrap().verifiers().len(), 1);
    }
    assert!(!Witness::parse_private(ed).unwrap().signs_subtrees());
    let other = Witness::generate(&KeyName::new("w.example/2").unwrap(), [2; 32], [3; 32]);
    for (bad, expected) in [
        (String::new(), "no key"),
        (log_key().private_text(), "type 0x01"),
        (format!("{ed}\n{ed}\n"), "line 2: a second key"),
        (format!("{pq}{pq}"), "line 2: a second key"),
        (format!("{ed}\n{}", other.private_text()), "line 2"),
        (ed.replacen("w.example/1", "w.example/2", 1), "key id"),
        ("PRIVATE+KEY+x".to_owned(), "line 1"),
    ] {
        let error = Witness::parse_private(&bad).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn logs_come_from_policies_and_from_lists_of_the_witness_network() {
    let key = log_key().verifier();
    let second = SignerKey::generate(KeyName::new("second/1").unwrap(), [5; 32]).verifier();
    let mut logs = KnownLogs::new();
    logs.read(format!("log {key} https://log.example/1\nquorum none\n").as_bytes())
        .unwrap();
    let list = format!(
        "# a list\nlogs/v0\n\n# one\nvkey {key}\nqpd 86400\ncontact x (at) y\n\n  vkey {second}\n\
         origin an origin of its own\nqpd 24\ncontact me\n"
    );
    logs.read(list.as_bytes()).unwrap();
    assert_eq!(logs.len(), 2);
    assert_eq!(logs.get(ORIGIN).unwrap().keys(), std::slice::from_ref(&key));
    let own = logs.get("an origin of its own").unwrap();
    assert_eq!(own.keys(), [second]);
    assert!(logs.get("second/1").is_none());

    let cosigner = witness().verifiers()[0].clone();
    let pq = MlDsaKey::generate(KeyName::new(ORIGIN).unwrap(), [4; 32]).verifier();
    for (bad, line) in [
        (list.replacen("qpd 86400\n", "", 1), 6),
        (list.replacen("qpd 86400", "qpd 0", 1), 6),
        (list.replacen("qpd 86400", "qpd 2147483648", 1), 6),
        (list.replacen("qpd 86400", "qpd 010", 1), 6),
        (list.replacen("contact me\n", "", 1), 9),
        (list.replacen("contact me", "contact", 1), 12),
        (list.replacen(&format!("vkey {key}"), "vkey x", 1), 5),
        (list.replacen("vkey ", "key ", 1), 5),
        (list.replacen(&key.to_string(), &pq.to_string(), 1), 5),
        (list.replacen(&key.to_string(), &cosigner.to_string(), 1), 5),
    ] {
        let refused = KnownLogs::new().read(bad.as_bytes()).unwrap_err();
        assert!(
            matches!(refused, LogsError::Line { line: l, .. } if l == line),
            "{refused} in {bad}"
        );
    }
    assert!(KnownLogs::new().read(b"\xff").is_err());
    assert!(KnownLogs::new().read(b"log x\n").is_err());
}

#[test]
fn monitors_find_a_log_by_the_hash_of_its_origin() {
    assert_eq!(
        monitoring_path("example.com/behind-the-sofa"),
        format!(
            "{}/checkpoint",
            Sha256::of(b"example.com/behind-the-sofa").to_hex()
        )
    );
}

/// A witness of its own number, with the policy's line for it.
fn numbered(number: u8) -> (Witness, String) {
    let name = KeyName::new(&format!("w{number}.example")).unwrap();
    let witness = Witness::generate(&name, [10 + number; 32], [20 + number; 32]);
    let key = &witness.verifiers()[0];
    let line = format!("witness W{number} {key} https://w{number}.example\n");
    (witness, line)
}

#[test]
fn a_log_publishes_when_its_quorum_has_cosigned_and_not_before() {
    let tree = Tree::new(30, 30);
    let parties: Vec<(Witness, String)> = (1..=3).map(numbered).collect();
    let lines: String = parties.iter().map(|(_, line)| line.as_str()).collect();
    let policy = format!(
        "log {}\n{lines}group G 2 W1 W2 W3\nquorum G\n",
        log_key().verifier()
    );
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let note = tree.checkpoint(30).sign(&log_key(), None);
    let sizes = [("W1", 20), ("W2", 7), ("W3", 31)];
    let known = sizes.map(|(name, size)| (name.to_owned(), size)).into();
    let mut gathering = Gathering::begin(&policy, ORIGIN, &note, &known).unwrap();
    assert_eq!(gathering.checkpoint().size, 30);
    let asks = gathering.asks();
    let asked: Vec<(&str, u64)> = asks
        .iter()
        .map(|ask| (ask.witness.as_str(), ask.old_size))
        .collect();
    assert_eq!(asked, [("W1", 20), ("W2", 7), ("W3", 0)]);
    assert_eq!(gathering.asks(), []);

    // Each witness has cosigned 20 leaves, which the log does not know of the second.
    let (logs, text) = (logs(), "text/plain");
    let log = logs.get(ORIGIN).unwrap();
    let at_20 = |witness: &Witness| {
        let request = tree.request(0, 20);
        let authentic = request.authenticate(log).unwrap();
        let cosigned = witness.cosign(&authentic, None, NOW).unwrap();
        cosigned.persist(|_| Ok::<_, ()>(())).unwrap().0
    };
    let answer = |witness: &Witness, old: u64| {
        let request = tree.request(old, 30);
        let authentic = request.authenticate(log).unwrap();
        let latest = at_20(witness);
        match witness.cosign(&authentic, Some(&latest), NOW) {
            Ok(cosigned) => {
                let (_, lines) = cosigned.persist(|_| Ok::<_, ()>(())).unwrap();
                (200, text, lines)
            }
            Err(refusal) => (refusal.status(), refusal.content_type(), refusal.body()),
        }
    };
    let (status, kind, body) = answer(&parties[0].0, 20);
    // Lines of other witnesses, forged lines, and lines without a time are not taken from it.
    let (_, _, others) = answer(&parties[2].0, 20);
    let mut forged = NoteSignature::parse_line(body.lines().next().unwrap()).unwrap();
    forged.signature[20] ^= 1;
    let mut timeless = forged.clone();
    timeless.signature[..8].fill(0);
    for bad in [
        others,
        forged.to_string(),
        timeless.to_string(),
        "no\n".to_owned(),
        String::new(),
    ] {
        let heard = gathering.heard("W1", 200, text, bad.as_bytes());
        assert!(matches!(heard, Heard::Failed { .. }), "{bad}");
    }
    assert_eq!(
        gathering.heard("W1", status, kind, body.as_bytes()),
        Heard::Cosigned
    );
    assert_eq!(
        gathering.heard("W1", status, kind, body.as_bytes()),
        Heard::Cosigned
    );
    assert!(matches!(gathering.done(), Err(PolicyError::Quorum { .. })));

    let (status, kind, body) = answer(&parties[1].0, 7);
    assert_eq!((status, body.as_str()), (409, "20\n"));
    assert!(matches!(
        gathering.heard("W2", 409, text, body.as_bytes()),
        Heard::Failed { .. }
    ));
    assert_eq!(
        gathering.heard("W2", status, kind, body.as_bytes()),
        Heard::AskAgain
    );
    assert_eq!(gathering.asks()[0].old_size, 20);
    // One that names the same size again is not asked for ever.
    assert!(matches!(
        gathering.heard("W2", 409, kind, b"20\n"),
        Heard::Failed { .. }
    ));
    assert_eq!(
        gathering.heard("W3", 409, kind, b"31\n"),
        Heard::Ahead { size: 31 }
    );
    let contradicts = gathering.heard("W3", 422, text, b"no\x1b[2J\n");
    assert_eq!(
        contradicts,
        Heard::Contradicts {
            why: "no[2J".to_owned()
        }
    );
    assert!(matches!(
        gathering.heard("W3", 503, text, b""),
        Heard::Failed { .. }
    ));
    assert!(matches!(
        gathering.heard("W9", 200, text, b""),
        Heard::Failed { .. }
    ));
    assert!(gathering.done().is_err());
    let (status, kind, body) = answer(&parties[1].0, 20);
    assert_eq!(
        gathering.heard("W2", status, kind, body.as_bytes()),
        Heard::Cosigned
    );
    let (note, open) = gathering.done().unwrap();
    assert_eq!(open.signatures().len(), 3);
    assert_eq!(policy.open(note.as_bytes(), ORIGIN).unwrap(), open);

    // A checkpoint that is not the log's own is not sent around.
    let forged = SignerKey::generate(KeyName::new(ORIGIN).unwrap(), [9; 32]);
    let forged = tree.checkpoint(30).sign(&forged, None);
    assert!(Gathering::begin(&policy, ORIGIN, &forged, &known).is_err());
}

#[test]
fn a_log_that_starts_learns_from_a_witness_whether_it_lost_leaves_or_forked() {
    let (tree, fork) = (Tree::new(30, 30), Tree::new(30, 5));
    let (witness, line) = numbered(1);
    let (_, second) = numbered(2);
    let policy = format!("log {}\n{line}{second}quorum W1\n", log_key().verifier());
    let policy = Policy::parse(policy.as_bytes()).unwrap();
    let logs = logs();
    let log = logs.get(ORIGIN).unwrap();
    let served = |tree: &Tree, size: u64| {
        let request = tree.request(0, size);
        let authentic = request.authenticate(log).unwrap();
        let cosigned = witness.cosign(&authentic, None, NOW).unwrap();
        let (latest, _) = cosigned.persist(|_| Ok::<_, ()>(())).unwrap();
        latest.note().to_owned()
    };
    let standing = |note: &str, name: &str, size: u64| {
        let root_at = |at: u64| Ok::<_, PolicyError>(tree.root(at));
        compare(&policy, ORIGIN, name, note.as_bytes(), size, root_at)
    };
    let at_20 = served(&tree, 20);
    assert_eq!(
        standing(&at_20, "W1", 20),
        Ok(Standing::Within { size: 20 })
    );
    assert_eq!(
        standing(&at_20, "W1", 30),
        Ok(Standing::Within { size: 20 })
    );
    assert_eq!(standing(&at_20, "W1", 10), Ok(Standing::Ahead { size: 20 }));
    let forked = served(&fork, 20);
    assert_eq!(
        standing(&forked, "W1", 30),
        Ok(Standing::Forked { size: 20 })
    );
    // What another witness, or nobody, cosigned says nothing about this one.
    assert!(matches!(
        standing(&at_20, "W2", 30),
        Err(PolicyError::Quorum { .. })
    ));
    let bare = tree.checkpoint(20).sign(&log_key(), None);
    assert!(standing(&bare, "W1", 30).is_err());
}
