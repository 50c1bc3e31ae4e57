package access

import (
	"fmt"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
)

// Bounds are what one API key may ask of one process, so that a program that has
// lost its way does not take the server from the others. Operators and the socket
// are not bounded. Zero: no bound.
type Bounds struct {
	PerSecond int // requests, in the long run
	Burst     int // requests at once after a pause; PerSecond where it is less
	Streams   int // event streams open at the same time
}

// pace counts what each API key asks, by its name: a bucket that holds Burst
// requests and is filled at PerSecond.
type pace struct {
	Bounds
	mu      sync.Mutex
	asked   map[string]allowance
	streams map[string]int
}

// allowance is what was left of a key's requests at a moment.
type allowance struct {
	left float64
	at   time.Time
}

func newPace(b Bounds) *pace {
	b.Burst = max(b.Burst, b.PerSecond)
	return &pace{Bounds: b, asked: map[string]allowance{}, streams: map[string]int{}}
}

// take counts a request of name, or gives how long the next has to wait.
func (p *pace) take(now time.Time, name string) time.Duration {
	if p.PerSecond <= 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.asked[name]
	if !ok {
		if len(p.asked) >= maxBuckets {
			clear(p.asked) // whoever made that many keys is an operator
		}
		a = allowance{left: float64(p.Burst), at: now}
	}
	// A clock that was put back gives nothing, and does not stop the key.
	a.left = min(float64(p.Burst), a.left+max(0, now.Sub(a.at).Seconds())*float64(p.PerSecond))
	a.at = now
	var wait time.Duration
	if a.left >= 1 {
		a.left--
	} else {
		wait = time.Duration((1 - a.left) / float64(p.PerSecond) * float64(time.Second))
	}
	p.asked[name] = a
	return wait
}

// Admit counts one request of a program; "access.too_many_requests" (Limited)
// with the wait, where it asks more often than it may.
func (a *Access) Admit(c Caller) error {
	if c.All {
		return nil
	}
	wait := a.pace.take(a.need.Now(), c.Actor.Name)
	if wait <= 0 {
		return nil
	}
	return &fault.Error{
		ID: "access.too_many_requests", Kind: fault.Limited, RetryAfter: wait, Who: []fault.Who{fault.Operator},
		Text:   fmt.Sprintf("The API key %s asks more often than %d times a second. This request was not carried out.", c.Actor.Name, a.pace.PerSecond),
		Remedy: "Ask again after the seconds in Retry-After. A program that polls does better to follow the events or to take a webhook; where more is meant, raise api.requests_per_second.",
	}
}

// OpenStream counts an event stream that a program opens; done is called once,
// when it has ended. "access.too_many_streams" (Limited) where it has as many
// as it may.
func (a *Access) OpenStream(c Caller) (done func(), err error) {
	if c.All || a.pace.Streams <= 0 {
		return func() {}, nil
	}
	p, name := a.pace, c.Actor.Name
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.streams[name] >= p.Streams {
		return nil, &fault.Error{
			ID: "access.too_many_streams", Kind: fault.Limited, RetryAfter: streamWait, Who: []fault.Who{fault.Operator},
			Text:   fmt.Sprintf("The API key %s follows the events %d times already, as often as it may at once.", name, p.Streams),
			Remedy: "Close a stream that is not needed any more: one is enough for all mailboxes. Where more are meant, raise api.streams.",
		}
	}
	p.streams[name]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.streams[name]--; p.streams[name] <= 0 {
			delete(p.streams, name)
		}
	}, nil
}

// streamWait is when a refused stream may be asked for again: a broken connection
// of the caller's is noticed at the next write, 20 s later at most.
const streamWait = 20 * time.Second
