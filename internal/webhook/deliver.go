package webhook

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/work"
)

// triesKept bounds the attempts that a delivery remembers one by one.
const triesKept = 10

// Drain delivers a queue from its head on, until it is empty, its head has to
// wait, or another process works on it.
func (w *Webhooks) Drain(ctx context.Context, webhookID, mailboxID string) error {
	for {
		if more, err := w.turn(ctx, ctx, webhookID, mailboxID); err != nil || !more {
			return err
		}
	}
}

// turn makes the next deliveries of a queue and reports whether there may be
// more to do at once. None begins when going has ended; lasting cuts them off.
func (w *Webhooks) turn(lasting, going context.Context, webhookID, mailboxID string) (more bool, err error) {
	for range inTurn {
		if going.Err() != nil {
			return false, going.Err()
		}
		now := w.now()
		until := now.Add(w.timeout + leaseMargin)
		c, err := w.store.ClaimHead(lasting, webhookID, mailboxID, w.owner, now, until)
		if fault.Has(err, "work.none") || fault.Has(err, "work.later") {
			return false, nil // empty, or the store holds a job for the moment the head is due
		}
		if err != nil {
			return false, fmt.Errorf("claim a delivery: %w", err)
		}
		if !w.now().Before(until) {
			// We were stopped over our lease: whoever has it now makes this delivery.
			return false, nil
		}
		s := w.attempt(lasting, c)
		if err := w.record(lasting, s, until); err != nil && !fault.Has(err, "work.fenced") {
			return false, fmt.Errorf("settle a delivery: %w", err)
		}
		if s.Unmade {
			return false, lasting.Err()
		}
		if !s.Delivered && !s.Parked {
			return false, nil
		}
	}
	return true, nil
}

// attempt makes one delivery and says what it comes to.
func (w *Webhooks) attempt(ctx context.Context, c Claimed) Settlement {
	body, err := Body(c.Event)
	if err != nil {
		return w.settle(ctx, c, outcome{err: err, began: w.now()})
	}
	out := w.post(ctx, c.Webhook, c.Delivery.ID, body)
	if ctx.Err() != nil && out.status == 0 {
		return Settlement{DeliveryID: c.Delivery.ID, Fence: c.Delivery.Lease.Fence, Unmade: true, Now: w.now()}
	}
	return w.settle(ctx, c, out)
}

// record keeps what came of an attempt. A database that is away for a moment is
// waited for while the lease lasts: otherwise the queue would stand still until
// its end, and the receiver would get the same call twice.
func (w *Webhooks) record(ctx context.Context, s Settlement, until time.Time) error {
	for {
		err := w.store.SettleDelivery(context.WithoutCancel(ctx), s)
		if f := fault.Of(err); err == nil || f.Kind != fault.Temporary || !w.now().Before(until) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(recordAgain):
		}
	}
}

// settle decides what an attempt means.
func (w *Webhooks) settle(ctx context.Context, c Claimed, out outcome) Settlement {
	now := w.now()
	try := out.try()
	tries := append(c.Delivery.Tries[:len(c.Delivery.Tries):len(c.Delivery.Tries)], try)
	s := Settlement{
		DeliveryID: c.Delivery.ID, Fence: c.Delivery.Lease.Fence, Tries: tries[max(0, len(tries)-triesKept):], Now: now,
	}
	about := func(k event.Kind, text string) event.Event {
		e := event.New(now, k, event.System(), text).With("webhook", c.Webhook.Name).With("delivery_id", c.Delivery.ID)
		return e.About(c.Event.MailboxID, c.Event.Mailbox)
	}
	if out.delivered() {
		s.Delivered = true
		return s
	}
	if out.status == http.StatusGone {
		// It stays the head: once the webhook is on again, its turn comes first.
		s.Disable, s.DisableVersion, s.NextAttemptAt = try.Error, c.Webhook.Version, now
		e := about(event.WebhookDisabled, fmt.Sprintf("The webhook %s was switched off: its receiver answered 410 Gone.", c.Webhook.Name))
		e.Remedy = try.Remedy
		s.Events = []event.Event{e}
		return s
	}
	w.blame(ctx, c.Webhook, out)
	first := c.Delivery.FirstTriedAt
	if first.IsZero() {
		first = now
	}
	if now.Sub(first) >= w.giveUp {
		s.Parked = true
		e := about(event.DeliveryParked, fmt.Sprintf("A delivery to the webhook %s failed for %s and was put aside: %s", c.Webhook.Name, span(w.giveUp), try.Error))
		e.Remedy = "Mend the receiver, then replay the delivery."
		s.Events = []event.Event{e}
		return s
	}
	// The receiver's own wish is followed as long as a last attempt remains before giving up.
	wait := max(work.Backoff(c.Delivery.Attempts+1, firstWait, longestWait), min(out.after, w.giveUp-now.Sub(first)))
	s.NextAttemptAt = now.Add(wait + rand.N(wait/10+1))
	return s
}

// span says how long, in whole hours or days where it is so long.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d > day && d%day == 0:
		return fmt.Sprintf("%d days", d/day)
	case d >= time.Hour && d%time.Hour == 0:
		return fmt.Sprintf("%d hours", d/time.Hour)
	}
	return d.String()
}
