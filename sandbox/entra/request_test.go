package entra_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/sandbox/directory"
	"github.com/mailgrant/mailgrant/sandbox/entra"
)

const callback = "http://localhost:8025/oauth/callback"

func newHandler(tb testing.TB) http.Handler {
	tb.Helper()
	world, err := directory.New(directory.DefaultStory(callback), nil)
	if err != nil {
		tb.Fatal(err)
	}
	server, err := entra.New(world)
	if err != nil {
		tb.Fatal(err)
	}
	mux := http.NewServeMux()
	server.Routes(mux)
	return mux
}

// FuzzAuthorize holds that no authorization request, however made, leads anywhere but to a registered redirect URI, and that
// nobody gets a code who has not signed in.
func FuzzAuthorize(f *testing.F) {
	handler := newHandler(f)
	seed := url.Values{
		"client_id": {directory.StoryClientID}, "response_type": {"code"}, "redirect_uri": {callback}, "scope": {"openid offline_access https://outlook.office.com/SMTP.Send"},
		"state": {"s"}, "nonce": {"n"}, "code_challenge": {strings.Repeat("a", 43)}, "code_challenge_method": {"S256"},
	}
	f.Add(directory.StoryTenantID, seed.Encode())
	f.Add("common", seed.Encode()+"&prompt=none")
	f.Add(directory.StoryDomain, seed.Encode()+"&prompt=select_account&login_hint=x")
	f.Add("organizations", strings.ReplaceAll(seed.Encode(), directory.StoryClientID, directory.StoryMultiClientID)+"&response_mode=form_post&prompt=none")
	f.Add(directory.StoryTenantID, "client_id="+directory.StoryClientID+"&redirect_uri=http://evil.example/&scope=%ff://")
	f.Add("..", "scope=;&%zz")
	f.Fuzz(func(t *testing.T, tenant, query string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.URL = &url.URL{Path: "/" + tenant + "/oauth2/v2.0/authorize", RawQuery: query}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		location := w.Header().Get("Location")
		if w.Code != http.StatusFound || location == "" || !strings.Contains(location, "error=") && !strings.Contains(location, "code=") {
			return // a page, or the router's own cleaning of the path
		}
		to, err := url.Parse(location)
		if err != nil {
			t.Fatal(err)
		}
		if got := to.Scheme + "://" + to.Host + to.Path; got != callback {
			t.Fatalf("redirected to %s", got)
		}
		if to.Query().Get("code") != "" {
			t.Fatal("a code for nobody")
		}
	})
}

// FuzzToken holds that no request, however made, gets a token without a valid code, refresh token and secret, and that every
// refusal has Entra's shape.
func FuzzToken(f *testing.F) {
	handler := newHandler(f)
	f.Add(directory.StoryTenantID, "application/x-www-form-urlencoded", "", "client_id="+directory.StoryClientID+"&client_secret=x&grant_type=authorization_code&code=1.sandbox-code.X&redirect_uri=y")
	f.Add(directory.StoryTenantID, "application/x-www-form-urlencoded", "Basic MTox", "grant_type=refresh_token&refresh_token=1.sandbox-refresh.X")
	f.Add("common", "application/json", "", `{"grant_type":"refresh_token"}`)
	f.Add(directory.StoryDomain, "multipart/form-data; boundary=x", "Basic %", "--x")
	f.Add(directory.StoryDomain, "application/x-www-form-urlencoded", "", "client_id="+directory.StoryPublicClientID+"&grant_type=refresh_token&refresh_token=1.sandbox-refresh.&scope=%zz")
	f.Fuzz(func(t *testing.T, tenant, contentType, authorization, body string) {
		if strings.Contains(body+authorization, "made-up") {
			return // the fuzzer found the story's secret, and may get its due
		}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.URL = &url.URL{Path: "/" + tenant + "/oauth2/v2.0/token"}
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code == http.StatusOK || w.Code >= 500 || strings.Contains(w.Body.String(), "access_token\"") {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		if strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !strings.Contains(w.Body.String(), `"error_description":"AADSTS`) {
			t.Fatalf("not Entra's shape: %s", w.Body)
		}
	})
}
