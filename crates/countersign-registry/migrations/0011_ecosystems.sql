-- Crates and npm packages beside Python's distributions.

-- What npm's clients hold a tarball against (hex); SHA-512 has its column already. NULL where nobody asks.
ALTER TABLE files ADD COLUMN sha1 TEXT;
-- The long description where it is a file of its own in the archive, content-addressed among the metadata texts.
ALTER TABLE files ADD COLUMN readme_sha256 TEXT REFERENCES metadata_texts (sha256);

-- A message of npm's `deprecate`: the release can be had, and whoever gets it is told.
ALTER TABLE releases ADD COLUMN deprecated_at BIGINT;
ALTER TABLE releases ADD COLUMN deprecated_reason TEXT;

-- npm's dist-tags: names that point to a release of their project. before_id: the release that one pointed to before, shown
-- for as long as the newer one is not served: because it is not in the log yet, or is withheld.
CREATE TABLE dist_tags (
    project_id  TEXT   NOT NULL REFERENCES projects (id),
    tag         TEXT   NOT NULL,
    release_id  TEXT   NOT NULL REFERENCES releases (id),
    before_id   TEXT   REFERENCES releases (id),
    set_at      BIGINT NOT NULL,
    PRIMARY KEY (project_id, tag)
);

-- The registry's own signatures over versions, as npm's clients verify them.
CREATE TABLE file_signatures (
    file_id    TEXT NOT NULL REFERENCES files (id),
    keyid      TEXT NOT NULL,
    signature  TEXT NOT NULL,
    PRIMARY KEY (file_id, keyid)
);

-- Under which settings a document was rendered: addresses stand in it. A process with other settings renders anew.
ALTER TABLE documents ADD COLUMN rendered_for TEXT NOT NULL DEFAULT '';
