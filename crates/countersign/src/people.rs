//! The people of projects and organisations through the registry's own API, and what people are shown of the answers.
//! What a token alone may not change waits for a passkey ([`approval`]).

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::approval::{self, Asking};
use crate::failure::{Exit, Failure, Result};
use crate::publisher::{Items, ProjectName, printable, read, segment};
use crate::remote::Remote;

/// One call: where, how, with what. Built by the functions below, done by [`Deed::get`] or [`Deed::act`].
pub struct Deed {
    method: Method,
    path: String,
    body: Option<Value>,
}

impl Deed {
    fn new(method: Method, path: String) -> Self {
        Self {
            method,
            path,
            body: None,
        }
    }

    fn with(self, body: Value) -> Self {
        Self {
            body: Some(body),
            ..self
        }
    }

    /// Reads.
    ///
    /// # Errors
    /// As [`Remote::call`].
    pub fn get(self, remote: &Remote) -> Result<Value> {
        remote.call(self.method, &self.path, self.body.as_ref())
    }

    /// Changes, with a person's approval where that is asked for.
    ///
    /// # Errors
    /// As [`approval::act`].
    pub fn act(self, remote: &Remote, ask: Asking<'_>) -> Result<Value> {
        approval::act(remote, &self.method, &self.path, self.body.as_ref(), ask)
    }
}

/// The user name of whoever `remote` asks for.
///
/// # Errors
/// As [`Remote::call`]; exit 2 where the credential is not a person's.
pub fn own_name(remote: &Remote) -> Result<String> {
    let answer = remote.call(Method::GET, "/api/v1/whoami", None)?;
    match (answer["kind"].as_str(), answer["name"].as_str()) {
        (Some("account"), Some(name)) => Ok(name.to_owned()),
        _ => Err(Failure::new(
            Exit::Usage,
            "not-a-person",
            "This credential is not a person's.",
        )
        .remedy("Log in: countersign login.")),
    }
}

fn below(parts: &[&str]) -> String {
    let mut path = "/api/v1".to_owned();
    for part in parts {
        path.push('/');
        path.push_str(&segment(part));
    }
    path
}

/// The people of a project.
pub fn roles(project: &ProjectName) -> Deed {
    Deed::new(Method::GET, project.path(&["roles"]))
}

/// Gives somebody a role on a project, or takes it.
pub fn role(project: &ProjectName, user: &str, role: Option<&str>) -> Deed {
    held(project.path(&["roles", user]), role)
}

/// Gives a team a role on a project of its organisation, or takes it.
pub fn team_role(project: &ProjectName, team: &str, role: Option<&str>) -> Deed {
    held(project.path(&["teams", team]), role)
}

fn held(path: String, role: Option<&str>) -> Deed {
    match role {
        Some(role) => Deed::new(Method::PUT, path).with(json!({"role": role})),
        None => Deed::new(Method::DELETE, path),
    }
}

/// What waits about a project: removals of owners and transfers.
pub fn proposals(project: &ProjectName) -> Deed {
    Deed::new(Method::GET, project.path(&["proposals"]))
}

/// Asks for a transfer of a project to an organisation or a user.
pub fn propose_transfer(project: &ProjectName, to: &str) -> Deed {
    Deed::new(Method::POST, project.path(&["proposals"])).with(json!({"transfer_to": to}))
}

/// Asks for the removal of an owner.
pub fn propose_removal(project: &ProjectName, user: &str) -> Deed {
    Deed::new(Method::POST, project.path(&["proposals"])).with(json!({"remove_owner": user}))
}

/// Transfers that wait for the caller.
pub fn my_transfers() -> Deed {
    Deed::new(Method::GET, below(&["me", "transfers"]))
}

/// Confirms what somebody asked for.
pub fn confirm(proposal: &str) -> Deed {
    Deed::new(Method::POST, below(&["proposals", proposal, "confirm"])).with(json!({}))
}

/// Stops what somebody asked for.
pub fn stop(proposal: &str) -> Deed {
    Deed::new(Method::DELETE, below(&["proposals", proposal]))
}

/// The caller's projects.
pub fn my_projects() -> Deed {
    Deed::new(Method::GET, below(&["me", "projects"]))
}

/// The caller's organisations.
pub fn organisations() -> Deed {
    Deed::new(Method::GET, below(&["organisations"]))
}

/// One organisation, with all in it.
pub fn organisation(name: &str) -> Deed {
    Deed::new(Method::GET, below(&["organisations", name]))
}

/// Makes an organisation.
pub fn create_organisation(name: &str, display_name: Option<&str>) -> Deed {
    let mut body = json!({"name": name});
    if let Some(display_name) = display_name {
        body["display_name"] = json!(display_name);
    }
    Deed::new(Method::POST, below(&["organisations"])).with(body)
}

/// Ends an organisation that has no projects.
pub fn remove_organisation(name: &str) -> Deed {
    Deed::new(Method::DELETE, below(&["organisations", name]))
}

/// Invites somebody.
pub fn invite(organisation: &str, user: &str, standing: &str) -> Deed {
    Deed::new(
        Method::POST,
        below(&["organisations", organisation, "invitations"]),
    )
    .with(json!({"user": user, "standing": standing}))
}

/// Invitations that wait for the caller.
pub fn my_invitations() -> Deed {
    Deed::new(Method::GET, below(&["me", "invitations"]))
}

/// Accepts an invitation.
pub fn accept(invitation: &str) -> Deed {
    Deed::new(Method::POST, below(&["invitations", "accept"]))
        .with(json!({"invitation": invitation}))
}

/// Declines an invitation, or takes back one's own.
pub fn decline(invitation: &str) -> Deed {
    Deed::new(Method::DELETE, below(&["invitations", invitation]))
}

/// Changes a member's standing, or ends it.
pub fn member(organisation: &str, user: &str, standing: Option<&str>) -> Deed {
    let path = below(&["organisations", organisation, "members", user]);
    match standing {
        Some(standing) => Deed::new(Method::PUT, path).with(json!({"standing": standing})),
        None => Deed::new(Method::DELETE, path),
    }
}

/// Asks for the removal of an owner of an organisation.
pub fn propose_leaving(organisation: &str, user: &str) -> Deed {
    Deed::new(
        Method::POST,
        below(&["organisations", organisation, "proposals"]),
    )
    .with(json!({"remove_owner": user}))
}

/// Makes a team, or ends it.
pub fn team(organisation: &str, team: &str, there: bool) -> Deed {
    let path = below(&["organisations", organisation, "teams", team]);
    put_or_delete(path, there)
}

/// Puts a member into a team, or takes them out.
pub fn team_member(organisation: &str, team: &str, user: &str, there: bool) -> Deed {
    let path = below(&[
        "organisations",
        organisation,
        "teams",
        team,
        "members",
        user,
    ]);
    put_or_delete(path, there)
}

fn put_or_delete(path: String, there: bool) -> Deed {
    if there {
        Deed::new(Method::PUT, path).with(json!({}))
    } else {
        Deed::new(Method::DELETE, path)
    }
}

/// Gives a team a role on a namespace of the organisation, or takes it.
pub fn namespace_role(
    organisation: &str,
    (ecosystem, prefix): (&str, &str),
    team: &str,
    role: Option<&str>,
) -> Deed {
    let path = below(&[
        "organisations",
        organisation,
        "namespaces",
        ecosystem,
        prefix,
        "teams",
        team,
    ]);
    held(path, role)
}

#[derive(Deserialize)]
struct Roles {
    items: Vec<Person>,
    organisation: Option<String>,
}

#[derive(Deserialize)]
struct Person {
    user: String,
    role: String,
}

#[derive(Deserialize)]
struct Proposal {
    id: String,
    kind: String,
    about: String,
    target: String,
    by: String,
    ripe: String,
    expires: String,
}

#[derive(Deserialize)]
struct OwnProject {
    ecosystem: String,
    name: String,
    roles: Vec<String>,
}

#[derive(Deserialize)]
struct Organisation {
    name: String,
    #[serde(default)]
    display_name: String,
    standing: Option<String>,
    #[serde(default)]
    members: Vec<Member>,
    #[serde(default)]
    teams: Vec<Team>,
    #[serde(default)]
    projects: Vec<OwnProject>,
    #[serde(default)]
    namespaces: Vec<Namespace>,
    #[serde(default)]
    invitations: Vec<Invitation>,
    #[serde(default)]
    proposals: Vec<Proposal>,
}

#[derive(Deserialize)]
struct Member {
    user: String,
    standing: String,
}

#[derive(Deserialize)]
struct Team {
    name: String,
    members: Vec<String>,
    roles: Vec<TeamRole>,
}

#[derive(Deserialize)]
struct TeamRole {
    ecosystem: String,
    on: String,
    namespace: bool,
    role: String,
}

#[derive(Deserialize)]
struct Namespace {
    ecosystem: String,
    prefix: String,
}

#[derive(Deserialize)]
struct Invitation {
    id: String,
    organisation: String,
    user: String,
    standing: String,
    by: String,
    expires: String,
}

/// The people of a project for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_roles(answer: &Value) -> Result<Vec<String>> {
    let Roles {
        items,
        organisation,
    } = read(answer)?;
    let mut lines: Vec<String> = items
        .iter()
        .map(|person| format!("{:<12}{}", person.role, person.user))
        .collect();
    if let Some(organisation) = organisation {
        lines.push(format!("{:<12}organisation {organisation}", "owned by"));
    }
    Ok(printable(lines))
}

fn proposal_line(proposal: &Proposal) -> Vec<String> {
    let what = match proposal.kind.as_str() {
        "transfer" => format!("transfer {} to {}", proposal.about, proposal.target),
        _ => format!("remove the owner {} of {}", proposal.target, proposal.about),
    };
    vec![
        format!("{}  {what}", proposal.id),
        format!(
            "    asked by {}, ripe {}, over {}",
            proposal.by, proposal.ripe, proposal.expires
        ),
    ]
}

/// One request for a removal or transfer for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_proposal(answer: &Value) -> Result<Vec<String>> {
    Ok(printable(proposal_line(&read(answer)?)))
}

/// Requests for removals and transfers for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_proposals(answer: &Value) -> Result<Vec<String>> {
    let Items { items } = read::<Items<Proposal>>(answer)?;
    if items.is_empty() {
        return Ok(vec!["Nothing waits.".to_owned()]);
    }
    Ok(printable(items.iter().flat_map(proposal_line).collect()))
}

/// The caller's projects for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_projects(answer: &Value) -> Result<Vec<String>> {
    let Items { items } = read::<Items<OwnProject>>(answer)?;
    if items.is_empty() {
        return Ok(vec!["No project.".to_owned()]);
    }
    Ok(printable(items.iter().map(project_line).collect()))
}

fn project_line(project: &OwnProject) -> String {
    format!(
        "{}:{}  {}",
        project.ecosystem,
        project.name,
        project.roles.join(", ")
    )
}

fn organisation_line(organisation: &Organisation) -> String {
    let mut line = organisation.name.clone();
    if !organisation.display_name.is_empty() && organisation.display_name != organisation.name {
        line.push_str(&format!(" ({})", organisation.display_name));
    }
    if let Some(standing) = &organisation.standing {
        line.push_str(&format!("  you are its {standing}"));
    }
    line
}

/// The caller's organisations for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_organisations(answer: &Value) -> Result<Vec<String>> {
    let Items { items } = read::<Items<Organisation>>(answer)?;
    if items.is_empty() {
        return Ok(vec![
            "No organisation yet. Make one: countersign org create NAME".to_owned(),
        ]);
    }
    Ok(printable(items.iter().map(organisation_line).collect()))
}

/// One organisation for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_organisation(answer: &Value) -> Result<Vec<String>> {
    let organisation: Organisation = read(answer)?;
    let mut lines = vec![organisation_line(&organisation)];
    for member in &organisation.members {
        lines.push(format!("    {:<10}{}", member.standing, member.user));
    }
    for team in &organisation.teams {
        lines.push(format!(
            "    team {}: {}",
            team.name,
            if team.members.is_empty() {
                "nobody".to_owned()
            } else {
                team.members.join(", ")
            }
        ));
        for role in &team.roles {
            let what = if role.namespace { "namespace " } else { "" };
            lines.push(format!(
                "        {} on {what}{}:{}",
                role.role, role.ecosystem, role.on
            ));
        }
    }
    for project in &organisation.projects {
        lines.push(format!(
            "    project {}:{}",
            project.ecosystem, project.name
        ));
    }
    for namespace in &organisation.namespaces {
        lines.push(format!(
            "    namespace {}:{}",
            namespace.ecosystem, namespace.prefix
        ));
    }
    for invitation in &organisation.invitations {
        lines.extend(
            invitation_lines(invitation)
                .into_iter()
                .map(|line| format!("    {line}")),
        );
    }
    for proposal in &organisation.proposals {
        lines.extend(
            proposal_line(proposal)
                .into_iter()
                .map(|line| format!("    {line}")),
        );
    }
    Ok(printable(lines))
}

fn invitation_lines(invitation: &Invitation) -> Vec<String> {
    vec![
        format!(
            "{}  {} as {} of {}",
            invitation.id, invitation.user, invitation.standing, invitation.organisation
        ),
        format!(
            "    invited by {}, until {}",
            invitation.by, invitation.expires
        ),
    ]
}

/// One invitation for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_invitation(answer: &Value) -> Result<Vec<String>> {
    Ok(printable(invitation_lines(&read(answer)?)))
}

/// Invitations for people.
///
/// # Errors
/// Exit 5 for an answer of another shape.
pub fn describe_invitations(answer: &Value) -> Result<Vec<String>> {
    let Items { items } = read::<Items<Invitation>>(answer)?;
    if items.is_empty() {
        return Ok(vec!["No invitation waits.".to_owned()]);
    }
    Ok(printable(items.iter().flat_map(invitation_lines).collect()))
}
