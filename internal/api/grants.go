package api

import (
	"context"
	"net/http"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// Grant is a mailbox's grant; it holds no secret.
type Grant struct {
	State         string           `json:"state"`
	Verdict       string           `json:"verdict,omitempty"`
	SignedIn      string           `json:"signed_in"`
	Identity      provider.Subject `json:"identity"`
	Scopes        []string         `json:"scopes"`
	ConnectedAt   time.Time        `json:"connected_at,omitzero"`
	ConnectedBy   string           `json:"connected_by,omitempty"`
	LastRefreshAt time.Time        `json:"last_refresh_at,omitzero"`
	NextRefreshAt time.Time        `json:"next_refresh_at,omitzero"`
	Failures      int              `json:"failures"`
	Cause         string           `json:"cause,omitempty"`
	Text          string           `json:"text,omitempty"`
	Remedy        string           `json:"remedy,omitempty"`
	AccessTokens  []AccessTokenEnd `json:"access_tokens"`
	Quarantine    *QuarantineOut   `json:"quarantine,omitempty"`
	History       []event.Event    `json:"history"`
}

// AccessTokenEnd says until when an access token is good.
type AccessTokenEnd struct {
	Resource  string    `json:"resource"`
	ExpiresAt time.Time `json:"expires_at"`
}

// QuarantineOut is an authorization that waits to be verified.
type QuarantineOut struct {
	SignedIn  string    `json:"signed_in"`
	Since     time.Time `json:"since"`
	NextTryAt time.Time `json:"next_try_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Text      string    `json:"text"`
}

// TokenRequest asks for an access token.
type TokenRequest struct {
	Resource string `json:"resource,omitempty" doc:"mail or graph; default mail"`
	MinTTL   string `json:"min_ttl,omitempty" doc:"How long it has to be good at least; default 5m."`
}

// Token is an access token on loan.
type Token struct {
	AccessToken string    `json:"access_token"`
	TokenType   string    `json:"token_type"`
	ExpiresAt   time.Time `json:"expires_at"`
	Resource    string    `json:"resource"`
}

const defaultMinTTL = 5 * time.Minute

func (a *API) grants() {
	const tag = "Grants"
	register(a, "get-grant", http.MethodGet, "/v1/mailboxes/{address}/grant", "Who authorised the mailbox, for what, until when", tag, a.getGrant)
	register(a, "revoke-grant", http.MethodDelete, "/v1/mailboxes/{address}/grant", "End the grant and forget its tokens", tag, func(ctx context.Context, in *ByAddress) (*Empty, error) {
		m, err := a.find(ctx, in.Address, access.Manage)
		if err != nil {
			return nil, err
		}
		return &Empty{}, a.Connect.Links.Revoke(ctx, m.Address, caller(ctx).Actor)
	})
	register(a, "lend-token", http.MethodPost, "/v1/mailboxes/{address}/token", "Borrow an access token", tag, a.lendToken)
	register(a, "rotate-keys", http.MethodPost, "/v1/keys/rotate", "Make a new sealing key and seal every stored secret anew", "Server", func(ctx context.Context, _ *struct{}) (*Out[Rotation], error) {
		if err := everywhere(caller(ctx)); err != nil {
			return nil, err
		}
		n, err := a.Keys.RotateKeys(ctx, caller(ctx).Actor)
		return &Out[Rotation]{Rotation{Resealed: n}}, err
	})
}

// Rotation is the outcome of a key rotation.
type Rotation struct {
	Resealed int `json:"resealed"`
}

func (a *API) lendToken(ctx context.Context, in *struct {
	ByAddress
	Body *TokenRequest `required:"false"`
},
) (*Out[Token], error) {
	id, err := a.findID(ctx, in.Address, access.Token)
	if err != nil {
		return nil, err
	}
	resource, ttl := provider.ResourceMail, defaultMinTTL
	if in.Body != nil {
		if in.Body.Resource != "" {
			resource = in.Body.Resource
		}
		if in.Body.MinTTL != "" {
			if ttl, err = time.ParseDuration(in.Body.MinTTL); err != nil || ttl < 0 {
				return nil, &fault.Error{
					ID: "token.min_ttl", Kind: fault.Invalid, Field: "min_ttl", Who: []fault.Who{fault.Operator},
					Text: "“" + fault.Shorten(in.Body.MinTTL, 40) + "” is not a duration.", Remedy: "Write it as 5m or 90s.",
				}
			}
		}
	}
	t, expires, err := a.Lender.Lend(ctx, id, resource, ttl)
	return &Out[Token]{Token{AccessToken: t.Reveal(), TokenType: "Bearer", ExpiresAt: expires, Resource: resource}}, err
}

func (a *API) getGrant(ctx context.Context, in *ByAddress) (*Out[Grant], error) {
	m, err := a.find(ctx, in.Address, access.Read)
	if err != nil {
		return nil, err
	}
	g, err := a.Reads.Grant(ctx, m.ID)
	if err != nil && !fault.Has(err, "grant.none") {
		return nil, err
	}
	out := Grant{
		State: grantState(g.State), Verdict: string(g.Verdict), SignedIn: g.Display, Identity: g.Subject, Scopes: g.Scopes,
		ConnectedAt: g.ConnectedAt, ConnectedBy: g.ConnectedBy, LastRefreshAt: g.LastRefreshAt, NextRefreshAt: g.NextRefreshAt,
		Failures: g.Failures, Cause: g.Cause, Text: g.CauseText, Remedy: g.Remedy, AccessTokens: []AccessTokenEnd{},
	}
	if out.Scopes == nil {
		out.Scopes = []string{}
	}
	tokens, err := a.Reads.AccessTokens(ctx, m.ID)
	if err != nil {
		return nil, err
	}
	for _, t := range tokens {
		out.AccessTokens = append(out.AccessTokens, AccessTokenEnd{Resource: t.Resource, ExpiresAt: t.ExpiresAt})
	}
	q, err := a.Reads.QuarantineOf(ctx, m.ID)
	if err != nil {
		return nil, err
	}
	if q != nil {
		out.Quarantine = &QuarantineOut{SignedIn: q.Display, Since: q.CreatedAt, NextTryAt: q.NextTryAt, ExpiresAt: q.ExpiresAt, Text: q.CauseText}
	}
	out.History, err = a.Reads.Events(ctx, event.Filter{MailboxIDs: []string{m.ID}, Patterns: []event.Pattern{"grant.*", "authorization.*"}, Limit: pageSize})
	if out.History == nil {
		out.History = []event.Event{}
	}
	return &Out[Grant]{out}, err
}
