//! Private projects: who sees them, and that nobody else can tell one from a project that is not there.

use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{Action, Actor, Level, Membership, Role};
use countersign_registry::{
    DeletePolicy, Deletion, DocumentKey, MapStep, Reader, Registry, reading_as,
};
use countersign_testkit::packages::{NpmPackage, Package, Wheel};
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{Change, LeafKind};

use crate::ecosystems::publish_npm;
use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;

const PYPI: Ecosystem = Ecosystem::Pypi;

/// How long another process may go on serving what was withheld, and some more for a busy machine.
const FRESH: Duration = Duration::from_millis(400);

/// A private project of ann's with one wheel.
async fn hidden(test: &TestRegistry) -> (Actor, Package) {
    let ann = test.user("ann").await;
    let wheel = Wheel::new("demo", "1.0").build();
    test.publish(&ann, &wheel).await.unwrap();
    let operator = Actor::operator();
    test.registry
        .set_private(&operator, PYPI, "demo", true)
        .await
        .unwrap();
    (ann, wheel)
}

/// What every reading verb says of `demo` to a reader, in words; addresses and digests are the wheel's.
async fn seen(registry: &Registry, wheel: &Package, reader: Option<&Actor>) -> Vec<String> {
    let told = async {
        let name = "demo";
        let (sha256, file) = (wheel.sha256(), wheel.filename.as_str());
        let purl = format!("pkg:pypi/demo@1.0?file_name={file}");
        let digest: Sha256 = sha256.parse().unwrap();
        let key = registry_key(name);
        let mut told = Vec::new();
        for document in [
            DocumentKey::Index(PYPI, name.into()),
            DocumentKey::SimpleHtml(PYPI, name.into()),
            DocumentKey::LegacyJson(name.into()),
            DocumentKey::LegacyRelease(name.into(), "1.0".into()),
        ] {
            told.push(word(registry.document(&document).await));
        }
        told.push(word(registry.file(&sha256, file).await));
        told.push(word(registry.named_file(PYPI, &key, file).await));
        told.push(word(registry.metadata(&sha256, file).await));
        told.push(word(registry.proof(&sha256, file).await));
        told.push(word(registry.completeness(PYPI, name, 0).await));
        told.push(word(registry.project(PYPI, name).await));
        told.push(word(registry.release(PYPI, name, "1.0").await));
        told.push(word(registry.events(Some((PYPI, name)), None, 10).await));
        told.push(word(registry.teams_on(PYPI, name).await));
        told.push(word(registry.project_provenance(PYPI, name).await));
        told.push(word(registry.file_provenance(&purl).await));
        told.push(word(registry.release_provenance(PYPI, name, "1.0").await));
        told.push(word(registry.release_standing(PYPI, name, "1.0").await));
        let by_digest = registry.provenance_by_digest(&[digest]).await.unwrap();
        told.push(if by_digest.is_empty() { "none" } else { "done" }.to_owned());
        for found in [
            registry.search("demo", 0, 10).await.unwrap(),
            registry.search_in(PYPI, "demo", 0, 10).await.unwrap(),
        ] {
            assert_eq!(found.total, found.items.len() as u64);
            told.push(
                if found.items.is_empty() {
                    "none"
                } else {
                    "done"
                }
                .to_owned(),
            );
        }
        let newest = registry.newest(10).await.unwrap();
        told.push(if newest.is_empty() { "none" } else { "done" }.to_owned());
        let owners = registry.owners_of(PYPI, &[name.to_owned()]).await.unwrap();
        told.push(if owners.is_empty() { "none" } else { "done" }.to_owned());
        told
    };
    match reader {
        None => told.await,
        Some(actor) => reading_as(Reader::known(actor.clone()), told).await,
    }
}

fn registry_key(name: &str) -> countersign_formats::NameKey {
    countersign_formats::format(PYPI).name_key(name).unwrap()
}

fn word<T>(answer: Result<T, countersign_registry::Error>) -> String {
    match answer {
        Ok(_) => "done".to_owned(),
        // The kit's registry keeps no map, which it says of what may be seen only.
        Err(error) if error.code == "map-pending" => "done".to_owned(),
        Err(error) => error.code.into_owned(),
    }
}

/// What is said of a project that is not there.
const ABSENT: &[&str] = &[
    "project-unknown",
    "project-unknown",
    "project-unknown",
    "project-unknown",
    "file-unknown",
    "file-unknown",
    "file-unknown",
    "file-unknown",
    "project-unknown",
    "project-unknown",
    "project-unknown",
    "project-unknown",
    "project-unknown",
    "project-unknown",
    "file-unknown",
    "release-unknown",
    "release-unknown",
    "none",
    "none",
    "none",
    "none",
    "none",
];

on_both_databases! {
    async fn a_private_project_is_there_for_those_with_a_role_on_it_and_for_nobody_else(test: TestRegistry) {
        let (ann, wheel) = hidden(&test).await;
        test.user("bob").await;
        test.user("cleo").await;
        for role in [Role::Maintainer, Role::Publisher, Role::Security] {
            let name = format!("with-{}", role.as_str());
            test.user(&name).await;
            test.registry.set_role(&Actor::operator(), PYPI, "demo", &name, Some(role)).await.unwrap();
        }
        test.settled().await;
        while test.registry.map_step().await.unwrap() != MapStep::AtRest {
            test.settled().await;
        }
        let present = vec!["done"; ABSENT.len()];
        let registry = &test.registry;
        let members = [
            ann.clone(),
            test.token("ann", Action::Read, None).await,
            test.token("ann", Action::Publish, Some("demo")).await,
            test.session("ann", Level::Password, false).await,
            test.token("with-maintainer", Action::Read, None).await,
            test.token("with-publisher", Action::Publish, None).await,
            test.token("with-security", Action::Read, None).await,
            Actor::operator(),
        ];
        for member in &members {
            assert_eq!(seen(registry, &wheel, Some(member)).await, present, "{member:?}");
        }
        let others = [
            None,
            Some(Actor::anonymous()),
            Some(test.token("bob", Action::Manage, None).await),
            Some(test.session("bob", Level::Phishproof, true).await),
            // Of an owner, but for another project.
            Some(test.token("ann", Action::Manage, Some("other")).await),
        ];
        for other in &others {
            assert_eq!(seen(registry, &wheel, other.as_ref()).await, ABSENT, "{other:?}");
        }
        // A role that is taken away takes the sight with it.
        registry.set_role(&Actor::operator(), PYPI, "demo", "with-publisher", None).await.unwrap();
        let former = test.token("with-publisher", Action::Publish, None).await;
        assert_eq!(seen(registry, &wheel, Some(&former)).await, ABSENT);
        // Nothing of all this got into the memory that everybody is served from.
        assert!(registry.cached_document(&DocumentKey::Index(PYPI, "demo".into())).is_none());
        assert!(registry.cached_file(&wheel.sha256(), &wheel.filename).is_none());
        let list = test.text(DocumentKey::SimpleIndexJson).await.unwrap();
        assert!(!list.contains("demo"), "{list}");
        test.check().await;
    }

    async fn whoever_changes_what_is_hidden_is_told_that_it_is_not_there(test: TestRegistry) {
        hidden(&test).await;
        let eve = test.user("eve").await;
        let (registry, person) = (&test.registry, test.session("eve", Level::Phishproof, true).await);
        for actor in [&eve, &person] {
            refused(registry.yank(actor, PYPI, "demo", "1.0", "").await, "project-unknown");
            refused(registry.delete(actor, PYPI, "demo", Deletion::Project).await, "project-unknown");
            refused(registry.set_private(actor, PYPI, "demo", false).await, "project-unknown");
            refused(registry.set_role(actor, PYPI, "demo", "eve", Some(Role::Owner)).await, "project-unknown");
            refused(registry.project_policy(actor, PYPI, "demo").await, "project-unknown");
            refused(registry.publishers(actor, PYPI, "demo").await, "project-unknown");
            refused(registry.set_star(actor, PYPI, "demo", true).await, "project-unknown");
        }
        // A name that looks like it is refused, and the refusal does not say which name that is.
        let error = refused(test.publish(&eve, &Wheel::new("dem0", "1.0").build()).await, "name-refused");
        assert!(!error.message.contains("demo"), "{}", error.message);
        test.check().await;
    }

    async fn hiding_and_showing_act_at_once_in_every_process_and_are_in_the_log(test: TestRegistry) {
        let ann = test.user("ann").await;
        let wheel = Wheel::new("demo", "1.0").build();
        test.publish(&ann, &wheel).await.unwrap();
        let other = test.reopened().await.unwrap();
        let beats = other.start();
        let registry = &test.registry;
        let everybody = vec!["done"; ABSENT.len()];
        assert_eq!(seen(registry, &wheel, None).await, everybody);
        assert_eq!(seen(&other, &wheel, None).await, everybody);
        test.text(DocumentKey::SimpleIndexJson).await.unwrap();
        other.document(&DocumentKey::SimpleIndexJson).await.unwrap();

        let owner = test.session("ann", Level::Phishproof, true).await;
        registry.set_private(&owner, PYPI, "demo", true).await.unwrap();
        assert_eq!(seen(registry, &wheel, None).await, ABSENT);
        let list = test.text(DocumentKey::SimpleIndexJson).await.unwrap();
        assert!(!list.contains("demo"), "{list}");
        tokio::time::sleep(FRESH).await;
        assert_eq!(seen(&other, &wheel, None).await, ABSENT);
        let list = other.document(&DocumentKey::SimpleIndexJson).await.unwrap();
        assert!(!String::from_utf8_lossy(&list.bytes).contains("demo"));
        // A member's visit does not bring it back for others.
        assert_eq!(seen(&other, &wheel, Some(&ann)).await, everybody);
        assert_eq!(seen(&other, &wheel, None).await, ABSENT);
        // Nor does a new version.
        let second = Wheel::new("demo", "2.0").build();
        test.publish(&ann, &second).await.unwrap();
        assert_eq!(seen(registry, &wheel, None).await, ABSENT);
        refused(registry.file(&second.sha256(), &second.filename).await, "file-unknown");

        registry.set_private(&owner, PYPI, "demo", false).await.unwrap();
        assert_eq!(seen(registry, &wheel, None).await, everybody);
        tokio::time::sleep(FRESH).await;
        assert_eq!(seen(&other, &wheel, None).await, everybody);
        beats.stop().await;
        let leaves = test.check().await;
        let changes: Vec<_> = leaves
            .iter()
            .filter(|leaf| leaf.kind == LeafKind::VisibilityChanged)
            .map(|leaf| (leaf.subject.as_deref(), leaf.change))
            .collect();
        let project = Some("pkg:pypi/demo");
        assert_eq!(changes, [(project, Some(Change::Added)), (project, Some(Change::Removed))]);
    }

    async fn owners_hide_only_what_they_could_still_delete(test: TestRegistry) {
        test.user("ann").await;
        let token = test.token("ann", Action::Manage, None).await;
        test.publish(&token, &Wheel::new("demo", "1.0").build()).await.unwrap();
        let registry = &test.registry;
        // A token that manages may, as with the project's other rules; one that publishes may not.
        registry.set_private(&token, PYPI, "demo", true).await.unwrap();
        registry.set_private(&token, PYPI, "demo", false).await.unwrap();
        let publishes = test.token("ann", Action::Publish, None).await;
        refused(registry.set_private(&publishes, PYPI, "demo", true).await, "token-action");
        test.turn_clock(Duration::from_secs(73 * 3_600));
        let owner = test.session("ann", Level::Phishproof, true).await;
        refused(registry.set_private(&owner, PYPI, "demo", true).await, "visibility-too-late");
        let closed = test.reopened_where(test.blobs(), |settings| settings.delete = DeletePolicy::Never).await.unwrap();
        refused(closed.set_private(&owner, PYPI, "demo", true).await, "deletion-closed");
        registry.set_private(&Actor::operator(), PYPI, "demo", true).await.unwrap();
        // Showing is always the owners' to decide.
        registry.set_private(&owner, PYPI, "demo", false).await.unwrap();
        registry.project(PYPI, "demo").await.unwrap();
        test.check().await;
    }

    async fn an_organisations_members_see_what_their_roles_reach(test: TestRegistry) {
        test.organisation("acme", &[("olga", Membership::Owner), ("mia", Membership::Manager), ("max", Membership::Member)]).await;
        test.project_of("acme", "olga", "demo").await;
        let registry = &test.registry;
        registry.set_private(&Actor::operator(), PYPI, "demo", true).await.unwrap();
        let listed = |user: &'static str| {
            let test = &test;
            async move {
                let actor = test.session(user, Level::Phishproof, true).await;
                let reading = async {
                    let shown = test.registry.organisation(&actor, "acme").await.unwrap().projects.len();
                    (test.registry.project(PYPI, "demo").await.is_ok(), shown)
                };
                reading_as(Reader::known(actor.clone()), reading).await
            }
        };
        assert_eq!(listed("olga").await, (true, 1));
        assert_eq!(listed("mia").await, (false, 0));
        let olga = test.session("olga", Level::Phishproof, true).await;
        registry.create_team(&olga, "acme", "readers").await.unwrap();
        registry.set_team_member(&olga, "acme", "readers", "max", true).await.unwrap();
        assert_eq!(listed("max").await, (false, 0));
        registry.set_team_role(&olga, PYPI, "demo", "readers", Some(Role::Security)).await.unwrap();
        assert_eq!(listed("max").await, (true, 1));
        assert_eq!(listed("mia").await, (false, 0));
        test.check().await;
    }

    async fn npm_founds_private_packages_and_hides_no_public_ones(test: TestRegistry) {
        let ann = test.user("ann").await;
        let registry = &test.registry;
        let request = |name: &str, version: &str, access: &str| {
            let mut request = NpmPackage::new(name, version).request("latest");
            request["access"] = access.into();
            request
        };
        publish_npm(registry, &ann, &request("@ann/inner", "1.0.0", "restricted")).await.unwrap();
        refused(registry.project(Ecosystem::Npm, "@ann/inner").await, "project-unknown");
        // Clients say `public` wherever nothing else was said: that shows nothing.
        publish_npm(registry, &ann, &request("@ann/inner", "1.1.0", "public")).await.unwrap();
        let inner = registry.project(Ecosystem::Npm, "@ann/inner");
        let inner = reading_as(Reader::known(ann.clone()), inner).await.unwrap();
        assert!(inner.private && inner.releases.len() == 2);
        publish_npm(registry, &ann, &request("open", "1.0.0", "public")).await.unwrap();
        refused(publish_npm(registry, &ann, &request("open", "1.1.0", "restricted")).await, "visibility-differs");
        assert!(!registry.project(Ecosystem::Npm, "open").await.unwrap().private);
    }
}
