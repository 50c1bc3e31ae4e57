package store

import (
	"context"
	"slices"
	"strings"

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

// standings are the conditions of mailbox.Listed.Standing as the database knows
// them: each is true of exactly the mailboxes that stand there.
func standings() map[mailbox.Standing]string {
	const (
		waits   = "q.mailbox_id IS NOT NULL"
		stopped = "w.stopped_at > 0 AND m.receives"
	)
	return map[mailbox.Standing]string{
		mailbox.StandingFailing:     "g.state = 'active' AND g.failures > 0",
		mailbox.StandingStopped:     "g.state = 'active' AND g.failures = 0 AND NOT m.paused AND " + stopped,
		mailbox.StandingConnected:   "g.state = 'active' AND g.failures = 0 AND NOT m.paused AND NOT (" + stopped + ")",
		mailbox.StandingQuarantined: waits + " AND COALESCE(g.state, '') <> 'active'",
		mailbox.StandingDead:        "g.state = 'dead' AND NOT " + waits,
		mailbox.StandingSuspended:   "g.state = 'suspended' AND NOT " + waits,
		mailbox.StandingPaused: "m.paused AND (g.state = 'active' AND g.failures = 0 OR NOT " + waits +
			" AND (g.state IS NULL OR g.state = 'revoked'))",
		mailbox.StandingRevoked: "g.state = 'revoked' AND NOT m.paused AND NOT " + waits,
		mailbox.StandingNone:    "g.state IS NULL AND NOT m.paused AND NOT " + waits,
	}
}

const standingTables = `
	FROM mailboxes m
	LEFT JOIN grants g ON g.mailbox_id = m.id
	LEFT JOIN quarantines q ON q.mailbox_id = m.id
	LEFT JOIN watches w ON w.mailbox_id = m.id`

// Mailboxes implements connect.MailboxStore.
func (s *Store) Mailboxes(ctx context.Context, f mailbox.Filter) ([]mailbox.Listed, error) {
	var c condition
	if f.After != "" {
		c.add("m.address > ?", f.After)
	}
	if f.Part != "" {
		c.add(`m.address LIKE ? ESCAPE '!'`, "%"+strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(strings.ToLower(f.Part))+"%")
	}
	if f.Provider != "" {
		c.add("m.provider = ?", f.Provider)
	}
	oneOf(&c, "m.address", f.Addresses)
	if f.Standing != "" {
		where, known := standings()[f.Standing]
		if !known {
			return nil, nil
		}
		c.add("(" + where + ")")
	}
	query := `
		SELECT m.document, COALESCE(g.state, ''), COALESCE(g.verdict, ''), COALESCE(g.display, ''),
			COALESCE(g.next_refresh_at, 0), COALESCE(g.last_refresh_at, 0), COALESCE(w.last_mail_at, 0),
			COALESCE(g.failures, 0), COALESCE(g.cause, ''), COALESCE(g.cause_text, ''), COALESCE(g.remedy, ''),
			COALESCE(w.stopped_at, 0), COALESCE(w.stop_cause, ''), COALESCE(w.stop_text, ''), COALESCE(w.stop_remedy, ''), COALESCE(w.stop_who, ''),
			q.mailbox_id IS NOT NULL, COALESCE(q.display, ''), COALESCE(q.created_at, 0), COALESCE(q.expires_at, 0), COALESCE(q.next_try_at, 0),
			COALESCE(q.cause, ''), COALESCE(q.cause_text, ''), COALESCE(q.remedy, ''), COALESCE(q.who, '')` +
		standingTables + c.where() + " ORDER BY m.address LIMIT " + c.arg(atMost(f.Limit))
	var listed []mailbox.Listed
	err := s.rows(ctx, query, c.args, func(row scanner) error {
		var l mailbox.Listed
		var q mailbox.Quarantine
		var waits bool
		err := row.Scan(from(&l.Mailbox), &l.State, &l.Verdict, &l.Display,
			at(&l.NextRefreshAt), at(&l.LastRefreshAt), at(&l.LastMailAt), &l.Failures, &l.Cause, &l.CauseText, &l.Remedy,
			at(&l.Outage.Since), &l.Outage.Cause, &l.Outage.Text, &l.Outage.Remedy, from(&l.Outage.Who),
			&waits, &q.Display, at(&q.CreatedAt), at(&q.ExpiresAt), at(&q.NextTryAt), &q.Cause, &q.CauseText, &q.Remedy, from(&q.Who))
		if waits {
			q.MailboxID = l.Mailbox.ID
			l.Quarantine = &q
		}
		listed = append(listed, l)
		return err
	})
	return listed, fail(ctx, "list mailboxes", err)
}

// CountStandings counts the mailboxes of each standing; of these addresses only,
// where there are any.
func (s *Store) CountStandings(ctx context.Context, addresses []string) (map[mailbox.Standing]int, error) {
	var c condition
	oneOf(&c, "m.address", addresses)
	standing := "CASE"
	for _, name := range mailbox.Standings() {
		standing += " WHEN " + standings()[name] + " THEN '" + string(name) + "'"
	}
	counts := map[mailbox.Standing]int{}
	err := s.rows(ctx, "SELECT "+standing+" END, COUNT(*)"+standingTables+c.where()+" GROUP BY 1", c.args, func(row scanner) error {
		var name mailbox.Standing
		var n int
		err := row.Scan(&name, &n)
		counts[name] = n
		return err
	})
	return counts, fail(ctx, "count mailboxes", err)
}

// MailboxesOf counts the mailboxes of each provider.
func (s *Store) MailboxesOf(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	err := s.rows(ctx, "SELECT provider, COUNT(*) FROM mailboxes GROUP BY provider", nil, func(row scanner) error {
		var name string
		var n int
		err := row.Scan(&name, &n)
		counts[name] = n
		return err
	})
	return counts, fail(ctx, "count the mailboxes of each provider", err)
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
