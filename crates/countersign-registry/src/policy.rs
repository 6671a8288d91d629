//! Pure rules: who may do what. No database, no clock: every fact is handed in.

mod deletion;
mod factors;

use std::ops::RangeInclusive;

use countersign_formats::npm::tags::MAX_TAGS;
use countersign_formats::pypi::classifiers::{Standing, standing};
use countersign_formats::{Ecosystem, Manifest, NameKey};
use countersign_trust::oidc::{self, Difference, Provider};

use crate::checks::names::{NameFinding, new_name};
use crate::error::{Error, Kind, Result};
use crate::model::{
    Action, Actor, FileState, Identity, Permits, ProjectStatus, Role, Roles, Scope, Strength, Time,
    TrustLevel, Visibility, Workflow,
};
use crate::settings::{DeletePolicy, Settings};
use crate::store::{FileFacts, NameFacts, NamespaceFacts, PolicyFacts, ProjectFacts, PublishFacts};

pub(crate) mod permissions;
pub(crate) mod provenance;
mod reports;
mod scanning;

pub use self::permissions::{Act, Need, PERMISSIONS, Permission, Who};
pub(crate) use self::permissions::{On, may, may_operate, operates};

pub(crate) use deletion::{DeletionFacts, in_words as deletion_in_words, may_delete};
pub(crate) use provenance::{Offer, Passed};
pub(crate) use reports::{Reported, reports_withhold};
pub(crate) use scanning::{ScanTier, scan_tier, waits_for_scan};

pub(crate) use factors::{critical, is_upward, may_do_without, meets_demands, missing};

/// What a publish that may go on turns out to be.
#[derive(Debug)]
pub(crate) enum Decision {
    /// These very bytes are here under this very name: the earlier publication is the answer.
    Repeat(FileFacts),
    /// A new file, and how it stands to what its project is remembered for.
    New(Passed),
}

fn denied(code: &'static str, message: String, remedy: &str) -> Error {
    Error::new(Kind::Denied, code, message).remedy(remedy.to_owned())
}

/// May this caller read anything here?
pub(crate) fn may_read(visibility: Visibility, actor: &Actor) -> Result<()> {
    match (visibility, &actor.identity) {
        (Visibility::Public, _) => Ok(()),
        (Visibility::Restricted, Identity::Anonymous) => Err(Error::new(
            Kind::Unauthenticated,
            "sign-in-needed",
            "This registry is restricted; reading needs a token.",
        )
        .remedy("Ask its operator for a token with the read action and send it as the password.")),
        (Visibility::Restricted, Identity::Workflow(_)) => Err(denied(
            "token-action",
            "A workflow's token publishes; it does not read this restricted registry.".to_owned(),
            "Read with a token of a person, made with --action read.",
        )),
        // What is read here is the whole instance: its index, its log, its pages. A token for one project is for less.
        (Visibility::Restricted, _) => match actor
            .scope
            .as_ref()
            .and_then(|scope| scope.project.as_ref())
        {
            Some(project) => Err(denied(
                "token-project",
                format!(
                    "This token is for publishing {project} only; it does not read this restricted registry."
                ),
                "Use a token made without --project.",
            )),
            None => Ok(()),
        },
    }
}

/// May this caller read what an ecosystem's own client reads while it publishes? Cargo has one token for a registry, and
/// needs the index with it before and after it sends a crate: so on a restricted instance a token that publishes some
/// of an ecosystem's projects reads the index and the files of that ecosystem, and nothing else.
pub(crate) fn may_read_as_client(
    visibility: Visibility,
    actor: &Actor,
    ecosystem: Ecosystem,
) -> Result<()> {
    let publishes = actor.scope.as_ref().is_some_and(|scope| {
        scope.action >= Action::Publish && scope.ecosystem.is_none_or(|only| only == ecosystem)
    });
    if publishes && actor.identity != Identity::Anonymous {
        return Ok(());
    }
    may_read(visibility, actor)
}

/// Did this caller prove minutes ago who it is?
pub(crate) fn is_fresh(actor: &Actor, now: Time) -> bool {
    actor
        .session
        .as_ref()
        .and_then(|session| session.fresh_until)
        .is_some_and(|until| now < until)
}

/// Is a project of this key in a namespace? A namespace is a name with all that begin with it and `-`, or a scope of npm.
pub(crate) fn in_namespace(key: &str, namespace: &str) -> bool {
    key.strip_prefix(namespace).is_some_and(|rest| {
        if namespace.starts_with('@') {
            rest.starts_with('/')
        } else {
            rest.is_empty() || rest.starts_with('-')
        }
    })
}

/// Is the caller's credential good for this action on this project at all?
fn in_scope(actor: &Actor, ecosystem: Ecosystem, key: Option<&str>, action: Action) -> Result<()> {
    if actor.strength == Strength::Operator {
        return Ok(());
    }
    if actor.identity == Identity::Anonymous {
        return Err(Error::new(
            Kind::Unauthenticated,
            "token-needed",
            format!(
                "To {} here you need a token; none was sent.",
                action.as_str()
            ),
        )
        .remedy("Send an API token of this registry as the password (user name __token__)."));
    }
    let Some(Scope {
        ecosystem: only,
        project,
        namespace,
        action: most,
        networks: _,
    }) = &actor.scope
    else {
        return Ok(());
    };
    if *most < action {
        return Err(denied(
            "token-action",
            format!(
                "This token may only {}; this needs the permission to {}.",
                most.as_str(),
                action.as_str()
            ),
            "Use a token made with a wider --action.",
        ));
    }
    if let Some(only) = only
        && *only != ecosystem
    {
        return Err(denied(
            "token-ecosystem",
            format!("This token is for {only} only, not for {ecosystem}."),
            "Use a token for this ecosystem.",
        ));
    }
    if let (Some(project), Some(key)) = (project, key)
        && project != key
    {
        return Err(denied(
            "token-project",
            format!("This token is for the project {project} only, not for {key}."),
            "Use a token for this project, or one without --project.",
        ));
    }
    if let (Some(namespace), Some(key)) = (namespace, key)
        && !in_namespace(key, namespace)
    {
        return Err(denied(
            "token-namespace",
            format!("This token is for projects in {namespace} only, and {key} is not in it."),
            "Use a token for this namespace, or one without --namespace.",
        ));
    }
    Ok(())
}

/// May this caller send bytes at all? Asked before the first of them is spooled.
pub(crate) fn may_upload(actor: &Actor, ecosystem: Ecosystem, now: Time) -> Result<()> {
    may(Act::Publish, actor, On::Ecosystem(ecosystem), now)
}

/// May this file be published, and is it new?
pub(crate) fn may_publish(
    settings: &Settings,
    actor: &Actor,
    facts: &PublishFacts,
    manifest: &Manifest,
    sha256: &str,
    offer: Offer<'_>,
    now: Time,
) -> Result<Decision> {
    let key = manifest.name_key.as_str();
    let operator = actor.strength == Strength::Operator;
    match &facts.project {
        Some(project) => {
            let workflow = match &actor.identity {
                Identity::Workflow(workflow) => Some(workflow),
                _ => None,
            };
            // A workflow has what its publisher gives: the releases, and no more.
            let roles = match workflow {
                Some(_) => Roles::NONE.with(Role::Maintainer),
                None => project.roles,
            };
            let on = On::Project {
                ecosystem: manifest.ecosystem,
                key,
                roles,
                critical: project.critical,
            };
            may(Act::Publish, actor, on, now)?;
            if let Some(workflow) = workflow {
                may_publish_here(workflow, project)?;
            }
            same_spelling(&project.name, manifest)?;
            let former_owner = operator || roles.has(Role::Owner);
            if !facts.excepted {
                meets_policy(actor, &project.policy, &project.name, offer.level)?;
            }
            if project.removed.is_some() && !former_owner {
                return Err(denied(
                    "name-retired",
                    format!(
                        "The project {} was deleted; only its former owners may use the name.",
                        project.name
                    ),
                    "Choose another name.",
                ));
            }
            match project.status {
                ProjectStatus::Active | ProjectStatus::Deprecated => {}
                ProjectStatus::Archived => {
                    return Err(denied(
                        "project-archived",
                        format!(
                            "The project {} is archived and takes no files.",
                            project.name
                        ),
                        "An owner can set its status back to active.",
                    ));
                }
                ProjectStatus::Quarantined => {
                    return Err(denied(
                        "project-quarantined",
                        format!(
                            "The project {} is in quarantine and takes no files.",
                            project.name
                        ),
                        "Ask the operator of this registry.",
                    ));
                }
            }
        }
        None => {
            in_scope(actor, manifest.ecosystem, Some(key), Action::Publish)?;
            may_create(settings, actor, facts, manifest)?;
        }
    }
    if let Some(named) = &facts.identifier {
        if named.sha256 != sha256 {
            return Err(exists(manifest, "with other content"));
        }
        return match &named.file {
            Some(file) if file.state == FileState::Removed => Err(exists(
                manifest,
                "and was deleted; a name is never used twice",
            )),
            Some(file) => Ok(Decision::Repeat(file.clone())),
            // Known from the log alone (a restored registry): the same bytes may come home.
            None => Ok(Decision::New(Passed::default())),
        };
    }
    if settings.visibility == Visibility::Public
        && let Some(private) = manifest
            .classifiers
            .iter()
            .find(|classifier| classifier.starts_with("Private ::"))
    {
        return Err(Error::new(
            Kind::Rejected,
            "project-restricted",
            format!("{} is marked {private:?}, and everything here is public.", manifest.name),
        )
        .remedy("Publish it to a restricted registry; private and public packages live on separate instances."));
    }
    // The operator imports what others once accepted; publishers use what is known today. The categories of crates and
    // the keywords of npm are other lists than Python's.
    if !operator
        && manifest.ecosystem == Ecosystem::Pypi
        && let Some(unknown) = manifest
            .classifiers
            .iter()
            .find(|classifier| standing(classifier) == Standing::Unknown)
    {
        let shown: String = unknown.chars().take(120).collect();
        return Err(Error::new(
            Kind::Rejected,
            "classifier-unknown",
            format!("{shown:?} is not a known classifier."),
        )
        .remedy("Correct it; the known ones are on the list of trove classifiers."));
    }
    if let Some(release) = &facts.release {
        if release.removed.is_some() {
            return Err(Error::new(
                Kind::Conflict,
                "version-retired",
                format!(
                    "Version {} of {} was deleted; a version is never used twice.",
                    manifest.version_canonical, manifest.name
                ),
            )
            .remedy("Publish a new version."));
        }
        if release.quarantined.is_some() {
            return Err(denied(
                "release-quarantined",
                format!(
                    "Version {} of {} is in quarantine and takes no files.",
                    manifest.version_canonical, manifest.name
                ),
                "Ask the operator of this registry.",
            ));
        }
        if let Some(open) = settings.release_open
            && !operator
            && now.0 - release.created.0 > i64::try_from(open.as_micros()).unwrap_or(i64::MAX)
        {
            return Err(Error::new(
                Kind::Rejected,
                "release-closed",
                format!(
                    "Version {} of {} was first published {}; it takes no further files {} days later.",
                    manifest.version_canonical,
                    manifest.name,
                    release.created.rfc3339(),
                    open.as_secs() / 86_400
                ),
            )
            .remedy("Publish a new version."));
        }
        if let Some(other) = &release.spelling {
            return Err(Error::new(
                Kind::Conflict,
                "file-exists",
                format!(
                    "File already exists under another spelling of its name: {other} ({} was sent).",
                    manifest.filename
                ),
            )
            .remedy("Files never change here. Publish a new version."));
        }
        if manifest.filetype == "sdist"
            && let Some(other) = &release.sdist
        {
            return Err(Error::new(
                Kind::Conflict,
                "second-sdist",
                format!(
                    "Version {} of {} has a source distribution already: {other}.",
                    manifest.version_canonical, manifest.name
                ),
            )
            .remedy("A release has at most one. Publish a new version."));
        }
    }
    match &facts.project {
        // What was never published has nothing to lose.
        Some(project) if !operator => {
            let memory = provenance::Memory {
                project: &project.name,
                level: project.trust,
                source: project.source.as_ref(),
            };
            // On a critical project nobody lets a loss pass alone: that takes a change which holds.
            let approved = facts.excepted && !project.critical;
            let rule = settings.provenance_loss;
            provenance::not_lost(memory, offer, &facts.open, rule, approved).map(Decision::New)
        }
        _ => Ok(Decision::New(Passed {
            remember: offer.source.cloned().filter(|_| facts.project.is_none()),
            ..Passed::default()
        })),
    }
}

/// Outside Python the spelling is part of the name by which clients ask: a later version has that of the first.
fn same_spelling(first: &str, manifest: &Manifest) -> Result<()> {
    match manifest.ecosystem {
        Ecosystem::Pypi => Ok(()),
        Ecosystem::Cargo => Ok(countersign_formats::cargo::name::same_spelling(
            first,
            &manifest.name,
        )?),
        Ecosystem::Npm if first == manifest.name => Ok(()),
        Ecosystem::Npm => Err(Error::new(
            Kind::Rejected,
            "name-spelling",
            format!(
                "The package is named {first}, and this version {}.",
                manifest.name
            ),
        )
        .remedy(format!("Write \"name\": {first:?} in package.json."))),
    }
}

/// How much stands behind what this caller publishes.
pub(crate) fn trust_of(actor: &Actor) -> TrustLevel {
    match actor.strength {
        Strength::None => TrustLevel::None,
        Strength::Token | Strength::Operator => TrustLevel::Token,
        Strength::Workflow | Strength::Phishproof => TrustLevel::Workflow,
    }
}

/// May a workflow publish here at once, or let it wait for a person's approval, as it asks?
pub(crate) fn may_pass(
    permits: Permits,
    at_once: bool,
    workflow: &Workflow,
    project: &ProjectFacts,
) -> Result<()> {
    // A publisher that is none here any more is refused as such.
    if project.publisher.is_none() {
        return Ok(());
    }
    match (at_once, permits) {
        (true, Permits { publish: false, .. }) => Err(denied(
            "publisher-stages-only",
            format!(
                "{} may stage releases of {}, and not publish them.",
                workflow.label, project.name
            ),
            "Stage it (npm stage publish) and let an owner approve it, or let an owner register the publisher with the permission to publish.",
        )),
        (false, Permits { stage: false, .. }) => Err(denied(
            "publisher-publishes-only",
            format!(
                "{} may publish releases of {}, and not stage them.",
                workflow.label, project.name
            ),
            "Publish it, or let an owner register the publisher with the permission to stage.",
        )),
        _ => Ok(()),
    }
}

/// Does one of the publishers that the token speaks for still belong to this project?
fn may_publish_here(workflow: &Workflow, project: &ProjectFacts) -> Result<()> {
    if project.publisher.is_some() {
        return Ok(());
    }
    Err(not_a_publisher_here(workflow, &project.name))
}

/// The refusal of a workflow that is no publisher of a project.
pub(crate) fn not_a_publisher_here(workflow: &Workflow, project: &str) -> Error {
    denied(
        "publisher-not-here",
        format!(
            "This token was minted for {}, which is not (or no longer) a trusted publisher of {project}.",
            workflow.label
        ),
        "An owner of the project adds it: `countersign publisher add`, or the project's settings.",
    )
}

/// Is something lost by this decision that an open exception or a declared move may cover?
pub(crate) fn loses(decision: &Result<Decision>) -> bool {
    match decision {
        Err(error) => matches!(error.code.as_ref(), "trust-lost" | "source-changed"),
        Ok(Decision::New(passed)) => !passed.lost.is_empty(),
        Ok(Decision::Repeat(_)) => false,
    }
}

/// Is this refusal one that an owner's approval of the very file overcomes? What a critical project is remembered for is
/// not one owner's to give up.
pub(crate) fn is_below_trust(error: &Error, critical: bool) -> bool {
    match error.code.as_ref() {
        "trusted-publishing-only" | "trust-too-low" => true,
        "trust-lost" => !critical,
        _ => false,
    }
}

/// Do the owners of the project let such a caller publish?
pub(crate) fn meets_policy(
    actor: &Actor,
    policy: &PolicyFacts,
    name: &str,
    level: TrustLevel,
) -> Result<()> {
    if actor.strength == Strength::Operator {
        return Ok(());
    }
    if policy.trusted_only.is_some() && actor.strength < Strength::Workflow {
        return Err(denied(
            "trusted-publishing-only",
            format!("{name} takes files from its trusted publishers only; API tokens are refused."),
            "Publish from the project's workflow. An owner can lift this: `countersign publisher policy --trusted-only off`.",
        ));
    }
    if let Some(wanted) = &policy.environment {
        check_environment(wanted, actor, name)?;
    }
    if let Some(minimum) = policy.minimum
        && level < minimum
    {
        return Err(denied(
            "trust-too-low",
            format!(
                "{name} takes files with the trust level {} or more; this is {}.",
                minimum.as_str(),
                level.as_str()
            ),
            "Publish from the project's workflow with an identity token, or ask an owner of the project.",
        ));
    }
    Ok(())
}

/// Does the token carry the environment that the project demands? An API token carries none.
fn check_environment(wanted: &str, actor: &Actor, project: &str) -> Result<()> {
    let (seen, provider) = match &actor.identity {
        Identity::Workflow(workflow) => (
            oidc::environment(workflow.provider, &workflow.claims),
            Some(workflow.provider),
        ),
        _ => (None, None),
    };
    // GitHub does not tell the case of environments apart; GitLab does.
    let fits = match &seen {
        Some(seen) if provider == Some(Provider::Github) => seen.eq_ignore_ascii_case(wanted),
        Some(seen) => seen == wanted,
        None => false,
    };
    if fits {
        return Ok(());
    }
    let mut error = denied(
        "environment-missing",
        format!(
            "{project} takes files from the deployment environment {wanted} only; the token carries {}.",
            seen.as_ref()
                .map_or_else(|| "none".to_owned(), |seen| format!("{seen:?}"))
        ),
        "Publish from the project's workflow, in a job with that environment.",
    );
    error.differences.push(Difference {
        claim: "environment".to_owned(),
        expected: wanted.to_owned(),
        seen,
        matched: false,
        advice: Some("Set that environment on the job which publishes.".to_owned()),
    });
    Err(error)
}

fn may_create(
    settings: &Settings,
    actor: &Actor,
    facts: &PublishFacts,
    manifest: &Manifest,
) -> Result<()> {
    if actor.strength == Strength::Operator {
        return Ok(());
    }
    if !settings.open_creation {
        return Err(denied(
            "creation-closed",
            format!(
                "There is no project {} here, and only the operator creates projects.",
                manifest.name
            ),
            "Ask the operator of this registry to create it and to give you a role.",
        ));
    }
    if let Identity::Workflow(workflow) = &actor.identity {
        // The first words are those of the best-known registry: tools and answers on the web explain them.
        return Err(denied(
            "creation-needs-account",
            format!(
                "Non-user identities cannot create new projects: this token was minted for {}, and there is no project {} here.",
                workflow.label, manifest.name
            ),
            "Check the name in the package's metadata against the registered one. For a new project, register a pending publisher under exactly this name.",
        ));
    }
    let Identity::Account { .. } = &actor.identity else {
        return Err(denied(
            "creation-needs-account",
            format!(
                "There is no project {} here, and only an account can create one.",
                manifest.name
            ),
            "Publish the first release with a token of a person.",
        ));
    };
    may_take_namespace(manifest.ecosystem, facts.namespace.as_ref())?;
    may_take_name(
        settings,
        manifest.ecosystem,
        &manifest.name,
        &manifest.name_key,
        &facts.names,
    )
}

/// May this caller register a workflow that shall found a project?
pub(crate) fn may_found(
    settings: &Settings,
    actor: &Actor,
    ecosystem: Ecosystem,
    project: &str,
    now: Time,
) -> Result<()> {
    in_scope(actor, ecosystem, Some(project), Action::Manage)?;
    may(Act::Found, actor, On::Named(ecosystem, project), now)?;
    if actor.strength == Strength::Operator || settings.open_creation {
        return Ok(());
    }
    Err(denied(
        "creation-closed",
        format!("There is no project {project} here, and only the operator creates projects."),
        "Ask the operator of this registry to register the pending publisher for you.",
    ))
}

/// What people write of something, in one line or several: trimmed, of so many bytes, without control characters. `what` is what
/// it is called.
///
/// # Errors
/// `text-length`.
pub(crate) fn words(text: &str, bytes: RangeInclusive<usize>, what: &str) -> Result<String> {
    let text = text.trim();
    let bad = |c: char| c.is_control() && c != '\n' && c != '\r' && c != '\t';
    if bytes.contains(&text.len()) && !text.chars().any(bad) {
        return Ok(text.replace('\r', ""));
    }
    let most = match *bytes.end() {
        most @ 1_000.. => format!("{},{:03}", most / 1_000, most % 1_000),
        most => most.to_string(),
    };
    Err(Error::new(
        Kind::Rejected,
        "text-length",
        format!(
            "{what} has {} to {most} bytes, without control characters; this has {}.",
            bytes.start(),
            text.len()
        ),
    )
    .remedy(match text.len() < *bytes.start() {
        true => "Say in some more words what it is about.",
        false => "Shorten it, and link to more.",
    }))
}

/// May a new project stand in this namespace? Python's clients are told as PEP 752 says, by a conflict; to npm's that would mean
/// to read and try again.
pub(crate) fn may_take_namespace(
    ecosystem: Ecosystem,
    namespace: Option<&NamespaceFacts>,
) -> Result<()> {
    let kind = match ecosystem {
        Ecosystem::Pypi => Kind::Conflict,
        Ecosystem::Cargo | Ecosystem::Npm => Kind::Denied,
    };
    match namespace {
        Some(namespace) if !namespace.may_create => Err(Error::new(
            kind,
            "namespace-owned",
            format!(
                "The names {0} belong to the organisation {1}.",
                if namespace.key.starts_with('@') {
                    format!("{}/…", namespace.key)
                } else {
                    format!("{0} and {0}-…", namespace.key)
                },
                namespace.organisation
            ),
        )
        .remedy("Choose another name, or ask an owner of the organisation for a team's role on the namespace.")),
        _ => Ok(()),
    }
}

/// May a workflow found a project now that was registered for it earlier?
pub(crate) fn may_still_found(settings: &Settings, by_operator: bool, project: &str) -> Result<()> {
    if by_operator || settings.open_creation {
        return Ok(());
    }
    Err(denied(
        "creation-closed",
        format!(
            "There is no project {project} here, and by now only the operator creates projects."
        ),
        "Ask the operator of this registry to register the pending publisher for you.",
    ))
}

/// May a new project have this name?
pub(crate) fn may_take_name(
    settings: &Settings,
    ecosystem: Ecosystem,
    name: &str,
    key: &NameKey,
    facts: &NameFacts,
) -> Result<()> {
    countersign_formats::format(ecosystem).new_name(name)?;
    let Some(finding) = new_name(
        ecosystem,
        key,
        &facts.lookalikes,
        facts.prohibited.as_ref(),
        &settings.prohibited_names,
        &facts.hits,
    ) else {
        return Ok(());
    };
    let why = match finding {
        NameFinding::StandardLibrary => {
            let library = match ecosystem {
                Ecosystem::Pypi => "Python's standard library",
                Ecosystem::Cargo => "Rust itself",
                Ecosystem::Npm => "Node.js",
            };
            format!("The name {name} belongs to {library}, or reads as one that does.")
        }
        NameFinding::Prohibited(None) => {
            format!("The name {name} is prohibited on this registry.")
        }
        NameFinding::Prohibited(Some(why)) => {
            format!("The name {name} is prohibited on this registry: {why}.")
        }
        // A private project's name is told to nobody.
        NameFinding::LooksLike(other) if other.is_empty() => {
            format!("The name {name} looks too much like that of an existing project.")
        }
        NameFinding::LooksLike(other) => {
            format!("The name {name} looks too much like the existing project {other}.")
        }
        NameFinding::Protected(hit) => format!(
            "The name {name} {} the protected name {}.",
            hit.way.words(),
            hit.other
        ),
    };
    Err(Error::new(Kind::Rejected, "name-refused", why)
        .remedy("Choose another name, or ask the operator of this registry."))
}

/// The words that `twine --skip-existing` and uv look for stand first.
fn exists(manifest: &Manifest, how: &str) -> Error {
    Error::new(
        Kind::Conflict,
        "file-exists",
        format!("File already exists ({}) {how}.", manifest.filename),
    )
    .remedy("Files never change here. Publish a new version, or skip existing files.")
}

/// May a package that has `count` tags get this one? `before` is the version that the tag points to already.
pub(crate) fn may_set_tag(project: &str, count: u64, before: Option<&str>) -> Result<()> {
    if before.is_some() || count < MAX_TAGS as u64 {
        return Ok(());
    }
    Err(Error::new(
        Kind::Rejected,
        "tags-too-many",
        format!("{project} has {count} tags, and may have no more."),
    )
    .remedy("Remove those that nobody uses: `npm dist-tag rm`."))
}

/// Where the operator demands it, an account publishes once its main address was proved.
pub(crate) fn has_proved_address(proved: bool) -> Result<()> {
    if proved {
        return Ok(());
    }
    Err(denied(
        "address-needed",
        "To publish here, the main address of the account must be proved.".to_owned(),
        "Open the link that was mailed to it; the account's page sends another one.",
    ))
}

/// For this many days after its recovery an account can neither delete, hand over, nor make tokens.
pub(crate) const RESTRICTED_DAYS: i64 = 7;

/// May an account that came back at that time do what could not be undone?
pub(crate) fn not_just_recovered(recovered: Option<Time>, now: Time, what: &str) -> Result<()> {
    match recovered.map(|at| at.plus_seconds(RESTRICTED_DAYS * 86_400)) {
        Some(until) if now < until => Err(denied(
            "recently-recovered",
            format!(
                "The account came back by recovery and may not {what} before {}.",
                until.rfc3339()
            ),
            "Wait until then, or ask another owner.",
        )),
        _ => Ok(()),
    }
}

/// A publication that wants its project private founds a private one, and does not hide what was shown.
pub(crate) fn fits_visibility(project: &ProjectFacts, private: bool) -> Result<()> {
    if !private || project.private || !project.shown {
        return Ok(());
    }
    Err(Error::new(
        Kind::Conflict,
        "visibility-differs",
        format!(
            "{} is public, and a publication does not make it private.",
            project.name
        ),
    )
    .remedy("Publish without --access restricted; owners make it private on its settings page or with npm access set status=private."))
}

/// May this caller make private what went live then? To whoever builds on it that is a deletion, so the rule is the same.
pub(crate) fn may_withdraw(
    policy: DeletePolicy,
    facts: &DeletionFacts,
    actor: &Actor,
    live: Option<Time>,
    now: Time,
    project: &str,
) -> Result<()> {
    may_delete(policy, facts, actor, live, now, project).map_err(|refused| {
        if refused.code != "deletion-too-late" {
            return refused;
        }
        denied(
            "visibility-too-late",
            format!(
                "{project} was public for too long: others may build on it. Owners make a project private only as long as they may delete what is in it."
            ),
            "Publish what must be private under a new name, or ask the operator of this registry.",
        )
    })
}

#[cfg(test)]
mod tests;
