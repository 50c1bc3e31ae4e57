package store

import (
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// listening lists the webhooks that are not switched off.
func (t *tx) listening() ([]webhook.Webhook, error) {
	var webhooks []webhook.Webhook
	err := t.rows("SELECT "+webhookColumns+" FROM webhooks WHERE disabled = '' ORDER BY id", nil, func(row scanner) error {
		w, err := scanWebhook(row)
		webhooks = append(webhooks, w)
		return err
	})
	return webhooks, err
}

// fanOut appends events to the queues of the webhooks that want them.
func (t *tx) fanOut(webhooks []webhook.Webhook, events []event.Event) error {
	for _, w := range webhooks {
		var wanted []event.Event
		for _, e := range events {
			if w.Wants(e) {
				wanted = append(wanted, e)
			}
		}
		for len(wanted) > 0 {
			n := 1
			for n < len(wanted) && wanted[n].MailboxID == wanted[0].MailboxID {
				n++
			}
			if err := t.append(w.ID, wanted[:n]); err != nil {
				return err
			}
			wanted = wanted[n:]
		}
	}
	return nil
}

// append puts events of one mailbox at the end of one queue. Only a head needs a
// job: what waits behind it is woken by whoever settles it.
func (t *tx) append(webhookID string, events []event.Event) error {
	mailboxID, at := events[0].MailboxID, events[0].At
	var last, headDueAt int64
	err := t.row(`
		INSERT INTO delivery_queues (webhook_id, mailbox_id, last_sequence, head_due_at, leased_delivery, leased_until)
		VALUES ($1, $2, $3, 0, '', 0)
		ON CONFLICT (webhook_id, mailbox_id) DO UPDATE SET last_sequence = delivery_queues.last_sequence + excluded.last_sequence
		RETURNING last_sequence, head_due_at`, webhookID, mailboxID, len(events)).Scan(&last, &headDueAt)
	if err != nil {
		return err
	}
	var rows [][]any
	for i, e := range events {
		now := stamp(e.At)
		rows = append(rows, []any{
			event.NewID(), webhookID, mailboxID, last - int64(len(events)-1-i), e.ID, 0, "", 0, 0, "pending", now, now, 0, now, 0, "", "[]",
		})
	}
	if err := t.insert("deliveries ("+deliveryColumns+")", rows); err != nil || headDueAt > 0 {
		return err
	}
	if _, err := t.exec("UPDATE delivery_queues SET head_due_at = $3 WHERE webhook_id = $1 AND mailbox_id = $2", webhookID, mailboxID, max(1, stamp(at))); err != nil {
		return err
	}
	t.wakeQueue(webhookID, mailboxID, at)
	return nil
}

const deliveryColumns = `id, webhook_id, mailbox_id, sequence, event_id, attempts, lease_owner, lease_fence, lease_until, state, state_since,
	next_attempt_at, first_tried_at, created_at, last_status, last_error, tries`

func scanDelivery(d *webhook.Delivery) []any {
	return []any{
		&d.ID, &d.WebhookID, &d.MailboxID, &d.Sequence, &d.EventID, &d.Attempts, &d.Lease.Owner, &d.Lease.Fence, at(&d.Lease.Until), &d.State, at(&d.StateSince),
		at(&d.NextAttemptAt), at(&d.FirstTriedAt), at(&d.CreatedAt), &d.LastStatus, &d.LastError, from(&d.Tries),
	}
}
