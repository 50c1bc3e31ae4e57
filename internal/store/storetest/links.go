package storetest

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/store"
)

// hashed is what is stored of a value that only its holder knows.
func hashed(value string) []byte {
	sum := sha256.Sum256([]byte(value))
	return sum[:]
}

// link stores a link that lasts an hour.
func (w *world) link(m mailbox.Mailbox) connect.Link {
	w.t.Helper()
	l := connect.Link{
		ID: event.NewID(), Hash: hashed(event.NewID()), MailboxID: m.ID, State: connect.LinkPending,
		CreatedBy: event.Actor{Kind: event.ActorOperator, Name: "ops"}, CreatedAt: noon(), ExpiresAt: noon().Add(time.Hour),
	}
	must(w.t, w.CreateLink(w.ctx, l, about(event.LinkCreated, m)))
	return l
}

// attempt is an attempt at a link.
func (w *world) attempt(l connect.Link) connect.Attempt {
	id := event.NewID()
	return connect.Attempt{
		ID: id, LinkID: l.ID, MailboxID: l.MailboxID, StateHash: hashed("state " + id), BindingHash: hashed("cookie " + id),
		Verifier: w.seal("verifier", "attempt", id, "verifier"), Nonce: w.seal("nonce", "attempt", id, "nonce"),
		Prompt: "login", Basis: hashed("settings"), CreatedAt: noon(), ExpiresAt: noon().Add(10 * time.Minute),
	}
}

// stateOf reads a link's state.
func (w *world) stateOf(l connect.Link) string {
	w.t.Helper()
	found, err := w.LinkByID(w.ctx, l.ID)
	must(w.t, err)
	return found.State
}

func links(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("a new link cancels the pending ones", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("desk@example.org")
		first, second := w.link(m), w.link(m)
		if a, b := w.stateOf(first), w.stateOf(second); a != connect.LinkCancelled || b != connect.LinkPending {
			t.Errorf("got %s and %s", a, b)
		}
		found, err := w.LinkByHash(w.ctx, second.Hash)
		must(t, err)
		if diff := cmp.Diff(second, found); diff != "" {
			t.Error(diff)
		}
		_, err = w.LinkByHash(w.ctx, hashed("guess"))
		wantFault(t, err, "link.unknown", fault.NotFound)
		wantFault(t, w.CancelLink(w.ctx, first.ID, about(event.LinkCancelled, m)), "link.spent", fault.Conflict)
		must(t, w.CancelLink(w.ctx, second.ID, about(event.LinkCancelled, m)))
	})
	t.Run("an attempt is taken once, however many callbacks come", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("desk@example.org")
		l := w.link(m)
		a := w.attempt(l)
		must(t, w.StartAttempt(w.ctx, a, noon(), about(event.AttemptStarted, m)))
		taken := make([]connect.Attempt, 10)
		errs := race(10, func(i int) error {
			var err error
			taken[i], _, err = w.TakeAttempt(w.ctx, a.StateHash, noon())
			return err
		})
		if won := tally(t, errs, "attempt.used"); won != 1 {
			t.Errorf("%d took it", won)
		}
		for i, err := range errs {
			if err != nil {
				continue
			}
			if diff := cmp.Diff(a, taken[i], bytewise()); diff != "" {
				t.Error(diff)
			}
		}
		_, _, err := w.TakeAttempt(w.ctx, hashed("forged"), noon())
		wantFault(t, err, "attempt.unknown", fault.NotFound)
	})
	t.Run("no more attempts are started than allowed, at once or in turn", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("desk@example.org")
		l := w.link(m)
		errs := race(connect.MaxAttempts+5, func(int) error {
			return w.StartAttempt(w.ctx, w.attempt(l), noon(), about(event.AttemptStarted, m))
		})
		if won := tally(t, errs, "link.spent"); won != connect.MaxAttempts {
			t.Errorf("%d attempts were started", won)
		}
		outcome := connect.Outcome{AttemptID: "a", At: noon(), Verdict: mailbox.VerdictMismatch, Expected: m.Address, SignedIn: "adele@example.org", Text: "Somebody else."}
		must(t, w.RefuseAttempt(w.ctx, connect.Refusal{LinkID: l.ID, Outcome: outcome, Event: about(event.AttemptRefused, m)}))
		found, err := w.LinkByID(w.ctx, l.ID)
		must(t, err)
		if found.State != connect.LinkRefused || found.Attempts != connect.MaxAttempts {
			t.Errorf("got %+v", found)
		}
		if diff := cmp.Diff(&outcome, found.LastAttempt); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("an attempt refused late does not speak for a link that was granted", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("desk@example.org")
		l := w.link(m)
		a := w.adoption(m, "refresh")
		a.Link = connect.SpentLink{LinkID: l.ID, Outcome: connect.Outcome{OK: true, Text: "Welcome."}}
		must(t, w.Adopt(w.ctx, a))
		must(t, w.RefuseAttempt(w.ctx, connect.Refusal{LinkID: l.ID, Outcome: connect.Outcome{Text: "No."}, Event: about(event.AttemptRefused, m)}))
		found, err := w.LinkByID(w.ctx, l.ID)
		must(t, err)
		if found.State != connect.LinkGranted || !found.LastAttempt.OK || w.events(event.AttemptRefused) != 1 {
			t.Errorf("got %+v", found)
		}
	})
	t.Run("a refused attempt leaves the link pending while attempts are left", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("desk@example.org")
		l := w.link(m)
		must(t, w.StartAttempt(w.ctx, w.attempt(l), noon(), about(event.AttemptStarted, m)))
		must(t, w.RefuseAttempt(w.ctx, connect.Refusal{LinkID: l.ID, Outcome: connect.Outcome{Text: "No."}, Event: about(event.AttemptRefused, m)}))
		if state := w.stateOf(l); state != connect.LinkPending {
			t.Errorf("got %s", state)
		}
	})
	t.Run("of two adoptions by one link one wins", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("desk@example.org")
		l := w.link(m)
		errs := race(5, func(int) error {
			a := w.adoption(m, "refresh")
			a.Link = connect.SpentLink{LinkID: l.ID, Outcome: connect.Outcome{OK: true, Text: "Welcome."}}
			return w.Adopt(w.ctx, a)
		})
		if won := tally(t, errs, "link.spent"); won != 1 || w.events(event.GrantCreated) != 1 {
			t.Errorf("%d won, %d events", won, w.events(event.GrantCreated))
		}
		if state := w.stateOf(l); state != connect.LinkGranted {
			t.Errorf("got %s", state)
		}
	})
	t.Run("expired links end with an event, and old attempts are emptied", func(t *testing.T) {
		w := newWorld(t, open)
		m := w.mailbox("desk@example.org")
		l := w.link(m)
		must(t, w.StartAttempt(w.ctx, w.attempt(l), noon(), about(event.AttemptStarted, m)))
		if n, err := w.ExpireLinks(w.ctx, noon()); err != nil || n != 0 {
			t.Fatalf("%d expired before their time (%v)", n, err)
		}
		wantFault(t, w.StartAttempt(w.ctx, w.attempt(l), noon().Add(time.Hour), about(event.AttemptStarted, m)), "link.spent", fault.Conflict)
		if n, err := w.ExpireLinks(w.ctx, noon().Add(25*time.Hour)); err != nil || n != 1 {
			t.Fatalf("%d expired (%v)", n, err)
		}
		if state := w.stateOf(l); state != connect.LinkExpired || w.events(event.LinkExpired) != 1 {
			t.Errorf("got %s, %d events", state, w.events(event.LinkExpired))
		}
		counts, err := w.SealedCount(w.ctx)
		must(t, err)
		if len(counts) != 0 {
			t.Errorf("sealed remains: %v", counts)
		}
	})
}
