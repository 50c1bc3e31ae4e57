-- +goose Up

-- Who switched a webhook off (receiver or operator), and when. After its secret was rotated, deliveries are signed with the previous one
-- too until the given moment.
ALTER TABLE webhooks ADD COLUMN disabled_by TEXT NOT NULL DEFAULT '';
ALTER TABLE webhooks ADD COLUMN disabled_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE webhooks ADD COLUMN previous_secret BYTEA;
ALTER TABLE webhooks ADD COLUMN previous_secret_until BIGINT NOT NULL DEFAULT 0;
UPDATE webhooks SET disabled_by = 'receiver' WHERE disabled <> '';

-- state_since is when the delivery came into its state: its retention counts from there. tries is JSON: the last attempts and what
-- came of them. What is stored already begins its retention now, which is when the last event happened.
ALTER TABLE deliveries ADD COLUMN state_since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE deliveries ADD COLUMN tries TEXT NOT NULL DEFAULT '[]';
UPDATE deliveries SET state_since = COALESCE((SELECT MAX(at) FROM events), 0);

-- When something of the queue was last delivered.
ALTER TABLE delivery_queues ADD COLUMN delivered_at BIGINT NOT NULL DEFAULT 0;

-- Due queues are asked for webhook by webhook, of those that are on: what stands still in the others is never looked at.
DROP INDEX delivery_queues_due;
CREATE INDEX delivery_queues_due ON delivery_queues (webhook_id, head_due_at) WHERE head_due_at > 0;

-- Waiting and parked deliveries are few beside delivered ones: they are listed, and removed when they are too old, by indexes of their own.
CREATE INDEX deliveries_undelivered ON deliveries (webhook_id, state, id) WHERE state <> 'delivered';
CREATE INDEX deliveries_ageing ON deliveries (state_since) WHERE state <> 'delivered';
