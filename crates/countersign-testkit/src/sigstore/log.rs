//! The two kinds of transparency log: the older Rekor, whose entries carry a signed time, and the newer one, whose
//! entries carry none. An entry stands in a tree of seven, in which all others are filler.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::keys::{EcKey, EdKey};

/// How many entries the tree has, and which of them is the one.
const SIZE: usize = 7;
const PLACE: usize = 4;
/// Where the older log's present tree begins: its entries have an index over all of its trees.
const BEFORE: u64 = 25_901_137;

pub(super) type Hash = [u8; 32];

/// A log's key, by its kind.
#[derive(Debug, Clone)]
pub(super) enum Log {
    V1(EcKey),
    V2(EdKey),
}

/// What goes wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct EntryFaults {
    pub no_promise: bool,
    pub changed_time: bool,
    pub no_proof: bool,
    pub no_checkpoint: bool,
    pub another_tree: bool,
    pub another_place: bool,
    pub changed_body: bool,
}

/// Whose keys sign what an entry comes with: the log's own, unless they are forged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signers<'a> {
    pub promise: &'a Log,
    pub checkpoint: &'a Log,
}

impl Log {
    pub(super) fn host(&self) -> &'static str {
        match self {
            Self::V1(_) => "rekor.sigstore.test",
            Self::V2(_) => "log2026-1.rekor.sigstore.test",
        }
    }

    /// What the log calls itself in its checkpoints.
    fn origin(&self) -> String {
        match self {
            Self::V1(_) => format!("{} - 1193050959916656506", self.host()),
            Self::V2(_) => self.host().to_owned(),
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::V1(key) => key.sign(message),
            Self::V2(key) => key.sign(message),
        }
    }

    /// The older log is named by its key's digest, the newer one as signed notes name their keys.
    pub(super) fn id(&self) -> Hash {
        match self {
            Self::V1(key) => Sha256::digest(key.public()).into(),
            Self::V2(key) => {
                let name = format!("{}\n\u{1}", self.host());
                Sha256::digest([name.as_bytes(), &key.raw()].concat()).into()
            }
        }
    }

    /// The log in a trusted root.
    pub(super) fn trusted(&self, start: &str) -> Value {
        let (key, details) = match self {
            Self::V1(key) => (key.public(), "PKIX_ECDSA_P256_SHA_256"),
            Self::V2(key) => (key.public(), "PKIX_ED25519"),
        };
        json!({
            "baseUrl": format!("https://{}", self.host()),
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": STANDARD.encode(key),
                "keyDetails": details,
                "validFor": {"start": start},
            },
            "logId": {"keyId": STANDARD.encode(self.id())},
        })
    }

    /// The log's entry for a canonical body, at a second since 1970.
    pub(super) fn entry(
        &self,
        body: &Value,
        seconds: i64,
        by: Signers<'_>,
        faults: EntryFaults,
    ) -> Value {
        let (kind, version) = (&body["kind"], &body["apiVersion"]);
        let logged = body.to_string().into_bytes();
        let mut leaves: Vec<Hash> = (0..SIZE).map(filler).collect();
        leaves[PLACE] = leaf_hash(&logged);
        let root = root(&leaves);
        let mut proof = path(&leaves, PLACE);
        if faults.another_tree {
            leaves[0] = filler(SIZE);
            proof = path(&leaves, PLACE);
        }
        let place = if faults.another_place {
            PLACE + 1
        } else {
            PLACE
        };
        // The newer log has one tree: an entry has one index.
        let index = match self {
            Self::V1(_) => BEFORE + PLACE as u64,
            Self::V2(_) => place as u64,
        };
        let note = format!("{}\n{SIZE}\n{}\n", self.origin(), STANDARD.encode(root));
        let signature = [&self.id()[..4], &by.checkpoint.sign(note.as_bytes())].concat();
        let signature = STANDARD.encode(signature);
        let checkpoint = format!("{note}\n\u{2014} {} {signature}\n", self.host());
        let shown = if faults.changed_body {
            let mut body = body.clone();
            body["spec"]["note"] = json!("changed");
            body.to_string().into_bytes()
        } else {
            logged.clone()
        };
        let mut entry = json!({
            "logIndex": index.to_string(),
            "logId": {"keyId": STANDARD.encode(self.id())},
            "kindVersion": {"kind": kind, "version": version},
            "canonicalizedBody": STANDARD.encode(shown),
        });
        if !faults.no_proof {
            let mut shown = json!({
                "logIndex": place.to_string(),
                "rootHash": STANDARD.encode(root),
                "treeSize": SIZE.to_string(),
                "hashes": proof.iter().map(|hash| STANDARD.encode(hash)).collect::<Vec<_>>(),
            });
            if !faults.no_checkpoint {
                shown["checkpoint"] = json!({"envelope": checkpoint});
            }
            entry["inclusionProof"] = shown;
        }
        if matches!(self, Self::V1(_)) {
            let time = if faults.changed_time {
                seconds + 1
            } else {
                seconds
            };
            entry["integratedTime"] = json!(time.to_string());
            if !faults.no_promise {
                // The members stand in the order that canonical JSON wants.
                let promise = json!({
                    "body": STANDARD.encode(&logged),
                    "integratedTime": seconds,
                    "logID": hex::encode(self.id()),
                    "logIndex": index,
                });
                let signature = by.promise.sign(promise.to_string().as_bytes());
                entry["inclusionPromise"] =
                    json!({"signedEntryTimestamp": STANDARD.encode(signature)});
            }
        }
        entry
    }
}

fn filler(number: usize) -> Hash {
    leaf_hash(format!("filler {number}").as_bytes())
}

fn leaf_hash(data: &[u8]) -> Hash {
    Sha256::digest([&[0], data].concat()).into()
}

/// RFC 6962, 2.1: the largest power of two below the number of leaves splits them.
fn split(leaves: &[Hash]) -> (&[Hash], &[Hash]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = split(leaves);
            Sha256::digest([&[1], &root(left)[..], &root(right)].concat()).into()
        }
    }
}

/// RFC 6962, 2.1.1: what the leaf at `place` needs to come to the root, from the leaf upwards.
fn path(leaves: &[Hash], place: usize) -> Vec<Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = split(leaves);
    let (mut below, beside) = if place < left.len() {
        (path(left, place), root(right))
    } else {
        (path(right, place - left.len()), root(left))
    };
    below.push(beside);
    below
}
