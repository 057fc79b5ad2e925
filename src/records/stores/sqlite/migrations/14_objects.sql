-- What a provider, or the gateway, keeps for a caller beyond a request.
CREATE TABLE objects (
    kind     TEXT    NOT NULL, -- file, batch, response, item
    owner    TEXT    NOT NULL, -- `Caller::key`
    id       TEXT    NOT NULL, -- as the caller sees it
    provider TEXT    NOT NULL, -- its name in the configuration; empty for the gateway's own
    model    TEXT    NOT NULL, -- as it was asked for
    node     TEXT    NOT NULL, -- the one node that can work on it; empty for any
    made     INTEGER NOT NULL, -- unix milliseconds
    ends     INTEGER,          -- unix milliseconds; then the row is purged
    state    TEXT    NOT NULL, -- open while it is followed or run, then ended
    detail   BLOB    NOT NULL, -- JSON
    holder   TEXT    NOT NULL, -- the process that works on it
    due      INTEGER NOT NULL, -- unix milliseconds; then another process may take it
    PRIMARY KEY (kind, owner, id)
) STRICT;

CREATE INDEX objects_due ON objects (state, kind, due);
CREATE INDEX objects_ends ON objects (ends);
CREATE INDEX objects_made ON objects (kind, owner, made, id);
