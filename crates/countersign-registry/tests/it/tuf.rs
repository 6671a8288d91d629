//! TUF of our own index: what a client of TUF that starts from a root sees of what is published, withheld, renewed, divided
//! anew, restored, and signed by two servers at once.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::Actor;
use countersign_registry::{Error, NamespaceKeys, Registry};
use countersign_testkit::clients::Clients;
use countersign_testkit::packages::{Package, Wheel};
use countersign_testkit::tuf::{Keep, Told, TufClient};
use countersign_trust::sigstore::{Ed25519Signer, TrustRoot};
use countersign_trust::tuf::bundle::{Bundle, Part};
use countersign_trust::tuf::client::{Client, Look, Trusted};
use countersign_trust::tuf::{Fault, Key, Limits, Refusal, TargetFile};
use sqlx::Connection;

use crate::archive::Place;
use crate::kit::{TestRegistry, publish, refused};
use crate::on_both_databases;

/// The ecosystem whose files the tests publish.
const PYPI: &str = "pypi";

fn wheel(name: &str, version: &str) -> Package {
    Wheel::new(name, version).build()
}

fn path_of(project: &str) -> String {
    format!("pypi/{project}/index.json")
}

/// The first root, which a user pins.
async fn pinned(registry: &Registry, repository: &str) -> Trusted {
    let root = registry.tuf_file(repository, "1.root.json").await.unwrap();
    Trusted::root(root.bytes.to_vec())
}

async fn answered(registry: &Registry, repository: &str, file: &str) -> Option<Vec<u8>> {
    let answer = registry.tuf_file(repository, file).await;
    match answer {
        Ok(document) => Some(document.bytes.to_vec()),
        Err(error) => {
            assert_eq!(error.code, "tuf-file-unknown", "{error}");
            None
        }
    }
}

/// A client's refresh, from what it trusts.
async fn refreshed(
    registry: &Registry,
    repository: &str,
    trusted: Trusted,
    now: i64,
) -> Result<Client, Refusal> {
    let mut client = Client::begin(trusted, now, Limits::default())?;
    while let Some(request) = client.wanted()? {
        let answer = answered(registry, repository, &request.file).await;
        client.give(&request, answer.as_deref())?;
    }
    Ok(client)
}

/// What a refreshed client finds about a target.
async fn looked_up(
    registry: &Registry,
    repository: &str,
    client: &mut Client,
    path: &str,
) -> Result<Option<TargetFile>, Refusal> {
    loop {
        match client.look(path)? {
            Look::Fetch(request) => {
                let answer = answered(registry, repository, &request.file).await;
                client.give(&request, answer.as_deref())?;
            }
            Look::Found { target, .. } => return Ok(Some(target)),
            Look::Absent => return Ok(None),
        }
    }
}

/// The bytes of a target, held against what metadata says of them.
async fn fetched(registry: &Registry, path: &str, target: &TargetFile) -> Result<Vec<u8>, Error> {
    let name = target.names(path, true).remove(0);
    let (folder, file) = name.rsplit_once('/').unwrap();
    let document = registry.tuf_target(folder, file).await?;
    target.check(path, &document.bytes).unwrap();
    Ok(document.bytes.to_vec())
}

/// A client with this memory sees this project's index as it is served; returns its memory afterwards.
async fn agrees(test: &TestRegistry, trusted: Trusted, project: &str) -> Trusted {
    let registry = &test.registry;
    let (path, now) = (path_of(project), test.registry_now());
    let mut last = None;
    for _ in 0..400 {
        let mut client = refreshed(registry, PYPI, trusted.clone(), now)
            .await
            .unwrap();
        let target = looked_up(registry, PYPI, &mut client, &path).await.unwrap();
        let served = test.index(project).await.unwrap();
        if let Some(target) = &target
            && target.check(&path, served.as_bytes()).is_ok()
        {
            assert_eq!(
                fetched(registry, &path, target).await.unwrap(),
                served.as_bytes()
            );
            return client.trusted().clone();
        }
        last = target;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("TUF never agreed with the index of {project}: {last:?}");
}

/// Serves metadata and targets of a registry by HTTP, for clients by other hands; its site.
fn front(registry: Registry) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = format!("http://{}", listener.local_addr().unwrap());
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            for line in lines {
                if line.map_or(true, |line| line.is_empty()) {
                    break;
                }
            }
            let path = first.split(' ').nth(1).unwrap_or_default();
            let below = path.strip_prefix("/tuf/").unwrap_or_default();
            let found = runtime.block_on(async {
                if let Some(target) = below.strip_prefix("targets/") {
                    let (folder, file) = target.rsplit_once('/')?;
                    return registry.tuf_target(folder, file).await.ok();
                }
                let (repository, file) = below.split_once('/').unwrap_or(("roots", below));
                registry.tuf_file(repository, file).await.ok()
            });
            let (status, body) = match found {
                Some(document) => ("200 OK", document.bytes.to_vec()),
                None => ("404 Not Found", Vec::new()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            // A client that went away is its own business.
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    site
}

/// python-tuf and tuf-js.
struct Others(Vec<TufClient>);

impl Others {
    fn new() -> Self {
        let clients = Clients::get().unwrap();
        Self(vec![
            TufClient::python(&clients).unwrap(),
            TufClient::javascript().unwrap(),
        ])
    }

    fn ask(&mut self, keep: &Keep, path: &str, at: i64) -> Vec<Told> {
        tokio::task::block_in_place(|| {
            let asked = self
                .0
                .iter_mut()
                .map(|client| client.ask(keep, Some(path), Some(at)).unwrap());
            asked.collect()
        })
    }

    /// All of them find this target with these bytes.
    #[track_caller]
    fn find(&mut self, keep: &Keep, path: &str, bytes: &[u8], at: i64) {
        let digest = countersign_trust::digest::Sha256::of(bytes).to_hex();
        for told in self.ask(keep, path, at) {
            assert_eq!(told.sha256(), digest, "{path}");
        }
    }
}

/// The owners of a namespace, two of whom must sign.
struct Owners([Ed25519Signer; 3]);

impl Owners {
    fn new() -> Self {
        Self([71, 72, 73].map(|seed| Ed25519Signer::new(&[seed; 32]).unwrap()))
    }

    fn keys(&self) -> NamespaceKeys {
        NamespaceKeys {
            keys: self
                .0
                .iter()
                .map(|signer| Key::of(signer).unwrap())
                .collect(),
            threshold: 2,
            days: 365,
        }
    }

    /// They and, where the targets change, the server sign; then it is published.
    async fn sign(&self, test: &TestRegistry, part: Part) {
        let mut bundle = Bundle::new(BTreeMap::from([(PYPI.to_owned(), part)]));
        let operator = Actor::operator();
        test.registry
            .hand_over_tuf(&operator, &mut bundle)
            .await
            .unwrap();
        let (now, their) = (
            test.registry_now(),
            bundle.parts()[PYPI].role_changes().len(),
        );
        if their > 0 {
            assert_eq!(bundle.sign(&self.0[0]).unwrap().len(), 1);
            assert_eq!(bundle.finish(now).unwrap_err().fault, Fault::Unsigned);
            // By way of a file, as it travels.
            bundle = Bundle::parse(&bundle.to_bytes(), &TrustRoot::public_good()).unwrap();
            assert_eq!(bundle.sign(&self.0[2]).unwrap().len(), 1);
        }
        let ready = bundle.finish(now).unwrap();
        let published = test
            .registry
            .publish_tuf_ceremony(&operator, &ready, false)
            .await;
        assert_eq!(published.unwrap(), [PYPI]);
        let again = test
            .registry
            .publish_tuf_ceremony(&operator, &ready, false)
            .await;
        assert!(again.unwrap().is_empty());
    }
}

/// The version of a repository's timestamp.
async fn version(registry: &Registry, repository: &str) -> u64 {
    let trust = registry.tuf_trust().await.unwrap();
    let mut all = trust.repositories.into_iter();
    all.find(|known| known.name == repository).unwrap().version
}

/// Runs a statement beside the registry.
async fn sql(test: &TestRegistry, statements: &[&'static str]) {
    sqlx::any::install_default_drivers();
    let mut connection = sqlx::AnyConnection::connect(&test.database).await.unwrap();
    for statement in statements {
        sqlx::query(*statement)
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection.close().await.unwrap();
}

fn seed(test: &TestRegistry) -> std::path::PathBuf {
    test.folder.path().join("keys/tuf-development.seed")
}

on_both_databases! {
    async fn an_answered_publish_is_signed_already(test: TestRegistry) {
        // RSTUF's second fault: what is told to be published is so before anything is signed.
        let ann = test.user("ann").await;
        let mut trusted = pinned(&test.registry, PYPI).await;
        for number in 1..4 {
            test.publish(&ann, &wheel("alpha", &format!("{number}.0"))).await.unwrap();
            let now = test.registry_now();
            let mut client = refreshed(&test.registry, PYPI, trusted, now).await.unwrap();
            let path = path_of("alpha");
            let target = looked_up(&test.registry, PYPI, &mut client, &path).await.unwrap().unwrap();
            let bytes = fetched(&test.registry, &path, &target).await.unwrap();
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.contains(&format!("alpha-{number}.0")), "{text}");
            assert_eq!(text, test.index("alpha").await.unwrap());
            trusted = client.trusted().clone();
        }
    }

    async fn the_root_of_roots_leads_to_every_ecosystem(test: TestRegistry) {
        let now = test.registry_now();
        let mut client = refreshed(&test.registry, "roots", pinned(&test.registry, "roots").await, now).await.unwrap();
        for ecosystem in Ecosystem::ALL.iter().copied() {
            let path = format!("{ecosystem}/root.json");
            let target = looked_up(&test.registry, "roots", &mut client, &path).await.unwrap().unwrap();
            let root = fetched(&test.registry, &path, &target).await.unwrap();
            refreshed(&test.registry, ecosystem.as_str(), Trusted::root(root), now).await.unwrap();
        }
        let trust = test.registry.tuf_trust().await.unwrap();
        assert!(trust.development);
        assert_eq!(trust.repositories[0].name, "roots");
        assert_eq!(trust.repositories.len(), 4);
    }

    async fn a_yank_and_a_quarantine_reach_tuf_with_the_next_beat_and_former_bytes_stay_for_a_day(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("beta", "1.0")).await.unwrap();
        test.publish(&ann, &wheel("beta", "2.0")).await.unwrap();
        let trusted = agrees(&test, pinned(&test.registry, PYPI).await, "beta").await;
        let mut before = refreshed(&test.registry, PYPI, trusted.clone(), test.registry_now()).await.unwrap();
        let path = path_of("beta");
        let old = looked_up(&test.registry, PYPI, &mut before, &path).await.unwrap().unwrap();

        test.registry.yank(&ann, Ecosystem::Pypi, "beta", "1.0", "broken").await.unwrap();
        let trusted = agrees(&test, trusted, "beta").await;
        test.registry.quarantine(&Actor::operator(), Ecosystem::Pypi, "beta", None, "malware").await.unwrap();
        let trusted = agrees(&test, trusted, "beta").await;
        let mut now = refreshed(&test.registry, PYPI, trusted.clone(), test.registry_now()).await.unwrap();
        let new = looked_up(&test.registry, PYPI, &mut now, &path).await.unwrap().unwrap();
        assert_ne!(old, new);
        // Whoever began before goes on with what they began with.
        fetched(&test.registry, &path, &old).await.unwrap();
        // Another project's address does not show it.
        let name = old.names("pypi/gamma/index.json", true).remove(0);
        let (folder, file) = name.rsplit_once('/').unwrap();
        refused(test.registry.tuf_target(folder, file).await, "project-unknown");

        test.turn_clock(Duration::from_secs(86_400 + 60));
        test.registry.look_after_tuf().await.unwrap();
        refused(fetched(&test.registry, &path, &old).await, "tuf-target-unknown");
        agrees(&test, trusted, "beta").await;
        // Roots stay for ever.
        assert!(answered(&test.registry, PYPI, "1.root.json").await.is_some());
    }

    async fn metadata_is_renewed_before_it_ends_for_years_and_old_clients_follow(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("delta", "1.0")).await.unwrap();
        let mut trusted = agrees(&test, pinned(&test.registry, PYPI).await, "delta").await;
        let mut versions = BTreeSet::from([version(&test.registry, PYPI).await]);
        let (hour, day) = (3_600, 86_400);
        for turn in [hour + 60, 5 * day, 30 * day, 200 * day, 200 * day] {
            test.turn_clock(Duration::from_secs(turn));
            let now = test.registry_now();
            if turn > day {
                let late = refreshed(&test.registry, PYPI, trusted.clone(), now).await.unwrap_err();
                assert_eq!(late.fault, Fault::Expired, "{late}");
            }
            test.registry.look_after_tuf().await.unwrap();
            trusted = agrees(&test, trusted, "delta").await;
            versions.insert(version(&test.registry, PYPI).await);
            let roots = pinned(&test.registry, "roots").await;
            refreshed(&test.registry, "roots", roots, now).await.unwrap();
        }
        assert_eq!(versions.len(), 6);
        // A client that slept all the time follows the roots.
        agrees(&test, pinned(&test.registry, PYPI).await, "delta").await;
        let trust = test.registry.tuf_trust().await.unwrap();
        assert!(trust.repositories.iter().all(|repository| repository.root_version > 1));
    }

    async fn bins_are_divided_anew_as_projects_come_and_clients_with_a_memory_go_on(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("p0", "1.0")).await.unwrap();
        let mut trusted = agrees(&test, pinned(&test.registry, PYPI).await, "p0").await;
        let bins = |client: &Client| client.snapshot().unwrap().meta.len() - 2;
        let first = refreshed(&test.registry, PYPI, trusted.clone(), test.registry_now()).await.unwrap();
        assert_eq!(bins(&first), 16);
        for number in 1..6 {
            test.publish(&ann, &wheel(&format!("p{number}"), "1.0")).await.unwrap();
        }
        test.registry.look_after_tuf().await.unwrap();
        for number in 0..6 {
            trusted = agrees(&test, trusted, &format!("p{number}")).await;
        }
        // 32 new ones, and the former 16, which stay listed.
        let now = refreshed(&test.registry, PYPI, trusted.clone(), test.registry_now()).await.unwrap();
        assert_eq!(bins(&now), 48);
        test.publish(&ann, &wheel("p3", "2.0")).await.unwrap();
        agrees(&test, trusted, "p3").await;
    }

    async fn python_tuf_and_tuf_js_go_on_when_bins_are_divided_and_walk_thirty_roots(test: TestRegistry) {
        let (ann, mut others) = (test.user("ann").await, Others::new());
        let site = front(test.registry.clone());
        let keep = async |repository: &str| {
            let root = test.registry.tuf_file(repository, "1.root.json").await.unwrap();
            Keep::of(&site, repository, std::str::from_utf8(&root.bytes).unwrap()).unwrap()
        };
        let (pypi, roots) = (keep(PYPI).await, keep("roots").await);
        for number in 0..6 {
            test.publish(&ann, &wheel(&format!("p{number}"), "1.0")).await.unwrap();
        }
        let (path, index) = (path_of("p3"), test.index("p3").await.unwrap());
        others.find(&pypi, &path, index.as_bytes(), test.registry_now());
        let before = refreshed(&test.registry, PYPI, pinned(&test.registry, PYPI).await, test.registry_now()).await.unwrap();
        test.registry.look_after_tuf().await.unwrap();
        let after = refreshed(&test.registry, PYPI, pinned(&test.registry, PYPI).await, test.registry_now()).await.unwrap();
        let bins = |client: &Client| client.snapshot().unwrap().meta.len();
        assert!(bins(&after) > bins(&before));
        others.find(&pypi, &path, index.as_bytes(), test.registry_now());
        others.find(&keep(PYPI).await, &path, index.as_bytes(), test.registry_now());

        // Thirty roots later: whoever pinned the first, which is over for long, walks them all. The limit of both clients is 256.
        // A database that takes longer over each shows the same with fewer.
        let walked: u64 = if test.database.starts_with("postgres") { 6 } else { 30 };
        for _ in 0..walked {
            test.turn_clock(Duration::from_secs(280 * 86_400));
            test.registry.look_after_tuf().await.unwrap();
        }
        let (now, late) = (test.registry_now(), keep(PYPI).await);
        for keep in [&pypi, &late] {
            for told in others.ask(keep, &path, now) {
                assert!(told.versions()[0] > walked, "{told:?}");
            }
            others.find(keep, &path, index.as_bytes(), now);
        }
        agrees(&test, pinned(&test.registry, PYPI).await, "p3").await;
        // The root of roots lists the newest.
        let newest = test.registry.tuf_trust().await.unwrap();
        let newest = newest.repositories.iter().find(|of| of.name == PYPI).unwrap().root_version;
        let root = test.registry.tuf_file(PYPI, &format!("{newest}.root.json")).await.unwrap();
        others.find(&roots, "pypi/root.json", &root.bytes, now);
    }

    async fn a_namespace_is_signed_by_its_owners_and_what_is_new_waits_for_them(given: Database) {
        let mut test = TestRegistry::new(given).await;
        let (ann, mut others, owners) = (test.user("ann").await, Others::new(), Owners::new());
        let operator = Actor::operator();
        for name in ["acme-one", "acme-two", "other"] {
            let receipt = test.publish(&ann, &wheel(name, "1.0")).await.unwrap();
            assert!(receipt.warnings.iter().all(|warning| !warning.contains("TUF role")));
        }
        let site = front(test.registry.clone());
        let root = test.registry.tuf_file(PYPI, "1.root.json").await.unwrap();
        let keep = Keep::of(&site, PYPI, std::str::from_utf8(&root.bytes).unwrap()).unwrap();
        let trusted = agrees(&test, pinned(&test.registry, PYPI).await, "acme-one").await;
        let begun = test.registry.add_tuf_namespace(&operator, Ecosystem::Pypi, "Acme_*", &owners.keys(), 365).await.unwrap();
        let lines: Vec<String> = begun.role_changes()[0].2.clone();
        assert!(lines.iter().any(|line| line.starts_with("+ pypi/acme-two/index.json ")), "{lines:?}");
        let (path, signed) = (path_of("acme-one"), test.index("acme-one").await.unwrap());
        owners.sign(&test, begun).await;
        others.find(&keep, &path, signed.as_bytes(), test.registry_now());
        refused(test.registry.add_tuf_namespace(&operator, Ecosystem::Pypi, "acme-one", &owners.keys(), 365).await, "tuf-namespace-overlap");
        refused(test.registry.remove_tuf_namespace(&operator, Ecosystem::Pypi, "beta-*", 365).await, "tuf-namespace-unknown");

        // What is new is served and logged, and is not signed; nothing else stands still.
        let receipt = test.publish(&ann, &wheel("acme-one", "2.0")).await.unwrap();
        assert!(receipt.warnings.iter().any(|warning| warning.contains("TUF role names-acme-")), "{:?}", receipt.warnings);
        test.publish(&ann, &wheel("acme-new", "1.0")).await.unwrap();
        test.publish(&ann, &wheel("other", "2.0")).await.unwrap();
        let served = test.index("acme-one").await.unwrap();
        assert!(served.contains("acme_one-2.0") && !signed.contains("acme_one-2.0"), "{served}");
        let at = test.registry_now();
        for keep in [&keep, &Keep::of(&site, PYPI, std::str::from_utf8(&root.bytes).unwrap()).unwrap()] {
            others.find(keep, &path, signed.as_bytes(), at);
            others.find(keep, &path_of("other"), test.index("other").await.unwrap().as_bytes(), at);
            for told in others.ask(keep, &path_of("acme-new"), at) {
                assert!(matches!(told, Told::Believes { sha256: None, .. }), "{told:?}");
            }
        }
        let trusted = agrees(&test, trusted, "other").await;
        let [known] = &test.registry.tuf_namespaces().await.unwrap()[..] else { panic!("there is one namespace") };
        assert_eq!((&*known.pattern, known.signed, known.threshold), ("acme-*", 2, 2));
        let mut waiting: Vec<&str> = known.waiting.iter().map(|waiting| &*waiting.path).collect();
        waiting.sort_unstable();
        assert_eq!(waiting, [path_of("acme-new"), path_of("acme-one")]);
        assert!(test.registry.health().await.problems.is_empty());

        // A day later the former bytes are still had, and another process remembers whose it is, and since when they wait: it renders
        // them again at its start.
        test.turn_clock(Duration::from_secs(86_400 + 60));
        test.registry.look_after_tuf().await.unwrap();
        test.registry.sweep().await.unwrap();
        test.restart().await;
        let keep = keep.at(&site, &front(test.registry.clone()));
        others.find(&keep, &path, signed.as_bytes(), test.registry_now());
        let told = test.registry.doctor(None, false, &mut |_, _| {}).await;
        assert!(told.iter().any(|told| told.what.contains("acme-*")), "{told:?}");

        // They sign; a publication after the file was written waits for the next.
        let next = test.registry.next_tuf_namespace(&operator, Ecosystem::Pypi, "acme-*", 365).await.unwrap().unwrap();
        test.publish(&ann, &wheel("acme-two", "2.0")).await.unwrap();
        let before = version(&test.registry, PYPI).await;
        owners.sign(&test, next).await;
        assert_eq!(version(&test.registry, PYPI).await, before + 1);
        for name in ["acme-one", "acme-new"] {
            others.find(&keep, &path_of(name), test.index(name).await.unwrap().as_bytes(), test.registry_now());
        }
        let trusted = agrees(&test, trusted, "acme-one").await;
        let next = test.registry.next_tuf_namespace(&operator, Ecosystem::Pypi, "acme-*", 365).await.unwrap().unwrap();
        owners.sign(&test, next).await;
        let trusted = agrees(&test, trusted, "acme-two").await;
        assert!(test.registry.next_tuf_namespace(&operator, Ecosystem::Pypi, "acme-*", 365).await.unwrap().is_none());

        // Bins are divided anew beside it.
        for number in 0..4 {
            test.publish(&ann, &wheel(&format!("p{number}"), "1.0")).await.unwrap();
        }
        test.registry.look_after_tuf().await.unwrap();
        let trusted = agrees(&test, trusted, "acme-two").await;

        // Taken back, with something that waits: the server signs it again, for clients with a memory too.
        test.publish(&ann, &wheel("acme-one", "3.0")).await.unwrap();
        let back = test.registry.remove_tuf_namespace(&operator, Ecosystem::Pypi, "acme-*", 365).await.unwrap();
        owners.sign(&test, back).await;
        let trusted = agrees(&test, trusted, "acme-one").await;
        let receipt = test.publish(&ann, &wheel("acme-two", "3.0")).await.unwrap();
        assert!(receipt.warnings.iter().all(|warning| !warning.contains("TUF role")), "{:?}", receipt.warnings);
        let trusted = agrees(&test, trusted, "acme-two").await;
        // And given again.
        let again = test.registry.add_tuf_namespace(&operator, Ecosystem::Pypi, "acme-*", &owners.keys(), 365).await.unwrap();
        owners.sign(&test, again).await;
        agrees(&test, trusted, "acme-two").await;
        others.find(&keep, &path, test.index("acme-one").await.unwrap().as_bytes(), test.registry_now());
    }

    async fn two_servers_at_once_never_sign_one_version_twice(test: TestRegistry) {
        // RSTUF's fifth fault: two writers give one version to two contents.
        let ann = test.user("ann").await;
        let other = test.reopened().await.unwrap();
        let beating = other.start();
        let mut tasks = Vec::new();
        for number in 0..12 {
            let registry = if number % 2 == 0 { test.registry.clone() } else { other.clone() };
            let ann = ann.clone();
            tasks.push(tokio::spawn(async move {
                publish(&registry, &ann, &wheel(&format!("twin{number}"), "1.0")).await.unwrap();
            }));
        }
        let mut trusted = pinned(&test.registry, PYPI).await;
        while tasks.iter().any(|task| !task.is_finished()) {
            // A client that goes from one server to the other never sees a step back, nor a file that misses.
            for registry in [&test.registry, &other] {
                let fresh = pinned(registry, PYPI).await;
                refreshed(registry, PYPI, fresh, test.registry_now()).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for task in tasks {
            task.await.unwrap();
        }
        test.registry.look_after_tuf().await.unwrap();
        other.look_after_tuf().await.unwrap();
        for number in 0..12 {
            trusted = agrees(&test, trusted, &format!("twin{number}")).await;
        }
        beating.stop().await;
    }

    async fn where_a_key_is_away_the_log_goes_on_and_tuf_makes_up_for_it(given: Database) {
        let mut test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("eta", "1.0")).await.unwrap();
        let trusted = agrees(&test, pinned(&test.registry, PYPI).await, "eta").await;
        let kept = std::fs::read(seed(&test)).unwrap();
        std::fs::remove_file(seed(&test)).unwrap();
        test.restart().await;
        test.publish(&ann, &wheel("eta", "2.0")).await.unwrap();
        let mut client = refreshed(&test.registry, PYPI, trusted.clone(), test.registry_now()).await.unwrap();
        let path = path_of("eta");
        let old = looked_up(&test.registry, PYPI, &mut client, &path).await.unwrap().unwrap();
        let text = String::from_utf8(fetched(&test.registry, &path, &old).await.unwrap()).unwrap();
        assert!(!text.contains("eta-2.0"), "{text}");
        let health = test.registry.health().await;
        assert!(health.problems.iter().any(|problem| problem.contains("TUF")), "{:?}", health.problems);

        std::fs::write(seed(&test), kept).unwrap();
        agrees(&test, trusted, "eta").await;
        for _ in 0..400 {
            if test.registry.health().await.problems.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("{:?}", test.registry.health().await.problems);
    }

    async fn what_was_there_before_tuf_is_signed_in_at_the_first_start(given: Database) {
        let mut test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        for project in ["old1", "old2", "old3"] {
            test.publish(&ann, &wheel(project, "1.0")).await.unwrap();
        }
        test.stop_heartbeat().await;
        test.registry.store().close().await;
        sql(&test, &["DELETE FROM tuf_targets", "DELETE FROM tuf_roles", "DELETE FROM tuf_metadata", "DELETE FROM tuf_repositories"]).await;
        test.start_anew().await;
        let mut trusted = None;
        for project in ["old1", "old2", "old3"] {
            while trusted.is_none() {
                let made = test.registry.tuf_trust().await.unwrap().repositories.len() == 4;
                if made {
                    trusted = Some(pinned(&test.registry, PYPI).await);
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            trusted = Some(agrees(&test, trusted.unwrap(), project).await);
        }
    }

    async fn a_beat_that_loses_the_race_for_the_timestamp_publishes_nothing_and_goes_again(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("theta", "1.0")).await.unwrap();
        let trusted = agrees(&test, pinned(&test.registry, PYPI).await, "theta").await;
        let before = version(&test.registry, PYPI).await;
        // Another process publishes, and this one's writer does not know.
        let other = test.reopened().await.unwrap();
        test.turn_clock(Duration::from_secs(3_700));
        other.look_after_tuf().await.unwrap();
        assert_eq!(version(&test.registry, PYPI).await, before + 1);
        test.publish(&ann, &wheel("theta", "2.0")).await.unwrap();
        assert_eq!(version(&test.registry, PYPI).await, before + 2);
        agrees(&test, trusted, "theta").await;
    }

    async fn the_bytes_of_a_private_project_are_for_its_readers(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("secret", "1.0")).await.unwrap();
        let trusted = agrees(&test, pinned(&test.registry, PYPI).await, "secret").await;
        let mut client = refreshed(&test.registry, PYPI, trusted, test.registry_now()).await.unwrap();
        let path = path_of("secret");
        let target = looked_up(&test.registry, PYPI, &mut client, &path).await.unwrap().unwrap();
        fetched(&test.registry, &path, &target).await.unwrap();
        test.registry.set_private(&Actor::operator(), Ecosystem::Pypi, "secret", true).await.unwrap();
        refused(fetched(&test.registry, &path, &target).await, "project-unknown");
    }

    async fn after_a_restore_versions_go_on_above_all_that_clients_saw(given: Database) {
        let test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        test.publish(&ann, &wheel("iota", "1.0")).await.unwrap();
        let file = test.folder.path().join("old.backup");
        test.registry.backup(&file, None, &mut |_, _| {}).await.unwrap();
        // What the backup does not know, and a client does.
        let mut trusted = pinned(&test.registry, PYPI).await;
        for number in 2..6 {
            test.publish(&ann, &wheel("iota", &format!("{number}.0"))).await.unwrap();
            trusted = agrees(&test, trusted, "iota").await;
        }
        let seen = version(&test.registry, PYPI).await;

        let place = Place::new(given).await;
        let keys = place.folder.path().join("keys");
        std::fs::create_dir_all(&keys).unwrap();
        std::fs::copy(seed(&test), keys.join("tuf-development.seed")).unwrap();
        place.restore(Some(file), None, false).await.unwrap();
        let registry = place.open(2).await.unwrap();
        assert!(version(&registry, PYPI).await < seen);
        let beating = registry.start();
        let now = test.registry_now();
        let path = path_of("iota");
        for _ in 0..400 {
            if version(&registry, PYPI).await > seen {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        let mut client = refreshed(&registry, PYPI, trusted, now).await.unwrap();
        let target = looked_up(&registry, PYPI, &mut client, &path).await.unwrap().unwrap();
        let text = String::from_utf8(fetched(&registry, &path, &target).await.unwrap()).unwrap();
        assert!(text.contains("iota-1.0") && !text.contains("iota-2.0"), "{text}");
        beating.stop().await;
    }
}
