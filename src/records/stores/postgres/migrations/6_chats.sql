-- Conversations of the chat, as their owner's browser wrote them.
CREATE TABLE chats (
    login      TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL, -- the session of its requests
    updated_at BIGINT           NOT NULL, -- unix milliseconds
    title      TEXT COLLATE "C" NOT NULL,
    body       BYTEA            NOT NULL, -- JSON
    PRIMARY KEY (login, id)
);

CREATE INDEX chats_updated ON chats (updated_at);
