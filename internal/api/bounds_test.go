package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/access"
	"github.com/mailgrant/mailgrant/internal/app"
	"github.com/mailgrant/mailgrant/sandbox/directory"
)

// TestBounds sends what no good program sends. Each request must end soon, with a
// problem document wherever HTTP still allows one.
func TestBounds(t *testing.T) {
	s := openWith(t, app.Options{HeadTime: 300 * time.Millisecond, BodyTime: 300 * time.Millisecond})
	s.furnish(t, directory.StoryDesk)

	t.Run("a body that says one thing twice, or costs more than it says", func(t *testing.T) {
		deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
		for _, path := range []string{"/v1/providers", "/v1/submissions", "/v1/apps", box(directory.StoryDesk) + "/token"} {
			for why, body := range map[string]string{
				"a name twice":             `{"name":"a","name":"b"}`,
				"a name twice, escaped":    `{"name":"a","n\u0061me":"b"}`,
				"a name twice, in capital": `{"name":"a","NAME":"b"}`,
				"no UTF-8":                 "{\"name\":\"\xff\xfe\"}",
				"a NUL":                    `{"name":"a\u0000b"}`,
				"too deep":                 `{"name":` + deep(100) + `}`,
				"far too deep":             deep(200_000),
				"too many":                 `{"name":[` + strings.Repeat("1,", 100_000) + `1]}`,
				"half a document":          `{"name":"a`,
				"no document":              `nothing`,
				"a number beyond all":      `{"name":` + strings.Repeat("9", 10_000) + `}`,
			} {
				a := s.do(t, s.key, "POST", path, body)
				if a.problem(t); a.status != 400 && a.status != 422 {
					t.Errorf("%s, %s: %d %s", path, why, a.status, a.body)
				}
			}
		}
		// What looks alike and is no fault.
		for _, name := range []string{`a\\u0000`, `{\"name\":\"a\"}`, `[[[[`, strings.Repeat("[", 50)} {
			s.do(t, s.key, "POST", "/v1/apps", `{"name":"`+name+`","may":["read"]}`).refused(t, 422, "access.api_key_field")
		}
	})
	t.Run("every operation with a body refuses one that is too large", func(t *testing.T) {
		s := open(t) // size is asked, not time: 9 MiB may take a while to arrive
		for _, o := range s.operations(t) {
			if o.method != "POST" && o.method != "PUT" || o.id == "create-submission" || !o.body {
				continue
			}
			a := s.do(t, s.key, o.method, o.concrete(), `{"name":"`+strings.Repeat("x", 9<<20)+`"}`)
			if a.problem(t); a.status != 413 {
				t.Errorf("%s: %d %s", o.id, a.status, a.body)
			}
		}
	})
	t.Run("a path and a query that cannot be looked up", func(t *testing.T) {
		for _, path := range []string{
			"/v1/providers/a%00b", "/v1/providers/%ff%fe", "/v1/messages/%0a", "/v1/mailboxes/%00", "/v1/events?kind=%00", "/v1/events?mailbox=%ff",
			"/v1/events?limit=%zz", "/v1/submissions?%00=1", "/v1/nothing/%00",
		} {
			if a := s.do(t, s.key, "GET", path, nil); a.problem(t).Type != "urn:mailgrant:problem:api.unreadable" || a.status != 400 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		s.do(t, s.key, "GET", "/v1/events?mailbox="+strings.Repeat("a", 9<<10), nil).refused(t, 414, "api.unreadable")
		s.do(t, s.key, "GET", "/v1/events?no_such=1", nil).refused(t, 422, "api.invalid_request")
		for _, query := range []string{"limit=0", "limit=501", "limit=-1", "limit=9223372036854775808", "limit=1e3", "cursor=" + strings.Repeat("c", 301)} {
			s.do(t, s.key, "GET", "/v1/mailboxes?"+query, nil).refused(t, 422, "api.invalid_request")
		}
	})
	t.Run("header fields that cannot be", func(t *testing.T) {
		s.do(t, s.key, "GET", "/v1/events", nil, "Last-Event-ID", "\xff\xfe").refused(t, 400, "api.unreadable")
		a := s.do(t, s.key, "GET", "/v1/events", nil, "X-Long", strings.Repeat("x", 128<<10))
		if a.status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%d %s", a.status, a.body)
		}
		s.do(t, "mgk_"+strings.Repeat("x", 10_000), "GET", "/v1/events", nil).refused(t, 401, "access.api_key_form")
	})
	t.Run("a body that drips", func(t *testing.T) {
		for _, path := range []string{"/v1/providers", "/v1/apps"} {
			c := s.dial(t)
			_, err := fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", path, s.host(t), s.key)
			must(t, err)
			answer, err := http.ReadResponse(bufio.NewReader(c), nil)
			must(t, err)
			body, err := io.ReadAll(answer.Body)
			must(t, err)
			if answer.StatusCode != 408 || !strings.Contains(string(body), "api.too_slow") {
				t.Errorf("%s: %d %s", path, answer.StatusCode, body)
			}
		}
	})
	t.Run("a head that drips", func(t *testing.T) {
		c := s.dial(t)
		_, err := fmt.Fprintf(c, "GET /v1/events HTTP/1.1\r\nHost: %s\r\nX-Slow: ", s.host(t))
		must(t, err)
		if _, err := io.ReadAll(c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("the server did not end it: %v", err)
		}
	})
	t.Run("a body in pieces that never ends", func(t *testing.T) {
		c := s.dial(t)
		_, err := fmt.Fprintf(c, "POST /v1/providers HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", s.host(t), s.key)
		must(t, err)
		go func() {
			piece := strings.Repeat(" ", 64<<10)
			for {
				if _, err := fmt.Fprintf(c, "%x\r\n%s\r\n", len(piece), piece); err != nil {
					return
				}
			}
		}()
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil && answer.StatusCode != 413 {
			t.Errorf("%d", answer.StatusCode)
		}
	})
}

// TestBounds_OfOneKey asks more than one API key may.
func TestBounds_OfOneKey(t *testing.T) {
	s := open(t, "MAILGRANT_API_REQUESTS_PER_SECOND=1", "MAILGRANT_API_BURST=3", "MAILGRANT_API_STREAMS=2")
	t.Run("too many requests", func(t *testing.T) {
		hasty, other := s.newKey(t, "hasty", []access.Right{access.Read}), s.newKey(t, "other", []access.Right{access.Read})
		var refused *answer
		for range 1000 { // a slow machine gives some of them back
			if a := s.do(t, hasty, "GET", "/v1/mailboxes", nil); a.status != 200 {
				refused = &a
				break
			}
		}
		if refused == nil {
			t.Fatal("1000 requests were answered")
		}
		refused.refused(t, 429, "access.too_many_requests")
		if after := refused.header.Get("Retry-After"); after != "1" {
			t.Errorf("Retry-After: %q", after)
		}
		if a := s.do(t, other, "GET", "/v1/mailboxes", nil); a.status != 200 {
			t.Errorf("another key: %d %s", a.status, a.body)
		}
		s.ahead.Add(int64(time.Minute))
		if a := s.do(t, hasty, "GET", "/v1/mailboxes", nil); a.status != 200 {
			t.Errorf("after the wait: %d %s", a.status, a.body)
		}
	})
	t.Run("too many streams", func(t *testing.T) {
		s.ahead.Add(int64(time.Minute))
		key := s.newKey(t, "follower", []access.Right{access.Read})
		follow := func() *http.Response {
			s.ahead.Add(int64(time.Minute))
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.base+"/v1/events", nil)
			must(t, err)
			r.Header.Set("Authorization", "Bearer "+key)
			r.Header.Set("Accept", "text/event-stream")
			a, err := http.DefaultClient.Do(r)
			must(t, err)
			t.Cleanup(func() { _ = a.Body.Close() })
			return a
		}
		first := follow()
		if second := follow(); first.StatusCode != 200 || second.StatusCode != 200 {
			t.Fatalf("%d, %d", first.StatusCode, second.StatusCode)
		}
		third := follow()
		body, err := io.ReadAll(third.Body)
		must(t, err)
		if third.StatusCode != 429 || !strings.Contains(string(body), "access.too_many_streams") || third.Header.Get("Retry-After") == "" ||
			third.Header.Get("Content-Type") != "application/problem+json" {
			t.Fatalf("the third: %d %v %s", third.StatusCode, third.Header, body)
		}
		must(t, first.Body.Close())
		for deadline := time.Now().Add(time.Minute); follow().StatusCode != 200; {
			if time.Now().After(deadline) {
				t.Fatal("a stream that ended is still counted")
			}
		}
	})
}

// dial opens a connection that does not outlive the test by much.
func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr().String())
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	return c
}

func (s *server) host(t *testing.T) string {
	t.Helper()
	u, err := url.Parse(s.base)
	must(t, err)
	return u.Host
}

// TestDocuments throws odd documents at every operation that takes one: whatever
// comes, the answer is one that is described, and never that something went wrong
// inside. Package strictjson is fuzzed by itself.
func TestDocuments(t *testing.T) {
	s := open(t)
	s.furnish(t, directory.StoryDesk)
	for _, o := range s.operations(t) {
		if !o.body {
			continue
		}
		for _, body := range []string{
			``, `{}`, `[]`, `null`, `"x"`, `{"name":"a"}`, "\xff", `{"may":["read"],"name":"a"}`, `{"name":null,"may":null,"events":null,"to":null}`,
			`{"client_secrets":[{"value":"x"}],"kind":"generic","client_id":"c","name":"n"}`, `{"from":{"address":"a@b.example"},"to":[{"address":"c@d.example"}]}`,
			strings.Repeat(`{"a":`, 40), `{"name":1e999}`, `{"expires_at":"0000-00-00T00:00:00Z"}`, `{"expires_at":"9999-12-31T23:59:59.999999999Z","name":"a","may":["read"]}`,
			`{"min_ttl":"9999999h"}`, `{"expires_in":"-9223372036854775808ns"}`, `{"address":"@","provider":""}`, `{"mailboxes":[{}],"providers":[{}]}`,
		} {
			if a := s.do(t, s.key, o.method, o.at(directory.StoryDesk, "none"), body); a.status >= 500 {
				t.Errorf("%s, %s: %d %s", o.id, body, a.status, a.body)
			}
		}
	}
}
