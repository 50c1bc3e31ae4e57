package api

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Provider is a provider as programs see and write it.
type Provider struct {
	Name          string            `json:"name" required:"false" maxLength:"63" doc:"With PUT the one of the path, when left out."`
	Kind          string            `json:"kind" doc:"The sort of provider; a wrong one is refused with the list of those there are."`
	Tenant        string            `json:"tenant,omitempty"`
	Cloud         string            `json:"cloud,omitempty"`
	Issuer        string            `json:"issuer,omitempty"`
	ClientID      string            `json:"client_id"`
	ClientSecrets []ClientSecret    `json:"client_secrets,omitempty" doc:"Tried in order. Left out in a change: the stored ones stay."`
	RedirectURI   string            `json:"redirect_uri,omitempty"`
	Authorize     *Authorize        `json:"authorize,omitempty"`
	CAPEM         string            `json:"ca_pem,omitempty"`
	Endpoints     map[string]string `json:"endpoints,omitempty"`
	IdentityClaim string            `json:"identity_claim,omitempty"`
	Profiles      []Profile         `json:"profiles,omitempty"`

	EffectiveRedirectURI string    `json:"effective_redirect_uri,omitempty" readOnly:"true" doc:"Register exactly this one at the provider."`
	CreatedAt            time.Time `json:"created_at,omitzero" readOnly:"true"`
	UpdatedAt            time.Time `json:"updated_at,omitzero" readOnly:"true"`
}

// ClientSecret is a client secret; its value goes in and never comes out.
type ClientSecret struct {
	ID        string    `json:"id,omitempty" doc:"Of a stored one that stays."`
	Value     string    `json:"value,omitempty" writeOnly:"true" maxLength:"4096"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// Authorize is how a person is sent to sign in.
type Authorize struct {
	Prompt string `json:"prompt,omitempty" doc:"login, select_account or omit"`
}

// Profile names a grant type with scopes.
type Profile struct {
	Name      string   `json:"name"`
	GrantType string   `json:"grant_type,omitempty"`
	Scopes    []string `json:"scopes"`
}

func (a *API) providerOut(r provider.Record) Provider {
	p := Provider{
		Name: r.Name, Kind: r.Kind, Tenant: r.Tenant, Cloud: r.Cloud, Issuer: r.Issuer, ClientID: r.ClientID,
		RedirectURI: r.RedirectURI, CAPEM: r.CAPEM, Endpoints: r.Endpoints, IdentityClaim: r.IdentityClaim,
		EffectiveRedirectURI: a.Connect.Providers.RedirectURI(r), CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
	if r.Prompt != "" {
		p.Authorize = &Authorize{Prompt: string(r.Prompt)}
	}
	for _, s := range r.Secrets {
		p.ClientSecrets = append(p.ClientSecrets, ClientSecret{ID: s.ID, ExpiresAt: s.ExpiresAt})
	}
	for _, f := range r.Profiles {
		p.Profiles = append(p.Profiles, Profile{Name: f.Name, GrantType: f.GrantType, Scopes: f.Scopes})
	}
	return p
}

func (p Provider) settings(when connect.When) (connect.ProviderSettings, error) {
	s := connect.ProviderSettings{When: when, Record: provider.Record{
		Name: p.Name, Kind: p.Kind, Tenant: p.Tenant, Cloud: p.Cloud, Issuer: p.Issuer, ClientID: p.ClientID,
		RedirectURI: p.RedirectURI, CAPEM: p.CAPEM, Endpoints: p.Endpoints, IdentityClaim: p.IdentityClaim,
	}}
	if p.Authorize != nil {
		s.Record.Prompt = provider.Prompt(p.Authorize.Prompt)
	}
	for _, f := range p.Profiles {
		s.Record.Profiles = append(s.Record.Profiles, provider.Profile{Name: f.Name, GrantType: f.GrantType, Scopes: f.Scopes})
	}
	if p.ClientSecrets != nil {
		s.Secrets = []connect.SecretInput{}
	}
	for i, c := range p.ClientSecrets {
		if c.ID == "" && c.Value == "" {
			return s, &fault.Error{
				ID: "provider.field", Kind: fault.Invalid, Field: fmt.Sprintf("client_secrets[%d]", i), Who: []fault.Who{fault.Operator},
				Text: "This client secret has neither a value nor the id of a stored one.", Remedy: "Give value for a new secret, or id for one that stays.",
			}
		}
		s.Secrets = append(s.Secrets, connect.SecretInput{ID: c.ID, Value: seal.NewSecret(c.Value), ExpiresAt: c.ExpiresAt})
	}
	return s, nil
}

// ByName is the path of a named resource.
type ByName struct {
	Name string `path:"name" maxLength:"63"`
}

func (a *API) providers() {
	manage := func(ctx context.Context) error { return everywhere(caller(ctx)) }
	save := func(ctx context.Context, p Provider, when connect.When) (*Out[Provider], error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		s, err := p.settings(when)
		if err != nil {
			return nil, err
		}
		r, _, err := a.Connect.Providers.Save(ctx, s, caller(ctx).Actor)
		if err != nil {
			return nil, err
		}
		return &Out[Provider]{a.providerOut(r)}, nil
	}
	const tag = "Providers"
	register(a, "list-providers", http.MethodGet, "/v1/providers", "List providers", tag, func(ctx context.Context, in *Paging) (*Out[Page[Provider]], error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		rs, err := a.Connect.Providers.List(ctx)
		page := Page[Provider]{Items: []Provider{}}
		for _, r := range rs {
			page.Items = append(page.Items, a.providerOut(r))
		}
		return &Out[Page[Provider]]{paged(page, *in, func(v Provider) string { return v.Name })}, err
	})
	register(a, "create-provider", http.MethodPost, "/v1/providers", "Add a provider", tag, func(ctx context.Context, in *struct{ Body Provider }) (*Out[Provider], error) {
		return save(ctx, in.Body, connect.OnlyCreate)
	}, creating(http.StatusCreated))
	register(a, "get-provider", http.MethodGet, "/v1/providers/{name}", "Show a provider", tag, func(ctx context.Context, in *ByName) (*Out[Provider], error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		r, err := a.Connect.Providers.Get(ctx, in.Name)
		return &Out[Provider]{a.providerOut(r)}, err
	})
	register(a, "put-provider", http.MethodPut, "/v1/providers/{name}", "Add or change a provider", tag, func(ctx context.Context, in *struct {
		ByName
		Body Provider
	},
	) (*Out[Provider], error) {
		if in.Body.Name != "" && in.Body.Name != in.Name {
			return nil, nameDiffers("name", in.Name)
		}
		in.Body.Name = in.Name
		return save(ctx, in.Body, connect.Whichever)
	})
	register(a, "delete-provider", http.MethodDelete, "/v1/providers/{name}", "Remove a provider that no mailbox uses", tag, func(ctx context.Context, in *ByName) (*Empty, error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		return &Empty{}, a.Connect.Providers.Delete(ctx, in.Name, caller(ctx).Actor)
	})
	register(a, "verify-provider", http.MethodPost, "/v1/providers/{name}/verify", "Ask the provider whether the settings can work", tag, func(ctx context.Context, in *ByName) (*Empty, error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		return &Empty{}, a.Connect.Providers.Verify(ctx, in.Name)
	})
}

func nameDiffers(field, want string) error {
	return &fault.Error{
		ID: "api.name_differs", Kind: fault.Invalid, Field: field, Who: []fault.Who{fault.Operator},
		Text:   fmt.Sprintf("The document's %s is not the one in the path, %s.", field, want),
		Remedy: "Leave it out, or make both the same. Renaming is adding a new one and removing the old.",
	}
}
