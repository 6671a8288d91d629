//! Certificates of each provider, made by a private Sigstore from the same claims as the upload's token.

use std::collections::{BTreeMap, BTreeSet};

use countersign_testkit::claims as kit;
use countersign_testkit::sigstore::{Identity, PrivateSigstore, SubjectName, statements};

use super::super::identity::{names, said};
use super::*;
use crate::oidc::{self, Asked, Provider, Registration, Rule, Test};

/// A job that uploads, and a certificate of the same job.
struct Job {
    registration: Registration,
    token: BTreeMap<String, String>,
    claims: Claims,
}

const ORGANIZATION: &str = "11111111-2222-3333-4444-555555555555";
const PROJECT: &str = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee";

fn job(provider: Provider, further: &[(&str, &str)]) -> Job {
    let github = "https://github.com";
    let (issuer, fields, claims): (String, Vec<(&str, &str)>, kit::Claims) = match provider {
        Provider::Github => (
            "https://token.actions.githubusercontent.com".to_owned(),
            vec![
                ("owner", "octo"),
                ("repository", "sample"),
                ("workflow", "release.yml"),
            ],
            kit::github_in_environment("octo/sample", "release.yml", "release"),
        ),
        Provider::Gitlab => (
            "https://gitlab.com".to_owned(),
            vec![("namespace", "group/sub"), ("project", "sample")],
            kit::gitlab("gitlab.com", "group/sub/sample", Some("release")),
        ),
        Provider::Google => (
            "https://accounts.google.com".to_owned(),
            vec![("email", "release@sample.iam.gserviceaccount.com")],
            kit::google("release@sample.iam.gserviceaccount.com"),
        ),
        Provider::Circleci => (
            format!("https://oidc.circleci.com/org/{ORGANIZATION}"),
            vec![
                ("project_id", PROJECT),
                ("repository", "github.com/octo/sample"),
            ],
            kit::circleci(ORGANIZATION, PROJECT),
        ),
        Provider::Buildkite => (
            "https://agent.buildkite.com".to_owned(),
            vec![("organization", "acme"), ("pipeline", "sample")],
            kit::buildkite("acme", "sample"),
        ),
        Provider::Forgejo => (
            "https://codeberg.org/api/actions".to_owned(),
            vec![
                ("owner", "octo"),
                ("repository", "sample"),
                ("workflow", "release.yml"),
            ],
            kit::forgejo("octo/sample", "release.yml"),
        ),
        other => panic!("{other} is asked about elsewhere"),
    };
    let identity = match provider {
        Provider::Github => Identity::github(&issuer, github, &claims),
        Provider::Gitlab => Identity::gitlab(&issuer, &claims),
        Provider::Google => Identity::google(&issuer, &claims),
        Provider::Circleci => Identity::circleci(&issuer, &claims),
        Provider::Buildkite => Identity::buildkite(&issuer, &claims),
        _ => Identity::github(&issuer, "https://codeberg.org", &claims),
    };
    let asked = Asked {
        fields: fields
            .iter()
            .chain(further)
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect(),
        claims: Vec::new(),
    };
    let registration = oidc::register(provider, &issuer, &asked).unwrap();
    let token = oidc::Claims::parse(claims.json().to_string().as_bytes()).unwrap();
    Job {
        token: oidc::snapshot(provider, &token, &registration.rules),
        claims: certified(&identity),
        registration,
    }
}

/// What our verifier reads from a real certificate of that identity.
fn certified(identity: &Identity) -> Claims {
    let sigstore = PrivateSigstore::new("providers");
    let root = TrustRoot::from_json("private", sigstore.trusted_root_json().as_bytes()).unwrap();
    let statement = statements::pypi_publish("sample-1.0.tar.gz", b"bytes");
    let bundle = sigstore.sign_statement(identity, &statement).to_string();
    let bundle = Bundle::parse(bundle.as_bytes(), &Limits::default()).unwrap();
    let digest = crate::digest::Sha256::of(b"bytes").to_hex();
    let subject = Subject::digest(&format!("sha256:{digest}")).unwrap();
    let verified = verify(&bundle, &subject, &root, &Demands::default()).unwrap();
    verified.claims().unwrap().clone()
}

impl Job {
    fn compared(&self, claims: &Claims) -> Result<Vec<Difference>, Refusal> {
        compare(
            claims,
            &self.registration,
            &BTreeMap::new(),
            Some(&self.token),
        )
    }

    fn pinned(&self, claim: &str, with_token: bool) -> Result<Vec<Difference>, Refusal> {
        let value = self.token.get(claim).map_or("1", String::as_str);
        let pinned = BTreeMap::from([(claim.to_owned(), value.to_owned())]);
        let token = with_token.then_some(&self.token);
        compare(&self.claims, &self.registration, &pinned, token)
    }

    /// Which of the certificate's values may be another one, and which may be absent.
    fn free(&self) -> (BTreeSet<u32>, BTreeSet<u32>) {
        let (mut changed, mut absent) = (BTreeSet::new(), BTreeSet::new());
        for (claim, value) in &self.claims.values {
            let mut claims = self.claims.clone();
            claims.values.insert(*claim, format!("1{value}"));
            if self.compared(&claims).is_ok() {
                changed.insert(claim.number());
            }
            claims.values.remove(claim);
            if self.compared(&claims).is_ok() {
                absent.insert(claim.number());
            }
        }
        (changed, absent)
    }
}

const PROVIDERS: [Provider; 6] = [
    Provider::Github,
    Provider::Gitlab,
    Provider::Google,
    Provider::Circleci,
    Provider::Buildkite,
    Provider::Forgejo,
];

#[test]
fn a_certificate_of_the_job_that_uploads_is_its_publishers() {
    for provider in PROVIDERS {
        let job = job(provider, &[]);
        job.compared(&job.claims)
            .unwrap_or_else(|refusal| panic!("{provider}: {refusal}"));
        let mut stranger = job.claims.clone();
        stranger.san = match stranger.san {
            San::Email(text) => San::Email(format!("x{text}")),
            San::Uri(text) | San::Other(text) => San::Uri(format!("{text}x")),
        };
        let refusal = job.compared(&stranger).unwrap_err();
        assert_eq!(refusal.step, Step::Identity, "{provider}");
    }
}

#[test]
fn every_value_of_a_certificate_that_the_token_has_too_must_be_the_same() {
    // Left free are: the old forms where the new one stands (1 to 6), the digest of a called workflow (10), the runner
    // (11) and the environment (23) where the publisher asks for none, the owner's name beside the id (16), and the
    // token's subject (24).
    let old = [1, 2, 3, 4, 5, 6];
    for (provider, changed, absent) in [
        (
            Provider::Github,
            [&old[..], &[10, 11, 16, 23, 24]].concat(),
            [&old[..], &[8, 10, 11, 16, 23, 24]].concat(),
        ),
        (
            Provider::Gitlab,
            // Jobs of one pipeline can not be told from others of the commit: the run (21) is free.
            vec![1, 10, 11, 16, 21, 23, 24],
            vec![1, 8, 10, 11, 16, 21, 23, 24],
        ),
        (Provider::Google, vec![1], vec![1, 8]),
        (Provider::Circleci, vec![1, 24], vec![1, 8, 24]),
        (Provider::Buildkite, vec![1, 11, 24], vec![1, 8, 11, 24]),
        (
            Provider::Forgejo,
            [&old[..], &[16, 24]].concat(),
            [&old[..], &[8, 9, 16, 24]].concat(),
        ),
    ] {
        let (found_changed, found_absent) = job(provider, &[]).free();
        assert_eq!(
            (found_changed, found_absent),
            (BTreeSet::from_iter(changed), BTreeSet::from_iter(absent)),
            "{provider}"
        );
    }
}

#[test]
fn what_a_provider_writes_into_certificates_is_all_that_is_read_from_them() {
    for provider in PROVIDERS {
        let mut job = job(provider, &[]);
        let also = |claim, text: &str, claims: &mut Claims| {
            claims.values.insert(claim, text.to_owned());
        };
        also(Claim::TokenSubject, "somebody", &mut job.claims);
        if provider == Provider::Forgejo {
            // What an authority of a company's own may write as well.
            for claim in [
                Claim::BuildSignerDigest,
                Claim::RunnerEnvironment,
                Claim::BuildConfigDigest,
                Claim::SourceRepositoryVisibility,
                Claim::DeploymentEnvironment,
            ] {
                also(claim, "something", &mut job.claims);
            }
            let signer = "https://codeberg.org/octo/sample/.forgejo/workflows/release.yml@x";
            also(Claim::BuildSignerUri, signer, &mut job.claims);
        }
        let read = said(provider, &job.registration.issuer, &job.claims).unwrap();
        let read: Vec<&str> = read.keys().copied().collect();
        assert_eq!(read, names(provider).carries, "{provider}");
    }
}

#[test]
fn a_certificate_that_lacks_what_its_provider_writes_is_refused_though_the_run_is_the_same() {
    for (provider, further, claim, said) in [
        (
            Provider::Github,
            ("runner", "github-hosted"),
            Claim::RunnerEnvironment,
            "runner_environment",
        ),
        (
            Provider::Github,
            ("called_workflow", "octo/shared/.github/workflows/p.yml"),
            Claim::BuildSignerUri,
            "job_workflow_ref",
        ),
        (
            Provider::Gitlab,
            ("runner", "gitlab-hosted"),
            Claim::RunnerEnvironment,
            "runner_environment",
        ),
        (
            Provider::Circleci,
            ("ref", "refs/tags/v*"),
            Claim::SourceRepositoryRef,
            "oidc.circleci.com/vcs-ref",
        ),
    ] {
        let mut job = job(provider, &[further]);
        // The token says nothing about it that could be compared.
        job.token.remove(said);
        job.claims.values.remove(&claim);
        let refusal = job.compared(&job.claims).unwrap_err();
        let differs = refusal.differences.iter().filter(|row| !row.matched);
        let differs: Vec<&str> = differs.map(|row| row.claim.as_str()).collect();
        assert!(differs.contains(&said), "{provider}: {differs:?}");
    }
    // Ids that were pinned likewise.
    for (provider, claim, said) in [
        (
            Provider::Github,
            Claim::SourceRepositoryIdentifier,
            "repository_id",
        ),
        (
            Provider::Forgejo,
            Claim::SourceRepositoryIdentifier,
            "repository_id",
        ),
        (
            Provider::Gitlab,
            Claim::SourceRepositoryOwnerIdentifier,
            "namespace_id",
        ),
    ] {
        let mut job = job(provider, &[]);
        job.pinned(said, true).unwrap();
        job.token.remove(said);
        job.claims.values.remove(&claim);
        assert!(job.pinned(said, true).is_err(), "{provider}");
    }
}

#[test]
fn what_a_provider_never_writes_is_taken_from_the_same_run_and_from_nowhere_else() {
    for (provider, further, pinned) in [
        (Provider::Gitlab, ("ref_protected", "true"), "project_id"),
        (
            Provider::Circleci,
            ("context_id", "6b2f6a8e-54c3-43c6-8e5e-9e2c0c7b9d10"),
            "oidc.circleci.com/org-id",
        ),
        (Provider::Buildkite, ("branch", "main"), "pipeline_id"),
        (Provider::Google, ("sub", "110300009813738675309"), "sub"),
    ] {
        let job = job(provider, &[further]);
        job.compared(&job.claims)
            .unwrap_or_else(|refusal| panic!("{provider}: {refusal}"));
        job.pinned(pinned, true).unwrap();
        let none = BTreeMap::new();
        let alone = compare(&job.claims, &job.registration, &none, None).unwrap_err();
        assert!(
            alone
                .differences
                .iter()
                .any(|row| !row.matched && row.advice.is_some()),
            "{provider}: {alone}"
        );
        // Another run answers for nothing.
        let mut other = job.token.clone();
        let run = match provider {
            Provider::Gitlab => "job_id",
            Provider::Circleci => "oidc.circleci.com/workflow-id",
            Provider::Buildkite => "build_number",
            _ => "email",
        };
        other.insert(run.to_owned(), "77".to_owned());
        assert!(
            compare(&job.claims, &job.registration, &none, Some(&other)).is_err(),
            "{provider}"
        );
    }
}

#[test]
fn tokens_of_which_nothing_is_known_answer_for_nothing() {
    let issuer = "https://ci.example.org";
    let rule = |claim: &str, text: &str| Rule {
        claim: claim.to_owned(),
        test: Test::Equal(text.to_owned()),
    };
    let registered = |rules: Vec<Rule>| {
        let asked = Asked {
            fields: BTreeMap::new(),
            claims: rules,
        };
        oidc::register(Provider::Generic, issuer, &asked).unwrap()
    };
    let name = SubjectName::Uri("https://ci.example.org/builder".to_owned());
    let claims = certified(&Identity::new(issuer, name).with(24, "builder"));
    let token = BTreeMap::from([
        ("sub".to_owned(), "builder".to_owned()),
        ("project".to_owned(), "sample".to_owned()),
    ]);
    let none = BTreeMap::new();
    let by_subject = registered(vec![rule("sub", "builder")]);
    compare(&claims, &by_subject, &none, Some(&token)).unwrap();
    // Many projects may share a subject: the certificate does not say for which of them it is.
    let by_project = registered(vec![rule("sub", "builder"), rule("project", "sample")]);
    let refusal = compare(&claims, &by_project, &none, Some(&token)).unwrap_err();
    assert!(refusal.to_string().contains("project"), "{refusal}");
    let nobody = certified(&Identity::new(
        issuer,
        SubjectName::Uri("https://ci.example.org/builder".to_owned()),
    ));
    compare(&nobody, &by_subject, &none, Some(&token)).unwrap_err();
}

#[test]
fn a_real_certificate_of_gitlab_is_its_projects() {
    let verified = entry("pep740-att-gitlab_oidc_project-0.0.3.tar.gz.publish.attestation")
        .verify()
        .unwrap();
    let claims = verified.claims().unwrap();
    let repository = claims.repository().unwrap();
    let path = repository.strip_prefix("https://gitlab.com/").unwrap();
    let (namespace, project) = path.rsplit_once('/').unwrap();
    let (file, _) = claims.workflow().unwrap();
    let registered = |namespace: &str, project: &str, file: &str| {
        let fields = [
            ("namespace", namespace),
            ("project", project),
            ("workflow", file),
        ];
        let asked = Asked {
            fields: fields
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .into(),
            claims: Vec::new(),
        };
        oidc::register(Provider::Gitlab, "https://gitlab.com", &asked).unwrap()
    };
    let none = BTreeMap::new();
    let of = |registration: &Registration| compare(claims, registration, &none, None);
    of(&registered(namespace, project, file)).unwrap();
    of(&registered("mallory", project, file)).unwrap_err();
    of(&registered(namespace, "another", file)).unwrap_err();
    of(&registered(namespace, project, "another.yml")).unwrap_err();
}
