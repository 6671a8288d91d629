//! Names: what reads the same as another one is refused, what looks like a protected one is held or flagged, and an operator's
//! word ends both.

use countersign_formats::Ecosystem;
use countersign_registry::lookalikes::Tier;
use countersign_registry::model::{Actor, Portion};
use countersign_registry::{Deletion, Error, NameVerdict};
use countersign_testkit::packages::{NpmPackage, Wheel};

use crate::ecosystems::publish_npm;
use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

const PYPI: Ecosystem = Ecosystem::Pypi;
const NPM: Ecosystem = Ecosystem::Npm;

async fn import(test: &TestRegistry, list: &str, tier: Tier, names: &str) -> Result<u64, Error> {
    let bytes = names.as_bytes().to_vec();
    test.registry
        .import_names(&Actor::operator(), PYPI, list, tier, bytes)
        .await
}

async fn verdict(test: &TestRegistry, ecosystem: Ecosystem, name: &str) -> (NameVerdict, String) {
    let opinion = test
        .registry
        .check_name(&Actor::operator(), ecosystem, name)
        .await
        .unwrap();
    let first = opinion.reasons.first();
    (
        opinion.verdict,
        first.map(|reason| reason.code.clone()).unwrap_or_default(),
    )
}

fn found(rule: &str, text: &str) -> (String, String) {
    (rule.to_owned(), text.to_owned())
}

/// Findings that nobody put aside: rule and text.
async fn findings(test: &TestRegistry) -> Vec<(String, String)> {
    let all = test
        .registry
        .open_findings(&Actor::operator())
        .await
        .unwrap();
    let mut found: Vec<_> = all
        .into_iter()
        .map(|one| (one.finding.rule, one.finding.snippet))
        .collect();
    found.sort();
    found
}

on_both_databases! {
    async fn names_that_do_not_exist_are_counted_by_day_without_whoever_asked_and_forgotten_in_time(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        let registry = &test.registry;
        test.publish(&ann, &Wheel::new("secret", "1.0").build()).await.unwrap();
        registry.set_private(&operator, PYPI, "secret", true).await.unwrap();
        refused(registry.missing_names(&ann).await.map(|_| ()), "operator-needed");
        let ask = |ecosystem, name: &str, times: u32| (0..times).for_each(|_| registry.note_missing_name(ecosystem, name));
        let listed = async || -> Vec<(String, u64, u64, bool)> {
            let found = registry.missing_names(&operator).await.unwrap();
            found.into_iter().map(|one| (format!("{}:{}", one.ecosystem, one.key), one.asked, one.days, one.prohibited)).collect()
        };
        assert!(listed().await.is_empty());
        ask(PYPI, "made-up", 3);
        ask(NPM, "made-up", 5);
        // What is there for some is not missing; what is no name of reasonable length is not kept.
        ask(PYPI, "secret", 50);
        ask(PYPI, &"n".repeat(101), 50);
        assert_eq!(listed().await, [("npm:made-up".to_owned(), 5, 1, false), ("pypi:made-up".to_owned(), 3, 1, false)]);
        test.turn_clock(std::time::Duration::from_secs(86_400));
        ask(PYPI, "made-up", 4);
        registry.flush_missing_names().await.unwrap();
        registry.flush_missing_names().await.unwrap();
        registry.prohibit_name(&operator, PYPI, "made-up", Some("it never existed")).await.unwrap();
        assert_eq!(listed().await, [("pypi:made-up".to_owned(), 7, 2, true), ("npm:made-up".to_owned(), 5, 1, false)]);
        // Somebody founds it: it is missing no longer.
        publish_npm(registry, &ann, &NpmPackage::new("made-up", "1.0.0").request("latest")).await.unwrap();
        assert_eq!(listed().await.len(), 1);
        // Of a day with very many, those that were asked for least are forgotten.
        for number in 0..11_000 {
            registry.note_missing_name(PYPI, &format!("wave-{number}"));
            if number % 1_000 == 999 {
                registry.flush_missing_names().await.unwrap();
            }
        }
        assert_eq!(listed().await[0].1, 7);
        assert!(test.count("SELECT count(*) AS n FROM missing_names").await < 5_010);
        test.turn_clock(std::time::Duration::from_secs(32 * 86_400));
        ask(PYPI, "later", 1);
        assert_eq!(listed().await, [("pypi:later".to_owned(), 1, 1, false)]);
        assert_eq!(test.count("SELECT count(*) AS n FROM missing_names").await, 1);
        test.check().await;
    }

    async fn what_looks_like_a_protected_name_is_held_with_all_that_follows_until_somebody_decides(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        assert_eq!(import(&test, "top", Tier::Hold, "Requests\nnumpy,7\n# end\n").await.unwrap(), 2);
        assert_eq!(verdict(&test, PYPI, "reqeusts").await, (NameVerdict::Held, "name-lookalike".to_owned()));
        let first = Wheel::new("reqeusts", "1.0").build();
        let receipt = test.publish(&ann, &first).await.unwrap();
        assert!(receipt.warnings.iter().any(|warning| warning.contains("swaps two characters of requests")), "{:?}", receipt.warnings);
        // A second file does not slip past while the first one waits, nor a second version.
        let second = Wheel::new("reqeusts", "1.0").tag("py3-none-win32").build();
        let third = Wheel::new("reqeusts", "2.0").build();
        for package in [&second, &third] {
            test.publish(&ann, package).await.unwrap();
        }
        for package in [&first, &second, &third] {
            refused(test.registry.file(&package.sha256(), &package.filename).await, "file-held");
        }
        assert!(!test.index("reqeusts").await.unwrap().contains(&first.sha256()));
        let cases = test.registry.open_cases(&operator).await.unwrap();
        assert!(cases.len() == 3 && cases.iter().all(|case| case.cause == "names" && case.held.is_some()), "{cases:?}");
        assert!(findings(&test).await.contains(&found("name-lookalike", "reqeusts swaps two characters of requests")));
        refused(test.registry.allow_name(&ann, PYPI, "reqeusts", "requests", Some("mine")).await.map(|_| ()), "operator-needed");
        refused(test.registry.serve_again(&ann, PYPI, "reqeusts", Portion::File(&first.filename)).await, "operator-needed");
        // An operator's exception serves what waited, and ends the findings.
        let served = test.registry.allow_name(&operator, PYPI, "Reqeusts", "requests", Some("an old fork")).await.unwrap();
        assert_eq!(served.len(), 3, "{served:?}");
        for package in [&first, &second, &third] {
            test.registry.file(&package.sha256(), &package.filename).await.unwrap();
        }
        assert!(test.registry.open_cases(&operator).await.unwrap().is_empty());
        assert!(findings(&test).await.is_empty());
        let fourth = Wheel::new("reqeusts", "3.0").build();
        test.publish(&ann, &fourth).await.unwrap();
        test.registry.file(&fourth.sha256(), &fourth.filename).await.unwrap();
        let exceptions = test.registry.name_exceptions(&operator).await.unwrap();
        assert_eq!((exceptions[0].key.as_str(), exceptions[0].other.as_str(), exceptions[0].reason.as_str()), ("reqeusts", "requests", "an old fork"));
        test.registry.allow_name(&operator, PYPI, "reqeusts", "requests", None).await.unwrap();
        refused(test.registry.allow_name(&operator, PYPI, "reqeusts", "requests", None).await.map(|_| ()), "name-not-excepted");
        test.check().await;
    }

    async fn what_is_flagged_is_served_and_what_is_ones_own_is_no_squat(test: TestRegistry) {
        let (ann, bob) = (test.user("ann").await, test.user("bob").await);
        test.publish(&ann, &Wheel::new("requests", "1.0").build()).await.unwrap();
        import(&test, "top", Tier::Hold, "requests\nnumpy\n").await.unwrap();
        let plain = Wheel::new("requests-cli", "1.0").build();
        test.publish(&bob, &plain).await.unwrap();
        test.registry.file(&plain.sha256(), &plain.filename).await.unwrap();
        assert_eq!(findings(&test).await, [found("name-lookalike", "requests-cli adds a common word to requests")]);
        // Whoever has the protected name may have its misspellings.
        let own = Wheel::new("reqeusts", "1.0").build();
        test.publish(&ann, &own).await.unwrap();
        test.registry.file(&own.sha256(), &own.filename).await.unwrap();
        assert_eq!(findings(&test).await.len(), 1);
        // A list that says so refuses, and one that says less only flags.
        import(&test, "top", Tier::Refuse, "numpy\n").await.unwrap();
        let error = refused(test.publish(&bob, &Wheel::new("numpi", "1.0").build()).await, "name-refused");
        assert!(error.message.contains("numpy"), "{error}");
        import(&test, "top", Tier::Flag, "numpy\n").await.unwrap();
        let flagged = Wheel::new("numpi", "1.0").build();
        test.publish(&bob, &flagged).await.unwrap();
        test.registry.file(&flagged.sha256(), &flagged.filename).await.unwrap();
        test.registry.drop_name_list(&Actor::operator(), PYPI, "top").await.unwrap();
        refused(test.registry.drop_name_list(&Actor::operator(), PYPI, "top").await, "name-list-unknown");
        assert_eq!(verdict(&test, PYPI, "numpyy").await.0, NameVerdict::Free);
        test.check().await;
    }

    async fn a_new_dependency_that_looks_like_a_protected_name_is_found(test: TestRegistry) {
        let ann = test.user("ann").await;
        import(&test, "top", Tier::Hold, "requests\ncryptography\n").await.unwrap();
        test.publish(&ann, &Wheel::new("demo", "1.0").requires("requests").build()).await.unwrap();
        assert!(findings(&test).await.is_empty());
        let bad = Wheel::new("demo", "1.1").requires("requests").requires("plain-cryptography>=1").build();
        test.publish(&ann, &bad).await.unwrap();
        // It is for people to look at: nothing is held for it.
        test.registry.file(&bad.sha256(), &bad.filename).await.unwrap();
        let expected = [found("dependency-lookalike", "plain-cryptography adds a common word to cryptography")];
        assert_eq!(findings(&test).await, expected);
        // The next release has it already.
        test.publish(&ann, &Wheel::new("demo", "1.2").requires("requests").requires("plain-cryptography>=1").build()).await.unwrap();
        assert_eq!(findings(&test).await, expected);
    }

    async fn names_are_looked_at_again_when_the_corpus_moves(test: TestRegistry) {
        let (ann, bob, operator) = (test.user("ann").await, test.user("bob").await, Actor::operator());
        let squat = Wheel::new("tensorfolw", "1.0").build();
        test.publish(&bob, &squat).await.unwrap();
        test.registry.look_after_names().await.unwrap();
        assert!(findings(&test).await.is_empty());
        import(&test, "top", Tier::Hold, "tensorflow\n").await.unwrap();
        for _ in 0..2 {
            test.registry.look_after_names().await.unwrap();
            assert_eq!(findings(&test).await, [found("name-lookalike", "tensorfolw swaps two characters of tensorflow")]);
        }
        // What was served before stays so.
        test.registry.file(&squat.sha256(), &squat.filename).await.unwrap();
        test.registry.dismiss_findings(&operator, &format!("pkg:pypi/tensorfolw@1.0?file_name={}", squat.filename)).await.unwrap();
        import(&test, "top", Tier::Hold, "tensorflow\nkeras\n").await.unwrap();
        test.registry.look_after_names().await.unwrap();
        assert!(findings(&test).await.is_empty(), "what a person put aside does not come back");
        // An organisation's own names are protected without a list.
        test.registry.create_organisation(&operator, "acme", "Acme", Some("ann")).await.unwrap();
        test.registry.reserve_namespace(&operator, PYPI, "acmeworks", Some("acme")).await.unwrap();
        test.publish(&ann, &Wheel::new("acmeworks", "1.0").build()).await.unwrap();
        test.registry.look_after_names().await.unwrap();
        assert_eq!(verdict(&test, PYPI, "acmewroks").await.0, NameVerdict::Held);
        let near = Wheel::new("acmewroks", "1.0").build();
        test.publish(&bob, &near).await.unwrap();
        refused(test.registry.file(&near.sha256(), &near.filename).await, "file-held");
        test.check().await;
    }

    async fn what_reads_the_same_is_refused_beside_the_living_and_the_dead(test: TestRegistry) {
        let (ann, bob, operator) = (test.user("ann").await, test.user("bob").await, Actor::operator());
        test.publish(&ann, &Wheel::new("hello-world", "1.0").build()).await.unwrap();
        test.registry.delete(&operator, PYPI, "hello-world", Deletion::Project).await.unwrap();
        let error = refused(test.publish(&bob, &Wheel::new("hell0world", "1.0").build()).await, "name-refused");
        assert!(error.message.contains("hello-world"), "{error}");
        assert_eq!(verdict(&test, PYPI, "hello-world").await, (NameVerdict::Taken, "name-retired".to_owned()));
        // Two that look alike at the same moment: one of them is founded.
        let wheels = ["tw1ns-x", "twins-x", "tw-lns-x"].map(|name| (bob.clone(), Wheel::new(name, "1.0").build()));
        let answers = test.publish_at_once(wheels).await;
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        // An exception lets a look-alike of a project stand beside it too.
        test.registry.allow_name(&operator, PYPI, "hell0world", "hello-world", Some("a successor")).await.unwrap();
        test.publish(&bob, &Wheel::new("hell0world", "1.0").build()).await.unwrap();

        for (name, code) in [("ur11ib", "name-refused"), ("json", "name-refused")] {
            refused(test.publish(&bob, &Wheel::new(name, "1.0").build()).await, code);
        }
        for (name, code) in [("http", "name-reserved"), ("crypt0", "name-refused"), ("con", "name-reserved")] {
            refused(publish_npm(&test.registry, &bob, &NpmPackage::new(name, "1.0.0").request("latest")).await, code);
            assert_eq!(verdict(&test, NPM, name).await, (NameVerdict::Refused, code.to_owned()));
        }
        test.registry.prohibit_name(&operator, PYPI, "Evil.Name", Some("it was used to rob people")).await.unwrap();
        for name in ["evil-name", "evilname", "ev1l_name"] {
            let error = refused(test.publish(&bob, &Wheel::new(name, "1.0").build()).await, "name-refused");
            assert!(error.message.contains("rob people"), "{error}");
        }
        refused(test.registry.prohibit_name(&bob, PYPI, "x-y", Some("no")).await, "operator-needed");
        refused(test.registry.prohibit_name(&operator, PYPI, "evil-name2", None).await, "name-not-prohibited");
        test.registry.prohibit_name(&operator, PYPI, "evil-name", None).await.unwrap();
        assert_eq!(verdict(&test, PYPI, "evil-name").await.0, NameVerdict::Free);
        test.check().await;
    }

    async fn odd_names_and_odd_lists_are_answered_and_change_nothing(test: TestRegistry) {
        import(&test, "top", Tier::Hold, "requests\n").await.unwrap();
        let long = "a".repeat(10_000);
        for (name, code) in [
            (long.as_str(), "name-too-long"),
            ("reque\u{455}ts", "name-invalid"),
            ("", "name-missing"),
            ("a\0b", "name-invalid"),
            ("../requests", "name-invalid"),
        ] {
            assert_eq!(verdict(&test, PYPI, name).await, (NameVerdict::Refused, code.to_owned()));
        }
        assert_eq!(verdict(&test, NPM, "aux").await, (NameVerdict::Refused, "name-reserved".to_owned()));
        for bad in ["good\nbad/name\n", "", "reque\u{455}ts\n", &format!("{long}\n")] {
            let error = refused(import(&test, "top", Tier::Hold, bad).await.map(|_| ()), "name-list-malformed");
            assert!(error.message.len() < 400, "{error}");
        }
        refused(import(&test, "no list", Tier::Hold, "x\n").await.map(|_| ()), "name-list-name");
        refused(test.registry.prohibit_name(&Actor::operator(), PYPI, "x", Some("a\nb")).await, "reason");
        assert_eq!(verdict(&test, PYPI, "requestss").await.0, NameVerdict::Held, "the list that was there still counts");
        let lists = test.registry.name_lists(&Actor::operator()).await.unwrap();
        assert_eq!((lists.len(), lists[0].names, lists[0].tier), (1, 1, Tier::Hold));
        // Another process sees a list that was imported meanwhile, and takes it from a backup too.
        let other = test.reopened().await.unwrap();
        import(&test, "more", Tier::Hold, "numpyro\n").await.unwrap();
        let seen = other.check_name(&Actor::operator(), PYPI, "numpyor").await.unwrap();
        assert_eq!(seen.verdict, NameVerdict::Held);
    }
}
