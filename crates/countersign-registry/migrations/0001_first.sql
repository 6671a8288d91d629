-- House dialect: TEXT (ids, digests in hex, JSON) and BIGINT (numbers, times in microseconds since 1970 UTC);
-- no booleans, no blobs; the same text runs on SQLite and PostgreSQL. What happened is stored as its time.
-- Personal data stands in accounts and account_emails only.

CREATE TABLE instance (
    key        TEXT NOT NULL PRIMARY KEY,
    value      TEXT NOT NULL
);

-- People -----------------------------------------------------------------------------------------------------

CREATE TABLE accounts (
    id              TEXT   NOT NULL PRIMARY KEY,
    name            TEXT   NOT NULL,
    name_key        TEXT   NOT NULL UNIQUE,
    display_name    TEXT,
    operator_since  BIGINT,
    created_at      BIGINT NOT NULL,
    disabled_at     BIGINT
);

CREATE TABLE account_emails (
    id           TEXT   NOT NULL PRIMARY KEY,
    account_id   TEXT   NOT NULL REFERENCES accounts (id),
    address      TEXT   NOT NULL,
    address_key  TEXT   NOT NULL UNIQUE,
    verified_at  BIGINT,
    primary_at   BIGINT,
    created_at   BIGINT NOT NULL
);
CREATE INDEX account_emails_of ON account_emails (account_id);

CREATE TABLE teams (
    id           TEXT   NOT NULL PRIMARY KEY,
    name         TEXT   NOT NULL,
    name_key     TEXT   NOT NULL UNIQUE,
    created_at   BIGINT NOT NULL
);

CREATE TABLE team_members (
    team_id      TEXT   NOT NULL REFERENCES teams (id),
    account_id   TEXT   NOT NULL REFERENCES accounts (id),
    role         TEXT   NOT NULL,
    since        BIGINT NOT NULL,
    PRIMARY KEY (team_id, account_id)
);
CREATE INDEX team_members_of ON team_members (account_id);

-- kind: token, enrolment; later password, passkey, totp, recovery-code, session, workflow-token.
-- strength: none, token, workflow, phishproof.
CREATE TABLE credentials (
    id             TEXT   NOT NULL PRIMARY KEY,
    account_id     TEXT   REFERENCES accounts (id),
    kind           TEXT   NOT NULL,
    strength       TEXT   NOT NULL,
    secret_hash    TEXT   NOT NULL UNIQUE,
    hint           TEXT   NOT NULL,
    label          TEXT   NOT NULL,
    ecosystem      TEXT,
    project_key    TEXT,
    action         TEXT,
    created_at     BIGINT NOT NULL,
    expires_at     BIGINT,
    revoked_at     BIGINT,
    revoked_why    TEXT,
    last_used_at   BIGINT
);
CREATE INDEX credentials_of ON credentials (account_id);

-- Packages ---------------------------------------------------------------------------------------------------

-- npm scopes, Maven groupIds, organisation prefixes.
CREATE TABLE namespaces (
    id           TEXT   NOT NULL PRIMARY KEY,
    ecosystem    TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    key          TEXT   NOT NULL,
    kind         TEXT   NOT NULL,
    reserved_at  BIGINT,
    created_at   BIGINT NOT NULL,
    UNIQUE (ecosystem, key)
);

-- serial: grows with every change of what is served. sequence and last_leaf: the project's own chain in the log;
-- last_leaf is NULL where the leaf before stands in a closed log.
-- skeleton: the name with look-alike characters folded; two live projects never share one.
-- trust_level: none, token, workflow, provenance; the highest ever reached.
CREATE TABLE projects (
    id             TEXT   NOT NULL PRIMARY KEY,
    ecosystem      TEXT   NOT NULL,
    name           TEXT   NOT NULL,
    key            TEXT   NOT NULL,
    skeleton       TEXT   NOT NULL,
    namespace_id   TEXT   REFERENCES namespaces (id),
    status         TEXT   NOT NULL,
    status_reason  TEXT,
    status_before  TEXT,
    status_at      BIGINT NOT NULL,
    trust_level    TEXT   NOT NULL,
    trust_source   TEXT,
    trust_at       BIGINT NOT NULL,
    visible_at     BIGINT,
    summary        TEXT   NOT NULL,
    latest         TEXT   NOT NULL,
    serial         BIGINT NOT NULL,
    sequence       BIGINT NOT NULL,
    last_leaf      BIGINT,
    created_at     BIGINT NOT NULL,
    updated_at     BIGINT NOT NULL,
    removed_at     BIGINT,
    UNIQUE (ecosystem, key)
);
CREATE INDEX projects_skeleton ON projects (ecosystem, skeleton);
CREATE INDEX projects_newest ON projects (updated_at);

-- Exactly one of account_id and team_id, exactly one of project_id and namespace_id.
CREATE TABLE grants (
    id            TEXT   NOT NULL PRIMARY KEY,
    account_id    TEXT   REFERENCES accounts (id),
    team_id       TEXT   REFERENCES teams (id),
    project_id    TEXT   REFERENCES projects (id),
    namespace_id  TEXT   REFERENCES namespaces (id),
    role          TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    ended_at      BIGINT
);
CREATE INDEX grants_project ON grants (project_id) WHERE ended_at IS NULL;
CREATE INDEX grants_namespace ON grants (namespace_id) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX grants_once ON grants (project_id, account_id) WHERE ended_at IS NULL AND project_id IS NOT NULL AND account_id IS NOT NULL;

CREATE TABLE releases (
    id             TEXT   NOT NULL PRIMARY KEY,
    project_id     TEXT   NOT NULL REFERENCES projects (id),
    version        TEXT   NOT NULL,
    version_key    TEXT   NOT NULL,
    prerelease     BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    yanked_at      BIGINT,
    yanked_reason  TEXT,
    removed_at     BIGINT,
    UNIQUE (project_id, version_key)
);

-- METADATA and PKG-INFO as they stood in the archive, content-addressed: the wheels of a release mostly share one.
CREATE TABLE metadata_texts (
    sha256  TEXT NOT NULL PRIMARY KEY,
    body    TEXT NOT NULL
);

-- What a metadata text asks for.
CREATE TABLE dependencies (
    metadata_sha256  TEXT   NOT NULL REFERENCES metadata_texts (sha256),
    position         BIGINT NOT NULL,
    ecosystem        TEXT   NOT NULL,
    name_key         TEXT   NOT NULL,
    requirement      TEXT   NOT NULL,
    marker           TEXT   NOT NULL,
    kind             TEXT   NOT NULL,
    PRIMARY KEY (metadata_sha256, position)
);
CREATE INDEX dependencies_on ON dependencies (ecosystem, name_key);

-- state: staged, held, live, quarantined, removed; the time each began stands beside it.
-- leaf: its index in the log leaf_shard.
CREATE TABLE files (
    id               TEXT   NOT NULL PRIMARY KEY,
    project_id       TEXT   NOT NULL REFERENCES projects (id),
    release_id       TEXT   NOT NULL REFERENCES releases (id),
    filename         TEXT   NOT NULL,
    filename_key     TEXT   NOT NULL,
    purl             TEXT   NOT NULL,
    identifier       TEXT   NOT NULL UNIQUE,
    size             BIGINT NOT NULL,
    sha256           TEXT   NOT NULL,
    blake2b_256      TEXT   NOT NULL,
    md5              TEXT   NOT NULL,
    sha512           TEXT,
    filetype         TEXT   NOT NULL,
    python_tag       TEXT   NOT NULL,
    requires_python  TEXT,
    metadata_sha256  TEXT   NOT NULL REFERENCES metadata_texts (sha256),
    summary          TEXT   NOT NULL,
    manifest         TEXT   NOT NULL,
    state            TEXT   NOT NULL,
    staged_at        BIGINT NOT NULL,
    held_at          BIGINT,
    live_at          BIGINT,
    quarantined_at   BIGINT,
    removed_at       BIGINT,
    withheld_reason  TEXT,
    leaf             BIGINT,
    leaf_shard       BIGINT,
    event_id         TEXT   NOT NULL,
    uploader_id      TEXT   REFERENCES accounts (id)
);
CREATE INDEX files_project ON files (project_id);
CREATE INDEX files_sha256 ON files (sha256);
-- Two spellings of one file name are one file; a removed file keeps its spelling taken.
CREATE UNIQUE INDEX files_one_spelling ON files (release_id, filename_key);
CREATE UNIQUE INDEX files_one_sdist ON files (release_id) WHERE filetype = 'sdist' AND removed_at IS NULL;

-- Every identifier (file purl) that ever named bytes, under its full SHA-256: at most one digest each, for ever.
-- Rows are never deleted and never freed; `sha256` never changes. Survives the removal of file, release and project.
CREATE TABLE identifiers (
    identifier   TEXT   NOT NULL PRIMARY KEY,
    purl         TEXT   NOT NULL,
    sha256       TEXT   NOT NULL,
    project_key  TEXT   NOT NULL,
    created_at   BIGINT NOT NULL
);

CREATE TABLE downloads (
    file_id     TEXT   NOT NULL REFERENCES files (id),
    project_id  TEXT   NOT NULL REFERENCES projects (id),
    day         BIGINT NOT NULL,
    count       BIGINT NOT NULL,
    PRIMARY KEY (file_id, day)
);
CREATE INDEX downloads_project ON downloads (project_id, day);

-- What happened, and the log ---------------------------------------------------------------------------------

-- Append-only. Actor and account stand by id: names live in accounts only. The two salts open the commitments in the
-- event's leaf; they alone may be set to NULL later (erasure): the leaf then no longer tells who acted.
CREATE TABLE events (
    id          TEXT   NOT NULL PRIMARY KEY,
    at          BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    subject     TEXT   NOT NULL,
    project_id  TEXT   REFERENCES projects (id),
    file_id     TEXT   REFERENCES files (id),
    actor_kind  TEXT   NOT NULL,
    actor_id    TEXT,
    strength    TEXT   NOT NULL,
    account_id  TEXT,
    detail      TEXT   NOT NULL,
    actor_salt    TEXT,
    account_salt  TEXT
);
CREATE INDEX events_project ON events (project_id);

-- Committed events that are not yet in the log. `leaf`: the facts of the leaf to be, as JSON.
CREATE TABLE outbox (
    event_id    TEXT   NOT NULL PRIMARY KEY REFERENCES events (id),
    project_id  TEXT,
    file_id     TEXT,
    leaf        TEXT   NOT NULL
);

-- The log itself; `idx` counts from 0 without gaps within a shard. The primary key is the fence between two writers.
CREATE TABLE leaves (
    shard       BIGINT NOT NULL,
    idx         BIGINT NOT NULL,
    event_id    TEXT   NOT NULL UNIQUE,
    project_id  TEXT,
    kind        TEXT   NOT NULL,
    subject     TEXT   NOT NULL,
    at          BIGINT NOT NULL,
    body        TEXT   NOT NULL,
    hash        TEXT   NOT NULL,
    PRIMARY KEY (shard, idx)
);
CREATE INDEX leaves_project ON leaves (project_id);

-- One row a shard. `size` is what is served; it grows by compare-and-swap only. frozen_at: no leaf ever again.
CREATE TABLE log_head (
    shard       BIGINT NOT NULL PRIMARY KEY,
    origin      TEXT   NOT NULL,
    size        BIGINT NOT NULL,
    root        TEXT   NOT NULL,
    checkpoint  TEXT   NOT NULL,
    signed_at   BIGINT NOT NULL,
    frozen_at   BIGINT
);

-- Rendered index documents, content-addressed in the blob store; this row is the pointer.
CREATE TABLE documents (
    path         TEXT   NOT NULL PRIMARY KEY,
    project_id   TEXT   REFERENCES projects (id),
    digest       TEXT   NOT NULL,
    size         BIGINT NOT NULL,
    serial       BIGINT NOT NULL,
    rendered_at  BIGINT NOT NULL
);

CREATE TABLE jobs (
    id           TEXT   NOT NULL PRIMARY KEY,
    kind         TEXT   NOT NULL,
    payload      TEXT   NOT NULL,
    state        TEXT   NOT NULL,
    run_at       BIGINT NOT NULL,
    lease_until  BIGINT,
    attempts     BIGINT NOT NULL,
    last_error   TEXT,
    created_at   BIGINT NOT NULL
);
CREATE INDEX jobs_ready ON jobs (run_at) WHERE state = 'queued';
