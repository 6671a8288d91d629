//! The repositories of our own index: one for each ecosystem, and the root of roots, whose targets are their roots.

use std::collections::BTreeMap;

use countersign_formats::Ecosystem;
use countersign_trust::digest::Sha256;
use countersign_trust::sigstore::Signs;
use countersign_trust::tuf::ceremony::RootPlan;
use countersign_trust::tuf::repository::{BINS, Draft, INDEX, Lifetimes, delegations, wanted_bits};
use countersign_trust::tuf::{
    Envelope, Key, Refusal, RoleKeys, Root, SuccinctRoles, TOP_LEVEL, TargetFile, Targets,
};
use serde::Serialize;

use super::{Prepared, Terms, Writer, keys, refused};
use crate::Registry;
use crate::error::{Error, Result};
use crate::store::WRITE_CONFLICT;

/// Whose indices are signed.
pub(crate) const OWN: [Ecosystem; 3] = [Ecosystem::Cargo, Ecosystem::Npm, Ecosystem::Pypi];

/// The repository that lists the roots of the others.
pub(crate) const ROOTS: &str = "roots";

/// How long what people sign is good for in development: one year.
const YEAR: i64 = 365 * 86_400;

/// The last part of the target that is a project's index document.
pub(crate) fn document_name(ecosystem: Ecosystem) -> &'static str {
    match ecosystem {
        Ecosystem::Pypi => "index.json",
        Ecosystem::Npm => "packument.json",
        Ecosystem::Cargo => "index.jsonl",
    }
}

/// The path of the target that is a project's index document.
pub(crate) fn target_path(ecosystem: Ecosystem, key: &str) -> String {
    format!("{ecosystem}/{key}/{}", document_name(ecosystem))
}

/// The path of the target of the root of roots that is an ecosystem's root.
fn root_path(ecosystem: Ecosystem) -> String {
    format!("{ecosystem}/root.json")
}

fn no_root(ecosystem: Ecosystem) -> Error {
    Error::internal("a TUF repository has no root", ecosystem.to_string())
}

/// The names and places of the bins of a division.
pub(super) fn division(bits: u8) -> SuccinctRoles {
    SuccinctRoles {
        keys: RoleKeys::default(),
        bit_length: bits,
        name_prefix: BINS.to_owned(),
    }
}

/// A repository of ours, for people and programs.
#[derive(Clone, Debug, Serialize)]
pub struct TufRepository {
    /// Its name; that of the root of roots is `roots`.
    pub name: String,
    /// Where its metadata is, below the site.
    pub metadata_path: String,
    /// The version of its newest root.
    pub root_version: u64,
    /// SHA-256 of the newest root's file.
    pub root_sha256: String,
    /// The ids of the keys of which `root_threshold` must sign a root.
    pub root_keys: Vec<String>,
    /// How many must.
    pub root_threshold: u64,
    /// When that root ends, in seconds since 1970 UTC.
    pub root_expires: i64,
    /// The version of its timestamp.
    pub version: u64,
    /// Every key lies with the server.
    pub development: bool,
}

/// All that a client must know to begin.
#[derive(Clone, Debug, Serialize)]
pub struct TufTrust {
    /// Where the targets of our own index are, below the site; their names begin with their digests.
    pub targets_path: String,
    /// The repositories.
    pub repositories: Vec<TufRepository>,
    /// Every key of at least one of them lies with the server: whoever has the server has all.
    pub development: bool,
}

/// Path of a repository's metadata below the site.
fn metadata_path(name: &str) -> String {
    if name == ROOTS {
        "/tuf/".to_owned()
    } else {
        format!("/tuf/{name}/")
    }
}

/// The keys of a repository in development: each role its own, all in the folder of keys.
struct Keys {
    terms: Terms,
    root: Box<dyn Signs>,
    targets: Box<dyn Signs>,
}

fn signed_root(plan: &RootPlan, before: Option<&Root>, by: &dyn Signs) -> Result<Vec<u8>, Refusal> {
    let mut envelope = Envelope::unsigned(plan.root(before)?);
    envelope.sign("root", by)?;
    Ok(envelope.to_bytes())
}

impl Registry {
    /// Makes the repositories that are missing, in development mode: at `init`, and at the first start after an upgrade. All
    /// in one transaction: a crash leaves nothing but the seed of their keys, which the next start takes.
    ///
    /// # Errors
    /// `tuf-key-missing`; where the database fails.
    pub async fn found_tuf_if_missing(&self) -> Result<()> {
        let known = self.inner.store.tuf_versions().await?;
        let missing = |name: &str| known.iter().all(|(other, _)| other != name);
        let mut founded = Vec::new();
        let mut roots = BTreeMap::new();
        for ecosystem in OWN {
            let name = ecosystem.as_str();
            let root = if missing(name) {
                let (writer, prepared) = self.found_own(name, Some(ecosystem), None).await?;
                let root = prepared.publication.files.first();
                let root = root.map(|root| root.body.clone());
                founded.push((writer, prepared));
                root
            } else {
                let newest = self.inner.store.tuf_newest(name, "root").await?;
                newest.map(|root| root.body)
            };
            let root = root.ok_or_else(|| no_root(ecosystem))?;
            roots.insert(root_path(ecosystem), TargetFile::of(root.as_bytes()));
        }
        if missing(ROOTS) {
            founded.push(self.found_own(ROOTS, None, Some(roots)).await?);
        }
        if founded.is_empty() {
            return Ok(());
        }
        let now = self.now();
        let mut tx = self.inner.store.write().await?;
        for (_, prepared) in &founded {
            match tx.publish_tuf(&prepared.publication, now).await {
                // Another process was a moment earlier, with all of them.
                Err(error) if error.code == WRITE_CONFLICT => return Ok(()),
                other => other?,
            }
        }
        tx.commit().await?;
        for (writer, prepared) in founded {
            writer.published(self, prepared);
        }
        Ok(())
    }

    /// The first commit of a repository of ours: with bins for an ecosystem, with `listed` targets else.
    async fn found_own(
        &self,
        name: &str,
        ecosystem: Option<Ecosystem>,
        listed: Option<BTreeMap<String, TargetFile>>,
    ) -> Result<(Writer, Prepared)> {
        let Keys {
            terms,
            root,
            targets,
        } = self.development_keys(name)?;
        let now = self.now().seconds();
        let folder = self.key_folder();
        let of_role =
            |role: &str| -> Result<Key> { Key::of(&*terms.signer(role, folder)?).map_err(refused) };
        let mut roles = BTreeMap::new();
        for role in TOP_LEVEL {
            roles.insert(role.to_owned(), (vec![of_role(role)?], 1));
        }
        let plan = RootPlan {
            expires: now + YEAR,
            roles,
            development: true,
        };
        let root = signed_root(&plan, None, &*root).map_err(refused)?;
        let mut document = Targets::empty(1, now + YEAR);
        // As fine at once as what is there already asks for: the name of a bin stays listed for ever.
        let mut bins = None;
        if let Some(ecosystem) = ecosystem {
            let index = terms.signer("index", folder)?;
            document.delegations = Some(delegations(Vec::new(), &*index).map_err(refused)?);
            bins = Some(division(wanted_bits(
                self.inner.store.visible_count(ecosystem).await?,
            )));
        }
        let listed = listed.unwrap_or_default();
        document.targets.clone_from(&listed);
        let mut signed = Envelope::unsigned(document);
        signed.sign("targets", &*targets).map_err(refused)?;
        let signed = signed.to_bytes();
        let edit = |draft: &mut Draft<'_>| {
            draft.targets(&signed)?;
            if let Some(bins) = &bins {
                draft.divide(bins.bit_length)?;
                for bin in 0..bins.count() {
                    draft.bin(&bins.name(bin), BTreeMap::new())?;
                }
            }
            Ok(())
        };
        let listed = listed.into_iter().collect();
        self.found_tuf(name, terms, &root, edit, listed).await
    }

    fn development_keys(&self, name: &str) -> Result<Keys> {
        let folder = self.key_folder();
        keys::development_seed(folder, self.inner.seams.random.bytes32())?;
        let roles = TOP_LEVEL.into_iter().chain([INDEX, BINS]);
        let terms = Terms {
            development: true,
            keys: roles
                .map(|role| (role.to_owned(), keys::derived(name, role)))
                .collect(),
            lifetimes: Lifetimes::default(),
            keep_former: true,
            fixed_bins: false,
            next: BTreeMap::new(),
            targets_good_for: None,
        };
        Ok(Keys {
            root: terms.signer("root", folder)?,
            targets: terms.signer("targets", folder)?,
            terms,
        })
    }

    /// The newest root of each ecosystem, as a target.
    pub(super) async fn roots_to_list(&self) -> Result<BTreeMap<String, TargetFile>> {
        let mut listed = BTreeMap::new();
        for ecosystem in OWN {
            let root = self
                .inner
                .store
                .tuf_newest(ecosystem.as_str(), "root")
                .await?;
            let root = root.ok_or_else(|| no_root(ecosystem))?;
            listed.insert(root_path(ecosystem), TargetFile::of(root.body.as_bytes()));
        }
        Ok(listed)
    }

    /// What a client must know to begin.
    ///
    /// # Errors
    /// Where the database fails, or holds what it should not.
    pub async fn tuf_trust(&self) -> Result<TufTrust> {
        let mut repositories = Vec::new();
        for name in [ROOTS]
            .into_iter()
            .chain(OWN.iter().map(|own| own.as_str()))
        {
            let store = &self.inner.store;
            let (Some(row), Some(newest)) = (
                store.tuf_repository(name).await?,
                store.tuf_newest(name, "root").await?,
            ) else {
                continue;
            };
            let terms: Terms = serde_json::from_str(&row.terms)
                .map_err(|source| Error::internal("stored terms of TUF are malformed", source))?;
            let limits = countersign_trust::tuf::Limits::default();
            let root = Envelope::<Root>::parse("root", newest.body.as_bytes(), &limits)
                .map_err(|source| Error::internal("a stored root is malformed", source))?;
            let role = root.document.roles.get("root").cloned().unwrap_or_default();
            repositories.push(TufRepository {
                name: name.to_owned(),
                metadata_path: metadata_path(name),
                root_version: newest.version,
                root_sha256: Sha256::of(newest.body.as_bytes()).to_hex(),
                root_keys: role.keyids.clone(),
                root_threshold: role.threshold,
                root_expires: root.document.expires,
                version: row.version,
                development: terms.development,
            });
        }
        Ok(TufTrust {
            targets_path: "/tuf/targets/".to_owned(),
            development: repositories.iter().any(|repository| repository.development),
            repositories,
        })
    }
}
