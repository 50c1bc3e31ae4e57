package store

import (
	"context"
	"io"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fetch"
)

// Keep implements fetch.Store.
func (s *Store) Keep(ctx context.Context, k fetch.Keep) (int, error) {
	kept := 0
	err := s.change(ctx, "keep messages", func(t *tx) error {
		kept = 0
		if err := t.lockWatch(k.MailboxID, k.Fence); err != nil {
			return err
		}
		var events []event.Event
		for _, m := range k.Messages {
			fresh, err := t.keepOne(k, m)
			if err != nil {
				return err
			}
			if fresh {
				kept++
				events = append(events, m.Event)
			}
		}
		if err := t.putCursor(k.MailboxID, k.Folder, k.Cursor); err != nil {
			return err
		}
		if kept > 0 {
			if _, err := t.exec("UPDATE watches SET last_mail_at = $2 WHERE mailbox_id = $1", k.MailboxID, stamp(k.Now)); err != nil {
				return err
			}
		}
		return t.addEvents(events...)
	})
	if err != nil {
		return 0, err
	}
	return kept, nil
}

// keepOne stores a message unless it is here already: under its own number, or
// with the same content under a number of before the folder was numbered anew.
// Two equal messages under one numbering are two.
func (t *tx) keepOne(k fetch.Keep, m fetch.Stored) (bool, error) {
	validity, uid := int64(m.Received.UIDValidity), int64(m.Received.UID)
	var id string
	err := t.row("SELECT id FROM messages WHERE mailbox_id = $1 AND folder = $2 AND uid_validity = $3 AND uid = $4", k.MailboxID, k.Folder, validity, uid).Scan(&id)
	if err == nil || !absent(err) {
		return false, err
	}
	if len(m.Digest) > 0 {
		n, err := t.exec(`
			UPDATE messages SET uid_validity = $3, uid = $4 WHERE id = (
				SELECT id FROM messages WHERE mailbox_id = $1 AND folder = $2 AND digest = $5 AND uid_validity <> $3 ORDER BY id LIMIT 1)`,
			k.MailboxID, k.Folder, validity, uid, m.Digest)
		if err != nil || n > 0 {
			return false, err
		}
	}
	parsed, err := text(m.Parsed)
	if err != nil {
		return false, err
	}
	_, err = t.exec(`
		INSERT INTO messages (id, mailbox_id, folder, uid_validity, uid, remote_id, received_at, flags, size, digest, parsed, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
		m.ID, k.MailboxID, k.Folder, validity, uid, plain(m.Received.RemoteID), stamp(m.Received.ArrivedAt), list(m.Received.Flags),
		int64(len(m.Received.Raw)), m.Digest, parsed, stamp(m.ExpiresAt))
	if err != nil {
		return false, err
	}
	return true, t.putPieces(messagePieces, m.ID, m.Received.Raw)
}

// Purge implements fetch.Store.
func (s *Store) Purge(ctx context.Context, now time.Time, limit int) (int, error) {
	var removed int64
	err := s.change(ctx, "remove messages past their retention", func(t *tx) error {
		var err error
		removed, err = t.exec(`DELETE FROM messages WHERE id IN (
			SELECT id FROM messages WHERE expires_at > 0 AND expires_at <= $1 ORDER BY expires_at LIMIT $2)`, stamp(now), atMost(limit))
		return err
	})
	return int(removed), err
}

const messageColumns = `m.id, m.mailbox_id, b.address, m.folder, m.uid_validity, m.uid, m.received_at, m.size, m.expires_at, m.parsed
	FROM messages m JOIN mailboxes b ON b.id = m.mailbox_id`

func scanMessage(m *fetch.Message) []any {
	return []any{&m.ID, &m.MailboxID, &m.Mailbox, &m.Folder, &m.UIDValidity, &m.UID, at(&m.ReceivedAt), &m.Size, at(&m.ExpiresAt), from(&m.Parsed)}
}

// Messages implements fetch.Archive.
func (s *Store) Messages(ctx context.Context, f fetch.Filter) ([]fetch.Message, error) {
	var c condition
	oneOf(&c, "m.mailbox_id", f.MailboxIDs)
	if f.Before != "" {
		c.add("m.id < ?", f.Before)
	}
	var messages []fetch.Message
	err := s.rows(ctx, "SELECT "+messageColumns+c.where()+" ORDER BY m.id DESC LIMIT "+c.arg(atMost(f.Limit)), c.args, func(row scanner) error {
		var m fetch.Message
		err := row.Scan(scanMessage(&m)...)
		messages = append(messages, m)
		return err
	})
	return messages, fail(ctx, "list messages", err)
}

func noMessage() error {
	return unknown("message.unknown", "There is no such message, or its retention has ended.", "See the list of messages for their IDs.")
}

// Message implements fetch.Archive.
func (s *Store) Message(ctx context.Context, id string) (fetch.Message, error) {
	var m fetch.Message
	err := s.read.QueryRowContext(ctx, "SELECT "+messageColumns+" WHERE m.id = $1", id).Scan(scanMessage(&m)...)
	if absent(err) {
		return fetch.Message{}, noMessage()
	}
	return m, fail(ctx, "read the message", err)
}

// MessageRaw implements fetch.Archive.
func (s *Store) MessageRaw(ctx context.Context, id string) (io.ReadCloser, error) {
	return s.openPieces(ctx, messagePieces, id, noMessage)
}
