//! What only a real socket shows: reason phrases, slow and broken clients, an orderly end.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use countersign_testkit::http::{Connection, Response, multipart, request};
use countersign_testkit::packages::Wheel;
use countersign_web::{FaceSettings, SlowestBody, serve};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::house::{House, house_with};

struct Server {
    house: House,
    authority: String,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<std::io::Result<()>>,
}

async fn serve_with(change: impl FnOnce(&mut FaceSettings)) -> Server {
    let house = house_with(|_, face| change(face)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel();
    let app = house.app.clone();
    let serving = tokio::spawn(serve(app, vec![listener], None, async {
        let _ = stopped.await;
    }));
    Server {
        house,
        authority,
        stop: Some(stop),
        serving,
    }
}

impl Server {
    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    fn upload_head(&self, content_type: &str, length: usize) -> String {
        format!(
            "POST /pypi/legacy/ HTTP/1.1\r\nHost: {}\r\nAuthorization: {}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n",
            self.authority,
            self.house.basic()
        )
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_phrase_carries_the_message() {
    let server = serve_with(|_| {}).await;
    let package = Wheel::new("sample", "1.0").build();
    let (content_type, body) = multipart(
        &[(":action", "submit")],
        Some(("content", &package.filename, &package.bytes)),
    );
    let (url, basic) = (server.url("/pypi/legacy/"), server.house.basic());
    let answer: Response = blocking(move || {
        request(
            "POST",
            &url,
            &[("Authorization", &basic), ("Content-Type", &content_type)],
            &body,
        )
        .unwrap()
    })
    .await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.reason, "The action \"submit\" is not available.");
    assert!(answer.text().contains("first file"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_large_upload_is_read_away_so_that_its_sender_sees_why() {
    let server = serve_with(|_| {}).await;
    let url = server.url("/pypi/legacy/");
    let answer = blocking(move || {
        request(
            "POST",
            &url,
            &[("Content-Type", "multipart/form-data; boundary=x")],
            &vec![0; 8 << 20],
        )
    })
    .await;
    let answer = answer.unwrap();
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("#credentials-missing"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_gets_408_in_words() {
    let server = serve_with(|face| {
        face.slowest_body = SlowestBody {
            bytes: 1_000,
            window: Duration::from_millis(300),
        }
    })
    .await;
    let (content_type, _) = multipart(&[], None);
    let (head, authority) = (
        server.upload_head(&content_type, 100_000),
        server.authority.clone(),
    );
    let started = Instant::now();
    let answer = blocking(move || {
        let mut connection = Connection::open(&authority).unwrap();
        connection.send(head.as_bytes()).unwrap();
        connection.send(b"--countersign").unwrap();
        std::thread::sleep(Duration::from_millis(200));
        connection.send(b"-testkit").unwrap();
        connection.read_response(false).unwrap()
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(answer.status, 408, "{}", answer.text());
    assert!(
        answer.text().contains("#body-too-slow") && answer.reason.contains("too slowly"),
        "{answer:?}"
    );
    server.house.get("/healthz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_in_mid_upload_leaves_nothing() {
    let server = serve_with(|_| {}).await;
    let package = Wheel::new("sample", "1.0").build();
    let form = package.form();
    let fields: Vec<(&str, &str)> = form
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let (content_type, body) = multipart(
        &fields,
        Some(("content", &package.filename, &package.bytes)),
    );
    let (head, authority) = (
        server.upload_head(&content_type, body.len()),
        server.authority.clone(),
    );
    blocking(move || {
        for cut in [0, 10, body.len() / 2, body.len() - 1] {
            let mut connection = Connection::open(&authority).unwrap();
            connection.send(head.as_bytes()).unwrap();
            connection.send(&body[..cut]).unwrap();
            connection.finish_sending().unwrap();
            if let Ok(answer) = connection.read_response(false) {
                assert_eq!(answer.status, 400, "{}", answer.text());
            }
        }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.house.get("/pypi/simple/sample/").await.expect(404);
    server.house.upload(&package).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let server = serve_with(|_| {}).await;
    let authority = server.authority.clone();
    let answer = blocking(move || {
        let mut connection = Connection::open(&authority).unwrap();
        let head = "POST /pypi/legacy/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n";
        connection.send(head.as_bytes()).unwrap();
        connection.read_response(false).unwrap()
    })
    .await;
    assert_eq!(answer.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_greedy_heads_are_cut_off() {
    let server = serve_with(|face| {
        face.header_timeout = Duration::from_millis(300);
        face.max_head = 8 << 10;
    })
    .await;
    let authority = server.authority.clone();
    blocking(move || {
        let mut slow = Connection::open(&authority).unwrap();
        slow.send(b"GET / HTTP/1.1\r\nHost: x\r\n").unwrap();
        let started = Instant::now();
        // Either an answer that says so or a closed connection, but soon.
        let _ = slow.read_response(false);
        assert!(started.elapsed() < Duration::from_secs(10));
        let mut greedy = Connection::open(&authority).unwrap();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
            "x".repeat(100_000)
        );
        let _ = greedy.send(head.as_bytes());
        if let Ok(answer) = greedy.read_response(false) {
            assert_eq!(answer.status, 431);
        }
        let mut many = Connection::open(&authority).unwrap();
        let head = format!(
            "GET / HTTP/1.1\r\nHost: x\r\n{}\r\n",
            "a: b\r\n".repeat(500)
        );
        let _ = many.send(head.as_bytes());
        if let Ok(answer) = many.read_response(false) {
            assert_eq!(answer.status, 431);
        }
    })
    .await;
    server.house.get("/healthz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_never_asks_is_closed() {
    let server = serve_with(|face| face.header_timeout = Duration::from_millis(300)).await;
    for first in [&b""[..], b"PRI ", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let authority = server.authority.clone();
        let outcome = blocking(move || {
            let mut socket = std::net::TcpStream::connect(authority).unwrap();
            socket.write_all(first).unwrap();
            socket
                .set_read_timeout(Some(Duration::from_secs(10)))
                .unwrap();
            // Whatever is said in HTTP/2 before the end does not count.
            socket.read_to_end(&mut Vec::new())
        })
        .await;
        let cut = match outcome {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        };
        assert!(cut, "still open after {:?}", String::from_utf8_lossy(first));
    }
    server.house.get("/healthz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_takes_many_requests() {
    let server = serve_with(|_| {}).await;
    let (package, path) = server.house.published("sample", "1.0").await;
    let authority = server.authority.clone();
    blocking(move || {
        let mut connection = Connection::open(&authority).unwrap();
        for method in ["GET", "HEAD", "GET", "HEAD", "GET"] {
            for path in [
                "/pypi/simple/sample/",
                path.as_str(),
                "/log/1/checkpoint",
                "/nothing",
            ] {
                connection
                    .send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes())
                    .unwrap();
                let answer = connection.read_response(method == "HEAD").unwrap();
                assert_eq!(answer.status, if path == "/nothing" { 404 } else { 200 });
                if path.starts_with("/files/") && method == "GET" {
                    assert_eq!(answer.body, package.bytes);
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_lets_a_publish_under_way_finish_and_takes_no_new_connection() {
    let mut server = serve_with(|_| {}).await;
    let package = Wheel::new("sample", "1.0").build();
    let form = package.form();
    let fields: Vec<(&str, &str)> = form
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let (content_type, body) = multipart(
        &fields,
        Some(("content", &package.filename, &package.bytes)),
    );
    let (head, authority) = (
        server.upload_head(&content_type, body.len()),
        server.authority.clone(),
    );
    let idle = Connection::open(&authority).unwrap();
    let half = body.len() / 2;
    let (first, second) = (body[..half].to_vec(), body[half..].to_vec());
    let mut connection = blocking(move || {
        let mut connection = Connection::open(&authority).unwrap();
        connection.send(head.as_bytes()).unwrap();
        connection.send(&first).unwrap();
        connection
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.stop.take().unwrap().send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(
        Connection::open(&server.authority).is_err(),
        "the listener is closed"
    );
    let answer = blocking(move || {
        connection.send(&second).unwrap();
        connection.read_response(false).unwrap()
    })
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    drop(idle);
    tokio::time::timeout(Duration::from_secs(10), server.serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
