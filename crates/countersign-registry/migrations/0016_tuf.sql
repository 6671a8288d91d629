-- TUF (docs/spec/tuf.md): what is signed of our own index, and what services sign for others.

-- One signed repository. `version` is that of its timestamp: whoever publishes names the one that it follows.
CREATE TABLE tuf_repositories (
    name       TEXT   NOT NULL PRIMARY KEY,
    version    BIGINT NOT NULL,
    -- Where its keys are and how long its documents are good for, JSON.
    terms      TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);

-- The files, as they are served. Only the timestamp's is ever replaced.
CREATE TABLE tuf_metadata (
    repository    TEXT   NOT NULL REFERENCES tuf_repositories (name),
    file          TEXT   NOT NULL,
    role          TEXT   NOT NULL,
    version       BIGINT NOT NULL,
    body          TEXT   NOT NULL,
    -- When something newer took its place; it is deleted a day later.
    superseded_at BIGINT,
    PRIMARY KEY (repository, file)
);
CREATE INDEX tuf_metadata_superseded ON tuf_metadata (superseded_at) WHERE superseded_at IS NOT NULL;
CREATE INDEX tuf_metadata_role ON tuf_metadata (repository, role, version);

-- How each role that snapshots list stands: version, end, signers; JSON.
CREATE TABLE tuf_roles (
    repository TEXT NOT NULL REFERENCES tuf_repositories (name),
    role       TEXT NOT NULL,
    standing   TEXT NOT NULL,
    PRIMARY KEY (repository, role)
);

-- The targets. `place` is the first 32 bits of the path's SHA-256: every division into bins is a division of places.
CREATE TABLE tuf_targets (
    repository    TEXT   NOT NULL REFERENCES tuf_repositories (name),
    path          TEXT   NOT NULL,
    -- The digest that its file's name begins with.
    digest        TEXT   NOT NULL,
    place         BIGINT NOT NULL,
    length        BIGINT NOT NULL,
    -- All that metadata says of it, JSON; NULL where that is length and SHA-256.
    info          TEXT,
    -- When something newer took its place: clients who began before may still ask for it.
    superseded_at BIGINT,
    PRIMARY KEY (repository, path, digest)
);
CREATE INDEX tuf_targets_place ON tuf_targets (repository, place) WHERE superseded_at IS NULL;
CREATE INDEX tuf_targets_superseded ON tuf_targets (superseded_at) WHERE superseded_at IS NOT NULL;

-- Projects whose index document is to be rendered and signed anew by the next beat.
CREATE TABLE documents_due (
    project_id TEXT   NOT NULL PRIMARY KEY REFERENCES projects (id),
    since_at   BIGINT NOT NULL
);
