//! What is not served because of an advisory, or withheld, as readers and operators meet it.

use std::time::Duration;

use countersign_formats::Ecosystem;
use countersign_registry::model::{Actor, Order, Portion};
use countersign_registry::{AdvisoryBlock, NewAdvisory};
use http::Method;
use serde_json::json;

use crate::house::house_with;

const PAGE: &str = "/project/pypi/sample/0.1/";

#[tokio::test]
async fn a_release_says_why_it_is_not_served_until_an_operator_exempts_it() {
    let house = house_with(|settings, _| {
        settings.advisories.block = AdvisoryBlock::Malware;
        settings.advisories.keep_downloaders = Some(Duration::from_secs(86_400));
    })
    .await;
    let (_, file) = house.published("sample", "0.1").await;
    let (chief, kate) = (
        house.person("chief", true).await,
        house.person("kate", false).await,
    );
    let good = house.get(PAGE).await.expect(200);
    assert!(good.text().contains("id=\"install\"") && !good.text().contains("Not served here"));
    let new = NewAdvisory {
        ecosystem: Ecosystem::Pypi,
        project: "sample".to_owned(),
        versions: vec!["0.1".to_owned()],
        summary: "It reads <b>keys</b>".to_owned(),
        details: String::new(),
        malware: true,
    };
    let operator = Actor::operator();
    let id = house
        .registry
        .issue_advisory(&operator, &new)
        .await
        .unwrap();
    for page in [PAGE, "/project/pypi/sample/"] {
        let told = house.get(page).await.expect(200);
        let said = format!("<a href=\"/api/v1/advisories/{id}\">{id}</a>");
        let text = told.text();
        assert!(
            text.contains("Not served here.") && text.contains(&said),
            "{text}"
        );
        assert!(!text.contains("<b>keys") && !text.contains(&format!("href=\"{file}\"")));
    }
    house.get(&file).await.expect(403);
    // By the interface: who may, and what is wrong with what was sent.
    let at = "/api/v1/operator/advisories/exemptions";
    let body = |until: &str| {
        json!({"purl": "pkg:pypi/sample@0.1", "advisory": id, "reason": "We <i>mended</i> it", "until": until}).to_string()
    };
    let send = async |person, body: &str| house.in_person(person, Method::POST, at, body).await;
    send(&kate, &body("2999-01-01T00:00:00Z")).await.expect(403);
    let over = send(&chief, &body("2001-01-01T00:00:00Z"))
        .await
        .expect(400);
    assert_eq!(over.json()["code"], "exemption-until");
    send(&chief, &body("soon")).await.expect(400);
    let made = send(&chief, &body("2999-01-01T00:00:00Z"))
        .await
        .expect(201);
    let made = made.json()["id"].as_str().unwrap().to_owned();
    house.get(&file).await.expect(200);
    let told = house.get(PAGE).await.expect(200);
    let text = told.text();
    assert!(text.contains("Served all the same.") && text.contains("We &#60;i&#62;mended"));
    assert!(text.contains("id=\"install\"") && !text.contains("Not served here."));
    let list = house.in_person(&chief, Method::GET, at, "").await;
    let list = list.expect(200).json();
    assert_eq!(list["block"], "malware");
    assert_eq!(list["items"][0]["until"], "2999-01-01T00:00:00.000000Z");
    let one = format!("{at}/{made}");
    house
        .in_person(&chief, Method::DELETE, &one, "")
        .await
        .expect(204);
    let gone = house.in_person(&chief, Method::DELETE, &one, "").await;
    assert_eq!(gone.expect(404).json()["code"], "exemption-unknown");
    house.get(&file).await.expect(403);
    // By the page.
    let form = format!("project=pypi:sample&advisory={id}&why=We+mended+it&days=2");
    let done = house.form(&chief, "/operator/advisories", &form).await;
    assert!(
        done.expect(303)
            .header("location")
            .ends_with("?done=exempted")
    );
    house.get(&file).await.expect(200);
    let console = |query: &'static str| {
        let (house, cookie) = (&house, chief.cookie.as_str());
        async move {
            let path = format!("/operator/advisories{query}");
            house
                .get_with(&path, &[("cookie", cookie)])
                .await
                .expect(200)
        }
    };
    let page = console("").await;
    let (_, rest) = page.text().split_once("name=\"id\" value=\"").unwrap();
    assert!(page.text().contains("all versions") && page.text().contains("· until <time"));
    let form = format!("id={}", rest.split('"').next().unwrap());
    house
        .form(&chief, "/operator/advisories/end", &form)
        .await
        .expect(303);
    house.get(&file).await.expect(403);
    let form = "project=nuget:x&advisory=x&why=x";
    let wrong = house.form(&chief, "/operator/advisories", form).await;
    let wrong = wrong.expect(303).header("location").to_owned();
    let again = house
        .get_with(&wrong, &[("cookie", &chief.cookie)])
        .await
        .expect(200);
    assert!(again.text().contains("ecosystem-unknown") || again.text().contains("no ecosystem"));
    // Whom it concerns is said before anybody is told.
    assert!(
        console("?warn=x_none-1")
            .await
            .text()
            .contains("no advisory")
    );
    let warning = format!("/api/v1/operator/advisories/{id}/warning");
    let told = house
        .in_person(&chief, Method::POST, &warning, "{}")
        .await
        .expect(200)
        .json();
    let expected =
        json!({"releases": ["pypi:sample 0.1"], "accounts": [], "before": 0, "told": false});
    assert_eq!(told, expected);
    house
        .in_person(&kate, Method::POST, &warning, "{}")
        .await
        .expect(403);
}

#[tokio::test]
async fn a_release_that_is_withheld_says_why() {
    let house = house_with(|_, _| {}).await;
    let (_, file) = house.published("sample", "0.1").await;
    house.published("sample", "0.2").await;
    let (registry, operator) = (&house.registry, Actor::operator());
    let release = Portion::Release("0.1");
    registry
        .withhold(
            &operator,
            Ecosystem::Pypi,
            "sample",
            release,
            Order::because("It <u>phones</u> home"),
        )
        .await
        .unwrap();
    let page = house.get(PAGE).await.expect(200);
    let text = page.text();
    assert!(text.contains("This release is withheld") && text.contains("It &#60;u&#62;phones"));
    assert!(!text.contains(&format!("href=\"{file}\"")));
    let other = house.get("/project/pypi/sample/0.2/").await.expect(200);
    assert!(!other.text().contains("is withheld"));
    let told = house
        .get("/api/v1/projects/pypi/sample/releases/0.1")
        .await
        .expect(200)
        .json();
    assert_eq!(
        told["artifacts"][0]["withheld_because"],
        "It <u>phones</u> home"
    );
    registry
        .serve_again(&operator, Ecosystem::Pypi, "sample", release)
        .await
        .unwrap();
    let page = house.get(PAGE).await.expect(200);
    assert!(!page.text().contains("is withheld") && page.text().contains("id=\"install\""));
}
