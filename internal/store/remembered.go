package store

import (
	"context"

	"github.com/mailgrant/mailgrant/internal/fetch"
)

// Handed implements fetch.Store.
func (s *Store) Handed(ctx context.Context, mailboxID, folder string, uidValidity uint32) (handed map[string]uint32, highest uint32, err error) {
	handed = map[string]uint32{}
	err = s.rows(ctx, "SELECT remote_id, uid FROM handed WHERE mailbox_id = $1 AND folder = $2 AND uid_validity = $3",
		[]any{mailboxID, folder, int64(uidValidity)}, func(row scanner) error {
			var name string
			var uid uint32
			err := row.Scan(&name, &uid)
			handed[name] = uid
			return err
		})
	if err != nil {
		return nil, 0, fail(ctx, "read what was handed on", err)
	}
	err = s.read.QueryRowContext(ctx, "SELECT COALESCE(MAX(uid), 0) FROM messages WHERE mailbox_id = $1 AND folder = $2 AND uid_validity = $3",
		mailboxID, folder, int64(uidValidity)).Scan(&highest)
	return handed, highest, fail(ctx, "read the highest number of a folder", err)
}

// Forget implements fetch.Store.
func (s *Store) Forget(ctx context.Context, mailboxID string, fence int64, folder string, uidValidity uint32, remoteIDs []string) error {
	return s.change(ctx, "forget messages that the mail server has no more", func(t *tx) error {
		if err := t.lockWatch(mailboxID, fence); err != nil {
			return err
		}
		for _, name := range remoteIDs {
			_, err := t.exec("DELETE FROM handed WHERE mailbox_id = $1 AND folder = $2 AND uid_validity = $3 AND remote_id = $4",
				mailboxID, folder, int64(uidValidity), name)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// putHanded remembers the names of a batch, of messages that were here already, too.
func (t *tx) putHanded(k fetch.Keep) error {
	for _, m := range k.Messages {
		r := m.Received
		if r.RemoteID == "" {
			continue
		}
		_, err := t.exec(`
			INSERT INTO handed (mailbox_id, folder, uid_validity, remote_id, uid) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (mailbox_id, folder, uid_validity, remote_id) DO UPDATE SET uid = excluded.uid`,
			k.MailboxID, k.Folder, int64(r.UIDValidity), r.RemoteID, int64(r.UID))
		if err != nil {
			return err
		}
	}
	return nil
}

// forgetOthers drops the names of a folder's former numberings: they mean nothing now.
func (t *tx) forgetOthers(mailboxID, folder string, uidValidity uint32) error {
	_, err := t.exec("DELETE FROM handed WHERE mailbox_id = $1 AND folder = $2 AND uid_validity <> $3", mailboxID, folder, int64(uidValidity))
	return err
}
