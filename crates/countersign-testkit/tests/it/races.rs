//! Publishes that collide, and uploads that never end well.

use std::time::Duration;

use countersign_testkit::http::{Connection, basic_authorization, multipart};
use countersign_testkit::packages::{Package, Wheel};
use countersign_testkit::server::{BlobStore, Database, ServerOptions, TestServer};

const PUBLISHERS: usize = 8;

fn variants(count: usize) -> Vec<Package> {
    (0..count)
        .map(|number| {
            Wheel::new("contended", "1.0")
                .file("contended/which.txt", number.to_string())
                .build()
        })
        .collect()
}

fn publish_together(server: &TestServer, token: &str, packages: &[Package]) -> Vec<(u16, String)> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = packages
            .iter()
            .map(|package| {
                scope.spawn(|| {
                    server
                        .publish(package, token)
                        .map(|answer| (answer.status, answer.reason))
                        .unwrap()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

fn one_wins(options: ServerOptions) {
    let server = TestServer::start(options).unwrap();
    let token = server.publisher("ada").unwrap();
    let packages = variants(PUBLISHERS);
    let answers = publish_together(&server, &token, &packages);
    let won: Vec<usize> = (0..PUBLISHERS).filter(|at| answers[*at].0 == 200).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    for (status, reason) in answers.iter().filter(|(status, _)| *status != 200) {
        // twine --skip-existing looks for these words.
        assert!(
            *status == 400 && reason.contains("File already exists"),
            "{status} {reason}"
        );
    }
    let listed = server.project("contended").unwrap().unwrap();
    assert_eq!(listed["files"].as_array().unwrap().len(), 1);
    assert_eq!(
        listed["files"][0]["hashes"]["sha256"],
        packages[won[0]].sha256().as_str()
    );
    let log = server.checked_log().unwrap();
    assert_eq!(log.leaves_containing(&packages[0].filename).len(), 1);

    // The identical bytes again, all together: the same receipt for all, and no further leaf.
    let same = vec![packages[won[0]].clone(); PUBLISHERS];
    assert!(
        publish_together(&server, &token, &same)
            .iter()
            .all(|(status, _)| *status == 200)
    );
    assert_eq!(
        server
            .checked_log()
            .unwrap()
            .leaves_containing(&packages[0].filename)
            .len(),
        1
    );
}

#[test]
fn of_different_bytes_under_one_filename_exactly_one_wins_on_sqlite() {
    one_wins(ServerOptions::default());
}

#[test]
fn of_different_bytes_under_one_filename_exactly_one_wins_on_postgres_and_s3() {
    one_wins(ServerOptions {
        database: Database::Postgres,
        blobs: BlobStore::S3,
        ..ServerOptions::default()
    });
}

/// Head and body of an upload, as bytes.
fn upload(server: &TestServer, package: &Package, token: &str) -> (String, Vec<u8>, Vec<u8>) {
    let form = package.form();
    let form: Vec<(&str, &str)> = form
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let (content_type, body) =
        multipart(&form, Some(("content", &package.filename, &package.bytes)));
    let authority = server.url().trim_start_matches("http://").to_owned();
    let head = format!(
        "POST /pypi/legacy/ HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\
         Authorization: {}\r\nAccept: application/json\r\nConnection: close\r\n\r\n",
        body.len(),
        basic_authorization("__token__", token)
    );
    (authority, head.into_bytes(), body)
}

fn nothing_is_left(server: &TestServer) {
    // The server notices a broken connection when it next reads from it.
    for _ in 0..100 {
        let spool = std::fs::read_dir(server.data().join("spool")).map_or(0, Iterator::count);
        if spool == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(
        std::fs::read_dir(server.data().join("spool")).map_or(0, Iterator::count),
        0
    );
    assert!(server.project("contended").unwrap().is_none());
    assert!(
        server
            .checked_log()
            .unwrap()
            .leaves_containing("contended")
            .is_empty()
    );
}

#[test]
fn an_upload_that_breaks_off_anywhere_leaves_nothing_and_its_repetition_is_accepted() {
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let token = server.publisher("ada").unwrap();
    let package = variants(1).remove(0);
    let (authority, head, body) = upload(&server, &package, &token);
    for share in [0, 10, 30, 50, 70, 90, 99] {
        let mut connection = Connection::open(&authority).unwrap();
        connection.send(&head).unwrap();
        connection.send(&body[..body.len() * share / 100]).unwrap();
        drop(connection);
    }
    let mut half = Connection::open(&authority).unwrap();
    half.send(&head).unwrap();
    half.send(&body[..body.len() / 2]).unwrap();
    half.finish_sending().unwrap();
    if let Ok(answer) = half.read_response(false) {
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
    nothing_is_left(&server);
    server
        .publish(&package, &token)
        .unwrap()
        .expect_status(200)
        .unwrap();
}

#[test]
fn a_slow_upload_arrives_and_keeps_nobody_else_waiting() {
    let server = TestServer::start(ServerOptions::default()).unwrap();
    let token = server.publisher("ada").unwrap();
    let package = variants(1).remove(0);
    let (authority, head, body) = upload(&server, &package, &token);
    // The one is in the midst of its upload from before the other begins until that is answered.
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (answered, was_answered) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let slow = scope.spawn(move || {
            let (first, rest) = body.split_at(body.len() / 2);
            let mut connection = Connection::open(&authority).unwrap();
            connection.send(&head).unwrap();
            connection
                .send_slowly(first, first.len() / 10 + 1, Duration::from_millis(50))
                .unwrap();
            begun.send(()).unwrap();
            was_answered.recv().unwrap();
            connection
                .send_slowly(rest, rest.len() / 10 + 1, Duration::from_millis(50))
                .unwrap();
            connection.read_response(false).unwrap()
        });
        has_begun.recv().unwrap();
        let other = Wheel::new("quick", "1.0").build();
        server
            .publish(&other, &token)
            .unwrap()
            .expect_status(200)
            .unwrap();
        answered.send(()).unwrap();
        slow.join().unwrap().expect_status(200).unwrap();
    });
}
