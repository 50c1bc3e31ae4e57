package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
)

var _ connect.LinkStore = (*Store)(nil)

const linkColumns = `id, hash, mailbox_id, state, attempts, last_attempt, allow_subject, created_by, created_at, expires_at`

func scanLink(l *connect.Link) []any {
	return []any{
		&l.ID, &l.Hash, &l.MailboxID, &l.State, &l.Attempts, from(&l.LastAttempt), &l.AllowSubject, from(&l.CreatedBy),
		at(&l.CreatedAt), at(&l.ExpiresAt),
	}
}

func noLink() error {
	return unknown("link.unknown", "There is no such authorization link.", "Check that the link was copied whole, or ask for a new one.")
}

func spentLink() error {
	return conflict("link.spent", "This authorization link has been used up, has expired or was cancelled.", "Ask for a new link.")
}

// CreateLink implements connect.LinkStore.
func (s *Store) CreateLink(ctx context.Context, l connect.Link, e event.Event) error {
	return s.change(ctx, "make an authorization link", func(t *tx) error {
		creator, err := text(l.CreatedBy)
		if err != nil {
			return err
		}
		// The mailbox's row is locked, so that of two links made at once one cancels the other.
		var id string
		if err := t.row("SELECT id FROM mailboxes WHERE id = $1"+s.dialect.forUpdate, l.MailboxID).Scan(&id); absent(err) {
			return noMailbox(e.Mailbox)
		} else if err != nil {
			return err
		}
		if _, err := t.exec("UPDATE links SET state = 'cancelled' WHERE mailbox_id = $1 AND state = 'pending'", l.MailboxID); err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO links (`+linkColumns+`) VALUES ($1, $2, $3, $4, $5, '', $6, $7, $8, $9)`,
			l.ID, l.Hash, l.MailboxID, connect.LinkPending, l.Attempts, l.AllowSubject, creator, stamp(l.CreatedAt), stamp(l.ExpiresAt))
		if err != nil {
			return err
		}
		return t.addEvents(e)
	})
}

// LinkByHash implements connect.LinkStore.
func (s *Store) LinkByHash(ctx context.Context, hash []byte) (connect.Link, error) {
	return s.oneLink(ctx, "hash", hash)
}

// LinkByID implements connect.LinkStore.
func (s *Store) LinkByID(ctx context.Context, id string) (connect.Link, error) {
	return s.oneLink(ctx, "id", id)
}

// LatestLink implements connect.LinkStore.
func (s *Store) LatestLink(ctx context.Context, mailboxID string) (connect.Link, error) {
	var l connect.Link
	err := s.read.QueryRowContext(ctx, "SELECT "+linkColumns+" FROM links WHERE mailbox_id = $1 ORDER BY created_at DESC, id DESC LIMIT 1", mailboxID).Scan(scanLink(&l)...)
	if absent(err) {
		return connect.Link{}, noLink()
	}
	return l, fail(ctx, "read the latest authorization link", err)
}

func (s *Store) oneLink(ctx context.Context, column string, value any) (connect.Link, error) {
	var l connect.Link
	err := s.read.QueryRowContext(ctx, "SELECT "+linkColumns+" FROM links WHERE "+column+" = $1", value).Scan(scanLink(&l)...)
	if absent(err) {
		return connect.Link{}, noLink()
	}
	return l, fail(ctx, "read the authorization link", err)
}

// StartAttempt implements connect.LinkStore.
func (s *Store) StartAttempt(ctx context.Context, a connect.Attempt, now time.Time, e event.Event) error {
	return s.change(ctx, "start an attempt", func(t *tx) error {
		n, err := t.exec(`UPDATE links SET attempts = attempts + 1 WHERE id = $1 AND state = 'pending' AND expires_at > $2 AND attempts < $3`,
			a.LinkID, stamp(now), connect.MaxAttempts)
		if err != nil {
			return err
		}
		if n == 0 {
			return spentLink()
		}
		_, err = t.exec(`
			INSERT INTO attempts (id, link_id, mailbox_id, state_hash, binding_hash, verifier, nonce, prompt, basis, created_at, expires_at, closed_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0)`,
			a.ID, a.LinkID, a.MailboxID, a.StateHash, a.BindingHash, bytesOf(a.Verifier), bytesOf(a.Nonce), a.Prompt, a.Basis, stamp(a.CreatedAt), stamp(a.ExpiresAt))
		if err != nil {
			return err
		}
		return t.addEvents(e)
	})
}

// TakeAttempt implements connect.LinkStore. The row stays, so that a second
// callback is told apart from a foreign one; what was sealed in it goes.
func (s *Store) TakeAttempt(ctx context.Context, stateHash []byte, now time.Time) (connect.Attempt, connect.Link, error) {
	var a connect.Attempt
	var l connect.Link
	err := s.change(ctx, "take the attempt", func(t *tx) error {
		var closed time.Time
		err := t.row(`
			SELECT id, link_id, mailbox_id, state_hash, binding_hash, verifier, nonce, prompt, basis, created_at, expires_at, closed_at
			FROM attempts WHERE state_hash = $1`+s.dialect.forUpdate, stateHash).Scan(
			&a.ID, &a.LinkID, &a.MailboxID, &a.StateHash, &a.BindingHash, shut(&a.Verifier), shut(&a.Nonce), &a.Prompt, &a.Basis,
			at(&a.CreatedAt), at(&a.ExpiresAt), at(&closed))
		if absent(err) {
			return unknown("attempt.unknown", "This answer belongs to no sign-in that was started here.", "Open the authorization link and start again.")
		}
		if err != nil {
			return err
		}
		if err := t.row("SELECT "+linkColumns+" FROM links WHERE id = $1", a.LinkID).Scan(scanLink(&l)...); err != nil {
			return err
		}
		if !closed.IsZero() {
			return conflict("attempt.used", "This sign-in has been answered already.", "Look at the result, or open the authorization link and start again.")
		}
		_, err = t.exec("UPDATE attempts SET closed_at = $2, verifier = NULL, nonce = NULL WHERE id = $1", a.ID, max(1, stamp(now)))
		return err
	})
	return a, l, err
}

// RefuseAttempt implements connect.LinkStore.
func (s *Store) RefuseAttempt(ctx context.Context, r connect.Refusal) error {
	return s.change(ctx, "record the refused attempt", func(t *tx) error {
		outcome, err := text(r.Outcome)
		if err != nil {
			return err
		}
		if r.GiveBack {
			if _, err := t.exec("UPDATE links SET attempts = attempts - 1 WHERE id = $1 AND state = 'pending' AND attempts > 0", r.LinkID); err != nil {
				return err
			}
		}
		n, err := t.exec(`
			UPDATE links SET last_attempt = CASE WHEN state IN ('granted', 'cancelled') THEN last_attempt ELSE $2 END, state = CASE WHEN state = 'pending' AND attempts >= $3 THEN 'refused' ELSE state END WHERE id = $1`,
			r.LinkID, outcome, connect.MaxAttempts)
		if err != nil {
			return err
		}
		if n == 0 {
			return noLink()
		}
		return t.addEvents(r.Event)
	})
}

// spend ends a link by an attempt that stored something. An attempt may come
// home after its link expired or its last try was counted, but not after
// another attempt was granted or somebody cancelled the link.
func (t *tx) spend(l connect.SpentLink) error {
	if l.LinkID == "" {
		return nil
	}
	outcome, err := text(l.Outcome)
	if err != nil {
		return err
	}
	state := connect.LinkRefused
	if l.Outcome.OK {
		state = connect.LinkGranted
	}
	n, err := t.exec("UPDATE links SET state = $2, last_attempt = $3 WHERE id = $1 AND state NOT IN ('granted', 'cancelled')", l.LinkID, state, outcome)
	if err == nil && n == 0 {
		return spentLink()
	}
	return err
}

// CancelLink implements connect.LinkStore.
func (s *Store) CancelLink(ctx context.Context, id string, e event.Event) error {
	return s.change(ctx, "cancel the authorization link", func(t *tx) error {
		n, err := t.exec("UPDATE links SET state = 'cancelled' WHERE id = $1 AND state = 'pending'", id)
		if err != nil {
			return err
		}
		if n == 0 {
			return spentLink()
		}
		return t.addEvents(e)
	})
}

// attemptKept is how long a sealed verifier of an unanswered attempt is kept.
const attemptKept = 24 * time.Hour

// ExpireLinks implements connect.LinkStore.
func (s *Store) ExpireLinks(ctx context.Context, now time.Time) (int, error) {
	expired := 0
	err := s.change(ctx, "expire authorization links", func(t *tx) error {
		var events []event.Event
		err := t.rows(`
			UPDATE links SET state = 'expired' WHERE state = 'pending' AND expires_at <= $1
			RETURNING id, mailbox_id, COALESCE((SELECT address FROM mailboxes WHERE mailboxes.id = links.mailbox_id), '')`,
			[]any{stamp(now)}, func(row scanner) error {
				var id, mailboxID, address string
				err := row.Scan(&id, &mailboxID, &address)
				events = append(events, event.New(now, event.LinkExpired, event.System(),
					"The authorization link for "+address+" expired unused.").About(mailboxID, address).With("link_id", id))
				return err
			})
		if err != nil {
			return err
		}
		expired = len(events)
		_, err = t.exec("UPDATE attempts SET verifier = NULL, nonce = NULL WHERE (verifier IS NOT NULL OR nonce IS NOT NULL) AND created_at <= $1",
			stamp(now.Add(-attemptKept)))
		if err != nil {
			return err
		}
		return t.addEvents(events...)
	})
	return expired, err
}
