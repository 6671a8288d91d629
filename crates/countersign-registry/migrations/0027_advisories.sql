-- What follows from advisories: feeds that are read again by themselves, the registry's own that tell of cases, exemptions from
-- what is not served, who is to be warned, and what others say about source projects.

-- The registry's own advisory that tells of a case.
ALTER TABLE cases ADD COLUMN advisory_id TEXT;

-- How the last look at a feed of the settings ended. mark: which state of its files was read.
CREATE TABLE advisory_sources (
    feed       TEXT   NOT NULL PRIMARY KEY,
    mark       TEXT   NOT NULL,
    looked_at  BIGINT NOT NULL,
    problem    TEXT
);

-- Served in spite of an advisory. version: '' for all.
CREATE TABLE advisory_exemptions (
    id           TEXT   NOT NULL PRIMARY KEY,
    ecosystem    TEXT   NOT NULL,
    name_key     TEXT   NOT NULL,
    version      TEXT   NOT NULL,
    advisory_id  TEXT   NOT NULL,
    reason       TEXT   NOT NULL,
    made_at      BIGINT NOT NULL,
    ended_at     BIGINT
);
CREATE INDEX advisory_exemptions_about ON advisory_exemptions (ecosystem, name_key);

-- Who downloaded what on which day, while the operator keeps that.
CREATE TABLE downloaders (
    account_id  TEXT   NOT NULL REFERENCES accounts (id),
    file_id     TEXT   NOT NULL REFERENCES files (id),
    day         BIGINT NOT NULL,
    PRIMARY KEY (account_id, file_id, day)
);
CREATE INDEX downloaders_of ON downloaders (file_id);
CREATE INDEX downloaders_day ON downloaders (day);

-- Who was told of an advisory because they had downloaded what it means.
CREATE TABLE download_warnings (
    advisory_id  TEXT   NOT NULL,
    account_id   TEXT   NOT NULL REFERENCES accounts (id),
    warned_at    BIGINT NOT NULL,
    PRIMARY KEY (advisory_id, account_id)
);

-- What a source says about a repository: never a verdict of this registry. repository: host and path, in lower case. said: as JSON.
CREATE TABLE source_health (
    repository   TEXT   NOT NULL,
    source       TEXT   NOT NULL,
    said_at      TEXT   NOT NULL,
    said         TEXT   NOT NULL,
    imported_at  BIGINT NOT NULL,
    PRIMARY KEY (repository, source)
);
CREATE INDEX source_health_imported ON source_health (imported_at);
