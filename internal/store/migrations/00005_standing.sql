-- +goose Up
-- Why nothing is received just now, beside the watch; stopped_at is 0 while mail is received.
ALTER TABLE watches ADD COLUMN stopped_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE watches ADD COLUMN stop_cause TEXT NOT NULL DEFAULT '';
ALTER TABLE watches ADD COLUMN stop_text TEXT NOT NULL DEFAULT '';
ALTER TABLE watches ADD COLUMN stop_remedy TEXT NOT NULL DEFAULT '';
ALTER TABLE watches ADD COLUMN stop_who TEXT NOT NULL DEFAULT '[]';
CREATE INDEX watches_stopped ON watches (stopped_at) WHERE stopped_at > 0;

-- Mailboxes that need attention are few among many: each sort is found by an index of its own. All of them are counted from
-- narrow indexes, since the rows are wide.
CREATE INDEX grants_state ON grants (state);
CREATE INDEX grants_failing ON grants (mailbox_id) WHERE state = 'active' AND failures > 0;
CREATE INDEX grants_standing ON grants (mailbox_id, state, failures);
CREATE INDEX watches_standing ON watches (mailbox_id, stopped_at);
CREATE INDEX mailboxes_paused ON mailboxes (id) WHERE paused;
CREATE INDEX mailboxes_standing ON mailboxes (id, paused, receives);
CREATE INDEX submissions_unsent ON submissions (settled_at) WHERE state IN ('failed', 'expired');

-- How many events of each kind an hour had (hours since 1970), counted as they are written: an hour that is over does not change.
CREATE TABLE event_hours (
    hour   BIGINT NOT NULL,
    kind   TEXT NOT NULL,
    number BIGINT NOT NULL,
    PRIMARY KEY (hour, kind)
);
INSERT INTO event_hours (hour, kind, number) SELECT at / 3600000000, kind, COUNT(*) FROM events GROUP BY 1, 2;
