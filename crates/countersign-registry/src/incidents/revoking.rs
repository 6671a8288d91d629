//! Ending many credentials at once: whose they are, and when they were made, decides. Without `apply` it is counted only.

use std::collections::BTreeMap;

use countersign_formats::format;
use serde::Serialize;
use serde_json::json;

use super::{Subject, Window, fits, unknown};
use crate::Registry;
use crate::accounts::{new_id, user_key};
use crate::error::Result;
use crate::model::{AccountId, Actor, CredentialId, SessionId, Time};
use crate::policy;
use crate::store::{CredentialMatch, RevokeWhere, Whose};
use crate::texts::NoticeKind;

/// What was ended, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Revocation {
    /// API tokens.
    pub tokens: usize,
    /// Sessions of people who are signed in.
    pub sessions: usize,
    /// Minted tokens of workflows.
    pub workflow_tokens: usize,
    /// People whose they are; each is told once.
    pub people: Vec<String>,
    /// It was done, and not only counted.
    pub applied: bool,
}

#[derive(Default)]
struct Doomed {
    people: BTreeMap<String, (Vec<CredentialId>, Vec<SessionId>)>,
    workflows: Vec<CredentialId>,
}

impl Registry {
    /// Ends tokens and sessions that were made within a time: a user's, those of an organisation's members, those that are good for a
    /// project, a publisher's, a workflow's, an issuer's, those begun from an address, one, or all. With `apply` it is done, a transaction
    /// and a mail for each person; what was ended already is not meant, so it can be run again. The caller's own go on.
    ///
    /// # Errors
    /// `operator-needed`, `step-up-needed`, `subject-unknown`, `user-unknown`, `text-length`.
    pub async fn revoke_all(
        &self,
        actor: &Actor,
        subject: &Subject,
        made: Window,
        reason: &str,
        apply: bool,
    ) -> Result<Revocation> {
        policy::may_operate(actor, "end credentials of others")?;
        let reason = policy::words(reason, 1..=500, "A reason")?;
        let doomed = self.doomed(actor, subject, made).await?;
        let mut told = Revocation {
            workflow_tokens: doomed.workflows.len(),
            applied: apply,
            ..Revocation::default()
        };
        for (account, (tokens, sessions)) in &doomed.people {
            told.tokens += tokens.len();
            told.sessions += sessions.len();
            let name = self
                .inner
                .store
                .account_name(&AccountId(account.clone()))
                .await?;
            told.people.push(name.unwrap_or_else(|| account.clone()));
        }
        told.people.sort();
        if !apply {
            return Ok(told);
        }
        let about = subject.to_string();
        for (account, (tokens, sessions)) in &doomed.people {
            let account = AccountId(account.clone());
            self.end_credentials(actor, &account, (tokens, sessions), &about, &reason)
                .await?;
        }
        if !doomed.workflows.is_empty() {
            let now = self.now();
            let mut tx = self.inner.store.write().await?;
            for id in &doomed.workflows {
                tx.revoke_credential(id, "incident", now).await?;
            }
            let detail = json!({"subject": about, "reason": reason, "tokens": doomed.workflows});
            tx.note_event(&new_id(), now, "credentials-ended", actor, None, detail)
                .await?;
            tx.commit().await?;
        }
        self.wake_office();
        Ok(told)
    }

    /// Ends what one person has, in one transaction, with one notice.
    async fn end_credentials(
        &self,
        actor: &Actor,
        account: &AccountId,
        (tokens, sessions): (&[CredentialId], &[SessionId]),
        about: &str,
        reason: &str,
    ) -> Result<()> {
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        let (mut ended, mut closed) = (Vec::new(), Vec::new());
        for id in tokens {
            if tx.revoke_credential(id, "incident", now).await? {
                ended.push(id);
            }
        }
        for id in sessions {
            let why = "an operator ended it because of an incident";
            if tx.end_session(account, id, why, now).await? {
                closed.push(id);
            }
        }
        if ended.is_empty() && closed.is_empty() {
            return Ok(());
        }
        let detail =
            json!({"subject": about, "reason": reason, "tokens": ended, "sessions": closed});
        tx.note_event(
            &new_id(),
            now,
            "credentials-ended",
            actor,
            Some(account),
            detail,
        )
        .await?;
        let (tokens, sessions) = (ended.len().to_string(), closed.len().to_string());
        let data = [
            ("tokens", tokens.as_str()),
            ("sessions", &sessions),
            ("why", reason),
        ];
        self.notify(&mut tx, account, NoticeKind::CredentialsEnded, &data, None)
            .await?;
        tx.commit().await
    }

    async fn doomed(&self, actor: &Actor, subject: &Subject, made: Window) -> Result<Doomed> {
        let store = &self.inner.store;
        let now = self.now();
        let until = made.until.unwrap_or(Time(i64::MAX));
        let mut doomed = Doomed::default();
        let account;
        let organisation;
        let project;
        let address;
        let credential;
        let key;
        let whose = match subject {
            Subject::Registry => Whose::Everybody,
            Subject::User(name) => {
                account = self.account(name).await?;
                Whose::Account(&account)
            }
            Subject::Organisation(name) => {
                let row = store.organisation(&user_key(name)?).await?;
                organisation = row.ok_or_else(|| unknown(subject))?.id;
                Whose::Organisation(&organisation)
            }
            Subject::Project(ecosystem, name) => {
                key = format(*ecosystem).name_key(name)?.as_str().to_owned();
                let found = store.project_of_key(*ecosystem, &key).await?;
                project = found.ok_or_else(|| unknown(subject))?;
                Whose::Project(&project, *ecosystem, &key)
            }
            Subject::Address(from) => {
                address = from.to_string();
                Whose::Address(&address)
            }
            Subject::Token(which) => {
                credential = self.credential_named(which).await?;
                Whose::Credential(&credential)
            }
            Subject::Session(which) => {
                if !store.knows_session(which).await? {
                    return Err(unknown(subject));
                }
                Whose::Credential(which)
            }
            Subject::Publisher(_) | Subject::Workflow(_) | Subject::Issuer(_) => Whose::Workflows,
        };
        let wanted = RevokeWhere {
            whose,
            from: made.since,
            until,
            at: now,
        };
        let own = |id: &str| {
            actor
                .session
                .as_ref()
                .is_some_and(|session| session.id.0 == id)
                || actor.credential.as_ref().is_some_and(|known| known.0 == id)
        };
        for found in store.credentials_where(&wanted).await? {
            match found {
                CredentialMatch::Token(id, account) if !own(&id.0) => {
                    doomed.people.entry(account.0).or_default().0.push(id);
                }
                CredentialMatch::Session(id, account) if !own(&id.0) => {
                    doomed.people.entry(account.0).or_default().1.push(id);
                }
                _ => {}
            }
        }
        let of_project = match whose {
            Whose::Project(project, ..) => {
                let rows = store.publishers_of(project).await?;
                Some(rows.into_iter().map(|row| row.id).collect::<Vec<_>>())
            }
            _ => None,
        };
        for (id, publishers, issuer, label, created) in store.workflow_tokens(Some(now)).await? {
            let meant = match subject {
                Subject::Registry => true,
                Subject::Project(..) => of_project
                    .as_ref()
                    .is_some_and(|known| publishers.iter().any(|id| known.contains(id))),
                Subject::Token(_) => matches!(whose, Whose::Credential(wanted) if wanted == id.0),
                _ => fits(subject, &publishers, &issuer, &label),
            };
            if meant && created >= made.since && created < until {
                doomed.workflows.push(id);
            }
        }
        Ok(doomed)
    }
}
