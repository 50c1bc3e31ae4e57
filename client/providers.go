package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Provider is an organisation's authorization server, as configured. The last
// three fields are the server's; what is written there is ignored.
type Provider struct {
	Name     string `json:"name,omitempty"`
	Kind     string `json:"kind"`
	Tenant   string `json:"tenant,omitempty"`
	Cloud    string `json:"cloud,omitempty"`
	Issuer   string `json:"issuer,omitempty"`
	ClientID string `json:"client_id"`
	// ClientSecrets are tried in order. Values go in and never come out; nil in a
	// change keeps the stored ones, an empty list removes them.
	ClientSecrets []ClientSecret `json:"client_secrets,omitzero"`
	// RedirectURI is empty for the server's own.
	RedirectURI   string            `json:"redirect_uri,omitempty"`
	Authorize     *Authorize        `json:"authorize,omitempty"`
	CAPEM         string            `json:"ca_pem,omitempty"`
	Endpoints     map[string]string `json:"endpoints,omitempty"`
	IdentityClaim string            `json:"identity_claim,omitempty"`
	Profiles      []Profile         `json:"profiles,omitempty"`

	EffectiveRedirectURI string    `json:"effective_redirect_uri,omitempty" readOnly:"true"`
	CreatedAt            time.Time `json:"created_at,omitzero" readOnly:"true"`
	UpdatedAt            time.Time `json:"updated_at,omitzero" readOnly:"true"`
}

// ClientSecret is a client secret: a value for a new one, the id of a stored one
// that stays.
type ClientSecret struct {
	ID        string    `json:"id,omitempty"`
	Value     string    `json:"value,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Authorize is how a person is sent to sign in. Prompt is login, select_account
// or omit.
type Authorize struct {
	Prompt string `json:"prompt,omitempty"`
}

// Profile names scopes, where those derived from what a mailbox does do not fit.
type Profile struct {
	Name      string   `json:"name"`
	GrantType string   `json:"grant_type,omitempty"`
	Scopes    []string `json:"scopes"`
}

const providersPath = "/v1/providers"

// Providers lists the providers.
func (c *Client) Providers(ctx context.Context) iter.Seq2[Provider, error] {
	return list[Provider](ctx, c, providersPath, nil, 0)
}

// Provider gives one provider.
func (c *Client) Provider(ctx context.Context, name string) (Provider, error) {
	return get[Provider](ctx, c, one(providersPath+"/", name, ""))
}

func (p Provider) written() Provider {
	p.EffectiveRedirectURI, p.CreatedAt, p.UpdatedAt = "", time.Time{}, time.Time{}
	return p
}

// CreateProvider adds a provider; it is a problem if there is one of this name.
func (c *Client) CreateProvider(ctx context.Context, p Provider) (Provider, error) {
	return send[Provider](ctx, c, http.MethodPost, providersPath, p.written())
}

// PutProvider adds a provider or replaces the one of this name. To change one,
// read it, amend it and put it back.
func (c *Client) PutProvider(ctx context.Context, name string, p Provider) (Provider, error) {
	return send[Provider](ctx, c, http.MethodPut, one(providersPath+"/", name, ""), p.written())
}

// DeleteProvider removes a provider that no mailbox uses.
func (c *Client) DeleteProvider(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: one(providersPath+"/", name, "")}, nil)
}

// VerifyProvider asks the provider itself whether these settings can work.
func (c *Client) VerifyProvider(ctx context.Context, name string) error {
	return c.do(ctx, call{method: http.MethodPost, path: one(providersPath+"/", name, "/verify")}, nil)
}
