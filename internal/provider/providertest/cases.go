package providertest

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
)

func describes(t *testing.T, b *Bench) {
	traits := b.Kind.Traits()
	if traits.Kind != b.Registration.Kind || traits.Title == "" || len(traits.Prompts) == 0 {
		t.Errorf("%+v", traits)
	}
	if err := b.Kind.Check(b.Registration.Record); err != nil {
		t.Errorf("a good record is refused: %v", err)
	}
	for field, spoil := range map[string]func(*provider.Record){
		"client_id":          func(r *provider.Record) { r.ClientID = "" },
		"authorize.prompt":   func(r *provider.Record) { r.Prompt = "whatever" },
		"endpoints.no_such":  func(r *provider.Record) { r.Endpoints = map[string]string{"no_such": "https://x.example"} },
		"redirect_uri":       func(r *provider.Record) { r.RedirectURI = "ftp://x.example/" },
		"profiles[0].scopes": func(r *provider.Record) { r.Profiles = []provider.Profile{{Name: "p"}} },
		"profiles[0].grant_type": func(r *provider.Record) {
			r.Profiles = []provider.Profile{{Name: "p", GrantType: "password", Scopes: b.resource(t).Scopes}}
		},
	} {
		r := b.Registration.Record
		spoil(&r)
		if f := wants(t, b.Kind.Check(r), fault.Invalid, ""); f.Field != field {
			t.Errorf("%s is blamed, want %s", f.Field, field)
		}
	}
	if _, err := b.Kind.Resources(b.Registration.Record, []provider.Use{"fax"}, ""); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an unknown use: %v", err)
	}
	if _, err := b.Kind.Resources(b.Registration.Record, b.Uses, "no such profile"); fault.KindOf(err) != fault.Invalid {
		t.Errorf("an unknown profile: %v", err)
	}
}

func verifies(t *testing.T, b *Bench) {
	if err := b.Kind.Verify(t.Context(), b.Registration); err != nil {
		t.Errorf("a registration that works is refused: %v", err)
	}
	wrong := b.Registration
	wrong.ClientSecrets = []seal.Secret{seal.NewSecret("marker-wrong-secret")}
	if f := wants(t, b.Kind.Verify(t.Context(), wrong), fault.Refused, "oauth.invalid_client", wrong.ClientSecrets...); f.Field != "client_secrets" {
		t.Errorf("%s is blamed for a wrong client secret", f.Field)
	}
	if f := wants(t, b.Kind.Verify(t.Context(), b.Unreachable(b.Registration)), fault.Temporary, "net.refused"); f.Field == "" {
		t.Error("no setting is named for an unreachable server")
	}
	misnamed, field := b.Misnamed(b.Registration)
	if f := wants(t, b.Kind.Verify(t.Context(), misnamed), fault.Refused, ""); f.Field != field {
		t.Errorf("%s is blamed, want %s", f.Field, field)
	}
}

func asks(t *testing.T, b *Bench) {
	a := b.begin(t, b.Owner.Address)
	u, err := url.Parse(a.url)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": b.Registration.ClientID, "redirect_uri": b.Registration.RedirectURI, "state": a.state,
		"nonce": a.nonce, "code_challenge": oauth.CodeChallenge(a.verifier), "code_challenge_method": "S256", "login_hint": b.Owner.Address,
	} {
		if q.Get(name) != want || len(q[name]) != 1 {
			t.Errorf("%s = %q, want %q", name, q[name], want)
		}
	}
	if !strings.HasPrefix(q.Get("prompt"), "login") {
		t.Errorf("prompt = %q: the default must ask the person to sign in", q.Get("prompt"))
	}
	if !slices.Contains(strings.Fields(q.Get("scope")), "openid") {
		t.Errorf("scope = %q: without openid nobody says who signed in", q.Get("scope"))
	}
	hidden(t, a.url, append(b.Registration.ClientSecrets, a.verifier)...)
	reg := b.Registration
	reg.Prompt = provider.PromptOmit
	raw, err := b.Kind.AuthorizationURL(t.Context(), reg, provider.AuthorizationRequest{State: "s", Nonce: "n", CodeChallenge: "c", LoginHint: b.Owner.Address, Uses: b.Uses, Profile: b.Profile})
	if u, _ := url.Parse(raw); err != nil || u.Query().Has("prompt") || u.Query().Has("login_hint") {
		t.Errorf("omit: %s, %v", raw, err)
	}
	if raw, err := b.Kind.AuthorizationURL(t.Context(), b.Registration, provider.AuthorizationRequest{Nonce: "n", CodeChallenge: "c", Uses: b.Uses, Profile: b.Profile}); err == nil {
		t.Errorf("a request without state was built: %s", raw)
	}
}

func bringsIn(t *testing.T, b *Bench) {
	first := b.SignedIn(t, b.Owner)
	if first.AccessToken.IsZero() || first.RefreshToken.IsZero() || first.Resource != b.resource(t).Name || len(first.Scopes) == 0 || !first.ExpiresAt.After(time.Now()) {
		t.Fatalf("tokens %+v", first)
	}
	who, more, err := b.Kind.Identify(t.Context(), b.Registration, b.Owner.Address, first)
	if err != nil {
		t.Fatal(err)
	}
	if !proved(who, b.Owner.Address) || who.Display == "" || who.Unproven != "" || who.Key() != first.Subject.Key() {
		t.Errorf("the owner is not proved: %+v", who)
	}
	if !more.RefreshToken.IsZero() {
		first.RefreshToken = more.RefreshToken
	}
	again := b.SignedIn(t, b.Owner)
	if again.Subject.Key() != first.Subject.Key() || strings.Trim(first.Subject.Key(), "/#") == "" {
		t.Errorf("the owner is %q, then %q", first.Subject.Key(), again.Subject.Key())
	}
	other := b.SignedIn(t, b.Stranger)
	if other.Subject.Key() == first.Subject.Key() {
		t.Error("two people have one key")
	}
	who, _, err = b.Kind.Identify(t.Context(), b.Registration, b.Owner.Address, other)
	if err != nil {
		t.Fatal(err)
	}
	if proved(who, b.Owner.Address) || !proved(who, b.Stranger.Address) {
		t.Errorf("the stranger's addresses: %+v", who.Addresses)
	}
}

func refusesForeign(t *testing.T, b *Bench) {
	for name, spoil := range map[string]func(*provider.Redemption){
		"another request's nonce":    func(r *provider.Redemption) { r.Nonce = oauth.NewNonce() },
		"another browser's verifier": func(r *provider.Redemption) { r.CodeVerifier = oauth.NewCodeVerifier() },
		"a code nobody issued":       func(r *provider.Redemption) { r.Code = seal.NewSecret("marker-forged-code") },
		"another server's answer":    func(r *provider.Redemption) { r.Issuer = "https://evil.example" },
	} {
		t.Run(name, func(t *testing.T) {
			a := b.begin(t, b.Owner.Address)
			r := b.redemption(a, b.SignIn(t, a.url, b.Owner))
			spoil(&r)
			tokens, err := b.Kind.Redeem(t.Context(), b.Registration, r)
			wants(t, err, fault.Refused, "", append(b.Registration.ClientSecrets, r.Code, r.CodeVerifier)...)
			if !tokens.AccessToken.IsZero() || !tokens.RefreshToken.IsZero() {
				t.Error("tokens came beside the refusal")
			}
		})
	}
	t.Run("a code for the second time", func(t *testing.T) {
		a := b.begin(t, b.Owner.Address)
		r := b.redemption(a, b.SignIn(t, a.url, b.Owner))
		if _, err := b.Kind.Redeem(t.Context(), b.Registration, r); err != nil {
			t.Fatal(err)
		}
		_, err := b.Kind.Redeem(t.Context(), b.Registration, r)
		wants(t, err, fault.Refused, "", r.Code)
	})
}

func refreshes(t *testing.T, b *Bench) {
	tokens := b.SignedIn(t, b.Owner)
	resource := b.resource(t)
	current := tokens.RefreshToken
	for range 3 {
		next, err := b.Kind.Refresh(t.Context(), b.Registration, current, resource)
		if err != nil {
			t.Fatal(err)
		}
		if next.AccessToken.IsZero() || next.AccessToken.Equal(tokens.AccessToken) || next.Resource != resource.Name || !next.ExpiresAt.After(time.Now()) {
			t.Fatalf("%+v", next)
		}
		if !next.RefreshToken.IsZero() {
			current = next.RefreshToken
		}
	}
}

func diesLoudly(t *testing.T, b *Bench) {
	tokens := b.SignedIn(t, b.Owner)
	b.Revoke(t, b.Owner)
	_, err := b.Kind.Refresh(t.Context(), b.Registration, tokens.RefreshToken, b.resource(t))
	f := wants(t, err, fault.Dead, "oauth.invalid_grant", append(b.Registration.ClientSecrets, tokens.RefreshToken)...)
	if !slices.Contains(f.Who, fault.MailboxOwner) {
		t.Errorf("%v must act, not the owner", f.Who)
	}
}

func survivesSecret(t *testing.T, b *Bench) {
	tokens := b.SignedIn(t, b.Owner)
	wrong := b.Registration
	wrong.ClientSecrets = []seal.Secret{seal.NewSecret("marker-wrong-secret")}
	_, err := b.Kind.Refresh(t.Context(), wrong, tokens.RefreshToken, b.resource(t))
	if f := wants(t, err, fault.Refused, "oauth.invalid_client", wrong.ClientSecrets[0], tokens.RefreshToken); f.Field != "client_secrets" || !slices.Contains(f.Who, fault.AppOwner) {
		t.Errorf("%+v", f)
	}
	if _, err := b.Kind.Refresh(t.Context(), b.Registration, tokens.RefreshToken, b.resource(t)); err != nil {
		t.Errorf("the grant did not survive a wrong client secret: %v", err)
	}
}

func rotatesSecret(t *testing.T, b *Bench) {
	tokens := b.SignedIn(t, b.Owner)
	reg := b.Registration
	reg.ClientSecrets = append([]seal.Secret{seal.NewSecret("marker-ended-secret")}, reg.ClientSecrets...)
	if _, err := b.Kind.Refresh(t.Context(), reg, tokens.RefreshToken, b.resource(t)); err != nil {
		t.Errorf("the second client secret was not used: %v", err)
	}
}

func tellsApart(t *testing.T, b *Bench) {
	tokens := b.SignedIn(t, b.Owner)
	secrets := append(slices.Clone(b.Registration.ClientSecrets), tokens.RefreshToken)
	_, err := b.Kind.Refresh(t.Context(), b.Unreachable(b.Registration), tokens.RefreshToken, b.resource(t))
	wants(t, err, fault.Temporary, "net.refused", secrets...)

	b.Unavailable(t)
	_, err = b.Kind.Refresh(t.Context(), b.Registration, tokens.RefreshToken, b.resource(t))
	wants(t, err, fault.Temporary, "", secrets...)

	next, err := b.Kind.Refresh(t.Context(), b.Registration, tokens.RefreshToken, b.resource(t))
	if err != nil {
		t.Fatalf("the grant did not survive a busy server: %v", err)
	}
	if next.RefreshToken.IsZero() {
		next.RefreshToken = tokens.RefreshToken
	}
	b.LoseAnswer(t)
	_, err = b.Kind.Refresh(t.Context(), b.Registration, next.RefreshToken, b.resource(t))
	wants(t, err, fault.Temporary, "oauth.no_answer", append(secrets, next.RefreshToken)...)
}

func givesUp(t *testing.T, b *Bench) {
	tokens := b.SignedIn(t, b.Owner)
	_, err := b.Kind.Refresh(cancelled(t), b.Registration, tokens.RefreshToken, b.resource(t))
	wants(t, err, fault.Temporary, "net.cancelled", tokens.RefreshToken)
	if _, err := b.Kind.Refresh(t.Context(), b.Registration, tokens.RefreshToken, b.resource(t)); err != nil {
		t.Errorf("a call that was never made cost the grant: %v", err)
	}
}
