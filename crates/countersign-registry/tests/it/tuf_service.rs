//! The service that signs for registries elsewhere, by RSTUF's requests; read by a client of TUF that starts from the first root.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_registry::model::Actor;
use countersign_registry::{Registry, ServiceDesk};
use countersign_trust::sigstore::{Ed25519Signer, Signs, TrustRoot};
use countersign_trust::tuf::ceremony::{Pending, RootPlan};
use countersign_trust::tuf::client::{Client, Look, Trusted};
use countersign_trust::tuf::{Envelope, Fault, Key, Limits, Refusal, Root, Targets};
use serde_json::{Value, json};

use crate::kit::refused;
use crate::on_both_databases;

pub(crate) const DAY: i64 = 86_400;

pub(crate) fn signer(seed: u8) -> Ed25519Signer {
    Ed25519Signer::new(&[seed; 32]).unwrap()
}

/// A root of two people's keys and one online key.
pub(crate) fn root(
    now: i64,
    people: [&Ed25519Signer; 2],
    online: &Key,
    before: Option<&Root>,
) -> Root {
    let people = people.map(|signer| Key::of(signer).unwrap()).to_vec();
    let mut roles = BTreeMap::from([("root".to_owned(), (people, 2))]);
    for role in ["timestamp", "snapshot", "targets"] {
        roles.insert(role.to_owned(), (vec![online.clone()], 1));
    }
    let plan = RootPlan {
        expires: now + 365 * DAY,
        roles,
        development: true,
    };
    plan.root(before).unwrap()
}

pub(crate) fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

pub(crate) fn sent(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

pub(crate) fn signature(role: &str, signer: &dyn Signs, payload: &[u8]) -> Vec<u8> {
    let sig = hex::encode(signer.sign(payload).unwrap());
    let keyid = Key::of(signer).unwrap().id();
    sent(&json!({"role": role, "signature": {"keyid": keyid, "sig": sig}}))
}

pub(crate) async fn desk(registry: &Registry) -> (ServiceDesk, Key) {
    let operator = Actor::operator();
    let spki = registry
        .create_tuf_service(&operator, "demo", None)
        .await
        .unwrap();
    let token = registry
        .create_tuf_service_token(&operator, "demo", "test")
        .await
        .unwrap();
    let desk = registry
        .tuf_service_desk("demo", Some(&token))
        .await
        .unwrap();
    (desk, Key::from_spki(&spki).unwrap())
}

pub(crate) fn ceremony(root: &[u8]) -> Vec<u8> {
    let days = |days: i64| json!({ "expiration": days });
    sent(&json!({
        "settings": {"roles": {
            "root": days(365), "targets": days(365), "snapshot": days(7), "timestamp": days(1),
            "bins": {"expiration": 7, "number_of_delegated_bins": 4},
        }},
        "metadata": {"root": value(root)},
    }))
}

/// A service whose ceremony was held, with its first root.
pub(crate) async fn begun(registry: &Registry, now: i64) -> (ServiceDesk, Key, Vec<u8>) {
    let (desk, online) = desk(registry).await;
    let (one, two) = (signer(1), signer(2));
    let mut pending = Pending::root(root(now, [&one, &two], &online, None), None).unwrap();
    pending.sign(&one).unwrap();
    pending.sign(&two).unwrap();
    let bytes = pending.finish(now).unwrap();
    registry
        .bootstrap_tuf_service(&desk, &ceremony(&bytes))
        .await
        .unwrap();
    (desk, online, bytes)
}

pub(crate) async fn answered(registry: &Registry, file: &str) -> Option<Vec<u8>> {
    let answer = registry.tuf_file("service/demo", file).await;
    answer.ok().map(|document| document.bytes.to_vec())
}

pub(crate) async fn refreshed(
    registry: &Registry,
    trusted: Trusted,
    now: i64,
) -> Result<Client, Refusal> {
    let mut client = Client::begin(trusted, now, Limits::default())?;
    while let Some(request) = client.wanted()? {
        let answer = answered(registry, &request.file).await;
        client.give(&request, answer.as_deref())?;
    }
    Ok(client)
}

/// Does a new client find this path?
pub(crate) async fn lists(registry: &Registry, root: &[u8], now: i64, path: &str) -> bool {
    let trusted = Trusted::root(root.to_vec());
    let mut client = refreshed(registry, trusted, now).await.unwrap();
    loop {
        match client.look(path).unwrap() {
            Look::Fetch(request) => {
                let answer = answered(registry, &request.file).await;
                client.give(&request, answer.as_deref()).unwrap();
            }
            Look::Found { .. } => return true,
            Look::Absent => return false,
        }
    }
}

pub(crate) fn artifact(path: &str) -> Value {
    json!({"path": path, "info": {"length": 12, "hashes": {"blake2b-256": "0".repeat(64)}, "custom": null}})
}

pub(crate) fn adding(artifacts: &[Value]) -> Vec<u8> {
    sent(&json!({ "artifacts": artifacts }))
}

on_both_databases! {
    async fn people_sign_the_first_root_one_after_the_other_and_artifacts_come_and_go(given: TestRegistry) {
        let registry = given.registry.clone();
        let now = given.registry_now();
        let (desk, online) = desk(&registry).await;
        let (one, two, stranger) = (signer(1), signer(2), signer(9));
        let new = root(now, [&one, &two], &online, None);
        let mut pending = Pending::root(new, None).unwrap();
        pending.sign(&one).unwrap();
        refused(registry.add_tuf_artifacts(&desk, &adding(&[artifact("a")])).await, "tuf-service-not-ready");
        registry.bootstrap_tuf_service(&desk, &ceremony(&pending.to_bytes())).await.unwrap();
        refused(
            registry.bootstrap_tuf_service(&desk, &ceremony(&pending.to_bytes())).await,
            "tuf-service-bootstrapped",
        );
        assert_eq!(answered(&registry, "timestamp.json").await, None);
        let payload = pending.payload().to_vec();
        refused(registry.sign_tuf_service(&desk, &signature("root", &stranger, &payload)).await, "tuf-service-request");
        refused(registry.sign_tuf_service(&desk, &signature("root", &two, b"else")).await, "tuf-service-request");
        registry.sign_tuf_service(&desk, &signature("root", &two, &payload)).await.unwrap();
        let first = answered(&registry, "1.root.json").await.unwrap();

        let (task, paths) = registry
            .add_tuf_artifacts(&desk, &adding(&[artifact("files/a"), artifact("files/b")]))
            .await
            .unwrap();
        assert_eq!(paths, ["files/a", "files/b"]);
        let told = registry.tuf_service_task(&desk, &task.id).await.unwrap();
        assert_eq!((told["state"].as_str(), told["result"]["status"].as_bool()), (Some("SUCCESS"), Some(true)));
        assert!(lists(&registry, &first, now, "files/a").await);
        assert!(!lists(&registry, &first, now, "files/c").await);
        let gone = sent(&json!({"artifacts": ["files/a", "files/z"]}));
        let (task, _) = registry.remove_tuf_artifacts(&desk, &gone).await.unwrap();
        let told = registry.tuf_service_task(&desk, &task.id).await.unwrap();
        assert_eq!(told["result"]["details"]["not_found_artifacts"], json!(["files/z"]));
        assert!(!lists(&registry, &first, now, "files/a").await);
        assert!(lists(&registry, &first, now, "files/b").await);

        let later = sent(&json!({"artifacts": [artifact("files/late")], "publish_artifacts": false}));
        registry.add_tuf_artifacts(&desk, &later).await.unwrap();
        assert!(!lists(&registry, &first, now, "files/late").await);
        registry.publish_tuf_artifacts(&desk).await.unwrap();
        assert!(lists(&registry, &first, now, "files/late").await);
    }

    async fn requests_that_lie_about_paths_lengths_and_hashes_change_nothing(given: TestRegistry) {
        let registry = given.registry.clone();
        let now = given.registry_now();
        let (desk, _, first) = begun(&registry, now).await;
        let before = answered(&registry, "timestamp.json").await;
        let info = |length: Value, hashes: Value| json!({"path": "x", "info": {"length": length, "hashes": hashes}});
        let sha = || json!({"sha256": "0".repeat(64)});
        let mut lies: Vec<Value> = ["", "/etc/passwd", "a/../b", "./a", "a//b", "a\\b", "a?b", "a\u{7}b", "a%2e"]
            .map(artifact)
            .to_vec();
        lies.push(artifact(&"x".repeat(1_025)));
        for (length, hashes) in [
            (json!(-1), sha()),
            (json!(1.5), sha()),
            (json!(1u64 << 60), sha()),
            (json!("12"), sha()),
            (json!(12), json!({})),
            (json!(12), json!({"md5": "0".repeat(32)})),
            (json!(12), json!({"sha256": "0".repeat(63)})),
            (json!(12), json!({"sha256": "A".repeat(64)})),
            (json!(12), json!({"sha256": 7})),
        ] {
            lies.push(info(length, hashes));
        }
        lies.push(json!({"path": "x"}));
        lies.push(json!({"info": {}}));
        for lie in lies {
            let request = adding(&[artifact("good"), lie.clone()]);
            let error = registry.add_tuf_artifacts(&desk, &request).await.unwrap_err();
            assert_eq!(error.code, "tuf-service-request", "{lie}");
        }
        let many: Vec<Value> = (0..10_001).map(|number| artifact(&number.to_string())).collect();
        refused(registry.add_tuf_artifacts(&desk, &adding(&many)).await, "tuf-service-request");
        for nonsense in [&b"{"[..], b"[]", b"{}", b"{\"artifacts\": 7}"] {
            refused(registry.add_tuf_artifacts(&desk, nonsense).await, "tuf-service-request");
        }
        assert_eq!(answered(&registry, "timestamp.json").await, before);
        assert!(!lists(&registry, &first, now, "good").await);
        refused(registry.tuf_service_desk("demo", None).await, "tuf-service-token");
        refused(registry.tuf_service_desk("other", Some("csgn_s_x")).await, "tuf-service-token");
    }

    async fn those_who_add_at_once_share_commits_and_none_is_lost(given: TestRegistry) {
        let registry = given.registry.clone();
        let now = given.registry_now();
        let (desk, _, first) = begun(&registry, now).await;
        let desk = std::sync::Arc::new(desk);
        let mut adding_now = Vec::new();
        for number in 0..50 {
            let (registry, desk) = (registry.clone(), desk.clone());
            adding_now.push(tokio::spawn(async move {
                let request = adding(&[artifact(&format!("files/{number}"))]);
                registry.add_tuf_artifacts(&desk, &request).await.unwrap();
            }));
        }
        for task in adding_now {
            task.await.unwrap();
        }
        for number in 0..50 {
            assert!(lists(&registry, &first, now, &format!("files/{number}")).await);
        }
        let client = refreshed(&registry, Trusted::root(first), now).await.unwrap();
        let commits = client.timestamp().unwrap().version;
        assert!(commits < 40, "{commits} commits for 50 who asked at once");
    }

    async fn another_online_key_takes_over_in_one_step_and_clients_heal_from_a_thief(given: TestRegistry) {
        let registry = given.registry.clone();
        let now = given.registry_now();
        let (desk, _, first) = begun(&registry, now).await;
        registry.add_tuf_artifacts(&desk, &adding(&[artifact("files/a")])).await.unwrap();
        let before = refreshed(&registry, Trusted::root(first.clone()), now).await.unwrap();
        let spki = registry
            .prepare_tuf_service_key(&Actor::operator(), "demo", None)
            .await
            .unwrap();
        let next = Key::from_spki(&spki).unwrap();
        let (one, three) = (signer(1), signer(3));
        let in_use = before.root().clone();
        let mut pending =
            Pending::root(root(now, [&one, &three], &next, Some(&in_use)), Some(&in_use)).unwrap();
        pending.sign(&one).unwrap();
        pending.sign(&three).unwrap();
        let request = sent(&json!({"metadata": {"root": value(&pending.to_bytes())}}));
        // One of the keys before is missing: it waits.
        registry.update_tuf_service_root(&desk, &request).await.unwrap();
        assert_eq!(answered(&registry, "2.root.json").await, None);
        refused(registry.update_tuf_service_root(&desk, &request).await, "tuf-service-pending");
        let waiting = registry.tuf_service_pending(&desk).await.unwrap();
        assert!(waiting["metadata"]["trusted_root"].is_object());
        registry
            .sign_tuf_service(&desk, &signature("root", &signer(2), pending.payload()))
            .await
            .unwrap();
        let after = refreshed(&registry, before.trusted().clone(), now).await.unwrap();
        assert_eq!(after.root().version, 2);
        assert!(lists(&registry, &first, now, "files/a").await);
        // What the old key signs from now on is nobody's word.
        let old = Envelope::<Targets>::parse("targets", &answered(&registry, "1.targets.json").await.unwrap(), &Limits::default());
        let refusal = Pending::read_targets("targets", &old.unwrap().to_bytes(), "root 2", after.root(), &TrustRoot::public_good()).unwrap_err();
        assert_eq!(refusal.fault, Fault::Unasked);
        registry.add_tuf_artifacts(&desk, &adding(&[artifact("files/b")])).await.unwrap();
        assert!(lists(&registry, &first, now, "files/b").await);
        // Days later all is renewed by the chore, the root apart.
        given.turn_clock(Duration::from_secs(20 * 86_400));
        registry.look_after_tuf().await.unwrap();
        assert!(lists(&registry, &first, given.registry_now(), "files/b").await);
    }

    async fn roles_of_people_are_delegated_to_when_they_signed(given: TestRegistry) {
        let registry = given.registry.clone();
        let now = given.registry_now();
        let (desk, _, first) = begun(&registry, now).await;
        let dave = signer(4);
        let key = Key::of(&dave).unwrap();
        let public = hex::encode(&key.spki().unwrap()[12..]);
        let role = |name: &str, ids: Value| json!({
            "name": name, "terminating": true, "threshold": 1, "keyids": ids, "paths": [format!("{name}/*")],
            "x-rstuf-expire-policy": 30,
        });
        let listed = json!({key.id(): {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": public}, "x-rstuf-key-name": "dave"}});
        let request = sent(&json!({"delegations": {
            "keys": listed, "roles": [role("team", json!([])), role("dave", json!([key.id()]))],
        }}));
        registry.delegate_tuf_service(&desk, &request, false).await.unwrap();
        refused(registry.delegate_tuf_service(&desk, &request, false).await, "tuf-service-request");
        let sign_what_waits = async || {
            let waiting = registry.tuf_service_pending(&desk).await.unwrap();
            let document = &waiting["metadata"]["dave"];
            let names = waiting["metadata"]["trusted_targets"]["signed"]["delegations"]["roles"].to_string();
            assert!(names.contains("\"dave\""));
            let read = Envelope::<Targets>::parse("dave", document.to_string().as_bytes(), &Limits::default()).unwrap();
            registry.sign_tuf_service(&desk, &signature("dave", &dave, read.payload())).await.unwrap();
        };
        sign_what_waits().await;
        let both = adding(&[artifact("team/a"), artifact("dave/a"), artifact("else/a")]);
        registry.add_tuf_artifacts(&desk, &both).await.unwrap();
        assert!(lists(&registry, &first, now, "team/a").await);
        assert!(lists(&registry, &first, now, "else/a").await);
        assert!(!lists(&registry, &first, now, "dave/a").await);
        sign_what_waits().await;
        assert!(lists(&registry, &first, now, "dave/a").await);
        let gone = |name: &str| sent(&json!({"delegations": {"roles": [{"name": name}]}}));
        refused(registry.undelegate_tuf_service(&desk, &gone("index")).await, "tuf-service-request");
        registry.undelegate_tuf_service(&desk, &gone("team")).await.unwrap();
        assert!(!lists(&registry, &first, now, "team/a").await);
        assert!(lists(&registry, &first, now, "dave/a").await);
    }
}
