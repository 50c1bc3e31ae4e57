package store

import (
	"context"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

const webhookColumns = `document, secret, disabled, version`

func scanWebhook(row scanner) (webhook.Webhook, error) {
	var w webhook.Webhook
	var disabled string
	var version int64
	secret := shut(&w.Secret)
	err := row.Scan(from(&w), secret, &disabled, &version)
	w.Disabled, w.Version = disabled, version
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

// SaveWebhook implements webhook.Store. Switching one on again makes its queues
// due where they stood.
func (s *Store) SaveWebhook(ctx context.Context, w webhook.Webhook, ifVersion int64, e event.Event) error {
	return s.change(ctx, "save the webhook", func(t *tx) error {
		record, err := text(w)
		if err != nil {
			return err
		}
		if ifVersion == 0 {
			n, err := t.exec(`INSERT INTO webhooks (id, name, document, secret, disabled, version) VALUES ($1, $2, $3, $4, $5, $6)
				ON CONFLICT DO NOTHING`, w.ID, w.Name, record, bytesOf(w.Secret), plain(w.Disabled), w.Version)
			if err != nil {
				return err
			}
			if n == 0 {
				return conflict("webhook.exists", "A webhook called "+w.Name+" exists already.", "Choose another name, or change the one that exists.")
			}
			return t.addEvents(e)
		}
		n, err := t.exec("UPDATE webhooks SET name = $2, document = $3, secret = $4, disabled = $5, version = $6 WHERE id = $1 AND version = $7",
			w.ID, w.Name, record, bytesOf(w.Secret), plain(w.Disabled), w.Version, ifVersion)
		switch {
		case isDuplicate(err):
			return conflict("webhook.exists", "A webhook called "+w.Name+" exists already.", "Choose another name.")
		case err != nil:
			return err
		case n == 0:
			return conflict("webhook.changed", "Somebody else changed the webhook "+w.Name+" in the meantime.", "Read it again and repeat the change.")
		}
		return t.addEvents(e)
	})
}

// DeleteWebhook implements webhook.Store. What was queued for it goes with it.
func (s *Store) DeleteWebhook(ctx context.Context, name string, e event.Event) error {
	return s.change(ctx, "remove the webhook", func(t *tx) error {
		// The queues' rows are locked by whoever writes events: no circle.
		if err := t.oneEventWriter(); err != nil {
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
