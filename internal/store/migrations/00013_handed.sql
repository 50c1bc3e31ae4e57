-- +goose Up

-- Messages that were handed on, by the names that a mail server without lasting numbers gives them (UIDL), for as long as it has them.
CREATE TABLE handed (
    mailbox_id   TEXT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
    folder       TEXT NOT NULL,
    uid_validity BIGINT NOT NULL,
    remote_id    TEXT NOT NULL,
    uid          BIGINT NOT NULL,
    PRIMARY KEY (mailbox_id, folder, uid_validity, remote_id)
);
