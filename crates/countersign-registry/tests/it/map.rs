//! The map: it is what the log's leaves make, it is committed to without end nor haste, and it survives what is lost.

use std::time::{Duration, Instant};

use countersign_formats::Ecosystem;
use countersign_registry::model::Actor;
use countersign_registry::{Error, MapStep, Reader, Registry, Settings, reading_as};
use countersign_testkit::packages::Wheel;
use countersign_trust::completeness::{Complete, Completeness, CompletenessError, read_map_root};
use countersign_trust::leaf::{Leaf, LeafKind, identifier_hash};
use countersign_trust::map::{ProjectState, Replay, TileId, Walk, project_key};
use countersign_trust::policy::Policy;
use countersign_trust::proof::TlogProof;
use countersign_trust::tlog::leaf_hash;
use sqlx::Connection;

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

const PYPI: Ecosystem = Ecosystem::Pypi;
const DEMO: &str = "pkg:pypi/demo";

/// Steps until the map is at rest; says how many commitments that took.
async fn mapped(test: &TestRegistry) -> usize {
    test.settled().await;
    let mut commitments = 0;
    for _ in 0..20 {
        match test.registry.map_step().await.unwrap() {
            MapStep::AtRest => return commitments,
            MapStep::Moved => {}
            MapStep::Committed => commitments += 1,
        }
        test.settled().await;
    }
    panic!("the map commits without end");
}

/// Waits until the map covers all of the log but its own commitment.
async fn covered(test: &TestRegistry) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let size = test.settled().await;
        let covers = match test.registry.map_head(1).await {
            Ok(head) => {
                let head = TlogProof::parse(&head.bytes).unwrap();
                let leaf = head.extra.clone().unwrap();
                read_map_root(&leaf, head.index).unwrap().covers
            }
            Err(_) => 0,
        };
        if covers + 1 == size {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "the map covers {covers} of {size} leaves, and stands still"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn policy(registry: &Registry) -> Policy {
    let keys = registry.site_keys().verifier_keys;
    let logs: String = keys.iter().map(|key| format!("log {key}\n")).collect();
    Policy::parse(format!("{logs}quorum none\n").as_bytes()).unwrap()
}

/// What a stranger makes of the text for `demo`.
async fn proven(
    registry: &Registry,
    known: Option<&ProjectState>,
) -> Result<Complete, CompletenessError> {
    let after = known.map_or(0, |known| known.count);
    let text = registry.completeness(PYPI, "demo", after).await.unwrap();
    let origin = registry.site_keys().origin;
    Completeness::parse(&text.bytes)
        .and_then(|text| text.verify_by(&policy(registry), &origin, DEMO, known))
}

/// The root that the log commits to, after it was held against the one that its leaves make.
async fn root_of(test: &TestRegistry) -> countersign_trust::digest::Sha256 {
    let leaves = test.check().await;
    let head = test.registry.map_head(1).await.unwrap();
    let head = TlogProof::parse(&head.bytes).unwrap();
    let leaf = head.extra.clone().unwrap();
    let origin = test.registry.site_keys().origin;
    policy(&test.registry)
        .verify(&head, &leaf, &origin)
        .unwrap();
    let said = read_map_root(&leaf, head.index).unwrap();
    let covered = &leaves[..usize::try_from(said.covers).unwrap()];
    assert_eq!(replay(covered).root().unwrap(), said.root);
    said.root
}

fn replay(leaves: &[Leaf]) -> Replay {
    let mut replay = Replay::default();
    for leaf in leaves {
        let hash = leaf_hash(leaf.to_text().unwrap().as_bytes());
        replay.add(leaf, &hash).unwrap();
    }
    replay
}

/// The value of a key, by the tiles that are served.
async fn looked_up(
    registry: &Registry,
    root: countersign_trust::digest::Sha256,
    key: countersign_trust::digest::Sha256,
) -> Result<Option<countersign_trust::digest::Sha256>, Error> {
    let mut walk = Walk::new(root, [key]);
    loop {
        let wanted = walk.wanted();
        if wanted.is_empty() {
            return Ok(walk.prove(&key).unwrap().verify(&root, &key).unwrap());
        }
        for (id, prefix) in wanted {
            let tile = registry.map_tile(&id.to_string()).await?;
            walk.supply(id, &prefix, &tile.bytes).unwrap();
        }
    }
}

async fn top_tile(test: &TestRegistry) -> TileId {
    TileId {
        level: 0,
        root: root_of(test).await,
    }
}

/// Runs statements beside a registry that is closed.
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

impl TestRegistry {
    fn map_folder(&self) -> std::path::PathBuf {
        self.folder.path().join("blobs/map")
    }
}

on_both_databases! {
    async fn the_log_commits_to_the_map_that_its_leaves_make_and_rests_when_nothing_happens(test: TestRegistry) {
        refused(test.registry.map_head(1).await, "map-pending");
        let ann = test.user("ann").await;
        let wheel = Wheel::new("demo", "1.0").build();
        test.publish(&ann, &wheel).await.unwrap();
        assert_eq!(mapped(&test).await, 1);
        let first = root_of(&test).await;
        let size = test.settled().await;
        // At rest it stays at rest.
        assert_eq!(mapped(&test).await, 0);
        assert_eq!(test.settled().await, size);
        for version in ["1.1", "2.0"] {
            test.publish(&ann, &Wheel::new("demo", version).build()).await.unwrap();
            test.publish(&ann, &Wheel::new("other", version).build()).await.unwrap();
        }
        test.registry.yank(&ann, PYPI, "demo", "1.0", "broken").await.unwrap();
        assert_eq!(mapped(&test).await, 1);
        let root = root_of(&test).await;
        assert_ne!(root, first);
        let purl = format!("pkg:pypi/demo@1.0?file_name={}", wheel.filename);
        let leaves = test.check().await;
        let published = leaves.iter().find(|leaf| leaf.subject.as_deref() == Some(&purl)).unwrap();
        let published = leaf_hash(published.to_text().unwrap().as_bytes());
        let of = |key| looked_up(&test.registry, root, key);
        assert_eq!(of(identifier_hash(&purl)).await.unwrap(), Some(published));
        assert_eq!(of(project_key(DEMO)).await.unwrap(), Some(replay(&leaves).project(DEMO).value()));
        assert_eq!(of(project_key("pkg:pypi/nobody")).await.unwrap(), None);
        // Who has the older root still finds its tiles.
        assert!(looked_up(&test.registry, first, project_key(DEMO)).await.unwrap().is_some());
        refused(test.registry.map_tile("map/0/00/../../../keys").await, "map-tile-unknown");
        let doctor = test.registry.doctor(None, false, &mut |_, _| {}).await;
        let map = doctor.iter().find(|found| found.id == "map").unwrap();
        assert!(map.ok, "{map:?}");
    }

    async fn a_project_is_proven_complete_and_newer_leaves_come_with_their_place(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        mapped(&test).await;
        let complete = proven(&test.registry, None).await.unwrap();
        assert!(complete.is_exact());
        assert_eq!(complete.files().count(), 1);
        let known = complete.state;
        test.publish(&ann, &Wheel::new("demo", "2.0").build()).await.unwrap();
        test.publish(&ann, &Wheel::new("other", "2.0").build()).await.unwrap();
        let complete = proven(&test.registry, None).await.unwrap();
        let newer = complete.leaves.iter().filter(|leaf| !leaf.covered).count();
        assert_eq!((complete.files().count(), newer, complete.is_exact()), (2, 1, false));
        mapped(&test).await;
        let complete = proven(&test.registry, Some(&known)).await.unwrap();
        assert!(complete.is_exact());
        assert_eq!(complete.leaves.len() as u64, complete.state.count - known.count);
        assert_eq!(complete.files().count(), 1);
        // A number that the map does not reach leaves nothing out.
        let text = test.registry.completeness(PYPI, "demo", 99).await.unwrap();
        assert_eq!(Completeness::parse(&text.bytes).unwrap().after, ProjectState::NONE);
        // What is lacking in the text, or another, is noticed by who reads it.
        let mut hidden = Completeness::parse(&text.bytes).unwrap();
        hidden.covered.pop();
        let origin = test.registry.site_keys().origin;
        assert!(hidden.verify_by(&policy(&test.registry), &origin, DEMO, None).is_err());
        refused(test.registry.completeness(PYPI, "nobody", 0).await, "project-unknown");
    }

    async fn strangers_are_told_of_a_private_projects_leaves_what_they_are_told_of_a_free_name(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.registry.set_private(&Actor::operator(), PYPI, "demo", true).await.unwrap();
        mapped(&test).await;
        let hidden = refused(test.registry.completeness(PYPI, "demo", 0).await, "project-unknown");
        let free = refused(test.registry.completeness(PYPI, "free", 0).await, "project-unknown");
        assert_eq!(hidden.message, free.message.replace("free", "demo"));
        let own = reading_as(Reader::known(ann), test.registry.completeness(PYPI, "demo", 0)).await;
        assert!(own.is_ok());
    }

    async fn a_lost_map_is_made_again_from_the_log(test: TestRegistry) {
        let mut test = test;
        let ann = test.user("ann").await;
        for version in ["1.0", "2.0"] {
            test.publish(&ann, &Wheel::new("demo", version).build()).await.unwrap();
        }
        mapped(&test).await;
        let root = root_of(&test).await;
        // All of it: noticed at the start.
        test.stop_heartbeat().await;
        std::fs::remove_dir_all(test.map_folder()).unwrap();
        test.registry.store().close().await;
        test.start_anew().await;
        refused(test.registry.completeness(PYPI, "demo", 0).await, "map-torn");
        let doctor = test.registry.doctor(None, false, &mut |_, _| {}).await;
        let map = doctor.iter().find(|found| found.id == "map").unwrap();
        assert!(!map.ok && map.what.contains("missing"), "{map:?}");
        assert_eq!(mapped(&test).await, 0);
        assert!(proven(&test.registry, None).await.is_ok());
        assert_eq!(root_of(&test).await, root);
        // One tile, damaged under a process that has it in no memory: noticed by whoever needs it.
        let tile = test.folder.path().join("blobs").join(top_tile(&test).await.to_string());
        let other = test.reopened().await.unwrap();
        std::fs::write(&tile, b"not a tile").unwrap();
        refused(other.completeness(PYPI, "demo", 0).await, "map-torn");
        assert_eq!(other.map_step().await.unwrap(), MapStep::Moved);
        assert!(proven(&other, None).await.is_ok());
        // The publish after that goes on where it was.
        test.publish(&ann, &Wheel::new("demo", "3.0").build()).await.unwrap();
        assert_eq!(mapped(&test).await, 1);
        assert_ne!(root_of(&test).await, root);
    }

    async fn two_servers_make_one_map(test: TestRegistry) {
        let ann = test.user("ann").await;
        let other = test.reopened().await.unwrap();
        for round in 0..4 {
            test.publish(&ann, &Wheel::new("demo", &format!("{round}.0")).build()).await.unwrap();
            test.settled().await;
            let (one, two) = tokio::join!(test.registry.map_step(), other.map_step());
            for step in [one, two] {
                match step {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.code, "write-conflict"),
                }
            }
            mapped(&test).await;
            root_of(&test).await;
        }
        // A commitment for each round, and no second one for any.
        let leaves = test.check().await;
        let roots: Vec<_> = leaves.iter().filter_map(|leaf| leaf.map).collect();
        let mut distinct = roots.clone();
        distinct.dedup_by_key(|map| map.root);
        assert_eq!((roots.len(), distinct.len()), (4, 4));
    }

    async fn what_another_process_logs_is_mapped_by_a_server_that_nobody_calls(given: Database) {
        let test = TestRegistry::with(given, |settings| settings.keep_map = true).await;
        let ann = test.user("ann").await;
        for round in 0..4 {
            // As an operator's command does it: it logs what it decided, and ends.
            let quiet = |settings: &mut Settings| settings.keep_map = false;
            let command = test.reopened_where(test.blobs(), quiet).await.unwrap();
            let beating = command.start();
            let wheel = Wheel::new("demo", &format!("{round}.0")).build();
            crate::kit::publish(&command, &ann, &wheel).await.unwrap();
            beating.stop().await;
            command.store().close().await;
            covered(&test).await;
        }
    }

    async fn two_commitments_that_came_into_the_log_together_are_followed_by_one_that_covers_both(given: Database) {
        // Where a beat is slow, it takes what happened before the first, and the next beat takes both.
        let mut test = TestRegistry::new(given).await;
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.settled().await;
        test.stop_heartbeat().await;
        assert_eq!(test.registry.map_step().await.unwrap(), MapStep::Committed);
        test.registry.store().close().await;
        sql(&test, &["CREATE TABLE kept AS SELECT * FROM outbox", "DELETE FROM outbox"]).await;
        test.start_anew().await;
        test.publish(&ann, &Wheel::new("demo", "2.0").build()).await.unwrap();
        test.stop_heartbeat().await;
        assert_eq!(test.registry.map_step().await.unwrap(), MapStep::Committed);
        test.registry.store().close().await;
        sql(&test, &["INSERT INTO outbox SELECT * FROM kept", "DROP TABLE kept"]).await;
        test.start_anew().await;

        let size = test.settled().await;
        let leaves = test.check().await;
        let last: Vec<LeafKind> = leaves[leaves.len() - 2..].iter().map(|leaf| leaf.kind).collect();
        assert_eq!(last, [LeafKind::MapRoot, LeafKind::MapRoot]);
        assert_eq!(mapped(&test).await, 1);
        root_of(&test).await;
        let leaves = test.check().await;
        let newest = leaves.iter().rev().find_map(|leaf| leaf.map).unwrap();
        assert_eq!(newest.covers, size);
        assert!(proven(&test.registry, None).await.is_ok());
    }

    async fn tiles_of_older_roots_stay_for_a_day(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        mapped(&test).await;
        let old = top_tile(&test).await.to_string();
        test.publish(&ann, &Wheel::new("demo", "2.0").build()).await.unwrap();
        mapped(&test).await;
        let new = top_tile(&test).await.to_string();
        assert_eq!(test.registry.clear_superseded_tiles().await.unwrap(), 0);
        test.turn_clock(Duration::from_secs(86_500));
        assert!(test.registry.clear_superseded_tiles().await.unwrap() > 0);
        assert!(!test.folder.path().join("blobs").join(&old).exists());
        assert!(test.folder.path().join("blobs").join(&new).exists());
        assert_eq!(test.registry.clear_superseded_tiles().await.unwrap(), 0);
        assert!(proven(&test.registry, None).await.is_ok());
    }

    async fn a_map_whose_rows_are_gone_is_made_again(test: TestRegistry) {
        let ann = test.user("ann").await;
        for version in ["1.0", "2.0", "3.0"] {
            test.publish(&ann, &Wheel::new("demo", version).build()).await.unwrap();
            test.publish(&ann, &Wheel::new("other", version).build()).await.unwrap();
        }
        mapped(&test).await;
        let root = root_of(&test).await;
        // As after a restore: the rows of the map are in no backup.
        test.execute("DELETE FROM map_state").await;
        test.execute("DELETE FROM map_projects").await;
        test.execute("DELETE FROM map_superseded").await;
        assert_eq!(mapped(&test).await, 1);
        assert_eq!(root_of(&test).await, root);
        let leaves = test.check().await;
        assert!(leaves.iter().filter(|leaf| leaf.kind == LeafKind::MapRoot).count() >= 2);
        // As a process leaves it that was cut off while it counted the projects' leaves: the tiles are still to be made.
        let some = replay(&leaves[..4]);
        test.execute("DELETE FROM map_projects").await;
        for name in ["demo", "other"] {
            let purl = format!("pkg:pypi/{name}");
            let (key, state) = (project_key(&purl), some.project(&purl));
            if state.count > 0 {
                test.execute_text(format!(
                    "INSERT INTO map_projects (key, count, chain) VALUES ('{key}', {}, '{}')",
                    state.count, state.chain
                )).await;
            }
        }
        test.execute_text(format!(
            "UPDATE map_state SET idx = 0, folded_idx = 4, root = '{}'",
            countersign_trust::map::EMPTY_MAP
        )).await;
        std::fs::remove_dir_all(test.map_folder()).unwrap();
        test.publish(&ann, &Wheel::new("demo", "4.0").build()).await.unwrap();
        assert!(mapped(&test).await > 0);
        assert_ne!(root_of(&test).await, root);
        assert_eq!(proven(&test.registry, None).await.unwrap().files().count(), 4);
    }

    async fn a_step_that_is_cut_off_leaves_the_old_root_and_is_taken_up_again(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        mapped(&test).await;
        let old = root_of(&test).await;
        test.publish(&ann, &Wheel::new("demo", "2.0").build()).await.unwrap();
        test.settled().await;
        // No tile can be written.
        let (folder, aside) = (test.map_folder(), test.folder.path().join("aside"));
        std::fs::rename(&folder, &aside).unwrap();
        std::fs::write(&folder, b"").unwrap();
        assert!(test.registry.map_step().await.is_err());
        std::fs::remove_file(&folder).unwrap();
        std::fs::rename(&aside, &folder).unwrap();
        assert_eq!(root_of(&test).await, old);
        assert!(proven(&test.registry, None).await.is_ok());
        assert!(mapped(&test).await > 0);
        assert_ne!(root_of(&test).await, old);
    }
}
