-- The map of the log (docs/spec/map.md). All of this is made again from the leaves where it is lost; no backup holds it.

-- One row: the map over the leaves before (shard, idx) has this root and lies in the blob store. folded_*: the leaves before
-- it are in map_projects; further than the map only while it is made as a whole.
CREATE TABLE map_state (
    name          TEXT   NOT NULL PRIMARY KEY,
    shard         BIGINT NOT NULL,
    idx           BIGINT NOT NULL,
    root          TEXT   NOT NULL,
    folded_shard  BIGINT NOT NULL,
    folded_idx    BIGINT NOT NULL,
    committed_at  BIGINT NOT NULL
);

-- What happened to a project so far: number of its leaves, and their chain. `key` is where it stands in the map.
CREATE TABLE map_projects (
    key    TEXT   NOT NULL PRIMARY KEY,
    count  BIGINT NOT NULL,
    chain  TEXT   NOT NULL
);

-- Tiles that only older roots need, one a line; they go a day after.
CREATE TABLE map_superseded (
    id     TEXT   NOT NULL PRIMARY KEY,
    at     BIGINT NOT NULL,
    tiles  TEXT   NOT NULL
);
CREATE INDEX map_superseded_at ON map_superseded (at);

-- The newest commitment to a map is found by this.
CREATE INDEX leaves_map_root ON leaves (shard, idx) WHERE kind = 'map-root';
