package connect_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// kept keeps the stored secrets of a change.
func kept(s *connect.ProviderSettings) { s.Secrets = nil }

func TestProviders_SecretIsBoundToWhereItGoes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*connect.ProviderSettings)
		asked  bool
	}{
		{"nothing", func(*connect.ProviderSettings) {}, false},
		{"prompt", func(s *connect.ProviderSettings) { s.Record.Prompt = provider.PromptOmit }, false},
		{"tenant", func(s *connect.ProviderSettings) { s.Record.Tenant = "other.example" }, true},
		{"issuer", func(s *connect.ProviderSettings) { s.Record.Issuer = "https://other.example" }, true},
		{"cloud", func(s *connect.ProviderSettings) { s.Record.Cloud = "other" }, true},
		{"client ID", func(s *connect.ProviderSettings) { s.Record.ClientID = "client-2" }, true},
		{"origin of the token endpoint", func(s *connect.ProviderSettings) { s.Record.Endpoints["token"] = "https://evil.example/token" }, true},
		{"port of the token endpoint", func(s *connect.ProviderSettings) { s.Record.Endpoints["token"] = "https://idp.example:8443/token" }, true},
		{"scheme of the token endpoint", func(s *connect.ProviderSettings) { s.Record.Endpoints["token"] = "http://idp.example/token" }, true},
		{"path of the token endpoint", func(s *connect.ProviderSettings) { s.Record.Endpoints["token"] = "https://IDP.example:443/v2/token" }, false},
		{"override removed", func(s *connect.ProviderSettings) { delete(s.Record.Endpoints, "token") }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			if _, err := b.authorise(person(desk, own(desk)), connect.LinkOptions{}); err != nil {
				t.Fatal(err)
			}
			s := contoso()
			kept(&s)
			tt.change(&s)
			_, _, err := b.Providers.Save(b.ctx, s, operator)
			if tt.asked {
				wantFault(t, err, "provider.secret_needed")
				s.Secrets = contoso().Secrets
				if _, _, err := b.Providers.Save(b.ctx, s, operator); err != nil {
					t.Fatal(err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			_, reg, err := b.Providers.Registration(b.ctx, "contoso")
			if err != nil || len(reg.ClientSecrets) != 1 || reg.ClientSecrets[0].Reveal() != "client-secret" {
				t.Errorf("the registration does not open: %v", err)
			}
			g, _, _ := b.grant()
			if suspended := g.State == mailbox.GrantSuspended; suspended != tt.asked {
				t.Errorf("the grant is %s", g.State)
			}
			if kinds := b.kinds(); tt.asked != (kinds[len(kinds)-1] == event.GrantSuspended) {
				t.Errorf("the mailbox's timeline ends with %s", kinds[len(kinds)-1])
			}
			if told := b.changed[len(b.changed)-1] == b.box.ID; tt.asked && (!told || len(b.changed) < 2) {
				t.Error("nobody was told that the mailbox's grant was suspended")
			}
		})
	}
}

func TestProviders_SecretOfAnotherRecordDoesNotOpen(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r, secrets, err := b.store.Provider(b.ctx, "contoso")
	if err != nil {
		t.Fatal(err)
	}
	r.Endpoints["token"], r.Version = "https://evil.example/token", r.Version+1 // written behind the capability's back
	e := event.New(b.now, event.ProviderUpdated, operator, "A test changes the row.")
	if err := b.store.SaveProvider(b.ctx, connect.SaveProvider{Record: r, Secrets: secrets, IfVersion: r.Version - 1, Event: e}); err != nil {
		t.Fatal(err)
	}
	if _, reg, err := b.Providers.Registration(b.ctx, "contoso"); !fault.Has(err, "seal.cannot_open") || len(reg.ClientSecrets) > 0 {
		t.Errorf("the secret opens for another server: %v", err)
	}
}

func TestProviders_SaveIsIdempotentAndSaysWhatItDid(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r, change, err := b.Providers.Save(b.ctx, contoso(), operator)
	if err != nil || change != connect.Unchanged || r.Version != 1 {
		t.Errorf("the same again: %s, version %d, %v", change, r.Version, err)
	}
	rotated := contoso()
	rotated.Secrets = append([]connect.SecretInput{{Value: seal.NewSecret("newer"), ExpiresAt: start.Add(time.Hour)}}, rotated.Secrets...)
	r, change, err = b.Providers.Save(b.ctx, rotated, operator)
	if err != nil || change != connect.Updated || len(r.Secrets) != 2 {
		t.Fatalf("a second secret: %s, %+v, %v", change, r.Secrets, err)
	}
	_, reg, err := b.Providers.Registration(b.ctx, "contoso")
	if err != nil || len(reg.ClientSecrets) != 2 || reg.ClientSecrets[0].Reveal() != "newer" || reg.RedirectURI != "https://mailgrant.example/oauth/callback" {
		t.Errorf("registration: %d secrets, %s, %v", len(reg.ClientSecrets), reg.RedirectURI, err)
	}
	only := contoso()
	only.When = connect.OnlyCreate
	_, _, err = b.Providers.Save(b.ctx, only, operator)
	wantFault(t, err, "provider.exists")
	if err := b.Providers.Delete(b.ctx, "contoso", operator); !fault.Has(err, "provider.in_use") {
		t.Errorf("a provider in use was deleted: %v", err)
	}
}

func TestKeysRotated_EverySecretOpensUnderTheNewKey(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if _, err := b.authorise(person(desk, own(desk)), connect.LinkOptions{}); err != nil {
		t.Fatal(err)
	}
	secret, _ := b.link(connect.LinkOptions{})
	cb := b.start(secret)
	if err := b.keys.Rotate(); err != nil {
		t.Fatal(err)
	}
	// Client secret, refresh token, access token, code verifier and nonce.
	if n, err := b.store.ResealAll(b.ctx, b.keys); err != nil || n != 5 {
		t.Fatalf("%d values were sealed anew: %v", n, err)
	}
	_, secrets, err := b.store.Provider(b.ctx, "contoso")
	if err != nil || secrets[0].Sealed.KeyID() != b.keys.PrimaryKeyID() {
		t.Errorf("the client secret is still under the old key: %v", err)
	}
	if _, refreshToken, _ := b.grant(); refreshToken != "refresh-1" {
		t.Error("the refresh token is lost")
	}
	if _, err := b.Links.Finish(b.ctx, cb); err != nil {
		t.Errorf("an attempt under way does not survive the rotation: %v", err)
	}
}

func TestProviders_Refusals(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	tests := []struct {
		name   string
		change func(*connect.ProviderSettings)
		id     string
		field  string
		says   string
	}{
		{"name", func(s *connect.ProviderSettings) { s.Record.Name = "Contoso Ltd" }, "provider.name", "name", "small letters"},
		{"kind", func(s *connect.ProviderSettings) { s.Record.Kind = "yahoo" }, "provider.unknown_kind", "kind", "double"},
		{"prompt", func(s *connect.ProviderSettings) { s.Record.Prompt = "consent" }, "provider.prompt", "authorize.prompt", "login, select_account or omit"},
		{"cloud", func(s *connect.ProviderSettings) { s.Record.Cloud = "mars" }, "provider.cloud", "cloud", "global or other"},
		{"endpoint", func(s *connect.ProviderSettings) { s.Record.Endpoints["pigeon"] = "x" }, "provider.endpoint", "endpoints.pigeon", "token or imap"},
		{"kind's own", func(s *connect.ProviderSettings) { s.Record.ClientID = "" }, "provider.client_id", "client_id", ""},
		{"redirect elsewhere", func(s *connect.ProviderSettings) { s.Record.RedirectURI = "https://old.example/oauth_redirect.do" }, "provider.redirect_uri", "redirect_uri", "public_url"},
		{"redirect to nowhere", func(s *connect.ProviderSettings) { s.Record.RedirectURI = "https://mailgrant.example/x" }, "provider.redirect_uri", "redirect_uri", "/oauth_redirect.do"},
		{"redirect relative", func(s *connect.ProviderSettings) { s.Record.RedirectURI = "/oauth/callback" }, "provider.redirect_uri", "redirect_uri", "https://mailgrant.example/oauth/callback"},
		{"no certificate", func(s *connect.ProviderSettings) { s.Record.CAPEM = "nonsense" }, "tls.ca", "ca_file", "BEGIN CERTIFICATE"},
		{"a private key", func(s *connect.ProviderSettings) {
			s.Record.CAPEM = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
		}, "tls.ca", "ca_file", "never a private key"},
		{"empty secret", func(s *connect.ProviderSettings) { s.Secrets = []connect.SecretInput{{}} }, "provider.secret_needed", "client_secrets[0]", ""},
		{"secret that has ended", func(s *connect.ProviderSettings) {
			s.Secrets = []connect.SecretInput{{Value: seal.NewSecret("another"), ExpiresAt: start.Add(-time.Hour)}}
		}, "provider.secret_ended", "client_secrets[0].expires_at", "Make a new client secret"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := contoso()
			tt.change(&s)
			_, _, err := b.Providers.Save(b.ctx, s, operator)
			if !fault.Has(err, tt.id) {
				t.Fatalf("got %v", err)
			}
			if f := fault.Of(err); f.Field != tt.field || !strings.Contains(f.Text+f.Remedy, tt.says) {
				t.Errorf("%s: %s %s", f.Field, f.Text, f.Remedy)
			}
		})
	}
	ok := contoso()
	ok.Record.RedirectURI = "https://mailgrant.example/oauth_redirect.do"
	if _, _, err := b.Providers.Save(b.ctx, ok, operator); err != nil {
		t.Errorf("the reference system's path is refused: %v", err)
	}
	if got, err := b.Providers.List(b.ctx); err != nil || !slices.ContainsFunc(got, func(r provider.Record) bool { return r.Name == "contoso" }) {
		t.Errorf("list %v, %v", got, err)
	}
}
