package acceptance_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/mailgrant/mailgrant/internal/webhook"
)

// realDesk is a customer's service desk: it receives webhooks, and takes only
// those whose signature a library that nobody here wrote finds right.
type realDesk struct {
	url    string
	secret string

	mu   sync.Mutex
	got  []realHook
	more chan struct{} // closed and replaced with each call
}

// realHook is one webhook call.
type realHook struct {
	webhook.Payload
	at   time.Time
	dump string // headers and body, as they came
}

func realOpenDesk(t testing.TB) *realDesk {
	t.Helper()
	key := make([]byte, 32)
	_, err := rand.Read(key)
	must(t, err)
	d := &realDesk{secret: "whsec_" + base64.StdEncoding.EncodeToString(key), more: make(chan struct{})}
	server := httptest.NewServer(http.HandlerFunc(d.receive))
	t.Cleanup(server.Close)
	d.url = server.URL + "/hook"
	return d
}

func (d *realDesk) receive(w http.ResponseWriter, r *http.Request) {
	hook := realHook{at: time.Now()}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	verifier, keyErr := standardwebhooks.NewWebhook(d.secret)
	if err != nil || keyErr != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	// Tests move the server's clock, so a signature's age says nothing here.
	if verifier.VerifyIgnoringTimestamp(body, r.Header) != nil || json.Unmarshal(body, &hook.Payload) != nil {
		http.Error(w, "wrong signature, or not JSON", http.StatusUnauthorized)
		return
	}
	var headers strings.Builder
	_ = r.Header.Write(&headers)
	hook.dump = headers.String() + string(body)
	d.mu.Lock()
	d.got = append(d.got, hook)
	close(d.more)
	d.more = make(chan struct{})
	d.mu.Unlock()
	w.WriteHeader(http.StatusNoContent)
}

// all gives what was received so far, and a channel that closes with the next.
func (d *realDesk) all() ([]realHook, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]realHook(nil), d.got...), d.more
}

// await gives the first call for which fits is true.
func (d *realDesk) await(t testing.TB, what string, fits func(realHook) bool) realHook {
	t.Helper()
	deadline := time.NewTimer(realPatience)
	defer deadline.Stop()
	for {
		got, more := d.all()
		for _, h := range got {
			if fits(h) {
				return h
			}
		}
		select {
		case <-more:
		case <-deadline.C:
			kinds := []string{}
			for _, h := range got {
				kinds = append(kinds, string(h.Type)+" "+h.Data.Details["subject"]+" "+h.Data.Cause)
			}
			t.Fatalf("the webhook was not called for %s within %s, but for:\n%s", what, realPatience, strings.Join(kinds, "\n"))
		}
	}
}

// received waits for the message with this subject.
func (d *realDesk) received(t testing.TB, subject string) realHook {
	t.Helper()
	return d.await(t, "the message "+subject, func(h realHook) bool {
		return h.Type == "message.received" && h.Data.Details["subject"] == subject
	})
}

// sent waits until a submission has been sent.
func (d *realDesk) sent(t testing.TB, id string) {
	t.Helper()
	d.await(t, "the submission "+id, func(h realHook) bool { return h.Type == "submission.sent" && h.Data.Details["submission_id"] == id })
}

// subscribe points everything that happens at the desk.
func (d *realDesk) subscribe(t testing.TB, s *realServer) {
	t.Helper()
	s.ask(t, http.MethodPost, "/v1/webhooks", map[string]any{
		"name": "desk", "url": d.url, "secret": d.secret, "events": []string{"*"},
	}, nil)
}
