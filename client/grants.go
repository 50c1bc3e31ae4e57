package client

import (
	"context"
	"net/http"
	"time"
)

// Grant is the lasting consent behind a mailbox. It holds no secret. State is
// none, active, suspended, dead or revoked.
type Grant struct {
	State         string           `json:"state"`
	Verdict       string           `json:"verdict"`
	SignedIn      string           `json:"signed_in"`
	Identity      Identity         `json:"identity"`
	Scopes        []string         `json:"scopes"`
	ConnectedAt   time.Time        `json:"connected_at"`
	ConnectedBy   string           `json:"connected_by,omitempty"`
	LastRefreshAt time.Time        `json:"last_refresh_at,omitzero"`
	NextRefreshAt time.Time        `json:"next_refresh_at,omitzero"`
	Failures      int              `json:"failures"`
	Cause         string           `json:"cause,omitempty"`
	Text          string           `json:"text,omitempty"`
	Remedy        string           `json:"remedy,omitempty"`
	AccessTokens  []AccessTokenEnd `json:"access_tokens"`
	Quarantine    *Quarantine      `json:"quarantine,omitempty"`
	History       []Event          `json:"history"`
}

// Identity is who signed in, as the issuer names them.
type Identity struct {
	Issuer   string `json:"issuer"`
	Subject  string `json:"subject"`
	TenantID string `json:"tenant_id,omitempty"`
	ObjectID string `json:"object_id,omitempty"`
	Name     string `json:"name,omitempty"`
}

// AccessTokenEnd says until when an access token is good.
type AccessTokenEnd struct {
	Resource  string    `json:"resource"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Quarantine is an authorization that waits to be verified.
type Quarantine struct {
	SignedIn  string    `json:"signed_in"`
	Since     time.Time `json:"since"`
	NextTryAt time.Time `json:"next_try_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Text      string    `json:"text"`
}

// TokenRequest asks for an access token. Resource is mail (the default) or
// graph; MinTTL is how long the token has to be good at least (default 5m).
type TokenRequest struct {
	Resource string `json:"resource,omitempty"`
	MinTTL   string `json:"min_ttl,omitempty"`
}

// Token is an access token on loan.
type Token struct {
	AccessToken string    `json:"access_token"`
	TokenType   string    `json:"token_type"`
	ExpiresAt   time.Time `json:"expires_at"`
	Resource    string    `json:"resource"`
}

// Rotation is the outcome of a key rotation.
type Rotation struct {
	Resealed int `json:"resealed"`
}

// Grant says who authorised a mailbox, for what, and until when.
func (c *Client) Grant(ctx context.Context, address string) (Grant, error) {
	return get[Grant](ctx, c, mailboxPath(address, "/grant"))
}

// RevokeGrant ends a grant and forgets its tokens.
func (c *Client) RevokeGrant(ctx context.Context, address string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: mailboxPath(address, "/grant")}, nil)
}

// Token borrows an access token; the server renews it first where that is needed.
func (c *Client) Token(ctx context.Context, address string, r TokenRequest) (Token, error) {
	return send[Token](ctx, c, http.MethodPost, mailboxPath(address, "/token"), r)
}

// RotateKeys makes a new sealing key and seals every stored secret anew.
func (c *Client) RotateKeys(ctx context.Context) (Rotation, error) {
	return send[Rotation](ctx, c, http.MethodPost, "/v1/keys/rotate", nil)
}
