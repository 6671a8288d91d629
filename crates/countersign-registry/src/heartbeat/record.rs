//! Recording: a change becomes an event and, in the outbox, the facts of a leaf.

use super::*;

/// A change to record: the facts of an event and of its leaf.
pub(crate) struct Change<'a> {
    actor: &'a Actor,
    kind: LeafKind,
    subject: Option<String>,
    project: Option<&'a ProjectId>,
    file: Option<&'a FileId>,
    account: Option<&'a AccountId>,
    change: Option<leaf::Change>,
    role: Option<String>,
    digests: Vec<(Algorithm, String)>,
    size: Option<u64>,
    attestations: Vec<String>,
    map: Option<(u64, Sha256)>,
}

impl<'a> Change<'a> {
    /// About the registry as a whole.
    pub(crate) fn registry(actor: &'a Actor, kind: LeafKind) -> Self {
        Self {
            actor,
            kind,
            subject: None,
            project: None,
            file: None,
            account: None,
            change: None,
            role: None,
            digests: Vec::new(),
            size: None,
            attestations: Vec::new(),
            map: None,
        }
    }

    /// A commitment to the map over the first `covers` leaves. It is nobody's act.
    pub(crate) fn map_root(actor: &'a Actor, covers: u64, root: Sha256) -> Self {
        Self {
            map: Some((covers, root)),
            ..Self::registry(actor, LeafKind::MapRoot)
        }
    }

    /// About a project, release or file, named by its purl.
    pub(crate) fn about(
        actor: &'a Actor,
        kind: LeafKind,
        subject: String,
        project: &'a ProjectId,
    ) -> Self {
        Self {
            subject: Some(subject),
            project: Some(project),
            ..Self::registry(actor, kind)
        }
    }

    /// The file concerned.
    pub(crate) fn file(mut self, file: &'a FileId) -> Self {
        self.file = Some(file);
        self
    }

    /// The bytes published.
    pub(crate) fn bytes(mut self, digests: Vec<(Algorithm, String)>, size: u64) -> Self {
        self.digests = digests;
        self.size = Some(size);
        self
    }

    /// SHA-256 of the attestations that came with it, hex.
    pub(crate) fn attested(mut self, mut digests: Vec<String>) -> Self {
        digests.sort_unstable();
        digests.dedup();
        self.attestations = digests;
        self
    }

    /// The account concerned.
    pub(crate) fn affecting(mut self, account: &'a AccountId) -> Self {
        self.account = Some(account);
        self
    }

    /// Which way it changed, and which role.
    pub(crate) fn way(mut self, change: leaf::Change, role: Option<&str>) -> Self {
        self.change = Some(change);
        self.role = role.map(str::to_owned);
        self
    }
}

pub(super) fn leaf_of(
    facts: &LeafFacts,
    at: Time,
    place: Option<(u64, Option<u64>)>,
) -> Result<Leaf> {
    let bug = |what: &str| Error::internal("a leaf can not be made", what.to_owned());
    let kind = LeafKind::from_word(&facts.kind).ok_or_else(|| bug("unknown kind"))?;
    let mut leaf = match (&facts.subject, place) {
        (Some(subject), Some((sequence, previous))) => {
            Leaf::about(kind, subject.clone(), at.0, sequence, previous)
        }
        (None, _) => Leaf::about_registry(kind, at.0),
        (Some(_), None) => return Err(bug("a subject without a project")),
    };
    for (algorithm, hex) in &facts.digests {
        leaf.digests.push((
            Algorithm::from_word(algorithm).ok_or_else(|| bug("unknown algorithm"))?,
            hex.clone(),
        ));
    }
    leaf.size = facts.size;
    leaf.actor = facts.actor;
    leaf.account = facts.account;
    leaf.change = facts.change.as_deref().and_then(leaf::Change::from_word);
    leaf.role.clone_from(&facts.role);
    leaf.map = facts
        .map
        .map(|(covers, root)| leaf::MapRoot { covers, root });
    for hex in &facts.attestations {
        leaf.attestations.push(
            hex.parse()
                .map_err(|_| bug("an attestation's digest is none"))?,
        );
    }
    Ok(leaf)
}

impl Registry {
    /// Writes an event into the caller's transaction and puts it in the outbox. The leaf it will become is made once
    /// here for trial, so that nothing can be committed that the log could not hold.
    pub(crate) async fn record(
        &self,
        tx: &mut Tx,
        change: Change<'_>,
        detail: Value,
    ) -> Result<EventId> {
        let id = EventId(new_id());
        self.record_as(tx, &id, change, detail).await?;
        Ok(id)
    }

    /// [`Registry::record`] under an id chosen before.
    pub(crate) async fn record_as(
        &self,
        tx: &mut Tx,
        id: &EventId,
        change: Change<'_>,
        detail: Value,
    ) -> Result<()> {
        let random = &self.inner.seams.random;
        let (actor_salt, account_salt) = (random.bytes32(), random.bytes32());
        let who = match &change.actor.identity {
            Identity::Anonymous => None,
            Identity::Account { id, .. } => Some(format!("account:{id}")),
            Identity::Workflow(workflow) => {
                Some(format!("workflow:{} {}", workflow.issuer, workflow.label))
            }
            Identity::System { name } => Some(format!("system:{name}")),
        };
        let at = self.now();
        let leaf = LeafFacts {
            kind: change.kind.as_str().to_owned(),
            subject: change.subject,
            digests: change
                .digests
                .iter()
                .map(|(algorithm, hex)| (algorithm.as_str().to_owned(), hex.clone()))
                .collect(),
            size: change.size,
            change: change.change.map(|way| way.as_str().to_owned()),
            role: change.role,
            actor: who.map(|who| commitment(&actor_salt, &who)),
            account: change
                .account
                .map(|account| commitment(&account_salt, &format!("account:{account}"))),
            attestations: change.attestations,
            map: change.map,
        };
        leaf_of(&leaf, at, Some((1, None)))?
            .to_text()
            .map_err(|source| Error::internal("an event has no leaf", source))?;
        tx.record_event(&NewEvent {
            id,
            at,
            project: change.project,
            file: change.file,
            actor: change.actor,
            account: change.account,
            detail,
            actor_salt,
            account_salt,
            leaf,
        })
        .await
    }
}
