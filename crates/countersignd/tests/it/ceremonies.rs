//! Ceremonies of TUF at the command line: people with files and with a token, on machines without a network.

use std::fs;
use std::path::Path;
use std::process::Command;

use countersign_testkit::sigstore::{Identity, PrivateSigstore, SubjectName};
use serde_json::{Value, json};

use crate::machine::Desk;

/// Where Debian puts SoftHSM's module.
const MODULES: [&str; 2] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
];

/// A token with a P-256 key in it, in a folder of its own.
struct SoftHsm {
    config: String,
    source: String,
}

impl SoftHsm {
    fn new(desk: &Desk) -> Self {
        let module = MODULES
            .iter()
            .find(|path| Path::new(path).exists())
            .expect("SoftHSM is needed to drive PKCS#11 (Debian: softhsm2)");
        let tokens = desk.path("tokens");
        fs::create_dir_all(&tokens).unwrap();
        let config = desk.write(
            "softhsm2.conf",
            &format!("directories.tokendir = {}\n", tokens.display()),
        );
        let config = config.display().to_string();
        // A key made elsewhere, so that no more tools are needed than SoftHSM's own.
        desk.run(&[
            "tuf",
            "key",
            "new",
            "carol.pem",
            "--p256",
            "--no-passphrase",
        ])
        .expect(0, &["ecdsa"]);
        let key = desk.path("carol.pem").display().to_string();
        for arguments in [
            vec![
                "--init-token",
                "--free",
                "--label",
                "carol",
                "--so-pin",
                "5678",
                "--pin",
                "1234",
            ],
            vec![
                "--import", &key, "--token", "carol", "--label", "root", "--id", "01", "--pin",
                "1234",
            ],
        ] {
            let done = Command::new("softhsm2-util")
                .args(&arguments)
                .env("SOFTHSM2_CONF", &config)
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
        }
        fs::remove_file(desk.path("carol.pem")).unwrap();
        Self {
            config,
            source: format!("pkcs11:token=carol;object=root?module-path={module}"),
        }
    }
}

fn missing(status: &Value) -> usize {
    let documents = status["documents"].as_array().unwrap();
    let unsigned = documents
        .iter()
        .filter(|document| document["complete"] == false);
    unsigned.count()
}

#[test]
fn people_with_files_and_a_token_take_the_registry_out_of_development() {
    let desk = Desk::new();
    desk.run(&["init"]).expect(0, &[]);
    desk.run(&["tuf", "status"])
        .expect(0, &["DEVELOPMENT MODE", "pypi", "roots"]);
    // Other online keys alone do not take it out of that: the server signs what people would.
    let early = ["--bundle", "development.json"];
    desk.run(&["tuf", "rotate-online", "targets", early[0], early[1]])
        .expect(0, &["keys are ready"]);
    desk.run(&["tuf", "publish", "--yes", early[0], early[1]])
        .expect(0, &["Published: cargo, npm, pypi, roots"]);
    desk.run(&["tuf", "status"])
        .expect(0, &["DEVELOPMENT MODE: cargo, npm, pypi, roots"]);
    let hsm = SoftHsm::new(&desk);
    let secret = [("COUNTERSIGN_TUF_PASSPHRASE", "correct horse")];
    for name in ["alice.pem", "bob.pem"] {
        desk.run_with(&["tuf", "key", "new", name], &secret)
            .expect(0, &["ed25519"]);
    }
    desk.write(
        "plan.toml",
        "[root]\nkeys = [\"alice.pem.pub\", \"bob.pem.pub\", \"carol.pem.pub\"]\nthreshold = 2\n\
         [targets]\nkeys = [\"alice.pem.pub\", \"bob.pem.pub\"]\nthreshold = 2\n",
    );
    let bundle = ["--bundle", "ceremony.json"];
    desk.run(&[
        "tuf",
        "ceremony",
        "--plan",
        "plan.toml",
        "--yes",
        bundle[0],
        bundle[1],
    ])
    .expect(0, &["speaks for root", "signatures of its own keys"]);
    let publish = ["tuf", "publish", "--yes", bundle[0], bundle[1]];
    desk.run(&publish)
        .expect(3, &["signatures of these keys still miss"]);

    // On three days and machines: two copies, one of them signed by a token.
    for copy in ["for-bob.json", "for-carol.json"] {
        fs::copy(desk.path("ceremony.json"), desk.path(copy)).unwrap();
    }
    let sign = |file: &str, key: &str, environment: &[(&str, &str)]| {
        desk.run_with(
            &["tuf", "sign", "--yes", "--bundle", file, "--key", key],
            environment,
        )
    };
    sign("ceremony.json", "file:alice.pem", &[]).expect(4, &["stays locked"]);
    sign("ceremony.json", "file:alice.pem", &secret).expect(0, &["Signed root of pypi"]);
    let alice = fs::read_to_string(desk.path("alice.pem")).unwrap();
    assert!(alice.contains("ENCRYPTED"));
    sign(
        "for-bob.json",
        "env:KEY_OF_BOB",
        &[
            (
                "KEY_OF_BOB",
                &fs::read_to_string(desk.path("bob.pem")).unwrap(),
            ),
            secret[0],
        ],
    )
    .expect(0, &["Signed targets of npm"]);
    let token = [("SOFTHSM2_CONF", hsm.config.as_str())];
    sign(
        "for-carol.json",
        &hsm.source,
        &[token[0], ("COUNTERSIGN_PKCS11_PIN", "9999")],
    )
    .expect(4, &["does not take the PIN"]);
    sign(
        "for-carol.json",
        &hsm.source,
        &[token[0], ("COUNTERSIGN_PKCS11_PIN", "1234")],
    )
    .expect(0, &["Signed root of roots"]);
    let status = ["--json", "tuf", "status", bundle[0], bundle[1]];
    // Four roots and three targets; alice alone is enough for none.
    assert_eq!(missing(&desk.run(&status).expect(0, &[]).json()), 7);
    desk.run(&["tuf", "merge", bundle[0], bundle[1], "for-carol.json"])
        .expect(0, &["4 new signatures"]);
    assert_eq!(missing(&desk.run(&status).expect(0, &[]).json()), 3);
    desk.run(&["tuf", "merge", bundle[0], bundle[1], "for-bob.json"])
        .expect(0, &["Enough people signed"]);
    desk.run(&publish)
        .expect(0, &["Published: cargo, npm, pypi, roots"]);
    desk.run(&publish).expect(0, &["published already"]);
    let now = desk.run(&["--json", "tuf", "status"]).expect(0, &[]).json();
    assert_eq!(now["development"], false, "{now}");
    let text = desk.run(&["tuf", "status"]).expect(0, &["people"]);
    assert!(!text.out.contains("DEVELOPMENT"), "{text:?}");

    // The drill: every online key is changed, the root's and targets' people sign.
    desk.run(&["tuf", "rotate-online", "bins"])
        .expect(0, &["signs from now on"]);
    for role in ["index", "timestamp", "snapshot", "targets"] {
        let file = format!("{role}.json");
        desk.run(&["tuf", "rotate-online", role, "--bundle", &file])
            .expect(0, &["keys are ready"]);
        sign(&file, "file:alice.pem", &secret).expect(0, &["Signed"]);
        sign(&file, "file:bob.pem", &secret).expect(0, &["Enough people signed"]);
        desk.run(&["tuf", "publish", "--yes", "--bundle", &file])
            .expect(0, &["Published"]);
    }
    let after = desk.run(&["--json", "tuf", "status"]).expect(0, &[]).json();
    for (before, after) in now["repositories"]
        .as_array()
        .unwrap()
        .iter()
        .zip(after["repositories"].as_array().unwrap())
    {
        for role in before["roles"].as_array().unwrap() {
            let name = role["role"].as_str().unwrap();
            let new = after["roles"].as_array().unwrap();
            let new = new.iter().find(|new| new["role"] == name).unwrap();
            let by_server = role["people"] == false;
            assert_eq!(by_server, new["people"] == false, "{name}");
            if by_server {
                assert_ne!(role["keys"], new["keys"], "{name}");
            }
            if name == "root" {
                assert_eq!(role["keys"], new["keys"]);
            }
        }
    }
    desk.run(&["doctor"]);
}

#[test]
fn a_ceremony_that_follows_another_root_is_not_signed() {
    let desk = Desk::new();
    for name in ["alice.pem", "bob.pem", "online.pem"] {
        desk.run(&["tuf", "key", "new", name, "--no-passphrase"])
            .expect(0, &[]);
    }
    desk.run(&["tuf", "key", "new", "alice.pem", "--no-passphrase"])
        .expect(2, &["is there already"]);
    desk.write(
        "plan.toml",
        "[root]\nkeys = [\"alice.pem.pub\", \"bob.pem.pub\"]\n[targets]\nkeys = [\"alice.pem.pub\"]\nthreshold = 1\n\
         [online]\ntimestamp = \"online.pem.pub\"\nsnapshot = \"online.pem.pub\"\nindex = \"online.pem.pub\"\n",
    );
    let ceremony = |file: &str| {
        desk.run(&[
            "tuf",
            "ceremony",
            "--offline",
            "--yes",
            "--plan",
            "plan.toml",
            "--bundle",
            file,
        ])
    };
    ceremony("one.json").expect(0, &["a new repository"]);
    ceremony("one.json").expect(2, &["is there already"]);
    let bundle: Value = serde_json::from_slice(&fs::read(desk.path("one.json")).unwrap()).unwrap();
    let root = &bundle["repositories"]["repository"]["root"];
    desk.write("other.root.json", &root.to_string());
    desk.run(&[
        "tuf",
        "sign",
        "--yes",
        "--bundle",
        "one.json",
        "--key",
        "file:alice.pem",
        "--trusted-root",
        "other.root.json",
    ])
    .expect(3, &["does not follow the root"]);
    desk.run(&[
        "tuf",
        "sign",
        "--yes",
        "--bundle",
        "one.json",
        "--key",
        "file:online.pem",
    ])
    .expect(3, &["asks for the key"]);
    desk.write("plan.toml", "[root]\nkeys = [\"alice.pem.pub\"]\nthreshold = 1\n[targets]\nkeys = [\"bob.pem.pub\"]\nthreshold = 1\n\
         [online]\ntimestamp = \"online.pem.pub\"\nsnapshot = \"online.pem.pub\"\nindex = \"online.pem.pub\"\n");
    ceremony("two.json").expect(3, &["one signature would be enough"]);
    desk.write("plan.toml", "[root]\nkeys = 7\n");
    ceremony("two.json").expect(2, &["no list of texts"]);
    // A copy of another ceremony, and a file that somebody changed.
    let mut changed = bundle.clone();
    changed["repositories"]["repository"]["root"]["signed"]["expires"] =
        "2030-01-01T00:00:00Z".into();
    desk.write("changed.json", &changed.to_string());
    desk.run(&["tuf", "merge", "--bundle", "one.json", "changed.json"])
        .expect(3, &["another document"]);
}

#[test]
fn an_identity_stands_by_a_root_with_what_any_client_of_sigstore_signs() {
    const CAROL: &str = "sigstore:carol@example.org?issuer=https://accounts.example";
    let desk = Desk::new();
    for name in ["alice.pem", "bob.pem", "online.pem"] {
        desk.run(&["tuf", "key", "new", name, "--no-passphrase"])
            .expect(0, &[]);
    }
    let key = desk.run(&["--json", "tuf", "key", "show", CAROL]);
    let key = key.expect(0, &[]).json();
    // As securesystemslib computes it: SHA-256 of the canonical key.
    let canonical = r#"{"keytype":"sigstore-oidc","keyval":{"identity":"carol@example.org","issuer":"https://accounts.example"},"scheme":"Fulcio"}"#;
    let id = countersign_trust::digest::Sha256::of(canonical.as_bytes()).to_hex();
    assert_eq!(key["keyid"], id);
    assert_eq!(key["identity"], "carol@example.org");
    for wrong in [
        "sigstore:carol@example.org",
        "sigstore:?issuer=https://accounts.example",
        "sigstore:carol@example.org?issuer=http://accounts.example",
    ] {
        desk.run(&["tuf", "key", "show", wrong])
            .expect(2, &["names no identity", "issuer=https://"]);
    }
    let plan = |wanted: bool, keys: &[&str], threshold: u64, index: &str| {
        let text = format!(
            "identities = {wanted}\n[root]\nkeys = {keys:?}\nthreshold = {threshold}\n[targets]\nkeys = [\"alice.pem.pub\"]\nthreshold = 1\n\
             [online]\ntimestamp = \"online.pem.pub\"\nsnapshot = \"online.pem.pub\"\nindex = \"{index}\"\n",
        );
        desk.write("plan.toml", &text);
        let words = [
            "tuf",
            "ceremony",
            "--offline",
            "--yes",
            "--plan",
            "plan.toml",
        ];
        desk.run(&[&words[..], &["--bundle", "one.json"]].concat())
    };
    let people = ["alice.pem.pub", "bob.pem.pub", CAROL];
    // Who lists identities says that no client is of those that stop at them.
    plan(false, &people, 2, "online.pem.pub").expect(2, &["python-tuf", "identities = true"]);
    plan(true, &people, 3, "online.pem.pub")
        .expect(3, &["has 2 keys, and 3 must sign", "add keys"]);
    plan(true, &people, 2, CAROL).expect(2, &["`online.index` has 0 keys"]);
    plan(true, &people, 2, "online.pem.pub").expect(
        0,
        &["the identity \"carol@example.org\"", "no threshold counts"],
    );

    let sigstore = PrivateSigstore::new("ceremonies at the command line");
    let trusted = desk.write("trusted_root.json", &sigstore.trusted_root_json());
    let trusted = trusted.display().to_string();
    let bundle = ["--bundle", "one.json"];
    let sign = |rest: &[&str]| {
        let words = ["tuf", "sign", "--yes", bundle[0], bundle[1], "--key"];
        desk.run(&[&words[..], rest].concat())
    };
    sign(&[CAROL]).expect(2, &["signs elsewhere", "--payloads DIR"]);
    sign(&["file:alice.pem", "--signed", "plan.toml"]).expect(2, &["are for an identity"]);
    sign(&[CAROL, "--payloads", "carol"])
        .expect(0, &["repository.root.payload", "not as a statement"]);
    sign(&[CAROL, "--payloads", "carol"]).expect(2, &["is there already"]);
    let payload = fs::read(desk.path("carol/repository.root.payload")).unwrap();

    let person = |issuer: &str, email: &str| {
        let identity = Identity::new(issuer, SubjectName::Email(email.to_owned()));
        let sigstore = &sigstore;
        move |bytes: &[u8]| sigstore.signing(&identity).artifact(bytes).to_string()
    };
    let carol = person("https://accounts.example", "carol@example.org");
    let take = |text: &str, believed: &[&str]| {
        desk.write("carol.sigstore.json", text);
        let words = [CAROL, "--signed", "carol.sigstore.json"];
        sign(&[&words[..], believed].concat())
    };
    let believed = ["--sigstore-root", trusted.as_str()];
    let mallory = person("https://accounts.example", "mallory@example.org");
    take(&mallory(&payload), &believed).expect(3, &["mallory@example.org", "was asked"]);
    let elsewhere = person("https://issuer.example", "carol@example.org");
    take(&elsewhere(&payload), &believed).expect(3, &["issuer.example", "was asked"]);
    take(&carol(b"another"), &believed).expect(3, &["carol.sigstore.json", "of no document"]);
    take("{}", &believed).expect(3, &["carol.sigstore.json"]);
    take(&carol(&payload), &[]).expect(3, &["of no document"]);
    take(&carol(&payload), &["--sigstore-root", "plan.toml"])
        .expect(2, &["plan.toml", "trusted_root.json"]);
    take(&carol(&payload), &believed)
        .expect(0, &["Signed root of repository", "Signatures still miss"]);
    take(&carol(&payload), &believed).expect(3, &["nothing in it asks for the identity"]);

    // She is told apart from those who count, in what is read by people and by programs.
    let status = ["tuf", "status", bundle[0], bundle[1]];
    let short = format!("({})", &id[..12]);
    desk.run(&[&status[..], &believed].concat())
        .expect(0, &["0 of 2", &short]);
    desk.run(&status).expect(3, &["root"]);
    let shown = [&["--json"][..], &status, &believed].concat();
    let shown = desk.run(&shown).expect(0, &[]).json();
    let documents = shown["documents"].as_array().unwrap();
    let root = documents.iter().find(|one| one["role"] == "root").unwrap();
    let identities = &root["demands"][0]["identities"];
    assert_eq!(*identities, json!([{"keyid": id, "signed": true}]));
    assert_eq!(root["complete"], false);
    for key in ["file:alice.pem", "file:bob.pem"] {
        sign(&[&[key][..], &believed].concat()).expect(0, &["Signed root of repository"]);
    }
    let shown = desk.run(&[&status[..], &believed].concat());
    shown.expect(0, &["2 of 2", "Enough people signed"]);
}
