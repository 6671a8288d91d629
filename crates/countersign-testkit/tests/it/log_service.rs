//! A service's log through kills of the server: what was answered once is so for ever.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_testkit::fsck::{CheckedLog, Checkpoint, LogKey, check_offline_proof};
use countersign_testkit::http;
use countersign_testkit::server::{Database, ServerOptions, TestServer};

/// Entries of one request.
const BATCH: u64 = 20;
/// Who append at the same time.
const WRITERS: u64 = 3;

/// What writers were told, and what they were not.
#[derive(Default)]
struct Told {
    /// Places of entries that were acknowledged.
    places: Mutex<HashMap<String, u64>>,
    /// First numbers of requests without an answer, to be sent again.
    unanswered: Mutex<Vec<u64>>,
    checkpoints: Mutex<Vec<Checkpoint>>,
    next: AtomicU64,
    cut_off: AtomicU64,
    stop: AtomicBool,
}

fn texts(first: u64) -> Vec<String> {
    (first..first + BATCH)
        .map(|number| format!("entry {number}"))
        .collect()
}

fn send(url: &str, token: &str, first: u64, wait: bool) -> Option<http::Response> {
    let entries: Vec<serde_json::Value> = texts(first)
        .iter()
        .map(|text| serde_json::json!({"data": STANDARD.encode(text), "identifier": text}))
        .collect();
    let body = serde_json::json!({"entries": entries, "wait": wait}).to_string();
    let headers = [
        ("Authorization", format!("Bearer {token}")),
        ("Content-Type", "application/json".to_owned()),
    ];
    let headers: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    http::request("POST", url, &headers, body.as_bytes()).ok()
}

impl Told {
    /// Sends a request until the server goes away: some wait for the proof, some only for the places.
    fn append_on_and_on(&self, url: &str, token: &str, key: &LogKey) {
        while !self.stop.load(Ordering::SeqCst) {
            let waiting = self.unanswered.lock().unwrap().pop();
            let first = waiting.unwrap_or_else(|| self.next.fetch_add(BATCH, Ordering::SeqCst));
            let wait = (first / BATCH).is_multiple_of(2);
            let Some(answer) = send(url, token, first, wait) else {
                self.cut_off.fetch_add(1, Ordering::SeqCst);
                self.unanswered.lock().unwrap().push(first);
                continue;
            };
            if answer.status == 503 {
                self.unanswered.lock().unwrap().push(first);
                continue;
            }
            let answer = answer
                .expect_status(if wait { 200 } else { 202 })
                .unwrap()
                .json()
                .unwrap();
            for (text, entry) in texts(first)
                .into_iter()
                .zip(answer["entries"].as_array().unwrap())
            {
                let index = entry["index"].as_u64().unwrap();
                if let Some(proof) = entry["proof"].as_str() {
                    assert_eq!(
                        check_offline_proof(proof, text.as_bytes(), key).unwrap(),
                        index
                    );
                }
                let before = self.places.lock().unwrap().insert(text, index);
                assert!(before.is_none_or(|before| before == index));
            }
            if let Some(note) = answer["checkpoint"].as_str() {
                let seen = Checkpoint::verify(note, key).unwrap();
                self.checkpoints.lock().unwrap().push(seen);
            }
        }
    }
}

fn survives_kills(database: Database, kills: u32) {
    let mut server = TestServer::start(ServerOptions {
        database,
        ..ServerOptions::default()
    })
    .unwrap();
    let create = ["log", "service", "create", "alpha", "--identifiers"];
    let fast = ["--interval-ms", "50"];
    let made = server.run(&[&create[..], &fast].concat()).unwrap();
    let made = String::from_utf8(made.stdout).unwrap();
    let key: LogKey = made.lines().find_map(|line| line.parse().ok()).unwrap();
    let token = server.run(&["log", "service", "token", "alpha"]).unwrap();
    let token = String::from_utf8(token.stdout).unwrap().trim().to_owned();
    let told = Told::default();
    let mut before: Option<CheckedLog> = None;
    for round in 0..=kills {
        let url = format!("{}/api/v1/service/log/entries", server.url());
        let log_url = format!("{}/service/log/alpha", server.url());
        if round > 0 {
            // Whoever has no answer sends the same again: then all of it is shown.
            for first in std::mem::take(&mut *told.unanswered.lock().unwrap()) {
                let answer = send(&url, &token, first, true).unwrap();
                let answer = answer.expect_status(200).unwrap().json().unwrap();
                let entries = answer["entries"].as_array().unwrap().clone();
                for (text, entry) in texts(first).into_iter().zip(entries) {
                    let index = entry["index"].as_u64().unwrap();
                    told.places.lock().unwrap().insert(text, index);
                }
            }
            // What was acknowledged with its place only is shown by the next server without anybody asking.
            let places = told.places.lock().unwrap().clone();
            let begin = std::time::Instant::now();
            while Checkpoint::fetch(&log_url, &key).unwrap().size < places.len() as u64 {
                assert!(
                    begin.elapsed() < Duration::from_secs(30),
                    "{}",
                    server.logs()
                );
                std::thread::sleep(Duration::from_millis(20));
            }
            let log = CheckedLog::fetch_of_any_entries(&log_url, &key).unwrap();
            // Each once: nothing was repeated by who asked again.
            assert_eq!(log.entries.len(), places.len());
            for (text, index) in &places {
                let entry = &log.entries[usize::try_from(*index).unwrap()];
                assert_eq!(entry, text.as_bytes(), "at index {index}");
            }
            if let Some(before) = &before {
                assert!(log.entries.starts_with(&before.entries));
            }
            for seen in std::mem::take(&mut *told.checkpoints.lock().unwrap()) {
                log.check_extends(&seen).unwrap();
            }
            before = Some(log);
        }
        if round == kills {
            break;
        }
        told.stop.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| told.append_on_and_on(&url, &token, &key));
            }
            // Some answers at least, and then at a moment that differs from kill to kill.
            let enough = told.places.lock().unwrap().len() as u64 + 3 * BATCH;
            let begin = std::time::Instant::now();
            while (told.places.lock().unwrap().len() as u64) < enough {
                if begin.elapsed() > Duration::from_secs(30) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_millis(u64::from(round) * 7 % 50));
            told.stop.store(true, Ordering::SeqCst);
            server.kill().unwrap();
        });
        server.serve().unwrap();
    }
    assert!(
        !told.places.lock().unwrap().is_empty(),
        "nothing was ever acknowledged"
    );
    let cut_off = told.cut_off.load(Ordering::SeqCst);
    assert!(
        cut_off > 0,
        "no kill ever cut off a request: the test has tested nothing"
    );
    let doctor = server.run(&["doctor"]);
    assert!(doctor.is_ok(), "{doctor:?}");
}

#[test]
fn entries_of_a_services_log_survive_kills_on_sqlite() {
    survives_kills(Database::Sqlite, 6);
}

#[test]
fn entries_of_a_services_log_survive_kills_on_postgres() {
    survives_kills(Database::Postgres, 4);
}
