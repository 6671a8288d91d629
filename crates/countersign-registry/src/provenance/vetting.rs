//! The step "verify attestations" of a publish: what was sent beside the bytes is held against the bytes, against the
//! trust roots, and against whoever sends it. The order of the checks is that of `docs/spec/provenance.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign_formats::pypi::filename;
use countersign_formats::{Ecosystem, NameKey, npm};
use countersign_trust::digest::Sha256;
use countersign_trust::oidc::{self, Difference, Forge, Provider, Registration};
use countersign_trust::sigstore::{
    Allowed, Attestation, Bundle, Claim, Claims, Demands, IdentityPolicy, Limits, NameRule,
    Predicate, PredicateKind, Statement, Subject, TimeEvidence, Verified, Version, compare,
    cross_check, publisher, verify,
};
use serde_json::{Value, json};
use url::Url;

use super::notary::is_registrys;
use super::refused;
use super::roots::Roots;
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
    pub(crate) version: &'a str,
    pub(crate) purl: &'a str,
    /// The repository that its archive names, for a browser, where its index shows that as a fact (npm).
    pub(crate) repository: Option<String>,
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

    /// True where one of these that was verified now has a place in the ecosystem's own index.
    pub(crate) fn indexed(&self, digests: &[String]) -> bool {
        self.attestations.iter().any(|one| {
            one.new
                .as_ref()
                .is_some_and(|row| digests.contains(&row.digest) && row.has_place_in_index())
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
            Some(text) => {
                Sent::read(file.ecosystem, text, &limits).map_err(|refusal| refused(&refusal))?
            }
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
            .map(|one| Sha256::of(&one.raw).to_string())
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
        let fresh: Vec<(Sent, String)> = list
            .into_iter()
            .zip(digests.iter().cloned())
            .filter(|(_, digest)| !known.contains_key(digest))
            .collect();
        let held = Held {
            ecosystem: file.ecosystem,
            filename: named_in_statements(file)?,
            repository: file.repository.clone(),
            digests: file.digests.clone(),
            expected,
            token: workflow.map(|workflow| workflow.claims.clone()),
            roots: roots.clone(),
            limits,
        };
        // Signatures take a millisecond, and what a stranger sends may take longer to read: not on the async threads.
        let outcomes = tokio::task::spawn_blocking(move || {
            fresh
                .iter()
                .map(|(attestation, digest)| vet_one(attestation, digest, &held))
                .collect::<Result<Vec<AttestationRow>>>()
        });
        let mut rows = outcomes
            .await
            .map_err(|source| {
                Error::internal("the verification of attestations broke off", source)
            })??
            .into_iter();
        let mut types = BTreeSet::new();
        for digest in digests {
            if let Some(verdict) = known.get(&digest) {
                if *verdict == Verdict::Confirmed {
                    vetted.level = TrustLevel::Provenance;
                }
                vetted
                    .attestations
                    .push(VettedAttestation { digest, new: None });
                continue;
            }
            let Some(row) = rows.next() else {
                return Err(Error::internal("an attestation was not verified", digest));
            };
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
        // Whether this caller may publish to it is asked in the transaction.
        let named = match store
            .shown_project(file.ecosystem.as_str(), file.key.as_str())
            .await?
        {
            Some(project) => store.trusted_identities(&project.lifted()).await?,
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
        Ecosystem::Pypi => filename::same_file(ours, named),
        // Crates and npm's tarballs have one name each.
        Ecosystem::Cargo | Ecosystem::Npm => ours == named,
    }
}

/// What a statement about this file calls it: its file name, or for npm the package URL as npm's clients write it.
fn named_in_statements(file: &Candidate<'_>) -> Result<String> {
    Ok(match file.ecosystem {
        Ecosystem::Npm => {
            npm::registry::subject(&npm::name::PackageName::parse(file.project)?, file.version)
        }
        Ecosystem::Pypi | Ecosystem::Cargo => file.filename.to_owned(),
    })
}

/// An attestation as it was sent.
struct Sent {
    form: AttestationForm,
    raw: Vec<u8>,
    bundle: Bundle,
}

impl Sent {
    /// Python's index and ours take a list of attestation objects, npm's clients send one bundle.
    fn read(
        ecosystem: Ecosystem,
        text: &str,
        limits: &Limits,
    ) -> std::result::Result<Vec<Self>, countersign_trust::sigstore::Refusal> {
        if ecosystem == Ecosystem::Npm {
            return Ok(vec![Self {
                form: AttestationForm::Bundle,
                raw: text.as_bytes().to_vec(),
                bundle: Bundle::parse(text.as_bytes(), limits)?,
            }]);
        }
        let list = Attestation::parse_list(text.as_bytes(), limits)?;
        let sent = list.into_iter().map(|one| Self {
            form: AttestationForm::Pep740,
            raw: one.raw().to_vec(),
            bundle: one.to_bundle().clone(),
        });
        Ok(sent.collect())
    }
}

/// Is the repository that the archive names the one that the certificate vouches for? What pages and clients show of
/// where a package comes from must not differ from what is proven.
fn same_repository(named: Option<&str>, claims: &Claims) -> Result<()> {
    let proven = claims.repository().unwrap_or_default();
    let plain = |text: &str| {
        let text = text.trim_end_matches('/');
        text.strip_suffix(".git").unwrap_or(text).to_owned()
    };
    if named.is_some_and(|named| plain(named).eq_ignore_ascii_case(&plain(&proven))) {
        return Ok(());
    }
    Err(refuse(
        "attestation-repository",
        format!(
            "package.json: \"repository.url\" is {:?}, expected to match {proven:?} from provenance.",
            named.unwrap_or_default()
        ),
        "Let package.json name the repository that the package is built from.",
    ))
}

/// What the attestations of one upload are held against.
struct Held {
    ecosystem: Ecosystem,
    /// What statements call the file.
    filename: String,
    repository: Option<String>,
    digests: Vec<(String, String)>,
    expected: Expected,
    /// The claims of the token that uploads, where a workflow does.
    token: Option<BTreeMap<String, String>>,
    roots: Arc<Roots>,
    limits: Limits,
}

fn vet_one(sent: &Sent, digest: &str, held: &Held) -> Result<AttestationRow> {
    let bundle = &sent.bundle;
    let fits = |named: &str| same_file(held.ecosystem, &held.filename, named);
    let subject = Subject {
        name: NameRule::Fits {
            expected: &held.filename,
            fits: &fits,
        },
        digests: held.digests.clone(),
    };
    let demands = Demands {
        limits: held.limits.clone(),
        // npm's clients sign with libraries that still make the version before.
        oldest: match sent.form {
            AttestationForm::Pep740 => Version::V0_3,
            AttestationForm::Bundle => Version::V0_2,
        },
        placed: true,
        ..Demands::default()
    };
    let verified =
        verify(bundle, &subject, &held.roots.all, &demands).map_err(|refusal| refused(&refusal))?;
    let (Some(claims), Some(statement)) = (verified.claims(), verified.statement.as_ref()) else {
        return Err(refuse(
            "attestation-statement-malformed",
            "it has no certificate or no statement.".to_owned(),
            "Send attestations as the publishing clients make them.",
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
    match &held.expected {
        Expected::Publisher(row) => {
            compare(claims, &row.registration, &row.pinned, held.token.as_ref())
                .map_err(|refusal| refused(&refusal))?;
        }
        Expected::Named(policy) => {
            policy.judge(claims).map_err(|refusal| refused(&refusal))?;
        }
    }
    let kind = statement.kind();
    if held.ecosystem == Ecosystem::Npm {
        if !kind.is_provenance() {
            return Err(refuse(
                "attestation-predicate-refused",
                format!(
                    "step predicate: beside a package stands its provenance, not {}.",
                    statement.predicate_type
                ),
                "Publish with npm publish --provenance.",
            ));
        }
        same_repository(held.repository.as_deref(), claims)?;
    }
    let mut slsa_level = None;
    if kind.is_provenance() {
        let compared = cross_check(statement, claims).map_err(|refusal| refused(&refusal))?;
        slsa_level = Some(proven_level(statement, claims, &compared));
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
    let provider = match &held.expected {
        Expected::Publisher(row) => Some(row.registration.provider),
        Expected::Named(_) => claims.issuer().and_then(provider_of),
    };
    let registration = match &held.expected {
        Expected::Publisher(row) => Some(&row.registration),
        Expected::Named(_) => None,
    };
    let home = home_of(provider, claims);
    Ok(AttestationRow {
        id: String::new(),
        file: FileId(String::new()),
        maker: Maker::Uploader,
        form: sent.form,
        digest: digest.to_owned(),
        predicate_type: statement.predicate_type.clone(),
        statement_digest: Sha256::of(payload).to_string(),
        verdict,
        shown: ShownProvenance {
            slsa_level,
            ..shown(&verified, claims, provider, home.as_ref())
        },
        source: home.filter(|_| is_open(claims)),
        publisher: Some(publisher_shown(provider, registration, claims).to_string()),
        claims: words,
        signed: signed_at(&verified.times),
        root_digest: verified.root.as_ref().map(|root| root.digest.clone()),
        event: None,
        created: Time(0),
        body: text(&sent.raw)?,
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

/// Where the commit can be seen, as far as it is known whose pages show it.
fn home_of(provider: Option<Provider>, claims: &Claims) -> Option<CheckedSource> {
    let repository = plain(&claims.repository()?)?;
    let forge = Forge::of(provider?, claims.issuer()?, &repository)?;
    let commit = claims
        .get(Claim::SourceRepositoryDigest)
        .filter(|text| is_commit(text))?;
    Some(CheckedSource {
        forge,
        repository,
        commit: commit.to_owned(),
        workflow: claims
            .workflow()
            .map(|(path, _)| path.to_owned())
            .unwrap_or_default(),
    })
}

/// May anybody look at the repository, as far as its forge said? Others are not looked for: they would always be away.
fn is_open(claims: &Claims) -> bool {
    !matches!(
        claims.get(Claim::SourceRepositoryVisibility),
        Some("private" | "internal")
    )
}

fn provider_of(issuer: &str) -> Option<Provider> {
    Provider::ALL
        .into_iter()
        .find(|provider| provider.owns_issuer(issuer))
}

/// What pages show, read from what was proven.
fn shown(
    verified: &Verified,
    claims: &Claims,
    provider: Option<Provider>,
    home: Option<&CheckedSource>,
) -> ShownProvenance {
    let text = |claim| claims.get(claim).map(str::to_owned);
    let entry = verified.entries.first();
    ShownProvenance {
        builder: provider.map(|provider| provider.title().to_owned()),
        issuer: claims.issuer().map(str::to_owned),
        signer: Some(claims.san.as_str().to_owned()),
        commit_url: home.map(CheckedSource::commit_page),
        build_file_url: home.and_then(CheckedSource::build_file_page),
        repository: claims.repository().and_then(|uri| plain(&uri)),
        commit: text(Claim::SourceRepositoryDigest).filter(|text| is_commit(text)),
        reference: text(Claim::SourceRepositoryRef),
        build_file: claims.workflow().map(|(path, _)| path.to_owned()),
        run_url: text(Claim::RunInvocationUri).and_then(|uri| plain(&uri)),
        runner: text(Claim::RunnerEnvironment),
        trigger: text(Claim::BuildTrigger),
        environment: text(Claim::DeploymentEnvironment),
        log_index: entry.and_then(|entry| entry.index),
        log_url: entry
            .filter(|entry| entry.log.trim_end_matches('/') == "https://rekor.sigstore.dev")
            .and_then(|entry| entry.index)
            .map(|index| format!("https://search.sigstore.dev/?logIndex={index}")),
        slsa_level: None,
    }
}

/// The SLSA build level that provenance proves: what it says counts as far as the certificate, which the CI system asked
/// for, says the same. What was not compared proves nothing: provenance that leaves repository, commit or build file out
/// is level 1, whoever signed it.
fn proven_level(statement: &Statement, claims: &Claims, compared: &[Difference]) -> u8 {
    let Predicate::Slsa(slsa) = &statement.predicate else {
        return 1;
    };
    let held = |name: &str| compared.iter().any(|row| row.claim == name && row.matched);
    // GitLab's provenance names a job, not a file.
    let names_file = claims
        .workflow()
        .is_some_and(|(path, _)| path.contains("/workflows/"));
    let hosted = claims
        .get(Claim::RunnerEnvironment)
        .is_some_and(|runner| matches!(runner, "github-hosted" | "gitlab-hosted"));
    if !hosted || !held("repository") || !held("commit") || (names_file && !held("workflow")) {
        return 1;
    }
    let signer = claims.get(Claim::BuildSignerUri);
    let isolated = signer.is_some_and(is_isolated_builder)
        && claims.san.as_str() == signer.unwrap_or_default()
        && slsa.builder == claims.san.as_str();
    if isolated { 3 } else { 2 }
}

/// A builder that the project's own steps can not reach into: the generators of the SLSA project, at a released tag.
fn is_isolated_builder(uri: &str) -> bool {
    uri.strip_prefix("https://github.com/slsa-framework/slsa-github-generator/.github/workflows/")
        .and_then(|rest| rest.split_once('@'))
        .is_some_and(|(_, reference)| reference.starts_with("refs/tags/v"))
}

/// The source that a workflow's identity token vouches for.
fn source_of_workflow(workflow: &Workflow) -> Option<SourceTuple> {
    source_of_token(workflow.provider, &workflow.issuer, &workflow.claims)
}

/// The same from what was kept of a token. Where the provider's tokens name no repository, it is what stands in its place:
/// the service account, the pipeline, the project. So a project can not slip from one of them to another unseen.
pub(super) fn source_of_token(
    provider: Provider,
    issuer: &str,
    claims: &BTreeMap<String, String>,
) -> Option<SourceTuple> {
    let claim = |name: &str| claims.get(name).filter(|text| !text.is_empty()).cloned();
    let below = |host: &str, owner: &str, name: &str| {
        Some(format!("https://{host}/{}/{}", claim(owner)?, claim(name)?))
    };
    let (repository, repository_id, owner_id) = match provider {
        Provider::Google => (format!("mailto:{}", claim("email")?), claim("sub"), None),
        Provider::Buildkite => (
            below("buildkite.com", "organization_slug", "pipeline_slug")?,
            claim("pipeline_id"),
            claim("organization_id"),
        ),
        Provider::Activestate => (
            below("platform.activestate.com", "organization", "project")?,
            claim("project_id"),
            claim("organization_id"),
        ),
        _ => {
            let repository = oidc::source(provider, issuer, claims)?.repository;
            match provider {
                Provider::Gitlab => (repository, claim("project_id"), claim("namespace_id")),
                _ => (
                    repository,
                    claim("repository_id"),
                    claim("repository_owner_id"),
                ),
            }
        }
    };
    Some(SourceTuple {
        issuer: issuer.to_owned(),
        repository,
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

/// The publisher as the Python integrity API names it. Its clients take the repository of a kind that they know for one of
/// the public forge of that kind; a publisher elsewhere, and every other kind, is named in full, under a kind that is no
/// public forge's.
fn publisher_shown(
    provider: Option<Provider>,
    registration: Option<&Registration>,
    claims: &Claims,
) -> Value {
    let forge = match provider {
        Some(Provider::Github) => Some("https://github.com/"),
        Some(Provider::Gitlab) => Some("https://gitlab.com/"),
        _ => None,
    };
    let repository = claims.repository();
    let path = forge
        .filter(|_| claims.issuer().and_then(provider_of) == provider)
        .zip(repository.as_deref())
        .and_then(|(forge, repository)| repository.strip_prefix(forge));
    let known = match (forge, path, registration) {
        // Elsewhere than on the public forge of its kind.
        (Some(_), None, _) => None,
        (_, _, Some(registration)) => publisher(registration),
        (_, Some(path), None) => publisher_of_claims(provider, path, claims),
        (None, None, None) => None,
    };
    known.unwrap_or_else(|| {
        json!({
            "kind": provider.unwrap_or(Provider::Generic).title(),
            "issuer": claims.issuer(),
            "repository": repository,
            "workflow": claims.workflow().map(|(path, _)| path.to_owned()),
            "environment": claims.get(Claim::DeploymentEnvironment),
        })
    })
}

/// The same where no registration says it: from the certificate.
fn publisher_of_claims(provider: Option<Provider>, path: &str, claims: &Claims) -> Option<Value> {
    let (file, _) = claims.workflow()?;
    let path = path.trim_end_matches('/');
    match provider? {
        Provider::Github => Some(json!({
            "kind": "GitHub", "repository": path, "workflow": file.rsplit('/').next(), "environment": null,
        })),
        Provider::Gitlab => Some(json!({
            "kind": "GitLab", "repository": path, "workflow_filepath": file, "environment": null,
        })),
        _ => None,
    }
}
