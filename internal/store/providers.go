package store

import (
	"context"
	"slices"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/provider"
)

var _ connect.ProviderStore = (*Store)(nil)

func noProvider(name string) error {
	return unknown("provider.unknown", "No provider is called "+name+".", "See the list of providers for their names, or add this one first.")
}

// Provider implements connect.ProviderStore.
func (s *Store) Provider(ctx context.Context, name string) (provider.Record, []connect.SealedSecret, error) {
	var record provider.Record
	var secrets []connect.SealedSecret
	found := false
	// One statement, so that record and secrets belong together.
	err := s.rows(ctx, `
		SELECT p.document, COALESCE(c.id, ''), c.sealed, c.bound_to, COALESCE(c.expires_at, 0)
		FROM providers p LEFT JOIN provider_secrets c ON c.provider_id = p.id
		WHERE p.name = $1 ORDER BY c.position`, []any{name}, func(row scanner) error {
		var c connect.SealedSecret
		record, found = provider.Record{}, true
		if err := row.Scan(from(&record), &c.ID, shut(&c.Sealed), &c.Where, at(&c.ExpiresAt)); err != nil {
			return err
		}
		if !c.Sealed.IsZero() {
			secrets = append(secrets, c)
		}
		return nil
	})
	if err == nil && !found {
		err = noProvider(name)
	}
	return record, secrets, fail(ctx, "read the provider", err)
}

// Providers implements connect.ProviderStore.
func (s *Store) Providers(ctx context.Context) ([]provider.Record, error) {
	var records []provider.Record
	err := s.rows(ctx, "SELECT document FROM providers ORDER BY name", nil, func(row scanner) error {
		var r provider.Record
		err := row.Scan(from(&r))
		records = append(records, r)
		return err
	})
	return records, fail(ctx, "list providers", err)
}

// SaveProvider implements connect.ProviderStore.
func (s *Store) SaveProvider(ctx context.Context, p connect.SaveProvider) error {
	r := p.Record
	return s.change(ctx, "save the provider", func(t *tx) error {
		record, err := text(r)
		if err != nil {
			return err
		}
		if p.IfVersion == 0 {
			n, err := t.exec(`INSERT INTO providers (id, name, document, version) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
				r.ID, r.Name, record, r.Version)
			if err != nil {
				return err
			}
			if n == 0 {
				return conflict("provider.exists", "A provider called "+r.Name+" exists already.", "Choose another name, or change the one that exists.")
			}
		} else {
			n, err := t.exec(`UPDATE providers SET document = $3, version = $4 WHERE id = $1 AND name = $2 AND version = $5`,
				r.ID, r.Name, record, r.Version, p.IfVersion)
			if err != nil {
				return err
			}
			if n == 0 {
				return conflict("provider.changed", "Somebody else changed the provider "+r.Name+" in the meantime.", "Read it again and repeat the change.")
			}
		}
		if _, err := t.exec("DELETE FROM provider_secrets WHERE provider_id = $1", r.ID); err != nil {
			return err
		}
		for i, c := range p.Secrets {
			_, err := t.exec(`INSERT INTO provider_secrets (provider_id, position, id, sealed, bound_to, expires_at) VALUES ($1, $2, $3, $4, $5, $6)`,
				r.ID, i, c.ID, bytesOf(c.Sealed), c.Where, stamp(c.ExpiresAt))
			if err != nil {
				return err
			}
		}
		if err := t.retryQuarantines(p.RetryAt, "provider", r.Name); err != nil {
			return err
		}
		suspended, err := t.suspend(p.Suspend, "provider", r.Name)
		if err != nil {
			return err
		}
		e := p.Event
		if slices.ContainsFunc(suspended, func(e event.Event) bool { return e.Kind == event.GrantSuspended }) && p.Suspend.Text != "" {
			e.Text = p.Suspend.Text
		}
		return t.addEvents(append([]event.Event{e}, suspended...)...)
	})
}

// DeleteProvider implements connect.ProviderStore.
func (s *Store) DeleteProvider(ctx context.Context, name string, e event.Event) error {
	return s.change(ctx, "remove the provider", func(t *tx) error {
		n, err := t.exec("DELETE FROM providers WHERE name = $1", name)
		if isReference(err) {
			return conflict("provider.in_use", "Mailboxes still use the provider "+name+".", "Move these mailboxes to another provider or remove them first.")
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return noProvider(name)
		}
		return t.addEvents(e)
	})
}
