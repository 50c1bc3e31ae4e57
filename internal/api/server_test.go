package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/client"
	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/internal/config"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/sandbox"
	"github.com/mailgrant/mailgrant/sandbox/browser"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// server is a running server beside a running sandbox.
type server struct {
	*app.App
	box   *sandbox.Sandbox
	base  string
	dir   string
	key   string // of a program that may do everything
	stop  context.CancelFunc
	http  *http.Client // holds every answer to the description
	ahead atomic.Int64 // how far the server's clock is put forward
}

var byOperator = event.Actor{Kind: event.ActorOperator, Name: "anna"}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is the server's, which can be put forward.
func (s *server) clock() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

func open(t *testing.T, settings ...string) *server {
	t.Helper()
	return openWith(t, app.Options{}, settings...)
}

func openWith(t testing.TB, o app.Options, settings ...string) *server {
	t.Helper()
	s := &server{http: &http.Client{Transport: newContract(t), Timeout: 2 * time.Minute}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s.base = "http://localhost:" + strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.box, err = sandbox.Start(ctx, sandbox.Options{RedirectURIs: []string{s.base + "/oauth/callback"}})
	must(t, err)
	s.dir, err = os.MkdirTemp("", "mailgrant-") // a socket's path has to be short
	must(t, err)
	cfg, err := config.Load("/dev/null", append([]string{
		"MAILGRANT_DATA_DIR=" + filepath.Join(s.dir, "data"), "MAILGRANT_LISTEN=" + listener.Addr().String(), "MAILGRANT_PUBLIC_URL=" + s.base,
		"MAILGRANT_API_REQUESTS_PER_SECOND=0", // tests ask as fast as they can
	}, settings...))
	must(t, err)
	o.Version, o.Listener, o.Now = "test", listener, s.clock
	s.App, err = app.Open(ctx, cfg, o)
	must(t, err)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("the server ended with: %v", err)
		}
		if err := s.box.Close(); err != nil {
			t.Errorf("the sandbox ended with: %v", err)
		}
		_ = os.RemoveAll(s.dir) // an empty folder left behind is no fault of the server
	})
	s.key = s.newKey(t, "all", []access.Right{access.Read, access.Send, access.Token, access.Manage})
	return s
}

func (s *server) newKey(t testing.TB, name string, may []access.Right, mailboxes ...string) string {
	t.Helper()
	_, secret, err := s.Access.CreateAPIKey(t.Context(), byOperator, access.KeyRequest{Name: name, May: may, Mailboxes: mailboxes})
	must(t, err)
	return secret.Reveal()
}

func (s *server) client(t *testing.T, key string) *client.Client {
	t.Helper()
	c, err := client.New(client.Options{Server: s.base, APIKey: key, Transport: s.http.Transport})
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

type problem struct {
	Type, Title, Detail, Field, Remedy string
	Status                             int
}

// problem reads a refusal and holds it to what every refusal keeps.
func (a answer) problem(t *testing.T) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		t.Fatalf("no problem document but %d %s: %v", a.status, a.body, err)
	}
	if !strings.HasPrefix(a.header.Get("Content-Type"), "application/problem+json") || p.Status != a.status ||
		!strings.HasPrefix(p.Type, "urn:mailgrant:problem:") || p.Title == "" || p.Detail == "" || p.Remedy == "" {
		t.Errorf("an incomplete problem: %s %d %s", a.header.Get("Content-Type"), a.status, a.body)
	}
	return p
}

// refused fails unless the answer has this status and type.
func (a answer) refused(t *testing.T, status int, id string) problem {
	t.Helper()
	p := a.problem(t)
	if a.status != status || p.Type != "urn:mailgrant:problem:"+id {
		t.Errorf("refused with %d %s, want %d %s: %s", a.status, p.Type, status, id, a.body)
	}
	return p
}

func (s *server) do(t testing.TB, key, method, path string, body any, headers ...string) answer {
	t.Helper()
	return exchange(t, s.http, request(t, key, method, s.base+path, body, headers...))
}

// throughSocket calls as a person of this host.
func (s *server) throughSocket(t *testing.T, method, path string, body any, headers ...string) answer {
	t.Helper()
	transport := socketTransport(app.SocketPath(s.dir + "/data"))
	defer transport.CloseIdleConnections()
	return exchange(t, &http.Client{Transport: transport, Timeout: 2 * time.Minute}, request(t, "", method, "http://localhost"+path, body, headers...))
}

func request(t testing.TB, key, method, address string, body any, headers ...string) *http.Request {
	t.Helper()
	var reader io.Reader
	var media string
	switch b := body.(type) {
	case nil:
	case string:
		reader, media = strings.NewReader(b), "application/json"
	default:
		raw, err := json.Marshal(b)
		must(t, err)
		reader, media = bytes.NewReader(raw), "application/json"
	}
	r, err := http.NewRequestWithContext(t.Context(), method, address, reader)
	must(t, err)
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		} else {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	return r
}

// exchange sends a request and reads the answer.
func exchange(t testing.TB, c *http.Client, r *http.Request) answer {
	t.Helper()
	response, err := c.Do(r)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	must(t, err)
	return answer{response.StatusCode, response.Header, string(b)}
}

// socketTransport speaks through a Unix socket.
func socketTransport(path string) *http.Transport {
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
}

type object = map[string]any

func (s *server) provider() object {
	d := s.box.Describe()
	return object{
		"name": "contoso", "kind": "microsoft", "tenant": directory.StoryDomain, "client_id": directory.StoryClientID,
		"client_secrets": []object{{"value": directory.StoryClientSecret}},
		"endpoints":      object{"authority": d.BaseURL, "graph": d.GraphURL},
	}
}

func (s *server) mailbox(address string) object {
	d := s.box.Describe()
	return object{
		"address": address, "provider": "contoso",
		"receive": object{"protocol": "imap", "folders": []string{"INBOX"}, "mode": "push", "host": d.IMAP.Host, "port": d.IMAP.Port, "tls": "implicit", "ca_pem": d.CertificateAuthority},
		"send":    object{"protocol": "smtp", "host": d.SMTP.Host, "port": d.SMTP.Port, "tls": "starttls", "ca_pem": d.CertificateAuthority},
	}
}

// furnish adds the provider and these mailboxes through the API.
func (s *server) furnish(t *testing.T, addresses ...string) {
	t.Helper()
	if a := s.do(t, s.key, "POST", "/v1/providers", s.provider()); a.status != 201 {
		t.Fatalf("add the provider: %d %s", a.status, a.body)
	}
	for _, address := range addresses {
		if a := s.do(t, s.key, "POST", "/v1/mailboxes", s.mailbox(address)); a.status != 201 {
			t.Fatalf("add %s: %d %s", address, a.status, a.body)
		}
	}
}

// authorize goes through a link as the service desk.
func (s *server) authorize(t *testing.T, link string) {
	t.Helper()
	u, err := url.Parse(link)
	must(t, err)
	b := browser.New(browser.Options{})
	must(t, b.Open(t.Context(), link))
	must(t, b.Submit(t.Context(), browser.Action(u.Path), nil))
	must(t, b.Follow(t.Context(), "go there now"))
	must(t, b.SignIn(t.Context(), directory.StoryDesk, directory.StoryDeskPassword))
	if !b.Page().Contains("is connected") {
		t.Fatalf("the page says: %s", b.Page().Text)
	}
}

func box(address string) string { return "/v1/mailboxes/" + url.PathEscape(address) }
