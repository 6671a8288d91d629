//! What people signed becomes what is published; and the other way: what is published, for people to sign the next.

use std::collections::{BTreeMap, BTreeSet};

use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{self, LeafKind};
use countersign_trust::tuf::bundle::{Bundle, Ready};
use countersign_trust::tuf::repository::{BINS, INDEX};
use countersign_trust::tuf::{
    DelegatedRole, Delegator, Envelope, Extra, Key, Limits, MetaFile, RoleKeys, Root, Targets,
};
use serde::Serialize;
use serde_json::json;

use super::namespaces::people_of;
use super::own::{OWN, document_name};
use super::{Contents, Prepared, Terms, Writer, keys, refused};
use crate::Registry;
use crate::accounts::new_id;
use crate::error::{Error, Kind, Result};
use crate::heartbeat::Change;
use crate::model::Actor;
use crate::policy;
use crate::store::{ALL_PLACES, TufTargetRow};

/// The roles that sign without a person.
const ONLINE: [&str; 4] = ["timestamp", "snapshot", INDEX, BINS];
/// What the server signs of the root of roots; of the others in development alone.
const TARGETS: &str = "targets";

/// The ids of a role's keys, and in words who may sign besides by an identity.
pub(super) fn signers<'a>(
    role: &RoleKeys,
    key: impl Fn(&str) -> Option<&'a Key>,
) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut identities) = (Vec::new(), Vec::new());
    for id in &role.keyids {
        match key(id).and_then(Key::identity) {
            Some((identity, issuer)) => identities.push(format!("{identity} ({issuer})")),
            None => keys.push(id.clone()),
        }
    }
    (keys, identities)
}

/// How a role stands.
#[derive(Clone, Debug, Serialize)]
pub struct TufRoleState {
    /// The role; `bins` stands for all of them, with the end of the first that ends.
    pub role: String,
    /// The version.
    pub version: u64,
    /// When it ends, in seconds since 1970 UTC.
    pub expires: i64,
    /// The ids of its keys.
    pub keys: Vec<String>,
    /// Who may sign besides, by identity and issuer; no threshold counts them.
    pub identities: Vec<String>,
    /// How many must sign.
    pub threshold: u64,
    /// Does it take people to sign it?
    pub people: bool,
    /// Is it time to sign it anew?
    pub due: bool,
}

/// What a repository publishes now.
#[derive(Clone, Debug)]
pub struct TufPosition {
    /// Its name.
    pub name: String,
    /// The newest root's file.
    pub root: Vec<u8>,
    /// The newest top-level targets' file.
    pub targets: Vec<u8>,
    /// Every key lies with the server.
    pub development: bool,
    /// Does the server itself sign the top-level targets?
    pub signs_targets: bool,
    /// How its roles stand.
    pub roles: Vec<TufRoleState>,
}

fn unknown(name: &str) -> Error {
    let shown: String = name.chars().take(80).collect();
    Error::new(
        Kind::NotFound,
        "tuf-unknown",
        format!("There is no TUF repository {shown:?} here."),
    )
    .remedy("`countersignd tuf status` lists them.")
}

impl Registry {
    /// What all repositories publish now, services too.
    ///
    /// # Errors
    /// Where the database fails or a key is away.
    pub async fn tuf_positions(&self) -> Result<Vec<TufPosition>> {
        let mut positions = Vec::new();
        for (name, _) in self.inner.store.tuf_versions().await? {
            let newest = async |role: &str| -> Result<Vec<u8>> {
                let row = self.inner.store.tuf_newest(&name, role).await?;
                Ok(row.ok_or_else(|| unknown(&name))?.body.into_bytes())
            };
            let (root, targets) = (newest("root").await?, newest("targets").await?);
            let writer = self.tuf_writer(&name).await?;
            let terms = writer.terms();
            let position = TufPosition {
                root,
                targets,
                development: terms.development,
                signs_targets: terms.keys.contains_key("targets"),
                roles: writer.roles(self.now().seconds())?,
                name,
            };
            writer.keep();
            positions.push(position);
        }
        Ok(positions)
    }

    /// In development the server has the keys that a ceremony takes from its hands: it signs that, once, with them. How many
    /// signatures it gave.
    ///
    /// # Errors
    /// `tuf-key-missing`. For operators alone.
    pub async fn hand_over_tuf(&self, actor: &Actor, bundle: &mut Bundle) -> Result<usize> {
        policy::may_operate(actor, "hold ceremonies")?;
        let names: Vec<String> = bundle.parts().keys().cloned().collect();
        let mut signed = 0;
        for name in names {
            let Some(row) = self.inner.store.tuf_repository(&name).await? else {
                continue;
            };
            let terms: Terms = serde_json::from_str(&row.terms)
                .map_err(|source| Error::internal("stored terms of TUF are malformed", source))?;
            for role in ["root", "targets"] {
                if !terms.keys.contains_key(role) {
                    continue;
                }
                let signer = terms.signer(role, self.key_folder())?;
                // Where the ceremony asks for other keys alone, this one has nothing to sign.
                if let Ok(done) = bundle.sign(signer.as_ref()) {
                    signed += done.len();
                }
            }
        }
        Ok(signed)
    }

    /// Gives an online role another key. That of `bins` signs from now on, all of them before this returns, so that the key before
    /// is good for nothing any more; a crash in between leaves the rest to the chores. The others must be named by the next root
    /// (timestamp, snapshot) or targets (index), which people sign: the key is ready then. So must the one of `targets`, where
    /// the server signs those itself (the root of roots). Its public half.
    ///
    /// # Errors
    /// `tuf-unknown`, `tuf-key-missing`, `tuf-role`. For operators alone.
    pub async fn rotate_tuf_online_key(
        &self,
        actor: &Actor,
        name: &str,
        role: &str,
        source: Option<&str>,
    ) -> Result<Vec<u8>> {
        policy::may_operate(actor, "rotate keys of TUF")?;
        let mut writer = self.tuf_writer(name).await?;
        let mut terms = writer.terms().clone();
        let by_server = ONLINE.contains(&role) || role == TARGETS;
        if !by_server || !terms.keys.contains_key(role) {
            writer.keep();
            return Err(Error::new(
                Kind::Rejected,
                "tuf-role",
                format!("{role:?} is no role that signs without people."),
            )
            .remedy("Those are timestamp, snapshot, index and bins; of the root of roots its targets too."));
        }
        let source = match source {
            Some(source) => source.to_owned(),
            None => {
                let file = format!("tuf-{}.{role}.{}", name.replace('/', "-"), new_id());
                keys::in_folder(self.key_folder(), &file, self.inner.seams.random.bytes32())?
            }
        };
        let signer = keys::signer(&source, self.key_folder())?;
        let id = Key::of(signer.as_ref()).map_err(refused)?.id();
        let now = self.now();
        if role == BINS {
            terms.keys.insert(role.to_owned(), source);
        } else {
            terms.next.insert(role.to_owned(), source);
        }
        writer.run_by(terms, self.key_folder())?;
        let mut prepared = writer.draft(now.seconds(), Extra::default(), |_| Ok(()))?;
        prepared.publication.terms = Some(writer.terms().to_json()?);
        let mut tx = self.inner.store.write().await?;
        tx.publish_tuf(&prepared.publication, now).await?;
        if role == BINS {
            let change =
                Change::registry(actor, LeafKind::PolicyChanged).way(leaf::Change::Replaced, None);
            let detail = json!({"policy": "tuf-key", "repository": name, "role": role, "key": id});
            self.record(&mut tx, change, detail).await?;
        }
        tx.commit().await?;
        writer.published(self, prepared);
        if role == BINS {
            // The key before is named until the last bin that it signed is signed anew: it may have been stolen.
            self.renew_tuf(name).await?;
        }
        signer
            .public_key()
            .map_err(|why| Error::internal("a key does not show itself", why.to_string()))
    }

    /// Publishes what people signed: of each repository its root, its targets, or both, in one transaction for each. A crash
    /// between two leaves those before it published; the same ceremony is published again then, and what is published
    /// already is passed over. `at_once`: what is published by now need not hold under the new root.
    ///
    /// # Errors
    /// `tuf-unknown`; `tuf-refused` where it does not follow what is published. For operators alone.
    pub async fn publish_tuf_ceremony(
        &self,
        actor: &Actor,
        ready: &[Ready],
        at_once: bool,
    ) -> Result<Vec<String>> {
        policy::may_operate(actor, "publish ceremonies")?;
        let mut published = Vec::new();
        for part in ready {
            if self.publish_tuf_part(actor, part, at_once).await? {
                published.push(part.repository.clone());
            }
        }
        Ok(published)
    }

    async fn publish_tuf_part(&self, actor: &Actor, part: &Ready, at_once: bool) -> Result<bool> {
        let name = &part.repository;
        let limits = Limits::default();
        let root = part
            .root
            .as_ref()
            .map(|bytes| Envelope::<Root>::parse("root", bytes, &limits))
            .transpose()
            .map_err(refused)?;
        let targets = part
            .targets
            .as_ref()
            .map(|bytes| Envelope::<Targets>::parse("targets", bytes, &limits))
            .transpose()
            .map_err(refused)?;
        let mut writer = self.tuf_writer(name).await?;
        let in_use = writer.repository();
        let root_there = root
            .as_ref()
            .is_none_or(|new| in_use.root() == &new.document);
        let targets_there = targets
            .as_ref()
            .is_none_or(|new| in_use.targets() == Some(&new.document));
        let role_there = |role: &str, bytes: &[u8], version: u64| {
            let standing = in_use.standings().get(role);
            standing.is_some_and(|standing| standing.meta == MetaFile::of(version, bytes))
        };
        let mut roles = Vec::new();
        for (role, bytes) in &part.roles {
            let read = Envelope::<Targets>::parse(role, bytes, &limits).map_err(refused)?;
            if !role_there(role, bytes, read.document.version) {
                roles.push((role.as_str(), bytes.as_slice(), read.document));
            }
        }
        if root_there && targets_there && roles.is_empty() {
            writer.keep();
            return Ok(false);
        }
        let top = targets.as_ref().map(|new| &new.document);
        let moves = match self.moves(&writer, top, &roles).await {
            Ok(moves) => moves,
            Err(error) => {
                writer.keep();
                return Err(error);
            }
        };
        let in_use = writer.repository();
        let document = root.as_ref().map(|new| &new.document);
        let mut terms = writer.terms().clone();
        let switched = self.switch_keys(&mut terms, document, top.or(in_use.targets()))?;
        // From now on people have the root and the targets, unless the server's key is named for them still.
        if let Some(root) = document {
            for role in ["root", TARGETS] {
                let Some(source) = terms.keys.get(role) else {
                    continue;
                };
                let held = Key::of(keys::signer(source, self.key_folder())?.as_ref());
                let authority = root.authority(role);
                let alone = authority.as_ref().is_some_and(|of| of.role.threshold == 1);
                if !alone || !names(authority, &held.map_err(refused)?) {
                    terms.keys.remove(role);
                }
            }
            terms.development &= terms.keys.contains_key("root");
        }
        let signs_anew = targets.is_none()
            && terms.keys.get(TARGETS) != writer.terms().keys.get(TARGETS)
            && terms.keys.contains_key(TARGETS);
        let now = self.now();
        writer.run_by(terms, self.key_folder())?;
        let before = writer.repository().root().version;
        // The server's targets have another key: the same contents, signed with that.
        let anew = match signs_anew {
            true => Some(writer.next_targets(self, None, now.seconds())?),
            false => None,
        };
        // The targets' keys may change with the root: what is published holds for readers until this transaction ends, and
        // what takes its place is in it.
        let together = at_once || switched || (root.is_some() && targets.is_some());
        let mut prepared = writer.draft(now.seconds(), Extra::default(), |draft| {
            if let Some(bytes) = part.root.as_ref().filter(|_| !root_there) {
                draft.root(bytes, together)?;
            }
            if let Some(bytes) = part.targets.as_ref().filter(|_| !targets_there) {
                draft.targets(bytes)?;
            }
            if let Some(bytes) = &anew {
                draft.targets(bytes)?;
            }
            for (role, bytes, _) in &roles {
                draft.role(role, bytes)?;
            }
            for (bin, contents) in &moves.bins {
                draft.bin(bin, contents.clone())?;
            }
            if switched {
                draft.renew_index();
            }
            Ok(())
        })?;
        let removed_namespaces = moves.taken_back;
        prepared.take(moves);
        prepared.publication.terms = Some(writer.terms().to_json()?);
        let mut tx = self.inner.store.write().await?;
        tx.publish_tuf(&prepared.publication, now).await?;
        let roles_signed: BTreeMap<&str, String> = roles
            .iter()
            .map(|(role, bytes, _)| (*role, Sha256::of(bytes).to_hex()))
            .collect();
        let digest = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|of| Sha256::of(of).to_hex());
        let change =
            Change::registry(actor, LeafKind::PolicyChanged).way(leaf::Change::Replaced, None);
        let detail = json!({
            "policy": "tuf-ceremony", "repository": name, "root_before": before,
            "root": digest(&part.root), "targets": digest(&part.targets), "roles": roles_signed,
        });
        self.record(&mut tx, change, detail).await?;
        tx.commit().await?;
        writer.published(self, prepared);
        if removed_namespaces {
            // *Crash before this*: the next start notes the same.
            self.note_outdated(name).await?;
        }
        Ok(true)
    }

    /// Notes the documents of an ecosystem that are not what TUF lists.
    async fn note_outdated(&self, repository: &str) -> Result<()> {
        let own = OWN.into_iter().find(|own| own.as_str() == repository);
        let Some(ecosystem) = own else {
            return Ok(());
        };
        let (name, now) = (document_name(ecosystem), self.now());
        let rendered_for = self.inner.settings.rendered_for();
        self.inner
            .store
            .note_outdated_documents(ecosystem, name, &rendered_for, now)
            .await?;
        Ok(())
    }

    /// What a change of the roles that people sign, or of their documents, moves: targets that they list now or no longer, and
    /// bins that targets leave or come back to.
    async fn moves(
        &self,
        writer: &Writer,
        top: Option<&Targets>,
        roles: &[(&str, &[u8], Targets)],
    ) -> Result<Moves> {
        let mut moves = Moves::default();
        let store = &self.inner.store;
        let Some(before) = writer.repository().targets().cloned() else {
            return Ok(moves);
        };
        let after = top.unwrap_or(&before);
        let (people_before, people) = (people_of(&before), people_of(after));
        let delegated = people_before != people;
        if (roles.is_empty() && !delegated) || !OWN.iter().any(|own| own.as_str() == writer.name) {
            return Ok(moves);
        }
        moves.taken_back = people_before
            .iter()
            .any(|old| people.iter().all(|new| new.name != old.name));
        let mut rows = Contents::new();
        if delegated {
            for row in store.tuf_targets(&writer.name, &[ALL_PLACES]).await? {
                rows.insert(row.path.clone(), row.target()?);
            }
        }
        for (role, _, document) in roles {
            let its = people.iter().find(|its| its.name == *role);
            let its = its.ok_or_else(|| refused_by_people(role, "nobody hands on to it"))?;
            let known = people_before.iter().any(|old| old.name == *role);
            let signed = if known {
                writer.role_contents(store, role).await?
            } else {
                let held = rows.iter().filter(|(path, _)| its.scope.holds(path));
                held.map(|(path, file)| (path.clone(), file.clone()))
                    .collect()
            };
            if document.delegations.is_some() {
                return Err(refused_by_people(role, "it hands on to others"));
            }
            for (path, file) in &document.targets {
                if !its.scope.holds(path) {
                    return Err(refused_by_people(
                        role,
                        "it lists what is not in its namespace",
                    ));
                }
                if signed.get(path) == Some(file) {
                    continue;
                }
                let digest = file.digest().unwrap_or_default();
                if self.stored_document(digest).await?.is_none() {
                    return Err(refused_by_people(
                        role,
                        &format!("the bytes of {path} that were signed are not here any more"),
                    ));
                }
                moves.put.push(super::row(path, file)?);
            }
            let gone = signed
                .keys()
                .filter(|path| !document.targets.contains_key(*path));
            moves.removed.extend(gone.cloned());
        }
        if delegated && let Some(bins) = writer.repository().bins() {
            let by_server = |people: &[DelegatedRole], path: &str| {
                people.iter().all(|role| !role.scope.holds(path))
            };
            let moved: BTreeSet<u64> = rows
                .keys()
                .filter(|path| by_server(&people_before, path) != by_server(&people, path))
                .map(|path| bins.bin_of(path))
                .collect();
            let mut contents: BTreeMap<u64, Contents> =
                moved.iter().map(|bin| (*bin, Contents::new())).collect();
            for (path, file) in rows {
                if by_server(&people, &path)
                    && let Some(bin) = contents.get_mut(&bins.bin_of(&path))
                {
                    bin.insert(path, file);
                }
            }
            let named = contents.into_iter();
            moves.bins = named.map(|(bin, held)| (bins.name(bin), held)).collect();
        }
        Ok(moves)
    }

    /// Takes the keys into use that were got ready, where the new documents name them. Was there any?
    fn switch_keys(
        &self,
        terms: &mut Terms,
        root: Option<&Root>,
        targets: Option<&Targets>,
    ) -> Result<bool> {
        let mut switched = false;
        for (role, source) in terms.next.clone() {
            let authority = match role.as_str() {
                INDEX => targets.and_then(|targets| targets.authority(INDEX)),
                _ => root.and_then(|root| root.authority(&role)),
            };
            let key =
                Key::of(keys::signer(&source, self.key_folder())?.as_ref()).map_err(refused)?;
            if names(authority, &key) {
                terms.next.remove(&role);
                terms.keys.insert(role, source);
                switched = true;
            }
        }
        Ok(switched)
    }
}

/// What changes besides documents when people sign a namespace.
#[derive(Default)]
struct Moves {
    /// Bins that targets leave, or come back to, with what is in them then.
    bins: Vec<(String, Contents)>,
    put: Vec<TufTargetRow>,
    removed: Vec<String>,
    /// Was a namespace taken back?
    taken_back: bool,
}

impl Prepared {
    fn take(&mut self, moves: Moves) {
        for (bin, _) in &moves.bins {
            self.next.warm.remove(bin);
        }
        self.publication.put.extend(moves.put);
        self.publication.removed.extend(moves.removed);
    }
}

fn refused_by_people(role: &str, why: &str) -> Error {
    Error::new(
        Kind::Conflict,
        "tuf-refused",
        format!("What people signed of the role `{role}` can not be published: {why}."),
    )
    .remedy("Write the file anew with `countersignd tuf namespace status --bundle FILE`, and have that signed.")
}

fn names(authority: Option<countersign_trust::tuf::Authority<'_>>, key: &Key) -> bool {
    authority.is_some_and(|authority| {
        let mut keys = authority.role.keyids.iter();
        keys.any(|id| {
            let listed = authority.keys.get(id).and_then(Key::spki);
            listed.is_some() && listed == key.spki()
        })
    })
}

impl Writer {
    /// How the roles stand at `now`, in seconds since 1970 UTC.
    fn roles(&self, now: i64) -> Result<Vec<TufRoleState>> {
        let repository = self.repository();
        let bins_key = Key::of(self.state.online.keys().bins)
            .map_err(refused)?
            .id();
        let due = repository.due(now, &self.terms().lifetimes, &bins_key);
        let root = repository.root();
        let delegations = repository
            .targets()
            .and_then(|top| top.delegations.as_ref());
        let key = |id: &str| {
            let delegated = delegations.and_then(|delegations| delegations.keys.get(id));
            root.keys.get(id).or(delegated)
        };
        let mut states: BTreeMap<String, TufRoleState> = BTreeMap::new();
        let mut put = |role: &str, version: u64, expires: i64, by: Option<&RoleKeys>| {
            let (keys, identities) = by.map(|by| signers(by, key)).unwrap_or_default();
            let mine = !self.terms().keys.contains_key(role);
            let state = TufRoleState {
                role: role.to_owned(),
                version,
                expires,
                keys,
                identities,
                threshold: by.map_or(1, |by| by.threshold),
                people: mine,
                due: due.iter().any(|due| due.role == role),
            };
            let first = states
                .entry(role.to_owned())
                .or_insert_with(|| state.clone());
            if state.expires < first.expires {
                *first = state;
            }
        };
        put("root", root.version, root.expires, root.roles.get("root"));
        let of_root = |role: &str| root.roles.get(role);
        for (role, standing) in repository.heads() {
            put(role, standing.meta.version, standing.expires, of_root(role));
        }
        let targets = repository.targets();
        for (role, standing) in repository.standings() {
            let bins = repository.bins().filter(|bins| bins.number(role).is_some());
            let (name, by) = match (&**role, bins) {
                ("targets", _) => ("targets", of_root("targets")),
                (_, Some(bins)) => (BINS, Some(&bins.keys)),
                (other, None) => {
                    let Some(authority) = targets.and_then(|targets| targets.authority(other))
                    else {
                        continue;
                    };
                    (other, Some(authority.role))
                }
            };
            put(name, standing.meta.version, standing.expires, by);
        }
        Ok(states.into_values().collect())
    }
}
