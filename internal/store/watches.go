package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fetch"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/message"
)

var (
	_ fetch.Store   = (*Store)(nil)
	_ fetch.Archive = (*Store)(nil)
)

// watchable says of a watch w that its mailbox is to be watched.
const watchable = `EXISTS (
	SELECT 1 FROM mailboxes m JOIN grants g ON g.mailbox_id = m.id
	WHERE m.id = w.mailbox_id AND m.receives AND NOT m.paused AND g.state = 'active')`

// ClaimWatches implements fetch.Store. A renewed lease keeps its fence.
func (s *Store) ClaimWatches(ctx context.Context, owner string, now, until time.Time, limit int) ([]fetch.Watch, error) {
	var watches []fetch.Watch
	err := s.change(ctx, "claim mailboxes to watch", func(t *tx) error {
		watches = nil
		_, err := t.exec("UPDATE watches AS w SET lease_owner = '', lease_until = 0 WHERE w.lease_owner = $1 AND NOT "+watchable, owner)
		if err != nil {
			return err
		}
		held, err := t.exec("UPDATE watches SET lease_until = $2 WHERE lease_owner = $1", owner, stamp(until))
		if err != nil {
			return err
		}
		if more := int64(limit) - held; more > 0 {
			_, err := t.exec(`
				UPDATE watches SET lease_owner = $1, lease_fence = lease_fence + 1, lease_until = $2 WHERE mailbox_id IN (
					SELECT w.mailbox_id FROM watches w WHERE w.lease_until <= $3 AND `+watchable+`
					ORDER BY w.lease_until, w.mailbox_id LIMIT $4`+s.dialect.claimWatches+`)`,
				owner, stamp(until), stamp(now), more)
			if err != nil {
				return err
			}
		}
		return t.rows(`
			SELECT m.document, w.lease_owner, w.lease_fence, w.lease_until, w.stopped_at, w.stop_cause FROM watches w JOIN mailboxes m ON m.id = w.mailbox_id
			WHERE w.lease_owner = $1 ORDER BY w.mailbox_id`, []any{owner}, func(row scanner) error {
			var w fetch.Watch
			err := row.Scan(from(&w.Mailbox), &w.Lease.Owner, &w.Lease.Fence, at(&w.Lease.Until), at(&w.Outage.Since), &w.Outage.Cause)
			watches = append(watches, w)
			return err
		})
	})
	return watches, err
}

// ReleaseWatches implements fetch.Store.
func (s *Store) ReleaseWatches(ctx context.Context, owner string) error {
	return s.change(ctx, "release the watched mailboxes", func(t *tx) error {
		_, err := t.exec("UPDATE watches SET lease_owner = '', lease_until = 0 WHERE lease_owner = $1", owner)
		return err
	})
}

// lockWatch locks a watch for its holder; a mailbox that is gone has been taken
// over by nobody, but its holder must stop all the same.
func (t *tx) lockWatch(mailboxID string, fence int64) error {
	var present int64
	err := t.row("SELECT lease_fence FROM watches WHERE mailbox_id = $1"+t.s.dialect.forUpdate, mailboxID).Scan(&present)
	if absent(err) || err == nil && present != fence {
		return fenced("this mailbox")
	}
	return err
}

// Cursor implements fetch.Store.
func (s *Store) Cursor(ctx context.Context, mailboxID, folder string) (message.Cursor, error) {
	var c message.Cursor
	err := s.read.QueryRowContext(ctx, "SELECT uid_validity, uid FROM folders WHERE mailbox_id = $1 AND folder = $2", mailboxID, folder).
		Scan(&c.UIDValidity, &c.UID)
	if absent(err) {
		return message.Cursor{}, nil
	}
	return c, fail(ctx, "read the cursor", err)
}

// putCursor moves a folder's cursor. With owedFrom, after_receive is owed from
// there on, unless it is from before there already; without, what is owed stays.
func (t *tx) putCursor(mailboxID, folder string, c message.Cursor, owedFrom uint32) error {
	_, err := t.exec(`
		INSERT INTO folders (mailbox_id, folder, uid_validity, uid, owed_from) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (mailbox_id, folder) DO UPDATE SET uid_validity = excluded.uid_validity, uid = excluded.uid,
			owed_from = CASE WHEN folders.owed_from = 0 THEN excluded.owed_from ELSE folders.owed_from END`,
		mailboxID, folder, int64(c.UIDValidity), int64(c.UID), int64(owedFrom))
	return err
}

// Owed implements fetch.Store. What was kept without its content stays at the server.
func (s *Store) Owed(ctx context.Context, mailboxID, folder string) ([]uint32, error) {
	var uids []uint32
	err := s.rows(ctx, `
		SELECT m.uid FROM folders f
		JOIN messages m ON m.mailbox_id = f.mailbox_id AND m.folder = f.folder AND m.uid_validity = f.uid_validity AND m.uid >= f.owed_from AND m.size > 0
		WHERE f.mailbox_id = $1 AND f.folder = $2 AND f.owed_from > 0 ORDER BY m.uid`, []any{mailboxID, folder}, func(row scanner) error {
		var uid uint32
		err := row.Scan(&uid)
		uids = append(uids, uid)
		return err
	})
	return uids, fail(ctx, "read what is owed to a folder", err)
}

// oweNothing says that after_receive is done in a folder, or given up.
func (t *tx) oweNothing(mailboxID, folder string) error {
	_, err := t.exec("UPDATE folders SET owed_from = 0 WHERE mailbox_id = $1 AND folder = $2", mailboxID, folder)
	return err
}

// ResetFolder implements fetch.Store. The messages stored under the former
// numbers stay: Keep recognises them by their digest and gives them their new numbers.
func (s *Store) ResetFolder(ctx context.Context, mailboxID string, fence int64, folder string, c message.Cursor, e event.Event) error {
	return s.change(ctx, "start the folder over", func(t *tx) error {
		if err := t.lockWatch(mailboxID, fence); err != nil {
			return err
		}
		if err := t.forgetOthers(mailboxID, folder, c.UIDValidity); err != nil {
			return err
		}
		// What was owed is owed again when the messages are recognised.
		if err := t.oweNothing(mailboxID, folder); err != nil {
			return err
		}
		if err := t.putCursor(mailboxID, folder, c, 0); err != nil {
			return err
		}
		return t.addEvents(e)
	})
}

// StopReceiving implements fetch.Store.
func (s *Store) StopReceiving(ctx context.Context, mailboxID string, fence int64, o mailbox.Outage, e event.Event) error {
	return s.change(ctx, "record that receiving has stopped", func(t *tx) error {
		if err := t.lockWatch(mailboxID, fence); err != nil {
			return err
		}
		begun, err := t.exec("UPDATE watches SET stopped_at = $2 WHERE mailbox_id = $1 AND stopped_at = 0", mailboxID, stamp(o.Since))
		if err != nil {
			return err
		}
		_, err = t.exec("UPDATE watches SET stop_cause = $2, stop_text = $3, stop_remedy = $4, stop_who = $5 WHERE mailbox_id = $1",
			mailboxID, o.Cause, plain(o.Text), plain(o.Remedy), list(o.Who))
		if err != nil || begun == 0 {
			return err
		}
		return t.addEvents(e)
	})
}

// ResumeReceiving implements fetch.Store.
func (s *Store) ResumeReceiving(ctx context.Context, mailboxID string, fence int64, e event.Event) error {
	return s.change(ctx, "record that receiving works again", func(t *tx) error {
		if err := t.lockWatch(mailboxID, fence); err != nil {
			return err
		}
		ended, err := t.exec(`
			UPDATE watches SET stopped_at = 0, stop_cause = '', stop_text = '', stop_remedy = '', stop_who = '[]'
			WHERE mailbox_id = $1 AND stopped_at > 0`, mailboxID)
		if err != nil || ended == 0 {
			return err
		}
		return t.addEvents(e)
	})
}
