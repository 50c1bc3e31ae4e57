package acceptance_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// visitor is a person with a private browser window.
type visitor struct {
	*testbed.Browser
	t    *testing.T
	site *site

	scriptless bool // axe-core is a script, too
}

// visit opens a private window in which nobody has signed in anywhere.
func (s *site) visit(t *testing.T, chromium *testbed.Browser) *visitor {
	t.Helper()
	return &visitor{Browser: chromium.NewWindow(t), t: t, site: s}
}

// visitAs opens a private window in which somebody is signed in at the provider.
func (s *site) visitAs(t *testing.T, chromium *testbed.Browser, user string) *visitor {
	t.Helper()
	v := s.visit(t, chromium)
	v.open(s.box.Describe().BaseURL + "/")
	v.signInAtProvider(user)
	v.awaitText("h1", "Signed in to this browser")
	v.awaitText("body", user)
	return v
}

func (v *visitor) password(user string) string {
	v.t.Helper()
	u, found := v.site.box.World().User(user)
	if !found {
		v.t.Fatalf("nobody is called %s", user)
	}
	return u.Password
}

func (v *visitor) open(address string) {
	v.t.Helper()
	v.Open(v.t, address)
}

// click follows what a selector names; where it leads is for await to see.
func (v *visitor) click(selector string) {
	v.t.Helper()
	v.Click(v.t, selector)
}

func (v *visitor) fill(selector, value string) {
	v.t.Helper()
	v.Fill(v.t, selector, value)
}

// signInAtProvider fills the provider's form on the page that is open.
func (v *visitor) signInAtProvider(user string) {
	v.t.Helper()
	v.awaitText("#signin", "Password")
	v.fill("#loginfmt", user)
	v.fill("#passwd", v.password(user))
	v.click("#signin button")
}

// press opens a link and presses its button.
func (v *visitor) press(link string) {
	v.t.Helper()
	v.open(link)
	v.click("main form button.btn-primary")
}

// authorize goes through a link as this person, who is asked to sign in.
func (v *visitor) authorize(link, user string) {
	v.t.Helper()
	v.press(link)
	v.signInAtProvider(user)
}

// catchAnswer goes through a link, but stops the browser on its way back: it
// gives the address that the provider sent it to, which nobody has opened yet.
func (v *visitor) catchAnswer(link, user string) string {
	v.t.Helper()
	v.press(link)
	v.awaitText("#signin", "Password")
	ctx, cancel := context.WithTimeout(v.Context(), waitLimit)
	defer cancel()
	paused := chromedp.Events(ctx, fetch.RequestPaused)
	_, err := chromedp.Call(ctx, fetch.Enable, fetch.EnableParams{Patterns: []*fetch.RequestPattern{{URLPattern: v.site.base + "/oauth/callback*"}}})
	must(v.t, err)
	v.signInAtProvider(user)
	for request, err := range paused {
		must(v.t, err)
		// An answer without content leaves the browser where it is.
		_, err = chromedp.Call(ctx, fetch.FulfillRequest, fetch.FulfillRequestParams{RequestID: request.RequestID, ResponseCode: 204})
		must(v.t, err)
		_, err = chromedp.Call(ctx, fetch.Disable, cdp.Empty{})
		must(v.t, err)
		return request.Request.URL
	}
	v.t.Fatal("the provider sent the browser nowhere")
	return ""
}

// heading waits for a page of ours with this heading and gives all of its text.
func (v *visitor) heading(want string) string {
	v.t.Helper()
	v.awaitText("main h1", want)
	return v.evaluate(`document.body.innerText`)
}

// waitLimit is how long a page may take to become what is expected of it.
const waitLimit = 90 * time.Second

// awaitText waits until an element shows this text.
func (v *visitor) awaitText(selector, want string) {
	v.t.Helper()
	v.await(fmt.Sprintf("%s says %q", selector, want), func() bool {
		got, err := v.try(fmt.Sprintf(`document.readyState === "complete" ? (document.querySelector(%q)?.innerText ?? "") : ""`, selector))
		return err == nil && strings.Contains(squeeze(got), want)
	})
}

// await waits until something is true, looking again every so often.
func (v *visitor) await(what string, holds func() bool) {
	v.t.Helper()
	deadline := time.NewTimer(waitLimit)
	defer deadline.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-deadline.C:
			text, _ := v.try(`document.body.innerText`)
			v.t.Fatalf("waited %s until %s; the page at %s says:\n%s", waitLimit, what, v.Address(v.t), text)
		}
	}
}

// evaluate gives the value of an expression that is a text.
func (v *visitor) evaluate(expression string) string {
	v.t.Helper()
	got, err := v.try(expression)
	if err != nil {
		v.t.Fatalf("evaluate %s: %v", expression, err)
	}
	return squeeze(got)
}

// try is evaluate for pages that may be on their way to the next.
func (v *visitor) try(expression string) (string, error) {
	ctx, cancel := context.WithTimeout(v.Context(), waitLimit)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[string](expression))
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// keys presses keys, one after another.
func (v *visitor) keys(pressed ...string) {
	v.t.Helper()
	for _, k := range pressed {
		v.Do(v.t, chromedp.KeyEvent(k))
	}
}

// tabTo presses Tab until what a selector names has the focus.
func (v *visitor) tabTo(selector string) {
	v.t.Helper()
	for range 25 {
		if v.evaluate(fmt.Sprintf(`String(document.activeElement.matches(%q))`, selector)) == "true" {
			return
		}
		v.keys(kb.Tab)
	}
	v.t.Fatalf("%s cannot be reached with the Tab key", selector)
}

// withoutScripts turns scripts of pages off.
func (v *visitor) withoutScripts() {
	v.t.Helper()
	v.scriptless = true
	v.Do(v.t, chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	}))
}

// enter is the key that follows a link and presses a button.
const enter = kb.Enter

// forgetCookies is what happens when a session ends.
func (v *visitor) forgetCookies() {
	v.t.Helper()
	_, err := chromedp.Call(v.Context(), network.ClearBrowserCookies, cdp.Empty{})
	must(v.t, err)
}

// clean fails when the address still holds the provider's answer, a page had
// something to complain about, or something keeps people from using it.
func (v *visitor) clean() {
	v.t.Helper()
	if !v.scriptless {
		for _, finding := range v.Axe(v.t) {
			v.t.Errorf("axe-core at %s: %s", v.Address(v.t), finding)
		}
	}
	// The first page is filtered by state, which is another one.
	if address := v.Address(v.t); strings.Contains(address, "code=") || strings.Contains(address, "state=") && !strings.HasPrefix(address, v.site.base+"/?") {
		v.t.Errorf("the address still holds the provider's answer: %s", address)
	}
	for _, p := range v.Problems() {
		// A browser remarks on every page that is served with a status of 400 or more; that is no fault of the page.
		if !strings.Contains(p, "Failed to load resource: the server responded with a status of 4") {
			v.t.Errorf("console: %s", p)
		}
	}
}

// says fails unless a page's text holds each of these, in capitals or not.
func (v *visitor) says(text string, each ...string) {
	v.t.Helper()
	for _, want := range each {
		if !strings.Contains(strings.ToLower(text), strings.ToLower(squeeze(want))) {
			v.t.Errorf("the page does not say %q; it says: %s", want, text)
		}
	}
}

// refusedAdele fails unless the page names both people and says that nothing was stored.
func (v *visitor) refusedAdele() {
	v.t.Helper()
	text := v.heading("The wrong person was signed in")
	v.says(text, directory.StoryDesk, directory.StoryAdele, "Nothing was stored", "Try again as "+directory.StoryDesk)
	v.clean()
}
