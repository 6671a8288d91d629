//! `countersign verify` with evidence from files alone: real ones of the public registries, and those of a private Sigstore with
//! one thing wrong.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_testkit::claims;
use countersign_testkit::packages::{Package, Wheel};
use countersign_testkit::sigstore::{Fault, Identity, PrivateSigstore, SubjectName, statements};
use countersign_trust::sigstore::{Attestation, Bundle, Limits, Provenance};
use serde_json::{Value, json};

use countersign::evidence::{FileEvidence, Piece};
use countersign::inquire::Inquiry;
use countersign::trusted::{Pinned, TrustFile};
use countersign::verify::{Bytes, Proofs, measure};
use countersign_trust::checkpoint::Checkpoint;
use countersign_trust::digest::{Hasher, Sha256};
use countersign_trust::leaf::{Algorithm, Leaf};
use countersign_trust::note::{KeyName, SignerKey};
use countersign_trust::proof::TlogProof;
use countersign_trust::sigstore::TrustRoot;
use countersign_trust::tlog;

use crate::user::{Ran, User};

const ISSUER: &str = "https://token.example";
const HOST: &str = "https://git.example";

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/sigstore")
}

fn index() -> Value {
    serde_json::from_slice(&fs::read(vectors().join("index.json")).unwrap()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A real bundle of the corpus with its digest.
fn real(name: &str) -> (PathBuf, String) {
    let index = index();
    let entries = index["bundles"].as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["name"] == name).unwrap();
    let path = vectors().join(entry["bundle"].as_str().unwrap());
    (path, entry["digest"].as_str().unwrap().to_owned())
}

#[test]
fn every_real_bundle_has_its_verdict_and_none_is_confirmed_that_is_not() {
    let user = User::new();
    let (keys, staging, github) = (
        vectors().join("npm_keys.json"),
        vectors().join("trusted_root_staging.json"),
        vectors().join("trusted_root_github.json"),
    );
    let index = index();
    let each = ["bundles", "mutants"].map(|kind| index[kind].as_array().unwrap().clone());
    let mut wrong = Vec::new();
    for entry in each.concat() {
        let bundle = vectors().join(entry["bundle"].as_str().unwrap());
        // The signature of a file's bytes covers their digest; that file is not in the corpus.
        let digest = match entry["digest"].as_str() {
            Some(digest) => digest.to_owned(),
            None => {
                let json: Value = serde_json::from_slice(&fs::read(&bundle).unwrap()).unwrap();
                let said = &json["messageSignature"]["messageDigest"]["digest"];
                let bytes = STANDARD.decode(said.as_str().unwrap()).unwrap();
                let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("sha256:{hex}")
            }
        };
        let mut arguments = vec!["--json", "verify", "--bundle", text(&bundle)];
        arguments.extend(["--digest", &digest]);
        match entry["root"].as_str().unwrap() {
            "staging" => arguments.extend(["--trusted-root", text(&staging)]),
            "github" => arguments.extend(["--trusted-root", text(&github)]),
            _ => {}
        }
        if entry.get("key").is_some() {
            arguments.extend(["--keys", text(&keys)]);
        }
        let ran = user.run(&arguments);
        let passes = entry["expect"] == "pass";
        if ran.code != if passes { 0 } else { 3 } {
            wrong.push(format!("{}: {ran:#?}", entry["name"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_provenance_object_of_the_python_index_is_verified_for_its_file_and_no_other() {
    let user = User::new();
    let (path, digest) = real("pep740-prov-sampleproject-4.0.0.tar.gz.provenance-0");
    let bundle = Bundle::parse(&fs::read(path).unwrap(), &Limits::default()).unwrap();
    let attestation = Attestation::from_bundle(&bundle).unwrap();
    let publisher =
        json!({"kind": "GitHub", "repository": "pypa/sampleproject", "workflow": "release.yml"});
    let object = Provenance::render(&[(publisher, vec![attestation.raw()])]).unwrap();
    fs::write(user.path("provenance.json"), &object).unwrap();
    let purl = "pkg:pypi/sampleproject@4.0.0?file_name=sampleproject-4.0.0.tar.gz";
    let verify = |purl: &str, digest: &str, further: &[&str]| {
        let arguments = [
            "verify",
            "--provenance",
            "provenance.json",
            "--digest",
            digest,
        ];
        user.run(&[&arguments[..], &["--purl", purl], further].concat())
    };
    verify(purl, &digest, &[]).expect(
        0,
        &[
            "✓ attestation",
            "https://github.com/pypa/sampleproject/.github/workflows/release.yml@",
            "– log",
            "no registry's log was asked",
            "– identity",
            "no --policy says who may sign",
        ],
    );
    let other = "pkg:pypi/sampleproject@4.0.1?file_name=sampleproject-4.0.1.tar.gz";
    verify(other, &digest, &[])
        .expect(3, &["a file of another name", "sampleproject-4.0.0.tar.gz"]);
    let zeros = format!("sha256:{}", "0".repeat(64));
    verify(purl, &zeros, &[]).expect(3, &["Step subject"]);

    let policy = |repository: &str| {
        let text = format!(
            "format = \"countersign-policy/v1\"\n[[project]]\npurl = \"pkg:pypi/sampleproject\"\nprovenance = \"required\"\n\
             statements = [\"publish\"]\n[[project.signer]]\nissuer = \"https://token.actions.githubusercontent.com\"\n\
             repository = \"https://github.com/{repository}\"\nworkflow = \".github/workflows/release.yml\"\n"
        );
        fs::write(user.path("policy.toml"), text).unwrap();
    };
    policy("pypa/sampleproject");
    verify(purl, &digest, &["--policy", "policy.toml"])
        .expect(0, &["✓ identity", "as the policy allows", "✓ provenance"]);
    policy("someone/sampleproject");
    let ran = verify(purl, &digest, &["--policy", "policy.toml"]);
    let ran = ran.expect(
        3,
        &["✗ identity", "someone/sampleproject", "pypa/sampleproject"],
    );
    assert!(!ran.out.contains("✓ provenance"), "{ran:#?}");
    // Every byte of it counts.
    let changed =
        String::from_utf8(object)
            .unwrap()
            .replacen("\"statement\":\"e", "\"statement\":\"f", 1);
    fs::write(user.path("provenance.json"), changed).unwrap();
    verify(purl, &digest, &[]).expect(3, &["✗"]);
}

#[test]
fn npms_attestations_document_is_verified_with_the_registrys_keys_and_not_without() {
    let user = User::new();
    let keys = vectors().join("npm_keys.json");
    let names = [
        "npmcli-valid-sigstore-attestations.json",
        "slsa-npm-provenance-npm-test-cli-v1-prega.tgz.json",
    ];
    for (name, purl) in names
        .into_iter()
        .zip(["pkg:npm/sigstore@1.0.0", "pkg:npm/sigstore@2.3.1"])
    {
        let mut digest = String::new();
        let attestations = ["-0", "-1"].map(|number| {
            let (path, of) = real(&format!("{name}{number}"));
            digest = of;
            let bundle: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            json!({"predicateType": "what the document says counts for nothing", "bundle": bundle})
        });
        let document = json!({"attestations": attestations});
        fs::write(user.path("npm.json"), document.to_string()).unwrap();
        let verify = |digest: &str, purl: &str, keys: &[&str]| {
            let arguments = [
                "verify", "--bundle", "npm.json", "--digest", digest, "--purl", purl,
            ];
            user.run(&[&arguments[..], keys].concat())
        };
        let keys = ["--keys", text(&keys)];
        verify(&digest, purl, &keys).expect(
            0,
            &[
                "signed with the key SHA256:",
                "signed by https://github.com/",
                "npm publish attestation about",
                purl,
            ],
        );
        verify(&digest, purl, &[]).expect(3, &["unknown key"]);
        verify(&digest, "pkg:npm/sigstore@9.9.9", &keys).expect(3, &["another name"]);
        let zeros = format!("sha512:{}", "0".repeat(128));
        verify(&zeros, purl, &keys).expect(3, &["Step subject"]);
    }
}

/// A wheel with its bundle, and a private Sigstore whose root is at hand.
struct Signed {
    user: User,
    sigstore: PrivateSigstore,
    identity: Identity,
    package: Package,
}

impl Signed {
    fn new() -> Self {
        let user = User::new();
        let sigstore = PrivateSigstore::new("verify");
        sigstore.write_trusted_root(&user.path(".")).unwrap();
        let package = Wheel::new("sample", "1.0").build();
        package.write_to(&user.path(".")).unwrap();
        let claims = claims::github("octo/sample", "release.yml");
        Self {
            identity: Identity::github(ISSUER, HOST, &claims),
            user,
            sigstore,
            package,
        }
    }

    fn statement(&self) -> Value {
        statements::slsa_v1(&self.package.filename, &self.package.bytes, &self.identity)
    }

    fn verify(&self, bundle: &Value, further: &[&str]) -> Ran {
        fs::write(self.user.path("bundle.json"), bundle.to_string()).unwrap();
        let arguments = [
            "--json",
            "verify",
            &self.package.filename,
            "--bundle",
            "bundle.json",
        ];
        let root = ["--trusted-root", "trusted_root.json"];
        self.user.run(&[&arguments[..], &root, further].concat())
    }

    fn policy(&self, project: &str) {
        let text = format!(
            "format = \"countersign-policy/v1\"\n[[project]]\npurl = \"pkg:pypi/sample\"\n{project}"
        );
        fs::write(self.user.path("policy.toml"), text).unwrap();
    }
}

const BY_POLICY: [&str; 4] = [
    "--policy",
    "policy.toml",
    "--purl",
    "pkg:pypi/sample@1.0?file_name=sample-1.0-py3-none-any.whl",
];

#[test]
fn evidence_with_one_thing_wrong_is_refused_by_the_step_that_sees_it() {
    let signed = Signed::new();
    let good = signed
        .sigstore
        .sign_statement(&signed.identity, &signed.statement());
    signed.verify(&good, &[]).expect(0, &["\"confirmed\""]);
    for (fault, code) in [
        (Fault::ExpiredCertificate, "attestation-certificate-refused"),
        (
            Fault::NotYetValidCertificate,
            "attestation-certificate-refused",
        ),
        (Fault::ForeignAuthority, "attestation-certificate-refused"),
        (Fault::NoSct, "attestation-sct-invalid"),
        (Fault::ForeignSct, "attestation-sct-invalid"),
        (Fault::ForeignSignature, "attestation-"),
        (Fault::ChangedStatement, "attestation-"),
        (Fault::NoLogEntry, "attestation-"),
        (Fault::ForeignLog, "attestation-"),
        (
            Fault::EntryOfAnotherStatement,
            "attestation-log-entry-mismatch",
        ),
        (
            Fault::EntryOfAnotherCertificate,
            "attestation-log-entry-mismatch",
        ),
        (Fault::ChangedEntry, "attestation-"),
        (Fault::ProofOfAnotherTree, "attestation-not-logged"),
        (Fault::ForeignCheckpoint, "attestation-checkpoint-invalid"),
        (Fault::NoSignedEntryTimestamp, "attestation-time-unproven"),
        (Fault::ChangedIntegratedTime, "attestation-time-unproven"),
        (Fault::NoInclusionProof, "attestation-"),
    ] {
        let bundle = signed
            .sigstore
            .signing(&signed.identity)
            .fault(fault)
            .statement(&signed.statement());
        let ran = signed.verify(&bundle, &[]).expect(3, &[code, "\"failed\""]);
        assert!(!ran.out.contains("\"confirmed\""), "{fault:?}: {ran:#?}");
    }
    let elsewhere = PrivateSigstore::new("elsewhere");
    let foreign = elsewhere.sign_statement(&signed.identity, &signed.statement());
    signed.verify(&foreign, &[]).expect(3, &["\"failed\""]);
}

#[test]
fn evidence_of_another_file_version_or_source_than_its_certificate_is_refused() {
    let signed = Signed::new();
    let sign = |statement: &Value| signed.sigstore.sign_statement(&signed.identity, statement);
    let other = statements::slsa_v1(&signed.package.filename, b"other bytes", &signed.identity);
    signed
        .verify(&sign(&other), &[])
        .expect(3, &["attestation-subject-mismatch"]);
    let renamed = statements::slsa_v1(
        "sample-1.1-py3-none-any.whl",
        &signed.package.bytes,
        &signed.identity,
    );
    signed.policy("provenance = \"none\"\n");
    signed
        .verify(&sign(&renamed), &BY_POLICY)
        .expect(3, &["attestation-subject-mismatch", "sample-1.1"]);
    let liar = Identity::github(ISSUER, HOST, &claims::github("octo/other", "release.yml"));
    // Of a bundle alone what it says is told; where a policy is held against it, it must hold.
    signed.policy("provenance = \"none\"\n");
    let (name, bytes) = (&signed.package.filename, &signed.package.bytes);
    let contradicts = sign(&statements::slsa_v1(name, bytes, &liar));
    signed
        .verify(&contradicts, &BY_POLICY)
        .expect(3, &["attestation-contradicts-certificate", "octo/other"]);
    let ran = signed
        .verify(&contradicts, &[])
        .expect(0, &["only with --policy", "octo/other"]);
    assert_eq!(of(&ran, "statement"), "not-checked");
    // A type that is not known is told, and not confirmed.
    let unknown = statements::about(
        &signed.package.filename,
        &signed.package.bytes,
        "https://example.org/x/v1",
        json!({}),
    );
    let ran = signed
        .verify(&sign(&unknown), &[])
        .expect(0, &["not understood"]);
    assert_eq!(of(&ran, "statement"), "not-checked");
}

/// What came of a check.
fn of(ran: &Ran, check: &str) -> Value {
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    let rows = report["checks"].as_array().unwrap();
    let row = rows.iter().find(|row| row["check"] == check).unwrap();
    row["verdict"].clone()
}

#[test]
fn whoever_the_policy_does_not_name_is_refused_claim_by_claim() {
    let signed = Signed::new();
    let bundle = |identity: &Identity| {
        let statement =
            statements::slsa_v1(&signed.package.filename, &signed.package.bytes, identity);
        signed.sigstore.sign_statement(identity, &statement)
    };
    let ours = bundle(&signed.identity);
    let signer = format!(
        "[[project.signer]]\nissuer = \"{ISSUER}\"\nrepository = \"{HOST}/octo/sample\"\nrepository_id = \"74001\"\n\
         workflow = \".github/workflows/release.yml\"\n"
    );
    let required = format!("provenance = \"required\"\n{signer}");
    signed.policy(&required);
    signed
        .verify(&ours, &BY_POLICY)
        .expect(0, &["\"identity\"", "as the policy allows"]);
    let of = |repository: &str, workflow: &str| {
        Identity::github(ISSUER, HOST, &claims::github(repository, workflow))
    };
    let resurrected = claims::github("octo/sample", "release.yml").set("repository_id", "99");
    let person = Identity::new(ISSUER, SubjectName::Email("ada@example.org".to_owned()));
    for (case, identity, word) in [
        (
            "another repository",
            of("octo/other", "release.yml"),
            "octo/other",
        ),
        (
            "another workflow",
            of("octo/sample", "nightly.yml"),
            "nightly.yml",
        ),
        (
            "another issuer",
            signed.identity.clone().issued_by("https://ci.example.org"),
            "ci.example.org",
        ),
        (
            "the name taken again",
            Identity::github(ISSUER, HOST, &resurrected),
            "99",
        ),
        ("a person", person, "ada@example.org"),
        (
            "a silent certificate",
            signed.identity.clone().without(15),
            "repository_id",
        ),
    ] {
        let statement = statements::pypi_publish(&signed.package.filename, &signed.package.bytes);
        let bundle = signed.sigstore.sign_statement(&identity, &statement);
        let ran = signed
            .verify(&bundle, &BY_POLICY)
            .expect(3, &["attestation-identity-mismatch", word]);
        assert!(
            !ran.out.contains("as the policy allows"),
            "{case}: {ran:#?}"
        );
    }
    // Another kind of statement than the one that is wanted; no entry; nothing wanted; lets pass.
    signed.policy(&format!(
        "provenance = \"required\"\nstatements = [\"publish\"]\n{signer}"
    ));
    signed
        .verify(&ours, &BY_POLICY)
        .expect(3, &["provenance-lost", "wants publish"]);
    signed.policy("provenance = \"none\"\n");
    signed
        .verify(&ours, &BY_POLICY)
        .expect(0, &["names nobody"]);
    fs::write(
        signed.user.path("policy.toml"),
        "format = \"countersign-policy/v1\"\n",
    )
    .unwrap();
    signed
        .verify(&ours, &BY_POLICY)
        .expect(3, &["policy-unlisted", "pkg:pypi/sample"]);
    fs::write(
        signed.user.path("policy.toml"),
        "format = \"countersign-policy/v1\"\nunlisted = \"pass\"\n",
    )
    .unwrap();
    signed
        .verify(&ours, &BY_POLICY)
        .expect(0, &["lets such pass"]);
    signed
        .verify(&ours, &BY_POLICY[..2])
        .expect(3, &["policy-unnamed", "--purl"]);
}

#[test]
fn files_that_are_not_what_they_should_be_end_in_a_sentence_and_the_right_code() {
    let signed = Signed::new();
    let good = signed
        .sigstore
        .sign_statement(&signed.identity, &signed.statement());
    let user = &signed.user;
    fs::write(user.path("binary"), [0_u8, 159, 146, 150, 0xff]).unwrap();
    fs::create_dir(user.path("folder")).unwrap();
    let name = &signed.package.filename;
    let twice = good
        .to_string()
        .replacen("\"mediaType\"", "\"mediaType\":\"x\",\"mediaType\"", 1);
    fs::write(user.path("twice.json"), twice).unwrap();
    fs::write(user.path("deep.json"), "[".repeat(100_000)).unwrap();
    fs::write(user.path("huge.json"), vec![b' '; 9 << 20]).unwrap();
    fs::write(user.path("empty.json"), "{\"attestations\":[]}").unwrap();
    for (arguments, code, words) in [
        (&["verify"][..], 2, &["FILE|PURL|LOCKFILE"][..]),
        (&["verify", "missing.whl"], 2, &["missing.whl"]),
        (&["verify", "folder"], 2, &["is a folder"]),
        (&["verify", "pkg:pypi/thing"], 2, &["names no version"]),
        (&["verify", "pkg:cobol/thing@1"], 2, &["cobol"]),
        (
            &["verify", name, "--bundle", "missing.json"],
            2,
            &["missing.json"],
        ),
        (&["verify", name, "--bundle", "binary"], 3, &["Step parse"]),
        (
            &["verify", name, "--bundle", "twice.json"],
            3,
            &["Step parse"],
        ),
        (
            &["verify", name, "--bundle", "deep.json"],
            3,
            &["Step parse"],
        ),
        (
            &["verify", name, "--bundle", "huge.json"],
            2,
            &["more than"],
        ),
        (
            &["verify", name, "--bundle", "empty.json"],
            3,
            &["no attestation"],
        ),
        (
            &["verify", name, "--provenance", "twice.json"],
            3,
            &["Step parse"],
        ),
        (
            &[
                "verify",
                name,
                "--bundle",
                "twice.json",
                "--trusted-root",
                "binary",
            ],
            2,
            &["binary"],
        ),
        (&["verify", "--bundle", "twice.json"], 3, &["Step parse"]),
        (
            &["verify", "--bundle", "twice.json", "--digest", "sha1:00"],
            3,
            &["Step parse"],
        ),
        (
            &["verify", name, "--policy", "binary"],
            2,
            &["can not be used", "UTF-8"],
        ),
        (
            &["verify", name, "--policy", "twice.json"],
            2,
            &["can not be used"],
        ),
        (
            &["verify", name, "--policy", "missing.toml"],
            2,
            &["missing.toml"],
        ),
        (
            &["verify", name, "--offline=missing"],
            2,
            &["no folder with saved evidence"],
        ),
        (
            &["verify", "--offline", "pkg:pypi/thing@1"],
            2,
            &["--offline=DIR"],
        ),
        (&["verify", "requirements.txt"], 2, &["requirements.txt"]),
        (&["policy", "init"], 2, &["no lock file here"]),
        (
            &["policy", "check", "binary"],
            2,
            &["countersign-policy.toml"],
        ),
    ] {
        let ran = user.run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {ran:#?}");
        for word in words {
            assert!(ran.err.contains(word), "{arguments:?}: {word}: {ran:#?}");
        }
        assert!(!ran.err.contains("panicked"), "{ran:#?}");
    }
}

fn sha512(bytes: &[u8]) -> String {
    let mut hasher = Hasher::new(true);
    hasher.update(bytes);
    hasher.finish().0.sha512_hex().unwrap()
}

#[test]
fn a_registry_that_logs_the_sha512_of_other_bytes_does_not_borrow_their_npm_provenance() {
    const ORIGIN: &str = "packages.example/log/1";
    const PURL: &str = "pkg:npm/left@1.0.0";
    let (good, evil) = (
        b"the good tarball".as_slice(),
        b"an evil tarball".as_slice(),
    );
    // Genuine provenance, of the good bytes alone.
    let sigstore = PrivateSigstore::new("borrowed");
    let claims = claims::github("octo/left", "release.yml");
    let identity = Identity::github(ISSUER, HOST, &claims);
    let statement = statements::npm_provenance(PURL, good, &identity);
    let bundle = sigstore.sign_statement(&identity, &statement).to_string();
    let roots = TrustRoot::from_json("private", sigstore.trusted_root_json().as_bytes()).unwrap();
    // A log whose key is pinned, and whose owner says what it likes.
    let key = SignerKey::generate(KeyName::new(ORIGIN).unwrap(), [7; 32]);
    let trust = TrustFile {
        registries: vec![Pinned {
            tuf: None,
            url: "https://packages.example/".parse().unwrap(),
            origin: ORIGIN.to_owned(),
            log: "/log".to_owned(),
            keys: vec![key.verifier().to_string()],
            policy: None,
            attestation_keys: Vec::new(),
        }],
    };
    let inquiry = Inquiry {
        trust: &trust,
        proofs: &Proofs::default(),
        registry: None,
        roots: &roots,
        policy: None,
        indices: None,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("left-1.0.0.tgz");
    let purl = format!("{PURL}?file_name=left-1.0.0.tgz");
    let examined = |bytes: &[u8], said: Option<&[u8]>, at_hand: bool| {
        fs::write(&path, bytes).unwrap();
        let measured = measure(&path).unwrap();
        assert_eq!(measured.sha512, Some(sha512(bytes)));
        let sha256 = Sha256::of(bytes);
        let mut leaf = Leaf::file_published(&purl, sha256, bytes.len() as u64, 1, 1, None);
        if let Some(said) = said {
            leaf.digests.push((Algorithm::Sha512, sha512(said)));
        }
        leaf.attestations = vec![Sha256::of(bundle.as_bytes())];
        let entry = leaf.to_text().unwrap().into_bytes();
        let checkpoint = Checkpoint::new(ORIGIN, 1, tlog::leaf_hash(&entry));
        let proof = TlogProof {
            extra: Some(entry),
            index: 0,
            hashes: Vec::new(),
            checkpoint: checkpoint.sign(&key, None),
        };
        let mut evidence = FileEvidence::bare(&purl, "left-1.0.0.tgz", sha256);
        evidence.pieces.push(Piece {
            digest: Sha256::of(bundle.as_bytes()),
            bundle: Bundle::parse(bundle.as_bytes(), &Limits::default()),
        });
        let bytes = match at_hand {
            true => measured.bytes(),
            false => Bytes {
                sha512: None,
                size: None,
                ..measured.bytes()
            },
        };
        let proof = proof.to_string();
        let report = inquiry
            .file("left", &bytes, Ok(&purl), proof.as_bytes(), Some(&evidence))
            .unwrap();
        let failed = report.first_failed().map(|row| row.check);
        (failed, report.signed.len())
    };
    assert_eq!(examined(good, Some(good), true), (None, 1));
    // The leaf's SHA-512 is that of the good bytes: the leaf is refused, whatever else is shown.
    assert_eq!(examined(evil, Some(good), true), (Some("digest"), 0));
    // It says none, or the right one: the provenance is about other bytes.
    assert_eq!(examined(evil, None, true), (Some("attestation"), 0));
    assert_eq!(examined(evil, Some(evil), true), (Some("attestation"), 0));
    // Where the bytes are not at hand, nothing is said of who made them.
    assert_eq!(examined(evil, Some(good), false), (None, 0));
    assert_eq!(examined(good, Some(good), false), (None, 0));
}
