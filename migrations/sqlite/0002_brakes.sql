-- The brakes: what is held, what the daemon granted, which mapping is in force, what operators ask for,
-- and what is wrong with a tenant.

ALTER TABLE tenants ADD COLUMN last_sweep_at INTEGER;      -- when the last complete sweep began
ALTER TABLE tenants ADD COLUMN last_read_at INTEGER;       -- when the last pass began that read a list completely
ALTER TABLE tenants ADD COLUMN newest_change INTEGER;      -- the newest last_modified that was read, since the last sweep began
ALTER TABLE tenants ADD COLUMN mapping_settled TEXT;       -- digest of the mapping whose remap is held or was discarded
ALTER TABLE tenants ADD COLUMN remap_wanted INTEGER NOT NULL DEFAULT 0;
UPDATE tenants SET
    last_sweep_at = (SELECT max(started_at) FROM passes
        WHERE tenant = tenants.name AND kind = 'sweep' AND result IN ('ok', 'degraded')),
    last_read_at = (SELECT max(started_at) FROM passes
        WHERE tenant = tenants.name AND kind IN ('delta', 'sweep') AND result = 'ok'),
    newest_change = (SELECT max(last_modified) FROM users WHERE tenant = tenants.name);

-- Every mapping that a configuration has named; tenants.mapping_digest says which one is in force.
CREATE TABLE mappings (
    tenant     TEXT    NOT NULL,
    digest     TEXT    NOT NULL,
    version    INTEGER NOT NULL,     -- from 1, in the order in which they were first seen
    rules      TEXT    NOT NULL,     -- JSON object: role → list of teams
    first_seen INTEGER NOT NULL,
    in_force   INTEGER,              -- since when, the last time
    PRIMARY KEY (tenant, digest)
) STRICT, WITHOUT ROWID;

ALTER TABLE passes ADD COLUMN hold INTEGER;                       -- the hold that its operations are in
ALTER TABLE passes ADD COLUMN mapping_digest TEXT;                -- of the rules that it decided by
ALTER TABLE passes ADD COLUMN digest TEXT;                        -- of its plan
ALTER TABLE passes ADD COLUMN complete INTEGER NOT NULL DEFAULT 0; -- all that it was to read was read
ALTER TABLE passes ADD COLUMN missing INTEGER NOT NULL DEFAULT 0; -- known users whom the list did not show
ALTER TABLE passes ADD COLUMN deleted INTEGER NOT NULL DEFAULT 0; -- users found to be gone
ALTER TABLE passes ADD COLUMN edited INTEGER NOT NULL DEFAULT 0;  -- users whose teams were changed in the tenant
ALTER TABLE passes ADD COLUMN missed INTEGER NOT NULL DEFAULT 0;  -- changes that a delta pass should have found

-- A user is listed as long as lists show him.
ALTER TABLE users ADD COLUMN listed INTEGER NOT NULL DEFAULT 1;
ALTER TABLE staged_users ADD COLUMN listed INTEGER NOT NULL DEFAULT 1;

-- How many users are known, and how many of them are in each team: a pass asks for it, and counting a million takes a
-- second. Triggers keep it, so that it is right whoever writes users; a list that is damaged counts for no team.
CREATE TABLE known_users (
    tenant TEXT    PRIMARY KEY,
    users  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE team_members (
    tenant TEXT    NOT NULL,
    team   TEXT    NOT NULL,
    users  INTEGER NOT NULL,
    PRIMARY KEY (tenant, team)
) STRICT, WITHOUT ROWID;
INSERT INTO known_users SELECT tenant, count(*) FROM users GROUP BY tenant;
INSERT INTO team_members SELECT u.tenant, t.value, count(*) FROM users u, json_each(u.teams) t
    WHERE json_valid(u.teams) GROUP BY u.tenant, t.value;
CREATE TRIGGER users_added AFTER INSERT ON users BEGIN
    INSERT INTO known_users VALUES (new.tenant, 1) ON CONFLICT DO UPDATE SET users = users + 1;
    INSERT INTO team_members SELECT new.tenant, value, 1
        FROM json_each(CASE WHEN json_valid(new.teams) THEN new.teams ELSE '[]' END)
        WHERE true ON CONFLICT DO UPDATE SET users = users + 1;
END;
CREATE TRIGGER users_moved AFTER UPDATE OF teams ON users WHEN new.teams <> old.teams BEGIN
    UPDATE team_members SET users = users - 1 WHERE tenant = old.tenant AND team IN
        (SELECT value FROM json_each(CASE WHEN json_valid(old.teams) THEN old.teams ELSE '[]' END));
    INSERT INTO team_members SELECT new.tenant, value, 1
        FROM json_each(CASE WHEN json_valid(new.teams) THEN new.teams ELSE '[]' END)
        WHERE true ON CONFLICT DO UPDATE SET users = users + 1;
END;
CREATE TRIGGER users_forgotten AFTER DELETE ON users BEGIN
    UPDATE known_users SET users = users - 1 WHERE tenant = old.tenant;
    UPDATE team_members SET users = users - 1 WHERE tenant = old.tenant AND team IN
        (SELECT value FROM json_each(CASE WHEN json_valid(old.teams) THEN old.teams ELSE '[]' END));
END;

ALTER TABLE staged_operations ADD COLUMN loses INTEGER NOT NULL DEFAULT 0;  -- he loses a managed team
ALTER TABLE operations ADD COLUMN hold INTEGER;
ALTER TABLE operations ADD COLUMN found INTEGER NOT NULL DEFAULT 0;   -- sent, not answered, and read to be there
ALTER TABLE operations ADD COLUMN counts_change INTEGER NOT NULL DEFAULT 0;  -- towards the guard's limits
ALTER TABLE operations ADD COLUMN counts_removal INTEGER NOT NULL DEFAULT 0;
CREATE INDEX operations_counted ON operations (tenant, created_at) WHERE counts_change = 1 OR counts_removal = 1;
CREATE INDEX operations_of_pass ON operations (pass);
CREATE INDEX operations_held ON operations (hold) WHERE state = 'held';

-- A pass whose operations wait for somebody's approval.
CREATE TABLE holds (
    id             INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant         TEXT    NOT NULL,
    digest         TEXT    NOT NULL,     -- SHA-256 over user, teams gained, teams lost
    pass           INTEGER NOT NULL,
    created_at     INTEGER NOT NULL,
    operations     INTEGER NOT NULL,     -- as many as it held at first
    findings       TEXT    NOT NULL,     -- JSON
    mapping_digest TEXT,                 -- comes into force with its approval
    decision       TEXT,                 -- approved | discarded | superseded; NULL while it waits
    decided_at     INTEGER
) STRICT;
CREATE UNIQUE INDEX holds_open ON holds (tenant, digest) WHERE decision IS NULL;

-- Known users whom a held sweep did not show.
CREATE TABLE hold_missing (
    hold    INTEGER NOT NULL,
    user_id TEXT    NOT NULL,
    PRIMARY KEY (hold, user_id)
) STRICT, WITHOUT ROWID;

-- Memberships that the daemon has given, from the moment its operation is leased until that lease is known to have changed nothing.
CREATE TABLE grants (
    tenant     TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    team       TEXT    NOT NULL,
    operation  INTEGER NOT NULL,
    lease      INTEGER NOT NULL,     -- of the operation, under which it was sent
    granted_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, user_id, team)
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_by_team ON grants (tenant, team);

-- What was sent, and nobody knows whether it was done: until the operation is done, or the audit tells of it.
CREATE TABLE unclear (
    id        INTEGER PRIMARY KEY,
    operation INTEGER NOT NULL,
    target    TEXT    NOT NULL,      -- of the operation when it was sent; it may be about something else by now
    tenant    TEXT    NOT NULL,
    user_id   TEXT    NOT NULL,
    payload   TEXT    NOT NULL,
    cause     TEXT    NOT NULL,
    pass      INTEGER NOT NULL,
    attempt   INTEGER NOT NULL,
    UNIQUE (operation, target)
) STRICT;
CREATE INDEX unclear_by_tenant ON unclear (tenant);

ALTER TABLE rereads ADD COLUMN due_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rereads ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rereads ADD COLUMN since INTEGER;                     -- since when nothing is decided for the user

-- What an operator asks of the daemon from another process.
CREATE TABLE requests (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant      TEXT    NOT NULL,
    what        TEXT    NOT NULL,   -- sync | apply | approve | discard | replay | …
    argument    TEXT    NOT NULL,   -- JSON
    operator    INTEGER,            -- user id of the process that asks
    asked_at    INTEGER NOT NULL,
    taken_at    INTEGER,
    bound       INTEGER NOT NULL DEFAULT 0,   -- it may stand in the audit: it is carried out, whoever is gone
    finished_at INTEGER,
    answer      TEXT                -- JSON: what became of it
) STRICT;
CREATE INDEX requests_open ON requests (tenant, id) WHERE finished_at IS NULL;
CREATE INDEX requests_waiting ON requests (tenant, id) WHERE finished_at IS NULL AND taken_at IS NULL;

-- What is wrong with a tenant at the moment.
CREATE TABLE troubles (
    tenant  TEXT    NOT NULL,
    part    TEXT    NOT NULL,   -- reading | delivery
    trouble TEXT    NOT NULL,
    reason  TEXT,
    since   INTEGER NOT NULL,
    until   INTEGER NOT NULL,   -- the next probe
    PRIMARY KEY (tenant, part)
) STRICT, WITHOUT ROWID;

-- The last line of the audit that the database knows of.
CREATE TABLE audit_head (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    seq  INTEGER NOT NULL,
    hash TEXT    NOT NULL
) STRICT;
