//! A registry with its face, in this process, on a fresh SQLite file and blobs in memory.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use countersign_registry::model::{Action, Actor, Time};
use countersign_registry::{
    Blobs, Clock, LogKeys, NewToken, Outside, Registry, Seams, Settings, Store, SystemClock,
    SystemRandom,
};
use countersign_testkit::http::multipart;
use countersign_testkit::packages::{Package, Wheel};
use countersign_web::{App, FaceSettings, app};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};

use crate::issuer::Issuer;
use crate::request_log;

/// A registry at work. Its folder goes when it does.
pub struct House {
    pub app: App,
    pub registry: Registry,
    /// Of the user `alice`, for everything.
    pub token: String,
    /// The registry's clock: the machine's, turned forward by a test.
    pub clock: Arc<TurnedClock>,
    /// The issuer that the registry knows as GitHub's.
    pub issuer: Arc<Issuer>,
    _folder: tempfile::TempDir,
}

/// The machine's time, and what a test adds to it.
#[derive(Default)]
pub struct TurnedClock(AtomicI64);

impl TurnedClock {
    pub fn turn(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for TurnedClock {
    fn now(&self) -> Time {
        SystemClock
            .now()
            .plus_seconds(self.0.load(Ordering::SeqCst))
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What HTTP/1.1 would carry after the status, where it is not the usual.
    pub reason: Option<String>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(
            self.status.as_u16(),
            status,
            "{:?} {}",
            self.headers,
            String::from_utf8_lossy(&self.body)
        );
        self
    }
}

pub async fn house() -> House {
    house_with(|_, _| {}).await
}

/// A registry with settings of its own.
pub async fn house_with(change: impl FnOnce(&mut Settings, &mut FaceSettings)) -> House {
    request_log::listen();
    let folder = tempfile::tempdir().unwrap();
    let mut settings = Settings::new(
        "http://localhost:8417".parse().unwrap(),
        folder.path().to_owned(),
    );
    let mut face = FaceSettings {
        security_contact: vec!["mailto:security@example.org".into()],
        ..FaceSettings::default()
    };
    // Tests count leaves.
    settings.keep_map = false;
    change(&mut settings, &mut face);
    let store = Store::connect(&format!(
        "sqlite://{}",
        folder.path().join("registry.sqlite").display()
    ))
    .await
    .unwrap();
    let blobs = Blobs::memory();
    let keys = LogKeys::generate("localhost:8417/log/1", &SystemRandom).unwrap();
    let issuer = Arc::new(Issuer::default());
    let clock = Arc::new(TurnedClock::default());
    let seams = Seams {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        ..Seams::system(Arc::clone(&issuer) as Arc<dyn Outside>)
    };
    Registry::create(&settings, &store, &blobs, &keys, &seams)
        .await
        .unwrap();
    let registry = Registry::open(settings, store, blobs, keys, seams)
        .await
        .unwrap();
    // The heart beats for as long as the test's runtime does.
    std::mem::forget(registry.start());
    let operator = Actor::operator();
    registry
        .create_user(&operator, "alice", None, false)
        .await
        .unwrap();
    registry
        .create_user(&operator, "bob", None, false)
        .await
        .unwrap();
    let house = House {
        app: app(registry.clone(), face),
        registry,
        token: String::new(),
        clock,
        issuer,
        _folder: folder,
    };
    let token = house.token_for("alice", Action::Manage).await;
    House { token, ..house }
}

impl House {
    pub async fn token_for(&self, user: &str, action: Action) -> String {
        let new = NewToken {
            user: user.to_owned(),
            ecosystem: None,
            namespace: None,
            networks: Vec::new(),
            project: None,
            action,
            expires: Duration::from_secs(3_600),
            label: "test".to_owned(),
        };
        self.registry
            .create_token(&Actor::operator(), new)
            .await
            .unwrap()
            .0
    }

    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        self.ask_from(None, method, path, headers, body).await
    }

    /// A request over a connection from this address.
    pub async fn ask_from(
        &self,
        from: Option<IpAddr>,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let Ok(response) = self
            .app
            .handle(request, from.map(|from| SocketAddr::new(from, 40_000)))
            .await;
        let (parts, body) = response.into_parts();
        let reason = parts.extensions.get::<hyper::ext::ReasonPhrase>();
        let reason = reason.map(|reason| {
            reason
                .as_bytes()
                .iter()
                .map(|byte| char::from(*byte))
                .collect()
        });
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
            reason,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, &[], "").await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask(Method::GET, path, headers, "").await
    }

    pub fn basic(&self) -> String {
        countersign_testkit::http::basic_authorization("__token__", &self.token)
    }

    /// Uploads as alice, with extra headers.
    pub async fn upload_with(
        &self,
        package: &Package,
        fields: &[(&str, String)],
        headers: &[(&str, &str)],
    ) -> Answer {
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let (content_type, body) = multipart(
            &fields,
            Some(("content", &package.filename, &package.bytes)),
        );
        let basic = self.basic();
        let mut all = vec![("content-type", content_type.as_str())];
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            all.push(("authorization", basic.as_str()));
        }
        all.extend(headers.iter().filter(|(_, value)| !value.is_empty()));
        self.ask(Method::POST, "/pypi/legacy/", &all, body).await
    }

    pub async fn upload(&self, package: &Package) -> Answer {
        self.upload_with(package, &package.form(), &[]).await
    }

    /// Publishes a small wheel and returns it with its path below the site.
    pub async fn published(&self, name: &str, version: &str) -> (Package, String) {
        let package = Wheel::new(name, version).build();
        self.upload(&package).await.expect(200);
        let path = format!("/files/{}/{}", package.sha256(), package.filename);
        (package, path)
    }
}
