package storetest

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/store"
)

// endings: what ends is found, and each warning of it is told once.
func endings(t *testing.T, open func(*testing.T) *store.Store) {
	w := newWorld(t, open)
	key := func(name string, ends time.Time) diagnose.Ending {
		t.Helper()
		k := access.APIKey{ID: event.NewID(), Name: name, Hash: hashed(name), CreatedAt: noon(), ExpiresAt: ends}
		must(t, w.CreateAPIKey(w.ctx, k, happened(event.APIKeyCreated)))
		return diagnose.Ending{Kind: diagnose.EndingAPIKey, ID: k.ID, Name: name, Since: noon(), EndsAt: ends}
	}
	key("for ever", time.Time{})
	late, gone, soon := key("late", noon().Add(48*time.Hour)), key("gone", noon().Add(-48*time.Hour)), key("soon", noon().Add(time.Hour))
	for from, want := range map[time.Time][]diagnose.Ending{
		noon():                      {soon, late},
		noon().Add(-49 * time.Hour): {gone, soon, late},
		noon().Add(48 * time.Hour):  nil,
		{}:                          {gone, soon, late},
	} {
		got, err := w.APIKeyEndings(w.ctx, from)
		must(t, err)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("from %v: %s", from, d)
		}
	}

	tells := func(e diagnose.Ending, days int, want bool) {
		t.Helper()
		before, err := w.Events(w.ctx, event.Filter{Patterns: []event.Pattern{"api_key.expiring"}, Limit: 500})
		must(t, err)
		told, err := w.TellEnding(w.ctx, e, days, happened(event.APIKeyExpiring))
		must(t, err)
		after, err := w.Events(w.ctx, event.Filter{Patterns: []event.Pattern{"api_key.expiring"}, Limit: 500})
		must(t, err)
		if told != want || len(after)-len(before) != map[bool]int{true: 1}[want] {
			t.Errorf("%s with %d days left: told %v, want %v; %d events more", e.Name, days, told, want, len(after)-len(before))
		}
	}
	tells(late, 14, true)
	tells(late, 14, false)
	tells(late, 30, false) // a clock that was put back
	tells(late, 7, true)
	tells(soon, 7, true)
	secret := late
	secret.Kind = diagnose.EndingSecret
	tells(secret, 7, true) // the same ID of another kind is another thing
	tells(late, 0, true)
	tells(late, 0, false)
	later := late
	later.EndsAt = late.EndsAt.Add(24 * time.Hour)
	tells(later, 14, true)
	tells(later, 14, false)
	must(t, w.DeleteAPIKey(w.ctx, "soon", happened(event.APIKeyDeleted)))
	tells(later, 7, true)
	db, _ := w.Database()
	var kept int
	must(t, db.QueryRowContext(w.ctx, "SELECT COUNT(*) FROM endings_told").Scan(&kept))
	if kept != 1 {
		t.Errorf("%d are remembered, want the one that is there", kept)
	}

	// Several processes come to a warning at the same moment: one tells it.
	var all sync.WaitGroup
	var mu sync.Mutex
	number := 0
	for range 6 {
		all.Go(func() {
			told, err := w.TellEnding(w.ctx, later, 1, happened(event.APIKeyExpiring))
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			if told {
				number++
			}
		})
	}
	all.Wait()
	if number != 1 {
		t.Errorf("%d told the same warning", number)
	}
}
