package client

import (
	"context"
	"net/http"
	"time"
)

// LinkRequest asks for an authorization link.
type LinkRequest struct {
	// ExpiresIn is a duration such as 24h; empty: the server's default.
	ExpiresIn string `json:"expires_in,omitempty"`
	// AllowSubject is the identity that may replace the present one, as a refusal named it.
	AllowSubject string `json:"allow_subject,omitempty"`
}

// Link is a fresh authorization link. URL is shown this once.
type Link struct {
	ID        string    `json:"id"`
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

// The states of an authorization link.
const (
	LinkPending   = "pending"
	LinkGranted   = "granted"
	LinkRefused   = "refused" // its attempts are used up
	LinkExpired   = "expired"
	LinkCancelled = "cancelled"
)

// Authorization is where an authorization link stands.
type Authorization struct {
	ID          string    `json:"id"`
	State       string    `json:"state"`
	Attempts    int       `json:"attempts"`
	LastAttempt *Attempt  `json:"last_attempt,omitempty"`
	CreatedAt   time.Time `json:"created_at"`
	ExpiresAt   time.Time `json:"expires_at"`
}

// Quarantined reports whether the right person signed in, but the mailbox could
// not be opened yet: the server keeps trying for up to 24 hours, and the
// mailbox's Grant says how it stands.
func (a Authorization) Quarantined() bool {
	return a.State == LinkGranted && a.LastAttempt != nil && a.LastAttempt.OK && a.LastAttempt.Cause != ""
}

// Attempt is how one attempt at an authorization link ended.
type Attempt struct {
	AttemptID string    `json:"attempt_id"`
	At        time.Time `json:"at"`
	OK        bool      `json:"ok"`
	Verdict   string    `json:"verdict,omitempty"`
	Expected  string    `json:"expected,omitempty"`  // the address whose sign-in was expected
	SignedIn  string    `json:"signed_in,omitempty"` // who signed in, as the provider names them
	Cause     string    `json:"cause,omitempty"`
	Text      string    `json:"text"`
	Remedy    string    `json:"remedy,omitempty"`
	Who       []string  `json:"who,omitempty"`
	Reference string    `json:"reference,omitempty"` // the provider's correlation id
	Reply     string    `json:"reply,omitempty"`     // the error as the server outside gave it
	Subject   string    `json:"subject,omitempty"`   // for LinkRequest.AllowSubject
}

// CreateLink makes the one-time link that the mailbox owner opens.
func (c *Client) CreateLink(ctx context.Context, address string, r LinkRequest) (Link, error) {
	return send[Link](ctx, c, http.MethodPost, mailboxPath(address, "/authorizations"), r)
}

// Authorization says where a link stands.
func (c *Client) Authorization(ctx context.Context, address, id string) (Authorization, error) {
	return get[Authorization](ctx, c, mailboxPath(address, one("/authorizations/", id, "")))
}

// CancelLink makes a pending link unusable.
func (c *Client) CancelLink(ctx context.Context, address, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: mailboxPath(address, one("/authorizations/", id, ""))}, nil)
}
