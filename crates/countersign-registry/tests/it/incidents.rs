//! Incidents: what somebody touched, what is stopped, ending many credentials, taking back, and the record.

use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{Action, Actor, Level, Membership, Portion, Role, Time};
use countersign_registry::{
    IncidentChange, NewIncident, Rewind, StepState, Subject, Trace, Window,
};
use countersign_testkit::packages::{Package, Wheel};
use countersign_trust::note::VerifierKey;
use countersign_trust::proof::TlogProof;

use crate::kit::{TestRegistry, refused};
use crate::on_both_databases;
use crate::trusted;

const PYPI: Ecosystem = Ecosystem::Pypi;

fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

async fn published(test: &TestRegistry, actor: &Actor, name: &str, version: &str) -> Package {
    let wheel = Wheel::new(name, version).build();
    test.publish(actor, &wheel).await.unwrap();
    wheel
}

/// Everything since 1970.
const EVER: Window = Window {
    since: Time(0),
    until: None,
};

impl TestRegistry {
    async fn traced(&self, of: &str) -> Trace {
        let operator = Actor::operator();
        self.registry
            .trace(&operator, &subject(of), EVER)
            .await
            .unwrap()
    }

    async fn rewound(&self, of: &str, since: Time, apply: bool) -> Rewind {
        let window = Window { since, until: None };
        self.registry
            .rewind(
                &Actor::operator(),
                &subject(of),
                window,
                "a stolen account",
                apply,
            )
            .await
            .unwrap()
    }

    fn moment(&self) -> Time {
        Time(self.registry_now() * 1_000_000)
    }
}

/// What a step comes to: the beginning of its words, and its state.
fn states(rewind: &Rewind) -> Vec<(String, StepState)> {
    let steps = rewind.steps.iter();
    steps.map(|step| (step.what.clone(), step.state)).collect()
}

fn state_of(rewind: &Rewind, words: &str) -> StepState {
    let found = rewind.steps.iter().find(|step| step.what.contains(words));
    found
        .unwrap_or_else(|| panic!("no step {words:?} in {rewind:#?}"))
        .state
}

on_both_databases! {
    async fn a_trace_tells_who_did_what_by_which_credential(test: TestRegistry) {
        let first = test.user("ann").await;
        let second = test.token("ann", Action::Manage, None).await;
        let bob = test.user("bob").await;
        let one = published(&test, &first, "demo", "1.0").await;
        let two = published(&test, &second, "demo", "2.0").await;
        published(&test, &bob, "other", "1.0").await;
        test.settled().await;
        let registry = &test.registry;
        let by_token = test.traced(&format!("token:{}", second.credential.clone().unwrap())).await;
        let files: Vec<_> = by_token.events.iter().map(|one| (one.kind.as_str(), one.sha256.clone())).collect();
        assert_eq!(files, [("file-published", Some(two.sha256()))]);
        let touched = &by_token.events[0];
        assert_eq!(touched.file.as_deref(), Some(two.filename.as_str()));
        assert_eq!((touched.actor.as_deref(), touched.by.as_str()), (Some("ann"), "account"));
        // The log index leads to the leaf of that very event.
        let (shard, index) = touched.leaf.unwrap();
        let proof = TlogProof::parse(&registry.leaf_proof(shard, index).await.unwrap().bytes).unwrap();
        assert!(String::from_utf8(proof.extra.unwrap()).unwrap().contains(&two.sha256()));
        let by_user = test.traced("user:ann").await;
        let digests: Vec<_> = by_user.events.iter().filter_map(|one| one.sha256.clone()).collect();
        assert_eq!(digests, [one.sha256(), two.sha256()]);
        assert_eq!(by_user.projects, ["pypi:demo"]);
        let on_project = test.traced("project:pypi:other").await;
        assert!(on_project.events.iter().all(|one| one.project.as_deref() == Some("pypi:other")));
        assert!(on_project.events.iter().any(|one| one.kind == "owner-changed" && one.account.as_deref() == Some("bob")));
        // A time leaves out what was before.
        test.turn_clock(Duration::from_secs(60));
        let later = Window { since: test.moment(), until: None };
        assert!(registry.trace(&Actor::operator(), &subject("user:ann"), later).await.unwrap().events.is_empty());
        refused(registry.trace(&first, &subject("user:bob"), EVER).await, "operator-needed");
        refused(registry.trace(&Actor::operator(), &subject("user:nobody"), EVER).await, "user-unknown");
        refused(registry.trace(&Actor::operator(), &subject("token:none"), EVER).await, "subject-unknown");
        refused(registry.trace(&Actor::operator(), &subject("publisher:none"), EVER).await, "subject-unknown");
        refused(registry.trace(&Actor::operator(), &subject("registry"), EVER).await, "subject-unfit");
        test.check().await;
    }

    async fn what_a_workflow_did_is_found_and_taken_back(test: TestRegistry) {
        let sample = trusted::sample(&test, &[]).await;
        let (since, url) = (test.moment(), sample.issuer.url());
        let (robot, _) = trusted::minted(&test.registry, &sample.issuer, &trusted::release()).await.unwrap();
        test.publish(&robot, &trusted::wheel("sample", "9.0")).await.unwrap();
        for of in ["workflow:octo/sample".to_owned(), format!("issuer:{url}"), format!("publisher:{}", sample.publisher.id)] {
            let trace = test.traced(&of).await;
            assert!(trace.events.iter().any(|one| one.kind == "file-published" && one.by == "workflow"), "{of}: {trace:#?}");
            assert!(trace.events.iter().all(|one| one.by == "workflow"), "{of}: {trace:#?}");
        }
        let leaked = subject(&format!("issuer:{url}"));
        let told = test.registry.revoke_all(&Actor::operator(), &leaked, EVER, "its keys leaked", true).await.unwrap();
        assert_eq!((told.workflow_tokens, told.tokens), (1, 0));
        assert!(test.publish(&robot, &trusted::wheel("sample", "9.1")).await.is_err());
        let done = test.rewound("workflow:octo/sample", since, true).await;
        assert_eq!(state_of(&done, "9.0: withhold"), StepState::Done);
        // What its people did goes on as it was.
        assert!(test.index("sample").await.unwrap().contains("sample-0.1"));
        test.check().await;
    }

    async fn what_is_frozen_is_refused_in_the_operators_words_until_it_is_free(given: TestRegistry) {
        let mut test = given;
        let (ann, bob, operator) = (test.user("ann").await, test.user("bob").await, Actor::operator());
        published(&test, &ann, "demo", "1.0").await;
        published(&test, &bob, "other", "1.0").await;
        let freeze = subject("project:pypi:demo");
        refused(test.registry.freeze(&ann, &freeze, "no").await, "operator-needed");
        refused(test.registry.freeze(&operator, &freeze, " ").await, "text-length");
        refused(test.registry.freeze(&operator, &subject("project:pypi:none"), "no").await, "subject-unknown");
        refused(test.registry.freeze(&operator, &subject("session:x"), "no").await, "subject-unfit");
        assert!(test.registry.freeze(&operator, &freeze, "We look at it").await.unwrap());
        assert!(!test.registry.freeze(&operator, &freeze, "We look at it").await.unwrap());
        let next = Wheel::new("demo", "2.0").build();
        let said = refused(test.publish(&ann, &next).await, "project-frozen");
        assert!(said.message.contains("We look at it") && said.kind == countersign_registry::Kind::Denied, "{said}");
        refused(test.registry.yank(&ann, PYPI, "demo", "1.0", "").await, "project-frozen");
        // To withhold is never stopped, nor is the operator; what is published is served, and others go on.
        test.registry.withhold(&ann, PYPI, "demo", Portion::Release("1.0"), countersign_registry::model::Order::because("odd")).await.unwrap();
        test.registry.yank(&operator, PYPI, "demo", "1.0", "").await.unwrap();
        published(&test, &bob, "other", "2.0").await;
        // The whole registry, over a restart.
        assert!(test.registry.freeze(&operator, &subject("registry"), "An incident, see /incidents").await.unwrap());
        test.restart().await;
        let more = Wheel::new("other", "3.0").build();
        let said = refused(test.publish(&bob, &more).await, "registry-frozen");
        assert!(said.message.contains("An incident, see /incidents"), "{said}");
        refused(test.publish(&bob, &Wheel::new("brand-new", "1.0").build()).await, "registry-frozen");
        assert!(test.index("other").await.unwrap().contains("other-2.0"));
        assert!(test.registry.standstill().await.unwrap().is_some());
        assert_eq!(test.registry.frozen(&operator).await.unwrap().len(), 2);
        assert!(test.registry.unfreeze(&operator, &subject("registry")).await.unwrap());
        assert!(!test.registry.unfreeze(&operator, &subject("registry")).await.unwrap());
        test.publish(&bob, &more).await.unwrap();
        refused(test.publish(&ann, &next).await, "project-frozen");
        test.registry.unfreeze(&operator, &freeze).await.unwrap();
        test.publish(&ann, &next).await.unwrap();
        // A user: sessions end and tokens sleep, and wake again.
        test.registry.freeze(&operator, &subject("user:bob"), "phished").await.unwrap();
        assert!(test.publish(&bob, &Wheel::new("other", "4.0").build()).await.is_err());
        test.registry.unfreeze(&operator, &subject("user:bob")).await.unwrap();
        published(&test, &bob, "other", "4.0").await;
        test.check().await;
    }

    async fn a_frozen_organisation_stops_its_projects_and_its_people(test: TestRegistry) {
        test.user("ann").await;
        test.give_passkey("ann").await;
        let ann = test.session("ann", Level::Phishproof, true).await;
        let operator = Actor::operator();
        test.registry.create_organisation(&ann, "acme", "Acme", None).await.unwrap();
        test.registry.reserve_namespace(&operator, PYPI, "acme", Some("acme")).await.unwrap();
        let token = test.token("ann", Action::Manage, None).await;
        published(&test, &token, "acme-one", "1.0").await;
        test.registry.freeze(&operator, &subject("organisation:acme"), "Its CI was broken into").await.unwrap();
        for name in ["acme-one", "acme-two"] {
            let said = refused(test.publish(&token, &Wheel::new(name, "2.0").build()).await, "organisation-frozen");
            assert!(said.message.contains("Its CI was broken into"), "{said}");
        }
        refused(test.registry.create_team(&ann, "acme", "core").await, "organisation-frozen");
        test.registry.organisation(&ann, "acme").await.unwrap();
        test.registry.unfreeze(&operator, &subject("organisation:acme")).await.unwrap();
        published(&test, &token, "acme-one", "2.0").await;
        test.check().await;
    }

    async fn many_credentials_end_at_once_and_each_person_is_told_once(test: TestRegistry) {
        let (ann, bob, operator) = (test.user("ann").await, test.user("bob").await, Actor::operator());
        published(&test, &ann, "demo", "1.0").await;
        test.registry.set_role(&operator, PYPI, "demo", "bob", Some(Role::Publisher)).await.unwrap();
        test.token("ann", Action::Publish, Some("elsewhere")).await;
        test.turn_clock(Duration::from_secs(3_600));
        let late = test.token("ann", Action::Publish, None).await;
        test.session("ann", Level::Password, false).await;
        let count = |of: &str, made: Window, apply: bool| {
            let (registry, of, operator) = (test.registry.clone(), subject(of), Actor::operator());
            async move { registry.revoke_all(&operator, &of, made, "phished", apply).await.unwrap() }
        };
        refused(test.registry.revoke_all(&ann, &subject("user:bob"), EVER, "x", true).await, "operator-needed");
        let counted = count("user:ann", EVER, false).await;
        assert_eq!((counted.tokens, counted.sessions, counted.applied), (3, 1, false));
        assert_eq!(count("registry", EVER, false).await.people, ["ann", "bob"]);
        // Those that are good for the project; the one for another project is not.
        assert_eq!(count("project:pypi:demo", EVER, false).await.tokens, 3);
        let window = Window { since: Time(test.moment().0 - 60_000_000), until: None };
        assert_eq!(count("user:ann", window, false).await.tokens, 1);
        published(&test, &late, "demo", "1.1").await;
        // Done: the late ones end, the earlier one goes on.
        assert_eq!(count("user:ann", window, true).await.tokens, 1);
        assert!(test.publish(&late, &Wheel::new("demo", "1.2").build()).await.is_err());
        assert_eq!(test.count("SELECT count(*) AS n FROM sessions WHERE ended_at IS NULL").await, 0);
        published(&test, &ann, "demo", "1.2").await;
        let told = count("project:pypi:demo", EVER, true).await;
        assert_eq!((told.tokens, told.people), (2, vec!["ann".to_owned(), "bob".to_owned()]));
        assert_eq!(count("project:pypi:demo", EVER, true).await.tokens, 0, "once is enough");
        for dead in [&ann, &bob] {
            assert!(test.publish(dead, &Wheel::new("demo", "2.0").build()).await.is_err());
        }
        assert_eq!(count("user:ann", EVER, false).await.tokens, 1, "the one for another project is left");
        let told = test.count("SELECT count(*) AS n FROM account_notices WHERE kind = 'credentials-ended'").await;
        assert_eq!(told, 3, "ann twice, for two rounds, and bob once");
        test.check().await;
    }

    async fn what_a_thief_did_is_listed_taken_back_and_can_be_run_again(test: TestRegistry) {
        let (ann, operator) = (test.user("ann").await, Actor::operator());
        for user in ["bob", "mallory"] {
            test.user(user).await;
        }
        let registry = &test.registry;
        for version in ["1.0", "1.1", "1.2"] {
            published(&test, &ann, "demo", version).await;
        }
        registry.yank(&ann, PYPI, "demo", "1.1", "broken").await.unwrap();
        registry.set_role(&operator, PYPI, "demo", "bob", Some(Role::Owner)).await.unwrap();
        test.turn_clock(Duration::from_secs(3_600));
        let since = test.moment();
        // The thief: a bad release, the good ones yanked, a bad one taken back, people exchanged.
        let thief = test.session("ann", Level::Phishproof, true).await;
        let token = test.token("ann", Action::Manage, None).await;
        published(&test, &token, "demo", "6.6").await;
        registry.yank(&token, PYPI, "demo", "1.0", "").await.unwrap();
        registry.yank(&token, PYPI, "demo", "1.2", "").await.unwrap();
        registry.unyank(&token, PYPI, "demo", "1.1").await.unwrap();
        registry.set_role(&thief, PYPI, "demo", "mallory", Some(Role::Owner)).await.unwrap();
        registry.set_role(&thief, PYPI, "demo", "bob", None).await.unwrap();
        published(&test, &token, "thiefs-own", "1.0").await;
        test.settled().await;
        refused(registry.rewind(&ann, &subject("user:ann"), EVER, "x", true).await, "operator-needed");
        refused(registry.rewind(&operator, &subject("project:pypi:demo"), EVER, "x", true).await, "subject-unfit");
        let plan = test.rewound("user:ann", since, false).await;
        for (words, state) in [
            ("published pypi:demo 6.6: withhold", StepState::Planned),
            ("yanked pypi:demo 1.0: take it back", StepState::Planned),
            ("yanked pypi:demo 1.2: take it back", StepState::Planned),
            ("took back the yank of pypi:demo 1.1: yank it again", StepState::Planned),
            ("mallory on pypi:demo: no role again", StepState::Planned),
            ("bob on pypi:demo: owner again", StepState::Planned),
            ("published pypi:thiefs-own 1.0: withhold", StepState::Planned),
            ("roles of ann on pypi:thiefs-own", StepState::ByHand),
        ] {
            assert_eq!(state_of(&plan, words), state, "{words}");
        }
        assert_eq!(plan.steps.len(), 8, "{:#?}", states(&plan));
        assert!(test.index("demo").await.unwrap().contains("demo-6.6"), "a plan changes nothing");
        // It broke off after a part was done: that part is not done twice.
        registry.unyank(&operator, PYPI, "demo", "1.0").await.unwrap();
        let done = test.rewound("user:ann", since, true).await;
        assert_eq!(state_of(&done, "yanked pypi:demo 1.0"), StepState::Already);
        assert_eq!((done.count(StepState::Done), done.count(StepState::Refused)), (6, 0), "{done:#?}");
        let yanked = async |version: &str| registry.release(PYPI, "demo", version).await.unwrap().release.yanked.is_some();
        assert!(!yanked("1.0").await && !yanked("1.2").await && yanked("1.1").await);
        let index = test.index("demo").await.unwrap();
        assert!(!index.contains("demo-6.6") && index.contains("demo-1.2"), "{index}");
        let mut owners = registry.owners_of(PYPI, &["demo".to_owned()]).await.unwrap().remove("demo").unwrap();
        owners.sort();
        assert_eq!(owners, ["ann", "bob"]);
        let again = test.rewound("user:ann", since, true).await;
        assert_eq!((again.count(StepState::Done), again.count(StepState::Already)), (0, 7), "{again:#?}");
        test.check().await;
    }

    async fn publishers_and_members_that_a_thief_removed_are_put_back(test: TestRegistry) {
        let sample = trusted::sample(&test, &[]).await;
        let (registry, operator) = (&test.registry, Actor::operator());
        let id = sample.publisher.id.clone();
        for user in ["bob", "cleo", "dora", "ed"] {
            test.user(user).await;
        }
        test.give_passkey("ada").await;
        let ada = test.session("ada", Level::Phishproof, true).await;
        registry.create_organisation(&ada, "acme", "Acme", None).await.unwrap();
        let people = [
            ("bob", Membership::Manager),
            ("cleo", Membership::Member),
            ("dora", Membership::Manager),
            ("ed", Membership::Manager),
        ];
        for (user, standing) in people {
            let (secret, _) = registry.invite(&ada, "acme", user, standing).await.unwrap();
            let invited = test.session(user, Level::TwoFactor, true).await;
            registry.accept_invitation(&invited, &secret).await.unwrap();
        }
        registry.create_team(&ada, "acme", "core").await.unwrap();
        for user in ["bob", "ed"] {
            registry.set_team_member(&ada, "acme", "core", user, true).await.unwrap();
        }
        let (robot, _) = trusted::minted(registry, &sample.issuer, &trusted::release()).await.unwrap();
        test.turn_clock(Duration::from_secs(3_600));
        let since = test.moment();
        // The thief makes the trusted workflow and the people go, ed in two steps; cleo leaves at the same time, and dora whom the
        // thief made less.
        let thief = test.session("ada", Level::Phishproof, true).await;
        registry.remove_publisher(&thief, PYPI, "sample", &id).await.unwrap();
        registry.set_standing(&thief, "acme", "bob", None).await.unwrap();
        let cleo = test.session("cleo", Level::TwoFactor, true).await;
        registry.set_standing(&cleo, "acme", "cleo", None).await.unwrap();
        for user in ["dora", "ed"] {
            registry.set_standing(&thief, "acme", user, Some(Membership::Member)).await.unwrap();
        }
        registry.set_standing(&thief, "acme", "ed", None).await.unwrap();
        let dora = test.session("dora", Level::TwoFactor, true).await;
        registry.set_standing(&dora, "acme", "dora", None).await.unwrap();
        refused(registry.restore_publisher(&thief, PYPI, "sample", &id).await, "operator-needed");
        refused(registry.restore_member(&thief, "acme", "bob", Membership::Owner, &[]).await, "operator-needed");
        let plan = test.rewound("user:ada", since, false).await;
        for words in ["octo/sample", "removed bob from acme: manager again", "removed ed from acme: manager again"] {
            assert_eq!(state_of(&plan, words), StepState::Planned, "{words}");
        }
        assert_eq!(state_of(&plan, "dora in acme"), StepState::ByHand, "she left herself");
        assert!(trusted::minted(registry, &sample.issuer, &trusted::later(&test, trusted::release())).await.is_err(), "a plan changes nothing");
        let done = test.rewound("user:ada", since, true).await;
        assert_eq!((done.count(StepState::Done), done.count(StepState::Refused)), (3, 0), "{done:#?}");
        // As it was, with the team; the workflow publishes again, with a token of today.
        let acme = registry.organisation(&ada, "acme").await.unwrap();
        assert_eq!(acme.teams[0].members, ["bob", "ed"]);
        assert!(acme.members.iter().all(|member| member.user != "dora"));
        let bob = acme.members.iter().find(|member| member.user == "bob").unwrap();
        assert_eq!(bob.standing, Membership::Manager);
        assert!(test.publish(&robot, &trusted::wheel("sample", "0.9")).await.is_err());
        let (robot, _) = trusted::minted(registry, &sample.issuer, &trusted::later(&test, trusted::release())).await.unwrap();
        test.publish(&robot, &trusted::wheel("sample", "1.0")).await.unwrap();
        let again = test.rewound("user:ada", since, true).await;
        assert_eq!((again.count(StepState::Done), again.count(StepState::Already)), (0, 3), "{again:#?}");
        // Who left is not put back by anybody, and nobody is twice.
        let own = test.rewound("user:cleo", since, true).await;
        assert_eq!(state_of(&own, "cleo in acme"), StepState::ByHand);
        refused(registry.restore_publisher(&operator, PYPI, "sample", &id).await, "publisher-exists");
        refused(registry.restore_publisher(&operator, PYPI, "sample", "none").await, "publisher-unknown");
        // What somebody else removed since is not put back by running it again.
        registry.remove_publisher(&operator, PYPI, "sample", &id).await.unwrap();
        registry.set_standing(&operator, "acme", "bob", None).await.unwrap();
        let later = test.rewound("user:ada", since, true).await;
        assert_eq!(later.count(StepState::Done), 0, "{later:#?}");
        for words in ["octo/sample", "bob in acme"] {
            assert_eq!(state_of(&later, words), StepState::ByHand, "{words}");
        }
        test.check().await;
    }

    async fn an_incident_is_a_record_that_everybody_reads_once_it_is_public(test: TestRegistry) {
        let (ann, operator, nobody) = (test.user("ann").await, Actor::operator(), Actor::anonymous());
        published(&test, &ann, "demo", "1.0").await;
        published(&test, &ann, "demo-two", "1.0").await;
        published(&test, &ann, "secret", "1.0").await;
        let registry = &test.registry;
        registry.set_private(&operator, PYPI, "secret", true).await.unwrap();
        let new = NewIncident {
            title: "demo 1.0 sends the environment away".to_owned(),
            about: vec!["pkg:pypi/demo".to_owned(), "pkg:pypi/secret".to_owned()],
            began: Some(Time(test.moment().0 - 3_600_000_000)),
            ..NewIncident::default()
        };
        refused(registry.open_incident(&ann, &new).await, "operator-needed");
        let wrong = |change: fn(&mut NewIncident)| { let mut wrong = new.clone(); change(&mut wrong); wrong };
        refused(registry.open_incident(&operator, &wrong(|new| new.title.clear())).await, "text-length");
        refused(registry.open_incident(&operator, &wrong(|new| new.about = vec!["demo".into()])).await, "purl-invalid");
        refused(registry.open_incident(&operator, &wrong(|new| new.about = vec!["pkg:pypi/none".into()])).await, "project-unknown");
        refused(registry.open_incident(&operator, &wrong(|new| new.began = Some(Time(i64::MAX / 2)))).await, "incident-began");
        let id = registry.open_incident(&operator, &new).await.unwrap();
        assert!(id.ends_with("-1"), "{id}");
        refused(registry.incident(&nobody, &id).await, "incident-unknown");
        assert!(registry.incidents(&nobody).await.unwrap().is_empty());
        registry.quarantine(&operator, PYPI, "demo", None, "malware").await.unwrap();
        let change = |text: &str, public, close| IncidentChange { text: text.to_owned(), about: Vec::new(), public, close };
        registry.update_incident(&operator, &id, &change("We withheld it.", true, false)).await.unwrap();
        refused(registry.update_incident(&operator, "1999-1", &change("x", true, false)).await, "incident-unknown");
        registry.update_incident(&operator, &id, &change("It is over.", false, true)).await.unwrap();
        test.turn_clock(Duration::from_secs(10));
        registry.release_quarantine(&operator, PYPI, "demo", None).await.unwrap();
        test.settled().await;
        let seen = registry.incident(&nobody, &id).await.unwrap();
        assert_eq!(seen.about, ["pkg:pypi/demo"], "what is private is not told");
        let told: Vec<&str> = seen.timeline.iter().map(|moment| moment.kind.as_str()).collect();
        assert_eq!(told, ["owner-changed", "file-published", "quarantined", "update", "update"], "{:#?}", seen.timeline);
        assert!(seen.head.closed.is_some());
        assert_eq!(registry.incidents(&nobody).await.unwrap().len(), 1);
        // The export names who acted, also on what is private, and each leaf is proved to a stranger.
        refused(registry.incident_evidence(&ann, &id).await, "operator-needed");
        let evidence = registry.incident_evidence(&operator, &id).await.unwrap();
        let keys: Vec<VerifierKey> = evidence.keys.iter().map(|key| key.parse().unwrap()).collect();
        let mut proved = 0;
        for one in &evidence.events {
            let Some(proof) = &one.proof else { continue };
            let proof = TlogProof::parse(proof.as_bytes()).unwrap();
            let body = proof.extra.clone().unwrap();
            proof.verify(&body, &keys, &evidence.origin).unwrap();
            assert!(String::from_utf8(body).unwrap().contains(&one.event.purl));
            proved += 1;
        }
        assert!(proved >= 6, "{proved}");
        assert!(evidence.events.iter().any(|one| one.event.purl == "pkg:pypi/secret"));
        assert!(evidence.events.iter().any(|one| one.event.actor.as_deref() == Some("ann")));
        test.check().await;
    }
}
