package api

import (
	"context"
	"net/http"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/webhook"
)

// Webhook is a webhook as programs see and write it.
type Webhook struct {
	Name      string   `json:"name" required:"false" doc:"With PUT the one of the path, when left out."`
	URL       string   `json:"url"`
	Secret    string   `json:"secret,omitempty" once:"true" doc:"Write-only, but for a generated one, which is shown once." maxLength:"1024"`
	Events    []string `json:"events"`
	Mailboxes []string `json:"mailboxes,omitempty"`
	CAPEM     string   `json:"ca_pem,omitempty"`

	Disabled        string    `json:"disabled,omitempty" readOnly:"true" doc:"Why nothing is delivered; absent while it is on."`
	DisabledBy      string    `json:"disabled_by,omitempty" readOnly:"true" doc:"receiver (it answered 410 Gone) or operator."`
	DisabledAt      time.Time `json:"disabled_at,omitzero" readOnly:"true"`
	SignedWithBoth  time.Time `json:"signed_with_both_until,omitzero" readOnly:"true" doc:"After a rotation: until then deliveries are signed with the previous secret too."`
	Waiting         int       `json:"waiting" readOnly:"true" required:"false" doc:"Deliveries that wait for their turn or for the next attempt."`
	WaitingSince    time.Time `json:"waiting_since,omitzero" readOnly:"true" doc:"Of the one that waits longest."`
	Parked          int       `json:"parked" readOnly:"true" required:"false" doc:"Deliveries that failed for a day and wait to be replayed."`
	LastDeliveredAt time.Time `json:"last_delivered_at,omitzero" readOnly:"true"`
	CreatedAt       time.Time `json:"created_at,omitzero" readOnly:"true"`
	UpdatedAt       time.Time `json:"updated_at,omitzero" readOnly:"true"`
}

func webhookOut(w webhook.Webhook, generated seal.Secret, s webhook.Standing) Webhook {
	out := Webhook{
		Name: w.Name, URL: w.URL, Secret: generated.Reveal(), Mailboxes: w.Mailboxes, CAPEM: w.CAPEM,
		Disabled: w.Disabled, DisabledBy: w.DisabledBy, DisabledAt: w.DisabledAt, SignedWithBoth: w.PreviousSecretUntil,
		Waiting: s.Waiting, WaitingSince: s.WaitingSince, Parked: s.Parked, LastDeliveredAt: s.LastDelivered,
		CreatedAt: w.CreatedAt, UpdatedAt: w.UpdatedAt, Events: []string{},
	}
	for _, p := range w.Events {
		out.Events = append(out.Events, string(p))
	}
	return out
}

// webhookNow is a webhook with how it gets on.
func (a *API) webhookNow(ctx context.Context, w webhook.Webhook, generated seal.Secret, err error) (*Out[Webhook], error) {
	if err != nil {
		return nil, err
	}
	all, err := a.Webhooks.Standings(ctx)
	return &Out[Webhook]{webhookOut(w, generated, all[w.ID])}, err
}

func (w Webhook) input() webhook.Input {
	in := webhook.Input{Name: w.Name, URL: w.URL, Secret: seal.NewSecret(w.Secret), Mailboxes: w.Mailboxes, CAPEM: w.CAPEM}
	for _, e := range w.Events {
		in.Events = append(in.Events, event.Pattern(e))
	}
	return in
}

func (a *API) webhooks() {
	const tag = "Webhooks"
	manage := func(ctx context.Context) error { return everywhere(caller(ctx)) }
	save := func(ctx context.Context, in Webhook, onlyNew bool) (*Out[Webhook], error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		input := in.input()
		input.OnlyNew = onlyNew
		w, generated, err := a.Webhooks.Save(ctx, caller(ctx).Actor, input)
		return a.webhookNow(ctx, w, generated, err)
	}
	register(a, "list-webhooks", http.MethodGet, "/v1/webhooks", "List webhooks", tag, func(ctx context.Context, in *Paging) (*Out[Page[Webhook]], error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		ws, err := a.Webhooks.List(ctx)
		if err != nil {
			return nil, err
		}
		standings, err := a.Webhooks.Standings(ctx)
		page := Page[Webhook]{Items: []Webhook{}}
		for _, w := range ws {
			page.Items = append(page.Items, webhookOut(w, seal.Secret{}, standings[w.ID]))
		}
		return &Out[Page[Webhook]]{paged(page, *in, func(v Webhook) string { return v.Name })}, err
	})
	register(a, "create-webhook", http.MethodPost, "/v1/webhooks", "Add a webhook", tag, func(ctx context.Context, in *struct{ Body Webhook }) (*Out[Webhook], error) {
		return save(ctx, in.Body, true)
	}, creating(http.StatusCreated))
	register(a, "get-webhook", http.MethodGet, "/v1/webhooks/{name}", "Show a webhook", tag, func(ctx context.Context, in *ByName) (*Out[Webhook], error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		w, err := a.Webhooks.Get(ctx, in.Name)
		return a.webhookNow(ctx, w, seal.Secret{}, err)
	})
	register(a, "put-webhook", http.MethodPut, "/v1/webhooks/{name}", "Add or change a webhook", tag, func(ctx context.Context, in *struct {
		ByName
		Body Webhook
	},
	) (*Out[Webhook], error) {
		if in.Body.Name != "" && in.Body.Name != in.Name {
			return nil, nameDiffers("name", in.Name)
		}
		in.Body.Name = in.Name
		return save(ctx, in.Body, false)
	})
	register(a, "delete-webhook", http.MethodDelete, "/v1/webhooks/{name}", "Remove a webhook and what waits for it", tag, func(ctx context.Context, in *ByName) (*Empty, error) {
		if err := manage(ctx); err != nil {
			return nil, err
		}
		return &Empty{}, a.Webhooks.Delete(ctx, caller(ctx).Actor, in.Name)
	})
}
