package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/storetest"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

const box = "desk@example.org"

// receiver answers and remembers what came.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	heads  []http.Header
	bodies [][]byte
	answer http.HandlerFunc
}

type room struct {
	*webhook.Webhooks
	store *store.Store
	keys  *seal.Keyset
	now   time.Time
	to    *receiver
	hook  webhook.Webhook
	key   seal.Secret
}

// loopback is a guard that lets the tests' receivers be reached.
func loopback() *egress.Guard {
	return &egress.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

func (r *room) open(owner string, guard *egress.Guard) *webhook.Webhooks {
	return webhook.New(webhook.Options{Store: r.store, Keys: r.keys, Guard: guard, Owner: owner, Now: func() time.Time { return r.now }})
}

func newRoom(t *testing.T, answer http.HandlerFunc) *room {
	t.Helper()
	keys, err := seal.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	r := &room{store: storetest.OpenSQLite(t), keys: keys, now: time.Now().Truncate(time.Second), to: &receiver{answer: answer}}
	r.to.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		b, _ := io.ReadAll(q.Body)
		r.to.mu.Lock()
		r.to.heads, r.to.bodies = append(r.to.heads, q.Header), append(r.to.bodies, b)
		r.to.mu.Unlock()
		r.to.answer(w, q)
	}))
	t.Cleanup(r.to.Close)
	r.Webhooks = r.open("a", loopback())
	r.hook, r.key, err = r.Save(t.Context(), event.System(), webhook.Input{Name: "desk", URL: r.to.URL, Events: []event.Pattern{"message.*", "webhook.*"}})
	if err != nil || !strings.HasPrefix(r.key.Reveal(), "whsec_") {
		t.Fatalf("the secret is not shown: %v", err)
	}
	return r
}

func (r *room) happen(t *testing.T, n int) {
	t.Helper()
	for i := range n {
		e := event.New(r.now, event.MessageReceived, event.System(), fmt.Sprint(i)).About("m", box)
		if err := r.store.WriteEvent(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *room) drain(t *testing.T) {
	t.Helper()
	if err := r.Drain(t.Context(), r.hook.ID, "m"); err != nil {
		t.Fatal(err)
	}
}

// texts are the events that came, in order.
func (r *room) texts(t *testing.T) string {
	t.Helper()
	r.to.mu.Lock()
	defer r.to.mu.Unlock()
	var all []string
	for _, b := range r.to.bodies {
		var p webhook.Payload
		if err := json.Unmarshal(b, &p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p.Data.Text)
	}
	return strings.Join(all, " ")
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func (r *room) count(t *testing.T, k event.Kind) int {
	t.Helper()
	events, err := r.store.Events(t.Context(), event.Filter{Patterns: []event.Pattern{event.Pattern(k)}, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if b, _ := json.Marshal(e); strings.Contains(string(b), r.key.Reveal()) {
			t.Error("an event holds the secret")
		}
	}
	return len(events)
}

func TestDrain_SignsAndKeepsOrder(t *testing.T) {
	t.Parallel()
	r := newRoom(t, status(204))
	r.happen(t, 3)
	r.drain(t)
	if got := r.texts(t); got != "0 1 2" {
		t.Fatalf("got %q", got)
	}
	verifier, err := standardwebhooks.NewWebhook(r.key.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range r.to.bodies {
		if err := verifier.Verify(b, r.to.heads[i]); err != nil {
			t.Error(err)
		}
		if err := verifier.Verify(append(b, ' '), r.to.heads[i]); err == nil {
			t.Error("another body verifies")
		}
	}
}

func TestDrain_WaitsAndParks(t *testing.T) {
	t.Parallel()
	r := newRoom(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7200")
		w.WriteHeader(503)
	})
	r.happen(t, 2)
	r.drain(t)
	r.now = r.now.Add(2*time.Hour - time.Second)
	r.drain(t)
	if got := r.texts(t); got != "0" {
		t.Fatalf("Retry-After was not kept: %q", got)
	}
	r.now = r.now.Add(time.Hour)
	r.Webhooks = r.open("b", loopback()) // a new process
	r.drain(t)
	if got := r.texts(t); got != "0 0" || r.to.heads[0].Get("webhook-id") != r.to.heads[1].Get("webhook-id") {
		t.Fatalf("the retry is another delivery: %q", got)
	}
	r.now = r.now.Add(24 * time.Hour)
	r.drain(t)
	if got := r.texts(t); got != "0 0 0 1" || r.count(t, event.DeliveryParked) != 1 {
		t.Fatalf("parking: %q", got)
	}
	r.to.answer = status(200)
	again, err := r.Replay(t.Context(), event.System(), "desk", r.to.heads[0].Get("webhook-id"))
	if err != nil || again.Delivery.State != webhook.Waiting || again.Event.Text != "0" {
		t.Fatalf("got %+v, %v", again, err)
	}
	r.now = r.now.Add(3 * time.Hour)
	r.drain(t)
	if got := r.texts(t); got != "0 0 0 1 0 1" {
		t.Errorf("after the replay: %q", got)
	}
}

func TestDrain_AnswersThatEndIt(t *testing.T) {
	t.Parallel()
	t.Run("410 switches it off", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, status(410))
		r.happen(t, 2)
		r.drain(t)
		w, err := r.Get(t.Context(), "desk")
		if err != nil || w.Disabled == "" || w.DisabledBy != webhook.ByReceiver || r.texts(t) != "0" || r.count(t, event.WebhookDisabled) != 1 {
			t.Errorf("got %+v, %v", w, err)
		}
		// Once it is there again, the one it would not have comes first.
		r.to.answer = status(200)
		if w, err = r.Enable(t.Context(), event.System(), "desk"); err != nil || w.Disabled != "" {
			t.Fatalf("got %+v, %v", w, err)
		}
		r.drain(t)
		if got := r.texts(t); got != "0 0 1" || r.count(t, event.WebhookEnabled) != 1 {
			t.Errorf("got %q", got)
		}
	})
	t.Run("redirects are not followed", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, "/elsewhere", http.StatusTemporaryRedirect)
		})
		r.happen(t, 1)
		r.drain(t)
		if got := r.texts(t); got != "0" {
			t.Errorf("got %q", got)
		}
		all := r.about(t, "desk", webhook.Filter{})
		if len(all) != 1 || len(all[0].Delivery.Tries) != 1 || !strings.Contains(all[0].Delivery.LastError, "redirects are not followed") {
			t.Errorf("got %+v", all)
		}
	})
	t.Run("a private network is refused when dialling", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, status(200))
		r.happen(t, 1)
		r.Webhooks = r.open("strict", nil)
		r.drain(t)
		if got := r.texts(t); got != "" {
			t.Errorf("delivered to loopback: %q", got)
		}
	})
	t.Run("a huge answer is not read to its end", func(t *testing.T) {
		t.Parallel()
		r := newRoom(t, func(w http.ResponseWriter, _ *http.Request) {
			for range 1 << 14 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
			t.Error("a gigabyte was read")
		})
		r.happen(t, 1)
		r.drain(t)
	})
}

func TestDrain_TwoOwnersDeliverEachOnceInOrder(t *testing.T) {
	t.Parallel()
	r := newRoom(t, status(200))
	r.happen(t, 8)
	other := r.open("b", loopback())
	var both sync.WaitGroup
	for _, w := range []*webhook.Webhooks{r.Webhooks, other} {
		both.Go(func() {
			if err := w.Drain(t.Context(), r.hook.ID, "m"); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	r.drain(t)
	if got := r.texts(t); got != "0 1 2 3 4 5 6 7" {
		t.Errorf("got %q", got)
	}
}

func TestSave(t *testing.T) {
	t.Parallel()
	r := newRoom(t, status(200))
	for outcome, c := range map[string]struct {
		field string
		with  func(*webhook.Input)
	}{
		"name":             {"name", func(i *webhook.Input) { i.Name = "Not Good" }},
		"no host":          {"url", func(i *webhook.Input) { i.URL = "https://:443/x" }},
		"plain http":       {"url", func(i *webhook.Input) { i.URL = "http://desk.example" }},
		"another scheme":   {"url", func(i *webhook.Input) { i.URL = "ftp://desk.example" }},
		"user name":        {"url", func(i *webhook.Input) { i.URL = "https://u:p@desk.example" }},
		"private network":  {"url", func(i *webhook.Input) { i.URL = "https://10.0.0.1" }},
		"metadata":         {"url", func(i *webhook.Input) { i.URL = "http://169.254.169.254/" }},
		"short secret":     {"secret", func(i *webhook.Input) { i.Secret = seal.NewSecret("short-secret") }},
		"not base64":       {"secret", func(i *webhook.Input) { i.Secret = seal.NewSecret("whsec_!!") }},
		"no events":        {"events", func(i *webhook.Input) { i.Events = nil }},
		"unknown event":    {"events[0]", func(i *webhook.Input) { i.Events = []event.Pattern{"mail.lost"} }},
		"not an address":   {"mailboxes[0]", func(i *webhook.Input) { i.Mailboxes = []string{"desk"} }},
		"no certificate":   {"ca_pem", func(i *webhook.Input) { i.CAPEM = "none" }},
		"exists (OnlyNew)": {"name", func(i *webhook.Input) { i.Name, i.OnlyNew = "desk", true }},
	} {
		t.Run(outcome, func(t *testing.T) {
			in := webhook.Input{Name: "new", URL: "https://desk.example/hook", Events: []event.Pattern{"*"}}
			c.with(&in)
			_, secret, err := r.Save(t.Context(), event.System(), in)
			if f := fault.Of(err); err == nil || f.Field != c.field || f.Remedy == "" || !secret.IsZero() {
				t.Errorf("got %+v", f)
			}
		})
	}
	kept, shown, err := r.Save(t.Context(), event.System(), webhook.Input{Name: "desk", URL: r.to.URL, Events: []event.Pattern{"*"}})
	if err != nil || !shown.IsZero() || string(kept.Secret.Bytes()) != string(r.hook.Secret.Bytes()) {
		t.Errorf("the secret was not kept unseen: %v", err)
	}
}

// dozing is a store whose process is stopped over its lease just after a claim.
type dozing struct {
	webhook.Store
	r *room
}

func (d dozing) ClaimHead(ctx context.Context, webhookID, mailboxID, owner string, now, until time.Time) (webhook.Claimed, error) {
	c, err := d.Store.ClaimHead(ctx, webhookID, mailboxID, owner, now, until)
	d.r.now = until
	return c, err
}

func TestDrain_WhatWasClaimedBeforeALongSleepIsNotDelivered(t *testing.T) {
	r := newRoom(t, status(http.StatusOK))
	r.happen(t, 1)
	asleep := webhook.New(webhook.Options{
		Store: dozing{r.store, r}, Keys: r.keys, Owner: "asleep", Now: func() time.Time { return r.now },
		Guard: &egress.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	})
	if err := asleep.Drain(t.Context(), r.hook.ID, "m"); err != nil {
		t.Fatal(err)
	}
	if got := r.texts(t); got != "" {
		t.Errorf("%q was delivered after the lease", got)
	}
	r.drain(t)
	if got := r.texts(t); got != "0" {
		t.Errorf("then %q was delivered", got)
	}
}
