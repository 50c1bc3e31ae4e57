package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
)

var (
	_ access.Store      = (*Store)(nil)
	_ access.SetupStore = (*Store)(nil)
)

const operatorColumns = `id, name, password_hash, created_at`

func scanOperator(o *access.Operator) []any {
	return []any{&o.ID, &o.Name, &o.PasswordHash, at(&o.CreatedAt)}
}

// Operators implements access.Store.
func (s *Store) Operators(ctx context.Context) ([]access.Operator, error) {
	var operators []access.Operator
	err := s.rows(ctx, "SELECT "+operatorColumns+" FROM operators ORDER BY name", nil, func(row scanner) error {
		var o access.Operator
		err := row.Scan(scanOperator(&o)...)
		operators = append(operators, o)
		return err
	})
	return operators, fail(ctx, "list operators", err)
}

// Operator implements access.Store.
func (s *Store) Operator(ctx context.Context, name string) (access.Operator, error) {
	var o access.Operator
	err := s.read.QueryRowContext(ctx, "SELECT "+operatorColumns+" FROM operators WHERE name = $1", name).Scan(scanOperator(&o)...)
	if absent(err) {
		return access.Operator{}, unknown("operator.unknown", "No operator is called "+name+".", "See the list of operators for their names.")
	}
	return o, fail(ctx, "read the operator", err)
}

// SaveOperator implements access.Store; another operator of the same name is
// "operator.exists" (Conflict).
func (s *Store) SaveOperator(ctx context.Context, o access.Operator, e event.Event) error {
	return s.change(ctx, "save the operator", func(t *tx) error {
		if err := t.putOperator(o); err != nil {
			return err
		}
		return t.addEvents(e)
	})
}

func (t *tx) putOperator(o access.Operator) error {
	_, err := t.exec(`
		INSERT INTO operators (`+operatorColumns+`) VALUES ($1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name, password_hash = excluded.password_hash`,
		o.ID, o.Name, o.PasswordHash, stamp(o.CreatedAt))
	if isDuplicate(err) {
		return conflict("operator.exists", "An operator called "+o.Name+" exists already.", "Choose another name.")
	}
	return err
}

const apiKeyColumns = `id, name, hash, may, mailboxes, networks, created_by, created_at, expires_at, last_used`

func scanAPIKey(k *access.APIKey) []any {
	return []any{
		&k.ID, &k.Name, &k.Hash, from(&k.May), from(&k.Mailboxes), from(&k.Networks), &k.CreatedBy, at(&k.CreatedAt), at(&k.ExpiresAt), at(&k.LastUsed),
	}
}

func noAPIKey() error {
	return unknown("api_key.unknown", "There is no such API key.", "See the list of API keys, or make a new one.")
}

// APIKeys implements access.Store.
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

// lastUsedGrain is how exactly the last use of an API key is recorded: a write
// for every request would be too many.
const lastUsedGrain = time.Minute

// APIKeyByHash implements access.Store. It records that the key was used, to
// the minute; that record may fail without harm.
func (s *Store) APIKeyByHash(ctx context.Context, hash []byte) (access.APIKey, error) {
	var k access.APIKey
	err := s.read.QueryRowContext(ctx, "SELECT "+apiKeyColumns+" FROM api_keys WHERE hash = $1", hash).Scan(scanAPIKey(&k)...)
	if absent(err) {
		return access.APIKey{}, noAPIKey()
	}
	if err != nil {
		return access.APIKey{}, fail(ctx, "read the API key", err)
	}
	if now := s.now(); now.Sub(k.LastUsed) >= lastUsedGrain {
		if _, err := s.write.ExecContext(ctx, "UPDATE api_keys SET last_used = $2 WHERE id = $1", k.ID, stamp(now)); err != nil {
			s.log.WarnContext(ctx, "record the use of an API key", "api_key", k.Name, "error", err)
		}
	}
	return k, nil
}

// CreateAPIKey implements access.Store; a name that is taken is "api_key.exists"
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

// DeleteAPIKey implements access.Store.
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

// CreateSetup implements access.SetupStore.
func (s *Store) CreateSetup(ctx context.Context, hash []byte, expiresAt time.Time) error {
	return s.change(ctx, "make the set-up link", func(t *tx) error {
		_, err := t.exec(`
			INSERT INTO setup_links (id, hash, expires_at, spent) VALUES (1, $1, $2, FALSE)
			ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at, spent = FALSE`, hash, stamp(expiresAt))
		return err
	})
}

// CheckSetup implements access.SetupStore.
func (s *Store) CheckSetup(ctx context.Context, hash []byte, now time.Time) (bool, error) {
	var good bool
	err := s.read.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM setup_links WHERE hash = $1 AND expires_at > $2 AND NOT spent)", hash, stamp(now)).Scan(&good)
	return good, fail(ctx, "check the set-up link", err)
}

// SpendSetup implements access.SetupStore.
func (s *Store) SpendSetup(ctx context.Context, hash []byte, now time.Time, o access.Operator, e event.Event) error {
	return s.change(ctx, "spend the set-up link", func(t *tx) error {
		n, err := t.exec("UPDATE setup_links SET spent = TRUE WHERE hash = $1 AND expires_at > $2 AND NOT spent", hash, stamp(now))
		if err != nil {
			return err
		}
		if n == 0 {
			return conflict("setup.spent", "This set-up link has been used or has expired.", "Start Mailgrant's set-up again on the host for a new link.")
		}
		if err := t.putOperator(o); err != nil {
			return err
		}
		return t.addEvents(e)
	})
}
