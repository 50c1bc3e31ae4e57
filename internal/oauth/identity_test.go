package oauth_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/oauth/oauthtest"
	"github.com/mailgrant/mailgrant/internal/seal"
)

func directory() *oauth.Directory {
	return oauth.NewDirectory(&http.Client{Timeout: 5 * time.Second}, time.Now)
}

func TestVerifyIDToken(t *testing.T) {
	t.Parallel()
	s := oauthtest.Start(t)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	access := secret("access")
	sum := sha256.Sum256([]byte(access.Reveal()))
	atHash := base64.RawURLEncoding.EncodeToString(sum[:16])
	now := time.Now()
	sign := func(changes map[string]any) seal.Secret { return s.Sign(t, s.Claims("client-1", "n-1", changes)) }
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + strings.Split(sign(nil).Reveal(), ".")[1] + "."

	for _, c := range []struct {
		name  string
		token seal.Secret
		claim string // at fault; empty: accepted
	}{
		{"a good one", sign(nil), ""},
		{"for several clients, with azp", sign(map[string]any{"aud": []string{"client-1", "x"}, "azp": "client-1"}), ""},
		{"with the right at_hash", sign(map[string]any{"at_hash": atHash}), ""},
		{"just past, within the leeway", sign(map[string]any{"exp": now.Add(-time.Minute).Unix()}), ""},
		{"none at all", seal.Secret{}, "form"},
		{"no JWT", seal.NewSecret("abc"), "signature"},
		{"without a signature", seal.NewSecret(none), "signature"},
		{"signed with another key", oauthtest.SignWith(t, oauthtest.NewSigner(t, jose.RS256, other), s.Claims("client-1", "n-1", nil)), "signature"},
		{"signed with the client secret", oauthtest.SignWith(t, oauthtest.NewSigner(t, jose.HS256, []byte(strings.Repeat("k", 32))), s.Claims("client-1", "n-1", nil)), "signature"},
		{"of another issuer", sign(map[string]any{"iss": "https://evil.example"}), "iss"},
		{"for another client", sign(map[string]any{"aud": "client-2"}), "aud"},
		{"for nobody", sign(map[string]any{"aud": nil}), "aud"},
		{"made for another party", sign(map[string]any{"azp": "client-2"}), "azp"},
		{"for several clients, without azp", sign(map[string]any{"aud": []string{"client-1", "x"}}), "azp"},
		{"of another request", sign(map[string]any{"nonce": "n-2"}), "nonce"},
		{"without a nonce", sign(map[string]any{"nonce": nil}), "nonce"},
		{"past", sign(map[string]any{"exp": now.Add(-5 * time.Minute).Unix()}), "exp"},
		{"without an end", sign(map[string]any{"exp": nil}), "exp"},
		{"with an end in words", sign(map[string]any{"exp": "tomorrow"}), "form"},
		{"from the future", sign(map[string]any{"iat": now.Add(5 * time.Minute).Unix()}), "iat"},
		{"without a time", sign(map[string]any{"iat": nil}), "iat"},
		{"not yet valid", sign(map[string]any{"nbf": now.Add(5 * time.Minute).Unix()}), "nbf"},
		{"about nobody", sign(map[string]any{"sub": nil}), "sub"},
		{"for another access token", sign(map[string]any{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), "at_hash"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			claims, err := directory().VerifyIDToken(t.Context(), c.token, oauth.Expectation{
				Issuer: s.URL, ClientID: "client-1", JWKSURI: s.URL + "/keys", Nonce: "n-1", Access: access,
			})
			if c.claim == "" {
				if err != nil || claims.String("sub") != "subject-1" {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var e *oauth.IDTokenError
			if !errors.As(err, &e) || claims != nil {
				t.Fatalf("accepted or another error: %v", err)
			}
			if e.Claim != c.claim && !(c.claim == "form" && e.Claim == "signature") {
				t.Fatalf("%s is blamed, want %s: %v", e.Claim, c.claim, err)
			}
			f := oauth.Fault(err)
			if f.ID != "oauth.bad_id_token" || f.Kind != fault.Refused || f.Remedy == "" {
				t.Fatalf("%+v", f)
			}
			if all := fmt.Sprintf("%v %+v %v", err, e, f); strings.Contains(all, marker) || !c.token.IsZero() && strings.Contains(all, c.token.Reveal()) {
				t.Fatalf("a token shows: %s", all)
			}
		})
	}
}

func TestVerifyIDToken_NoNonceIsNoMatch(t *testing.T) {
	t.Parallel()
	s := oauthtest.Start(t)
	_, err := directory().VerifyIDToken(t.Context(), s.Sign(t, s.Claims("client-1", "", map[string]any{"nonce": nil})), oauth.Expectation{
		Issuer: s.URL, ClientID: "client-1", JWKSURI: s.URL + "/keys",
	})
	var e *oauth.IDTokenError
	if !errors.As(err, &e) || e.Claim != "nonce" {
		t.Fatalf("an ID token without a nonce answers a request without one: %v", err)
	}
}

func TestVerifyIDToken_KeysOutOfReachIsNoBadSignature(t *testing.T) {
	t.Parallel()
	s := oauthtest.Start(t)
	s.FailKeys(503)
	_, err := directory().VerifyIDToken(t.Context(), s.Sign(t, s.Claims("client-1", "n-1", nil)), oauth.Expectation{
		Issuer: s.URL, ClientID: "client-1", JWKSURI: s.URL + "/keys", Nonce: "n-1",
	})
	if f := fault.Of(err); f.ID != "oauth.keys_unavailable" || f.Kind != fault.Temporary {
		t.Fatalf("got %v", err)
	}
	_, err = directory().VerifyIDToken(t.Context(), s.Sign(t, s.Claims("client-1", "n-1", nil)), oauth.Expectation{
		Issuer: s.URL, ClientID: "client-1", JWKSURI: "http://127.0.0.1:1/keys", Nonce: "n-1",
	})
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("got %v", err)
	}
}

func TestDiscover(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		prepare func(*oauthtest.Issuer)
		issuer  func(*oauthtest.Issuer) string
		id      string
	}{
		{name: "OpenID Connect's place"},
		{name: "RFC 8414's place", prepare: func(s *oauthtest.Issuer) { s.Miss("/.well-known/openid-configuration") }},
		{name: "nowhere", id: "oauth.unknown_issuer", prepare: func(s *oauthtest.Issuer) {
			s.Miss("/.well-known/openid-configuration")
			s.Miss("/.well-known/oauth-authorization-server")
		}},
		{name: "another issuer", id: "oauth.bad_metadata", prepare: func(s *oauthtest.Issuer) { s.SetMetadata("issuer", "https://evil.example") }},
		{name: "a slash too many", id: "oauth.bad_metadata", issuer: func(s *oauthtest.Issuer) string { return s.URL + "/" }},
		{name: "no token endpoint", id: "oauth.bad_metadata", prepare: func(s *oauthtest.Issuer) { s.SetMetadata("token_endpoint", nil) }},
		{name: "a token endpoint without TLS", id: "oauth.bad_metadata", prepare: func(s *oauthtest.Issuer) { s.SetMetadata("token_endpoint", "http://as.example/token") }},
		{name: "a number for an endpoint", id: "oauth.bad_metadata", prepare: func(s *oauthtest.Issuer) { s.SetMetadata("jwks_uri", 7) }},
		{name: "too long", id: "oauth.bad_metadata", prepare: func(s *oauthtest.Issuer) { s.SetMetadata("x", strings.Repeat("x", 1<<20)) }},
		{name: "an issuer without TLS", id: "oauth.bad_metadata", issuer: func(*oauthtest.Issuer) string { return "http://as.example" }},
		{name: "an issuer that is no URL", id: "oauth.bad_metadata", issuer: func(*oauthtest.Issuer) string { return "as.example" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := oauthtest.Start(t)
			if c.prepare != nil {
				c.prepare(s)
			}
			issuer := s.URL
			if c.issuer != nil {
				issuer = c.issuer(s)
			}
			d := directory()
			m, err := d.Discover(t.Context(), issuer)
			if c.id == "" {
				if err != nil || m.TokenEndpoint != s.URL+"/token" {
					t.Fatalf("%+v, %v", m, err)
				}
				asked := s.Calls("/.well-known/openid-configuration")
				if _, err := d.Discover(t.Context(), issuer); err != nil || s.Calls("/.well-known/oauth-authorization-server") == 0 && s.Calls("/.well-known/openid-configuration") != asked {
					t.Fatal("the document was not remembered")
				}
				return
			}
			f := oauth.Fault(err)
			if f == nil || f.ID != c.id || f.Field != "issuer" || f.Remedy == "" {
				t.Fatalf("%+v from %v, want %s", f, err, c.id)
			}
		})
	}
}

func TestUserInfo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		status int
		body   any
		ok     bool
	}{
		{"the same person", 200, map[string]any{"sub": "subject-1", "email": "a@b.example"}, true},
		{"another person", 200, map[string]any{"sub": "subject-2", "email": "a@b.example"}, false},
		{"nobody", 200, map[string]any{"email": "a@b.example"}, false},
		{"a signed answer", 200, "eyJhbGciOi.J9.x", false},
		{"a refusal", 401, map[string]any{"error": "invalid_token"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := oauthtest.Start(t)
			s.OnUserInfo(func(token string) (int, any) {
				if token != marker+"-access" {
					return 400, map[string]any{"error": "test: no access token"}
				}
				return c.status, c.body
			})
			claims, err := directory().UserInfo(t.Context(), s.URL+"/userinfo", secret("access"), "subject-1")
			if (err == nil) != c.ok || c.ok && claims.String("email") != "a@b.example" {
				t.Fatalf("%v, %v", claims, err)
			}
			if err != nil && (oauth.Fault(err) == nil || strings.Contains(fmt.Sprint(err, oauth.Fault(err)), marker)) {
				t.Fatalf("no words, or a secret, in %v", err)
			}
		})
	}
}

func TestAuthorizationRequest_URL(t *testing.T) {
	t.Parallel()
	verifier := oauth.NewCodeVerifier()
	r := oauth.AuthorizationRequest{
		Endpoint: "https://as.example/authorize?realm=a", ClientID: "client-1", RedirectURI: "https://me.example/cb?x=1&y=2",
		Scopes: []string{"openid", "https://r.example/a b"}, State: oauth.NewState(), Nonce: oauth.NewNonce(),
		CodeChallenge: oauth.CodeChallenge(verifier), Prompt: "login", LoginHint: "a+b@c.example", Extra: url.Values{"claims": {"{}"}},
	}
	raw, err := r.URL()
	if err != nil {
		t.Fatal(err)
	}
	u, _ := url.Parse(raw)
	q := u.Query()
	for name, want := range map[string]string{
		"realm": "a", "response_type": "code", "redirect_uri": r.RedirectURI, "scope": "openid https://r.example/a b", "code_challenge_method": "S256",
		"code_challenge": r.CodeChallenge, "prompt": "login", "login_hint": "a+b@c.example", "state": r.State, "nonce": r.Nonce, "claims": "{}",
	} {
		if q.Get(name) != want || len(q[name]) != 1 {
			t.Errorf("%s = %q, want %q", name, q[name], want)
		}
	}
	if strings.Contains(raw, verifier.Reveal()) {
		t.Error("the code verifier is in the URL")
	}
	for name, spoil := range map[string]func(*oauth.AuthorizationRequest){
		"no state":             func(r *oauth.AuthorizationRequest) { r.State = "" },
		"no nonce":             func(r *oauth.AuthorizationRequest) { r.Nonce = "" },
		"no code challenge":    func(r *oauth.AuthorizationRequest) { r.CodeChallenge = "" },
		"no redirect URI":      func(r *oauth.AuthorizationRequest) { r.RedirectURI = "" },
		"no TLS":               func(r *oauth.AuthorizationRequest) { r.Endpoint = "http://as.example/authorize" },
		"a password in it":     func(r *oauth.AuthorizationRequest) { r.Endpoint = "https://u:p@as.example/authorize" },
		"a scheme of no sense": func(r *oauth.AuthorizationRequest) { r.Endpoint = "javascript:alert(1)" },
	} {
		bad := r
		spoil(&bad)
		if got, err := bad.URL(); err == nil {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestCodeChallenge_IsThatOfRFC7636(t *testing.T) {
	t.Parallel()
	if got := oauth.CodeChallenge(seal.NewSecret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")); got != "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" {
		t.Fatal(got)
	}
	if first, second := oauth.NewState(), oauth.NewState(); first == second || len(oauth.NewNonce()) != 43 || len(oauth.NewCodeVerifier().Reveal()) != 43 {
		t.Fatal("not 32 fresh bytes")
	}
}

func TestParseAuthorizationResponse(t *testing.T) {
	t.Parallel()
	good, err := oauth.ParseAuthorizationResponse(url.Values{"code": {"c"}, "state": {"s"}, "iss": {"https://as.example"}})
	if err != nil || good.Code.Reveal() != "c" || good.State != "s" || good.Issuer != "https://as.example" || good.Refusal != nil {
		t.Fatalf("%+v, %v", good, err)
	}
	for name, q := range map[string]url.Values{
		"nothing":         {"state": {"s"}},
		"two codes":       {"code": {"a", "b"}, "state": {"s"}},
		"two states":      {"code": {"a"}, "state": {"s", "t"}},
		"an endless code": {"code": {strings.Repeat("x", 20_000)}, "state": {"s"}},
	} {
		if r, err := oauth.ParseAuthorizationResponse(q); !fault.Has(err, "oauth.bad_response") {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	both, err := oauth.ParseAuthorizationResponse(url.Values{"code": {"c"}, "error": {"access_denied"}, "state": {"s"}})
	if err != nil || both.Refusal == nil || !both.Code.IsZero() {
		t.Errorf("an error beside a code must win: %+v, %v", both, err)
	}
}

func TestCheckResponseIssuer(t *testing.T) {
	t.Parallel()
	silent := oauth.Metadata{Issuer: "https://as.example"}
	promises := oauth.Metadata{Issuer: "https://as.example", AuthorizationResponseIss: true}
	for _, c := range []struct {
		name string
		m    oauth.Metadata
		iss  string
		ok   bool
	}{
		{"the right one", promises, "https://as.example", true},
		{"the right one unasked", silent, "https://as.example", true},
		{"none where none is promised", silent, "", true},
		{"none where one is promised", promises, "", false},
		{"another", silent, "https://evil.example", false},
	} {
		if err := oauth.CheckResponseIssuer(c.m, c.iss); (err == nil) != c.ok || err != nil && !fault.Has(err, "oauth.wrong_issuer") {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
