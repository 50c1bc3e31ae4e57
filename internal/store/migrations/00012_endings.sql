-- +goose Up

-- How few days before its end a thing was last spoken of; 0: after it. A later end begins anew.
CREATE TABLE endings_told (
    kind    TEXT NOT NULL,
    id      TEXT NOT NULL,
    ends_at BIGINT NOT NULL,
    days    BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);
