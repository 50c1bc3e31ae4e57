package acceptance_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// TestHeaders_OfEveryPage holds pages of all sorts to the same headers.
func TestHeaders_OfEveryPage(t *testing.T) {
	t.Parallel()
	s := openSite(t, 0)
	desk := s.addMailbox(t, directory.StoryDesk, "")
	for name, address := range map[string]string{
		"sign-in": s.base + "/login/local", "list, signed out": s.base + "/", "link": s.link(t, desk.Address), "unknown link": s.base + "/authorize/x",
		"set-up": s.setupLink(t), "forged answer": s.base + "/oauth/callback?state=x&code=y", "problem": s.base + "/sign-in-problem", "nowhere": s.base + "/nowhere",
	} {
		t.Run(name, func(t *testing.T) {
			r := s.get(t, address)
			policy := r.Header.Get("Content-Security-Policy")
			for _, want := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
				if !strings.Contains(policy, want) {
					t.Errorf("the policy lacks %s: %s", want, policy)
				}
			}
			if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
				t.Errorf("the policy is loose: %s", policy)
			}
			for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"} {
				if got := r.Header.Get(header); got != want {
					t.Errorf("%s is %q, want %q", header, got, want)
				}
			}
			if r.StatusCode < 300 || r.StatusCode > 399 {
				if got := r.Header.Get("Cache-Control"); got != "no-store" {
					t.Errorf("Cache-Control is %q: a page could be kept by a cache", got)
				}
			}
			if inline := regexp.MustCompile(`(?i)<script>|<style|\sstyle=|\son[a-z]+=|javascript:`).FindString(r.body); inline != "" {
				t.Errorf("the page holds %q", inline)
			}
		})
	}
}

// TestAddresses_OfTheReferenceSystem keep working.
func TestAddresses_OfTheReferenceSystem(t *testing.T) {
	t.Parallel()
	s := openSite(t, 0)
	t.Run("side_door.do", func(t *testing.T) {
		if r := s.get(t, s.base+"/side_door.do"); r.StatusCode != http.StatusPermanentRedirect || r.Header.Get("Location") != "/login/local" {
			t.Errorf("%s to %q", r.Status, r.Header.Get("Location"))
		}
	})
	for _, path := range []string{"/oauth/callback", "/oauth_redirect.do"} {
		t.Run(path, func(t *testing.T) {
			r := s.get(t, s.base+path+"?code=made-up&state=forged")
			if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/sign-in-problem" {
				t.Errorf("%s to %q, want 303 to a clean address", r.Status, r.Header.Get("Location"))
			}
		})
	}
}

// TestForms_OfOtherSites are refused, and change nothing.
func TestForms_OfOtherSites(t *testing.T) {
	t.Parallel()
	s := openSite(t, 0)
	desk := s.addMailbox(t, directory.StoryDesk, "")
	begun := s.begin(t, desk.Address)
	setup := s.setupLink(t)
	for name, header := range map[string]http.Header{
		"a browser that tells the site":   {"Sec-Fetch-Site": {"cross-site"}},
		"a browser that tells the origin": {"Origin": {"https://evil.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, address := range []string{
				begun.URL.Reveal(), setup, s.base + "/login/local", s.base + "/logout",
				s.mailboxPage(desk.Address) + "/link", s.mailboxPage(desk.Address) + "/revoke",
			} {
				r := s.post(t, address, url.Values{"name": {operatorName}, "password": {operatorPassword}}, header)
				if r.StatusCode != http.StatusForbidden || !strings.Contains(r.body, "This request came from another site") || len(r.Cookies()) > 0 {
					t.Errorf("%s: %s with %d cookies", strings.TrimPrefix(address, s.base), r.Status, len(r.Cookies()))
				}
			}
			if n := s.attempts(t, begun.ID); n != 0 {
				t.Errorf("%d attempts", n)
			}
			if ops, err := s.Access.Operators(t.Context()); err != nil || len(ops) > 0 {
				t.Errorf("%d operators, %v", len(ops), err)
			}
		})
	}
	t.Run("the same form from here is taken", func(t *testing.T) {
		r := s.post(t, begun.URL.Reveal(), nil, http.Header{"Origin": {s.base}, "Sec-Fetch-Site": {"same-origin"}})
		if r.StatusCode != http.StatusOK || s.attempts(t, begun.ID) != 1 {
			t.Errorf("%s", r.Status)
		}
		c := r.Cookies()
		if len(c) != 1 || !strings.HasPrefix(c[0].Name, "__Host-") || !c[0].Secure || !c[0].HttpOnly || c[0].Path != "/" || c[0].Domain != "" || c[0].SameSite != http.SameSiteLaxMode {
			t.Errorf("cookies %v", c)
		}
	})
}

// TestOperatorPages_NeedASignIn, all of them.
func TestOperatorPages_NeedASignIn(t *testing.T) {
	t.Parallel()
	s := openSite(t, 0)
	desk := s.addMailbox(t, directory.StoryDesk, "")
	page := s.mailboxPage(desk.Address)
	for _, address := range []string{s.base + "/", page} {
		if r := s.get(t, address); r.StatusCode != http.StatusSeeOther || !strings.HasPrefix(r.Header.Get("Location"), "/login/local") || strings.Contains(r.body, desk.Address) {
			t.Errorf("GET %s: %s to %s", address, r.Status, r.Header.Get("Location"))
		}
	}
	for _, verb := range []string{"link", "test", "pause", "resume", "revoke"} {
		if r := s.post(t, page+"/"+verb, nil, nil); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/login/local" {
			t.Errorf("POST %s: %s to %s", verb, r.Status, r.Header.Get("Location"))
		}
		if r := s.post(t, page+"/"+verb, nil, http.Header{"Hx-Request": {"true"}}); r.StatusCode != http.StatusUnauthorized || r.Header.Get("HX-Redirect") != "/login/local" {
			t.Errorf("POST %s by a script: %s to %s", verb, r.Status, r.Header.Get("HX-Redirect"))
		}
	}
	if m, err := s.Connect.Mailboxes.Get(t.Context(), desk.Address); err != nil || m.Paused {
		t.Errorf("the mailbox was paused: %v", err)
	}
}
