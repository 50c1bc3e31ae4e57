package crash_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// strict is a token endpoint that replaces the refresh token at each use and
// ends the whole family when one is used again (RFC 9700, section 4.14.2).
type strict struct {
	url string

	mu       sync.Mutex
	families map[string]*family
}

// family is the line of refresh tokens of one consent: "name.0", "name.1", …
type family struct {
	living   int // the number of the only token that is honoured
	ended    bool
	requests int

	lenient     bool          // used refresh tokens live on, as at Microsoft
	unavailable bool          // the first request is answered 503 and not processed
	latency     time.Duration // between processing and answer
	// Where the process is to die during a request, which is then broken off.
	arrived, processed *rendezvous
}

func (f *family) accepts(n int) bool {
	return !f.ended && (f.living == n || f.lenient && n >= 0 && n <= f.living)
}

func startStrict(t *testing.T) *strict {
	t.Helper()
	s := &strict{families: map[string]*family{}}
	server := httptest.NewServer(http.HandlerFunc(s.token))
	t.Cleanup(server.Close)
	s.url = server.URL + "/token"
	return s
}

// begin makes a family and gives its first refresh token.
func (s *strict) begin(name string, f *family) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.families[name] = f
	return name + ".0"
}

// honours reports whether a refresh token would be accepted.
func (s *strict) honours(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, n := split(token)
	f := s.families[name]
	return f != nil && f.accepts(n)
}

// replaced reports whether a refresh token was used and another came in its place.
func (s *strict) replaced(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, n := split(token)
	f := s.families[name]
	return f != nil && n >= 0 && f.living > n
}

func (s *strict) requests(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.families[name].requests
}

func split(token string) (string, int) {
	name, number, _ := strings.Cut(token, ".")
	n, err := strconv.Atoi(number)
	if err != nil {
		return name, -1
	}
	return name, n
}

func (s *strict) token(w http.ResponseWriter, r *http.Request) {
	name, n := split(r.PostFormValue("refresh_token"))
	s.mu.Lock()
	f := s.families[name]
	if f == nil {
		s.mu.Unlock()
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	f.requests++
	first := f.requests == 1
	s.mu.Unlock()

	if f.arrived.meet() {
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	switch {
	case f.unavailable && first:
		s.mu.Unlock()
		answer(w, http.StatusServiceUnavailable, map[string]any{"error": "temporarily_unavailable"})
		return
	case !f.accepts(n):
		f.ended = true
		s.mu.Unlock()
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "used before"})
		return
	}
	f.living++
	next := fmt.Sprintf("%s.%d", name, f.living)
	s.mu.Unlock()
	if f.processed.meet() {
		panic(http.ErrAbortHandler)
	}
	<-time.After(f.latency)
	answer(w, http.StatusOK, map[string]any{
		"access_token": "access-" + next, "token_type": "Bearer", "expires_in": 3600, "refresh_token": next, "scope": "mail",
	})
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the process that asked may be dead
}
