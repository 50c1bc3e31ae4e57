-- +goose Up

-- owed_from is the first UID with which after_receive has not been done at the server; 0: with none.
ALTER TABLE folders ADD COLUMN owed_from BIGINT NOT NULL DEFAULT 0;
