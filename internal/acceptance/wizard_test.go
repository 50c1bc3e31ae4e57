package acceptance_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// named selects a field by its name.
func named(name string) string { return fmt.Sprintf(`[name="%s"]`, name) }

// set puts a value into a field wherever it stands, folded away or not.
func (v *visitor) set(name, value string) {
	v.t.Helper()
	v.evaluate(fmt.Sprintf(`(() => { const f = document.querySelector(%q); f.value = %q; return "set" })()`, named(name), value))
}

// typed is what a field holds.
func (v *visitor) typed(name string) string {
	v.t.Helper()
	return v.evaluate(fmt.Sprintf(`document.querySelector(%q).value`, named(name)))
}

// beside is what stands beneath a field, where something is wrong with it.
func (v *visitor) beside(name string) string {
	v.t.Helper()
	return v.evaluate(fmt.Sprintf(`document.getElementById(%q)?.matches(".invalid-feedback") ? document.getElementById(%q).textContent : ""`, name+"-help", name+"-help"))
}

// send presses the main button of a form.
func (v *visitor) send() {
	v.t.Helper()
	v.click("main form button.btn-primary")
}

// atSandbox writes the sandbox's mail servers into the form of a mailbox.
func (v *visitor) atSandbox() {
	v.t.Helper()
	about := v.site.box.Describe()
	for prefix, at := range map[string][3]string{
		"receive.": {about.IMAP.Host, fmt.Sprint(about.IMAP.Port), "implicit"}, "send.": {about.SMTP.Host, fmt.Sprint(about.SMTP.Port), "starttls"},
	} {
		v.set(prefix+"host", at[0])
		v.set(prefix+"port", at[1])
		v.set(prefix+"tls", at[2])
		v.set(prefix+"ca_file", about.CertificateAuthority)
	}
}

// wizard is the way from an address to a tested mailbox.
func wizard(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	v := s.visit(t, chromium)
	v.becomeOperator()
	t.Run("an address that is none is refused beside the field, and kept", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/new/mailbox")
		v.set("address", "service desk")
		v.evaluate(`document.querySelector("main form").noValidate = true, "off"`)
		v.send()
		v.awaitText("#address-help", "is not a mail address")
		if got := v.typed("address"); got != "service desk" {
			t.Errorf("the field holds %q", got)
		}
		v.clean()
	})
	t.Run("every wrong field is told at once, beside it, and what was typed is kept", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/new/mailbox?address=" + directory.StoryDesk)
		v.says(v.heading("Add a mailbox"), "because it is the only provider", "outlook.office365.com, port 993", "smtp.office365.com, port 587")
		wrong := map[string]string{
			"receive.host": "imaps://mail", "receive.port": "many", "send.port": "465", "receive.every": "often", "receive.folders": "IN*",
			"from": "nobody", "acts_as": "adele", "receive.ca_file": "no certificate",
		}
		for name, value := range wrong {
			v.set(name, value)
		}
		v.set("receive.mode", "poll")
		v.evaluate(`document.querySelector("[name=acts][value=delegate]").checked = true, document.querySelector("main form").noValidate = true, "set"`)
		v.send()
		v.awaitText(`[id="receive.port-help"]`, "is no port number")
		for _, name := range []string{"receive.port", "receive.every", "receive.folders", "from", "acts_as"} {
			if v.beside(name) == "" {
				t.Errorf("nothing is said beside %s", name)
			}
		}
		for name, value := range wrong {
			if got := v.typed(name); got != value {
				t.Errorf("%s holds %q, want %q as typed", name, got, value)
			}
		}
		v.clean()
		if _, err := s.Connect.Mailboxes.Get(t.Context(), directory.StoryDesk); !fault.Has(err, "mailbox.unknown") {
			t.Errorf("a mailbox was stored: %v", err)
		}
	})
	t.Run("a mailbox that does nothing is refused", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/new/mailbox?address=" + directory.StoryDesk)
		v.evaluate(`document.querySelectorAll("[name=does]").forEach((b) => b.checked = false), "off"`)
		v.send()
		v.awaitText("#does-help", "neither receives nor sends")
		v.clean()
	})
	t.Run("added, it is led on to its link", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/new/mailbox?address=" + directory.StoryDesk)
		v.atSandbox()
		v.send()
		v.says(v.heading("Connect "+directory.StoryDesk), "It was added", "IMAP.AccessAsUser.All", "SMTP.Send", "Next: the authorization link")
		v.clean()
	})
	t.Run("back and sent again, it is said that it is there", func(t *testing.T) {
		v.t = t
		v.evaluate(`history.back(), "back"`)
		v.awaitText("main", "sends mail, by SMTP")
		v.atSandbox()
		// A page that comes back as it was is not found by selectors.
		v.evaluate(`document.querySelector("main form").requestSubmit(), "sent"`)
		v.awaitText("#address-help", "is here already")
		v.clean()
	})
	t.Run("the page waits for the sign-in: a refused attempt shows, then the right one, then the test step by step", func(t *testing.T) {
		v.t = t
		v.open(s.mailboxPage(directory.StoryDesk) + "/connect")
		v.send()
		v.awaitText("#fresh-link", s.base+"/authorize/")
		v.awaitText("#waiting", "Nobody has started to sign in yet")
		link := v.evaluate(`document.querySelector("#fresh-link").textContent`)
		s.device(t, directory.StoryAdele)
		owner := s.visit(t, chromium)
		owner.press(link)
		owner.refusedAdele()
		v.awaitText("#waiting", "The last attempt was refused")
		v.says(v.heading("Connect"), "AdeleV", "Nothing was stored", "Somebody has started to sign in once")
		v.clean()
		s.device(t, "")
		owner = s.visit(t, chromium)
		owner.authorize(link, directory.StoryDesk)
		owner.heading("is connected")
		v.awaitText("#waiting", "Connected")
		v.awaitText(`#way [aria-current="step"]`, "Test")
		if v.evaluate(`String(document.querySelector("#fresh-link"))`) != "null" {
			t.Error("the link that was used still stands there")
		}
		v.click("#waiting form button")
		v.awaitText("#ladder h2", "Everything works")
		v.says(v.heading("Connect"), "Receiving: Open INBOX", "Then use the mail")
		v.clean()
	})
	t.Run("a real message goes out where one is wanted, and only to an address", func(t *testing.T) {
		v.t = t
		v.open(s.mailboxPage(directory.StoryDesk))
		v.heading(directory.StoryDesk)
		v.set("send_to", "not an address")
		v.evaluate(`document.querySelector("form[data-parts]").noValidate = true, "off"`)
		v.click(`form[action$="/test"] button`)
		v.awaitText("#send_to-help", "is not a mail address")
		v.set("send_to", directory.StoryMegan)
		v.click(`form[action$="/test"] button`)
		v.awaitText("#ladder h2", "Everything works")
		if n := len(s.box.Exchange().Messages(directory.StoryMegan, "INBOX")); n != 1 {
			t.Errorf("%d messages arrived", n)
		}
		v.clean()
	})
}

// wizardPlainly is the same way without scripts, then with the keyboard alone.
func wizardPlainly(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	s.visit(t, chromium).becomeOperator()
	t.Run("without scripts", func(t *testing.T) {
		v := s.visit(t, chromium)
		v.withoutScripts()
		v.open(s.base + "/login/local")
		v.fillSignIn(operatorName, operatorPassword)
		v.heading("Mailboxes")
		v.open(s.base + "/new/mailbox")
		v.fill("#address", directory.StoryDesk)
		v.send()
		v.awaitText("main", "sends mail, by SMTP")
		v.atSandbox()
		v.send()
		v.heading("Connect " + directory.StoryDesk)
		v.send()
		v.awaitText("#fresh-link", s.base+"/authorize/")
		owner := s.visit(t, chromium)
		owner.authorize(v.evaluate(`document.querySelector("#fresh-link").textContent`), directory.StoryDesk)
		owner.heading("is connected")
		v.click("#waiting p a")
		v.awaitText("#waiting", "Connected")
		v.click("#waiting form button")
		v.says(v.heading("Test of "+directory.StoryDesk), "Everything works")
		v.clean()
	})
	t.Run("with Tab and Enter alone", func(t *testing.T) {
		v := s.visit(t, chromium)
		v.open(s.base + "/login/local")
		v.fillSignIn(operatorName, operatorPassword)
		v.heading("Mailboxes")
		v.tabTo(`main a[href="/new/mailbox"]`)
		v.outlined()
		v.keys(enter)
		v.awaitText("main", "Which mailbox?")
		v.keys("typed@contoso.example", enter)
		v.awaitText("main", "sends mail, by SMTP")
		v.tabTo(`main form button.btn-primary`)
		v.outlined()
		v.keys(enter)
		v.heading("Connect typed@contoso.example")
		v.tabTo(`#waiting button`)
		v.keys(enter)
		v.awaitText("#fresh-link", s.base+"/authorize/")
		v.clean()
	})
}

// mailboxChanges are changing, two at once, removing, and links that are out.
func mailboxChanges(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	desk := s.connected(t, chromium)
	v := s.visit(t, chromium)
	v.becomeOperator()
	change := s.mailboxPage(desk.Address) + "/change"
	t.Run("saved as it is, nothing changes", func(t *testing.T) {
		v.t = t
		v.open(change)
		v.heading("Change " + desk.Address)
		v.clean()
		v.send()
		v.awaitText(".alert", "Nothing was changed")
	})
	t.Run("two at once: the second is told, keeps what was typed, and may put it in its place", func(t *testing.T) {
		v.t = t
		v.open(change)
		v.heading("Change " + desk.Address)
		m, err := s.Connect.Mailboxes.Get(t.Context(), desk.Address)
		must(t, err)
		m.AfterReceive = "mark_seen"
		_, _, err = s.Connect.Mailboxes.Save(t.Context(), connect.MailboxSettings{Mailbox: m}, byOperator)
		must(t, err)
		v.set("receive.folders", "INBOX\nINBOX/Orders")
		v.send()
		v.awaitText(".alert", "Somebody else changed this mailbox")
		v.says(v.heading("Change"), "What happens after receiving: mark_seen", "Folders: INBOX", "What you typed is kept")
		if got := v.typed("receive.folders"); got != "INBOX INBOX/Orders" {
			t.Errorf("the field holds %q", got)
		}
		v.clean()
		v.send()
		v.awaitText(".alert", "The changes are saved")
		if m, err = s.Connect.Mailboxes.Get(t.Context(), desk.Address); err != nil || len(m.Receive.Folders) != 2 || m.AfterReceive != "keep" {
			t.Errorf("stored is %v, %s, %v", m.Receive.Folders, m.AfterReceive, err)
		}
	})
	t.Run("two at once: whatever it was that was changed is told", func(t *testing.T) {
		v.t = t
		v.open(change)
		v.heading("Change " + desk.Address)
		m, err := s.Connect.Mailboxes.Get(t.Context(), desk.Address)
		must(t, err)
		m.AllowUnknown = true
		_, _, err = s.Connect.Mailboxes.Save(t.Context(), connect.MailboxSettings{Mailbox: m}, byOperator)
		must(t, err)
		v.send()
		v.awaitText(".alert", "Somebody else changed this mailbox")
		v.says(v.heading("Change"), "Allowed although nothing proves who signed in: yes")
		v.send()
		v.awaitText(".alert", "The changes are saved")
		if m, err = s.Connect.Mailboxes.Get(t.Context(), desk.Address); err != nil || m.AllowUnknown {
			t.Errorf("stored is %v, %v", m.AllowUnknown, err)
		}
	})
	t.Run("what suspends the authorisation is said before it is saved", func(t *testing.T) {
		v.t = t
		v.open(change)
		v.heading("Change " + desk.Address)
		v.evaluate(`document.querySelector("[name=acts][value=delegate]").checked = true, "set"`)
		v.set("acts_as", directory.StoryAdele)
		v.send()
		v.awaitText(".alert", "Saving this suspends the authorisation")
		v.says(v.heading("Change"), "who acts for it changed", "Nothing is saved yet")
		s.granted(t, desk, mailbox.VerdictMatch)
		v.clean()
		v.send()
		v.awaitText(".alert-success", "The changes are saved")
		v.says(v.heading(desk.Address), "suspended", "Make an authorization link and send it to "+directory.StoryAdele)
		if g := s.grant(t, desk); g.State != mailbox.GrantSuspended {
			t.Errorf("the grant is %s", g.State)
		}
		v.clean()
	})
	t.Run("a link that is out shows, and can be cancelled", func(t *testing.T) {
		v.t = t
		begun := s.begin(t, desk.Address)
		v.open(s.mailboxPage(desk.Address))
		v.says(v.heading(desk.Address), "An authorization link is out", "by "+byOperator.Name, "nobody has started to sign in yet")
		v.clean()
		v.click(`details:has(form[action$="/link"]) summary`)
		v.click(`form[action$="/link"] button`)
		v.awaitText("#fresh-link", "/authorize/")
		if l, _, err := s.Connect.Links.Status(t.Context(), begun.ID); err != nil || l.State != connect.LinkCancelled {
			t.Errorf("the replaced link is %s, %v", l.State, err)
		}
		v.open(s.mailboxPage(desk.Address) + "/connect")
		v.says(v.heading("Connect"), "Waiting for", "Make a new authorization link…")
		v.clean()
		begun = s.begin(t, desk.Address)
		v.open(s.mailboxPage(desk.Address))
		v.heading(desk.Address)
		v.click(`#pending ~ div summary`)
		v.click(`form[action$="/cancel"] button`)
		v.awaitText(".alert", "The link was cancelled")
		if l, _, err := s.Connect.Links.Status(t.Context(), begun.ID); err != nil || l.State != connect.LinkCancelled {
			t.Errorf("the link is %s, %v", l.State, err)
		}
		v.open(s.mailboxPage(desk.Address) + "/connect")
		v.says(v.heading("Connect"), "The link was cancelled")
		v.clean()
	})
	t.Run("removed only after a second look that says what goes", func(t *testing.T) {
		v.t = t
		v.open(s.mailboxPage(desk.Address))
		v.heading(desk.Address)
		v.click(`details:has(form[action$="/delete"]) summary`)
		v.says(v.heading(desk.Address), "go its authorisation with its tokens", "Nothing is changed in the mailbox itself")
		v.click(`form[action$="/delete"] button`)
		v.awaitText(".alert", "It was removed")
		if _, err := s.Connect.Mailboxes.Get(t.Context(), desk.Address); !fault.Has(err, "mailbox.unknown") {
			t.Errorf("it is still there: %v", err)
		}
		if strings.Contains(v.heading("Mailboxes"), desk.Address) {
			t.Error("the list still names it")
		}
		v.clean()
	})
}
