package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPages_EveryAddressCanBeOpened reads the routes from the source, so that
// it holds for one that is added later.
func TestPages_EveryAddressCanBeOpened(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	d.add(t)
	cookies := d.signIn(t, "").Cookies()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var posts []string
	shown := map[string]bool{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\("(GET|POST) (/[^"]*)"`).FindAllStringSubmatch(string(source), -1) {
			switch {
			case strings.HasSuffix(file, "_test.go") || m[2] == "/hook": // an example of a receiver's
			case m[1] == http.MethodGet:
				shown[m[2]] = true
			default:
				posts = append(posts, m[2])
			}
		}
	}
	if len(posts) < 35 || len(shown) < 35 {
		t.Errorf("%d addresses that take a POST were found, and %d pages", len(posts), len(shown))
	}
	for _, path := range posts {
		if shown[path] {
			continue
		}
		at := strings.NewReplacer("{address}", url.PathEscape(box), "{name}", "contoso", "{id}", "1%2F2").Replace(path)
		a := d.do(t, http.MethodGet, at, nil, with(cookies))
		to := a.Header.Get("Location")
		_ = body(t, a)
		if a.StatusCode != http.StatusSeeOther || to == at || !strings.HasPrefix(at, to) || strings.HasPrefix(to, "//") {
			t.Errorf("GET %s: %d %s", at, a.StatusCode, to)
		}
	}
	for at, want := range map[string]string{
		"/providers/contoso/verify":             "/providers/contoso",
		"/providers/a%2Fb/secrets/1/drop":       "/providers/a%2Fb",
		"/mailboxes/" + box + "/test":           "/mailboxes/" + box,
		"/mailboxes/" + box + "/links/1/cancel": "/mailboxes/" + box,
		"/mailboxes":                            "/",
		"/webhooks/x/deliveries/1/replay":       "/webhooks/x/deliveries/1",
		"/me/password":                          "/me",
		"/logout":                               "/",
	} {
		a := d.do(t, http.MethodGet, at, nil, with(cookies))
		_ = body(t, a)
		if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != want {
			t.Errorf("GET %s: %d %s, want to be led to %s", at, a.StatusCode, a.Header.Get("Location"), want)
		}
	}
	if page := d.page(t, cookies, "/me"); !strings.Contains(page, "anna") {
		t.Error("a GET signed out")
	}
	if a := d.do(t, http.MethodGet, "/providers/contoso/verify", nil, nil); a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"), "/login/local") {
		t.Errorf("without a session: %d %s", a.StatusCode, a.Header.Get("Location"))
	}
}

// TestProvider_IsVerifiedByAPostAlone counts what the provider is asked.
func TestProvider_IsVerifiedByAPostAlone(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	d.add(t)
	cookies := d.signIn(t, "").Cookies()
	said := func(target string, n int) {
		t.Helper()
		page := d.page(t, cookies, target)
		if n == 0 && strings.Contains(page, "The tenant is unknown") || n > 0 && !strings.Contains(page, fmt.Sprintf("The tenant is unknown, it said %d times.", n)) {
			t.Errorf("%s does not say what was answered %d times: %s", target, n, page)
		}
	}
	said("/providers/contoso", 0)
	said("/providers/contoso?verify=yes", 0)
	for n := 1; n <= 2; n++ {
		a := d.do(t, http.MethodPost, "/providers/contoso/verify", url.Values{}, with(cookies))
		_ = body(t, a)
		if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/providers/contoso" {
			t.Fatalf("%d %s", a.StatusCode, a.Header.Get("Location"))
		}
		said("/providers/contoso", n) // and again: it was kept, not asked
		said("/providers/contoso", n)
	}
	a := d.do(t, http.MethodPost, "/providers/nobody/verify", url.Values{}, with(cookies))
	if _ = body(t, a); a.StatusCode != http.StatusNotFound {
		t.Errorf("of one that is not there: %d", a.StatusCode)
	}
}
