//! The step "verify attestations" of a publish: what was sent beside the bytes is held against the bytes, against the
//! trust roots, and against whoever sends it. The order of the checks is that of `docs/spec/provenance.md`.

use std::collections::{BTreeMap, BTreeSet};

use countersign_formats::pypi::filename;
use countersign_formats::{Ecosystem, NameKey};
use countersign_trust::digest::Sha256;
use countersign_trust::oidc::{self, Provider};
use countersign_trust::sigstore::{
    Allowed, Attestation, Claim, Claims, Demands, IdentityPolicy, Limits, NameRule, PredicateKind,
    Subject, TimeEvidence, Verified, Version, compare, cross_check, publisher, verify,
};
use url::Url;

use super::notary::is_registrys;
use super::refused;
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::model::{
    Actor, AttestationForm, EventId, FileId, Identity, Maker, PublisherId, ShownProvenance,
    SourceTuple, Time, TrustLevel, Verdict, Workflow,
};
use crate::policy;
use crate::store::{AttestationRow, CheckedSource, PublisherRow, Tx};

/// Attestations of one file: one that it was published, one how it was built.
pub(super) const AT_MOST: usize = 2;

/// The file that attestations are sent for.
pub(crate) struct Candidate<'a> {
    pub(crate) ecosystem: Ecosystem,
    pub(crate) key: &'a NameKey,
    pub(crate) project: &'a str,
    pub(crate) filename: &'a str,
    pub(crate) purl: &'a str,
    /// Digests of its bytes: algorithm and lower-case hex; `sha256` is the first.
    pub(crate) digests: Vec<(String, String)>,
}

/// What was sent beside a file, verified; and with that, what stands behind the file. Only [`Registry::vet`] makes it.
#[derive(Debug)]
pub(crate) struct Vetted {
    attestations: Vec<VettedAttestation>,
    /// Documents of the roots that were leant on, by digest.
    roots: BTreeMap<String, String>,
    /// The publisher that the certificates were held against.
    pub(crate) publisher: Option<PublisherId>,
    /// What stands behind the file.
    pub(crate) level: TrustLevel,
    /// The source that it comes from, where anybody vouches for one.
    pub(crate) source: Option<SourceTuple>,
}

/// One of them.
#[derive(Debug)]
struct VettedAttestation {
    digest: String,
    /// `None`: the file has it already, byte for byte; it was not verified again.
    new: Option<Box<AttestationRow>>,
}

impl Vetted {
    /// Digests of all that was sent, hex.
    pub(crate) fn digests(&self) -> Vec<String> {
        self.attestations
            .iter()
            .map(|one| one.digest.clone())
            .collect()
    }

    /// True where nothing was sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.attestations.is_empty()
    }

    /// True where something was verified now and holds fully.
    pub(crate) fn confirms(&self) -> bool {
        self.attestations.iter().any(|one| {
            one.new
                .as_ref()
                .is_some_and(|row| row.verdict == Verdict::Confirmed)
        })
    }

    /// The predicate types that were verified now.
    pub(crate) fn predicate_types(&self) -> Vec<(&str, &str)> {
        self.attestations
            .iter()
            .filter_map(|one| {
                let row = one.new.as_ref()?;
                Some((row.digest.as_str(), row.predicate_type.as_str()))
            })
            .collect()
    }

    /// Writes those of `digests` with the event whose leaf names them.
    pub(crate) async fn write(
        &self,
        tx: &mut Tx,
        file: &FileId,
        digests: &[String],
        event: &EventId,
        now: Time,
    ) -> Result<()> {
        for one in &self.attestations {
            let Some(row) = one.new.as_ref().filter(|row| digests.contains(&row.digest)) else {
                continue;
            };
            if let Some(digest) = &row.root_digest
                && let Some(body) = self.roots.get(digest)
            {
                tx.keep_root_document(digest, body, now).await?;
            }
            let row = AttestationRow {
                id: new_id(),
                file: file.clone(),
                event: Some(event.clone()),
                created: now,
                ..(**row).clone()
            };
            tx.insert_attestation(&row).await?;
        }
        Ok(())
    }
}

/// Whom the certificates are held against.
enum Expected {
    Publisher(Box<PublisherRow>),
    Named(IdentityPolicy),
}

fn refuse(code: &'static str, why: String, remedy: &str) -> Error {
    Error::new(
        Kind::Rejected,
        code,
        format!("Invalid attestations supplied during upload: {why}"),
    )
    .remedy(remedy)
}

impl Registry {
    /// Verifies what was sent beside a file: a JSON list as the upload form has it.
    ///
    /// # Errors
    /// `attestation-…` with the step that failed, what was expected and what was seen; `attestations-not-taken` for
    /// callers whose attestations nobody asked for; `attestation-duplicate`, `attestations-too-many`.
    pub(crate) async fn vet(
        &self,
        actor: &Actor,
        file: &Candidate<'_>,
        sent: Option<&str>,
    ) -> Result<Vetted> {
        let workflow = match &actor.identity {
            Identity::Workflow(workflow) => Some(workflow),
            _ => None,
        };
        let mut vetted = Vetted {
            attestations: Vec::new(),
            roots: BTreeMap::new(),
            publisher: None,
            level: policy::trust_of(actor),
            source: workflow.and_then(|workflow| source_of_workflow(workflow)),
        };
        let limits = Limits {
            attestations: AT_MOST,
            ..Limits::default()
        };
        let list = match sent.map(str::trim).filter(|text| !text.is_empty()) {
            Some(text) => Attestation::parse_list(text.as_bytes(), &limits)
                .map_err(|refusal| refused(&refusal))?,
            None => Vec::new(),
        };
        if list.is_empty() {
            return Ok(vetted);
        }
        let expected = self
            .expected(actor, workflow.map(|one| &**one), file)
            .await?;
        if let Expected::Publisher(row) = &expected {
            vetted.publisher = Some(row.id.clone());
        }
        let digests: Vec<String> = list
            .iter()
            .map(|one| Sha256::of(one.raw()).to_string())
            .collect();
        let distinct: BTreeSet<&String> = digests.iter().collect();
        if distinct.len() != digests.len() {
            return Err(duplicate("the same attestation was sent twice"));
        }
        let sha256 = file.digests.first().map_or("", |(_, hex)| hex.as_str());
        let known = self
            .inner
            .store
            .known_attestations(file.purl, sha256, &digests)
            .await?;
        let roots = self.roots().await?;
        let mut types = BTreeSet::new();
        for (attestation, digest) in list.into_iter().zip(digests) {
            if let Some(verdict) = known.get(&digest) {
                if *verdict == Verdict::Confirmed {
                    vetted.level = TrustLevel::Provenance;
                }
                vetted
                    .attestations
                    .push(VettedAttestation { digest, new: None });
                continue;
            }
            let row = vet_one(
                &attestation,
                &digest,
                file,
                &expected,
                workflow.map(|one| &**one),
                &roots.all,
                &limits,
            )?;
            if !types.insert(one_of(&row.predicate_type)) {
                return Err(duplicate(&format!(
                    "two attestations have the predicate type {}",
                    row.predicate_type
                )));
            }
            if row.verdict == Verdict::Confirmed {
                vetted.level = TrustLevel::Provenance;
            }
            if let Some(digest) = &row.root_digest
                && let Some(body) = roots.document(digest)
            {
                vetted.roots.insert(digest.clone(), body.to_owned());
            }
            if vetted.source.is_none() {
                vetted.source = source_of_claims(&row.claims);
            }
            vetted.attestations.push(VettedAttestation {
                digest,
                new: Some(Box::new(row)),
            });
        }
        Ok(vetted)
    }

    /// Against whom the certificates of this caller's attestations are held.
    async fn expected(
        &self,
        actor: &Actor,
        workflow: Option<&Workflow>,
        file: &Candidate<'_>,
    ) -> Result<Expected> {
        let store = &self.inner.store;
        if let Some(workflow) = workflow {
            let rows = store.publishers_named(&workflow.publishers).await?;
            return rows
                .into_iter()
                .filter(|row| {
                    row.ecosystem == file.ecosystem
                        && row.project.is_some()
                        && row.removed.is_none()
                        && row.project_key == file.key.as_str()
                })
                .min_by(|a, b| a.id.cmp(&b.id))
                .map(|row| Expected::Publisher(Box::new(row)))
                .ok_or_else(|| policy::not_a_publisher_here(workflow, file.project));
        }
        let named = match store
            .shown_project(file.ecosystem.as_str(), file.key.as_str())
            .await?
        {
            Some(project) => store.trusted_identities(&project).await?,
            None => Vec::new(),
        };
        if named.is_empty() {
            return Err(refuse(
                "attestations-not-taken",
                format!(
                    "{} is no trusted publisher, and {} names no identity whose attestations it takes with API tokens.",
                    actor.name(),
                    file.project
                ),
                "Publish from a trusted publisher; or an owner names the identity first, in the project's provenance settings; or send none.",
            ));
        }
        let allowed = named
            .into_iter()
            .map(|row| Allowed {
                issuer: row.issuer,
                repository: Some(row.repository),
                workflow: row.workflow,
                ..Allowed::default()
            })
            .collect();
        Ok(Expected::Named(IdentityPolicy { allowed }))
    }
}

fn duplicate(why: &str) -> Error {
    refuse(
        "attestation-duplicate",
        format!("{why}."),
        "Send at most one attestation of each predicate type for a file.",
    )
}

/// What a file can have one of: the kind of a known type, whatever the index that names it; else the type itself.
pub(super) fn one_of(predicate_type: &str) -> String {
    match PredicateKind::of(predicate_type) {
        PredicateKind::Unknown => predicate_type.to_owned(),
        kind => format!("{kind:?}"),
    }
}

/// Is what a statement names this file? For Python the names must stand for the same distribution, however written.
fn same_file(ecosystem: Ecosystem, ours: &str, named: &str) -> bool {
    match ecosystem {
        Ecosystem::Pypi => {
            let limits = countersign_formats::Limits::default();
            let key = |text: &str| filename::parse(text, &limits).ok().map(|name| name.key());
            key(ours).is_some_and(|ours| Some(ours) == key(named))
        }
        // Crates and npm's tarballs have one name each.
        Ecosystem::Cargo | Ecosystem::Npm => ours == named,
    }
}

fn vet_one(
    attestation: &Attestation,
    digest: &str,
    file: &Candidate<'_>,
    expected: &Expected,
    workflow: Option<&Workflow>,
    roots: &countersign_trust::sigstore::TrustRoot,
    limits: &Limits,
) -> Result<AttestationRow> {
    let bundle = attestation.to_bundle();
    let fits = |named: &str| same_file(file.ecosystem, file.filename, named);
    let subject = Subject {
        name: NameRule::Fits {
            expected: file.filename,
            fits: &fits,
        },
        digests: file.digests.clone(),
    };
    let demands = Demands {
        limits: limits.clone(),
        oldest: Version::V0_3,
        ..Demands::default()
    };
    let verified =
        verify(bundle, &subject, roots, &demands).map_err(|refusal| refused(&refusal))?;
    let (Some(claims), Some(statement)) = (verified.claims(), verified.statement.as_ref()) else {
        return Err(refuse(
            "attestation-statement-malformed",
            "it has no certificate or no statement.".to_owned(),
            "Send attestations as pypi-attestations and uv make them.",
        ));
    };
    if is_registrys(&statement.predicate_type) {
        return Err(refuse(
            "attestation-predicate-refused",
            format!(
                "step predicate: statements of the type {} are made by registries, not by uploaders.",
                statement.predicate_type
            ),
            "Leave it out; this registry makes its own.",
        ));
    }
    match expected {
        Expected::Publisher(row) => {
            let token = workflow.map(|workflow| &workflow.claims);
            compare(claims, &row.registration, &row.pinned, token)
                .map_err(|refusal| refused(&refusal))?;
        }
        Expected::Named(policy) => {
            policy.judge(claims).map_err(|refusal| refused(&refusal))?;
        }
    }
    let kind = statement.kind();
    if kind.is_provenance() {
        cross_check(statement, claims).map_err(|refusal| refused(&refusal))?;
    }
    let verdict = match kind {
        PredicateKind::Unknown => Verdict::Kept,
        _ => Verdict::Confirmed,
    };
    let payload = bundle.payload().unwrap_or_default();
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec())
            .map_err(|source| Error::internal("an attestation was read and is no text", source))
    };
    let words = claim_words(claims);
    let named_publisher = match expected {
        Expected::Publisher(row) => publisher(&row.registration),
        Expected::Named(_) => publisher_of_claims(claims),
    };
    Ok(AttestationRow {
        id: String::new(),
        file: FileId(String::new()),
        maker: Maker::Uploader,
        form: AttestationForm::Pep740,
        digest: digest.to_owned(),
        predicate_type: statement.predicate_type.clone(),
        statement_digest: Sha256::of(payload).to_string(),
        verdict,
        shown: shown(&verified, claims, kind),
        source: checked_source(claims),
        publisher: named_publisher.map(|value| value.to_string()),
        claims: words,
        signed: signed_at(&verified.times),
        root_digest: verified.root.as_ref().map(|root| root.digest.clone()),
        event: None,
        created: Time(0),
        body: text(attestation.raw())?,
        rechecked: None,
        recheck_problem: None,
    })
}

/// When it was signed at the latest: the earliest of what the evidence says.
fn signed_at(times: &[TimeEvidence]) -> Time {
    let seconds = times.iter().map(|time| time.seconds).min().unwrap_or(0);
    Time(0).plus_seconds(seconds)
}

/// The claims by their names, and the certificate's own subject as `san`.
fn claim_words(claims: &Claims) -> BTreeMap<String, String> {
    let mut words: BTreeMap<String, String> = claims
        .values
        .iter()
        .map(|(claim, value)| (claim.as_str().to_owned(), value.clone()))
        .collect();
    words.insert("san".to_owned(), claims.san.as_str().to_owned());
    words
}

/// An `https` address without anything that could lead elsewhere.
fn plain(text: &str) -> Option<String> {
    let url = Url::parse(text).ok()?;
    let fits = url.scheme() == "https"
        && url.host_str().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.as_str().trim_end_matches('/') == text.trim_end_matches('/');
    fits.then(|| text.trim_end_matches('/').to_owned())
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn checked_source(claims: &Claims) -> Option<CheckedSource> {
    let repository = plain(&claims.repository()?)?;
    let commit = claims
        .get(Claim::SourceRepositoryDigest)
        .filter(|text| is_commit(text))?;
    Some(CheckedSource {
        repository,
        commit: commit.to_owned(),
        workflow: claims
            .workflow()
            .map(|(path, _)| path.to_owned())
            .unwrap_or_default(),
    })
}

/// What forge a repository is on, as far as its pages are built. GitLab's own certificates write two slashes.
fn is_gitlab(claims: &Claims) -> bool {
    claims
        .get(Claim::BuildConfigUri)
        .and_then(|uri| uri.strip_prefix("https://"))
        .is_some_and(|rest| rest.contains("//"))
}

fn provider_of(issuer: &str) -> Option<Provider> {
    Provider::ALL
        .into_iter()
        .find(|provider| provider.owns_issuer(issuer))
}

/// What pages show, read from what was proven.
fn shown(verified: &Verified, claims: &Claims, kind: PredicateKind) -> ShownProvenance {
    let text = |claim| claims.get(claim).map(str::to_owned);
    let repository = claims.repository().and_then(|uri| plain(&uri));
    let commit = text(Claim::SourceRepositoryDigest).filter(|text| is_commit(text));
    let path = claims.workflow().map(|(path, _)| path.to_owned());
    let (commits, files) = if is_gitlab(claims) {
        ("/-/commit/", "/-/blob/")
    } else {
        ("/commit/", "/blob/")
    };
    let at_commit = repository.as_ref().zip(commit.as_ref());
    let plain_path = path.as_ref().filter(|path| {
        path.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte))
            && !path.split('/').any(|part| part == "..")
    });
    let entry = verified.entries.first();
    let slsa_level = kind.is_provenance().then(|| {
        let reusable = claims
            .get(Claim::BuildSignerUri)
            .is_some_and(is_isolated_builder);
        let hosted = claims
            .get(Claim::RunnerEnvironment)
            .is_some_and(|runner| matches!(runner, "github-hosted" | "gitlab-hosted"));
        match (reusable, hosted) {
            (true, true) => 3,
            (false, true) => 2,
            _ => 1,
        }
    });
    ShownProvenance {
        builder: claims
            .issuer()
            .and_then(provider_of)
            .map(|provider| provider.title().to_owned()),
        issuer: claims.issuer().map(str::to_owned),
        signer: Some(claims.san.as_str().to_owned()),
        commit_url: at_commit.map(|(repository, commit)| format!("{repository}{commits}{commit}")),
        build_file_url: at_commit
            .zip(plain_path)
            .map(|((repository, commit), path)| format!("{repository}{files}{commit}/{path}")),
        repository,
        commit,
        reference: text(Claim::SourceRepositoryRef),
        build_file: path,
        run_url: text(Claim::RunInvocationUri).and_then(|uri| plain(&uri)),
        runner: text(Claim::RunnerEnvironment),
        trigger: text(Claim::BuildTrigger),
        environment: text(Claim::DeploymentEnvironment),
        log_index: entry.map(|entry| entry.index),
        log_url: entry
            .filter(|entry| entry.log.trim_end_matches('/') == "https://rekor.sigstore.dev")
            .map(|entry| format!("https://search.sigstore.dev/?logIndex={}", entry.index)),
        slsa_level,
    }
}

/// A builder that the project's own steps can not reach into: the generators of the SLSA project, at a released tag.
fn is_isolated_builder(uri: &str) -> bool {
    uri.strip_prefix("https://github.com/slsa-framework/slsa-github-generator/.github/workflows/")
        .and_then(|rest| rest.split_once('@'))
        .is_some_and(|(_, reference)| reference.starts_with("refs/tags/v"))
}

/// The source that a workflow's identity token vouches for.
pub(crate) fn source_of_workflow(workflow: &Workflow) -> Option<SourceTuple> {
    let source = oidc::source(workflow.provider, &workflow.issuer, &workflow.claims)?;
    let claim = |name: &str| {
        workflow
            .claims
            .get(name)
            .filter(|text| !text.is_empty())
            .cloned()
    };
    let (repository_id, owner_id) = match workflow.provider {
        Provider::Gitlab => (claim("project_id"), claim("namespace_id")),
        _ => (claim("repository_id"), claim("repository_owner_id")),
    };
    Some(SourceTuple {
        issuer: workflow.issuer.clone(),
        repository: source.repository,
        repository_id,
        owner_id,
    })
}

/// The source that a certificate vouches for.
fn source_of_claims(words: &BTreeMap<String, String>) -> Option<SourceTuple> {
    let word = |claim: Claim| words.get(claim.as_str()).cloned();
    Some(SourceTuple {
        issuer: word(Claim::Issuer)?,
        repository: plain(&word(Claim::SourceRepositoryUri)?)?,
        repository_id: word(Claim::SourceRepositoryIdentifier),
        owner_id: word(Claim::SourceRepositoryOwnerIdentifier),
    })
}

/// The publisher as the Python integrity API names it, where no registration says so: from the certificate.
fn publisher_of_claims(claims: &Claims) -> Option<serde_json::Value> {
    let repository = claims.repository()?;
    let path = Url::parse(&repository)
        .ok()?
        .path()
        .trim_matches('/')
        .to_owned();
    let (file, _) = claims.workflow()?;
    if is_gitlab(claims) {
        return Some(serde_json::json!({
            "kind": "GitLab", "repository": path, "workflow_filepath": file, "environment": null,
        }));
    }
    Some(serde_json::json!({
        "kind": "GitHub", "repository": path, "workflow": file.rsplit('/').next(), "environment": null,
    }))
}
