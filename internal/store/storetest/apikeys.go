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

func apiKeys(t *testing.T, open func(*testing.T) *store.Store) {
	key := func(w *world) access.APIKey {
		k := access.APIKey{
			ID: event.NewID(), Name: "desk", Hash: hashed("key"), May: []access.Right{access.Read, access.Send}, Mailboxes: []string{"a@example.org"},
			Networks: []string{"10.0.0.0/8"}, CreatedBy: "ops", CreatedAt: noon(), ExpiresAt: noon().Add(time.Hour),
		}
		must(w.t, w.CreateAPIKey(w.ctx, k, happened(event.APIKeyCreated)))
		return k
	}
	t.Run("a key is found by name and by hash until it is removed", func(t *testing.T) {
		w := newWorld(t, open)
		k := key(w)
		wantFault(t, w.CreateAPIKey(w.ctx, access.APIKey{ID: event.NewID(), Name: "desk", Hash: hashed("other")}, happened(event.APIKeyCreated)), "api_key.exists", fault.Conflict)
		byHash, err := w.APIKeyByHash(w.ctx, hashed("key"))
		must(t, err)
		byName, err := w.APIKey(w.ctx, "desk")
		must(t, err)
		all, err := w.APIKeys(w.ctx)
		must(t, err)
		if diff := cmp.Diff(k, byHash) + cmp.Diff(k, byName) + cmp.Diff([]access.APIKey{k}, all); diff != "" {
			t.Error(diff)
		}
		_, err = w.APIKeyByHash(w.ctx, hashed("guess"))
		wantFault(t, err, "api_key.unknown", fault.NotFound)
		must(t, w.DeleteAPIKey(w.ctx, "desk", happened(event.APIKeyDeleted)))
		wantFault(t, w.DeleteAPIKey(w.ctx, "desk", happened(event.APIKeyDeleted)), "api_key.unknown", fault.NotFound)
		_, err = w.APIKey(w.ctx, "desk")
		wantFault(t, err, "api_key.unknown", fault.NotFound)
	})
	t.Run("its use is kept to the minute", func(t *testing.T) {
		w := newWorld(t, open)
		k := key(w)
		for _, c := range []struct{ at, want time.Duration }{{0, 0}, {59 * time.Second, 0}, {time.Minute, time.Minute}, {30 * time.Second, time.Minute}} {
			w.UseAPIKey(w.ctx, k.ID, noon().Add(c.at))
			if stored, err := w.APIKey(w.ctx, "desk"); err != nil || !stored.LastUsed.Equal(noon().Add(c.want)) {
				t.Errorf("used after %v: %v, %v", c.at, stored.LastUsed, err)
			}
		}
	})
	t.Run("what it may do is changed, and its value stays", func(t *testing.T) {
		w := newWorld(t, open)
		k := key(w)
		was := k
		k.May, k.Mailboxes, k.Networks, k.ExpiresAt = []access.Right{access.Token}, nil, nil, time.Time{}
		must(t, w.ChangeAPIKey(w.ctx, was, k, happened(event.APIKeyUpdated)))
		if stored, err := w.APIKeyByHash(w.ctx, hashed("key")); err != nil || len(stored.Mailboxes)+len(stored.Networks) > 0 || !stored.ExpiresAt.IsZero() || cmp.Diff(k.May, stored.May) != "" {
			t.Errorf("%+v, %v", stored, err)
		}
		wantFault(t, w.ChangeAPIKey(w.ctx, was, k, happened(event.APIKeyUpdated)), "api_key.changed", fault.Conflict)
		k.ID = event.NewID()
		wantFault(t, w.ChangeAPIKey(w.ctx, k, k, happened(event.APIKeyUpdated)), "api_key.unknown", fault.NotFound)
		if n := w.events(event.APIKeyUpdated); n != 1 {
			t.Errorf("%d events", n)
		}
	})
	t.Run("one renewal at a time hands out a value that works", func(t *testing.T) {
		w := newWorld(t, open)
		k := key(w)
		errs := race(5, func(i int) error {
			renewed := k
			renewed.Hash, renewed.ExpiresAt = hashed(fmt.Sprint(i)), noon().Add(2*time.Hour)
			return w.RenewAPIKey(w.ctx, renewed, k.Hash, happened(event.APIKeyRenewed))
		})
		if won := tally(t, errs, "api_key.renewed"); won != 1 || w.events(event.APIKeyRenewed) != 1 {
			t.Errorf("%d renewed it", won)
		}
		for i, err := range errs {
			_, found := w.APIKeyByHash(w.ctx, hashed(fmt.Sprint(i)))
			if (err == nil) != (found == nil) {
				t.Errorf("renewal %d: %v, and its value: %v", i, err, found)
			}
		}
		_, err := w.APIKeyByHash(w.ctx, hashed("key"))
		wantFault(t, err, "api_key.unknown", fault.NotFound)
	})
}
