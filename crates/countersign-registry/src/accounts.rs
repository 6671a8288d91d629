//! Who somebody is and what they hold: authentication, users, tokens, roles.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign_formats::{Ecosystem, format, purl};
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{self, LeafKind};
use countersign_trust::token::{Token, TokenKind};
use serde::Serialize;
use serde_json::json;

use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::Change;
use crate::mail::read_address;
use crate::model::{
    AccountId, Action, Actor, CredentialId, EmailAddress, Identity, Network, OrganisationId,
    Presented, ProjectId, Role, Roles, Scope, Strength, Time,
};
use crate::policy::{self, Act, On};
use crate::store::{
    CredentialRow, CuratedProject, NamespaceFacts, NewCredential, OwnedProject, Tx,
};
use crate::texts::NoticeKind;

/// Networks that one token may name.
const NETWORKS_AT_MOST: usize = 50;

/// A user in a list.
#[derive(Clone, Debug, Serialize)]
pub struct UserSummary {
    /// Account id.
    pub id: AccountId,
    /// User name.
    pub name: String,
    /// Primary e-mail address.
    pub email: Option<String>,
    /// Since when an operator.
    pub operator_since: Option<Time>,
    /// When made.
    pub created: Time,
    /// When disabled.
    pub disabled: Option<Time>,
    /// The one-time enrolment secret; only in the answer to the creation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enrolment: Option<String>,
}

/// A token in a list. Never the secret.
#[derive(Clone, Debug, Serialize)]
pub struct TokenSummary {
    /// Credential id.
    pub id: CredentialId,
    /// User name of its owner.
    pub user: String,
    /// Safe to show.
    pub hint: String,
    /// What its owner calls it.
    pub label: String,
    /// What it may do.
    pub scope: Option<Scope>,
    /// When made.
    pub created: Time,
    /// When it ends.
    pub expires: Option<Time>,
    /// When revoked.
    pub revoked: Option<Time>,
    /// When last used, to the minute.
    pub last_used: Option<Time>,
}

/// A token to make.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// User name of its owner.
    pub user: String,
    /// Only this ecosystem.
    pub ecosystem: Option<Ecosystem>,
    /// Only this project.
    pub project: Option<String>,
    /// Only projects in this namespace.
    pub namespace: Option<String>,
    /// Only from these networks; empty: from everywhere.
    pub networks: Vec<Network>,
    /// The most it may do.
    pub action: Action,
    /// How long it lives.
    pub expires: Duration,
    /// What to call it.
    pub label: String,
}

impl NewToken {
    /// A token for 30 days, without further limits.
    pub fn new(user: &str, action: Action) -> Self {
        Self {
            user: user.to_owned(),
            ecosystem: None,
            project: None,
            namespace: None,
            networks: Vec::new(),
            action,
            expires: Duration::from_secs(30 * 86_400),
            label: String::new(),
        }
    }
}

/// What has owners, with its name.
#[derive(Clone, Copy)]
pub(crate) enum Owned<'a> {
    Project(&'a ProjectId, &'a str),
    Organisation(&'a OrganisationId, &'a str),
}

impl Registry {
    /// Turns what a caller presented into an [`Actor`]; nothing presented is an anonymous one.
    ///
    /// # Errors
    /// `token-malformed`, `token-unknown`, `token-expired`, `token-revoked`, `account-disabled`, all of kind
    /// [`Kind::Unauthenticated`].
    pub async fn authenticate(&self, presented: Presented) -> Result<Actor> {
        self.authenticate_from(presented, None).await
    }

    /// Asked in the transaction that acts: what the caller proved itself with may have been revoked, have expired or
    /// been ended since the request began.
    ///
    /// # Errors
    /// `credential-ended`, `session-over`.
    pub(crate) async fn still_good(&self, tx: &mut Tx, actor: &Actor) -> Result<()> {
        if let Some(session) = &actor.session {
            return self.still_signed_in(tx, session).await;
        }
        match &actor.credential {
            Some(credential) if !tx.credential_lives(credential, self.now()).await? => {
                Err(Error::new(
                    Kind::Unauthenticated,
                    "credential-ended",
                    "The token of this request was revoked or expired while the request was under way.",
                )
                .remedy("Nothing was changed. Make a new token, or exchange the workflow's identity token again, and repeat it."))
            }
            _ => Ok(()),
        }
    }

    /// [`Registry::still_good`], and for what the table says so, not within the days after a recovery.
    ///
    /// # Errors
    /// `credential-ended`, `session-over`, `recently-recovered`.
    pub(crate) async fn in_good_standing(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        act: Act,
        subject: &str,
    ) -> Result<()> {
        self.still_good(tx, actor).await?;
        let row = act.permission();
        if row.settled && !policy::operates(actor) {
            let what = format!("{} {subject}", row.what);
            self.not_just_recovered(tx, actor, what.trim_end()).await?;
        }
        Ok(())
    }

    /// [`Registry::authenticate`] of a caller at this address: a token may be for some networks only, and is refused
    /// elsewhere and where the address is not known.
    ///
    /// # Errors
    /// The same; `token-network` of kind [`Kind::Denied`].
    pub async fn authenticate_from(
        &self,
        presented: Presented,
        from: Option<IpAddr>,
    ) -> Result<Actor> {
        let text = match presented {
            Presented::Nothing => return Ok(Actor::anonymous()),
            Presented::Session(cookie) => return self.actor_of_session(&cookie).await,
            Presented::Token(text) => text,
        };
        let refuse = |code: &'static str, message: String, remedy: &str| {
            Err(Error::new(Kind::Unauthenticated, code, message).remedy(remedy.to_owned()))
        };
        let token = match Token::parse(&text) {
            Ok(token) => token,
            Err(source) => {
                return refuse(
                    "token-malformed",
                    format!("This is not a token of a Countersign registry: {source}."),
                    "Check that the whole token was copied; it begins with csgn_.",
                );
            }
        };
        let now = self.now();
        // The look-up is by the hash of a 256-bit secret: its timing tells nothing about any stored token.
        if token.kind() == TokenKind::Workflow {
            return match self
                .inner
                .store
                .workflow_token_by_hash(token.hash())
                .await?
            {
                None => refuse(
                    "token-unknown",
                    "This token is not known here, or ended long ago.".into(),
                    "Exchange the workflow's identity token again; a minted token lives 15 minutes.",
                ),
                Some(row) if row.revoked.is_some() => refuse(
                    "token-revoked",
                    format!("The token {} was given back.", row.hint),
                    "Exchange the workflow's identity token again.",
                ),
                Some(row) if row.expires <= now => refuse(
                    "token-expired",
                    format!("The token {} expired {}.", row.hint, row.expires.rfc3339()),
                    "A minted token lives 15 minutes. Exchange the workflow's identity token again, right before the upload.",
                ),
                Some(row) => Ok(Actor {
                    identity: Identity::Workflow(Arc::new(row.workflow)),
                    strength: Strength::Workflow,
                    scope: Some(Scope {
                        ecosystem: Some(row.ecosystem),
                        project: None,
                        namespace: None,
                        action: Action::Publish,
                        networks: Vec::new(),
                    }),
                    credential: Some(row.id),
                    session: None,
                    consent: None,
                }),
            };
        }
        let Some(row) = self.inner.store.credential_by_hash(token.hash()).await? else {
            return refuse(
                "token-unknown",
                "This token is not known here.".into(),
                "Was it made on another registry? Make one here.",
            );
        };
        if let Some(at) = row.revoked {
            return refuse(
                "token-revoked",
                format!("The token {} was revoked {}.", row.hint, at.rfc3339()),
                "Make a new one.",
            );
        }
        if row.kind != "token" {
            return refuse(
                "token-not-for-this",
                "An enrolment secret is not a token.".into(),
                "Open the enrolment link in a browser.",
            );
        }
        if let Some(at) = row.expires.filter(|at| *at <= now) {
            return refuse(
                "token-expired",
                format!("The token {} expired {}.", row.hint, at.rfc3339()),
                "Make a new one.",
            );
        }
        if row.account_disabled.is_some() {
            return refuse(
                "account-disabled",
                format!("The account {} is disabled.", row.account_name),
                "Ask the operator of this registry.",
            );
        }
        let networks = row
            .scope
            .as_ref()
            .map_or(&[][..], |scope| scope.networks.as_slice());
        if !networks.is_empty()
            && !from.is_some_and(|from| networks.iter().any(|network| network.holds(from)))
        {
            return Err(Error::new(
                Kind::Denied,
                "token-network",
                format!(
                    "The token {} is for other networks than the one this comes from.",
                    row.hint
                ),
            )
            .remedy("Use it from a network that it was made for, or make another token."));
        }
        if row.last_used.is_none_or(|at| at.plus_seconds(60) <= now) {
            let (registry, id) = (self.clone(), row.id.clone());
            tokio::spawn(async move {
                if let Err(error) = registry.inner.store.touch_credential(&id, now).await {
                    tracing::warn!(error = %error, "the last use of a token could not be noted");
                }
            });
        }
        Ok(Actor {
            identity: Identity::Account {
                id: row.account,
                name: row.account_name,
            },
            strength: Strength::Token,
            scope: row.scope,
            credential: Some(row.id),
            session: None,
            consent: None,
        })
    }

    /// The one gate of restricted instances: index, files, log, pages, feeds and metrics alike.
    ///
    /// # Errors
    /// `sign-in-needed`.
    pub fn may_read(&self, actor: &Actor) -> Result<()> {
        policy::may_read(self.inner.settings.visibility, actor)
    }

    /// The same gate for the index and the files of an ecosystem whose client reads them with the token that it
    /// publishes with.
    ///
    /// # Errors
    /// As [`Registry::may_read`].
    pub fn may_read_as_client(&self, actor: &Actor, ecosystem: Ecosystem) -> Result<()> {
        policy::may_read_as_client(self.inner.settings.visibility, actor, ecosystem)
    }

    /// Makes a user; the answer holds a one-time enrolment secret.
    ///
    /// # Errors
    /// `operator-needed`, `user-name`, `user-exists`.
    pub async fn create_user(
        &self,
        actor: &Actor,
        name: &str,
        email: Option<&str>,
        operator: bool,
    ) -> Result<UserSummary> {
        policy::may_operate(actor, "make users")?;
        let key = user_key(name)?;
        let email = match email {
            Some(email) => Some(read_address(email)?),
            None => None,
        };
        let email = email.as_ref().map(EmailAddress::as_str);
        let now = self.now();
        let (id, credential) = (AccountId(new_id()), CredentialId(new_id()));
        let token = Token::from_random(TokenKind::Staged, self.inner.seams.random.bytes32());
        let mut tx = self.inner.store.write().await?;
        let taken = |error: Error| {
            if error.code == crate::store::WRITE_CONFLICT {
                return Error::new(
                    Kind::Conflict,
                    "user-exists",
                    format!("There is a user {name}, or one with that e-mail address, already."),
                )
                .remedy("Choose another name or address.");
            }
            error
        };
        tx.insert_account(&id, name, &key, operator.then_some(now), now)
            .await
            .map_err(taken)?;
        if let Some(email) = email {
            tx.insert_email(&id, &new_id(), email, now)
                .await
                .map_err(taken)?;
        }
        tx.insert_credential(&NewCredential {
            id: &credential,
            account: Some(&id),
            kind: "enrolment",
            strength: Strength::Token,
            secret_hash: token.hash(),
            hint: &token.hint(),
            label: "enrolment",
            scope: None,
            created: now,
            expires: now.plus_seconds(7 * 86_400),
        })
        .await?;
        let detail = json!({"operator": operator});
        self.note(&mut tx, actor, "account-made", &id, detail)
            .await?;
        tx.commit().await.map_err(taken)?;
        Ok(UserSummary {
            id,
            name: name.to_owned(),
            email: email.map(str::to_owned),
            operator_since: operator.then_some(now),
            created: now,
            disabled: None,
            enrolment: Some(token.reveal()),
        })
    }

    /// Every user.
    ///
    /// # Errors
    /// `operator-needed`.
    pub async fn users(&self, actor: &Actor) -> Result<Vec<UserSummary>> {
        policy::may_operate(actor, "list users")?;
        let rows = self.inner.store.accounts().await?;
        Ok(rows
            .into_iter()
            .map(|row| UserSummary {
                id: row.id,
                name: row.name,
                email: row.email,
                operator_since: row.operator_since,
                created: row.created,
                disabled: row.disabled,
                enrolment: None,
            })
            .collect())
    }

    /// Makes a token and reveals it once: in a fresh session for oneself, and the operator for anybody.
    ///
    /// # Errors
    /// `session-needed`, `step-up-needed`, `operator-needed` for others, `user-unknown`, `token-lifetime`,
    /// `token-networks`, a refused project name.
    pub async fn create_token(
        &self,
        actor: &Actor,
        new: NewToken,
    ) -> Result<(String, TokenSummary)> {
        let own = match &actor.identity {
            Identity::Account { id, name } if user_key(name)? == user_key(&new.user)? => Some(id),
            _ => None,
        };
        let account = match own {
            Some(id) => {
                policy::may(Act::MakeTokens, actor, On::Own, self.now())?;
                id.clone()
            }
            None => {
                policy::may_operate(actor, "make tokens for others")?;
                self.account(&new.user).await?
            }
        };
        if new.networks.len() > NETWORKS_AT_MOST {
            return Err(Error::new(
                Kind::Rejected,
                "token-networks",
                format!("A token may name up to {NETWORKS_AT_MOST} networks."),
            )
            .remedy("Name wider ones."));
        }
        let longest = self.inner.settings.token_longest;
        if new.expires > longest || new.expires.is_zero() {
            return Err(Error::new(
                Kind::Rejected,
                "token-lifetime",
                format!(
                    "A token may live up to {} days here.",
                    longest.as_secs() / 86_400
                ),
            )
            .remedy("Choose a shorter --expires; 30 days is the default."));
        }
        let rules = format(new.ecosystem.unwrap_or(Ecosystem::Pypi));
        let key = |name: &Option<String>| -> Result<Option<String>> {
            let key = name.as_deref().map(|name| rules.name_key(name));
            Ok(key.transpose()?.map(|key| key.to_string()))
        };
        let project = key(&new.project)?;
        let namespace = match &new.namespace {
            Some(prefix) => Some(rules.namespace_key(prefix)?.to_string()),
            None => None,
        };
        // A name is one within an ecosystem: a token for a project or a namespace is for that ecosystem too.
        let named = project.is_some() || namespace.is_some();
        let scope = Scope {
            ecosystem: new.ecosystem.or(named.then_some(Ecosystem::Pypi)),
            project,
            namespace,
            action: new.action,
            networks: new.networks,
        };
        let now = self.now();
        let token = Token::from_random(TokenKind::User, self.inner.seams.random.bytes32());
        let id = CredentialId(new_id());
        let expires = now.plus_seconds(i64::try_from(new.expires.as_secs()).unwrap_or(i64::MAX));
        let mut tx = self.inner.store.write().await?;
        self.in_good_standing(&mut tx, actor, Act::MakeTokens, "")
            .await?;
        tx.insert_credential(&NewCredential {
            id: &id,
            account: Some(&account),
            kind: "token",
            strength: Strength::Token,
            secret_hash: token.hash(),
            hint: &token.hint(),
            label: &new.label,
            scope: Some(&scope),
            created: now,
            expires,
        })
        .await?;
        let detail = json!({"credential": id, "scope": scope, "expires": expires});
        self.note(&mut tx, actor, "token-made", &account, detail)
            .await?;
        let (hint, until) = (token.hint(), expires.rfc3339());
        let data = [
            ("label", new.label.as_str()),
            ("hint", &hint),
            ("expires", &until),
        ];
        self.notify(&mut tx, &account, NoticeKind::TokenMade, &data, None)
            .await?;
        tx.commit().await?;
        let summary = TokenSummary {
            id,
            user: new.user,
            hint: token.hint(),
            label: new.label,
            scope: Some(scope),
            created: now,
            expires: Some(expires),
            revoked: None,
            last_used: None,
        };
        Ok((token.reveal(), summary))
    }

    /// The tokens of a user (`None`: of everyone for the operator, of the caller otherwise).
    ///
    /// # Errors
    /// `operator-needed` for somebody else's, `user-unknown`.
    pub async fn tokens(&self, actor: &Actor, user: Option<&str>) -> Result<Vec<TokenSummary>> {
        let own = matches!(&actor.identity, Identity::Account { name, .. } if user.is_none_or(|user| user == name));
        if own || matches!(actor.identity, Identity::Workflow(_)) {
            policy::may(Act::SeeTokens, actor, On::Own, self.now())?;
        }
        let account = match (user, &actor.identity) {
            (Some(user), Identity::Account { id, name }) if name == user => Some(id.clone()),
            (Some(user), _) => {
                policy::may_operate(actor, "list the tokens of others")?;
                Some(self.account(user).await?)
            }
            (None, Identity::Account { id, .. }) => Some(id.clone()),
            (None, _) => {
                policy::may_operate(actor, "list all tokens")?;
                None
            }
        };
        let rows = self.inner.store.credentials(account.as_ref()).await?;
        Ok(rows
            .into_iter()
            .filter(|row| row.kind == "token")
            .map(token_summary)
            .collect())
    }

    /// Revokes a token, given by its id, its hint or itself. Takes effect at once.
    ///
    /// # Errors
    /// `token-unknown`, `operator-needed` for somebody else's.
    pub async fn revoke_token(&self, actor: &Actor, which: &str, leaked: bool) -> Result<()> {
        let hash = Token::parse(which).ok().map(|token| token.hash());
        let row = match hash {
            Some(hash) => self.inner.store.credential_by_hash(hash).await?,
            None => {
                // Only the operator looks beyond what is the caller's own.
                let own = match &actor.identity {
                    Identity::Account { id, .. } => Some(id),
                    _ => None,
                };
                let mut rows = self.inner.store.credentials(own).await?;
                rows.retain(|row| row.id.0 == which || row.hint == which);
                if rows.len() > 1 {
                    return Err(Error::new(
                        Kind::Rejected,
                        "token-ambiguous",
                        format!("{} tokens have the hint {which}.", rows.len()),
                    )
                    .remedy("Give the token's id."));
                }
                rows.pop()
            }
        };
        let Some(row) = row else {
            return Err(Error::new(
                Kind::NotFound,
                "token-unknown",
                "There is no such token here.",
            )
            .remedy("List them with `countersignd admin token list`."));
        };
        let own = matches!(&actor.identity, Identity::Account { id, .. } if *id == row.account);
        if !own {
            policy::may_operate(actor, "revoke the tokens of others")?;
        } else if actor.credential.as_ref() != Some(&row.id) {
            // A token may always end itself; to end its siblings it must be as strong as they can be.
            policy::may(Act::RevokeTokens, actor, On::Own, self.now())?;
        }
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let fresh = tx
            .revoke_credential(&row.id, if leaked { "leaked" } else { "revoked" }, now)
            .await?;
        if fresh {
            let used = row.last_used.map_or("never".to_owned(), Time::rfc3339);
            let data = [
                ("label", row.label.as_str()),
                ("hint", &row.hint),
                ("where", "where it was reported from"),
                ("reporter", "a person"),
                ("used", &used),
            ];
            let kind = if leaked {
                NoticeKind::TokenLeaked
            } else {
                NoticeKind::TokenRevoked
            };
            self.notify(&mut tx, &row.account, kind, &data, None)
                .await?;
        }
        if fresh && leaked {
            let change =
                Change::registry(actor, LeafKind::TokenRevokedLeaked).affecting(&row.account);
            self.record(&mut tx, change, json!({"credential": row.id}))
                .await?;
        } else if fresh {
            self.note(
                &mut tx,
                actor,
                "token-revoked",
                &row.account,
                json!({"credential": row.id}),
            )
            .await?;
        }
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// Gives a user a role on a project, or takes it away; anybody may give up their own. The last owner stays, and the
    /// last one with a passkey takes a second person ([`Registry::propose`]).
    ///
    /// # Errors
    /// `role-missing`, `user-unknown`, `project-unknown`, `last-owner`, `second-person-needed`.
    pub async fn set_role(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        user: &str,
        role: Option<Role>,
    ) -> Result<()> {
        let mut tx = self.inner.store.write().await?;
        self.set_role_in(&mut tx, actor, ecosystem, project, user, role)
            .await?;
        tx.commit().await?;
        self.inner.beat.wake();
        Ok(())
    }

    /// Within a transaction; `None` where nothing changes.
    pub(crate) async fn set_role_in(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        ecosystem: Ecosystem,
        project: &str,
        user: &str,
        role: Option<Role>,
    ) -> Result<Option<CuratedProject>> {
        let key = format(ecosystem).name_key(project)?;
        let account = self.account(user).await;
        let now = self.now();
        let leaves = role.is_none()
            && matches!((&actor.identity, &account), (Identity::Account { id, .. }, Ok(account)) if id == account);
        let act = if leaves {
            Act::LeaveProject
        } else {
            Act::ManageRoles
        };
        let project = self
            .project_for_change(tx, actor, ecosystem, &key, act)
            .await?;
        // Only now: who may not change roles here does not learn from this who exists.
        let account = account?;
        let before = tx.own_role(&project.id, &account).await?;
        if before == role {
            return Ok(None);
        }
        let owners = tx.owner_accounts(&project.id).await?;
        let owned_since = tx.owner_since(&project.id, &account).await?;
        let all_before = tx.all_roles(Some(&project.id), None).await?;
        tx.end_grants(&project.id, &account, now).await?;
        if let Some(role) = role {
            tx.insert_grant(&new_id(), &project.id, &account, role, now)
                .await?;
        }
        if before == Some(Role::Owner) {
            let owned = Owned::Project(&project.id, &project.name);
            self.owners_remain(tx, actor, owned, &owners, (&account, user, owned_since))
                .await?;
        }
        self.tell_of_role(
            tx,
            actor,
            (&project.id, &project.name),
            (&account, user),
            (before, role),
        )
        .await?;
        let all_after = tx.all_roles(Some(&project.id), None).await?;
        self.record_roles(tx, actor, &all_before, &all_after)
            .await?;
        Ok(Some(project))
    }

    /// Of what is owned, an owner remains, and where there was one who is hard to phish, such a one remains: else a
    /// second person has to agree. Of those who remain only those count who were owners for some days, or before the one
    /// who goes (an owner since `since`): somebody who was made one for the purpose does not, unless the one who goes says
    /// so in person. The operator goes past the second rule, not past the first.
    pub(crate) async fn owners_remain(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        owned: Owned<'_>,
        before: &[AccountId],
        (account, user, since): (&AccountId, &str, Option<Time>),
    ) -> Result<()> {
        let (after, of) = match owned {
            Owned::Project(id, name) => (tx.owner_accounts(id).await?, name),
            Owned::Organisation(id, name) => (tx.heads(id).await?, name),
        };
        if after.is_empty() {
            return Err(Error::new(
                Kind::Rejected,
                "last-owner",
                format!("{user} is the last owner of {of}."),
            )
            .remedy("Make somebody else an owner first."));
        }
        if policy::operates(actor) || tx.strong_among(before).await?.is_empty() {
            return Ok(());
        }
        let goes_in_person = actor.strength == Strength::Phishproof
            && matches!(&actor.identity, Identity::Account { id, .. } if id == account);
        let mut counted = Vec::new();
        for owner in after {
            let owner_since = match owned {
                Owned::Project(id, _) => tx.owner_since(id, &owner).await?,
                Owned::Organisation(id, _) => tx.head_since(id, &owner).await?,
            };
            if goes_in_person || is_settled(owner_since, self.now()) || owner_since <= since {
                counted.push(owner);
            }
        }
        if tx.strong_among(&counted).await?.is_empty() {
            return Err(Error::new(
                Kind::Denied,
                "second-person-needed",
                format!("{user} is the last owner of {of} with a passkey or security key."),
            )
            .remedy(
                "Ask for it: a second owner confirms, or you do after three days. Or let another owner add a passkey first.",
            ));
        }
        Ok(())
    }

    /// Records whose roles on which projects became others: one leaf for each person and project, whatever the way.
    pub(crate) async fn record_roles(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        before: &[(OwnedProject, AccountId, Roles)],
        after: &[(OwnedProject, AccountId, Roles)],
    ) -> Result<()> {
        let mut changed: BTreeMap<(&str, &AccountId), (&OwnedProject, Roles, Roles)> =
            BTreeMap::new();
        for (project, account, roles) in before {
            changed.insert((&project.id.0, account), (project, *roles, Roles::NONE));
        }
        for (project, account, roles) in after {
            changed
                .entry((&project.id.0, account))
                .or_insert((project, Roles::NONE, Roles::NONE))
                .2 = *roles;
        }
        for ((_, account), (project, was, is)) in changed {
            if was == is {
                continue;
            }
            // npm's packuments name the owners, and its clients change them by sending the packument back.
            if project.ecosystem == Ecosystem::Npm {
                tx.raise_serials(std::slice::from_ref(&project.id), self.now(), false)
                    .await?;
                tx.drop_documents(&project.id, self.now()).await?;
            }
            let key = format(project.ecosystem).name_key(&project.key)?;
            let subject = purl::project_purl(project.ecosystem, &key);
            let way = match (was.is_empty(), is.is_empty()) {
                (true, _) => leaf::Change::Added,
                (_, true) => leaf::Change::Removed,
                _ => leaf::Change::Replaced,
            };
            let words = |roles: Roles| roles.iter().map(Role::as_str).collect::<Vec<_>>();
            let detail = json!({"before": words(was), "after": words(is)});
            if was.has(Role::Owner) != is.has(Role::Owner) {
                let change = Change::about(actor, LeafKind::OwnerChanged, subject, &project.id)
                    .way(way, None)
                    .affecting(account);
                self.record(tx, change, detail).await?;
                continue;
            }
            // What somebody gained, or else what they lost.
            let gained: Vec<Role> = is.iter().filter(|role| !was.has(*role)).collect();
            let lost = was.iter().filter(|role| !is.has(*role));
            let (roles, way) = if gained.is_empty() {
                (lost.collect(), leaf::Change::Removed)
            } else {
                (gained, way)
            };
            for role in roles {
                let change =
                    Change::about(actor, LeafKind::RoleChanged, subject.clone(), &project.id)
                        .way(way, Some(role.as_str()))
                        .affecting(account);
                self.record(tx, change, detail.clone()).await?;
            }
        }
        Ok(())
    }

    /// Gives a new project its owner: the organisation in whose namespace it is, or else the account that founded it.
    pub(crate) async fn settle_owner(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        project: &ProjectId,
        account: Option<&AccountId>,
        namespace: Option<&NamespaceFacts>,
    ) -> Result<()> {
        let now = self.now();
        match (namespace, account) {
            (Some(namespace), _) => {
                tx.grant_organisation(
                    &new_id(),
                    project,
                    &namespace.organisation_id,
                    Some(&namespace.id),
                    now,
                )
                .await?;
            }
            (None, Some(account)) => {
                tx.insert_grant(&new_id(), project, account, Role::Owner, now)
                    .await?;
            }
            // The operator founds a project for whom a role is given next.
            (None, None) => {}
        }
        let after = tx.all_roles(Some(project), None).await?;
        self.record_roles(tx, actor, &[], &after).await
    }

    /// Tells whom it concerns that somebody's role on a project changed: them, and the project's owners.
    async fn tell_of_role(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        (project, name): (&ProjectId, &str),
        (account, user): (&AccountId, &str),
        (before, after): (Option<Role>, Option<Role>),
    ) -> Result<()> {
        let word = |role: Option<Role>| role.map_or("nothing", Role::as_str);
        let (kind, role) = match after {
            Some(role) => (NoticeKind::RoleGiven, role.as_str()),
            None => (NoticeKind::RoleTaken, word(before)),
        };
        let data = [("role", role), ("project", name), ("by", actor.name())];
        self.notify(tx, account, kind, &data, None).await?;
        let data = [
            ("who", user),
            ("before", word(before)),
            ("after", word(after)),
            ("project", name),
        ];
        self.notify_owners(tx, project, Some(account), NoticeKind::PeopleChanged, &data)
            .await
    }

    /// Ends the credential that the caller came with, at once: what the last step of a workflow does.
    ///
    /// # Errors
    /// `token-needed` for callers without one.
    pub async fn end_token(&self, actor: &Actor) -> Result<()> {
        let Some(credential) = &actor.credential else {
            return Err(Error::new(
                Kind::Unauthenticated,
                "token-needed",
                "To give a token back, send it; none was sent.",
            )
            .remedy("Send it as Authorization: Bearer TOKEN."));
        };
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        if tx.revoke_credential(credential, "given-back", now).await? {
            let account = match &actor.identity {
                Identity::Account { id, .. } => Some(id),
                _ => None,
            };
            let detail = json!({"credential": credential});
            tx.note_event(&new_id(), now, "token-revoked", actor, account, detail)
                .await?;
        }
        tx.commit().await
    }

    pub(crate) async fn account(&self, user: &str) -> Result<AccountId> {
        let key = user_key(user)?;
        match self.inner.store.account(&key).await? {
            Some(row) => Ok(row.id),
            None => Err(Error::new(
                Kind::NotFound,
                "user-unknown",
                format!("There is no user {user} here."),
            )
            .remedy("Make one with `countersignd admin user create`.")),
        }
    }

    /// Writes an event that is the instance's own business and gets no leaf: who holds what.
    async fn note(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        kind: &str,
        account: &AccountId,
        detail: serde_json::Value,
    ) -> Result<()> {
        tx.note_event(&new_id(), self.now(), kind, actor, Some(account), detail)
            .await
    }

    /// What the registry's clock says.
    pub fn now(&self) -> Time {
        self.inner.seams.clock.now()
    }
}

/// Is somebody who owns since then of some standing? Three days, as for a second person's word.
pub(crate) fn is_settled(since: Option<Time>, now: Time) -> bool {
    since.is_some_and(|since| since.plus_seconds(72 * 3_600) <= now)
}

fn token_summary(row: CredentialRow) -> TokenSummary {
    TokenSummary {
        id: row.id,
        user: row.account_name,
        hint: row.hint,
        label: row.label,
        scope: row.scope,
        created: row.created,
        expires: row.expires,
        revoked: row.revoked,
        last_used: row.last_used,
    }
}

/// The form under which two spellings of a user name are the same: ASCII letters, digits, `-` and `_`, at most 64, lower case.
pub(crate) fn user_key(name: &str) -> Result<String> {
    let fits = !name.is_empty()
        && name.len() <= 64
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        && name.as_bytes()[0].is_ascii_alphanumeric();
    if fits {
        return Ok(name.to_ascii_lowercase().replace('_', "-"));
    }
    Err(Error::new(
        Kind::Rejected,
        "user-name",
        format!("{name:?} can not be a user name."),
    )
    .remedy("Use 1 to 64 ASCII letters, digits, - and _, beginning with a letter or digit."))
}

/// A fresh UUIDv7: sorts by the time it was made, also within one millisecond of one process.
pub(crate) fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// The commitment that stands in a leaf instead of a person's id.
pub(crate) fn commitment(salt: &[u8; 32], who: &str) -> Sha256 {
    countersign_trust::leaf::commit(salt, who)
}
