package testbed_test

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/testbed"
)

// visited is a page that counts visits in a cookie and is white or black.
func visited(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	seen := "new"
	if _, err := r.Cookie("__Host-seen"); err == nil {
		seen = "known"
	}
	http.SetCookie(w, &http.Cookie{Name: "__Host-seen", Value: "1", Path: "/", Secure: true, HttpOnly: true, MaxAge: 3600})
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = fmt.Fprintf(w, `<!doctype html><title>Visits</title><link rel="icon" href="/icon">
<style>body { background: #fff; height: 1500px } @media (prefers-color-scheme: dark) { body { background: #000 } }</style>
<p id="visitor">%s</p><form action="/"><input name="name"><button>Again</button></form>`, seen) // a lost answer fails the test elsewhere
}

func brightness(t *testing.T, picture []byte) (corner uint32, size image.Point) {
	t.Helper()
	decoded, err := png.Decode(bytes.NewReader(picture))
	if err != nil {
		t.Fatal(err)
	}
	corner, _, _, _ = decoded.At(decoded.Bounds().Max.X-3, decoded.Bounds().Max.Y-3).RGBA()
	return corner, decoded.Bounds().Size()
}

func TestChromium_IsABrowser(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(visited))
	t.Cleanup(server.Close)
	address := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	profile := t.TempDir()

	t.Run("it keeps cookies, fills forms and takes pictures, light and dark", func(t *testing.T) {
		browser := testbed.StartChromium(t, testbed.ChromiumOptions{Profile: profile})
		browser.Open(t, address)
		if text := browser.Text(t, "#visitor"); text != "new" {
			t.Fatalf("the first visit is %q, want new", text)
		}
		browser.Fill(t, "input", "Adele")
		if status := browser.Follow(t, "button"); status != http.StatusOK || !strings.HasSuffix(browser.Address(t), "?name=Adele") {
			t.Fatalf("the form led to %s with %d", browser.Address(t), status)
		}
		if text := browser.Text(t, "#visitor"); text != "known" {
			t.Fatalf("the second visit is %q, want known", text)
		}
		light, size := brightness(t, browser.Screenshot(t, testbed.Picture{Width: 390, Height: 844}))
		dark, _ := brightness(t, browser.Screenshot(t, testbed.Picture{Width: 390, Height: 844, Dark: true}))
		if light != 0xffff || dark != 0 || size.X != 390 || size.Y < 1500 {
			t.Fatalf("light %x, dark %x, size %v; want white, black, 390 by the whole page", light, dark, size)
		}
		tab := browser.NewTab(t)
		tab.Open(t, address)
		if text := tab.Text(t, "#visitor"); text != "known" {
			t.Fatalf("the visit in another tab is %q, want known", text)
		}
		if problems := browser.Problems(); len(problems) > 0 {
			t.Fatalf("console: %q", problems)
		}
	})
	t.Run("the same profile is the same person", func(t *testing.T) {
		browser := testbed.StartChromium(t, testbed.ChromiumOptions{Profile: profile})
		browser.Open(t, address)
		if text := browser.Text(t, "#visitor"); text != "known" {
			t.Fatalf("the visitor is %q, want known", text)
		}
	})
	t.Run("a private window is somebody new", func(t *testing.T) {
		browser := testbed.StartChromium(t, testbed.ChromiumOptions{})
		browser.Open(t, address)
		if text := browser.Text(t, "#visitor"); text != "new" {
			t.Fatalf("the visitor is %q, want new", text)
		}
	})
}

func TestChromium_TellsWhatIsWrongWithAPage(t *testing.T) {
	ca := testbed.NewCA(t)
	options := registered()
	options.CA = ca
	provider := testbed.StartOIDCProvider(t, options)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self'")
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, `<title>Wrong</title><script>alert(1)</script>`) // a lost answer fails the test elsewhere
	}))
	t.Cleanup(server.Close)
	browser := testbed.StartChromium(t, testbed.ChromiumOptions{Trust: []*testbed.CA{ca}})

	t.Run("a script against the policy is a problem", func(t *testing.T) {
		browser.Open(t, server.URL)
		deadline := time.Now().Add(90 * time.Second)
		for !strings.Contains(strings.Join(browser.Problems(), " "), "Content Security Policy") {
			if time.Now().After(deadline) {
				t.Fatalf("console: %q", browser.Problems())
			}
			browser.Address(t)
		}
	})
	t.Run("a trusted authority's page opens", func(t *testing.T) {
		browser.Open(t, provider.Issuer+"/.well-known/openid-configuration")
		if text := browser.Text(t, "pre"); !strings.Contains(text, provider.Issuer) {
			t.Fatalf("read %q", text)
		}
	})
}
