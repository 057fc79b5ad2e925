-- The schema of a new database, version 10. Whoever changes it writes a migration that changes an existing
-- one to the same, for both databases; a test compares them.

-- Records that are durable and not yet folded into the other tables: a group in each row (see `packed`).
CREATE TABLE journal (
    id      TEXT NOT NULL PRIMARY KEY, -- begins with the time, as an entry's does
    records INTEGER NOT NULL, -- how many
    content BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per request, written once when the request ends.
-- An id begins with the time at which the request started, so "newest first" is "id descending"
-- and a range of time is a range of ids.
-- `login` is what people call a caller, which others can come to be called too; `caller` is the user's
-- number or the set of tags.
CREATE TABLE entries (
    id                    TEXT    NOT NULL PRIMARY KEY,
    session               TEXT    NOT NULL,
    started_at            INTEGER NOT NULL, -- unix milliseconds
    login                 TEXT    NOT NULL,
    node_id               TEXT    NOT NULL,
    node_name             TEXT    NOT NULL,
    tags                  TEXT    NOT NULL, -- JSON array of codes (`base/reasons.rs`), or sentences
    agent                 TEXT    NOT NULL,
    api                   TEXT    NOT NULL,
    model_requested       TEXT    NOT NULL,
    model                 TEXT    NOT NULL,
    provider              TEXT    NOT NULL,
    method                TEXT    NOT NULL,
    path                  TEXT    NOT NULL,
    status                INTEGER NOT NULL,
    outcome               TEXT    NOT NULL,
    stream                INTEGER NOT NULL,
    input_tokens          INTEGER,
    output_tokens         INTEGER,
    cached_tokens         INTEGER,
    cache_write_tokens    INTEGER,
    cache_write_5m_tokens INTEGER,
    cache_write_1h_tokens INTEGER,
    reasoning_tokens      INTEGER,
    image_input_tokens    INTEGER,
    image_output_tokens   INTEGER,
    web_searches          INTEGER,
    tokens_estimated      INTEGER NOT NULL,
    cost                  INTEGER,          -- nanodollars
    cost_basis            TEXT,
    finish_reason         TEXT,
    tool_calls            INTEGER NOT NULL,
    first_byte_ms         REAL,
    first_token_ms        REAL,
    duration_ms           REAL    NOT NULL,
    overhead_ms           REAL,
    request_bytes         INTEGER NOT NULL,
    response_bytes        INTEGER NOT NULL,
    user_agent            TEXT    NOT NULL,
    reasons               TEXT    NOT NULL, -- JSON array of codes (`base/reasons.rs`), or sentences
    error                 TEXT,
    caller                TEXT    NOT NULL DEFAULT '' -- whose it is (`Caller::key`)
) STRICT;

CREATE INDEX entries_login ON entries (login, id);
CREATE INDEX entries_node ON entries (node_id, id);
CREATE INDEX entries_model ON entries (model, id);
CREATE INDEX entries_provider ON entries (provider, id);
CREATE INDEX entries_agent ON entries (agent, id);
CREATE INDEX entries_api ON entries (api, id);
CREATE INDEX entries_status ON entries (status, id);
CREATE INDEX entries_outcome ON entries (outcome, id);
CREATE INDEX entries_session ON entries (session, caller, id);
CREATE INDEX entries_caller ON entries (caller, id);

-- Headers by which entries can be filtered. `nth` counts the values of one name in one entry.
CREATE TABLE entry_headers (
    name     TEXT    NOT NULL,
    value    TEXT    NOT NULL,
    entry_id TEXT    NOT NULL,
    nth      INTEGER NOT NULL,
    PRIMARY KEY (name, value, entry_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX entry_headers_name ON entry_headers (name, nth, entry_id);
CREATE INDEX entry_headers_entry ON entry_headers (entry_id);

-- Calls of tools. `nth` counts the calls of one tool in one entry, `position` all of them.
CREATE TABLE entry_tools (
    entry_id TEXT    NOT NULL,
    position INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    nth      INTEGER NOT NULL,
    params   TEXT    NOT NULL, -- JSON
    PRIMARY KEY (entry_id, position)
) STRICT;

CREATE INDEX entry_tools_name ON entry_tools (name, nth, entry_id);

-- What was said. Bodies are compressed with zstd; the sizes are those before.
CREATE TABLE captures (
    entry_id         TEXT    NOT NULL PRIMARY KEY,
    request_headers  TEXT    NOT NULL, -- JSON array of pairs
    request_body     BLOB    NOT NULL,
    request_size     INTEGER NOT NULL,
    response_headers TEXT    NOT NULL, -- JSON array of pairs
    response_body    BLOB    NOT NULL,
    response_size    INTEGER NOT NULL,
    raw              BLOB,
    raw_size         INTEGER,
    truncated        INTEGER NOT NULL
) STRICT;

-- One row for the requests of one caller that carry one session id.
CREATE TABLE sessions (
    caller                TEXT    NOT NULL,
    login                 TEXT    NOT NULL,
    session               TEXT    NOT NULL,
    first_at              INTEGER NOT NULL, -- unix milliseconds
    last_at               INTEGER NOT NULL,
    last_request          TEXT    NOT NULL,
    node_name             TEXT    NOT NULL, -- of the last request, as are the next three
    agent                 TEXT    NOT NULL,
    model                 TEXT    NOT NULL,
    provider              TEXT    NOT NULL,
    requests              INTEGER NOT NULL,
    errors                INTEGER NOT NULL,
    input_tokens          INTEGER NOT NULL,
    output_tokens         INTEGER NOT NULL,
    cached_tokens         INTEGER NOT NULL,
    cache_write_tokens    INTEGER NOT NULL,
    cache_write_5m_tokens INTEGER NOT NULL,
    cache_write_1h_tokens INTEGER NOT NULL,
    reasoning_tokens      INTEGER NOT NULL,
    image_input_tokens    INTEGER NOT NULL,
    image_output_tokens   INTEGER NOT NULL,
    web_searches          INTEGER NOT NULL,
    cost                  INTEGER NOT NULL,
    priced                INTEGER NOT NULL,
    unpriced              INTEGER NOT NULL,
    PRIMARY KEY (caller, session)
) STRICT;

CREATE INDEX sessions_last ON sessions (last_request);
CREATE INDEX sessions_login ON sessions (login, last_request);
CREATE INDEX sessions_caller ON sessions (caller, last_request);
CREATE INDEX sessions_id ON sessions (session, last_request);

CREATE TABLE session_models (
    caller  TEXT NOT NULL,
    session TEXT NOT NULL,
    model   TEXT NOT NULL,
    PRIMARY KEY (caller, session, model)
) STRICT, WITHOUT ROWID;

-- Sums over the entries of one UTC day, at several grains: `grain` is the set of columns by which
-- a row is told apart (see `rollup`); the others are empty in it. dNN and tNN count requests by
-- their duration and their time to the first token (see `histogram`).
CREATE TABLE usage_daily (
    caller                TEXT    NOT NULL,
    grain                 INTEGER NOT NULL,
    day                   INTEGER NOT NULL, -- days since 1970
    login                 TEXT    NOT NULL,
    model                 TEXT    NOT NULL,
    provider              TEXT    NOT NULL,
    agent                 TEXT    NOT NULL,
    api                   TEXT    NOT NULL,
    status                INTEGER NOT NULL,
    outcome               TEXT    NOT NULL,
    header_name           TEXT    NOT NULL,
    header_value          TEXT    NOT NULL,
    requests              INTEGER NOT NULL,
    errors                INTEGER NOT NULL,
    input_tokens          INTEGER NOT NULL,
    output_tokens         INTEGER NOT NULL,
    cached_tokens         INTEGER NOT NULL,
    cache_write_tokens    INTEGER NOT NULL,
    cache_write_5m_tokens INTEGER NOT NULL,
    cache_write_1h_tokens INTEGER NOT NULL,
    reasoning_tokens      INTEGER NOT NULL,
    image_input_tokens    INTEGER NOT NULL,
    image_output_tokens   INTEGER NOT NULL,
    web_searches          INTEGER NOT NULL,
    cost                  INTEGER NOT NULL,
    priced                INTEGER NOT NULL,
    unpriced              INTEGER NOT NULL,
    d00 INTEGER NOT NULL, d01 INTEGER NOT NULL, d02 INTEGER NOT NULL,
    d03 INTEGER NOT NULL, d04 INTEGER NOT NULL, d05 INTEGER NOT NULL,
    d06 INTEGER NOT NULL, d07 INTEGER NOT NULL, d08 INTEGER NOT NULL,
    d09 INTEGER NOT NULL, d10 INTEGER NOT NULL, d11 INTEGER NOT NULL,
    d12 INTEGER NOT NULL, d13 INTEGER NOT NULL, d14 INTEGER NOT NULL,
    d15 INTEGER NOT NULL, d16 INTEGER NOT NULL, d17 INTEGER NOT NULL,
    d18 INTEGER NOT NULL, d19 INTEGER NOT NULL, d20 INTEGER NOT NULL,
    d21 INTEGER NOT NULL, d22 INTEGER NOT NULL, d23 INTEGER NOT NULL,
    d24 INTEGER NOT NULL, d25 INTEGER NOT NULL, d26 INTEGER NOT NULL,
    d27 INTEGER NOT NULL, d28 INTEGER NOT NULL, d29 INTEGER NOT NULL,
    t00 INTEGER NOT NULL, t01 INTEGER NOT NULL, t02 INTEGER NOT NULL,
    t03 INTEGER NOT NULL, t04 INTEGER NOT NULL, t05 INTEGER NOT NULL,
    t06 INTEGER NOT NULL, t07 INTEGER NOT NULL, t08 INTEGER NOT NULL,
    t09 INTEGER NOT NULL, t10 INTEGER NOT NULL, t11 INTEGER NOT NULL,
    t12 INTEGER NOT NULL, t13 INTEGER NOT NULL, t14 INTEGER NOT NULL,
    t15 INTEGER NOT NULL, t16 INTEGER NOT NULL, t17 INTEGER NOT NULL,
    t18 INTEGER NOT NULL, t19 INTEGER NOT NULL, t20 INTEGER NOT NULL,
    t21 INTEGER NOT NULL, t22 INTEGER NOT NULL, t23 INTEGER NOT NULL,
    t24 INTEGER NOT NULL, t25 INTEGER NOT NULL, t26 INTEGER NOT NULL,
    t27 INTEGER NOT NULL, t28 INTEGER NOT NULL, t29 INTEGER NOT NULL,
    PRIMARY KEY (grain, header_name, day, caller, login, model, provider, agent, api, status, outcome, header_value)
) STRICT;

CREATE INDEX usage_daily_login ON usage_daily (grain, header_name, login, day);
CREATE INDEX usage_daily_caller ON usage_daily (grain, header_name, caller, day);

-- Who has taken the records of a login from before callers had numbers; empty for nobody yet. Such
-- records have `login:` and the login for their caller (see `earlier`).
CREATE TABLE earlier_logins (
    login  TEXT NOT NULL PRIMARY KEY,
    caller TEXT NOT NULL
) STRICT;

CREATE INDEX earlier_logins_caller ON earlier_logins (caller);

-- What buckets of budgets hold. A bucket without a row is full. `bucket` is what it is told apart by:
-- what it counts, its definition and whose it is. `name` is what people call it. Rows from before have one
-- for both, and are taken over when their bucket is first used.
CREATE TABLE buckets (
    bucket     TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    template   TEXT    NOT NULL,
    balance    INTEGER NOT NULL, -- nanodollars, requests or tokens; below zero for what is owed
    at         INTEGER NOT NULL, -- unix milliseconds up to which the refill is counted
    is_earlier INTEGER NOT NULL
) STRICT;

CREATE INDEX buckets_template ON buckets (template);

-- What is held of buckets for requests that run. Used where several nodes share a database; a
-- node alone holds it in memory.
CREATE TABLE bucket_holds (
    hold       TEXT    NOT NULL,
    bucket     TEXT    NOT NULL,
    amount     INTEGER NOT NULL,
    expires_at INTEGER NOT NULL, -- unix milliseconds; a node that lives puts it off
    PRIMARY KEY (hold, bucket)
) STRICT;

CREATE INDEX bucket_holds_bucket ON bucket_holds (bucket);

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

-- Entries that an exporter has yet to take. Filled with the entries: their ids are no order in
-- which they are written, because a long request is written late.
CREATE TABLE export_queue (
    exporter TEXT    NOT NULL,
    entry_id TEXT    NOT NULL,
    batch    TEXT,             -- the batch that it is in while it is taken
    until    INTEGER NOT NULL, -- unix milliseconds; then another node may take the batch up
    PRIMARY KEY (exporter, entry_id)
) STRICT;

CREATE INDEX export_queue_batch ON export_queue (exporter, batch);

-- The last entry that an exporter has taken.
CREATE TABLE export_cursor (
    name       TEXT NOT NULL PRIMARY KEY,
    last_entry TEXT NOT NULL
) STRICT;

-- Who did what that others should be able to see.
CREATE TABLE audit (
    id      TEXT    NOT NULL PRIMARY KEY, -- begins with the time, as an entry's does
    at      INTEGER NOT NULL, -- unix milliseconds
    actor   TEXT    NOT NULL, -- login or tags; empty for the gateway itself
    node    TEXT    NOT NULL,
    kind    TEXT    NOT NULL,
    subject TEXT    NOT NULL, -- what it was done to
    detail  TEXT    NOT NULL, -- JSON
    count   INTEGER NOT NULL, -- how often, where it was done again and again
    caller  TEXT    NOT NULL DEFAULT '' -- whose login or tags `actor` are (`Caller::key`)
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

-- Conversations of the chat, as their owner's browser wrote them.
CREATE TABLE chats (
    caller     TEXT    NOT NULL,
    id         TEXT    NOT NULL, -- the session of its requests
    updated_at INTEGER NOT NULL, -- unix milliseconds
    title      TEXT    NOT NULL,
    body       BLOB    NOT NULL, -- JSON
    PRIMARY KEY (caller, id)
) STRICT;

CREATE INDEX chats_updated ON chats (updated_at);
