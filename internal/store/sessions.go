package store

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
)

var _ access.SessionStore = (*Store)(nil)

// sessionKey is what is kept of a session's secret.
func sessionKey(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// DeleteCtx implements access.SessionStore.
func (s *Store) DeleteCtx(ctx context.Context, secret string) error {
	_, err := s.write.ExecContext(ctx, "DELETE FROM sessions WHERE hash = $1", sessionKey(secret))
	return fail(ctx, "end the session", err)
}

// FindCtx implements access.SessionStore; a session that has ended is not found.
func (s *Store) FindCtx(ctx context.Context, secret string) ([]byte, bool, error) {
	var content []byte
	err := s.read.QueryRowContext(ctx, "SELECT content FROM sessions WHERE hash = $1 AND expires_at > $2", sessionKey(secret), stamp(s.now())).Scan(&content)
	if absent(err) {
		return nil, false, nil
	}
	return content, err == nil, fail(ctx, "read the session", err)
}

// CommitCtx implements access.SessionStore; sessions that have ended go.
func (s *Store) CommitCtx(ctx context.Context, secret string, b []byte, expiry time.Time) error {
	return s.change(ctx, "keep the session", func(t *tx) error {
		if _, err := t.exec("DELETE FROM sessions WHERE expires_at <= $1", stamp(s.now())); err != nil {
			return err
		}
		_, err := t.exec(`
			INSERT INTO sessions (hash, content, expires_at) VALUES ($1, $2, $3)
			ON CONFLICT (hash) DO UPDATE SET content = excluded.content, expires_at = excluded.expires_at`, sessionKey(secret), b, stamp(expiry))
		return err
	})
}

// withoutContext bounds the calls that come without a context.
const withoutContext = 30 * time.Second

// Delete implements access.SessionStore.
func (s *Store) Delete(secret string) error {
	ctx, cancel := context.WithTimeout(context.Background(), withoutContext)
	defer cancel()
	return s.DeleteCtx(ctx, secret)
}

// Find implements access.SessionStore.
func (s *Store) Find(secret string) ([]byte, bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), withoutContext)
	defer cancel()
	return s.FindCtx(ctx, secret)
}

// Commit implements access.SessionStore.
func (s *Store) Commit(secret string, b []byte, expiry time.Time) error {
	ctx, cancel := context.WithTimeout(context.Background(), withoutContext)
	defer cancel()
	return s.CommitCtx(ctx, secret, b, expiry)
}
