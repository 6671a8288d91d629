-- Advisories in the form of OSV, imported from feeds or issued here (feed `own`). Which releases they mean is judged when somebody
-- asks, so that nothing here goes out of date when a release comes.

CREATE TABLE advisories (
    id           TEXT   NOT NULL PRIMARY KEY,
    feed         TEXT   NOT NULL,
    modified     TEXT   NOT NULL,
    withdrawn    BIGINT NOT NULL,
    record       TEXT   NOT NULL,
    imported_at  BIGINT NOT NULL
);
CREATE INDEX advisories_feed ON advisories (feed);

-- What an advisory says about one package; none of one that was withdrawn.
CREATE TABLE advisory_rules (
    advisory_id  TEXT   NOT NULL REFERENCES advisories (id),
    position     BIGINT NOT NULL,
    ecosystem    TEXT   NOT NULL,
    name_key     TEXT   NOT NULL,
    rule         TEXT   NOT NULL,
    PRIMARY KEY (advisory_id, position)
);
CREATE INDEX advisory_rules_about ON advisory_rules (ecosystem, name_key);

-- How each feed stood when it was read last.
CREATE TABLE advisory_feeds (
    name         TEXT   NOT NULL PRIMARY KEY,
    records      BIGINT NOT NULL,
    withdrawn    BIGINT NOT NULL,
    refused      BIGINT NOT NULL,
    imported_at  BIGINT NOT NULL
);
