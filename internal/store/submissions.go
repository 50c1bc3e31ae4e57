package store

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/outbox"
	"github.com/mailgrant/mailgrant/internal/work"
)

var _ outbox.Store = (*Store)(nil)

const submissionColumns = `id, mailbox_id, mailbox, caller, idempotency_key, body_digest, envelope, message_id, subject, size, state,
	possibly_duplicated, attempts, lease_owner, lease_fence, lease_until, in_data, next_attempt_at, expires_at, created_at, settled_at,
	reply, cause, cause_text, remedy`

func scanSubmission(v *outbox.Submission) []any {
	return []any{
		&v.ID, &v.MailboxID, &v.Mailbox, &v.Caller, &v.IdempotencyKey, &v.BodyDigest, from(&v.Envelope), &v.MessageID, &v.Subject, &v.Size, &v.State,
		&v.PossiblyDuplicated, &v.Attempts, &v.Lease.Owner, &v.Lease.Fence, at(&v.Lease.Until), &v.InData, at(&v.NextAttemptAt), at(&v.ExpiresAt),
		at(&v.CreatedAt), at(&v.SettledAt), &v.Reply, &v.Cause, &v.CauseText, &v.Remedy,
	}
}

func noSubmission() error {
	return unknown("submission.unknown", "There is no such submission, or its retention has ended.", "See the list of submissions for their IDs.")
}

// Accept implements outbox.Store. What is accepted is queued: lease, attempts
// and outcome of v are not looked at, but for whether it may be doubled.
func (s *Store) Accept(ctx context.Context, v outbox.Submission, raw []byte, e event.Event) (outbox.Submission, bool, error) {
	var accepted outbox.Submission
	replayed := false
	err := s.change(ctx, "accept the submission", func(t *tx) error {
		replayed = false
		envelope, err := text(v.Envelope)
		if err != nil {
			return err
		}
		n, err := t.exec(`
			INSERT INTO submissions (id, mailbox_id, mailbox, caller, idempotency_key, body_digest, envelope, message_id, subject, size, state,
				possibly_duplicated, attempts, lease_owner, lease_fence, lease_until, in_data, due_at, next_attempt_at, expires_at, created_at,
				settled_at, reply, cause, cause_text, remedy)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'queued', $15, 0, '', 0, 0, FALSE, $11, $12, $13, $14, 0, '', '', '', '')
			ON CONFLICT (caller, idempotency_key) WHERE idempotency_key <> '' DO NOTHING`,
			v.ID, v.MailboxID, v.Mailbox, v.Caller, v.IdempotencyKey, v.BodyDigest, envelope, plain(v.MessageID), plain(v.Subject), int64(len(raw)),
			max(1, stamp(v.NextAttemptAt)), stamp(v.NextAttemptAt), stamp(v.ExpiresAt), stamp(v.CreatedAt), v.PossiblyDuplicated)
		if err != nil {
			return err
		}
		if n == 0 {
			replayed = true
			err := t.row("SELECT "+submissionColumns+" FROM submissions WHERE caller = $1 AND idempotency_key = $2 AND idempotency_key <> ''", v.Caller, v.IdempotencyKey).
				Scan(scanSubmission(&accepted)...)
			if err == nil && !bytes.Equal(accepted.BodyDigest, v.BodyDigest) {
				return &fault.Error{
					ID: "idempotency.key_reused", Kind: fault.Invalid, Field: "Idempotency-Key", Who: []fault.Who{fault.Operator},
					Text:   "This idempotency key was used before for another request.",
					Remedy: "Use a fresh key for every request, and the same key only to repeat the same request.",
				}
			}
			return err
		}
		if err := t.putPieces(submissionPieces, piecesOf(v.ID, raw)); err != nil {
			return err
		}
		if err := t.row("SELECT "+submissionColumns+" FROM submissions WHERE id = $1", v.ID).Scan(scanSubmission(&accepted)...); err != nil {
			return err
		}
		t.wakeSubmission(v.ID, v.NextAttemptAt)
		return t.addEvents(e)
	})
	if err != nil {
		return outbox.Submission{}, false, err
	}
	return accepted, replayed, nil
}

// Submission implements outbox.Store.
func (s *Store) Submission(ctx context.Context, id string) (outbox.Submission, error) {
	var v outbox.Submission
	err := s.read.QueryRowContext(ctx, "SELECT "+submissionColumns+" FROM submissions WHERE id = $1", id).Scan(scanSubmission(&v)...)
	if absent(err) {
		return outbox.Submission{}, noSubmission()
	}
	return v, fail(ctx, "read the submission", err)
}

// Submissions lists them, newest first; see outbox.Filter.
func (s *Store) Submissions(ctx context.Context, f outbox.Filter) (outbox.Page, error) {
	l := listing{table: "submissions", columns: submissionColumns, key: "id", limit: atMost(f.Limit), bounds: func(c *condition) {
		if f.Before != "" {
			c.add("id < ?", f.Before)
		}
	}}
	follow(&l, "mailbox_id", f.MailboxIDs)
	follow(&l, "state", f.States)
	l.between("created_at", f.Since, f.Until)
	l.contain("lower(subject || ' ' || envelope || ' ' || message_id)", f.Text)
	var page outbox.Page
	more, edge, err := l.page(ctx, s, func(row scanner) error {
		var v outbox.Submission
		err := row.Scan(scanSubmission(&v)...)
		page.Submissions = append(page.Submissions, v)
		return err
	})
	if more {
		page.Next = page.Submissions[len(page.Submissions)-1].ID
	} else if edge != nil {
		page.Next, _ = edge.(string)
	}
	return page, fail(ctx, "list submissions", err)
}

// Raw implements outbox.Store.
func (s *Store) Raw(ctx context.Context, id string) (io.ReadCloser, error) {
	return s.openPieces(ctx, submissionPieces, id, noSubmission)
}

// ClaimSubmission implements outbox.Store.
func (s *Store) ClaimSubmission(ctx context.Context, id, owner string, now, until time.Time) (outbox.Submission, error) {
	var v outbox.Submission
	err := s.change(ctx, "claim the submission", func(t *tx) error {
		v = outbox.Submission{}
		err := t.row("SELECT "+submissionColumns+" FROM submissions WHERE id = $1"+s.dialect.forUpdate, id).Scan(scanSubmission(&v)...)
		if absent(err) {
			return nothingToDo("There is no such submission.")
		}
		if err != nil {
			return err
		}
		switch {
		case v.State != outbox.Queued && v.State != outbox.Sending:
			return nothingToDo("The submission is settled.")
		case v.State == outbox.Queued && now.Before(v.NextAttemptAt), v.State == outbox.Sending && v.Lease.Held(now):
			return notYet("The submission is not due yet, or is under way.")
		}
		v.State = outbox.Sending
		v.Lease = work.Lease{Owner: owner, Fence: v.Lease.Fence + 1, Until: time.UnixMicro(stamp(until)).UTC()}
		_, err = t.exec("UPDATE submissions SET state = 'sending', lease_owner = $2, lease_fence = $3, lease_until = $4, due_at = $4 WHERE id = $1",
			id, owner, v.Lease.Fence, stamp(until))
		return err
	})
	return v, err
}

// held is the condition under which the holder of a lease may write: its fence
// is the last one that was given out, and it has not given the lease back.
const held = "id = $1 AND lease_fence = $2 AND state = 'sending'"

// EnterData implements outbox.Store.
func (s *Store) EnterData(ctx context.Context, id string, fence int64) error {
	return s.change(ctx, "mark the submission as on the wire", func(t *tx) error {
		n, err := t.exec("UPDATE submissions SET in_data = TRUE WHERE "+held, id, fence)
		if err == nil && n == 0 {
			return fenced("this submission")
		}
		return err
	})
}

// Settle implements outbox.Store.
func (s *Store) Settle(ctx context.Context, v outbox.Settlement) error {
	return s.change(ctx, "settle the submission", func(t *tx) error {
		n, err := t.exec(`
			UPDATE submissions SET state = $3, possibly_duplicated = NOT $10 AND ($4 OR possibly_duplicated), found = $10, attempts = attempts + CASE WHEN $3 = 'expired' THEN 0 ELSE 1 END,
				lease_owner = '', lease_until = 0, in_data = FALSE, due_at = 0, settled_at = $5, reply = $6, cause = $7, cause_text = $8, remedy = $9
			WHERE `+held, v.ID, v.Fence, string(v.State), v.PossiblyDuplicated, stamp(v.Now), plain(v.Reply), v.Cause, plain(v.CauseText), plain(v.Remedy), v.Found)
		if err != nil {
			return err
		}
		if n == 0 {
			return fenced("this submission")
		}
		return t.addEvents(v.Event)
	})
}

// TakenLate implements outbox.Store.
func (s *Store) TakenLate(ctx context.Context, l outbox.Late) error {
	return s.change(ctx, "note that the message was taken late", func(t *tx) error {
		n, err := t.exec("UPDATE submissions SET possibly_duplicated = TRUE WHERE id = $1 AND lease_fence > $2 AND NOT possibly_duplicated AND NOT found",
			l.ID, l.Fence)
		if err != nil || n == 0 { // it is marked already, or was found and so went out once
			return err
		}
		return t.addEvents(l.Event)
	})
}

// Retry implements outbox.Store.
func (s *Store) Retry(ctx context.Context, r outbox.Retry) error {
	return s.change(ctx, "put off the submission", func(t *tx) error {
		n, err := t.exec(`
			UPDATE submissions SET state = 'queued', attempts = attempts + CASE WHEN $3 THEN 1 ELSE 0 END, lease_owner = '', lease_until = 0,
				in_data = $4, due_at = $5, next_attempt_at = $6, reply = $7, cause = $8, cause_text = $9, remedy = $10
			WHERE `+held, r.ID, r.Fence, r.Attempted, r.InData, max(1, stamp(r.NextAttemptAt)), stamp(r.NextAttemptAt),
			plain(r.Reply), r.Cause, plain(r.CauseText), plain(r.Remedy))
		if err != nil {
			return err
		}
		if n == 0 {
			return fenced("this submission")
		}
		if err := t.keepHold(r.Hold, r.Now); err != nil {
			return err
		}
		t.wakeSubmission(r.ID, r.NextAttemptAt)
		return t.addEvents(r.Event)
	})
}

// keepHold keeps what a provider asked for, the longest wait of several, and
// forgets what has ended.
func (t *tx) keepHold(h outbox.Hold, now time.Time) error {
	if h.Until.IsZero() {
		return nil
	}
	if _, err := t.exec("DELETE FROM holds WHERE held_until <= $1", stamp(now)); err != nil {
		return err
	}
	_, err := t.exec(`
		INSERT INTO holds (mailbox_id, held_until, cause, cause_text, remedy) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (mailbox_id) DO UPDATE SET held_until = excluded.held_until, cause = excluded.cause, cause_text = excluded.cause_text, remedy = excluded.remedy
		WHERE holds.held_until < excluded.held_until`, h.MailboxID, stamp(h.Until), h.Cause, plain(h.CauseText), plain(h.Remedy))
	return err
}

// Holds implements outbox.Store.
func (s *Store) Holds(ctx context.Context, now time.Time) ([]outbox.Hold, error) {
	var holds []outbox.Hold
	err := s.rows(ctx, "SELECT mailbox_id, held_until, cause, cause_text, remedy FROM holds WHERE held_until > $1 ORDER BY mailbox_id", []any{stamp(now)}, func(row scanner) error {
		var h outbox.Hold
		err := row.Scan(&h.MailboxID, at(&h.Until), &h.Cause, &h.CauseText, &h.Remedy)
		holds = append(holds, h)
		return err
	})
	return holds, fail(ctx, "list what providers asked to wait for", err)
}

// waits is the condition under which somebody who is no worker may change a
// submission: nobody has claimed it since it was looked at.
const waits = "id = $1 AND lease_fence = $2 AND state = 'queued'"

// Hasten implements outbox.Store.
func (s *Store) Hasten(ctx context.Context, id string, fence int64, now time.Time, e event.Event) error {
	return s.change(ctx, "hasten the submission", func(t *tx) error {
		n, err := t.exec("UPDATE submissions SET next_attempt_at = $3, due_at = $4 WHERE "+waits, id, fence, stamp(now), max(1, stamp(now)))
		if err != nil {
			return err
		}
		if n == 0 {
			return fenced("this submission")
		}
		t.wakeSubmission(id, now)
		return t.addEvents(e)
	})
}

// Cancel implements outbox.Store.
func (s *Store) Cancel(ctx context.Context, v outbox.Settlement) error {
	return s.change(ctx, "cancel the submission", func(t *tx) error {
		n, err := t.exec(`
			UPDATE submissions SET state = $3, possibly_duplicated = $4 OR possibly_duplicated, in_data = FALSE, due_at = 0, settled_at = $5, reply = $6, cause = $7, cause_text = $8, remedy = $9
			WHERE `+waits, v.ID, v.Fence, string(v.State), v.PossiblyDuplicated, stamp(v.Now), plain(v.Reply), v.Cause, plain(v.CauseText), plain(v.Remedy))
		if err != nil {
			return err
		}
		if n == 0 {
			return fenced("this submission")
		}
		return t.addEvents(v.Event)
	})
}

const dueSubmissions = "SELECT id FROM submissions WHERE due_at > 0 AND due_at <= $1 ORDER BY due_at LIMIT $2"

// DueSubmissions implements outbox.Store.
func (s *Store) DueSubmissions(ctx context.Context, now time.Time, limit int) ([]string, error) {
	var ids []string
	err := s.rows(ctx, dueSubmissions, []any{stamp(now), atMost(limit)}, func(row scanner) error {
		var id string
		err := row.Scan(&id)
		ids = append(ids, id)
		return err
	})
	return ids, fail(ctx, "list due submissions", err)
}

// WakeSubmissions implements outbox.Store.
func (s *Store) WakeSubmissions(ctx context.Context, mailboxID string, waits func(cause string) bool, now time.Time) (int, error) {
	woken := 0
	err := s.change(ctx, "wake the submissions of the mailbox", func(t *tx) error {
		woken = 0
		causes := map[string]bool{}
		err := t.rows("SELECT DISTINCT cause FROM submissions WHERE mailbox_id = $1 AND state = 'queued' AND next_attempt_at > $2",
			[]any{mailboxID, stamp(now)}, func(row scanner) error {
				var cause string
				err := row.Scan(&cause)
				causes[cause] = waits(cause)
				return err
			})
		if err != nil {
			return err
		}
		for cause, wake := range causes {
			if !wake {
				continue
			}
			// The condition holds at the moment of the change: a submission that was put off
			// for another cause since then keeps its time.
			err := t.rows(`
				UPDATE submissions SET next_attempt_at = $3, due_at = $4
				WHERE mailbox_id = $1 AND state = 'queued' AND cause = $2 AND next_attempt_at > $3 RETURNING id`,
				[]any{mailboxID, cause, stamp(now), max(1, stamp(now))}, func(row scanner) error {
					var id string
					err := row.Scan(&id)
					t.wakeSubmission(id, now)
					woken++
					return err
				})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return woken, err
}

// PurgeSubmissions implements outbox.Store.
func (s *Store) PurgeSubmissions(ctx context.Context, settledBefore time.Time, limit int) (int, error) {
	var removed int64
	err := s.change(ctx, "remove submissions past their retention", func(t *tx) error {
		var err error
		removed, err = t.exec(`DELETE FROM submissions WHERE id IN (
			SELECT id FROM submissions WHERE settled_at > 0 AND settled_at < $1 ORDER BY settled_at LIMIT $2)`, stamp(settledBefore), atMost(limit))
		return err
	})
	return int(removed), err
}
