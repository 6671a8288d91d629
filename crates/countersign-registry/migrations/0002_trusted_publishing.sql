-- Trusted publishing. JSON stands in TEXT.

-- Issuers that the operator admits besides the built-in ones. ca_pem: trusted for this issuer besides the machine's roots.
CREATE TABLE issuers (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    url         TEXT   NOT NULL,
    provider    TEXT   NOT NULL,
    ca_pem      TEXT,
    created_at  BIGINT NOT NULL,
    removed_at  BIGINT
);
CREATE UNIQUE INDEX issuers_url ON issuers (url) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX issuers_name ON issuers (name) WHERE removed_at IS NULL;

-- Who may publish a project from where: an issuer and rules over the claims of its tokens, as registered (JSON).
-- project_id is NULL while the publisher is pending: it then waits until pending_until for a project of this name, whose
-- owner will be account_id. lookup: a claim's value that the rules demand, to find the row by; '' fits every token.
-- operator_at: set where the operator registered it, for that account or for the project.
-- pinned: immutable ids (JSON, claim to value). pin_by: until when those that are missing are taken from a first token.
CREATE TABLE publishers (
    id             TEXT   NOT NULL PRIMARY KEY,
    ecosystem      TEXT   NOT NULL,
    project_id     TEXT   REFERENCES projects (id),
    project_name   TEXT   NOT NULL,
    project_key    TEXT   NOT NULL,
    issuer         TEXT   NOT NULL,
    provider       TEXT   NOT NULL,
    lookup         TEXT   NOT NULL,
    registration   TEXT   NOT NULL,
    pinned         TEXT   NOT NULL,
    pin_by         BIGINT,
    account_id     TEXT   REFERENCES accounts (id),
    operator_at    BIGINT,
    created_at     BIGINT NOT NULL,
    pending_until  BIGINT,
    last_used_at   BIGINT,
    removed_at     BIGINT,
    removed_why    TEXT
);
CREATE INDEX publishers_lookup ON publishers (issuer, lookup);
CREATE INDEX publishers_project ON publishers (project_id) WHERE removed_at IS NULL;
CREATE INDEX publishers_pending ON publishers (ecosystem, project_key) WHERE pending_until IS NOT NULL AND removed_at IS NULL;

-- Identity tokens that were exchanged, until they could no longer be. The key is the fence between two exchanges of one.
CREATE TABLE oidc_replays (
    issuer      TEXT   NOT NULL,
    token_key   TEXT   NOT NULL,
    expires_at  BIGINT NOT NULL,
    PRIMARY KEY (issuer, token_key)
);
CREATE INDEX oidc_replays_expired ON oidc_replays (expires_at);

-- Whom a minted token speaks for: the publishers that matched (JSON list of ids) and the claims kept (JSON).
CREATE TABLE workflow_tokens (
    credential_id  TEXT NOT NULL PRIMARY KEY REFERENCES credentials (id),
    ecosystem      TEXT NOT NULL,
    issuer         TEXT NOT NULL,
    provider       TEXT NOT NULL,
    label          TEXT NOT NULL,
    publishers     TEXT NOT NULL,
    claims         TEXT NOT NULL
);

-- Where a file came from: the claims of the workflow that published it.
CREATE TABLE file_origins (
    file_id       TEXT NOT NULL PRIMARY KEY REFERENCES files (id),
    publisher_id  TEXT NOT NULL REFERENCES publishers (id),
    issuer        TEXT NOT NULL,
    provider      TEXT NOT NULL,
    label         TEXT NOT NULL,
    claims        TEXT NOT NULL
);

-- The last refusals of tokens that were genuine but did not fit a publisher; one row for each publisher and code.
CREATE TABLE failed_exchanges (
    publisher_id  TEXT   NOT NULL REFERENCES publishers (id),
    code          TEXT   NOT NULL,
    at            BIGINT NOT NULL,
    times         BIGINT NOT NULL,
    message       TEXT   NOT NULL,
    differences   TEXT   NOT NULL,
    claims        TEXT   NOT NULL,
    PRIMARY KEY (publisher_id, code)
);

-- What the owners of a project should know and could do. subject tells two notices of one kind apart.
CREATE TABLE notices (
    id            TEXT   NOT NULL PRIMARY KEY,
    project_id    TEXT   NOT NULL REFERENCES projects (id),
    kind          TEXT   NOT NULL,
    subject       TEXT   NOT NULL,
    at            BIGINT NOT NULL,
    detail        TEXT   NOT NULL,
    dismissed_at  BIGINT,
    UNIQUE (project_id, kind, subject)
);

-- Policies of a project, set by its owners. minimum_trust: none, token, workflow, provenance.
ALTER TABLE projects ADD COLUMN trusted_only_at BIGINT;
ALTER TABLE projects ADD COLUMN required_environment TEXT;
ALTER TABLE projects ADD COLUMN minimum_trust TEXT;
ALTER TABLE projects ADD COLUMN policy_at BIGINT;
