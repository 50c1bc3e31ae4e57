package acceptance_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// calls answers the status of a call with an API key that reads the mailbox of the story.
func (s *site) calls(t *testing.T, key string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+"/v1/mailboxes/"+directory.StoryDesk, nil)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+key)
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	must(t, answer.Body.Close())
	return answer.StatusCode
}

func (v *visitor) text(selector string) string {
	v.t.Helper()
	return v.evaluate(fmt.Sprintf(`document.querySelector(%q).textContent`, selector))
}

// toggle gives or takes a right in the form of an app.
func (v *visitor) toggle(right string) {
	v.t.Helper()
	box := fmt.Sprintf(`document.querySelector('input[name="may"][value="%s"]')`, right)
	if before, after := v.evaluate(`String(`+box+`.checked)`), v.evaluate(box+`.click() ?? String(`+box+`.checked)`); before == after {
		v.t.Fatalf("the right %s stays %s", right, before)
	}
}

// appPages are programs and their API keys.
func appPages(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	s.addMailbox(t, directory.StoryDesk, "")
	v := s.visit(t, chromium)
	v.becomeOperator()
	key := ""
	t.Run("an empty list teaches how the first is added", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/apps")
		v.says(v.heading("Apps"), "No app yet", "mailgrant app create")
		v.click(`main a[href="/new/app"]`)
		v.heading("Add an app")
		v.clean()
	})
	t.Run("every mistake is told beside its field, and what was typed stays", func(t *testing.T) {
		v.t = t
		v.fill("#name", "Service Desk")
		v.fill("#mailboxes", "nobody\n"+directory.StoryDesk)
		v.fill("#networks", "10.0.0.0/99")
		v.toggle("send")
		v.click(".card-footer button")
		v.awaitText("#name-help.invalid-feedback", "not a usable name")
		v.awaitText("#mailboxes-help.invalid-feedback", "nobody")
		v.awaitText("#networks-help.invalid-feedback", "is not a network")
		for selector, want := range map[string]string{
			"#name": "Service Desk", "#networks": "10.0.0.0/99", "#mailboxes": "nobody " + directory.StoryDesk, `input[value="send"]:checked`: "send",
		} {
			if got := v.evaluate(fmt.Sprintf(`document.querySelector(%q).value`, selector)); got != want {
				t.Errorf("%s holds %q, want %q", selector, got, want)
			}
		}
		v.clean()
	})
	t.Run("the key is shown once, with a line to try it that does not hold it", func(t *testing.T) {
		v.t = t
		v.fill("#name", "service-desk")
		v.fill("#mailboxes", directory.StoryDesk)
		v.fill("#networks", "127.0.0.1")
		v.click(".card-footer button")
		v.says(v.heading("service-desk"), "The API key of service-desk", "shown this once", "127.0.0.1/32", "by "+operatorName)
		key = v.text("#fresh-key")
		if line := v.text("#key-try"); !strings.Contains(line, "curl") || !strings.Contains(line, s.base+"/v1/mailboxes") || strings.Contains(line, key) {
			t.Errorf("the line is %s", line)
		}
		v.click(`[data-copy="fresh-key"]`)
		v.awaitText(`[data-copy="fresh-key"]`, "Copied")
		v.clean()
		if got := s.calls(t, key); got != http.StatusOK {
			t.Errorf("the key is answered with %d", got)
		}
		v.open(s.base + "/apps/service-desk")
		if strings.Contains(v.heading("service-desk"), key) {
			t.Error("the key is shown again")
		}
		v.open(s.base + "/apps")
		v.says(v.heading("Apps"), "service-desk", "read", "send", directory.StoryDesk, "just now")
		v.clean()
	})
	t.Run("a name is taken once", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/new/app")
		v.fill("#name", "service-desk")
		v.click(".card-footer button")
		v.awaitText("#name-help.invalid-feedback", "exists already")
		v.clean()
	})
	t.Run("a change takes effect with the next call, and the key stays", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/apps/service-desk/change")
		v.heading("Change service-desk")
		if got := v.evaluate(`document.querySelector("#networks").value`); got != "127.0.0.1/32" {
			t.Errorf("the form holds %q", got)
		}
		v.fill("#networks", "192.0.2.0/24")
		v.click(".card-footer button")
		v.awaitText(`[role="status"]`, "its API key is the same")
		v.says(v.heading("service-desk"), "192.0.2.0/24")
		v.clean()
		if got := s.calls(t, key); got != http.StatusForbidden {
			t.Errorf("from another network the key is answered with %d", got)
		}
		v.open(s.base + "/apps/service-desk/change")
		v.fill("#networks", "")
		v.toggle("read")
		v.click(".card-footer button")
		v.awaitText(`[role="status"]`, "its API key is the same")
		v.says(v.heading("service-desk"), "everywhere")
		if got := s.calls(t, key); got != http.StatusForbidden {
			t.Errorf("without the right to read the key is answered with %d", got)
		}
		v.open(s.base + "/apps/service-desk/change")
		v.toggle("read")
		v.click(".card-footer button")
		v.awaitText(`[role="status"]`, "its API key is the same")
	})
	t.Run("a renewed key ends the one before it", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/apps/service-desk")
		v.click(".card-footer details:first-child summary")
		v.click(`form[action$="/renew"] button`)
		v.awaitText("#key-heading", "The new API key of service-desk")
		fresh := v.text("#fresh-key")
		if old, now := s.calls(t, key), s.calls(t, fresh); old != http.StatusUnauthorized || now != http.StatusOK {
			t.Errorf("the old key is answered with %d, the new one with %d", old, now)
		}
		v.clean()
		key = fresh
	})
	t.Run("one that has ended is marked, and is renewed with a new end", func(t *testing.T) {
		v.t = t
		must(t, s.endKey(t, "service-desk", s.now().Add(time.Hour)))
		v.open(s.base + "/apps")
		v.says(v.heading("Apps"), "ends soon")
		s.advance(90 * time.Minute)
		v.open(s.base + "/apps/service-desk")
		v.says(v.heading("service-desk"), "ended")
		if got := s.calls(t, key); got != http.StatusUnauthorized {
			t.Errorf("the ended key is answered with %d", got)
		}
		v.click(".card-footer details:first-child summary")
		renew := func(months int) {
			v.evaluate(fmt.Sprintf(`document.querySelector("#expires_at").value = %q`, s.now().AddDate(0, months, 0).Format(time.DateOnly)))
			v.click(`form[action$="/renew"] button`)
		}
		renew(-1)
		v.awaitText("#expires_at-help.invalid-feedback", "The end date is in the past")
		v.clean()
		renew(1)
		v.awaitText("#key-heading", "The new API key")
		if key = v.text("#fresh-key"); s.calls(t, key) != http.StatusOK {
			t.Error("the renewed key does not work")
		}
	})
	t.Run("one is removed after a second look", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/apps/service-desk")
		v.click(".mg-confirm summary")
		v.click(`form[action$="/remove"] button`)
		v.awaitText(`[role="status"]`, "The app was removed")
		if got := s.calls(t, key); got != http.StatusUnauthorized {
			t.Errorf("the removed key is answered with %d", got)
		}
		v.open(s.base + "/apps/service-desk")
		v.says(v.heading("Not found"), "There is no such API key")
		v.clean()
	})
}

// endKey sets when a key ends.
func (s *site) endKey(t *testing.T, name string, ends time.Time) error {
	t.Helper()
	k, err := s.Access.APIKey(t.Context(), name)
	must(t, err)
	_, err = s.Access.ChangeAPIKey(t.Context(), byOperator, access.KeyRequest{Name: name, May: k.May, Mailboxes: k.Mailboxes, Networks: k.Networks, ExpiresAt: ends})
	return err
}

// peoplePages are operators, their sessions, and one's own sign-in.
func peoplePages(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	v := s.visit(t, chromium)
	v.becomeOperator()
	const bobsPassword = "another made-up sentence for tests"
	bob := s.visit(t, chromium)
	t.Run("the last operator stays", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/operators/" + operatorName)
		v.click(".mg-confirm summary")
		v.click(`form[action$="/remove"] button`)
		v.awaitText(".alert", "is the last operator who can sign in")
		v.clean()
	})
	t.Run("one is invited by a link that is shown once", func(t *testing.T) {
		v.t, bob.t = t, t
		v.open(s.base + "/operators")
		v.says(v.heading("Operators"), operatorName, "(you)", "can sign in")
		v.fill("#name", "Bob Builder")
		v.click(`form[action="/operators"] button`)
		v.awaitText("#name-help.invalid-feedback", "not a usable operator name")
		if got := v.evaluate(`document.querySelector("#name").value`); got != "Bob Builder" {
			t.Errorf("the field holds %q", got)
		}
		v.clean()
		v.fill("#name", operatorName)
		v.click(`form[action="/operators"] button`)
		v.awaitText("#name-help.invalid-feedback", "exists already")
		v.fill("#name", "bob")
		v.click(`form[action="/operators"] button`)
		v.awaitText("#link-heading", "Send this link to bob")
		if v.evaluate(`String(document.querySelectorAll(".mg-qr svg path").length)`) == "0" {
			t.Error("no QR code")
		}
		link := v.text("#fresh-link")
		v.clean()
		v.open(s.base + "/operators/bob")
		if strings.Contains(v.heading("bob"), link) {
			t.Error("the link is shown again")
		}
		bob.open(link)
		bob.heading("Set up")
		if got := bob.evaluate(`document.querySelector("#name").value`); got != "bob" {
			t.Errorf("the link is for %q", got)
		}
		bob.fill("#password", "short")
		bob.click("main form button")
		bob.awaitText("#password-help.invalid-feedback", "at least 12")
		bob.clean()
		bob.fill("#password", bobsPassword)
		bob.click("main form button")
		bob.says(bob.heading("Mailboxes"), "bob")
		bob.open(link)
		bob.heading("This set-up link is no longer good")
		bob.clean()
		v.open(s.base + "/operators/bob")
		v.says(v.heading("bob"), "can sign in", "by "+operatorName, "Chrome", "127.0.0.1")
		v.clean()
	})
	t.Run("another's sessions end with the next request", func(t *testing.T) {
		v.t, bob.t = t, t
		for _, end := range []string{`td form button`, `.card-footer form[action$="/sessions"] button`} {
			v.open(s.base + "/operators/bob")
			if strings.Contains(end, "footer") {
				v.click(`.card-footer:has(form[action$="/sessions"]) summary`)
			}
			v.click(end)
			v.awaitText(`[role="status"]`, "Ended")
			v.says(v.heading("bob"), "Nowhere.")
			v.clean()
			bob.open(s.base + "/apps")
			bob.heading("Sign in")
			bob.fillSignIn("bob", bobsPassword)
			bob.heading("Apps")
			bob.clean()
		}
	})
	t.Run("a password is changed by who knows the old one, and other sessions end", func(t *testing.T) {
		bob.t = t
		second := s.visit(t, chromium)
		second.open(s.base + "/login/local")
		second.fillSignIn("bob", bobsPassword)
		second.heading("Mailboxes")
		bob.open(s.base + "/me")
		bob.says(bob.heading("Your sign-in"), "You sign in as bob", "(this one)", "Chrome")
		bob.clean()
		change := func(old, new string) {
			bob.fill("#old_password", old)
			bob.fill("#password", new)
			bob.click(`form[action="/me/password"] button`)
		}
		change("not my password", operatorPassword)
		bob.awaitText("#old_password-help.invalid-feedback", "not your present password")
		if got := bob.evaluate(`document.querySelector("#old_password").value + document.querySelector("#password").value`); got != "" {
			t.Error("a password was put back into the page")
		}
		bob.clean()
		change(bobsPassword, "short")
		bob.awaitText("#password-help.invalid-feedback", "at least 12")
		change(bobsPassword, operatorPassword)
		bob.awaitText(`[role="status"]`, "Your password was changed")
		bob.clean()
		second.open(s.base + "/apps")
		second.heading("Sign in")
		second.fillSignIn("bob", bobsPassword)
		second.awaitText(".alert", "The name or the password is wrong")
		second.fillSignIn("bob", operatorPassword)
		second.heading("Apps")
		t.Run("one ends the others", func(t *testing.T) {
			bob.t, second.t = t, t
			bob.open(s.base + "/me")
			bob.click(".mg-confirm summary")
			bob.click(`.mg-confirm form button`)
			bob.awaitText(`[role="status"]`, "Ended")
			bob.clean()
			second.open(s.base + "/apps")
			second.heading("Sign in")
			bob.open(s.base + "/")
			bob.heading("Mailboxes")
		})
	})
	t.Run("a new link replaces a password when it is used", func(t *testing.T) {
		v.t, bob.t = t, t
		v.open(s.base + "/operators/bob")
		v.click(".card-footer details:first-child summary")
		v.click(`form[action$="/link"] button`)
		v.awaitText("#link-heading", "Send this link to bob")
		link := v.text("#fresh-link")
		bob.open(s.base + "/")
		bob.heading("Mailboxes") // still signed in
		other := s.visit(t, chromium)
		other.open(link)
		other.fill("#password", bobsPassword)
		other.click("main form button")
		other.heading("Mailboxes")
		bob.open(s.base + "/")
		bob.heading("Sign in")
		bob.fillSignIn("bob", bobsPassword)
		bob.heading("Mailboxes")
		other.open(s.base + "/me")
		other.says(other.heading("Your sign-in"), "You sign in as bob")
	})
	t.Run("a removed operator is out at once", func(t *testing.T) {
		v.t, bob.t = t, t
		v.open(s.base + "/operators/bob")
		v.click(".mg-confirm summary")
		v.click(`form[action$="/remove"] button`)
		v.awaitText(`[role="status"]`, "The operator was removed")
		bob.open(s.base + "/")
		bob.heading("Sign in")
		bob.fillSignIn("bob", bobsPassword)
		bob.awaitText(".alert", "The name or the password is wrong")
	})
	t.Run("a session ends when it is not used", func(t *testing.T) {
		v.t = t
		s.advance(access.IdleLife)
		v.open(s.base + "/operators")
		v.heading("Sign in")
	})
}

// peopleWithoutScripts are the same pages in a browser that runs no scripts.
func peopleWithoutScripts(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	s.addMailbox(t, directory.StoryDesk, "")
	s.visit(t, chromium).becomeOperator()
	v := s.visit(t, chromium)
	v.withoutScripts()
	v.open(s.base + "/login/local")
	v.fillSignIn(operatorName, operatorPassword)
	v.heading("Mailboxes")
	v.open(s.base + "/new/app")
	v.fill("#name", "desk")
	v.click(".card-footer button")
	v.heading("desk")
	if key := v.text("#fresh-key"); s.calls(t, key) != http.StatusOK {
		t.Error("the key does not work")
	}
	v.click(".mg-confirm summary")
	v.click(`form[action$="/remove"] button`)
	v.awaitText(`[role="status"]`, "The app was removed")
	v.open(s.base + "/me")
	v.click(".mg-confirm summary")
	v.click(".mg-confirm form button")
	v.awaitText(`[role="status"]`, "Ended")
}
