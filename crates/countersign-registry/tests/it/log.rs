use std::path::PathBuf;
use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::Actor;
use countersign_registry::{Blobs, LogKeys, Registry, Seams, Store, SystemRandom};
use countersign_testkit::packages::Wheel;
use countersign_trust::leaf::LeafKind;
use countersign_trust::tlog;

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

impl TestRegistry {
    /// Adds small events about a project that exists until the log has this many leaves.
    pub async fn fill_log(&self, project: &str, version: &str, size: u64) {
        let operator = Actor::operator();
        for _ in self.settled().await..size {
            self.registry
                .yank(&operator, Ecosystem::Pypi, project, version, "")
                .await
                .unwrap();
        }
        assert_eq!(self.settled().await, size);
    }

    fn log_folder(&self) -> PathBuf {
        self.folder.path().join("blobs/log/1")
    }

    /// Partial tiles and bundles of a full one are deleted some time after it was written.
    async fn outgrown(&self, folder: &str) {
        let folder = self.log_folder().join(folder);
        for _ in 0..200 {
            let gone = match std::fs::read_dir(&folder) {
                Ok(mut files) => files.next().is_none(),
                Err(_) => true,
            };
            if gone {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} still has files", folder.display());
    }
}

on_both_databases! {
    async fn a_new_log_has_its_genesis_and_a_restart_adds_nothing(test: TestRegistry) {
        let mut test = test;
        let leaves = test.check().await;
        assert_eq!(leaves.len(), 1);
        assert_eq!(leaves[0].kind, LeafKind::LogGenesis);
        let before = test.registry.checkpoint(1).await.unwrap();
        test.restart().await;
        assert_eq!(test.registry.checkpoint(1).await.unwrap().bytes, before.bytes);
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        assert_eq!(test.check().await.len(), 3);
    }

    async fn the_log_crosses_two_full_tiles_with_restarts_at_every_edge(test: TestRegistry) {
        let mut test = test;
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("filler", "1.0").build()).await.unwrap();
        for size in [255, 256, 257] {
            test.fill_log("filler", "1.0", size).await;
            test.check().await;
            test.restart().await;
            test.check().await;
        }
        test.outgrown("tile/0/000.p").await;
        test.outgrown("tile/entries/000.p").await;
        // Who still asks for what was deleted is answered.
        let full = test.registry.tile(1, "tile/0/000").await.unwrap().bytes;
        let partial = test.registry.tile(1, "tile/0/000.p/255").await.unwrap().bytes;
        assert_eq!(partial, full[..255 * 32]);
        let bundle = test.registry.tile(1, "tile/entries/000").await.unwrap().bytes;
        let part = test.registry.tile(1, "tile/entries/000.p/3").await.unwrap().bytes;
        let entries = tlog::decode_entries(&part).unwrap();
        assert_eq!(entries, tlog::decode_entries(&bundle).unwrap()[..3]);

        let wheel = Wheel::new("demo", "1.0").build();
        let receipt = test.publish(&ann, &wheel).await.unwrap();
        test.check_receipt(&receipt, &wheel);
        test.fill_log("filler", "1.0", 510).await;
        // One beat over the edge, not at it.
        let crowd: Vec<_> = (1..8).map(|number| Wheel::new("demo", &format!("2.{number}")).build()).collect();
        let answers = test.publish_at_once(crowd.iter().map(|wheel| (ann.clone(), wheel.clone()))).await;
        for (wheel, answer) in crowd.iter().zip(answers) {
            test.check_receipt(&answer.unwrap(), wheel);
        }
        test.restart().await;
        let leaves = test.check().await;
        assert_eq!(leaves.len(), 517);
        test.outgrown("tile/0/001.p").await;
    }

    async fn tiles_that_the_log_does_not_have_are_not_made_up(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.settled().await;
        for path in ["tile/0/000.p/4", "tile/0/000", "tile/0/001", "tile/1/000", "tile/entries/000.p/9", "tile/entries/000", "tile/63/000"] {
            refused(test.registry.tile(1, path).await, "tile-unknown");
        }
        for path in ["", "tile", "tile/0/0", "tile/0/000.p/0", "tile/0/000.p/256", "tile/64/000", "tile/0/../../checkpoint", "tile/entries/x", "tile/0/000.p/01"] {
            refused(test.registry.tile(1, path).await, "tile-path");
        }
        refused(test.registry.leaf_proof(1, 3).await, "leaf-unknown");
        refused(test.registry.leaf_proof(1, u64::MAX).await, "leaf-unknown");
        refused(test.registry.checkpoint(2).await, "log-unknown");
        test.registry.tile(1, "tile/0/000.p/1").await.unwrap();
        test.check().await;
    }

    async fn a_blob_store_that_lost_the_log_gets_it_back_from_the_rows(test: TestRegistry) {
        let mut test = test;
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.fill_log("demo", "1.0", 260).await;
        test.check().await;
        test.stop_heartbeat().await;
        std::fs::remove_dir_all(test.log_folder()).unwrap();
        test.start_anew().await;
        test.check().await;
        // And a single one that is damaged at the right edge.
        test.stop_heartbeat().await;
        std::fs::write(test.log_folder().join("tile/0/001.p/4"), b"nonsense").unwrap();
        std::fs::remove_file(test.log_folder().join("checkpoint")).unwrap();
        test.start_anew().await;
        test.check().await;
        test.publish(&ann, &Wheel::new("demo", "2.0").build()).await.unwrap();
        test.check().await;
    }

    async fn a_log_is_made_once_and_opened_with_its_own_key_only(test: TestRegistry) {
        let settings = test.registry.settings().clone();
        let store = Store::connect(&test.database).await.unwrap();
        let seams = Seams::system(std::sync::Arc::new(crate::kit::World));
        let keys = LogKeys::load(&test.folder.path().join("keys"), 1).unwrap();
        let blobs = Blobs::local(&test.folder.path().join("blobs"), false).unwrap();
        refused(Registry::create(&settings, &store, &blobs, &keys, &seams).await, "log-exists");
        // An unmounted blob store does not make a second log, nor does an emptied database beside a full one.
        refused(Registry::create(&settings, &store, &Blobs::memory(), &keys, &seams).await, "log-exists");
        let other = LogKeys::generate("other.example/log/1", &SystemRandom).unwrap();
        let answer = Registry::open(settings.clone(), store.clone(), blobs.clone(), other, seams.clone()).await;
        refused(answer.map(|_| ()), "log-key-wrong");
        // A key of the right name and another person.
        let stranger = LogKeys::generate("localhost:8417/log/1", &SystemRandom).unwrap();
        let answer = Registry::open(settings.clone(), store.clone(), blobs.clone(), stranger, seams.clone()).await;
        refused(answer.map(|_| ()), "log-forked");
        let empty = Store::connect(&format!("sqlite://{}", test.folder.path().join("empty.db").display())).await.unwrap();
        let answer = Registry::open(settings, empty, blobs, keys, seams).await;
        refused(answer.map(|_| ()), "not-initialised");
        refused(LogKeys::generate("localhost:8417/log/1", &SystemRandom).unwrap().save(&test.folder.path().join("keys"), 1), "log-key-exists");
        test.check().await;
    }

    async fn events_are_listed_newest_first_and_by_project(test: TestRegistry) {
        let ann = test.user("ann").await;
        for (name, version) in [("demo", "1.0"), ("other", "1.0"), ("demo", "2.0")] {
            test.publish(&ann, &Wheel::new(name, version).build()).await.unwrap();
        }
        test.check().await;
        let all = test.registry.events(None, None, 100).await.unwrap();
        let indices: Vec<_> = all.iter().map(|event| event.leaf).collect();
        assert_eq!(indices, [5, 4, 3, 2, 1, 0]);
        let page = test.registry.events(None, Some(4), 2).await.unwrap();
        assert_eq!(page.iter().map(|event| event.leaf).collect::<Vec<_>>(), [3, 2]);
        let demo = test.registry.events(Some((Ecosystem::Pypi, "Demo")), None, 100).await.unwrap();
        assert_eq!(demo.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["file-published", "file-published", "owner-changed"]);
        assert!(all.iter().all(|event| !event.text.contains("ann")), "a person's name is in the log");
    }
}
