package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/store"
	"github.com/mailgrant/mailgrant/internal/testbed"
	"github.com/mailgrant/mailgrant/internal/testbed/stock"
)

// binary builds the product once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "mailgrant-bench-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "mailgrant")
	build := exec.Command("go", "build", "-trimpath", "-o", path, "../cmd/mailgrant")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the product: %w\n%s", err, out)
	}
	return path, nil
})

// house is a data folder with a filled database, from which the product is
// started, perhaps several times.
type house struct {
	b        *bench
	dir      string // short, for the socket's sake
	database string // empty: SQLite in the folder
}

// newHouse makes one with this stock. database is a PostgreSQL URL, or empty.
func newHouse(b *bench, database string, plan stock.Plan) *house {
	b.Helper()
	dir, err := os.MkdirTemp("", "mailgrant-bench-")
	b.must(err)
	b.Cleanup(func() { b.must(os.RemoveAll(dir)) })
	h := &house{b: b, dir: dir, database: database}
	keys, err := seal.OpenKeyset(filepath.Join(dir, "keys.json"))
	b.must(err)
	s, err := store.Open(b.Context(), store.Options{URL: h.url()})
	b.must(err)
	if plan.Mailboxes > 0 {
		stock.Fill(b, s, keys, plan)
	}
	b.must(s.Close())
	return h
}

func (h *house) url() string {
	if h.database != "" {
		return h.database
	}
	return filepath.Join(h.dir, "mailgrant.db")
}

// store opens the database beside the product.
func (h *house) store() *store.Store {
	h.b.Helper()
	s, err := store.Open(h.b.Context(), store.Options{URL: h.url()})
	h.b.must(err)
	h.b.Cleanup(func() { h.b.must(s.Close()) })
	return s
}

// product is a running one.
type product struct {
	b     *bench
	cmd   *exec.Cmd
	base  string
	took  time.Duration // from its start until it was ready
	local *http.Client  // by the socket, as somebody on this host
	log   bytes.Buffer
	ended chan error
	once  sync.Once
}

// start starts the product and waits until it is ready.
func (h *house) start(settings ...string) *product {
	h.b.Helper()
	b := h.b
	path, err := binary()
	b.must(err)
	port := testbed.FreePort(b)
	p := &product{b: b, base: fmt.Sprintf("http://localhost:%d", port)}
	environ := append(os.Environ(), "MAILGRANT_DATA_DIR="+h.dir, fmt.Sprintf("MAILGRANT_LISTEN=127.0.0.1:%d", port), "MAILGRANT_DATABASE="+h.database,
		"MAILGRANT_WEBHOOKS_ALLOW_NETWORKS=127.0.0.0/8", "MAILGRANT_LOG_LEVEL=warn", "MAILGRANT_CONFIG=/dev/null",
		"MAILGRANT_API_REQUESTS_PER_SECOND=1000000") // the bound is worked out and never met
	if os.Getenv(envProfile) != "" {
		if path, err = os.Executable(); err != nil {
			b.Fatal(err)
		}
		environ = append(environ, envRole+"=serve")
	}
	p.cmd = exec.Command(path, "serve")
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = append(environ, settings...), &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.local = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(h.dir, "mailgrant.sock"))
	}}}
	began := time.Now()
	b.must(p.cmd.Start())
	p.ended = make(chan error, 1)
	go func() { p.ended <- p.cmd.Wait() }()
	b.Cleanup(p.stop)
	await(b, "the product is ready", 2*time.Minute, func() bool {
		if len(p.ended) > 0 {
			b.Fatal("the product did not start")
		}
		res, err := http.Get(p.base + "/readyz")
		if err != nil {
			return false
		}
		defer func() { _ = res.Body.Close() }()
		_, _ = io.Copy(io.Discard, res.Body)
		return res.StatusCode == http.StatusOK
	})
	p.took = time.Since(began)
	return p
}

// stop ends the product in order.
func (p *product) stop() {
	p.once.Do(func() {
		p.local.CloseIdleConnections()
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		if err := <-p.ended; err != nil || p.b.Failed() {
			p.b.Logf("the product ended with %v\n%s", err, p.log.String())
		}
	})
}

func (p *product) pid() int { return p.cmd.Process.Pid }

func (p *product) cpu() time.Duration { return cpuOf(p.b, p.pid()) }

// heap has the profiles of memory written, where any are wished.
func (p *product) heap() {
	if os.Getenv(envProfile) != "" {
		p.b.must(p.cmd.Process.Signal(syscall.SIGUSR1))
		time.Sleep(time.Second)
	}
}

// call makes a call of the API by the socket and reads the answer into out.
func (p *product) call(t testing.TB, method, path string, in, out any) {
	t.Helper()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://localhost"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	res, err := p.local.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s %s", method, path, res.Status, answer)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(answer, out)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// key makes an API key that may do these things everywhere.
func (p *product) key(may ...string) string {
	p.b.Helper()
	var app struct {
		APIKey string `json:"api_key"`
	}
	p.call(p.b, http.MethodPost, "/v1/apps", map[string]any{"name": "bench", "may": may}, &app)
	return app.APIKey
}
