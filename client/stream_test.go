package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/client"
)

// timeline is a server that breaks the stream off after each event.
type timeline struct {
	mu      sync.Mutex
	after   []string // Last-Event-ID of each connection
	newest  string
	streams []func(w http.ResponseWriter, r *http.Request)
}

func (l *timeline) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Accept") != "text/event-stream" {
		answer(200, "application/json", `{"items":[`+l.newest+`]}`)(w, r)
		return
	}
	l.mu.Lock()
	n := len(l.after)
	l.after = append(l.after, r.Header.Get("Last-Event-ID"))
	l.mu.Unlock()
	if n >= len(l.streams) {
		answer(403, "application/problem+json", `{"type":"urn:mailgrant:problem:access.denied","detail":"No more."}`)(w, r)
		return
	}
	l.streams[n](w, r)
}

// tells gives one stream with these events, and then its end.
func tells(ids ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": following\n\n")
		for _, id := range ids {
			_, _ = fmt.Fprintf(w, "id: %s\nevent: grant.dead\ndata: {\"id\":%q,\ndata: \"kind\":\"grant.dead\"}\n\n", id, id)
		}
	}
}

func follow(t *testing.T, c *client.Client, f client.EventFilter) (ids []string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for e, err := range c.Follow(ctx, f) {
		if err != nil {
			return ids, err
		}
		ids = append(ids, e.ID)
	}
	return ids, nil
}

func TestFollow(t *testing.T) {
	t.Run("a broken stream is taken up where it broke", func(t *testing.T) {
		l := &timeline{newest: `{"id":"4"}`, streams: []func(http.ResponseWriter, *http.Request){tells("5", "6"), tells(), answer(503, "application/problem+json", `{"detail":"Later."}`), tells("7")}}
		ids, err := follow(t, dial(t, l.ServeHTTP), client.EventFilter{})
		if got := strings.Join(ids, ","); got != "5,6,7" {
			t.Errorf("events %s", got)
		}
		if got := strings.Join(l.after, ","); got != "4,6,6,6,7" {
			t.Errorf("asked for what came after %s", got)
		}
		if !client.HasID(err, "access.denied") {
			t.Errorf("ended with %v", err)
		}
	})
	t.Run("with no event yet, all that come are new", func(t *testing.T) {
		l := &timeline{streams: []func(http.ResponseWriter, *http.Request){tells("1")}}
		if ids, _ := follow(t, dial(t, l.ServeHTTP), client.EventFilter{}); len(ids) != 1 || l.after[0] != "0" {
			t.Errorf("events %v after %v", ids, l.after)
		}
	})
	t.Run("a filter goes with every call", func(t *testing.T) {
		l := &timeline{}
		calls := 0
		c := dial(t, func(w http.ResponseWriter, r *http.Request) {
			// What comes is later than the newest of the mailbox, of whatever kind that is.
			calls++
			if q := r.URL.Query(); q.Get("mailbox") != "a@example.org" || calls > 1 && q.Get("kind") != "grant.*,mailbox.paused" {
				t.Errorf("asked for %s", r.URL.RawQuery)
			}
			l.ServeHTTP(w, r)
		})
		if _, err := follow(t, c, client.EventFilter{Mailbox: "a@example.org", Kinds: []string{"grant.*", "mailbox.paused"}}); !client.HasID(err, "access.denied") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a silent stream is thought broken", func(t *testing.T) {
		silent := func(w http.ResponseWriter, r *http.Request) {
			tells()(w, r)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
		l := &timeline{newest: `{"id":"4"}`, streams: []func(http.ResponseWriter, *http.Request){silent, tells("5")}}
		ids, _ := follow(t, dial(t, l.ServeHTTP, func(o *client.Options) { o.Silence = 30 * time.Millisecond }), client.EventFilter{})
		if len(ids) != 1 || l.after[1] != "4" {
			t.Errorf("events %v after %v", ids, l.after)
		}
	})
	t.Run("the caller may stop", func(t *testing.T) {
		l := &timeline{streams: []func(http.ResponseWriter, *http.Request){tells("1", "2")}}
		for range dial(t, l.ServeHTTP).Follow(t.Context(), client.EventFilter{After: "0"}) {
			break
		}
		if len(l.after) != 1 {
			t.Errorf("asked %d times", len(l.after))
		}
	})
	t.Run("its context ends it", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		l := &timeline{streams: []func(http.ResponseWriter, *http.Request){func(w http.ResponseWriter, r *http.Request) {
			tells("1")(w, r)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}}}
		var last error
		for _, err := range dial(t, l.ServeHTTP).Follow(ctx, client.EventFilter{After: "0"}) {
			last = err
			cancel()
		}
		if !errors.Is(last, context.Canceled) {
			t.Errorf("%v", last)
		}
	})
	for _, c := range []struct {
		outcome string
		stream  http.HandlerFunc
		word    string
	}{
		{"an event without end is refused", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			line := "data: " + strings.Repeat("x", 1<<20) + "\n"
			for range 6 {
				_, _ = io.WriteString(w, line)
			}
		}, "larger than this client reads"},
		{"an event that is no JSON is refused", answer(200, "text/event-stream", "data: nonsense\n\n"), "cannot be read"},
		{"an answer that is no stream is refused", answer(200, "application/json", "{}"), "where a stream was asked for"},
	} {
		t.Run(c.outcome, func(t *testing.T) {
			l := &timeline{streams: []func(http.ResponseWriter, *http.Request){c.stream}}
			if _, err := follow(t, dial(t, l.ServeHTTP), client.EventFilter{After: "0"}); err == nil || !strings.Contains(err.Error(), c.word) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestTest(t *testing.T) {
	rungs := "event: rung\ndata: {\"name\":\"configuration\",\"ok\":true}\n\nevent: rung\ndata: {\"name\":\"grant\",\"ok\":false,\"remedy\":\"Authorise it.\"}\n\n"
	t.Run("each rung as it is climbed, then the result", func(t *testing.T) {
		c := dial(t, answer(200, "text/event-stream", rungs+"event: result\ndata: {\"ok\":false,\"rungs\":[{\"name\":\"configuration\"},{\"name\":\"grant\"}]}\n\n"))
		var names []string
		result, err := c.Test(t.Context(), "a@example.org", client.TestRequest{}, func(r client.Rung) { names = append(names, r.Name) })
		if err != nil || result.OK || len(result.Rungs) != 2 || strings.Join(names, ",") != "configuration,grant" {
			t.Errorf("%+v, %v, %v", result, names, err)
		}
	})
	t.Run("a test that breaks off is no success", func(t *testing.T) {
		if _, err := dial(t, answer(200, "text/event-stream", rungs)).Test(t.Context(), "a@example.org", client.TestRequest{}, nil); err == nil || !strings.Contains(err.Error(), "broke off") {
			t.Errorf("%v", err)
		}
	})
	t.Run("a refusal is a problem", func(t *testing.T) {
		c := dial(t, answer(404, "application/problem+json", `{"type":"urn:mailgrant:problem:mailbox.unknown","detail":"No such mailbox."}`))
		if _, err := c.Test(t.Context(), "a@example.org", client.TestRequest{}, nil); !client.HasID(err, "mailbox.unknown") {
			t.Errorf("%v", err)
		}
	})
}
