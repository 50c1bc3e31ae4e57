package webhook

import (
	"context"
	"fmt"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
)

const (
	// queuesReplayed bounds the queues that one transaction puts back.
	queuesReplayed = 100
	// tidyEvery is how often what is too old is removed; mostDropped bounds one look.
	tidyEvery   = time.Hour
	mostDropped = 500
)

// Standings says how each webhook gets on, by ID.
func (w *Webhooks) Standings(ctx context.Context) (map[string]Standing, error) {
	return w.store.Standings(ctx)
}

// Deliveries lists those of the webhook of this name, newest first; the filter's
// WebhookID is filled in.
func (w *Webhooks) Deliveries(ctx context.Context, name string, f Filter) ([]Recorded, error) {
	switch f.State {
	case "", Waiting, Delivered, Parked:
	default:
		return nil, &fault.Error{
			ID: "delivery.state", Kind: fault.Invalid, Field: "state", Who: []fault.Who{fault.Operator},
			Text: fmt.Sprintf("No delivery is ever %q.", fault.Shorten(string(f.State), 40)), Remedy: "Ask for pending, delivered or parked, or leave it out for all.",
		}
	}
	h, err := w.store.Webhook(ctx, name)
	if err != nil {
		return nil, err
	}
	f.WebhookID = h.ID
	return w.store.Deliveries(ctx, f)
}

// Delivery gives one delivery of the webhook of this name.
func (w *Webhooks) Delivery(ctx context.Context, name, id string) (Recorded, error) {
	h, err := w.store.Webhook(ctx, name)
	if err != nil {
		return Recorded{}, err
	}
	return w.store.Delivery(ctx, h.ID, id)
}

// Replay puts a parked or delivered delivery back at the head of its queue, under
// the ID it has; one that waits is tried at once.
func (w *Webhooks) Replay(ctx context.Context, by event.Actor, name, id string) (Recorded, error) {
	h, err := w.store.Webhook(ctx, name)
	if err != nil {
		return Recorded{}, err
	}
	r, err := w.store.Delivery(ctx, h.ID, id)
	if err != nil {
		return Recorded{}, err
	}
	e := event.New(w.now(), event.DeliveryReplayed, by, fmt.Sprintf("A delivery to the webhook %s is made again.", name)).
		With("webhook", name).With("delivery_id", id).About(r.Event.MailboxID, r.Event.Mailbox)
	if err := w.store.Replay(ctx, h.ID, id, e); err != nil {
		return Recorded{}, err
	}
	return w.store.Delivery(ctx, h.ID, id)
}

// ReplayParked puts everything that is parked for a webhook back before what
// waits for it, in its order, and gives how many deliveries that are.
func (w *Webhooks) ReplayParked(ctx context.Context, by event.Actor, name string) (int, error) {
	h, err := w.store.Webhook(ctx, name)
	if err != nil {
		return 0, err
	}
	total := 0
	for {
		e := event.New(w.now(), event.DeliveryReplayed, by, fmt.Sprintf("Parked deliveries to the webhook %s are made again.", name)).With("webhook", name)
		n, err := w.store.ReplayParked(ctx, h.ID, queuesReplayed, e)
		if total += n; err != nil || n == 0 {
			return total, err
		}
	}
}

// Pinged is what came of a test.
type Pinged struct {
	ID        string // the webhook-id header
	Body      []byte
	Delivered bool
	Try       Try
}

// Ping posts a test event to a webhook now, signed as every delivery is, and says
// what the receiver answered. It stands in no queue: it comes at once, is tried
// once, and works for a webhook that is switched off too.
func (w *Webhooks) Ping(ctx context.Context, by event.Actor, name string) (Pinged, error) {
	h, err := w.store.Webhook(ctx, name)
	if err != nil {
		return Pinged{}, err
	}
	e := event.New(w.now(), event.WebhookPing, by, fmt.Sprintf("This is a test of the webhook %s.", name)).With("webhook", name)
	body, err := Body(e)
	if err != nil {
		return Pinged{}, err
	}
	p := Pinged{ID: event.NewID(), Body: body}
	out := w.post(ctx, h, p.ID, body)
	if ctx.Err() != nil && out.status == 0 {
		return Pinged{}, ctx.Err()
	}
	w.blame(ctx, h, out)
	p.Delivered, p.Try = out.delivered(), out.try()
	e.Text = fmt.Sprintf("The webhook %s was tested: its receiver answered %s.", name, named(out.status))
	if !p.Delivered {
		e.Text, e.Remedy = fmt.Sprintf("The webhook %s was tested and failed: %s", name, p.Try.Error), p.Try.Remedy
	}
	return p, w.store.WriteEvent(ctx, e)
}

// tidy removes what has waited or been parked for longer than the retention,
// with an event for each queue, and signing secrets whose time is over.
func (w *Webhooks) tidy(ctx context.Context) {
	if err := w.store.ForgetSecrets(ctx, w.now()); err != nil && ctx.Err() == nil {
		w.log.WarnContext(ctx, "forget previous signing secrets; it is tried again in an hour", "error", fault.Of(err))
	}
	for ctx.Err() == nil {
		n, err := w.drop(ctx)
		if err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "remove outdated deliveries; it is tried again in an hour", "error", fault.Of(err))
		}
		if err != nil || n < mostDropped {
			return
		}
	}
}

func (w *Webhooks) drop(ctx context.Context) (int, error) {
	now := w.now()
	before := now.Add(-w.keep)
	all, err := w.store.Outdated(ctx, before, mostDropped)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, o := range all {
		n += len(o.IDs)
		e := event.New(now, event.DeliveriesDropped, event.System(), dropped(o, span(w.keep))).With("webhook", o.Webhook).
			With("deliveries", fmt.Sprint(len(o.IDs))).With("parked", fmt.Sprint(o.Parked)).About(o.MailboxID, o.Mailbox)
		e.Remedy = "See what is parked, and replay it, before the retention ends. The timeline holds the events that were not delivered until theirs does."
		if err := w.store.DropDeliveries(ctx, o, before, e); err != nil && !fault.Has(err, "delivery.changed") {
			return n, err
		}
	}
	return n, nil
}

// dropped says what was removed and after how long.
func dropped(o Outdated, after string) string {
	what := "A delivery"
	if n := len(o.IDs); n > 1 {
		what = fmt.Sprintf("%d deliveries", n)
	}
	were := "after waiting"
	switch o.Parked {
	case len(o.IDs):
		were = "after being parked"
	case 0:
	default:
		were = "after waiting or being parked"
	}
	return fmt.Sprintf("%s to the webhook %s ended unmade %s for %s.", what, o.Webhook, were, after)
}
