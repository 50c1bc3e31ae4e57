package store

import (
	"context"
	"slices"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
)

var _ connect.MailboxStore = (*Store)(nil)

// noMailbox names the address where it is known; empty: it is not.
func noMailbox(address string) error {
	text := "There is no such mailbox."
	if address != "" {
		text = "There is no mailbox " + fault.Shorten(address, 320) + " here."
	}
	return unknown("mailbox.unknown", text, "See the list of mailboxes for their addresses, or add this one first.")
}

func mailboxChanged() error {
	return conflict("mailbox.changed", "Somebody else changed the mailbox or its provider in the meantime.", "Read it again and repeat the change.")
}

// Mailbox implements connect.MailboxStore.
func (s *Store) Mailbox(ctx context.Context, address string) (mailbox.Mailbox, error) {
	return s.oneMailbox(ctx, "address", address)
}

// MailboxByID implements connect.MailboxStore.
func (s *Store) MailboxByID(ctx context.Context, id string) (mailbox.Mailbox, error) {
	return s.oneMailbox(ctx, "id", id)
}

func (s *Store) oneMailbox(ctx context.Context, column, value string) (mailbox.Mailbox, error) {
	var m mailbox.Mailbox
	err := s.read.QueryRowContext(ctx, "SELECT document FROM mailboxes WHERE "+column+" = $1", value).Scan(from(&m))
	if absent(err) {
		if column != "address" {
			value = ""
		}
		return mailbox.Mailbox{}, noMailbox(value)
	}
	return m, fail(ctx, "read the mailbox", err)
}

// Mailboxes implements connect.MailboxStore.
func (s *Store) Mailboxes(ctx context.Context, after string, limit int) ([]connect.Listed, error) {
	var listed []connect.Listed
	err := s.rows(ctx, `
		SELECT m.document, COALESCE(g.state, ''), COALESCE(g.verdict, ''), COALESCE(g.display, ''), q.mailbox_id IS NOT NULL,
			COALESCE(g.next_refresh_at, 0), COALESCE(g.last_refresh_at, 0), COALESCE(w.last_mail_at, 0),
			COALESCE(g.failures, 0), COALESCE(g.cause, ''), COALESCE(g.cause_text, '')
		FROM mailboxes m
		LEFT JOIN grants g ON g.mailbox_id = m.id
		LEFT JOIN quarantines q ON q.mailbox_id = m.id
		LEFT JOIN watches w ON w.mailbox_id = m.id
		WHERE m.address > $1 ORDER BY m.address LIMIT $2`, []any{after, atMost(limit)}, func(row scanner) error {
		var l connect.Listed
		err := row.Scan(from(&l.Mailbox), &l.State, &l.Verdict, &l.Display, &l.Quarantined,
			at(&l.NextRefreshAt), at(&l.LastRefreshAt), at(&l.LastMailAt), &l.Failures, &l.Cause, &l.CauseText)
		listed = append(listed, l)
		return err
	})
	return listed, fail(ctx, "list mailboxes", err)
}

// SaveMailbox implements connect.MailboxStore.
func (s *Store) SaveMailbox(ctx context.Context, v connect.SaveMailbox) error {
	m := v.Mailbox
	return s.change(ctx, "save the mailbox", func(t *tx) error {
		record, err := text(m)
		if err != nil {
			return err
		}
		var n int64
		if v.IfVersion == 0 {
			n, err = t.exec(`
				INSERT INTO mailboxes (id, address, provider, receives, paused, document, version) VALUES ($1, $2, $3, $4, $5, $6, $7)
				ON CONFLICT DO NOTHING`, m.ID, m.Address, m.Provider, m.Receive != nil, m.Paused, record, m.Version)
		} else {
			n, err = t.exec(`
				UPDATE mailboxes SET address = $2, provider = $3, receives = $4, paused = $5, document = $6, version = $7
				WHERE id = $1 AND version = $8`, m.ID, m.Address, m.Provider, m.Receive != nil, m.Paused, record, m.Version, v.IfVersion)
		}
		switch {
		case isReference(err):
			return noProvider(m.Provider)
		case isDuplicate(err), err == nil && n == 0 && v.IfVersion == 0:
			return conflict("mailbox.exists", "The mailbox "+m.Address+" exists already.", "Change the one that exists, or remove it first.")
		case err != nil:
			return err
		case n == 0:
			return mailboxChanged()
		}
		_, err = t.exec(`INSERT INTO watches (mailbox_id, lease_owner, lease_fence, lease_until, last_mail_at) VALUES ($1, '', 0, 0, 0)
			ON CONFLICT DO NOTHING`, m.ID)
		if err != nil {
			return err
		}
		if err := t.retryQuarantines(v.RetryAt, "id", m.ID); err != nil {
			return err
		}
		suspended, err := t.suspend(v.Suspend, "id", m.ID)
		if err != nil {
			return err
		}
		return t.addEvents(slices.Concat(v.Events, suspended)...)
	})
}

// DeleteMailbox implements connect.MailboxStore.
func (s *Store) DeleteMailbox(ctx context.Context, id string, e event.Event) error {
	return s.change(ctx, "remove the mailbox", func(t *tx) error {
		n, err := t.exec("DELETE FROM mailboxes WHERE id = $1", id)
		if err != nil {
			return err
		}
		if n == 0 {
			return noMailbox(e.Mailbox)
		}
		return t.addEvents(e)
	})
}
