package web_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
)

// post sends a form as the operator and gives the status and the page.
func (d *desk) post(t *testing.T, cookies []*http.Cookie, target string, form url.Values) (int, string) {
	t.Helper()
	r := d.do(t, http.MethodPost, target, form, with(cookies))
	return r.StatusCode, body(t, r)
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func TestApp_TryLine(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	cookies := d.signIn(t, "").Cookies()
	for app, c := range map[string]struct {
		form url.Values
		says string
	}{
		"reads":   {url.Values{"may": {"read", "send"}}, `curl -H &#34;Authorization: Bearer $MAILGRANT_API_KEY&#34; &#39;https://grants.example/v1/mailboxes&#39;`},
		"borrows": {url.Values{"may": {"token"}, "mailboxes": {"o'hara+x@b.test"}}, `-X POST &#39;https://grants.example/v1/mailboxes/o%27hara+x@b.test/token&#39;`},
		"sends":   {url.Values{"may": {"send"}, "mailboxes": {"o'hara@b.test"}}, `--json &#39;{&#34;from&#34;:{&#34;address&#34;:&#34;o&#39;\&#39;&#39;hara@b.test&#34;}`},
		"manages": {url.Values{"may": {"manage"}}, `&#39;https://grants.example/v1/apps&#39;`},
		"invites": {url.Values{"may": {"manage"}, "mailboxes": {"a@b.test"}}, `-X POST &#39;https://grants.example/v1/mailboxes/a@b.test/authorizations&#39;`},
	} {
		t.Run(app, func(t *testing.T) {
			c.form.Set("name", app)
			code, page := d.post(t, cookies, "/apps", c.form)
			if code != http.StatusOK || !strings.Contains(page, c.says) {
				t.Fatalf("%d: %s", code, page)
			}
			if key := regexp.MustCompile(`mgk_[\w-]{43}`).FindString(page); key == "" || strings.Count(page, key) != 1 {
				t.Errorf("the key stands in the page %d times", strings.Count(page, key))
			}
		})
	}
}

func TestApp_AnEndKeepsItsHour(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	cookies := d.signIn(t, "").Cookies()
	if code, page := d.post(t, cookies, "/apps", url.Values{"name": {"desk"}, "may": {"read"}, "expires_at": {"soon"}}); code != http.StatusUnprocessableEntity || !strings.Contains(page, "This is not a date.") {
		t.Errorf("a date that is none: %d", code)
	}
	day := "2099-05-01"
	made, _, err := d.access.CreateAPIKey(t.Context(), access.Local(0).Actor, access.KeyRequest{Name: "desk", May: []access.Right{access.Read}, ExpiresAt: at(t, day+"T17:30:00Z")})
	if err != nil {
		t.Fatal(err)
	}
	for typed, want := range map[string]string{day: "2099-05-01T17:30:00Z", "2099-06-01": "2099-06-01T00:00:00Z"} {
		if err := d.access.DeleteAPIKey(t.Context(), access.Local(0).Actor, "desk"); err != nil {
			t.Fatal(err)
		}
		if _, _, err := d.access.CreateAPIKey(t.Context(), access.Local(0).Actor, access.KeyRequest{Name: "desk", May: made.May, ExpiresAt: made.ExpiresAt}); err != nil {
			t.Fatal(err)
		}
		version := hidden(t, d.page(t, cookies, "/apps/desk/change"), "version")
		if code, _ := d.post(t, cookies, "/apps/desk/change", url.Values{"may": {"send"}, "expires_at": {typed}, "version": {version}}); code != http.StatusSeeOther {
			t.Fatalf("the change: %d", code)
		}
		if k, err := d.access.APIKey(t.Context(), "desk"); err != nil || !k.ExpiresAt.Equal(at(t, want)) || len(k.May) != 1 || k.May[0] != access.Send {
			t.Errorf("%s became %+v, %v", typed, k, err)
		}
	}
}

func TestSession_ASignInEndsTheOneBeforeIt(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	first := d.signIn(t, "").Cookies()
	second := d.do(t, http.MethodPost, "/login/local", url.Values{"name": {name}, "password": {password}}, with(first)).Cookies()
	if r := d.do(t, http.MethodGet, "/me", nil, with(first)); r.StatusCode != http.StatusSeeOther {
		t.Errorf("the browser's earlier session lives on: %s", r.Status)
	}
	if r := d.do(t, http.MethodGet, "/me", nil, with(second)); r.StatusCode != http.StatusOK {
		t.Errorf("the later one: %s", r.Status)
	}
}
