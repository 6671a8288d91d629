//! From a real publish with attestations to a consumer who believes nobody: against a real registry, from what was saved of it,
//! and from what somebody changed of that.

use std::fs;
use std::path::Path;

use countersign_testkit::claims::Claims;
use countersign_testkit::http;
use countersign_testkit::packages::{Crate, NpmPackage, Package, Wheel};
use countersign_testkit::sarif;
use countersign_testkit::schema::Schemas;
use countersign_testkit::sigstore::{Identity, PrivateSigstore, statements};
use serde_json::{Value, json};

use crate::stage::Stage;
use crate::user::{Ran, User};

/// A registry that trusts a private Sigstore, with a project whose workflow publishes, and a user beside it.
struct Scene {
    stage: Stage,
    sigstore: PrivateSigstore,
    issuer: countersign_testkit::issuer::Issuer,
}

impl Scene {
    fn new() -> Self {
        let stage = Stage::start();
        let sigstore = PrivateSigstore::new("consumer");
        let root = sigstore.write_trusted_root(&stage.ada.path(".")).unwrap();
        let add = [
            "admin",
            "trust-root",
            "add",
            "private",
            root.to_str().unwrap(),
        ];
        stage.server.run(&add).unwrap();
        let issuer = stage.issuer("company", "github");
        let first = Wheel::new("sample", "0.9").build();
        let by_token = stage.server.publish(&first, &stage.stored).unwrap();
        by_token.expect_status(200).unwrap();
        stage.register_workflow("sample", "company", &[]);
        Self {
            stage,
            sigstore,
            issuer,
        }
    }

    fn identity(&self, claims: &Claims) -> Identity {
        Identity::github(&self.issuer.url(), self.stage.oidc.url(), claims)
    }

    /// Publishes from the workflow, with both kinds of attestations, and pins the keys that the registry has by then.
    fn publish(&self, version: &str) -> Package {
        let package = Wheel::new("sample", version).build();
        let claims = self.stage.claims();
        let identity = self.identity(&claims);
        let (name, bytes) = (&package.filename, &package.bytes);
        let said = [
            statements::pypi_publish(name, bytes),
            statements::slsa_v1(name, bytes, &identity),
        ];
        let attestations = said.map(|said| self.sigstore.sign_attestation(&identity, &said));
        let attestations = json!(attestations).to_string();
        let token = self.issuer.token(&self.stage.audience(), &claims).unwrap();
        let url = format!("{}/_/oidc/mint-token", self.stage.server.url());
        let headers = [("Content-Type", "application/json")];
        let body = json!({"token": token}).to_string();
        let minted = http::request("POST", &url, &headers, body.as_bytes()).unwrap();
        let minted = minted.expect_status(200).unwrap().json().unwrap();
        let token = minted["token"].as_str().unwrap();
        self.stage
            .server
            .publish_with(&package, token, &[("attestations", &attestations)])
            .unwrap()
            .expect_status(200)
            .unwrap();
        package.write_to(&self.stage.ada.path(".")).unwrap();
        let url = self.stage.server.url();
        self.run(&["trust", "add", &url, "--yes"])
            .expect(0, &["attestations   SHA256:"]);
        package
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.stage
            .ada
            .run_with(arguments, &[("COUNTERSIGN_CA", self.stage.ca())])
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.stage.ada.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.stage.ada.path(name)).unwrap()
    }
}

const ROOT: [&str; 2] = ["--trusted-root", "trusted_root.json"];

fn requirement(package: &Package, version: &str) -> String {
    format!(
        "{}=={version} --hash=sha256:{}\n",
        package.project,
        package.sha256()
    )
}

/// What came of each check of a report that `--json` printed.
fn verdicts(ran: &Ran) -> Vec<(String, String)> {
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let rows = report["checks"].as_array().unwrap();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| (text(row, "check"), text(row, "verdict")))
        .collect()
}

#[test]
fn a_consumer_confirms_every_link_online_and_from_saved_evidence_and_a_policy_holds_it() {
    let scene = Scene::new();
    let package = scene.publish("1.0");
    let name = &package.filename;
    let ran = scene.run(&[&["--json", "verify", name, "--save", "evidence"], &ROOT[..]].concat());
    let ran = ran.expect(0, &[]);
    let of = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter();
        pairs
            .map(|(check, verdict)| ((*check).to_owned(), (*verdict).to_owned()))
            .collect::<Vec<_>>()
    };
    let confirmed = "confirmed";
    let mut seen = verdicts(&ran);
    seen.sort();
    let mut expected = of(&[
        ("digest", confirmed),
        ("log", confirmed),
        ("witnesses", "not-checked"),
        ("tuf", confirmed),
        ("attestations", confirmed),
        ("attestation", confirmed),
        ("statement", confirmed),
        ("identity", "not-checked"),
        ("attestation", confirmed),
        ("statement", confirmed),
        ("identity", "not-checked"),
        ("release", confirmed),
        ("summary", confirmed),
    ]);
    expected.sort();
    assert_eq!(seen, expected, "{ran:#?}");

    // The identifier instead of the file: the bytes are fetched.
    let asked = scene.run(
        &[
            &["verify", "pkg:pypi/Sample@1.0", "--save", "fetched"],
            &ROOT[..],
        ]
        .concat(),
    );
    asked.expect(
        0,
        &[
            "✓ digest",
            "✓ release",
            "✓ summary",
            "COUNTERSIGN_PROVENANCE",
        ],
    );
    assert_eq!(
        fs::read(scene.stage.ada.path("fetched").join(name)).unwrap(),
        package.bytes
    );
    let nothing = scene.run(&[&["verify", "pkg:pypi/sample@7.0"], &ROOT[..]].concat());
    nothing.expect(3, &["Nothing is known of pkg:pypi/sample@7.0"]);
    // Without the right root nothing of it is believed.
    scene
        .run(&["verify", name])
        .expect(3, &["✓ log", "✗ attestation"]);

    // Trust on first use, written down.
    scene.write("requirements.txt", &requirement(&package, "1.0"));
    scene
        .run(&[&["policy", "init"], &ROOT[..]].concat())
        .expect(0, &["built by", "octo/sample", "trust on first use"]);
    let policy = scene.read("countersign-policy.toml");
    for word in [
        "repository_id = \"74001\"",
        "owner_id = \"65001\"",
        "release.yml",
        "\"publish\", \"slsa-provenance\"",
    ] {
        assert!(policy.contains(word), "{word}: {policy}");
    }
    scene
        .run(&[&["policy", "init"], &ROOT[..]].concat())
        .expect(2, &["is there already", "policy check"]);
    scene
        .run(&[&["policy", "check"], &ROOT[..]].concat())
        .expect(0, &["✓ 1 entries"]);
    let by_policy = [&ROOT[..], &["--policy", "countersign-policy.toml"]].concat();
    let whole = scene.run(&[&["verify", "requirements.txt"], &by_policy[..]].concat());
    whole.expect(
        0,
        &["✓ sample 1.0", "as the policy allows", "1 hold, 0 fail"],
    );

    let Scene { stage, .. } = scene;
    let Stage { server, ada, .. } = stage;
    drop(server);
    let offline = |arguments: &[&str]| ada.run(&[arguments, &by_policy[..]].concat());
    offline(&["verify", name, "--offline=evidence"])
        .expect(0, &["✓ identity", "✓ provenance", "✓ summary"]);
    offline(&["verify", "--offline", "evidence", name]).expect(0, &["✓ provenance"]);
    offline(&["verify", "pkg:pypi/sample@1.0", "--offline=fetched"])
        .expect(0, &["✓ digest", "✓ provenance"]);
    offline(&["verify", "requirements.txt", "--offline=evidence"]).expect(0, &["✓ sample 1.0"]);
    // 1.0 and 1.0.0 are one release.
    fs::write(ada.path("zeros.txt"), requirement(&package, "1.0.0")).unwrap();
    offline(&["verify", "zeros.txt", "--offline=evidence"]).expect(0, &["✓ sample 1.0.0"]);
    // The network is gone, and is said to be.
    offline(&["verify", name]).expect(5, &["can not be fetched"]);
    tampered_evidence(&ada, name, &by_policy);
}

/// Every text in the saved evidence, changed alone, is seen; only what no proof covers may pass.
fn tampered_evidence(ada: &User, name: &str, by_policy: &[&str]) {
    let folder = ada.path("evidence");
    let path = folder.join(format!("{name}.attestations.json"));
    let good: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let verify =
        || ada.run(&[&["--json", "verify", name, "--offline=evidence"], by_policy].concat());
    let mut changed = 0;
    for place in pointers(&good) {
        let mut bad = good.clone();
        let value = bad.pointer_mut(&place).unwrap();
        *value = swapped(value);
        fs::write(&path, bad.to_string()).unwrap();
        let ran = verify();
        // The log's own entry and the bytes decide; what the folder says besides is compared with them or unused.
        let unused = ["/digest", "/total", "/form"]
            .iter()
            .any(|end| place.ends_with(end));
        assert!(
            [2, 3].contains(&ran.code) || (ran.code == 0 && unused),
            "{place}: {ran:#?}"
        );
        changed += 1;
    }
    assert_eq!(changed, 12);
    // Each attestation's own text, letter by letter over its length.
    let count = good["files"][0]["attestations"].as_array().unwrap().len();
    assert_eq!(count, 4);
    for at in 0..count {
        let raw = good["files"][0]["attestations"][at]["raw"]
            .as_str()
            .unwrap();
        for step in 0..24 {
            let place = raw.len() * step / 24;
            let mut bad = good.clone();
            let mut text = raw.as_bytes().to_vec();
            text[place] = if text[place] == b'A' { b'B' } else { b'A' };
            bad["files"][0]["attestations"][at]["raw"] = json!(String::from_utf8(text).unwrap());
            fs::write(&path, bad.to_string()).unwrap();
            let ran = verify();
            // Under another key's name it is nobody's that is pinned: not checked, and not said to hold.
            let by_nobody = at >= 2 && ran.code == 0 && own_confirmed(&ran) == 1;
            assert!(
                ran.code == 3 || by_nobody,
                "attestation {at}, letter {place}: {ran:#?}"
            );
        }
        // One that the log names is left out.
        let mut bad = good.clone();
        bad["files"][0]["attestations"]
            .as_array_mut()
            .unwrap()
            .remove(at);
        fs::write(&path, bad.to_string()).unwrap();
        let ran = verify();
        match raw.contains("verification_material") {
            true => drop(ran.expect(3, &["attestation-withheld"])),
            // The registry's own are not in the log; they are then missing, and not said to hold.
            false => assert_eq!(own_confirmed(&ran), 1, "{ran:#?}"),
        }
    }
    fs::write(&path, good.to_string()).unwrap();
    verify().expect(0, &[]);
    let proof = folder.join(format!("{name}.tlog-proof"));
    let text = fs::read_to_string(&proof).unwrap();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| line.len() > 12) {
        let middle = line
            .char_indices()
            .map(|(at, _)| at)
            .find(|at| *at >= line.len() / 2)
            .unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let swapped = if line[middle..].starts_with('A') {
            "B"
        } else {
            "A"
        };
        let end = middle + line[middle..].chars().next().unwrap().len_utf8();
        lines[at].replace_range(middle..end, swapped);
        fs::write(&proof, lines.join("\n") + "\n").unwrap();
        let ran = verify();
        assert!([2, 3].contains(&ran.code), "line {at}: {ran:#?}");
    }
    fs::write(&proof, text).unwrap();
    verify().expect(0, &[]);
    let mut trust = fs::read_to_string(ada.path("home/trust.toml")).unwrap();
    // Another attestation key under the pinned name is damage, and none pinned is not checked.
    let at = trust.find("-----BEGIN PUBLIC KEY-----").unwrap() + 60;
    trust.replace_range(at..=at, if &trust[at..=at] == "A" { "B" } else { "A" });
    fs::write(ada.path("other.toml"), &trust).unwrap();
    let ran = ada.run(
        &[
            &[
                "verify",
                name,
                "--offline=evidence",
                "--trust",
                "other.toml",
            ],
            by_policy,
        ]
        .concat(),
    );
    ran.expect(2, &["attestation key"]);
    let none = trust.split("[[registry.attestation_keys]]").next().unwrap();
    fs::write(ada.path("none.toml"), none).unwrap();
    let ran = ada.run(
        &[
            &["verify", name, "--offline=evidence", "--trust", "none.toml"],
            by_policy,
        ]
        .concat(),
    );
    let ran = ran.expect(0, &["– release", "not checked", "not pinned"]);
    assert!(!ran.out.contains("✓ summary"), "{ran:#?}");
}

/// How many of the registry's own attestations are said to hold.
fn own_confirmed(ran: &Ran) -> usize {
    let own = ["release", "summary"];
    let rows = verdicts(ran).into_iter();
    rows.filter(|(check, verdict)| own.contains(&&**check) && verdict == "confirmed")
        .count()
}

/// The places of all texts and numbers in a document, except the attestations' own texts.
fn pointers(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| *name != "raw")
            .flat_map(|(name, value)| {
                pointers(value)
                    .into_iter()
                    .map(move |rest| format!("/{name}{rest}"))
            })
            .collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .flat_map(|(at, value)| {
                pointers(value)
                    .into_iter()
                    .map(move |rest| format!("/{at}{rest}"))
            })
            .collect(),
        _ => vec![String::new()],
    }
}

fn swapped(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let mut bytes = text.clone().into_bytes();
            let middle = bytes.len() / 2;
            bytes[middle] = if bytes[middle] == b'1' { b'2' } else { b'1' };
            Value::String(String::from_utf8(bytes).unwrap())
        }
        _ => json!(7),
    }
}

#[test]
fn a_lock_file_is_held_against_log_and_policy_entry_by_entry() {
    let scene = Scene::new();
    let package = scene.publish("1.0");
    let bare = Wheel::new("bare", "2.0").build();
    let answer = scene
        .stage
        .server
        .publish(&bare, &scene.stage.stored)
        .unwrap();
    answer.expect_status(200).unwrap();
    let good = format!(
        "{}{}",
        requirement(&package, "1.0"),
        requirement(&bare, "2.0")
    );
    scene.write("requirements.txt", &good);
    let (name, url) = (&package.filename, scene.stage.server.url());
    let uv = format!(
        "version = 1\nrequires-python = \">=3.9\"\n\n[[package]]\nname = \"app\"\nversion = \"0\"\nsource = {{ virtual = \".\" }}\n\n\
         [[package]]\nname = \"sample\"\nversion = \"1.0\"\nsource = {{ registry = \"{url}/pypi/simple/\" }}\n\
         wheels = [{{ url = \"{url}/files/x/{name}\", hash = \"sha256:{}\" }}]\n\n\
         [[package]]\nname = \"far\"\nversion = \"1\"\nsource = {{ git = \"https://git.example/far?rev=1#abc\" }}\n",
        package.sha256()
    );
    scene.write("uv.lock", &uv);
    let run = |arguments: &[&str]| scene.run(&[arguments, &ROOT[..]].concat());
    run(&["policy", "init"]).expect(2, &["several lock files", "requirements.txt"]);
    run(&["policy", "init", "requirements.txt"])
        .expect(0, &["– pkg:pypi/bare  no provenance", "✓ pkg:pypi/sample"]);
    let verify = |lock: &str| {
        run(&[
            "--json",
            "verify",
            lock,
            "--policy",
            "countersign-policy.toml",
        ])
    };
    let held = verify("requirements.txt").expect(0, &[]);
    let held: Value = serde_json::from_str(&held.out).unwrap();
    assert_eq!(held["holds"], true);
    assert_eq!(held["entries"][1]["project"], "bare");
    assert!(
        held["entries"][1]["reason"]
            .as_str()
            .unwrap()
            .contains("the policy wants nothing")
    );
    // What comes from past the registry is refused until the policy says so.
    verify("uv.lock").expect(3, &["lock-elsewhere", "git.example/far"]);
    // The same for code scanners: by the schema of what we write, and by what the standard says in words.
    let schema = include_str!("../data/schemas/sarif-ours.json");
    let schemas = Schemas::new(vec![serde_json::from_str(schema).unwrap()]);
    for (lock, code, results) in [("requirements.txt", 0, 0), ("uv.lock", 3, 1)] {
        let words = [
            "verify",
            lock,
            "--policy",
            "countersign-policy.toml",
            "--sarif",
        ];
        let ran = run(&words).expect(code, &[]);
        let document: Value = serde_json::from_str(&ran.out).unwrap();
        let faults = [schemas.faults("", &document), sarif::faults(&document)].concat();
        assert!(faults.is_empty(), "{lock}: {faults:#?}");
        let found = document["runs"][0]["results"].as_array().unwrap();
        assert!(found.len() >= results, "{lock}: {found:?}");
        let errors = found.iter().filter(|one| one["level"] == "error");
        assert_eq!(errors.count(), results, "{lock}: {found:?}");
    }
    run(&["policy", "init", "uv.lock", "--output", "uv.toml"])
        .expect(0, &["past the registry", "1 on this machine left out"]);
    run(&["verify", "uv.lock", "--policy", "uv.toml"])
        .expect(0, &["– far 1", "– app 0", "✓ sample 1.0"]);

    let zeros = "0".repeat(64);
    for (case, bad, words) in [
        (
            "another digest",
            good.replace(&*package.sha256(), &zeros),
            &["unknown-file", &zeros][..],
        ),
        (
            "another version",
            good.replace("sample==1.0", "sample==0.9"),
            &["unknown-file"],
        ),
        (
            "another project",
            good.replace("sample==1.0", "bare==1.0"),
            &["unknown-file"],
        ),
        ("no digest", "sample==1.0\n".to_owned(), &["lock-unhashed"]),
        (
            "unlisted",
            format!("{good}other==1.0 --hash=sha256:{zeros}\n"),
            &["unknown-file"],
        ),
    ] {
        scene.write("bad.txt", &bad);
        let ran = verify("bad.txt");
        assert_eq!(ran.code, 3, "{case}: {ran:#?}");
        for word in words {
            assert!(
                ran.out.contains(word) || ran.err.contains(word),
                "{case}: {word}: {ran:#?}"
            );
        }
        let init = run(&["policy", "init", "bad.txt", "--output", "never.toml"]);
        init.expect(3, &["no policy is written"]);
        assert!(!scene.stage.ada.path("never.toml").exists(), "{case}");
    }

    // What changed since: the policy of another day.
    let policy = scene.read("countersign-policy.toml");
    for (case, old, words) in [
        ("signer", policy.replace("octo/sample", "octo/elsewhere"), &["✗ sample", "built by somebody else", "octo/elsewhere"][..]),
        ("ids", policy.replace("\"74001\"", "\"1\""), &["built by somebody else", "74001"]),
        ("new", policy.replace("pkg:pypi/bare", "pkg:pypi/gone"), &["✗ bare  not in the policy", "– pkg:pypi/gone  gone"]),
        ("lost", policy.replace("pkg:pypi/bare\"\nprovenance = \"none\"", "pkg:pypi/bare\"\nprovenance = \"required\"\n[[project.signer]]\nissuer = \"x\"\nrepository = \"y\"\n"), &["✗ bare  provenance lost"]),
    ] {
        assert_ne!(old, policy, "{case}");
        scene.write("old.toml", &old);
        run(&["policy", "check", "requirements.txt", "--policy", "old.toml"]).expect(3, words);
        run(&["verify", "requirements.txt", "--policy", "old.toml"]).expect(3, &["✗"]);
    }
    let (head, _) = policy.split_once("[[project]]").unwrap();
    let none = ["bare", "sample"]
        .map(|name| format!("[[project]]\npurl = \"pkg:pypi/{name}\"\nprovenance = \"none\"\n"));
    scene.write("none.toml", &format!("{head}{}", none.concat()));
    run(&[
        "policy",
        "check",
        "requirements.txt",
        "--policy",
        "none.toml",
    ])
    .expect(0, &["– sample  has provenance now"]);
    let other_log = policy.replacen("origin = \"", "origin = \"x", 1);
    scene.write("other.toml", &other_log);
    run(&["verify", "requirements.txt", "--policy", "other.toml"]).expect(3, &["not from"]);
    // Nobody answers, and another registry's key.
    let nowhere = ["--registry", "https://127.0.0.1:1"];
    run(&[&["verify", "requirements.txt"], &nowhere[..]].concat()).expect(2, &["No key is pinned"]);
    run(&["verify", "requirements.txt", "--trust", "nothing.toml"])
        .expect(2, &["No registry is pinned"]);
    let trust = scene
        .read("home/trust.toml")
        .replace(&url, "https://127.0.0.1:1");
    scene.write("away.toml", &trust);
    run(&["verify", "requirements.txt", "--trust", "away.toml"]).expect(5, &["127.0.0.1:1"]);
    assert!(Path::new(&scene.stage.ada.path("uv.toml")).exists());
}

#[test]
fn a_crate_is_published_with_its_provenance_and_a_consumer_confirms_it() {
    let scene = Scene::new();
    let stage = &scene.stage;
    let url = format!("{}/cargo/api/v1/crates/new", stage.server.url());
    let first = Crate::new("tool", "0.9.0").body();
    http::request("PUT", &url, &[("Authorization", &stage.stored)], &first)
        .unwrap()
        .expect_status(200)
        .unwrap();
    stage.register_workflow("cargo:tool", "company", &[]);

    let package = Crate::new("tool", "1.0.0").build();
    let (name, bytes) = (&package.filename, &package.bytes);
    package.write_to(&stage.ada.path(".")).unwrap();
    let claims = stage.claims();
    let identity = scene.identity(&claims);
    let said = statements::slsa_v1(name, bytes, &identity);
    let signed = scene.sigstore.sign_attestation(&identity, &said);
    scene.write(&format!("{name}.slsa.attestation"), &signed.to_string());
    let file = stage.ada.path(name);
    let file = file.to_str().unwrap();
    let runner = stage.github(&claims);
    let explained = stage.publish(&runner, &["--dry-run", file]);
    explained.expect(0, &["/cargo/api/v1/crates/new", "pkg:cargo/tool@1.0.0"]);
    let published = stage.publish(&runner, &[file]);
    published.expect(
        0,
        &[
            "Published: pkg:cargo/tool@1.0.0",
            "proof verified",
            "with an attestation: https://slsa.dev/provenance/v1",
            "The token was given back",
        ],
    );

    let url = stage.server.url();
    scene
        .run(&["trust", "add", &url, "--yes"])
        .expect(0, &["attestations   SHA256:"]);
    let proven = [
        "✓ digest",
        "✓ log",
        "✓ attestation",
        "✓ statement",
        "✓ summary",
    ];
    scene
        .run(&[&["verify", name], &ROOT[..]].concat())
        .expect(0, &proven);
    scene
        .run(&[&["verify", "pkg:cargo/tool@1.0.0"], &ROOT[..]].concat())
        .expect(0, &[&proven[..], &["✓ release"]].concat());

    // The same evidence from the registry's two addresses.
    let get = |path: &str| {
        let answer = stage.server.get(path).unwrap();
        answer.expect_status(200).unwrap().json().unwrap()
    };
    let object = get("/cargo/api/v1/crates/tool/1.0.0/provenance");
    let bundle = &object["attestation_bundles"][0];
    assert_eq!(
        bundle["attestations"].as_array().unwrap().len(),
        1,
        "{object}"
    );
    let purl = "pkg%3Acargo%2Ftool%401.0.0";
    let found = get(&format!("/api/v1/attestations/{purl}"));
    let attestations = found["files"][0]["attestations"].to_string();
    assert!(
        attestations.contains("https://slsa.dev/provenance/v1"),
        "{found}"
    );
    assert_eq!(found["files"][0]["level"], "provenance");
    assert_eq!(
        stage
            .server
            .get("/cargo/api/v1/crates/tool/0.9.0/provenance")
            .unwrap()
            .status,
        404
    );

    // From now on less is refused, and cargo's own body is as good as before.
    let plain = Crate::new("tool", "1.1.0").body();
    let put = format!("{url}/cargo/api/v1/crates/new");
    let answer = http::request("PUT", &put, &[("Authorization", &stage.stored)], &plain).unwrap();
    assert_eq!(answer.status, 403, "{}", answer.text());
    assert!(answer.text().contains("trust-lost"), "{}", answer.text());

    // An attestation of other bytes is refused with the whole publication.
    let mut body = Crate::new("tool", "2.0.0").body();
    let list = format!("[{signed}]");
    body.extend(u32::try_from(list.len()).unwrap().to_le_bytes());
    body.extend(list.as_bytes());
    let token = scene.issuer.token(
        &stage.audience_of("cargo"),
        &claims.clone().set("jti", "second"),
    );
    let exchange = format!("{url}/cargo/api/v1/trusted_publishing/tokens");
    let jwt = json!({"jwt": token.unwrap()}).to_string();
    let minted = http::request("POST", &exchange, &[], jwt.as_bytes()).unwrap();
    let minted = minted.expect_status(200).unwrap().json().unwrap();
    let token = minted["token"].as_str().unwrap();
    let answer = http::request("PUT", &put, &[("Authorization", token)], &body).unwrap();
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(
        answer.text().contains("attestation-subject-mismatch"),
        "{}",
        answer.text()
    );
    let gone = stage.server.get("/cargo/api/v1/crates/tool/2.0.0/download");
    assert_eq!(gone.unwrap().status, 404);
}

#[test]
fn a_tarball_of_npm_is_published_with_its_provenance_and_a_consumer_confirms_it() {
    let scene = Scene::new();
    let stage = &scene.stage;
    let url = stage.server.url();
    let named = "@ada/tool";
    let claims = stage.claims();
    let identity = scene.identity(&claims);
    let repository = identity.extension(12).to_owned();
    let of_version = |version: &str| {
        NpmPackage::new(named, version)
            .set("repository", json!({"type": "git", "url": repository}))
            .set("scripts", json!({"test": "true"}))
            .set("dependencies", json!({"left": "^1.0.0"}))
    };
    let bearer = format!("Bearer {}", stage.stored);
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
    ];
    let address = format!("{url}/npm/@ada%2ftool");
    let first = of_version("0.9.0").request("latest").to_string();
    http::request("PUT", &address, &headers, first.as_bytes())
        .unwrap()
        .expect_status(201)
        .unwrap();
    stage.register_workflow("npm:@ada/tool", "company", &[]);

    // As npm pack names it.
    let built = of_version("1.0.0-rc.1").build();
    let name = "ada-tool-1.0.0-rc.1.tgz";
    fs::write(stage.ada.path(name), &built.bytes).unwrap();
    let said =
        statements::npm_provenance("pkg:npm/%40ada/tool@1.0.0-rc.1", &built.bytes, &identity);
    let bundle = format!("{:#}\n", scene.sigstore.sign_statement(&identity, &said));
    scene.write(&format!("{name}.sigstore.json"), &bundle);
    let file = stage.ada.path(name);
    let file = file.to_str().unwrap();
    let runner = stage.github(&claims);
    // A prerelease does not become what everybody installs.
    stage
        .publish(&runner, &[file])
        .expect(2, &["without --tag", "--tag next"]);
    let purl = "pkg:npm/%40ada/tool@1.0.0-rc.1";
    let explained = stage.publish(&runner, &["--dry-run", "--tag", "next", file]);
    explained.expect(0, &["/npm/", purl, "https://slsa.dev/provenance/v1"]);
    let published = stage.publish(&runner, &["--tag", "next", file]);
    published.expect(
        0,
        &[
            &format!("Published: {purl}"),
            "proof verified",
            "with an attestation: https://slsa.dev/provenance/v1",
            "The token was given back",
        ],
    );
    stage
        .publish(&runner, &["--tag", "next", "--json", file])
        .expect(0, &["\"repeated\":true"]);

    let packument = stage.server.get("/npm/@ada%2ftool").unwrap();
    let packument = packument.expect_status(200).unwrap().json().unwrap();
    assert_eq!(
        packument["dist-tags"],
        json!({"latest": "0.9.0", "next": "1.0.0-rc.1"})
    );
    let version = &packument["versions"]["1.0.0-rc.1"];
    assert_eq!(version["_npmUser"]["trustedPublisher"]["id"], "github");
    assert_eq!(version["dependencies"], json!({"left": "^1.0.0"}));
    let attestations = stage
        .server
        .get("/npm/-/npm/v1/attestations/@ada%2ftool@1.0.0-rc.1")
        .unwrap();
    let attestations = attestations.expect_status(200).unwrap().json().unwrap();
    let sent: Value = serde_json::from_str(&bundle).unwrap();
    assert_eq!(attestations["attestations"][0]["bundle"], sent);

    scene
        .run(&["trust", "add", &url, "--yes"])
        .expect(0, &["attestations   SHA256:"]);
    scene.run(&[&["verify", name], &ROOT[..]].concat()).expect(
        0,
        &[
            "✓ digest",
            "✓ log",
            "✓ attestation",
            "✓ statement",
            "✓ summary",
        ],
    );

    // A bundle about other bytes is told before anything is sent; so is a second one.
    let other = of_version("1.0.0").build();
    fs::write(stage.ada.path("tool-1.0.0.tgz"), &other.bytes).unwrap();
    scene.write("tool-1.0.0.tgz.sigstore", &bundle);
    let file = stage.ada.path("tool-1.0.0.tgz");
    let file = file.to_str().unwrap();
    stage
        .publish(&runner, &[file])
        .expect(2, &["it is about other bytes", "SHA-512"]);
    let said = statements::npm_provenance("pkg:npm/%40ada/tool@1.0.0", &other.bytes, &identity);
    let bundle = scene.sigstore.sign_statement(&identity, &said).to_string();
    for end in ["sigstore", "sigstore.json"] {
        scene.write(&format!("tool-1.0.0.tgz.{end}"), &bundle);
    }
    stage
        .publish(&runner, &[file])
        .expect(2, &["both are bundles"]);
    // Without one it is less than what the package is remembered for.
    stage
        .publish(&runner, &["--no-attestations", file])
        .expect(4, &["provenance"]);
}
