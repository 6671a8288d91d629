//! Certificates of real bundles held against publishers, and provenance against certificates.

use std::collections::BTreeMap;

use super::*;

#[test]
fn provenance_of_real_builds_agrees_with_its_certificate() {
    let mut wrong = Vec::new();
    let mut compared = 0;
    for entry in index().bundles {
        let Ok(verified) = entry.verify() else {
            continue;
        };
        let (Some(statement), Some(claims)) = (&verified.statement, verified.claims()) else {
            continue;
        };
        match cross_check(statement, claims) {
            Ok(rows) => compared += usize::from(!rows.is_empty()),
            Err(refusal) => {
                assert_eq!(refusal.step, Step::CrossCheck);
                wrong.push(entry.name);
            }
        }
    }
    // A workflow that attests somebody else's build, and a person who tried the tool out.
    wrong.sort();
    assert_eq!(
        wrong,
        [
            "bcr-MODULE-wrong-signer.bazel.intoto.jsonl",
            "rustrepo-dsse.sigstore.json"
        ]
    );
    assert!(compared > 50, "{compared}");
}

/// The publisher of a real GitHub bundle, as its owner would have registered it.
fn publisher_of(owner: &str, repository: &str, workflow: &str) -> crate::oidc::Registration {
    let fields = [
        ("owner", owner),
        ("repository", repository),
        ("workflow", workflow),
    ];
    let asked = crate::oidc::Asked {
        fields: fields
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect(),
        claims: Vec::new(),
    };
    let provider = crate::oidc::Provider::Github;
    crate::oidc::register(provider, provider.issuer().unwrap(), &asked).unwrap()
}

fn sample() -> Claims {
    let verified = entry("pep740-prov-sampleproject-4.0.0.tar.gz.provenance-0")
        .verify()
        .unwrap();
    verified.claims().unwrap().clone()
}

/// What the token of the run that signed the sample said.
fn token() -> BTreeMap<String, String> {
    let claims = sample();
    let run = claims.get(Claim::RunInvocationUri).unwrap();
    let run = run.split_once("/runs/").unwrap().1;
    let (run, attempt) = run.split_once("/attempts/").unwrap();
    let at = |claim| claims.get(claim).unwrap().to_owned();
    let bare = |claim| {
        at(claim)
            .strip_prefix("https://github.com/")
            .unwrap()
            .to_owned()
    };
    BTreeMap::from([
        ("repository".to_owned(), bare(Claim::SourceRepositoryUri)),
        (
            "repository_id".to_owned(),
            at(Claim::SourceRepositoryIdentifier),
        ),
        (
            "repository_owner_id".to_owned(),
            at(Claim::SourceRepositoryOwnerIdentifier),
        ),
        ("workflow_ref".to_owned(), bare(Claim::BuildConfigUri)),
        ("sha".to_owned(), at(Claim::SourceRepositoryDigest)),
        ("ref".to_owned(), at(Claim::SourceRepositoryRef)),
        ("run_id".to_owned(), run.to_owned()),
        ("run_attempt".to_owned(), attempt.to_owned()),
    ])
}

fn differing(result: Result<Vec<Difference>, Refusal>) -> Vec<String> {
    let refusal = result.unwrap_err();
    assert_eq!(refusal.step, Step::Identity);
    refusal
        .differences
        .iter()
        .filter(|row| !row.matched)
        .map(|row| row.claim.clone())
        .collect()
}

#[test]
fn a_real_certificate_is_its_publishers() {
    let publisher = publisher_of("pypa", "SampleProject", "release.yml");
    let none = BTreeMap::new();
    let rows = compare(&sample(), &publisher, &none, Some(&token())).unwrap();
    assert!(rows.len() >= 10, "{rows:?}");
    // Without a token too: a consumer has none.
    compare(&sample(), &publisher, &none, None).unwrap();
}

#[test]
fn a_bundle_of_another_repository_workflow_or_issuer_is_not_the_publishers() {
    let none = BTreeMap::new();
    let token = token();
    let against = |publisher: &crate::oidc::Registration| {
        differing(compare(&sample(), publisher, &none, Some(&token)))
    };
    assert_eq!(
        against(&publisher_of("evil", "sampleproject", "release.yml")),
        ["repository", "workflow_ref", "job_workflow_ref"]
    );
    assert_eq!(
        against(&publisher_of("pypa", "sampleproject", "other.yml")),
        ["workflow_ref"]
    );
    let mut enterprise = publisher_of("pypa", "sampleproject", "release.yml");
    enterprise.issuer.push_str("/acme");
    assert_eq!(against(&enterprise), ["iss"]);
}

#[test]
fn a_repository_that_was_given_up_and_taken_again_is_told_by_its_number() {
    let publisher = publisher_of("pypa", "sampleproject", "release.yml");
    for claim in ["repository_id", "repository_owner_id"] {
        let pinned = BTreeMap::from([(claim.to_owned(), "1".to_owned())]);
        let differs = differing(compare(&sample(), &publisher, &pinned, Some(&token())));
        assert_eq!(differs, [claim]);
    }
}

#[test]
fn a_certificate_of_another_run_commit_or_ref_than_the_uploads_is_refused() {
    let publisher = publisher_of("pypa", "sampleproject", "release.yml");
    let none = BTreeMap::new();
    for claim in ["run_id", "sha", "ref", "workflow_ref", "repository_id"] {
        let mut token = token();
        token.insert(claim.to_owned(), "1".to_owned());
        let differs = differing(compare(&sample(), &publisher, &none, Some(&token)));
        assert_eq!(differs, [claim]);
    }
    // The upload may be a repeated attempt.
    let mut again = token();
    again.insert("run_attempt".to_owned(), "2".to_owned());
    compare(&sample(), &publisher, &none, Some(&again)).unwrap();
}

#[test]
fn a_token_that_is_silent_about_what_names_its_publisher_vouches_for_no_certificate() {
    let publisher = publisher_of("pypa", "sampleproject", "release.yml");
    for claim in [
        "repository",
        "repository_id",
        "repository_owner_id",
        "workflow_ref",
        "sha",
        "ref",
    ] {
        let mut token = token();
        token.remove(claim).unwrap();
        let none = BTreeMap::new();
        let differs = differing(compare(&sample(), &publisher, &none, Some(&token)));
        assert_eq!(differs, [claim]);
    }
}

#[test]
fn an_environment_that_the_certificate_does_not_say_is_taken_from_the_same_run_only() {
    let mut publisher = publisher_of("pypa", "sampleproject", "release.yml");
    publisher.rules.push(crate::oidc::Rule {
        claim: "environment".to_owned(),
        test: crate::oidc::Test::Equal("release".to_owned()),
    });
    let none = BTreeMap::new();
    compare(&sample(), &publisher, &none, Some(&token())).unwrap();
    assert_eq!(
        differing(compare(&sample(), &publisher, &none, None)),
        ["environment"]
    );
    // Where it says one, that counts.
    let mut claims = sample();
    claims
        .values
        .insert(Claim::DeploymentEnvironment, "staging".to_owned());
    assert_eq!(
        differing(compare(&claims, &publisher, &none, Some(&token()))),
        ["environment"]
    );
}

#[test]
fn a_certificate_that_is_silent_about_what_names_its_publisher_is_refused() {
    let publisher = publisher_of("pypa", "sampleproject", "release.yml");
    let none = BTreeMap::new();
    for (claim, said) in [
        (Claim::SourceRepositoryUri, "repository"),
        (Claim::SourceRepositoryIdentifier, "repository_id"),
        (
            Claim::SourceRepositoryOwnerIdentifier,
            "repository_owner_id",
        ),
        (Claim::BuildConfigUri, "workflow_ref"),
        (Claim::SourceRepositoryDigest, "sha"),
        (Claim::SourceRepositoryRef, "ref"),
        (Claim::RunInvocationUri, "run_id"),
        (Claim::Issuer, "iss"),
    ] {
        let mut claims = sample();
        claims.values.remove(&claim);
        claims.values.remove(&Claim::IssuerOld);
        let differs = differing(compare(&claims, &publisher, &none, Some(&token())));
        assert!(differs.contains(&said.to_owned()), "{claim}: {differs:?}");
    }
}

#[test]
fn a_policy_lets_in_whom_it_names_and_nobody_for_an_issuer_alone() {
    let claims = sample();
    let of = Allowed::of(&claims).unwrap();
    assert_eq!(
        of.repository.as_deref(),
        Some("https://github.com/pypa/sampleproject")
    );
    assert_eq!(
        of.workflow.as_deref(),
        Some(".github/workflows/release.yml")
    );
    let policy = |allowed: Vec<Allowed>| IdentityPolicy { allowed };
    let good = policy(vec![of.clone()]);
    assert_eq!(good.judge(&claims).unwrap(), &of);
    let issuer = Allowed {
        issuer: of.issuer.clone(),
        ..Allowed::default()
    };
    policy(vec![issuer.clone()]).judge(&claims).unwrap_err();
    for subject in ["*", "**", ""] {
        let any = Allowed {
            subject: Some(subject.to_owned()),
            ..issuer.clone()
        };
        policy(vec![any]).judge(&claims).unwrap_err();
    }
    policy(Vec::new()).judge(&claims).unwrap_err();
    for change in [
        Allowed {
            issuer: "https://gitlab.com".to_owned(),
            ..of.clone()
        },
        Allowed {
            repository: Some("https://github.com/evil/x".to_owned()),
            ..of.clone()
        },
        Allowed {
            repository_id: Some("1".to_owned()),
            ..of.clone()
        },
        Allowed {
            owner_id: Some("1".to_owned()),
            ..of.clone()
        },
        Allowed {
            workflow: Some(".github/workflows/x.yml".to_owned()),
            ..of.clone()
        },
        Allowed {
            reference: Some("refs/tags/*".to_owned()),
            ..of.clone()
        },
        Allowed {
            environment: Some("release".to_owned()),
            ..of.clone()
        },
        Allowed {
            subject: Some("https://github.com/evil/*".to_owned()),
            ..of.clone()
        },
    ] {
        let refusal = policy(vec![change]).judge(&claims).unwrap_err();
        let differs = refusal.differences.iter().filter(|row| !row.matched);
        assert_eq!(differs.count(), 1, "{refusal}");
    }
}
