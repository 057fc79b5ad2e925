-- Conversations of the chat, as their owner's browser wrote them.
CREATE TABLE chats (
    login      TEXT    NOT NULL,
    id         TEXT    NOT NULL, -- the session of its requests
    updated_at INTEGER NOT NULL, -- unix milliseconds
    title      TEXT    NOT NULL,
    body       BLOB    NOT NULL, -- JSON
    PRIMARY KEY (login, id)
) STRICT;

CREATE INDEX chats_updated ON chats (updated_at);
