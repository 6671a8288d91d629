//! A registry in memory with all its keys at hand: signed indices, a log with its map, files. So that what a registry
//! itself could do is tried too.

use std::collections::{BTreeMap, HashMap};

use countersign_trust::checkpoint::Checkpoint;
use countersign_trust::completeness::{Completeness, Place};
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{self, Leaf, LeafKind, ParsedLeaf};
use countersign_trust::map::{
    self, EMPTY_MAP, ProjectState, Replay, Walk, project_key, project_of,
};
use countersign_trust::note::{KeyName, SignerKey};
use countersign_trust::sigstore::{Ed25519Signer, Signs};
use countersign_trust::tlog::{self, grow, inclusion_proof, leaf_hash};
use countersign_trust::tuf::ceremony::{Pending, RootPlan};
use countersign_trust::tuf::repository::{Draft, Lifetimes, OnlineKeys, Repository, delegations};
use countersign_trust::tuf::{Extra, Key, Root, TargetFile, Targets};
use serde_json::{Value, json};

const ORIGIN: &str = "packages.example/log/1";
const YEAR: i64 = 365 * 86_400;
/// 2 to the power of it is the number of bins.
const BITS: u8 = 4;

/// What a wheel of this registry holds; nobody unpacks it.
pub fn contents(name: &str, version: &str) -> Vec<u8> {
    format!("a wheel: {name} {version}\n")
        .repeat(40)
        .into_bytes()
}

fn wheel(name: &str, version: &str) -> String {
    format!("{name}-{version}-py3-none-any.whl")
}

fn metadata(name: &str, version: &str) -> Vec<u8> {
    format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n").into_bytes()
}

fn signer(seed: u8) -> Ed25519Signer {
    Ed25519Signer::new(&[seed; 32]).unwrap()
}

/// A TUF repository with its files; two of three keys sign its root.
struct Signed {
    seed: u8,
    lifetimes: Lifetimes,
    repository: Repository,
    files: BTreeMap<String, Vec<u8>>,
    targets: BTreeMap<String, Vec<u8>>,
}

impl Signed {
    fn new(seed: u8, now: i64, targets: BTreeMap<String, Vec<u8>>) -> Self {
        let root = Self::root(seed, now + YEAR, None, &[seed, seed + 1], now);
        let repository = Repository::new(&root).unwrap();
        let mut signed = Self {
            seed,
            lifetimes: Lifetimes::default(),
            repository,
            files: BTreeMap::from([("1.root.json".to_owned(), root)]),
            targets,
        };
        let top = Targets {
            delegations: Some(delegations(Vec::new(), &signer(seed + 6)).unwrap()),
            ..Targets::empty(1, now + YEAR)
        };
        let mut pending =
            Pending::targets("targets", top, "root", signed.repository.root()).unwrap();
        pending.sign(&signer(seed + 3)).unwrap();
        let top = pending.finish(now).unwrap();
        signed.change(now, |draft| {
            draft.targets(&top).unwrap();
            draft.divide(BITS).unwrap();
        });
        signed
    }

    /// A root after another one, with the signatures of these keys of its own three.
    fn root(seed: u8, expires: i64, before: Option<&Root>, by: &[u8], now: i64) -> Vec<u8> {
        let key = |seed: u8| Key::of(&signer(seed)).unwrap();
        let role = |name: &str, keys: Vec<Key>, threshold| (name.to_owned(), (keys, threshold));
        let plan = RootPlan {
            expires,
            roles: BTreeMap::from([
                role("root", vec![key(seed), key(seed + 1), key(seed + 2)], 2),
                role("targets", vec![key(seed + 3)], 1),
                role("timestamp", vec![key(seed + 4)], 1),
                role("snapshot", vec![key(seed + 5)], 1),
            ]),
            development: false,
        };
        let mut pending = Pending::root(plan.root(before).unwrap(), before).unwrap();
        for seed in by {
            pending.sign(&signer(*seed)).unwrap();
        }
        match by.len() {
            0 | 1 => pending.to_bytes(),
            _ => pending.finish(now.min(expires - 1)).unwrap(),
        }
    }

    /// Signs all bins anew, with what `change` does before.
    fn change(&mut self, now: i64, change: impl FnOnce(&mut Draft<'_>)) {
        let signers: Vec<Ed25519Signer> = (4..8).map(|role| signer(self.seed + role)).collect();
        let signs: Vec<&dyn Signs> = signers.iter().map(|signer| signer as &dyn Signs).collect();
        let keys = OnlineKeys {
            timestamp: signs[0],
            snapshot: signs[1],
            index: signs[2],
            bins: signs[3],
        };
        let mut draft = self.repository.draft(now, &self.lifetimes, keys);
        change(&mut draft);
        for bin in 0..1u32 << BITS {
            let of_bin = |path: &str| {
                let digest = Sha256::of(path.as_bytes());
                let [a, b, c, d, ..] = *digest.as_bytes();
                u32::from_be_bytes([a, b, c, d]) >> (32 - u32::from(BITS)) == bin
            };
            let targets = self.targets.iter().filter(|(path, _)| of_bin(path));
            let targets = targets.map(|(path, bytes)| (path.clone(), TargetFile::of(bytes)));
            draft
                .bin(&format!("bins-{bin:x}"), targets.collect())
                .unwrap();
        }
        let commit = draft.finish(Extra::default()).unwrap();
        for write in commit.writes {
            self.files.insert(write.file, write.bytes);
        }
        self.repository = commit.repository;
    }
}

/// The registry.
pub struct PaperRegistry {
    now: i64,
    roots: Signed,
    pypi: Signed,
    entries: Vec<String>,
    chains: HashMap<String, (u64, u64)>,
    /// The versions of each project that its index lists.
    listed: BTreeMap<String, Vec<String>>,
    /// It shows a map of so many entries, and nothing newer.
    pub map_ends: Option<u64>,
}

impl PaperRegistry {
    /// An empty one. Everything happened an hour ago.
    pub fn new(now: i64) -> Self {
        let now = now - 3600;
        let pypi = Signed::new(10, now, BTreeMap::new());
        let root = pypi.files["1.root.json"].clone();
        let roots = BTreeMap::from([("pypi/root.json".to_owned(), root)]);
        let mut registry = Self {
            now,
            roots: Signed::new(30, now, roots),
            pypi,
            entries: Vec::new(),
            chains: HashMap::new(),
            listed: BTreeMap::new(),
            map_ends: None,
        };
        let genesis = Leaf::log_genesis(None, now * 1_000_000).to_text().unwrap();
        registry.entries.push(genesis);
        registry
    }

    fn log(&mut self, make: impl FnOnce(u64, Option<u64>) -> Leaf, subject: &str) {
        let index = self.entries.len() as u64;
        let project = project_of(subject).to_owned();
        let before = self.chains.get(&project).copied();
        let leaf = make(
            before.map_or(1, |(sequence, _)| sequence + 1),
            before.map(|(_, at)| at),
        );
        self.chains.insert(
            project,
            (before.map_or(1, |(sequence, _)| sequence + 1), index),
        );
        self.entries.push(leaf.to_text().unwrap());
    }

    /// Publishes a wheel: log, index, TUF.
    pub fn publish(&mut self, name: &str, version: &str) {
        let bytes = contents(name, version);
        let subject = format!(
            "pkg:pypi/{name}@{version}?file_name={}",
            wheel(name, version)
        );
        let (digest, size) = (Sha256::of(&bytes), bytes.len() as u64);
        let time = self.now * 1_000_000;
        let purl = subject.clone();
        self.log(
            |sequence, previous| {
                Leaf::file_published(subject, digest, size, time, sequence, previous)
            },
            &purl,
        );
        let versions = self.listed.entry(name.to_owned()).or_default();
        versions.push(version.to_owned());
        self.sign();
    }

    /// Takes a version out of the index, and says so in the log only if it is honest.
    pub fn take_out(&mut self, name: &str, version: &str, kind: Option<LeafKind>) {
        if let Some(versions) = self.listed.get_mut(name) {
            versions.retain(|listed| listed != version);
        }
        if let Some(kind) = kind {
            let subject = format!("pkg:pypi/{name}@{version}");
            let (time, purl) = (self.now * 1_000_000, subject.clone());
            self.log(
                |sequence, previous| Leaf::about(kind, subject, time, sequence, previous),
                &purl,
            );
        }
        self.sign();
    }

    /// Another digest for a file in the index than in the log.
    pub fn replace_in_index(&mut self, name: &str) {
        let path = format!("pypi/{name}/index.json");
        let document = String::from_utf8(self.pypi.targets[&path].clone()).unwrap();
        let version = self.listed[name].first().unwrap();
        let digest = Sha256::of(&contents(name, version)).to_hex();
        let other = Sha256::of(b"something else").to_hex();
        let document = document.replace(&digest, &other);
        self.pypi.targets.insert(path, document.into_bytes());
        self.pypi.change(self.now, |_| {});
    }

    fn sign(&mut self) {
        for (name, versions) in &self.listed {
            let files: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let (bytes, file) = (contents(name, version), wheel(name, version));
                    let (digest, size) = (Sha256::of(&bytes).to_hex(), bytes.len());
                    let metadata = Sha256::of(&metadata(name, version)).to_hex();
                    json!({
                        "filename": file, "url": format!("/files/{digest}/{file}"), "hashes": {"sha256": digest},
                        "size": size, "yanked": false, "core-metadata": {"sha256": metadata},
                    })
                })
                .collect();
            let document = json!({"meta": {"api-version": "1.4"}, "name": name, "versions": versions, "files": files});
            let path = format!("pypi/{name}/index.json");
            self.pypi
                .targets
                .insert(path, document.to_string().into_bytes());
        }
        self.pypi.change(self.now, |_| {});
    }

    /// Adds so many roots, each ending a day later than the one before; the first ones are over.
    pub fn rotate(&mut self, count: i64) {
        for number in 0..count {
            let before = self.pypi.repository.root().clone();
            // They end when only the newest is in time.
            let expires = match number + 1 == count {
                true => self.now + YEAR,
                false => self.now - 86_400 * (count - number),
            };
            let by = [self.pypi.seed, self.pypi.seed + 1];
            let root = Signed::root(self.pypi.seed, expires, Some(&before), &by, self.now - YEAR);
            let file = format!("{}.root.json", before.version + 1);
            self.pypi.files.insert(file, root.clone());
            self.pypi.repository = {
                let mut next = Repository::new(&root).unwrap();
                std::mem::swap(&mut next, &mut self.pypi.repository);
                self.pypi.repository.clone()
            };
        }
    }

    /// The next root, signed by one of the two that it takes.
    pub fn half_signed_root(&self) -> (String, Vec<u8>) {
        let before = self.pypi.repository.root();
        let seed = self.pypi.seed;
        let root = Signed::root(seed, self.now + YEAR, Some(before), &[seed], self.now);
        (format!("/tuf/pypi/{}.root.json", before.version + 1), root)
    }

    /// How many entries its log has.
    pub fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    fn key() -> SignerKey {
        SignerKey::generate(KeyName::new(ORIGIN).unwrap(), [1; 32])
    }

    fn completeness(&self, project: &str) -> Vec<u8> {
        let mut replay = Replay::default();
        let covers = self.map_ends.unwrap_or(self.size());
        let (covered, after) = self.entries.split_at(usize::try_from(covers).unwrap());
        for entry in covered {
            if let ParsedLeaf::Known(leaf) = leaf::parse(entry.as_bytes()).unwrap() {
                replay.add(&leaf, &leaf_hash(entry.as_bytes())).unwrap();
            }
        }
        let entries = replay.entries().unwrap();
        let entries: BTreeMap<Sha256, Sha256> = entries
            .into_iter()
            .map(|entry| (entry.key, entry.value))
            .collect();
        let walk = Walk::new(EMPTY_MAP, entries.keys().copied());
        let applied = walk.apply(&entries).unwrap();
        let tiles: HashMap<map::TileId, Vec<u8>> = applied.written.into_iter().collect();
        let commitment = Leaf::map_root(covers, applied.root, self.now * 1_000_000);
        let mut log = covered.to_vec();
        log.push(commitment.to_text().unwrap());
        let root_leaf = log[log.len() - 1].clone();
        log.extend_from_slice(after);

        let hashes: Vec<Sha256> = log
            .iter()
            .map(|entry| leaf_hash(entry.as_bytes()))
            .collect();
        let none: HashMap<tlog::TileId, Vec<u8>> = HashMap::new();
        let grown: HashMap<tlog::TileId, Vec<u8>> =
            grow(0, &hashes, &none).unwrap().into_iter().collect();
        let size = log.len() as u64;
        let checkpoint = Checkpoint::new(ORIGIN, size, tlog::root(size, &grown).unwrap());
        let key = project_key(project);
        let mut walk = Walk::new(applied.root, [key]);
        loop {
            let wanted = walk.wanted();
            if wanted.is_empty() {
                break;
            }
            for (id, prefix) in wanted {
                walk.supply(id, &prefix, &tiles[&id]).unwrap();
            }
        }
        let of_project = |entry: &&String| {
            let ParsedLeaf::Known(leaf) = leaf::parse(entry.as_bytes()).unwrap() else {
                return false;
            };
            leaf.subject.as_deref().map(project_of) == Some(project)
        };
        let text = Completeness {
            project: project.to_owned(),
            after: ProjectState::NONE,
            root_place: Place {
                index: covers,
                hashes: inclusion_proof(covers, size, &grown).unwrap(),
            },
            root_leaf,
            proof: walk.prove(&key).unwrap(),
            covered: covered.iter().filter(of_project).cloned().collect(),
            newer: Vec::new(),
            checkpoint: checkpoint.sign(&Self::key(), None),
        };
        text.to_string().into_bytes()
    }

    /// What stands at an address.
    pub fn answer(&self, path: &str) -> (u16, Vec<u8>) {
        match self.find(path) {
            Some(body) => (200, body),
            None => (404, Vec::new()),
        }
    }

    fn find(&self, path: &str) -> Option<Vec<u8>> {
        if path == "/.well-known/countersign.json" {
            let announced = json!({
                "log": {"origin": ORIGIN, "verifier_keys": [Self::key().verifier().to_string()], "url": "/log/1/"},
                "tuf": {
                    "targets_path": "/tuf/targets/",
                    "repositories": [{"name": "roots", "metadata_path": "/tuf/", "root_version": 1}],
                },
            });
            return Some(announced.to_string().into_bytes());
        }
        if let Some(target) = path.strip_prefix("/tuf/targets/") {
            let (folder, file) = target.rsplit_once('/')?;
            let (digest, name) = file.split_once('.')?;
            let path = format!("{folder}/{name}");
            let mut all = [&self.pypi.targets, &self.roots.targets].into_iter();
            let bytes = all.find_map(|targets| targets.get(&path))?;
            return (Sha256::of(bytes).to_hex() == digest).then(|| bytes.clone());
        }
        if let Some(file) = path.strip_prefix("/tuf/pypi/") {
            return self.pypi.files.get(file).cloned();
        }
        if let Some(file) = path.strip_prefix("/tuf/") {
            return self.roots.files.get(file).cloned();
        }
        if let Some(name) = path.strip_prefix("/api/v1/log/completeness/pypi/") {
            return Some(self.completeness(&format!("pkg:pypi/{name}")));
        }
        let file = path.strip_prefix("/files/")?.split_once('/')?.1;
        let (name, rest) = file.split_once('-')?;
        let version = rest.split_once('-')?.0;
        let listed = self.listed.get(name)?.iter().any(|known| known == version);
        match (listed, file.ends_with(".metadata")) {
            (false, _) => None,
            (true, true) => Some(metadata(name, version)),
            (true, false) => Some(contents(name, version)),
        }
    }
}
