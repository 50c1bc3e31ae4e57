-- +goose Up
-- What to do about the cause for which an authorization waits, and who does it.
ALTER TABLE quarantines ADD COLUMN cause_field TEXT NOT NULL DEFAULT '';
ALTER TABLE quarantines ADD COLUMN remedy TEXT NOT NULL DEFAULT '';
ALTER TABLE quarantines ADD COLUMN who TEXT NOT NULL DEFAULT '[]';
