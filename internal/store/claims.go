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
		if v.Disable != "" {
			if err := t.placeUnplaced(); err != nil {
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
			n, err := t.exec(`
				UPDATE webhooks SET disabled = $2, disabled_by = $4, disabled_at = $5, version = version + 1 WHERE id = $1 AND version = $3`,
				webhookID, plain(v.Disable), v.DisableVersion, webhook.ByReceiver, stamp(v.Now))
			if err != nil {
				return err
			}
			if n == 0 {
				v.NextAttemptAt, v.Events = v.Now, nil
			}
		}
		if err := t.settle(v); err != nil {
			return err
		}
		_, err = t.exec(`
			UPDATE delivery_queues SET leased_until = CASE WHEN leased_delivery = $3 THEN 0 ELSE leased_until END,
				leased_delivery = CASE WHEN leased_delivery = $3 THEN '' ELSE leased_delivery END,
				delivered_at = CASE WHEN CAST($4 AS BIGINT) > 0 THEN CAST($4 AS BIGINT) ELSE delivered_at END
			WHERE webhook_id = $1 AND mailbox_id = $2`, webhookID, mailboxID, v.DeliveryID, deliveredAt(v))
		if err != nil {
			return err
		}
		if err := t.turnTo(webhookID, mailboxID); err != nil {
			return err
		}
		return t.addEvents(v.Events...)
	})
}

// deliveredAt is when a settled delivery was delivered; 0: it was not.
func deliveredAt(v webhook.Settlement) int64 {
	if v.Delivered {
		return stamp(v.Now)
	}
	return 0
}

// settle records the outcome on the delivery, under its fence.
func (t *tx) settle(v webhook.Settlement) error {
	if v.Unmade {
		n, err := t.exec("UPDATE deliveries SET lease_owner = '', lease_until = 0 WHERE id = $1 AND lease_fence = $2 AND lease_owner <> ''", v.DeliveryID, v.Fence)
		if err == nil && n == 0 {
			err = fenced("this delivery")
		}
		return err
	}
	state := webhook.Waiting
	switch {
	case v.Delivered:
		state = webhook.Delivered
	case v.Parked:
		state = webhook.Parked
	}
	var last webhook.Try
	if n := len(v.Tries); n > 0 {
		last = v.Tries[n-1]
	}
	tries, err := text(v.Tries)
	if err != nil {
		return err
	}
	n, err := t.exec(`
		UPDATE deliveries SET state_since = CASE WHEN state = $3 THEN state_since ELSE CAST($5 AS BIGINT) END, state = $3,
			attempts = attempts + 1, lease_owner = '', lease_until = 0, next_attempt_at = $4,
			first_tried_at = CASE WHEN first_tried_at = 0 THEN CAST($5 AS BIGINT) ELSE first_tried_at END,
			last_status = $6, last_error = $7, tries = $8
		WHERE id = $1 AND lease_fence = $2 AND lease_owner <> ''`,
		v.DeliveryID, v.Fence, string(state), stamp(v.NextAttemptAt), stamp(v.Now), last.Status, plain(last.Error), plain(tries))
	if err == nil && n == 0 {
		err = fenced("this delivery")
	}
	return err
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

// DueQueues implements webhook.Store. It asks for each webhook that is on, by an
// index that begins with the webhook: the others cost nothing. What a process left
// unplaced, which died after its commit, gets into the queues first.
func (s *Store) DueQueues(ctx context.Context, now time.Time, ofEach int) ([]webhook.Queue, error) {
	var on []string
	err := s.placeLeft(ctx)
	if err != nil {
		return nil, err
	}
	err = s.rows(ctx, "SELECT id FROM webhooks WHERE disabled = '' ORDER BY id", nil, func(row scanner) error {
		var id string
		err := row.Scan(&id)
		on = append(on, id)
		return err
	})
	var queues []webhook.Queue
	for _, id := range on {
		if err != nil {
			break
		}
		err = s.rows(ctx, dueQueues, []any{id, stamp(now), atMost(ofEach)}, func(row scanner) error {
			q := webhook.Queue{WebhookID: id}
			err := row.Scan(&q.MailboxID)
			queues = append(queues, q)
			return err
		})
	}
	return queues, fail(ctx, "list due queues", err)
}

const dueQueues = `
	SELECT mailbox_id FROM delivery_queues
	WHERE webhook_id = $1 AND head_due_at > 0 AND head_due_at <= $2 ORDER BY head_due_at LIMIT $3`

// PurgeEvents removes events older than the retention that no webhook waits
// for, with their finished deliveries; it gives how many events.
func (s *Store) PurgeEvents(ctx context.Context, olderThan time.Time, limit int) (int, error) {
	if err := s.placeLeft(ctx); err != nil {
		return 0, err
	}
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
		if err != nil {
			return err
		}
		_, err = t.exec("DELETE FROM event_hours WHERE hour < $1", stamp(olderThan)/microsPerHour)
		return err
	})
	return int(removed), err
}
