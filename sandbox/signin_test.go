package sandbox_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/sandbox/browser"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// TestAuthorize_Who goes through every combination of prompt, login_hint and remembered sessions.
func TestAuthorize_Who(t *testing.T) {
	t.Parallel()
	const adele, desk, megan = directory.StoryAdele, directory.StoryDesk, directory.StoryMegan
	d := newDesk(t)
	cases := []struct {
		name     string
		sessions []string
		prompt   string
		hint     string
		device   string
		shows    string // the page shown, or "" for an answer to the app
		user     string // whose code came, when shows is empty and no error is wanted
		err      string
		number   string
		prefill  string
	}{
		{name: "nobody is signed in: sign-in page", shows: "signin"},
		{name: "nobody, hint: sign-in page with the name filled in", hint: desk, shows: "signin", prefill: desk},
		{name: "one is signed in: taken silently", sessions: []string{adele}, user: adele},
		{name: "two are signed in: account picker", sessions: []string{adele, megan}, shows: "picker"},
		{name: "hint names one of two: that one silently", sessions: []string{adele, megan}, hint: megan, user: megan},
		{name: "hint in other case names the only one", sessions: []string{adele}, hint: strings.ToUpper(adele), user: adele},
		{name: "hint names somebody else: sign-in page with the name filled in", sessions: []string{adele}, hint: desk, shows: "signin", prefill: desk},
		{name: "login, nobody: sign-in page", prompt: "login", shows: "signin"},
		{name: "login, one signed in: password is asked all the same", sessions: []string{adele}, prompt: "login", shows: "signin"},
		{name: "login and hint: the name is filled in", sessions: []string{adele}, prompt: "login", hint: desk, shows: "signin", prefill: desk},
		{name: "login and hint of the one signed in: password is asked", sessions: []string{adele}, prompt: "login", hint: adele, shows: "signin", prefill: adele},
		{name: "select_account, nobody: sign-in page", prompt: "select_account", shows: "signin"},
		{name: "select_account, one: picker", sessions: []string{adele}, prompt: "select_account", shows: "picker"},
		{name: "select_account, two: picker", sessions: []string{adele, megan}, prompt: "select_account", shows: "picker"},
		{name: "select_account with hint: refused", sessions: []string{adele}, prompt: "select_account", hint: desk, err: "invalid_request", number: "AADSTS90005"},
		{name: "consent, nobody: sign-in page first", prompt: "consent", shows: "signin"},
		{name: "consent, one: consent page for that one", sessions: []string{adele}, prompt: "consent", shows: "consent"},
		{name: "consent, two: picker first", sessions: []string{adele, megan}, prompt: "consent", shows: "picker"},
		{name: "none, nobody: login_required", prompt: "none", err: "login_required", number: "AADSTS50058"},
		{name: "none, one: taken silently", sessions: []string{adele}, prompt: "none", user: adele},
		{name: "none, two: interaction_required", sessions: []string{adele, megan}, prompt: "none", err: "interaction_required", number: "AADSTS16000"},
		{name: "none and hint of one of two: that one", sessions: []string{adele, megan}, prompt: "none", hint: megan, user: megan},
		{name: "none and hint of somebody else: login_required", sessions: []string{adele}, prompt: "none", hint: desk, err: "login_required", number: "AADSTS50058"},
		{name: "unknown prompt: refused", prompt: "please", err: "invalid_request", number: "AADSTS90023"},
		{name: "device, no prompt: the device's user", device: adele, user: adele},
		{name: "device, login and hint of another: ignored", device: adele, prompt: "login", hint: desk, user: adele},
		{name: "device, select_account: ignored", device: adele, prompt: "select_account", sessions: []string{megan}, user: adele},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d.t = t
			b := d.signedIn(c.sessions...)
			d.must(d.World().SetDeviceUser(c.device))
			defer func() { d.must(d.World().SetDeviceUser("")) }()
			d.open(b, "prompt", c.prompt, "login_hint", c.hint)
			page := b.Page()
			switch {
			case c.shows != "":
				if got := b.Shows(); got != c.shows {
					t.Fatalf("the %s page was wanted, got %q: %s", c.shows, got, page.Text)
				}
				if c.shows == "signin" {
					if got := page.Forms[0].Fields.Get("loginfmt"); got != c.prefill {
						t.Errorf("the user name is filled in with %q, want %q", got, c.prefill)
					}
				}
			case c.err != "":
				if answered(b, "error") != c.err || !strings.HasPrefix(answered(b, "error_description"), c.number+": ") {
					t.Errorf("error %q (%s), want %s and %s", answered(b, "error"), answered(b, "error_description"), c.err, c.number)
				}
				if answered(b, "state") != "the-state" {
					t.Errorf("state %q did not come back", answered(b, "state"))
				}
			default:
				answer := d.redeem(answered(b, "code"))
				if got := claims(t, answer.IDToken)["preferred_username"]; got != c.user {
					t.Errorf("the code is for %v, want %s", got, c.user)
				}
			}
		})
	}
}

func TestSignIn_Page(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	open := func(t *testing.T) *browser.Browser {
		d.t = t
		b := browser.New(browser.Options{})
		d.open(b)
		if !b.Page().Contains("Sandbox sign-in – not Microsoft") {
			t.Error("the page does not say that it is a sandbox")
		}
		return b
	}
	t.Run("wrong password: says so and asks again", func(t *testing.T) {
		b := open(t)
		d.must(b.SignIn(d.ctx, directory.StoryDesk, "wrong"))
		if b.Shows() != "signin" || !b.Page().Contains("AADSTS50126") {
			t.Fatal(b.Page().Text)
		}
		d.must(b.SignIn(d.ctx, directory.StoryDesk, directory.StoryDeskPassword))
		if answered(b, "code") == "" {
			t.Error("the right password afterwards was not accepted")
		}
	})
	t.Run("unknown user: says so", func(t *testing.T) {
		b := open(t)
		d.must(b.SignIn(d.ctx, "nobody@"+directory.StoryDomain, "x"))
		if !b.Page().Contains("AADSTS50034") {
			t.Error(b.Page().Text)
		}
	})
	t.Run("disabled user: says so", func(t *testing.T) {
		d.t = t
		d.must(d.World().SetUserDisabled(directory.StoryMegan, true))
		defer func() { d.must(d.World().SetUserDisabled(directory.StoryMegan, false)) }()
		b := open(t)
		d.must(b.SignIn(d.ctx, directory.StoryMegan, directory.StoryMeganPassword))
		if !b.Page().Contains("AADSTS50057") {
			t.Error(b.Page().Text)
		}
	})
	t.Run("user of another tenant: error page, no redirect", func(t *testing.T) {
		b := open(t)
		d.must(b.SignIn(d.ctx, directory.StoryForeigner, directory.StoryForeignerPass))
		if !b.Page().Contains("AADSTS50020") || !b.Page().Contains("Correlation ID") || answered(b, "error") != "" {
			t.Error(b.Page().Text)
		}
	})
	t.Run("a page of another browser: expired", func(t *testing.T) {
		b := open(t)
		b.Forget()
		d.must(b.SignIn(d.ctx, directory.StoryDesk, directory.StoryDeskPassword))
		if !b.Page().Contains("AADSTS50089") {
			t.Error(b.Page().Text)
		}
	})
}

func TestSignIn_Picker(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	t.Run("picker: the chosen user needs no password", func(t *testing.T) {
		d.t = t
		b := d.signedIn(directory.StoryAdele, directory.StoryMegan)
		d.open(b, "prompt", "select_account")
		d.must(b.Pick(d.ctx, directory.StoryMegan))
		if got := claims(t, d.redeem(answered(b, "code")).IDToken)["preferred_username"]; got != directory.StoryMegan {
			t.Errorf("picked Megan, got %v", got)
		}
	})
	t.Run("picker: another account signs in", func(t *testing.T) {
		d.t = t
		b := d.signedIn(directory.StoryAdele)
		d.open(b, "prompt", "select_account")
		d.must(b.PickAnother(d.ctx))
		d.must(b.SignIn(d.ctx, directory.StoryDesk, directory.StoryDeskPassword))
		if got := claims(t, d.redeem(answered(b, "code")).IDToken)["preferred_username"]; got != directory.StoryDesk {
			t.Errorf("signed in as the desk, got %v", got)
		}
	})
}

func TestSignIn_Home(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	t.Run("home page: says who is remembered, signs in and out", func(t *testing.T) {
		d.t = t
		b := browser.New(browser.Options{})
		d.must(b.Open(d.ctx, d.about.BaseURL+"/"))
		if !b.Page().Contains("Nobody is signed in.") {
			t.Error(b.Page().Text)
		}
		d.must(b.SignIn(d.ctx, directory.StoryAdele, "wrong"))
		if !b.Page().Contains("AADSTS50126") {
			t.Error(b.Page().Text)
		}
		d.must(b.SignIn(d.ctx, directory.StoryAdele, directory.StoryAdelePassword))
		if !b.Page().Contains("Adele Vance") {
			t.Error(b.Page().Text)
		}
		d.must(b.Submit(d.ctx, browser.FormID("signout"), nil))
		d.open(b)
		if b.Shows() != "signin" {
			t.Error("Adele is still signed in")
		}
	})
	t.Run("home page: no other site can sign this browser in", func(t *testing.T) {
		d.t = t
		request, err := http.NewRequestWithContext(d.ctx, http.MethodPost, d.about.BaseURL+"/sign-in", strings.NewReader("loginfmt="+directory.StoryAdele))
		d.must(err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Sec-Fetch-Site", "cross-site")
		response, err := http.DefaultClient.Do(request)
		d.must(err)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusForbidden {
			t.Errorf("status %d", response.StatusCode)
		}
	})
}

func TestSignIn_SessionsEnd(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	t.Run("sign out: the next one is asked", func(t *testing.T) {
		d.t = t
		b := d.signedIn(directory.StoryAdele)
		d.must(b.Open(d.ctx, d.about.Logout))
		if !b.Page().Contains("You signed out") {
			t.Error(b.Page().Text)
		}
		d.open(b)
		if b.Shows() != "signin" {
			t.Error("somebody is still signed in")
		}
	})
	t.Run("revoked sessions: the browser is asked again", func(t *testing.T) {
		d.t = t
		b := d.signedIn(directory.StoryMegan)
		d.must(d.World().RevokeSessions(directory.StoryMegan))
		d.open(b)
		if b.Shows() != "signin" {
			t.Error("the revoked session still signs in")
		}
	})
}
