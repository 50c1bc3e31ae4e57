package generic

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// Verify asks the provider whether it is the issuer, and whether it takes the
// client secret, or the client ID alone where there is none: by a refresh token that nobody ever issued, which a server
// refuses as such only to a client that it knows.
func (k *Kind) Verify(ctx context.Context, reg provider.Registration) error {
	if err := k.Check(reg.Record); err != nil {
		return err
	}
	m, _, err := k.metadata(ctx, reg)
	if err != nil {
		return err
	}
	_, err = k.call(ctx, reg, m, func(e oauth.TokenEndpoint) (oauth.TokenResponse, error) {
		return e.Refresh(ctx, seal.NewSecret(oauth.NewState()), nil)
	})
	var refused *oauth.Error
	if errors.As(err, &refused) && !refused.Passing() && refused.Code != "" && refused.Code != "invalid_client" && refused.Code != "unauthorized_client" {
		return nil
	}
	if len(reg.ClientSecrets) == 0 && refused != nil && refused.Code == "invalid_client" {
		f := k.explain(err, m.TokenEndpoint, k.tokenSetting(reg))
		f.Text = fmt.Sprintf("No client secret is set, and the provider does not take the client ID %s without one.", fault.Shorten(reg.ClientID, 100))
		f.Remedy = "Add the client's secret; or check client_id, and make it a public client at the provider if it is to have none."
		return f
	}
	if err != nil {
		return k.explain(err, m.TokenEndpoint, k.tokenSetting(reg))
	}
	return nil
}

func (k *Kind) tokenSetting(reg provider.Registration) string {
	if reg.Endpoints[endpointToken] != "" {
		return "endpoints." + endpointToken
	}
	return "issuer"
}

// AuthorizationURL builds the request. A refresh token is promised for a
// request with prompt=consent only (OpenID Connect Core, 11), so that goes along
// wherever offline_access is asked for; omit sends no prompt at all.
func (k *Kind) AuthorizationURL(ctx context.Context, reg provider.Registration, ask provider.AuthorizationRequest) (string, error) {
	resources, err := k.Resources(reg.Record, ask.Uses, ask.Profile)
	if err != nil {
		return "", err
	}
	m, _, err := k.metadata(ctx, reg)
	if err != nil {
		return "", err
	}
	prompt := reg.Prompt
	if ask.Force != "" {
		prompt = ask.Force
	}
	request := oauth.AuthorizationRequest{
		Endpoint: m.AuthorizationEndpoint, ClientID: reg.ClientID, RedirectURI: reg.RedirectURI, Scopes: resources[0].Scopes,
		State: ask.State, Nonce: ask.Nonce, CodeChallenge: ask.CodeChallenge, LoginHint: ask.LoginHint,
	}
	switch prompt {
	case provider.PromptLogin, "":
		request.Prompt = "login"
	case provider.PromptSelectAccount: // a hint would answer the question that is asked
		request.Prompt, request.LoginHint = "select_account", ""
	case provider.PromptOmit: // single sign-on chooses, and a hint would sway it
		request.LoginHint = ""
	default:
		return "", invalid("authorize.prompt", "“"+fault.Shorten(string(prompt), 40)+"” is not a prompt of this kind.", "Use login, select_account or omit.")
	}
	if request.Prompt != "" && slices.Contains(request.Scopes, "offline_access") {
		request.Prompt += " consent"
	}
	return request.URL()
}

// RetryPrompt is the operator's choice where there is one. Else it is the account
// picker of a provider that says it has one (Initiating User Registration via
// OpenID Connect, prompt_values_supported): many have none, and refuse a request
// that asks for it. login is what every OpenID provider has to know.
func (k *Kind) RetryPrompt(ctx context.Context, reg provider.Registration) provider.Prompt {
	if reg.Prompt != "" {
		return reg.Prompt
	}
	m, _, err := k.metadata(ctx, reg)
	if err == nil && slices.Contains(m.PromptValues, string(provider.PromptSelectAccount)) {
		return provider.PromptSelectAccount
	}
	return provider.PromptLogin
}

// call makes a call to the token endpoint by the ways of client authentication
// that the server offers: the next one only after invalid_client, because a
// registration may be bound to one of them and the metadata does not say which.
func (k *Kind) call(ctx context.Context, reg provider.Registration, m oauth.Metadata, do func(oauth.TokenEndpoint) (oauth.TokenResponse, error)) (oauth.TokenResponse, error) {
	client, _, err := k.client(reg.Record)
	if err != nil {
		return oauth.TokenResponse{}, err
	}
	key := m.TokenEndpoint + "\x00" + reg.ClientID
	var answer oauth.TokenResponse
	for _, way := range k.ways(m, key) {
		answer, err = do(oauth.TokenEndpoint{URL: m.TokenEndpoint, ClientID: reg.ClientID, Secrets: reg.ClientSecrets, Auth: way, HTTP: client})
		var refused *oauth.Error
		if !errors.As(err, &refused) || refused.Code != "invalid_client" {
			if oauth.OutcomeOf(err) == oauth.Answered || err == nil {
				k.remember(key, way)
			}
			break
		}
		if len(reg.ClientSecrets) == 0 || ctx.Err() != nil {
			break
		}
	}
	return answer, err
}

// ways lists how to authenticate, the one that worked before first. Basic is
// the standard's default (OpenID Connect Discovery, 3).
func (k *Kind) ways(m oauth.Metadata, key string) []oauth.ClientAuth {
	k.mu.Lock()
	known := k.auth[key]
	k.mu.Unlock()
	out := []oauth.ClientAuth{}
	for _, w := range []oauth.ClientAuth{known, oauth.ClientSecretBasic, oauth.ClientSecretPost} {
		offered := slices.Contains(m.TokenEndpointAuthMethods, string(w)) || len(m.TokenEndpointAuthMethods) == 0
		if w != "" && offered && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	if len(out) == 0 {
		out = append(out, oauth.ClientSecretBasic)
	}
	return out
}

func (k *Kind) remember(key string, way oauth.ClientAuth) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.auth) >= 1000 {
		clear(k.auth)
	}
	k.auth[key] = way
}

// Redeem exchanges the code and validates the ID token.
func (k *Kind) Redeem(ctx context.Context, reg provider.Registration, back provider.Redemption) (provider.Tokens, error) {
	resources, err := k.Resources(reg.Record, back.Uses, back.Profile)
	if err != nil {
		return provider.Tokens{}, err
	}
	m, directory, err := k.metadata(ctx, reg)
	if err != nil {
		return provider.Tokens{}, err
	}
	if err := oauth.CheckResponseIssuer(m, back.Issuer); err != nil {
		return provider.Tokens{}, err
	}
	answer, err := k.call(ctx, reg, m, func(e oauth.TokenEndpoint) (oauth.TokenResponse, error) {
		return e.Redeem(ctx, back.Code, back.CodeVerifier, reg.RedirectURI, nil) // the code stands for its scopes
	})
	if err != nil {
		return provider.Tokens{}, k.explain(err, m.TokenEndpoint, k.tokenSetting(reg))
	}
	claims, err := directory.VerifyIDToken(ctx, answer.IDToken, oauth.Expectation{
		Issuer: m.Issuer, ClientID: reg.ClientID, JWKSURI: m.JWKSURI, Nonce: back.Nonce, Access: answer.AccessToken,
	})
	if err != nil {
		return provider.Tokens{}, k.explain(err, m.JWKSURI, "issuer")
	}
	if err := allGranted(resources[0].Scopes, answer.Scopes); err != nil {
		return provider.Tokens{}, err
	}
	tokens := k.tokens(answer, resources[0])
	tokens.Subject = subject(claims, reg.IdentityClaim)
	return tokens, nil
}

// allGranted compares what was asked for with what the server says it granted;
// scopes about identity and refreshing show their lack elsewhere.
func allGranted(asked, granted []string) error {
	if granted == nil {
		return nil
	}
	var missing []string
	for _, s := range asked {
		if !slices.Contains([]string{"openid", "profile", "email", "address", "phone", "offline_access"}, s) && !slices.Contains(granted, s) {
			missing = append(missing, s)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return &fault.Error{
		ID: "oauth.scope_missing", Kind: fault.Refused, Field: "profiles",
		Text:   fmt.Sprintf("The provider did not grant all that was asked for; missing: %s.", fault.Shorten(strings.Join(missing, ", "), 300)),
		Who:    []fault.Who{fault.MailboxOwner, fault.AppOwner},
		Remedy: "Open the link again and allow all that is asked; if nothing was taken away there, the client is not allowed these scopes at the provider.",
	}
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

// Refresh renews the access token. No scope is named: what was granted stays,
// and naming more than that is an error (RFC 6749, 6). Beside an error, a
// refresh token in the returned Tokens is one to keep.
func (k *Kind) Refresh(ctx context.Context, reg provider.Registration, refreshToken seal.Secret, resource provider.Resource) (provider.Tokens, error) {
	m, _, err := k.metadata(ctx, reg)
	if err != nil {
		return provider.Tokens{}, err
	}
	answer, err := k.call(ctx, reg, m, func(e oauth.TokenEndpoint) (oauth.TokenResponse, error) {
		return e.Refresh(ctx, refreshToken, nil)
	})
	if err != nil {
		return provider.Tokens{RefreshToken: answer.RefreshToken}, k.explain(err, m.TokenEndpoint, k.tokenSetting(reg))
	}
	return k.tokens(answer, resource), nil
}
