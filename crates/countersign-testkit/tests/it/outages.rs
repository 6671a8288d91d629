//! The disk is full, the database is gone: publishers are told so and lose nothing, and all is well again by itself
//! when the fault is.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use countersign_testkit::http::Response;
use countersign_testkit::packages::Package;
use countersign_testkit::postgres::PostgresServer;
use countersign_testkit::server::{ServerOptions, TestServer};
use sha2::{Digest as _, Sha256};

use crate::large;

/// A refusal that is nobody's fault but ours, in words, and without the inner workings of this machine.
fn assert_says_try_again(answer: &Response) {
    assert!(
        matches!(answer.status, 503 | 507),
        "{} {}: {}",
        answer.status,
        answer.reason,
        answer.text()
    );
    let message = answer.json().unwrap()["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(
        message.len() > 20 && answer.reason.len() > 10,
        "{} / {message}",
        answer.reason
    );
    for inner in ["os error", "sqlx", "/tmp/", "SqliteError", "panicked"] {
        assert!(!message.contains(inner), "{message}");
    }
}

fn assert_all_there(server: &TestServer, project: &str, acknowledged: &[Package]) {
    let log = server.checked_log().unwrap();
    let document = server.project(project).unwrap().unwrap();
    assert_eq!(
        document["files"].as_array().unwrap().len(),
        acknowledged.len()
    );
    for package in acknowledged {
        let body = server
            .get(&format!("/files/{}/{}", package.sha256(), package.filename))
            .unwrap();
        let body = body.expect_status(200).unwrap().body;
        assert_eq!(hex::encode(Sha256::digest(&body)), package.sha256());
        assert_eq!(
            log.leaves_with_line(&format!("digest sha256:{}", package.sha256()))
                .len(),
            1
        );
    }
}

#[test]
fn a_full_disk_refuses_publishes_keeps_serving_and_recovers_when_there_is_room() {
    let configuration = "log_wait = \"3s\"\n".to_owned();
    let options = ServerOptions {
        room: Some(6 << 20),
        configuration,
        ..ServerOptions::default()
    };
    let mut server = TestServer::init(options).unwrap();
    let token = server.publisher("ada").unwrap();
    server.serve().unwrap();
    let (mut acknowledged, mut refused) = (Vec::new(), Vec::new());
    for number in 0..40 {
        let package = large("bulky", number, 400_000);
        let answer = server.publish(&package, &token).unwrap();
        if answer.status == 200 {
            acknowledged.push(package);
        } else {
            assert_says_try_again(&answer);
            refused.push(package);
        }
        if refused.len() == 3 {
            break;
        }
    }
    assert!(
        !acknowledged.is_empty() && refused.len() == 3,
        "{} {}",
        acknowledged.len(),
        refused.len()
    );
    assert_eq!(server.get("/pypi/simple/bulky/").unwrap().status, 200);
    let spool = std::fs::read_dir(server.data_as_served().unwrap().join("spool")).unwrap();
    assert_eq!(spool.count(), 0, "refused uploads are left in the spool");

    server.resize_disk(200 << 20).unwrap();
    let begin = Instant::now();
    for package in refused {
        loop {
            let answer = server.publish(&package, &token).unwrap();
            if answer.status == 200 {
                break;
            }
            assert_says_try_again(&answer);
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "it does not recover: {}",
                answer.text()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        acknowledged.push(package);
    }
    assert_all_there(&server, "bulky", &acknowledged);
    assert!(server.is_running());
}

#[test]
fn a_database_that_goes_away_in_mid_publish_loses_nothing_and_is_found_again() {
    let mut postgres = PostgresServer::start().unwrap();
    let configuration = "log_wait = \"5s\"\n".to_owned();
    let database_url = Some(postgres.fresh_database().unwrap());
    let options = ServerOptions {
        database_url,
        configuration,
        ..ServerOptions::default()
    };
    let mut server = TestServer::start(options).unwrap();
    let token = server.publisher("ada").unwrap();
    let acknowledged = Mutex::new(Vec::new());
    let refused = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for publisher in 0..4 {
            let (server, token, acknowledged, refused) = (&server, &token, &acknowledged, &refused);
            scope.spawn(move || {
                for number in 0..1000 {
                    let package = large("steady", publisher * 1000 + number, 20_000);
                    let answer = server.publish(&package, token).unwrap();
                    if answer.status != 200 {
                        refused.lock().unwrap().push((package, answer));
                        return;
                    }
                    acknowledged.lock().unwrap().push(package);
                }
            });
        }
        // In the middle of it, however slow the machine is.
        while acknowledged.lock().unwrap().len() < 8 {
            std::thread::sleep(Duration::from_millis(20));
        }
        postgres.stop_at_once().unwrap();
    });
    let refused = refused.into_inner().unwrap();
    assert_eq!(refused.len(), 4, "every publisher is told");
    refused
        .iter()
        .for_each(|(_, answer)| assert_says_try_again(answer));
    assert!(server.is_running());

    postgres.start_again().unwrap();
    let begin = Instant::now();
    let mut acknowledged = acknowledged.into_inner().unwrap();
    assert!(!acknowledged.is_empty());
    for (package, _) in refused {
        loop {
            let answer = server.publish(&package, &token).unwrap();
            if answer.status == 200 {
                break;
            }
            assert_says_try_again(&answer);
            assert!(
                begin.elapsed() < Duration::from_secs(60),
                "it does not recover: {}",
                answer.text()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        acknowledged.push(package);
    }
    assert_all_there(&server, "steady", &acknowledged);
    server.run(&["doctor"]).unwrap();
}
