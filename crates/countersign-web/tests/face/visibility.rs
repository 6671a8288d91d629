//! A private project and a name that nobody has, side by side at every address that this face has: who has no role on the
//! project is told the same of both, to the letter. The addresses come from the API's description and from the sources of
//! the dialects and pages, so that a new one is tried as well.

use std::collections::BTreeSet;
use std::path::Path;

use countersign_formats::Ecosystem;
use countersign_registry::model::{Action, Actor};
use countersign_testkit::packages::{Crate, NpmPackage, Wheel};
use http::Method;
use serde_json::{Value, json};

use crate::house::{Answer, House, house};
use crate::people::{Person, body_for, description};

/// A private project, and a name that is free; of one length, so that lengths are told apart by what is said alone.
const HIDDEN: &str = "cabbage";
const FREE: &str = "lettuce";

const ECOSYSTEMS: [Ecosystem; 3] = [Ecosystem::Pypi, Ecosystem::Cargo, Ecosystem::Npm];

/// What the addresses of a project are made of.
#[derive(Clone, Copy)]
struct Named<'a> {
    name: &'a str,
    system: Ecosystem,
    sha256: &'a str,
}

impl Named<'_> {
    fn file(&self) -> String {
        let name = self.name;
        match self.system {
            Ecosystem::Pypi => format!("{name}-1.0.0-py3-none-any.whl"),
            Ecosystem::Cargo => format!("{name}-1.0.0.crate"),
            Ecosystem::Npm => format!("{name}-1.0.0.tgz"),
        }
    }

    /// An address with this in its places.
    fn at(&self, pattern: &str) -> String {
        let index = format!("{}/{}/{}", &self.name[..2], &self.name[2..4], self.name);
        let path = if pattern.starts_with("/cargo/") {
            &index
        } else {
            self.name
        };
        let purl = format!(
            "pkg%3A{}%2F{}%401.0.0%3Ffile_name%3D{}",
            self.system,
            self.name,
            self.file()
        );
        let address = pattern
            .replace("{ecosystem}", self.system.as_str())
            .replace("{name}@{version}", &format!("{}@1.0.0", self.name))
            .replace("{name}", self.name)
            .replace("{version or tag}", "1.0.0")
            .replace("{version}", "1.0.0")
            .replace("{filename}", &self.file())
            .replace("{file}", &self.file())
            .replace("{sha256}", self.sha256)
            .replace("{*path}", path)
            .replace("{purl}", &purl)
            .replace("{tag}", "latest")
            .replace("{revision}", "1-0")
            .replace("{user}", "bob")
            .replace("{team}", "acme:builders")
            .replace("{proof}", "0")
            .replace("{*tile}", "0/000")
            .replace("{case}", "0193f2d4-0000-7000-8000-000000000000")
            .replace("{ticket}", "0193f2d4-0000-7000-8000-000000000000")
            .replace("{id}", "0193f2d4-0000-7000-8000-000000000000");
        assert!(
            !address.contains('{'),
            "an address with places that this test knows nothing of: {address}"
        );
        address
    }
}

/// What an answer tells: everything but what differs each time, with the one name for the other.
fn told(
    answer: &Answer,
    named: Named<'_>,
    free: Named<'_>,
) -> (u16, Vec<(String, String)>, String) {
    let id = answer.header("x-request-id").to_owned();
    let plain = |text: &str| {
        let text = text.replace(&id, "ID").replace(named.sha256, free.sha256);
        let parts = |name: &str| format!("{}/{}/", &name[..2], &name[2..4]);
        text.replace(named.name, free.name)
            .replace(&parts(named.name), &parts(free.name))
    };
    let mut headers: Vec<(String, String)> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date", "set-cookie"].contains(&name.as_str()))
        .map(|(name, value)| {
            (
                name.to_string(),
                plain(&String::from_utf8_lossy(value.as_bytes())),
            )
        })
        .collect();
    headers.sort();
    let body = plain(&String::from_utf8_lossy(&answer.body));
    // The token of a form is new for each visit.
    let mut pieces = body.split("name=\"form\" value=\"");
    let mut same = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        same.push_str(piece.split_once('"').map_or("", |(_, rest)| rest));
    }
    (answer.status.as_u16(), headers, same)
}

/// Everything in the sources of dialects and pages that is an address with the place of a project in it.
fn patterns() -> BTreeSet<String> {
    fn texts(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                texts(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push(std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut all = Vec::new();
    texts(&sources.join("protocols"), &mut all);
    texts(&sources.join("pages"), &mut all);
    let mut found = BTreeSet::new();
    for text in &all {
        // Routes, which stand in a call of their own.
        for part in text.split(".route(").skip(1) {
            let Some((_, rest)) = part.split_once('"') else {
                continue;
            };
            let Some((address, _)) = rest.split_once('"') else {
                continue;
            };
            let inside = part.trim_start().starts_with("&at(");
            if inside {
                found.insert(format!(
                    "/projects/{{ecosystem}}/{{name}}/settings{address}"
                ));
            } else if address.starts_with('/') {
                found.insert(address.to_owned());
            }
        }
        // npm's, which the router does not know.
        for line in text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("/// `"))
        {
            let Some((address, _)) = line.split_once('`') else {
                continue;
            };
            if address.starts_with("-/") || address.starts_with("{name}") {
                found.insert(format!("/npm/{address}"));
            }
        }
    }
    let of_a_project = |address: &String| {
        ["{name}", "{sha256}", "/{*path}"].iter().any(|place| address.contains(place))
            // Of organisations, accounts and the house itself.
            && !["/org/{name}", "/static/", "/npm/-/user/"].iter().any(|start| address.starts_with(start))
            && !address.contains(":{name}")
    };
    found.retain(of_a_project);
    assert!(found.len() >= 45, "{found:#?}");
    for known in [
        "/pypi/simple/{name}/",
        "/files/{sha256}/{filename}",
        "/cargo/private/{*path}",
        "/npm/{name}/-/{file}",
        "/project/{ecosystem}/{name}",
    ] {
        assert!(found.contains(known), "{known} is not in {found:#?}");
    }
    found
}

struct Garden {
    house: House,
    /// SHA-256 of the file of each ecosystem, in their order.
    digests: Vec<String>,
    bob: String,
    eve: Person,
}

/// A house where alice has a private project of one name in each ecosystem.
async fn garden() -> Garden {
    let house = house().await;
    let wheel = Wheel::new(HIDDEN, "1.0.0").build();
    house.upload(&wheel).await.expect(200);
    let bearer = house.token.clone();
    let package = Crate::new(HIDDEN, "1.0.0");
    let headers = [("authorization", bearer.as_str())];
    house
        .ask(
            Method::PUT,
            "/cargo/api/v1/crates/new",
            &headers,
            package.body(),
        )
        .await
        .expect(200);
    let authorization = format!("Bearer {bearer}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let request = NpmPackage::new(HIDDEN, "1.0.0")
        .request("latest")
        .to_string();
    house
        .ask(Method::PUT, &format!("/npm/{HIDDEN}"), &headers, request)
        .await
        .expect(201);
    let mut digests = vec![wheel.sha256(), package.build().sha256()];
    let packument = house
        .get(&format!("/npm/{HIDDEN}"))
        .await
        .expect(200)
        .json();
    let dist = &packument["versions"]["1.0.0"]["dist"]["_countersign"];
    digests.push(dist["sha256"].as_str().unwrap().to_owned());
    for system in ECOSYSTEMS {
        house
            .registry
            .set_private(&Actor::operator(), system, HIDDEN, true)
            .await
            .unwrap();
    }
    let bob = house.token_for("bob", Action::Manage).await;
    let eve = house.person("eve", false).await;
    Garden {
        house,
        digests,
        bob,
        eve,
    }
}

impl Garden {
    /// Asks with each way to come that gives no role: with nothing, with a token, in a session.
    async fn ask(&self, method: &Method, address: &str, body: &str) -> Vec<Answer> {
        let bearer = format!("Bearer {}", self.bob);
        let json = ("content-type", "application/json");
        vec![
            self.house
                .ask(method.clone(), address, &[json], body.to_owned())
                .await,
            self.house
                .ask(
                    method.clone(),
                    address,
                    &[json, ("authorization", &bearer)],
                    body.to_owned(),
                )
                .await,
            self.house
                .in_person(&self.eve, method.clone(), address, body)
                .await,
        ]
    }

    async fn compare(
        &self,
        method: &Method,
        pattern: &str,
        system: Ecosystem,
        body: &str,
        differ: &mut Vec<String>,
    ) {
        let place = ECOSYSTEMS
            .iter()
            .position(|known| *known == system)
            .unwrap();
        let nothing = "0123456789abcdef".repeat(4);
        let hidden = Named {
            name: HIDDEN,
            system,
            sha256: &self.digests[place],
        };
        let free = Named {
            name: FREE,
            system,
            sha256: &nothing,
        };
        let answers = self
            .ask(method, &hidden.at(pattern), &body.replace(FREE, HIDDEN))
            .await;
        let others = self.ask(method, &free.at(pattern), body).await;
        for (who, (answer, other)) in answers.iter().zip(&others).enumerate() {
            let (tells, should) = (told(answer, hidden, free), told(other, free, free));
            if tells != should {
                let at = hidden.at(pattern);
                differ.push(format!(
                    "{method} {at} by {who}: {tells:?} and not {should:?}"
                ));
            }
        }
    }
}

#[tokio::test]
async fn no_address_tells_a_private_project_from_a_name_that_nobody_has() {
    let garden = garden().await;
    let mut differ = Vec::new();
    let everything = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
    ];
    for pattern in patterns() {
        let systems: &[Ecosystem] =
            if pattern.contains("{ecosystem}") || pattern.starts_with("/files/") {
                &ECOSYSTEMS
            } else if pattern.starts_with("/cargo/") {
                &[Ecosystem::Cargo]
            } else if pattern.starts_with("/npm/") {
                &[Ecosystem::Npm]
            } else {
                &[Ecosystem::Pypi]
            };
        for system in systems {
            for method in &everything {
                garden
                    .compare(method, &pattern, *system, "{}", &mut differ)
                    .await;
            }
        }
        // Derived from files rather than named by routes.
        if pattern.starts_with("/files/") {
            for more in [".metadata", ".tlog-proof"] {
                garden
                    .compare(
                        &Method::GET,
                        &format!("{pattern}{more}"),
                        Ecosystem::Pypi,
                        "",
                        &mut differ,
                    )
                    .await;
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[tokio::test]
async fn no_operation_of_the_api_tells_a_private_project_from_a_name_that_nobody_has() {
    let garden = garden().await;
    let description = description();
    let (mut tried, mut differ) = (0, Vec::new());
    for (path, item) in description["paths"].as_object().unwrap() {
        let of_a_project = ["{name}", "{purl}", "{sha256}"]
            .iter()
            .any(|place| path.contains(place));
        if !of_a_project || path.contains("/operator/") {
            continue;
        }
        for (method, operation) in item.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let mut bodies = vec![body_for(&description, operation)];
            if path.ends_with("/visibility") {
                bodies.push(json!({"visibility": "public"}).to_string());
            }
            for body in bodies {
                for system in ECOSYSTEMS {
                    garden
                        .compare(&method, path, system, &body, &mut differ)
                        .await;
                }
            }
            tried += 1;
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    assert!(tried >= 35, "{tried}");
}

#[tokio::test]
async fn no_list_shows_a_private_project_to_others() {
    let garden = garden().await;
    let all: Vec<Value> = garden
        .digests
        .iter()
        .map(|digest| json!(format!("sha256:{digest}")))
        .collect();
    let bulk = json!({"subjectDigests": all, "digests": all}).to_string();
    let lists = [
        (Method::GET, "/pypi/simple/", ""),
        (Method::GET, "/", ""),
        (Method::GET, "/search?q=cabbage", ""),
        (Method::GET, "/api/v1/projects?q=cabbage", ""),
        (Method::GET, "/npm/-/v1/search?text=cabbage", ""),
        (Method::GET, "/cargo/api/v1/crates?q=cabbage", ""),
        (
            Method::POST,
            "/api/v1/attestations/by-digest",
            bulk.as_str(),
        ),
        (
            Method::POST,
            "/npm/-/npm/v1/security/advisories/bulk",
            "{\"cabbage\":[\"1.0.0\"]}",
        ),
    ];
    for (method, address, body) in lists {
        for answer in garden.ask(&method, address, body).await {
            // A search page says what was asked for.
            let shown = String::from_utf8_lossy(&answer.body).replace("value=\"cabbage\"", "");
            let shows = shown.contains("cabbage-1.0.0")
                || shown.contains("/cabbage")
                || shown.contains("\"name\":\"cabbage\"");
            assert!(!shows, "{method} {address}: {shown}");
            for digest in &garden.digests {
                let asked = body.contains(digest.as_str()) && !answer.status.is_success();
                assert!(
                    asked || !shown.contains(digest.as_str()),
                    "{method} {address}: {shown}"
                );
            }
        }
    }
}

#[tokio::test]
async fn those_with_a_role_read_it_everywhere_and_no_cache_keeps_it() {
    let garden = garden().await;
    let house = &garden.house;
    let basic = house.basic();
    let bearer = format!("Bearer {}", house.token);
    let file = |place: usize, name: &str| format!("/files/{}/{name}", garden.digests[place]);
    for address in [
        "/pypi/simple/cabbage/",
        "/pypi/pypi/cabbage/json",
        "/pypi/pypi/cabbage/1.0.0/json",
        &file(0, "cabbage-1.0.0-py3-none-any.whl"),
        &file(0, "cabbage-1.0.0-py3-none-any.whl.metadata"),
        &file(0, "cabbage-1.0.0-py3-none-any.whl.tlog-proof"),
        &file(1, "cabbage-1.0.0.crate"),
        &file(2, "cabbage-1.0.0.tgz"),
        "/cargo/index/ca/bb/cabbage",
        "/cargo/private/ca/bb/cabbage",
        "/cargo/api/v1/crates/cabbage/1.0.0/download",
        "/npm/cabbage",
        "/npm/cabbage/-/cabbage-1.0.0.tgz",
        "/npm/-/package/cabbage/dist-tags",
        "/npm/-/package/cabbage/visibility",
        "/project/pypi/cabbage/",
        "/project/npm/cabbage/1.0.0/",
        "/api/v1/projects/pypi/cabbage",
        "/api/v1/projects/cargo/cabbage/releases/1.0.0",
        "/api/v1/projects?q=cabbage",
        "/search?q=cabbage",
    ] {
        for authorization in [&basic, &bearer] {
            let answer = house
                .get_with(address, &[("authorization", authorization)])
                .await;
            assert_eq!(answer.status.as_u16(), 200, "{address}: {}", answer.text());
            assert_eq!(
                answer.header("cache-control"),
                "private, no-store",
                "{address}"
            );
            assert_eq!(
                answer.header("access-control-allow-origin"),
                "",
                "{address}"
            );
            let vary = answer
                .headers
                .get_all("vary")
                .iter()
                .map(|value| value.to_str().unwrap());
            assert!(
                vary.collect::<Vec<_>>()
                    .join(", ")
                    .contains("Authorization"),
                "{address}"
            );
        }
        // Having been read by somebody makes it no easier for others.
        let answer = house.get(address).await;
        assert!(
            answer.status.as_u16() != 200 || address.contains("?q="),
            "{address}: {}",
            answer.text()
        );
    }
    // What is public is kept as ever, also by those who see more.
    house.published("turnip", "1.0").await;
    let answer = house
        .get_with("/pypi/simple/turnip/", &[("authorization", &basic)])
        .await
        .expect(200);
    assert!(
        answer.header("cache-control").contains("public"),
        "{:?}",
        answer.headers
    );
}

#[tokio::test]
async fn cargos_index_for_tokens_asks_everybody_for_one() {
    let garden = garden().await;
    let house = &garden.house;
    for address in [
        "/cargo/private/config.json",
        "/cargo/private/ca/bb/cabbage",
        "/cargo/private/le/tt/lettuce",
    ] {
        let answer = house.get(address).await.expect(401);
        assert!(
            answer
                .header("www-authenticate")
                .starts_with("Cargo login_url="),
            "{:?}",
            answer.headers
        );
    }
    let config = house
        .get_with(
            "/cargo/private/config.json",
            &[("authorization", &house.token)],
        )
        .await
        .expect(200)
        .json();
    assert_eq!(config["auth-required"], true);
    let open = house
        .get("/cargo/index/config.json")
        .await
        .expect(200)
        .json();
    assert_eq!(open["auth-required"], Value::Null);
}

#[tokio::test]
async fn a_project_is_hidden_and_shown_by_api_and_by_form() {
    let mut kates = house().await;
    let kate = kates.person("kate", false).await;
    kates.token = kates.token_for("kate", Action::Manage).await;
    kates.published("sample", "1.0").await;
    let address = "/api/v1/projects/pypi/sample";
    let seen = async || kates.get(address).await.status.as_u16();
    assert_eq!(kates.get(address).await.json()["visibility"], "public");
    let body = json!({"visibility": "secret"}).to_string();
    kates
        .call(Method::PUT, &format!("{address}/visibility"), &body)
        .await
        .expect(400);
    let body = json!({"visibility": "private"}).to_string();
    kates
        .call(Method::PUT, &format!("{address}/visibility"), &body)
        .await
        .expect(204);
    assert_eq!(seen().await, 404);
    let page = kates
        .get_with(
            "/projects/pypi/sample/settings",
            &[("cookie", &kate.cookie)],
        )
        .await
        .expect(200);
    assert!(page.text().contains("Make it public") && page.text().contains("for ever"));
    let shown = kates
        .get_with("/project/pypi/sample/", &[("cookie", &kate.cookie)])
        .await
        .expect(200);
    assert!(
        shown.text().contains("<strong>Private.</strong>"),
        "{}",
        shown.text()
    );
    kates
        .form(
            &kate,
            "/projects/pypi/sample/settings/visibility",
            "visibility=public",
        )
        .await
        .expect(303);
    assert_eq!(seen().await, 200);
    kates
        .form(
            &kate,
            "/projects/pypi/sample/settings/visibility",
            "visibility=private",
        )
        .await
        .expect(303);
    assert_eq!(seen().await, 404);
}
