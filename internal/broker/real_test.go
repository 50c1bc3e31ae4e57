package broker_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailgrant/mailgrant/internal/broker"
	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/storetest"
)

// moveIn opens the real store and puts the house's mailbox and grant into it.
func (h *house) moveIn(t *testing.T) (*store.Store, func(*broker.Options)) {
	t.Helper()
	s := storetest.OpenSQLite(t)
	now := time.Now()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.SaveProvider(t.Context(), connect.SaveProvider{
		Record: provider.Record{ID: event.NewID(), Name: "contoso", Kind: "generic", ClientID: "c", Version: 1, CreatedAt: now, UpdatedAt: now},
		Event:  event.New(now, event.ProviderCreated, event.System(), "The provider contoso was added."),
	}))
	m := h.directory.boxes["desk"]
	m.GrantType, m.ActsAs, m.CreatedAt, m.UpdatedAt = "authorization_code", "owner", now, now
	must(s.SaveMailbox(t.Context(), connect.SaveMailbox{
		Mailbox: m,
		Events:  []event.Event{event.New(now, event.MailboxCreated, event.System(), "The mailbox was added.").About(m.ID, m.Address)},
	}))
	g := *h.store.grants["desk"]
	g.Verdict, g.NextRefreshAt, g.ConnectedBy = mailbox.VerdictMatch, now.Add(time.Minute), "ops"
	must(s.Adopt(t.Context(), connect.Adoption{
		Grant: g, IfMailboxVersion: m.Version, IfProviderVersion: 1, Now: now,
		Events: []event.Event{event.New(now, event.GrantCreated, event.System(), "The mailbox has its first grant.").About(m.ID, m.Address)},
	}))
	return s, func(o *broker.Options) { o.Store = s }
}

// told lists the kinds of the grant's events after its creation, oldest first.
func told(t *testing.T, s *store.Store) []event.Kind {
	t.Helper()
	found, err := s.Events(t.Context(), event.Filter{MailboxIDs: []string{"desk"}, Patterns: []event.Pattern{"grant.*"}, Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []event.Kind
	for _, e := range found {
		if e.Kind != event.GrantCreated {
			kinds = append([]event.Kind{e.Kind}, kinds...)
		}
	}
	return kinds
}

// What the tests above found with a store in memory holds with the real one.
func TestOnTheRealStore(t *testing.T) {
	t.Run("the loop renews ahead of need, and what it stored is lent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			_, onDisk := h.moveIn(t)
			b := h.broker("a", onDisk)
			stop := run(t, b)
			time.Sleep(10 * time.Hour)
			stop()
			if n := len(h.server.asked()); n < 12 || n > 15 {
				t.Errorf("%d requests in ten hours", n)
			}
			if _, expires, err := b.Lend(t.Context(), "desk", "mail", 0); err != nil || !expires.After(time.Now()) {
				t.Errorf("%s, %v", expires, err)
			}
		})
	})
	t.Run("500 callers of two processes cause one request", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.latency = 2 * time.Second
			_, onDisk := h.moveIn(t)
			callAtOnce(t, 250, h.broker("a", onDisk), h.broker("b", onDisk))
			same(t, "requests", h.server.asked(), "R0")
		})
	})
	t.Run("a lost answer of a strict provider is named", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.answer = losing(1)
			s, onDisk := h.moveIn(t)
			b := h.broker("a", onDisk)
			refused(t, b, "oauth.no_answer")
			time.Sleep(time.Minute)
			refused(t, b, "grant.lost_answer")
			refused(t, b, "grant.lost_answer")
			same(t, "events", told(t, s), event.GrantRefreshFailed, event.GrantDead)
		})
	})
	t.Run("a late answer saves a strict provider's family", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.answer = paused(1, time.Minute)
			h.server.before = on(2, noAnswer())
			s, onDisk := h.moveIn(t)
			a, b := h.broker("a", onDisk), h.broker("b", onDisk)
			first := make(chan error, 1)
			go func() {
				_, _, err := a.Lend(t.Context(), "desk", "mail", 0)
				first <- err
			}()
			time.Sleep(time.Second)
			refused(t, b, "oauth.no_answer")
			if err := <-first; err != nil {
				t.Error(err)
			}
			same(t, "requests", h.server.asked(), "R0", "R0", "R1")
			same(t, "events", told(t, s), event.GrantRefreshFailed, event.GrantLateAnswer, event.GrantRefreshed, event.GrantRecovered)
		})
	})
	t.Run("what is kept survives a rotation of the sealing key", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.server.answer = paused(1, time.Minute) // R1 comes late
			h.server.before = func(n int) error {
				if n == 2 || n == 3 {
					return noAnswer()
				}
				return nil
			}
			s, onDisk := h.moveIn(t)
			a, b := h.broker("a", onDisk), h.broker("b", onDisk)
			first := make(chan error, 1)
			go func() {
				_, _, err := a.Lend(t.Context(), "desk", "mail", 0)
				first <- err
			}()
			time.Sleep(time.Second)
			refused(t, b, "oauth.no_answer")
			<-first
			if err := h.keys.Rotate(); err != nil {
				t.Fatal(err)
			}
			if n, err := s.ResealAll(t.Context(), h.keys); err != nil || n != 2 {
				t.Errorf("%d values sealed anew (current and candidate), %v", n, err)
			}
			time.Sleep(time.Hour)
			lend(t, b)
			same(t, "requests", h.server.asked(), "R0", "R0", "R1", "R1")
		})
	})
	t.Run("a revocation shows within a second", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			s, onDisk := h.moveIn(t)
			b := h.broker("a", onDisk)
			lend(t, b)
			ended := event.New(time.Now(), event.GrantRevoked, event.System(), "Ended.").About("desk", "desk@contoso.example")
			if err := s.EndGrant(context.WithoutCancel(t.Context()), "desk", time.Now(), connect.EndGrant{Revoked: ended}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(1100 * time.Millisecond)
			refused(t, b, "grant.revoked")
		})
	})
}
