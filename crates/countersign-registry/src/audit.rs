//! Holds one log's rows against what was signed, and the files' rows against their leaves. `restore` acts on what
//! this finds, `doctor` explains it.

use std::collections::HashMap;

use countersign_trust::checkpoint;
use countersign_trust::digest::Sha256;
use countersign_trust::leaf::{self, LeafKind, identifier_hash};
use countersign_trust::note::VerifierKey;
use countersign_trust::tlog::{self, Frontier};

use crate::error::Result;
use crate::model::{FileId, FileState, ProjectId, Time};
use crate::store::{Head, NumberedLeaf, Store};

/// How many leaves are read at once.
const PAGE: u64 = 1_000;

/// Something that does not fit.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The log's rows are not the log that was signed.
    Broken(String),
    /// An identifier stands for other bytes in the rows than in the log.
    OtherDigest { purl: String, row: String },
    /// An identifier that the log knows and the rows do not.
    Unclaimed {
        purl: String,
        sha256: Sha256,
        at: Time,
    },
    /// A file's row says something else than its leaf.
    RowDiffers {
        file: FileId,
        project: ProjectId,
        filename: String,
        state: FileState,
        what: &'static str,
    },
}

/// What one log was found to be.
pub(crate) struct Audited {
    pub(crate) faults: Vec<Fault>,
    /// The log's verified tree, where its rows are whole.
    pub(crate) frontier: Option<Frontier>,
}

impl Audited {
    /// The first fault after which nothing of this log can be believed.
    pub(crate) fn broken(&self) -> Option<String> {
        self.faults.iter().find_map(|fault| match fault {
            Fault::Broken(what) => Some(what.clone()),
            Fault::OtherDigest { purl, row } => Some(format!(
                "{purl} stands for sha256:{row} in the rows and for other bytes in the log"
            )),
            Fault::Unclaimed { .. } | Fault::RowDiffers { .. } => None,
        })
    }
}

/// Audits the served leaves of a log. `keys` are its verifier keys; `progress` is told leaves done and leaves in all.
pub(crate) async fn audit(
    store: &Store,
    head: &Head,
    keys: &[VerifierKey],
    progress: &mut (dyn FnMut(u64, u64) + Send),
) -> Result<Audited> {
    let mut faults = Vec::new();
    let mut frontier = Frontier::empty();
    while frontier.size() < head.size {
        let from = frontier.size();
        let wanted = (head.size - from).min(PAGE);
        let leaves = store.leaves_from(head.shard, from, wanted).await?;
        let gap = (from..)
            .zip(&leaves)
            .find(|(index, leaf)| leaf.index != *index)
            .map(|(index, _)| index)
            .or_else(|| (leaves.len() as u64 != wanted).then(|| from + leaves.len() as u64));
        if let Some(index) = gap {
            faults.push(Fault::Broken(format!("the database lacks leaf {index}")));
            return Ok(Audited {
                faults,
                frontier: None,
            });
        }
        for leaf in &leaves {
            let hash = tlog::leaf_hash(leaf.body.as_bytes());
            if hash != leaf.hash {
                faults.push(Fault::Broken(format!(
                    "the text of leaf {} does not have the hash that stands beside it",
                    leaf.index
                )));
            }
            frontier.append(hash);
        }
        files_against(store, head.shard, &leaves, &mut faults).await?;
        progress(frontier.size(), head.size);
    }
    if frontier.root() != head.root {
        faults.push(Fault::Broken(format!(
            "the {} leaves in the database do not give the root that was signed",
            head.size
        )));
    }
    // The head of the empty log of a registry that never beat is signed too.
    match checkpoint::open(head.checkpoint.as_bytes(), keys, &head.origin) {
        Ok(signed) if signed.size() == head.size && signed.root() == head.root => {}
        Ok(signed) => faults.push(Fault::Broken(format!(
            "the stored checkpoint is signed for {} leaves, the head stands at {}",
            signed.size(),
            head.size
        ))),
        Err(error) => faults.push(Fault::Broken(format!(
            "the stored checkpoint can not be believed: {error}"
        ))),
    }
    let whole = !faults.iter().any(|fault| matches!(fault, Fault::Broken(_)));
    Ok(Audited {
        faults,
        frontier: whole.then_some(frontier),
    })
}

/// The files and identifiers that some leaves published, against those leaves.
async fn files_against(
    store: &Store,
    shard: u64,
    leaves: &[NumberedLeaf],
    faults: &mut Vec<Fault>,
) -> Result<()> {
    let mut published: HashMap<String, (&NumberedLeaf, leaf::Leaf)> = HashMap::new();
    for row in leaves {
        let parsed = match leaf::parse(row.body.as_bytes()) {
            Ok(parsed) => parsed.known(),
            Err(error) => {
                faults.push(Fault::Broken(format!("leaf {}: {error}", row.index)));
                continue;
            }
        };
        let Some(parsed) = parsed else { continue };
        if parsed.kind.as_str() != row.kind
            || parsed.subject.as_deref().unwrap_or("") != row.subject
        {
            faults.push(Fault::Broken(format!(
                "the columns of leaf {} do not say what its text says",
                row.index
            )));
        }
        if parsed.kind == LeafKind::FilePublished
            && let Some(subject) = &parsed.subject
        {
            published.insert(identifier_hash(subject).to_string(), (row, parsed));
        }
    }
    if published.is_empty() {
        return Ok(());
    }
    let identifiers: Vec<String> = published.keys().cloned().collect();
    let claimed = store.identifier_digests(&identifiers).await?;
    for (identifier, (row, parsed)) in &published {
        let Some(sha256) = parsed.sha256() else {
            continue;
        };
        match claimed.get(identifier) {
            Some(digest) if *digest == sha256.to_hex() => {}
            Some(digest) => faults.push(Fault::OtherDigest {
                purl: row.subject.clone(),
                row: digest.clone(),
            }),
            None => faults.push(Fault::Unclaimed {
                purl: row.subject.clone(),
                sha256,
                at: row.at,
            }),
        }
    }
    for file in store.files_by_identifier(&identifiers).await? {
        let Some((row, parsed)) = published.get(&file.identifier) else {
            continue;
        };
        let what = if file.purl != row.subject {
            "its package URL"
        } else if parsed.sha256().map(|digest| digest.to_hex()) != Some(file.sha256) {
            "its digest"
        } else if parsed.size != Some(file.size) {
            "its size"
        } else if file.leaf != Some(row.index) || file.leaf_shard != Some(shard) {
            "the place of its leaf"
        } else {
            continue;
        };
        faults.push(Fault::RowDiffers {
            file: file.id,
            project: file.project,
            filename: file.filename,
            state: file.state,
            what,
        });
    }
    Ok(())
}

/// The tree over the first `size` leaves of a shard as the rows have them; `None` where one is lacking.
pub(crate) async fn tree_of_rows(store: &Store, shard: u64, size: u64) -> Result<Option<Frontier>> {
    let mut frontier = Frontier::empty();
    while frontier.size() < size {
        let leaves = store
            .leaves_from(shard, frontier.size(), (size - frontier.size()).min(PAGE))
            .await?;
        if leaves.is_empty() {
            return Ok(None);
        }
        for leaf in leaves {
            if leaf.index != frontier.size() {
                return Ok(None);
            }
            frontier.append(tlog::leaf_hash(leaf.body.as_bytes()));
        }
    }
    Ok(Some(frontier))
}
