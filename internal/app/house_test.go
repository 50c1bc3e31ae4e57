package app_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/internal/config"
	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/testbed"
)

// patience bounds what a test waits for.
const patience = 90 * time.Second

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

var byOperator = event.Actor{Kind: event.ActorOperator, Name: "anna"}

// logbook keeps what a server logs.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// server is one that may run, with its folder and its log.
type server struct {
	*app.App
	data string
	log  *logbook
	stop func() error // ends it and gives what Run gave
}

// newFolder gives a data folder whose path is short enough for a socket.
func newFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "mailgrant-")
	must(t, err)
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the server's folder: %v", err)
		}
	})
	return filepath.Join(dir, "data")
}

// open joins a server that does not run yet; settings are environment variables
// without their prefix.
func open(t *testing.T, data string, now func() time.Time, settings ...string) (*server, error) {
	t.Helper()
	environ := []string{"MAILGRANT_DATA_DIR=" + data, "MAILGRANT_LISTEN=127.0.0.1:0"}
	for _, s := range settings {
		environ = append(environ, "MAILGRANT_"+s)
	}
	cfg, err := config.Load("/dev/null", environ)
	must(t, err)
	s := &server{data: data, log: &logbook{}}
	s.App, err = app.Open(t.Context(), cfg, app.Options{Version: "test", Now: now, Logger: slog.New(slog.NewTextHandler(s.log, nil))})
	return s, err
}

// run starts a server that ends with the test, at the latest.
func run(t *testing.T, data string, now func() time.Time, settings ...string) *server {
	t.Helper()
	s, err := open(t, data, now, settings...)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		// After an outage a connection of before may tell of it once more; the
		// leases that could then not be given back end by themselves.
		if err := s.stop(); err != nil && !fault.Has(err, "store.unavailable") {
			t.Errorf("the server ended with: %v", err)
		}
	})
	return s
}

// client speaks to a server by its socket, as somebody on its host.
func (s *server) client(t *testing.T) *http.Client {
	t.Helper()
	network := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", app.SocketPath(s.data))
	}}
	t.Cleanup(network.CloseIdleConnections)
	return &http.Client{Transport: network, Timeout: patience}
}

// get asks by TCP and gives status and body.
func (s *server) get(t *testing.T, path, key string, change ...func(*http.Request)) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr().String()+path, nil)
	must(t, err)
	r.Host = "localhost"
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for _, c := range change {
		c(r)
	}
	network := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: network, Timeout: patience}).Do(r)
	must(t, err)
	body, err := io.ReadAll(res.Body)
	must(t, errors.Join(err, res.Body.Close()))
	return res.StatusCode, string(body)
}

// onPostgres is a server that works on a PostgreSQL of its own: it has begun to
// work jobs.
func onPostgres(t *testing.T) (*server, *testbed.Postgres) {
	t.Helper()
	postgres := testbed.StartOwnPostgres(t)
	url := postgres.NewDatabase(t)
	s := run(t, newFolder(t), nil, "DATABASE="+url)
	db, err := sql.Open("pgx", url)
	must(t, err)
	await(t, "jobs are worked", func() bool {
		var leads int
		must(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM river_leader").Scan(&leads))
		return leads == 1
	})
	must(t, db.Close())
	return s, postgres
}

// key makes an API key with these rights.
func (s *server) key(t *testing.T, name string, may ...access.Right) string {
	t.Helper()
	_, secret, err := s.Access.CreateAPIKey(t.Context(), byOperator, access.KeyRequest{Name: name, May: may})
	must(t, err)
	return secret.Reveal()
}

// await waits until something is so.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	end := time.After(patience)
	for !so() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused ends the test unless err is this fault, with words and a remedy.
func refused(t *testing.T, err error, id string) {
	t.Helper()
	f := fault.Of(err)
	if f == nil || f.ID != id || f.Text == "" || f.Remedy == "" {
		t.Fatalf("got %v, want the fault %s with words and a remedy", err, id)
	}
}

func absent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("%s is there (%v)", path, err)
	}
}
