-- Records that are durable and not yet folded into the other tables: a group in each row (see `packed`).
CREATE TABLE journal (
    id      TEXT NOT NULL PRIMARY KEY, -- begins with the time, as an entry's does
    records INTEGER NOT NULL, -- how many
    content BLOB NOT NULL
) STRICT, WITHOUT ROWID;
