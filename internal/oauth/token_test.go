package oauth_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/oauth"
	"github.com/mailgrant/mailgrant/internal/oauth/oauthtest"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// marker stands in every secret of these tests.
const marker = "marker-c0de"

func secret(name string) seal.Secret { return seal.NewSecret(marker + "-" + name) }

func endpoint(at string, secrets ...seal.Secret) oauth.TokenEndpoint {
	return oauth.TokenEndpoint{
		URL: at, ClientID: "client-1", Secrets: secrets, Auth: oauth.ClientSecretPost,
		HTTP: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}},
	}
}

func answers(status int, body any) func(url.Values, *http.Request) (int, any) {
	return func(url.Values, *http.Request) (int, any) { return status, body }
}

func TestTokenEndpoint_SaysWhatItAsks(t *testing.T) {
	t.Parallel()
	for name, auth := range map[string]oauth.ClientAuth{"in the body": oauth.ClientSecretPost, "by Basic": oauth.ClientSecretBasic} {
		t.Run("the client secret "+name, func(t *testing.T) {
			t.Parallel()
			s := oauthtest.Start(t)
			var seen url.Values
			var user, password string
			s.OnToken(func(f url.Values, r *http.Request) (int, any) {
				seen = f
				user, password, _ = r.BasicAuth()
				return 200, map[string]any{"access_token": "a", "token_type": "bearer", "expires_in": "3599", "scope": "x y", "refresh_token": "r2", "id_token": "i"}
			})
			e := endpoint(s.URL+"/token", seal.NewSecret("s:e%c"))
			e.Auth = auth
			got, err := e.Redeem(t.Context(), secret("code"), secret("verifier"), "https://me.example/cb", []string{"x", "y"})
			if err != nil {
				t.Fatal(err)
			}
			if got.AccessToken.Reveal() != "a" || got.RefreshToken.Reveal() != "r2" || got.IDToken.Reveal() != "i" ||
				got.ExpiresIn != 3599*time.Second || strings.Join(got.Scopes, " ") != "x y" {
				t.Errorf("response %+v", got)
			}
			if seen.Get("grant_type") != "authorization_code" || seen.Get("code") != marker+"-code" || seen.Get("code_verifier") != marker+"-verifier" ||
				seen.Get("redirect_uri") != "https://me.example/cb" || seen.Get("scope") != "x y" {
				t.Errorf("form %v", seen)
			}
			if auth == oauth.ClientSecretBasic {
				if seen.Has("client_secret") || user != "client-1" || password != "s%3Ae%25c" {
					t.Errorf("basic %q %q, form %v", user, password, seen)
				}
			} else if seen.Get("client_secret") != "s:e%c" || seen.Get("client_id") != "client-1" {
				t.Errorf("form %v", seen)
			}
		})
	}
	t.Run("no scope at all rather than an empty one", func(t *testing.T) {
		t.Parallel()
		s := oauthtest.Start(t)
		s.OnToken(func(f url.Values, _ *http.Request) (int, any) {
			if f.Has("scope") || f.Has("client_secret") || f.Get("refresh_token") != marker+"-r" {
				return 400, map[string]any{"error": "invalid_request"}
			}
			return 200, map[string]any{"access_token": "a", "token_type": "Bearer"}
		})
		got, err := endpoint(s.URL+"/token").Refresh(t.Context(), secret("r"), nil)
		if err != nil || !got.RefreshToken.IsZero() || got.Scopes != nil || got.ExpiresIn != 0 {
			t.Fatalf("%+v, %v", got, err)
		}
	})
}

func TestTokenEndpoint_TriesTheNextSecretOnlyAfterInvalidClient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		first     string
		calls     int
		index     int
		wantError bool
	}{
		"invalid_client goes on to the next": {"invalid_client", 2, 1, false},
		"invalid_grant stops at once":        {"invalid_grant", 1, 0, true},
		"a passing error stops at once":      {"temporarily_unavailable", 1, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := oauthtest.Start(t)
			s.OnToken(func(f url.Values, _ *http.Request) (int, any) {
				if f.Get("client_secret") == marker+"-old" {
					return 401, map[string]any{"error": c.first}
				}
				return 200, map[string]any{"access_token": "a", "token_type": "Bearer"}
			})
			got, err := endpoint(s.URL+"/token", secret("old"), secret("new")).Refresh(t.Context(), secret("r"), nil)
			if (err != nil) != c.wantError || got.SecretIndex != c.index || s.Calls("/token") != c.calls {
				t.Fatalf("err %v, index %d, calls %d", err, got.SecretIndex, s.Calls("/token"))
			}
		})
	}
}

func TestTokenEndpoint_TellsOutcomesApart(t *testing.T) {
	t.Parallel()
	unused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = unused.Close()
	html := "<html><head><title>502 Bad Gateway</title></head></html>"
	for _, c := range []struct {
		name    string
		at      string
		status  int
		body    any
		outcome oauth.Outcome
		id      string
		kind    fault.Kind
	}{
		{"nothing listens: never sent", "http://" + unused.Addr().String(), 0, nil, oauth.NotSent, "", 0},
		{"the connection closed after the request", "", 0, nil, oauth.NoAnswer, "oauth.no_answer", fault.Temporary},
		{"a gateway's 502", "", 502, html, oauth.NoAnswer, "oauth.no_answer", fault.Temporary},
		{"200 with a page", "", 200, html, oauth.NoAnswer, "oauth.no_answer", fault.Temporary},
		{"200 without an access token", "", 200, map[string]any{"token_type": "Bearer"}, oauth.NoAnswer, "oauth.no_answer", fault.Temporary},
		{"200 with an answer over the limit", "", 200, strings.Repeat("x", 1<<20+1), oauth.NoAnswer, "oauth.no_answer", fault.Temporary},
		{"invalid_grant", "", 400, map[string]any{"error": "invalid_grant"}, oauth.Answered, "oauth.invalid_grant", fault.Dead},
		{"interaction_required", "", 400, map[string]any{"error": "interaction_required"}, oauth.Answered, "oauth.invalid_grant", fault.Dead},
		{"invalid_client", "", 401, map[string]any{"error": "invalid_client"}, oauth.Answered, "oauth.invalid_client", fault.Refused},
		{"invalid_grant with status 200", "", 200, map[string]any{"error": "invalid_grant"}, oauth.Answered, "oauth.invalid_grant", fault.Dead},
		{"temporarily_unavailable", "", 503, map[string]any{"error": "temporarily_unavailable"}, oauth.Answered, "oauth.temporarily_unavailable", fault.Temporary},
		{"server_error with 400", "", 400, map[string]any{"error": "server_error"}, oauth.Answered, "oauth.temporarily_unavailable", fault.Temporary},
		{"too many requests", "", 429, "slow down", oauth.Answered, "oauth.rate_limited", fault.Temporary},
		{"invalid_grant under 429 does not kill", "", 429, map[string]any{"error": "invalid_grant"}, oauth.Answered, "oauth.rate_limited", fault.Temporary},
		{"a redirect is not followed", "", 302, "elsewhere", oauth.Answered, "oauth.not_oauth", fault.Refused},
		{"a page with 404", "", 404, html, oauth.Answered, "oauth.not_oauth", fault.Refused},
		{"an unknown error", "", 400, map[string]any{"error": "odd"}, oauth.Answered, "oauth.refused", fault.Refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			at := c.at
			if at == "" {
				s := oauthtest.Start(t)
				s.OnToken(answers(c.status, c.body))
				at = s.URL + "/token"
			}
			_, err := endpoint(at, secret("s")).Refresh(t.Context(), secret("r"), []string{"x"})
			if got := oauth.OutcomeOf(err); err == nil || got != c.outcome {
				t.Fatalf("outcome %d of %v, want %d", got, err, c.outcome)
			}
			f := oauth.Fault(err)
			if c.id == "" {
				if f != nil {
					t.Fatalf("a failure of the network became %v", f)
				}
				return
			}
			if f == nil || f.ID != c.id || f.Kind != c.kind || f.Text == "" || f.Remedy == "" || len(f.Who) == 0 {
				t.Fatalf("Fault = %+v, want %s", f, c.id)
			}
			if f.Retry != (c.kind == fault.Temporary) {
				t.Errorf("Retry = %v", f.Retry)
			}
		})
	}
}

func TestTokenEndpoint_SilenceAfterTheRequestIsNoAnswer(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s := oauthtest.Start(t)
	s.OnToken(func(url.Values, *http.Request) (int, any) { <-release; return 200, nil })
	defer close(release)
	e := endpoint(s.URL+"/token", secret("s"))
	e.HTTP.Timeout = 50 * time.Millisecond
	if _, err := e.Refresh(t.Context(), secret("r"), nil); oauth.OutcomeOf(err) != oauth.NoAnswer {
		t.Fatalf("got %v", err)
	}
}

func TestTokenEndpoint_KeepsARefreshTokenOfADefectiveAnswer(t *testing.T) {
	t.Parallel()
	s := oauthtest.Start(t)
	s.OnToken(answers(200, map[string]any{"access_token": "a", "token_type": "mac", "refresh_token": "r2"}))
	got, err := endpoint(s.URL+"/token").Refresh(t.Context(), secret("r"), nil)
	if oauth.OutcomeOf(err) != oauth.NoAnswer || got.RefreshToken.Reveal() != "r2" || !got.AccessToken.IsZero() {
		t.Fatalf("%+v, %v", got, err)
	}
}

func TestError_KeepsWhatSupportNeeds(t *testing.T) {
	t.Parallel()
	s := oauthtest.Start(t)
	s.OnToken(answers(400, map[string]any{
		"error": "invalid_grant", "suberror": "bad_token", "error_codes": []any{50173, "70043"},
		"error_description": "AADSTS50173: The grant " + marker + "-r has\r\nexpired.", "trace_id": "t-1", "correlation_id": "c-1",
		"timestamp": "2026-11-24 12:00:00Z", "claims": `{"access_token":{}}`, "error_uri": "https://login.example/error?code=50173",
	}))
	_, err := endpoint(s.URL+"/token", secret("s")).Refresh(t.Context(), secret("r"), nil)
	var e *oauth.Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	if e.Code != "invalid_grant" || e.Suberror != "bad_token" || len(e.ErrorCodes) != 2 || e.ErrorCodes[1] != 70043 || e.TraceID != "t-1" ||
		e.CorrelationID != "c-1" || e.Timestamp == "" || e.Claims == "" || e.URI == "" || e.ClientID != "client-1" || !e.DeadGrant() {
		t.Errorf("%+v", e)
	}
	if all := fmt.Sprintf("%v %+v %v", err, e, oauth.Fault(err)); strings.Contains(all, marker) {
		t.Errorf("a secret that the server echoed shows: %s", all)
	}
	if strings.ContainsAny(e.Description, "\r\n") {
		t.Errorf("control characters in %q", e.Description)
	}
}

func TestRedeem_RefusedCodeIsNoDeadGrant(t *testing.T) {
	t.Parallel()
	s := oauthtest.Start(t)
	s.OnToken(answers(400, map[string]any{"error": "invalid_grant"}))
	_, err := endpoint(s.URL+"/token").Redeem(t.Context(), secret("c"), secret("v"), "https://me/cb", nil)
	if f := oauth.Fault(err); f.ID != "oauth.code_refused" || f.Kind != fault.Refused {
		t.Fatalf("%+v", f)
	}
}
