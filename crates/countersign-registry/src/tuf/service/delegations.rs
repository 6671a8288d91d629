//! Custom roles: for some paths, under keys of their own or the online one.

use std::collections::BTreeMap;

use countersign_trust::tuf::ceremony::Pending;
use countersign_trust::tuf::repository::INDEX;
use countersign_trust::tuf::{
    Delegated, DelegatedRole, Delegations, Extra, Key, TargetFile, Targets,
};
use serde_json::{Value, json};

use super::request::{custom_roles, strict, wrong};
use super::{
    About, DAY, Done, FINISHED, ServiceDesk, ServiceTask, custom, days_of, handing_on, is_online,
    not_ready, refused_request, repository_of, signed, text,
};
use crate::Registry;
use crate::error::{Error, Result};
use crate::store::{ALL_PLACES, PendingRow};
use crate::tuf::{Contents, refused};

/// A role of people that waits for their signatures before it is delegated to.
pub(super) fn pending(
    role: &DelegatedRole,
    keys: BTreeMap<String, Key>,
    contents: BTreeMap<String, TargetFile>,
    version: u64,
    now: i64,
) -> Result<PendingRow> {
    let delegations = Delegations {
        keys,
        roles: Delegated::Listed(vec![role.clone()]),
        extra: Extra::default(),
    };
    let by = Targets {
        delegations: Some(delegations.clone()),
        ..Targets::empty(1, 0)
    };
    let document = Targets {
        targets: contents,
        ..Targets::empty(version, now + days_of(role) * DAY)
    };
    let waiting =
        Pending::targets(&role.name, document, "targets", &by).map_err(refused_request)?;
    Ok(PendingRow {
        role: role.name.clone(),
        body: text(waiting.to_bytes())?,
        about: About::Delegation(Box::new(delegations)).write()?,
    })
}

impl Registry {
    /// Delegates paths to roles: to those of the online key at once, to those of people when they signed the first document.
    /// With `change` the roles must be there, and are made what is sent.
    ///
    /// # Errors
    /// `tuf-service-request`, `tuf-service-not-ready`.
    pub async fn delegate_tuf_service(
        &self,
        desk: &ServiceDesk,
        body: &[u8],
        change: bool,
    ) -> Result<ServiceTask> {
        let request = strict(body)?;
        let value = request
            .get("delegations")
            .ok_or_else(|| wrong("`delegations` is missing"))?;
        let row = self.service(&desk.name).await?;
        if row.state != FINISHED {
            return Err(not_ready(&desk.name));
        }
        let task = self.task();
        let now = task.at.seconds();
        let settings = super::Settings::stored(&row.settings)?;
        let signer = self.service_signer(&row.key_source)?;
        let online = Key::of(signer.as_ref()).map_err(refused)?;
        let asked = custom_roles(value, &online)?;
        let store = &self.inner.store;
        let waiting = store.tuf_service_pending(&desk.name).await?;
        let repository = repository_of(&desk.name);
        // Of all artifacts none may be left in a bin where no client looks for it any more.
        let listed = store.tuf_targets(&repository, &[ALL_PLACES]).await?;
        let mut writer = self.tuf_writer(&repository).await?;
        let top = writer.repository().targets();
        let mut roles = custom(top);
        let mut keys = top
            .and_then(|top| Some(top.delegations.as_ref()?.keys.clone()))
            .unwrap_or_default();
        let check = || -> Result<()> {
            for (role, _) in &asked {
                let known = roles.iter().any(|old| old.name == role.name)
                    || waiting.iter().any(|pending| pending.role == role.name);
                if known != change {
                    let is = if known { "is" } else { "is not" };
                    return Err(wrong(&format!(
                        "the role {:?} {is} delegated to already",
                        role.name
                    )));
                }
                if let Some(taken) = listed.iter().find(|target| role.scope.holds(&target.path)) {
                    return Err(wrong(&format!(
                        "{:?} is listed already and would belong to the role {:?}; delete it, delegate, and add it again",
                        taken.path, role.name
                    )));
                }
            }
            Ok(())
        };
        if let Err(refusal) = check() {
            writer.keep();
            return Err(refusal);
        }
        let (mut at_once, mut offline) = (Vec::new(), Vec::new());
        for (role, its_keys) in asked {
            let held = writer.role_contents(store, &role.name).await?;
            let standing = writer.repository().standings().get(role.name.as_str());
            let version = standing.map_or(0, |standing| standing.meta.version) + 1;
            if is_online(&role, &online) {
                keys.extend(its_keys);
                // Where it was before: the first role that fits a path speaks for it.
                match roles.iter_mut().find(|old| old.name == role.name) {
                    Some(old) => *old = role.clone(),
                    None => roles.push(role.clone()),
                }
                at_once.push((role, held));
            } else {
                offline.push(pending(&role, its_keys, held, version, now)?);
            }
        }
        let names = |list: Vec<String>| json!(list);
        let done = Done::new(
            "metadata_update",
            "Delegations were taken.",
            json!({
                "delegated": names(at_once.iter().map(|(role, _)| role.name.clone()).collect()),
                "waiting": names(offline.iter().map(|pending| pending.role.clone()).collect()),
            }),
        );
        let mut prepared = None;
        if !at_once.is_empty() {
            let expires = now + settings.days("targets") * DAY;
            let version = writer.next_targets_version();
            let document = handing_on(version, expires, roles, keys, &online);
            let targets = signed("targets", document, signer.as_ref())?;
            prepared = Some(writer.draft(now, Extra::default(), |draft| {
                draft.targets(&targets)?;
                for (role, held) in at_once {
                    draft.sign_role(&role.name, held, days_of(&role) * DAY, &[signer.as_ref()])?;
                }
                Ok(())
            })?);
        }
        let mut tx = store.write().await?;
        for waiting in &offline {
            tx.put_tuf_pending(&desk.name, waiting, task.at).await?;
        }
        tx.insert_tuf_tasks(&desk.name, &[done.row(&task.id, task.at)], task.at)
            .await?;
        if let Some(prepared) = &prepared {
            tx.publish_tuf(&prepared.publication, task.at).await?;
        }
        tx.commit().await?;
        match prepared {
            Some(prepared) => writer.published(self, prepared),
            None => writer.keep(),
        }
        Ok(task)
    }

    /// Delegates to roles no longer: what they listed is listed no longer.
    ///
    /// # Errors
    /// `tuf-service-request`, `tuf-service-not-ready`.
    pub async fn undelegate_tuf_service(
        &self,
        desk: &ServiceDesk,
        body: &[u8],
    ) -> Result<ServiceTask> {
        let request = strict(body)?;
        let items = request.pointer("/delegations/roles");
        let items = items
            .and_then(Value::as_array)
            .ok_or_else(|| wrong("`delegations.roles` is no list"))?;
        let mut names = Vec::new();
        for item in items {
            let name = item.get("name").and_then(Value::as_str);
            names.push(
                name.ok_or_else(|| wrong("a role has no `name`"))?
                    .to_owned(),
            );
        }
        if names.iter().any(|name| name == INDEX) {
            return Err(wrong(
                "the role `index` is the server's own: it lists all that no other role does",
            ));
        }
        let row = self.service(&desk.name).await?;
        if row.state != FINISHED {
            return Err(not_ready(&desk.name));
        }
        let task = self.task();
        let now = task.at.seconds();
        let settings = super::Settings::stored(&row.settings)?;
        let signer = self.service_signer(&row.key_source)?;
        let online = Key::of(signer.as_ref()).map_err(refused)?;
        let mut writer = self.tuf_writer(&repository_of(&desk.name)).await?;
        let top = writer.repository().targets();
        let mut roles = custom(top);
        let keys = top
            .and_then(|top| Some(top.delegations.as_ref()?.keys.clone()))
            .unwrap_or_default();
        let gone = |role: &DelegatedRole| names.contains(&role.name);
        let published = roles.iter().any(gone);
        roles.retain(|role| !gone(role));
        let mut prepared = None;
        if published {
            let version = writer.next_targets_version();
            let expires = now + settings.days("targets") * DAY;
            let document = handing_on(version, expires, roles, keys, &online);
            let targets = signed("targets", document, signer.as_ref())?;
            prepared = Some(writer.draft(now, Extra::default(), |draft| draft.targets(&targets))?);
        }
        let done = Done::new(
            "metadata_update",
            "Delegations were taken back.",
            json!({"removed": names}),
        );
        let mut tx = self.inner.store.write().await?;
        let mut dropped = false;
        for name in &names {
            dropped |= tx.drop_tuf_pending(&desk.name, name).await?;
        }
        if !published && !dropped {
            writer.keep();
            return Err(wrong("none of these roles is delegated to"));
        }
        tx.insert_tuf_tasks(&desk.name, &[done.row(&task.id, task.at)], task.at)
            .await?;
        if let Some(prepared) = &prepared {
            tx.publish_tuf(&prepared.publication, task.at).await?;
        }
        tx.commit().await?;
        match prepared {
            Some(prepared) => writer.published(self, prepared),
            None => writer.keep(),
        }
        Ok(task)
    }
}

/// What a role of people is to list: it waits for their signatures.
pub(super) fn contents_pending(
    role: &DelegatedRole,
    by: &Targets,
    contents: Contents,
    version: u64,
    now: i64,
) -> Result<PendingRow> {
    let document = Targets {
        targets: contents,
        ..Targets::empty(version, now + days_of(role) * DAY)
    };
    let waiting = Pending::targets(&role.name, document, "targets", by)
        .map_err(|why| Error::internal("a role can not wait", why.to_string()))?;
    Ok(PendingRow {
        role: role.name.clone(),
        body: text(waiting.to_bytes())?,
        about: About::Contents.write()?,
    })
}
