-- Which packages somebody marked for themselves (`npm star`).
CREATE TABLE stars (
    account_id TEXT NOT NULL REFERENCES accounts (id),
    project_id TEXT NOT NULL REFERENCES projects (id),
    starred_at BIGINT NOT NULL,
    PRIMARY KEY (account_id, project_id)
);
