package sandbox_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/sandbox"
	"github.com/mailgrant/mailgrant/sandbox/browser"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// The scopes a mail connector asks for.
const mailScopes = "openid profile offline_access https://outlook.office.com/IMAP.AccessAsUser.All https://outlook.office.com/SMTP.Send"

const verifier = "a-code-verifier-of-forty-three-letters-or-more"

// desk is a sandbox with an app that listens at its redirect URI.
type desk struct {
	*sandbox.Sandbox
	t        *testing.T
	ctx      context.Context
	redirect string
	about    sandbox.Description
}

// newDesk starts a sandbox and an app beside it. The app is reached by another name than the sandbox, as in life.
func newDesk(t *testing.T) *desk {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("X-Method", r.Method)
		for name, values := range r.Form {
			w.Header().Set("X-Answer-"+name, strings.Join(values, " "))
		}
		_, _ = io.WriteString(w, "the app was called back")
	}))
	t.Cleanup(app.Close)
	redirect := strings.Replace(app.URL, "127.0.0.1", "localhost", 1) + "/callback"
	box, err := sandbox.Start(ctx, sandbox.Options{RedirectURIs: []string{redirect, redirect + "?from=entra"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	return &desk{Sandbox: box, t: t, ctx: ctx, redirect: redirect, about: box.Describe()}
}

// authorizeURL makes an authorization request; overrides replace or, when empty, remove parameters.
func (d *desk) authorizeURL(overrides ...string) string {
	sum := sha256.Sum256([]byte(verifier))
	values := url.Values{
		"client_id": {directory.StoryClientID}, "response_type": {"code"}, "redirect_uri": {d.redirect}, "scope": {mailScopes}, "state": {"the-state"},
		"nonce": {"the-nonce"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	segment := directory.StoryTenantID
	for i := 0; i+1 < len(overrides); i += 2 {
		switch name, value := overrides[i], overrides[i+1]; {
		case name == "tenant":
			segment = value
		case value == "":
			values.Del(name)
		default:
			values.Set(name, value)
		}
	}
	return d.about.BaseURL + "/" + segment + "/oauth2/v2.0/authorize?" + values.Encode()
}

// open takes a browser to an authorization request.
func (d *desk) open(b *browser.Browser, overrides ...string) {
	d.t.Helper()
	d.must(b.Open(d.ctx, d.authorizeURL(overrides...)))
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// signedIn is a browser in which these users have signed in.
func (d *desk) signedIn(users ...string) *browser.Browser {
	d.t.Helper()
	b := browser.New(browser.Options{})
	for _, name := range users {
		d.must(b.Open(d.ctx, d.about.BaseURL))
		d.must(b.SignIn(d.ctx, name, d.password(name)))
		if !b.Page().Contains(name) {
			d.t.Fatalf("%s could not sign in: %s", name, b.Page().Text)
		}
	}
	return b
}

func (d *desk) password(name string) string {
	d.t.Helper()
	user, found := d.World().User(name)
	if !found {
		d.t.Fatalf("no user %s", name)
	}
	return user.Password
}

// answered is a parameter with which the app was called back; empty if the browser is not there or it is missing.
func answered(b *browser.Browser, name string) string {
	return b.Page().Header.Get("X-Answer-" + name)
}

// tokens is an answer of the token endpoint.
type tokens struct {
	Status           int    `json:"-"`
	AccessToken      string `json:"access_token"`
	RefreshToken     string `json:"refresh_token"`
	IDToken          string `json:"id_token"`
	Scope            string `json:"scope"`
	TokenType        string `json:"token_type"`
	ExpiresIn        int    `json:"expires_in"`
	Error            string `json:"error"`
	ErrorDescription string `json:"error_description"`
	ErrorCodes       []int  `json:"error_codes"`
	TraceID          string `json:"trace_id"`
	CorrelationID    string `json:"correlation_id"`
	Timestamp        string `json:"timestamp"`
	Suberror         string `json:"suberror"`
}

// code is the AADSTS number of a refusal.
func (a tokens) code() int {
	if len(a.ErrorCodes) == 0 {
		return 0
	}
	return a.ErrorCodes[0]
}

// post calls the token endpoint; overrides replace or, when empty, remove parameters; "tenant" is the path's.
func (d *desk) post(values url.Values, overrides ...string) (tokens, error) {
	d.t.Helper()
	segment := directory.StoryTenantID
	form := url.Values{"client_id": {directory.StoryClientID}, "client_secret": {directory.StoryClientSecret}}
	for name, list := range values {
		form[name] = list
	}
	for i := 0; i+1 < len(overrides); i += 2 {
		switch name, value := overrides[i], overrides[i+1]; {
		case name == "tenant":
			segment = value
		case value == "":
			form.Del(name)
		default:
			form.Set(name, value)
		}
	}
	request, err := http.NewRequestWithContext(d.ctx, http.MethodPost, d.about.BaseURL+"/"+segment+"/oauth2/v2.0/token", strings.NewReader(form.Encode()))
	d.must(err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return tokens{}, err
	}
	defer func() { _ = response.Body.Close() }()
	answer := tokens{Status: response.StatusCode}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "application/json") {
		d.must(json.NewDecoder(response.Body).Decode(&answer))
	}
	return answer, nil
}

func (d *desk) redeem(code string, overrides ...string) tokens {
	d.t.Helper()
	answer, err := d.post(url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {d.redirect}, "code_verifier": {verifier}}, overrides...)
	d.must(err)
	return answer
}

func (d *desk) refresh(refreshToken string, overrides ...string) tokens {
	d.t.Helper()
	answer, err := d.post(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}}, overrides...)
	d.must(err)
	return answer
}

// codeFor signs a user in with a fresh browser and returns the authorization code.
func (d *desk) codeFor(name string, overrides ...string) string {
	d.t.Helper()
	b := browser.New(browser.Options{})
	d.open(b, overrides...)
	d.must(b.SignIn(d.ctx, name, d.password(name)))
	if b.Shows() == "consent" {
		d.must(b.Consent(d.ctx, true))
	}
	code := answered(b, "code")
	if code == "" {
		d.t.Fatalf("no code for %s: %s", name, b.Page().Text)
	}
	return code
}

// grantFor is codeFor, redeemed.
func (d *desk) grantFor(name string) tokens {
	d.t.Helper()
	answer := d.redeem(d.codeFor(name))
	if answer.Status != http.StatusOK {
		d.t.Fatalf("no grant for %s: %s", name, answer.ErrorDescription)
	}
	return answer
}

// claims reads a JWT without checking it.
func claims(t *testing.T, raw string) map[string]any {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("not a JWT: %d parts", len(parts))
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
