-- +goose Up
-- Events that are committed and have no place in the timeline yet; see package store. SQLite has one writer, whose events get their
-- places at once: there the table stays empty, and the type of entry is a mere name.
CREATE TABLE unplaced_events (
    entry      BIGSERIAL PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    at         BIGINT NOT NULL,
    kind       TEXT NOT NULL,
    mailbox_id TEXT NOT NULL,
    mailbox    TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    cause      TEXT NOT NULL,
    text       TEXT NOT NULL,
    remedy     TEXT NOT NULL,
    data       TEXT NOT NULL
);

-- SQLite would find what is due by the index of states, and so look at every grant that is active: one index for both.
DROP INDEX grants_state;
DROP INDEX grants_due;
CREATE INDEX grants_due ON grants (state, next_refresh_at);
