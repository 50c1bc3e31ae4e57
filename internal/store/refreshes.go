package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/broker"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/work"
)

// BeginRefresh implements broker.Store.
func (s *Store) BeginRefresh(ctx context.Context, b broker.BeginRefresh) (mailbox.Grant, error) {
	var g mailbox.Grant
	err := s.change(ctx, "begin a refresh", func(t *tx) error {
		var err error
		if g, err = t.lockGrant(b.MailboxID); err != nil {
			return err
		}
		if g.State != mailbox.GrantActive {
			return notActive(g)
		}
		if g.Lease.Held(b.Now) {
			return conflict("work.leased", "Another refresh of this grant is under way.", "Nothing to do: its answer serves everybody.")
		}
		g.Lease = work.Lease{Owner: b.Owner, Fence: g.Lease.Fence + 1, Until: time.UnixMicro(stamp(b.Until)).UTC()}
		_, err = t.exec(`
			UPDATE grants SET lease_owner = $2, lease_fence = $3, lease_until = $4, intent_fence = $3, intent_resource = $5, intent_at = $6
			WHERE mailbox_id = $1`, b.MailboxID, b.Owner, g.Lease.Fence, stamp(b.Until), b.Resource, stamp(b.Now))
		return err
	})
	return g, err
}

// FinishRefresh implements broker.Store. A suspended grant stays suspended but
// keeps the answer: the token it rotated to is the only one that works.
func (s *Store) FinishRefresh(ctx context.Context, f broker.FinishRefresh) error {
	return s.change(ctx, "finish the refresh", func(t *tx) error {
		rotated, failures := "", "failures = 0, cause = '', cause_text = '', remedy = '',"
		if f.Aside {
			failures = ""
		}
		args := []any{f.MailboxID, f.Fence, stamp(f.NextRefreshAt), stamp(f.Now)}
		if !f.RefreshToken.IsZero() {
			rotated = "previous_refresh_token = refresh_token, refresh_token = $5,"
			args = append(args, f.RefreshToken.Bytes())
		}
		n, err := t.exec(`
			UPDATE grants SET `+rotated+` candidate = NULL, lease_owner = '', lease_until = 0,
				intent_fence = 0, intent_resource = '', intent_at = 0, next_refresh_at = $3, last_refresh_at = $4,
				`+failures+` secrets_version = secrets_version + 1
			WHERE mailbox_id = $1 AND lease_fence = $2 AND lease_owner <> '' AND state IN ('active', 'suspended')`, args...)
		if err != nil {
			return err
		}
		if n == 0 {
			return fenced("this grant")
		}
		if !f.Access.Sealed.IsZero() {
			if err := t.putAccess(f.MailboxID, f.Access); err != nil {
				return err
			}
		}
		return t.addEvents(f.Events...)
	})
}

// FailRefresh implements broker.Store.
func (s *Store) FailRefresh(ctx context.Context, f broker.FailRefresh) error {
	return s.change(ctx, "record the failed refresh", func(t *tx) error {
		intent := "intent_fence = 0, intent_resource = '', intent_at = 0,"
		if f.KeepIntent {
			intent = ""
		}
		n, err := t.exec(`
			UPDATE grants SET `+intent+` lease_owner = '', lease_until = 0, next_refresh_at = $3,
				state = CASE WHEN $4 THEN 'dead' ELSE state END, failures = CASE WHEN $8 THEN failures ELSE failures + 1 END,
				cause = CASE WHEN $8 THEN cause ELSE $5 END, cause_text = CASE WHEN $8 THEN cause_text ELSE $6 END, remedy = CASE WHEN $8 THEN remedy ELSE $7 END
			WHERE mailbox_id = $1 AND lease_fence = $2 AND lease_owner <> '' AND state IN ('active', 'suspended')`,
			f.MailboxID, f.Fence, stamp(f.NextRefreshAt), f.Dead, f.Cause, plain(f.CauseText), plain(f.Remedy), f.Aside)
		if err != nil {
			return err
		}
		if n == 0 {
			return fenced("this grant")
		}
		return t.addEvents(f.Events...)
	})
}

// KeepLateAnswer implements broker.Store. An ended grant has forgotten its
// tokens and is given none.
func (s *Store) KeepLateAnswer(ctx context.Context, mailboxID string, candidate seal.Sealed, e event.Event) error {
	return s.change(ctx, "keep a late answer", func(t *tx) error {
		g, err := t.lockGrant(mailboxID)
		if err != nil {
			return err
		}
		if g.State == mailbox.GrantRevoked {
			return notActive(g)
		}
		_, err = t.exec("UPDATE grants SET candidate = $2, secrets_version = secrets_version + 1 WHERE mailbox_id = $1", mailboxID, bytesOf(candidate))
		if err != nil {
			return err
		}
		return t.addEvents(e)
	})
}

const dueGrants = `
	SELECT mailbox_id, next_refresh_at FROM grants
	WHERE state = 'active' AND next_refresh_at > 0 AND next_refresh_at <= $1 AND (lease_owner = '' OR lease_until <= $1)
	ORDER BY next_refresh_at LIMIT $2`

// Due implements broker.Store.
func (s *Store) Due(ctx context.Context, now time.Time, limit int) ([]broker.Due, error) {
	var due []broker.Due
	err := s.rows(ctx, dueGrants, []any{stamp(now), atMost(limit)}, func(row scanner) error {
		var d broker.Due
		err := row.Scan(&d.MailboxID, at(&d.At))
		due = append(due, d)
		return err
	})
	return due, fail(ctx, "list due grants", err)
}

const nextDue = "SELECT next_refresh_at FROM grants WHERE state = 'active' AND next_refresh_at > 0 ORDER BY next_refresh_at LIMIT 1"

// NextDue implements broker.Store.
func (s *Store) NextDue(ctx context.Context) (time.Time, error) {
	var next time.Time
	err := s.read.QueryRowContext(ctx, nextDue).Scan(at(&next))
	if absent(err) {
		return time.Time{}, nil
	}
	return next, fail(ctx, "find the next refresh", err)
}
