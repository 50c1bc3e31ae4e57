package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

func (w *world) replay(hook webhook.Webhook, id string, after time.Duration) error {
	e := event.New(noon().Add(after), event.DeliveryReplayed, event.System(), "It is made again.")
	return w.Replay(w.ctx, hook.ID, id, e)
}

func (w *world) replayParked(hook webhook.Webhook, queues int) (int, error) {
	return w.ReplayParked(w.ctx, hook.ID, queues, event.New(noon().Add(time.Hour), event.DeliveryReplayed, event.System(), "They are made again."))
}

// park claims the head of a queue and puts it aside, some time after noon.
func (w *world) park(hook webhook.Webhook, mailboxID string, after time.Duration) string {
	w.t.Helper()
	return w.settled(hook, mailboxID, after, webhook.Settlement{Parked: true})
}

func (w *world) deliver(hook webhook.Webhook, mailboxID string, after time.Duration) string {
	w.t.Helper()
	return w.settled(hook, mailboxID, after, webhook.Settlement{Delivered: true})
}

func (w *world) settled(hook webhook.Webhook, mailboxID string, after time.Duration, s webhook.Settlement) string {
	w.t.Helper()
	c, err := w.head(hook, mailboxID, after)
	must(w.t, err)
	s.DeliveryID, s.Fence, s.Now = c.Delivery.ID, c.Delivery.Lease.Fence, noon().Add(after)
	must(w.t, w.SettleDelivery(w.ctx, s))
	return c.Delivery.ID
}

func (w *world) listed(f webhook.Filter) []string {
	w.t.Helper()
	all, err := w.Deliveries(w.ctx, f)
	must(w.t, err)
	ids := []string{}
	for _, r := range all {
		ids = append(ids, r.Delivery.ID)
	}
	return ids
}

func ledger(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("deliveries are listed newest first, page by page, with their events", func(t *testing.T) { listing(t, open) })
	t.Run("what is parked goes back before what waits, in its order", func(t *testing.T) { replaying(t, open) })
	t.Run("many replay at once: everything goes back once", func(t *testing.T) {
		w := newWorld(t, open)
		hook := w.webhook("all", []event.Pattern{"message.*"})
		for range 3 {
			w.happen(event.MessageReceived, "a", "a@example.org")
			w.park(hook, "a", 0)
		}
		counts := make([]int, 8)
		errs := race(8, func(i int) error {
			var err error
			counts[i], err = w.replayParked(hook, 10)
			return err
		})
		total := 0
		for i, err := range errs {
			must(t, err)
			total += counts[i]
		}
		if total != 3 || w.events(event.DeliveryReplayed) != 1 {
			t.Errorf("%d were put back, and %d events tell of it", total, w.events(event.DeliveryReplayed))
		}
	})
	t.Run("a replay and an attempt at once leave one head", func(t *testing.T) {
		w := newWorld(t, open)
		hook := w.webhook("all", []event.Pattern{"message.*"})
		w.happen(event.MessageReceived, "a", "a@example.org")
		w.happen(event.MessageReceived, "a", "a@example.org")
		parked := w.park(hook, "a", 0)
		errs := race(10, func(i int) error {
			if i == 0 {
				return w.replay(hook, parked, 0)
			}
			_, err := w.head(hook, "a", 0)
			return err
		})
		must(t, errs[0])
		if won := tally(t, errs[1:], "work.later"); won != 1 {
			t.Errorf("%d hold the lease of one queue", won)
		}
	})
	t.Run("what stood for longer than anything is kept goes, and an event says so", func(t *testing.T) { dropping(t, open) })
	t.Run("how a webhook gets on", func(t *testing.T) {
		w := newWorld(t, open)
		hook, idle := w.webhook("all", []event.Pattern{"message.*"}), w.webhook("idle", []event.Pattern{"grant.*"})
		for range 4 {
			w.happen(event.MessageReceived, "a", "a@example.org")
		}
		w.happen(event.MessageReceived, "b", "b@example.org")
		w.park(hook, "a", 0)
		w.deliver(hook, "a", time.Minute)
		w.deliver(hook, "b", time.Second)
		got, err := w.Standings(w.ctx)
		must(t, err)
		want := map[string]webhook.Standing{
			hook.ID: {Waiting: 2, Parked: 1, WaitingSince: noon(), LastDelivered: noon().Add(time.Minute)}, idle.ID: {},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a previous secret is kept for its time and then forgotten", func(t *testing.T) {
		w := newWorld(t, open)
		hook := w.webhook("all", []event.Pattern{"*"})
		hook.PreviousSecret, hook.PreviousSecretUntil, hook.Version = hook.Secret, noon().Add(time.Hour), 2
		hook.Secret = w.seal("the-next-signing-secret", "webhook", hook.ID, "secret")
		must(t, w.SaveWebhook(w.ctx, webhook.Saving{Webhook: hook, IfVersion: 1}))
		must(t, w.ForgetSecrets(w.ctx, noon().Add(time.Hour-time.Microsecond)))
		stored, err := w.Webhook(w.ctx, "all")
		must(t, err)
		if diff := cmp.Diff(hook, stored, bytewise()); diff != "" {
			t.Error(diff)
		}
		must(t, w.ForgetSecrets(w.ctx, noon().Add(time.Hour)))
		stored, err = w.Webhook(w.ctx, "all")
		must(t, err)
		if !stored.PreviousSecret.IsZero() || !stored.PreviousSecretUntil.IsZero() || stored.Secret.IsZero() || stored.Version != 2 {
			t.Errorf("got %+v", stored)
		}
	})
}

func listing(t *testing.T, open func(*testing.T) *store.Store) {
	w := newWorld(t, open)
	hook, other := w.webhook("all", []event.Pattern{"message.*"}), w.webhook("other", []event.Pattern{"message.*"})
	var events []event.Event
	for range 3 {
		events = append(events, w.happen(event.MessageReceived, "a", "a@example.org"))
	}
	b := w.happen(event.MessageReceived, "b", "b@example.org")
	first, second := w.park(hook, "a", 0), w.deliver(hook, "a", 0)
	third, err := w.head(hook, "a", 0)
	must(t, err)
	ofB, err := w.head(hook, "b", 0)
	must(t, err)
	for what, c := range map[string]struct {
		f    webhook.Filter
		want []string
	}{
		"all":       {webhook.Filter{}, []string{ofB.Delivery.ID, third.Delivery.ID, second, first}},
		"a page":    {webhook.Filter{Limit: 2}, []string{ofB.Delivery.ID, third.Delivery.ID}},
		"the next":  {webhook.Filter{Before: third.Delivery.ID, Limit: 2}, []string{second, first}},
		"mailbox":   {webhook.Filter{MailboxID: "b"}, []string{ofB.Delivery.ID}},
		"parked":    {webhook.Filter{State: webhook.Parked}, []string{first}},
		"delivered": {webhook.Filter{State: webhook.Delivered}, []string{second}},
		"waiting":   {webhook.Filter{State: webhook.Waiting}, []string{ofB.Delivery.ID, third.Delivery.ID}},
		"both":      {webhook.Filter{State: webhook.Waiting, MailboxID: "a"}, []string{third.Delivery.ID}},
		"nothing":   {webhook.Filter{State: webhook.Parked, MailboxID: "b"}, []string{}},
	} {
		c.f.WebhookID = hook.ID
		if diff := cmp.Diff(c.want, w.listed(c.f)); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	one, err := w.Delivery(w.ctx, hook.ID, ofB.Delivery.ID)
	must(t, err)
	if diff := cmp.Diff(b, one.Event) + cmp.Diff(ofB.Delivery, one.Delivery); diff != "" {
		t.Error(diff)
	}
	parked, err := w.Delivery(w.ctx, hook.ID, first)
	must(t, err)
	if parked.Event.ID != events[0].ID || parked.Delivery.State != webhook.Parked {
		t.Errorf("got %+v", parked)
	}
	_, err = w.Delivery(w.ctx, other.ID, first)
	wantFault(t, err, "delivery.unknown", fault.NotFound)
	wantFault(t, w.replay(other, first, 0), "delivery.unknown", fault.NotFound)
	wantFault(t, w.replay(hook, "none", 0), "delivery.unknown", fault.NotFound)
}

func replaying(t *testing.T, open func(*testing.T) *store.Store) {
	w := newWorld(t, open)
	hook := w.webhook("all", []event.Pattern{"message.*"})
	var want []string
	for range 3 {
		w.happen(event.MessageReceived, "a", "a@example.org")
		want = append(want, w.park(hook, "a", 0))
	}
	w.happen(event.MessageReceived, "a", "a@example.org")
	delivered := w.deliver(hook, "a", 0)
	waits := w.happen(event.MessageReceived, "a", "a@example.org")
	w.happen(event.MessageReceived, "b", "b@example.org")
	w.park(hook, "b", 0)
	if n, err := w.replayParked(hook, 1); err != nil || n != 3 {
		t.Fatalf("%d of the first queue were put back: %v", n, err)
	}
	if n, err := w.replayParked(hook, 10); err != nil || n != 1 {
		t.Fatalf("%d of the second queue were put back: %v", n, err)
	}
	if n, err := w.replayParked(hook, 10); err != nil || n != 0 {
		t.Fatalf("%d were put back, and none was parked: %v", n, err)
	}
	told, err := w.Events(w.ctx, event.Filter{Patterns: []event.Pattern{event.Pattern(event.DeliveryReplayed)}})
	must(t, err)
	if len(told) != 2 || told[1].Data["deliveries"] != "3" || told[0].Data["deliveries"] != "1" {
		t.Errorf("the timeline says %+v", told)
	}
	if queues := w.dueQueues(time.Hour); len(queues) != 2 {
		t.Errorf("due: %v", queues)
	}
	for i, id := range want {
		if got := w.deliver(hook, "a", time.Hour); got != id {
			t.Errorf("number %d is %s, want %s", i, got, id)
		}
	}
	// A delivered one may be asked for again; what waits comes after it.
	must(t, w.replay(hook, delivered, time.Hour))
	if got := w.deliver(hook, "a", time.Hour); got != delivered {
		t.Errorf("got %s, want the delivered one %s", got, delivered)
	}
	last, err := w.head(hook, "a", time.Hour)
	must(t, err)
	if last.Event.ID != waits.ID {
		t.Errorf("got %+v", last.Delivery)
	}
	// One that waits for its next attempt need not wait.
	must(t, w.SettleDelivery(w.ctx, webhook.Settlement{DeliveryID: last.Delivery.ID, Fence: last.Delivery.Lease.Fence, NextAttemptAt: noon().Add(9 * time.Hour), Now: noon()}))
	must(t, w.replay(hook, last.Delivery.ID, 2*time.Hour))
	if got := w.deliver(hook, "a", 2*time.Hour); got != last.Delivery.ID {
		t.Errorf("got %s", got)
	}
}

func dropping(t *testing.T, open func(*testing.T) *store.Store) {
	w := newWorld(t, open)
	hook := w.webhook("all", []event.Pattern{"message.*"})
	for range 4 {
		w.happen(event.MessageReceived, "a", "a@example.org")
	}
	w.happen(event.MessageReceived, "b", "b@example.org")
	w.deliver(hook, "a", 0)
	parked := w.park(hook, "a", 0)
	kept := w.park(hook, "a", 2*time.Hour)
	held, err := w.head(hook, "b", 2*time.Hour) // is being made
	must(t, err)
	before := noon().Add(time.Hour)
	outdated, err := w.Outdated(w.ctx, before, 10)
	must(t, err)
	waiting := w.listed(webhook.Filter{WebhookID: hook.ID, MailboxID: "a", State: webhook.Waiting})
	want := []webhook.Outdated{{
		Queue: webhook.Queue{WebhookID: hook.ID, MailboxID: "a"}, Webhook: "all", Mailbox: "a@example.org", IDs: []string{parked, waiting[0]}, Parked: 1,
	}}
	anyOrder := cmpopts.SortSlices(func(a, b string) bool { return a < b })
	if diff := cmp.Diff(want, outdated, anyOrder); diff != "" {
		t.Fatal(diff)
	}
	e := func() event.Event {
		return event.New(noon().Add(time.Hour), event.DeliveriesDropped, event.System(), "They ended.").About("a", "a@example.org")
	}
	// One that was replayed meanwhile keeps the others, until the next look.
	must(t, w.replay(hook, parked, 3*time.Hour))
	wantFault(t, w.DropDeliveries(w.ctx, outdated[0], before, e()), "delivery.changed", fault.Conflict)
	outdated, err = w.Outdated(w.ctx, before, 10)
	must(t, err)
	if len(outdated) != 1 || len(outdated[0].IDs) != 1 || outdated[0].Parked != 0 {
		t.Fatalf("got %+v", outdated)
	}
	errs := race(5, func(int) error { return w.DropDeliveries(w.ctx, outdated[0], before, e()) })
	if won := tally(t, errs, "delivery.changed"); won != 1 || w.events(event.DeliveriesDropped) != 1 {
		t.Errorf("%d removed it, and %d events tell of it", won, w.events(event.DeliveriesDropped))
	}
	if left := w.listed(webhook.Filter{WebhookID: hook.ID, State: webhook.Parked}); len(left) != 1 || left[0] != kept {
		t.Errorf("parked: %v", left)
	}
	if got := w.deliver(hook, "a", 3*time.Hour); got != parked {
		t.Errorf("the head is %s", got)
	}
	if queues := w.dueQueues(4 * time.Hour); len(queues) != 1 || queues[0].MailboxID != "b" {
		t.Errorf("due: %v", queues)
	}
	must(t, w.SettleDelivery(w.ctx, webhook.Settlement{DeliveryID: held.Delivery.ID, Fence: held.Delivery.Lease.Fence, Delivered: true, Now: noon()}))
}
