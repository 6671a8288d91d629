//! Crates and npm packages go the same way as Python's distributions.

use countersign_formats::cargo::publish::PublishRequest;
use countersign_formats::npm::publish::{Body, PublishReader};
use countersign_formats::npm::update::Change;
use countersign_formats::{Ecosystem, Limits, NameKey};
use countersign_registry::model::{Action, Actor, Receipt};
use countersign_registry::{Deletion, DocumentKey, Error, Form, Registry};
use countersign_testkit::packages::{Crate, NpmPackage, Package, Wheel};
use serde_json::{Value, json};

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

const CARGO: Ecosystem = Ecosystem::Cargo;
const NPM: Ecosystem = Ecosystem::Npm;

pub async fn publish_crate(
    registry: &Registry,
    actor: &Actor,
    package: &Crate,
) -> Result<Receipt, Error> {
    let request = PublishRequest::parse(package.request().to_string().as_bytes())?;
    let built = package.build();
    let body = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(built.bytes))]);
    let staged = registry
        .stage(actor, CARGO, &request.filename(), body)
        .await?;
    registry
        .publish(actor, staged, Form::Cargo(Box::new(request)))
        .await
}

pub async fn publish_npm(
    registry: &Registry,
    actor: &Actor,
    request: &Value,
) -> Result<Receipt, Error> {
    let mut reader = PublishReader::new(&Limits::default());
    let mut tarball = Vec::new();
    for piece in request.to_string().as_bytes().chunks(1_000) {
        reader.push(piece, &mut |bytes| {
            tarball.extend_from_slice(bytes);
            Ok(())
        })?;
    }
    let Body::Publish(form) = reader.finish()? else {
        panic!("no publication");
    };
    let body = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(tarball))]);
    let staged = registry.stage(actor, NPM, "tarball", body).await?;
    let filename = form.name.tarball(&form.version);
    registry
        .publish(actor, staged.named(&filename), Form::Npm(form))
        .await
}

async fn lines(test: &TestRegistry, name: &str) -> Vec<Value> {
    let text = test
        .text(DocumentKey::Index(CARGO, name.into()))
        .await
        .unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn packument(test: &TestRegistry, key: DocumentKey) -> Value {
    serde_json::from_str(&test.text(key).await.unwrap()).unwrap()
}

fn short(name: &str) -> DocumentKey {
    DocumentKey::Index(NPM, name.into())
}

fn whole(name: &str) -> DocumentKey {
    DocumentKey::Packument(name.into())
}

/// The bytes that the heartbeat spliced are those that the rows give.
async fn renders_alike(test: &TestRegistry, key: DocumentKey) {
    let spliced = test.text(key.clone()).await.unwrap();
    let other = test.reopened().await.unwrap();
    let again = other.document(&key).await.unwrap();
    assert_eq!(spliced, String::from_utf8_lossy(&again.bytes));
    let diagnoses = test.registry.doctor(None, true, &mut |_, _| {}).await;
    let documents = diagnoses.iter().find(|one| one.id == "documents").unwrap();
    assert!(documents.ok, "{documents:?}");
}

async fn is_served(test: &TestRegistry, ecosystem: Ecosystem, key: &str, package: &Package) {
    let key = NameKey::from_stored(key);
    // Memory is believed for a fraction of a second only, and a busy machine may stand still between the two questions.
    for _ in 0..50 {
        let file = test
            .registry
            .named_file(ecosystem, &key, &package.filename)
            .await
            .unwrap();
        assert_eq!(file.sha256, package.sha256());
        let again = test
            .registry
            .cached_named_file(ecosystem, &key, &package.filename);
        if let Some(again) = again {
            assert_eq!(again.sha256, file.sha256);
            return;
        }
    }
    panic!("{} is never in memory", package.filename);
}

on_both_databases! {
    async fn a_crate_is_published_logged_served_and_yanked(test: TestRegistry) {
        let ann = test.user("ann").await;
        let one = Crate::new("Sun_Rise", "1.0.0").file("README.md", "# Sunrise\n").manifest("readme = \"README.md\"\n[features]\nfast = []");
        let two = Crate::new("Sun_Rise", "1.1.0+linux").manifest("[dependencies.other]\nversion = \"1\"");
        let receipt = publish_crate(&test.registry, &ann, &one).await.unwrap();
        assert_eq!(receipt.purl, "pkg:cargo/sun-rise@1.0.0?file_name=Sun_Rise-1.0.0.crate");
        test.check_receipt(&receipt, &one.build());
        publish_crate(&test.registry, &ann, &two).await.unwrap();
        let index = lines(&test, "sun-rise").await;
        assert_eq!(index.len(), 2);
        assert_eq!((&index[0]["name"], &index[0]["vers"], &index[0]["cksum"]), (&json!("Sun_Rise"), &json!("1.0.0"), &json!(one.build().sha256())));
        assert_eq!((&index[0]["features"], &index[0]["yanked"], &index[0]["_countersign"]["leaf"]), (&json!({"fast": []}), &json!(false), &json!(receipt.leaf)));
        assert_eq!((&index[1]["vers"], &index[1]["deps"][0]["name"]), (&json!("1.1.0+linux"), &json!("other")));
        // What the archive does not say is this registry, it says nothing and so means the public one.
        assert!(index[1]["deps"][0]["registry"].is_string());
        is_served(&test, CARGO, "sun-rise", &one.build()).await;
        renders_alike(&test, DocumentKey::Index(CARGO, "sun-rise".into())).await;
        let release = test.registry.release(CARGO, "sun_rise", "1.0.0").await.unwrap();
        assert_eq!(release.manifest.description.as_deref(), Some("# Sunrise\n"));
        test.registry.yank(&ann, CARGO, "SUN-RISE", "1.0.0", "").await.unwrap();
        assert_eq!(lines(&test, "sun-rise").await[0]["yanked"], json!(true));
        test.registry.unyank(&ann, CARGO, "sun-rise", "1.0.0").await.unwrap();
        assert_eq!(lines(&test, "sun-rise").await[0]["yanked"], json!(false));
        test.registry.quarantine(&ann, CARGO, "sun-rise", None, "stolen").await.unwrap();
        assert_eq!(lines(&test, "sun-rise").await.len(), 0);
    }

    async fn a_crate_version_is_one_whatever_its_build_metadata_and_its_name_one_in_every_spelling(test: TestRegistry) {
        let ann = test.user("ann").await;
        let bob = test.user("bob").await;
        publish_crate(&test.registry, &ann, &Crate::new("sun-rise", "1.0.0+a")).await.unwrap();
        refused(publish_crate(&test.registry, &ann, &Crate::new("sun-rise", "1.0.0+b")).await, "file-exists");
        refused(publish_crate(&test.registry, &bob, &Crate::new("Sun_Rise", "2.0.0")).await, "role-missing");
        // The same name elsewhere is another project.
        test.publish(&bob, &Wheel::new("sun-rise", "1.0").build()).await.unwrap();
        publish_npm(&test.registry, &bob, &NpmPackage::new("sun-rise", "1.0.0").request("latest")).await.unwrap();
        refused(publish_crate(&test.registry, &bob, &Crate::new("std", "1.0.0")).await, "name-reserved");
    }

    async fn the_repeated_publish_of_a_crate_gets_the_same_receipt(test: TestRegistry) {
        let ann = test.user("ann").await;
        let one = Crate::new("again", "1.0.0");
        let first = publish_crate(&test.registry, &ann, &one).await.unwrap();
        let second = publish_crate(&test.registry, &ann, &one).await.unwrap();
        assert!(second.repeated && second.leaf == first.leaf);
        refused(publish_crate(&test.registry, &ann, &one.clone().file("src/x.rs", "")).await, "file-exists");
    }

    async fn a_package_of_npm_is_published_logged_and_served_with_its_digests(test: TestRegistry) {
        let ann = test.user("ann").await;
        let one = NpmPackage::new("@sun/Rise".to_lowercase().as_str(), "1.0.0").set("dependencies", json!({"left": "^1.0.0"})).file("README.md", "# Rise\n");
        let receipt = publish_npm(&test.registry, &ann, &one.request("latest")).await.unwrap();
        assert_eq!(receipt.purl, "pkg:npm/%40sun/rise@1.0.0?file_name=rise-1.0.0.tgz");
        test.check_receipt(&receipt, &one.build());
        let request = one.request("latest");
        for key in [short("@sun/rise"), whole("@sun/rise")] {
            let document = packument(&test, key).await;
            let version = &document["versions"]["1.0.0"];
            let sent = &request["versions"]["1.0.0"]["dist"];
            assert_eq!(document["dist-tags"], json!({"latest": "1.0.0"}));
            assert_eq!((&version["dist"]["integrity"], &version["dist"]["shasum"]), (&sent["integrity"], &sent["shasum"]));
            assert!(version["dist"]["tarball"].as_str().unwrap().ends_with("/npm/@sun/rise/-/rise-1.0.0.tgz"), "{version}");
            assert_eq!(version["dependencies"], json!({"left": "^1.0.0"}));
            assert!(document["time"]["1.0.0"].is_string());
        }
        let full = packument(&test, whole("@sun/rise")).await;
        assert_eq!((&full["readme"], &full["maintainers"][0]["name"]), (&json!("# Rise\n"), &json!("ann")));
        assert_eq!(full["versions"]["1.0.0"]["_npmUser"]["name"], json!("ann"));
        is_served(&test, NPM, "@sun/rise", &one.build()).await;
        renders_alike(&test, short("@sun/rise")).await;
    }

    async fn tags_point_to_what_is_served_and_latest_is_always_there(test: TestRegistry) {
        let ann = test.user("ann").await;
        let token = test.token("ann", Action::Publish, None).await;
        for (version, tag) in [("1.0.0", "beta"), ("1.1.0", "latest"), ("2.0.0-rc.1", "next")] {
            publish_npm(&test.registry, &ann, &NpmPackage::new("tagged", version).request(tag)).await.unwrap();
        }
        let tags = async || packument(&test, short("tagged")).await["dist-tags"].clone();
        assert_eq!(tags().await, json!({"beta": "1.0.0", "latest": "1.1.0", "next": "2.0.0-rc.1"}));
        test.registry.set_dist_tag(&token, "tagged", "stable", "1.0.0").await.unwrap();
        test.registry.remove_dist_tag(&token, "tagged", "beta").await.unwrap();
        assert_eq!(tags().await, json!({"latest": "1.1.0", "next": "2.0.0-rc.1", "stable": "1.0.0"}));
        assert_eq!(test.registry.dist_tags("tagged").await.unwrap().len(), 3);
        refused(test.registry.remove_dist_tag(&token, "tagged", "beta").await, "tag-unknown");
        refused(test.registry.remove_dist_tag(&token, "tagged", "latest").await, "tag-latest");
        refused(test.registry.set_dist_tag(&token, "tagged", "1.x", "1.0.0").await, "tag-invalid");
        refused(test.registry.set_dist_tag(&token, "tagged", "old", "9.0.0").await, "release-unknown");
        let bob = test.user("bob").await;
        refused(test.registry.set_dist_tag(&bob, "tagged", "latest", "1.0.0").await, "role-missing");
        test.registry.delete(&ann, NPM, "tagged", Deletion::Release("1.1.0")).await.unwrap();
        assert_eq!(tags().await["latest"], json!("1.0.0"));
        renders_alike(&test, short("tagged")).await;
    }

    async fn a_nul_in_a_description_is_no_trouble_for_any_database(test: TestRegistry) {
        let ann = test.user("ann").await;
        let odd = NpmPackage::new("odd", "1.0.0").set("description", json!("a\u{0}b\nc"));
        publish_npm(&test.registry, &ann, &odd.request("latest")).await.unwrap();
        let found = test.registry.search_in(NPM, "odd", 0, 10).await.unwrap();
        assert_eq!(found.items[0].summary, "a b c");
        // What the package says of itself stays as it is.
        assert_eq!(packument(&test, whole("odd")).await["description"], json!("a\u{0}b\nc"));
        assert_eq!(test.registry.owners_of(NPM, &["odd".to_owned()]).await.unwrap()["odd"], ["ann"]);
    }

    async fn a_name_that_differs_in_punctuation_alone_is_not_founded_beside_another(test: TestRegistry) {
        let (ann, bob) = (test.user("ann").await, test.user("bob").await);
        publish_npm(&test.registry, &ann, &NpmPackage::new("left-pad", "1.0.0").request("latest")).await.unwrap();
        for name in ["left.pad", "left_pad", "leftpad"] {
            refused(publish_npm(&test.registry, &bob, &NpmPackage::new(name, "1.0.0").request("latest")).await, "name-refused");
        }
        for name in ["@bob/left-pad", "@bob/leftpad"] {
            publish_npm(&test.registry, &bob, &NpmPackage::new(name, "1.0.0").request("latest")).await.unwrap();
        }
    }

    async fn a_star_is_for_whoever_gave_it_alone(test: TestRegistry) {
        let (ann, bob) = (test.user("ann").await, test.user("bob").await);
        publish_npm(&test.registry, &ann, &NpmPackage::new("nice", "1.0.0").request("latest")).await.unwrap();
        let before = packument(&test, whole("nice")).await;
        for _ in 0..2 {
            test.registry.set_star(&bob, NPM, "nice", true).await.unwrap();
        }
        assert_eq!(test.registry.starred(&bob, NPM).await.unwrap(), ["nice"]);
        assert!(test.registry.has_starred(&bob, NPM, "nice").await.unwrap());
        assert!(!test.registry.has_starred(&ann, NPM, "nice").await.unwrap());
        assert_eq!(packument(&test, whole("nice")).await, before);
        test.registry.set_star(&bob, NPM, "nice", false).await.unwrap();
        assert!(test.registry.starred(&bob, NPM).await.unwrap().is_empty());
        refused(test.registry.set_star(&Actor::anonymous(), NPM, "nice", true).await, "token-needed");
        refused(test.registry.set_star(&bob, NPM, "nothing", true).await, "project-unknown");
    }

    async fn a_deprecation_is_in_both_packuments_and_in_the_log_and_gone_again(test: TestRegistry) {
        let ann = test.user("ann").await;
        publish_npm(&test.registry, &ann, &NpmPackage::new("old", "1.0.0").request("latest")).await.unwrap();
        test.registry.deprecate(&ann, NPM, "old", "1.0.0", Some("use new instead")).await.unwrap();
        for key in [short("old"), whole("old")] {
            assert_eq!(packument(&test, key).await["versions"]["1.0.0"]["deprecated"], json!("use new instead"));
        }
        test.registry.deprecate(&ann, NPM, "old", "1.0.0", None).await.unwrap();
        for key in [short("old"), whole("old")] {
            assert_eq!(packument(&test, key).await["versions"]["1.0.0"]["deprecated"], Value::Null);
        }
        let bob = test.user("bob").await;
        refused(test.registry.deprecate(&bob, NPM, "old", "1.0.0", Some("x")).await, "role-missing");
        refused(test.registry.deprecate(&ann, NPM, "old", "1.0.0", Some("a\nb")).await, "reason");
        refused(test.registry.deprecate(&ann, NPM, "old", "2.0.0", Some("a")).await, "release-unknown");
    }

    async fn what_is_posted_beside_a_tarball_must_be_what_is_in_it(test: TestRegistry) {
        let ann = test.user("ann").await;
        let honest = NpmPackage::new("confused", "1.0.0").set("scripts", json!({"test": "true"}));
        let version = |change: &dyn Fn(&mut Value)| {
            let mut request = honest.request("latest");
            change(&mut request["versions"]["1.0.0"]);
            request
        };
        for (what, request) in [
            ("dependencies", version(&|manifest| manifest["dependencies"] = json!({"evil": "1"}))),
            ("scripts", version(&|manifest| manifest["scripts"] = json!({}))),
            ("bin", version(&|manifest| manifest["bin"] = json!({"confused": "index.js"}))),
        ] {
            let error = publish_npm(&test.registry, &ann, &request).await.unwrap_err();
            assert_eq!(error.code, "npm-manifest-differs", "{what}: {error}");
        }
        let mut damaged = honest.request("latest");
        damaged["versions"]["1.0.0"]["dist"]["shasum"] = json!("0".repeat(40));
        refused(publish_npm(&test.registry, &ann, &damaged).await, "digest-mismatch");
        publish_npm(&test.registry, &ann, &honest.request("latest")).await.unwrap();
    }

    async fn the_categories_of_a_crate_are_not_held_against_the_list_of_python(test: TestRegistry) {
        let ann = test.user("ann").await;
        let sorted = Crate::new("sorted", "1.0.0").manifest("categories = [\"data-structures\"]\nkeywords = [\"sort\"]");
        publish_crate(&test.registry, &ann, &sorted).await.unwrap();
    }

    async fn a_later_version_keeps_the_spelling_and_build_metadata_make_no_other_version(test: TestRegistry) {
        let ann = test.user("ann").await;
        let publish = |name: &'static str, version: &'static str| {
            let (registry, ann) = (test.registry.clone(), ann.clone());
            async move { publish_crate(&registry, &ann, &Crate::new(name, version)).await }
        };
        publish("Sun_rise", "1.0.0+a").await.unwrap();
        for name in ["sun_rise", "Sun-rise", "SUN_RISE"] {
            refused(publish(name, "1.1.0").await, "name-spelling");
        }
        for version in ["1.0.0", "1.0.0+b"] {
            refused(publish("Sun_rise", version).await, "file-exists");
        }
        assert!(publish("Sun_rise", "1.0.0+a").await.unwrap().repeated);
        publish("Sun_rise", "1.1.0+b").await.unwrap();
        assert_eq!(lines(&test, "sun-rise").await.len(), 2);

        publish_npm(&test.registry, &ann, &NpmPackage::new("sunset", "1.0.0").request("latest")).await.unwrap();
        let spelled = NpmPackage::new("Sunset", "1.1.0").request("latest");
        let error = publish_npm(&test.registry, &ann, &spelled).await.unwrap_err();
        assert!(matches!(&*error.code, "name-spelling" | "name-invalid"), "{error:?}");
    }

    async fn a_search_in_one_ecosystem_finds_nothing_of_another(test: TestRegistry) {
        let ann = test.user("ann").await;
        publish_crate(&test.registry, &ann, &Crate::new("sunrise", "1.0.0")).await.unwrap();
        publish_npm(&test.registry, &ann, &NpmPackage::new("sunrise", "2.0.0").request("latest")).await.unwrap();
        let found = test.registry.search("sun", 0, 10).await.unwrap();
        assert_eq!(found.total, 2);
        for (ecosystem, version) in [(CARGO, "1.0.0"), (NPM, "2.0.0")] {
            let found = test.registry.search_in(ecosystem, "sun", 0, 10).await.unwrap();
            assert_eq!(found.total, 1);
            assert_eq!((found.items[0].ecosystem, &*found.items[0].latest), (ecosystem, version));
        }
        assert_eq!(test.registry.search_in(Ecosystem::Pypi, "sun", 0, 10).await.unwrap().total, 0);
    }
}

on_both_databases! {
    async fn documents_that_were_rendered_under_another_address_are_rendered_anew(test: TestRegistry) {
        let ann = test.user("ann").await;
        publish_npm(&test.registry, &ann, &NpmPackage::new("moved", "1.0.0").request("latest")).await.unwrap();
        let other = test.reopened_where(test.blobs(), |settings| settings.url = "https://moved.example/".parse().unwrap()).await.unwrap();
        let text = other.document(&short("moved")).await.unwrap();
        let document: Value = serde_json::from_slice(&text.bytes).unwrap();
        assert_eq!(document["versions"]["1.0.0"]["dist"]["tarball"], json!("https://moved.example/npm/moved/-/moved-1.0.0.tgz"));
        // The old address' document is the old address' still.
        let before = packument(&test, short("moved")).await;
        assert!(!before["versions"]["1.0.0"]["dist"]["tarball"].as_str().unwrap().contains("moved.example"));
    }
}

on_both_databases! {
    async fn latest_waits_for_the_log_and_falls_back_to_what_it_was(test: TestRegistry) {
        let mut test = test;
        let ann = test.user("ann").await;
        for (version, tag) in [("1.0.0", "latest"), ("2.0.0", "next")] {
            publish_npm(&test.registry, &ann, &NpmPackage::new("waits", version).request(tag)).await.unwrap();
        }
        // A version whose leaf is not there yet: the log stands still.
        test.stop_heartbeat().await;
        let (registry, actor) = (test.registry.clone(), ann.clone());
        let waiting = tokio::spawn(async move { publish_npm(&registry, &actor, &NpmPackage::new("waits", "1.1.0").request("latest")).await });
        let tags = async |registry: &Registry| {
            let document = registry.document(&whole("waits")).await.unwrap();
            serde_json::from_slice::<Value>(&document.bytes).unwrap()["dist-tags"].clone()
        };
        for _ in 0..100 {
            if test.registry.health().await.log_backlog > 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(tags(&test.registry).await, json!({"latest": "1.0.0", "next": "2.0.0"}));
        waiting.abort();
        test.start_anew().await;
        assert_eq!(tags(&test.registry).await, json!({"latest": "1.1.0", "next": "2.0.0"}));
        test.registry.quarantine(&ann, NPM, "waits", Some("waits-1.1.0.tgz"), "stolen").await.unwrap();
        assert_eq!(tags(&test.registry).await, json!({"latest": "1.0.0", "next": "2.0.0"}));
    }

    async fn a_packument_names_its_owners_as_they_are_now(test: TestRegistry) {
        let ann = test.user("ann").await;
        test.user("bob").await;
        publish_npm(&test.registry, &ann, &NpmPackage::new("owned", "1.0.0").request("latest")).await.unwrap();
        let before = packument(&test, whole("owned")).await;
        test.registry.set_role(&ann, NPM, "owned", "bob", Some(countersign_registry::model::Role::Owner)).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        let after = packument(&test, whole("owned")).await;
        assert_eq!((before["maintainers"].as_array().unwrap().len(), after["maintainers"].as_array().unwrap().len()), (1, 2));
        assert_ne!(before["_rev"], after["_rev"]);
        renders_alike(&test, short("owned")).await;
    }

    async fn several_changes_of_a_package_are_made_together_or_not_at_all(test: TestRegistry) {
        let registry = &test.registry;
        let ann = test.user("ann").await;
        test.user("bob").await;
        for version in ["1.0.0", "1.1.0", "2.0.0"] {
            publish_npm(registry, &ann, &NpmPackage::new("many", version).request("latest")).await.unwrap();
        }
        let text = str::to_owned;
        let good = [
            Change::Deprecate(text("1.0.0"), text("old")),
            Change::Deprecate(text("1.1.0"), text("old")),
            Change::Unpublish(text("2.0.0")),
            Change::SetTag(text("latest"), text("1.1.0")),
            Change::SetTag(text("legacy"), text("1.0.0")),
            Change::AddOwner(text("bob")),
            Change::Star(text("ann")),
        ];
        let before = packument(&test, whole("many")).await;
        let events = test.count("SELECT count(*) AS n FROM events").await;
        // Whatever stands last and is refused, nothing before it has happened.
        for (bad, code) in [
            (Change::Deprecate(text("9.9.9"), text("old")), "release-unknown"),
            (Change::SetTag(text("1.x"), text("1.0.0")), "tag-invalid"),
            (Change::RemoveTag(text("nothing")), "tag-unknown"),
            (Change::AddOwner(text("nobody")), "user-unknown"),
            (Change::Unpublish(text("9.9.9")), "release-unknown"),
        ] {
            let all = [good.as_slice(), &[bad]].concat();
            refused(registry.change_package(&ann, "many", &all).await, code);
            assert_eq!(packument(&test, whole("many")).await, before, "{code}");
            assert!(!registry.has_starred(&ann, NPM, "many").await.unwrap());
        }
        assert_eq!(test.count("SELECT count(*) AS n FROM events").await, events, "a refused change left an event");
        // Whoever may do the first and not the rest does nothing.
        let bob = test.token("bob", Action::Publish, None).await;
        refused(registry.change_package(&bob, "many", &good).await, "role-missing");

        registry.change_package(&ann, "many", &good).await.unwrap();
        let after = packument(&test, whole("many")).await;
        assert_eq!(after["versions"]["1.0.0"]["deprecated"], "old");
        assert!(after["versions"]["2.0.0"].is_null());
        assert_eq!((&after["dist-tags"]["latest"], &after["dist-tags"]["legacy"]), (&json!("1.1.0"), &json!("1.0.0")));
        assert_eq!(after["maintainers"].as_array().unwrap().len(), 2);
        assert!(registry.has_starred(&ann, NPM, "many").await.unwrap());
        renders_alike(&test, short("many")).await;
    }

    async fn a_scope_of_npm_is_a_namespace(test: TestRegistry) {
        let operator = Actor::operator();
        let ann = test.user("ann").await;
        let bob = test.user("bob").await;
        test.registry.create_organisation(&operator, "acme", "Acme", Some("ann")).await.unwrap();
        test.registry.reserve_namespace(&operator, NPM, "@Acme", Some("acme")).await.unwrap();
        let error = publish_npm(&test.registry, &bob, &NpmPackage::new("@acme/payments", "1.0.0").request("latest")).await.unwrap_err();
        assert_eq!(error.code, "namespace-owned", "{error}");
        publish_npm(&test.registry, &ann, &NpmPackage::new("@acme/payments", "1.0.0").request("latest")).await.unwrap();
        // What only looks like it is not in it.
        publish_npm(&test.registry, &bob, &NpmPackage::new("@acme-tools/x", "1.0.0").request("latest")).await.unwrap();
        publish_npm(&test.registry, &bob, &NpmPackage::new("acme-x", "1.0.0").request("latest")).await.unwrap();
        refused(test.registry.reserve_namespace(&operator, NPM, "@a/b", Some("acme")).await.map(|_| ()), "namespace-invalid");
    }
}
