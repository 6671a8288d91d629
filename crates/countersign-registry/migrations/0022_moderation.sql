-- Quarantine with its cases, freezes and appeals; reports.

-- Since when a release is withheld as a whole, why, and since when by its own people.
ALTER TABLE releases ADD COLUMN quarantined_at BIGINT;
ALTER TABLE releases ADD COLUMN quarantine_reason TEXT;
ALTER TABLE releases ADD COLUMN own_quarantine_at BIGINT;
-- Set where a file is withheld with its release: it comes back with it.
ALTER TABLE files ADD COLUMN withheld_with_release_at BIGINT;
-- Since when a workflow may not publish because of a case.
ALTER TABLE publishers ADD COLUMN frozen_at BIGINT;

-- What is withheld or held, by whom it came about, and what became of it. version and filename: '' for what is larger.
-- cause: operator, reports, scan, feed. held_at: it is a file that was never served. review_by: until when somebody must have
-- looked; overdue_at: nobody had. outcome: released, removed.
CREATE TABLE cases (
    id            TEXT   NOT NULL PRIMARY KEY,
    project_id    TEXT   NOT NULL REFERENCES projects (id),
    subject       TEXT   NOT NULL,
    version       TEXT   NOT NULL,
    filename      TEXT   NOT NULL,
    cause         TEXT   NOT NULL,
    reason        TEXT   NOT NULL,
    held_at       BIGINT,
    opened_at     BIGINT NOT NULL,
    review_by     BIGINT NOT NULL,
    overdue_at    BIGINT,
    appeal        TEXT,
    appealed_at   BIGINT,
    appealed_by   TEXT,
    answer        TEXT,
    answered_at   BIGINT,
    closed_at     BIGINT,
    outcome       TEXT
);
CREATE UNIQUE INDEX cases_open ON cases (subject) WHERE closed_at IS NULL;
CREATE INDEX cases_project ON cases (project_id);

-- Whose credentials a case keeps from doing anything: an account's, or a workflow's.
CREATE TABLE freezes (
    id            TEXT   NOT NULL PRIMARY KEY,
    case_id       TEXT   NOT NULL REFERENCES cases (id),
    account_id    TEXT,
    publisher_id  TEXT,
    frozen_at     BIGINT NOT NULL,
    lifted_at     BIGINT
);
CREATE INDEX freezes_case ON freezes (case_id);

-- Whose reports of malware count for more.
CREATE TABLE trusted_reporters (
    account_id  TEXT   NOT NULL PRIMARY KEY REFERENCES accounts (id),
    since       BIGINT NOT NULL
);

-- What somebody reported. The id is the ticket. account_id: NULL for those without an account, or whose account is erased.
-- verdict: confirmed, unfounded, duplicate.
CREATE TABLE reports (
    id          TEXT   NOT NULL PRIMARY KEY,
    project_id  TEXT   NOT NULL REFERENCES projects (id),
    subject     TEXT   NOT NULL,
    kind        TEXT   NOT NULL,
    evidence    TEXT   NOT NULL,
    text        TEXT   NOT NULL,
    account_id  TEXT,
    trusted_at  BIGINT,
    made_at     BIGINT NOT NULL,
    verdict     TEXT,
    answer      TEXT,
    decided_at  BIGINT
);
CREATE INDEX reports_project ON reports (project_id, made_at);
CREATE INDEX reports_open ON reports (made_at) WHERE verdict IS NULL;
