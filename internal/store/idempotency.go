package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/idempotency"
)

var _ idempotency.Store = (*Store)(nil)

const callColumns = `id, caller, path, key, digest, fence, lease_until, status, body, expires_at`

func scanCall(r *idempotency.Record) []any {
	return []any{&r.ID, &r.Caller, &r.Path, &r.Key, shut(&r.Digest), &r.Fence, at(&r.LeasedTo), &r.Answer.Status, &r.Answer.Body, at(&r.ExpiresAt)}
}

// BeginCall implements idempotency.Store.
func (s *Store) BeginCall(ctx context.Context, r idempotency.Record, now time.Time) (idempotency.Record, bool, error) {
	var stored idempotency.Record
	begun := false
	err := s.change(ctx, "begin the call", func(t *tx) error {
		stored = idempotency.Record{}
		if _, err := t.exec("DELETE FROM idempotency_keys WHERE caller = $1 AND path = $2 AND key = $3 AND expires_at <= $4", r.Caller, r.Path, r.Key, stamp(now)); err != nil {
			return err
		}
		n, err := t.exec(`
			INSERT INTO idempotency_keys (`+callColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '', $8) ON CONFLICT (caller, path, key) DO NOTHING`,
			r.ID, r.Caller, r.Path, r.Key, bytesOf(r.Digest), r.Fence, stamp(r.LeasedTo), stamp(r.ExpiresAt))
		if err != nil {
			return err
		}
		begun = n == 1
		return t.row("SELECT "+callColumns+" FROM idempotency_keys WHERE caller = $1 AND path = $2 AND key = $3", r.Caller, r.Path, r.Key).Scan(scanCall(&stored)...)
	})
	return stored, begun, err
}

// ResumeCall implements idempotency.Store.
func (s *Store) ResumeCall(ctx context.Context, id string, fence int64, now, until time.Time) (idempotency.Record, error) {
	var r idempotency.Record
	err := s.change(ctx, "take over the call", func(t *tx) error {
		err := t.row("UPDATE idempotency_keys SET fence = fence + 1, lease_until = $4 WHERE "+unanswered+" AND lease_until <= $3 RETURNING "+callColumns,
			id, fence, stamp(now), stamp(until)).Scan(scanCall(&r)...)
		if absent(err) {
			return fenced("this call")
		}
		return err
	})
	return r, err
}

// unanswered is the condition under which the holder of a call's lease may write.
const unanswered = "id = $1 AND fence = $2 AND status = 0"

// AnswerCall implements idempotency.Store.
func (s *Store) AnswerCall(ctx context.Context, id string, fence int64, a idempotency.Answer) error {
	return s.ofCall(ctx, "keep the answer of the call", "UPDATE idempotency_keys SET lease_until = 0, status = $3, body = $4 WHERE "+unanswered,
		id, fence, a.Status, string(a.Body))
}

// ForgetCall implements idempotency.Store.
func (s *Store) ForgetCall(ctx context.Context, id string, fence int64) error {
	return s.ofCall(ctx, "free the key of the call", "DELETE FROM idempotency_keys WHERE "+unanswered, id, fence)
}

// ofCall changes the one call that its caller still holds.
func (s *Store) ofCall(ctx context.Context, doing, statement string, args ...any) error {
	return s.change(ctx, doing, func(t *tx) error {
		n, err := t.exec(statement, args...)
		if err == nil && n == 0 {
			return fenced("this call")
		}
		return err
	})
}

// PurgeCalls implements idempotency.Store.
func (s *Store) PurgeCalls(ctx context.Context, now time.Time, limit int) (int, error) {
	removed := int64(0)
	err := s.change(ctx, "remove expired idempotency keys", func(t *tx) error {
		var err error
		removed, err = t.exec("DELETE FROM idempotency_keys WHERE id IN (SELECT id FROM idempotency_keys WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)", stamp(now), limit)
		return err
	})
	return int(removed), err
}
