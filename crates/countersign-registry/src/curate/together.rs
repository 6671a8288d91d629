//! Several changes of an npm package at once, as its clients send them in one packument: all of them, or none.

use countersign_formats::Ecosystem;
use countersign_formats::npm::update::Change;

use super::Deletion;
use crate::Registry;
use crate::error::Result;
use crate::model::{Actor, Role};

const NPM: Ecosystem = Ecosystem::Npm;

impl Registry {
    /// Makes these changes of an npm package, in their order and in one transaction: each is judged as if it came alone,
    /// and where one is refused none is made.
    ///
    /// # Errors
    /// Those of [`Registry::deprecate`], [`Registry::delete`], [`Registry::set_dist_tag`], [`Registry::remove_dist_tag`],
    /// [`Registry::set_role`] and [`Registry::set_star`].
    pub async fn change_package(
        &self,
        actor: &Actor,
        name: &str,
        changes: &[Change],
    ) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        let mut touched = None;
        let mut gone = Vec::new();
        for change in changes {
            let tx = &mut tx;
            let project = match change {
                Change::Deprecate(version, why) => {
                    self.deprecate_in(tx, actor, NPM, name, version, Some(why))
                        .await?
                }
                Change::Undeprecate(version) => {
                    self.deprecate_in(tx, actor, NPM, name, version, None)
                        .await?
                }
                Change::Unpublish(version) => {
                    let what = Deletion::Release(version);
                    let (project, files) = self.delete_in(tx, actor, NPM, name, what).await?;
                    gone.extend(files);
                    Some(project)
                }
                Change::SetTag(tag, version) => {
                    self.change_tag_in(tx, actor, name, tag, Some(version))
                        .await?
                }
                Change::RemoveTag(tag) => self.change_tag_in(tx, actor, name, tag, None).await?,
                Change::AddOwner(user) => {
                    self.set_role_in(tx, actor, NPM, name, user, Some(Role::Owner))
                        .await?
                }
                Change::RemoveOwner(user) => {
                    self.set_role_in(tx, actor, NPM, name, user, None).await?
                }
                Change::Star(_) => self.set_star_in(tx, actor, NPM, name, true).await?,
                Change::Unstar(_) => self.set_star_in(tx, actor, NPM, name, false).await?,
            };
            touched = project.or(touched);
        }
        match touched {
            Some(project) => self.finish(tx, NPM, &project, &gone).await,
            None => tx.commit().await,
        }
    }
}
