package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Webhook is where events are delivered. The fields from Disabled on are the
// server's; what is written there is ignored.
type Webhook struct {
	Name string `json:"name,omitempty"`
	URL  string `json:"url"`
	// Secret goes in and never comes out, but for a generated one, which
	// CreateWebhook gives once. Left out of a change, the stored one stays.
	Secret string `json:"secret,omitempty"`
	// Events are kinds such as message.received, families such as submission.*, or *.
	Events    []string `json:"events"`
	Mailboxes []string `json:"mailboxes,omitempty"`
	CAPEM     string   `json:"ca_pem,omitempty"`

	// Disabled says why nothing is delivered any more; empty: it is delivered.
	Disabled   string    `json:"disabled,omitempty" readOnly:"true"`
	DisabledBy string    `json:"disabled_by,omitempty" readOnly:"true"` // receiver or operator
	DisabledAt time.Time `json:"disabled_at,omitzero" readOnly:"true"`
	// SignedWithBothUntil: after a rotation deliveries are signed with the
	// previous secret too, until then.
	SignedWithBothUntil time.Time `json:"signed_with_both_until,omitzero" readOnly:"true"`

	Waiting         int       `json:"waiting,omitempty" readOnly:"true"` // deliveries that wait for their turn or the next attempt
	WaitingSince    time.Time `json:"waiting_since,omitzero" readOnly:"true"`
	Parked          int       `json:"parked,omitempty" readOnly:"true"` // deliveries that failed for a day
	LastDeliveredAt time.Time `json:"last_delivered_at,omitzero" readOnly:"true"`

	CreatedAt time.Time `json:"created_at,omitzero" readOnly:"true"`
	UpdatedAt time.Time `json:"updated_at,omitzero" readOnly:"true"`
}

const webhooksPath = "/v1/webhooks"

// Webhooks lists the webhooks.
func (c *Client) Webhooks(ctx context.Context) iter.Seq2[Webhook, error] {
	return list[Webhook](ctx, c, webhooksPath, nil, 0)
}

// Webhook gives one webhook.
func (c *Client) Webhook(ctx context.Context, name string) (Webhook, error) {
	return get[Webhook](ctx, c, one(webhooksPath+"/", name, ""))
}

func (w Webhook) written() Webhook {
	return Webhook{Name: w.Name, URL: w.URL, Secret: w.Secret, Events: w.Events, Mailboxes: w.Mailboxes, CAPEM: w.CAPEM}
}

// CreateWebhook adds a webhook; it is a problem if there is one of this name.
func (c *Client) CreateWebhook(ctx context.Context, w Webhook) (Webhook, error) {
	return send[Webhook](ctx, c, http.MethodPost, webhooksPath, w.written())
}

// PutWebhook adds a webhook or replaces the one of this name. One that is switched
// off stays so, unless its receiver was gone and it has another URL now.
func (c *Client) PutWebhook(ctx context.Context, name string, w Webhook) (Webhook, error) {
	return send[Webhook](ctx, c, http.MethodPut, one(webhooksPath+"/", name, ""), w.written())
}

// DeleteWebhook removes a webhook and what waits for it.
func (c *Client) DeleteWebhook(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: one(webhooksPath+"/", name, "")}, nil)
}
