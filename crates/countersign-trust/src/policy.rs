//! Policy files (c2sp.org/tlog-policy): which logs are believed, which witnesses are known, and which of them are
//! enough. One such file serves server, client, proxy and monitor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::checkpoint::{self, CheckpointError, VerifiedCheckpoint};
use crate::note::{KeyType, VerifierKey};
use crate::proof::{ProofError, TlogProof};
use crate::tlog::{self, ProvenTree};

/// The longest policy that is parsed, in bytes: 64 logs and 64 witnesses with post-quantum keys fit.
pub const MAX_POLICY_BYTES: usize = 512 * 1024;
/// The most logs, and witnesses, and groups; the specification asks for at least 32 each.
pub const MAX_PARTIES: usize = 64;

const NONE: &str = "none";

/// Why a policy is refused, or what it refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The file as a whole.
    #[error("the policy is refused: {reason}")]
    File {
        /// What is wrong.
        reason: &'static str,
    },
    /// One line.
    #[error("line {line} of the policy is refused: {reason}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong, with the value.
        reason: String,
    },
    /// The policy knows no log of this origin.
    #[error(
        "the policy knows no log {origin:?}; add a `log` line with its key if it is to be trusted"
    )]
    UnknownLog {
        /// The origin asked for.
        origin: String,
    },
    /// The checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The proof.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// Too few witnesses.
    #[error("the quorum {quorum:?} is not met: of the known witnesses, only {found} cosigned")]
    Quorum {
        /// Name of the quorum.
        quorum: String,
        /// The witnesses that did sign, or "none".
        found: String,
    },
}

/// A log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLog {
    /// The log's key; its name is the origin. A log may have several lines, one for each of its keys.
    pub key: VerifierKey,
    /// Where the log is found.
    pub url: Option<String>,
}

/// A witness line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyWitness {
    /// Its name within the policy, which need not be its key's name.
    pub name: String,
    /// Its key.
    pub key: VerifierKey,
    /// Where it takes checkpoints.
    pub url: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    threshold: usize,
    members: Vec<String>,
}

/// A parsed policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: BTreeMap<String, Group>,
    quorum: String,
}

impl Policy {
    /// Reads a policy. Unlike the specification, which lets names and comments hold any bytes above 0x7f, this reader
    /// asks for UTF-8.
    ///
    /// # Errors
    /// [`PolicyError::File`], [`PolicyError::Line`].
    pub fn parse(policy: &[u8]) -> Result<Self, PolicyError> {
        if policy.len() > MAX_POLICY_BYTES {
            return Err(PolicyError::File {
                reason: "it is longer than 512 KiB",
            });
        }
        let text = std::str::from_utf8(policy).map_err(|_| PolicyError::File {
            reason: "it is not UTF-8",
        })?;
        if text
            .bytes()
            .any(|b| (b < 0x20 && b != b'\n' && b != b'\t') || b == 0x7f)
        {
            return Err(PolicyError::File {
                reason: "it has a control character (carriage returns are not allowed)",
            });
        }
        if !text.is_empty() && !text.ends_with('\n') {
            return Err(PolicyError::File {
                reason: "its last line is not terminated",
            });
        }
        let mut reader = Reader::default();
        for (number, line) in text.lines().enumerate() {
            reader.line(line).map_err(|reason| PolicyError::Line {
                line: number + 1,
                reason,
            })?;
        }
        let quorum = reader.quorum.ok_or(PolicyError::File {
            reason: "it has no `quorum` line; `quorum none` asks for no witness",
        })?;
        Ok(Self {
            logs: reader.logs,
            witnesses: reader.witnesses,
            groups: reader.groups,
            quorum,
        })
    }

    /// The log lines.
    #[must_use]
    pub fn logs(&self) -> &[PolicyLog] {
        &self.logs
    }

    /// The witness lines.
    #[must_use]
    pub fn witnesses(&self) -> &[PolicyWitness] {
        &self.witnesses
    }

    /// Name of the witness or group that must sign; `none` if nobody need.
    #[must_use]
    pub fn quorum(&self) -> &str {
        &self.quorum
    }

    /// Whether these witnesses, by their names within the policy, are enough.
    #[must_use]
    pub fn quorum_met<S: AsRef<str>>(&self, verified: impl IntoIterator<Item = S>) -> bool {
        let signed: BTreeSet<String> = verified
            .into_iter()
            .map(|name| name.as_ref().to_owned())
            .collect();
        self.quorum == NONE || self.has_signed(&self.quorum, &signed)
    }

    /// Groups only refer backwards and each name is a member once, so this walks each group once at most.
    fn has_signed(&self, name: &str, signed: &BTreeSet<String>) -> bool {
        match self.groups.get(name) {
            Some(group) => {
                group
                    .members
                    .iter()
                    .filter(|member| self.has_signed(member, signed))
                    .count()
                    >= group.threshold
            }
            None => signed.contains(name),
        }
    }

    /// Names within the policy of the witnesses that cosigned a verified checkpoint.
    #[must_use]
    pub fn witnesses_of(&self, checkpoint: &VerifiedCheckpoint) -> Vec<&str> {
        let signed = |witness: &&PolicyWitness| {
            checkpoint
                .signatures()
                .iter()
                .any(|line| line.key == witness.key)
        };
        self.witnesses
            .iter()
            .filter(signed)
            .map(|witness| witness.name.as_str())
            .collect()
    }

    /// Do enough witnesses say that they saw this checkpoint at `since` or later, in seconds since 1970 UTC? A log that goes on
    /// elsewhere is cosigned there, and no longer in what somebody is shown.
    #[must_use]
    pub fn quorum_met_since(&self, checkpoint: &VerifiedCheckpoint, since: u64) -> bool {
        let young = |witness: &&PolicyWitness| {
            let mut lines = checkpoint.signatures().iter();
            lines.any(|line| line.key == witness.key && line.time.is_some_and(|at| at >= since))
        };
        let witnesses = self.witnesses.iter().filter(young);
        self.quorum_met(witnesses.map(|witness| witness.name.as_str()))
    }

    /// The keys to check checkpoints of the log `origin` with: the log's own and those of all witnesses.
    ///
    /// # Errors
    /// [`PolicyError::UnknownLog`].
    pub fn keys_for(&self, origin: &str) -> Result<Vec<VerifierKey>, PolicyError> {
        let logs = self
            .logs
            .iter()
            .map(|log| &log.key)
            .filter(|key| key.name().as_str() == origin);
        let mut keys: Vec<VerifierKey> = logs.cloned().collect();
        if keys.is_empty() {
            return Err(PolicyError::UnknownLog {
                origin: origin.to_owned(),
            });
        }
        keys.extend(self.witnesses.iter().map(|witness| witness.key.clone()));
        Ok(keys)
    }

    /// Opens a signed checkpoint of the log `origin` and demands the quorum.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn open(&self, note: &[u8], origin: &str) -> Result<VerifiedCheckpoint, PolicyError> {
        self.demand_quorum(checkpoint::open(note, &self.keys_for(origin)?, origin)?)
    }

    /// Verifies a proof that `leaf` stands in the log `origin` and demands the quorum.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn verify(
        &self,
        proof: &TlogProof,
        leaf: &[u8],
        origin: &str,
    ) -> Result<VerifiedCheckpoint, PolicyError> {
        self.demand_quorum(proof.verify(leaf, &self.keys_for(origin)?, origin)?)
    }

    fn demand_quorum(
        &self,
        checkpoint: VerifiedCheckpoint,
    ) -> Result<VerifiedCheckpoint, PolicyError> {
        let found = self.witnesses_of(&checkpoint);
        if self.quorum_met(&found) {
            return Ok(checkpoint);
        }
        let found = if found.is_empty() {
            NONE.to_owned()
        } else {
            found.join(", ")
        };
        Err(PolicyError::Quorum {
            quorum: self.quorum.clone(),
            found,
        })
    }
}

/// So many checkpoints of a log are remembered as opened.
const OPENED: usize = 16;

/// Proofs of one log under one policy. A checkpoint that was opened is not opened again: many proofs show the same, and its
/// signatures cost more than everything else.
pub struct Proofs {
    policy: Policy,
    origin: String,
    /// Those opened last, the newest at the end.
    opened: Vec<(String, Arc<VerifiedCheckpoint>, ProvenTree)>,
}

impl Proofs {
    /// For the log `origin`.
    #[must_use]
    pub fn new(policy: Policy, origin: String) -> Self {
        Self {
            policy,
            origin,
            opened: Vec::new(),
        }
    }

    /// The policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// As [`Policy::verify`].
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn verify(
        &mut self,
        proof: &TlogProof,
        leaf: &[u8],
    ) -> Result<Arc<VerifiedCheckpoint>, PolicyError> {
        let known = self
            .opened
            .iter()
            .position(|(text, ..)| *text == proof.checkpoint);
        match known {
            Some(place) => self.opened[place..].rotate_left(1),
            None => {
                let text = proof.checkpoint.clone();
                let checkpoint = self.policy.open(text.as_bytes(), &self.origin)?;
                let tree = ProvenTree::new(checkpoint.size(), checkpoint.root());
                if self.opened.len() == OPENED {
                    self.opened.remove(0);
                }
                self.opened.push((text, Arc::new(checkpoint), tree));
            }
        }
        let newest = self.opened.len() - 1;
        let (_, checkpoint, tree) = &mut self.opened[newest];
        tree.verify_inclusion(tlog::leaf_hash(leaf), proof.index, &proof.hashes)
            .map_err(|reason| ProofError::Inclusion {
                index: proof.index,
                reason,
            })?;
        Ok(checkpoint.clone())
    }
}

/// What the lines so far have defined.
#[derive(Default)]
struct Reader {
    logs: Vec<PolicyLog>,
    witnesses: Vec<PolicyWitness>,
    groups: BTreeMap<String, Group>,
    members: BTreeSet<String>,
    quorum: Option<String>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let items: Vec<&str> = line
            .split([' ', '\t'])
            .filter(|item| !item.is_empty())
            .collect();
        match items.as_slice() {
            [] => Ok(()),
            [first, ..] if first.starts_with('#') => Ok(()),
            ["log", key] => self.log(key, None),
            ["log", key, url] => self.log(key, Some(url)),
            ["witness", name, key] => self.witness(name, key, None),
            ["witness", name, key, url] => self.witness(name, key, Some(url)),
            ["group", name, threshold, members @ ..] => self.group(name, threshold, members),
            ["quorum", name] => self.quorum(name),
            [keyword @ ("log" | "witness" | "group" | "quorum"), ..] => {
                Err(format!("wrong number of items after {keyword:?}"))
            }
            [keyword, ..] => Err(format!(
                "{keyword:?} is none of log, witness, group, quorum"
            )),
        }
    }

    fn log(&mut self, key: &str, url: Option<&&str>) -> Result<(), String> {
        let key: VerifierKey = key.parse().map_err(|error| format!("{error}"))?;
        if key.key_type() == KeyType::Ed25519Cosignature {
            return Err(format!(
                "the key {} is a witness's (type 0x04), not a log's",
                key.name()
            ));
        }
        if self
            .logs
            .iter()
            .any(|log| log.key.public_bytes() == key.public_bytes())
        {
            return Err(format!(
                "the public key of log {} stands in an earlier log line",
                key.name()
            ));
        }
        has_room(self.logs.len(), "logs")?;
        self.logs.push(PolicyLog {
            key,
            url: url.map(|url| (*url).to_owned()),
        });
        Ok(())
    }

    fn witness(&mut self, name: &str, key: &str, url: Option<&&str>) -> Result<(), String> {
        self.new_name(name)?;
        let key: VerifierKey = key.parse().map_err(|error| format!("{error}"))?;
        if key.key_type() == KeyType::Ed25519 {
            return Err(format!(
                "the key of witness {name} is a log's (type 0x01); witnesses have 0x04 or 0x06"
            ));
        }
        if self
            .witnesses
            .iter()
            .any(|witness| witness.key.public_bytes() == key.public_bytes())
        {
            return Err(format!(
                "the public key of witness {name} stands in an earlier witness line"
            ));
        }
        has_room(self.witnesses.len(), "witnesses")?;
        self.witnesses.push(PolicyWitness {
            name: name.to_owned(),
            key,
            url: url.map(|url| (*url).to_owned()),
        });
        Ok(())
    }

    fn group(&mut self, name: &str, threshold: &str, members: &[&str]) -> Result<(), String> {
        self.new_name(name)?;
        has_room(self.groups.len(), "groups")?;
        let threshold = match threshold {
            "all" => members.len(),
            "any" => 1,
            number => number
                .parse()
                .ok()
                .filter(|_| number.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| {
                    format!("the threshold {number:?} is neither all nor any nor a number")
                })?,
        };
        if members.is_empty() || threshold == 0 || threshold > members.len() {
            return Err(format!(
                "group {name} asks for {threshold} of {} members",
                members.len()
            ));
        }
        for member in members {
            if !self.is_defined(member) {
                return Err(format!("{member:?} is not defined above"));
            }
            if !self.members.insert((*member).to_owned()) {
                return Err(format!("{member:?} is a member of a group already"));
            }
        }
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.groups
            .insert(name.to_owned(), Group { threshold, members });
        Ok(())
    }

    fn quorum(&mut self, name: &str) -> Result<(), String> {
        if self.quorum.is_some() {
            return Err("there is a quorum line already".to_owned());
        }
        if name != NONE && !self.is_defined(name) {
            return Err(format!("{name:?} is not defined above"));
        }
        self.quorum = Some(name.to_owned());
        Ok(())
    }

    fn is_defined(&self, name: &str) -> bool {
        self.groups.contains_key(name) || self.witnesses.iter().any(|witness| witness.name == name)
    }

    fn new_name(&self, name: &str) -> Result<(), String> {
        if name == NONE {
            return Err("the name \"none\" is reserved".to_owned());
        }
        if self.is_defined(name) {
            return Err(format!("the name {name:?} is defined already"));
        }
        Ok(())
    }
}

fn has_room(count: usize, what: &str) -> Result<(), String> {
    if count == MAX_PARTIES {
        return Err(format!("more than {MAX_PARTIES} {what}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::cosignature;
    use crate::digest::Sha256;
    use crate::note::{Ed25519Role, KeyName, SignedNote, SignerKey};

    fn witness(number: u8) -> SignerKey {
        let name = KeyName::new(&format!("w{number}.example")).unwrap();
        SignerKey::from_seed(name, Ed25519Role::Cosigner, [number; 32])
    }

    fn log() -> SignerKey {
        SignerKey::generate(KeyName::new("log.example/1").unwrap(), [100; 32])
    }

    fn two_levels() -> String {
        let mut text = format!(
            "# who we trust\n\nlog {} https://log.example/1\n",
            log().verifier()
        );
        for (number, name) in ["X1", "X2", "X3", "Y1", "Y2"].iter().enumerate() {
            text += &format!(
                " \twitness {name}\t{}\n",
                witness(number as u8 + 1).verifier()
            );
        }
        text + "group X 2 X1 X2 X3\ngroup Y any Y1 Y2\ngroup X-and-Y all X Y\nquorum X-and-Y\n"
    }

    #[test]
    fn groups_of_groups_are_counted() {
        let policy = Policy::parse(two_levels().as_bytes()).unwrap();
        assert_eq!(
            (
                policy.logs().len(),
                policy.witnesses().len(),
                policy.quorum()
            ),
            (1, 5, "X-and-Y")
        );
        for (signed, met) in [
            (vec![], false),
            (vec!["X1", "X2"], false),
            (vec!["X1", "Y1"], false),
            (vec!["X1", "X1", "Y1"], false),
            (vec!["X1", "X3", "Y2"], true),
            (vec!["X1", "X2", "X3", "Y1", "Y2", "Z"], true),
            (vec!["X-and-Y"], false),
        ] {
            assert_eq!(policy.quorum_met(&signed), met, "{signed:?}");
        }
        assert!(
            Policy::parse(b"quorum none\n")
                .unwrap()
                .quorum_met(Vec::<&str>::new())
        );
    }

    /// More checkpoints than are remembered, again and again, each with what is wrong with it.
    #[test]
    fn proofs_that_are_remembered_are_judged_as_each_by_itself() {
        let policy = Policy::parse(
            format!(
                "log {}\nwitness w {}\nquorum w\n",
                log().verifier(),
                witness(1).verifier()
            )
            .as_bytes(),
        )
        .unwrap();
        let mut proofs = Proofs::new(policy.clone(), "log.example/1".to_owned());
        let leaf = |index: u64| index.to_be_bytes();
        let hash = |index: u64| tlog::leaf_hash(&leaf(index));
        for round in 0..3 {
            for size in 2..22 {
                // Two leaves, and everything after them as one node.
                let index = size % 2;
                let pair = tlog::node_hash(&hash(0), &hash(1));
                let other = hash(size + 100);
                let root = tlog::node_hash(&pair, &other);
                let checkpoint = Checkpoint::new("log.example/1", 3, root);
                let mut note = SignedNote::parse(checkpoint.sign(&log(), None).as_bytes()).unwrap();
                let unwitnessed = note.to_string();
                note.add_signature(cosignature::sign_ed25519(&witness(1), &checkpoint, 9).unwrap())
                    .unwrap();
                let good = TlogProof {
                    extra: None,
                    index,
                    hashes: vec![hash(1 - index), other],
                    checkpoint: note.to_string(),
                };
                let forged = good.checkpoint.replacen("\n3\n", "\n4\n", 1);
                let tried = [
                    TlogProof {
                        checkpoint: unwitnessed,
                        ..good.clone()
                    },
                    TlogProof {
                        checkpoint: forged,
                        ..good.clone()
                    },
                    TlogProof {
                        hashes: vec![hash(9), other],
                        ..good.clone()
                    },
                    TlogProof {
                        index: 2,
                        ..good.clone()
                    },
                    good,
                ];
                for (which, proof) in tried.iter().enumerate() {
                    let plain = policy.verify(proof, &leaf(index), "log.example/1");
                    let remembered = proofs.verify(proof, &leaf(index));
                    assert_eq!(plain.is_ok(), which == 4, "{size}: {plain:?}");
                    let remembered = remembered.map(|open| (*open).clone());
                    assert_eq!(
                        remembered.map_err(|error| error.to_string()),
                        plain.map_err(|error| error.to_string()),
                        "{which} of {size}, round {round}"
                    );
                }
            }
        }
        assert_eq!(proofs.opened.len(), OPENED);
    }

    #[test]
    fn a_checkpoint_opens_only_with_its_quorum() {
        let policy = Policy::parse(two_levels().as_bytes()).unwrap();
        let checkpoint = Checkpoint::new("log.example/1", 3, Sha256::of(b""));
        let mut note = SignedNote::parse(checkpoint.sign(&log(), None).as_bytes()).unwrap();
        let refused = policy
            .open(note.to_string().as_bytes(), "log.example/1")
            .unwrap_err();
        assert_eq!(
            refused,
            PolicyError::Quorum {
                quorum: "X-and-Y".into(),
                found: "none".into()
            }
        );
        for number in [1, 3, 4] {
            note.add_signature(
                cosignature::sign_ed25519(&witness(number), &checkpoint, 9).unwrap(),
            )
            .unwrap();
        }
        let open = policy
            .open(note.to_string().as_bytes(), "log.example/1")
            .unwrap();
        assert_eq!(policy.witnesses_of(&open), ["X1", "X3", "Y1"]);
        assert!(matches!(
            policy.open(note.to_string().as_bytes(), "x"),
            Err(PolicyError::UnknownLog { .. })
        ));
    }

    #[test]
    fn wrong_policies_are_refused_with_their_line() {
        let (w, x) = (witness(1).verifier(), witness(2).verifier());
        let renamed = SignerKey::from_seed(
            KeyName::new("other").unwrap(),
            Ed25519Role::Cosigner,
            [1; 32],
        )
        .verifier();
        for (bad, line) in [
            ("quorum a\n".to_owned(), 1),
            ("quorum none\nquorum none\n".to_owned(), 2),
            (format!("witness none {w}\n"), 1),
            (format!("witness a {w}\nwitness a {x}\n"), 2),
            (format!("witness a {w}\nwitness b {renamed}\n"), 2),
            (format!("witness a {}\n", log().verifier()), 1),
            (format!("log {w}\n"), 1),
            (format!("log {0}\nlog {0}\n", log().verifier()), 2),
            (format!("witness a {w}\ngroup g 2 a\n"), 2),
            (format!("witness a {w}\ngroup g 0 a\n"), 2),
            (format!("witness a {w}\ngroup g +1 a\n"), 2),
            (format!("witness a {w}\ngroup g any\n"), 2),
            (format!("witness a {w}\ngroup g any b\n"), 2),
            (format!("witness a {w}\ngroup g all a a\n"), 2),
            (format!("witness a {w}\ngroup g any a\ngroup h any a\n"), 3),
            ("group g any g\n".to_owned(), 1),
            ("witness a\n".to_owned(), 1),
            ("trust a\n".to_owned(), 1),
        ] {
            assert!(
                matches!(Policy::parse(bad.as_bytes()), Err(PolicyError::Line { line: l, .. }) if l == line),
                "{bad}"
            );
        }
        for bad in ["", "quorum none", "quorum none\r\n", "# only\n"] {
            assert!(
                matches!(Policy::parse(bad.as_bytes()), Err(PolicyError::File { .. })),
                "{bad}"
            );
        }
    }
}
