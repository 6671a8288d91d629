-- Sign-in. Secrets stand as SHA-256 (those with 120 bits and more), as argon2id (passwords), or sealed with the key
-- of the instance (what codes are made of).

-- Somebody wants an account. It becomes one when the mailed link is used; until then it holds the name only.
CREATE TABLE sign_ups (
    id          TEXT   NOT NULL PRIMARY KEY,
    name        TEXT   NOT NULL,
    name_key    TEXT   NOT NULL UNIQUE,
    address     TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL
);

-- hash: PHC string. breach_checked_at: when it was last held against all that is known; breached_at: it was found there.
CREATE TABLE passwords (
    account_id         TEXT   NOT NULL PRIMARY KEY REFERENCES accounts (id),
    hash               TEXT   NOT NULL,
    changed_at         BIGINT NOT NULL,
    breach_checked_at  BIGINT,
    breached_at        BIGINT
);

-- kind: passkey, security-key, totp. credential_key: SHA-256 of the credential's id. secret: the public key with its
-- counter as JSON, or the sealed secret. last_step: the last time step whose code was used. wrong: wrong codes in a row.
CREATE TABLE factors (
    id              TEXT   NOT NULL PRIMARY KEY,
    account_id      TEXT   NOT NULL REFERENCES accounts (id),
    kind            TEXT   NOT NULL,
    label           TEXT   NOT NULL,
    credential_key  TEXT   UNIQUE,
    secret          TEXT   NOT NULL,
    last_step       BIGINT NOT NULL,
    wrong           BIGINT NOT NULL,
    locked_until    BIGINT,
    cloned_at       BIGINT,
    created_at      BIGINT NOT NULL,
    confirmed_at    BIGINT,
    last_used_at    BIGINT,
    removed_at      BIGINT
);
CREATE INDEX factors_of ON factors (account_id) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX factors_one_totp ON factors (account_id) WHERE kind = 'totp' AND removed_at IS NULL AND confirmed_at IS NOT NULL;

CREATE TABLE recovery_codes (
    code_hash   TEXT   NOT NULL PRIMARY KEY,
    account_id  TEXT   NOT NULL REFERENCES accounts (id),
    created_at  BIGINT NOT NULL,
    used_at     BIGINT
);
CREATE INDEX recovery_codes_of ON recovery_codes (account_id);

-- level: half (the second factor is still owed), password, two-factor, phishproof.
CREATE TABLE sessions (
    id           TEXT   NOT NULL PRIMARY KEY,
    secret_hash  TEXT   NOT NULL UNIQUE,
    account_id   TEXT   NOT NULL REFERENCES accounts (id),
    level        TEXT   NOT NULL,
    way          TEXT   NOT NULL,
    address      TEXT,
    network      TEXT,
    agent        TEXT,
    created_at   BIGINT NOT NULL,
    seen_at      BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    fresh_until  BIGINT,
    ended_at     BIGINT,
    ended_why    TEXT
);
CREATE INDEX sessions_of ON sessions (account_id, created_at);

-- A question put to a browser; answering takes the row.
CREATE TABLE ceremonies (
    id          TEXT   NOT NULL PRIMARY KEY,
    kind        TEXT   NOT NULL,
    account_id  TEXT,
    session_id  TEXT,
    state       TEXT   NOT NULL,
    expires_at  BIGINT NOT NULL
);
CREATE INDEX ceremonies_expired ON ceremonies (expires_at);

-- Counters of attempts. span: seconds; started_at: when the span began.
CREATE TABLE attempts (
    subject     TEXT   NOT NULL,
    span        BIGINT NOT NULL,
    started_at  BIGINT NOT NULL,
    count       BIGINT NOT NULL,
    PRIMARY KEY (subject, span)
);
CREATE INDEX attempts_old ON attempts (started_at);

-- Browsers that an account was used from.
CREATE TABLE devices (
    account_id   TEXT   NOT NULL REFERENCES accounts (id),
    device_hash  TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    seen_at      BIGINT NOT NULL,
    PRIMARY KEY (account_id, device_hash)
);

-- Who somebody is at an external provider. Never moved to another account.
CREATE TABLE linked_identities (
    id           TEXT   NOT NULL PRIMARY KEY,
    account_id   TEXT   NOT NULL REFERENCES accounts (id),
    issuer       TEXT   NOT NULL,
    subject      TEXT   NOT NULL,
    label        TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT,
    UNIQUE (issuer, subject)
);
CREATE INDEX linked_identities_of ON linked_identities (account_id);

-- critical_at: since when its owners need a phishing-resistant way to sign in; critical_why: marked, or use.
ALTER TABLE projects ADD COLUMN critical_at BIGINT;
ALTER TABLE projects ADD COLUMN critical_why TEXT;
