//! Incidents, as clients and readers meet them: a freeze in each dialect's own words, the public pages, the feed, the API.

use countersign_registry::model::Actor;
use countersign_registry::{IncidentChange, NewIncident, Subject};
use countersign_testkit::packages::{Crate, NpmPackage, Wheel};
use http::Method;
use serde_json::json;

use crate::house::house;

#[tokio::test]
async fn a_frozen_registry_tells_each_client_why_in_its_own_form() {
    let house = house().await;
    house
        .upload(&Wheel::new("sample", "1.0").build())
        .await
        .expect(200);
    let operator = Actor::operator();
    let why = "A worm is spreading; publishing is stopped";
    house
        .registry
        .freeze(&operator, &Subject::Registry, why)
        .await
        .unwrap();
    let refused = house
        .upload(&Wheel::new("sample", "2.0").build())
        .await
        .expect(403);
    let sentence = format!("{why}.");
    assert!(refused.text().contains(&sentence), "{}", refused.text());
    let bearer = format!("Bearer {}", house.token);
    let headers = [("authorization", house.token.as_str())];
    let new = Method::PUT;
    let refused = house
        .ask(
            new.clone(),
            "/cargo/api/v1/crates/new",
            &headers,
            Crate::new("sample", "1.0.0").body(),
        )
        .await
        .expect(403);
    let told = refused.json()["errors"][0]["detail"].to_string();
    assert!(told.contains(why), "{told}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    let request = NpmPackage::new("sample", "1.0.0").request("latest");
    let refused = house
        .ask(new, "/npm/sample", &headers, request.to_string())
        .await
        .expect(403);
    assert!(
        refused.json()["error"].to_string().contains(why),
        "{}",
        refused.text()
    );
    // What is published is served as before, and everybody may know why nothing new comes.
    assert!(
        house
            .get("/pypi/simple/sample/")
            .await
            .text()
            .contains("sample-1.0")
    );
    let page = house.get("/incidents").await.expect(200);
    assert!(page.text().contains(why), "{}", page.text());
    let told = house.get("/api/v1/incidents").await.expect(200).json();
    assert_eq!(told["standstill"]["reason"], why);
    let health = house.get("/healthz").await.expect(200).json();
    assert_eq!(health["frozen"]["registry"]["reason"], why);
    assert_eq!(health["ok"], true, "it serves as before");
    house
        .registry
        .unfreeze(&operator, &Subject::Registry)
        .await
        .unwrap();
    house
        .upload(&Wheel::new("sample", "2.0").build())
        .await
        .expect(200);
}

#[tokio::test]
async fn an_incident_is_seen_once_it_is_public_and_its_words_are_no_markup() {
    let house = house().await;
    house
        .upload(&Wheel::new("sample", "1.0").build())
        .await
        .expect(200);
    let operator = Actor::operator();
    let new = NewIncident {
        title: "sample 1.0 <script>alert(1)</script>".to_owned(),
        summary: "It was **not** theirs. <img src=x onerror=alert(1)>".to_owned(),
        about: vec!["pkg:pypi/sample@1.0".to_owned()],
        ..NewIncident::default()
    };
    let id = house.registry.open_incident(&operator, &new).await.unwrap();
    let address = format!("/incidents/{id}");
    house.get(&address).await.expect(404);
    house.get(&format!("/api/v1{address}")).await.expect(404);
    house.get("/incidents/none").await.expect(404);
    let change = IncidentChange {
        text: "We look at it.".to_owned(),
        public: true,
        ..IncidentChange::default()
    };
    let registry = &house.registry;
    registry
        .update_incident(&operator, &id, &change)
        .await
        .unwrap();
    let project = "project:pypi:sample".parse().unwrap();
    registry.freeze(&operator, &project, "odd").await.unwrap();
    let health = house.get("/healthz").await.expect(200);
    let told = health.json();
    assert_eq!(
        (
            &told["frozen"]["registry"],
            &told["frozen"]["projects"],
            &told["incidents_open"]
        ),
        (&json!(null), &json!(1), &json!(1))
    );
    assert!(!health.text().contains("sample") && !health.text().contains("odd"));
    let page = house.get(&address).await.expect(200);
    let text = page.text();
    assert!(text.contains("We look at it.") && text.contains("<strong>not</strong>"));
    assert!(
        !text.contains("<script") && !text.contains("<img"),
        "{text}"
    );
    let seen = house.get(&format!("/api/v1{address}")).await.expect(200);
    assert_eq!(seen.json()["about"][0], "pkg:pypi/sample@1.0");
    let feed = house.get("/incidents/feed.atom").await.expect(200);
    assert!(
        feed.header("content-type")
            .starts_with("application/atom+xml")
    );
    assert!(feed.text().contains(&address) && !feed.text().contains("<script"));
    // What operators do is for them alone.
    for path in ["trace?subject=user:alice", "freezes"] {
        let bearer = format!("Bearer {}", house.token);
        let headers = [("authorization", bearer.as_str())];
        let path = format!("/api/v1/operator/{path}");
        house.get_with(&path, &headers).await.expect(403);
        house.get(&path).await.expect(401);
    }
}
