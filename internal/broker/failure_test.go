package broker_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailgrant/mailgrant/internal/broker"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// on gives an error for the nth request, before the server sees it.
func on(which int, err error) func(int) error {
	return func(n int) error {
		if n == which {
			return err
		}
		return nil
	}
}

// losing has the server process the nth request and its answer vanish.
func losing(which int) func(int, error, tokens) (tokens, error) {
	return func(n int, err error, t tokens) (tokens, error) {
		if n == which {
			return tokens{}, noAnswer()
		}
		return t, err
	}
}

func TestFailure_PassingOnesNeverTouchTheGrant(t *testing.T) {
	for _, c := range []struct {
		outcome     string
		err         error
		atLeast     time.Duration // no request sooner
		atMost      time.Duration // recovered by then
		intentStays bool
	}{
		{"temporary", &fault.Error{ID: "net.refused", Kind: fault.Temporary, Text: "No."}, 10 * time.Second, 30 * time.Second, false},
		{"limited, for as long as asked", &fault.Error{ID: "oauth.rate_limited", Kind: fault.Limited, Text: "No.", RetryAfter: 7 * time.Minute}, 7 * time.Minute, 10 * time.Minute, false},
		{"refused for a reason of settings", &fault.Error{ID: "oauth.invalid_scope", Kind: fault.Refused, Text: "No."}, 3 * time.Minute, 8 * time.Minute, false},
		{"an expired client secret", &fault.Error{ID: "oauth.invalid_client", Kind: fault.Refused, Text: "No."}, 3 * time.Minute, 8 * time.Minute, false},
		{"no answer", noAnswer(), 10 * time.Second, 30 * time.Second, true},
		{"an error that nobody classified", errors.New("odd"), 10 * time.Second, 30 * time.Second, true},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.server.before = on(1, c.err)
				b := h.broker("a")
				f := refused(t, b, fault.Of(c.err).ID)
				g, err := h.store.Grant(t.Context(), "desk")
				if err != nil || g.State != mailbox.GrantActive || g.Failures != 1 || g.Cause != f.ID || g.Intent.IsZero() == c.intentStays {
					t.Errorf("the grant is %s, failures %d, cause %s, intent %v", g.State, g.Failures, g.Cause, g.Intent)
				}
				h.holds("R0")
				begun, recovered := time.Now(), time.Duration(0)
				for recovered == 0 && time.Since(begun) < c.atMost {
					if _, _, err := b.Lend(t.Context(), "desk", "mail", 0); err == nil {
						recovered = time.Since(begun)
						break
					}
					time.Sleep(time.Second)
				}
				if recovered < c.atLeast || recovered > c.atMost {
					t.Errorf("recovered after %s, want %s to %s", recovered, c.atLeast, c.atMost)
				}
				same(t, "requests", h.server.asked(), "R0", "R0")
				same(t, "events", h.store.kinds(), event.GrantRefreshFailed, event.GrantRefreshed, event.GrantRecovered)
			})
		})
	}
	t.Run("the access token is lent while it is valid", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.life = 10 * time.Minute
			b := h.broker("a")
			lend(t, b)
			h.server.before = func(int) error { return &fault.Error{ID: "net.refused", Kind: fault.Temporary, Text: "No."} }
			time.Sleep(6 * time.Minute)
			for range 230 {
				if got := lend(t, b); got != "A1-mail" {
					t.Fatalf("lent %q", got)
				}
				time.Sleep(time.Second)
			}
			time.Sleep(15 * time.Second)
			if f := refused(t, b, "net.refused"); f.RetryAfter <= 0 {
				t.Errorf("it does not say when it tries again: %+v", f)
			}
		})
	})
	t.Run("repetitions are told ever more rarely", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.before = func(int) error { return &fault.Error{ID: "net.refused", Kind: fault.Temporary, Text: "No."} }
			ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
			defer cancel()
			if err := h.broker("a").Run(ctx); err != nil {
				t.Fatal(err)
			}
			requests, events := len(h.server.asked()), len(h.store.kinds())
			if requests < 45 || requests > 70 || events > 7 {
				t.Errorf("%d requests and %d events in a day of failures", requests, events)
			}
		})
	})
}

func TestFailure_OfOneResourceIsNotTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		b := h.broker("a")
		lend(t, b)
		due, err := h.store.Grant(t.Context(), "desk")
		if err != nil {
			t.Fatal(err)
		}
		h.server.before = on(2, &fault.Error{ID: "oauth.invalid_scope", Kind: fault.Refused, Text: "No."})
		time.Sleep(20 * time.Minute)
		if _, _, err := b.Lend(t.Context(), "desk", "graph", 0); !fault.Has(err, "oauth.invalid_scope") {
			t.Errorf("got %v", err)
		}
		b.Refused(t.Context(), "desk", "mail", seal.NewSecret("A1-mail"))
		if got := lend(t, b); got != "A3-mail" { // at once, whatever graph's back-off
			t.Errorf("lent %q", got)
		}
		time.Sleep(20 * time.Minute)
		mail, err := h.store.Grant(t.Context(), "desk")
		if err != nil || !mail.NextRefreshAt.After(due.NextRefreshAt) {
			t.Errorf("due %s, %v", mail.NextRefreshAt, err)
		}
		if _, _, err := b.Lend(t.Context(), "desk", "graph", 0); err != nil {
			t.Error(err)
		}
		if g, err := h.store.Grant(t.Context(), "desk"); err != nil || !g.NextRefreshAt.Equal(mail.NextRefreshAt) {
			t.Errorf("a token for graph moved the renewal of mail from %s to %s, %v", mail.NextRefreshAt, g.NextRefreshAt, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.server.before = func(n int) error {
			if n == 1 {
				time.Sleep(5 * time.Second)
				return &fault.Error{ID: "oauth.invalid_scope", Kind: fault.Refused, Text: "No."}
			}
			return nil
		}
		b := h.broker("a")
		other := make(chan error, 1)
		go func() {
			_, _, err := b.Lend(t.Context(), "desk", "graph", 0)
			other <- err
		}()
		time.Sleep(time.Second)
		if got := lend(t, b); got != "A2-mail" { // waits for graph's lease, and is not given its failure
			t.Errorf("lent %q", got)
		}
		if err := <-other; !fault.Has(err, "oauth.invalid_scope") {
			t.Errorf("got %v", err)
		}
	})
}

func TestFailure_OfOneResourceIsNotMendedByTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		b := h.broker("a")
		no := &fault.Error{ID: "oauth.invalid_scope", Kind: fault.Refused, Text: "No."}
		h.server.before = on(1, no)
		refused(t, b, no.ID)
		failing, err := h.store.Grant(t.Context(), "desk")
		if err != nil || failing.Failures != 1 || failing.Cause != no.ID {
			t.Fatalf("failures %d, cause %q, %v", failing.Failures, failing.Cause, err)
		}
		stays := func(when string) {
			t.Helper()
			if _, _, err := b.Lend(t.Context(), "desk", "graph", 0); err != nil {
				t.Fatal(err)
			}
			g, err := h.store.Grant(t.Context(), "desk")
			if err != nil || g.Failures != 1 || g.Cause != no.ID || !g.NextRefreshAt.Equal(failing.NextRefreshAt) {
				t.Errorf("%s, a token for graph left failures %d, cause %q and the renewal due at %s, want %s; %v", when, g.Failures, g.Cause, g.NextRefreshAt, failing.NextRefreshAt, err)
			}
		}
		stays("while mail is backed off")
		b.Refused(t.Context(), "desk", "graph", seal.NewSecret("A2-graph"))
		time.Sleep(time.Until(failing.NextRefreshAt) + time.Second)
		stays("once mail is due")
		if slices.Contains(h.store.kinds(), event.GrantRecovered) {
			t.Error("it was told that the renewal works again")
		}
		if got := lend(t, b); got != "A4-mail" {
			t.Errorf("lent %q", got)
		}
		if g, err := h.store.Grant(t.Context(), "desk"); err != nil || g.Failures != 0 || g.Cause != "" || !slices.Contains(h.store.kinds(), event.GrantRecovered) {
			t.Errorf("after a good renewal: failures %d, cause %q, %v", g.Failures, g.Cause, err)
		}
	})
}

func TestFailure_OfOneResourceEndsNoGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		b := h.broker("a")
		lend(t, b)
		dead := &fault.Error{ID: "oauth.invalid_grant", Kind: fault.Dead, Text: "No."}
		h.server.before = func(int) error { return dead }
		asked := len(h.server.asked())
		for range 180 { // half an hour
			_, _, err := b.Lend(t.Context(), "desk", "graph", 0)
			if f := fault.Of(err); f.ID != dead.ID || f.Kind != fault.Refused || !f.Retry || f.RetryAfter <= 0 {
				t.Fatalf("got %+v", f)
			}
			time.Sleep(10 * time.Second)
		}
		if n := len(h.server.asked()) - asked; n > 4 { // ever more rarely: after about 0, 5, 15 and 35 minutes
			t.Errorf("%d requests", n)
		}
		if g, err := h.store.Grant(t.Context(), "desk"); err != nil || g.State != mailbox.GrantActive || g.Failures != 0 || g.Cause != "" {
			t.Errorf("the grant of a mailbox that works is %s, failures %d, cause %q, %v", g.State, g.Failures, g.Cause, err)
		}
		if got := lend(t, b); got != "A1-mail" {
			t.Errorf("lent %q", got)
		}
		// A refresh token that has ended shows at the first resource.
		b.Refused(t.Context(), "desk", "mail", seal.NewSecret("A1-mail"))
		refused(t, b, dead.ID)
		if g, err := h.store.Grant(t.Context(), "desk"); err != nil || g.State != mailbox.GrantDead {
			t.Errorf("the grant is %s, %v", g.State, err)
		}
	})
}

func TestFailure_ARefreshTokenInABadAnswerIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.server.answer = func(n int, err error, tk tokens) (tokens, error) {
			if n == 1 {
				return tokens{RefreshToken: tk.RefreshToken}, noAnswer()
			}
			return tk, err
		}
		b := h.broker("a")
		refused(t, b, "oauth.no_answer")
		refused(t, b, "oauth.no_answer")
		h.holds("R1")
		time.Sleep(time.Minute)
		lend(t, b)
		same(t, "requests", h.server.asked(), "R0", "R1")
		same(t, "events", h.store.kinds(), event.GrantRefreshFailed, event.GrantRefreshed)
	})
}

func TestFailure_AnEndedGrantIsDeadAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		clear(h.server.living)
		b := h.broker("a")
		f := refused(t, b, "oauth.invalid_grant")
		if f.Kind != fault.Dead {
			t.Errorf("kind %v", f.Kind)
		}
		f = refused(t, b, "grant.dead")
		if !strings.Contains(f.Text, "no longer honours") || f.Remedy != "Authorise again." {
			t.Errorf("%q %q", f.Text, f.Remedy)
		}
		same(t, "events", h.store.kinds(), event.GrantDead)
		if e := h.store.last(); e.Cause != "oauth.invalid_grant" || e.Data["code"] != "invalid_grant" || e.Remedy == "" {
			t.Errorf("the event is %+v", e)
		}
		same(t, "requests", h.server.asked(), "R0")
		h.holds("R0") // kept, marked dead
	})
}

func TestFailure_AnExpiredSecretIsTriedByOneForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.directory.version = 1
		for _, id := range []string{"m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"} {
			h.mailbox(id, "contoso", "R-"+id, time.Now().Add(time.Minute))
			h.server.living["R-"+id] = true
		}
		h.server.before = func(int) error {
			return &fault.Error{ID: "oauth.invalid_client", Kind: fault.Refused, Text: "The secret has ended."}
		}
		b := h.broker("a", func(o *broker.Options) { o.PerProvider = 1 })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.Run(ctx) }()
		time.Sleep(time.Hour)
		if n := len(h.server.asked()); n < 5 || n > 20 {
			t.Errorf("%d requests in an hour with ten mailboxes", n)
		}
		for id := range h.store.grants {
			if g, err := h.store.Grant(t.Context(), id); err != nil || g.State != mailbox.GrantActive || g.Cause != "oauth.invalid_client" {
				t.Errorf("%s is %s because of %s, %v", id, g.State, g.Cause, err)
			}
		}
		h.server.mu.Lock()
		h.server.before = nil
		h.server.mu.Unlock()
		h.directory.mu.Lock()
		h.directory.version = 2 // the operator stored a new secret
		h.directory.mu.Unlock()
		time.Sleep(8 * time.Minute)
		for id := range h.store.grants {
			if g, err := h.store.Grant(t.Context(), id); err != nil || g.Failures != 0 {
				t.Errorf("%s has %d failures (%s) after the secret was replaced, %v", id, g.Failures, g.Cause, err)
			}
		}
		cancel()
		<-done
	})
}

func TestNoAnswer(t *testing.T) {
	t.Run("a request that never arrived is repeated and succeeds", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.before = on(1, noAnswer())
			b := h.broker("a")
			refused(t, b, "oauth.no_answer")
			time.Sleep(time.Minute)
			lend(t, b)
			h.holds("R2")
		})
	})
	t.Run("a provider that lets used refresh tokens live forgives a lost answer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.lenient, h.server.answer = true, losing(1)
			b := h.broker("a")
			refused(t, b, "oauth.no_answer")
			time.Sleep(time.Minute)
			lend(t, b)
			same(t, "requests", h.server.asked(), "R0", "R0")
			h.holds("R2")
		})
	})
	t.Run("a strict provider's lost answer is named", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.answer = losing(1)
			b := h.broker("a")
			refused(t, b, "oauth.no_answer")
			time.Sleep(time.Minute)
			f := refused(t, b, "grant.lost_answer")
			if f.Kind != fault.Dead || !strings.Contains(f.Text, "the connection broke before the answer arrived") || !strings.Contains(f.Remedy, "authorization link") {
				t.Errorf("%v %q %q", f.Kind, f.Text, f.Remedy)
			}
			if e := h.store.last(); e.Kind != event.GrantDead || e.Cause != "grant.lost_answer" {
				t.Errorf("the event is %+v", e)
			}
			refused(t, b, "grant.lost_answer") // and ever after, from the store
		})
	})
	t.Run("a passing failure in between does not forget the question", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.answer = losing(1)
			h.server.before = on(2, &fault.Error{ID: "net.refused", Kind: fault.Temporary, Text: "No."})
			b := h.broker("a")
			refused(t, b, "oauth.no_answer")
			time.Sleep(time.Minute)
			refused(t, b, "net.refused")
			time.Sleep(5 * time.Minute)
			refused(t, b, "grant.lost_answer")
		})
	})
	t.Run("a request over its deadline is given up before the lease ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.latency = time.Hour
			begun := time.Now()
			refused(t, h.broker("a"), "oauth.no_answer")
			if took := time.Since(begun); took != 30*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	})
	t.Run("a provider that does not rotate loses nothing, and its refresh token stays", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.noRotate, h.server.answer = true, losing(1)
			b := h.broker("a")
			refused(t, b, "oauth.no_answer")
			time.Sleep(time.Minute)
			lend(t, b)
			h.holds("R0")
		})
	})
}
