-- What the scanner is to look at, what it found, and what is known to be bad.

-- A file and its scan. leased_until: some process has it in hand until then. traits: what the next release is compared with (JSON).
-- problem: why the last attempt came to nothing. held_at: the file waits for its scan before it is served.
CREATE TABLE scans (
    file_id       TEXT   NOT NULL PRIMARY KEY REFERENCES files (id),
    queued_at     BIGINT NOT NULL,
    leased_until  BIGINT NOT NULL,
    attempts      BIGINT NOT NULL,
    held_at       BIGINT,
    done_at       BIGINT,
    score         BIGINT,
    traits        TEXT,
    problem       TEXT
);
CREATE INDEX scans_waiting ON scans (queued_at) WHERE done_at IS NULL;

CREATE TABLE findings (
    id            TEXT   NOT NULL PRIMARY KEY,
    file_id       TEXT   NOT NULL REFERENCES files (id),
    rule          TEXT   NOT NULL,
    title         TEXT   NOT NULL,
    score         BIGINT NOT NULL,
    path          TEXT   NOT NULL,
    line          BIGINT NOT NULL,
    place         BIGINT NOT NULL,
    snippet       TEXT   NOT NULL,
    sha256        TEXT   NOT NULL,
    found_at      BIGINT NOT NULL,
    dismissed_at  BIGINT
);
CREATE INDEX findings_file ON findings (file_id);

-- Digests of files, and of members of archives, that are known to do harm: where from, and what it is called there.
CREATE TABLE bad_digests (
    sha256        TEXT   NOT NULL PRIMARY KEY,
    name          TEXT   NOT NULL,
    source        TEXT   NOT NULL,
    added_at      BIGINT NOT NULL,
    withdrawn_at  BIGINT
);
