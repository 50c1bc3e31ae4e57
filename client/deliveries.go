package client

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"time"
)

// Delivery is one event on its way to one webhook.
type Delivery struct {
	ID       string    `json:"id"`    // the webhook-id header, the same at every attempt
	State    string    `json:"state"` // pending, delivered or parked
	Since    time.Time `json:"since"`
	Kind     string    `json:"kind"`
	Mailbox  string    `json:"mailbox,omitempty"`
	Text     string    `json:"text"`
	EventID  string    `json:"event_id"`
	Attempts int       `json:"attempts"` // since it was queued, or replayed
	// LastStatus is what the receiver answered last; 0: nothing came.
	LastStatus    int       `json:"last_status,omitempty"`
	LastError     string    `json:"last_error,omitempty"`
	NextAttemptAt time.Time `json:"next_attempt_at,omitzero"`
	CreatedAt     time.Time `json:"created_at"`

	// What follows comes with one delivery, not in lists.

	// Headers are those of the last attempt but for the signature, which is made
	// anew each time.
	Headers map[string]string `json:"headers,omitempty"`
	Body    json.RawMessage   `json:"body,omitempty"`
	Tries   []DeliveryAttempt `json:"tries,omitempty"` // the last ten, oldest first
}

// DeliveryAttempt is one try at a delivery and what came of it.
type DeliveryAttempt struct {
	At     time.Time `json:"at"`
	TookMS int64     `json:"took_ms"`
	Status int       `json:"status,omitempty"`
	Error  string    `json:"error,omitempty"` // empty: the receiver took it
	Remedy string    `json:"remedy,omitempty"`
	Answer string    `json:"answer,omitempty"` // how the receiver's answer began
}

// DeliveryFilter selects deliveries; its zero value selects all.
type DeliveryFilter struct {
	State    string // pending, delivered or parked
	Mailbox  string // an address
	PageSize int
}

// WebhookTest is what came of a test event.
type WebhookTest struct {
	Delivered bool            `json:"delivered"`
	ID        string          `json:"id"`
	Body      json.RawMessage `json:"body"`
	DeliveryAttempt
}

// Replayed says how much is made again. Disabled says why it waits all the same.
type Replayed struct {
	Replayed int    `json:"replayed"`
	Disabled string `json:"disabled,omitempty"`
}

// NewSecret is a rotation of a signing secret. Overlap, such as 24h, is how long
// deliveries are signed with the previous secret too; empty: a day.
type NewSecret struct {
	Secret  string `json:"secret,omitempty"` // empty: one is generated
	Overlap string `json:"overlap,omitempty"`
}

// Deliveries lists the deliveries of a webhook, newest first.
func (c *Client) Deliveries(ctx context.Context, webhook string, f DeliveryFilter) iter.Seq2[Delivery, error] {
	q := url.Values{}
	for name, value := range map[string]string{"state": f.State, "mailbox": f.Mailbox} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return list[Delivery](ctx, c, one(webhooksPath+"/", webhook, "/deliveries"), q, f.PageSize)
}

func deliveryPath(webhook, id, after string) string {
	return one(one(webhooksPath+"/", webhook, "/deliveries/"), id, after)
}

// Delivery gives one delivery, with what is sent and what came of it.
func (c *Client) Delivery(ctx context.Context, webhook, id string) (Delivery, error) {
	return get[Delivery](ctx, c, deliveryPath(webhook, id, ""))
}

// ReplayDelivery makes a delivery again, under its ID and as the next of its
// mailbox. One that waits is tried at once.
func (c *Client) ReplayDelivery(ctx context.Context, webhook, id string) (Delivery, error) {
	return send[Delivery](ctx, c, http.MethodPost, deliveryPath(webhook, id, "/replay"), nil)
}

// ReplayWebhook makes every parked delivery of a webhook again, in order.
func (c *Client) ReplayWebhook(ctx context.Context, webhook string) (Replayed, error) {
	return send[Replayed](ctx, c, http.MethodPost, one(webhooksPath+"/", webhook, "/replay"), nil)
}

// EnableWebhook switches a webhook on; what waits for it is tried at once.
func (c *Client) EnableWebhook(ctx context.Context, webhook string) (Webhook, error) {
	return send[Webhook](ctx, c, http.MethodPost, one(webhooksPath+"/", webhook, "/enable"), nil)
}

// DisableWebhook switches a webhook off. What waits for it stays; what happens from
// then on is not queued for it.
func (c *Client) DisableWebhook(ctx context.Context, webhook string) (Webhook, error) {
	return send[Webhook](ctx, c, http.MethodPost, one(webhooksPath+"/", webhook, "/disable"), nil)
}

// TestWebhook posts a signed webhook.ping to the receiver now. That it was not
// taken is no error: see Delivered.
func (c *Client) TestWebhook(ctx context.Context, webhook string) (WebhookTest, error) {
	return send[WebhookTest](ctx, c, http.MethodPost, one(webhooksPath+"/", webhook, "/test"), nil)
}

// RotateWebhookSecret gives a webhook a new signing secret. A generated one is in
// the answer, this once.
func (c *Client) RotateWebhookSecret(ctx context.Context, webhook string, n NewSecret) (Webhook, error) {
	return send[Webhook](ctx, c, http.MethodPost, one(webhooksPath+"/", webhook, "/secret"), n)
}
