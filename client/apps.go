package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// App is a program with an API key.
type App struct {
	Name string `json:"name"`
	// May holds read, send, token, manage.
	May []string `json:"may"`
	// Mailboxes are the addresses it may use; none: all.
	Mailboxes []string `json:"mailboxes,omitempty"`
	// Networks are those it may call from, such as 10.1.0.0/16; none: everywhere.
	Networks  []string  `json:"networks,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`

	// APIKey comes once, from CreateApp.
	APIKey    string    `json:"api_key,omitempty"`
	CreatedBy string    `json:"created_by,omitempty"`
	CreatedAt time.Time `json:"created_at,omitzero"`
}

// SetupLink is a one-time link with which an operator sets a password.
type SetupLink struct {
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expires_at"`
}

const appsPath = "/v1/apps"

// Apps lists the programs.
func (c *Client) Apps(ctx context.Context) iter.Seq2[App, error] {
	return list[App](ctx, c, appsPath, nil, 0)
}

// CreateApp makes an API key for a program. The answer holds it, this once.
func (c *Client) CreateApp(ctx context.Context, a App) (App, error) {
	a.APIKey, a.CreatedBy, a.CreatedAt = "", "", time.Time{}
	return send[App](ctx, c, http.MethodPost, appsPath, a)
}

// DeleteApp removes a program; its API key stops at once.
func (c *Client) DeleteApp(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: one(appsPath+"/", name, "")}, nil)
}

// CreateSetupLink makes a set-up link. Possible through the socket only.
func (c *Client) CreateSetupLink(ctx context.Context) (SetupLink, error) {
	return send[SetupLink](ctx, c, http.MethodPost, "/v1/operators/setup", nil)
}
