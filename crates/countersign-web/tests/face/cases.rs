//! What is withheld and found, as a project's own people meet it: one page, where they object.

use std::io::Cursor;

use countersign_formats::Ecosystem;
use countersign_registry::model::{Actor, Order, Portion, Role};
use countersign_registry::scan::{Outcome, Rules, ScanRequest, scan};
use countersign_registry::{ScanFault, Scanner};
use countersign_testkit::packages::{Package, Wheel};
use futures::future::BoxFuture;
use http::Method;

use crate::house::house_with;

const PAGE: &str = "/projects/pypi/sample/settings/cases";

/// The real rules, in this process.
struct Here;

impl Scanner for Here {
    fn scan<'a>(
        &'a self,
        request: &'a ScanRequest,
        bytes: bytes::Bytes,
    ) -> BoxFuture<'a, Result<Outcome, ScanFault>> {
        let outcome = scan(
            &Rules::own().unwrap(),
            None,
            request,
            &mut Cursor::new(bytes),
        );
        Box::pin(std::future::ready(
            outcome.map_err(|refused| ScanFault(refused.to_string())),
        ))
    }
}

fn bad(name: &str, member: &str) -> Package {
    Wheel::new(name, "0.1")
        .file(
            member,
            "import os, subprocess; subprocess.Popen(['true'])\n",
        )
        .build()
}

#[tokio::test]
async fn owners_see_what_is_withheld_and_found_in_theirs_alone_and_object_there() {
    let house = house_with(|settings, _| settings.scan.enabled = true).await;
    let (kate, carl) = (
        house.person("kate", false).await,
        house.person("carl", false).await,
    );
    house.upload(&bad("sample", "a_init.pth")).await.expect(200);
    house.upload(&bad("other", "b_init.pth")).await.expect(200);
    let (registry, operator) = (&house.registry, Actor::operator());
    while registry.scan_next(&Here).await.unwrap() {}
    for (project, user) in [("sample", "kate"), ("other", "carl")] {
        registry
            .set_role(&operator, Ecosystem::Pypi, project, user, Some(Role::Owner))
            .await
            .unwrap();
    }
    let look = async |person: &crate::people::Person, path: &str| {
        let headers = [("cookie", person.cookie.as_str())];
        house.get_with(path, &headers).await
    };
    let page = look(&kate, PAGE).await.expect(200);
    let text = page.text();
    for shown in [
        "sample-0.1",
        "a_init.pth",
        "subprocess.Popen",
        "by the scanner",
        ">withheld<",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert!(!text.contains("b_init.pth") && !text.contains("other"));
    look(&carl, PAGE).await.expect(403);
    for path in ["/account/projects", "/projects/pypi/sample/settings"] {
        let page = look(&kate, path).await.expect(200);
        assert!(page.text().contains(&format!("href=\"{PAGE}\"")), "{path}");
    }
    // A word for the operator: theirs, about theirs, and long enough.
    let cases = registry.open_cases(&operator).await.unwrap();
    let of = |project: &str| {
        let case = cases.iter().find(|case| case.project == project).unwrap();
        case.id.clone()
    };
    let object = async |person, case: &str, words: &str| {
        let fields = format!("case={case}&text={words}");
        let at = format!("{PAGE}/appeal");
        house.form(person, &at, &fields).await
    };
    let words = "It+is+a+%3Cb%3Etest%3C%2Fb%3E+of+ours";
    object(&carl, &of("sample"), words).await.expect(403);
    for (case, words) in [(of("other"), words), (of("sample"), "no")] {
        let back = object(&kate, &case, words).await.expect(303);
        assert!(back.header("location").contains("held="), "{back:?}");
    }
    let done = object(&kate, &of("sample"), words).await.expect(303);
    assert!(done.header("location").ends_with("?done=appealed"));
    let told = registry.open_cases(&operator).await.unwrap();
    let appeals: Vec<_> = told
        .iter()
        .filter_map(|case| case.appeal.as_deref())
        .collect();
    assert_eq!(appeals, ["It is a <b>test</b> of ours"]);
    let page = look(&kate, PAGE).await.expect(200);
    assert!(page.text().contains("It is a &#60;b&#62;test"));
    // Served again: the case is over, and the finding stays until somebody puts it aside.
    let file = bad("sample", "a_init.pth").filename;
    registry
        .serve_again(&operator, Ecosystem::Pypi, "sample", Portion::File(&file))
        .await
        .unwrap();
    let page = look(&kate, PAGE).await.expect(200);
    assert!(page.text().contains(">served again<") && page.text().contains(">served<"));
    let path = "/api/v1/projects/pypi/sample/findings";
    let found = house.in_person(&kate, Method::GET, path, "").await;
    let found = found.expect(200).json();
    assert_eq!(found["items"][0]["path"], "a_init.pth");
    house
        .in_person(&carl, Method::GET, path, "")
        .await
        .expect(403);
    house.get(path).await.expect(401);
}

#[tokio::test]
async fn what_an_operator_withholds_can_be_objected_to_on_a_page() {
    let house = house_with(|_, _| {}).await;
    let kate = house.person("kate", false).await;
    house.published("sample", "0.1").await;
    let (registry, operator) = (&house.registry, Actor::operator());
    let system = Ecosystem::Pypi;
    registry
        .set_role(&operator, system, "sample", "kate", Some(Role::Security))
        .await
        .unwrap();
    registry
        .withhold(
            &operator,
            system,
            "sample",
            Portion::Project,
            Order::because("It is odd"),
        )
        .await
        .unwrap();
    let case = registry.open_cases(&operator).await.unwrap().remove(0).id;
    let fields = format!("case={case}&text=We+looked+and+it+is+ours");
    house
        .form(&kate, &format!("{PAGE}/appeal"), &fields)
        .await
        .expect(303);
    registry
        .answer_case(&operator, &case, "Then show the commit.")
        .await
        .unwrap();
    let page = house.get_with(PAGE, &[("cookie", &kate.cookie)]).await;
    let page = page.expect(200);
    for shown in ["by the operator", "It is odd", "Then show the commit."] {
        assert!(page.text().contains(shown), "{shown}");
    }
}
