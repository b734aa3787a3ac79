-- Runs: files that are carried out row by row, and what became of each row.

CREATE TABLE runs (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant      TEXT    NOT NULL,
    kind        TEXT    NOT NULL,              -- provision | attributes
    digest      TEXT    NOT NULL,              -- SHA-256 over the file and what was asked to be done with it
    file        TEXT    NOT NULL,              -- its name, without the folder
    options     TEXT    NOT NULL,              -- JSON: what was asked to be done with it
    pass        INTEGER NOT NULL,              -- to which its operations belong
    state       TEXT    NOT NULL,              -- reading | open | stopped | finished | superseded
    reason      TEXT,                          -- why it was stopped
    read        INTEGER NOT NULL DEFAULT 0,    -- the tenant's users have been read for it
    stop_after  INTEGER,                       -- refusals for one reason before any success that stop it
    operator    INTEGER,                       -- user id of the process that asked for it
    started_at  INTEGER NOT NULL,
    finished_at INTEGER
) STRICT;
CREATE INDEX runs_open ON runs (tenant, id) WHERE state IN ('open', 'stopped');
CREATE INDEX runs_by_digest ON runs (tenant, kind, digest);

CREATE TABLE run_rows (
    run         INTEGER NOT NULL,
    line        INTEGER NOT NULL,
    state       TEXT    NOT NULL,              -- waiting | planned | finished
    met         TEXT    NOT NULL DEFAULT 'nothing', -- nothing | conflict | unclear | changed: why he is looked up
    external_id TEXT,
    user_name   TEXT,                          -- in small letters
    wanted      TEXT,                          -- JSON, while it is needed
    user_id     TEXT,
    action      TEXT,                          -- create | update | reactivate | deactivate | attributes
    operation   INTEGER,                       -- that carries it, or did
    attempts    INTEGER NOT NULL DEFAULT 0,    -- of its operations before the last one
    due_at      INTEGER NOT NULL DEFAULT 0,
    conflicted  INTEGER NOT NULL DEFAULT 0,    -- the tenant has said that he is there already
    outcome     TEXT,
    reason      TEXT,
    faults      TEXT,                          -- JSON: why it was rejected
    latency_ms  INTEGER,
    finished_at INTEGER,
    PRIMARY KEY (run, line)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_rows_state ON run_rows (run, state, outcome);
CREATE INDEX run_rows_external ON run_rows (run, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX run_rows_name ON run_rows (run, user_name) WHERE user_name IS NOT NULL;
CREATE INDEX run_rows_user ON run_rows (run, user_id) WHERE user_id IS NOT NULL;
CREATE INDEX run_rows_operation ON run_rows (operation) WHERE operation IS NOT NULL;

-- Users of the tenant whom a row of an open run may mean.
CREATE TABLE run_found (
    run         INTEGER NOT NULL,
    user_id     TEXT    NOT NULL,
    external_id TEXT,
    user_name   TEXT    NOT NULL,              -- in small letters
    record      TEXT    NOT NULL,
    PRIMARY KEY (run, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_found_external ON run_found (run, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX run_found_name ON run_found (run, user_name);

-- Users whom a run has created, or found to be meant by a row.
CREATE TABLE provisioned (
    tenant      TEXT    NOT NULL,
    user_id     TEXT    NOT NULL,
    external_id TEXT    NOT NULL,
    run         INTEGER NOT NULL,              -- the last one
    deactivated INTEGER NOT NULL DEFAULT 0,    -- by us, because no row named him
    PRIMARY KEY (tenant, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX provisioned_external ON provisioned (tenant, external_id);

-- Bulk requests (RFC 7644 §3.7) that are not finished, and what came of those that are.
CREATE TABLE bulk_jobs (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant       TEXT    NOT NULL,
    state        TEXT    NOT NULL,             -- submitting | submitted | finished | unclear
    job          TEXT,                         -- the tenant's name for it
    operations   INTEGER NOT NULL,
    polls        INTEGER NOT NULL DEFAULT 0,
    submitted_at INTEGER NOT NULL,
    finished_at  INTEGER,
    reason       TEXT
) STRICT;
CREATE INDEX bulk_jobs_open ON bulk_jobs (tenant) WHERE finished_at IS NULL;

ALTER TABLE operations ADD COLUMN job INTEGER;                    -- the bulk request that it is in
ALTER TABLE operations ADD COLUMN packed INTEGER NOT NULL DEFAULT 0; -- it is to be sent in a bulk request
CREATE INDEX operations_of_job ON operations (job) WHERE state = 'leased' AND job IS NOT NULL;
