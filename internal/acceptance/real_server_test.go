package acceptance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/internal/config"
)

// realPatience bounds every wait for something that has to happen.
const realPatience = 90 * time.Second

// realOptions shape a server of a test.
type realOptions struct {
	database string // a PostgreSQL URL; empty: SQLite in the data folder
	keyFile  string // shared by several servers; empty: one of its own
	now      func() time.Time
	logger   *slog.Logger
	listener net.Listener // nil: a new one
	tmpfs    bool         // the data folder is a file system of its own, which can be filled
	env      []string     // further settings
	// network carries what the test itself asks; nil: the default.
	network http.RoundTripper
}

// realServer is a running Mailgrant, used from outside: by HTTP with an API key.
type realServer struct {
	app  *app.App
	base string // the public URL
	data string // the data folder
	key  string // an API key that may do everything
	http *http.Client
	stop func() error
}

// realListen takes a port; the public URL is known from then on.
func realListen(t testing.TB) (net.Listener, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	return l, "http://localhost:" + strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// realOpen starts a server on a folder of its own and makes an API key through
// its socket.
func realOpen(t testing.TB, o realOptions) *realServer {
	t.Helper()
	if o.listener == nil {
		o.listener, _ = realListen(t)
	}
	s := &realServer{base: "http://localhost:" + strconv.Itoa(o.listener.Addr().(*net.TCPAddr).Port)}
	if o.network == nil {
		network := &http.Transport{MaxIdleConnsPerHost: 600, MaxConnsPerHost: 600}
		t.Cleanup(network.CloseIdleConnections)
		o.network = network
	}
	s.http = &http.Client{Transport: o.network, Timeout: realPatience}
	// The path of a socket has to be short, so the test's own folder will not do.
	dir, err := os.MkdirTemp("", "mailgrant-")
	must(t, err)
	s.data = filepath.Join(dir, "data")
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the server's folder: %v", err)
		}
	})
	if o.tmpfs {
		realMount(t, s.data)
	}
	env := []string{
		"MAILGRANT_DATA_DIR=" + s.data, "MAILGRANT_LISTEN=" + o.listener.Addr().String(), "MAILGRANT_PUBLIC_URL=" + s.base,
		"MAILGRANT_WEBHOOKS_ALLOW_NETWORKS=127.0.0.0/8",
	}
	if o.database != "" {
		env = append(env, "MAILGRANT_DATABASE="+o.database)
	}
	if o.keyFile != "" {
		env = append(env, "MAILGRANT_KEY_FILE="+o.keyFile)
	}
	cfg, err := config.Load("/dev/null", append(env, o.env...))
	must(t, err)
	s.app, err = app.Open(t.Context(), cfg, app.Options{Version: "test", Now: o.now, Logger: o.logger, Listener: o.listener})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.app.Run(ctx) }()
	stopped := false
	s.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("the server ended with: %v", err)
		}
	})
	s.key = s.newKey(t, "acceptance-"+strconv.Itoa(o.listener.Addr().(*net.TCPAddr).Port))
	return s
}

// newKey makes an API key as root of the same host does: through the socket.
func (s *realServer) newKey(t testing.TB, name string) string {
	t.Helper()
	var made struct {
		APIKey string `json:"api_key"`
	}
	s.local(t, "/v1/apps", map[string]any{"name": name, "may": []string{"read", "send", "token", "manage"}}, &made)
	return made.APIKey
}

// local posts through the socket.
func (s *realServer) local(t testing.TB, path string, body, into any) {
	t.Helper()
	network := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", app.SocketPath(s.data))
	}}
	status, answer, err := realCall(t.Context(), &http.Client{Transport: network, Timeout: realPatience}, http.MethodPost, s.base+path, nil, body)
	must(t, err)
	if status/100 != 2 {
		t.Fatalf("POST %s through the socket: %d %s", path, status, answer)
	}
	must(t, json.Unmarshal(answer, into))
}

// call calls the API with the API key.
func (s *realServer) call(ctx context.Context, method, path string, body any) (status int, answer []byte, err error) {
	return realCall(ctx, s.http, method, s.base+path, http.Header{"Authorization": {"Bearer " + s.key}}, body)
}

// ask calls the API and fails unless it answers with success.
func (s *realServer) ask(t testing.TB, method, path string, body, into any) {
	t.Helper()
	status, answer, err := s.call(t.Context(), method, path, body)
	must(t, err)
	if status/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	if into != nil {
		must(t, json.Unmarshal(answer, into))
	}
}

// realCall makes one HTTP call; a body that is not nil goes out as JSON.
func realCall(ctx context.Context, client *http.Client, method, address string, header http.Header, body any) (int, []byte, error) {
	content := io.Reader(http.NoBody)
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		content = bytes.NewReader(b)
	}
	request, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		return 0, nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(answer.Body, 16<<20))
	return answer.StatusCode, b, err
}

// realGrant is what the API says of a mailbox's grant.
type realGrant struct {
	State        string `json:"state"`
	Verdict      string `json:"verdict"`
	SignedIn     string `json:"signed_in"`
	Failures     int    `json:"failures"`
	Cause        string `json:"cause"`
	AccessTokens []struct {
		ExpiresAt time.Time `json:"expires_at"`
	} `json:"access_tokens"`
	Quarantine *struct{} `json:"quarantine"`
}

func (s *realServer) grant(t testing.TB, address string) realGrant {
	t.Helper()
	var g realGrant
	s.ask(t, http.MethodGet, "/v1/mailboxes/"+address+"/grant", nil, &g)
	return g
}

// nothingStored fails when a refused authorization left anything behind.
func (s *realServer) nothingStored(t testing.TB, address string) {
	t.Helper()
	if g := s.grant(t, address); g.State != "none" || len(g.AccessTokens) > 0 || g.Quarantine != nil {
		t.Errorf("%s: something was stored: %+v", address, g)
	}
}

// granted fails unless the mailbox has a working grant with this verdict.
func (s *realServer) granted(t testing.TB, address, verdict string) {
	t.Helper()
	if g := s.grant(t, address); g.State != "active" || g.Verdict != verdict {
		t.Fatalf("the grant of %s is %+v, want active with the verdict %s", address, g, verdict)
	}
}

// lend borrows an access token.
func (s *realServer) lend(t testing.TB, address, minTTL string) string {
	t.Helper()
	var lent struct {
		AccessToken string `json:"access_token"`
	}
	s.ask(t, http.MethodPost, "/v1/mailboxes/"+address+"/token", map[string]string{"min_ttl": minTTL}, &lent)
	return lent.AccessToken
}

// realLink is an authorization link as the API gives it.
type realLink struct {
	ID  string `json:"id"`
	URL string `json:"url"`
}

func (s *realServer) link(t testing.TB, address string) realLink {
	t.Helper()
	var l realLink
	s.ask(t, http.MethodPost, "/v1/mailboxes/"+address+"/authorizations", nil, &l)
	return l
}

// submit hands over a message and gives the submission's id.
func (s *realServer) submit(t testing.TB, from, to, subject string) string {
	t.Helper()
	var accepted struct {
		ID string `json:"id"`
	}
	s.ask(t, http.MethodPost, "/v1/submissions", realDraft(from, to, subject), &accepted)
	return accepted.ID
}

func realDraft(from, to, subject string) map[string]any {
	return map[string]any{
		"from": map[string]string{"address": from}, "to": []map[string]string{{"address": to}},
		"subject": subject, "text": "Somebody is on the way.",
	}
}

// realAwait looks again and again until something is true.
func realAwait(t testing.TB, what string, holds func() bool) {
	t.Helper()
	realAwaitFor(t, realPatience, what, holds)
}

// realAwaitFor is realAwait with a patience of its own.
func realAwaitFor(t testing.TB, patience time.Duration, what string, holds func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	again := time.NewTicker(25 * time.Millisecond)
	defer again.Stop()
	for !holds() {
		select {
		case <-again.C:
		case <-deadline.C:
			t.Fatalf("waited %s until %s", patience, what)
		}
	}
}

// realMessage is a message as it arrives.
func realMessage(from, to, subject string) string {
	return fmt.Sprintf("From: %s\r\nTo: %s\r\nSubject: %s\r\nMessage-ID: <%d@example.test>\r\nDate: %s\r\n\r\nPlease come.\r\n",
		from, to, subject, time.Now().UnixNano(), time.Now().Format(time.RFC1123Z))
}
