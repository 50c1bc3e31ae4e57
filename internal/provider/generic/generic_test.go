package generic_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/oauth/oauthtest"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/provider/generic"
	"github.com/mailgrant/mailgrant/internal/seal"
)

var _ interface {
	provider.Kind
	provider.SignOut
} = (*generic.Kind)(nil)

const marker = "marker-77aa"

// house is a scripted issuer and a registration at it.
type house struct {
	*oauthtest.Issuer
	kind   *generic.Kind
	reg    provider.Registration
	claims map[string]any // laid over those of a good ID token
	answer map[string]any // laid over a good token response; nil values remove
}

func startHouse(t *testing.T) *house {
	t.Helper()
	h := &house{Issuer: oauthtest.Start(t), kind: generic.New(generic.Options{})}
	h.reg = provider.Registration{
		Record:        provider.Record{Name: "house", Kind: generic.Name, Issuer: h.URL, ClientID: "mailgrant"},
		ClientSecrets: []seal.Secret{seal.NewSecret(marker + "-secret")}, RedirectURI: redirectURI,
	}
	h.OnToken(func(url.Values, *http.Request) (int, any) {
		body := map[string]any{
			"access_token": marker + "-access", "token_type": "Bearer", "expires_in": 600, "refresh_token": marker + "-refresh",
			"id_token": h.Sign(t, h.Claims("mailgrant", "n-1", h.claims)).Reveal(),
		}
		maps.Copy(body, h.answer)
		maps.DeleteFunc(body, func(_ string, v any) bool { return v == nil })
		return 200, body
	})
	return h
}

func (h *house) redeem(t *testing.T, profile, iss string) (provider.Tokens, error) {
	t.Helper()
	return h.kind.Redeem(t.Context(), h.reg, provider.Redemption{
		Code: seal.NewSecret(marker + "-code"), CodeVerifier: seal.NewSecret(marker + "-verifier"), Nonce: "n-1", Issuer: iss, Profile: profile,
	})
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	const desk = "desk@example.test"
	verified := map[string]any{"email": desk, "email_verified": true}
	userInfo := func(more map[string]any) map[string]any {
		out := map[string]any{"sub": "subject-1"}
		maps.Copy(out, more)
		return out
	}
	for _, c := range []struct {
		name     string
		claims   map[string]any
		status   int // of UserInfo; 0: it is not called
		userInfo any
		claim    string // that the operator names
		source   string
		unproven bool
		id       string
	}{
		{name: "verified in the ID token: UserInfo is not asked", claims: verified, source: "email_verified"},
		{name: "verified in words, as some servers send it", claims: map[string]any{"email": desk, "email_verified": "true"}, source: "email_verified"},
		{name: "verified in UserInfo", status: 200, userInfo: userInfo(verified), source: "email_verified"},
		{name: "unverified in both", claims: map[string]any{"email": desk}, status: 200, userInfo: userInfo(map[string]any{"email": desk, "email_verified": false}), unproven: true},
		{name: "verified in neither word", claims: map[string]any{"email": desk, "email_verified": 1}, status: 200, userInfo: userInfo(nil), unproven: true},
		{name: "one address unverified here, another verified there", claims: map[string]any{"email": desk}, status: 200, userInfo: userInfo(map[string]any{"email": "other@example.test", "email_verified": true}), source: "-"},
		{name: "verified here, the address there", claims: map[string]any{"email_verified": true}, status: 200, userInfo: userInfo(map[string]any{"email": desk}), unproven: true},
		{name: "preferred_username is no address", claims: map[string]any{"preferred_username": desk}, status: 200, userInfo: userInfo(map[string]any{"preferred_username": desk}), unproven: true},
		{name: "UserInfo about somebody else", status: 200, userInfo: map[string]any{"sub": "subject-2", "email": desk, "email_verified": true}, id: "oauth.bad_id_token"},
		{name: "UserInfo about nobody", status: 200, userInfo: verified, id: "oauth.bad_id_token"},
		{name: "UserInfo refuses", status: 403, userInfo: "no", unproven: true},
		{name: "UserInfo is down", status: 503, userInfo: "no", id: "oauth.temporarily_unavailable"},
		{name: "a claim that the operator names, in the ID token", claims: map[string]any{"mail_login": desk}, claim: "mail_login", source: "claim:mail_login"},
		{name: "a claim that the operator names, in UserInfo", claims: map[string]any{"email": "d@example.test", "email_verified": true}, claim: "mail_login", status: 200, userInfo: userInfo(map[string]any{"mail_login": desk}), source: "claim:mail_login"},
		{name: "a named claim that is no address", claims: map[string]any{"mail_login": "desk"}, claim: "mail_login", status: 200, userInfo: userInfo(nil), unproven: true},
		{name: "a list where an address is due", claims: map[string]any{"email": []string{desk}, "email_verified": true}, status: 200, userInfo: userInfo(nil), unproven: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := startHouse(t)
			h.claims, h.reg.IdentityClaim = c.claims, c.claim
			if c.status != 0 {
				h.OnUserInfo(func(token string) (int, any) {
					if token != marker+"-access" {
						return 400, "the test's UserInfo was asked wrongly"
					}
					return c.status, c.userInfo
				})
			}
			tokens, err := h.redeem(t, "", "")
			if err != nil {
				t.Fatal(err)
			}
			who, _, err := h.kind.Identify(t.Context(), h.reg, desk, tokens)
			if asked := h.Calls("/userinfo") > 0; asked != (c.status != 0) {
				t.Errorf("UserInfo asked: %v", asked)
			}
			if c.id != "" {
				if !fault.Has(err, c.id) || strings.Contains(fmt.Sprint(err), marker) {
					t.Fatalf("%+v, %v; want %s", who, err, c.id)
				}
				return
			}
			if err != nil || (who.Unproven != "") != c.unproven || who.Foreign != "" || who.Display == "" || who.Key() != h.URL+"#subject-1" {
				t.Fatalf("%+v, %v", who, err)
			}
			i := slices.IndexFunc(who.Addresses, func(a provider.IdentityAddress) bool { return a.Address == desk })
			switch {
			case c.source == "-" || c.unproven:
				if i >= 0 {
					t.Fatalf("proved by %+v", who.Addresses[i])
				}
			case i < 0 || who.Addresses[i].Source != c.source:
				t.Fatalf("%+v, want %s by %s", who.Addresses, desk, c.source)
			}
		})
	}
}

func TestRedeem_ReadsWhatTheServerSays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		prepare func(h *house)
		iss     string
		id      string
	}{
		{name: "a good answer"},
		{name: "all scopes granted", prepare: func(h *house) { h.answer = map[string]any{"scope": "openid mail"} }},
		{name: "a scope taken away", prepare: func(h *house) { h.answer = map[string]any{"scope": "openid email"} }, id: "oauth.scope_missing"},
		{name: "no ID token", prepare: func(h *house) { h.answer = map[string]any{"id_token": nil} }, id: "oauth.bad_id_token"},
		{name: "an ID token of another issuer", prepare: func(h *house) { h.claims = map[string]any{"iss": "https://evil.example"} }, id: "oauth.bad_id_token"},
		{name: "the response of another server", iss: "https://evil.example", id: "oauth.wrong_issuer"},
		{name: "no issuer in the response where one is promised", prepare: func(h *house) {
			h.SetMetadata("authorization_response_iss_parameter_supported", true)
		}, id: "oauth.wrong_issuer"},
		{name: "keys out of reach", prepare: func(h *house) { h.FailKeys(503) }, id: "oauth.keys_unavailable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := startHouse(t)
			h.reg.Profiles = []provider.Profile{{Name: "mail", Scopes: []string{"mail", "offline_access"}}}
			if c.prepare != nil {
				c.prepare(h)
			}
			tokens, err := h.redeem(t, "mail", c.iss)
			if c.id == "" {
				if err != nil || tokens.RefreshToken.IsZero() {
					t.Fatal(err)
				}
				return
			}
			if !fault.Has(err, c.id) || !tokens.AccessToken.IsZero() || !tokens.RefreshToken.IsZero() || strings.Contains(fmt.Sprint(err), marker) {
				t.Fatalf("%+v, %v; want %s", tokens, err, c.id)
			}
			if h.Calls("/token") > 0 == (c.id == "oauth.wrong_issuer") {
				t.Errorf("the code was sent %d times", h.Calls("/token"))
			}
		})
	}
}

func TestAuthorizationURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		prompt, force provider.Prompt
		scopes        []string
		want, hint    string
	}{
		{"login, with consent for the refresh token", "", "", nil, "login consent", "desk@example.test"},
		{"select_account, with consent, without the hint", provider.PromptSelectAccount, "", nil, "select_account consent", ""},
		{"omit sends neither prompt nor hint: single sign-on chooses", provider.PromptOmit, "", nil, "", ""},
		{"a guided retry overrides omit", provider.PromptOmit, provider.PromptLogin, nil, "login consent", "desk@example.test"},
		{"no consent where no offline_access is asked for", "", "", []string{"openid", "mail"}, "login", "desk@example.test"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := startHouse(t)
			h.reg.Prompt = c.prompt
			profile := ""
			if c.scopes != nil {
				h.reg.Profiles, profile = []provider.Profile{{Name: "p", Scopes: c.scopes}}, "p"
			}
			raw, err := h.kind.AuthorizationURL(t.Context(), h.reg, provider.AuthorizationRequest{
				State: "s", Nonce: "n", CodeChallenge: "c", LoginHint: "desk@example.test", Force: c.force, Profile: profile,
			})
			if err != nil {
				t.Fatal(err)
			}
			u, _ := url.Parse(raw)
			if q := u.Query(); q.Get("prompt") != c.want || q.Get("login_hint") != c.hint || u.Path != "/authorize" {
				t.Errorf("%s", raw)
			}
		})
	}
}

func TestVerify_WithoutAClientSecret(t *testing.T) {
	t.Parallel()
	for code, id := range map[string]string{"invalid_grant": "", "invalid_client": "oauth.invalid_client"} {
		h := startHouse(t)
		h.reg.ClientSecrets = nil
		h.OnToken(func(url.Values, *http.Request) (int, any) { return 400, map[string]any{"error": code} })
		err := h.kind.Verify(t.Context(), h.reg)
		if id == "" && err != nil || id != "" && (!fault.Has(err, id) || !strings.Contains(err.Error(), "No client secret is set")) {
			t.Errorf("%s: %v", code, err)
		}
	}
}

func TestRetryPrompt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		supported []string
		own, want provider.Prompt
	}{
		{"nothing said: the one that everybody knows", nil, "", provider.PromptLogin},
		{"a picker is offered", []string{"none", "login", "select_account"}, "", provider.PromptSelectAccount},
		{"no picker is offered", []string{"none", "login", "consent"}, "", provider.PromptLogin},
		{"the operator chose", []string{"select_account"}, provider.PromptLogin, provider.PromptLogin},
		{"the operator chose to omit it", []string{"select_account"}, provider.PromptOmit, provider.PromptOmit},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := startHouse(t)
			h.reg.Prompt = c.own
			if c.supported != nil {
				h.SetMetadata("prompt_values_supported", c.supported)
			}
			if got := h.kind.RetryPrompt(t.Context(), h.reg); got != c.want {
				t.Errorf("prompt %q, want %q", got, c.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	k := generic.New(generic.Options{})
	for name, c := range map[string]struct {
		change func(*provider.Record)
		field  string
	}{
		"a good record": {func(*provider.Record) {}, ""},
		"all endpoints overridden": {func(r *provider.Record) {
			r.Endpoints = map[string]string{"token": "https://as.example/t", "imap": "imap://mail.example:143"}
		}, ""},
		"no issuer":                {func(r *provider.Record) { r.Issuer = "" }, "issuer"},
		"an issuer without TLS":    {func(r *provider.Record) { r.Issuer = "http://as.example" }, "issuer"},
		"an issuer with a query":   {func(r *provider.Record) { r.Issuer = "https://as.example?x" }, "issuer"},
		"a tenant":                 {func(r *provider.Record) { r.Tenant = "x" }, "tenant"},
		"a cloud":                  {func(r *provider.Record) { r.Cloud = "global" }, "cloud"},
		"a client ID of two lines": {func(r *provider.Record) { r.ClientID = "a\nb" }, "client_id"},
		"a token endpoint of http": {func(r *provider.Record) { r.Endpoints = map[string]string{"token": "http://as.example/t"} }, "endpoints.token"},
		"two scopes in one":        {func(r *provider.Record) { r.Profiles = []provider.Profile{{Name: "p", Scopes: []string{"a b"}}} }, "profiles[0].scopes[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := provider.Record{Name: "house", Kind: generic.Name, Issuer: "https://as.example", ClientID: "mailgrant"}
			c.change(&r)
			err := k.Check(r)
			if c.field == "" && err != nil || c.field != "" && (fault.KindOf(err) != fault.Invalid || fault.Of(err).Field != c.field) {
				t.Fatalf("%v, want a refusal of %q", err, c.field)
			}
		})
	}
}

func TestMail_LeavesTheHostToTheRecord(t *testing.T) {
	t.Parallel()
	k := generic.New(generic.Options{})
	r := provider.Record{Endpoints: map[string]string{"smtp": "smtps://mail.example:465"}}
	if at := k.Mail(r, protocol.IMAP); at.Host != "" || at.Port != 993 || at.Setting != "receive" || at.Resource != "mail" || len(at.Mechanisms) != 0 {
		t.Errorf("%+v", at)
	}
	if at := k.Mail(r, protocol.SMTP); at.Host != "mail.example" || at.Port != 465 || at.TLS != protocol.TLSImplicit {
		t.Errorf("%+v", at)
	}
}

func TestOverriddenEndpointsAskNobody(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	h.reg.Endpoints = map[string]string{"authorization": h.URL + "/authorize", "token": h.URL + "/token", "jwks": h.URL + "/keys"}
	h.claims = map[string]any{"email": "desk@example.test", "email_verified": true}
	tokens, err := h.redeem(t, "", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.kind.Identify(t.Context(), h.reg, "desk@example.test", tokens); err != nil {
		t.Fatal(err)
	}
	if h.Calls("/.well-known/openid-configuration") != 0 {
		t.Fatal("the metadata was fetched all the same")
	}
}

func TestSignOutURL(t *testing.T) {
	t.Parallel()
	h := startHouse(t)
	if _, err := h.kind.SignOutURL(t.Context(), h.reg, ""); !fault.Has(err, "provider.no_sign_out") {
		t.Errorf("%v", err)
	}
	h.reg.Endpoints = map[string]string{"end_session": h.URL + "/out?x=1"}
	got, err := h.kind.SignOutURL(t.Context(), h.reg, "https://me.example/")
	if err != nil || !strings.Contains(got, "x=1") || !strings.Contains(got, "client_id=mailgrant") || !strings.Contains(got, "post_logout_redirect_uri=https%3A%2F%2Fme.example%2F") {
		t.Errorf("%s, %v", got, err)
	}
}
