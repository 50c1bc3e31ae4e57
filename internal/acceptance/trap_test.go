package acceptance_test

import (
	"testing"

	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// trap is what the reference system falls into, and what has to happen instead.
func trap(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	desk := s.addMailbox(t, directory.StoryDesk, "")
	adele := s.visitAs(t, chromium, directory.StoryAdele)

	t.Run("without a prompt the remembered session is taken, and refused", func(t *testing.T) {
		adele.t = t
		s.saveProvider(t, prompt(provider.PromptOmit))
		adele.press(s.link(t, desk.Address))
		adele.refusedAdele()
		s.nothingStored(t, desk)
	})
	t.Run("with device single sign-on the prompt is ignored, and she is refused", func(t *testing.T) {
		adele.t = t
		s.saveProvider(t, nil)
		s.device(t, directory.StoryAdele)
		adele.press(s.link(t, desk.Address))
		adele.refusedAdele()
		s.nothingStored(t, desk)
		s.device(t, "")
	})
	t.Run("with the default her browser is asked who signs in; the right person is accepted", func(t *testing.T) {
		adele.t = t
		adele.press(s.link(t, desk.Address))
		adele.awaitText("#signin", "Password") // nobody was picked up silently
		s.nothingStored(t, desk)
		adele.signInAtProvider(directory.StoryDesk)
		text := adele.heading(directory.StoryDesk + " is connected")
		adele.says(text, "You can close this window")
		adele.clean()
		s.granted(t, desk, mailbox.VerdictMatch)
	})
	t.Run("a working grant survives a wrong attempt", func(t *testing.T) {
		adele.t = t
		before := s.grant(t, desk)
		s.device(t, directory.StoryAdele)
		adele.press(s.link(t, desk.Address))
		adele.refusedAdele()
		s.device(t, "")
		after := s.grant(t, desk)
		if after.State != mailbox.GrantActive || after.Subject.Key() != before.Subject.Key() || !after.ConnectedAt.Equal(before.ConnectedAt) {
			t.Errorf("the grant was touched: %s of %s", after.State, after.Subject.Key())
		}
		s.lends(t, desk)
	})
	t.Run("after a refusal the guided retry lets her choose somebody else", func(t *testing.T) {
		adele.t = t
		s.device(t, directory.StoryAdele)
		adele.press(s.link(t, desk.Address))
		adele.refusedAdele()
		s.device(t, "")
		adele.click("main form button.btn-primary")
		adele.awaitText("h1", "Pick an account")
		adele.click(`button[value="other"]`)
		adele.signInAtProvider(directory.StoryDesk)
		adele.heading(directory.StoryDesk + " is connected")
		adele.clean()
		s.granted(t, desk, mailbox.VerdictMatch)
	})
}

// foreigner is somebody of another tenant who carries the desk's address as an
// e-mail address that nobody has verified.
func foreigner(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	for _, segment := range []string{"organizations", "common"} {
		t.Run(segment, func(t *testing.T) {
			s.saveProvider(t, everyTenant(segment))
			desk := s.addMailbox(t, directory.StoryDesk, "")
			mallory := s.visit(t, chromium)
			mallory.authorize(s.link(t, desk.Address), directory.StoryForeigner)
			if segment == "organizations" {
				mallory.accept()
			}
			text := mallory.heading("The wrong person was signed in")
			mallory.says(text, directory.StoryDesk, directory.StoryForeigner, "Nothing was stored")
			mallory.clean()
			s.nothingStored(t, desk)
		})
	}
}

// accept agrees on the provider's consent page.
func (v *visitor) accept() {
	v.t.Helper()
	v.awaitText("#consent", "Accept")
	v.click(`#consent button[value="accept"]`)
}

// exceptions are the right to be somebody else: a proven alias, and a person
// whom an operator named beforehand.
func exceptions(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	t.Run("an alias of who signed in is accepted", func(t *testing.T) {
		helpdesk := s.addMailbox(t, directory.StoryDeskAlias, "")
		owner := s.visit(t, chromium)
		owner.authorize(s.link(t, helpdesk.Address), directory.StoryDesk)
		owner.heading(directory.StoryDeskAlias + " is connected")
		owner.clean()
		s.granted(t, helpdesk, mailbox.VerdictAlias)
	})
	t.Run("who has full access but was not declared is refused", func(t *testing.T) {
		scans := s.addMailbox(t, directory.StoryScans, "")
		adele := s.visit(t, chromium)
		adele.authorize(s.link(t, scans.Address), directory.StoryAdele)
		adele.says(adele.heading("The wrong person was signed in"), directory.StoryScans, directory.StoryAdele)
		adele.clean()
		s.nothingStored(t, scans)
	})
	t.Run("a declared delegate is accepted", func(t *testing.T) {
		scans := s.addMailbox(t, directory.StoryScans, mailbox.ActsAs("delegate: "+directory.StoryAdele))
		adele := s.visit(t, chromium)
		link := s.link(t, scans.Address)
		adele.open(link)
		adele.says(adele.heading("Connect the mailbox"), directory.StoryScans, "Sign in as "+directory.StoryAdele)
		adele.authorize(link, directory.StoryAdele)
		adele.heading(directory.StoryScans + " is connected")
		adele.clean()
		s.granted(t, scans, mailbox.VerdictDelegate)
	})
}
