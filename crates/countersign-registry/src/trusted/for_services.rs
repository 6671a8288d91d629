//! Judging identity tokens for registries elsewhere (`docs/operating-exchange-service.md`): who a workflow is and which of their
//! projects it may publish. They make a token of their own from the answer; none of this registry's comes of it.

use std::collections::BTreeMap;

use countersign_trust::oidc::{self, Asked, Rule};
use serde::Serialize;
use serde_json::json;

use super::judgement::{self, Verdict, judge_each};
use super::{REPLAY_MARGIN, replayed};
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::model::{Actor, Identity, PublisherId, Time};
use crate::policy;
use crate::services::{Part, check_name};
use crate::store::{PublisherRow, ServicePublisherRow};

/// A caller who may have tokens judged for one service: only [`Registry::exchange_service_desk`] makes one.
#[derive(Clone, Debug)]
pub struct ExchangeDesk {
    name: String,
}

/// A workflow that shall publish a project of a registry elsewhere.
#[derive(Clone, Debug)]
pub struct NewServicePublisher {
    /// The service.
    pub service: String,
    /// The project, as that registry names it.
    pub project: String,
    /// An issuer's name, a preset's word, or a URL.
    pub issuer: String,
    /// The preset's fields.
    pub fields: BTreeMap<String, String>,
    /// Further rules.
    pub claims: Vec<Rule>,
}

/// A publisher of a service.
#[derive(Clone, Debug, Serialize)]
pub struct ServicePublisher {
    /// Its id.
    pub id: String,
    /// The project.
    pub project: String,
    /// The issuer.
    pub issuer: String,
    /// In words.
    pub label: String,
    /// Immutable ids that a token must have.
    pub pinned: BTreeMap<String, String>,
    /// What is allowed but unwise.
    pub warnings: Vec<String>,
}

impl From<ServicePublisherRow> for ServicePublisher {
    fn from(row: ServicePublisherRow) -> Self {
        let publisher = row.publisher;
        Self {
            id: publisher.id.0,
            project: publisher.project_name,
            issuer: publisher.registration.issuer,
            label: publisher.registration.label,
            pinned: publisher.pinned,
            warnings: publisher.registration.warnings,
        }
    }
}

/// Whom an identity token is of.
#[derive(Clone, Debug, Serialize)]
pub struct ServiceJudgement {
    /// The issuer, byte for byte.
    pub issuer: String,
    /// Projects that it may publish, as they were registered.
    pub projects: Vec<String>,
    /// The first publisher that it fits, in words.
    pub publisher: String,
    /// The claims that matter.
    pub claims: BTreeMap<String, String>,
    /// When the identity token ends: what is made from it should not live much longer.
    pub expires: Time,
}

impl Registry {
    /// Makes a token that is good for having identity tokens and attestations judged for one service.
    ///
    /// # Errors
    /// `service-name`. For operators alone.
    pub async fn create_exchange_service_token(
        &self,
        actor: &Actor,
        name: &str,
        label: &str,
    ) -> Result<String> {
        policy::may_operate(actor, "make tokens of services")?;
        check_name(name)?;
        self.service_token(actor, Part::Exchange, name, label).await
    }

    /// Lets the holder of such a token in.
    ///
    /// # Errors
    /// `service-token`.
    pub async fn exchange_service_desk(&self, token: Option<&str>) -> Result<ExchangeDesk> {
        let name = self.service_of_token(Part::Exchange, token).await?;
        let name = name.ok_or_else(|| {
            Error::new(
                Kind::Unauthenticated,
                "service-token",
                "This takes the token of a service's exchange.",
            )
            .remedy("Make one with `countersignd exchange token NAME`, and send it as `Authorization: Bearer TOKEN`.")
        })?;
        Ok(ExchangeDesk { name })
    }

    /// The audience that identity tokens for a service must name: they are of no use anywhere else.
    #[must_use]
    pub fn service_audience(&self, desk: &ExchangeDesk) -> String {
        let site = self.inner.settings.site();
        format!("{site}/service/exchange/{}", desk.name)
    }

    /// Registers a workflow for a project of a service.
    ///
    /// # Errors
    /// `service-name`, `service-project`; as [`Registry::add_publisher`] for issuer, fields and rules. For operators alone.
    pub async fn add_service_publisher(
        &self,
        actor: &Actor,
        new: NewServicePublisher,
    ) -> Result<ServicePublisher> {
        policy::may_operate(actor, "register publishers of services")?;
        check_name(&new.service)?;
        let project = new.project.trim().to_owned();
        if project.is_empty() || project.len() > 256 || project.chars().any(char::is_control) {
            return Err(Error::new(
                Kind::Rejected,
                "service-project",
                format!("{project:?} can not be a project's name."),
            )
            .remedy("A name has 1 to 256 bytes and no control characters."));
        }
        let issuer = self.issuer_named(&new.issuer, &new.fields).await?;
        let asked = Asked {
            fields: new.fields,
            claims: new.claims,
        };
        let mut registration = oidc::register(issuer.provider, &issuer.url, &asked)?;
        let (pinned, doubt) = self.ask_identity(&issuer, &registration).await?;
        registration.warnings.extend(doubt);
        let now = self.now();
        let wanted = issuer.provider.pinned_claims();
        let missing = wanted.iter().any(|claim| !pinned.contains_key(*claim));
        let days = i64::from(self.inner.settings.trusted_publishing.pin_days);
        let row = ServicePublisherRow {
            service: new.service,
            publisher: PublisherRow::of_service(
                PublisherId(new_id()),
                project,
                registration,
                pinned,
                missing.then(|| now.plus_seconds(days * 86_400)),
                now,
            ),
        };
        let mut tx = self.inner.store.write().await?;
        tx.insert_service_publisher(&row).await?;
        let detail =
            json!({"service": row.service, "publisher": row.publisher.id, "change": "added"});
        tx.note_event(
            &new_id(),
            now,
            "service-publisher-changed",
            actor,
            None,
            detail,
        )
        .await?;
        tx.commit().await?;
        Ok(row.into())
    }

    /// The publishers of a service.
    ///
    /// # Errors
    /// For operators alone.
    pub async fn service_publishers(
        &self,
        actor: &Actor,
        service: &str,
    ) -> Result<Vec<ServicePublisher>> {
        policy::may_operate(actor, "see publishers of services")?;
        let rows = self.inner.store.service_publishers(service, None).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Takes a publisher of a service away.
    ///
    /// # Errors
    /// `publisher-unknown`. For operators alone.
    pub async fn remove_service_publisher(
        &self,
        actor: &Actor,
        service: &str,
        id: &str,
    ) -> Result<()> {
        policy::may_operate(actor, "remove publishers of services")?;
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        if !tx.remove_service_publisher(service, id, now).await? {
            return Err(Error::new(
                Kind::NotFound,
                "publisher-unknown",
                format!("The service {service:?} has no publisher {id:?}."),
            )
            .remedy("`countersignd exchange publisher list SERVICE` lists them."));
        }
        let detail = json!({"service": service, "publisher": id, "change": "removed"});
        tx.note_event(
            &new_id(),
            now,
            "service-publisher-changed",
            actor,
            None,
            detail,
        )
        .await?;
        tx.commit().await
    }

    /// Is an identity token genuine, current, meant for this service and not used before, and which of its projects may its
    /// workflow publish? With `project`, that one alone counts.
    ///
    /// # Errors
    /// As [`Registry::exchange`] for what is not genuine or does not fit; `oidc-replayed`.
    pub async fn judge_for_service(
        &self,
        desk: &ExchangeDesk,
        token: &str,
        project: Option<&str>,
    ) -> Result<ServiceJudgement> {
        let audience = self.service_audience(desk);
        let genuine = self.genuine_for(&audience, token).await?;
        let (issuer, verified) = (&genuine.issuer, &genuine.verified);
        let rows = self
            .inner
            .store
            .service_publishers(&desk.name, Some(&issuer.url))
            .await?;
        let candidates: Vec<PublisherRow> = rows
            .into_iter()
            .map(|row| row.publisher)
            .filter(|row| project.is_none_or(|project| row.project_name == project))
            .collect();
        let judged = judge_each(candidates, &verified.claims, self.now());
        let fitting: Vec<&PublisherRow> = judged
            .iter()
            .filter(|(_, judged)| judged.verdict == Verdict::Fits)
            .map(|(row, _)| row)
            .collect();
        let Some(first) = fitting.first() else {
            return Err(judgement::refusal(issuer, &verified.claims, &judged));
        };
        let rules: Vec<Rule> = fitting
            .iter()
            .flat_map(|row| row.registration.rules.iter().cloned())
            .collect();
        let keep_until = Time(0).plus_seconds(
            verified
                .expires
                .saturating_add(oidc::LEEWAY)
                .saturating_add(REPLAY_MARGIN),
        );
        // *Crash before the commit*: the token can be judged again. *After it*: nobody heard; the workflow asks for a new one.
        let mut tx = self.inner.store.write().await?;
        let fresh = tx
            .insert_replay(&issuer.url, &verified.replay_key, keep_until)
            .await?;
        if !fresh {
            return Err(replayed());
        }
        for row in fitting.iter().filter(|row| row.pin_by.is_some()) {
            let pinned = judgement::pins(row, &verified.claims);
            tx.pin_service_publisher(&row.id.0, &pinned).await?;
        }
        let now = self.now();
        let detail = json!({"service": desk.name, "publishers": fitting.iter().map(|row| &row.id).collect::<Vec<_>>()});
        let actor = Actor {
            identity: Identity::System { name: "exchange" },
            ..Actor::anonymous()
        };
        tx.note_event(&new_id(), now, "service-token-judged", &actor, None, detail)
            .await?;
        tx.commit().await?;
        Ok(ServiceJudgement {
            issuer: issuer.url.clone(),
            projects: fitting.iter().map(|row| row.project_name.clone()).collect(),
            publisher: first.registration.label.clone(),
            claims: oidc::snapshot(issuer.provider, &verified.claims, &rules),
            expires: Time(0).plus_seconds(verified.expires),
        })
    }
}
