package acceptance_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// providerPages are the list, the form to add one, and one provider.
func providerPages(t *testing.T, chromium *testbed.Browser) {
	s := openSite(t, 0)
	must(t, s.Connect.Providers.Delete(t.Context(), providerName, byOperator))
	v := s.visit(t, chromium)
	v.becomeOperator()
	const secret = "a-made-up-client-secret"
	t.Run("the empty list teaches, and leads to the kinds", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/providers")
		v.says(v.heading("Providers"), "No provider yet", "Microsoft 365")
		v.clean()
		v.click("main a.btn-primary")
		v.says(v.heading("Add a provider"), "Which kind of provider is it?", "You need: tenant", "You need: issuer")
		v.clean()
		v.click(`[name="kind"][value="microsoft"]`)
		v.send()
		v.awaitText("main", "First, at the provider")
	})
	t.Run("what to register stands before the form, which asks only for what the kind needs", func(t *testing.T) {
		v.t = t
		text := v.heading("Add a provider")
		v.says(text, s.base+"/oauth/callback", "IMAP.AccessAsUser.All", "SMTP.Send", "User.Read", "Tenant")
		if v.evaluate(`String(document.querySelector("[name=issuer]"))`) != "null" {
			t.Error("this kind has no issuer to ask for")
		}
		v.click(`[data-copy="redirect"]`)
		v.awaitText(`[data-copy="redirect"]`, "Copied")
		v.clean()
	})
	t.Run("every wrong field is told at once; what was typed is kept, but the secret", func(t *testing.T) {
		v.t = t
		wrong := map[string]string{
			"tenant": "con toso", "client_id": "12", "name": "Contoso AG", "redirect_uri": "https://elsewhere.example/oauth/callback",
			"ca_file": "no certificate", "endpoints.authority": "ftp://x", "endpoints.imap": "mail", "profiles": "narrow",
		}
		for name, value := range wrong {
			v.set(name, value)
		}
		v.set("client_secrets", secret)
		v.set("expires", "2020-01-01")
		v.send()
		v.awaitText("#tenant-help", "neither a tenant ID nor a domain")
		for _, name := range []string{"tenant", "client_id", "name", "redirect_uri", "ca_file", "endpoints.authority", "endpoints.imap", "profiles", "expires"} {
			if v.beside(name) == "" {
				t.Errorf("nothing is said beside %s", name)
			}
		}
		for name, value := range wrong {
			if got := v.typed(name); got != value {
				t.Errorf("%s holds %q, want %q as typed", name, got, value)
			}
		}
		if got := v.typed("client_secrets"); got != "" || strings.Contains(v.evaluate(`document.documentElement.outerHTML`), secret) {
			t.Error("the client secret came back")
		}
		v.clean()
	})
	fillIn := func(t *testing.T) {
		v.t = t
		about := s.box.Describe()
		v.open(s.base + "/new/provider?kind=microsoft")
		v.set("tenant", directory.StoryDomain)
		v.set("client_id", directory.StoryClientID)
		v.set("endpoints.authority", about.BaseURL)
		v.set("endpoints.graph", about.GraphURL)
	}
	t.Run("a wrong client secret is found by asking, with who acts", func(t *testing.T) {
		fillIn(t)
		v.set("client_secrets", secret)
		v.send()
		v.says(v.heading("vbcpn"), "It was added", "The provider does not take these settings", "owner of the app registration:")
		v.clean()
	})
	t.Run("sent twice, it is said that it is there", func(t *testing.T) {
		fillIn(t)
		v.set("client_secrets", secret)
		v.send()
		v.awaitText("#name-help", "There is a provider called vbcpn already")
		v.clean()
	})
	t.Run("a new client secret is tried before the others, and the old one dropped", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/providers/vbcpn")
		v.heading("vbcpn")
		v.click("#secrets ~ form button")
		if v.evaluate(`String(document.querySelector("#client_secrets").validity.valueMissing)`) != "true" {
			t.Error("an empty client secret can be sent")
		}
		v.fill("#client_secrets", directory.StoryClientSecret)
		v.set("expires", s.now().Add(30*24*time.Hour).Format(time.DateOnly))
		v.click("#secrets ~ form button")
		v.awaitText(".alert-success", "The client secret was added")
		v.says(v.heading("vbcpn"), "It can work", "ends soon")
		if got := v.evaluate(`String(document.querySelectorAll(".mg-secrets li").length)`); got != "2" {
			t.Errorf("%s client secrets are listed", got)
		}
		if html := v.evaluate(`document.documentElement.outerHTML`); strings.Contains(html, directory.StoryClientSecret) || strings.Contains(html, secret) {
			t.Error("a client secret is shown")
		}
		v.clean()
		v.click(".mg-secrets li:last-child summary")
		v.click(".mg-secrets li:last-child form button")
		v.awaitText(".alert-success", "The client secret was dropped")
		v.says(v.heading("vbcpn"), "It can work")
		v.open(s.base + "/providers")
		v.says(v.heading("Providers"), "1 client secret, ends in", "ends soon", directory.StoryDomain)
		v.clean()
	})
	t.Run("it is not removed while a mailbox uses it, and the mailbox is named", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/providers/vbcpn")
		v.heading("vbcpn")
		_, _, err := s.Connect.Mailboxes.Save(t.Context(), connect.MailboxSettings{Mailbox: mailbox.Mailbox{Address: "one@contoso.example", Provider: "vbcpn", Send: &mailbox.Send{Protocol: "smtp"}}}, byOperator)
		must(t, err)
		v.click(`details:has(form[action$="/delete"]) summary`)
		v.click(`form[action$="/delete"] button`)
		v.awaitText(".alert", "cannot be removed: one@contoso.example uses it")
		v.says(v.heading("vbcpn"), "It can be removed when no mailbox uses it")
		v.clean()
	})
	t.Run("another client asks for its secret, and says what it suspends before it is saved", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/providers/vbcpn/change")
		v.heading("Change vbcpn")
		v.clean()
		v.fill("#client_id", directory.StoryMultiClientID)
		v.send()
		v.awaitText("#client_secrets-help", "is bound to the authorization server and client")
		v.fill("#client_secrets", directory.StoryMultiSecret)
		v.send()
		v.awaitText(".alert", "Saving this suspends the authorisation")
		v.clean()
		r, err := s.Connect.Providers.Get(t.Context(), "vbcpn")
		if err != nil || r.ClientID != directory.StoryClientID {
			t.Errorf("it was saved before that was agreed to: %s, %v", r.ClientID, err)
		}
		v.fill("#client_secrets", directory.StoryMultiSecret)
		v.send()
		v.awaitText(".alert-success", "The changes are saved")
		v.clean()
	})
	t.Run("two at once: the second is told", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/providers/vbcpn/change")
		v.heading("Change vbcpn")
		r, err := s.Connect.Providers.Get(t.Context(), "vbcpn")
		must(t, err)
		r.Prompt = "select_account"
		_, _, err = s.Connect.Providers.Save(t.Context(), connect.ProviderSettings{Record: r}, byOperator)
		must(t, err)
		v.set("authorize.prompt", "omit")
		v.send()
		v.awaitText(".alert", "Somebody else changed this provider")
		v.says(v.heading("Change"), "Prompt: select_account")
		if got := v.typed("authorize.prompt"); got != "omit" {
			t.Errorf("the field holds %q", got)
		}
		v.send()
		v.awaitText(".alert-success", "The changes are saved")
		v.clean()
	})
	t.Run("two at once: whatever it was that was changed is told", func(t *testing.T) {
		v.t = t
		v.open(s.base + "/providers/vbcpn/change")
		v.heading("Change vbcpn")
		r, err := s.Connect.Providers.Get(t.Context(), "vbcpn")
		must(t, err)
		r.Profiles = []provider.Profile{{Name: "reader", Scopes: []string{"https://outlook.office.com/IMAP.AccessAsUser.All"}}}
		_, _, err = s.Connect.Providers.Save(t.Context(), connect.ProviderSettings{Record: r}, byOperator)
		must(t, err)
		v.send()
		v.awaitText(".alert", "Somebody else changed this provider")
		v.says(v.heading("Change"), "Profiles: reader: https://outlook.office.com/IMAP.AccessAsUser.All")
	})
	t.Run("removed, it is gone", func(t *testing.T) {
		v.t = t
		must(t, s.Connect.Mailboxes.Delete(t.Context(), "one@contoso.example", byOperator))
		v.open(s.base + "/providers/vbcpn")
		v.heading("vbcpn")
		v.click(`details:has(form[action$="/delete"]) summary`)
		v.click(`form[action$="/delete"] button`)
		v.awaitText(".alert", "It was removed")
		if _, err := s.Connect.Providers.Get(t.Context(), "vbcpn"); !fault.Has(err, "provider.unknown") {
			t.Errorf("it is still there: %v", err)
		}
		v.clean()
	})
}
