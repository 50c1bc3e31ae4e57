package acceptance_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

const (
	operatorName     = "anna"
	operatorPassword = "a made-up sentence for tests"
)

// becomeOperator makes an operator through the set-up link; the browser is signed in then.
func (v *visitor) becomeOperator() {
	v.t.Helper()
	v.open(v.site.setupLink(v.t))
	v.fill("#name", operatorName)
	v.fill("#password", operatorPassword)
	v.click("main form button")
	v.heading("Mailboxes")
}

// fillSignIn fills the sign-in page and sends it.
func (v *visitor) fillSignIn(name, password string) {
	v.t.Helper()
	v.fill("#name", name)
	v.fill("#password", password)
	v.click("main form button")
}

// signInPages are the set-up link and the local sign-in.
func signInPages(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	v := s.visit(t, chromium)
	setup := s.setupLink(t)
	t.Run("a weak password is refused beside its field; the name stays", func(t *testing.T) {
		v.t = t
		v.open(setup)
		v.fill("#name", operatorName)
		v.fill("#password", "too short")
		v.click("main form button")
		v.awaitText("#password-help.invalid-feedback", "at least 12")
		if name := v.evaluate(`document.querySelector("#name").value`); name != operatorName {
			t.Errorf("the name is %q, want what was entered", name)
		}
		if ops, err := s.Access.Operators(t.Context()); err != nil || len(ops) > 0 {
			t.Errorf("%d operators, %v", len(ops), err)
		}
		v.clean()
	})
	t.Run("a good one makes the operator and signs in", func(t *testing.T) {
		v.t = t
		v.fill("#password", operatorPassword)
		v.click("main form button")
		v.says(v.heading("Mailboxes"), "From nothing to mail in eight steps", "Add a mailbox", operatorName, "Sign out")
		v.clean()
	})
	t.Run("the link is gone then", func(t *testing.T) {
		v.t = t
		v.open(setup)
		v.says(v.heading("This set-up link is no longer good"), "What to do:", "mailgrant operator setup")
		v.clean()
	})
	t.Run("signing out ends the session", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/")
		v.click("header form button")
		v.heading("Sign in")
		v.open(s.base + "/")
		v.heading("Sign in")
		v.clean()
	})
	t.Run("a wrong password says no more than that", func(t *testing.T) {
		v.t = t
		v.fillSignIn(operatorName, "something else entirely")
		v.awaitText(".alert", "The name or the password is wrong.")
		v.open(s.base + "/login/local")
		v.fillSignIn("nobody-of-that-name", operatorPassword)
		v.awaitText(".alert", "The name or the password is wrong.")
		v.clean()
	})
	t.Run("the right one leads to the page that was asked for", func(t *testing.T) {
		v.t = t
		desk := s.addMailbox(t, directory.StoryDesk, "")
		v.open(s.mailboxPage(desk.Address))
		v.heading("Sign in")
		v.fillSignIn(operatorName, operatorPassword)
		v.heading(desk.Address)
		v.clean()
	})
	t.Run("after many failures the next one has to wait, the right one too", func(t *testing.T) {
		stranger := s.visit(t, chromium)
		stranger.open(s.base + "/login/local")
		stranger.failToSignIn()
		stranger.fillSignIn(operatorName, operatorPassword)
		stranger.awaitText(".alert", "Too many failed sign-ins")
		stranger.says(stranger.heading("Sign in"), "the next one is accepted in", "mailgrant operator setup")
		stranger.clean()
	})
}

// failToSignIn fails until the next sign-in has to wait: each failure beyond the
// tenth doubles the wait, at last beyond the three minutes that pass in between.
func (v *visitor) failToSignIn() {
	v.t.Helper()
	for n := range 30 {
		_, err := v.site.Access.SignIn(v.t.Context(), operatorName, "wrong", access.Visit{From: netip.MustParseAddr("127.0.0.1")})
		if fault.Has(err, "access.too_many_attempts") {
			return
		}
		if !fault.Has(err, "access.wrong_password") {
			v.t.Fatalf("failure %d: %v", n+1, err)
		}
		v.site.advance(3 * time.Minute)
	}
	v.t.Fatal("nobody has to wait after thirty failures")
}

// mailboxPages are the list, the mailbox and what can be done there.
func mailboxPages(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	desk := s.addMailbox(t, directory.StoryDesk, "")
	v := s.visit(t, chromium)
	v.becomeOperator()
	t.Run("the list shows a mailbox that nobody has authorised", func(t *testing.T) {
		v.t = t
		v.says(v.heading("Mailboxes"), desk.Address, "not authorised yet", providerName)
		v.click("td a")
		v.says(v.heading(desk.Address), "Nobody has authorised this mailbox yet")
		v.clean()
	})
	t.Run("a link is shown once, with its QR code, and can be copied", func(t *testing.T) {
		v.t = t
		v.click(`form[action$="/link"] button`)
		v.awaitText("#fresh-link", s.base+"/authorize/")
		v.says(v.heading(desk.Address), "Send this link to "+desk.Address, "shown this once")
		if v.evaluate(`String(document.querySelectorAll(".mg-qr svg path").length)`) == "0" {
			t.Error("no QR code")
		}
		v.click(`[data-copy="fresh-link"]`)
		v.awaitText(`[data-copy="fresh-link"]`, "Copied")
		link := v.evaluate(`document.querySelector("#fresh-link").textContent`)
		v.open(s.mailboxPage(desk.Address))
		if strings.Contains(v.heading(desk.Address), link) {
			t.Error("the link is shown again")
		}
		owner := s.visit(t, chromium)
		owner.authorize(link, directory.StoryDesk)
		owner.heading(desk.Address + " is connected")
		v.clean()
	})
	t.Run("the page says who authorised it, and the list that it is connected", func(t *testing.T) {
		v.t = t
		v.open(s.mailboxPage(desk.Address))
		v.says(v.heading(desk.Address), "match: the mailbox's own address signed in", "by a link of "+byOperator.Name, "IMAP.AccessAsUser.All", "Timeline")
		v.open(s.base + "/")
		v.says(v.heading("Mailboxes"), "connected", desk.Address)
		v.clean()
	})
	t.Run("the test's ladder is put into the page", func(t *testing.T) {
		v.t = t
		v.open(s.mailboxPage(desk.Address))
		v.evaluate(`window.stayed = "yes"`)
		v.click(`form[action$="/test"] button`)
		v.awaitText("#ladder h2", "Everything works")
		if v.evaluate(`String(window.stayed)`) != "yes" {
			t.Error("the page was loaded anew")
		}
		v.clean()
	})
	t.Run("it is a page of its own without scripts", func(t *testing.T) {
		v.t = t
		plain := s.visit(t, chromium)
		plain.withoutScripts()
		plain.open(s.base + "/login/local")
		plain.fillSignIn(operatorName, operatorPassword)
		plain.heading("Mailboxes")
		plain.open(s.mailboxPage(desk.Address))
		plain.click(`form[action$="/test"] button`)
		plain.says(plain.heading("Test of "+desk.Address), "Everything works")
		plain.clean()
	})
	t.Run("pause and resume", func(t *testing.T) {
		v.t = t
		v.open(s.mailboxPage(desk.Address))
		v.click(`form[action$="/pause"] button`)
		v.awaitText(".alert", "The mailbox is paused")
		v.says(v.heading(desk.Address), "paused", "Resume")
		v.click(`form[action$="/resume"] button`)
		v.awaitText(".alert", "The mailbox goes on")
		v.clean()
	})
	t.Run("the authorisation is ended only after a second look", func(t *testing.T) {
		v.t = t
		v.open(s.mailboxPage(desk.Address))
		v.heading(desk.Address)
		v.click("summary.btn-outline-danger")
		s.granted(t, desk, mailbox.VerdictMatch)
		v.click(`form[action$="/revoke"] button`)
		v.awaitText(".alert", "The authorisation was ended")
		v.says(v.heading(desk.Address), "ended", "Nobody has authorised this mailbox")
		if g := s.grant(t, desk); g.State != mailbox.GrantRevoked {
			t.Errorf("the grant is %s", g.State)
		}
		v.clean()
	})
	t.Run("the timeline tells all of it, newest first", func(t *testing.T) {
		v.t = t
		text := v.evaluate(`document.querySelector(".mg-timeline").innerText`)
		at := -1
		for _, k := range []event.Kind{event.GrantRevoked, event.MailboxResumed, event.MailboxPaused, event.GrantCreated, event.LinkCreated, event.MailboxCreated} {
			next := strings.Index(text, string(k))
			if next < at || next < 0 {
				t.Errorf("%s stands at %d after %d: %s", k, next, at, text)
			}
			at = next
		}
	})
	t.Run("a mailbox that is not there", func(t *testing.T) {
		v.t = t
		v.open(s.mailboxPage("nobody@" + directory.StoryDomain))
		v.says(v.heading("Not found"), "There is no mailbox nobody@"+directory.StoryDomain, "What to do:", "Sign out")
		v.clean()
	})
	t.Run("a test whose session has ended leads to the sign-in", func(t *testing.T) {
		v.t = t
		v.open(s.mailboxPage(desk.Address))
		v.heading(desk.Address)
		v.forgetCookies()
		v.click(`form[action$="/test"] button`)
		v.heading("Sign in")
		v.clean()
	})
}

// keyboard is the owner's page and the sign-in with Tab and Enter alone.
func keyboard(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	desk := s.addMailbox(t, directory.StoryDesk, "")
	t.Run("an owner", func(t *testing.T) {
		v := s.visit(t, chromium)
		v.open(s.link(t, desk.Address))
		v.heading("Connect the mailbox")
		v.tabTo("main form button.btn-primary")
		v.outlined()
		v.keys(enter)
		v.awaitText("#signin", "Password")
		v.tabTo("#loginfmt")
		v.keys(directory.StoryDesk)
		v.tabTo("#passwd")
		v.keys(directory.StoryDeskPassword, enter)
		v.heading(desk.Address + " is connected")
		v.clean()
		s.granted(t, desk, mailbox.VerdictMatch)
	})
	t.Run("an operator", func(t *testing.T) {
		maker := s.visit(t, chromium)
		maker.becomeOperator()
		v := s.visit(t, chromium)
		v.open(s.base + "/")
		v.heading("Sign in")
		v.tabTo("#name")
		v.keys(operatorName)
		v.tabTo("#password")
		v.keys(operatorPassword, enter)
		v.heading("Mailboxes")
		v.tabTo("td a")
		v.outlined()
		v.keys(enter)
		v.heading(desk.Address)
		v.tabTo(`form[action$="/test"] button`)
		v.keys(enter)
		v.awaitText("#ladder h2", "Everything works")
		v.clean()
	})
	t.Run("the content is one key away", func(t *testing.T) {
		v := s.visit(t, chromium)
		v.open(s.base + "/authorize/unknown")
		v.heading("This link is not known here")
		v.tabTo(".mg-skip-link")
		v.keys(enter)
		if at := v.evaluate(`location.hash`); at != "#main" {
			t.Errorf("the link leads to %q", at)
		}
	})
}

// outlined fails unless one can see where the focus is.
func (v *visitor) outlined() {
	v.t.Helper()
	const width = `getComputedStyle(document.activeElement).outlineStyle + " " + parseFloat(getComputedStyle(document.activeElement).outlineWidth)`
	var style string
	var px float64
	if _, err := fmt.Sscan(v.evaluate(width), &style, &px); err != nil || style == "none" || px < 2 {
		v.t.Errorf("the focus cannot be seen: %s %v (%v)", style, px, err)
	}
}
