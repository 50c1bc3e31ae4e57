package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
)

var _ access.KeyStore = (*Store)(nil)

const apiKeyColumns = `id, name, hash, may, mailboxes, networks, created_by, created_at, expires_at, last_used`

func scanAPIKey(k *access.APIKey) []any {
	return []any{
		&k.ID, &k.Name, &k.Hash, from(&k.May), from(&k.Mailboxes), from(&k.Networks), &k.CreatedBy, at(&k.CreatedAt), at(&k.ExpiresAt), at(&k.LastUsed),
	}
}

func noAPIKey() error {
	return unknown("api_key.unknown", "There is no such API key.", "See the list of API keys, or make a new one.")
}

// APIKeys implements access.KeyStore.
func (s *Store) APIKeys(ctx context.Context) ([]access.APIKey, error) {
	var keys []access.APIKey
	err := s.rows(ctx, "SELECT "+apiKeyColumns+" FROM api_keys ORDER BY name", nil, func(row scanner) error {
		var k access.APIKey
		err := row.Scan(scanAPIKey(&k)...)
		keys = append(keys, k)
		return err
	})
	return keys, fail(ctx, "list API keys", err)
}

// APIKey implements access.KeyStore.
func (s *Store) APIKey(ctx context.Context, name string) (access.APIKey, error) {
	return s.apiKey(ctx, "name", plain(name))
}

// APIKeyByHash implements access.KeyStore.
func (s *Store) APIKeyByHash(ctx context.Context, hash []byte) (access.APIKey, error) {
	return s.apiKey(ctx, "hash", hash)
}

func (s *Store) apiKey(ctx context.Context, column string, value any) (access.APIKey, error) {
	var k access.APIKey
	err := s.read.QueryRowContext(ctx, "SELECT "+apiKeyColumns+" FROM api_keys WHERE "+column+" = $1", value).Scan(scanAPIKey(&k)...)
	if absent(err) {
		return access.APIKey{}, noAPIKey()
	}
	return k, fail(ctx, "read the API key", err)
}

// CreateAPIKey implements access.KeyStore; a name that is taken is "api_key.exists"
// (Conflict).
func (s *Store) CreateAPIKey(ctx context.Context, k access.APIKey, e event.Event) error {
	return s.change(ctx, "make the API key", func(t *tx) error {
		_, err := t.exec(`INSERT INTO api_keys (`+apiKeyColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0)`,
			k.ID, k.Name, k.Hash, list(k.May), list(k.Mailboxes), list(k.Networks), plain(k.CreatedBy), stamp(k.CreatedAt), stamp(k.ExpiresAt))
		if isDuplicate(err) {
			return conflict("api_key.exists", "An API key called "+k.Name+" exists already.", "Choose another name, or remove the one that exists.")
		}
		if err != nil {
			return err
		}
		return t.addEvents(e)
	})
}

// DeleteAPIKey implements access.KeyStore.
func (s *Store) DeleteAPIKey(ctx context.Context, name string, e event.Event) error {
	return s.change(ctx, "remove the API key", func(t *tx) error {
		n, err := t.exec("DELETE FROM api_keys WHERE name = $1", name)
		if err != nil {
			return err
		}
		if n == 0 {
			return noAPIKey()
		}
		return t.addEvents(e)
	})
}

// ChangeAPIKey implements access.KeyStore.
func (s *Store) ChangeAPIKey(ctx context.Context, was, k access.APIKey, e event.Event) error {
	return s.change(ctx, "change the API key", func(t *tx) error {
		n, err := t.exec(`
			UPDATE api_keys SET may = $2, mailboxes = $3, networks = $4, expires_at = $5
			WHERE id = $1 AND may = $6 AND mailboxes = $7 AND networks = $8 AND expires_at = $9`,
			k.ID, list(k.May), list(k.Mailboxes), list(k.Networks), stamp(k.ExpiresAt),
			list(was.May), list(was.Mailboxes), list(was.Networks), stamp(was.ExpiresAt))
		if err != nil {
			return err
		}
		if n == 0 {
			var there bool
			if err := t.row("SELECT EXISTS (SELECT 1 FROM api_keys WHERE id = $1)", k.ID).Scan(&there); err != nil {
				return err
			}
			if !there {
				return noAPIKey()
			}
			return conflict("api_key.changed", "Somebody else changed the API key "+k.Name+" in the meantime.", "Read it again and repeat the change.")
		}
		return t.addEvents(e)
	})
}

// RenewAPIKey implements access.KeyStore.
func (s *Store) RenewAPIKey(ctx context.Context, k access.APIKey, old []byte, e event.Event) error {
	return s.change(ctx, "renew the API key", func(t *tx) error {
		n, err := t.exec("UPDATE api_keys SET hash = $3, expires_at = $4 WHERE id = $1 AND hash = $2", k.ID, old, k.Hash, stamp(k.ExpiresAt))
		if err != nil {
			return err
		}
		if n == 0 {
			return conflict("api_key.renewed", "The API key "+k.Name+" was renewed or removed by somebody else at the same moment.", "Look who has the new one; renew it again if nobody has.")
		}
		return t.addEvents(e)
	})
}

// UseAPIKey implements access.KeyStore. A database that cannot be written just
// now keeps no program from calling.
func (s *Store) UseAPIKey(ctx context.Context, id string, now time.Time) {
	const update = "UPDATE api_keys SET last_used = $2 WHERE id = $1 AND last_used <= $3"
	if _, err := s.write.ExecContext(ctx, update, id, stamp(now), stamp(now.Add(-time.Minute))); err != nil {
		s.log.WarnContext(ctx, "note the use of an API key", "error", err)
	}
}
