-- +goose Up
-- Operators are invited, each by a link of their own; their sessions are seen and ended one by one. Who is signed in when this runs
-- signs in once more; a set-up link that was not used yet is made again (the server does it when it starts).

ALTER TABLE operators ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
ALTER TABLE operators ADD COLUMN signed_in_at BIGINT NOT NULL DEFAULT 0;

-- One link for each operator, and one, of the empty operator_id, that is good for any name. A link that was used is gone.
DROP TABLE setup_links;
CREATE TABLE setup_links (
    operator_id TEXT PRIMARY KEY,
    hash        BYTEA NOT NULL UNIQUE,
    expires_at  BIGINT NOT NULL
);

DROP TABLE sessions;
CREATE TABLE sessions (
    id          TEXT PRIMARY KEY,
    hash        BYTEA NOT NULL UNIQUE,
    operator_id TEXT NOT NULL REFERENCES operators (id) ON DELETE CASCADE,
    began_at    BIGINT NOT NULL,
    seen_at     BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    came_from   TEXT NOT NULL,
    browser     TEXT NOT NULL
);
CREATE INDEX sessions_operator ON sessions (operator_id);
CREATE INDEX sessions_expiring ON sessions (expires_at);
