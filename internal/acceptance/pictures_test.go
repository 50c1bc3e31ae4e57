package acceptance_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/chromedp"

	"github.com/mailgrant/mailgrant/internal/connect"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

const picturesFolder = "../../docs/pictures"

// TestPictures walks through every page and every outcome and takes pictures.
// The links in them belong to a server that is gone when the test ends.
func TestPictures(t *testing.T) {
	wanted := os.Getenv("MAILGRANT_TEST_PICTURES")
	if wanted == "" {
		t.Skip("set MAILGRANT_TEST_PICTURES=1 to take pictures for docs/pictures, =all for every width and scheme")
	}
	w := &walk{site: openSite(t, 8025), chromium: testbed.StartChromium(t, testbed.ChromiumOptions{}), t: t, all: wanted == "all"}
	must(t, os.MkdirAll(picturesFolder, 0o755))
	w.desk = w.addMailboxLater(directory.StoryDesk, "")
	w.operatorsFirst()
	w.providers()
	w.addingAMailbox()
	w.ownerPages()
	w.ownerRefusals()
	w.mailboxes()
}

// walk is a tour through the pages with a camera.
type walk struct {
	*site
	t        *testing.T
	chromium *testbed.Browser
	all      bool
	desk     func() mailbox.Mailbox
}

// addMailboxLater adds a mailbox when it is first asked for, so that the empty list can be seen before.
func (w *walk) addMailboxLater(address string, actsAs mailbox.ActsAs) func() mailbox.Mailbox {
	var m mailbox.Mailbox
	return func() mailbox.Mailbox {
		if m.ID == "" {
			m = w.addMailbox(w.t, address, actsAs)
		}
		return m
	}
}

// take takes the pictures of the page that a visitor has open.
func (w *walk) take(v *visitor, name string) {
	w.t.Helper()
	v.clean()
	desktop, phone := testbed.Picture{Width: 1280, Height: 800}, testbed.Picture{Width: 390, Height: 844, Dark: true}
	pictures := map[string]testbed.Picture{name + ".png": desktop, name + "-phone-dark.png": phone}
	if w.all {
		pictures[name+"-dark.png"] = testbed.Picture{Width: 1280, Height: 800, Dark: true}
		pictures[name+"-phone.png"] = testbed.Picture{Width: 390, Height: 844}
	}
	for file, picture := range pictures {
		v.Screenshot(w.t, picture) // a change of scheme fades; the picture is for when it has faded
		v.await("nothing moves", func() bool { n, err := v.try(`String(document.getAnimations().length)`); return err == nil && n == "0" })
		must(w.t, os.WriteFile(filepath.Join(picturesFolder, file), smaller(w.t, v.Screenshot(w.t, picture)), 0o644))
		if wide := v.evaluate(`String(document.documentElement.scrollWidth > innerWidth)`); wide == "true" {
			w.t.Errorf("%s: the page is wider than the window", file)
		}
	}
	v.Screenshot(w.t, desktop)
}

func (w *walk) visitor() *visitor { return w.visit(w.t, w.chromium) }

func (w *walk) operatorsFirst() {
	v := w.visitor()
	setup := w.setupLink(w.t)
	v.open(setup)
	v.heading("Set up")
	w.take(v, "setup")
	v.fill("#name", operatorName)
	v.fill("#password", "too short")
	v.click("main form button")
	v.awaitText("#password-help", "at least 12")
	w.take(v, "setup-refused")
	v.fill("#password", operatorPassword)
	v.click("main form button")
	v.heading("Mailboxes")
	w.take(v, "mailboxes-empty")
	v.open(setup)
	v.heading("no longer good")
	w.take(v, "setup-spent")
	v.open(w.base + "/nowhere")
	v.heading("There is no such page")
	w.take(v, "not-found")
	v = w.visitor()
	v.open(w.base + "/login/local")
	v.heading("Sign in")
	w.take(v, "sign-in")
	v.fillSignIn(operatorName, "not the password")
	v.awaitText(".alert", "wrong")
	w.take(v, "sign-in-refused")
}

// fresh is a visitor who is signed in as the operator.
func (w *walk) fresh() *visitor {
	w.t.Helper()
	v := w.visitor()
	v.open(w.base + "/login/local")
	v.fillSignIn(operatorName, operatorPassword)
	v.heading("Mailboxes")
	return v
}

func (w *walk) providers() {
	v := w.fresh()
	v.open(w.base + "/new/provider")
	v.heading("Add a provider")
	w.take(v, "provider-kinds")
	v.open(w.base + "/new/provider?kind=microsoft")
	v.heading("Add a provider")
	w.take(v, "provider-new")
	v.fill("#tenant", "con toso")
	v.fill("#client_id", "12")
	v.send()
	v.awaitText("#tenant-help", "neither")
	w.take(v, "provider-refused")
	w.saveProvider(w.t, func(p *connect.ProviderSettings) { p.Secrets[0].ExpiresAt = w.now().Add(20 * 24 * time.Hour) })
	v.open(w.base + "/providers")
	v.heading("Providers")
	w.take(v, "providers")
	v.open(w.base + "/providers/" + providerName)
	v.heading(providerName)
	v.click("form[action$='/verify'] button")
	v.awaitText(".alert-title", "It can work")
	w.take(v, "provider")
	w.saveProvider(w.t, nil)
}

func (w *walk) addingAMailbox() {
	v := w.fresh()
	v.open(w.base + "/new/mailbox")
	v.heading("Add a mailbox")
	w.take(v, "mailbox-address")
	v.fill("#address", directory.StoryDesk)
	v.send()
	v.awaitText("main", "sends mail, by SMTP")
	w.take(v, "mailbox-what")
	v.set("receive.port", "many")
	v.set("from", "nobody")
	v.evaluate(`document.querySelector("main form").noValidate = true, "off"`)
	v.send()
	v.awaitText(`[id="receive.port-help"]`, "no port number")
	w.take(v, "mailbox-refused")
}

func (w *walk) ownerPages() {
	desk := w.desk()
	v := w.visitor()
	v.open(w.link(w.t, desk.Address))
	v.heading("Connect the mailbox")
	w.take(v, "owner")
	v.click("summary")
	v.awaitText("#link", "/authorize/")
	w.take(v, "owner-other-device")
	v.holdAt(w.box.Describe().BaseURL+"/*", func() { v.click("main form button.btn-primary") })
	v.heading("On to the sign-in")
	w.take(v, "onward")
	scans := w.addMailbox(w.t, directory.StoryScans, mailbox.ActsAs("delegate: "+directory.StoryAdele))
	v.open(w.link(w.t, scans.Address))
	v.heading("Connect the mailbox")
	w.take(v, "owner-delegate")
}

// holdAt lets a browser ask for an address in vain, so that it stays where it is.
func (v *visitor) holdAt(pattern string, act func()) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.Context(), waitLimit)
	defer cancel()
	paused := chromedp.Events(ctx, fetch.RequestPaused)
	_, err := chromedp.Call(ctx, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: pattern}}})
	must(v.t, err)
	act()
	for request, err := range paused {
		must(v.t, err)
		_, err = chromedp.Call(ctx, fetch.FulfillRequest, fetch.FulfillRequestParams{RequestID: request.RequestID, ResponseCode: 204})
		must(v.t, err)
		_, err = chromedp.Call(ctx, fetch.Disable, cdp.Empty{})
		must(v.t, err)
		return
	}
}

func (w *walk) ownerRefusals() {
	desk := w.desk()
	adele := w.visitAs(w.t, w.chromium, directory.StoryAdele)
	w.saveProvider(w.t, prompt(provider.PromptOmit))
	link := w.link(w.t, desk.Address)
	adele.press(link)
	adele.refusedAdele()
	w.take(adele, "owner-wrong-person")
	w.saveProvider(w.t, nil)
	w.device(w.t, directory.StoryAdele)
	for left := connect.MaxAttempts - 2; left > 0; left-- {
		adele.press(link)
		adele.awaitText("main", map[bool]string{true: "the last attempt", false: strconv.Itoa(left) + " attempts are left"}[left == 1])
	}
	adele.press(link)
	adele.awaitText("main", "used up")
	w.device(w.t, "")
	w.take(adele, "owner-used-up")

	v := w.visitor()
	must(w.t, w.box.World().SetAdminConsent(directory.StoryClientID, nil))
	v.authorize(w.link(w.t, desk.Address), directory.StoryDesk)
	v.awaitText("#consent", "Accept")
	v.click(`#consent button[value="decline"]`)
	v.heading("That did not work")
	w.take(v, "owner-declined")
	must(w.t, w.box.World().SetAdminConsent(directory.StoryClientID, []string{
		"https://outlook.office.com/IMAP.AccessAsUser.All", "https://outlook.office.com/SMTP.Send", "https://graph.microsoft.com/User.Read",
		"https://graph.microsoft.com/openid", "https://graph.microsoft.com/profile", "https://graph.microsoft.com/email", "https://graph.microsoft.com/offline_access",
	}))
	w.saveProvider(w.t, everyTenant("common"))
	mallory := w.visitor()
	mallory.authorize(w.link(w.t, desk.Address), directory.StoryForeigner)
	mallory.accept()
	mallory.heading("The wrong person was signed in")
	w.take(mallory, "owner-foreign-organisation")
	w.saveProvider(w.t, nil)
	must(w.t, w.box.World().ChangeMailbox(directory.StoryDesk, func(m *directory.Mailbox) { m.IMAPOff = true }))
	v.authorize(w.link(w.t, desk.Address), directory.StoryDesk)
	v.heading("That did not work")
	w.take(v, "owner-mailbox-does-not-open")
	must(w.t, w.box.World().ChangeMailbox(directory.StoryDesk, func(m *directory.Mailbox) { m.IMAPOff = false }))
	v.open(w.base + "/oauth/callback?code=made-up&state=forged")
	v.heading("This sign-in was not accepted")
	w.take(v, "sign-in-not-accepted")
	v.open(w.base + "/authorize/this-is-no-link")
	v.heading("This link is not known here")
	w.take(v, "owner-unknown")
	first := w.link(w.t, desk.Address)
	w.link(w.t, desk.Address)
	v.open(first)
	v.heading("This link was replaced")
	w.take(v, "owner-replaced")
}

func (w *walk) mailboxes() {
	// As new: what happened to it so far is a story of its own.
	must(w.t, w.Connect.Mailboxes.Delete(w.t.Context(), directory.StoryDesk, byOperator))
	desk := w.addMailbox(w.t, directory.StoryDesk, "")
	v, owner := w.visitor(), w.visitor()
	v.becomeOperator()
	v.open(w.mailboxPage(desk.Address))
	v.heading(desk.Address)
	w.take(v, "mailbox-new")
	v.click(`form[action$="/link"] button`)
	v.awaitText("#fresh-link", "/authorize/")
	w.take(v, "mailbox-link")
	owner.authorize(v.evaluate(`document.querySelector("#fresh-link").textContent`), directory.StoryDesk)
	owner.heading("is connected")
	w.take(owner, "owner-connected")
	v.awaitText("#waiting", "Connected")
	w.take(v, "mailbox-connected")

	megan := w.addMailbox(w.t, directory.StoryMegan, "")
	must(w.t, w.box.InjectFault(directory.Fault{Point: "imap.throttled"}))
	waiting := w.visitor()
	waiting.authorize(w.link(w.t, megan.Address), directory.StoryMegan)
	waiting.heading("Almost done")
	w.take(waiting, "owner-quarantine")
	v.open(w.mailboxPage(megan.Address))
	v.heading(megan.Address)
	w.take(v, "mailbox-quarantine")
	w.box.World().ClearFaults("imap.throttled")

	v.open(w.mailboxPage(desk.Address))
	v.click(`form[action$="/test"] button`)
	v.awaitText("#ladder h2", "Everything works")
	w.take(v, "mailbox-test")
	v.open(w.mailboxPage(desk.Address))
	v.click(`form[action$="/pause"] button`)
	v.awaitText(".alert", "paused")
	w.take(v, "mailbox-paused")
	v.click(`form[action$="/resume"] button`)
	v.awaitText(".alert", "goes on")

	v.open(w.mailboxPage(desk.Address) + "/change")
	v.heading("Change " + desk.Address)
	v.set("acts_as", directory.StoryAdele)
	v.evaluate(`document.querySelector("[name=acts][value=delegate]").checked = true, "set"`)
	v.send()
	v.awaitText(".alert", "suspends the authorisation")
	w.take(v, "mailbox-suspends")

	v.open(w.mailboxPage(desk.Address))
	v.click("summary.btn-outline-danger")
	v.heading(desk.Address)
	w.take(v, "mailbox-end")
	must(w.t, w.box.World().RevokeSessions(directory.StoryDesk))
	w.advance(75 * time.Minute)
	if _, _, err := w.Broker.Lend(w.t.Context(), desk.ID, provider.ResourceMail, 30*time.Minute); err == nil {
		w.t.Error("a revoked grant lends")
	}
	v.open(w.base + "/")
	v.heading("Mailboxes")
	w.take(v, "mailboxes")
	v.open(w.mailboxPage(desk.Address))
	v.heading(desk.Address)
	w.take(v, "mailbox-dead")
	v.click(`form[action$="/test"] button`)
	v.awaitText("#ladder h2", "Something does not work")
	w.take(v, "mailbox-test-failed")
	old := w.link(w.t, desk.Address)
	w.advance(75 * time.Hour)
	owner.open(old)
	owner.heading("This link has expired")
	w.take(owner, "owner-expired")
	owner.failToSignIn()
	owner.open(w.base + "/login/local")
	owner.fillSignIn(operatorName, operatorPassword)
	owner.awaitText(".alert", "Too many failed sign-ins")
	w.take(owner, "sign-in-limited")
}
