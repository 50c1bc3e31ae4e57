package store

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fetch"
)

// Keep implements fetch.Store.
func (s *Store) Keep(ctx context.Context, k fetch.Keep) (int, error) {
	written, err := writeMessages(k)
	if err != nil {
		return 0, err
	}
	kept := 0
	err = s.change(ctx, "keep messages", func(t *tx) error {
		kept = 0
		if err := t.lockWatch(k.MailboxID, k.Fence); err != nil {
			return err
		}
		fresh, err := t.fresh(k)
		if err != nil {
			return err
		}
		if err := t.putMessages(written, fresh); err != nil {
			return err
		}
		if err := t.putHanded(k); err != nil {
			return err
		}
		kept = len(fresh)
		events := make([]event.Event, len(fresh))
		for i, n := range fresh {
			events[i] = k.Messages[n].Event
		}
		owedFrom := uint32(0)
		if k.Owes && len(k.Messages) > 0 {
			owedFrom = k.Messages[0].Received.UID
		}
		if err := t.putCursor(k.MailboxID, k.Folder, k.Cursor, owedFrom); err != nil {
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

// fresh gives which of the messages are not here already: neither under their own
// number, nor with the same content under a number of before the folder was numbered
// anew, which such a message then gives up for its new one. Two equal messages under
// one numbering are two.
func (t *tx) fresh(k fetch.Keep) ([]int, error) {
	if len(k.Messages) == 0 {
		return nil, nil
	}
	known := map[uint32]bool{}
	least, most, validity := k.Messages[0].Received.UID, uint32(0), int64(k.Messages[0].Received.UIDValidity)
	for _, m := range k.Messages {
		least, most = min(least, m.Received.UID), max(most, m.Received.UID)
	}
	err := t.rows("SELECT uid FROM messages WHERE mailbox_id = $1 AND folder = $2 AND uid_validity = $3 AND uid BETWEEN $4 AND $5",
		[]any{k.MailboxID, k.Folder, validity, int64(least), int64(most)}, func(row scanner) error {
			var uid uint32
			err := row.Scan(&uid)
			known[uid] = true
			return err
		})
	if err != nil {
		return nil, err
	}
	var renumbered bool
	err = t.row(`
		SELECT EXISTS (SELECT 1 FROM messages WHERE mailbox_id = $1 AND folder = $2 AND uid_validity < $3)
			OR EXISTS (SELECT 1 FROM messages WHERE mailbox_id = $1 AND folder = $2 AND uid_validity > $3)`, k.MailboxID, k.Folder, validity).Scan(&renumbered)
	if err != nil {
		return nil, err
	}
	fresh := make([]int, 0, len(k.Messages))
	for i, m := range k.Messages {
		here := known[m.Received.UID]
		known[m.Received.UID] = true
		if !here && renumbered && len(m.Digest) > 0 {
			if here, err = t.renumber(k, m); err != nil {
				return nil, err
			}
		}
		if !here {
			fresh = append(fresh, i)
		}
	}
	return fresh, nil
}

// renumber gives a message that is here under a former numbering its new number.
func (t *tx) renumber(k fetch.Keep, m fetch.Stored) (bool, error) {
	n, err := t.exec(`
		UPDATE messages SET uid_validity = $3, uid = $4 WHERE id = (
			SELECT id FROM messages WHERE mailbox_id = $1 AND folder = $2 AND digest = $5 AND uid_validity <> $3 ORDER BY id LIMIT 1)`,
		k.MailboxID, k.Folder, int64(m.Received.UIDValidity), int64(m.Received.UID), m.Digest)
	return n > 0, err
}

// written is a message as rows: its own, its head and its pieces.
type written struct {
	row, head []any
	pieces    [][]any
}

// writeMessages makes the rows before the transaction begins, so that nobody waits
// for that.
func writeMessages(k fetch.Keep) ([]written, error) {
	out := make([]written, len(k.Messages))
	for i, m := range k.Messages {
		parsed, err := text(m.Parsed)
		if err != nil {
			return nil, err
		}
		summary, err := text(m.Parsed.Brief())
		if err != nil {
			return nil, err
		}
		out[i] = written{
			row: []any{
				m.ID, k.MailboxID, k.Folder, int64(m.Received.UIDValidity), int64(m.Received.UID), plain(m.Received.RemoteID), stamp(m.Received.ArrivedAt),
				list(m.Received.Flags), int64(len(m.Received.Raw)), m.Digest, parsed, stamp(m.ExpiresAt),
			},
			head:   []any{m.ID, m.Event.ID, "", summary, plain(m.Parsed.Words())},
			pieces: piecesOf(m.ID, m.Received.Raw),
		}
	}
	return out, nil
}

// putMessages stores those of the messages that are not here.
func (t *tx) putMessages(all []written, fresh []int) error {
	var rows, heads, raws [][]any
	for _, n := range fresh {
		rows, heads, raws = append(rows, all[n].row), append(heads, all[n].head), append(raws, all[n].pieces...)
	}
	err := t.insert("messages (id, mailbox_id, folder, uid_validity, uid, remote_id, received_at, flags, size, digest, parsed, expires_at)", rows)
	if err == nil {
		err = t.insert("message_heads (message_id, event_id, disposed, summary, search)", heads)
	}
	if err == nil {
		err = t.putPieces(messagePieces, raws)
	}
	return err
}

// Disposed implements fetch.Store.
func (s *Store) Disposed(ctx context.Context, d fetch.Disposed) error {
	return s.change(ctx, "note what became of messages at the mail server", func(t *tx) error {
		if err := t.lockWatch(d.MailboxID, d.Fence); err != nil {
			return err
		}
		for _, uid := range d.UIDs {
			_, err := t.exec(`UPDATE message_heads SET disposed = $5 WHERE message_id =
				(SELECT id FROM messages WHERE mailbox_id = $1 AND folder = $2 AND uid_validity = $3 AND uid = $4)`,
				d.MailboxID, d.Folder, int64(d.UIDValidity), int64(uid), plain(d.What))
			if err != nil {
				return err
			}
		}
		if err := t.oweNothing(d.MailboxID, d.Folder); err != nil {
			return err
		}
		return t.addEvents(d.Event)
	})
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

const messageTable = "messages m JOIN mailboxes b ON b.id = m.mailbox_id LEFT JOIN message_heads h ON h.message_id = m.id"

const messageColumns = `m.id, m.mailbox_id, b.address, m.folder, m.uid_validity, m.uid, m.received_at, m.size, m.expires_at, m.parsed,
	COALESCE(h.event_id, ''), COALESCE(h.disposed, '')`

// briefColumns leave out what lies behind the texts, and the texts.
const briefColumns = `m.id, m.mailbox_id, b.address, m.folder, m.uid_validity, m.uid, m.received_at, m.size, 0, COALESCE(h.summary, m.parsed),
	COALESCE(h.event_id, ''), COALESCE(h.disposed, '')`

func scanMessage(m *fetch.Message) []any {
	return []any{&m.ID, &m.MailboxID, &m.Mailbox, &m.Folder, &m.UIDValidity, &m.UID, at(&m.ReceivedAt), &m.Size, at(&m.ExpiresAt), from(&m.Parsed), &m.EventID, &m.Disposed}
}

// Messages implements fetch.Archive.
func (s *Store) Messages(ctx context.Context, f fetch.Filter) (fetch.Page, error) {
	l := listing{table: messageTable, columns: messageColumns, key: "m.id", limit: atMost(f.Limit), window: window / 4, bounds: func(c *condition) {
		if f.Before != "" {
			c.add("m.id < ?", f.Before)
		}
	}}
	if f.Brief {
		l.columns = briefColumns
	}
	follow(&l, "m.mailbox_id", f.MailboxIDs)
	l.between("m.received_at", f.Since, f.Until)
	// Asked for row by row: PostgreSQL would rather join all heads there are with the few messages of the window.
	l.contain("COALESCE((SELECT s.search FROM message_heads s WHERE s.message_id = m.id), lower(m.parsed))", strings.ToLower(f.Text))
	var page fetch.Page
	more, edge, err := l.page(ctx, s, func(row scanner) error {
		var m fetch.Message
		err := row.Scan(scanMessage(&m)...)
		page.Messages = append(page.Messages, m)
		return err
	})
	if more {
		page.Next = page.Messages[len(page.Messages)-1].ID
	} else if edge != nil {
		page.Next, _ = edge.(string)
	}
	return page, fail(ctx, "list messages", err)
}

func noMessage() error {
	return unknown("message.unknown", "There is no such message, or its retention has ended.", "See the list of messages for their IDs.")
}

// Message implements fetch.Archive.
func (s *Store) Message(ctx context.Context, id string) (fetch.Message, error) {
	var m fetch.Message
	err := s.read.QueryRowContext(ctx, "SELECT "+messageColumns+" FROM "+messageTable+" WHERE m.id = $1", id).Scan(scanMessage(&m)...)
	if absent(err) {
		return fetch.Message{}, noMessage()
	}
	return m, fail(ctx, "read the message", err)
}

// MessageRaw implements fetch.Archive.
func (s *Store) MessageRaw(ctx context.Context, id string) (io.ReadCloser, error) {
	return s.openPieces(ctx, messagePieces, id, noMessage)
}
