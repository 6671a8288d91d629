-- Build provenance: attestations, trust roots, what projects are remembered for. JSON stands in TEXT.

-- Documents of trust roots by their SHA-256, kept for ever: an attestation names the one it was held against.
CREATE TABLE trust_root_documents (
    digest      TEXT   NOT NULL PRIMARY KEY,
    body        TEXT   NOT NULL,
    created_at  BIGINT NOT NULL
);

-- Whose Sigstore is believed. kind: public-good, github, private. tuf_state: what the last refresh by TUF left (JSON).
CREATE TABLE trust_roots (
    id            TEXT   NOT NULL PRIMARY KEY,
    name          TEXT   NOT NULL,
    kind          TEXT   NOT NULL,
    digest        TEXT   NOT NULL REFERENCES trust_root_documents (digest),
    tuf_url       TEXT,
    tuf_state     TEXT,
    created_at    BIGINT NOT NULL,
    refreshed_at  BIGINT,
    problem       TEXT,
    removed_at    BIGINT
);
CREATE UNIQUE INDEX trust_roots_name ON trust_roots (name) WHERE removed_at IS NULL;

-- Public keys of the registry's own attestations; the secrets lie in the folder of keys. One has no until_at: it signs.
CREATE TABLE attestation_keys (
    number    BIGINT NOT NULL PRIMARY KEY,
    hint      TEXT   NOT NULL UNIQUE,
    spki      TEXT   NOT NULL,
    since_at  BIGINT NOT NULL,
    until_at  BIGINT
);

-- Attestations, their bytes as received. digest: SHA-256 of the bytes, as in the leaf. maker: uploader, registry.
-- form: pep740, bundle. verdict: confirmed, kept (of a type that is not known here). signed_at: microseconds, from the
-- evidence itself. claims: of its certificate; shown: what pages show; source: the repository, commit and build file
-- that are looked for from time to time (JSON); publisher: as the Python integrity API shows it (JSON). event_id: the event whose leaf names the digest; NULL for
-- those that the registry made.
CREATE TABLE attestations (
    id                TEXT   NOT NULL PRIMARY KEY,
    file_id           TEXT   NOT NULL REFERENCES files (id),
    maker             TEXT   NOT NULL,
    form              TEXT   NOT NULL,
    digest            TEXT   NOT NULL,
    predicate_type    TEXT   NOT NULL,
    statement_digest  TEXT   NOT NULL,
    verdict           TEXT   NOT NULL,
    claims            TEXT   NOT NULL,
    source            TEXT,
    shown             TEXT   NOT NULL,
    publisher         TEXT,
    signed_at         BIGINT NOT NULL,
    root_digest       TEXT   REFERENCES trust_root_documents (digest),
    event_id          TEXT,
    created_at        BIGINT NOT NULL,
    body              TEXT   NOT NULL,
    rechecked_at      BIGINT,
    recheck_problem   TEXT,
    UNIQUE (file_id, digest)
);
CREATE INDEX attestations_file ON attestations (file_id, maker);
CREATE INDEX attestations_digest ON attestations (digest);
CREATE INDEX attestations_recheck ON attestations (COALESCE(rechecked_at, created_at), id) WHERE maker = 'uploader';

-- Files of which the registry has still to say something itself: those from before it did, those that came while its key
-- was away, and all once the key that signed is ended.
CREATE TABLE own_words_due (
    file_id  TEXT  NOT NULL PRIMARY KEY REFERENCES files (id)
);
INSERT INTO own_words_due (file_id) SELECT id FROM files WHERE leaf IS NOT NULL;

-- What a file reached, and from which source (JSON: issuer, repository, ids). attested_at: since when it has attestations of
-- its uploader; the index shows that.
ALTER TABLE files ADD COLUMN trust_level TEXT;
ALTER TABLE files ADD COLUMN attested_at BIGINT;
ALTER TABLE files ADD COLUMN source TEXT;

-- The source that a project is remembered for (JSON), and since when.
ALTER TABLE projects ADD COLUMN source TEXT;
ALTER TABLE projects ADD COLUMN source_at BIGINT;

-- Departures from what a project is remembered for. kind: exception (a lower level, for a time), move (another source,
-- for a time), rename (the same ids under another name; found by the registry), loss (an operator's rule let one pass).
-- It holds from starts_at to ends_at; on a critical project starts_at lies three days ahead, and another owner's
-- confirmation brings it near.
CREATE TABLE provenance_changes (
    id            TEXT   NOT NULL PRIMARY KEY,
    project_id    TEXT   NOT NULL REFERENCES projects (id),
    kind          TEXT   NOT NULL,
    level         TEXT,
    from_source   TEXT,
    to_source     TEXT,
    reason        TEXT   NOT NULL,
    opened_by     TEXT   REFERENCES accounts (id),
    opened_at     BIGINT NOT NULL,
    starts_at     BIGINT NOT NULL,
    ends_at       BIGINT NOT NULL,
    confirmed_by  TEXT   REFERENCES accounts (id),
    confirmed_at  BIGINT,
    closed_at     BIGINT,
    used_at       BIGINT,
    uses          BIGINT NOT NULL
);
CREATE INDEX provenance_changes_project ON provenance_changes (project_id, opened_at);

-- Identities whose attestations a project's owners take with API tokens.
CREATE TABLE attestation_identities (
    id          TEXT   NOT NULL PRIMARY KEY,
    project_id  TEXT   NOT NULL REFERENCES projects (id),
    issuer      TEXT   NOT NULL,
    repository  TEXT   NOT NULL,
    workflow    TEXT,
    account_id  TEXT   REFERENCES accounts (id),
    created_at  BIGINT NOT NULL,
    removed_at  BIGINT
);
CREATE INDEX attestation_identities_project ON attestation_identities (project_id);

-- Does what attestations name still exist? One row for each repository, commit and build file. forge: whose pages show it
-- (JSON). state: there, gone, unknown.
-- failures: in a row, since failing_since; gone is shown after three over 72 hours.
CREATE TABLE source_checks (
    repository     TEXT   NOT NULL,
    commit_hash    TEXT   NOT NULL,
    workflow       TEXT   NOT NULL,
    state          TEXT   NOT NULL,
    detail         TEXT   NOT NULL,
    checked_at     BIGINT,
    failing_since  BIGINT,
    failures       BIGINT NOT NULL,
    due_at         BIGINT NOT NULL,
    forge          TEXT   NOT NULL,
    PRIMARY KEY (repository, commit_hash, workflow)
);
CREATE INDEX source_checks_due ON source_checks (due_at);
