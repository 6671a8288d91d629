-- Mail, notices, recovery, privacy. JSON stands in TEXT. Secrets stand as SHA-256 only.

-- Mail to be sent, written in the transaction of what it tells. data holds no secret: a link is made when the mail is
-- sent. data and address are emptied once it is sent or given up.
CREATE TABLE mails (
    id           TEXT   NOT NULL PRIMARY KEY,
    account_id   TEXT   REFERENCES accounts (id),
    kind         TEXT   NOT NULL,
    address      TEXT   NOT NULL,
    address_hash TEXT   NOT NULL,
    subject      TEXT   NOT NULL,
    data         TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    run_at       BIGINT NOT NULL,
    lease_until  BIGINT,
    attempts     BIGINT NOT NULL,
    last_error   TEXT,
    sent_at      BIGINT,
    given_up_at  BIGINT
);
CREATE INDEX mails_ready ON mails (run_at) WHERE sent_at IS NULL AND given_up_at IS NULL;
CREATE INDEX mails_lately ON mails (address_hash, kind, created_at);
CREATE INDEX mails_of ON mails (account_id);

-- Secrets in links that were mailed; each is good once, and using one ends all of its purpose and subject.
CREATE TABLE mail_secrets (
    secret_hash  TEXT   NOT NULL PRIMARY KEY,
    purpose      TEXT   NOT NULL,
    subject      TEXT   NOT NULL,
    account_id   TEXT   REFERENCES accounts (id),
    address      TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX mail_secrets_subject ON mail_secrets (purpose, subject);
CREATE INDEX mail_secrets_of ON mail_secrets (account_id);
CREATE INDEX mail_secrets_expired ON mail_secrets (expires_at);

-- Addresses that somebody wants to add to an account and has not proved yet; they keep nobody from using them.
CREATE TABLE pending_addresses (
    id           TEXT   NOT NULL PRIMARY KEY,
    account_id   TEXT   NOT NULL REFERENCES accounts (id),
    address      TEXT   NOT NULL,
    address_key  TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    UNIQUE (account_id, address_key)
);

-- What the holder of an account should know. origin_address and origin_agent are emptied after a set time.
CREATE TABLE account_notices (
    id              TEXT   NOT NULL PRIMARY KEY,
    account_id      TEXT   NOT NULL REFERENCES accounts (id),
    kind            TEXT   NOT NULL,
    data            TEXT   NOT NULL,
    at              BIGINT NOT NULL,
    origin_address  TEXT,
    origin_agent    TEXT,
    seen_at         BIGINT
);
CREATE INDEX account_notices_of ON account_notices (account_id, at);

-- since when no mail to this address counts for recovery, and why.
ALTER TABLE account_emails ADD COLUMN abandoned_at BIGINT;
ALTER TABLE account_emails ADD COLUMN abandoned_why TEXT;

-- What was seen of the domains of addresses. bad_since: the first of the observations that agree.
CREATE TABLE mail_domains (
    domain      TEXT   NOT NULL PRIMARY KEY,
    checked_at  BIGINT NOT NULL,
    next_at     BIGINT NOT NULL,
    bad_since   BIGINT,
    finding     TEXT
);
CREATE INDEX mail_domains_next ON mail_domains (next_at);

-- Getting back into an account. opened_at: the first proof; ready_at: when the waiting time ends, once there are enough.
-- demands_operators: how many operators must agree.
CREATE TABLE recovery_cases (
    id                 TEXT   NOT NULL PRIMARY KEY,
    account_id         TEXT   NOT NULL REFERENCES accounts (id),
    secret_hash        TEXT   NOT NULL UNIQUE,
    address            TEXT   NOT NULL,
    demands_operators  BIGINT NOT NULL,
    opened_at          BIGINT NOT NULL,
    ready_at           BIGINT,
    told_ready_at      BIGINT,
    expires_at         BIGINT NOT NULL,
    stopped_at         BIGINT,
    stopped_why        TEXT,
    finished_at        BIGINT,
    origin_address     TEXT,
    origin_agent       TEXT
);
CREATE UNIQUE INDEX recovery_cases_open ON recovery_cases (account_id) WHERE stopped_at IS NULL AND finished_at IS NULL;

-- kind: address, owner, identity; proof tells two of one kind apart. kind operator: an operator agreed.
CREATE TABLE recovery_proofs (
    case_id  TEXT   NOT NULL REFERENCES recovery_cases (id),
    kind     TEXT   NOT NULL,
    proof    TEXT   NOT NULL,
    at       BIGINT NOT NULL,
    PRIMARY KEY (case_id, kind, proof)
);

ALTER TABLE accounts ADD COLUMN recovered_at BIGINT;
ALTER TABLE accounts ADD COLUMN erased_at BIGINT;

-- Names of erased accounts and organisations, hashed: never given out again.
CREATE TABLE retired_names (
    name_hash   TEXT   NOT NULL PRIMARY KEY,
    retired_at  BIGINT NOT NULL
);

-- Who reported a token as leaked, and where it stood. Outlives minted tokens, hence no reference.
CREATE TABLE leak_reports (
    id             TEXT   NOT NULL PRIMARY KEY,
    credential_id  TEXT   NOT NULL,
    reporter       TEXT   NOT NULL,
    source         TEXT   NOT NULL,
    url            TEXT   NOT NULL,
    at             BIGINT NOT NULL
);
CREATE INDEX leak_reports_of ON leak_reports (credential_id);
