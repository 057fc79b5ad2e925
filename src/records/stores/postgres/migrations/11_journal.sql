-- Records that are durable and not yet folded into the other tables: a group in each row (see `packed`).
CREATE TABLE journal (
    id      TEXT COLLATE "C" NOT NULL PRIMARY KEY, -- begins with the time, as an entry's does
    records BIGINT NOT NULL, -- how many
    content BYTEA NOT NULL
);
