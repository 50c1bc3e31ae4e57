package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// SignIn does what a person does after a program sent them to the provider: opens the authorization request's URL, signs in if
// asked, consents if asked. It returns the URL to which the browser is sent in the end, with code and state, or the
// provider's refusal. A browser that is still signed in is not asked again.
func (p *OIDCProvider) SignIn(ctx context.Context, browser *http.Client, authorizationURL, login, password string) (*url.URL, error) {
	answer, page, err := fetch(ctx, browser, authorizationURL, nil)
	for range 5 {
		if err != nil {
			return nil, err
		}
		if target := answer.Header.Get("Location"); target != "" {
			return url.Parse(target)
		}
		act, found := formOf(page)
		if answer.StatusCode != http.StatusOK || !found {
			return nil, fmt.Errorf("the provider answered %s: %s", answer.Status, text(page))
		}
		form := url.Values{}
		if strings.HasSuffix(act, "/login") {
			form = url.Values{"login": {login}, "password": {password}}
		}
		answer, page, err = fetch(ctx, browser, p.Issuer+act, form)
	}
	return nil, errors.New("the provider asks again and again")
}

// Decline opens the authorization request's URL and says no; it returns the URL to which the browser is sent.
func (p *OIDCProvider) Decline(ctx context.Context, browser *http.Client, authorizationURL string) (*url.URL, error) {
	_, page, err := fetch(ctx, browser, authorizationURL, nil)
	if err != nil {
		return nil, err
	}
	act, found := formOf(page)
	if !found {
		return nil, fmt.Errorf("the provider shows no form: %s", text(page))
	}
	answer, _, err := fetch(ctx, browser, p.Issuer+act[:strings.LastIndexByte(act, '/')]+"/abort", url.Values{})
	if err != nil {
		return nil, err
	}
	return url.Parse(answer.Header.Get("Location"))
}

// formOf finds where the page's first form goes.
func formOf(page string) (action string, found bool) {
	match := regexp.MustCompile(`<form method="post" action="([^"]+)"`).FindStringSubmatch(page)
	if match == nil {
		return "", false
	}
	return html.UnescapeString(match[1]), true
}

// text is a page without its marks, for a message.
func text(page string) string {
	words := strings.Fields(regexp.MustCompile(`(?s)<style.*?</style>|<[^>]*>`).ReplaceAllString(page, " "))
	return html.UnescapeString(strings.Join(words, " "))
}

// fetch gets a page, or posts a form to it.
func fetch(ctx context.Context, browser *http.Client, address string, form url.Values) (*http.Response, string, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	request, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, "", err
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	answer, err := browser.Do(request)
	if err != nil {
		return nil, "", err
	}
	defer closeQuietly(answer.Body)
	page, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	return answer, string(page), err
}

// OIDCFault is what goes wrong at the token endpoint.
type OIDCFault string

const (
	// FaultNone ends a fault and lets hanging requests go on.
	FaultNone OIDCFault = ""
	// FaultHang holds a request before anything happened to it.
	FaultHang OIDCFault = "hang"
	// FaultHangAfter holds the answer after the refresh token was rotated.
	FaultHangAfter OIDCFault = "hang-after"
	// FaultCut breaks the connection after the refresh token was rotated, so that the answer is lost.
	FaultCut OIDCFault = "cut"
	// FaultUnavailable answers 503 and does nothing.
	FaultUnavailable OIDCFault = "unavailable"
)

// TokenRequest is one request that reached the token endpoint.
type TokenRequest struct {
	At        time.Time `json:"at"`
	GrantType string    `json:"grant_type"` // empty when the request did not get so far
	ClientID  string    `json:"client_id"`
	Status    int       `json:"status"` // 0 while it hangs before an answer was made
	Error     string    `json:"error"`  // OAuth's error code
	Fault     OIDCFault `json:"fault"`
}

// TokenRequests lists what reached the token endpoint since the start, in order.
func (p *OIDCProvider) TokenRequests(t testing.TB) []TokenRequest {
	t.Helper()
	var requests []TokenRequest
	p.ask(t, http.MethodGet, "/requests", nil, &requests)
	return requests
}

// Refreshes counts the requests with grant type refresh_token that were answered.
func (p *OIDCProvider) Refreshes(t testing.TB) int {
	t.Helper()
	count := 0
	for _, r := range p.TokenRequests(t) {
		if r.GrantType == "refresh_token" {
			count++
		}
	}
	return count
}

// Break makes the next token requests go wrong: so many times, or until FaultNone when times is negative.
func (p *OIDCProvider) Break(t testing.TB, fault OIDCFault, times int) {
	t.Helper()
	p.ask(t, http.MethodPost, "/fault", url.Values{"kind": {string(fault)}, "times": {strconv.Itoa(times)}}, nil)
}

// Hanging counts the requests that a fault holds at this moment.
func (p *OIDCProvider) Hanging(t testing.TB) int {
	t.Helper()
	var count int
	p.ask(t, http.MethodGet, "/hanging", nil, &count)
	return count
}

// RevokeGrants ends every grant of a person, as an administrator would, and returns how many there were.
func (p *OIDCProvider) RevokeGrants(t testing.TB, login string) int {
	t.Helper()
	var count int
	p.ask(t, http.MethodPost, "/revoke", url.Values{"login": {login}}, &count)
	return count
}

// RefreshTokenState says what the provider would make of a refresh token: "current" (honoured), "used" (its re-use would end the
// grant), "expired", or "unknown" (never issued, or ended together with its grant).
func (p *OIDCProvider) RefreshTokenState(t testing.TB, refreshToken string) string {
	t.Helper()
	var answer struct {
		State string `json:"state"`
	}
	p.ask(t, http.MethodPost, "/refresh-token", url.Values{"value": {refreshToken}}, &answer)
	return answer.State
}

// ask uses the control port. It works in a test's cleanup too, when the test's own context has ended.
func (p *OIDCProvider) ask(t testing.TB, method, path string, form url.Values, into any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), p.control.Timeout)
	defer cancel()
	if method == http.MethodGet {
		form = nil
	}
	answer, body, err := fetch(ctx, p.control, p.admin+path, form)
	if err != nil {
		t.Fatalf("ask oidc-provider %s: %v", path, err)
	}
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("ask oidc-provider %s: %s %s", path, answer.Status, body)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatalf("ask oidc-provider %s: %v", path, err)
	}
}
