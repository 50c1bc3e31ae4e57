package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/store"
)

// happened is an event of a kind that is about no mailbox.
func happened(kind event.Kind) event.Event {
	return event.New(noon(), kind, event.System(), "Something happened.")
}

// invited is an operator without a password, whose link has this secret.
func (w *world) invited(name, secret string) access.Operator {
	w.t.Helper()
	o := access.Operator{ID: event.NewID(), Name: name, CreatedBy: "ops", CreatedAt: noon(), LinkEnds: noon().Add(time.Hour)}
	must(w.t, w.InviteOperator(w.ctx, o, link(o, secret), happened(event.OperatorCreated), happened(event.OperatorLinkCreated)))
	return o
}

// link is a set-up link that is good for an hour.
func link(o access.Operator, secret string) access.SetupLink {
	return access.SetupLink{OperatorID: o.ID, Operator: o.Name, Hash: hashed(secret), ExpiresAt: noon().Add(time.Hour)}
}

// session is one that began at noon and is good for an hour.
func session(o access.Operator, secret string) access.Session {
	return access.Session{
		ID: event.NewID(), Hash: hashed(secret), OperatorID: o.ID, Operator: o.Name, BeganAt: noon(), SeenAt: noon(), ExpiresAt: noon().Add(time.Hour),
		From: "192.0.2.7", Browser: "Firefox on Linux",
	}
}

// spend uses a set-up link for an operator, who has this password then.
func (w *world) spend(o access.Operator, secret, password string) error {
	o.PasswordHash = password
	return w.SpendSetup(w.ctx, access.SpendSetup{
		Hash: hashed(secret), Now: noon(), Operator: o, Session: session(o, event.NewID()), Events: []event.Event{happened(event.OperatorPasswordChanged), happened(event.OperatorSignedIn)},
	})
}

// operator is one with a password and one session.
func (w *world) operator(name string) access.Operator {
	w.t.Helper()
	o := w.invited(name, "first link of "+name)
	must(w.t, w.spend(o, "first link of "+name, "$argon2id$"+name))
	o, err := w.Operator(w.ctx, name)
	must(w.t, err)
	return o
}

// sessionsOf counts an operator's sessions.
func (w *world) sessionsOf(o access.Operator) int {
	w.t.Helper()
	all, err := w.SessionsOf(w.ctx, o.ID, noon())
	must(w.t, err)
	return len(all)
}

func operators(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("an invited one sets a password and is signed in", func(t *testing.T) {
		w := newWorld(t, open)
		o := w.invited("anna", "link")
		stored, err := w.Operator(w.ctx, "anna")
		must(t, err)
		all, err := w.Operators(w.ctx)
		must(t, err)
		if diff := cmp.Diff(o, stored) + cmp.Diff([]access.Operator{o}, all); diff != "" {
			t.Error(diff)
		}
		found, err := w.Setup(w.ctx, hashed("link"), noon())
		must(t, err)
		if diff := cmp.Diff(link(o, "link"), found); diff != "" {
			t.Error(diff)
		}
		must(t, w.spend(o, "link", "$argon2id$1"))
		o.PasswordHash, o.SignedInAt, o.LinkEnds = "$argon2id$1", noon(), time.Time{}
		if stored, err = w.Operator(w.ctx, "anna"); err != nil || cmp.Diff(o, stored) != "" || w.sessionsOf(o) != 1 {
			t.Errorf("%v, %d sessions, %s", err, w.sessionsOf(o), cmp.Diff(o, stored))
		}
		wantFault(t, w.spend(o, "link", "$argon2id$2"), "setup.spent", fault.Conflict)
		_, err = w.Operator(w.ctx, "nobody\x00\xff")
		wantFault(t, err, "operator.unknown", fault.NotFound)
	})
	t.Run("a name is taken once, whoever asks at the same moment", func(t *testing.T) {
		w := newWorld(t, open)
		errs := race(5, func(i int) error {
			o := access.Operator{ID: event.NewID(), Name: "anna", CreatedAt: noon()}
			return w.InviteOperator(w.ctx, o, link(o, fmt.Sprint(i)), happened(event.OperatorCreated))
		})
		if won := tally(t, errs, "operator.exists"); won != 1 || w.events(event.OperatorCreated) != 1 {
			t.Errorf("%d added it, with %d events", won, w.events(event.OperatorCreated))
		}
		good := 0
		for i := range 5 {
			if _, err := w.Setup(w.ctx, hashed(fmt.Sprint(i)), noon()); err == nil {
				good++
			}
		}
		if good != 1 {
			t.Errorf("%d links are good", good)
		}
	})
	t.Run("a link is good for its time, and until a newer one is made", func(t *testing.T) {
		w := newWorld(t, open)
		anna, bob := w.invited("anna", "anna 1"), w.invited("bob", "bob 1")
		anyone := access.Operator{}
		for _, secret := range []string{"any 1", "any 2"} {
			must(t, w.ReplaceSetup(w.ctx, link(anyone, secret), happened(event.OperatorLinkCreated)))
		}
		must(t, w.ReplaceSetup(w.ctx, link(anna, "anna 2"), happened(event.OperatorLinkCreated)))
		for _, c := range []struct {
			secret string
			after  time.Duration
			of     string
			good   bool
		}{
			{"anna 1", 0, "", false},
			{"anna 2", 0, "anna", true},
			{"bob 1", 59 * time.Minute, "bob", true},
			{"bob 1", time.Hour, "", false},
			{"any 1", 0, "", false},
			{"any 2", 0, "", true},
			{"any 2", time.Hour, "", false},
			{"guess", 0, "", false},
		} {
			l, err := w.Setup(w.ctx, hashed(c.secret), noon().Add(c.after))
			if c.good && (err != nil || l.Operator != c.of) {
				t.Errorf("%s after %v: %+v, %v", c.secret, c.after, l, err)
			}
			if !c.good {
				wantFault(t, err, "setup.spent", fault.Conflict)
			}
		}
		// Nobody sets another's password with a link of their own.
		wantFault(t, w.spend(anna, "bob 1", "$argon2id$"), "setup.spent", fault.Conflict)
		must(t, w.spend(bob, "any 2", "$argon2id$"))
		wantFault(t, w.spend(bob, "bob 1", "$argon2id$"), "setup.spent", fault.Conflict) // the older one is worth nothing now
		gone := access.Operator{ID: event.NewID(), Name: "gone"}
		wantFault(t, w.ReplaceSetup(w.ctx, link(gone, "gone"), happened(event.OperatorLinkCreated)), "operator.unknown", fault.NotFound)
	})
	t.Run("a link is spent once, whoever comes at the same moment", func(t *testing.T) {
		for _, of := range []string{"anna", ""} {
			w := newWorld(t, open)
			o := w.invited("anna", "anna")
			if of == "" {
				must(t, w.ReplaceSetup(w.ctx, link(access.Operator{}, "any"), happened(event.OperatorLinkCreated)))
			}
			errs := race(5, func(i int) error {
				if of == "" {
					return w.spend(access.Operator{ID: event.NewID(), Name: fmt.Sprint("new", i), CreatedAt: noon()}, "any", "$argon2id$")
				}
				return w.spend(o, "anna", fmt.Sprint("$argon2id$", i))
			})
			if won := tally(t, errs, "setup.spent"); won != 1 || w.events(event.OperatorSignedIn) != 1 {
				t.Errorf("%d spent it, with %d events", won, w.events(event.OperatorSignedIn))
			}
		}
	})
	t.Run("a changed password ends the other sessions and the link", func(t *testing.T) {
		w := newWorld(t, open)
		o, other := w.operator("anna"), w.operator("bob")
		keep := session(o, "keep")
		must(t, w.BeginSession(w.ctx, keep, o.PasswordHash, happened(event.OperatorSignedIn)))
		must(t, w.ReplaceSetup(w.ctx, link(o, "link"), happened(event.OperatorLinkCreated)))
		errs := race(4, func(i int) error {
			return w.ChangePassword(w.ctx, access.ChangePassword{OperatorID: o.ID, Old: o.PasswordHash, New: fmt.Sprint("$argon2id$new", i), Keep: keep.ID, Event: happened(event.OperatorPasswordChanged)})
		})
		if won := tally(t, errs, "operator.password_changed"); won != 1 {
			t.Errorf("%d changed it", won)
		}
		left, err := w.SessionsOf(w.ctx, o.ID, noon())
		must(t, err)
		if diff := cmp.Diff([]access.Session{keep}, left); diff != "" || w.sessionsOf(other) != 1 {
			t.Errorf("%d sessions of another; %s", w.sessionsOf(other), diff)
		}
		_, err = w.Setup(w.ctx, hashed("link"), noon())
		wantFault(t, err, "setup.spent", fault.Conflict)
	})
	t.Run("no session begins with a password that is being changed", func(t *testing.T) {
		w := newWorld(t, open)
		o := w.operator("anna")
		errs := race(6, func(i int) error {
			if i == 0 {
				return w.ChangePassword(w.ctx, access.ChangePassword{OperatorID: o.ID, Old: o.PasswordHash, New: "$argon2id$new", Event: happened(event.OperatorPasswordChanged)})
			}
			return w.BeginSession(w.ctx, session(o, fmt.Sprint(i)), o.PasswordHash, happened(event.OperatorSignedIn))
		})
		must(t, errs[0])
		tally(t, errs, "operator.password_changed")
		if n := w.sessionsOf(o); n != 0 {
			t.Errorf("%d sessions of the old password live on", n)
		}
	})
	t.Run("a removed one is gone with sessions and link; the last who can sign in stays", func(t *testing.T) {
		w := newWorld(t, open)
		anna := w.operator("anna")
		w.invited("bob", "bob")
		wantFault(t, w.DeleteOperator(w.ctx, "anna", happened(event.OperatorDeleted)), "operator.last", fault.Conflict)
		wantFault(t, w.DeleteOperator(w.ctx, "nobody", happened(event.OperatorDeleted)), "operator.unknown", fault.NotFound)
		must(t, w.DeleteOperator(w.ctx, "bob", happened(event.OperatorDeleted)))
		_, err := w.Setup(w.ctx, hashed("bob"), noon())
		wantFault(t, err, "setup.spent", fault.Conflict)
		w.operator("carla")
		must(t, w.BeginSession(w.ctx, session(anna, "a"), anna.PasswordHash, happened(event.OperatorSignedIn)))
		must(t, w.DeleteOperator(w.ctx, "anna", happened(event.OperatorDeleted)))
		_, err = w.Session(w.ctx, hashed("a"), noon())
		wantFault(t, err, "session.unknown", fault.NotFound)
		wantFault(t, w.BeginSession(w.ctx, session(anna, "b"), anna.PasswordHash, happened(event.OperatorSignedIn)), "operator.unknown", fault.NotFound)
		if n := w.events(event.OperatorDeleted); n != 2 {
			t.Errorf("%d events", n)
		}
	})
	t.Run("no two remove each other", func(t *testing.T) {
		w := newWorld(t, open)
		names := []string{"anna", "bob", "carla"}
		for _, n := range names {
			w.operator(n)
		}
		errs := race(3, func(i int) error { return w.DeleteOperator(w.ctx, names[i], happened(event.OperatorDeleted)) })
		left, err := w.Operators(w.ctx)
		must(t, err)
		if won := tally(t, errs, "operator.last"); won != 2 || len(left) != 1 {
			t.Errorf("%d were removed, %d are left", won, len(left))
		}
	})
}

func sessions(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("a session is found by its secret until its time has come", func(t *testing.T) {
		w := newWorld(t, open)
		o := w.operator("anna")
		s := session(o, "secret")
		must(t, w.BeginSession(w.ctx, s, o.PasswordHash, happened(event.OperatorSignedIn)))
		found, err := w.Session(w.ctx, hashed("secret"), noon().Add(time.Hour-time.Microsecond))
		must(t, err)
		if diff := cmp.Diff(s, found); diff != "" {
			t.Error(diff)
		}
		for secret, after := range map[string]time.Duration{"secret": time.Hour, "guess": 0} {
			_, err := w.Session(w.ctx, hashed(secret), noon().Add(after))
			wantFault(t, err, "session.unknown", fault.NotFound)
		}
		w.SeeSession(w.ctx, s.ID, noon().Add(30*time.Minute), noon().Add(2*time.Hour))
		w.SeeSession(w.ctx, s.ID, noon().Add(20*time.Minute), noon().Add(time.Hour)) // a slower request, which came before
		s.SeenAt, s.ExpiresAt = noon().Add(30*time.Minute), noon().Add(2*time.Hour)
		if found, err = w.Session(w.ctx, hashed("secret"), noon().Add(time.Hour)); err != nil || cmp.Diff(s, found) != "" {
			t.Errorf("%v, %s", err, cmp.Diff(s, found))
		}
		wantFault(t, w.EndSession(w.ctx, o.ID, s.ID, noon().Add(2*time.Hour), happened(event.SessionEnded)), "session.unknown", fault.NotFound)
	})
	t.Run("sessions are ended one by one, and all but one", func(t *testing.T) {
		w := newWorld(t, open)
		o, other := w.operator("anna"), w.operator("bob")
		all := make([]access.Session, 4)
		for i := range all {
			all[i] = session(o, fmt.Sprint(i))
			all[i].SeenAt = noon().Add(time.Duration(i) * time.Minute)
			must(t, w.BeginSession(w.ctx, all[i], o.PasswordHash, happened(event.OperatorSignedIn)))
		}
		wantFault(t, w.EndSession(w.ctx, other.ID, all[0].ID, noon(), happened(event.SessionEnded)), "session.unknown", fault.NotFound)
		errs := race(3, func(int) error { return w.EndSession(w.ctx, o.ID, all[0].ID, noon(), happened(event.SessionEnded)) })
		if won := tally(t, errs, "session.unknown"); won != 1 {
			t.Errorf("%d ended it", won)
		}
		listed, err := w.SessionsOf(w.ctx, o.ID, noon())
		must(t, err)
		if len(listed) != 4 || listed[0].ID != all[3].ID || listed[1].ID != all[2].ID {
			t.Errorf("not the one seen last first: %+v", listed)
		}
		if n, err := w.EndSessions(w.ctx, o.ID, all[2].ID, noon(), happened(event.SessionEnded)); err != nil || n != 3 {
			t.Errorf("%d ended, %v", n, err)
		}
		if n, err := w.EndSessions(w.ctx, o.ID, all[2].ID, noon(), happened(event.SessionEnded)); err != nil || n != 0 {
			t.Errorf("%d ended once more, %v", n, err)
		}
		if _, err := w.Session(w.ctx, all[2].Hash, noon()); err != nil || w.sessionsOf(other) != 1 || w.events(event.SessionEnded) != 2 {
			t.Errorf("%v, %d sessions of another, %d events", err, w.sessionsOf(other), w.events(event.SessionEnded))
		}
	})
}
