package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailgrant/mailgrant/internal/broker"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/seal"
)

func TestNew_RefusesALeaseThatEndsBeforeTheRequest(t *testing.T) {
	keys, err := seal.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	ok := broker.Options{Store: newMemory(), Directory: &directory{}, Keys: keys, Owner: "a"}
	if _, err := broker.New(ok); err != nil {
		t.Errorf("defaults are refused: %v", err)
	}
	for _, c := range []struct {
		outcome string
		change  func(*broker.Options)
	}{
		{"a lease as long as the request is refused", func(o *broker.Options) { o.RequestDeadline, o.Lease = time.Minute, time.Minute }},
		{"a lease without owner is refused", func(o *broker.Options) { o.Owner = "" }},
		{"no store is refused", func(o *broker.Options) { o.Store = nil }},
		{"a negative duration is refused", func(o *broker.Options) { o.Recheck = -1 }},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			o := ok
			c.change(&o)
			if _, err := broker.New(o); !fault.Has(err, "broker.setting") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestLend_OneRequestForAll(t *testing.T) {
	t.Run("500 callers of one process cause one request", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.latency = 2 * time.Second
			callAtOnce(t, 500, h.broker("a"))
			same(t, "requests", h.server.asked(), "R0")
		})
	})
	t.Run("500 callers of two processes cause one request", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.latency = 2 * time.Second
			callAtOnce(t, 250, h.broker("a"), h.broker("b"))
			same(t, "requests", h.server.asked(), "R0")
		})
	})
	t.Run("500 callers of two processes share one failure", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.latency = 2 * time.Second
			h.server.before = func(int) error {
				time.Sleep(time.Second)
				return &fault.Error{ID: "oauth.temporarily_unavailable", Kind: fault.Temporary, Text: "busy"}
			}
			a, b := h.broker("a"), h.broker("b")
			var wg sync.WaitGroup
			for i := range 500 {
				wg.Go(func() {
					_, _, err := []*broker.Broker{a, b}[i%2].Lend(t.Context(), "desk", "mail", 0)
					if !fault.Has(err, "oauth.temporarily_unavailable") {
						t.Errorf("got %v", err)
					}
				})
			}
			wg.Wait()
			same(t, "requests", h.server.asked(), "R0")
		})
	})
	t.Run("a caller who leaves does not end the request of the others", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.latency = 10 * time.Second
			b := h.broker("a")
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if _, _, err := b.Lend(ctx, "desk", "mail", 0); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the caller who left got %v", err)
			}
			if got := lend(t, b); got != "A1-mail" {
				t.Errorf("lent %q", got)
			}
			same(t, "requests", h.server.asked(), "R0")
			h.holds("R1")
		})
	})
}

func callAtOnce(t *testing.T, each int, brokers ...*broker.Broker) {
	t.Helper()
	var wg sync.WaitGroup
	for range each {
		for _, b := range brokers {
			wg.Go(func() {
				token, _, err := b.Lend(t.Context(), "desk", "mail", time.Minute)
				if err != nil || token.Reveal() != "A1-mail" {
					t.Errorf("lent %q, %v", token.Reveal(), err)
				}
			})
		}
	}
	wg.Wait()
}

func TestLend_FromMemory(t *testing.T) {
	t.Run("within a second nothing is read, after it once for all", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			b := h.broker("a")
			lend(t, b)
			before := h.store.reads
			for range 1000 {
				lend(t, b)
			}
			if h.store.reads != before {
				t.Errorf("%d reads within the second", h.store.reads-before)
			}
			time.Sleep(1500 * time.Millisecond)
			lend(t, b) // the token after an own refresh is read once
			time.Sleep(1500 * time.Millisecond)
			before = h.store.reads
			for range 1000 {
				lend(t, b)
			}
			if h.store.reads-before != 1 {
				t.Errorf("%d reads in the next second, want 1", h.store.reads-before)
			}
		})
	})
	t.Run("what another process changed shows within a second, and at once when told", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			b := h.broker("a")
			lend(t, b)
			h.store.edit("desk", func(g *mailbox.Grant) { g.State = mailbox.GrantRevoked })
			lend(t, b)
			b.Invalidate("desk")
			refused(t, b, "grant.revoked")
			h.store.edit("desk", func(g *mailbox.Grant) { g.State = mailbox.GrantActive })
			lend(t, b)
			h.store.edit("desk", func(g *mailbox.Grant) { g.State = mailbox.GrantSuspended })
			time.Sleep(1100 * time.Millisecond)
			refused(t, b, "grant.suspended")
		})
	})
	t.Run("while the store is gone nothing is lent past the second, and then again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			b := h.broker("a")
			lend(t, b)
			h.store.fail(&fault.Error{ID: "store.unavailable", Kind: fault.Temporary, Text: "gone"})
			lend(t, b)
			time.Sleep(1100 * time.Millisecond)
			refused(t, b, "store.unavailable")
			h.store.fail(nil)
			lend(t, b)
		})
	})
}

func TestLend_Refuses(t *testing.T) {
	t.Run("a resource that the mailbox does not declare, naming those it does", func(t *testing.T) {
		h := newHouse(t)
		_, _, err := h.broker("a").Lend(t.Context(), "desk", "calendar", 0)
		if !fault.Has(err, "grant.undeclared_resource") || !strings.Contains(err.Error(), "mail, graph") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a resource that the mailbox no longer declares, although its token is stored", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			b := h.broker("a")
			if _, _, err := b.Lend(t.Context(), "desk", "graph", 0); err != nil {
				t.Fatal(err)
			}
			h.server.resources = h.server.resources[:1]
			m := h.directory.boxes["desk"]
			m.Version++
			h.directory.boxes["desk"] = m
			time.Sleep(2 * time.Second)
			if _, _, err := b.Lend(t.Context(), "desk", "graph", 0); !fault.Has(err, "grant.undeclared_resource") {
				t.Errorf("got %v", err)
			}
		})
	})
	for state, id := range map[mailbox.GrantState]string{
		mailbox.GrantDead: "grant.dead", mailbox.GrantRevoked: "grant.revoked", mailbox.GrantSuspended: "grant.suspended",
	} {
		t.Run(fmt.Sprintf("a grant that is %s, with the way out", state), func(t *testing.T) {
			h := newHouse(t)
			h.store.edit("desk", func(g *mailbox.Grant) { g.State = state })
			f := refused(t, h.broker("a"), id)
			if f.Kind != fault.Dead || !strings.Contains(f.Remedy, "authorization link") {
				t.Errorf("%v %q", f.Kind, f.Remedy)
			}
		})
	}
	t.Run("a mailbox that nobody authorised, with the way in", func(t *testing.T) {
		h := newHouse(t)
		delete(h.store.grants, "desk")
		f := refused(t, h.broker("a"), "grant.none")
		if f.Kind != fault.Dead || !strings.Contains(f.Remedy, "authorization link") {
			t.Errorf("%v %q", f.Kind, f.Remedy)
		}
	})
	t.Run("an unknown mailbox", func(t *testing.T) {
		h := newHouse(t)
		if _, _, err := h.broker("a").Lend(t.Context(), "nobody", "mail", 0); !fault.Has(err, "mailbox.unknown") {
			t.Errorf("got %v", err)
		}
	})
}

func TestLend_MinTTL(t *testing.T) {
	t.Run("a token that ends too soon is renewed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			b := h.broker("a")
			lend(t, b)
			time.Sleep(56 * time.Minute)
			if got := lend(t, b); got != "A2-mail" {
				t.Errorf("lent %q with 4 of 5 minutes left", got)
			}
		})
	})
	t.Run("more than the provider gives is answered with nearly the most, without a storm", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			b := h.broker("a")
			for range 60 { // an hour
				_, expires, err := b.Lend(t.Context(), "desk", "mail", 24*time.Hour)
				if err != nil || time.Until(expires) < 54*time.Minute {
					t.Fatalf("%v left, %v", time.Until(expires), err)
				}
				time.Sleep(time.Minute)
			}
			if n := len(h.server.asked()); n > 10 {
				t.Errorf("%d requests in an hour", n)
			}
		})
	})
	t.Run("short-lived ones are renewed every ten seconds at most, whatever is asked", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.life = 20 * time.Second
			b := h.broker("a")
			for range 600 { // two minutes
				_, expires, err := b.Lend(t.Context(), "desk", "mail", 24*time.Hour)
				if err != nil || time.Until(expires) < 10*time.Second {
					t.Fatalf("%v left, %v", time.Until(expires), err)
				}
				time.Sleep(200 * time.Millisecond)
			}
			if n := len(h.server.asked()); n > 12 {
				t.Errorf("%d requests in two minutes", n)
			}
		})
	})
	t.Run("a token that had ended on arrival is named, its refresh token kept, and no storm follows", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.life = -time.Minute
			b := h.broker("a")
			for range 10 {
				refused(t, b, "grant.ended_at_once")
			}
			same(t, "requests", h.server.asked(), "R0")
			h.holds("R1")
		})
	})
}

func TestRefused(t *testing.T) {
	t.Run("a refused token is renewed by the next who asks, at most once a minute", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			b := h.broker("a")
			lend(t, b)
			time.Sleep(10 * time.Minute)
			for range 600 { // ten minutes of a mail server that refuses everything
				token, _, err := b.Lend(t.Context(), "desk", "mail", 0)
				if err != nil {
					t.Fatal(err)
				}
				b.Refused(t.Context(), "desk", "mail", token)
				time.Sleep(time.Second)
			}
			if n := len(h.server.asked()); n < 9 || n > 12 {
				t.Errorf("%d requests in ten minutes of refusals", n)
			}
		})
	})
	t.Run("a refused token that another process renewed already causes no request", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			a, b := h.broker("a"), h.broker("b")
			old := lend(t, a)
			lend(t, b)
			time.Sleep(10 * time.Minute)
			a.Refused(t.Context(), "desk", "mail", seal.NewSecret(old))
			if got := lend(t, a); got != "A2-mail" {
				t.Errorf("lent %q", got)
			}
			b.Refused(t.Context(), "desk", "mail", seal.NewSecret(old))
			if got := lend(t, b); got != "A2-mail" {
				t.Errorf("lent %q", got)
			}
			same(t, "requests", h.server.asked(), "R0", "R1")
		})
	})
}

func TestLend_StoresBeforeItLends(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.server.answer = func(_ int, err error, tokens tokens) (tokens, error) {
			h.store.fail(errors.New("disk full")) // the moment the answer is there
			return tokens, err
		}
		b := h.broker("a")
		done := make(chan string, 1)
		go func() { done <- lend(t, b) }()
		time.Sleep(20 * time.Second)
		select {
		case got := <-done:
			t.Errorf("lent %q before it was stored", got)
		default:
		}
		h.store.fail(nil)
		if got := <-done; got != "A1-mail" {
			t.Errorf("lent %q", got)
		}
		h.holds("R1")
		same(t, "events", h.store.kinds(), event.GrantRefreshed)
		if e := h.store.last(); e.Data["resource"] != "mail" || e.Data["expires_at"] == "" || e.Mailbox != "desk@contoso.example" {
			t.Errorf("the event is %+v", e)
		}
	})
}
