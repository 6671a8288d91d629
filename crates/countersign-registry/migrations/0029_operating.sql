-- What operators and maintainers lacked: exemptions that end by themselves, traces by credential, and names that are asked for and
-- do not exist.

-- When an exemption ends by itself; NULL: when somebody ends it.
ALTER TABLE advisory_exemptions ADD COLUMN until_at BIGINT;

-- A trace asks for what was done by one token or session.
CREATE INDEX events_credential ON events (credential_id, at) WHERE credential_id IS NOT NULL;

-- How often installers asked on a day for a project that does not exist. Nothing is kept of who asked. name_key: what the name would be
-- known by; asked: at least so often.
CREATE TABLE missing_names (
    ecosystem  TEXT   NOT NULL,
    name_key   TEXT   NOT NULL,
    day        BIGINT NOT NULL,
    asked      BIGINT NOT NULL,
    PRIMARY KEY (ecosystem, name_key, day)
);
CREATE INDEX missing_names_day ON missing_names (day, asked);
