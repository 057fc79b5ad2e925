-- Who did what that others should be able to see.
CREATE TABLE audit (
    id      TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- begins with the time, as an entry's does
    at      BIGINT           NOT NULL, -- unix milliseconds
    actor   TEXT COLLATE "C" NOT NULL, -- login or tags; empty for the gateway itself
    node    TEXT COLLATE "C" NOT NULL,
    kind    TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL, -- what it was done to
    detail  TEXT COLLATE "C" NOT NULL, -- JSON
    count   BIGINT           NOT NULL  -- how often, where it was done again and again
);

CREATE INDEX audit_actor ON audit (actor, id);
CREATE INDEX audit_kind ON audit (kind, id);

-- The versions of the configuration that were in force. Texts are without secrets.
CREATE TABLE config_versions (
    id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at     BIGINT           NOT NULL, -- unix milliseconds
    actor  TEXT COLLATE "C" NOT NULL,
    node   TEXT COLLATE "C" NOT NULL,
    how    TEXT COLLATE "C" NOT NULL,
    hash   TEXT COLLATE "C" NOT NULL,
    parent TEXT COLLATE "C", -- the version before
    text   TEXT COLLATE "C" NOT NULL
);
