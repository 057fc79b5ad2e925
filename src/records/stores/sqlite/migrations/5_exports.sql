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
