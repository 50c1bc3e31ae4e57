package broker_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailgrant/mailgrant/internal/broker"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// meddled is a store on which something happens once, in the instant after a
// grant was read and before the reader has it, or after an answer was stored.
type meddled struct {
	*memory
	afterGrant, afterFinish, afterFail atomic.Pointer[func()]
	unacknowledged                     atomic.Bool // the next stored answer is reported as a failure of the store
}

func (m *meddled) Grant(ctx context.Context, id string) (mailbox.Grant, error) {
	g, err := m.memory.Grant(ctx, id)
	if f := m.afterGrant.Swap(nil); f != nil {
		(*f)()
	}
	return g, err
}

func (m *meddled) FinishRefresh(ctx context.Context, f broker.FinishRefresh) error {
	err := m.memory.FinishRefresh(ctx, f)
	if f := m.afterFinish.Swap(nil); f != nil {
		(*f)()
	}
	if m.unacknowledged.Swap(false) {
		return storeFault("store.unavailable", fault.Temporary)
	}
	return err
}

func (m *meddled) FailRefresh(ctx context.Context, f broker.FailRefresh) error {
	err := m.memory.FailRefresh(ctx, f)
	if f := m.afterFail.Swap(nil); f != nil {
		(*f)()
	}
	return err
}

func (h *house) meddled() (*meddled, func(*broker.Options)) {
	m := &meddled{memory: h.store}
	return m, func(o *broker.Options) { o.Store = m }
}

func (h *house) revoke(b *broker.Broker) {
	h.store.edit("desk", func(g *mailbox.Grant) { g.State = mailbox.GrantRevoked })
	b.Invalidate("desk")
}

// newPerson authorises the mailbox anew, which drops the access tokens of the former grant.
func (h *house) newPerson(b *broker.Broker) {
	h.adopt("S0")
	h.store.mu.Lock()
	clear(h.store.access)
	h.store.mu.Unlock()
	b.Invalidate("desk")
}

func TestInvalidate_OutrunsWhatWasReadBefore(t *testing.T) {
	t.Run("a look that read the grant before it was revoked puts nothing back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			lend(t, h.broker("b")) // stored
			m, here := h.meddled()
			a := h.broker("a", here)
			meddle := func() { h.revoke(a) }
			m.afterGrant.Store(&meddle)
			lend(t, a) // it asked before the revocation
			refused(t, a, "grant.revoked")
		})
	})
	t.Run("a look that finds its access token unchanged puts nothing back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			lend(t, h.broker("b"))
			m, here := h.meddled()
			a := h.broker("a", here)
			lend(t, a)
			time.Sleep(2 * time.Second)
			meddle := func() { h.revoke(a) }
			m.afterGrant.Store(&meddle)
			lend(t, a)
			refused(t, a, "grant.revoked")
		})
	})
	t.Run("a renewal that ends while the grant is revoked puts nothing back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			m, here := h.meddled()
			a := h.broker("a", here)
			meddle := func() { h.revoke(a) }
			stored := func() { m.afterGrant.Store(&meddle) }
			m.afterFinish.Store(&stored)
			lend(t, a)
			refused(t, a, "grant.revoked")
		})
	})
	t.Run("who asks after it does not wait for a look begun before", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			lend(t, h.broker("b"))
			m, here := h.meddled()
			a := h.broker("a", here)
			meddle := func() { time.Sleep(10 * time.Second) }
			m.afterGrant.Store(&meddle)
			first := make(chan string, 1)
			go func() { first <- lend(t, a) }()
			synctest.Wait()
			h.revoke(a)
			refused(t, a, "grant.revoked")
			<-first
			refused(t, a, "grant.revoked")
		})
	})
	t.Run("who asks after a new authorization is not given the former person's access token", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			m, here := h.meddled()
			a := h.broker("a", here)
			meddle := func() { time.Sleep(10 * time.Second) }
			m.afterFinish.Store(&meddle)
			first := make(chan string, 1)
			go func() { first <- lend(t, a) }()
			synctest.Wait()
			h.newPerson(a)
			if got := lend(t, a); got != "A2-mail" {
				t.Errorf("lent %q, an access token of the former grant", got)
			}
			<-first
			if got := lend(t, a); got != "A2-mail" {
				t.Errorf("lent %q after the former renewal had ended", got)
			}
			same(t, "requests", h.server.asked(), "R0", "S0")
		})
	})
	t.Run("the back-off of a former grant does not bind the next", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.life = -time.Minute // it has ended on arrival
			m, here := h.meddled()
			a := h.broker("a", here)
			meddle := func() { h.newPerson(a) }
			m.afterFinish.Store(&meddle)
			refused(t, a, "grant.ended_at_once")
			h.server.life = time.Hour
			if got := lend(t, a); got != "A2-mail" {
				t.Errorf("lent %q", got)
			}
		})
	})
}

func TestFailure_FallsBackToNothingThatEndedMeanwhile(t *testing.T) {
	busy := &fault.Error{ID: "oauth.temporarily_unavailable", Kind: fault.Temporary, Text: "busy"}
	for _, c := range []struct {
		outcome, id string
		meanwhile   func(*house)
	}{
		{"a grant that was suspended", "grant.suspended", func(h *house) {
			h.store.edit("desk", func(g *mailbox.Grant) { g.State = mailbox.GrantSuspended })
		}},
		{"a store that does not answer whether it stands", "store.unavailable", func(h *house) {
			h.store.onFail = func(broker.FailRefresh) { h.store.down = storeFault("store.unavailable", fault.Temporary) }
		}},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				b := h.broker("a")
				lend(t, b)
				time.Sleep(56 * time.Minute) // valid, and not for the five minutes that are asked for
				h.server.before = func(int) error {
					c.meanwhile(h)
					return busy
				}
				refused(t, b, c.id)
			})
		})
	}
	t.Run("what another process renewed meanwhile is lent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			m, here := h.meddled()
			a, b := h.broker("a", here), h.broker("b")
			lend(t, a)
			time.Sleep(56 * time.Minute)
			h.server.before = on(2, busy)
			meddle := func() { lend(t, b) }
			m.afterFail.Store(&meddle)
			if got := lend(t, a); got != "A3-mail" {
				t.Errorf("lent %q", got)
			}
		})
	})
}

func TestLend_ALostAcknowledgementIsNoLeaveToLend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		m, here := h.meddled()
		a := h.broker("a", here)
		m.unacknowledged.Store(true)
		meddle := func() { h.store.edit("desk", func(g *mailbox.Grant) { g.State = mailbox.GrantSuspended }) }
		m.afterFinish.Store(&meddle)
		refused(t, a, "grant.suspended")
		h.holds("R1")
	})
}

// held is how much memory is in use, in MiB.
func held() int {
	for range 3 { // values that are shared by all who hold them take more than one round to go
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc >> 20)
}

func TestRefused_TakesNoMemoryForLong(t *testing.T) {
	const boxes = 64 // each with a refused access token of 1 MiB
	refuseAll := func(b *broker.Broker) {
		for i := range boxes {
			id := fmt.Sprintf("m%02d", i)
			b.Refused(t.Context(), id, "mail", seal.NewSecret(id+strings.Repeat("x", 1<<20)))
		}
	}
	t.Run("a mailbox that was deleted here leaves nothing behind", func(t *testing.T) {
		b := newHouse(t).broker("a")
		before := held()
		refuseAll(b)
		if n := held() - before; n < boxes/2 {
			t.Fatalf("%d MiB are held: this test shows nothing", n)
		}
		for i := range boxes {
			b.Invalidate(fmt.Sprintf("m%02d", i))
		}
		if n := held() - before; n > boxes/4 {
			t.Errorf("%d MiB are held", n)
		}
		runtime.KeepAlive(b)
	})
	t.Run("nor one that another process deleted", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newHouse(t).broker("a")
			before := held()
			refuseAll(b)
			stop := run(t, b)
			time.Sleep(2 * time.Hour)
			stop()
			if n := held() - before; n > boxes/4 {
				t.Errorf("%d MiB are held after two hours", n)
			}
			runtime.KeepAlive(b)
		})
	})
	t.Run("a refusal is remembered while its renewal fails", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			b := h.broker("a")
			old := lend(t, b)
			time.Sleep(10 * time.Minute)
			h.server.before = on(2, &fault.Error{ID: "oauth.rate_limited", Kind: fault.Limited, Text: "No.", RetryAfter: 20 * time.Minute})
			b.Refused(t.Context(), "desk", "mail", seal.NewSecret(old))
			if got := lend(t, b); got != old {
				t.Errorf("lent %q, want what is there", got)
			}
			time.Sleep(26 * time.Minute)
			if got := lend(t, b); got != "A3-mail" {
				t.Errorf("lent %q", got)
			}
		})
	})
}
