-- Logs that are kept, and identity tokens that are judged, for registries elsewhere (docs/operating-log-service.md).

-- Tokens that are good for one part (tuf, log, exchange) of one service and for nothing else.
CREATE TABLE service_tokens (
    id         TEXT   NOT NULL PRIMARY KEY,
    part       TEXT   NOT NULL,
    service    TEXT   NOT NULL,
    hash       TEXT   NOT NULL UNIQUE,
    hint       TEXT   NOT NULL,
    label      TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT
);
INSERT INTO service_tokens (id, part, service, hash, hint, label, created_at, revoked_at)
    SELECT id, 'tuf', service, hash, hint, label, created_at, revoked_at FROM tuf_service_tokens;
DROP TABLE tuf_service_tokens;

-- Logs of services. policy: a tlog-policy file; NULL as the registry's own log, '' nobody cosigns. identifiers: 1 where each entry has
-- one that stands for it alone. numbered: entries that have a place, whether they are shown yet or not; whoever gives places holds
-- this row. verifier_keys: lines.
CREATE TABLE log_services (
    name          TEXT   NOT NULL PRIMARY KEY,
    origin        TEXT   NOT NULL,
    verifier_keys TEXT   NOT NULL,
    interval_ms   BIGINT NOT NULL,
    identifiers   BIGINT NOT NULL,
    policy        TEXT,
    numbered      BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    frozen_at     BIGINT
);

-- What is shown of them. Apart, so that showing does not wait for numbering.
CREATE TABLE log_service_heads (
    service    TEXT   NOT NULL PRIMARY KEY REFERENCES log_services (name),
    size       BIGINT NOT NULL,
    root       TEXT   NOT NULL,
    checkpoint TEXT   NOT NULL,
    signed_at  BIGINT NOT NULL
);

-- Their entries. hash: of the leaf, by which the same bytes are found again. body: base64. No foreign keys: they are written by the
-- thousand, under a lock on the row of the service.
CREATE TABLE log_service_entries (
    service TEXT   NOT NULL,
    idx     BIGINT NOT NULL,
    hash    TEXT   NOT NULL,
    body    TEXT   NOT NULL,
    PRIMARY KEY (service, idx)
);
CREATE UNIQUE INDEX log_service_entries_hash ON log_service_entries (service, hash);

-- What an identifier stands for, for ever.
CREATE TABLE log_service_identifiers (
    service    TEXT   NOT NULL,
    identifier TEXT   NOT NULL,
    idx        BIGINT NOT NULL,
    PRIMARY KEY (service, identifier)
);

-- Workflows that may publish a project of a registry elsewhere. registration, pinned and pin_by: as of our own publishers.
CREATE TABLE service_publishers (
    id           TEXT   NOT NULL PRIMARY KEY,
    service      TEXT   NOT NULL,
    project      TEXT   NOT NULL,
    issuer       TEXT   NOT NULL,
    registration TEXT   NOT NULL,
    pinned       TEXT   NOT NULL,
    pin_by       BIGINT,
    created_at   BIGINT NOT NULL,
    removed_at   BIGINT
);
CREATE INDEX service_publishers_service ON service_publishers (service, issuer) WHERE removed_at IS NULL;
