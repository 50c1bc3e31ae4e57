package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/webhook"
	"github.com/mailgrant/mailgrant/internal/work"
)

var _ webhook.Store = (*Store)(nil)

func nothingToDo(what string) error {
	return &fault.Error{ID: "work.none", Kind: fault.NotFound, Text: what, Who: []fault.Who{fault.Nobody}, Remedy: "Nothing to do."}
}

func notYet(what string) error {
	return &fault.Error{ID: "work.later", Kind: fault.Conflict, Text: what, Who: []fault.Who{fault.Nobody}, Retry: true, Remedy: "Nothing to do: it is looked at again when its time comes."}
}

// head reads the first waiting delivery of a queue.
func (t *tx) head(webhookID, mailboxID string) (webhook.Delivery, error) {
	var d webhook.Delivery
	err := t.row("SELECT "+deliveryColumns+` FROM deliveries
		WHERE webhook_id = $1 AND mailbox_id = $2 AND state = 'pending' ORDER BY sequence LIMIT 1`, webhookID, mailboxID).Scan(scanDelivery(&d)...)
	return d, err
}

// ClaimHead implements webhook.Store. The lease is the queue's too: while one
// delivery is tried, no other of its queue is.
func (s *Store) ClaimHead(ctx context.Context, webhookID, mailboxID, owner string, now, until time.Time) (webhook.Claimed, error) {
	var c webhook.Claimed
	err := s.change(ctx, "claim a delivery", func(t *tx) error {
		c = webhook.Claimed{}
		var leasedUntil time.Time
		err := t.row("SELECT leased_until FROM delivery_queues WHERE webhook_id = $1 AND mailbox_id = $2"+s.dialect.forUpdate, webhookID, mailboxID).
			Scan(at(&leasedUntil))
		if err == nil {
			c.Webhook, err = scanWebhook(t.row("SELECT "+webhookColumns+" FROM webhooks WHERE id = $1 AND disabled = ''", webhookID))
		}
		if err == nil {
			c.Delivery, err = t.head(webhookID, mailboxID)
		}
		if absent(err) {
			return nothingToDo("Nothing waits in this queue.")
		}
		if err != nil {
			return err
		}
		if now.Before(leasedUntil) || now.Before(c.Delivery.NextAttemptAt) {
			return notYet("The first delivery of this queue is not due yet, or is under way.")
		}
		if err := t.row("SELECT "+eventColumns+" FROM events WHERE id = $1", c.Delivery.EventID).Scan(scanEvent(&c.Event)...); err != nil {
			return err
		}
		c.Delivery.Lease = work.Lease{Owner: owner, Fence: c.Delivery.Lease.Fence + 1, Until: time.UnixMicro(stamp(until)).UTC()}
		_, err = t.exec("UPDATE deliveries SET lease_owner = $2, lease_fence = $3, lease_until = $4 WHERE id = $1",
			c.Delivery.ID, owner, c.Delivery.Lease.Fence, stamp(until))
		if err != nil {
			return err
		}
		_, err = t.exec("UPDATE delivery_queues SET leased_delivery = $3, leased_until = $4, head_due_at = $4 WHERE webhook_id = $1 AND mailbox_id = $2",
			webhookID, mailboxID, c.Delivery.ID, stamp(until))
		return err
	})
	return c, err
}

// SettleDelivery implements webhook.Store.
func (s *Store) SettleDelivery(ctx context.Context, v webhook.Settlement) error {
	return s.change(ctx, "settle a delivery", func(t *tx) error {
		if len(v.Events) > 0 {
			if err := t.oneEventWriter(); err != nil {
				return err
			}
		}
		webhookID, mailboxID, err := t.lockQueueOf(v.DeliveryID)
		if absent(err) {
			return fenced("this delivery")
		}
		if err != nil {
			return err
		}
		if v.Disable != "" {
			n, err := t.exec("UPDATE webhooks SET disabled = $2, version = version + 1 WHERE id = $1 AND version = $3", webhookID, plain(v.Disable), v.DisableVersion)
			if err != nil {
				return err
			}
			if n == 0 {
				v.Parked, v.NextAttemptAt, v.Events = false, v.Now, nil
			}
		}
		state := "pending"
		switch {
		case v.Delivered:
			state = "delivered"
		case v.Parked:
			state = "parked"
		}
		n, err := t.exec(`
			UPDATE deliveries SET state = $3, attempts = attempts + 1, lease_owner = '', lease_until = 0, next_attempt_at = $4,
				first_tried_at = CASE WHEN first_tried_at = 0 THEN $5 ELSE first_tried_at END, last_status = $6, last_error = $7
			WHERE id = $1 AND lease_fence = $2 AND lease_owner <> ''`,
			v.DeliveryID, v.Fence, state, stamp(v.NextAttemptAt), stamp(v.Now), v.Status, plain(v.Error))
		if err != nil {
			return err
		}
		if n == 0 {
			return fenced("this delivery")
		}
		_, err = t.exec(`UPDATE delivery_queues SET leased_delivery = '', leased_until = 0 WHERE webhook_id = $1 AND mailbox_id = $2 AND leased_delivery = $3`,
			webhookID, mailboxID, v.DeliveryID)
		if err != nil {
			return err
		}
		if err := t.turnTo(webhookID, mailboxID); err != nil {
			return err
		}
		return t.addEvents(v.Events...)
	})
}

// lockQueueOf locks the queue that a delivery stands in.
func (t *tx) lockQueueOf(deliveryID string) (webhookID, mailboxID string, err error) {
	err = t.row(`
		SELECT webhook_id, mailbox_id FROM delivery_queues
		WHERE (webhook_id, mailbox_id) = (SELECT webhook_id, mailbox_id FROM deliveries WHERE id = $1)`+t.s.dialect.forUpdate, deliveryID).
		Scan(&webhookID, &mailboxID)
	return webhookID, mailboxID, err
}

// turnTo makes a queue, which is locked, due when its present head is, and
// enqueues the job for that.
func (t *tx) turnTo(webhookID, mailboxID string) error {
	d, err := t.head(webhookID, mailboxID)
	dueAt := int64(0)
	if err == nil {
		dueAt = max(1, stamp(d.NextAttemptAt))
		t.wakeQueue(webhookID, mailboxID, d.NextAttemptAt)
	} else if !absent(err) {
		return err
	}
	// While another delivery of the queue is under way the queue is due when that lease ends.
	_, err = t.exec(`
		UPDATE delivery_queues SET head_due_at = CASE WHEN CAST($3 AS BIGINT) > 0 AND leased_until > CAST($3 AS BIGINT) THEN leased_until ELSE CAST($3 AS BIGINT) END
		WHERE webhook_id = $1 AND mailbox_id = $2`, webhookID, mailboxID, dueAt)
	return err
}

// DueQueues implements webhook.Store.
func (s *Store) DueQueues(ctx context.Context, now time.Time, limit int) ([]webhook.Queue, error) {
	var queues []webhook.Queue
	err := s.rows(ctx, `
		SELECT q.webhook_id, q.mailbox_id FROM delivery_queues q JOIN webhooks w ON w.id = q.webhook_id
		WHERE q.head_due_at > 0 AND q.head_due_at <= $1 AND w.disabled = '' ORDER BY q.head_due_at LIMIT $2`,
		[]any{stamp(now), atMost(limit)}, func(row scanner) error {
			var q webhook.Queue
			err := row.Scan(&q.WebhookID, &q.MailboxID)
			queues = append(queues, q)
			return err
		})
	return queues, fail(ctx, "list due queues", err)
}

// Replay implements webhook.Store. Its count of attempts and the day after
// which it is parked begin anew.
func (s *Store) Replay(ctx context.Context, deliveryID string, now time.Time) error {
	return s.change(ctx, "replay a delivery", func(t *tx) error {
		webhookID, mailboxID, err := t.lockQueueOf(deliveryID)
		if absent(err) {
			return unknown("delivery.unknown", "There is no such delivery.", "See the webhook's deliveries for their IDs.")
		}
		if err != nil {
			return err
		}
		n, err := t.exec(`
			UPDATE deliveries SET state = 'pending', attempts = 0, first_tried_at = 0, next_attempt_at = $2,
				sequence = (SELECT MIN(d.sequence) - 1 FROM deliveries d WHERE d.webhook_id = $3 AND d.mailbox_id = $4)
			WHERE id = $1 AND state <> 'pending'`, deliveryID, stamp(now), webhookID, mailboxID)
		if err != nil {
			return err
		}
		if n == 0 {
			return conflict("delivery.pending", "This delivery is still waiting to be made.", "Nothing to do: it is tried by itself.")
		}
		return t.turnTo(webhookID, mailboxID)
	})
}

// Deliveries lists those of a webhook, newest first; state narrows them to
// pending, delivered or parked, before is the ID of the last one seen.
func (s *Store) Deliveries(ctx context.Context, webhookID, state, before string, limit int) ([]webhook.Delivery, error) {
	var c condition
	c.add("webhook_id = ?", webhookID)
	if state != "" {
		c.add("state = ?", state)
	}
	if before != "" {
		c.add("id < ?", before)
	}
	var deliveries []webhook.Delivery
	err := s.rows(ctx, "SELECT "+deliveryColumns+" FROM deliveries"+c.where()+" ORDER BY id DESC LIMIT "+c.arg(atMost(limit)), c.args, func(row scanner) error {
		var d webhook.Delivery
		err := row.Scan(scanDelivery(&d)...)
		deliveries = append(deliveries, d)
		return err
	})
	return deliveries, fail(ctx, "list deliveries", err)
}

// PurgeEvents removes events older than the retention that no webhook waits
// for, with their finished deliveries; it gives how many events.
func (s *Store) PurgeEvents(ctx context.Context, olderThan time.Time, limit int) (int, error) {
	var removed int64
	err := s.change(ctx, "remove old events", func(t *tx) error {
		// The newest event stays: positions go on from it.
		var err error
		removed, err = t.exec(`
			DELETE FROM events WHERE position IN (
				SELECT e.position FROM events e
				WHERE e.at < $1 AND e.position < (SELECT MAX(position) FROM events)
					AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_id = e.id AND d.state <> 'delivered')
				ORDER BY e.position LIMIT $2)`, stamp(olderThan), atMost(limit))
		return err
	})
	return int(removed), err
}
