//! Who may do what: one table. Every verb asks [`may`], which knows nothing but this table; `docs/permissions.md` is
//! written from it, and the tests of privilege escalation are generated from it.

use countersign_formats::Ecosystem;

use crate::error::{Error, Kind, Result};
use crate::model::{Action, Actor, Identity, Level, Membership, Role, Roles, Strength, Time};

use super::{denied, in_scope, is_fresh};

/// Whose right it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Accounts with one of these roles on the project.
    Project(&'static [Role]),
    /// Members of the organisation with one of these standings.
    Organisation(&'static [Membership]),
    /// Any account, for itself.
    Account,
    /// Operators alone.
    Operator,
}

/// What a session must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// To be signed in.
    SignedIn,
    /// To have proved again, minutes ago, who it is.
    Fresh,
    /// The same, and by a passkey or security key.
    Strong,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Permission {
    /// What is done.
    pub act: Act,
    /// Its word in documents, approvals and messages.
    pub word: &'static str,
    /// Completes "NAME may not … demo".
    pub what: &'static str,
    /// Whose right it is; the operator's besides, where `operator` says so.
    pub who: Who,
    /// The operator may too, without a role.
    pub operator: bool,
    /// What a session must show.
    pub session: Need,
    /// The least action of an API token that may; `None`: no API token may.
    pub token: Option<Action>,
    /// Tokens of workflows may.
    pub workflow: bool,
    /// On a critical project only a session that shows [`Need::Strong`] may.
    pub guarded: bool,
    /// Takes an approval besides: a passkey's consent to this very act on this very thing.
    pub approval: bool,
    /// Where a session must show more than a token can, a token that manages may too, with an approval of the very
    /// request ([`crate::Registry::consented`]).
    pub consent: bool,
    /// Not within the days after its account came back by recovery: whoever recovered it by fraud could else make lasting
    /// what the holder would undo.
    pub settled: bool,
    /// Why the row is as it is.
    pub why: &'static str,
}

impl Permission {
    /// The least action of a token that a person's consent lets do this. A token that publishes may bring the answer of a
    /// person to what was staged: with it a publication is all that comes of it.
    pub(crate) fn consented_action(&self) -> Action {
        match self.act {
            Act::ApproveStaged => Action::Publish,
            _ => Action::Manage,
        }
    }
}

/// What waits after a recovery: what gives rights away, makes credentials, or is not undone.
const fn waits_after_recovery(act: Act) -> bool {
    matches!(
        act,
        Act::Delete
            | Act::DeleteProject
            | Act::ManageRoles
            | Act::ManagePublishers
            | Act::ManagePolicy
            | Act::SetVisibility
            | Act::Propose
            | Act::Confirm
            | Act::OpenDeparture
            | Act::ManageMembers
            | Act::ManageManagers
            | Act::ManageTeams
            | Act::ManageNamespaces
            | Act::RemoveOrganisation
            | Act::MakeTokens
            | Act::EraseAccount
    )
}

macro_rules! acts {
    ($($(#[doc = $doc:literal])+ $act:ident = $word:literal $what:literal: $who:expr, $operator:ident, $session:ident, $token:ident, $workflow:ident, $guarded:ident, $approval:ident, $why:literal;)*) => {
        /// Something that somebody does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Act { $($(#[doc = $doc])+ $act,)* }

        /// The table.
        pub const PERMISSIONS: &[Permission] = &[$(Permission {
            act: Act::$act,
            word: $word,
            what: $what,
            who: $who,
            operator: acts!(@flag $operator),
            session: Need::$session,
            token: acts!(@token $token),
            workflow: acts!(@flag $workflow),
            guarded: acts!(@flag $guarded),
            approval: acts!(@flag $approval),
            consent: acts!(@consent $approval),
            settled: waits_after_recovery(Act::$act),
            why: $why,
        },)*];

        impl Act {
            /// Its row.
            pub fn permission(self) -> &'static Permission {
                &PERMISSIONS[self as usize]
            }
        }
    };
    (@flag yes) => { true };
    (@flag no) => { false };
    (@flag consent) => { false };
    (@consent yes) => { true };
    (@consent no) => { false };
    (@consent consent) => { true };
    (@token never) => { None };
    (@token read) => { Some(Action::Read) };
    (@token publish) => { Some(Action::Publish) };
    (@token manage) => { Some(Action::Manage) };
}

const OWNER: Who = Who::Project(&[Role::Owner]);
const RELEASES: Who = Who::Project(&[Role::Owner, Role::Maintainer]);
const UPLOADERS: Who = Who::Project(&[Role::Owner, Role::Maintainer, Role::Publisher]);
const GUARDS: Who = Who::Project(&[Role::Owner, Role::Security]);
const INSIDERS: Who = Who::Project(&[Role::Owner, Role::Maintainer, Role::Security]);
const ANY_ROLE: Who = Who::Project(&[
    Role::Owner,
    Role::Maintainer,
    Role::Publisher,
    Role::Security,
]);
const HEADS: Who = Who::Organisation(&[Membership::Owner]);
const MANAGERS: Who = Who::Organisation(&[Membership::Owner, Membership::Manager]);
const MEMBERS: Who =
    Who::Organisation(&[Membership::Owner, Membership::Manager, Membership::Member]);

// The columns: word, what; whose right, operator too, what a session must show, least action of an API token, workflow
// tokens, guarded where the project is critical, approval; why. The approval is `yes` where everybody needs one, and
// `consent` where it lets a token do what otherwise takes a session.
acts! {
    /// Files to a project.
    Publish = "publish" "publish to": UPLOADERS, yes, SignedIn, publish, yes, no, no,
        "What tokens and workflows are for. A publisher uploads and does nothing else.";
    /// See what waits for an approval.
    SeeStaged = "see-staged" "see what is staged for": ANY_ROLE, yes, SignedIn, read, no, no, no,
        "It is not published yet; whoever has a role may look at it before.";
    /// See a project that is private.
    SeePrivate = "see-private" "see": ANY_ROLE, yes, SignedIn, read, yes, no, no,
        "For everybody else it is not there. A client reads with the token that it publishes with, so workflows do too.";
    /// Let a staged version pass.
    ApproveStaged = "approve-staged" "publish what is staged for": RELEASES, no, Strong, never, no, no, consent,
        "What staging is for: a person, by a passkey, says yes to this version with this digest.";
    /// Refuse a staged version.
    RejectStaged = "reject-staged" "reject what is staged for": RELEASES, yes, SignedIn, publish, no, no, no,
        "Stopping must be easier than doing; it can be staged again.";
    /// A file below the trust that the project demands.
    PublishException = "publish-exception" "publish below the demanded trust to": OWNER, yes, SignedIn, publish, no, no, yes,
        "An exception to the owners' own policy: one file, by its digest, once.";
    /// Yank and take back.
    Yank = "yank" "yank releases of": RELEASES, yes, SignedIn, manage, no, no, no,
        "Undone at any time; clients yank with tokens.";
    /// Say that a release should not be used any more, and take it back.
    Deprecate = "deprecate" "deprecate releases of": RELEASES, yes, SignedIn, publish, no, no, no,
        "Undone at any time and stops nobody; npm's clients do it with the tokens that they publish with.";
    /// Point a tag to a release, and take tags away.
    Tag = "tag" "set the tags of": RELEASES, yes, SignedIn, publish, no, no, no,
        "A publication sets tags as well; npm's clients do it with the tokens that they publish with.";
    /// Delete files or releases.
    Delete = "delete" "delete from": OWNER, yes, Fresh, manage, no, yes, consent,
        "Not undone, but bounded by the registry's rule for deletion; scripts do it with tokens that manage.";
    /// Delete a whole project.
    DeleteProject = "delete-project" "delete": OWNER, yes, SignedIn, manage, no, yes, yes,
        "Not undone, and takes everything: never by a stolen credential alone.";
    /// Archive, deprecate, reactivate.
    SetStatus = "set-status" "change the status of": OWNER, yes, Fresh, manage, no, yes, consent,
        "Undone at any time, but it stops others from publishing.";
    /// Withhold the project's own files, and serve again what its own people withheld.
    Quarantine = "quarantine" "withhold files of": GUARDS, yes, SignedIn, manage, no, no, no,
        "In an incident minutes count, and withholding harms less than waiting.";
    /// Publishers, policy, notices, failures.
    SeeSettings = "see-settings" "see the settings of": INSIDERS, yes, SignedIn, manage, no, no, no,
        "Read only; claims of failed exchanges are nothing for strangers.";
    /// Take a notice down.
    DismissNotice = "dismiss-notice" "dismiss the notices of": OWNER, yes, SignedIn, manage, no, no, no,
        "The notice was for the owners.";
    /// Give and take roles.
    ManageRoles = "manage-roles" "change roles on": OWNER, yes, Fresh, manage, no, yes, consent,
        "`countersign owner` works with a token that manages. A critical project takes a passkey.";
    /// Give up one's own role.
    LeaveProject = "leave-project" "leave": ANY_ROLE, no, SignedIn, manage, no, no, no,
        "It only ever lessens rights; the last owner stays.";
    /// Trusted publishers.
    ManagePublishers = "manage-publishers" "change the publishers of": OWNER, yes, Fresh, manage, no, yes, consent,
        "`countersign publisher` works with a token that manages. A critical project takes a passkey.";
    /// What the owners demand of whoever publishes.
    ManagePolicy = "manage-policy" "change the policy of": OWNER, yes, Fresh, manage, no, yes, consent,
        "Like publishers: who lowers it can publish. A critical project takes a passkey.";
    /// Make a project private or public.
    SetVisibility = "set-visibility" "change who sees": OWNER, yes, Fresh, manage, no, yes, consent,
        "Showing is not undone, hiding stops whoever builds on it; `npm access` does it with a token. A critical project takes a passkey.";
    /// Found a project by a pending publisher.
    Found = "found" "register pending publishers for": Who::Account, yes, SignedIn, manage, no, no, no,
        "It reserves nothing; the project will be the caller's own.";
    /// See and remove one's own pending publishers.
    SeePending = "see-pending" "see pending publishers": Who::Account, yes, SignedIn, manage, no, no, no,
        "The caller's own alone.";
    /// Ask for a transfer, or for the removal of the last strong owner.
    Propose = "propose" "give away": OWNER, no, Strong, never, no, yes, consent,
        "It ends in others losing the project: two persons or a waiting time, and a passkey to begin with.";
    /// Confirm what another owner asked for.
    Confirm = "confirm" "confirm requests about": OWNER, no, Strong, never, no, yes, consent,
        "The second person of the two-person rule.";
    /// Stop what somebody asked for.
    Cancel = "cancel" "stop requests about": OWNER, yes, SignedIn, manage, no, no, no,
        "Stopping must be easier than doing.";
    /// An exception to what the project is remembered for, or a declared move.
    OpenDeparture = "open-departure" "open exceptions to the provenance of": OWNER, yes, Strong, never, no, yes, no,
        "Whoever opens one can publish what nobody vouches for: never by a stolen token, on a critical project never alone.";
    /// Make an organisation.
    CreateOrganisation = "create-organisation" "make organisations": Who::Account, yes, Fresh, never, no, no, consent,
        "It takes a name for ever.";
    /// Members, teams, invitations.
    SeeOrganisation = "see-organisation" "see the members of": MEMBERS, yes, SignedIn, manage, no, no, no,
        "Names of persons are for members.";
    /// Leave an organisation.
    LeaveOrganisation = "leave-organisation" "leave": MEMBERS, no, SignedIn, never, no, no, consent,
        "It only ever lessens rights; the last owner stays.";
    /// Invite and remove members.
    ManageMembers = "manage-members" "change the members of": MANAGERS, yes, Fresh, never, no, no, consent,
        "Governance of accounts is for people who are there.";
    /// Invite, appoint and remove owners and managers.
    ManageManagers = "manage-managers" "change the owners and managers of": HEADS, yes, Strong, never, no, no, consent,
        "An owner of an organisation owns all its projects; a manager must not make one.";
    /// Teams and who is in them.
    ManageTeams = "manage-teams" "change the teams of": MANAGERS, yes, Fresh, never, no, no, consent,
        "Teams never hold the role of an owner, so that a manager can not become one this way.";
    /// Give an organisation's teams roles on a namespace.
    ManageNamespaces = "manage-namespaces" "give roles on the namespaces of": HEADS, yes, Fresh, never, no, no, consent,
        "It reaches every project in the namespace.";
    /// End an organisation without projects.
    RemoveOrganisation = "remove-organisation" "remove": HEADS, yes, Strong, never, no, no, consent,
        "Not undone; its name stays taken.";
    /// Accept or decline an invitation.
    AnswerInvitation = "answer-invitation" "answer invitations": Who::Account, no, Fresh, never, no, no, consent,
        "Rights that a stolen token must not bring in; it takes a second factor too.";
    /// Mark projects for oneself.
    Star = "star" "star projects": Who::Account, no, SignedIn, read, no, no, no,
        "It changes nothing for anybody else, and nobody else sees it.";
    /// List one's tokens.
    SeeTokens = "see-tokens" "see tokens": Who::Account, yes, SignedIn, manage, no, no, no,
        "Hints and dates; never a secret.";
    /// End one's tokens.
    RevokeTokens = "revoke-tokens" "revoke tokens": Who::Account, yes, SignedIn, manage, no, no, no,
        "It only ever lessens rights; a token may always end itself.";
    /// Make a token.
    MakeTokens = "make-tokens" "make tokens": Who::Account, yes, Fresh, never, no, no, consent,
        "A token must never breed tokens by itself.";
    /// Passwords, passkeys, one-time codes, recovery codes.
    ManageFactors = "manage-factors" "change the factors of": Who::Account, no, Fresh, never, no, no, no,
        "Whoever changes these is the account from then on.";
    /// E-mail addresses.
    ManageAddresses = "manage-addresses" "change the addresses of": Who::Account, no, Fresh, never, no, no, no,
        "They lead to recovery.";
    /// List and end sessions.
    ManageSessions = "manage-sessions" "end the sessions of": Who::Account, no, SignedIn, never, no, no, no,
        "It only ever lessens rights.";
    /// Export the account's data.
    ExportAccount = "export-account" "export": Who::Account, no, Fresh, never, no, no, no,
        "All personal data at once.";
    /// Erase the account.
    EraseAccount = "erase-account" "erase": Who::Account, no, Fresh, never, no, no, no,
        "Not undone.";
    /// Ask for an approval.
    RequestApproval = "request-approval" "ask for approvals": Who::Account, no, SignedIn, publish, no, no, no,
        "The question costs nothing; the answer takes a passkey.";
    /// Answer a request for an approval.
    Approve = "approve" "answer approvals": Who::Account, no, SignedIn, never, no, no, no,
        "The passkey is asked for each approval anew, whatever the session shows.";
    /// Users, issuers, quarantine, keys, namespaces, the whole registry.
    Operate = "operate" "operate": Who::Operator, yes, Strong, never, no, no, no,
        "At the machine's own command line, or in a fresh session of an operator with a passkey.";
}

/// On what something is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum On<'a> {
    /// A project, with the roles that the caller has on it.
    Project {
        ecosystem: Ecosystem,
        key: &'a str,
        roles: Roles,
        critical: bool,
    },
    /// Projects of an ecosystem, before it is known which: the credential alone is judged.
    Ecosystem(Ecosystem),
    /// A name that no project has yet.
    Named(Ecosystem, &'a str),
    /// An organisation, with the caller's standing in it.
    Organisation {
        name: &'a str,
        standing: Option<Membership>,
    },
    /// What belongs to the caller's own account.
    Own,
}

/// Whether this caller acts as an operator: at the machine's command line, or in a session that proved it just now.
/// Whether it still is fresh was asked when the caller was authenticated, in the same request.
pub(crate) fn operates(actor: &Actor) -> bool {
    actor.strength == Strength::Operator
        || actor.session.as_ref().is_some_and(|session| {
            session.operator && session.level == Level::Phishproof && session.fresh_until.is_some()
        })
}

/// May this caller do this? Approvals, where the row demands one, are the verb's own business.
pub(crate) fn may(act: Act, actor: &Actor, on: On<'_>, now: Time) -> Result<()> {
    let row = act.permission();
    if row.operator && operates(actor) {
        return Ok(());
    }
    let subject = match on {
        On::Project { key, .. } => key,
        On::Named(_, key) => key,
        On::Organisation { name, .. } => name,
        On::Ecosystem(_) | On::Own => "",
    };
    may_with(row, actor, on, subject, now)?;
    match (row.who, on) {
        (Who::Operator, _) => Err(operator_needed(row.what)),
        (Who::Project(_), On::Ecosystem(_)) => Ok(()),
        (Who::Project(allowed), On::Project { roles, .. }) => {
            if allowed.iter().any(|role| roles.has(*role)) {
                return Ok(());
            }
            let needed: Vec<&str> = allowed.iter().map(|role| role.as_str()).collect();
            Err(denied(
                "role-missing",
                format!(
                    "{} may not {} {subject}: that needs the role {} on the project.",
                    actor.name(),
                    row.what,
                    needed.join(" or ")
                ),
                "Ask an owner of the project.",
            ))
        }
        (Who::Organisation(allowed), On::Organisation { standing, .. }) => {
            if standing.is_some_and(|standing| allowed.contains(&standing)) {
                return Ok(());
            }
            let needed: Vec<&str> = allowed.iter().map(|standing| standing.as_str()).collect();
            Err(denied(
                "membership-missing",
                format!(
                    "{} may not {} {subject}: that is for its {}.",
                    actor.name(),
                    row.what,
                    needed.join("s and ") + "s"
                ),
                "Ask an owner of the organisation.",
            ))
        }
        (Who::Account, _) => match &actor.identity {
            Identity::Account { .. } => Ok(()),
            _ => Err(account_needed(row.what)),
        },
        (Who::Project(_) | Who::Organisation(_), _) => Err(Error::internal(
            "a permission was asked about the wrong kind of thing",
            row.word,
        )),
    }
}

/// Is the credential good for this, whoever holds it?
fn may_with(row: &Permission, actor: &Actor, on: On<'_>, subject: &str, now: Time) -> Result<()> {
    if actor.identity == Identity::Anonymous {
        return Err(Error::new(
            Kind::Unauthenticated,
            "token-needed",
            format!(
                "To {} here you need a credential; none was sent.",
                format!("{} {subject}", row.what).trim_end()
            ),
        )
        .remedy(
            "Send an API token of this registry as the password (user name __token__), or sign in.",
        ));
    }
    let guarded = row.guarded && matches!(on, On::Project { critical: true, .. });
    if let Some(session) = &actor.session {
        let need = if guarded { Need::Strong } else { row.session };
        if need == Need::Strong && session.level < Level::Phishproof {
            return Err(denied(
                "passkey-needed",
                format!(
                    "To {} {subject} you must have signed in with a passkey or security key.",
                    row.what
                ),
                "Sign in with one; add one to the account first if it has none.",
            ));
        }
        if need >= Need::Fresh && !is_fresh(actor, now) {
            return Err(denied(
                "step-up-needed",
                format!(
                    "Before you {} {subject}, prove again that it is you.",
                    row.what
                ),
                "Confirm with your passkey, or with password and second factor; that holds for some minutes.",
            ));
        }
        return Ok(());
    }
    if actor.strength == Strength::Operator {
        // The operator at the command line is no account; rows that are for accounts alone refuse below.
        return Ok(());
    }
    let consented = row.consent
        && actor
            .consent
            .as_ref()
            .is_some_and(|consent| consent.acts.contains(&row.word));
    let session_needed = |why: String| {
        Err(denied(
            "session-needed",
            why,
            "Sign in at this registry's pages and do it there.",
        ))
    };
    if guarded && !consented {
        return session_needed(format!(
            "{subject} is a critical project: no token may {} it.",
            row.what
        ));
    }
    let Some(action) = row.token.or(consented.then(|| row.consented_action())) else {
        return session_needed(format!(
            "No token may {}.",
            format!("{} {subject}", row.what).trim_end()
        ));
    };
    match on {
        On::Project { ecosystem, key, .. } => in_scope(actor, ecosystem, Some(key), action)?,
        On::Named(ecosystem, key) => in_scope(actor, ecosystem, Some(key), action)?,
        On::Ecosystem(ecosystem) => in_scope(actor, ecosystem, None, action)?,
        On::Organisation { .. } | On::Own => in_whole_scope(actor, action)?,
    }
    if matches!(actor.identity, Identity::Workflow(_)) && !row.workflow {
        return Err(denied(
            "token-action",
            format!("A workflow's token may not {} {subject}.", row.what),
            "Use a token of a person.",
        ));
    }
    Ok(())
}

/// What is the account's own takes a token for all of the account.
fn in_whole_scope(actor: &Actor, action: Action) -> Result<()> {
    match &actor.scope {
        Some(scope)
            if scope.action < action
                || scope.project.is_some()
                || scope.namespace.is_some()
                || scope.ecosystem.is_some() =>
        {
            Err(denied(
                "token-action",
                "This token may not manage what belongs to the account.".to_owned(),
                "Use a token with the action manage and neither --project nor --ecosystem.",
            ))
        }
        _ => Ok(()),
    }
}

fn account_needed(what: &str) -> Error {
    denied(
        "account-needed",
        format!("Only an account may {what}."),
        "Sign in as the person whose business it is.",
    )
}

fn operator_needed(what: &str) -> Error {
    denied(
        "operator-needed",
        format!("Only the operator may {what}."),
        "Ask the operator of this registry.",
    )
}

/// May only the operator do this? At the command line, or signed in just now with a passkey.
pub(crate) fn may_operate(actor: &Actor, what: &str) -> Result<()> {
    if operates(actor) {
        return Ok(());
    }
    if actor
        .session
        .as_ref()
        .is_some_and(|session| session.operator)
    {
        return Err(denied(
            "step-up-needed",
            format!("To {what}, an operator shows a passkey just before."),
            "Confirm with your passkey and try again.",
        ));
    }
    Err(operator_needed(what))
}

/// The table as `docs/permissions.md` shows it.
pub fn page() -> String {
    let mut page = String::from(
        "# Permissions\n\nWritten from the table in `crates/countersign-registry/src/policy/permissions.rs`, which every verb asks; \
         a test holds this page current.\n\n\
         Roles on a project: **owner**; **maintainer** (releases); **publisher** (uploads, nothing else); **security** (the contact: \
         withholds the project's files, sees its settings, uploads nothing). An organisation has **owners**, who own its projects, \
         **managers**, and **members**, who have the roles that their teams have; teams are never owners.\n\n\
         *Session*: what a signed-in person must show: `signed-in`, `fresh` (proved again within some minutes) or `strong` (fresh, by a \
         passkey or security key). *Token*: the least action of an API token that may; a token never goes beyond its ecosystem, \
         namespace, project, networks and expiry, nor beyond the roles of its account. *Critical*: on a critical project only a strong \
         session may. *Approval*: a passkey's consent to this very act on this very thing, once, within two minutes; the operator at \
         the command line needs none. *for tokens*: a session needs no approval, and a token that manages may with one, \
         given to the very request, what it may not otherwise. *After recovery*: an account that came back by recovery may not \
         for some days.\n\n\
         | act | whose right | operator too | session | token | workflow | critical | approval | after recovery | why |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in PERMISSIONS {
        let who = match row.who {
            Who::Project(roles) => roles
                .iter()
                .map(|role| role.as_str())
                .collect::<Vec<_>>()
                .join(", "),
            Who::Organisation(standings) => format!(
                "organisation's {}",
                standings
                    .iter()
                    .map(|standing| standing.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
            Who::Account => "the account".to_owned(),
            Who::Operator => "operator".to_owned(),
        };
        let session = match row.session {
            Need::SignedIn => "signed-in",
            Need::Fresh => "fresh",
            Need::Strong => "strong",
        };
        let flag = |set: bool| if set { "yes" } else { "" };
        page.push_str(&format!(
            "| {} | {who} | {} | {session} | {} | {} | {} | {} | {} | {} |\n",
            row.word,
            flag(row.operator),
            row.token.map_or("", Action::as_str),
            flag(row.workflow),
            if row.guarded { "strong" } else { "" },
            match (row.approval, row.consent) {
                (true, _) => "yes",
                (false, true) => "for tokens",
                (false, false) => "",
            },
            if row.settled { "waits" } else { "" },
            row.why
        ));
    }
    page
}
