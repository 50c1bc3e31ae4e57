package app_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/mailgrant/mailgrant/internal/event"
	"github.com/mailgrant/mailgrant/internal/seal"
)

// ending asks a server to end and gives where its outcome comes.
func (s *server) ending() <-chan error {
	ended := make(chan error, 1)
	go func() { ended <- s.stop() }()
	return ended
}

func within(t *testing.T, what string, c <-chan error) {
	t.Helper()
	select {
	case err := <-c:
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	case <-time.After(patience):
		t.Fatalf("%s: it never came", what)
	}
}

func TestDrain(t *testing.T) {
	t.Run("a call under way is finished", func(t *testing.T) {
		s := run(t, newFolder(t), nil)
		reading := make(chan struct{})
		body, rest := io.Pipe()
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { close(reading) }})
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://mailgrant/v1/inspect", body)
		must(t, err)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Expect", "100-continue")
		answered := make(chan error, 1)
		client := s.client(t)
		client.Transport.(*http.Transport).ExpectContinueTimeout = patience
		var status int
		go func() {
			res, err := client.Do(r)
			if err == nil {
				status = res.StatusCode
				err = res.Body.Close()
			}
			answered <- err
		}()
		select {
		case <-reading: // the handler waits for the body
		case <-time.After(patience):
			t.Fatal("the call never began")
		}
		ended := s.ending()
		await(t, "new calls are turned away", func() bool {
			res, err := s.client(t).Get("http://mailgrant/healthz")
			if err == nil {
				must(t, res.Body.Close())
			}
			return err != nil
		})
		select {
		case <-ended:
			t.Error("the server ended before the call")
		default:
		}
		_, err = io.WriteString(rest, `{"token":"x.y.z"}`)
		must(t, err)
		must(t, rest.Close())
		within(t, "the answer", answered)
		if status != http.StatusOK {
			t.Errorf("the call was answered with %d", status)
		}
		within(t, "the end", ended)
	})
	t.Run("streams end", func(t *testing.T) {
		s := run(t, newFolder(t), nil)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://mailgrant/v1/events", nil)
		must(t, err)
		r.Header.Set("Accept", "text/event-stream")
		res, err := s.client(t).Do(r)
		must(t, err)
		if ct := res.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/event-stream") {
			t.Fatalf("got %s %s, want a stream", res.Status, ct)
		}
		ended := s.ending()
		streamed := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, res.Body)
			streamed <- err
		}()
		within(t, "the end of the stream", streamed)
		must(t, res.Body.Close())
		within(t, "the end", ended)
	})
	t.Run("a refresh that was sent is stored, and its lease given back", func(t *testing.T) {
		asked, answer := make(chan struct{}, 10), make(chan struct{})
		authority := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost {
				http.NotFound(w, r)
				return
			}
			asked <- struct{}{}
			<-answer
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"token_type":"Bearer","access_token":"access-2","refresh_token":"refresh-2","expires_in":3600}`)
		}))
		defer authority.Close()
		data := newFolder(t)
		s, err := open(t, data, nil)
		must(t, err)
		f := furnish(t, s, authority.URL, time.Now().Add(-time.Minute))
		must(t, s.Close())

		s = run(t, data, nil)
		select {
		case <-asked:
		case <-time.After(patience):
			t.Fatalf("the grant that was due was not renewed:\n%s", s.log)
		}
		ended := s.ending()
		await(t, "the server drains", func() bool {
			res, err := s.client(t).Get("http://mailgrant/healthz")
			if err == nil {
				must(t, res.Body.Close())
			}
			return err != nil
		})
		select {
		case <-ended:
			t.Error("the server ended before the refresh")
		default:
		}
		close(answer)
		within(t, "the end", ended)

		again, err := open(t, data, nil)
		must(t, err)
		defer func() { must(t, again.Close()) }()
		g, err := again.Store.Grant(context.Background(), f.ID)
		must(t, err)
		refresh, err := again.Keys.Unseal(g.RefreshToken, seal.Where("grant", f.ID, "refresh_token"))
		if err != nil || refresh.Reveal() != "refresh-2" {
			t.Errorf("the refresh token that came last is not stored (%v)", err)
		}
		if g.Lease.Owner != "" && g.Lease.Until.After(time.Now()) {
			t.Errorf("the lease is still held by %s", g.Lease.Owner)
		}
		found, err := again.Store.Events(context.Background(), event.Filter{Patterns: []event.Pattern{event.Pattern(event.GrantRefreshed)}})
		if err != nil || len(found) != 1 {
			t.Errorf("%d events tell of it (%v)", len(found), err)
		}
	})
}
