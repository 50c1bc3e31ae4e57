package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/client"
)

// dial makes a client of a server that answers with handler.
func dial(t *testing.T, handler http.HandlerFunc, amend ...func(*client.Options)) *client.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	o := client.Options{Server: server.URL, APIKey: "mgk_planted", Reconnect: time.Millisecond}
	for _, f := range amend {
		f(&o)
	}
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func answer(status int, media, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestNew_Refuses(t *testing.T) {
	for _, c := range []struct {
		outcome string
		options client.Options
		word    string
	}{
		{"no address", client.Options{}, "not the address of a server"},
		{"no scheme", client.Options{Server: "mail.example.org"}, "not the address"},
		{"a password in the address", client.Options{Server: "https://a:b@mail.example.org"}, "not the address"},
		{"plain HTTP to another host", client.Options{Server: "http://mail.example.org"}, "in clear"},
		{"a server and a socket", client.Options{Server: "https://mail.example.org", Socket: "/s"}, "one of them"},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			if _, err := client.New(c.options); err == nil || !strings.Contains(err.Error(), c.word) {
				t.Errorf("%v", err)
			}
		})
	}
	for _, server := range []string{"https://mail.example.org/", "http://localhost:8025", "http://127.0.0.1:8025", "http://[::1]:8025"} {
		if _, err := client.New(client.Options{Server: server}); err != nil {
			t.Errorf("%s: %v", server, err)
		}
	}
	if _, err := client.New(client.Options{Server: "http://mail.internal:8025", AllowPlainHTTP: true}); err != nil {
		t.Errorf("allowed plain HTTP: %v", err)
	}
}

func TestProblems(t *testing.T) {
	t.Run("a problem document is read whole", func(t *testing.T) {
		c := dial(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "7")
			answer(503, "application/problem+json; charset=utf-8", `{"type":"urn:mailgrant:problem:oauth.unavailable","title":"Not now","status":503,"detail":"The provider is down.",
				"field":"issuer","remedy":"Wait.","who":["provider"],"retry":true,"provider":{"code":"server_error","trace_id":"t-1"},"errors":[{"field":"a","detail":"b"}]}`)(w, r)
		})
		_, err := c.Grant(t.Context(), "desk@example.org")
		var p *client.Problem
		if !errors.As(err, &p) {
			t.Fatalf("%v", err)
		}
		if p.ID() != "oauth.unavailable" || p.Status != 503 || p.Field != "issuer" || p.Remedy != "Wait." || !p.Retry || p.RetryAfter != 7*time.Second ||
			p.Provider == nil || p.Provider.TraceID != "t-1" || len(p.Who) != 1 || len(p.Errors) != 1 {
			t.Errorf("%+v", p)
		}
		if p.Error() != "issuer: The provider is down." || !client.HasID(fmt.Errorf("wrapped: %w", err), "oauth.unavailable") || client.HasID(err, "other") {
			t.Error(p.Error())
		}
	})
	for _, c := range []struct{ outcome, media, body, word string }{
		{"another server's page", "text/html", "<html>nginx", "another server or a proxy"},
		{"a plain refusal", "text/plain; charset=utf-8", "This server does not go by that name.\nMore.", "421 Misdirected Request: This server does not go by that name."},
		{"a broken document", "application/problem+json", "{", "cannot be read"},
		{"an empty document", "application/problem+json", "{}", "The server answered 421"},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			_, err := dial(t, answer(421, c.media, c.body)).Grant(t.Context(), "desk@example.org")
			if err == nil || !strings.Contains(err.Error(), c.word) {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("a redirect is not followed", func(t *testing.T) {
		asked := 0
		c := dial(t, func(w http.ResponseWriter, r *http.Request) {
			asked++
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		})
		if _, err := c.Grant(t.Context(), "desk@example.org"); err == nil || asked != 1 {
			t.Errorf("%v after %d requests", err, asked)
		}
	})
}

func TestCalls(t *testing.T) {
	t.Run("addresses are escaped and the key is sent", func(t *testing.T) {
		c := dial(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.EscapedPath() != "/v1/mailboxes/a%2Fb@example.org/grant" || r.Header.Get("Authorization") != "Bearer mgk_planted" {
				t.Errorf("%s %s", r.URL.EscapedPath(), r.Header.Get("Authorization"))
			}
			answer(200, "application/json", `{"state":"active"}`)(w, r)
		})
		if g, err := c.Grant(t.Context(), "a/b@example.org"); err != nil || g.State != "active" {
			t.Errorf("%+v, %v", g, err)
		}
	})
	t.Run("what is the server's is not written back", func(t *testing.T) {
		c := dial(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				var m map[string]any
				if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
					t.Error(err)
				}
				for _, name := range []string{"status", "paused", "created_at", "updated_at"} {
					if _, ok := m[name]; ok {
						t.Errorf("%s is written back", name)
					}
				}
			}
			answer(200, "application/json", `{"address":"a@example.org","provider":"p","paused":true,"created_at":"2026-01-01T00:00:00Z","status":{"grant":"active"}}`)(w, r)
		})
		m, err := c.Mailbox(t.Context(), "a@example.org")
		if err != nil || !m.Paused {
			t.Fatalf("%+v, %v", m, err)
		}
		if _, err := c.PutMailbox(t.Context(), "a@example.org", m); err != nil {
			t.Error(err)
		}
	})
	t.Run("a whole message is handed over as it is, once", func(t *testing.T) {
		c := dial(t, func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			if err != nil || string(b) != "From: x\r\n\r\n" || r.Header.Get("Content-Type") != "message/rfc822" ||
				r.Header.Get("Idempotency-Key") != "k1" || r.URL.Query().Get("mailbox") != "a@example.org" {
				t.Errorf("%q %v %s", b, r.Header, r.URL)
			}
			answer(202, "application/json", `{"id":"s1","state":"queued"}`)(w, r)
		})
		if s, err := c.SubmitRaw(t.Context(), "k1", "a@example.org", []byte("From: x\r\n\r\n")); err != nil || s.Settled() {
			t.Errorf("%+v, %v", s, err)
		}
	})
	t.Run("the time is bounded", func(t *testing.T) {
		c := dial(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, func(o *client.Options) { o.Timeout = 20 * time.Millisecond })
		if _, err := c.Grant(t.Context(), "a@example.org"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
	t.Run("an unreachable server is named without the key", func(t *testing.T) {
		c, err := client.New(client.Options{Server: "http://127.0.0.1:1", APIKey: "mgk_planted"})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Grant(t.Context(), "a@example.org")
		var gone *client.Unreachable
		if !errors.As(err, &gone) || gone.Server != "http://127.0.0.1:1" || strings.Contains(err.Error(), "planted") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a socket is spoken to", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: answer(200, "application/json", `{"state":"dead"}`), ReadHeaderTimeout: time.Second}
		t.Cleanup(func() { _ = server.Close() })
		go func() { _ = server.Serve(l) }()
		c, err := client.New(client.Options{Socket: path})
		if err != nil {
			t.Fatal(err)
		}
		if g, err := c.Grant(t.Context(), "a@example.org"); err != nil || g.State != "dead" {
			t.Errorf("%+v, %v", g, err)
		}
	})
}

func TestLists(t *testing.T) {
	pages := map[string]string{
		"":   `{"items":[{"id":"3"},{"id":"2"}],"next":"c2"}`,
		"c2": `{"items":[{"id":"1"}]}`,
	}
	asked := 0
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		asked++
		if q := r.URL.Query(); q.Get("mailbox") != "a@example.org" || q.Get("limit") != "2" {
			t.Errorf("asked for %s", r.URL.RawQuery)
		}
		answer(200, "application/json", pages[r.URL.Query().Get("cursor")])(w, r)
	})
	filter := client.MailFilter{Mailbox: "a@example.org", PageSize: 2}
	t.Run("every page is walked", func(t *testing.T) {
		asked = 0
		all, err := client.Collect(c.Messages(t.Context(), filter), 0)
		if err != nil || len(all) != 3 || all[2].ID != "1" || asked != 2 {
			t.Errorf("%+v, %v, %d requests", all, err, asked)
		}
	})
	t.Run("no more than is wanted is asked for", func(t *testing.T) {
		asked = 0
		all, err := client.Collect(c.Messages(t.Context(), filter), 2)
		if err != nil || len(all) != 2 || asked != 1 {
			t.Errorf("%+v, %v, %d requests", all, err, asked)
		}
	})
	t.Run("a server that turns in circles is left", func(t *testing.T) {
		c := dial(t, answer(200, "application/json", `{"items":[{"id":"1"}],"next":"c"}`))
		if all, err := client.Collect(c.Messages(t.Context(), client.MailFilter{}), 0); err != nil || len(all) != 2 {
			t.Errorf("%d items, %v", len(all), err)
		}
	})
	t.Run("an error comes last", func(t *testing.T) {
		c := dial(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("cursor") == "" {
				answer(200, "application/json", `{"items":[{"id":"1"}],"next":"c"}`)(w, r)
				return
			}
			answer(500, "application/problem+json", `{"detail":"Broken."}`)(w, r)
		})
		if all, err := client.Collect(c.Messages(t.Context(), client.MailFilter{}), 0); err == nil || len(all) != 1 {
			t.Errorf("%d items, %v", len(all), err)
		}
	})
}
