-- The schema of a new database, version 12. Whoever changes it writes a migration that changes an existing
-- one to the same, for both databases; a test compares them.

-- Records that are durable and not yet folded into the other tables: a group in each row (see `packed`).
CREATE TABLE journal (
    id      TEXT NOT NULL PRIMARY KEY, -- begins with the time, as an entry's does
    records INTEGER NOT NULL, -- how many
    content BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Names that many records share, by number. A name is never removed.
-- `login` is what people call a caller, which others can come to be called too; `caller` is the user's
-- number or the set of tags.
CREATE TABLE callers (
    n      INTEGER NOT NULL PRIMARY KEY,
    caller TEXT    NOT NULL, -- whose it is (`Caller::key`)
    login  TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX callers_name ON callers (caller, login);
CREATE INDEX callers_login ON callers (login);

CREATE TABLE nodes (
    n       INTEGER NOT NULL PRIMARY KEY,
    node_id TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX nodes_name ON nodes (node_id);

-- What reports tell requests apart by, callers aside.
CREATE TABLE kinds (
    n        INTEGER NOT NULL PRIMARY KEY,
    model    TEXT    NOT NULL,
    provider TEXT    NOT NULL,
    agent    TEXT    NOT NULL,
    api      TEXT    NOT NULL,
    status   INTEGER NOT NULL,
    outcome  TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX kinds_name ON kinds (model, provider, agent, api, status, outcome);

CREATE TABLE headers (
    n     INTEGER NOT NULL PRIMARY KEY,
    name  TEXT    NOT NULL,
    value TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX headers_name ON headers (name, value);

-- One row per request, written once when the request ends.
-- `place` is made of the time at which the request started, in milliseconds, and 20 more bits of its id. So
-- "newest first" is "place descending", and a range of time is a range of places.
CREATE TABLE requests (
    place   INTEGER NOT NULL PRIMARY KEY,
    id      TEXT    NOT NULL,
    session TEXT    NOT NULL,
    caller  INTEGER NOT NULL, -- a number, as the next two
    node    INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    rest    TEXT    NOT NULL  -- a JSON array, see the view
) STRICT;

CREATE INDEX requests_caller ON requests (caller); -- and place, as in every index

-- The days on which a node was seen, and its caller.
CREATE TABLE node_days (
    node   INTEGER NOT NULL,
    day    INTEGER NOT NULL, -- days since 1970
    caller INTEGER NOT NULL,
    PRIMARY KEY (node, day, caller)
) STRICT, WITHOUT ROWID;

-- Requests as people read them.
CREATE VIEW entries AS
    SELECT requests.id AS id,
        requests.session AS session,
        requests.place >> 20 AS started_at,
        callers.caller AS caller,
        callers.login AS login,
        nodes.node_id AS node_id,
        kinds.agent AS agent,
        kinds.api AS api,
        kinds.model AS model,
        kinds.provider AS provider,
        kinds.status AS status,
        kinds.outcome AS outcome,
        (requests.rest ->> 0) AS node_name,
        (requests.rest ->> 1) AS tags,
        (requests.rest ->> 2) AS model_requested,
        (requests.rest ->> 3) AS method,
        (requests.rest ->> 4) AS path,
        (requests.rest ->> 5) AS stream,
        (requests.rest -> 6 ->> 0) AS input_tokens,
        (requests.rest -> 6 ->> 1) AS output_tokens,
        (requests.rest -> 6 ->> 2) AS cached_tokens,
        (requests.rest -> 6 ->> 3) AS cache_write_tokens,
        (requests.rest -> 6 ->> 4) AS cache_write_5m_tokens,
        (requests.rest -> 6 ->> 5) AS cache_write_1h_tokens,
        (requests.rest -> 6 ->> 6) AS reasoning_tokens,
        (requests.rest -> 6 ->> 7) AS image_input_tokens,
        (requests.rest -> 6 ->> 8) AS image_output_tokens,
        (requests.rest -> 6 ->> 9) AS web_searches,
        (requests.rest ->> 7) AS tokens_estimated,
        (requests.rest ->> 8) AS cost,
        (requests.rest ->> 9) AS cost_basis,
        (requests.rest ->> 10) AS finish_reason,
        (requests.rest ->> 11) AS tool_calls,
        (requests.rest ->> 12) AS first_byte_ms,
        (requests.rest ->> 13) AS first_token_ms,
        (requests.rest ->> 14) AS duration_ms,
        (requests.rest ->> 15) AS overhead_ms,
        (requests.rest ->> 16) AS request_bytes,
        (requests.rest ->> 17) AS response_bytes,
        (requests.rest ->> 18) AS user_agent,
        (requests.rest ->> 19) AS reasons,
        (requests.rest ->> 20) AS error,
        COALESCE(requests.rest ->> 22, 0) AS own_credential,
        (requests.rest -> 23 ->> 'labels') AS labels,
        (requests.rest -> 23 ->> 'via') AS via
    FROM requests CROSS JOIN callers CROSS JOIN nodes CROSS JOIN kinds
    WHERE callers.n = requests.caller AND nodes.n = requests.node AND kinds.n = requests.kind;

-- Headers and labels by which entries can be filtered. The names of labels begin with `label:`, and `via:` is
-- the application that spoke for a person. `entry` is a place. `nth` counts the values of one name in one
-- entry.
CREATE TABLE entry_headers (
    name  TEXT    NOT NULL,
    value TEXT    NOT NULL,
    entry INTEGER NOT NULL,
    nth   INTEGER NOT NULL,
    PRIMARY KEY (name, value, entry)
) STRICT, WITHOUT ROWID;

CREATE INDEX entry_headers_name ON entry_headers (name, nth, entry);
CREATE INDEX entry_headers_entry ON entry_headers (entry);

-- Calls of tools. `entry` is a place. `nth` counts the calls of one tool in one entry, `position` all of
-- them.
CREATE TABLE entry_tools (
    entry    INTEGER NOT NULL,
    position INTEGER NOT NULL,
    name     TEXT    NOT NULL,
    nth      INTEGER NOT NULL,
    params   TEXT    NOT NULL, -- JSON
    PRIMARY KEY (entry, position)
) STRICT;

CREATE INDEX entry_tools_name ON entry_tools (name, nth, entry);

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
    own_credential_cost   INTEGER NOT NULL DEFAULT 0, -- nanodollars of `cost`
    PRIMARY KEY (caller, session)
) STRICT;

CREATE INDEX sessions_last ON sessions (last_request);
CREATE INDEX sessions_caller ON sessions (caller, last_request);
CREATE INDEX sessions_id ON sessions (session);

CREATE TABLE session_models (
    caller  TEXT NOT NULL,
    session TEXT NOT NULL,
    model   TEXT NOT NULL,
    PRIMARY KEY (caller, session, model)
) STRICT, WITHOUT ROWID;

-- Sums over the entries of one UTC day or hour, by kind; `header` is the number of a header that they
-- carry, or 0. `rest` has the other sums (see `sums`), or nothing where they are not known.
CREATE TABLE usage_days (
    header        INTEGER NOT NULL,
    day           INTEGER NOT NULL, -- days since 1970
    kind          INTEGER NOT NULL,
    requests      INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost          INTEGER NOT NULL, -- nanodollars
    rest          BLOB,
    PRIMARY KEY (header, day, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE usage_hours (
    header        INTEGER NOT NULL,
    hour          INTEGER NOT NULL, -- hours since 1970
    kind          INTEGER NOT NULL,
    requests      INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost          INTEGER NOT NULL, -- nanodollars
    rest          BLOB,
    PRIMARY KEY (header, hour, kind)
) STRICT, WITHOUT ROWID;

-- Sums over the entries of a caller on one UTC day.
CREATE TABLE usage_callers (
    header        INTEGER NOT NULL,
    day           INTEGER NOT NULL, -- days since 1970
    caller        INTEGER NOT NULL,
    requests      INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cost          INTEGER NOT NULL, -- nanodollars
    rest          BLOB,
    PRIMARY KEY (header, day, caller)
) STRICT, WITHOUT ROWID;

-- The same by kind, all kinds in one value. It is a table of its own because it takes far more room.
CREATE TABLE usage_kinds (
    header INTEGER NOT NULL,
    day    INTEGER NOT NULL, -- days since 1970
    caller INTEGER NOT NULL,
    kinds  BLOB    NOT NULL,
    PRIMARY KEY (header, day, caller)
) STRICT, WITHOUT ROWID;

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
CREATE INDEX objects_id ON objects (kind, id);
