package api

import (
	"context"
	"net/http"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
)

// App is a program with an API key.
type App struct {
	Name      string    `json:"name"`
	May       []string  `json:"may" doc:"read, send, token, manage"`
	Mailboxes []string  `json:"mailboxes,omitempty" doc:"Addresses; none: all."`
	Networks  []string  `json:"networks,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	APIKey    string    `json:"api_key,omitempty" readOnly:"true" once:"true" doc:"Shown once, when it is made."`
	CreatedBy string    `json:"created_by,omitempty" readOnly:"true"`
	CreatedAt time.Time `json:"created_at,omitzero" readOnly:"true"`
}

func appOut(k access.APIKey) App {
	a := App{Name: k.Name, Mailboxes: k.Mailboxes, Networks: k.Networks, ExpiresAt: k.ExpiresAt, CreatedBy: k.CreatedBy, CreatedAt: k.CreatedAt, May: []string{}}
	for _, m := range k.May {
		a.May = append(a.May, string(m))
	}
	return a
}

func (a *API) apps() {
	const tag = "Apps"
	register(a, "list-apps", http.MethodGet, "/v1/apps", "List programs and what they may do", tag, func(ctx context.Context, _ *struct{}) (*Out[Page[App]], error) {
		if err := everywhere(caller(ctx)); err != nil {
			return nil, err
		}
		keys, err := a.Access.APIKeys(ctx)
		page := Page[App]{Items: []App{}}
		for _, k := range keys {
			page.Items = append(page.Items, appOut(k))
		}
		return &Out[Page[App]]{page}, err
	})
	register(a, "create-app", http.MethodPost, "/v1/apps", "Make an API key for a program; it is shown this once", tag, func(ctx context.Context, in *struct{ Body App }) (*Out[App], error) {
		if err := everywhere(caller(ctx)); err != nil {
			return nil, err
		}
		r := access.KeyRequest{Name: in.Body.Name, Mailboxes: in.Body.Mailboxes, Networks: in.Body.Networks, ExpiresAt: in.Body.ExpiresAt}
		for _, m := range in.Body.May {
			r.May = append(r.May, access.Right(m))
		}
		k, secret, err := a.Access.CreateAPIKey(ctx, caller(ctx).Actor, r)
		out := appOut(k)
		out.APIKey = secret.Reveal()
		return &Out[App]{out}, err
	}, answers(http.StatusCreated))
	register(a, "delete-app", http.MethodDelete, "/v1/apps/{name}", "Remove a program; its API key stops at once", tag, func(ctx context.Context, in *ByName) (*Empty, error) {
		if err := everywhere(caller(ctx)); err != nil {
			return nil, err
		}
		return &Empty{}, a.Access.DeleteAPIKey(ctx, caller(ctx).Actor, in.Name)
	})
}
