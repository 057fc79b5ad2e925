-- What buckets of budgets hold. A bucket without a row is full.
CREATE TABLE buckets (
    name     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    template TEXT COLLATE "C" NOT NULL,
    balance  BIGINT           NOT NULL, -- nanodollars, requests or tokens; below zero for what is owed
    at       BIGINT           NOT NULL  -- unix milliseconds up to which the refill is counted
);

CREATE INDEX buckets_template ON buckets (template);

-- What is held of buckets for requests that run. Used where several nodes share a database; a
-- node alone holds it in memory.
CREATE TABLE bucket_holds (
    hold       TEXT COLLATE "C" NOT NULL,
    bucket     TEXT COLLATE "C" NOT NULL,
    amount     BIGINT           NOT NULL,
    expires_at BIGINT           NOT NULL, -- unix milliseconds; a node that lives puts it off
    PRIMARY KEY (hold, bucket)
);

CREATE INDEX bucket_holds_bucket ON bucket_holds (bucket);
