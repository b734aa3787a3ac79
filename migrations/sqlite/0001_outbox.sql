-- The whole state of rosterd: what is known of users, what a pass has read so far, and the outbox.
-- Times are milliseconds since the Unix epoch; lists are JSON arrays of text.

CREATE TABLE tenants (
    name           TEXT    PRIMARY KEY,
    watermark      INTEGER,          -- users changed before it have been read
    mapping_digest TEXT,             -- of the rules that the last sweep applied
    sweep_wanted   INTEGER NOT NULL DEFAULT 0,
    since          TEXT              -- what the tenant makes of the parameter: works | ignored | broken
) STRICT;

CREATE TABLE passes (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant           TEXT    NOT NULL,
    kind             TEXT    NOT NULL,   -- delta | sweep | reread
    started_at       INTEGER NOT NULL,
    finished_at      INTEGER,
    result           TEXT,               -- ok | degraded | failed; NULL while it runs
    reason           TEXT,
    users_read       INTEGER NOT NULL DEFAULT 0,
    pages            INTEGER NOT NULL DEFAULT 0,
    planned          INTEGER NOT NULL DEFAULT 0,
    skipped          INTEGER NOT NULL DEFAULT 0,
    unreadable       INTEGER NOT NULL DEFAULT 0,
    watermark_before INTEGER,
    watermark_after  INTEGER
) STRICT;

CREATE INDEX passes_by_tenant ON passes (tenant, id);

-- Snapshot: each user as last read.
CREATE TABLE users (
    tenant        TEXT    NOT NULL,
    id            TEXT    NOT NULL,
    active        INTEGER NOT NULL,
    roles         TEXT    NOT NULL,
    teams         TEXT    NOT NULL,
    version       TEXT,
    last_modified INTEGER,
    read_at       INTEGER NOT NULL,
    pass          INTEGER NOT NULL,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;

-- What a running pass has read and decided; thrown away when it does not end.
CREATE TABLE staged_users (
    pass          INTEGER NOT NULL,
    id            TEXT    NOT NULL,
    active        INTEGER NOT NULL,
    roles         TEXT    NOT NULL,
    teams         TEXT    NOT NULL,
    version       TEXT,
    last_modified INTEGER,
    read_at       INTEGER NOT NULL,
    PRIMARY KEY (pass, id)
) STRICT, WITHOUT ROWID;

-- One decision for each user and kind that the pass has read; "nothing to do" has no target.
CREATE TABLE staged_operations (
    pass        INTEGER NOT NULL,
    user_id     TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    target      TEXT,               -- what is equal in equal decisions
    payload     TEXT,
    cause       TEXT,
    version     TEXT,
    traceparent TEXT,
    read_at     INTEGER NOT NULL,
    PRIMARY KEY (pass, user_id, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE operations (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant         TEXT    NOT NULL,
    user_id        TEXT    NOT NULL,
    kind           TEXT    NOT NULL,
    state          TEXT    NOT NULL,     -- open: ready | leased | stale | held | dead
                                         -- finished: done | superseded | gone | discarded
    target         TEXT    NOT NULL,
    payload        TEXT    NOT NULL,
    cause          TEXT    NOT NULL,
    version        TEXT,
    traceparent    TEXT,
    pass           INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    due_at         INTEGER NOT NULL,
    attempts       INTEGER NOT NULL DEFAULT 0,
    lease          INTEGER,
    superseded     INTEGER NOT NULL DEFAULT 0,   -- in flight, but decided otherwise since
    touched_at     INTEGER NOT NULL DEFAULT 0,   -- last leased or acknowledged
    finished_at    INTEGER,
    status         INTEGER,                      -- of the last answer
    reason         TEXT,
    correlation_id TEXT,
    answer         TEXT                          -- its body, at most 2 KiB
) STRICT;

-- Law 5: a user and kind has one open operation.
CREATE UNIQUE INDEX operations_open ON operations (tenant, user_id, kind)
    WHERE state IN ('ready', 'leased', 'stale', 'held', 'dead');
CREATE INDEX operations_due ON operations (tenant, due_at, id) WHERE state = 'ready';
CREATE INDEX operations_touched ON operations (tenant, user_id, touched_at);
CREATE INDEX operations_finished ON operations (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX operations_state ON operations (tenant, state);

-- Users whose record must be read again by id before anything is decided for them.
CREATE TABLE rereads (
    tenant  TEXT NOT NULL,
    user_id TEXT NOT NULL,
    PRIMARY KEY (tenant, user_id)
) STRICT, WITHOUT ROWID;
