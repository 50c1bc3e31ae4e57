package web_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/diagnose"
	"github.com/mailgrant/mailgrant/internal/mailbox"
	"github.com/mailgrant/mailgrant/internal/web"
)

// log keeps what is logged, at every level.
type log struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// expecting is a tester that cannot say what a mailbox needs.
type expecting struct{ web.Tester }

func (expecting) Expect(context.Context, mailbox.Mailbox) (diagnose.Expectation, error) {
	return diagnose.Expectation{}, errors.New("something went wrong")
}

// TestInspector_LeavesNothingBehind pastes texts with a marker in them in every
// way that works and in every way that does not, and looks for the marker in
// the answers, the log and the database file.
func TestInspector_LeavesNothingBehind(t *testing.T) {
	t.Parallel()
	kept := &log{}
	d := open(t, func(o *web.Options) {
		o.Logger = slog.New(slog.NewJSONHandler(kept, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o.Inspector = diagnose.Inspector{Now: time.Now}
		o.Tester = expecting{}
	})
	const marker = "TWFya2VyLW9mLWEtdG9rZW4"
	signedIn := with(d.signIn(t, "").Cookies())
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	jwt := part(`{"alg":"RS256","typ":"JWT"}`) + "." + part(`{"aud":"x","scp":"IMAP.Read","upn":"a@b.test","exp":4102444800}`) + "." + marker
	for outcome, form := range map[string]url.Values{
		"a token":                 {"token": {jwt}},
		"a header":                {"token": {"Authorization: Bearer " + jwt}},
		"an opaque token":         {"token": {marker}},
		"an answer":               {"token": {fmt.Sprintf(`{"access_token":%q,"refresh_token":%q}`, jwt, marker)}},
		"a refresh token alone":   {"token": {fmt.Sprintf(`{"refresh_token":%q}`, marker)}},
		"words":                   {"token": {"this is no token at all " + marker + " is it"}},
		"too much":                {"token": {strings.Repeat(marker, 4000)}},
		"far too much":            {"token": {strings.Repeat(marker, 40_000)}},
		"for an unknown mailbox":  {"token": {jwt}, "mailbox": {"nobody@b.test"}},
		"in the wrong field":      {"token": {""}, "unknown": {marker}},
		"as no form":              {marker: {"%"}},
		"for a mailbox of spaces": {"token": {jwt}, "mailbox": {" "}},
	} {
		r := d.do(t, http.MethodPost, "/inspect", form, signedIn)
		if text := body(t, r); strings.Contains(text, marker) || r.StatusCode == http.StatusInternalServerError {
			t.Errorf("%s: %s: %s", outcome, r.Status, text)
		}
		if r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s may be kept: %q", outcome, r.Header.Get("Cache-Control"))
		}
	}
	if r := d.do(t, http.MethodGet, "/inspect?token="+marker, nil, signedIn); strings.Contains(body(t, r), marker) {
		t.Error("a token in the address is put into the page")
	}
	if strings.Contains(kept.text.String(), marker) {
		t.Errorf("the log has it: %s", kept.text.String())
	}
	_, address := d.store.Database()
	path := strings.TrimPrefix(address, "sqlite:")
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no database at %s (%v)", path, err)
	}
	for _, file := range files {
		if b, err := os.ReadFile(file); err != nil || strings.Contains(string(b), marker) {
			t.Errorf("%s has it (%v)", file, err)
		}
	}
	if r := d.do(t, http.MethodPost, "/inspect", url.Values{"token": {jwt}}, nil); r.StatusCode != http.StatusSeeOther {
		t.Errorf("without a sign-in: %s", r.Status)
	}
}

func TestPagesOfMail_NeedASignIn(t *testing.T) {
	t.Parallel()
	d := open(t, nil)
	for _, path := range []string{
		"/messages", "/messages/x", "/messages/x/html", "/messages/x/raw", "/messages/x/attachments/0", "/submissions", "/submissions/x", "/submissions/x/raw",
		"/submissions/new", "/events", "/events/live", "/events/download", "/inspect",
	} {
		if r := d.do(t, http.MethodGet, path, nil, nil); r.StatusCode != http.StatusSeeOther || !strings.HasPrefix(r.Header.Get("Location"), "/login/local") {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
	signedIn := with(d.signIn(t, "").Cookies())
	for _, path := range []string{"/messages/x", "/messages/x/html", "/messages/x/raw", "/messages/x/attachments/0", "/submissions/x", "/submissions/x/raw"} {
		if r := d.do(t, http.MethodGet, path, nil, signedIn); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
	for _, path := range []string{"/events/live?kind=no.such", "/events/download?since=soon", "/messages?since=soon", "/submissions?mailbox=nobody"} {
		if r := d.do(t, http.MethodGet, path, nil, signedIn); r.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
}
