package access

import (
	"context"
	"fmt"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// SessionLife bounds a sign-in, IdleLife the time between two requests in it.
const (
	SessionLife = 12 * time.Hour
	IdleLife    = 2 * time.Hour
)

// grain is how exactly the last use of a session or an API key is kept: a write
// for every request would be too many.
const grain = time.Minute

// newSession makes the session of an operator, with a fresh secret.
func (a *Access) newSession(o Operator, v Visit) (SignedIn, error) {
	secret, h, err := NewSecret()
	if err != nil {
		return SignedIn{}, err
	}
	now := a.now()
	from := ""
	if v.From.IsValid() {
		from = v.From.String()
	}
	return SignedIn{Operator: o, Secret: secret, Session: Session{
		ID: event.NewID(), Hash: h, OperatorID: o.ID, Operator: o.Name, BeganAt: now, SeenAt: now, ExpiresAt: now.Add(IdleLife),
		From: from, Browser: Browser(v.UserAgent),
	}}, nil
}

func signedIn(in SignedIn) event.Event {
	e := event.New(in.Session.BeganAt, event.OperatorSignedIn, event.Actor{Kind: event.ActorOperator, Name: in.Operator.Name}, in.Operator.Name+" signed in.")
	return e.With("operator", in.Operator.Name).With("from", in.Session.From).With("browser", in.Session.Browser)
}

// Session finds the session behind a secret and notes that it was used;
// "session.unknown" (NotFound) where it has ended, or never was.
func (a *Access) Session(ctx context.Context, secret string) (Session, error) {
	if !a.need.LocalLogin || secret == "" {
		return Session{}, noSession()
	}
	now := a.now()
	s, err := a.need.Sessions.Session(ctx, hash(secret), now)
	if err != nil {
		return Session{}, err
	}
	if now.Sub(s.SeenAt) >= grain {
		s.SeenAt, s.ExpiresAt = now, earlier(s.BeganAt.Add(SessionLife), now.Add(IdleLife))
		a.need.Sessions.SeeSession(ctx, s.ID, s.SeenAt, s.ExpiresAt)
	}
	return s, nil
}

func noSession() error {
	return &fault.Error{
		ID: "session.unknown", Kind: fault.NotFound, Text: "There is no such session: it has ended.", Who: []fault.Who{fault.Operator}, Remedy: "Sign in again.",
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// SessionsOf lists the sessions of an operator, the one used last first.
func (a *Access) SessionsOf(ctx context.Context, name string) ([]Session, error) {
	o, err := a.Operator(ctx, name)
	if err != nil {
		return nil, err
	}
	return a.need.Sessions.SessionsOf(ctx, o.ID, a.now())
}

// EndSession ends a session of an operator; the next request in it has to sign in.
func (a *Access) EndSession(ctx context.Context, by event.Actor, name, id string) error {
	o, err := a.Operator(ctx, name)
	if err != nil {
		return err
	}
	text := fmt.Sprintf("A session of %s was ended.", o.Name)
	return a.need.Sessions.EndSession(ctx, o.ID, id, a.now(), ended(a.now(), by, o, text))
}

// EndSessions ends all sessions of an operator but one; with except empty, all.
func (a *Access) EndSessions(ctx context.Context, by event.Actor, name, except string) (int, error) {
	o, err := a.Operator(ctx, name)
	if err != nil {
		return 0, err
	}
	text := fmt.Sprintf("All sessions of %s were ended.", o.Name)
	if except != "" {
		text = fmt.Sprintf("All other sessions of %s were ended.", o.Name)
	}
	return a.need.Sessions.EndSessions(ctx, o.ID, except, a.now(), ended(a.now(), by, o, text))
}

// SignOut ends the session behind a secret, if it is one.
func (a *Access) SignOut(ctx context.Context, secret string) error {
	s, err := a.Session(ctx, secret)
	if err == nil {
		by := OperatorCaller(s.Operator).Actor
		err = a.need.Sessions.EndSession(ctx, s.OperatorID, s.ID, a.now(), ended(a.now(), by, Operator{Name: s.Operator}, s.Operator+" signed out."))
	}
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}

func ended(now time.Time, by event.Actor, o Operator, text string) event.Event {
	return event.New(now, event.SessionEnded, by, text).With("operator", o.Name)
}
