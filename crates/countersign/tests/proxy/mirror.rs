//! Somebody who serves as a mirror in front of a running registry, and what they can not do to python-tuf, tuf-js and our proxy:
//! the list of PEP 458, appendix A.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use countersign::proxy::Bytestream;
use countersign_formats::Ecosystem;
use countersign_testkit::clients::Clients;
use countersign_testkit::http;
use countersign_testkit::server::Database;
use countersign_testkit::tuf::{Keep, Told};

use crate::attacks::{Mine, now};
use crate::house::{House, index_of};
use crate::relay::{Relay, Twist, changing, flipped, is};
use crate::user::User;

/// In seconds.
const DAY: i64 = 86_400;

/// A house, a mirror in front of it, and a user who pinned it through the mirror while that was honest.
pub struct Street {
    pub house: House,
    pub relay: Relay,
    pub user: User,
    runtime: tokio::runtime::Runtime,
}

impl Street {
    pub fn new(clients: &Clients) -> Self {
        let house = House::new(clients, Database::Sqlite);
        house.publish("thing", "1.0");
        house.publish("other", "1.0");
        house.server.rest().unwrap();
        let relay = Relay::start(&house.server.url());
        let user = User::new();
        let pin = ["trust", "add", &relay.url(), "--yes"];
        user.run(&pin).expect(0, &["Pinned", "TUF root"]);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self {
            house,
            relay,
            user,
            runtime,
        }
    }

    /// Waits for something of the user's proxy.
    pub fn block_on<T>(&self, of: impl Future<Output = T>) -> T {
        self.runtime.block_on(of)
    }

    /// What somebody has who pinned the first root and asks at the mirror.
    pub fn keep(&self) -> Keep {
        let (from, to) = (self.house.server.url(), self.relay.url());
        self.house.pinned("pypi").at(&from, &to)
    }

    /// python-tuf's look at the index of `thing`.
    pub fn python(&mut self, keep: &Keep, at: Option<i64>) -> Told {
        let path = index_of("thing");
        self.house.python.ask(keep, Some(&path), at).unwrap()
    }

    pub fn javascript(&mut self, keep: &Keep, at: Option<i64>) -> Told {
        let path = index_of("thing");
        self.house.javascript.ask(keep, Some(&path), at).unwrap()
    }

    /// Our proxy's look at it and at its first file: the code of what is refused.
    pub fn ours(&self, mine: &Mine) -> Result<(), String> {
        let proxy = mine.proxy(&self.user, |_| {});
        let code = |trouble: countersign::proxy::session::Trouble| {
            trouble.failure.code.clone().into_owned()
        };
        let page = proxy.page(Ecosystem::Pypi, "thing", "http://127.0.0.1:1", None);
        let served = self.runtime.block_on(page).map_err(code)?;
        let entry = served.page.entries[0].clone();
        let file = proxy.file(&served, &entry, false, None);
        match self.runtime.block_on(file).map_err(code)? {
            Bytestream::Whole(_) => Ok(()),
            _ => panic!("small files are verified before they go out"),
        }
    }

    /// What the registry answers now to all that a new client asks for one project.
    pub fn recorded(&mut self) -> HashMap<String, (u16, Vec<u8>)> {
        self.relay.take_seen();
        let keep = self.keep();
        self.python(&keep, None).versions();
        self.ours(&Mine::new()).unwrap();
        let seen = self.relay.take_seen();
        let url = self.house.server.url();
        let answer = |path: String| {
            let answer = http::get(&format!("{url}{path}")).unwrap();
            (path, (answer.status, answer.body))
        };
        seen.into_iter().map(answer).collect()
    }

    /// Answers as then to whatever was asked then.
    pub fn replay(&self, then: HashMap<String, (u16, Vec<u8>)>) {
        self.relay.twist(move |path| match then.get(path) {
            Some((status, body)) => Twist::Say(*status, body.clone()),
            None => Twist::Pass,
        });
    }

    /// New clients of all three kinds refuse: python-tuf with one of these exceptions, our proxy with one of these codes.
    #[track_caller]
    pub fn refused(&mut self, attack: &str, python: &[&str], ours: &[&str]) {
        let keep = self.keep();
        let told = self.python(&keep, None);
        assert!(python.contains(&told.refused()), "{attack}: {told:?}");
        let told = self.javascript(&keep, None);
        assert!(matches!(told, Told::Refused(..)), "{attack}: {told:?}");
        let code = self.ours(&Mine::new()).expect_err(attack);
        assert!(ours.contains(&&*code), "{attack}: {code}");
    }
}

#[test]
fn a_mirror_in_front_of_a_registry_that_lies_convinces_nobody() {
    let clients = Clients::get().unwrap();
    let mut street = Street::new(&clients);
    let honest = |street: &mut Street| {
        street.relay.honest();
        let keep = street.keep();
        assert_eq!(
            street.python(&keep, None).sha256(),
            street.house.index("thing")
        );
        assert_eq!(
            street.javascript(&keep, None).sha256(),
            street.house.index("thing")
        );
        assert_eq!(street.ours(&Mine::new()), Ok(()));
    };
    honest(&mut street);

    // Arbitrary installation, extraneous dependencies: other bytes in the place of any document.
    let unreadable = [
        "LengthOrHashMismatchError",
        "UnsignedMetadataError",
        "DeserializationError",
        "RepositoryError",
    ];
    let codes = ["tuf-digest-mismatch", "tuf-unsigned", "tuf-malformed"];
    for (start, end) in [
        ("/tuf/targets/", "index.json"),
        ("/tuf/pypi/", "timestamp.json"),
        ("/tuf/pypi/", "snapshot.json"),
        ("/tuf/pypi/", ".targets.json"),
        ("/tuf/pypi/", ".index.json"),
        (".bins-", ".json"),
    ] {
        street.relay.twist(changing(start, end, flipped));
        street.refused(
            &format!("arbitrary installation: {start} {end}"),
            &unreadable,
            &codes,
        );
    }
    street
        .relay
        .twist(changing("/tuf/targets/pypi/", "index.json", |bytes| {
            let text = String::from_utf8(bytes).unwrap();
            text.replacen(
                "\"files\":[",
                "\"files\":[{\"filename\":\"evil-1-py3-none-any.whl\"},",
                1,
            )
            .into_bytes()
        }));
    let longer = ["LengthOrHashMismatchError", "DownloadLengthMismatchError"];
    street.refused(
        "extraneous dependencies",
        &longer,
        &["tuf-digest-mismatch", "answer-too-long"],
    );
    // A timestamp that is read in two ways.
    street
        .relay
        .twist(changing("/tuf/pypi/", "timestamp.json", |bytes| {
            bytes[..bytes.len() / 2].to_vec()
        }));
    street.refused(
        "truncated metadata",
        &["DeserializationError"],
        &["tuf-malformed"],
    );

    // Wrong software: the documents of another project.
    let other = street.house.index("other");
    let wrong = http::get(&format!(
        "{}/tuf/targets/pypi/other/{other}.index.json",
        street.house.server.url()
    ));
    let wrong = wrong.unwrap().expect_status(200).unwrap().body;
    street.relay.twist(
        move |path| match is(path, "/tuf/targets/pypi/thing", "index.json") {
            true => Twist::Say(200, wrong.clone()),
            false => Twist::Pass,
        },
    );
    street.refused(
        "wrong software",
        &longer,
        &["tuf-digest-mismatch", "answer-too-long"],
    );

    // Endless data.
    for end in [
        "timestamp.json",
        "snapshot.json",
        ".targets.json",
        ".index.json",
    ] {
        street.relay.twist(move |path| match path.ends_with(end) {
            true => Twist::Endless,
            false => Twist::Pass,
        });
        let keep = street.keep();
        let told = street.python(&keep, None);
        assert_eq!(told.refused(), "DownloadLengthMismatchError", "{end}");
        let code = street.ours(&Mine::new()).unwrap_err();
        assert!(
            ["answer-too-long", "tuf-digest-mismatch"].contains(&&*code),
            "{end}: {code}"
        );
    }

    // Slow retrieval: python-tuf gives up where a byte is late, and where they are not, at the length that it takes; what it knew
    // before stays what it knows.
    street.relay.honest();
    let keep = street.keep();
    let known = street.python(&keep, None);
    street.house.python.patience = Some(1);
    for (end, twist, refusal) in [
        ("timestamp.json", Twist::Stall, "SlowRetrievalError"),
        ("index.json", Twist::Stall, "SlowRetrievalError"),
        (
            "timestamp.json",
            Twist::Trickle,
            "DownloadLengthMismatchError",
        ),
    ] {
        let late = street.keep();
        street.relay.twist(move |path| match path.ends_with(end) {
            true => twist.clone(),
            false => Twist::Pass,
        });
        assert_eq!(street.python(&late, None).refused(), refusal, "{end}");
    }
    street.house.python.patience = None;
    street.relay.honest();
    assert_eq!(street.python(&keep, None), known);

    // A malicious mirror keeps all news away: whoever knew nothing believes nothing, and a known state stays.
    let keep = street.keep();
    street.relay.honest();
    let known = street.python(&keep, None);
    for status in [404, 500] {
        street
            .relay
            .twist(move |_| Twist::Say(status, b"no".to_vec()));
        street.refused(
            "malicious mirror",
            &["DownloadHTTPError"],
            &["tuf-missing", "offline", "unreachable", "registry-down"],
        );
        assert_eq!(street.python(&keep, None).refused(), "DownloadHTTPError");
    }
    street.relay.honest();
    assert_eq!(street.python(&keep, None), known);

    rollback_mix_and_freeze(&mut street, &keep);
    honest(&mut street);
}

fn rollback_mix_and_freeze(street: &mut Street, keep: &Keep) {
    let then = street.recorded();
    street.house.publish("thing", "1.1");
    street.house.server.rest().unwrap();

    // Mix and match: under the new names stand the old files.
    for end in [".snapshot.json", ".json"] {
        let then = then.clone();
        let stem = |path: &str| {
            let file = path.rsplit('/').next().unwrap();
            let (number, stem) = file.split_once('.').unwrap();
            number
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| stem.to_owned())
        };
        street.relay.twist(move |path| {
            let metadata = |path: &str| {
                path.starts_with("/tuf/pypi/")
                    && path.ends_with(end)
                    && !path.ends_with("root.json")
            };
            let same = then.iter().find(|(old, (status, _))| {
                *status == 200
                    && metadata(old)
                    && metadata(path)
                    && stem(path).is_some()
                    && stem(old) == stem(path)
            });
            same.map_or(Twist::Pass, |(_, (_, body))| Twist::Say(200, body.clone()))
        });
        street.refused(
            "mix and match",
            &["LengthOrHashMismatchError", "BadVersionNumberError"],
            &["tuf-digest-mismatch", "tuf-version-mismatch"],
        );
    }

    // Rollback: of those who saw the new state, in this process or an earlier one.
    street.relay.honest();
    let mine = Mine::new();
    let new = street.python(keep, None);
    street.javascript(keep, None).versions();
    assert_eq!(street.ours(&mine), Ok(()));
    street.replay(then.clone());
    for _ in 0..2 {
        assert_eq!(street.python(keep, None).refused(), "BadVersionNumberError");
        assert_eq!(street.javascript(keep, None).refused(), "BadVersionError");
        assert_eq!(street.ours(&mine), Err("tuf-rollback".to_owned()));
    }
    street.relay.honest();
    assert_eq!(street.python(keep, None), new);

    // Freeze: within its time nobody can tell that it is old; then everybody can.
    street.replay(then);
    let (new, mine) = (street.keep(), Mine::new());
    street.python(&new, None).versions();
    assert_eq!(street.ours(&mine), Ok(()));
    let late = Some(now() + 2 * DAY);
    assert_eq!(street.python(&new, late).refused(), "ExpiredMetadataError");
    assert_eq!(
        street.javascript(&new, late).refused(),
        "ExpiredMetadataError"
    );
    mine.clock.store(2 * DAY, Ordering::Relaxed);
    assert_eq!(street.ours(&mine), Err("tuf-expired".to_owned()));
    // A clock that is off by a year sees nothing in time, and harms nobody whose clock is right.
    street.relay.honest();
    let year = Some(now() + 366 * DAY);
    assert_eq!(street.python(keep, year).refused(), "ExpiredMetadataError");
    street.python(keep, None).versions();
}
