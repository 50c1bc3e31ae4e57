package store

import (
	"context"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
)

var _ access.OperatorStore = (*Store)(nil)

const selectOperators = `
	SELECT o.id, o.name, o.password_hash, o.created_by, o.created_at, o.signed_in_at, COALESCE(l.expires_at, 0)
	FROM operators o LEFT JOIN setup_links l ON l.operator_id = o.id`

func scanOperator(o *access.Operator) []any {
	return []any{&o.ID, &o.Name, &o.PasswordHash, &o.CreatedBy, at(&o.CreatedAt), at(&o.SignedInAt), at(&o.LinkEnds)}
}

func noOperator(name string) error {
	return unknown("operator.unknown", "No operator is called "+plain(name)+".", "See the list of operators for their names.")
}

// Operators implements access.OperatorStore.
func (s *Store) Operators(ctx context.Context) ([]access.Operator, error) {
	var operators []access.Operator
	err := s.rows(ctx, selectOperators+" ORDER BY o.name", nil, func(row scanner) error {
		var o access.Operator
		err := row.Scan(scanOperator(&o)...)
		operators = append(operators, o)
		return err
	})
	return operators, fail(ctx, "list operators", err)
}

// Operator implements access.OperatorStore.
func (s *Store) Operator(ctx context.Context, name string) (access.Operator, error) {
	var o access.Operator
	err := s.read.QueryRowContext(ctx, selectOperators+" WHERE o.name = $1", plain(name)).Scan(scanOperator(&o)...)
	if absent(err) {
		return access.Operator{}, noOperator(name)
	}
	return o, fail(ctx, "read the operator", err)
}

// InviteOperator implements access.OperatorStore.
func (s *Store) InviteOperator(ctx context.Context, o access.Operator, l access.SetupLink, es ...event.Event) error {
	return s.change(ctx, "add the operator", func(t *tx) error {
		if err := t.addOperator(o); err != nil {
			return err
		}
		if err := t.putSetup(l); err != nil {
			return err
		}
		return t.addEvents(es...)
	})
}

func (t *tx) addOperator(o access.Operator) error {
	_, err := t.exec("INSERT INTO operators (id, name, password_hash, created_by, created_at, signed_in_at) VALUES ($1, $2, $3, $4, $5, 0)",
		o.ID, o.Name, o.PasswordHash, plain(o.CreatedBy), stamp(o.CreatedAt))
	if isDuplicate(err) {
		return conflict("operator.exists", "An operator called "+o.Name+" exists already.", "Choose another name, or make a new set-up link for that one.")
	}
	return err
}

func (t *tx) putSetup(l access.SetupLink) error {
	_, err := t.exec(`
		INSERT INTO setup_links (operator_id, hash, expires_at) VALUES ($1, $2, $3)
		ON CONFLICT (operator_id) DO UPDATE SET hash = excluded.hash, expires_at = excluded.expires_at`, l.OperatorID, l.Hash, stamp(l.ExpiresAt))
	return err
}

// ReplaceSetup implements access.OperatorStore.
func (s *Store) ReplaceSetup(ctx context.Context, l access.SetupLink, e event.Event) error {
	return s.change(ctx, "make the set-up link", func(t *tx) error {
		if l.OperatorID != "" {
			if _, err := t.passwordOf(l.OperatorID); err != nil {
				return err
			}
		}
		if err := t.putSetup(l); err != nil {
			return err
		}
		return t.addEvents(e)
	})
}

// passwordOf gives the hash of an operator's password and keeps their row from
// being changed or removed by others until the transaction ends.
func (t *tx) passwordOf(operatorID string) (string, error) {
	var hash string
	err := t.row("SELECT password_hash FROM operators WHERE id = $1"+t.s.dialect.forUpdate, operatorID).Scan(&hash)
	if absent(err) {
		return "", unknown("operator.unknown", "This operator has been removed.", "See the list of operators for those there are.")
	}
	return hash, err
}

// Setup implements access.OperatorStore.
func (s *Store) Setup(ctx context.Context, hash []byte, now time.Time) (access.SetupLink, error) {
	l := access.SetupLink{Hash: hash}
	err := s.read.QueryRowContext(ctx, `
		SELECT l.operator_id, COALESCE(o.name, ''), l.expires_at FROM setup_links l LEFT JOIN operators o ON o.id = l.operator_id
		WHERE l.hash = $1 AND l.expires_at > $2`, hash, stamp(now)).Scan(&l.OperatorID, &l.Operator, at(&l.ExpiresAt))
	if absent(err) {
		return access.SetupLink{}, setupSpent()
	}
	return l, fail(ctx, "check the set-up link", err)
}

func setupSpent() error {
	return conflict("setup.spent", "This set-up link has been used or replaced, or has expired.",
		"Ask another operator for a new one, or make it on the host with “mailgrant operator setup”.")
}

// SpendSetup implements access.OperatorStore.
func (s *Store) SpendSetup(ctx context.Context, u access.SpendSetup) error {
	o := u.Operator
	return s.change(ctx, "spend the set-up link", func(t *tx) error {
		n, err := t.exec("DELETE FROM setup_links WHERE hash = $1 AND expires_at > $2 AND operator_id IN ('', $3)", u.Hash, stamp(u.Now), o.ID)
		if err != nil {
			return err
		}
		if n == 0 {
			return setupSpent()
		}
		if n, err = t.exec("UPDATE operators SET password_hash = $2 WHERE id = $1", o.ID, o.PasswordHash); err != nil {
			return err
		}
		if n == 0 {
			if err := t.addOperator(o); err != nil {
				return err
			}
		}
		// A link that was made for them earlier must not set the password once more.
		if _, err := t.exec("DELETE FROM setup_links WHERE operator_id = $1", o.ID); err != nil {
			return err
		}
		if _, err := t.exec("DELETE FROM sessions WHERE operator_id = $1", o.ID); err != nil {
			return err
		}
		if err := t.addSession(u.Session); err != nil {
			return err
		}
		return t.addEvents(u.Events...)
	})
}

// ChangePassword implements access.OperatorStore.
func (s *Store) ChangePassword(ctx context.Context, c access.ChangePassword) error {
	return s.change(ctx, "change the password", func(t *tx) error {
		n, err := t.exec("UPDATE operators SET password_hash = $3 WHERE id = $1 AND password_hash = $2", c.OperatorID, c.Old, c.New)
		if err != nil {
			return err
		}
		if n == 0 {
			return passwordChanged()
		}
		if _, err := t.exec("DELETE FROM setup_links WHERE operator_id = $1", c.OperatorID); err != nil {
			return err
		}
		if _, err := t.exec("DELETE FROM sessions WHERE operator_id = $1 AND id <> $2", c.OperatorID, c.Keep); err != nil {
			return err
		}
		return t.addEvents(c.Event)
	})
}

func passwordChanged() error {
	return conflict("operator.password_changed", "The password was changed at the same moment.", "Sign in with the new one.")
}

// DeleteOperator implements access.OperatorStore.
func (s *Store) DeleteOperator(ctx context.Context, name string, e event.Event) error {
	return s.change(ctx, "remove the operator", func(t *tx) error {
		var id string
		var able, others bool // who can sign in: this one, any other
		// All of them are kept as they are, so that no two remove each other.
		err := t.rows("SELECT id, name, password_hash FROM operators ORDER BY id"+t.s.dialect.forUpdate, nil, func(row scanner) error {
			var oneID, oneName, hash string
			err := row.Scan(&oneID, &oneName, &hash)
			switch {
			case oneName == name:
				id, able = oneID, hash != ""
			case hash != "":
				others = true
			}
			return err
		})
		if err != nil {
			return err
		}
		if id == "" {
			return noOperator(name)
		}
		if able && !others {
			return conflict("operator.last", name+" is the last operator who can sign in.", "Invite another one, and remove this one when they have set a password.")
		}
		if _, err := t.exec("DELETE FROM setup_links WHERE operator_id = $1", id); err != nil {
			return err
		}
		if _, err := t.exec("DELETE FROM operators WHERE id = $1", id); err != nil {
			return err
		}
		return t.addEvents(e)
	})
}
