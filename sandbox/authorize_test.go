package sandbox_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/sandbox/browser"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

func TestAuthorize_Refusals(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	cases := []struct {
		name      string
		overrides []string
		number    string
		redirect  string // the OAuth error that the app is told; empty: an error page
	}{
		{"redirect URI not registered", []string{"redirect_uri", "http://localhost/elsewhere"}, "AADSTS50011", ""},
		{"redirect URI with a slash too many", []string{"redirect_uri", d.redirect + "/"}, "AADSTS50011", ""},
		{"redirect URI in other case", []string{"redirect_uri", strings.ToUpper(d.redirect)}, "AADSTS50011", ""},
		{"unknown app", []string{"client_id", "99999999-0000-0000-0000-000000000000"}, "AADSTS700016", ""},
		{"app missing", []string{"client_id", ""}, "AADSTS900144", ""},
		{"unknown tenant", []string{"tenant", "nowhere.example"}, "AADSTS90002", ""},
		{"app of one tenant on common", []string{"tenant", "common"}, "AADSTS50194", ""},
		{"app of one tenant on organizations", []string{"tenant", "organizations"}, "AADSTS50194", ""},
		{"app of one tenant in another", []string{"tenant", directory.StoryForeignTenant}, "AADSTS700016", ""},
		{"consumers", []string{"tenant", "consumers"}, "AADSTS9002332", ""},
		{"ID token at this endpoint", []string{"response_type", "code id_token"}, "AADSTS700054", "unsupported_response_type"},
		{"response type missing", []string{"response_type", ""}, "AADSTS900144", "invalid_request"},
		{"unknown response mode", []string{"response_mode", "pigeon"}, "AADSTS70007", "unsupported_response_type"},
		{"scope missing", []string{"scope", ""}, "AADSTS900144", "invalid_request"},
		{"unknown permission", []string{"scope", "https://outlook.office.com/Everything"}, "AADSTS650053", "invalid_client"},
		{"unknown resource", []string{"scope", "https://mail.example/Read"}, "AADSTS500011", "invalid_resource"},
		{"default beside others", []string{"scope", "https://outlook.office.com/.default https://outlook.office.com/SMTP.Send"}, "AADSTS70011", "invalid_scope"},
		{"resource parameter", []string{"resource", "x"}, "AADSTS901002", "invalid_request"},
		{"challenge too short", []string{"code_challenge", "short"}, "AADSTS50147", "invalid_request"},
		{"challenge method unknown", []string{"code_challenge_method", "S512"}, "AADSTS50147", "invalid_request"},
		{"method without challenge", []string{"code_challenge", ""}, "AADSTS50147", "invalid_request"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d.t = t
			b := browser.New(browser.Options{})
			d.open(b, c.overrides...)
			if c.redirect != "" {
				if answered(b, "error") != c.redirect || !strings.HasPrefix(answered(b, "error_description"), c.number+": ") || answered(b, "state") != "the-state" {
					t.Errorf("the app was told %q, %q", answered(b, "error"), answered(b, "error_description"))
				}
				return
			}
			if !b.Page().Contains(c.number+":") || !b.Page().Contains("Trace ID") || len(b.Visited()) != 1 {
				t.Errorf("no error page with %s: %s", c.number, b.Page().Text)
			}
		})
	}
}

func TestAuthorize_Answers(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	t.Run("form_post: the app is posted to", func(t *testing.T) {
		d.t = t
		b := browser.New(browser.Options{})
		d.open(b, "response_mode", "form_post")
		d.must(b.SignIn(d.ctx, directory.StoryDesk, directory.StoryDeskPassword))
		if b.Shows() != "formpost" {
			t.Fatal(b.Page().Text)
		}
		d.must(b.Submit(d.ctx, browser.FormID("formpost"), nil))
		if b.Page().Header.Get("X-Method") != http.MethodPost || answered(b, "code") == "" || answered(b, "state") != "the-state" {
			t.Errorf("called back by %s with code %q", b.Page().Header.Get("X-Method"), answered(b, "code"))
		}
	})
	t.Run("fragment: the answer stays in the browser", func(t *testing.T) {
		d.t = t
		b := browser.New(browser.Options{})
		d.open(b, "response_mode", "fragment")
		d.must(b.SignIn(d.ctx, directory.StoryDesk, directory.StoryDeskPassword))
		at, err := url.Parse(b.Page().URL)
		d.must(err)
		if answered(b, "code") != "" || !strings.Contains(at.Fragment, "code=") {
			t.Error(at)
		}
	})
	t.Run("a redirect URI's own query is kept", func(t *testing.T) {
		d.t = t
		b := browser.New(browser.Options{})
		d.open(b, "redirect_uri", d.redirect+"?from=entra")
		d.must(b.SignIn(d.ctx, directory.StoryDesk, directory.StoryDeskPassword))
		if answered(b, "from") != "entra" || answered(b, "code") == "" {
			t.Error(b.Page().URL)
		}
	})
	t.Run("the tenant by its domain", func(t *testing.T) {
		d.t = t
		answer := d.redeem(d.codeFor(directory.StoryDesk, "tenant", directory.StoryDomain), "tenant", strings.ToUpper(directory.StoryDomain))
		if claims(t, answer.IDToken)["iss"] != d.about.Issuer {
			t.Error(answer.ErrorDescription)
		}
	})
	t.Run("plain code challenge", func(t *testing.T) {
		d.t = t
		code := d.codeFor(directory.StoryDesk, "code_challenge", verifier, "code_challenge_method", "")
		if wrong := d.redeem(code, "code_verifier", strings.Repeat("y", 43)); wrong.code() != 501481 {
			t.Errorf("wrong verifier: %s", wrong.ErrorDescription)
		}
		if answer := d.redeem(code); answer.Status != http.StatusOK {
			t.Error(answer.ErrorDescription)
		}
	})
	t.Run("without a challenge, a verifier is refused", func(t *testing.T) {
		d.t = t
		code := d.codeFor(directory.StoryDesk, "code_challenge", "", "code_challenge_method", "")
		if answer := d.redeem(code); answer.code() != 501481 {
			t.Errorf("with a verifier: %+v", answer)
		}
		if answer := d.redeem(code, "code_verifier", ""); answer.Status != http.StatusOK {
			t.Error(answer.ErrorDescription)
		}
	})
	t.Run("without offline_access there is no refresh token, without openid no ID token", func(t *testing.T) {
		d.t = t
		answer := d.redeem(d.codeFor(directory.StoryDesk, "scope", "https://outlook.office.com/SMTP.Send"))
		if answer.AccessToken == "" || answer.RefreshToken != "" || answer.IDToken != "" {
			t.Errorf("refresh token: %t, ID token: %t", answer.RefreshToken != "", answer.IDToken != "")
		}
	})
	t.Run("a remembered user of another tenant: error page", func(t *testing.T) {
		d.t = t
		b := d.signedIn(directory.StoryForeigner)
		d.open(b)
		if !b.Page().Contains("AADSTS50020") {
			t.Error(b.Page().Text)
		}
	})
}

func TestAuthorize_Consent(t *testing.T) {
	t.Parallel()
	const graphMail = "openid offline_access https://graph.microsoft.com/Mail.Read"
	ask := func(t *testing.T, d *desk, user string, overrides ...string) *browser.Browser {
		t.Helper()
		b := browser.New(browser.Options{})
		d.open(b, append([]string{"scope", graphMail}, overrides...)...)
		d.must(b.SignIn(d.ctx, user, d.password(user)))
		return b
	}
	t.Run("asked in words, accepted once, not asked again", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		b := ask(t, d, directory.StoryDesk)
		if b.Shows() != "consent" || !b.Page().Contains("Read your mail") || !b.Page().Contains("Mail connector") {
			t.Fatal(b.Page().Text)
		}
		if b.Page().Contains("on behalf of your organization") {
			t.Error("somebody who is no administrator is offered to consent for all")
		}
		d.must(b.Consent(d.ctx, true))
		if answer := d.redeem(answered(b, "code")); !strings.Contains(answer.Scope, "Mail.Read") {
			t.Errorf("granted %q", answer.Scope)
		}
		if b = ask(t, d, directory.StoryDesk); answered(b, "code") == "" {
			t.Errorf("asked again: %s", b.Page().Text)
		}
	})
	t.Run("declined: the app is told", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		b := ask(t, d, directory.StoryDesk)
		d.must(b.Consent(d.ctx, false))
		if answered(b, "error") != "access_denied" || !strings.HasPrefix(answered(b, "error_description"), "AADSTS65004: ") {
			t.Errorf("%s: %s", answered(b, "error"), answered(b, "error_description"))
		}
	})
	t.Run("by an administrator for everybody", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		b := ask(t, d, directory.StoryAdele)
		d.must(b.Submit(d.ctx, browser.Button("Accept"), map[string]string{"whole_tenant": "yes"}))
		if b = ask(t, d, directory.StoryDesk); answered(b, "code") == "" {
			t.Errorf("the desk is asked all the same: %s", b.Page().Text)
		}
	})
	t.Run("none: not asked, interaction_required", func(t *testing.T) {
		t.Parallel()
		d := newDesk(t)
		b := d.signedIn(directory.StoryDesk)
		d.open(b, "scope", graphMail, "prompt", "none")
		if answered(b, "error") != "interaction_required" || !strings.HasPrefix(answered(b, "error_description"), "AADSTS65001: ") {
			t.Error(answered(b, "error"))
		}
	})
	for consent, number := range map[directory.Consent]string{directory.ConsentByAdmin: "AADSTS90094", directory.ConsentByRequest: "AADSTS90095"} {
		t.Run("only administrators may: "+number, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			d.must(d.World().SetUserConsent(directory.StoryTenantID, consent))
			b := ask(t, d, directory.StoryDesk)
			if b.Shows() != "approval" || !b.Page().Contains(number) {
				t.Fatal(b.Page().Text)
			}
			d.must(b.Submit(d.ctx, browser.FormID("approval"), nil))
			if answered(b, "error") != "access_denied" {
				t.Error(answered(b, "error"))
			}
			b = browser.New(browser.Options{})
			d.open(b, "prompt", "consent")
			d.must(b.SignIn(d.ctx, directory.StoryDesk, directory.StoryDeskPassword))
			if b.Shows() != "approval" {
				t.Error("prompt=consent went through though an administrator's consent is all there can be")
			}
			if b = ask(t, d, directory.StoryAdele); b.Shows() != "consent" {
				t.Error("the administrator is not asked")
			}
		})
	}
}

func TestPages_Headers(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	b := browser.New(browser.Options{})
	d.open(b)
	header := b.Page().Header
	policy := header.Get("Content-Security-Policy")
	app, _ := url.Parse(d.redirect)
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "form-action 'self' " + app.Scheme + "://" + app.Host} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %q", policy, want)
		}
	}
	cookie := header.Get("Set-Cookie")
	if !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Lax") || strings.Contains(cookie, "Secure") {
		t.Errorf("cookie over plain HTTP: %s", cookie)
	}
	if header.Get("Cache-Control") != "no-store" || header.Get("Referrer-Policy") != "no-referrer" {
		t.Error("the page may be kept or leaks its address")
	}
	for _, name := range []string{"sandbox.css", "icon.svg", "formpost.js"} {
		d.must(b.Open(d.ctx, d.about.BaseURL+"/sandbox/assets/"+name))
		if b.Page().Status != http.StatusOK {
			t.Errorf("%s: status %d", name, b.Page().Status)
		}
	}
	d.must(b.Open(d.ctx, d.about.BaseURL+"/error?code=50126"))
	if !b.Page().Contains("invalid username or password") {
		t.Error(b.Page().Text)
	}
}
