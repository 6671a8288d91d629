//! The one line per request: wide, and without secrets.

use std::cell::RefCell;
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use countersign_testkit::packages::Wheel;

use crate::house::{house, house_with};

thread_local! {
    /// Who collects what is logged on this thread. A test and all that it asks of the face run on one.
    static COLLECTOR: RefCell<Option<Lines>> = const { RefCell::new(None) };
}

/// Gives the whole test binary one subscriber, which hands every line to the collector of the thread that wrote it.
///
/// `tracing` remembers for the whole process whether anybody listens to a place that logs, and asks that once, on the
/// thread that comes by first. A subscriber per thread is therefore missed when another test came by earlier. So this
/// must have returned before anything of the face runs; [`house_with`] begins with it.
pub fn listen() {
    static LISTENING: OnceLock<()> = OnceLock::new();
    LISTENING.get_or_init(|| {
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_writer(Collected::of_this_thread)
            .finish();
        tracing::subscriber::set_global_default(subscriber)
            .expect("no other subscriber in this test binary");
    });
}

/// Where a line goes: to the thread's collector, or nowhere.
struct Collected(Option<Lines>);

impl Collected {
    fn of_this_thread() -> Self {
        Self(COLLECTOR.with_borrow(Clone::clone))
    }
}

impl Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if let Some(lines) = &self.0 {
            lines.0.lock().unwrap().extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[derive(Clone, Default)]
pub struct Lines(Arc<Mutex<Vec<u8>>>);

/// Ends the collecting of a thread when it goes.
pub struct Collecting;

impl Drop for Collecting {
    fn drop(&mut self) {
        COLLECTOR.set(None);
    }
}

impl Lines {
    /// Collects what is logged on this thread until the guard goes.
    pub fn collect(&self) -> Collecting {
        let before = COLLECTOR.replace(Some(self.clone()));
        assert!(before.is_none(), "this thread collects already");
        Collecting
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn requests(&self) -> Vec<serde_json::Value> {
        let lines: Vec<serde_json::Value> = self
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        lines
            .into_iter()
            .filter(|line| line["target"] == "request")
            .map(|mut line| line["fields"].take())
            .collect()
    }
}

#[tokio::test]
async fn every_request_is_one_line_that_says_who_what_and_how() {
    let house = house().await;
    let lines = Lines::default();
    let guard = lines.collect();
    let package = Wheel::new("sample", "1.0").build();
    let published = house
        .upload_with(&package, &package.form(), &[("user-agent", "twine/6.1")])
        .await
        .expect(200);
    let path = format!("/files/{}/{}", package.sha256(), package.filename);
    for _ in 0..2 {
        house.get(&path).await.expect(200);
        house.get("/pypi/simple/sample/").await.expect(200);
    }
    let missing = house
        .get("/pypi/simple/nothing/?secret=in-the-query")
        .await
        .expect(404);
    drop(guard);
    let requests = lines.requests();
    assert_eq!(requests.len(), 6, "{}", lines.text());
    let upload = &requests[0];
    assert_eq!(upload["method"], "POST");
    assert_eq!(upload["path"], "/pypi/legacy/");
    assert_eq!(upload["status"], 200);
    assert_eq!(upload["actor"], "alice");
    assert_eq!(upload["agent"], "twine/6.1");
    assert_eq!(upload["ecosystem"], "pypi");
    assert_eq!(upload["project"], "sample");
    assert_eq!(upload["filename"], package.filename);
    assert_eq!(
        upload["leaf"].to_string(),
        published.header("x-countersign-leaf")
    );
    assert_eq!(upload["id"], published.header("x-request-id"));
    assert!(upload["micros"].as_u64().unwrap() > 0);
    assert_eq!(
        requests[1]["bytes"].as_u64(),
        Some(package.bytes.len() as u64)
    );
    // The second round came from memory, and is told all the same.
    assert_eq!(requests[3]["bytes"], requests[1]["bytes"]);
    assert_eq!(requests[4]["path"], "/pypi/simple/sample/");
    let failed = &requests[5];
    assert_eq!(
        (&failed["status"], &failed["code"]),
        (&404.into(), &"project-unknown".into())
    );
    assert_eq!(failed["id"], missing.header("x-request-id"));
    assert!(
        !lines.text().contains(&house.token),
        "the token is in the log"
    );
    assert!(
        !lines.text().contains("in-the-query"),
        "the query is in the log"
    );
}

#[tokio::test]
async fn secrets_in_addresses_are_masked_in_the_line_and_in_errors() {
    let house = house().await;
    let lines = Lines::default();
    let guard = lines.collect();
    let secret = house.token.split_once("csgn_u_").unwrap().1;
    house
        .get(&format!("/enrol/csgn_s_{secret}"))
        .await
        .expect(401);
    let missing = house
        .get(&format!("/nothing/{}/here", house.token))
        .await
        .expect(404);
    house
        .get(&format!("/files/{}/{}", "0".repeat(64), house.token))
        .await
        .expect(404);
    drop(guard);
    assert_eq!(lines.requests()[0]["path"], "/enrol/csgn_s_…");
    assert_eq!(lines.requests()[1]["path"], "/nothing/csgn_u_…/here");
    assert!(!lines.text().contains(secret), "{}", lines.text());
    assert!(!missing.text().contains(secret), "{}", missing.text());
}

#[tokio::test]
async fn the_line_can_be_switched_off() {
    let house = house_with(|_, face| face.request_log = false).await;
    let lines = Lines::default();
    let _guard = lines.collect();
    house.get("/pypi/simple/").await.expect(200);
    house.get("/nothing").await.expect(404);
    assert!(lines.requests().is_empty(), "{}", lines.text());
}

#[tokio::test]
async fn behind_a_proxy_the_address_is_the_one_the_proxy_saw() {
    for (behind_proxy, expected) in [(true, "203.0.113.9"), (false, "")] {
        let house = house_with(|_, face| face.behind_proxy = behind_proxy).await;
        let lines = Lines::default();
        let guard = lines.collect();
        house
            .get_with("/healthz", &[("x-forwarded-for", "6.6.6.6, 203.0.113.9")])
            .await
            .expect(200);
        drop(guard);
        assert_eq!(
            lines.requests()[0]["remote"].as_str().unwrap_or_default(),
            expected,
            "{}",
            lines.text()
        );
    }
}
