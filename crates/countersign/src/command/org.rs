//! `countersign org …`.

use countersign::{Failure, people};

use super::person::Person;
use crate::cli::{Common, Org, Team};

/// Reads or changes organisations.
pub fn run(common: &Common, what: &Org) -> Result<(), Failure> {
    let person = Person::of(common)?;
    person.announce();
    match what {
        Org::List => person.read(people::organisations(), people::describe_organisations),
        Org::Create { name, display_name } => person.change(
            people::create_organisation(name, display_name.as_deref()),
            people::describe_organisation,
        ),
        Org::Show { name } => {
            person.read(people::organisation(name), people::describe_organisation)
        }
        Org::Remove { name } => person.done(
            people::remove_organisation(name),
            &format!("{name} is no more. Its name stays taken."),
        ),
        Org::Invite {
            name,
            user,
            standing,
        } => person.change(
            people::invite(name, user, standing.as_str()),
            people::describe_invitation,
        ),
        Org::Invitations => person.read(people::my_invitations(), people::describe_invitations),
        Org::Accept { id } => person.change(people::accept(id), people::describe_organisation),
        Org::Decline { id } => person.done(people::decline(id), &format!("{id} is over.")),
        Org::Member {
            name,
            user,
            standing: Some(standing),
            ..
        } => person.done(
            people::member(name, user, Some(standing.as_str())),
            &format!("{user} is {} of {name} now.", standing.as_str()),
        ),
        Org::Member {
            name,
            user,
            propose: true,
            ..
        } => person.change(
            people::propose_leaving(name, user),
            people::describe_proposal,
        ),
        Org::Member { name, user, .. } => person.done(
            people::member(name, user, None),
            &format!("{user} is no member of {name} any longer."),
        ),
        Org::Leave { name } => {
            let user =
                people::own_name(&person.remote).map_err(|failure| person.explained(failure))?;
            person.done(
                people::member(name, &user, None),
                &format!("You ({user}) left {name}."),
            )
        }
        Org::Team(what) => team(&person, what),
        Org::Namespace {
            name,
            namespace,
            team,
            role,
        } => person.done(
            people::namespace_role(
                name,
                (namespace.ecosystem.as_str(), &namespace.name),
                team,
                role.word(),
            ),
            &format!(
                "The team {team} is {} in the namespace {namespace}.",
                role.word().unwrap_or("nothing any longer")
            ),
        ),
        Org::Project {
            project,
            team,
            role,
        } => person.done(
            people::team_role(project, team, role.word()),
            &format!(
                "The team {team} is {} of {project}.",
                role.word().unwrap_or("nothing any longer")
            ),
        ),
    }
}

fn team(person: &Person<'_>, what: &Team) -> Result<(), Failure> {
    match what {
        Team::Add { name, team } => person.done(
            people::team(name, team, true),
            &format!("{name} has the team {team}."),
        ),
        Team::Remove { name, team } => person.done(
            people::team(name, team, false),
            &format!("{name} has no team {team} any longer."),
        ),
        Team::Join { name, team, user } => person.done(
            people::team_member(name, team, user, true),
            &format!("{user} is in the team {team} of {name}."),
        ),
        Team::Part { name, team, user } => person.done(
            people::team_member(name, team, user, false),
            &format!("{user} is not in the team {team} of {name}."),
        ),
    }
}
