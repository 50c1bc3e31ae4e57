package testbed

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// actionLimit is how long one step in the browser may take.
const actionLimit = 90 * time.Second

// ChromiumOptions says what kind of window a browser opens.
type ChromiumOptions struct {
	// Profile is the folder that holds cookies and sessions. When empty, a new one is made and removed again: a private window.
	// Browsers one after another in the same folder are one person's browser, who keeps what was meant to outlive the window;
	// what lasts for a session only is shared by the tabs of one browser.
	Profile string
	// Trust makes the browser accept certificates of these authorities.
	Trust []*CA
}

// Browser is one tab of a running Chromium.
type Browser struct {
	ctx context.Context // chromedp's own way of naming the tab

	mu       sync.Mutex // guards problems
	problems []string
}

// StartChromium starts a browser without a window. It is left out under "go test -short".
func StartChromium(t testing.TB, options ChromiumOptions) *Browser {
	t.Helper()
	if testing.Short() {
		t.Skip("the short run does without the browser")
	}
	path := program(t, "chromium", "chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome-stable", "/usr/bin/google-chrome")
	// Chromium writes beside its profile too: caches, crash reports, sockets.
	home := folder(t, "chromium", nil)
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Errorf("remove the browser's folder: %v", err)
		}
	})
	profile := options.Profile
	if profile == "" {
		profile = filepath.Join(home, "profile")
	}
	flags := append([]chromedp.ExecAllocatorOption{}, chromedp.DefaultExecAllocatorOptions[:]...)
	flags = append(flags, chromedp.ExecPath(path), chromedp.UserDataDir(profile), chromedp.DisableGPU,
		chromedp.Env("HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home, "TMPDIR="+home),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("no-pings", true), chromedp.Flag("lang", "en-US"),
		// What is scrolled to is there at once: a click aims at where an element is, and on a slow machine misses one that still moves.
		chromedp.Flag("force-prefers-reduced-motion", true),
		// Keys and clicks that come before a page's first frame are dropped otherwise.
		chromedp.Flag("allow-pre-commit-input", true))
	if os.Geteuid() == 0 {
		flags = append(flags, chromedp.NoSandbox)
	}
	if hashes := keyHashes(options.Trust); hashes != "" {
		flags = append(flags, chromedp.Flag("ignore-certificate-errors-spki-list", hashes))
	}
	allocated, closeBrowser := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(closeBrowser)
	return newTab(t, allocated)
}

// NewTab opens another tab of the same window: the same cookies and sessions, another page.
func (b *Browser) NewTab(t testing.TB) *Browser {
	t.Helper()
	return newTab(t, b.ctx)
}

// NewWindow opens a private window of the same running browser: cookies and sessions of its own, gone when it is closed.
func (b *Browser) NewWindow(t testing.TB) *Browser {
	t.Helper()
	return newTab(t, b.ctx, chromedp.WithNewBrowserContext())
}

func newTab(t testing.TB, parent context.Context, options ...chromedp.ContextOption) *Browser {
	t.Helper()
	tab, forget := chromedp.NewContext(parent, options...)
	b := &Browser{ctx: tab}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the browser stood at %s\n%s", b.at(), strings.Join(b.Problems(), "\n"))
		}
		// Closed as a person closes it, a browser writes its cookies to its profile.
		limited, cancel := context.WithTimeout(tab, actionLimit)
		defer cancel()
		if err := chromedp.Cancel(limited); err != nil {
			t.Logf("close the browser: %v", err)
		}
		forget()
	})
	// The browser lives as long as the context of its first call, so that one has no time limit.
	if err := chromedp.Do(tab); err != nil {
		t.Fatalf("start Chromium: %v", err)
	}
	b.listen()
	return b
}

// listen collects what pages write to the console until the tab is closed.
func (b *Browser) listen() {
	messages := chromedp.Console(b.ctx)
	go func() {
		for message, err := range messages {
			if err != nil {
				return
			}
			if message.Type == chromedp.ConsoleError || message.Type == chromedp.ConsoleWarning || message.IsException() {
				b.mu.Lock()
				b.problems = append(b.problems, strings.TrimSpace(message.String()+" "+message.URL))
				b.mu.Unlock()
			}
		}
	}()
}

// keyHashes is the list of public keys by which Chromium recognises authorities that it is told to trust.
func keyHashes(authorities []*CA) string {
	hashes := []string{}
	for _, a := range authorities {
		sum := sha256.Sum256(a.certificate.RawSubjectPublicKeyInfo)
		hashes = append(hashes, base64.StdEncoding.EncodeToString(sum[:]))
	}
	return strings.Join(hashes, ",")
}

// Context is the tab, for chromedp.Do and chromedp.Run.
func (b *Browser) Context() context.Context { return b.ctx }

// Do takes steps one after another and fails the test when one cannot be taken within 90 seconds.
func (b *Browser) Do(t testing.TB, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, actionLimit)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("in the browser: %v", err)
	}
}

// run takes one step that has a result.
func run[T any](t testing.TB, b *Browser, step chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, actionLimit)
	defer cancel()
	result, err := chromedp.Run(ctx, step)
	if err != nil {
		t.Fatalf("in the browser: %v", err)
	}
	return result
}

// Open goes to an address and waits until the page is there.
func (b *Browser) Open(t testing.TB, address string) {
	t.Helper()
	b.Do(t, chromedp.Navigate(address))
}

// Fill writes into the field that a CSS selector names, in place of what is there.
func (b *Browser) Fill(t testing.TB, selector, value string) {
	t.Helper()
	b.Do(t, chromedp.WaitReady(chromedp.CSS(selector)))
	// Not chromedp.Clear: it takes an empty text area for a mistake.
	run(t, b, chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector(%q).value = ""`, selector)))
	b.Do(t, chromedp.SendKeys(chromedp.CSS(selector), value))
}

// Click clicks on what a CSS selector names, as soon as it can be seen, and does not wait for what comes of it.
func (b *Browser) Click(t testing.TB, selector string) {
	t.Helper()
	b.Do(t, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// Follow clicks on what a CSS selector names and waits until the page to which that leads is there. It returns the status
// of that page's answer.
func (b *Browser) Follow(t testing.TB, selector string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, actionLimit)
	defer cancel()
	answer, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
	if err != nil {
		t.Fatalf("follow %s at %s: %v", selector, b.at(), err)
	}
	return int(answer.Status)
}

// Text is what a person reads in the element that a CSS selector names; it waits until that can be seen.
func (b *Browser) Text(t testing.TB, selector string) string {
	t.Helper()
	return run(t, b, chromedp.Text(chromedp.CSS(selector), chromedp.NodeVisible))
}

// Address is the URL of the page that is open.
func (b *Browser) Address(t testing.TB) string {
	t.Helper()
	return run(t, b, chromedp.Location())
}

// at is the address for a message; it does not fail.
func (b *Browser) at() string {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	address, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		return "an unknown page"
	}
	return address
}

// Problems are the errors and warnings that pages wrote to the console, exceptions and breaches of the Content-Security-Policy
// among them.
func (b *Browser) Problems() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string{}, b.problems...)
}

// Picture says how to look at a page.
type Picture struct {
	Width, Height int // of the window, in CSS pixels; 1280 by 800 when zero. The page is taken whole, however long.
	Dark          bool
}

// Screenshot takes a PNG of the whole page as it looks in a window of that size, light or dark.
func (b *Browser) Screenshot(t testing.TB, picture Picture) []byte {
	t.Helper()
	if picture.Width == 0 || picture.Height == 0 {
		picture.Width, picture.Height = 1280, 800
	}
	scheme := "light"
	if picture.Dark {
		scheme = "dark"
	}
	b.Do(t, chromedp.EmulateViewport(int64(picture.Width), int64(picture.Height)), preferColorScheme(scheme))
	return run(t, b, chromedp.FullScreenshot(100))
}

// SaveScreenshot writes [Browser.Screenshot] to a file, making its folder.
func (b *Browser) SaveScreenshot(t testing.TB, picture Picture, path string) {
	t.Helper()
	png := b.Screenshot(t, picture)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, string(png), 0o644)
}

func preferColorScheme(scheme string, more ...*emulation.MediaFeature) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: append([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}, more...),
		})
		return err
	})
}
