//! What the API shows. These types are the API's promise; the core's may change without them.

use std::collections::BTreeMap;

use countersign_registry::model::{
    Actor, FileDetail, FileOrigin, Identity, LoggedEvent, ProjectDetail, ProjectSummary,
    ReleaseDetail, ReleaseSummary, Time,
};
use countersign_registry::{
    Invitation, Namespace, OrganisationDetail, OrganisationSummary, ProjectName, Proposal,
    TokenSummary, oidc,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::approvals::ApprovalView;

/// An error (RFC 9457).
#[derive(Serialize, ToSchema)]
pub(super) struct Problem {
    /// Address of the page that explains the code.
    r#type: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What was wrong, with which value.
    detail: String,
    /// Stable, kebab-case.
    code: String,
    /// What to do next.
    remedy: Option<String>,
    /// Claims or fields that were not as they should be; left out where there are none.
    differences: Option<Vec<DifferenceView>>,
    /// With the code `approval-needed`, where the request asked for it: what waits for a passkey, and where.
    approval: Option<ApprovalView>,
    /// Id of the request, for the operator.
    request: String,
}

/// A project in a list.
#[derive(Serialize, ToSchema)]
pub(super) struct ProjectRow {
    ecosystem: String,
    /// As its first publisher wrote it.
    name: String,
    /// Normalised.
    key: String,
    /// One line about the newest release.
    summary: String,
    /// The newest version that is not yanked.
    latest: String,
    /// When its newest file went live (RFC 3339).
    updated: String,
    /// `public`, or `private`: only those with a role on it see it.
    visibility: &'static str,
}

fn visibility(private: bool) -> &'static str {
    if private { "private" } else { "public" }
}

impl From<ProjectSummary> for ProjectRow {
    fn from(row: ProjectSummary) -> Self {
        Self {
            ecosystem: row.ecosystem.to_string(),
            name: row.name,
            key: row.key,
            summary: row.summary,
            latest: row.latest,
            updated: row.updated.rfc3339(),
            visibility: visibility(row.private),
        }
    }
}

/// A page of projects.
#[derive(Serialize, ToSchema)]
pub(super) struct ProjectPage {
    pub(super) items: Vec<ProjectRow>,
    /// How many there are in all.
    pub(super) total: u64,
    /// Number of the first row, from 0.
    pub(super) offset: u64,
    /// Rows asked for.
    pub(super) limit: u64,
}

/// A person's role.
#[derive(Serialize, ToSchema)]
pub(super) struct Person {
    user: String,
    /// `owner` or `maintainer`.
    role: String,
}

/// A project.
#[derive(Serialize, ToSchema)]
pub(super) struct Project {
    ecosystem: String,
    name: String,
    key: String,
    /// `active`, `archived`, `quarantined` or `deprecated`.
    status: String,
    status_reason: Option<String>,
    created: String,
    /// Changes with every change of what is served.
    serial: u64,
    people: Vec<Person>,
    /// Newest version first.
    releases: Vec<Release>,
    /// Tags and the versions that they point to; npm alone has them.
    tags: BTreeMap<String, String>,
    downloads_30d: u64,
    /// `public`, or `private`: only those with a role on it see it.
    visibility: &'static str,
}

impl From<ProjectDetail> for Project {
    fn from(project: ProjectDetail) -> Self {
        let person = |(user, role): (String, countersign_registry::model::Role)| Person {
            user,
            role: role.as_str().to_owned(),
        };
        Self {
            ecosystem: project.ecosystem.to_string(),
            name: project.name,
            key: project.key,
            status: project.status.as_str().to_owned(),
            status_reason: project.status_reason,
            created: project.created.rfc3339(),
            serial: project.serial,
            people: project.people.into_iter().map(person).collect(),
            releases: project.releases.into_iter().map(Into::into).collect(),
            tags: project.tags.into_iter().collect(),
            downloads_30d: project.downloads_30d,
            visibility: visibility(project.private),
        }
    }
}

/// A release in a list.
#[derive(Serialize, ToSchema)]
pub(super) struct Release {
    version: String,
    created: String,
    /// When it was yanked; null when it is not.
    yanked: Option<String>,
    /// Why it was yanked.
    yanked_reason: Option<String>,
    /// Why it should not be used any more; null where nobody says so. npm alone has it.
    deprecated: Option<String>,
    prerelease: bool,
    /// Number of files.
    files: u64,
}

impl From<ReleaseSummary> for Release {
    fn from(release: ReleaseSummary) -> Self {
        let (yanked, yanked_reason) = release
            .yanked
            .map(|(at, reason)| (at.rfc3339(), reason))
            .unzip();
        Self {
            version: release.version,
            created: release.created.rfc3339(),
            yanked,
            yanked_reason,
            deprecated: release.deprecated,
            prerelease: release.prerelease,
            files: release.files,
        }
    }
}

/// A dependency.
#[derive(Serialize, ToSchema)]
pub(super) struct Needs {
    /// Normalised name.
    key: String,
    /// As written.
    requirement: String,
    /// The address of the other registry that it comes from; null: this one.
    registry: Option<String>,
    /// What the release itself calls it, where that is another name.
    alias: Option<String>,
}

/// A release with what it says about itself.
#[derive(Serialize, ToSchema)]
pub(super) struct ReleaseWithFiles {
    #[serde(flatten)]
    release: Release,
    name: String,
    summary: Option<String>,
    requires_python: Option<String>,
    license: Option<String>,
    license_expression: Option<String>,
    classifiers: Vec<String>,
    dependencies: Vec<Needs>,
    artifacts: Vec<File>,
}

impl ReleaseWithFiles {
    pub(super) fn new(detail: ReleaseDetail, site: &str) -> Self {
        let manifest = detail.manifest;
        let mut sources = detail.sources.into_iter();
        let needs = |dependency: countersign_formats::Dependency| {
            let source = sources.next();
            Needs {
                key: dependency.name_key.to_string(),
                requirement: dependency.requirement,
                registry: source.as_ref().and_then(|source| source.registry.clone()),
                alias: source.and_then(|source| source.alias),
            }
        };
        Self {
            release: detail.release.into(),
            name: manifest.name,
            summary: manifest.summary,
            requires_python: manifest.requires_python,
            license: manifest.license,
            license_expression: manifest.license_expression,
            classifiers: manifest.classifiers,
            dependencies: manifest.dependencies.into_iter().map(needs).collect(),
            artifacts: detail
                .files
                .into_iter()
                .map(|file| File::new(file, site))
                .collect(),
        }
    }
}

/// A file.
#[derive(Serialize, ToSchema)]
pub(super) struct File {
    pub(super) filename: String,
    /// The identifier that names these bytes for ever.
    purl: String,
    url: String,
    size: u64,
    sha256: String,
    blake2b_256: String,
    md5: String,
    /// Where the ecosystem's clients go by it.
    sha512: Option<String>,
    filetype: String,
    python_tag: String,
    requires_python: Option<String>,
    uploaded: String,
    uploaded_by: String,
    /// Index of its leaf in the log.
    leaf: u64,
    /// Address of its offline proof.
    proof_url: String,
    /// `live`, `quarantined`, …
    state: String,
    /// Why it is withheld, where it is.
    withheld_because: Option<String>,
    /// The workflow that published it; null where it was none.
    origin: Option<Origin>,
}

impl File {
    pub(super) fn new(file: FileDetail, site: &str) -> Self {
        Self {
            url: format!("{site}{}", file.path),
            proof_url: format!("{site}{}.tlog-proof", file.path),
            filename: file.filename,
            purl: file.purl,
            size: file.size,
            sha256: file.sha256,
            blake2b_256: file.blake2b_256,
            md5: file.md5,
            sha512: file.sha512,
            filetype: file.filetype,
            python_tag: file.python_tag,
            requires_python: file.requires_python,
            uploaded: file.uploaded.rfc3339(),
            uploaded_by: file.uploaded_by,
            leaf: file.leaf,
            state: file.state.as_str().to_owned(),
            withheld_because: file.withheld_because,
            origin: file.origin.map(Into::into),
        }
    }
}

/// The workflow that published a file, as its issuer vouched for it.
#[derive(Serialize, ToSchema)]
pub(super) struct Origin {
    /// The CI system: `github`, `gitlab`, …
    provider: String,
    /// URL of the issuer that vouched for it.
    issuer: String,
    /// Repository, workflow and environment in words.
    label: String,
    /// The claims kept of its identity token.
    claims: BTreeMap<String, String>,
    /// Where it was built from, where the provider tells that.
    source: Option<SourceView>,
}

/// Where a file was built from.
#[derive(Serialize, ToSchema)]
struct SourceView {
    /// URL of the repository.
    repository: String,
    commit: Option<String>,
    /// Branch or tag.
    reference: Option<String>,
    workflow: Option<String>,
    /// URL of the run.
    run: Option<String>,
    environment: Option<String>,
}

impl From<FileOrigin> for Origin {
    fn from(origin: FileOrigin) -> Self {
        let source = origin.source.map(|source| SourceView {
            repository: source.repository,
            commit: source.commit,
            reference: source.reference,
            workflow: source.workflow,
            run: source.run,
            environment: source.environment,
        });
        Self {
            provider: origin.provider.as_str().to_owned(),
            issuer: origin.issuer,
            label: origin.label,
            claims: origin.claims,
            source,
        }
    }
}

/// Something that happened, as the log has it.
#[derive(Serialize, ToSchema)]
pub(super) struct Event {
    /// Index of the leaf.
    pub(super) leaf: u64,
    kind: String,
    /// The purl it is about.
    subject: String,
    at: String,
    /// The leaf's text, as hashed.
    text: String,
}

impl From<LoggedEvent> for Event {
    fn from(event: LoggedEvent) -> Self {
        Self {
            leaf: event.leaf,
            kind: event.kind,
            subject: event.subject,
            at: event.at.rfc3339(),
            text: event.text,
        }
    }
}

/// Events, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Events {
    items: Vec<Event>,
    /// Give this as `before` to go on; null at the end.
    next: Option<u64>,
}

impl Events {
    pub(super) fn new(events: Vec<LoggedEvent>, limit: u64) -> Self {
        let full = events.len() as u64 >= limit;
        let items: Vec<Event> = events.into_iter().map(Into::into).collect();
        let next = items
            .last()
            .filter(|_| full)
            .map(|event| event.leaf)
            .filter(|leaf| *leaf > 0);
        Self { items, next }
    }
}

/// What a token may do.
#[derive(Serialize, ToSchema)]
pub(super) struct ScopeView {
    ecosystem: Option<String>,
    project: Option<String>,
    /// Only names that begin with this.
    namespace: Option<String>,
    /// `read`, `publish` or `manage`; each includes the ones before.
    action: String,
    /// Only from these; empty: from everywhere.
    networks: Vec<String>,
}

impl From<countersign_registry::model::Scope> for ScopeView {
    fn from(scope: countersign_registry::model::Scope) -> Self {
        Self {
            ecosystem: scope.ecosystem.map(|ecosystem| ecosystem.to_string()),
            project: scope.project,
            namespace: scope.namespace,
            action: scope.action.as_str().to_owned(),
            networks: scope.networks.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Who is calling.
#[derive(Serialize, ToSchema)]
pub(super) struct Caller {
    /// `anonymous`, `account`, `workflow` or `system`.
    kind: String,
    name: String,
    scope: Option<ScopeView>,
}

impl From<Actor> for Caller {
    fn from(actor: Actor) -> Self {
        let kind = match &actor.identity {
            Identity::Anonymous => "anonymous",
            Identity::Account { .. } => "account",
            Identity::Workflow(_) => "workflow",
            Identity::System { .. } => "system",
        };
        Self {
            kind: kind.to_owned(),
            name: actor.name().to_owned(),
            scope: actor.scope.map(Into::into),
        }
    }
}

/// A token, without its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct TokenView {
    id: String,
    user: String,
    /// Enough of it to tell it from others.
    hint: String,
    label: String,
    scope: Option<ScopeView>,
    created: String,
    expires: Option<String>,
    revoked: Option<String>,
    last_used: Option<String>,
}

impl From<TokenSummary> for TokenView {
    fn from(token: TokenSummary) -> Self {
        Self {
            id: token.id.0,
            user: token.user,
            hint: token.hint,
            label: token.label,
            scope: token.scope.map(Into::into),
            created: token.created.rfc3339(),
            expires: token.expires.map(Time::rfc3339),
            revoked: token.revoked.map(Time::rfc3339),
            last_used: token.last_used.map(Time::rfc3339),
        }
    }
}

/// The tokens of one user.
#[derive(Serialize, ToSchema)]
pub(super) struct Tokens {
    pub(super) items: Vec<TokenView>,
}

/// One claim or field, and what was asked of it.
#[derive(Serialize, ToSchema)]
pub(super) struct DifferenceView {
    claim: String,
    /// What was asked of it, in words.
    expected: String,
    /// What was there; null where nothing was.
    seen: Option<String>,
    matched: bool,
    /// What to change, and where.
    advice: Option<String>,
}

impl From<oidc::Difference> for DifferenceView {
    fn from(difference: oidc::Difference) -> Self {
        Self {
            claim: difference.claim,
            expected: difference.expected,
            seen: difference.seen,
            matched: difference.matched,
            advice: difference.advice,
        }
    }
}

/// A request that waits for a second person or for its time.
#[derive(Serialize, ToSchema)]
pub(super) struct ProposalView {
    id: String,
    /// `remove-owner` or `transfer`.
    kind: &'static str,
    /// The project or organisation that it is about.
    about: String,
    /// Who goes, or who gets it.
    target: String,
    /// Who asked.
    by: String,
    created: String,
    /// When the waiting is over.
    ripe: String,
    /// Until when it holds.
    expires: String,
}

impl From<Proposal> for ProposalView {
    fn from(proposal: Proposal) -> Self {
        Self {
            id: proposal.id,
            kind: proposal.kind,
            about: proposal.about,
            target: proposal.target,
            by: proposal.by,
            created: proposal.created.rfc3339(),
            ripe: proposal.ripe.rfc3339(),
            expires: proposal.expires.rfc3339(),
        }
    }
}

/// Requests that wait.
#[derive(Serialize, ToSchema)]
pub(super) struct Proposals {
    items: Vec<ProposalView>,
}

impl From<Vec<Proposal>> for Proposals {
    fn from(proposals: Vec<Proposal>) -> Self {
        Self {
            items: proposals.into_iter().map(Into::into).collect(),
        }
    }
}

/// An organisation in a list.
#[derive(Serialize, ToSchema)]
pub(super) struct OrganisationRow {
    name: String,
    display_name: String,
    created: String,
    /// The caller's: `owner`, `manager` or `member`.
    standing: Option<String>,
}

impl From<OrganisationSummary> for OrganisationRow {
    fn from(row: OrganisationSummary) -> Self {
        Self {
            name: row.name,
            display_name: row.display_name,
            created: row.created.rfc3339(),
            standing: row.standing.map(|standing| standing.as_str().to_owned()),
        }
    }
}

/// Organisations.
#[derive(Serialize, ToSchema)]
pub(super) struct Organisations {
    pub(super) items: Vec<OrganisationRow>,
}

/// A member of an organisation.
#[derive(Serialize, ToSchema)]
pub(super) struct MemberView {
    user: String,
    standing: String,
    since: String,
}

/// A team.
#[derive(Serialize, ToSchema)]
pub(super) struct TeamView {
    name: String,
    members: Vec<String>,
    roles: Vec<TeamRoleView>,
}

/// A role of a team.
#[derive(Serialize, ToSchema)]
pub(super) struct TeamRoleView {
    ecosystem: String,
    /// A project's name, or a namespace's prefix.
    on: String,
    namespace: bool,
    role: String,
}

/// A name and all that begin with it and `-`.
#[derive(Serialize, ToSchema)]
pub(super) struct NamespaceView {
    ecosystem: String,
    prefix: String,
    since: Option<String>,
}

impl From<Namespace> for NamespaceView {
    fn from(namespace: Namespace) -> Self {
        Self {
            ecosystem: namespace.ecosystem.to_string(),
            prefix: namespace.prefix,
            since: namespace.since.map(Time::rfc3339),
        }
    }
}

/// A project by its name.
#[derive(Serialize, ToSchema)]
pub(super) struct ProjectNameView {
    ecosystem: String,
    name: String,
    /// The caller's roles, where they were asked for.
    roles: Vec<String>,
}

impl From<ProjectName> for ProjectNameView {
    fn from(project: ProjectName) -> Self {
        Self {
            ecosystem: project.ecosystem.to_string(),
            name: project.name,
            roles: project
                .roles
                .iter()
                .map(|role| role.as_str().to_owned())
                .collect(),
        }
    }
}

/// Projects.
#[derive(Serialize, ToSchema)]
pub(super) struct ProjectNames {
    pub(super) items: Vec<ProjectNameView>,
}

/// An invitation. Never its secret.
#[derive(Serialize, ToSchema)]
pub(super) struct InvitationView {
    id: String,
    organisation: String,
    user: String,
    standing: String,
    /// Null: by the operator.
    by: Option<String>,
    created: String,
    expires: String,
}

impl From<Invitation> for InvitationView {
    fn from(invitation: Invitation) -> Self {
        Self {
            id: invitation.id,
            organisation: invitation.organisation,
            user: invitation.user,
            standing: invitation.standing.as_str().to_owned(),
            by: invitation.by,
            created: invitation.created.rfc3339(),
            expires: invitation.expires.rfc3339(),
        }
    }
}

/// Invitations.
#[derive(Serialize, ToSchema)]
pub(super) struct Invitations {
    pub(super) items: Vec<InvitationView>,
}

/// An organisation, as its members see it.
#[derive(Serialize, ToSchema)]
pub(super) struct OrganisationView {
    #[serde(flatten)]
    organisation: OrganisationRow,
    members: Vec<MemberView>,
    teams: Vec<TeamView>,
    projects: Vec<ProjectNameView>,
    namespaces: Vec<NamespaceView>,
    /// Open ones.
    invitations: Vec<InvitationView>,
    /// Open requests for the removal of an owner.
    proposals: Vec<ProposalView>,
}

impl From<OrganisationDetail> for OrganisationView {
    fn from(detail: OrganisationDetail) -> Self {
        let members = detail.members.into_iter().map(|member| MemberView {
            user: member.user,
            standing: member.standing.as_str().to_owned(),
            since: member.since.rfc3339(),
        });
        let teams = detail.teams.into_iter().map(|team| TeamView {
            name: team.name,
            members: team.members,
            roles: team
                .roles
                .into_iter()
                .map(|role| TeamRoleView {
                    ecosystem: role.ecosystem.to_string(),
                    on: role.on,
                    namespace: role.namespace,
                    role: role.role.as_str().to_owned(),
                })
                .collect(),
        });
        Self {
            organisation: detail.organisation.into(),
            members: members.collect(),
            teams: teams.collect(),
            projects: detail.projects.into_iter().map(Into::into).collect(),
            namespaces: detail.namespaces.into_iter().map(Into::into).collect(),
            invitations: detail.invitations.into_iter().map(Into::into).collect(),
            proposals: detail.proposals.into_iter().map(Into::into).collect(),
        }
    }
}
