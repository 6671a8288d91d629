//! What holds of the evidence about a file, check by check. Pure: what it needs is handed in. Nothing that was not
//! checked is ever called confirmed.

use std::borrow::Cow;
use std::collections::BTreeSet;

use countersign_formats::pypi::filename::same_file;
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::format_time;
use countersign_trust::oidc::Difference;
use countersign_trust::sigstore::{
    Bundle, Claim, Claims, Demands, NameRule, PolicyFile, Predicate, PredicateKind, ProjectPolicy,
    Refusal, Said, Signer, Statement, Subject, TrustRoot, TrustedKeys, Unlisted, Verified,
    VerifiedSigner, Wanted, cross_check, verify,
};
use serde::Serialize;

use crate::evidence::Piece;
use crate::failure::{Exit, Failure, plain, told};
use crate::trusted::Pinned;
use crate::verify::Verified as Logged;

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It holds.
    Confirmed,
    /// It does not.
    Failed,
    /// Nobody knows: something is missing, or nobody said what is expected.
    NotChecked,
}

/// A check and what came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Which: `digest`, `log`, `witnesses`, `attestations`, `attestation`, `statement`, `name`, `identity`, `release`,
    /// `summary`, `provenance`, `origin`.
    pub check: &'static str,
    /// What came of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// The stable code of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Cow<'static, str>>,
    /// The way out, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// What was compared one by one, where it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
}

impl Row {
    /// A check that holds.
    pub fn confirmed(check: &'static str, reason: impl AsRef<str>) -> Self {
        Self::new(check, Verdict::Confirmed, reason)
    }

    /// A check that was not made.
    pub fn not_checked(check: &'static str, reason: impl AsRef<str>) -> Self {
        Self::new(check, Verdict::NotChecked, reason)
    }

    /// A check that fails.
    pub fn failed(check: &'static str, code: &'static str, reason: impl AsRef<str>) -> Self {
        Self {
            code: Some(code.into()),
            ..Self::new(check, Verdict::Failed, reason)
        }
    }

    /// A check that a failure ended.
    pub fn of(check: &'static str, failure: Failure) -> Self {
        Self {
            code: Some(failure.code),
            remedy: failure.remedy,
            differences: failure.differences,
            ..Self::new(check, Verdict::Failed, failure.message)
        }
    }

    fn refused(check: &'static str, refusal: Refusal) -> Self {
        Self::of(check, Failure::from(refusal))
    }

    /// The reason is made of foreign text; what steers a terminal stays out.
    fn new(check: &'static str, verdict: Verdict, reason: impl AsRef<str>) -> Self {
        Self {
            check,
            verdict,
            reason: plain(reason.as_ref()),
            code: None,
            remedy: None,
            differences: Vec::new(),
        }
    }

    /// The differences of a failed comparison, one line each.
    pub fn lines(&self) -> Vec<String> {
        let differs = self.differences.iter().filter(|row| !row.matched);
        differs.map(told).collect()
    }
}

/// All checks of one file.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What was asked about: a path, an identifier, a project of a lock file.
    pub asked: String,
    /// The identifier in the log, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purl: Option<String>,
    /// The SHA-256 that everything was held against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What the log says, once that is proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Logged>,
    /// The checks.
    pub checks: Vec<Row>,
    /// Who signed, of the attestations that hold.
    #[serde(skip)]
    pub signed: Vec<Signed>,
}

/// An attestation that holds: who signed it, and what kind of statement it is.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The kind.
    pub kind: PredicateKind,
    /// What the certificate says.
    pub claims: Claims,
}

impl Report {
    /// One without checks yet.
    pub fn new(asked: impl Into<String>) -> Self {
        Self {
            asked: plain(&asked.into()),
            purl: None,
            sha256: None,
            log: None,
            checks: Vec::new(),
            signed: Vec::new(),
        }
    }

    /// Whether nothing failed, and something was confirmed at all.
    pub fn holds(&self) -> bool {
        self.first_failed().is_none() && self.confirmed().next().is_some()
    }

    /// The first check that failed.
    pub fn first_failed(&self) -> Option<&Row> {
        let mut rows = self.checks.iter();
        rows.find(|row| row.verdict == Verdict::Failed)
    }

    fn confirmed(&self) -> impl Iterator<Item = &Row> {
        let rows = self.checks.iter();
        rows.filter(|row| row.verdict == Verdict::Confirmed)
    }

    /// The failure that a command ends with; `None` where it holds.
    pub fn failure(&self) -> Option<Failure> {
        let Some(row) = self.first_failed() else {
            return self.confirmed().next().is_none().then(|| {
                Failure::unverified(
                    "nothing-checked",
                    format!("{}: nothing could be checked.", self.asked),
                )
            });
        };
        let code = row.code.clone().unwrap_or(Cow::Borrowed("unverified"));
        let mut failure = Failure::new(
            Exit::Verification,
            code,
            format!("{}: {}", self.asked, row.reason),
        );
        failure.remedy = row.remedy.clone();
        Some(failure)
    }
}

/// What a file's attestations are held against.
pub struct Examiner<'a> {
    /// The Sigstore instances that are believed.
    pub roots: &'a TrustRoot,
    /// Keys whose signatures count besides certificates.
    pub keys: &'a TrustedKeys,
    /// The registry whose own attestations these keys sign; `None` for files of other registries.
    pub registry: Option<&'a Pinned>,
    /// Whom the user allows to sign.
    pub policy: Option<&'a PolicyFile>,
    /// Whether a statement must be about this one file only.
    pub one_subject: bool,
}

/// The file that evidence is said to be about.
pub struct About<'a> {
    /// Its identifier.
    pub purl: Option<&'a str>,
    /// Its name.
    pub filename: Option<&'a str>,
    /// Its digests: algorithm and lower-case hex.
    pub digests: Vec<(String, String)>,
}

impl About<'_> {
    fn project(&self) -> Option<&str> {
        self.purl.and_then(|purl| purl.split('@').next())
    }

    fn release(&self) -> Option<&str> {
        self.purl.and_then(|purl| purl.split('?').next())
    }

    fn sha256(&self) -> Option<&str> {
        self.digest("sha256")
    }

    fn digest(&self, wanted: &str) -> Option<&str> {
        let mut digests = self.digests.iter();
        digests
            .find(|(algorithm, _)| algorithm == wanted)
            .map(|(_, hex)| hex.as_str())
    }
}

impl Examiner<'_> {
    /// All checks of a file's attestations. `logged` are the digests of attestations that the file's entry in the log
    /// names; `None` where no log was asked.
    pub fn examine(
        &self,
        about: &About<'_>,
        pieces: &[Piece],
        logged: Option<&[Sha256]>,
        report: &mut Report,
    ) {
        if let Some(logged) = logged {
            report.checks.push(whole(pieces, logged));
        }
        let project = about.project();
        let wanted = self
            .policy
            .and_then(|policy| project.and_then(|purl| policy.project(purl)));
        let mut said = BTreeSet::new();
        for piece in pieces {
            let bundle = match &piece.bundle {
                Ok(bundle) => bundle,
                Err(refusal) => {
                    let row = Row::refused("attestation", refusal.clone());
                    report.checks.push(row);
                    continue;
                }
            };
            if let (Signer::Key(hint), Some(registry)) = (bundle.signer(), self.registry) {
                report
                    .checks
                    .push(self.registrys_own(registry, hint, bundle, about));
                continue;
            }
            self.uploaders(bundle, about, wanted, &mut said, report);
        }
        if let Some(row) = self.provenance(about, wanted, &said, report) {
            report.checks.push(row);
        }
    }

    fn verified(&self, bundle: &Bundle, about: &About<'_>) -> Result<Verified, Refusal> {
        // Python's names are written in several ways, those of others in one. npm's clients name the release.
        let release = about
            .purl
            .filter(|purl| purl.starts_with("pkg:npm/"))
            .map(|purl| purl.split('?').next().unwrap_or_default());
        let fits = |named: &str| {
            release == Some(named)
                || about
                    .filename
                    .is_some_and(|ours| ours == named || same_file(ours, named))
        };
        let name = match (about.filename, about.purl) {
            (Some(filename), _) => NameRule::Fits {
                expected: filename,
                fits: &fits,
            },
            // npm names the release by its identifier.
            (None, Some(purl)) => NameRule::Exact(purl),
            (None, None) => NameRule::Any,
        };
        let subject = Subject {
            name,
            digests: about.digests.clone(),
        };
        let demands = Demands {
            keys: self.keys.clone(),
            one_subject: self.one_subject,
            well_formed: false,
            ..Demands::default()
        };
        verify(bundle, &subject, self.roots, &demands)
    }

    /// An attestation of whoever uploaded the file.
    fn uploaders(
        &self,
        bundle: &Bundle,
        about: &About<'_>,
        wanted: Option<&ProjectPolicy>,
        said: &mut BTreeSet<Said>,
        report: &mut Report,
    ) {
        let npm = about.purl.is_some_and(|purl| purl.starts_with("pkg:npm/"));
        if npm && self.registry.is_some() && about.digest("sha512").is_none() {
            // Only SHA-256 of the bytes is known, and npm's provenance names SHA-512. The log's word for that is no
            // substitute.
            report.checks.push(Row::not_checked(
                "attestation",
                "npm's provenance is about SHA-512, and the bytes are not at hand to compute it",
            ));
            return;
        }
        let verified = match self.verified(bundle, about) {
            Ok(verified) => verified,
            Err(refusal) => {
                report.checks.push(Row::refused("attestation", refusal));
                return;
            }
        };
        report.checks.push(attestation(&verified));
        let held = self.registry.is_some() || self.policy.is_some();
        let statement = statement(&verified, held, self.registry.is_some());
        let refused = statement
            .as_ref()
            .is_some_and(|row| row.verdict == Verdict::Failed);
        report.checks.extend(statement);
        if refused {
            return;
        }
        let names = statement_names(verified.statement.as_ref());
        if about.filename.is_none() && about.purl.is_none() && !names.is_empty() {
            report.checks.push(Row::not_checked(
                "name",
                format!("it is about {names}; --purl holds it against the name that you mean"),
            ));
        }
        let VerifiedSigner::Certificate(claims) = &verified.signer else {
            return;
        };
        let kind = verified
            .statement
            .as_ref()
            .map_or(PredicateKind::Unknown, Statement::kind);
        report.checks.push(self.identity(claims, wanted));
        let allowed = report
            .checks
            .last()
            .is_some_and(|row| row.verdict == Verdict::Confirmed);
        if allowed {
            said.extend(Said::of(kind));
        }
        report.signed.push(Signed {
            kind,
            claims: claims.as_ref().clone(),
        });
    }

    fn identity(&self, claims: &Claims, wanted: Option<&ProjectPolicy>) -> Row {
        let who = signer(claims);
        let Some(wanted) = wanted else {
            let why = match self.policy {
                None => "no --policy says who may sign",
                Some(_) => "the policy has no entry for it",
            };
            return Row::not_checked("identity", format!("{who}; {why}"));
        };
        if wanted.provenance == Wanted::None {
            let why = "the policy names nobody, since there was no provenance when it was written; `countersign policy init` takes this up";
            return Row::not_checked("identity", format!("{who}; {why}"));
        }
        match wanted.signers.judge(claims) {
            Ok(_) => Row::confirmed("identity", format!("{who}, as the policy allows")),
            Err(refusal) => Row {
                remedy: Some("Do not use this file, unless you know why its project is now built elsewhere; then correct the policy.".to_owned()),
                ..Row::refused("identity", refusal)
            },
        }
    }

    /// Whether a file has what the policy wants of its project.
    fn provenance(
        &self,
        about: &About<'_>,
        wanted: Option<&ProjectPolicy>,
        said: &BTreeSet<Said>,
        report: &Report,
    ) -> Option<Row> {
        let policy = self.policy?;
        let Some(project) = about.project() else {
            return Some(Row::failed(
                "provenance",
                "policy-unnamed",
                "the policy goes by projects, and nothing says of which this is: name it with --purl",
            ));
        };
        let Some(wanted) = wanted else {
            return Some(match policy.unlisted {
                Unlisted::Refuse => Row {
                    remedy: Some("Add it with `countersign policy init`, or by hand.".to_owned()),
                    ..Row::failed(
                        "provenance",
                        "policy-unlisted",
                        format!("the policy has no entry for {project}"),
                    )
                },
                Unlisted::Pass => Row::not_checked(
                    "provenance",
                    format!("the policy has no entry for {project}, and lets such pass"),
                ),
            });
        };
        if wanted.provenance == Wanted::None {
            return Some(Row::not_checked(
                "provenance",
                "nothing says where it was built or by whom; the policy wants nothing",
            ));
        }
        let lost = |why: String| {
            Some(Row {
                remedy: Some(
                    "Do not use this file before you know why its provenance is gone.".to_owned(),
                ),
                ..Row::failed("provenance", "provenance-lost", why)
            })
        };
        let missing: Vec<&str> = wanted
            .statements
            .difference(said)
            .map(|said| said.as_str())
            .collect();
        if !missing.is_empty() {
            return lost(format!(
                "the policy wants {} by its signers, and there is none",
                missing.join(" and ")
            ));
        }
        if said.is_empty() {
            return lost(
                "the policy wants provenance, and there is none by its signers".to_owned(),
            );
        }
        // Who else signed has a row of its own, which failed.
        let words: Vec<&str> = said.iter().map(|said| said.as_str()).collect();
        (report.first_failed().is_none()).then(|| {
            Row::confirmed(
                "provenance",
                format!("{}, as the policy wants", words.join(" and ")),
            )
        })
    }

    /// What the registry says itself about the file, with its own key.
    fn registrys_own(
        &self,
        registry: &Pinned,
        hint: &str,
        bundle: &Bundle,
        about: &About<'_>,
    ) -> Row {
        let limits = countersign_trust::sigstore::Limits::default();
        let kind = match bundle.unverified_statement(&limits) {
            Ok(statement) => statement.map_or(PredicateKind::Unknown, |statement| statement.kind()),
            Err(refusal) => return Row::refused("attestation", refusal),
        };
        let check = match kind {
            PredicateKind::Release => "release",
            PredicateKind::Vsa => "summary",
            _ => "attestation",
        };
        if self.keys.get(hint).is_none() {
            return Row {
                remedy: Some(format!(
                    "Pin the registry's keys again, if you trust them: countersign trust add {}",
                    registry.url
                )),
                ..Row::not_checked(
                    check,
                    format!("it is signed with the key {hint}, which is not pinned"),
                )
            };
        }
        let verified = match self.verified(bundle, about) {
            Ok(verified) => verified,
            Err(refusal) => return Row::refused(check, refusal),
        };
        let Some(statement) = &verified.statement else {
            return Row::failed(check, "attestation-statement-malformed", "it says nothing");
        };
        let row = match &statement.predicate {
            Predicate::Release { purl, .. } => released(purl.as_deref(), about),
            Predicate::Vsa {
                verifier,
                time,
                resource,
                passed,
                levels,
            } => {
                let summary = Summary {
                    verifier,
                    time,
                    resource,
                    passed: *passed,
                    levels,
                };
                summary.check(registry, about)
            }
            Predicate::Malformed(refusal) => Row::refused(check, refusal.as_ref().clone()),
            _ => Row::not_checked(
                check,
                format!("{} is not understood", statement.predicate_type),
            ),
        };
        match registry.ended(hint) {
            Some(until) if row.verdict == Verdict::Confirmed => Row::not_checked(
                check,
                format!(
                    "it is signed with a key that ended on {until}, and nothing proves that it was signed before"
                ),
            ),
            _ => row,
        }
    }
}

/// Whether every attestation that the log's entry names is here.
fn whole(pieces: &[Piece], logged: &[Sha256]) -> Row {
    let here: BTreeSet<&Sha256> = pieces.iter().map(|piece| &piece.digest).collect();
    let missing: Vec<String> = logged
        .iter()
        .filter(|digest| !here.contains(digest))
        .map(|digest| format!("sha256:{digest}"))
        .collect();
    if !missing.is_empty() {
        return Row {
            remedy: Some(
                "Do not use this file before you know why its provenance is withheld.".to_owned(),
            ),
            ..Row::failed(
                "attestations",
                "attestation-withheld",
                format!(
                    "the log names attestations that are not handed out: {}",
                    missing.join(", ")
                ),
            )
        };
    }
    let later = pieces
        .iter()
        .filter(|piece| !logged.contains(&piece.digest))
        .filter(|piece| {
            let signer = piece.bundle.as_ref().map(Bundle::signer);
            matches!(signer, Ok(Signer::Certificate(_)))
        })
        .count();
    let added = match later {
        0 => String::new(),
        count => format!("; {count} came later, whose own entries were not looked at"),
    };
    match logged.len() {
        0 => Row::not_checked(
            "attestations",
            format!("the file was published without any{added}"),
        ),
        count => Row::confirmed(
            "attestations",
            format!("all {count} that the log names for this file are here{added}"),
        ),
    }
}

fn statement_names(statement: Option<&Statement>) -> String {
    let names = statement.iter().flat_map(|statement| &statement.subjects);
    let names: Vec<&str> = names.map(|subject| subject.name.as_str()).take(8).collect();
    names.join(", ")
}

fn moment(seconds: i64) -> String {
    format_time(seconds.saturating_mul(1_000_000)).unwrap_or_else(|| seconds.to_string())
}

/// What holds of an attestation: cryptography, logs, subject.
fn attestation(verified: &Verified) -> Row {
    let mut parts = vec![match &verified.signer {
        VerifiedSigner::Certificate(claims) => format!("signed by {}", claims.san),
        VerifiedSigner::Key(hint) => format!("signed with the key {hint}"),
    }];
    for entry in &verified.entries {
        let how = match entry.included {
            true => "entry",
            false => "promised as entry",
        };
        let index = match entry.index {
            Some(index) => index.to_string(),
            None => "(nothing proves which)".to_owned(),
        };
        parts.push(format!("{how} {index} of {}", entry.log));
    }
    if let Some(time) = verified.times.iter().map(|time| time.seconds).min() {
        parts.push(format!("at or before {}", moment(time)));
    }
    if let Some(root) = &verified.root {
        parts.push(format!("under the trust root {}", root.name));
    }
    Row::confirmed("attestation", parts.join(", "))
}

/// What holds of what it says. A registry's file, or one that a policy is about, is held to it; of a bundle alone it is told.
fn statement(verified: &Verified, held: bool, registrys: bool) -> Option<Row> {
    let statement = verified.statement.as_ref()?;
    let names = statement_names(Some(statement));
    let contradiction = match (&verified.signer, &statement.predicate) {
        (VerifiedSigner::Certificate(claims), _)
            if registrys && statement.kind().is_made_by_registries() =>
        {
            Some(Row::failed(
                "statement",
                "attestation-predicate-refused",
                format!(
                    "{} is for registries to say, and {} signed it",
                    statement.predicate_type, claims.san
                ),
            ))
        }
        (_, Predicate::Malformed(refusal)) => {
            Some(Row::refused("statement", refusal.as_ref().clone()))
        }
        (VerifiedSigner::Certificate(claims), _) => cross_check(statement, claims)
            .err()
            .map(|refusal| Row::refused("statement", refusal)),
        (VerifiedSigner::Key(_), _) => npm_contradiction(statement)
            .map(|why| Row::failed("statement", "attestation-subject-mismatch", why)),
    };
    Some(match (contradiction, statement.kind()) {
        (Some(row), _) if held => row,
        (Some(row), _) => Row {
            differences: row.differences,
            ..Row::not_checked(
                "statement",
                format!("{} is judged only with --policy", row.reason),
            )
        },
        (None, PredicateKind::Unknown) => Row::not_checked(
            "statement",
            format!(
                "{} is not understood; it is about {names}",
                statement.predicate_type
            ),
        ),
        (None, kind) => Row::confirmed("statement", format!("{kind} about {names}")),
    })
}

/// npm's publish attestation says name and version a second time.
fn npm_contradiction(statement: &Statement) -> Option<String> {
    let Predicate::NpmPublish { name, version, .. } = &statement.predicate else {
        return None;
    };
    let named = format!("pkg:npm/{}@{version}", name.replacen('@', "%40", 1));
    let same = statement
        .subjects
        .iter()
        .all(|subject| subject.name == named);
    (!same).then(|| {
        format!(
            "it is about {}, and says {named}",
            statement_names(Some(statement))
        )
    })
}

/// Who signed, for people.
fn signer(claims: &Claims) -> String {
    let issuer = claims.issuer().unwrap_or("nobody");
    match (claims.repository(), claims.workflow()) {
        (Some(repository), Some((path, _))) => {
            let id = claims.get(Claim::SourceRepositoryIdentifier);
            let id = id.map_or(String::new(), |id| format!(" (id {id})"));
            format!("{repository}{id}, {path}, as {issuer} says")
        }
        _ => format!("{}, as {issuer} says", claims.san),
    }
}

fn released(purl: Option<&str>, about: &About<'_>) -> Row {
    match about.release() {
        Some(release) if purl == Some(release) => {
            Row::confirmed("release", format!("the registry released it as {release}"))
        }
        release => Row::failed(
            "release",
            "release-mismatch",
            format!(
                "the registry says that it released {}, expected {}",
                purl.unwrap_or("nothing"),
                release.unwrap_or("nothing")
            ),
        ),
    }
}

struct Summary<'a> {
    verifier: &'a str,
    time: &'a str,
    resource: &'a str,
    passed: bool,
    levels: &'a [String],
}

impl Summary<'_> {
    fn check(&self, registry: &Pinned, about: &About<'_>) -> Row {
        let failed = |why: String| Row::failed("summary", "summary-mismatch", why);
        let site = registry.url.as_str().trim_end_matches('/');
        if self.verifier.trim_end_matches('/') != site {
            return failed(format!("it is by {}, expected {site}", self.verifier));
        }
        let place = format!(
            "{site}/files/{}/{}",
            about.sha256().unwrap_or_default(),
            about.filename.unwrap_or_default().replace('+', "%2B")
        );
        if self.resource != place {
            return failed(format!("it is about {}, expected {place}", self.resource));
        }
        if !self.passed {
            return failed("the registry's own verification failed".to_owned());
        }
        Row::confirmed(
            "summary",
            format!(
                "the registry itself confirmed {} on {}",
                self.levels.join(", "),
                self.time
            ),
        )
    }
}
