-- +goose Up

-- owed_from is the first UID with which after_receive has not been done at the server; 0: with none.
ALTER TABLE folders ADD COLUMN owed_from BIGINT NOT NULL DEFAULT 0;

-- found says of a submission that it is settled because it lies among the sent messages of its mailbox.
ALTER TABLE submissions ADD COLUMN found BOOLEAN NOT NULL DEFAULT FALSE;
