//! `countersign owner …`.

use countersign::{Failure, people};

use super::person::Person;
use crate::cli::{Common, Owner};

/// Reads or changes who has which role.
pub fn run(common: &Common, what: &Owner) -> Result<(), Failure> {
    let person = Person::of(common)?;
    person.announce();
    match what {
        Owner::List {
            project: Some(project),
        } => person.read(people::roles(project), people::describe_roles),
        Owner::List { project: None } => {
            person.read(people::my_projects(), people::describe_projects)
        }
        Owner::Add {
            project,
            user,
            role,
        }
        | Owner::Role {
            project,
            user,
            role,
        } => person.done(
            people::role(project, user, Some(role.as_str())),
            &format!("{user} is {} of {project} now.", role.as_str()),
        ),
        Owner::Remove {
            project,
            user,
            propose: true,
        } => person.change(
            people::propose_removal(project, user),
            people::describe_proposal,
        ),
        Owner::Remove {
            project,
            user,
            propose: false,
        } => person.done(
            people::role(project, user, None),
            &format!("{user} has no role on {project} any longer."),
        ),
        Owner::Leave { project } => {
            let user =
                people::own_name(&person.remote).map_err(|failure| person.explained(failure))?;
            person.done(
                people::role(project, &user, None),
                &format!("You ({user}) have no role of your own on {project} any longer."),
            )
        }
        Owner::Transfer { project, to } => person.change(
            people::propose_transfer(project, to),
            people::describe_proposal,
        ),
        Owner::Pending {
            project: Some(project),
        } => person.read(people::proposals(project), people::describe_proposals),
        Owner::Pending { project: None } => {
            person.read(people::my_transfers(), people::describe_proposals)
        }
        Owner::Confirm { id } => person.done(people::confirm(id), &format!("Confirmed {id}.")),
        Owner::Stop { id } => person.done(people::stop(id), &format!("Stopped {id}.")),
    }
}
