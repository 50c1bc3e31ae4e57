package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
)

var _ access.SessionStore = (*Store)(nil)

const selectSessions = `
	SELECT s.id, s.hash, s.operator_id, o.name, s.began_at, s.seen_at, s.expires_at, s.came_from, s.browser
	FROM sessions s JOIN operators o ON o.id = s.operator_id`

func scanSession(v *access.Session) []any {
	return []any{&v.ID, &v.Hash, &v.OperatorID, &v.Operator, at(&v.BeganAt), at(&v.SeenAt), at(&v.ExpiresAt), &v.From, &v.Browser}
}

func noSession() error {
	return unknown("session.unknown", "There is no such session: it has ended.", "See the list of sessions for those there are.")
}

// BeginSession implements access.SessionStore.
func (s *Store) BeginSession(ctx context.Context, v access.Session, passwordHash string, e event.Event) error {
	return s.change(ctx, "begin the session", func(t *tx) error {
		stored, err := t.passwordOf(v.OperatorID)
		if err != nil {
			return err
		}
		if stored != passwordHash {
			return passwordChanged()
		}
		if err := t.addSession(v); err != nil {
			return err
		}
		return t.addEvents(e)
	})
}

// addSession adds a session and drops those whose time has come.
func (t *tx) addSession(v access.Session) error {
	if _, err := t.exec("DELETE FROM sessions WHERE expires_at <= $1", stamp(v.BeganAt)); err != nil {
		return err
	}
	if _, err := t.exec("UPDATE operators SET signed_in_at = $2 WHERE id = $1", v.OperatorID, stamp(v.BeganAt)); err != nil {
		return err
	}
	_, err := t.exec("INSERT INTO sessions (id, hash, operator_id, began_at, seen_at, expires_at, came_from, browser) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		v.ID, v.Hash, v.OperatorID, stamp(v.BeganAt), stamp(v.SeenAt), stamp(v.ExpiresAt), v.From, plain(v.Browser))
	return err
}

// Session implements access.SessionStore.
func (s *Store) Session(ctx context.Context, hash []byte, now time.Time) (access.Session, error) {
	var v access.Session
	err := s.read.QueryRowContext(ctx, selectSessions+" WHERE s.hash = $1 AND s.expires_at > $2", hash, stamp(now)).Scan(scanSession(&v)...)
	if absent(err) {
		return access.Session{}, noSession()
	}
	return v, fail(ctx, "read the session", err)
}

// SessionsOf implements access.SessionStore.
func (s *Store) SessionsOf(ctx context.Context, operatorID string, now time.Time) ([]access.Session, error) {
	var all []access.Session
	const which = " WHERE s.operator_id = $1 AND s.expires_at > $2 ORDER BY s.seen_at DESC, s.id DESC"
	err := s.rows(ctx, selectSessions+which, []any{operatorID, stamp(now)}, func(row scanner) error {
		var v access.Session
		err := row.Scan(scanSession(&v)...)
		all = append(all, v)
		return err
	})
	return all, fail(ctx, "list sessions", err)
}

// EndSession implements access.SessionStore.
func (s *Store) EndSession(ctx context.Context, operatorID, id string, now time.Time, e event.Event) error {
	return s.change(ctx, "end the session", func(t *tx) error {
		n, err := t.exec("DELETE FROM sessions WHERE operator_id = $1 AND id = $2 AND expires_at > $3", operatorID, plain(id), stamp(now))
		if err != nil {
			return err
		}
		if n == 0 {
			return noSession()
		}
		return t.addEvents(e)
	})
}

// EndSessions implements access.SessionStore.
func (s *Store) EndSessions(ctx context.Context, operatorID, except string, now time.Time, e event.Event) (int, error) {
	var n int64
	err := s.change(ctx, "end the sessions", func(t *tx) (err error) {
		n, err = t.exec("DELETE FROM sessions WHERE operator_id = $1 AND id <> $2 AND expires_at > $3", operatorID, except, stamp(now))
		if err != nil || n == 0 {
			return err
		}
		return t.addEvents(e)
	})
	return int(n), err
}

// SeeSession implements access.SessionStore. A database that cannot be written
// just now keeps nobody from looking.
func (s *Store) SeeSession(ctx context.Context, id string, seenAt, expiresAt time.Time) {
	const update = "UPDATE sessions SET seen_at = $2, expires_at = $3 WHERE id = $1 AND seen_at < $2"
	if _, err := s.write.ExecContext(ctx, update, id, stamp(seenAt), stamp(expiresAt)); err != nil {
		s.log.WarnContext(ctx, "note the use of a session", "error", err)
	}
}
