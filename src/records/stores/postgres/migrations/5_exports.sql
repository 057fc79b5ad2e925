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
