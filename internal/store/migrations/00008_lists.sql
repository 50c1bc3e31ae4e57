-- +goose Up
-- What lists and searches need of a message, apart from its texts, which may be large; its event; and what became of it at the mail
-- server. Messages of before have no row here.
CREATE TABLE message_heads (
    message_id TEXT PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
    event_id   TEXT NOT NULL,
    disposed   TEXT NOT NULL,
    summary    TEXT NOT NULL,
    search     TEXT NOT NULL
);

-- Who did what, of those that are few among what the loops did.
CREATE INDEX events_actor ON events (actor_kind, position) WHERE actor_kind <> 'system';
CREATE INDEX submissions_state ON submissions (state, id);
