-- The schema of a new database, version 10. Whoever changes it writes a migration that changes an existing
-- one to the same, for both databases; a test compares them.
-- Text is compared byte by byte, as SQLite does: a page of ids must not depend on a server's language.

-- Records that are durable and not yet folded into the other tables: a group in each row (see `packed`).
CREATE TABLE journal (
    id      TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- begins with the time, as an entry's does
    records BIGINT NOT NULL, -- how many
    content BYTEA NOT NULL
);

-- One row per request, written once when the request ends.
-- An id begins with the time at which the request started, so "newest first" is "id descending"
-- and a range of time is a range of ids.
-- `login` is what people call a caller, which others can come to be called too; `caller` is the user's
-- number or the set of tags.
CREATE TABLE entries (
    id                    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    session               TEXT COLLATE "C" NOT NULL,
    started_at            BIGINT           NOT NULL, -- unix milliseconds
    login                 TEXT COLLATE "C" NOT NULL,
    node_id               TEXT COLLATE "C" NOT NULL,
    node_name             TEXT COLLATE "C" NOT NULL,
    tags                  TEXT COLLATE "C" NOT NULL, -- JSON array of codes (`base/reasons.rs`), or sentences
    agent                 TEXT COLLATE "C" NOT NULL,
    api                   TEXT COLLATE "C" NOT NULL,
    model_requested       TEXT COLLATE "C" NOT NULL,
    model                 TEXT COLLATE "C" NOT NULL,
    provider              TEXT COLLATE "C" NOT NULL,
    method                TEXT COLLATE "C" NOT NULL,
    path                  TEXT COLLATE "C" NOT NULL,
    status                BIGINT           NOT NULL,
    outcome               TEXT COLLATE "C" NOT NULL,
    stream                BIGINT           NOT NULL,
    input_tokens          BIGINT,
    output_tokens         BIGINT,
    cached_tokens         BIGINT,
    cache_write_tokens    BIGINT,
    cache_write_5m_tokens BIGINT,
    cache_write_1h_tokens BIGINT,
    reasoning_tokens      BIGINT,
    image_input_tokens    BIGINT,
    image_output_tokens   BIGINT,
    web_searches          BIGINT,
    tokens_estimated      BIGINT           NOT NULL,
    cost                  BIGINT,          -- nanodollars
    cost_basis            TEXT COLLATE "C",
    finish_reason         TEXT COLLATE "C",
    tool_calls            BIGINT           NOT NULL,
    first_byte_ms         DOUBLE PRECISION,
    first_token_ms        DOUBLE PRECISION,
    duration_ms           DOUBLE PRECISION NOT NULL,
    overhead_ms           DOUBLE PRECISION,
    request_bytes         BIGINT           NOT NULL,
    response_bytes        BIGINT           NOT NULL,
    user_agent            TEXT COLLATE "C" NOT NULL,
    reasons               TEXT COLLATE "C" NOT NULL, -- JSON array of codes (`base/reasons.rs`), or sentences
    error                 TEXT COLLATE "C",
    caller                TEXT COLLATE "C" NOT NULL DEFAULT '' -- whose it is (`Caller::key`)
);

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
    name     TEXT COLLATE "C" NOT NULL,
    value    TEXT COLLATE "C" NOT NULL,
    entry_id TEXT COLLATE "C" NOT NULL,
    nth      BIGINT           NOT NULL,
    PRIMARY KEY (name, value, entry_id)
);

CREATE INDEX entry_headers_name ON entry_headers (name, nth, entry_id);
CREATE INDEX entry_headers_entry ON entry_headers (entry_id);

-- Calls of tools. `nth` counts the calls of one tool in one entry, `position` all of them.
CREATE TABLE entry_tools (
    entry_id TEXT COLLATE "C" NOT NULL,
    position BIGINT           NOT NULL,
    name     TEXT COLLATE "C" NOT NULL,
    nth      BIGINT           NOT NULL,
    params   TEXT COLLATE "C" NOT NULL, -- JSON
    PRIMARY KEY (entry_id, position)
);

CREATE INDEX entry_tools_name ON entry_tools (name, nth, entry_id);

-- What was said. Bodies are compressed with zstd; the sizes are those before.
CREATE TABLE captures (
    entry_id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    request_headers  TEXT COLLATE "C" NOT NULL, -- JSON array of pairs
    request_body     BYTEA            NOT NULL,
    request_size     BIGINT           NOT NULL,
    response_headers TEXT COLLATE "C" NOT NULL, -- JSON array of pairs
    response_body    BYTEA            NOT NULL,
    response_size    BIGINT           NOT NULL,
    raw              BYTEA,
    raw_size         BIGINT,
    truncated        BIGINT           NOT NULL
);

-- One row for the requests of one caller that carry one session id.
CREATE TABLE sessions (
    caller                TEXT COLLATE "C" NOT NULL,
    login                 TEXT COLLATE "C" NOT NULL,
    session               TEXT COLLATE "C" NOT NULL,
    first_at              BIGINT           NOT NULL, -- unix milliseconds
    last_at               BIGINT           NOT NULL,
    last_request          TEXT COLLATE "C" NOT NULL,
    node_name             TEXT COLLATE "C" NOT NULL, -- of the last request, as are the next three
    agent                 TEXT COLLATE "C" NOT NULL,
    model                 TEXT COLLATE "C" NOT NULL,
    provider              TEXT COLLATE "C" NOT NULL,
    requests              BIGINT           NOT NULL,
    errors                BIGINT           NOT NULL,
    input_tokens          BIGINT           NOT NULL,
    output_tokens         BIGINT           NOT NULL,
    cached_tokens         BIGINT           NOT NULL,
    cache_write_tokens    BIGINT           NOT NULL,
    cache_write_5m_tokens BIGINT           NOT NULL,
    cache_write_1h_tokens BIGINT           NOT NULL,
    reasoning_tokens      BIGINT           NOT NULL,
    image_input_tokens    BIGINT           NOT NULL,
    image_output_tokens   BIGINT           NOT NULL,
    web_searches          BIGINT           NOT NULL,
    cost                  BIGINT           NOT NULL,
    priced                BIGINT           NOT NULL,
    unpriced              BIGINT           NOT NULL,
    PRIMARY KEY (caller, session)
);

CREATE INDEX sessions_last ON sessions (last_request);
CREATE INDEX sessions_login ON sessions (login, last_request);
CREATE INDEX sessions_caller ON sessions (caller, last_request);
CREATE INDEX sessions_id ON sessions (session, last_request);

CREATE TABLE session_models (
    caller  TEXT COLLATE "C" NOT NULL,
    session TEXT COLLATE "C" NOT NULL,
    model   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (caller, session, model)
);

-- Sums over the entries of one UTC day, at several grains: `grain` is the set of columns by which
-- a row is told apart (see `rollup`); the others are empty in it. dNN and tNN count requests by
-- their duration and their time to the first token (see `histogram`).
CREATE TABLE usage_daily (
    caller                TEXT COLLATE "C" NOT NULL,
    grain                 BIGINT           NOT NULL,
    day                   BIGINT           NOT NULL, -- days since 1970
    login                 TEXT COLLATE "C" NOT NULL,
    model                 TEXT COLLATE "C" NOT NULL,
    provider              TEXT COLLATE "C" NOT NULL,
    agent                 TEXT COLLATE "C" NOT NULL,
    api                   TEXT COLLATE "C" NOT NULL,
    status                BIGINT           NOT NULL,
    outcome               TEXT COLLATE "C" NOT NULL,
    header_name           TEXT COLLATE "C" NOT NULL,
    header_value          TEXT COLLATE "C" NOT NULL,
    requests              BIGINT           NOT NULL,
    errors                BIGINT           NOT NULL,
    input_tokens          BIGINT           NOT NULL,
    output_tokens         BIGINT           NOT NULL,
    cached_tokens         BIGINT           NOT NULL,
    cache_write_tokens    BIGINT           NOT NULL,
    cache_write_5m_tokens BIGINT           NOT NULL,
    cache_write_1h_tokens BIGINT           NOT NULL,
    reasoning_tokens      BIGINT           NOT NULL,
    image_input_tokens    BIGINT           NOT NULL,
    image_output_tokens   BIGINT           NOT NULL,
    web_searches          BIGINT           NOT NULL,
    cost                  BIGINT           NOT NULL,
    priced                BIGINT           NOT NULL,
    unpriced              BIGINT           NOT NULL,
    d00 BIGINT NOT NULL, d01 BIGINT NOT NULL, d02 BIGINT NOT NULL,
    d03 BIGINT NOT NULL, d04 BIGINT NOT NULL, d05 BIGINT NOT NULL,
    d06 BIGINT NOT NULL, d07 BIGINT NOT NULL, d08 BIGINT NOT NULL,
    d09 BIGINT NOT NULL, d10 BIGINT NOT NULL, d11 BIGINT NOT NULL,
    d12 BIGINT NOT NULL, d13 BIGINT NOT NULL, d14 BIGINT NOT NULL,
    d15 BIGINT NOT NULL, d16 BIGINT NOT NULL, d17 BIGINT NOT NULL,
    d18 BIGINT NOT NULL, d19 BIGINT NOT NULL, d20 BIGINT NOT NULL,
    d21 BIGINT NOT NULL, d22 BIGINT NOT NULL, d23 BIGINT NOT NULL,
    d24 BIGINT NOT NULL, d25 BIGINT NOT NULL, d26 BIGINT NOT NULL,
    d27 BIGINT NOT NULL, d28 BIGINT NOT NULL, d29 BIGINT NOT NULL,
    t00 BIGINT NOT NULL, t01 BIGINT NOT NULL, t02 BIGINT NOT NULL,
    t03 BIGINT NOT NULL, t04 BIGINT NOT NULL, t05 BIGINT NOT NULL,
    t06 BIGINT NOT NULL, t07 BIGINT NOT NULL, t08 BIGINT NOT NULL,
    t09 BIGINT NOT NULL, t10 BIGINT NOT NULL, t11 BIGINT NOT NULL,
    t12 BIGINT NOT NULL, t13 BIGINT NOT NULL, t14 BIGINT NOT NULL,
    t15 BIGINT NOT NULL, t16 BIGINT NOT NULL, t17 BIGINT NOT NULL,
    t18 BIGINT NOT NULL, t19 BIGINT NOT NULL, t20 BIGINT NOT NULL,
    t21 BIGINT NOT NULL, t22 BIGINT NOT NULL, t23 BIGINT NOT NULL,
    t24 BIGINT NOT NULL, t25 BIGINT NOT NULL, t26 BIGINT NOT NULL,
    t27 BIGINT NOT NULL, t28 BIGINT NOT NULL, t29 BIGINT NOT NULL,
    PRIMARY KEY (grain, header_name, day, caller, login, model, provider, agent, api, status, outcome, header_value)
);

CREATE INDEX usage_daily_login ON usage_daily (grain, header_name, login, day);
CREATE INDEX usage_daily_caller ON usage_daily (grain, header_name, caller, day);

-- Who has taken the records of a login from before callers had numbers; empty for nobody yet. Such
-- records have `login:` and the login for their caller (see `earlier`).
CREATE TABLE earlier_logins (
    login  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    caller TEXT COLLATE "C" NOT NULL
);

CREATE INDEX earlier_logins_caller ON earlier_logins (caller);

-- What buckets of budgets hold. A bucket without a row is full. `bucket` is what it is told apart by:
-- what it counts, its definition and whose it is. `name` is what people call it. Rows from before have one
-- for both, and are taken over when their bucket is first used.
CREATE TABLE buckets (
    bucket     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    template   TEXT COLLATE "C" NOT NULL,
    balance    BIGINT           NOT NULL, -- nanodollars, requests or tokens; below zero for what is owed
    at         BIGINT           NOT NULL, -- unix milliseconds up to which the refill is counted
    is_earlier BIGINT           NOT NULL
);

CREATE INDEX buckets_template ON buckets (template);

-- What is held of buckets for requests that run. Used where several nodes share a database; a
-- node alone holds it in memory.
CREATE TABLE bucket_holds (
    hold       TEXT COLLATE "C" NOT NULL,
    bucket     TEXT COLLATE "C" NOT NULL,
    amount     BIGINT           NOT NULL,
    expires_at BIGINT           NOT NULL, -- unix milliseconds; a node that lives puts it off
    PRIMARY KEY (hold, bucket)
);

CREATE INDEX bucket_holds_bucket ON bucket_holds (bucket);

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

-- Entries that an exporter has yet to take. Filled with the entries: their ids are no order in
-- which they are written, because a long request is written late.
CREATE TABLE export_queue (
    exporter TEXT COLLATE "C" NOT NULL,
    entry_id TEXT COLLATE "C" NOT NULL,
    batch    TEXT COLLATE "C",             -- the batch that it is in while it is taken
    until    BIGINT           NOT NULL, -- unix milliseconds; then another node may take the batch up
    PRIMARY KEY (exporter, entry_id)
);

CREATE INDEX export_queue_batch ON export_queue (exporter, batch);

-- The last entry that an exporter has taken.
CREATE TABLE export_cursor (
    name       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    last_entry TEXT COLLATE "C" NOT NULL
);

-- Who did what that others should be able to see.
CREATE TABLE audit (
    id      TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- begins with the time, as an entry's does
    at      BIGINT           NOT NULL, -- unix milliseconds
    actor   TEXT COLLATE "C" NOT NULL, -- login or tags; empty for the gateway itself
    node    TEXT COLLATE "C" NOT NULL,
    kind    TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL, -- what it was done to
    detail  TEXT COLLATE "C" NOT NULL, -- JSON
    count   BIGINT           NOT NULL, -- how often, where it was done again and again
    caller  TEXT COLLATE "C" NOT NULL DEFAULT '' -- whose login or tags `actor` are (`Caller::key`)
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

-- Conversations of the chat, as their owner's browser wrote them.
CREATE TABLE chats (
    caller     TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL, -- the session of its requests
    updated_at BIGINT           NOT NULL, -- unix milliseconds
    title      TEXT COLLATE "C" NOT NULL,
    body       BYTEA            NOT NULL, -- JSON
    PRIMARY KEY (caller, id)
);

CREATE INDEX chats_updated ON chats (updated_at);
