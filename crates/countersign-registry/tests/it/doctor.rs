//! Doctor finds what is wrong, says what to do, and is silent where nothing is.

use std::path::PathBuf;
use std::time::Duration;

use countersign_registry::{Diagnosis, Patient, Seams, Severity, Store, SystemRandom, examine};
use countersign_testkit::packages::{Crate, Package, Wheel};

use crate::ecosystems::publish_crate;
use crate::kit::TestRegistry;
use crate::on_both_databases;

async fn run(database: &str, statement: &'static str) {
    sqlx::any::install_default_drivers();
    let pool = sqlx::AnyPool::connect(database).await.unwrap();
    let done = sqlx::query(statement).execute(&pool).await.unwrap();
    assert!(done.rows_affected() > 0, "{statement} changed nothing");
    pool.close().await;
}

async fn diagnose(test: &TestRegistry) -> Vec<Diagnosis> {
    let keys = test.folder.path().join("keys");
    test.registry
        .doctor(Some(&keys), true, &mut |_, _| {})
        .await
}

/// What is wrong, each with its explanation.
async fn complaints(test: &TestRegistry) -> Vec<&'static str> {
    let found = diagnose(test).await;
    for diagnosis in &found {
        if !diagnosis.ok {
            assert!(
                !diagnosis.why.is_empty() && !diagnosis.remedy.is_empty(),
                "{diagnosis:?}"
            );
            assert!(diagnosis.severity > Severity::Note);
        }
    }
    found
        .iter()
        .filter(|diagnosis| !diagnosis.ok)
        .map(|diagnosis| diagnosis.id)
        .collect()
}

fn blob(test: &TestRegistry, package: &Package) -> PathBuf {
    let digest = package.sha256();
    test.folder
        .path()
        .join("blobs/artifacts")
        .join(&digest[..2])
        .join(&digest)
}

async fn published(test: &TestRegistry) -> Package {
    let ann = test.user("ann").await;
    let wheel = Wheel::new("sick", "1.0").build();
    test.publish(&ann, &wheel).await.unwrap();
    wheel
}

on_both_databases! {
    async fn a_healthy_registry_has_no_complaints(test: TestRegistry) {
        published(&test).await;
        assert_eq!(complaints(&test).await, [""; 0], "{:#?}", diagnose(&test).await);
    }

    async fn a_missing_and_a_changed_blob_are_found(test: TestRegistry) {
        let wheel = published(&test).await;
        let mut bytes = std::fs::read(blob(&test, &wheel)).unwrap();
        bytes[40] ^= 1;
        std::fs::write(blob(&test, &wheel), bytes).unwrap();
        assert_eq!(complaints(&test).await, ["artifacts"]);
        std::fs::remove_file(blob(&test, &wheel)).unwrap();
        assert_eq!(complaints(&test).await, ["artifacts"]);
    }

    async fn crates_that_want_others_from_an_address_of_before_are_told(given: Database) {
        let other = |alias: &'static str| TestRegistry::with(given, move |settings| {
            if !alias.is_empty() {
                settings.cargo_aliases = vec![alias.to_owned()];
            }
        });
        let before = "sparse+https://packages.old.example/cargo/index/";
        for (alias, told) in [("", true), (before, false)] {
            let test = other(alias).await;
            let ann = test.user("ann").await;
            publish_crate(&test.registry, &ann, &Crate::new("base", "1.0.0")).await.unwrap();
            let wants = |name: &str, what: &str, index: &str| Crate::new(name, "1.0.0")
                .manifest(&format!("[dependencies.{what}]\nversion = \"1\"\nregistry-index = \"{index}\"\n"));
            // What another registry alone has is that registry's.
            publish_crate(&test.registry, &ann, &wants("stranger", "elsewhere", "sparse+https://friends.example/cargo/index/")).await.unwrap();
            assert_eq!(complaints(&test).await, [""; 0]);
            publish_crate(&test.registry, &ann, &wants("upper", "base", before)).await.unwrap();
            let found = diagnose(&test).await;
            let about = found.iter().find(|one| one.id == "crate-sources").unwrap();
            assert_eq!(!about.ok, told, "{about:?}");
            if told {
                assert!(about.what.contains(before) && about.what.contains("upper") && !about.what.contains("friends"), "{about:?}");
                assert!(about.remedy.contains("cargo.stands_in_for"), "{about:?}");
            }
        }
    }

    async fn a_changed_row_is_found(test: TestRegistry) {
        published(&test).await;
        run(&test.database, "UPDATE files SET size = size + 1").await;
        let found = complaints(&test).await;
        assert!(found.contains(&"files-leaves"), "{found:?}");
    }

    async fn a_file_that_is_served_without_a_leaf_is_found(test: TestRegistry) {
        published(&test).await;
        run(&test.database, "UPDATE files SET leaf = leaf + 100").await;
        assert!(complaints(&test).await.contains(&"files-logged"));
    }

    async fn a_deleted_leaf_is_found(test: TestRegistry) {
        published(&test).await;
        run(&test.database, "DELETE FROM leaves WHERE idx = 1").await;
        assert!(complaints(&test).await.contains(&"log"));
    }

    async fn a_rewritten_leaf_is_found(test: TestRegistry) {
        published(&test).await;
        run(&test.database, "UPDATE leaves SET body = replace(body, 'kind log-genesis', 'kind log-freeze'), kind = 'log-freeze' WHERE idx = 0").await;
        assert!(complaints(&test).await.contains(&"log"));
    }

    async fn a_freed_identifier_is_found(test: TestRegistry) {
        published(&test).await;
        run(&test.database, "DELETE FROM identifiers").await;
        assert_eq!(complaints(&test).await, ["identifiers"]);
    }

    async fn a_changed_tile_is_found(test: TestRegistry) {
        published(&test).await;
        let mut folder = test.folder.path().join("blobs/log/1/tile/0");
        let mut tile = None;
        while tile.is_none() {
            let entries: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            match entries.iter().find(|path| path.is_dir()) {
                Some(inner) => folder = inner.clone(),
                // The widest partial tile is the current one.
                None => tile = entries.into_iter().max_by_key(|path| {
                    path.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap()
                }),
            }
        }
        let tile = tile.unwrap();
        let mut bytes = std::fs::read(&tile).unwrap();
        bytes[5] ^= 1;
        std::fs::write(&tile, bytes).unwrap();
        assert_eq!(complaints(&test).await, ["tiles"]);
    }

    async fn a_changed_document_is_found(test: TestRegistry) {
        published(&test).await;
        run(&test.database, "UPDATE releases SET yanked_at = 5, yanked_reason = 'by hand'").await;
        assert_eq!(complaints(&test).await, ["documents"]);
    }

    async fn what_is_frozen_and_incidents_that_are_open_are_told_and_warned_of_when_old(test: TestRegistry) {
        published(&test).await;
        let (registry, operator) = (&test.registry, countersign_registry::model::Actor::operator());
        let told = async |id: &str| {
            let found = diagnose(&test).await;
            let one = found.into_iter().find(|one| one.id == id).unwrap();
            (one.ok, one.what)
        };
        let project = "project:pypi:sick".parse().unwrap();
        registry.freeze(&operator, &project, "odd").await.unwrap();
        let new = countersign_registry::NewIncident { title: "sick is odd".to_owned(), ..Default::default() };
        let id = registry.open_incident(&operator, &new).await.unwrap();
        assert_eq!(complaints(&test).await, [""; 0]);
        assert!(told("freezes").await.1.contains("project pkg:pypi/sick"), "{:?}", told("freezes").await);
        assert!(told("incidents").await.1.contains(&format!("{id} \"sick is odd\"")));
        let troubles = registry.troubles().await.unwrap();
        assert_eq!((troubles.projects, troubles.incidents), (1, 0), "those of operators are not counted");
        registry.freeze(&operator, &countersign_registry::Subject::Registry, "A worm spreads").await.unwrap();
        let (ok, what) = told("freezes").await;
        assert!(!ok && what.contains("A worm spreads"), "{what}");
        registry.unfreeze(&operator, &countersign_registry::Subject::Registry).await.unwrap();
        assert_eq!(complaints(&test).await, [""; 0]);
        test.turn_clock(Duration::from_secs(8 * 86_400));
        let old = complaints(&test).await;
        assert!(old.contains(&"freezes") && old.contains(&"incidents"), "{old:?}");
        registry.unfreeze(&operator, &project).await.unwrap();
        let over = countersign_registry::IncidentChange { text: "It is over.".to_owned(), close: true, ..Default::default() };
        registry.update_incident(&operator, &id, &over).await.unwrap();
        assert_eq!((told("freezes").await.0, told("incidents").await), (true, (true, "none is open".to_owned())));
    }

    async fn a_skewed_clock_is_found(test: TestRegistry) {
        published(&test).await;
        test.turn_clock(Duration::from_secs(40));
        assert_eq!(complaints(&test).await, ["clock"]);
    }

    async fn a_log_that_stands_still_is_found(test: TestRegistry) {
        let mut test = test;
        published(&test).await;
        test.stop_heartbeat().await;
        test.registry.yank(&countersign_registry::model::Actor::operator(), countersign_formats::Ecosystem::Pypi, "sick", "1.0", "x").await.unwrap();
        test.turn_clock(Duration::from_secs(120));
        assert!(complaints(&test).await.contains(&"outbox"));
    }

    async fn keys_that_others_can_read_or_that_are_gone_are_found(test: TestRegistry) {
        use std::os::unix::fs::PermissionsExt;
        let key = test.folder.path().join("keys/log-1.ed25519");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(complaints(&test).await, ["keys"]);
        std::fs::remove_file(&key).unwrap();
        assert_eq!(complaints(&test).await, ["keys"]);
    }

    async fn a_closed_database_is_explained_and_the_rest_is_still_looked_at(test: TestRegistry) {
        let mut test = test;
        test.stop_heartbeat().await;
        test.registry.store().close().await;
        let found = diagnose(&test).await;
        let wrong: Vec<_> = found.iter().filter(|diagnosis| !diagnosis.ok).collect();
        assert_eq!(wrong.len(), 1, "{found:#?}");
        assert_eq!(wrong[0].id, "database");
        assert!(found.iter().any(|diagnosis| diagnosis.id == "blobs" && diagnosis.ok));
    }

    async fn what_does_not_open_can_still_be_examined(test: TestRegistry) {
        let mut test = test;
        published(&test).await;
        test.stop_heartbeat().await;
        run(&test.database, "UPDATE log_head SET root = 'ff' || substr(root, 3)").await;
        assert!(test.reopened().await.is_err());
        let store = Store::connect(&test.database).await.unwrap();
        let blobs = countersign_registry::Blobs::local(&test.folder.path().join("blobs"), false).unwrap();
        let keys = test.folder.path().join("keys");
        let seams = Seams { clock: test.clock.clone(), random: std::sync::Arc::new(SystemRandom), outside: std::sync::Arc::new(crate::kit::World), post: None, domains: None };
        let patient = Patient {
            settings: test.registry.settings(),
            store: &store,
            blobs: &blobs,
            keys_folder: Some(&keys),
            folders: &[test.folder.path()],
            seams: &seams,
        };
        let found = examine(&patient, false, &mut |_, _| {}).await;
        assert!(found.iter().any(|diagnosis| diagnosis.id == "log" && !diagnosis.ok), "{found:#?}");
    }
}
