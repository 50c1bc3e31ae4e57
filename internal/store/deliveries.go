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

// fanOut appends an event to the queues of the webhooks that want it.
func (t *tx) fanOut(webhooks []webhook.Webhook, e event.Event) error {
	for _, w := range webhooks {
		if !w.Wants(e) {
			continue
		}
		if err := t.append(w.ID, e); err != nil {
			return err
		}
	}
	return nil
}

// append puts an event at the end of one queue. Only a head needs a job: what
// waits behind it is woken by whoever settles it.
func (t *tx) append(webhookID string, e event.Event) error {
	now := stamp(e.At)
	var sequence, headDueAt int64
	err := t.row(`
		INSERT INTO delivery_queues (webhook_id, mailbox_id, last_sequence, head_due_at, leased_delivery, leased_until)
		VALUES ($1, $2, 1, 0, '', 0)
		ON CONFLICT (webhook_id, mailbox_id) DO UPDATE SET last_sequence = delivery_queues.last_sequence + 1
		RETURNING last_sequence, head_due_at`, webhookID, e.MailboxID).Scan(&sequence, &headDueAt)
	if err != nil {
		return err
	}
	_, err = t.exec(`
		INSERT INTO deliveries (`+deliveryColumns+`)
		VALUES ($1, $2, $3, $4, $5, 0, '', 0, 0, 'pending', $6, $6, 0, $6, 0, '', '[]')`,
		event.NewID(), webhookID, e.MailboxID, sequence, e.ID, now)
	if err != nil || headDueAt > 0 {
		return err
	}
	if _, err := t.exec("UPDATE delivery_queues SET head_due_at = $3 WHERE webhook_id = $1 AND mailbox_id = $2", webhookID, e.MailboxID, max(1, now)); err != nil {
		return err
	}
	t.wakeQueue(webhookID, e.MailboxID, e.At)
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
