//! Stars: what an account marked for itself. They say nothing about a project and nobody else sees them.

use countersign_formats::{Ecosystem, format};

use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::model::{AccountId, Actor, Identity};
use crate::policy::{self, Act, On};
use crate::store::{CuratedProject, Tx};

/// Stars of one account. A bound against floods, not against use.
const MOST: i64 = 10_000;

impl Registry {
    /// Names of the caller's starred projects of an ecosystem, in order.
    ///
    /// # Errors
    /// `token-needed`, `account-needed`.
    pub async fn starred(&self, actor: &Actor, ecosystem: Ecosystem) -> Result<Vec<String>> {
        let account = self.stargazer(actor)?;
        let seen = self.seen().await?;
        self.inner.store.starred(account, &seen, ecosystem).await
    }

    /// Whether the caller starred a project. Callers that are no account star nothing.
    ///
    /// # Errors
    /// `project-unknown`; a refused name.
    pub async fn has_starred(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
    ) -> Result<bool> {
        let Ok(account) = self.stargazer(actor) else {
            return Ok(false);
        };
        let key = format(ecosystem).name_key(project)?;
        let store = &self.inner.store;
        match self.shown_project(ecosystem, key.as_str()).await? {
            Some((state, _)) => store.has_starred(account, &state.id).await,
            None => Err(unknown(project)),
        }
    }

    /// Stars a project for the caller, or takes the star back.
    ///
    /// # Errors
    /// `token-needed`, `account-needed`, `project-unknown`, `too-many-stars`; a refused name.
    pub async fn set_star(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        star: bool,
    ) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        self.set_star_in(&mut tx, actor, ecosystem, project, star)
            .await?;
        tx.commit().await
    }

    /// Within a transaction. A star changes nothing that is served, so there is no project to name.
    pub(crate) async fn set_star_in(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        star: bool,
    ) -> Result<Option<CuratedProject>> {
        let account = self.stargazer(actor)?;
        let key = format(ecosystem).name_key(project)?;
        let Some((state, _)) = self.shown_project(ecosystem, key.as_str()).await? else {
            return Err(unknown(project));
        };
        if star {
            tx.star(account, &state.id, self.now()).await?;
            if tx.stars_of(account).await? > MOST {
                return Err(Error::new(
                    Kind::Limited,
                    "too-many-stars",
                    format!("An account may star up to {MOST} projects."),
                )
                .remedy("Take stars back that you no longer need."));
            }
        } else {
            tx.unstar(account, &state.id).await?;
        }
        Ok(None)
    }

    fn stargazer<'a>(&self, actor: &'a Actor) -> Result<&'a AccountId> {
        policy::may(Act::Star, actor, On::Own, self.now())?;
        match &actor.identity {
            Identity::Account { id, .. } => Ok(id),
            _ => Err(Error::new(
                Kind::Denied,
                "account-needed",
                "Only accounts star projects.",
            )
            .remedy("Use the token of an account.")),
        }
    }
}

fn unknown(project: &str) -> Error {
    let shown: String = project.chars().take(80).collect();
    Error::new(
        Kind::NotFound,
        "project-unknown",
        format!("There is no project {shown:?} here."),
    )
    .remedy("Check how it is spelt.")
}
