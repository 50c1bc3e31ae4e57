package broker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/mailgrant/mailgrant/internal/broker"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
)

// run starts the loop and gives what ends it and waits for it.
func run(t *testing.T, b *broker.Broker) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestRun_RenewsAheadOfNeed(t *testing.T) {
	t.Run("between 70 and 85 % of the life, again and again", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			stop := run(t, h.broker("a"))
			time.Sleep(10 * time.Hour)
			stop()
			// 10 h of 1 h tokens: one at the start and every 42 to 51 minutes.
			if n := len(h.server.asked()); n < 12 || n > 15 {
				t.Errorf("%d requests in ten hours", n)
			}
		})
	})
	t.Run("daily at least, however long access tokens last", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.life = 60 * 24 * time.Hour
			stop := run(t, h.broker("a"))
			time.Sleep(10 * 24 * time.Hour)
			stop()
			if n := len(h.server.asked()); n < 11 || n > 15 {
				t.Errorf("%d requests in ten days", n)
			}
		})
	})
	t.Run("what began together drifts apart", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			delete(h.store.grants, "desk")
			h.server.noRotate = true
			for i := range 500 {
				h.mailbox(fmt.Sprintf("m%03d", i), "contoso", "R0", time.Now())
			}
			stop := run(t, h.broker("a"))
			time.Sleep(10 * time.Minute) // a restart after an outage: all were due
			stop()
			minutes := map[int]int{}
			for _, g := range h.store.grants {
				minutes[int(time.Until(g.NextRefreshAt)/time.Minute)]++
			}
			// Spread over nine minutes; even would be 55 in each.
			for minute, n := range minutes {
				if n > 110 {
					t.Errorf("%d of 500 are due in the same minute (%d)", n, minute)
				}
			}
		})
	})
	t.Run("a slow provider delays no other", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			slow := newServer()
			slow.noRotate, slow.latency = true, 29*time.Second
			h.directory.kinds["slow"] = slow
			for i := range 600 {
				h.mailbox(fmt.Sprintf("m%03d", i), "slow", "R0", time.Now().Add(-time.Hour)) // all more overdue
			}
			stop := run(t, h.broker("a"))
			time.Sleep(5 * time.Second)
			same(t, "requests of the quick provider", h.server.asked(), "R0")
			if n := len(slow.asked()); n != 8 {
				t.Errorf("%d requests at once to the slow provider", n)
			}
			stop()
		})
	})
	t.Run("two processes renew each grant once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.noRotate, h.server.latency = true, time.Second
			for i := range 99 {
				h.mailbox(fmt.Sprintf("m%02d", i), "contoso", "R0", time.Now())
			}
			stopA, stopB := run(t, h.broker("a")), run(t, h.broker("b"))
			time.Sleep(5 * time.Minute)
			stopA()
			stopB()
			if n := len(h.server.asked()); n != 100 {
				t.Errorf("%d requests for 100 grants", n)
			}
		})
	})
	t.Run("a mailbox whose provider cannot be opened is put off, and does not hide others", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.directory.err = &fault.Error{ID: "seal.cannot_open", Kind: fault.Internal, Text: "No."}
			stop := run(t, h.broker("a"))
			time.Sleep(time.Second)
			g, err := h.store.Grant(t.Context(), "desk")
			if err != nil || g.Cause != "seal.cannot_open" || !g.Intent.IsZero() || !g.NextRefreshAt.After(time.Now()) {
				t.Errorf("%+v %v", g, err)
			}
			same(t, "requests", h.server.asked())
			stop()
		})
	})
	t.Run("a token is renewed before it ends, whatever its life, while the provider is up", func(t *testing.T) {
		rapid.Check(t, func(rt *rapid.T) {
			life := time.Duration(rapid.Int64Range(int64(10*time.Minute), int64(48*time.Hour)).Draw(rt, "life"))
			latency := time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(rt, "latency"))
			boxes := rapid.IntRange(1, 12).Draw(rt, "mailboxes")
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.server.noRotate, h.server.latency, h.server.life = true, latency, life
				for i := range boxes - 1 {
					h.mailbox(fmt.Sprintf("m%d", i), "contoso", "R0", time.Now())
				}
				b := h.broker("a")
				stop := run(t, b)
				time.Sleep(2 * time.Minute)
				for range 40 {
					time.Sleep(life / 10)
					for id := range h.directory.boxes {
						at, err := h.store.AccessToken(t.Context(), id, "mail")
						if err != nil || !at.ExpiresAt.After(time.Now()) {
							t.Errorf("the access token of %s ended at %s (%v); it is %s", id, at.ExpiresAt, err, time.Now())
						}
					}
				}
				stop()
			})
		})
	})
}

func TestRun_Drains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.server.latency = 20 * time.Second
		b := h.broker("a")
		stop := run(t, b)
		time.Sleep(time.Second)
		begun := time.Now()
		stop()
		if took := time.Since(begun); took != 19*time.Second {
			t.Errorf("it returned after %s, not when the answer had come", took)
		}
		h.holds("R1")
		if got := lend(t, b); got != "A1-mail" {
			t.Errorf("what is stored is lent no more: %q", got)
		}
		time.Sleep(2 * time.Hour)
		refused(t, b, "broker.stopping")
	})
}

func TestRun_GoesOnWhenTheStoreIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.store.fail(errors.New("gone"))
		b := h.broker("a")
		stop := run(t, b)
		time.Sleep(time.Minute)
		h.store.fail(nil)
		time.Sleep(6 * time.Second)
		stop()
		h.holds("R1")
	})
}

func TestWatch_SaysWhenTheLoopIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		b := h.broker("a", func(o *broker.Options) { o.SilentAfter = 5 * time.Minute })
		var told []time.Duration
		begun := time.Now()
		ctx, cancel := context.WithCancel(t.Context())
		watched := make(chan error, 1)
		go func() {
			watched <- b.Watch(ctx, func(_ context.Context, e event.Event) error {
				told = append(told, time.Since(begun))
				if e.Kind != event.RefreshSilent || e.Remedy == "" {
					t.Errorf("%+v", e)
				}
				return nil
			})
		}()
		stop := run(t, b)
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(told) != 0 || time.Since(b.LastRun()) > time.Minute {
			t.Errorf("told at %v, last run %s", told, b.LastRun())
		}
		h.store.fail(errors.New("gone")) // the loop turns, but completes no round
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(told) != 1 || told[0] > time.Hour+8*time.Minute {
			t.Errorf("told at %v", told)
		}
		h.store.fail(nil)
		time.Sleep(time.Hour)
		stop()
		time.Sleep(time.Hour) // ended: silent again
		synctest.Wait()
		if len(told) != 2 {
			t.Errorf("told at %v", told)
		}
		cancel()
		if err := <-watched; err != nil {
			t.Error(err)
		}
	})
}

func TestSuspendedMeanwhile_IsKeptAndNotLent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.server.latency = 2 * time.Second
		b := h.broker("a")
		go func() {
			time.Sleep(time.Second)
			h.store.edit("desk", func(g *mailbox.Grant) { g.State = mailbox.GrantSuspended })
		}()
		refused(t, b, "grant.suspended")
		h.holds("R1")
		if !slices.Equal(h.server.asked(), []string{"R0"}) {
			t.Errorf("requests %v", h.server.asked())
		}
	})
}
