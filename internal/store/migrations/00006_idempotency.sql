-- +goose Up
-- Calls that were sent with an Idempotency-Key. status 0: no answer yet, and lease_until says until when it is thought to run.
-- body is the answer without secrets; digest, sealed, tells whether a repetition asks the same.
CREATE TABLE idempotency_keys (
    id          TEXT PRIMARY KEY,
    caller      TEXT NOT NULL,
    path        TEXT NOT NULL,
    key         TEXT NOT NULL,
    digest      BYTEA NOT NULL,
    fence       BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    status      BIGINT NOT NULL,
    body        TEXT NOT NULL,
    expires_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX idempotency_keys_key ON idempotency_keys (caller, path, key);
CREATE INDEX idempotency_keys_expire ON idempotency_keys (expires_at);
