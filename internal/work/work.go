// Package work has the words of durable work: what a lease is, what a fencing
// number is for, and the kinds of job that wake a capability.
//
// Our own tables hold the truth about a submission or a delivery; a job only
// says "look at this one". A job may come twice or late, never instead of the
// truth.
package work

import "time"

// Lease is the right to work on one thing until a moment. Fence grows by one
// each time anybody takes the lease; every write under a lease carries its
// fence, and a write with an older fence changes nothing. So a process that was
// paused over its lease and woke cannot harm its successor.
type Lease struct {
	Owner string    // names one run of one process
	Fence int64     // from 1
	Until time.Time // no later than this may the holder act
}

// Held reports whether the lease still binds at now.
func (l Lease) Held(now time.Time) bool { return l.Owner != "" && now.Before(l.Until) }

// The kinds of job. The number is how many of a kind may run at once in a process.
const (
	JobSubmission = "submission" // send one submission
	JobDelivery   = "delivery"   // deliver the head of one webhook's queue for one mailbox
)

// Backoff gives the wait before attempt n (from 1): it doubles from first up to
// most. Jitter is the caller's, since randomness is.
func Backoff(n int, first, most time.Duration) time.Duration {
	d := first
	for i := 1; i < n && d < most; i++ {
		d *= 2
	}
	return min(d, most)
}
