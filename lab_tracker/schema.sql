-- The tracker's database. AUTOINCREMENT: the id of what was deleted never comes back as another.

-- Higher once an older tracker must not touch what a newer one wrote.
PRAGMA user_version = 1;

-- The one key of the folder: made with the database, so it is there whole or not at all.
CREATE TABLE IF NOT EXISTS keys (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    key TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS projects (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    entity TEXT NOT NULL,
    name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (entity, name)
);

CREATE TABLE IF NOT EXISTS runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'running',
    exit_code INTEGER,
    job_type TEXT,
    group_name TEXT,
    notes TEXT,
    description TEXT,
    host TEXT,
    program TEXT,
    commit_hash TEXT,
    tags TEXT NOT NULL DEFAULT '[]',
    config TEXT NOT NULL DEFAULT '{}',
    summary TEXT NOT NULL DEFAULT '{}',
    created_at TEXT NOT NULL,
    heartbeat_at TEXT NOT NULL,
    UNIQUE (project_id, name)
);

-- History, system metrics and console: what a run streams, line by line. A chunk that is sent
-- again lands on the same lines.
CREATE TABLE IF NOT EXISTS lines (
    run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    stream TEXT NOT NULL,
    number INTEGER NOT NULL,
    step INTEGER,  -- of a line of the history
    text TEXT NOT NULL,
    PRIMARY KEY (run_id, stream, number)
) WITHOUT ROWID;

-- The blobs that are whole, by their MD5 in hex, the digest that the SDK speaks of.
CREATE TABLE IF NOT EXISTS blobs (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS run_files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    name TEXT NOT NULL,
    digest TEXT NOT NULL REFERENCES blobs,
    updated_at TEXT NOT NULL,
    UNIQUE (run_id, name)
);
CREATE INDEX IF NOT EXISTS run_files_digest ON run_files (digest);

-- A SEQUENCE is an artifact's line of versions, a PORTFOLIO a list of links to versions of others.
CREATE TABLE IF NOT EXISTS collections (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id INTEGER NOT NULL REFERENCES projects ON DELETE CASCADE,
    kind TEXT NOT NULL CHECK (kind IN ('SEQUENCE', 'PORTFOLIO')),
    type TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    next_version INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (project_id, name)
);

-- PENDING until the manifest and every blob of it are there; only then it is a version.
CREATE TABLE IF NOT EXISTS artifacts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sequence_id INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    state TEXT NOT NULL DEFAULT 'PENDING' CHECK (state IN ('PENDING', 'COMMITTED')),
    digest TEXT NOT NULL,
    description TEXT,
    metadata TEXT NOT NULL DEFAULT '{}',
    tags TEXT NOT NULL DEFAULT '[]',
    wanted_aliases TEXT NOT NULL DEFAULT '[]',
    client_id TEXT UNIQUE,
    created_by INTEGER REFERENCES runs ON DELETE SET NULL,
    manifest_md5 TEXT,
    manifest_digest TEXT REFERENCES blobs,
    size INTEGER NOT NULL DEFAULT 0,
    file_count INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS artifacts_sequence ON artifacts (sequence_id, digest);
CREATE INDEX IF NOT EXISTS artifacts_created_by ON artifacts (created_by);
CREATE INDEX IF NOT EXISTS artifacts_manifest ON artifacts (manifest_digest);

-- The files of an artifact; `digest` is null for a reference. For a PENDING artifact they are what
-- its run has announced, which keeps blobs that it counts on from being freed.
CREATE TABLE IF NOT EXISTS entries (
    artifact_id INTEGER NOT NULL REFERENCES artifacts ON DELETE CASCADE,
    path TEXT NOT NULL,
    digest TEXT,
    reference TEXT,
    size INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (artifact_id, path)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_digest ON entries (digest);

CREATE TABLE IF NOT EXISTS memberships (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection_id INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    artifact_id INTEGER NOT NULL REFERENCES artifacts ON DELETE CASCADE,
    version_index INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    UNIQUE (collection_id, version_index),
    UNIQUE (collection_id, artifact_id)
);
CREATE INDEX IF NOT EXISTS memberships_artifact ON memberships (artifact_id);

CREATE TABLE IF NOT EXISTS aliases (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    membership_id INTEGER NOT NULL REFERENCES memberships ON DELETE CASCADE,
    collection_id INTEGER NOT NULL REFERENCES collections ON DELETE CASCADE,
    alias TEXT NOT NULL,
    UNIQUE (collection_id, alias)
);
CREATE INDEX IF NOT EXISTS aliases_membership ON aliases (membership_id);

CREATE TABLE IF NOT EXISTS uses (
    run_id INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    artifact_id INTEGER NOT NULL REFERENCES artifacts ON DELETE CASCADE,
    PRIMARY KEY (run_id, artifact_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS uses_artifact ON uses (artifact_id);

-- Each version in each collection that it belongs to: its own sequence, and portfolios.
CREATE TEMP VIEW versions AS
SELECT memberships.id AS membership_id, memberships.created_at AS joined_at, version_index,
    collection_id, collections.kind, collections.type, collections.name AS collection,
    projects.entity, projects.name AS project, artifacts.*
FROM memberships
JOIN artifacts ON artifacts.id = memberships.artifact_id
JOIN collections ON collections.id = memberships.collection_id
JOIN projects ON projects.id = collections.project_id;

-- Of these, the place of each in its own sequence.
CREATE TEMP VIEW sources AS SELECT * FROM versions WHERE collection_id = sequence_id;

CREATE TEMP VIEW artifact_aliases AS SELECT aliases.*, memberships.artifact_id
FROM aliases JOIN memberships ON memberships.id = membership_id;

-- The collections that have a version, and the types of artifacts.
CREATE TEMP VIEW filled_collections AS SELECT * FROM collections
WHERE EXISTS (SELECT 1 FROM memberships WHERE collection_id = collections.id);
CREATE TEMP VIEW types AS SELECT DISTINCT project_id, type AS name, projects.created_at
FROM collections JOIN projects ON projects.id = project_id;
CREATE TEMP VIEW artifact_types AS
SELECT artifacts.id AS artifact_id, project_id, type AS name, projects.created_at
FROM artifacts JOIN collections ON collections.id = sequence_id
JOIN projects ON projects.id = project_id;

-- The files of runs and of artifacts.
CREATE TEMP VIEW files AS SELECT * FROM run_files JOIN blobs USING (digest);

CREATE TEMP VIEW artifact_files AS SELECT artifact_id, artifact_id AS id, path AS name,
    entries.digest, reference, entries.size, created_at AS updated_at
FROM entries JOIN artifacts ON artifacts.id = artifact_id;

-- What runs used and logged, and the runs that used an artifact.
CREATE TEMP VIEW inputs AS SELECT uses.run_id AS user_id, artifacts.*
FROM artifacts JOIN uses ON uses.artifact_id = artifacts.id WHERE state = 'COMMITTED';
CREATE TEMP VIEW outputs AS SELECT * FROM artifacts WHERE state = 'COMMITTED';
CREATE TEMP VIEW users AS SELECT uses.artifact_id AS used_id, runs.*
FROM runs JOIN uses ON uses.run_id = runs.id;

-- The lineage: what came from what, each by its kind and its id.
CREATE TEMP VIEW edges AS
SELECT 'run ' || created_by AS start, 'artifact ' || id AS stop FROM outputs
WHERE created_by IS NOT NULL
UNION SELECT 'artifact ' || id, 'run ' || user_id FROM inputs;
