package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
)

var _ diagnose.OverviewReads = (*Store)(nil)

// Unsent implements diagnose.OverviewReads.
func (s *Store) Unsent(ctx context.Context, since time.Time, mailboxIDs []string, limit int) ([]diagnose.Unsent, error) {
	var c condition
	// As the index says it, word for word.
	c.parts = append(c.parts, "state IN ('failed', 'expired')")
	c.parts = append(c.parts, "cause <> 'submission.cancelled'") // somebody called it off
	c.add("settled_at >= ?", stamp(since))
	oneOf(&c, "mailbox_id", mailboxIDs)
	var unsent []diagnose.Unsent
	err := s.rows(ctx, `
		SELECT l.mailbox, l.number, s.settled_at, s.cause, s.cause_text, s.remedy
		FROM (SELECT mailbox, COUNT(*) AS number, MAX(id) AS id FROM submissions`+c.where()+` GROUP BY mailbox) l
		JOIN submissions s ON s.id = l.id ORDER BY s.settled_at DESC, l.mailbox LIMIT `+c.arg(atMost(limit)), c.args, func(row scanner) error {
		var u diagnose.Unsent
		err := row.Scan(&u.Mailbox, &u.Number, at(&u.Last), &u.Cause, &u.Text, &u.Remedy)
		unsent = append(unsent, u)
		return err
	})
	return unsent, fail(ctx, "list what could not be sent", err)
}

// Undelivered implements diagnose.OverviewReads.
func (s *Store) Undelivered(ctx context.Context) ([]diagnose.Undelivered, error) {
	if err := s.placeLeft(ctx); err != nil {
		return nil, err
	}
	var webhooks []diagnose.Undelivered
	err := s.rows(ctx, `
		SELECT w.name, CASE WHEN w.disabled_by = 'receiver' THEN w.disabled ELSE '' END, COALESCE(p.number, 0) FROM webhooks w
		LEFT JOIN (SELECT webhook_id, COUNT(*) AS number FROM deliveries WHERE state <> 'delivered' AND state = 'parked' GROUP BY webhook_id) p ON p.webhook_id = w.id
		WHERE w.disabled_by = 'receiver' OR p.number > 0 ORDER BY w.name`, nil, func(row scanner) error {
		var w diagnose.Undelivered
		err := row.Scan(&w.Webhook, &w.Disabled, &w.Parked)
		webhooks = append(webhooks, w)
		return err
	})
	return webhooks, fail(ctx, "list webhooks that need attention", err)
}

// FirstSteps implements diagnose.OverviewReads.
func (s *Store) FirstSteps(ctx context.Context) (diagnose.FirstSteps, error) {
	var f diagnose.FirstSteps
	err := s.read.QueryRowContext(ctx, `
		SELECT EXISTS (SELECT 1 FROM providers), EXISTS (SELECT 1 FROM mailboxes), EXISTS (SELECT 1 FROM grants),
			EXISTS (SELECT 1 FROM events WHERE kind = $1), EXISTS (SELECT 1 FROM webhooks) OR EXISTS (SELECT 1 FROM api_keys)`,
		string(event.MailboxTested)).Scan(&f.Provider, &f.Mailbox, &f.Authorised, &f.Tested, &f.HandedOn)
	return f, fail(ctx, "see how far the set-up is", err)
}
