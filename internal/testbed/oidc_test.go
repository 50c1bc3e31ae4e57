package testbed_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/mailgrant/mailgrant/internal/testbed"
)

const redirectURI = "http://localhost:8025/oauth/callback"

// The people and programs of these tests.
func registered() testbed.OIDCOptions {
	return testbed.OIDCOptions{
		Clients: []testbed.OIDCClient{
			{ID: "mailgrant", Secret: "a-client-secret-of-a-test", RedirectURIs: []string{redirectURI}},
			mailServer(),
		},
		Users: []testbed.OIDCUser{
			{Login: "desk", Password: "desk-password", Email: "desk@example.test", EmailVerified: true},
			{Login: "adele", Password: "adele-password", Email: "adele@example.test", EmailVerified: true},
		},
	}
}

func mailServer() testbed.OIDCClient {
	return testbed.OIDCClient{ID: "dovecot", Secret: "a-mail-server-secret", IntrospectOnly: true}
}

// program is a relying party written by others: x/oauth2 and go-oidc.
type program struct {
	provider *testbed.OIDCProvider
	oauth2.Config
	verifier *oidc.IDTokenVerifier
	known    *oidc.Provider
}

func newProgram(t *testing.T, provider *testbed.OIDCProvider, scopes ...string) program {
	t.Helper()
	known, err := oidc.NewProvider(oidc.ClientContext(t.Context(), provider.Client()), provider.Issuer)
	if err != nil {
		t.Fatalf("discovery: %v", err)
	}
	endpoint := known.Endpoint()
	endpoint.AuthStyle = oauth2.AuthStyleInHeader // unset, the library repeats a failed request in the other style: a re-use here
	return program{provider: provider, known: known, verifier: known.Verifier(&oidc.Config{ClientID: "mailgrant"}), Config: oauth2.Config{
		ClientID: "mailgrant", ClientSecret: "a-client-secret-of-a-test", RedirectURL: redirectURI, Endpoint: endpoint,
		Scopes: append([]string{"openid", "email", "profile", "offline_access"}, scopes...),
	}}
}

func (p program) context(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, p.provider.Client())
}

// authorise signs somebody in and redeems the code.
func (p program) authorise(t *testing.T, login string, more ...oauth2.AuthCodeOption) *oauth2.Token {
	t.Helper()
	verifier := oauth2.GenerateVerifier()
	options := append([]oauth2.AuthCodeOption{oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("prompt", "consent")}, more...)
	landed, err := p.provider.SignIn(t.Context(), p.provider.Browser(t), p.AuthCodeURL("a-state", options...), login, login+"-password")
	if err != nil {
		t.Fatal(err)
	}
	if landed.Query().Get("state") != "a-state" || landed.Query().Get("code") == "" {
		t.Fatalf("landed on %s, want a code and the state", landed)
	}
	tokens, err := p.Exchange(p.context(t.Context()), landed.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatalf("redeem: %v", err)
	}
	return tokens
}

func (p program) refresh(ctx context.Context, refreshToken string) (*oauth2.Token, error) {
	return p.TokenSource(p.context(ctx), &oauth2.Token{RefreshToken: refreshToken}).Token()
}

func TestOIDCProvider_SignsPeopleIn(t *testing.T) {
	provider := testbed.StartOIDCProvider(t, registered())
	p := newProgram(t, provider)

	t.Run("code flow with PKCE: ID token names the subject, UserInfo the address", func(t *testing.T) {
		tokens := p.authorise(t, "desk")
		raw, ok := tokens.Extra("id_token").(string)
		if !ok {
			t.Fatal("no ID token")
		}
		ctx := oidc.ClientContext(t.Context(), provider.Client())
		id, err := p.verifier.Verify(ctx, raw)
		if err != nil || id.Subject != "desk" {
			t.Fatalf("ID token: %v, %+v", err, id)
		}
		var claims map[string]any
		if err := id.Claims(&claims); err != nil || claims["email"] != nil {
			t.Fatalf("claims of the ID token: %v %v; want no email, which belongs in UserInfo", claims, err)
		}
		info, err := p.known.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
		if err != nil || info.Email != "desk@example.test" || !info.EmailVerified || info.Subject != "desk" {
			t.Fatalf("UserInfo: %+v, %v", info, err)
		}
	})

	t.Run("a wrong password is refused", func(t *testing.T) {
		address := p.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
		if landed, err := provider.SignIn(t.Context(), provider.Browser(t), address, "desk", "wrong"); err == nil {
			t.Fatalf("signed in, landed on %s", landed)
		}
	})

	t.Run("a declined consent is an error of OAuth", func(t *testing.T) {
		address := p.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))
		landed, err := provider.Decline(t.Context(), provider.Browser(t), address)
		if err != nil || landed.Query().Get("error") != "access_denied" {
			t.Fatalf("landed on %v, %v; want access_denied", landed, err)
		}
	})

	t.Run("a request without PKCE is an error of OAuth", func(t *testing.T) {
		landed, err := provider.SignIn(t.Context(), provider.Browser(t), p.AuthCodeURL("s"), "desk", "desk-password")
		if err != nil || landed.Query().Get("error") != "invalid_request" {
			t.Fatalf("landed on %v, %v; want invalid_request", landed, err)
		}
	})
}

func TestOIDCProvider_RotatesRefreshTokens(t *testing.T) {
	provider := testbed.StartOIDCProvider(t, registered())
	p := newProgram(t, provider)
	state := func(t *testing.T, refreshToken, want string) {
		t.Helper()
		if got := provider.RefreshTokenState(t, refreshToken); got != want {
			t.Errorf("refresh token is %s, want %s", got, want)
		}
	}

	t.Run("each refresh brings a new one; re-use ends the family", func(t *testing.T) {
		first := p.authorise(t, "desk")
		second, err := p.refresh(t.Context(), first.RefreshToken)
		if err != nil || second.RefreshToken == first.RefreshToken {
			t.Fatalf("refresh: %v, rotated: %v", err, err == nil && second.RefreshToken != first.RefreshToken)
		}
		state(t, first.RefreshToken, "used")
		state(t, second.RefreshToken, "current")
		refused(t, p, first.RefreshToken)
		refused(t, p, second.RefreshToken)
		state(t, second.RefreshToken, "unknown")
	})

	t.Run("a cut answer leaves only a used one behind", func(t *testing.T) {
		tokens := p.authorise(t, "adele")
		provider.Break(t, testbed.FaultCut, 1)
		if _, err := p.refresh(t.Context(), tokens.RefreshToken); err == nil {
			t.Fatal("an answer came although the connection was cut")
		}
		state(t, tokens.RefreshToken, "used")
	})

	t.Run("a request that hangs goes on when the fault ends", func(t *testing.T) {
		tokens := p.authorise(t, "adele")
		before := provider.Refreshes(t)
		provider.Break(t, testbed.FaultHang, 1)
		done := make(chan error, 1)
		go func() {
			_, err := p.refresh(context.Background(), tokens.RefreshToken)
			done <- err
		}()
		deadline := time.Now().Add(90 * time.Second)
		for provider.Hanging(t) == 0 {
			if time.Now().After(deadline) {
				t.Fatal("the request does not hang")
			}
		}
		state(t, tokens.RefreshToken, "current")
		provider.Break(t, testbed.FaultNone, 0)
		if err := <-done; err != nil {
			t.Fatalf("the request did not go on: %v", err)
		}
		if after := provider.Refreshes(t); after != before+1 {
			t.Fatalf("%d refreshes counted, want %d", after, before+1)
		}
	})

	t.Run("unavailable changes nothing", func(t *testing.T) {
		tokens := p.authorise(t, "adele")
		provider.Break(t, testbed.FaultUnavailable, 1)
		var failed *oauth2.RetrieveError
		if _, err := p.refresh(t.Context(), tokens.RefreshToken); !errors.As(err, &failed) || failed.Response.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("got %v, want 503", err)
		}
		provider.Break(t, testbed.FaultNone, 0)
		if _, err := p.refresh(t.Context(), tokens.RefreshToken); err != nil {
			t.Fatalf("afterwards: %v", err)
		}
	})

	t.Run("an administrator ends a person's grants", func(t *testing.T) {
		tokens := p.authorise(t, "desk")
		if ended := provider.RevokeGrants(t, "desk"); ended == 0 {
			t.Fatal("no grant was there to end")
		}
		refused(t, p, tokens.RefreshToken)
	})
}

// refused expects invalid_grant.
func refused(t *testing.T, p program, refreshToken string) {
	t.Helper()
	var failed *oauth2.RetrieveError
	if _, err := p.refresh(t.Context(), refreshToken); !errors.As(err, &failed) || failed.ErrorCode != "invalid_grant" {
		t.Fatalf("refresh: %v, want invalid_grant", err)
	}
}

func TestOIDCProvider_SpeaksTLS(t *testing.T) {
	options := registered()
	options.CA = testbed.NewCA(t)
	provider := testbed.StartOIDCProvider(t, options)
	tokens := newProgram(t, provider).authorise(t, "desk")
	if tokens.RefreshToken == "" {
		t.Fatal("no refresh token over https")
	}
}
