//! Build provenance through the front door: attestations of a private Sigstore come with an upload, are refused with the
//! step that failed, and are served and shown with what was found of them.

use countersign_formats::Ecosystem;
use countersign_registry::model::{Actor, Role};
use countersign_testkit::claims::{self, Claims};
use countersign_testkit::http::basic_authorization;
use countersign_testkit::packages::{Package, Sdist, Wheel};
use countersign_testkit::sigstore::{Fault, Identity, PrivateSigstore, statements};
use countersign_trust::digest::Sha256;
use http::Method;
use serde_json::{Value, json};

use crate::house::{Answer, House, house};
use crate::issuer::URL;

/// A house that trusts a private Sigstore, in which the workflow of the issuer's claims may publish `sample`.
struct Stage {
    house: House,
    sigstore: PrivateSigstore,
}

/// What tokens say, as [`crate::issuer::claims`] has it, for certificates.
fn job() -> Claims {
    let mut job = claims::github("octo/sample", "release.yml");
    for (name, value) in crate::issuer::claims().as_object().unwrap() {
        job = job.set(name, value.clone());
    }
    job
}

fn identity(job: &Claims) -> Identity {
    Identity::github(URL, "https://github.com", job)
}

/// A file's address in the API.
fn of(package: &Package, version: &str) -> String {
    format!(
        "/api/v1/attestations/pkg%3Apypi%2Fsample%40{version}%3Ffile_name%3D{}",
        package.filename
    )
}

impl Stage {
    async fn set() -> Self {
        Self::in_house(house().await).await
    }

    async fn in_house(house: House) -> Self {
        let sigstore = PrivateSigstore::new("face");
        house
            .registry
            .add_trust_root(&Actor::operator(), "ours", &sigstore.trusted_root_json())
            .await
            .unwrap();
        house.with_publisher().await;
        Self { house, sigstore }
    }

    /// A publish attestation and SLSA provenance.
    fn both(&self, job: &Claims, package: &Package) -> Vec<Value> {
        let identity = identity(job);
        let (name, bytes) = (&package.filename, &package.bytes);
        [
            statements::pypi_publish(name, bytes),
            statements::slsa_v1(name, bytes, &identity),
        ]
        .iter()
        .map(|statement| self.sigstore.sign_attestation(&identity, statement))
        .collect()
    }

    /// Uploads by a token of the workflow.
    async fn upload(&self, package: &Package, attestations: &[Value]) -> Answer {
        let token = basic_authorization("__token__", &self.house.minted().await);
        let mut form = package.form();
        if !attestations.is_empty() {
            form.push(("attestations", Value::from(attestations).to_string()));
        }
        self.house
            .upload_with(package, &form, &[("authorization", &token)])
            .await
    }

    /// A wheel that was published with both attestations, and these.
    async fn attested(&self, version: &str) -> (Package, Vec<Value>) {
        let package = Wheel::new("sample", version).build();
        let sent = self.both(&job(), &package);
        self.upload(&package, &sent).await.expect(200);
        (package, sent)
    }

    /// Somebody with a passkey who owns `sample`.
    async fn owner(&self, name: &str) -> crate::people::Person {
        let person = self.house.person(name, false).await;
        self.house
            .registry
            .set_role(
                &Actor::operator(),
                Ecosystem::Pypi,
                "sample",
                name,
                Some(Role::Owner),
            )
            .await
            .unwrap();
        person
    }
}

#[tokio::test]
async fn attestations_are_served_as_received_and_as_bundles_with_what_was_found() {
    let stage = Stage::set().await;
    let house = &stage.house;
    let (package, sent) = stage.attested("1.0").await;
    let answer = house.get(&of(&package, "1.0")).await.expect(200);
    let etag = answer.header("etag").to_owned();
    assert_eq!(answer.header("cache-control"), "max-age=5, public");
    let body = answer.json();
    assert_eq!((&body["total"], &body["offset"]), (&json!(1), &json!(0)));
    let file = &body["files"][0];
    assert_eq!(file["level"], "provenance");
    assert_eq!(file["sha256"], package.sha256());
    assert_eq!(
        file["source"],
        json!({"issuer": URL, "repository": "https://github.com/octo/sample", "repository_id": "74", "owner_id": "9"})
    );
    let root = Sha256::of(stage.sigstore.trusted_root_json().as_bytes()).to_string();
    let attestations = file["attestations"].as_array().unwrap();
    let theirs: Vec<_> = attestations
        .iter()
        .filter(|one| one["maker"] == "uploader")
        .collect();
    assert_eq!(theirs.len(), 2);
    let texts: Vec<String> = sent.iter().map(ToString::to_string).collect();
    for one in &theirs {
        let raw = one["raw"].as_str().unwrap();
        assert!(texts.iter().any(|text| text == raw), "not as sent");
        assert_eq!(one["digest"], Sha256::of(raw.as_bytes()).to_string());
        assert_eq!(one["form"], "pep740");
        assert_eq!(
            one["bundle"]["mediaType"],
            "application/vnd.dev.sigstore.bundle.v0.3+json"
        );
        let envelope: Value = serde_json::from_str(raw).unwrap();
        assert_eq!(
            one["bundle"]["dsseEnvelope"]["signatures"][0]["sig"],
            envelope["envelope"]["signature"]
        );
        assert_eq!(one["verdict"]["outcome"], "confirmed");
        assert_eq!(one["verdict"]["trust_root"], root);
        assert_eq!(one["claims"]["source-repository-identifier"], "74");
        assert_eq!(one["shown"]["build_file"], ".github/workflows/release.yml");
        // The bytes alone, by the digest that the log has.
        let url = one["url"].as_str().unwrap();
        let path = url.strip_prefix("http://localhost:8417").unwrap();
        let bytes = house.get(path).await.expect(200);
        assert_eq!(bytes.text(), raw);
        assert_eq!(bytes.header("content-type"), "application/json");
        let known = [("if-none-match", bytes.header("etag"))];
        house.get_with(path, &known).await.expect(304);
    }
    let ours: Vec<_> = attestations
        .iter()
        .filter(|one| one["maker"] == "registry")
        .collect();
    assert_eq!(ours.len(), 2, "release attestation and summary");
    for one in ours {
        assert_eq!(one["form"], "bundle");
        assert!(one["bundle"]["dsseEnvelope"].is_object());
        assert!(one["verdict"]["trust_root"].is_null());
    }
    let again = house
        .get_with(&of(&package, "1.0"), &[("if-none-match", &etag)])
        .await
        .expect(304);
    assert!(again.body.is_empty());
}

#[tokio::test]
async fn a_release_is_answered_in_parts_and_files_by_their_digests() {
    let stage = Stage::set().await;
    let house = &stage.house;
    let (wheel, _) = stage.attested("1.0").await;
    let sdist = Sdist::new("sample", "1.0").build();
    let sent = stage.both(&job(), &sdist);
    stage.upload(&sdist, &sent).await.expect(200);
    let release = "/api/v1/attestations/pkg:pypi%2Fsample@1.0";
    let whole = house.get(release).await.expect(200).json();
    assert_eq!(whole["total"], 2);
    let second = house
        .get(&format!("{release}?offset=1&limit=1"))
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&second["total"], &second["offset"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(second["files"], json!([whole["files"][1]]));
    let beyond = house.get(&format!("{release}?offset=9")).await.expect(200);
    assert_eq!(beyond.json()["files"], json!([]));
    // A file without attestations of its uploader is in it too, with what the registry says itself.
    let plain = house
        .get("/api/v1/attestations/pkg:pypi%2Fsample@0.1")
        .await
        .expect(200)
        .json();
    assert_eq!(plain["files"][0]["level"], "token");
    assert_eq!(plain["files"][0]["attestations"][0]["maker"], "registry");

    let question = json!({"sha256": [wheel.sha256(), sdist.sha256(), "0".repeat(64)]});
    let found = house
        .ask(
            Method::POST,
            "/api/v1/attestations/by-digest",
            &[],
            question.to_string(),
        )
        .await
        .expect(200)
        .json();
    assert_eq!(found["total"], 2);
    let mut digests: Vec<_> = found["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["sha256"].as_str().unwrap().to_owned())
        .collect();
    let mut wanted = vec![wheel.sha256(), sdist.sha256()];
    digests.sort();
    wanted.sort();
    assert_eq!(digests, wanted);
}

#[tokio::test]
async fn questions_that_can_not_be_answered_say_why() {
    let stage = Stage::set().await;
    let house = &stage.house;
    for (path, status, code) in [
        ("pkg:pypi%2Fsample", 400, "purl-invalid"),
        ("pkg:nothing%2Fsample@1.0", 404, "ecosystem-unknown"),
        ("sample", 400, "purl-invalid"),
        ("pkg:pypi%2Fsample@9.9", 404, "release-unknown"),
        ("pkg:pypi%2Fother@1.0", 404, "release-unknown"),
        (
            "pkg:pypi%2Fsample@0.1%3Ffile_name%3Dother.whl",
            404,
            "file-unknown",
        ),
        ("by-digest/abc", 400, "digest-invalid"),
    ] {
        let answer = house.get(&format!("/api/v1/attestations/{path}")).await;
        let body = answer.json();
        assert_eq!(
            (answer.status.as_u16(), body["code"].as_str().unwrap()),
            (status, code),
            "{path}: {body}"
        );
        assert!(body["detail"].as_str().is_some_and(|text| text.len() > 15));
    }
    let unknown = format!("/api/v1/attestations/by-digest/{}", "0".repeat(64));
    let answer = house.get(&unknown).await.expect(404).json();
    assert_eq!(answer["code"], "attestation-unknown");
    for (body, code) in [
        (
            json!({"sha256": vec!["0".repeat(64); 101]}),
            "too-many-digests",
        ),
        (json!({"sha256": ["x"]}), "digest-invalid"),
        (json!({"md5": []}), "json-malformed"),
    ] {
        let path = "/api/v1/attestations/by-digest";
        let answer = house
            .ask(Method::POST, path, &[], body.to_string())
            .await
            .expect(400);
        assert_eq!(answer.json()["code"], code);
    }
}

#[tokio::test]
async fn what_is_withheld_has_no_attestations_here_either() {
    let stage = Stage::set().await;
    let (house, (package, _)) = (&stage.house, stage.attested("1.0").await);
    let found = house.get(&of(&package, "1.0")).await.expect(200).json();
    let url = found["files"][0]["attestations"][0]["url"]
        .as_str()
        .unwrap();
    let bytes = url
        .strip_prefix("http://localhost:8417")
        .unwrap()
        .to_owned();
    house
        .registry
        .quarantine(
            &Actor::operator(),
            Ecosystem::Pypi,
            "sample",
            Some(&package.filename),
            "looked into",
        )
        .await
        .unwrap();
    house.get(&of(&package, "1.0")).await.expect(404);
    house.get(&bytes).await.expect(404);
}

#[tokio::test]
async fn the_index_says_where_provenance_is_and_nothing_where_there_is_none() {
    let stage = Stage::set().await;
    let house = &stage.house;
    let (package, _) = stage.attested("1.0").await;
    let accept = [("accept", "application/vnd.pypi.simple.v1+json")];
    let index = house
        .get_with("/pypi/simple/sample/", &accept)
        .await
        .expect(200)
        .json();
    let files = index["files"].as_array().unwrap();
    let with: Vec<_> = files
        .iter()
        .filter(|file| file["provenance"].is_string())
        .collect();
    assert_eq!((files.len(), with.len()), (2, 1));
    let url = with[0]["provenance"].as_str().unwrap();
    let path = url.strip_prefix("http://localhost:8417").unwrap_or(url);
    let provenance = house.get(path).await.expect(200);
    assert_eq!(
        provenance.header("content-type"),
        "application/vnd.pypi.integrity.v1+json"
    );
    assert_eq!(
        provenance.json()["attestation_bundles"][0]["publisher"]["kind"],
        "GitHub"
    );
    let html = house.get("/pypi/simple/sample/").await.expect(200);
    assert_eq!(html.text().matches("data-provenance=").count(), 1);
    assert!(
        html.text()
            .contains(&format!("{}/provenance", package.filename))
    );
    let none = house
        .get("/pypi/integrity/sample/0.1/sample-0.1-py3-none-any.whl/provenance")
        .await
        .expect(404);
    assert!(none.text().contains("No provenance available"));
}

#[tokio::test]
async fn every_bad_attestation_is_refused_with_its_step_and_a_link_to_its_explanation() {
    let stage = Stage::set().await;
    let package = Wheel::new("sample", "1.0").build();
    let statement = statements::pypi_publish(&package.filename, &package.bytes);
    let identity = identity(&job());
    let faulty = |fault| {
        let signing = stage.sigstore.signing(&identity).fault(fault);
        signing.attestation(&statement)
    };
    let other = Wheel::new("sample", "1.1").build();
    let about = |name: &str, bytes: &[u8]| {
        let statement = statements::pypi_publish(name, bytes);
        stage.sigstore.sign_attestation(&identity, &statement)
    };
    let elsewhere = |job: Claims| {
        let identity = Identity::github(URL, "https://github.com", &job);
        stage.sigstore.sign_attestation(&identity, &statement)
    };
    let foreign = identity.clone().issued_by("https://issuer.example");
    let cases: Vec<(&str, &str, Value)> = vec![
        (
            "expired certificate",
            "attestation-certificate-refused",
            faulty(Fault::ExpiredCertificate),
        ),
        (
            "certificate that is not valid yet",
            "attestation-certificate-refused",
            faulty(Fault::NotYetValidCertificate),
        ),
        (
            "authority outside the root",
            "attestation-certificate-refused",
            faulty(Fault::ForeignAuthority),
        ),
        (
            "no promise of a certificate log",
            "attestation-sct-invalid",
            faulty(Fault::NoSct),
        ),
        (
            "another key's signature",
            "attestation-signature-invalid",
            faulty(Fault::ForeignSignature),
        ),
        (
            "proof in another tree",
            "attestation-not-logged",
            faulty(Fault::ProofOfAnotherTree),
        ),
        (
            "proof of another log",
            "attestation-checkpoint-invalid",
            faulty(Fault::ForeignCheckpoint),
        ),
        (
            "entry about another statement",
            "attestation-log-entry-mismatch",
            faulty(Fault::EntryOfAnotherStatement),
        ),
        (
            "another file's bytes",
            "attestation-subject-mismatch",
            about(&package.filename, &other.bytes),
        ),
        (
            "another version",
            "attestation-subject-mismatch",
            about(&other.filename, &package.bytes),
        ),
        (
            "name of another distribution",
            "attestation-subject-mismatch",
            about("sample_1.0-py3-none-any.whl", &package.bytes),
        ),
        (
            "another repository",
            "attestation-identity-mismatch",
            elsewhere(job().set("repository", "octo/other")),
        ),
        (
            "another issuer",
            "attestation-identity-mismatch",
            stage.sigstore.sign_attestation(&foreign, &statement),
        ),
        (
            "another run",
            "attestation-identity-mismatch",
            elsewhere(job().set("run_id", "9")),
        ),
        (
            "no attestation at all",
            "attestation-malformed",
            json!({"version": 1}),
        ),
    ];
    for (what, code, attestation) in cases {
        let answer = stage.upload(&package, &[attestation]).await.expect(400);
        let said = answer.text();
        assert!(said.contains(code), "{what}: {said}");
        assert!(
            said.contains(&format!("http://localhost:8417/help/provenance#{code}")),
            "{what}: {said}"
        );
        assert!(
            said.contains("Invalid attestations supplied"),
            "{what}: {said}"
        );
    }
    let one = about(&package.filename, &package.bytes);
    let again = stage
        .sigstore
        .signing(&identity)
        .at(crate::issuer::now() - 60)
        .attestation(&statement);
    for (what, code, sent) in [
        (
            "two of one type",
            "attestation-duplicate",
            vec![one.clone(), again],
        ),
        (
            "the same twice",
            "attestation-duplicate",
            vec![one.clone(), one],
        ),
    ] {
        let answer = stage.upload(&package, &sent).await.expect(400);
        assert!(answer.text().contains(code), "{what}: {}", answer.text());
    }
    // None of it published anything.
    let page = stage.house.get(&of(&package, "1.0")).await;
    assert_eq!(page.status.as_u16(), 404);
}

#[tokio::test]
async fn attestations_may_come_later_and_their_bytes_are_kept() {
    let stage = Stage::set().await;
    let package = Wheel::new("sample", "1.0").build();
    stage.upload(&package, &[]).await.expect(200);
    let sent = stage.both(&job(), &package);
    // With white space that a JSON writer of ours would not make.
    let text = format!("[{} , {}]", sent[0], sent[1]);
    let token = stage.house.minted().await;
    let path = of(&package, "1.0");
    let add =
        async |token: &str, text: &str| stage.house.call_as(token, Method::POST, &path, text).await;
    let added = add(&token, &text).await.expect(201).json();
    assert!(added["leaf"].is_u64(), "{added}");
    let repeated = add(&token, &text).await.expect(200).json();
    assert!(repeated["leaf"].is_null());
    let known = stage.house.get(&path).await.expect(200).json();
    assert_eq!(known["files"][0]["level"], "provenance");
    for (value, digest) in sent.iter().zip(added["digests"].as_array().unwrap()) {
        assert_eq!(
            *digest,
            Sha256::of(value.to_string().as_bytes()).to_string()
        );
    }
    let nothing = add(&token, "[]").await.expect(400).json();
    assert_eq!(nothing["code"], "attestation-malformed");
    let garbled = add(&token, "[{\"version\": 1,").await.expect(400).json();
    assert_eq!(garbled["code"], "attestation-malformed");
    stage
        .house
        .ask(Method::POST, &path, &[], text)
        .await
        .expect(401);
}

#[tokio::test]
async fn an_owner_opens_and_closes_an_exception_and_everybody_sees_it() {
    let stage = Stage::set().await;
    stage.attested("1.0").await;
    let kate = stage.owner("kate").await;
    let house = &stage.house;
    let provenance = "/api/v1/projects/pypi/sample/provenance";
    let known = house.get(provenance).await.expect(200).json();
    assert_eq!(known["level"], "provenance");
    assert_eq!(
        known["source"]["repository"],
        "https://github.com/octo/sample"
    );
    let lower = Wheel::new("sample", "1.1").build();
    let refused = stage.upload(&lower, &[]).await.expect(403);
    assert!(
        refused.text().contains("/help/provenance#trust-lost"),
        "{}",
        refused.text()
    );

    let wish = json!({"level": "workflow", "hours": 2, "reason": "the signing service is down"});
    let path = format!("{provenance}/exceptions");
    let opened = house
        .in_person(&kate, Method::POST, &path, &wish.to_string())
        .await
        .expect(201)
        .json();
    assert_eq!(
        (&opened["state"], &opened["by"]),
        (&json!("open"), &json!("kate"))
    );
    stage.upload(&lower, &[]).await.expect(200);
    let known = house.get(provenance).await.expect(200).json();
    assert_eq!(
        known["level"], "provenance",
        "it does not lower what is remembered"
    );
    assert_eq!(known["changes"][0]["uses"], 1);
    assert_eq!(known["changes"][0]["reason"], "the signing service is down");

    let id = opened["id"].as_str().unwrap();
    let change = format!("/api/v1/provenance-changes/{id}");
    house
        .in_person(&kate, Method::DELETE, &change, "")
        .await
        .expect(204);
    let next = Wheel::new("sample", "1.2").build();
    stage.upload(&next, &[]).await.expect(403);
    house
        .in_person(&kate, Method::DELETE, &change, "")
        .await
        .expect(404);
}

#[tokio::test]
async fn on_a_critical_project_a_second_owner_confirms_a_move() {
    let stage = Stage::set().await;
    stage.attested("1.0").await;
    let (kate, liz) = (stage.owner("kate").await, stage.owner("liz").await);
    let house = &stage.house;
    house
        .registry
        .mark_critical(&Actor::operator(), Ecosystem::Pypi, "sample", true)
        .await
        .unwrap();
    let wish = json!({
        "issuer": URL, "repository": "https://github.com/acme/sample", "repository_id": "75", "owner_id": "10",
        "hours": 24, "reason": "a new home",
    });
    let path = "/api/v1/projects/pypi/sample/provenance/moves";
    let declared = house
        .in_person(&kate, Method::POST, path, &wish.to_string())
        .await
        .expect(201)
        .json();
    assert_eq!(declared["state"], "waiting");
    let confirm = format!(
        "/api/v1/provenance-changes/{}/confirm",
        declared["id"].as_str().unwrap()
    );
    for person in [&kate, &liz] {
        // Who declared it is no second person, and liz has been an owner for a moment only.
        let refused = house
            .in_person(person, Method::POST, &confirm, "")
            .await
            .expect(403);
        assert_eq!(refused.json()["code"], "second-person-needed");
    }
    let shown = house.get("/api/v1/projects/pypi/sample/provenance").await;
    assert_eq!(shown.json()["changes"][0]["state"], "waiting");
}

#[tokio::test]
async fn owners_name_identities_whose_attestations_come_with_api_tokens() {
    let stage = Stage::set().await;
    let kate = stage.owner("kate").await;
    let house = &stage.house;
    let package = Wheel::new("sample", "0.2").build();
    let sent = stage.both(&job(), &package);
    let mut form = package.form();
    form.push(("attestations", Value::from(sent).to_string()));
    let refused = house.upload_with(&package, &form, &[]).await.expect(400);
    assert!(
        refused.text().contains("attestations-not-taken"),
        "{}",
        refused.text()
    );

    let path = "/api/v1/projects/pypi/sample/provenance/identities";
    let wish = json!({"issuer": URL, "repository": "https://github.com/octo/sample", "workflow": ".github/workflows/release.yml"});
    let named = house
        .in_person(&kate, Method::POST, path, &wish.to_string())
        .await
        .expect(201)
        .json();
    house.upload_with(&package, &form, &[]).await.expect(200);
    let known = house.get(&of(&package, "0.2")).await.expect(200).json();
    assert_eq!(known["files"][0]["level"], "provenance");
    let one = format!("{path}/{}", named["id"].as_str().unwrap());
    house
        .in_person(&kate, Method::DELETE, &one, "")
        .await
        .expect(204);
    let left = house
        .get("/api/v1/projects/pypi/sample/provenance")
        .await
        .json();
    assert_eq!(left["identities"], json!([]));
}

#[tokio::test]
async fn trust_roots_are_listed_for_everybody() {
    let stage = Stage::set().await;
    stage.attested("1.0").await;
    let listed = stage
        .house
        .get("/api/v1/trust-roots")
        .await
        .expect(200)
        .json();
    let items = listed["items"].as_array().unwrap();
    let named = |name: &str| items.iter().find(|root| root["name"] == name).unwrap();
    assert_eq!(named("ours")["attestations"], 2);
    assert_eq!(named("ours")["kind"], "private");
    assert!(named("public-good")["tuf_url"].is_string());
    assert!(named("github")["added"].is_null());
}

#[tokio::test]
async fn pages_say_what_was_confirmed_with_links_and_a_word_on_what_it_is_not() {
    let stage = Stage::set().await;
    let house = &stage.house;
    stage.attested("1.0").await;
    for path in ["/project/pypi/sample/", "/project/pypi/sample/1.0/"] {
        let page = house.get(path).await.expect(200);
        let page = page.text();
        for said in [
            "Security",
            "Build provenance",
            "Source",
            "Integrity",
            "Signed by <strong>release.<wbr>yml of github.<wbr>com/<wbr>octo/<wbr>sample</strong>",
            "Transparency log entry",
            "Confirmed by this registry",
            "no judgement of the code",
            "href=\"/help/provenance\"",
            "href=\"https://github.com/octo/sample\"",
            "https://github.com/octo/sample/commit/7b1fd5d2f37f4e5fa65a7b5d1c6d2e1f0a9b8c7d",
            "https://github.com/octo/sample/blob/7b1fd5d2f37f4e5fa65a7b5d1c6d2e1f0a9b8c7d/.github/workflows/release.yml",
            "https://github.com/octo/sample/actions/runs/4521/attempts/1",
            "GitHub Actions",
            "side-security",
        ] {
            assert!(page.contains(said), "{path}: {said}\n{page}");
        }
        assert!(
            !page.contains("aria-labelledby=\"departure\""),
            "{path} warns"
        );
    }
    // One that came before, with nothing.
    let plain = house.get("/project/pypi/sample/0.1/").await.expect(200);
    assert!(
        plain
            .text()
            .contains("There is none: nothing that was signed")
    );
    assert!(!plain.text().contains("side-security"));
}

#[tokio::test]
async fn a_release_with_less_behind_it_warns_and_says_what_was_said_beforehand() {
    let stage = Stage::set().await;
    let house = &stage.house;
    stage.attested("1.0").await;
    let kate = stage.owner("kate").await;
    let wish = json!({"level": "token", "hours": 2, "reason": "the CI system is <down>"});
    house
        .in_person(
            &kate,
            Method::POST,
            "/api/v1/projects/pypi/sample/provenance/exceptions",
            &wish.to_string(),
        )
        .await
        .expect(201);
    house.published("sample", "1.1").await;
    let page = house.get("/project/pypi/sample/1.1/").await.expect(200);
    let page = page.text();
    for said in [
        "Less stands behind this release than before",
        "an account&#39;s API token",
        "Said beforehand: the CI system is &#60;down&#62;",
    ] {
        assert!(page.contains(said), "{said}\n{page}");
    }
    let before = house.get("/project/pypi/sample/1.0/").await.expect(200);
    assert!(!before.text().contains("Less stands behind"));
}

#[tokio::test]
async fn a_release_from_a_declared_source_says_from_where_it_moved() {
    let stage = Stage::set().await;
    let house = &stage.house;
    stage.attested("1.0").await;
    let kate = stage.owner("kate").await;
    // To another issuer's workflow, named for API tokens.
    let elsewhere = claims::github("acme/sample", "release.yml")
        .set("repository_id", "75")
        .set("repository_owner_id", "10");
    let wish = json!({
        "issuer": URL, "repository": "https://github.com/acme/sample", "repository_id": "75", "owner_id": "10",
        "hours": 24, "reason": "a new home",
    });
    let at = "/api/v1/projects/pypi/sample/provenance";
    house
        .in_person(
            &kate,
            Method::POST,
            &format!("{at}/moves"),
            &wish.to_string(),
        )
        .await
        .expect(201);
    let named = json!({"issuer": URL, "repository": "https://github.com/acme/sample"});
    house
        .in_person(
            &kate,
            Method::POST,
            &format!("{at}/identities"),
            &named.to_string(),
        )
        .await
        .expect(201);
    let package = Wheel::new("sample", "2.0").build();
    let mut form = package.form();
    form.push((
        "attestations",
        Value::from(stage.both(&elsewhere, &package)).to_string(),
    ));
    house.upload_with(&package, &form, &[]).await.expect(200);
    let page = house.get("/project/pypi/sample/2.0/").await.expect(200);
    for said in [
        "This release comes from another source",
        "https://github.com/acme/sample",
        "Said beforehand: a new home",
    ] {
        assert!(page.text().contains(said), "{said}\n{}", page.text());
    }
}

#[tokio::test]
async fn the_settings_page_opens_names_and_closes_and_operators_see_trust_roots() {
    let stage = Stage::set().await;
    let house = &stage.house;
    stage.attested("1.0").await;
    let kate = stage.owner("kate").await;
    let settings = "/projects/pypi/sample/settings/provenance";
    let page = async || {
        house
            .get_with(settings, &[("cookie", kate.cookie.as_str())])
            .await
            .expect(200)
    };
    assert!(page().await.text().contains("confirmed build provenance"));
    let send = async |rest: &str, fields: &str| {
        house
            .form(&kate, &format!("{settings}{rest}"), fields)
            .await
            .expect(303)
    };
    let answer = send("/exception", "level=workflow&hours=3&reason=the+CI+is+down").await;
    assert_eq!(
        answer.header("location"),
        format!("{settings}?done=exception-opened")
    );
    let shown = page().await;
    assert!(shown.text().contains("the CI is down"), "{}", shown.text());
    let (_, rest) = shown.text().split_once("provenance/close\"").unwrap();
    let (_, rest) = rest.split_once("name=\"id\" value=\"").unwrap();
    let id = rest.split('"').next().unwrap();
    send("/close", &format!("id={id}")).await;
    assert!(
        page()
            .await
            .text()
            .contains("Nothing. Files are held against")
    );
    // What is refused comes back with the words as typed.
    let refused = send(
        "/exception",
        "level=workflow&hours=999&reason=much+too+long",
    )
    .await;
    let again = house
        .get_with(
            refused.header("location"),
            &[("cookie", kate.cookie.as_str())],
        )
        .await
        .expect(200);
    assert!(
        again.text().contains("999 hours are not possible")
            && again.text().contains("much too long")
    );
    send(
        "/identities",
        "issuer=https%3A%2F%2Fissuer.example&repository=https%3A%2F%2Fforge.example%2Fa%2Fb",
    )
    .await;
    assert!(page().await.text().contains("https://forge.example/a/b"));

    let stranger = house.person("stranger", false).await;
    let cookie = [("cookie", stranger.cookie.as_str())];
    let refused = house.get_with(settings, &cookie).await;
    assert!([403, 404].contains(&refused.status.as_u16()));

    let olga = house.person("olga", true).await;
    let roots = house
        .get_with("/operator/trust-roots", &[("cookie", olga.cookie.as_str())])
        .await
        .expect(200);
    let digest = Sha256::of(stage.sigstore.trusted_root_json().as_bytes()).to_string();
    assert!(roots.text().contains(&digest) && roots.text().contains("less than an hour"));
    let help = house.get("/help/provenance").await.expect(200);
    assert!(help.text().contains(&digest));
    let refused = house.get_with("/operator/trust-roots", &cookie).await;
    assert_eq!(refused.status.as_u16(), 403);
}
