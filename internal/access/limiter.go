package access

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mailgrant/mailgrant/internal/fault"
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
	if len(l.seen)+len(keys) > maxBuckets {
		l.shrink()
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

// shrink drops a quarter: those with the fewest failures, of them the quietest,
// so that a flood of invented names does not free the one under attack.
func (l *limiter) shrink() {
	keys := slices.SortedFunc(maps.Keys(l.seen), func(a, b string) int {
		x, y := l.seen[a], l.seen[b]
		return cmp.Or(cmp.Compare(x.failures, y.failures), x.last.Compare(y.last))
	})
	for _, k := range keys[:len(keys)/4] {
		delete(l.seen, k)
	}
}

// limiterKeys names what failures are counted by: the name, which no operator's
// exceeds, and the address, over IPv6 the /64 that one party has to itself.
func limiterKeys(name string, from netip.Addr) []string {
	network := from.Unmap().WithZone("").String()
	if from = from.Unmap(); from.Is6() {
		network = netip.PrefixFrom(from.WithZone(""), 64).Masked().String()
	}
	return []string{"name:" + fault.Shorten(name, 64), "from:" + network}
}

func (l *limiter) forget(keys ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		delete(l.seen, k)
	}
}
