//! How a server ends.

use std::time::Duration;

use countersign_testkit::http::{Connection, basic_authorization, get, multipart};
use countersign_testkit::packages::Wheel;

use crate::machine::{Desk, Server};

/// Begins an upload and leaves it half sent; gives the connection and the rest.
fn half_an_upload(desk: &Desk, server: &Server) -> (Connection, Vec<u8>) {
    desk.run(&["admin", "user", "create", "ada"]).expect(0, &[]);
    let token = desk
        .run(&["admin", "token", "create", "--user", "ada"])
        .expect(0, &[])
        .out;
    let package = Wheel::new("late-thing", "1.0").build();
    let form = package.form();
    let fields: Vec<_> = form
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let (content_type, body) = multipart(
        &fields,
        Some(("content", &package.filename, &package.bytes)),
    );
    let head = format!(
        "POST /pypi/legacy/ HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        server.authority(),
        basic_authorization("__token__", token.trim()),
        body.len()
    );
    let mut connection = Connection::open(&server.authority()).unwrap();
    let half = body.len() / 2;
    connection.send(head.as_bytes()).unwrap();
    connection.send(&body[..half]).unwrap();
    (connection, body[half..].to_vec())
}

#[test]
fn a_publish_under_way_finishes_after_sigterm_and_is_there_after_the_restart() {
    let desk = Desk::new();
    let mut server = desk.serve(&[]);
    let (mut connection, rest) = half_an_upload(&desk, &server);
    std::thread::sleep(Duration::from_millis(200));
    server.signal("TERM");
    server.wait_for_log("stopping");
    std::thread::sleep(Duration::from_millis(200));
    assert!(
        server.is_running(),
        "the server waits for the publish: {}",
        server.log()
    );
    connection.send(&rest).unwrap();
    let answer = connection
        .read_response(false)
        .unwrap()
        .expect_status(200)
        .unwrap();
    assert!(answer.header("x-countersign-leaf").is_some(), "{answer:?}");
    assert_eq!(server.wait(Duration::from_secs(20)), Some(0));

    let again = desk.serve(&[]);
    get(&format!("{}/pypi/simple/late-thing/", again.site()))
        .unwrap()
        .expect_status(200)
        .unwrap();
}

#[test]
fn a_second_signal_stops_at_once() {
    let desk = Desk::new();
    let mut server = desk.serve(&[]);
    let (_connection, _rest) = half_an_upload(&desk, &server);
    std::thread::sleep(Duration::from_millis(200));
    server.signal("INT");
    server.wait_for_log("stopping");
    server.signal("INT");
    assert_eq!(server.wait(Duration::from_secs(3)), Some(1));
}
