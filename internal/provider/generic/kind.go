// Package generic is the provider kind for any OpenID Connect provider with a
// mail server beside it: Keycloak, Authentik, Zitadel, Dex and their like.
//
// All that is known of the provider comes from its issuer's metadata, and each
// endpoint can be overridden. Who signed in is iss and sub of the validated ID
// token. An address is proved by the claim email, and only where email_verified
// is true, in the ID token or in a UserInfo answer about the same sub; or by a
// claim that the operator names and so vouches for.
package generic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
)

// Name is the kind's name, as resources spell it.
const Name = "generic"

// Options are what a Kind needs from outside; the zero value is right for
// production.
type Options struct {
	Now    func() time.Time // default time.Now
	Egress egress.Options   // ExtraCAs come from each record
}

// Kind implements provider.Kind. It is safe for concurrent use.
type Kind struct {
	now         func() time.Time
	pool        *egress.Pool
	directories *oauth.Directories

	mu sync.Mutex
	// auth remembers how a client was accepted at a token endpoint, where the
	// server offers several ways.
	auth map[string]oauth.ClientAuth
}

// New makes the kind.
func New(o Options) *Kind {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Kind{
		now: o.Now, pool: egress.NewPool(o.Egress), directories: oauth.NewDirectories(o.Now),
		auth: map[string]oauth.ClientAuth{},
	}
}

// The endpoints that a record may override.
const (
	endpointAuthorization = "authorization"
	endpointToken         = "token"
	endpointUserInfo      = "userinfo"
	endpointKeys          = "jwks"
	endpointSignOut       = "end_session"
	endpointIMAP          = "imap"
	endpointPOP3          = "pop3"
	endpointSMTP          = "smtp"
)

// Traits describes the kind.
func (k *Kind) Traits() provider.Traits {
	return provider.Traits{
		Kind: Name, Title: "OpenID Connect provider",
		Prompts: []provider.Prompt{provider.PromptLogin, provider.PromptSelectAccount, provider.PromptOmit},
		Endpoints: []string{
			endpointAuthorization, endpointToken, endpointUserInfo, endpointKeys, endpointSignOut, endpointIMAP, endpointPOP3, endpointSMTP,
		},
		Settings: []provider.Setting{
			{Name: "issuer", Label: "Issuer", Example: "https://idp.example/realms/main", Hint: "Letter by letter as the provider's documents give it. Its endpoints are found from there."},
			{Name: "client_id", Label: "Client ID", Example: "mailgrant"},
			{Name: "identity_claim", Label: "Claim with the mail address", Example: "mail", Optional: true, Hint: "Only where email is not verified and you vouch for another claim."},
		},
		Register: []string{
			"At the provider, make a confidential client for the authorization code flow with PKCE.",
			"Add the redirect URI below to it, letter by letter.",
			"Allow it the scopes below; offline_access brings the refresh token.",
			"Copy its client ID and its client secret.",
		},
	}
}

// Mail gives the endpoint that the record names for a protocol; where it names
// none the mailbox has to, and only port and TLS mode are preset.
func (k *Kind) Mail(r provider.Record, name protocol.Name) protocol.Endpoint {
	at := protocol.Endpoint{Protocol: name, Resource: provider.ResourceMail}
	if r.CAPEM != "" {
		at.CAPEM = []byte(r.CAPEM)
	}
	switch name {
	case protocol.IMAP:
		at.Port, at.TLS, at.Setting = 993, protocol.TLSImplicit, "receive"
	case protocol.POP3:
		at.Port, at.TLS, at.Setting = 995, protocol.TLSImplicit, "receive"
	case protocol.SMTP:
		at.Port, at.TLS, at.Setting = 587, protocol.TLSStart, "send"
	default:
		return protocol.Endpoint{Protocol: name}
	}
	return provider.OverlayMail(at, r.Endpoints[string(name)])
}

// Resources gives the one resource of this kind: the mail server, with the
// scopes of the profile, or those that identify a person and bring a refresh
// token.
func (k *Kind) Resources(r provider.Record, uses []provider.Use, profile string) ([]provider.Resource, error) {
	for _, u := range uses {
		if !slices.Contains([]provider.Use{provider.UseIMAP, provider.UsePOP3, provider.UseSMTP, provider.UseIdentity}, u) {
			return nil, &fault.Error{
				ID: "provider.unknown_use", Kind: fault.Invalid, Text: fmt.Sprintf("A provider of kind %s cannot be used for %q.", Name, u),
				Who: []fault.Who{fault.Operator}, Remedy: "Use imap, pop3 or smtp.",
			}
		}
	}
	scopes := []string{"openid", "email", "offline_access"}
	if profile != "" {
		i := slices.IndexFunc(r.Profiles, func(p provider.Profile) bool { return p.Name == profile })
		if i < 0 {
			return nil, &fault.Error{
				ID: "provider.unknown_profile", Kind: fault.Invalid, Field: "profile",
				Text: fmt.Sprintf("The provider %s has no profile named %q.", r.Name, profile), Who: []fault.Who{fault.Operator},
				Remedy: "Use one of its profiles, or leave profile out: openid email offline_access are then asked for.",
			}
		}
		derived := scopes
		scopes = nil
		for _, s := range r.Profiles[i].Scopes {
			if s == provider.DerivedScopes {
				scopes = append(scopes, derived...)
			} else if !slices.Contains(scopes, s) {
				scopes = append(scopes, s)
			}
		}
		if !slices.Contains(scopes, "openid") { // without it nobody says who signed in
			scopes = append([]string{"openid"}, scopes...)
		}
	}
	return []provider.Resource{{Name: provider.ResourceMail, Scopes: scopes}}, nil
}

// client gives the HTTP client and the directory for a record's trust.
func (k *Kind) client(r provider.Record) (*http.Client, *oauth.Directory, error) {
	c, err := k.pool.Client(r.CAPEM)
	if err != nil {
		return nil, nil, err
	}
	return c, k.directories.For(c), nil
}

// metadata gives the issuer's metadata with the record's overrides laid over.
// Where all that is needed is overridden nobody is asked.
func (k *Kind) metadata(ctx context.Context, reg provider.Registration) (oauth.Metadata, *oauth.Directory, error) {
	_, directory, err := k.client(reg.Record)
	if err != nil {
		return oauth.Metadata{}, nil, err
	}
	m := oauth.Metadata{Issuer: reg.Issuer}
	e := reg.Endpoints
	if e[endpointAuthorization] == "" || e[endpointToken] == "" || e[endpointKeys] == "" {
		if m, err = directory.Discover(ctx, reg.Issuer); err != nil {
			return oauth.Metadata{}, nil, k.explain(err, reg.Issuer, "issuer")
		}
	}
	for name, to := range map[string]*string{
		endpointAuthorization: &m.AuthorizationEndpoint, endpointToken: &m.TokenEndpoint, endpointUserInfo: &m.UserInfoEndpoint,
		endpointKeys: &m.JWKSURI, endpointSignOut: &m.EndSessionEndpoint,
	} {
		if v := e[name]; v != "" {
			*to = v
		}
	}
	return m, directory, nil
}

// explain turns any error of a call into a fault: by the standards, or by the
// network with the setting that names the host.
func (k *Kind) explain(err error, at, setting string) *fault.Error {
	f := oauth.Fault(err)
	if f == nil {
		target := egress.Target{Setting: setting}
		if u, parseErr := url.Parse(at); parseErr == nil {
			target.Host = u.Hostname()
			target.Port, _ = strconv.Atoi(u.Port())
		}
		return egress.Classify(err, target)
	}
	var answer *oauth.Error
	if errors.As(err, &answer) {
		f.RetryAfter = egress.RetryAfter(answer.RetryAfter, k.now())
	}
	return f
}

// SignOutURL gives the page that ends the browser's session (OpenID Connect
// RP-Initiated Logout); the fault provider.no_sign_out where there is none.
func (k *Kind) SignOutURL(ctx context.Context, reg provider.Registration, returnTo string) (string, error) {
	m, _, err := k.metadata(ctx, reg)
	if err != nil {
		return "", err
	}
	if m.EndSessionEndpoint == "" {
		return "", &fault.Error{
			ID: "provider.no_sign_out", Kind: fault.NotFound, Text: "The provider names no page for signing out.",
			Who: []fault.Who{fault.Nobody}, Remedy: "Sign out by the provider's own pages, or use a private window.",
		}
	}
	u, err := url.Parse(m.EndSessionEndpoint)
	if err != nil {
		return "", fmt.Errorf("build the sign-out address: %w", err)
	}
	q := u.Query()
	q.Set("client_id", reg.ClientID)
	if returnTo != "" {
		q.Set("post_logout_redirect_uri", returnTo)
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}
