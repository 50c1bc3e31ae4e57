package api

import (
	"context"
	"net/http"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/fault"
)

// LinkRequest asks for an authorization link.
type LinkRequest struct {
	ExpiresIn    string `json:"expires_in,omitempty" doc:"A duration such as 24h."`
	AllowSubject string `json:"allow_subject,omitempty" maxLength:"300" doc:"The identity that may replace the present one, as the refusal named it."`
}

// NewLink is a fresh authorization link; url is shown this once.
type NewLink struct {
	ID        string    `json:"id"`
	URL       string    `json:"url,omitempty" once:"true" doc:"Shown once, when it is made."`
	ExpiresAt time.Time `json:"expires_at"`
}

// LinkState is where an authorization link stands.
type LinkState struct {
	ID          string           `json:"id"`
	State       string           `json:"state" enum:"pending,granted,refused,expired,cancelled"`
	Attempts    int              `json:"attempts"`
	LastAttempt *connect.Outcome `json:"last_attempt,omitempty"`
	CreatedAt   time.Time        `json:"created_at"`
	ExpiresAt   time.Time        `json:"expires_at"`
}

// ByLink is the path of an authorization link.
type ByLink struct {
	ByAddress
	ID string `path:"id" maxLength:"64"`
}

func (a *API) authorizations() {
	const tag = "Authorizations"
	register(a, "create-authorization", http.MethodPost, "/v1/mailboxes/{address}/authorizations", "Make the one-time link for the mailbox owner", tag,
		func(ctx context.Context, in *struct {
			ByAddress
			Body *LinkRequest `required:"false"`
		},
		) (*Out[NewLink], error) {
			m, err := a.find(ctx, in.Address, access.Manage)
			if err != nil {
				return nil, err
			}
			var o connect.LinkOptions
			if in.Body != nil {
				if o.AllowSubject = in.Body.AllowSubject; o.AllowSubject != "" {
					if err := everywhere(caller(ctx)); err != nil {
						return nil, err
					}
				}
				if in.Body.ExpiresIn != "" {
					if o.Life, err = time.ParseDuration(in.Body.ExpiresIn); err != nil {
						return nil, &fault.Error{
							ID: "link.life", Kind: fault.Invalid, Field: "expires_in", Who: []fault.Who{fault.Operator},
							Text: "“" + fault.Shorten(in.Body.ExpiresIn, 40) + "” is not a duration.", Remedy: "Write it as 24h or 90m.",
						}
					}
				}
			}
			b, err := a.Connect.Links.Begin(ctx, m.Address, o, caller(ctx).Actor)
			return &Out[NewLink]{NewLink{ID: b.ID, URL: b.URL.Reveal(), ExpiresAt: b.ExpiresAt}}, err
		}, creating(http.StatusCreated))
	register(a, "get-authorization", http.MethodGet, "/v1/mailboxes/{address}/authorizations/{id}", "Where an authorization link stands", tag,
		func(ctx context.Context, in *ByLink) (*Out[LinkState], error) {
			l, err := a.link(ctx, in, access.Read)
			return &Out[LinkState]{LinkState{
				ID: l.ID, State: l.State, Attempts: l.Attempts, LastAttempt: l.LastAttempt, CreatedAt: l.CreatedAt, ExpiresAt: l.ExpiresAt,
			}}, err
		})
	register(a, "cancel-authorization", http.MethodDelete, "/v1/mailboxes/{address}/authorizations/{id}", "Cancel a pending authorization link", tag,
		func(ctx context.Context, in *ByLink) (*Empty, error) {
			l, err := a.link(ctx, in, access.Manage)
			if err != nil {
				return nil, err
			}
			return &Empty{}, a.Connect.Links.Cancel(ctx, l.ID, caller(ctx).Actor)
		})
}

// link gives a link of this mailbox; one of another is not found.
func (a *API) link(ctx context.Context, in *ByLink, r access.Right) (connect.Link, error) {
	m, err := a.find(ctx, in.Address, r)
	if err != nil {
		return connect.Link{}, err
	}
	l, of, err := a.Connect.Links.Status(ctx, in.ID)
	if err != nil {
		return connect.Link{}, err
	}
	if of.ID != m.ID {
		return connect.Link{}, &fault.Error{
			ID: "link.unknown", Kind: fault.NotFound, Text: "This mailbox has no such authorization link.", Who: []fault.Who{fault.Operator},
			Remedy: "Use the id that was given when the link was made.",
		}
	}
	return l, nil
}
