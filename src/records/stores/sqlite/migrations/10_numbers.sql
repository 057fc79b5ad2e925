-- Names become numbers, and entries lie in the order of their time: one index in place of ten. Sums are
-- kept by kind and by caller, in fewer rows and columns.
ALTER TABLE entries RENAME TO entries_before;
ALTER TABLE entry_headers RENAME TO entry_headers_before;
ALTER TABLE entry_tools RENAME TO entry_tools_before;
DROP INDEX entry_headers_name;
DROP INDEX entry_headers_entry;
DROP INDEX entry_tools_name;
DROP INDEX entries_login;
DROP INDEX entries_node;
DROP INDEX entries_model;
DROP INDEX entries_provider;
DROP INDEX entries_agent;
DROP INDEX entries_api;
DROP INDEX entries_status;
DROP INDEX entries_outcome;
DROP INDEX entries_session;
DROP INDEX entries_caller;

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

INSERT INTO callers (caller, login) SELECT DISTINCT caller, login FROM entries_before ORDER BY 1, 2;
INSERT INTO nodes (node_id) SELECT DISTINCT node_id FROM entries_before ORDER BY 1;
INSERT INTO kinds (model, provider, agent, api, status, outcome)
    SELECT DISTINCT model, provider, agent, api, status, outcome FROM entries_before
    UNION SELECT DISTINCT model, provider, agent, api, status, outcome FROM usage_daily
        WHERE grain IN (126, 127, 254, 255)
    ORDER BY 1, 2, 3, 4, 5, 6;
INSERT INTO callers (caller, login)
    SELECT DISTINCT caller, login FROM usage_daily WHERE grain IN (1, 127, 129, 255)
    ON CONFLICT (caller, login) DO NOTHING;
INSERT INTO headers (name, value) SELECT DISTINCT name, value FROM entry_headers_before
    UNION SELECT DISTINCT header_name, header_value FROM usage_daily WHERE grain IN (129, 254, 255)
    ORDER BY 1, 2;

-- An entry whose place is taken has the next.
CREATE TABLE places_before (id TEXT NOT NULL PRIMARY KEY, place INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO places_before (id, place)
    SELECT id, nth + MAX(place - nth) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING)
    FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id) AS nth,
            (MIN(started_at, 8796093022206) << 20) + (instr('0123456789abcdefghjkmnpqrstvwxyz', substr(id, 15, 1)) - 1) * 32768 + (instr('0123456789abcdefghjkmnpqrstvwxyz', substr(id, 16, 1)) - 1) * 1024 + (instr('0123456789abcdefghjkmnpqrstvwxyz', substr(id, 17, 1)) - 1) * 32 + (instr('0123456789abcdefghjkmnpqrstvwxyz', substr(id, 18, 1)) - 1) AS place
        FROM entries_before) AS placed
    ORDER BY id;

INSERT INTO requests (place, id, session, caller, node, kind, rest)
    SELECT places_before.place, e.id, e.session, callers.n, nodes.n, kinds.n,
        json_array(e.node_name,
            json(e.tags),
            e.model_requested,
            e.method,
            e.path,
            e.stream,
            json_array(e.input_tokens, e.output_tokens, e.cached_tokens, e.cache_write_tokens, e.cache_write_5m_tokens, e.cache_write_1h_tokens, e.reasoning_tokens, e.image_input_tokens, e.image_output_tokens, e.web_searches),
            e.tokens_estimated,
            e.cost,
            e.cost_basis,
            e.finish_reason,
            e.tool_calls,
            e.first_byte_ms,
            e.first_token_ms,
            e.duration_ms,
            e.overhead_ms,
            e.request_bytes,
            e.response_bytes,
            e.user_agent,
            json(e.reasons),
            e.error)
    FROM places_before CROSS JOIN entries_before AS e
        JOIN callers ON callers.caller = e.caller AND callers.login = e.login
        JOIN nodes ON nodes.node_id = e.node_id
        JOIN kinds ON kinds.model = e.model AND kinds.provider = e.provider AND kinds.agent = e.agent
            AND kinds.api = e.api AND kinds.status = e.status AND kinds.outcome = e.outcome
    WHERE e.id = places_before.id ORDER BY places_before.place;
INSERT INTO node_days (node, day, caller)
    SELECT DISTINCT node, (place >> 20) / 86400000, caller FROM requests ORDER BY 1, 2, 3;
-- Headers by which entries can be filtered. `entry` is a place. `nth` counts the values of one name in one
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
INSERT INTO entry_headers (name, value, entry, nth)
    SELECT h.name, h.value, places_before.place, h.nth
    FROM entry_headers_before AS h JOIN places_before ON places_before.id = h.entry_id
    ORDER BY 1, 2, 3;
DROP TABLE entry_headers_before;

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
INSERT INTO entry_tools (entry, position, name, nth, params)
    SELECT places_before.place, t.position, t.name, t.nth, t.params
    FROM entry_tools_before AS t JOIN places_before ON places_before.id = t.entry_id
    ORDER BY 1, 2;
DROP TABLE entry_tools_before;
DROP TABLE places_before;
DROP TABLE entries_before;

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
        (requests.rest ->> 20) AS error
    FROM requests CROSS JOIN callers CROSS JOIN nodes CROSS JOIN kinds
    WHERE callers.n = requests.caller AND nodes.n = requests.node AND kinds.n = requests.kind;

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

-- Sums as bytes: each that is not zero is its place, with the highest bit set, and eight bytes.
CREATE TABLE sums_before AS
    SELECT grain, day, caller, login, model, provider, agent, api, status, outcome, header_name,
        header_value, u.requests, u.input_tokens, u.output_tokens, u.cost,
        CASE WHEN errors <> 0 THEN printf('81%016x', errors) ELSE '' END ||
        CASE WHEN cached_tokens <> 0 THEN printf('84%016x', cached_tokens) ELSE '' END ||
        CASE WHEN cache_write_tokens <> 0 THEN printf('85%016x', cache_write_tokens) ELSE '' END ||
        CASE WHEN cache_write_5m_tokens <> 0 THEN printf('86%016x', cache_write_5m_tokens) ELSE '' END ||
        CASE WHEN cache_write_1h_tokens <> 0 THEN printf('87%016x', cache_write_1h_tokens) ELSE '' END ||
        CASE WHEN reasoning_tokens <> 0 THEN printf('88%016x', reasoning_tokens) ELSE '' END ||
        CASE WHEN image_input_tokens <> 0 THEN printf('89%016x', image_input_tokens) ELSE '' END ||
        CASE WHEN image_output_tokens <> 0 THEN printf('8a%016x', image_output_tokens) ELSE '' END ||
        CASE WHEN web_searches <> 0 THEN printf('8b%016x', web_searches) ELSE '' END ||
        CASE WHEN priced <> 0 THEN printf('8d%016x', priced) ELSE '' END ||
        CASE WHEN unpriced <> 0 THEN printf('8e%016x', unpriced) ELSE '' END ||
        CASE WHEN d00 <> 0 THEN printf('8f%016x', d00) ELSE '' END ||
        CASE WHEN d01 <> 0 THEN printf('90%016x', d01) ELSE '' END ||
        CASE WHEN d02 <> 0 THEN printf('91%016x', d02) ELSE '' END ||
        CASE WHEN d03 <> 0 THEN printf('92%016x', d03) ELSE '' END ||
        CASE WHEN d04 <> 0 THEN printf('93%016x', d04) ELSE '' END ||
        CASE WHEN d05 <> 0 THEN printf('94%016x', d05) ELSE '' END ||
        CASE WHEN d06 <> 0 THEN printf('95%016x', d06) ELSE '' END ||
        CASE WHEN d07 <> 0 THEN printf('96%016x', d07) ELSE '' END ||
        CASE WHEN d08 <> 0 THEN printf('97%016x', d08) ELSE '' END ||
        CASE WHEN d09 <> 0 THEN printf('98%016x', d09) ELSE '' END ||
        CASE WHEN d10 <> 0 THEN printf('99%016x', d10) ELSE '' END ||
        CASE WHEN d11 <> 0 THEN printf('9a%016x', d11) ELSE '' END ||
        CASE WHEN d12 <> 0 THEN printf('9b%016x', d12) ELSE '' END ||
        CASE WHEN d13 <> 0 THEN printf('9c%016x', d13) ELSE '' END ||
        CASE WHEN d14 <> 0 THEN printf('9d%016x', d14) ELSE '' END ||
        CASE WHEN d15 <> 0 THEN printf('9e%016x', d15) ELSE '' END ||
        CASE WHEN d16 <> 0 THEN printf('9f%016x', d16) ELSE '' END ||
        CASE WHEN d17 <> 0 THEN printf('a0%016x', d17) ELSE '' END ||
        CASE WHEN d18 <> 0 THEN printf('a1%016x', d18) ELSE '' END ||
        CASE WHEN d19 <> 0 THEN printf('a2%016x', d19) ELSE '' END ||
        CASE WHEN d20 <> 0 THEN printf('a3%016x', d20) ELSE '' END ||
        CASE WHEN d21 <> 0 THEN printf('a4%016x', d21) ELSE '' END ||
        CASE WHEN d22 <> 0 THEN printf('a5%016x', d22) ELSE '' END ||
        CASE WHEN d23 <> 0 THEN printf('a6%016x', d23) ELSE '' END ||
        CASE WHEN d24 <> 0 THEN printf('a7%016x', d24) ELSE '' END ||
        CASE WHEN d25 <> 0 THEN printf('a8%016x', d25) ELSE '' END ||
        CASE WHEN d26 <> 0 THEN printf('a9%016x', d26) ELSE '' END ||
        CASE WHEN d27 <> 0 THEN printf('aa%016x', d27) ELSE '' END ||
        CASE WHEN d28 <> 0 THEN printf('ab%016x', d28) ELSE '' END ||
        CASE WHEN d29 <> 0 THEN printf('ac%016x', d29) ELSE '' END ||
        CASE WHEN t00 <> 0 THEN printf('ad%016x', t00) ELSE '' END ||
        CASE WHEN t01 <> 0 THEN printf('ae%016x', t01) ELSE '' END ||
        CASE WHEN t02 <> 0 THEN printf('af%016x', t02) ELSE '' END ||
        CASE WHEN t03 <> 0 THEN printf('b0%016x', t03) ELSE '' END ||
        CASE WHEN t04 <> 0 THEN printf('b1%016x', t04) ELSE '' END ||
        CASE WHEN t05 <> 0 THEN printf('b2%016x', t05) ELSE '' END ||
        CASE WHEN t06 <> 0 THEN printf('b3%016x', t06) ELSE '' END ||
        CASE WHEN t07 <> 0 THEN printf('b4%016x', t07) ELSE '' END ||
        CASE WHEN t08 <> 0 THEN printf('b5%016x', t08) ELSE '' END ||
        CASE WHEN t09 <> 0 THEN printf('b6%016x', t09) ELSE '' END ||
        CASE WHEN t10 <> 0 THEN printf('b7%016x', t10) ELSE '' END ||
        CASE WHEN t11 <> 0 THEN printf('b8%016x', t11) ELSE '' END ||
        CASE WHEN t12 <> 0 THEN printf('b9%016x', t12) ELSE '' END ||
        CASE WHEN t13 <> 0 THEN printf('ba%016x', t13) ELSE '' END ||
        CASE WHEN t14 <> 0 THEN printf('bb%016x', t14) ELSE '' END ||
        CASE WHEN t15 <> 0 THEN printf('bc%016x', t15) ELSE '' END ||
        CASE WHEN t16 <> 0 THEN printf('bd%016x', t16) ELSE '' END ||
        CASE WHEN t17 <> 0 THEN printf('be%016x', t17) ELSE '' END ||
        CASE WHEN t18 <> 0 THEN printf('bf%016x', t18) ELSE '' END ||
        CASE WHEN t19 <> 0 THEN printf('c0%016x', t19) ELSE '' END ||
        CASE WHEN t20 <> 0 THEN printf('c1%016x', t20) ELSE '' END ||
        CASE WHEN t21 <> 0 THEN printf('c2%016x', t21) ELSE '' END ||
        CASE WHEN t22 <> 0 THEN printf('c3%016x', t22) ELSE '' END ||
        CASE WHEN t23 <> 0 THEN printf('c4%016x', t23) ELSE '' END ||
        CASE WHEN t24 <> 0 THEN printf('c5%016x', t24) ELSE '' END ||
        CASE WHEN t25 <> 0 THEN printf('c6%016x', t25) ELSE '' END ||
        CASE WHEN t26 <> 0 THEN printf('c7%016x', t26) ELSE '' END ||
        CASE WHEN t27 <> 0 THEN printf('c8%016x', t27) ELSE '' END ||
        CASE WHEN t28 <> 0 THEN printf('c9%016x', t28) ELSE '' END ||
        CASE WHEN t29 <> 0 THEN printf('ca%016x', t29) ELSE '' END AS rest,
        CASE WHEN requests <> 0 THEN printf('80%016x', requests) ELSE '' END ||
        CASE WHEN input_tokens <> 0 THEN printf('82%016x', input_tokens) ELSE '' END ||
        CASE WHEN output_tokens <> 0 THEN printf('83%016x', output_tokens) ELSE '' END ||
        CASE WHEN cost <> 0 THEN printf('8c%016x', cost) ELSE '' END AS shown
    FROM usage_daily AS u WHERE grain IN (1, 126, 127, 129, 254, 255);
DROP TABLE usage_daily;
INSERT INTO usage_days (header, day, kind, requests, input_tokens, output_tokens, cost, rest)
    SELECT COALESCE(headers.n, 0), u.day, kinds.n, u.requests, u.input_tokens, u.output_tokens, u.cost,
        unhex(u.rest)
    FROM sums_before AS u JOIN kinds ON kinds.model = u.model AND kinds.provider = u.provider AND kinds.agent = u.agent
            AND kinds.api = u.api AND kinds.status = u.status AND kinds.outcome = u.outcome
        LEFT JOIN headers ON u.grain = 254 AND headers.name = u.header_name
            AND headers.value = u.header_value
    WHERE u.grain IN (126, 254) ORDER BY 1, 2, 3;
-- The sums of a kind are its number and their length, in five bytes each, and those.
CREATE TABLE kinds_before AS
    SELECT u.grain - 126 AS grain, u.day, u.caller, u.login, u.header_name, u.header_value,
        group_concat(printf('%02x', ((kinds.n) & 127) | 128) || printf('%02x', (((kinds.n) >> 7) & 127) | 128) || printf('%02x', (((kinds.n) >> 14) & 127) | 128) || printf('%02x', (((kinds.n) >> 21) & 127) | 128) || printf('%02x', (((kinds.n) >> 28) & 127)) || 
            printf('%02x', ((length(u.rest || u.shown) / 2) & 127) | 128) || printf('%02x', (((length(u.rest || u.shown) / 2) >> 7) & 127) | 128) || printf('%02x', (((length(u.rest || u.shown) / 2) >> 14) & 127) | 128) || printf('%02x', (((length(u.rest || u.shown) / 2) >> 21) & 127) | 128) || printf('%02x', (((length(u.rest || u.shown) / 2) >> 28) & 127)) || u.shown || u.rest, '' ORDER BY kinds.n) AS kinds
    FROM sums_before AS u JOIN kinds ON kinds.model = u.model AND kinds.provider = u.provider AND kinds.agent = u.agent
            AND kinds.api = u.api AND kinds.status = u.status AND kinds.outcome = u.outcome
    WHERE u.grain IN (127, 255)
    GROUP BY 1, 2, 3, 4, 5, 6;
INSERT INTO usage_callers (header, day, caller, requests, input_tokens, output_tokens, cost, rest)
    SELECT COALESCE(headers.n, 0), u.day, callers.n, u.requests, u.input_tokens, u.output_tokens, u.cost,
        unhex(u.rest)
    FROM sums_before AS u JOIN callers ON callers.caller = u.caller AND callers.login = u.login
        LEFT JOIN headers ON u.grain = 129 AND headers.name = u.header_name
            AND headers.value = u.header_value
    WHERE u.grain IN (1, 129) ORDER BY 1, 2, 3;
INSERT INTO usage_kinds (header, day, caller, kinds)
    SELECT COALESCE(headers.n, 0), u.day, callers.n, unhex(u.kinds)
    FROM kinds_before AS u JOIN callers ON callers.caller = u.caller AND callers.login = u.login
        LEFT JOIN headers ON u.grain = 129 AND headers.name = u.header_name
            AND headers.value = u.header_value
    ORDER BY 1, 2, 3;
DROP TABLE kinds_before;
DROP TABLE sums_before;

-- Of hours from before, only the requests are known; reports by hour read those entries.
INSERT INTO usage_hours (header, hour, kind, requests, input_tokens, output_tokens, cost, rest)
    SELECT 0, (place >> 20) / 3600000, kind, COUNT(*), 0, 0, 0, NULL FROM requests
    GROUP BY 2, 3 ORDER BY 2, 3;
INSERT INTO usage_hours (header, hour, kind, requests, input_tokens, output_tokens, cost, rest)
    SELECT headers.n, (requests.place >> 20) / 3600000, requests.kind, COUNT(*), 0, 0, 0, NULL
    FROM entry_headers CROSS JOIN headers CROSS JOIN requests
    WHERE headers.name = entry_headers.name AND headers.value = entry_headers.value
        AND requests.place = entry_headers.entry
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

UPDATE sessions SET first_at = MIN(first_at, 8796093022206), last_at = 8796093022206
    WHERE last_at > 8796093022206;
DROP INDEX sessions_login;
DROP INDEX sessions_id;
CREATE INDEX sessions_id ON sessions (session);
