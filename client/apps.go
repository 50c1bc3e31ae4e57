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

	// APIKey comes once, from CreateApp, RenewApp, and a PutApp that added the app.
	APIKey     string    `json:"api_key,omitempty" readOnly:"true"`
	CreatedBy  string    `json:"created_by,omitempty" readOnly:"true"`
	CreatedAt  time.Time `json:"created_at,omitzero" readOnly:"true"`
	LastUsedAt time.Time `json:"last_used_at,omitzero" readOnly:"true"` // to the minute; zero: never
}

const appsPath = "/v1/apps"

// written is what of an app is the caller's to say.
func (a App) written() App {
	a.APIKey, a.CreatedBy, a.CreatedAt, a.LastUsedAt = "", "", time.Time{}, time.Time{}
	return a
}

// Apps lists the programs.
func (c *Client) Apps(ctx context.Context) iter.Seq2[App, error] {
	return list[App](ctx, c, appsPath, nil, 0)
}

// App gives one program.
func (c *Client) App(ctx context.Context, name string) (App, error) {
	return get[App](ctx, c, one(appsPath+"/", name, ""))
}

// CreateApp makes an API key for a program. The answer holds it, this once.
func (c *Client) CreateApp(ctx context.Context, a App) (App, error) {
	return send[App](ctx, c, http.MethodPost, appsPath, a.written())
}

// PutApp changes what the program of this name may do; its API key stays. A
// program that is not there is added, and the answer holds its API key, this once.
func (c *Client) PutApp(ctx context.Context, name string, a App) (App, error) {
	return send[App](ctx, c, http.MethodPut, one(appsPath+"/", name, ""), a.written())
}

// RenewApp gives a program a new API key; the answer holds it, this once, and
// the old one stops at once. The zero time leaves the end of the key as it is.
func (c *Client) RenewApp(ctx context.Context, name string, ends time.Time) (App, error) {
	return send[App](ctx, c, http.MethodPost, one(appsPath+"/", name, "/key"), struct {
		ExpiresAt time.Time `json:"expires_at,omitzero"`
	}{ends})
}

// DeleteApp removes a program; its API key stops at once.
func (c *Client) DeleteApp(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: one(appsPath+"/", name, "")}, nil)
}
