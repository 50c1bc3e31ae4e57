-- +goose Up

-- How few days before its end a thing was last spoken of; 0: after it. A later end begins anew.
CREATE TABLE endings_told (
    kind    TEXT NOT NULL,
    id      TEXT NOT NULL,
    ends_at BIGINT NOT NULL,
    days    BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);

-- A wait that a provider asked for: nothing is sent from the mailbox before.
CREATE TABLE holds (
    mailbox_id TEXT PRIMARY KEY,
    held_until BIGINT NOT NULL,
    cause      TEXT NOT NULL,
    cause_text TEXT NOT NULL,
    remedy     TEXT NOT NULL
);
