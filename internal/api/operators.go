package api

import (
	"context"
	"net/http"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
)

// SetupLink is a one-time set-up link.
type SetupLink struct {
	URL       string    `json:"url,omitempty" once:"true" doc:"Shown once, when it is made."`
	ExpiresAt time.Time `json:"expires_at"`
}

func (a *API) operators() {
	const tag = "Operators"
	register(a, "create-setup-link", http.MethodPost, "/v1/operators/setup", "Make a one-time set-up link for an operator (socket only)", tag, func(ctx context.Context, _ *struct{}) (*Out[SetupLink], error) {
		c := caller(ctx)
		if c.Actor.Kind != event.ActorLocal {
			return nil, socketOnly()
		}
		s, until, err := a.Access.IssueSetup(ctx, c.Actor)
		return &Out[SetupLink]{SetupLink{URL: a.PublicURL + "/setup/" + s.Reveal(), ExpiresAt: until}}, err
	}, answers(http.StatusCreated))
}
