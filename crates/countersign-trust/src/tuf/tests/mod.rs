//! A repository in memory, kept by our writer, and clients that read it; attacks stand between the two.

mod attacks;
mod ceremonies;
mod reading;
mod writing;

use std::collections::BTreeMap;

use super::ceremony::{Pending, RootPlan};
use super::client::{Client, Look, Request, Trusted};
use super::repository::{Commit, Draft, Lifetimes, OnlineKeys, Repository, delegations};
use super::{Document, Envelope, Extra, Key, Limits, Refusal, Root, TargetFile, Targets};
use crate::sigstore::{Ed25519Signer, P256Signer, Signs};

/// 2026-11-21T00:00:00Z.
pub(super) const NOW: i64 = 1_795_219_200;
pub(super) const DAY: i64 = 86_400;

pub(super) type Files = BTreeMap<String, Vec<u8>>;

pub(super) fn ed25519(seed: u8) -> Ed25519Signer {
    Ed25519Signer::new(&[seed; 32]).unwrap()
}

/// The keys of a repository: two of three for the root, one for the targets, one for each online role.
pub(super) struct Keys {
    pub root: Vec<Box<dyn Signs>>,
    pub targets: Box<dyn Signs>,
    pub timestamp: Box<dyn Signs>,
    pub snapshot: Box<dyn Signs>,
    pub index: Box<dyn Signs>,
    pub bins: Box<dyn Signs>,
}

impl Keys {
    pub fn new() -> Self {
        let p256 = |seed: u8| Box::new(P256Signer::new(&[seed; 32]).unwrap());
        Self {
            root: vec![Box::new(ed25519(1)), p256(2), Box::new(ed25519(3))],
            targets: p256(4),
            timestamp: Box::new(ed25519(5)),
            snapshot: Box::new(ed25519(6)),
            index: Box::new(ed25519(7)),
            bins: Box::new(ed25519(8)),
        }
    }

    pub fn online(&self) -> OnlineKeys<'_> {
        OnlineKeys {
            timestamp: &*self.timestamp,
            snapshot: &*self.snapshot,
            index: &*self.index,
            bins: &*self.bins,
        }
    }

    pub fn plan(&self) -> RootPlan {
        let key = |signer: &dyn Signs| Key::of(signer).unwrap();
        let roles = BTreeMap::from([
            (
                "root".to_owned(),
                (self.root.iter().map(|signer| key(&**signer)).collect(), 2),
            ),
            ("targets".to_owned(), (vec![key(&*self.targets)], 1)),
            ("timestamp".to_owned(), (vec![key(&*self.timestamp)], 1)),
            ("snapshot".to_owned(), (vec![key(&*self.snapshot)], 1)),
        ]);
        RootPlan {
            expires: NOW + 365 * DAY,
            roles,
            development: false,
        }
    }

    /// The root after another one, signed by the first two keys of these and of the ones before.
    pub fn root(&self, plan: &RootPlan, before: Option<(&Root, &Self)>) -> Vec<u8> {
        let new = plan.root(before.map(|(root, _)| root)).unwrap();
        let mut pending = Pending::root(new, before.map(|(root, _)| root)).unwrap();
        for keys in [Some(self), before.map(|(_, keys)| keys)]
            .into_iter()
            .flatten()
        {
            for signer in &keys.root[..2] {
                pending.sign(&**signer).unwrap();
            }
        }
        pending.finish(NOW).unwrap()
    }

    /// A top-level targets document that delegates to the index alone.
    pub fn top(&self, root: &Root, version: u64) -> Vec<u8> {
        let document = Targets {
            delegations: Some(delegations(Vec::new(), &*self.index).unwrap()),
            ..Targets::empty(version, NOW + 365 * DAY)
        };
        let mut pending = Pending::targets("targets", document, "root", root).unwrap();
        pending.sign(&*self.targets).unwrap();
        pending.finish(NOW).unwrap()
    }
}

/// A repository with its files and what is in it.
pub(super) struct World {
    pub keys: Keys,
    pub lifetimes: Lifetimes,
    pub repository: Repository,
    pub files: Files,
    pub contents: BTreeMap<String, Vec<u8>>,
    pub now: i64,
}

impl World {
    /// A repository with 2 to the power of `bits` bins and these documents.
    pub fn new(bits: u8, contents: &[(&str, &str)]) -> Self {
        let keys = Keys::new();
        let root = keys.root(&keys.plan(), None);
        let repository = Repository::new(&root).unwrap();
        let top = keys.top(repository.root(), 1);
        let mut world = Self {
            keys,
            lifetimes: Lifetimes::default(),
            repository,
            files: Files::from([("1.root.json".to_owned(), root)]),
            contents: contents
                .iter()
                .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
                .collect(),
            now: NOW,
        };
        world.divide(bits, Some(top));
        world
    }

    pub fn divide(&mut self, bits: u8, top: Option<Vec<u8>>) {
        let contents = self.contents.clone();
        self.change(move |draft, bins| {
            if let Some(top) = &top {
                draft.targets(top).unwrap();
            }
            draft.divide(bits).unwrap();
            for name in (0..1u64 << bits).map(|bin| bin_name(bits, bin)) {
                draft.bin(&name, of_bin(&contents, bits, &name)).unwrap();
            }
            let _ = bins;
        });
    }

    /// Publishes documents, or takes them away.
    pub fn publish(&mut self, changes: &[(&str, Option<&str>)]) {
        for (path, text) in changes {
            match text {
                Some(text) => self
                    .contents
                    .insert((*path).to_owned(), text.as_bytes().to_vec()),
                None => self.contents.remove(*path),
            };
        }
        let paths: Vec<String> = changes.iter().map(|(path, _)| (*path).to_owned()).collect();
        self.rewrite(&paths);
    }

    /// Signs the bins of these paths anew.
    pub fn rewrite(&mut self, paths: &[String]) {
        let contents = self.contents.clone();
        let paths = paths.to_vec();
        self.change(move |draft, repository| {
            let bits = repository.bins().unwrap().bit_length;
            let mut names: Vec<String> = paths
                .iter()
                .map(|path| repository.role_for(path).unwrap())
                .collect();
            names.sort();
            names.dedup();
            for name in names {
                draft.bin(&name, of_bin(&contents, bits, &name)).unwrap();
            }
        });
    }

    pub fn change(&mut self, change: impl FnOnce(&mut Draft<'_>, &Repository)) -> Commit {
        let commit = self.drafted(change).unwrap();
        self.put(&commit);
        commit
    }

    pub fn drafted(
        &self,
        change: impl FnOnce(&mut Draft<'_>, &Repository),
    ) -> Result<Commit, Refusal> {
        let mut draft = self
            .repository
            .draft(self.now, &self.lifetimes, self.keys.online());
        change(&mut draft, &self.repository);
        draft.finish(Extra::default())
    }

    pub fn put(&mut self, commit: &Commit) {
        for write in &commit.writes {
            let before = self.files.insert(write.file.clone(), write.bytes.clone());
            assert!(
                before.is_none() || write.replaces(),
                "{} is written twice",
                write.file
            );
        }
        self.repository = commit.repository.clone();
    }

    pub fn trusted(&self) -> Trusted {
        Trusted::root(self.files["1.root.json"].clone())
    }
}

pub(super) fn bin_name(bits: u8, bin: u64) -> String {
    let width = usize::from(bits.div_ceil(4));
    format!("bins-{bin:0width$x}")
}

pub(super) fn of_bin(
    contents: &BTreeMap<String, Vec<u8>>,
    bits: u8,
    name: &str,
) -> BTreeMap<String, TargetFile> {
    let number = |path: &str| {
        let digest = crate::digest::Sha256::of(path.as_bytes()).0;
        u64::from(u32::from_be_bytes([
            digest[0], digest[1], digest[2], digest[3],
        ])) >> (32 - u32::from(bits))
    };
    contents
        .iter()
        .filter(|(path, _)| bin_name(bits, number(path)) == name)
        .map(|(path, bytes)| (path.clone(), TargetFile::of(bytes)))
        .collect()
}

/// A client that is brought up to date from files.
pub(super) fn refreshed(trusted: Trusted, now: i64, files: &Files) -> Result<Client, Refusal> {
    refreshed_by(trusted, now, |request| files.get(&request.file).cloned())
}

/// The same, whoever answers.
pub(super) fn refreshed_by(
    trusted: Trusted,
    now: i64,
    mut answer: impl FnMut(&Request) -> Option<Vec<u8>>,
) -> Result<Client, Refusal> {
    let mut client = Client::begin(trusted, now, Limits::default())?;
    while let Some(request) = client.wanted()? {
        let bytes = answer(&request);
        client.give(&request, bytes.as_deref())?;
    }
    Ok(client)
}

/// What a client finds of a path.
pub(super) fn found(
    client: &mut Client,
    path: &str,
    files: &Files,
) -> Result<Option<TargetFile>, Refusal> {
    loop {
        match client.look(path)? {
            Look::Fetch(request) => {
                client.give(&request, files.get(&request.file).map(Vec::as_slice))?;
            }
            Look::Found { target, .. } => return Ok(Some(target)),
            Look::Absent => return Ok(None),
        }
    }
}

/// A document, changed and signed anew by these keys; as somebody with the keys could.
pub(super) fn forged<T: Document>(
    role: &str,
    bytes: &[u8],
    signers: &[&dyn Signs],
    change: impl FnOnce(&mut T),
) -> Vec<u8> {
    let mut document = Envelope::<T>::parse(role, bytes, &Limits::default())
        .unwrap()
        .document;
    change(&mut document);
    let mut envelope = Envelope::unsigned(document);
    for signer in signers {
        envelope.sign(role, *signer).unwrap();
    }
    envelope.to_bytes()
}

/// The same world once more.
pub(super) fn tests_copy(world: &World) -> World {
    World {
        keys: Keys::new(),
        lifetimes: world.lifetimes,
        repository: world.repository.clone(),
        files: world.files.clone(),
        contents: world.contents.clone(),
        now: world.now,
    }
}
