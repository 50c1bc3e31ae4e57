package acceptance_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// sender adds a mailbox that nobody authorises.
func (s *site) sender(t *testing.T, address string) {
	t.Helper()
	_, _, err := s.Connect.Mailboxes.Save(t.Context(), connect.MailboxSettings{Mailbox: mailbox.Mailbox{
		Address: address, Provider: providerName, Send: &mailbox.Send{Protocol: "smtp"},
	}}, byOperator)
	must(t, err)
}

// overviewPages are the first page in its states.
func overviewPages(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	v := s.visit(t, chromium)
	v.becomeOperator()
	next := func(button string) {
		t.Helper()
		v.open(s.base + "/")
		v.awaitText(`[aria-current="step"] .btn-primary`, button)
		if n := v.evaluate(`String(document.querySelectorAll("main .btn-primary").length)`); n != "1" {
			t.Errorf("%s primary buttons at the step %q", n, button)
		}
		v.clean()
	}
	t.Run("the first set-up is a list of steps with the next one to take", func(t *testing.T) {
		v.t = t
		next("Add a mailbox")
		must(t, s.Connect.Providers.Delete(t.Context(), providerName, byOperator))
		next("See what to register")
		s.saveProvider(t, nil)
		desk := s.addMailbox(t, directory.StoryDesk, "")
		next("Make the authorization link")
		owner := s.visit(t, chromium)
		owner.authorize(s.link(t, desk.Address), directory.StoryDesk)
		owner.heading("is connected")
		next("Go to the test")
		must(t, s.Diagnose.Test(t.Context(), desk.Address, diagnose.TestOptions{}, func(diagnose.Rung) {}))
		next("Add a webhook")
	})
	megan := s.addMailbox(t, directory.StoryMegan, "")
	owner := s.visit(t, chromium)
	owner.authorize(s.link(t, megan.Address), directory.StoryMegan)
	owner.heading("is connected")
	t.Run("what needs attention comes first, with its cause, who acts, and the way to the cure", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/")
		v.says(v.heading("Mailboxes"), "2 mailboxes", "Nothing needs attention")
		must(t, s.box.World().RevokeSessions(directory.StoryMegan))
		s.advance(75 * time.Minute)
		if _, _, err := s.Broker.Lend(t.Context(), megan.ID, provider.ResourceMail, 30*time.Minute); err == nil {
			t.Error("a revoked grant lends")
		}
		s.saveProvider(t, func(p *connect.ProviderSettings) { p.Secrets[0].ExpiresAt = s.now().Add(20 * 24 * time.Hour) })
		v.open(s.base + "/")
		v.says(v.heading("Mailboxes"), "Needs attention", megan.Address, "It must be authorised again", "mailbox owner:", "Its client secret ends soon", "ends in 20 days", "needs authorisation", "connected")
		v.clean()
		v.click(`.mg-matters form button`)
		v.awaitText("#fresh-link", "/authorize/")
		v.says(v.heading("Connect "+megan.Address), "Send this link to "+megan.Address)
		v.open(s.base + "/")
		v.says(v.heading("Mailboxes"), "See the link that is out")
		v.click(`.mg-matters a[href$="/connect"]`)
		v.says(v.heading("Connect "+megan.Address), "Waiting for "+megan.Address, "Make a new authorization link…")
	})
	t.Run("receiving that has stopped is said here, on the mailbox's page and nowhere else", func(t *testing.T) {
		v.t = t
		look := func() mailbox.Listed {
			l, err := s.Connect.Mailboxes.Look(t.Context(), directory.StoryDesk)
			must(t, err)
			s.Fetch.Nudge(l.Mailbox.ID)
			return l
		}
		must(t, s.box.InjectFault(directory.Fault{Point: "imap.auth"}))
		s.box.Exchange().CutConnections(directory.StoryDesk)
		v.await("receiving stops", func() bool { return look().Standing() == mailbox.StandingStopped })
		v.open(s.base + "/")
		v.says(v.heading("Mailboxes"), "Nothing is received", directory.StoryDesk, "receiving stopped", "began")
		v.clean()
		v.open(s.mailboxPage(directory.StoryDesk))
		v.says(v.heading(directory.StoryDesk), "receiving stopped", "Nothing is received", look().Stopped().Text)
		v.clean()
		s.box.World().ClearFaults("imap.auth")
		v.await("receiving works again", func() bool { return look().Standing() == mailbox.StandingConnected })
		v.open(s.mailboxPage(directory.StoryDesk))
		if text := v.heading(directory.StoryDesk); strings.Contains(text, "Nothing is received") || strings.Contains(text, "receiving stopped") {
			t.Errorf("it is still said to be stopped: %s", text)
		}
	})
	t.Run("the day is drawn, and told in words and in a table", func(t *testing.T) {
		v.t = t
		m, err := s.Connect.Mailboxes.Get(t.Context(), directory.StoryDesk)
		must(t, err)
		for i := range 3 {
			must(t, s.Store.WriteEvent(t.Context(), event.New(s.now().Add(-time.Duration(i)*time.Hour), event.MessageReceived, event.System(), "x").About(m.ID, m.Address)))
		}
		v.open(s.base + "/")
		label := v.evaluate(`document.querySelector(".mg-chart").getAttribute("aria-label")`)
		if !strings.Contains(label, "3 messages received, 0 messages sent") {
			t.Errorf("the drawing says %q", label)
		}
		if n := v.evaluate(`String(document.querySelectorAll(".mg-chart .mg-chart-up").length)`); n == "0" {
			t.Error("nothing is drawn")
		}
		v.click("details summary:not(.btn)")
		v.says(v.evaluate(`document.querySelector("table").innerText`), "Hour from", "Received", "Renewals")
		v.clean()
	})
	for i := range 60 {
		s.sender(t, fmt.Sprintf("box%02d@contoso.example", i))
	}
	t.Run("the list is searched and filtered without scripts, and goes on page by page", func(t *testing.T) {
		plain := s.visit(t, chromium)
		plain.withoutScripts()
		plain.open(s.base + "/login/local")
		plain.fillSignIn(operatorName, operatorPassword)
		plain.heading("Mailboxes")
		plain.fill("#q", "BOX5")
		plain.keys(enter)
		plain.awaitText("tbody", "box50@contoso.example")
		text := plain.heading("Mailboxes")
		plain.says(text, "box59@contoso.example", "Show all")
		if strings.Contains(text, "box49@") || strings.Contains(text, "Needs attention") {
			t.Errorf("the list is not filtered: %s", text)
		}
		plain.open(s.base + "/?state=dead")
		plain.says(plain.heading("Mailboxes"), megan.Address)
		plain.open(s.base + "/?state=dead&q=box")
		plain.says(plain.heading("Mailboxes"), "No mailbox is like that")
		plain.open(s.base + "/?state=asleep")
		plain.says(plain.heading("Mailboxes"), "“asleep” is not possible here", "quarantined")
		plain.open(s.base + "/")
		plain.click(`nav[aria-label="Pages"] a`)
		plain.awaitText("tbody", "box59@contoso.example")
		plain.clean()
	})
}
