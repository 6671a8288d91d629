//! Namespaces of our own index that their owners sign: a role of the top-level targets, before the index, with the owners'
//! keys, whose targets are the index documents of the projects in it.
//!
//! Nothing unsigned is shown as signed: a beat points to a new document, and the role's target stays the one that people signed
//! last. What waits is found by comparing both, so that there is nothing to keep in step.

use std::collections::BTreeMap;

use countersign_formats::Ecosystem;
use countersign_trust::digest::Sha256;
use countersign_trust::tuf::bundle::{Part, RoleDocument};
use countersign_trust::tuf::repository::INDEX;
use countersign_trust::tuf::{Delegated, DelegatedRole, Key, RoleKeys, Scope, TargetFile, Targets};
use serde::Serialize;

use super::ceremonies::signers;
use super::own::{OWN, document_name, target_path};
use super::{Contents, Writer, refused};
use crate::Registry;
use crate::error::{Error, Kind, Result};
use crate::model::{Actor, Time};
use crate::policy;
use crate::store::ALL_PLACES;

/// For how long the bytes of what people are asked to sign stay, in seconds: 30 days.
const OFFERED: i64 = 30 * 86_400;
const DAY: i64 = 86_400;

/// Who signs a namespace.
#[derive(Clone, Debug)]
pub struct NamespaceKeys {
    /// The keys.
    pub keys: Vec<Key>,
    /// How many of them must sign.
    pub threshold: u64,
    /// For how many days a document of the namespace is good.
    pub days: i64,
}

/// An index document that is not what people signed last.
#[derive(Clone, Debug, Serialize)]
pub struct TufWaiting {
    /// The target.
    pub path: String,
    /// Its SHA-256 as the index serves it now; nothing where the project is not there any more.
    pub sha256: Option<String>,
    /// Since when it has these bytes, in microseconds since 1970 UTC; nothing where the project is not there any more.
    pub since: Option<Time>,
}

/// A namespace that its owners sign.
#[derive(Clone, Debug, Serialize)]
pub struct TufNamespace {
    /// The repository: an ecosystem.
    pub repository: String,
    /// The role.
    pub role: String,
    /// Which projects are in it, as an operator writes it: `@scope/*`, `prefix-*`, or a name.
    pub pattern: String,
    /// The ids of its keys.
    pub keys: Vec<String>,
    /// Who may sign besides, by identity and issuer; no threshold counts them.
    pub identities: Vec<String>,
    /// How many must sign.
    pub threshold: u64,
    /// The version of its document.
    pub version: u64,
    /// When that ends, in seconds since 1970 UTC.
    pub expires: i64,
    /// Is it time to sign it anew, whatever waits?
    pub due: bool,
    /// How many projects are signed.
    pub signed: usize,
    /// What waits for signatures.
    pub waiting: Vec<TufWaiting>,
}

/// Which projects a namespace means.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Names {
    ecosystem: Ecosystem,
    /// What their keys begin with; the whole key of one project.
    head: String,
    /// One project alone?
    exact: bool,
}

impl Names {
    /// Reads what an operator writes.
    fn parse(ecosystem: Ecosystem, pattern: &str) -> Result<Self> {
        let refuse = |why: &str| {
            let shown: String = pattern.chars().take(80).collect();
            Error::new(
                Kind::Rejected,
                "tuf-namespace",
                format!("{shown:?} is no namespace of {ecosystem}: {why}."),
            )
            .remedy(
                "A namespace is `@scope/*` (npm), a beginning of names as `acme-*`, or one name.",
            )
        };
        let (text, exact) = match pattern.strip_suffix('*') {
            Some(text) => (text, false),
            None => (pattern, true),
        };
        if text.is_empty() {
            return Err(refuse("everything is the index's"));
        }
        if text.contains(['*', '?', '[', ']']) {
            return Err(refuse("one `*` may stand in it, at its end"));
        }
        let rules = countersign_formats::format(ecosystem);
        // A beginning need not be a name; with a letter behind it, it is the beginning of one.
        let name = if exact {
            text.to_owned()
        } else {
            format!("{text}x")
        };
        let key = rules
            .name_key(&name)
            .map_err(|rejection| refuse(rejection.message.trim_end_matches('.')))?;
        let head = match key.as_str() {
            whole if exact => whole,
            longer => longer
                .strip_suffix('x')
                .ok_or_else(|| refuse("it is no beginning of a name"))?,
        };
        if !exact && head.starts_with('@') && !head.ends_with('/') {
            return Err(refuse("a scope is handed on as a whole"));
        }
        Ok(Self {
            ecosystem,
            head: head.to_owned(),
            exact,
        })
    }

    /// As an operator writes it.
    fn pattern(&self) -> String {
        if self.exact {
            self.head.clone()
        } else {
            format!("{}*", self.head)
        }
    }

    /// The pattern of their targets.
    fn scope(&self) -> String {
        target_path(self.ecosystem, &self.pattern())
    }

    /// The name of its role: of characters that need no escape in a file's name.
    fn role(&self) -> String {
        let kind = match (self.exact, self.head.strip_suffix('/')) {
            (true, _) => "project",
            (false, Some(_)) => "scope",
            (false, None) => "names",
        };
        let plain = |character: char| match character {
            'a'..='z' | '0'..='9' | '-' | '_' | '.' => character,
            _ => '.',
        };
        let head = self.head.trim_start_matches('@').trim_end_matches('/');
        let head: String = head.chars().map(plain).collect();
        format!("{kind}-{head}")
    }

    /// The namespace of a role, read back from its scope.
    fn of(ecosystem: Ecosystem, role: &DelegatedRole) -> Option<Self> {
        let Scope::Paths(paths) = &role.scope else {
            return None;
        };
        let [path] = paths.as_slice() else {
            return None;
        };
        let rest = path.strip_prefix(ecosystem.as_str())?.strip_prefix('/')?;
        let pattern = rest
            .strip_suffix(document_name(ecosystem))?
            .strip_suffix('/')?;
        Self::parse(ecosystem, pattern).ok()
    }

    /// Is it this one's role? Roles of two namespaces may have one name: `@acme/tools` and `acme.tools`.
    fn is_of(&self, role: &DelegatedRole) -> bool {
        Self::of(self.ecosystem, role).as_ref() == Some(self)
    }

    /// Is a project in both?
    fn overlaps(&self, other: &Self) -> bool {
        let holds = |prefix: &Self, name: &Self| {
            let rest = name.head.strip_prefix(&prefix.head);
            // The slash of a scope ends a part of the pattern.
            rest.is_some_and(|rest| !rest.contains('/'))
        };
        match (self.exact, other.exact) {
            (true, true) => self.head == other.head,
            (true, false) => holds(other, self),
            (false, true) => holds(self, other),
            (false, false) => holds(self, other) || holds(other, self),
        }
    }
}

/// The roles that stand before the index.
pub(super) fn people_of(top: &Targets) -> Vec<DelegatedRole> {
    match top.delegations.as_ref().map(|of| &of.roles) {
        Some(Delegated::Listed(roles)) => roles
            .iter()
            .filter(|role| role.name != INDEX)
            .cloned()
            .collect(),
        _ => Vec::new(),
    }
}

fn unknown(ecosystem: Ecosystem, pattern: &str) -> Error {
    let shown: String = pattern.chars().take(80).collect();
    Error::new(
        Kind::NotFound,
        "tuf-namespace-unknown",
        format!("Nobody else signs {shown:?} of {ecosystem}."),
    )
    .remedy("`countersignd tuf namespace status` lists the namespaces that their owners sign.")
}

fn no_targets(ecosystem: Ecosystem) -> Error {
    Error::internal("a TUF repository has no targets", ecosystem.to_string())
}

/// What is in force of a repository, as its files have it.
struct InForce {
    root: Vec<u8>,
    targets: Vec<u8>,
    top: Targets,
}

impl Registry {
    async fn in_force(&self, ecosystem: Ecosystem, writer: &Writer) -> Result<InForce> {
        let newest = async |role: &str| -> Result<Vec<u8>> {
            let row = self
                .inner
                .store
                .tuf_newest(ecosystem.as_str(), role)
                .await?;
            Ok(row.ok_or_else(|| no_targets(ecosystem))?.body.into_bytes())
        };
        Ok(InForce {
            root: newest("root").await?,
            targets: newest("targets").await?,
            top: writer
                .repository()
                .targets()
                .cloned()
                .ok_or_else(|| no_targets(ecosystem))?,
        })
    }

    /// The index documents of these projects as they are served now, by target. Of a project whose document is being
    /// rendered anew there is none for a moment.
    async fn documents_of(
        &self,
        names: &Names,
    ) -> Result<BTreeMap<String, Option<(TargetFile, Time)>>> {
        let rows = self
            .inner
            .store
            .documents_beginning(
                names.ecosystem,
                &names.head,
                &self.inner.settings.rendered_for(),
            )
            .await?;
        let scope = Scope::Paths(vec![names.scope()]);
        let mut documents = BTreeMap::new();
        for row in rows {
            let path = target_path(names.ecosystem, &row.key);
            if !scope.holds(&path) {
                continue;
            }
            let document = match row.document {
                None => None,
                Some((digest, size, rendered)) => {
                    let digest: Sha256 = digest
                        .parse()
                        .map_err(|_| Error::internal("a stored digest is malformed", digest))?;
                    Some((TargetFile::new(size, digest), rendered))
                }
            };
            documents.insert(path, document);
        }
        Ok(documents)
    }

    /// What a namespace's role would list if it were signed now, and what of it waits.
    async fn to_be_signed(
        &self,
        names: &Names,
        signed: &Contents,
    ) -> Result<(Contents, Vec<TufWaiting>)> {
        let documents = self.documents_of(names).await?;
        let (mut contents, mut waiting) = (Contents::new(), Vec::new());
        for (path, document) in &documents {
            match document {
                Some((file, rendered)) => {
                    if signed.get(path) != Some(file) {
                        waiting.push(TufWaiting {
                            path: path.clone(),
                            sha256: file.digest().map(str::to_owned),
                            since: Some(*rendered),
                        });
                    }
                    contents.insert(path.clone(), file.clone());
                }
                None => {
                    if let Some(file) = signed.get(path) {
                        contents.insert(path.clone(), file.clone());
                    }
                }
            }
        }
        for path in signed.keys().filter(|path| !documents.contains_key(*path)) {
            waiting.push(TufWaiting {
                path: path.clone(),
                sha256: None,
                since: None,
            });
        }
        Ok((contents, waiting))
    }

    /// Keeps the bytes of what people are asked to sign.
    async fn offer(&self, contents: &Contents) -> Result<()> {
        let digests: Vec<String> = contents
            .values()
            .filter_map(|file| file.digest().map(str::to_owned))
            .collect();
        let mut tx = self.inner.store.write().await?;
        tx.offer_tuf_documents(&digests, self.now().plus_seconds(OFFERED))
            .await?;
        tx.commit().await
    }

    /// What people are to sign so that a namespace is signed by its owners from then on: top-level targets with one more role,
    /// by the targets' people, and the first document of that role, by the owners. To be published as any ceremony. `days`: for how
    /// long the targets are good then.
    ///
    /// # Errors
    /// `tuf-namespace` for what is no namespace, `tuf-namespace-overlap`. For operators alone.
    pub async fn add_tuf_namespace(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        pattern: &str,
        owners: &NamespaceKeys,
        days: i64,
    ) -> Result<Part> {
        policy::may_operate(actor, "hold ceremonies")?;
        let names = Names::parse(ecosystem, pattern)?;
        let role = names.role();
        let writer = self.tuf_writer(ecosystem.as_str()).await?;
        let now = self.now().seconds();
        let outcome = async {
            let InForce { root, targets, top } = self.in_force(ecosystem, &writer).await?;
            for other in people_of(&top) {
                let taken = other.name == role
                    || Names::of(ecosystem, &other).is_some_and(|other| names.overlaps(&other));
                if taken {
                    return Err(Error::new(
                        Kind::Conflict,
                        "tuf-namespace-overlap",
                        format!(
                            "{} of {ecosystem} has names in common with {}, which its owners sign already.",
                            names.pattern(),
                            Names::of(ecosystem, &other)
                                .map_or(other.name.clone(), |other| other.pattern()),
                        ),
                    )
                    .remedy("Take that back first with `countersignd tuf namespace remove`."));
                }
            }
            let mut next = Targets {
                version: top.version.saturating_add(1),
                expires: top.expires.max(now + days * DAY),
                ..top
            };
            let delegations = next.delegations.as_mut();
            let delegations = delegations.ok_or_else(|| no_targets(ecosystem))?;
            let Delegated::Listed(roles) = &mut delegations.roles else {
                return Err(no_targets(ecosystem));
            };
            let ids: Vec<String> = owners.keys.iter().map(Key::id).collect();
            for key in &owners.keys {
                delegations.keys.insert(key.id(), key.clone());
            }
            let delegated = DelegatedRole {
                name: role.clone(),
                keys: RoleKeys::new(ids, owners.threshold),
                terminating: true,
                scope: Scope::Paths(vec![names.scope()]),
            };
            let at = roles.iter().position(|role| role.name == INDEX);
            roles.insert(at.unwrap_or(roles.len()), delegated);
            // What is listed in bins now is what the owners are asked for, as far as it is not older than what is served.
            let rows = self
                .inner
                .store
                .tuf_targets(ecosystem.as_str(), &[ALL_PLACES])
                .await?;
            let scope = Scope::Paths(vec![names.scope()]);
            let mut listed = Contents::new();
            for row in rows.iter().filter(|row| scope.holds(&row.path)) {
                listed.insert(row.path.clone(), row.target()?);
            }
            let (contents, _) = self.to_be_signed(&names, &listed).await?;
            self.offer(&contents).await?;
            // A namespace that was taken back once goes on where it ended: clients remember its version.
            let before = self
                .inner
                .store
                .tuf_newest(ecosystem.as_str(), &role)
                .await?;
            let document = Targets {
                targets: contents,
                ..Targets::empty(
                    before.as_ref().map_or(0, |row| row.version) + 1,
                    now + owners.days * DAY,
                )
            };
            let first = RoleDocument {
                role: role.clone(),
                before: before.as_ref().map(|row| row.body.as_bytes()),
                next: document,
            };
            Part::with_roles(Some(&root), Some(&targets), None, Some(next), vec![first])
                .map_err(refused)
        }
        .await;
        writer.keep();
        outcome
    }

    /// What people are to sign so that a namespace is the server's to sign again: top-level targets without its role. The
    /// projects come back into bins as they were signed last, in the commit that publishes it.
    ///
    /// # Errors
    /// `tuf-namespace-unknown`. For operators alone.
    pub async fn remove_tuf_namespace(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        pattern: &str,
        days: i64,
    ) -> Result<Part> {
        policy::may_operate(actor, "hold ceremonies")?;
        let names = Names::parse(ecosystem, pattern)?;
        let writer = self.tuf_writer(ecosystem.as_str()).await?;
        let in_force = self.in_force(ecosystem, &writer).await;
        writer.keep();
        let InForce { root, targets, top } = in_force?;
        let role = people_of(&top).into_iter().find(|role| names.is_of(role));
        let role = role.ok_or_else(|| unknown(ecosystem, pattern))?.name;
        let mut next = Targets {
            version: top.version.saturating_add(1),
            expires: top.expires.max(self.now().seconds() + days * DAY),
            ..top
        };
        let delegations = next.delegations.as_mut();
        if !delegations.is_some_and(|delegations| delegations.remove(&role)) {
            return Err(unknown(ecosystem, pattern));
        }
        Part::new(Some(&root), Some(&targets), None, Some(next)).map_err(refused)
    }

    /// What the owners of a namespace are to sign next: all its index documents as they are served now. Nothing where nothing
    /// waits and its end is far.
    ///
    /// # Errors
    /// `tuf-namespace-unknown`. For operators alone.
    pub async fn next_tuf_namespace(
        &self,
        actor: &Actor,
        ecosystem: Ecosystem,
        pattern: &str,
        days: i64,
    ) -> Result<Option<Part>> {
        policy::may_operate(actor, "hold ceremonies")?;
        let names = Names::parse(ecosystem, pattern)?;
        let role = names.role();
        let writer = self.tuf_writer(ecosystem.as_str()).await?;
        let in_force = self.in_force(ecosystem, &writer).await;
        writer.keep();
        let InForce { root, targets, top } = in_force?;
        if !people_of(&top).iter().any(|other| names.is_of(other)) {
            return Err(unknown(ecosystem, pattern));
        }
        let store = &self.inner.store;
        let before = store.tuf_newest(ecosystem.as_str(), &role).await?;
        let before = before.ok_or_else(|| no_targets(ecosystem))?;
        let signed = super::listed(&role, &before.body)?;
        let (contents, waiting) = self.to_be_signed(&names, &signed.targets).await?;
        let now = self.now().seconds();
        if waiting.is_empty() && !is_due(self.lifetimes_before(), signed.expires, now) {
            return Ok(None);
        }
        self.offer(&contents).await?;
        let next = Targets {
            targets: contents,
            ..Targets::empty(before.version + 1, now + days * DAY)
        };
        let document = RoleDocument {
            role,
            before: Some(before.body.as_bytes()),
            next,
        };
        let part = Part::with_roles(Some(&root), Some(&targets), None, None, vec![document]);
        part.map(Some).map_err(refused)
    }

    fn lifetimes_before(&self) -> i64 {
        countersign_trust::tuf::repository::Lifetimes::default().offline_before
    }

    /// All namespaces that their owners sign, with what waits.
    ///
    /// # Errors
    /// Where the database fails or a key is away.
    pub async fn tuf_namespaces(&self) -> Result<Vec<TufNamespace>> {
        let mut namespaces = Vec::new();
        let now = self.now().seconds();
        for ecosystem in OWN {
            let store = &self.inner.store;
            let Some(top) = store.tuf_newest(ecosystem.as_str(), "targets").await? else {
                continue;
            };
            let top = super::listed("targets", &top.body)?;
            for role in people_of(&top) {
                let Some(names) = Names::of(ecosystem, &role) else {
                    continue;
                };
                let Some(row) = store.tuf_newest(ecosystem.as_str(), &role.name).await? else {
                    continue;
                };
                let document = super::listed(&role.name, &row.body)?;
                let (_, waiting) = self.to_be_signed(&names, &document.targets).await?;
                let delegations = top.delegations.as_ref();
                let key = |id: &str| delegations.and_then(|of| of.keys.get(id));
                let (keys, identities) = signers(&role.keys, key);
                namespaces.push(TufNamespace {
                    repository: ecosystem.as_str().to_owned(),
                    pattern: names.pattern(),
                    keys,
                    identities,
                    threshold: role.keys.threshold,
                    version: row.version,
                    expires: document.expires,
                    due: is_due(self.lifetimes_before(), document.expires, now),
                    signed: document.targets.len(),
                    waiting,
                    role: role.name,
                });
            }
        }
        Ok(namespaces)
    }

    /// Who must sign the index document of a project before clients of TUF see it, where that is not the server; as far as this
    /// process knows.
    pub(crate) fn tuf_people(&self, ecosystem: Ecosystem, key: &str) -> Option<String> {
        let known = self.inner.tuf.people(ecosystem.as_str())?;
        let path = target_path(ecosystem, key);
        let role = known.iter().find(|role| role.scope.holds(&path))?;
        Some(role.name.clone())
    }
}

fn is_due(before: i64, expires: i64, now: i64) -> bool {
    expires.saturating_sub(before) <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(ecosystem: Ecosystem, pattern: &str) -> Names {
        Names::parse(ecosystem, pattern).unwrap()
    }

    #[test]
    fn a_namespace_means_the_targets_of_its_projects_and_is_read_back_from_its_role() {
        for (ecosystem, pattern, written, scope, role) in [
            (
                Ecosystem::Npm,
                "@acme/*",
                "@acme/*",
                "npm/@acme/*/packument.json",
                "scope-acme",
            ),
            (
                Ecosystem::Pypi,
                "Acme_*",
                "acme-*",
                "pypi/acme-*/index.json",
                "names-acme-",
            ),
            (
                Ecosystem::Pypi,
                "Acme.Tools",
                "acme-tools",
                "pypi/acme-tools/index.json",
                "project-acme-tools",
            ),
        ] {
            let found = names(ecosystem, pattern);
            assert_eq!(found.pattern(), written);
            assert_eq!(found.scope(), scope);
            assert_eq!(found.role(), role);
            let delegated = DelegatedRole {
                name: found.role(),
                keys: RoleKeys::default(),
                terminating: true,
                scope: Scope::Paths(vec![found.scope()]),
            };
            assert!(found.is_of(&delegated));
            assert_eq!(Names::of(ecosystem, &delegated), Some(found));
        }
        // Whose role has the same name is another one all the same.
        let (tools, dotted) = (
            names(Ecosystem::Npm, "@acme/tools"),
            names(Ecosystem::Npm, "acme.tools"),
        );
        assert_eq!(tools.role(), dotted.role());
        let delegated = DelegatedRole {
            name: tools.role(),
            keys: RoleKeys::default(),
            terminating: true,
            scope: Scope::Paths(vec![tools.scope()]),
        };
        assert!(tools.is_of(&delegated) && !dotted.is_of(&delegated));
        for (ecosystem, pattern) in [
            (Ecosystem::Pypi, "*"),
            (Ecosystem::Pypi, ""),
            (Ecosystem::Pypi, "a*b*"),
            (Ecosystem::Pypi, "acme-[ab]"),
            (Ecosystem::Pypi, "../x"),
            (Ecosystem::Npm, "@acme/pre*"),
            (Ecosystem::Npm, "@acme*"),
        ] {
            let refused = Names::parse(ecosystem, pattern).unwrap_err();
            assert_eq!(refused.code, "tuf-namespace", "{pattern}");
        }
    }

    #[test]
    fn two_namespaces_with_a_name_in_common_are_seen() {
        let of = |pattern: &str| names(Ecosystem::Npm, pattern);
        for (one, other, common) in [
            ("acme-*", "acme-x-*", true),
            ("acme-*", "acme-x", true),
            ("acme-*", "acme", false),
            ("acme*", "acme", true),
            ("@acme/*", "acme-*", false),
            ("@acme/*", "@acme/one", true),
            ("@acme/*", "@acme-two/*", false),
            ("one", "one", true),
            ("one", "two", false),
        ] {
            assert_eq!(of(one).overlaps(&of(other)), common, "{one} {other}");
            assert_eq!(of(other).overlaps(&of(one)), common, "{other} {one}");
        }
    }
}
