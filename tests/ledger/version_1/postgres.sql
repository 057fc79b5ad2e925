-- The schema of version 1, from which tests build databases of all versions since.

-- One row per request, written once when the request ends.
-- An id begins with the time at which the request started, so "newest first" is "id descending"
-- and a range of time is a range of ids.
CREATE TABLE entries (
    id                    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    session               TEXT COLLATE "C" NOT NULL,
    started_at            BIGINT           NOT NULL, -- unix milliseconds
    login                 TEXT COLLATE "C" NOT NULL,
    node_id               TEXT COLLATE "C" NOT NULL,
    node_name             TEXT COLLATE "C" NOT NULL,
    tags                  TEXT COLLATE "C" NOT NULL, -- JSON array of strings
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
    reasons               TEXT COLLATE "C" NOT NULL, -- JSON array of strings
    error                 TEXT COLLATE "C"
);

CREATE INDEX entries_login ON entries (login, id);
CREATE INDEX entries_session ON entries (session, login, id);
CREATE INDEX entries_node ON entries (node_id, id);
CREATE INDEX entries_model ON entries (model, id);
CREATE INDEX entries_provider ON entries (provider, id);
CREATE INDEX entries_agent ON entries (agent, id);
CREATE INDEX entries_api ON entries (api, id);
CREATE INDEX entries_status ON entries (status, id);
CREATE INDEX entries_outcome ON entries (outcome, id);

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

-- The last entry that an exporter has taken.
CREATE TABLE export_cursor (
    name       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    last_entry TEXT COLLATE "C" NOT NULL
);

-- One row for the requests of one login that carry one session id.
CREATE TABLE sessions (
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
    PRIMARY KEY (login, session)
);

CREATE INDEX sessions_last ON sessions (last_request);
CREATE INDEX sessions_login ON sessions (login, last_request);
CREATE INDEX sessions_id ON sessions (session, last_request);

CREATE TABLE session_models (
    login   TEXT COLLATE "C" NOT NULL,
    session TEXT COLLATE "C" NOT NULL,
    model   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (login, session, model)
);

-- Sums over the entries of one UTC day, at several grains: `grain` is the set of columns by which
-- a row is told apart (see `rollup`); the others are empty in it. dNN and tNN count requests by
-- their duration and their time to the first token (see `histogram`).
CREATE TABLE usage_daily (
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
    PRIMARY KEY (grain, header_name, day, login, model, provider, agent, api, status, outcome, header_value)
);

CREATE INDEX usage_daily_login ON usage_daily (grain, header_name, login, day);
