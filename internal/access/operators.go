package access

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// SetupLife is how long a set-up link is good.
const SetupLife = time.Hour

var operatorName = regexp.MustCompile(`^[a-z0-9][a-z0-9._@-]{1,63}$`)

// nameOf gives an operator's name as it is kept.
func nameOf(typed string) (string, error) {
	name := strings.ToLower(strings.TrimSpace(typed))
	if !operatorName.MatchString(name) {
		return "", &fault.Error{
			ID: "access.operator_name", Kind: fault.Invalid, Field: "name",
			Text: "This is not a usable operator name.", Who: []fault.Who{fault.Operator},
			Remedy: "Use 2 to 64 small letters, digits, and . _ @ -, beginning with a letter or digit.",
		}
	}
	return name, nil
}

// PasswordsOn refuses where operators may not sign in with a password.
func (a *Access) PasswordsOn() error {
	if a.need.LocalLogin {
		return nil
	}
	return &fault.Error{
		ID: "access.local_login_off", Kind: fault.Forbidden, Who: []fault.Who{fault.Operator},
		Text:   "Signing in with a password is switched off on this server: login.local is false.",
		Remedy: "To allow it, set login.local to true in the server's settings and start the server again.",
	}
}

// Operators lists operators by name.
func (a *Access) Operators(ctx context.Context) ([]Operator, error) {
	return a.need.Operators.Operators(ctx)
}

// Operator gives one operator.
func (a *Access) Operator(ctx context.Context, name string) (Operator, error) {
	return a.need.Operators.Operator(ctx, strings.ToLower(strings.TrimSpace(name)))
}

// NeedsSetup reports whether nobody can sign in yet.
func (a *Access) NeedsSetup(ctx context.Context) (bool, error) {
	ops, err := a.need.Operators.Operators(ctx)
	for _, o := range ops {
		if o.PasswordHash != "" {
			return false, nil
		}
	}
	return err == nil && a.need.LocalLogin, err
}

// Invite adds an operator, who has no password yet, and gives the secret part
// of the one-time link with which they set one.
func (a *Access) Invite(ctx context.Context, by event.Actor, name string) (Operator, seal.Secret, error) {
	if err := a.PasswordsOn(); err != nil {
		return Operator{}, seal.Secret{}, err
	}
	name, err := nameOf(name)
	if err != nil {
		return Operator{}, seal.Secret{}, err
	}
	o := Operator{ID: event.NewID(), Name: name, CreatedBy: by.Name, CreatedAt: a.now()}
	secret, l, err := a.newLink(o)
	if err != nil {
		return Operator{}, seal.Secret{}, err
	}
	o.LinkEnds = l.ExpiresAt
	made := event.New(o.CreatedAt, event.OperatorCreated, by, fmt.Sprintf("The operator %s was added.", name)).With("operator", name)
	if err := a.need.Operators.InviteOperator(ctx, o, l, made, linkMade(l, o.CreatedAt, by)); err != nil {
		return Operator{}, seal.Secret{}, err
	}
	return o, secret, nil
}

// IssueSetupFor makes a new set-up link for an operator; an earlier one stops
// working. The password they have works until the link is used.
func (a *Access) IssueSetupFor(ctx context.Context, by event.Actor, name string) (seal.Secret, time.Time, error) {
	if err := a.PasswordsOn(); err != nil {
		return seal.Secret{}, time.Time{}, err
	}
	o, err := a.Operator(ctx, name)
	if err != nil {
		return seal.Secret{}, time.Time{}, err
	}
	return a.issue(ctx, by, o)
}

// IssueSetup makes a set-up link that is good for any name, and gives its
// secret part; an earlier one stops working.
func (a *Access) IssueSetup(ctx context.Context, by event.Actor) (seal.Secret, time.Time, error) {
	if err := a.PasswordsOn(); err != nil {
		return seal.Secret{}, time.Time{}, err
	}
	return a.issue(ctx, by, Operator{})
}

func (a *Access) issue(ctx context.Context, by event.Actor, o Operator) (seal.Secret, time.Time, error) {
	secret, l, err := a.newLink(o)
	if err != nil {
		return seal.Secret{}, time.Time{}, err
	}
	if err := a.need.Operators.ReplaceSetup(ctx, l, linkMade(l, a.now(), by)); err != nil {
		return seal.Secret{}, time.Time{}, err
	}
	return secret, l.ExpiresAt, nil
}

func (a *Access) newLink(o Operator) (seal.Secret, SetupLink, error) {
	secret, h, err := NewSecret()
	return secret, SetupLink{OperatorID: o.ID, Operator: o.Name, Hash: h, ExpiresAt: a.now().Add(SetupLife)}, err
}

func linkMade(l SetupLink, now time.Time, by event.Actor) event.Event {
	if l.Operator == "" {
		return event.New(now, event.OperatorLinkCreated, by, "A one-time set-up link was made for an operator who chooses their name.")
	}
	return event.New(now, event.OperatorLinkCreated, by, fmt.Sprintf("A one-time set-up link was made for the operator %s.", l.Operator)).With("operator", l.Operator)
}

// CheckSetup finds a set-up link without spending it; "setup.spent" (Conflict)
// for one that is not good, or not any more.
func (a *Access) CheckSetup(ctx context.Context, link string) (SetupLink, error) {
	if err := a.PasswordsOn(); err != nil {
		return SetupLink{}, err
	}
	return a.need.Operators.Setup(ctx, hash(link), a.now())
}

// CompleteSetup spends a set-up link and signs in: it gives the operator that
// the link was made for a password, or, with a link for any name, the one of
// this name, who is added where there is none. Earlier sessions of theirs end.
func (a *Access) CompleteSetup(ctx context.Context, link, name, password string, v Visit) (SignedIn, error) {
	// A hash is dear: only who holds the link has one made.
	l, err := a.CheckSetup(ctx, link)
	if err != nil {
		return SignedIn{}, err
	}
	if l.Operator != "" {
		name = l.Operator
	}
	name, err = nameOf(name)
	if err = fault.Join(err, checkPassword(password)); err != nil {
		return SignedIn{}, err
	}
	encoded, err := a.hashPassword(ctx, password)
	if err != nil {
		return SignedIn{}, err
	}
	now := a.now()
	self := event.Actor{Kind: event.ActorOperator, Name: name}
	e := event.New(now, event.OperatorPasswordChanged, self, name+" set a password through a set-up link.")
	o, err := a.need.Operators.Operator(ctx, name)
	switch {
	case err == nil:
		o.PasswordHash = encoded
	case fault.KindOf(err) == fault.NotFound:
		o = Operator{ID: event.NewID(), Name: name, PasswordHash: encoded, CreatedAt: now}
		e = event.New(now, event.OperatorCreated, self, name+" was added through a set-up link and set a password.")
	default:
		return SignedIn{}, err
	}
	in, err := a.newSession(o, v)
	if err != nil {
		return SignedIn{}, err
	}
	o.SignedInAt, o.LinkEnds = now, time.Time{}
	in.Operator = o
	return in, a.need.Operators.SpendSetup(ctx, SpendSetup{
		Hash: hash(link), Now: now, Operator: o, Session: in.Session, Events: []event.Event{e.With("operator", name), signedIn(in)},
	})
}

// DeleteOperator removes an operator and ends their sessions at once. The last
// one who can sign in stays.
func (a *Access) DeleteOperator(ctx context.Context, by event.Actor, name string) error {
	name = strings.ToLower(strings.TrimSpace(name))
	e := event.New(a.now(), event.OperatorDeleted, by, fmt.Sprintf("The operator %s was removed.", name)).With("operator", name)
	return a.need.Operators.DeleteOperator(ctx, name, e)
}
