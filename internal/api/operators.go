package api

import (
	"context"
	"net/http"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// SetupLink is a one-time set-up link.
type SetupLink struct {
	URL       string    `json:"url,omitempty" once:"true" doc:"Shown once, when it is made."`
	ExpiresAt time.Time `json:"expires_at"`
}

func (a *API) setupLink(secret seal.Secret, until time.Time) SetupLink {
	return SetupLink{URL: a.PublicURL + "/setup/" + secret.Reveal(), ExpiresAt: until}
}

// Operator is a person who signs in to the pages.
type Operator struct {
	Name           string     `json:"name" doc:"2 to 64 small letters, digits, and . _ @ -"`
	CanSignIn      bool       `json:"can_sign_in" readOnly:"true" doc:"Whether they have set a password."`
	SetupLink      *SetupLink `json:"setup_link,omitempty" readOnly:"true" doc:"The unspent one-time link with which they set a password; its url is shown once, when it is made."`
	LastSignedInAt time.Time  `json:"last_signed_in_at,omitzero" readOnly:"true"`
	CreatedBy      string     `json:"created_by,omitempty" readOnly:"true" doc:"The operator, or the user of the server's host (as uid 0), that added them; none where they came by a set-up link."`
	CreatedAt      time.Time  `json:"created_at,omitzero" readOnly:"true"`
}

func (a *API) operatorOut(o access.Operator) Operator {
	out := Operator{Name: o.Name, CanSignIn: o.PasswordHash != "", LastSignedInAt: o.SignedInAt, CreatedBy: o.CreatedBy, CreatedAt: o.CreatedAt}
	if o.LinkEnds.After(a.Now()) {
		out.SetupLink = &SetupLink{ExpiresAt: o.LinkEnds}
	}
	return out
}

// Session is a sign-in of an operator to the pages.
type Session struct {
	ID         string    `json:"id"`
	SignedInAt time.Time `json:"signed_in_at"`
	LastSeenAt time.Time `json:"last_seen_at" doc:"To the minute."`
	ExpiresAt  time.Time `json:"expires_at" doc:"It moves with use."`
	From       string    `json:"from,omitempty" doc:"The address that they signed in from."`
	Browser    string    `json:"browser" doc:"As the browser named itself, in words."`
}

// ByOperator is the path of an operator.
type ByOperator struct {
	Name string `path:"name" maxLength:"64"`
}

// people refuses whoever may not look after operators: every API key.
func people(ctx context.Context) error { return caller(ctx).MayLookAfterOperators() }

func (a *API) operators() {
	const tag = "Operators"
	register(a, "list-operators", http.MethodGet, "/v1/operators", "List operators (socket only)", tag, func(ctx context.Context, in *Paging) (*Out[Page[Operator]], error) {
		if err := people(ctx); err != nil {
			return nil, err
		}
		all, err := a.Access.Operators(ctx)
		page := Page[Operator]{Items: []Operator{}}
		for _, o := range all {
			page.Items = append(page.Items, a.operatorOut(o))
		}
		return &Out[Page[Operator]]{paged(page, *in, func(v Operator) string { return v.Name })}, err
	})
	register(a, "create-operator", http.MethodPost, "/v1/operators", "Invite an operator: add them, and make the one-time link with which they set a password (socket only)", tag, func(ctx context.Context, in *struct{ Body Operator }) (*Out[Operator], error) {
		if err := people(ctx); err != nil {
			return nil, err
		}
		o, secret, err := a.Access.Invite(ctx, caller(ctx).Actor, in.Body.Name)
		if err != nil {
			return nil, err
		}
		out, l := a.operatorOut(o), a.setupLink(secret, o.LinkEnds)
		out.SetupLink = &l
		return &Out[Operator]{out}, nil
	}, creating(http.StatusCreated))
	register(a, "get-operator", http.MethodGet, "/v1/operators/{name}", "Show an operator (socket only)", tag, func(ctx context.Context, in *ByOperator) (*Out[Operator], error) {
		if err := people(ctx); err != nil {
			return nil, err
		}
		o, err := a.Access.Operator(ctx, in.Name)
		return &Out[Operator]{a.operatorOut(o)}, err
	})
	register(a, "delete-operator", http.MethodDelete, "/v1/operators/{name}", "Remove an operator; their sessions end at once (socket only)", tag, func(ctx context.Context, in *ByOperator) (*Empty, error) {
		if err := people(ctx); err != nil {
			return nil, err
		}
		return &Empty{}, a.Access.DeleteOperator(ctx, caller(ctx).Actor, in.Name)
	})
	a.setupLinks(tag)
	a.sessions(tag)
}

func (a *API) setupLinks(tag string) {
	register(a, "create-setup-link", http.MethodPost, "/v1/operators/setup", "Make a one-time set-up link for an operator who chooses their name (socket only)", tag, func(ctx context.Context, _ *struct{}) (*Out[SetupLink], error) {
		if err := people(ctx); err != nil {
			return nil, err
		}
		secret, until, err := a.Access.IssueSetup(ctx, caller(ctx).Actor)
		return &Out[SetupLink]{a.setupLink(secret, until)}, err
	}, creating(http.StatusCreated))
	register(a, "create-operator-setup-link", http.MethodPost, "/v1/operators/{name}/setup", "Make a new one-time set-up link for an operator; an earlier one stops working (socket only)", tag, func(ctx context.Context, in *ByOperator) (*Out[SetupLink], error) {
		if err := people(ctx); err != nil {
			return nil, err
		}
		secret, until, err := a.Access.IssueSetupFor(ctx, caller(ctx).Actor, in.Name)
		return &Out[SetupLink]{a.setupLink(secret, until)}, err
	}, creating(http.StatusCreated))
}

func (a *API) sessions(tag string) {
	register(a, "list-sessions", http.MethodGet, "/v1/operators/{name}/sessions", "List where an operator is signed in, the one used last first (socket only)", tag, func(ctx context.Context, in *struct {
		ByOperator
		Paging
	},
	) (*Out[Page[Session]], error) {
		if err := people(ctx); err != nil {
			return nil, err
		}
		all, err := a.Access.SessionsOf(ctx, in.Name)
		page := Page[Session]{Items: []Session{}}
		for _, s := range all {
			page.Items = append(page.Items, Session{ID: s.ID, SignedInAt: s.BeganAt, LastSeenAt: s.SeenAt, ExpiresAt: s.ExpiresAt, From: s.From, Browser: s.Browser})
		}
		return &Out[Page[Session]]{paged(page, in.Paging, func(v Session) string { return v.ID })}, err
	})
	register(a, "end-session", http.MethodDelete, "/v1/operators/{name}/sessions/{id}", "End a session of an operator; the next request in it has to sign in (socket only)", tag, func(ctx context.Context, in *struct {
		ByOperator
		ID string `path:"id" maxLength:"64"`
	},
	) (*Empty, error) {
		if err := people(ctx); err != nil {
			return nil, err
		}
		return &Empty{}, a.Access.EndSession(ctx, caller(ctx).Actor, in.Name, in.ID)
	})
	register(a, "end-sessions", http.MethodDelete, "/v1/operators/{name}/sessions", "End all sessions of an operator (socket only)", tag, func(ctx context.Context, in *ByOperator) (*Empty, error) {
		if err := people(ctx); err != nil {
			return nil, err
		}
		_, err := a.Access.EndSessions(ctx, caller(ctx).Actor, in.Name, "")
		return &Empty{}, err
	})
}
