package acceptance_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// inspectorPages are the inspector, with and without a mailbox.
func inspectorPages(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	v := s.visit(t, chromium)
	v.becomeOperator()
	desk := s.connected(t, chromium)
	lent, _, err := s.Broker.Lend(t.Context(), desk.ID, provider.ResourceMail, time.Minute)
	must(t, err)
	token := lent.Reveal()
	gone := func(v *visitor) {
		v.t.Helper()
		if page := v.evaluate(`document.documentElement.outerHTML + [...document.querySelectorAll("textarea")].map((a) => a.value).join()`); strings.Contains(page, token[len(token)-40:]) || strings.Contains(page, token[:40]) {
			v.t.Error("the page holds what was pasted")
		}
		if address := v.Address(v.t); strings.Contains(address, "?") {
			v.t.Errorf("the address is %s", address)
		}
	}
	t.Run("a pasted token tells whose it is, and does not come back", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/inspect")
		v.says(v.heading("Inspector"), "nothing is stored or logged", "What it tells")
		v.clean()
		v.tabTo("#token")
		v.fill("#token", token)
		v.click("main form button")
		v.awaitText("#report", "What it says")
		v.says(v.heading("Inspector"), desk.Address, "delegated", "IMAP.AccessAsUser.All", "It is good for", directory.StoryClientID, "The signature was not checked")
		gone(v)
		v.clean()
	})
	t.Run("against a mailbox, without scripts", func(t *testing.T) {
		u := s.visit(t, chromium)
		u.open(s.base + "/login/local")
		u.fillSignIn(operatorName, operatorPassword)
		u.heading("Mailboxes")
		u.withoutScripts()
		u.open(s.base + "/inspect")
		u.fill("#mailbox", desk.Address)
		u.click("main form button")
		u.awaitText("#report", "The access token of "+desk.Address+" is as it has to be")
		gone(u)
		other := s.addMailbox(t, directory.StoryScans, "")
		u.fill("#token", "Authorization: Bearer "+token)
		u.fill("#mailbox", other.Address)
		u.click("main form button")
		u.awaitText("#report", "will not do for "+other.Address)
		u.says(u.heading("Inspector"), "It belongs to", "mailbox owner", "found in a Bearer header")
		gone(u)
		u.fill("#token", "")
		u.fill("#mailbox", other.Address)
		u.click("main form button")
		u.awaitText("#mailbox-help.invalid-feedback", "authorised")
		u.clean()
	})
	t.Run("a whole answer: its refresh token is known, and never shown", func(t *testing.T) {
		v.t = t
		answer, err := json.Marshal(map[string]any{"token_type": "Bearer", "access_token": token, "refresh_token": "marker-refresh-token"})
		must(t, err)
		v.fill("#token", string(answer[:100])+"\n"+string(answer[100:]))
		v.click("main form button")
		v.awaitText(".alert-warning", "holds a refresh token")
		gone(v)
		if page := v.evaluate(`document.documentElement.outerHTML`); strings.Contains(page, "marker-refresh-token") {
			t.Error("the refresh token is in the page")
		}
		v.clean()
	})
	t.Run("what is no token is refused beside the field", func(t *testing.T) {
		v.t = t
		for pasted, want := range map[string]string{
			"": "There is nothing to inspect", "AADSTS50011: the redirect URI is wrong": "This is not a token", `{"refresh_token":"marker-refresh-token"}`: "without an access token",
		} {
			v.open(s.base + "/inspect")
			v.fill("#token", pasted)
			v.fill("#mailbox", "")
			v.click("main form button")
			v.awaitText("#token-help.invalid-feedback", want)
		}
		v.open(s.base + "/inspect")
		v.fill("#mailbox", "nobody@example.org")
		v.click("main form button")
		v.awaitText("#mailbox-help.invalid-feedback", "There is no mailbox nobody@example.org")
		if got := v.evaluate(`document.querySelector("#mailbox").value`); got != "nobody@example.org" {
			t.Errorf("the field holds %q", got)
		}
		v.clean()
	})
}
