-- +goose Up
-- A message that is known by its content is found with its ID in order: without it, every message of the folder would be looked at.
DROP INDEX messages_known;
CREATE INDEX messages_known ON messages (mailbox_id, folder, digest, id);
