-- Whose a record is: `caller` is the user's number or the set of tags (`Caller::key`). `login` is
-- what people call them, which others can come to be called too.
--
-- Records from before have no number. They get `login:` and the login, and are read by the user of
-- this tailnet who has that login and calls from a device that they name (`earlier`). A login that
-- may have been cut is nobody's.
ALTER TABLE entries ADD COLUMN caller TEXT NOT NULL DEFAULT '';
UPDATE entries SET caller = CASE WHEN login = '(loopback)' THEN 'loopback'
    WHEN octet_length(login) > 316 THEN 'cut:' || login
    WHEN substr(login, 1, 4) = 'tag:' THEN 'tags:' || login
    ELSE 'login:' || login END;
DROP INDEX entries_session;
CREATE INDEX entries_session ON entries (session, caller, id);
CREATE INDEX entries_caller ON entries (caller, id);

-- Who has taken the records of a login from before; empty for nobody yet.
CREATE TABLE earlier_logins (
    login  TEXT NOT NULL PRIMARY KEY,
    caller TEXT NOT NULL
) STRICT;

INSERT INTO earlier_logins (login, caller)
    SELECT DISTINCT login, '' FROM entries WHERE caller = 'login:' || login;
CREATE INDEX earlier_logins_caller ON earlier_logins (caller);

ALTER TABLE sessions RENAME TO sessions_before;
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
INSERT INTO sessions (
    caller,
    login, session, first_at, last_at, last_request, node_name, agent, model, provider,
    requests, errors, input_tokens, output_tokens, cached_tokens, cache_write_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, image_input_tokens,
    image_output_tokens, web_searches, cost, priced, unpriced
) SELECT CASE WHEN login = '(loopback)' THEN 'loopback'
    WHEN octet_length(login) > 316 THEN 'cut:' || login
    WHEN substr(login, 1, 4) = 'tag:' THEN 'tags:' || login
    ELSE 'login:' || login END,
    login, session, first_at, last_at, last_request, node_name, agent, model, provider,
    requests, errors, input_tokens, output_tokens, cached_tokens, cache_write_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, image_input_tokens,
    image_output_tokens, web_searches, cost, priced, unpriced
    FROM sessions_before;
DROP TABLE sessions_before;
CREATE INDEX sessions_last ON sessions (last_request);
CREATE INDEX sessions_login ON sessions (login, last_request);
CREATE INDEX sessions_caller ON sessions (caller, last_request);
CREATE INDEX sessions_id ON sessions (session, last_request);

ALTER TABLE session_models RENAME TO session_models_before;
CREATE TABLE session_models (
    caller  TEXT NOT NULL,
    session TEXT NOT NULL,
    model   TEXT NOT NULL,
    PRIMARY KEY (caller, session, model)
) STRICT, WITHOUT ROWID;
INSERT INTO session_models (
    caller,
    session, model
) SELECT CASE WHEN login = '(loopback)' THEN 'loopback'
    WHEN octet_length(login) > 316 THEN 'cut:' || login
    WHEN substr(login, 1, 4) = 'tag:' THEN 'tags:' || login
    ELSE 'login:' || login END,
    session, model
    FROM session_models_before;
DROP TABLE session_models_before;

ALTER TABLE usage_daily RENAME TO usage_daily_before;
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
INSERT INTO usage_daily (
    caller,
    grain, day, login, model, provider, agent, api, status, outcome, header_name, header_value,
    requests, errors, input_tokens, output_tokens, cached_tokens, cache_write_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, image_input_tokens,
    image_output_tokens, web_searches, cost, priced, unpriced, d00, d01, d02, d03, d04, d05,
    d06, d07, d08, d09, d10, d11, d12, d13, d14, d15, d16, d17, d18, d19, d20, d21, d22, d23,
    d24, d25, d26, d27, d28, d29, t00, t01, t02, t03, t04, t05, t06, t07, t08, t09, t10, t11,
    t12, t13, t14, t15, t16, t17, t18, t19, t20, t21, t22, t23, t24, t25, t26, t27, t28, t29
) SELECT CASE WHEN login = '' THEN ''
    WHEN login = '(loopback)' THEN 'loopback'
    WHEN octet_length(login) > 316 THEN 'cut:' || login
    WHEN substr(login, 1, 4) = 'tag:' THEN 'tags:' || login
    ELSE 'login:' || login END,
    grain, day, login, model, provider, agent, api, status, outcome, header_name, header_value,
    requests, errors, input_tokens, output_tokens, cached_tokens, cache_write_tokens,
    cache_write_5m_tokens, cache_write_1h_tokens, reasoning_tokens, image_input_tokens,
    image_output_tokens, web_searches, cost, priced, unpriced, d00, d01, d02, d03, d04, d05,
    d06, d07, d08, d09, d10, d11, d12, d13, d14, d15, d16, d17, d18, d19, d20, d21, d22, d23,
    d24, d25, d26, d27, d28, d29, t00, t01, t02, t03, t04, t05, t06, t07, t08, t09, t10, t11,
    t12, t13, t14, t15, t16, t17, t18, t19, t20, t21, t22, t23, t24, t25, t26, t27, t28, t29
    FROM usage_daily_before;
DROP TABLE usage_daily_before;
CREATE INDEX usage_daily_login ON usage_daily (grain, header_name, login, day);
CREATE INDEX usage_daily_caller ON usage_daily (grain, header_name, caller, day);

ALTER TABLE chats RENAME TO chats_before;
CREATE TABLE chats (
    caller     TEXT    NOT NULL,
    id         TEXT    NOT NULL, -- the session of its requests
    updated_at INTEGER NOT NULL, -- unix milliseconds
    title      TEXT    NOT NULL,
    body       BLOB    NOT NULL, -- JSON
    PRIMARY KEY (caller, id)
) STRICT;
INSERT INTO chats (
    caller,
    id, updated_at, title, body
) SELECT CASE WHEN login = '(loopback)' THEN 'loopback'
    WHEN octet_length(login) > 316 THEN 'cut:' || login
    WHEN substr(login, 1, 4) = 'tag:' THEN 'tags:' || login
    ELSE 'login:' || login END,
    id, updated_at, title, body
    FROM chats_before;
DROP TABLE chats_before;
CREATE INDEX chats_updated ON chats (updated_at);

-- `bucket` is what a bucket is told apart by: what it counts, its definition and whose it is. `name`
-- is what people call it. Rows from before have one for both, and are taken over when their bucket
-- is first used.
ALTER TABLE buckets RENAME TO buckets_before;
CREATE TABLE buckets (
    bucket     TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    template   TEXT    NOT NULL,
    balance    INTEGER NOT NULL, -- nanodollars, requests or tokens; below zero for what is owed
    at         INTEGER NOT NULL, -- unix milliseconds up to which the refill is counted
    is_earlier INTEGER NOT NULL
) STRICT;
INSERT INTO buckets (bucket, name, template, balance, at, is_earlier)
    SELECT name, name, template, balance, at, 1 FROM buckets_before;
DROP TABLE buckets_before;
CREATE INDEX buckets_template ON buckets (template);
