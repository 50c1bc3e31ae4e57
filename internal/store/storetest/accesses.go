package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/store"
)

func accesses(t *testing.T, open func(*testing.T) *store.Store) {
	created := func() event.Event { return event.New(noon(), event.OperatorCreated, event.System(), "Added.") }
	t.Run("operators", func(t *testing.T) {
		w := newWorld(t, open)
		o := access.Operator{ID: event.NewID(), Name: "ops", PasswordHash: "$argon2id$", CreatedAt: noon()}
		must(t, w.SaveOperator(w.ctx, o, created()))
		o.PasswordHash = "$argon2id$new"
		must(t, w.SaveOperator(w.ctx, o, created()))
		stored, err := w.Operator(w.ctx, "ops")
		must(t, err)
		all, err := w.Operators(w.ctx)
		must(t, err)
		if diff := cmp.Diff(o, stored) + cmp.Diff([]access.Operator{o}, all); diff != "" {
			t.Error(diff)
		}
		_, err = w.Operator(w.ctx, "nobody")
		wantFault(t, err, "operator.unknown", fault.NotFound)
		wantFault(t, w.SaveOperator(w.ctx, access.Operator{ID: event.NewID(), Name: "ops"}, created()), "operator.exists", fault.Conflict)
	})
	t.Run("API keys", func(t *testing.T) {
		w := newWorld(t, open)
		k := access.APIKey{
			ID: event.NewID(), Name: "desk", Hash: hashed("key"), May: []access.Right{access.Read, access.Send}, Mailboxes: []string{"a@example.org"},
			Networks: []string{"10.0.0.0/8"}, CreatedBy: "ops", CreatedAt: noon(), ExpiresAt: noon().Add(time.Hour),
		}
		e := func() event.Event { return event.New(noon(), event.APIKeyCreated, event.System(), "Made.") }
		must(t, w.CreateAPIKey(w.ctx, k, e()))
		wantFault(t, w.CreateAPIKey(w.ctx, access.APIKey{ID: event.NewID(), Name: "desk", Hash: hashed("other")}, e()), "api_key.exists", fault.Conflict)
		stored, err := w.APIKeyByHash(w.ctx, hashed("key"))
		must(t, err)
		if diff := cmp.Diff(k, stored); diff != "" {
			t.Error(diff)
		}
		all, err := w.APIKeys(w.ctx)
		must(t, err)
		if len(all) != 1 || time.Since(all[0].LastUsed).Abs() > time.Minute {
			t.Errorf("the use was not recorded: %+v", all)
		}
		_, err = w.APIKeyByHash(w.ctx, hashed("guess"))
		wantFault(t, err, "api_key.unknown", fault.NotFound)
		must(t, w.DeleteAPIKey(w.ctx, "desk", e()))
		wantFault(t, w.DeleteAPIKey(w.ctx, "desk", e()), "api_key.unknown", fault.NotFound)
	})
	t.Run("the set-up link is spent once", func(t *testing.T) {
		w := newWorld(t, open)
		must(t, w.CreateSetup(w.ctx, hashed("old"), noon().Add(time.Hour)))
		must(t, w.CreateSetup(w.ctx, hashed("new"), noon().Add(time.Hour)))
		for _, c := range []struct {
			secret string
			after  time.Duration
			want   bool
		}{{"old", 0, false}, {"new", 0, true}, {"new", time.Hour, false}} {
			if good, err := w.CheckSetup(w.ctx, hashed(c.secret), noon().Add(c.after)); err != nil || good != c.want {
				t.Errorf("%s after %v: %v, %v", c.secret, c.after, good, err)
			}
		}
		errs := race(5, func(int) error {
			return w.SpendSetup(w.ctx, hashed("new"), noon(), access.Operator{ID: event.NewID(), Name: "ops", CreatedAt: noon()}, created())
		})
		if won := tally(t, errs, "setup.spent"); won != 1 || w.events(event.OperatorCreated) != 1 {
			t.Errorf("%d spent it", won)
		}
	})
	t.Run("sessions end with their time", func(t *testing.T) {
		w := newWorld(t, open)
		must(t, w.Commit("secret", []byte("content"), time.Now().Add(time.Hour)))
		must(t, w.CommitCtx(w.ctx, "secret", []byte("changed"), time.Now().Add(time.Hour)))
		must(t, w.Commit("ended", []byte("content"), time.Now().Add(-time.Second)))
		if b, found, err := w.Find("secret"); err != nil || !found || string(b) != "changed" {
			t.Errorf("got %q, %v, %v", b, found, err)
		}
		for _, secret := range []string{"ended", "never"} {
			if _, found, err := w.FindCtx(w.ctx, secret); err != nil || found {
				t.Errorf("%s: %v, %v", secret, found, err)
			}
		}
		must(t, w.Delete("secret"))
		if _, found, err := w.Find("secret"); err != nil || found {
			t.Errorf("got %v, %v", found, err)
		}
	})
}
