package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

const webhookColumns = `document, secret, disabled, disabled_by, disabled_at, previous_secret, previous_secret_until, version`

func scanWebhook(row scanner) (webhook.Webhook, error) {
	var w, columns webhook.Webhook
	err := row.Scan(from(&w), shut(&columns.Secret), &columns.Disabled, &columns.DisabledBy, at(&columns.DisabledAt),
		shut(&columns.PreviousSecret), at(&columns.PreviousSecretUntil), &columns.Version)
	w.Secret, w.Disabled, w.DisabledBy, w.DisabledAt = columns.Secret, columns.Disabled, columns.DisabledBy, columns.DisabledAt
	w.PreviousSecret, w.PreviousSecretUntil, w.Version = columns.PreviousSecret, columns.PreviousSecretUntil, columns.Version
	return w, err
}

func noWebhook(name string) error {
	return unknown("webhook.unknown", "No webhook is called "+name+".", "See the list of webhooks for their names.")
}

// Webhook implements webhook.Store.
func (s *Store) Webhook(ctx context.Context, name string) (webhook.Webhook, error) {
	w, err := scanWebhook(s.read.QueryRowContext(ctx, "SELECT "+webhookColumns+" FROM webhooks WHERE name = $1", name))
	if absent(err) {
		return webhook.Webhook{}, noWebhook(name)
	}
	return w, fail(ctx, "read the webhook", err)
}

// Webhooks implements webhook.Store.
func (s *Store) Webhooks(ctx context.Context) ([]webhook.Webhook, error) {
	var webhooks []webhook.Webhook
	err := s.rows(ctx, "SELECT "+webhookColumns+" FROM webhooks ORDER BY name", nil, func(row scanner) error {
		w, err := scanWebhook(row)
		webhooks = append(webhooks, w)
		return err
	})
	return webhooks, fail(ctx, "list webhooks", err)
}

// SaveWebhook implements webhook.Store.
func (s *Store) SaveWebhook(ctx context.Context, v webhook.Saving) error {
	w := v.Webhook
	return s.change(ctx, "save the webhook", func(t *tx) error {
		if err := t.placeUnplaced(); err != nil {
			return err
		}
		record, err := text(w)
		if err != nil {
			return err
		}
		values := []any{
			w.ID, w.Name, record, bytesOf(w.Secret), plain(w.Disabled), w.DisabledBy, stamp(w.DisabledAt),
			bytesOf(w.PreviousSecret), stamp(w.PreviousSecretUntil), w.Version,
		}
		if v.IfVersion == 0 {
			n, err := t.exec(`INSERT INTO webhooks (id, name, `+webhookColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
				ON CONFLICT DO NOTHING`, values...)
			if err != nil {
				return err
			}
			if n == 0 {
				return conflict("webhook.exists", "A webhook called "+w.Name+" exists already.", "Choose another name, or change the one that exists.")
			}
			return t.addEvents(v.Event)
		}
		n, err := t.exec(`
			UPDATE webhooks SET name = $2, document = $3, secret = $4, disabled = $5, disabled_by = $6, disabled_at = $7,
				previous_secret = $8, previous_secret_until = $9, version = $10
			WHERE id = $1 AND version = $11`, append(values, v.IfVersion)...)
		switch {
		case isDuplicate(err):
			return conflict("webhook.exists", "A webhook called "+w.Name+" exists already.", "Choose another name.")
		case err != nil:
			return err
		case n == 0:
			return conflict("webhook.changed", "Somebody else changed the webhook "+w.Name+" in the meantime.", "Read it again and repeat the change.")
		}
		if v.Afresh {
			if err := t.afresh(w); err != nil {
				return err
			}
		}
		return t.addEvents(v.Event)
	})
}

// afresh makes what waits for a webhook due at once, and forgets when it was
// first tried. What is under way ends as it would have.
func (t *tx) afresh(w webhook.Webhook) error {
	now := max(1, stamp(w.UpdatedAt))
	_, err := t.exec("UPDATE delivery_queues SET head_due_at = $2 WHERE webhook_id = $1 AND head_due_at > 0 AND leased_until = 0", w.ID, now)
	if err != nil {
		return err
	}
	_, err = t.exec(`
		UPDATE deliveries SET attempts = 0, first_tried_at = 0, next_attempt_at = $2
		WHERE webhook_id = $1 AND state = 'pending' AND state <> 'delivered' AND first_tried_at > 0 AND lease_owner = ''`, w.ID, now)
	return err
}

// ForgetSecrets implements webhook.Store.
func (s *Store) ForgetSecrets(ctx context.Context, now time.Time) error {
	return s.change(ctx, "forget previous signing secrets", func(t *tx) error {
		_, err := t.exec(`
			UPDATE webhooks SET previous_secret = NULL, previous_secret_until = 0
			WHERE previous_secret_until > 0 AND previous_secret_until <= $1`, stamp(now))
		return err
	})
}

// DeleteWebhook implements webhook.Store. What was queued for it goes with it.
func (s *Store) DeleteWebhook(ctx context.Context, name string, e event.Event) error {
	return s.change(ctx, "remove the webhook", func(t *tx) error {
		if err := t.placeUnplaced(); err != nil {
			return err
		}
		n, err := t.exec("DELETE FROM webhooks WHERE name = $1", name)
		if err != nil {
			return err
		}
		if n == 0 {
			return noWebhook(name)
		}
		return t.addEvents(e)
	})
}
