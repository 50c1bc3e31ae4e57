package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/store"
)

func timeline(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("an event comes back as it was written", func(t *testing.T) {
		w := newWorld(t, open)
		e := event.New(noon(), event.GrantDead, event.Actor{Kind: event.ActorOperator, Name: "ops"}, "It ended.").About("m", "a@example.org").With("who", "operator")
		e.Cause, e.Remedy = "oauth.invalid_grant", "Authorise again."
		must(t, w.WriteEvent(w.ctx, e))
		found, err := w.Events(w.ctx, event.Filter{Limit: 1})
		must(t, err)
		if diff := cmp.Diff([]event.Event{e}, found); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("lists go both ways from a cursor, by mailbox and kind", func(t *testing.T) {
		w := newWorld(t, open)
		var written []event.Event
		for i := range 6 {
			written = append(written, w.happen([]event.Kind{event.MessageReceived, event.GrantRefreshed}[i%2], fmt.Sprint("m", i%3), "a@example.org"))
		}
		ids := func(f event.Filter) string {
			t.Helper()
			found, err := w.Events(w.ctx, f)
			must(t, err)
			var s string
			for _, e := range found {
				for i := range written {
					if written[i].ID == e.ID {
						s += fmt.Sprint(i)
					}
				}
			}
			return s
		}
		for _, c := range []struct {
			filter event.Filter
			want   string
		}{
			{event.Filter{Limit: 3}, "543"},
			{event.Filter{Before: written[3].ID, Limit: 2}, "21"},
			{event.Filter{After: written[3].ID}, "45"},
			{event.Filter{After: written[0].ID, Limit: 2}, "12"},
			{event.Filter{MailboxIDs: []string{"m0", "m1"}}, "4310"},
			{event.Filter{Patterns: []event.Pattern{"grant.*"}}, "531"},
			{event.Filter{Patterns: []event.Pattern{"nothing.*"}}, ""},
			{event.Filter{After: written[5].ID}, ""},
			{event.Filter{After: event.NewID()}, ""},
		} {
			if got := ids(c.filter); got != c.want {
				t.Errorf("%+v gave %q, want %q", c.filter, got, c.want)
			}
		}
	})
	t.Run("who follows while others write misses none", func(t *testing.T) {
		w := newWorld(t, open)
		const writers, each = 8, 10
		var done sync.WaitGroup
		for i := range writers {
			done.Go(func() {
				for range each {
					w.happen(event.MessageReceived, fmt.Sprint(i), "a@example.org")
				}
			})
		}
		finished := make(chan struct{})
		go func() {
			done.Wait()
			close(finished)
		}()
		seen, after := 0, "0"
		for ended := false; ; {
			found, err := w.Events(w.ctx, event.Filter{After: after, Patterns: []event.Pattern{"message.received"}, Limit: 7})
			must(t, err)
			if seen += len(found); len(found) > 0 {
				after = found[len(found)-1].ID
				continue
			}
			if ended {
				break
			}
			select {
			case <-finished:
				ended = true
			default:
			}
		}
		if seen != writers*each {
			t.Errorf("%d of %d events were seen", seen, writers*each)
		}
	})
	t.Run("old events go, but not those a webhook waits for", func(t *testing.T) {
		w := newWorld(t, open)
		w.webhook("all", []event.Pattern{"grant.*"})
		w.happen(event.MessageReceived, "m", "a@example.org")
		w.happen(event.GrantDead, "m", "a@example.org")
		last := w.happen(event.MessageReceived, "m", "a@example.org")
		// The provider's, the webhook's and the first message's.
		if n, err := w.PurgeEvents(w.ctx, noon().Add(time.Second), 100); err != nil || n != 3 {
			t.Errorf("%d purged (%v)", n, err)
		}
		if w.events(event.GrantDead) != 1 {
			t.Error("an event that waits for delivery is gone")
		}
		next := w.happen(event.MessageReceived, "m", "a@example.org")
		found, err := w.Events(w.ctx, event.Filter{After: last.ID})
		must(t, err)
		if len(found) != 1 || found[0].ID != next.ID {
			t.Errorf("got %v", found)
		}
	})
}
