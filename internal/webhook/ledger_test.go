package webhook_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// told gives the sentences of the events of a kind, newest first.
func (r *room) told(t *testing.T, k event.Kind) []event.Event {
	t.Helper()
	all, err := r.store.Events(t.Context(), event.Filter{Patterns: []event.Pattern{event.Pattern(k)}, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// last is what the receiver got last.
func (r *room) last(t *testing.T) (http.Header, []byte) {
	t.Helper()
	r.to.mu.Lock()
	defer r.to.mu.Unlock()
	if len(r.to.heads) == 0 {
		t.Fatal("nothing came")
	}
	return r.to.heads[len(r.to.heads)-1], r.to.bodies[len(r.to.bodies)-1]
}

func (r *room) signedBy(t *testing.T, secret seal.Secret) bool {
	t.Helper()
	header, body := r.last(t)
	v, err := standardwebhooks.NewWebhook(secret.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return v.VerifyIgnoringTimestamp(body, header) == nil
}

func TestReplayParked(t *testing.T) {
	t.Parallel()
	r := newRoom(t, status(500))
	r.happen(t, 3)
	for range 4 { // each is tried, and parked a day later
		r.drain(t)
		r.now = r.now.Add(25 * time.Hour)
	}
	if s, err := r.Standings(t.Context()); err != nil || s[r.hook.ID].Parked != 3 {
		t.Fatalf("got %+v, %v", s, err)
	}
	r.to.mu.Lock()
	r.to.bodies, r.to.heads = nil, nil
	r.to.mu.Unlock()
	r.to.answer = status(200)
	by := event.Actor{Kind: event.ActorOperator, Name: "ada"}
	if n, err := r.ReplayParked(t.Context(), by, "desk"); err != nil || n != 3 {
		t.Fatalf("%d were put back: %v", n, err)
	}
	r.drain(t)
	if got := r.texts(t); got != "0 1 2" {
		t.Errorf("got %q", got)
	}
	told := r.told(t, event.DeliveryReplayed)
	if len(told) != 1 || told[0].Actor != by || told[0].Data["deliveries"] != "3" {
		t.Errorf("the timeline says %+v", told)
	}
	if _, err := r.ReplayParked(t.Context(), by, "none"); !fault.Has(err, "webhook.unknown") {
		t.Errorf("got %v", err)
	}
}

func TestPing(t *testing.T) {
	t.Parallel()
	r := newRoom(t, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "what is this?", http.StatusBadRequest) })
	if _, err := r.Disable(t.Context(), event.System(), "desk"); err != nil {
		t.Fatal(err)
	}
	p, err := r.Ping(t.Context(), event.System(), "desk")
	if err != nil || p.Delivered || p.Try.Status != 400 || p.Try.Answer != "what is this?" || p.Try.Remedy == "" {
		t.Errorf("got %+v, %v", p, err)
	}
	if header, body := r.last(t); header.Get("webhook-id") != p.ID || string(body) != string(p.Body) || !r.signedBy(t, r.key) {
		t.Errorf("sent %s", body)
	}
	r.to.answer = status(200)
	if p, err = r.Ping(t.Context(), event.System(), "desk"); err != nil || !p.Delivered || p.Try.Error != "" {
		t.Errorf("got %+v, %v", p, err)
	}
	r.to.Close()
	if p, err = r.Ping(t.Context(), event.System(), "desk"); err != nil || p.Delivered || p.Try.Status != 0 || !strings.Contains(p.Try.Error, "refused") {
		t.Errorf("got %+v, %v", p, err)
	}
	told := r.told(t, event.WebhookPing)
	if len(told) != 3 || !strings.Contains(told[0].Text, "failed") || !strings.Contains(told[1].Text, "200 OK") {
		t.Errorf("the timeline says %+v", told)
	}
	if n := r.waiting(t, "desk"); n != 0 {
		t.Errorf("%d deliveries came of tests", n)
	}
}

func TestRotateSecret(t *testing.T) {
	t.Parallel()
	r := newRoom(t, status(200))
	send := func() {
		t.Helper()
		if _, err := r.Ping(t.Context(), event.System(), "desk"); err != nil {
			t.Fatal(err)
		}
	}
	changed, second, err := r.RotateSecret(t.Context(), event.System(), "desk", webhook.Rotation{})
	if err != nil || second.Equal(r.key) || !changed.PreviousSecretUntil.Equal(r.now.Add(24*time.Hour)) {
		t.Fatalf("got %+v, %v", changed, err)
	}
	send()
	if !r.signedBy(t, r.key) || !r.signedBy(t, second) {
		t.Error("it is not signed with both")
	}
	// The same document saved again, as apply does, ends no overlap.
	in := webhook.Input{Name: "desk", URL: r.to.URL, Secret: second, Events: []event.Pattern{"message.*"}}
	if kept, _, err := r.Save(t.Context(), event.System(), in); err != nil || kept.PreviousSecret.IsZero() {
		t.Errorf("got %+v, %v", kept, err)
	}
	// Pressed twice, nothing that a receiver may hold is lost.
	if _, _, err := r.RotateSecret(t.Context(), event.System(), "desk", webhook.Rotation{}); !fault.Has(err, "webhook.rotating") {
		t.Errorf("a second rotation within the overlap: %v", err)
	}
	r.now = r.now.Add(24 * time.Hour)
	send()
	if r.signedBy(t, r.key) || !r.signedBy(t, second) {
		t.Error("the overlap does not end")
	}
	third, none := seal.NewSecret("the receiver's own secret, long enough"), time.Duration(0)
	changed, shown, err := r.RotateSecret(t.Context(), event.System(), "desk", webhook.Rotation{Secret: third, Overlap: &none})
	if err != nil || !shown.IsZero() || !changed.PreviousSecret.IsZero() {
		t.Fatalf("got %+v, %v", changed, err)
	}
	send()
	if r.signedBy(t, second) {
		t.Error("the previous secret did not end at once")
	}
	week := 169 * time.Hour
	for field, rotation := range map[string]webhook.Rotation{"overlap": {Overlap: &week}, "secret": {Secret: third}} {
		if _, _, err := r.RotateSecret(t.Context(), event.System(), "desk", rotation); fault.Of(err) == nil || fault.Of(err).Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if told := r.told(t, event.WebhookSecret); len(told) != 2 {
		t.Errorf("the timeline says %+v", told)
	}
}

func TestSave_KeepsWhatIsOff(t *testing.T) {
	t.Parallel()
	r := newRoom(t, status(410))
	r.happen(t, 1)
	r.drain(t)
	in := webhook.Input{Name: "desk", URL: r.to.URL, Events: []event.Pattern{"*"}}
	if w, _, err := r.Save(t.Context(), event.System(), in); err != nil || w.Disabled == "" {
		t.Errorf("other events switched it on: %+v, %v", w, err)
	}
	before := len(r.told(t, event.WebhookUpdated))
	if _, _, err := r.Save(t.Context(), event.System(), in); err != nil || len(r.told(t, event.WebhookUpdated)) != before {
		t.Errorf("nothing changed, and an event says otherwise: %v", err)
	}
	in.URL += "/elsewhere"
	r.to.answer = status(200)
	w, _, err := r.Save(t.Context(), event.System(), in)
	if err != nil || w.Disabled != "" {
		t.Fatalf("another receiver was not asked: %+v, %v", w, err)
	}
	r.drain(t)
	if n := r.waiting(t, "desk"); n != 0 {
		t.Errorf("%d wait for the new receiver", n)
	}
	if _, err := r.Disable(t.Context(), event.System(), "desk"); err != nil {
		t.Fatal(err)
	}
	in.URL += "/again"
	if w, _, err := r.Save(t.Context(), event.System(), in); err != nil || w.DisabledBy != webhook.ByOperator {
		t.Errorf("what an operator switched off is on: %+v, %v", w, err)
	}
}

func TestRun_DropsWhatIsTooOldAndSaysSo(t *testing.T) {
	t.Parallel()
	r := newRoom(t, status(500))
	r.happen(t, 3)
	r.drain(t)
	r.now = r.now.Add(25 * time.Hour)
	r.drain(t) // the first is parked
	if _, err := r.Disable(t.Context(), event.System(), "desk"); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(31 * 24 * time.Hour)
	stop := r.runs(t)
	until(t, "nothing is left", func() bool { return len(r.about(t, "desk", webhook.Filter{})) == 0 })
	stop()
	told := slices.DeleteFunc(r.told(t, event.DeliveriesDropped), func(e event.Event) bool { return e.Mailbox == "" })
	if len(told) != 1 {
		t.Fatalf("the timeline says %+v", told)
	}
	e := told[0]
	if e.Mailbox != box || e.Data["webhook"] != "desk" || e.Data["deliveries"] != "3" || e.Data["parked"] != "1" || e.Remedy == "" ||
		e.Text != "3 deliveries to the webhook desk ended unmade after waiting or being parked for 30 days." {
		t.Errorf("the timeline says %+v", e)
	}
}
