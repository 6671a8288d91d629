-- Names: lists of those that are protected from look-alikes, those that nobody may take, exceptions.

-- tier: the most that looking like one of the list leads to: flag, hold, refuse. imported_at: NULL while it is being written;
-- only a list that was written whole counts.
CREATE TABLE name_lists (
    id           TEXT   NOT NULL PRIMARY KEY,
    ecosystem    TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    tier         TEXT   NOT NULL,
    names        BIGINT NOT NULL,
    begun_at     BIGINT NOT NULL,
    imported_at  BIGINT
);
CREATE UNIQUE INDEX name_lists_once ON name_lists (ecosystem, name) WHERE imported_at IS NOT NULL;

-- rank: from 0, the best known first.
CREATE TABLE protected_names (
    list_id  TEXT   NOT NULL REFERENCES name_lists (id),
    rank     BIGINT NOT NULL,
    key      TEXT   NOT NULL,
    PRIMARY KEY (list_id, rank)
);

-- skeleton: what reads the same is prohibited with it.
CREATE TABLE prohibited_names (
    ecosystem  TEXT   NOT NULL,
    key        TEXT   NOT NULL,
    skeleton   TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    made_at    BIGINT NOT NULL,
    PRIMARY KEY (ecosystem, key)
);
CREATE INDEX prohibited_names_skeleton ON prohibited_names (ecosystem, skeleton);

-- Two names that may stand beside each other although one looks like the other.
CREATE TABLE name_exceptions (
    ecosystem  TEXT   NOT NULL,
    key        TEXT   NOT NULL,
    other      TEXT   NOT NULL,
    reason     TEXT   NOT NULL,
    made_at    BIGINT NOT NULL,
    PRIMARY KEY (ecosystem, key, other)
);
