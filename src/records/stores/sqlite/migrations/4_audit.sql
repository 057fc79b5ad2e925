-- Who did what that others should be able to see.
CREATE TABLE audit (
    id      TEXT    NOT NULL PRIMARY KEY, -- begins with the time, as an entry's does
    at      INTEGER NOT NULL, -- unix milliseconds
    actor   TEXT    NOT NULL, -- login or tags; empty for the gateway itself
    node    TEXT    NOT NULL,
    kind    TEXT    NOT NULL,
    subject TEXT    NOT NULL, -- what it was done to
    detail  TEXT    NOT NULL, -- JSON
    count   INTEGER NOT NULL  -- how often, where it was done again and again
) STRICT;

CREATE INDEX audit_actor ON audit (actor, id);
CREATE INDEX audit_kind ON audit (kind, id);

-- The versions of the configuration that were in force. Texts are without secrets.
CREATE TABLE config_versions (
    id     TEXT    NOT NULL PRIMARY KEY,
    at     INTEGER NOT NULL, -- unix milliseconds
    actor  TEXT    NOT NULL,
    node   TEXT    NOT NULL,
    how    TEXT    NOT NULL,
    hash   TEXT    NOT NULL,
    parent TEXT, -- the version before
    text   TEXT    NOT NULL
) STRICT;
