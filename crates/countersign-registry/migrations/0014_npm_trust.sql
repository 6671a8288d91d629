-- npm's registry signatures, publishers that only stage, and staged publications.

-- Public keys of the signatures over npm's versions; the secrets lie in the folder of keys. One has no until_at: it signs.
-- What one signed of versions that were published before its until_at counts for ever.
CREATE TABLE npm_keys (
    number    BIGINT NOT NULL PRIMARY KEY,
    keyid     TEXT   NOT NULL UNIQUE,
    spki      TEXT   NOT NULL,
    since_at  BIGINT NOT NULL,
    until_at  BIGINT
);

-- What a publisher's tokens may: publish, stage, or both with a space between. NULL: both.
ALTER TABLE publishers ADD COLUMN may TEXT;

-- Who let a staged publication pass, where it came that way.
ALTER TABLE files ADD COLUMN approver_id TEXT REFERENCES accounts (id);

-- Publications that wait for a person's word: inspected, verified, their bytes kept, nothing logged, nothing served.
-- account_id: whose token sent it, else workflow (JSON) and publisher_id. form: tags, access, scripts (JSON). bundle: the
-- provenance as received. ended_at, ended_why: approved, rejected, expired; a row that ended is kept for a while for whoever asks.
CREATE TABLE staged_publications (
    id            TEXT   NOT NULL PRIMARY KEY,
    ecosystem     TEXT   NOT NULL,
    project_name  TEXT   NOT NULL,
    project_key   TEXT   NOT NULL,
    version       TEXT   NOT NULL,
    filename      TEXT   NOT NULL,
    purl          TEXT   NOT NULL,
    sha256        TEXT   NOT NULL,
    sha1          TEXT   NOT NULL,
    sha512        TEXT   NOT NULL,
    size          BIGINT NOT NULL,
    manifest      TEXT   NOT NULL,
    form          TEXT   NOT NULL,
    bundle        TEXT,
    account_id    TEXT   REFERENCES accounts (id),
    workflow      TEXT,
    publisher_id  TEXT   REFERENCES publishers (id),
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    approver_id   TEXT   REFERENCES accounts (id),
    ended_at      BIGINT,
    ended_why     TEXT
);
CREATE INDEX staged_publications_project ON staged_publications (ecosystem, project_key) WHERE ended_at IS NULL;
-- One at a time waits under an identifier, whoever stages at the same moment.
CREATE UNIQUE INDEX staged_publications_purl ON staged_publications (purl) WHERE ended_at IS NULL;
CREATE INDEX staged_publications_digest ON staged_publications (sha256) WHERE ended_at IS NULL;
