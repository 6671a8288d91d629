//! Logs that are kept for registries elsewhere: what was answered once is so for ever, and whoever reads can check it.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use countersign_registry::model::Actor;
use countersign_registry::{
    Error, LogDesk, LogEntry, LogServiceSummary, NewLogService, PlacedEntry, Registry,
};
use countersign_trust::checkpoint;
use countersign_trust::digest::Sha256;
use countersign_trust::note::VerifierKey;
use countersign_trust::proof::TlogProof;
use countersign_trust::tlog::{self, EntriesId, Frontier};

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

pub(crate) fn named(name: &str) -> NewLogService {
    NewLogService {
        name: name.to_owned(),
        interval: Duration::from_millis(50),
        identifiers: false,
        policy: None,
    }
}

pub(crate) async fn desk(registry: &Registry, new: NewLogService) -> LogDesk {
    let operator = Actor::operator();
    let name = new.name.clone();
    registry.create_log_service(&operator, &new).await.unwrap();
    let token = registry
        .create_log_service_token(&operator, &name, "test")
        .await
        .unwrap();
    registry.log_service_desk(Some(&token)).await.unwrap()
}

pub(crate) fn entries(from: u64, count: u64) -> Vec<LogEntry> {
    (from..from + count)
        .map(|number| LogEntry {
            data: Bytes::from(format!("entry {number}")),
            identifier: None,
        })
        .collect()
}

pub(crate) fn about(identifier: &str, data: &str) -> LogEntry {
    LogEntry {
        data: Bytes::from(data.to_owned()),
        identifier: Some(identifier.to_owned()),
    }
}

fn keys(log: &LogServiceSummary) -> Vec<VerifierKey> {
    let keys = log.verifier_keys.iter();
    keys.map(|key| key.parse().unwrap()).collect()
}

/// Reads a log as a stranger does, from its tiles: its entries, in the tree that the checkpoint says.
pub(crate) async fn read(registry: &Registry, name: &str) -> Vec<Bytes> {
    let log = registry.log_service_summary(name).await.unwrap();
    let note = registry.log_service_checkpoint(name).await.unwrap();
    let open = checkpoint::open(&note.bytes, &keys(&log), &log.origin).unwrap();
    let mut read = Vec::new();
    let mut frontier = Frontier::empty();
    for bundle in 0..open.size().div_ceil(256) {
        let id = EntriesId::in_log(bundle, open.size()).unwrap();
        let bytes = registry.log_service_tile(name, &id.path()).await.unwrap();
        let entries = tlog::decode_entries(&bytes.bytes).unwrap();
        for entry in entries {
            frontier.append(tlog::leaf_hash(entry));
            read.push(Bytes::copy_from_slice(entry));
        }
    }
    assert_eq!(
        (frontier.size(), frontier.root()),
        (open.size(), open.root())
    );
    read
}

async fn append(
    registry: &Registry,
    desk: &LogDesk,
    sent: Vec<LogEntry>,
) -> Result<Vec<PlacedEntry>, Error> {
    let placed = registry.append_entries(desk, sent.clone()).await?;
    let indices: Vec<u64> = placed.iter().map(|place| place.index).collect();
    let (note, paths) = registry.shown_entries(desk, &indices, true).await?;
    // Each proof holds by itself, under the checkpoint that came with it.
    let logs = registry.log_services().await.unwrap();
    let log = logs
        .iter()
        .find(|log| note.bytes.starts_with(log.origin.as_bytes()));
    let log = log.unwrap();
    // A signature of ML-DSA takes its time unoptimised, and threads that check hold up those that write: the first and the last.
    let last = sent.len() - 1;
    let each = placed.iter().zip(paths).zip(&sent).enumerate();
    for (_, ((place, hashes), entry)) in each.filter(|(at, _)| [0, last].contains(at)) {
        let proof = TlogProof {
            extra: None,
            index: place.index,
            hashes,
            checkpoint: String::from_utf8(note.bytes.to_vec()).unwrap(),
        };
        let proof = TlogProof::parse(proof.to_string().as_bytes()).unwrap();
        proof.verify(&entry.data, &keys(log), &log.origin).unwrap();
        assert!(proof.verify(b"another", &keys(log), &log.origin).is_err());
    }
    Ok(placed)
}

fn indices(placed: &[PlacedEntry]) -> Vec<u64> {
    placed.iter().map(|place| place.index).collect()
}

on_both_databases! {
    async fn what_is_appended_is_proved_at_once_and_stands_where_it_stood_after_restarts_and_lost_tiles(test: TestRegistry) {
        let mut test = test;
        let desk = desk(&test.registry, named("alpha")).await;
        assert!(read(&test.registry, "alpha").await.is_empty());
        let first = append(&test.registry, &desk, entries(0, 1)).await.unwrap();
        assert_eq!(indices(&first), [0]);
        let more = append(&test.registry, &desk, entries(0, 700)).await.unwrap();
        assert_eq!(indices(&more), (0..700).collect::<Vec<_>>());
        assert!(more[0].repeated && !more[1].repeated);
        // The same bytes twice in one request are one entry.
        let twice = append(&test.registry, &desk, [entries(700, 1), entries(700, 1)].concat()).await.unwrap();
        assert_eq!(indices(&twice), [700, 700]);

        test.restart().await;
        let again = append(&test.registry, &desk, entries(650, 100)).await.unwrap();
        assert_eq!(indices(&again), (650..750).collect::<Vec<_>>());
        std::fs::remove_dir_all(test.folder.path().join("blobs/service/log/alpha/tile")).unwrap();
        test.restart().await;
        append(&test.registry, &desk, entries(750, 300)).await.unwrap();
        let all = read(&test.registry, "alpha").await;
        let wanted: Vec<Bytes> = entries(0, 1050).into_iter().map(|entry| entry.data).collect();
        assert_eq!(all, wanted);
        let proof = test.registry.log_service_proof("alpha", 3).await.unwrap();
        let proof = TlogProof::parse(&proof.bytes).unwrap();
        assert_eq!(proof.extra.as_deref(), Some(&b"entry 3"[..]));
        refused(test.registry.log_service_proof("alpha", 1050).await, "leaf-unknown");
        refused(test.registry.log_service_checkpoint("beta").await, "log-service-unknown");
        // Our own log is another one.
        test.check().await;
    }

    async fn an_identifier_stands_for_one_digest_for_ever(test: TestRegistry) {
        let new = NewLogService { identifiers: true, ..named("alpha") };
        let desk = desk(&test.registry, new).await;
        let registry = &test.registry;
        let placed = append(registry, &desk, vec![about("a 1.0", "one"), about("b 1.0", "two")]).await.unwrap();
        assert_eq!(indices(&placed), [0, 1]);
        let other = vec![about("c 1.0", "three"), about("a 1.0", "other")];
        let error = refused(registry.append_entries(&desk, other).await, "log-identifier-taken");
        assert!(error.message.contains("entry 1") && error.message.contains("index 0"), "{error}");
        // Nothing of that request was taken; the same bytes may stand under two names.
        let placed = append(registry, &desk, vec![about("d 1.0", "one"), about("c 1.0", "three")]).await.unwrap();
        assert_eq!(indices(&placed), [0, 2]);
        refused(registry.append_entries(&desk, vec![about("d 1.0", "two")]).await, "log-identifier-taken");
        let torn = vec![about("e 1.0", "x"), about("e 1.0", "y")];
        refused(registry.append_entries(&desk, torn).await, "log-entry-identifier");
        refused(registry.append_entries(&desk, entries(0, 1)).await, "log-entry-identifier");
        assert_eq!(read(registry, "alpha").await.len(), 3);

        // Of many that race for one identifier one wins, and those beside it lose nothing.
        let racing = (0..20).map(|number| {
            let (registry, desk) = (registry.clone(), desk.clone());
            tokio::spawn(async move {
                let own = about(&format!("own {number}"), &format!("own {number}"));
                registry.append_entries(&desk, vec![own]).await.unwrap();
                let same = about("same", &format!("same {number}"));
                registry.append_entries(&desk, vec![same]).await
            })
        });
        let mut won = 0;
        for answer in futures::future::join_all(racing).await {
            match answer.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert_eq!(error.code, "log-identifier-taken"),
            }
        }
        assert_eq!(won, 1);
        let digest = LogEntry::of_digest(Sha256::of(b"file"), Some("f 1.0".to_owned())).unwrap();
        let text = format!("countersign-entry/v1\nidentifier f 1.0\nsha256 {}\n", Sha256::of(b"file").to_hex());
        assert_eq!(digest.data, text);
        append(registry, &desk, vec![digest]).await.unwrap();
        assert_eq!(read(registry, "alpha").await.len(), 25);
    }

    async fn a_database_that_was_put_back_signs_nothing(database: Database) {
        let mut test = TestRegistry::with(database, |settings| {
            settings.log_wait = Duration::from_secs(3);
        })
        .await;
        let desk = desk(&test.registry, named("alpha")).await;
        append(&test.registry, &desk, entries(0, 5)).await.unwrap();
        let before = test.registry.log_service_checkpoint("alpha").await.unwrap();
        test.stop_heartbeat().await;
        // As an older state has it: the copy of the checkpoint beside the tiles is ahead of it.
        test.execute("DELETE FROM log_service_entries WHERE idx >= 2").await;
        test.execute("UPDATE log_services SET numbered = 2").await;
        test.execute("UPDATE log_service_heads SET size = 2").await;
        test.start_anew().await;
        let placed = test.registry.append_entries(&desk, entries(90, 1)).await.unwrap();
        assert_eq!(indices(&placed), [2]);
        refused(test.registry.shown_entries(&desk, &[2], false).await, "log-service-late");
        let log = test.registry.log_service_summary("alpha").await.unwrap();
        assert!(log.problem.unwrap().contains("put back to an older state"));
        let copy = std::fs::read(test.folder.path().join("blobs/service/log/alpha/checkpoint")).unwrap();
        assert_eq!(copy, before.bytes);
        assert!(test.registry.health().await.ok);
    }

    async fn two_servers_write_one_log(test: TestRegistry) {
        let first = test.registry.clone();
        let desk = desk(&first, named("alpha")).await;
        let second = test.reopened().await.unwrap();
        let mut tasks = Vec::new();
        for round in 0..12_u64 {
            let registry = if round % 2 == 0 { first.clone() } else { second.clone() };
            let desk = desk.clone();
            tasks.push(tokio::spawn(async move {
                append(&registry, &desk, entries(round * 40, 60)).await.unwrap()
            }));
        }
        let mut places = BTreeSet::new();
        for task in tasks {
            places.extend(indices(&task.await.unwrap()));
        }
        assert_eq!(places, (0..500).collect());
        for registry in [&first, &second] {
            let all: BTreeSet<Bytes> = read(registry, "alpha").await.into_iter().collect();
            assert_eq!(all.len(), 500);
        }
    }

    async fn bad_requests_and_strangers_are_told_what_is_wrong(test: TestRegistry) {
        let operator = Actor::operator();
        let registry = &test.registry;
        let ann = test.user("ann").await;
        refused(registry.create_log_service(&ann, &named("alpha")).await, "operator-needed");
        refused(registry.create_log_service(&operator, &named("Alpha/1")).await, "service-name");
        let slow = NewLogService { interval: Duration::from_secs(100), ..named("alpha") };
        refused(registry.create_log_service(&operator, &slow).await, "log-service-interval");
        let bent = NewLogService { policy: Some("quorum x\n".to_owned()), ..named("alpha") };
        refused(registry.create_log_service(&operator, &bent).await, "log-policy");
        let desk = desk(registry, named("alpha")).await;
        refused(registry.create_log_service(&operator, &named("alpha")).await, "log-service-exists");
        refused(registry.create_log_service_token(&operator, "beta", "").await, "log-service-unknown");
        refused(registry.log_service_desk(None).await, "service-token");
        // A token for another part of a service of the same name is none for its log.
        registry.create_tuf_service(&operator, "alpha", None).await.unwrap();
        let other = registry.create_tuf_service_token(&operator, "alpha", "").await.unwrap();
        refused(registry.log_service_desk(Some(&other)).await, "service-token");
        refused(registry.append_entries(&desk, Vec::new()).await, "log-entries-count");
        refused(registry.append_entries(&desk, entries(0, 1001)).await, "log-entries-count");
        for length in [0, 4097] {
            let entry = LogEntry { data: vec![7; length].into(), identifier: None };
            refused(registry.append_entries(&desk, vec![entry]).await, "log-entry-size");
        }
        refused(registry.append_entries(&desk, vec![about("a", "b")]).await, "log-entry-identifier");
        append(registry, &desk, entries(0, 2)).await.unwrap();
        registry.close_log_service(&operator, "alpha").await.unwrap();
        refused(registry.append_entries(&desk, entries(0, 1)).await, "log-service-closed");
        assert_eq!(read(registry, "alpha").await.len(), 2);
        test.check().await;
    }
}
