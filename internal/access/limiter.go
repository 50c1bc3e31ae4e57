package access

import (
	"sync"
	"time"
)

// limiter slows down guessing: ten failures are free, each further one doubles
// the wait up to a quarter of an hour; an hour of quiet forgets. It holds at
// most maxBuckets names and forgets the quiet ones first.
type limiter struct {
	mu   sync.Mutex
	seen map[string]*bucket
}

type bucket struct {
	failures int
	last     time.Time
}

const (
	freeFailures = 10
	longestWait  = 15 * time.Minute
	quiet        = time.Hour
	maxBuckets   = 10_000
)

// wait gives the longest wait any of the keys still has.
func (l *limiter) wait(now time.Time, keys ...string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var longest time.Duration
	for _, k := range keys {
		b := l.seen[k]
		if b == nil || b.failures < freeFailures || now.Sub(b.last) > quiet {
			continue
		}
		d := min(longestWait, time.Second<<min(b.failures-freeFailures, 12))
		longest = max(longest, b.last.Add(d).Sub(now))
	}
	return longest
}

func (l *limiter) failed(now time.Time, keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.seen) > maxBuckets {
		for k, b := range l.seen {
			if now.Sub(b.last) > time.Minute {
				delete(l.seen, k)
			}
		}
	}
	for _, k := range keys {
		b := l.seen[k]
		if b == nil || now.Sub(b.last) > quiet {
			b = &bucket{}
			l.seen[k] = b
		}
		b.failures++
		b.last = now
	}
}

func (l *limiter) forget(keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		delete(l.seen, k)
	}
}
