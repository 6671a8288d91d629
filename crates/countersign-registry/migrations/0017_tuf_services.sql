-- Repositories of TUF that registries elsewhere have signed here (docs/operating-tuf-service.md). What is published of them stands in the
-- tables of 0016, under `service/NAME`.

CREATE TABLE tuf_services (
    name       TEXT   NOT NULL PRIMARY KEY,
    -- Where its online key is, and the one that a new root may put in its place.
    key_source TEXT   NOT NULL,
    next_key   TEXT,
    -- none, signing (the first root waits for signatures) or finished.
    state      TEXT   NOT NULL,
    -- What its ceremony asked for, JSON.
    settings   TEXT   NOT NULL,
    -- The task of its ceremony.
    task_id    TEXT,
    created_at BIGINT NOT NULL
);

-- Documents that wait for people's signatures. `about` is what is done with them then, JSON.
CREATE TABLE tuf_service_pending (
    service    TEXT   NOT NULL REFERENCES tuf_services (name),
    role       TEXT   NOT NULL,
    body       TEXT   NOT NULL,
    about      TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (service, role)
);

-- Changes that wait for a call of their own to be published. `info` is JSON, NULL for what is to go.
CREATE TABLE tuf_service_deferred (
    service    TEXT   NOT NULL REFERENCES tuf_services (name),
    path       TEXT   NOT NULL,
    info       TEXT,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (service, path)
);

-- What was asked for and what came of it.
CREATE TABLE tuf_service_tasks (
    id         TEXT   NOT NULL PRIMARY KEY,
    service    TEXT   NOT NULL REFERENCES tuf_services (name),
    state      TEXT   NOT NULL,
    result     TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX tuf_service_tasks_age ON tuf_service_tasks (created_at);

-- Tokens that are good for one service and for nothing else.
CREATE TABLE tuf_service_tokens (
    id         TEXT   NOT NULL PRIMARY KEY,
    service    TEXT   NOT NULL REFERENCES tuf_services (name),
    hash       TEXT   NOT NULL UNIQUE,
    hint       TEXT   NOT NULL,
    label      TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
