//! Monitors: what they tell of an honest registry, and that each way of hiding something from them is noticed.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use countersign_testkit::packages::Wheel;
use countersign_testkit::server::{ServerOptions, TestServer};
use countersign_testkit::smtp::{Manners, SmtpServer};
use countersign_testkit::{atom, http};
use countersign_trust::completeness::Completeness;
use serde_json::Value;

use crate::stub::{Answer, Stub};
use crate::user::{Ran, User};

const THING: &str = "pkg:pypi/thing";

/// What the registry says of the completeness of `thing`, once its map covers this many leaves of it.
pub fn covered(server: &TestServer, leaves: usize) -> Completeness {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = server.get("/api/v1/log/completeness/pypi/thing").unwrap();
        if answer.status == 200 {
            let text = Completeness::parse(&answer.body).unwrap();
            if text.covered.len() >= leaves && text.newer.is_empty() {
                return text;
            }
        }
        assert!(Instant::now() < deadline, "the map does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn publish(server: &TestServer, token: &str, version: &str) {
    let package = Wheel::new("thing", version).build();
    server
        .publish(&package, token)
        .unwrap()
        .expect_status(200)
        .unwrap();
}

fn happenings(ran: &Ran) -> Vec<Value> {
    ran.out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter_map(|said| said.get("happening").cloned())
        .collect()
}

/// What the relay does with a text of completeness.
type Twist = Option<Box<dyn Fn(&mut Completeness) + Send>>;

/// A registry between, which passes on everything but what it is told to lie about. `None`: it denies the project.
fn relay(server: &TestServer, twist: Arc<Mutex<Option<Twist>>>) -> Stub {
    let site = server.url();
    Stub::start(move |_, request| {
        let path = request.split(' ').nth(1).unwrap_or("/").to_owned();
        let answer = http::request("GET", &format!("{site}{path}"), &[], b"").unwrap();
        if !path.contains("/completeness/") {
            return Answer::bytes(answer.status, answer.body);
        }
        match &*twist.lock().unwrap() {
            None => Answer::bytes(answer.status, answer.body),
            Some(None) => Answer::status(404, "there is no such project"),
            Some(Some(twist)) => {
                let mut text = Completeness::parse(&answer.body).unwrap();
                twist(&mut text);
                Answer::bytes(200, text.to_string().into_bytes())
            }
        }
    })
}

#[test]
fn a_monitor_tells_what_happens_to_a_project_and_only_once() {
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let token = server.publisher("ada").unwrap();
    publish(&server, &token, "1.0");
    let first = covered(&server, 1).covered.len();
    let user = User::of(&server);
    let hook = Stub::start(|_, _| Answer::status(204, ""));
    let (url, feed) = (hook.url(), user.path("feed.xml"));
    let watch = |more: &[&str]| {
        let options = ["--json", "log", "monitor", "--once", THING];
        user.run(&[&options[..], more].concat())
    };
    let ran = watch(&[]).expect(0, &["watching", THING]);
    assert!(happenings(&ran).is_empty());
    publish(&server, &token, "2.0");
    covered(&server, first + 1);
    let outputs = ["--webhook", &url, "--atom", feed.to_str().unwrap()];
    let ran = watch(&outputs).expect(0, &[]);
    let told = happenings(&ran);
    assert_eq!(told.len(), 1, "{ran:?}");
    assert_eq!(told[0]["kind"], "file-published");
    assert_eq!(told[0]["number"], first as u64 + 1);
    assert_eq!(
        told[0]["sha256"],
        Wheel::new("thing", "2.0").build().sha256()
    );
    let text = fs::read_to_string(&feed).unwrap();
    assert!(text.contains("thing@2.0"));
    assert_eq!(atom::entries(text.as_bytes()).unwrap(), 1);
    let posted = hook.seen();
    assert_eq!(posted.len(), 1);
    assert!(posted[0].contains("file-published"), "{}", posted[0]);
    // Once.
    assert!(happenings(&watch(&outputs).expect(0, &[])).is_empty());
    assert_eq!(hook.seen().len(), 1);
    // With a memory of its own, from the beginning; and of a project that nobody has, the proof of that.
    let ran = watch(&["pkg:pypi/nobody", "--from-start", "--state", "other.json"])
        .expect(0, &["\"absent\":\"pkg:pypi/nobody\""]);
    assert_eq!(happenings(&ran).len(), first + 1);
    watch(&["pkg:pypi/thing@1.0"]).expect(2, &["names a release or a file"]);
    // By mail, under the words of the one thing that happened; what the server refuses is told again.
    let post = SmtpServer::start(Manners::default()).unwrap();
    let smtp = format!("smtp://127.0.0.1:{}", post.port());
    let mail = ["--mail", "ada@example.org", "--mail-from"];
    let mail = [&mail[..], &["monitor@example.org", "--smtp", &smtp]].concat();
    watch(&["--state", "mail.json"]).expect(0, &["watching"]);
    publish(&server, &token, "3.0");
    covered(&server, first + 2);
    let by_mail = [&["--state", "mail.json"][..], &mail].concat();
    post.behave(Manners {
        refuse: Some("550 5.1.1 nobody of that name".to_owned()),
        ..Manners::default()
    });
    watch(&by_mail).expect(5, &["The mail to ada@example.org can not be sent", "5.1.1"]);
    post.behave(Manners::default());
    assert_eq!(happenings(&watch(&by_mail).expect(0, &[])).len(), 1);
    assert!(happenings(&watch(&by_mail).expect(0, &[])).is_empty());
    let mails = post.mails();
    assert_eq!(mails.len(), 1, "{mails:?}");
    let told = mails[0].header("Subject").unwrap();
    let text = mails[0].text();
    assert!(told.contains("thing@3.0"), "{told}");
    assert!(
        text.contains(&Wheel::new("thing", "3.0").build().sha256()),
        "{text}"
    );
    assert_eq!(mails[0].from, "monitor@example.org");
    assert_eq!(mails[0].to, ["ada@example.org"]);
    // A hook that does not take it: it is told again.
    let deaf = Stub::start(|_, _| Answer::status(500, ""));
    let again = ["--from-start", "--state", "third.json", "--webhook"];
    watch(&[&again[..], &[&deaf.url()]].concat()).expect(5, &["answers 500"]);
    let ran = watch(&[&again[..], &[&url]].concat()).expect(0, &[]);
    assert_eq!(happenings(&ran).len(), first + 2);
}

#[test]
fn a_deleted_replaced_or_hidden_leaf_and_a_wrong_map_are_noticed() {
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let token = server.publisher("ada").unwrap();
    publish(&server, &token, "1.0");
    publish(&server, &token, "2.0");
    covered(&server, 2);
    let twist: Arc<Mutex<Option<Twist>>> = Arc::default();
    let relay = relay(&server, twist.clone());
    let user = User::of(&server);
    let file = user.path("home/trust.toml");
    let trust = fs::read_to_string(&file).unwrap();
    let site = server.url();
    fs::write(
        &file,
        trust.replace(site.trim_end_matches('/'), &relay.url()),
    )
    .unwrap();
    let watch = |state: &str| user.run(&["log", "monitor", "--once", THING, "--state", state]);
    let lie = |lie: Box<dyn Fn(&mut Completeness) + Send>| {
        *twist.lock().unwrap() = Some(Some(lie));
    };
    watch("known.json").expect(0, &["proves that these are all"]);
    for (number, (twisted, says)) in [
        (
            Box::new(|text: &mut Completeness| drop(text.covered.pop()))
                as Box<dyn Fn(&mut Completeness) + Send>,
            "these are not the leaves of the project",
        ),
        (
            Box::new(|text: &mut Completeness| drop(text.covered.remove(0))),
            "does not follow the one before",
        ),
        (
            Box::new(|text: &mut Completeness| {
                let last = text.covered.last_mut().unwrap();
                *last = last.replacen("sha256:", "sha256:00", 1);
            }),
            "leaf",
        ),
        (
            Box::new(|text: &mut Completeness| {
                text.covered[0] = text.covered[0].replace("time 20", "time 21");
            }),
            "these are not the leaves of the project",
        ),
        (
            Box::new(|text: &mut Completeness| {
                let (line, _) = text.root_leaf.rsplit_once("root ").unwrap();
                text.root_leaf = format!("{line}root {}\n", "0".repeat(64));
            }),
            "is not in the log",
        ),
        (
            Box::new(|text: &mut Completeness| {
                let words: Vec<&str> = text.checkpoint.split('\n').collect();
                text.checkpoint = text.checkpoint.replace(words[2], &"A".repeat(43));
            }),
            "does not verify",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        lie(twisted);
        watch(&format!("fresh-{number}.json")).expect(3, &[says]);
    }
    // Who knows the project is told nothing else.
    lie(Box::new(|text| {
        text.covered.clear();
        text.after = countersign_trust::map::ProjectState::NONE;
    }));
    watch("known.json").expect(3, &[]);
    // A project said not to exist, to who knows it and to who does not: the map says that it does.
    *twist.lock().unwrap() = Some(None);
    for state in ["known.json", "stranger.json"] {
        watch(state).expect(4, &["its log says that there is"]);
    }
    // What the liar did changed nothing of what is remembered.
    *twist.lock().unwrap() = None;
    let ran = watch("known.json").expect(0, &[]);
    assert!(ran.out.is_empty(), "{ran:?}");
}
