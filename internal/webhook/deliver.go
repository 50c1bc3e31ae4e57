package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/work"
)

// Payload is the body of a delivery, after the Standard Webhooks specification:
// type, timestamp, data.
type Payload struct {
	Type      event.Kind `json:"type"`
	Timestamp time.Time  `json:"timestamp"`
	Data      Data       `json:"data"`
}

// Data is what an event says, for programs.
type Data struct {
	EventID string            `json:"event_id"`
	Mailbox string            `json:"mailbox,omitempty"`
	Text    string            `json:"text"`
	Cause   string            `json:"cause,omitempty"`
	Remedy  string            `json:"remedy,omitempty"`
	Actor   event.Actor       `json:"actor"`
	Details map[string]string `json:"details,omitempty"`
}

// outcome is what a receiver did with a delivery.
type outcome struct {
	status int
	err    error
	after  time.Duration
}

// Drain delivers a queue from its head on, until it is empty, its head has to
// wait (the store holds a job for that moment), or another process works on
// it. It is the work of one job.
func (w *Webhooks) Drain(ctx context.Context, webhookID, mailboxID string) error {
	for ctx.Err() == nil {
		now := w.now()
		c, err := w.store.ClaimHead(ctx, webhookID, mailboxID, w.owner, now, now.Add(w.timeout+leaseMargin))
		if fault.Has(err, "work.none") || fault.Has(err, "work.later") {
			return nil // empty, or the store holds a job for the moment the head is due
		}
		if err != nil {
			return fmt.Errorf("claim a delivery: %w", err)
		}
		out := w.post(ctx, c)
		if ctx.Err() != nil && out.status == 0 {
			// We are shutting down: the attempt does not count, the lease runs out.
			return ctx.Err()
		}
		s := w.settle(c, out)
		if err := w.record(ctx, s, now.Add(w.timeout+leaseMargin)); err != nil && !fault.Has(err, "work.fenced") {
			return fmt.Errorf("settle a delivery: %w", err)
		}
		if !s.Delivered && !s.Parked {
			return nil
		}
	}
	return ctx.Err()
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

// post makes one attempt.
func (w *Webhooks) post(ctx context.Context, c Claimed) outcome {
	body, err := json.Marshal(Payload{
		Type: c.Event.Kind, Timestamp: c.Event.At.UTC(),
		Data: Data{
			EventID: c.Event.ID, Mailbox: c.Event.Mailbox, Text: c.Event.Text, Cause: c.Event.Cause,
			Remedy: c.Event.Remedy, Actor: c.Event.Actor, Details: c.Event.Data,
		},
	})
	if err != nil {
		return outcome{err: fmt.Errorf("write the payload: %w", err)}
	}
	secret, err := w.keys.Unseal(c.Webhook.Secret, secretPlace(c.Webhook.ID))
	if err != nil {
		return outcome{err: err}
	}
	key, err := signingKey(secret)
	if err != nil {
		return outcome{err: err}
	}
	signer, err := standardwebhooks.NewWebhookRaw(key)
	if err != nil {
		return outcome{err: fmt.Errorf("sign: %w", err)}
	}
	now := w.now()
	signature, err := signer.Sign(c.Delivery.ID, now, body)
	if err != nil {
		return outcome{err: fmt.Errorf("sign: %w", err)}
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Webhook.URL, bytes.NewReader(body))
	if err != nil {
		return outcome{err: fmt.Errorf("build the request: %w", err)}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(standardwebhooks.HeaderWebhookID, c.Delivery.ID)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	client, err := w.client(c.Webhook)
	if err != nil {
		return outcome{err: err}
	}
	res, err := client.Do(req)
	if err != nil {
		u, _ := url.Parse(c.Webhook.URL)
		return outcome{err: egress.Classify(err, egress.Target{Setting: "url", Host: u.Host})}
	}
	defer func() { _ = res.Body.Close() }()
	// The answer's body means nothing to us; reading a little lets the connection be used again.
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10)
	return outcome{status: res.StatusCode, after: egress.RetryAfter(res.Header.Get("Retry-After"), now)}
}

// settle decides what an attempt means.
func (w *Webhooks) settle(c Claimed, out outcome) Settlement {
	now := w.now()
	s := Settlement{DeliveryID: c.Delivery.ID, Fence: c.Delivery.Lease.Fence, Status: out.status, Now: now}
	about := func(k event.Kind, text string) event.Event {
		e := event.New(now, k, event.System(), text).With("webhook", c.Webhook.Name).With("delivery_id", c.Delivery.ID)
		return e.About(c.Event.MailboxID, c.Event.Mailbox)
	}
	switch {
	case out.status >= 200 && out.status < 300:
		s.Delivered = true
		return s
	case out.status == http.StatusGone:
		s.Disable, s.DisableVersion = "The receiver answered 410 Gone.", c.Webhook.Version
		s.Parked = true
		s.Error = s.Disable
		s.Events = []event.Event{about(event.WebhookDisabled, fmt.Sprintf("The webhook %s was switched off: its receiver answered 410 Gone.", c.Webhook.Name))}
		return s
	case out.status > 0:
		s.Error = fmt.Sprintf("The receiver answered %d %s.", out.status, http.StatusText(out.status))
	default:
		s.Error = fault.Of(out.err).Text
		if f := fault.Of(out.err); f.Kind == fault.Internal && errors.Unwrap(f) != nil {
			w.log.Error("deliver", "webhook", c.Webhook.Name, "error", out.err)
		}
	}
	first := c.Delivery.FirstTriedAt
	if first.IsZero() {
		first = now
	}
	if now.Sub(first) >= w.giveUp {
		s.Parked = true
		e := about(event.DeliveryParked, fmt.Sprintf("A delivery to the webhook %s failed for %s and was put aside: %s", c.Webhook.Name, w.giveUp, s.Error))
		e.Remedy = "Mend the receiver, then replay the delivery."
		s.Events = []event.Event{e}
		return s
	}
	// The receiver's own wish is followed as long as a last attempt remains before giving up.
	wait := max(work.Backoff(c.Delivery.Attempts+1, firstWait, longestWait), min(out.after, w.giveUp-now.Sub(first)))
	s.NextAttemptAt = now.Add(wait + rand.N(wait/10+1))
	return s
}
