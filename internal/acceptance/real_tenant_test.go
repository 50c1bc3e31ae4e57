package acceptance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/sandbox"
	"github.com/mailgrant/mailgrant/sandbox/browser"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// realTenant is the sandbox behind a proxy that notes every secret which goes
// to it or comes from it. One clock serves sandbox and server.
type realTenant struct {
	box     *sandbox.Sandbox
	url     string // where Entra and Graph are, by way of the proxy
	markers *realMarkers
	skew    atomic.Int64
	windows http.RoundTripper // of browsers; nil: their own
}

func (h *realTenant) now() time.Time { return time.Now().Add(time.Duration(h.skew.Load())) }

func (h *realTenant) advance(d time.Duration) { h.skew.Add(int64(d)) }

func realOpenTenant(t testing.TB, callbacks ...string) *realTenant {
	t.Helper()
	h := &realTenant{markers: &realMarkers{}}
	var err error
	h.box, err = sandbox.Start(context.Background(), sandbox.Options{Now: h.now, RedirectURIs: callbacks})
	must(t, err)
	behind, err := url.Parse(h.box.Describe().BaseURL)
	must(t, err)
	network := &http.Transport{}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Transport:      network,
		Rewrite:        func(p *httputil.ProxyRequest) { p.Out.URL.Scheme, p.Out.URL.Host = behind.Scheme, behind.Host },
		ModifyResponse: h.noteAnswer, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { realHangUp(w) },
	})
	handler := proxy.Config.Handler
	proxy.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.noteRequest(r)
		handler.ServeHTTP(w, r)
	})
	h.url = proxy.URL
	t.Cleanup(func() {
		proxy.Close()
		network.CloseIdleConnections()
		if err := h.box.Close(); err != nil {
			t.Errorf("the sandbox ended with: %v", err)
		}
	})
	return h
}

// realHangUp lets a broken wire be a broken wire.
func realHangUp(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

func (h *realTenant) noteRequest(r *http.Request) {
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	r.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return
	}
	form, _ := url.ParseQuery(string(body)) // what is no form has no secrets of a form
	for field, kind := range map[string]string{
		"client_secret": "client secret", "refresh_token": "refresh token", "code": "authorization code", "code_verifier": "code verifier", "passwd": "password",
	} {
		h.markers.add(kind, form.Get(field))
	}
	if _, secret, ok := r.BasicAuth(); ok {
		h.markers.add("client secret", secret)
	}
	if bearer, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); found {
		h.markers.add("access token", bearer)
	}
}

func (h *realTenant) noteAnswer(answer *http.Response) error {
	body, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err != nil {
		return err
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	var tokens struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		ID      string `json:"id_token"`
	}
	if json.Unmarshal(body, &tokens) == nil {
		h.markers.add("access token", tokens.Access)
		h.markers.add("refresh token", tokens.Refresh)
		h.markers.add("ID token", tokens.ID)
	}
	return nil
}

// saveProvider writes the provider with a client secret.
func (h *realTenant) saveProvider(t testing.TB, s *realServer, secret string) {
	t.Helper()
	about := h.box.Describe()
	s.ask(t, http.MethodPut, "/v1/providers/contoso", map[string]any{
		"kind": "microsoft", "tenant": directory.StoryDomain, "client_id": directory.StoryClientID,
		"client_secrets": []map[string]string{{"value": secret}},
		"endpoints":      map[string]string{"authority": h.url, "graph": strings.Replace(about.GraphURL, about.BaseURL, h.url, 1)},
	}, nil)
}

// furnish adds the provider and the service desk's mailbox.
func (h *realTenant) furnish(t testing.TB, s *realServer) {
	t.Helper()
	about := h.box.Describe()
	h.saveProvider(t, s, directory.StoryClientSecret)
	s.ask(t, http.MethodPost, "/v1/mailboxes", map[string]any{
		"address": directory.StoryDesk, "provider": "contoso",
		"receive": map[string]any{
			"protocol": "imap", "folders": []string{"INBOX"}, "mode": "push",
			"host": about.IMAP.Host, "port": about.IMAP.Port, "tls": "implicit", "ca_pem": about.CertificateAuthority,
		},
		"send": map[string]any{"protocol": "smtp", "host": about.SMTP.Host, "port": about.SMTP.Port, "tls": "starttls", "ca_pem": about.CertificateAuthority},
	}, nil)
}

// authorize goes through a link as somebody in a private window.
func (h *realTenant) authorize(t testing.TB, link, user, password string) browser.Page {
	t.Helper()
	window := browser.New(browser.Options{Transport: h.windows})
	realPress(t, window, link)
	must(t, window.SignIn(t.Context(), user, password))
	return window.Page()
}

// connect authorises the service desk's mailbox by the right person.
func (h *realTenant) connect(t testing.TB, s *realServer) {
	t.Helper()
	page := h.authorize(t, s.link(t, directory.StoryDesk).URL, directory.StoryDesk, directory.StoryDeskPassword)
	if !page.Contains("is connected") {
		t.Fatalf("the page says: %s", page.Text)
	}
}

// deliver puts a message of Adele's into the service desk's mailbox.
func (h *realTenant) deliver(t testing.TB, subject string) {
	t.Helper()
	_, err := h.box.Exchange().Deliver(directory.StoryDesk, []byte(realMessage(directory.StoryAdele, directory.StoryDesk, subject)))
	must(t, err)
}

// delivered counts the messages with this subject in Adele's inbox.
func (h *realTenant) delivered(subject string) int {
	n := 0
	for _, m := range h.box.Exchange().Messages(directory.StoryAdele, "INBOX") {
		if strings.Contains(string(m.Raw), "Subject: "+subject+"\r\n") {
			n++
		}
	}
	return n
}

// refreshes counts the refreshes that reached the provider.
func (h *realTenant) refreshes() int {
	n := 0
	for _, c := range h.box.World().Calls(0) {
		if c.GrantType == "refresh_token" {
			n++
		}
	}
	return n
}
