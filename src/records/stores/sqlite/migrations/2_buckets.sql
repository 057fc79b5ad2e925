-- What buckets of budgets hold. A bucket without a row is full.
CREATE TABLE buckets (
    name     TEXT    NOT NULL PRIMARY KEY,
    template TEXT    NOT NULL,
    balance  INTEGER NOT NULL, -- nanodollars, requests or tokens; below zero for what is owed
    at       INTEGER NOT NULL  -- unix milliseconds up to which the refill is counted
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
