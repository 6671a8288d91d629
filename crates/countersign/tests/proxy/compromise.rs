//! Stolen keys of TUF, role by role, against a running registry: what whoever has one and stands in the way can do to python-tuf
//! and to our proxy, and what not; and the drill of `docs/operating-tuf.md` afterwards.

use std::collections::BTreeMap;

use countersign_testkit::clients::Clients;
use countersign_testkit::tuf::Keep;
use countersign_trust::digest::Sha256;
use countersign_trust::sigstore::Ed25519Signer;
use countersign_trust::tuf::{
    Document, Envelope, Limits, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp,
};

use crate::attacks::{Mine, now};
use crate::house::{Loot, index_of};
use crate::mirror::Street;
use crate::relay::Twist;

/// In seconds.
const DAY: i64 = 86_400;
/// What a thief wants to be installed.
const EVIL: &[u8] =
    b"{\"files\":[],\"meta\":{\"api-version\":\"1.4\"},\"name\":\"thing\",\"versions\":[]}";

/// A document that somebody changed and signed with what they have.
fn forged<T: Document>(
    role: &str,
    bytes: &[u8],
    by: &[&Ed25519Signer],
    change: impl FnOnce(&mut T),
) -> Vec<u8> {
    let read = Envelope::<T>::parse(role, bytes, &Limits::default()).unwrap();
    let mut document = read.document;
    change(&mut document);
    let mut envelope = Envelope::unsigned(document);
    for signer in by {
        envelope.sign(role, *signer).unwrap();
    }
    envelope.to_bytes()
}

/// What a mirror answers in the registry's place, by path.
type Answers = BTreeMap<String, Vec<u8>>;

struct Thief {
    loot: Loot,
}

impl Thief {
    fn timestamp(&self, street: &Street, change: impl FnOnce(&mut Timestamp)) -> Vec<u8> {
        let now = street.house.metadata("pypi", "timestamp.json");
        forged(
            "timestamp",
            now.as_bytes(),
            &[&self.loot.key("timestamp")],
            change,
        )
    }

    /// A snapshot, and a timestamp that names it, `ahead` versions ahead of the registry's.
    fn both(&self, street: &Street, ahead: u64, change: impl FnOnce(&mut Snapshot)) -> Answers {
        let (snapshot, _) = newest_snapshot(street);
        let mut version = 0;
        let bytes = forged(
            "snapshot",
            &snapshot,
            &[&self.loot.key("snapshot")],
            |document| {
                change(document);
                document.version += ahead;
                version = document.version;
            },
        );
        let timestamp = self.timestamp(street, |document: &mut Timestamp| {
            document.version += ahead;
            document.snapshot = MetaFile::of(version, &bytes);
        });
        let mut answers = Answers::from([("/tuf/pypi/timestamp.json".to_owned(), timestamp)]);
        answers.insert(format!("/tuf/pypi/{version}.snapshot.json"), bytes);
        answers
    }
}

fn newest_snapshot(street: &Street) -> (Vec<u8>, String) {
    let timestamp = street.house.metadata("pypi", "timestamp.json");
    let read = Envelope::<Timestamp>::parse("timestamp", timestamp.as_bytes(), &Limits::default());
    let file = format!("{}.snapshot.json", read.unwrap().document.snapshot.version);
    let bytes = street.house.metadata("pypi", &file).into_bytes();
    (bytes, format!("/tuf/pypi/{file}"))
}

/// File and bytes of the newest document of a role that the snapshot lists.
fn newest(street: &Street, role: &str) -> (String, Vec<u8>) {
    let (snapshot, _) = newest_snapshot(street);
    let read = Envelope::<Snapshot>::parse("snapshot", &snapshot, &Limits::default()).unwrap();
    let version = read.document.role(role).unwrap().version;
    let file = format!("{version}.{role}.json");
    let bytes = street.house.metadata("pypi", &file).into_bytes();
    (format!("/tuf/pypi/{file}"), bytes)
}

/// The bin in which the index of `thing` is.
fn its_bin(street: &Street) -> (String, Vec<u8>) {
    let (snapshot, _) = newest_snapshot(street);
    let read = Envelope::<Snapshot>::parse("snapshot", &snapshot, &Limits::default()).unwrap();
    let names: Vec<String> = read
        .document
        .meta
        .keys()
        .filter_map(|file| file.strip_suffix(".json"))
        .filter(|role| role.starts_with("bins-"))
        .map(str::to_owned)
        .collect();
    let holds = |(_, bytes): &(String, Vec<u8>)| {
        String::from_utf8_lossy(bytes).contains(&format!("\"{}\"", index_of("thing")))
    };
    names
        .iter()
        .map(|role| newest(street, role))
        .find(holds)
        .unwrap()
}

impl Street {
    fn answers(&self, answers: Answers) {
        self.relay.twist(move |path| match answers.get(path) {
            Some(body) => Twist::Say(200, body.clone()),
            None => Twist::Pass,
        });
    }
}

/// The bin with something else in the place of the index of `thing`, and that.
fn evil_bin(street: &Street, key: &Ed25519Signer) -> Answers {
    let (file, bytes) = its_bin(street);
    let role = file
        .rsplit('/')
        .next()
        .unwrap()
        .split('.')
        .nth(1)
        .unwrap()
        .to_owned();
    let bin = forged(&role, &bytes, &[key], |bin: &mut Targets| {
        bin.targets.insert(index_of("thing"), TargetFile::of(EVIL));
    });
    let digest = Sha256::of(EVIL).to_hex();
    let target = format!("/tuf/targets/pypi/thing/{digest}.index.json");
    Answers::from([(file, bin), (target, EVIL.to_vec())])
}

#[test]
fn what_a_thief_of_each_key_can_do_and_how_the_drill_ends_it() {
    let clients = Clients::get().unwrap();
    let mut street = Street::new(&clients);
    street.house.people(&["alice", "bob"]);
    street.house.ceremony(1, &["alice", "bob"], &[]);
    let (victim, watcher) = (street.keep(), street.keep());
    let honest = street.house.index("thing");
    assert_eq!(street.python(&watcher, None).sha256(), honest);
    let thief = Thief {
        loot: street.house.stolen(),
    };
    let of = |role: &str| thief.loot.key(role);
    let online = ["timestamp", "snapshot", "index", "bins"].map(of);
    let online: Vec<&Ed25519Signer> = online.iter().collect();

    // Timestamp: can keep the state of now beyond its day, and no longer than its snapshot lasts; shows nothing new.
    let frozen = thief.timestamp(&street, |timestamp| timestamp.expires = now() + 365 * DAY);
    street.answers(Answers::from([(
        "/tuf/pypi/timestamp.json".to_owned(),
        frozen,
    )]));
    let keep = street.keep();
    assert_eq!(street.python(&keep, Some(now() + 3 * DAY)).sha256(), honest);
    let late = street.python(&keep, Some(now() + 8 * DAY));
    assert_eq!(late.refused(), "ExpiredMetadataError");
    let (snapshot, file) = newest_snapshot(&street);
    let emptied = |by: &[&Ed25519Signer]| {
        forged("snapshot", &snapshot, by, |snapshot: &mut Snapshot| {
            snapshot.expires += DAY
        })
    };
    let own = emptied(&[&of("timestamp")]);
    let pointing = thief.timestamp(&street, |timestamp| {
        timestamp.snapshot = MetaFile::of(timestamp.snapshot.version, &own);
    });
    street.answers(Answers::from([
        ("/tuf/pypi/timestamp.json".to_owned(), pointing),
        (file.clone(), own),
    ]));
    street.refused(
        "a timestamp's key signs a snapshot",
        &["UnsignedMetadataError"],
        &["tuf-unsigned"],
    );

    // Snapshot, or index, alone: whatever they sign has another digest than what is named.
    street.answers(Answers::from([(file, emptied(&[&of("snapshot")]))]));
    let differs = ["LengthOrHashMismatchError", "DownloadLengthMismatchError"];
    let codes = ["tuf-digest-mismatch", "answer-too-long"];
    street.refused("a snapshot's key", &differs, &codes);
    let (file, index) = newest(&street, "index");
    let by_index = forged("index", &index, &[&of("index")], |index: &mut Targets| {
        index.expires += DAY
    });
    street.answers(Answers::from([(file, by_index)]));
    street.refused("the index's key", &differs, &codes);

    // Targets and root: one of the two that it takes, or all that the server has.
    let (file, targets) = newest(&street, "targets");
    let alice = {
        let pem = std::fs::read_to_string(street.house.person("alice.pem")).unwrap();
        let der: String = pem
            .lines()
            .filter(|line| !line.starts_with("---"))
            .collect();
        let der = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, der).unwrap();
        // RFC 8410: the seed stands behind sixteen bytes that are always the same.
        Ed25519Signer::new(der[16..48].try_into().unwrap()).unwrap()
    };
    for by in [&[&alice][..], &online] {
        let half = forged("targets", &targets, by, |targets: &mut Targets| {
            targets
                .targets
                .insert(index_of("thing"), TargetFile::of(EVIL));
        });
        let meta = MetaFile::of(
            Envelope::<Targets>::parse("targets", &half, &Limits::default())
                .unwrap()
                .document
                .version,
            &half,
        );
        let mut answers = thief.both(&street, 0, |snapshot| {
            snapshot.meta.insert("targets.json".to_owned(), meta);
        });
        answers.insert(file.clone(), half);
        street.answers(answers);
        street.refused(
            "targets below the threshold",
            &["UnsignedMetadataError"],
            &["tuf-unsigned"],
        );
        let root = street.house.metadata("pypi", "2.root.json");
        let root = forged("root", root.as_bytes(), by, |root: &mut Root| {
            root.version += 1
        });
        street.answers(Answers::from([("/tuf/pypi/3.root.json".to_owned(), root)]));
        street.refused(
            "a root below the threshold",
            &["UnsignedMetadataError"],
            &["tuf-unsigned"],
        );
    }

    // Bins: a new client of TUF alone believes it, within the version that the snapshot names. The log does not have it, and our
    // proxy asks the log; nor is whoever saw that version before asked again.
    street.answers(evil_bin(&street, &of("bins")));
    let keep = street.keep();
    assert_eq!(
        street.python(&keep, None).sha256(),
        Sha256::of(EVIL).to_hex()
    );
    assert_eq!(street.python(&watcher, None).sha256(), honest);
    let code = street.ours(&Mine::new()).unwrap_err();
    assert_eq!(code, "release-hidden");

    // All online keys: leads far ahead.
    let mut answers = evil_bin(&street, &of("bins"));
    answers.extend(thief.both(&street, 1 << 31, |_| {}));
    street.answers(answers);
    assert_eq!(
        street.python(&victim, None).sha256(),
        Sha256::of(EVIL).to_hex()
    );
    let led = street.python(&victim, None).versions();
    assert!(led[1] > 1 << 31, "{led:?}");
    assert_eq!(street.ours(&Mine::new()).unwrap_err(), "release-hidden");
    drill(&mut street, &thief, &victim, &watcher);
}

fn drill(street: &mut Street, thief: &Thief, victim: &Keep, watcher: &Keep) {
    let honest = street.house.index("thing");
    let before = street.house.status();
    street
        .house
        .server
        .run(&["tuf", "rotate-online", "bins"])
        .unwrap();
    for role in ["index", "snapshot", "timestamp", "targets"] {
        let bundle = street.house.person(&format!("drill-{role}.json"));
        let file = bundle.to_str().unwrap();
        let words = ["tuf", "rotate-online", role, "--bundle", file];
        street.house.server.run(&words).unwrap();
        street.house.sign_and_publish(&bundle, &["alice", "bob"]);
    }
    // The last step: what was stolen is good for nothing any more, so that the server can do without.
    let (old, after) = (before.to_string(), street.house.status());
    for repository in after["repositories"].as_array().unwrap() {
        for role in repository["roles"].as_array().unwrap() {
            if role["people"] == false {
                for key in role["keys"].as_array().unwrap() {
                    assert!(!old.contains(key.as_str().unwrap()), "{repository}");
                }
            }
        }
    }
    let seed = street.house.server.data().join("keys/tuf-development.seed");
    std::fs::remove_file(seed).unwrap();
    street.house.server.kill().unwrap();
    street.house.server.serve().unwrap();
    street.house.publish("thing", "1.2");
    street.house.server.rest().unwrap();
    let honest_now = street.house.index("thing");
    assert_ne!(honest, honest_now);
    // Whoever was led astray heals, with the root that they had.
    street.relay.honest();
    for keep in [victim, watcher, &street.keep()] {
        let told = street.python(keep, None);
        assert_eq!((told.sha256(), told.versions()[0]), (honest_now.clone(), 4));
    }
    assert_eq!(street.ours(&Mine::new()), Ok(()));
    // The thief goes on.
    let fresh = street.keep();
    for change in [0, 1 << 31] {
        street.answers(thief.both(street, change, |_| {}));
        street.refused(
            "a thief after the drill",
            &["UnsignedMetadataError"],
            &["tuf-unsigned"],
        );
        for keep in [victim, watcher, &fresh] {
            assert_eq!(street.python(keep, None).refused(), "UnsignedMetadataError");
        }
    }
    street.answers(evil_bin(street, &thief.loot.key("bins")));
    street.refused(
        "bins after the drill",
        &["UnsignedMetadataError"],
        &["tuf-unsigned"],
    );
    street.relay.honest();
    assert_eq!(street.python(victim, None).sha256(), honest_now);
}
