-- What a provider, or the gateway, keeps for a caller beyond a request.
CREATE TABLE objects (
    kind     TEXT COLLATE "C" NOT NULL, -- file, batch, response, item
    owner    TEXT COLLATE "C" NOT NULL, -- `Caller::key`
    id       TEXT COLLATE "C" NOT NULL, -- as the caller sees it
    provider TEXT COLLATE "C" NOT NULL, -- its name in the configuration; empty for the gateway's own
    model    TEXT COLLATE "C" NOT NULL, -- as it was asked for
    node     TEXT COLLATE "C" NOT NULL, -- the one node that can work on it; empty for any
    made     BIGINT           NOT NULL, -- unix milliseconds
    ends     BIGINT,                   -- unix milliseconds; then the row is purged
    state    TEXT COLLATE "C" NOT NULL, -- open while it is followed or run, then ended
    detail   BYTEA            NOT NULL, -- JSON
    holder   TEXT COLLATE "C" NOT NULL, -- the process that works on it
    due      BIGINT           NOT NULL, -- unix milliseconds; then another process may take it
    PRIMARY KEY (kind, owner, id)
);

CREATE INDEX objects_due ON objects (state, kind, due);
CREATE INDEX objects_ends ON objects (ends);
CREATE INDEX objects_made ON objects (kind, owner, made, id);
