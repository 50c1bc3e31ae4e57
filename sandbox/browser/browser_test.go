package browser_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mailgrant/mailgrant/sandbox/browser"
)

// serve starts a site and returns its addresses under the two names of the same machine, which are two sites to a browser.
func serve(t *testing.T, handler http.HandlerFunc) (byNumber, byName string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
}

func page(w http.ResponseWriter, content string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, content)
}

func TestBrowser_SameSite(t *testing.T) {
	t.Parallel()
	var byNumber, byName string
	byNumber, byName = serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/set":
			for name, mode := range map[string]http.SameSite{"lax": http.SameSiteLaxMode, "strict": http.SameSiteStrictMode, "unsaid": 0} {
				http.SetCookie(w, &http.Cookie{Name: name, Value: "1", SameSite: mode, Path: "/"})
			}
			http.SetCookie(w, &http.Cookie{Name: "none", Value: "1", SameSite: http.SameSiteNoneMode, Secure: true, Path: "/"})
			http.SetCookie(w, &http.Cookie{Name: "__Host-ours", Value: "1", Secure: true, Path: "/"})
			http.SetCookie(w, &http.Cookie{Name: "__Host-wrong", Value: "1", Path: "/"})
			http.SetCookie(w, &http.Cookie{Name: "elsewhere", Value: "1", Path: "/elsewhere"})
		case "/from":
			page(w, fmt.Sprintf(`<a href="%[1]s/show">link</a>
				<form id="get" action="%[1]s/show"></form><form id="post" method="post" action="%[1]s/show"></form>
				<form id="hop" method="post" action="%[2]s/hop"></form>`, byName, byNumber))
		case "/hop":
			http.Redirect(w, r, byName+"/show", http.StatusSeeOther)
		case "/show":
			var names []string
			for _, name := range []string{"lax", "strict", "unsaid", "none", "__Host-ours", "__Host-wrong", "elsewhere"} {
				if _, err := r.Cookie(name); err == nil {
					names = append(names, name)
				}
			}
			_, _ = io.WriteString(w, strings.Join(names, " "))
		}
	})
	ctx := t.Context()
	cases := []struct {
		name string
		go_  func(*browser.Browser) error
		want string
	}{
		{"typed in: all of them", func(b *browser.Browser) error { return b.Open(ctx, byName+"/show") }, "lax strict unsaid none __Host-ours"},
		{"a link from another site: not Strict", func(b *browser.Browser) error {
			return errors.Join(b.Open(ctx, byNumber+"/from"), b.Follow(ctx, "link"))
		}, "lax unsaid none __Host-ours"},
		{"a form from another site, GET: not Strict", func(b *browser.Browser) error {
			return errors.Join(b.Open(ctx, byNumber+"/from"), b.Submit(ctx, browser.FormID("get"), nil))
		}, "lax unsaid none __Host-ours"},
		{"a form from another site, POST: None alone", func(b *browser.Browser) error {
			return errors.Join(b.Open(ctx, byNumber+"/from"), b.Submit(ctx, browser.FormID("post"), nil))
		}, "none"},
		{"a form, then a redirect to another site: not Strict", func(b *browser.Browser) error {
			return errors.Join(b.Open(ctx, byNumber+"/from"), b.Submit(ctx, browser.FormID("hop"), nil))
		}, "lax unsaid none __Host-ours"},
		{"the same site: all of them", func(b *browser.Browser) error {
			return errors.Join(b.Open(ctx, byName+"/from"), b.Submit(ctx, browser.FormID("post"), nil))
		}, "lax strict unsaid none __Host-ours"},
		{"after forgetting: none", func(b *browser.Browser) error {
			b.Forget()
			return b.Open(ctx, byName+"/show")
		}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := browser.New(browser.Options{})
			if err := b.Open(ctx, byName+"/set"); err != nil {
				t.Fatal(err)
			}
			if err := c.go_(b); err != nil {
				t.Fatal(err)
			}
			if b.Page().Text != c.want {
				t.Errorf("cookies %q, want %q", b.Page().Text, c.want)
			}
		})
	}
}

func TestBrowser_FormAction(t *testing.T) {
	t.Parallel()
	var byNumber, byName string
	byNumber, byName = serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/to":
			http.Redirect(w, r, byName+"/there", http.StatusFound)
		case "/there":
			_, _ = io.WriteString(w, "arrived")
		default:
			w.Header().Set("Content-Security-Policy", "default-src 'none'; form-action "+r.URL.Query().Get("allow"))
			page(w, `<form method="post" action="/to"><button>Go</button></form>`)
		}
	})
	for allow, arrives := range map[string]bool{"'self'": false, "'none'": false, "'self' " + byName: true, "*": true, "'self' http:": true} {
		t.Run(allow, func(t *testing.T) {
			t.Parallel()
			b := browser.New(browser.Options{})
			if err := b.Open(t.Context(), byNumber+"/page?allow="+strings.ReplaceAll(allow, " ", "+")); err != nil {
				t.Fatal(err)
			}
			err := b.Submit(t.Context(), browser.Button("go"), nil)
			if arrives && (err != nil || b.Page().Text != "arrived") {
				t.Errorf("blocked: %v", err)
			}
			if !arrives && !errors.Is(err, browser.ErrBlocked) {
				t.Errorf("%v, want blocked, also on the redirect", err)
			}
		})
	}
}

func TestBrowser_Forms(t *testing.T) {
	t.Parallel()
	address, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost || r.URL.Path == "/search" {
			_ = r.ParseForm()
			_, _ = io.WriteString(w, r.Form.Encode())
			return
		}
		page(w, `<!doctype html><title>A page</title><h1>Hello   there</h1><noscript><p>Scripts are off.</p></noscript><script>var hidden</script><p>one
			two</p><form action="/search"><input name="q"><button>Search</button></form>
			<form id="big" method="post" action="/big"><input type="hidden" name="h" value="1"><input name="t" value="old">
			<input type="checkbox" name="c1" checked><input type="checkbox" name="c2" value="x"><input type="radio" name="r" value="a"><input type="radio" name="r" value="b" checked>
			<select name="s"><option>first</option><option value="2" selected>second</option></select><textarea name="area">long</textarea>
			<input name="off" disabled value="z"><button name="do" value="save">Save</button><button name="do" value="drop">Drop it</button></form>`)
	})
	open := func(t *testing.T) *browser.Browser {
		b := browser.New(browser.Options{})
		if err := b.Open(t.Context(), address); err != nil {
			t.Fatal(err)
		}
		return b
	}
	t.Run("text as a person reads it", func(t *testing.T) {
		t.Parallel()
		b := open(t)
		if p := b.Page(); p.Title != "A page" || !p.Contains("hello there") || !p.Contains("one two") || !p.Contains("Scripts are off.") || p.Contains("hidden") || p.Status != 200 {
			t.Errorf("%q: %q", p.Title, p.Text)
		}
	})
	t.Run("a form as it stands, with one value changed and one button pressed", func(t *testing.T) {
		t.Parallel()
		b := open(t)
		if err := b.Submit(t.Context(), browser.Button("drop"), map[string]string{"t": "new"}); err != nil {
			t.Fatal(err)
		}
		if want := "area=long&c1=on&do=drop&h=1&r=b&s=2&t=new"; b.Page().Text != want {
			t.Errorf("sent %q, want %q", b.Page().Text, want)
		}
	})
	t.Run("by action, with GET", func(t *testing.T) {
		t.Parallel()
		b := open(t)
		if err := b.Submit(t.Context(), browser.Action("/search"), map[string]string{"q": "mail box"}); err != nil {
			t.Fatal(err)
		}
		if b.Page().URL != address+"/search?q=mail+box" {
			t.Error(b.Page().URL)
		}
	})
	t.Run("what is not there cannot be used", func(t *testing.T) {
		t.Parallel()
		b := open(t)
		for name, err := range map[string]error{
			"button":         b.Submit(t.Context(), browser.Button("Nowhere"), nil),
			"field":          b.Submit(t.Context(), browser.FormID("big"), map[string]string{"nothing": "x"}),
			"disabled field": b.Submit(t.Context(), browser.FormID("big"), map[string]string{"off": "x"}),
			"link":           b.Follow(t.Context(), "away"),
			"sign-in page":   b.SignIn(t.Context(), "a", "b"),
			"scheme":         b.Open(t.Context(), "file:///etc/passwd"),
		} {
			if err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	})
	t.Run("redirects without end", func(t *testing.T) {
		t.Parallel()
		loop, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) })
		if err := browser.New(browser.Options{}).Open(t.Context(), loop+"/a"); err == nil || !strings.Contains(err.Error(), "redirects") {
			t.Errorf("%v", err)
		}
	})
}
