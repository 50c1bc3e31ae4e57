package acceptance_test

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/internal/testbed"
)

// TestReadme_ByThePages is the README's way by the pages: from an empty server to
// a mailbox that receives and sends, in a browser, with servers that nobody here
// wrote. With MAILGRANT_TEST_PICTURES it takes a picture of each step.
func TestReadme_ByThePages(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser, an OpenID provider, Dovecot and Postfix")
	}
	t.Parallel()
	chromium := testbed.StartChromium(t, testbed.ChromiumOptions{})
	listener, base := realListen(t)
	h := realOpenHouse(t, base+"/oauth/callback", "xoauth2", realLife)
	d := realOpenDesk(t)
	r := realOpen(t, realOptions{listener: listener})
	s := &site{App: r.app, base: r.base}
	w := &walk{site: s, t: t, chromium: chromium, all: os.Getenv("MAILGRANT_TEST_PICTURES") == "all"}
	take := func(v *visitor, name string) {
		t.Helper()
		if v.clean(); os.Getenv("MAILGRANT_TEST_PICTURES") != "" {
			w.take(v, "first-mailbox-"+name)
		}
	}
	v := s.visit(t, chromium)

	// 2. An operator, and the first page, which says what comes next.
	v.becomeOperator()
	v.says(v.heading("Mailboxes"), "provider")
	take(v, "1-begin")

	// 3. The provider.
	v.open(s.base + "/")
	v.click(`main a.btn-primary`)
	v.heading("Add a provider")
	v.evaluate(`document.querySelector("[name=kind][value=generic]").checked = true, "set"`)
	v.send()
	v.awaitText("main", "First, at the provider")
	v.says(v.heading("Add a provider"), base+"/oauth/callback")
	take(v, "2-provider")
	for name, value := range map[string]string{"name": "example", "issuer": h.provider.Issuer, "client_id": "mailgrant", "client_secrets": realClientSecret} {
		v.fill("#"+name, value)
	}
	v.send()
	v.says(v.heading("example"), "It was added", "It can work")
	take(v, "3-provider-added")

	// 4. The mailbox, and the link for its owner.
	v.open(s.base + "/")
	v.click(`main a.btn-primary`)
	v.heading("Add a mailbox")
	v.fill("#address", realDeskAddress)
	v.send()
	v.awaitText("fieldset legend", "What it does")
	for prefix, at := range map[string][2]string{"receive.": {strconv.Itoa(h.store.IMAPS), "implicit"}, "send.": {strconv.Itoa(h.post.Submission), "starttls"}} {
		v.set(prefix+"host", "localhost")
		v.set(prefix+"port", at[0])
		v.set(prefix+"tls", at[1])
		v.set(prefix+"ca_file", string(h.store.CA.PEM))
	}
	take(v, "4-mailbox")
	v.send()
	v.heading("Connect " + realDeskAddress)
	v.send()
	v.awaitText("#fresh-link", base+"/authorize/")
	take(v, "5-link")
	owner := s.visit(t, chromium)
	owner.press(v.evaluate(`document.querySelector("#fresh-link").textContent`))
	owner.awaitText("body", "Sign in")
	owner.fill(`[name="login"]`, "desk")
	owner.fill(`[name="password"]`, "desk-password")
	owner.click(`form[action$="/login"] [type="submit"]`)
	owner.awaitText("body", "mailgrant")
	owner.click(`form[action$="/confirm"] [type="submit"]`)
	owner.heading(realDeskAddress + " is connected")
	v.awaitText("#waiting", "Connected")
	take(v, "6-connected")

	// 5. The test; mail in, mail out, a webhook.
	v.click("#waiting form button")
	v.awaitText("#ladder h2", "Everything works")
	take(v, "7-tested")
	v.open(s.base + "/webhooks")
	v.click(`main a.btn-primary`)
	v.fill("#name", "desk")
	v.fill("#url", d.url)
	v.fill("#secret", d.secret)
	v.evaluate(`document.querySelector('[name=events][value="message.received"]').checked = true, "set"`)
	take(v, "8-webhook")
	v.send()
	v.heading("desk")
	h.store.Deliver(t, realDeskAddress, realMessage(realAdeleAddress, realDeskAddress, "The printer is on fire"))
	d.received(t, "The printer is on fire")
	v.open(s.base + "/messages")
	v.says(v.heading("Messages"), "The printer is on fire", realAdeleAddress)
	take(v, "9-received")
	v.open(s.base + "/submissions/new")
	v.fill("#to", realAdeleAddress)
	v.fill("#subject", "Your printer")
	v.fill("#text", "Somebody is on the way.")
	v.send()
	v.heading("Your printer")
	submission := v.Address(t)
	v.await("the page says that it was sent", func() bool {
		v.open(submission)
		text, err := v.try(`document.querySelector("main").innerText`)
		return err == nil && strings.Contains(text, "A message to "+realAdeleAddress+" was sent")
	})
	if got := h.subjects(t); !slices.Contains(got, "Your printer") {
		t.Errorf("the recipient's inbox holds %q", got)
	}
	take(v, "10-sent")
	v.open(s.base + "/")
	v.says(v.heading("Mailboxes"), realDeskAddress, "connected")
	take(v, "11-overview")
}
