-- Index documents that people were asked to sign (docs/operating-tuf.md): their bytes stay until then, though newer ones took their
-- place.
CREATE TABLE tuf_offered (
    digest   TEXT   NOT NULL PRIMARY KEY,
    until_at BIGINT NOT NULL
);
