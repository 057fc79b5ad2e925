-- One row per request, written once when the request ends.
-- An id sorts by the time it was made, so "newest first" is "id descending".
CREATE TABLE entries (
    id               TEXT    NOT NULL PRIMARY KEY,
    session          TEXT    NOT NULL,
    started_at       INTEGER NOT NULL, -- unix milliseconds
    login            TEXT    NOT NULL,
    node_id          TEXT    NOT NULL,
    node_name        TEXT    NOT NULL,
    tags             TEXT    NOT NULL, -- JSON array of strings
    api              TEXT    NOT NULL,
    model_requested  TEXT    NOT NULL,
    model            TEXT    NOT NULL,
    provider         TEXT    NOT NULL,
    method           TEXT    NOT NULL,
    path             TEXT    NOT NULL,
    status           INTEGER NOT NULL,
    outcome          TEXT    NOT NULL,
    stream           INTEGER NOT NULL,
    input_tokens     INTEGER,
    output_tokens    INTEGER,
    cache_read       INTEGER,
    cache_write      INTEGER,
    reasoning        INTEGER,
    tokens_estimated INTEGER NOT NULL,
    finish_reason    TEXT,
    tool_calls       INTEGER NOT NULL,
    first_byte_ms    REAL,
    first_token_ms   REAL,
    duration_ms      REAL    NOT NULL,
    overhead_ms      REAL,
    request_bytes    INTEGER NOT NULL,
    response_bytes   INTEGER NOT NULL,
    user_agent       TEXT    NOT NULL,
    reasons          TEXT    NOT NULL, -- JSON array of strings
    error            TEXT
) STRICT;

CREATE INDEX entries_login ON entries (login, id);
CREATE INDEX entries_session ON entries (session, id);
CREATE INDEX entries_node ON entries (node_id, id);
CREATE INDEX entries_started_at ON entries (started_at);
