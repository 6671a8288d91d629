use std::path::PathBuf;
use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::DocumentKey;
use countersign_testkit::packages::{Sdist, Wheel};
use serde_json::Value;

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

const PYPI: Ecosystem = Ecosystem::Pypi;

impl TestRegistry {
    async fn json(&self, key: DocumentKey) -> Value {
        serde_json::from_str(&self.text(key).await.unwrap()).unwrap()
    }

    /// Where the stored documents are.
    fn stored_documents(&self) -> Vec<PathBuf> {
        let folder = self.folder.path().join("blobs/documents");
        let mut found = Vec::new();
        for folder in std::fs::read_dir(folder).unwrap() {
            for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
                found.push(file.unwrap().path());
            }
        }
        found
    }
}

fn simple(project: &str) -> DocumentKey {
    DocumentKey::Index(PYPI, project.into())
}

on_both_databases! {
    async fn a_projects_index_says_all_that_an_installer_asks(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheel = Wheel::new("Demo.Pkg", "1.0.post1").metadata_line("Requires-Python: >=3.9").build();
        let sdist = Sdist::new("Demo.Pkg", "0.9").build();
        let receipt = test.publish(&ann, &wheel).await.unwrap();
        test.publish(&ann, &sdist).await.unwrap();
        let index = test.json(simple("demo-pkg")).await;
        assert_eq!(index["meta"]["api-version"], "1.4");
        assert_eq!(index["name"], "demo-pkg");
        assert_eq!(index["versions"], serde_json::json!(["1.0.post1", "0.9"]));
        let file = &index["files"][0];
        assert_eq!(file["filename"], Value::from(wheel.filename.as_str()));
        assert_eq!(file["hashes"]["sha256"], Value::from(wheel.sha256()));
        assert_eq!(file["size"], Value::from(wheel.bytes.len()));
        assert_eq!(file["requires-python"], ">=3.9");
        assert_eq!(file["_countersign"]["leaf"], Value::from(receipt.leaf));
        let metadata = test.registry.metadata(&wheel.sha256(), &wheel.filename).await.unwrap();
        let digest = countersign_trust::digest::Sha256::of(&metadata.bytes).to_string();
        assert_eq!(file["core-metadata"]["sha256"], Value::from(digest));
        refused(test.registry.metadata(&sdist.sha256(), &sdist.filename).await, "metadata-unknown");
        test.check().await;
    }

    async fn the_list_of_projects_has_each_visible_one_once(test: TestRegistry) {
        let ann = test.user("ann").await;
        for name in ["zebra", "Apple_Pie", "mango"] {
            test.publish(&ann, &Wheel::new(name, "1.0").build()).await.unwrap();
        }
        let list = test.json(DocumentKey::SimpleIndexJson).await;
        let names: Vec<_> = list["projects"].as_array().unwrap().iter().map(|project| project["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["apple-pie", "mango", "zebra"]);
        let html = test.text(DocumentKey::SimpleIndexHtml).await.unwrap();
        assert!(html.contains("apple-pie/"), "{html}");
        // The list may lag by ten seconds, not by more.
        test.publish(&ann, &Wheel::new("later", "1.0").build()).await.unwrap();
        test.turn_clock(Duration::from_secs(11));
        assert!(test.text(DocumentKey::SimpleIndexJson).await.unwrap().contains("later"));
        assert!(test.text(DocumentKey::SimpleIndexHtml).await.unwrap().contains("later"));
    }

    async fn tags_and_serials_change_with_the_bytes_and_only_with_them(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        let keys = [simple("demo"), DocumentKey::SimpleHtml(PYPI, "demo".into()), DocumentKey::LegacyJson("demo".into())];
        for key in keys {
            let first = test.registry.document(&key).await.unwrap();
            tokio::time::sleep(Duration::from_millis(220)).await;
            let again = test.registry.document(&key).await.unwrap();
            assert_eq!((&first.etag, first.serial), (&again.etag, again.serial));
            assert!(first.etag.starts_with('"') && first.etag.ends_with('"'));
            test.registry.yank(&ann, PYPI, "demo", "1.0", &format!("{key:?}")).await.unwrap();
            let changed = test.registry.document(&key).await.unwrap();
            assert_ne!(first.etag, changed.etag, "{key:?}");
            assert!(changed.serial > first.serial);
        }
    }

    async fn a_stored_document_that_is_damaged_or_gone_is_rendered_anew(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        let right = test.registry.document(&simple("demo")).await.unwrap();
        let stored = test.stored_documents();
        assert_eq!(stored.len(), 1);
        std::fs::write(&stored[0], &right.bytes[..right.bytes.len() / 2]).unwrap();
        let afresh = test.reopened().await.unwrap();
        assert_eq!(afresh.document(&simple("demo")).await.unwrap().bytes, right.bytes);
        std::fs::remove_file(&stored[0]).unwrap();
        let afresh = test.reopened().await.unwrap();
        assert_eq!(afresh.document(&simple("demo")).await.unwrap().bytes, right.bytes);
        test.publish(&ann, &Wheel::new("demo", "2.0").build()).await.unwrap();
        test.check().await;
    }

    async fn the_sweep_takes_what_is_superseded_for_a_day_and_unclaimed_and_nothing_else(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheels: Vec<_> = (1..5).map(|number| Wheel::new("demo", &format!("{number}.0")).build()).collect();
        for wheel in &wheels {
            test.publish(&ann, wheel).await.unwrap();
        }
        // Refused at the rows, after its bytes were stored: nothing points to them.
        let bob = test.user("bob").await;
        let orphan = Wheel::new("demo", "9.0").build();
        refused(test.publish(&bob, &orphan).await, "role-missing");
        assert_eq!(test.stored_documents().len(), 4);
        assert_eq!(test.registry.sweep().await.unwrap(), 0);
        test.turn_clock(Duration::from_secs(25 * 3_600));
        assert_eq!(test.registry.sweep().await.unwrap(), 3 + 1);
        assert_eq!(test.stored_documents().len(), 1);
        for wheel in &wheels {
            test.registry.file(&wheel.sha256(), &wheel.filename).await.unwrap();
        }
        let afresh = test.reopened().await.unwrap();
        assert!(test.index("demo").await.unwrap().contains(&wheels[0].sha256()));
        assert_eq!(afresh.document(&simple("demo")).await.unwrap().bytes, test.registry.document(&simple("demo")).await.unwrap().bytes);
        test.check().await;
    }

    async fn a_small_file_whose_bytes_were_changed_is_not_served(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheel = Wheel::new("demo", "1.0").build();
        test.publish(&ann, &wheel).await.unwrap();
        let sha256 = wheel.sha256();
        let path = test.folder.path().join("blobs/artifacts").join(&sha256[..2]).join(&sha256);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[40] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        refused(test.registry.file(&sha256, &wheel.filename).await, "blob-damaged");
        std::fs::remove_file(&path).unwrap();
        refused(test.registry.file(&sha256, &wheel.filename).await, "blob-missing");
        // The identical publish puts the right bytes back.
        assert!(test.publish(&ann, &wheel).await.unwrap().repeated);
        let file = test.registry.file(&sha256, &wheel.filename).await.unwrap();
        assert_eq!(file.memory.as_deref(), Some(&wheel.bytes[..]));
    }

    async fn names_in_any_spelling_find_the_project_and_unknown_ones_are_named(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("Demo_Pkg", "1.0").metadata_line("Summary: a fine thing").build()).await.unwrap();
        for name in ["Demo_Pkg", "demo.pkg", "DEMO-PKG"] {
            assert_eq!(test.registry.project(PYPI, name).await.unwrap().name, "Demo_Pkg");
            assert_eq!(test.registry.release(PYPI, name, "1").await.unwrap().release.version, "1.0");
        }
        let error = refused(test.registry.project(PYPI, "nothing").await, "project-unknown");
        assert!(error.message.contains("nothing"), "{error}");
        for text in ["demo", "DEMO", "fine", "demo_pkg"] {
            let found = test.registry.search(text, 0, 10).await.unwrap();
            assert_eq!(found.total, 1, "{text}");
        }
        for text in ["%", "_", "\\", "'", "\"; DROP TABLE files; --"] {
            let found = test.registry.search(text, 0, 10).await.unwrap();
            assert!(found.total <= 1, "{text}");
        }
        assert_eq!(test.registry.search("", 0, 10).await.unwrap().total, 1);
        assert_eq!(test.registry.newest(5).await.unwrap()[0].key, "demo-pkg");
    }

    async fn downloads_are_counted_and_survive_a_stop(test: TestRegistry) {
        let mut test = test;
        let ann = test.user("ann").await;
        let wheel = Wheel::new("demo", "1.0").build();
        test.publish(&ann, &wheel).await.unwrap();
        let file = test.registry.file(&wheel.sha256(), &wheel.filename).await.unwrap();
        for _ in 0..5 {
            test.registry.count_download(&file);
        }
        test.restart().await;
        assert_eq!(test.registry.project(PYPI, "demo").await.unwrap().downloads_30d, 5);
        test.turn_clock(Duration::from_secs(32 * 86_400));
        assert_eq!(test.registry.project(PYPI, "demo").await.unwrap().downloads_30d, 0);
    }
}
