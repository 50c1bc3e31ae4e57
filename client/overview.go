package client

import (
	"context"
	"time"
)

// Overview is how everything stands that the caller may read.
type Overview struct {
	Mailboxes int            `json:"mailboxes"`
	States    map[string]int `json:"states"`
	// Attention lists what needs attention, the most urgent first; AttentionMore is
	// how many mailboxes do beyond those.
	Attention     []Matter `json:"attention"`
	AttentionMore int      `json:"attention_more,omitempty"`
	// Hours are the last day, oldest first; the last one is not over.
	Hours     []Hour    `json:"hours"`
	LastRunAt time.Time `json:"refresh_loop_last_run_at,omitzero"`
}

// Matter is one thing that needs attention; at most one of Mailbox, Provider,
// Webhook and App is what it is about.
type Matter struct {
	Kind     string    `json:"kind"`
	Mailbox  string    `json:"mailbox,omitempty"`
	Provider string    `json:"provider,omitempty"`
	Webhook  string    `json:"webhook,omitempty"`
	App      string    `json:"app,omitempty"`
	Title    string    `json:"title"`
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Cause    string    `json:"cause,omitempty"`
	Text     string    `json:"text"`
	Who      []string  `json:"who"`
	Remedy   string    `json:"remedy"`
}

// Hour is the mail and the renewals of one hour, by its beginning.
type Hour struct {
	At            time.Time `json:"at"`
	Received      int       `json:"received"`
	Sent          int       `json:"sent"`
	Refreshed     int       `json:"refreshed"`
	RefreshFailed int       `json:"refresh_failed"`
}

// Overview gives how everything stands and what needs attention.
func (c *Client) Overview(ctx context.Context) (Overview, error) {
	return get[Overview](ctx, c, "/v1/overview")
}
