//! Attestations that are not what they are passed off as. Each is refused by the step that sees it, the answer says
//! what was expected and what was seen, and nothing of the upload stays.

use countersign_testkit::claims;
use countersign_testkit::clients::{Clients, both_outputs};
use countersign_testkit::http::Response;
use countersign_testkit::packages::{Package, Wheel};
use countersign_testkit::sigstore::{
    Fault, Identity, Logged, PrivateSigstore, SubjectName, statements,
};
use serde_json::{Value, json};

use super::{Stage, beside};
use crate::trusted::{REPOSITORY, WORKFLOW, release};

/// A stage with a project, a file to publish and a token that may.
struct Target {
    stage: Stage,
    package: Package,
    token: String,
}

impl Target {
    fn new() -> Self {
        let stage = Stage::start();
        stage.base.project_with_publisher("sample", &[]);
        Self {
            package: release("sample", "1.1"),
            token: stage.base.minted(),
            stage,
        }
    }

    fn send(&self, attestations: &str) -> Response {
        self.stage.publish(&self.package, &self.token, attestations)
    }

    /// Sends a form's field that must be refused with this code; what is said must have these words.
    #[track_caller]
    fn refuses(&self, case: &str, attestations: &str, code: &str, words: &[&str]) {
        let answer = self.send(attestations);
        let said = answer.text();
        assert_eq!(answer.status, 400, "{case}: {said}");
        assert!(said.contains(code), "{case}: {said}");
        for word in words {
            assert!(said.contains(word), "{case}: {word} is not in {said}");
        }
        assert!(!self.stage.has(&self.package), "{case}");
    }

    #[track_caller]
    fn refuses_one(&self, case: &str, attestation: &Value, code: &str, words: &[&str]) {
        self.refuses(case, &json!([attestation]).to_string(), code, words);
    }

    /// The same file with the right attestations is taken: the attempts have left nothing behind.
    #[track_caller]
    fn takes_the_right_ones(&self) {
        let right = json!(self.stage.attestations(&self.package)).to_string();
        self.send(&right).expect_status(200).unwrap();
        assert!(self.stage.has(&self.package));
        self.stage.base.server.checked_log().unwrap();
    }

    /// A publish attestation of the file by an identity.
    fn by(&self, identity: &Identity) -> Value {
        self.stage
            .sigstore
            .sign_attestation(identity, &self.statement())
    }

    fn with(&self, fault: Fault) -> Value {
        let identity = self.stage.workflow();
        let signing = self.stage.sigstore.signing(&identity).fault(fault);
        signing.attestation(&self.statement())
    }

    fn saying(&self, statement: &Value) -> Value {
        let identity = self.stage.workflow();
        self.stage.sigstore.sign_attestation(&identity, statement)
    }

    fn statement(&self) -> Value {
        statements::pypi_publish(&self.package.filename, &self.package.bytes)
    }
}

#[test]
fn an_attestation_of_another_file_version_or_name_is_refused() {
    let target = Target::new();
    let mismatch = "attestation-subject-mismatch";
    let own = &target.package.filename;
    let other = Wheel::new("sample", "1.1").readme("# Other\n").build();
    let said = statements::pypi_publish(own, &other.bytes);
    let words = [&*target.package.sha256(), &other.sha256()];
    target.refuses_one("other bytes", &target.saying(&said), mismatch, &words);

    let next = release("sample", "1.2");
    let said = statements::pypi_publish(&next.filename, &next.bytes);
    target.refuses_one("another version", &target.saying(&said), mismatch, &["1.2"]);
    for name in [
        "sample-1.2-py3-none-any.whl",
        "sample-1.1-py2-none-any.whl",
        "simple-1.1-py3-none-any.whl",
        "sample_1-1-py3-none-any.whl",
        "sample-1.1.tar.gz",
        "../sample-1.1-py3-none-any.whl",
        "pkg:pypi/sample@1.1",
        "",
    ] {
        let said = statements::pypi_publish(name, &target.package.bytes);
        let words: &[&str] = if name.is_empty() { &[] } else { &[own, name] };
        target.refuses_one(name, &target.saying(&said), mismatch, words);
    }
    // Another spelling of the same distribution is the same.
    let said = statements::pypi_publish("Sample-1.1-py3-none-any.whl", &target.package.bytes);
    let attestation = json!([target.saying(&said)]).to_string();
    target.send(&attestation).expect_status(200).unwrap();
}

#[test]
fn an_attestation_of_another_repository_workflow_issuer_or_run_is_refused_claim_by_claim() {
    let target = Target::new();
    let mismatch = "attestation-identity-mismatch";
    let ours = || target.stage.base.claims();
    let refuses = |case: &str, identity: &Identity, words: &[&str]| {
        target.refuses_one(case, &target.by(identity), mismatch, words);
    };
    let identity = target
        .stage
        .identity(&claims::github("octo/other", WORKFLOW));
    refuses("repository", &identity, &["octo/other", REPOSITORY]);
    let identity = target
        .stage
        .identity(&claims::github(REPOSITORY, "nightly.yml"));
    refuses("workflow", &identity, &["nightly.yml", WORKFLOW]);
    let identity = target.stage.workflow().issued_by("https://ci.example.org");
    let issuer = target.stage.base.company.url();
    refuses("issuer", &identity, &["https://ci.example.org", &issuer]);
    // The repository was deleted, and somebody else took its name.
    let identity = target.stage.identity(&ours().set("repository_id", "99"));
    refuses(
        "resurrected repository",
        &identity,
        &["repository_id", "99", "74001"],
    );
    let identity = target
        .stage
        .identity(&ours().set("repository_owner_id", "98"));
    refuses(
        "resurrected owner",
        &identity,
        &["repository_owner_id", "98", "65001"],
    );
    let identity = target.stage.identity(&ours().set("run_id", "30433643"));
    refuses(
        "another run",
        &identity,
        &["run_id", "30433643", "30433642"],
    );
    let identity = target.stage.identity(&ours().set("sha", "00".repeat(20)));
    refuses("another commit", &identity, &["sha", &"00".repeat(20)]);
    let name = SubjectName::Email("ada@example.org".to_owned());
    let identity = Identity::new(&issuer, name);
    refuses("a person", &identity, &["ada@example.org"]);
    // A certificate that is silent names nobody.
    for number in [12, 15, 17, 18] {
        let identity = target.stage.workflow().without(number);
        refuses(&format!(".{number} is absent"), &identity, &[]);
    }
    target.takes_the_right_ones();
}

#[test]
fn a_certificate_that_was_not_good_when_it_signed_is_refused() {
    let target = Target::new();
    for (fault, code) in [
        (Fault::ExpiredCertificate, "attestation-certificate-refused"),
        (
            Fault::NotYetValidCertificate,
            "attestation-certificate-refused",
        ),
        (Fault::ForeignAuthority, "attestation-certificate-refused"),
        (Fault::NoCodeSigning, "attestation-certificate-refused"),
        (Fault::MalformedClaim(12), "attestation-certificate-refused"),
        (Fault::NoSct, "attestation-sct-invalid"),
        (Fault::ForeignSct, "attestation-sct-invalid"),
        (Fault::SctOfAnotherCertificate, "attestation-sct-invalid"),
    ] {
        target.refuses_one(&format!("{fault:?}"), &target.with(fault), code, &["step "]);
    }
    let elsewhere = PrivateSigstore::new("elsewhere");
    let all = elsewhere.sign_attestation(&target.stage.workflow(), &target.statement());
    target.refuses_one("another Sigstore", &all, "attestation-", &["step "]);
    target.takes_the_right_ones();
}

#[test]
fn a_log_entry_that_proves_something_else_is_refused() {
    let target = Target::new();
    for (fault, code) in [
        (Fault::ForeignLog, "attestation-"),
        (Fault::ProofOfAnotherTree, "attestation-not-logged"),
        (Fault::ProofOfAnotherPlace, "attestation-not-logged"),
        (Fault::NoInclusionProof, "attestation-"),
        (Fault::NoCheckpoint, "attestation-"),
        (Fault::ForeignCheckpoint, "attestation-checkpoint-invalid"),
        (
            Fault::EntryOfAnotherStatement,
            "attestation-log-entry-mismatch",
        ),
        (
            Fault::EntryOfAnotherCertificate,
            "attestation-log-entry-mismatch",
        ),
        (Fault::ChangedEntry, "attestation-"),
        (Fault::NoLogEntry, "attestation-malformed"),
        (Fault::NoSignedEntryTimestamp, "attestation-time-unproven"),
        (Fault::ForeignSignedEntryTimestamp, "attestation-"),
        (Fault::ChangedIntegratedTime, "attestation-"),
        (Fault::ForeignSignature, "attestation-signature-invalid"),
        (Fault::ChangedStatement, "attestation-signature-invalid"),
    ] {
        target.refuses_one(&format!("{fault:?}"), &target.with(fault), code, &["step "]);
    }
    let identity = target.stage.workflow();
    let newer = || target.stage.sigstore.signing(&identity).logged(Logged::V2);
    for (fault, code) in [
        (Fault::NoTimestamp, "attestation-time-unproven"),
        (Fault::ForeignTimestamp, "attestation-time-unproven"),
        (
            Fault::TimestampOfAnotherSignature,
            "attestation-time-unproven",
        ),
    ] {
        let attestation = newer().fault(fault).attestation(&target.statement());
        target.refuses_one(&format!("{fault:?}"), &attestation, code, &["step time"]);
    }
    let attestation = json!([newer().attestation(&target.statement())]);
    target
        .send(&attestation.to_string())
        .expect_status(200)
        .unwrap();
}

#[test]
fn duplicate_keys_giants_depths_and_other_encodings_are_refused_unread() {
    let target = Target::new();
    let malformed = "attestation-malformed";
    let right = target.by(&target.stage.workflow());
    let text = right.to_string();
    let twice = text.replacen("\"version\":1", "\"version\":1,\"version\":1", 1);
    assert_ne!(twice, text);
    target.refuses(
        "a key twice",
        &format!("[{twice}]"),
        malformed,
        &["version"],
    );
    let twice = text.replacen("\"envelope\":{", "\"envelope\":{\"statement\":\"AA==\",", 1);
    assert_ne!(twice, text);
    target.refuses("a statement twice", &format!("[{twice}]"), malformed, &[]);
    for (case, list) in [
        ("no JSON", "attestation".to_owned()),
        ("no list", text.clone()),
        ("null", "null".to_owned()),
        ("numbers", "[1]".to_owned()),
        ("depth", "[".repeat(100_000)),
        (
            "balanced depth",
            format!("{}{}", "[".repeat(5000), "]".repeat(5000)),
        ),
        ("a giant", format!("[{}{text}]", " ".repeat(3 << 19))),
        (
            "a giant member",
            format!(
                "[{}]",
                text.replacen(
                    "\"version\":1",
                    &format!("\"version\":{}1", " ".repeat(300_000)),
                    1
                )
            ),
        ),
        (
            "another version",
            format!("[{}]", text.replacen("\"version\":1", "\"version\":2", 1)),
        ),
        ("trailing", format!("[{text}] x")),
        // What a derived reader would take for an object as well.
        (
            "a list for an object",
            json!([[1, right["verification_material"], right["envelope"]]]).to_string(),
        ),
    ] {
        target.refuses(case, &list, malformed, &["step parse"]);
    }
    let signature = right["envelope"]["signature"].as_str().unwrap();
    let unpadded = signature.trim_end_matches('=');
    for (case, other) in [
        ("white space", format!(" {signature}")),
        (
            "a line break",
            format!("{}\n{}", &signature[..8], &signature[8..]),
        ),
        ("too much padding", format!("{unpadded}====")),
        ("empty", String::new()),
    ] {
        let mut attestation = right.clone();
        attestation["envelope"]["signature"] = json!(other);
        target.refuses_one(case, &attestation, malformed, &[]);
    }
    // Two texts of one certificate would be two attestations of one signature.
    let mut attestation = right.clone();
    let certificate = right["verification_material"]["certificate"]
        .as_str()
        .unwrap();
    attestation["verification_material"]["certificate"] = json!(format!("{certificate}\n"));
    target.refuses_one("certificate", &attestation, malformed, &[]);

    let identity = target.stage.workflow();
    let signed = |payload: &str| {
        let bundle = target
            .stage
            .sigstore
            .signing(&identity)
            .payload(payload.as_bytes());
        countersign_testkit::sigstore::attestation_of(&bundle)
    };
    let statement = target.statement().to_string();
    let subject = "\"subject\":[";
    let twice = statement.replacen(subject, &format!("\"subject\":[],{subject}"), 1);
    assert_ne!(twice, statement);
    let deep = statement.replacen(
        "\"predicate\":null",
        &format!("\"predicate\":{}{}", "[".repeat(500), "]".repeat(500)),
        1,
    );
    assert_ne!(deep, statement);
    for (case, payload) in [
        ("a subject twice", &*twice),
        ("a deep predicate", &*deep),
        ("no statement", "{}"),
        ("no JSON", "statement"),
    ] {
        target.refuses_one(case, &signed(payload), "attestation-", &["step statement"]);
    }
    target.refuses_one("an empty statement", &signed(""), malformed, &[]);
    target.takes_the_right_ones();
}

#[test]
fn statements_that_say_too_much_or_what_only_a_registry_may_say_are_refused() {
    let target = Target::new();
    let name = &target.package.filename;
    let bytes = &target.package.bytes;
    let refused = "attestation-predicate-refused";
    for made_here in [
        statements::RELEASE_V02,
        statements::VSA_V1,
        statements::NPM_PUBLISH_V01,
    ] {
        let said = statements::about(name, bytes, made_here, json!({}));
        target.refuses_one(
            made_here,
            &target.saying(&said),
            "attestation-predicate-refused",
            &[],
        );
    }
    let said = statements::about(name, bytes, statements::PYPI_PUBLISH_V1, json!({"more": 1}));
    target.refuses_one("a publish predicate", &target.saying(&said), refused, &[]);
    let mut two = target.statement();
    let other = json!({"name": "sample-1.2.tar.gz", "digest": {"sha256": "00".repeat(32)}});
    two["subject"].as_array_mut().unwrap().push(other);
    let mismatch = "attestation-subject-mismatch";
    target.refuses_one("two subjects", &target.saying(&two), mismatch, &[]);
    let mut none = target.statement();
    none["subject"] = json!([]);
    target.refuses_one("no subject", &target.saying(&none), "attestation-", &[]);
    let mut weak = target.statement();
    weak["subject"][0]["digest"] = json!({"md5": "00"});
    target.refuses_one("a weak digest", &target.saying(&weak), mismatch, &[]);

    let one = target.by(&target.stage.workflow());
    let [publish, slsa] = target.stage.attestations(&target.package);
    let duplicate = "attestation-duplicate";
    target.refuses(
        "the same twice",
        &json!([one, one]).to_string(),
        duplicate,
        &[],
    );
    let other = statements::pypi_publish("Sample-1.1-py3-none-any.whl", bytes);
    let two = json!([publish, target.saying(&other)]).to_string();
    target.refuses(
        "two of one type",
        &two,
        duplicate,
        &[statements::PYPI_PUBLISH_V1],
    );
    let third = statements::about(name, bytes, "https://example.org/x", json!({}));
    let three = json!([publish, slsa, target.saying(&third)]).to_string();
    target.refuses("three", &three, "attestation", &[]);
    target.takes_the_right_ones();
}

#[test]
fn provenance_that_contradicts_its_certificate_is_refused() {
    let target = Target::new();
    let identity = target.stage.workflow();
    let right = statements::slsa_v1(&target.package.filename, &target.package.bytes, &identity);
    for (case, pointer, lie) in [
        (
            "repository",
            "/predicate/buildDefinition/externalParameters/workflow/repository",
            "https://git.example.org/famous/project",
        ),
        (
            "ref",
            "/predicate/buildDefinition/externalParameters/workflow/ref",
            "refs/heads/main",
        ),
        (
            "path",
            "/predicate/buildDefinition/externalParameters/workflow/path",
            ".github/workflows/other.yml",
        ),
        (
            "commit",
            "/predicate/buildDefinition/resolvedDependencies/0/digest/gitCommit",
            "0000000000000000000000000000000000000000",
        ),
        (
            "run",
            "/predicate/runDetails/metadata/invocationId",
            "https://git.example.org/octo/sample/actions/runs/1/attempts/1",
        ),
        (
            "builder",
            "/predicate/runDetails/builder/id",
            "https://git.example.org/trusted/builder",
        ),
    ] {
        let mut said = right.clone();
        *said.pointer_mut(pointer).unwrap() = json!(lie);
        let code = "attestation-contradicts-certificate";
        target.refuses_one(case, &target.saying(&said), code, &[lie]);
    }
    target.takes_the_right_ones();
}

#[test]
fn attestations_by_an_api_token_are_not_taken_unless_the_project_names_the_identity() {
    let target = Target::new();
    let token = target.stage.base.server.token("ada", &[]).unwrap();
    let right = json!(target.stage.attestations(&target.package)).to_string();
    let answer = target.stage.publish(&target.package, &token, &right);
    let said = answer.text();
    assert!([400, 403].contains(&answer.status), "{said}");
    assert!(said.contains("attestations-not-taken"), "{said}");
    assert!(!target.stage.has(&target.package));
}

#[test]
fn twine_and_uv_print_the_step_that_failed_with_what_was_expected_and_seen() {
    let target = Target::new();
    let server = &target.stage.base.server;
    let clients = Clients::get().unwrap().trusting(server.ca_file().unwrap());
    let file = target
        .package
        .write_to(target.stage.base.folder.path())
        .unwrap();
    let other = target
        .stage
        .identity(&claims::github("octo/other", WORKFLOW));
    let attestation = beside(&file, "publish", &target.by(&other));
    let url = server.upload_url();
    let files = [&file, &attestation];
    let by_twine = clients
        .twine_upload(&url, &target.token, &files, &["--attestations"])
        .unwrap();
    // twine shows the answer's body, where the code and the way to its explanation stand; uv its first line.
    assert!(both_outputs(&by_twine).contains("#attestation-identity-mismatch"));
    let by_uv = clients
        .uv_publish(&url, &target.token, &files, &[])
        .unwrap();
    for (client, output) in [("twine", by_twine), ("uv", by_uv)] {
        let said = both_outputs(&output);
        assert!(!output.status.success(), "{client}: {said}");
        for word in [
            "Invalid attestations supplied during upload",
            "step identity",
            "octo/other",
            REPOSITORY,
        ] {
            assert!(said.contains(word), "{client}: {word} is not in {said}");
        }
    }
    assert!(!target.stage.has(&target.package));
}
