package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/seal"
)

var _ connect.QuarantineStore = (*Store)(nil)

// ClaimQuarantine implements connect.QuarantineStore.
func (s *Store) ClaimQuarantine(ctx context.Context, mailboxID string, seen, until time.Time) error {
	return s.change(ctx, "claim the quarantine", func(t *tx) error {
		n, err := t.exec("UPDATE quarantines SET next_try_at = $3 WHERE mailbox_id = $1 AND next_try_at = $2", mailboxID, stamp(seen), stamp(until))
		if err == nil && n == 0 {
			return conflict("work.leased", "Another process is trying this quarantined authorization.", "Nothing to do.")
		}
		return err
	})
}

// RotateQuarantine implements connect.QuarantineStore.
func (s *Store) RotateQuarantine(ctx context.Context, mailboxID string, refreshToken seal.Sealed) error {
	return s.change(ctx, "keep the rotated refresh token in quarantine", func(t *tx) error {
		n, err := t.exec("UPDATE quarantines SET refresh_token = $2 WHERE mailbox_id = $1", mailboxID, bytesOf(refreshToken))
		if err == nil && n == 0 {
			return noQuarantine()
		}
		return err
	})
}
