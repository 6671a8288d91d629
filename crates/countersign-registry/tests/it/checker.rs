//! One checker that believes nothing: it reads the log as a monitor would, the rows as an auditor would, and holds
//! both against each other. Every scenario ends with it.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use countersign_formats::Ecosystem;
use countersign_registry::model::Actor;
use countersign_registry::{DocumentKey, Reader, reading_as};
use countersign_trust::checkpoint::{self, VerifiedCheckpoint};
use countersign_trust::leaf::{self, Leaf, LeafKind};
use countersign_trust::note::VerifierKey;
use countersign_trust::proof::TlogProof;
use countersign_trust::tlog::{self, EntriesId, Frontier, TileId};
use sqlx::{Connection, Row};

use crate::kit::TestRegistry;

/// Events that get no leaf: who holds what is the instance's own business.
const LEAFLESS: &[&str] = &[
    "account-disabled",
    "account-enabled",
    "account-erased",
    "account-exported",
    "account-made",
    "address-abandoned",
    "address-asked",
    "address-primary",
    "address-removed",
    "address-verified",
    "advisories-imported",
    "advisory-exempted",
    "advisory-exemption-ended",
    "advisory-issued",
    "advisory-withdrawn",
    "appealed",
    "approval-asked",
    "approval-granted",
    "approval-refused",
    "approval-used",
    "attestation-key-made",
    "case-answered",
    "case-overdue",
    "credentials-ended",
    "critical-by-use",
    "digests-learnt",
    "downloaders-warned",
    "enrolment-renewed",
    "factor-added",
    "factor-locked",
    "factor-policy-raised",
    "factor-removed",
    "factor-renamed",
    "findings-dismissed",
    "frozen",
    "identity-linked",
    "identity-unlinked",
    "incident-closed",
    "incident-opened",
    "incident-updated",
    "invitation-ended",
    "invited",
    "joined",
    "log-service-closed",
    "log-service-created",
    "name-excepted",
    "name-exception-ended",
    "name-list-forgotten",
    "name-permitted",
    "name-prohibited",
    "names-imported",
    "names-looked-at",
    "namespace-changed",
    "notice-dismissed",
    "npm-key-made",
    "organisation-made",
    "organisation-removed",
    "passkey-cloned",
    "password-breached",
    "password-removed",
    "password-set",
    "pending-publisher-added",
    "pending-publisher-removed",
    "pending-publishers-lost",
    "publisher-frozen",
    "publisher-unfrozen",
    "report-judged",
    "reported",
    "reporter-distrusted",
    "reporter-trusted",
    "scanned",
    "proposal-confirmed",
    "proposal-stopped",
    "proposed",
    "provenance-lost",
    "recovery-approved",
    "recovery-code-used",
    "recovery-codes-made",
    "recovery-finished",
    "recovery-opened",
    "recovery-stopped",
    "recovery-taken-up",
    "recovery-vouched",
    "recovery-waits",
    "rewound",
    "service-publisher-changed",
    "service-token-created",
    "service-token-judged",
    "sessions-ended",
    "signed-in",
    "signed-out",
    "signed-up",
    "source-health-imported",
    "stage-approved",
    "stage-rejected",
    "staged",
    "standing-changed",
    "stepped-up",
    "team-made",
    "team-member-changed",
    "team-removed",
    "team-role-changed",
    "token-made",
    "token-minted",
    "token-revoked",
    "transferred",
    "unfrozen",
];

/// Each must count nothing.
const INVARIANTS: &[(&str, &str)] = &[
    (
        "live files without a leaf",
        "SELECT count(*) AS n FROM files WHERE state = 'live' AND leaf IS NULL",
    ),
    (
        "files whose leaf is about something else",
        "SELECT count(*) AS n FROM files f LEFT JOIN leaves l ON l.shard = 1 AND l.idx = f.leaf \
         WHERE f.leaf IS NOT NULL AND (l.subject IS NULL OR l.subject <> f.purl OR l.kind <> 'file-published' OR l.event_id <> f.event_id)",
    ),
    (
        "published leaves without their file",
        "SELECT count(*) AS n FROM leaves l LEFT JOIN files f ON f.leaf = l.idx WHERE l.kind = 'file-published' AND f.id IS NULL",
    ),
    (
        "files that are not removed in a release that is",
        "SELECT count(*) AS n FROM files f JOIN releases r ON r.id = f.release_id WHERE r.removed_at IS NOT NULL AND f.removed_at IS NULL",
    ),
    (
        "files whose identifier names other bytes or none",
        "SELECT count(*) AS n FROM files f LEFT JOIN identifiers i ON i.identifier = f.identifier WHERE i.sha256 IS NULL OR i.sha256 <> f.sha256",
    ),
    (
        "identifiers without a file",
        "SELECT count(*) AS n FROM identifiers i LEFT JOIN files f ON f.identifier = i.identifier WHERE f.id IS NULL",
    ),
    (
        "releases without a file",
        "SELECT count(*) AS n FROM releases r WHERE NOT EXISTS (SELECT 1 FROM files f WHERE f.release_id = r.id)",
    ),
    (
        "projects without a release",
        "SELECT count(*) AS n FROM projects p WHERE NOT EXISTS (SELECT 1 FROM releases r WHERE r.project_id = p.id) \
         AND NOT EXISTS (SELECT 1 FROM publishers t WHERE t.project_id = p.id)",
    ),
    (
        "metadata of no file",
        "SELECT count(*) AS n FROM metadata_texts m WHERE NOT EXISTS (SELECT 1 FROM files f WHERE f.metadata_sha256 = m.sha256)",
    ),
    (
        "publishers with a project that still wait for one, or the reverse",
        "SELECT count(*) AS n FROM publishers WHERE (project_id IS NULL) <> (pending_until IS NOT NULL)",
    ),
    (
        "two publishers waiting for a name that a project has",
        "SELECT count(*) AS n FROM publishers t JOIN projects p ON p.ecosystem = t.ecosystem AND p.key = t.project_key \
         WHERE t.project_id IS NULL AND t.removed_at IS NULL AND p.trust_source LIKE 'https:%' AND p.visible_at IS NULL",
    ),
    (
        "origins of files that are of another project's publisher",
        "SELECT count(*) AS n FROM file_origins o JOIN files f ON f.id = o.file_id JOIN publishers t ON t.id = o.publisher_id \
         WHERE t.project_id <> f.project_id",
    ),
    (
        "accounts with two roles on one project",
        "SELECT count(*) AS n FROM (SELECT project_id FROM grants WHERE ended_at IS NULL AND project_id IS NOT NULL AND account_id IS NOT NULL GROUP BY project_id, account_id HAVING count(*) > 1) AS twice",
    ),
    (
        "leaves beyond the head, or events without a leaf, after all was settled",
        "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM leaves l JOIN log_head h ON h.shard = l.shard WHERE l.idx >= h.size) AS n",
    ),
];

/// The number that a query gives as `n`. A new connection to PostgreSQL costs more than many queries.
async fn counted(connection: &mut sqlx::AnyConnection, query: &'static str) -> i64 {
    let row = sqlx::query(query).fetch_one(connection).await.unwrap();
    row.try_get("n").unwrap()
}

impl TestRegistry {
    /// A connection of the test's own, beside the registry.
    pub async fn connection(&self) -> sqlx::AnyConnection {
        sqlx::AnyConnection::connect(&self.database).await.unwrap()
    }

    /// The number that a query over the rows gives as `n`.
    pub async fn count(&self, query: &'static str) -> i64 {
        let mut connection = self.connection().await;
        let n = counted(&mut connection, query).await;
        connection.close().await.unwrap();
        n
    }

    /// Runs a statement behind the registry's back.
    pub async fn execute(&self, statement: &'static str) {
        let mut connection = self.connection().await;
        sqlx::query(statement)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    /// The keys under which strangers check the log.
    fn log_keys(&self) -> Vec<VerifierKey> {
        self.registry
            .site_keys()
            .verifier_keys
            .iter()
            .map(|key| key.parse().unwrap())
            .collect()
    }

    pub fn opened(&self, note: &str) -> VerifiedCheckpoint {
        checkpoint::open(
            note.as_bytes(),
            &self.log_keys(),
            &self.registry.site_keys().origin,
        )
        .unwrap()
    }

    /// Waits until the log holds all that was committed, and this process has seen it.
    pub async fn settled(&self) -> u64 {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        let mut connection = self.connection().await;
        let head = "SELECT size AS n FROM log_head WHERE shard = 1";
        loop {
            let health = self.registry.health().await;
            let size = u64::try_from(counted(&mut connection, head).await).unwrap();
            let shown = self.registry.checkpoint(1).await.unwrap().serial;
            if health.log_backlog == 0 && shown == size {
                connection.close().await.unwrap();
                return size;
            }
            assert!(
                std::time::Instant::now() < deadline,
                "the log does not settle: {health:?}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn tile(&self, id: TileId) -> Bytes {
        let bytes = self.registry.tile(1, &id.path()).await.unwrap().bytes;
        assert_eq!(bytes.len(), id.byte_length(), "{}", id.path());
        bytes
    }

    /// Checks everything; the leaves are the answer.
    pub async fn check(&self) -> Vec<Leaf> {
        // What is private is held against the log like everything else.
        reading_as(Reader::known(Actor::operator()), self.checked()).await
    }

    async fn checked(&self) -> Vec<Leaf> {
        let size = self.settled().await;
        let note = self.registry.checkpoint(1).await.unwrap().bytes;
        let note = String::from_utf8(note.to_vec()).unwrap();
        let head = self.opened(&note);
        assert_eq!(head.size(), size);
        let (leaves, texts) = self.read_log(&head).await;
        check_chains(&leaves);
        self.check_proofs(&head, &note, &texts).await;
        self.check_consistency(&head, note).await;
        self.check_rows(&leaves).await;
        self.check_documents().await;
        leaves
    }

    async fn read_log(&self, head: &VerifiedCheckpoint) -> (Vec<Leaf>, Vec<Vec<u8>>) {
        let (mut leaves, mut texts) = (Vec::new(), Vec::new());
        let mut frontier = Frontier::empty();
        let mut index = 0;
        while let Some(id) = EntriesId::in_log(index, head.size()) {
            let bundle = self.registry.tile(1, &id.path()).await.unwrap().bytes;
            let tile = self
                .tile(TileId::in_tree(0, index, head.size()).unwrap())
                .await;
            let entries = tlog::decode_entries(&bundle).unwrap();
            assert_eq!(entries.len(), usize::from(id.width));
            for (entry, hash) in entries.into_iter().zip(tile.chunks(32)) {
                let ours = tlog::leaf_hash(entry);
                assert_eq!(ours.0, hash);
                frontier.append(ours);
                leaves.push(leaf::parse(entry).unwrap().known().unwrap());
                texts.push(entry.to_vec());
            }
            index += 1;
        }
        assert_eq!(frontier.size(), head.size());
        assert_eq!(frontier.root(), head.root());
        (leaves, texts)
    }

    async fn check_proofs(&self, head: &VerifiedCheckpoint, note: &str, texts: &[Vec<u8>]) {
        for (index, text) in (0_u64..).zip(texts) {
            let proof = self.registry.leaf_proof(1, index).await.unwrap();
            let proof = TlogProof::parse(&proof.bytes).unwrap();
            assert_eq!((proof.index, proof.checkpoint.as_str()), (index, note));
            assert_eq!(proof.extra.as_ref(), Some(text));
            tlog::verify_inclusion(
                tlog::leaf_hash(text),
                index,
                head.size(),
                &proof.hashes,
                head.root(),
            )
            .unwrap();
        }
    }

    async fn check_consistency(&self, head: &VerifiedCheckpoint, note: String) {
        let earlier = self.seen.lock().unwrap().clone();
        for seen in &earlier {
            let seen = self.opened(seen);
            assert!(seen.size() <= head.size(), "the log shrank");
            let mut tiles: HashMap<TileId, Bytes> = HashMap::new();
            for id in tlog::tiles_needed_for_consistency(seen.size(), head.size()) {
                tiles.insert(id, self.tile(id).await);
            }
            let proof = tlog::consistency_proof(seen.size(), head.size(), &tiles).unwrap();
            tlog::verify_consistency(seen.size(), seen.root(), head.size(), head.root(), &proof)
                .unwrap();
        }
        if !earlier.contains(&note) {
            self.seen.lock().unwrap().push(note);
        }
    }

    async fn check_rows(&self, leaves: &[Leaf]) {
        let mut connection = self.connection().await;
        for (what, query) in INVARIANTS {
            let found = counted(&mut connection, query).await;
            assert_eq!(found, 0, "there are {what}");
        }
        let lost = sqlx::query(
            "SELECT e.kind FROM events e WHERE NOT EXISTS (SELECT 1 FROM leaves l WHERE l.event_id = e.id) \
             AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.event_id = e.id)",
        )
        .fetch_all(&mut connection)
        .await
        .unwrap();
        for row in lost {
            let kind: String = row.get("kind");
            assert!(
                LEAFLESS.contains(&kind.as_str()),
                "the event {kind} is neither in the log nor on its way"
            );
        }
        let rows = sqlx::query("SELECT purl, sha256, size, leaf FROM files WHERE leaf IS NOT NULL")
            .fetch_all(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        let published = leaves
            .iter()
            .filter(|leaf| leaf.kind == LeafKind::FilePublished);
        assert_eq!(published.count(), rows.len());
        for row in rows {
            let leaf = &leaves[usize::try_from(row.get::<i64, _>("leaf")).unwrap()];
            assert_eq!(leaf.subject, Some(row.get::<String, _>("purl")));
            assert_eq!(
                leaf.sha256().unwrap().to_string(),
                row.get::<String, _>("sha256")
            );
            assert_eq!(leaf.size, u64::try_from(row.get::<i64, _>("size")).ok());
        }
    }

    /// What the heartbeat spliced together is what a registry that lost its documents renders from the rows.
    async fn check_documents(&self) {
        let mut connection = self.connection().await;
        let rows =
            sqlx::query("SELECT key FROM projects WHERE ecosystem = 'pypi' AND visible_at IS NOT NULL AND removed_at IS NULL ORDER BY key")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        let keys: Vec<DocumentKey> = rows
            .iter()
            .map(|row| DocumentKey::Index(Ecosystem::Pypi, row.get("key")))
            .collect();
        let mut served = Vec::new();
        for key in &keys {
            served.push(self.registry.document(key).await.unwrap());
        }
        sqlx::query("DELETE FROM documents")
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        let afresh = self.reopened().await.unwrap();
        for (key, served) in keys.iter().zip(served) {
            let rendered = afresh.document(key).await.unwrap();
            assert_eq!(
                String::from_utf8_lossy(&served.bytes),
                String::from_utf8_lossy(&rendered.bytes),
                "{key:?}"
            );
            assert_eq!(served.etag, rendered.etag);
        }
        afresh.store().close().await;
    }
}

/// Each project's leaves are numbered from 1 and each names the one before; no identifier has two digests.
fn check_chains(leaves: &[Leaf]) {
    let mut chains: HashMap<&str, (u64, u64)> = HashMap::new();
    let mut digests: HashMap<&str, String> = HashMap::new();
    for (index, leaf) in (0_u64..).zip(leaves) {
        let Some(subject) = &leaf.subject else {
            assert_eq!((leaf.sequence, leaf.previous), (None, None));
            continue;
        };
        let project = subject.split(['@', '?']).next().unwrap();
        let before = chains.get(project);
        assert_eq!(
            leaf.sequence,
            Some(before.map_or(1, |(sequence, _)| sequence + 1)),
            "{subject}"
        );
        assert_eq!(leaf.previous, before.map(|(_, last)| *last), "{subject}");
        chains.insert(project, (leaf.sequence.unwrap(), index));
        if leaf.kind == LeafKind::FilePublished {
            let digest = leaf.sha256().unwrap().to_string();
            assert!(
                digests.insert(subject, digest).is_none(),
                "{subject} was published twice"
            );
        }
    }
}
