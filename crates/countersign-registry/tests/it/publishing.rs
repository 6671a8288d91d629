use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{Action, Actor, Role};
use countersign_registry::{Deletion, DocumentKey, Kind};
use countersign_testkit::packages::{Sdist, Wheel, hostile};
use futures::StreamExt;

use crate::kit::{TestRegistry, noise, refused};
use crate::on_both_databases;

const EVERYTHING: &str = "SELECT (SELECT count(*) FROM projects) + (SELECT count(*) FROM releases) + (SELECT count(*) FROM files) \
     + (SELECT count(*) FROM identifiers) + (SELECT count(*) FROM metadata_texts) + (SELECT count(*) FROM grants) \
     + (SELECT count(*) FROM documents) AS n";

impl TestRegistry {
    /// How many artifacts lie in the blob store.
    fn artifacts(&self) -> usize {
        fn files(folder: &std::path::Path) -> usize {
            let Ok(entries) = std::fs::read_dir(folder) else {
                return 0;
            };
            entries
                .map(|entry| entry.unwrap().path())
                .map(|path| if path.is_dir() { files(&path) } else { 1 })
                .sum()
        }
        files(&self.folder.path().join("blobs/artifacts"))
    }

    /// Nothing that an index, a row or the blob store could show.
    async fn nothing_is_here(&self) {
        assert_eq!(self.count(EVERYTHING).await, 0);
        assert_eq!((self.spooled(), self.artifacts()), (0, 0));
        let index = self.text(DocumentKey::SimpleIndexJson).await.unwrap();
        assert!(index.contains("\"projects\":[]"), "{index}");
        assert_eq!(self.check().await.len(), 1);
    }
}

on_both_databases! {
    async fn a_published_file_is_in_the_log_with_a_proof_and_in_the_index(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheel = Wheel::new("Demo_Pkg", "1.0").build();
        let receipt = test.publish(&ann, &wheel).await.unwrap();
        test.check_receipt(&receipt, &wheel);
        let sdist = Sdist::new("Demo_Pkg", "1.0").build();
        let second = test.publish(&ann, &sdist).await.unwrap();
        test.check_receipt(&second, &sdist);
        let text = test.index("demo-pkg").await.unwrap();
        assert!(text.contains(&wheel.sha256()) && text.contains(&sdist.sha256()), "{text}");
        let html = test.text(DocumentKey::SimpleHtml(Ecosystem::Pypi, "demo-pkg".into())).await.unwrap();
        assert!(html.contains(&wheel.sha256()) && html.contains(&sdist.sha256()), "{html}");
        let file = test.registry.file(&wheel.sha256(), &wheel.filename).await.unwrap();
        assert_eq!(file.memory.as_deref(), Some(&wheel.bytes[..]));
        test.check().await;
    }

    async fn the_retry_with_the_same_bytes_gets_the_same_leaf_and_changes_nothing(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheel = Wheel::new("demo", "1.0").build();
        let first = test.publish(&ann, &wheel).await.unwrap();
        assert!(!first.repeated);
        let before = test.index("demo").await.unwrap();
        for _ in 0..3 {
            let again = test.publish(&ann, &wheel).await.unwrap();
            assert!(again.repeated);
            assert_eq!((again.leaf, &again.purl), (first.leaf, &first.purl));
            test.check_receipt(&again, &wheel);
        }
        assert_eq!(test.index("demo").await.unwrap(), before);
        test.check().await;
    }

    async fn a_receipt_means_that_every_rendering_has_the_file(test: TestRegistry) {
        let ann = test.user("ann").await;
        for version in 1..6 {
            let wheel = Wheel::new("demo", &format!("{version}.0")).build();
            test.publish(&ann, &wheel).await.unwrap();
            for key in [
                DocumentKey::Index(Ecosystem::Pypi, "demo".into()),
                DocumentKey::SimpleHtml(Ecosystem::Pypi, "demo".into()),
                DocumentKey::LegacyJson("demo".into()),
                DocumentKey::LegacyRelease("demo".into(), format!("{version}")),
            ] {
                let text = test.text(key.clone()).await.unwrap();
                assert!(text.contains(&wheel.sha256()), "{key:?}: {text}");
            }
        }
        test.check().await;
    }

    async fn other_bytes_under_the_same_name_are_refused_in_the_words_that_clients_know(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheel = Wheel::new("demo", "1.0").build();
        test.publish(&ann, &wheel).await.unwrap();
        let other = Wheel::new("demo", "1.0").file("demo/more.py", "more = 1\n").build();
        assert_eq!(wheel.filename, other.filename);
        let error = refused(test.publish(&ann, &other).await, "file-exists");
        assert_eq!(error.kind, Kind::Conflict);
        assert!(error.message.starts_with("File already exists"), "{error}");
        assert!(!test.index("demo").await.unwrap().contains(&other.sha256()));
        refused(test.registry.file(&other.sha256(), &other.filename).await, "file-unknown");
        test.check().await;
    }

    async fn of_sixteen_publishes_of_one_name_at_once_exactly_one_wins(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheels: Vec<_> = (0..16)
            .map(|number| Wheel::new("demo", "1.0").file("demo/number.py", format!("number = {number}\n")).build())
            .collect();
        let answers = test.publish_at_once(wheels.iter().map(|wheel| (ann.clone(), wheel.clone()))).await;
        let mut won = Vec::new();
        for (wheel, answer) in wheels.iter().zip(answers) {
            match answer {
                Ok(receipt) => {
                    test.check_receipt(&receipt, wheel);
                    won.push(wheel.sha256());
                }
                Err(error) => assert_eq!(error.code, "file-exists", "{error:?}"),
            }
        }
        assert_eq!(won.len(), 1);
        assert!(test.index("demo").await.unwrap().contains(&won[0]));
        assert_eq!(test.count("SELECT count(*) AS n FROM files").await, 1);
        assert_eq!(test.count("SELECT count(*) AS n FROM metadata_texts").await, 1);
        test.check().await;
    }

    async fn sixteen_identical_publishes_at_once_all_get_the_one_leaf(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheel = Wheel::new("demo", "1.0").build();
        let answers = test.publish_at_once((0..16).map(|_| (ann.clone(), wheel.clone()))).await;
        let receipts: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(receipts.iter().filter(|receipt| !receipt.repeated).count(), 1);
        assert!(receipts.iter().all(|receipt| receipt.leaf == receipts[0].leaf));
        test.check().await;
    }

    async fn of_two_users_who_take_one_name_at_once_one_owns_it(test: TestRegistry) {
        let (ann, bob) = (test.user("ann").await, test.user("bob").await);
        for round in 0..4 {
            let name = format!("contested-{round}");
            let jobs = [
                (ann.clone(), Wheel::new(&name, "1.0").build()),
                (bob.clone(), Wheel::new(&name, "2.0").build()),
            ];
            let answers = test.publish_at_once(jobs).await;
            let winner = if answers[0].is_ok() { "ann" } else { "bob" };
            assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
            let lost = answers.into_iter().find(Result::is_err).unwrap();
            let error = refused(lost, "role-missing");
            assert!(error.message.contains("that needs the role owner or maintainer"), "{error}");
            let project = test.registry.project(Ecosystem::Pypi, &name).await.unwrap();
            assert_eq!(project.people, [(winner.to_owned(), Role::Owner)]);
        }
        test.check().await;
    }

    async fn forty_projects_can_be_published_at_once(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheels: Vec<_> = (0..40).map(|number| Wheel::new(&format!("crowd-{}", letters(number)), "1.0").build()).collect();
        let answers = test.publish_at_once(wheels.iter().map(|wheel| (ann.clone(), wheel.clone()))).await;
        for (wheel, answer) in wheels.iter().zip(answers) {
            test.check_receipt(&answer.unwrap(), wheel);
        }
        let leaves = test.check().await;
        assert_eq!(leaves.len(), 1 + 2 * 40);
    }

    async fn forty_files_of_one_project_can_be_published_at_once(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheels: Vec<_> = (0..40).map(|number| Wheel::new("crowd", &format!("1.{number}")).build()).collect();
        let answers = test.publish_at_once(wheels.iter().map(|wheel| (ann.clone(), wheel.clone()))).await;
        for (wheel, answer) in wheels.iter().zip(answers) {
            test.check_receipt(&answer.unwrap(), wheel);
        }
        let project = test.registry.project(Ecosystem::Pypi, "crowd").await.unwrap();
        assert_eq!(project.releases.len(), 40);
        assert_eq!(project.releases[0].version, "1.39");
        test.check().await;
    }

    async fn a_file_larger_than_memory_goes_through_the_spool_and_comes_back_whole(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheel = Wheel::new("large", "1.0").file("large/data.bin", noise(7, 2 << 20)).build();
        assert!(wheel.bytes.len() > 2 << 20);
        let receipt = test.publish(&ann, &wheel).await.unwrap();
        test.check_receipt(&receipt, &wheel);
        assert_eq!(test.spooled(), 0);
        let file = test.registry.file(&wheel.sha256(), &wheel.filename).await.unwrap();
        assert!(file.memory.is_none());
        for range in [0..file.size, 0..1, file.size - 5..file.size, 1_000_000..1_500_001] {
            let mut stream = test.registry.open_file(&file, range.clone()).await.unwrap();
            let mut bytes = Vec::new();
            while let Some(piece) = stream.next().await {
                bytes.extend_from_slice(&piece.unwrap());
            }
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            assert!(bytes == wheel.bytes[range]);
        }
        assert!(test.publish(&ann, &wheel).await.unwrap().repeated);
        assert_eq!(test.spooled(), 0);
        test.check().await;
    }

    async fn a_body_that_breaks_off_leaves_nothing(test: TestRegistry) {
        let ann = test.user("ann").await;
        for length in [10, 3 << 20] {
            let pieces = vec![
                Ok(bytes::Bytes::from(noise(1, length))),
                Err(std::io::Error::other("connection reset")),
            ];
            let answer = test
                .registry
                .stage(&ann, Ecosystem::Pypi, "demo-1.0-py3-none-any.whl", futures::stream::iter(pieces))
                .await;
            let error = refused(answer.map(|_| ()), "upload-cut-short");
            assert!(error.message.contains("connection reset"), "{error}");
        }
        test.nothing_is_here().await;
    }

    async fn wrong_digests_in_the_form_are_refused_each(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheel = Wheel::new("demo", "1.0").build();
        let other = Wheel::new("other", "1.0").build();
        for (field, value) in [
            ("sha256_digest", other.sha256()),
            ("md5_digest", "0".repeat(32)),
            ("blake2_256_digest", "0".repeat(64)),
        ] {
            let mut form = wheel.form();
            form.retain(|(name, _)| *name != field);
            form.push((field, value));
            let error = refused(test.publish_with(&ann, &wheel, form).await, "digest-mismatch");
            assert_eq!(error.kind, Kind::Rejected);
        }
        test.nothing_is_here().await;
    }

    async fn a_form_that_says_something_else_than_the_archive_is_refused_by_the_fields_name(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheel = Wheel::new("demo", "1.0").metadata_line("Summary: one").metadata_line("Requires-Python: >=3.8").requires("idna").build();
        for (field, value) in [
            ("name", "another"),
            ("version", "2.0"),
            ("summary", "two"),
            ("requires_python", ">=2.7"),
            ("requires_dist", "certifi"),
            ("filetype", "sdist"),
            ("license", "GPL"),
        ] {
            let mut form = wheel.form();
            form.retain(|(name, _)| *name != field);
            form.push((field, value.to_owned()));
            let error = refused(test.publish_with(&ann, &wheel, form).await, "form-mismatch");
            assert!(error.message.contains(field), "{field}: {error}");
        }
        test.nothing_is_here().await;
    }

    async fn every_hostile_archive_is_refused_and_leaves_nothing(test: TestRegistry) {
        let ann = test.user("ann").await;
        for (attack, package) in hostile() {
            match test.publish(&ann, &package).await {
                Ok(_) => panic!("{attack} was published"),
                Err(error) => {
                    assert!(matches!(error.kind, Kind::Rejected | Kind::TooLarge), "{attack}: {error:?}");
                }
            }
        }
        test.nothing_is_here().await;
    }

    async fn a_release_has_one_sdist_and_one_spelling_of_each_name(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Sdist::new("demo-pkg", "1.0").build()).await.unwrap();
        let respelled = Sdist::new("demo-pkg", "1.0.0").build();
        let answer = test.publish(&ann, &respelled).await.unwrap_err();
        assert!(matches!(answer.code.as_ref(), "second-sdist" | "file-exists"), "{answer:?}");
        assert_eq!(answer.kind, Kind::Conflict);
        let wheel = Wheel::new("demo-pkg", "1.0").build();
        test.publish(&ann, &wheel).await.unwrap();
        refused(test.publish(&ann, &Wheel::new("demo-pkg", "1.0.0").build()).await, "file-exists");
        // Two at once: the unique key decides, and the other hears of it in words.
        let jobs = [(ann.clone(), Sdist::new("demo-pkg", "2.0").build()), (ann.clone(), Sdist::new("demo-pkg", "2.0.0").build())];
        let answers = test.publish_at_once(jobs).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        test.check().await;
    }

    async fn a_release_takes_no_files_after_fourteen_days_but_from_the_operator(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.turn_clock(Duration::from_secs(13 * 86_400));
        test.publish(&ann, &Wheel::new("demo", "1.0").tag("py3-none-win32").build()).await.unwrap();
        test.turn_clock(Duration::from_secs(2 * 86_400));
        let late = Wheel::new("demo", "1.0").tag("py3-none-win_amd64").build();
        let error = refused(test.publish(&ann, &late).await, "release-closed");
        assert!(error.message.contains("14 days"), "{error}");
        test.publish(&ann, &Wheel::new("demo", "1.1").build()).await.unwrap();
        test.publish(&Actor::operator(), &late).await.unwrap();
        // The retry of what was published in time still gets its receipt.
        assert!(test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap().repeated);
        test.check().await;
    }

    async fn what_was_deleted_is_never_used_again(test: TestRegistry) {
        let (ann, bob) = (test.user("ann").await, test.user("bob").await);
        let (file, spare) = (Wheel::new("demo", "1.0").build(), Sdist::new("demo", "1.0").build());
        for package in [&file, &spare, &Wheel::new("demo", "2.0").build(), &Wheel::new("demo", "3.0").build()] {
            test.publish(&ann, package).await.unwrap();
        }
        test.registry.delete(&ann, Ecosystem::Pypi, "demo", Deletion::File(&file.filename)).await.unwrap();
        let error = refused(test.publish(&ann, &file).await, "file-exists");
        assert!(error.message.starts_with("File already exists") && error.message.contains("deleted"), "{error}");
        let changed = Wheel::new("demo", "1.0").file("demo/x.py", "").build();
        refused(test.publish(&ann, &changed).await, "file-exists");
        refused(test.publish(&ann, &Wheel::new("demo", "1.0.0").build()).await, "file-exists");
        refused(test.registry.file(&file.sha256(), &file.filename).await, "file-removed");

        test.registry.delete(&ann, Ecosystem::Pypi, "demo", Deletion::Release("2.0")).await.unwrap();
        refused(test.publish(&ann, &Sdist::new("demo", "2.0").build()).await, "version-retired");
        refused(test.publish(&ann, &Sdist::new("demo", "2").build()).await, "version-retired");
        test.check().await;

        test.registry.delete(&Actor::operator(), Ecosystem::Pypi, "demo", Deletion::Project).await.unwrap();
        refused(test.index("demo").await, "project-unknown");
        refused(test.publish(&bob, &Wheel::new("Demo", "4.0").build()).await, "role-missing");
        refused(test.publish(&ann, &spare).await, "file-exists");
        refused(test.publish(&ann, &Sdist::new("demo", "3.0").build()).await, "version-retired");
        test.check().await;

        let home = Wheel::new("demo", "4.0").build();
        test.publish(&ann, &home).await.unwrap();
        let index = test.index("demo").await.unwrap();
        assert!(index.contains(&home.sha256()) && !index.contains(&spare.sha256()), "{index}");
        let project = test.registry.project(Ecosystem::Pypi, "demo").await.unwrap();
        assert_eq!(project.releases.len(), 1);
        test.check().await;
    }

    async fn a_maintainer_can_not_bring_a_deleted_project_back(test: TestRegistry) {
        let (ann, bob) = (test.user("ann").await, test.user("bob").await);
        test.publish(&ann, &Wheel::new("demo", "1.0").build()).await.unwrap();
        test.registry.set_role(&ann, Ecosystem::Pypi, "demo", "bob", Some(Role::Maintainer)).await.unwrap();
        test.publish(&bob, &Wheel::new("demo", "1.1").build()).await.unwrap();
        test.registry.delete(&Actor::operator(), Ecosystem::Pypi, "demo", Deletion::Project).await.unwrap();
        refused(test.publish(&bob, &Wheel::new("demo", "1.2").build()).await, "name-retired");
        test.check().await;
    }

    async fn names_that_mislead_are_refused_to_users_and_open_to_the_operator(database: Database) {
        let test = TestRegistry::with(database, |settings| {
            settings.prohibited_names = vec!["evil-name".into()];
            settings.protected_names = vec!["requests".into()];
        }).await;
        let (ann, bob) = (test.user("ann").await, test.user("bob").await);
        test.publish(&ann, &Wheel::new("hello-world", "1.0").build()).await.unwrap();
        for name in ["hell0-world", "helloworld", "heiio-worid", "urllib", "evil.name", "reqeusts", "request", "requestss"] {
            let error = refused(test.publish(&bob, &Wheel::new(name, "1.0").build()).await, "name-refused");
            assert!(error.message.contains(name), "{error}");
        }
        test.publish(&Actor::operator(), &Wheel::new("hell0-world", "1.0").build()).await.unwrap();
        test.publish(&bob, &Wheel::new("requests", "1.0").build()).await.unwrap();
        test.check().await;
    }

    async fn where_creation_is_closed_the_operator_creates_and_gives_roles(database: Database) {
        let test = TestRegistry::with(database, |settings| settings.open_creation = false).await;
        let ann = test.user("ann").await;
        let wheel = Wheel::new("demo", "1.0").build();
        refused(test.publish(&ann, &wheel).await, "creation-closed");
        let operator = Actor::operator();
        test.publish(&operator, &wheel).await.unwrap();
        refused(test.publish(&ann, &Wheel::new("demo", "1.1").build()).await, "role-missing");
        test.registry.set_role(&operator, Ecosystem::Pypi, "demo", "ann", Some(Role::Maintainer)).await.unwrap();
        test.publish(&ann, &Wheel::new("demo", "1.1").build()).await.unwrap();
        test.check().await;
    }

    async fn a_file_above_the_cap_is_refused_while_it_arrives(database: Database) {
        let test = TestRegistry::with(database, |settings| settings.limits.max_file_size = 3 << 20).await;
        let ann = test.user("ann").await;
        let wheel = Wheel::new("large", "1.0").file("large/data.bin", noise(3, 4 << 20)).build();
        let error = refused(test.publish(&ann, &wheel).await, "file-too-large");
        assert_eq!(error.kind, Kind::TooLarge);
        assert!(error.message.contains(&(3 << 20).to_string()), "{error}");
        test.nothing_is_here().await;
    }

    async fn who_may_not_upload_is_refused_before_a_byte_is_read(test: TestRegistry) {
        test.user("ann").await;
        let reader = test.token("ann", Action::Read, None).await;
        for (actor, code) in [(Actor::anonymous(), "token-needed"), (reader, "token-action")] {
            let body = futures::stream::poll_fn(|_| -> std::task::Poll<Option<Result<bytes::Bytes, std::io::Error>>> {
                panic!("the body was read")
            });
            let answer = test.registry.stage(&actor, Ecosystem::Pypi, "demo-1.0.tar.gz", body).await;
            refused(answer.map(|_| ()), code);
        }
        test.nothing_is_here().await;
    }

    async fn a_release_deleted_while_files_arrive_for_it_holds_none(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.publish(&ann, &Wheel::new("demo", "0.1").build()).await.unwrap();
        for round in 1..7 {
            let version = format!("{round}.0");
            test.publish(&ann, &Wheel::new("demo", &version).build()).await.unwrap();
            let (registry, deleter, doomed) = (test.registry.clone(), ann.clone(), version.clone());
            let deletion = tokio::spawn(async move {
                registry.delete(&deleter, Ecosystem::Pypi, "demo", Deletion::Release(&doomed)).await
            });
            let late = ["py3-none-win32", "py3-none-win_amd64", "py3-none-macosx_11_0_arm64"]
                .map(|tag| (ann.clone(), Wheel::new("demo", &version).tag(tag).build()));
            for answer in test.publish_at_once(late).await {
                if let Err(error) = answer {
                    assert_eq!(error.code, "version-retired", "{error:?}");
                }
            }
            deletion.await.unwrap().unwrap();
        }
        test.check().await;
    }
}

/// A number as letters, so that no two names look alike.
fn letters(number: u8) -> String {
    let (high, low) = (number / 10, number % 10);
    [high, low]
        .map(|digit| char::from(b'a' + digit))
        .iter()
        .collect()
}
