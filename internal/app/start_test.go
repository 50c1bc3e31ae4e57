package app_test

import (
	"crypto/tls"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/internal/provider"
	"github.com/mailgrant/mailgrant/internal/seal"
	"github.com/mailgrant/mailgrant/internal/testbed"
)

func TestFolder(t *testing.T) {
	data := newFolder(t)
	s := run(t, data, nil)
	t.Run("is for the service's user alone", func(t *testing.T) {
		for name, want := range map[string]fs.FileMode{".": 0o700, "mailgrant.db": 0o600, "keys.json": 0o600, "mailgrant.sock": 0o600, "setup-link.txt": 0o600} {
			info, err := os.Stat(filepath.Join(data, name))
			must(t, err)
			if got := info.Mode().Perm(); got != want {
				t.Errorf("%s has mode %o, want %o", name, got, want)
			}
		}
	})
	t.Run("is refused to a second server, which harms nothing", func(t *testing.T) {
		_, err := open(t, data, nil)
		refused(t, err, "app.running")
		if res, err := s.client(t).Get("http://mailgrant/healthz"); err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("the first no longer answers (%v)", err)
		} else {
			must(t, res.Body.Close())
		}
	})
	t.Run("holds no socket and no link after the end, and can be used again", func(t *testing.T) {
		must(t, s.stop())
		absent(t, app.SocketPath(data))
		absent(t, app.SetupLinkPath(data))
		must(t, run(t, data, nil).stop())
	})
	t.Run("may hold the socket of a run that was killed", func(t *testing.T) {
		l, err := net.Listen("unix", app.SocketPath(data))
		must(t, err)
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		must(t, l.Close())
		again := run(t, data, nil)
		res, err := again.client(t).Get("http://mailgrant/v1/mailboxes")
		must(t, err)
		if must(t, res.Body.Close()); res.StatusCode != http.StatusOK {
			t.Errorf("status %d", res.StatusCode)
		}
	})
}

func TestRefusedStarts(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, busy.Close()) }()
	ca := testbed.NewCA(t)
	certificate, _ := ca.ServerPEM(t)
	_, otherKey := ca.ServerPEM(t)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(certFile, certificate, 0o600))
	must(t, os.WriteFile(keyFile, otherKey, 0o600))
	inFile := filepath.Join(certFile, "data")

	for name, c := range map[string]struct {
		data, id string
		settings []string
	}{
		"a port in use":                        {newFolder(t), "app.listen", []string{"LISTEN=" + busy.Addr().String()}},
		"a key of another certificate":         {newFolder(t), "app.tls", []string{"TLS_CERT_FILE=" + certFile, "TLS_KEY_FILE=" + keyFile, "PUBLIC_URL=https://localhost"}},
		"a data folder that cannot be made":    {inFile, "app.data_dir", nil},
		"a path too long for a socket":         {filepath.Join(newFolder(t), strings.Repeat("long", 30)), "app.socket", nil},
		"something in the set-up link's place": {withFolderAt(t, "setup-link.txt"), "app.setup_link", nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, c.data, nil, c.settings...)
			refused(t, err, c.id)
			absent(t, app.SocketPath(c.data))
		})
	}
	t.Run("a folder that was refused can be used once the reason is gone", func(t *testing.T) {
		data := newFolder(t)
		_, err := open(t, data, nil, "LISTEN="+busy.Addr().String())
		refused(t, err, "app.listen")
		must(t, run(t, data, nil).stop())
	})
}

// withFolderAt gives a data folder with a folder that is not empty in a file's place.
func withFolderAt(t *testing.T, name string) string {
	t.Helper()
	data := newFolder(t)
	must(t, os.MkdirAll(filepath.Join(data, name, "inner"), 0o700))
	return data
}

func TestTLS(t *testing.T) {
	ca := testbed.NewCA(t)
	certificate, key := ca.ServerPEM(t)
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(certFile, certificate, 0o600))
	must(t, os.WriteFile(keyFile, key, 0o600))
	s := run(t, newFolder(t), nil, "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile, "PUBLIC_URL=https://localhost")

	t.Run("the certificate is served, with HTTP/2", func(t *testing.T) {
		network := &http.Transport{TLSClientConfig: ca.ClientTLS(), ForceAttemptHTTP2: true}
		defer network.CloseIdleConnections()
		_, port, err := net.SplitHostPort(s.Addr().String())
		must(t, err)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1:"+port+"/login/local", nil)
		must(t, err)
		r.Host = "localhost"
		res, err := (&http.Client{Transport: network, Timeout: patience}).Do(r)
		must(t, err)
		must(t, res.Body.Close())
		if res.StatusCode != http.StatusOK || res.ProtoMajor != 2 {
			t.Errorf("got %s over %s", res.Status, res.Proto)
		}
	})
	t.Run("TLS 1.1 is refused", func(t *testing.T) {
		old := ca.ClientTLS()
		old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
		c, err := (&tls.Dialer{Config: old}).DialContext(t.Context(), "tcp", s.Addr().String())
		if err == nil {
			t.Error("a handshake succeeded")
			must(t, c.Close())
		}
	})
}

func TestHost(t *testing.T) {
	s := run(t, newFolder(t), nil, "PUBLIC_URL=https://grants.example", "HOSTS=mail.example")
	for host, want := range map[string]int{
		"grants.example": http.StatusOK, "GRANTS.example:443": http.StatusOK, "mail.example": http.StatusOK,
		"attacker.example": http.StatusMisdirectedRequest, "grants.example.attacker.example": http.StatusMisdirectedRequest,
		"127.0.0.1": http.StatusMisdirectedRequest,
	} {
		t.Run(host, func(t *testing.T) {
			if status, body := s.get(t, "/login/local", "", func(r *http.Request) { r.Host = host }); status != want {
				t.Errorf("got %d %s, want %d", status, body, want)
			}
		})
	}
	t.Run("probes need no name", func(t *testing.T) {
		for _, path := range []string{"/healthz", "/readyz"} {
			if status, body := s.get(t, path, "", func(r *http.Request) { r.Host = "10.0.0.7:8025" }); status != http.StatusOK {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
	})
}

func TestHost_OfThisHostOnly(t *testing.T) {
	s := run(t, newFolder(t), nil) // public_url is http://localhost:8025
	ask := func(t *testing.T, method, path, host string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr().String()+path, nil)
		must(t, err)
		r.Host = host
		res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
		must(t, err)
		t.Cleanup(func() { must(t, res.Body.Close()) })
		return res
	}
	for _, host := range []string{"localhost:8025", "127.0.0.1:8025", "[::1]:8025", "127.0.0.1"} {
		t.Run("programs may call "+host, func(t *testing.T) {
			for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/openapi.json": 200, "/v1/mailboxes": 401, "/metrics": 401} {
				if res := ask(t, "GET", path, host); res.StatusCode != want {
					t.Errorf("%s: got %s, want %d", path, res.Status, want)
				}
			}
		})
	}
	t.Run("browsers are sent to public_url, where their cookies live", func(t *testing.T) {
		res := ask(t, "GET", "/login/local?next=%2Fmailboxes", "127.0.0.1:8025")
		if to := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || to != "http://localhost:8025/login/local?next=%2Fmailboxes" {
			t.Errorf("got %s to %s", res.Status, to)
		}
		if res := ask(t, "GET", "//attacker.example/", "127.0.0.1:8025"); !strings.HasPrefix(res.Header.Get("Location"), "http://localhost:8025/") {
			t.Errorf("sent to %s", res.Header.Get("Location"))
		}
		if res := ask(t, "POST", "/login/local", "127.0.0.1:8025"); res.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("a form that came by another name: %s", res.Status)
		}
	})
	t.Run("a foreign name is told which it was and what decides", func(t *testing.T) {
		for path, form := range map[string]string{"/": "text/plain", "/metrics": "text/plain", "/v1/mailboxes": "application/problem+json", "/openapi.json": "application/problem+json"} {
			res := ask(t, "GET", path, "attacker.example:8025")
			body, err := io.ReadAll(res.Body)
			must(t, err)
			if res.StatusCode != http.StatusMisdirectedRequest || !strings.HasPrefix(res.Header.Get("Content-Type"), form) {
				t.Errorf("%s: %s %s", path, res.Status, res.Header.Get("Content-Type"))
			}
			for _, says := range []string{"attacker.example", "public_url", "hosts"} {
				if !strings.Contains(string(body), says) {
					t.Errorf("%s does not say %s: %s", path, says, body)
				}
			}
		}
	})
}

func TestReady(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a PostgreSQL of its own")
	}
	s, postgres := onPostgres(t)
	ready := func() int {
		status, _ := s.get(t, "/readyz", "")
		return status
	}
	if status := ready(); status != http.StatusOK {
		t.Fatalf("a server that has just started answers %d", status)
	}
	postgres.Stop()
	if status := ready(); status != http.StatusServiceUnavailable {
		t.Errorf("without its database it answers %d", status)
	}
	if status, _ := s.get(t, "/healthz", ""); status != http.StatusOK {
		t.Errorf("a server that lives answers %d", status)
	}
	must(t, postgres.Start())
	await(t, "the server is ready again", func() bool { return ready() == http.StatusOK })
}

// TestPanic has the clock break in the middle of a handler.
func TestPanic(t *testing.T) {
	var broken atomic.Bool
	s := run(t, newFolder(t), func() time.Time {
		if broken.Load() && inRequest() {
			panic("the clock broke")
		}
		return time.Now()
	})
	broken.Store(true)
	status, body := s.get(t, "/metrics", "mgk_somebody")
	broken.Store(false)
	if status != http.StatusInternalServerError || strings.Contains(body, "clock") {
		t.Errorf("got %d %q, want 500 without what happened inside", status, body)
	}
	if log := s.log.String(); !strings.Contains(log, "the clock broke") || !strings.Contains(log, "GET /metrics") || strings.Contains(log, "mgk_somebody") {
		t.Errorf("the log does not say what broke where, and no more:\n%s", log)
	}
	if status, _ := s.get(t, "/readyz", ""); status != http.StatusOK {
		t.Errorf("afterwards it answers %d", status)
	}
}

// inRequest reports that the caller was called by a handler of HTTP.
func inRequest() bool {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(1, callers)])
	for {
		f, more := frames.Next()
		if f.Function == "net/http.serverHandler.ServeHTTP" {
			return true
		}
		if !more {
			return false
		}
	}
}

func TestRotateKeys(t *testing.T) {
	s := run(t, newFolder(t), nil)
	f := furnish(t, s, "http://127.0.0.1:1", time.Now().Add(time.Hour))
	stop := make(chan struct{})
	var lenders sync.WaitGroup
	var lent atomic.Int64
	for range 4 {
		lenders.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				token, _, err := s.Broker.Lend(t.Context(), f.ID, provider.ResourceMail, 0)
				if err != nil || token.Reveal() != "access-1" {
					t.Errorf("got %v while the keys are rotated", err)
					return
				}
				lent.Add(1)
			}
		})
	}
	before := f.sealed(t, s)
	for range 3 {
		n, err := s.RotateKeys(t.Context(), byOperator)
		if err != nil || n == 0 {
			t.Errorf("%d secrets were sealed anew (%v)", n, err)
		}
	}
	await(t, "tokens are lent afterwards", func() bool { return lent.Load() > 10 || t.Failed() })
	close(stop)
	lenders.Wait()
	after := f.sealed(t, s)
	if string(before.Bytes()) == string(after.Bytes()) {
		t.Error("the refresh token is sealed as before")
	}
	refresh, err := s.Keys.Unseal(after, seal.Where("grant", f.ID, "refresh_token"))
	if err != nil || refresh.Reveal() != "refresh-1" {
		t.Errorf("the refresh token cannot be opened any more: %v", err)
	}
}
