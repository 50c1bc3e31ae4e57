-- One schema for SQLite and PostgreSQL. Instants are BIGINT microseconds since 1970 in UTC, 0 for none; lists and documents are
-- JSON in TEXT; a sealed value is BYTEA (which SQLite keeps as the blob it is), NULL for none.

-- +goose Up

CREATE TABLE providers (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL,
    version  BIGINT NOT NULL
);

-- bound_to is the associated data the secret is sealed with: it can be sealed anew without knowing the record it stood in.
CREATE TABLE provider_secrets (
    provider_id TEXT NOT NULL REFERENCES providers (id) ON DELETE CASCADE,
    position    BIGINT NOT NULL,
    id          TEXT NOT NULL,
    sealed      BYTEA,
    bound_to    BYTEA,
    expires_at  BIGINT NOT NULL,
    PRIMARY KEY (provider_id, position)
);

CREATE TABLE mailboxes (
    id       TEXT PRIMARY KEY,
    address  TEXT NOT NULL UNIQUE,
    provider TEXT NOT NULL REFERENCES providers (name),
    receives BOOLEAN NOT NULL,
    paused   BOOLEAN NOT NULL,
    document TEXT NOT NULL,
    version  BIGINT NOT NULL
);
CREATE INDEX mailboxes_provider ON mailboxes (provider);

CREATE TABLE grants (
    mailbox_id             TEXT PRIMARY KEY REFERENCES mailboxes (id) ON DELETE CASCADE,
    state                  TEXT NOT NULL,
    verdict                TEXT NOT NULL,
    subject                TEXT NOT NULL,
    display                TEXT NOT NULL,
    scopes                 TEXT NOT NULL,
    connected_at           BIGINT NOT NULL,
    connected_by           TEXT NOT NULL,
    refresh_token          BYTEA,
    previous_refresh_token BYTEA,
    candidate              BYTEA,
    lease_owner            TEXT NOT NULL,
    lease_fence            BIGINT NOT NULL,
    lease_until            BIGINT NOT NULL,
    intent_fence           BIGINT NOT NULL,
    intent_resource        TEXT NOT NULL,
    intent_at              BIGINT NOT NULL,
    next_refresh_at        BIGINT NOT NULL,
    last_refresh_at        BIGINT NOT NULL,
    failures               BIGINT NOT NULL,
    cause                  TEXT NOT NULL,
    cause_text             TEXT NOT NULL,
    remedy                 TEXT NOT NULL,
    secrets_version        BIGINT NOT NULL
);
CREATE INDEX grants_due ON grants (next_refresh_at) WHERE state = 'active' AND next_refresh_at > 0;

CREATE TABLE access_tokens (
    mailbox_id  TEXT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
    resource    TEXT NOT NULL,
    sealed      BYTEA,
    scopes      TEXT NOT NULL,
    obtained_at BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    PRIMARY KEY (mailbox_id, resource)
);

CREATE TABLE quarantines (
    mailbox_id    TEXT PRIMARY KEY REFERENCES mailboxes (id) ON DELETE CASCADE,
    subject       TEXT NOT NULL,
    display       TEXT NOT NULL,
    verdict       TEXT NOT NULL,
    scopes        TEXT NOT NULL,
    refresh_token BYTEA,
    connected_by  TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    next_try_at   BIGINT NOT NULL,
    tries         BIGINT NOT NULL,
    cause         TEXT NOT NULL,
    cause_text    TEXT NOT NULL
);
CREATE INDEX quarantines_due ON quarantines (next_try_at);

CREATE TABLE links (
    id            TEXT PRIMARY KEY,
    hash          BYTEA NOT NULL UNIQUE,
    mailbox_id    TEXT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
    state         TEXT NOT NULL,
    attempts      BIGINT NOT NULL,
    last_attempt  TEXT NOT NULL,
    allow_subject TEXT NOT NULL,
    created_by    TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL
);
CREATE INDEX links_mailbox ON links (mailbox_id);
CREATE INDEX links_pending ON links (expires_at) WHERE state = 'pending';

CREATE TABLE attempts (
    id           TEXT PRIMARY KEY,
    link_id      TEXT NOT NULL REFERENCES links (id) ON DELETE CASCADE,
    mailbox_id   TEXT NOT NULL,
    state_hash   BYTEA NOT NULL UNIQUE,
    binding_hash BYTEA,
    verifier     BYTEA,
    nonce        BYTEA,
    prompt       TEXT NOT NULL,
    basis        BYTEA NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    closed_at    BIGINT NOT NULL
);
CREATE INDEX attempts_link ON attempts (link_id);
CREATE INDEX attempts_sealed ON attempts (created_at) WHERE verifier IS NOT NULL OR nonce IS NOT NULL;

-- A row per mailbox, from its first day, so that free ones are found by the end of their lease.
CREATE TABLE watches (
    mailbox_id   TEXT PRIMARY KEY REFERENCES mailboxes (id) ON DELETE CASCADE,
    lease_owner  TEXT NOT NULL,
    lease_fence  BIGINT NOT NULL,
    lease_until  BIGINT NOT NULL,
    last_mail_at BIGINT NOT NULL
);
CREATE INDEX watches_free ON watches (lease_until);
CREATE INDEX watches_owner ON watches (lease_owner);

CREATE TABLE folders (
    mailbox_id   TEXT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
    folder       TEXT NOT NULL,
    uid_validity BIGINT NOT NULL,
    uid          BIGINT NOT NULL,
    PRIMARY KEY (mailbox_id, folder)
);

CREATE TABLE messages (
    id           TEXT PRIMARY KEY,
    mailbox_id   TEXT NOT NULL REFERENCES mailboxes (id) ON DELETE CASCADE,
    folder       TEXT NOT NULL,
    uid_validity BIGINT NOT NULL,
    uid          BIGINT NOT NULL,
    remote_id    TEXT NOT NULL,
    received_at  BIGINT NOT NULL,
    flags        TEXT NOT NULL,
    size         BIGINT NOT NULL,
    digest       BYTEA,
    parsed       TEXT NOT NULL,
    expires_at   BIGINT NOT NULL,
    UNIQUE (mailbox_id, folder, uid_validity, uid)
);
CREATE INDEX messages_listed ON messages (mailbox_id, id);
CREATE INDEX messages_known ON messages (mailbox_id, folder, digest);
CREATE INDEX messages_expiring ON messages (expires_at) WHERE expires_at > 0;

CREATE TABLE message_pieces (
    message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    number     BIGINT NOT NULL,
    bytes      BYTEA NOT NULL,
    PRIMARY KEY (message_id, number)
);

-- due_at is next_attempt_at of a queued submission, the end of the lease of one in sending, 0 once settled. Submissions outlive
-- their mailbox: what was accepted has an outcome.
CREATE TABLE submissions (
    id                  TEXT PRIMARY KEY,
    mailbox_id          TEXT NOT NULL,
    mailbox             TEXT NOT NULL,
    caller              TEXT NOT NULL,
    idempotency_key     TEXT NOT NULL,
    body_digest         BYTEA,
    envelope            TEXT NOT NULL,
    message_id          TEXT NOT NULL,
    subject             TEXT NOT NULL,
    size                BIGINT NOT NULL,
    state               TEXT NOT NULL,
    possibly_duplicated BOOLEAN NOT NULL,
    attempts            BIGINT NOT NULL,
    lease_owner         TEXT NOT NULL,
    lease_fence         BIGINT NOT NULL,
    lease_until         BIGINT NOT NULL,
    in_data             BOOLEAN NOT NULL,
    due_at              BIGINT NOT NULL,
    next_attempt_at     BIGINT NOT NULL,
    expires_at          BIGINT NOT NULL,
    created_at          BIGINT NOT NULL,
    settled_at          BIGINT NOT NULL,
    reply               TEXT NOT NULL,
    cause               TEXT NOT NULL,
    cause_text          TEXT NOT NULL,
    remedy              TEXT NOT NULL
);
CREATE UNIQUE INDEX submissions_key ON submissions (caller, idempotency_key) WHERE idempotency_key <> '';
CREATE INDEX submissions_due ON submissions (due_at) WHERE due_at > 0;
CREATE INDEX submissions_settled ON submissions (settled_at) WHERE settled_at > 0;
CREATE INDEX submissions_listed ON submissions (mailbox_id, id);

CREATE TABLE submission_pieces (
    submission_id TEXT NOT NULL REFERENCES submissions (id) ON DELETE CASCADE,
    number        BIGINT NOT NULL,
    bytes         BYTEA NOT NULL,
    PRIMARY KEY (submission_id, number)
);

-- position is the order in which events became visible, which the time-ordered id is not quite.
CREATE TABLE events (
    position   BIGINT PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    at         BIGINT NOT NULL,
    kind       TEXT NOT NULL,
    mailbox_id TEXT NOT NULL,
    mailbox    TEXT NOT NULL,
    actor_kind TEXT NOT NULL,
    actor_name TEXT NOT NULL,
    cause      TEXT NOT NULL,
    text       TEXT NOT NULL,
    remedy     TEXT NOT NULL,
    data       TEXT NOT NULL
);
CREATE INDEX events_mailbox ON events (mailbox_id, position);
CREATE INDEX events_kind ON events (kind, position);
CREATE INDEX events_at ON events (at);

CREATE TABLE webhooks (
    id       TEXT PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    document TEXT NOT NULL,
    secret   BYTEA,
    disabled TEXT NOT NULL,
    version  BIGINT NOT NULL
);

-- One row per webhook and mailbox. head_due_at says when the head wants to be tried (the end of its lease while it is tried),
-- 0 for an empty queue, so that due queues are found without looking at what waits behind the heads.
CREATE TABLE delivery_queues (
    webhook_id      TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    mailbox_id      TEXT NOT NULL,
    last_sequence   BIGINT NOT NULL,
    head_due_at     BIGINT NOT NULL,
    leased_delivery TEXT NOT NULL,
    leased_until    BIGINT NOT NULL,
    PRIMARY KEY (webhook_id, mailbox_id)
);
CREATE INDEX delivery_queues_due ON delivery_queues (head_due_at) WHERE head_due_at > 0;

CREATE TABLE deliveries (
    id              TEXT PRIMARY KEY,
    webhook_id      TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    mailbox_id      TEXT NOT NULL,
    sequence        BIGINT NOT NULL,
    event_id        TEXT NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    attempts        BIGINT NOT NULL,
    lease_owner     TEXT NOT NULL,
    lease_fence     BIGINT NOT NULL,
    lease_until     BIGINT NOT NULL,
    state           TEXT NOT NULL,
    next_attempt_at BIGINT NOT NULL,
    first_tried_at  BIGINT NOT NULL,
    created_at      BIGINT NOT NULL,
    last_status     BIGINT NOT NULL,
    last_error      TEXT NOT NULL,
    UNIQUE (webhook_id, mailbox_id, sequence)
);
CREATE INDEX deliveries_waiting ON deliveries (webhook_id, mailbox_id, sequence) WHERE state = 'pending';
CREATE INDEX deliveries_listed ON deliveries (webhook_id, id);
CREATE INDEX deliveries_event ON deliveries (event_id);

CREATE TABLE operators (
    id            TEXT PRIMARY KEY,
    name          TEXT NOT NULL UNIQUE,
    password_hash TEXT NOT NULL,
    created_at    BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    hash       BYTEA NOT NULL UNIQUE,
    may        TEXT NOT NULL,
    mailboxes  TEXT NOT NULL,
    networks   TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    last_used  BIGINT NOT NULL
);

CREATE TABLE sessions (
    hash       BYTEA PRIMARY KEY,
    content    BYTEA NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_expiring ON sessions (expires_at);

CREATE TABLE setup_links (
    id         BIGINT PRIMARY KEY,
    hash       BYTEA NOT NULL,
    expires_at BIGINT NOT NULL,
    spent      BOOLEAN NOT NULL
);
