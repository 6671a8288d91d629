//! The proxy: what it passes on, and what somebody between it and the registry can not do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use countersign::proxy::evidence::{Evidence, Finding};
use countersign::proxy::session::Trouble;
use countersign::proxy::upstream::Upstream;
use countersign::proxy::{Bytestream, Demands, Folders, Proxy, Served};
use countersign::trusted::TrustFile;
use countersign_formats::Ecosystem;
use countersign_testkit::mangled::mangled;
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::LeafKind;
use countersign_trust::sigstore::{PolicyFile, TrustRoot};
use serde_json::json;
use tempfile::TempDir;

use crate::paper_registry::{PaperRegistry, contents};
use crate::relay::{Relay, Twist, changing, flipped, is};
use crate::user::User;

const DAY: i64 = 86_400;

pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// A registry with two projects, somebody in front of it, and a user who pinned it through them while they were honest.
struct Scene {
    registry: Arc<Mutex<PaperRegistry>>,
    relay: Relay,
    user: User,
    runtime: tokio::runtime::Runtime,
}

/// One user's proxy with what it keeps.
pub struct Mine {
    folder: TempDir,
    /// By how many seconds its clock is ahead.
    pub clock: Arc<AtomicI64>,
    patience: Duration,
}

impl Scene {
    fn new() -> Self {
        let mut paper = PaperRegistry::new(now());
        paper.publish("thing", "1.0");
        paper.publish("other", "1.0");
        let registry = Arc::new(Mutex::new(paper));
        let answers = registry.clone();
        let relay = Relay::before(move |_, path, _, _| answers.lock().unwrap().answer(path));
        let user = User::new();
        let pin = ["trust", "add", &relay.url(), "--yes"];
        user.run(&pin).expect(0, &["Pinned", "TUF root"]);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self {
            registry,
            relay,
            user,
            runtime,
        }
    }

    fn publish(&self, name: &str, version: &str) {
        self.registry.lock().unwrap().publish(name, version);
    }

    /// What the registry answers now.
    fn recorded(&self, paths: &[String]) -> HashMap<String, (u16, Vec<u8>)> {
        let registry = self.registry.lock().unwrap();
        let answer = |path: &String| (path.clone(), registry.answer(path));
        paths.iter().map(answer).collect()
    }

    fn proxy(&self, mine: &Mine, change: impl FnOnce(&mut Demands)) -> Arc<Proxy> {
        mine.proxy(&self.user, change)
    }

    fn page(&self, proxy: &Proxy, key: &str) -> Result<Arc<Served>, Trouble> {
        let base = "http://127.0.0.1:1";
        self.runtime
            .block_on(proxy.page(Ecosystem::Pypi, key, base, None))
    }

    /// All bytes of the first file of a project, or of its metadata.
    fn file(&self, proxy: &Arc<Proxy>, key: &str, metadata: bool) -> Result<Vec<u8>, Trouble> {
        let served = self.page(proxy, key)?;
        let entry = served.page.entries[0].clone();
        let got = self
            .runtime
            .block_on(proxy.file(&served, &entry, metadata, None))?;
        match got {
            Bytestream::Whole(bytes) => Ok(bytes),
            _ => panic!("small files are verified before they go out"),
        }
    }

    /// That it is refused with this code, that evidence is written, and that it shows the same to whoever checks it.
    #[track_caller]
    fn refused<T>(&self, proxy: &Proxy, got: Result<T, Trouble>, codes: &[&str]) {
        let Err(trouble) = got else {
            panic!("it is not refused");
        };
        let code = trouble.failure.code.clone().into_owned();
        assert!(codes.contains(&&*code), "{:?}", trouble.failure);
        let seen = trouble.seen.is_some();
        let refused = proxy.refuse("a test", trouble);
        let Some(path) = refused.evidence.filter(|_| seen) else {
            assert!(!seen, "there is no evidence");
            return;
        };
        let finding = Evidence::read(&path).unwrap().check();
        assert!(
            matches!(&finding, Finding::Confirmed { code: again, .. } if *again == code),
            "{finding:?}"
        );
        let path = path.to_str().unwrap();
        let again = ["verify", "--evidence", path];
        self.user
            .run(&again)
            .expect(0, &["found again", &code, "as you pinned it"]);
        // Another answer in it shows something else, or nothing.
        let text = std::fs::read_to_string(path).unwrap();
        let other = text.replacen(
            &format!("\"code\": \"{code}\""),
            "\"code\": \"tuf-other\"",
            1,
        );
        assert_ne!(text, other);
        std::fs::write(path, other).unwrap();
        self.user
            .run(&again)
            .expect(3, &["does not show what it says"]);
        std::fs::remove_file(path).unwrap();
    }
}

impl Mine {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::default(),
            // Longer than a loaded machine needs for an answer.
            patience: Duration::from_secs(10),
        }
    }

    /// Of the registry that this user pinned.
    pub fn proxy(&self, user: &User, change: impl FnOnce(&mut Demands)) -> Arc<Proxy> {
        let trust = TrustFile::load(&user.path("home/trust.toml")).unwrap();
        let pinned = trust.registry(None).unwrap().clone();
        let patience = self.patience;
        let upstream = Upstream::new(&pinned.url, None, None, patience).unwrap();
        let mut demands = Demands {
            fresh: Duration::ZERO,
            min_age: None,
            allow_expired: false,
            completeness: true,
            policy: None,
            roots: TrustRoot::public_good(),
            known: None,
        };
        change(&mut demands);
        let folders = Folders {
            state: self.folder.path().join("state"),
            cache: self.folder.path().join("cache"),
            evidence: self.folder.path().join("evidence"),
        };
        let clock = self.clock.clone();
        let proxy = Proxy::new(
            pinned,
            trust,
            upstream,
            Box::new(|| panic!("nobody asks about attestations here")),
            demands,
            folders,
            1 << 30,
            Box::new(move || now() + clock.load(Ordering::Relaxed)),
            Box::new(|_| {}),
        );
        Arc::new(proxy.unwrap())
    }
}

type Attack = fn(&Scene);

#[test]
fn an_honest_registry_is_passed_on_and_each_attack_in_between_is_refused() {
    let scene = Scene::new();
    let attacks: [(&str, Attack); 20] = [
        ("honest", honest),
        ("dependency confusion", dependency_confusion),
        ("arbitrary installation", arbitrary_installation),
        ("extraneous dependencies", extraneous_dependencies),
        ("wrong software", wrong_software),
        ("mix and match", mix_and_match),
        ("rollback", rollback),
        ("indefinite freeze", freeze),
        ("clock off by a year", clock_off_by_a_year),
        ("mangled evidence", mangled_evidence),
        ("slow retrieval", slow_retrieval),
        ("endless data", endless_data),
        ("malicious mirror", malicious_mirror),
        ("key compromise below the threshold", key_compromise),
        (
            "truncated and duplicated metadata",
            truncated_and_duplicated,
        ),
        ("hidden release", hidden_release),
        ("minimum age", minimum_age),
        ("a registry that hides or replaces", lying_registry),
        ("root compromise below the threshold", root_compromise),
        ("expired root with a long chain", long_chain),
    ];
    for (name, attack) in attacks {
        eprintln!("{name}");
        scene.relay.honest();
        attack(&scene);
    }
}

fn honest(scene: &Scene) {
    let proxy = scene.proxy(&Mine::new(), |_| {});
    let served = scene
        .page(&proxy, "thing")
        .unwrap_or_else(|trouble| panic!("{:?}", trouble.failure));
    assert_eq!(
        served.page.entries[0].sha256,
        Sha256::of(&contents("thing", "1.0")).to_hex()
    );
    let bytes = scene.file(&proxy, "thing", false);
    assert_eq!(bytes.ok(), Some(contents("thing", "1.0")));
    // The second time nothing is fetched but the timestamp and what may be a new root.
    scene.relay.take_seen();
    assert!(scene.file(&proxy, "thing", false).is_ok());
    let seen = scene.relay.take_seen();
    assert!(
        seen.iter()
            .all(|path| path.ends_with("/timestamp.json") || path.ends_with(".root.json")),
        "{seen:?}"
    );
    let nothing = scene.page(&proxy, "nothing");
    assert_eq!(nothing.err().unwrap().failure.code, "unknown-project");
    assert!(scene.relay.logins().is_empty());
}

fn arbitrary_installation(scene: &Scene) {
    let mine = Mine::new();
    let proxy = scene.proxy(&mine, |_| {});
    scene.relay.twist(changing("/files/", ".whl", flipped));
    let got = scene.file(&proxy, "thing", false);
    scene.refused(&proxy, got, &["file-mismatch"]);
    // Nothing of it was kept.
    scene.relay.honest();
    assert_eq!(
        scene.file(&proxy, "thing", false).ok(),
        Some(contents("thing", "1.0"))
    );
    for (start, end) in [
        ("/tuf/targets/", "index.json"),
        ("/tuf/pypi/", "snapshot.json"),
        ("/tuf/pypi/", "targets.json"),
        ("/tuf/pypi/", "index.json"),
        (".bins-", ".json"),
    ] {
        let proxy = scene.proxy(&Mine::new(), |_| {});
        scene.relay.twist(changing(start, end, flipped));
        let got = scene.page(&proxy, "thing");
        scene.refused(
            &proxy,
            got,
            &["tuf-digest-mismatch", "tuf-unsigned", "tuf-malformed"],
        );
    }
}

fn extraneous_dependencies(scene: &Scene) {
    let proxy = scene.proxy(&Mine::new(), |_| {});
    scene
        .relay
        .twist(changing("/tuf/targets/pypi/", "index.json", |bytes| {
            String::from_utf8(bytes)
                .unwrap()
                .replace(
                    "\"files\":[",
                    "\"files\":[{\"filename\":\"thing-9-py3-none-any.whl\"},",
                )
                .into_bytes()
        }));
    let got = scene.page(&proxy, "thing");
    scene.refused(&proxy, got, &["tuf-digest-mismatch"]);
    scene
        .relay
        .twist(changing("/files/", ".metadata", |mut bytes| {
            bytes.extend_from_slice(b"Requires-Dist: evil\n");
            bytes
        }));
    let got = scene.file(&proxy, "thing", true);
    assert_eq!(got.err().unwrap().failure.code, "file-mismatch");
}

fn wrong_software(scene: &Scene) {
    let paths = |key: &str| {
        let proxy = scene.proxy(&Mine::new(), |_| {});
        scene.relay.take_seen();
        assert!(scene.file(&proxy, key, false).is_ok());
        let seen = scene.relay.take_seen();
        let below = |path: &str| path.starts_with("/tuf/targets/") || path.starts_with("/files/");
        let find = |end: &str| {
            let mut found = seen
                .iter()
                .filter(|path| below(path) && path.ends_with(end));
            found.next().unwrap().clone()
        };
        (find("index.json"), find(".whl"))
    };
    let ((thing_index, thing_file), (other_index, other_file)) = (paths("thing"), paths("other"));
    let answers = scene.recorded(&[other_index.clone(), other_file.clone()]);
    for (asked, given, code) in [
        (thing_index, other_index, "tuf-digest-mismatch"),
        (thing_file, other_file, "file-mismatch"),
    ] {
        let (status, body) = answers[&given].clone();
        scene.relay.twist(move |path| match path == asked {
            true => Twist::Say(status, body.clone()),
            false => Twist::Pass,
        });
        let proxy = scene.proxy(&Mine::new(), |_| {});
        let got = scene.file(&proxy, "thing", false);
        scene.refused(&proxy, got, &[code]);
    }
}

/// All that was asked of TUF for one project.
fn metadata_of(scene: &Scene, mine: &Mine, key: &str) -> Vec<String> {
    let proxy = scene.proxy(mine, |_| {});
    scene.relay.take_seen();
    assert!(scene.page(&proxy, key).is_ok());
    let mut seen = scene.relay.take_seen();
    seen.retain(|path| path.starts_with("/tuf/pypi/"));
    seen
}

fn mix_and_match(scene: &Scene) {
    let old = metadata_of(scene, &Mine::new(), "thing");
    let before = scene.recorded(&old);
    scene.publish("thing", "1.1");
    // Under the new names stand the old files.
    for end in [".snapshot.json", ".json"] {
        let of = |path: &str| {
            let stem = path.rsplit('/').next().unwrap().split_once('.').unwrap().1;
            stem.to_owned()
        };
        let (old, before) = (old.clone(), before.clone());
        scene.relay.twist(move |path| {
            let numbered = path
                .rsplit('/')
                .next()
                .is_some_and(|file| file.starts_with(|c: char| c.is_ascii_digit()));
            let same = old
                .iter()
                .find(|one| numbered && path.ends_with(end) && of(one) == of(path));
            match same {
                Some(same)
                    if path.starts_with("/tuf/pypi/")
                        && !path.ends_with(".root.json")
                        && before[same].0 == 200 =>
                {
                    Twist::Say(200, before[same].1.clone())
                }
                _ => Twist::Pass,
            }
        });
        let proxy = scene.proxy(&Mine::new(), |_| {});
        let got = scene.page(&proxy, "thing");
        scene.refused(
            &proxy,
            got,
            &["tuf-digest-mismatch", "tuf-version-mismatch"],
        );
    }
}

fn rollback(scene: &Scene) {
    let mine = Mine::new();
    let old = metadata_of(scene, &mine, "thing");
    let before = scene.recorded(&old);
    scene.publish("thing", "1.2");
    let proxy = scene.proxy(&mine, |_| {});
    assert!(scene.page(&proxy, "thing").is_ok());
    scene.relay.twist(move |path| match before.get(path) {
        Some((status, body)) => Twist::Say(*status, body.clone()),
        None => Twist::Pass,
    });
    let got = scene.page(&proxy, "thing");
    scene.refused(&proxy, got, &["tuf-rollback"]);
    // And after a restart.
    let proxy = scene.proxy(&mine, |_| {});
    let got = scene.page(&proxy, "thing");
    scene.refused(&proxy, got, &["tuf-rollback"]);
    scene.relay.honest();
    assert!(scene.page(&proxy, "thing").is_ok());
}

fn freeze(scene: &Scene) {
    let mine = Mine::new();
    let old = metadata_of(scene, &mine, "thing");
    let before = scene.recorded(&old);
    scene.relay.twist(move |path| match before.get(path) {
        Some((status, body)) => Twist::Say(*status, body.clone()),
        None => Twist::Pass,
    });
    let proxy = scene.proxy(&mine, |_| {});
    // Within its time nobody can tell that it is old.
    assert!(scene.page(&proxy, "thing").is_ok());
    mine.clock.store(2 * DAY, Ordering::Relaxed);
    let got = scene.page(&proxy, "thing");
    scene.refused(&proxy, got, &["tuf-expired"]);
    // Nobody answers: what was kept is over its time too, unless that is allowed.
    scene.relay.twist(|_| Twist::HangUp);
    let got = scene.page(&proxy, "thing");
    assert_eq!(got.err().unwrap().failure.code, "tuf-expired");
    let proxy = scene.proxy(&mine, |demands| demands.allow_expired = true);
    assert!(scene.page(&proxy, "thing").is_ok());
}

fn clock_off_by_a_year(scene: &Scene) {
    let mine = Mine::new();
    mine.clock.store(366 * DAY, Ordering::Relaxed);
    let proxy = scene.proxy(&mine, |_| {});
    let got = scene.page(&proxy, "thing");
    scene.refused(&proxy, got, &["tuf-expired"]);
    // A clock that stands behind sees nothing expire; what is younger than its past is too young for it.
    mine.clock.store(-366 * DAY, Ordering::Relaxed);
    let proxy = scene.proxy(&mine, |demands| demands.min_age = Some(Duration::ZERO));
    let got = scene.page(&proxy, "thing");
    assert_eq!(got.err().unwrap().failure.code, "too-new");
}

/// A file of evidence comes from strangers.
fn mangled_evidence(scene: &Scene) {
    scene
        .relay
        .twist(changing("/tuf/pypi/", "timestamp.json", flipped));
    let proxy = scene.proxy(&Mine::new(), |_| {});
    let Err(trouble) = scene.page(&proxy, "thing") else {
        panic!("it is not refused");
    };
    let path = proxy.refuse("a test", trouble).evidence.unwrap();
    let good = std::fs::read(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    let mut read = 0;
    for bytes in mangled(&good, 400) {
        if let Ok(evidence) = Evidence::parse(&bytes) {
            // Whatever it finds: it finds it and ends.
            let _ = evidence.check();
            read += 1;
        }
    }
    assert!(read > 0);
    scene.relay.honest();
}

fn slow_retrieval(scene: &Scene) {
    for path in ["timestamp.json", "index.json", ".whl"] {
        scene.relay.twist(move |asked| match asked.ends_with(path) {
            true => Twist::Slow,
            false => Twist::Pass,
        });
        let mine = Mine {
            patience: Duration::from_secs(1),
            ..Mine::new()
        };
        let proxy = scene.proxy(&mine, |_| {});
        let begun = Instant::now();
        let got = scene.file(&proxy, "thing", false);
        assert_eq!(got.err().unwrap().failure.code, "slow", "{path}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{path}");
    }
}

fn endless_data(scene: &Scene) {
    for (path, codes) in [
        ("timestamp.json", &["answer-too-long"][..]),
        ("snapshot.json", &["answer-too-long"]),
        ("/completeness/pypi/thing", &["answer-too-long"]),
        (".index.json", &["tuf-digest-mismatch", "answer-too-long"]),
        (".whl", &["file-mismatch"]),
    ] {
        scene.relay.twist(move |asked| match asked.ends_with(path) {
            true => Twist::Endless,
            false => Twist::Pass,
        });
        let proxy = scene.proxy(&Mine::new(), |_| {});
        let got = scene.file(&proxy, "thing", false);
        let code = got.err().unwrap().failure.code.into_owned();
        assert!(codes.contains(&&*code), "{path}: {code}");
    }
}

fn malicious_mirror(scene: &Scene) {
    let mine = Mine::new();
    let proxy = scene.proxy(&mine, |_| {});
    assert!(scene.file(&proxy, "thing", false).is_ok());
    // Whoever keeps the news away can not keep away what is here, as long as it is in time.
    scene.relay.twist(|_| Twist::Say(500, b"no".to_vec()));
    let again = scene.proxy(&mine, |_| {});
    assert_eq!(
        scene.file(&again, "thing", false).ok(),
        Some(contents("thing", "1.0"))
    );
    assert_eq!(
        scene.page(&again, "other").err().unwrap().failure.code,
        "offline"
    );
    // Nor pass for a registry that has nothing.
    scene.relay.twist(|_| Twist::Say(404, Vec::new()));
    let proxy = scene.proxy(&mine, |_| {});
    let got = scene.page(&proxy, "thing");
    scene.refused(&proxy, got, &["tuf-missing"]);
    scene.relay.twist(|path| match path.starts_with("/files/") {
        true => Twist::Say(404, Vec::new()),
        false => Twist::Pass,
    });
    let proxy = scene.proxy(&Mine::new(), |_| {});
    let got = scene.file(&proxy, "thing", false);
    assert_eq!(got.err().unwrap().failure.code, "file-missing");
}

fn key_compromise(scene: &Scene) {
    // Whoever has a key that is not the role's signs what they like: here the signatures of another version.
    for role in ["timestamp.json", "snapshot.json"] {
        scene
            .relay
            .twist(move |path| match is(path, "/tuf/pypi/", role) {
                true => Twist::Change(Arc::new(|bytes| {
                    let mut value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                    let version = value["signed"]["version"].as_u64().unwrap();
                    value["signed"]["version"] = json!(version + 1000);
                    value.to_string().into_bytes()
                })),
                false => Twist::Pass,
            });
        let mine = Mine::new();
        let proxy = scene.proxy(&mine, |_| {});
        let got = scene.page(&proxy, "thing");
        scene.refused(
            &proxy,
            got,
            &["tuf-unsigned", "tuf-digest-mismatch", "answer-too-long"],
        );
        // It left nothing behind.
        scene.relay.honest();
        assert!(scene.page(&proxy, "thing").is_ok());
    }
}

fn truncated_and_duplicated(scene: &Scene) {
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let twice = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        text.replacen('{', "{\"signatures\":[],", 1).into_bytes()
    };
    for (role, change) in [
        ("timestamp.json", cut as fn(Vec<u8>) -> Vec<u8>),
        ("timestamp.json", twice),
        ("snapshot.json", cut),
        ("targets.json", cut),
        ("targets.json", twice),
    ] {
        scene.relay.twist(changing("/tuf/pypi/", role, change));
        let proxy = scene.proxy(&Mine::new(), |_| {});
        let got = scene.page(&proxy, "thing");
        scene.refused(
            &proxy,
            got,
            &["tuf-malformed", "tuf-digest-mismatch", "answer-too-long"],
        );
    }
    scene
        .relay
        .twist(changing("/api/v1/log/completeness/", "", cut));
    let proxy = scene.proxy(&Mine::new(), |_| {});
    let got = scene.page(&proxy, "thing");
    scene.refused(&proxy, got, &["completeness"]);
}

fn hidden_release(scene: &Scene) {
    let mine = Mine::new();
    let path = "/api/v1/log/completeness/pypi/thing".to_owned();
    let before = scene.recorded(std::slice::from_ref(&path));
    scene.publish("thing", "1.3");
    // The log as it was before the release that the index has.
    let (status, body) = before[&path].clone();
    scene.relay.twist(move |asked| match *asked == path {
        true => Twist::Say(status, body.clone()),
        false => Twist::Pass,
    });
    let proxy = scene.proxy(&mine, |_| {});
    let got = scene.page(&proxy, "thing");
    scene.refused(&proxy, got, &["not-in-log"]);
    // The leaves of another project.
    let other = scene.recorded(&["/api/v1/log/completeness/pypi/other".to_owned()]);
    let (status, body) = other.into_values().next().unwrap();
    scene.relay.twist(
        move |asked| match asked.ends_with("/completeness/pypi/thing") {
            true => Twist::Say(status, body.clone()),
            false => Twist::Pass,
        },
    );
    let got = scene.page(&proxy, "thing");
    scene.refused(&proxy, got, &["completeness"]);
    scene
        .relay
        .twist(|asked| match asked.contains("/completeness/") {
            true => Twist::Say(404, Vec::new()),
            false => Twist::Pass,
        });
    let got = scene.page(&proxy, "thing");
    assert_eq!(got.err().unwrap().failure.code, "completeness-withheld");
}

fn minimum_age(scene: &Scene) {
    let mine = Mine::new();
    let proxy = scene.proxy(&mine, |demands| {
        demands.min_age = Some(Duration::from_secs(7200))
    });
    let got = scene.page(&proxy, "thing");
    assert_eq!(got.err().unwrap().failure.code, "too-new");
    mine.clock.store(3 * 3600, Ordering::Relaxed);
    let served = scene
        .page(&proxy, "thing")
        .unwrap_or_else(|trouble| panic!("{:?}", trouble.failure));
    assert!(served.page.left_out.is_empty());
}

/// Names that are private come from their registry alone: another one is not asked, and nothing else is where they are missing.
fn dependency_confusion(scene: &Scene) {
    let mine = Mine::new();
    let policy = |origin: &str| {
        let text = format!(
            "format = \"countersign-policy/v1\"\nunlisted = \"pass\"\n[[private]]\nnames = [\"pkg:pypi/thing\", \"pkg:pypi/thing-*\"]\norigin = \"{origin}\"\n"
        );
        PolicyFile::parse(text.as_bytes()).unwrap()
    };
    let elsewhere = scene.proxy(&mine, |demands| {
        demands.policy = Some(policy("elsewhere.example/log/1"))
    });
    for key in ["thing", "thing-that-nobody-has"] {
        let failure = scene.page(&elsewhere, key).err().unwrap().failure;
        assert_eq!(failure.code, "private-name", "{failure:?}");
        assert!(failure.message.contains("elsewhere.example"), "{failure:?}");
    }
    assert!(
        scene.page(&elsewhere, "other").is_ok(),
        "others are passed on"
    );
    let origin = elsewhere.pinned().origin.clone();
    let here = scene.proxy(&mine, |demands| demands.policy = Some(policy(&origin)));
    assert!(scene.page(&here, "thing").is_ok());
    let failure = scene
        .page(&here, "thing-that-nobody-has")
        .err()
        .unwrap()
        .failure;
    assert_eq!(failure.code, "unknown-project", "{failure:?}");
    assert!(failure.message.contains("nowhere else"), "{failure:?}");
}

fn lying_registry(scene: &Scene) {
    let mine = Mine::new();
    let proxy = scene.proxy(&mine, |_| {});
    scene.publish("liar", "1.0");
    scene.publish("liar", "2.0");
    assert!(scene.page(&proxy, "liar").is_ok());
    // Signed by the right keys, and hidden nevertheless: the log knows it.
    scene.registry.lock().unwrap().take_out("liar", "2.0", None);
    let got = scene.page(&proxy, "liar");
    scene.refused(&proxy, got, &["release-hidden"]);
    // Said in the log, it is no secret.
    let mut registry = scene.registry.lock().unwrap();
    registry.take_out("liar", "2.0", Some(LeafKind::Deleted));
    drop(registry);
    assert!(scene.page(&proxy, "liar").is_ok());
    // An old map, and nothing of what came after: signed by all the right keys as well.
    let size = scene.registry.lock().unwrap().size();
    scene.publish("liar", "3.0");
    let mut registry = scene.registry.lock().unwrap();
    registry.take_out("liar", "3.0", None);
    registry.map_ends = Some(size);
    drop(registry);
    // Not the proxy that asked about this very index a moment ago: its answer is good for ten minutes.
    let proxy = scene.proxy(&mine, |_| {});
    let got = scene.page(&proxy, "liar");
    scene.refused(&proxy, got, &["completeness-stale"]);
    // Shown all, it is plain that one is hidden.
    let mut registry = scene.registry.lock().unwrap();
    registry.map_ends = None;
    registry.publish("liar", "4.0");
    drop(registry);
    assert_eq!(
        scene.page(&proxy, "liar").err().unwrap().failure.code,
        "release-hidden"
    );
    scene
        .registry
        .lock()
        .unwrap()
        .take_out("liar", "3.0", Some(LeafKind::Deleted));
    assert!(scene.page(&proxy, "liar").is_ok());
    scene.registry.lock().unwrap().replace_in_index("liar");
    let got = scene.page(&proxy, "liar");
    scene.refused(&proxy, got, &["index-differs"]);
}

fn root_compromise(scene: &Scene) {
    let (path, root) = scene.registry.lock().unwrap().half_signed_root();
    scene.relay.twist(move |asked| match *asked == path {
        true => Twist::Say(200, root.clone()),
        false => Twist::Pass,
    });
    let proxy = scene.proxy(&Mine::new(), |_| {});
    let got = scene.page(&proxy, "thing");
    scene.refused(&proxy, got, &["tuf-unsigned"]);
}

fn long_chain(scene: &Scene) {
    let (mine, new) = (Mine::new(), Mine::new());
    assert!(scene.page(&scene.proxy(&mine, |_| {}), "thing").is_ok());
    scene.registry.lock().unwrap().rotate(40);
    // Whoever comes from before the chain and whoever is new both end at the root that is in time.
    for mine in [&mine, &new] {
        let proxy = scene.proxy(mine, |_| {});
        let got = scene.page(&proxy, "thing");
        assert!(
            got.is_ok(),
            "{:?}",
            got.err().map(|trouble| trouble.failure)
        );
    }
    // Whoever keeps the last root away leaves one that is over.
    scene
        .relay
        .twist(|path| match path.ends_with("/41.root.json") {
            true => Twist::Say(404, Vec::new()),
            false => Twist::Pass,
        });
    let proxy = scene.proxy(&Mine::new(), |_| {});
    let got = scene.page(&proxy, "thing");
    scene.refused(&proxy, got, &["tuf-expired"]);
}
