// Package providertest is what it means to be a provider.Kind: a suite that
// every kind has to pass against a server that behaves like the real one.
//
// The test of a kind sets up a Bench (a running server, a registration that
// works, two people, and the ways to make the server misbehave) and calls Run.
package providertest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// Person is somebody who can sign in at the bench's server.
type Person struct {
	Address  string // proved by signing in
	Login    string
	Password string
}

// Bench is a kind with a server to try it on. Each subtest gets its own.
type Bench struct {
	Kind         provider.Kind
	Registration provider.Registration // works, with at least one client secret
	Uses         []provider.Use
	Profile      string
	Owner        Person // owns the mailbox of their address
	Stranger     Person // somebody else of the same organisation

	// SignIn plays the browser of a person who agrees to everything: it opens
	// the address and gives the parameters that came back to the redirect URI.
	SignIn func(t *testing.T, authorizationURL string, who Person) url.Values
	// Revoke ends every grant of a person at the server.
	Revoke func(t *testing.T, who Person)
	// LoseAnswer makes the server process the next token request and close the
	// connection instead of answering.
	LoseAnswer func(t *testing.T)
	// Unavailable makes the server answer the next token request with 503.
	Unavailable func(t *testing.T)
	// Unreachable points a registration at an address where nothing listens.
	Unreachable func(provider.Registration) provider.Registration
	// Misnamed gives a registration whose server does not know the tenant or
	// issuer that it names, and the field that is at fault.
	Misnamed func(provider.Registration) (reg provider.Registration, field string)
}

// Run runs the suite; start makes a fresh bench.
func Run(t *testing.T, start func(t *testing.T) *Bench) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(t *testing.T, b *Bench)
	}{
		{"describes itself and refuses what it cannot be", describes},
		{"verifies a registration and names what is wrong", verifies},
		{"builds a request that carries its proofs and no secret", asks},
		{"brings a person in and proves their address and nobody else's", bringsIn},
		{"refuses an answer that is not its own", refusesForeign},
		{"refreshes, again and again", refreshes},
		{"says that a revoked grant is dead", diesLoudly},
		{"loses nothing to a wrong client secret", survivesSecret},
		{"takes the next client secret", rotatesSecret},
		{"tells a lost answer, a busy server and no server apart", tellsApart},
		{"gives up when its caller does", givesUp},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, start(t)) })
	}
}

// attempt is one authorization on its way.
type attempt struct {
	state, nonce string
	verifier     seal.Secret
	url          string
}

func (b *Bench) begin(t *testing.T, hint string) attempt {
	t.Helper()
	a := attempt{state: oauth.NewState(), nonce: oauth.NewNonce(), verifier: oauth.NewCodeVerifier()}
	var err error
	a.url, err = b.Kind.AuthorizationURL(t.Context(), b.Registration, provider.AuthorizationRequest{
		State: a.state, Nonce: a.nonce, CodeChallenge: oauth.CodeChallenge(a.verifier), LoginHint: hint, Uses: b.Uses, Profile: b.Profile,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (b *Bench) redemption(a attempt, back url.Values) provider.Redemption {
	return provider.Redemption{
		Code: seal.NewSecret(back.Get("code")), CodeVerifier: a.verifier, Nonce: a.nonce, Issuer: back.Get("iss"), Uses: b.Uses, Profile: b.Profile,
	}
}

// SignedIn takes a person through the whole authorization.
func (b *Bench) SignedIn(t *testing.T, who Person) provider.Tokens {
	t.Helper()
	a := b.begin(t, who.Address)
	back := b.SignIn(t, a.url, who)
	if back.Get("state") != a.state || back.Get("code") == "" {
		t.Fatalf("the browser came back with %v", keys(back))
	}
	tokens, err := b.Kind.Redeem(t.Context(), b.Registration, b.redemption(a, back))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func keys(q url.Values) (names []string) {
	for k := range q {
		names = append(names, k)
	}
	return names
}

func (b *Bench) resource(t *testing.T) provider.Resource {
	t.Helper()
	all, err := b.Kind.Resources(b.Registration.Record, b.Uses, b.Profile)
	if err != nil || len(all) == 0 || len(all[0].Scopes) == 0 {
		t.Fatalf("Resources = %+v, %v", all, err)
	}
	return all[0]
}

// wants checks the form of a fault, and that no secret is in it.
func wants(t *testing.T, err error, kind fault.Kind, id string, secrets ...seal.Secret) *fault.Error {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("want the fault %s, got %v", id, err)
	}
	if f.Kind != kind || id != "" && f.ID != id {
		t.Fatalf("want %s (%s), got %s (%s): %v", id, kind, f.ID, f.Kind, err)
	}
	if f.Text == "" || f.Remedy == "" || len(f.Who) == 0 {
		t.Errorf("a fault without words: %+v", f)
	}
	if f.Retry != (kind == fault.Temporary) {
		t.Errorf("%s: Retry = %v", f.ID, f.Retry)
	}
	hidden(t, fmt.Sprintf("%v %+v %+v", err, f, f.Detail), secrets...)
	return f
}

func hidden(t *testing.T, text string, secrets ...seal.Secret) {
	t.Helper()
	for _, s := range secrets {
		if v := s.Reveal(); v != "" && (strings.Contains(text, v) || strings.Contains(text, url.QueryEscape(v))) {
			t.Errorf("a secret shows in: %s", strings.ReplaceAll(text, v, "[HERE]"))
		}
	}
}

func proved(who provider.Identity, address string) bool {
	for _, a := range who.Addresses {
		if message.SameAddress(a.Address, address) {
			return who.Foreign == ""
		}
	}
	return false
}

// cancelled is a context that has ended before it began.
func cancelled(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
