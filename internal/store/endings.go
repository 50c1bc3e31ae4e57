package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
)

var _ diagnose.EndingStore = (*Store)(nil)

// APIKeyEndings implements diagnose.EndingStore.
func (s *Store) APIKeyEndings(ctx context.Context, from time.Time) ([]diagnose.Ending, error) {
	var all []diagnose.Ending
	err := s.rows(ctx, "SELECT id, name, created_at, expires_at FROM api_keys WHERE expires_at > 0 AND expires_at > $1 ORDER BY expires_at, name", []any{stamp(from)}, func(row scanner) error {
		e := diagnose.Ending{Kind: diagnose.EndingAPIKey}
		err := row.Scan(&e.ID, &e.Name, at(&e.Since), at(&e.EndsAt))
		all = append(all, e)
		return err
	})
	return all, fail(ctx, "list API keys that end", err)
}

// TellEnding implements diagnose.EndingStore. What was told of things that are
// gone is forgotten.
func (s *Store) TellEnding(ctx context.Context, e diagnose.Ending, days int, what event.Event) (told bool, err error) {
	err = s.change(ctx, "tell what ends soon", func(t *tx) error {
		n, err := t.exec(`
			INSERT INTO endings_told (kind, id, ends_at, days) VALUES ($1, $2, $3, $4)
			ON CONFLICT (kind, id) DO UPDATE SET ends_at = excluded.ends_at, days = excluded.days
			WHERE endings_told.ends_at <> excluded.ends_at OR endings_told.days > excluded.days`,
			string(e.Kind), e.ID, stamp(e.EndsAt), days)
		if told = n > 0; err != nil || !told {
			return err
		}
		for kind, table := range map[diagnose.EndingKind]string{diagnose.EndingAPIKey: "api_keys", diagnose.EndingSecret: "provider_secrets"} {
			if _, err := t.exec("DELETE FROM endings_told WHERE kind = $1 AND id NOT IN (SELECT id FROM "+table+")", string(kind)); err != nil {
				return err
			}
		}
		return t.addEvents(what)
	})
	return told && err == nil, err
}
