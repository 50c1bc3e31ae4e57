package generic_test

import (
	"net/url"
	"testing"

	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/provider/generic"
	"github.com/mailgrant/mailgrant/internal/provider/providertest"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/testbed"
)

const redirectURI = "http://localhost:8025/oauth/callback"

// TestKind_IsAProvider runs the suite against an authorization server that
// nobody here wrote: npm oidc-provider, with claims in UserInfo and strict
// rotation of refresh tokens.
func TestKind_IsAProvider(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"client_secret_basic", "client_secret_post"} {
		t.Run("registered for "+way, func(t *testing.T) {
			t.Parallel()
			p := testbed.StartOIDCProvider(t, testbed.OIDCOptions{
				Clients: []testbed.OIDCClient{{ID: "mailgrant", Secret: "a-client-secret-of-a-test", RedirectURIs: []string{redirectURI}, AuthMethod: way}},
				Users: []testbed.OIDCUser{
					{Login: "desk", Password: "desk-password", Email: "desk@example.test", EmailVerified: true},
					{Login: "adele", Password: "adele-password", Email: "adele@example.test", EmailVerified: true},
				},
			})
			providertest.Run(t, func(t *testing.T) *providertest.Bench { return bench(t, p) })
		})
	}
}

func bench(_ *testing.T, p *testbed.OIDCProvider) *providertest.Bench {
	return &providertest.Bench{
		Kind: generic.New(generic.Options{}),
		Registration: provider.Registration{
			Record:        provider.Record{Name: "house", Kind: generic.Name, Issuer: p.Issuer, ClientID: "mailgrant"},
			ClientSecrets: []seal.Secret{seal.NewSecret("a-client-secret-of-a-test")}, RedirectURI: redirectURI,
		},
		Uses:     []provider.Use{provider.UseIMAP, provider.UseSMTP, provider.UseIdentity},
		Owner:    providertest.Person{Address: "desk@example.test", Login: "desk", Password: "desk-password"},
		Stranger: providertest.Person{Address: "adele@example.test", Login: "adele", Password: "adele-password"},
		SignIn: func(t *testing.T, address string, who providertest.Person) url.Values {
			t.Helper()
			back, err := p.SignIn(t.Context(), p.Browser(t), address, who.Login, who.Password)
			if err != nil {
				t.Fatal(err)
			}
			return back.Query()
		},
		Revoke: func(t *testing.T, who providertest.Person) {
			t.Helper()
			if p.RevokeGrants(t, who.Login) == 0 {
				t.Fatal("there was no grant to revoke")
			}
		},
		LoseAnswer:  func(t *testing.T) { p.Break(t, testbed.FaultCut, 1) },
		Unavailable: func(t *testing.T) { p.Break(t, testbed.FaultUnavailable, 1) },
		Unreachable: func(reg provider.Registration) provider.Registration {
			reg.Issuer = "http://127.0.0.1:1"
			return reg
		},
		Misnamed: func(reg provider.Registration) (provider.Registration, string) {
			reg.Issuer += "/" // one slash too many is another issuer
			return reg, "issuer"
		},
	}
}
