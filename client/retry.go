package client

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// longestWait is the longest wait that a call makes by itself; a server that asks
// for more is left to the caller.
const longestWait = 30 * time.Second

const keyHeader = "Idempotency-Key"

type keyOf struct{}

// WithIdempotencyKey gives the call that is made with this context an
// Idempotency-Key: a call that creates something then happens once, however
// often it is made with the same key and content. A repetition gets the first
// answer, without secrets that are shown once. Make a fresh key, such as a UUID,
// for every call; Submit takes its key by itself.
func WithIdempotencyKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyOf{}, key)
}

// repeatable reports whether a request may be sent twice: its method is idempotent
// (RFC 9110, section 9.2.2), or it carries a key.
func repeatable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete:
		return true
	}
	return r.Header.Get(keyHeader) != ""
}

// patiently sends, and sends again as often as Options allow where the server
// asked to come back in a moment and nothing can be done twice by it.
func (c *Client) patiently(ctx context.Context, in call) (*http.Response, error) {
	for left := c.options.Retries; ; left-- {
		r, err := c.request(ctx, in)
		if err != nil {
			return nil, err
		}
		answer, err := c.exchange(r)
		var p *Problem
		if left <= 0 || !repeatable(r) || !errors.As(err, &p) || !comesBack(p) {
			return answer, err
		}
		if until, ok := ctx.Deadline(); ok && time.Until(until) < p.RetryAfter {
			return nil, err
		}
		timer := time.NewTimer(p.RetryAfter)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, err // what the server said is worth more than that the time is over
		case <-timer.C:
		}
	}
}

// comesBack reports whether the server named a moment to ask again, soon. A problem
// with changes is never repeated: what they show once would be lost with it.
func comesBack(p *Problem) bool {
	if len(p.Changes) > 0 || p.RetryAfter <= 0 || p.RetryAfter > longestWait {
		return false
	}
	return p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable || p.ID() == "idempotency.running"
}
