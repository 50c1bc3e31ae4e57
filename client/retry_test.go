package client_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mailgrant/mailgrant/client"
)

// script answers requests one after another, in time that is not real.
type script struct {
	answers []*http.Response
	keys    []string // Idempotency-Key of each request
	bodies  []string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	s.keys = append(s.keys, r.Header.Get("Idempotency-Key"))
	body := ""
	if r.Body != nil {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		body = string(b)
	}
	s.bodies = append(s.bodies, body)
	if len(s.answers) == 0 {
		return nil, errors.New("asked once too often")
	}
	next := s.answers[0]
	s.answers = s.answers[1:]
	return next, nil
}

func later(status int, seconds, id string) *http.Response {
	h := http.Header{"Content-Type": {"application/problem+json"}}
	if seconds != "" {
		h.Set("Retry-After", seconds)
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: h, Body: io.NopCloser(strings.NewReader(`{"type":"urn:mailgrant:problem:` + id + `","detail":"Later."}`))}
}

func partly() *http.Response {
	r := later(503, "1", "x")
	r.Body = io.NopCloser(strings.NewReader(`{"type":"urn:mailgrant:problem:x","detail":"Later.","changes":[{"kind":"app","name":"a","action":"created","api_key":"mgk_made"}]}`))
	return r
}

func fine() *http.Response {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader([]byte(`{"id":"1","url":"u"}`)))}
}

func TestRetries(t *testing.T) {
	link := func(c *client.Client, t *testing.T, key string) error {
		ctx := t.Context()
		if key != "" {
			ctx = client.WithIdempotencyKey(ctx, key)
		}
		_, err := c.CreateLink(ctx, "a@example.org", client.LinkRequest{ExpiresIn: "1h"})
		return err
	}
	read := func(c *client.Client, t *testing.T, _ string) error {
		_, err := c.Message(t.Context(), "1")
		return err
	}
	for _, c := range []struct {
		outcome string
		call    func(*client.Client, *testing.T, string) error
		key     string
		answers []*http.Response
		retries int
		waited  time.Duration
		asked   int
		good    bool
	}{
		{"a read is asked again when the server says", read, "", []*http.Response{later(429, "7", "x"), fine()}, 0, 7 * time.Second, 2, true},
		{"and once more", read, "", []*http.Response{later(503, "1", "x"), later(429, "2", "x"), fine()}, 0, 3 * time.Second, 3, true},
		{"but not for ever", read, "", []*http.Response{later(503, "1", "x"), later(503, "1", "x"), later(503, "1", "x")}, 0, 2 * time.Second, 3, false},
		{"nor where the server names no moment", read, "", []*http.Response{later(503, "", "x")}, 0, 0, 1, false},
		{"nor where it names one far away", read, "", []*http.Response{later(429, "3600", "x")}, 0, 0, 1, false},
		{"nor after another refusal", read, "", []*http.Response{later(409, "1", "x")}, 0, 0, 1, false},
		{"nor where the caller wants none", read, "", []*http.Response{later(429, "1", "x")}, -1, 0, 1, false},
		{"nor where something was done that is shown once", link, "k1", []*http.Response{partly()}, 0, 0, 1, false},
		{"what creates is not repeated", link, "", []*http.Response{later(503, "1", "x")}, 0, 0, 1, false},
		{"unless it has a key", link, "k1", []*http.Response{later(503, "1", "x"), fine()}, 0, time.Second, 2, true},
		{"and then waits for its first sending", link, "k1", []*http.Response{later(409, "2", "idempotency.running"), fine()}, 0, 2 * time.Second, 2, true},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: c.answers}
				made, err := client.New(client.Options{Server: "http://localhost", APIKey: "mgk_planted", Transport: s, Retries: c.retries})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err = c.call(made, t, c.key)
				if (err == nil) != c.good || len(s.keys) != c.asked || time.Since(began) != c.waited {
					t.Errorf("%v after %d requests and %s", err, len(s.keys), time.Since(began))
				}
				for i := range s.keys {
					if s.keys[i] != c.key || s.bodies[i] != s.bodies[0] {
						t.Errorf("request %d: key %q, body %q", i, s.keys[i], s.bodies[i])
					}
				}
				if err != nil && strings.Contains(err.Error(), "planted") {
					t.Errorf("the key is in the error: %v", err)
				}
			})
		})
	}
}
