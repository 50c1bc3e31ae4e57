package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/seal"
)

var _ connect.QuarantineStore = (*Store)(nil)

const quarantineColumns = `mailbox_id, subject, display, verdict, scopes, refresh_token, connected_by, created_at, expires_at, next_try_at,
	tries, cause, cause_text, cause_field, remedy, who`

func scanQuarantine(q *mailbox.Quarantine) []any {
	return []any{
		&q.MailboxID, from(&q.Subject), &q.Display, &q.Verdict, from(&q.Scopes), shut(&q.RefreshToken), &q.ConnectedBy,
		at(&q.CreatedAt), at(&q.ExpiresAt), at(&q.NextTryAt), &q.Tries, &q.Cause, &q.CauseText, &q.CauseField, &q.Remedy, from(&q.Who),
	}
}

// SetAside implements connect.GrantStore.
func (s *Store) SetAside(ctx context.Context, a connect.SetAside) error {
	q := a.Quarantine
	return s.change(ctx, "put the authorization into quarantine", func(t *tx) error {
		subject, err := text(q.Subject)
		if err != nil {
			return err
		}
		if err := t.unchanged(q.MailboxID, a.IfMailboxVersion, a.IfProviderVersion); err != nil {
			return err
		}
		if err := t.spend(a.Link); err != nil {
			return err
		}
		_, err = t.exec(`
			INSERT INTO quarantines (`+quarantineColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
			ON CONFLICT (mailbox_id) DO UPDATE SET subject = excluded.subject, display = excluded.display, verdict = excluded.verdict,
				scopes = excluded.scopes, refresh_token = excluded.refresh_token, connected_by = excluded.connected_by,
				created_at = excluded.created_at, expires_at = excluded.expires_at, next_try_at = excluded.next_try_at,
				tries = excluded.tries, cause = excluded.cause, cause_text = excluded.cause_text,
				cause_field = excluded.cause_field, remedy = excluded.remedy, who = excluded.who`,
			q.MailboxID, subject, plain(q.Display), string(q.Verdict), list(q.Scopes), bytesOf(q.RefreshToken), plain(q.ConnectedBy),
			stamp(q.CreatedAt), stamp(q.ExpiresAt), stamp(q.NextTryAt), q.Tries, q.Cause, plain(q.CauseText),
			plain(q.CauseField), plain(q.Remedy), list(q.Who))
		if err != nil {
			return err
		}
		return t.addEvents(a.Event)
	})
}

// QuarantineOf implements connect.GrantStore.
func (s *Store) QuarantineOf(ctx context.Context, mailboxID string) (*mailbox.Quarantine, error) {
	var q mailbox.Quarantine
	err := s.read.QueryRowContext(ctx, "SELECT "+quarantineColumns+" FROM quarantines WHERE mailbox_id = $1", mailboxID).Scan(scanQuarantine(&q)...)
	if absent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fail(ctx, "read the quarantine", err)
	}
	return &q, nil
}

// DueQuarantines implements connect.GrantStore.
func (s *Store) DueQuarantines(ctx context.Context, now time.Time, limit int) ([]mailbox.Quarantine, error) {
	var due []mailbox.Quarantine
	err := s.rows(ctx, "SELECT "+quarantineColumns+" FROM quarantines WHERE next_try_at <= $1 ORDER BY next_try_at LIMIT $2",
		[]any{stamp(now), atMost(limit)}, func(row scanner) error {
			var q mailbox.Quarantine
			err := row.Scan(scanQuarantine(&q)...)
			due = append(due, q)
			return err
		})
	return due, fail(ctx, "list due quarantines", err)
}

func noQuarantine() error {
	return unknown("quarantine.none", "No authorization of this mailbox waits in quarantine.", "Nothing to do.")
}

// A row is known by its mailbox and the moment it was made: a later one of the
// same mailbox holds somebody's other tokens.
const thisQuarantine = " WHERE mailbox_id = $1 AND created_at = $2"

// onQuarantine runs a statement that must change exactly this row.
func (t *tx) onQuarantine(q mailbox.Quarantine, query string, args ...any) error {
	n, err := t.exec(query, append([]any{q.MailboxID, stamp(q.CreatedAt)}, args...)...)
	if err == nil && n == 0 {
		return noQuarantine()
	}
	return err
}

// An unchanged one is still due when it was: saved settings would have moved it.
const (
	thisUnchanged = thisQuarantine + " AND next_try_at = $3"
	retryColumns  = "UPDATE quarantines SET next_try_at = $4, tries = tries + 1, cause = $5, cause_text = $6, cause_field = $7, remedy = $8, who = $9"
)

// retryQuarantines has what waits tried again; settings it failed by changed.
func (t *tx) retryQuarantines(at time.Time, column, value string) error {
	if at.IsZero() {
		return nil
	}
	_, err := t.exec("UPDATE quarantines SET next_try_at = $2 WHERE mailbox_id IN (SELECT id FROM mailboxes WHERE "+column+" = $1)", value, stamp(at))
	return err
}

func (t *tx) dropQuarantine(q mailbox.Quarantine) error {
	return t.onQuarantine(q, "DELETE FROM quarantines"+thisQuarantine)
}

// RetryQuarantine implements connect.QuarantineStore.
func (s *Store) RetryQuarantine(ctx context.Context, q mailbox.Quarantine, nextTryAt time.Time, why *fault.Error) error {
	return s.change(ctx, "put off the quarantine", func(t *tx) error {
		return t.onQuarantine(q, retryColumns+thisUnchanged, stamp(q.NextTryAt), stamp(nextTryAt),
			why.ID, plain(why.Text), plain(why.Field), plain(why.Remedy), list(why.Who))
	})
}

// DropQuarantine implements connect.QuarantineStore. Of two that drop the same
// row only one writes the event.
func (s *Store) DropQuarantine(ctx context.Context, q mailbox.Quarantine, e event.Event) error {
	return s.change(ctx, "drop the quarantine", func(t *tx) error {
		if err := t.onQuarantine(q, "DELETE FROM quarantines"+thisUnchanged, stamp(q.NextTryAt)); err != nil {
			return err
		}
		return t.addEvents(e)
	})
}

// ClaimQuarantine implements connect.QuarantineStore.
func (s *Store) ClaimQuarantine(ctx context.Context, q mailbox.Quarantine, until time.Time) error {
	return s.change(ctx, "claim the quarantine", func(t *tx) error {
		n, err := t.exec("UPDATE quarantines SET next_try_at = $4"+thisQuarantine+" AND next_try_at = $3",
			q.MailboxID, stamp(q.CreatedAt), stamp(q.NextTryAt), stamp(until))
		if err == nil && n == 0 {
			return conflict("work.leased", "Another process is trying this quarantined authorization, or it is gone.", "Nothing to do.")
		}
		return err
	})
}

// RotateQuarantine implements connect.QuarantineStore.
func (s *Store) RotateQuarantine(ctx context.Context, q mailbox.Quarantine, refreshToken seal.Sealed) error {
	return s.change(ctx, "replace the quarantined refresh token", func(t *tx) error {
		return t.onQuarantine(q, "UPDATE quarantines SET refresh_token = $3"+thisQuarantine, bytesOf(refreshToken))
	})
}
