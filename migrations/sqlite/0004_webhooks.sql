-- What whoever is told about runs (the HRIS) has still to be told, and was told lately.

CREATE TABLE webhooks (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order in which they were created
    id          TEXT    NOT NULL UNIQUE,            -- goes out with each attempt, always the same
    tenant      TEXT    NOT NULL,
    key         TEXT    NOT NULL,                   -- what it tells of, so that nothing is told twice: run-12-line-7-conflict
    type        TEXT    NOT NULL,                   -- provision.conflict | …
    body        TEXT    NOT NULL,                   -- JSON, as it is sent
    created_at  INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,                   -- it is not sent before
    attempts    INTEGER NOT NULL DEFAULT 0,         -- that failed
    state       TEXT    NOT NULL DEFAULT 'waiting', -- waiting | delivered | dead
    status      INTEGER,                            -- of the last answer
    reason      TEXT,                               -- why there was none
    finished_at INTEGER,
    UNIQUE (tenant, key)
) STRICT;
CREATE INDEX webhooks_waiting ON webhooks (tenant, seq) WHERE state = 'waiting';
