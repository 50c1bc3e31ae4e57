package store

import (
	"context"

	"github.com/mailgrant/mailgrant/internal/webhook"
)

// HandedOn lists the deliveries of an event, by the names of the webhooks.
func (s *Store) HandedOn(ctx context.Context, eventID string) ([]webhook.Handed, error) {
	if err := s.placeLeft(ctx); err != nil {
		return nil, err
	}
	var handed []webhook.Handed
	err := s.rows(ctx, `
		SELECT d.id, w.name, d.state, d.attempts, d.next_attempt_at, d.last_status, d.last_error
		FROM deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.event_id = $1 ORDER BY w.name, d.id`, []any{eventID}, func(row scanner) error {
		var h webhook.Handed
		err := row.Scan(&h.ID, &h.Webhook, &h.State, &h.Attempts, at(&h.NextAttemptAt), &h.LastStatus, &h.LastError)
		handed = append(handed, h)
		return err
	})
	return handed, fail(ctx, "list the deliveries of an event", err)
}
