-- Incidents: by which credential something was done, what is stopped, and the records that are kept of it.

-- The API token, workflow's token or session by which it was done; NULL where there was none, and before this was kept.
ALTER TABLE events ADD COLUMN credential_id TEXT;

-- What nobody but the operator changes for now, with the operator's words. scope: registry, organisation, project, account.
-- subject: its id; '' for the registry. name: as it is shown.
CREATE TABLE stops (
    id          TEXT   NOT NULL PRIMARY KEY,
    scope       TEXT   NOT NULL,
    subject     TEXT   NOT NULL,
    name        TEXT   NOT NULL,
    reason      TEXT   NOT NULL,
    stopped_at  BIGINT NOT NULL,
    lifted_at   BIGINT
);
CREATE UNIQUE INDEX stops_open ON stops (scope, subject) WHERE lifted_at IS NULL;

-- What became known and was done about it. began_at: from when on it is about. public_at: since when everybody reads it.
CREATE TABLE incidents (
    id          TEXT   NOT NULL PRIMARY KEY,
    title       TEXT   NOT NULL,
    summary     TEXT   NOT NULL,
    began_at    BIGINT NOT NULL,
    opened_at   BIGINT NOT NULL,
    public_at   BIGINT,
    closed_at   BIGINT
);

-- The projects, releases and files that it is about, by their purls.
CREATE TABLE incident_subjects (
    incident_id  TEXT   NOT NULL REFERENCES incidents (id),
    purl         TEXT   NOT NULL,
    project_id   TEXT   NOT NULL REFERENCES projects (id),
    added_at     BIGINT NOT NULL,
    PRIMARY KEY (incident_id, purl)
);

-- What was said about it, in order.
CREATE TABLE incident_updates (
    id           TEXT   NOT NULL PRIMARY KEY,
    incident_id  TEXT   NOT NULL REFERENCES incidents (id),
    at           BIGINT NOT NULL,
    text         TEXT   NOT NULL
);
CREATE INDEX incident_updates_of ON incident_updates (incident_id, at);
