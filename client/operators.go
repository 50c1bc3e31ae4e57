package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Operator is a person who signs in to the pages. No API key may look after
// operators: every call here is possible through the socket only.
type Operator struct {
	Name string `json:"name"`
	// CanSignIn says whether they have set a password.
	CanSignIn bool `json:"can_sign_in"`
	// SetupLink is the unspent one-time link with which they set a password. Its
	// URL comes once, from CreateOperator.
	SetupLink      *SetupLink `json:"setup_link,omitempty"`
	LastSignedInAt time.Time  `json:"last_signed_in_at,omitzero"`
	CreatedBy      string     `json:"created_by,omitempty"`
	CreatedAt      time.Time  `json:"created_at,omitzero"`
}

// SetupLink is a one-time link with which an operator sets a password.
type SetupLink struct {
	URL       string    `json:"url,omitempty"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Session is a sign-in of an operator to the pages.
type Session struct {
	ID         string    `json:"id"`
	SignedInAt time.Time `json:"signed_in_at"`
	LastSeenAt time.Time `json:"last_seen_at"` // to the minute
	ExpiresAt  time.Time `json:"expires_at"`
	From       string    `json:"from,omitempty"`
	Browser    string    `json:"browser"` // as it named itself, in words
}

const operatorsPath = "/v1/operators"

// Operators lists the operators.
func (c *Client) Operators(ctx context.Context) iter.Seq2[Operator, error] {
	return list[Operator](ctx, c, operatorsPath, nil, 0)
}

// Operator gives one operator.
func (c *Client) Operator(ctx context.Context, name string) (Operator, error) {
	return get[Operator](ctx, c, one(operatorsPath+"/", name, ""))
}

// CreateOperator adds an operator. The answer holds, this once, the one-time
// link with which they set a password.
func (c *Client) CreateOperator(ctx context.Context, name string) (Operator, error) {
	return send[Operator](ctx, c, http.MethodPost, operatorsPath, struct {
		Name string `json:"name"`
	}{name})
}

// DeleteOperator removes an operator; their sessions end at once. The last one
// who can sign in stays.
func (c *Client) DeleteOperator(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: one(operatorsPath+"/", name, "")}, nil)
}

// CreateSetupLink makes a set-up link for an operator who chooses their name,
// or replaces the password of one who has it.
func (c *Client) CreateSetupLink(ctx context.Context) (SetupLink, error) {
	return send[SetupLink](ctx, c, http.MethodPost, operatorsPath+"/setup", nil)
}

// CreateOperatorSetupLink makes a new set-up link for an operator; an earlier
// one stops working, and the password they have works until the link is used.
func (c *Client) CreateOperatorSetupLink(ctx context.Context, name string) (SetupLink, error) {
	return send[SetupLink](ctx, c, http.MethodPost, one(operatorsPath+"/", name, "/setup"), nil)
}

// Sessions lists where an operator is signed in, the one used last first.
func (c *Client) Sessions(ctx context.Context, operator string) iter.Seq2[Session, error] {
	return list[Session](ctx, c, one(operatorsPath+"/", operator, "/sessions"), nil, 0)
}

// EndSession ends a session of an operator; the next request in it has to sign in.
func (c *Client) EndSession(ctx context.Context, operator, id string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: one(one(operatorsPath+"/", operator, "/sessions/"), id, "")}, nil)
}

// EndSessions ends all sessions of an operator.
func (c *Client) EndSessions(ctx context.Context, operator string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: one(operatorsPath+"/", operator, "/sessions")}, nil)
}
