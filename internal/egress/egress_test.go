package egress_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/egress"
	"github.com/mailgrant/mailgrant/internal/fault"
)

const marker = "marker-91d2"

func client(t *testing.T, o egress.Options) *http.Client {
	t.Helper()
	c, err := egress.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// get calls the address and gives its error, with a secret in the query that
// no fault may show.
func get(t *testing.T, c *http.Client, url string) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"?code="+marker, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

func target(t *testing.T, rawURL string) egress.Target {
	t.Helper()
	hostPort := strings.TrimPrefix(strings.TrimPrefix(rawURL, "https://"), "http://")
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		t.Fatal(err)
	}
	n, _ := strconv.Atoi(port)
	return egress.Target{Setting: "providers[contoso].issuer", Host: host, Port: n}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// slams accepts connections and closes each at once.
func slams(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

func TestClassify_NamesWhatWentWrong(t *testing.T) {
	t.Parallel()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	t.Cleanup(secure.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(func() { close(release); silent.Close() })
	refused, slammed := "http://"+closedPort(t), "http://"+slams(t)
	_, securePort, _ := net.SplitHostPort(strings.TrimPrefix(secure.URL, "https://"))

	for _, c := range []struct {
		name, id string
		kind     fault.Kind
		options  egress.Options
		url      string
	}{
		{"nothing listens", "net.refused", fault.Temporary, egress.Options{}, refused},
		{"a certificate of an unknown authority", "net.untrusted_certificate", fault.Refused, egress.Options{}, secure.URL},
		{"a certificate for another name", "net.certificate_name", fault.Refused, egress.Options{ExtraCAs: ca}, "https://localhost:" + securePort},
		{"TLS spoken to a plain-text port", "net.plaintext_port", fault.Refused, egress.Options{}, "https" + strings.TrimPrefix(plain.URL, "http")},
		{"no answer in time", "net.timeout", fault.Temporary, egress.Options{HeaderTimeout: 30 * time.Millisecond}, silent.URL},
		{"the whole call too slow", "net.timeout", fault.Temporary, egress.Options{Timeout: 30 * time.Millisecond}, silent.URL},
		{"the connection closed at once", "net.closed", fault.Temporary, egress.Options{}, slammed},
		{"a guarded client on loopback", "net.forbidden_address", fault.Forbidden, egress.Options{Guard: &egress.Guard{}}, plain.URL},
		{"a metadata address without a guard", "net.forbidden_address", fault.Forbidden, egress.Options{}, "http://169.254.169.254:80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			err := get(t, client(t, c.options), c.url)
			f := egress.Classify(err, target(t, c.url))
			if f == nil || f.ID != c.id || f.Kind != c.kind {
				t.Fatalf("Classify(%v) = %+v, want %s", err, f, c.id)
			}
			if f.Text == "" || f.Remedy == "" || len(f.Who) == 0 {
				t.Errorf("a fault without words: %+v", f)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", f, f), marker) {
				t.Errorf("the query of the URL shows: %v", f)
			}
			if c.id != "net.forbidden_address" && (f.Field != "providers[contoso].issuer" || !f.Retry) {
				t.Errorf("setting %q, retry %v", f.Field, f.Retry)
			}
		})
	}
}

func TestClassify_ReadsErrorsOfNames(t *testing.T) {
	t.Parallel()
	at := egress.Target{Setting: "host", Host: "mail.exmaple.org", Port: 993}
	for name, c := range map[string]struct {
		err error
		id  string
	}{
		"no such name":         {&net.DNSError{Err: "no such host", Name: at.Host, IsNotFound: true}, "net.unknown_host"},
		"the DNS server down":  {&net.DNSError{Err: "server misbehaving", Name: at.Host, IsTemporary: true}, "net.dns_temporary"},
		"given up":             {fmt.Errorf("dial: %w", context.Canceled), "net.cancelled"},
		"cut in the middle":    {fmt.Errorf("read: %w", io.ErrUnexpectedEOF), "net.closed"},
		"a TLS record error":   {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "net.plaintext_port"},
		"anything else":        {errors.New("odd"), "net.failed"},
		"a fault goes through": {fmt.Errorf("x: %w", &fault.Error{ID: "smtp.rejected"}), "smtp.rejected"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if f := egress.Classify(c.err, at); f.ID != c.id {
				t.Fatalf("got %s: %v", f.ID, f)
			}
		})
	}
	if egress.Classify(nil, at) != nil {
		t.Fatal("no error must be no fault")
	}
	if f := egress.Classify(&net.DNSError{IsNotFound: true}, at); !strings.Contains(f.Text, at.Host) || !strings.Contains(f.Remedy, "setting host") {
		t.Fatalf("the words name neither host nor setting: %s %s", f.Text, f.Remedy)
	}
}

func TestGuard_Check(t *testing.T) {
	t.Parallel()
	guard := &egress.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("169.254.0.0/16")}}
	for addr, allowed := range map[string]bool{
		"93.184.216.34": true, "2606:2800:220:1::1": true, "10.1.2.3": true, "169.254.1.1": true, "::ffff:10.1.2.3": true,
		"10.2.0.1": false, "127.0.0.1": false, "::1": false, "192.168.1.1": false, "172.16.0.1": false, "100.64.0.1": false,
		"0.0.0.0": false, "::": false, "224.0.0.1": false, "fe80::1": false, "fd12::1": false, "240.0.0.1": false, "255.255.255.255": false,
		"::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false,
		"169.254.169.254": false, "fd00:ec2::254": false, "::ffff:169.254.169.254": false, "64:ff9b::a9fe:a9fe": false, "100.100.100.200": false,
	} {
		if err := guard.Check(netip.MustParseAddr(addr)); (err == nil) != allowed {
			t.Errorf("%s: %v, want allowed %v", addr, err, allowed)
		}
	}
	var none *egress.Guard
	for addr, allowed := range map[string]bool{"127.0.0.1": true, "10.0.0.1": true, "169.254.169.254": false, "fd00:ec2::254": false} {
		if err := none.Check(netip.MustParseAddr(addr)); (err == nil) != allowed {
			t.Errorf("without a guard, %s: %v, want allowed %v", addr, err, allowed)
		}
	}
}

func TestNew_Redirects(t *testing.T) {
	t.Parallel()
	var hops int
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/end" {
			return
		}
		hops++
		http.Redirect(w, r, "/end", http.StatusFound)
	}))
	t.Cleanup(s.Close)
	for follow, want := range map[bool]int{false: http.StatusFound, true: http.StatusOK} {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
		resp, err := client(t, egress.Options{FollowRedirects: follow}).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("follow %v: status %d, want %d", follow, resp.StatusCode, want)
		}
	}
	if _, err := egress.New(egress.Options{ExtraCAs: []byte("not pem")}); !fault.Has(err, "net.bad_ca_file") {
		t.Errorf("a CA file without a certificate: %v", err)
	}
}

func TestReadAll_Limit(t *testing.T) {
	t.Parallel()
	if b, err := egress.ReadAll(t.Context(), strings.NewReader("12345"), 5); err != nil || string(b) != "12345" {
		t.Fatalf("at the limit: %q, %v", b, err)
	}
	if _, err := egress.ReadAll(t.Context(), strings.NewReader("123456"), 5); !fault.Has(err, "net.too_large") {
		t.Fatalf("over the limit: %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, " 30 ": 30 * time.Second, "-5": 0, "soon": 0, "99999999999999999999": 0, "9999999": 24 * time.Hour,
		"Tue, 24 Nov 2026 12:01:00 GMT": time.Minute, "Tue, 24 Nov 2026 11:00:00 GMT": 0, "Tue, 24 Nov 2036 11:00:00 GMT": 24 * time.Hour,
	} {
		if got := egress.RetryAfter(value, now); got != want {
			t.Errorf("RetryAfter(%q) = %v, want %v", value, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	f.Add("120")
	f.Add("Tue, 24 Nov 2026 12:01:00 GMT")
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		if d := egress.RetryAfter(s, now); d < 0 || d > 24*time.Hour {
			t.Fatalf("RetryAfter(%q) = %v", s, d)
		}
	})
}
