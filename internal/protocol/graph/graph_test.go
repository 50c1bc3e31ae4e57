package graph_test

import (
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
	"github.com/mailgrant/mailgrant/internal/message"
	"github.com/mailgrant/mailgrant/internal/protocol"
	"github.com/mailgrant/mailgrant/internal/protocol/graph"
	"github.com/mailgrant/mailgrant/internal/seal"
)

const letter = "From: desk@contoso.test\r\nTo: adele@contoso.test\r\nSubject: hello\r\n\r\nHello.\r\n"

func at(t *testing.T, h http.HandlerFunc) protocol.Endpoint {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return protocol.Endpoint{Protocol: protocol.Graph, Host: "127.0.0.1", Port: s.Listener.Addr().(*net.TCPAddr).Port, TLS: protocol.TLSNone, Resource: "graph", Setting: "send"}
}

func send(t *testing.T, e protocol.Endpoint, raw io.Reader, size int64) (protocol.Receipt, error) {
	t.Helper()
	env := message.Envelope{ReversePath: "desk@contoso.test", ForwardPaths: []string{"adele@contoso.test", "hidden@contoso.test"}}
	return graph.New().Send(t.Context(), e, protocol.Login{User: "desk+a@contoso.test", AccessToken: seal.NewSecret("at-1")}, env, raw, size)
}

func TestSend_HandsTheMessageOver(t *testing.T) {
	t.Parallel()
	var got string
	e := at(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mime, err := base64.StdEncoding.DecodeString(string(body))
		if got = string(mime); err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1.0/users/desk+a@contoso.test/sendMail" ||
			r.Header.Get("Authorization") != "Bearer at-1" || r.Header.Get("Content-Type") != "text/plain" {
			t.Errorf("%s %s %v %v", r.Method, r.URL, r.Header, err)
		}
		w.Header().Set("request-id", "r-1")
		w.WriteHeader(http.StatusAccepted)
	})
	receipt, err := send(t, e, strings.NewReader(letter), int64(len(letter)))
	if err != nil || receipt.RemoteID != "r-1" || !strings.HasPrefix(receipt.Reply, "202") {
		t.Fatalf("%+v, %v", receipt, err)
	}
	if got != "Bcc: hidden@contoso.test\r\n"+letter {
		t.Errorf("sent:\n%s", got)
	}
}

func TestSend_ExplainsRefusals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status     int
		code       string
		retryAfter string
		id         string
		kind       fault.Kind
	}{
		"another's sender":     {403, "ErrorSendAsDenied", "", "graph.send_as_denied", fault.Refused},
		"no permission":        {403, "ErrorAccessDenied", "", "graph.permission_missing", fault.Refused},
		"a bare 403":           {403, "", "", "graph.permission_missing", fault.Refused},
		"a bad access token":   {401, "InvalidAuthenticationToken", "", "graph.auth_refused", fault.Refused},
		"no such mailbox":      {404, "ErrorInvalidUser", "", "graph.no_mailbox", fault.Refused},
		"a bad message":        {400, "ErrorMimeContentInvalidBase64String", "", "graph.message_refused", fault.Refused},
		"too often":            {429, "ApplicationThrottled", "7", "graph.rate_exceeded", fault.Limited},
		"too large":            {413, "", "", "graph.too_large", fault.Refused},
		"not now":              {503, "", "5", "graph.temporary", fault.Temporary},
		"something else":       {418, "Teapot", "", "graph.refused", fault.Refused},
		"a redirect elsewhere": {302, "", "", "graph.refused", fault.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := at(t, func(w http.ResponseWriter, _ *http.Request) {
				if c.retryAfter != "" {
					w.Header().Set("Retry-After", c.retryAfter)
				}
				w.Header().Set("request-id", "r-9")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, `{"error":{"code":"`+c.code+`","message":"because"}}`)
			})
			_, err := send(t, e, strings.NewReader(letter), int64(len(letter)))
			f := fault.Of(err)
			if f == nil || f.ID != c.id || f.Kind != c.kind || f.Remedy == "" || len(f.Who) == 0 || f.Detail.CorrelationID != "r-9" {
				t.Fatalf("%+v", f)
			}
			if protocol.AuthRefused(f) != (c.status == 401) || protocol.NoReply(f) || c.status == 429 && f.RetryAfter < 7*time.Second {
				t.Errorf("%+v", f)
			}
			if strings.Contains(err.Error(), "at-1") {
				t.Error("the access token is in the error")
			}
		})
	}
}

func TestSend_KnowsWhetherItMayHaveBeenTaken(t *testing.T) {
	t.Parallel()
	t.Run("a wire that breaks after the request", func(t *testing.T) {
		t.Parallel()
		e := at(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.Close()
			}
		})
		if _, err := send(t, e, strings.NewReader(letter), int64(len(letter))); !protocol.NoReply(fault.Of(err)) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("an answer that says nothing", func(t *testing.T) {
		t.Parallel()
		for _, status := range []int{408, 500, 502, 504} {
			e := at(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
			if _, err := send(t, e, strings.NewReader(letter), int64(len(letter))); !protocol.NoReply(fault.Of(err)) {
				t.Errorf("%d: %v", status, err)
			}
		}
	})
	t.Run("a certificate that nobody trusts", func(t *testing.T) {
		t.Parallel()
		s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was sent") }))
		t.Cleanup(s.Close)
		e := protocol.Endpoint{Protocol: protocol.Graph, Host: "127.0.0.1", Port: s.Listener.Addr().(*net.TCPAddr).Port, TLS: protocol.TLSImplicit, Setting: "send"}
		if _, err := send(t, e, strings.NewReader(letter), int64(len(letter))); protocol.NoReply(fault.Of(err)) || !strings.HasPrefix(fault.Of(err).ID, "net.") {
			t.Errorf("%v", err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		e := protocol.Endpoint{Protocol: protocol.Graph, Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, TLS: protocol.TLSNone, Setting: "send"}
		_ = l.Close()
		_, err = send(t, e, strings.NewReader(letter), int64(len(letter)))
		if f := fault.Of(err); protocol.NoReply(f) || f.Kind != fault.Temporary {
			t.Fatalf("%+v", f)
		}
	})
	t.Run("a message that cannot be read", func(t *testing.T) {
		t.Parallel()
		e := at(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
		broken := io.MultiReader(strings.NewReader("From"), failing{})
		if _, err := send(t, e, broken, 100); !errors.Is(err, errUnreadable) {
			t.Fatalf("%v", err)
		}
		if _, err := send(t, e, strings.NewReader("short"), 100); err == nil || protocol.NoReply(fault.Of(err)) {
			t.Fatalf("%v", err)
		}
	})
	t.Run("one that is too large is not tried", func(t *testing.T) {
		t.Parallel()
		e := at(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
		if _, err := send(t, e, strings.NewReader(""), graph.MostBytes+1); !fault.Has(err, "graph.too_large") {
			t.Fatalf("%v", err)
		}
	})
}

func TestProbe_ReportsItsRungs(t *testing.T) {
	t.Parallel()
	e := at(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer good" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"id":"x"}`)
	})
	for token, want := range map[string]string{"good": "dns tcp auth", "bad": "dns tcp auth!", "": "dns tcp auth-"} {
		var seen []string
		err := graph.New().Probe(t.Context(), e, protocol.Login{User: "desk@contoso.test", AccessToken: seal.NewSecret(token)}, func(s protocol.Step) {
			mark := map[bool]string{true: "", false: "!"}[s.OK]
			if s.Skipped {
				mark = "-"
			}
			seen = append(seen, s.Name+mark)
		})
		if got := strings.Join(seen, " "); got != want || (err == nil) != (token == "good") {
			t.Errorf("%q: %s, %v; want %s", token, got, err, want)
		}
	}
}

var errUnreadable = errors.New("input/output error")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errUnreadable }
