-- Projects that only those with a role on them see.

-- Since when a project is private; NULL: everybody who may read this registry sees it.
ALTER TABLE projects ADD COLUMN private_at BIGINT;
-- What lists ask for somebody who has roles: few projects are private.
CREATE INDEX projects_private ON projects (id) WHERE private_at IS NOT NULL;
