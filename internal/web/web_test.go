package web_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/store/storetest"
	"github.com/mailgrant/mailgrant/internal/web"
)

const (
	name     = "anna"
	password = "a made-up sentence for tests"
)

// desk is the pages on a real store, with one operator.
type desk struct {
	pages  *web.Pages
	store  *store.Store
	access *access.Access
}

// kind is a provider's kind that knows no tenant; it says how often it was asked.
type kind struct {
	provider.Kind
	asked *atomic.Int32
}

func (k kind) Verify(context.Context, provider.Registration) error {
	return &fault.Error{ID: "oauth.unknown_tenant", Kind: fault.Refused, Text: fmt.Sprintf("The tenant is unknown, it said %d times.", k.asked.Add(1)), Remedy: "Correct it.", Who: []fault.Who{fault.Operator}}
}

func (kind) Mail(provider.Record, protocol.Name) protocol.Endpoint {
	return protocol.Endpoint{Host: "mail.example"}
}

func (kind) Traits() provider.Traits { return provider.Traits{Kind: "double", Title: "Contoso Mail"} }

func open(t *testing.T, change func(*web.Options)) *desk {
	t.Helper()
	s := storetest.OpenSQLite(t)
	keys, err := seal.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	c, err := connect.New(connect.Needs{
		Providers: s, Mailboxes: s, Links: s, Grants: s, Aside: s, Events: s, Keys: keys, PublicURL: "https://grants.example", Now: time.Now,
		Kinds:  func(name string) (provider.Kind, bool) { return kind{asked: &asked}, name == "double" },
		Probes: func(protocol.Name) protocol.Prober { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{store: s, access: access.New(access.Needs{Operators: s, Sessions: s, Keys: s, Events: s, LocalLogin: true, CheapPasswords: true})}
	public, err := url.Parse("https://grants.example")
	if err != nil {
		t.Fatal(err)
	}
	o := web.Options{Connect: c, Access: d.access, Reads: s, PublicURL: public}
	o.Overview = &diagnose.Overview{Reads: s, Endings: &diagnose.Endings{Store: s, Providers: c.Providers, Now: time.Now}, LastRun: time.Now, Silent: time.Minute, Now: time.Now}
	if change != nil {
		change(&o)
	}
	if d.pages, err = web.New(o); err != nil {
		t.Fatal(err)
	}
	link, _, err := d.access.IssueSetup(t.Context(), event.System())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.access.CompleteSetup(t.Context(), link.Reveal(), name, password, access.Visit{}); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) do(t *testing.T, method, target string, form url.Values, change func(*http.Request)) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "https://grants.example"+target, strings.NewReader(form.Encode()))
	r.RemoteAddr = "192.0.2.7:4711"
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	d.pages.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	var b strings.Builder
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (d *desk) signIn(t *testing.T, next string) *http.Response {
	t.Helper()
	return d.do(t, http.MethodPost, "/login/local", url.Values{"name": {name}, "password": {password}, "next": {next}}, nil)
}

func with(cookies []*http.Cookie) func(*http.Request) {
	return func(r *http.Request) {
		for _, c := range cookies {
			r.AddCookie(c)
		}
	}
}

func TestSignIn_LeadsOnlyToOurOwnPages(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	for next, want := range map[string]string{
		"":                     "/",
		"/mailboxes/a@b.test":  "/mailboxes/a@b.test",
		"https://evil.example": "/",
		"//evil.example":       "/",
		`/\evil.example`:       "/",
		"/a\r\nSet-Cookie: x":  "/",
		"/\t/evil.example":     "/",
		"evil":                 "/",
	} {
		t.Run(next, func(t *testing.T) {
			if r := d.signIn(t, next); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != want {
				t.Errorf("%s to %q, want %q", r.Status, r.Header.Get("Location"), want)
			}
		})
	}
}

func TestSession_CookieAndItsEnd(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	cookies := d.signIn(t, "").Cookies()
	if len(cookies) != 1 {
		t.Fatalf("cookies %v", cookies)
	}
	c := cookies[0]
	if c.Name != "__Host-mailgrant" || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
		t.Errorf("the cookie is %v", c)
	}
	if r := d.do(t, http.MethodGet, "/", nil, with(cookies)); r.StatusCode != http.StatusOK || !strings.Contains(body(t, r), "eight steps") {
		t.Errorf("the list: %s", r.Status)
	}
	if r := d.do(t, http.MethodPost, "/logout", nil, with(cookies)); r.StatusCode != http.StatusSeeOther {
		t.Errorf("signing out: %s", r.Status)
	}
	if r := d.do(t, http.MethodGet, "/", nil, with(cookies)); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/login/local" {
		t.Errorf("after signing out the cookie still works: %s", r.Status)
	}
	planted := &http.Cookie{Name: c.Name, Value: "planted"}
	again := d.do(t, http.MethodPost, "/login/local", url.Values{"name": {name}, "password": {password}}, with([]*http.Cookie{planted})).Cookies()
	if len(again) != 1 || again[0].Value == planted.Value {
		t.Error("a session planted before the sign-in lives on after it")
	}
}

func TestSignIn_CountsByTheRealAddress(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		outcome, forwarded, want string
		trusted                  []netip.Prefix
	}{
		{"nobody is trusted", "198.51.100.9", "192.0.2.7", nil},
		{"a trusted proxy is believed", "198.51.100.9", "198.51.100.9", []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		{"only as far as proxies are trusted", "203.0.113.1, 198.51.100.9", "198.51.100.9", []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		{"nonsense ends the chain", "nonsense", "192.0.2.7", []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
	} {
		t.Run(one.outcome, func(t *testing.T) {
			t.Parallel()
			d := open(t, func(o *web.Options) { o.TrustedProxies = one.trusted })
			d.do(t, http.MethodPost, "/login/local", url.Values{"name": {name}, "password": {"wrong"}}, func(r *http.Request) {
				r.Header.Set("X-Forwarded-For", one.forwarded)
			})
			events, err := d.store.Events(t.Context(), event.Filter{Patterns: []event.Pattern{event.Pattern(event.SignInRefused)}, Limit: 5})
			if err != nil || len(events) != 1 {
				t.Fatalf("%d events, %v", len(events), err)
			}
			if got := events[0].Data["from"]; got != one.want {
				t.Errorf("the failure is counted for %v, want %s", got, one.want)
			}
		})
	}
}

func TestSignIn_CanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	d := open(t, func(o *web.Options) {
		s := o.Reads.(*store.Store)
		o.Access = access.New(access.Needs{Operators: s, Sessions: s, Keys: s, Events: s})
	})
	if r := d.do(t, http.MethodGet, "/login/local", nil, nil); r.StatusCode != http.StatusNotFound || !strings.Contains(body(t, r), "login.local is false") {
		t.Errorf("the page: %s", r.Status)
	}
	if r := d.signIn(t, ""); r.StatusCode != http.StatusNotFound || len(r.Cookies()) > 0 {
		t.Errorf("%s with %d cookies", r.Status, len(r.Cookies()))
	}
}

func TestAssets_AreNamedByContent(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	r := d.do(t, http.MethodGet, "/login/local", nil, nil)
	if r.Header.Get("Strict-Transport-Security") == "" {
		t.Error("served by https without Strict-Transport-Security")
	}
	found := regexp.MustCompile(`/assets/[0-9a-f]{12}/[a-z.]+`).FindAllString(body(t, r), -1)
	if len(found) < 3 {
		t.Fatalf("the page loads %v", found)
	}
	for _, address := range found {
		a := d.do(t, http.MethodGet, address, nil, nil)
		if a.StatusCode != http.StatusOK || !strings.Contains(a.Header.Get("Cache-Control"), "immutable") || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/") {
			t.Errorf("%s: %s, %s, %s", address, a.Status, a.Header.Get("Cache-Control"), a.Header.Get("Content-Type"))
		}
	}
	for _, address := range []string{"/assets/000000000000/app.css", "/assets/../web.go", "/assets/x/%2e%2e%2fweb.go"} {
		if a := d.do(t, http.MethodGet, address, nil, nil); a.StatusCode == http.StatusOK {
			t.Errorf("%s is served", address)
		}
	}
}

func TestPages_ShowNoMarkupOfStrangers(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	const evil = `<script>alert(1)</script>@x.test`
	words := base64.RawURLEncoding.EncodeToString([]byte(`{"text":"` + evil + `","remedy":"` + evil + `","reference":"` + evil + `"}`))
	signedIn := d.do(t, http.MethodPost, "/login/local", url.Values{"name": {name}, "password": {password}}, func(r *http.Request) { r.Header.Set("User-Agent", evil) }).Cookies()
	post := func(target, field string) *http.Response {
		return d.do(t, http.MethodPost, target, url.Values{field: {evil}}, with(signedIn))
	}
	for outcome, r := range map[string]*http.Response{
		"a planted problem":    d.do(t, http.MethodGet, "/sign-in-problem", nil, with([]*http.Cookie{{Name: "__Host-mailgrant-problem", Value: words}})),
		"a broken problem":     d.do(t, http.MethodGet, "/sign-in-problem", nil, with([]*http.Cookie{{Name: "__Host-mailgrant-problem", Value: "%%%"}})),
		"a name":               d.do(t, http.MethodPost, "/login/local", url.Values{"name": {evil}, "password": {"x"}}, nil),
		"a link":               d.do(t, http.MethodGet, "/authorize/"+url.PathEscape(evil), nil, nil),
		"a browser's name":     d.do(t, http.MethodGet, "/me", nil, with(signedIn)),
		"an app's name":        post("/apps", "name"),
		"an app's mailboxes":   post("/apps", "mailboxes"),
		"an operator's name":   post("/operators", "name"),
		"an unknown app":       d.do(t, http.MethodGet, "/apps/"+url.PathEscape(evil), nil, with(signedIn)),
		"an unknown operator":  d.do(t, http.MethodGet, "/operators/"+url.PathEscape(evil), nil, with(signedIn)),
		"an unknown mailbox":   d.do(t, http.MethodGet, "/mailboxes/"+url.PathEscape(evil), nil, with(signedIn)),
		"a provider's refusal": d.do(t, http.MethodGet, "/oauth/callback?error="+url.QueryEscape(evil)+"&error_description="+url.QueryEscape(evil), nil, nil),
	} {
		t.Run(outcome, func(t *testing.T) {
			if text := body(t, r); strings.Contains(text, "<script>") {
				t.Errorf("the page holds the stranger's markup: %s", text)
			}
		})
	}
}

func TestForms_OfAnySize(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	r := d.do(t, http.MethodPost, "/login/local", url.Values{"name": {strings.Repeat("a", 100<<10)}}, nil)
	if r.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(body(t, r), "The form could not be read.") {
		t.Errorf("a form of 100 KiB: %s", r.Status)
	}
}
