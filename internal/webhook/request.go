package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/seal"
)

const (
	// The answer's body means nothing to us; reading a little of it, for a moment,
	// lets the connection be used again. Its beginning is shown to people.
	answerRead  = 64 << 10
	answerTime  = time.Second
	answerShown = 1 << 10
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

// Body is what is posted for an event: the same bytes at every attempt.
func Body(e event.Event) ([]byte, error) {
	body, err := json.Marshal(Payload{
		Type: e.Kind, Timestamp: e.At.UTC(),
		Data: Data{EventID: e.ID, Mailbox: e.Mailbox, Text: e.Text, Cause: e.Cause, Remedy: e.Remedy, Actor: e.Actor, Details: e.Data},
	})
	if err != nil {
		return nil, fmt.Errorf("write the payload: %w", err)
	}
	return body, nil
}

// outcome is what a receiver did with a delivery.
type outcome struct {
	status int
	err    error
	after  time.Duration // what it asked us to wait
	answer string
	began  time.Time
	took   time.Duration
}

// delivered reports success: Standard Webhooks asks for any 2xx.
func (o outcome) delivered() bool { return o.status >= 200 && o.status < 300 }

// try is the outcome in words.
func (o outcome) try() Try {
	t := Try{At: o.began, Took: o.took, Status: o.status}
	switch {
	case o.delivered():
		return t
	case o.status == http.StatusGone:
		t.Error, t.Remedy = "The receiver answered 410 Gone.", "Give the webhook the URL of a receiver that is there, then switch it on again."
	case o.status >= 300 && o.status < 400:
		t.Error = fmt.Sprintf("The receiver answered %s; redirects are not followed.", named(o.status))
		t.Remedy = "Give the webhook the URL at which the receiver takes deliveries itself."
	case o.status == http.StatusUnauthorized, o.status == http.StatusForbidden:
		t.Error = fmt.Sprintf("The receiver answered %s.", named(o.status))
		t.Remedy = "See whether the receiver checks signatures with this webhook's secret, and over the body exactly as it came."
	case o.status > 0:
		t.Error, t.Remedy = fmt.Sprintf("The receiver answered %s.", named(o.status)), "Its own log says why."
	default:
		f := fault.Of(o.err)
		t.Error, t.Remedy = f.Text, f.Remedy
	}
	t.Answer = o.answer
	return t
}

func named(status int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
}

// Headers are those of a delivery at one moment, but for the signature.
func Headers(id string, at time.Time) http.Header {
	return http.Header{
		"Content-Type": {"application/json"},
		http.CanonicalHeaderKey(standardwebhooks.HeaderWebhookID):        {id},
		http.CanonicalHeaderKey(standardwebhooks.HeaderWebhookTimestamp): {strconv.FormatInt(at.Unix(), 10)},
	}
}

// post makes one attempt.
func (w *Webhooks) post(ctx context.Context, h Webhook, id string, body []byte) outcome {
	now, began := w.now(), time.Now()
	out := w.call(ctx, h, id, body, now)
	out.began, out.took = now, time.Since(began)
	return out
}

func (w *Webhooks) call(ctx context.Context, h Webhook, id string, body []byte, now time.Time) outcome {
	signature, err := w.sign(h, id, now, body)
	if err != nil {
		return outcome{err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return outcome{err: fmt.Errorf("build the request: %w", err)}
	}
	req.Header = Headers(id, now)
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	// The receiver drops doubles by the ID. So net/http may repeat the call where the
	// connection it kept turns out to be closed; a nil value is not sent.
	req.Header["Idempotency-Key"] = nil
	client, err := w.client(h)
	if err != nil {
		return outcome{err: err}
	}
	res, err := client.Do(req)
	if err != nil {
		u, _ := url.Parse(h.URL)
		return outcome{err: egress.Classify(err, egress.Target{Setting: "url", Host: u.Host})}
	}
	defer func() { _ = res.Body.Close() }()
	out := outcome{status: res.StatusCode, after: egress.RetryAfter(res.Header.Get("Retry-After"), now)}
	// The status has decided. Whoever drips a body for hours is not waited for.
	enough := time.AfterFunc(answerTime, cancel)
	defer enough.Stop()
	beginning := &head{most: answerShown}
	_, _ = io.CopyN(beginning, res.Body, answerRead)
	out.answer = strings.TrimSpace(strings.ToValidUTF8(string(beginning.kept), "\uFFFD"))
	return out
}

// head keeps the beginning of what is written to it.
type head struct {
	kept []byte
	most int
}

// Write implements io.Writer.
func (h *head) Write(b []byte) (int, error) {
	h.kept = append(h.kept, b[:min(len(b), h.most-len(h.kept))]...)
	return len(b), nil
}

// sign gives the signatures of a delivery: with the present secret and, for a
// while after a rotation, with the previous one too.
func (w *Webhooks) sign(h Webhook, id string, now time.Time, body []byte) (string, error) {
	signature, err := w.signature(h, h.Secret, id, now, body)
	if err != nil || h.PreviousSecret.IsZero() || !now.Before(h.PreviousSecretUntil) {
		return signature, err
	}
	previous, err := w.signature(h, h.PreviousSecret, id, now, body)
	return signature + " " + previous, err
}

func (w *Webhooks) signature(h Webhook, with seal.Sealed, id string, now time.Time, body []byte) (string, error) {
	secret, err := w.keys.Unseal(with, secretPlace(h.ID))
	if err != nil {
		return "", err
	}
	key, err := signingKey(secret)
	if err != nil {
		return "", err
	}
	signer, err := standardwebhooks.NewWebhookRaw(key)
	if err == nil {
		var signature string
		if signature, err = signer.Sign(id, now, body); err == nil {
			return signature, nil
		}
	}
	return "", fmt.Errorf("sign: %w", err)
}

// blame logs what is our own fault and not the receiver's.
func (w *Webhooks) blame(ctx context.Context, h Webhook, out outcome) {
	if f := fault.Of(out.err); f != nil && f.Kind == fault.Internal && errors.Unwrap(f) != nil {
		w.log.ErrorContext(ctx, "deliver", "webhook", h.Name, "error", out.err)
	}
}
