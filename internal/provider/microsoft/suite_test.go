package microsoft_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/provider/microsoft"
	"github.com/mailgrant/mailgrant/internal/provider/providertest"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/sandbox"
	"github.com/mailgrant/mailgrant/sandbox/browser"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// tenant is a running sandbox with a place for the browser to come back to.
type tenant struct {
	*sandbox.Sandbox
	callback string
}

func startTenant(t *testing.T) tenant {
	t.Helper()
	back := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("came back"))
	}))
	t.Cleanup(back.Close)
	callback := strings.Replace(back.URL, "127.0.0.1", "localhost", 1) + "/oauth/callback"
	ctx, cancel := context.WithCancel(context.Background())
	box, err := sandbox.Start(ctx, sandbox.Options{RedirectURIs: []string{callback}})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
		cancel()
	})
	box.World().SetStrictRotation(true)
	return tenant{box, callback}
}

func (b tenant) registration() provider.Registration {
	about := b.Describe()
	return provider.Registration{
		Record: provider.Record{
			Name: "contoso", Kind: microsoft.Name, Tenant: directory.StoryDomain, ClientID: directory.StoryClientID,
			Endpoints: map[string]string{"authority": about.BaseURL, "graph": about.GraphURL},
		},
		ClientSecrets: []seal.Secret{seal.NewSecret(directory.StoryClientSecret)}, RedirectURI: b.callback,
	}
}

// signIn plays a person in a fresh browser; it gives what came back.
func signIn(t *testing.T, address string, who providertest.Person) url.Values {
	t.Helper()
	b := browser.New(browser.Options{})
	if err := b.Open(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		var err error
		switch b.Shows() {
		case "signin":
			err = b.SignIn(t.Context(), who.Login, who.Password)
		case "consent":
			err = b.Consent(t.Context(), true)
		default:
			at, parseErr := url.Parse(b.Page().URL)
			if parseErr != nil || !strings.HasSuffix(at.Path, "/oauth/callback") {
				t.Fatalf("the browser is lost at %s: %s", at.Path, b.Page().Text)
			}
			return at.Query()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("the browser does not get on: %s", b.Page().Text)
	return nil
}

func TestKind_IsAProvider(t *testing.T) {
	t.Parallel()
	providertest.Run(t, func(t *testing.T) *providertest.Bench {
		t.Helper()
		box := startTenant(t)
		order := func(t *testing.T, f directory.Fault) {
			t.Helper()
			f.Point, f.Times = directory.PointToken, 1
			if err := box.InjectFault(f); err != nil {
				t.Fatal(err)
			}
		}
		return &providertest.Bench{
			Kind: microsoft.New(microsoft.Options{Now: box.World().Now}), Registration: box.registration(),
			Uses:     []provider.Use{provider.UseIMAP, provider.UseSMTP, provider.UseIdentity},
			Owner:    providertest.Person{Address: directory.StoryDesk, Login: directory.StoryDesk, Password: directory.StoryDeskPassword},
			Stranger: providertest.Person{Address: directory.StoryMegan, Login: directory.StoryMegan, Password: directory.StoryMeganPassword},
			SignIn:   signIn,
			Revoke: func(t *testing.T, who providertest.Person) {
				t.Helper()
				if err := box.World().RevokeSessions(who.Login); err != nil {
					t.Fatal(err)
				}
			},
			LoseAnswer:  func(t *testing.T) { order(t, directory.Fault{Action: directory.ActionCutAfter}) },
			Unavailable: func(t *testing.T) { order(t, directory.Fault{Action: directory.ActionStatus, Status: 503}) },
			Unreachable: func(reg provider.Registration) provider.Registration {
				reg.Endpoints = map[string]string{"authority": "http://127.0.0.1:1"}
				return reg
			},
			Misnamed: func(reg provider.Registration) (provider.Registration, string) {
				reg.Tenant = "mistyped.onmicrosoft.com"
				return reg, "tenant"
			},
		}
	})
}

func TestIdentify_AgainstTheSandbox(t *testing.T) {
	t.Parallel()
	box := startTenant(t)
	k := microsoft.New(microsoft.Options{Now: box.World().Now})
	come := func(t *testing.T, reg provider.Registration, who providertest.Person) provider.Tokens {
		t.Helper()
		bench := &providertest.Bench{
			Kind: k, Registration: reg, SignIn: signIn, Uses: []provider.Use{provider.UseIMAP, provider.UseIdentity},
		}
		return bench.SignedIn(t, who)
	}
	desk := providertest.Person{Address: directory.StoryDesk, Login: directory.StoryDesk, Password: directory.StoryDeskPassword}
	t.Run("an alias is proved by Graph with a second access token", func(t *testing.T) {
		tokens := come(t, box.registration(), desk)
		who, second, err := k.Identify(t.Context(), box.registration(), directory.StoryDeskAlias, tokens)
		if err != nil || len(who.Addresses) < 2 || second.Resource != provider.ResourceGraph || second.RefreshToken.IsZero() {
			t.Fatalf("%+v, %+v, %v", who, second, err)
		}
		found := false
		for _, a := range who.Addresses {
			found = found || strings.EqualFold(a.Address, directory.StoryDeskAlias) && a.Alias
		}
		if !found {
			t.Fatalf("%+v", who.Addresses)
		}
		// Strict rotation: only the newest refresh token is good.
		if _, err := k.Refresh(t.Context(), box.registration(), second.RefreshToken, provider.Resource{Name: "mail", Scopes: []string{"https://outlook.office.com/IMAP.AccessAsUser.All"}}); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a foreign tenant with the same unverified email is foreign", func(t *testing.T) {
		reg := box.registration()
		reg.Tenant, reg.ClientID = "common", directory.StoryMultiClientID
		reg.ClientSecrets = []seal.Secret{seal.NewSecret(directory.StoryMultiSecret)}
		tokens := come(t, reg, providertest.Person{Address: directory.StoryForeigner, Login: directory.StoryForeigner, Password: directory.StoryForeignerPass})
		who, second, err := k.Identify(t.Context(), reg, directory.StoryDesk, tokens)
		if err != nil || who.Foreign == "" || len(who.Addresses) != 0 || !second.AccessToken.IsZero() {
			t.Fatalf("%+v, %v", who, err)
		}
		if tokens := come(t, reg, desk); tokens.Subject.TenantID != directory.StoryTenantID {
			t.Fatalf("%+v", tokens.Subject)
		}
	})
}
