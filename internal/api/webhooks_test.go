package api_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// taken is one call that a receiver got.
type taken struct {
	header http.Header
	body   []byte
}

// TestWebhooks plays what a developer does with a webhook: it is tested, its
// receiver is gone and comes back, deliveries are looked at and made again, and
// the signing secret changes.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	s := open(t, "MAILGRANT_WEBHOOKS_ALLOW_NETWORKS=127.0.0.0/8")
	s.furnish(t, directory.StoryDesk)
	c, ctx := s.client(t, s.key), t.Context()
	var status atomic.Int64
	status.Store(http.StatusTeapot)
	calls := make(chan taken, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		calls <- taken{r.Header, b}
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write([]byte("short and stout"))
	}))
	t.Cleanup(receiver.Close)
	next := func() taken {
		t.Helper()
		select {
		case got := <-calls:
			return got
		case <-time.After(2 * time.Minute):
			t.Fatal("nothing was delivered")
			return taken{}
		}
	}
	hook, err := c.CreateWebhook(ctx, client.Webhook{Name: "desk", URL: receiver.URL, Events: []string{"mailbox.*"}})
	must(t, err)

	t.Run("a test says what was answered", func(t *testing.T) {
		tested, err := c.TestWebhook(ctx, "desk")
		must(t, err)
		got := next()
		if tested.Delivered || tested.Status != http.StatusTeapot || tested.Answer != "short and stout" || tested.Error == "" || tested.Remedy == "" {
			t.Errorf("got %+v", tested)
		}
		if string(got.body) != string(tested.Body) || got.header.Get("webhook-id") != tested.ID || !strings.Contains(string(got.body), `"type":"webhook.ping"`) {
			t.Errorf("sent %s, told %s", got.body, tested.Body)
		}
		verified(t, got, hook.Secret)
	})
	var gone client.Delivery
	t.Run("410 switches it off, and what waits keeps its place", func(t *testing.T) {
		status.Store(http.StatusGone)
		must(t, c.PauseMailbox(ctx, directory.StoryDesk))
		next()
		off := s.webhookBecomes(t, c, func(w client.Webhook) bool { return w.Disabled != "" })
		if off.DisabledBy != "receiver" || off.Waiting != 1 || off.Parked != 0 || off.DisabledAt.IsZero() {
			t.Errorf("got %+v", off)
		}
		waiting := s.deliveries(t, c, client.DeliveryFilter{State: "pending", Mailbox: directory.StoryDesk})
		if len(waiting) != 1 || waiting[0].LastStatus != http.StatusGone || waiting[0].Kind != "mailbox.paused" {
			t.Fatalf("got %+v", waiting)
		}
		gone = waiting[0]
		_, err := c.PutWebhook(ctx, "desk", client.Webhook{URL: receiver.URL, Events: []string{"mailbox.*"}})
		must(t, err)
		if w, err := c.Webhook(ctx, "desk"); err != nil || w.Disabled == "" {
			t.Errorf("saving it switched it on: %+v, %v", w, err)
		}
		status.Store(http.StatusNoContent)
		on, err := c.EnableWebhook(ctx, "desk")
		if err != nil || on.Disabled != "" {
			t.Fatalf("got %+v, %v", on, err)
		}
		if got := next(); got.header.Get("webhook-id") != gone.ID {
			t.Errorf("got %s, want %s", got.header.Get("webhook-id"), gone.ID)
		}
		if w := s.webhookBecomes(t, c, func(w client.Webhook) bool { return w.Waiting == 0 }); w.LastDeliveredAt.IsZero() {
			t.Errorf("got %+v", w)
		}
	})
	t.Run("a delivery is shown whole, and made again", func(t *testing.T) {
		d, err := c.Delivery(ctx, "desk", gone.ID)
		must(t, err)
		var body struct{ Type, Timestamp string }
		must(t, json.Unmarshal(d.Body, &body))
		if d.State != "delivered" || len(d.Tries) != 2 || d.Tries[0].Status != http.StatusGone || d.Tries[1].Error != "" || body.Type != "mailbox.paused" || d.Headers["Webhook-Id"] != gone.ID {
			t.Errorf("got %+v", d)
		}
		_, err = c.ReplayDelivery(ctx, "desk", gone.ID)
		must(t, err)
		again := next()
		if again.header.Get("webhook-id") != gone.ID || string(again.body) != string(d.Body) {
			t.Errorf("made again as %s: %s", again.header.Get("webhook-id"), again.body)
		}
		if r, err := c.ReplayWebhook(ctx, "desk"); err != nil || r.Replayed != 0 {
			t.Errorf("nothing is parked: %+v, %v", r, err)
		}
		s.do(t, s.key, "POST", "/v1/webhooks/desk/deliveries/none/replay", nil).refused(t, 404, "delivery.unknown")
		s.do(t, s.key, "GET", "/v1/webhooks/other/deliveries", nil).refused(t, 404, "webhook.unknown")
		s.do(t, s.key, "GET", "/v1/webhooks/desk/deliveries?state=lost", nil).refused(t, 422, "delivery.state")
	})
	t.Run("the secret rotates with an overlap", func(t *testing.T) {
		rotated, err := c.RotateWebhookSecret(ctx, "desk", client.NewSecret{Overlap: "1h"})
		if err != nil || rotated.Secret == "" || rotated.Secret == hook.Secret || time.Until(rotated.SignedWithBothUntil) < 59*time.Minute {
			t.Fatalf("got %+v, %v", rotated, err)
		}
		_, err = c.TestWebhook(ctx, "desk")
		must(t, err)
		both := next()
		verified(t, both, hook.Secret)
		verified(t, both, rotated.Secret)
		last, err := c.RotateWebhookSecret(ctx, "desk", client.NewSecret{Secret: "a secret of the receiver's own choice", Overlap: "0s"})
		if err != nil || last.Secret != "" || !last.SignedWithBothUntil.IsZero() {
			t.Fatalf("got %+v, %v", last, err)
		}
		_, err = c.TestWebhook(ctx, "desk")
		must(t, err)
		if only := next(); strings.Contains(only.header.Get("webhook-signature"), " ") {
			t.Error("it is signed with a secret that ended")
		}
		for body, field := range map[string]string{`{"overlap":"200h"}`: "overlap", `{"overlap":"soon"}`: "overlap", `{"secret":"short"}`: "secret"} {
			a := s.do(t, s.key, "POST", "/v1/webhooks/desk/secret", body)
			if a.status != 422 || !strings.Contains(a.body, `"field":"`+field) {
				t.Errorf("%s: %d %s", body, a.status, a.body)
			}
		}
	})
	t.Run("an operator switches it off", func(t *testing.T) {
		off, err := c.DisableWebhook(ctx, "desk")
		if err != nil || off.DisabledBy != "operator" {
			t.Fatalf("got %+v, %v", off, err)
		}
		_, err = c.PutWebhook(ctx, "desk", client.Webhook{URL: receiver.URL + "/elsewhere", Events: []string{"mailbox.*"}})
		must(t, err)
		if w, err := c.Webhook(ctx, "desk"); err != nil || w.Disabled == "" {
			t.Errorf("another URL switched it on: %+v, %v", w, err)
		}
	})
	t.Run("a key that is bound to a mailbox sees none of it", func(t *testing.T) {
		bound := s.newKey(t, "bound", []access.Right{access.Read, access.Manage}, directory.StoryDesk)
		for _, call := range []string{
			"GET /deliveries", "GET /deliveries/" + gone.ID, "POST /deliveries/" + gone.ID + "/replay", "POST /replay", "POST /enable", "POST /disable", "POST /test", "POST /secret",
		} {
			method, path, _ := strings.Cut(call, " ")
			s.do(t, bound, method, "/v1/webhooks/desk"+path, nil).refused(t, 403, "access.forbidden")
		}
	})
}

func (s *server) deliveries(t *testing.T, c *client.Client, f client.DeliveryFilter) []client.Delivery {
	t.Helper()
	all, err := client.Collect(c.Deliveries(t.Context(), "desk", f), 0)
	must(t, err)
	return all
}

// webhookBecomes waits until something is true of the webhook.
func (s *server) webhookBecomes(t *testing.T, c *client.Client, holds func(client.Webhook) bool) client.Webhook {
	t.Helper()
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		w, err := c.Webhook(t.Context(), "desk")
		must(t, err)
		if holds(w) {
			return w
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it stays %+v", w)
		}
	}
}

func verified(t *testing.T, got taken, secret string) {
	t.Helper()
	v, err := standardwebhooks.NewWebhook(secret)
	must(t, err)
	if err := v.Verify(got.body, got.header); err != nil {
		t.Errorf("%v: %v", got.header, err)
	}
}
