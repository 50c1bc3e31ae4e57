package storetest

import (
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
	must(w.t, w.SaveWebhook(w.ctx, hook, 0, event.New(noon(), event.WebhookCreated, event.System(), "The webhook was added.")))
	return hook
}

// happen writes an event about a mailbox, which need not exist.
func (w *world) happen(kind event.Kind, mailboxID, address string) event.Event {
	w.t.Helper()
	e := event.New(noon(), kind, event.System(), "Something happened.").About(mailboxID, address).With("n", "1")
	must(w.t, w.WriteEvent(w.ctx, e))
	return e
}

// head claims the head of a queue a while after noon, with a lease of a minute.
func (w *world) head(hook webhook.Webhook, mailboxID string, after time.Duration) (webhook.Claimed, error) {
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
			must(t, w.SettleDelivery(w.ctx, webhook.Settlement{DeliveryID: c.Delivery.ID, Fence: c.Delivery.Lease.Fence, Delivered: true, Status: 204, Now: noon()}))
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
	t.Run("a webhook changes by version and goes with its queue", func(t *testing.T) {
		w := newWorld(t, open)
		hook := w.webhook("all", []event.Pattern{"*"}, "a@example.org")
		w.happen(event.MessageReceived, "a", "a@example.org")
		e := func(kind event.Kind) event.Event { return event.New(noon(), kind, event.System(), "Changed.") }
		other := hook
		other.ID = event.NewID()
		wantFault(t, w.SaveWebhook(w.ctx, other, 0, e(event.WebhookCreated)), "webhook.exists", fault.Conflict)
		hook.URL, hook.Version = "https://new.example", 2
		must(t, w.SaveWebhook(w.ctx, hook, 1, e(event.WebhookUpdated)))
		wantFault(t, w.SaveWebhook(w.ctx, hook, 1, e(event.WebhookUpdated)), "webhook.changed", fault.Conflict)
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
			DeliveryID: c.Delivery.ID, Fence: c.Delivery.Lease.Fence, Parked: true, Disable: "gone", DisableVersion: c.Webhook.Version, Status: 410, Now: noon(),
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
	must(t, w.SaveWebhook(w.ctx, hook, 1, event.New(noon(), event.WebhookUpdated, event.System(), "The webhook was changed.")))
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
		DeliveryID: first.Delivery.ID, Fence: first.Delivery.Lease.Fence, NextAttemptAt: noon().Add(time.Hour), Status: 500, Error: "busy", Now: noon(),
	}))
	later, err := w.head(hook, "a", time.Minute)
	wantFault(t, err, "work.later", fault.Conflict)
	if d := later.Delivery; d.ID != first.Delivery.ID || d.Attempts != 1 || d.LastStatus != 500 || d.LastError != "busy" || !d.FirstTriedAt.Equal(noon()) {
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
	must(t, w.Replay(w.ctx, first.Delivery.ID, noon().Add(time.Hour)))
	_, err = w.head(hook, "a", time.Hour)
	wantFault(t, err, "work.later", fault.Conflict)
	must(t, w.SettleDelivery(w.ctx, webhook.Settlement{DeliveryID: second.Delivery.ID, Fence: second.Delivery.Lease.Fence, NextAttemptAt: noon().Add(time.Hour), Now: noon()}))
	replayed, err := w.head(hook, "a", time.Hour)
	must(t, err)
	if replayed.Delivery.ID != first.Delivery.ID || replayed.Delivery.Attempts != 0 {
		t.Errorf("got %+v", replayed.Delivery)
	}
	must(t, w.SettleDelivery(w.ctx, webhook.Settlement{DeliveryID: replayed.Delivery.ID, Fence: replayed.Delivery.Lease.Fence, Delivered: true, Now: noon()}))
	wantFault(t, w.Replay(w.ctx, second.Delivery.ID, noon()), "delivery.pending", fault.Conflict)
	wantFault(t, w.Replay(w.ctx, "none", noon()), "delivery.unknown", fault.NotFound)
	done, err := w.Deliveries(w.ctx, hook.ID, "delivered", "", 10)
	must(t, err)
	all, err := w.Deliveries(w.ctx, hook.ID, "", second.Delivery.ID, 10)
	must(t, err)
	if len(done) != 1 || done[0].ID != first.Delivery.ID || len(all) != 1 || all[0].ID != first.Delivery.ID {
		t.Errorf("got %v and %v", done, all)
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
	stored.Disabled, stored.Version = "", 3
	must(t, w.SaveWebhook(w.ctx, stored, 2, event.Event{}))
	if queues := w.dueQueues(time.Hour); len(queues) != 1 {
		t.Errorf("due: %v", queues)
	}
	waiting, err := w.Deliveries(w.ctx, hook.ID, "pending", "", 10)
	must(t, err)
	if len(waiting) != 1 {
		t.Errorf("%d wait; what happened while it was off is not to be delivered", len(waiting))
	}
}
