-- Whose a record is: `caller` is the user's number or the set of tags (`Caller::key`). `login` is
-- what people call them, which others can come to be called too.
--
-- Records from before have no number. They get `login:` and the login, and are read by the user of
-- this tailnet who has that login and calls from a device that they name (`earlier`). A login that
-- may have been cut is nobody's.
ALTER TABLE entries ADD COLUMN caller TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE entries SET caller = CASE WHEN login = '(loopback)' THEN 'loopback'
    WHEN octet_length(login) > 316 THEN 'cut:' || login
    WHEN substr(login, 1, 4) = 'tag:' THEN 'tags:' || login
    ELSE 'login:' || login END;
DROP INDEX entries_session;
CREATE INDEX entries_session ON entries (session, caller, id);
CREATE INDEX entries_caller ON entries (caller, id);

-- Who has taken the records of a login from before; empty for nobody yet.
CREATE TABLE earlier_logins (
    login  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    caller TEXT COLLATE "C" NOT NULL
);

INSERT INTO earlier_logins (login, caller)
    SELECT DISTINCT login, '' FROM entries WHERE caller = 'login:' || login;
CREATE INDEX earlier_logins_caller ON earlier_logins (caller);

ALTER TABLE sessions RENAME TO sessions_before;
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
    caller  TEXT COLLATE "C" NOT NULL,
    session TEXT COLLATE "C" NOT NULL,
    model   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (caller, session, model)
);
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
    caller     TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL, -- the session of its requests
    updated_at BIGINT           NOT NULL, -- unix milliseconds
    title      TEXT COLLATE "C" NOT NULL,
    body       BYTEA            NOT NULL, -- JSON
    PRIMARY KEY (caller, id)
);
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
    bucket     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    template   TEXT COLLATE "C" NOT NULL,
    balance    BIGINT           NOT NULL, -- nanodollars, requests or tokens; below zero for what is owed
    at         BIGINT           NOT NULL, -- unix milliseconds up to which the refill is counted
    is_earlier BIGINT           NOT NULL
);
INSERT INTO buckets (bucket, name, template, balance, at, is_earlier)
    SELECT name, name, template, balance, at, 1 FROM buckets_before;
DROP TABLE buckets_before;
CREATE INDEX buckets_template ON buckets (template);
