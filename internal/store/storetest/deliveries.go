package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// webhook stores a webhook that wants these events of these addresses.
func (w *world) webhook(name string, events []event.Pattern, addresses ...string) webhook.Webhook {
	w.t.Helper()
	id := event.NewID()
	hook := webhook.Webhook{
		ID: id, Name: name, URL: "https://desk.example/hook", Secret: w.seal("signing-secret", "webhook", id, "secret"), Events: events, Mailboxes: addresses,
		Version: 1, CreatedAt: noon(), UpdatedAt: noon(),
	}
	must(w.t, w.SaveWebhook(w.ctx, webhook.Saving{Webhook: hook, Event: event.New(noon(), event.WebhookCreated, event.System(), "The webhook was added.")}))
	return hook
}

// happen writes an event about a mailbox, which need not exist.
func (w *world) happen(kind event.Kind, mailboxID, address string) event.Event {
	w.t.Helper()
	e := event.New(noon(), kind, event.System(), "Something happened.").About(mailboxID, address).With("n", "1")
	must(w.t, w.WriteEvent(w.ctx, e))
	return e
}

// head claims the head of a queue a while after noon, with a lease of a minute. As
// whoever claims, it was told before that the queue is due.
func (w *world) head(hook webhook.Webhook, mailboxID string, after time.Duration) (webhook.Claimed, error) {
	w.t.Helper()
	w.dueQueues(after)
	return w.ClaimHead(w.ctx, hook.ID, mailboxID, "a", noon().Add(after), noon().Add(after+time.Minute))
}

func (w *world) dueQueues(after time.Duration) []webhook.Queue {
	w.t.Helper()
	queues, err := w.DueQueues(w.ctx, noon().Add(after), 10)
	must(w.t, err)
	return queues
}

func deliveries(t *testing.T, open func(*testing.T) *store.Store) {
	t.Run("an event goes to the webhooks that want it, by mailbox", func(t *testing.T) {
		w := newWorld(t, open)
		all := w.webhook("all", []event.Pattern{"message.received"})
		one := w.webhook("one", []event.Pattern{"message.*"}, "a@example.org")
		other := w.webhook("other", []event.Pattern{"grant.*"})
		e := w.happen(event.MessageReceived, "a", "a@example.org")
		w.happen(event.MessageReceived, "b", "b@example.org")
		want := map[webhook.Queue]bool{{WebhookID: all.ID, MailboxID: "a"}: true, {WebhookID: all.ID, MailboxID: "b"}: true, {WebhookID: one.ID, MailboxID: "a"}: true}
		got := map[webhook.Queue]bool{}
		for _, q := range w.dueQueues(0) {
			got[q] = true
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		c, err := w.head(one, "a", 0)
		must(t, err)
		if diff := cmp.Diff(e, c.Event) + cmp.Diff(one, c.Webhook, bytewise()); diff != "" {
			t.Error(diff)
		}
		_, err = w.head(other, "a", 0)
		wantFault(t, err, "work.none", fault.NotFound)
	})
	t.Run("a queue is delivered in order, however many write at once", func(t *testing.T) {
		w := newWorld(t, open)
		hook := w.webhook("all", []event.Pattern{"*"}, "a@example.org")
		race(10, func(int) error {
			w.happen(event.MessageReceived, "a", "a@example.org")
			return nil
		})
		timeline, err := w.Events(w.ctx, event.Filter{MailboxIDs: []string{"a"}, After: "0"})
		must(t, err)
		if len(timeline) != 10 {
			t.Fatalf("%d events", len(timeline))
		}
		for i, e := range timeline {
			c, err := w.head(hook, "a", 0)
			must(t, err)
			if c.Event.ID != e.ID || c.Delivery.Sequence != int64(i+1) {
				t.Fatalf("delivery %d is number %d of event %s, want %s", i, c.Delivery.Sequence, c.Event.ID, e.ID)
			}
			must(t, w.SettleDelivery(w.ctx, webhook.Settlement{DeliveryID: c.Delivery.ID, Fence: c.Delivery.Lease.Fence, Delivered: true, Tries: []webhook.Try{{At: noon(), Status: 204}}, Now: noon()}))
		}
		if queues := w.dueQueues(time.Hour); len(queues) != 0 {
			t.Errorf("empty queues are due: %v", queues)
		}
	})
	t.Run("a head is claimed by one, and what waits behind it by nobody", func(t *testing.T) {
		w := newWorld(t, open)
		hook := w.webhook("all", []event.Pattern{"*"}, "a@example.org")
		w.happen(event.MessageReceived, "a", "a@example.org")
		w.happen(event.MessageReceived, "a", "a@example.org")
		errs := race(10, func(int) error {
			_, err := w.head(hook, "a", 0)
			return err
		})
		if won := tally(t, errs, "work.later"); won != 1 {
			t.Errorf("%d claimed it", won)
		}
		if a, b := w.dueQueues(59*time.Second), w.dueQueues(time.Minute); len(a) != 0 || len(b) != 1 {
			t.Errorf("due: %v, %v", a, b)
		}
	})
	t.Run("an attempt whose process vanished is taken over", func(t *testing.T) {
		w := newWorld(t, open)
		hook := w.webhook("all", []event.Pattern{"*"}, "a@example.org")
		w.happen(event.MessageReceived, "a", "a@example.org")
		first, err := w.head(hook, "a", 0)
		must(t, err)
		second, err := w.head(hook, "a", time.Minute)
		must(t, err)
		if second.Delivery.ID != first.Delivery.ID || second.Delivery.Lease.Fence != first.Delivery.Lease.Fence+1 {
			t.Errorf("got %+v", second.Delivery)
		}
		parked := event.New(noon(), event.DeliveryParked, event.System(), "Parked.").About("a", "a@example.org")
		late := webhook.Settlement{DeliveryID: first.Delivery.ID, Fence: first.Delivery.Lease.Fence, Parked: true, Now: noon(), Events: []event.Event{parked}}
		wantFault(t, w.SettleDelivery(w.ctx, late), "work.fenced", fault.Conflict)
		if w.events(event.DeliveryParked) != 0 {
			t.Error("a fenced settlement left its event")
		}
	})
	t.Run("a receiver that is gone switches off itself, not its successor", func(t *testing.T) { gone(t, open) })
	t.Run("a failure waits, a parked one lets the next go, a replayed one comes first", func(t *testing.T) { parking(t, open) })
	t.Run("a disabled webhook gets nothing more until it is on again", func(t *testing.T) { disabling(t, open) })
	t.Run("an attempt that was cut off is given back as if it had not been made", func(t *testing.T) {
		w := newWorld(t, open)
		hook := w.webhook("all", []event.Pattern{"*"}, "a@example.org")
		w.happen(event.MessageReceived, "a", "a@example.org")
		c, err := w.head(hook, "a", 0)
		must(t, err)
		must(t, w.SettleDelivery(w.ctx, webhook.Settlement{DeliveryID: c.Delivery.ID, Fence: c.Delivery.Lease.Fence, Unmade: true, Now: noon()}))
		again, err := w.head(hook, "a", 0)
		must(t, err)
		if again.Delivery.ID != c.Delivery.ID || again.Delivery.Attempts != 0 || !again.Delivery.FirstTriedAt.IsZero() {
			t.Errorf("got %+v", again.Delivery)
		}
		wantFault(t, w.SettleDelivery(w.ctx, webhook.Settlement{DeliveryID: c.Delivery.ID, Fence: c.Delivery.Lease.Fence, Unmade: true, Now: noon()}), "work.fenced", fault.Conflict)
	})
	t.Run("the due queues of one webhook hide none of another", func(t *testing.T) {
		w := newWorld(t, open)
		crowd := w.webhook("crowd", []event.Pattern{"message.*"})
		off := w.webhook("off", []event.Pattern{"message.*"})
		for i := range 5 {
			w.happen(event.MessageReceived, fmt.Sprint("m", i), "m@example.org")
		}
		late := w.webhook("late", []event.Pattern{"grant.*"})
		w.happen(event.GrantDead, "a", "a@example.org")
		off.Disabled, off.Version = "An operator did it.", 2
		must(t, w.SaveWebhook(w.ctx, webhook.Saving{Webhook: off, IfVersion: 1}))
		queues, err := w.DueQueues(w.ctx, noon(), 2)
		must(t, err)
		by := map[string]int{}
		for _, q := range queues {
			by[q.WebhookID]++
		}
		if diff := cmp.Diff(map[string]int{crowd.ID: 2, late.ID: 1}, by); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a webhook changes by version and goes with its queue", func(t *testing.T) {
		w := newWorld(t, open)
		hook := w.webhook("all", []event.Pattern{"*"}, "a@example.org")
		w.happen(event.MessageReceived, "a", "a@example.org")
		e := func(kind event.Kind) event.Event { return event.New(noon(), kind, event.System(), "Changed.") }
		other := hook
		other.ID = event.NewID()
		wantFault(t, w.SaveWebhook(w.ctx, webhook.Saving{Webhook: other, Event: e(event.WebhookCreated)}), "webhook.exists", fault.Conflict)
		hook.URL, hook.Version = "https://new.example", 2
		must(t, w.SaveWebhook(w.ctx, webhook.Saving{Webhook: hook, IfVersion: 1, Event: e(event.WebhookUpdated)}))
		wantFault(t, w.SaveWebhook(w.ctx, webhook.Saving{Webhook: hook, IfVersion: 1, Event: e(event.WebhookUpdated)}), "webhook.changed", fault.Conflict)
		stored, err := w.Webhook(w.ctx, "all")
		must(t, err)
		if diff := cmp.Diff(hook, stored, bytewise()); diff != "" {
			t.Error(diff)
		}
		must(t, w.DeleteWebhook(w.ctx, "all", e(event.WebhookDeleted)))
		wantFault(t, w.DeleteWebhook(w.ctx, "all", e(event.WebhookDeleted)), "webhook.unknown", fault.NotFound)
		_, err = w.head(hook, "a", 0)
		wantFault(t, err, "work.none", fault.NotFound)
	})
}

func gone(t *testing.T, open func(*testing.T) *store.Store) {
	w := newWorld(t, open)
	hook := w.webhook("all", []event.Pattern{"message.*"}, "a@example.org")
	w.happen(event.MessageReceived, "a", "a@example.org")
	settle := func(c webhook.Claimed) {
		t.Helper()
		must(t, w.SettleDelivery(w.ctx, webhook.Settlement{
			DeliveryID: c.Delivery.ID, Fence: c.Delivery.Lease.Fence, Disable: "gone", DisableVersion: c.Webhook.Version, NextAttemptAt: noon(), Tries: []webhook.Try{{At: noon(), Status: 410, Error: "gone"}}, Now: noon(),
			Events: []event.Event{event.New(noon(), event.WebhookDisabled, event.System(), "It was switched off.")},
		}))
	}
	told := func() int {
		t.Helper()
		events, err := w.Events(w.ctx, event.Filter{Patterns: []event.Pattern{event.Pattern(event.WebhookDisabled)}, Limit: 10})
		must(t, err)
		return len(events)
	}
	old, err := w.head(hook, "a", 0)
	must(t, err)
	hook.URL, hook.Version = "https://new.example/hook", 2
	must(t, w.SaveWebhook(w.ctx, webhook.Saving{Webhook: hook, IfVersion: 1, Event: event.New(noon(), event.WebhookUpdated, event.System(), "The webhook was changed.")}))
	settle(old)
	if now, err := w.Webhook(w.ctx, "all"); err != nil || now.Disabled != "" || told() != 0 {
		t.Fatalf("the old receiver's answer switched off the new one: %+v, %v", now, err)
	}
	again, err := w.head(hook, "a", 0)
	must(t, err)
	if again.Delivery.ID != old.Delivery.ID || again.Webhook.URL != hook.URL {
		t.Fatalf("got %+v", again)
	}
	settle(again)
	if now, err := w.Webhook(w.ctx, "all"); err != nil || now.Disabled != "gone" || told() != 1 {
		t.Fatalf("got %+v, %v", now, err)
	}
}

func parking(t *testing.T, open func(*testing.T) *store.Store) {
	w := newWorld(t, open)
	hook := w.webhook("all", []event.Pattern{"message.*"}, "a@example.org")
	w.happen(event.MessageReceived, "a", "a@example.org")
	w.happen(event.MessageReceived, "a", "a@example.org")
	first, err := w.head(hook, "a", 0)
	must(t, err)
	must(t, w.SettleDelivery(w.ctx, webhook.Settlement{
		DeliveryID: first.Delivery.ID, Fence: first.Delivery.Lease.Fence, NextAttemptAt: noon().Add(time.Hour), Now: noon(),
		Tries: []webhook.Try{{At: noon(), Took: time.Second, Status: 500, Error: "busy", Answer: "later\x00"}},
	}))
	later, err := w.head(hook, "a", time.Minute)
	wantFault(t, err, "work.later", fault.Conflict)
	if d := later.Delivery; d.ID != first.Delivery.ID || d.Attempts != 1 || d.LastStatus != 500 || d.LastError != "busy" || !d.FirstTriedAt.Equal(noon()) || len(d.Tries) != 1 || d.Tries[0].Took != time.Second {
		t.Errorf("got %+v", d)
	}
	if a, b := w.dueQueues(59*time.Minute), w.dueQueues(time.Hour); len(a) != 0 || len(b) != 1 {
		t.Errorf("due: %v, %v", a, b)
	}
	first, err = w.head(hook, "a", time.Hour)
	must(t, err)
	must(t, w.SettleDelivery(w.ctx, webhook.Settlement{DeliveryID: first.Delivery.ID, Fence: first.Delivery.Lease.Fence, Parked: true, Now: noon()}))
	second, err := w.head(hook, "a", time.Hour)
	must(t, err)
	if second.Delivery.Sequence != 2 {
		t.Errorf("got %+v", second.Delivery)
	}
	// While the second is under way nothing else of the queue is.
	must(t, w.replay(hook, first.Delivery.ID, time.Hour))
	_, err = w.head(hook, "a", time.Hour)
	wantFault(t, err, "work.later", fault.Conflict)
	wantFault(t, w.replay(hook, second.Delivery.ID, time.Hour), "delivery.under_way", fault.Conflict)
	must(t, w.SettleDelivery(w.ctx, webhook.Settlement{DeliveryID: second.Delivery.ID, Fence: second.Delivery.Lease.Fence, NextAttemptAt: noon().Add(time.Hour), Now: noon()}))
	replayed, err := w.head(hook, "a", time.Hour)
	must(t, err)
	if replayed.Delivery.ID != first.Delivery.ID || replayed.Delivery.Attempts != 0 || !replayed.Delivery.FirstTriedAt.IsZero() || !replayed.Delivery.StateSince.Equal(noon().Add(time.Hour)) {
		t.Errorf("got %+v", replayed.Delivery)
	}
	must(t, w.SettleDelivery(w.ctx, webhook.Settlement{DeliveryID: replayed.Delivery.ID, Fence: replayed.Delivery.Lease.Fence, Delivered: true, Now: noon()}))
	if w.events(event.DeliveryReplayed) != 1 {
		t.Error("a refused replay was told of, or the other was not")
	}
}

func disabling(t *testing.T, open func(*testing.T) *store.Store) {
	w := newWorld(t, open)
	hook := w.webhook("all", []event.Pattern{"*"}, "a@example.org")
	w.happen(event.MessageReceived, "a", "a@example.org")
	c, err := w.head(hook, "a", 0)
	must(t, err)
	must(t, w.SettleDelivery(w.ctx, webhook.Settlement{
		DeliveryID: c.Delivery.ID, Fence: c.Delivery.Lease.Fence, Disable: "410 Gone", DisableVersion: 1, NextAttemptAt: noon(), Now: noon(),
		Events: []event.Event{event.New(noon(), event.WebhookDisabled, event.System(), "Off.").About("a", "a@example.org")},
	}))
	w.happen(event.MessageReceived, "a", "a@example.org")
	stored, err := w.Webhook(w.ctx, "all")
	must(t, err)
	if stored.Disabled != "410 Gone" || stored.Version != 2 {
		t.Errorf("got %+v", stored)
	}
	_, err = w.head(hook, "a", time.Hour)
	wantFault(t, err, "work.none", fault.NotFound)
	if queues := w.dueQueues(time.Hour); len(queues) != 0 {
		t.Errorf("due: %v", queues)
	}
	if stored.DisabledBy != webhook.ByReceiver || !stored.DisabledAt.Equal(noon()) {
		t.Errorf("got %+v", stored)
	}
	stored.Disabled, stored.DisabledBy, stored.DisabledAt, stored.Version, stored.UpdatedAt = "", "", time.Time{}, 3, noon().Add(time.Minute)
	must(t, w.SaveWebhook(w.ctx, webhook.Saving{Webhook: stored, IfVersion: 2, Afresh: true}))
	if queues := w.dueQueues(time.Minute); len(queues) != 1 {
		t.Errorf("due: %v", queues)
	}
	waiting, err := w.Deliveries(w.ctx, webhook.Filter{WebhookID: hook.ID, State: webhook.Waiting})
	must(t, err)
	if len(waiting) != 1 {
		t.Errorf("%d wait; what happened while it was off is not to be delivered", len(waiting))
	}
	again, err := w.head(hook, "a", time.Minute)
	must(t, err)
	if again.Delivery.ID != c.Delivery.ID || again.Delivery.Attempts != 0 || !again.Delivery.FirstTriedAt.IsZero() {
		t.Errorf("the head did not keep its place, or its day goes on: %+v", again.Delivery)
	}
}
