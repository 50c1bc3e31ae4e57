package api

import (
	"context"
	"net/http"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// App is a program with an API key.
type App struct {
	Name       string    `json:"name" required:"false" doc:"With PUT the one of the path, when left out."`
	May        []string  `json:"may" doc:"read, send, token, manage"`
	Mailboxes  []string  `json:"mailboxes,omitempty" doc:"Addresses; none: all."`
	Networks   []string  `json:"networks,omitempty" doc:"Where it may call from, as 10.1.0.0/16 or a single address; none: everywhere."`
	ExpiresAt  time.Time `json:"expires_at,omitzero" doc:"When the API key ends; none: never."`
	APIKey     string    `json:"api_key,omitempty" readOnly:"true" once:"true" doc:"Shown once, when it is made."`
	CreatedBy  string    `json:"created_by,omitempty" readOnly:"true" doc:"The operator, the API key, or the user of the server's host (as uid 0) that added it."`
	CreatedAt  time.Time `json:"created_at,omitzero" readOnly:"true"`
	LastUsedAt time.Time `json:"last_used_at,omitzero" readOnly:"true" doc:"To the minute; none: never."`
}

func appOut(k access.APIKey, made seal.Secret) App {
	a := App{
		Name: k.Name, Mailboxes: k.Mailboxes, Networks: k.Networks, ExpiresAt: k.ExpiresAt, APIKey: made.Reveal(),
		CreatedBy: k.CreatedBy, CreatedAt: k.CreatedAt, LastUsedAt: k.LastUsed, May: []string{},
	}
	for _, m := range k.May {
		a.May = append(a.May, string(m))
	}
	return a
}

func (a App) request() access.KeyRequest {
	r := access.KeyRequest{Name: a.Name, Mailboxes: a.Mailboxes, Networks: a.Networks, ExpiresAt: a.ExpiresAt}
	for _, m := range a.May {
		r.May = append(r.May, access.Right(m))
	}
	return r
}

// Renewal is what may be said when an API key is renewed.
type Renewal struct {
	ExpiresAt time.Time `json:"expires_at,omitzero" doc:"When the new API key ends. Left out: as before."`
}

func (a *API) apps() {
	const tag = "Apps"
	manage := func(ctx context.Context) error { return everywhere(caller(ctx)) }
	register(a, "list-apps", http.MethodGet, "/v1/apps", "List programs and what they may do", tag, func(ctx context.Context, in *Paging) (*Out[Page[App]], error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		keys, err := a.Access.APIKeys(ctx)
		page := Page[App]{Items: []App{}}
		for _, k := range keys {
			page.Items = append(page.Items, appOut(k, seal.Secret{}))
		}
		return &Out[Page[App]]{paged(page, *in, func(v App) string { return v.Name })}, err
	})
	register(a, "create-app", http.MethodPost, "/v1/apps", "Make an API key for a program; it is shown this once", tag, func(ctx context.Context, in *struct{ Body App }) (*Out[App], error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		k, secret, err := a.Access.CreateAPIKey(ctx, caller(ctx).Actor, in.Body.request())
		return &Out[App]{appOut(k, secret)}, err
	}, creating(http.StatusCreated))
	register(a, "get-app", http.MethodGet, "/v1/apps/{name}", "Show a program and what it may do", tag, func(ctx context.Context, in *ByName) (*Out[App], error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		k, err := a.Access.APIKey(ctx, in.Name)
		return &Out[App]{appOut(k, seal.Secret{})}, err
	})
	register(a, "put-app", http.MethodPut, "/v1/apps/{name}", "Change what a program may do; its API key stays. One that is not there is added, and its API key is shown this once", tag, func(ctx context.Context, in *struct {
		ByName
		Body App
	},
	) (*Out[App], error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		if in.Body.Name != "" && in.Body.Name != in.Name {
			return nil, nameDiffers("name", in.Name)
		}
		in.Body.Name = in.Name
		k, secret, err := a.Access.PutAPIKey(ctx, caller(ctx).Actor, in.Body.request())
		return &Out[App]{appOut(k, secret)}, err
	})
	register(a, "renew-app-key", http.MethodPost, "/v1/apps/{name}/key", "Give a program a new API key, shown this once; the old one stops at once", tag, func(ctx context.Context, in *struct {
		ByName
		Body *Renewal `required:"false"`
	},
	) (*Out[App], error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		var ends time.Time
		if in.Body != nil {
			ends = in.Body.ExpiresAt
		}
		k, secret, err := a.Access.RenewAPIKey(ctx, caller(ctx).Actor, in.Name, ends)
		return &Out[App]{appOut(k, secret)}, err
	}, creating(http.StatusCreated))
	register(a, "delete-app", http.MethodDelete, "/v1/apps/{name}", "Remove a program; its API key stops at once", tag, func(ctx context.Context, in *ByName) (*Empty, error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		return &Empty{}, a.Access.DeleteAPIKey(ctx, caller(ctx).Actor, in.Name)
	})
}
