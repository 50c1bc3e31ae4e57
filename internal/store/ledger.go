package store

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

func noDelivery() error {
	return unknown("delivery.unknown", "The webhook has no such delivery.", "See the webhook's deliveries for their IDs; those older than the retention are gone.")
}

// recorded reads deliveries (called d) with their events (called e).
var recorded = "SELECT " + prefixed("d", deliveryColumns) + ", " + prefixed("e", eventColumns) + " FROM deliveries d JOIN events e ON e.id = d.event_id"

// prefixed names the columns of a list in one table of several.
func prefixed(table, columns string) string {
	names := strings.Split(columns, ",")
	for i, n := range names {
		names[i] = table + "." + strings.TrimSpace(n)
	}
	return strings.Join(names, ", ")
}

func scanRecorded(row scanner) (webhook.Recorded, error) {
	var r webhook.Recorded
	err := row.Scan(append(scanDelivery(&r.Delivery), scanEvent(&r.Event)...)...)
	return r, err
}

// Delivery implements webhook.Store.
func (s *Store) Delivery(ctx context.Context, webhookID, id string) (webhook.Recorded, error) {
	r, err := scanRecorded(s.read.QueryRowContext(ctx, recorded+" WHERE d.id = $1 AND d.webhook_id = $2", id, webhookID))
	if absent(err) {
		return webhook.Recorded{}, noDelivery()
	}
	return r, fail(ctx, "read the delivery", err)
}

// Deliveries implements webhook.Store. What is not delivered is found by an index
// of its own, which both databases use only where the query repeats its condition.
func (s *Store) Deliveries(ctx context.Context, f webhook.Filter) ([]webhook.Recorded, error) {
	if err := s.placeLeft(ctx); err != nil {
		return nil, err
	}
	var c condition
	c.add("d.webhook_id = ?", f.WebhookID)
	if f.MailboxID != "" {
		c.add("d.mailbox_id = ?", f.MailboxID)
	}
	if f.State != "" {
		c.add("d.state = ?", string(f.State))
		if f.State != webhook.Delivered {
			c.add("d.state <> 'delivered'")
		}
	}
	if f.Before != "" {
		c.add("d.id < ?", f.Before)
	}
	var all []webhook.Recorded
	err := s.rows(ctx, recorded+c.where()+" ORDER BY d.id DESC LIMIT "+c.arg(atMost(f.Limit)), c.args, func(row scanner) error {
		r, err := scanRecorded(row)
		all = append(all, r)
		return err
	})
	return all, fail(ctx, "list deliveries", err)
}

// Standings implements webhook.Store.
func (s *Store) Standings(ctx context.Context) (map[string]webhook.Standing, error) {
	if err := s.placeLeft(ctx); err != nil {
		return nil, err
	}
	all := map[string]webhook.Standing{}
	err := s.rows(ctx, `
		SELECT w.id, COALESCE(d.waiting, 0), COALESCE(d.parked, 0), COALESCE(d.since, 0),
			COALESCE((SELECT MAX(q.delivered_at) FROM delivery_queues q WHERE q.webhook_id = w.id), 0)
		FROM webhooks w LEFT JOIN (
			SELECT webhook_id, SUM(CASE state WHEN 'pending' THEN 1 ELSE 0 END) AS waiting, SUM(CASE state WHEN 'parked' THEN 1 ELSE 0 END) AS parked,
				MIN(CASE state WHEN 'pending' THEN created_at END) AS since
			FROM deliveries WHERE state <> 'delivered' GROUP BY webhook_id
		) d ON d.webhook_id = w.id`, nil, func(row scanner) error {
		var id string
		var v webhook.Standing
		err := row.Scan(&id, &v.Waiting, &v.Parked, at(&v.WaitingSince), at(&v.LastDelivered))
		all[id] = v
		return err
	})
	return all, fail(ctx, "see how webhooks get on", err)
}

// Replay implements webhook.Store. The count of attempts and the day after which
// a delivery is parked begin anew.
func (s *Store) Replay(ctx context.Context, webhookID, id string, e event.Event) error {
	return s.change(ctx, "replay a delivery", func(t *tx) error {
		of, mailboxID, err := t.lockQueueOf(id)
		if absent(err) || err == nil && of != webhookID {
			return noDelivery()
		}
		if err != nil {
			return err
		}
		// One that waits keeps its place in the queue.
		n, err := t.exec(`
			UPDATE deliveries SET state_since = CASE WHEN state = 'pending' THEN state_since ELSE CAST($2 AS BIGINT) END,
				state = 'pending', attempts = 0, first_tried_at = 0, next_attempt_at = $2,
				sequence = CASE WHEN state = 'pending' THEN sequence ELSE
					(SELECT MIN(d.sequence) - 1 FROM deliveries d WHERE d.webhook_id = $3 AND d.mailbox_id = $4) END
			WHERE id = $1 AND lease_owner = ''`, id, stamp(e.At), webhookID, mailboxID)
		if err != nil {
			return err
		}
		if n == 0 {
			return conflict("delivery.under_way", "This delivery is being made at this moment.", "See in a few seconds what came of it.")
		}
		if err := t.turnTo(webhookID, mailboxID); err != nil {
			return err
		}
		return t.addEvents(e)
	})
}

// ReplayParked implements webhook.Store.
func (s *Store) ReplayParked(ctx context.Context, webhookID string, queues int, e event.Event) (int, error) {
	var replayed int
	err := s.change(ctx, "replay parked deliveries", func(t *tx) error {
		replayed = 0
		if err := t.placeUnplaced(); err != nil {
			return err
		}
		var mailboxes []string
		err := t.rows(`
			SELECT DISTINCT mailbox_id FROM deliveries WHERE webhook_id = $1 AND state = 'parked' AND state <> 'delivered'
			ORDER BY mailbox_id LIMIT $2`, []any{webhookID, atMost(queues)}, func(row scanner) error {
			var id string
			err := row.Scan(&id)
			mailboxes = append(mailboxes, id)
			return err
		})
		if err != nil {
			return err
		}
		for _, mailboxID := range mailboxes {
			n, err := t.replayQueue(webhookID, mailboxID, stamp(e.At))
			if err != nil {
				return err
			}
			replayed += int(n)
		}
		if replayed == 0 {
			return nil
		}
		return t.addEvents(e.With("deliveries", strconv.Itoa(replayed)))
	})
	return replayed, err
}

// replayQueue moves everything parked of one queue before all else in it: by the
// same distance, so that its order stays.
func (t *tx) replayQueue(webhookID, mailboxID string, now int64) (int64, error) {
	var locked string
	err := t.row("SELECT mailbox_id FROM delivery_queues WHERE webhook_id = $1 AND mailbox_id = $2"+t.s.dialect.forUpdate, webhookID, mailboxID).Scan(&locked)
	if err != nil {
		return 0, err
	}
	var first, lastParked int64
	err = t.row(`
		SELECT MIN(sequence), COALESCE(MAX(CASE WHEN state = 'parked' THEN sequence END), MIN(sequence) - 1)
		FROM deliveries WHERE webhook_id = $1 AND mailbox_id = $2`, webhookID, mailboxID).Scan(&first, &lastParked)
	if err != nil {
		return 0, err
	}
	n, err := t.exec(`
		UPDATE deliveries SET state = 'pending', state_since = $3, attempts = 0, first_tried_at = 0, next_attempt_at = $3, sequence = sequence - CAST($4 AS BIGINT)
		WHERE webhook_id = $1 AND mailbox_id = $2 AND state = 'parked'`, webhookID, mailboxID, now, lastParked-first+1)
	if err != nil || n == 0 {
		return n, err
	}
	return n, t.turnTo(webhookID, mailboxID)
}

const outdated = `
	SELECT d.id, d.state, d.webhook_id, d.mailbox_id, w.name, e.mailbox
	FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id JOIN events e ON e.id = d.event_id
	WHERE d.state <> 'delivered' AND d.state_since < $1 AND d.lease_until < $1 ORDER BY d.state_since LIMIT $2`

// Outdated implements webhook.Store.
func (s *Store) Outdated(ctx context.Context, before time.Time, limit int) ([]webhook.Outdated, error) {
	var all []webhook.Outdated
	place := map[webhook.Queue]int{}
	err := s.rows(ctx, outdated, []any{stamp(before), atMost(limit)}, func(row scanner) error {
		var id string
		var state webhook.State
		var o webhook.Outdated
		if err := row.Scan(&id, &state, &o.WebhookID, &o.MailboxID, &o.Webhook, &o.Mailbox); err != nil {
			return err
		}
		i, ok := place[o.Queue]
		if !ok {
			i = len(all)
			place[o.Queue] = i
			all = append(all, o)
		}
		all[i].IDs = append(all[i].IDs, id)
		if state == webhook.Parked {
			all[i].Parked++
		}
		return nil
	})
	return all, fail(ctx, "list outdated deliveries", err)
}

// DropDeliveries implements webhook.Store.
func (s *Store) DropDeliveries(ctx context.Context, o webhook.Outdated, before time.Time, e event.Event) error {
	return s.change(ctx, "remove outdated deliveries", func(t *tx) error {
		var locked string
		err := t.row("SELECT mailbox_id FROM delivery_queues WHERE webhook_id = $1 AND mailbox_id = $2"+s.dialect.forUpdate, o.WebhookID, o.MailboxID).Scan(&locked)
		if err != nil && !absent(err) {
			return err
		}
		var c condition
		c.add("webhook_id = ?", o.WebhookID)
		c.add("mailbox_id = ?", o.MailboxID)
		c.add("state <> 'delivered' AND state_since < ? AND lease_until < ?", stamp(before), stamp(before))
		oneOf(&c, "id", o.IDs)
		n, err := t.exec("DELETE FROM deliveries"+c.where(), c.args...)
		if err != nil {
			return err
		}
		if n == 0 || n != int64(len(o.IDs)) {
			return conflict("delivery.changed", "One of these deliveries has moved in the meantime.", "Nothing to do: what is still outdated is removed the next time.")
		}
		if err := t.turnTo(o.WebhookID, o.MailboxID); err != nil {
			return err
		}
		return t.addEvents(e)
	})
}
