package access

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Visit is where somebody comes from.
type Visit struct {
	From      netip.Addr
	UserAgent string // as the browser names itself
}

// SignedIn is an operator with the session that began.
type SignedIn struct {
	Operator Operator
	Session  Session
	Secret   seal.Secret // of the session, for its cookie
}

// hashPassword makes the hash of a new password when its turn has come.
func (a *Access) hashPassword(ctx context.Context, password string) (string, error) {
	done, err := a.hashTurn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	return hashPassword(a.cost, password)
}

// hashTurn waits until a password may be worked on; the caller calls done after.
func (a *Access) hashTurn(ctx context.Context) (done func(), err error) {
	select {
	case a.hashing <- struct{}{}:
		return func() { <-a.hashing }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// tooMany refuses while a name or an address has to wait.
func (a *Access) tooMany(keys []string) error {
	wait := a.attempts.wait(a.now(), keys...)
	if wait <= 0 {
		return nil
	}
	return &fault.Error{
		ID: "access.too_many_attempts", Kind: fault.Limited, RetryAfter: wait, Who: []fault.Who{fault.Operator},
		Text:   fmt.Sprintf("Too many failed sign-ins; the next one is accepted in %s.", max(wait.Round(time.Second), time.Second)),
		Remedy: "Wait, then try again. Forgotten? Another operator, or “mailgrant operator setup” on the server, makes a link to set a new password.",
	}
}

// guess compares a password with a hash when its turn has come, and counts a
// failure for all of keys. Ten failures are free; then the next has to wait.
func (a *Access) guess(ctx context.Context, keys []string, encoded, password string) (bool, error) {
	done, err := a.hashTurn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	// Looked at in turn, since guesses sent at the same moment failed meanwhile.
	if err := a.tooMany(keys); err != nil {
		return false, err
	}
	if !passwordMatches(encoded, password) {
		a.attempts.failed(a.now(), keys...)
		return false, nil
	}
	return true, nil
}

// SignIn checks an operator's name and password and begins a session. Wrong
// names cost as much time as wrong passwords; after ten failures a name and an
// address wait.
func (a *Access) SignIn(ctx context.Context, name, password string, v Visit) (SignedIn, error) {
	if err := a.PasswordsOn(); err != nil {
		return SignedIn{}, err
	}
	name = strings.ToLower(strings.TrimSpace(name))
	keys := limiterKeys(name, v.From)
	if err := a.tooMany(keys); err != nil {
		return SignedIn{}, err
	}
	o, err := a.need.Operators.Operator(ctx, name)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return SignedIn{}, err
	}
	encoded := o.PasswordHash
	if encoded == "" {
		encoded = decoy(a.cost)
	}
	good, err := a.guess(ctx, keys, encoded, password)
	if err != nil {
		return SignedIn{}, err
	}
	if !good || o.PasswordHash == "" {
		// A name that nobody has is not repeated: people type passwords into that field.
		return SignedIn{}, a.refused(ctx, o, v, "A sign-in was refused: wrong name or password.",
			unauthenticated("access.wrong_password", "The name or the password is wrong.",
				"Try again. Forgotten? Another operator, or “mailgrant operator setup” on the server, makes a link to set a new password."))
	}
	in, err := a.newSession(o, v)
	if err != nil {
		return SignedIn{}, err
	}
	a.attempts.forget(keys...)
	return in, a.need.Sessions.BeginSession(ctx, in.Session, o.PasswordHash, signedIn(in))
}

// refused writes down that a password was wrong and gives why, as the one who
// typed it is told.
func (a *Access) refused(ctx context.Context, o Operator, v Visit, text string, why error) error {
	e := event.New(a.now(), event.SignInRefused, event.Actor{Kind: event.ActorOperator, Name: o.Name}, text)
	if err := a.need.Events.WriteEvent(ctx, e.With("from", v.From.String())); err != nil {
		return err
	}
	return why
}

// ChangePassword replaces the password of the operator of a session, who has to
// know the old one; all other sessions of theirs end. Wrong guesses count as
// failed sign-ins.
func (a *Access) ChangePassword(ctx context.Context, s Session, old, password string, v Visit) error {
	keys := limiterKeys(s.Operator, v.From)
	if err := a.tooMany(keys); err != nil {
		return err
	}
	o, err := a.need.Operators.Operator(ctx, s.Operator)
	if err != nil {
		return err
	}
	good, err := a.guess(ctx, keys, o.PasswordHash, old)
	if err != nil {
		return err
	}
	if !good {
		return a.refused(ctx, o, v, "A change of the password was refused: the present one was typed wrongly.", badPassword("old_password", "access.wrong_old_password",
			"This is not your present password.", "Type it as you do when you sign in. Forgotten? Another operator, or “mailgrant operator setup” on the server, makes a link to set a new password."))
	}
	if password == old {
		return badPassword("password", "access.same_password", "The new password is the present one.", "Choose another.")
	}
	encoded, err := a.hashPassword(ctx, password)
	if err != nil {
		return err
	}
	a.attempts.forget(keys...)
	e := event.New(a.now(), event.OperatorPasswordChanged, event.Actor{Kind: event.ActorOperator, Name: o.Name}, o.Name+" changed their password; their other sessions ended.")
	return a.need.Operators.ChangePassword(ctx, ChangePassword{
		OperatorID: o.ID, Old: o.PasswordHash, New: encoded, Keep: s.ID, Event: e.With("operator", o.Name).With("from", v.From.String()),
	})
}

func badPassword(field, id, text, remedy string) error {
	return &fault.Error{ID: id, Kind: fault.Invalid, Field: field, Text: text, Remedy: remedy, Who: []fault.Who{fault.Operator}}
}

// decoy is the hash of no password; it makes unknown names cost a comparison.
func decoy(c cost) string {
	return encodeHash(c, make([]byte, argonSalt), make([]byte, argonKey))
}
