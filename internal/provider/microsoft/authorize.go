package microsoft

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// unsaidLife is how long an access token is used whose life the server did not
// say.
const unsaidLife = 10 * time.Minute

// AuthorizationURL builds the request. prompt=login goes with login_hint;
// select_account goes without it, because Entra refuses the pair; omit sends
// neither, leaves the choice to the browser's sessions, and is made safe by the
// identity check alone.
func (k *Kind) AuthorizationURL(_ context.Context, reg provider.Registration, ask provider.AuthorizationRequest) (string, error) {
	resources, err := k.Resources(reg.Record, ask.Uses, ask.Profile)
	if err != nil {
		return "", err
	}
	scopes := identityScopes()
	for _, r := range resources { // on this leg several resources may be asked for, so that one consent covers all
		scopes = append(scopes, r.Scopes...)
	}
	prompt := reg.Prompt
	if ask.Force != "" {
		prompt = ask.Force
	}
	request := oauth.AuthorizationRequest{
		Endpoint: siteOf(reg.Record).oauth2(reg.Tenant, "authorize"), ClientID: reg.ClientID, RedirectURI: reg.RedirectURI,
		Scopes: scopes, State: ask.State, Nonce: ask.Nonce, CodeChallenge: ask.CodeChallenge, LoginHint: ask.LoginHint,
	}
	switch prompt {
	case provider.PromptLogin, "":
		request.Prompt = "login"
	case provider.PromptSelectAccount:
		request.Prompt, request.LoginHint = "select_account", ""
	case provider.PromptOmit: // single sign-on chooses, and a hint would sway it
		request.LoginHint = ""
	default:
		return "", invalid("authorize.prompt", "“"+fault.Shorten(string(prompt), 40)+"” is not a prompt of this kind.", "Use login, select_account or omit.")
	}
	return request.URL()
}

// Redeem exchanges the code for tokens of the first resource, and validates the
// ID token by the keys of the tenant that it names.
func (k *Kind) Redeem(ctx context.Context, reg provider.Registration, back provider.Redemption) (provider.Tokens, error) {
	resources, err := k.Resources(reg.Record, back.Uses, back.Profile)
	if err != nil {
		return provider.Tokens{}, err
	}
	if len(resources) == 0 {
		return provider.Tokens{}, invalid("profile", "There is nothing to ask an access token for.", "Give the mailbox something to receive or send by, or a profile with scopes.")
	}
	endpoint, err := k.tokenEndpoint(reg, reg.Tenant)
	if err != nil {
		return provider.Tokens{}, err
	}
	if err := k.responseIssuer(ctx, reg, back.Issuer); err != nil {
		return provider.Tokens{}, err
	}
	asked := resources[0]
	answer, err := endpoint.Redeem(ctx, back.Code, back.CodeVerifier, reg.RedirectURI, tokenScopes(asked.Scopes, identityScopes()...))
	if err != nil {
		return provider.Tokens{}, k.explain(err, reg, endpoint.URL, siteOf(reg.Record).setting)
	}
	subject, err := k.subject(ctx, reg, answer, back)
	if err != nil {
		return provider.Tokens{}, err
	}
	tokens := k.tokens(answer, asked)
	tokens.Subject = subject
	return tokens, nil
}

// responseIssuer judges the iss parameter of the authorization response before
// the code is sent anywhere (RFC 9207, 2.4). Under common and organizations any
// tenant of this authority may be named; which one it has to be shows with the
// ID token.
func (k *Kind) responseIssuer(ctx context.Context, reg provider.Registration, iss string) error {
	metadata, _, err := k.tenant(ctx, reg, reg.Tenant, "tenant")
	if err != nil {
		return err
	}
	if id, own := siteOf(reg.Record).tenantID(iss); own && id != "" && multiTenant(reg.Tenant) {
		metadata.Issuer = iss
	}
	return oauth.CheckResponseIssuer(metadata, iss)
}

func (k *Kind) tokens(answer oauth.TokenResponse, asked provider.Resource) provider.Tokens {
	life, scopes := answer.ExpiresIn, answer.Scopes
	if life == 0 {
		life = unsaidLife
	}
	if scopes == nil {
		scopes = asked.Scopes
	}
	return provider.Tokens{
		AccessToken: answer.AccessToken, Resource: asked.Name, ExpiresAt: k.now().Add(life), Scopes: scopes, RefreshToken: answer.RefreshToken,
	}
}

// subject validates the ID token. Under common and organizations Entra speaks
// for many tenants: the ID token says which one, and then has to hold by that
// tenant's own metadata and keys.
func (k *Kind) subject(ctx context.Context, reg provider.Registration, answer oauth.TokenResponse, back provider.Redemption) (provider.Subject, error) {
	s := siteOf(reg.Record)
	refuse := func(err error) (provider.Subject, error) {
		return provider.Subject{}, k.explain(err, reg, s.authority, s.setting)
	}
	segment := reg.Tenant
	if multiTenant(segment) {
		peeked, err := oauth.PeekIDToken(answer.IDToken)
		if err != nil {
			return refuse(err)
		}
		if segment = peeked.String("tid"); !isGUID(segment) {
			return refuse(&oauth.IDTokenError{Claim: "tid", Err: errors.New("it is missing or not a tenant ID")})
		}
	}
	metadata, tenantID, err := k.tenant(ctx, reg, segment, "tenant")
	if err != nil {
		return provider.Subject{}, err
	}
	if back.Issuer != "" {
		if err := oauth.CheckResponseIssuer(metadata, back.Issuer); err != nil {
			return provider.Subject{}, err
		}
	}
	_, directory, err := k.client(reg.Record)
	if err != nil {
		return provider.Subject{}, err
	}
	claims, err := directory.VerifyIDToken(ctx, answer.IDToken, oauth.Expectation{
		Issuer: metadata.Issuer, ClientID: reg.ClientID, JWKSURI: metadata.JWKSURI, Nonce: back.Nonce, Access: answer.AccessToken,
	})
	if err != nil {
		return refuse(err)
	}
	if tid := strings.ToLower(claims.String("tid")); tenantID == "" || tid != tenantID {
		return refuse(&oauth.IDTokenError{Claim: "tid", Want: tenantID, Got: tid})
	}
	if !isGUID(claims.String("oid")) {
		return refuse(&oauth.IDTokenError{Claim: "oid", Err: errors.New("it is missing; is the scope profile asked for?")})
	}
	out := provider.Subject{
		Issuer: claims.String("iss"), Subject: claims.String("sub"), TenantID: tenantID, ObjectID: strings.ToLower(claims.String("oid")),
		Name: fault.Shorten(claims.String("name"), 200), Claims: map[string]string{},
	}
	for _, name := range []string{"preferred_username", "upn", "idp"} {
		if v := claims.String(name); v != "" && len(v) <= 320 {
			out.Claims[name] = v
		}
	}
	if acct, ok := claims["acct"].(float64); ok && acct == 1 {
		out.Claims["acct"] = "1"
	}
	return out, nil
}

// Refresh renews the access token of one resource. Beside an error, a refresh
// token in the returned Tokens is one to keep.
func (k *Kind) Refresh(ctx context.Context, reg provider.Registration, refreshToken seal.Secret, resource provider.Resource) (provider.Tokens, error) {
	endpoint, err := k.tokenEndpoint(reg, reg.Tenant)
	if err != nil {
		return provider.Tokens{}, err
	}
	answer, err := endpoint.Refresh(ctx, refreshToken, tokenScopes(resource.Scopes, "offline_access"))
	if err != nil {
		f := k.explain(err, reg, endpoint.URL, siteOf(reg.Record).setting)
		if resource.Name != provider.ResourceMail && unconsented(err) {
			// Nobody has consented to this resource; that says nothing about the mail.
			f.ID, f.Kind, f.Retry = "oauth.consent_required", fault.Refused, true
		}
		return provider.Tokens{RefreshToken: answer.RefreshToken}, f
	}
	return k.tokens(answer, resource), nil
}

// unconsented reports an answer of the token endpoint that says that consent is
// missing: as OpenID Connect Core spells it, or as Entra's suberror.
func unconsented(err error) bool {
	var answer *oauth.Error
	return errors.As(err, &answer) && (answer.Code == "consent_required" || answer.Suberror == "consent_required")
}
