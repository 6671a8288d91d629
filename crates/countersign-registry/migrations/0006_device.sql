-- Programs that wait for a person to let them in by a browser. The secret that a program was given becomes its token
-- when somebody says yes; until then it is good for nothing. Only its hash stands here.
CREATE TABLE device_logins (
    secret_hash  TEXT   NOT NULL PRIMARY KEY,
    hint         TEXT   NOT NULL,
    user_code    TEXT   NOT NULL UNIQUE,
    client       TEXT   NOT NULL,
    address      TEXT   NOT NULL,
    action       TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    decided_at   BIGINT,
    account_id   TEXT   REFERENCES accounts (id)
);
CREATE INDEX device_logins_expired ON device_logins (expires_at);
CREATE INDEX device_logins_from ON device_logins (address, created_at);
