-- Organisations, teams, requests that two persons decide, approvals, wider scopes of tokens.

-- Organisations share one name space with users; a removed one keeps its name.
CREATE TABLE organisations (
    id            TEXT   NOT NULL PRIMARY KEY,
    name          TEXT   NOT NULL,
    name_key      TEXT   NOT NULL UNIQUE,
    display_name  TEXT   NOT NULL,
    created_at    BIGINT NOT NULL,
    removed_at    BIGINT
);

-- role: owner, manager, member. Who leaves has no row.
CREATE TABLE organisation_members (
    organisation_id  TEXT   NOT NULL REFERENCES organisations (id),
    account_id       TEXT   NOT NULL REFERENCES accounts (id),
    role             TEXT   NOT NULL,
    since            BIGINT NOT NULL,
    PRIMARY KEY (organisation_id, account_id)
);
CREATE INDEX organisation_members_of ON organisation_members (account_id);

-- A team's name_key begins with its organisation's id: team names are unique within one.
ALTER TABLE teams ADD COLUMN organisation_id TEXT REFERENCES organisations (id);
ALTER TABLE teams ADD COLUMN removed_at BIGINT;
CREATE INDEX teams_of ON teams (organisation_id);

-- A namespace is its organisation's until the operator takes it back.
ALTER TABLE namespaces ADD COLUMN organisation_id TEXT REFERENCES organisations (id);
CREATE INDEX namespaces_of ON namespaces (organisation_id);
CREATE INDEX projects_namespace ON projects (namespace_id);

-- Now exactly one of account_id, team_id and organisation_id. An organisation's grant is always that of an owner.
ALTER TABLE grants ADD COLUMN organisation_id TEXT REFERENCES organisations (id);
CREATE INDEX grants_account ON grants (account_id) WHERE ended_at IS NULL;
CREATE INDEX grants_team ON grants (team_id) WHERE ended_at IS NULL;
CREATE INDEX grants_organisation ON grants (organisation_id) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX grants_team_once ON grants (project_id, team_id) WHERE ended_at IS NULL AND project_id IS NOT NULL AND team_id IS NOT NULL;
CREATE UNIQUE INDEX grants_namespace_once ON grants (namespace_id, team_id) WHERE ended_at IS NULL AND namespace_id IS NOT NULL;
CREATE UNIQUE INDEX grants_one_organisation ON grants (project_id) WHERE ended_at IS NULL AND organisation_id IS NOT NULL;

-- The one place that says which roles an account has on a project, through what, and since when (the latest link of
-- the chain). A team counts only for those who are in its organisation still, and only on projects that the organisation
-- owns still.
CREATE VIEW effective_roles AS
    SELECT g.project_id AS project_id, g.account_id AS account_id, g.role AS role, 'account' AS via, g.created_at AS since
    FROM grants g
    WHERE g.ended_at IS NULL AND g.project_id IS NOT NULL AND g.account_id IS NOT NULL
  UNION ALL
    SELECT g.project_id AS project_id, m.account_id AS account_id, 'owner' AS role, 'organisation' AS via,
           CASE WHEN m.since > g.created_at THEN m.since ELSE g.created_at END AS since
    FROM grants g
    JOIN organisations o ON o.id = g.organisation_id AND o.removed_at IS NULL
    JOIN organisation_members m ON m.organisation_id = o.id AND m.role = 'owner'
    WHERE g.ended_at IS NULL AND g.project_id IS NOT NULL
  UNION ALL
    SELECT g.project_id AS project_id, m.account_id AS account_id, g.role AS role, 'team' AS via,
           CASE WHEN m.since > g.created_at THEN m.since ELSE g.created_at END AS since
    FROM grants g
    JOIN teams t ON t.id = g.team_id AND t.removed_at IS NULL
    JOIN team_members m ON m.team_id = t.id
    JOIN organisation_members o ON o.organisation_id = t.organisation_id AND o.account_id = m.account_id
    JOIN grants w ON w.project_id = g.project_id AND w.organisation_id = t.organisation_id AND w.ended_at IS NULL
    WHERE g.ended_at IS NULL AND g.project_id IS NOT NULL AND g.role <> 'owner'
  UNION ALL
    SELECT p.id AS project_id, m.account_id AS account_id, g.role AS role, 'namespace' AS via,
           CASE WHEN m.since > g.created_at THEN m.since ELSE g.created_at END AS since
    FROM grants g
    JOIN namespaces n ON n.id = g.namespace_id
    JOIN projects p ON p.namespace_id = n.id
    JOIN teams t ON t.id = g.team_id AND t.organisation_id = n.organisation_id AND t.removed_at IS NULL
    JOIN team_members m ON m.team_id = t.id
    JOIN organisation_members o ON o.organisation_id = t.organisation_id AND o.account_id = m.account_id
    JOIN grants w ON w.project_id = p.id AND w.organisation_id = t.organisation_id AND w.ended_at IS NULL
    WHERE g.ended_at IS NULL AND g.namespace_id IS NOT NULL AND g.role <> 'owner';

-- Good once, for the invited account alone.
CREATE TABLE invitations (
    id               TEXT   NOT NULL PRIMARY KEY,
    organisation_id  TEXT   NOT NULL REFERENCES organisations (id),
    account_id       TEXT   NOT NULL REFERENCES accounts (id),
    role             TEXT   NOT NULL,
    secret_hash      TEXT   NOT NULL UNIQUE,
    invited_by       TEXT   REFERENCES accounts (id),
    created_at       BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,
    accepted_at      BIGINT,
    ended_at         BIGINT
);
CREATE INDEX invitations_of ON invitations (account_id);
CREATE INDEX invitations_to ON invitations (organisation_id);

-- What takes two persons or a waiting time. kind: remove-owner, transfer. Exactly one of project_id and
-- for_organisation_id is what it is about; account_id and organisation_id say who loses or gets it.
CREATE TABLE proposals (
    id                   TEXT   NOT NULL PRIMARY KEY,
    kind                 TEXT   NOT NULL,
    project_id           TEXT   REFERENCES projects (id),
    for_organisation_id  TEXT   REFERENCES organisations (id),
    account_id           TEXT   REFERENCES accounts (id),
    organisation_id      TEXT   REFERENCES organisations (id),
    by_account_id        TEXT   NOT NULL REFERENCES accounts (id),
    created_at           BIGINT NOT NULL,
    ripe_at              BIGINT NOT NULL,
    expires_at           BIGINT NOT NULL,
    confirmed_at         BIGINT,
    confirmed_by         TEXT   REFERENCES accounts (id),
    cancelled_at         BIGINT,
    cancelled_by         TEXT   REFERENCES accounts (id)
);
CREATE INDEX proposals_project ON proposals (project_id);
CREATE INDEX proposals_organisation ON proposals (for_organisation_id);

-- One act on one thing, by its digest where it has bytes ('' where not), with a passkey's consent. Used up once.
CREATE TABLE approvals (
    id             TEXT   NOT NULL PRIMARY KEY,
    code           TEXT   NOT NULL UNIQUE,
    account_id     TEXT   NOT NULL REFERENCES accounts (id),
    act            TEXT   NOT NULL,
    purl           TEXT   NOT NULL,
    digest         TEXT   NOT NULL,
    asked_by       TEXT   NOT NULL,
    created_at     BIGINT NOT NULL,
    expires_at     BIGINT NOT NULL,
    granted_at     BIGINT,
    granted_until  BIGINT,
    refused_at     BIGINT,
    used_at        BIGINT
);
CREATE INDEX approvals_of ON approvals (account_id, act, purl);

-- networks: a JSON list; NULL is everywhere.
ALTER TABLE credentials ADD COLUMN namespace_key TEXT;
ALTER TABLE credentials ADD COLUMN networks TEXT;

-- Withheld by the project's own people, who may serve it again; a quarantine by the operator takes its place.
ALTER TABLE projects ADD COLUMN own_quarantine_at BIGINT;
ALTER TABLE files ADD COLUMN own_quarantine_at BIGINT;
