-- What hooks are still to be told.
CREATE TABLE outbox (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- that of the entry, and a number
    hook       TEXT COLLATE "C" NOT NULL,
    event      TEXT COLLATE "C" NOT NULL,
    payload    BYTEA            NOT NULL, -- JSON
    tries      BIGINT           NOT NULL,
    created_at BIGINT           NOT NULL, -- unix milliseconds
    due_at     BIGINT           NOT NULL  -- later for what is being delivered, or was in vain
);

CREATE INDEX outbox_due ON outbox (hook, due_at);
