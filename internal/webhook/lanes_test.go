package webhook_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

const patience = time.Minute

// runs lets the room work until the returned function is called.
func (r *room) runs(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-ended:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(patience):
				t.Error("Run does not return")
			}
		})
	}
	t.Cleanup(stop)
	return stop
}

func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited %s until %s", patience, what)
		}
	}
}

// of writes an event about each of so many mailboxes.
func (r *room) of(t *testing.T, mailboxes int) {
	t.Helper()
	for i := range mailboxes {
		e := event.New(r.now, event.MessageReceived, event.System(), fmt.Sprint(i)).About(fmt.Sprint("m", i), box)
		if err := r.store.WriteEvent(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// waiting counts what waits about mailboxes; the webhook is told of itself too.
func (r *room) waiting(t *testing.T, name string) int {
	t.Helper()
	return len(r.about(t, name, webhook.Filter{State: webhook.Waiting}))
}

func (r *room) about(t *testing.T, name string, f webhook.Filter) []webhook.Recorded {
	t.Helper()
	all, err := r.Deliveries(t.Context(), name, f)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(d webhook.Recorded) bool { return d.Delivery.MailboxID == "" })
}

func TestRun_HangingReceiverTakesNoPlaceOfAnother(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var mu sync.Mutex
	busy, peak := 0, 0
	r := newRoom(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path != "/hangs" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		mu.Lock()
		busy++
		peak = max(peak, busy)
		mu.Unlock()
		<-release
		mu.Lock()
		busy--
		mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	})
	if _, _, err := r.Save(t.Context(), event.System(), webhook.Input{Name: "hangs", URL: r.to.URL + "/hangs", Events: []event.Pattern{"message.*"}}); err != nil {
		t.Fatal(err)
	}
	const mailboxes = 40
	r.of(t, mailboxes)
	stop := r.runs(t)
	until(t, "the other has everything", func() bool { return r.waiting(t, "desk") == 0 })
	if n := r.waiting(t, "hangs"); n != mailboxes {
		t.Errorf("%d wait for the one that hangs", n)
	}
	close(release)
	until(t, "the one that hung has everything", func() bool { return r.waiting(t, "hangs") == 0 })
	stop()
	if peak != 8 {
		t.Errorf("%d deliveries at once", peak)
	}
}

func TestRun_BusyQueuesLetOthersHaveTheirTurn(t *testing.T) {
	t.Parallel()
	r := newRoom(t, status(http.StatusNoContent))
	// As many busy queues as there are places, then one with a single event.
	const busy, each = 8, 20
	for range each {
		r.of(t, busy)
	}
	alone := event.New(r.now, event.MessageReceived, event.System(), "alone").About("alone", box)
	if err := r.store.WriteEvent(t.Context(), alone); err != nil {
		t.Fatal(err)
	}
	r.runs(t)
	until(t, "everything is delivered", func() bool { return r.waiting(t, "desk") == 0 })
	if at := slices.Index(strings.Fields(r.texts(t)), "alone"); at < 0 || at > busy*each*2/3 {
		t.Errorf("the single event came as number %d of %d", at, busy*each)
	}
}

func TestRun_EndsAndGivesBackWhatHangs(t *testing.T) {
	t.Parallel()
	r := newRoom(t, func(_ http.ResponseWriter, q *http.Request) { <-q.Context().Done() })
	r.of(t, 1)
	stop := r.runs(t)
	until(t, "it was called", func() bool {
		r.to.mu.Lock()
		defer r.to.mu.Unlock()
		return len(r.to.bodies) == 2 // the webhook is told of itself too
	})
	stop()
	left := r.about(t, "desk", webhook.Filter{State: webhook.Waiting})
	if len(left) != 1 || left[0].Delivery.Attempts != 0 || left[0].Delivery.Lease.Owner != "" {
		t.Fatalf("got %+v", left)
	}
	// Another process need not wait for a lease to run out.
	r.to.answer = status(http.StatusOK)
	r.Webhooks = r.open("b", loopback())
	if err := r.Drain(t.Context(), r.hook.ID, "m0"); err != nil || r.waiting(t, "desk") != 0 {
		t.Errorf("%d wait: %v", r.waiting(t, "desk"), err)
	}
}
