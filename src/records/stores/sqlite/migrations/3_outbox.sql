-- What hooks are still to be told.
CREATE TABLE outbox (
    id         TEXT    NOT NULL PRIMARY KEY, -- that of the entry, and a number
    hook       TEXT    NOT NULL,
    event      TEXT    NOT NULL,
    payload    BLOB    NOT NULL, -- JSON
    tries      INTEGER NOT NULL,
    created_at INTEGER NOT NULL, -- unix milliseconds
    due_at     INTEGER NOT NULL  -- later for what is being delivered, or was in vain
) STRICT;

CREATE INDEX outbox_due ON outbox (hook, due_at);
