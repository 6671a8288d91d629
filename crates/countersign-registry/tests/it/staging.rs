//! Staged publishing and the registry's signatures over npm's versions.

use std::time::Duration;

use countersign_formats::npm::publish::{Body, PublishReader};
use countersign_formats::{Ecosystem, Limits};
use countersign_registry::model::{Action, Actor, Level};
use countersign_registry::{DocumentKey, Error, Form, Registry, StagedPublication};
use countersign_testkit::packages::NpmPackage;
use serde_json::Value;

use crate::ecosystems::publish_npm;
use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

const NPM: Ecosystem = Ecosystem::Npm;

pub async fn stage(
    registry: &Registry,
    actor: &Actor,
    package: &NpmPackage,
) -> Result<StagedPublication, Error> {
    stage_request(registry, actor, &package.request("latest").to_string()).await
}

async fn stage_request(
    registry: &Registry,
    actor: &Actor,
    request: &str,
) -> Result<StagedPublication, Error> {
    let mut reader = PublishReader::new(&Limits::default());
    let mut tarball = Vec::new();
    reader.push(request.as_bytes(), &mut |bytes| {
        tarball.extend_from_slice(bytes);
        Ok(())
    })?;
    let Body::Publish(form) = reader.finish()? else {
        panic!("no publication");
    };
    let body = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(tarball))]);
    let staged = registry.stage(actor, NPM, "tarball", body).await?;
    let filename = form.name.tarball(&form.version);
    registry
        .stage_publication(actor, staged.named(&filename), Form::Npm(form))
        .await
}

/// The same with another tag than `latest`.
async fn stage_as(
    registry: &Registry,
    actor: &Actor,
    package: &NpmPackage,
    tag: &str,
) -> Result<StagedPublication, Error> {
    stage_request(registry, actor, &package.request(tag).to_string()).await
}

async fn full(test: &TestRegistry, name: &str) -> Value {
    let text = test
        .text(DocumentKey::Packument(name.into()))
        .await
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The keys that signed a version.
fn signers(packument: &Value, version: &str) -> Vec<String> {
    packument["versions"][version]["dist"]["signatures"]
        .as_array()
        .map(|all| {
            all.iter()
                .map(|one| one["keyid"].as_str().unwrap().to_owned())
                .collect()
        })
        .unwrap_or_default()
}

on_both_databases! {
    async fn a_staged_version_is_out_when_a_passkey_said_yes_to_its_digest(test: TestRegistry) {
        let registry = &test.registry;
        let ann = test.user("ann").await;
        publish_npm(registry, &ann, &NpmPackage::new("sample", "1.0.0").request("latest")).await.unwrap();
        let token = test.token("ann", Action::Publish, None).await;
        let next = NpmPackage::new("sample", "1.1.0");
        let waits = stage(registry, &token, &next).await.unwrap();
        assert_eq!(waits.sha256, next.build().sha256());
        assert_eq!((waits.state.as_str(), waits.by.as_str(), &*waits.tags), ("waiting", "ann", &["latest".to_owned()][..]));
        // The lost answer: the same again is the same; other bytes of it are not.
        assert_eq!(stage(registry, &token, &next).await.unwrap().id, waits.id);
        refused(stage(registry, &token, &next.clone().file("more.js", "1")).await, "stage-exists");
        refused(stage(registry, &token, &NpmPackage::new("sample", "1.0.0")).await, "stage-published");
        assert!(full(&test, "sample").await["versions"]["1.1.0"].is_null());

        let bob = test.user("bob").await;
        refused(registry.staged_publication(&bob, &waits.id).await, "stage-unknown");
        refused(registry.approve_staged(&bob, &waits.id, None).await, "stage-unknown");
        assert!(registry.staged_publications(&bob).await.unwrap().is_empty());
        assert_eq!(registry.staged_publications(&token).await.unwrap().len(), 1);

        refused(registry.approve_staged(&token, &waits.id, None).await, "session-needed");
        let weak = test.session("ann", Level::Password, true).await;
        refused(registry.approve_staged(&weak, &waits.id, None).await, "passkey-needed");
        let stale = test.session("ann", Level::Phishproof, false).await;
        refused(registry.approve_staged(&stale, &waits.id, None).await, "step-up-needed");
        let strong = test.session("ann", Level::Phishproof, true).await;
        refused(registry.approve_staged(&strong, &waits.id, Some(&"0".repeat(64))).await, "stage-differs");

        let receipt = registry.approve_staged(&strong, &waits.id, Some(&waits.sha256)).await.unwrap();
        test.check_receipt(&receipt, &next.build());
        assert!(!receipt.repeated);
        let packument = full(&test, "sample").await;
        assert_eq!(packument["dist-tags"]["latest"], "1.1.0");
        assert_eq!(packument["versions"]["1.1.0"]["_npmUser"]["approver"]["name"], "ann");
        assert!(packument["versions"]["1.0.0"]["_npmUser"]["approver"].is_null());
        assert_eq!(signers(&packument, "1.1.0").len(), 1);
        // The answer was lost: the same receipt again. It is too late to say no.
        let again = registry.approve_staged(&strong, &waits.id, None).await.unwrap();
        assert_eq!((again.leaf, again.repeated), (receipt.leaf, true));
        refused(registry.reject_staged(&strong, &waits.id).await, "stage-over");
        assert!(registry.staged_publications(&token).await.unwrap().is_empty());
    }

    async fn what_was_rejected_or_waited_too_long_is_never_published_and_its_bytes_go(test: TestRegistry) {
        let registry = &test.registry;
        let ann = test.user("ann").await;
        publish_npm(registry, &ann, &NpmPackage::new("sample", "1.0.0").request("latest")).await.unwrap();
        let strong = test.session("ann", Level::Phishproof, true).await;
        let token = test.token("ann", Action::Publish, None).await;
        let waits = stage(registry, &token, &NpmPackage::new("sample", "1.1.0")).await.unwrap();
        // Bytes that wait are claimed, whatever their age.
        test.turn_clock(Duration::from_secs(3 * 86_400));
        registry.sweep().await.unwrap();
        drop(registry.staged_bytes(&token, &waits.id).await.unwrap());
        // A token that reads looks, and answers nothing.
        let reader = test.token("ann", Action::Read, None).await;
        assert_eq!(registry.staged_publication(&reader, &waits.id).await.unwrap().id, waits.id);
        refused(registry.reject_staged(&reader, &waits.id).await, "token-action");
        registry.reject_staged(&token, &waits.id).await.unwrap();
        let strong_now = test.session("ann", Level::Phishproof, true).await;
        refused(registry.approve_staged(&strong_now, &waits.id, None).await, "stage-over");
        registry.sweep().await.unwrap();
        refused(registry.staged_bytes(&token, &waits.id).await.map(|_| ()), "stage-over");

        // It may be staged anew, and then nobody answers.
        let late = stage(registry, &token, &NpmPackage::new("sample", "1.1.0")).await.unwrap();
        test.turn_clock(Duration::from_secs(15 * 86_400));
        let fresh = test.session("ann", Level::Phishproof, true).await;
        refused(registry.approve_staged(&fresh, &late.id, None).await, "stage-over");
        assert_eq!(registry.expire_staged().await.unwrap(), 1);
        assert_eq!(registry.staged_publication(&fresh, &late.id).await.unwrap().state, "expired");
        assert!(full(&test, "sample").await["versions"]["1.1.0"].is_null());
        drop(strong);
    }

    async fn the_bytes_of_an_approved_version_are_not_had_past_its_quarantine_or_deletion(test: TestRegistry) {
        let registry = &test.registry;
        let ann = test.user("ann").await;
        publish_npm(registry, &ann, &NpmPackage::new("sample", "1.0.0").request("latest")).await.unwrap();
        let token = test.token("ann", Action::Publish, None).await;
        let waits = stage(registry, &token, &NpmPackage::new("sample", "1.1.0")).await.unwrap();
        drop(registry.staged_bytes(&token, &waits.id).await.unwrap());
        let strong = test.session("ann", Level::Phishproof, true).await;
        registry.approve_staged(&strong, &waits.id, None).await.unwrap();
        // The blob is there, as the published file's.
        refused(registry.staged_bytes(&token, &waits.id).await.map(|_| ()), "stage-over");
        // Rejected and not swept yet; too old and not swept yet.
        let no = stage(registry, &token, &NpmPackage::new("sample", "1.2.0")).await.unwrap();
        registry.reject_staged(&token, &no.id).await.unwrap();
        refused(registry.staged_bytes(&token, &no.id).await.map(|_| ()), "stage-over");
        let old = stage(registry, &token, &NpmPackage::new("sample", "1.3.0")).await.unwrap();
        test.turn_clock(Duration::from_secs(15 * 86_400));
        refused(registry.staged_bytes(&token, &old.id).await.map(|_| ()), "stage-over");
        // What waited too long does not stand in the way of the next one.
        assert_ne!(stage(registry, &token, &NpmPackage::new("sample", "1.3.0")).await.unwrap().id, old.id);
    }

    async fn other_tags_for_the_same_bytes_are_no_retry_and_the_person_reads_them(test: TestRegistry) {
        let registry = &test.registry;
        let ann = test.user("ann").await;
        publish_npm(registry, &ann, &NpmPackage::new("sample", "1.0.0").request("latest")).await.unwrap();
        let token = test.token("ann", Action::Publish, None).await;
        let next = NpmPackage::new("sample", "1.1.0");
        let waits = stage_as(registry, &token, &next, "next").await.unwrap();
        assert!(waits.along().starts_with("as next"), "{}", waits.along());
        assert_eq!(stage_as(registry, &token, &next, "next").await.unwrap().id, waits.id);
        refused(stage_as(registry, &token, &next, "latest").await, "stage-exists");
    }

    async fn two_jobs_that_stage_one_version_at_once_leave_one_waiting(test: TestRegistry) {
        let registry = &test.registry;
        test.user("ann").await;
        let token = test.token("ann", Action::Publish, None).await;
        // A second process on the same database; a name that is new, so that there is no row of a project to lock.
        let other = test.reopened().await.unwrap();
        for number in 0..3 {
            let name = format!("raced-{number}-by-two");
            let one = NpmPackage::new(&name, "1.0.0");
            let two = one.clone().file("more.js", "1");
            let (first, second) = tokio::join!(stage(registry, &token, &one), stage(&other, &token, &two));
            let refusal = match (first, second) {
                (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
                both => panic!("{both:?}"),
            };
            assert_eq!(refusal.code, "stage-exists");
        }
        assert_eq!(test.count("SELECT count(*) AS n FROM staged_publications WHERE ended_at IS NULL").await, 3);
    }

    async fn no_more_versions_wait_than_may_even_where_several_are_staged_at_once(test: TestRegistry) {
        const AT_MOST: usize = 50;
        let registry = &test.registry;
        test.user("ann").await;
        let token = test.token("ann", Action::Publish, None).await;
        let other = test.reopened().await.unwrap();
        let package = |number: usize| NpmPackage::new("crowded", &format!("1.{number}.0"));
        for number in 0..AT_MOST - 2 {
            stage(registry, &token, &package(number)).await.unwrap();
        }
        let together = (0..8).map(|number| {
            let process = if number % 2 == 0 { registry } else { &other };
            let (token, package) = (&token, package(100 + number));
            async move { stage(process, token, &package).await }
        });
        let outcomes = futures::future::join_all(together).await;
        let passed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        for outcome in outcomes.into_iter().filter(Result::is_err) {
            refused(outcome, "too-many-staged");
        }
        assert_eq!(passed, 2);
        assert_eq!(test.count("SELECT count(*) AS n FROM staged_publications WHERE ended_at IS NULL").await, 50);
    }

    async fn what_came_out_by_another_way_waits_no_more_once_it_is_approved(test: TestRegistry) {
        let registry = &test.registry;
        let ann = test.user("ann").await;
        publish_npm(registry, &ann, &NpmPackage::new("sample", "1.0.0").request("latest")).await.unwrap();
        let token = test.token("ann", Action::Publish, None).await;
        let next = NpmPackage::new("sample", "1.1.0");
        let waits = stage(registry, &token, &next).await.unwrap();
        let out = publish_npm(registry, &ann, &next.request("latest")).await.unwrap();
        let strong = test.session("ann", Level::Phishproof, true).await;
        let receipt = registry.approve_staged(&strong, &waits.id, None).await.unwrap();
        assert_eq!((receipt.leaf, receipt.repeated), (out.leaf, true));
        assert_eq!(registry.staged_publication(&token, &waits.id).await.unwrap().state, "approved");
        // Nobody let that file pass.
        assert!(full(&test, "sample").await["versions"]["1.1.0"]["_npmUser"]["approver"].is_null());
    }

    async fn what_is_staged_survives_a_restart_and_takes_no_name(given: TestRegistry) {
        let mut test = given;
        let token = test.user("ann").await;
        let package = NpmPackage::new("brand-new", "1.0.0");
        let waits = stage(&test.registry, &token, &package).await.unwrap();
        refused(test.text(DocumentKey::Packument("brand-new".into())).await, "project-unknown");
        test.restart().await;
        // Nothing was reserved: somebody else may still take the name, and then this one can not pass.
        let strong = test.session("ann", Level::Phishproof, true).await;
        let kept = test.registry.staged_publication(&strong, &waits.id).await.unwrap();
        assert_eq!(kept.sha256, waits.sha256);
        let bob = test.user("bob").await;
        publish_npm(&test.registry, &bob, &NpmPackage::new("brand-new", "0.1.0").request("latest")).await.unwrap();
        refused(test.registry.approve_staged(&strong, &waits.id, None).await, "stage-unknown");
        // On a name that is free whoever staged approves.
        let other = stage(&test.registry, &token, &NpmPackage::new("free-name", "1.0.0")).await.unwrap();
        let receipt = test.registry.approve_staged(&strong, &other.id, Some(&other.sha256)).await.unwrap();
        assert_eq!(receipt.purl, "pkg:npm/free-name@1.0.0?file_name=free-name-1.0.0.tgz");
    }

    async fn a_rotated_key_goes_on_proving_what_it_signed_and_a_missing_one_is_made_up_for(test: TestRegistry) {
        let registry = &test.registry;
        let ann = test.user("ann").await;
        publish_npm(registry, &ann, &NpmPackage::new("@s/sample", "1.0.0").request("latest")).await.unwrap();
        let first = registry.npm_keys().await.unwrap();
        assert_eq!((first.len(), first[0].until), (1, None));
        test.turn_clock(Duration::from_secs(1));
        refused(registry.rotate_npm_key(&ann).await, "operator-needed");
        let second = registry.rotate_npm_key(&Actor::operator()).await.unwrap();
        assert_ne!(second.hint, first[0].hint);
        test.turn_clock(Duration::from_secs(1));
        publish_npm(registry, &ann, &NpmPackage::new("@s/sample", "1.1.0").request("latest")).await.unwrap();
        let packument = full(&test, "@s/sample").await;
        assert_eq!(signers(&packument, "1.0.0"), [first[0].hint.clone()]);
        assert_eq!(signers(&packument, "1.1.0"), std::slice::from_ref(&second.hint));
        let document: Value = serde_json::from_str(&registry.npm_keys_document().await.unwrap()).unwrap();
        assert_eq!(document["keys"][0]["keyid"], second.hint.as_str());
        assert!(document["keys"][0]["expires"].is_null());
        // What the old one signed was published before it ended.
        let ended = document["keys"][1]["expires"].as_str().unwrap();
        assert!(packument["time"]["1.0.0"].as_str().unwrap() < ended && ended <= packument["time"]["1.1.0"].as_str().unwrap());
        assert_eq!(registry.sign_unsigned().await.unwrap(), 0);

        // The key is away: publishing goes on, and the signature comes with the key.
        let folder = registry.settings().sign_in.key_folder.clone();
        let (key, away) = (folder.join("npm-2.p256"), folder.join("elsewhere"));
        std::fs::rename(&key, &away).unwrap();
        let other = test.reopened().await.unwrap();
        publish_npm(&other, &ann, &NpmPackage::new("@s/sample", "1.2.0").request("latest")).await.unwrap();
        assert_eq!(signers(&full(&test, "@s/sample").await, "1.2.0"), Vec::<String>::new());
        refused(other.sign_unsigned().await, "npm-key-missing");
        let diagnoses = other.doctor(Some(&folder), false, &mut |_, _| {}).await;
        assert!(!diagnoses.iter().find(|one| one.id == "npm-signatures").unwrap().ok);
        std::fs::rename(&away, &key).unwrap();
        assert_eq!(registry.sign_unsigned().await.unwrap(), 1);
        assert_eq!(signers(&full(&test, "@s/sample").await, "1.2.0"), [second.hint]);
    }
}
